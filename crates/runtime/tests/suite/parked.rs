//! Code that does not fit, or is not there yet.

use everstep_model::Status;
use everstep_runtime::{Options, StartOptions};

use crate::support::{
    Bed, Script, end, history, id, named, quiet, raise, start, until, until_state, until_why,
};

const WHY: &str = "it is parked: the history calls `echo`, the code calls `other`; deploy code that fits its history, then it goes on by itself";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_history_does_not_fit_waits_for_code_that_does() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for name in ["goes-on", "terminated", "suspended"] {
        let program = "call echo x;wait Go;wait Go;wait Go;call echo y";
        client.start("strict", program.into(), named(name)).await.unwrap();
        until_why(&client, name, "event `Go`").await;
    }
    let before = history(&client, "goes-on").await;
    script.deploy(1);
    host.code_changed();
    for name in ["goes-on", "terminated", "suspended"] {
        raise(&client, name, "Go", "1").await;
        until_why(&client, name, WHY).await;
        assert_eq!(client.get(&id(name)).await.unwrap().status, Status::Running);
    }
    // Tried again by command and by events: nothing is recorded, and everything is kept.
    for _ in 0..5 {
        client.unpark(&id("goes-on")).await.unwrap();
        until_why(&client, "goes-on", WHY).await;
    }
    raise(&client, "goes-on", "Go", "2").await;
    assert_eq!(history(&client, "goes-on").await, before);
    // A restart tries again, once, and parks again: with and without a fold.
    drop(host);
    let host = bed.open(&script, quiet());
    until_why(&host.client(), "goes-on", WHY).await;
    raise(&host.client(), "goes-on", "Go", "3").await;
    assert_eq!(history(&host.client(), "goes-on").await, before);
    host.stop().await.unwrap();
    let host = bed.open(&script, quiet());
    let client = host.client();
    until_why(&client, "goes-on", WHY).await;
    assert_eq!(history(&client, "goes-on").await, before);

    client.terminate(&id("terminated"), "enough", true).await.unwrap();
    assert_eq!(end(&client, "terminated").await, (Status::Terminated, "enough".to_owned()));
    client.purge(&id("terminated")).await.unwrap();
    client.suspend(&id("suspended"), "hold on").await.unwrap();
    until(async || client.get(&id("suspended")).await.unwrap().status == Status::Suspended).await;

    script.deploy(2);
    host.code_changed();
    assert_eq!(end(&client, "goes-on").await, (Status::Completed, "x,1,2,3,y".to_owned()));
    assert_eq!(client.get(&id("suspended")).await.unwrap().status, Status::Suspended);
    client.resume(&id("suspended"), "go on").await.unwrap();
    for input in ["2", "3"] {
        raise(&client, "suspended", "Go", input).await;
    }
    assert_eq!(end(&client, "suspended").await, (Status::Completed, "x,1,2,3,y".to_owned()));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_nobody_registered_are_waited_for() {
    for restarts in [false, true] {
        let bed = Bed::new();
        let script = Script::new();
        let mut host = bed.open(&script, quiet());
        let client = host.client();
        client.start("late", "call echo x".into(), named("orchestrator")).await.unwrap();
        start(&client, "activity", "call late x").await;
        start(&client, "entity", "ask @late@k 3").await;
        start(&client, "parent", "child late call echo x").await;
        client.signal(&id("@late@k"), "add", "4".into(), "").await.unwrap();
        let text = "no function `late` is registered; register it or fix the name";
        until_why(&client, "orchestrator", text).await;
        let text =
            "activity `late` (call 0, attempt 1) is not registered; register it or fix the name";
        until_why(&client, "activity", text).await;
        until_why(&client, "entity", "entity `@late@k` has not answered `add`").await;
        until_why(&client, "@late@k", "no function `late` is registered").await;
        until_why(&client, "parent", "sub-orchestration").await;
        if restarts {
            host.stop().await.unwrap();
            host = bed.open(&script, quiet());
        }
        let client = host.client();
        script.deploy(1);
        host.code_changed();
        for name in ["orchestrator", "activity", "parent"] {
            assert_eq!(end(&client, name).await, (Status::Completed, "x".to_owned()));
        }
        assert_eq!(end(&client, "entity").await.0, Status::Completed);
        until_state(&client, "@late@k", "7").await;
        host.stop().await.unwrap();
    }
}

/// The wait for code is no obstacle to the verbs of a client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_code_takes_events_and_can_be_ended() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    for name in ["kept", "ended"] {
        client.start("late", "wait Go".into(), named(name)).await.unwrap();
        raise(&client, name, "Go", "early").await;
    }
    client.start("late", "wait Go".into(), StartOptions::default()).await.unwrap();
    client.terminate(&id("ended"), "enough", true).await.unwrap();
    assert_eq!(end(&client, "ended").await, (Status::Terminated, "enough".to_owned()));
    script.deploy(1);
    host.code_changed();
    assert_eq!(end(&client, "kept").await, (Status::Completed, "early".to_owned()));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_code_is_found_also_when_memory_let_it_go() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { memory_bytes: 1, ..quiet() });
    let client = host.client();
    client.start("strict", "wait Go;call echo x".into(), named("parked")).await.unwrap();
    until_why(&client, "parked", "event `Go`").await;
    script.deploy(1);
    raise(&client, "parked", "Go", "1").await;
    until_why(&client, "parked", WHY).await;
    script.deploy(0);
    client.start("late", "call echo x".into(), named("orchestrator")).await.unwrap();
    client.signal(&id("@late@k"), "add", "4".into(), "").await.unwrap();
    until_why(&client, "orchestrator", "no function").await;
    host.fold().await.unwrap();
    // Each partition takes a turn, and with it looks for what can leave its memory.
    for number in 0..20 {
        start(&client, &format!("i{number}"), "call echo x").await;
        end(&client, &format!("i{number}")).await;
    }
    script.deploy(2);
    host.code_changed();
    assert_eq!(end(&client, "parked").await, (Status::Completed, "1,x".to_owned()));
    assert_eq!(end(&client, "orchestrator").await, (Status::Completed, "x".to_owned()));
    until_state(&client, "@late@k", "4").await;
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_starts_with_fitting_code_tries_parked_instances_again() {
    for fold in [false, true] {
        let bed = Bed::new();
        let script = Script::new();
        let host = bed.open(&script, quiet());
        let client = host.client();
        client.start("strict", "wait Go;call echo x".into(), named("parked")).await.unwrap();
        until_why(&client, "parked", "event `Go`").await;
        script.deploy(1);
        raise(&client, "parked", "Go", "1").await;
        until_why(&client, "parked", WHY).await;
        if fold {
            host.stop().await.unwrap();
        } else {
            drop(host);
        }
        script.deploy(2);
        let host = bed.open(&script, quiet());
        let ended = end(&host.client(), "parked").await;
        assert_eq!(ended, (Status::Completed, "1,x".to_owned()));
        host.stop().await.unwrap();
    }
}
