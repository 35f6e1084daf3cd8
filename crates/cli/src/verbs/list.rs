//! `ls`, `counts` and `sql`: many instances at once.

use http::Method;
use serde_json::{Value, json};

use super::World;
use crate::{
    args::{Counts, Filter, Format, Kind, Ls, Order, Sql},
    client::{Api, Call},
    console::{Column, Item, failing, moment, plain},
    fault::{Exit, Fault},
    time,
};

/// How many instances are asked for at once.
const PAGE: u32 = 500;
/// Where a page says how to go on.
const TOKEN: &str = "x-ms-continuation-token";
const INSTANCES: &[Column] = &[
    plain("ID", "instanceId"),
    plain("NAME", "name"),
    plain("STATUS", "runtimeStatus"),
    moment("CREATED", "createdTime"),
    moment("UPDATED", "lastUpdatedTime"),
];
/// Shown where something listed has failed.
const FAILURE: Column = failing("FAILURE", "failure");
const COUNTS: &[Column] = &[
    plain("KIND", "kind"),
    plain("NAME", "name"),
    plain("STATUS", "runtimeStatus"),
    plain("COUNT", "count"),
];

/// `everstep ls`
pub(crate) async fn ls(ls: &Ls, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&ls.common.connect)?;
    let streams = matches!(world.console.format(), Format::Jsonl | Format::Ids);
    let is_table = world.console.format() == Format::Table;
    let limit = if ls.all { u32::MAX } else { ls.limit };
    let (mut cursor, mut found, mut count) = (ls.cursor.clone(), Vec::new(), 0_u32);
    loop {
        let call = list_call(ls).query("top", (limit - count).min(PAGE).to_string());
        let call = if is_table { call.query("showDetails", "true") } else { call };
        let (page, next) = page(&api, call, cursor).await?;
        count = count.saturating_add(u32::try_from(page.len()).unwrap_or(u32::MAX));
        if streams {
            world.console.list(INSTANCES, &page)?;
        } else {
            found.extend(page);
        }
        cursor = next;
        if cursor.is_none() || count >= limit {
            break;
        }
    }
    if !streams {
        let has_failures = is_table && found.iter().any(|item| item.get("failure").is_object());
        let failure = has_failures.then_some(FAILURE);
        let columns: Vec<Column> = INSTANCES.iter().cloned().chain(failure).collect();
        world.console.list(&columns, &found)?;
    }
    if let Some(cursor) = cursor.filter(|_| ls.watch.watch.is_none()) {
        world
            .console
            .note(&format!("there are more: --all shows them, --cursor {cursor} goes on here"));
    }
    if count == 0 {
        world.console.note(if ls.filter == Filter::default() && ls.kind.is_none() {
            "there are no instances; `everstep run NAME` starts one"
        } else {
            "no instance matches"
        });
    }
    Ok(Exit::Ok)
}

fn list_call(ls: &Ls) -> Call {
    let order = match ls.order {
        Order::Created => "created",
        Order::Updated => "updated",
        Order::Id => "id",
    };
    Call::durable(Method::GET, "instances")
        .queries(ls.filter.query())
        .query("kind", kind(ls.kind.unwrap_or(Kind::Orchestration)))
        .query("showInput", "false")
        .query("orderBy", order)
        .query("desc", if ls.asc { "false" } else { "true" })
}

/// One page, and where the next begins.
pub(super) async fn page(
    api: &Api,
    call: Call,
    cursor: Option<String>,
) -> Result<(Vec<Item>, Option<String>), Fault> {
    let call = match cursor {
        Some(cursor) => call.header(TOKEN, cursor),
        None => call,
    };
    let answer = api.get(call).await?;
    Ok((Item::parse_list(&answer.body)?, answer.header(TOKEN)))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Orchestration => "orchestration",
        Kind::Entity => "entity",
    }
}

impl Filter {
    /// As parameters of the API.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            pairs.extend(value.map(|value| (name.to_owned(), value)));
        };
        let statuses = (!self.status.is_empty()).then(|| self.status.join(","));
        add("runtimeStatus", statuses);
        add("name", self.name.clone());
        add("instanceIdPrefix", self.id_prefix.clone());
        add("createdTimeFrom", self.since.map(time::iso));
        add("createdTimeTo", self.before.map(time::iso));
        add("parent", self.parent.clone());
        add("q", self.text.clone());
        for (key, value) in &self.tag {
            add(&format!("tag.{key}"), Some(value.clone()));
        }
        pairs
    }
}

/// `everstep counts`
pub(crate) async fn counts(counts: &Counts, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&counts.common.connect)?;
    let (rows, is_exact) = counted(&api, counts.filter.query(), counts.kind.map(kind)).await?;
    world.console.list(COUNTS, &rows)?;
    if !is_exact {
        world.console.note("these are estimates: the hub counts while it changes");
    }
    Ok(Exit::Ok)
}

/// The counts of a filter, and whether they are exact.
pub(super) async fn counted(
    api: &Api,
    filter: Vec<(String, String)>,
    kind: Option<&str>,
) -> Result<(Vec<Item>, bool), Fault> {
    let call = Call::durable(Method::GET, "instances/counts").queries(filter).maybe("kind", kind);
    let body = Item::parse(&api.get(call).await?.body)?;
    let rows = body.raw_field("counts").unwrap_or_else(|| "[]".to_owned());
    Ok((Item::parse_list(&rows)?, body.get("exact").as_bool().unwrap_or(true)))
}

/// So many instances, in words.
pub(super) fn instances(count: u64) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}

/// Where to look for what a query may name.
const COLUMNS: &str = "`everstep sql \"select * from instances limit 1\" -o json` shows the columns; there are instances, history, activities, timers, events and entities";

/// `everstep sql`
pub(crate) async fn sql(sql: &Sql, query: &str, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&sql.common.connect)?;
    let body = json!({ "query": query, "limit": sql.limit }).to_string();
    let answer = api.get(Call::durable(Method::POST, "sql").json(body)).await;
    let answer = answer.map_err(|fault| match fault.exit {
        Exit::Usage => fault.remedy(COLUMNS),
        _ => fault,
    })?;
    let answer = answer.json()?;
    let names: Vec<String> = answer["columns"]
        .as_array()
        .map(|names| names.iter().map(column_name).collect())
        .unwrap_or_default();
    let rows = answer["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let items: Vec<Item> = rows.iter().map(|row| named(&names, row)).collect();
    let columns: Vec<Column> = names.into_iter().map(Column::named).collect();
    world.console.list(&columns, &items)?;
    if answer["truncated"].as_bool() == Some(true) {
        world.console.note(&format!("there are more than {} rows; see --limit", rows.len()));
    }
    Ok(Exit::Ok)
}

fn column_name(column: &Value) -> String {
    let text = column.as_str().or_else(|| column["name"].as_str());
    text.unwrap_or_default().to_owned()
}

fn named(names: &[String], row: &Value) -> Item {
    let values = row.as_array().cloned().unwrap_or_default();
    Item::of_pairs(names.iter().cloned().zip(values).collect())
}
