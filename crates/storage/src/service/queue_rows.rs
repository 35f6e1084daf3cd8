//! Queues and messages as rows. Every function is one operation within a transaction of its caller.
//!
//! Q1  A message is seen from its time of visibility to its expiry. Getting it moves the first and gives a new receipt.
//! Q2  Only the receipt that was given last changes a message, however long ago it was given.
//! Q3  Messages come in the order in which they became visible; those of one millisecond in the order of their arrival.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{
    fault::Fault,
    request::{Page, pack},
};
use crate::client::Created;

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageRow {
    key: i64,
    pub(super) name: String,
    pub(super) receipt: String,
    pub(super) text: String,
    pub(super) inserted: i64,
    pub(super) expires: i64,
    pub(super) visible: i64,
    pub(super) dequeued: u32,
}

/// A message to be put.
#[derive(Debug)]
pub(super) struct NewMessage {
    pub(super) name: String,
    pub(super) receipt: String,
    pub(super) text: String,
    pub(super) inserted: i64,
    pub(super) expires: i64,
    pub(super) visible: i64,
}

/// A change of a message.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) receipt: String,
    pub(super) new_receipt: String,
    pub(super) visible: i64,
    pub(super) text: Option<String>,
}

type Pairs = Vec<(String, String)>;

pub(super) fn create(db: &Connection, queue: &str, metadata: &Pairs) -> Result<Created, Fault> {
    let metadata = pack(metadata);
    let mut found = db.prepare_cached("SELECT metadata FROM queues WHERE name = ?")?;
    let found: Option<String> = found.query_row([queue], |row| row.get(0)).optional()?;
    match found {
        None => {
            db.prepare_cached("INSERT INTO queues (name, metadata) VALUES (?, ?)")?
                .execute([queue, &metadata])?;
            Ok(Created::New)
        }
        Some(same) if same == metadata => Ok(Created::Existed),
        Some(_) => Err(Fault::queue_already_exists()),
    }
}

fn key(db: &Connection, queue: &str) -> Result<i64, Fault> {
    let mut found = db.prepare_cached("SELECT id FROM queues WHERE name = ?")?;
    let found = found.query_row([queue], |row| row.get(0)).optional()?;
    found.ok_or_else(Fault::queue_not_found)
}

pub(super) fn delete(db: &Connection, queue: &str) -> Result<(), Fault> {
    let key = key(db, queue)?;
    clear_key(db, key)?;
    db.prepare_cached("DELETE FROM queues WHERE id = ?")?.execute([key])?;
    Ok(())
}

pub(super) fn clear(db: &Connection, queue: &str) -> Result<(), Fault> {
    clear_key(db, key(db, queue)?)
}

fn clear_key(db: &Connection, key: i64) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM messages WHERE queue = ?")?.execute([key])?;
    Ok(())
}

/// The packed metadata, and how many messages there are.
pub(super) fn properties(db: &Connection, queue: &str, now: i64) -> Result<(String, u64), Fault> {
    let key = key(db, queue)?;
    let metadata = db
        .prepare_cached("SELECT metadata FROM queues WHERE id = ?")?
        .query_row([key], |row| row.get(0))?;
    let count = db
        .prepare_cached("SELECT count(*) FROM messages WHERE queue = ? AND expires > ?")?
        .query_row([key, now], |row| row.get::<_, i64>(0))?;
    Ok((metadata, count.unsigned_abs()))
}

pub(super) fn set_metadata(db: &Connection, queue: &str, metadata: &Pairs) -> Result<(), Fault> {
    let key = key(db, queue)?;
    db.prepare_cached("UPDATE queues SET metadata = ? WHERE id = ?")?
        .execute(params![pack(metadata), key])?;
    Ok(())
}

/// Names with packed metadata, and the name that the next page begins with.
pub(super) fn list(db: &Connection, page: &Page) -> Result<(Pairs, Option<String>), Fault> {
    let mut rows = db.prepare_cached(
        "SELECT name, metadata FROM queues WHERE name >= ?1 AND substr(name, 1, length(?2)) = ?2
         ORDER BY name LIMIT ?3",
    )?;
    let rows = rows.query_map(params![page.from, page.prefix, page.limit()], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let mut found: Pairs = rows.collect::<Result<_, _>>()?;
    let next = (found.len() > page.max).then(|| found.pop()).flatten();
    Ok((found, next.map(|(name, _)| name)))
}

pub(super) fn put(db: &Connection, queue: &str, message: &NewMessage) -> Result<(), Fault> {
    let key = key(db, queue)?;
    db.prepare_cached(
        "INSERT INTO messages (queue, name, receipt, text, inserted, expires, visible, dequeued)
         VALUES (:queue, :name, :receipt, :text, :inserted, :expires, :visible, 0)",
    )?
    .execute(named_params! {
        ":queue": key,
        ":name": message.name,
        ":receipt": message.receipt,
        ":text": message.text,
        ":inserted": message.inserted,
        ":expires": message.expires,
        ":visible": message.visible,
    })?;
    Ok(())
}

/// The messages that can be seen, in order.
pub(super) fn peek(
    db: &Connection,
    queue: &str,
    count: i64,
    now: i64,
) -> Result<Vec<MessageRow>, Fault> {
    let key = key(db, queue)?;
    let mut rows = db.prepare_cached(
        "SELECT * FROM messages WHERE queue = ? AND visible <= ? AND expires > ?
         ORDER BY visible, id LIMIT ?",
    )?;
    let rows = rows.query_map([key, now, now, count], message)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn message(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        key: row.get("id")?,
        name: row.get("name")?,
        receipt: row.get("receipt")?,
        text: row.get("text")?,
        inserted: row.get("inserted")?,
        expires: row.get("expires")?,
        visible: row.get("visible")?,
        dequeued: row.get("dequeued")?,
    })
}

/// Hides the messages that can be seen until a time, each with a new receipt. Messages of all queues that have expired go.
pub(super) fn get(
    db: &Connection,
    queue: &str,
    count: i64,
    (now, until): (i64, i64),
    receipt: impl Fn() -> String,
) -> Result<Vec<MessageRow>, Fault> {
    db.prepare_cached("DELETE FROM messages WHERE expires <= ?")?.execute([now])?;
    let mut messages = peek(db, queue, count, now)?;
    let mut change = db.prepare_cached(
        "UPDATE messages SET visible = ?, receipt = ?, dequeued = dequeued + 1 WHERE id = ?",
    )?;
    for message in &mut messages {
        message.receipt = receipt();
        message.visible = until;
        message.dequeued += 1;
        change.execute(params![until, message.receipt, message.key])?;
    }
    Ok(messages)
}

/// The message that a receipt allows to change.
fn owned(
    db: &Connection,
    queue: &str,
    name: &str,
    receipt: &str,
    now: i64,
) -> Result<MessageRow, Fault> {
    let key = key(db, queue)?;
    let found = db
        .prepare_cached("SELECT * FROM messages WHERE name = ? AND queue = ? AND expires > ?")?
        .query_row(params![name, key, now], message)
        .optional()?
        .ok_or_else(Fault::message_not_found)?;
    if found.receipt == receipt { Ok(found) } else { Err(Fault::pop_receipt_mismatch()) }
}

pub(super) fn update(
    db: &Connection,
    queue: &str,
    name: &str,
    change: &Change,
    now: i64,
) -> Result<(), Fault> {
    let found = owned(db, queue, name, &change.receipt, now)?;
    if change.visible > found.expires {
        return Err(Fault::out_of_range_input());
    }
    let text = change.text.as_ref().unwrap_or(&found.text);
    db.prepare_cached("UPDATE messages SET visible = ?, receipt = ?, text = ? WHERE id = ?")?
        .execute(params![change.visible, change.new_receipt, text, found.key])?;
    Ok(())
}

pub(super) fn remove(
    db: &Connection,
    queue: &str,
    name: &str,
    receipt: &str,
    now: i64,
) -> Result<(), Fault> {
    let found = owned(db, queue, name, receipt, now)?;
    db.prepare_cached("DELETE FROM messages WHERE id = ?")?.execute([found.key])?;
    Ok(())
}

/// When the next message of a queue can be seen; nothing for one that is empty or not there.
pub(super) fn next_visible(db: &Connection, queue: &str, now: i64) -> Result<Option<i64>, Fault> {
    let mut next = db.prepare_cached(
        "SELECT visible FROM messages WHERE queue = (SELECT id FROM queues WHERE name = ?)
         AND expires > max(visible, ?) ORDER BY visible LIMIT 1",
    )?;
    Ok(next.query_row(params![queue, now], |row| row.get(0)).optional()?)
}
