//! Exports, duplicates, the dashboard.

#![allow(clippy::cast_precision_loss, reason = "sizes of generated files are small")]
#![allow(dead_code, reason = "each test crate uses a part of the support module")]

mod support;

use everstep_kql::{INVENTORY, Schema, dashboard, duplicates, export, export::Select};
use support::{answer, compiled, database, files};

const ODD: &str = "print a = \"x,\\\"y\\\"\", b = 1 == 1, c = 90m, d = split(\"a/b\", \"/\"), e = 1.5, f = datetime(2026-01-02), g = tolong(\"x\")";

#[test]
fn csv_quotes_what_has_to_be_quoted() {
    let mut out = Vec::new();
    let count = export::csv(&database(&[]), &Select::compiled(&compiled(ODD)), &mut out).unwrap();
    assert_eq!(count, 1);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "a,b,c,d,e,f,g\r\n\"x,\"\"y\"\"\",true,01:30:00,\"[\"\"a\"\",\"\"b\"\"]\",1.5,2026-01-02T00:00:00.000Z,\r\n"
    );
}

#[test]
fn ndjson_has_the_types_of_the_columns() {
    let mut out = Vec::new();
    export::ndjson(&database(&[]), &Select::compiled(&compiled(ODD)), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"a\":\"x,\\\"y\\\"\",\"b\":true,\"c\":\"01:30:00\",\"d\":[\"a\",\"b\"],\"e\":1.5,\"f\":\"2026-01-02T00:00:00.000Z\",\"g\":null}\n"
    );
}

#[test]
fn the_whole_table_is_exported() {
    let files = files();
    let connection = database(&files);
    let select = Select::find_table(&Schema::inventory(), INVENTORY).unwrap();
    let mut out = Vec::new();
    let count = export::csv(&connection, &select, &mut out).unwrap();
    assert_eq!(count, files.len() as u64);
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), files.len() + 1);
}

#[test]
fn plain_sql_is_exported_with_the_types_of_its_first_row() {
    let connection = database(&[]);
    let select = Select::sql(&connection, "SELECT 1 AS n, 'x' AS t, 2.5 AS r").unwrap();
    let mut out = Vec::new();
    export::ndjson(&connection, &select, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "{\"n\":1,\"t\":\"x\",\"r\":2.5}\n");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_reads_back() {
    use parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::Field,
    };
    let files = files();
    let connection = database(&files);
    let select = Select::find_table(&Schema::inventory(), INVENTORY).unwrap();
    let mut out = tempfile::tempfile().unwrap();
    let count = export::parquet(&connection, &select, &mut out).unwrap();
    assert_eq!(count, files.len() as u64);
    let reader = SerializedFileReader::new(out).unwrap();
    let mut bytes = 0;
    let mut known = 0;
    for row in reader.get_row_iter(None).unwrap() {
        for (name, field) in row.unwrap().get_column_iter() {
            match (name.as_str(), field) {
                ("FileSizeBytes", Field::Long(size)) => bytes += size,
                ("LastModified", Field::TimestampMillis(moment)) => {
                    assert!(*moment > 1_400_000_000_000);
                    known += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(bytes, files.iter().map(|file| file.bytes).sum::<i64>());
    assert_eq!(known, files.iter().filter(|file| file.modified.is_some()).count());
}

#[test]
fn duplicates_are_those_of_the_latest_scan() {
    let files = files();
    let found = duplicates(&database(&files), None, 3).unwrap();
    let newest = &files.iter().max_by_key(|file| file.scanned).unwrap().execution;
    let mut groups: std::collections::BTreeMap<(&str, i64), u64> =
        std::collections::BTreeMap::new();
    for file in
        files.iter().filter(|file| file.execution == *newest && file.is_hashed() && file.bytes > 0)
    {
        *groups.entry((&file.hash, file.bytes)).or_default() += 1;
    }
    groups.retain(|_, count| *count > 1);
    let wasted: u64 =
        groups.iter().map(|((_, bytes), count)| (count - 1) * bytes.unsigned_abs()).sum();
    assert_eq!((found.groups, found.wasted_bytes), (groups.len() as u64, wasted));
}

#[test]
fn duplicates_show_their_paths() {
    let mut two = files();
    two.truncate(2);
    for (file, path) in two.iter_mut().zip(["b", "a"]) {
        file.execution = "one";
        file.hash = "ABC".to_owned();
        file.bytes = 10;
        file.share = "s";
        file.path = path.to_owned();
    }
    let found = duplicates(&database(&two), None, 3).unwrap();
    assert_eq!((found.groups, found.files, found.wasted_bytes), (1, 2, 10));
    assert_eq!(found.largest[0].paths, ["s/a", "s/b"]);
}

#[test]
fn the_dashboard_needs_nothing_else() {
    let mut files = files();
    files[1].share = "<script>";
    let page = dashboard(&database(&files));
    for part in ["Space by category", "Space by age", "Files by size", "Largest files", "Shares"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("NaN"));
}

#[test]
fn a_dashboard_without_rows_says_so() {
    assert!(dashboard(&database(&[])).contains("No file has been scanned yet."));
    let nothing = rusqlite::Connection::open_in_memory().unwrap();
    assert!(dashboard(&nothing).contains("The inventory cannot be read: no such table"));
}

#[test]
fn moments_and_lengths_of_time_are_exact() {
    let check =
        |query: &str, wanted: &str| assert_eq!(answer(&database(&[]), query), [wanted], "{query}");
    check(
        "print bin(datetime(2026-03-04 13:45), 7d), bin(datetime(2026-03-04 13:45), 15m)",
        "2026-03-02T00:00:00.000Z | 2026-03-04T13:45:00.000Z",
    );
    check("print ago(1d), now() - 1.5h", "2026-02-28T12:00:00.000Z | 2026-03-01T10:30:00.000Z");
    check(
        "print startofweek(now()), startofmonth(now(), -1), startofyear(now())",
        "2026-03-01T00:00:00.000Z | 2026-02-01T00:00:00.000Z | 2026-01-01T00:00:00.000Z",
    );
    check(
        "print datetime_diff(\"month\", datetime(2026-03-01), datetime(2025-12-31)), datetime_add(\"month\", 1, datetime(2026-01-31))",
        "3 | 2026-02-28T00:00:00.000Z",
    );
    check(
        "print tostring(datetime(2026-03-01) - datetime(2026-02-27 12:00)), (1d / 2h)",
        "1.12:00:00 | 12.0",
    );
    check(
        "print format_datetime(now(), \"yyyy-MM-dd HH:mm\"), tostring(now())",
        "2026-03-01 12:00 | 2026-03-01T12:00:00.0000000Z",
    );
}

#[test]
fn functions_answer_as_kusto_does() {
    let check =
        |query: &str, wanted: &str| assert_eq!(answer(&database(&[]), query), [wanted], "{query}");
    check(
        "print 7 / 2, 7 % -3, -7 % 3, 7 / 2.0, bin(-7, 5), round(2.345, 2), round(1234, -2)",
        "3 | 1 | 2 | 3.5 | -10 | 2.35 | 1200.0",
    );
    check(
        "print \"a b\" has \"B\", \"ab\" has \"b\", \"aXb\" contains_cs \"x\", \"Ä\" =~ \"ä\", \"a\" in~ (\"A\"), 3 !between (1 .. 2)",
        "1 | 0 | 0 | 1 | 1 | 1",
    );
    check(
        "print tostring(split(\"a/b/c\", \"/\")[1]), tostring(split(\"a/b\", \"/\")[-1]), substring(\"hällo\", 1, 3), array_length(split(\"a\", \"/\"))",
        "b | b | äll | 1",
    );
    check(
        "print extract(\"(\\\\d+)\", 1, \"x42\"), replace_regex(\"a1b2\", @\"(\\d)\", @\"<\\1>\"), trim(@\"-+\", \"--a--\"), indexof(\"abc\", \"c\")",
        "42 | a<1>b<2> | a | 2",
    );
    check(
        "print coalesce(tolong(\"x\"), 5), iff(isempty(\"\"), \"e\", \"f\"), case(1 == 2, \"a\", \"b\"), max_of(1, 3, 2), strcat(\"a\", 1, true)",
        "5 | e | b | 3 | a1true",
    );
    check(
        "print x = dynamic({\"a\": [1, {\"b\": \"c\"}]}) | project tostring(x.a[1].b), tolong(x.a[0]), isnull(x.z)",
        "c | 1 | 1",
    );
    check(
        "print \"a\" has_any (\"b\", \"a\"), \"a b\" has_all (\"a\", \"c\"), \"a\" in (dynamic([\"a\"])), \"it's\" == 'it\\'s'",
        "1 | 0 | 1 | 1",
    );
}
