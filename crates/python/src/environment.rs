//! The interpreter that an app runs with.
//!
//! V1  An environment that a person made is used as it is and never changed.
//! V2  Without one, and if the system's packages do not satisfy `requirements.txt`, `.venv` is made in the app's folder,
//!     with a mark that it is ours. It follows `requirements.txt` by a hash of its text; nothing is fetched while it fits.
//! V3  What is missing is said with the interpreter that lacks it and the command that brings it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

/// The list of packages of an app.
const REQUIREMENTS: &str = "requirements.txt";
/// In an environment that is ours: the hash of the list that it was made from.
const MARK: &str = "everstep-requirements";
/// Says whether a list is satisfied: prints what is missing.
const PROBE: &str = r"
import re, sys
from importlib import metadata
missing = []
for line in open(sys.argv[1], encoding='utf-8-sig'):
    line = line.split('#')[0].strip()
    name = re.match(r'[A-Za-z0-9][A-Za-z0-9._-]*', line)
    if not name or ';' in line:
        continue
    try:
        found = metadata.version(name.group())
    except metadata.PackageNotFoundError:
        missing.append(name.group())
        continue
    exact = re.search(r'==\s*([^,\s*]+)\s*$', line)
    if exact and exact.group(1) != found:
        missing.append(line)
print(' '.join(missing))
";

/// Why there is no interpreter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting names none.
    #[error(
        "languageWorkers__python__defaultExecutablePath is {0}, and there is no such file; name a Python interpreter, or remove the setting"
    )]
    NoSuchExecutable(PathBuf),
    /// There is none.
    #[error(
        "no Python was found: neither {root}/.venv nor {root}/venv nor `python3` on the PATH; install Python 3.10 or later, or name one in the setting languageWorkers__python__defaultExecutablePath"
    )]
    NoPython {
        /// The app's folder.
        root: PathBuf,
    },
    /// The environment could not be made.
    #[error(
        "{command} failed ({how}){said}; nothing is left of {folder}; make it yourself with `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`, or mend requirements.txt"
    )]
    Made {
        /// What was run.
        command: String,
        /// How it ended.
        how: String,
        /// What it said last.
        said: String,
        /// The folder of the environment.
        folder: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where an interpreter may be named.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// `languageWorkers:python:defaultExecutablePath`
    pub(crate) setting: Option<PathBuf>,
    /// `VIRTUAL_ENV`
    pub(crate) active: Option<PathBuf>,
}

/// Finds the interpreter, and makes an environment if the app needs one. `show` is told what goes on.
pub(crate) fn interpreter(
    root: &Path,
    named: &Named,
    show: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    if let Some(path) = &named.setting {
        let found = if path.components().count() == 1 { on_path(path) } else { is_file(path) };
        return found.ok_or_else(|| Error::NoSuchExecutable(path.clone()));
    }
    if let Some(python) = named.active.as_deref().and_then(python_in) {
        return Ok(python);
    }
    let own = root.join(".venv");
    match (python_in(&own), is_ours(&own)) {
        (Some(python), false) => return Ok(python),
        (Some(_), true) => return made(root, &own, show),
        (None, _) => {}
    }
    if let Some(python) = python_in(&root.join("venv")) {
        return Ok(python);
    }
    let python = system().ok_or_else(|| Error::NoPython { root: root.to_owned() })?;
    if missing(&python, root).is_empty() {
        return Ok(python);
    }
    made(root, &own, show)
}

fn is_file(path: &Path) -> Option<PathBuf> {
    path.is_file().then(|| path.to_owned())
}

/// The interpreter of an environment.
fn python_in(folder: &Path) -> Option<PathBuf> {
    ["bin/python", "bin/python3", "Scripts/python.exe"]
        .iter()
        .find_map(|name| is_file(&folder.join(name)))
}

fn system() -> Option<PathBuf> {
    ["python3", "python"].iter().find_map(|name| on_path(Path::new(name)))
}

/// A program that the system finds and that runs.
fn on_path(name: &Path) -> Option<PathBuf> {
    let mut probe = Command::new(name);
    probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success()).then(|| name.to_owned())
}

fn is_ours(folder: &Path) -> bool {
    folder.join(MARK).is_file()
}

/// Packages of the app's list that an interpreter does not have.
fn missing(python: &Path, root: &Path) -> Vec<String> {
    let list = root.join(REQUIREMENTS);
    if !list.is_file() {
        return Vec::new();
    }
    let probed = Command::new(python).args(["-c", PROBE]).arg(&list).stdin(Stdio::null()).output();
    match probed {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.split_whitespace().map(str::to_owned).collect()
        }
        Ok(_) | Err(_) => vec![REQUIREMENTS.to_owned()],
    }
}

/// The environment that is ours, as the list has it now.
fn made(root: &Path, folder: &Path, show: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let list = root.join(REQUIREMENTS);
    let text = fs::read(&list).map_err(|source| Error::File { path: list.clone(), source })?;
    let hash = hex(&Sha256::digest(&text));
    let mark = folder.join(MARK);
    if let Some(python) = python_in(folder)
        && fs::read_to_string(&mark).is_ok_and(|former| former.trim() == hash)
    {
        return Ok(python);
    }
    let result = (|| {
        if python_in(folder).is_none() {
            let python = system().ok_or_else(|| Error::NoPython { root: root.to_owned() })?;
            show(&format!("Making {} for {REQUIREMENTS} ...", folder.display()));
            execute(Command::new(python).args(["-m", "venv"]).arg(folder), folder, show)?;
        }
        let python = python_in(folder).ok_or_else(|| Error::NoPython { root: root.to_owned() })?;
        show(&format!("Installing the packages of {REQUIREMENTS} ..."));
        let arguments = ["-m", "pip", "install", "--disable-pip-version-check", "-r"];
        execute(Command::new(&python).args(arguments).arg(&list), folder, show)?;
        fs::write(&mark, &hash).map_err(|source| Error::File { path: mark.clone(), source })?;
        Ok(python)
    })();
    if result.is_err() {
        // Half an environment would be taken for a whole one.
        drop(fs::remove_dir_all(folder));
    }
    result
}

/// Bytes as people read them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let digit = |digit: u8| char::from_digit(u32::from(digit), 16);
    bytes.iter().flat_map(digits).filter_map(digit).collect()
}

/// Runs a command and shows what it says.
fn execute(command: &mut Command, folder: &Path, show: &mut dyn FnMut(&str)) -> Result<(), Error> {
    use io::BufRead as _;
    let line = format!("{command:?}").replace('"', "`").replace("` `", " ");
    let failed = |how: String, said: String| Error::Made {
        command: line.clone(),
        how,
        said,
        folder: folder.to_owned(),
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string(), String::new()))?;
    let errors = child.stderr.take().expect("it is piped");
    let reading = std::thread::spawn(move || {
        io::BufReader::new(errors).lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    let output = child.stdout.take().expect("it is piped");
    io::BufReader::new(output).lines().map_while(Result::ok).for_each(|line| show(&line));
    let status = child.wait().map_err(|error| failed(error.to_string(), String::new()))?;
    let errors = reading.join().unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    let said = errors.iter().rev().find(|line| !line.trim().is_empty());
    Err(failed(status.to_string(), said.map_or(String::new(), |line| format!(": {}", line.trim()))))
}

/// What to do about a module that was not found.
pub(crate) fn remedy(module: &str, python: &str, root: &Path) -> String {
    let list = root.join(REQUIREMENTS);
    let text = fs::read_to_string(&list).unwrap_or_default().to_lowercase();
    let wanted = module.split('.').next().unwrap_or(module).to_lowercase().replace('_', "-");
    let package = if module.starts_with("azure.durable_functions") {
        "azure-functions-durable".to_owned()
    } else if module.starts_with("azure.functions") || module == "azure" {
        "azure-functions".to_owned()
    } else {
        wanted
    };
    let is_listed = text.lines().any(|line| line.trim().replace('_', "-").starts_with(&package));
    if is_listed {
        format!(
            "`{package}` stands in requirements.txt and is not installed; run `{python} -m pip install -r requirements.txt`"
        )
    } else {
        format!(
            "if it is a package, add it to requirements.txt (`{package}`, or as it is called there) and run `{python} -m pip install -r requirements.txt`; if it is your own module, its file is to stand in {}",
            root.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_names_nothing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let setting = Some(PathBuf::from("/nowhere/python"));
        let named = Named { setting, active: None };
        let error = interpreter(folder.path(), &named, &mut |_| {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            "languageWorkers__python__defaultExecutablePath is /nowhere/python, and there is no such file; name a Python interpreter, or remove the setting"
        );
    }

    #[test]
    fn an_environment_of_the_app_comes_first_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join(".venv/bin/python");
        fs::create_dir_all(python.parent().unwrap()).unwrap();
        fs::write(&python, "").unwrap();
        fs::write(folder.path().join(REQUIREMENTS), "there-is-no-such-package\n").unwrap();
        let found = interpreter(folder.path(), &Named::default(), &mut |_| {}).unwrap();
        assert_eq!(found, python);
        assert!(!is_ours(&folder.path().join(".venv")));
    }

    #[test]
    fn an_environment_of_ours_that_fits_is_used_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(".venv");
        fs::create_dir_all(own.join("bin")).unwrap();
        fs::write(own.join("bin/python"), "").unwrap();
        fs::write(folder.path().join(REQUIREMENTS), "azure-functions\n").unwrap();
        let hash = hex(&Sha256::digest(b"azure-functions\n"));
        fs::write(own.join(MARK), hash).unwrap();
        let mut said = Vec::new();
        let found =
            interpreter(folder.path(), &Named::default(), &mut |line| said.push(line.to_owned()));
        assert_eq!(found.unwrap(), own.join("bin/python"));
        assert_eq!(said, Vec::<String>::new());
    }

    #[test]
    fn a_module_that_is_listed_only_lacks_the_installation() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(REQUIREMENTS), "azure-functions-durable==1.7.0\n").unwrap();
        assert_eq!(
            remedy("azure.durable_functions", "python3", folder.path()),
            "`azure-functions-durable` stands in requirements.txt and is not installed; run `python3 -m pip install -r requirements.txt`"
        );
        assert!(remedy("helpers", "python3", folder.path()).contains("if it is your own module"));
    }
}
