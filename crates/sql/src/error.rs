//! What a person who wrote a query is told.

use std::time::Duration;

use rusqlite::ErrorCode;

use crate::views;

/// What is said of everything that is no query.
pub(crate) const ONLY_QUERIES: &str = "only queries can be run here (SELECT, WITH, EXPLAIN); to change something, use the commands or the HTTP API";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query asks for something that is not offered. Ask for something else.
    #[error("{why}")]
    Refused {
        /// What is offered instead.
        why: String,
    },
    /// The query is no valid SQL over the views.
    #[error("{message} (line {line}, column {column})")]
    Invalid {
        /// What the database said.
        message: String,
        /// The line of the query, from 1.
        line: usize,
        /// The character in that line, from 1.
        column: usize,
    },
    /// The query failed while it ran.
    #[error("the query failed: {message}")]
    Failed {
        /// What the database said.
        message: String,
    },
    /// The query took longer than it may. Ask for less, or allow more time.
    #[error(
        "the query took longer than {} s and was stopped; ask for less (`where instance = ...` reads one instance only), or allow more time",
        time.as_secs_f64()
    )]
    TooSlow {
        /// What it may take.
        time: Duration,
    },
    /// Parameters and placeholders do not match.
    #[error("the query has {wanted} placeholders, and {given} parameters were given")]
    Parameters {
        /// How many were given.
        given: usize,
        /// How many the query has.
        wanted: usize,
    },
    /// The tables could not be opened or read.
    #[error("the tables cannot be read: {source}")]
    Tables {
        /// What the database said.
        source: rusqlite::Error,
    },
}

impl Error {
    pub(crate) fn tables(source: rusqlite::Error) -> Self {
        Self::Tables { source }
    }

    /// The meaning of an error of a query; `refusal` is what the guard said, if it said something.
    pub(crate) fn of_query(
        error: rusqlite::Error,
        sql: &str,
        refusal: Option<String>,
        time: Duration,
    ) -> Self {
        if let Some(why) = refusal {
            return Self::Refused { why };
        }
        if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
            return Self::TooSlow { time };
        }
        if let rusqlite::Error::SqliteFailure(_, Some(message))
        | rusqlite::Error::SqlInputError { msg: message, .. } = &error
            && message.starts_with("no such table")
        {
            return Self::Refused { why: format!("{message}; there are {}", views::names()) };
        }
        // Views refuse changes before the guard is asked.
        if error.to_string().starts_with("cannot modify") {
            return Self::Refused { why: ONLY_QUERIES.to_owned() };
        }
        match error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                let (line, column) = place(sql, usize::try_from(offset).unwrap_or(0));
                Self::Invalid { message: msg, line, column }
            }
            rusqlite::Error::MultipleStatement => Self::Refused {
                why: "one query at a time; leave out what follows the `;`".to_owned(),
            },
            rusqlite::Error::InvalidParameterCount(given, wanted) => {
                Self::Parameters { given, wanted }
            }
            rusqlite::Error::SqliteFailure(_, Some(message)) => Self::Failed { message },
            other => Self::Failed { message: other.to_string() },
        }
    }
}

/// Line and column of a byte of the query.
fn place(sql: &str, offset: usize) -> (usize, usize) {
    let before = sql.get(..offset).unwrap_or(sql);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
