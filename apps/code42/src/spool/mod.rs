//! The spool: messages, objects, records on their way, what was put aside, and what runs came to.
//!
//! P1  Records of an object lie in one file, cut into chunks; an index in `SQLite` says which of them were accepted. The
//!     file is on disk before the index names it, and goes with the last chunk.
//! P2  A step changes state and counters in one transaction, and only from the state before. An activity that runs again
//!     leaves what it left before, and a summary counts each thing once.
//! P3  A transaction that has ended is on disk: histories rely on it.
//! P4  No key and no token is written here.
//!
//! `messages.rs` has what the queue brings, `objects.rs` how far each object is, `report.rs` what people ask.

pub(crate) mod messages;
pub(crate) mod objects;
pub(crate) mod report;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use everstep::Failure;
use rusqlite::Connection;

/// The file with the index.
const INDEX: &str = "code42.db";
/// The folder with the records.
const RECORDS: &str = "records";

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the spool {path} cannot be opened: {source}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the spool cannot be written: {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the spool cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the spool does not know {0} any more; was its file removed? start a new run")]
    Gone(String),
}

/// The kind of failures of the spool.
const KIND: &str = "Spool";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let is_final = matches!(error, Error::Gone(_));
        let failure = Self::new(KIND, error.to_string());
        if is_final { failure.fatal() } else { failure }
    }
}

/// The spool, opened when it is first asked for: beginning anew removes the hub's folder after the app is built.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    folder: Arc<PathBuf>,
    index: Arc<Mutex<Option<Connection>>>,
}

impl Spool {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(folder), index: Arc::default() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with an object's records.
    pub(crate) fn records(&self, object: i64) -> PathBuf {
        self.folder.join(RECORDS).join(format!("{object}.json"))
    }

    /// Removes it; one that is gone is removed already.
    pub(crate) fn forget_records(&self, object: i64) -> Result<(), Error> {
        let path = self.records(object);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Runs code with the index, away from the threads that must not wait.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        code: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let spool = self.clone();
        let done = tokio::task::spawn_blocking(move || spool.with_here(code));
        done.await.map_err(everstep::failure)?.map_err(Failure::from)
    }

    fn with_here<T>(
        &self,
        code: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // What a panic left behind was rolled back with its transaction.
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.is_none() {
            *index = Some(self.open()?);
        }
        code(index.as_mut().expect("it was opened above"))
    }

    fn open(&self) -> Result<Connection, Error> {
        let records = self.folder.join(RECORDS);
        fs::create_dir_all(&records).map_err(|source| Error::File { path: records, source })?;
        let path = self.folder.join(INDEX);
        let opened = Connection::open(&path).and_then(|index| {
            index.pragma_update(None, "journal_mode", "wal")?;
            index.pragma_update(None, "synchronous", "full")?;
            index.busy_timeout(std::time::Duration::from_secs(30))?;
            index.set_prepared_statement_cache_capacity(64);
            index.execute_batch(TABLES)?;
            Ok(index)
        });
        opened.map_err(|source| Error::Open { path, source })
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, began INTEGER NOT NULL, ended INTEGER,
    status TEXT NOT NULL, cause TEXT,
    stopped_early INTEGER NOT NULL DEFAULT 0, messages_processed INTEGER NOT NULL DEFAULT 0,
    messages_deleted INTEGER NOT NULL DEFAULT 0, messages_failed INTEGER NOT NULL DEFAULT 0,
    records_sent INTEGER NOT NULL DEFAULT 0, objects INTEGER NOT NULL DEFAULT 0,
    skipped_old INTEGER NOT NULL DEFAULT 0, skipped_other INTEGER NOT NULL DEFAULT 0,
    bad_lines INTEGER NOT NULL DEFAULT 0, failed_objects INTEGER NOT NULL DEFAULT 0,
    old_records INTEGER NOT NULL DEFAULT 0, cut_fields INTEGER NOT NULL DEFAULT 0,
    notices_without_objects INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message TEXT NOT NULL UNIQUE, receipt TEXT NOT NULL, body TEXT NOT NULL,
    receives INTEGER NOT NULL, run INTEGER NOT NULL, problem TEXT, idle TEXT, state TEXT NOT NULL,
    at_work INTEGER NOT NULL, seen INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_at_work ON messages (run) WHERE at_work;
CREATE TABLE IF NOT EXISTS objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message INTEGER NOT NULL, position INTEGER NOT NULL, bucket TEXT NOT NULL,
    notice_key TEXT NOT NULL, keys TEXT NOT NULL, time TEXT, state TEXT NOT NULL, cause TEXT, fault TEXT,
    tried INTEGER NOT NULL DEFAULT 0, records INTEGER NOT NULL DEFAULT 0, UNIQUE (message, position)
);
CREATE TABLE IF NOT EXISTS chunks (
    object INTEGER NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    records INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (object, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunks_left ON chunks (object, number) WHERE NOT sent;
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, message TEXT NOT NULL, object INTEGER, bucket TEXT,
    key TEXT, line INTEGER, cause TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS quarantine_of_object ON quarantine (object);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

#[cfg(test)]
pub(crate) fn in_memory() -> Connection {
    let index = Connection::open_in_memory().expect("memory can be opened");
    index.execute_batch(TABLES).expect("the tables are SQL");
    index
}
