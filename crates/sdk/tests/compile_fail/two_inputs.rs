use everstep::{ActivityContext, Failure, activity, entity};

#[activity]
async fn add(_: ActivityContext, a: u32, b: u32) -> Result<u32, Failure> {
    Ok(a + b)
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter(u32);

#[entity]
impl Counter {
    fn add(&mut self, a: u32, b: u32) {
        self.0 += a + b;
    }
}

fn main() {}
