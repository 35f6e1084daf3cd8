//! The app: its durable functions, and what starts them.

use std::process::ExitCode;

use everstep::{Failure, StartOptions, TypedClient as _};
use everstep_host::{FunctionApp, Http, HttpCall, Response, Timer, TimerCall};
use app_name::{Order, durable, order};

/// Answers `POST /api/orders` with the addresses at which the order can be asked for.
async fn start_order(mut call: HttpCall) -> Result<Response, Failure> {
    let wanted: Order = call.json().await?;
    let run = call.client().run(order, wanted, StartOptions::default()).await;
    let run = run.map_err(everstep::failure)?;
    Ok(call.check_status(run.id()))
}

/// Runs at the beginning of each hour.
async fn each_hour(call: TimerCall) -> Result<(), Failure> {
    if call.event().is_past_due {
        eprintln!("an hour began while nobody was there");
    }
    Ok(())
}

fn main() -> ExitCode {
    everstep_host::main(|_services| {
        FunctionApp::new(durable())
            .http("StartOrder", Http::post("orders").anonymous(), start_order)
            .timer("EachHour", Timer::new("0 0 * * * *"), each_hour)
    })
}
