//! A history told in words, one line for each event that means something to a reader.

use std::collections::HashMap;

use serde_json::Value;

use crate::console::{Item, text_of, visible};

/// Longer values are cut.
const VALUE_MAX: usize = 120;

/// What has been told of one execution: the names by which later events refer to earlier ones.
#[derive(Debug, Default)]
pub(super) struct Story {
    names: HashMap<i64, String>,
}

impl Story {
    /// What an event says; `None` for those that only delimit turns.
    pub(super) fn tell(&mut self, event: &Item) -> Option<String> {
        let name = event.text("Name");
        let id = event.get("EventId").as_i64().unwrap_or(-1);
        let of = |key: &str| {
            let number = event.get(key).as_i64().unwrap_or(-1);
            let named = self.names.get(&number).cloned();
            named.unwrap_or_else(|| format!("step {number}"))
        };
        let value = |key: &str| short(event.get(key));
        let with = |text: String, key: &str| match value(key) {
            value if value.is_empty() || value == "null" => text,
            value => format!("{text}: {value}"),
        };
        let told = match event.text("EventType") {
            "OrchestratorStarted" | "OrchestratorCompleted" => return None,
            "ExecutionStarted" => with(format!("started {name}"), "Input"),
            "TaskScheduled" => with(format!("calls {name} (#{id})"), "Input"),
            "TaskCompleted" => with(format!("{} is done", of("TaskScheduledId")), "Result"),
            "TaskFailed" => format!("{} failed: {}", of("TaskScheduledId"), failure(event)),
            "SubOrchestrationInstanceCreated" => {
                format!("starts {name} as {} (#{id})", event.text("InstanceId"))
            }
            "SubOrchestrationInstanceCompleted" => {
                with(format!("{} is done", of("TaskScheduledId")), "Result")
            }
            "SubOrchestrationInstanceFailed" => {
                format!("{} failed: {}", of("TaskScheduledId"), failure(event))
            }
            "TimerCreated" => format!("sets a timer for {} (#{id})", event.text("FireAt")),
            "TimerFired" => format!("the timer #{} went off", event.get("TimerId")),
            "TimerCanceled" => {
                format!("the timer #{} is not needed any more", event.get("TimerId"))
            }
            "EventRaised" => with(format!("event {name} arrived"), "Input"),
            "EventSent" => with(format!("sends {name} to {}", event.text("InstanceId")), "Input"),
            "ExecutionSuspended" => with("suspended".to_owned(), "Reason"),
            "ExecutionResumed" => with("resumed".to_owned(), "Reason"),
            "ExecutionRewound" => with("rewound".to_owned(), "Reason"),
            "ExecutionTerminated" => with("terminated".to_owned(), "Input"),
            "ContinueAsNew" => with("continues as new".to_owned(), "Result"),
            "ExecutionCompleted" => {
                let status = text_of(event.get("OrchestrationStatus"));
                let failure = failure(event);
                if failure.is_empty() {
                    with(format!("ended: {status}"), "Result")
                } else {
                    format!("ended: {status}: {failure}")
                }
            }
            other => with(other.to_owned(), "Data"),
        };
        let named = match event.text("EventType") {
            "SubOrchestrationInstanceCreated" => {
                Some(format!("{name} {}", event.text("InstanceId")))
            }
            "TaskScheduled" => Some(format!("{name} (#{id})")),
            _ => None,
        };
        self.names.extend(named.map(|named| (id, named)));
        Some(visible(&told).replace('\n', " "))
    }
}

/// The failure that an event bears, as text.
pub(super) fn failure(event: &Item) -> String {
    let details = event.get("FailureDetails");
    let message = details["ErrorMessage"].as_str().or_else(|| event.get("Reason").as_str());
    let kind = details["ErrorType"].as_str().unwrap_or_default();
    match (kind, message.unwrap_or_default()) {
        ("", message) => message.to_owned(),
        (kind, message) => format!("{kind}: {message}"),
    }
}

/// A value in few characters.
pub(super) fn short(value: &Value) -> String {
    let text = text_of(value);
    match text.char_indices().nth(VALUE_MAX) {
        None => text,
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}
