//! Functions of texts. Case is that of Unicode; a term is a run of letters and digits.

use std::sync::Arc;

use regex::Regex;
use rusqlite::{
    functions::Context,
    types::{Value, ValueRef},
};
use serde_json::Value as Json;

use super::{Fallible, Function, text, whole};
use crate::pattern;

pub(super) const FUNCTIONS: &[(&str, i32, Function)] = &[
    ("kql_lower", 1, |c| Some(Value::Text(text(c, 0)?.to_lowercase()))),
    ("kql_upper", 1, |c| Some(Value::Text(text(c, 0)?.to_uppercase()))),
    ("kql_reverse", 1, |c| Some(Value::Text(text(c, 0)?.chars().rev().collect()))),
    ("kql_same", 2, |c| folded(c, |a, b| a == b)),
    ("kql_contains", 2, |c| folded(c, |a, b| a.contains(b))),
    ("kql_contains_cs", 2, |c| plain(c, |a, b| a.contains(b))),
    ("kql_has", 2, |c| folded(c, has_term)),
    ("kql_has_cs", 2, |c| plain(c, has_term)),
    ("kql_starts", 2, |c| folded(c, |a, b| a.starts_with(b))),
    ("kql_starts_cs", 2, |c| plain(c, |a, b| a.starts_with(b))),
    ("kql_ends", 2, |c| folded(c, |a, b| a.ends_with(b))),
    ("kql_ends_cs", 2, |c| plain(c, |a, b| a.ends_with(b))),
    ("kql_substring", 3, substring),
    ("kql_indexof", 2, index_of),
    ("kql_countof", 2, count_of),
    ("kql_split", 2, |c| split(c, None)),
    ("kql_split", 3, |c| split(c, Some(whole(c, 2)?))),
];

pub(super) const PATTERNS: &[(&str, i32, Fallible)] = &[
    ("kql_matches", 2, matches),
    ("kql_extract", 3, extract),
    ("kql_replace_regex", 3, replace),
    ("kql_trim", 3, trim),
];

fn plain(context: &Context<'_>, holds: fn(&str, &str) -> bool) -> Option<Value> {
    Some(Value::Integer(i64::from(holds(text(context, 0)?, text(context, 1)?))))
}

fn folded(context: &Context<'_>, holds: fn(&str, &str) -> bool) -> Option<Value> {
    let (a, b) = (text(context, 0)?, text(context, 1)?);
    // Most names are ASCII; then one comparison spares two new texts.
    let holds = if a == b { holds(a, b) } else { holds(&a.to_lowercase(), &b.to_lowercase()) };
    Some(Value::Integer(i64::from(holds)))
}

/// Whether the term stands in the text with no letter or digit at either side.
fn has_term(text: &str, term: &str) -> bool {
    if term.is_empty() {
        return true;
    }
    text.match_indices(term).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + term.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// From a character on, counted from 0, or from the end when negative.
fn substring(context: &Context<'_>) -> Option<Value> {
    let (text, start, length) = (text(context, 0)?, whole(context, 1)?, whole(context, 2)?);
    let start = match usize::try_from(start) {
        Ok(start) => start,
        Err(_) => {
            let back = usize::try_from(start.unsigned_abs()).ok()?;
            text.chars().count().saturating_sub(back)
        }
    };
    let length = usize::try_from(length.max(0)).ok()?;
    Some(Value::Text(text.chars().skip(start).take(length).collect()))
}

/// The place of the first occurrence in characters, or -1.
fn index_of(context: &Context<'_>) -> Option<Value> {
    let text_within = text(context, 0)?;
    let found = text_within.find(text(context, 1)?);
    let place = match found {
        Some(at) => i64::try_from(text_within[..at].chars().count()).ok()?,
        None => -1,
    };
    Some(Value::Integer(place))
}

fn count_of(context: &Context<'_>) -> Option<Value> {
    let (text, part) = (text(context, 0)?, text(context, 1)?);
    let count = if part.is_empty() { 0 } else { text.matches(part).count() };
    Some(Value::Integer(count.try_into().ok()?))
}

/// The parts as a JSON array, or an array of the one part that was asked for.
fn split(context: &Context<'_>, only: Option<i64>) -> Option<Value> {
    let (text, delimiter) = (text(context, 0)?, text(context, 1)?);
    let parts: Vec<&str> = match delimiter {
        "" => vec![text],
        delimiter => text.split(delimiter).collect(),
    };
    let parts = match only {
        None => parts,
        Some(at) => {
            usize::try_from(at).ok().and_then(|at| parts.get(at).copied()).into_iter().collect()
        }
    };
    Some(Value::Text(Json::from(parts).to_string()))
}

/// The compiled pattern of an argument, kept for as long as the argument is the same constant.
fn regex(context: &Context<'_>, at: usize) -> rusqlite::Result<Option<Arc<Regex>>> {
    let number = i32::try_from(at).expect("functions have few arguments");
    if matches!(context.get_raw(at), ValueRef::Null) {
        return Ok(None);
    }
    let compiled = context.get_or_create_aux(number, |value: ValueRef<'_>| {
        let text = value.as_str().map_err(|error| error.to_string())?;
        pattern::compile(text).map_err(|error| format!("the regular expression is wrong: {error}"))
    });
    compiled.map(Some)
}

fn matches(context: &Context<'_>) -> rusqlite::Result<Option<Value>> {
    let regex = regex(context, 1)?;
    let holds = regex.zip(text(context, 0)).map(|(regex, text)| regex.is_match(text));
    Ok(holds.map(|holds| Value::Integer(i64::from(holds))))
}

/// The group of the first match; an empty text when nothing matches.
fn extract(context: &Context<'_>) -> rusqlite::Result<Option<Value>> {
    let Some(regex) = regex(context, 0)? else { return Ok(None) };
    let group = whole(context, 1).and_then(|group| usize::try_from(group).ok()).unwrap_or(0);
    let found =
        text(context, 2).and_then(|text| regex.captures(text)).and_then(|found| found.get(group));
    Ok(Some(Value::Text(found.map_or_else(String::new, |found| found.as_str().to_owned()))))
}

/// `\1` in the replacement is the first group, as Kusto writes it.
fn replace(context: &Context<'_>) -> rusqlite::Result<Option<Value>> {
    let Some(regex) = regex(context, 1)? else { return Ok(None) };
    let (Some(text), Some(with)) = (text(context, 0), text(context, 2)) else { return Ok(None) };
    let with = replacement(with);
    Ok(Some(Value::Text(regex.replace_all(text, with.as_str()).into_owned())))
}

fn replacement(kusto: &str) -> String {
    let mut with = String::new();
    let mut chars = kusto.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next_if(char::is_ascii_digit) {
                Some(group) => with.extend(["${", group.encode_utf8(&mut [0; 4]), "}"]),
                None => with.push('\\'),
            },
            '$' => with.push_str("$$"),
            c => with.push(c),
        }
    }
    with
}

/// Takes matches away from the start, the end or both.
fn trim(context: &Context<'_>) -> rusqlite::Result<Option<Value>> {
    let Some(regex) = regex(context, 0)? else { return Ok(None) };
    let (Some(mut text), Some(side)) = (text(context, 1), text(context, 2)) else {
        return Ok(None);
    };
    if side != "end"
        && let Some(found) = regex.find(text).filter(|found| found.start() == 0)
    {
        text = &text[found.end()..];
    }
    if side != "start"
        && let Some(found) = regex.find_iter(text).last().filter(|found| found.end() == text.len())
    {
        text = &text[..found.start()];
    }
    Ok(Some(Value::Text(text.to_owned())))
}
