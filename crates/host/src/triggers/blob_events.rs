//! What Event Grid tells of blobs: `/runtime/webhooks/blobs?functionName=Host.Functions.NAME&code=...`.
//!
//! A delivery is answered with 202 once it is on disk which blobs are to be worked on; the work itself may take longer than
//! Event Grid waits. Events of other containers, of other paths and of other kinds are taken and change nothing.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    routing::any,
};
use everstep_functions::config::binding::Bound;
use http::StatusCode;
use serde_json::Value;

use super::event_grid::{self, text};
use crate::{Response, answer, site::Site};

/// Whose system key opens the door.
const EXTENSION: &str = "blobs";
const CREATED: &str = "Microsoft.Storage.BlobCreated";

/// The route.
pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new().route("/runtime/webhooks/blobs", any(deliver))
}

/// Makes the key that a subscription needs, so that it can be looked up before the first delivery.
pub(super) fn prepare(site: &Site, bound: &Bound) {
    if let Err(error) = site.keys.extension_key(EXTENSION) {
        tracing::error!(target: "Host.Startup.Notice", %error, "there is no system key for events of blobs; only the master key opens their webhook");
    }
    tracing::info!(
        target: "Host.Triggers.Blob",
        "events for `{name}` go to {url}/runtime/webhooks/blobs?functionName=Host.Functions.{name}",
        name = bound.name, url = site.url
    );
}

async fn deliver(State(site): State<Arc<Site>>, request: Request) -> Response {
    let find =
        |asked: &str| site.blob_hooks.find(asked.strip_prefix("Host.Functions.").unwrap_or(asked));
    let (hook, events) = match event_grid::opened(&site, EXTENSION, request, find).await {
        Ok(opened) => (opened.function, opened.events),
        Err(answer) => return answer,
    };
    let events = match events {
        Value::Array(events) => events,
        one => vec![one],
    };
    for Created { blob, etag } in events.iter().filter_map(|event| created(event, &hook.container))
    {
        if let Err(error) = hook.clone().tell(blob, etag).await {
            let problem = format!("the blob cannot be noted: {error}");
            return text(StatusCode::INTERNAL_SERVER_ERROR, problem);
        }
    }
    answer::bare(StatusCode::ACCEPTED)
}

/// A blob of the container that is new or changed.
#[derive(Debug, PartialEq, Eq)]
struct Created {
    blob: String,
    etag: String,
}

/// What an event tells, in the form of Event Grid or of `CloudEvents`.
fn created(event: &Value, container: &str) -> Option<Created> {
    let kind = event["eventType"].as_str().or(event["type"].as_str())?;
    if kind != CREATED {
        return None;
    }
    let subject = event["subject"].as_str()?;
    let path = subject.strip_prefix("/blobServices/default/containers/")?;
    let (found, blob) = path.split_once("/blobs/")?;
    let etag = event["data"]["eTag"].as_str().unwrap_or_default().to_owned();
    (found == container).then(|| Created { blob: blob.to_owned(), etag })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_new_blobs_of_the_container_are_heard_of() {
        let event = |kind: &str, subject: &str| json!({ "eventType": kind, "subject": subject, "data": { "eTag": "0x8D" } });
        let subject = "/blobServices/default/containers/in/blobs/a/b.txt";
        let blob = Created { blob: "a/b.txt".to_owned(), etag: "0x8D".to_owned() };
        assert_eq!(created(&event(CREATED, subject), "in"), Some(blob));
        assert_eq!(created(&event(CREATED, subject), "out"), None);
        assert_eq!(created(&event("Microsoft.Storage.BlobDeleted", subject), "in"), None);
        assert_eq!(created(&event(CREATED, "/elsewhere"), "in"), None);
        let cloud = json!({ "type": CREATED, "subject": subject });
        assert_eq!(created(&cloud, "in").unwrap().etag, "");
    }
}
