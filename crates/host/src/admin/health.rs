//! Whether the host lives and may be sent work, and its metrics.
//!
//! H1  A health question costs no look at the disk and no key: it may come every second from anywhere.
//! H2  Ready means that new work is welcome. Each reason against it is a sentence.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use axum::extract::State;
use everstep_store::{Pressure, Store as _};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::json;

use super::{as_json, as_text, is_admitted};
use crate::{Response, answer, observe::metrics::Gauges, site::Site};

/// `GET /health/live`
pub(super) async fn live() -> Response {
    as_json(200, &json!({ "status": "live" }))
}

/// `GET /health/startup`: nothing listens before the start is over.
pub(super) async fn startup(State(site): State<Arc<Site>>) -> Response {
    let seconds = site.began.elapsed().as_secs();
    as_json(200, &json!({ "status": "started", "uptimeSeconds": seconds }))
}

/// `GET /health/ready`
pub(super) async fn ready(State(site): State<Arc<Site>>) -> Response {
    let reasons = reasons(site.is_draining(), &site.store.pressure());
    let (code, status) = if reasons.is_empty() { (200, "ready") } else { (503, "not ready") };
    as_json(code, &json!({ "status": status, "reasons": reasons }))
}

fn reasons(is_draining: bool, pressure: &Pressure) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if is_draining {
        reasons.push("the host is draining: it finishes what runs and takes nothing new");
    }
    if pressure.disk_full {
        reasons.push("the disk is full: work waits until there is space, then goes on by itself");
    } else if pressure.low_space {
        reasons.push("little disk space is left: work under way goes on, nothing new is taken");
    }
    reasons
}

/// `GET /metrics`
pub(super) async fn metrics(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if !is_admitted(&site, &headers, &uri) {
        return answer::bare(StatusCode::UNAUTHORIZED);
    }
    let counts = match site.client.counts().await {
        Ok(counts) => counts,
        Err(error) => return as_text(503, format!("the instances cannot be counted: {error}")),
    };
    let mut instances = BTreeMap::new();
    for (kind, _, status, count) in counts {
        *instances.entry((kind, status)).or_default() += count;
    }
    let pressure = site.store.pressure();
    let runs = site.invoker.counts();
    let gauges = Gauges {
        instances: instances
            .into_iter()
            .map(|((kind, status), count)| (kind, status, count))
            .collect(),
        unfolded_bytes: pressure.unfolded_bytes,
        disk_full: pressure.disk_full,
        succeeded: runs.succeeded.load(Ordering::Relaxed),
        failed: runs.failed.load(Ordering::Relaxed),
        running: site.invoker.running(),
        uptime: site.began.elapsed(),
    };
    let mut response = as_text(200, site.metrics.text(&gauges));
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, prometheus);
    response
}

#[cfg(test)]
mod tests {
    use everstep::{App, Context, Failure, Orchestrator};

    use super::*;
    use crate::{
        FunctionApp,
        start::testing::{Running, nothing},
    };

    #[test]
    fn each_reason_against_work_is_a_sentence() {
        let pressure =
            |disk_full, low_space| Pressure { disk_full, low_space, ..Pressure::default() };
        assert!(reasons(false, &pressure(false, false)).is_empty());
        assert_eq!(
            reasons(true, &pressure(true, true)),
            [
                "the host is draining: it finishes what runs and takes nothing new",
                "the disk is full: work waits until there is space, then goes on by itself",
            ]
        );
        assert_eq!(
            reasons(false, &pressure(false, true)),
            ["little disk space is left: work under way goes on, nothing new is taken"]
        );
    }

    #[tokio::test]
    async fn a_host_is_ready_until_it_drains() {
        let host = Running::open(nothing()).await;
        assert_eq!(host.ask("GET /health/live", "").await.body, r#"{"status":"live"}"#);
        let ready = host.ask("GET /health/ready", "").await;
        assert_eq!((ready.status, &*ready.body), (200, r#"{"reasons":[],"status":"ready"}"#));
        assert_eq!(host.ask("POST /admin/host/drain", "").await.status, 202);
        let ready = host.ask("GET /health/ready", "").await;
        assert_eq!(ready.status, 503);
        assert_eq!(
            ready.body,
            r#"{"reasons":["the host is draining: it finishes what runs and takes nothing new"],"status":"not ready"}"#
        );
        host.stop().await;
    }

    #[tokio::test]
    async fn metrics_tell_the_instances_of_the_hub() {
        let durable = App::new("1")
            .orchestrator(Orchestrator::new("Tour"), async |_: Context, (): ()| {
                Ok::<(), Failure>(())
            });
        let host = Running::open(FunctionApp::new(durable)).await;
        let client = &host.site.client;
        let id = client.start("Tour", everstep::Value::empty(), everstep::StartOptions::default());
        client.wait(&id.await.unwrap()).await.unwrap();
        let answer = host.ask("GET /metrics", "").await;
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let line = r#"durable_instances{kind="orchestration",status="Completed"} 1"#;
        assert!(answer.body.lines().any(|found| found == line), "{}", answer.body);
        assert!(answer.body.contains("durable_function_running 0\n"));
        host.stop().await;
    }
}
