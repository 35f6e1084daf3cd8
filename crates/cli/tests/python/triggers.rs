//! Functions that are not durable, apps with a folder for each function, and whole web applications.

use serde_json::{Value, json};

use crate::support::{App, Setup, each, environments};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_request_arrives_whole_and_so_does_the_response() {
    each(async |app: &App| {
        let body = Some(("text/plain", "the body".to_owned()));
        let answer = app.send_text("POST", "/api/echo/me?q=a%20b", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.headers["x-one"], "1");
        assert_eq!(answer.headers["set-cookie"], "a=1; Path=/");
        assert_eq!(answer.headers["content-type"], "application/json");
        let expected = json!({
            "who": "me", "q": "a b", "body": "the body", "function": "echo",
            "url": format!("{}/api/echo/me?q=a%20b", app.url),
        });
        assert_eq!(answer.json(), expected);
        let plain = app.send("GET", "/api/plain", None).await;
        assert_eq!((plain.status, plain.text.as_str()), (200, "as text"));
        assert_eq!(plain.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(app.send("DELETE", "/api/echo/me", None).await.status, 404);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn what_is_printed_becomes_lines_of_the_log_with_the_functions_name() {
    each(async |app: &App| {
        app.send("GET", "/api/echo/me", None).await;
        for words in ["printed by echo", "logged by echo"] {
            let line: Value = serde_json::from_str(&app.logged(words)).unwrap();
            assert_eq!(line["category"], "Function.echo.User", "{line}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn functions_in_folders_run_and_a_broken_one_leaves_the_others_alive() {
    for environment in environments() {
        let app = Setup::of("v1").start(&environment);
        for route in ["start", "old"] {
            let id = app.unique("v1");
            let begun = app.send("POST", &format!("/api/{route}/Flow?id={id}"), None).await;
            assert_eq!(begun.status, 202, "{begun:?}");
            let output = app.output(&id).await;
            assert_eq!(output, json!(["Hi Ann", "HI ANN", { "v": 1 }]));
        }
        let line = app.logged("`Broken` cannot be loaded");
        assert!(line.contains("there_is_no_such_package"), "{line}");
        assert!(line.contains("add it to requirements.txt"), "{line}");
    }
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_web_application_has_all_routes() {
    for environment in environments() {
        for kind in ["asgi", "wsgi"] {
            let app = Setup::of(kind).start(&environment);
            let body = Some(("text/plain", "the body".to_owned()));
            let answer = app.send_text("POST", "/one/two?a=1", body).await;
            assert_eq!((answer.status, &*answer.text), (207, "POST /one/two a=1 the body"));
            assert_eq!(answer.headers["x-app"], kind);
            assert_eq!(answer.headers["content-type"], "text/plain");
            assert_eq!(app.send("GET", "/", None).await.text, "GET /  ");
        }
    }
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn queues_blobs_events_and_times_start_functions() {
    for environment in environments() {
        let app = Setup::of("bound").start(&environment);
        let body = Some(("text/plain", "the blob".to_owned()));
        let dropped = app.send_text("POST", "/api/drop/7", body).await;
        assert_eq!(dropped.status, 202, "{dropped:?}");
        let event = json!([{
            "id": "e1", "topic": "t", "subject": "s", "eventType": "made", "data": { "a": 1 },
            "eventTime": "2026-01-02T03:04:05Z", "dataVersion": "1", "metadataVersion": "1",
        }]);
        let path = "/runtime/webhooks/eventgrid?functionName=hear";
        let request = app
            .request("POST", path)
            .header("aeg-event-type", "Notification")
            .header("Content-Type", "application/json");
        assert!(app.answer(request.body(event.to_string())).await.status < 300);
        for (id, expected) in [
            ("queue-7", json!([1, { "id": "7" }])),
            ("blob-7", json!(["drops/7.txt", "the blob"])),
            ("event-e1", json!(["made", { "a": 1 }])),
            ("timer", json!(false)),
        ] {
            app.until_there(id).await;
            assert_eq!(app.output(id).await, expected, "{id}");
        }
    }
}
