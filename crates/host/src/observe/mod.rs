//! What the host lets people see of itself: lines on the console, metrics, traces.
//!
//! Durable turns are heard of through [`Watching`]; everything else is a call at its place.

pub(crate) mod console;
pub(crate) mod metrics;
pub(crate) mod otlp;
pub(crate) mod spans;

use std::sync::{Arc, Mutex, PoisonError};

use everstep_model::{Event, Kind, Outcome};
use everstep_runtime::lifecycle::{Listener, Turned};
use tokio::sync::mpsc;

use metrics::Metrics;
use spans::{Span, Spans};

/// Hears of durable turns and tells everybody who counts, traces or logs.
pub(crate) struct Watching {
    metrics: Arc<Metrics>,
    traces: Option<(Mutex<Spans>, mpsc::Sender<Span>)>,
    hub: String,
    ended: mpsc::UnboundedSender<Turned>,
    /// Who wants to hear of every turn, if somebody does.
    told: Option<mpsc::UnboundedSender<Turned>>,
}

impl Watching {
    /// Turns that end an instance go to `ended` as well.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        traces: Option<mpsc::Sender<Span>>,
        hub: &str,
        ended: mpsc::UnboundedSender<Turned>,
    ) -> Self {
        let traces = traces.map(|sender| (Mutex::default(), sender));
        Self { metrics, traces, hub: hub.to_owned(), ended, told: None }
    }

    /// Every turn goes to `told` as well, if somebody listens there.
    pub(crate) fn telling(self, told: Option<mpsc::UnboundedSender<Turned>>) -> Self {
        Self { told, ..self }
    }

    /// The lines that people query Application Insights for.
    fn log(&self, turn: &Turned) {
        let kind = match turn.instance.kind() {
            Kind::Orchestration => "Orchestrator",
            Kind::Entity => "Entity",
        };
        for event in &turn.events {
            let (state, function, kind, task, reason) = match event {
                Event::Started(_) => ("Scheduled", turn.name.as_str(), kind, None, ""),
                Event::TaskScheduled { id, name, .. } => {
                    ("Scheduled", name.as_str(), "Activity", Some(*id), "")
                }
                Event::TaskEnded { task, outcome: Outcome::Failed(failure) } => {
                    ("Failed", "", "Activity", Some(*task), failure.message.as_str())
                }
                Event::TaskEnded { task, .. } => ("Completed", "", "Activity", Some(*task), ""),
                Event::EventRaised { name, .. } => ("EventRaised", name.as_str(), kind, None, ""),
                Event::Suspended { reason } => {
                    ("Suspended", &*turn.name, kind, None, reason.as_str())
                }
                Event::Resumed { reason } => ("Resumed", &*turn.name, kind, None, reason.as_str()),
                Event::Rewound { reason } => ("Rewound", &*turn.name, kind, None, reason.as_str()),
                Event::Terminated { reason } => {
                    ("Terminated", &*turn.name, kind, None, reason.as_str())
                }
                Event::Completed { .. } => ("Completed", &*turn.name, kind, None, ""),
                Event::Failed { failure } => {
                    ("Failed", &*turn.name, kind, None, failure.message.as_str())
                }
                _ => continue,
            };
            tracing::info!(
                target: "Host.Triggers.DurableTask",
                instanceId = %turn.instance,
                functionName = function,
                functionType = kind,
                state,
                isReplay = false,
                hubName = %self.hub,
                runtimeStatus = %turn.status,
                taskEventId = task.map_or(-1, |task| i64::from(task.0)),
                reason,
                "{}: Function '{function} ({kind})' {}.", turn.instance, state.to_lowercase()
            );
        }
    }
}

impl Listener for Watching {
    fn turned(&self, turn: Turned) {
        self.metrics.turned(&turn);
        if let Some((spans, sender)) = &self.traces {
            let spans = spans.lock().unwrap_or_else(PoisonError::into_inner).of(&turn);
            // A full queue drops spans: nobody waits for a collector.
            spans.into_iter().for_each(|span| drop(sender.try_send(span)));
        }
        if tracing::enabled!(target: "Host.Triggers.DurableTask", tracing::Level::INFO) {
            self.log(&turn);
        }
        if let Some(told) = &self.told {
            drop(told.send(turn.clone()));
        }
        if turn.status.is_terminal() {
            // Nobody listens any more when the host stops.
            drop(self.ended.send(turn));
        }
    }
}
