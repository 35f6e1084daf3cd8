//! A session: one state of the hub, and queries over it.
//!
//! Z1  All queries of a session see the same state: the overlay as it was handed in, and the tables as of the opening.
//! Z2  Nothing is written to the tables. Temporary tables and views belong to the connection and go with it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, Rows, types::ValueRef};
use serde_json::{Number, Value};

use crate::{Error, Overlay, error::ONLY_QUERIES, functions, guard::Guard, overlay, text, views};

/// After how many steps of the database the clock is read.
const STEPS_PER_LOOK: i32 = 1000;

/// Another process may hold the database for as long as it recovers it.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How much a query may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// No more rows than these are answered.
    pub rows: usize,
    /// A query that takes longer is stopped.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 1000, time: Duration::from_secs(10) }
    }
}

/// What a query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than the limit.
    pub truncated: bool,
}

/// One state of a hub, open for queries. Short-lived: while it lasts, the tables' write-ahead log keeps that state.
pub struct Session {
    conn: Connection,
    guard: Guard,
}

impl Session {
    /// Opens the tables of a hub whose host runs. The overlay must have been taken before the call.
    pub fn open(tables_file: &Path, overlay: &Overlay) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(tables_file, flags).map_err(Error::tables)?;
        conn.busy_timeout(BUSY_WAIT).map_err(Error::tables)?;
        Self::begin(conn, overlay)
    }

    /// Queries over a connection that the store opened: for a hub at rest, whose tables must be read without a trace.
    pub fn over(conn: Connection, overlay: &Overlay) -> Result<Self, Error> {
        Self::begin(conn, overlay)
    }

    fn begin(mut conn: Connection, overlay: &Overlay) -> Result<Self, Error> {
        functions::register(&conn).map_err(Error::tables)?;
        conn.execute_batch(overlay::TABLES).map_err(Error::tables)?;
        conn.execute_batch("begin").map_err(Error::tables)?;
        overlay::load(&conn, overlay)?;
        conn.execute_batch(&views::create()).map_err(Error::tables)?;
        conn.execute_batch("commit; pragma query_only = on; begin").map_err(Error::tables)?;
        // Reading something fixes the state that all queries see.
        conn.query_row("select count(*) from main.meta", [], |_| Ok(())).map_err(Error::tables)?;
        let guard = Guard::install(&mut conn).map_err(Error::tables)?;
        Ok(Self { conn, guard })
    }

    /// Answers one query over the views. Parameters fill the placeholders `?1`, `?2`, ... in order.
    pub fn query(&mut self, sql: &str, params: &[Value], limits: Limits) -> Result<Answer, Error> {
        let began = Instant::now();
        let is_over = move || began.elapsed() > limits.time;
        self.conn.progress_handler(STEPS_PER_LOOK, Some(is_over)).map_err(Error::tables)?;
        self.guard.take();
        match run(&self.conn, sql, params, limits.rows) {
            Ok(Found::Answer(answer)) => Ok(answer),
            Ok(Found::Change) => Err(Error::Refused { why: ONLY_QUERIES.to_owned() }),
            Ok(Found::Nothing) => {
                Err(Error::Refused { why: "there is no query; write `select ...`".to_owned() })
            }
            Err(error) => Err(Error::of_query(error, sql, self.guard.take(), limits.time)),
        }
    }
}

/// What the text turned out to be.
enum Found {
    Answer(Answer),
    /// A statement that is no query.
    Change,
    /// No statement at all.
    Nothing,
}

fn run(conn: &Connection, sql: &str, params: &[Value], limit: usize) -> rusqlite::Result<Found> {
    let mut statement = conn.prepare(sql)?;
    if !statement.readonly() {
        return Ok(Found::Change);
    }
    if statement.column_count() == 0 {
        return Ok(Found::Nothing);
    }
    let columns = statement.column_names().map(str::to_owned).collect();
    let params = params.iter().map(parameter);
    let mut found = statement.query(rusqlite::params_from_iter(params))?;
    let (rows, truncated) = read(&mut found, limit)?;
    Ok(Found::Answer(Answer { columns, rows, truncated }))
}

fn read(found: &mut Rows<'_>, limit: usize) -> rusqlite::Result<(Vec<Vec<Value>>, bool)> {
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        if rows.len() == limit {
            return Ok((rows, true));
        }
        let width = row.as_ref().column_count();
        let row = (0..width).map(|column| row.get_ref(column).map(answer));
        rows.push(row.collect::<rusqlite::Result<_>>()?);
    }
    Ok((rows, false))
}

fn parameter(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Bool(flag) => i64::from(*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or(f64::INFINITY).into(),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(_) | Value::Object(_) => value.to_string().into(),
    }
}

fn answer(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(whole) => whole.into(),
        // Infinity has no form in JSON.
        ValueRef::Real(real) => Number::from_f64(real).map_or(Value::Null, Value::Number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            text::of_bytes(bytes).unwrap_or_default().into()
        }
    }
}
