//! How many activities run at once, how long, and what a panic takes with it.

use everstep_model::{Status, kinds};
use everstep_runtime::Options;

use crate::support::{Bed, Script, end, quiet, start, until_why};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_activities_run_than_the_host_allows() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { activities: 5, ..quiet() });
    let client = host.client();
    for number in 0..6 {
        start(&client, &format!("i{number}"), "fan 10 gate x").await;
    }
    script.gathered("gate", 5).await;
    until_why(&client, "i5", "waits for a free slot: a concurrency limit is reached").await;
    assert_eq!(script.running().now["gate"], 5);
    script.open_gate();
    for number in 0..6 {
        assert_eq!(end(&client, &format!("i{number}")).await.0, Status::Completed);
    }
    assert_eq!(script.running().most_of_all, 5);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_keeps_its_own_limit_and_does_not_hold_up_others() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "narrow", "fan 20 narrow x").await;
    script.gathered("narrow", 3).await;
    start(&client, "other", "fan 20 gate x").await;
    script.gathered("gate", 20).await;
    assert_eq!(script.running().now["narrow"], 3);
    until_why(&client, "narrow", "waits for a free slot").await;
    script.open_gate();
    assert_eq!(end(&client, "narrow").await.0, Status::Completed);
    assert_eq!(end(&client, "other").await.0, Status::Completed);
    assert_eq!(script.running().most["narrow"], 3);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_that_takes_too_long_fails_with_a_timeout_that_can_be_caught() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    let text = "activity `never` took longer than its limit of 1ms";
    start(&client, "i", "call never x").await;
    assert_eq!(end(&client, "i").await, (Status::Failed, format!("{}: {text}", kinds::TIMEOUT)));
    start(&client, "caught", "try call never x;call echo y").await;
    let caught = format!("{}: {text},y", kinds::TIMEOUT);
    assert_eq!(end(&client, "caught").await, (Status::Completed, caught));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_one_attempt_and_gives_its_slot_back() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { activities: 1, ..quiet() });
    let client = host.client();
    for number in 0..5 {
        start(&client, &format!("i{number}"), "try call panic x;try call fail x;call echo y").await;
    }
    for number in 0..5 {
        let ended = end(&client, &format!("i{number}")).await;
        let text = format!("{}: on purpose,Test: no,y", kinds::PANIC);
        assert_eq!(ended, (Status::Completed, text));
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_calls_of_a_terminated_instance_do_not_run() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { activities: 1, ..quiet() });
    let client = host.client();
    start(&client, "first", "call gate x").await;
    script.gathered("gate", 1).await;
    start(&client, "second", "fan 10 narrow x").await;
    until_why(&client, "second", "waits for a free slot").await;
    client.terminate(&crate::support::id("second"), "enough", true).await.unwrap();
    assert_eq!(end(&client, "second").await.0, Status::Terminated);
    script.open_gate();
    assert_eq!(end(&client, "first").await.0, Status::Completed);
    start(&client, "third", "call echo x").await;
    assert_eq!(end(&client, "third").await.0, Status::Completed);
    assert_eq!(script.running().most.get("narrow"), None);
    host.stop().await.unwrap();
}
