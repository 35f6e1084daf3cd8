//! More work than a host lets in.

use std::sync::atomic::Ordering;

use everstep_model::{InstanceId, Status};
use everstep_runtime::{Bulk, ClientError, Host, Options};
use everstep_store::Filter;

use crate::support::{Bed, Script, Spied, end, id, named, open_store, quiet, raise, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_partitions_refuse_clients_and_finish_what_they_let_in() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { requests: 4, ..quiet() });
    let client = host.client();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..600 {
        let client = client.clone();
        asked.spawn(async move {
            let program = "children 4 call echo a,children 2 call echo b";
            client.start("run", program.into(), named(&format!("i{number}"))).await
        });
    }
    let (mut let_in, mut refused) = (Vec::<InstanceId>::new(), 0);
    while let Some(answer) = asked.join_next().await {
        match answer.unwrap() {
            Ok(started) => let_in.push(started),
            Err(error) => {
                assert!(matches!(error, ClientError::Busy), "{error}");
                assert_eq!(
                    error.to_string(),
                    "the host is busy, stopping, or its disk is full; ask again in a moment"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "six hundred at once are more than four for each partition");
    assert!(!let_in.is_empty(), "a partition that is not full takes a start");
    for id in &let_in {
        assert_eq!(end(&client, id.as_str()).await.0, Status::Completed, "{id}");
    }
    start(&client, "after", "call echo x").await;
    assert_eq!(end(&client, "after").await, (Status::Completed, "x".to_owned()));
    let counts = client.counts().await.unwrap();
    let sum: u64 = counts.iter().map(|(.., count)| count).sum();
    assert_eq!(sum, let_in.len() as u64 * (1 + 4 + 4 * 2) + 1);
    host.stop().await.unwrap();
}

/// One request at a time and partition, and every instance sends to others: what is inside is never refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_send_to_each_other_while_all_are_full_do_not_wait_for_each_other() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { requests: 1, activities: 1, threads: 2, ..quiet() });
    let client = host.client();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..40 {
        let client = client.clone();
        asked.spawn(async move {
            let options = named(&format!("i{number}"));
            let program = "children 5 ask @counter@k 1,ask @ledger@k 1,call echo x";
            loop {
                match client.start("run", program.into(), options.clone()).await {
                    Ok(_) => return,
                    Err(ClientError::Busy) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    asked.join_all().await;
    for number in 0..40 {
        assert_eq!(end(&client, &format!("i{number}")).await.0, Status::Completed);
    }
    crate::support::until_state(&client, "@ledger@k", "200").await;
    crate::support::until_state(&client, "@counter@k", "200").await;
    host.stop().await.unwrap();
}

/// A terminate gives room back, so it is let in when nothing else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_host_still_terminates() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    start(&host.client(), "waits", "wait Go").await;
    host.stop().await.unwrap();
    let host = bed.open(&script, Options { requests: 0, ..quiet() });
    let client = host.client();
    let refused = client.start("run", "call echo x".into(), named("more")).await.unwrap_err();
    assert!(matches!(refused, ClientError::Busy), "{refused}");
    assert!(matches!(client.suspend(&id("waits"), "").await, Err(ClientError::Busy)));
    client.terminate(&id("waits"), "enough", true).await.unwrap();
    assert_eq!(end(&client, "waits").await, (Status::Terminated, "enough".to_owned()));
    client.purge(&id("waits")).await.unwrap();
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_nearly_full_begins_nothing_new_and_ends_what_runs() {
    let bed = Bed::new();
    let script = Script::new();
    let store = Spied::new(open_store(bed.folder.path()).unwrap());
    let is_low = store.is_low.clone();
    let host = Host::start(store, script, quiet()).unwrap();
    let client = host.client();
    start(&client, "runs", "wait Go;children 2 call echo x").await;
    is_low.store(true, Ordering::SeqCst);
    let refused = client.start("run", "call echo x".into(), named("new")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the disk is nearly full, so nothing new is started; free some space, or purge what has ended"
    );
    raise(&client, "runs", "Go", "1").await;
    assert_eq!(end(&client, "runs").await, (Status::Completed, "1,x,x".to_owned()));
    // The job that makes room is let in.
    let job = client.start_bulk(&Filter::default(), &Bulk::Purge).await.unwrap();
    assert_eq!(client.wait(&job).await.unwrap().status, Status::Completed);
    is_low.store(false, Ordering::SeqCst);
    start(&client, "new", "call echo x").await;
    assert_eq!(end(&client, "new").await.0, Status::Completed);
    host.stop().await.unwrap();
}
