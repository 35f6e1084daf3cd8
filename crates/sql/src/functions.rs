//! The functions that the views are made with, and [`TICKS`], which is meant for people.

use everstep_model::{InstanceId, Timestamp};
use everstep_store::BoxError;
use rusqlite::{
    Connection, Error, Result,
    functions::{Aggregate, Context, FunctionFlags},
    types::ValueRef,
};

use crate::{
    history::{Piece, Pieces, Upto, Which},
    live::Live,
    text,
};

/// Turns a written time into the number that the `_ticks` columns have.
const TICKS: &str = "ticks";

pub(crate) fn register(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function(TICKS, 1, flags, |context| {
        let Some(text) = context.get::<Option<String>>(0)? else { return Ok(None) };
        let time = text::time(&text).map_err(|error| failure(error.into()))?;
        Ok(Some(time.ticks()))
    })?;
    conn.create_scalar_function("everstep_time", 1, flags, |context| {
        let ticks: Option<i64> = context.get(0)?;
        Ok(ticks.map(|ticks| Timestamp::from_ticks(ticks).to_string()))
    })?;
    conn.create_scalar_function("everstep_value", 2, flags, |context| {
        Ok(bytes(context, 0).or_else(|| bytes(context, 1)).and_then(text::of_bytes))
    })?;
    conn.create_scalar_function("everstep_ref_execution", 1, flags, |context| {
        Ok(reference(context).map(|(execution, _)| execution))
    })?;
    conn.create_scalar_function("everstep_ref_n", 1, flags, |context| {
        Ok(reference(context).map(|(_, n)| n))
    })?;
    conn.create_scalar_function("everstep_entity_key", 1, flags, |context| {
        let id = InstanceId::from_stored(&context.get::<String>(0)?);
        Ok(id.entity_parts().map(|(_, key)| key.to_owned()))
    })?;
    from_live(conn, "everstep_timers", |live| Some(live.timers()))?;
    from_live(conn, "everstep_buffered", |live| Some(live.buffered()))?;
    from_live(conn, "everstep_locked_by", Live::locked_by)?;
    from_live(conn, "everstep_parked", Live::parked)?;
    from_live(conn, "everstep_waiting_for", Live::waiting_for)?;
    conn.create_scalar_function("everstep_queue", 1, flags, |context| {
        Ok(live(context, 0)?.map(|live| live.queue()))
    })?;
    conn.create_aggregate_function("everstep_history", 5, flags, Lines(Which::All))?;
    conn.create_aggregate_function("everstep_raised", 5, flags, Lines(Which::Raised))?;
    conn.create_aggregate_function("everstep_activities", 6, flags, Activities)
}

fn from_live(conn: &Connection, name: &str, read: fn(&Live) -> Option<String>) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function(name, 1, flags, move |context| {
        Ok(live(context, 0)?.as_ref().and_then(read))
    })
}

/// The blob in an argument; a row may have none yet.
fn live(context: &Context<'_>, argument: usize) -> Result<Option<Live>> {
    let blob = bytes(context, argument).filter(|blob| !blob.is_empty());
    blob.map(Live::decode).transpose().map_err(failure)
}

fn bytes<'a>(context: &'a Context<'_>, argument: usize) -> Option<&'a [u8]> {
    match context.get_raw(argument) {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}

/// Execution and number in the 24 bytes of a payload's reference.
fn reference(context: &Context<'_>) -> Option<(u32, u32)> {
    let reference: &[u8; 24] = bytes(context, 0)?.try_into().ok()?;
    let field = |at: usize| {
        u32::from_le_bytes([reference[at], reference[at + 1], reference[at + 2], reference[at + 3]])
    };
    Some((field(8), field(12)))
}

fn failure(error: BoxError) -> Error {
    Error::UserFunctionError(error)
}

/// Adds the chunk in the arguments from `at`: execution, seq, chunk, and where the history ends (execution and events,
/// or null).
fn take(context: &Context<'_>, at: usize, pieces: &mut Pieces) -> Result<()> {
    let (execution, seq) = (context.get(at)?, context.get(at + 1)?);
    let chunk = bytes(context, at + 2).unwrap_or_default().to_vec();
    pieces.pieces.push(Piece { execution, seq, chunk });
    let upto: (Option<u32>, Option<u32>) = (context.get(at + 3)?, context.get(at + 4)?);
    if let (Some(execution), Some(events)) = upto {
        pieces.upto = Some(Upto { execution, events });
    }
    Ok(())
}

/// The lines of the history that is made of these chunks.
struct Lines(Which);

impl Aggregate<Pieces, Option<String>> for Lines {
    fn init(&self, _: &mut Context<'_>) -> Result<Pieces> {
        Ok(Pieces::default())
    }

    fn step(&self, context: &mut Context<'_>, pieces: &mut Pieces) -> Result<()> {
        take(context, 0, pieces)
    }

    fn finalize(&self, _: &mut Context<'_>, pieces: Option<Pieces>) -> Result<Option<String>> {
        pieces.map(|pieces| pieces.lines(self.0)).transpose().map_err(failure)
    }
}

/// The activities in these chunks; the first argument is the row's `live` blob.
struct Activities;

/// What [`Activities`] gathers.
#[derive(Default)]
struct Gathered {
    pieces: Pieces,
    live: Vec<u8>,
}

impl Aggregate<Gathered, Option<String>> for Activities {
    fn init(&self, _: &mut Context<'_>) -> Result<Gathered> {
        Ok(Gathered::default())
    }

    fn step(&self, context: &mut Context<'_>, gathered: &mut Gathered) -> Result<()> {
        if gathered.pieces.pieces.is_empty() {
            gathered.live = bytes(context, 0).unwrap_or_default().to_vec();
        }
        take(context, 1, &mut gathered.pieces)
    }

    fn finalize(&self, _: &mut Context<'_>, found: Option<Gathered>) -> Result<Option<String>> {
        let Some(Gathered { pieces, live }) = found else { return Ok(None) };
        let live = Live::decode(&live).map_err(failure)?;
        pieces.activities(&live).map(Some).map_err(failure)
    }
}
