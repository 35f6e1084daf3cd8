//! Entities: their state, their lists, signals to them.
//!
//! E1  Names are lower-cased, keys are kept. The key `$` in a request that reads is the empty key.

use bytes::Bytes;
use everstep_model::{InstanceId, Kind, Value};
use everstep_runtime::{Signal, View};
use everstep_store::{Filter, Order};
use http::StatusCode;
use serde::Serialize;

use crate::{
    Compat,
    api::Call,
    error::{Answer, Refusal},
    instance::Show,
    json::{self, Free},
    list, start, time,
};

/// Rows of a page where the request names no number.
const TOP: usize = 100;
const FORBIDDEN: [char; 4] = ['/', '\\', '#', '?'];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    entity_id: Id<'a>,
    last_operation_time: String,
    state: Free<'a>,
}

#[derive(Serialize)]
struct Id<'a> {
    name: &'a str,
    key: &'a str,
}

/// `GET entities/{entityName}/{entityKey}`
pub(crate) async fn get(call: Call) -> Answer {
    let key = match call.segment(1) {
        "$" => "",
        key => key,
    };
    let id = id(call.segment(0), key)?;
    let state = call.api.client().entity_state(&id).await?.ok_or(Refusal::NOT_FOUND)?;
    Ok(json::text(StatusCode::OK, json::to_text(&Free::of(Some(&state))).into()))
}

/// `GET entities` and `GET entities/{entityName}`
pub(crate) async fn list(call: Call) -> Answer {
    let compat = call.api.options.compat;
    let from = call.query.time("lastOperationTimeFrom", compat);
    let to = call.query.time("lastOperationTimeTo", compat);
    let show = Show { input: false, details: false };
    let fetch = call.query.flag("fetchState", false);
    let top = list::top(call.query.number("top")).unwrap_or(TOP);
    let name = call.path.first();
    let filter = Filter {
        kind: Some(Kind::Entity),
        id_prefix: name.map(|name| format!("@{}@", name.to_lowercase())),
        ..Filter::default()
    };
    let is_shown = |view: &View| {
        view.output.is_some()
            && from.is_none_or(|from| view.updated >= from)
            && to.is_none_or(|to| view.updated <= to)
    };
    let mut after = list::position(&call.parts.headers, Order::OldestFirst)?;
    loop {
        let page = call.api.client().list(&filter, Order::OldestFirst, after, top).await?;
        let mut items = Vec::new();
        for mut view in page.rows.into_iter().filter(is_shown) {
            if fetch {
                let Some(whole) = list::whole(&call.api, view, show).await? else { continue };
                view = whole;
            }
            items.push(item(&view, fetch));
        }
        if page.next.is_none() || !items.is_empty() {
            let body = format!("[{}]", items.join(",")).into();
            let response = json::text(StatusCode::OK, body);
            return Ok(list::with_token(response, page.next, Order::OldestFirst));
        }
        after = page.next;
    }
}

fn item(view: &View, fetch: bool) -> String {
    let (name, key) = view.id.entity_parts().unwrap_or_default();
    json::to_text(&Item {
        entity_id: Id { name, key },
        last_operation_time: time::trimmed(view.updated),
        state: Free::of(view.output.as_ref().filter(|_| fetch)),
    })
}

/// `POST entities/{entityName}/{entityKey?}`
pub(crate) async fn signal(call: Call) -> Answer {
    let operation = call.query.first("op").unwrap_or_default().to_owned();
    tell(call, &operation).await
}

/// `DELETE entities/{entityName}/{entityKey?}`
pub(crate) async fn delete(call: Call) -> Answer {
    tell(call, "delete").await
}

async fn tell(call: Call, operation: &str) -> Answer {
    let id = id(call.segment(0), call.segment(1))?;
    if let Some(known) = call.api.options.functions.entities() {
        let name = call.segment(0);
        if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Refusal::bad(Refusal::no_function("entity", name, &known)));
        }
    }
    let input = if call.body.is_empty() {
        Value::empty()
    } else if call.media_type() == "application/json" {
        start::parsed(&call.body, call.api.options.compat)
            .map_err(|error| Refusal::signal_json(&error))?
    } else {
        text(&call.body)
    };
    let trace = match call.api.options.compat {
        Compat::V2 => None,
        Compat::V3 => start::trace(&call.parts.headers),
    };
    let signal = Signal { operation, input, key: "", trace };
    call.api.client().signal_with(&id, signal).await?;
    Ok(json::empty(StatusCode::ACCEPTED))
}

/// Any body as a JSON string.
fn text(body: &Bytes) -> Value {
    Value::text(json::to_text(&*String::from_utf8_lossy(body)))
}

fn id(name: &str, key: &str) -> Result<InstanceId, Refusal> {
    if let Some(character) = key.chars().find(|c| FORBIDDEN.contains(c)) {
        return Err(Refusal::bad(format!(
            "an entity key must not contain {character:?}; choose a key without `/`, `\\`, `#`, `?` and control characters"
        )));
    }
    InstanceId::entity(name, key).map_err(|error| Refusal::bad(error.to_string()))
}
