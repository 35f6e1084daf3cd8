//! The tables on disk: one database file, written by folds and read by queries.
//!
//! Q1  One connection writes, behind a lock; any number of short readers see the state of the last commit.
//! Q2  A write is durable when its call returns: WAL with `synchronous=FULL`.
//! Q3  All of a call is read in one transaction, so that it sees one state.
//! Q4  Opened at rest, nothing is written, not even beside the database: see `sqlite/at_rest.rs`.
//! Q5  Instance rows can be read by a person with `sqlite3`: values are text wherever they are UTF-8.
//!
//! Absent on purpose: what events, `live` blobs and a partition's own state mean. They are bytes here.
//! Start reading at [`SqliteTables::open`].

mod at_rest;
mod error;
mod fold;
mod list;
mod purge;
mod read;
mod row;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use everstep_model::{Iid, InstanceId, PayloadRef, Timestamp};
use everstep_store::{
    Applied, Chunk, Cursor, Due, Dump, Error, Filter, Fold, Hub, HubOptions, Order, Page, Row,
    Tables,
};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, backup, backup::Backup};

use error::Place;

pub use at_rest::connect_at_rest;
pub(crate) use at_rest::wal_of;

/// How many idle connections for reading are kept.
const READERS_KEPT: usize = 8;

/// How many statements a connection keeps compiled.
const STATEMENTS_KEPT: usize = 64;

/// After so many written rows the WAL is copied into the database; a fold of the log mostly exceeds it alone.
const CHECKPOINT_ROWS: usize = 500;

/// A WAL beyond this is cut to nothing as soon as no reader needs it.
const WAL_BYTES_MAX: u64 = 256 << 20;

/// How many pages of 16 KiB a shrink step gives back: 16 MiB.
const SHRINK_PAGES: u32 = 1024;

/// How many pages of 16 KiB a backup copies at a time.
const BACKUP_PAGES: i32 = 1024;

/// Another process may hold the database for as long as it recovers it.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Tables in `state.db` within the folder of a hub.
pub struct SqliteTables {
    place: Place,
    /// Before the writer, so that the last connection to close is one that can copy and remove the WAL.
    readers: Mutex<Vec<Connection>>,
    access: Access,
}

/// What may be done with the tables.
enum Access {
    /// All: this process is the host.
    Host(Mutex<Writer>),
    /// Reading, while no host runs.
    AtRest,
}

struct Writer {
    conn: Connection,
    /// Rows written since the WAL was last copied.
    unchecked: usize,
}

impl SqliteTables {
    /// Opens the hub in a folder that exists, or makes it there; raises its epoch.
    ///
    /// The partition count of an existing hub stays. The caller sees to it that one process has the folder open.
    pub fn open(folder: &Path, options: &HubOptions) -> Result<(Self, Hub), Error> {
        let place = Place::new(folder);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = connect(&place, flags).map_err(|error| place.opening(error))?;
        let hub = schema::open(&mut conn, &place, options)?;
        sync_folder(folder).map_err(|source| Error::WriteFailed {
            folder: folder.to_owned(),
            doing: "opening the tables",
            source: source.into(),
        })?;
        let access = Access::Host(Mutex::new(Writer { conn, unchecked: 0 }));
        Ok((Self { place, access, readers: Mutex::new(Vec::new()) }, hub))
    }

    /// Opens the hub in a folder for reading and writes nothing: the epoch stays, an older format too. The caller sees
    /// to it that no host has the folder open.
    pub fn open_at_rest(folder: &Path) -> Result<(Self, Hub), Error> {
        let place = Place::new(folder);
        if !fs::metadata(place.file()).is_ok_and(|file| file.len() > 0) {
            return Err(place.without_hub());
        }
        let tables = Self { place, access: Access::AtRest, readers: Mutex::new(Vec::new()) };
        let conn = tables.reader().map_err(tables.place.reading("opening the tables"))?;
        let hub = schema::read(&conn, &tables.place)?;
        lock(&tables.readers).push(conn);
        Ok((tables, hub))
    }

    /// Copies the present state into a new database, without stopping anyone.
    pub fn backup(&self, to: &Path) -> Result<(), Error> {
        self.read("copying the tables", |conn| {
            // Reading something fixes the state that the copy shows.
            read::applied(conn)?;
            let mut copy = Connection::open(to)?;
            let run = Backup::new(conn, &mut copy)?;
            while run.step(BACKUP_PAGES)? != backup::StepResult::Done {}
            Ok(())
        })
    }

    /// Everything the tables hold, for comparison.
    pub fn logical_dump(&self) -> Result<Dump, Error> {
        let (mut dump, chunks) = self.read("reading everything", read::everything)?;
        for chunk in &chunks {
            dump.add_chunk(chunk).map_err(|error| self.place.damaged(error.to_string()))?;
        }
        Ok(dump)
    }

    /// Runs a read in a transaction of its own, on a connection of the pool.
    fn read<R>(
        &self,
        doing: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R, Error> {
        let pooled = lock(&self.readers).pop();
        let conn = match pooled {
            Some(conn) => conn,
            None => self.reader().map_err(self.place.reading(doing))?,
        };
        let result = conn
            .unchecked_transaction()
            .and_then(|_tx| run(&conn))
            .map_err(self.place.reading(doing))?;
        let mut readers = lock(&self.readers);
        if readers.len() < READERS_KEPT {
            readers.push(conn);
        }
        Ok(result)
    }

    fn reader(&self) -> rusqlite::Result<Connection> {
        let conn = match self.access {
            Access::AtRest => connect_at_rest(&self.place.file())?,
            Access::Host(_) => connect(
                &self.place,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
        };
        conn.execute_batch(schema::READER)?;
        Ok(conn)
    }

    fn writer(&self, doing: &'static str) -> Result<MutexGuard<'_, Writer>, Error> {
        match &self.access {
            Access::Host(writer) => Ok(lock(writer)),
            Access::AtRest => Err(self.place.read_only(doing)),
        }
    }

    /// Runs a change as one durable transaction; the change says how many rows it touched.
    fn write<R>(
        &self,
        doing: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<(R, usize)>,
    ) -> Result<R, Error> {
        let mut writer = self.writer(doing)?;
        let (result, touched) = writer.transaction(run).map_err(self.place.writing(doing))?;
        writer.unchecked += touched;
        if writer.unchecked >= CHECKPOINT_ROWS {
            let is_long = fs::metadata(at_rest::wal_of(&self.place.file()))
                .is_ok_and(|wal| wal.len() > WAL_BYTES_MAX);
            self.checkpoint(
                &mut writer,
                if is_long { Checkpoint::Truncate } else { Checkpoint::Passive },
            )?;
        }
        Ok(result)
    }

    /// Copies the WAL into the database. What is committed is safe in the WAL, so a full disk only puts this off.
    fn checkpoint(&self, writer: &mut Writer, how: Checkpoint) -> Result<(), Error> {
        match writer.checkpoint(how).map_err(self.place.writing("copying the WAL")) {
            Ok(()) => {
                writer.unchecked = 0;
                Ok(())
            }
            Err(Error::DiskFull { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// How the WAL is copied into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    /// As far as readers allow, waiting for nobody.
    Passive,
    /// All of it, and the WAL is cut to nothing; as the other if somebody reads.
    Truncate,
}

impl Writer {
    fn transaction<R>(
        &mut self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> rusqlite::Result<R> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = run(&tx)?;
        tx.commit()?;
        Ok(result)
    }

    /// Copies what readers allow to copy; a backup may hold its state for long and must not hold up folds.
    fn checkpoint(&self, how: Checkpoint) -> rusqlite::Result<()> {
        let sql = match how {
            Checkpoint::Passive => "pragma wal_checkpoint(passive)",
            Checkpoint::Truncate => "pragma wal_checkpoint(truncate)",
        };
        self.conn.busy_timeout(Duration::ZERO)?;
        let done = self.conn.query_row(sql, [], |_| Ok(()));
        self.conn.busy_timeout(BUSY_WAIT)?;
        done
    }
}

impl Tables for SqliteTables {
    fn applied(&self) -> Result<Vec<Applied>, Error> {
        self.read("reading how far the tables are", read::applied)
    }

    fn fold(&self, folds: &[Fold]) -> Result<(), Error> {
        self.write("folding", |conn| Ok(((), fold::write(conn, folds)?)))
    }

    fn purge_step(&self) -> Result<bool, Error> {
        if !self.read("looking for purged instances", purge::is_pending)? {
            return Ok(false);
        }
        self.write("deleting purged instances", |conn| Ok((purge::step(conn)?, CHECKPOINT_ROWS)))
    }

    fn shrink_step(&self) -> Result<bool, Error> {
        let doing = "giving space back";
        let mut writer = self.writer(doing)?;
        let more = shrink(&writer.conn).map_err(self.place.writing(doing))?;
        self.checkpoint(&mut writer, Checkpoint::Truncate)?;
        Ok(more)
    }

    fn find(&self, ids: &[InstanceId]) -> Result<Vec<Option<Row>>, Error> {
        self.read("reading instances", |conn| read::find(conn, ids))
    }

    fn row(&self, iid: Iid) -> Result<Option<Row>, Error> {
        self.read("reading an instance", |conn| read::row(conn, iid))
    }

    fn chunks(
        &self,
        iid: Iid,
        execution: u32,
        from_seq: u32,
        bytes_max: usize,
    ) -> Result<Vec<Chunk>, Error> {
        self.read("reading a history", |conn| {
            read::chunks(conn, (iid, execution), from_seq, bytes_max)
        })
    }

    fn payload(&self, payload: &PayloadRef) -> Result<Bytes, Error> {
        let bad = |what| Error::BadPayload { iid: payload.iid.0, n: payload.n, what };
        let bytes = self.read("reading a payload", |conn| read::payload(conn, payload))?;
        let bytes = bytes.ok_or_else(|| bad("is missing"))?;
        let is_whole = bytes.len() == payload.len as usize && crc32c::crc32c(&bytes) == payload.crc;
        if is_whole { Ok(bytes) } else { Err(bad("has other bytes than were written")) }
    }

    fn due(&self, upto: Timestamp, after: Option<&Due>, limit: usize) -> Result<Vec<Due>, Error> {
        self.read("reading what is due", |conn| read::due(conn, upto, after, limit))
    }

    fn list(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.read("listing instances", |conn| list::list(conn, filter, order, after, limit))
    }

    fn count(&self, filter: &Filter, within: Duration) -> Result<(u64, bool), Error> {
        self.read("counting instances", |conn| list::count(conn, filter, within))
    }
}

fn connect(place: &Place, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(place.file(), flags)?;
    conn.busy_timeout(BUSY_WAIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(conn)
}

/// Gives free pages back; `true` if there are more.
fn shrink(conn: &Connection) -> rusqlite::Result<bool> {
    // The pragma frees a page with each row that is fetched.
    let mut vacuum = conn.prepare(&format!("pragma incremental_vacuum({SHRINK_PAGES})"))?;
    let mut freed = vacuum.query([])?;
    while freed.next()?.is_some() {}
    let left: u64 = conn.query_row("pragma freelist_count", [], |row| row.get(0))?;
    Ok(left > 0)
}

/// Makes the name of a new database as durable as its contents.
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// A panic elsewhere leaves connections whole: an open transaction is rolled back as it unwinds.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
