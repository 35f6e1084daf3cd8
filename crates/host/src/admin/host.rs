//! `/admin/host/...`: the host as a whole.

use std::{path::PathBuf, sync::atomic::Ordering};

use everstep_functions::config::{self, json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Asked, as_json, as_text};
use crate::{Response, answer, site::Site};

/// The version of the Functions runtime whose answers these are.
const RUNTIME: &str = "4.0.0";

/// `GET host/status`. What is not known is left out.
pub(super) fn status(site: &Site) -> Response {
    let milliseconds = u64::try_from(site.began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let faults = site.faults.iter();
    let errors: Vec<String> =
        faults.flat_map(|(name, texts)| texts.iter().map(move |text| told(name, text))).collect();
    let mut status = Map::from_iter([
        ("id".to_owned(), json!(site.hub_name.to_lowercase())),
        ("state".to_owned(), json!("Running")),
        ("version".to_owned(), json!(RUNTIME)),
        ("versionDetails".to_owned(), json!(concat!("Everstep ", env!("CARGO_PKG_VERSION")))),
        ("processUptime".to_owned(), json!(milliseconds)),
        ("functionAppContentEditingState".to_owned(), json!("NotAllowed")),
        ("errors".to_owned(), json!(errors)),
        ("taskHub".to_owned(), json!(site.hub_name)),
        ("held".to_owned(), json!(site.held.load(Ordering::Relaxed))),
        ("draining".to_owned(), json!(site.is_draining())),
    ]);
    for (key, setting) in [("instanceId", "WEBSITE_INSTANCE_ID"), ("computerName", "COMPUTERNAME")]
    {
        if let Some(value) = site.settings.get(setting) {
            status.insert(key.to_owned(), json!(value));
        }
    }
    as_json(200, &Value::Object(status))
}

/// An error's text, with the function's name if it does not have it already.
fn told(name: &str, text: &str) -> String {
    if text.starts_with("function `") {
        text.to_owned()
    } else {
        format!("function `{name}`: {text}")
    }
}

/// `GET host/config`: host.json as it lies in the folder now.
pub(super) fn config(site: &Site) -> Response {
    let path = site.script_root.join("host.json");
    let shown = path.display().to_string();
    let read = config::read(&path).and_then(|text| match text {
        None => Ok(json!({ "version": "2.0" })),
        Some(text) => Ok(json::parse(&shown, &text)?),
    });
    match read {
        Ok(config) => as_json(200, &config),
        Err(error) => as_text(500, error.to_string()),
    }
}

/// `POST host/drain`
pub(super) fn drain(site: &Site) -> Response {
    site.draining.store(true, Ordering::SeqCst);
    answer::bare(StatusCode::ACCEPTED)
}

/// `POST host/resume`
pub(super) fn resume(site: &Site) -> Response {
    site.draining.store(false, Ordering::SeqCst);
    as_json(200, &json!({ "state": "Running" }))
}

/// `GET host/drain/status`
pub(super) fn drain_status(site: &Site) -> Response {
    let running = site.invoker.running();
    let state = match (site.is_draining(), running) {
        (false, _) => "Disabled",
        (true, 0) => "Completed",
        (true, _) => "InProgress",
    };
    let status =
        json!({ "state": state, "outstandingInvocations": running, "outstandingRetries": 0 });
    as_json(200, &status)
}

/// `POST host/restart`
pub(super) fn restart() -> Response {
    let text = "this host does not start itself anew; stop its process (it finishes what runs) and start it again: everything that was acknowledged goes on";
    as_text(501, text)
}

/// `POST host/release`: lets the work of earlier runs go on. Again it changes nothing.
pub(super) fn release(site: &Site) -> Response {
    let was_held = site.held.swap(false, Ordering::SeqCst);
    site.client.release();
    as_json(200, &json!({ "released": was_held }))
}

#[derive(Deserialize)]
struct Backup {
    destination: PathBuf,
}

/// `POST host/backup`: copies the hub while it works.
pub(super) async fn backup(asked: Asked) -> Response {
    let wanted: Backup = match serde_json::from_slice(&asked.body) {
        Ok(wanted) => wanted,
        Err(error) => {
            let text = format!(
                "the body is to say where the copy goes, as {{\"destination\": \"/a/new/folder\"}}: {error}"
            );
            return as_text(400, text);
        }
    };
    let destination = wanted.destination;
    if !destination.is_absolute() {
        let text = format!(
            "`destination` is \"{}\"; write the whole path of a new or empty folder on the host's machine",
            destination.display()
        );
        return as_text(400, text);
    }
    let shown = destination.display().to_string();
    let store = asked.site.store.clone();
    match tokio::task::spawn_blocking(move || store.backup(&destination)).await {
        Ok(Ok(report)) => {
            let groups: Vec<u64> = report.groups.iter().map(|group| group.0).collect();
            let report = json!({
                "destination": shown,
                "tablesBytes": report.tables_bytes,
                "logBytes": report.log_bytes,
                "groups": groups,
            });
            as_json(200, &report)
        }
        Ok(Err(error)) => as_text(400, format!("the backup to {shown} was not made: {error}")),
        Err(error) => as_text(500, format!("the backup to {shown} ended abruptly: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use everstep::Failure;

    use super::*;
    use crate::{
        FunctionApp, Timer,
        start::testing::{Running, nothing},
    };

    fn parsed(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[tokio::test]
    async fn the_status_tells_what_the_host_is_and_what_is_wrong_with_it() {
        let app = nothing().timer("host", Timer::new("* * * * *"), async |_| Ok::<(), Failure>(()));
        let host = Running::open(app).await;
        let mut status = parsed(&host.ask("GET /admin/host/status", "").await.body);
        assert!(status["processUptime"].is_u64());
        for varying in ["processUptime", "versionDetails", "instanceId", "computerName"] {
            status.as_object_mut().unwrap().remove(varying);
        }
        insta::assert_snapshot!(format!("{status:#}"));
        host.stop().await;
    }

    #[tokio::test]
    async fn a_drain_is_seen_and_taken_back() {
        let host = Running::open(nothing()).await;
        let status = async || host.ask("GET /admin/host/drain/status", "").await.body;
        let expected = |state: &str| {
            format!(r#"{{"outstandingInvocations":0,"outstandingRetries":0,"state":"{state}"}}"#)
        };
        assert_eq!(status().await, expected("Disabled"));
        assert_eq!(host.ask("POST /admin/host/drain", "").await.status, 202);
        assert_eq!(status().await, expected("Completed"));
        assert_eq!(host.ask("POST /admin/host/resume", "").await.body, r#"{"state":"Running"}"#);
        assert_eq!(status().await, expected("Disabled"));
        host.stop().await;
    }

    #[tokio::test]
    async fn a_held_host_is_released_once() {
        let host = Running::held(FunctionApp::new(everstep::App::new("1"))).await;
        assert_eq!(host.ask("POST /admin/host/release", "").await.body, r#"{"released":true}"#);
        assert_eq!(host.ask("POST /admin/host/release", "").await.body, r#"{"released":false}"#);
        host.stop().await;
    }

    #[tokio::test]
    async fn the_configuration_is_shown_without_its_comments() {
        let host = Running::open(nothing()).await;
        let file = host.site.script_root.join("host.json");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(host.ask("GET /admin/host/config", "").await.body, r#"{"version":"2.0"}"#);
        std::fs::write(&file, "{\"version\": \"2.0\", /* why */ \"retry\": {}}").unwrap();
        let shown = host.ask("GET /admin/host/config", "").await.body;
        assert_eq!(shown, r#"{"retry":{},"version":"2.0"}"#);
        std::fs::write(&file, "{").unwrap();
        let answer = host.ask("GET /admin/host/config", "").await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains("host.json"), "{}", answer.body);
        host.stop().await;
    }

    #[tokio::test]
    async fn a_backup_is_a_folder_that_did_not_exist() {
        let host = Running::open(nothing()).await;
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("copy");
        let body = json!({ "destination": &to }).to_string();
        let answer = host.ask("POST /admin/host/backup", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let report = parsed(&answer.body);
        assert_eq!(report["destination"], json!(to));
        assert!(report["tablesBytes"].as_u64().unwrap() > 0);
        assert!(to.join("state.db").is_file());
        let again = host.ask("POST /admin/host/backup", &body).await;
        assert_eq!(again.status, 400);
        let begins = format!("the backup to {} was not made: ", to.display());
        assert!(again.body.starts_with(&begins), "{}", again.body);
        host.stop().await;
    }

    #[tokio::test]
    async fn a_backup_to_nowhere_is_refused() {
        let host = Running::open(nothing()).await;
        let answer = host.ask("POST /admin/host/backup", "{}").await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.body,
            "the body is to say where the copy goes, as {\"destination\": \"/a/new/folder\"}: missing field `destination` at line 1 column 2"
        );
        let answer = host.ask("POST /admin/host/backup", r#"{"destination": "copy"}"#).await;
        assert_eq!(
            answer.body,
            "`destination` is \"copy\"; write the whole path of a new or empty folder on the host's machine"
        );
        host.stop().await;
    }

    #[tokio::test]
    async fn a_restart_is_not_offered_and_triggers_are_always_in_step() {
        let host = Running::open(nothing()).await;
        let answer = host.ask("POST /admin/host/restart", "").await;
        assert_eq!(answer.status, 501);
        assert_eq!(
            answer.body,
            "this host does not start itself anew; stop its process (it finishes what runs) and start it again: everything that was acknowledged goes on"
        );
        let answer = host.ask("POST /admin/host/synctriggers", "").await;
        assert_eq!((answer.status, &*answer.body), (200, r#"{"status":"success"}"#));
        host.stop().await;
    }
}
