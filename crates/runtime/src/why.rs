//! Why an instance does not go on: what it waits for, since when, and what would move it.
//!
//! A [`Reason`] says three things: its [kind](Reason::kind) for programs, its [state](Reason::state) and its
//! [remedy](Reason::remedy) for people. Shown as a text it is state and remedy in one sentence.

use std::{cell::LazyCell, fmt};

use everstep_model::{Event, EventId, Iid, InstanceId, Origin, Status, Timestamp, Wait, stored};

use crate::partition::{Code, Known};

/// One thing that an instance waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It has ended.
    Ended(Status),
    /// No orchestrator or entity of its name is registered.
    NoFunction(String),
    /// Its first turn is scheduled.
    Scheduled(Timestamp),
    /// A client suspended it.
    Suspended,
    /// Its history does not fit the code.
    Parked(String),
    /// Its turn is with a worker in another process, or its history is being read.
    InTurn,
    /// An activity was called.
    Activity {
        /// The call.
        task: EventId,
        /// Its name.
        name: String,
        /// Which attempt.
        attempt: u32,
        /// How often the process went down while it ran.
        strikes: u32,
        /// What holds it up.
        state: ActivityState,
    },
    /// A timer is due.
    Timer(Timestamp),
    /// A call failed and is tried again after a wait.
    Retry {
        /// The id of the first attempt.
        call: EventId,
        /// What was called; `None` if the part of the history that tells it was not read.
        name: Option<String>,
        /// The attempt that comes next; 2 for the first retry.
        attempt: u32,
        /// When it is made.
        due: Timestamp,
    },
    /// An event was not raised.
    Event(String),
    /// A sub-orchestration has not ended.
    Child(InstanceId),
    /// An entity has not answered.
    Entity(InstanceId, String),
    /// A lock is held by others.
    Lock(Vec<InstanceId>),
    /// Messages of an entity wait for its lock.
    Locked(InstanceId),
    /// Work is at hand; it runs.
    Running,
    /// The host was started held.
    Held,
    /// The store is only read; no host works on it.
    Offline,
}

/// What holds an activity up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityState {
    /// No activity of that name is registered.
    NotRegistered,
    /// It waits for a free slot: a limit is reached.
    Queued,
    /// It runs.
    Running,
    /// It will be handed out once its group is durable.
    Underway,
}

/// Everything known about why an instance does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which instance.
    pub instance: InstanceId,
    /// Its number.
    pub iid: Iid,
    /// Its execution.
    pub execution: u32,
    /// Its function.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// What it waits for, and since when.
    pub reasons: Vec<(Reason, Timestamp)>,
}

impl Facts {
    pub(crate) fn of(known: &Known, code: &dyn Code) -> Self {
        let instance = &known.instance;
        let mut reasons = Vec::new();
        if instance.status.is_terminal() {
            reasons.push((
                Reason::Ended(instance.status),
                instance.completed.unwrap_or(instance.updated),
            ));
        } else {
            held(known, &mut reasons);
            open(known, code, &mut reasons);
        }
        if reasons.is_empty() {
            reasons.push((Reason::Running, instance.updated));
        }
        Self {
            instance: instance.id.clone(),
            iid: instance.iid,
            execution: instance.execution,
            name: instance.name.clone(),
            status: instance.status,
            reasons,
        }
    }
}

/// What holds the instance itself up.
fn held(known: &Known, reasons: &mut Vec<(Reason, Timestamp)>) {
    let instance = &known.instance;
    if let Some(parked) = &instance.rare.parked {
        reasons.push((Reason::Parked(parked.reason.clone()), parked.since));
    }
    if let Some(since) = instance.rare.suspended {
        reasons.push((Reason::Suspended, since));
    }
    if let Some(due) = instance.rare.scheduled.filter(|_| instance.ready) {
        reasons.push((Reason::Scheduled(due), instance.created));
    }
    if known.lacks_code() {
        reasons.push((Reason::NoFunction(instance.name.clone()), instance.updated));
    }
    if known.is_in_turn() {
        reasons.push((Reason::InTurn, instance.updated));
    }
    if let Some(holder) = instance.rare.lock.as_ref().filter(|_| !instance.inbox.is_empty()) {
        reasons.push((Reason::Locked(holder.instance.clone()), instance.updated));
    }
}

/// What its code waits for.
fn open(known: &Known, code: &dyn Code, reasons: &mut Vec<(Reason, Timestamp)>) {
    let instance = &known.instance;
    for ((_, task), open) in &instance.tasks {
        let state = if code.has_activity(&open.name) {
            ActivityState::Underway
        } else {
            ActivityState::NotRegistered
        };
        let (name, attempt, strikes) = (open.name.clone(), open.attempt, open.strikes);
        let reason = Reason::Activity { task: *task, name, attempt, strikes, state };
        reasons.push((reason, open.since));
    }
    reasons.extend(timers(known));
    reasons.extend(
        instance
            .rare
            .children
            .values()
            .map(|child| (Reason::Child(child.instance.clone()), child.since)),
    );
    reasons.extend(
        instance
            .rare
            .calls
            .values()
            .map(|call| (Reason::Entity(call.entity.clone(), call.name.clone()), call.since)),
    );
    let waiting = instance.rare.locks.values().filter(|lock| lock.granted.is_none());
    reasons.extend(waiting.map(|lock| (Reason::Lock(lock.entities.clone()), lock.since)));
    if let Some((wait, since)) = &instance.wait {
        let mut names = Vec::new();
        events(wait, &mut names);
        reasons.extend(names.into_iter().map(|name| (Reason::Event(name), *since)));
    }
}

/// Timers that the code waits for, and those of retries.
fn timers(known: &Known) -> impl Iterator<Item = (Reason, Timestamp)> + '_ {
    let history = LazyCell::new(|| unfolded(known));
    known.instance.timers.values().map(move |timer| {
        let due = timer.fire_at;
        let reason = match timer.origin {
            None => Reason::Timer(due),
            Some(Origin { call, attempt }) => {
                Reason::Retry { call, name: called(&history, call), attempt, due }
            }
        };
        (reason, timer.since)
    })
}

/// The events that are in memory.
fn unfolded(known: &Known) -> Vec<Event> {
    let events = known.tails().flat_map(|tail| stored::events(&tail.bytes));
    events.map(|event| event.expect("what was encoded in this process decodes")).collect()
}

/// The name of what was called by this action, if its event is among these.
fn called(events: &[Event], call: EventId) -> Option<String> {
    events.iter().find_map(|event| match event {
        Event::TaskScheduled { id, name, .. } | Event::ChildCreated { id, name, .. }
            if *id == call =>
        {
            Some(name.clone())
        }
        _ => None,
    })
}

fn events(wait: &Wait, names: &mut Vec<String>) {
    match wait {
        Wait::Task(_) => {}
        Wait::Event(name) => names.push(name.clone()),
        Wait::All(waits) | Wait::Any(waits) => waits.iter().for_each(|wait| events(wait, names)),
    }
}

impl Facts {
    /// Adds what keeps all instances of the host from going on, as the first reason.
    pub(crate) fn rest(&mut self, reason: Reason, since: Timestamp) {
        if !self.status.is_terminal() {
            self.reasons.retain(|(reason, _)| *reason != Reason::Running);
            self.reasons.insert(0, (reason, since));
        }
    }

    /// Whether the history would tell something that is missing.
    pub(crate) fn lacks_names(&self) -> bool {
        self.reasons.iter().any(|(reason, _)| matches!(reason, Reason::Retry { name: None, .. }))
    }

    /// Adds what a history tells.
    pub(crate) fn learn_names(&mut self, history: &[Event]) {
        for (reason, _) in &mut self.reasons {
            if let Reason::Retry { call, name: name @ None, .. } = reason {
                *name = called(history, *call);
            }
        }
    }
}

impl Reason {
    /// Its name for programs; names do not change.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ended(_) => "ended",
            Self::NoFunction(_) => "noFunction",
            Self::Scheduled(_) => "scheduled",
            Self::Suspended => "suspended",
            Self::Parked(_) => "parked",
            Self::InTurn => "inTurn",
            Self::Activity { state, .. } => match state {
                ActivityState::NotRegistered => "activityNotRegistered",
                ActivityState::Queued => "activityQueued",
                ActivityState::Running => "activityRunning",
                ActivityState::Underway => "activityUnderway",
            },
            Self::Timer(_) => "timer",
            Self::Retry { .. } => "retry",
            Self::Event(_) => "event",
            Self::Child(_) => "child",
            Self::Entity(..) => "entity",
            Self::Lock(_) => "lock",
            Self::Locked(_) => "locked",
            Self::Running => "running",
            Self::Held => "held",
            Self::Offline => "offline",
        }
    }

    /// For a person: how it is.
    pub fn state(&self) -> String {
        match self {
            Self::Ended(status) => format!("it has ended ({status})"),
            Self::NoFunction(name) => format!("no function `{name}` is registered"),
            Self::Scheduled(at) => format!("its start is scheduled for {at}"),
            Self::Suspended => "it is suspended".to_owned(),
            Self::Parked(reason) => format!("it is parked: {reason}"),
            Self::InTurn => "a turn is being taken".to_owned(),
            Self::Activity { task, name, attempt, strikes, state } => {
                let call = format!("activity `{name}` (call {}, attempt {attempt})", task.0);
                format!("{call} {}{}", state.text(), strikes_text(*strikes))
            }
            Self::Timer(at) => format!("a timer is due at {at}"),
            Self::Retry { call, name, attempt, due } => {
                let called = name
                    .as_ref()
                    .map_or_else(|| format!("call {}", call.0), |name| format!("`{name}`"));
                format!("retry {} of {called} is due at {due}", attempt.saturating_sub(1))
            }
            Self::Event(name) => format!("event `{name}` was not raised"),
            Self::Child(id) => format!("sub-orchestration `{id}` has not ended"),
            Self::Entity(id, operation) => format!("entity `{id}` has not answered `{operation}`"),
            Self::Lock(entities) => format!("the locks of {entities:?} are not all free"),
            Self::Locked(owner) => format!("it is locked by `{owner}`"),
            Self::Running => "work is at hand and runs".to_owned(),
            Self::Held => "the host is held and runs no code".to_owned(),
            Self::Offline => "no host works on the hub; this is what its last one left".to_owned(),
        }
    }

    /// For a person: which deed would change it; `None` where time or running code does.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Ended(_) => Some("start it again, rewind it if it failed, or purge it"),
            Self::NoFunction(_) | Self::Activity { state: ActivityState::NotRegistered, .. } => {
                Some("register it or fix the name")
            }
            Self::Suspended => Some("resume it"),
            Self::Parked(_) => Some("deploy code that fits its history, then it goes on by itself"),
            Self::Event(_) => Some("raise it"),
            Self::Child(_) | Self::Entity(..) | Self::Locked(_) => Some("ask why about that one"),
            Self::Lock(_) => Some("ask why about those that hold them"),
            Self::Held => Some("release it"),
            Self::Offline => Some("start a host"),
            Self::Scheduled(_)
            | Self::InTurn
            | Self::Activity { .. }
            | Self::Timer(_)
            | Self::Retry { .. }
            | Self::Running => None,
        }
    }
}

impl ActivityState {
    fn text(self) -> &'static str {
        match self {
            Self::NotRegistered => "is not registered",
            Self::Queued => "waits for a free slot: a concurrency limit is reached",
            Self::Running => "is running",
            Self::Underway => "is being handed out or runs",
        }
    }
}

fn strikes_text(strikes: u32) -> String {
    match strikes {
        0 => String::new(),
        1 => "; it took its process down once, or ran beside what did; runs alone".to_owned(),
        _ => format!("; it took its process down {strikes} times; runs alone"),
    }
}

/// For a person: the state and what would change it.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state())?;
        self.remedy().iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}
