//! Entities: batches of operations as the SDK takes them, and what it answers.
//!
//! N1  The input of an operation is a JSON string that holds JSON. What came otherwise is wrapped, so that requests by
//!     plain HTTP work too.
//! N2  A failure of the batch itself is tried once more; then all its operations fail.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use everstep_model::{EntitySend, Failure, InstanceId, Outcome, Value};
use everstep_worker::{EntityBatch, EntityReply, OperationCall};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{
    activity::{invoke, parsed, unsaid},
    failure::{self, Role},
    frame::{CallEnded, Frame, Typed},
    process::Place,
    worker::Shared,
};

/// What the SDK says of a batch.
#[derive(Debug, Deserialize)]
struct State {
    #[serde(rename = "entityExists")]
    exists: bool,
    #[serde(rename = "entityState")]
    text: Option<String>,
    results: Vec<Ended>,
    #[serde(default)]
    signals: Vec<Signal>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    is_error: bool,
    result: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Signal {
    target: Target,
    name: String,
    #[serde(default)]
    input: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    key: String,
}

/// Runs a batch.
pub(crate) async fn run(shared: Arc<Shared>, batch: EntityBatch) -> EntityReply {
    let (name, key) = batch.entity.entity_parts().unwrap_or_default();
    let Some(durable) = shared.durable(Role::Entity, name) else {
        let known = shared.names(Role::Entity);
        return all_failed(&batch, &failure::unknown(Role::Entity, name, &known));
    };
    let state = batch.state.as_ref().and_then(text_of);
    let operations: Vec<_> = batch.operations.iter().map(operation).collect();
    let request = json!({
        "self": { "name": name, "key": key },
        "exists": batch.state.is_some(),
        "state": state,
        "batch": operations,
    });
    let frame = Frame::of(&json!({
        "t": "inv", "fn": durable.name, "inv": shared.new_invocation(),
        "inst": batch.entity.as_str(),
        "in": { (durable.parameter.as_str()): Typed::text(request.to_string()) },
    }));
    let mut hasher = DefaultHasher::new();
    batch.entity.as_str().hash(&mut hasher);
    let place = Place::Thinks(hasher.finish());
    let mut failure = Failure::default();
    for _ in 0..2 {
        match invoke(&shared, place, &durable.name, &frame).await {
            Ok(CallEnded { ok: true, ret, .. }) => match read(ret.as_ref(), &batch) {
                Ok(reply) => return reply,
                Err(wrong) => failure = wrong,
            },
            Ok(CallEnded { err, .. }) => {
                let thrown = err.unwrap_or_else(unsaid);
                failure = Failure {
                    kind: thrown.kind,
                    message: thrown.message,
                    stack: thrown.stack,
                    ..Failure::default()
                };
            }
            Err(lost) => return all_failed(&batch, &lost),
        }
    }
    all_failed(&batch, &failure)
}

fn operation(call: &OperationCall) -> Json {
    json!({ "name": call.name, "input": wrapped(&call.input), "isSignal": false })
}

/// An input as a JSON string that holds JSON.
fn wrapped(input: &Value) -> String {
    let Some(text) = text_of(input) else { return "\"null\"".to_owned() };
    match serde_json::from_str::<String>(&text) {
        Ok(inner) if serde_json::from_str::<serde::de::IgnoredAny>(&inner).is_ok() => text,
        Ok(_) | Err(_) => Json::String(text).to_string(),
    }
}

fn text_of(value: &Value) -> Option<String> {
    let bytes = value.inline().filter(|bytes| !bytes.is_empty())?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn read(returned: Option<&Typed>, batch: &EntityBatch) -> Result<EntityReply, Failure> {
    let text = returned.and_then(Typed::as_text).unwrap_or_default();
    let state: State = serde_json::from_str(text).map_err(|error| {
        Failure::new("BadAnswer", format!("the SDK's answer to a batch cannot be read: {error}"))
    })?;
    if state.results.len() != batch.operations.len() {
        let (results, asked) = (state.results.len(), batch.operations.len());
        let text = format!("the SDK answers {results} of {asked} operations");
        return Err(Failure::new("BadAnswer", text));
    }
    let kept = state.exists.then(|| state.text.unwrap_or_else(|| "null".into()));
    Ok(EntityReply {
        results: state.results.into_iter().map(outcome).collect(),
        state: kept.map(Value::text),
        sends: state.signals.into_iter().filter_map(sent).collect(),
    })
}

fn outcome(ended: Ended) -> Outcome {
    let text = ended.result.unwrap_or_else(|| "null".to_owned());
    if !ended.is_error {
        return Outcome::Completed(Value::text(text));
    }
    let message = match parsed(&text) {
        Json::String(message) => message,
        other => other.to_string(),
    };
    Outcome::Failed(Box::new(Failure::new("Exception", message)))
}

fn sent(signal: Signal) -> Option<EntitySend> {
    let entity = InstanceId::entity(&signal.target.name, &signal.target.key).ok()?;
    let input = signal.input.map_or_else(Value::empty, Value::text);
    Some(EntitySend::Signal { entity, name: signal.name, input, due: None })
}

/// Every operation failed alike, and the state is as it was.
fn all_failed(batch: &EntityBatch, failure: &Failure) -> EntityReply {
    let outcome = Outcome::Failed(Box::new(failure.clone()));
    EntityReply {
        results: vec![outcome; batch.operations.len()],
        state: batch.state.clone(),
        sends: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_wrapped_until_it_is_a_text_with_json() {
        let cases = [
            ("\"5\"", "\"5\""),
            ("5", "\"5\""),
            ("\"plain\"", "\"\\\"plain\\\"\""),
            ("{\"a\":1}", "\"{\\\"a\\\":1}\""),
            ("", "\"null\""),
            ("null", "\"null\""),
            ("\"null\"", "\"null\""),
        ];
        for (input, expected) in cases {
            assert_eq!(wrapped(&Value::text(input)), expected, "{input}");
        }
    }

    #[test]
    fn an_operation_that_failed_says_its_message_as_text() {
        let ended = Ended { is_error: true, result: Some("\"entity boom\"".to_owned()) };
        let Outcome::Failed(failure) = outcome(ended) else { panic!("it failed") };
        assert_eq!(failure.message, "entity boom");
    }
}
