//! What waits in an inbox.

use crate::{
    EventId, ExecutionId, Guid, InstanceId, Outcome, Parent, Position, Status, Tags, Timestamp,
    TraceContext, Value,
};

/// A message with its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who gets it.
    pub to: InstanceId,
    /// What it says.
    pub message: Message,
}

/// A message as the receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: Source,
    /// What it says.
    pub body: Body,
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client, a timer or an activity of this host: never sent twice.
    Local,
    /// Another instance. A position is consumed once.
    Instance(Position),
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Begin an execution.
    Start(Box<Start>),
    /// An activity's attempt ended.
    TaskEnded {
        /// The execution (number) that called it.
        execution: u32,
        /// The call.
        task: EventId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A sub-orchestration ended.
    ChildEnded {
        /// The execution of the parent that called it.
        execution_id: ExecutionId,
        /// The call.
        task: EventId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A timer is due.
    TimerFired {
        /// The execution (number) that set it.
        execution: u32,
        /// Which.
        timer: EventId,
        /// When it was due.
        fire_at: Timestamp,
    },
    /// An event for whoever waits for its name.
    Raised {
        /// Its name.
        name: String,
        /// What it carries.
        input: Value,
        /// The sender's key; empty if none.
        key: String,
    },
    /// Hold everything.
    Suspend {
        /// The client's words.
        reason: String,
    },
    /// Go on.
    Resume {
        /// The client's words.
        reason: String,
    },
    /// End now.
    Terminate {
        /// The client's words.
        reason: String,
        /// Children too.
        recursive: bool,
    },
    /// Run the failed part again.
    Rewind {
        /// The client's words.
        reason: String,
        /// From a parent: how to start the child again if it is gone.
        start: Option<Box<Start>>,
    },
    /// Call or signal an entity.
    Operation(Box<Operation>),
    /// Ask an entity for its lock, and then the next in the set.
    Lock(Box<Lock>),
    /// Give an entity's lock back.
    Unlock {
        /// Who holds it.
        owner: Caller,
    },
    /// An entity answered a call.
    OperationEnded {
        /// The execution of the caller.
        execution_id: ExecutionId,
        /// The call.
        task: EventId,
        /// How it ended.
        outcome: Outcome,
    },
    /// All entities of a set are locked.
    LockGranted {
        /// The execution of the owner.
        execution_id: ExecutionId,
        /// The request.
        lock: EventId,
        /// The set, to be given back if the owner is gone.
        entities: Vec<InstanceId>,
    },
    /// Try a parked instance again.
    Unpark,
}

/// Begin an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The orchestrator's name.
    pub name: String,
    /// Its version, empty if none.
    pub version: String,
    /// What it gets.
    pub input: Value,
    /// Chosen by the client; made by the engine if not.
    pub execution_id: Option<ExecutionId>,
    /// Who waits for it.
    pub parent: Option<Parent>,
    /// Given by the starter.
    pub tags: Tags,
    /// No turn before this time.
    pub scheduled: Option<Timestamp>,
    /// Of the request.
    pub trace: Option<TraceContext>,
    /// What may be replaced.
    pub reuse: ReusePolicy,
}

/// Which existing instances a start may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReusePolicy(Vec<Status>);

impl ReusePolicy {
    /// Those that have ended: the default.
    pub fn ended() -> Self {
        Self(Status::ALL.into_iter().filter(|status| status.is_terminal()).collect())
    }

    /// Every one, also while it runs.
    pub fn any() -> Self {
        Self(Status::ALL.to_vec())
    }

    /// None: the id must be new.
    pub fn never() -> Self {
        Self(Vec::new())
    }

    /// Those of the given statuses.
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Self {
        Self(statuses.into_iter().collect())
    }

    /// Whether an instance of this status may be replaced.
    pub fn allows(&self, status: Status) -> bool {
        self.0.contains(&status)
    }

    /// The statuses that may be replaced.
    pub fn statuses(&self) -> &[Status] {
        &self.0
    }
}

impl Default for ReusePolicy {
    fn default() -> Self {
        Self::ended()
    }
}

/// Call or signal an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Names the request in logs and protocols.
    pub id: Guid,
    /// The operation.
    pub name: String,
    /// What it gets.
    pub input: Value,
    /// Who waits for the answer; `None` for a signal.
    pub caller: Option<Caller>,
    /// The instance that sent it, also for signals; `None` for clients.
    pub sender: Option<Caller>,
    /// Not before this time.
    pub due: Option<Timestamp>,
    /// The sender's key; empty if none.
    pub key: String,
    /// Of the request.
    pub trace: Option<TraceContext>,
}

/// Ask for locks, one entity after the other in the order of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Who asks.
    pub owner: Caller,
    /// All entities, sorted by bytes.
    pub set: Vec<InstanceId>,
    /// Whose turn it is.
    pub index: u32,
}

/// One call of one execution: where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The instance.
    pub instance: InstanceId,
    /// Its execution.
    pub execution_id: ExecutionId,
    /// The action.
    pub task: EventId,
}
