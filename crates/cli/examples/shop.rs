//! An app with a bit of everything, for the tests of the command line to ask, steer and repair.

use std::process::ExitCode;

use everstep::{Activity, ActivityContext, App, Context, Failure, Orchestrator};
use everstep_host::{FunctionApp, Http, HttpCall};

const CHARGE: Activity<u32, String> = Activity::new("charge");
const SHIP: Orchestrator<u32, String> = Orchestrator::new("ship");

fn main() -> ExitCode {
    everstep_host::main(|_| {
        FunctionApp::new(durable()).http("Hi", Http::get("hi/{name}"), async |call: HttpCall| {
            Ok::<_, Failure>(format!("hi {}", call.param("name")))
        })
    })
}

fn durable() -> App {
    App::new("1")
        .orchestrator(Orchestrator::new("order"), async |context: Context, cents: u32| {
            context.call(CHARGE, cents).await?;
            let shipped = context.child(SHIP, cents).await?;
            Ok::<_, Failure>(shipped)
        })
        .orchestrator(SHIP, async |_: Context, cents: u32| {
            Ok::<_, Failure>(format!("shipped for {cents}"))
        })
        .orchestrator(Orchestrator::new("approval"), async |context: Context, (): ()| {
            context.set_custom_status("asking");
            let is_approved: bool = context.event("Approve").await?;
            Ok::<_, Failure>(is_approved)
        })
        .activity(CHARGE, async |_: ActivityContext, cents: u32| match cents {
            0 => Err(Failure::new("NoMoney", "there is nothing to charge")),
            _ => Ok(format!("charged {cents}")),
        })
        .entity::<Counter>()
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter(u32);

#[everstep::entity]
impl Counter {
    fn add(&mut self, by: u32) {
        self.0 += by;
    }
}
