//! How many instances there are.
//!
//! By kind, name and status the count is exact and costs nothing; any other filter is counted by looking, and says so
//! when the time for that was over first.

use std::time::Duration;

use everstep_model::{Kind, Status};
use everstep_store::Filter;
use http::StatusCode;
use serde::Serialize;

use crate::{
    api::Call,
    error::{Answer, Refusal},
    json,
    select::Selection,
};

/// How long may be looked.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Body {
    total: u64,
    /// Whether the whole hub was counted.
    exact: bool,
    /// By kind, name and status; absent where other filters are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Vec<Item>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    kind: &'static str,
    name: String,
    runtime_status: &'static str,
    count: u64,
}

/// `GET instances/counts`
pub(crate) async fn counts(call: Call) -> Answer {
    let selection = Selection::of(&call.query, call.api.options.compat)?;
    let body = match () {
        () if selection.is_empty => Body { total: 0, exact: true, counts: Some(Vec::new()) },
        () if is_plain(&selection.filter) => counted(&call, &selection.filter).await?,
        () => looked(&call, &selection.filter).await?,
    };
    Ok(json::json(StatusCode::OK, &body))
}

/// Whether the counters tell it.
fn is_plain(filter: &Filter) -> bool {
    let plain = Filter {
        kind: filter.kind,
        name: filter.name.clone(),
        statuses: filter.statuses.clone(),
        ..Filter::default()
    };
    *filter == plain
}

async fn counted(call: &Call, filter: &Filter) -> Result<Body, Refusal> {
    let matches = |kind: Kind, name: &str, status: Status| {
        filter.kind.is_none_or(|wanted| wanted == kind)
            && filter.name.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
            && (filter.statuses.is_empty() || filter.statuses.contains(&status))
    };
    let all = call.api.client().counts().await?;
    let items: Vec<_> = all
        .into_iter()
        .filter(|(kind, name, status, _)| matches(*kind, name, *status))
        .map(|(kind, name, status, count)| Item {
            kind: kind_name(kind),
            name,
            runtime_status: status.name(),
            count,
        })
        .collect();
    let total = items.iter().map(|item| item.count).sum();
    Ok(Body { total, exact: true, counts: Some(items) })
}

async fn looked(call: &Call, filter: &Filter) -> Result<Body, Refusal> {
    let (total, exact) = call.api.client().count(filter, PATIENCE).await?;
    Ok(Body { total, exact, counts: None })
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Orchestration => "orchestration",
        Kind::Entity => "entity",
    }
}
