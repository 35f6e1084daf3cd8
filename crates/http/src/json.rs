//! Values of users inside bodies of ours, and responses that carry JSON.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use everstep_model::Value;
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// What every body is.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The links of an instance, and most statuses, are not longer.
const BODY_BYTES: usize = 1536;

/// A stored value as a part of a body: JSON as it stands, any other text as a JSON string.
#[derive(Debug, Clone)]
pub(crate) enum Free<'a> {
    /// There is none.
    Null,
    /// These bytes.
    Bytes(&'a [u8]),
}

impl<'a> Free<'a> {
    /// A value that is at hand; no bytes at all are `null`.
    pub(crate) fn of(value: Option<&'a Value>) -> Self {
        match value.and_then(Value::inline) {
            Some(bytes) if !bytes.is_empty() => Self::Bytes(bytes),
            _ => Self::Null,
        }
    }

    /// The same, but no bytes at all are `""`.
    pub(crate) fn of_text(value: Option<&'a Value>) -> Self {
        value.and_then(Value::inline).map_or(Self::Null, |bytes| Self::Bytes(bytes))
    }
}

impl Serialize for Free<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bytes(bytes) if bytes.trim_ascii().is_empty() => serializer.serialize_str(""),
            Self::Bytes(bytes) => match serde_json::from_slice::<&RawValue>(bytes) {
                Ok(raw) => raw.serialize(serializer),
                Err(_) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
            },
        }
    }
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A response with a JSON body.
pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    text(status, to_body(body).into())
}

/// A whole body.
pub(crate) fn to_body<T: Serialize + ?Sized>(body: &T) -> Vec<u8> {
    let mut text = Vec::with_capacity(BODY_BYTES);
    serde_json::to_writer(&mut text, body).expect("bodies have texts as keys and no failing parts");
    text
}

/// The compact JSON text of one of our bodies.
pub(crate) fn to_text<T: Serialize + ?Sized>(body: &T) -> String {
    serde_json::to_string(body).expect("bodies have texts as keys and no failing parts")
}

/// A response whose body is JSON text already.
pub(crate) fn text(status: StatusCode, body: Bytes) -> Response {
    with_body(status, Body::from(body))
}

/// A response whose body will be JSON text.
pub(crate) fn with_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Valid JSON without the white space between its parts, as a parser that writes it again would leave it.
pub(crate) fn compact(json: &str) -> String {
    let (mut compact, mut inside, mut escaped) = (String::with_capacity(json.len()), false, false);
    for character in json.chars() {
        if inside {
            inside = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            inside = character == '"';
        }
        compact.push(character);
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(value: &Value) -> String {
        to_text(&Free::of(Some(value)))
    }

    #[test]
    fn what_is_json_stays_as_it_stands() {
        for text in
            [r#"{"b": 1,  "a":1.10}"#, "\"2026-01-02T03:04:05+01:00\"", "null", "1e400", "[[[]]]"]
        {
            assert_eq!(embedded(&text.into()), text);
        }
    }

    #[test]
    fn what_is_not_json_becomes_a_string() {
        assert_eq!(embedded(&"it was time".into()), "\"it was time\"");
        assert_eq!(embedded(&"{\"a\":".into()), r#""{\"a\":""#);
        assert_eq!(embedded(&Bytes::from_static(&[0xff, b'a']).into()), "\"\u{fffd}a\"");
        assert_eq!(embedded(&"  ".into()), "\"\"");
        assert_eq!(embedded(&Value::empty()), "null");
        assert_eq!(to_text(&Free::of_text(Some(&Value::empty()))), "\"\"");
    }

    #[test]
    fn compact_json_keeps_the_blanks_of_its_strings() {
        let text = "{ \"a b\\\" c\" :\n [ 1 , \" \\\\\" , \"\" ] }";
        assert_eq!(compact(text), r#"{"a b\" c":[1," \\",""]}"#);
    }
}
