//! Events that Azure Event Grid delivers by HTTP: in its own form, and as `CloudEvents` 1.0.
//!
//! | Request | Answer |
//! |---|---|
//! | `OPTIONS` with `WebHook-Request-Origin` | 200: the sender may deliver, at any rate |
//! | `aeg-event-type: SubscriptionValidation` | 200 with the code of the first event |
//! | `aeg-event-type: Notification`, or a content type of `CloudEvents` | 202 once every event is handled |
//! | `aeg-event-type: Unsubscribe` | 202 |
//! | another | 400 |
//!
//! E1  A delivery is taken when all its events are: if one fails, the answer is 500 and the sender delivers all again.
//!     A function sees an event at least once, and knows a repetition by the event's id.
//! E2  The events of a delivery run side by side; where the binding's cardinality is `many`, one run takes them all.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    routing::any,
};
use everstep_functions::{
    config::binding::{Bound, Cardinality, Trigger as BoundTrigger},
    program::Trigger,
};
use everstep_model::TraceContext;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::{Map, Value, json};

use crate::{Response, answer, front, invoke::Call, site::Site};

/// Whose system key opens the door.
const EXTENSION: &str = "eventgrid";
/// A delivery may be this long; Event Grid sends 1 MiB at most.
const BODY_MAX: usize = 16 << 20;

const EVENT_TYPE: &str = "aeg-event-type";
const REQUEST_ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// The routes, in the spellings that are in the field.
pub(crate) fn router() -> Router<Arc<Site>> {
    ["EventGrid", "eventgrid", "eventGrid"].into_iter().fold(Router::new(), |router, name| {
        router.route(&format!("/runtime/webhooks/{name}"), any(deliver))
    })
}

/// Makes the key that a subscription needs, so that it can be looked up before the first delivery.
pub(super) fn prepare(site: &Site, bound: &Bound) {
    if let Err(error) = site.keys.extension_key(EXTENSION) {
        tracing::error!(target: "Host.Startup.Notice", %error, "there is no system key for Event Grid; only the master key opens its webhook");
    }
    tracing::info!(
        target: "Host.Triggers.EventGrid",
        "events for `{name}` go to {url}/runtime/webhooks/EventGrid?functionName={name}",
        name = bound.name, url = site.url
    );
}

async fn deliver(State(site): State<Arc<Site>>, request: Request) -> Response {
    match opened(&site, EXTENSION, request, |name| find(&site, name)).await {
        Err(answer) => answer,
        Ok(Opened { function: (bound, cardinality), headers, events }) => {
            notified(&site, &bound, cardinality, events, front::trace(&headers)).await
        }
    }
}

/// A delivery with events for a function of the app.
pub(super) struct Opened<F> {
    pub(super) function: F,
    pub(super) headers: HeaderMap,
    pub(super) events: Value,
}

/// Lets a delivery in, by the extension's key and for a function that is there, or gives the answer to what brings no events.
pub(super) async fn opened<F>(
    site: &Site,
    extension: &str,
    request: Request,
    find: impl FnOnce(&str) -> Option<F>,
) -> Result<Opened<F>, Response> {
    let (parts, body) = request.into_parts();
    if !matches!(parts.method, Method::POST | Method::OPTIONS) {
        return Err(answer::bare(StatusCode::NOT_FOUND));
    }
    if !site.keys.lets_in_extension(extension, &parts.headers, &parts.uri) {
        return Err(answer::bare(StatusCode::UNAUTHORIZED));
    }
    let name = function_name(&parts.uri);
    let Some(function) = find(&name) else {
        return Err(text(StatusCode::NOT_FOUND, format!("cannot find function: '{name}'")));
    };
    if parts.method == Method::OPTIONS {
        return Err(handshake(&parts.headers));
    }
    let Some(kind) = Delivery::of(&parts.headers) else {
        return Err(text(StatusCode::BAD_REQUEST, unknown_kind(&parts.headers)));
    };
    if kind == Delivery::Unsubscribe {
        return Err(answer::bare(StatusCode::ACCEPTED));
    }
    let events = events(body).await?;
    if kind == Delivery::Validation {
        return Err(validated(&events));
    }
    Ok(Opened { function, headers: parts.headers, events })
}

/// The events of a delivery, or the answer to what is none.
async fn events(body: Body) -> Result<Value, Response> {
    let events = match axum::body::to_bytes(body, BODY_MAX).await {
        Ok(body) => serde_json::from_slice(&body).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    events.map_err(|problem| {
        text(StatusCode::BAD_REQUEST, format!("the body is to be events as JSON: {problem}"))
    })
}

/// What a sender wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Validation,
    Notification,
    Unsubscribe,
}

impl Delivery {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let Some(kind) = header(headers, EVENT_TYPE) else {
            let content = header(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
            let content = content.split(';').next().unwrap_or_default().trim();
            let forms = ["application/cloudevents+json", "application/cloudevents-batch+json"];
            let is_event = forms.iter().any(|form| form.eq_ignore_ascii_case(content));
            return is_event.then_some(Self::Notification);
        };
        let kinds = [
            ("SubscriptionValidation", Self::Validation),
            ("Notification", Self::Notification),
            ("Unsubscribe", Self::Unsubscribe),
        ];
        kinds.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map(|(_, kind)| kind)
    }
}

fn unknown_kind(headers: &HeaderMap) -> String {
    let remedy = "send Notification, SubscriptionValidation or Unsubscribe, or CloudEvents with the content type application/cloudevents+json or application/cloudevents-batch+json";
    match header(headers, EVENT_TYPE) {
        Some(kind) => format!("`{EVENT_TYPE}` is `{kind}`; {remedy}"),
        None => format!("the header `{EVENT_TYPE}` is missing; {remedy}"),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn function_name(uri: &Uri) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    let name = pairs.find(|(name, _)| name.eq_ignore_ascii_case("functionName"));
    let name = name.map_or("", |(_, value)| value);
    percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned()
}

fn find(site: &Site, name: &str) -> Option<(Arc<Bound>, Cardinality)> {
    let bound = site.function(name)?;
    match &bound.trigger {
        BoundTrigger::EventGrid(trigger) => Some((Arc::clone(bound), trigger.cardinality)),
        _ => None,
    }
}

/// `CloudEvents`: a sender asks whether it may deliver.
fn handshake(headers: &HeaderMap) -> Response {
    let Some(origin) = headers.get(REQUEST_ORIGIN) else {
        let problem = "the header `WebHook-Request-Origin` is missing; it is to name the sender";
        return text(StatusCode::BAD_REQUEST, problem.to_owned());
    };
    let mut response = answer::bare(StatusCode::OK);
    response.headers_mut().insert(ALLOWED_ORIGIN, origin.clone());
    response.headers_mut().insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    response
}

/// Event Grid: a sender wants to hear the code that only the endpoint knows.
fn validated(events: &Value) -> Response {
    let first = events.get(0).unwrap_or(events);
    let Some(code) = first["data"]["validationCode"].as_str() else {
        let problem = "the first event has no `data.validationCode`";
        return text(StatusCode::BAD_REQUEST, problem.to_owned());
    };
    let body = json!({ "validationResponse": code }).to_string();
    let mut response = text(StatusCode::OK, body);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Hands the events of a delivery to the function.
async fn notified(
    site: &Arc<Site>,
    bound: &Bound,
    cardinality: Cardinality,
    events: Value,
    trace: Option<TraceContext>,
) -> Response {
    if site.is_draining() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the host is stopping".to_owned());
    }
    let events = match events {
        Value::Array(events) => events,
        one => vec![one],
    };
    let calls = match cardinality {
        Cardinality::One => events,
        Cardinality::Many => vec![Value::Array(events)],
    };
    let calls = calls.into_iter().map(|event| call(site, bound, event, trace.clone()));
    let runs: Vec<_> = calls.map(|call| site.invoker.start(call)).collect();
    let mut problems = Vec::new();
    for run in runs {
        match run.await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => problems.push(failure.message),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() {
        return answer::bare(StatusCode::ACCEPTED);
    }
    let name = &bound.name;
    let problem = format!("Exception while executing function: {name}: {}", problems.join("; "));
    text(StatusCode::INTERNAL_SERVER_ERROR, problem)
}

fn call(site: &Site, bound: &Bound, event: Value, trace: Option<TraceContext>) -> Call {
    let data = event.get("data").map(|data| ("data".to_owned(), data.clone()));
    Call {
        data: Map::from_iter(data),
        inputs: front::durable_clients(site, bound),
        trace,
        ..Call::new(
            &bound.name.as_str().into(),
            Trigger::EventGrid(event),
            format!("EventGrid trigger fired at {}", crate::start::now()),
        )
    }
}

pub(super) fn text(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use everstep::Failure;

    use super::*;
    use crate::{
        EventGrid, EventGridCall, FunctionApp,
        start::testing::{Answered, Running, nothing},
    };

    const NOTIFICATION: (&str, &str) = (EVENT_TYPE, "Notification");

    /// `One` and `Many`, and what they were called with. An event whose data is `bad` fails.
    fn app() -> (FunctionApp, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let see = |seen: &Arc<Mutex<Vec<String>>>| {
            let seen = Arc::clone(seen);
            move |call: EventGridCall| {
                seen.lock().unwrap().push(call.text());
                let is_bad = call.data("data") == Some(&json!("bad"));
                async move { if is_bad { Err(Failure::new("Bad", "a bad event")) } else { Ok(()) } }
            }
        };
        let app = nothing().event_grid("One", EventGrid::one(), see(&seen)).event_grid(
            "Many",
            EventGrid::many(),
            see(&seen),
        );
        (app, seen)
    }

    async fn post(host: &Running, name: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let line = format!("POST /runtime/webhooks/EventGrid?functionName={name}");
        host.ask_with(&line, headers, body).await
    }

    async fn told(host: &Running, headers: &[(&str, &str)], body: &str) -> String {
        let answer = post(host, "One", headers, body).await;
        format!("{} {}", answer.status, answer.body)
    }

    #[tokio::test]
    async fn a_subscription_is_validated_with_the_code_of_its_event() {
        let host = Running::open(app().0).await;
        let headers = [(EVENT_TYPE, "SubscriptionValidation")];
        let body = r#"[{"id":"1","data":{"validationCode":"512d38b6"}}]"#;
        let answer = post(&host, "one", &headers, body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, r#"{"validationResponse":"512d38b6"}"#);
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        assert_eq!(
            told(&host, &headers, "[]").await,
            "400 the first event has no `data.validationCode`"
        );
        host.stop().await;
    }

    #[tokio::test]
    async fn each_event_is_a_run_unless_the_function_takes_many() {
        let (app, seen) = app();
        let host = Running::open(app).await;
        let taken = || {
            let mut seen = std::mem::take(&mut *seen.lock().unwrap());
            seen.sort();
            seen
        };
        let body = r#"[{"id":1,"data":{}},{"id":2}]"#;
        assert_eq!(post(&host, "One", &[NOTIFICATION], body).await.status, 202);
        assert_eq!(taken(), [r#"{"data":{},"id":1}"#, r#"{"id":2}"#]);
        assert_eq!(post(&host, "Many", &[NOTIFICATION], body).await.status, 202);
        assert_eq!(taken(), [r#"[{"data":{},"id":1},{"id":2}]"#]);
        assert_eq!(post(&host, "One", &[NOTIFICATION], r#"{"id":3}"#).await.status, 202);
        assert_eq!(taken(), [r#"{"id":3}"#]);
        for form in
            ["application/cloudevents+json; charset=utf-8", "application/cloudevents-batch+json"]
        {
            let headers = [("content-type", form)];
            assert_eq!(post(&host, "One", &headers, r#"[{"id":4}]"#).await.status, 202);
            assert_eq!(taken(), [r#"{"id":4}"#]);
        }
        host.stop().await;
    }

    #[tokio::test]
    async fn one_failure_gives_the_delivery_back() {
        let (app, seen) = app();
        let host = Running::open(app).await;
        let body = r#"[{"id":1,"data":"bad"},{"id":2}]"#;
        assert_eq!(
            told(&host, &[NOTIFICATION], body).await,
            "500 Exception while executing function: One: a bad event"
        );
        assert_eq!(seen.lock().unwrap().len(), 2);
        host.stop().await;
    }

    #[tokio::test]
    async fn a_delivery_that_is_none_is_told_what_to_be() {
        let host = Running::open(app().0).await;
        let remedy = "send Notification, SubscriptionValidation or Unsubscribe, or CloudEvents with the content type application/cloudevents+json or application/cloudevents-batch+json";
        assert_eq!(
            told(&host, &[(EVENT_TYPE, "Other")], "[]").await,
            format!("400 `aeg-event-type` is `Other`; {remedy}")
        );
        assert_eq!(
            told(&host, &[("content-type", "application/json")], "[]").await,
            format!("400 the header `aeg-event-type` is missing; {remedy}")
        );
        assert_eq!(
            told(&host, &[NOTIFICATION], "[").await,
            "400 the body is to be events as JSON: EOF while parsing a list at line 1 column 1"
        );
        assert_eq!(told(&host, &[(EVENT_TYPE, "Unsubscribe")], "").await, "202 ");
        let answer = post(&host, "x", &[NOTIFICATION], "[]").await;
        assert_eq!((answer.status, &*answer.body), (404, "cannot find function: 'x'"));
        host.stop().await;
    }

    #[tokio::test]
    async fn a_sender_of_cloud_events_asks_first() {
        let host = Running::open(app().0).await;
        let line = "OPTIONS /runtime/webhooks/eventgrid?functionName=One";
        let headers = [("WebHook-Request-Origin", "eventgrid.azure.net")];
        let answer = host.ask_with(line, &headers, "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("webhook-allowed-origin"), "eventgrid.azure.net");
        assert_eq!(answer.header("webhook-allowed-rate"), "*");
        let answer = host.ask_with(line, &[], "").await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.body,
            "the header `WebHook-Request-Origin` is missing; it is to name the sender"
        );
        host.stop().await;
    }

    #[tokio::test]
    async fn the_key_of_the_extension_opens_and_the_management_api_keeps_its_place() {
        let host = Running::with_keys(app().0).await;
        assert_eq!(told(&host, &[NOTIFICATION], "[]").await, "401 ");
        prepare(&host.site, host.site.function("One").unwrap());
        let key = host.site.keys.extension_key(EXTENSION).unwrap();
        for key in [key, host.master()] {
            let name = format!("One&code={key}");
            assert_eq!(post(&host, &name, &[NOTIFICATION], "[]").await.status, 202);
        }
        assert_eq!(host.ask("GET /runtime/webhooks/EventGrid", "").await.status, 404);
        let line = format!("GET /runtime/webhooks/durabletask/instances?code={}", host.master());
        let instances = host.ask(&line, "").await;
        assert_eq!((instances.status, &*instances.body), (200, "[]"));
        host.stop().await;
    }

    #[tokio::test]
    async fn a_host_that_drains_takes_no_events() {
        let host = Running::open(app().0).await;
        host.ask("POST /admin/host/drain", "").await;
        assert_eq!(told(&host, &[NOTIFICATION], "[]").await, "503 the host is stopping");
        host.stop().await;
    }
}
