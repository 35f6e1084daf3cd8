//! Bulk verbs as jobs: they go on by themselves, tell how far they are, and leave each other alone.

use std::time::Duration;

use everstep_model::{InstanceId, Status};
use everstep_runtime::{Bulk, Client, StartOptions};
use everstep_store::{Filter, Order};

use crate::support::{Bed, Script, end, id, named, quiet, raise, start, text, until, until_why};

fn prefixed(prefix: &str) -> Filter {
    Filter { id_prefix: Some(prefix.to_owned()), ..Filter::default() }
}

/// The totals of a job, once it has ended well.
async fn totals(client: &Client, job: &InstanceId) -> String {
    let view = client.wait(job).await.unwrap();
    assert_eq!(view.status, Status::Completed, "{:?}", view.failure);
    assert_eq!(view.output, view.custom_status, "the last progress is the whole");
    text(view.output.as_ref())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_tells_what_it_did_and_leaves_alone_what_does_not_fit() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for number in 0..5 {
        start(&client, &format!("a{number}"), "wait Go").await;
    }
    raise(&client, "a0", "Go", "x").await;
    end(&client, "a0").await;
    start(&client, "b", "wait Go").await;
    let job = client.start_bulk(&prefixed("a"), &Bulk::Terminate("enough".to_owned())).await;
    let job = job.unwrap();
    assert_eq!(
        totals(&client, &job).await,
        r#"{"done":4,"failed":0,"skipped":1,"total":5,"verb":"terminate"}"#
    );
    assert_eq!(end(&client, "a4").await, (Status::Terminated, "enough".to_owned()));
    let purge = client.start_bulk(&prefixed("a"), &Bulk::Purge).await.unwrap();
    assert_eq!(
        totals(&client, &purge).await,
        r#"{"done":5,"failed":0,"skipped":0,"total":5,"verb":"purge"}"#
    );
    let left = client.list(&Filter::default(), Order::OldestFirst, None, 10).await.unwrap();
    let mut left: Vec<_> = left.rows.into_iter().map(|view| view.name).collect();
    left.sort();
    assert_eq!(left, ["everstep.bulk", "everstep.bulk", "run"]);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_for_everything_spares_jobs_and_itself() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "waits", "wait Go").await;
    let everything = Filter::default();
    let first = client.start_bulk(&everything, &Bulk::Suspend("hold on".to_owned())).await.unwrap();
    totals(&client, &first).await;
    until(async || client.get(&id("waits")).await.unwrap().status == Status::Suspended).await;
    let second = client.start_bulk(&everything, &Bulk::Terminate("enough".to_owned())).await;
    totals(&client, &second.unwrap()).await;
    assert_eq!(end(&client, "waits").await.0, Status::Terminated);
    let third = client.start_bulk(&everything, &Bulk::Purge).await.unwrap();
    assert_eq!(
        totals(&client, &third).await,
        r#"{"done":1,"failed":0,"skipped":0,"total":1,"verb":"purge"}"#
    );
    assert_eq!(client.get(&first).await.unwrap().status, Status::Completed);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_several_pages_survives_crashes_and_stops_of_its_host() {
    const COUNT: u32 = 2_300;
    let bed = Bed::new();
    let script = Script::new();
    let mut host = bed.open(&script, quiet());
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..COUNT {
        let client = host.client();
        asked.spawn(async move {
            let options = named(&format!("i{number}"));
            client.start("run", "wait Go".into(), options).await.unwrap();
        });
    }
    asked.join_all().await;
    let job = host.client().start_bulk(&prefixed("i"), &Bulk::Terminate(String::new())).await;
    let job = job.unwrap();
    let progress = async |client: &Client| client.get(&job).await.unwrap().custom_status;
    until(async || progress(&host.client()).await.is_some()).await;
    drop(host);
    host = bed.open(&script, quiet());
    let first = progress(&host.client()).await;
    until(async || {
        let view = host.client().get(&job).await.unwrap();
        view.custom_status != first || view.status.is_terminal()
    })
    .await;
    host.stop().await.unwrap();
    // A page that met a host which stops is tried again after a while.
    bed.clock.advance(Duration::from_mins(1));
    host = bed.open(&script, quiet());
    let totals = totals(&host.client(), &job).await;
    assert!(totals.contains(&format!(r#""total":{COUNT}"#)), "{totals}");
    let ended = Filter { statuses: vec![Status::Terminated], ..prefixed("i") };
    let ended = async || host.client().count(&ended, Duration::from_mins(1)).await.unwrap();
    until(async || ended().await == (u64::from(COUNT), true)).await;
    let history = host.client().history(&job).await.unwrap();
    assert!(history.len() < 20, "each page has an execution of its own: {history:?}");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_ours_are_not_the_workers_and_a_job_needs_a_jobs_input() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    let job = client.start("everstep.bulk", "{}".into(), StartOptions::default()).await.unwrap();
    let failure = client.wait(&job).await.unwrap().failure.unwrap();
    assert_eq!(
        failure.message,
        "the input of `everstep.bulk` is not a job (missing field `verb` at line 1 column 2); start jobs with the bulk verbs of a client, the API or the command line"
    );
    // The script would run any activity.
    start(&client, "i", "call everstep.other x").await;
    until_why(&client, "i", "activity `everstep.other` (call 0, attempt 1) is not registered")
        .await;
    host.stop().await.unwrap();
}
