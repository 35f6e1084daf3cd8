//! The contract: a log of groups, tables to fold it into, and how both are opened and fenced.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use everstep_model::{GroupNo, HubId, Iid, InstanceId, PartitionId, PayloadRef, Timestamp};

use crate::{Applied, Chunk, Cursor, Due, Error, Filter, Fold, Order, Page, Row};

/// The newest format of log and tables that this build writes. Older ones are read and upgraded.
pub const FORMAT: u32 = 1;

/// A task hub as its store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// Drawn at random when the hub was made.
    pub id: HubId,
    /// What people call it.
    pub name: String,
    /// Fixed when the hub was made.
    pub partitions: u16,
    /// Raised each time the store is opened; tokens of an earlier one are refused.
    pub epoch: u64,
}

/// The most partitions a hub may have: with these, an instance's number fits a signed 64-bit column.
pub const PARTITIONS_MAX: u16 = 1 << 15;

/// What a hub is made with. When the hub exists, its own partition count wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// What people call it.
    pub name: String,
    /// How many partitions, from 1 to [`PARTITIONS_MAX`].
    pub partitions: u16,
}

impl HubOptions {
    /// The options of a new hub, with their limits checked.
    pub fn new(name: impl Into<String>, partitions: u16) -> Self {
        assert!(
            (1..=PARTITIONS_MAX).contains(&partitions),
            "a hub has 1 to {PARTITIONS_MAX} partitions"
        );
        Self { name: name.into(), partitions }
    }
}

/// Who does a store's writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// A thread of the store's own.
    Thread,
    /// The caller, step by step: for simulators and tests.
    Manual,
}

/// One group of one partition on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose group.
    pub partition: PartitionId,
    /// Its number, one above the partition's last.
    pub group: GroupNo,
    /// What the engine encoded; opaque here.
    pub bytes: Bytes,
    /// The same changes as a fold, for a store in [`Mode::Direct`]; `None` otherwise.
    pub fold: Option<Box<Fold>>,
}

/// How a store makes groups durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By a log; folds come later and rarely.
    Log,
    /// By writing the tables at once; every record brings its fold, and recovery finds no records.
    Direct,
}

/// Hears of durability. Called on the store's writer thread, in order; must not block.
pub trait Observer: Send + Sync {
    /// All groups of the partition up to this one are durable.
    fn durable(&self, partition: PartitionId, group: GroupNo);
    /// The disk became full (`true`) or has space again (`false`); queued groups are kept meanwhile.
    fn disk_full(&self, full: bool);
    /// Nothing more will become durable; the process must end.
    fn failed(&self, error: Error);
}

/// How far the tables lag behind the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes of log that are not folded.
    pub unfolded_bytes: u64,
    /// Flushes made since the store was opened.
    pub flushes: u64,
    /// Bytes written to the log since the store was opened.
    pub log_bytes: u64,
    /// Whether writing waits for space.
    pub disk_full: bool,
    /// Whether so little space is left that nothing new should be started; what is under way goes on.
    pub low_space: bool,
}

/// A backend: durable groups, and tables behind them.
pub trait Store: Send + Sync + 'static {
    /// What [`Store::tables`] gives.
    type Tables: Tables + ?Sized;

    /// The hub this store was opened for.
    fn hub(&self) -> &Hub;

    /// How groups become durable.
    fn mode(&self) -> Mode;

    /// What queries read.
    fn tables(&self) -> &Self::Tables;

    /// Takes ownership of a partition and returns the fencing epoch under which its groups are written.
    ///
    /// The embedded stores own every partition from the moment they are open and return the hub's epoch.
    fn acquire(&self, partition: PartitionId) -> Result<u64, Error>;

    /// Gives a partition up after its last group is durable, so that another host need not wait.
    fn release(&self, partition: PartitionId) -> Result<(), Error>;

    /// Hands every durable record of these partitions above `applied` to the sink, each partition's in order, without
    /// gap. To be called once, after [`Store::acquire`] and before the first append.
    fn recover(
        &self,
        partitions: &[PartitionId],
        sink: &mut dyn FnMut(Record),
    ) -> Result<(), Error>;

    /// Says who is told of durability. To be called once, before the first append.
    ///
    /// The observer is called on the store's own thread, and dropping a store waits for that thread. So an observer must
    /// not hold the last handle of its store: one that drops the store inside a call waits for itself, for ever.
    fn observe(&self, observer: Arc<dyn Observer>);

    /// Queues a group; never blocks. Several queued groups share one flush.
    fn append(&self, record: Record);

    /// Waits until every group named in the folds is durable, writes all folds in one transaction, then lets go of log
    /// that no partition needs. After [`Error::DiskFull`] nothing has changed and the same folds may be given again.
    fn fold(&self, folds: &[Fold]) -> Result<(), Error>;

    /// How far the tables lag.
    fn pressure(&self) -> Pressure;

    /// Waits until everything queued is durable, then closes; later appends are refused by a panic.
    fn close(&self) -> Result<(), Error>;
}

/// The folded state of a hub. All reads see one consistent state, without what [`Tables::purge_step`] has yet to delete.
pub trait Tables: Send + Sync + 'static {
    /// How far each partition is folded, one entry for every partition in order.
    fn applied(&self) -> Result<Vec<Applied>, Error>;

    /// Writes all folds in one durable transaction: deletes before upserts, then `applied`. A fold whose `upto` is not
    /// above what is applied is skipped.
    fn fold(&self, folds: &[Fold]) -> Result<(), Error>;

    /// Deletes a bounded number of purged rows for good; `true` if more remain.
    fn purge_step(&self) -> Result<bool, Error>;

    /// Gives free space back to the file system, up to a bound; `true` if more remains.
    fn shrink_step(&self) -> Result<bool, Error>;

    /// The rows of these ids, in the same order, with their `live` blobs.
    fn find(&self, ids: &[InstanceId]) -> Result<Vec<Option<Row>>, Error>;

    /// The row of this number, with its `live` blob. Recovery asks for the rows that the log changes.
    fn row(&self, iid: Iid) -> Result<Option<Row>, Error>;

    /// Chunks of one execution in order, from the one that holds the event `from_seq`; at least one if there is any,
    /// and no more once `bytes_max` is reached.
    fn chunks(
        &self,
        iid: Iid,
        execution: u32,
        from_seq: u32,
        bytes_max: usize,
    ) -> Result<Vec<Chunk>, Error>;

    /// The bytes of a payload, checked against its reference.
    fn payload(&self, payload: &PayloadRef) -> Result<Bytes, Error>;

    /// Rows with a wake time not after `upto`, ordered by (wake, iid), after the given one.
    fn due(&self, upto: Timestamp, after: Option<&Due>, limit: usize) -> Result<Vec<Due>, Error>;

    /// A page of the rows that match.
    fn list(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error>;

    /// How many rows match, and whether the count was finished within the time.
    fn count(&self, filter: &Filter, within: Duration) -> Result<(u64, bool), Error>;
}
