//! What users hand in and get back: opaque bytes, never looked into.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;

use crate::Iid;

/// Names given to an instance by its starter, for queries.
pub type Tags = BTreeMap<String, String>;

/// An input, an output, a state: either at hand or stored apart.
///
/// A reference belongs to one instance and dies with it; another instance gets a copy of the bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// The bytes themselves.
    Inline(Bytes),
    /// The bytes lie in the payload table.
    Ref(PayloadRef),
}

/// Names a payload that is stored apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadRef {
    /// The instance it belongs to.
    pub iid: Iid,
    /// The execution that made it.
    pub execution: u32,
    /// Its number within the execution.
    pub n: u32,
    /// Its length in bytes.
    pub len: u32,
    /// crc32c of the bytes.
    pub crc: u32,
}

impl Value {
    /// The bytes of a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Inline(Bytes::from(text.into()))
    }

    /// No bytes at all; what a call without input carries.
    pub fn empty() -> Self {
        Self::Inline(Bytes::new())
    }

    /// The bytes, if they are at hand.
    pub fn inline(&self) -> Option<&Bytes> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Ref(_) => None,
        }
    }

    /// How many bytes it stands for.
    pub fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Ref(payload) => payload.len as usize,
        }
    }

    /// Whether it stands for no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Inline(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Inline(bytes)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) if bytes.len() <= 256 => {
                write!(f, "{}", String::from_utf8_lossy(bytes))
            }
            Self::Inline(bytes) => write!(f, "<{} bytes>", bytes.len()),
            Self::Ref(payload) => write!(f, "<{} bytes, payload {}>", payload.len, payload.n),
        }
    }
}

/// W3C trace context, handed through every hop as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub traceparent: Arc<str>,
    /// The `tracestate` header, empty if there was none.
    pub tracestate: Arc<str>,
}
