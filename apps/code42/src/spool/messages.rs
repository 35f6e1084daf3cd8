//! What the queue brings, and what becomes of it.
//!
//! A message is `waiting` until it is `done` (deleted, or about to be) or `aside` (in the quarantine). While a run has it,
//! it is at work.
//!
//! M1  A message that comes again keeps its objects and what was accepted of them. One that is done is only deleted.
//! M2  It is done only if each object was sent whole or skipped for a reason.
//! M3  It goes aside for what is wrong with it or its objects. What is wrong with a service does not put it aside, unless
//!     the queue has a limit of its own and takes it away.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Error, now};
use crate::{
    notice::{Named, Notice},
    run::{Received, Work},
};

/// Messages that did not come again are kept for so long: longer than any queue keeps them.
const KEPT_MILLIS: i64 = 15 * 86_400_000;

/// What a queue's message is to us.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) id: String,
    pub(crate) receipt: String,
    pub(crate) body: String,
    pub(crate) receives: u32,
    pub(crate) notice: Result<Notice, String>,
}

/// When a failing message goes aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Not this time.
    None,
    /// After so many receives, by us, if it is itself at fault.
    Ours(u32),
    /// After so many receives, by the queue, whatever is at fault.
    Queues(u32),
}

/// What is to be done with a message at the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its work is done.
    Delete { receipt: String },
    /// It was received too often.
    PutAside { receipt: String },
    /// It was not finished; others may have it now.
    Release { receipt: String },
    /// It failed; it comes again by itself.
    Leave,
    /// More of its objects wait in this run.
    GoOn,
    /// It is over already.
    Over,
}

/// Notes messages that have arrived.
pub(crate) fn arrive(db: &mut Connection, run: i64, arrived: Vec<Arrived>) -> Result<(), Error> {
    let work = db.transaction()?;
    for message in arrived {
        let (problem, nothing, objects) = match message.notice {
            Ok(Notice::Objects(objects)) => (None, None, objects),
            Ok(Notice::Nothing(reason)) => (None, Some(reason), Vec::new()),
            Err(problem) => (Some(problem), None, Vec::new()),
        };
        let id: i64 = work.query_row(
            "INSERT INTO messages (message, receipt, body, receives, run, problem, idle, state, at_work, seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting', 1, ?8)
             ON CONFLICT (message) DO UPDATE SET receipt = ?2, receives = ?4, run = ?5, problem = ?6, idle = ?7,
             at_work = 1, seen = ?8
             RETURNING id",
            params![message.id, message.receipt, message.body, message.receives, run, problem, nothing, now()],
            |row| row.get(0),
        )?;
        name_objects(&work, id, &objects)?;
        // What failed is tried anew; what was sent or skipped stays so.
        work.execute(
            "UPDATE objects SET tried = 0, cause = NULL, fault = NULL,
             state = CASE state WHEN 'failed' THEN 'new' ELSE state END
             WHERE message = ?1 AND state IN ('new', 'failed', 'spooled')",
            [id],
        )?;
    }
    work.commit()?;
    Ok(())
}

fn name_objects(work: &Transaction<'_>, message: i64, objects: &[Named]) -> Result<(), Error> {
    for (position, object) in objects.iter().enumerate() {
        let keys = serde_json::to_string(&object.keys).expect("texts are JSON");
        work.prepare_cached(
            "INSERT INTO objects (message, position, bucket, notice_key, keys, time, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'new') ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            message,
            position,
            object.bucket,
            object.notice_key,
            keys,
            object.time
        ])?;
    }
    Ok(())
}

/// Messages that a run has, with objects that it has not tried: at most so many of these.
pub(crate) fn at_work(db: &Connection, run: i64, objects_max: usize) -> Result<Received, Error> {
    let mut messages = Vec::new();
    let mut left = objects_max;
    let mut found =
        db.prepare_cached("SELECT id FROM messages WHERE run = ?1 AND at_work ORDER BY id")?;
    let found = found.query_map([run], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for message in found {
        let mut objects = db.prepare_cached(
            "SELECT id FROM objects WHERE message = ?1 AND NOT tried AND state IN ('new', 'spooled')
             AND (SELECT state FROM messages WHERE id = ?1) = 'waiting' ORDER BY position LIMIT ?2",
        )?;
        let objects = objects.query_map(params![message, left], |row| row.get(0))?;
        let objects = objects.collect::<Result<Vec<i64>, _>>()?;
        left -= objects.len();
        messages.push(Work { message, objects });
        if left == 0 {
            break;
        }
    }
    Ok(Received { messages })
}

/// Receipts of all that a run has.
pub(crate) fn receipts(db: &Connection, run: i64) -> Result<Vec<String>, Error> {
    let mut found = db.prepare_cached("SELECT receipt FROM messages WHERE run = ?1 AND at_work")?;
    Ok(found.query_map([run], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// How the objects of a message stand.
struct Stand {
    failed: u32,
    /// Of them, those that are themselves at fault.
    at_fault: u32,
    untried: u32,
    /// Begun, and neither failed nor sent whole.
    open: u32,
}

/// What is to be done with a message whose turn is over. `stopped`: nothing more is begun in this run.
pub(crate) fn ending(
    db: &Connection,
    message: i64,
    limit: Limit,
    stopped: bool,
) -> Result<Ending, Error> {
    let (receipt, receives, state, problem, at_work) = find(db, message)?;
    if !at_work {
        return Ok(Ending::Over);
    }
    if state == "done" {
        return Ok(Ending::Delete { receipt });
    }
    if state == "aside" {
        return Ok(Ending::PutAside { receipt });
    }
    let stand = stand(db, message)?;
    let is_last = match limit {
        Limit::None => false,
        Limit::Ours(most) | Limit::Queues(most) => receives >= most,
    };
    let is_taken = matches!(limit, Limit::Queues(_));
    Ok(match stand {
        _ if problem && is_last => Ending::PutAside { receipt },
        _ if problem => Ending::Leave,
        Stand { untried: 1.., .. } if !stopped => Ending::GoOn,
        Stand { untried: 1.., .. } | Stand { open: 1.., .. } => Ending::Release { receipt },
        Stand { failed: failed @ 1.., at_fault, .. }
            if is_last && (is_taken || failed == at_fault) =>
        {
            Ending::PutAside { receipt }
        }
        Stand { failed: 1.., .. } => Ending::Leave,
        _ => Ending::Delete { receipt },
    })
}

type Found = (String, u32, String, bool, bool);

fn find(db: &Connection, message: i64) -> Result<Found, Error> {
    db.query_row(
        "SELECT receipt, receives, state, problem IS NOT NULL, at_work FROM messages WHERE id = ?1",
        [message],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
    )
    .optional()?
    .ok_or_else(|| Error::Gone(format!("message {message}")))
}

fn stand(db: &Connection, message: i64) -> Result<Stand, Error> {
    let counted = db.query_row(
        "SELECT count(*) FILTER (WHERE cause IS NOT NULL AND state IN ('failed', 'spooled')),
         count(*) FILTER (WHERE fault = 'object'),
         count(*) FILTER (WHERE NOT tried AND state IN ('new', 'spooled')),
         count(*) FILTER (WHERE tried AND cause IS NULL AND state IN ('new', 'spooled'))
         FROM objects WHERE message = ?1",
        [message],
        |row| {
            let (failed, at_fault) = (row.get(0)?, row.get(1)?);
            Ok(Stand { failed, at_fault, untried: row.get(2)?, open: row.get(3)? })
        },
    )?;
    Ok(counted)
}

/// Notes what became of a message; what was done at the queue must have been done before.
pub(crate) fn end(db: &mut Connection, message: i64, ending: &Ending) -> Result<(), Error> {
    let work = db.transaction()?;
    let (_, _, _, problem, at_work) = find(&work, message)?;
    if !at_work || *ending == Ending::GoOn || *ending == Ending::Over {
        return Ok(());
    }
    let state = match ending {
        Ending::Delete { .. } => "done",
        Ending::PutAside { .. } => "aside",
        _ => "waiting",
    };
    let was_aside: bool =
        work.query_row("SELECT state = 'aside' FROM messages WHERE id = ?1", [message], |row| {
            row.get(0)
        })?;
    work.execute(
        "UPDATE messages SET at_work = 0, state = ?2, seen = ?3 WHERE id = ?1",
        params![message, state, now()],
    )?;
    let (deleted, failed, aside) = match ending {
        Ending::Delete { .. } => (1, 0, 0),
        Ending::PutAside { .. } => (0, 1, u32::from(!was_aside)),
        Ending::Leave => (0, 1, 0),
        _ => (0, 0, 0),
    };
    let processed = u32::from(!matches!(ending, Ending::Release { .. }));
    work.execute(
        "UPDATE runs SET messages_processed = messages_processed + ?2, messages_deleted = messages_deleted + ?3,
         messages_failed = messages_failed + ?4, quarantined = quarantined + ?5,
         notices_without_objects = notices_without_objects
            + (?3 AND (SELECT idle IS NOT NULL FROM messages WHERE id = ?1))
         WHERE id = (SELECT run FROM messages WHERE id = ?1)",
        params![message, processed, deleted, failed, aside],
    )?;
    if aside > 0 {
        put_aside(&work, message, problem)?;
    }
    work.commit()?;
    Ok(())
}

/// The whole message goes to the quarantine: one entry for each object that failed, or one for its body.
fn put_aside(work: &Transaction<'_>, message: i64, problem: bool) -> Result<(), Error> {
    if problem {
        work.execute(
            "INSERT INTO quarantine (at, message, cause, text)
             SELECT ?2, message, problem, body FROM messages WHERE id = ?1",
            params![message, now()],
        )?;
        return Ok(());
    }
    work.execute(
        "INSERT INTO quarantine (at, message, bucket, key, cause, text)
         SELECT ?2, messages.message, bucket, notice_key, cause, body FROM messages
         JOIN objects ON objects.message = messages.id
         WHERE messages.id = ?1 AND cause IS NOT NULL AND objects.state IN ('failed', 'spooled')",
        params![message, now()],
    )?;
    Ok(())
}

/// Lets go of messages that no queue can bring any more; gives their objects, whose files are to go. Records that were never
/// accepted are told of in the quarantine.
pub(crate) fn forget_old(db: &mut Connection) -> Result<Vec<i64>, Error> {
    let oldest = now() - KEPT_MILLIS;
    let work = db.transaction()?;
    work.execute(
        "INSERT INTO quarantine (at, message, bucket, key, cause, text)
         SELECT ?2, messages.message, bucket, notice_key, 'its message did not come again; what was read of it was not sent whole: '
            || coalesce(cause, 'it was stopped'), body
         FROM messages JOIN objects ON objects.message = messages.id
         WHERE seen < ?1 AND messages.state = 'waiting' AND objects.state IN ('new', 'failed', 'spooled')",
        params![oldest, now()],
    )?;
    let objects = work
        .prepare(
            "SELECT id FROM objects WHERE message IN (SELECT id FROM messages WHERE seen < ?1)",
        )?
        .query_map([oldest], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for object in &objects {
        work.execute("DELETE FROM chunks WHERE object = ?1", [object])?;
        work.execute("DELETE FROM objects WHERE id = ?1", [object])?;
    }
    work.execute("DELETE FROM messages WHERE seen < ?1", [oldest])?;
    work.commit()?;
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{in_memory, report};

    fn message(id: &str, receives: u32, keys: &[&str]) -> Arrived {
        let named = |key: &&str| Named {
            bucket: "b".to_owned(),
            notice_key: (*key).to_owned(),
            keys: vec![(*key).to_owned()],
            time: None,
        };
        Arrived {
            id: id.to_owned(),
            receipt: format!("r{receives}"),
            body: "body".to_owned(),
            receives,
            notice: Ok(Notice::Objects(keys.iter().map(named).collect())),
        }
    }

    fn set(db: &Connection, object: i64, state: &str, fault: Option<&str>) {
        let cause = fault.map(|_| "cause");
        db.execute(
            "UPDATE objects SET tried = 1, state = ?2, fault = ?3, cause = ?4 WHERE id = ?1",
            params![object, state, fault, cause],
        )
        .unwrap();
    }

    #[test]
    fn a_message_ends_by_how_its_objects_stand() {
        let receipt = || "r1".to_owned();
        for (objects, stopped, limit, expected) in [
            (
                vec![("sent", None), ("skipped", None)],
                false,
                Limit::Ours(5),
                Ending::Delete { receipt: receipt() },
            ),
            (vec![("sent", None), ("failed", Some("object"))], false, Limit::None, Ending::Leave),
            (
                vec![("sent", None), ("failed", Some("object"))],
                false,
                Limit::Ours(5),
                Ending::Leave,
            ),
            (
                vec![("sent", None), ("failed", Some("object"))],
                false,
                Limit::Ours(1),
                Ending::PutAside { receipt: receipt() },
            ),
            (
                vec![("failed", Some("service")), ("failed", Some("object"))],
                false,
                Limit::Ours(1),
                Ending::Leave,
            ),
            (
                vec![("spooled", Some("service")), ("sent", None)],
                false,
                Limit::Ours(1),
                Ending::Leave,
            ),
            (
                vec![("spooled", Some("service")), ("sent", None)],
                false,
                Limit::Queues(1),
                Ending::PutAside { receipt: receipt() },
            ),
            (
                vec![("spooled", None), ("sent", None)],
                true,
                Limit::Ours(1),
                Ending::Release { receipt: receipt() },
            ),
        ] {
            let mut db = in_memory();
            arrive(&mut db, 1, vec![message("m", 1, &["a", "b"])]).unwrap();
            for (object, (state, fault)) in (1..).zip(&objects) {
                set(&db, object, state, *fault);
            }
            assert_eq!(ending(&db, 1, limit, stopped).unwrap(), expected, "{objects:?}");
        }
    }

    #[test]
    fn what_was_not_begun_goes_on_or_is_released() {
        let mut db = in_memory();
        arrive(&mut db, 1, vec![message("m", 1, &["a", "b"])]).unwrap();
        set(&db, 1, "sent", None);
        assert_eq!(ending(&db, 1, Limit::None, false).unwrap(), Ending::GoOn);
        let release = Ending::Release { receipt: "r1".to_owned() };
        assert_eq!(ending(&db, 1, Limit::None, true).unwrap(), release);
    }

    #[test]
    fn a_message_that_comes_again_keeps_what_was_sent() {
        let mut db = in_memory();
        let run = report::begin(&mut db, "k").unwrap();
        arrive(&mut db, run, vec![message("m", 1, &["a", "b", "c"])]).unwrap();
        set(&db, 1, "sent", None);
        set(&db, 2, "spooled", Some("service"));
        set(&db, 3, "failed", Some("object"));
        let leave = ending(&db, 1, Limit::Ours(5), false).unwrap();
        end(&mut db, 1, &leave).unwrap();
        assert_eq!(ending(&db, 1, Limit::Ours(5), false).unwrap(), Ending::Over);
        arrive(&mut db, run, vec![message("m", 2, &["a", "b", "c"])]).unwrap();
        let again = at_work(&db, run, 10).unwrap();
        assert_eq!(again.messages, [Work { message: 1, objects: vec![2, 3] }]);
        assert_eq!(at_work(&db, run, 1).unwrap().messages, [Work { message: 1, objects: vec![2] }]);
    }

    #[test]
    fn a_body_that_nobody_knows_stays_until_it_goes_aside_with_its_text() {
        let mut db = in_memory();
        let run = report::begin(&mut db, "k").unwrap();
        let strange =
            |receives| Arrived { notice: Err("odd".to_owned()), ..message("m", receives, &[]) };
        arrive(&mut db, run, vec![strange(1)]).unwrap();
        assert_eq!(ending(&db, 1, Limit::Ours(2), false).unwrap(), Ending::Leave);
        end(&mut db, 1, &Ending::Leave).unwrap();
        arrive(&mut db, run, vec![strange(2)]).unwrap();
        let aside = ending(&db, 1, Limit::Ours(2), false).unwrap();
        assert_eq!(aside, Ending::PutAside { receipt: "r2".to_owned() });
        end(&mut db, 1, &aside).unwrap();
        end(&mut db, 1, &aside).unwrap();
        let entries = report::quarantine(&db, 0, 10).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].cause.as_str(), entries[0].text.as_str()), ("odd", "body"));
        // It comes once more: it is put aside at the queue, and not told of again.
        arrive(&mut db, run, vec![strange(3)]).unwrap();
        let again = ending(&db, 1, Limit::Ours(2), false).unwrap();
        assert_eq!(again, Ending::PutAside { receipt: "r3".to_owned() });
        end(&mut db, 1, &again).unwrap();
        assert_eq!(report::quarantine(&db, 0, 10).unwrap().len(), 1);
    }

    #[test]
    fn a_body_that_is_understood_later_is_worked_on() {
        let mut db = in_memory();
        let run = report::begin(&mut db, "k").unwrap();
        let strange = Arrived { notice: Err("odd".to_owned()), ..message("m", 1, &[]) };
        arrive(&mut db, run, vec![strange]).unwrap();
        end(&mut db, 1, &Ending::Leave).unwrap();
        arrive(&mut db, run, vec![message("m", 2, &["a"])]).unwrap();
        assert_eq!(
            at_work(&db, run, 10).unwrap().messages,
            [Work { message: 1, objects: vec![1] }]
        );
        set(&db, 1, "sent", None);
        let delete = Ending::Delete { receipt: "r2".to_owned() };
        assert_eq!(ending(&db, 1, Limit::Ours(2), false).unwrap(), delete);
    }

    #[test]
    fn what_the_queue_takes_away_is_told_of_with_the_service_that_failed() {
        let mut db = in_memory();
        let run = report::begin(&mut db, "k").unwrap();
        arrive(&mut db, run, vec![message("m", 3, &["a", "b"])]).unwrap();
        set(&db, 1, "skipped", Some("old"));
        set(&db, 2, "spooled", Some("service"));
        let aside = ending(&db, 1, Limit::Queues(3), false).unwrap();
        end(&mut db, 1, &aside).unwrap();
        let entries = report::quarantine(&db, 0, 10).unwrap();
        let told: Vec<_> = entries.iter().map(|entry| entry.key.as_deref()).collect();
        assert_eq!(told, [Some("b")]);
    }

    #[test]
    fn what_no_queue_can_bring_any_more_is_told_of_and_let_go() {
        let mut db = in_memory();
        arrive(&mut db, 1, vec![message("m", 1, &["a", "b"]), message("n", 1, &["c"])]).unwrap();
        set(&db, 1, "sent", None);
        db.execute("UPDATE messages SET seen = ?1 WHERE message = 'm'", [now() - KEPT_MILLIS - 1])
            .unwrap();
        assert_eq!(forget_old(&mut db).unwrap(), [1, 2]);
        let entries = report::quarantine(&db, 0, 10).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].key.as_deref(), Some("b"));
        assert_eq!(at_work(&db, 1, 10).unwrap().messages, [Work { message: 2, objects: vec![3] }]);
    }
}
