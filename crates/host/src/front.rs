//! Requests: who answers which.
//!
//! | Path | Who |
//! |---|---|
//! | `GET /` | a page that says that the app runs, unless a function has that route |
//! | `/health/...`, `/metrics`, `/admin/...` | the host itself |
//! | `/runtime/webhooks/...` | the management API and the webhooks of triggers |
//! | anything else | the app's functions, by route |
//!
//! Q1  A request that fits no function and no method is 404; there is no 405 here, as in the original.
//! Q2  A request over the limit is refused at once with 429 and when to ask again; nothing queues without bound.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware,
    response::{IntoResponse as _, Response},
};
use everstep_functions::{
    config::binding::{Bound, Other, Trigger as BoundTrigger},
    program::{Data, Trigger},
};
use everstep_model::TraceContext;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::{
    admin, answer,
    cors::{self, Cors},
    invoke::Call,
    site::Site,
    triggers::{blob_events, event_grid},
};

/// Everything that the host serves.
pub(crate) fn router(site: &Arc<Site>, cors: Cors) -> Router {
    let mut router = Router::new()
        .merge(admin::router())
        .merge(event_grid::router())
        .merge(blob_events::router())
        .fallback(function)
        .with_state(Arc::clone(site))
        .merge(site.api.router());
    // A layer costs every request something, also where it has nothing to do.
    if site.config.http.hsts.is_some() || !site.config.http.custom_headers.is_empty() {
        router = router.layer(middleware::from_fn_with_state(Arc::clone(site), headers));
    }
    if cors.is_on() {
        router = router.layer(middleware::from_fn_with_state(Arc::new(cors), cors::layer));
    }
    router
}

/// The page at the root of an app that has no function there.
fn home(site: &Site) -> Response {
    if !site.has_home {
        return answer::bare(StatusCode::NO_CONTENT);
    }
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{hub}</title></head>\n<body><h1>Your app is up and running</h1>\n<p>Task hub <b>{hub}</b>, {count} functions, Everstep {version}.</p>\n<ul><li><a href=\"/admin/functions\">Functions</a></li>\n<li><a href=\"/runtime/webhooks/durabletask/instances?top=100\">Instances</a></li>\n<li><a href=\"/runtime/webhooks/durabletask/openapi.json\">The management API</a></li>\n<li><a href=\"/metrics\">Metrics</a></li></ul></body></html>\n",
        hub = escaped(&site.hub_name),
        count = site.functions.len(),
        version = env!("CARGO_PKG_VERSION"),
    );
    axum::response::Html(page).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Headers that the configuration adds to every answer.
async fn headers(
    State(site): State<Arc<Site>>,
    request: Request,
    next: middleware::Next,
) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in &site.config.http.custom_headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    let hsts = site.config.http.hsts.as_ref();
    if let Some(Ok(value)) = hsts.map(|hsts| HeaderValue::try_from(hsts.header())) {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

/// A request to one of the app's functions.
async fn function(State(site): State<Arc<Site>>, request: Request) -> Response {
    let Some(found) = site.routes.find(request.method(), request.uri().path()) else {
        return match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/") => home(&site),
            _ => answer::bare(StatusCode::NOT_FOUND),
        };
    };
    let (name, parameters) = (found.function.to_owned(), found.parameters);
    let Some(bound) = site.function(&name).cloned() else {
        return answer::bare(StatusCode::NOT_FOUND);
    };
    let BoundTrigger::Http(trigger) = &bound.trigger else {
        return answer::bare(StatusCode::NOT_FOUND);
    };
    if !site.keys.lets_in(trigger.auth_level, &name, request.headers(), request.uri()) {
        return answer::bare(StatusCode::UNAUTHORIZED);
    }
    if site.is_draining() {
        return later(StatusCode::SERVICE_UNAVAILABLE, "the host is stopping");
    }
    let Ok(_place) = place(&site) else {
        let text = "too many requests are under way; extensions.http.maxOutstandingRequests in host.json says how many there may be";
        return later(StatusCode::TOO_MANY_REQUESTS, text);
    };
    let _slot = match &site.gate.concurrent {
        Some(slots) => slots.acquire().await.ok(),
        None => None,
    };
    let is_head = request.method() == Method::HEAD;
    let (inputs, trace) = (durable_clients(&site, &bound), trace(request.headers()));
    let call = Call {
        data: parameters,
        inputs,
        trace,
        ..Call::new(
            &bound.name.as_str().into(),
            Trigger::Http(absolute(&site, request)),
            "This function was programmatically called via the host APIs.",
        )
    };
    let ended = site.invoker.run(call).await;
    let mut response = answer::response(ended, http_output(&bound).as_deref());
    if is_head {
        *response.body_mut() = Body::empty();
    }
    response
}

/// A place among the requests under way, if there is a limit.
fn place(
    site: &Site,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, tokio::sync::TryAcquireError> {
    let places = site.gate.outstanding.clone();
    places.map(tokio::sync::Semaphore::try_acquire_owned).transpose()
}

fn later(status: StatusCode, text: &str) -> Response {
    let mut response = answer::refusal(status.as_u16(), text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The request with the whole address that the client used.
fn absolute(site: &Site, request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    let scheme = if site.url.starts_with("https:") { "https" } else { "http" };
    let authority = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_else(|| site.url.split_once("://").map_or("localhost", |(_, rest)| rest));
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if let Ok(uri) = format!("{scheme}://{authority}{path}").parse::<Uri>() {
        parts.uri = uri;
    }
    Request::from_parts(parts, body)
}

/// What the parameters of durable clients are bound to.
pub(crate) fn durable_clients(site: &Site, bound: &Bound) -> Vec<(String, Data)> {
    let clients = bound.others.iter().filter(|(_, other)| matches!(other, Other::DurableClient(_)));
    clients
        .map(|(name, _)| (name.clone(), Data::Text(site.api.client_binding(&site.rpc))))
        .collect()
}

/// The binding that a response is written to.
fn http_output(bound: &Bound) -> Option<String> {
    bound
        .others
        .iter()
        .find(|(_, other)| matches!(other, Other::HttpOutput))
        .map(|(name, _)| name.clone())
}

/// W3C trace context of a request.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Some(TraceContext {
        traceparent: text("traceparent")?.into(),
        tracestate: text("tracestate").unwrap_or_default().into(),
    })
}

#[cfg(test)]
mod tests {
    use crate::start::testing::{Running, nothing};

    #[tokio::test]
    async fn the_home_page_is_read_and_nothing_else_can_be_done_to_it() {
        let host = Running::open(nothing()).await;
        let home = host.ask("GET /", "").await;
        assert_eq!(home.status, 200);
        assert!(home.body.contains("Your app is up and running"), "{}", home.body);
        assert_eq!(host.ask("HEAD /", "").await.status, 200);
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            assert_eq!(host.ask(&format!("{method} /"), "").await.status, 404, "{method}");
        }
        host.stop().await;
    }
}
