//! Why an instance does not go on: what it waits for, since when, and what would move it.

use std::fmt;

use everstep_engine::Instance;
use everstep_model::{EventId, Iid, InstanceId, Status, Timestamp, Wait};

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
            open(instance, code, &mut reasons);
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
    if let Some(parked) = &instance.parked {
        reasons.push((Reason::Parked(parked.reason.clone()), parked.since));
    }
    if let Some(since) = instance.suspended {
        reasons.push((Reason::Suspended, since));
    }
    if let Some(due) = instance.scheduled.filter(|_| instance.ready) {
        reasons.push((Reason::Scheduled(due), instance.created));
    }
    if known.lacks_code() {
        reasons.push((Reason::NoFunction(instance.name.clone()), instance.updated));
    }
    if known.is_in_turn() {
        reasons.push((Reason::InTurn, instance.updated));
    }
    if let Some(holder) = instance.lock.as_ref().filter(|_| !instance.inbox.is_empty()) {
        reasons.push((Reason::Locked(holder.instance.clone()), instance.updated));
    }
}

/// What its code waits for.
fn open(instance: &Instance, code: &dyn Code, reasons: &mut Vec<(Reason, Timestamp)>) {
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
    reasons.extend(instance.timers.values().map(|timer| (Reason::Timer(timer.fire_at), timer.since)));
    reasons.extend(
        instance
            .children
            .values()
            .map(|child| (Reason::Child(child.instance.clone()), child.since)),
    );
    reasons.extend(
        instance
            .calls
            .values()
            .map(|call| (Reason::Entity(call.entity.clone(), call.name.clone()), call.since)),
    );
    let waiting = instance.locks.values().filter(|lock| lock.granted.is_none());
    reasons.extend(waiting.map(|lock| (Reason::Lock(lock.entities.clone()), lock.since)));
    if let Some((wait, since)) = &instance.wait {
        let mut names = Vec::new();
        events(wait, &mut names);
        reasons.extend(names.into_iter().map(|name| (Reason::Event(name), *since)));
    }
}

fn events(wait: &Wait, names: &mut Vec<String>) {
    match wait {
        Wait::Task(_) => {}
        Wait::Event(name) => names.push(name.clone()),
        Wait::All(waits) | Wait::Any(waits) => waits.iter().for_each(|wait| events(wait, names)),
    }
}

/// For a person: the state and what would change it.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => write!(
                f,
                "it has ended ({status}); start it again, rewind it if it failed, or purge it"
            ),
            Self::NoFunction(name) => {
                write!(f, "no function `{name}` is registered; register it or fix the name")
            }
            Self::Scheduled(at) => write!(f, "its start is scheduled for {at}"),
            Self::Suspended => write!(f, "it is suspended; resume it"),
            Self::Parked(reason) => write!(
                f,
                "it is parked: {reason}; deploy code that fits its history, then it goes on by itself"
            ),
            Self::InTurn => write!(f, "a turn is being taken"),
            Self::Activity { task, name, attempt, strikes, state } => {
                write!(f, "activity `{name}` (call {}, attempt {attempt}) ", task.0)?;
                match state {
                    ActivityState::NotRegistered => {
                        write!(f, "is not registered; register it or fix the name")
                    }
                    ActivityState::Queued => {
                        write!(f, "waits for a free slot: a concurrency limit is reached")
                    }
                    ActivityState::Running => write!(f, "is running"),
                    ActivityState::Underway => write!(f, "is being handed out or runs"),
                }?;
                match strikes {
                    0 => Ok(()),
                    1 => write!(
                        f,
                        "; it took its process down once, or ran beside what did; runs alone"
                    ),
                    _ => write!(f, "; it took its process down {strikes} times; runs alone"),
                }
            }
            Self::Timer(at) => write!(f, "a timer is due at {at}"),
            Self::Event(name) => write!(f, "event `{name}` was not raised; raise it"),
            Self::Child(id) => {
                write!(f, "sub-orchestration `{id}` has not ended; ask why about that one")
            }
            Self::Entity(id, operation) => {
                write!(f, "entity `{id}` has not answered `{operation}`; ask why about that one")
            }
            Self::Lock(entities) => write!(
                f,
                "the locks of {entities:?} are not all free; ask why about those that hold them"
            ),
            Self::Locked(owner) => write!(f, "it is locked by `{owner}`; ask why about that one"),
            Self::Running => write!(f, "work is at hand and runs"),
        }
    }
}
