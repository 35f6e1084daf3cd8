//! All that is kept of an instance at rest, apart from the hub it was in: what an export carries and an import restores.
//!
//! V1  Values are whole: nothing refers to what is stored elsewhere.
//! V2  What only a running instance has (messages, timers, calls, locks) is not part of it.

use crate::{Event, ExecutionId, InstanceId, Timestamp, Value};

/// An orchestration that has ended, or an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its id.
    pub id: InstanceId,
    /// The number of the execution; 0 for an entity.
    pub execution: u32,
    /// The public name of the execution.
    pub execution_id: ExecutionId,
    /// When the instance was first started.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When it ended; nothing for an entity.
    pub completed: Option<Timestamp>,
    /// What it last said of itself.
    pub custom_status: Option<Value>,
    /// The state of an entity.
    pub state: Option<Value>,
    /// The history of the execution.
    pub events: Vec<Event>,
}
