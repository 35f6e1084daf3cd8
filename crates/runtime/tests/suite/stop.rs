//! The end of a host, in good order or not.

use everstep_model::Status;
use everstep_runtime::{ClientError, Options};
use everstep_store::Error as StoreError;

use crate::support::{Bed, Script, end, id, named, open_store, quiet, raise, start, until_why};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_activities_and_keeps_their_results() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { drain: std::time::Duration::from_hours(1), ..quiet() });
    let client = host.client();
    for number in 0..8 {
        start(&client, &format!("i{number}"), "call gate x;call echo y").await;
    }
    script.gathered("gate", 8).await;
    let stop = tokio::spawn(host.stop());
    // The host refuses work from the moment it stops, while the activities still run.
    let refused = loop {
        match client.start("run", "call echo x".into(), named("late")).await {
            Err(refused) => break refused,
            Ok(late) => {
                end(&client, late.as_str()).await;
            }
        }
    };
    assert!(!stop.is_finished(), "eight activities still run");
    assert!(matches!(refused, ClientError::Busy));
    script.open_gate();
    stop.await.unwrap().unwrap();
    // None of them runs again: the gate of another script is shut.
    let host = bed.open(&Script::new(), quiet());
    for number in 0..8 {
        let ended = end(&host.client(), &format!("i{number}")).await;
        assert_eq!(ended, (Status::Completed, "x,y".to_owned()));
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_after_a_stop_are_refused_and_not_left_waiting() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "waits", "wait Go").await;
    until_why(&client, "waits", "event `Go`").await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait(&id("waits")).await }
    });
    host.stop().await.unwrap();
    let text = "the host is busy, stopping, or its disk is full; ask again in a moment";
    assert_eq!(waiting.await.unwrap().unwrap_err().to_string(), text);
    let refused = client.start("run", "call echo x".into(), named("late")).await.unwrap_err();
    assert_eq!(refused.to_string(), text);
    assert_eq!(client.get(&id("waits")).await.unwrap_err().to_string(), text);
    assert_eq!(client.terminate(&id("waits"), "", true).await.unwrap_err().to_string(), text);
    assert_eq!(client.purge(&id("waits")).await.unwrap_err().to_string(), text);
    assert_eq!(client.suspend(&id("waits"), "").await.unwrap_err().to_string(), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_host_on_the_folder_is_told_who_has_it() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let Err(refused) = open_store(bed.folder.path()) else { panic!("two hosts in one folder") };
    let own = std::process::id().to_string();
    assert!(matches!(&refused, StoreError::InUse { pid, .. } if *pid == own), "{refused}");
    assert!(refused.to_string().contains(&format!("in use by process {own}")), "{refused}");
    start(&host.client(), "goes-on", "wait Go").await;
    raise(&host.client(), "goes-on", "Go", "x").await;
    assert_eq!(end(&host.client(), "goes-on").await, (Status::Completed, "x".to_owned()));
    host.stop().await.unwrap();
    assert!(open_store(bed.folder.path()).is_ok(), "a stopped host leaves the folder to others");
}

/// What a client was told happened is there after the worst end, in the middle of a crowd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_dropped_under_load_keeps_what_it_confirmed() {
    let bed = Bed::new();
    let mut confirmed = Vec::new();
    for round in 0..5 {
        let script = Script::new();
        let host = bed.open(&script, quiet());
        let mut starts = tokio::task::JoinSet::new();
        for number in 0..200 {
            let client = host.client();
            starts.spawn(async move {
                let options = named(&format!("r{round}-{number}"));
                client.start("run", "children 2 call echo x".into(), options).await
            });
        }
        for _ in 0..50 {
            confirmed.extend(starts.join_next().await.unwrap().unwrap());
        }
        drop(host);
        while let Some(answer) = starts.join_next().await {
            confirmed.extend(answer.unwrap());
        }
    }
    let host = bed.open(&Script::new(), quiet());
    assert!(confirmed.len() >= 250);
    for id in confirmed {
        let ended = end(&host.client(), id.as_str()).await;
        assert_eq!(ended, (Status::Completed, "x,x".to_owned()));
    }
    host.stop().await.unwrap();
}
