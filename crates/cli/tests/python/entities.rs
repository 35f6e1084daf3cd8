//! Entities: called, signalled, deleted, from orchestrators, the client and over HTTP.

use serde_json::{Value, json};

use crate::support::{App, each};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn operations_answer_fail_and_have_inputs_of_all_kinds() {
    each(async |app: &App| {
        let output = app.run("counts", json!(app.unique("counts"))).await;
        // Without an input the app adds a hundred; after `delete` it begins anew.
        let together = [104, 105, 106, 107, 108];
        assert_eq!(output, json!([3, 103, 103, together, ["unknown", "what"], 0]));
        let key = app.unique("entities");
        let output = app.run("entities", json!(key)).await;
        assert_eq!(output[0], 5);
        assert_eq!(output[1], 5);
        assert!(output[2].as_str().unwrap().contains("entity boom"), "{output}");
        let missing = output[3].as_str().unwrap();
        assert!(missing.contains("The function 'nobody' doesn't exist"), "{output}");
        assert_eq!(app.counter(&key).await, Some(json!(5)));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn signals_come_from_the_client_and_over_http() {
    each(async |app: &App| {
        let key = app.unique("signals");
        assert_eq!(app.counter(&key).await, None);
        let read = app.client("read_entity_state", &key, json!([])).await;
        assert_eq!(read["result"]["exists"], false);
        for (input, sum) in [(json!(5), 5), (json!([1][0]), 6)] {
            app.client("signal_entity", &key, json!(["add", input])).await;
            while app.counter(&key).await != Some(json!(sum)) {}
        }
        // The SDK sends no body for an input that is falsy, and the app is told of none.
        app.client("signal_entity", &key, json!(["add", 0])).await;
        while app.counter(&key).await != Some(json!(106)) {}
        let raw = app.api("POST", &format!("entities/counter/{key}?op=add"), Some(&json!(4))).await;
        assert_eq!(raw.status, 202, "{raw:?}");
        while app.counter(&key).await != Some(json!(110)) {}
        let path = format!("entities/COUNTER/{key}?op=add");
        assert_eq!(app.api("POST", &path, Some(&json!(0))).await.status, 202);
        let read = app.client("read_entity_state", &key, json!([])).await;
        assert_eq!(read["result"], json!({ "exists": true, "state": 110 }));
        app.client("signal_entity", &key, json!(["delete", Value::Null])).await;
        while app.counter(&key).await.is_some() {}
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn many_signals_at_once_are_all_counted() {
    each(async |app: &App| {
        let key = app.unique("batch");
        for _ in 0..50 {
            let path = format!("entities/counter/{key}?op=add");
            assert_eq!(app.api("POST", &path, Some(&json!(1))).await.status, 202);
        }
        while app.counter(&key).await != Some(json!(50)) {}
    })
    .await;
}
