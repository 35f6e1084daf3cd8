//! `GET instances/{id}/stream`

use futures_util::StreamExt as _;

use crate::support::{Bed, named};

#[tokio::test]
async fn a_stream_tells_each_change_and_ends_with_the_instance() {
    let mut bed = Bed::new();
    bed.start("Wait", "a", "{\"x\":\n 1}").await;
    let request = http::Request::get(format!("{}instances/a/stream", crate::support::PREFIX))
        .body(axum::body::Body::empty());
    let response = bed.send(request.expect("a request")).await;
    bed.note(&format!("{} {:?}", response.status(), response.headers()["content-type"]));
    let mut events = response.into_body().into_data_stream();
    let mut next = async || match events.next().await {
        Some(event) => String::from_utf8(event.expect("it goes on").to_vec()).expect("a text"),
        None => "(over)".to_owned(),
    };
    bed.note(&next().await);
    bed.post("POST instances/a/raiseEvent/Go", "\"twice\"").await;
    bed.note(&next().await);
    bed.post("POST instances/a/raiseEvent/Go", "7").await;
    bed.note(&next().await);
    bed.note(&next().await);
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_stream_of_what_has_ended_is_one_event() {
    let mut bed = Bed::new();
    bed.start("Echo", "a", "1").await;
    bed.ask("GET instances/a/stream?showInput=false").await;
    bed.ask("GET instances/missing/stream").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_stream_says_when_its_instance_is_gone() {
    let mut bed = Bed::new();
    bed.client().signal(&named("@counter@a"), "add", "1".into(), "").await.expect("it is taken");
    bed.until_state("@counter@a", "1").await;
    let request =
        http::Request::get(format!("{}instances/@counter@a/stream", crate::support::PREFIX))
            .body(axum::body::Body::empty());
    let response = bed.send(request.expect("a request")).await;
    bed.client().purge(&named("@counter@a")).await.expect("it goes");
    bed.answer(response).await;
    insta::assert_snapshot!(bed.transcript());
}
