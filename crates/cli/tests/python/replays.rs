//! `everstep replay` and `everstep preflight`: recorded histories against the code, the same and changed.

use std::fs;

use serde_json::{Value, json};

use crate::support::{App, Ended, each_alone};

const FORMER: &str = "one = yield context.wait_for_external_event(\"E\")";

/// The only row of a table.
fn row(ended: &Ended) -> Value {
    let rows: Vec<Value> =
        serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("no rows: {ended:?}"));
    assert_eq!(rows.len(), 1, "{ended:?}");
    rows[0].clone()
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_history_of_a_run_is_followed_and_the_first_difference_is_told_with_its_line() {
    each_alone(async |app: &mut App| {
        let id = app.begin_one("chain", json!({ "a": 1 })).await;
        app.output(&id).await;
        let folder = app.setup.folder.path().to_str().unwrap().to_owned();
        let file = app.path("history");
        let exported = app.everstep(&["export", &id, "--url", &app.url]);
        fs::write(&file, &exported.out).unwrap();
        let replay = ["replay", &folder, &file, "-o", "json"];
        let same = app.everstep(&replay);
        assert_eq!((same.code, row(&same)["outcome"].as_str()), (0, Some("same")), "{same:?}");

        let line = app.setup.change(
            "function_app.py",
            "yield context.call_activity(act_dict, {",
            "yield context.call_activity(\"square\", {",
        );
        let differs = app.everstep(&replay);
        assert_eq!(differs.code, 1, "{differs:?}");
        let row = row(&differs);
        assert_eq!(row["where"], json!(format!("function_app.py:{line}")), "{row}");
        assert_eq!(row["expected"], "the activity `act_dict`", "{row}");
        assert_eq!(row["found"], "the activity `square`", "{row}");
        let source = "two = yield context.call_activity(\"square\", {\"x\": [1, 2]})";
        assert_eq!(row["source"], source, "{row}");
        let words = "the code of the app does not follow 1 of 1 histories";
        assert!(differs.err.contains(words), "{differs:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn live_instances_are_tried_before_a_deploy_with_the_host_and_from_its_files() {
    each_alone(async |app: &mut App| {
        let folder = app.setup.folder.path().to_str().unwrap().to_owned();
        let over = app.begin_one("chain", Value::Null).await;
        app.output(&over).await;
        let none = app.everstep(&["preflight", &folder]);
        assert_eq!(none.code, 0, "{none:?}");
        assert!(none.err.contains("there are no live instances"), "{none:?}");

        let id = app.begin_one("two_events", Value::Null).await;
        let other = app.begin_one("approval", Value::Null).await;
        app.raise(&id, "Go", json!(0)).await;
        app.until_history(&id, "EventRaised").await;
        app.until(&other, |status| status["runtimeStatus"] == "Running").await;
        let preflight = ["preflight", &folder, "-o", "json"];
        let same = app.everstep(&preflight);
        assert_eq!(same.code, 0, "{same:?}");
        app.setup.change(
            "function_app.py",
            FORMER,
            &format!("yield context.call_activity(\"square\", 1)\n    {FORMER}"),
        );
        for runs in [true, false] {
            if !runs {
                app.kill();
            }
            let differs = app.everstep(&preflight);
            assert_eq!(differs.code, 1, "{differs:?}");
            let words = "the code of the app does not follow 1 of 2 histories";
            assert!(differs.err.contains(words), "{differs:?}");
        }
    })
    .await;
}
