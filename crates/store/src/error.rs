//! What can go wrong in a store, and what the caller may do next.

use std::path::PathBuf;

use everstep_model::{GroupNo, PartitionId};

/// Any error from below.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the folder open. Stop it, or use another folder.
    #[error("the data folder `{}` is in use by process {pid}{}; stop that process or choose another folder", folder.display(), url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default())]
    InUse {
        /// The folder of the hub.
        folder: PathBuf,
        /// The process that holds its lock, as it wrote it there.
        pid: String,
        /// Where that process answers, if it said so.
        url: Option<String>,
    },
    /// The folder was written by a newer version. Nothing was touched; start that version or a later one.
    #[error("the data folder `{}` has format {found}, and this version of everstep knows formats up to {known}; start the version that wrote it, or a newer one", folder.display())]
    NewerFormat {
        /// The folder of the hub.
        folder: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this build reads.
        known: u32,
    },
    /// The log holds bytes that no crash can leave. Nothing was touched; restore a backup or ask for help.
    #[error("the log is damaged: {what}, in `{}` at byte {offset}; nothing was changed. Restore the folder from a backup, or keep a copy of it before you try anything else", file.display())]
    DamagedLog {
        /// The segment.
        file: PathBuf,
        /// Where in the segment.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// The tables cannot be read. Nothing was touched.
    #[error("the tables in `{}` are damaged: {what}. Restore the folder from a backup, or keep a copy of it before you try anything else", file.display())]
    DamagedTables {
        /// The database file.
        file: PathBuf,
        /// What the database said.
        what: String,
    },
    /// Log and tables come from different hubs or different points in time.
    #[error("the folder `{}` is a mixture: {what}. Restore log and tables from the same backup", folder.display())]
    Mismatch {
        /// The folder of the hub.
        folder: PathBuf,
        /// What does not agree.
        what: String,
    },
    /// The folder is not one that can be used for this. Nothing was touched; the text says what to do.
    #[error("the folder `{}` {why}", folder.display())]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// The folder was opened for reading only. Start a host on it to change anything.
    #[error("the data folder `{}` is open for reading only ({doing} is not possible); start a host on it to change anything", folder.display())]
    ReadOnly {
        /// The folder of the hub.
        folder: PathBuf,
        /// What was asked for.
        doing: &'static str,
    },
    /// No space is left. Nothing acknowledged is lost; the call may be repeated when there is space.
    #[error("no space is left on the disk of `{}` ({doing}); free some, everything goes on by itself then", folder.display())]
    DiskFull {
        /// The folder of the hub.
        folder: PathBuf,
        /// What was being written.
        doing: &'static str,
    },
    /// A write or flush failed. The process must end: what the disk holds is known only after recovery.
    #[error("writing to `{}` failed ({doing}): {source}; the process ends here, and the next start finds out what was written", folder.display())]
    WriteFailed {
        /// The folder of the hub.
        folder: PathBuf,
        /// What was being written.
        doing: &'static str,
        /// What the system said.
        source: BoxError,
    },
    /// The file system cannot keep the promise.
    #[error("the data folder `{}` lies on {kind}, which {why}; choose a local disk, or allow it with {flag}", folder.display())]
    UnfitFileSystem {
        /// The folder of the hub.
        folder: PathBuf,
        /// What kind of file system it is.
        kind: String,
        /// What it does not do.
        why: &'static str,
        /// The option that allows it all the same.
        flag: &'static str,
    },
    /// Another host owns the partition now. Drop what is in memory for it; nothing more can be written.
    #[error("partition {} now belongs to another host (group {} was not written)", partition.0, group.0)]
    Fenced {
        /// The partition.
        partition: PartitionId,
        /// The first group that was refused.
        group: GroupNo,
    },
    /// The store may answer later; asking again is safe.
    #[error("the store is unavailable while {doing}: {source}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What came from below.
        source: BoxError,
    },
    /// A payload that a row refers to is missing or has other bytes than were written.
    #[error("payload {n} of instance number {iid} {what}; the tables are damaged")]
    BadPayload {
        /// The instance's number.
        iid: u64,
        /// The payload's number.
        n: u32,
        /// Missing, or other bytes.
        what: &'static str,
    },
}
