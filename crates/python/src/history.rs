//! Histories as the management API shows them, read back as events.
//!
//! H1  What is read is what `GET instances/{id}/history` answers, also within a file of `everstep export`: all fields of
//!     the Durable Task Framework, in their order.
//! H2  What no orchestrator of Python can bring about is left out, not refused: sends to other instances, locks.

use std::collections::HashMap;

use everstep_model::{
    Event, EventId, ExecutionId, Failure, InstanceId, Outcome, Parent, Started, Tags, Timestamp,
    Value,
};
use serde::Deserialize;
use serde_json::Value as Json;

/// A history and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct History {
    pub(crate) instance: InstanceId,
    /// The orchestrator.
    pub(crate) name: String,
    pub(crate) execution: ExecutionId,
    pub(crate) events: Vec<Event>,
}

/// Why a history cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no list of events.
    #[error("the history is no list of events: {0}")]
    Form(String),
    /// It does not begin.
    #[error("the history has no ExecutionStarted")]
    NoStart,
    /// A field is missing or is something else.
    #[error("event {index} of the history ({kind}) has no {field}")]
    Field {
        /// Which event, counted from 0.
        index: usize,
        /// Its type.
        kind: String,
        /// Which field.
        field: &'static str,
    },
}

/// One event as it is written.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "EventType")]
    kind: String,
    #[serde(flatten)]
    fields: serde_json::Map<String, Json>,
}

/// Reads a list of events.
pub(crate) fn read(text: &str) -> Result<History, Unreadable> {
    let lines: Vec<Line> =
        serde_json::from_str(text).map_err(|error| Unreadable::Form(error.to_string()))?;
    let mut reader = Reader::default();
    for (index, line) in lines.iter().enumerate() {
        reader.event(line).map_err(|field| {
            let kind = line.kind.clone();
            Unreadable::Field { index, kind, field }
        })?;
    }
    reader
        .history
        .ok_or(Unreadable::NoStart)
        .map(|history| History { events: reader.events, ..history })
}

#[derive(Default)]
struct Reader {
    history: Option<History>,
    events: Vec<Event>,
    /// Calls of entities under way, by the name of the request.
    requests: HashMap<String, EventId>,
}

impl Line {
    fn get(&self, field: &str) -> &Json {
        self.fields.get(field).unwrap_or(&Json::Null)
    }

    fn text(&self, field: &'static str) -> Result<String, &'static str> {
        self.get(field).as_str().map(str::to_owned).ok_or(field)
    }

    fn text_or_empty(&self, field: &str) -> String {
        self.get(field).as_str().unwrap_or_default().to_owned()
    }

    fn id(&self, field: &'static str) -> Result<EventId, &'static str> {
        let number = self.get(field).as_u64().and_then(|number| u32::try_from(number).ok());
        number.map(EventId).ok_or(field)
    }

    fn time(&self, field: &'static str) -> Result<Timestamp, &'static str> {
        self.get(field).as_str().and_then(instant).ok_or(field)
    }

    fn value(&self, field: &str) -> Value {
        value(self.get(field))
    }

    fn failed(&self) -> Outcome {
        let details = self.get("FailureDetails");
        let text = |field: &str| details[field].as_str().unwrap_or_default().to_owned();
        Outcome::Failed(Box::new(Failure {
            kind: text("ErrorType"),
            message: self.text_or_empty("Reason"),
            stack: self.text_or_empty("Details"),
            inner: None,
            non_retriable: details["IsNonRetriable"].as_bool().unwrap_or(false),
        }))
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(parsed.as_nanosecond() / 100).ok().map(Timestamp::from_ticks)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::empty(),
        Json::String(text) => Value::text(text.clone()),
        other => Value::text(other.to_string()),
    }
}

impl Reader {
    fn event(&mut self, line: &Line) -> Result<(), &'static str> {
        let event = match line.kind.as_str() {
            "OrchestratorStarted" => Event::TurnStarted { now: line.time("Timestamp")? },
            "ExecutionStarted" => return self.started(line),
            "TaskScheduled" => Event::TaskScheduled {
                id: line.id("EventId")?,
                name: line.text("Name")?,
                input: line.value("Input"),
                tags: Tags::new(),
                origin: None,
            },
            "TaskCompleted" => Event::TaskEnded {
                task: line.id("TaskScheduledId")?,
                outcome: Outcome::Completed(line.value("Result")),
            },
            "TaskFailed" => {
                Event::TaskEnded { task: line.id("TaskScheduledId")?, outcome: line.failed() }
            }
            "SubOrchestrationInstanceCreated" => Event::ChildCreated {
                id: line.id("EventId")?,
                name: line.text("Name")?,
                version: line.text_or_empty("Version"),
                instance: InstanceId::from_stored(&line.text("InstanceId")?),
                input: line.value("Input"),
                detached: false,
                origin: None,
            },
            "SubOrchestrationInstanceCompleted" => Event::ChildEnded {
                task: line.id("TaskScheduledId")?,
                outcome: Outcome::Completed(line.value("Result")),
            },
            "SubOrchestrationInstanceFailed" => {
                Event::ChildEnded { task: line.id("TaskScheduledId")?, outcome: line.failed() }
            }
            "TimerCreated" => Event::TimerCreated {
                id: line.id("EventId")?,
                fire_at: line.time("FireAt")?,
                origin: None,
            },
            "TimerFired" => Event::TimerFired { timer: line.id("TimerId")? },
            "TimerCanceled" => Event::TimerCanceled { timer: line.id("TimerId")? },
            "EventSent" => return self.sent(line),
            "EventRaised" => self.raised(line)?,
            "ExecutionTerminated" => Event::Terminated { reason: line.text_or_empty("Input") },
            "ExecutionCompleted" => match line.get("OrchestrationStatus").as_str() {
                Some("Completed") => Event::Completed { output: line.value("Result") },
                Some("Failed") => {
                    let failure = Failure::new("", line.text_or_empty("Result"));
                    Event::Failed { failure: Box::new(failure) }
                }
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.events.push(event);
        Ok(())
    }

    /// The framework has the start within the first turn; here it stands before.
    fn started(&mut self, line: &Line) -> Result<(), &'static str> {
        let instance = line.get("OrchestrationInstance");
        let id = instance["InstanceId"].as_str().ok_or("OrchestrationInstance.InstanceId")?;
        let execution = ExecutionId::new(instance["ExecutionId"].as_str().unwrap_or_default());
        let parent = line.get("ParentInstance");
        let parent_of = parent["OrchestrationInstance"]["InstanceId"].as_str().map(|id| Parent {
            instance: InstanceId::from_stored(id),
            execution_id: ExecutionId::new(
                parent["OrchestrationInstance"]["ExecutionId"].as_str().unwrap_or_default(),
            ),
            name: parent["Name"].as_str().unwrap_or_default().to_owned(),
            task: None,
        });
        let name = line.text("Name")?;
        let started = Started {
            at: line.time("Timestamp")?,
            name: name.clone(),
            version: line.text_or_empty("Version"),
            input: line.value("Input"),
            execution_id: execution.clone(),
            parent: parent_of,
            tags: Tags::new(),
            scheduled: None,
            trace: None,
        };
        let instance = InstanceId::from_stored(id);
        self.history = Some(History { instance, name, execution, events: Vec::new() });
        let started = Event::Started(Box::new(started));
        match self.events.pop() {
            Some(turn @ Event::TurnStarted { .. }) => self.events.extend([started, turn]),
            other => self.events.extend(other.into_iter().chain([started])),
        }
        Ok(())
    }

    fn sent(&mut self, line: &Line) -> Result<(), &'static str> {
        let request: Json = serde_json::from_str(&line.text("Input")?).unwrap_or_default();
        let (Some(name), Ok("op")) = (request["op"].as_str(), line.text("Name").as_deref()) else {
            return Ok(());
        };
        let id = line.id("EventId")?;
        let entity = InstanceId::from_stored(&line.text("InstanceId")?);
        let (name, input) = (name.to_owned(), value(&request["input"]));
        self.events.push(if request["signal"].as_bool() == Some(true) {
            Event::OperationSignaled { id, entity, name, input, due: None }
        } else {
            self.requests.insert(request["id"].as_str().unwrap_or_default().to_owned(), id);
            Event::OperationCalled { id, entity, name, input }
        });
        Ok(())
    }

    fn raised(&mut self, line: &Line) -> Result<Event, &'static str> {
        let name = line.text("Name")?;
        let Some(task) = self.requests.remove(&name) else {
            return Ok(Event::EventRaised { name, input: line.value("Input"), key: String::new() });
        };
        let answer: Json = serde_json::from_str(&line.text("Input")?).unwrap_or_default();
        let outcome = if answer["exceptionType"].is_null() {
            Outcome::Completed(value(&answer["result"]))
        } else {
            let said = answer["result"].as_str().unwrap_or_default();
            let message = serde_json::from_str(said).unwrap_or_else(|_| said.to_owned());
            let kind = answer["exceptionType"].as_str().unwrap_or_default();
            Outcome::Failed(Box::new(Failure::new(kind, message)))
        };
        Ok(Event::OperationEnded { task, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = r#"[
        {"EventType":"OrchestratorStarted","EventId":-1,"Timestamp":"2026-01-02T03:04:05.1234567Z"},
        {"EventType":"ExecutionStarted","Name":"chain","Version":"","Input":"7",
         "OrchestrationInstance":{"InstanceId":"a","ExecutionId":"e"},"Timestamp":"2026-01-02T03:04:05Z"},
        {"EventType":"TaskScheduled","EventId":0,"Name":"Pay","Input":"[1]","Timestamp":"2026-01-02T03:04:05Z"},
        {"EventType":"EventSent","EventId":1,"InstanceId":"@counter@x","Name":"op",
         "Input":"{\"op\":\"add\",\"input\":\"1\",\"id\":\"r\"}","Timestamp":"2026-01-02T03:04:05Z"},
        {"EventType":"OrchestratorCompleted","EventId":-1,"Timestamp":"2026-01-02T03:04:05Z"},
        {"EventType":"OrchestratorStarted","EventId":-1,"Timestamp":"2026-01-02T03:04:06Z"},
        {"EventType":"TaskFailed","EventId":-1,"TaskScheduledId":0,"Reason":"no","Details":"line 1",
         "FailureDetails":{"ErrorType":"ValueError"},"Timestamp":"2026-01-02T03:04:06Z"},
        {"EventType":"EventRaised","EventId":-1,"Name":"r","Input":"{\"result\":\"5\"}","Timestamp":"2026-01-02T03:04:06Z"},
        {"EventType":"EventRaised","EventId":-1,"Name":"Go","Input":"true","Timestamp":"2026-01-02T03:04:06Z"}]"#;

    #[test]
    fn the_start_comes_before_its_turn_and_answers_of_entities_find_their_calls() {
        let history = read(SHORT).unwrap();
        assert_eq!((history.name.as_str(), history.instance.as_str()), ("chain", "a"));
        assert!(matches!(history.events[0], Event::Started(_)));
        assert_eq!(
            history.events[1],
            Event::TurnStarted { now: Timestamp::from_ticks(17_673_230_451_234_567) }
        );
        let failure = Failure {
            kind: "ValueError".into(),
            message: "no".into(),
            stack: "line 1".into(),
            ..Failure::default()
        };
        assert_eq!(
            history.events[5],
            Event::TaskEnded { task: EventId(0), outcome: Outcome::Failed(Box::new(failure)) }
        );
        assert_eq!(
            history.events[6],
            Event::OperationEnded {
                task: EventId(1),
                outcome: Outcome::Completed(Value::text("5"))
            }
        );
        assert_eq!(
            history.events[7],
            Event::EventRaised {
                name: "Go".into(),
                input: Value::text("true"),
                key: String::new()
            }
        );
    }

    #[test]
    fn what_is_no_history_is_told_with_the_place() {
        let said = |text: &str| read(text).unwrap_err().to_string();
        assert!(said("{}").starts_with("the history is no list of events: "));
        assert_eq!(said("[]"), "the history has no ExecutionStarted");
        assert_eq!(
            said(r#"[{"EventType":"TimerFired"}]"#),
            "event 0 of the history (TimerFired) has no TimerId"
        );
    }
}
