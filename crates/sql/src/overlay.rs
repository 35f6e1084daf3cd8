//! What the host has in memory and the tables lack, laid over them.
//!
//! D1  The overlay wins by number. It is taken before the session's transaction begins, so that a fold between the two
//!     shows a row twice at most, and never not at all; the older version, the overlay's, is the one shown.
//! D2  The history of an overlaid instance ends where the overlay says, also if the tables know more by then.

use everstep_model::{Iid, PayloadRef, Purged, Value};
use everstep_store::{FoldedRow, Row};
use rusqlite::{
    Connection, params,
    types::{ToSqlOutput, ValueRef},
};

use crate::{Error, live::Live, text};

/// The changes of a hub that are durable and not folded: what the next fold would bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Each instance that changed: its present row with the `live` blob, the executions it keeps, and the events and
    /// payloads that came since the last fold that is in the tables.
    pub rows: Vec<FoldedRow>,
    /// What was purged.
    pub purged: Vec<Purged>,
}

pub(crate) const TABLES: &str = "
create temp table everstep_overlay (
    iid integer primary key, id text not null, kind integer not null, execution integer not null,
    execution_id text not null, name text not null, version text not null, status integer not null,
    created integer not null, updated integer not null, completed integer, parent text, tags text, wake integer,
    input, output, custom_status, input_ref blob, output_ref blob, custom_status_ref blob, failure text,
    live blob not null, keep_from integer not null, events integer not null
);
create unique index temp.everstep_overlay_id on everstep_overlay (id);
create temp table everstep_overlay_chunk (
    iid integer not null, execution integer not null, seq integer not null, chunk blob not null,
    primary key (iid, execution, seq)
) without rowid;
create temp table everstep_overlay_payload (
    iid integer not null, execution integer not null, n integer not null, bytes blob not null,
    primary key (iid, execution, n)
) without rowid;
create temp table everstep_gone (iid integer primary key, execution integer not null);
create temp table everstep_side (side integer primary key);
insert into temp.everstep_side values (0), (1);
create temp table everstep_status (number integer primary key, name text not null unique);
";

/// Fills the tables of [`TABLES`].
pub(crate) fn load(conn: &Connection, overlay: &Overlay) -> Result<(), Error> {
    for status in everstep_model::Status::ALL {
        conn.execute(
            "insert into temp.everstep_status values (?1, ?2)",
            params![status as u8, status.name()],
        )
        .map_err(Error::tables)?;
    }
    for gone in &overlay.purged {
        conn.prepare_cached(
            "insert into temp.everstep_gone values (?1, ?2)
             on conflict (iid) do update set execution = max(execution, excluded.execution)",
        )
        .and_then(|mut insert| insert.execute(params![number(gone.iid), gone.execution]))
        .map_err(Error::tables)?;
    }
    for folded in &overlay.rows {
        let live = if folded.row.live.is_empty() {
            Ok(0)
        } else {
            Live::decode(&folded.row.live).map(|live| live.events())
        };
        let events = live.map_err(|error| Error::Failed { message: error.to_string() })?;
        put(conn, folded, events).map_err(Error::tables)?;
    }
    Ok(())
}

fn put(conn: &Connection, folded: &FoldedRow, events: u32) -> rusqlite::Result<()> {
    put_row(conn, folded, events)?;
    let mut chunks = conn.prepare_cached(
        "insert or replace into temp.everstep_overlay_chunk values (?1, ?2, ?3, ?4)",
    )?;
    for chunk in &folded.chunks {
        let place = (number(chunk.iid), chunk.execution, chunk.seq);
        chunks.execute(params![place.0, place.1, place.2, &chunk.bytes[..]])?;
    }
    let mut payloads = conn.prepare_cached(
        "insert or replace into temp.everstep_overlay_payload values (?1, ?2, ?3, ?4)",
    )?;
    for (payload, bytes) in &folded.payloads {
        payloads.execute(params![number(payload.iid), payload.execution, payload.n, &bytes[..]])?;
    }
    Ok(())
}

/// An id whose former instance was purged may be used again: the newer number wins.
fn put_row(conn: &Connection, folded: &FoldedRow, events: u32) -> rusqlite::Result<()> {
    let Row { id, name, version, failure, .. } = &folded.row;
    let row = &folded.row;
    let tags = (!row.tags.is_empty()).then(|| serde_json::json!(row.tags).to_string());
    conn.prepare_cached(
        "insert or replace into temp.everstep_overlay values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
             ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
    )?
    .execute(params![
        number(row.iid),
        id.as_str(),
        matches!(id.kind(), everstep_model::Kind::Entity),
        row.execution,
        row.execution_id.as_str(),
        name,
        version,
        row.status as u8,
        row.created.ticks(),
        row.updated.ticks(),
        row.completed.map(everstep_model::Timestamp::ticks),
        row.parent.as_ref().map(everstep_model::InstanceId::as_str),
        tags,
        row.wake.stored(),
        inline(row.input.as_ref()),
        inline(row.output.as_ref()),
        inline(row.custom_status.as_ref()),
        reference(row.input.as_ref()),
        reference(row.output.as_ref()),
        reference(row.custom_status.as_ref()),
        failure.as_ref().map(text::of_failure),
        &row.live[..],
        folded.keep_from,
        events,
    ])?;
    Ok(())
}

fn number(iid: Iid) -> i64 {
    i64::try_from(iid.0).expect("a hub has at most 2^15 partitions")
}

fn inline(value: Option<&Value>) -> Option<ToSqlOutput<'_>> {
    Some(ToSqlOutput::Borrowed(ValueRef::Blob(value?.inline()?)))
}

/// A payload's reference in the form that the tables have.
fn reference(value: Option<&Value>) -> Option<Vec<u8>> {
    let Some(Value::Ref(PayloadRef { iid, execution, n, len, crc })) = value else { return None };
    let fields = [execution, n, len, crc].map(|field| field.to_le_bytes());
    Some([&iid.0.to_le_bytes()[..], fields.as_flattened()].concat())
}
