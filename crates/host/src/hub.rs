//! The hub's folder: where it is, how it is opened, how it begins anew.
//!
//! F1  A hub has a folder of its own below the data folder, under its name in lower case: two hubs never meet, and two
//!     apps with the default name do not either, for the data folder lies in the app's.
//! F2  Beginning anew removes the hub's folder and nothing else, and only when nobody has it open.

use std::{
    io,
    path::{Path, PathBuf},
};

use everstep_store::{Error as StoreError, HubOptions};
use everstep_store_embedded::{Embedded, FolderLock, LoggedOptions, open_embedded};

/// The folder for data in an app's folder.
const DATA: &str = ".everstep";
/// Partitions of a hub that the configuration does not number.
pub(crate) const PARTITIONS: u16 = 8;

/// A hub on disk.
#[derive(Debug, Clone)]
pub(crate) struct HubFolder {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Why a hub could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be one of a folder.
    #[error(
        "`{0}` cannot be a task hub's name; write 1 to 50 letters, digits, `-` and `_` for extensions.durableTask.hubName in host.json"
    )]
    Name(String),
    /// The folder is not there, or cannot be made or removed.
    #[error("the data folder {path} cannot be used: {source}; choose another with --data")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody has it open.
    #[error("process {pid} runs this app's hub{at}; stop it, or ask it with --url")]
    Running {
        /// Who.
        pid: String,
        /// ` at http://...`, if it said.
        at: String,
    },
    /// There is no such hub yet.
    #[error("there is no task hub `{name}` in {data}; it is made when the app first starts")]
    Absent {
        /// Its name.
        name: String,
        /// Where it was looked for.
        data: PathBuf,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What lies in the store cannot be worked with.
    #[error(transparent)]
    Runtime(#[from] everstep_runtime::Error),
}

impl HubFolder {
    /// The hub of an app. `data` is the data folder, if it is not the app's own.
    pub(crate) fn of(app: &Path, data: Option<&Path>, name: &str) -> Result<Self, Error> {
        let fits = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        if name.is_empty() || name.len() > 50 || !name.chars().all(fits) {
            return Err(Error::Name(name.to_owned()));
        }
        let data = data.map_or_else(|| app.join(DATA), Path::to_owned);
        Ok(Self { name: name.to_owned(), path: data.join(name.to_ascii_lowercase()) })
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// The file with the tables.
    pub(crate) fn tables(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// Opens the hub, or makes it.
    pub(crate) fn open(&self, partitions: u16) -> Result<Embedded, Error> {
        std::fs::create_dir_all(&self.path).map_err(|source| self.trouble(source))?;
        self.refuse_if_running()?;
        let hub = HubOptions::new(&self.name, partitions);
        Ok(open_embedded(&self.path, &hub, LoggedOptions::default())?)
    }

    /// Removes all that earlier runs left.
    pub(crate) fn begin_anew(&self) -> Result<(), Error> {
        self.refuse_if_running()?;
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.trouble(error)),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// The address of the host that has the hub open: empty if it has not told one, `None` if there is no host.
    pub(crate) fn running(&self) -> Option<String> {
        FolderLock::holder(&self.path).map(|holder| holder.url.unwrap_or_default())
    }

    /// The message of a folder in use names who and where, and comes before any wait.
    fn refuse_if_running(&self) -> Result<(), Error> {
        match FolderLock::holder(&self.path) {
            None => Ok(()),
            Some(holder) => {
                let at = holder.url.map_or_else(String::new, |url| format!(" at {url}"));
                Err(Error::Running { pid: holder.pid, at })
            }
        }
    }

    fn trouble(&self, source: io::Error) -> Error {
        Error::Folder { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_lies_in_the_apps_folder_under_its_name() {
        let hub = HubFolder::of(Path::new("app"), None, "MyHub").unwrap();
        assert_eq!(hub.path, Path::new("app/.everstep/myhub"));
        let elsewhere = HubFolder::of(Path::new("app"), Some(Path::new("/data")), "a").unwrap();
        assert_eq!(elsewhere.path, Path::new("/data/a"));
    }

    #[test]
    fn a_name_that_is_no_folder_is_refused() {
        for name in ["", "a/b", "..", "a b", &"x".repeat(51)] {
            let error = HubFolder::of(Path::new("app"), None, name).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "`{name}` cannot be a task hub's name; write 1 to 50 letters, digits, `-` and `_` for extensions.durableTask.hubName in host.json"
                )
            );
        }
    }

    #[test]
    fn a_hub_that_is_open_is_neither_opened_again_nor_removed() {
        let app = tempfile::tempdir().unwrap();
        let hub = HubFolder::of(app.path(), None, "hub").unwrap();
        let open = hub.open(1).unwrap();
        let pid = std::process::id();
        let text = format!("process {pid} runs this app's hub; stop it, or ask it with --url");
        assert_eq!(hub.open(1).err().unwrap().to_string(), text);
        assert_eq!(hub.begin_anew().unwrap_err().to_string(), text);
        drop(open);
        hub.begin_anew().unwrap();
        assert!(!hub.path.exists());
        hub.begin_anew().unwrap();
    }
}
