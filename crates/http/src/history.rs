//! Histories in the words of the Durable Task Framework.
//!
//! Our events become [`Line`]s, which are that framework's events with all their fields. They are shown raw, or folded
//! as the status of an instance shows them: a call that has its result is one entry.
//!
//! Y1  A turn is bracketed by `OrchestratorStarted` and `OrchestratorCompleted`, and its time is that of its events.
//! Y2  Entities are talked to by events: `EventSent` with the name `op` or `release`, and `EventRaised` named by the
//!     request, as that framework records it.
//! Y3  `TimerCanceled` is ours and stands in the raw form only.

use std::collections::{HashMap, HashSet};

use everstep_model::{
    Event, EventId, ExecutionId, Failure, Guid, InstanceId, Outcome, Parent, Started, Status, Tags,
    Timestamp, TraceContext, Value,
};
use http::StatusCode;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::{
    api::Call,
    error::Answer,
    instance,
    json::{self, Free},
    time,
};

/// What the events of a status show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Inputs.
    pub(crate) input: bool,
    /// Results.
    pub(crate) output: bool,
}

/// `GET instances/{instanceId}/history`
pub(crate) async fn raw(call: Call) -> Answer {
    let id = instance::id(&call)?;
    let events = call.api.client().history(&id).await?;
    let lines: Vec<_> = lines(&id, &events).into_iter().map(Line::raw).collect();
    Ok(json::json(StatusCode::OK, &lines))
}

/// The events as the status of an instance shows them.
pub(crate) fn shown(id: &InstanceId, events: &[Event], options: Options) -> Vec<Shown> {
    let lines = lines(id, events);
    let answered: HashSet<u32> =
        lines.iter().filter_map(|line| line.answers.map(|task| task.0)).collect();
    let mut calls = HashMap::new();
    let mut shown = Vec::new();
    for line in lines {
        let is_call = matches!(line.name, "TaskScheduled" | "SubOrchestrationInstanceCreated");
        match line.id {
            _ if line.is_hidden() => {}
            Some(id) if is_call && answered.contains(&id.0) => drop(calls.insert(id.0, line)),
            _ => {
                let call = line.answers.and_then(|task| calls.remove(&task.0));
                shown.push(line.shown(call, options));
            }
        }
    }
    shown
}

/// One event with its fields in order.
pub(crate) struct Shown(Vec<(&'static str, Datum)>);

/// One event of the framework.
struct Line {
    name: &'static str,
    /// Its own fields.
    own: Vec<(&'static str, Datum)>,
    /// The action that it records.
    id: Option<EventId>,
    /// The call that it answers.
    answers: Option<EventId>,
    time: Timestamp,
}

/// The value of a field.
#[derive(Clone)]
enum Datum {
    Null,
    Flag(bool),
    Number(i64),
    Text(String),
    Time(Timestamp),
    /// A value of a user as the text that is stored.
    Stored(Value),
    /// The same as JSON.
    Parsed(Value),
    Failure(Box<Failure>),
    Map(Tags),
    Object(Vec<(&'static str, Datum)>),
}

/// A failure as the framework writes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FailureDetails<'a> {
    error_type: &'a str,
    error_message: &'a str,
    stack_trace: Option<&'a str>,
    inner_failure: Option<Box<FailureDetails<'a>>>,
    is_non_retriable: bool,
}

impl<'a> FailureDetails<'a> {
    pub(crate) fn of(failure: &'a Failure) -> Self {
        Self {
            error_type: &failure.kind,
            error_message: &failure.message,
            stack_trace: Some(failure.stack.as_str()).filter(|stack| !stack.is_empty()),
            inner_failure: failure.inner.as_deref().map(|inner| Box::new(Self::of(inner))),
            is_non_retriable: failure.non_retriable,
        }
    }
}

impl Line {
    fn new(name: &'static str, time: Timestamp, own: Vec<(&'static str, Datum)>) -> Self {
        Self { name, own, id: None, answers: None, time }
    }

    fn of_action(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    fn answering(mut self, task: EventId) -> Self {
        self.own.insert(0, ("TaskScheduledId", Datum::Number(task.0.into())));
        self.answers = Some(task);
        self
    }

    /// Whether a status leaves it out.
    fn is_hidden(&self) -> bool {
        matches!(self.name, "OrchestratorStarted" | "OrchestratorCompleted" | "TimerCanceled")
    }

    /// All fields, as the framework stores them.
    fn raw(self) -> Shown {
        let mut fields = vec![("EventType", Datum::Text(self.name.to_owned()))];
        fields.extend(self.own);
        let id = self.id.map_or(-1, |id| i64::from(id.0));
        fields.extend([
            ("EventId", Datum::Number(id)),
            ("IsPlayed", Datum::Flag(false)),
            ("Timestamp", Datum::Time(self.time)),
        ]);
        Shown(fields)
    }

    /// As a status shows it, together with the call that it answers.
    fn shown(self, call: Option<Line>, options: Options) -> Shown {
        let mut fields = vec![("EventType", Datum::Text(self.name.to_owned()))];
        let mut name = None;
        for (key, datum) in self.own {
            match (self.name, key) {
                ("ExecutionStarted", "Name") => name = Some(datum),
                (
                    "ExecutionStarted",
                    "OrchestrationInstance" | "ParentInstance" | "Version" | "Tags",
                )
                | ("TaskScheduled" | "SubOrchestrationInstanceCreated", "Version" | "Tags")
                | (_, "TaskScheduledId")
                | ("TimerFired", "TimerId") => {}
                (_, "Input") if !options.input => {}
                (_, "Result") if !options.output => {}
                (_, "Result") => fields.push((key, datum.parsed())),
                (_, "Input") => fields.push((key, datum)),
                _ if matches!(datum, Datum::Null) => {}
                _ => fields.push((key, datum)),
            }
        }
        fields.push(("Timestamp", Datum::Time(self.time)));
        if let Some(mut call) = call {
            fields.push(("ScheduledTime", Datum::Time(call.time)));
            name = call.take("Name");
            fields.extend(name.take().map(|name| ("FunctionName", name)));
            if options.input {
                fields.push(("Input", call.take("Input").unwrap_or(Datum::Null)));
            }
        }
        fields.extend(name.map(|name| ("FunctionName", name)));
        Shown(fields)
    }

    fn take(&mut self, key: &str) -> Option<Datum> {
        let at = self.own.iter().position(|(found, _)| *found == key)?;
        Some(self.own.swap_remove(at).1)
    }
}

impl Datum {
    fn parsed(self) -> Self {
        match self {
            Self::Stored(value) => Self::Parsed(value),
            other => other,
        }
    }

    fn some_text(text: &str) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text.to_owned()) }
    }

    fn tags(tags: &Tags) -> Self {
        if tags.is_empty() { Self::Null } else { Self::Map(tags.clone()) }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields(&self.0, serializer)
    }
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(at) => serializer.serialize_str(&time::trimmed(*at)),
            Self::Stored(value) => match value.inline().filter(|bytes| !bytes.is_empty()) {
                None => serializer.serialize_unit(),
                Some(bytes) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
            },
            Self::Parsed(value) => Free::of(Some(value)).serialize(serializer),
            Self::Failure(failure) => FailureDetails::of(failure).serialize(serializer),
            Self::Map(map) => map.serialize(serializer),
            Self::Object(object) => fields(object, serializer),
        }
    }
}

fn fields<S: Serializer>(
    fields: &[(&'static str, Datum)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.len()))?;
    for (key, datum) in fields {
        map.serialize_entry(key, datum)?;
    }
    map.end()
}

/// What an orchestration asks of an entity.
enum Asked<'a> {
    Call(&'a str, &'a Value),
    Signal(&'a str, &'a Value, Option<Timestamp>),
    Lock(&'a [InstanceId]),
    Release,
}

/// What is remembered while a history is read.
struct Reader<'a> {
    instance: &'a InstanceId,
    execution: ExecutionId,
    lines: Vec<Line>,
    now: Timestamp,
    is_in_turn: bool,
    last: u32,
    timers: HashMap<u32, Timestamp>,
    locks: HashMap<u32, Vec<InstanceId>>,
}

fn lines(instance: &InstanceId, events: &[Event]) -> Vec<Line> {
    let mut reader = Reader {
        instance,
        execution: ExecutionId::new(""),
        lines: Vec::with_capacity(events.len() + 2),
        now: Timestamp::EPOCH,
        is_in_turn: false,
        last: 0,
        timers: HashMap::new(),
        locks: HashMap::new(),
    };
    for (at, event) in events.iter().enumerate() {
        // The start stands before its turn; the framework has it within.
        if let (Event::Started(_), Some(Event::TurnStarted { now })) = (event, events.get(at + 1)) {
            reader.begin_turn(*now);
        }
        reader.read(event);
    }
    reader.end_turn();
    reader.lines
}

impl Reader<'_> {
    fn begin_turn(&mut self, now: Timestamp) {
        if self.is_in_turn && self.now == now {
            return;
        }
        self.end_turn();
        self.now = now;
        self.is_in_turn = true;
        self.push("OrchestratorStarted", vec![]);
    }

    fn end_turn(&mut self) {
        if self.is_in_turn {
            self.push("OrchestratorCompleted", vec![]);
        }
        self.is_in_turn = false;
    }

    fn push(&mut self, name: &'static str, own: Vec<(&'static str, Datum)>) {
        self.lines.push(Line::new(name, self.now, own));
    }

    fn push_action(&mut self, id: EventId, name: &'static str, own: Vec<(&'static str, Datum)>) {
        self.last = self.last.max(id.0 + 1);
        self.lines.push(Line::new(name, self.now, own).of_action(id));
    }

    fn push_answer(&mut self, task: EventId, names: (&'static str, &'static str), end: &Outcome) {
        let line = match end {
            Outcome::Completed(value) => {
                Line::new(names.0, self.now, vec![("Result", Datum::Stored(value.clone()))])
            }
            Outcome::Failed(failure) => Line::new(
                names.1,
                self.now,
                vec![
                    ("Reason", Datum::Text(failure.message.clone())),
                    ("Details", Datum::some_text(&failure.stack)),
                    ("FailureDetails", Datum::Failure(failure.clone())),
                ],
            ),
        };
        self.lines.push(line.answering(task));
    }

    fn read(&mut self, event: &Event) {
        match event {
            Event::Started(started) => self.started(started),
            Event::TurnStarted { now } => self.begin_turn(*now),
            Event::TaskScheduled { id, name, input, tags, .. } => self.push_action(
                *id,
                "TaskScheduled",
                vec![
                    ("Name", Datum::Text(name.clone())),
                    ("Version", Datum::Text(String::new())),
                    ("Input", Datum::Stored(input.clone())),
                    ("Tags", Datum::tags(tags)),
                ],
            ),
            Event::TaskEnded { task, outcome } => {
                self.push_answer(*task, ("TaskCompleted", "TaskFailed"), outcome);
            }
            Event::ChildCreated { id, name, version, instance, input, .. } => self.push_action(
                *id,
                "SubOrchestrationInstanceCreated",
                vec![
                    ("Name", Datum::Text(name.clone())),
                    ("Version", Datum::Text(version.clone())),
                    ("InstanceId", Datum::Text(instance.as_str().to_owned())),
                    ("Input", Datum::Stored(input.clone())),
                ],
            ),
            Event::ChildEnded { task, outcome } => {
                let names = ("SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed");
                self.push_answer(*task, names, outcome);
            }
            Event::TimerCreated { id, fire_at, .. } => {
                self.timers.insert(id.0, *fire_at);
                self.push_action(*id, "TimerCreated", vec![("FireAt", Datum::Time(*fire_at))]);
            }
            Event::TimerFired { timer } => {
                let fire_at = self.timers.get(&timer.0).copied();
                let own = vec![
                    ("TimerId", Datum::Number(timer.0.into())),
                    ("FireAt", fire_at.map_or(Datum::Null, Datum::Time)),
                ];
                self.push("TimerFired", own);
            }
            Event::TimerCanceled { timer } => {
                self.push("TimerCanceled", vec![("TimerId", Datum::Number(timer.0.into()))]);
            }
            Event::EventSent { id, instance, name, input } => {
                self.sent(*id, instance, name, Datum::Stored(input.clone()));
            }
            Event::EventRaised { name, input, .. } => {
                self.raised(name.clone(), Datum::Stored(input.clone()));
            }
            Event::OperationCalled { id, entity, name, input } => {
                let request = self.request(*id, &Asked::Call(name, input));
                self.sent(*id, entity, "op", request);
            }
            Event::OperationSignaled { id, entity, name, input, due } => {
                let request = self.request(*id, &Asked::Signal(name, input, *due));
                self.sent(*id, entity, "op", request);
            }
            Event::OperationEnded { task, outcome } => {
                let answer = answer(outcome);
                self.raised(self.request_id(*task), answer);
            }
            Event::LockRequested { id, entities } => {
                self.locks.insert(id.0, entities.clone());
                let request = self.request(*id, &Asked::Lock(entities));
                if let Some(first) = entities.first() {
                    self.sent(*id, first, "op", request);
                }
            }
            Event::LockGranted { lock } => {
                self.raised(self.request_id(*lock), Datum::Text("{}".to_owned()));
            }
            Event::LockReleased { id, lock } => {
                let request = self.request(*lock, &Asked::Release);
                for entity in self.locks.remove(&lock.0).unwrap_or_default() {
                    self.sent(*id, &entity, "release", request.clone());
                }
            }
            Event::Suspended { reason } => self.told("ExecutionSuspended", "Reason", reason),
            Event::Resumed { reason } => self.told("ExecutionResumed", "Reason", reason),
            Event::Rewound { reason } => self.told("ExecutionRewound", "Reason", reason),
            Event::Terminated { reason } => {
                self.told("ExecutionTerminated", "Input", reason);
                self.completed(Status::Terminated, Datum::Stored(reason.as_str().into()), None);
            }
            Event::Completed { output } => {
                self.completed(Status::Completed, Datum::Stored(output.clone()), None);
            }
            Event::Failed { failure } => {
                let said = Datum::Text(failure.message.clone());
                self.completed(Status::Failed, said, Some(failure.clone()));
            }
        }
    }

    fn started(&mut self, started: &Started) {
        self.execution = started.execution_id.clone();
        let own = vec![
            ("OrchestrationInstance", instance(self.instance, &started.execution_id)),
            ("ParentInstance", started.parent.as_ref().map_or(Datum::Null, parent)),
            ("Name", Datum::Text(started.name.clone())),
            ("Version", Datum::Text(started.version.clone())),
            ("Input", Datum::Stored(started.input.clone())),
            ("Tags", Datum::tags(&started.tags)),
            ("ParentTraceContext", started.trace.as_ref().map_or(Datum::Null, trace)),
            ("ScheduledStartTime", started.scheduled.map_or(Datum::Null, Datum::Time)),
        ];
        self.lines.push(Line::new("ExecutionStarted", started.at, own));
    }

    fn sent(&mut self, id: EventId, to: &InstanceId, name: &str, input: Datum) {
        let own = vec![
            ("InstanceId", Datum::Text(to.as_str().to_owned())),
            ("Name", Datum::Text(name.to_owned())),
            ("Input", input),
        ];
        self.push_action(id, "EventSent", own);
    }

    fn raised(&mut self, name: String, input: Datum) {
        self.push("EventRaised", vec![("Name", Datum::Text(name)), ("Input", input)]);
    }

    fn told(&mut self, name: &'static str, key: &'static str, reason: &str) {
        self.push(name, vec![(key, Datum::Text(reason.to_owned()))]);
    }

    fn completed(&mut self, status: Status, result: Datum, failure: Option<Box<Failure>>) {
        let own = vec![
            ("OrchestrationStatus", Datum::Text(status.name().to_owned())),
            ("Result", result),
            ("FailureDetails", failure.map_or(Datum::Null, Datum::Failure)),
        ];
        self.push_action(EventId(self.last), "ExecutionCompleted", own);
    }

    /// What an entity is sent: a text that holds JSON.
    fn request(&self, id: EventId, asked: &Asked<'_>) -> Datum {
        let mut request = Vec::new();
        if let Asked::Call(name, input) | Asked::Signal(name, input, _) = asked {
            request.push(("op", Datum::Text((*name).to_owned())));
            if !input.is_empty() {
                request.push(("input", Datum::Stored((*input).clone())));
            }
        }
        if let Asked::Signal(_, _, due) = asked {
            request.push(("signal", Datum::Flag(true)));
            request.extend(due.map(|due| ("due", Datum::Time(due))));
        }
        request.push(("id", Datum::Text(self.request_id(id))));
        if let Asked::Lock(set) = asked {
            let ids: Vec<_> = set.iter().map(InstanceId::as_str).collect();
            request.push(("lockset", Datum::Parsed(Value::text(json::to_text(&ids)))));
        }
        Datum::Text(json::to_text(&Datum::Object(request)))
    }

    /// Names a request within its execution; the answer bears the same name.
    fn request_id(&self, id: EventId) -> String {
        Guid::v5(Guid([0; 16]), &format!("{}:{}", self.execution, id.0)).to_string()
    }
}

/// What an entity answers: a text that holds JSON.
fn answer(outcome: &Outcome) -> Datum {
    let answer = match outcome {
        Outcome::Completed(value) => vec![("result", Datum::Stored(value.clone()))],
        Outcome::Failed(failure) => vec![
            ("result", Datum::Text(json::to_text(&failure.message))),
            ("exceptionType", Datum::Text(failure.kind.clone())),
            ("failureDetails", Datum::Failure(failure.clone())),
        ],
    };
    Datum::Text(json::to_text(&Datum::Object(answer)))
}

fn instance(id: &InstanceId, execution: &ExecutionId) -> Datum {
    Datum::Object(vec![
        ("InstanceId", Datum::Text(id.as_str().to_owned())),
        ("ExecutionId", Datum::Text(execution.as_str().to_owned())),
    ])
}

fn parent(parent: &Parent) -> Datum {
    Datum::Object(vec![
        ("OrchestrationInstance", instance(&parent.instance, &parent.execution_id)),
        ("Name", Datum::Text(parent.name.clone())),
        ("TaskScheduleId", Datum::Number(parent.task.map_or(-1, |task| task.0.into()))),
    ])
}

fn trace(trace: &TraceContext) -> Datum {
    Datum::Object(vec![
        ("TraceParent", Datum::Text(trace.traceparent.to_string())),
        ("TraceState", Datum::some_text(&trace.tracestate)),
    ])
}
