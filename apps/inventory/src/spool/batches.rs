//! What sending needs: rows cut into batches, and how far each has come.
//!
//! B1  A row belongs to at most one batch, and a batch has the rows that it was cut with, whatever happens later.
//! B2  A batch that could not be sent stays with its rows until a repair sends it.

use rusqlite::{Connection, OptionalExtension as _, params, types::ValueRef};
use serde_json::Value;

use super::{Error, rows};
use crate::record::{self, SENT};

/// Rows that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) id: i64,
    /// Numbers of first and last rows.
    ranges: Vec<(i64, i64)>,
    pub(crate) records: u64,
    /// So many of them have arrived.
    pub(crate) sent: u64,
}

/// What is cut when no batch waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Batches of the full size only: more rows will come.
    Full,
    /// A smaller one as well: these are the last.
    Rest,
}

/// What became of a share's batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) batches_sent: u64,
    pub(crate) batches_failed: u64,
    pub(crate) records_failed: u64,
}

/// The next batch of a share to be sent.
pub(crate) fn next(
    db: &mut Connection,
    share: i64,
    size: u32,
    cut: Cut,
) -> Result<Option<Batch>, Error> {
    let work = db.transaction()?;
    if find_pending(&work, share)?.is_none() {
        cut_one(&work, share, i64::from(size), cut)?;
    }
    let batch = find_pending(&work, share)?;
    work.commit()?;
    Ok(batch)
}

fn find_pending(db: &Connection, share: i64) -> Result<Option<Batch>, Error> {
    let found = db
        .prepare_cached(
            "SELECT id, ranges, records, sent FROM batches
             WHERE share = ?1 AND state = 'pending' ORDER BY id LIMIT 1",
        )?
        .query_row([share], |row| {
            let ranges: String = row.get(1)?;
            Ok(Batch {
                id: row.get(0)?,
                ranges: serde_json::from_str(&ranges).unwrap_or_default(),
                records: row.get(2)?,
                sent: row.get(3)?,
            })
        })
        .optional()?;
    Ok(found)
}

fn cut_one(db: &Connection, share: i64, size: i64, cut: Cut) -> Result<(), Error> {
    let (mut ranges, mut records) = (Vec::new(), 0);
    let mut open = Vec::new();
    {
        let mut found =
            db.prepare_cached("SELECT id, first, last FROM ranges WHERE share = ?1 ORDER BY id")?;
        let mut found = found.query([share])?;
        while records < size {
            let Some(row) = found.next()? else { break };
            let (id, first, last): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let end = last.min(first + size - records - 1);
            ranges.push((first, end));
            records += end - first + 1;
            open.push((id, end + 1, last));
        }
    }
    if records == 0 || (records < size && cut == Cut::Full) {
        return Ok(());
    }
    for (id, first, last) in open {
        if first > last {
            db.execute("DELETE FROM ranges WHERE id = ?1", [id])?;
        } else {
            db.execute("UPDATE ranges SET first = ?2 WHERE id = ?1", [id, first])?;
        }
    }
    let ranges = serde_json::to_string(&ranges).expect("numbers are JSON");
    db.execute(
        "INSERT INTO batches (share, ranges, records, state) VALUES (?1, ?2, ?3, 'pending')",
        params![share, ranges, records],
    )?;
    Ok(())
}

/// The rows of a batch that have not arrived yet, as JSON.
pub(crate) fn rows(db: &Connection, batch: &Batch) -> Result<Vec<Value>, Error> {
    let sql = format!(
        "SELECT {} FROM {} WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        record::COLUMNS[..SENT].join(", "),
        record::TABLE
    );
    let mut select = db.prepare_cached(&sql)?;
    let (mut records, mut to_skip) = (Vec::new(), batch.sent);
    for (first, last) in &batch.ranges {
        let mut found = select.query([first, last])?;
        while let Some(row) = found.next()? {
            if to_skip > 0 {
                to_skip -= 1;
                continue;
            }
            let mut values = [const { Value::Null }; SENT];
            for (column, value) in values.iter_mut().enumerate() {
                *value = json(row.get_ref(column)?);
            }
            records.push(record::sent(values));
        }
    }
    Ok(records)
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
    }
}

/// Notes how many rows of a batch have arrived; with all of them it is done.
pub(crate) fn note_sent(db: &Connection, batch: i64, sent: u64) -> Result<(), Error> {
    db.execute(
        "UPDATE batches SET sent = ?2, state = CASE WHEN ?2 >= records THEN 'sent' ELSE state END
         WHERE id = ?1",
        params![batch, sent],
    )?;
    Ok(())
}

/// Notes that a batch cannot be sent.
pub(crate) fn note_failed(db: &Connection, batch: i64, cause: &str) -> Result<(), Error> {
    db.execute(
        "UPDATE batches SET state = 'failed', cause = ?2 WHERE id = ?1",
        params![batch, cause],
    )?;
    Ok(())
}

/// What became of a share's batches. Rows that were never cut count as failed.
pub(crate) fn left(db: &Connection, share: i64) -> Result<Left, Error> {
    let mut left = db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state <> 'sent'),
             coalesce(sum(records - sent) FILTER (WHERE state <> 'sent'), 0) FROM batches WHERE share = ?1",
        )?
        .query_row([share], |row| {
            Ok(Left {
                batches_sent: row.get(0)?,
                batches_failed: row.get(1)?,
                records_failed: row.get(2)?,
            })
        })?;
    let uncut: u64 = db
        .prepare_cached("SELECT coalesce(sum(last - first + 1), 0) FROM ranges WHERE share = ?1")?
        .query_row([share], |row| row.get(0))?;
    left.batches_failed += u64::from(uncut > 0);
    left.records_failed += uncut;
    Ok(left)
}

/// The shares of a scan that have rows to send, after what failed was made to wait again; `None` if there is no such
/// scan.
pub(crate) fn reopen(db: &mut Connection, execution: &str) -> Result<Option<Vec<i64>>, Error> {
    let work = db.transaction()?;
    let is_known = work
        .query_row("SELECT 1 FROM scans WHERE execution = ?1", [execution], |_| Ok(()))
        .optional()?;
    if is_known.is_none() {
        return Ok(None);
    }
    work.execute(
        "UPDATE batches SET state = 'pending', cause = NULL WHERE state = 'failed'
         AND share IN (SELECT id FROM shares WHERE execution = ?1)",
        [execution],
    )?;
    let shares = work
        .prepare(
            "SELECT id FROM shares WHERE execution = ?1 AND sends AND (
             EXISTS (SELECT 1 FROM batches WHERE share = shares.id AND state = 'pending')
             OR EXISTS (SELECT 1 FROM ranges WHERE share = shares.id)) ORDER BY id",
        )?
        .query_map([execution], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    work.commit()?;
    Ok(Some(shares))
}

/// Lets go of the rows of a share that have arrived.
pub(crate) fn forget_sent(db: &mut Connection, share: i64) -> Result<(), Error> {
    let work = db.transaction()?;
    let done: Vec<String> = work
        .prepare("SELECT ranges FROM batches WHERE share = ?1 AND state = 'sent'")?
        .query_map([share], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let read =
        |ranges: &String| serde_json::from_str::<Vec<(i64, i64)>>(ranges).unwrap_or_default();
    rows::forget(&work, share, done.iter().flat_map(read))?;
    work.execute("UPDATE batches SET ranges = '[]' WHERE share = ?1 AND state = 'sent'", [share])?;
    work.commit()?;
    Ok(())
}
