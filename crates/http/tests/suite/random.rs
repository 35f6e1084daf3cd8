//! Whatever is asked, the API answers, and with a server error only where one is specified.

use axum::body::Body;
use http::Request;
use proptest::prelude::*;

use crate::support::{Bed, text};

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(vec![
            "instances", "Entities", "orchestrators", "makeprimary", "terminate", "suspend", "resume", "rewind",
            "import", "record",
            "restart", "raiseEvent", "why", "history", "stream", "counts", "bulk", "unpark", "sql", "openapi.json",
            "a", "missing", "Hello", "counter", "@counter@a", "%40counter%40", "$", "%2F", "%00", "%ff", "+", "%", "purge",
        ])
        .prop_map(str::to_owned),
        1 => "[!-.0-9:;=@A-Z_a-z~]{0,12}",
        1 => "(%[0-9a-fA-F]{2}){1,6}",
        1 => Just(String::new()),
    ]
}

fn pair() -> impl Strategy<Value = String> {
    let names = vec![
        "taskHub",
        "connection",
        "code",
        "showInput",
        "showHistory",
        "showHistoryOutput",
        "top",
        "createdTimeFrom",
        "createdTimeTo",
        "runtimeStatus",
        "status",
        "instanceIdPrefix",
        "name",
        "kind",
        "parent",
        "tag.x",
        "q",
        "reason",
        "recursive",
        "force",
        "replace",
        "timeout",
        "pollingInterval",
        "version",
        "op",
        "fetchState",
        "orderBy",
        "desc",
        "all",
        "returnInternalServerErrorOnFailure",
        "restartWithNewInstanceId",
        "showDetails",
        "lastOperationTimeTo",
    ];
    let values = prop_oneof![
        proptest::sample::select(vec![
            "true",
            "false",
            "0",
            "-1",
            "1e9",
            "2026-01-02",
            "2026-01-02T03:04:05.1234567Z",
            "Running",
            "Failed,9",
            "",
            "TestHub",
            "orchestration",
            "entity",
            "created",
            "nan",
            "99999999999999999999",
        ])
        .prop_map(str::to_owned),
        "[!-%'-.0-9:;=@A-Z_a-z~]{0,20}",
    ];
    (proptest::sample::select(names), values).prop_map(|(name, value)| match name {
        // A wait would take its time.
        "timeout" => "timeout=0".to_owned(),
        _ => format!("{name}={value}"),
    })
}

#[derive(Debug, Clone)]
struct Asked {
    verb: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let verbs = vec!["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"];
    let headers = vec![
        "content-type",
        "x-functions-key",
        "x-ms-continuation-token",
        "traceparent",
        "host",
        "x-forwarded-host",
    ];
    let values =
        prop_oneof![Just("application/json".to_owned()), Just("o1-1".to_owned()), "[ -~]{0,20}",];
    let bodies = prop_oneof![
        Just(Vec::new()),
        Just(b"{\"query\": \"select 1\"}".to_vec()),
        Just(b"1".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    (
        proptest::sample::select(verbs),
        proptest::collection::vec(segment(), 1..5),
        proptest::collection::vec(pair(), 0..4),
        proptest::collection::vec((proptest::sample::select(headers), values), 0..3),
        bodies,
    )
        .prop_map(|(verb, segments, pairs, headers, body)| Asked {
            verb,
            path: format!("{}{}?{}", crate::support::PREFIX, segments.join("/"), pairs.join("&")),
            headers,
            body,
        })
}

#[test]
fn any_request_is_answered() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bed = runtime.block_on(async {
        let bed = Bed::with(|options| options.use_forwarded_host = true);
        bed.start("Wait", "a", "null").await;
        bed.start("Fail", "failed", "null").await;
        bed
    });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&asked(), |asked| {
        let mut request = Request::builder().method(asked.verb).uri(&asked.path);
        for (name, value) in &asked.headers {
            request = request.header(*name, value);
        }
        let Ok(request) = request.body(Body::from(asked.body.clone())) else { return Ok(()) };
        runtime.block_on(async {
            let response = bed.send(request).await;
            let status = response.status().as_u16();
            let is_event =
                response.headers().get("content-type").is_some_and(|t| t == "text/event-stream");
            if is_event {
                return Ok(());
            }
            let body = text(response.into_body()).await;
            prop_assert!(status < 500 || is_specified(status, &body), "{status} {body}");
            if !body.is_empty() {
                let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&body);
                prop_assert!(parsed.is_ok(), "{body}");
            }
            Ok(())
        })
    });
    outcome.expect("every request is answered");
}

/// A wrong state, a failure where its code was asked for, no SQL.
fn is_specified(status: u16, body: &str) -> bool {
    let invalid = body.contains("System.InvalidOperationException");
    status == 501 || (status == 500 && (invalid || body.contains("\"runtimeStatus\":\"Failed\"")))
}
