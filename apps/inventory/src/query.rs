//! Questions to the local copy, in SQL or in Kusto's language.
//!
//! K1  Nothing that is asked can write: the connection cannot, and SQL has to begin with `SELECT` or `WITH`.
//! K2  An answer has at most [`ROWS`] rows and takes at most [`TIME`]; exports have all rows and take their time.

use std::{path::Path, time::Duration};

use everstep_kql::{Compiled, Schema, chart, compile, export::Select, register};
use rusqlite::{Connection, types::Value as Cell};
use serde_json::{Value, json};

use crate::spool;

/// Rows of an answer.
pub(crate) const ROWS: usize = 10_000;
/// What an answer may take.
pub(crate) const TIME: Duration = Duration::from_mins(1);

/// A question that is understood.
pub(crate) enum Question {
    Sql(String),
    Kusto(Compiled),
}

/// Rows, and what they are.
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
    pub(crate) is_cut: bool,
    /// An SVG, if the question asks for one.
    pub(crate) chart: Option<String>,
}

impl Question {
    /// The text says which language it is in. The error is for whoever wrote it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let word = text.split_whitespace().next().unwrap_or_default();
        if ["select", "with"].iter().any(|sql| word.eq_ignore_ascii_case(sql)) {
            return Ok(Self::Sql(text.to_owned()));
        }
        if word.is_empty() {
            return Err("the query is empty; write KQL, or SQL that begins with SELECT".to_owned());
        }
        compile(text, &Schema::inventory()).map(Self::Kusto).map_err(|error| error.to_string())
    }

    pub(crate) fn select(&self, db: &Connection) -> Result<Select, String> {
        match self {
            Self::Sql(sql) => Select::sql(db, sql.as_str()).map_err(|error| error.to_string()),
            Self::Kusto(compiled) => Ok(Select::compiled(compiled)),
        }
    }

    pub(crate) fn answer(&self, db: &Connection) -> Result<Answer, String> {
        let sql = match self {
            Self::Sql(sql) => sql,
            Self::Kusto(compiled) => &compiled.sql,
        };
        let mut answer = rows(db, sql).map_err(|error| error.to_string())?;
        if let Self::Kusto(compiled) = self {
            answer.columns = compiled.columns.iter().map(|column| column.name.clone()).collect();
            let render = compiled.render.as_ref();
            answer.chart =
                render.and_then(|render| chart::of(render, &compiled.columns, &answer.rows));
        }
        Ok(answer)
    }
}

fn rows(db: &Connection, sql: &str) -> rusqlite::Result<Answer> {
    let mut statement = db.prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = columns.len();
    let mut found = statement.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        if rows.len() == ROWS {
            return Ok(Answer { columns, rows, is_cut: true, chart: None });
        }
        rows.push((0..width).map(|at| row.get(at)).collect::<Result<_, _>>()?);
    }
    Ok(Answer { columns, rows, is_cut: false, chart: None })
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Vec<Value>> =
            self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        json!({ "columns": self.columns, "rows": rows, "truncated": self.is_cut, "chart": self.chart })
    }
}

fn cell(cell: &Cell) -> Value {
    match cell {
        Cell::Null | Cell::Blob(_) => Value::Null,
        Cell::Integer(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Text(text) => json!(text),
    }
}

/// Opens the copy for questions.
pub(crate) fn open(path: &Path) -> Result<Connection, spool::Error> {
    let db = spool::open_to_read(path)?;
    register(&db)?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        Question::parse(text).err().unwrap()
    }

    #[test]
    fn the_language_is_told_from_the_first_word() {
        for sql in ["SELECT 1", " select 1", "With a AS (SELECT 1) SELECT * FROM a"] {
            assert!(matches!(Question::parse(sql), Ok(Question::Sql(_))), "{sql}");
        }
        for kql in
            ["FileInventory_CL | count", "let a = 1; FileInventory_CL | where FileSizeBytes > a"]
        {
            assert!(matches!(Question::parse(kql), Ok(Question::Kusto(_))), "{kql}");
        }
        assert_eq!(said(" "), "the query is empty; write KQL, or SQL that begins with SELECT");
        for other in ["DELETE FROM FileInventory_CL", "ATTACH 'a' AS b", "Fileinventory | count"] {
            assert!(said(other).contains('^'), "{}", said(other));
        }
    }
}
