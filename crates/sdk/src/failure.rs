//! Errors of user code as [`Failure`]s.
//!
//! F1  Whatever turns into a boxed error turns into a failure: errors, strings, `anyhow::Error`.
//! F2  A failure stays as it is; any other error gives its type's name, its message and its chain of sources.

use std::{any::Any, error::Error};

use everstep_model::{Failure, kinds};

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// The kind of failures whose error has no type of its own.
const UNTYPED: &str = "Error";

/// Makes a failure of an error.
///
/// ```
/// let error = "12a".parse::<u32>().unwrap_err();
/// let failure = everstep::failure(error);
/// assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("ParseIntError", "invalid digit found in string"));
/// // Not worth a retry:
/// assert!(everstep::failure("the card has expired").fatal().non_retriable);
/// ```
pub fn failure<E: Into<BoxError>>(error: E) -> Failure {
    of_box(error.into(), short_name(std::any::type_name::<E>()))
}

fn of_box(error: BoxError, kind: &str) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => *failure,
        Err(error) => with_sources(error.as_ref(), kind),
    }
}

fn with_sources(error: &(dyn Error + 'static), kind: &str) -> Failure {
    let failure = Failure::new(kind, error.to_string());
    match error.source() {
        None => failure,
        Some(source) => failure.caused_by(match source.downcast_ref::<Failure>() {
            Some(inner) => inner.clone(),
            None => with_sources(source, UNTYPED),
        }),
    }
}

/// The last segment of a type's path, without parameters. Texts and boxes have no name worth showing.
fn short_name(path: &str) -> &str {
    let plain = path.split('<').next().unwrap_or(path);
    let name = plain.rsplit("::").next().unwrap_or(plain);
    if path.starts_with('&') || matches!(name, "String" | "Box") { UNTYPED } else { name }
}

/// The failure of code that panicked.
pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Failure {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    Failure::new(kinds::PANIC, message)
}

/// A rule was broken; the text says which, and what to do.
pub(crate) fn rule(message: impl Into<String>) -> Failure {
    Failure::new(kinds::RULE, message).fatal()
}

/// The time was up first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time was up")]
pub struct Elapsed;

impl From<Elapsed> for Failure {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(kinds::TIMEOUT, elapsed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the payment was refused")]
    struct PaymentError(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_gives_its_type_message_and_sources() {
        let failure = failure(PaymentError("x".parse::<u8>().unwrap_err()));
        assert_eq!(
            format!("{failure:?}"),
            "PaymentError: the payment was refused <- Error: invalid digit found in string"
        );
    }

    #[test]
    fn a_failure_passes_unchanged_also_in_a_box() {
        let original = Failure::new("Declined", "no funds").fatal();
        assert_eq!(failure(original.clone()), original);
        assert_eq!(failure(BoxError::from(original.clone())), original);
    }

    #[test]
    fn texts_are_plain_errors() {
        assert_eq!(failure("no"), Failure::new("Error", "no"));
        assert_eq!(failure(String::from("no")), Failure::new("Error", "no"));
    }
}
