//! Writing folds.
//!
//! F1  All folds of a call are one transaction; each notes how far its partition is.
//! F2  Within a fold, deletes come before upserts, and rows are written in the order of their numbers.
//! F3  A fold that is not above what is applied is skipped, so folding twice changes nothing.

use everstep_model::{PartitionId, PayloadRef};
use everstep_store::{Chunk, Fold, FoldedRow};
use rusqlite::{Connection, params};

use super::{
    purge,
    row::{self, number},
};

/// Writes the folds within the transaction that the connection has open; says how many rows were touched.
pub(super) fn write(conn: &Connection, folds: &[Fold]) -> rusqlite::Result<usize> {
    let purged: usize = folds.iter().map(|fold| fold.purged.len()).sum();
    let mut touched = 0;
    for fold in folds {
        if fold.upto.0 <= applied(conn, fold.partition)? {
            continue;
        }
        for gone in &fold.purged {
            if purged <= purge::AT_ONCE_MAX {
                purge::delete(conn, *gone)?;
            } else {
                purge::note(conn, *gone)?;
            }
        }
        touched += fold.purged.len() + write_rows(conn, fold)?;
        note_applied(conn, fold)?;
    }
    Ok(touched)
}

fn write_rows(conn: &Connection, fold: &Fold) -> rusqlite::Result<usize> {
    let mut rows: Vec<&FoldedRow> = fold.kept_rows().collect();
    rows.sort_by_key(|folded| folded.row.iid);
    let has_purging = purge::is_pending(conn)?;
    let mut upsert = conn.prepare_cached(row::UPSERT)?;
    for folded in &rows {
        if has_purging {
            purge::free_id(conn, &folded.row)?;
        }
        row::write(&mut upsert, &folded.row)?;
        forget_below(conn, folded)?;
        for chunk in &folded.chunks {
            write_chunk(conn, chunk)?;
        }
        for (payload, bytes) in &folded.payloads {
            write_payload(conn, payload, bytes)?;
        }
    }
    Ok(rows.len())
}

fn forget_below(conn: &Connection, folded: &FoldedRow) -> rusqlite::Result<()> {
    if folded.keep_from > 0 {
        let below = params![number(folded.row.iid), folded.keep_from];
        conn.prepare_cached("delete from history where iid = ?1 and execution < ?2")?
            .execute(below)?;
        conn.prepare_cached("delete from payload where iid = ?1 and execution < ?2")?
            .execute(below)?;
    }
    Ok(())
}

/// Writes a chunk in place of those that begin within its events.
fn write_chunk(conn: &Connection, chunk: &Chunk) -> rusqlite::Result<()> {
    let (iid, end) = (number(chunk.iid), i64::from(chunk.seq) + i64::from(chunk.count));
    conn.prepare_cached(
        "delete from history where iid = ?1 and execution = ?2 and seq > ?3 and seq < ?4",
    )?
    .execute(params![iid, chunk.execution, chunk.seq, end])?;
    conn.prepare_cached(
        "insert or replace into history (iid, execution, seq, count, chunk) values (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![iid, chunk.execution, chunk.seq, chunk.count, &chunk.bytes[..]])?;
    Ok(())
}

fn write_payload(conn: &Connection, payload: &PayloadRef, bytes: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "insert or replace into payload (iid, execution, n, bytes) values (?1, ?2, ?3, ?4)",
    )?
    .execute(params![number(payload.iid), payload.execution, payload.n, bytes])?;
    Ok(())
}

fn applied(conn: &Connection, partition: PartitionId) -> rusqlite::Result<u64> {
    conn.prepare_cached("select applied from partition where partition = ?1")?
        .query_row([partition.0], |row| row.get(0))
}

fn note_applied(conn: &Connection, fold: &Fold) -> rusqlite::Result<()> {
    conn.prepare_cached("update partition set applied = ?2, meta = ?3 where partition = ?1")?
        .execute(params![fold.partition.0, fold.upto.0, &fold.meta[..]])?;
    Ok(())
}
