//! What a query may touch.
//!
//! U1  Only reading: everything that is no part of a `SELECT` is refused when the query is prepared.
//! U2  Only the views, and the functions that list the parts of a JSON value. The tables below are reached through the
//!     views alone, so that nobody comes to rely on them.
//!
//! Absent on purpose: secrets. Who may query may read all of the hub; U2 keeps a promise small and is no wall. So what
//! reads no column is let through: the database does not say that a view is behind it.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization},
};

use crate::{
    error::ONLY_QUERIES,
    views::{self, VIEWS},
};

/// Listing the parts of a value.
const LISTS: [&str; 2] = ["json_each", "json_tree"];

/// The reason of the last refusal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard(Arc<Mutex<Option<String>>>);

impl Guard {
    /// From here on the connection answers queries over the views and does nothing else.
    pub(crate) fn install(conn: &mut Connection) -> rusqlite::Result<Self> {
        let guard = Self::default();
        let reasons = guard.clone();
        conn.authorizer(Some(move |context: AuthContext<'_>| match judge(&context) {
            Ok(()) => Authorization::Allow,
            Err(why) => {
                reasons.slot().get_or_insert(why);
                Authorization::Deny
            }
        }))?;
        Ok(guard)
    }

    /// Why the query was refused, if it was.
    pub(crate) fn take(&self) -> Option<String> {
        self.slot().take()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn judge(context: &AuthContext<'_>) -> Result<(), String> {
    match context.action {
        AuthAction::Function { function_name }
            if function_name.eq_ignore_ascii_case("load_extension") =>
        {
            Err("extensions cannot be loaded here".to_owned())
        }
        AuthAction::Select | AuthAction::Recursive | AuthAction::Function { .. } => Ok(()),
        AuthAction::Read { table_name, column_name } => {
            let is_within = context.accessor.is_some_and(views::is_ours);
            let offered = is_offered(table_name, context.database_name);
            if is_within || column_name.is_empty() || offered {
                Ok(())
            } else {
                Err(format!("`{table_name}` cannot be queried; there are {}", views::names()))
            }
        }
        AuthAction::Pragma { .. } => {
            Err(format!("pragmas cannot be used here; there are {}", views::names()))
        }
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Err(format!("other databases cannot be attached here; there are {}", views::names()))
        }
        _ => Err(ONLY_QUERIES.to_owned()),
    }
}

/// The views are temporary; a table of the hub has the name of one.
fn is_offered(table: &str, database: Option<&str>) -> bool {
    let is_view = VIEWS.iter().any(|view| view.name.eq_ignore_ascii_case(table));
    is_view && database == Some("temp") || LISTS.iter().any(|name| name.eq_ignore_ascii_case(table))
}
