//! An instance as server-sent events: one whenever its status or custom status changes, the last when it has ended.
//!
//! V1  Changes are told by the host; nobody polls.
//! V2  The stream ends with the event `end`, or with `gone` when the instance was removed. One that ends without either
//!     is to be opened again: the host has stopped or is busy.

use std::time::Duration;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use everstep_runtime::{ClientError, View, Watch};
use futures_util::stream;
use http::{HeaderValue, header};

use crate::{
    api::Call,
    error::{Answer, Refusal},
    instance::{self, Show},
};

/// A line without meaning keeps proxies from closing a connection on which nothing happens.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const SILENCE: &[u8] = b": nothing new\n\n";
const GONE: &[u8] = b"event: gone\ndata: null\n\n";

/// `GET instances/{instanceId}/stream`
pub(crate) async fn stream(call: Call) -> Answer {
    let show = Show::of(&call.query)?;
    let mut watch = call.api.client().watch(&instance::id(&call)?);
    let first = watch.next().await?.ok_or(Refusal::NOT_FOUND)?;
    let first = event(&first, show);
    let rest = stream::unfold(Some(watch), move |watch| next(watch, show));
    let events = futures_util::StreamExt::chain(stream::once(async { first }), rest);
    let events = futures_util::StreamExt::map(events, Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The next piece of a stream, and who watches for the one after it.
async fn next(watch: Option<Watch>, show: Show) -> Option<(Bytes, Option<Watch>)> {
    let mut watch = watch?;
    match tokio::time::timeout(SILENCE_MAX, watch.next()).await {
        Err(_) => Some((Bytes::from_static(SILENCE), Some(watch))),
        Ok(Ok(Some(view))) => Some((event(&view, show), Some(watch))),
        Ok(Err(ClientError::NotFound(_))) => Some((Bytes::from_static(GONE), None)),
        Ok(Ok(None) | Err(_)) => None,
    }
}

/// A view as an event. A user's JSON may have line breaks between its parts.
fn event(view: &View, show: Show) -> Bytes {
    let name = if view.status.is_terminal() { "end" } else { "status" };
    let mut event = format!("event: {name}\n");
    for line in instance::body(view, show, None).split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}
