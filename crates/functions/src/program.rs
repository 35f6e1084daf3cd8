//! The seam between the host and an app's code, whatever its language.
//!
//! A [`Program`] lists its functions as `function.json` would and runs one at a time it is told to. Functions written in
//! Rust, custom handlers that speak HTTP and processes of other languages are programs alike: the host knows no other
//! door to user code.
//!
//! P1  A program does not listen, poll or wait for anything outside: triggers are the host's.
//! P2  The list of functions does not change while a program runs; other code is another program.
//! P3  Orchestrators, activities and entities go through [`Worker`], never through [`Program::invoke`].

use std::{path::PathBuf, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use everstep_model::{Failure, Guid, Timestamp, TraceContext};
use everstep_worker::{BoxFuture, Worker};
use serde_json::{Map, Value};

/// An app's code.
pub trait Program: Send + Sync + 'static {
    /// The language of `FUNCTIONS_WORKER_RUNTIME`: `rust`, `custom`, `python`.
    fn language(&self) -> &str;

    /// Every function of the app, in the order in which it is to be shown.
    fn functions(&self) -> Vec<Function>;

    /// Runs a function that is not durable. Dropping the future gives the invocation up.
    fn invoke(&self, call: Invocation) -> BoxFuture<Result<Answer, Failure>>;

    /// Runs the durable ones.
    fn worker(&self) -> Arc<dyn Worker>;
}

/// A function and what it is bound to.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name; compared without case.
    pub name: String,
    /// Exactly one of them is a trigger.
    pub bindings: Vec<Binding>,
    /// Whether its own configuration switches it off.
    pub disabled: bool,
    /// The file that holds its code, for messages.
    pub source: Option<PathBuf>,
    /// What its own configuration says of retries, as `function.json` has it.
    pub retry: Option<Value>,
}

/// One binding, as in `function.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// `httpTrigger`, `queue`, ...; compared without case.
    pub kind: String,
    /// Which way data goes.
    pub direction: Direction,
    /// The parameter's name, or `$return`.
    pub name: String,
    /// Everything else that stands there, with the case of its keys kept.
    pub properties: Map<String, Value>,
}

/// Which way a binding's data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the function.
    In,
    /// From the function.
    Out,
    /// Both.
    InOut,
}

/// One run of a function.
#[derive(Debug)]
pub struct Invocation {
    /// Names this run in logs.
    pub id: Guid,
    /// The function.
    pub function: Arc<str>,
    /// What started it.
    pub trigger: Trigger,
    /// Binding data: route parameters, queue metadata, properties of a JSON body.
    pub data: Map<String, Value>,
    /// The values of input bindings other than the trigger, by the binding's name.
    pub inputs: Vec<(String, Data)>,
    /// The trace that this run belongs to.
    pub trace: Option<TraceContext>,
    /// How often the host ran it for the same reason before, by the retry policy.
    pub retries: u32,
}

/// What starts a function.
#[derive(Debug)]
pub enum Trigger {
    /// A request. Its URI is absolute; its body may still be arriving.
    Http(http::Request<Body>),
    /// A time on a schedule.
    Timer(TimerEvent),
    /// A message of a queue; its metadata stands in the binding data.
    Queue(Bytes),
    /// A blob; its path and properties stand in the binding data.
    Blob(Bytes),
    /// One event of Event Grid, or a list of them where the binding's cardinality is `many`.
    EventGrid(Value),
    /// Somebody ran it by hand with this text.
    Manual(String),
}

/// What a timer's function is told.
#[derive(Debug, Clone, PartialEq)]
pub struct TimerEvent {
    /// Whether the scheduled time had passed while nobody was there.
    pub is_past_due: bool,
    /// Whether the schedule follows daylight saving time.
    pub adjust_for_dst: bool,
    /// What is kept of the schedule; `None` where it is not monitored.
    pub status: Option<ScheduleStatus>,
}

/// What is kept of a schedule between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// The scheduled time of the last run.
    pub last: Timestamp,
    /// The next scheduled time.
    pub next: Timestamp,
    /// When this was last written.
    pub last_updated: Timestamp,
}

/// Data of a binding.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// JSON.
    Json(Value),
    /// Text that is not to be taken for JSON.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
    /// Several, each a message of its own.
    Many(Vec<Data>),
}

/// What a function gives back.
#[derive(Debug, Default)]
pub struct Answer {
    /// The response, where the program has made one itself.
    pub response: Option<http::Response<Body>>,
    /// What it returned, if anything.
    pub value: Option<Data>,
    /// Its output bindings by name.
    pub outputs: Vec<(String, Data)>,
}
