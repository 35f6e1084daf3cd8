//! Starts: a new instance, a new run under an old id, or a refusal.
//!
//! An accepted start is a fact of its own: the execution exists, `Pending`, before its first turn.

use everstep_model::{
    Body, Commit, Envelope, Event, ExecutionId, Failure, Iid, InstanceId, NewExecution, Outcome,
    Start, Started, Status, Timestamp, kinds,
};

use crate::{
    Instance,
    turn::{envelope, unlocks},
};

/// What became of a start.
#[derive(Debug, Clone, PartialEq)]
pub enum StartOutcome {
    /// The execution began.
    Begun(Box<Commit>),
    /// An instance of that id stands in the way; the envelope tells a parent that waits.
    AlreadyExists(Status, Option<Envelope>),
}

/// Begins an execution of `id`, where `existing` is the instance of that id, if there is one.
pub fn start(
    existing: Option<&Instance>,
    (iid, id): (Iid, &InstanceId),
    start: Start,
    now: Timestamp,
    execution_id: ExecutionId,
) -> StartOutcome {
    if let Some(instance) =
        existing.filter(|instance| instance.execution > 0 && !start.reuse.allows(instance.status))
    {
        return StartOutcome::AlreadyExists(instance.status, refusal(id, &start));
    }
    let execution_id = start.execution_id.unwrap_or(execution_id);
    let started = Started {
        at: now,
        name: start.name,
        version: start.version,
        input: start.input,
        execution_id: execution_id.clone(),
        parent: start.parent,
        tags: start.tags,
        scheduled: start.scheduled.filter(|due| *due > now),
        trace: start.trace,
    };
    let outgoing = existing.map(give_up).unwrap_or_default();
    StartOutcome::Begun(Box::new(Commit {
        iid,
        created: existing.is_none().then(|| id.clone()),
        now,
        begin: Some(NewExecution {
            execution: existing.map_or(0, |instance| instance.execution) + 1,
            execution_id,
            fresh: true,
        }),
        events: vec![Event::Started(Box::new(started))],
        outgoing,
        ..Commit::default()
    }))
}

/// What a replaced execution leaves behind: locks to be given back, a parent to be told.
fn give_up(instance: &Instance) -> Vec<Envelope> {
    if instance.status.is_terminal() {
        return Vec::new();
    }
    let owner = |task| everstep_model::Caller {
        instance: instance.id.clone(),
        execution_id: instance.execution_id.clone(),
        task,
    };
    let locks =
        instance.rare.locks.iter().flat_map(|(task, open)| {
            unlocks(&owner(*task), open.entities.clone()).collect::<Vec<_>>()
        });
    let failure =
        Failure::new(kinds::TERMINATED, "the instance was replaced by a new start under its id");
    let parent = crate::turn::reply_to_parent(instance, Outcome::Failed(Box::new(failure)));
    locks.chain(parent).collect()
}

fn refusal(id: &InstanceId, start: &Start) -> Option<Envelope> {
    let parent = start.parent.as_ref()?;
    let text = format!(
        "an instance with the id `{id}` is already running; give the sub-orchestration an id of its own"
    );
    let outcome = Outcome::Failed(Box::new(Failure::new(kinds::ALREADY_EXISTS, text)));
    let body =
        Body::ChildEnded { execution_id: parent.execution_id.clone(), task: parent.task?, outcome };
    Some(envelope(parent.instance.clone(), body))
}

#[cfg(test)]
mod tests;
