//! What the runtime asks of user code, whatever language it is written in.
//!
//! A [`Worker`] holds functions. Orchestrator turns and pure entity operations are asked of a [`Turns`], one per
//! partition, on the partition's thread; activities and other entity operations are futures on the host's own threads.
//!
//! W1  A turn has no effects but its [`Decision`]: it may be asked again, here or in another process.
//! W2  A turn that cannot be answered at once (the code lives in another process) is answered with [`TurnReply::Later`]
//!     and given to the runtime when it is there; its messages stay durably held meanwhile. A worker in another process
//!     sits on one stream for all turns and activities; nothing here costs it a round trip per item.
//! W3  Residency is the worker's own affair: it keeps executions between turns or asks for their history. Dropping one
//!     records nothing.
//!
//! Absent on purpose: stores, commits, retries.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

pub use everstep_model::EntitySend;
use everstep_model::{
    Action, Event, EventId, ExecutionId, Guid, Iid, InstanceId, Outcome, PartitionId, Timestamp,
    TraceContext, Value, Wait,
};

/// Names that begin so belong to the runtime's own functions. Registries refuse them.
pub const RESERVED: &str = "everstep.";

/// Whether a name belongs to the runtime's own functions, in any case.
pub fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED.len()).is_some_and(|head| head.eq_ignore_ascii_case(RESERVED))
}

/// A future that the host's threads may run.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// A body of user code.
pub trait Worker: Send + Sync + 'static {
    /// Changes when the code changes; parked instances get a try with code of another identity.
    fn identity(&self) -> &str;

    /// What it knows of an activity.
    fn activity_options(&self, name: &str) -> Option<ActivityOptions>;

    /// How long after the start of one activity of this name the next may start, on average; `None` for at once.
    fn activity_interval(&self, _name: &str) -> Option<Duration> {
        None
    }

    /// What it knows of an entity; names are in lower case.
    fn entity_options(&self, name: &str) -> Option<EntityOptions>;

    /// Whether it has an orchestrator of this name.
    fn has_orchestrator(&self, name: &str) -> bool;

    /// Where the answers go that come later. Called once, before anything runs; a worker that answers all turns at once
    /// has no use for it.
    fn answer_through(&self, _answers: Arc<dyn Answers>) {}

    /// The part that runs on one partition's thread.
    fn turns(&self, partition: PartitionId) -> Box<dyn Turns>;

    /// Runs one attempt of an activity. A panic inside the future is a failed attempt.
    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome>;

    /// Runs operations of an entity that is not pure.
    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply>;
}

/// Takes the answers of turns that were answered with [`TurnReply::Later`].
pub trait Answers: Send + Sync + 'static {
    /// Answers the turn that began at `now`, the time of its `TurnStarted`, which names it: no other turn of the instance
    /// has the same. An answer to a turn that nobody waits for is dropped. [`TurnReply::Later`] says that the turn is
    /// lost; it is asked again.
    fn turn_answered(&self, instance: &InstanceId, now: Timestamp, reply: TurnReply);
}

/// The part of a worker that lives on a partition's thread.
pub trait Turns: Send {
    /// Runs one turn of an orchestrator.
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply;

    /// Runs operations of a pure entity.
    fn entity(&mut self, batch: &EntityBatch) -> EntityReply;

    /// Forgets an execution that it keeps resident. Nothing that user code does while it is dropped is recorded.
    fn evict(&mut self, iid: Iid);

    /// How many executions are resident.
    fn resident(&self) -> usize;
}

/// Limits of one activity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActivityOptions {
    /// At most this many at once on this host.
    pub concurrency: Option<usize>,
    /// An attempt that takes longer fails with a timeout.
    pub timeout: Option<Duration>,
}

/// How an entity is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntityOptions {
    /// Where its operations run.
    pub purity: Purity,
}

/// Whether running an operation twice can be noticed from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purity {
    /// It can: operations run once their messages are durable, beside the partition.
    #[default]
    Effects,
    /// It cannot: operations run inside the turn that takes their messages.
    Pure,
}

/// One turn to run.
#[derive(Debug, Clone, Copy)]
pub struct TurnRequest<'a> {
    /// The instance's number; names the execution to [`Turns::evict`].
    pub iid: Iid,
    /// The instance's id.
    pub instance: &'a InstanceId,
    /// The number of the execution.
    pub execution: u32,
    /// Its public name.
    pub execution_id: &'a ExecutionId,
    /// The orchestrator's name.
    pub name: &'a str,
    /// What came before.
    pub history: History<'a>,
    /// What is new: begins with `TurnStarted`, or with `Started` in the first turn.
    pub events: &'a [Event],
}

/// What came before the new events of a turn.
#[derive(Debug, Clone, Copy)]
pub enum History<'a> {
    /// This many events. A worker that keeps the execution resident at just this point goes on; any other answers
    /// [`TurnReply::NeedHistory`].
    Seen(u32),
    /// These events.
    Full(&'a [Event]),
}

impl History<'_> {
    /// How many events came before.
    pub fn len(&self) -> u32 {
        match self {
            Self::Seen(count) => *count,
            Self::Full(events) => events.len() as u32,
        }
    }

    /// Whether this is the first turn.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a worker answers to a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnReply {
    /// The code went as far as it can.
    Decided(Decision),
    /// The execution is not resident; ask again with its history.
    NeedHistory,
    /// There is no orchestrator of that name; the instance waits for one.
    UnknownFunction,
    /// The history does not fit the code; the instance is parked.
    NonDeterminism {
        /// For a person: what was expected and what was found.
        reason: String,
    },
    /// The answer comes later, through [`Answers`].
    Later,
}

/// What the code decided in a turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// In order; a completion is the last.
    pub actions: Vec<Action>,
    /// What the code says of itself, if it said something new.
    pub custom_status: Option<Value>,
    /// What it waits for, if the worker can tell.
    pub wait: Option<Wait>,
}

/// One attempt of an activity.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivityCall {
    /// The orchestration that called.
    pub instance: InstanceId,
    /// The activity's name.
    pub name: Arc<str>,
    /// What it gets.
    pub input: Value,
    /// The call. With the instance's execution id, a stable key for idempotency.
    pub task: EventId,
    /// The execution that called.
    pub execution_id: ExecutionId,
    /// 1 for the first attempt of a call with retries.
    pub attempt: u32,
    /// Of the orchestration.
    pub trace: Option<TraceContext>,
}

/// Operations for one entity, to be run in order.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityBatch {
    /// The entity.
    pub entity: InstanceId,
    /// Its state; `None` if it does not exist.
    pub state: Option<Value>,
    /// What to run.
    pub operations: Vec<OperationCall>,
    /// The present.
    pub now: Timestamp,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationCall {
    /// Names the request.
    pub id: Guid,
    /// The operation.
    pub name: String,
    /// What it gets.
    pub input: Value,
    /// Who asked, for logs; `None` for clients.
    pub sender: Option<InstanceId>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityReply {
    /// One outcome for each operation run, in order; operations without one stay in the queue.
    pub results: Vec<Outcome>,
    /// The state afterwards; `None` deletes it. An operation that failed has left no trace in it.
    pub state: Option<Value>,
    /// What the operations sent, in order; those of failed operations are left out.
    pub sends: Vec<EntitySend>,
}
