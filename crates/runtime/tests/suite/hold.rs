//! Hosts that do not begin to work, and hosts that only look.

use std::{sync::atomic::Ordering, time::Duration};

use everstep_model::Status;
use everstep_runtime::{Bulk, ClientError, Hold, Host, Options};
use everstep_store::{Error, Filter, Order, Store, Tables};
use everstep_store_embedded::{NetworkFolder, open_read_only};

use crate::support::{
    Bed, Script, Spied, end, history, id, named, open_store, quiet, raise, start, until,
    until_state, until_why, why,
};

fn held() -> Options {
    Options { hold: Hold::UntilReleased, ..quiet() }
}

/// The script has other code than when the work was begun, so that it shows when code runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_host_runs_nothing_until_it_is_released() {
    for fold in [false, true] {
        let bed = Bed::new();
        let script = Script::new();
        let host = bed.open(&script, quiet());
        let client = host.client();
        start(&client, "call", "call gate x").await;
        start(&client, "timer", "timer 1000").await;
        start(&client, "event", "wait Go").await;
        start(&client, "parent", "child run wait On").await;
        script.gathered("gate", 1).await;
        until_why(&client, "timer", "a timer is due").await;
        until_why(&client, "event", "event `Go`").await;
        until_why(&client, "parent", "sub-orchestration").await;
        if fold {
            host.stop().await.unwrap();
        } else {
            drop(host);
        }
        bed.clock.advance(Duration::from_mins(1));
        let script = Script::new();
        script.open_gate();
        let host = bed.open(&script, held());
        let client = host.client();
        raise(&client, "event", "Go", "late").await;
        start(&client, "new", "call echo y").await;
        client.signal(&id("@counter@k"), "add", "3".into(), "").await.unwrap();
        host.fold().await.unwrap();
        for name in ["call", "timer", "event", "parent", "new"] {
            let why = why(&client, name).await;
            assert_eq!(why[0], "the host is held and runs no code; release it", "{name}");
            assert!(!client.get(&id(name)).await.unwrap().status.is_terminal(), "{name}");
        }
        assert_eq!(client.get(&id("new")).await.unwrap().status, Status::Pending);
        assert_eq!(history(&client, "timer").await.len(), 2, "the timer has not fired");
        assert_eq!(client.entity_state(&id("@counter@k")).await.unwrap(), None);
        assert!(script.running().most.is_empty(), "no activity has run");
        host.release();
        for (name, output) in [("call", "x"), ("timer", "fired"), ("event", "late"), ("new", "y")] {
            assert_eq!(end(&client, name).await, (Status::Completed, output.to_owned()));
        }
        until_state(&client, "@counter@k", "3").await;
        host.release();
        start(&client, "after", "timer 1000").await;
        until_why(&client, "after", "a timer is due").await;
        bed.clock.advance(Duration::from_mins(1));
        assert_eq!(end(&client, "after").await.1, "fired");
        host.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_host_stops_what_would_do_harm() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for name in ["ended", "purged", "suspended", "resumed", "tree"] {
        start(&client, name, "children 1 call gate x").await;
    }
    start(&client, "failed", "call fail x").await;
    assert_eq!(end(&client, "failed").await.0, Status::Failed);
    script.gathered("gate", 5).await;
    host.stop().await.unwrap();
    let script = Script::new();
    let host = bed.open(&script, held());
    let client = host.client();
    for name in ["ended-0", "purged-0"] {
        client.terminate(&id(name), "harmful", true).await.unwrap();
        assert_eq!(end(&client, name).await, (Status::Terminated, "harmful".to_owned()));
    }
    client.purge(&id("purged-0")).await.unwrap();
    client.terminate(&id("tree"), "harmful", true).await.unwrap();
    assert_eq!(end(&client, "tree-0").await.0, Status::Terminated);
    for name in ["suspended-0", "resumed-0"] {
        client.suspend(&id(name), "look first").await.unwrap();
        until(async || client.get(&id(name)).await.unwrap().status == Status::Suspended).await;
    }
    client.resume(&id("resumed-0"), "harmless").await.unwrap();
    client.rewind(&id("failed"), "again").await.unwrap();
    until_why(&client, "failed", "activity `fail`").await;
    host.release();
    // The one that is suspended has called its activity before: the call runs, and its result waits.
    script.gathered("gate", 2).await;
    script.open_gate();
    assert_eq!(end(&client, "resumed").await, (Status::Completed, "x".to_owned()));
    assert_eq!(end(&client, "failed").await.0, Status::Failed);
    assert_eq!(end(&client, "ended").await.0, Status::Failed);
    assert_eq!(client.get(&id("suspended-0")).await.unwrap().status, Status::Suspended);
    host.stop().await.unwrap();
}

const READ_ONLY: &str = "the hub is open for reading only; start a host on it, then ask again";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_looks_answers_as_the_last_one_did_and_writes_nothing() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "folded", "call echo x").await;
    assert_eq!(end(&client, "folded").await.0, Status::Completed);
    start(&client, "both", "call echo y;wait Go;call late z").await;
    until_why(&client, "both", "event `Go`").await;
    host.fold().await.unwrap();
    start(&client, "unfolded", "timer 1000").await;
    until_why(&client, "unfolded", "a timer is due").await;
    raise(&client, "both", "Go", "on").await;
    until_why(&client, "both", "activity `late`").await;
    let names = ["folded", "both", "unfolded"];
    let mut views = Vec::new();
    for name in names {
        views.push((client.get(&id(name)).await.unwrap(), history(&client, name).await));
    }
    drop(host);
    bed.clock.advance(Duration::from_mins(1));

    let store = loop {
        match open_store(bed.folder.path()) {
            Err(Error::InUse { .. }) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let applied = store.tables().applied().unwrap();
    let store = Spied::new(store);
    let writes = store.writes.clone();
    let host = Host::look(store).unwrap();
    let client = host.client();
    for (name, (view, events)) in names.iter().zip(&views) {
        assert_eq!(client.get(&id(name)).await.unwrap(), *view);
        assert_eq!(history(&client, name).await, *events);
    }
    let found = why(&client, "both").await;
    assert_eq!(found[0], "no host works on the hub; this is what its last one left; start a host");
    assert!(found[1].starts_with("activity `late` (call 2000, attempt 1) "), "{found:?}");
    assert_eq!(end(&client, "folded").await.1, "x");
    let listed = client.list(&Filter::default(), Order::OldestFirst, None, 10).await.unwrap();
    assert_eq!(listed.rows.len(), 3);
    assert_eq!(client.count(&Filter::default(), Duration::ZERO).await.unwrap(), (3, true));
    let both = id("both");
    let refused = [
        client.start("run", "call echo x".into(), named("new")).await.unwrap_err(),
        client.signal(&id("@counter@k"), "add", "1".into(), "").await.unwrap_err(),
        client.suspend(&both, "").await.unwrap_err(),
        client.terminate(&both, "", true).await.unwrap_err(),
        client.purge(&id("folded")).await.unwrap_err(),
        client.restart(&id("folded"), true).await.unwrap_err(),
        client.bulk(&Filter::default(), &Bulk::Purge).await.unwrap_err(),
        client.start_bulk(&Filter::default(), &Bulk::Purge).await.unwrap_err(),
        client.wait(&both).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, ClientError::ReadOnly), "{error}");
        assert_eq!(error.to_string(), READ_ONLY);
    }
    host.fold().await.unwrap();
    host.release();
    host.stop().await.unwrap();
    assert_eq!(writes.load(Ordering::SeqCst), 0);
    // A host that works finds everything as it was.
    let host = bed.open(&script, held());
    let client = host.client();
    assert_eq!(client.get(&id("unfolded")).await.unwrap(), views[2].0);
    drop(host);
    let store = loop {
        match open_store(bed.folder.path()) {
            Err(Error::InUse { .. }) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(store.tables().applied().unwrap(), applied);
}

/// The store refuses writes by itself here, so nothing but reads may reach it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_looks_at_a_store_that_is_open_for_reading() {
    for fold in [false, true] {
        let bed = Bed::new();
        let script = Script::new();
        let host = bed.open(&script, quiet());
        let client = host.client();
        start(&client, "ended", "call echo x#20000").await;
        assert_eq!(end(&client, "ended").await.0, Status::Completed);
        start(&client, "waits", "wait Go").await;
        until_why(&client, "waits", "event `Go`").await;
        let before = client.get(&id("ended")).await.unwrap();
        if fold {
            host.stop().await.unwrap();
        } else {
            drop(host);
        }
        let store = loop {
            match open_read_only(bed.folder.path(), NetworkFolder::Refuse) {
                Err(Error::InUse { .. }) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let host = Host::look(store).unwrap();
        let client = host.client();
        assert_eq!(client.get(&id("ended")).await.unwrap(), before);
        assert_eq!(why(&client, "waits").await[1], "event `Go` was not raised; raise it");
        let unfolded = client.unfolded().await.unwrap();
        assert_eq!(unfolded.rows.is_empty(), fold);
        let counted = client.count(&Filter::default(), Duration::from_mins(1)).await.unwrap();
        assert_eq!(counted, (2, true));
        host.stop().await.unwrap();
    }
}
