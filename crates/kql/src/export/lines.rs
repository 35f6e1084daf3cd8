//! CSV as RFC 4180 has it, and JSON by lines.

use std::{
    borrow::Cow,
    io::{BufWriter, Write},
};

use rusqlite::{Connection, types::ValueRef};
use serde_json::{Value as Json, value::RawValue};

use super::{Error, Select};
use crate::{schema::Type, time};

/// Writes a line of names and a line for each row; answers how many rows there were. Null is an empty field.
pub fn csv(connection: &Connection, select: &Select, writer: impl Write) -> Result<u64, Error> {
    let mut writer = BufWriter::new(writer);
    let names: Vec<Cow<'_, str>> =
        select.columns.iter().map(|column| escaped(column.name.as_str().into())).collect();
    write!(writer, "{}\r\n", names.join(","))?;
    let count = select.each_row(connection, |values| {
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                writer.write_all(b",")?;
            }
            writer.write_all(escaped(field(*value, select.columns[at].kind)).as_bytes())?;
        }
        Ok(writer.write_all(b"\r\n")?)
    })?;
    writer.flush()?;
    Ok(count)
}

fn field(value: ValueRef<'_>, kind: Type) -> Cow<'_, str> {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => "".into(),
        ValueRef::Integer(value) if kind == Type::Bool => (value != 0).to_string().into(),
        ValueRef::Integer(ticks) if kind == Type::Timespan => time::timespan_text(ticks).into(),
        ValueRef::Integer(number) => number.to_string().into(),
        ValueRef::Real(number) => number.to_string().into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text),
    }
}

fn escaped(field: Cow<'_, str>) -> Cow<'_, str> {
    if !field.contains([',', '"', '\n', '\r']) {
        return field;
    }
    format!("\"{}\"", field.replace('"', "\"\"")).into()
}

/// Writes one JSON object for each row; answers how many rows there were.
pub fn ndjson(connection: &Connection, select: &Select, writer: impl Write) -> Result<u64, Error> {
    let mut writer = BufWriter::new(writer);
    let keys: Vec<String> =
        select.columns.iter().map(|column| Json::from(column.name.as_str()).to_string()).collect();
    let count = select.each_row(connection, |values| {
        for (at, value) in values.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(writer, "{before}{}:{}", keys[at], json(*value, select.columns[at].kind))?;
        }
        Ok(writer.write_all(b"}\n")?)
    })?;
    writer.flush()?;
    Ok(count)
}

fn json(value: ValueRef<'_>, kind: Type) -> Cow<'_, str> {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => "null".into(),
        ValueRef::Real(number) => Json::from(number).to_string().into(),
        ValueRef::Integer(number) if !matches!(kind, Type::Bool | Type::Timespan) => {
            number.to_string().into()
        }
        ValueRef::Integer(value) if kind == Type::Bool => (value != 0).to_string().into(),
        ValueRef::Text(text) if kind == Type::Dynamic => {
            match serde_json::from_slice::<&RawValue>(text) {
                Ok(raw) => raw.get().into(),
                Err(_) => Json::from(String::from_utf8_lossy(text)).to_string().into(),
            }
        }
        ValueRef::Integer(_) | ValueRef::Text(_) => {
            Json::from(field(value, kind)).to_string().into()
        }
    }
}
