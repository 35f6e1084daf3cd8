//! What a scan needs: shares, their directories in the order in which they were found, and what pages bring.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Error, rows};
use crate::{moment, record::File, request::Scan};

/// A share of a scan, with what its activities need.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// A folder of this machine; empty for a share of the file service.
    pub(crate) root: Vec<u8>,
    pub(crate) scan: Scan,
}

/// A directory that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) id: i64,
    /// Below the share's root, without a slash at either end; empty for the root.
    pub(crate) path: Vec<u8>,
    /// Pages taken so far.
    pub(crate) page: i64,
    /// Where the listing goes on.
    pub(crate) marker: Option<String>,
}

/// Directories that one activity takes, by the numbers of the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// How many directories go into a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LanesWanted {
    pub(crate) lanes: usize,
    /// Directories of one lane.
    pub(crate) length: usize,
}

/// What comes next in a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) directories: u64,
    pub(crate) totals: Totals,
    /// Rows wait to be sent.
    pub(crate) sends: bool,
}

/// Where a share stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) directories: u64,
    pub(crate) queued: u64,
    pub(crate) errors: u64,
    /// Links, sockets and the like.
    pub(crate) skipped: u64,
}

/// What a page of a listing brings.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) directory: Directory,
    /// Where it goes on; `None` if it is done.
    pub(crate) next: Option<String>,
    /// When it was listed.
    pub(crate) moment: i64,
    pub(crate) files: Vec<File>,
    pub(crate) subdirectories: Vec<Vec<u8>>,
    pub(crate) errors: Vec<Trouble>,
    pub(crate) skipped: u64,
}

/// Something that went wrong with a directory, or with one of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) name: Option<String>,
    pub(crate) text: String,
}

/// Notes that a scan runs. Again changes nothing.
pub(crate) fn open_scan(db: &Connection, scan: &Scan, instance: &str) -> Result<(), Error> {
    let options = serde_json::to_string(scan).expect("names and numbers are JSON");
    db.execute(
        "INSERT OR IGNORE INTO scans (execution, instance, account, options, started, status)
         VALUES (?1, ?2, ?3, ?4, ?5, 'running')",
        params![scan.execution_id, instance, scan.storage_account_name, options, moment::now()],
    )?;
    Ok(())
}

/// Notes that a share is scanned, and puts its root into the queue. Again gives the same number.
pub(crate) fn open_share(
    db: &mut Connection,
    execution: &str,
    (account, name): (&str, &str),
    root: &[u8],
    sends: bool,
) -> Result<i64, Error> {
    let work = db.transaction()?;
    let found = work
        .query_row(
            "SELECT id FROM shares WHERE execution = ?1 AND name = ?2",
            params![execution, name],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    work.execute(
        "INSERT INTO shares (execution, account, name, root, queued, sends, status)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, 'running')",
        params![execution, account, name, root, sends],
    )?;
    let id = work.last_insert_rowid();
    work.execute("INSERT INTO directories (share, path) VALUES (?1, x'')", [id])?;
    work.commit()?;
    Ok(id)
}

pub(crate) fn share(db: &Connection, id: i64) -> Result<Share, Error> {
    let found = db
        .prepare_cached(
            "SELECT shares.name, shares.root, scans.options FROM shares JOIN scans USING (execution)
             WHERE shares.id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))
        .optional()?;
    let (name, root, options) = found.ok_or(Error::Gone(id))?;
    let scan = serde_json::from_str(&options).map_err(|_| Error::Gone(id))?;
    Ok(Share { id, name, root, scan })
}

/// The next wave: directories that wait, in the order in which they were found.
pub(crate) fn plan(db: &Connection, share: i64, wanted: LanesWanted) -> Result<Plan, Error> {
    let limit = wanted.lanes * wanted.length;
    let waiting: Vec<i64> = db
        .prepare_cached(
            "SELECT id FROM directories WHERE share = ?1 AND done = 0 ORDER BY id LIMIT ?2",
        )?
        .query_map(params![share, signed(limit)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let length = waiting.len().div_ceil(wanted.lanes).max(1);
    let lane = |ids: &[i64]| Some(Lane { first: *ids.first()?, last: *ids.last()? });
    let sends =
        db.query_row("SELECT sends FROM shares WHERE id = ?1", [share], |row| row.get(0))?;
    Ok(Plan {
        lanes: waiting.chunks(length).filter_map(lane).collect(),
        directories: waiting.len() as u64,
        totals: totals(db, share)?,
        sends,
    })
}

pub(crate) fn totals(db: &Connection, share: i64) -> Result<Totals, Error> {
    let found = db
        .prepare_cached(
            "SELECT files, bytes, directories, queued, errors, skipped FROM shares WHERE id = ?1",
        )?
        .query_row([share], |row| {
            Ok(Totals {
                files: row.get(0)?,
                bytes: row.get(1)?,
                directories: row.get(2)?,
                queued: row.get(3)?,
                errors: row.get(4)?,
                skipped: row.get(5)?,
            })
        })
        .optional()?;
    found.ok_or(Error::Gone(share))
}

/// The directories of a lane that still wait.
pub(crate) fn waiting(db: &Connection, share: i64, lane: Lane) -> Result<Vec<Directory>, Error> {
    let directories = db
        .prepare_cached(
            "SELECT id, path, page, marker FROM directories
             WHERE share = ?1 AND done = 0 AND id BETWEEN ?2 AND ?3 ORDER BY id",
        )?
        .query_map(params![share, lane.first, lane.last], |row| {
            Ok(Directory {
                id: row.get(0)?,
                path: row.get(1)?,
                page: row.get(2)?,
                marker: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(directories)
}

/// Whether directories of a lane still wait.
pub(crate) fn is_waiting(db: &Connection, share: i64, lane: Lane) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM directories WHERE share = ?1 AND done = 0 AND id BETWEEN ?2 AND ?3)";
    let mut ask = db.prepare_cached(sql)?;
    Ok(ask.query_row(params![share, lane.first, lane.last], |row| row.get(0))?)
}

/// Writes what pages brought, in one transaction; a page that was taken before changes nothing.
pub(crate) fn commit(db: &mut Connection, share: &Share, steps: &[Step]) -> Result<(), Error> {
    let work = db.transaction()?;
    let mut sums = Totals::default();
    let mut queued = 0_i64;
    let mut groups = BTreeMap::new();
    let first = rows::next(&work)?;
    let mut next = first;
    for step in steps {
        let is_done = step.next.is_none();
        let taken = work
            .prepare_cached(
                "UPDATE directories SET page = page + 1, marker = ?3, done = ?4
                 WHERE id = ?1 AND page = ?2 AND done = 0",
            )?
            .execute(params![step.directory.id, step.directory.page, step.next, is_done])?;
        if taken == 0 {
            continue;
        }
        queued += signed(step.subdirectories.len()) - i64::from(is_done);
        sums.directories += u64::from(is_done);
        sums.skipped += step.skipped;
        write_rows(&work, share.id, next, step, (&mut sums, &mut groups))?;
        next += signed(step.files.len());
        write_subdirectories(&work, share.id, step)?;
        write_errors(&work, share.id, Some(step.directory.id), &step.errors)?;
        sums.errors += step.errors.len() as u64;
    }
    write_groups(&work, share.id, &groups)?;
    if next > first {
        work.prepare_cached(
            "INSERT INTO ranges (share, first, last) SELECT id, ?2, ?3 FROM shares WHERE id = ?1 AND sends",
        )?
        .execute(params![share.id, first, next - 1])?;
    }
    work.prepare_cached(
        "UPDATE shares SET files = files + ?2, bytes = bytes + ?3, directories = directories + ?4,
         queued = queued + ?5, errors = errors + ?6, skipped = skipped + ?7 WHERE id = ?1",
    )?
    .execute(params![
        share.id,
        sums.files,
        sums.bytes,
        sums.directories,
        queued,
        sums.errors,
        sums.skipped
    ])?;
    work.commit()?;
    Ok(())
}

/// A number as the database has them.
fn signed(number: usize) -> i64 {
    i64::try_from(number).expect("nothing of that many fits into memory")
}

type Groups = BTreeMap<(usize, usize, usize), (u64, u64)>;

fn write_rows(
    db: &Connection,
    share: i64,
    first: i64,
    step: &Step,
    (sums, groups): (&mut Totals, &mut Groups),
) -> Result<(), Error> {
    rows::write(db, share, first, step, |file, derived| {
        sums.files += 1;
        sums.bytes += file.size;
        let group = groups.entry((derived.category, derived.age, derived.size)).or_default();
        group.0 += 1;
        group.1 += file.size;
    })
}

fn write_subdirectories(db: &Connection, share: i64, step: &Step) -> Result<(), Error> {
    let mut insert =
        db.prepare_cached("INSERT INTO directories (share, parent, path) VALUES (?1, ?2, ?3)")?;
    for name in &step.subdirectories {
        let mut path = step.directory.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        insert.execute(params![share, step.directory.id, path])?;
    }
    Ok(())
}

fn write_errors(
    db: &Connection,
    share: i64,
    directory: Option<i64>,
    errors: &[Trouble],
) -> Result<(), Error> {
    let mut insert = db.prepare_cached(
        "INSERT INTO errors (share, directory, name, text) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for Trouble { name, text } in errors {
        insert.execute(params![share, directory, name, text])?;
    }
    Ok(())
}

fn write_groups(db: &Connection, share: i64, groups: &Groups) -> Result<(), Error> {
    let mut add = db.prepare_cached(
        "INSERT INTO groups VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET files = files + excluded.files, bytes = bytes + excluded.bytes",
    )?;
    for ((category, age, size), (files, bytes)) in groups {
        add.execute(params![share, signed(*category), signed(*age), signed(*size), files, bytes])?;
    }
    Ok(())
}

/// Names of a directory's entries that pages before have taken, by their hashes: what a listing that has to begin anew
/// leaves out.
pub(crate) fn taken(
    db: &Connection,
    share: &Share,
    directory: &Directory,
) -> Result<HashSet<u64>, Error> {
    let mut seen = HashSet::new();
    rows::each_name(db, directory.id, |name| {
        seen.insert(xxh3_64(name));
    })?;
    let mut names = db.prepare("SELECT name FROM errors WHERE share = ?1 AND directory = ?2")?;
    let mut names = names.query(params![share.id, directory.id])?;
    while let Some(row) = names.next()? {
        seen.insert(xxh3_64(row.get_ref(0)?.as_bytes().unwrap_or_default()));
    }
    let mut paths = db.prepare("SELECT path FROM directories WHERE share = ?1 AND parent = ?2")?;
    let mut paths = paths.query(params![share.id, directory.id])?;
    while let Some(row) = paths.next()? {
        let path: &[u8] = row.get_ref(0)?.as_bytes().unwrap_or_default();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        seen.insert(xxh3_64(name));
    }
    Ok(seen)
}

/// Gives up the directories of a lane that still wait.
pub(crate) fn give_up(
    db: &mut Connection,
    share: i64,
    lane: Lane,
    cause: &str,
) -> Result<(), Error> {
    let work = db.transaction()?;
    let left = waiting(&work, share, lane)?;
    for directory in &left {
        let text = directory_trouble(&directory.path, cause);
        let trouble = Trouble { name: None, text };
        write_errors(&work, share, Some(directory.id), &[trouble])?;
        work.execute("UPDATE directories SET done = 1 WHERE id = ?1", [directory.id])?;
    }
    work.execute(
        "UPDATE shares SET errors = errors + ?2, queued = queued - ?2 WHERE id = ?1",
        params![share, signed(left.len())],
    )?;
    work.commit()?;
    Ok(())
}

/// What is said of a directory that could not be listed.
pub(crate) fn directory_trouble(path: &[u8], cause: &str) -> String {
    let path = String::from_utf8_lossy(path);
    let shown = if path.is_empty() { "(root)" } else { &path };
    format!("Error scanning directory {shown}: {cause}")
}

/// The first errors of a share.
pub(crate) fn errors(db: &Connection, share: i64, count: u32) -> Result<Vec<String>, Error> {
    let texts = db
        .prepare_cached("SELECT text FROM errors WHERE share = ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![share, count], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(texts)
}

/// Notes how a share ended. What only its scan needed goes.
pub(crate) fn close_share(db: &mut Connection, share: i64, status: &str) -> Result<(), Error> {
    let work = db.transaction()?;
    work.execute("UPDATE shares SET status = ?2 WHERE id = ?1", params![share, status])?;
    work.execute("DELETE FROM directories WHERE share = ?1", [share])?;
    work.commit()?;
    Ok(())
}

/// Notes how a scan ended.
pub(crate) fn close_scan(db: &Connection, execution: &str, status: &str) -> Result<(), Error> {
    db.execute(
        "UPDATE scans SET status = ?2, ended = coalesce(ended, ?3) WHERE execution = ?1",
        params![execution, status, moment::now()],
    )?;
    Ok(())
}
