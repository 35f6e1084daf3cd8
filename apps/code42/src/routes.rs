//! The timer, and what can be asked by HTTP.

use std::sync::Arc;

use axum::http::{HeaderValue, header::CONTENT_TYPE};
use everstep::{
    BoxError, ClientError, Failure, InstanceId, RunError, StartOptions, TypedClient as _,
};
use everstep_host::{FunctionApp, Http, HttpCall, Response, Timer, TimerCall};
use serde_json::{Value, json};

use crate::{
    run,
    spool::report::{self, iso},
    work::Pipeline,
};

/// Runs that the status shows.
const RUNS: u32 = 20;
/// Skipped objects that it lists.
const SKIPPED: u32 = 100;
/// Entries of the quarantine in one answer.
const ENTRIES: u32 = 1000;

/// What became of a start.
enum Started {
    Now(InstanceId),
    /// The run before goes on.
    Running(InstanceId),
}

/// Adds the timer and the routes to the app.
pub(crate) fn add(app: FunctionApp, pipeline: &Arc<Pipeline>) -> Result<FunctionApp, BoxError> {
    let timer = Timer::checked(&pipeline.settings.schedule)
        .map_err(|error| format!("the setting C42_SCHEDULE: {}", error.message))?;
    // Gives a function's code the pipeline.
    macro_rules! held {
        ($code:ident) => {{
            let held = Arc::clone(pipeline);
            move |call| $code(Arc::clone(&held), call)
        }};
    }
    Ok(app
        .timer("code42_timer", timer, held!(scheduled))
        .http("code42_start", Http::post("code42/run"), held!(start_run))
        .http("code42_status", Http::get("code42/status"), held!(status))
        .http("code42_quarantine", Http::get("code42/quarantine"), held!(quarantine)))
}

async fn scheduled(pipeline: Arc<Pipeline>, call: TimerCall) -> Result<(), Failure> {
    if call.event().is_past_due {
        tracing::info!(target: crate::LOG, "The timer is past due!");
    }
    pipeline.ready()?;
    if let Started::Running(_) = start(&pipeline).await? {
        tracing::warn!(target: crate::LOG, "the run before goes on; this time is skipped");
        pipeline.spool.with(|db| report::note_skipped_firing(db)).await?;
    }
    Ok(())
}

async fn start_run(pipeline: Arc<Pipeline>, call: HttpCall) -> Result<Response, Failure> {
    if let Err(missing) = &pipeline.settings.essentials {
        let body = json!({ "error": missing.to_string(), "missing": missing.0 });
        return Ok(answer(503, &body));
    }
    Ok(match start(&pipeline).await? {
        Started::Now(id) => call.check_status(&id),
        Started::Running(id) => {
            let error = "a run is at work; its end can be waited for";
            answer(409, &json!({ "error": error, "instanceId": id.as_str() }))
        }
    })
}

async fn start(pipeline: &Pipeline) -> Result<Started, Failure> {
    let id = instance()?;
    let options = StartOptions { id: Some(id.clone()), ..StartOptions::default() };
    match pipeline.services.client().run(run::RUN, pipeline.run(), options).await {
        Ok(_) => Ok(Started::Now(id)),
        Err(RunError::Client(ClientError::AlreadyExists { .. })) => Ok(Started::Running(id)),
        Err(error) => Err(everstep::failure(error)),
    }
}

fn instance() -> Result<InstanceId, Failure> {
    InstanceId::orchestration(run::INSTANCE).map_err(everstep::failure)
}

async fn status(pipeline: Arc<Pipeline>, call: HttpCall) -> Result<Response, Failure> {
    let running = match call.client().get(&instance()?).await {
        Ok(view) => !view.status.is_terminal(),
        Err(ClientError::NotFound(_)) => false,
        Err(error) => return Err(everstep::failure(error)),
    };
    let (runs, totals, skipped) = pipeline
        .spool
        .with(|db| {
            let runs = report::runs(db, RUNS)?;
            let newest = runs.first().map_or(0, |run| run.id);
            Ok((runs, report::totals(db)?, report::skipped_old(db, newest, SKIPPED)?))
        })
        .await?;
    let missing = pipeline.settings.essentials.as_ref().err().map(|missing| &missing.0);
    let body = json!({
        "running": running,
        "missing": missing.map_or(&[][..], Vec::as_slice),
        "skippedFirings": totals.skipped_firings,
        "quarantined": totals.quarantined,
        "waitingRecords": totals.waiting_records,
        "skippedOld": skipped,
        "runs": runs.iter().map(shown).collect::<Vec<_>>(),
    });
    Ok(answer(200, &body))
}

fn shown(run: &report::Run) -> Value {
    let mut shown = run.output();
    shown["began"] = iso(run.began).into();
    shown["ended"] = run.ended.map(iso).into();
    shown
}

async fn quarantine(pipeline: Arc<Pipeline>, call: HttpCall) -> Result<Response, Failure> {
    let (after, most) = match (number(&call, "after"), number(&call, "limit")) {
        (Ok(after), Ok(most)) => (after.unwrap_or(0), most.unwrap_or(100).clamp(1, ENTRIES)),
        (Err(error), _) | (_, Err(error)) => return Ok(answer(400, &json!({ "error": error }))),
    };
    let entries =
        pipeline.spool.with(move |db| report::quarantine(db, i64::from(after), most)).await?;
    let next = (entries.len() == most as usize).then(|| entries.last().map(|entry| entry.id));
    Ok(answer(200, &json!({ "entries": entries, "next": next.flatten() })))
}

fn number(call: &HttpCall, name: &str) -> Result<Option<u32>, String> {
    let parsed = call.query(name).map(|text| text.parse()).transpose();
    parsed.map_err(|_| format!("`{name}` in the query is no whole number"))
}

fn answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status.try_into().expect("it is one of HTTP's");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
