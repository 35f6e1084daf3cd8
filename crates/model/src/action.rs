//! What user code decided in a turn.

use crate::{EventId, Failure, InstanceId, Origin, Tags, Timestamp, Value};

/// One decision. Its id comes from the adapter; ids rise within an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Call an activity.
    CallActivity {
        /// Unused so far.
        id: EventId,
        /// The activity's name.
        name: String,
        /// What it gets.
        input: Value,
        /// For queries and protocols.
        tags: Tags,
        /// Set when a retry makes the call.
        origin: Option<Origin>,
    },
    /// Start a sub-orchestration.
    StartChild {
        /// Unused so far.
        id: EventId,
        /// The orchestrator's name.
        name: String,
        /// Its version; empty for the hub's default.
        version: String,
        /// Its id; `None` for one derived from the parent's execution.
        instance: Option<InstanceId>,
        /// What it gets.
        input: Value,
        /// Added to those of the parent.
        tags: Tags,
        /// Whether the parent waits for it.
        policy: ParentPolicy,
        /// Set when a retry makes the call.
        origin: Option<Origin>,
    },
    /// Set a timer.
    CreateTimer {
        /// Unused so far; the timer's name.
        id: EventId,
        /// When it is due; the past fires at once.
        fire_at: Timestamp,
        /// Set when it is the wait of a retry.
        origin: Option<Origin>,
    },
    /// Lose interest in a timer.
    CancelTimer {
        /// Which.
        timer: EventId,
    },
    /// Send an event to another orchestration.
    SendEvent {
        /// Unused so far.
        id: EventId,
        /// To whom.
        instance: InstanceId,
        /// Its name.
        name: String,
        /// What it carries.
        input: Value,
    },
    /// Call an entity and wait.
    CallEntity {
        /// Unused so far.
        id: EventId,
        /// The entity.
        entity: InstanceId,
        /// The operation.
        name: String,
        /// What it gets.
        input: Value,
    },
    /// Signal an entity.
    SignalEntity {
        /// Unused so far.
        id: EventId,
        /// The entity.
        entity: InstanceId,
        /// The operation.
        name: String,
        /// What it gets.
        input: Value,
        /// Not before this time.
        due: Option<Timestamp>,
    },
    /// Ask for the locks of several entities.
    Lock {
        /// Unused so far; the lock's name.
        id: EventId,
        /// In any order.
        entities: Vec<InstanceId>,
    },
    /// Give the locks back.
    Unlock {
        /// Unused so far.
        id: EventId,
        /// Which.
        lock: EventId,
    },
    /// End this execution. The last action of a turn.
    Complete(Completion),
}

/// Whether a parent waits for its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentPolicy {
    /// It does; the child's end is reported.
    Wait,
    /// It does not.
    Detach,
}

/// How an execution ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The orchestrator returned.
    Completed(Value),
    /// The orchestrator failed.
    Failed(Box<Failure>),
    /// Begin again with an empty history.
    ContinueAsNew {
        /// What the next generation gets.
        input: Value,
        /// Its version; `None` keeps the present one.
        version: Option<String>,
        /// Events, by name and input, that were not consumed and go along, in order.
        carry: Vec<(String, Value)>,
    },
}

impl Action {
    /// The id it takes, if it takes one.
    pub fn id(&self) -> Option<EventId> {
        match self {
            Self::CallActivity { id, .. }
            | Self::StartChild { id, .. }
            | Self::CreateTimer { id, .. }
            | Self::SendEvent { id, .. }
            | Self::CallEntity { id, .. }
            | Self::SignalEntity { id, .. }
            | Self::Lock { id, .. }
            | Self::Unlock { id, .. } => Some(*id),
            Self::CancelTimer { .. } | Self::Complete(_) => None,
        }
    }
}

/// What an execution waits for, as far as its worker can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The answer to an action.
    Task(EventId),
    /// An event of this name.
    Event(String),
    /// All of these; the first failure ends the wait as well.
    All(Vec<Wait>),
    /// The first of these.
    Any(Vec<Wait>),
}

/// What an entity sends.
#[derive(Debug, Clone, PartialEq)]
pub enum EntitySend {
    /// A signal to another entity.
    Signal {
        /// To whom.
        entity: InstanceId,
        /// The operation.
        name: String,
        /// What it gets.
        input: Value,
        /// Not before this time.
        due: Option<Timestamp>,
    },
    /// An orchestration to start; nobody waits for it.
    Start {
        /// Its id; made if not given.
        instance: Option<InstanceId>,
        /// The orchestrator's name.
        name: String,
        /// Its version, empty if none.
        version: String,
        /// What it gets.
        input: Value,
    },
}
