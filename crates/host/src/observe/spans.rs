//! Traces: what durable turns were, as spans with the names of Durable Functions.
//!
//! S1  A span's id follows from what it is of (execution and event), so a turn that is told after a restart gets the
//!     span that it would have got before it.
//! S2  There is one span for each orchestration, when it ends; none for a replay.
//! S3  A call whose beginning this process did not see gets no span of its own: it began before a restart.

use std::collections::HashMap;

use everstep_model::{
    Event, EventId, ExecutionId, InstanceId, Kind, Outcome, Status, Timestamp, TraceContext,
};
use everstep_runtime::lifecycle::Turned;
use sha2::{Digest as _, Sha256};

/// A span, as OTLP has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: [u8; 16],
    pub(crate) id: [u8; 8],
    pub(crate) parent: Option<[u8; 8]>,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) attributes: Vec<(&'static str, String)>,
    pub(crate) error: Option<String>,
}

/// Which side of a hop a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
}

/// Calls that have begun and not ended, by execution and event.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    open: HashMap<(ExecutionId, EventId), Open>,
    started: HashMap<ExecutionId, Timestamp>,
}

#[derive(Debug)]
struct Open {
    at: Timestamp,
    name: String,
    kind: &'static str,
    fire_at: Option<Timestamp>,
}

impl Spans {
    /// The spans that a turn ends.
    pub(crate) fn of(&mut self, turn: &Turned) -> Vec<Span> {
        if turn.instance.kind() == Kind::Entity {
            return Vec::new();
        }
        let place = Place::of(turn);
        let spans =
            turn.events.iter().filter_map(|event| self.event(&place, turn, event)).collect();
        if turn.status.is_terminal() {
            self.open.retain(|(execution, _), _| *execution != turn.execution_id);
            self.started.remove(&turn.execution_id);
        }
        spans
    }

    fn event(&mut self, place: &Place, turn: &Turned, event: &Event) -> Option<Span> {
        match event {
            Event::Started(started) => {
                self.started.insert(started.execution_id.clone(), started.at);
                Some(place.created(turn, started.at))
            }
            Event::TaskScheduled { id, name, .. } => self.begin(turn, *id, "activity", name),
            Event::ChildCreated { id, name, detached: false, .. } => {
                self.begin(turn, *id, "orchestration", name)
            }
            Event::OperationCalled { id, entity, name, .. } => {
                let entity = entity.entity_parts().map_or("", |(name, _)| name);
                self.begin(turn, *id, "entity", &format!("{entity}:{name}"))
            }
            Event::TimerCreated { id, fire_at, .. } => {
                self.begin(turn, *id, "timer", "timer");
                let open = self.open.get_mut(&(turn.execution_id.clone(), *id))?;
                open.fire_at = Some(*fire_at);
                None
            }
            Event::TaskEnded { task, outcome }
            | Event::ChildEnded { task, outcome }
            | Event::OperationEnded { task, outcome } => {
                let open = self.end(turn, *task)?;
                Some(place.call(turn, *task, &open, outcome))
            }
            Event::TimerFired { timer } => {
                let open = self.end(turn, *timer)?;
                Some(place.timer(turn, *timer, &open))
            }
            Event::TimerCanceled { timer } => {
                self.end(turn, *timer);
                None
            }
            Event::EventSent { id, instance, name, .. } => {
                Some(place.event_sent(turn, *id, instance, name))
            }
            Event::Completed { .. } | Event::Failed { .. } | Event::Terminated { .. } => {
                let began = self.started.get(&turn.execution_id).copied().unwrap_or(turn.created);
                Some(place.orchestration(turn, began, event))
            }
            _ => None,
        }
    }

    fn begin(
        &mut self,
        turn: &Turned,
        id: EventId,
        kind: &'static str,
        name: &str,
    ) -> Option<Span> {
        let open = Open { at: turn.now, name: name.to_owned(), kind, fire_at: None };
        self.open.insert((turn.execution_id.clone(), id), open);
        None
    }

    fn end(&mut self, turn: &Turned, id: EventId) -> Option<Open> {
        self.open.remove(&(turn.execution_id.clone(), id))
    }
}

/// Where the spans of an execution hang.
struct Place {
    trace: [u8; 16],
    /// The orchestration's own span.
    own: [u8; 8],
    /// The span that created it.
    create: [u8; 8],
    /// The span of the request, if there was one.
    request: Option<[u8; 8]>,
}

impl Place {
    fn of(turn: &Turned) -> Self {
        let execution = turn.execution_id.as_str();
        let (trace, request) = match turn.trace.as_ref().and_then(parsed) {
            Some((trace, parent)) => (trace, Some(parent)),
            None => (derived(&["trace", execution]), None),
        };
        let (own, create) = (derived(&["own", execution]), derived(&["create", execution]));
        Self { trace, own, create, request }
    }

    fn span(&self, name: String, kind: SpanKind, turn: &Turned, start: Timestamp) -> Span {
        Span {
            trace: self.trace,
            id: [0; 8],
            parent: Some(self.own),
            name,
            kind,
            start,
            end: turn.now,
            attributes: vec![
                ("durabletask.task.instance_id", turn.instance.to_string()),
                ("durabletask.task.execution_id", turn.execution_id.as_str().to_owned()),
            ],
            error: None,
        }
    }

    fn created(&self, turn: &Turned, at: Timestamp) -> Span {
        let name = format!("create_orchestration:{}", versioned(turn));
        let span = self.span(name, SpanKind::Producer, turn, at);
        let mut attributes = span.attributes.clone();
        attributes.extend(of_orchestration(turn));
        Span { id: self.create, parent: self.request, end: at, attributes, ..span }
    }

    fn orchestration(&self, turn: &Turned, began: Timestamp, event: &Event) -> Span {
        let name = format!("orchestration:{}", versioned(turn));
        let span = self.span(name, SpanKind::Server, turn, began);
        let mut attributes = span.attributes.clone();
        attributes.extend(of_orchestration(turn));
        let (status, error) = match event {
            Event::Failed { failure } => (Status::Failed, Some(failure.message.clone())),
            Event::Terminated { reason } => (Status::Terminated, Some(reason.clone())),
            _ => (Status::Completed, None),
        };
        attributes.push(("durabletask.task.status", status.to_string()));
        Span { id: self.own, parent: Some(self.create), attributes, error, ..span }
    }

    fn call(&self, turn: &Turned, task: EventId, open: &Open, outcome: &Outcome) -> Span {
        let span =
            self.span(format!("{}:{}", open.kind, open.name), SpanKind::Client, turn, open.at);
        let mut attributes = span.attributes.clone();
        attributes.extend([
            ("durabletask.type", open.kind.to_owned()),
            ("durabletask.task.name", open.name.clone()),
            ("durabletask.task.task_id", task.0.to_string()),
        ]);
        let error = match outcome {
            Outcome::Failed(failure) => Some(failure.message.clone()),
            Outcome::Completed(_) => None,
        };
        Span { id: of_event(turn, task), attributes, error, ..span }
    }

    fn timer(&self, turn: &Turned, timer: EventId, open: &Open) -> Span {
        let name = format!("orchestration:{}:timer", turn.name);
        let span = self.span(name, SpanKind::Internal, turn, open.at);
        let mut attributes = span.attributes.clone();
        attributes.push(("durabletask.type", "timer".to_owned()));
        attributes.extend(open.fire_at.map(|at| ("durabletask.fire_at", at.to_string())));
        Span { id: of_event(turn, timer), attributes, ..span }
    }

    fn event_sent(&self, turn: &Turned, id: EventId, to: &InstanceId, event: &str) -> Span {
        let name = format!("orchestration_event:{event}");
        let span = self.span(name, SpanKind::Producer, turn, turn.now);
        let mut attributes = span.attributes.clone();
        attributes.extend([
            ("durabletask.type", "event".to_owned()),
            ("durabletask.event.target_instance_id", to.to_string()),
        ]);
        Span { id: of_event(turn, id), attributes, ..span }
    }
}

fn of_orchestration(turn: &Turned) -> Vec<(&'static str, String)> {
    let mut attributes = vec![
        ("durabletask.type", "orchestration".to_owned()),
        ("durabletask.task.name", turn.name.clone()),
    ];
    if !turn.version.is_empty() {
        attributes.push(("durabletask.task.version", turn.version.clone()));
    }
    attributes
}

fn versioned(turn: &Turned) -> String {
    if turn.version.is_empty() {
        turn.name.clone()
    } else {
        format!("{}@({})", turn.name, turn.version)
    }
}

fn of_event(turn: &Turned, id: EventId) -> [u8; 8] {
    derived(&["event", turn.execution_id.as_str(), &id.0.to_string()])
}

/// An id that is always the same for the same parts.
fn derived<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut id = [0; N];
    id.copy_from_slice(&hash.finalize()[..N]);
    id
}

/// Trace and span of a `traceparent` header.
fn parsed(context: &TraceContext) -> Option<([u8; 16], [u8; 8])> {
    let mut parts = context.traceparent.split('-');
    let (_version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    Some((from_hex(trace)?, from_hex(span)?))
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    (bytes != [0; N]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use everstep_model::{Failure, Started, Tags, Value};

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.after(std::time::Duration::from_secs(seconds))
    }

    fn turn(now: u64, status: Status, events: Vec<Event>) -> Turned {
        Turned {
            instance: InstanceId::from_stored("order-1"),
            execution_id: ExecutionId::new("e1"),
            name: "Order".to_owned(),
            version: "2".to_owned(),
            status,
            created: at(1),
            now: at(now),
            trace: Some(TraceContext {
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
                tracestate: "".into(),
            }),
            events,
        }
    }

    fn started() -> Event {
        Event::Started(Box::new(Started {
            at: at(1),
            name: "Order".to_owned(),
            version: "2".to_owned(),
            input: Value::empty(),
            execution_id: ExecutionId::new("e1"),
            parent: None,
            tags: Tags::new(),
            scheduled: None,
            trace: None,
        }))
    }

    fn scheduled(id: u32, name: &str) -> Event {
        let (name, input, tags) = (name.to_owned(), Value::empty(), Tags::new());
        Event::TaskScheduled { id: EventId(id), name, input, tags, origin: None }
    }

    fn shown(spans: &[Span]) -> String {
        let mut text = String::new();
        for span in spans {
            let seconds = |time: Timestamp| time.since(Timestamp::EPOCH).as_secs();
            let error = span.error.as_deref().unwrap_or("-");
            writeln!(
                text,
                "{} {:?} {}..{} {error}",
                span.name,
                span.kind,
                seconds(span.start),
                seconds(span.end)
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn an_orchestration_is_one_span_and_its_calls_hang_below() {
        let mut spans = Spans::default();
        let timer = Event::TimerCreated { id: EventId(1), fire_at: at(9), origin: None };
        let first = turn(2, Status::Running, vec![started(), scheduled(0, "Charge"), timer]);
        let mut all = spans.of(&first);
        let outcome = Outcome::Failed(Box::new(Failure::new("Io", "no answer")));
        let ended = Event::TaskEnded { task: EventId(0), outcome };
        all.extend(spans.of(&turn(5, Status::Running, vec![ended])));
        let fired = Event::TimerFired { timer: EventId(1) };
        let completed = Event::Completed { output: Value::empty() };
        all.extend(spans.of(&turn(9, Status::Completed, vec![fired, completed])));
        insta::assert_snapshot!(shown(&all), @r"
        create_orchestration:Order@(2) Producer 1..1 -
        activity:Charge Client 2..5 no answer
        orchestration:Order:timer Internal 2..9 -
        orchestration:Order@(2) Server 1..9 -
        ");
        let own = all[3].id;
        assert_eq!(all[1].parent, Some(own));
        assert_eq!(all[3].parent, Some(all[0].id));
        assert_eq!(all[0].parent, from_hex("b7ad6b7169203331"));
        assert!(
            all.iter().all(|span| Some(span.trace) == from_hex("0af7651916cd43dd8448eb211c80319c"))
        );
        assert!(spans.open.is_empty() && spans.started.is_empty());
    }

    #[test]
    fn a_call_that_began_before_a_restart_has_no_span_and_the_orchestration_has() {
        let mut spans = Spans::default();
        let outcome = Outcome::Completed(Value::empty());
        let ended = Event::TaskEnded { task: EventId(0), outcome };
        let completed = Event::Completed { output: Value::empty() };
        let all = spans.of(&turn(9, Status::Completed, vec![ended, completed]));
        insta::assert_snapshot!(shown(&all), @"orchestration:Order@(2) Server 1..9 -");
    }

    #[test]
    fn a_header_that_is_none_starts_a_trace_of_its_own() {
        for wrong in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let context = TraceContext { traceparent: wrong.into(), tracestate: "".into() };
            assert_eq!(parsed(&context), None, "{wrong}");
        }
    }
}
