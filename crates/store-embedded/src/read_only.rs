//! A hub that is read while no host runs: commands that look into a folder use it.
//!
//! E1  The folder's lock is taken as a host takes it; who finds it taken learns whom to ask.
//! E2  Nothing is written but the file `LOCK`: no torn bytes are cleared, no epoch is raised, no format brought up to
//!     date. The next host finds the folder as the last one left it.
//! E3  What is handed over is what a host would recover.
//!
//! Absent on purpose: everything that changes the hub. [`Store::append`] tells the observer that nothing will become
//! durable, [`Store::fold`] and the tables refuse.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use everstep_model::PartitionId;
use everstep_store::{Error, Fold, Hub, Mode, Observer, Pressure, Record, Store, Tables};

use crate::{
    disk::{Disk, ReadingDisk},
    lock::{FolderLock, Medium, NetworkFolder},
    log,
    logged::{check_finished, lock},
    sqlite::{SqliteTables, wal_of},
};

/// A store that is only read.
pub struct ReadOnly<T: Tables> {
    hub: Hub,
    folder: PathBuf,
    recovered: Mutex<Vec<Record>>,
    observer: Mutex<Option<Arc<dyn Observer>>>,
    tables: T,
    /// Last, because the folder is free only when all files in it are closed.
    lock: Option<FolderLock>,
}

/// Opens the hub in a folder for reading only: takes the lock, then the tables, then the log.
pub fn open_read_only(
    folder: &Path,
    network: NetworkFolder,
) -> Result<ReadOnly<SqliteTables>, Error> {
    if !folder.is_dir() {
        let why = "does not exist; name the folder of a task hub";
        return Err(Error::Refused { folder: folder.to_owned(), why });
    }
    let lock = FolderLock::take_to_read(folder, network)?;
    check_finished(folder)?;
    check_settled(folder, lock.medium())?;
    let (tables, hub) = SqliteTables::open_at_rest(folder)?;
    let mut store = ReadOnly::open(&ReadingDisk, folder, hub, tables)?;
    store.lock = Some(lock);
    Ok(store)
}

/// A folder that cannot be written may be written elsewhere, and its lock cannot tell. A `-wal` is the sign of that, or
/// of a host that ended without closing.
fn check_settled(folder: &Path, medium: Medium) -> Result<(), Error> {
    if medium == Medium::ReadOnly && wal_of(&folder.join("state.db")).exists() {
        let why = "cannot be written and holds a `state.db-wal`: a host may be using it from elsewhere, or ended without closing it; close that host, or copy the folder to a place that can be written and open the copy";
        return Err(Error::Refused { folder: folder.to_owned(), why });
    }
    Ok(())
}

impl<T: Tables> ReadOnly<T> {
    /// Reads the log that lies in the folder, for tables that were opened for this hub. Takes no lock.
    pub fn open<D: Disk>(disk: &D, folder: &Path, hub: Hub, tables: T) -> Result<Self, Error> {
        let applied: Vec<_> = tables.applied()?.into_iter().map(|applied| applied.group).collect();
        let recovered = log::read(disk, folder, &hub, &applied)?;
        Ok(Self {
            hub,
            folder: folder.to_owned(),
            recovered: Mutex::new(recovered),
            observer: Mutex::new(None),
            tables,
            lock: None,
        })
    }

    /// Tells those who find the folder locked where this process answers.
    pub fn announce(&self, url: &str) -> Result<(), Error> {
        self.lock.as_ref().map_or(Ok(()), |lock| lock.announce(Some(self.hub.epoch), Some(url)))
    }

    fn refusal(&self, doing: &'static str) -> Error {
        Error::ReadOnly { folder: self.folder.clone(), doing }
    }
}

impl<T: Tables> Store for ReadOnly<T> {
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
        assert!(partition.0 < self.hub.partitions, "a reader asks for partitions of its hub");
        Ok(self.hub.epoch)
    }

    fn release(&self, _partition: PartitionId) -> Result<(), Error> {
        Ok(())
    }

    fn recover(
        &self,
        partitions: &[PartitionId],
        sink: &mut dyn FnMut(Record),
    ) -> Result<(), Error> {
        let given: Vec<_> = lock(&self.recovered)
            .extract_if(.., |record| partitions.contains(&record.partition))
            .collect();
        given.into_iter().for_each(sink);
        Ok(())
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        *lock(&self.observer) = Some(observer);
    }

    /// The group will never be durable, and the observer hears so.
    fn append(&self, _record: Record) {
        let observer = lock(&self.observer).clone();
        if let Some(observer) = observer {
            observer.failed(self.refusal("writing a group"));
        }
    }

    fn fold(&self, _folds: &[Fold]) -> Result<(), Error> {
        Err(self.refusal("folding"))
    }

    fn pressure(&self) -> Pressure {
        Pressure::default()
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_that_cannot_be_written_is_refused_when_a_write_ahead_log_lies_on_it() {
        let folder = tempfile::tempdir().unwrap();
        check_settled(folder.path(), Medium::ReadOnly).unwrap();
        std::fs::write(folder.path().join("state.db-wal"), "").unwrap();
        check_settled(folder.path(), Medium::Writable).unwrap();
        let error = check_settled(folder.path(), Medium::ReadOnly).unwrap_err();
        let text = error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        assert_eq!(
            text,
            "the folder `FOLDER` cannot be written and holds a `state.db-wal`: a host may be using it from elsewhere, \
             or ended without closing it; close that host, or copy the folder to a place that can be written and open \
             the copy"
        );
    }
}
