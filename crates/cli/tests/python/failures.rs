//! What failures say, where apps and people see them.

use serde_json::{Value, json};

use crate::support::{App, each};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_orchestrator_catches_texts_that_can_be_taken_apart() {
    each(async |app: &App| {
        let output = app.run("catches", Value::Null).await;
        let texts: Vec<&str> = output.as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        let (reason, details) = texts[0].split_once('\n').unwrap();
        assert_eq!(reason.trim_end(), "Activity function 'fail' failed:  ValueError: boom!");
        let details: Value = serde_json::from_str(details).unwrap();
        assert_eq!(details["Message"], " ValueError: boom!");
        assert!(texts[1].starts_with("The function 'nobody' doesn't exist, is disabled, or is not an activity function. Additional info: The following are the known activity functions: "), "{}", texts[1]);
        assert!(texts[2].starts_with("Orchestrator function 'throws' failed: sub boom"), "{}", texts[2]);
        assert!(texts[3].contains("The function 'no_such_orchestrator' doesn't exist"), "{}", texts[3]);
        assert!(texts[4].starts_with("Activity function 'unserialisable' failed:  "), "{}", texts[4]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_failed_orchestration_shows_its_reason_as_output() {
    each(async |app: &App| {
        let said = app.failure("throws", json!("out")).await;
        assert_eq!(said, "Orchestrator function 'throws' failed: out");
        let said = app.failure("throws_nothing", Value::Null).await;
        assert_eq!(said, "Orchestrator function 'throws_nothing' failed: <class 'ValueError'>");
        let said = app.failure("bad_output", Value::Null).await;
        assert!(said.starts_with("Orchestrator function 'bad_output' failed: "), "{said}");
        assert!(said.contains("object"), "{said}");
        let said = app.failure("bad_yield", Value::Null).await;
        assert!(said.starts_with("Orchestrator function 'bad_yield' failed: "), "{said}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_function_that_fails_over_http_answers_500() {
    each(async |app: &App| {
        assert_eq!(app.send("GET", "/api/boom", None).await.status, 500);
        assert_eq!(app.send("GET", "/api/nothing", None).await.status, 500);
        app.logged("http boom");
    })
    .await;
}
