//! Values, failures and times as text.
//!
//! X1  A value that is UTF-8 is its own text. Other bytes are `base64:` and their Base64 form. No bytes are null.
//! X2  Times are ISO 8601 in UTC with seven digits of a second, so that they sort as text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use everstep_model::{Failure, Timestamp, Value};
use serde_json::{Map, json};

/// What a value looks like to a query.
pub(crate) fn of_bytes(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    Some(text.unwrap_or_else(|_| format!("base64:{}", STANDARD.encode(bytes))))
}

/// Puts a value under a name; one that is stored apart goes under `<name>_ref`, as execution and number.
pub(crate) fn put_value(line: &mut Map<String, serde_json::Value>, name: &str, value: &Value) {
    match value {
        Value::Inline(bytes) => {
            if let Some(text) = of_bytes(bytes) {
                line.insert(name.to_owned(), text.into());
            }
        }
        Value::Ref(payload) => {
            line.insert(format!("{name}_ref"), json!([payload.execution, payload.n]));
        }
    }
}

/// The causes of a failure, the outermost first, in the form that the tables have.
pub(crate) fn of_failure(failure: &Failure) -> String {
    let causes = std::iter::successors(Some(failure), |failure| failure.inner.as_deref());
    let causes = causes.map(|cause| {
        let Failure { kind, message, stack, non_retriable, inner: _ } = cause;
        json!({ "kind": kind, "message": message, "stack": stack, "nonRetriable": non_retriable })
    });
    causes.collect::<serde_json::Value>().to_string()
}

/// Reads a time: with an offset, or in UTC if it has none, or a date alone.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let found = text.parse::<jiff::Timestamp>().or_else(|_| {
        let civil = text.parse::<jiff::civil::DateTime>()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    let found = found.map_err(|_| {
        format!("`{text}` is no time; write `2026-11-21`, `2026-11-21 04:05:06` or `2026-11-21T04:05:06Z`")
    })?;
    let ticks = i64::try_from(found.as_nanosecond() / 100).unwrap_or(i64::MAX);
    Ok(Timestamp::from_ticks(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_an_offset() {
        let text = |text: &str| time(text).unwrap().to_string();
        assert_eq!(text("2026-11-21"), "2026-11-21T00:00:00.0000000Z");
        assert_eq!(text("2026-11-21 04:05:06"), "2026-11-21T04:05:06.0000000Z");
        assert_eq!(text("2026-11-21T04:05:06.1234567Z"), "2026-11-21T04:05:06.1234567Z");
        assert_eq!(text("2026-11-21T04:05:06+02:00"), "2026-11-21T02:05:06.0000000Z");
        assert_eq!(
            time("yesterday").unwrap_err(),
            "`yesterday` is no time; write `2026-11-21`, `2026-11-21 04:05:06` or `2026-11-21T04:05:06Z`"
        );
    }

    #[test]
    fn bytes_that_are_no_text_appear_in_base64() {
        assert_eq!(of_bytes(b""), None);
        assert_eq!(of_bytes(b"{\"a\":1}").unwrap(), "{\"a\":1}");
        assert_eq!(of_bytes(&[0xff, 0x00]).unwrap(), "base64:/wA=");
    }
}
