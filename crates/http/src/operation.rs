//! What is done to one instance.

use axum::response::Response;
use everstep_model::{InstanceId, Status};
use everstep_runtime::{ClientError, Raised, View};
use http::StatusCode;

use crate::{
    Compat,
    api::Call,
    error::{Answer, Refusal},
    instance::orchestration,
    json, start,
};

/// `POST instances/{instanceId}/raiseEvent/{eventName}`
pub(crate) async fn raise(call: Call) -> Answer {
    let id = alive(&call).await?.id;
    if call.media_type() != "application/json" {
        return Err(Refusal::not_json());
    }
    let input = start::parsed(&call.body, call.api.options.compat)
        .map_err(|error| Refusal::invalid_json(&error))?;
    let raised = Raised { name: call.segment(1).to_owned(), input, key: String::new() };
    call.api.client().raise(&id, raised).await?;
    Ok(accepted())
}

/// `POST instances/{instanceId}/terminate`
pub(crate) async fn terminate(call: Call) -> Answer {
    let is_recursive = call.query.our_flag("recursive", call.api.options.compat == Compat::V3)?;
    let id = alive(&call).await?.id;
    call.api.client().terminate(&id, &reason(&call), is_recursive).await?;
    Ok(accepted())
}

/// `POST instances/{instanceId}/suspend`
pub(crate) async fn suspend(call: Call) -> Answer {
    let view = alive(&call).await?;
    if view.status == Status::Suspended {
        return Err(Refusal::wrong_state("suspend", view.status));
    }
    call.api.client().suspend(&view.id, &reason(&call)).await?;
    Ok(accepted())
}

/// `POST instances/{instanceId}/resume`
pub(crate) async fn resume(call: Call) -> Answer {
    let view = alive(&call).await?;
    if view.status != Status::Suspended {
        return Err(Refusal::wrong_state("resume", view.status));
    }
    call.api.client().resume(&view.id, &reason(&call)).await?;
    Ok(accepted())
}

/// `POST instances/{instanceId}/unpark`
pub(crate) async fn unpark(call: Call) -> Answer {
    let id = alive(&call).await?.id;
    call.api.client().unpark(&id).await?;
    Ok(accepted())
}

/// `POST instances/{instanceId}/rewind`
pub(crate) async fn rewind(call: Call) -> Answer {
    let compat = call.api.options.compat;
    let nothing = || match compat {
        Compat::V2 => Refusal::NOT_FOUND,
        Compat::V3 => Refusal::rewind_nothing(call.segment(0)),
    };
    let refused = |id: &InstanceId, status: Status| match compat {
        Compat::V3 => Refusal::rewind_status(id, status),
        Compat::V2 if status.is_terminal() => Refusal::GONE,
        Compat::V2 => Refusal::wrong_state("rewind", status),
    };
    let id = InstanceId::orchestration(call.segment(0)).map_err(|_| nothing())?;
    let client = call.api.client();
    let told = match client.get(&id).await {
        Ok(view) if view.status == Status::Failed => client.rewind(&id, &reason(&call)).await,
        Ok(view) => return Err(refused(&id, view.status)),
        Err(error) => Err(error),
    };
    match told {
        Err(ClientError::NotFound(_)) => Err(nothing()),
        Err(ClientError::WrongStatus { status, .. }) => Err(refused(&id, status)),
        told => {
            told?;
            Ok(accepted())
        }
    }
}

/// The instance of the path if it has not ended.
async fn alive(call: &Call) -> Result<View, Refusal> {
    let view = call.api.client().get(&orchestration(call)?).await?;
    if view.status.is_terminal() { Err(Refusal::GONE) } else { Ok(view) }
}

fn reason(call: &Call) -> String {
    call.query.text("reason").map(std::borrow::Cow::into_owned).unwrap_or_default()
}

fn accepted() -> Response {
    json::empty(StatusCode::ACCEPTED)
}
