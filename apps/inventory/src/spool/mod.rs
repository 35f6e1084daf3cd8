//! The spool: rows, the queue of directories and the progress of scans, in one file of `SQLite`.
//!
//! P1  What a page of a listing brings (rows, subdirectories, counters, the marker of the next page) is one transaction.
//! P2  A page is taken once. Its directory and number are compared before anything is written; who comes second changes
//!     nothing. So an activity that runs again leaves what it left before.
//! P3  A transaction that has ended is on disk: histories rely on it.
//! P4  There is one writer at a time. Readers of reports have connections of their own and never wait for it.
//!
//! `rows.rs` has the rows and the table that queries read, `queue.rs` what a scan needs, `batches.rs` what sending needs,
//! `report.rs` what people ask.

pub(crate) mod batches;
pub(crate) mod queue;
pub(crate) mod report;
mod rows;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use everstep::Failure;
use rusqlite::{Connection, OpenFlags};

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the inventory {path} cannot be opened: {source}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the folder of the inventory {path} cannot be made: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the inventory cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "the inventory does not know the share {0} any more; was its file removed? start the scan anew"
    )]
    Gone(i64),
}

/// The kind of failures of the spool.
const KIND: &str = "Inventory";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let is_final = matches!(error, Error::Gone(_));
        let failure = Self::new(KIND, error.to_string());
        if is_final { failure.fatal() } else { failure }
    }
}

/// The file, opened when it is first asked for: beginning anew removes the hub's folder after the app is built.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    path: Arc<PathBuf>,
    writer: Arc<Mutex<Option<Connection>>>,
}

impl Spool {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Arc::new(path), writer: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs code with the writer, away from the threads that must not wait.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        code: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let spool = self.clone();
        let done = tokio::task::spawn_blocking(move || spool.write_here(code));
        done.await.map_err(everstep::failure)?.map_err(Failure::from)
    }

    /// The same for code that may wait.
    pub(crate) fn write_here<T>(
        &self,
        code: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // What a panic left behind was rolled back with its transaction.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            *writer = Some(open(&self.path)?);
        }
        code(writer.as_mut().expect("it was opened above"))
    }

    /// Runs code with a connection that cannot write.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        code: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let spool = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // So that there is something to read.
            spool.write_here(|_| Ok(()))?;
            code(&open_to_read(&spool.path)?)
        });
        done.await.map_err(everstep::failure)?.map_err(Failure::from)
    }
}

/// Opens the file, or makes it.
fn open(path: &Path) -> Result<Connection, Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Folder { path: path.to_owned(), source })?;
    }
    let opened = Connection::open(path).and_then(|connection| {
        // Each page is a write of its own; rows come by the thousand.
        connection.pragma_update(None, "page_size", 16 << 10)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
        // Rows are appended, so few pages are asked for twice.
        connection.pragma_update(None, "cache_size", -2048)?;
        connection.busy_timeout(std::time::Duration::from_secs(30))?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(TABLES)?;
        connection.execute_batch(&rows::tables())?;
        Ok(connection)
    });
    opened.map_err(|source| Error::Open { path: path.to_owned(), source })
}

/// Opens the file for queries; it must be there.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(std::time::Duration::from_secs(30))?;
        Ok(connection)
    });
    opened.map_err(|source| Error::Open { path: path.to_owned(), source })
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS scans (
    execution TEXT PRIMARY KEY, instance TEXT NOT NULL, account TEXT NOT NULL, options TEXT NOT NULL,
    started INTEGER NOT NULL, ended INTEGER, status TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS shares (
    id INTEGER PRIMARY KEY AUTOINCREMENT, execution TEXT NOT NULL, account TEXT NOT NULL, name TEXT NOT NULL,
    root BLOB NOT NULL, files INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, directories INTEGER NOT NULL DEFAULT 0,
    queued INTEGER NOT NULL DEFAULT 0, errors INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    sends INTEGER NOT NULL, status TEXT NOT NULL, UNIQUE (execution, name)
);
CREATE TABLE IF NOT EXISTS directories (
    id INTEGER PRIMARY KEY AUTOINCREMENT, share INTEGER NOT NULL, parent INTEGER, path BLOB NOT NULL,
    page INTEGER NOT NULL DEFAULT 0, marker TEXT, done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS directories_waiting ON directories (share, id) WHERE done = 0;
CREATE TABLE IF NOT EXISTS errors (
    id INTEGER PRIMARY KEY, share INTEGER NOT NULL, directory INTEGER, name TEXT, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS errors_of_share ON errors (share, id);
CREATE TABLE IF NOT EXISTS groups (
    share INTEGER NOT NULL, category INTEGER NOT NULL, age INTEGER NOT NULL, size INTEGER NOT NULL,
    files INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (share, category, age, size)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ranges (
    id INTEGER PRIMARY KEY, share INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS ranges_of_share ON ranges (share, id);
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY, share INTEGER NOT NULL, ranges TEXT NOT NULL, records INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, cause TEXT
);
CREATE INDEX IF NOT EXISTS batches_of_share ON batches (share, state, id);
";
