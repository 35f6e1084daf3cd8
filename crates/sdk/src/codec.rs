//! Values as JSON.
//!
//! J1  No bytes at all read as `null`, so that a call without input fits a function that takes `()` or an `Option`.
//! J2  What does not fit is a [`Failure`] of kind `BadValue` that retrying cannot help.

use std::cell::Cell;

use bytes::Bytes;
use everstep_model::{Failure, Value, kinds};
use serde::{Serialize, de::DeserializeOwned};

/// Texts up to this size are written into a buffer that is used again, and cost one allocation of their exact size.
const COPIED_BYTES_MAX: usize = 16 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The JSON text of a value.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Value, Failure> {
    // Taken out while user code writes, which may come back here.
    let mut buffer = BUFFER.take();
    buffer.clear();
    serde_json::to_writer(&mut buffer, value).map_err(|error| {
        bad(format!("a `{}` cannot be written as JSON: {error}", std::any::type_name::<T>()))
    })?;
    if buffer.len() > COPIED_BYTES_MAX {
        return Ok(Value::Inline(buffer.into()));
    }
    let bytes = Bytes::copy_from_slice(&buffer);
    BUFFER.set(buffer);
    Ok(Value::Inline(bytes))
}

/// A value from its JSON text.
pub(crate) fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    let bytes = value.inline().ok_or_else(|| bad("a value that is stored apart was not loaded"))?;
    let text: &[u8] = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(text).map_err(|error| {
        bad(format!(
            "expected a `{}`, found {}: {error}",
            std::any::type_name::<T>(),
            excerpt(text)
        ))
    })
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::new(kinds::SERDE, message).fatal()
}

fn excerpt(text: &[u8]) -> String {
    const SHOWN: usize = 60;
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(SHOWN) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}...`", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_does_not_fit_is_shown_beside_what_was_expected() {
        let failure = decode::<u32>(&Value::from("\"seven\"")).unwrap_err();
        assert_eq!(failure.kind, kinds::SERDE);
        assert!(failure.non_retriable);
        assert!(failure.message.starts_with("expected a `u32`, found `\"seven\"`: invalid type"));
    }

    #[test]
    fn no_bytes_read_as_nothing() {
        assert_eq!(decode::<Option<u8>>(&Value::empty()), Ok(None));
        assert_eq!(decode::<()>(&Value::empty()), Ok(()));
    }
}
