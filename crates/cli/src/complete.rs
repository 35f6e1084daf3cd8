//! What a shell is offered when somebody presses tab: commands and flags by clap, instance ids by the hub.
//!
//! K1  Completion never says anything but candidates, and gives up after a moment: a shell waits for it.

use std::{ffi::OsStr, io::Write as _, time::Duration};

use clap::CommandFactory as _;
use clap_complete::{
    CompletionCandidate,
    env::{Bash, EnvCompleter, Fish, Powershell, Zsh},
};
use http::Method;
use serde_json::Value;

use crate::{
    args::{Cli, Connect, Shell},
    client::{Api, Call},
    door,
    fault::Fault,
};

/// The variable that a script sets when it asks for candidates.
const VARIABLE: &str = "COMPLETE";
/// How long a shell waits for ids.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How many ids are offered.
const IDS_MAX: u32 = 50;

/// Answers a shell that asks for candidates, and ends; otherwise does nothing.
pub(crate) fn answer_shell() {
    clap_complete::CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// The script that makes a shell ask.
pub(crate) fn script(shell: Shell) -> Result<String, Fault> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
    };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "everstep", "everstep", "everstep", &mut script)?;
    script.flush()?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// The ids that begin with what is written.
pub(crate) fn instance_ids(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(prefix) = current.to_str() else { return Vec::new() };
    let words: Vec<String> = std::env::args().collect();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let found = runtime.block_on(async {
        let api = door::connect(&connect_of(&words)).ok()?;
        tokio::time::timeout(PATIENCE, ids(&api, prefix)).await.ok()?.ok()
    });
    let candidates = found.unwrap_or_default().into_iter();
    candidates.map(|(id, about)| CompletionCandidate::new(id).help(Some(about.into()))).collect()
}

async fn ids(api: &Api, prefix: &str) -> Result<Vec<(String, String)>, Fault> {
    let call = Call::durable(Method::GET, "instances")
        .query("instanceIdPrefix", prefix)
        .query("showInput", "false")
        .query("orderBy", "created")
        .query("desc", "true")
        .query("top", IDS_MAX.to_string());
    let page = api.get(call).await?.json()?;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = page.as_array().cloned().unwrap_or_default();
    let about = |row: &Value| format!("{} {}", text(row, "name"), text(row, "runtimeStatus"));
    Ok(rows.iter().map(|row| (text(row, "instanceId"), about(row))).collect())
}

/// Where the hub is, by the words of the line that is being completed; it need not be a whole command.
fn connect_of(words: &[String]) -> Connect {
    let value = |names: &[&str]| {
        let found = words.iter().enumerate().find_map(|(at, word)| {
            let name = names.iter().find(|name| word.starts_with(**name))?;
            match word[name.len()..].strip_prefix('=') {
                Some(value) => Some(value.to_owned()),
                None => words.get(at + 1).filter(|_| word == name).cloned(),
            }
        });
        found.filter(|value| !value.is_empty())
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Connect {
        url: value(&["--url"]).or_else(|| variable("EVERSTEP_URL")),
        key: value(&["--key"]).or_else(|| variable("EVERSTEP_KEY")),
        app: value(&["--app", "--script-root", "--prefix"]).unwrap_or_else(|| ".".into()).into(),
        data: value(&["--data"]).or_else(|| variable("EVERSTEP_DATA")).map(Into::into),
        task_hub_name: value(&["--task-hub-name", "--hub"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Life, testing::FakeHost};

    #[test]
    fn the_line_that_is_completed_says_where_the_hub_is() {
        let words = ["everstep", "--", "everstep", "show", "--app=shop", "--hub", "Test", ""];
        let connect = connect_of(&words.map(str::to_owned));
        assert_eq!(connect.app, std::path::Path::new("shop"));
        assert_eq!(connect.task_hub_name.as_deref(), Some("Test"));
    }

    #[tokio::test]
    async fn ids_are_offered_with_what_they_are() {
        let page = r#"[{"instanceId":"order-7","name":"order","runtimeStatus":"Running"}]"#;
        let host = FakeHost::new().on("GET instances?", 200, page);
        let api = Api::in_process(host.router(), Life::Live);
        let found = ids(&api, "ord").await.unwrap();
        assert_eq!(found, [("order-7".to_owned(), "order Running".to_owned())]);
        assert_eq!(
            host.asked(),
            "GET instances?instanceIdPrefix=ord&showInput=false&orderBy=created&desc=true&top=50"
        );
    }

    #[test]
    fn every_shell_has_a_script_that_asks_the_binary() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Powershell] {
            let script = script(shell).unwrap();
            assert!(script.contains("everstep") && script.contains(VARIABLE), "{script}");
        }
    }
}
