//! Starts of orchestrations: anew, and again with the same input.

use std::sync::Arc;

use bytes::Bytes;
use everstep_model::{InstanceId, TraceContext, Value};
use everstep_runtime::{ClientError, StartOptions};
use http::HeaderMap;
use serde_json::value::RawValue;

use crate::{
    Compat,
    api::Call,
    error::{Answer, Clash, Refusal},
    json, wait,
};

/// `POST orchestrators/{functionName}/{instanceId?}`
pub(crate) async fn start(call: Call) -> Answer {
    let input = input(&call.body, call.api.options.compat)?;
    let name = function(&call)?;
    let id = match call.path.get(1) {
        None => None,
        Some(id) => Some(
            InstanceId::orchestration(id).map_err(|error| Refusal::argument(error.to_string()))?,
        ),
    };
    let (version, trace) = match call.api.options.compat {
        Compat::V2 => (String::new(), None),
        Compat::V3 => {
            let version = call.query.text("version").map(std::borrow::Cow::into_owned);
            let version = version.unwrap_or_else(|| call.api.options.default_version.clone());
            (version, trace(&call.parts.headers))
        }
    };
    let reuse = call.api.options.reuse.clone();
    let options = StartOptions { id, version, trace, reuse, ..StartOptions::default() };
    let id = begin(&call, &name, input, options, Clash::Start).await?;
    wait::ended_or_links(&call, &id).await
}

/// `POST instances/{instanceId}/restart`
pub(crate) async fn restart(call: Call) -> Answer {
    let text = call.segment(0);
    let no_instance = || Refusal::no_instance(text);
    let id = InstanceId::orchestration(text).map_err(|_| no_instance())?;
    let view = match call.api.client().get(&id).await {
        Err(ClientError::NotFound(_)) => return Err(no_instance()),
        view => view?,
    };
    let version = match call.api.options.compat {
        Compat::V2 => String::new(),
        Compat::V3 => call.api.options.default_version.clone(),
    };
    let id = Some(id).filter(|_| !call.query.flag("restartWithNewInstanceId", true));
    let reuse = call.api.options.reuse.clone();
    let options = StartOptions { id, version, reuse, ..StartOptions::default() };
    let input = view.input.unwrap_or_else(Value::empty);
    let id = begin(&call, &view.name, input, options, Clash::Restart).await?;
    wait::ended_or_links(&call, &id).await
}

async fn begin(
    call: &Call,
    name: &str,
    input: Value,
    options: StartOptions,
    clash: Clash,
) -> Result<InstanceId, Refusal> {
    call.api.client().start(name, input, options).await.map_err(|error| match error {
        ClientError::AlreadyExists { status, .. } => {
            Refusal::exists(clash, status, call.api.options.compat)
        }
        error => error.into(),
    })
}

/// The name of the function as it is registered.
fn function(call: &Call) -> Result<String, Refusal> {
    let name = call.segment(0);
    let Some(known) = call.api.options.functions.orchestrators() else {
        return Ok(name.to_owned());
    };
    let found = known.iter().find(|known| known.eq_ignore_ascii_case(name));
    found
        .cloned()
        .ok_or_else(|| Refusal::argument(Refusal::no_function("orchestrator", name, &known)))
}

/// A body as an input: JSON whatever its declared type, nothing where it is empty.
pub(crate) fn input(body: &Bytes, compat: Compat) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::empty());
    }
    parsed(body, compat).map_err(|error| Refusal::invalid_json(&error))
}

/// A body that must be JSON.
pub(crate) fn parsed(body: &Bytes, compat: Compat) -> Result<Value, serde_json::Error> {
    let raw: &RawValue = serde_json::from_slice(body)?;
    Ok(match compat {
        // The body is a slice of what was read from the connection, which the value would keep alive with it.
        Compat::V3 => Value::Inline(Bytes::copy_from_slice(body)),
        Compat::V2 => Value::text(json::compact(raw.get())),
    })
}

/// What a request says of the trace that it belongs to.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let traceparent: Arc<str> = header("traceparent")?.into();
    Some(TraceContext { traceparent, tracestate: header("tracestate").unwrap_or_default().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_does_not_keep_the_buffer_of_its_connection_alive() {
        let buffer = Bytes::from(b"POST / HTTP/1.1 \"x\"".to_vec());
        let body = buffer.slice(16..);
        let input = parsed(&body, Compat::V3).unwrap();
        assert_eq!(input, Value::text("\"x\""));
        drop(body);
        assert!(buffer.is_unique());
    }
}
