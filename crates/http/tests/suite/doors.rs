//! Prefixes, keys, verbs, hubs, sizes.

use crate::support::{Bed, Key};

#[tokio::test]
async fn the_name_of_the_extension_has_any_case_and_others_are_not_found() {
    let mut bed = Bed::new();
    bed.start("Hello", "a", "null").await;
    bed.ask("GET /runtime/webhooks/durableTask/instances/a").await;
    bed.ask("GET /runtime/webhooks/DURABLETASK/Instances/a/").await;
    bed.ask("GET /runtime/webhooks/eventHub/instances/a").await;
    bed.ask("GET /runtime/webhooks/durabletask").await;
    bed.ask("GET /runtime/webhooks/durabletask/").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_wrong_verb_or_an_unknown_path_is_not_found() {
    let mut bed = Bed::new();
    bed.start("Wait", "a", "null").await;
    for line in [
        "PUT instances/a",
        "PATCH instances/a",
        "OPTIONS instances/a",
        "HEAD instances/a",
        "POST instances/a",
        "GET orchestrators/Hello",
        "GET instances/a/terminate",
        "POST instances/a/explode",
        "POST instances/a/raiseEvent",
        "POST instances//terminate",
        "POST instances/a/terminate/now",
        "DELETE entities",
        "POST entities",
        "GET nonsense",
    ] {
        let (status, body) = bed.ask(line).await;
        assert_eq!((status, body.as_str()), (404, ""), "{line}");
    }
}

#[tokio::test]
async fn a_key_is_read_from_the_header_first_and_then_from_the_query() {
    let mut bed = Bed::with(|options| options.keys = std::sync::Arc::new(Key(Some("right"))));
    let header = |key| [("x-functions-key", key)];
    bed.ask("GET instances").await;
    bed.ask("GET instances?code=wrong").await;
    bed.ask("GET instances?code=right").await;
    bed.ask("GET instances?CODE=right&code=wrong").await;
    bed.full("GET instances", &header("right"), "").await;
    bed.full("GET instances?code=right", &header("wrong"), "").await;
    bed.ask("GET nonsense").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn the_rpc_door_asks_for_no_key_and_takes_bodies_of_any_length() {
    let mut bed = Bed::with(|options| {
        options.keys = std::sync::Arc::new(Key(Some("right")));
        options.bodies_max = 10;
    });
    bed.router = bed.api.rpc_router("/durabletask/");
    bed.post("POST /durabletask/orchestrators/Echo/a?timeout=30", "\"longer than ten bytes\"")
        .await;
    bed.post("POST /durabletask/orchestrators/Wait/b", "").await;
    bed.ask("GET /durabletask/instances/b?showInput=false").await;
    bed.ask("GET /durabletask/nonsense").await;
    bed.ask("GET /durabletask").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_with_its_limit() {
    let mut bed = Bed::with(|options| options.bodies_max = 10);
    bed.post("POST orchestrators/Echo/a", "\"longer than ten bytes\"").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn another_task_hub_is_not_found_and_its_own_is_named_in_any_case() {
    let mut bed = Bed::new();
    bed.ask("GET instances?taskHub=Other").await;
    bed.ask("GET instances?taskHub=testhub&connection=Any").await;
    bed.ask("GET instances?taskHub=").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_path_that_is_not_utf8_is_refused_with_a_text() {
    let mut bed = Bed::new();
    bed.ask("GET instances/%ff").await;
    bed.ask("GET instances/%zz").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_host_that_has_stopped_is_not_available() {
    let mut bed = Bed::new();
    bed.start("Hello", "a", "null").await;
    let other = Bed::new();
    let host = std::mem::replace(&mut bed.host, other.host);
    host.stop().await.expect("it stops");
    bed.ask("GET instances/a").await;
    bed.post("POST orchestrators/Hello/b", "").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn make_primary_takes_any_verb() {
    let mut bed = Bed::new();
    for verb in ["GET", "POST", "PUT", "DELETE"] {
        assert_eq!(bed.ask(&format!("{verb} makePrimary")).await, (200, String::new()));
    }
}

#[tokio::test]
async fn the_openapi_document_is_served() {
    let mut bed = Bed::new();
    let (status, body) = bed.ask("GET openapi.json").await;
    let document: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &document["openapi"]), (200, &serde_json::json!("3.1.0")));
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).expect("JSON"));
}
