//! Values of bindings on their way to a function and back.

use std::collections::BTreeMap;

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use everstep_functions::{
    cron::{self, Zone},
    program::{Data, Trigger},
};
use everstep_model::Failure;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{activity::parsed, frame::Typed};

/// The body of a request may be this long.
const BODY_MAX: usize = 100 << 20;

/// What started a function. `kind` is that of its trigger.
pub(crate) async fn trigger(
    trigger: Trigger,
    kind: &str,
    data: &Map<String, Value>,
) -> Result<Typed, Failure> {
    Ok(match trigger {
        Trigger::Http(request) => request_value(request, data).await?,
        Trigger::Timer(event) => Typed::json(cron::trigger_value(&event, &Zone::UTC).to_string()),
        Trigger::Queue(bytes) => text_or_bytes(&bytes),
        Trigger::Blob(bytes) => Typed::bytes(&bytes),
        Trigger::EventGrid(event) => Typed::json(event.to_string()),
        Trigger::Manual(_) if kind.eq_ignore_ascii_case("timerTrigger") => Typed::json(
            json!({
                "Schedule": { "AdjustForDST": true }, "ScheduleStatus": null, "IsPastDue": false,
            })
            .to_string(),
        ),
        Trigger::Manual(text) => Typed::text(text),
    })
}

fn text_or_bytes(bytes: &Bytes) -> Typed {
    match std::str::from_utf8(bytes) {
        Ok(text) => Typed::text(text),
        Err(_) => Typed::bytes(bytes),
    }
}

/// A request. Names of headers are in lower case, values of one name have commas between; empty query values are left out.
async fn request_value(
    request: http::Request<Body>,
    data: &Map<String, Value>,
) -> Result<Typed, Failure> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX).await.map_err(|error| {
        Failure::new("BadRequest", format!("the body of the request did not arrive: {error}"))
    })?;
    let mut headers = BTreeMap::<&str, String>::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str())
            .and_modify(|values| *values = format!("{values},{value}"))
            .or_insert_with(|| value.into_owned());
    }
    let mut query = BTreeMap::<String, String>::new();
    for pair in parts.uri.query().unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !value.is_empty() {
            query
                .entry(decoded(name))
                .and_modify(|values| *values = format!("{values},{}", decoded(value)))
                .or_insert_with(|| decoded(value));
        }
    }
    let params: BTreeMap<_, _> =
        data.iter().filter_map(|(name, value)| Some((name, value.as_str()?))).collect();
    let value = json!({
        "method": parts.method.as_str(),
        "url": parts.uri.to_string(),
        "headers": headers,
        "query": query,
        "params": params,
        "body": STANDARD.encode(&body),
    });
    Ok(Typed { k: "http".to_owned(), v: value })
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// The value of another binding.
pub(crate) fn input(data: Data) -> Typed {
    match data {
        Data::Text(text) => Typed::text(text),
        Data::Json(value) => Typed::json(value.to_string()),
        Data::Bytes(bytes) => Typed::bytes(&bytes),
        Data::Many(all) => Typed::json(all.into_iter().map(json_of).collect::<Value>().to_string()),
    }
}

fn json_of(data: Data) -> Value {
    match data {
        Data::Text(text) => Value::String(text),
        Data::Json(value) => value,
        Data::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
        Data::Many(all) => all.into_iter().map(json_of).collect(),
    }
}

/// One entry of the binding data.
pub(crate) fn metadata(value: &Value) -> Typed {
    match value {
        Value::String(text) => Typed::text(text.clone()),
        other => Typed::json(other.to_string()),
    }
}

/// What a function gave to a binding that is not HTTP.
pub(crate) fn output(typed: &Typed) -> Data {
    match (typed.k.as_str(), typed.as_text()) {
        ("json", Some(text)) => many(parsed(text)),
        ("bytes", _) => Data::Bytes(typed.to_bytes()),
        (_, Some(text)) => Data::Text(text.to_owned()),
        (_, None) => Data::Json(typed.v.clone()),
    }
}

/// A list is several messages.
fn many(value: Value) -> Data {
    match value {
        Value::Array(all) => Data::Many(
            all.into_iter()
                .map(|one| match one {
                    Value::String(text) => Data::Text(text),
                    other => Data::Json(other),
                })
                .collect(),
        ),
        other => Data::Json(other),
    }
}

/// What a function gave to an HTTP binding.
pub(crate) fn response(typed: &Typed) -> Result<http::Response<Body>, Failure> {
    if typed.k != "http" {
        let text = typed.as_text().map_or_else(|| typed.v.to_string(), str::to_owned);
        let mut response = http::Response::new(Body::from(text));
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        return Ok(response);
    }
    let status = typed.v["status"].as_str().and_then(|text| text.parse::<u16>().ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or_else(|| {
        let text =
            format!("the function's response has the status {}, which is none", typed.v["status"]);
        Failure::new("BadResponse", text)
    })?;
    let body = typed.v["body"].as_str().map(|text| STANDARD.decode(text).unwrap_or_default());
    let mut response = http::Response::new(Body::from(body.unwrap_or_default()));
    *response.status_mut() = status;
    for pair in typed.v["headers"].as_array().into_iter().flatten() {
        let (name, value) =
            (pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default());
        match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            // The server says how long the body is.
            (Ok(header::CONTENT_LENGTH), _) => {}
            (Ok(name), Ok(value)) => drop(response.headers_mut().insert(name, value)),
            _ => {
                tracing::warn!(target: "Host.Executor", header = %name, "a header of a function's response is none and is left out");
            }
        }
    }
    for cookie in typed.v["cookies"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    Ok(response)
}
