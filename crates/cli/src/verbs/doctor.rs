//! `doctor`: what keeps an app from starting, or an instance from going on, as far as it can be seen from outside.
//!
//! R1  Each line says what to do unless it is fine. Nothing is changed: a file that is made to see whether one can be made
//!     is removed at once.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use everstep_functions::config::{
    self, HostConfig, Settings, binding, function_json, host_json,
    settings::{Added, LocalSettings, Stage},
};
use http::Method;
use jiff::Timestamp;

use super::{World, list};
use crate::{
    args::{Connect, Doctor, Format},
    client::{Api, Call},
    console::{Column, Item, plain, visible},
    door,
    fault::{Exit, Fault},
};

const CHECKS: &[Column] = &[
    plain("RESULT", "result"),
    plain("CHECK", "check"),
    plain("WHAT", "text"),
    plain("REMEDY", "remedy"),
];
/// The folder for data in an app's folder.
const DATA: &str = ".everstep";
const PORT: u16 = 7071;
const SPACE_LOW: u64 = 1 << 30;
const SPACE_NONE: u64 = 64 << 20;
/// A clock may run this much ahead of what it once showed.
const DRIFT_MAX: Duration = Duration::from_secs(5);

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    text: String,
    remedy: String,
}

impl Check {
    fn lines(&self) -> String {
        let remedy = match self.remedy.as_str() {
            "" => String::new(),
            remedy => format!("\n      {}", remedy.replace('\n', "\n      ")),
        };
        format!("{:4}  {}: {}{remedy}\n", self.verdict.name(), self.name, self.text)
    }
}

fn fine(name: &'static str, text: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Ok, text: text.into(), remedy: String::new() }
}

fn warn(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Warn, text: text.into(), remedy: remedy.into() }
}

fn fail(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Fail, text: text.into(), remedy: remedy.into() }
}

/// `everstep doctor`
pub(crate) async fn doctor(doctor: &Doctor, world: &mut World) -> Result<Exit, Fault> {
    let connect = &doctor.common.connect;
    let data = connect.data.clone().unwrap_or_else(|| connect.app.join(DATA));
    let mut checks = vec![binary(), app(&connect.app)];
    let (files, port) = files(&connect.app);
    checks.extend(files);
    let running = connect.url.clone().or_else(|| door::running(connect).ok().flatten());
    checks.push(match &running {
        Some(url) => holder(url, connect, world).await,
        None => listen(doctor.port.or(port).unwrap_or(PORT)),
    });
    checks.extend([writable(&data), file_system(&data), space(&data), clock(&data)]);
    checks.push(hub(connect, world).await);
    print(&checks, world)?;
    let is_well = checks.iter().all(|check| check.verdict != Verdict::Fail);
    Ok(if is_well { Exit::Ok } else { Exit::Error })
}

fn print(checks: &[Check], world: &mut World) -> Result<(), Fault> {
    if world.console.format() == Format::Table {
        let text: String = checks.iter().map(Check::lines).collect();
        return world.console.data(&visible(&text));
    }
    let items = checks.iter().map(|check| {
        Item::of([
            ("check", check.name.into()),
            ("result", check.verdict.name().into()),
            ("text", check.text.as_str().into()),
            ("remedy", check.remedy.as_str().into()),
        ])
    });
    world.console.list(CHECKS, &items.collect::<Vec<_>>())
}

fn binary() -> Check {
    let (version, system) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS);
    fine("binary", format!("everstep {version} on {system} {}", std::env::consts::ARCH))
}

fn app(folder: &Path) -> Check {
    let has = |name: &str| folder.join(name).is_file();
    match (folder.is_dir(), has("Cargo.toml"), has("host.json")) {
        (false, ..) => fail(
            "app",
            format!("{} is no folder", folder.display()),
            "name the app's folder with --app",
        ),
        (true, true, true) => fine("app", "an app in Rust"),
        (true, true, false) => warn(
            "app",
            "a Rust package without host.json",
            "every setting then has its default; write {\"version\": \"2.0\"} to host.json to silence this",
        ),
        (true, false, true) => fine("app", "a folder with host.json"),
        (true, false, false) => warn(
            "app",
            format!("neither Cargo.toml nor host.json is in {}", folder.display()),
            "name the app's folder with --app, or make one with `everstep new rust NAME` or `everstep new python NAME`",
        ),
    }
}

/// The files of an app, and the port that they name.
fn files(folder: &Path) -> (Vec<Check>, Option<u16>) {
    let mut checks = Vec::new();
    let local = match local(folder) {
        Ok(local) => local,
        Err(text) => {
            checks.push(fail("local.settings.json", text, "correct the file"));
            LocalSettings::default()
        }
    };
    let added =
        Added { host_name: "localhost:7071", script_root: folder, stage: Stage::Development };
    let (settings, _) = Settings::new(environment(), &local, &added);
    checks.push(match host_file(folder, &settings) {
        Ok(notices) if notices.is_empty() => fine("host.json", "as it should be"),
        Ok(notices) => warn("host.json", notices.join("\n"), "these keys have no effect here"),
        Err(text) => fail("host.json", text, "correct the file"),
    });
    checks.push(functions(folder, &settings));
    (checks, local.host.port)
}

/// Variables that are no text cannot be settings.
fn environment() -> Vec<(String, String)> {
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn local(folder: &Path) -> Result<LocalSettings, String> {
    let file = "local.settings.json";
    match config::read(&folder.join(file)).map_err(|error| error.to_string())? {
        None => Ok(LocalSettings::default()),
        Some(text) => LocalSettings::parse(file, &text).map_err(|errors| errors.to_string()),
    }
}

fn host_file(folder: &Path, settings: &Settings) -> Result<Vec<String>, String> {
    let file = "host.json";
    let raw = match config::read(&folder.join(file)).map_err(|error| error.to_string())? {
        None => host_json::Raw::absent(file),
        Some(text) => host_json::Raw::parse(file, &text).map_err(|error| error.to_string())?,
    };
    let raw = raw.with_overrides(settings);
    let resolved = HostConfig::resolve(raw, settings, 1).map_err(|errors| errors.to_string())?;
    Ok(resolved.notices.iter().map(ToString::to_string).collect())
}

/// Functions that are described by files, and the settings that they need.
fn functions(folder: &Path, settings: &Settings) -> Check {
    let loaded = match function_json::load(folder, settings) {
        Ok(loaded) => loaded,
        Err(error) => return fail("functions", error.to_string(), "correct the file"),
    };
    let unread = loaded.failed.iter().map(|(name, errors)| format!("{name}: {errors}"));
    let unbound = loaded.functions.iter().filter_map(|function| {
        binding::bind(function, settings).err().map(|errors| errors.to_string())
    });
    let problems: Vec<String> = unread.chain(unbound).collect();
    match (problems.is_empty(), loaded.functions.len()) {
        (true, 0) => fine("functions", "none is described by a function.json"),
        (true, count) => {
            fine("functions", format!("{count} by function.json, with all settings that they need"))
        }
        (false, _) => fail(
            "functions",
            problems.join("\n"),
            "correct the file, or add the setting to local.settings.json or the environment",
        ),
    }
}

fn listen(port: u16) -> Check {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => fine("port", format!("{port} is free")),
        Err(error) => fail(
            "port",
            format!("{port} cannot be listened on: {error}"),
            "stop the process that uses it, or start with --port",
        ),
    }
}

async fn holder(url: &str, connect: &Connect, world: &World) -> Check {
    let asked = match world.api(connect) {
        Ok(api) => api.ask(Call::admin(Method::GET, "host/status")).await,
        Err(fault) => Err(fault),
    };
    match asked {
        Ok(answer) if answer.status.is_success() => fine("host", format!("runs at {url}")),
        Ok(answer) if answer.status == http::StatusCode::UNAUTHORIZED => {
            warn("host", format!("runs at {url} and asks for a key"), "give it with --key")
        }
        Ok(answer) => {
            fail("host", format!("{url} answers {}", answer.status), "look at the host's log")
        }
        Err(fault) => fail(
            "host",
            fault.text,
            "a process has the hub open and does not answer: look at its log, or stop it",
        ),
    }
}

/// The folder itself, or the nearest above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn writable(data: &Path) -> Check {
    let folder = existing(data);
    let probe = folder.join(format!(".everstep-doctor-{}", std::process::id()));
    let made = fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    match made.and_then(|_| fs::remove_file(&probe)) {
        Ok(()) => fine("data folder", data.display().to_string()),
        Err(error) => fail(
            "data folder",
            format!("{} cannot be written: {error}", folder.display()),
            "give this user the right to write there, or choose another folder with --data",
        ),
    }
}

fn file_system(data: &Path) -> Check {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let folder = existing(data);
    match mounted(&mounts, &folder.canonicalize().unwrap_or(folder)) {
        None => fine("file system", "its kind is not known here"),
        Some(kind) if is_network(kind) => fail(
            "file system",
            format!("{kind} is a network file system, which may lose what was flushed"),
            "choose a folder on a local disk with --data",
        ),
        Some(kind @ ("tmpfs" | "ramfs")) => warn(
            "file system",
            format!("{kind} lies in memory: nothing in it survives a restart of the machine"),
            "choose a folder on a disk with --data",
        ),
        Some(kind) => fine("file system", kind),
    }
}

fn is_network(kind: &str) -> bool {
    ["nfs", "cifs", "smb", "9p", "ceph", "afs", "fuse.sshfs"]
        .iter()
        .any(|name| kind.starts_with(name))
}

/// The kind of the file system that a folder lies in.
fn mounted<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let point = fields.nth(1)?.replace("\\040", " ");
        let kind = fields.next()?;
        folder.starts_with(&point).then_some((point.len(), kind))
    });
    // The last of the deepest: a mount may lie over another.
    lines.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn space(data: &Path) -> Check {
    let free = match free_space(&existing(data)) {
        Ok(free) => free,
        Err(error) => return warn("space", format!("cannot be told: {error}"), "look at the disk"),
    };
    let text = format!("{} are free", indicatif::HumanBytes(free));
    match free {
        0..SPACE_NONE => fail("space", text, "free some: without any, work waits"),
        SPACE_NONE..SPACE_LOW => warn("space", text, "free some before it is used up"),
        _ => fine("space", text),
    }
}

#[cfg(unix)]
fn free_space(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_folder: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A clock that shows less than it once did would let timers wait.
fn clock(data: &Path) -> Check {
    let now = SystemTime::now();
    let ahead = latest(data, 2).and_then(|latest| latest.duration_since(now).ok());
    match ahead.filter(|ahead| *ahead > DRIFT_MAX) {
        Some(ahead) => warn(
            "clock",
            format!("files of the hub are {} newer than the present", crate::time::length(ahead)),
            "set the clock: timers wait until it shows what it showed when they were set",
        ),
        None => fine("clock", format!("{:.0}", Timestamp::now())),
    }
}

/// When a file below a folder was last written.
fn latest(folder: &Path, depth: u32) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        if metadata.is_dir() && depth > 0 {
            latest(&entry.path(), depth - 1)
        } else {
            metadata.modified().ok()
        }
    });
    times.max()
}

async fn hub(connect: &Connect, world: &World) -> Check {
    let folder = match door::hub_folder(connect) {
        Ok(folder) => folder,
        Err(fault) => {
            return fail(
                "hub",
                fault.text,
                "correct the file, or name the hub with --task-hub-name",
            );
        }
    };
    if connect.url.is_none() && !folder.is_dir() {
        return fine("hub", "there is none yet; the first start makes it");
    }
    match counted(world.api(connect)).await {
        Ok(text) => fine("hub", text),
        Err(fault) if fault.exit == Exit::Refused => {
            warn("hub", fault.text, "give the key with --key")
        }
        Err(fault) => fail("hub", fault.text, fault.remedy.unwrap_or_default()),
    }
}

async fn counted(api: Result<Api, Fault>) -> Result<String, Fault> {
    let (rows, _) = list::counted(&api?, Vec::new(), None).await?;
    let of = |status: &str| -> u64 {
        let rows = rows.iter().filter(|row| row.text("runtimeStatus") == status);
        rows.filter_map(|row| row.get("count").as_u64()).sum()
    };
    let all: u64 = rows.iter().filter_map(|row| row.get("count").as_u64()).sum();
    Ok(format!(
        "{}, of which {} run and {} failed",
        list::instances(all),
        of("Running"),
        of("Failed")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_decides_what_a_folder_lies_in() {
        let mounts = "/dev/sda / ext4 rw 0 0\nserver:/x /mnt/my\\040share nfs4 rw 0 0\ntmpfs /ram tmpfs rw 0 0\n";
        assert_eq!(mounted(mounts, Path::new("/srv/a")), Some("ext4"));
        assert_eq!(mounted(mounts, Path::new("/mnt/my share/a")), Some("nfs4"));
        assert_eq!(mounted(mounts, Path::new("/ram")), Some("tmpfs"));
        assert_eq!(mounted("", Path::new("/ram")), None);
        assert!(is_network("nfs4") && is_network("cifs") && !is_network("ext4"));
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_what_to_do() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let check = listen(taken.local_addr().unwrap().port());
        assert_eq!(check.verdict, Verdict::Fail);
        assert_eq!(check.remedy, "stop the process that uses it, or start with --port");
    }

    #[test]
    fn files_that_are_wrong_are_named_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("host.json"), "{\"version\": }").unwrap();
        fs::write(
            folder.path().join("local.settings.json"),
            "{\"Host\": {\"LocalHttpPort\": 7100}}",
        )
        .unwrap();
        let (checks, port) = files(folder.path());
        assert_eq!(port, Some(7100));
        let host = checks.iter().find(|check| check.name == "host.json").unwrap();
        assert_eq!(host.verdict, Verdict::Fail);
        assert!(host.text.contains("host.json"), "{}", host.text);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").join("deep");
        assert_eq!(writable(&data).verdict, Verdict::Ok);
        assert!(!data.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
