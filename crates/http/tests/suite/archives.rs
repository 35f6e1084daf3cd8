//! `GET instances/{id}/record` and `POST import`

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Bed, PREFIX, text};

async fn record(bed: &mut Bed, id: &str) -> Value {
    let (status, body) = bed.ask(&format!("GET instances/{id}/record")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("a record")
}

fn line(record: &Value) -> String {
    json!({ "instance": { "instanceId": record["instanceId"] }, "record": record["record"] })
        .to_string()
}

/// All that the API tells of instances.
async fn told(bed: &mut Bed, ids: &[&str]) -> Vec<String> {
    let mut told = Vec::new();
    for id in ids {
        for tail in
            ["?showHistory=true&showHistoryOutput=true&showDetails=true", "/history", "/record"]
        {
            told.push(bed.ask(&format!("GET instances/{id}{tail}")).await.1);
        }
    }
    told.push(bed.ask("GET instances/counts").await.1);
    told
}

#[tokio::test]
async fn what_one_hub_gives_out_another_takes_in() {
    let ids = ["p", "the-child", "the-failure", "done", "@counter@a"];
    let mut from = Bed::new();
    from.start("Parent", "p", "null").await;
    from.start("Hello", "done", "\"x\"").await;
    from.client()
        .signal(&crate::support::named("@counter@a"), "add", "5".into(), "")
        .await
        .unwrap();
    from.until_state("@counter@a", "5").await;
    let before = told(&mut from, &ids).await;
    let mut lines = String::new();
    for id in ids {
        lines += &(line(&record(&mut from, id).await) + "\n\n");
    }

    let mut to = Bed::new();
    let (status, body) = to.post("POST import", lines.trim_end()).await;
    assert_eq!(status, 200, "{body}");
    let outcomes: Vec<Value> =
        body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let expected: Vec<Value> =
        ids.iter().map(|id| json!({ "instanceId": id, "outcome": "imported" })).collect();
    assert_eq!(outcomes, expected);
    assert_eq!(told(&mut to, &ids).await, before);
}

#[tokio::test]
async fn what_runs_has_no_record() {
    let mut bed = Bed::new();
    bed.start("Wait", "w", "null").await;
    bed.ask("GET instances/w/record").await;
    bed.ask("GET instances/missing/record").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn each_line_that_cannot_be_put_back_says_why() {
    let mut bed = Bed::new();
    bed.start("Hello", "done", "null").await;
    let done = line(&record(&mut bed, "done").await);
    let mut bed = Bed::new();
    bed.start("Wait", "w", "null").await;
    let lines = [
        "nonsense",
        "[]",
        r#"{"instance":{"instanceId":"w","runtimeStatus":"Running"}}"#,
        r#"{"instance":{"instanceId":"old","runtimeStatus":"Completed"}}"#,
        r#"{"instance":{"instanceId":"a"},"record":"?"}"#,
        r#"{"instance":{"instanceId":"a"},"record":"CgFh"}"#,
        r#"{"instance":{"instanceId":"a"},"record":"/w=="}"#,
    ];
    bed.post("POST import", &lines.join("\n")).await;
    bed.post("POST import", "").await;
    bed.post("POST import", "\n \n").await;
    bed.post("POST import?replace=maybe", "{}").await;
    let transcript = bed.transcript().to_owned();
    for query in ["", "", "?replace=true"] {
        let (_, body) = bed.post(&format!("POST import{query}"), &done).await;
        bed.note(&body);
    }
    let outcomes: Vec<&str> = bed
        .transcript()
        .lines()
        .filter(|line| line.starts_with("{\"instanceId\":\"done\""))
        .collect();
    insta::assert_snapshot!(format!("{transcript}\n\n{}", outcomes.join("\n")));
}

#[tokio::test]
async fn an_instance_that_runs_is_not_replaced() {
    let mut bed = Bed::new();
    bed.start("Hello", "w", "null").await;
    let done = line(&record(&mut bed, "w").await);
    let mut bed = Bed::new();
    bed.start("Wait", "w", "null").await;
    let (_, body) = bed.post("POST import?replace=true", &done).await;
    insta::assert_snapshot!(body.trim_end(), @r#"{"instanceId":"w","outcome":"exists","message":"one of its id is here and Running; what is under way is not replaced, so end it first"}"#);
}

#[tokio::test]
async fn a_long_body_is_read_and_answered_piece_by_piece() {
    let mut bed = Bed::new();
    bed.start("Hello", "done", "null").await;
    let done = line(&record(&mut bed, "done").await);
    bed.client().purge(&crate::support::named("done")).await.unwrap();
    // The pieces end anywhere, also within a line.
    let whole = format!("{done}\n").repeat(300);
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        whole.as_bytes().chunks(777).map(|piece| Ok(piece.to_vec())).collect();
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let request = Request::post(format!("{PREFIX}import")).body(body).expect("a request");
    let answer = text(bed.send(request).await.into_body()).await;
    assert_eq!(answer.lines().count(), 300);
    assert_eq!(answer.lines().filter(|line| line.contains("imported")).count(), 1);
    assert_eq!(answer.lines().filter(|line| line.contains("exists")).count(), 299);
}

#[tokio::test]
async fn a_line_over_the_limit_ends_the_import() {
    let mut bed = Bed::with(|options| options.bodies_max = 4_000);
    bed.start("Hello", "done", "null").await;
    let done = line(&record(&mut bed, "done").await);
    let (_, body) =
        bed.post("POST import", &format!("{done}\n{}\n{done}", "x".repeat(5_000))).await;
    insta::assert_snapshot!(body.lines().last().unwrap_or_default(), @r#"{"outcome":"refused","message":"line 2: it is longer than 4000 bytes, the most that this host takes; what follows was not read"}"#);
}
