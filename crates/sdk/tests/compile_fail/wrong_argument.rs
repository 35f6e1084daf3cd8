use everstep::{ActivityContext, Context, Failure, activity};

#[activity]
async fn double(_: ActivityContext, number: u32) -> Result<u32, Failure> {
    Ok(number * 2)
}

async fn wrong(ctx: Context, _: ()) -> Result<u32, Failure> {
    ctx.call(double, "four").await
}

fn main() {
    let _ = everstep::App::new("1").orchestrator("wrong", wrong);
}
