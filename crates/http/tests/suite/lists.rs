//! `GET instances` and its counts.

use everstep::StartOptions;
use everstep_http::Compat;

use crate::support::{Bed, named};

const TOKEN: &str = "x-ms-continuation-token";

async fn bed() -> Bed {
    let bed = Bed::new();
    bed.start("Echo", "a-1", "{\"x\":  1}").await;
    bed.start("Wait", "a-2", "\"needle\"").await;
    bed.start("Fail", "b-1", "null").await;
    let options = StartOptions {
        id: Some(named("B-2")),
        tags: [("Owner".to_owned(), "Ann B".to_owned())].into(),
        ..StartOptions::default()
    };
    bed.client().start("Hello", "null".into(), options).await.expect("it starts");
    bed.client().wait(&named("B-2")).await.expect("it ends");
    bed.client().signal(&named("@counter@a"), "add", "1".into(), "").await.expect("it is taken");
    bed.until_state("@counter@a", "1").await;
    bed
}

/// The ids that a list shows, sorted.
async fn ids(bed: &mut Bed, query: &str) -> Vec<String> {
    let (status, body) = bed.ask(&format!("GET instances?{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&body).expect("an array");
    let mut ids: Vec<_> =
        rows.iter().map(|row| row["instanceId"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_list_shows_all_instances_as_their_status_does() {
    let mut bed = Bed::new();
    bed.ask("GET instances").await;
    bed.start("Echo", "a", "{\"x\":  1}").await;
    bed.ask("GET instances").await;
    bed.ask("GET instances/?showInput=false").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn filters_of_durable_functions_choose_as_it_does() {
    let mut bed = bed().await;
    for (query, expected) in [
        ("", "@counter@a,B-2,a-1,a-2,b-1"),
        ("instanceIdPrefix=a-", "a-1,a-2"),
        ("instanceIdPrefix=b", "b-1"),
        ("instanceIdPrefix=@", "@counter@a"),
        ("instanceIdPrefix=", "@counter@a,B-2,a-1,a-2,b-1"),
        ("runtimeStatus=Completed", "B-2,a-1"),
        ("runtimeStatus=Completed,Failed", "B-2,a-1,b-1"),
        ("runtimeStatus=1&runtimeStatus=3", "B-2,a-1,b-1"),
        ("runtimeStatus=completed", "@counter@a,B-2,a-1,a-2,b-1"),
        ("runtimeStatus=Unknown", ""),
        ("runtimeStatus=99", ""),
        ("createdTimeFrom=2026-01-02T03:04:05Z", "@counter@a,B-2,a-1,a-2,b-1"),
        ("createdTimeFrom=2026-01-02T03:04:06Z", ""),
        ("createdTimeFrom=2026-01-02T04:04:06%2B01:00", ""),
        ("createdTimeFrom=nonsense", "@counter@a,B-2,a-1,a-2,b-1"),
        ("createdTimeTo=2026-01-02T03:04:04Z", ""),
        ("createdTimeTo=9999-12-31", "@counter@a,B-2,a-1,a-2,b-1"),
    ] {
        assert_eq!(ids(&mut bed, query).await.join(","), expected, "{query}");
    }
}

#[tokio::test]
async fn filters_of_ours_choose_further() {
    let mut bed = bed().await;
    bed.start("Parent", "p", "null").await;
    for (query, expected) in [
        ("name=ECHO", "a-1,the-child"),
        ("kind=entity", "@counter@a"),
        ("kind=Orchestration&name=wait", "a-2"),
        ("tag.Owner=Ann+B", "B-2"),
        ("tag.owner=Ann+B", ""),
        ("parent=p", "the-child,the-failure"),
        ("q=needle", "a-2"),
        ("status=running&kind=orchestration", "a-2"),
        ("status=RUNNING,failed&kind=orchestration", "a-2,b-1,the-failure"),
    ] {
        assert_eq!(ids(&mut bed, query).await.join(","), expected, "{query}");
    }
}

#[tokio::test]
async fn a_filter_of_ours_that_cannot_be_read_is_answered_with_what_to_write() {
    let mut bed = Bed::new();
    for query in [
        "kind=both",
        "status=Runing",
        "parent=a%2Fb",
        "tag.=x",
        "orderBy=id",
        "orderBy=updated",
        "desc=yes",
        "showDetails=1",
    ] {
        bed.ask(&format!("GET instances?{query}")).await;
    }
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn pages_follow_one_another_and_the_last_has_an_empty_token() {
    for order in ["", "&desc=true", "&orderBy=created&desc=false"] {
        let mut bed = bed().await;
        let (mut token, mut found, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let request = http::Request::get(format!(
                "{}instances?top=2&showInput=false{order}",
                crate::support::PREFIX
            ))
            .header(TOKEN, &token)
            .body(axum::body::Body::empty());
            let response = bed.send(request.expect("a request")).await;
            token = response.headers()[TOKEN].to_str().expect("a text").to_owned();
            let (_, body) = bed.answer(response).await;
            let rows: Vec<serde_json::Value> = serde_json::from_str(&body).expect("an array");
            assert!(!rows.is_empty() && rows.len() <= 2, "{body}");
            found.extend(
                rows.iter().map(|row| row["instanceId"].as_str().expect("an id").to_owned()),
            );
            pages += 1;
            if token.is_empty() {
                break;
            }
        }
        found.sort();
        assert_eq!(found, ["@counter@a", "B-2", "a-1", "a-2", "b-1"], "{order}");
        assert_eq!(pages, 3);
    }
}

#[tokio::test]
async fn a_token_without_top_gives_all_the_rest() {
    let mut bed = bed().await;
    let request = http::Request::get(format!("{}instances?top=2", crate::support::PREFIX))
        .body(axum::body::Body::empty());
    let response = bed.send(request.expect("a request")).await;
    let token = response.headers()[TOKEN].to_str().expect("a text").to_owned();
    let (_, body) = bed.full("GET instances", &[(TOKEN, &token)], "").await;
    assert_eq!(body.matches("instanceId").count(), 3);
}

#[tokio::test]
async fn a_foreign_token_is_refused() {
    let mut bed = bed().await;
    bed.full("GET instances?top=2", &[(TOKEN, "bm9uc2Vuc2U=")], "").await;
    bed.full("GET instances?top=2", &[(TOKEN, "n1-1")], "").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_top_that_is_no_count_counts_as_not_given() {
    let mut bed = bed().await;
    for top in ["0", "-3", "many", ""] {
        assert_eq!(ids(&mut bed, &format!("top={top}")).await.len(), 5, "{top}");
    }
    assert_eq!(ids(&mut bed, "top=9999999999").await.len(), 5);
    assert_eq!(ids(&mut bed, "top=1").await.len(), 1);
}

#[tokio::test]
async fn without_top_a_long_list_comes_whole() {
    let mut bed = Bed::new();
    let client = bed.client();
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..1_203 {
        let client = client.clone();
        starts.spawn(async move {
            let id = Some(named(&format!("n-{number:04}")));
            let options = StartOptions { id, ..StartOptions::default() };
            client.start("Wait", "1".into(), options).await.map(drop)
        });
    }
    starts.join_all().await.into_iter().for_each(|start| start.expect("it starts"));
    let found = ids(&mut bed, "showInput=false").await;
    assert_eq!(found.len(), 1_203);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn a_long_value_stands_in_a_list_as_in_a_status() {
    let mut bed = Bed::new();
    let long = format!("\"{}\"", "x".repeat(300_000));
    bed.start("Echo", "a", &long).await;
    let (_, body) = bed.ask("GET instances").await;
    assert_eq!(body.matches(&long).count(), 2, "input and output");
    let (_, body) = bed.ask("GET instances?showInput=false").await;
    assert_eq!(body.matches(&long).count(), 1);
}

#[tokio::test]
async fn counts_are_by_kind_name_and_status() {
    let mut bed = bed().await;
    bed.ask("GET instances/counts").await;
    bed.ask("GET instances/counts?name=echo").await;
    bed.ask("GET instances/counts?kind=orchestration&runtimeStatus=Failed,Running").await;
    bed.ask("GET instances/counts?runtimeStatus=Unknown").await;
    bed.ask("GET instances/counts?instanceIdPrefix=a-").await;
    bed.ask("GET instances/counts?q=needle&status=running").await;
    bed.ask("GET instances/counts?kind=other").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn version_2_lists_alike() {
    let mut bed = Bed::with(|options| options.compat = Compat::V2);
    bed.start("Echo", "a", "1").await;
    bed.ask("GET instances?createdTimeFrom=1-01-01&createdTimeTo=1-01-01").await;
    insta::assert_snapshot!(bed.transcript());
}
