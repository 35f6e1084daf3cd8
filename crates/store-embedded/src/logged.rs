//! The store: a log in front of tables.
//!
//! W1  [`Store::append`] only queues. One writer takes all that is queued into one frame; while it flushes, the next
//!     frame gathers. The flush is the batching window, and nothing else waits.
//! W2  A group is reported durable after its frame is flushed, never before, and never once anything failed (S9).
//! W3  Running full is a state: the frame stays as it is and is written again in its place; the observer is told, also
//!     when only the reserve could not be made. Terminating and purging then go on in what reserve there is.
//! W4  Log is let go after the tables hold it, not before (S5), and not while a backup needs it.
//!
//! Start reading at [`Logged::open`]; the writing side is in `logged/writer.rs`.

mod backup;
mod signal;
mod writer;

pub use self::backup::BackupReport;
pub(crate) use self::backup::check_finished;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use everstep_model::{GroupNo, PartitionId};
use everstep_store::{
    Error, Fold, Hub, HubOptions, Mode, Observer, Pressure, Pumped, Record, Store, Tables, Writer,
};

use self::writer::Shared;
pub(crate) use self::writer::lock;
use crate::{
    disk::{Disk, RealDisk},
    lock::{FolderLock, NetworkFolder},
    log::{Log, LogOptions, Opened},
    sqlite::SqliteTables,
};

/// How a store with a log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedOptions {
    /// Sizes of the log.
    pub log: LogOptions,
    /// Who writes it.
    pub writer: Writer,
    /// Whether a folder on a network file system is taken.
    pub network_folder: NetworkFolder,
    /// With fewer free bytes than these, [`Pressure::low_space`] says that nothing new should be started.
    pub free_bytes_min: u64,
}

impl Default for LoggedOptions {
    fn default() -> Self {
        Self {
            log: LogOptions::default(),
            writer: Writer::Thread,
            network_folder: NetworkFolder::Refuse,
            free_bytes_min: 512 << 20,
        }
    }
}

/// A store in [`Mode::Log`], over any disk and any tables.
pub struct Logged<D: Disk, T: Tables> {
    hub: Hub,
    shared: Arc<Shared<D>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovered: Mutex<Vec<Record>>,
    /// How far the tables are; held while they are written and the log is trimmed.
    applied: Mutex<Folded>,
    tables: T,
    /// Last, because the folder is free only when all files in it are closed.
    lock: Option<FolderLock>,
}

/// How far the tables are, per partition, and what of the log is kept all the same.
struct Folded {
    groups: Vec<GroupNo>,
    /// A backup is being made and needs what is above these groups.
    pinned: Option<Vec<GroupNo>>,
}

/// The store of a host: on the local disk, with `SQLite` tables.
pub type Embedded = Logged<RealDisk, SqliteTables>;

/// Opens the hub in a folder, and makes it if there is none: takes the lock, then the tables, then the log.
pub fn open_embedded(
    folder: &Path,
    hub: &HubOptions,
    options: LoggedOptions,
) -> Result<Embedded, Error> {
    let lock = FolderLock::take(folder, options.network_folder)?;
    check_finished(folder)?;
    let (tables, hub) = SqliteTables::open(folder, hub)?;
    lock.announce(Some(hub.epoch), None)?;
    let mut store = Logged::open(RealDisk, folder, hub, tables, options)?;
    store.lock = Some(lock);
    Ok(store)
}

impl<D: Disk, T: Tables> Logged<D, T> {
    /// Opens the log that lies in the folder, for tables that were opened for this hub. Takes no lock.
    pub fn open(
        disk: D,
        folder: &Path,
        hub: Hub,
        tables: T,
        options: LoggedOptions,
    ) -> Result<Self, Error> {
        let applied: Vec<_> = tables.applied()?.into_iter().map(|applied| applied.group).collect();
        assert_eq!(applied.len(), usize::from(hub.partitions), "the tables know every partition");
        let Opened { log, records } = Log::open(disk.clone(), folder, &hub, &applied, options.log)?;
        let shared = Arc::new(Shared::new(disk, folder, log, &options, &applied, &records));
        let threads = match options.writer {
            Writer::Manual => Vec::new(),
            Writer::Thread => writer::spawn(&shared).map_err(|source| Error::Unavailable {
                doing: "starting the log's threads",
                source: source.into(),
            })?,
        };
        Ok(Self {
            hub,
            shared,
            threads: Mutex::new(threads),
            recovered: Mutex::new(records),
            applied: Mutex::new(Folded { groups: applied, pinned: None }),
            tables,
            lock: None,
        })
    }

    /// Writes and flushes what is queued, as one frame, and reports it; for [`Writer::Manual`].
    pub fn pump(&self) -> Pumped {
        self.shared.pump()
    }

    /// Tells those who find the folder locked where this process answers.
    pub fn announce(&self, url: &str) -> Result<(), Error> {
        self.lock.as_ref().map_or(Ok(()), |lock| lock.announce(Some(self.hub.epoch), Some(url)))
    }

    /// How many bytes may still be written in the folder.
    pub fn free_space(&self) -> Result<u64, Error> {
        self.shared.free_space()
    }

    fn stop_threads(&self) {
        self.shared.stop();
        for thread in lock(&self.threads).drain(..) {
            thread.join().expect("a panic in a thread of the log ends the process");
        }
    }
}

impl<D: Disk, T: Tables> Store for Logged<D, T> {
    type Tables = T;

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn mode(&self) -> Mode {
        Mode::Log
    }

    fn tables(&self) -> &T {
        &self.tables
    }

    fn acquire(&self, partition: PartitionId) -> Result<u64, Error> {
        assert!(partition.0 < self.hub.partitions, "a host asks for partitions of its hub");
        Ok(self.hub.epoch)
    }

    fn release(&self, partition: PartitionId) -> Result<(), Error> {
        self.shared
            .wait_durable("giving a partition up", &[(partition, self.shared.appended(partition))])
    }

    fn recover(
        &self,
        partitions: &[PartitionId],
        sink: &mut dyn FnMut(Record),
    ) -> Result<(), Error> {
        let mut recovered = lock(&self.recovered);
        let (given, kept) = std::mem::take(&mut *recovered)
            .into_iter()
            .partition::<Vec<_>, _>(|record| partitions.contains(&record.partition));
        *recovered = kept;
        drop(recovered);
        given.into_iter().for_each(sink);
        Ok(())
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.shared.observe(observer);
    }

    fn append(&self, record: Record) {
        self.shared.append(record);
    }

    fn fold(&self, folds: &[Fold]) -> Result<(), Error> {
        let mut applied = lock(&self.applied);
        let groups: Vec<_> = folds.iter().map(|fold| (fold.partition, fold.upto)).collect();
        self.shared.wait_durable("waiting for the groups of a fold", &groups)?;
        self.tables.fold(folds)?;
        for (partition, upto) in groups {
            let applied = &mut applied.groups[usize::from(partition.0)];
            *applied = upto.max(*applied);
        }
        self.shared.let_go(&applied.groups, applied.pinned.as_deref());
        Ok(())
    }

    fn pressure(&self) -> Pressure {
        self.shared.pressure()
    }

    fn close(&self) -> Result<(), Error> {
        let applied = lock(&self.applied);
        self.shared.drain()?;
        self.stop_threads();
        match applied.pinned {
            Some(_) => Ok(()),
            None => self.shared.retire(&applied.groups),
        }
    }
}

impl<D: Disk, T: Tables> Drop for Logged<D, T> {
    /// Ends the threads. What is queued and not durable is lost, as in a crash; [`Store::close`] waits for it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.shared.discard();
            self.stop_threads();
        }
    }
}
