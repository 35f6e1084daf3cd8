#![doc = include_str!("../README.md")]

mod activities;
mod answers;
mod event_grid;
mod language;
mod run;
mod settings;
mod starts;

use std::sync::Arc;

use everstep::{ActivityContext, App, Failure};
use everstep_host::{FunctionApp, Http, Queue, Services, Timer};

use activities::Publisher;
use answers::Counters;
pub use settings::BadSetting;
use settings::Settings;

/// The app.
pub fn app(services: &Services) -> Result<FunctionApp, BadSetting> {
    let settings = Arc::new(Settings::read(|name| services.setting(name))?);
    let counters = Arc::new(Counters::default());
    let publisher = Arc::new(Publisher::new(services.clone(), Arc::clone(&settings)));
    let (starting, delivering) = (Arc::clone(&settings), Arc::clone(&settings));
    let preparing = Arc::clone(&settings);
    let (answering, counting) = (Arc::clone(&counters), Arc::clone(&counters));
    let language = settings.language;
    let app = FunctionApp::new(durable(language, publisher))
        .http(
            "orchestrators",
            Http::get("orchestrators/{functionName}").method("post").anonymous(),
            move |call| starts::start(call, Arc::clone(&starting)),
        )
        .http("event_grid_start", Http::post("eventgrid/video").method("options"), move |call| {
            event_grid::deliver(call, Arc::clone(&delivering))
        })
        .http("counters", Http::get("video/counters").anonymous(), move |_| {
            let shown = answers::counters(&counting);
            async move { Ok::<_, Failure>(shown) }
        })
        .queue("client_function", Queue::new(&settings.answers), move |call| {
            answers::take(call, language, Arc::clone(&answering))
        })
        // At each start, and every night for a queue that somebody has deleted.
        .timer("prepare_queues", Timer::new("0 0 3 * * *").run_on_startup(), move |call| {
            let settings = Arc::clone(&preparing);
            async move { call.services().make_queue("", &settings.requests).await }
        });
    Ok(app)
}

/// The durable functions.
fn durable(language: language::Language, publisher: Arc<Publisher>) -> App {
    App::new(env!("CARGO_PKG_VERSION"))
        .orchestrator(run::ORCHESTRATOR, run::video_orchestrator)
        .activity(run::SEND_REQUEST, move |_: ActivityContext, request| {
            let publisher = Arc::clone(&publisher);
            async move { publisher.send(request).await }
        })
        .activity(run::COMPLETE, move |ctx: ActivityContext, event| async move {
            Ok::<_, Failure>(activities::complete(language, ctx.instance_id(), &event))
        })
        .activity(run::ESCALATE, move |ctx: ActivityContext, text: String| async move {
            Ok::<_, Failure>(activities::escalate(language, ctx.instance_id(), text))
        })
        .activity(run::NOTIFY_FAILURE, move |ctx: ActivityContext, problem| async move {
            Ok::<_, Failure>(activities::notify_failure(language, ctx.instance_id(), &problem))
        })
        .activity(run::GREET, |_: ActivityContext, city: String| async move {
            Ok::<_, Failure>(activities::greet(&city))
        })
}
