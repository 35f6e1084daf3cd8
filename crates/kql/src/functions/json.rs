//! Functions of dynamic values, which are JSON texts, and conversions.

use rusqlite::{
    functions::Context,
    types::{Value, ValueRef},
};
use serde_json::Value as Json;

use super::{Function, packed, real, text, whole};
use crate::time;

pub(super) const FUNCTIONS: &[(&str, i32, Function)] = &[
    ("kql_text", 1, |c| Some(Value::Text(json(c, 0).map_or_else(String::new, plain)))),
    ("kql_index", 2, index),
    ("kql_array_length", 1, |c| {
        Some(Value::Integer(json(c, 0)?.as_array()?.len().try_into().ok()?))
    }),
    ("kql_parse_json", 1, parse),
    ("kql_strcat_array", 2, strcat_array),
    ("kql_tostring", 2, tostring),
    ("kql_tolong", 2, tolong),
    ("kql_todouble", 2, todouble),
    ("kql_tobool", 1, tobool),
    ("kql_item", 2, |c| packed::item(c.get_raw(0), usize::try_from(whole(c, 1)?).ok()?)),
];

fn json(context: &Context<'_>, at: usize) -> Option<Json> {
    serde_json::from_str(text(context, at)?).ok()
}

/// A JSON value as text: texts without quotes, null as nothing.
fn plain(json: Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text,
        other => other.to_string(),
    }
}

fn index(context: &Context<'_>) -> Option<Value> {
    let json = json(context, 0)?;
    let found = match context.get_raw(1) {
        ValueRef::Integer(at) => {
            let items = json.as_array()?;
            // A negative index counts from the end.
            let at = if at < 0 { at.checked_add(i64::try_from(items.len()).ok()?)? } else { at };
            items.get(usize::try_from(at).ok()?)
        }
        _ => json.get(text(context, 1)?),
    };
    found.filter(|found| !found.is_null()).map(|found| Value::Text(found.to_string()))
}

/// What is no JSON becomes a JSON text, as in Kusto.
fn parse(context: &Context<'_>) -> Option<Value> {
    let text = text(context, 0)?;
    let json = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()));
    Some(Value::Text(json.to_string()))
}

fn strcat_array(context: &Context<'_>) -> Option<Value> {
    let Json::Array(items) = json(context, 0)? else { return None };
    let items: Vec<String> = items.into_iter().map(plain).collect();
    Some(Value::Text(items.join(text(context, 1)?)))
}

/// The text of a value of the given type; null is an empty text.
fn tostring(context: &Context<'_>) -> Option<Value> {
    let kind = text(context, 1)?;
    let written = match (context.get_raw(0), kind) {
        (ValueRef::Null, _) => String::new(),
        (ValueRef::Integer(value), "bool") => (value != 0).to_string(),
        (ValueRef::Integer(ticks), "timespan") => time::timespan_text(ticks),
        (ValueRef::Integer(value), _) => value.to_string(),
        (ValueRef::Real(value), _) => real_text(value),
        (ValueRef::Text(_), "dynamic") => json(context, 0).map_or_else(String::new, plain),
        // Seven digits of a second, as Kusto writes them.
        (ValueRef::Text(_), "datetime") => {
            let moment = time::parse(text(context, 0)?).and_then(time::text)?;
            moment.replace('Z', "0000Z")
        }
        (ValueRef::Text(_), _) => text(context, 0)?.to_owned(),
        (ValueRef::Blob(_), _) => return None,
    };
    Some(Value::Text(written))
}

/// The shortest digits that give the number back, without `.0`.
fn real_text(value: f64) -> String {
    if value.abs() >= 1e15 { format!("{value:e}") } else { format!("{value}") }
}

fn tolong(context: &Context<'_>) -> Option<Value> {
    match context.get_raw(0) {
        ValueRef::Integer(value) => Some(Value::Integer(value)),
        ValueRef::Real(value) => Some(Value::Integer(value as i64)),
        ValueRef::Text(_) => {
            let text = unquoted(context)?;
            let whole = text.trim().parse::<i64>().ok();
            whole
                .or_else(|| text.trim().parse::<f64>().ok().map(|real| real as i64))
                .map(Value::Integer)
        }
        _ => None,
    }
}

fn todouble(context: &Context<'_>) -> Option<Value> {
    match context.get_raw(0) {
        ValueRef::Text(_) => unquoted(context)?
            .trim()
            .parse()
            .ok()
            .filter(|real: &f64| !real.is_nan())
            .map(Value::Real),
        _ => real(context, 0).map(Value::Real),
    }
}

/// The text of the first argument; the second is its type.
fn unquoted(context: &Context<'_>) -> Option<String> {
    match text(context, 1)? {
        "dynamic" => json(context, 0).map(plain),
        "string" => text(context, 0).map(str::to_owned),
        _ => None,
    }
}

fn tobool(context: &Context<'_>) -> Option<Value> {
    let value = match context.get_raw(0) {
        ValueRef::Integer(value) => value != 0,
        ValueRef::Real(value) => value != 0.0,
        _ => match text(context, 0)?.trim().to_lowercase().as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return None,
        },
    };
    Some(Value::Integer(i64::from(value)))
}
