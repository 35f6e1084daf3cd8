use everstep::{App, Context, Failure};

async fn plain(_: Context, number: u32) -> Result<u32, Failure> {
    Ok(number)
}

fn main() {
    let _ = App::new("1").add(plain);
}
