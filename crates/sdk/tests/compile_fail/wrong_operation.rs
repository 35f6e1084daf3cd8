use everstep::{Context, Failure, entity};

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter(u32);

#[entity]
impl Counter {
    fn add(&mut self, by: u32) {
        self.0 += by;
    }
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Lamp(bool);

#[entity]
impl Lamp {
    fn turn(&mut self, on: bool) {
        self.0 = on;
    }
}

async fn wrong(ctx: Context, _: ()) -> Result<(), Failure> {
    ctx.entity::<Counter>("k").call(Lamp::TURN, true).await
}

fn main() {
    let _ = everstep::App::new("1").orchestrator("wrong", wrong);
}
