//! What goes into a partition and what comes out of it.

use std::sync::Arc;

use everstep_engine::Instance;
use everstep_model::{
    Archive, Envelope, Event, EventId, ExecutionId, Failure, GroupNo, Iid, InstanceId, Operation,
    Outcome, PartitionId, PayloadRef, Position, Purged, Start, Status, Timestamp, Value,
};
use everstep_store::{Cursor, Filter, Fold, FoldedRow, Order, Record, Row};
use everstep_worker::{ActivityCall, EntityBatch, EntityReply, TurnReply};

use crate::lifecycle::Turned;

/// Names a question until it is answered; given by whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// All that can happen to a partition.
#[derive(Debug)]
pub enum Input {
    /// A client asks.
    Request(Ticket, Request),
    /// Messages from another partition, each with the place where it was made.
    Messages(Vec<(Position, Envelope)>),
    /// A receiver has made messages up to this position part of its durable state.
    Acknowledged(PartitionId, Position),
    /// An attempt of an activity ended.
    ActivityEnded {
        /// Who called.
        instance: InstanceId,
        /// The execution that called.
        execution: u32,
        /// The call.
        task: EventId,
        /// How it ended.
        outcome: Outcome,
    },
    /// An entity ran its operations beside the partition.
    EntityEnded(InstanceId, EntityReply),
    /// A worker in another process answers the turn that began at this time.
    TurnAnswered(InstanceId, Timestamp, TurnReply),
    /// Rows that were asked for; `None` where there is no instance.
    Loaded(Vec<(InstanceId, Option<Row>)>),
    /// A history that was asked for, as far as it is folded, with all values at hand.
    History(InstanceId, u32, Vec<Event>),
    /// Instances that need attention: their folded rows have a wake time.
    Due(Vec<(InstanceId, Timestamp)>),
    /// Groups up to this one are durable.
    Durable(GroupNo),
    /// The fold of this number is in the tables.
    Folded(u64),
    /// Other code has registered.
    CodeChanged,
    /// It was held, and is so no longer.
    Release,
    /// Who waited for a change of an instance does so no longer.
    Forget(InstanceId, Ticket),
    /// Time has passed.
    Tick,
}

/// What a client asks of one instance.
#[derive(Debug, Clone)]
pub enum Request {
    /// Start an orchestration; without an id one is made.
    Start(Option<InstanceId>, Box<Start>),
    /// Raise an event.
    Raise {
        /// For whom.
        instance: InstanceId,
        /// Its name.
        name: String,
        /// What it carries.
        input: Value,
        /// Counts once; empty for none.
        key: String,
    },
    /// Signal an entity.
    Signal(InstanceId, Box<Operation>),
    /// Hold an instance.
    Suspend(InstanceId, String),
    /// Let it go on.
    Resume(InstanceId, String),
    /// End it, and its children if the flag says so.
    Terminate(InstanceId, String, bool),
    /// Run the failed part again.
    Rewind(InstanceId, String),
    /// Try a parked instance again.
    Unpark(InstanceId),
    /// Remove an instance that has ended, or any if the flag says so.
    Purge(InstanceId, bool),
    /// Remove an entity that holds nothing.
    PurgeEmpty(InstanceId),
    /// Put back what was taken out of a hub.
    Import(Box<Archive>, Existing),
    /// The bytes of a value that is stored apart and may not be folded.
    Payload(PayloadRef),
    /// Remove instances that a list showed as ended; those that run again stay.
    PurgeListed(Vec<Row>),
    /// What is known of it.
    Get(InstanceId),
    /// The same, once it has ended.
    Wait(InstanceId),
    /// The same, once it differs from what was seen.
    Watch(InstanceId, Box<Seen>),
    /// Its history.
    History(InstanceId),
    /// Why it does not go on.
    Why(InstanceId),
    /// Its unfolded rows that match.
    Overlay(Box<Filter>, Order, Option<Cursor>, usize),
    /// How many of its unfolded rows match.
    CountOverlay(Box<Filter>),
    /// All that a fold would write at this moment.
    Unfolded,
    /// How many instances there are, by kind, name and status.
    Counts,
}

/// What becomes of an instance that has the id of one that is put back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the other is not put back.
    #[default]
    Keep,
    /// It goes, unless it runs.
    Replace,
}

/// What became of an instance that was to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It is there, durably.
    Done,
    /// The same, and another of its id is gone.
    Replaced,
    /// One of its id is there and stays; it stands here.
    Exists(Status),
    /// It cannot be put back, for this reason.
    Refused(String),
}

/// What a client hears.
#[derive(Debug, Clone)]
pub enum Response {
    /// The execution began.
    Started(InstanceId, ExecutionId),
    /// An instance of that id stands in the way.
    AlreadyExists(Status),
    /// It is durable; it takes effect in its turn.
    Accepted,
    /// There is no such instance.
    NotFound,
    /// The instance has ended, or has not: the request does not fit this status.
    WrongStatus(Status),
    /// What is known of it.
    Instance(Box<Instance>),
    /// Not in memory and not changed since it was folded: the tables know it.
    AskTables,
    /// How many were removed.
    Purged(u64),
    /// What became of an import.
    Imported(Imported),
    /// Unfolded events: the index of the first, and the events; what is before is in the tables.
    History {
        /// The instance.
        iid: Iid,
        /// The execution.
        execution: u32,
        /// The index of the first event given.
        first: u32,
        /// The events, with values that are stored apart left as references unless unfolded.
        events: Vec<Event>,
    },
    /// Why it does not go on.
    Why(Box<crate::why::Facts>),
    /// Unfolded rows that match, and all numbers that the tables must not answer for.
    Overlay(Vec<Row>, Vec<Iid>),
    /// How many unfolded rows match, and all numbers that the tables must not answer for.
    OverlayCount(u64, Vec<Iid>),
    /// What the tables do not have yet.
    Unfolded(Unfolded),
    /// The bytes of a value.
    Payload(bytes::Bytes),
    /// Counts by kind, name and status.
    Counts(Vec<(everstep_model::Kind, String, Status, u64)>),
    /// Too much is queued; ask again.
    Busy,
    /// The disk is nearly full: nothing new is begun.
    LowSpace,
    /// The host only reads.
    ReadOnly,
    /// The request cannot be carried out.
    Refused(Failure),
}

/// What a client who watches an instance has seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Where it stood.
    pub status: Status,
    /// What it said of itself.
    pub custom_status: Option<Value>,
}

impl Seen {
    /// What there is to see of an instance.
    pub fn of(instance: &Instance) -> Self {
        Self {
            execution_id: instance.execution_id.clone(),
            status: instance.status,
            custom_status: instance.rare.custom_status.clone(),
        }
    }
}

/// Durable changes that are not in the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfolded {
    /// Each instance that changed: its present row, and what came to its history, as a fold would write them.
    pub rows: Vec<FoldedRow>,
    /// What was purged.
    pub purged: Vec<Purged>,
}

/// What a partition wants done at once: nothing of it can be noticed outside the host.
#[derive(Debug)]
pub enum Output {
    /// These had ended and change with the group that comes next: what was known of them is so no longer.
    Changed(Vec<InstanceId>),
    /// Make a group durable, then release its effects in order.
    Append(Record, Vec<Effect>),
    /// Answer; everything it tells is durable.
    Reply(Ticket, Response),
    /// Read rows.
    Load(Vec<InstanceId>),
    /// Read the folded history of an execution.
    LoadHistory(InstanceId, Iid, u32),
}

/// What happens in the world once its group is durable. Losing one costs time and never correctness.
#[derive(Debug)]
pub enum Effect {
    /// Run an attempt of an activity.
    Activity(Box<Dispatch>),
    /// Drop attempts that are queued.
    DropActivities(Iid),
    /// Run operations of an entity.
    Entity(Box<EntityBatch>),
    /// Hand a message to another partition.
    Send(PartitionId, Position, Envelope),
    /// Tell a partition that its messages arrived.
    Acknowledge(PartitionId, Position),
    /// Answer a client.
    Reply(Ticket, Response),
    /// Tell the listener of a turn.
    Turned(Box<Turned>),
}

/// An attempt of an activity on its way to a worker.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// Who called.
    pub iid: Iid,
    /// The execution that called.
    pub execution: u32,
    /// How often its process went down while it ran; with any, it runs alone among its like.
    pub strikes: u32,
    /// What to run.
    pub call: ActivityCall,
}

/// A fold that a partition hands over.
#[derive(Debug)]
pub struct HandOver {
    /// Names it.
    pub number: u64,
    /// What goes into the tables.
    pub fold: Fold,
}

/// The name of a function, shared.
pub type Name = Arc<str>;
