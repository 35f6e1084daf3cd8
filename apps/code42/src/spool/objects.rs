//! How far each object is: `new`, `spooled` (read whole, its records on disk), `sent`, `skipped`, `failed`.
//!
//! O1  Records are indexed once, when the object was read whole. Chunks keep their borders from then on, so what was
//!     accepted before is known by its number.
//! O2  Nothing is counted twice: counters change with the state.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Error, now};

/// What there is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) id: i64,
    pub(crate) bucket: String,
    pub(crate) notice_key: String,
    pub(crate) keys: Vec<String>,
    pub(crate) time: Option<String>,
    pub(crate) state: State,
    /// When the run that has it began.
    pub(crate) run_began: i64,
}

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not read yet, or in vain.
    New,
    Spooled,
    /// Sent whole, or skipped.
    Over,
}

/// Why an object failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is at fault itself: another attempt will not help.
    Object,
    /// A service is.
    Service,
}

/// Why an object is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skipped {
    Old,
    /// It is empty, or of a kind that is not read.
    Other,
}

/// Records of one upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) number: u32,
    /// Where in the file.
    pub(crate) start: u64,
    pub(crate) length: u32,
    pub(crate) records: u32,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) number: u64,
    pub(crate) text: String,
    pub(crate) cause: String,
}

/// What reading an object brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) bad: Vec<BadLine>,
    pub(crate) old_records: u64,
    pub(crate) cut_fields: u64,
}

impl Read {
    pub(crate) fn records(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.records)).sum()
    }
}

pub(crate) fn find(db: &Connection, object: i64) -> Result<Object, Error> {
    db.prepare_cached(
        "SELECT bucket, notice_key, keys, time, objects.state, runs.began FROM objects
         JOIN messages ON messages.id = objects.message LEFT JOIN runs ON runs.id = messages.run
         WHERE objects.id = ?1",
    )?
    .query_row([object], |row| {
        let (keys, state): (String, String) = (row.get(2)?, row.get(4)?);
        Ok(Object {
            id: object,
            bucket: row.get(0)?,
            notice_key: row.get(1)?,
            keys: serde_json::from_str(&keys).unwrap_or_default(),
            time: row.get(3)?,
            state: match state.as_str() {
                "spooled" => State::Spooled,
                "sent" | "skipped" => State::Over,
                _ => State::New,
            },
            run_began: row.get::<_, Option<i64>>(5)?.unwrap_or_else(now),
        })
    })
    .optional()?
    .ok_or_else(|| Error::Gone(format!("object {object}")))
}

/// The object's turn in this run has begun.
pub(crate) fn try_it(db: &Connection, object: i64) -> Result<(), Error> {
    db.execute("UPDATE objects SET tried = 1 WHERE id = ?1", [object])?;
    Ok(())
}

fn count(db: &Connection, object: i64, column: &str, number: u64) -> Result<(), Error> {
    let sql = format!(
        "UPDATE runs SET {column} = {column} + ?2 WHERE id =
         (SELECT run FROM messages JOIN objects ON objects.message = messages.id WHERE objects.id = ?1)"
    );
    db.prepare_cached(&sql)?.execute(params![object, number])?;
    Ok(())
}

/// The object was read whole, and its file is on disk.
pub(crate) fn note_read(db: &mut Connection, object: i64, read: &Read) -> Result<(), Error> {
    let work = db.transaction()?;
    let state = if read.chunks.is_empty() { "sent" } else { "spooled" };
    let changed = work.execute(
        "UPDATE objects SET state = ?2, cause = NULL, fault = NULL, records = ?3
         WHERE id = ?1 AND state IN ('new', 'failed')",
        params![object, state, read.records()],
    )?;
    if changed == 0 {
        return Ok(());
    }
    for Chunk { number, start, length, records } in &read.chunks {
        work.prepare_cached(
            "INSERT INTO chunks (object, number, start, length, records) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![object, number, start, length, records])?;
    }
    for bad in &read.bad {
        work.prepare_cached(
            "INSERT INTO quarantine (at, message, object, bucket, key, line, cause, text)
             SELECT ?2, messages.message, objects.id, bucket, notice_key, ?3, ?4, ?5 FROM objects
             JOIN messages ON messages.id = objects.message WHERE objects.id = ?1",
        )?
        .execute(params![object, now(), bad.number, bad.cause, bad.text])?;
    }
    for (column, number) in [
        ("objects", 1),
        ("bad_lines", read.bad.len() as u64),
        ("old_records", read.old_records),
        ("cut_fields", read.cut_fields),
    ] {
        count(&work, object, column, number)?;
    }
    work.commit()?;
    Ok(())
}

/// The object is not read, for a reason.
pub(crate) fn note_skipped(
    db: &mut Connection,
    object: i64,
    skipped: Skipped,
    cause: &str,
) -> Result<(), Error> {
    let work = db.transaction()?;
    let changed = work.execute(
        "UPDATE objects SET state = 'skipped', cause = ?2 WHERE id = ?1 AND state IN ('new', 'failed')",
        params![object, cause],
    )?;
    if changed == 1 {
        let column = match skipped {
            Skipped::Old => "skipped_old",
            Skipped::Other => "skipped_other",
        };
        count(&work, object, "objects", 1)?;
        count(&work, object, column, 1)?;
    }
    work.commit()?;
    Ok(())
}

/// The object could not be read, or a chunk of it was not accepted.
pub(crate) fn note_failed(
    db: &mut Connection,
    object: i64,
    fault: Fault,
    cause: &str,
) -> Result<(), Error> {
    let work = db.transaction()?;
    let fault = match fault {
        Fault::Object => "object",
        Fault::Service => "service",
    };
    let changed = work.execute(
        "UPDATE objects SET state = CASE state WHEN 'new' THEN 'failed' ELSE state END, cause = ?2, fault = ?3
         WHERE id = ?1 AND cause IS NULL AND state IN ('new', 'spooled')",
        params![object, cause, fault],
    )?;
    if changed == 1 {
        count(&work, object, "failed_objects", 1)?;
        let was_read: bool = work.query_row(
            "SELECT state = 'spooled' FROM objects WHERE id = ?1",
            [object],
            |row| row.get(0),
        )?;
        if !was_read {
            count(&work, object, "objects", 1)?;
        }
    }
    work.commit()?;
    Ok(())
}

/// The next chunk that was not accepted yet.
pub(crate) fn next_chunk(db: &Connection, object: i64) -> Result<Option<Chunk>, Error> {
    let found = db
        .prepare_cached(
            "SELECT number, start, length, records FROM chunks INDEXED BY chunks_left
             WHERE object = ?1 AND NOT sent ORDER BY number LIMIT 1",
        )?
        .query_row([object], |row| {
            let (number, start) = (row.get(0)?, row.get(1)?);
            Ok(Chunk { number, start, length: row.get(2)?, records: row.get(3)? })
        })
        .optional()?;
    Ok(found)
}

/// A chunk was accepted. With the last one the object is sent.
pub(crate) fn note_sent(db: &mut Connection, object: i64, chunk: Chunk) -> Result<(), Error> {
    let work = db.transaction()?;
    let changed = work
        .prepare_cached(
            "UPDATE chunks SET sent = 1 WHERE object = ?1 AND number = ?2 AND NOT sent",
        )?
        .execute(params![object, chunk.number])?;
    if changed == 1 {
        count(&work, object, "records_sent", u64::from(chunk.records))?;
        work.prepare_cached(
            "UPDATE objects SET state = 'sent' WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM chunks INDEXED BY chunks_left WHERE object = ?1 AND NOT sent)",
        )?
        .execute([object])?;
    }
    work.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        notice::{Named, Notice},
        spool::{in_memory, messages, report},
    };

    fn with_object() -> Connection {
        let mut db = in_memory();
        let run = report::begin(&mut db, "k").unwrap();
        let named = Named {
            bucket: "b".to_owned(),
            notice_key: "k".to_owned(),
            keys: vec!["k".to_owned()],
            time: None,
        };
        let arrived = messages::Arrived {
            id: "m".to_owned(),
            receipt: "r".to_owned(),
            body: "body".to_owned(),
            receives: 1,
            notice: Ok(Notice::Objects(vec![named])),
        };
        messages::arrive(&mut db, run, vec![arrived]).unwrap();
        db
    }

    fn read() -> Read {
        let chunk = |number| Chunk { number, start: 0, length: 2, records: 3 };
        let bad = BadLine { number: 7, text: "x".to_owned(), cause: "no JSON".to_owned() };
        Read { chunks: vec![chunk(0), chunk(1)], bad: vec![bad], old_records: 1, cut_fields: 2 }
    }

    #[test]
    fn steps_that_run_again_change_nothing() {
        let mut db = with_object();
        for _ in 0..2 {
            note_read(&mut db, 1, &read()).unwrap();
        }
        let first = next_chunk(&db, 1).unwrap().unwrap();
        for _ in 0..2 {
            note_sent(&mut db, 1, first).unwrap();
        }
        assert_eq!(find(&db, 1).unwrap().state, State::Spooled);
        let last = next_chunk(&db, 1).unwrap().unwrap();
        note_sent(&mut db, 1, last).unwrap();
        assert_eq!(find(&db, 1).unwrap().state, State::Over);
        note_failed(&mut db, 1, Fault::Service, "late").unwrap();
        let run = report::runs(&db, 1).unwrap().remove(0);
        assert_eq!(
            (run.records_sent, run.objects, run.bad_lines, run.failed_objects),
            (6, 1, 1, 0)
        );
        assert_eq!((run.old_records, run.cut_fields), (1, 2));
        let bad = report::quarantine(&db, 0, 10).unwrap();
        assert_eq!((bad.len(), bad[0].line), (1, Some(7)));
    }

    #[test]
    fn an_object_without_records_is_sent() {
        let mut db = with_object();
        note_read(&mut db, 1, &Read::default()).unwrap();
        assert_eq!(find(&db, 1).unwrap().state, State::Over);
    }

    #[test]
    fn a_chunk_that_is_refused_leaves_the_rest_for_later() {
        let mut db = with_object();
        note_read(&mut db, 1, &read()).unwrap();
        for _ in 0..2 {
            note_failed(&mut db, 1, Fault::Service, "down").unwrap();
        }
        assert_eq!(find(&db, 1).unwrap().state, State::Spooled);
        let run = report::runs(&db, 1).unwrap().remove(0);
        assert_eq!((run.failed_objects, run.objects), (1, 1));
    }
}
