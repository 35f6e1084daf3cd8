//! The rows of the inventory: how they are stored, and the table that people ask.
//!
//! W1  What is the same for all files of a page of a listing stands once, in `pages`; `files` has what is left. A row
//!     takes some 50 bytes that way, a sixth of what it shows, and a scan writes so much less.
//! W2  `FileInventory_CL` is a view over both with the columns that Azure Monitor has. It uses what every `SQLite` has,
//!     so that any tool reads it.
//! W3  The rows of a page follow each other, and the page has the number of its first row.

use rusqlite::{
    Connection, Statement, params,
    types::{ToSqlOutput, Value, ValueRef},
};

use super::{Error, queue::Step};
use crate::{
    moment,
    record::{self, AGE_LIMITS, AGES, CATEGORIES, Derived, File, Hash, SIZE_LIMITS, SIZES},
};

/// Tables and the view.
pub(super) fn tables() -> String {
    let columns: Vec<String> =
        columns().into_iter().map(|(name, sql)| format!("{sql} AS {name}")).collect();
    // The order of a cross join stands: from a file to its page, never by an index made for one question.
    format!(
        "{TABLES}
         CREATE VIEW IF NOT EXISTS {} AS SELECT files.id AS id, {} FROM files
         CROSS JOIN pages ON pages.first = files.page CROSS JOIN shares ON shares.id = pages.share;",
        record::TABLE,
        columns.join(", ")
    )
}

/// `created` and `written` are milliseconds after `modified`: mostly zero, which takes no room. `extension` is where
/// it begins, in characters. `hash` is empty if nobody asked for it, 1 for a large file, 2 for one that was not read.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, page INTEGER NOT NULL, name TEXT NOT NULL, extension INTEGER NOT NULL, size INTEGER NOT NULL,
    modified INTEGER, created INTEGER, written INTEGER, days INTEGER NOT NULL, category INTEGER NOT NULL, hash
);
CREATE TABLE IF NOT EXISTS pages (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, share INTEGER NOT NULL, directory INTEGER NOT NULL,
    generated TEXT NOT NULL, scanned TEXT NOT NULL, prefix TEXT NOT NULL
);
";

/// The view's columns, each with what it is computed from.
fn columns() -> [(&'static str, String); 22] {
    let time =
        |millis: &str| format!("strftime('%Y-%m-%dT%H:%M:%fZ', ({millis}) / 1000.0, 'unixepoch')");
    let expressions = [
        "pages.generated".to_owned(),
        "shares.account".to_owned(),
        "shares.name".to_owned(),
        "pages.prefix || files.name".to_owned(),
        "files.name".to_owned(),
        "substr(files.name, files.extension)".to_owned(),
        "files.size".to_owned(),
        rounded(record::MB, 100),
        rounded(record::GB, 10_000),
        time("files.modified"),
        time("coalesce(files.modified, 0) + files.created"),
        "files.days".to_owned(),
        "CASE typeof(files.hash) WHEN 'blob' THEN hex(files.hash) WHEN 'null' THEN 'SKIPPED' \
         ELSE iif(files.hash = 1, 'SKIPPED_TOO_LARGE', 'ERROR') END"
            .to_owned(),
        "'Unknown'".to_owned(),
        "0".to_owned(),
        "''".to_owned(),
        category(),
        bucket("files.days <=", &AGE_LIMITS, AGES),
        bucket("files.size <", &SIZE_LIMITS, SIZES),
        "pages.scanned".to_owned(),
        "shares.execution".to_owned(),
        time("coalesce(files.modified, 0) + files.written"),
    ];
    let mut names = record::COLUMNS.iter();
    expressions.map(|sql| (*names.next().expect("there is an expression for each column"), sql))
}

/// `size / unit` to the nearest part of `parts`, ties to the even one.
fn rounded(unit: u64, parts: u64) -> String {
    let whole = format!("(files.size / {unit} * {parts} + files.size % {unit} * {parts} / {unit})");
    let rest = format!("(files.size % {unit} * {parts} % {unit} * 2)");
    format!("({whole} + ({rest} > {unit} OR ({rest} = {unit} AND {whole} % 2 = 1))) / {parts}.0")
}

fn category() -> String {
    let cases: Vec<String> = CATEGORIES
        .iter()
        .enumerate()
        .map(|(number, name)| format!("WHEN {number} THEN '{name}'"))
        .collect();
    format!("CASE files.category {} END", cases.join(" "))
}

fn bucket(is_within: &str, limits: &[impl std::fmt::Display], names: &[&str]) -> String {
    let cases: Vec<String> = limits
        .iter()
        .zip(names)
        .map(|(limit, name)| format!("WHEN {is_within} {limit} THEN '{name}'"))
        .collect();
    format!("CASE {} ELSE '{}' END", cases.join(" "), names[limits.len()])
}

/// The number of the next row. Rows of a transaction follow each other, as there is one writer.
pub(super) fn next(db: &Connection) -> Result<i64, Error> {
    let sql = "SELECT coalesce(max(id), 0) + 1 FROM files";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Writes the files of a page, the first of them as number `first`, and tells of each what was derived.
pub(super) fn write(
    db: &Connection,
    share: i64,
    first: i64,
    step: &Step,
    mut each: impl FnMut(&File, Derived),
) -> Result<(), Error> {
    let Some(others) = step.files.len().checked_sub(1) else { return Ok(()) };
    let last = first + i64::try_from(others).expect("nothing of that many fits into memory");
    let mut prefix = String::from_utf8_lossy(&step.directory.path).into_owned();
    if !prefix.is_empty() {
        prefix.push('/');
    }
    let (generated, scanned) = (moment::iso(step.moment), moment::plain(step.moment));
    db.prepare_cached("INSERT INTO pages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![first, last, share, step.directory.id, generated, scanned, prefix])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    insert.raw_bind_parameter(2, first)?;
    for (id, file) in (first..).zip(&step.files) {
        let derived = Derived::of(file, step.moment);
        write_file(&mut insert, id, file, derived)?;
        each(file, derived);
    }
    Ok(())
}

/// The page's number is bound already.
fn write_file(
    insert: &mut Statement<'_>,
    id: i64,
    file: &File,
    derived: Derived,
) -> Result<(), Error> {
    let base = file.modified.unwrap_or(0);
    insert.raw_bind_parameter(1, id)?;
    insert.raw_bind_parameter(3, &file.name)?;
    insert.raw_bind_parameter(4, extension(&file.name))?;
    insert.raw_bind_parameter(5, size(file.size))?;
    insert.raw_bind_parameter(6, file.modified)?;
    insert.raw_bind_parameter(7, file.created.map(|created| created - base))?;
    insert.raw_bind_parameter(8, file.written.map(|written| written - base))?;
    insert.raw_bind_parameter(9, derived.age_days)?;
    insert.raw_bind_parameter(10, derived.category)?;
    insert.raw_bind_parameter(11, hash(&file.hash))?;
    insert.raw_execute()?;
    Ok(())
}

/// Where the extension begins, for `substr`; behind the name if there is none.
fn extension(name: &str) -> usize {
    let bytes = name.len() - record::extension(name).len();
    name[..bytes].chars().count() + 1
}

/// A size as the database has them.
fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn hash(hash: &Hash) -> ToSqlOutput<'_> {
    match hash {
        Hash::Skipped => ToSqlOutput::Owned(Value::Null),
        Hash::TooLarge => ToSqlOutput::Owned(Value::Integer(1)),
        Hash::Error => ToSqlOutput::Owned(Value::Integer(2)),
        Hash::Md5(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
    }
}

/// Tells the names of files that pages of a directory have brought.
pub(super) fn each_name(
    db: &Connection,
    directory: i64,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let mut names = db.prepare(
        "SELECT files.name FROM pages CROSS JOIN files ON files.id BETWEEN pages.first AND pages.last
         WHERE pages.directory = ?1",
    )?;
    let mut names = names.query([directory])?;
    while let Some(row) = names.next()? {
        each(row.get_ref(0)?.as_bytes().unwrap_or_default());
    }
    Ok(())
}

/// Lets go of rows, and of the pages of the share that have none left.
pub(super) fn forget(
    db: &Connection,
    share: i64,
    ranges: impl Iterator<Item = (i64, i64)>,
) -> Result<(), Error> {
    let mut delete = db.prepare_cached("DELETE FROM files WHERE id BETWEEN ?1 AND ?2")?;
    for (first, last) in ranges {
        delete.execute(params![first, last])?;
    }
    db.execute(
        "DELETE FROM pages WHERE share = ?1
         AND NOT EXISTS (SELECT 1 FROM files WHERE id BETWEEN pages.first AND pages.last)",
        [share],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::types::FromSql;

    use super::*;
    use crate::spool::queue::Directory;

    const DAY: i64 = 86_400_000;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::spool::TABLES).unwrap();
        db.execute_batch(&tables()).unwrap();
        db.execute(
            "INSERT INTO shares (execution, account, name, root, sends, status)
             VALUES ('scan', 'acct', 'docs', x'', 0, 'running')",
            [],
        )
        .unwrap();
        db
    }

    fn file(name: &str, size: u64) -> File {
        File {
            name: name.to_owned(),
            size,
            modified: Some(0),
            created: None,
            written: Some(0),
            hash: Hash::Skipped,
        }
    }

    fn page(directory: i64, path: &str, files: Vec<File>) -> Step {
        Step {
            directory: Directory { id: directory, path: path.into(), page: 0, marker: None },
            next: None,
            moment: 40 * DAY + 5,
            files,
            subdirectories: Vec::new(),
            errors: Vec::new(),
            skipped: 0,
        }
    }

    fn add(db: &Connection, step: &Step) -> i64 {
        let first = next(db).unwrap();
        write(db, 1, first, step, |_, _| {}).unwrap();
        first
    }

    fn column<T: FromSql>(db: &Connection, name: &str) -> Vec<T> {
        let sql = format!("SELECT {name} FROM FileInventory_CL ORDER BY id");
        let mut rows = db.prepare(&sql).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn the_table_has_the_columns_of_azure_monitor_in_their_order_and_one_more() {
        let db = database();
        add(&db, &page(7, "a/b", vec![file("Report.PDF", 3 << 19)]));
        let mut rows = db.prepare("SELECT * FROM FileInventory_CL").unwrap();
        let names: Vec<_> = rows.column_names().skip(1).map(str::to_owned).collect();
        assert_eq!(names, record::COLUMNS);
        let shown = |value: ValueRef<'_>| match value {
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => format!("{number:?}"),
            other => format!("{other:?}"),
        };
        let row: Vec<String> = rows
            .query_row([], |row| (1..23).map(|at| Ok(shown(row.get_ref(at)?))).collect())
            .unwrap();
        let expected = [
            "1970-02-10T00:00:00.005Z",
            "acct",
            "docs",
            "a/b/Report.PDF",
            "Report.PDF",
            ".PDF",
            "1572864",
            "1.5",
            "0.0015",
            "1970-01-01T00:00:00.000Z",
            "Null",
            "40",
            "SKIPPED",
            "Unknown",
            "0",
            "",
            "Documents",
            "31-90 days",
            "1 MB - 10 MB",
            "1970-02-10 00:00:00",
            "scan",
            "1970-01-01T00:00:00.000Z",
        ];
        assert_eq!(row, expected);
    }

    #[test]
    fn names_and_hashes_are_shown_as_they_are() {
        let db = database();
        let with = |name, hash| File { hash, ..file(name, 0) };
        let mut bytes = [0; 16];
        bytes[0] = 0xab;
        let files = vec![
            with("none", Hash::Skipped),
            with(".bashrc", Hash::TooLarge),
            with("ї.a.Ї", Hash::Error),
            with("end.", Hash::Md5(bytes)),
        ];
        add(&db, &page(1, "", files));
        assert_eq!(column::<String>(&db, "FilePath"), ["none", ".bashrc", "ї.a.Ї", "end."]);
        assert_eq!(column::<String>(&db, "FileExtension"), ["", "", ".Ї", "."]);
        let hashes = ["SKIPPED", "SKIPPED_TOO_LARGE", "ERROR", "AB000000000000000000000000000000"];
        assert_eq!(column::<String>(&db, "FileHash"), hashes);
    }

    #[test]
    fn times_are_those_of_the_file_or_missing() {
        let db = database();
        let times = [
            (Some(1_795_233_906_123), Some(951_782_399_999), Some(1_795_233_906_124)),
            (None, Some(1), None),
            (Some(-1), None, Some(-62_167_219_200_000)),
        ];
        let files = times.map(|(modified, created, written)| File {
            modified,
            created,
            written,
            ..file("a", 0)
        });
        add(&db, &page(1, "", files.to_vec()));
        let columns = ["LastModified", "Created", "LastWriteTime"];
        let [modified, created, written] = columns.map(|name| column::<Option<String>>(&db, name));
        for (at, (one, two, three)) in times.into_iter().enumerate() {
            assert_eq!(modified[at], one.map(moment::iso));
            assert_eq!(created[at], two.map(moment::iso));
            assert_eq!(written[at], three.map(moment::iso));
        }
    }

    #[test]
    fn times_are_shown_to_the_millisecond() {
        let db = database();
        let times: Vec<i64> =
            (0..5000).map(|step| step * 5_123_456_789 - 3_000_000_000_000).collect();
        let files = times.iter().map(|time| File { modified: Some(*time), ..file("a", 0) });
        add(&db, &page(1, "", files.collect()));
        let expected: Vec<_> = times.into_iter().map(moment::iso).collect();
        assert_eq!(column::<String>(&db, "LastModified"), expected);
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "the digits are to be the same")]
    fn sizes_round_to_the_nearest_and_ties_to_even() {
        let db = database();
        let mut sizes: Vec<u64> = (0..4000).map(|step| step * 2621).collect();
        sizes.extend((0..50).map(|power| (1_u64 << power) - 1));
        // Exactly between two hundredths.
        sizes.extend((0..4000).map(|step| step * record::MB / 8));
        add(&db, &page(1, "", sizes.iter().map(|size| file("a", *size)).collect()));
        for (name, unit, places) in [("FileSizeMB", record::MB, 2), ("FileSizeGB", record::GB, 4)] {
            let digits = |size: &u64| {
                format!("{:.places$}", *size as f64 / unit as f64).parse::<f64>().unwrap()
            };
            let expected: Vec<f64> = sizes.iter().map(digits).collect();
            assert_eq!(column::<f64>(&db, name), expected, "{name}");
        }
    }

    #[test]
    fn kinds_are_those_that_the_groups_count() {
        let db = database();
        let names = ["a.pdf", "b.tmp", "c", "d.MP4"];
        let ages = [-1, 0, 7, 8, 30, 31, 90, 91, 180, 181, 365, 366, 730, 731, 1825, 1826];
        let limits = SIZE_LIMITS.iter().flat_map(|limit| [limit - 1, *limit]);
        let files: Vec<File> = limits
            .zip(ages)
            .zip(names.iter().cycle())
            .map(|((size, days), name)| File {
                modified: Some((40 - days) * DAY),
                ..file(name, size)
            })
            .collect();
        let step = page(1, "", files);
        let mut expected = [vec![], vec![], vec![]];
        write(&db, 1, 1, &step, |_, derived| {
            expected[0].push(CATEGORIES[derived.category].to_owned());
            expected[1].push(AGES[derived.age].to_owned());
            expected[2].push(SIZES[derived.size].to_owned());
        })
        .unwrap();
        let found =
            ["FileCategory", "AgeBucket", "SizeBucket"].map(|name| column::<String>(&db, name));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_page_goes_with_its_last_row_and_tells_its_names_until_then() {
        let db = database();
        let first = add(&db, &page(1, "a", vec![file("x", 0), file("y", 0)]));
        let second = add(&db, &page(2, "b", vec![file("z", 0)]));
        add(&db, &page(1, "a", Vec::new()));
        assert_eq!((first, second), (1, 3));
        let names = |directory| {
            let mut names = Vec::new();
            let each = |name: &[u8]| names.push(String::from_utf8_lossy(name).into_owned());
            each_name(&db, directory, each).unwrap();
            names
        };
        assert_eq!(
            (names(1), names(2)),
            (vec!["x".to_owned(), "y".to_owned()], vec!["z".to_owned()])
        );
        let pages = || db.query_row("SELECT count(*) FROM pages", [], |row| row.get::<_, i64>(0));
        forget(&db, 1, [(1, 1)].into_iter()).unwrap();
        assert_eq!(
            (column::<String>(&db, "FilePath"), pages().unwrap()),
            (vec!["a/y".to_owned(), "b/z".to_owned()], 2)
        );
        forget(&db, 1, [(2, 3)].into_iter()).unwrap();
        assert_eq!(pages().unwrap(), 0);
    }
}
