//! `POST orchestrators/...` and restarts.

use everstep_http::Compat;

use crate::support::{Bed, named};

fn v2() -> Bed {
    Bed::with(|options| options.compat = Compat::V2)
}

#[tokio::test]
async fn a_start_answers_with_links() {
    let mut bed = Bed::new();
    bed.post("POST orchestrators/Echo/a", "{\"b\": 1,  \"a\":\"2026-01-02T03:04:05+01:00\"}").await;
    bed.ask("GET instances/a?wait=30s").await;
    bed.ask("POST orchestrators/hello").await;
    bed.full("POST orchestrators/Hello/with%20space", &[("content-type", "text/plain")], "[1]")
        .await;
    bed.post(
        "POST orchestrators/Wait/b?connection=Other&returnInternalServerErrorOnFailure=true",
        "",
    )
    .await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_made_id_has_32_lower_case_hex_digits() {
    let mut bed = Bed::new();
    let (_, body) = bed.ask("POST orchestrators/Hello").await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let id = body["id"].as_str().expect("an id");
    assert!(
        id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
}

#[tokio::test]
async fn a_bad_start_is_refused_with_its_text() {
    let mut bed = Bed::new();
    bed.post("POST orchestrators/Echo/a", "{\"a\":").await;
    bed.post("POST orchestrators/Echo/a", "it").await;
    bed.post("POST orchestrators/Echo/a", "1 2").await;
    bed.ask("POST orchestrators/Missing/a").await;
    bed.ask("POST orchestrators/Hello/@a@b").await;
    bed.ask("POST orchestrators/Hello/a%2Fb").await;
    bed.ask("POST orchestrators/Hello/a%5Cb").await;
    bed.ask("POST orchestrators/Hello/a%23b").await;
    bed.ask("POST orchestrators/Hello/a%3Fb").await;
    bed.ask("POST orchestrators/Hello/a%01b").await;
    bed.ask(&format!("POST orchestrators/Hello/{}", "x".repeat(257))).await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn without_any_function_the_refusal_says_so() {
    struct Nothing;
    impl everstep_http::Functions for Nothing {
        fn orchestrators(&self) -> Option<std::sync::Arc<[String]>> {
            Some(crate::support::names(&[]))
        }
        fn entities(&self) -> Option<std::sync::Arc<[String]>> {
            Some(crate::support::names(&[]))
        }
    }
    let mut bed = Bed::with(|options| options.functions = std::sync::Arc::new(Nothing));
    bed.ask("POST orchestrators/Hello/a").await;
    bed.ask("POST entities/counter/a?op=add").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn names_are_not_checked_where_functions_are_not_known() {
    struct Unknown;
    impl everstep_http::Functions for Unknown {
        fn orchestrators(&self) -> Option<std::sync::Arc<[String]>> {
            None
        }
        fn entities(&self) -> Option<std::sync::Arc<[String]>> {
            None
        }
    }
    let mut bed = Bed::with(|options| options.functions = std::sync::Arc::new(Unknown));
    assert_eq!(bed.ask("POST orchestrators/Later/a").await.0, 202);
    assert_eq!(bed.ask("POST entities/later/a?op=add").await.0, 202);
}

#[tokio::test]
async fn an_id_in_use_is_a_conflict() {
    let mut bed = Bed::new();
    bed.start("Wait", "a", "null").await;
    bed.start("Hello", "ended", "null").await;
    bed.ask("POST orchestrators/Wait/a").await;
    bed.ask("POST orchestrators/Wait/ended").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn an_id_in_use_is_a_server_error_in_version_2() {
    let mut bed = v2();
    bed.start("Wait", "a", "null").await;
    bed.ask("POST orchestrators/Wait/a").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn version_2_writes_the_input_again_and_version_3_keeps_it() {
    for (compat, expected) in
        [(Compat::V2, "{\"b\":1,\"a\":[1,2]}"), (Compat::V3, " {\"b\": 1, \"a\":[1, 2]}\n")]
    {
        let mut bed = Bed::with(|options| options.compat = compat);
        bed.post("POST orchestrators/Wait/a", " {\"b\": 1, \"a\":[1, 2]}\n").await;
        let view = bed.client().get(&named("a")).await.expect("it is there");
        let input = view.input.expect("an input");
        assert_eq!(input.inline().expect("at hand"), expected.as_bytes());
    }
}

#[tokio::test]
async fn a_version_and_a_trace_are_kept_in_version_3_only() {
    let trace = [("traceparent", "00-1-2-01"), ("tracestate", "a=b")];
    for compat in [Compat::V2, Compat::V3] {
        let mut bed = Bed::with(|options| {
            options.compat = compat;
            options.default_version = "1.0".to_owned();
        });
        bed.full("POST orchestrators/Wait/a?version=2.5", &trace, "").await;
        bed.full("POST orchestrators/Wait/b", &trace, "").await;
        let version = async |id| bed.client().get(&named(id)).await.expect("it is there").version;
        let found = (version("a").await, version("b").await);
        let expected = if compat == Compat::V3 { ("2.5", "1.0") } else { ("", "") };
        assert_eq!((found.0.as_str(), found.1.as_str()), expected);
        let history = bed.client().history(&named("a")).await.expect("a history");
        let Some(everstep_model::Event::Started(started)) = history.first() else { panic!() };
        assert_eq!(started.trace.is_some(), compat == Compat::V3);
    }
}

#[tokio::test]
async fn a_start_may_wait_for_the_end() {
    let mut bed = Bed::new();
    bed.post("POST orchestrators/Echo/a?timeout=30&pollingInterval=0.5", "{\"x\": 1}").await;
    bed.post("POST orchestrators/Hello/b?timeout=30", "").await;
    bed.post("POST orchestrators/Echo/null?timeout=30", "").await;
    bed.post("POST orchestrators/Fail/c?timeout=30&pollingInterval=1", "").await;
    bed.post("POST orchestrators/Fail/d?timeout=30&returnInternalServerErrorOnFailure=true&showInput=false", "1").await;
    bed.post("POST orchestrators/Wait/e?timeout=0&pollingInterval=0", "").await;
    bed.post("POST orchestrators/Wait/f?pollingInterval=1", "").await;
    bed.post("POST orchestrators/Wait/g?timeout=soon", "").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn an_interval_beyond_the_timeout_is_refused_after_the_start() {
    let mut bed = Bed::new();
    bed.post("POST orchestrators/Wait/a?timeout=1.5&pollingInterval=2", "").await;
    insta::assert_snapshot!(bed.transcript());
    assert!(bed.client().get(&named("a")).await.is_ok());
}

#[tokio::test]
async fn a_restart_takes_name_and_input_and_a_made_id_unless_told_otherwise() {
    let mut bed = Bed::new();
    bed.start("Echo", "a", "{\"x\": 1}").await;
    bed.ask("POST instances/a/restart?timeout=30").await;
    bed.ask("POST instances/a/restart").await;
    bed.ask("POST instances/a/restart?restartWithNewInstanceId=False&timeout=30").await;
    bed.ask("POST instances/missing/restart").await;
    bed.ask("POST instances/@counter@a/restart").await;
    bed.start("Wait", "b", "null").await;
    bed.ask("POST instances/b/restart?restartWithNewInstanceId=false").await;
    bed.ask("POST instances/b/restart?restartWithNewInstanceId=maybe").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_restart_of_what_runs_is_a_server_error_in_version_2() {
    let mut bed = v2();
    bed.start("Wait", "b", "null").await;
    bed.ask("POST instances/b/restart?restartWithNewInstanceId=false").await;
    insta::assert_snapshot!(bed.transcript());
}
