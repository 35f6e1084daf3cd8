use std::rc::Rc;

use everstep::{Context, Failure, orchestrator};

#[orchestrator]
async fn counts(ctx: Context, number: u32) -> Result<u32, Failure> {
    let shared = Rc::new(number);
    ctx.sleep(std::time::Duration::from_secs(1)).await;
    Ok(*shared)
}

fn main() {}
