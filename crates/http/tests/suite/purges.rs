//! `DELETE instances...`

use everstep_http::Compat;

use crate::support::{Bed, named};

async fn bed(compat: Compat) -> Bed {
    let bed = Bed::with(|options| options.compat = compat);
    bed.start("Wait", "running", "null").await;
    bed.start("Hello", "done", "null").await;
    bed.start("Fail", "failed", "null").await;
    bed.client().signal(&named("@counter@a"), "add", "1".into(), "").await.expect("it is taken");
    bed.until_state("@counter@a", "1").await;
    bed
}

#[tokio::test]
async fn one_instance_is_removed_when_it_has_ended() {
    let mut bed = bed(Compat::V3).await;
    for id in ["done", "done", "running", "missing", "%40counter%40a", "@counter@a", "@nonsense"] {
        bed.ask(&format!("DELETE instances/{id}")).await;
    }
    bed.ask("DELETE instances/running?force=true").await;
    bed.ask("GET instances/running").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn version_2_removes_one_instance_whatever_its_status() {
    let mut bed = bed(Compat::V2).await;
    for id in ["done", "done", "running", "missing", "@counter@a", "@counter@a"] {
        bed.ask(&format!("DELETE instances/{id}")).await;
    }
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn descendants_are_removed_when_that_is_wanted() {
    let mut bed = Bed::new();
    bed.start("Parent", "p", "null").await;
    bed.ask("DELETE instances/p?recursive=true").await;
    bed.ask("DELETE instances/p?recursive=1").await;
    bed.ask("DELETE instances/p?force=1").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_purge_by_filter_needs_a_time() {
    let mut bed = bed(Compat::V3).await;
    bed.ask("DELETE instances").await;
    bed.ask("DELETE instances?createdTimeFrom=long%20ago&runtimeStatus=Completed").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_purge_by_filter_takes_what_has_ended_and_nothing_else() {
    let mut bed = bed(Compat::V3).await;
    bed.ask("DELETE instances?createdTimeFrom=2026-02-01").await;
    bed.ask("DELETE instances?createdTimeFrom=1-01-01&createdTimeTo=2025-12-31T23:59:59Z").await;
    bed.ask("DELETE instances?createdTimeFrom=1-01-01&runtimeStatus=Running").await;
    bed.ask("DELETE instances?createdTimeFrom=1-01-01&runtimeStatus=Running,Completed").await;
    bed.ask("DELETE instances?createdTimeFrom=1-01-01").await;
    bed.ask("GET instances?showInput=false").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_forced_purge_by_filter_takes_everything_that_matches() {
    let mut bed = bed(Compat::V3).await;
    bed.ask("DELETE instances?createdTimeFrom=1-01-01&kind=orchestration&force=true").await;
    bed.ask("GET instances?showInput=false").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_year_of_fewer_than_four_digits_is_none_in_version_2() {
    let mut bed = bed(Compat::V2).await;
    bed.ask("DELETE instances?createdTimeFrom=1-01-01").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_history_is_purged_by_the_route_that_scripts_call() {
    let mut bed = bed(Compat::V3).await;
    for body in [
        r#"{"timeFrom": "2030-01-01T00:00:00Z"}"#,
        r#"{"timeFrom": "1-01-01", "timeTill": "2030-01-01T00:00:00Z", "runtimeStatus": ["Running"]}"#,
        r#"{"timeFrom": "1-01-01", "timeTill": "2030-01-01T00:00:00Z", "runtimeStatus": ["Completed", "Failed"]}"#,
        "",
        r#"{"timeFrom": "long ago"}"#,
        r#"{"timeFrom": "1-01-01", "timeTill": "soon"}"#,
        r#"{"timeFrom": "1-01-01", "runtimeStatus": ["Finished"]}"#,
        r#"{"timeTill": "2030-01-01T00:00:00Z"}"#,
        "[1]",
    ] {
        bed.post("POST purge-history", body).await;
    }
    insta::assert_snapshot!(bed.transcript());
}
