//! A table of some thousand files, the same each time, in `SQLite` and as values for straightforward computations.

use std::time::{Duration, SystemTime};

use everstep_kql::{Compiled, INVENTORY, Schema, Type, compile_at, register};
use rusqlite::{Connection, params, types::Value};

/// 2026-03-01 12:00 UTC, the moment at which all queries run.
pub(crate) const NOW: i64 = 1_772_366_400;
pub(crate) const DAY: i64 = 86_400;

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) execution: &'static str,
    pub(crate) scanned: i64,
    pub(crate) share: &'static str,
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) extension: &'static str,
    pub(crate) category: &'static str,
    pub(crate) bytes: i64,
    pub(crate) modified: Option<i64>,
    pub(crate) created: Option<i64>,
    pub(crate) age: i64,
    pub(crate) hash: String,
}

impl File {
    pub(crate) fn gb(&self) -> f64 {
        rounded(self.bytes as f64 / 1_073_741_824.0, 4)
    }

    pub(crate) fn mb(&self) -> f64 {
        rounded(self.bytes as f64 / 1_048_576.0, 2)
    }

    pub(crate) fn is_hashed(&self) -> bool {
        !self.hash.starts_with("SKIPPED") && self.hash != "ERROR"
    }

    pub(crate) fn age_bucket(&self) -> &'static str {
        let bounds = [(7, "0-7 days"), (30, "8-30 days"), (90, "31-90 days"), (180, "91-180 days")];
        let later = [(365, "181-365 days"), (730, "1-2 years"), (1825, "2-5 years")];
        let found = bounds.iter().chain(&later).find(|(most, _)| self.age <= *most);
        found.map_or("5+ years", |(_, bucket)| bucket)
    }

    pub(crate) fn size_bucket(&self) -> &'static str {
        const KB: i64 = 1 << 10;
        const MB: i64 = 1 << 20;
        let bounds = [
            (KB, "< 1 KB"),
            (MB, "1 KB - 1 MB"),
            (10 * MB, "1 MB - 10 MB"),
            (100 * MB, "10 MB - 100 MB"),
        ];
        let found = bounds.iter().find(|(below, _)| self.bytes < *below);
        found.map_or("100 MB - 500 MB", |(_, bucket)| bucket)
    }
}

pub(crate) fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().expect("it was just written")
}

/// Numbers without pattern, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn place(&mut self, count: i64) -> usize {
        usize::try_from(self.below(count)).expect("it is not negative")
    }
}

const KINDS: [(&str, &str); 9] = [
    (".pdf", "Documents"),
    (".JPG", "Images"),
    (".jpg", "Images"),
    (".mp4", "Videos"),
    (".zip", "Archives"),
    (".log", "Logs"),
    (".tmp", "Temporary"),
    (".rs", "Other"),
    ("", "Other"),
];

/// Two scans; the second has some files more.
pub(crate) fn files() -> Vec<File> {
    let mut numbers = Numbers(7);
    let second = (NOW - 2 * DAY, "5e0a7c2e-0000-4000-8000-000000000002");
    let first = (NOW - 9 * DAY, "5e0a7c2e-0000-4000-8000-000000000001");
    let mut files = Vec::new();
    for at in 0..1_800 {
        let file = file(&mut numbers, at, second);
        if at % 9 != 0 {
            files.push(File {
                scanned: first.0,
                execution: first.1,
                age: file.age - 7,
                ..file.clone()
            });
        }
        files.push(file);
    }
    files
}

fn file(numbers: &mut Numbers, at: usize, (scanned, execution): (i64, &'static str)) -> File {
    let (extension, category) = KINDS[numbers.place(9)];
    let words =
        ["report", "old plan", "backup-2024", "Copy of draft", "photo (1)", "Müller", "note's"];
    let word = words[numbers.place(7)];
    let name = format!("{word}{extension}");
    let folders = ["", "a/", "a/b/", "deep/er/and/deeper/", "Ünicode/"][numbers.place(5)];
    let bytes = match numbers.below(12) {
        0 => 0,
        1..6 => numbers.below(900_000),
        6..11 => numbers.below(60_000_000),
        _ => 104_857_600 + numbers.below(300_000_000),
    };
    let age = numbers.below(2_600);
    let is_known = numbers.below(25) != 0;
    let modified = is_known.then(|| scanned - age * DAY - numbers.below(DAY));
    let hash = match numbers.below(10) {
        0 => "SKIPPED".to_owned(),
        1 => "SKIPPED_TOO_LARGE".to_owned(),
        2 => "ERROR".to_owned(),
        _ => format!("{:032X}", numbers.below(400)),
    };
    File {
        execution,
        scanned,
        share: ["finance", "media", "home's"][numbers.place(3)],
        path: format!("{folders}{at}/{name}"),
        name,
        extension,
        category,
        bytes,
        modified,
        created: modified.map(|modified| modified - numbers.below(40) * DAY + 20 * DAY),
        age: if is_known { age } else { 0 },
        hash,
    }
}

/// The table with the given files.
pub(crate) fn database(files: &[File]) -> Connection {
    let mut connection = Connection::open_in_memory().expect("memory opens");
    register(&connection).expect("functions are registered");
    let columns: Vec<String> = Schema::inventory().tables[0]
        .columns
        .iter()
        .map(|column| {
            let kind = match column.kind {
                Type::Long | Type::Int => "INTEGER",
                Type::Real => "REAL",
                _ => "TEXT",
            };
            format!("{} {kind}", column.name)
        })
        .collect();
    connection
        .execute_batch(&format!("CREATE TABLE {INVENTORY} ({})", columns.join(", ")))
        .expect("it is SQL");
    let transaction = connection.transaction().expect("it begins");
    for file in files {
        insert(&transaction, file);
    }
    transaction.commit().expect("it commits");
    connection
}

fn insert(connection: &Connection, file: &File) {
    const MOMENT: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')";
    let sql = format!(
        "INSERT INTO {INVENTORY} VALUES ({MOMENT}, 'acme', ?, ?, ?, ?, ?, ?, ?, {MOMENT}, {MOMENT}, ?, ?, 'Unknown', 0, '', ?, ?, ?, \
         strftime('%Y-%m-%d %H:%M:%S', ?, 'unixepoch'), ?)"
    );
    connection
        .prepare_cached(&sql)
        .expect("it is SQL")
        .execute(params![
            file.scanned,
            file.share,
            file.path,
            file.name,
            file.extension,
            file.bytes,
            file.mb(),
            file.gb(),
            file.modified,
            file.created,
            file.age,
            file.hash,
            file.category,
            file.age_bucket(),
            file.size_bucket(),
            file.scanned,
            file.execution
        ])
        .expect("the row fits");
}

pub(crate) fn compiled(query: &str) -> Compiled {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs());
    compile_at(query, &Schema::inventory(), now).unwrap_or_else(|error| panic!("{error}"))
}

/// The answer to a query, a line for each row.
pub(crate) fn answer(connection: &Connection, query: &str) -> Vec<String> {
    let query = compiled(query);
    let rows = query.rows(connection).unwrap_or_else(|error| panic!("{error}\n{}", query.sql));
    rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" | ")).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => text.clone(),
        Value::Blob(_) => "blob".to_owned(),
    }
}

/// A sample query by the beginning of its name.
pub(crate) fn sample(name: &str) -> String {
    let found = samples().into_iter().find(|(file, _)| file.starts_with(name));
    found.unwrap_or_else(|| panic!("no query {name}")).1
}

/// All sample queries with their names, in order.
pub(crate) fn samples() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/queries");
    let mut samples: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| {
            let entry = entry.expect("it can be read");
            let text = std::fs::read_to_string(entry.path()).expect("it is text");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    samples.sort();
    samples
}
