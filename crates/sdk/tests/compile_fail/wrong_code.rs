use everstep::{Activity, ActivityContext, App, Failure};

const DOUBLE: Activity<u32, u32> = Activity::new("Double");

async fn double(_: ActivityContext, number: u64) -> Result<u64, Failure> {
    Ok(number * 2)
}

fn main() {
    let _ = App::new("1").activity(DOUBLE, double);
}
