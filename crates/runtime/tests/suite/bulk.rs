//! Verbs for many instances at once, and lists and counts that stay true meanwhile.

use std::{collections::BTreeMap, time::Duration};

use everstep_model::{Kind, Status};
use everstep_runtime::{Bulk, Client, ClientError};
use everstep_store::{Filter, Order};

use crate::support::{Bed, Script, end, id, quiet, raise, start, until, until_state, until_why};

fn prefixed(prefix: &str) -> Filter {
    Filter { id_prefix: Some(prefix.to_owned()), ..Filter::default() }
}

/// All ids that match, page by page.
async fn listed(client: &Client, filter: &Filter, order: Order, limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = client.list(filter, order, after, limit).await.unwrap();
        assert!(page.rows.len() <= limit);
        found.extend(page.rows.into_iter().map(|view| view.id.as_str().to_owned()));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

async fn of_status(client: &Client, prefix: &str, status: Status) -> usize {
    let filter = Filter { statuses: vec![status], ..prefixed(prefix) };
    listed(client, &filter, Order::OldestFirst, 8).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_reach_all_that_match_and_nothing_else_folded_or_not() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for number in 0..20 {
        start(&client, &format!("a{number}"), "wait Go;call echo x").await;
        if number == 10 {
            host.fold().await.unwrap();
        }
    }
    start(&client, "b", "wait Go").await;
    let a = prefixed("a");
    assert_eq!(client.bulk(&a, &Bulk::Suspend("hold on".to_owned())).await.unwrap(), 20);
    until(async || of_status(&client, "a", Status::Suspended).await == 20).await;
    assert_eq!(client.bulk(&a, &Bulk::Purge).await.unwrap(), 0, "none of them has ended");
    assert_eq!(client.bulk(&a, &Bulk::Rewind("r".to_owned())).await.unwrap(), 0);
    assert_eq!(client.bulk(&a, &Bulk::Resume("go on".to_owned())).await.unwrap(), 20);
    until(async || of_status(&client, "a", Status::Running).await == 20).await;
    raise(&client, "a0", "Go", "x").await;
    assert_eq!(end(&client, "a0").await.0, Status::Completed);
    assert_eq!(client.bulk(&a, &Bulk::Terminate("enough".to_owned())).await.unwrap(), 19);
    until(async || of_status(&client, "a", Status::Terminated).await == 19).await;
    let ended = Filter { statuses: vec![Status::Terminated], ..a.clone() };
    assert_eq!(client.bulk(&ended, &Bulk::Purge).await.unwrap(), 19);
    assert_eq!(listed(&client, &a, Order::OldestFirst, 8).await, ["a0"]);
    assert_eq!(client.get(&id("b")).await.unwrap().status, Status::Running);
    drop(host);
    let host = bed.open(&script, quiet());
    let client = host.client();
    assert_eq!(listed(&client, &Filter::default(), Order::OldestFirst, 8).await, ["a0", "b"]);
    assert_eq!(client.bulk(&a, &Bulk::Purge).await.unwrap(), 1);
    host.stop().await.unwrap();
    let host = bed.open(&script, quiet());
    assert_eq!(listed(&host.client(), &Filter::default(), Order::OldestFirst, 8).await, ["b"]);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_instances_are_rewound_together_with_their_failed_children() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for number in 0..6 {
        start(&client, &format!("p{number}"), "call echo a;children 2 call echo b,call fail c")
            .await;
        assert_eq!(end(&client, &format!("p{number}")).await.0, Status::Failed);
        if number == 3 {
            host.fold().await.unwrap();
        }
    }
    let parents =
        Filter { name: Some("RUN".to_owned()), statuses: vec![Status::Failed], ..prefixed("p") };
    let parents = Filter { input_contains: Some("children".to_owned()), ..parents };
    assert_eq!(client.bulk(&parents, &Bulk::Rewind("again".to_owned())).await.unwrap(), 6);
    for number in 0..6 {
        let (status, text) = end(&client, &format!("p{number}")).await;
        assert_eq!((status, text.as_str()), (Status::Failed, "Test: no"));
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_terminated_and_purged_whole() {
    for fold in [false, true] {
        let bed = Bed::new();
        let script = Script::new();
        let mut host = bed.open(&script, quiet());
        let client = host.client();
        start(&client, "tree", "children 2 children 2 wait Go").await;
        start(&client, "other", "children 1 wait Go").await;
        for leaf in ["tree-0-0", "tree-0-1", "tree-1-0", "tree-1-1", "other-0"] {
            until(async || client.get(&id(leaf)).await.is_ok()).await;
        }
        if fold {
            host.stop().await.unwrap();
            host = bed.open(&script, quiet());
        }
        let client = host.client();
        let refused = client.purge_recursive(&id("tree")).await.unwrap_err();
        assert!(matches!(refused, ClientError::WrongStatus { .. }), "{refused}");
        client.terminate(&id("tree"), "enough", true).await.unwrap();
        for name in ["tree", "tree-0", "tree-1", "tree-0-0", "tree-0-1", "tree-1-0", "tree-1-1"] {
            assert_eq!(end(&client, name).await.0, Status::Terminated);
        }
        assert_eq!(client.purge_recursive(&id("tree")).await.unwrap(), 7);
        let left = listed(&client, &Filter::default(), Order::NewestFirst, 1).await;
        assert_eq!(left, ["other-0", "other"]);
        // A purged id is free at once.
        start(&client, "tree", "call echo x").await;
        assert_eq!(end(&client, "tree").await, (Status::Completed, "x".to_owned()));
        host.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_entities_that_hold_nothing_are_cleaned() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for number in 0..6 {
        for name in ["counter", "ledger"] {
            let entity = id(&format!("@{name}@{number}"));
            client.signal(&entity, "add", "1".into(), "").await.unwrap();
            if number % 2 == 0 {
                client.signal(&entity, "clear", "".into(), "").await.unwrap();
                until(async || client.entity_state(&entity).await.unwrap().is_none()).await;
            }
        }
        if number == 2 {
            host.fold().await.unwrap();
        }
    }
    for number in [1, 3, 5] {
        until_state(&client, &format!("@ledger@{number}"), "1").await;
    }
    // An empty state is seen before the operation that emptied it has ended.
    let mut cleaned = 0;
    while cleaned < 6 {
        cleaned += client.clean_entities().await.unwrap();
    }
    assert_eq!(cleaned, 6);
    let entities = Filter { kind: Some(Kind::Entity), ..Filter::default() };
    assert_eq!(listed(&client, &entities, Order::OldestFirst, 4).await.len(), 6);
    assert_eq!(client.clean_entities().await.unwrap(), 0);
    client.signal(&id("@counter@0"), "add", "7".into(), "").await.unwrap();
    until_state(&client, "@counter@0", "7").await;
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_waits_for_the_end_or_takes_another_id() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "i", "wait Go").await;
    let refused = client.restart(&id("i"), false).await.unwrap_err();
    assert!(matches!(refused, ClientError::AlreadyExists { .. }), "{refused}");
    let other = client.restart(&id("i"), true).await.unwrap();
    for (name, input) in [("i", "1"), (other.as_str(), "2")] {
        raise(&client, name, "Go", input).await;
        assert_eq!(end(&client, name).await, (Status::Completed, input.to_owned()));
    }
    host.fold().await.unwrap();
    let before = client.get(&id("i")).await.unwrap();
    assert_eq!(client.restart(&id("i"), false).await.unwrap(), id("i"));
    raise(&client, "i", "Go", "3").await;
    assert_eq!(end(&client, "i").await, (Status::Completed, "3".to_owned()));
    let after = client.get(&id("i")).await.unwrap();
    assert_ne!(after.execution_id, before.execution_id);
    assert_eq!(
        client.restart(&id("none"), true).await.unwrap_err().to_string(),
        "there is no instance `none`; was it purged, or is the id mistyped?"
    );
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_shows_each_instance_once_while_others_come_and_go() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for number in 0..60 {
        start(&client, &format!("stays{number}"), "wait Go").await;
        if number == 30 {
            host.fold().await.unwrap();
        }
    }
    let (done, mut is_done) = tokio::sync::watch::channel(false);
    let crowd = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0_u32.. {
                let name = format!("goes{number}");
                start(&client, &name, "call echo x").await;
                end(&client, &name).await;
                raise(&client, &format!("stays{}", number % 60), "Other", "x").await;
                if number % 3 == 0 {
                    client.purge(&id(&name)).await.unwrap();
                }
                if *is_done.borrow_and_update() {
                    return;
                }
            }
        }
    });
    let stays: std::collections::BTreeSet<_> = (0..60).map(|n| format!("stays{n}")).collect();
    for round in 0..20 {
        let order = if round % 2 == 0 { Order::OldestFirst } else { Order::NewestFirst };
        let found = listed(&client, &Filter::default(), order, 7).await;
        let unique: std::collections::BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!(unique.len(), found.len(), "no instance twice");
        assert!(unique.is_superset(&stays), "none that stays is missed");
        if round % 4 == 0 {
            host.fold().await.unwrap();
        }
    }
    done.send(true).unwrap();
    crowd.await.unwrap();
    let oldest = listed(&client, &Filter::default(), Order::OldestFirst, 1_000).await;
    let mut newest = listed(&client, &Filter::default(), Order::NewestFirst, 7).await;
    newest.reverse();
    assert_eq!(oldest, newest);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_exact_through_purges_restarts_and_ends_of_hosts() {
    let bed = Bed::new();
    let script = Script::new();
    let mut host = bed.open(&script, quiet());
    for round in 0..6 {
        let client = host.client();
        for number in 0..8 {
            start(&client, &format!("c{round}-{number}"), "call echo x").await;
            end(&client, &format!("c{round}-{number}")).await;
            start(&client, &format!("w{round}-{number}"), "wait Go").await;
        }
        until_why(&client, &format!("w{round}-7"), "event `Go`").await;
        client.signal(&id(&format!("@counter@{round}")), "add", "1".into(), "").await.unwrap();
        client.purge(&id(&format!("c{round}-0"))).await.unwrap();
        client.restart(&id(&format!("c{round}-1")), false).await.unwrap();
        end(&client, &format!("c{round}-1")).await;
        client.terminate(&id(&format!("w{round}-0")), "", true).await.unwrap();
        end(&client, &format!("w{round}-0")).await;
        if round > 0 {
            // Purged while only the tables have it.
            let folded = Filter {
                statuses: vec![Status::Completed],
                ..prefixed(&format!("c{}-", round - 1))
            };
            assert_eq!(client.bulk(&folded, &Bulk::Purge).await.unwrap(), 7);
        }
        check_counts(&client).await;
        match round % 3 {
            0 => {
                host.fold().await.unwrap();
                drop(host);
            }
            1 => host.stop().await.unwrap(),
            _ => drop(host),
        }
        host = bed.open(&script, quiet());
        check_counts(&host.client()).await;
    }
    host.stop().await.unwrap();
}

/// The counters agree with a walk through all instances.
async fn check_counts(client: &Client) {
    let mut walked = BTreeMap::new();
    let mut after = None;
    loop {
        let page = client.list(&Filter::default(), Order::OldestFirst, after, 10).await.unwrap();
        for view in page.rows {
            let key = (view.id.kind(), view.name, view.status);
            *walked.entry(key).or_insert(0_u64) += 1;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let counted: BTreeMap<_, _> = client
        .counts()
        .await
        .unwrap()
        .into_iter()
        .map(|(kind, name, status, count)| ((kind, name, status), count))
        .collect();
    assert_eq!(counted, walked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_agrees_with_the_list_of_the_same_filter() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for number in 0..12 {
        start(&client, &format!("c{number}"), "wait Go;call echo x").await;
        client.signal(&id(&format!("@counter@{number}")), "add", "1".into(), "").await.unwrap();
        if number == 5 {
            host.fold().await.unwrap();
        }
    }
    // Changed and purged since the fold.
    raise(&client, "c0", "Go", "x").await;
    client.terminate(&id("c1"), "enough", true).await.unwrap();
    for name in ["c0", "c1"] {
        end(&client, name).await;
    }
    client.purge(&id("c1")).await.unwrap();
    let filters = [
        Filter::default(),
        Filter { kind: Some(Kind::Orchestration), ..Filter::default() },
        Filter { name: Some("RUN".to_owned()), ..Filter::default() },
        Filter { statuses: vec![Status::Completed, Status::Failed], ..Filter::default() },
        prefixed("c"),
        prefixed("c1"),
        Filter { statuses: vec![Status::Completed], ..prefixed("c") },
        Filter { input_contains: Some("wait".to_owned()), ..Filter::default() },
        prefixed("none"),
    ];
    for fold in [false, true] {
        if fold {
            host.fold().await.unwrap();
        }
        for filter in &filters {
            let walked = listed(&client, filter, Order::OldestFirst, 4).await.len() as u64;
            let counted = client.count(filter, Duration::from_mins(1)).await.unwrap();
            assert_eq!(counted, (walked, true), "{filter:?}");
        }
    }
    raise(&client, "c2", "Go", "x").await;
    end(&client, "c2").await;
    let stopped = client.count(&prefixed("c"), Duration::ZERO).await.unwrap();
    assert!(!stopped.1, "a count without time does not claim to be exact");
    let counted = client.count(&filters[1], Duration::ZERO).await.unwrap();
    assert_eq!(counted, (11, true), "the counters need no time");
    host.stop().await.unwrap();
}
