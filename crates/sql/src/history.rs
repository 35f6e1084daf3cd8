//! Histories as lines of JSON, and the activities in them.
//!
//! Y1  Chunks may come in any order and may overlap: an event counts once, by execution and place.
//! Y2  The time of an event is that of the turn before it; only the first of an execution has its own.
//! Y3  Names of events are those that the HTTP API shows, where it has one.

use std::collections::BTreeMap;

use everstep_model::{
    Event, EventId, Failure, InstanceId, Origin, Outcome, Timestamp, Value, stored,
};
use everstep_store::{BoxError, chunk};
use serde_json::{Map, Value as Json, json};

use crate::{live::Live, text};

/// A run of events of one execution.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) execution: u32,
    pub(crate) seq: u32,
    pub(crate) chunk: Vec<u8>,
}

/// Where the history of one instance ends for this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Upto {
    pub(crate) execution: u32,
    pub(crate) events: u32,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those of events from outside.
    Raised,
}

/// The pieces of one instance's history.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) upto: Option<Upto>,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    execution: u32,
    seq: u32,
    at: Option<Timestamp>,
}

impl Pieces {
    /// The lines, as a JSON list.
    pub(crate) fn lines(self, which: Which) -> Result<String, BoxError> {
        let mut lines = Vec::new();
        self.walk(|place, event| {
            if which == Which::All || matches!(event, Event::EventRaised { .. }) {
                lines.push(Json::Object(line(place, &event)));
            }
        })?;
        Ok(Json::Array(lines).to_string())
    }

    /// All activities, as a JSON list, in the order of their calls.
    pub(crate) fn activities(self, live: &Live) -> Result<String, BoxError> {
        let mut calls: BTreeMap<(u32, EventId), Map<String, Json>> = BTreeMap::new();
        self.walk(|place, event| match event {
            Event::TaskScheduled { id, name, input, origin, tags: _ } => {
                let mut call = Map::new();
                call.insert("execution".into(), place.execution.into());
                call.insert("event_id".into(), id.0.into());
                call.insert("name".into(), name.into());
                call.insert("attempt".into(), origin.map_or(1, |origin| origin.attempt).into());
                put_time(&mut call, "scheduled_at", place.at);
                text::put_value(&mut call, "input", &input);
                calls.insert((place.execution, id), call);
            }
            Event::TaskEnded { task, outcome } => {
                if let Some(call) = calls.get_mut(&(place.execution, task)) {
                    put_time(call, "ended_at", place.at);
                    let state = match outcome {
                        Outcome::Completed(_) => "completed",
                        Outcome::Failed(_) => "failed",
                    };
                    call.insert("state".into(), state.into());
                    put_outcome(call, &outcome);
                }
            }
            _ => {}
        })?;
        for (key, call) in &mut calls {
            let state = if live.is_open(*key) { "open" } else { "dropped" };
            call.entry("state").or_insert_with(|| state.into());
        }
        Ok(Json::Array(calls.into_values().map(Json::Object).collect()).to_string())
    }

    fn walk(mut self, mut visit: impl FnMut(Place, Event)) -> Result<(), BoxError> {
        self.pieces.sort_by_key(|piece| (piece.execution, piece.seq));
        let mut place = Place { execution: 0, seq: 0, at: None };
        for piece in self.pieces {
            if piece.execution != place.execution {
                place = Place { execution: piece.execution, seq: 0, at: None };
            }
            let events = chunk::unpack(&piece.chunk)?;
            for (seq, event) in (piece.seq..).zip(stored::events(&events)) {
                let event = event?;
                let is_beyond = self
                    .upto
                    .is_some_and(|upto| upto.execution == piece.execution && seq >= upto.events);
                if seq < place.seq || is_beyond {
                    continue;
                }
                place.at = time_of(&event).or(place.at);
                visit(Place { seq, ..place }, event);
                place.seq = seq + 1;
            }
        }
        Ok(())
    }
}

fn time_of(event: &Event) -> Option<Timestamp> {
    match event {
        Event::Started(started) => Some(started.at),
        Event::TurnStarted { now } => Some(*now),
        _ => None,
    }
}

fn put_time(line: &mut Map<String, Json>, name: &str, at: Option<Timestamp>) {
    if let Some(at) = at {
        line.insert(name.to_owned(), at.to_string().into());
    }
}

fn put_failure(line: &mut Map<String, Json>, failure: &Failure) {
    line.insert("failure_type".into(), failure.kind.clone().into());
    line.insert("failure_message".into(), failure.message.clone().into());
    line.insert("failure".into(), text::of_failure(failure).into());
}

fn put_outcome(line: &mut Map<String, Json>, outcome: &Outcome) {
    match outcome {
        Outcome::Completed(output) => text::put_value(line, "output", output),
        Outcome::Failed(failure) => put_failure(line, failure),
    }
}

/// A line under construction.
struct Line(Map<String, Json>);

impl Line {
    fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    fn id(self, id: EventId) -> Self {
        self.with("event_id", id.0)
    }

    fn answers(self, id: EventId) -> Self {
        self.with("answers", id.0)
    }

    fn target(self, target: &InstanceId) -> Self {
        self.with("target", target.as_str())
    }

    fn attempt(self, origin: Option<&Origin>) -> Self {
        match origin {
            Some(origin) => self.with("attempt", origin.attempt),
            None => self,
        }
    }

    fn input(mut self, value: &Value) -> Self {
        text::put_value(&mut self.0, "input", value);
        self
    }

    fn outcome(mut self, outcome: &Outcome) -> Self {
        put_outcome(&mut self.0, outcome);
        self
    }
}

fn line(place: Place, event: &Event) -> Map<String, Json> {
    let mut base = Map::new();
    base.insert("execution".into(), place.execution.into());
    base.insert("seq".into(), place.seq.into());
    put_time(&mut base, "at", place.at);
    let named = |name: &str| Line(base.clone()).with("event", name);
    let ended = |outcome: &Outcome, completed: &str, failed: &str| {
        named(if matches!(outcome, Outcome::Completed(_)) { completed } else { failed })
    };
    let line = match event {
        Event::Started(started) => {
            let line = named("ExecutionStarted").text("name", &started.name).input(&started.input);
            match started.scheduled {
                Some(scheduled) => line.with("due", scheduled.to_string()),
                None => line,
            }
        }
        Event::TurnStarted { now: _ } => named("OrchestratorStarted"),
        Event::TaskScheduled { id, name, input, origin, tags: _ } => {
            named("TaskScheduled").id(*id).text("name", name).input(input).attempt(origin.as_ref())
        }
        Event::TaskEnded { task, outcome } => {
            ended(outcome, "TaskCompleted", "TaskFailed").answers(*task).outcome(outcome)
        }
        Event::ChildCreated { id, name, instance, input, origin, version: _, detached: _ } => {
            let line = named("SubOrchestrationInstanceCreated").id(*id).text("name", name);
            line.target(instance).input(input).attempt(origin.as_ref())
        }
        Event::ChildEnded { task, outcome } => {
            let (completed, failed) =
                ("SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed");
            ended(outcome, completed, failed).answers(*task).outcome(outcome)
        }
        Event::TimerCreated { id, fire_at, origin } => {
            named("TimerCreated").id(*id).with("due", fire_at.to_string()).attempt(origin.as_ref())
        }
        Event::TimerFired { timer } => named("TimerFired").answers(*timer),
        Event::TimerCanceled { timer } => named("TimerCanceled").answers(*timer),
        Event::EventSent { id, instance, name, input } => {
            named("EventSent").id(*id).text("name", name).target(instance).input(input)
        }
        Event::EventRaised { name, input, key } => {
            named("EventRaised").text("name", name).input(input).text("key", key)
        }
        Event::OperationCalled { id, entity, name, input } => {
            named("EntityOperationCalled").id(*id).text("name", name).target(entity).input(input)
        }
        Event::OperationSignaled { id, entity, name, input, due } => {
            let line = named("EntityOperationSignaled").id(*id).text("name", name);
            let line = line.target(entity).input(input);
            match due {
                Some(due) => line.with("due", due.to_string()),
                None => line,
            }
        }
        Event::OperationEnded { task, outcome } => {
            let (completed, failed) = ("EntityOperationCompleted", "EntityOperationFailed");
            ended(outcome, completed, failed).answers(*task).outcome(outcome)
        }
        Event::LockRequested { id, entities } => {
            let entities: Vec<_> = entities.iter().map(InstanceId::as_str).collect();
            named("EntityLockRequested").id(*id).with("target", json!(entities).to_string())
        }
        Event::LockGranted { lock } => named("EntityLockGranted").answers(*lock),
        Event::LockReleased { id, lock } => named("EntityUnlockSent").id(*id).answers(*lock),
        Event::Suspended { reason } => named("ExecutionSuspended").text("reason", reason),
        Event::Resumed { reason } => named("ExecutionResumed").text("reason", reason),
        Event::Terminated { reason } => named("ExecutionTerminated").text("reason", reason),
        Event::Rewound { reason } => named("ExecutionRewound").text("reason", reason),
        Event::Completed { output } => {
            named("ExecutionCompleted").outcome(&Outcome::Completed(output.clone()))
        }
        Event::Failed { failure } => {
            let mut line = named("ExecutionFailed");
            put_failure(&mut line.0, failure);
            line
        }
    };
    line.0
}
