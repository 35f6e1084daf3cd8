//! `start --watch`: builds and starts again when a source changes.
//!
//! W1  The old process goes only when its successor has been built, or the code of an app in Python been loaded: what does
//!     not build changes nothing.
//! W2  The old process ends in order, and its successor starts after that: a hub has one host.
//! W3  Ctrl-C reaches the app by the terminal. This process waits for it, and ends it at once on the second.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::process::Child;

use super::Runnable;
use crate::{args::Output, console::Console, fault::Fault};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// A source that a build writes itself; that is no change.
const LOCK: &str = "Cargo.lock";
/// Files in the app's folder that count as sources.
const FILES: [&str; 6] =
    ["Cargo.toml", LOCK, "build.rs", "host.json", "local.settings.json", "requirements.txt"];

/// Builds an app anew.
type Builder = Arc<dyn Fn() -> Result<Runnable, Fault> + Send + Sync>;
/// When each source was last written, and how long it is.
type Files = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Which files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sources {
    /// Of a package of cargo.
    Rust,
    /// Of an app in Python: all its code and what says how it runs.
    Python,
}

/// Runs the app until somebody stops it.
pub(super) fn watch(root: &Path, kind: Sources, build: Builder) -> Result<ExitCode, Fault> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Fault::error(format!("cannot start: {error}")))?;
    let mut console = Console::of_process(Output::default());
    runtime.block_on(look_after(root, kind, build, &mut console))
}

async fn look_after(
    root: &Path,
    kind: Sources,
    build: Builder,
    console: &mut Console,
) -> Result<ExitCode, Fault> {
    let (doing, present) = match kind {
        Sources::Rust => ("building", "the app that was built before goes on"),
        Sources::Python => ("loading", "the app that was loaded before goes on"),
    };
    let mut stops = Stops::listen()?;
    let mut seen = sources(root, kind);
    let first = built(&build).await;
    note(&root.join(LOCK), &mut seen);
    let mut child = match first {
        Ok(runnable) => Some(spawn(&runnable)?),
        Err(fault) => {
            console.fault(&fault);
            console.note("waiting for a change");
            None
        }
    };
    loop {
        tokio::select! {
            status = ended(&mut child) => {
                child = None;
                console.note(&format!("the app ended ({}); it starts again after a change", told(status)));
            }
            stop = stops.next() => return Ok(stopped(child, stop, &mut stops).await),
            () = tokio::time::sleep(LOOK) => {
                let now = sources(root, kind);
                let Some(changed) = change(&seen, &now) else { continue };
                console.note(&format!("{} changed: {doing}", shown(root, &changed)));
                seen = now;
                let built = built(&build).await;
                note(&root.join(LOCK), &mut seen);
                match built {
                    Err(fault) => {
                        console.fault(&fault);
                        console.note(if child.is_some() { present } else { "waiting for a change" });
                    }
                    Ok(runnable) => {
                        if let Some(old) = child.take()
                            && let Err(stop) = drained(old, &mut stops).await
                        {
                            return Ok(stop);
                        }
                        child = Some(spawn(&runnable)?);
                    }
                }
            }
        }
    }
}

async fn built(build: &Builder) -> Result<Runnable, Fault> {
    let build = build.clone();
    let built = tokio::task::spawn_blocking(move || build()).await;
    built.unwrap_or_else(|error| Err(Fault::error(format!("the build was given up: {error}"))))
}

fn spawn(runnable: &Runnable) -> Result<Child, Fault> {
    tokio::process::Command::from(runnable.command())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Fault::file("cannot run", &runnable.binary, &error))
}

/// The end of a process; never, if there is none.
async fn ended(child: &mut Option<Child>) -> Option<ExitStatus> {
    match child {
        Some(child) => child.wait().await.ok(),
        None => std::future::pending().await,
    }
}

fn told(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "nobody knows how".to_owned(), |status| status.to_string())
}

/// Asks a process to end in order and waits for it. Somebody who wants to stop all meanwhile gets the exit code.
async fn drained(mut child: Child, stops: &mut Stops) -> Result<(), ExitCode> {
    ask_to_end(&child);
    tokio::select! {
        _ = child.wait() => Ok(()),
        stop = stops.next() => Err(stopped(Some(child), stop, stops).await),
    }
}

/// Waits for the end of a process that has been told to stop, and kills it at the second signal.
async fn stopped(child: Option<Child>, stop: Stop, stops: &mut Stops) -> ExitCode {
    let Some(mut child) = child else { return ExitCode::SUCCESS };
    if stop == Stop::Terminate {
        ask_to_end(&child);
    }
    let status = tokio::select! {
        status = child.wait() => status.ok(),
        _ = stops.next() => {
            // It may have ended in this moment, which is as good.
            let _ = child.kill().await;
            None
        }
    };
    let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(unix)]
fn ask_to_end(child: &Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // A process that has ended in this moment needs no signal.
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

#[cfg(not(unix))]
fn ask_to_end(_child: &Child) {
    // There is no gentle signal; the kill follows when the value is dropped.
}

/// Who wants all to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Somebody at the terminal, which told the app as well.
    Interrupt,
    /// Somebody who told only this process.
    Terminate,
}

#[cfg(unix)]
struct Stops {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stops {
    fn listen() -> Result<Self, Fault> {
        use tokio::signal::unix::{SignalKind, signal};
        let wrong = |error| Fault::error(format!("cannot listen for signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(wrong)?,
            terminate: signal(SignalKind::terminate()).map_err(wrong)?,
        })
    }

    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

#[cfg(not(unix))]
struct Stops;

#[cfg(not(unix))]
impl Stops {
    fn listen() -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn next(&mut self) -> Stop {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Stop::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}

/// The sources of an app: what stands below `src`, its manifest, its settings and its functions.
fn sources(root: &Path, kind: Sources) -> Files {
    let mut found = Files::new();
    for file in FILES {
        note(&root.join(file), &mut found);
    }
    match kind {
        Sources::Rust => below(&root.join("src"), &mut found),
        Sources::Python => python_below(root, &mut found),
    }
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        note(&entry.path().join("function.json"), &mut found);
    }
    found
}

/// Code in Python, without environments and what tools keep beside it.
fn python_below(folder: &Path, into: &mut Files) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let is_foreign = name.to_string_lossy().starts_with('.')
            || name == "node_modules"
            || path.join("pyvenv.cfg").is_file();
        if path.is_dir() && !is_foreign {
            python_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "py") {
            note(&path, into);
        }
    }
}

fn below(folder: &Path, into: &mut Files) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { below(&path, into) } else { note(&path, into) }
    }
}

fn note(file: &Path, into: &mut Files) {
    if let Ok(metadata) = fs::metadata(file) {
        into.insert(file.to_owned(), (metadata.modified().ok(), metadata.len()));
    }
}

/// The first file that differs.
fn change(before: &Files, now: &Files) -> Option<PathBuf> {
    let changed = now.iter().find(|(path, state)| before.get(*path) != Some(state));
    let gone = before.keys().find(|path| !now.contains_key(*path));
    changed.map(|(path, _)| path).or(gone).cloned()
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[tokio::test]
    async fn a_build_that_fails_leaves_the_app_and_the_next_change_builds_again() {
        use crate::{console::Screen, testing::Screenful};

        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        fs::write(&manifest, "").unwrap();
        let lock = folder.path().join(LOCK);
        let (built, mut builds) = tokio::sync::mpsc::unbounded_channel();
        let count = std::sync::atomic::AtomicU32::new(0);
        let build = move || {
            let build = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            fs::write(&lock, "x".repeat(build as usize)).unwrap();
            built.send(build).unwrap();
            let tail = Runnable {
                binary: "tail".into(),
                arguments: vec!["-f".into(), "/dev/null".into()],
            };
            if build == 1 { Err(Fault::error("it does not build")) } else { Ok(tail) }
        };
        let mut full = Screenful::new(Output::default(), Screen::Pipe);
        let changes = async {
            for (build, text) in ["a", "ab", "abc"].iter().enumerate() {
                assert_eq!(builds.recv().await, u32::try_from(build).ok());
                fs::write(&manifest, text).unwrap();
            }
            builds.recv().await
        };
        tokio::select! {
            ended = look_after(folder.path(), Sources::Rust, Arc::new(build), &mut full.console) => panic!("{ended:?}"),
            last = changes => assert_eq!(last, Some(3)),
        }
        insta::assert_snapshot!(full.err(), @r"
        Cargo.toml changed: building
        error: it does not build
        the app that was built before goes on
        Cargo.toml changed: building
        Cargo.toml changed: building
        ");
    }

    #[test]
    fn code_in_python_is_all_of_the_folder_but_environments() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (folder, file) in
            [("shared", "a.py"), ("env/lib", "b.py"), (".venv", "c.py"), ("Flow", "function.json")]
        {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join(file), "").unwrap();
        }
        fs::write(root.join("env/pyvenv.cfg"), "").unwrap();
        fs::write(root.join("host.json"), "{}").unwrap();
        let seen = sources(root, Sources::Python);
        let seen: Vec<String> = seen.keys().map(|file| shown(root, file)).collect();
        assert_eq!(seen, ["Flow/function.json", "host.json", "shared/a.py"]);
    }

    #[test]
    fn a_change_a_new_file_and_a_removed_one_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("src/orders")).unwrap();
        fs::create_dir_all(root.join("Hello")).unwrap();
        fs::create_dir_all(root.join("target")).unwrap();
        fs::write(root.join("src/orders/mod.rs"), "a").unwrap();
        fs::write(root.join("target/out"), "a").unwrap();
        let first = sources(root, Sources::Rust);
        assert_eq!(change(&first, &sources(root, Sources::Rust)), None);

        fs::write(root.join("src/orders/mod.rs"), "ab").unwrap();
        let second = sources(root, Sources::Rust);
        assert_eq!(change(&first, &second), Some(root.join("src/orders/mod.rs")));
        fs::write(root.join("Hello/function.json"), "{}").unwrap();
        let third = sources(root, Sources::Rust);
        assert_eq!(change(&second, &third), Some(root.join("Hello/function.json")));
        fs::write(root.join("target/out"), "abc").unwrap();
        assert_eq!(
            change(&third, &sources(root, Sources::Rust)),
            None,
            "what cargo writes is no source"
        );
        fs::remove_file(root.join("src/orders/mod.rs")).unwrap();
        assert_eq!(
            change(&third, &sources(root, Sources::Rust)),
            Some(root.join("src/orders/mod.rs"))
        );
    }
}
