//! What outlives the end of a process of Python, and of the host, in the middle of the work.

use serde_json::{Value, json};
use std::fs;

use crate::support::{App, each_alone, runs};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn the_end_of_all_processes_in_the_middle_loses_nothing() {
    each_alone(async |app: &mut App| {
        let steps = app.begin_one("steps", json!(60)).await;
        let folder = app.path("retries");
        fs::create_dir(&folder).unwrap();
        let retries = app.begin_one("retries_mixed", json!(folder)).await;
        let gate = app.path("gate");
        let gated = app.begin_one("one_call", json!(["waits_for", gate])).await;
        app.until_file(&format!("{gate}.began"), &gated).await;
        app.kill_workers();
        fs::write(&gate, "").unwrap();
        assert_eq!(app.output(&gated).await, 2);
        assert_eq!(app.output(&steps).await, json!(70_210));
        assert_eq!(app.output(&retries).await[0], 8);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn the_end_of_the_host_in_the_middle_loses_nothing_and_leaves_no_process() {
    each_alone(async |app: &mut App| {
        let steps = app.begin_one("steps", json!(60)).await;
        let gate = app.path("gate");
        let gated = app.begin_one("one_call", json!(["waits_for", gate])).await;
        app.until_file(&format!("{gate}.began"), &gated).await;
        let workers = app.workers();
        app.kill();
        fs::write(&gate, "").unwrap();
        app.begin();
        assert_eq!(app.output(&gated).await, 2);
        assert_eq!(app.output(&steps).await, json!(70_210));
        let now = app.workers();
        for worker in workers {
            assert!(!now.contains(&worker));
            while fs::exists(format!("/proc/{worker}")).unwrap() {
                app.status(&steps).await;
            }
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_cold_start_in_the_middle_of_a_retry_keeps_its_hidden_numbers() {
    each_alone(async |app: &mut App| {
        let path = app.path("attempts");
        let plan = json!({ "file": path, "times": 2, "interval": 1500 });
        let id = app.begin_one("retries", plan).await;
        // The wait for the second attempt has begun.
        app.until_history(&id, "TimerCreated").await;
        app.kill();
        assert_eq!(runs(&path), 1);
        app.begin();
        assert_eq!(app.output(&id).await, json!([3, "Hello after!"]));
        assert_eq!(runs(&path), 3);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn events_that_come_while_no_process_runs_are_delivered() {
    each_alone(async |app: &mut App| {
        let id = app.begin_one("two_events", Value::Null).await;
        app.until(&id, |status| status["runtimeStatus"] == "Running").await;
        app.kill_workers();
        for (event, data) in [("E", 1), ("Go", 0), ("E", 2)] {
            app.raise(&id, event, json!(data)).await;
        }
        assert_eq!(app.output(&id).await, json!([1, 2]));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_activity_that_takes_its_process_down_does_not_fail_those_beside_it() {
    each_alone(async |app: &mut App| {
        let path = app.path("beside");
        let id = app.begin_raw("beside", json!(path)).await;
        app.until_file(&path, &id).await;
        fs::write(format!("{path}.other"), "").unwrap();
        assert_eq!(app.output(&id).await, json!([2, "lived"]));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_activity_that_takes_every_process_down_fails_after_three() {
    each_alone(async |app: &mut App| {
        let plan = json!({ "file": app.path("once"), "times": 1 });
        let id = app.begin_raw("survives", plan).await;
        assert_eq!(app.output(&id).await, json!([2, 9]));
        let path = app.path("always");
        let id = app.begin_raw("survives", json!({ "file": path, "times": 99 })).await;
        let status = app.end(&id).await;
        let said = status["output"].as_str().unwrap();
        assert!(said.contains("the process that ran it ended 3 times"), "{said}");
        assert_eq!(runs(&path), 3);
    })
    .await;
}
