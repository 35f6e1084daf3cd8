//! Critical sections: what an orchestrator may do while it holds locks.
//!
//! A section begins with the request and ends with the release. Once the locks are held, entities are called one call
//! at a time and only if they are locked; signals go only to others; sub-orchestrations have to wait. Sections do not
//! nest.

use everstep_model::{EventId, Failure, InstanceId};

use crate::failure::rule;

/// One critical section.
#[derive(Debug)]
pub(crate) struct Section {
    /// The request.
    pub(crate) lock: EventId,
    pub(crate) entities: Vec<InstanceId>,
    pub(crate) held: bool,
    /// Calls to locked entities that are not answered.
    busy: Vec<(EventId, InstanceId)>,
}

impl Section {
    pub(crate) fn new(lock: EventId, entities: Vec<InstanceId>) -> Self {
        Self { lock, entities, held: false, busy: Vec::new() }
    }

    /// Whether an entity may be called.
    pub(crate) fn check_call(&self, entity: &InstanceId) -> Result<(), Failure> {
        if !self.held {
            Ok(())
        } else if !self.entities.contains(entity) {
            Err(rule(format!(
                "the entity `{entity}` is called in a critical section that does not lock it; add it to `ctx.lock`, or call it after the release"
            )))
        } else if self.busy.iter().any(|(_, other)| other == entity) {
            Err(rule(format!(
                "the locked entity `{entity}` is called while another call to it is open; await that one first"
            )))
        } else {
            Ok(())
        }
    }

    /// Whether an entity may be signaled.
    pub(crate) fn check_signal(&self, entity: &InstanceId) -> Result<(), Failure> {
        if self.held && self.entities.contains(entity) {
            Err(rule(format!(
                "the entity `{entity}` is signaled by the orchestration that has locked it; call it instead, or signal it after the release"
            )))
        } else {
            Ok(())
        }
    }

    /// Whether a sub-orchestration may be started.
    pub(crate) fn check_child(&self) -> Result<(), Failure> {
        if self.held {
            Err(rule(
                "a sub-orchestration is started in a critical section; start it before `ctx.lock` or after the release",
            ))
        } else {
            Ok(())
        }
    }

    pub(crate) fn called(&mut self, call: EventId, entity: InstanceId) {
        if self.held {
            self.busy.push((call, entity));
        }
    }

    pub(crate) fn answered(&mut self, call: EventId) {
        if call == self.lock {
            self.held = true;
        }
        self.busy.retain(|(open, _)| *open != call);
    }
}
