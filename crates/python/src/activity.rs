//! Activities: one attempt each, wherever a process is free.
//!
//! A1  An attempt that loses its process to another call runs again. One that loses it by itself is suspected, and runs
//!     again alone; after [`STRIKES`] it fails, so that the orchestrator can catch it.

use std::sync::Arc;

use everstep_model::{Failure, Outcome, Value, kinds};
use everstep_worker::ActivityCall;
use serde_json::{Value as Json, json};

use crate::{
    failure::{self, Role},
    frame::{CallEnded, Frame, Thrown, Typed},
    process::{Company, Loss, Place, Reply},
    worker::Shared,
};

/// How often a call may take its process down.
pub(crate) const STRIKES: u32 = 3;

/// Runs one attempt.
pub(crate) async fn run(shared: Arc<Shared>, call: ActivityCall) -> Outcome {
    let Some(durable) = shared.durable(Role::Activity, &call.name) else {
        let known = shared.names(Role::Activity);
        return failed(failure::unknown(Role::Activity, &call.name, &known));
    };
    let input = call.input.inline().filter(|input| !input.is_empty());
    let input = input.map_or("null".into(), |input| String::from_utf8_lossy(input));
    let mut frame = json!({
        "t": "inv", "fn": durable.name, "inv": shared.new_invocation(),
        "inst": call.instance.as_str(), "in": { (durable.parameter.as_str()): Typed::text(input) },
    });
    if let Some(trace) = &call.trace {
        frame["trace"] = json!({ "parent": &*trace.traceparent, "state": &*trace.tracestate });
    }
    match invoke(&shared, Place::Calls, &durable.name, &Frame::of(&frame)).await {
        Ok(CallEnded { ok: true, ret, .. }) => Outcome::Completed(Value::text(result(ret))),
        Ok(CallEnded { err, .. }) => {
            failed(failure::of_activity(&call.name, err.unwrap_or_else(unsaid)))
        }
        Err(failure) => failed(failure),
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed(Box::new(failure))
}

/// The JSON text that an activity returned.
fn result(returned: Option<Typed>) -> String {
    let Some(typed) = returned else { return "null".to_owned() };
    match (typed.k.as_str(), typed.as_text()) {
        ("json", Some(text)) => text.to_owned(),
        _ => typed.v.to_string(),
    }
}

/// An exception that says nothing of itself.
pub(crate) fn unsaid() -> Thrown {
    Thrown {
        kind: "Exception".to_owned(),
        message: "the process gave no reason".to_owned(),
        stack: String::new(),
    }
}

/// Makes a call of a durable function until a process has answered it, or it is to blame for the end of several.
pub(crate) async fn invoke(
    shared: &Shared,
    place: Place,
    name: &str,
    frame: &Frame,
) -> Result<CallEnded, Failure> {
    let mut strikes = 0;
    let mut company = Company::Others;
    loop {
        match shared.pool.call(place, company, shared.limit, |id| frame.numbered(id)).await {
            Ok(Reply::Call(ended)) => return Ok(ended),
            Ok(Reply::Turn(_)) | Err(Loss::Swept) => {}
            Err(Loss::TooLong) => return Err(too_long(shared, name)),
            Err(Loss::Crashed(how)) => {
                strikes += 1;
                tracing::warn!(
                    target: "Worker",
                    "the process that ran `{name}` ended ({how}) (loss {strikes} of {STRIKES} of this call)"
                );
                company = Company::Alone;
                if strikes >= STRIKES {
                    return Err(poison(&how));
                }
            }
        }
    }
}

fn too_long(shared: &Shared, name: &str) -> Failure {
    let limit = shared.limit.unwrap_or_default();
    tracing::warn!(
        target: "Worker",
        "the process that ran `{name}` was ended: the call took longer than {limit:?}; others that ran in it run again"
    );
    let text = format!(
        "it took longer than {limit:?}; raise `functionTimeout` in host.json, or make the work smaller"
    );
    Failure::new(kinds::TIMEOUT, text)
}

fn poison(how: &str) -> Failure {
    let text = format!(
        "the process that ran it ended {STRIKES} times ({how}); see the log for what it said"
    );
    Failure::new(kinds::POISON, text)
}

/// The JSON value of a text that should be JSON.
pub(crate) fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()))
}
