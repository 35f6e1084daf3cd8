//! What `why` says, in words and in names for programs.

use std::time::Duration;

use everstep_runtime::{Client, why::Reason};

use crate::support::{Bed, Script, end, id, quiet, raise, start, until, until_why};

async fn reasons(client: &Client, name: &str) -> Vec<Reason> {
    let facts = client.why(&id(name)).await.unwrap();
    facts.reasons.into_iter().map(|(reason, _)| reason).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_before_a_retry_names_what_is_tried_again() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "unfolded", "retry fail 5000").await;
    start(&client, "folded", "retry fail 5000").await;
    start(&client, "timer", "timer 5000").await;
    for name in ["unfolded", "folded"] {
        until_why(&client, name, "retry 1 of `fail` is due at ").await;
    }
    until_why(&client, "timer", "a timer is due at ").await;
    // The history is in the tables alone.
    host.stop().await.unwrap();
    let host = bed.open(&script, quiet());
    let client = host.client();
    let found = reasons(&client, "folded").await;
    let [Reason::Retry { name, attempt, due, .. }] = &*found else { panic!("{found:?}") };
    assert_eq!((name.as_deref(), *attempt), (Some("fail"), 2));
    assert!(*due > bed.clock.now());
    assert_eq!((found[0].kind(), found[0].remedy()), ("retry", None));
    bed.clock.advance(Duration::from_secs(10));
    assert_eq!(end(&client, "folded").await.1, "retried");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reason_has_a_name_for_programs_and_a_remedy_for_people() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "waits", "wait Go").await;
    until_why(&client, "waits", "event `Go`").await;
    let first = reasons(&client, "waits").await.remove(0);
    assert_eq!((first.kind(), first.remedy()), ("event", Some("raise it")));
    assert_eq!(first.state(), "event `Go` was not raised");
    assert_eq!(first.to_string(), "event `Go` was not raised; raise it");
    client.suspend(&id("waits"), "hold on").await.unwrap();
    until(async || reasons(&client, "waits").await[0].kind() == "suspended").await;
    client.resume(&id("waits"), "go on").await.unwrap();
    raise(&client, "waits", "Go", "x").await;
    assert_eq!(end(&client, "waits").await.1, "x");
    assert_eq!(reasons(&client, "waits").await[0].kind(), "ended");
    host.stop().await.unwrap();
}
