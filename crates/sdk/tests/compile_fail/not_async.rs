use everstep::{ActivityContext, Failure, activity};

#[activity]
fn double(_: ActivityContext, number: u32) -> Result<u32, Failure> {
    Ok(number * 2)
}

fn main() {}
