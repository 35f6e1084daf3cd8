//! Drives one orchestration by hand: the test says what happens, the script keeps the history.
//!
//! It records decisions as the engine does, one event for each action, and takes every turn twice: by the resident
//! execution, and by one that is rebuilt from the history. Both must decide the same.

// Each test file uses its own part.
#![allow(dead_code, reason = "shared by several test files")]

use everstep::{App, EventId, ExecutionId, Failure, InstanceId, Tags, Timestamp, Worker};
use everstep_model::{Action, Completion, Event, Guid, Iid, Outcome, PartitionId, Started};
use everstep_worker::{Decision, History, TurnReply, TurnRequest, Turns};

pub(crate) const IID: Iid = Iid(7);

pub(crate) struct Script {
    pub(crate) app: App,
    pub(crate) history: Vec<Event>,
    turns: Box<dyn Turns>,
    name: String,
    instance: InstanceId,
    execution_id: ExecutionId,
    seconds: i64,
}

/// What the worker answered, in short: one line for each action, or the reply.
pub(crate) type Lines = Vec<String>;

impl Script {
    pub(crate) fn new(app: App, name: &str, input: &str) -> Self {
        let execution_id = ExecutionId::new("e1");
        let started = Started {
            at: Timestamp::EPOCH,
            name: name.into(),
            version: "2.1".into(),
            input: input.into(),
            execution_id: execution_id.clone(),
            parent: None,
            tags: Tags::from([("team".to_owned(), "blue".to_owned())]),
            scheduled: None,
            trace: None,
        };
        Self {
            turns: app.turns(PartitionId(0)),
            app,
            history: vec![Event::Started(Box::new(started))],
            name: name.into(),
            instance: InstanceId::from_stored("order-7"),
            execution_id,
            seconds: 0,
        }
    }

    /// Other code goes on with the same history.
    pub(crate) fn with_app(mut self, app: App) -> Self {
        self.turns = app.turns(PartitionId(0));
        self.app = app;
        self
    }

    /// Takes a turn with these new events.
    pub(crate) fn turn(&mut self, events: impl IntoIterator<Item = Event>) -> Lines {
        lines(&self.decide(events))
    }

    /// The same, with all of the answer.
    pub(crate) fn decide(&mut self, events: impl IntoIterator<Item = Event>) -> Decision {
        match self.reply(events) {
            TurnReply::Decided(decision) => decision,
            other => panic!("no decision but {other:?}"),
        }
    }

    pub(crate) fn reply(&mut self, events: impl IntoIterator<Item = Event>) -> TurnReply {
        self.seconds += 1;
        let mut new = vec![Event::TurnStarted { now: Timestamp::from_millis(self.seconds * 1000) }];
        new.extend(events);
        let cold =
            self.ask(&mut *self.app.turns(PartitionId(0)), History::Full(&self.history), &new);
        let mut turns = std::mem::replace(&mut self.turns, self.app.turns(PartitionId(1)));
        let seen = self.history.len() as u32;
        let mut hot = self.ask(&mut *turns, History::Seen(seen), &new);
        if hot == TurnReply::NeedHistory {
            hot = self.ask(&mut *turns, History::Full(&self.history), &new);
        }
        self.turns = turns;
        if let (TurnReply::Decided(hot), TurnReply::Decided(cold)) = (&hot, &cold) {
            assert_eq!(hot.actions, cold.actions, "a rebuilt execution decides the same");
            assert_eq!(hot.custom_status, cold.custom_status);
            self.history.append(&mut new);
            self.history.extend(hot.actions.iter().filter_map(record));
        } else {
            assert_eq!(hot, cold, "a rebuilt execution answers the same");
        }
        hot
    }

    pub(crate) fn ask(
        &self,
        turns: &mut dyn Turns,
        history: History<'_>,
        events: &[Event],
    ) -> TurnReply {
        turns.turn(&TurnRequest {
            iid: IID,
            instance: &self.instance,
            execution: 1,
            execution_id: &self.execution_id,
            name: &self.name,
            history,
            events,
        })
    }

    pub(crate) fn evict(&mut self) {
        self.turns.evict(IID);
    }

    pub(crate) fn resident(&self) -> usize {
        self.turns.resident()
    }
}

/// The event that the engine records for an action.
pub(crate) fn record(action: &Action) -> Option<Event> {
    Some(match action.clone() {
        Action::CallActivity { id, name, input, tags, origin } => {
            Event::TaskScheduled { id, name, input, tags, origin }
        }
        Action::StartChild { id, name, version, instance, input, origin, policy, .. } => {
            Event::ChildCreated {
                id,
                name,
                version,
                instance: instance
                    .unwrap_or_else(|| InstanceId::from_stored(&format!("e1:{}", id.0))),
                input,
                detached: policy == everstep_model::ParentPolicy::Detach,
                origin,
            }
        }
        Action::CreateTimer { id, fire_at, origin } => Event::TimerCreated { id, fire_at, origin },
        Action::CancelTimer { timer } => Event::TimerCanceled { timer },
        Action::SendEvent { id, instance, name, input } => {
            Event::EventSent { id, instance, name, input }
        }
        Action::CallEntity { id, entity, name, input } => {
            Event::OperationCalled { id, entity, name, input }
        }
        Action::SignalEntity { id, entity, name, input, due } => {
            Event::OperationSignaled { id, entity, name, input, due }
        }
        Action::Lock { id, entities } => Event::LockRequested { id, entities },
        Action::Unlock { id, lock } => Event::LockReleased { id, lock },
        Action::Complete(Completion::Completed(output)) => Event::Completed { output },
        Action::Complete(Completion::Failed(failure)) => Event::Failed { failure },
        Action::Complete(Completion::ContinueAsNew { .. }) => return None,
    })
}

/// A decision in short.
pub(crate) fn lines(decision: &Decision) -> Lines {
    decision.actions.iter().map(line).collect()
}

fn line(action: &Action) -> String {
    let attempt = |origin: &Option<everstep_model::Origin>| {
        origin.map_or_else(String::new, |origin| {
            format!(" (attempt {} of {})", origin.attempt, origin.call.0)
        })
    };
    match action {
        Action::CallActivity { id, name, input, tags, origin } => {
            let tags = if tags.is_empty() { String::new() } else { format!(" {tags:?}") };
            format!("{} call {name} {input:?}{tags}{}", id.0, attempt(origin))
        }
        Action::StartChild { id, name, version, instance, input, policy, origin, .. } => {
            let instance = instance.as_ref().map_or("-", InstanceId::as_str);
            let detached = match policy {
                everstep_model::ParentPolicy::Wait => "",
                everstep_model::ParentPolicy::Detach => " detached",
            };
            let version = if version.is_empty() { "" } else { &format!(" v{version}") };
            format!(
                "{} child {name}{version} {instance} {input:?}{detached}{}",
                id.0,
                attempt(origin)
            )
        }
        Action::CreateTimer { id, fire_at, origin } => {
            format!("{} timer {}s{}", id.0, fire_at.millis() / 1000, attempt(origin))
        }
        Action::CancelTimer { timer } => format!("- cancel {}", timer.0),
        Action::SendEvent { id, instance, name, input } => {
            format!("{} send {instance} {name} {input:?}", id.0)
        }
        Action::CallEntity { id, entity, name, input } => {
            format!("{} ask {entity} {name} {input:?}", id.0)
        }
        Action::SignalEntity { id, entity, name, input, due } => {
            let due = due.map_or_else(String::new, |due| format!(" at {}s", due.millis() / 1000));
            format!("{} signal {entity} {name} {input:?}{due}", id.0)
        }
        Action::Lock { id, entities } => format!("{} lock {entities:?}", id.0),
        Action::Unlock { id, lock } => format!("{} unlock {}", id.0, lock.0),
        Action::Complete(Completion::Completed(output)) => format!("return {output:?}"),
        Action::Complete(Completion::Failed(failure)) => format!("fail {failure:?}"),
        Action::Complete(Completion::ContinueAsNew { input, version, carry }) => {
            format!("again {input:?} {version:?} {carry:?}")
        }
    }
}

pub(crate) fn task_ok(task: u32, value: &str) -> Event {
    Event::TaskEnded { task: EventId(task), outcome: Outcome::Completed(value.into()) }
}

pub(crate) fn task_failed(task: u32, message: &str) -> Event {
    let failure = Failure::new("Io", message);
    Event::TaskEnded { task: EventId(task), outcome: Outcome::Failed(Box::new(failure)) }
}

pub(crate) fn child_ok(task: u32, value: &str) -> Event {
    Event::ChildEnded { task: EventId(task), outcome: Outcome::Completed(value.into()) }
}

pub(crate) fn entity_ok(task: u32, value: &str) -> Event {
    Event::OperationEnded { task: EventId(task), outcome: Outcome::Completed(value.into()) }
}

pub(crate) fn fired(timer: u32) -> Event {
    Event::TimerFired { timer: EventId(timer) }
}

pub(crate) fn granted(lock: u32) -> Event {
    Event::LockGranted { lock: EventId(lock) }
}

pub(crate) fn raised(name: &str, value: &str) -> Event {
    Event::EventRaised { name: name.into(), input: value.into(), key: String::new() }
}

pub(crate) fn guid(text: &str) -> Guid {
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).expect("hex");
    }
    Guid(bytes)
}
