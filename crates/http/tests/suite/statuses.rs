//! `GET instances/{id}`

use crate::support::{Bed, named};

async fn bed() -> Bed {
    let bed = Bed::new();
    bed.start("Wait", "running", "{\"n\":  1}").await;
    bed.start("Echo", "done", "[1, 2.50]").await;
    bed.start("Fail", "failed", "").await;
    bed.start("Wait", "terminated", "\"x\"").await;
    bed.client().terminate(&named("terminated"), "enough of \"it\"", true).await.expect("it ends");
    bed.start("Wait", "silent", "").await;
    bed.client().terminate(&named("silent"), "", true).await.expect("it ends");
    bed.start("Wait", "suspended", "null").await;
    bed.client().suspend(&named("suspended"), "later").await.expect("it is held");
    for id in ["terminated", "silent", "suspended"] {
        bed.until(id, |view| view.status.name().to_lowercase() != "running").await;
    }
    bed
}

#[tokio::test]
async fn each_status_has_its_code_and_headers() {
    let mut bed = bed().await;
    for id in ["running", "done", "failed", "terminated", "silent", "suspended", "missing"] {
        bed.ask(&format!("GET instances/{id}")).await;
    }
    bed.client()
        .start(
            "Missing",
            "1".into(),
            everstep::StartOptions {
                id: Some(named("pending")),
                scheduled: Some(everstep::Timestamp::MAX),
                ..Default::default()
            },
        )
        .await
        .expect("it starts");
    bed.ask("GET instances/pending?showHistory=true&code=x%20y&taskHub=TestHub").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_failure_is_a_server_error_when_that_is_wanted() {
    let mut bed = bed().await;
    bed.ask("GET instances/failed?returnInternalServerErrorOnFailure=TRUE").await;
    bed.ask("GET instances/failed?returnInternalServerErrorOnFailure=1").await;
    bed.ask("GET instances/done?returnInternalServerErrorOnFailure=true").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn an_input_is_left_out_when_that_is_wanted() {
    let mut bed = bed().await;
    bed.ask("GET instances/running?showInput=false").await;
    bed.ask("GET instances/running?SHOWINPUT=+False+").await;
    bed.ask("GET instances/running?showInput=no").await;
    bed.ask("GET instances/running?showInput=false&showInput=true").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn details_are_shown_when_that_is_wanted() {
    let mut bed = Bed::new();
    bed.start("Parent", "p", "null").await;
    bed.ask("GET instances/the-failure?showDetails=true").await;
    bed.ask("GET instances/the-failure?showDetails=yes").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn ids_that_no_instance_can_have_are_not_found() {
    let mut bed = Bed::new();
    let long = "x".repeat(300);
    for id in ["a%01b", "a%2Fb", "%20%23", "@lonely", "@", "@@", &*long] {
        let (status, body) = bed.ask(&format!("GET instances/{id}")).await;
        assert_eq!((status, body.as_str()), (404, ""), "{id}");
    }
}

#[tokio::test]
async fn a_wait_answers_with_the_end_or_with_what_is_there_when_its_time_is_over() {
    let mut bed = bed().await;
    bed.ask("GET instances/done?wait=30").await;
    bed.ask("GET instances/running?wait=0s").await;
    bed.ask("GET instances/missing?wait=30s").await;
    bed.ask("GET instances/running?wait=soon").await;
    bed.ask("GET instances/@counter@a?wait=30s").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn many_waits_end_with_the_event_that_ends_the_instance() {
    let bed = Bed::new();
    bed.start("Wait", "a", "null").await;
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let router = bed.router.clone();
        let uri = format!("{}instances/a?wait=60s", crate::support::PREFIX);
        waits.spawn(async move {
            let request = http::Request::get(uri).body(axum::body::Body::empty());
            tower::ServiceExt::oneshot(router, request.expect("a request")).await
        });
    }
    bed.client()
        .raise(
            &named("a"),
            everstep::Raised { name: "Go".to_owned(), input: "1".into(), key: String::new() },
        )
        .await
        .expect("it is taken");
    for response in waits.join_all().await {
        assert_eq!(response.expect("a router has no errors").status(), 200);
    }
}
