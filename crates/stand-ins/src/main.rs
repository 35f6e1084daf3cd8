//! Serves all stand-ins on loopback until it is stopped, and prints the settings of apps that use them.

use std::{io::Write as _, process::ExitCode, time::Duration};

use everstep_stand_ins::{
    Transport,
    files::{Files, FilesOptions},
    identity::Identity,
    logs::{self, Logs, LogsOptions},
    tree::{Content, Generated, Share, Tree},
};

const USAGE: &str =
    "usage: everstep-stand-ins [--files N] [--directories N] [--latency N] [--files-port N]
                          [--logs-port N] [--identity-port N] [--tls FILE]

  --files N          how many files the directory of the share `flat` has (1000)
  --directories N    how many directories the share `nested` has (100)
  --latency N        milliseconds that each answer of the file service takes at least (0)
  --files-port N     the port of the file service; any free one without
  --logs-port N      the port of the log uploads
  --identity-port N  the port of the identity endpoint
  --tls FILE         log uploads speak TLS, and their certificate is written to the file";

struct Asked {
    files: u64,
    directories: u64,
    latency: u64,
    files_port: u16,
    logs_port: u16,
    identity_port: u16,
    certificate: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match read(std::env::args().skip(1)) {
        Ok(asked) => serve(asked).await,
        Err(problem) => Err(format!("{problem}\n\n{USAGE}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // Nobody is left to tell if even this fails.
            let _ = writeln!(std::io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked {
        files: 1_000,
        directories: 100,
        latency: 0,
        files_port: 0,
        logs_port: 0,
        identity_port: 0,
        certificate: None,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value after it"));
        match word.as_str() {
            "--files" => asked.files = number(&word, &value()?)?,
            "--directories" => asked.directories = number(&word, &value()?)?,
            "--latency" => asked.latency = number(&word, &value()?)?,
            "--files-port" => asked.files_port = number(&word, &value()?)?,
            "--logs-port" => asked.logs_port = number(&word, &value()?)?,
            "--identity-port" => asked.identity_port = number(&word, &value()?)?,
            "--tls" => asked.certificate = Some(value()?),
            _ => return Err(format!("`{word}` is not known here")),
        }
    }
    Ok(asked)
}

fn number<T: std::str::FromStr>(word: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{word}` is `{text}`; write a number that fits"))
}

async fn serve(asked: Asked) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let options = FilesOptions { port: asked.files_port, ..FilesOptions::default() };
    let files = Files::start_with(tree(&asked), options).await.map_err(said)?;
    files.faults().latency(Duration::from_millis(asked.latency));
    let transport = if asked.certificate.is_some() { Transport::Tls } else { Transport::Plain };
    let options = LogsOptions { port: asked.logs_port, transport, ..LogsOptions::default() };
    let logs = Logs::start_with(options).await.map_err(said)?;
    if let (Some(file), Some(certificate)) = (&asked.certificate, logs.certificate()) {
        std::fs::write(file, certificate).map_err(|error| format!("{file}: {error}"))?;
    }
    let identity = Identity::start_at(asked.identity_port).await.map_err(said)?;
    print(&settings(&files, &logs, &identity)).map_err(said)?;
    tokio::signal::ctrl_c().await.map_err(said)
}

/// Shares for someone who looks around.
fn tree(asked: &Asked) -> Tree {
    let odd = "a%20b #1?.txt";
    let small = Share::built()
        .file("readme.txt", "Hello.\n")
        .file("reports/2024/summary.pdf", Content::Generated { seed: 1, size: 300_000 })
        .file(odd, "odd name\n")
        .file("dots./ends with a dot.", "dot\n")
        .file("z\u{fffe}.txt", "a name that XML cannot hold\n")
        .file("їжак/📄.md", "")
        .directory("empty");
    Tree::new()
        .share("docs", small)
        .share("flat", Share::generated(Generated::flat(asked.files)))
        .share("nested", Share::generated(Generated::nested(asked.directories)))
}

fn settings(files: &Files, logs: &Logs, identity: &Identity) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("STORAGE_ACCOUNT_NAME", files.account().to_owned()),
        ("STORAGE_ACCOUNT_KEY", files.key().to_owned()),
        ("STORAGE_FILE_ENDPOINT", files.url()),
        ("LOG_ANALYTICS_DCE_ENDPOINT", logs.url()),
        ("LOG_ANALYTICS_DCR_IMMUTABLE_ID", logs::RULE.to_owned()),
        ("LOG_ANALYTICS_STREAM_NAME", "Custom-FileInventory_CL".to_owned()),
        ("LOG_ANALYTICS_ENDPOINT", logs.url()),
        ("LOG_ANALYTICS_WORKSPACE_ID", logs::WORKSPACE.to_owned()),
        ("LOG_ANALYTICS_SHARED_KEY", logs::WORKSPACE_KEY.to_owned()),
    ];
    settings.extend(identity.settings());
    settings
}

/// One `NAME=value` a line, then an empty line: all is ready.
fn print(settings: &[(&str, String)]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, value) in settings {
        writeln!(out, "{name}={value}")?;
    }
    writeln!(out)?;
    out.flush()
}
