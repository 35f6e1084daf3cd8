//! Restart and rewind, and what orchestrators say while they are replayed.

use serde_json::{Value, json};

use crate::support::{App, each};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_failed_instance_is_rewound_and_completes() {
    each(async |app: &App| {
        let plan = json!({ "file": app.path("rewind"), "times": 1 });
        let id = app.begin_one("one_call", json!(["fails_until", plan])).await;
        assert_eq!(app.end(&id).await["runtimeStatus"], "Failed");
        let rewound = app.client("rewind", &id, json!(["mended it"])).await;
        assert_eq!(rewound["error"], Value::Null, "{rewound}");
        app.until(&id, |status| status["runtimeStatus"] != "Failed").await;
        assert_eq!(app.output(&id).await, 2);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_instance_is_restarted_under_a_new_id_with_its_input() {
    each(async |app: &App| {
        let id = app.begin_one("no_yield", json!([1, 2])).await;
        app.output(&id).await;
        let path = format!("instances/{id}/restart?restartWithNewInstanceId=true");
        let restarted = app.api("POST", &path, None).await;
        assert_eq!(restarted.status, 202, "{restarted:?}");
        let new = restarted.json()["id"].as_str().unwrap().to_owned();
        assert_ne!(new, id);
        assert_eq!(app.output(&new).await["input"], json!([1, 2]));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn lines_of_an_orchestrator_are_logged_once_although_it_is_replayed() {
    each(async |app: &App| {
        let id = app.begin_one("prints", Value::Null).await;
        app.raise(&id, "Go", json!(1)).await;
        assert_eq!(app.output(&id).await, "said");
        let line: Value = serde_json::from_str(&app.logged(&format!("printed {id}"))).unwrap();
        assert_eq!(line["function"], "prints", "{line}");
        assert_eq!(line["instance"], json!(id), "{line}");
        app.logged(&format!("once {id}"));
        assert_eq!(app.times_logged(&format!("printed {id}")), 1);
        assert_eq!(app.times_logged(&format!("once {id}")), 1);
    })
    .await;
}
