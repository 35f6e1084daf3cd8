use everstep::{Context, Failure, orchestrator};

#[orchestrator]
async fn child(_: Context, number: u32) -> Result<u32, Failure> {
    Ok(number)
}

#[orchestrator]
async fn parent(ctx: Context, number: u32) -> Result<u32, Failure> {
    ctx.call(child, number).await
}

fn main() {
    let _ = everstep::App::new("1").add(parent);
}
