//! `showHistory` and raw histories.

use crate::support::Bed;

#[tokio::test]
async fn a_call_with_its_result_is_one_entry() {
    let mut bed = Bed::new();
    bed.start("Hello", "a", "{\"x\":  1}").await;
    bed.ask("GET instances/a?showHistory=true&showHistoryOutput=true&showInput=false").await;
    bed.ask("GET instances/a?showHistory=True").await;
    bed.ask("GET instances/missing?showHistory=true").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn failures_children_and_activities_are_shown() {
    let mut bed = Bed::new();
    bed.start("Parent", "p", "null").await;
    bed.ask("GET instances/p?showHistory=true&showHistoryOutput=true").await;
    bed.ask("GET instances/the-failure?showHistory=true").await;
    bed.ask("GET instances/the-child?showHistory=true").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn what_has_no_result_stays_in_the_list() {
    let mut bed = Bed::new();
    bed.start("Lost", "lost", "null").await;
    bed.start("Nap", "nap", "null").await;
    bed.until("nap", |view| view.status == everstep_model::Status::Running).await;
    bed.ask("GET instances/lost?showHistory=true").await;
    bed.ask("GET instances/nap?showHistory=true").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn events_and_holds_are_shown() {
    let mut bed = Bed::new();
    bed.start("Wait", "a", "null").await;
    bed.ask("POST instances/a/suspend?reason=later").await;
    bed.until("a", |view| view.status == everstep_model::Status::Suspended).await;
    bed.ask("POST instances/a/resume?reason=now").await;
    bed.until("a", |view| view.status == everstep_model::Status::Running).await;
    bed.post("POST instances/a/raiseEvent/go", "\"twice\"").await;
    bed.until("a", |view| {
        view.custom_status.as_ref().is_some_and(|status| *status == "\"half\"".into())
    })
    .await;
    bed.ask("POST instances/a/terminate?reason=enough").await;
    bed.ask("GET instances/a?wait=30s").await;
    bed.ask("GET instances/a?showHistory=true&showHistoryOutput=true").await;
    bed.ask("GET instances/a?showHistory=true&showHistoryOutput=true&showInput=false").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn entities_are_talked_to_by_events() {
    let mut bed = Bed::new();
    bed.start("Count", "a", "null").await;
    bed.ask("GET instances/a?showHistory=true&showHistoryOutput=true").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_raw_history_has_all_fields() {
    let mut bed = Bed::new();
    bed.start("Parent", "p", "{\"x\":  1}").await;
    bed.ask("GET instances/p/history").await;
    bed.ask("GET instances/the-child/history").await;
    bed.ask("GET instances/missing/history").await;
    bed.ask("GET instances/@counter@a/history").await;
    insta::assert_snapshot!(bed.transcript());
}
