//! The app in a process of its own, and the rows that it leaves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// An app's folder.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
}

/// The app, running; killed when dropped.
pub(crate) struct App {
    child: Child,
    pub(crate) url: String,
}

impl Folder {
    /// With the app's own host.json and these settings.
    pub(crate) fn new(settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("host.json");
        fs::copy(host, folder.path().join("host.json")).unwrap();
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self { folder, settings: settings.collect() }
    }

    pub(crate) fn with(mut self, settings: Vec<(&'static str, String)>) -> Self {
        self.settings.extend(settings);
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inventory"));
        command.env_remove("EVERSTEP_DATA");
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        command
    }

    pub(crate) fn start(&self) -> App {
        let mut child = self
            .command()
            .args(["--json", "--port", "0", "--script-root"])
            .arg(self.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
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
        let output = self
            .command()
            .args(["--port", "0", "--script-root"])
            .arg(self.path())
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// A sub-command, to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let (first, rest) = words.split_first().unwrap();
        self.command().arg(first).arg("--script-root").arg(self.path()).args(rest).output().unwrap()
    }

    /// A sub-command that goes on.
    pub(crate) fn spawn(&self, words: &[&str]) -> Child {
        let (first, rest) = words.split_first().unwrap();
        let mut command = self.command();
        command.arg(first).arg("--script-root").arg(self.path()).args(rest);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path().join(".everstep/fileinventory/inventory.db")
    }

    /// Share, path, size, hash of all rows, in order.
    pub(crate) fn rows(&self) -> Vec<(String, String, u64, String)> {
        let db = Connection::open(self.spool()).unwrap();
        let sql = "SELECT FileShare, FilePath, FileSizeBytes, FileHash FROM FileInventory_CL ORDER BY 1, 2";
        let mut rows = db.prepare(sql).unwrap();
        let rows =
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// One column of all rows, in the order of the paths.
    pub(crate) fn column(&self, name: &str) -> Vec<Value> {
        let db = Connection::open(self.spool()).unwrap();
        let sql = format!("SELECT {name} FROM FileInventory_CL ORDER BY FilePath");
        let mut rows = db.prepare(&sql).unwrap();
        let rows = rows.query_map([], |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => json!(number),
                rusqlite::types::ValueRef::Real(number) => json!(number),
                rusqlite::types::ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
                _ => Value::Null,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The files below the app's folder that have this text in them.
    pub(crate) fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                    continue;
                }
                let mut bytes = Vec::new();
                fs::File::open(entry.path()).unwrap().read_to_end(&mut bytes).unwrap();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

impl App {
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let client = reqwest::Client::new();
        client.post(format!("{}{path}", self.url)).body(body.to_string()).send().await.unwrap()
    }

    /// Starts a scan; gives its id.
    pub(crate) async fn scan(&self, body: &Value) -> String {
        let started = self.post("/api/start-scan", body).await;
        assert_eq!(started.status(), 202);
        let started: Value = started.json().await.unwrap();
        started["executionId"].as_str().unwrap().to_owned()
    }

    /// Asks for an instance until it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        let path = format!("/runtime/webhooks/durabletask/instances/{id}?wait=60s");
        self.json(&path).await
    }

    /// The output of a scan that has ended.
    pub(crate) async fn output(&self, id: &str) -> Value {
        let ended = self.ended(id).await;
        assert_eq!(ended["runtimeStatus"], "Completed", "{ended}");
        ended["output"].clone()
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> std::process::ExitStatus {
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
