//! `client_function`: answers of the worker, from the queue to the run that waits for them.
//!
//! A1  The message's text is JSON, plain or as base64. It is handed on as it is.
//! A2  An answer for a run that has ended is done with: it is counted, and a line warns.
//! A3  An answer that cannot be read, or for a run that nobody knows, fails: the queue gives it again, and after its last
//!     time it goes to the poison queue as it came.
//! A4  A message that comes twice is one answer: its id is the event's key.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use everstep::{ClientError, Failure, InstanceId};
use everstep_host::{QueueCall, Response};
use serde_json::{Value, json};

use crate::{
    language::{Language, Line},
    run::ANSWER,
    starts,
};

/// What became of answers since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    taken: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
}

pub(crate) async fn take(
    call: QueueCall,
    language: Language,
    counters: Arc<Counters>,
) -> Result<(), Failure> {
    let taken = hand_over(&call, language, &counters).await;
    let counter = if taken.is_ok() { &counters.taken } else { &counters.refused };
    counter.fetch_add(1, Ordering::Relaxed);
    taken
}

async fn hand_over(
    call: &QueueCall,
    language: Language,
    counters: &Counters,
) -> Result<(), Failure> {
    let answer = read(call.bytes()).map_err(everstep::failure)?;
    let named = answer["instance_id"].as_str().unwrap_or_default();
    let id = InstanceId::orchestration(named).map_err(everstep::failure)?;
    let instance = id.as_str();
    let key = call.data("Id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let input = everstep::Value::from(answer.to_string());
    let event = everstep::Raised { name: ANSWER.to_owned(), input, key };
    match call.client().raise(&id, event).await {
        Ok(()) => {
            tracing::info!("{}", language.says(Line::Answered { instance }));
            Ok(())
        }
        Err(ClientError::WrongStatus { .. }) => {
            let count = counters.late.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!("{}", language.says(Line::Late { instance, count }));
            Ok(())
        }
        Err(error) => {
            if matches!(error, ClientError::NotFound(_)) {
                tracing::warn!("{}", language.says(Line::Unknown { instance }));
            }
            Err(everstep::failure(error))
        }
    }
}

/// An answer, from plain text or from base64.
fn read(text: &[u8]) -> Result<Value, String> {
    let parsed = serde_json::from_slice(text).or_else(|error| {
        let decoded = BASE64.decode(text.trim_ascii()).map_err(|_| error)?;
        serde_json::from_slice(&decoded)
    });
    let answer: Value = parsed.map_err(|error| {
        format!("the message is no answer: {error}; send JSON, as it is or as base64")
    })?;
    match answer["instance_id"].as_str() {
        Some(id) if !id.is_empty() => Ok(answer),
        Some(_) | None => Err(
            "the message is no answer: it names no run; send an object with the text `instance_id`"
                .to_owned(),
        ),
    }
}

/// `GET /api/video/counters`
pub(crate) fn counters(counters: &Counters) -> Response {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let late = count(&counters.late);
    let body = json!({
        "answers_taken": count(&counters.taken) - late,
        "answers_late": late,
        "answers_refused": count(&counters.refused),
    });
    starts::answer(200, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_from_plain_text_and_from_base64() {
        let text = r#"{"instance_id": "a", "status": "PROCESSED"}"#;
        let expected = json!({ "instance_id": "a", "status": "PROCESSED" });
        assert_eq!(read(text.as_bytes()), Ok(expected.clone()));
        assert_eq!(read(BASE64.encode(text).as_bytes()), Ok(expected.clone()));
        assert_eq!(read(format!("\n{} ", BASE64.encode(text)).as_bytes()), Ok(expected));
    }

    #[test]
    fn what_is_no_answer_is_refused_with_what_to_send() {
        let error = |text: &str| read(text.as_bytes()).unwrap_err();
        assert_eq!(
            error("done"),
            "the message is no answer: expected value at line 1 column 1; send JSON, as it is or as base64"
        );
        assert_eq!(
            error("{"),
            "the message is no answer: EOF while parsing an object at line 1 column 1; send JSON, as it is or as base64"
        );
        for text in ["{}", "[]", "5", r#"{"instance_id": 5}"#, r#"{"instance_id": ""}"#] {
            assert_eq!(
                error(text),
                "the message is no answer: it names no run; send an object with the text `instance_id`"
            );
        }
    }
}
