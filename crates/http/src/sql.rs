//! Queries in SQL, where the store has it.

use axum::response::IntoResponse as _;
use everstep_worker::BoxFuture;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    api::Call,
    error::{Answer, Refusal},
    json,
};

/// Rows of an answer where the request names no number.
const LIMIT: usize = 1_000;
/// The most rows of an answer.
const LIMIT_MAX: usize = 100_000;

/// Runs queries over the tables of a hub. They only read.
pub trait Sql: Send + Sync {
    /// At most `limit` rows of a query; an error is a text for whoever wrote it.
    fn query(&self, query: String, limit: usize) -> BoxFuture<Result<SqlTable, String>>;
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SqlTable {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, with a value for each column.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether the limit cut rows off.
    pub truncated: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    query: String,
    limit: Option<usize>,
}

/// `POST sql`
pub(crate) async fn sql(call: Call) -> Answer {
    let Some(sql) = call.api.options.sql.clone() else { return Err(Refusal::no_sql()) };
    let Body { query, limit } = serde_json::from_slice(&call.body).map_err(|error| {
        Refusal::bad(format!("the body is not a query ({error}); write `{{\"query\": \"select ...\", \"limit\": 100}}`"))
    })?;
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    Ok(match sql.query(query, limit).await {
        Ok(table) => json::json(StatusCode::OK, &table),
        Err(text) => Refusal::bad(text).into_response(),
    })
}
