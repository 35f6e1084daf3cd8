//! From text to SQL in one call.

use std::time::SystemTime;

use rusqlite::{Connection, Row, types::Value};

use crate::{
    bind::{self, Render},
    error::{Error, Fault},
    parser,
    schema::{Column, Schema},
    time,
};

/// A query in SQL. It runs on a connection that [`register`](crate::register) has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// One `SELECT`, without parameters. `now()` and `ago()` are moments in it, so it answers for the moment of compilation.
    pub sql: String,
    /// The columns of the answer.
    pub columns: Vec<Column>,
    /// The chart that the query asks for.
    pub render: Option<Render>,
}

/// Compiles a query for this moment.
pub fn compile(text: &str, schema: &Schema) -> Result<Compiled, Error> {
    compile_at(text, schema, SystemTime::now())
}

/// Compiles a query whose `now()` is the given moment, cut to milliseconds.
pub fn compile_at(text: &str, schema: &Schema, now: SystemTime) -> Result<Compiled, Error> {
    let at = |fault: Fault| Error::at(text, fault);
    let query = parser::parse(text).map_err(at)?;
    let bound = bind::bind(&query, schema, moment(now)).map_err(at)?;
    Ok(Compiled { sql: bound.sql, columns: bound.columns, render: bound.render })
}

/// Milliseconds since the year 1.
fn moment(now: SystemTime) -> i64 {
    let since = match now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |before| -before)
        }
    };
    since.saturating_add(time::EPOCH_MS)
}

impl Compiled {
    /// Runs the query and collects its rows. For large answers use [`export`](crate::export), which holds none of them.
    pub fn rows(&self, connection: &Connection) -> rusqlite::Result<Vec<Vec<Value>>> {
        let mut statement = connection.prepare(&self.sql)?;
        let width = self.columns.len();
        let row = |row: &Row<'_>| (0..width).map(|at| row.get(at)).collect();
        statement.query_map([], row)?.collect()
    }
}
