//! The app as a process: what its README says, every refusal, and what survives a kill.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; what is unwrapped is what the test is about"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use reqwest::{Client, Method};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Chunks that take next to no time, and always the same work.
const FAST: &[(&str, &str)] =
    &[("CHUNK_SECONDS_MIN", "0"), ("CHUNK_SECONDS_MAX", "0.02"), ("CHUNK_SEED", "1")];

/// The app in a process of its own; killed when dropped.
struct App {
    child: Child,
    url: String,
}

fn command(folder: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fan-out"));
    command.args(["--json", "--port", "0", "--script-root"]).arg(folder);
    command.envs(settings.iter().copied());
    command
}

impl App {
    fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child =
            command(folder, settings).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready", "{line}");
        let url = ready["url"].as_str().unwrap().to_owned();
        Self { child, url }
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> reqwest::Response {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        Client::new().request(method, url).body(body.to_owned()).send().await.unwrap()
    }

    async fn status_and_body(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let answer = self.ask(method, path, body).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Starts a run and gives its links.
    async fn start_run(&self, body: &str) -> Value {
        let (status, links) =
            self.status_and_body(Method::POST, "/api/starter_function", body).await;
        assert_eq!(status, 202, "{links}");
        links
    }

    /// Asks for an instance until it has ended.
    async fn ended(&self, links: &Value) -> Value {
        let id = links["id"].as_str().unwrap();
        let path = format!("/runtime/webhooks/durabletask/instances/{id}?wait=60s");
        self.status_and_body(Method::GET, &path, "").await.1
    }

    /// What an instance's history tells of chunks that have ended.
    async fn ended_chunks(&self, links: &Value) -> Vec<Value> {
        let url = links["statusQueryGetUri"].as_str().unwrap();
        let joint = if url.contains('?') { '&' } else { '?' };
        let (_, status) =
            self.status_and_body(Method::GET, &format!("{url}{joint}showHistory=true"), "").await;
        let events = status["historyEvents"].as_array().unwrap();
        events.iter().filter(|event| event["EventType"] == "TaskCompleted").cloned().collect()
    }

    fn signal(&mut self, signal: Signal) -> std::process::ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The app's folder, with its own files.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["host.json", "local.settings.json"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), folder.path().join(file))
            .unwrap();
    }
    folder
}

#[tokio::test]
async fn a_run_is_started_and_its_chunks_come_back_in_order() {
    let folder = folder();
    let mut app = App::start(folder.path(), FAST);
    let body = r#"{"start": "a", "end": "b", "total_chunks": 4, "time": "a"}"#;
    let answer = app.ask(Method::POST, "/api/starter_function", body).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["retry-after"], "10");
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let links: Value = answer.json().await.unwrap();
    assert_eq!(links["statusQueryGetUri"], location);
    assert!(links["rewindPostUri"].as_str().unwrap().contains("/rewind?reason={text}"), "{links}");
    let ended = app.ended(&links).await;
    assert_eq!(ended["name"], "orchestrator_function");
    assert_eq!(ended["runtimeStatus"], "Completed");
    assert_eq!(ended["input"], serde_json::from_str::<Value>(body).unwrap());
    let output = &ended["output"];
    assert_eq!((&output["status"], &output["total_chunks"]), (&json!("completed"), &json!(4)));
    assert!(output.get("failed_chunks").is_none(), "{output}");
    for (number, record) in output["results"].as_array().unwrap().iter().enumerate() {
        assert_eq!(record["chunk_id"], number);
        assert_eq!(record["status"], "success");
        assert_eq!(record["start_time"], "a");
    }
    assert!(app.signal(Signal::TERM).success());
}

#[tokio::test]
async fn all_chunks_are_asked_for_before_the_first_has_ended() {
    let folder = folder();
    let app = App::start(folder.path(), FAST);
    let links = app.start_run(r#"{"total_chunks": 5}"#).await;
    app.ended(&links).await;
    let ended = app.ended_chunks(&links).await;
    let times = |key: &str| {
        let mut times: Vec<_> = ended.iter().map(|event| event[key].as_str().unwrap()).collect();
        times.sort_unstable();
        times
    };
    let (asked, ended) = (times("ScheduledTime"), times("Timestamp"));
    assert_eq!(asked.len(), 5);
    assert!(asked[4] <= ended[0], "{asked:?} {ended:?}");
}

#[tokio::test]
async fn a_run_without_a_body_covers_the_last_ten_minutes_and_one_with_an_empty_object_does_not() {
    let folder = folder();
    let app = App::start(folder.path(), FAST);
    for body in ["", " \n", "null"] {
        let ended = app.ended(&app.start_run(body).await).await;
        let input = &ended["input"];
        assert_eq!((&input["total_chunks"], &input["time"]), (&json!(5), &input["start"]));
        let minute = |key: &str| -> i64 {
            let text = input[key].as_str().unwrap();
            assert_eq!((text.len(), &text[26..]), (27, "Z"), "{text}");
            text[14..16].parse().unwrap()
        };
        assert_eq!((minute("end") - minute("start")).rem_euclid(60), 10, "{input}");
        assert_eq!(ended["output"]["total_chunks"], 5);
    }
    let ended = app.ended(&app.start_run("{}").await).await;
    assert_eq!(ended["output"]["total_chunks"], 3);
    assert_eq!(ended["output"]["results"][2]["start_time"], "unknown");
}

#[tokio::test]
async fn a_run_whose_chunks_failed_says_so() {
    let folder = folder();
    let app = App::start(folder.path(), FAST);
    let ended = app.ended(&app.start_run(r#"{"start": 5, "total_chunks": 2}"#).await).await;
    assert_eq!(ended["runtimeStatus"], "Completed");
    let output = &ended["output"];
    assert_eq!(
        (&output["status"], &output["failed_chunks"]),
        (&json!("completed_with_errors"), &json!(2))
    );
    assert_eq!(
        output["results"][1],
        json!({
            "chunk_id": 1,
            "status": "error",
            "error": "`start` is 5; it must be a text such as \"2025-06-16T15:00:00.000000Z\"",
            "records_processed": 0,
        })
    );
}

#[tokio::test]
async fn what_cannot_start_a_run_is_refused_with_what_to_send() {
    let folder = folder();
    let app = App::start(folder.path(), FAST);
    let refused = async |body: &str| {
        let (status, body) = app.status_and_body(Method::POST, "/api/starter_function", body).await;
        assert_eq!(status, 400, "{body}");
        body["Message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        refused("{").await,
        "the body is not JSON: EOF while parsing an object at line 1 column 1; send an object, or nothing"
    );
    for (body, found) in
        [("[1]", "an array"), ("5", "a number"), ("\"a\"", "a text"), ("true", "true or false")]
    {
        assert_eq!(
            refused(body).await,
            format!(
                "the body is {found}; it must be an object with the keys start, end, total_chunks and time, all optional"
            )
        );
    }
    let long = json!({ "start": "x".repeat(20_000) }).to_string();
    assert_eq!(refused(&long).await, "the body has 20012 bytes; it may have 16384");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = app.ask(method, "/api/starter_function", "").await;
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], "POST");
        assert_eq!(
            answer.text().await.unwrap(),
            r#"{"Message":"runs are started with POST; GET /api/test_activity_function tries one chunk"}"#
        );
    }
}

#[tokio::test]
async fn one_chunk_is_tried_without_a_run() {
    let folder = folder();
    let app = App::start(folder.path(), FAST);
    let path = "/api/test_activity_function";
    for method in [Method::GET, Method::POST] {
        let (status, tried) = app.status_and_body(method, path, "").await;
        assert_eq!(status, 200);
        assert_eq!(tried["success"], true);
        assert_eq!(tried["message"], "Activity function test completed successfully");
        let start = "2025-06-16T15:00:00.000000Z";
        let end = "2025-06-16T15:10:00.000000Z";
        assert_eq!(
            tried["input"],
            json!({ "chunk_id": 0, "start": start, "end": end, "total_chunks": 5, "time": start })
        );
        assert_eq!(
            (&tried["result"]["start_time"], &tried["result"]["end_time"]),
            (&json!(start), &json!(end))
        );
    }
    let chunk = json!({ "chunk_id": 3, "start": "a", "end": "b", "total_chunks": 4, "time": "a" });
    let (status, tried) = app.status_and_body(Method::POST, path, &chunk.to_string()).await;
    assert_eq!((status, &tried["input"], &tried["result"]["chunk_id"]), (200, &chunk, &json!(3)));
    let failed = async |body: &str| {
        let (status, failed) = app.status_and_body(Method::POST, path, body).await;
        assert_eq!(failed["success"], false);
        assert_eq!(failed["message"], "Activity function test failed");
        (status, failed["error"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        failed(r#"{"chunk_id": "x"}"#).await,
        (500, "`chunk_id` is \"x\"; it must be a whole number, at least 0".to_owned())
    );
    assert_eq!(
        failed("[]").await,
        (500, "the input is an array; it must be an object with the keys chunk_id, start, end, total_chunks and time".to_owned())
    );
    assert_eq!(
        failed("nothing").await,
        (
            400,
            "the body is not JSON: expected ident at line 1 column 2; send an object, or nothing"
                .to_owned()
        )
    );
}

#[tokio::test]
async fn a_failed_run_is_rewound_and_a_completed_one_is_not() {
    let folder = folder();
    let app = App::start(folder.path(), FAST);
    let rewound = async |links: &Value| {
        let url = links["rewindPostUri"].as_str().unwrap().replace("{text}", "again");
        app.ask(Method::POST, &url, "").await.status().as_u16()
    };
    let completed = app.start_run("").await;
    app.ended(&completed).await;
    assert_eq!(rewound(&completed).await, 412);
    // A run that was started past the route, with an input that is none.
    let path = "/runtime/webhooks/durabletask/orchestrators/orchestrator_function/failing";
    app.ask(Method::POST, path, "[1]").await;
    let mut failing = completed;
    failing["id"] = json!("failing");
    let former = failing["rewindPostUri"].as_str().unwrap().to_owned();
    let id = former.split("/instances/").nth(1).unwrap().split('/').next().unwrap();
    failing["rewindPostUri"] = json!(former.replace(id, "failing"));
    let ended = app.ended(&failing).await;
    assert_eq!(ended["runtimeStatus"], "Failed");
    let text = "the input is an array; it must be an object with the keys start, end, total_chunks and time, all optional";
    assert!(ended["output"].to_string().contains(text), "{ended}");
    assert_eq!(rewound(&failing).await, 202);
    assert_eq!(app.ended(&failing).await["runtimeStatus"], "Failed");
}

#[tokio::test]
async fn a_run_that_is_killed_in_the_middle_ends_as_one_that_is_not() {
    // With this seed one of five chunks ends early and one late.
    let settings = &[("CHUNK_SECONDS_MIN", "0"), ("CHUNK_SECONDS_MAX", "3"), ("CHUNK_SEED", "5")];
    let body = r#"{"start": "a", "end": "b", "total_chunks": 5, "time": "a"}"#;
    let undisturbed = {
        let folder = folder();
        let app = App::start(folder.path(), settings);
        app.ended(&app.start_run(body).await).await["output"].clone()
    };
    assert_eq!(undisturbed["status"], "completed");
    let folder = folder();
    let mut app = App::start(folder.path(), settings);
    let links = app.start_run(body).await;
    let kept = loop {
        let ended = app.ended_chunks(&links).await.len();
        if ended > 0 {
            break ended;
        }
    };
    assert!(!app.signal(Signal::KILL).success());
    assert!(kept < 5, "{kept} chunks had ended before the kill");
    let app = App::start(folder.path(), settings);
    let ended = app.ended(&links).await;
    assert_eq!(ended["runtimeStatus"], "Completed");
    assert_eq!(ended["output"], undisturbed);
}

#[tokio::test]
async fn runs_start_by_themselves_where_a_schedule_is_set() {
    let folder = folder();
    let settings = [FAST, &[("STARTER_SCHEDULE", "* * * * * *")]].concat();
    let app = App::start(folder.path(), &settings);
    let path = "/runtime/webhooks/durabletask/instances";
    let first = loop {
        let (_, list) = app.status_and_body(Method::GET, path, "").await;
        if let Some(first) = list.as_array().unwrap().first() {
            break first.clone();
        }
    };
    assert_eq!(first["name"], "orchestrator_function");
    assert_eq!(first["input"]["total_chunks"], 5);
}

#[tokio::test]
async fn more_chunks_are_allowed_by_a_setting() {
    let folder = folder();
    let app = App::start(folder.path(), &[FAST, &[("MAX_CHUNKS", "12")]].concat());
    let ended = app.ended(&app.start_run(r#"{"total_chunks": 40, "max_chunks": 40}"#).await).await;
    assert_eq!(ended["output"]["total_chunks"], 12);
    assert_eq!(ended["input"], json!({ "total_chunks": 40, "max_chunks": 12 }));
}

#[test]
fn a_setting_that_cannot_be_used_ends_the_start() {
    let folder = folder();
    let ended = command(folder.path(), &[("CHUNK_SEED", "soon")]).output().unwrap();
    assert!(!ended.status.success());
    assert_eq!(
        String::from_utf8(ended.stderr).unwrap().lines().last(),
        Some(
            r#"{"event":"error","message":"the setting CHUNK_SEED is `soon`; write a whole number, not negative"}"#
        )
    );
    assert!(ended.stdout.is_empty());
}
