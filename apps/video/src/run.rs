//! The orchestration: a request goes out, and the first of its answer and the timeout decides.
//!
//! V1  Exactly one of the two outcomes. What comes after it changes nothing, and no timer is left.
//! V2  An answer that comes before the wait begins is kept and used.
//! V3  Whatever goes wrong on the way ends in a notification and a completed instance; its `result` tells.
//! V4  Time is that of the orchestration. How long to wait stands in the input.

use std::time::Duration;

use everstep::{Activity, Context, Either, Failure, Orchestrator, RetryPolicy, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::settings::{TIMEOUT_RANGE, TIMEOUT_SECONDS};

pub(crate) const ORCHESTRATOR: Orchestrator<Value, Vec<Value>> =
    Orchestrator::new("video_orchestrator");
pub(crate) const SEND_REQUEST: Activity<Request, Value> = Activity::new("send_processing_request");
pub(crate) const COMPLETE: Activity<Value, Value> = Activity::new("SendVideoComplited");
pub(crate) const ESCALATE: Activity<String, Value> = Activity::new("Escalate");
pub(crate) const NOTIFY_FAILURE: Activity<Problem, Value> =
    Activity::new("SendFailureNotification");
pub(crate) const GREET: Activity<String, Value> = Activity::new("video_orchestration_activity");

/// The event that an answer is raised as.
pub(crate) const ANSWER: &str = "PROCESSING_VIDEO_COMPLITED";
/// The input's key with the time that an answer may take, where it is not the usual one.
pub(crate) const TIMEOUT: &str = "timeoutSeconds";
/// A queue that is away is asked again.
const SEND_ATTEMPTS: u32 = 4;

/// What the worker is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    #[serde(rename = "blobUrl")]
    pub(crate) blob_url: Value,
    #[serde(rename = "blobName")]
    pub(crate) blob_name: String,
    pub(crate) posted: String,
    pub(crate) instance_id: String,
}

/// What went wrong on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) text: String,
    pub(crate) error_type: ErrorType,
}

/// The types that the original tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ErrorType {
    /// The input has no name.
    ValueError,
    /// An activity failed.
    Exception,
}

pub(crate) async fn video_orchestrator(ctx: Context, input: Value) -> Result<Vec<Value>, Failure> {
    let (mut elements, result) = match process(&ctx, &input).await {
        Ok(ended) => ended,
        Err(problem) => (vec![ctx.call(NOTIFY_FAILURE, problem).await?], "failed"),
    };
    if let Some(last) = elements.last_mut() {
        last["result"] = json!(result);
    }
    ctx.set_custom_status(&json!({ "result": result }));
    Ok(elements)
}

async fn process(ctx: &Context, input: &Value) -> Result<(Vec<Value>, &'static str), Problem> {
    let Some(name) = input["name"].as_str().filter(|name| !name.trim().is_empty()) else {
        // The original's words.
        let text = "blob_name is requered in input data!".to_owned();
        return Err(Problem { text, error_type: ErrorType::ValueError });
    };
    let request = Request {
        blob_url: input["bloburl"].clone(),
        blob_name: name.to_owned(),
        posted: iso(ctx.now()),
        instance_id: ctx.instance_id().as_str().to_owned(),
    };
    let retry = RetryPolicy::exponential(Duration::from_secs(1), SEND_ATTEMPTS);
    let sent = ctx.call(SEND_REQUEST, request).retry(retry).await;
    let sent = sent.map_err(|failure| failed("send_processing_request", &failure))?;

    let due = ctx.now().after(patience(input));
    ctx.set_custom_status(&json!({ "state": "waiting", "due": iso(due) }));
    let (answer, timer) = (ctx.event::<Value>(ANSWER), ctx.sleep_until(due));
    match everstep::select((answer, timer)).await {
        Either::First(answer) => {
            let answer = answer.map_err(|failure| failed(ANSWER, &failure))?;
            let ended = ctx.call(COMPLETE, answer).await;
            let ended = ended.map_err(|failure| failed("SendVideoComplited", &failure))?;
            Ok((vec![sent, ended], "processed"))
        }
        Either::Second(()) => {
            let ended = ctx.call(ESCALATE, "ESCALATE DUE TO TIMEOUT".to_owned()).await;
            let ended = ended.map_err(|failure| failed("Escalate", &failure))?;
            Ok((vec![sent, ended], "timeout"))
        }
    }
}

/// How long an answer may take. What cannot be a time is the usual one: whoever starts a run has checked it.
fn patience(input: &Value) -> Duration {
    let seconds = input[TIMEOUT].as_u64().filter(|seconds| TIMEOUT_RANGE.contains(seconds));
    Duration::from_secs(seconds.unwrap_or(TIMEOUT_SECONDS))
}

/// The reason, and on a line of its own what is behind it.
fn failed(what: &str, failure: &Failure) -> Problem {
    let mut text = format!("{what} failed \n {}", failure.message);
    let mut cause = failure.inner.as_deref();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.message);
        cause = inner.inner.as_deref();
    }
    Problem { text, error_type: ErrorType::Exception }
}

/// As Python writes times with a zone, and reads them.
fn iso(time: Timestamp) -> String {
    let text = time.to_string();
    // Seven digits of a second become six.
    format!("{}+00:00", &text[..26])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use everstep::{
        InstanceId,
        testing::{self, TestHub},
    };

    use super::*;
    use crate::{
        activities::{self, Publisher},
        language::Language,
    };

    fn app() -> everstep::App {
        crate::durable(Language::English, Arc::new(Publisher::nowhere()))
    }

    /// A hub in which requests are put into a queue that is none.
    fn hub() -> TestHub {
        let mut hub = TestHub::new(app());
        hub.mock(SEND_REQUEST, |request| Ok(activities::sent("m1", &request)));
        hub
    }

    fn input() -> Value {
        json!({ "name": "a.mp4", "bloburl": "https://videos/a.mp4" })
    }

    fn element(activity: &str, data: &Value, result: &str) -> Value {
        json!({
            "ok": true, "activity": activity, "code": 200, "message": "Activity processed successfully",
            "data": data, "result": result,
        })
    }

    fn raise(hub: &mut TestHub, id: &InstanceId, answer: &Value) {
        hub.raise(id, ANSWER, answer).unwrap();
    }

    #[test]
    fn an_answer_in_time_is_the_outcome_and_leaves_no_timer() {
        let mut hub = hub();
        let run = hub.start(ORCHESTRATOR, input()).unwrap();
        hub.run();
        let status: Value = hub.custom_status(run.id()).unwrap().unwrap();
        assert_eq!(
            status,
            json!({ "state": "waiting", "due": "2026-01-01T00:06:00.000002+00:00" })
        );
        let answer = json!({ "instance_id": run.id().as_str(), "status": "PROCESSED" });
        raise(&mut hub, run.id(), &answer);
        let output = hub.result(&run).unwrap();
        assert_eq!(
            output[0],
            json!({
                "ok": true, "activity": "send_processing_request", "code": 200,
                "message": "Activity processed successfully",
                "data": {
                    "message_id": "m1",
                    "blobMessage": {
                        "blobUrl": "https://videos/a.mp4", "blobName": "a.mp4",
                        "posted": "2026-01-01T00:00:00.000001+00:00", "instance_id": run.id().as_str(),
                    },
                },
            })
        );
        assert_eq!(output[1], element("SendVideoComplited", &answer, "processed"));
        assert_eq!(output.len(), 2);
        let status: Value = hub.custom_status(run.id()).unwrap().unwrap();
        assert_eq!(status, json!({ "result": "processed" }));
        let history = format!("{:?}", hub.history(run.id()).unwrap());
        assert!(!history.contains("TimerFired"), "{history}");
    }

    #[test]
    fn without_an_answer_the_timeout_is_the_outcome_and_a_late_answer_changes_nothing() {
        let mut hub = hub();
        let run = hub.start(ORCHESTRATOR, input()).unwrap();
        let before = hub.now();
        let output = hub.result(&run).unwrap();
        assert_eq!(hub.now().since(before).as_secs(), 360);
        assert_eq!(
            output[1],
            element("Escalate_activity", &json!("ESCALATE DUE TO TIMEOUT"), "timeout")
        );
        let history = hub.history(run.id()).unwrap();
        assert!(hub.raise(run.id(), ANSWER, &json!({ "late": true })).is_err());
        assert_eq!(hub.history(run.id()).unwrap(), history);
        assert_eq!(hub.status(run.id()).unwrap().name(), "Completed");
    }

    #[test]
    fn how_long_to_wait_stands_in_the_input() {
        for (asked, expected) in
            [(json!(5), 5), (json!(604_800), 604_800), (json!(0), 360), (json!("5"), 360)]
        {
            let mut hub = hub();
            let mut input = input();
            input[TIMEOUT] = asked;
            let run = hub.start(ORCHESTRATOR, input).unwrap();
            let before = hub.now();
            hub.result(&run).unwrap();
            assert_eq!(hub.now().since(before).as_secs(), expected);
        }
    }

    #[test]
    fn an_answer_that_is_there_before_the_wait_is_used() {
        let mut hub = hub();
        let run = hub.start(ORCHESTRATOR, input()).unwrap();
        // Nothing of the run has happened yet.
        raise(&mut hub, run.id(), &json!({ "early": true }));
        let output = hub.result(&run).unwrap();
        assert_eq!(
            output[1],
            element("SendVideoComplited", &json!({ "early": true }), "processed")
        );
    }

    #[test]
    fn of_an_answer_and_a_timeout_one_is_the_outcome_in_whatever_order_they_come() {
        let outcome = testing::explore(&app(), 0..64, |hub| {
            hub.mock(SEND_REQUEST, |request| Ok(activities::sent("m1", &request)));
            let run = hub.start(ORCHESTRATOR, input())?;
            hub.run();
            hub.advance(Duration::from_mins(6));
            drop(hub.raise(run.id(), ANSWER, &json!(1)));
            let output = hub.result(&run)?;
            assert_eq!(output.len(), 2);
            Ok::<_, testing::Error>(
                ["processed", "timeout"].contains(&output[1]["result"].as_str().unwrap()),
            )
        });
        assert_eq!(outcome.unwrap().result, Ok(true));
    }

    fn failed_element(text: &str, error_type: &str) -> Vec<Value> {
        vec![json!({
            "ok": false, "activity": "SendFailureNotification", "code": 404,
            "message": format!("video_orchestrator completed with error = {text}"),
            "error_type": error_type, "result": "failed",
        })]
    }

    #[test]
    fn a_run_without_a_name_completes_with_what_is_wrong() {
        for input in [json!(null), json!({ "bloburl": "u" }), json!({ "name": "" }), json!([1])] {
            let mut hub = hub();
            let run = hub.start(ORCHESTRATOR, input).unwrap();
            let expected = failed_element("blob_name is requered in input data!", "ValueError");
            assert_eq!(hub.result(&run).unwrap(), expected);
            let status: Value = hub.custom_status(run.id()).unwrap().unwrap();
            assert_eq!(status, json!({ "result": "failed" }));
        }
    }

    #[test]
    fn a_queue_that_is_away_is_asked_again_and_then_the_cause_is_told() {
        let mut hub = hub();
        let calls = hub.mock(SEND_REQUEST, |_| {
            Err(Failure::new("Storage", "the queue is away")
                .caused_by(Failure::new("Io", "refused")))
        });
        let run = hub.start(ORCHESTRATOR, input()).unwrap();
        let text = "send_processing_request failed \n the queue is away: refused";
        assert_eq!(hub.result(&run).unwrap(), failed_element(text, "Exception"));
        assert_eq!(calls.count(), 4);
    }

    #[test]
    fn a_crash_at_any_commit_changes_nothing_in_the_outcome() {
        let swept = testing::crash_everywhere(&app(), |hub| {
            hub.mock(SEND_REQUEST, |request| Ok(activities::sent("m1", &request)));
            let run = hub.start(ORCHESTRATOR, input())?;
            hub.run();
            hub.raise(run.id(), ANSWER, &json!({ "status": "PROCESSED" }))?;
            let output = hub.result(&run)?;
            Ok::<_, testing::Error>(output[1].clone())
        })
        .unwrap();
        let expected =
            element("SendVideoComplited", &json!({ "status": "PROCESSED" }), "processed");
        assert_eq!(swept.result, Ok(expected));
    }
}
