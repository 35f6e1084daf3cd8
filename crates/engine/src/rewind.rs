//! Rewind: a failed execution goes back to before what made it fail, and runs that part again.
//!
//! R1  The new execution's history is a prefix of the old one's actions, so that replay finds each where it was.
//! R2  A failed call is run again if no new decision followed its failure: a failure that the code handled stays.
//! R3  Results of calls in the prefix that ended well are kept; completed activities do not run again. A critical
//!     section that was open at the end is the exception: its locks are gone, so it runs again from its beginning.
//! R4  The number of the execution rises, its public id stays: children and entities that still owe an answer owe it to
//!     the rewound execution.

use std::collections::{BTreeMap, BTreeSet};

use everstep_model::{
    Body, Commit, Envelope, Event, EventId, NewExecution, Outcome, Parent, ReusePolicy, Start,
    Status, Tags, Timestamp, Value,
};

use crate::{Instance, turn::envelope};

/// Why an instance was not rewound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewindRefused {
    /// Only failed instances are.
    NotFailed(Status),
}

/// Rewinds a failed instance. `history` is the whole history of its execution with all values at hand.
pub fn rewind(
    instance: &Instance,
    history: &[Event],
    reason: &str,
    now: Timestamp,
) -> Result<Commit, RewindRefused> {
    if instance.status != Status::Failed {
        return Err(RewindRefused::NotFailed(instance.status));
    }
    let cut = Cut::of(history);
    let mut events = cut.kept(history);
    let outgoing = rewound_children(instance, &events, reason);
    events.push(Event::Rewound { reason: reason.to_owned() });
    Ok(Commit {
        iid: instance.iid,
        now,
        begin: Some(NewExecution {
            execution: instance.execution + 1,
            execution_id: instance.execution_id.clone(),
            fresh: false,
        }),
        events,
        outgoing,
        ..Commit::default()
    })
}

/// Where a history is cut, and which answers after the cut are dropped too.
struct Cut {
    /// Actions from here on go.
    at: usize,
    /// Answers to these calls go wherever they stand.
    failed: BTreeSet<EventId>,
}

impl Cut {
    fn of(history: &[Event]) -> Self {
        let call_of = calls(history);
        // What the failing turn itself decided does not count: it ran because of the failure.
        let last_turn = history
            .iter()
            .rposition(|event| matches!(event, Event::TurnStarted { .. }))
            .unwrap_or(0);
        let last_decision =
            history[..last_turn].iter().rposition(is_new_decision).map_or(0, |index| index + 1);
        let mut last_answer: BTreeMap<EventId, bool> = BTreeMap::new();
        for event in history {
            if let Some((task, failed)) = answer(event) {
                last_answer.insert(call_of.get(&task).copied().unwrap_or(task), failed);
            }
        }
        let mut cut = Self { at: history.len(), failed: BTreeSet::new() };
        for event in &history[last_decision..] {
            let Some((task, true)) = answer(event) else { continue };
            let call = call_of.get(&task).copied().unwrap_or(task);
            if last_answer.get(&call) == Some(&true) {
                cut.failed.insert(call);
            }
        }
        // A call that was retried starts over: all its attempts go, and every action after its first failure.
        let of_failed =
            |task: EventId| cut.failed.contains(&call_of.get(&task).copied().unwrap_or(task));
        let first = history.iter().position(|event| {
            answer(event).is_some_and(|(task, failed)| failed && of_failed(task))
        });
        cut.at = first.unwrap_or(last_turn);
        cut.spare_locks(history);
        cut.failed = call_of
            .iter()
            .filter(|(_, call)| cut.failed.contains(call))
            .map(|(task, _)| *task)
            .chain(cut.failed.iter().copied())
            .collect();
        cut
    }

    /// Moves the cut before every critical section that would be left open.
    fn spare_locks(&mut self, history: &[Event]) {
        let released_at = |lock: EventId| {
            history.iter().position(|event| matches!(event, Event::LockReleased { lock: released, .. } if *released == lock))
        };
        let ended = self.at;
        for (index, event) in history.iter().enumerate().take(ended).rev() {
            if let Event::LockRequested { id, .. } = event
                && released_at(*id).is_none_or(|released| released >= self.at)
            {
                self.at = self.at.min(index);
            }
        }
    }

    fn kept(&self, history: &[Event]) -> Vec<Event> {
        let mut known = BTreeSet::new();
        let mut kept = Vec::new();
        for (index, event) in history.iter().enumerate() {
            let keep = if matches!(event, Event::Failed { .. } | Event::Rewound { .. }) {
                false
            } else if let Some(id) = action(event) {
                if index < self.at {
                    known.insert(id);
                }
                index < self.at
            } else if let Some((task, failed)) = answer(event) {
                known.contains(&task) && !(failed && self.failed.contains(&task))
            } else if let Event::TimerFired { timer } | Event::TimerCanceled { timer } = event {
                known.contains(timer)
            } else if let Event::LockGranted { lock } = event {
                known.contains(lock)
            } else {
                true
            };
            if keep {
                kept.push(event.clone());
            }
        }
        kept
    }
}

/// The logical call of every attempt.
fn calls(history: &[Event]) -> BTreeMap<EventId, EventId> {
    let of = |event: &Event| match event {
        Event::TaskScheduled { id, origin, .. }
        | Event::ChildCreated { id, origin, .. }
        | Event::TimerCreated { id, origin, .. } => {
            Some((*id, origin.map_or(*id, |origin| origin.call)))
        }
        Event::Started(_)
        | Event::TurnStarted { .. }
        | Event::TaskEnded { .. }
        | Event::ChildEnded { .. }
        | Event::TimerFired { .. }
        | Event::TimerCanceled { .. }
        | Event::EventSent { .. }
        | Event::EventRaised { .. }
        | Event::OperationCalled { .. }
        | Event::OperationSignaled { .. }
        | Event::OperationEnded { .. }
        | Event::LockRequested { .. }
        | Event::LockGranted { .. }
        | Event::LockReleased { .. }
        | Event::Suspended { .. }
        | Event::Resumed { .. }
        | Event::Terminated { .. }
        | Event::Rewound { .. }
        | Event::Completed { .. }
        | Event::Failed { .. } => None,
    };
    history.iter().filter_map(of).collect()
}

/// Whether the event records a decision that is not merely the next attempt of an earlier call. Giving locks back is
/// what the end of an execution does by itself.
fn is_new_decision(event: &Event) -> bool {
    match event {
        Event::TaskScheduled { id, origin, .. }
        | Event::ChildCreated { id, origin, .. }
        | Event::TimerCreated { id, origin, .. } => origin.is_none_or(|origin| origin.call == *id),
        Event::EventSent { .. }
        | Event::OperationCalled { .. }
        | Event::OperationSignaled { .. }
        | Event::LockRequested { .. } => true,
        Event::Started(_)
        | Event::TurnStarted { .. }
        | Event::TaskEnded { .. }
        | Event::ChildEnded { .. }
        | Event::TimerFired { .. }
        | Event::TimerCanceled { .. }
        | Event::EventRaised { .. }
        | Event::OperationEnded { .. }
        | Event::LockGranted { .. }
        | Event::LockReleased { .. }
        | Event::Suspended { .. }
        | Event::Resumed { .. }
        | Event::Terminated { .. }
        | Event::Rewound { .. }
        | Event::Completed { .. }
        | Event::Failed { .. } => false,
    }
}

/// The id of an event that records an action.
fn action(event: &Event) -> Option<EventId> {
    match event {
        Event::TaskScheduled { id, .. }
        | Event::ChildCreated { id, .. }
        | Event::TimerCreated { id, .. }
        | Event::EventSent { id, .. }
        | Event::OperationCalled { id, .. }
        | Event::OperationSignaled { id, .. }
        | Event::LockRequested { id, .. }
        | Event::LockReleased { id, .. } => Some(*id),
        Event::Started(_)
        | Event::TurnStarted { .. }
        | Event::TaskEnded { .. }
        | Event::ChildEnded { .. }
        | Event::TimerFired { .. }
        | Event::TimerCanceled { .. }
        | Event::EventRaised { .. }
        | Event::OperationEnded { .. }
        | Event::LockGranted { .. }
        | Event::Suspended { .. }
        | Event::Resumed { .. }
        | Event::Terminated { .. }
        | Event::Rewound { .. }
        | Event::Completed { .. }
        | Event::Failed { .. } => None,
    }
}

/// The call that an event answers, and whether the answer is a failure.
fn answer(event: &Event) -> Option<(EventId, bool)> {
    if let Event::TaskEnded { task, outcome }
    | Event::ChildEnded { task, outcome }
    | Event::OperationEnded { task, outcome } = event
    {
        Some((*task, matches!(outcome, Outcome::Failed(_))))
    } else {
        None
    }
}

/// Children whose failure was cut off are rewound too, and started again if they are gone. The others that have not
/// answered get the same message: one that ended meanwhile, when nobody listened, answers it, and one that runs absorbs
/// it. A call of an entity without an answer is made again.
fn rewound_children(instance: &Instance, kept: &[Event], reason: &str) -> Vec<Envelope> {
    let answered: BTreeSet<EventId> =
        kept.iter().filter_map(answer).map(|(task, _)| task).collect();
    let again = |event: &Event| match event {
        Event::ChildCreated {
            id, name, version, instance: child, input, detached: false, ..
        } if !answered.contains(id) => {
            let start = restart(instance, *id, (name, version, input));
            let body = Body::Rewind { reason: reason.to_owned(), start: Some(Box::new(start)) };
            Some(envelope(child.clone(), body))
        }
        Event::OperationCalled { id, entity, name, input } if !answered.contains(id) => {
            let caller = everstep_model::Caller {
                instance: instance.id.clone(),
                execution_id: instance.execution_id.clone(),
                task: *id,
            };
            let operation = everstep_model::Operation {
                id: crate::decide::request_id(&instance.execution_id, *id),
                name: name.clone(),
                input: input.clone(),
                caller: Some(caller.clone()),
                sender: Some(caller),
                due: None,
                key: String::new(),
                trace: instance.rare.trace.clone(),
            };
            Some(envelope(entity.clone(), Body::Operation(Box::new(operation))))
        }
        Event::OperationCalled { .. }
        | Event::ChildCreated { .. }
        | Event::TaskScheduled { .. }
        | Event::Started(_)
        | Event::TurnStarted { .. }
        | Event::TaskEnded { .. }
        | Event::ChildEnded { .. }
        | Event::TimerCreated { .. }
        | Event::TimerFired { .. }
        | Event::TimerCanceled { .. }
        | Event::EventSent { .. }
        | Event::EventRaised { .. }
        | Event::OperationSignaled { .. }
        | Event::OperationEnded { .. }
        | Event::LockRequested { .. }
        | Event::LockGranted { .. }
        | Event::LockReleased { .. }
        | Event::Suspended { .. }
        | Event::Resumed { .. }
        | Event::Terminated { .. }
        | Event::Rewound { .. }
        | Event::Completed { .. }
        | Event::Failed { .. } => None,
    };
    kept.iter().filter_map(again).collect()
}

fn restart(
    instance: &Instance,
    task: EventId,
    (name, version, input): (&str, &str, &Value),
) -> Start {
    Start {
        name: name.to_owned(),
        version: version.to_owned(),
        input: input.clone(),
        execution_id: None,
        parent: Some(Parent {
            instance: instance.id.clone(),
            execution_id: instance.execution_id.clone(),
            name: instance.name.clone(),
            task: Some(task),
        }),
        tags: Tags::clone(&instance.rare.tags),
        scheduled: None,
        trace: instance.rare.trace.clone(),
        reuse: ReusePolicy::never(),
    }
}

#[cfg(test)]
mod tests;
