//! All that one turn changes, and the groups in which turns become durable.
//!
//! C1  A commit is a fact: applying it needs no rule of the engine and no user code.
//! C2  A message that is made and consumed within one group leaves no trace but its effect.
//! C3  Messages to other partitions stand in the group that made them until their receiver has them.

use bytes::Bytes;

use crate::{
    Caller, Envelope, Event, EventId, ExecutionId, GroupNo, Iid, InstanceId, Message, PartitionId,
    PayloadRef, Position, Timestamp, Value, Wait,
};

/// All that one turn changes in one instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// Which instance.
    pub iid: Iid,
    /// Its id, if it comes into being here.
    pub created: Option<InstanceId>,
    /// The present of the turn.
    pub now: Timestamp,
    /// A new execution whose history begins with `events`; the history before is dropped.
    pub begin: Option<NewExecution>,
    /// Messages that now wait in the durable inbox.
    pub accepted: Vec<Message>,
    /// Messages of the durable inbox, by number, that are consumed.
    pub consumed: Vec<u64>,
    /// Calls of former executions that ended, by execution and id.
    pub closed: Vec<(u32, EventId)>,
    /// Added to the history.
    pub events: Vec<Event>,
    /// Messages that the turn sends. They are stored with the group, and only those that leave the partition.
    pub outgoing: Vec<Envelope>,
    /// What else is new in the row.
    pub row: RowChange,
    /// What is new in an entity.
    pub entity: Option<EntityChange>,
    /// Values that are stored apart.
    pub payloads: Vec<(PayloadRef, Bytes)>,
}

/// A generation comes into being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExecution {
    /// One above the last.
    pub execution: u32,
    /// Its public name.
    pub execution_id: ExecutionId,
    /// Whether it is a first generation: nothing but the number is taken over from the instance that was there.
    pub fresh: bool,
}

/// Fields of the row that events do not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowChange {
    /// What the instance says of itself.
    pub custom_status: Option<Value>,
    /// What it waits for; `None` leaves the former.
    pub wait: Option<Wait>,
    /// Parked (`Some(Some)`) or no longer parked (`Some(None)`).
    pub parked: Option<Option<Parked>>,
    /// Calls that ran when their process went down, by execution and id, with the count so far.
    pub strikes: Vec<((u32, EventId), u32)>,
}

/// Why an instance is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Since when.
    pub since: Timestamp,
    /// For a person: what was expected and what was found.
    pub reason: String,
    /// The code that could not go on; other code gets a try when it registers.
    pub code: String,
}

/// What is new in an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntityChange {
    /// The new state: `Some(None)` deletes it.
    pub state: Option<Option<Value>>,
    /// The new holder of the lock: `Some(None)` frees it.
    pub lock: Option<Option<Caller>>,
    /// Keys of signals that were consumed without waiting.
    pub keys: Vec<String>,
}

/// An instance is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Purged {
    /// Which.
    pub iid: Iid,
    /// Up to which generation; a newer one stays.
    pub execution: u32,
}

/// One fact of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A turn.
    Commit(Box<Commit>),
    /// A purge.
    Purged(Purged),
}

/// All that one partition makes durable at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Whose.
    pub partition: PartitionId,
    /// Its number.
    pub group: GroupNo,
    /// The highest position consumed, per source.
    pub positions: Vec<Position>,
    /// Messages to other partitions; the index of each is that of its position.
    pub outgoing: Vec<Envelope>,
    /// Messages for instances whose rows are still being read, by number: the partition holds them meanwhile.
    pub parcels: Vec<(u64, Envelope)>,
    /// Numbers of such messages that their instances now have.
    pub unparceled: Vec<u64>,
    /// In order.
    pub entries: Vec<Entry>,
}
