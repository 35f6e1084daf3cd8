//! `POST /api/eventgrid/video`: new blobs, as Azure Event Grid tells of them, start runs.
//!
//! G1  Both forms are understood: Event Grid's own and `CloudEvents` 1.0, each with its handshake.
//! G2  An event is delivered at least once. The run's id is made of the event's, so that it is one run.
//! G3  Other events are taken and left out: a subscription may be wider than this.

use std::sync::Arc;

use everstep::{Client, ClientError, Failure, InstanceId, RunError, StartOptions};
use everstep_host::{HttpCall, Response};
use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::{
    language::Line,
    settings::Settings,
    starts::{self, Video},
};

const CREATED: &str = "Microsoft.Storage.BlobCreated";
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

pub(crate) async fn deliver(
    mut call: HttpCall,
    settings: Arc<Settings>,
) -> Result<Response, Failure> {
    if call.method() == Method::OPTIONS {
        return Ok(handshake(&call));
    }
    let body = call.bytes().await?;
    let events = match read(&body) {
        Ok(events) => events,
        Err(text) => return Ok(starts::refusal(400, &text)),
    };
    if let Some(code) = events.iter().find_map(validation) {
        return Ok(starts::answer(200, &json!({ "validationResponse": code })));
    }
    let (client, mut started) = (call.client(), Vec::new());
    for event in &events {
        if let Some(id) = begin(&client, &settings, event).await? {
            started.push(id.as_str().to_owned());
        }
    }
    let ignored = events.len() - started.len();
    Ok(starts::answer(202, &json!({ "ok": true, "started": started, "ignored": ignored })))
}

/// The question of `CloudEvents` whether events may come.
fn handshake(call: &HttpCall) -> Response {
    let Some(origin) = call.headers().get("webhook-request-origin").cloned() else {
        return starts::refusal(400, "the header WebHook-Request-Origin is missing");
    };
    let mut response = Response::default();
    let headers = response.headers_mut();
    headers.insert("webhook-allowed-origin", origin);
    headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    headers.insert(header::ALLOW, HeaderValue::from_static("OPTIONS, POST"));
    *response.status_mut() = StatusCode::OK;
    response
}

/// The events of a delivery: one, or an array of them.
fn read(body: &[u8]) -> Result<Vec<Value>, String> {
    let events: Value = serde_json::from_slice(body).map_err(|error| {
        format!("the body is not JSON: {error}; send an event of Event Grid, or an array of them")
    })?;
    let events = match events {
        Value::Array(events) => events,
        event => vec![event],
    };
    match events.iter().find(|event| kind(event).is_empty()) {
        None if !events.is_empty() => Ok(events),
        Some(_) | None => Err(
            "the body holds no events; each is an object with `eventType`, or with `type` as a CloudEvent"
                .to_owned(),
        ),
    }
}

fn kind(event: &Value) -> &str {
    event["eventType"].as_str().or(event["type"].as_str()).unwrap_or_default()
}

/// The code of a handshake.
fn validation(event: &Value) -> Option<&str> {
    event["data"]["validationCode"].as_str().filter(|_| kind(event) == VALIDATION)
}

/// Starts the run of an event that tells of a new blob.
async fn begin(
    client: &Client,
    settings: &Settings,
    event: &Value,
) -> Result<Option<InstanceId>, Failure> {
    let Some(video) = video(event) else {
        tracing::info!("{}", settings.language.says(Line::Ignored { kind: kind(event) }));
        return Ok(None);
    };
    let id = event["id"]
        .as_str()
        .and_then(|id| InstanceId::orchestration(&format!("eventgrid-{id}")).ok());
    let options = StartOptions { id, ..StartOptions::default() };
    match starts::begin(client, settings, video, options).await {
        Ok(id) | Err(RunError::Client(ClientError::AlreadyExists { id, .. })) => Ok(Some(id)),
        Err(error) => Err(everstep::failure(error)),
    }
}

/// The blob that an event tells of, if it tells of a new one.
fn video(event: &Value) -> Option<Video> {
    if kind(event) != CREATED {
        return None;
    }
    let url = event["data"]["url"].as_str()?;
    let named = event["subject"].as_str().and_then(|subject| subject.split_once("/blobs/"));
    let name = match named {
        Some((_, name)) => name.to_owned(),
        // Behind the account and the container.
        None => {
            let path = url.split(['?', '#']).next()?.splitn(5, '/').nth(4)?;
            percent_decode_str(path).decode_utf8_lossy().into_owned()
        }
    };
    (!name.is_empty()).then(|| Video { name, url: url.to_owned(), timeout_seconds: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(event: &Value) -> Option<(String, String)> {
        video(event).map(|video| (video.name, video.url))
    }

    #[test]
    fn a_new_blob_is_found_in_both_forms() {
        let url = "https://account.example/videos/2025/a%20b.mp4";
        let subject = "/blobServices/default/containers/videos/blobs/2025/a b.mp4";
        let expected = Some(("2025/a b.mp4".to_owned(), url.to_owned()));
        for event in [
            json!({ "id": "1", "eventType": CREATED, "subject": subject, "data": { "url": url } }),
            json!({ "id": "1", "type": CREATED, "specversion": "1.0", "subject": subject, "data": { "url": url } }),
            json!({ "id": "1", "type": CREATED, "data": { "url": url } }),
        ] {
            assert_eq!(found(&event), expected, "{event}");
        }
    }

    #[test]
    fn other_events_tell_of_no_video() {
        for event in [
            json!({ "eventType": "Microsoft.Storage.BlobDeleted", "subject": "x/blobs/a", "data": { "url": "u" } }),
            json!({ "eventType": CREATED, "subject": "x/blobs/a" }),
            json!({ "eventType": CREATED, "data": { "url": "https://account.example/" } }),
        ] {
            assert_eq!(found(&event), None, "{event}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_what_to_send() {
        let error = |text: &str| read(text.as_bytes()).unwrap_err();
        assert_eq!(
            error(""),
            "the body is not JSON: EOF while parsing a value at line 1 column 0; send an event of Event Grid, or an array of them"
        );
        for text in ["[]", "{}", "5", r#"[{"eventType": "a"}, {}]"#] {
            assert_eq!(
                error(text),
                "the body holds no events; each is an object with `eventType`, or with `type` as a CloudEvent"
            );
        }
    }
}
