//! Entities: operations in order, one state, locks.
//!
//! Q1  The durable inbox is the queue. Operations of one sender run in the order of sending; a delayed one when due.
//! Q2  While the entity is locked only the owner's operations enter; all others wait.
//! Q3  A lock request is a barrier: what came before it runs first, what came after it waits for its release.
//! Q4  An owner that is gone gets no lock: its grant comes back as an unlock, and an unlock takes a waiting request out.

use everstep_model::{
    Body, Caller, Commit, EntityChange, EntitySend, Envelope, EventId, Guid, InstanceId, Lock,
    Message, Operation, Outcome, ReusePolicy, Start, Timestamp, Value,
};

use crate::{
    Incoming, Instance, Limits,
    turn::{envelope, unlocks},
};

/// A turn of an entity that has begun.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityTurn {
    /// The present.
    pub now: Timestamp,
    /// The operations to run, in order, with their numbers in the durable inbox.
    pub operations: Vec<(Option<u64>, Operation)>,
    /// Messages of the durable inbox that it consumes, apart from operations.
    pub consumed: Vec<u64>,
    /// Messages that go to the durable inbox.
    pub held: Vec<Message>,
    /// Grants and forwarded requests.
    pub outgoing: Vec<Envelope>,
    /// The new holder of the lock, if it changes.
    pub lock: Option<Option<Caller>>,
    /// Keys of signals that do not pass through the durable inbox.
    pub keys: Vec<String>,
}

/// What became of the operations of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityAnswer {
    /// One outcome for each operation run; the rest stay in the queue.
    pub results: Vec<Outcome>,
    /// The state afterwards.
    pub state: Option<Value>,
    /// What was sent.
    pub sends: Vec<EntitySend>,
}

impl EntityTurn {
    /// Whether it changes nothing and runs nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
            && self.consumed.is_empty()
            && self.held.is_empty()
            && self.outgoing.is_empty()
            && self.lock.is_none()
    }
}

/// Begins a turn: picks the operations that may run.
pub fn begin_entity(
    instance: &Instance,
    limits: &Limits,
    now: Timestamp,
    incoming: Vec<Incoming>,
) -> EntityTurn {
    let mut picking = Picking {
        instance,
        holder: instance.rare.lock.clone(),
        barrier: false,
        shut_out: false,
        turn: EntityTurn {
            now,
            operations: Vec::new(),
            consumed: Vec::new(),
            held: Vec::new(),
            outgoing: Vec::new(),
            lock: None,
            keys: Vec::new(),
        },
    };
    let unlocked: Vec<Caller> =
        incoming.iter().filter_map(|incoming| unlock_of(&incoming.message.body)).cloned().collect();
    for incoming in incoming {
        if picking.turn.operations.len() >= limits.entity_batch {
            picking.hold(incoming);
        } else {
            picking.take(incoming, &unlocked);
        }
    }
    picking.turn
}

/// Ends a turn with what its operations did. `ids` names the requests that they send.
pub fn finish_entity(
    instance: &Instance,
    turn: EntityTurn,
    answer: EntityAnswer,
    ids: &mut dyn FnMut() -> Guid,
) -> Commit {
    let EntityTurn { now, operations, mut consumed, mut held, mut outgoing, lock, mut keys } = turn;
    let ran = answer.results.len();
    assert!(ran <= operations.len(), "a worker answers no operation it was not given");
    let mut results = answer.results.into_iter();
    let mut left = Vec::new();
    for (number, operation) in operations {
        let Some(outcome) = results.next() else {
            if number.is_none() {
                left.push(Message {
                    from: everstep_model::Source::Local,
                    body: Body::Operation(Box::new(operation)),
                });
            }
            continue;
        };
        consumed.extend(number);
        if number.is_none() && !operation.key.is_empty() {
            keys.push(operation.key);
        }
        if let Some(Caller { instance, execution_id, task }) = operation.caller {
            outgoing.push(envelope(instance, Body::OperationEnded { execution_id, task, outcome }));
        }
    }
    // What was not run came before what was held.
    left.append(&mut held);
    outgoing.extend(answer.sends.into_iter().map(|send| sent(instance, send, ids())));
    let state = (ran > 0 && answer.state != instance.rare.state).then_some(answer.state);
    Commit {
        iid: instance.iid,
        now,
        accepted: left,
        consumed,
        outgoing,
        entity: Some(EntityChange { state, lock, keys }),
        ..Commit::default()
    }
}

fn sent(instance: &Instance, send: EntitySend, id: Guid) -> Envelope {
    match send {
        EntitySend::Signal { entity, name, input, due } => {
            let sender = Caller {
                instance: instance.id.clone(),
                execution_id: instance.execution_id.clone(),
                task: EventId(0),
            };
            let (caller, key, trace) = (None, String::new(), None);
            let operation =
                Operation { id, name, input, caller, sender: Some(sender), due, key, trace };
            envelope(entity, Body::Operation(Box::new(operation)))
        }
        EntitySend::Start { instance, name, version, input } => {
            let to = instance.unwrap_or_else(|| InstanceId::from_stored(&id.simple()));
            let start = Start {
                name,
                version,
                input,
                execution_id: None,
                parent: None,
                tags: everstep_model::Tags::new(),
                scheduled: None,
                trace: None,
                reuse: ReusePolicy::ended(),
            };
            envelope(to, Body::Start(Box::new(start)))
        }
    }
}

fn unlock_of(body: &Body) -> Option<&Caller> {
    if let Body::Unlock { owner } = body { Some(owner) } else { None }
}

struct Picking<'a> {
    instance: &'a Instance,
    holder: Option<Caller>,
    /// A lock request waits: nothing after it runs.
    barrier: bool,
    /// Something waits because of the holder.
    shut_out: bool,
    turn: EntityTurn,
}

impl Picking<'_> {
    fn take(&mut self, incoming: Incoming, unlocked: &[Caller]) {
        match &incoming.message.body {
            Body::Unlock { owner } => {
                self.turn.consumed.extend(incoming.held);
                if self.holder.as_ref() == Some(owner) {
                    self.holder = None;
                    self.turn.lock = Some(None);
                    // Those who waited are the first of the next turn; nobody overtakes them in this one.
                    self.barrier |= self.shut_out;
                }
            }
            Body::Lock(lock) => self.take_lock(lock.clone(), incoming, unlocked),
            Body::Operation(_) => self.take_operation(incoming),
            // Not for entities: consumed without a trace.
            Body::Start(_)
            | Body::TaskEnded { .. }
            | Body::ChildEnded { .. }
            | Body::TimerFired { .. }
            | Body::Raised { .. }
            | Body::Suspend { .. }
            | Body::Resume { .. }
            | Body::Terminate { .. }
            | Body::Rewind { .. }
            | Body::OperationEnded { .. }
            | Body::LockGranted { .. }
            | Body::Unpark => self.turn.consumed.extend(incoming.held),
        }
    }

    fn take_lock(&mut self, mut lock: Box<Lock>, incoming: Incoming, unlocked: &[Caller]) {
        if unlocked.contains(&lock.owner) && self.holder.as_ref() != Some(&lock.owner) {
            // The owner is gone before its turn came. Those of its set that hold the lock already may have had their unlock
            // before the request, so they are told again.
            self.turn.consumed.extend(incoming.held);
            let holding = lock.set.iter().take(lock.index as usize).cloned().collect();
            self.turn.outgoing.extend(unlocks(&lock.owner, holding));
            return;
        }
        if self.holder.is_some() || self.barrier || !self.turn.operations.is_empty() {
            self.barrier |= self.holder.is_none();
            self.shut_out |= self.holder.is_some();
            self.hold(incoming);
            return;
        }
        self.turn.consumed.extend(incoming.held);
        self.holder = Some(lock.owner.clone());
        self.turn.lock = Some(Some(lock.owner.clone()));
        lock.index += 1;
        let next = lock.set.get(lock.index as usize).cloned();
        self.turn.outgoing.push(match next {
            Some(entity) => envelope(entity, Body::Lock(lock)),
            None => {
                let Caller { instance, execution_id, task } = lock.owner;
                envelope(
                    instance,
                    Body::LockGranted { execution_id, lock: task, entities: lock.set },
                )
            }
        });
    }

    fn take_operation(&mut self, incoming: Incoming) {
        let Body::Operation(operation) = &incoming.message.body else { return };
        let known = incoming.held.is_none() && self.knows(&operation.key);
        if known {
            return;
        }
        let owns = |holder: &Caller| {
            operation.sender.as_ref().is_some_and(|sender| {
                sender.instance == holder.instance && sender.execution_id == holder.execution_id
            })
        };
        let allowed = match &self.holder {
            Some(holder) => owns(holder),
            None => !self.barrier,
        };
        self.shut_out |= !allowed && self.holder.is_some();
        if !allowed || operation.due.is_some_and(|due| due > self.turn.now) {
            self.hold(incoming);
            return;
        }
        if let Body::Operation(operation) = incoming.message.body {
            self.turn.operations.push((incoming.held, *operation));
        }
    }

    fn knows(&self, key: &str) -> bool {
        let in_turn = || {
            let fresh = self.turn.operations.iter().filter(|(held, _)| held.is_none());
            let held = self.turn.held.iter().filter_map(|message| {
                if let Body::Operation(operation) = &message.body {
                    Some(&operation.key)
                } else {
                    None
                }
            });
            fresh.map(|(_, operation)| &operation.key).chain(held).any(|known| known == key)
        };
        !key.is_empty() && (self.instance.knows_key(key) || in_turn())
    }

    fn hold(&mut self, incoming: Incoming) {
        let known = match &incoming.message.body {
            Body::Operation(operation) => self.knows(&operation.key),
            Body::Start(_)
            | Body::TaskEnded { .. }
            | Body::ChildEnded { .. }
            | Body::TimerFired { .. }
            | Body::Raised { .. }
            | Body::Suspend { .. }
            | Body::Resume { .. }
            | Body::Terminate { .. }
            | Body::Rewind { .. }
            | Body::Lock(_)
            | Body::Unlock { .. }
            | Body::OperationEnded { .. }
            | Body::LockGranted { .. }
            | Body::Unpark => false,
        };
        if incoming.held.is_none() && !known {
            self.turn.held.push(incoming.message);
        }
    }
}

#[cfg(test)]
mod tests;
