//! Removing instances.
//!
//! G1  What has not ended is not removed unless `force=true` says so, or version 2 is asked for one instance by its id.
//!     It is terminated first, so that its parent hears of it and its locks are given back.
//! G2  A purge by filter takes what has ended and nothing else; Durable Functions takes everything when the filter names
//!     no status that is an end.

use std::time::Duration;

use axum::response::Response;
use everstep_model::{InstanceId, Kind};
use everstep_runtime::{Bulk, ClientError};
use everstep_store::Order;
use http::StatusCode;
use serde::Serialize;

use crate::{
    Compat,
    api::Call,
    error::{Answer, Refusal},
    json,
    select::Selection,
};

/// How long a terminated instance may take to end.
const END: Duration = Duration::from_secs(30);
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    instances_deleted: u64,
}

/// `DELETE instances/{instanceId}`
pub(crate) async fn one(call: Call) -> Answer {
    let compat = call.api.options.compat;
    let is_recursive = call.query.our_flag("recursive", false)?;
    let is_forced = call.query.our_flag("force", false)?;
    let text = call.segment(0);
    let client = call.api.client();
    if text.starts_with('@') && compat == Compat::V3 {
        let Ok(entity) = InstanceId::parse(text) else { return Ok(deleted(0)) };
        return match client.purge(&entity).await {
            Err(ClientError::NotFound(_)) => Ok(deleted(0)),
            purged => purged.map(|()| deleted(1)).map_err(Into::into),
        };
    }
    let id = InstanceId::parse(text).map_err(|_| Refusal::NOT_FOUND)?;
    let view = client.get(&id).await?;
    if id.kind() == Kind::Orchestration && !view.status.is_terminal() {
        if !is_forced && compat == Compat::V3 {
            return Err(Refusal::purge_status(&id, view.status));
        }
        end(&call, &id, is_recursive).await?;
    }
    let purged = if is_recursive {
        client.purge_recursive(&id).await
    } else {
        client.purge(&id).await.map(|()| 1)
    };
    match purged {
        Err(ClientError::WrongStatus { id, status, .. }) => Err(Refusal::purge_status(&id, status)),
        purged => Ok(deleted(purged?)),
    }
}

/// `DELETE instances`
pub(crate) async fn many(call: Call) -> Answer {
    let selection = Selection::of(&call.query, call.api.options.compat)?;
    let is_forced = call.query.our_flag("force", false)?;
    if selection.filter.created_from.is_none() {
        return Err(Refusal::no_time());
    }
    let count = if is_forced {
        forced(&call, &selection).await?
    } else {
        let selection = selection.ended();
        if selection.is_empty {
            0
        } else {
            call.api.client().bulk(&selection.filter, &Bulk::Purge).await?
        }
    };
    match count {
        0 => Err(Refusal::NOT_FOUND),
        count => Ok(deleted(count)),
    }
}

/// Removes all that matches, alive or not.
async fn forced(call: &Call, selection: &Selection) -> Result<u64, Refusal> {
    let client = call.api.client();
    let (mut after, mut count) = (None, 0);
    if selection.is_empty {
        return Ok(0);
    }
    loop {
        let page = client.list(&selection.filter, Order::OldestFirst, after, ROWS_AT_ONCE).await?;
        for view in page.rows {
            if view.id.kind() == Kind::Orchestration && !view.status.is_terminal() {
                end(call, &view.id, false).await?;
            }
            count += match client.purge(&view.id).await {
                Ok(()) => 1,
                Err(ClientError::NotFound(_) | ClientError::WrongStatus { .. }) => 0,
                Err(error) => return Err(error.into()),
            };
        }
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

/// Terminates an instance and waits until it has ended.
async fn end(call: &Call, id: &InstanceId, is_recursive: bool) -> Result<(), Refusal> {
    let client = call.api.client();
    match client.terminate(id, "purged", is_recursive).await {
        Ok(()) => {}
        Err(ClientError::WrongStatus { .. } | ClientError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    match client.wait_for(id, END).await {
        Ok(_) | Err(ClientError::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn deleted(count: u64) -> Response {
    json::json(StatusCode::OK, &Body { instances_deleted: count })
}
