//! `GET instances/{id}/why` and `POST sql`.

use std::sync::Arc;

use everstep_http::{Sql, SqlTable};
use everstep_worker::BoxFuture;

use crate::support::Bed;

#[tokio::test]
async fn reasons_have_a_kind_a_text_and_a_remedy() {
    let mut bed = Bed::new();
    bed.start("Wait", "waits", "null").await;
    bed.start("Lost", "lost", "null").await;
    bed.start("Nap", "nap", "null").await;
    bed.start("Hello", "done", "null").await;
    for id in ["waits", "lost", "nap", "done", "missing"] {
        bed.ask(&format!("GET instances/{id}/why")).await;
    }
    insta::assert_snapshot!(bed.transcript());
}

/// Answers with what it was asked.
struct Echo;

impl Sql for Echo {
    fn query(&self, query: String, limit: usize) -> BoxFuture<Result<SqlTable, String>> {
        let answer = match query.as_str() {
            "nonsense" => Err("`nonsense` is not a query; begin with `select`".to_owned()),
            _ => Ok(SqlTable {
                columns: vec!["query".to_owned(), "limit".to_owned()],
                rows: vec![vec![query.into(), limit.into()]],
                truncated: false,
            }),
        };
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test]
async fn sql_goes_to_whom_the_host_names() {
    let mut bed = Bed::with(|options| options.sql = Some(Arc::new(Echo)));
    bed.post("POST sql", "{\"query\": \"select 1\", \"limit\": 7}").await;
    bed.post("POST sql", "{\"query\": \"select 1\"}").await;
    bed.post("POST sql", "{\"query\": \"nonsense\"}").await;
    bed.post("POST sql", "select 1").await;
    bed.post("POST sql", "{\"query\": \"select 1\", \"top\": 7}").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn without_sql_the_refusal_names_the_other_way() {
    let mut bed = Bed::new();
    bed.post("POST sql", "{\"query\": \"select 1\"}").await;
    insta::assert_snapshot!(bed.transcript());
}
