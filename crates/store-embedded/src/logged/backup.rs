//! A copy of the hub while the host writes.
//!
//! The tables are copied first, then every record above what they hold. Frames never change, so nobody waits for a
//! backup; the log keeps what it needs (the pin), and a fold lets go of it later.
//!
//! B1  The copy is a prefix of the log that holds all that was durable when the backup began.
//! B2  A copy is recognised as unfinished until all of it is durable: it bears a file that says so, and no store opens a
//!     folder with that file.
//! B3  The copy has a log of its own: its frames are new, its records are those of the hub.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use everstep_model::GroupNo;
use everstep_store::{Error, Record, Tables as _};

use super::{
    Embedded,
    writer::{FRAME_BYTES_MAX, lock},
};
use crate::{
    disk::{Disk as _, RealDisk},
    log::{Log, LogOptions, Opened, record_bytes},
    sqlite::SqliteTables,
};

/// The file in a copy that is not finished.
const UNFINISHED: &str = "BACKUP-UNFINISHED";
const UNFINISHED_TEXT: &str =
    "This folder holds a backup that was not finished. Remove it and make another one.\n";

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The size of the tables.
    pub tables_bytes: u64,
    /// How many bytes of log follow them.
    pub log_bytes: u64,
    /// Per partition, the last group in it.
    pub groups: Vec<GroupNo>,
}

/// Refuses a folder that holds a part of a backup.
pub(crate) fn check_finished(folder: &Path) -> Result<(), Error> {
    if folder.join(UNFINISHED).exists() {
        let why = "holds a backup that was not finished; remove it and make another one";
        return Err(Error::Refused { folder: folder.to_owned(), why });
    }
    Ok(())
}

impl Embedded {
    /// Copies the hub into a new or empty folder, which then opens like any hub. May be called at any time; nobody
    /// waits for it. After an error the folder holds a part, which no store opens.
    pub fn backup(&self, to: &Path) -> Result<BackupReport, Error> {
        let target = Target::begin(to)?;
        let _pinned = Pinned::new(self)?;
        let mut report = self.copy_tables(&target)?;
        self.copy_log(&target, &mut report).map_err(of_copy)?;
        target.finish()?;
        Ok(report)
    }

    fn copy_tables(&self, target: &Target) -> Result<BackupReport, Error> {
        self.tables.backup(&target.folder.join("state.db"))?;
        let (copy, _) = SqliteTables::open_at_rest(&target.folder)?;
        let groups = copy.applied()?.into_iter().map(|applied| applied.group).collect();
        let file = File::open(target.folder.join("state.db"));
        let tables_bytes = file
            .and_then(|file| file.sync_all().and_then(|()| file.metadata()))
            .map_err(|error| target.failed("writing a backup's tables", &error))?
            .len();
        Ok(BackupReport { tables_bytes, log_bytes: 0, groups })
    }

    /// Copies all records above what the copied tables hold; of the log as it is now, so at least as far as when the
    /// backup began.
    fn copy_log(&self, target: &Target, report: &mut BackupReport) -> Result<(), Error> {
        let options = LogOptions::default();
        let applied = report.groups.clone();
        let Opened { log, .. } = Log::open(RealDisk, &target.folder, &self.hub, &applied, options)?;
        let mut copy = Copy { log, batch: Vec::new(), bytes: 0, report };
        for extent in self.shared.extents_above(&applied) {
            extent.read(self.shared.disk(), |records| copy.take(records))?;
        }
        copy.write()
    }
}

/// What went wrong while the copy was written ends the copy, not the process.
fn of_copy(error: Error) -> Error {
    match error {
        Error::WriteFailed { source, .. } => {
            Error::Unavailable { doing: "writing a backup's log", source }
        }
        other => other,
    }
}

/// The log of a copy, while it is written.
struct Copy<'a> {
    log: Log<RealDisk>,
    batch: Vec<Record>,
    bytes: u64,
    report: &'a mut BackupReport,
}

impl Copy<'_> {
    /// Takes what is new of a frame; small frames share a flush.
    fn take(&mut self, records: Vec<Record>) -> Result<(), Error> {
        for record in records {
            let last = &mut self.report.groups[usize::from(record.partition.0)];
            if record.group > *last {
                *last = record.group;
                self.bytes += record_bytes(&record);
                self.batch.push(record);
            }
        }
        if self.bytes >= FRAME_BYTES_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        if !self.batch.is_empty() {
            self.log.stage(&self.batch);
            self.report.log_bytes += self.log.flush()?.bytes;
            self.batch.clear();
            self.bytes = 0;
        }
        Ok(())
    }
}

/// The log stays as it is above what the tables hold, until the value is dropped.
struct Pinned<'a>(&'a Embedded);

impl<'a> Pinned<'a> {
    fn new(store: &'a Embedded) -> Result<Self, Error> {
        let mut applied = lock(&store.applied);
        if applied.pinned.is_some() {
            return Err(Error::Unavailable {
                doing: "making a backup",
                source: "another backup of this hub is being made".into(),
            });
        }
        applied.pinned = Some(applied.groups.clone());
        Ok(Self(store))
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        lock(&self.0.applied).pinned = None;
    }
}

/// The folder of a copy.
struct Target {
    folder: PathBuf,
}

impl Target {
    /// Makes the folder, and marks it as unfinished before anything else is in it.
    fn begin(folder: &Path) -> Result<Self, Error> {
        let target = Self { folder: folder.to_owned() };
        let failed = |error: io::Error| target.failed("beginning a backup", &error);
        fs::create_dir_all(folder).map_err(failed)?;
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            let why = "is not empty; name a new folder for the backup";
            return Err(Error::Refused { folder: folder.to_owned(), why });
        }
        fs::write(folder.join(UNFINISHED), UNFINISHED_TEXT)
            .and_then(|()| File::open(folder.join(UNFINISHED))?.sync_all())
            .and_then(|()| target.sync())
            .map_err(failed)?;
        Ok(target)
    }

    /// Makes all names durable, and takes the mark away.
    fn finish(&self) -> Result<(), Error> {
        self.sync()
            .and_then(|()| fs::remove_file(self.folder.join(UNFINISHED)))
            .and_then(|()| self.sync())
            .map_err(|error| self.failed("finishing a backup", &error))
    }

    fn sync(&self) -> io::Result<()> {
        RealDisk.sync_folder(&self.folder)
    }

    fn failed(&self, doing: &'static str, error: &io::Error) -> Error {
        Error::Unavailable { doing, source: format!("`{}`: {error}", self.folder.display()).into() }
    }
}

#[cfg(test)]
mod tests {
    use everstep_store::HubOptions;

    use super::*;
    use crate::{LoggedOptions, NetworkFolder, open_embedded, open_read_only};

    #[test]
    fn a_backup_that_stopped_half_way_is_not_taken_for_a_hub() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("hub"), folder.path().join("copy"));
        let options = LoggedOptions::default();
        let store = open_embedded(&from, &HubOptions::new("hub", 2), options).unwrap();
        let target = Target::begin(&to).unwrap();
        let mut report = store.copy_tables(&target).unwrap();
        store.copy_log(&target, &mut report).unwrap();
        let text = |error: Error| error.to_string().replace(&*to.to_string_lossy(), "COPY");
        let refused = "the folder `COPY` holds a backup that was not finished; remove it and make another one";
        let opened = open_embedded(&to, &HubOptions::new("hub", 2), options);
        assert_eq!(text(opened.err().unwrap()), refused);
        let opened = open_read_only(&to, NetworkFolder::Refuse);
        assert_eq!(text(opened.err().unwrap()), refused);
        let again = store.backup(&to).unwrap_err();
        assert_eq!(text(again), "the folder `COPY` is not empty; name a new folder for the backup");
        target.finish().unwrap();
        open_embedded(&to, &HubOptions::new("hub", 2), options).unwrap();
    }

    #[test]
    fn two_backups_at_once_are_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("hub");
        let store =
            open_embedded(&from, &HubOptions::new("hub", 2), LoggedOptions::default()).unwrap();
        let pinned = Pinned::new(&store).unwrap();
        assert_eq!(
            store.backup(&folder.path().join("copy")).unwrap_err().to_string(),
            "the store is unavailable while making a backup: another backup of this hub is being made"
        );
        drop(pinned);
        store.backup(&folder.path().join("other")).unwrap();
    }
}
