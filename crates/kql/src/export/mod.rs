//! The rows of a `SELECT` to a writer, one after the other, as CSV, as JSON by lines, or as Parquet.
//!
//! X1  Memory does not grow with the number of rows.
//! X2  A bool, a timespan and a dynamic value leave in the form of the format, not in that of the table.
//!
//! The writer is flushed and not closed. What was written before an error stays written.

#[cfg(feature = "parquet")]
mod columnar;
mod lines;

use rusqlite::{Connection, types::ValueRef};

use crate::{
    compile::Compiled,
    schema::{Column, Schema, Type},
};

#[cfg(feature = "parquet")]
pub use columnar::parquet;
pub use lines::{csv, ndjson};

/// An export that stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused the query or a row of it.
    #[error("the rows cannot be read: {0}")]
    Read(#[from] rusqlite::Error),
    /// The writer refused bytes.
    #[error("the export cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// The Parquet file cannot be made.
    #[cfg(feature = "parquet")]
    #[error("the Parquet file cannot be written: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// What is exported: a `SELECT` and the types of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    sql: String,
    columns: Vec<Column>,
}

impl Select {
    /// The answer of a compiled query.
    pub fn compiled(query: &Compiled) -> Self {
        Self { sql: query.sql.clone(), columns: query.columns.clone() }
    }

    /// All rows of a table, or nothing when the schema lacks it.
    pub fn find_table(schema: &Schema, name: &str) -> Option<Self> {
        let table = schema.find_table(name)?;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let columns: Vec<String> =
            table.columns.iter().map(|column| quoted(&column.name)).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(name));
        Some(Self { sql, columns: table.columns.clone() })
    }

    /// The answer of a `SELECT` in SQL. The values of its first row tell the types; what is null there is text.
    pub fn sql(connection: &Connection, sql: impl Into<String>) -> rusqlite::Result<Self> {
        let sql = sql.into();
        let mut statement = connection.prepare(&sql)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut columns: Vec<Column> =
            names.into_iter().map(|name| Column { name, kind: Type::String }).collect();
        if let Some(row) = statement.query([])?.next()? {
            for (at, column) in columns.iter_mut().enumerate() {
                column.kind = match row.get_ref(at)? {
                    ValueRef::Integer(_) => Type::Long,
                    ValueRef::Real(_) => Type::Real,
                    _ => Type::String,
                };
            }
        }
        drop(statement);
        Ok(Self { sql, columns })
    }

    /// Hands each row to a function; answers how many there were.
    fn each_row(
        &self,
        connection: &Connection,
        mut take: impl FnMut(&[ValueRef<'_>]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let mut statement = connection.prepare(&self.sql)?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let values = (0..self.columns.len())
                .map(|at| row.get_ref(at))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            take(&values)?;
            count += 1;
        }
        Ok(count)
    }
}
