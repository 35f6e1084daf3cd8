//! One row of `instance`, to and from columns.
//!
//! W1  A value is text when it is UTF-8, else a blob; read back, both are its bytes.
//! W2  A reference to a payload stands in a column of its own and is never mistaken for a value.
//! W3  Tags and failures are JSON, for people; a failure is the list of its causes, the outermost first.

use bytes::Bytes;
use everstep_model::{
    ExecutionId, Failure, Iid, InstanceId, Kind, PayloadRef, Status, Tags, Timestamp, Value,
};
use everstep_store::{BoxError, Row, Wake};
use rusqlite::{
    CachedStatement, params,
    types::{ToSqlOutput, Type, ValueRef},
};
use serde_json::json;

/// All columns but `live`, in the order that [`read`] expects.
pub(super) const COLUMNS: &str = "iid, id, execution, execution_id, name, version, status, created, updated, completed, \
     parent, tags, wake, input, output, custom_status, input_ref, output_ref, custom_status_ref, failure";

/// The index of `live` behind [`COLUMNS`].
const LIVE: usize = 20;

/// Replaces all that can change; an id and its kind belong to the number.
pub(super) const UPSERT: &str = "
insert into instance (iid, id, execution, execution_id, name, version, status, created, updated, completed,
    parent, tags, wake, input, output, custom_status, input_ref, output_ref, custom_status_ref, failure, live, kind)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)
on conflict (iid) do update set
    id = excluded.id, execution = excluded.execution, execution_id = excluded.execution_id, name = excluded.name,
    version = excluded.version, status = excluded.status, created = excluded.created, updated = excluded.updated,
    completed = excluded.completed, parent = excluded.parent, tags = excluded.tags, wake = excluded.wake,
    input = excluded.input, output = excluded.output, custom_status = excluded.custom_status,
    input_ref = excluded.input_ref, output_ref = excluded.output_ref,
    custom_status_ref = excluded.custom_status_ref, failure = excluded.failure, live = excluded.live,
    kind = excluded.kind";

/// Which columns a row is read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// [`COLUMNS`].
    Shown,
    /// [`COLUMNS`] and `live`.
    All,
}

/// Binds a row to [`UPSERT`] and runs it.
pub(super) fn write(upsert: &mut CachedStatement<'_>, row: &Row) -> rusqlite::Result<usize> {
    upsert.execute(params![
        number(row.iid),
        row.id.as_str(),
        row.execution,
        row.execution_id.as_str(),
        row.name,
        row.version,
        row.status as u8,
        row.created.ticks(),
        row.updated.ticks(),
        row.completed.map(Timestamp::ticks),
        row.parent.as_ref().map(InstanceId::as_str),
        tags_text(&row.tags),
        row.wake.stored(),
        inline(row.input.as_ref()),
        inline(row.output.as_ref()),
        inline(row.custom_status.as_ref()),
        reference(row.input.as_ref()),
        reference(row.output.as_ref()),
        reference(row.custom_status.as_ref()),
        row.failure.as_ref().map(failure_text),
        &row.live[..],
        matches!(row.id.kind(), Kind::Entity),
    ])
}

/// A row of a query over [`COLUMNS`], with `live` behind them for [`Part::All`].
pub(super) fn read(row: &rusqlite::Row<'_>, part: Part) -> rusqlite::Result<Row> {
    Ok(Row {
        iid: iid(row, 0)?,
        id: InstanceId::from_stored(text(row, 1)?),
        execution: row.get(2)?,
        execution_id: ExecutionId::new(text(row, 3)?),
        name: row.get(4)?,
        version: row.get(5)?,
        status: Status::from_number(row.get(6)?).ok_or_else(|| damaged(6, "an unknown status"))?,
        created: Timestamp::from_ticks(row.get(7)?),
        updated: Timestamp::from_ticks(row.get(8)?),
        completed: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_ticks),
        parent: optional_text(row, 10)?.map(InstanceId::from_stored),
        tags: optional_text(row, 11)?
            .map_or_else(|| Ok(Tags::new()), |text| read_tags(11, text))?,
        wake: Wake::from_stored(row.get(12)?),
        input: value(row, 13, 16)?,
        output: value(row, 14, 17)?,
        custom_status: value(row, 15, 18)?,
        failure: optional_text(row, 19)?.map(|text| read_failure(19, text)).transpose()?,
        live: match part {
            Part::Shown => Bytes::new(),
            Part::All => Bytes::copy_from_slice(
                row.get_ref(LIVE)?.as_blob().map_err(|error| damaged(LIVE, error))?,
            ),
        },
    })
}

/// As stored: the highest bit is free, a hub has at most 2^15 partitions.
pub(super) fn number(iid: Iid) -> i64 {
    i64::try_from(iid.0).expect("a hub has at most 2^15 partitions")
}

/// The number in that column.
pub(super) fn iid(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Iid> {
    row.get(column).map(Iid)
}

/// An error that says that what stands in this column was not written by us.
fn damaged(column: usize, what: impl Into<BoxError>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, what.into())
}

fn text<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|error| damaged(column, error))
}

fn optional_text<'r>(
    row: &'r rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<&'r str>> {
    row.get_ref(column)?.as_str_or_null().map_err(|error| damaged(column, error))
}

fn inline(value: Option<&Value>) -> Option<ToSqlOutput<'_>> {
    let bytes = value?.inline()?;
    let column = if std::str::from_utf8(bytes).is_ok() {
        ValueRef::Text(bytes)
    } else {
        ValueRef::Blob(bytes)
    };
    Some(ToSqlOutput::Borrowed(column))
}

fn reference(value: Option<&Value>) -> Option<[u8; 24]> {
    let Some(Value::Ref(payload)) = value else { return None };
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&payload.iid.0.to_le_bytes());
    for (slot, field) in
        bytes[8..].chunks_exact_mut(4).zip([payload.execution, payload.n, payload.len, payload.crc])
    {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    Some(bytes)
}

fn value(
    row: &rusqlite::Row<'_>,
    inline: usize,
    reference: usize,
) -> rusqlite::Result<Option<Value>> {
    if let Some(reference) = row.get::<_, Option<[u8; 24]>>(reference)? {
        return Ok(Some(Value::Ref(read_reference(&reference))));
    }
    match row.get_ref(inline)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Ok(Some(Value::Inline(Bytes::copy_from_slice(bytes))))
        }
        ValueRef::Integer(_) | ValueRef::Real(_) => {
            Err(damaged(inline, "a number where a value was written"))
        }
    }
}

fn read_reference(bytes: &[u8; 24]) -> PayloadRef {
    let field =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let iid = Iid(u64::from(field(0)) | u64::from(field(4)) << 32);
    PayloadRef { iid, execution: field(8), n: field(12), len: field(16), crc: field(20) }
}

fn tags_text(tags: &Tags) -> Option<String> {
    (!tags.is_empty()).then(|| serde_json::to_string(tags).expect("texts are JSON"))
}

/// What the text of tags contains if this is one of them: quotes within names and values are escaped, so nothing else
/// looks the same.
pub(super) fn tag_text((name, value): &(String, String)) -> String {
    format!("{}:{}", json!(name), json!(value))
}

fn read_tags(column: usize, text: &str) -> rusqlite::Result<Tags> {
    serde_json::from_str(text).map_err(|error| damaged(column, error))
}

fn failure_text(failure: &Failure) -> String {
    let causes = std::iter::successors(Some(failure), |failure| failure.inner.as_deref());
    let causes = causes.map(|cause| {
        let Failure { kind, message, stack, non_retriable, inner: _ } = cause;
        json!({ "kind": kind, "message": message, "stack": stack, "nonRetriable": non_retriable })
    });
    causes.collect::<serde_json::Value>().to_string()
}

fn read_failure(column: usize, text: &str) -> rusqlite::Result<Failure> {
    let causes: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(text).map_err(|error| damaged(column, error))?;
    let failure = causes.iter().rev().fold(None, |inner, cause| {
        let field = |name| {
            cause.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
        };
        Some(Failure {
            kind: field("kind"),
            message: field("message"),
            stack: field("stack"),
            inner: inner.map(Box::new),
            non_retriable: cause.get("nonRetriable").is_some_and(|flag| flag == true),
        })
    });
    failure.ok_or_else(|| damaged(column, "a failure without a cause"))
}
