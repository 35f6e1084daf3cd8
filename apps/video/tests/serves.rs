//! The app as a process, with its queues: everything that the original is known to get wrong, and what survives a kill.

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
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use everstep_storage::{
    account::Account,
    client::{Message, PutMessage, Queues},
};
use reqwest::{Client, Method};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const REQUESTS: &str = "video-to-processing";
const ANSWERS: &str = "video-processed";
const POISON: &str = "video-processed-poison";
const VIDEO: &str = r#"{"blobURL": "https://videos.example/a.mp4", "blobName": "a.mp4"}"#;
/// Nobody else looks at a message that a test has got.
const LEASE: Duration = Duration::from_mins(10);

/// The app in a process of its own; killed when dropped.
struct App {
    child: Child,
    url: String,
    queues: Queues,
}

fn command(folder: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_video"));
    command.args(["--json", "--port", "0", "--script-root"]).arg(folder);
    command.env("VIDEO_LANGUAGE", "en").envs(settings.iter().copied());
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
        let set = settings.iter().find(|(name, _)| *name == "AzureWebJobsStorage");
        let account = match set {
            Some((_, text)) => Account::parse(text).unwrap(),
            None => {
                let storage = ready["storage"].as_str().unwrap();
                Account::local(port(storage, "blobs on "), port(storage, "queues on "))
            }
        };
        Self { child, url, queues: Queues::new(&account).unwrap() }
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
        let path = "/api/orchestrators/video_orchestrator";
        let (status, links) = self.status_and_body(Method::POST, path, body).await;
        assert_eq!(status, 202, "{links}");
        links
    }

    /// Asks for an instance until it has ended.
    async fn ended(&self, id: &str) -> Value {
        let path = format!("/runtime/webhooks/durabletask/instances/{id}?wait=60s");
        self.status_and_body(Method::GET, &path, "").await.1
    }

    /// The next message of a queue, as soon as there is one.
    async fn next(&self, queue: &str) -> Message {
        loop {
            // The queue may not be there yet.
            let got = self.queues.get(queue, 1, LEASE).await.unwrap_or_default();
            if let Some(message) = got.into_iter().next() {
                return message;
            }
        }
    }

    async fn answer(&self, text: &str) {
        self.queues.put(ANSWERS, text, PutMessage::default()).await.unwrap();
    }

    /// The counters, once this one has come to a number.
    async fn counted(&self, name: &str, number: u64) -> Value {
        loop {
            let (_, counters) = self.status_and_body(Method::GET, "/api/video/counters", "").await;
            if counters[name].as_u64().unwrap() >= number {
                return counters;
            }
        }
    }

    /// Waits until a queue is empty: no message is there, hidden or not.
    async fn emptied(&self, queue: &str) {
        while self.queues.properties(queue).await.unwrap().approximate_messages > 0 {}
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

fn port(text: &str, before: &str) -> u16 {
    let rest = text.split(&format!("{before}http://127.0.0.1:")).nth(1).unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn id(links: &Value) -> &str {
    links["id"].as_str().unwrap()
}

fn answer_to(links: &Value) -> Value {
    json!({ "instance_id": id(links), "blobName": "a.mp4", "status": "PROCESSED", "details": "ok" })
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
async fn a_request_goes_out_and_its_answer_by_queue_ends_the_run() {
    let folder = folder();
    let mut app = App::start(folder.path(), &[]);
    for encode in [str::to_owned, |text: &str| BASE64.encode(text)] {
        let links = app.start_run(VIDEO).await;
        assert!(links["rewindPostUri"].is_string(), "{links}");
        // Plain text on the wire.
        let message = app.next(REQUESTS).await;
        let request: Value = serde_json::from_str(&message.text).unwrap();
        assert_eq!(request["instance_id"], links["id"]);
        assert_eq!(request["blobUrl"], "https://videos.example/a.mp4");
        assert_eq!(request["blobName"], "a.mp4");
        assert_eq!(
            request["posted"].as_str().unwrap().len(),
            "2025-06-16T15:00:00.000000+00:00".len()
        );
        let answer = answer_to(&links);
        app.answer(&encode(&answer.to_string())).await;
        let ended = app.ended(id(&links)).await;
        assert_eq!(ended["runtimeStatus"], "Completed");
        assert_eq!(
            ended["input"],
            json!({ "name": "a.mp4", "bloburl": "https://videos.example/a.mp4" })
        );
        assert_eq!(ended["customStatus"], json!({ "result": "processed" }));
        let output = &ended["output"];
        assert_eq!(output[0]["data"]["blobMessage"], request);
        assert_eq!(output[0]["data"]["message_id"], message.id);
        assert_eq!(
            output[1],
            json!({
                "ok": true, "activity": "SendVideoComplited", "code": 200,
                "message": "Activity processed successfully", "data": answer, "result": "processed",
            })
        );
        app.emptied(ANSWERS).await;
    }
    assert!(app.signal(Signal::TERM).success());
}

#[tokio::test]
async fn all_queues_are_there_from_the_start() {
    let folder = folder();
    let app = App::start(folder.path(), &[]);
    let wanted = [ANSWERS, POISON, REQUESTS];
    while app.queues.list("video").await.unwrap() != wanted {}
}

#[tokio::test]
async fn without_an_answer_the_run_escalates_and_a_late_one_is_counted_and_gone() {
    let folder = folder();
    let app = App::start(folder.path(), &[("VIDEO_TIMEOUT_SECONDS", "1")]);
    let links = app.start_run(VIDEO).await;
    let ended = app.ended(id(&links)).await;
    assert_eq!(ended["customStatus"], json!({ "result": "timeout" }));
    assert_eq!(ended["input"]["timeoutSeconds"], 1);
    assert_eq!(
        ended["output"][1],
        json!({
            "ok": true, "activity": "Escalate_activity", "code": 200,
            "message": "Activity processed successfully", "data": "ESCALATE DUE TO TIMEOUT",
            "result": "timeout",
        })
    );
    app.answer(&answer_to(&links).to_string()).await;
    let counters = app.counted("answers_late", 1).await;
    assert_eq!(counters, json!({ "answers_taken": 0, "answers_late": 1, "answers_refused": 0 }));
    app.emptied(ANSWERS).await;
    assert_eq!(app.queues.properties(POISON).await.unwrap().approximate_messages, 0);
    let url = links["sendEventPostUri"].as_str().unwrap();
    let url = url.replace("{eventName}", "PROCESSING_VIDEO_COMPLITED");
    assert_eq!(app.ask(Method::POST, &url, "{}").await.status(), 410);
    assert_eq!(app.ended(id(&links)).await["output"], ended["output"]);
}

#[tokio::test]
async fn an_answer_that_nobody_can_use_is_tried_five_times_and_put_aside_as_it_came() {
    let folder = folder();
    let app = App::start(folder.path(), &[]);
    app.queues.create(ANSWERS).await.unwrap();
    let texts = [r#"{"instance_id": "nobody"}"#, "not JSON", "eyJhIjogMX0="];
    for text in texts {
        app.answer(text).await;
    }
    let mut aside = Vec::new();
    while aside.len() < texts.len() {
        aside.push(app.next(POISON).await.text);
    }
    aside.sort();
    let mut expected = texts.map(str::to_owned);
    expected.sort();
    assert_eq!(aside, expected);
    let counters = app.counted("answers_refused", 15).await;
    assert_eq!(counters, json!({ "answers_taken": 0, "answers_late": 0, "answers_refused": 15 }));
    app.emptied(ANSWERS).await;
}

#[tokio::test]
async fn what_cannot_start_a_run_is_refused_with_what_is_missing() {
    let folder = folder();
    let app = App::start(folder.path(), &[]);
    let refused = async |method: Method, name: &str, body: &str| {
        let path = format!("/api/orchestrators/{name}");
        let (status, body) = app.status_and_body(method, &path, body).await;
        assert_eq!(body["ok"], false);
        (status, body["error_message"].as_str().unwrap().to_owned())
    };
    let text = |status: u16, text: &str| (status, text.to_owned());
    let name = "video_orchestrator";
    for body in ["", "{", r#"{"blobURL": "u"}"#, r#"{"blobURL": "u", "blobName": ""}"#] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(refused(method, name, body).await, text(400, "blob_name is not defined"));
        }
    }
    assert_eq!(
        refused(Method::POST, name, r#"{"blobName": "a"}"#).await,
        text(400, "blob_url is not defined")
    );
    assert_eq!(
        refused(Method::POST, name, r#"{"blobName": "a", "blobURL": "u", "timeoutSeconds": 0}"#)
            .await,
        text(400, "timeoutSeconds is 0; write a whole number of seconds from 1 to 604800")
    );
    assert_eq!(
        refused(Method::POST, "Escalate", VIDEO).await,
        text(404, "there is no orchestrator `Escalate`; the one there is: video_orchestrator")
    );
    let put = app.ask(Method::PUT, "/api/orchestrators/video_orchestrator", VIDEO).await;
    assert_eq!(put.status(), 404);
}

#[tokio::test]
async fn the_seven_steps_of_the_notebook_work() {
    let folder = folder();
    let app = App::start(folder.path(), &[]);
    let link = |links: &Value, name: &str| links[name].as_str().unwrap().to_owned();
    // 1 and 2: a start, and its status while it waits.
    let links = app.start_run(VIDEO).await;
    app.next(REQUESTS).await;
    let status = loop {
        let url = link(&links, "statusQueryGetUri");
        let (code, status) = app.status_and_body(Method::GET, &url, "").await;
        assert_eq!(code, 202);
        if !status["customStatus"].is_null() {
            break status;
        }
    };
    assert_eq!(status["runtimeStatus"], "Running");
    assert_eq!(status["customStatus"]["state"], "waiting");
    // 3: the event, by HTTP.
    let url = link(&links, "sendEventPostUri").replace("{eventName}", "PROCESSING_VIDEO_COMPLITED");
    let answer = answer_to(&links).to_string();
    let request = Client::new().post(url).header("content-type", "application/json").body(answer);
    assert_eq!(request.send().await.unwrap().status(), 202);
    let ended = app.ended(id(&links)).await;
    assert_eq!(ended["output"][1]["result"], "processed");
    // 4: the end of another run, with the placeholder left as the helper leaves it.
    let other = app.start_run(VIDEO).await;
    app.next(REQUESTS).await;
    let url = link(&other, "terminatePostUri").replace("{reason}", "no longer needed");
    assert_eq!(app.ask(Method::POST, &url, "").await.status(), 202);
    let ended = app.ended(id(&other)).await;
    assert_eq!(
        (&ended["runtimeStatus"], &ended["output"]),
        (&json!("Terminated"), &json!("{text}"))
    );
    // 5: one run is removed.
    let (code, purged) =
        app.status_and_body(Method::DELETE, &link(&links, "purgeHistoryDeleteUri"), "").await;
    assert_eq!((code, purged), (200, json!({ "instancesDeleted": 1, "deletedInstanceCount": 1 })));
    assert_eq!(app.ask(Method::GET, &link(&links, "statusQueryGetUri"), "").await.status(), 404);
    // 6 and 7: everything is removed, and then nothing.
    let filter = json!({
        "timeFrom": "2020-01-01T00:00:00Z", "timeTill": "2099-01-01T00:00:00Z",
        "runtimeStatus": ["Completed", "Failed", "Terminated"],
    });
    let path = "/runtime/webhooks/durabletask/purge-history";
    for count in [1, 0] {
        let (code, purged) = app.status_and_body(Method::POST, path, &filter.to_string()).await;
        assert_eq!(
            (code, purged),
            (200, json!({ "instancesDeleted": count, "deletedInstanceCount": count }))
        );
    }
}

#[tokio::test]
async fn new_blobs_start_runs_in_both_forms_and_each_event_one() {
    let folder = folder();
    let app = App::start(folder.path(), &[]);
    let path = "/api/eventgrid/video";
    let handshake = Client::new()
        .request(Method::OPTIONS, format!("{}{path}", app.url))
        .header("webhook-request-origin", "eventgrid.example")
        .send()
        .await
        .unwrap();
    assert_eq!(handshake.status(), 200);
    assert_eq!(handshake.headers()["webhook-allowed-origin"], "eventgrid.example");
    let (code, refused) = app.status_and_body(Method::OPTIONS, path, "").await;
    let text = "the header WebHook-Request-Origin is missing";
    assert_eq!((code, refused), (400, json!({ "ok": false, "error_message": text })));
    let validation = json!([{
        "id": "0", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": { "validationCode": "the-code" },
    }]);
    let (code, validated) = app.status_and_body(Method::POST, path, &validation.to_string()).await;
    assert_eq!((code, validated), (200, json!({ "validationResponse": "the-code" })));
    let created = "Microsoft.Storage.BlobCreated";
    let data = json!({ "url": "https://account.example/videos/a.mp4" });
    let subject = "/blobServices/default/containers/videos/blobs/a.mp4";
    let events = json!([
        { "id": "1", "eventType": created, "subject": subject, "data": data },
        { "id": "2", "eventType": "Microsoft.Storage.BlobDeleted", "subject": subject, "data": data },
    ]);
    let cloud = json!({ "id": "3", "specversion": "1.0", "type": created, "subject": subject, "data": data });
    for _ in 0..2 {
        let (code, started) = app.status_and_body(Method::POST, path, &events.to_string()).await;
        let expected = json!({ "ok": true, "started": ["eventgrid-1"], "ignored": 1 });
        assert_eq!((code, started), (202, expected));
        let (_, started) = app.status_and_body(Method::POST, path, &cloud.to_string()).await;
        assert_eq!(started["started"], json!(["eventgrid-3"]));
    }
    let mut named: Vec<Value> = Vec::new();
    for _ in 0..2 {
        let request: Value = serde_json::from_str(&app.next(REQUESTS).await.text).unwrap();
        assert_eq!(request["blobName"], "a.mp4");
        named.push(request["instance_id"].clone());
    }
    named.sort_by_key(ToString::to_string);
    assert_eq!(named, [json!("eventgrid-1"), json!("eventgrid-3")]);
    let (code, refused) = app.status_and_body(Method::POST, path, "[]").await;
    let text = "the body holds no events; each is an object with `eventType`, or with `type` as a CloudEvent";
    assert_eq!((code, refused), (400, json!({ "ok": false, "error_message": text })));
}

#[tokio::test]
async fn runs_that_wait_and_answers_that_were_sent_survive_kills() {
    let folder = folder();
    let mut app = App::start(folder.path(), &[]);
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(app.start_run(VIDEO).await);
        assert!(!app.signal(Signal::KILL).success());
        app = App::start(folder.path(), &[]);
    }
    // Each request is there at least once, and tells whose it is.
    let mut missing: Vec<String> = runs.iter().map(|links| id(links).to_owned()).collect();
    while !missing.is_empty() {
        let request: Value = serde_json::from_str(&app.next(REQUESTS).await.text).unwrap();
        missing.retain(|id| *id != request["instance_id"]);
    }
    for links in &runs {
        app.answer(&answer_to(links).to_string()).await;
    }
    assert!(!app.signal(Signal::KILL).success());
    let app = App::start(folder.path(), &[]);
    for links in &runs {
        let ended = app.ended(id(links)).await;
        assert_eq!(ended["runtimeStatus"], "Completed");
        assert_eq!(ended["output"][1]["result"], "processed", "{ended}");
        assert_eq!(ended["output"][1]["data"], answer_to(links));
    }
}

#[test]
fn a_setting_that_cannot_be_used_ends_the_start() {
    let folder = folder();
    let ended = command(folder.path(), &[("VIDEO_LANGUAGE", "fr")]).output().unwrap();
    assert!(!ended.status.success());
    assert_eq!(
        String::from_utf8(ended.stderr).unwrap().lines().last(),
        Some(
            r#"{"event":"error","message":"the setting VIDEO_LANGUAGE is `fr`; write `uk` or `en`"}"#
        )
    );
}

#[tokio::test]
#[ignore = "needs azurite"]
async fn the_same_works_with_azurite() {
    let connection =
        std::env::var("EVERSTEP_AZURITE").expect("EVERSTEP_AZURITE is to hold a connection string");
    let folder = folder();
    let app = App::start(folder.path(), &[("AzureWebJobsStorage", connection.as_str())]);
    let links = app.start_run(VIDEO).await;
    loop {
        let message = app.next(REQUESTS).await;
        let request: Value = serde_json::from_str(&message.text).unwrap();
        app.queues.delete(REQUESTS, &message.id, &message.receipt).await.unwrap();
        // Earlier runs may have left theirs.
        if request["instance_id"] == links["id"] {
            break;
        }
    }
    app.answer(&BASE64.encode(answer_to(&links).to_string())).await;
    assert_eq!(app.ended(id(&links)).await["output"][1]["result"], "processed");
}
