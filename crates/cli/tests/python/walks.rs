//! Random programs against the SDK: the numbers that the host gives are those that the SDK counts, also after a replay.
//!
//! An orchestrator draws its program from a seed: calls, retries that fail, children, timers, entities and events, alone,
//! all at once, nested, one after the other with some left for later, and again as a new execution. Each task asks for a
//! token of its own, so that an answer under another's number is seen.

use std::{fs, ops::Range};

use serde_json::json;

use crate::support::{App, Setup, environments};

/// How many walks of each kind with each SDK.
const WALKS: u32 = 30;

async fn begin(app: &App, seeds: Range<u32>) -> Vec<(u32, String)> {
    let folder = app.path("walks");
    fs::create_dir(&folder).unwrap();
    let mut begun = Vec::new();
    for seed in seeds {
        let input = json!({ "seed": seed, "folder": folder, "events": 0, "executions": 2 });
        let id = app.begin_raw("walks", input).await;
        for event in ["E1", "E2", "E3", "E4"] {
            app.raise(&id, event, json!(event)).await;
        }
        begun.push((seed, id));
    }
    begun
}

async fn end(app: &App, begun: Vec<(u32, String)>) {
    for (seed, id) in begun {
        assert_eq!(app.output(&id).await, json!([]), "seed {seed}, instance {id}");
    }
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn random_programs_get_the_answers_that_they_asked_for_while_processes_end() {
    for environment in environments() {
        println!("with azure-functions-durable {}", environment.version);
        let app = Setup::of("v2").start(&environment);
        let begun = begin(&app, 0..WALKS).await;
        app.kill_workers();
        let more = begin(&app, WALKS..2 * WALKS).await;
        app.kill_workers();
        end(&app, begun).await;
        end(&app, more).await;
        assert_eq!(app.times_logged("is parked"), 0);
    }
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn random_programs_go_on_after_a_crash_of_the_host() {
    for environment in environments() {
        println!("with azure-functions-durable {}", environment.version);
        let mut app = Setup::of("v2").start(&environment);
        let begun = begin(&app, 100..100 + WALKS).await;
        app.kill();
        app.begin();
        end(&app, begun).await;
        assert_eq!(app.times_logged("is parked"), 0);
    }
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn random_programs_run_the_same_from_the_beginning_at_every_turn() {
    for environment in environments() {
        println!("with azure-functions-durable {}", environment.version);
        let app = Setup::of("v2").setting("EVERSTEP_PYTHON_RESIDENT", "0").start(&environment);
        end(&app, begin(&app, 200..200 + WALKS).await).await;
        assert_eq!(app.times_logged("is parked"), 0);
    }
}
