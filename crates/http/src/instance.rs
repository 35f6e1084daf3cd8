//! One instance: its status as a body, and the request for it.

use std::sync::Arc;

use axum::response::Response;
use everstep_model::{Event, InstanceId, Kind, Status, Timestamp, Value};
use everstep_runtime::{ClientError, View};
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;

use crate::{
    Api, OnFailure,
    api::Call,
    error::{Answer, Refusal},
    history::{self, Shown},
    json::{self, Free},
    links,
    query::Query,
    time,
};

/// What of an instance goes into a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Show {
    /// Its input.
    pub(crate) input: bool,
    /// What Durable Functions does not show: version, parent, tags, failure.
    pub(crate) details: bool,
}

impl Show {
    pub(crate) fn of(query: &Query) -> Result<Self, Refusal> {
        Ok(Self {
            input: query.flag("showInput", true),
            details: query.our_flag("showDetails", false)?,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    name: &'a str,
    instance_id: &'a str,
    runtime_status: &'static str,
    input: Free<'a>,
    custom_status: Free<'a>,
    output: Free<'a>,
    created_time: String,
    last_updated_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_events: Option<Vec<Shown>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

/// What only `showDetails` shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    execution_id: &'a str,
    version: &'a str,
    parent_instance_id: Option<&'a str>,
    tags: &'a everstep_model::Tags,
    completed_time: Option<String>,
    failure: Option<history::FailureDetails<'a>>,
}

/// The body that shows an instance.
pub(crate) fn body(view: &View, show: Show, history: Option<Vec<Shown>>) -> String {
    let said = view.failure.as_ref().map(|failure| Value::text(json::to_text(&failure.message)));
    let output = match (&view.output, view.status) {
        (None, _) => Free::of(said.as_ref()),
        (output, Status::Terminated) => Free::of_text(output.as_ref()),
        (output, _) => Free::of(output.as_ref()),
    };
    json::to_text(&Body {
        name: &view.name,
        instance_id: view.id.as_str(),
        runtime_status: view.status.name(),
        input: Free::of(view.input.as_ref().filter(|_| show.input)),
        custom_status: Free::of(view.custom_status.as_ref()),
        output,
        created_time: time::whole_seconds(view.created),
        last_updated_time: time::whole_seconds(view.updated),
        history_events: history,
        details: show.details.then(|| details(view)),
    })
}

fn details(view: &View) -> Details<'_> {
    Details {
        execution_id: view.execution_id.as_str(),
        version: &view.version,
        parent_instance_id: view.parent.as_ref().map(InstanceId::as_str),
        tags: &view.tags,
        completed_time: view.completed.map(|at: Timestamp| time::trimmed(at)),
        failure: view.failure.as_ref().map(history::FailureDetails::of),
    }
}

/// The id that a path names. One that no instance can have is not found.
pub(crate) fn id(call: &Call) -> Result<InstanceId, Refusal> {
    InstanceId::parse(call.segment(0)).map_err(|_| Refusal::NOT_FOUND)
}

/// The same for routes that are about orchestrations only.
pub(crate) fn orchestration(call: &Call) -> Result<InstanceId, Refusal> {
    InstanceId::orchestration(call.segment(0)).map_err(|_| Refusal::NOT_FOUND)
}

/// `GET instances/{id}`, with `wait` not before the instance has ended or the time is over.
pub(crate) async fn status(call: Call) -> Answer {
    let id = id(&call)?;
    let wait = call.query.our_span("wait")?;
    let client = call.api.client();
    let view = match wait.filter(|_| id.kind() == Kind::Orchestration) {
        None => client.get(&id).await?,
        Some(time) => match client.wait_for(&id, time).await {
            Err(ClientError::Timeout { .. }) => client.get(&id).await?,
            ended => ended?,
        },
    };
    respond(&call.api, &call.parts, &call.query, &view).await
}

/// The answer to a request for the status of an instance.
pub(crate) async fn respond(api: &Arc<Api>, parts: &Parts, query: &Query, view: &View) -> Answer {
    let history = history(api, query, view).await?;
    let text = body(view, Show::of(query)?, history).into();
    Ok(match view.status {
        Status::Running | Status::Pending | Status::ContinuedAsNew | Status::Suspended => {
            goes_on(text, &links::received(api, parts))
        }
        Status::Failed if on_failure(query) == OnFailure::InternalServerError => {
            json::text(StatusCode::INTERNAL_SERVER_ERROR, text)
        }
        Status::Failed | Status::Completed | Status::Canceled | Status::Terminated => {
            json::text(StatusCode::OK, text)
        }
    })
}

/// Which code the request wants for a failure.
pub(crate) fn on_failure(query: &Query) -> OnFailure {
    if query.flag("returnInternalServerErrorOnFailure", false) {
        OnFailure::InternalServerError
    } else {
        OnFailure::Ok
    }
}

fn goes_on(text: bytes::Bytes, url: &str) -> Response {
    let mut response = json::text(StatusCode::ACCEPTED, text);
    if let Ok(location) = HeaderValue::from_str(url) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

async fn history(
    api: &Arc<Api>,
    query: &Query,
    view: &View,
) -> Result<Option<Vec<Shown>>, Refusal> {
    if view.status == Status::Pending || !query.flag("showHistory", false) {
        return Ok(None);
    }
    let events: Vec<Event> = api.client().history(&view.id).await?;
    let options = history::Options {
        input: query.flag("showInput", true),
        output: query.flag("showHistoryOutput", false),
    };
    Ok(Some(history::shown(&view.id, &events, options)))
}
