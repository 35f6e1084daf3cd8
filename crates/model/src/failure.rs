//! Why something did not end well.

use std::fmt;

use crate::Value;

/// The `kind` of failures that Everstep itself reports.
pub mod kinds {
    /// User code panicked.
    pub const PANIC: &str = "Panic";
    /// An activity took its process down several times.
    pub const POISON: &str = "Poison";
    /// A time limit of a function was exceeded.
    pub const TIMEOUT: &str = "Timeout";
    /// No function of that name exists.
    pub const NOT_FOUND: &str = "FunctionNotFound";
    /// A child's id is in use by a live instance.
    pub const ALREADY_EXISTS: &str = "InstanceAlreadyExists";
    /// Someone ended the instance.
    pub const TERMINATED: &str = "Terminated";
    /// A value, a history or a turn was larger than the hub allows.
    pub const TOO_LARGE: &str = "LimitExceeded";
    /// User code broke a rule of orchestrations or critical sections.
    pub const RULE: &str = "RuleViolation";
    /// A value did not have the form that the code expects.
    pub const SERDE: &str = "BadValue";
}

/// What failed, where, and because of what.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// The type of the error, as the language names it.
    pub kind: String,
    /// What it says.
    pub message: String,
    /// Where it happened; empty if not known.
    pub stack: String,
    /// What caused it.
    pub inner: Option<Box<Failure>>,
    /// Retrying cannot help.
    pub non_retriable: bool,
}

impl Failure {
    /// A failure without stack or cause.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), ..Self::default() }
    }

    /// The same, with a cause.
    #[must_use]
    pub fn caused_by(mut self, inner: Failure) -> Self {
        self.inner = Some(Box::new(inner));
        self
    }

    /// The same, not worth a retry.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.non_retriable = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        self.inner.iter().try_for_each(|inner| write!(f, " <- {inner:?}"))
    }
}

impl std::error::Error for Failure {}

/// How a call ended.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With a value.
    Completed(Value),
    /// Without one.
    Failed(Box<Failure>),
}

impl Outcome {
    /// The two cases as a `Result`.
    pub fn into_result(self) -> Result<Value, Failure> {
        match self {
            Self::Completed(value) => Ok(value),
            Self::Failed(failure) => Err(*failure),
        }
    }
}

impl From<Result<Value, Failure>> for Outcome {
    fn from(result: Result<Value, Failure>) -> Self {
        match result {
            Ok(value) => Self::Completed(value),
            Err(failure) => Self::Failed(Box::new(failure)),
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(value) => write!(f, "ok {value:?}"),
            Self::Failed(failure) => write!(f, "failed {failure:?}"),
        }
    }
}
