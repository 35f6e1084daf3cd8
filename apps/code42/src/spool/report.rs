//! What runs came to, and what was put aside.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Error, now};

/// Runs that are kept.
const RUNS_KEPT: u32 = 500;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) began: i64,
    pub(crate) ended: Option<i64>,
    pub(crate) status: String,
    pub(crate) cause: Option<String>,
    pub(crate) stopped_early: bool,
    pub(crate) messages_processed: u64,
    pub(crate) messages_deleted: u64,
    pub(crate) messages_failed: u64,
    pub(crate) records_sent: u64,
    pub(crate) objects: u64,
    pub(crate) skipped_old: u64,
    pub(crate) skipped_other: u64,
    pub(crate) bad_lines: u64,
    pub(crate) failed_objects: u64,
    pub(crate) old_records: u64,
    pub(crate) cut_fields: u64,
    pub(crate) notices_without_objects: u64,
    pub(crate) quarantined: u64,
}

impl Run {
    /// As its orchestration gives it back.
    pub(crate) fn output(&self) -> Value {
        let millis = self.ended.unwrap_or_else(now) - self.began;
        #[expect(clippy::cast_precision_loss, reason = "runs end within centuries")]
        let seconds = (millis / 10) as f64 / 100.0;
        let mut output = json!({
            "status": self.status,
            "messages_processed": self.messages_processed,
            "messages_deleted": self.messages_deleted,
            "records_sent": self.records_sent,
            "objects": self.objects,
            "skipped_old": self.skipped_old,
            "bad_lines": self.bad_lines,
            "failed_objects": self.failed_objects,
            "stopped_early": self.stopped_early,
            "duration_seconds": seconds,
        });
        for (key, number) in [
            ("messages_failed", self.messages_failed),
            ("messages_quarantined", self.quarantined),
            ("notices_without_objects", self.notices_without_objects),
            ("skipped_other", self.skipped_other),
            ("old_records", self.old_records),
            ("cut_fields", self.cut_fields),
        ] {
            if number > 0 {
                output[key] = number.into();
            }
        }
        if let Some(cause) = &self.cause {
            output["cause"] = cause.as_str().into();
        }
        output
    }

    /// Something is not as it should be.
    fn has_trouble(&self) -> bool {
        self.messages_failed + self.failed_objects + self.bad_lines + self.quarantined > 0
    }
}

/// Something that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) time: String,
    #[serde(rename = "messageId")]
    pub(crate) message: String,
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) line: Option<u64>,
    pub(crate) cause: String,
    pub(crate) text: String,
}

/// A run begins, once for each key. One that never ended was interrupted.
pub(crate) fn begin(db: &mut Connection, key: &str) -> Result<i64, Error> {
    let work = db.transaction()?;
    let found = work.query_row("SELECT id FROM runs WHERE key = ?1", [key], |row| row.get(0));
    if let Some(begun) = found.optional()? {
        return Ok(begun);
    }
    work.execute(
        "UPDATE runs SET status = 'interrupted', ended = ?1 WHERE ended IS NULL",
        [now()],
    )?;
    work.execute(
        "INSERT INTO runs (key, began, status) VALUES (?1, ?2, 'running')",
        params![key, now()],
    )?;
    let id = work.last_insert_rowid();
    work.execute("DELETE FROM runs WHERE id <= ?1", [id - i64::from(RUNS_KEPT)])?;
    work.commit()?;
    Ok(id)
}

/// A run is over; gives what it came to. `cause`: it could not go on.
pub(crate) fn close(
    db: &mut Connection,
    run: i64,
    stopped_early: bool,
    cause: Option<&str>,
) -> Result<Run, Error> {
    let work = db.transaction()?;
    let so_far = find(&work, run)?;
    let status = match cause {
        Some(_) => "failed",
        None if so_far.has_trouble() => "completed_with_errors",
        None => "completed",
    };
    work.execute(
        "UPDATE runs SET ended = ?2, status = ?3, stopped_early = ?4, cause = ?5 WHERE id = ?1 AND ended IS NULL",
        params![run, now(), status, stopped_early, cause],
    )?;
    let closed = find(&work, run)?;
    work.commit()?;
    Ok(closed)
}

fn find(db: &Connection, run: i64) -> Result<Run, Error> {
    let found = select(db, "WHERE id = ?1", run)?.pop();
    found.ok_or_else(|| Error::Gone(format!("run {run}")))
}

/// The newest runs, the newest first.
pub(crate) fn runs(db: &Connection, most: u32) -> Result<Vec<Run>, Error> {
    select(db, "ORDER BY id DESC LIMIT ?1", i64::from(most))
}

fn select(db: &Connection, which: &str, value: i64) -> Result<Vec<Run>, Error> {
    let sql = format!("SELECT * FROM runs {which}");
    let mut found = db.prepare_cached(&sql)?;
    let runs = found.query_map([value], |row| {
        Ok(Run {
            id: row.get("id")?,
            began: row.get("began")?,
            ended: row.get("ended")?,
            status: row.get("status")?,
            cause: row.get("cause")?,
            stopped_early: row.get("stopped_early")?,
            messages_processed: row.get("messages_processed")?,
            messages_deleted: row.get("messages_deleted")?,
            messages_failed: row.get("messages_failed")?,
            records_sent: row.get("records_sent")?,
            objects: row.get("objects")?,
            skipped_old: row.get("skipped_old")?,
            skipped_other: row.get("skipped_other")?,
            bad_lines: row.get("bad_lines")?,
            failed_objects: row.get("failed_objects")?,
            old_records: row.get("old_records")?,
            cut_fields: row.get("cut_fields")?,
            notices_without_objects: row.get("notices_without_objects")?,
            quarantined: row.get("quarantined")?,
        })
    })?;
    Ok(runs.collect::<Result<_, _>>()?)
}

/// A firing found a run at work.
pub(crate) fn note_skipped_firing(db: &Connection) -> Result<(), Error> {
    db.execute(
        "INSERT INTO facts (name, value) VALUES ('skipped_firings', 1)
         ON CONFLICT (name) DO UPDATE SET value = value + 1",
        [],
    )?;
    Ok(())
}

/// What the spool holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) skipped_firings: u64,
    pub(crate) quarantined: u64,
    /// Records that were read and not accepted yet.
    pub(crate) waiting_records: u64,
}

pub(crate) fn totals(db: &Connection) -> Result<Totals, Error> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u64>(0));
    Ok(Totals {
        skipped_firings: number(
            "SELECT coalesce((SELECT value FROM facts WHERE name = 'skipped_firings'), 0)",
        )?,
        quarantined: number("SELECT count(*) FROM quarantine")?,
        waiting_records: number("SELECT coalesce(sum(records), 0) FROM chunks WHERE NOT sent")?,
    })
}

/// Objects that were skipped for their age, the newest first.
pub(crate) fn skipped_old(db: &Connection, run: i64, most: u32) -> Result<Vec<String>, Error> {
    let mut found = db.prepare_cached(
        "SELECT bucket || '/' || notice_key FROM objects JOIN messages ON messages.id = objects.message
         WHERE run = ?1 AND objects.state = 'skipped' AND cause LIKE 'old:%' ORDER BY objects.id DESC LIMIT ?2",
    )?;
    Ok(found.query_map(params![run, most], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// What was put aside after that entry.
pub(crate) fn quarantine(db: &Connection, after: i64, most: u32) -> Result<Vec<Entry>, Error> {
    let mut found = db.prepare_cached(
        "SELECT id, at, message, bucket, key, line, cause, text FROM quarantine WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let entries = found.query_map(params![after, most], |row| {
        Ok(Entry {
            id: row.get(0)?,
            time: iso(row.get(1)?),
            message: row.get(2)?,
            bucket: row.get(3)?,
            key: row.get(4)?,
            line: row.get(5)?,
            cause: row.get(6)?,
            text: row.get(7)?,
        })
    })?;
    Ok(entries.collect::<Result<_, _>>()?)
}

pub(crate) fn iso(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::in_memory;

    #[test]
    fn a_run_that_never_ended_was_interrupted() {
        let mut db = in_memory();
        let first = begin(&mut db, "1").unwrap();
        assert_eq!(begin(&mut db, "1").unwrap(), first);
        assert_eq!(find(&db, first).unwrap().status, "running");
        let second = begin(&mut db, "2").unwrap();
        assert_eq!(find(&db, first).unwrap().status, "interrupted");
        let closed = close(&mut db, second, true, None).unwrap();
        assert_eq!((closed.status.as_str(), closed.stopped_early), ("completed", true));
        let again = close(&mut db, second, false, Some("late")).unwrap();
        assert_eq!(again, closed);
    }

    #[test]
    fn trouble_is_no_plain_success() {
        let mut db = in_memory();
        let run = begin(&mut db, "1").unwrap();
        db.execute("UPDATE runs SET bad_lines = 1", []).unwrap();
        let output = close(&mut db, run, false, None).unwrap().output();
        assert_eq!(
            (&output["status"], &output["bad_lines"]),
            (&json!("completed_with_errors"), &json!(1))
        );
        let run = begin(&mut db, "2").unwrap();
        let output = close(&mut db, run, false, Some("no queue")).unwrap().output();
        assert_eq!((&output["status"], &output["cause"]), (&json!("failed"), &json!("no queue")));
    }

    #[test]
    fn firings_that_found_a_run_are_counted() {
        let db = in_memory();
        note_skipped_firing(&db).unwrap();
        note_skipped_firing(&db).unwrap();
        assert_eq!(totals(&db).unwrap().skipped_firings, 2);
    }
}
