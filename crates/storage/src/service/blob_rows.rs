//! Containers, blobs and blocks as rows. Every function is one operation within a transaction of its caller.
//!
//! B1  A content belongs to one blob or block. Who replaces a row says which files are free after the commit.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{
    condition::{Conditions, Intent, Lease, LeaseAction},
    content::{Arrived, Place},
    fault::Fault,
    request::Page,
};
use crate::client::random;

/// A container as it is stored.
#[derive(Debug, Clone)]
pub(super) struct ContainerRow {
    pub(super) key: i64,
    pub(super) name: String,
    pub(super) metadata: String,
    pub(super) etag: String,
    pub(super) modified: i64,
}

/// A blob as it is stored, without its content.
#[derive(Debug, Clone)]
pub(super) struct BlobRow {
    key: i64,
    pub(super) name: String,
    pub(super) etag: String,
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) length: u64,
    pub(super) place: Place,
    /// Packed headers that describe the content.
    pub(super) headers: String,
    pub(super) metadata: String,
    /// Packed ids and lengths of the blocks it was made of.
    pub(super) blocks: String,
    pub(super) lease: Option<String>,
    pub(super) lease_until: i64,
    pub(super) lease_seconds: i64,
}

impl BlobRow {
    /// Who holds it now.
    pub(super) fn lease_held(&self, now: i64) -> Option<&str> {
        self.lease.as_deref().filter(|_| now < self.lease_until)
    }
}

/// A block that no list has taken yet.
#[derive(Debug, Clone)]
pub(super) struct BlockRow {
    pub(super) id: String,
    pub(super) length: u64,
    pub(super) place: Place,
}

/// What a blob gets when it is written.
#[derive(Debug, Default)]
pub(super) struct NewBlob {
    pub(super) headers: String,
    pub(super) metadata: String,
    pub(super) blocks: String,
}

/// Which blob, and under which conditions.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) container: String,
    pub(super) blob: String,
    pub(super) conditions: Conditions,
    pub(super) now: i64,
}

/// Names of files that nobody needs after the commit.
pub(super) type Freed = Vec<String>;

/// One line of a list of blobs.
#[derive(Debug)]
pub(super) enum Listed {
    Blob(Box<BlobRow>),
    Prefix(String),
}

/// A tag that no other version of anything has.
fn etag() -> String {
    format!("\"0x8D{:014X}\"", u64::from_be_bytes(random()) >> 8)
}

pub(super) fn create_container(
    db: &Connection,
    name: &str,
    metadata: &str,
    now: i64,
) -> Result<ContainerRow, Fault> {
    let sql =
        "INSERT OR IGNORE INTO containers (name, metadata, etag, modified) VALUES (?, ?, ?, ?)";
    let made = db.prepare_cached(sql)?.execute(params![name, metadata, etag(), now])?;
    if made == 0 { Err(Fault::container_already_exists()) } else { container(db, name) }
}

pub(super) fn container(db: &Connection, name: &str) -> Result<ContainerRow, Fault> {
    let found = db
        .prepare_cached("SELECT * FROM containers WHERE name = ?")?
        .query_row([name], container_row)
        .optional()?;
    found.ok_or_else(Fault::container_not_found)
}

fn container_row(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    Ok(ContainerRow {
        key: row.get("id")?,
        name: row.get("name")?,
        metadata: row.get("metadata")?,
        etag: row.get("etag")?,
        modified: row.get("modified")?,
    })
}

pub(super) fn set_container_metadata(
    db: &Connection,
    name: &str,
    metadata: &str,
    now: i64,
) -> Result<ContainerRow, Fault> {
    let key = container(db, name)?.key;
    db.prepare_cached("UPDATE containers SET metadata = ?, etag = ?, modified = ? WHERE id = ?")?
        .execute(params![metadata, etag(), now, key])?;
    container(db, name)
}

pub(super) fn delete_container(db: &Connection, name: &str) -> Result<Freed, Fault> {
    let key = container(db, name)?.key;
    let mut freed = Freed::new();
    for table in ["blobs", "blocks"] {
        let sql = format!("SELECT file FROM {table} WHERE container = ? AND file IS NOT NULL");
        let mut files = db.prepare_cached(&sql)?;
        let files = files.query_map([key], |row| row.get(0))?;
        for file in files {
            freed.push(file?);
        }
        let sql = format!(
            "DELETE FROM contents WHERE id IN (SELECT content FROM {table} WHERE container = ?)"
        );
        db.prepare_cached(&sql)?.execute([key])?;
        db.prepare_cached(&format!("DELETE FROM {table} WHERE container = ?"))?.execute([key])?;
    }
    db.prepare_cached("DELETE FROM containers WHERE id = ?")?.execute([key])?;
    Ok(freed)
}

pub(super) fn list_containers(
    db: &Connection,
    page: &Page,
) -> Result<(Vec<ContainerRow>, Option<String>), Fault> {
    let mut rows = db.prepare_cached(
        "SELECT * FROM containers WHERE name >= ?1 AND substr(name, 1, length(?2)) = ?2
         ORDER BY name LIMIT ?3",
    )?;
    let rows = rows.query_map(params![page.from, page.prefix, page.limit()], container_row)?;
    let mut found: Vec<_> = rows.collect::<Result<_, _>>()?;
    let next = (found.len() > page.max).then(|| found.pop()).flatten();
    Ok((found, next.map(|container| container.name)))
}

fn place(content: Option<i64>, file: Option<String>) -> Place {
    match (content, file) {
        (_, Some(file)) => Place::File(file),
        (content, None) => Place::Row(content.expect("a row says where its bytes are")),
    }
}

fn blob_row(row: &Row<'_>) -> rusqlite::Result<BlobRow> {
    Ok(BlobRow {
        key: row.get("id")?,
        name: row.get("name")?,
        etag: row.get("etag")?,
        created: row.get("created")?,
        modified: row.get("modified")?,
        length: row.get::<_, i64>("length")?.unsigned_abs(),
        place: place(row.get("content")?, row.get("file")?),
        headers: row.get("headers")?,
        metadata: row.get("metadata")?,
        blocks: row.get("blocks")?,
        lease: row.get("lease")?,
        lease_until: row.get("lease_until")?,
        lease_seconds: row.get("lease_seconds")?,
    })
}

fn find(db: &Connection, container: i64, blob: &str) -> Result<Option<BlobRow>, Fault> {
    let mut found = db.prepare_cached("SELECT * FROM blobs WHERE container = ? AND name = ?")?;
    Ok(found.query_row(params![container, blob], blob_row).optional()?)
}

/// The blob, if it is there and the conditions allow it.
pub(super) fn blob(db: &Connection, target: &Target, intent: Intent) -> Result<BlobRow, Fault> {
    let container = container(db, &target.container)?.key;
    let found = find(db, container, &target.blob)?.ok_or_else(Fault::blob_not_found)?;
    target.conditions.check(Some(&found), intent, target.now)?;
    Ok(found)
}

/// Writes a blob over what is there. Uncommitted blocks of its name go.
pub(super) fn put(
    db: &Connection,
    target: &Target,
    content: Arrived,
    new: &NewBlob,
) -> Result<(BlobRow, Freed), Fault> {
    let container = container(db, &target.container)?.key;
    let before = find(db, container, &target.blob)?;
    target.conditions.check(before.as_ref(), Intent::Write, target.now)?;
    let mut freed = drop_blocks(db, container, &target.blob)?;
    if let Some(before) = &before {
        free(db, &before.place, &mut freed)?;
    }
    let length = content.length.cast_signed();
    let (row, file) = match content.keep(db)? {
        Place::Row(row) => (Some(row), None),
        Place::File(file) => (None, Some(file)),
    };
    db.prepare_cached(
        "INSERT INTO blobs (container, name, etag, created, modified, length, content, file, headers, metadata, blocks)
         VALUES (:container, :name, :etag, :now, :now, :length, :content, :file, :headers, :metadata, :blocks)
         ON CONFLICT (container, name) DO UPDATE SET etag = :etag, modified = :now, length = :length,
         content = :content, file = :file, headers = :headers, metadata = :metadata, blocks = :blocks",
    )?
    .execute(named_params! {
        ":container": container,
        ":name": target.blob,
        ":etag": etag(),
        ":now": target.now,
        ":length": length,
        ":content": row,
        ":file": file,
        ":headers": new.headers,
        ":metadata": new.metadata,
        ":blocks": new.blocks,
    })?;
    let written = find(db, container, &target.blob)?.expect("it was written a moment ago");
    Ok((written, freed))
}

fn free(db: &Connection, place: &Place, freed: &mut Freed) -> Result<(), Fault> {
    match place {
        Place::Row(row) => {
            db.prepare_cached("DELETE FROM contents WHERE id = ?")?.execute([row])?;
        }
        Place::File(file) => freed.push(file.clone()),
    }
    Ok(())
}

fn drop_blocks(db: &Connection, container: i64, blob: &str) -> Result<Freed, Fault> {
    let mut freed = Freed::new();
    for block in container_blocks(db, container, blob)? {
        free(db, &block.place, &mut freed)?;
    }
    db.prepare_cached("DELETE FROM blocks WHERE container = ? AND blob = ?")?
        .execute(params![container, blob])?;
    Ok(freed)
}

pub(super) fn delete(db: &Connection, target: &Target) -> Result<Freed, Fault> {
    let found = blob(db, target, Intent::Write)?;
    let mut freed = Freed::new();
    free(db, &found.place, &mut freed)?;
    db.prepare_cached("DELETE FROM blobs WHERE id = ?")?.execute([found.key])?;
    Ok(freed)
}

/// Changes what is said of a blob: its headers, or its metadata.
pub(super) fn describe(
    db: &Connection,
    target: &Target,
    column: Described,
    packed: &str,
) -> Result<BlobRow, Fault> {
    let found = blob(db, target, Intent::Write)?;
    let column = match column {
        Described::Headers => "headers",
        Described::Metadata => "metadata",
    };
    let sql = format!("UPDATE blobs SET {column} = ?, etag = ?, modified = ? WHERE id = ?");
    db.prepare_cached(&sql)?.execute(params![packed, etag(), target.now, found.key])?;
    let container = container(db, &target.container)?.key;
    Ok(find(db, container, &target.blob)?.expect("it was changed a moment ago"))
}

/// What of a blob is changed without its content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Described {
    Headers,
    Metadata,
}

pub(super) fn lease(
    db: &Connection,
    target: &Target,
    action: LeaseAction,
) -> Result<(BlobRow, Lease), Fault> {
    let found = blob(db, target, Intent::Read)?;
    let lease = Lease::after(action, &found, target.now)?;
    db.prepare_cached(
        "UPDATE blobs SET lease = ?, lease_until = ?, lease_seconds = ? WHERE id = ?",
    )?
    .execute(params![lease.id, lease.until, lease.seconds, found.key])?;
    Ok((found, lease))
}

pub(super) fn put_block(
    db: &Connection,
    target: &Target,
    id: &str,
    content: Arrived,
) -> Result<Freed, Fault> {
    let container = container(db, &target.container)?.key;
    let present = find(db, container, &target.blob)?;
    target.conditions.check(present.as_ref(), Intent::Write, target.now)?;
    let mut freed = Freed::new();
    let before = container_blocks(db, container, &target.blob)?;
    // All ids of a blob have one length: lists of blocks are compared by it.
    if before.first().is_some_and(|block| block.id.len() != id.len()) {
        return Err(Fault::invalid_block_id());
    }
    if let Some(same) = before.iter().find(|block| block.id == id) {
        free(db, &same.place, &mut freed)?;
    }
    let length = content.length.cast_signed();
    let (row, file) = match content.keep(db)? {
        Place::Row(row) => (Some(row), None),
        Place::File(file) => (None, Some(file)),
    };
    db.prepare_cached(
        "INSERT OR REPLACE INTO blocks (container, blob, block, length, content, file)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![container, target.blob, id, length, row, file])?;
    Ok(freed)
}

/// The blocks that wait for a list, in the order of their arrival.
pub(super) fn blocks(
    db: &Connection,
    container_name: &str,
    blob: &str,
) -> Result<Vec<BlockRow>, Fault> {
    container_blocks(db, container(db, container_name)?.key, blob)
}

fn container_blocks(db: &Connection, container: i64, blob: &str) -> Result<Vec<BlockRow>, Fault> {
    let mut rows =
        db.prepare_cached("SELECT * FROM blocks WHERE container = ? AND blob = ? ORDER BY id")?;
    let rows = rows.query_map(params![container, blob], |row| {
        Ok(BlockRow {
            id: row.get("block")?,
            length: row.get::<_, i64>("length")?.unsigned_abs(),
            place: place(row.get("content")?, row.get("file")?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The blob as it is, whatever conditions say; nothing when there is none.
pub(super) fn present(
    db: &Connection,
    container_name: &str,
    blob: &str,
) -> Result<Option<BlobRow>, Fault> {
    find(db, container(db, container_name)?.key, blob)
}

/// Blobs in the order of their names. Names that go on behind the delimiter show as one prefix.
pub(super) fn list(
    db: &Connection,
    container_name: &str,
    page: &Page,
    delimiter: Option<&str>,
) -> Result<(Vec<Listed>, Option<String>), Fault> {
    let container = container(db, container_name)?.key;
    let mut listed = Vec::new();
    let mut from = page.from.clone().max(page.prefix.clone());
    loop {
        let step = step(db, container, &from, (page, delimiter), &mut listed)?;
        match step {
            Step::End => return Ok((listed, None)),
            Step::Full(next) => return Ok((listed, Some(next))),
            Step::Jump(next) => from = next,
        }
    }
}

/// How a part of a list ended.
enum Step {
    End,
    Full(String),
    Jump(String),
}

fn step(
    db: &Connection,
    container: i64,
    from: &str,
    (page, delimiter): (&Page, Option<&str>),
    listed: &mut Vec<Listed>,
) -> Result<Step, Fault> {
    let mut rows =
        db.prepare_cached("SELECT * FROM blobs WHERE container = ? AND name >= ? ORDER BY name")?;
    for row in rows.query_map(params![container, from], blob_row)? {
        let row = row?;
        let Some(behind) = row.name.strip_prefix(page.prefix.as_str()) else {
            return Ok(Step::End);
        };
        if listed.len() == page.max {
            return Ok(Step::Full(row.name));
        }
        let cut = delimiter.and_then(|sign| behind.find(sign).map(|at| at + sign.len()));
        let Some(cut) = cut else {
            listed.push(Listed::Blob(Box::new(row)));
            continue;
        };
        let prefix = row.name[..page.prefix.len() + cut].to_owned();
        // The next name that does not begin so: no letter comes behind the last one there is.
        let next = format!("{prefix}{}", char::MAX);
        listed.push(Listed::Prefix(prefix));
        return Ok(Step::Jump(next));
    }
    Ok(Step::End)
}
