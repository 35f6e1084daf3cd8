//! SQL over the hub, for the management API: with a host that runs, and with one that only looks.

use std::{path::PathBuf, time::Duration};

use everstep::Client;
use everstep_http::{Sql, SqlTable};
use everstep_sql::{Limits, Overlay, Session};
use everstep_store_embedded::sqlite;
use everstep_worker::BoxFuture;

/// A query may take this long.
const TIME: Duration = Duration::from_secs(30);

/// Where the tables are, and whether somebody writes them.
pub(crate) struct HubSql {
    pub(crate) client: Client,
    pub(crate) tables: PathBuf,
    pub(crate) files: Files,
}

/// Whether the files of the hub are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    InUse,
    AtRest,
}

impl Sql for HubSql {
    fn query(&self, query: String, limit: usize) -> BoxFuture<Result<SqlTable, String>> {
        let (client, tables, files) = (self.client.clone(), self.tables.clone(), self.files);
        Box::pin(async move {
            // What is not folded is asked for before the tables are read: the other order loses rows that move between.
            let unfolded = client.unfolded().await.map_err(|error| error.to_string())?;
            let overlay = Overlay { rows: unfolded.rows, purged: unfolded.purged };
            let run = move || answer(&tables, files, &overlay, &query, limit);
            tokio::task::spawn_blocking(run).await.map_err(|error| error.to_string())?
        })
    }
}

fn answer(
    tables: &std::path::Path,
    files: Files,
    overlay: &Overlay,
    query: &str,
    limit: usize,
) -> Result<SqlTable, String> {
    let session = match files {
        Files::InUse => Session::open(tables, overlay),
        Files::AtRest => {
            let connection = sqlite::connect_at_rest(tables).map_err(|error| error.to_string())?;
            Session::over(connection, overlay)
        }
    };
    let limits = Limits { rows: limit, time: TIME };
    let answer = session
        .and_then(|mut session| session.query(query, &[], limits))
        .map_err(|error| error.to_string())?;
    Ok(SqlTable { columns: answer.columns, rows: answer.rows, truncated: answer.truncated })
}
