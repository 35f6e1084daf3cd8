//! `entities/...`

use everstep_http::Compat;

use crate::support::{Bed, named};

#[tokio::test]
async fn a_signal_changes_a_state_that_is_read() {
    let mut bed = Bed::new();
    bed.ask("GET entities/Counter/Key").await;
    bed.post("POST entities/Counter/Key?op=add", "5").await;
    bed.until_state("@counter@Key", "5").await;
    bed.ask("GET entities/counter/Key").await;
    bed.ask("GET entities/counter/key").await;
    bed.ask("GET entities/COUNTER/Key?taskHub=TestHub&connectionName=x").await;
    bed.ask("GET instances/@COUNTER@Key").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_body_of_another_type_is_a_text() {
    let mut bed = Bed::new();
    bed.full("POST entities/counter/a?op=size", &[("content-type", "text/plain")], "{\"1234").await;
    bed.until_state("@counter@a", "6").await;
    bed.full("POST entities/counter/a?op=size", &[], "four").await;
    bed.until_state("@counter@a", "10").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_signal_without_operation_body_or_key_is_taken() {
    let mut bed = Bed::new();
    bed.ask("POST entities/counter/a").await;
    bed.until_state("@counter@a", "-1").await;
    bed.post("POST entities/counter?op=add", "2").await;
    bed.until_state("@counter@", "2").await;
    bed.ask("GET entities/counter/$").await;
    bed.post("POST entities/counter/$?op=add", "3").await;
    bed.until_state("@counter@$", "3").await;
    bed.ask("DELETE entities/counter").await;
    bed.until_state("@counter@", "-1").await;
    bed.ask("DELETE entities/counter/$").await;
    bed.until_state("@counter@$", "-1").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_bad_signal_is_refused_with_its_text() {
    let mut bed = Bed::new();
    bed.post("POST entities/counter/a?op=add", "{").await;
    bed.post("POST entities/other/a?op=add", "1").await;
    bed.post("DELETE entities/other/a", "").await;
    for key in ["a%2Fb", "a%5Cb", "a%23b", "a%3Fb", "a%0Ab"] {
        bed.post(&format!("POST entities/counter/{key}?op=add"), "1").await;
    }
    bed.ask("GET entities/counter/a%2Fb").await;
    bed.ask("GET entities/a@b/c").await;
    bed.ask(&format!("GET entities/counter/{}", "x".repeat(300))).await;
    insta::assert_snapshot!(bed.transcript());
}

async fn three() -> Bed {
    let bed = Bed::new();
    for (entity, by) in [("@counter@a", "1"), ("@counter@b", "2"), ("@counter@c", "3")] {
        bed.client().signal(&named(entity), "add", by.into(), "").await.expect("it is taken");
        bed.until_state(entity, by).await;
    }
    bed
}

#[tokio::test]
async fn lists_show_states_when_that_is_wanted() {
    let mut bed = three().await;
    bed.start("Hello", "no-entity", "null").await;
    bed.ask("GET entities?top=1&fetchState=true").await;
    let (_, all) = bed.ask("GET entities?fetchState=true").await;
    assert_eq!(all.matches("entityId").count(), 3);
    let (_, none) = bed.ask("GET entities/other").await;
    assert_eq!(none, "[]");
    let (_, all) = bed.ask("GET entities/Counter").await;
    assert_eq!(all.matches("\"state\":null").count(), 3);
    for (query, count) in [
        ("lastOperationTimeFrom=2026-01-02T03:04:05Z", 3),
        ("lastOperationTimeFrom=2026-01-02T03:04:07Z", 0),
        ("lastOperationTimeTo=2026-01-02T03:04:04Z", 0),
        ("lastOperationTimeTo=2026-01-02T03:04:07Z&top=3", 3),
    ] {
        let (_, body) = bed.ask(&format!("GET entities/counter?{query}")).await;
        assert_eq!(body.matches("entityId").count(), count, "{query}");
    }
}

#[tokio::test]
async fn pages_of_entities_follow_one_another() {
    let bed = three().await;
    let (mut token, mut found) = (String::new(), 0);
    loop {
        let request = http::Request::get(format!("{}entities?top=2", crate::support::PREFIX))
            .header("x-ms-continuation-token", &token)
            .body(axum::body::Body::empty());
        let response = bed.send(request.expect("a request")).await;
        token = response.headers()["x-ms-continuation-token"].to_str().expect("a text").to_owned();
        let body = crate::support::text(response.into_body()).await;
        found += body.matches("entityId").count();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, 3);
}

#[tokio::test]
async fn one_item_of_a_list_looks_so() {
    let mut bed = Bed::new();
    bed.client().signal(&named("@counter@A b"), "add", "5".into(), "").await.expect("it is taken");
    bed.until_state("@counter@A b", "5").await;
    bed.ask("GET entities/COUNTER").await;
    bed.ask("GET entities/counter?fetchState=true").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn version_2_keeps_an_escaped_slash_in_a_key() {
    let mut bed = Bed::with(|options| options.compat = Compat::V2);
    bed.post("POST entities/counter/a%2Fb?op=add", "4").await;
    bed.until_state("@counter@a%2Fb", "4").await;
    bed.ask("GET entities/counter/a%2Fb").await;
    insta::assert_snapshot!(bed.transcript());
}
