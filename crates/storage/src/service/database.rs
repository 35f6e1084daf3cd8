//! The `SQLite` file: one thread that writes, one that reads.
//!
//! D1  A write is answered after its commit is flushed, never before. What was answered survives the process's death.
//! D2  Writes that wait while a flush runs share the next one. Each has a savepoint, so one that fails leaves no trace and
//!     does not disturb the others.
//! D3  A read begins after every write that was answered before it, and sees all of them.
//! D4  What follows a commit (waking readers, deleting replaced files) is done by the writing thread, whether or not
//!     somebody still waits for the answer.

use std::{
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{OpenError, fault::Fault};

/// How many writes share a flush at most.
const BATCH: usize = 512;
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE queues (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        metadata TEXT NOT NULL
    ) STRICT;
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL,
        name TEXT NOT NULL UNIQUE,
        receipt TEXT NOT NULL,
        text TEXT NOT NULL,
        inserted INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        visible INTEGER NOT NULL,
        dequeued INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX messages_by_visibility ON messages (queue, visible, id);
    CREATE INDEX messages_by_expiry ON messages (expires);
    CREATE TABLE containers (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        metadata TEXT NOT NULL,
        etag TEXT NOT NULL,
        modified INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE contents (
        id INTEGER PRIMARY KEY,
        data BLOB NOT NULL
    ) STRICT;
    CREATE TABLE blobs (
        id INTEGER PRIMARY KEY,
        container INTEGER NOT NULL,
        name TEXT NOT NULL,
        etag TEXT NOT NULL,
        created INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        length INTEGER NOT NULL,
        content INTEGER,
        file TEXT,
        headers TEXT NOT NULL,
        metadata TEXT NOT NULL,
        blocks TEXT NOT NULL,
        lease TEXT,
        lease_until INTEGER NOT NULL DEFAULT 0,
        lease_seconds INTEGER NOT NULL DEFAULT 0,
        UNIQUE (container, name)
    ) STRICT;
    CREATE TABLE blocks (
        id INTEGER PRIMARY KEY,
        container INTEGER NOT NULL,
        blob TEXT NOT NULL,
        block TEXT NOT NULL,
        length INTEGER NOT NULL,
        content INTEGER,
        file TEXT,
        UNIQUE (container, blob, block)
    ) STRICT;
    CREATE TABLE properties (
        service TEXT PRIMARY KEY,
        document TEXT NOT NULL
    ) STRICT;
";

/// The way to both threads. Dropping it ends them, after all that was asked is done.
pub(super) struct Database {
    write: Option<Sender<Box<dyn Job>>>,
    read: Option<Sender<Box<dyn Job>>>,
    threads: Vec<JoinHandle<()>>,
}

/// Something to be done with the database.
trait Job: Send {
    /// Does it, without answering; whether it succeeded.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Answers: with the outcome, or with what kept it from becoming durable.
    fn finish(self: Box<Self>, failure: Option<Fault>);
}

struct Asked<T, F, A> {
    work: Option<F>,
    after: A,
    outcome: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, Fault>>,
}

impl<T, F, A> Job for Asked<T, F, A>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Fault> + Send,
    A: FnOnce(&T) + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let work = self.work.take().expect("a job runs once");
        let outcome = work(connection);
        let succeeded = outcome.is_ok();
        self.outcome = Some(outcome);
        succeeded
    }

    fn finish(self: Box<Self>, failure: Option<Fault>) {
        let outcome = self.outcome.unwrap_or_else(|| Err(Fault::internal()));
        let outcome = match (failure, outcome) {
            (Some(failure), Ok(_)) => Err(failure),
            (_, outcome) => outcome,
        };
        if let Ok(value) = &outcome {
            (self.after)(value);
        }
        // Who asked may have gone away; what was done stays done.
        let _ = self.reply.send(outcome);
    }
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Database { path: path.to_owned(), source };
        let writer = connect(path).map_err(failed)?;
        prepare(&writer, path)?;
        let reader = connect(path).map_err(failed)?;
        reader.pragma_update(None, "query_only", true).map_err(failed)?;
        let (write, writes) = channel();
        let (read, reads) = channel();
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map_err(|source| OpenError::Io { path: path.to_owned(), source })
        };
        let threads = vec![
            spawn("storage-write", Box::new(move || write_all(&writer, &writes)))?,
            spawn("storage-read", Box::new(move || read_all(&reader, &reads)))?,
        ];
        Ok(Self { write: Some(write), read: Some(read), threads })
    }

    /// Changes the database. The answer comes when the change is durable.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.write_then(work, |_| {}).await
    }

    /// Changes the database and does something once that is durable.
    pub(super) async fn write_then<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
        after: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Fault> {
        ask(self.write.as_ref(), work, after).await
    }

    /// Reads from one state of the database.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        ask(self.read.as_ref(), work, |_| {}).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        (self.write, self.read) = (None, None);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

async fn ask<T: Send + 'static>(
    thread: Option<&Sender<Box<dyn Job>>>,
    work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    after: impl FnOnce(&T) + Send + 'static,
) -> Result<T, Fault> {
    let (reply, answer) = oneshot::channel();
    let job = Asked { work: Some(work), after, outcome: None, reply };
    let thread = thread.expect("it is there until the database is dropped");
    if thread.send(Box::new(job)).is_err() {
        tracing::error!("a thread of the storage service has ended");
        return Err(Fault::internal());
    }
    answer.await.unwrap_or_else(|_| Err(Fault::internal()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On systems where a plain flush stops in the drive's cache.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let version = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let found = connection.query_row("PRAGMA user_version", [], version).map_err(failed)?;
    match found {
        0 => {
            let sql = format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
            connection.execute_batch(&sql).map_err(failed)
        }
        SCHEMA_VERSION => Ok(()),
        found => Err(OpenError::Version { path: path.to_owned(), found }),
    }
}

fn write_all(connection: &Connection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(BATCH - 1));
        let failure = commit(connection, &mut batch).err();
        for job in batch {
            job.finish(failure.clone());
        }
    }
}

/// Runs a batch in one transaction.
fn commit(connection: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), Fault> {
    let transaction = connection.unchecked_transaction()?;
    for job in batch {
        transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
        if !job.run(&transaction) {
            transaction.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        transaction.prepare_cached("RELEASE job")?.execute([])?;
    }
    Ok(transaction.commit()?)
}

fn read_all(connection: &Connection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(mut job) = jobs.recv() {
        let failure = match connection.unchecked_transaction() {
            Ok(transaction) => {
                job.run(&transaction);
                transaction.finish().err().map(Fault::from)
            }
            Err(error) => Some(Fault::from(error)),
        };
        job.finish(failure);
    }
}
