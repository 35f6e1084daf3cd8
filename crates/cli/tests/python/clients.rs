//! Each call of the SDK's client, with instances that are there, have ended, or never were.

use serde_json::{Value, json};

use crate::support::{App, each, each_alone, none};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_instance_that_never_was_is_not_there_for_any_call() {
    each(async |app: &App| {
        let status = app.client("get_status", "nobody", none()).await;
        assert_eq!(status, json!({ "result": null }));
        for call in ["terminate", "suspend", "resume", "rewind"] {
            let answer = app.client(call, "nobody", json!(["why"])).await;
            assert!(answer["error"].is_string(), "{call}: {answer}");
        }
        let raised = app.client("raise_event", "nobody", json!(["E", 1])).await;
        assert!(raised["text"].as_str().unwrap().contains("nobody"), "{raised}");
        let purged = app.client("purge_instance_history", "nobody", none()).await;
        assert_eq!(purged["result"], json!({ "deleted": 0 }));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_instance_that_has_ended_is_shown_and_left_alone() {
    each(async |app: &App| {
        let id = app.begin_one("chain", json!({ "a": 1 })).await;
        app.output(&id).await;
        let status = app.client("get_status", &id, json!([true, true, true])).await;
        let status = &status["result"];
        assert_eq!(status["runtimeStatus"], "Completed", "{status}");
        assert_eq!(status["input"], r#"{"a": 1}"#);
        assert_eq!(status["customStatus"], json!({ "step": 3 }));
        for call in ["terminate", "suspend", "resume"] {
            let answer = app.client(call, &id, json!(["why"])).await;
            assert_eq!(answer, json!({ "result": null }), "{call}");
        }
        for (call, arguments) in [("rewind", json!(["why"])), ("raise_event", json!(["E", 1]))] {
            let answer = app.client(call, &id, arguments).await;
            assert!(answer["error"].is_string(), "{call}: {answer}");
        }
        let purged = app.client("purge_instance_history", &id, none()).await;
        assert_eq!(purged["result"], json!({ "deleted": 1 }));
        assert_eq!(app.client("get_status", &id, none()).await["result"], Value::Null);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_start_is_refused_over_a_live_instance_and_for_an_unknown_name() {
    each(async |app: &App| {
        let id = app.unique("client");
        let started = app.client("start_new", "approval", json!([id])).await;
        assert_eq!(started["result"], json!(id), "{started}");
        let again = app.client("start_new", "approval", json!([id])).await;
        assert!(again["error"].is_string(), "{again}");
        let unknown = app.client("start_new", "no_such", none()).await;
        let text = unknown["text"].as_str().unwrap();
        assert!(text.contains("The function 'no_such' doesn't exist, is disabled, or is not an orchestrator function."), "{unknown}");
        let ended = app.client("terminate", &id, json!(["enough of this"])).await;
        assert_eq!(ended, json!({ "result": null }));
        let status = app.end(&id).await;
        assert_eq!((&status["runtimeStatus"], &status["output"]), (&json!("Terminated"), &json!("enough of this")));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn lists_come_whole_and_by_filter() {
    each_alone(async |app: &mut App| {
        for number in 0..120 {
            let path = format!("orchestrators/no_yield/list-{number}");
            assert_eq!(app.api("POST", &path, Some(&json!(number))).await.status, 202);
        }
        for number in 0..120 {
            app.output(&format!("list-{number}")).await;
        }
        let waiting = app.begin_one("approval", Value::Null).await;
        app.until(&waiting, |status| status["runtimeStatus"] == "Running").await;
        let all = app.client("get_status_all", "", none()).await;
        assert_eq!(all["result"].as_array().unwrap().len(), 121);
        let running = json!({ "runtime_status": ["Running"] });
        let running = app.client("get_status_by", "", running).await;
        assert_eq!(running["result"][0]["instanceId"], json!(waiting), "{running}");
        assert_eq!(running["result"].as_array().unwrap().len(), 1);
        let past = json!({ "created_time_from": "2001-01-01T00:00:00", "created_time_to": "2002-01-01T00:00:00" });
        let past = app.client("get_status_by", "", past).await;
        assert_eq!(past, json!({ "result": [] }));
        let purge = json!({ "created_time_from": "2001-01-01T00:00:00", "runtime_status": ["Completed"] });
        let purged = app.client("purge_instance_history_by", "", purge).await;
        assert_eq!(purged["result"], json!({ "deleted": 120 }), "{purged}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn waiting_gives_the_output_the_failure_or_the_links() {
    each(async |app: &App| {
        let wait = async |id: &str| app.send("POST", &format!("/api/client/wait/{id}"), None).await;
        let id = app.begin_one("no_yield", json!(3)).await;
        let answer = wait(&id).await;
        assert_eq!((answer.status, &answer.json()["input"]), (200, &json!(3)));
        let id = app.begin_one("throws", json!("bad")).await;
        let answer = wait(&id).await;
        assert_eq!((answer.status, &answer.json()["runtimeStatus"]), (500, &json!("Failed")));
        let id = app.begin_one("approval", Value::Null).await;
        app.client("terminate", &id, json!(["over"])).await;
        app.end(&id).await;
        assert_eq!(wait(&id).await.status, 200);
        let id = app.begin_one("approval", Value::Null).await;
        let path = format!("/api/client/wait/{id}?timeout=100");
        let answer = app.send("POST", &path, None).await;
        assert_eq!((answer.status, &answer.json()["id"]), (202, &json!(id)), "{answer:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_instance_is_restarted_by_the_sdks_that_can() {
    each(async |app: &App| {
        if !app.has_sdk([1, 6]) {
            return;
        }
        let missing = app.client("restart", "nobody", none()).await;
        assert!(missing["error"].is_string(), "{missing}");
        let id = app.begin_one("no_yield", json!([1])).await;
        app.output(&id).await;
        let restarted = app.client("restart", &id, json!([true])).await;
        let new = restarted["result"]["id"].as_str().unwrap_or_else(|| panic!("{restarted}"));
        assert_ne!(new, id);
        assert_eq!(app.output(new).await["input"], json!([1]));
        let same = app.client("restart", &id, json!([false])).await;
        assert_eq!(same["result"]["id"], json!(id), "{same}");
        assert_eq!(app.output(&id).await["input"], json!([1]));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_version_that_is_asked_for_is_the_orchestrations() {
    each(async |app: &App| {
        if !app.has_sdk([1, 5]) {
            return;
        }
        let id = app.unique("versioned");
        let started = app.client("start_new", "versioned", json!([id, null, "2.1"])).await;
        assert_eq!(started["result"], json!(id), "{started}");
        assert_eq!(app.output(&id).await, "2.1");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn instances_are_found_by_the_beginning_of_their_ids() {
    each(async |app: &App| {
        if !app.has_sdk([1, 7]) {
            return;
        }
        for number in 0..3 {
            let path = format!("orchestrators/no_yield/prefixed-{number}");
            assert_eq!(app.api("POST", &path, None).await.status, 202);
            app.output(&format!("prefixed-{number}")).await;
        }
        let filter = json!({ "instance_id_prefix": "prefixed-", "runtime_status": ["Completed"] });
        let found = app.client("get_status_by", "", filter).await;
        assert_eq!(found["result"].as_array().map(Vec::len), Some(3), "{found}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn ids_that_cannot_be_are_refused() {
    each(async |app: &App| {
        for id in ["@counter@x".to_owned(), "x".repeat(300)] {
            let refused = app.client("start_new", "no_yield", json!([id])).await;
            assert!(refused["error"].is_string(), "{id}: {refused}");
        }
        let empty = app.client("start_new", "no_yield", json!([null, { "a": 1 }])).await;
        let id = empty["result"].as_str().unwrap();
        assert_eq!(id.len(), 32);
        assert_eq!(app.output(id).await["input"], json!({ "a": 1 }));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_status_shows_the_history_in_the_words_of_the_original() {
    each(async |app: &App| {
        let id = app.begin_one("one_call", json!(["square", 3])).await;
        app.output(&id).await;
        let path = format!("instances/{id}?showHistory=True&showHistoryOutput=True");
        let status = app.api("GET", &path, None).await.json();
        let events = status["historyEvents"].as_array().unwrap();
        let kinds: Vec<&str> =
            events.iter().map(|event| event["EventType"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"], "{status}");
        assert_eq!(events[0]["FunctionName"], "one_call");
        assert_eq!(
            (&events[1]["FunctionName"], &events[1]["Result"]),
            (&json!("square"), &json!(9))
        );
        assert_eq!(events[2]["OrchestrationStatus"], "Completed");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn the_links_of_a_start_lead_to_the_instance() {
    each(async |app: &App| {
        let id = app.unique("links");
        let path = format!("/api/start/approval?id={id}");
        let started = app.send("POST", &path, None).await.json();
        assert_eq!(started["id"], json!(id));
        let below = async |link: &str, method: &str| {
            let link = started[link].as_str().unwrap();
            let path = link.strip_prefix(&app.url).unwrap_or_else(|| panic!("{link}"));
            let path = path.replace("{eventName}", "Approve").replace("{text}", "why");
            app.send(method, &path, Some(&json!("yes"))).await.status
        };
        assert_eq!(below("statusQueryGetUri", "GET").await, 202);
        app.until(&id, |status| status["runtimeStatus"] == "Running").await;
        assert_eq!(below("suspendPostUri", "POST").await, 202);
        app.until(&id, |status| status["runtimeStatus"] == "Suspended").await;
        assert_eq!(below("resumePostUri", "POST").await, 202);
        app.until(&id, |status| status["runtimeStatus"] == "Running").await;
        assert_eq!(below("sendEventPostUri", "POST").await, 202);
        assert_eq!(app.output(&id).await, "yes");
        assert_eq!(below("terminatePostUri", "POST").await, 410);
        assert_eq!(below("purgeHistoryDeleteUri", "DELETE").await, 200);
    })
    .await;
}
