//! Events from outside: before they are waited for, after, several of a name, from both sides.

use serde_json::{Value, json};

use crate::support::{App, each};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_event_from_the_client_is_text_and_one_over_http_is_a_value() {
    each(async |app: &App| {
        let id = app.begin_one("approval", Value::Null).await;
        let path = format!("/api/raise/{id}/Approve");
        let raised = app.send("POST", &path, Some(&json!({ "x": 1 }))).await;
        assert_eq!(raised.status, 202);
        assert_eq!(app.output(&id).await, r#"{"x": 1}"#);
        let id = app.begin_one("approval", Value::Null).await;
        app.raise(&id, "approve", json!({ "x": 1 })).await;
        assert_eq!(app.output(&id).await, json!({ "x": 1 }));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn events_before_the_wait_are_kept_in_order() {
    each(async |app: &App| {
        let id = app.begin_one("two_events", Value::Null).await;
        for (event, data) in [("E", 1), ("E", 2), ("Go", 0)] {
            app.raise(&id, event, json!(data)).await;
        }
        assert_eq!(app.output(&id).await, json!([1, 2]));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn events_after_the_wait_go_to_the_tasks_that_wait() {
    each(async |app: &App| {
        let id = app.begin_one("two_after", Value::Null).await;
        app.until(&id, |status| status["runtimeStatus"] == "Running").await;
        app.raise(&id, "B", json!("b")).await;
        app.raise(&id, "A", Value::Null).await;
        assert_eq!(app.output(&id).await, json!([null, "b"]));
        let id = app.begin_one("twice_any", Value::Null).await;
        app.raise(&id, "E", json!(1)).await;
        app.raise(&id, "E", json!(2)).await;
        let output = app.output(&id).await;
        let mut all = output[1].as_array().unwrap().clone();
        all.sort_by_key(Value::to_string);
        assert_eq!(all, [1, 2], "{output}");
        assert_eq!(output[0], 1, "{output}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn what_comes_while_an_instance_is_suspended_waits() {
    each(async |app: &App| {
        let id = app.begin_one("two_events", Value::Null).await;
        assert_eq!(app.client("suspend", &id, json!(["pause"])).await["error"], Value::Null);
        app.until(&id, |status| status["runtimeStatus"] == "Suspended").await;
        for (event, data) in [("Go", 0), ("E", 1), ("E", 2)] {
            app.raise(&id, event, json!(data)).await;
        }
        assert_eq!(app.status(&id).await["runtimeStatus"], "Suspended");
        assert_eq!(app.client("resume", &id, json!(["on"])).await["error"], Value::Null);
        assert_eq!(app.output(&id).await, json!([1, 2]));
    })
    .await;
}
