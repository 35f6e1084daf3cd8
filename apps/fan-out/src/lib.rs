#![doc = include_str!("../README.md")]

mod chunk;
mod routes;
mod run;
mod settings;

use std::sync::Arc;

use everstep::{ActivityContext, App, Failure};
use everstep_host::{FunctionApp, Http, Services, Timer};
use serde_json::Value;

use settings::Settings;
pub use settings::{BadSetting, MAX_CHUNKS};

/// The app.
pub fn app(services: &Services) -> Result<FunctionApp, BadSetting> {
    let settings = Arc::new(Settings::read(|name| services.setting(name))?);
    let (starter, tester) = (Arc::clone(&settings), Arc::clone(&settings));
    let app = FunctionApp::new(durable(&settings))
        .http("starter_function", Http::any("starter_function").anonymous(), move |call| {
            routes::start(call, Arc::clone(&starter))
        })
        .http(
            "test_activity_function",
            Http::get("test_activity_function").method("post").anonymous(),
            move |call| routes::test(call, Arc::clone(&tester)),
        );
    let Some(schedule) = settings.schedule.clone() else { return Ok(app) };
    let starter = Arc::clone(&settings);
    Ok(app.timer("starter_timer", Timer::new(&schedule), move |call| {
        routes::start_on_schedule(call, Arc::clone(&starter))
    }))
}

/// The durable functions.
fn durable(settings: &Arc<Settings>) -> App {
    let settings = Arc::clone(settings);
    App::new(env!("CARGO_PKG_VERSION")).orchestrator(run::ORCHESTRATOR, run::fan_out).activity(
        run::PROCESS,
        move |ctx: ActivityContext, input: Value| {
            let settings = Arc::clone(&settings);
            async move {
                Ok::<_, Failure>(chunk::process(&settings, &ctx.idempotency_key(), &input).await)
            }
        },
    )
}
