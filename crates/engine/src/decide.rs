//! What actions become: events, messages, calls.
//!
//! A1  Each action is recorded by one event, in the order of the actions.
//! A2  Nothing is checked against the world: a name that nobody registered, an instance that does not exist answer in
//!     their own time.

use std::collections::BTreeMap;

use everstep_model::{
    Action, Body, Caller, Commit, Completion, Event, EventId, ExecutionId, Failure, Guid,
    InstanceId, Lock, NewExecution, Operation, Outcome, Parent, ParentPolicy, ReusePolicy, Start,
    Started, Tags, Value, kinds,
};

use crate::{
    Instance,
    turn::{Turn, envelope, unlocks},
};

/// A commit in the making.
pub(crate) struct Building<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) commit: Commit,
    /// Lock sets that are asked for or held, as of the actions so far.
    locks: BTreeMap<EventId, Vec<InstanceId>>,
}

impl<'a> Building<'a> {
    pub(crate) fn new(instance: &'a Instance, turn: Turn) -> Self {
        let mut commit = Commit {
            iid: instance.iid,
            now: turn.now,
            accepted: turn.held,
            consumed: turn.consumed,
            closed: turn.closed,
            events: turn.events,
            outgoing: turn.outgoing,
            ..Commit::default()
        };
        if turn.retried {
            commit.row.parked = Some(None);
        }
        let locks =
            instance.rare.locks.iter().map(|(id, open)| (*id, open.entities.clone())).collect();
        Self { instance, commit, locks }
    }

    pub(crate) fn action(&mut self, action: Action) {
        match action {
            Action::CallActivity { id, name, input, tags, origin } => {
                self.event(Event::TaskScheduled { id, name, input, tags, origin });
            }
            Action::StartChild { id, name, version, instance, input, tags, policy, origin } => {
                let child = instance.unwrap_or_else(|| child_id(&self.instance.execution_id, id));
                self.send_start(id, &child, (&name, &version, &input), tags, policy);
                let detached = policy == ParentPolicy::Detach;
                self.event(Event::ChildCreated {
                    id,
                    name,
                    version,
                    instance: child,
                    input,
                    detached,
                    origin,
                });
            }
            Action::CreateTimer { id, fire_at, origin } => {
                self.event(Event::TimerCreated { id, fire_at, origin });
            }
            Action::CancelTimer { timer } => self.event(Event::TimerCanceled { timer }),
            Action::SendEvent { id, instance, name, input } => {
                self.send(
                    &instance,
                    Body::Raised { name: name.clone(), input: input.clone(), key: String::new() },
                );
                self.event(Event::EventSent { id, instance, name, input });
            }
            Action::CallEntity { id, entity, name, input } => {
                self.send_operation(id, &entity, (&name, &input), None, Some(self.caller(id)));
                self.event(Event::OperationCalled { id, entity, name, input });
            }
            Action::SignalEntity { id, entity, name, input, due } => {
                self.send_operation(id, &entity, (&name, &input), due, None);
                self.event(Event::OperationSignaled { id, entity, name, input, due });
            }
            Action::Lock { id, mut entities } => {
                entities.sort();
                entities.dedup();
                self.send_lock(id, &entities);
                self.locks.insert(id, entities.clone());
                self.event(Event::LockRequested { id, entities });
            }
            Action::Unlock { id, lock } => {
                self.release(lock);
                self.event(Event::LockReleased { id, lock });
            }
            Action::Complete(_) => unreachable!("completions are taken out before"),
        }
    }

    fn event(&mut self, event: Event) {
        self.commit.events.push(event);
    }

    fn send(&mut self, to: &InstanceId, body: Body) {
        self.commit.outgoing.push(envelope(to.clone(), body));
    }

    /// Where the answer to a call of this turn goes.
    fn caller(&self, task: EventId) -> Caller {
        Caller {
            instance: self.instance.id.clone(),
            execution_id: self.instance.execution_id.clone(),
            task,
        }
    }

    fn send_start(
        &mut self,
        id: EventId,
        child: &InstanceId,
        call: (&str, &str, &Value),
        tags: Tags,
        policy: ParentPolicy,
    ) {
        let (name, version, input) = call;
        let Caller { instance, execution_id, task } = self.caller(id);
        let is_child = |other: &InstanceId| same_in_any_case(other, child);
        let is_ancestor = is_child(&instance)
            || self.instance.rare.parent.as_ref().is_some_and(|parent| is_child(&parent.instance));
        let refusal = if is_ancestor {
            Some(format!(
                "`{child}` is the caller itself or its parent; give the child an id of its own"
            ))
        } else if child.entity_parts().is_some() {
            Some(format!("`{child}` is an entity's id; give the child an id without a leading `@`"))
        } else {
            None
        };
        if let Some(text) = refusal {
            if policy == ParentPolicy::Wait {
                let outcome = Outcome::Failed(Box::new(Failure::new(kinds::RULE, text).fatal()));
                self.send(&instance, Body::ChildEnded { execution_id, task, outcome });
            }
            return;
        }
        let mut all_tags = self.instance.rare.tags.clone();
        all_tags.extend(tags);
        let task = (policy == ParentPolicy::Wait).then_some(task);
        let start = Start {
            name: name.to_owned(),
            version: version.to_owned(),
            input: input.clone(),
            execution_id: None,
            parent: Some(Parent { instance, execution_id, name: self.instance.name.clone(), task }),
            tags: all_tags,
            scheduled: None,
            trace: self.instance.rare.trace.clone(),
            reuse: ReusePolicy::ended(),
        };
        self.send(child, Body::Start(Box::new(start)));
    }

    fn send_operation(
        &mut self,
        id: EventId,
        entity: &InstanceId,
        call: (&str, &Value),
        due: Option<everstep_model::Timestamp>,
        caller: Option<Caller>,
    ) {
        let operation = Operation {
            id: request_id(&self.instance.execution_id, id),
            name: call.0.to_owned(),
            input: call.1.clone(),
            caller,
            sender: Some(self.caller(id)),
            due,
            key: String::new(),
            trace: self.instance.rare.trace.clone(),
        };
        self.send(entity, Body::Operation(Box::new(operation)));
    }

    fn send_lock(&mut self, id: EventId, entities: &[InstanceId]) {
        let owner = self.caller(id);
        match entities.first() {
            Some(first) => self.send(
                &first.clone(),
                Body::Lock(Box::new(Lock { owner, set: entities.to_vec(), index: 0 })),
            ),
            None => {
                let Caller { instance, execution_id, task } = owner;
                self.send(
                    &instance,
                    Body::LockGranted { execution_id, lock: task, entities: Vec::new() },
                );
            }
        }
    }

    fn release(&mut self, lock: EventId) {
        if let Some(entities) = self.locks.remove(&lock) {
            let owner = self.caller(lock);
            self.commit.outgoing.extend(unlocks(&owner, entities));
        }
    }

    /// An execution that ends keeps no locks.
    pub(crate) fn release_all_locks(&mut self) {
        let locks: Vec<_> = self.locks.keys().copied().collect();
        locks.into_iter().for_each(|lock| self.release(lock));
    }

    /// The commit that begins the generation after this one.
    pub(crate) fn next_generation(
        &self,
        input: Value,
        version: Option<String>,
        carry: Vec<(String, Value)>,
        execution_id: ExecutionId,
    ) -> Commit {
        let instance = self.instance;
        let started = Started {
            at: self.commit.now,
            name: instance.name.clone(),
            version: version.unwrap_or_else(|| instance.rare.version.clone()),
            input,
            execution_id: execution_id.clone(),
            parent: instance.rare.parent.clone(),
            tags: instance.rare.tags.clone(),
            scheduled: None,
            trace: instance.rare.trace.clone(),
        };
        let raised = carry.into_iter().map(|(name, input)| Event::EventRaised {
            name,
            input,
            key: String::new(),
        });
        Commit {
            iid: instance.iid,
            now: self.commit.now,
            begin: Some(NewExecution {
                execution: instance.execution + 1,
                execution_id,
                fresh: false,
            }),
            events: std::iter::once(Event::Started(Box::new(started))).chain(raised).collect(),
            ..Commit::default()
        }
    }
}

/// Ids differ by case, but a child that differs from its parent by nothing else is a slip.
fn same_in_any_case(one: &InstanceId, other: &InstanceId) -> bool {
    one.as_str().to_lowercase() == other.as_str().to_lowercase()
}

/// The id of a child that was given none: the parent's execution and the call, so that depth does not lengthen it.
pub(crate) fn child_id(execution_id: &ExecutionId, task: EventId) -> InstanceId {
    InstanceId::from_stored(&format!("{execution_id}:{}", task.0))
}

/// The id of a request that an action makes.
pub(crate) fn request_id(execution_id: &ExecutionId, task: EventId) -> Guid {
    let hash =
        xxhash_rust::xxh3::xxh3_128_with_seed(execution_id.as_str().as_bytes(), u64::from(task.0));
    Guid(hash.to_be_bytes())
}

/// The bytes of the value that an action carries.
pub(crate) fn value_bytes(action: &Action) -> usize {
    match action {
        Action::CallActivity { input, .. }
        | Action::StartChild { input, .. }
        | Action::SendEvent { input, .. }
        | Action::CallEntity { input, .. }
        | Action::SignalEntity { input, .. }
        | Action::Complete(
            Completion::Completed(input) | Completion::ContinueAsNew { input, .. },
        ) => input.len(),
        Action::Complete(Completion::Failed(failure)) => {
            failure.message.len() + failure.stack.len()
        }
        Action::CreateTimer { .. }
        | Action::CancelTimer { .. }
        | Action::Lock { .. }
        | Action::Unlock { .. } => 0,
    }
}

#[cfg(test)]
mod tests;
