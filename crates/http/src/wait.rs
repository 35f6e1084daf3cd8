//! Waiting for the end of an instance that was started.
//!
//! The client waits in the host and does not poll, so that an interval is checked and otherwise without effect.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse as _, Response};
use everstep_model::{InstanceId, Status};
use everstep_runtime::ClientError;
use http::{StatusCode, request::Parts};

use crate::{
    Api,
    api::Call,
    error::{Answer, Refusal},
    instance,
    json::{self, Free},
    query::Query,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(1);

/// The answer to a start: the output if the instance ends within the time that the request gives it, else its links.
pub(crate) async fn ended_or_links(call: &Call, id: &InstanceId) -> Answer {
    if let Some(timeout) = call.query.seconds("timeout") {
        check(timeout, call.query.seconds("pollingInterval"))?;
        if let Some(ended) = ended(&call.api, &call.parts, &call.query, id, timeout).await? {
            return Ok(ended);
        }
    }
    Ok(call.check_status(id.as_str(), instance::on_failure(&call.query)))
}

impl Api {
    /// Waits for an instance on behalf of function code, and answers the request that it serves: with the output, with
    /// the status of what did not complete, or after the timeout with the links. 10 s and 1 s where no times are given.
    pub async fn wait_for_completion_or_check_status(
        self: &Arc<Self>,
        request: &Parts,
        id: &str,
        timeout: Option<Duration>,
        interval: Option<Duration>,
    ) -> Response {
        let timeout = timeout.unwrap_or(TIMEOUT);
        let query = Query::of(&request.uri);
        let waited = async {
            check(timeout, Some(interval.unwrap_or(INTERVAL)))?;
            let id = InstanceId::parse(id).map_err(|_| Refusal::NOT_FOUND)?;
            ended(self, request, &query, &id, timeout).await
        };
        match waited.await {
            Ok(Some(response)) => response,
            Ok(None) => self.check_status(request, id, instance::on_failure(&query)),
            Err(refusal) => refusal.into_response(),
        }
    }
}

fn check(timeout: Duration, interval: Option<Duration>) -> Result<(), Refusal> {
    match interval {
        Some(interval) if interval > timeout => {
            Err(Refusal::interval(timeout.as_secs_f64(), interval.as_secs_f64()))
        }
        _ => Ok(()),
    }
}

/// The answer for an instance that ends within the time.
async fn ended(
    api: &Arc<Api>,
    request: &Parts,
    query: &Query,
    id: &InstanceId,
    timeout: Duration,
) -> Result<Option<Response>, Refusal> {
    let view = match api.client().wait_for(id, timeout).await {
        Err(ClientError::Timeout { .. }) => return Ok(None),
        view => view?,
    };
    match view.status {
        Status::Completed => {
            let output = json::to_text(&Free::of(view.output.as_ref()));
            Ok(Some(json::text(StatusCode::OK, output.into())))
        }
        _ => instance::respond(api, request, query, &view).await.map(Some),
    }
}
