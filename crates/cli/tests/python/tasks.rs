//! Activities, children and timers, and how their tasks are combined.

use std::fs;

use serde_json::{Value, json};

use crate::support::{App, each, each_alone};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_chain_passes_values_classes_and_names() {
    each(async |app: &App| {
        let output = app.run("chain", json!({ "a": 1 })).await;
        let second = json!({ "got": { "x": [1, 2] }, "keys": ["x"] });
        assert_eq!(output, json!(["Hello Tokyo!", second, 42, { "a": 1 }]));
        let named = app.send("POST", "/api/start/Named%20Orch?id=named", None).await;
        assert_eq!(named.status, 202, "{named:?}");
        assert_eq!(app.output("named").await, "named");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn activities_take_and_give_values_of_every_kind() {
    each(async |app: &App| {
        let kinds = [
            Value::Null,
            json!(false),
            json!(0),
            json!(1.5),
            json!(""),
            json!("\"quoted\" \u{1f600}\n"),
            json!([]),
            json!({ "a": [null, { "b": 1 }] }),
            json!("x".repeat(300_000)),
        ];
        for kind in kinds {
            assert_eq!(app.run("one_call", json!(["gives_back", kind])).await, kind);
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn many_at_once_come_together() {
    each(async |app: &App| {
        assert_eq!(app.run("fan_out", json!(100)).await, json!(328_350));
        assert_eq!(app.run("steps", json!(100)).await, json!(328_350));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn lists_of_tasks_nest_and_may_be_waited_for_again() {
    each(async |app: &App| {
        let nested = app.run("nested", Value::Null).await;
        let one_of = |value: &Value| *value == "Hello a!" || *value == "Hello b!";
        assert_eq!(nested[0], "Hello b!");
        assert!(one_of(&nested[1]), "{nested}");
        assert_eq!(nested[2], "Hello a!");
        assert_eq!(nested[3], json!(["Hello a!", "Hello b!"]));
        let relisted = app.run("relisted", Value::Null).await;
        assert_eq!(relisted, json!([["Hello first!", "Hello second!"], "Hello last!"]));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_retry_succeeds_at_the_second_attempt_or_gives_up() {
    each(async |app: &App| {
        let plan = json!({ "file": app.path("once"), "times": 1 });
        assert_eq!(app.run("retries", plan).await, json!([2, "Hello after!"]));
        let plan = json!({ "file": app.path("always"), "times": 9 });
        let output = app.run("retries", plan).await;
        let text = output[0].as_str().unwrap();
        let head = "Activity function 'fails_until' failed:  RuntimeError: attempt 3";
        assert!(text.starts_with(head), "{text}");
        assert_eq!(output[1], "Hello after!");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn retries_beside_each_other_and_beside_plain_calls_keep_their_numbers() {
    each(async |app: &App| {
        let mut begun = Vec::new();
        for _ in 0..4 {
            let folder = app.path("retries");
            fs::create_dir(&folder).unwrap();
            begun.push(app.begin_one("retries_mixed", json!(folder)).await);
        }
        for id in begun {
            let output = app.output(&id).await;
            assert_eq!(output, json!([8, 2, [0, 1, 4, 9, 16, 25, 36, 49]]));
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_early_failure_leaves_the_rest_running() {
    each(async |app: &App| {
        assert_eq!(app.run("fails_early", Value::Null).await, "Hello rest!");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn timers_of_the_past_fire_and_those_given_up_do_not_hold_the_end() {
    each(async |app: &App| assert_eq!(app.run("timers", Value::Null).await, true)).await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn children_have_their_own_ids_and_failures() {
    each(async |app: &App| {
        let id = app.begin_one("parents", Value::Null).await;
        let output = app.output(&id).await;
        assert_eq!(output[0], "Hello Tokyo!");
        assert_eq!(output[1], json!({ "z": 1 }));
        assert_eq!(
            output[2].as_str().unwrap().trim(),
            "Orchestrator function 'throws' failed: again"
        );
        assert_eq!(app.status(&format!("{id}-child")).await["runtimeStatus"], "Completed");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_request_over_http_is_made_by_the_host() {
    each(async |app: &App| {
        let url = format!("{}/api/plain", app.url);
        assert_eq!(app.run("http_call", json!(url)).await, json!([200, "as text"]));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_execution_that_continues_as_new_keeps_signals_and_events() {
    each(async |app: &App| {
        let key = app.unique("eternal");
        let input = json!({ "left": 4, "done": 0, "key": key });
        let id = app.begin_one("eternal", input).await;
        app.raise(&id, "Kept", json!("kept")).await;
        assert_eq!(app.output(&id).await, json!([4, "kept"]));
        while app.counter(&key).await != Some(json!(4)) {}
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn time_and_made_ids_are_the_same_in_every_replay() {
    each_alone(async |app: &mut App| {
        let id = app.begin_one("clocks", Value::Null).await;
        let without = app.begin_one("clocks", Value::Null).await;
        app.until(&id, |status| status["runtimeStatus"] == "Running").await;
        app.kill();
        app.begin();
        app.raise(&id, "Go", json!(1)).await;
        app.raise(&without, "Go", json!(1)).await;
        let (first, second) = (app.output(&id).await, app.output(&without).await);
        assert_ne!(first[0], second[0]);
        assert_ne!(first[0], first[1]);
        assert_eq!(first[6], false);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn inputs_of_every_kind_arrive_from_the_client_and_over_http() {
    each(async |app: &App| {
        let kinds = [json!([1, 2]), json!(7), json!("text"), json!({ "a": null }), json!(true)];
        for input in kinds.into_iter().chain([Value::Null]) {
            let expected = json!({ "input": input, "replaying": false });
            assert_eq!(app.run("no_yield", input.clone()).await, expected);
            let begun = app.api("POST", "orchestrators/no_yield", Some(&input)).await;
            assert_eq!(begun.status, 202, "{begun:?}");
            let id = begun.json()["id"].as_str().unwrap().to_owned();
            assert_eq!(app.output(&id).await, expected);
        }
        let begun = app.api("POST", "orchestrators/no_yield", None).await.json();
        let output = app.output(begun["id"].as_str().unwrap()).await;
        assert_eq!(output["input"], Value::Null);
    })
    .await;
}
