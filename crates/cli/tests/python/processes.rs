//! How many processes there are, how long a call may take, and when a process is replaced.

use serde_json::json;

use crate::support::{App, Environment, Setup, newest, runs};

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn orchestrators_and_entities_have_their_own_processes() {
    for count in [1, 2, 4] {
        let setup = Setup::of("v2").setting("FUNCTIONS_WORKER_PROCESS_COUNT", count.to_string());
        let app = setup.start(&newest());
        let (mut thinking, mut calling) = (Vec::new(), Vec::new());
        let mut begun = Vec::new();
        for _ in 0..12 {
            begun.push(app.begin_one("who_runs", json!(0)).await);
        }
        for id in begun {
            let output = app.output(&id).await;
            let process = |place: usize| output[place].as_u64().unwrap();
            thinking.extend([process(0), process(2)]);
            calling.push(process(1));
        }
        assert!(thinking.iter().all(|one| !calling.contains(one)), "{thinking:?} {calling:?}");
        for processes in [&mut thinking, &mut calling] {
            processes.sort_unstable();
            processes.dedup();
            assert!(processes.len() <= count, "{processes:?}");
        }
        assert_eq!(app.run("fan_out", json!(200)).await, json!(2_646_700));
        assert_eq!(app.workers().len(), 2 * count);
    }
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_activity_over_its_time_fails_and_those_beside_it_run_again() {
    let app = limited(&newest());
    let (slow, beside) = (app.path("slow"), app.path("beside"));
    let plan = json!({ "file": slow, "seconds": 60 });
    let slow_id = app.begin_one("one_call", json!(["slow", plan])).await;
    app.until_file(&slow, &slow_id).await;
    let waits = app.begin_one("one_call", json!(["waits_for", beside])).await;
    let status = app.end(&slow_id).await;
    assert_eq!(status["runtimeStatus"], "Failed");
    let said = status["output"].as_str().unwrap();
    assert!(
        said.contains("it took longer than 2s; raise `functionTimeout` in host.json"),
        "{said}"
    );
    assert_eq!(runs(&slow), 1);
    std::fs::write(&beside, "").unwrap();
    assert!(app.output(&waits).await.as_u64().unwrap() >= 1);
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_turn_over_its_time_is_taken_again_and_at_last_parked() {
    let app = limited(&newest());
    let path = app.path("turns");
    let output = app.run("thinks_long", json!({ "file": path, "times": 1 })).await;
    assert_eq!(output, "thought");
    assert_eq!(runs(&path), 1);
    let path = app.path("for-ever");
    let id = app.begin_one("thinks_long", json!({ "file": path, "times": 99 })).await;
    app.logged("it is parked: ");
    assert_eq!(runs(&path), 3);
    assert_eq!(app.status(&id).await["runtimeStatus"], "Running");
    assert_eq!(app.run("no_yield", json!(1)).await["input"], 1);
}

fn limited(environment: &Environment) -> App {
    let host = r#"{ "version": "2.0", "functionTimeout": "00:00:02" }"#;
    Setup::of("v2").file("host.json", host).start(environment)
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_process_is_replaced_after_its_calls_and_nothing_is_lost() {
    let app = Setup::of("v2").setting("EVERSTEP_PYTHON_MAX_CALLS", "10").start(&newest());
    let before = app.run("one_call", json!(["process", 0])).await;
    assert_eq!(app.run("steps", json!(50)).await, json!(40_425));
    assert_eq!(app.run("fan_out", json!(100)).await, json!(328_350));
    assert_ne!(app.run("one_call", json!(["process", 0])).await, before);
    assert_eq!(app.times_logged("ended"), 0, "a replaced process is not told of as one that ended");
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_process_that_holds_too_much_is_replaced() {
    let app = Setup::of("v2").setting("EVERSTEP_PYTHON_MAX_MEMORY_MB", "16").start(&newest());
    let before = app.run("one_call", json!(["process", 0])).await;
    assert_eq!(app.run("steps", json!(150)).await, json!(1_113_775));
    assert_ne!(app.run("one_call", json!(["process", 0])).await, before);
}
