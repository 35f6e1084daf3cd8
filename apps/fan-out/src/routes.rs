//! What is asked from outside: starting runs, and trying one chunk.

use std::sync::Arc;

use everstep::{Failure, InstanceId, StartOptions, TypedClient as _};
use everstep_host::{BAD_REQUEST, HttpCall, Response, TimerCall};
use http::{HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    chunk::{self, Status, kind},
    run::{LIMIT, ORCHESTRATOR},
    settings::{MAX_CHUNKS, Settings},
};

/// A run's input is repeated in each chunk's.
const BODY_MAX: usize = 16 << 10;
/// The chunk that is tried where none is posted.
const TRIED_START: &str = "2025-06-16T15:00:00.000000Z";
const TRIED_END: &str = "2025-06-16T15:10:00.000000Z";
/// The chunks of a run that starts by itself: 200 records by 40.
const CHUNKS: u32 = 200 / 40;

/// `POST /api/starter_function`
pub(crate) async fn start(
    mut call: HttpCall,
    settings: Arc<Settings>,
) -> Result<Response, Failure> {
    if call.method() != Method::POST {
        return Ok(only_post());
    }
    let input = match posted(&mut call).await? {
        Some(input @ Value::Object(_)) => input,
        Some(other) => {
            let found = kind(&other);
            return Err(bad(format!(
                "the body is {found}; it must be an object with the keys start, end, total_chunks and time, all optional"
            )));
        }
        None => last_ten_minutes(Timestamp::now()),
    };
    let client = call.client();
    let run = client.run(ORCHESTRATOR, limited(input, &settings), StartOptions::default());
    let id: InstanceId = run.await.map_err(everstep::failure)?.id().clone();
    Ok(call.check_status(&id))
}

/// The form of the published program: a run on a schedule.
pub(crate) async fn start_on_schedule(
    call: TimerCall,
    settings: Arc<Settings>,
) -> Result<(), Failure> {
    let input = limited(last_ten_minutes(Timestamp::now()), &settings);
    let started = call.client().run(ORCHESTRATOR, input, StartOptions::default()).await;
    started.map(drop).map_err(everstep::failure)
}

/// `GET|POST /api/test_activity_function`
pub(crate) async fn test(mut call: HttpCall, settings: Arc<Settings>) -> Result<Response, Failure> {
    let input = match posted(&mut call).await {
        Ok(Some(input)) => input,
        Ok(None) => {
            json!({ "chunk_id": 0, "start": TRIED_START, "end": TRIED_END, "total_chunks": CHUNKS, "time": TRIED_START })
        }
        Err(failure) => return Ok(answer(400, &failed(&failure.message))),
    };
    let record = chunk::process(&settings, &call.invocation_id().to_string(), &input).await;
    if record.status == Status::Error {
        return Ok(answer(500, &failed(record.error.as_deref().unwrap_or_default())));
    }
    let tested = json!({
        "success": true,
        "message": "Activity function test completed successfully",
        "input": input,
        "result": record,
    });
    Ok(answer(200, &tested))
}

fn failed(error: &str) -> Value {
    json!({ "success": false, "error": error, "message": "Activity function test failed" })
}

/// The body as JSON; nothing if there is none.
async fn posted(call: &mut HttpCall) -> Result<Option<Value>, Failure> {
    let bytes = call.bytes().await?;
    if bytes.len() > BODY_MAX {
        let length = bytes.len();
        return Err(bad(format!("the body has {length} bytes; it may have {BODY_MAX}")));
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let read: Value = serde_json::from_slice(&bytes).map_err(|error| {
        bad(format!("the body is not JSON: {error}; send an object, or nothing"))
    })?;
    Ok(Some(read).filter(|value| !value.is_null()))
}

/// What a run is told that starts by itself.
fn last_ten_minutes(now: Timestamp) -> Value {
    let start =
        now.checked_sub(SignedDuration::from_mins(10)).expect("now is not the first of all times");
    let (start, end) = (format!("{start:.6}"), format!("{now:.6}"));
    json!({ "start": start, "end": end, "total_chunks": CHUNKS, "time": start })
}

/// Tells a run the limit where it is not the usual one; what a caller says of it does not count.
fn limited(mut input: Value, settings: &Settings) -> Value {
    if let Some(keys) = input.as_object_mut() {
        keys.remove(LIMIT);
        if settings.max_chunks != MAX_CHUNKS {
            keys.insert(LIMIT.to_owned(), settings.max_chunks.into());
        }
    }
    input
}

fn bad(text: String) -> Failure {
    Failure::new(BAD_REQUEST, text)
}

fn only_post() -> Response {
    let text = "runs are started with POST; GET /api/test_activity_function tries one chunk";
    let mut response = everstep_host::refusal(405, text);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

fn answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status.try_into().expect("it is an HTTP status");
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_by_itself_covers_the_ten_minutes_before_it() {
        let now = "2025-06-16T15:03:00.0785859Z".parse().unwrap();
        assert_eq!(
            last_ten_minutes(now),
            json!({
                "start": "2025-06-16T14:53:00.078585Z",
                "end": "2025-06-16T15:03:00.078585Z",
                "total_chunks": 5,
                "time": "2025-06-16T14:53:00.078585Z",
            })
        );
    }

    #[test]
    fn the_limit_of_the_settings_counts_and_not_the_callers() {
        let of = |max_chunks| Settings { max_chunks, ..Settings::default() };
        let input = json!({ "total_chunks": 9, "max_chunks": 900 });
        assert_eq!(limited(input.clone(), &of(MAX_CHUNKS)), json!({ "total_chunks": 9 }));
        assert_eq!(limited(input, &of(8)), json!({ "total_chunks": 9, "max_chunks": 8 }));
    }
}
