//! Removing instances.
//!
//! G1  What has not ended is not removed unless `force=true` says so, or version 2 is asked for one instance by its id.
//!     It is terminated first, so that its parent hears of it and its locks are given back.
//! G2  A purge by filter takes what has ended and nothing else; Durable Functions takes everything when the filter names
//!     no status that is an end.
//! G3  Every answer says how many twice: `instancesDeleted` as the extension does, `deletedInstanceCount` as scripts expect
//!     that came to know it from the SDKs.

use std::time::Duration;

use axum::response::Response;
use everstep_model::{InstanceId, Kind, Status};
use everstep_runtime::{Bulk, ClientError};
use everstep_store::{Filter, Order};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    Compat,
    api::Call,
    error::{Answer, Refusal},
    json,
    select::Selection,
    time,
};

/// How long a terminated instance may take to end.
const END: Duration = Duration::from_secs(30);
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    instances_deleted: u64,
    deleted_instance_count: u64,
}

/// What `purge-history` is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    time_from: Option<String>,
    time_till: Option<String>,
    runtime_status: Option<Vec<String>>,
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

/// `POST purge-history`: no route of the original, but one that scripts call. None is no error here.
pub(crate) async fn history(call: Call) -> Answer {
    let Asked { time_from, time_till, runtime_status } =
        serde_json::from_slice(&call.body).map_err(|error| {
            Refusal::bad(format!(
                "the body is to be an object with `timeFrom`, and if wanted `timeTill` and an array `runtimeStatus`: {error}"
            ))
        })?;
    if time_from.is_none() {
        return Err(Refusal::bad(
            "`timeFrom` is missing; give the time from which on instances are removed, such as `2025-06-16T15:00:00Z`",
        ));
    }
    let compat = call.api.options.compat;
    let time = |name: &str, text: Option<String>| {
        let text = text.filter(|text| !text.trim().is_empty());
        let read = text.map(|text| time::parse(&text, compat).ok_or(text)).transpose();
        read.map_err(|text| unfit(name, &text, "write a time such as `2025-06-16T15:00:00Z`"))
    };
    let mut statuses = Vec::new();
    for name in runtime_status.iter().flatten() {
        statuses.push(Status::from_name(name).ok_or_else(|| {
            unfit("runtimeStatus", name, "write `Completed`, `Failed` or `Terminated`")
        })?);
    }
    let filter = Filter {
        created_from: time("timeFrom", time_from)?,
        created_to: time("timeTill", time_till)?,
        statuses,
        ..Filter::default()
    };
    let selection = Selection { filter, is_empty: false }.ended();
    if selection.is_empty {
        return Ok(deleted(0));
    }
    Ok(deleted(call.api.client().bulk(&selection.filter, &Bulk::Purge).await?))
}

/// A value of the body that cannot be used.
fn unfit(key: &str, found: &str, remedy: &str) -> Refusal {
    Refusal::bad(format!("`{found}` does not fit `{key}` of the body; {remedy}"))
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
    json::json(StatusCode::OK, &Body { instances_deleted: count, deleted_instance_count: count })
}
