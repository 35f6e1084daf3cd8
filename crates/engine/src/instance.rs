//! What is known of one instance between two turns, and how a commit changes it.
//!
//! N1  [`Instance::apply`] is the only way an instance changes.
//! N2  A call is open from the commit that records it to the one that records its answer. Activities are keyed by
//!     execution as well: a call that was never awaited still runs, also when its execution has ended.
//! N3  What an event means for the state never changes between versions: a newer binary reads an old log as the same
//!     state.

use std::collections::BTreeMap;

use everstep_model::{
    Body, Commit, Event, EventId, ExecutionId, Failure, Iid, InstanceId, Message, NewExecution,
    Origin, Outcome, Started, Status, Timestamp, Value, Wait,
};

use crate::Rarely;

/// The keys of raised events that are remembered, whatever the limits of a later version.
const KEYS_REMEMBERED: usize = 256;

/// One orchestration or entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its number.
    pub iid: Iid,
    /// Its id.
    pub id: InstanceId,
    /// The number of the execution; 0 before the first.
    pub execution: u32,
    /// Its public name.
    pub execution_id: ExecutionId,
    /// The function's name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// When the instance was first started.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// The present of its last turn.
    pub last_now: Timestamp,
    /// What it was started with.
    pub input: Value,
    /// What it returned.
    pub output: Option<Value>,
    /// An execution began and wants its first turn.
    pub ready: bool,
    /// How many events the history has.
    pub history_len: u32,
    /// The highest id an action has taken, plus one.
    pub next_id: u32,
    /// Payloads stored apart in this execution.
    pub payloads: u32,
    /// Activities called and not ended, by execution and id.
    pub tasks: BTreeMap<(u32, EventId), OpenTask>,
    /// Timers set and not fired.
    pub timers: BTreeMap<EventId, OpenTimer>,
    /// Messages that are accepted and not consumed.
    pub inbox: Inbox,
    /// What it waits for, and since when.
    pub wait: Option<(Wait, Timestamp)>,
    /// What few instances have.
    pub rare: Rarely,
}

/// An activity that was called.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTask {
    /// The activity's name.
    pub name: String,
    /// What it gets.
    pub input: Value,
    /// When it was called.
    pub since: Timestamp,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// How often its process went down while it ran.
    pub strikes: u32,
    /// The execution that called.
    pub execution_id: ExecutionId,
}

/// A timer that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTimer {
    /// When it is due.
    pub fire_at: Timestamp,
    /// The call that is tried again when it fires.
    pub origin: Option<Origin>,
    /// When it was set.
    pub since: Timestamp,
}

/// A child that was started.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenChild {
    /// The child's id.
    pub instance: InstanceId,
    /// The execution that the child will answer to.
    pub execution_id: ExecutionId,
    /// When it was started.
    pub since: Timestamp,
}

/// An entity that was called.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenCall {
    /// The entity.
    pub entity: InstanceId,
    /// The operation.
    pub name: String,
    /// When it was called.
    pub since: Timestamp,
}

/// Locks that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenLock {
    /// Sorted by bytes.
    pub entities: Vec<InstanceId>,
    /// Since when they are held; `None` while waiting.
    pub granted: Option<Timestamp>,
    /// When they were asked for.
    pub since: Timestamp,
}

/// The durable inbox: messages by number, in the order of their acceptance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inbox {
    pub(crate) next: u64,
    pub(crate) messages: BTreeMap<u64, Message>,
}

impl Inbox {
    /// All messages in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.messages.iter().map(|(number, message)| (*number, message))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The number the next message gets.
    pub fn next_number(&self) -> u64 {
        self.next
    }
}

impl Instance {
    /// An id that has no execution yet.
    pub fn new(iid: Iid, id: InstanceId, now: Timestamp) -> Self {
        let name = id.entity_parts().map(|(name, _)| name.to_owned()).unwrap_or_default();
        Self {
            iid,
            id,
            execution: 0,
            execution_id: ExecutionId::new(""),
            name,
            status: Status::Running,
            created: now,
            updated: now,
            completed: None,
            last_now: Timestamp::EPOCH,
            input: Value::empty(),
            output: None,
            ready: false,
            history_len: 0,
            next_id: 0,
            payloads: 0,
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            inbox: Inbox::default(),
            wait: None,
            rare: Rarely::default(),
        }
    }

    /// Makes a commit's facts part of the instance.
    pub fn apply(&mut self, commit: &Commit) {
        let had_ended = self.status.is_terminal();
        if let Some(begin) = &commit.begin {
            self.begin_execution(begin);
        }
        self.updated = self.updated.max(commit.now);
        self.last_now = self.last_now.max(commit.now);
        for number in &commit.consumed {
            let message = self.inbox.messages.remove(number);
            // What came too late had no effect: after a rewind its sender may send it again.
            if let Some(message) = message.filter(|_| had_ended) {
                self.forget_key(crate::turn::key(&message.body));
            }
        }
        for message in &commit.accepted {
            self.remember_key(crate::turn::key(&message.body));
            self.inbox.messages.insert(self.inbox.next, message.clone());
            self.inbox.next += 1;
        }
        for (execution, task) in &commit.closed {
            self.tasks.remove(&(*execution, *task));
        }
        for event in &commit.events {
            self.apply_event(event, commit.now);
        }
        self.payloads += commit.payloads.len() as u32;
        if let Some(status) = &commit.row.custom_status {
            self.rare.custom_status = Some(status.clone());
        }
        if let Some(wait) = &commit.row.wait {
            self.wait = Some((wait.clone(), commit.now));
        }
        if let Some(parked) = &commit.row.parked {
            self.rare.parked.clone_from(parked);
        }
        for (task, strikes) in &commit.row.strikes {
            if let Some(open) = self.tasks.get_mut(task) {
                open.strikes = *strikes;
            }
        }
        if let Some(change) = &commit.entity {
            if let Some(state) = &change.state {
                self.rare.state.clone_from(state);
            }
            if let Some(lock) = &change.lock {
                self.rare.lock.clone_from(lock);
            }
            change.keys.iter().for_each(|key| self.remember_key(key));
        }
        self.rare.settle();
    }

    fn begin_execution(&mut self, begin: &NewExecution) {
        self.execution = begin.execution;
        self.execution_id = begin.execution_id.clone();
        self.history_len = 0;
        self.next_id = 0;
        self.payloads = 0;
        self.close_all();
        self.output = None;
        self.completed = None;
        self.ready = true;
        if let Some(rare) = self.rare.present() {
            rare.failure = None;
            if begin.fresh {
                rare.custom_status = None;
                rare.suspended = None;
                rare.keys.clear();
            }
        }
        if begin.fresh {
            self.inbox.messages.clear();
        }
        self.status = if begin.fresh { Status::Pending } else { Status::Running };
        if self.rare.suspended.is_some() {
            self.status = Status::Suspended;
        }
    }

    fn apply_event(&mut self, event: &Event, now: Timestamp) {
        self.history_len += 1;
        match event {
            Event::Started(started) => self.apply_started(started),
            Event::TurnStarted { now } => self.apply_turn(*now),
            Event::TaskScheduled { id, name, input, origin, tags: _ } => {
                self.take_id(*id);
                let task = OpenTask {
                    name: name.clone(),
                    input: input.clone(),
                    since: now,
                    attempt: origin.map_or(1, |Origin { attempt, .. }| attempt),
                    strikes: 0,
                    execution_id: self.execution_id.clone(),
                };
                self.tasks.insert((self.execution, *id), task);
            }
            Event::TaskEnded { task, outcome: _ } => {
                self.tasks.remove(&(self.execution, *task));
            }
            Event::ChildCreated { id, instance, detached, .. } => {
                self.take_id(*id);
                if !detached {
                    let (instance, execution_id) = (instance.clone(), self.execution_id.clone());
                    self.rare
                        .children
                        .insert(*id, OpenChild { instance, execution_id, since: now });
                }
            }
            Event::ChildEnded { task, outcome: _ } => {
                self.rare.children.remove(task);
            }
            Event::TimerCreated { id, fire_at, origin } => {
                self.take_id(*id);
                let timer = OpenTimer { fire_at: *fire_at, origin: *origin, since: now };
                self.timers.insert(*id, timer);
            }
            Event::TimerFired { timer } | Event::TimerCanceled { timer } => {
                self.timers.remove(timer);
            }
            Event::EventSent { id, .. } | Event::OperationSignaled { id, .. } => self.take_id(*id),
            Event::EventRaised { key, .. } => self.remember_key(key),
            Event::OperationCalled { id, entity, name, input: _ } => {
                self.take_id(*id);
                self.rare.calls.insert(
                    *id,
                    OpenCall { entity: entity.clone(), name: name.clone(), since: now },
                );
            }
            Event::OperationEnded { task, outcome: _ } => {
                self.rare.calls.remove(task);
            }
            Event::LockRequested { id, entities } => {
                self.take_id(*id);
                self.rare.locks.insert(
                    *id,
                    OpenLock { entities: entities.clone(), granted: None, since: now },
                );
            }
            Event::LockGranted { lock } => {
                if let Some(open) = self.rare.locks.get_mut(lock) {
                    open.granted = Some(now);
                }
            }
            Event::LockReleased { id, lock } => {
                self.take_id(*id);
                self.rare.locks.remove(lock);
            }
            Event::Suspended { .. } => {
                self.rare.suspended = Some(now);
                self.status = Status::Suspended;
            }
            Event::Resumed { .. } => {
                self.rare.suspended = None;
                self.status = if self.ready { Status::Pending } else { Status::Running };
            }
            Event::Rewound { .. } => {
                self.status = Status::Running;
                // What failed may be the code itself, so that no answer brings the next turn about.
                self.ready = true;
            }
            Event::Terminated { reason } => {
                self.end(Status::Terminated, now);
                self.tasks.clear();
                self.output = Some(Value::text(reason.clone()));
            }
            Event::Completed { output } => {
                self.end(Status::Completed, now);
                self.output = Some(output.clone());
            }
            Event::Failed { failure } => {
                self.end(Status::Failed, now);
                self.rare.failure = Some((**failure).clone());
            }
        }
    }

    fn apply_started(&mut self, started: &Started) {
        self.name.clone_from(&started.name);
        self.input = started.input.clone();
        self.rare.version.clone_from(&started.version);
        self.rare.parent.clone_from(&started.parent);
        self.rare.tags.clone_from(&started.tags);
        self.rare.scheduled = started.scheduled;
        self.rare.trace.clone_from(&started.trace);
        if self.status == Status::Pending {
            self.created = started.at;
        }
    }

    fn apply_turn(&mut self, now: Timestamp) {
        self.last_now = self.last_now.max(now);
        // A suspended instance takes turns too (for what a client tells it), but not its first.
        if self.status == Status::Pending {
            self.status = Status::Running;
        }
        if self.status == Status::Running {
            self.ready = false;
            if let Some(rare) = self.rare.present() {
                rare.scheduled = None;
            }
        }
    }

    fn end(&mut self, status: Status, now: Timestamp) {
        self.status = status;
        self.completed = Some(now);
        self.ready = false;
        self.close_all();
        if let Some(rare) = self.rare.present() {
            rare.scheduled = None;
            rare.suspended = None;
        }
    }

    /// Nothing that an execution waits for outlives it, except for activities.
    fn close_all(&mut self) {
        self.wait = None;
        self.timers.clear();
        if let Some(rare) = self.rare.present() {
            rare.parked = None;
            rare.children.clear();
            rare.calls.clear();
            rare.locks.clear();
        }
    }

    fn take_id(&mut self, id: EventId) {
        self.next_id = self.next_id.max(id.0 + 1);
    }

    fn remember_key(&mut self, key: &str) {
        if key.is_empty() || self.rare.keys.iter().any(|known| known == key) {
            return;
        }
        if self.rare.keys.len() == KEYS_REMEMBERED {
            self.rare.keys.pop_front();
        }
        self.rare.keys.push_back(key.to_owned());
    }

    fn forget_key(&mut self, key: &str) {
        if let Some(rare) = self.rare.present() {
            rare.keys.retain(|known| known != key);
        }
    }

    /// Whether an event or signal with this key was taken before.
    pub fn knows_key(&self, key: &str) -> bool {
        !key.is_empty() && self.rare.keys.iter().any(|known| known == key)
    }

    /// When time alone will move it: the first timer, delayed signal or scheduled start.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.status.is_terminal() {
            return None;
        }
        let timer = self.timers.values().map(|timer| timer.fire_at).min();
        let start = self.rare.scheduled.filter(|_| self.ready);
        let signal = self.inbox.messages.values().filter_map(|message| match &message.body {
            Body::Operation(operation) => operation.due,
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
            | Body::Unpark => None,
        });
        timer.into_iter().chain(start).chain(signal).min()
    }

    /// Whether work is outstanding that no timer and no outside message brings about.
    pub fn has_outstanding(&self) -> bool {
        !self.tasks.is_empty()
            || (self.ready && self.rare.scheduled.is_none())
            || !self.inbox.is_empty()
    }

    /// Whether an entity holds nothing that anyone could miss.
    pub fn is_empty_entity(&self) -> bool {
        self.id.entity_parts().is_some()
            && self.rare.state.is_none()
            && self.rare.lock.is_none()
            && self.inbox.is_empty()
    }

    /// How the instance ended, as its parent hears it.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.status {
            Status::Completed => {
                Some(Outcome::Completed(self.output.clone().unwrap_or_else(Value::empty)))
            }
            Status::Failed => {
                Some(Outcome::Failed(Box::new(self.rare.failure.clone().unwrap_or_default())))
            }
            Status::Terminated => {
                let reason = self
                    .output
                    .as_ref()
                    .and_then(Value::inline)
                    .map(|text| String::from_utf8_lossy(text).into_owned());
                let failure =
                    Failure::new(everstep_model::kinds::TERMINATED, reason.unwrap_or_default());
                Some(Outcome::Failed(Box::new(failure)))
            }
            Status::Running
            | Status::ContinuedAsNew
            | Status::Canceled
            | Status::Pending
            | Status::Suspended => None,
        }
    }
}
