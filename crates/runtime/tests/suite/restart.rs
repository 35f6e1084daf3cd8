//! A host that goes away at any moment, and the one that comes after it.

use std::{collections::BTreeMap, time::Duration};

use everstep_model::Status;
use everstep_runtime::{Client, Host, Options, StartOptions};
use everstep_store_embedded::Embedded;

use crate::support::{
    Bed, Script, end, history, id, named, quiet, raise, start, until_state, until_why,
};

/// What comes between the first half of the scenario and the second.
#[derive(Clone, Copy)]
enum Between {
    Nothing,
    /// The host is gone without a word; its memory is lost.
    Drop,
    /// A fold, then the same.
    FoldThenDrop,
    /// A stop in good order.
    Stop,
}

const ENDED: [&str; 12] = [
    "waits",
    "sequence",
    "fan",
    "suspended",
    "soon",
    "far",
    "scheduled",
    "parent",
    "parent-0",
    "parent-1",
    "parent-2",
    "asks",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_dropped_is_continued_as_if_nothing_had_been() {
    assert_eq!(scenario(Between::Drop).await, scenario(Between::Nothing).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_dropped_after_a_fold_is_continued_as_if_nothing_had_been() {
    assert_eq!(scenario(Between::FoldThenDrop).await, scenario(Between::Nothing).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_stopped_is_continued_as_if_nothing_had_been() {
    assert_eq!(scenario(Between::Stop).await, scenario(Between::Nothing).await);
}

async fn scenario(between: Between) -> BTreeMap<String, Vec<String>> {
    let bed = Bed::new();
    let mut script = Script::new();
    let mut host = bed.open(&script, options());
    first_half(&bed, &host.client()).await;
    script.gathered("gate", 9).await;
    if !matches!(between, Between::Nothing) {
        go(between, host).await;
        script = Script::new();
        host = bed.open(&script, options());
        script.gathered("gate", 9).await;
    }
    script.open_gate();
    second_half(&bed, host).await
}

async fn go(between: Between, host: Host<Embedded>) {
    match between {
        Between::Nothing | Between::Drop => drop(host),
        Between::FoldThenDrop => {
            host.fold().await.unwrap();
            drop(host);
        }
        Between::Stop => host.stop().await.unwrap(),
    }
}

/// Timers that are far away are not left to the next look at the tables: the clock of this test leaps.
fn options() -> Options {
    let mut options = quiet();
    options.partition.horizon = Duration::from_hours(24);
    options
}

async fn first_half(bed: &Bed, client: &Client) {
    start(client, "waits", "wait Go;call echo x").await;
    start(client, "sequence", "call echo 1;call gate 2;call echo 3").await;
    start(client, "fan", "fan 8 gate y;call echo z").await;
    start(client, "suspended", "wait Go;call echo late").await;
    client.suspend(&id("suspended"), "hold on").await.unwrap();
    raise(client, "suspended", "Go", "held").await;
    start(client, "soon", "timer 60000;call echo soon").await;
    start(client, "far", "timer 1800000;call echo far").await;
    let scheduled = Some(bed.clock.now().after(Duration::from_hours(1)));
    let later = StartOptions { scheduled, ..named("scheduled") };
    client.start("run", "call echo scheduled".into(), later).await.unwrap();
    start(client, "parent", "children 3 wait Go,call echo c;call echo all").await;
    start(client, "asks", "ask @ledger@k 1;ask @counter@k 1;wait Go;ask @ledger@k 1").await;
    until_why(client, "asks", "event `Go`").await;
    for entity in ["@counter@k", "@ledger@k"] {
        client.signal(&id(entity), "add", "5".into(), "").await.unwrap();
        until_state(client, entity, "6").await;
    }
    until_why(client, "parent-2", "event `Go`").await;
    until_why(client, "waits", "event `Go`").await;
    assert_eq!(client.get(&id("suspended")).await.unwrap().status, Status::Suspended);
    assert_eq!(client.get(&id("scheduled")).await.unwrap().status, Status::Pending);
}

async fn second_half(bed: &Bed, host: Host<Embedded>) -> BTreeMap<String, Vec<String>> {
    let client = host.client();
    client.resume(&id("suspended"), "go on").await.unwrap();
    for name in ["waits", "parent-0", "parent-1", "parent-2", "asks"] {
        raise(&client, name, "Go", name).await;
    }
    end(&client, "asks").await;
    for entity in ["@counter@k", "@ledger@k"] {
        client.signal(&id(entity), "add", "10".into(), "").await.unwrap();
    }
    until_state(&client, "@counter@k", "16").await;
    until_state(&client, "@ledger@k", "17").await;
    bed.clock.advance(Duration::from_hours(2));
    let mut results = BTreeMap::new();
    for name in ENDED {
        let mut lines = vec![format!("{:?}", end(&client, name).await)];
        let events = history(&client, name).await;
        // Which of several answers comes first is chance.
        let is_chance =
            |event: &String| ["parent", "fan"].contains(&name) && event.contains("Ended");
        lines.extend(events.into_iter().filter(|event| !is_chance(event)));
        results.insert(name.to_owned(), lines);
    }
    let counts = client.counts().await.unwrap();
    results.insert("counts".to_owned(), counts.iter().map(|count| format!("{count:?}")).collect());
    host.stop().await.unwrap();
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_due_while_no_host_ran_happens_at_the_next_start() {
    for fold in [false, true] {
        let bed = Bed::new();
        let script = Script::new();
        let host = bed.open(&script, quiet());
        let client = host.client();
        start(&client, "far", "timer 1800000").await;
        let scheduled = Some(bed.clock.now().after(Duration::from_hours(1)));
        let later = StartOptions { scheduled, ..named("scheduled") };
        client.start("run", "call echo s".into(), later).await.unwrap();
        until_why(&client, "far", "a timer is due").await;
        if fold {
            host.stop().await.unwrap();
        } else {
            drop(host);
        }
        bed.clock.advance(Duration::from_hours(2));
        let host = bed.open(&script, quiet());
        assert_eq!(end(&host.client(), "far").await, (Status::Completed, "fired".to_owned()));
        assert_eq!(end(&host.client(), "scheduled").await, (Status::Completed, "s".to_owned()));
        host.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_starts_of_a_host_in_a_row_lose_nothing_and_repeat_nothing() {
    let bed = Bed::new();
    let script = Script::new();
    for round in 0..6 {
        let host = bed.open(&script, quiet());
        let client = host.client();
        if round == 0 {
            for number in 0..20 {
                start(&client, &format!("i{number}"), "wait A;wait A;wait A;wait A;wait A;wait A")
                    .await;
            }
        }
        for number in 0..20 {
            raise(&client, &format!("i{number}"), "A", &round.to_string()).await;
        }
        client.signal(&id("@counter@k"), "add", "1".into(), "").await.unwrap();
        match round % 3 {
            0 => drop(host),
            1 => {
                host.fold().await.unwrap();
                drop(host);
            }
            _ => host.stop().await.unwrap(),
        }
    }
    let host = bed.open(&script, quiet());
    for number in 0..20 {
        let ended = end(&host.client(), &format!("i{number}")).await;
        assert_eq!(ended, (Status::Completed, "0,1,2,3,4,5".to_owned()));
    }
    until_state(&host.client(), "@counter@k", "6").await;
    host.stop().await.unwrap();
}
