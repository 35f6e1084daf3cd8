//! What people ask of scans: how far they are, and what they found.

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::Serialize;

use super::Error;
use crate::{moment, record};

/// Where a scan stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Progress {
    pub(crate) execution_id: String,
    pub(crate) instance_id: String,
    pub(crate) storage_account: String,
    /// `running`, or how it ended.
    pub(crate) status: String,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) directories: u64,
    pub(crate) directories_queued: u64,
    pub(crate) errors: u64,
    pub(crate) batches_sent: u64,
    pub(crate) batches_failed: u64,
    pub(crate) shares: Vec<ShareProgress>,
}

/// Where a share stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ShareProgress {
    file_share: String,
    status: String,
    files: u64,
    bytes: u64,
    directories: u64,
    directories_queued: u64,
    errors: u64,
}

/// Files that have a property in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What a scan found, by category, age and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Groups {
    category: Vec<Group>,
    age: Vec<Group>,
    size: Vec<Group>,
}

/// The latest scan, or this one.
pub(crate) fn progress(
    db: &Connection,
    execution: Option<&str>,
) -> Result<Option<Progress>, Error> {
    let scan = db
        .prepare(
            "SELECT execution, instance, account, status, started, ended FROM scans
             WHERE execution = coalesce(?1, execution) ORDER BY started DESC, rowid DESC LIMIT 1",
        )?
        .query_row([execution], |row| {
            Ok(Progress {
                execution_id: row.get(0)?,
                instance_id: row.get(1)?,
                storage_account: row.get(2)?,
                status: row.get(3)?,
                started: moment::iso(row.get(4)?),
                ended: row.get::<_, Option<i64>>(5)?.map(moment::iso),
                files: 0,
                bytes: 0,
                directories: 0,
                directories_queued: 0,
                errors: 0,
                batches_sent: 0,
                batches_failed: 0,
                shares: Vec::new(),
            })
        })
        .optional()?;
    scan.map(|scan| with_shares(db, scan)).transpose()
}

fn with_shares(db: &Connection, mut scan: Progress) -> Result<Progress, Error> {
    let shares = db
        .prepare(
            "SELECT name, status, files, bytes, directories, queued, errors FROM shares
             WHERE execution = ?1 ORDER BY id",
        )?
        .query_map([&scan.execution_id], share)?
        .collect::<Result<Vec<_>, _>>()?;
    for share in &shares {
        scan.files += share.files;
        scan.bytes += share.bytes;
        scan.directories += share.directories;
        scan.directories_queued += share.directories_queued;
        scan.errors += share.errors;
    }
    (scan.batches_sent, scan.batches_failed) = db
        .prepare(
            "SELECT count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'failed')
             FROM batches WHERE share IN (SELECT id FROM shares WHERE execution = ?1)",
        )?
        .query_row([&scan.execution_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    scan.shares = shares;
    Ok(scan)
}

fn share(row: &Row<'_>) -> rusqlite::Result<ShareProgress> {
    Ok(ShareProgress {
        file_share: row.get(0)?,
        status: row.get(1)?,
        files: row.get(2)?,
        bytes: row.get(3)?,
        directories: row.get(4)?,
        directories_queued: row.get(5)?,
        errors: row.get(6)?,
    })
}

/// What a scan found.
pub(crate) fn groups(db: &Connection, execution: &str) -> Result<Groups, Error> {
    let by = |column: &str, names: &[&'static str]| -> Result<Vec<Group>, Error> {
        let mut groups: Vec<Group> =
            names.iter().map(|name| Group { name, files: 0, bytes: 0 }).collect();
        let sql = format!(
            "SELECT {column}, sum(files), sum(bytes) FROM groups
             WHERE share IN (SELECT id FROM shares WHERE execution = ?1) GROUP BY {column}"
        );
        let mut found = db.prepare(&sql)?;
        let mut found = found.query([execution])?;
        while let Some(row) = found.next()? {
            let number: usize = row.get::<_, i64>(0)?.try_into().unwrap_or(usize::MAX);
            if let Some(group) = groups.get_mut(number) {
                (group.files, group.bytes) = (row.get(1)?, row.get(2)?);
            }
        }
        Ok(groups)
    };
    Ok(Groups {
        category: by("category", record::CATEGORIES)?,
        age: by("age", record::AGES)?,
        size: by("size", record::SIZES)?,
    })
}

/// The execution of a scan that runs with the same options: what a command that was stopped goes on with.
pub(crate) fn find_running(
    db: &Connection,
    account: &str,
    is_same: impl Fn(&str) -> bool,
) -> Result<Option<(String, String)>, Error> {
    let mut scans = db.prepare(
        "SELECT execution, instance, options FROM scans
         WHERE status = 'running' AND account = ?1 ORDER BY started DESC",
    )?;
    let mut scans = scans.query([account])?;
    while let Some(row) = scans.next()? {
        if is_same(row.get_ref(2)?.as_str().unwrap_or_default()) {
            return Ok(Some((row.get(0)?, row.get(1)?)));
        }
    }
    Ok(None)
}

/// Rows of all scans, and the paths that they name.
pub(crate) fn count(db: &Connection) -> Result<(u64, u64), Error> {
    let sql = "SELECT count(*), count(DISTINCT FilePath) FROM FileInventory_CL";
    Ok(db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}
