//! Responses that come in parts, by the HTTP extension of the SDK.

use std::{fs, path::Path};

use serde_json::json;

use crate::support::{App, Setup, newest};

fn app() -> App {
    Setup::of("streams").start(&newest())
}

async fn until_file(app: &App, path: &str) {
    while !Path::new(path).exists() {
        app.send("GET", "/api/value", None).await;
    }
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_part_is_there_before_the_next_is_made() {
    let app = app();
    let path = app.path("go");
    let request = app.request("POST", &format!("/api/slow/me?file={path}"));
    let request = request.header("X-Asked", "yes").body("the body");
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["x-kind"], "stream");
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(response.chunk().await.unwrap().unwrap(), "me yes the body");
    fs::write(&path, "").unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), " second");
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn the_app_is_not_far_ahead_of_who_reads_and_hears_when_nobody_does() {
    let app = app();
    let path = app.path("much");
    let mut response = app.request("GET", &format!("/api/much?file={path}")).send().await.unwrap();
    let mut length = response.chunk().await.unwrap().unwrap().len();
    // What connections hold is some megabytes; there are twenty.
    app.send("GET", "/api/value", None).await;
    let made = fs::metadata(&path).unwrap().len();
    assert!(made < 1_900, "{made} parts were made for one that was read");
    while let Some(part) = response.chunk().await.unwrap() {
        length += part.len();
    }
    assert_eq!(length, 20_000_000);

    let path = app.path("gone");
    let mut response =
        app.request("GET", &format!("/api/endless?file={path}")).send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    until_file(&app, &path).await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_failure_is_an_answer_before_the_first_part_and_an_end_after_it() {
    let app = app();
    assert_eq!(app.send("GET", "/api/fails", None).await.status, 500);
    // The head may not have left when the connection is cut.
    if let Ok(mut response) = app.request("GET", "/api/breaks").send().await {
        assert_eq!(response.status(), 200);
        let mut part = response.chunk().await;
        while matches!(part, Ok(Some(_))) {
            part = response.chunk().await;
        }
        assert!(part.is_err(), "the body seems whole: {part:?}");
    }
    let line = app.logged("the response of `breaks` is cut off");
    assert!(line.contains("ValueError: in the middle"), "{line}");
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn values_texts_and_the_older_kind_of_request_work_beside_streams() {
    let app = app();
    let value = app.send("GET", "/api/value", None).await;
    assert_eq!((value.status, value.json()), (200, json!({ "sync": "GET" })));
    let text = app.send("GET", "/api/text", None).await;
    assert_eq!(text.text, "as text");
    let cookies: Vec<_> = text.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/; SameSite=lax", "b=2; Path=/; SameSite=lax"]);
    assert_eq!(app.send("GET", "/api/old?a=b", None).await.text, "old b");
}
