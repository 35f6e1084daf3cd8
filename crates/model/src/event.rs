//! What stands in a history.
//!
//! E1  An event that records an action carries the action's [`EventId`]; ids rise within an execution and may have gaps.
//! E2  An event that answers an action names it by that id.
//! E3  The time of an event is that of the [`Event::TurnStarted`] before it; [`Event::Started`] carries its own.

use crate::{
    EventId, ExecutionId, Failure, InstanceId, Outcome, Tags, Timestamp, TraceContext, Value,
};

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The execution came into being; the first event of each.
    Started(Box<Started>),
    /// A turn was taken; `now` is the time its code saw.
    TurnStarted {
        /// The instant that user code saw as the present.
        now: Timestamp,
    },
    /// An activity was called.
    TaskScheduled {
        /// Of the action.
        id: EventId,
        /// The activity's name.
        name: String,
        /// What it gets.
        input: Value,
        /// Given by the caller.
        tags: Tags,
        /// Set when a retry made the call.
        origin: Option<Origin>,
    },
    /// An activity's attempt ended.
    TaskEnded {
        /// The call it answers.
        task: EventId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A sub-orchestration was started.
    ChildCreated {
        /// Of the action.
        id: EventId,
        /// The orchestrator's name.
        name: String,
        /// Its version, empty if none was given.
        version: String,
        /// The child's id.
        instance: InstanceId,
        /// What it gets.
        input: Value,
        /// Started without waiting: no reply will come.
        detached: bool,
        /// Set when a retry made the call.
        origin: Option<Origin>,
    },
    /// A sub-orchestration ended.
    ChildEnded {
        /// The call it answers.
        task: EventId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A timer was set.
    TimerCreated {
        /// Of the action; the timer's name.
        id: EventId,
        /// When it is due.
        fire_at: Timestamp,
        /// Set when it is the wait of a retry.
        origin: Option<Origin>,
    },
    /// A timer came due.
    TimerFired {
        /// Which.
        timer: EventId,
    },
    /// The code lost interest in a timer.
    TimerCanceled {
        /// Which.
        timer: EventId,
    },
    /// An event was sent to another orchestration.
    EventSent {
        /// Of the action.
        id: EventId,
        /// To whom.
        instance: InstanceId,
        /// Its name.
        name: String,
        /// What it carries.
        input: Value,
    },
    /// An event arrived from outside.
    EventRaised {
        /// Its name as sent; names compare by simple upper-casing.
        name: String,
        /// What it carries.
        input: Value,
        /// The sender's key, empty if none; a key counts once.
        key: String,
    },
    /// An entity was called.
    OperationCalled {
        /// Of the action.
        id: EventId,
        /// The entity.
        entity: InstanceId,
        /// The operation.
        name: String,
        /// What it gets.
        input: Value,
    },
    /// An entity was signaled.
    OperationSignaled {
        /// Of the action.
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
    /// An entity answered.
    OperationEnded {
        /// The call it answers.
        task: EventId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Locks were asked for.
    LockRequested {
        /// Of the action; the lock's name.
        id: EventId,
        /// Sorted by bytes, without duplicates.
        entities: Vec<InstanceId>,
    },
    /// All the locks are held.
    LockGranted {
        /// Which request.
        lock: EventId,
    },
    /// The locks were given back.
    LockReleased {
        /// Of the action.
        id: EventId,
        /// Which request.
        lock: EventId,
    },
    /// A client suspended the instance.
    Suspended {
        /// Its words.
        reason: String,
    },
    /// A client resumed it.
    Resumed {
        /// Its words.
        reason: String,
    },
    /// A client ended it.
    Terminated {
        /// Its words.
        reason: String,
    },
    /// The failed part of the history was cut off to be run again.
    Rewound {
        /// The client's words.
        reason: String,
    },
    /// The orchestrator returned.
    Completed {
        /// What it returned.
        output: Value,
    },
    /// The orchestrator failed.
    Failed {
        /// Why.
        failure: Box<Failure>,
    },
}

/// How an execution came into being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// When the start was accepted.
    pub at: Timestamp,
    /// The orchestrator's name.
    pub name: String,
    /// Its version, empty if none.
    pub version: String,
    /// What it was given.
    pub input: Value,
    /// The public name of the execution.
    pub execution_id: ExecutionId,
    /// Who waits for it.
    pub parent: Option<Parent>,
    /// Given by the starter, handed down to children.
    pub tags: Tags,
    /// No turn before this time.
    pub scheduled: Option<Timestamp>,
    /// Of the request that started it.
    pub trace: Option<TraceContext>,
}

/// Who waits for a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The parent's id.
    pub instance: InstanceId,
    /// The execution of the parent that made the call.
    pub execution_id: ExecutionId,
    /// The parent's function name.
    pub name: String,
    /// The call to be answered; `None` when the child was started without waiting.
    pub task: Option<EventId>,
}

/// Which logical call, and which attempt of it, an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The id of the first attempt's event.
    pub call: EventId,
    /// 1 for the first attempt; a timer bears the number of the attempt that it precedes.
    pub attempt: u32,
}
