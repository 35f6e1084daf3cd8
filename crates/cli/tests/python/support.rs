//! A host as a process of its own over a copy of an app, and what can be asked of it.
//!
//! S1  Tests that run at the same time share the hosts of [`each`]; a host ends with the last of them. Instances have
//!     ids of their own, so that tests do not see each other's.
//! S2  Nothing sleeps here: the API waits, or a line of what the host says is waited for.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use reqwest::Method;
use serde_json::{Value, json};

/// Where the management API is.
const API: &str = "/runtime/webhooks/durabletask";

/// An environment with the packages of one version.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) version: String,
    pub(crate) folder: PathBuf,
}

/// All environments.
pub(crate) fn environments() -> Vec<Environment> {
    let folders = env::var_os("EVERSTEP_PYTHON_ENVIRONMENTS")
        .expect("`cargo xtask test python` makes the environments and names them");
    let environment = |folder: PathBuf| Environment {
        version: folder.file_name().unwrap().to_str().unwrap().to_owned(),
        folder,
    };
    env::split_paths(&folders).map(environment).collect()
}

/// The environment of the newest SDK.
pub(crate) fn newest() -> Environment {
    environments().pop().expect("there is an environment")
}

/// Runs a check of the large app with each SDK, on hosts that other tests may use as well.
pub(crate) async fn each(check: impl AsyncFn(&App)) {
    for environment in environments() {
        let app = shared(&environment);
        println!("with azure-functions-durable {}", environment.version);
        check(&app).await;
    }
}

/// The same with hosts of its own.
pub(crate) async fn each_alone(check: impl AsyncFn(&mut App)) {
    for environment in environments() {
        println!("with azure-functions-durable {}", environment.version);
        check(&mut Setup::of("v2").start(&environment)).await;
    }
}

fn shared(environment: &Environment) -> Arc<App> {
    static SHARED: Mutex<Option<HashMap<String, Weak<App>>>> = Mutex::new(None);
    let mut hosts = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let hosts = hosts.get_or_insert_default();
    if let Some(app) = hosts.get(&environment.version).and_then(Weak::upgrade) {
        return app;
    }
    let app = Arc::new(Setup::of("v2").start(environment));
    hosts.insert(environment.version.clone(), Arc::downgrade(&app));
    app
}

/// A folder that becomes an app.
pub(crate) struct Setup {
    pub(crate) folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
}

impl Setup {
    /// A copy of one of the apps.
    pub(crate) fn of(name: &str) -> Self {
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/tests/apps");
        let setup = Self::empty();
        copy(&apps.join(name), setup.folder.path());
        setup
    }

    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), settings: Vec::new(), flags: Vec::new() }
    }

    pub(crate) fn setting(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.settings.push((name, value.into()));
    }

    /// With more flags of `start`.
    pub(crate) fn flags(mut self, flags: &[&'static str]) -> Self {
        self.flags.extend(flags);
        self
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Changes a text in a file, all at once; gives the line, counted from 1, that begins with it.
    pub(crate) fn change(&self, name: &str, former: &str, new: &str) -> usize {
        let path = self.folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let (before, _) = text.split_once(former).expect("the text is there");
        let line = before.matches('\n').count() + 1;
        let fresh = path.with_extension("new");
        fs::write(&fresh, text.replacen(former, new, 1)).unwrap();
        fs::rename(fresh, path).unwrap();
        line
    }

    pub(crate) fn start(self, environment: &Environment) -> App {
        let mut app = App {
            environment: environment.clone(),
            url: String::new(),
            host: None,
            said: Arc::default(),
            log: Arc::default(),
            client: reqwest::Client::new(),
            counter: AtomicU64::new(0),
            setup: self,
        };
        app.begin();
        app
    }

    fn command(&self, environment: Option<&Environment>) -> Command {
        let mut command = self.everstep(environment);
        command
            .args(["start", "--json", "--port", "0"])
            .args(&self.flags)
            .arg(self.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn everstep(&self, environment: Option<&Environment>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_everstep"));
        command
            .env_remove("VIRTUAL_ENV")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if let Some(environment) = environment {
            command.env("VIRTUAL_ENV", &environment.folder);
        }
        command
    }

    /// What a host says that does not start.
    pub(crate) fn refused(&self, environment: Option<&Environment>) -> String {
        let output = self.command(environment).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it started: {said}");
        self.plain(&said)
    }

    /// Without what differs from run to run.
    pub(crate) fn plain(&self, text: &str) -> String {
        let folder = self.folder.path();
        let text = text.replace(folder.canonicalize().unwrap().to_str().unwrap(), "APP");
        text.replace(folder.to_str().unwrap(), "APP")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true if path.file_name().unwrap() == "__pycache__" => {}
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// An app that is served.
pub(crate) struct App {
    environment: Environment,
    pub(crate) setup: Setup,
    pub(crate) url: String,
    host: Option<Child>,
    said: Arc<Lines>,
    log: Arc<Lines>,
    client: reqwest::Client,
    counter: AtomicU64,
}

/// What processes say, line by line, and how many of them may say more.
#[derive(Default)]
struct Lines {
    lines: Mutex<(Vec<String>, usize)>,
    changed: Condvar,
}

impl Lines {
    /// Takes over what comes from a pipe, so that nobody finds it full.
    fn follow(self: Arc<Self>, pipe: impl std::io::Read + Send + 'static) {
        self.lines.lock().unwrap().1 += 1;
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                self.lines.lock().unwrap().0.push(line);
                self.changed.notify_all();
            }
            self.lines.lock().unwrap().1 -= 1;
            self.changed.notify_all();
        });
    }

    fn count(&self) -> usize {
        self.lines.lock().unwrap().0.len()
    }

    /// The first line from a place on that has these words; waits for it. `None` if it does not come any more.
    fn find(&self, from: usize, words: &str) -> Option<String> {
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0.iter().skip(from).find(|line| line.contains(words)) {
                return Some(line.clone());
            }
            if lines.1 == 0 {
                return None;
            }
            lines = self.changed.wait(lines).unwrap();
        }
    }
}

/// How a command of ours ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// An answer of the host.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl App {
    /// Starts the host, also again after [`Self::kill`].
    pub(crate) fn begin(&mut self) {
        let mut host = self.setup.command(Some(&self.environment)).spawn().unwrap();
        let before = self.said.count();
        self.log.clone().follow(host.stderr.take().unwrap());
        self.said.clone().follow(host.stdout.take().unwrap());
        self.host = Some(host);
        self.is_ready(before);
    }

    /// Waits until a host is ready and takes its address; what was said before this place counts for nothing.
    fn is_ready(&mut self, from: usize) {
        let line = self.said.find(from, "\"url\"");
        let line =
            line.unwrap_or_else(|| panic!("not ready: {:#?}", self.log.lines.lock().unwrap().0));
        let ready: Value = serde_json::from_str(&line).unwrap();
        ready["url"].as_str().unwrap().clone_into(&mut self.url);
    }

    /// Changes a file under `--watch` and waits for the host that starts with it.
    pub(crate) fn swap(&mut self, name: &str, former: &str, new: &str) {
        let before = self.said.count();
        self.setup.change(name, former, new);
        self.is_ready(before);
    }

    /// Ends the host as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut host) = self.host.take() {
            // It may have ended already.
            drop(host.kill());
            host.wait().unwrap();
        }
    }

    /// Ends the host as an operator would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut host) = self.host.take() {
            let ended = Command::new("kill").arg("-TERM").arg(host.id().to_string()).status();
            assert!(ended.unwrap().success());
            host.wait().unwrap();
        }
    }

    /// Runs a command of ours beside the host; `--url` is the caller's to give.
    pub(crate) fn everstep(&self, arguments: &[&str]) -> Ended {
        let output = self.setup.everstep(Some(&self.environment)).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| self.setup.plain(&String::from_utf8_lossy(bytes));
        let code = output.status.code().expect("it was not killed");
        Ended { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Whether the SDK is this version or a later one.
    pub(crate) fn has_sdk(&self, least: [u32; 2]) -> bool {
        let version = self.environment.version.split('.').map(|part| part.parse::<u32>().unwrap());
        version.take(2).ge(least)
    }

    /// The processes of Python.
    pub(crate) fn workers(&self) -> Vec<u32> {
        children(self.host.as_ref().expect("it runs").id())
    }

    /// Ends all processes of Python as a crash would.
    pub(crate) fn kill_workers(&self) {
        let workers = self.workers();
        assert!(!workers.is_empty());
        let workers = workers.iter().map(u32::to_string);
        assert!(Command::new("kill").arg("-9").args(workers).status().unwrap().success());
    }

    /// The first line of the log that has these words; waits for it.
    pub(crate) fn logged(&self, words: &str) -> String {
        self.log.find(0, words).unwrap_or_else(|| panic!("the host ended without saying `{words}`"))
    }

    /// How many lines of the log have these words.
    pub(crate) fn times_logged(&self, words: &str) -> usize {
        self.log.lines.lock().unwrap().0.iter().filter(|line| line.contains(words)).count()
    }

    /// A name that no other test uses.
    pub(crate) fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// A path below the app's folder that no other test uses.
    pub(crate) fn path(&self, name: &str) -> String {
        self.setup.folder.path().join(self.unique(name)).to_str().unwrap().to_owned()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| ("application/json", body.to_string()));
        self.send_text(method, path, body).await
    }

    pub(crate) async fn send_text(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Answer {
        let mut request = self.request(method, path);
        if let Some((kind, text)) = body {
            request = request.header("Content-Type", kind).body(text);
        }
        self.answer(request).await
    }

    /// A request that is not sent yet.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// A request of the management API.
    pub(crate) async fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.send(method, &format!("{API}/{path}"), body).await
    }

    /// Starts an orchestration through the app's own client; gives its id.
    pub(crate) async fn begin_one(&self, name: &str, input: Value) -> String {
        let id = self.unique(name);
        let answer = self.send("POST", &format!("/api/start/{name}?id={id}"), Some(&input)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        id
    }

    /// Starts one without the app, whose processes are about to end: they would take the request with them.
    pub(crate) async fn begin_raw(&self, name: &str, input: Value) -> String {
        let id = self.unique(name);
        let path = format!("orchestrators/{name}/{id}");
        assert_eq!(self.api("POST", &path, Some(&input)).await.status, 202);
        id
    }

    /// The status of an instance once it has ended.
    pub(crate) async fn end(&self, id: &str) -> Value {
        loop {
            let answer = self.api("GET", &format!("instances/{id}?wait=60s"), None).await;
            if answer.status != 202 {
                assert_eq!(answer.status, 200, "{answer:?}");
                return answer.json();
            }
        }
    }

    pub(crate) async fn status(&self, id: &str) -> Value {
        self.api("GET", &format!("instances/{id}"), None).await.json()
    }

    /// The output of an instance that completes.
    pub(crate) async fn output(&self, id: &str) -> Value {
        let mut status = self.end(id).await;
        assert_eq!(status["runtimeStatus"], "Completed", "{status}");
        status["output"].take()
    }

    /// The output of a new instance.
    pub(crate) async fn run(&self, name: &str, input: Value) -> Value {
        self.output(&self.begin_one(name, input).await).await
    }

    /// Why a new instance fails.
    pub(crate) async fn failure(&self, name: &str, input: Value) -> String {
        let status = self.end(&self.begin_one(name, input).await).await;
        assert_eq!(status["runtimeStatus"], "Failed", "{status}");
        status["output"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn raise(&self, id: &str, event: &str, data: Value) {
        let path = format!("instances/{id}/raiseEvent/{event}");
        assert_eq!(self.api("POST", &path, Some(&data)).await.status, 202);
    }

    /// What a call of the app's client gives or raises.
    pub(crate) async fn client(&self, call: &str, id: &str, arguments: Value) -> Value {
        let path = format!("/api/client/{call}/{id}");
        let answer = self.send("POST", path.trim_end_matches('/'), Some(&arguments)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The state of a counter, `None` if there is none.
    pub(crate) async fn counter(&self, key: &str) -> Option<Value> {
        let answer = self.api("GET", &format!("entities/counter/{key}"), None).await;
        (answer.status == 200).then(|| answer.json())
    }

    /// Waits until an instance's status is as wanted.
    pub(crate) async fn until(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let status = self.api("GET", &format!("instances/{id}?wait=50ms"), None).await.json();
            if is(&status) {
                return status;
            }
        }
    }

    /// Waits until there is such an instance.
    pub(crate) async fn until_there(&self, id: &str) {
        while self.api("GET", &format!("instances/{id}?wait=50ms"), None).await.status == 404 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until an instance's history has these words.
    pub(crate) async fn until_history(&self, id: &str, words: &str) {
        let path = format!("instances/{id}/history");
        while !self.api("GET", &path, None).await.text.contains(words) {
            self.until(id, |_| true).await;
        }
    }

    /// Waits until a file is there; an instance that goes on is asked meanwhile.
    pub(crate) async fn until_file(&self, path: &str, id: &str) {
        while !Path::new(path).exists() {
            self.until(id, |_| true).await;
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // One that looks after another ends it only if it is asked.
        if self.setup.flags.contains(&"--watch") { self.stop() } else { self.kill() }
    }
}

/// The children of a process.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let output =
        Command::new("ps").args(["-o", "pid=", "--ppid", &process.to_string()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// What a file holds, as its length: activities of the app leave one byte for each run.
pub(crate) fn runs(path: &str) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.len())
}

/// `[]`, for calls without arguments.
pub(crate) fn none() -> Value {
    json!([])
}
