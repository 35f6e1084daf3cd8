//! Tests that judge us by other people's programs: official clients, emulators, parsers.
//!
//! O1  What they need is installed by name from its registry into `target/outside`, once for each list of names; nothing
//!     of it lands outside that folder.
//! O2  Servers listen on loopback, on ports that were free a moment before, and are ended with the run.
//! O3  A test says in its `ignore` what it needs; the rest of the tests never wait for a network.

use std::{
    env, fs,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{process::say, tree};

/// The account that every emulator of Azure Storage knows; its key is no secret.
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// How long a server may take to listen.
const READY: Duration = Duration::from_mins(1);

/// Python packages beside the apps.
const PYTHON: [&str; 4] = [
    "azure-identity==1.27.0",
    "azure-monitor-ingestion==1.1.0",
    "azure-storage-file-share==12.27.1",
    "moto[server,s3,sqs,sts,sns]==5.2.5",
];
/// Node packages beside the apps.
const NODE: [&str; 2] = ["@kusto/language-service-next@12.4.1", "azurite@3.35.0"];

/// What the tests of the apps need, running.
pub(crate) struct Outside {
    /// Ended in reverse.
    _servers: Vec<Server>,
    /// Where the tests find it.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Outside {
    /// Installs what is missing and starts the servers.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = folder();
        let python = python(&folder.join("python"), &PYTHON)?;
        let node = node(&folder.join("node"))?;
        let (azurite, connection) = azurite(&folder.join("azurite"), &node)?;
        let port = free_port()?;
        let moto = python.with_file_name("moto_server");
        let moto =
            Command::new(moto).args(["-H", "127.0.0.1", "-p", &port.to_string()]).start(port)?;
        let variables = vec![
            ("EVERSTEP_AZURITE", connection),
            ("EVERSTEP_MOTO", format!("http://127.0.0.1:{port}")),
            ("EVERSTEP_PYTHON", python.display().to_string()),
            ("KQL_JUDGE", node.display().to_string()),
        ];
        Ok(Self { _servers: vec![azurite, moto], variables })
    }
}

/// Where all of it lies.
pub(crate) fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| tree::root().join("target"), PathBuf::from).join("outside")
}

/// A virtual environment with these packages; gives its interpreter.
pub(crate) fn python(folder: &Path, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let interpreter = folder.join("bin").join("python");
    if is_made(folder, packages) {
        return Ok(interpreter);
    }
    say(&format!("installing {} from PyPI", packages.join(", ")));
    begin(folder)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(&interpreter).args(pip).args(packages))?;
    made(folder, packages)?;
    Ok(interpreter)
}

fn node(folder: &Path) -> anyhow::Result<PathBuf> {
    if !is_made(folder, &NODE) {
        say(&format!("installing {} from npm", NODE.join(", ")));
        begin(folder)?;
        fs::create_dir_all(folder)?;
        let npm = ["install", "--silent", "--no-audit", "--no-fund", "--prefix"];
        run(Command::new("npm").args(npm).arg(folder).args(NODE))?;
        made(folder, &NODE)?;
    }
    Ok(folder.to_owned())
}

fn azurite(data: &Path, node: &Path) -> anyhow::Result<(Server, String)> {
    begin(data)?;
    let [blob, queue, table] = [free_port()?, free_port()?, free_port()?];
    let program = node.join("node_modules").join(".bin").join("azurite");
    let mut command = Command::new(program);
    command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location"]);
    command.arg(data);
    for (flag, port) in [("--blobPort", blob), ("--queuePort", queue), ("--tablePort", table)] {
        command.args([flag, &port.to_string()]);
    }
    let account = "devstoreaccount1";
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={EMULATOR_KEY};BlobEndpoint=http://127.0.0.1:{blob}/{account};QueueEndpoint=http://127.0.0.1:{queue}/{account};"
    );
    Ok((command.start(queue)?, connection))
}

/// Whether these packages, and no others, were installed there.
fn is_made(folder: &Path, packages: &[&str]) -> bool {
    fs::read_to_string(folder.join("made-of")).is_ok_and(|made_of| made_of == packages.join("\n"))
}

fn made(folder: &Path, packages: &[&str]) -> anyhow::Result<()> {
    Ok(fs::write(folder.join("made-of"), packages.join("\n"))?)
}

/// Removes what an earlier run left, finished or not.
fn begin(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| {
        format!("cannot run `{program}`; these tests need python3 with venv, node and npm")
    })?;
    if !status.success() {
        bail!("`{program}` ended with {status}; its output above says why");
    }
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A server that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starting a program that is to listen.
trait Start {
    fn start(&mut self, port: u16) -> anyhow::Result<Server>;
}

impl Start for Command {
    fn start(&mut self, port: u16) -> anyhow::Result<Server> {
        let program = self.get_program().to_string_lossy().into_owned();
        let child = self.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Server(child.with_context(|| format!("cannot start `{program}`"))?);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.0.try_wait()? {
                bail!("`{program}` ended with {status} before it listened");
            }
            if began.elapsed() > READY {
                bail!("`{program}` does not listen on port {port} after a minute");
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_of_other_packages_is_made_again() {
        let folder = env::temp_dir().join(format!("everstep-outside-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        made(&folder, &["a==1", "b==2"]).expect("written");
        assert!(is_made(&folder, &["a==1", "b==2"]));
        assert!(!is_made(&folder, &["a==1"]));
        begin(&folder).expect("removed");
        assert!(!is_made(&folder, &["a==1", "b==2"]));
        begin(&folder).expect("nothing to remove");
    }

    #[test]
    fn a_program_that_fails_or_is_missing_is_named() {
        let failed = run(&mut Command::new("false")).expect_err("it fails").to_string();
        assert!(failed.starts_with("`false` ended with"), "{failed}");
        let missing = run(&mut Command::new("no-such-program")).expect_err("not there").to_string();
        assert!(missing.contains("need python3 with venv, node and npm"), "{missing}");
    }
}
