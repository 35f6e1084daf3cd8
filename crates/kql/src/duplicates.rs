//! Files with the same content: groups by hash, and what they waste.
//!
//! Only files whose content was hashed take part. Files of other executions do not: the same file scanned twice is no duplicate.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// The conditions under which a row has a hash of content.
const HASHED: &str = "FileHash NOT IN ('', 'SKIPPED', 'SKIPPED_TOO_LARGE', 'SKIPPED_PERFORMANCE', 'ERROR') AND FileSizeBytes > 0";

/// All files of an execution that exist more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicates {
    /// The execution; none when the table is empty.
    pub execution: Option<String>,
    /// How many groups there are.
    pub groups: u64,
    /// How many files are in them.
    pub files: u64,
    /// What would be free if one file of each group stayed.
    pub wasted_bytes: u64,
    /// The groups that waste most.
    pub largest: Vec<Group>,
}

/// Files with the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The hash of the content.
    pub hash: String,
    /// The size of one file.
    pub bytes: u64,
    /// How many files there are.
    pub files: u64,
    /// What all but one take.
    pub wasted_bytes: u64,
    /// Some of the files, as `share/path`, at most ten.
    pub paths: Vec<String>,
}

const PATHS_MAX: usize = 10;

/// The duplicates of an execution, or of the latest when none is named, with so many of the largest groups.
pub fn duplicates(
    connection: &Connection,
    execution: Option<&str>,
    groups_max: usize,
) -> rusqlite::Result<Duplicates> {
    let execution = match execution {
        Some(execution) => Some(execution.to_owned()),
        None => latest_execution(connection)?,
    };
    let Some(id) = &execution else {
        return Ok(Duplicates {
            execution,
            groups: 0,
            files: 0,
            wasted_bytes: 0,
            largest: Vec::new(),
        });
    };
    let grouped = format!(
        "SELECT FileHash AS hash, FileSizeBytes AS bytes, count(*) AS files FROM FileInventory_CL \
         WHERE ExecutionId = ?1 AND {HASHED} GROUP BY FileHash, FileSizeBytes HAVING count(*) > 1"
    );
    let totals = format!(
        "SELECT count(*), coalesce(sum(files), 0), coalesce(sum((files - 1) * bytes), 0) FROM ({grouped})"
    );
    let (groups, files, wasted_bytes) = connection.query_row(&totals, [id], |row| {
        Ok((unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?))
    })?;
    let largest = format!("{grouped} ORDER BY (files - 1) * bytes DESC, hash LIMIT ?2");
    let limit = i64::try_from(groups_max).unwrap_or(i64::MAX);
    let mut statement = connection.prepare(&largest)?;
    let mut largest = statement
        .query_map(params![id, limit], |row| {
            let (bytes, files) = (unsigned(row, 1)?, unsigned(row, 2)?);
            let wasted_bytes = (files - 1) * bytes;
            Ok(Group { hash: row.get(0)?, bytes, files, wasted_bytes, paths: Vec::new() })
        })?
        .collect::<rusqlite::Result<Vec<Group>>>()?;
    for group in &mut largest {
        group.paths = paths(connection, id, group)?;
    }
    Ok(Duplicates { execution, groups, files, wasted_bytes, largest })
}

/// The execution that wrote the newest row.
pub(crate) fn latest_execution(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let newest = "SELECT ExecutionId FROM FileInventory_CL ORDER BY TimeGenerated DESC LIMIT 1";
    connection.query_row(newest, [], |row| row.get(0)).optional()
}

fn paths(connection: &Connection, execution: &str, group: &Group) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT FileShare || '/' || FilePath FROM FileInventory_CL \
         WHERE ExecutionId = ?1 AND FileHash = ?2 AND FileSizeBytes = ?3 ORDER BY 1 LIMIT ?4",
    )?;
    let limit = i64::try_from(PATHS_MAX).expect("it is a small number");
    let bytes = i64::try_from(group.bytes).expect("it came from a column of 64 bits");
    statement.query_map(params![execution, group.hash, bytes, limit], |row| row.get(0))?.collect()
}

fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0))
}
