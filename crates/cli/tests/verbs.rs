//! Every verb against a host that runs, from outside: what is printed and how it ends, ids and times replaced.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; what is unwrapped is what the test is about"
)]

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use regex::Regex;

/// The app of `examples/shop.rs` in a folder of its own, and what was said to it.
struct Shop {
    host: Option<Child>,
    folder: tempfile::TempDir,
    said: String,
}

impl Shop {
    fn open(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("host.json"), r#"{"version": "2.0"}"#).unwrap();
        let mut shop = Self { host: None, folder, said: String::new() };
        shop.start(arguments);
        shop
    }

    fn start(&mut self, arguments: &[&str]) {
        let mut host = Command::new(example())
            .args(["--json", "--port", "0", "--script-root"])
            .arg(self.folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"event\":\"ready\""), "{line}");
        self.host = Some(host);
    }

    /// Ends the host as a crash would.
    fn kill(&mut self) {
        if let Some(mut host) = self.host.take() {
            host.kill().unwrap();
            host.wait().unwrap();
        }
    }

    fn run(&self, line: &str) -> Output {
        let words = line.split_whitespace().map(|word| word.replace('_', " ").replace('^', "_"));
        Command::new(env!("CARGO_BIN_EXE_everstep"))
            .args(words)
            .current_dir(self.folder.path())
            .env_remove("EVERSTEP_URL")
            .env_remove("EVERSTEP_KEY")
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    }

    /// Runs a command and notes what comes of it. `_` in a word is a blank, `^` is `_`.
    fn say(&mut self, line: &str) -> String {
        let output = self.run(line);
        let text = |bytes: Vec<u8>| self.plain(&String::from_utf8(bytes).unwrap());
        let (out, err) = (text(output.stdout), text(output.stderr));
        let code = output.status.code().unwrap();
        writeln!(self.said, "$ everstep {}", line.replace('_', " ").replace('^', "_")).unwrap();
        self.said += &out;
        for line in err.lines() {
            writeln!(self.said, "! {line}").unwrap();
        }
        if code != 0 {
            writeln!(self.said, "exit {code}").unwrap();
        }
        self.said.push('\n');
        out
    }

    /// Runs a command until it prints this; notes nothing.
    fn until(&self, line: &str, text: &str) {
        loop {
            let output = self.run(line);
            if String::from_utf8(output.stdout).unwrap().contains(text) {
                return;
            }
        }
    }

    /// Without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let folder = self.folder.path().canonicalize().unwrap();
        let text = text.replace(folder.to_str().unwrap(), "APP");
        let text = text.replace(self.folder.path().to_str().unwrap(), "APP");
        [
            (r"[0-9a-f]{64}", "HASH"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "GUID"),
            (r"[0-9a-f]{32}", "ID"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "TIME"),
            (r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", "TIME"),
            (r"'o[0-9a-f]+-[0-9a-f]+'", "TOKEN"),
            (r"\b\d+(\.\d+)? ?(ms|us|µs|s)\b", "SPAN"),
            (r"\+ *[0-9.]+ *SPAN", "SPAN"),
            (r"localhost:\d+", "HOST"),
            (r"pid \d+", "pid PID"),
            (r"[A-Za-z0-9_-]{40,}={0,2}", "KEY"),
            ("\"(logBytes|tablesBytes)\":\\d+", "\"$1\":BYTES"),
            ("\"groups\":\\[[0-9,]*\\]", "\"groups\":GROUPS"),
        ]
        .iter()
        .fold(text, |text, (pattern, name)| {
            Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned()
        })
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The app that cargo builds beside the tests.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built: &Path = tests.parent().and_then(Path::parent).unwrap();
    built.join("examples").join("shop")
}

#[test]
fn instances_are_started_looked_at_and_steered() {
    let mut shop = Shop::open(&[]);
    shop.say("ls");
    shop.say("run order --id order-1 --input 42 --wait");
    shop.say("run order --id order-1 --input 42");
    shop.say("run order --id order-1 --input {");
    shop.say("run nothing");
    shop.say("run order --id order-2 --input 0 --wait");
    shop.say("ls --name order --order created --asc");
    shop.say("ls --status failed -o ids");
    shop.say("show order-1");
    shop.say("show order-2 -o json --time iso");
    shop.say("show nobody");
    shop.say("history order-1");
    shop.say("trace order-1");
    shop.say("logs order-2");
    shop.say("wait order-2");
    shop.say("rewind order-2 --yes");
    shop.say("wait order-2");
    shop.say("restart order-1 --same-id");
    shop.say("wait order-1");
    shop.say("counts -o csv");
    insta::assert_snapshot!(shop.said);
}

#[test]
fn what_waits_is_told_raised_held_and_ended() {
    let mut shop = Shop::open(&[]);
    shop.say("run approval --id a-1");
    shop.until("show a-1", "asking");
    shop.say("why a-1");
    shop.say("suspend a-1 --reason the_shop_is_closed");
    shop.until("show a-1", "Suspended");
    shop.say("why a-1");
    shop.say("suspend a-1");
    shop.say("resume a-1");
    shop.until("show a-1", "Running");
    shop.say("raise a-1 Approve --input true");
    shop.say("wait a-1");
    shop.say("raise a-1 Approve --input true");
    shop.say("run approval --id a-2");
    shop.say("unpark a-2");
    shop.say("terminate a-2 --reason not_wanted --yes");
    shop.say("wait a-2");
    shop.say("run approval --id a-3");
    shop.say("terminate --name approval --status running,pending --dry-run");
    shop.say("terminate --name approval --status running,pending --yes");
    shop.say("wait a-3");
    shop.say("signal counter/a add --input 5");
    shop.until("ls --kind entity --id-prefix @counter@a", "@counter@a");
    shop.say("ls --kind entity -o ids");
    shop.say("signal nobody/a add");
    shop.say("purge a-1 --yes");
    shop.say("show a-1");
    shop.say("purge --all --status terminated --yes");
    shop.say("sql select_name,_count(*)_as_n_from_instances_group_by_name");
    shop.say("sql select_a_from_instances");
    insta::assert_snapshot!(shop.said);
}

#[test]
fn a_hub_is_kept_copied_and_looked_at() {
    let mut shop = Shop::open(&[]);
    shop.say("run order --id order-1 --input 42 --wait -o jsonl");
    let exported = shop.run("export order-1").stdout;
    std::fs::write(shop.folder.path().join("order-1.json"), exported).unwrap();
    shop.say("trace --file order-1.json");
    shop.say("keys list");
    shop.say("keys set partner --value secret");
    shop.say("keys delete partner");
    shop.say("keys delete partner");
    shop.say("backup copy");
    shop.say("backup copy");
    shop.say("run approval --id a-1");
    shop.until("show a-1", "asking");
    shop.kill();
    shop.say("ls -o ids");
    shop.say("show order-1");
    shop.say("raise a-1 Approve");
    shop.start(&["--hold"]);
    shop.say("why a-1");
    shop.say("release");
    shop.say("raise a-1 Approve --input true");
    shop.say("wait a-1");
    insta::assert_snapshot!(shop.said);
}

#[test]
fn what_was_exported_is_put_back_with_a_host_and_without_one() {
    let mut shop = Shop::open(&[]);
    shop.run("run order --id order-1 --input 42 --wait");
    shop.run("run order --id order-2 --input 0 --wait");
    shop.run("run approval --id a-1");
    shop.until("show a-1", "asking");
    let exported = shop.run("export order-1 order-2 a-1");
    std::fs::write(shop.folder.path().join("all.jsonl"), exported.stdout).unwrap();
    let before = shop.run("history order-1 -o jsonl").stdout;
    shop.say("import all.jsonl");
    shop.say("purge order-2 --yes");
    shop.say("import all.jsonl --dry-run --replace");
    shop.say("import all.jsonl --replace");
    shop.kill();
    shop.say("import all.jsonl --replace");
    shop.start(&["--fresh"]);
    shop.say("ls");
    shop.kill();
    shop.say("import all.jsonl");
    shop.say("show order-2");
    shop.say("import all.jsonl --hub another");
    shop.start(&[]);
    shop.say("counts -o csv");
    shop.say("trace order-1");
    assert_eq!(shop.run("history order-1 -o jsonl").stdout, before);
    insta::assert_snapshot!(shop.said);
}

#[test]
fn the_durable_verbs_of_func_answer_as_it_does() {
    let mut shop = Shop::open(&[]);
    shop.say("durable start-new --function-name order --id order-1 --input 42");
    shop.until("show order-1", "Completed");
    shop.say("durable get-runtime-status --id order-1 --show-output true");
    shop.say("durable get-runtime-status --id nobody");
    shop.say("durable get-history --id order-1");
    shop.say("durable get-instances --runtime-status completed --top 1");
    shop.say("durable start-new --function-name approval --id a-1");
    shop.say("durable raise-event --id a-1 --event-name Approve --event-data true");
    shop.until("show a-1", "Completed");
    shop.say("durable start-new --function-name approval --id a-2");
    shop.say("durable terminate --id a-2 --reason not_wanted");
    shop.say("durable start-new --function-name order --id order-2 --input 0");
    shop.until("show order-2", "Failed");
    shop.say("durable rewind --id order-2");
    shop.say("durable purge-history --created-after 2020-01-01 --runtime-status completed");
    shop.say("durable delete-task-hub --task-hub-name TestHubName");
    insta::assert_snapshot!(shop.said);
}

#[test]
fn keys_are_asked_for_where_they_are_required() {
    let mut shop = Shop::open(&["--enableAuth"]);
    shop.say("ls");
    shop.say("ls --key wrong");
    shop.say("keys list");
    insta::assert_snapshot!(shop.said);
}

#[test]
fn a_host_with_its_own_certificate_is_asked_like_another() {
    let mut shop = Shop::open(&["--useHttps"]);
    shop.say("run order --id order-1 --input 42 --wait");
    shop.say("show order-1");
    insta::assert_snapshot!(shop.said);
}
