//! What durable turns did, for those who only look on: traces, life-cycle lines, webhooks.
//!
//! W1  A listener hears of a turn after it is durable, in order per partition, and never twice in one run of the host.
//! W2  What a listener does not hear because the process went down is not told again; who must know looks at the store.
//! W3  A listener is called on the store's thread and must not wait.

use std::fmt;

use everstep_engine::Instance;
use everstep_model::{Commit, Event, ExecutionId, InstanceId, Status, Timestamp, TraceContext};

/// One durable turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Turned {
    /// Whose.
    pub instance: InstanceId,
    /// The execution after the turn.
    pub execution_id: ExecutionId,
    /// The function.
    pub name: String,
    /// Its version, empty if none.
    pub version: String,
    /// Where the instance stands after the turn.
    pub status: Status,
    /// When the instance was first started.
    pub created: Timestamp,
    /// The present of the turn.
    pub now: Timestamp,
    /// Of the request that started it.
    pub trace: Option<TraceContext>,
    /// What was added to the history.
    pub events: Vec<Event>,
}

impl Turned {
    /// What a commit did to an instance, which is as it is after the commit.
    pub(crate) fn of(instance: &Instance, commit: &Commit) -> Self {
        Self {
            instance: instance.id.clone(),
            execution_id: instance.execution_id.clone(),
            name: instance.name.clone(),
            version: instance.rare.version.clone(),
            status: instance.status,
            created: instance.created,
            now: commit.now,
            trace: instance.rare.trace.clone(),
            events: commit.events.clone(),
        }
    }
}

/// Hears of durable turns.
pub trait Listener: Send + Sync {
    /// A turn is durable.
    fn turned(&self, turn: Turned);
}

impl fmt::Debug for dyn Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
