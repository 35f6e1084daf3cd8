//! `/admin/host/...`: what operators and platforms ask of a running host.
//!
//! O1  `Offline` is a host that takes nothing new: no request to a function, no trigger. Orchestrations that have begun
//!     go on, and the management API answers; whoever wants those to rest suspends them.

use std::sync::atomic::Ordering;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, as_json, as_text};
use crate::{Response, answer, site::Site};

const ONLINE: &str = "Running";
const OFFLINE: &str = "Offline";

/// `GET host/state`
pub(super) fn state(site: &Site) -> Response {
    as_json(200, &json!(if site.is_draining() { OFFLINE } else { ONLINE }))
}

/// `PUT host/state` with `"offline"` or `"running"`: 202 where that is a change.
pub(super) fn set_state(asked: &Asked) -> Response {
    let wanted: Option<String> = serde_json::from_slice(&asked.body).ok();
    let is_offline = match wanted.as_deref().map(str::to_lowercase).as_deref() {
        Some("offline") => true,
        Some("running") => false,
        _ => return as_text(400, "the body is to be \"offline\" or \"running\", with the quotes"),
    };
    let was_offline = asked.site.draining.swap(is_offline, Ordering::SeqCst);
    let is_change = was_offline != is_offline;
    answer::bare(if is_change { StatusCode::ACCEPTED } else { StatusCode::OK })
}

/// A line that somebody else wants in the log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    level: Value,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    function_name: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// `POST host/log`
pub(super) fn log(asked: &Asked) -> Response {
    let Ok(entries) = serde_json::from_slice::<Vec<Entry>>(&asked.body) else {
        return as_text(400, "An array of log entry objects is expected.");
    };
    for entry in entries {
        let source = entry.source.unwrap_or_default();
        let function = entry.function_name.unwrap_or_default();
        let text = entry.message.unwrap_or_default();
        match rank(&entry.level) {
            1 => tracing::error!(target: "Host.Controllers.Host", source, function, "{text}"),
            2 => tracing::warn!(target: "Host.Controllers.Host", source, function, "{text}"),
            3 => tracing::info!(target: "Host.Controllers.Host", source, function, "{text}"),
            _ => tracing::debug!(target: "Host.Controllers.Host", source, function, "{text}"),
        }
    }
    answer::bare(StatusCode::OK)
}

/// The number of a level of .NET's tracing, which is also written by its name.
fn rank(level: &Value) -> u64 {
    match level {
        Value::Number(number) => number.as_u64().unwrap_or_default(),
        Value::String(name) => match name.to_lowercase().as_str() {
            "error" => 1,
            "warning" => 2,
            "info" => 3,
            _ => 4,
        },
        _ => 4,
    }
}

/// `GET host/processes`: this one; a program's own processes are its own.
pub(super) fn processes() -> Response {
    let name = std::env::current_exe().ok();
    let name = name.as_deref().and_then(|path| path.file_name()?.to_str()).unwrap_or("everstep");
    let processes =
        json!({ "processes": [{ "processId": std::process::id(), "processName": name }] });
    as_json(200, &processes)
}

/// `POST host/scale/status`: a hub has one host.
pub(super) fn scale_status() -> Response {
    as_text(400, "Runtime scale monitoring is not enabled.")
}

/// `POST host/debug`
pub(super) fn debug() -> Response {
    as_text(501, "no debugger is launched by this host; attach one to its process")
}

/// `GET host/extensions`: none is installed, all are built in.
pub(super) fn extensions() -> Response {
    as_json(200, &json!({ "extensions": [] }))
}

/// `POST host/extensions` and `DELETE host/extensions/{id}`
pub(super) fn change_extensions() -> Response {
    as_text(
        400,
        "extensions are neither installed nor removed: all that this host has are built in",
    )
}

#[cfg(test)]
mod tests {
    use everstep::Failure;

    use crate::{
        Http,
        start::testing::{Running, nothing},
    };

    async fn told(host: &Running, line: &str, body: &str) -> String {
        let answer = host.ask(line, body).await;
        format!("{} {}", answer.status, answer.body)
    }

    #[tokio::test]
    async fn a_host_that_is_offline_takes_nothing_new_until_it_runs_again() {
        let app = nothing().http("Hi", Http::get("hi"), async |_| Ok::<_, Failure>("hi"));
        let host = Running::open(app).await;
        let state = "PUT /admin/host/state";
        assert_eq!(told(&host, "GET /admin/host/state", "").await, "200 \"Running\"");
        assert_eq!(told(&host, state, "\"running\"").await, "200 ");
        assert_eq!(told(&host, state, "\"Offline\"").await, "202 ");
        assert_eq!(told(&host, "GET /admin/host/state", "").await, "200 \"Offline\"");
        assert_eq!(host.ask("GET /api/hi", "").await.status, 503);
        assert_eq!(told(&host, "POST /admin/host/state", "\"running\"").await, "202 ");
        assert_eq!(host.ask("GET /api/hi", "").await.status, 200);
        for body in ["", "offline", "\"default\"", "1"] {
            assert_eq!(
                told(&host, state, body).await,
                "400 the body is to be \"offline\" or \"running\", with the quotes"
            );
        }
        host.stop().await;
    }

    #[tokio::test]
    async fn lines_of_others_are_logged_and_anything_else_is_refused() {
        let host = Running::open(nothing()).await;
        let lines = r#"[{"level": 1, "source": "Portal", "message": "a"}, {"level": "Info"}, {}]"#;
        assert_eq!(told(&host, "POST /admin/host/log", lines).await, "200 ");
        for body in ["", "{}", "[1]"] {
            assert_eq!(
                told(&host, "POST /admin/host/log", body).await,
                "400 An array of log entry objects is expected."
            );
        }
        host.stop().await;
    }

    #[tokio::test]
    async fn the_rest_tells_what_there_is() {
        let host = Running::open(nothing()).await;
        let processes = host.ask("GET /admin/host/processes", "").await.body;
        assert!(
            processes.contains(&format!("\"processId\":{}", std::process::id())),
            "{processes}"
        );
        for (line, expected) in [
            ("POST /admin/host/scale/status", "400 Runtime scale monitoring is not enabled."),
            (
                "POST /admin/host/debug",
                "501 no debugger is launched by this host; attach one to its process",
            ),
            ("GET /admin/host/extensions", "200 {\"extensions\":[]}"),
            (
                "POST /admin/host/extensions",
                "400 extensions are neither installed nor removed: all that this host has are built in",
            ),
            (
                "DELETE /admin/host/extensions/a",
                "400 extensions are neither installed nor removed: all that this host has are built in",
            ),
        ] {
            assert_eq!(told(&host, line, "").await, expected, "{line}");
        }
        host.stop().await;
    }
}
