//! One turn of an orchestration: which messages enter it, and what remains of it.
//!
//! T1  Messages for the instance itself (suspend, resume, terminate) act before those for its code.
//! T2  While an instance is suspended, parked or not yet due, messages for its code are held: durable, in order.
//! T3  An answer enters once, only while its call is open, and only for the execution that made the call.
//!
//! What actions become is in `decide`; what ends an execution from outside is here.

use std::collections::BTreeSet;

use everstep_model::{
    Action, Body, Caller, Commit, Completion, Envelope, Event, EventId, ExecutionId, Failure,
    InstanceId, Message, Outcome, Parked, RowChange, Source, Status, Timestamp, Value, Wait, kinds,
};

use crate::{Instance, Limits, decide::Building};

/// The timer of a scheduled start, which no action created.
pub(crate) const START_TIMER: EventId = EventId(u32::MAX);

/// A message on its way into a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Its number in the durable inbox, if it waited there.
    pub held: Option<u64>,
    /// What it says.
    pub message: Message,
}

/// A turn that has begun: what its messages amount to before user code has spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The present.
    pub now: Timestamp,
    /// Added to the history so far.
    pub events: Vec<Event>,
    /// Whether the worker has something to say to it.
    pub ask: bool,
    /// Whether it ends the execution whatever the worker says.
    pub ended: bool,
    /// Whether the instance was parked and is tried again.
    pub retried: bool,
    /// Messages of the durable inbox that it consumes.
    pub consumed: Vec<u64>,
    /// Messages that go to the durable inbox.
    pub held: Vec<Message>,
    /// Calls of former executions that ended.
    pub closed: Vec<(u32, EventId)>,
    /// Messages that it sends whatever the worker says.
    pub outgoing: Vec<Envelope>,
}

/// What a worker decided in a turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    /// In order; a completion is the last.
    pub actions: Vec<Action>,
    /// What the code says of itself, if it said something new.
    pub custom_status: Option<Value>,
    /// What it waits for, if the worker can tell.
    pub wait: Option<Wait>,
}

/// A turn that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// What it changes.
    pub commit: Commit,
    /// The generation that follows it, if it continues as new.
    pub next: Option<Commit>,
}

/// Whether messages of the durable inbox may enter the next turn, given what just arrived.
pub fn restart_needed(instance: &Instance, fresh: &[Message]) -> bool {
    let shut = instance.rare.suspended.is_some()
        || instance.rare.parked.is_some()
        || (instance.ready && instance.rare.scheduled.is_some());
    // One that opens may itself have been held, if the turn it came for could not be taken.
    !shut || fresh.iter().any(opens) || instance.inbox.iter().any(|(_, message)| opens(message))
}

/// Whether a message may let held ones in.
fn opens(message: &Message) -> bool {
    match &message.body {
        Body::Resume { .. } | Body::Unpark | Body::Terminate { .. } => true,
        Body::TimerFired { timer, .. } => *timer == START_TIMER,
        Body::Start(_)
        | Body::TaskEnded { .. }
        | Body::ChildEnded { .. }
        | Body::Raised { .. }
        | Body::Suspend { .. }
        | Body::Rewind { .. }
        | Body::Operation(_)
        | Body::Lock(_)
        | Body::Unlock { .. }
        | Body::OperationEnded { .. }
        | Body::LockGranted { .. } => false,
    }
}

/// Begins a turn: decides which messages enter it and records what they say.
pub fn begin(instance: &Instance, now: Timestamp, incoming: Vec<Incoming>) -> Turn {
    if instance.status.is_terminal() {
        return begin_ended(instance, now, incoming);
    }
    let mut beginning = Beginning::new(instance, now);
    let (control, code): (Vec<_>, Vec<_>) =
        incoming.into_iter().partition(|incoming| is_control(&incoming.message.body));
    for incoming in control {
        beginning.control(incoming);
    }
    if beginning.turn.ended {
        code.into_iter().for_each(|incoming| beginning.leave(&incoming));
        return beginning.turn;
    }
    if beginning.suspended || beginning.parked || beginning.early {
        code.into_iter().for_each(|incoming| beginning.hold(incoming));
        // A resume of what is parked or not yet due, an unpark of what is suspended: the code still has to wait.
        beginning.turn.ask = false;
        return beginning.turn;
    }
    if !beginning.turn.events.iter().any(|event| matches!(event, Event::TurnStarted { .. })) {
        beginning.turn.events.push(Event::TurnStarted { now });
    }
    beginning.turn.ask |= instance.ready;
    code.into_iter().for_each(|incoming| beginning.code(incoming));
    let Turn { events, ask, .. } = &mut beginning.turn;
    if events.len() == 1 && !*ask {
        events.clear();
    }
    beginning.turn
}

/// A turn that only moves fresh messages into the durable inbox: the instance cannot take them at present.
pub fn hold(instance: &Instance, now: Timestamp, incoming: Vec<Incoming>) -> Turn {
    let mut turn = Turn::empty(now);
    let mut keys = BTreeSet::new();
    turn.held = incoming
        .into_iter()
        .filter(|incoming| incoming.held.is_none())
        .map(|incoming| incoming.message)
        .filter(|message| match key(&message.body) {
            "" => true,
            key => !instance.knows_key(key) && keys.insert(key.to_owned()),
        })
        .collect();
    turn
}

/// The sender's key of a message; empty if it has none.
pub(crate) fn key(body: &Body) -> &str {
    match body {
        Body::Raised { key, .. } => key,
        Body::Operation(operation) => &operation.key,
        Body::Start(_)
        | Body::TaskEnded { .. }
        | Body::ChildEnded { .. }
        | Body::TimerFired { .. }
        | Body::Suspend { .. }
        | Body::Resume { .. }
        | Body::Terminate { .. }
        | Body::Rewind { .. }
        | Body::Lock(_)
        | Body::Unlock { .. }
        | Body::OperationEnded { .. }
        | Body::LockGranted { .. }
        | Body::Unpark => "",
    }
}

/// Ends a turn with what the worker decided. `next_execution` makes the public name of a following generation.
pub fn finish(
    instance: &Instance,
    limits: &Limits,
    turn: Turn,
    decided: Decided,
    next_execution: &mut dyn FnMut() -> ExecutionId,
) -> Finished {
    if turn.ended {
        return finish_ended(instance, turn);
    }
    if let Some(failure) = breach(instance, limits, &decided) {
        return fail(instance, turn, failure);
    }
    let mut building = Building::new(instance, turn);
    let mut completion = None;
    for action in decided.actions {
        match action {
            Action::Complete(end) => completion = Some(end),
            Action::CallActivity { .. }
            | Action::StartChild { .. }
            | Action::CreateTimer { .. }
            | Action::CancelTimer { .. }
            | Action::SendEvent { .. }
            | Action::CallEntity { .. }
            | Action::SignalEntity { .. }
            | Action::Lock { .. }
            | Action::Unlock { .. } => building.action(action),
        }
    }
    building.commit.row.custom_status = decided.custom_status;
    building.commit.row.wait = decided.wait.filter(|wait| !waits_already(instance, wait));
    match completion {
        None => Finished { commit: building.commit, next: None },
        Some(end) => complete(building, end, next_execution),
    }
}

/// Whether an instance is known to wait for this. It has done so since it first said so.
fn waits_already(instance: &Instance, wait: &Wait) -> bool {
    instance.wait.as_ref().is_some_and(|(known, _)| known == wait)
}

/// Ends a turn, and the execution with it, as failed.
pub fn fail(instance: &Instance, turn: Turn, failure: Failure) -> Finished {
    let building = Building::new(instance, turn);
    complete(building, Completion::Failed(Box::new(failure)), &mut || {
        unreachable!("a failure has no next generation")
    })
}

/// Sets an instance aside because its history does not fit the code. Nothing is added to its history, and all its
/// messages stay.
pub fn park(
    instance: &Instance,
    now: Timestamp,
    incoming: Vec<Incoming>,
    reason: String,
    code: String,
) -> Commit {
    let (openers, others): (Vec<_>, Vec<_>) =
        incoming.into_iter().partition(|incoming| matches!(incoming.message.body, Body::Unpark));
    Commit {
        iid: instance.iid,
        now,
        consumed: openers.into_iter().filter_map(|incoming| incoming.held).collect(),
        accepted: hold(instance, now, others).held,
        row: RowChange {
            parked: Some(Some(Parked { since: now, reason, code })),
            ..RowChange::default()
        },
        ..Commit::default()
    }
}

fn complete(
    mut building: Building<'_>,
    end: Completion,
    next_execution: &mut dyn FnMut() -> ExecutionId,
) -> Finished {
    building.release_all_locks();
    let instance = building.instance;
    let outcome = match end {
        Completion::Completed(output) => {
            building.commit.events.push(Event::Completed { output: output.clone() });
            Outcome::Completed(output)
        }
        Completion::Failed(failure) => {
            building.commit.events.push(Event::Failed { failure: failure.clone() });
            Outcome::Failed(failure)
        }
        Completion::ContinueAsNew { input, version, carry } => {
            let next = building.next_generation(input, version, carry, next_execution());
            return Finished { commit: building.commit, next: Some(next) };
        }
    };
    building.commit.outgoing.extend(reply_to_parent(instance, outcome));
    Finished { commit: building.commit, next: None }
}

/// What the parent hears, if one waits.
pub(crate) fn reply_to_parent(instance: &Instance, outcome: Outcome) -> Option<Envelope> {
    let parent = instance.rare.parent.as_ref()?;
    let body =
        Body::ChildEnded { execution_id: parent.execution_id.clone(), task: parent.task?, outcome };
    Some(envelope(parent.instance.clone(), body))
}

/// A message whose position the partition fills in when the group is closed.
pub(crate) fn envelope(to: InstanceId, body: Body) -> Envelope {
    Envelope { to, message: Message { from: Source::Local, body } }
}

fn finish_ended(instance: &Instance, turn: Turn) -> Finished {
    let mut building = Building::new(instance, turn);
    building.release_all_locks();
    Finished { commit: building.commit, next: None }
}

/// What a decision must not contain, told as the failure of the execution.
fn breach(instance: &Instance, limits: &Limits, decided: &Decided) -> Option<Failure> {
    let ids: Vec<_> = decided.actions.iter().filter_map(Action::id).collect();
    let rising = ids.windows(2).all(|pair| pair[0] < pair[1])
        && ids.first().is_none_or(|id| id.0 >= instance.next_id);
    if !rising {
        let text =
            format!("the worker gave ids that do not rise above {}: {ids:?}", instance.next_id);
        return Some(Failure::new(kinds::RULE, text));
    }
    if let Some(status) = decided.custom_status.as_ref().and_then(Value::inline) {
        let units = String::from_utf8_lossy(status).encode_utf16().count() * 2;
        if units > limits.custom_status_bytes {
            let text = format!(
                "The UTF-16 size of the JSON-serialized payload must not exceed {} KB. The current payload size is {} KB.",
                limits.custom_status_bytes >> 10,
                units.div_ceil(1024)
            );
            return Some(Failure::new(kinds::TOO_LARGE, text));
        }
    }
    let largest = decided.actions.iter().map(crate::decide::value_bytes).max().unwrap_or(0);
    (largest > limits.value_bytes).then(|| {
        let text = format!(
            "a value of {largest} bytes is larger than the hub allows ({}); store it elsewhere and pass a reference, or raise the limit",
            limits.value_bytes
        );
        Failure::new(kinds::TOO_LARGE, text)
    })
}

fn is_control(body: &Body) -> bool {
    match body {
        Body::Suspend { .. }
        | Body::Resume { .. }
        | Body::Terminate { .. }
        | Body::Rewind { .. }
        | Body::Unpark
        | Body::Start(_) => true,
        Body::TaskEnded { .. }
        | Body::ChildEnded { .. }
        | Body::TimerFired { .. }
        | Body::Raised { .. }
        | Body::Operation(_)
        | Body::Lock(_)
        | Body::Unlock { .. }
        | Body::OperationEnded { .. }
        | Body::LockGranted { .. } => false,
    }
}

/// Messages to an instance that has ended change nothing but what they leave open elsewhere.
fn begin_ended(instance: &Instance, now: Timestamp, incoming: Vec<Incoming>) -> Turn {
    let mut beginning = Beginning::new(instance, now);
    for incoming in incoming {
        beginning.leave(&incoming);
        if let Body::Rewind { start: Some(_), .. } = &incoming.message.body {
            let outcome = instance.outcome().filter(|_| instance.status != Status::Failed);
            beginning
                .turn
                .outgoing
                .extend(outcome.and_then(|outcome| reply_to_parent(instance, outcome)));
        }
    }
    beginning.turn
}

impl Turn {
    fn empty(now: Timestamp) -> Self {
        Self {
            now,
            events: Vec::new(),
            ask: false,
            ended: false,
            retried: false,
            consumed: Vec::new(),
            held: Vec::new(),
            closed: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// Whether it leaves no trace at all.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && !self.ask
            && !self.retried
            && self.consumed.is_empty()
            && self.held.is_empty()
            && self.closed.is_empty()
            && self.outgoing.is_empty()
    }
}

/// The state of `begin` while it goes through the messages.
struct Beginning<'a> {
    instance: &'a Instance,
    turn: Turn,
    suspended: bool,
    parked: bool,
    /// The start is scheduled and not due.
    early: bool,
    answered: BTreeSet<EventId>,
    keys: BTreeSet<String>,
}

impl<'a> Beginning<'a> {
    fn new(instance: &'a Instance, now: Timestamp) -> Self {
        Self {
            instance,
            turn: Turn::empty(now),
            suspended: instance.rare.suspended.is_some(),
            parked: instance.rare.parked.is_some(),
            early: instance.ready && instance.rare.scheduled.is_some_and(|due| due > now),
            answered: BTreeSet::new(),
            keys: BTreeSet::new(),
        }
    }

    fn control(&mut self, incoming: Incoming) {
        self.turn.consumed.extend(incoming.held);
        if self.turn.ended {
            return;
        }
        match incoming.message.body {
            Body::Suspend { reason } if !self.suspended => {
                self.suspended = true;
                self.record(Event::Suspended { reason });
            }
            Body::Resume { reason } if self.suspended => {
                self.suspended = false;
                self.record(Event::Resumed { reason });
                self.turn.ask = true;
            }
            Body::Terminate { reason, recursive } => self.terminate(&reason, recursive),
            Body::Unpark if self.parked => {
                self.parked = false;
                self.turn.retried = true;
                self.turn.ask = true;
            }
            // Absorbed: already so, or meant for another state. A second start of a live execution is answered by
            // whoever delivered it.
            Body::Suspend { .. }
            | Body::Resume { .. }
            | Body::Unpark
            | Body::Rewind { .. }
            | Body::Start(_)
            | Body::TaskEnded { .. }
            | Body::ChildEnded { .. }
            | Body::TimerFired { .. }
            | Body::Raised { .. }
            | Body::Operation(_)
            | Body::Lock(_)
            | Body::Unlock { .. }
            | Body::OperationEnded { .. }
            | Body::LockGranted { .. } => {}
        }
    }

    /// Records what a client did. An execution that has not had its first turn keeps waiting for it, so no turn starts.
    fn record(&mut self, event: Event) {
        if !self.instance.ready && self.turn.events.is_empty() {
            self.turn.events.push(Event::TurnStarted { now: self.turn.now });
        }
        self.turn.events.push(event);
    }

    fn terminate(&mut self, reason: &str, recursive: bool) {
        let instance = self.instance;
        self.record(Event::Terminated { reason: reason.to_owned() });
        self.turn.ended = true;
        self.turn.ask = false;
        let failure = Failure::new(kinds::TERMINATED, reason);
        self.turn.outgoing.extend(reply_to_parent(instance, Outcome::Failed(Box::new(failure))));
        if recursive {
            let children = instance.rare.children.values().map(|child| {
                envelope(
                    child.instance.clone(),
                    Body::Terminate { reason: reason.to_owned(), recursive },
                )
            });
            self.turn.outgoing.extend(children);
        }
    }

    /// Takes a message for user code into the turn.
    fn code(&mut self, incoming: Incoming) {
        let instance = self.instance;
        self.turn.consumed.extend(incoming.held);
        let event = match incoming.message.body {
            Body::TaskEnded { execution, task, outcome } => {
                if execution != instance.execution {
                    self.close_former(execution, task);
                    return;
                }
                let open =
                    instance.tasks.contains_key(&(execution, task)) && self.answered.insert(task);
                open.then_some(Event::TaskEnded { task, outcome })
            }
            Body::ChildEnded { execution_id, task, outcome } => {
                let open = instance
                    .rare
                    .children
                    .get(&task)
                    .is_some_and(|child| child.execution_id == execution_id);
                (open && self.answered.insert(task)).then_some(Event::ChildEnded { task, outcome })
            }
            Body::TimerFired { execution, timer, fire_at: _ } => {
                if timer == START_TIMER {
                    self.turn.ask |= instance.ready;
                    return;
                }
                let open = execution == instance.execution && instance.timers.contains_key(&timer);
                (open && self.answered.insert(timer)).then_some(Event::TimerFired { timer })
            }
            Body::Raised { name, input, key } => {
                let known = incoming.held.is_none() && self.is_known(&key);
                (!known).then_some(Event::EventRaised { name, input, key })
            }
            Body::OperationEnded { execution_id, task, outcome } => {
                let open = execution_id == instance.execution_id
                    && instance.rare.calls.contains_key(&task);
                (open && self.answered.insert(task))
                    .then_some(Event::OperationEnded { task, outcome })
            }
            Body::LockGranted { execution_id, lock, entities } => {
                let open = instance.rare.locks.get(&lock);
                let Some(open) = open.filter(|_| execution_id == instance.execution_id) else {
                    self.return_locks(execution_id, lock, entities);
                    return;
                };
                let waits = open.granted.is_none() && self.answered.insert(lock);
                waits.then_some(Event::LockGranted { lock })
            }
            Body::Operation(_)
            | Body::Lock(_)
            | Body::Unlock { .. }
            | Body::Start(_)
            | Body::Suspend { .. }
            | Body::Resume { .. }
            | Body::Terminate { .. }
            | Body::Rewind { .. }
            | Body::Unpark => None,
        };
        if let Some(event) = event {
            self.turn.events.push(event);
            self.turn.ask = true;
        }
    }

    /// Whether an event with this key was taken before, in this turn too.
    fn is_known(&mut self, key: &str) -> bool {
        !key.is_empty() && (self.instance.knows_key(key) || !self.keys.insert(key.to_owned()))
    }

    /// Keeps a message for later.
    fn hold(&mut self, incoming: Incoming) {
        let known = match &incoming.message.body {
            Body::Raised { key, .. } if incoming.held.is_none() => self.is_known(key),
            Body::TimerFired { timer, .. } => *timer == START_TIMER,
            Body::Raised { .. }
            | Body::TaskEnded { .. }
            | Body::ChildEnded { .. }
            | Body::Operation(_)
            | Body::Lock(_)
            | Body::Unlock { .. }
            | Body::OperationEnded { .. }
            | Body::LockGranted { .. }
            | Body::Start(_)
            | Body::Suspend { .. }
            | Body::Resume { .. }
            | Body::Terminate { .. }
            | Body::Rewind { .. }
            | Body::Unpark => false,
        };
        if incoming.held.is_none() && !known {
            self.turn.held.push(incoming.message);
        }
    }

    /// Consumes a message that an ended execution has no use for.
    fn leave(&mut self, incoming: &Incoming) {
        self.turn.consumed.extend(incoming.held);
        match &incoming.message.body {
            Body::TaskEnded { execution, task, .. } => self.close_former(*execution, *task),
            Body::LockGranted { execution_id, lock, entities } => {
                self.return_locks(execution_id.clone(), *lock, entities.clone());
            }
            Body::ChildEnded { .. }
            | Body::TimerFired { .. }
            | Body::Raised { .. }
            | Body::Operation(_)
            | Body::Lock(_)
            | Body::Unlock { .. }
            | Body::OperationEnded { .. }
            | Body::Start(_)
            | Body::Suspend { .. }
            | Body::Resume { .. }
            | Body::Terminate { .. }
            | Body::Rewind { .. }
            | Body::Unpark => {}
        }
    }

    fn close_former(&mut self, execution: u32, task: EventId) {
        if self.instance.tasks.contains_key(&(execution, task)) {
            self.turn.closed.push((execution, task));
        }
    }

    /// Locks that came too late are given back at once.
    fn return_locks(
        &mut self,
        execution_id: ExecutionId,
        lock: EventId,
        entities: Vec<InstanceId>,
    ) {
        let owner = Caller { instance: self.instance.id.clone(), execution_id, task: lock };
        self.turn.outgoing.extend(unlocks(&owner, entities));
    }
}

/// Gives the locks of a set back.
pub(crate) fn unlocks(owner: &Caller, entities: Vec<InstanceId>) -> impl Iterator<Item = Envelope> {
    entities.into_iter().map(move |entity| envelope(entity, Body::Unlock { owner: owner.clone() }))
}

#[cfg(test)]
mod tests;
