//! Deleting purged instances, at once when they are few, else in small steps.
//!
//! P1  From the fold that purges it, no read shows an execution that `purging` covers.
//! P2  A newer execution of a purged number stays: deletion asks for the execution, not only for the number.
//! P3  The id of a purged instance is free at once: a new row under it removes the old one.

use everstep_model::Purged;
use everstep_store::Row;
use rusqlite::{Connection, params};

use super::row::number;

/// A fold that purges more than this leaves the deletion to later steps.
pub(super) const AT_ONCE_MAX: usize = 200;

/// A step ends after this many instances.
const STEP_INSTANCES: usize = 200;

/// A step ends after this many deleted rows of any table, if it ends sooner: histories may be long.
const STEP_ROWS: usize = 5_000;

/// Holds for rows of `instance` that `purging` does not cover.
pub(super) const VISIBLE: &str = "not exists (select 1 from purging p where p.iid = instance.iid and p.execution >= instance.execution)";

/// Leaves a deletion to later steps.
pub(super) fn note(conn: &Connection, gone: Purged) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "insert into purging (iid, execution) values (?1, ?2)
         on conflict (iid) do update set execution = max(execution, excluded.execution)",
    )?
    .execute(params![number(gone.iid), gone.execution])?;
    Ok(())
}

/// Deletes row, history and payloads up to the execution; says how many rows of all tables that were.
pub(super) fn delete(conn: &Connection, gone: Purged) -> rusqlite::Result<usize> {
    let upto = params![number(gone.iid), gone.execution];
    let mut deleted = 0;
    for sql in [
        "delete from instance where iid = ?1 and execution <= ?2",
        "delete from history where iid = ?1 and execution <= ?2",
        "delete from payload where iid = ?1 and execution <= ?2",
    ] {
        deleted += conn.prepare_cached(sql)?.execute(upto)?;
    }
    Ok(deleted)
}

/// Whether any deletion was left to later steps.
pub(super) fn is_pending(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("select 1 from purging")?.exists([])
}

/// Removes the row of a purged instance that has the same id as a new one.
pub(super) fn free_id(conn: &Connection, new: &Row) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "delete from instance where id = ?1 and iid <> ?2
         and exists (select 1 from purging p where p.iid = instance.iid and p.execution >= instance.execution)",
    )?
    .execute(params![new.id.as_str(), number(new.iid)])?;
    Ok(())
}

/// Carries out a bounded part of what was left; `true` if there is more.
pub(super) fn step(conn: &Connection) -> rusqlite::Result<bool> {
    let mut deleted = 0;
    for gone in pending(conn)? {
        deleted += delete(conn, gone)?;
        conn.prepare_cached("delete from purging where iid = ?1")?.execute([number(gone.iid)])?;
        if deleted >= STEP_ROWS {
            break;
        }
    }
    is_pending(conn)
}

fn pending(conn: &Connection) -> rusqlite::Result<Vec<Purged>> {
    let mut select =
        conn.prepare_cached("select iid, execution from purging order by iid limit ?1")?;
    let purged = select.query_map([STEP_INSTANCES], |row| {
        Ok(Purged { iid: super::row::iid(row, 0)?, execution: row.get(1)? })
    })?;
    purged.collect()
}
