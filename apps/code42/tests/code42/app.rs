//! The app in a process of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use code42::stand_in::StandIn;
use flate2::{Compression, write::GzEncoder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// An app's folder.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

/// The app, running; killed when dropped.
pub(crate) struct App {
    child: Child,
    pub(crate) url: String,
}

impl Folder {
    /// With the app's own host.json and nothing set but a schedule that does not come.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("host.json");
        fs::copy(host, folder.path().join("host.json")).unwrap();
        Self { folder, settings: Vec::new() }.with("C42_SCHEDULE", "0 0 0 1 1 *")
    }

    /// Everything at a stand-in.
    pub(crate) fn of(stand_in: &StandIn) -> Self {
        let settings = stand_in.settings();
        settings.into_iter().fold(Self::new(), |folder, (name, value)| folder.with(name, value))
    }

    /// With a setting, in place of an earlier one of that name.
    #[expect(clippy::needless_pass_by_value, reason = "tests write values as they are")]
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_code42"));
        command.env_remove("EVERSTEP_DATA");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn start(&self) -> App {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path().join("log"));
        let mut child = self
            .command()
            .args(["--json", "--port", "0", "--script-root"])
            .arg(self.path())
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready", "{line}");
        App { child, url: ready["url"].as_str().unwrap().to_owned() }
    }

    /// What a start says that goes wrong.
    pub(crate) fn refusal(&self) -> String {
        let started =
            self.command().args(["--port", "0", "--script-root"]).arg(self.path()).output();
        let output = started.unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// What all starts have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }

    /// The files below the folder that have this text in them, the log included.
    pub(crate) fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let has = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(text);
        files(self.path()).into_iter().filter(|path| has(path)).collect()
    }

    /// Files with records that lie in the spool.
    pub(crate) fn spooled(&self) -> usize {
        files(self.path()).iter().filter(|path| path.parent().unwrap().ends_with("records")).count()
    }
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder { &mut open } else { &mut found }.push(entry.path());
        }
    }
    found
}

impl App {
    pub(crate) async fn get(&self, path: &str) -> Value {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        let sent = reqwest::Client::new().post(format!("{}{path}", self.url)).send().await.unwrap();
        let status = sent.status().as_u16();
        (status, sent.json().await.unwrap())
    }

    /// Starts a run.
    pub(crate) async fn start_run(&self) {
        let (status, body) = self.post("/api/code42/run").await;
        assert_eq!(status, 202, "{body}");
    }

    /// The run's instance once it has ended.
    pub(crate) async fn ended(&self) -> Value {
        loop {
            let path = "/runtime/webhooks/durabletask/instances/code42?wait=60s";
            let view = self.get(path).await;
            let status = view["runtimeStatus"].as_str().unwrap_or_default();
            if !["Pending", "Running", "ContinuedAsNew"].contains(&status) {
                return view;
            }
        }
    }

    /// Waits for something that happens before the run ends.
    pub(crate) async fn at_work_until(&self, happens: impl Future<Output = ()>) {
        tokio::select! {
            () = happens => {}
            view = self.ended() => panic!("the run ended before: {view}"),
        }
    }

    /// The output of the run that is at work.
    pub(crate) async fn output(&self) -> Value {
        let view = self.ended().await;
        assert_eq!(view["runtimeStatus"], "Completed", "{view}");
        view["output"].clone()
    }

    /// Runs once; gives the output.
    pub(crate) async fn run(&self) -> Value {
        self.start_run().await;
        self.output().await
    }

    pub(crate) async fn quarantine(&self) -> Vec<Value> {
        self.get("/api/code42/quarantine").await["entries"].as_array().unwrap().clone()
    }

    pub(crate) fn kill(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }

    /// The most memory that it had, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// So many lines `{"n":…}` from a number on, compressed.
pub(crate) fn lines(from: u32, count: u32) -> Vec<u8> {
    let lines = (from..from + count).map(|number| format!("{{\"n\":{number}}}\n"));
    gzip(&lines.collect::<String>())
}

/// The numbers of the rows that arrived, in order.
pub(crate) fn numbers(stand_in: &StandIn) -> Vec<u64> {
    let number = |row: &serde_json::Map<String, Value>| {
        let data: Value = serde_json::from_str(row["Raw_Data"].as_str().unwrap()).unwrap();
        data["n"].as_u64().unwrap()
    };
    let mut numbers: Vec<u64> = stand_in.rows().iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}
