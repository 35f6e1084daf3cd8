use everstep::{Activity, Context, Failure};

const DOUBLE: Activity<u32, u32> = Activity::new("Double");

async fn wrong(ctx: Context, _: ()) -> Result<String, Failure> {
    let answer: String = ctx.call(DOUBLE, 4).await?;
    Ok(answer)
}

fn main() {
    let _ = everstep::App::new("1").orchestrator("wrong", wrong);
}
