//! What the host itself answers: `/admin`, `/health`, `/metrics`.
//!
//! | Path | Module |
//! |---|---|
//! | `/admin/host/...`, `/admin/instance/...`, `/admin/warmup` | `host.rs`, `operations.rs` |
//! | `/admin/functions/...` | `functions.rs` |
//! | `/admin/.../keys/...` | `secrets.rs` |
//! | `/health/...`, `/metrics` | `health.rs` |
//!
//! D1  Whatever tells something of the app, or changes it, asks for the master key where keys are required. What a load
//!     balancer asks for does not.
//! D2  Paths below `/admin` are compared without case; names of functions and keys in them are found as everywhere.
//!
//! Absent on purpose: editing functions and reading files. An app's code is changed where it lies.

mod functions;
mod health;
mod host;
mod operations;
mod secrets;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    routing::{any, get},
};
use bytes::Bytes;
use everstep_functions::config::binding::AuthLevel;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::{Response, answer, site::Site};

/// A body may be this long.
const BODY_MAX: usize = 100 << 20;

/// The routes.
pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/admin/{*rest}", any(handle))
        .route("/health/live", get(health::live))
        .route("/health/startup", get(health::startup))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
}

/// A request to the admin API that may pass.
struct Asked {
    site: Arc<Site>,
    parts: Parts,
    body: Bytes,
}

async fn handle(State(site): State<Arc<Site>>, request: Request) -> Response {
    let path = segments(request.uri().path());
    let lowered: Vec<String> = path.iter().map(|segment| segment.to_lowercase()).collect();
    let place: Vec<&str> = lowered.iter().map(String::as_str).collect();
    if let Some(answer) = for_everybody(request.method(), &place) {
        return answer;
    }
    if !is_admitted(&site, request.headers(), request.uri()) {
        return answer::bare(StatusCode::UNAUTHORIZED);
    }
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, BODY_MAX).await {
        Ok(body) => answered(Asked { site, parts, body }, &path, &place).await,
        Err(error) => {
            answer::refusal(400, &format!("the body of the request did not arrive: {error}"))
        }
    }
}

/// The decoded segments of a path behind `/admin`; an empty one at the end does not count.
fn segments(path: &str) -> Vec<String> {
    let behind = path.trim_matches('/').split('/').skip(1);
    behind.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect()
}

/// Whether somebody may see what only administrators may.
fn is_admitted(site: &Site, headers: &HeaderMap, uri: &Uri) -> bool {
    site.keys.lets_in(AuthLevel::Admin, "", headers, uri)
}

/// What needs no key.
fn for_everybody(method: &Method, place: &[&str]) -> Option<Response> {
    match (method, place) {
        (&(Method::GET | Method::POST), ["host", "ping"]) => {
            let mut pong = answer::bare(StatusCode::OK);
            let no_store = HeaderValue::from_static("no-store, no-cache");
            pong.headers_mut().insert(header::CACHE_CONTROL, no_store);
            Some(pong)
        }
        (&Method::GET, ["instance", "http-health"] | ["warmup"]) => {
            Some(answer::bare(StatusCode::OK))
        }
        _ => None,
    }
}

/// `path` is as it was written, `place` in lower case.
async fn answered(asked: Asked, path: &[String], place: &[&str]) -> Response {
    if let Some(target) = secrets::Target::find(path, place) {
        return secrets::answer(&asked, &target);
    }
    match (&asked.parts.method, place) {
        (&Method::GET, ["host", "status"]) => host::status(&asked.site),
        (&Method::GET, ["host", "config"]) => host::config(&asked.site),
        (&Method::POST, ["host", "drain"]) => host::drain(&asked.site),
        (&Method::POST, ["host", "resume"]) => host::resume(&asked.site),
        (&Method::GET, ["host", "drain", "status"]) => host::drain_status(&asked.site),
        (&Method::POST, ["host", "synctriggers"]) => as_json(200, &json!({ "status": "success" })),
        (&Method::POST, ["host", "restart"]) => host::restart(),
        (&Method::POST, ["host", "release"]) => host::release(&asked.site),
        (&Method::POST, ["host", "backup"]) => host::backup(asked).await,
        (&Method::GET, ["host", "state"]) => operations::state(&asked.site),
        (&(Method::PUT | Method::POST), ["host", "state"]) => operations::set_state(&asked),
        (&Method::POST, ["host", "log"]) => operations::log(&asked),
        (&Method::GET, ["host", "processes"]) => operations::processes(),
        (&Method::POST, ["host", "scale", "status"]) => operations::scale_status(),
        (&Method::POST, ["host", "debug"]) => operations::debug(),
        (&Method::GET, ["host", "extensions"]) => operations::extensions(),
        (&(Method::POST | Method::DELETE), ["host", "extensions", ..]) => {
            operations::change_extensions()
        }
        (&Method::GET, ["functions"]) => functions::list(&asked),
        (&Method::GET, ["functions", name]) => functions::one(&asked, name),
        (&Method::POST, ["functions", name]) => functions::run(asked, name).await,
        (&Method::PUT, ["functions", name]) => functions::put(name),
        (&Method::DELETE, ["functions", name]) => functions::delete(&asked.site, name),
        (&Method::GET, ["functions", name, "status"]) => functions::status(&asked.site, name),
        _ => answer::bare(StatusCode::NOT_FOUND),
    }
}

impl Asked {
    /// Scheme and authority by which the request reached the host.
    fn origin(&self) -> String {
        let (scheme, own) = self.site.url.split_once("://").unwrap_or(("http", &self.site.url));
        let host = self.parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        format!("{scheme}://{}", host.unwrap_or(own))
    }
}

/// A response with JSON.
fn as_json(status: u16, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A response with a text for the person who asked.
fn as_text(status: u16, text: impl Into<String>) -> Response {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use crate::start::testing::{Running, nothing};

    #[tokio::test]
    async fn what_a_load_balancer_asks_for_needs_no_key_and_all_else_does() {
        let host = Running::with_keys(nothing()).await;
        for open in [
            "GET /admin/host/ping",
            "POST /admin/host/ping",
            "GET /Admin/warmup",
            "GET /admin/WARMUP",
            "GET /admin/instance/http-health",
            "GET /health/live",
            "GET /health/startup",
            "GET /health/ready",
        ] {
            let status = host.ask(open, "").await.status;
            let expected = if open.contains("/Admin/") { 404 } else { 200 };
            assert_eq!(status, expected, "{open}");
        }
        for closed in [
            "GET /admin/host/status",
            "GET /admin/functions",
            "GET /admin/host/keys",
            "POST /admin/host/drain",
            "POST /admin/host/backup",
            "GET /admin/host/state",
            "PUT /admin/host/state",
            "POST /admin/host/log",
            "GET /admin/host/processes",
            "POST /admin/host/scale/status",
            "GET /admin/host/extensions",
            "PUT /admin/functions/a",
            "DELETE /admin/functions/a",
            "GET /admin/nothing",
            "GET /metrics",
        ] {
            let answer = host.ask(closed, "").await;
            assert_eq!((answer.status, answer.body.as_str()), (401, ""), "{closed}");
        }
        let master = host.master();
        let answer = host.ask(&format!("GET /admin/host/status?code={master}"), "").await;
        assert_eq!(answer.status, 200);
        host.stop().await;
    }

    #[tokio::test]
    async fn places_are_found_in_any_case_and_others_are_not_there() {
        let host = Running::open(nothing()).await;
        assert_eq!(host.ask("GET /admin/Host/STATUS/", "").await.status, 200);
        assert_eq!(host.ask("PUT /admin/host/status", "").await.status, 404);
        assert_eq!(host.ask("GET /admin/elsewhere", "").await.status, 404);
        host.stop().await;
    }

    #[tokio::test]
    async fn a_ping_is_never_kept() {
        let host = Running::open(nothing()).await;
        let pong = host.ask("GET /admin/host/ping", "").await;
        assert_eq!(pong.header("cache-control"), "no-store, no-cache");
        assert_eq!(pong.body, "");
        host.stop().await;
    }
}
