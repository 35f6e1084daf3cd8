//! What a function gave back, as a response.
//!
//! A1  A response that the program made itself goes out as it is.
//! A2  An object with a status or a body is a description of a response; any other value is its body.
//! A3  Nothing at all is 204.

use axum::body::Body;
use everstep::Failure;
use everstep_functions::program::{Answer, Data};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::{BAD_REQUEST, Response};

/// A refusal in the form of the management API: `{"Message": ...}`.
pub fn refusal(status: u16, message: &str) -> Response {
    let body = serde_json::json!({ "Message": message }).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A response without a body.
pub(crate) fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The response to a request that a function handled. `output` is the name of its HTTP output binding, if it has one.
pub(crate) fn response(ended: Result<Answer, Failure>, output: Option<&str>) -> Response {
    let answer = match ended {
        Ok(answer) => answer,
        Err(failure) if failure.kind == BAD_REQUEST => return refusal(400, &failure.message),
        // What went wrong stands in the log; a stranger is not told.
        Err(_) => return bare(StatusCode::INTERNAL_SERVER_ERROR),
    };
    if let Some(response) = answer.response {
        return response;
    }
    let named = output.and_then(|output| {
        let mut outputs = answer.outputs.into_iter();
        outputs.find(|(name, _)| name.eq_ignore_ascii_case(output)).map(|(_, data)| data)
    });
    match named.or(answer.value) {
        None => bare(StatusCode::NO_CONTENT),
        Some(Data::Json(Value::Object(object))) if describes_a_response(&object) => {
            described(&object)
        }
        Some(data) => with_body(StatusCode::OK, data),
    }
}

fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn describes_a_response(object: &Map<String, Value>) -> bool {
    ["status", "statusCode", "body", "headers"].iter().any(|name| find(object, name).is_some())
}

fn described(object: &Map<String, Value>) -> Response {
    let status =
        find(object, "statusCode").or(find(object, "status")).map_or(Some(200), |status| {
            match status {
                Value::Number(number) => {
                    number.as_u64().and_then(|number| u16::try_from(number).ok())
                }
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            }
        });
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        tracing::error!(target: "Host.Executor", "a function's response has a status that is no HTTP status");
        return bare(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let body = find(object, "body").cloned().unwrap_or(Value::Null);
    let mut response = match body {
        Value::Null => bare(status),
        Value::String(text) => with_body(status, Data::Text(text)),
        other => with_body(status, Data::Json(other)),
    };
    let headers = find(object, "headers").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in headers {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match (http::HeaderName::try_from(name.as_str()), HeaderValue::try_from(&value)) {
            (Ok(name), Ok(value)) => drop(response.headers_mut().insert(name, value)),
            _ => {
                tracing::warn!(target: "Host.Executor", header = %name, "a header of a function's response is none and is left out");
            }
        }
    }
    response
}

fn with_body(status: StatusCode, data: Data) -> Response {
    let (body, content_type) = match data {
        Data::Json(value) => (Body::from(value.to_string()), "application/json; charset=utf-8"),
        Data::Text(text) => (Body::from(text), "text/plain; charset=utf-8"),
        Data::Bytes(bytes) => (Body::from(bytes), "application/octet-stream"),
        Data::Many(all) => {
            let all: Value = all.into_iter().map(plain).collect();
            (Body::from(all.to_string()), "application/json; charset=utf-8")
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn plain(data: Data) -> Value {
    match data {
        Data::Json(value) => value,
        Data::Text(text) => Value::String(text),
        Data::Bytes(bytes) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
        Data::Many(all) => all.into_iter().map(plain).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(ended: Result<Answer, Failure>) -> String {
        let response = response(ended, Some("res"));
        let (parts, body) = response.into_parts();
        let mut headers: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, value)| format!(" {name}={}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        format!("{}{} {body}", parts.status.as_u16(), headers.concat())
    }

    fn value(text: &str) -> Answer {
        let value = serde_json::from_str(text).unwrap();
        Answer { value: Some(Data::Json(value)), ..Answer::default() }
    }

    #[tokio::test]
    async fn a_description_becomes_the_response_it_describes() {
        let ended = value(r#"{"status": 201, "headers": {"x-a": 1}, "body": {"b": 2}}"#);
        assert_eq!(
            shown(Ok(ended)).await,
            r#"201 content-type=application/json; charset=utf-8 x-a=1 {"b":2}"#
        );
        let ended = value(r#"{"StatusCode": "404", "body": "gone"}"#);
        assert_eq!(shown(Ok(ended)).await, "404 content-type=text/plain; charset=utf-8 gone");
        assert_eq!(shown(Ok(value(r#"{"status": 1}"#))).await, "500 ");
    }

    #[tokio::test]
    async fn another_value_is_the_body_and_nothing_is_no_content() {
        assert_eq!(
            shown(Ok(value(r#"{"a": 1}"#))).await,
            r#"200 content-type=application/json; charset=utf-8 {"a":1}"#
        );
        let text = Answer { value: Some(Data::Text("hi".into())), ..Answer::default() };
        assert_eq!(shown(Ok(text)).await, "200 content-type=text/plain; charset=utf-8 hi");
        assert_eq!(shown(Ok(Answer::default())).await, "204 ");
    }

    #[tokio::test]
    async fn the_http_output_wins_over_what_was_returned() {
        let outputs = vec![("RES".to_owned(), Data::Text("output".into()))];
        let answer = Answer { outputs, value: Some(Data::Text("value".into())), response: None };
        assert_eq!(shown(Ok(answer)).await, "200 content-type=text/plain; charset=utf-8 output");
    }

    #[tokio::test]
    async fn a_failure_is_500_without_a_word_unless_it_is_the_callers() {
        assert_eq!(shown(Err(Failure::new("Io", "secret"))).await, "500 ");
        let bad = Failure::new(BAD_REQUEST, "no such order");
        assert_eq!(
            shown(Err(bad)).await,
            r#"400 content-type=application/json; charset=utf-8 {"Message":"no such order"}"#
        );
    }
}
