//! `start`: finds out what an app is, builds it, and becomes it.
//!
//! S1  An app in Rust is its own host: the binary that cargo builds takes the flags of `start` itself. This process is
//!     replaced by it, so that signals and the exit code are its own.
//! S2  With `--watch` this process stays and looks after the app ([`watch`]).

mod build;
mod watch;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
};

use clap::ValueEnum as _;
use serde_json::Value;

use crate::{
    args::{Start, UnusedStart},
    console::Console,
    door::{self, StartArgs},
    fault::{Exit, Fault},
};

use build::{Build, Profile};

/// `everstep start`
pub(crate) fn start(start: Start) -> ExitCode {
    let mut console = Console::of_process(crate::args::Output::default());
    for flag in unused(&start.unused) {
        console.note(&format!("{flag} is accepted and has no effect here"));
    }
    began(start, &mut console).unwrap_or_else(|fault| {
        console.fault(&fault);
        fault.exit.into()
    })
}

fn began(start: Start, console: &mut Console) -> Result<ExitCode, Fault> {
    let root = start.folder.clone().or_else(|| start.host.script_root.clone());
    let root = root.unwrap_or_else(|| PathBuf::from("."));
    match app_of(&root)? {
        App::Rust => rust(&start, &root, console),
        App::Custom if start.watch => {
            Err(Fault::usage("--watch is for apps in Rust and in Python")
                .remedy("start this app without --watch, and again after a change"))
        }
        App::Python if start.watch => watched_python(&start.host, &root),
        App::Custom | App::Python => {
            let host = StartArgs { script_root: Some(root), ..start.host };
            Ok(door::start_folder(&host))
        }
    }
}

/// Starts an app in Python again after each change. What does not load changes nothing.
fn watched_python(args: &StartArgs, root: &Path) -> Result<ExitCode, Fault> {
    let binary = std::env::current_exe()
        .map_err(|error| Fault::error(format!("cannot find this program: {error}")))?;
    let arguments = std::iter::once("start".into()).chain(forwarded(args, root)).collect();
    let runnable = Runnable { binary, arguments };
    let folder = root.to_owned();
    let load = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::error(format!("cannot start: {error}")))?;
        runtime.block_on(door::rehearsal(&folder))?;
        Ok(runnable.clone())
    };
    watch::watch(root, watch::Sources::Python, Arc::new(load))
}

/// An error for apps whose code is a program of its own.
pub(crate) fn must_be_python(root: &Path) -> Result<(), Fault> {
    match app_of(root)? {
        App::Python => Ok(()),
        App::Rust | App::Custom => {
            Err(Fault::usage(format!("`{}` holds no app in Python", root.display())).remedy(
                "histories are tried on apps in Python; for one in Rust, write a test with everstep::testing",
            ))
        }
    }
}

/// What a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum App {
    /// A package of cargo.
    Rust,
    /// A program that speaks HTTP.
    Custom,
    /// Functions in Python.
    Python,
}

/// Files by which an app of another language is recognized.
const FOREIGN: [(&str, &str); 6] = [
    ("package.json", "Node"),
    ("profile.ps1", "PowerShell"),
    ("pom.xml", "Java"),
    ("build.gradle", "Java"),
    ("Program.cs", ".NET"),
    ("go.mod", "Go"),
];

fn app_of(root: &Path) -> Result<App, Fault> {
    let shown = root.display();
    if !root.is_dir() {
        return Err(Fault::new(Exit::NotFound, format!("there is no folder `{shown}`"))
            .remedy("name the app's folder: `everstep start FOLDER`"));
    }
    if has_custom_handler(&root.join("host.json")) {
        return Ok(App::Custom);
    }
    if root.join("Cargo.toml").is_file() {
        return Ok(App::Rust);
    }
    if is_python(root) {
        return Ok(App::Python);
    }
    if let Some((file, language)) = FOREIGN.iter().find(|(file, _)| root.join(file).is_file()) {
        return Err(Fault::error(format!(
            "`{shown}` holds an app in {language} ({file}), which this host does not serve yet"
        ))
        .remedy(
            "it serves apps in Rust (Cargo.toml), in Python (function_app.py) and custom handlers (customHandler in host.json)",
        ));
    }
    Err(Fault::new(
        Exit::NotFound,
        format!(
            "there is no app in `{shown}`: neither a Cargo.toml nor a function_app.py nor a host.json with customHandler"
        ),
    )
    .remedy(
        "make one with `everstep new rust NAME` or `everstep new python NAME`, or name the app's folder: `everstep start FOLDER`",
    ))
}

/// Whether the host will take it for an app in Python: the usual file, or a sign of the language in a file beside it.
fn is_python(root: &Path) -> bool {
    let file = "local.settings.json";
    let text = fs::read_to_string(root.join(file)).unwrap_or_default();
    let local = everstep_functions::config::json::parse(file, &text).unwrap_or_default();
    let runtime = local.pointer("/Values/FUNCTIONS_WORKER_RUNTIME").and_then(Value::as_str);
    let named = std::env::var("FUNCTIONS_WORKER_RUNTIME").unwrap_or_default();
    ["function_app.py", "requirements.txt"].iter().any(|name| root.join(name).is_file())
        || runtime.is_some_and(|runtime| runtime.eq_ignore_ascii_case("python"))
        || named.eq_ignore_ascii_case("python")
}

fn has_custom_handler(host_json: &Path) -> bool {
    let Ok(text) = fs::read_to_string(host_json) else { return false };
    // A file that is not JSON is told of by the host, with the place.
    let parsed = everstep_functions::config::json::parse("host.json", &text);
    parsed.is_ok_and(|value| value.get("customHandler").is_some_and(Value::is_object))
}

fn rust(start: &Start, root: &Path, console: &mut Console) -> Result<ExitCode, Fault> {
    let profile = if start.release { Profile::Release } else { Profile::Debug };
    let build = Build::of(root, start.bin.as_deref(), profile)?;
    let arguments = forwarded(&start.host, root);
    if start.watch {
        let build = move || Ok(Runnable { binary: build.run()?, arguments: arguments.clone() });
        return watch::watch(root, watch::Sources::Rust, Arc::new(build));
    }
    let binary = if start.host.no_build {
        build.built()?
    } else {
        console.note(&build.announcement());
        build.run()?
    };
    Runnable { binary, arguments }.replace()
}

/// A binary with its arguments.
#[derive(Debug, Clone)]
struct Runnable {
    binary: PathBuf,
    arguments: Vec<OsString>,
}

impl Runnable {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(&self.arguments);
        command
    }

    /// Becomes the app.
    #[cfg(unix)]
    fn replace(&self) -> Result<ExitCode, Fault> {
        use std::os::unix::process::CommandExt as _;
        let error = self.command().exec();
        Err(Fault::file("cannot run", &self.binary, &error))
    }

    /// Runs the app and ends as it ends; what is pressed in a console reaches both.
    #[cfg(not(unix))]
    fn replace(&self) -> Result<ExitCode, Fault> {
        let status = self.command().status();
        let status = status.map_err(|error| Fault::file("cannot run", &self.binary, &error))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

/// The flags of a host, as they were given, and the folder.
fn forwarded(args: &StartArgs, root: &Path) -> Vec<OsString> {
    let mut list: Vec<OsString> = vec!["--script-root".into(), root.into()];
    let mut value = |name: &str, value: Option<OsString>| {
        list.extend(value.into_iter().flat_map(|value| [OsString::from(name), value]));
    };
    let text = |value: &Option<String>| value.as_ref().map(OsString::from);
    let shown = |value: Option<String>| value.map(OsString::from);
    value("--port", shown(args.port.map(|port| port.to_string())));
    value("--address", shown(args.address.map(|address| address.to_string())));
    value("--cors", text(&args.cors));
    value("--user-log-level", text(&args.user_log_level));
    value("--cert", args.cert.clone().map(Into::into));
    value("--password", text(&args.password));
    value("--data", args.data.clone().map(Into::into));
    value("--drain", Some(args.drain.to_string().into()));
    let compat = args.compat.to_possible_value().map(|value| value.get_name().to_owned());
    value("--compat", shown(compat));
    value("--timeout", shown(args.timeout.map(|timeout| timeout.to_string())));
    value("--debug", shown(args.debug.map(|port| port.to_string())));
    for function in &args.functions {
        value("--functions", Some(function.into()));
    }
    let flags = [
        ("--cors-credentials", args.cors_credentials),
        ("--verbose", args.verbose),
        ("--json", args.json),
        ("--enableAuth", args.enable_auth),
        ("--no-auth", args.no_auth),
        ("--useHttps", args.use_https),
        ("--fresh", args.fresh),
        ("--hold", args.hold),
        ("--no-build", args.no_build),
    ];
    list.extend(flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| OsString::from(name)));
    list
}

fn unused(args: &UnusedStart) -> Vec<&'static str> {
    let flags = [
        ("--language-worker", args.language_worker.is_some()),
        ("--dotnet-isolated-debug", args.dotnet_isolated_debug),
        ("--runtime", args.runtime.is_some()),
        ("--json-output-file", args.json_output_file.is_some()),
        ("--offline", args.offline),
    ];
    flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// What an app's own command line is to the flags that are passed on.
    #[derive(Parser)]
    struct Theirs {
        #[command(flatten)]
        args: StartArgs,
    }

    fn ours(words: &[&str]) -> Start {
        let line = ["everstep", "start"].iter().chain(words);
        match crate::args::Cli::try_parse_from(line).unwrap().command {
            crate::args::Command::Start(start) => *start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_reaches_the_app_as_it_was_given() {
        let words = "--port 0 --address 127.0.0.1 --cors a,b --cors-credentials --functions A B --verbose \
            --user-log-level Debug --json --enableAuth --useHttps --cert c.pem --password p --data d --hold --drain 3 \
            --compat v2 --timeout 5 --debug 5678 --no-build";
        let words: Vec<&str> = words.split_whitespace().collect();
        let given = StartArgs { script_root: Some("shop".into()), ..ours(&words).host };
        let passed = forwarded(&given, Path::new("shop"));
        let line = std::iter::once(OsString::from("app")).chain(passed);
        let theirs = Theirs::try_parse_from(line).unwrap().args;
        assert_eq!(format!("{theirs:?}"), format!("{given:?}"));
    }

    #[test]
    fn flags_of_func_without_a_use_are_named() {
        let start = ours(&["--language-worker", "--inspect=5858", "--runtime", "default"]);
        assert_eq!(unused(&start.unused), ["--language-worker", "--runtime"]);
    }

    #[test]
    fn an_app_is_recognized_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let fault = app_of(folder.path()).unwrap_err();
        assert_eq!(fault.exit, Exit::NotFound);
        assert!(
            fault.text.ends_with("nor a function_app.py nor a host.json with customHandler"),
            "{fault}"
        );
        assert!(fault.remedy.unwrap().contains("everstep new python NAME"));
        write("package.json", "{}");
        let fault = app_of(folder.path()).unwrap_err();
        assert!(fault.text.contains("an app in Node (package.json)"), "{fault}");
        write("function_app.py", "");
        assert_eq!(app_of(folder.path()).unwrap(), App::Python);
        write("Cargo.toml", "");
        assert_eq!(app_of(folder.path()).unwrap(), App::Rust);
        write("host.json", "// a handler\n{\"customHandler\": {\"description\": {}}}");
        assert_eq!(app_of(folder.path()).unwrap(), App::Custom);
        let fault = app_of(Path::new("no-such-folder")).unwrap_err();
        assert_eq!(fault.text, "there is no folder `no-such-folder`");
    }
}
