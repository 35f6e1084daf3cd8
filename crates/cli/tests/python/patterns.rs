//! The usual patterns as wholes, and habits of the SDK that apps rest on.

use std::fs;

use serde_json::{Value, json};

use crate::support::{App, each, each_alone};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_monitor_looks_again_until_it_sees_or_gives_up() {
    each(async |app: &App| {
        let job = json!({ "file": app.path("never"), "looked": 1, "most": 4 });
        assert_eq!(app.run("monitor", job).await, json!(["given up", 4]));
        let path = app.path("seen");
        let job = json!({ "file": path, "looked": 1, "most": 1_000_000 });
        let id = app.begin_one("monitor", job).await;
        app.until(&id, |status| status["input"].as_str().is_some_and(|text| text.contains("3,")))
            .await;
        fs::write(&path, "").unwrap();
        assert_eq!(app.output(&id).await[0], "there");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_person_answers_in_time_or_another_one_is_asked() {
    each(async |app: &App| {
        let id = app.begin_one("asks", json!(600_000)).await;
        app.raise(&id, "Decided", json!(true)).await;
        assert_eq!(app.output(&id).await, json!(["first", true]));
        for (event, expected) in
            [("Escalated", json!(["second", "yes"])), ("Decided", json!(["first, late", "yes"]))]
        {
            let id = app.begin_one("asks", json!(50)).await;
            app.until(&id, |status| status["customStatus"] == "escalated").await;
            app.raise(&id, event, json!("yes")).await;
            assert_eq!(app.output(&id).await, expected);
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_long_request_is_answered_at_once_and_looked_after_at_its_location() {
    each(async |app: &App| {
        let id = app.unique("request");
        let path = format!("/api/start/approval?id={id}");
        let begun = app.send("POST", &path, None).await;
        assert_eq!(begun.status, 202);
        assert_eq!(begun.headers["retry-after"], "10");
        let location = begun.headers["location"].to_str().unwrap().to_owned();
        let location = location.strip_prefix(&app.url).expect("it leads to this host");
        let running = app.send("GET", location, None).await;
        assert_eq!(running.status, 202);
        assert!(running.headers["location"].to_str().unwrap().contains(&id));
        app.raise(&id, "Approve", json!(7)).await;
        app.output(&id).await;
        let done = app.send("GET", location, None).await;
        assert_eq!((done.status, &done.json()["output"]), (200, &json!(7)));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_aggregator_counts_each_signal_once_although_processes_end() {
    each_alone(async |app: &mut App| {
        for round in 0..3 {
            for _ in 0..40 {
                let answer = app.api("POST", "entities/counter/sum?op=add", Some(&json!(1))).await;
                assert_eq!(answer.status, 202);
            }
            match round {
                0 => app.kill_workers(),
                1 => {
                    app.kill();
                    app.begin();
                }
                _ => {}
            }
        }
        assert_eq!(app.run("entities", json!("sum")).await[0], json!(125));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn made_ids_and_times_of_a_replay_are_those_of_the_first_run() {
    each_alone(async |app: &mut App| {
        let id = app.begin_one("steady", Value::Null).await;
        let status = app.until(&id, |status| status["customStatus"].is_array()).await;
        app.kill();
        app.begin();
        app.raise(&id, "Go", json!(1)).await;
        assert_eq!(app.output(&id).await, status["customStatus"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_time_of_another_zone_is_taken_as_its_digits_say() {
    each(async |app: &App| assert_eq!(app.run("west_of", Value::Null).await, "fired")).await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_status_that_is_falsy_is_none() {
    each(async |app: &App| {
        let id = app.begin_one("statuses", Value::Null).await;
        app.until(&id, |status| status["customStatus"] == json!({ "at": "first" })).await;
        app.raise(&id, "Go", json!(1)).await;
        app.until(&id, |status| status["customStatus"] == Value::Null).await;
        app.raise(&id, "Go", json!(2)).await;
        assert_eq!(app.output(&id).await, Value::Null);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_request_of_an_orchestrator_ends_with_the_first_response() {
    each(async |app: &App| {
        let url = format!("{}/api/accepts", app.url);
        let response = app.run("posts", json!(url)).await;
        assert_eq!(response["statusCode"], 202, "{response}");
        assert_eq!(response["content"], r#"{"a": [1]} yes application/json"#);
        let header = |name: &str| {
            let headers = response["headers"].as_object().unwrap();
            headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        assert_eq!(header("Retry-After"), Some(&json!("1")), "{response}");
        assert_eq!(header("Content-Type"), None, "{response}");
    })
    .await;
}
