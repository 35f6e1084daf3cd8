//! The app as a process: what its README says, and what survives a kill.

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

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The app in a process of its own; killed when dropped.
struct App {
    child: Child,
    url: String,
}

impl App {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hello"))
            .args(["--json", "--port", "0", "--script-root"])
            .arg(folder)
            .env("ENV", "a test")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready", "{line}");
        let url = ready["url"].as_str().unwrap().to_owned();
        Self { child, url }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        reqwest::get(url).await.unwrap()
    }

    /// Asks for an instance until it has ended.
    async fn ended(&self, id: &str) -> Value {
        let path = format!("/runtime/webhooks/durabletask/instances/{id}?wait=60s");
        self.get(&path).await.json().await.unwrap()
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
async fn an_orchestration_is_started_by_its_route_and_says_where_it_runs() {
    let folder = folder();
    let mut app = App::start(folder.path());
    let started = app.get("/api/orchestrators/hello_orchestrator").await;
    assert_eq!(started.status(), 202);
    assert!(started.headers().contains_key("location"));
    assert_eq!(started.headers()["retry-after"], "10");
    let links: Value = started.json().await.unwrap();
    let id = links["id"].as_str().unwrap();
    assert!(links["rewindPostUri"].is_string(), "{links}");
    let ended = app.ended(id).await;
    assert_eq!(ended["runtimeStatus"], "Completed");
    let output = ended["output"].as_str().unwrap();
    assert!(output.ends_with("architecture in a test enviroment"), "{output}");
    let status = app.get(links["statusQueryGetUri"].as_str().unwrap()).await;
    assert_eq!(status.status(), 200);
    assert!(app.signal(Signal::TERM).success());
}

/// Where the links of a run lead that is asked for under a host of its own.
async fn links_lead_to(app: &App) -> String {
    let url = format!("{}/api/orchestrators/hello_orchestrator", app.url);
    let request = reqwest::Client::new().get(url).header("host", "hello.example:8081");
    let links: Value = request.send().await.unwrap().json().await.unwrap();
    let status = links["statusQueryGetUri"].as_str().unwrap();
    status.split("/runtime").next().unwrap().to_owned()
}

#[tokio::test]
async fn links_lead_to_where_the_setting_says_or_to_where_the_request_went() {
    let folder = folder();
    let settings = [("WEBSITE_HOSTNAME", "host.docker.internal:8080")];
    let mut app = App::start_with(folder.path(), &settings);
    assert_eq!(links_lead_to(&app).await, "http://host.docker.internal:8080");
    app.signal(Signal::TERM);
    let app = App::start(folder.path());
    assert_eq!(links_lead_to(&app).await, "http://hello.example:8081");
}

#[test]
fn the_program_tells_whether_another_one_of_it_is_well() {
    let health = |url: &str| {
        let ended =
            Command::new(env!("CARGO_BIN_EXE_hello")).args(["--health", url]).output().unwrap();
        (ended.status.success(), String::from_utf8(ended.stderr).unwrap())
    };
    let folder = folder();
    let mut app = App::start(folder.path());
    let well = "{\"reasons\":[],\"status\":\"ready\"}\n".to_owned();
    assert_eq!(health(&app.url), (true, well));
    app.signal(Signal::KILL);
    let (is_well, said) = health(&app.url);
    assert!(!is_well);
    assert!(
        said.starts_with(&format!("error: {}/health/ready does not answer: ", app.url)),
        "{said}"
    );
}

#[tokio::test]
async fn an_orchestration_that_is_not_there_is_refused_with_the_names_of_those_that_are() {
    let folder = folder();
    let app = App::start(folder.path());
    let refused = app.get("/api/orchestrators/goodbye").await;
    assert_eq!(refused.status(), 404);
    assert_eq!(
        refused.text().await.unwrap(),
        r#"{"Message":"there is no orchestrator `goodbye`; the one there is: hello_orchestrator"}"#
    );
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_completes_after_it() {
    let folder = folder();
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let mut app = App::start(folder.path());
        for _ in 0..20 {
            let started = app.get("/api/orchestrators/hello_orchestrator").await;
            let links: Value = started.json().await.unwrap();
            acknowledged.push(links["id"].as_str().unwrap().to_owned());
        }
        assert!(!app.signal(Signal::KILL).success());
    }
    let app = App::start(folder.path());
    for id in &acknowledged {
        assert_eq!(app.ended(id).await["runtimeStatus"], "Completed", "{id}");
    }
}

#[test]
fn a_second_host_of_the_same_folder_is_told_who_has_it() {
    let folder = folder();
    let app = App::start(folder.path());
    let second = Command::new(env!("CARGO_BIN_EXE_hello"))
        .args(["--port", "0", "--script-root"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    let expected = format!(
        "error: process {} runs this app's hub at {}; stop it, or ask it with --url",
        app.child.id(),
        app.url
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_port_in_use_is_told_with_who_has_it() {
    let folder = folder();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = Command::new(env!("CARGO_BIN_EXE_hello"))
        .args(["--port", &port, "--script-root"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains(&format!(
            "error: Port {port} is unavailable. Close the process using that port"
        )),
        "{said}"
    );
    assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
}
