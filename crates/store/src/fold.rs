//! What moves from memory into the tables.

use std::collections::BTreeMap;

use bytes::Bytes;
use everstep_model::{
    ExecutionId, Failure, GroupNo, Iid, InstanceId, PartitionId, PayloadRef, Purged, Status, Tags,
    Timestamp, Value,
};

/// One instance as queries show it and as a turn finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number, which it keeps as long as the row exists.
    pub iid: Iid,
    /// Its id, unique in the hub.
    pub id: InstanceId,
    /// The generation shown.
    pub execution: u32,
    /// The public name of that generation.
    pub execution_id: ExecutionId,
    /// The function's name; for an entity its entity name.
    pub name: String,
    /// The orchestration's version, empty if none.
    pub version: String,
    /// Where it stands.
    pub status: Status,
    /// When the instance was first started.
    pub created: Timestamp,
    /// When a turn last changed it.
    pub updated: Timestamp,
    /// When it ended, if it did.
    pub completed: Option<Timestamp>,
    /// Who started it, if an instance did.
    pub parent: Option<InstanceId>,
    /// Given by its starter.
    pub tags: Tags,
    /// When it needs attention after a start of the host.
    pub wake: Wake,
    /// What it was started with.
    pub input: Option<Value>,
    /// What it returned; for an entity its state.
    pub output: Option<Value>,
    /// What it last said of itself.
    pub custom_status: Option<Value>,
    /// Why it failed or was terminated.
    pub failure: Option<Failure>,
    /// All else that a turn needs, as the engine encoded it; empty in lists.
    pub live: Bytes,
}

/// When an instance needs attention after a start of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// Work is outstanding: an undelivered message, a running activity.
    Now,
    /// The next timer's due time.
    At(Timestamp),
    /// Only a message from outside can move it.
    Never,
}

impl Wake {
    /// As stored: 0 for now, ticks for a time, nothing for never.
    pub fn stored(self) -> Option<i64> {
        match self {
            Self::Now => Some(0),
            Self::At(at) => Some(at.ticks().max(1)),
            Self::Never => None,
        }
    }

    /// Read back.
    pub fn from_stored(stored: Option<i64>) -> Self {
        match stored {
            None => Self::Never,
            Some(0) => Self::Now,
            Some(ticks) => Self::At(Timestamp::from_ticks(ticks)),
        }
    }
}

/// A run of consecutive events of one execution, encoded; the first byte names the codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The instance.
    pub iid: Iid,
    /// The generation.
    pub execution: u32,
    /// The index of the first event in the execution's history.
    pub seq: u32,
    /// How many events it holds.
    pub count: u32,
    /// Codec byte and encoded events.
    pub bytes: Bytes,
}

/// What one partition hands to the folder: all that changed since the fold before, up to a group's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Whose changes.
    pub partition: PartitionId,
    /// The last group whose effects are included.
    pub upto: GroupNo,
    /// The partition's own state (outbox, positions, counters) as of that group; opaque here.
    pub meta: Bytes,
    /// Removed first. History and payloads up to the execution go, and the row unless it is newer.
    pub purged: Vec<Purged>,
    /// Then written, sorted by `iid`.
    pub rows: Vec<FoldedRow>,
}

impl Fold {
    /// The rows to write: all but those that the same fold purges, so that a purge never depends on when its deletion
    /// is carried out.
    pub fn kept_rows(&self) -> impl Iterator<Item = &FoldedRow> {
        let purged: BTreeMap<Iid, u32> =
            self.purged.iter().fold(BTreeMap::new(), |mut purged, gone| {
                let upto = purged.entry(gone.iid).or_default();
                *upto = gone.execution.max(*upto);
                purged
            });
        self.rows.iter().filter(move |folded| {
            purged.get(&folded.row.iid).is_none_or(|upto| folded.row.execution > *upto)
        })
    }
}

/// The new version of one instance, with what came to its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedRow {
    /// Replaces the row of the same `iid`.
    pub row: Row,
    /// Chunks and payloads of executions below this one are deleted.
    pub keep_from: u32,
    /// Added to the history; chunks of that execution that begin within the events of an added one are replaced by it.
    pub chunks: Vec<Chunk>,
    /// Added to the payloads.
    pub payloads: Vec<(PayloadRef, Bytes)>,
}

/// How far the tables are, for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The partition.
    pub partition: PartitionId,
    /// The last group folded; 0 before the first.
    pub group: GroupNo,
    /// The partition's own state of that group; empty before the first fold.
    pub meta: Bytes,
}
