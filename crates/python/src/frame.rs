//! What goes over the two pipes of a process: one JSON object a line.
//!
//! Bytes are base64. JSON that user code made travels as text, so that it stays as the SDK wrote it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A frame from a process.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(crate) enum Incoming {
    /// The app is loaded, or cannot be.
    Ready(Ready),
    /// A response begins while its call goes on.
    Head(Head),
    /// More of the body of such a response.
    Part(Part),
    /// A call ended.
    Res(CallEnded),
    /// A turn of an orchestrator ended.
    Turned(Turned),
    /// User code or the worker said something.
    Log(LogLine),
}

/// What a process says first.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Ready {
    #[serde(default)]
    pub(crate) functions: Vec<Listed>,
    pub(crate) py: String,
    #[serde(default)]
    pub(crate) executable: String,
    pub(crate) sdk: Option<String>,
    pub(crate) durable: Option<String>,
    /// Why the app could not be loaded.
    pub(crate) error: Option<String>,
    /// The module that was not found.
    pub(crate) missing: Option<String>,
}

/// A function as the process found it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) script_file: Option<String>,
    /// Where it begins in that file.
    pub(crate) line: Option<u32>,
    #[serde(default)]
    pub(crate) bindings: Vec<Map<String, Value>>,
    pub(crate) retry: Option<Map<String, Value>>,
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) missing: Option<String>,
}

/// How the functions of an app are declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Model {
    /// A folder each, with a `function.json`.
    V1,
    /// By decorators.
    V2,
}

/// A response whose body comes in parts, and what the function gave to its other bindings.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: u64,
    pub(crate) ret: Typed,
    #[serde(default)]
    pub(crate) out: Map<String, Value>,
}

/// A part of a body.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) id: u64,
    body: String,
}

impl Part {
    pub(crate) fn to_bytes(&self) -> Bytes {
        STANDARD.decode(&self.body).unwrap_or_default().into()
    }
}

/// How a call ended.
#[derive(Debug, Deserialize)]
pub(crate) struct CallEnded {
    pub(crate) id: u64,
    pub(crate) ok: bool,
    pub(crate) ret: Option<Typed>,
    #[serde(default)]
    pub(crate) out: Map<String, Value>,
    pub(crate) err: Option<Thrown>,
}

/// An exception.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Thrown {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The class, a colon, and what it says.
    #[serde(alias = "text")]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) stack: String,
}

/// What became of a turn.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Turned {
    pub(crate) id: u64,
    /// The execution is not there; its whole history is needed.
    #[serde(default)]
    pub(crate) need: bool,
    /// The index of an event, and the actions that followed it.
    #[serde(default)]
    pub(crate) steps: Vec<(u32, Vec<Map<String, Value>>)>,
    /// Numbers of actions, counted from the first: timers that the code gave up.
    #[serde(default)]
    pub(crate) canceled: Vec<u32>,
    /// Indexes of events from outside that nothing waits for.
    #[serde(default)]
    pub(crate) held: Vec<u32>,
    #[serde(default)]
    pub(crate) over: bool,
    pub(crate) output: Option<String>,
    pub(crate) error: Option<Thrown>,
    pub(crate) status: Option<String>,
    /// What the code waits for, where the process can tell.
    pub(crate) wait: Option<WaitTree>,
    /// The number that the SDK gives to its next task.
    pub(crate) next: Option<u32>,
    /// Where in the code all of it happened, if that was asked for and can be told.
    pub(crate) trace: Option<Traced>,
}

/// Where in the code things happened.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Traced {
    /// For each action, counted from the first.
    pub(crate) asked: Vec<Option<Place>>,
    /// The index of an event, and where the code stood after it.
    pub(crate) stood: Vec<(u32, Option<Place>)>,
}

/// A line of code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Place {
    /// The file, as Python calls it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The function.
    pub function: String,
    /// What stands there.
    pub text: String,
}

/// What an orchestrator waits for, by the SDK's numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) enum WaitTree {
    /// A task.
    #[serde(rename = "t")]
    Task(u32),
    /// An event of this name.
    #[serde(rename = "e")]
    Event(String),
    /// All of these.
    #[serde(rename = "all")]
    All(Vec<WaitTree>),
    /// The first of these.
    #[serde(rename = "any")]
    Any(Vec<WaitTree>),
}

/// A line of a log.
#[derive(Debug, Deserialize)]
pub(crate) struct LogLine {
    pub(crate) lvl: u8,
    pub(crate) cat: String,
    pub(crate) msg: String,
    #[serde(rename = "fn")]
    pub(crate) function: Option<String>,
    pub(crate) inv: Option<String>,
    pub(crate) inst: Option<String>,
}

/// A frame for a process that lacks only its number.
#[derive(Debug)]
pub(crate) struct Frame(String);

impl Frame {
    /// Of an object that is not empty.
    pub(crate) fn of(object: &Value) -> Self {
        let mut text = object.to_string();
        text.pop();
        Self(text)
    }

    /// The line that is sent.
    pub(crate) fn numbered(&self, id: u64) -> String {
        format!("{},\"id\":{id}}}\n", self.0)
    }
}

/// A value and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Typed {
    /// `string`, `json`, `bytes`, `http`, `int`, `double`.
    pub(crate) k: String,
    pub(crate) v: Value,
}

impl Typed {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { k: "string".to_owned(), v: Value::String(text.into()) }
    }

    /// JSON as a text.
    pub(crate) fn json(text: impl Into<String>) -> Self {
        Self { k: "json".to_owned(), v: Value::String(text.into()) }
    }

    pub(crate) fn bytes(bytes: &Bytes) -> Self {
        Self { k: "bytes".to_owned(), v: Value::String(STANDARD.encode(bytes)) }
    }

    pub(crate) fn value(&self) -> Value {
        json!(self)
    }

    /// The text of a string or of JSON.
    pub(crate) fn as_text(&self) -> Option<&str> {
        self.v.as_str()
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let decoded = self.v.as_str().map(|text| STANDARD.decode(text).unwrap_or_default());
        decoded.unwrap_or_default().into()
    }
}
