//! Working on an app: its code changes while instances live, and a debugger is wanted.

use serde_json::{Value, json};

use crate::support::{Setup, newest};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn code_is_swapped_under_an_instance_that_waits_and_broken_code_is_not() {
    let mut app = Setup::of("v2").flags(&["--watch"]).start(&newest());
    let id = app.begin_one("two_events", Value::Null).await;
    app.raise(&id, "Go", json!(0)).await;
    app.raise(&id, "E", json!(1)).await;
    app.until(&id, |status| status["runtimeStatus"] == "Running").await;
    app.swap("function_app.py", "return [one, two]", "return [one, two, 'new code']");
    app.raise(&id, "E", json!(2)).await;
    assert_eq!(app.output(&id).await, json!([1, 2, "new code"]));

    app.setup.change("function_app.py", "# Starters", "def broken(:");
    app.logged("the app that was loaded before goes on");
    app.logged("SyntaxError: invalid syntax");
    assert_eq!(app.run("no_yield", json!(1)).await["input"], 1);
    app.swap("function_app.py", "def broken(:", "# Starters");
    assert_eq!(app.run("no_yield", json!(2)).await["input"], 2);
}

#[test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
fn a_debugger_that_is_not_installed_is_said_to_be_missing() {
    let said = Setup::of("v2").flags(&["--debug", "5678"]).refused(Some(&newest()));
    assert!(said.contains("has no module `debugpy`, which --debug needs; run `"), "{said}");
    assert!(
        said.contains("bin/python -m pip install debugpy`, or start without --debug"),
        "{said}"
    );
}
