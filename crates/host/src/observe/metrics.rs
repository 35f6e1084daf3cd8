//! Metrics, as `/metrics` shows them: counters and histograms in Prometheus's text form.
//!
//! N1  No metric is labelled by instance: the number of series is bounded by the app's functions.
//! N2  Times are in seconds, sizes in bytes; a counter's name ends in `_total`.
//! N3  What a store or a client knows is asked for when somebody reads, and not counted again here.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use everstep_model::{Event, EventId, ExecutionId, Kind, Outcome, Status, Timestamp};
use everstep_runtime::lifecycle::Turned;

/// Upper ends of the buckets of every time, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0];

/// Every metric with its kind and what it says.
const METRICS: [(&str, &str, &str); 13] = [
    ("durable_orchestrations_started_total", "counter", "Orchestrations that were started."),
    ("durable_orchestrations_completed_total", "counter", "Orchestrations that ended, by how."),
    (
        "durable_orchestration_duration_seconds",
        "histogram",
        "From the start of an orchestration to its end.",
    ),
    ("durable_orchestration_turns_total", "counter", "Turns that are durable."),
    ("durable_activities_total", "counter", "Activity attempts that ended, by how."),
    (
        "durable_activity_seconds",
        "histogram",
        "From the call of an activity until its result stood in history.",
    ),
    ("durable_timer_lag_seconds", "histogram", "How late timers fired."),
    ("durable_instances", "gauge", "Instances in the hub, by kind and status."),
    ("durable_store_unfolded_bytes", "gauge", "Log that is not in the tables yet."),
    ("durable_store_disk_full", "gauge", "1 while the disk is full."),
    (
        "durable_function_invocations_total",
        "counter",
        "Runs of functions that are not durable, by how they ended.",
    ),
    ("durable_function_running", "gauge", "Runs of functions that are not durable under way."),
    ("durable_host_uptime_seconds", "gauge", "Since the host was ready."),
];

/// The names of all metrics, for the documents and their tests.
pub fn names() -> impl Iterator<Item = &'static str> {
    METRICS.iter().map(|(name, ..)| *name)
}

type Labels = Vec<(&'static str, String)>;

/// What has been counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    counters: BTreeMap<(&'static str, Labels), u64>,
    times: BTreeMap<(&'static str, Labels), Times>,
    open: HashMap<(ExecutionId, EventId), Open>,
}

#[derive(Debug)]
enum Open {
    Task { name: String, at: Timestamp },
    Timer { due: Timestamp },
}

#[derive(Debug, Default)]
struct Times {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What is asked for at the time of reading.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) instances: Vec<(Kind, Status, u64)>,
    pub(crate) unfolded_bytes: u64,
    pub(crate) disk_full: bool,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) running: usize,
    pub(crate) uptime: Duration,
}

impl Metrics {
    /// Counts a durable turn.
    pub(crate) fn turned(&self, turn: &Turned) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let name = || vec![("name", turn.name.clone())];
        counted.count("durable_orchestration_turns_total", name());
        for event in &turn.events {
            counted.event(turn, event);
        }
        if turn.status.is_terminal() {
            counted.open.retain(|(execution, _), _| *execution != turn.execution_id);
        }
    }

    /// All metrics as text.
    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let mut text = String::new();
        self.write(gauges, &mut text).expect("a text takes what is written to it");
        text
    }

    fn write(&self, gauges: &Gauges, out: &mut String) -> std::fmt::Result {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, kind, help) in METRICS {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            for ((_, labels), count) in counted.counters.iter().filter(|((of, _), _)| *of == name) {
                writeln!(out, "{name}{} {count}", shown(labels))?;
            }
            for ((_, labels), times) in counted.times.iter().filter(|((of, _), _)| *of == name) {
                times.write(name, labels, out)?;
            }
            gauges.write(name, out)?;
        }
        Ok(())
    }
}

impl Counted {
    fn event(&mut self, turn: &Turned, event: &Event) {
        let name = || vec![("name", turn.name.clone())];
        let key = |id: EventId| (turn.execution_id.clone(), id);
        match event {
            Event::Started(_) if turn.instance.kind() == Kind::Orchestration => {
                self.count("durable_orchestrations_started_total", name());
            }
            Event::TaskScheduled { id, name, .. } => {
                self.open.insert(key(*id), Open::Task { name: name.clone(), at: turn.now });
            }
            Event::TimerCreated { id, fire_at, .. } => {
                self.open.insert(key(*id), Open::Timer { due: *fire_at });
            }
            Event::TaskEnded { task, outcome } => {
                let Some(Open::Task { name, at }) = self.open.remove(&key(*task)) else { return };
                let outcome = match outcome {
                    Outcome::Completed(_) => "completed",
                    Outcome::Failed(_) => "failed",
                };
                let labels = vec![("name", name.clone()), ("outcome", outcome.to_owned())];
                self.count("durable_activities_total", labels);
                self.time("durable_activity_seconds", vec![("name", name)], turn.now.since(at));
            }
            Event::TimerFired { timer } => {
                let Some(Open::Timer { due }) = self.open.remove(&key(*timer)) else { return };
                self.time("durable_timer_lag_seconds", Vec::new(), turn.now.since(due));
            }
            Event::TimerCanceled { timer } => drop(self.open.remove(&key(*timer))),
            Event::Completed { .. } => self.ended(turn, Status::Completed),
            Event::Failed { .. } => self.ended(turn, Status::Failed),
            Event::Terminated { .. } => self.ended(turn, Status::Terminated),
            _ => {}
        }
    }

    fn ended(&mut self, turn: &Turned, status: Status) {
        let labels = vec![("name", turn.name.clone()), ("status", status.to_string())];
        self.count("durable_orchestrations_completed_total", labels);
        let labels = vec![("name", turn.name.clone())];
        self.time("durable_orchestration_duration_seconds", labels, turn.now.since(turn.created));
    }

    fn count(&mut self, name: &'static str, labels: Labels) {
        *self.counters.entry((name, labels)).or_default() += 1;
    }

    fn time(&mut self, name: &'static str, labels: Labels, time: Duration) {
        let times = self.times.entry((name, labels)).or_default();
        let seconds = time.as_secs_f64();
        times.count += 1;
        times.sum += seconds;
        if let Some(bucket) = BUCKETS.iter().position(|end| seconds <= *end) {
            times.buckets[bucket] += 1;
        }
    }
}

impl Times {
    fn write(&self, name: &str, labels: &Labels, out: &mut String) -> std::fmt::Result {
        let mut upto = 0;
        for (end, count) in BUCKETS.iter().zip(self.buckets) {
            upto += count;
            let labels = with(labels, "le", end.to_string());
            writeln!(out, "{name}_bucket{} {upto}", shown(&labels))?;
        }
        let all = with(labels, "le", "+Inf".to_owned());
        writeln!(out, "{name}_bucket{} {}", shown(&all), self.count)?;
        writeln!(out, "{name}_sum{} {}", shown(labels), self.sum)?;
        writeln!(out, "{name}_count{} {}", shown(labels), self.count)
    }
}

impl Gauges {
    fn write(&self, name: &str, out: &mut String) -> std::fmt::Result {
        match name {
            "durable_instances" => {
                for (kind, status, count) in &self.instances {
                    let kind = match kind {
                        Kind::Orchestration => "orchestration",
                        Kind::Entity => "entity",
                    };
                    let labels = vec![("kind", kind.to_owned()), ("status", status.to_string())];
                    writeln!(out, "{name}{} {count}", shown(&labels))?;
                }
                Ok(())
            }
            "durable_store_unfolded_bytes" => writeln!(out, "{name} {}", self.unfolded_bytes),
            "durable_store_disk_full" => writeln!(out, "{name} {}", u8::from(self.disk_full)),
            "durable_function_invocations_total" => {
                writeln!(out, "{name}{{outcome=\"succeeded\"}} {}", self.succeeded)?;
                writeln!(out, "{name}{{outcome=\"failed\"}} {}", self.failed)
            }
            "durable_function_running" => writeln!(out, "{name} {}", self.running),
            "durable_host_uptime_seconds" => {
                writeln!(out, "{name} {:.3}", self.uptime.as_secs_f64())
            }
            _ => Ok(()),
        }
    }
}

fn with(labels: &Labels, name: &'static str, value: String) -> Labels {
    labels.iter().cloned().chain([(name, value)]).collect()
}

fn shown(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", labels.join(","))
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use everstep_model::{InstanceId, Tags, Value};

    use super::*;

    fn turn(now: u64, status: Status, events: Vec<Event>) -> Turned {
        let at = |seconds| Timestamp::EPOCH.after(Duration::from_secs(seconds));
        Turned {
            instance: InstanceId::from_stored("order-1"),
            execution_id: ExecutionId::new("e1"),
            name: "a \"quoted\" name".to_owned(),
            version: String::new(),
            status,
            created: at(1),
            now: at(now),
            trace: None,
            events,
        }
    }

    #[test]
    fn turns_become_counters_and_times() {
        let metrics = Metrics::default();
        let (input, tags) = (Value::empty(), Tags::new());
        let id = EventId(0);
        let call = Event::TaskScheduled { id, name: "Charge".into(), input, tags, origin: None };
        metrics.turned(&turn(1, Status::Running, vec![call]));
        let ended = Event::TaskEnded { task: id, outcome: Outcome::Completed(Value::empty()) };
        let completed = Event::Completed { output: Value::empty() };
        metrics.turned(&turn(3, Status::Completed, vec![ended, completed]));
        let gauges = Gauges {
            instances: vec![(Kind::Orchestration, Status::Completed, 1)],
            succeeded: 4,
            uptime: Duration::from_secs(9),
            ..Gauges::default()
        };
        insta::assert_snapshot!(metrics.text(&gauges));
        assert!(metrics.counted.lock().unwrap().open.is_empty());
    }
}
