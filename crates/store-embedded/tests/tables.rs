//! The tables on disk pass the suite that all backends pass; what concerns their file alone is tested here.

use std::{fs, path::Path};

use bytes::Bytes;
use everstep_model::{
    ExecutionId, GroupNo, Iid, InstanceId, PartitionId, PayloadRef, Purged, Status, Tags,
    Timestamp, Value,
};
use everstep_store::{
    Chunk, Direct, Error, Filter, Fold, FoldedRow, HubOptions, Order, Row, Tables as _, Wake,
    Writer, chunk, conformance,
};
use everstep_store_embedded::sqlite::SqliteTables;
use rusqlite::Connection;
use tempfile::TempDir;

fn options() -> HubOptions {
    HubOptions::new("suite", conformance::PARTITIONS)
}

fn open(folder: &Path) -> Result<SqliteTables, Error> {
    SqliteTables::open(folder, &options()).map(|(tables, _)| tables)
}

/// What a person reads, with the folder's name left out.
fn refusal(folder: &TempDir) -> String {
    let error = open(folder.path()).err().expect("such a folder is refused");
    error
        .to_string()
        .replace(folder.path().to_str().expect("folders of tests have plain names"), "FOLDER")
}

fn sqlite(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("state.db"))
        .expect("a database can be opened beside the tables")
}

fn fold(group: u64, rows: Vec<FoldedRow>) -> Fold {
    Fold {
        partition: PartitionId(0),
        upto: GroupNo(group),
        meta: Bytes::new(),
        purged: Vec::new(),
        rows,
    }
}

fn instance(n: u64, input: Value, history_bytes: usize) -> FoldedRow {
    let iid = Iid::new(PartitionId(0), n);
    let row = Row {
        iid,
        id: InstanceId::from_stored(&format!("order-{n}")),
        execution: 1,
        execution_id: ExecutionId::new("e"),
        name: "Checkout".into(),
        version: String::new(),
        status: Status::Completed,
        created: Timestamp::EPOCH,
        updated: Timestamp::EPOCH,
        completed: Some(Timestamp::EPOCH),
        parent: None,
        tags: Tags::from([("color".into(), "red".into())]),
        wake: Wake::Never,
        input: Some(input),
        output: None,
        custom_status: None,
        failure: None,
        live: Bytes::new(),
    };
    let events = vec![7; history_bytes];
    let chunk = Chunk { iid, execution: 1, seq: 0, count: 1, bytes: chunk::plain(&events) };
    FoldedRow { row, keep_from: 0, chunks: vec![chunk], payloads: Vec::new() }
}

#[test]
fn the_tables_on_disk_conform() {
    let mut folders: Vec<TempDir> = Vec::new();
    conformance::exercise(|which| {
        if which == conformance::Which::New {
            folders.push(tempfile::tempdir().unwrap());
        }
        let folder = folders.last().unwrap().path();
        let (tables, hub) = SqliteTables::open(folder, &options()).unwrap();
        Direct::new(tables, hub, Writer::Thread)
    });
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    sqlite(&folder).execute("update meta set value = 7 where key = 'format'", []).unwrap();
    assert_eq!(
        refusal(&folder),
        "the data folder `FOLDER` has format 7, and this version of everstep knows formats up to 1; \
         start the version that wrote it, or a newer one"
    );
    let epoch: i64 = sqlite(&folder)
        .query_row("select value from meta where key = 'epoch'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(epoch, 1, "nothing was touched");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    fs::write(folder.path().join("state.db"), "garbage ".repeat(10_000)).unwrap();
    let help =
        "Restore the folder from a backup, or keep a copy of it before you try anything else";
    assert_eq!(
        refusal(&folder),
        format!("the tables in `FOLDER/state.db` are damaged: file is not a database. {help}")
    );
}

#[test]
fn a_database_of_someone_else_or_of_no_known_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sqlite(&folder).execute_batch("create table theirs (x)").unwrap();
    let text = refusal(&folder);
    assert!(
        text.starts_with("the tables in `FOLDER/state.db` are damaged: no such table: meta"),
        "{text}"
    );

    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    sqlite(&folder).execute("update meta set value = 0 where key = 'format'", []).unwrap();
    let text = refusal(&folder);
    assert!(
        text.starts_with(
            "the tables in `FOLDER/state.db` are damaged: format 0 was never written."
        ),
        "{text}"
    );
}

#[test]
fn garbage_in_the_middle_is_found_by_the_read_that_meets_it() {
    let folder = tempfile::tempdir().unwrap();
    let tables = open(folder.path()).unwrap();
    tables
        .fold(&[fold(1, (0..200).map(|n| instance(n, Value::text("x"), 2000)).collect())])
        .unwrap();
    drop(tables);
    let file = folder.path().join("state.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[16_384..].fill(0x55);
    fs::write(&file, bytes).unwrap();
    let opened = open(folder.path());
    let read =
        opened.and_then(|tables| tables.list(&Filter::default(), Order::OldestFirst, None, 10));
    assert!(matches!(read, Err(Error::DamagedTables { .. })), "{read:?}");
}

#[test]
fn a_row_that_nobody_writes_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let tables = open(folder.path()).unwrap();
    tables.fold(&[fold(1, vec![instance(1, Value::text("x"), 1)])]).unwrap();
    for change in
        ["status = 99", "tags = '{'", "failure = '[]'", "input = 5", "execution_id = x'00'"]
    {
        sqlite(&folder).execute(&format!("update instance set {change}"), []).unwrap();
        let read = tables.find(&[InstanceId::from_stored("order-1")]);
        assert!(matches!(read, Err(Error::DamagedTables { .. })), "{change}: {read:?}");
        tables
            .fold(&[Fold {
                upto: GroupNo(u64::MAX >> 1),
                ..fold(1, vec![instance(1, Value::text("x"), 1)])
            }])
            .unwrap();
        sqlite(&folder).execute_batch("update partition set applied = 1").unwrap();
    }
}

#[test]
fn the_partition_count_of_an_existing_hub_wins() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let (tables, hub) = SqliteTables::open(folder.path(), &HubOptions::new("other", 9)).unwrap();
    assert_eq!(
        (hub.partitions, hub.name.as_str(), hub.epoch),
        (conformance::PARTITIONS, "suite", 2)
    );
    assert_eq!(tables.applied().unwrap().len(), usize::from(conformance::PARTITIONS));
}

#[test]
fn a_hub_that_was_not_made_to_the_end_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.db"), "").unwrap();
    drop(open(folder.path()).unwrap());
    // Between the first page and the schema there is nothing but a mode.
    let folder = tempfile::tempdir().unwrap();
    sqlite(&folder).execute_batch("pragma journal_mode = wal").unwrap();
    assert!(open(folder.path()).unwrap().applied().is_ok());
}

#[test]
fn a_person_can_read_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let tables = open(folder.path()).unwrap();
    let payload = PayloadRef { iid: Iid(3), execution: 1, n: 1, len: 9000, crc: 1 };
    let inputs = [
        Value::text("{\"amount\":1}"),
        Value::Inline(Bytes::from_static(&[0xff])),
        Value::Ref(payload),
    ];
    let rows = inputs.into_iter().zip(1..).map(|(input, n)| instance(n, input, 1));
    tables.fold(&[fold(1, rows.collect())]).unwrap();
    let conn = sqlite(&folder);
    let sql = "select id || ' ' || kind || ' ' || tags || ' ' || typeof(input) || ' ' || coalesce(input, length(input_ref))
               from instance order by id";
    let lines: Vec<String> = conn
        .prepare(sql)
        .unwrap()
        .query_map([], |row| {
            row.get_ref(0)
                .map(|line| String::from_utf8_lossy(line.as_bytes().unwrap()).into_owned())
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        lines,
        [
            "order-1 0 {\"color\":\"red\"} text {\"amount\":1}",
            "order-2 0 {\"color\":\"red\"} blob \u{fffd}",
            "order-3 0 {\"color\":\"red\"} null 24",
        ]
    );
}

#[test]
fn closing_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let tables = open(folder.path()).unwrap();
    tables.fold(&[fold(1, vec![instance(1, Value::text("a"), 100)])]).unwrap();
    assert_eq!(
        tables.list(&Filter::default(), Order::OldestFirst, None, 10).unwrap().rows.len(),
        1
    );
    drop(tables);
    let files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["state.db"]);
}

#[test]
fn a_backup_shows_the_state_at_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let tables = open(folder.path()).unwrap();
    tables.fold(&[fold(1, vec![instance(1, Value::text("a"), 100)])]).unwrap();
    let expected = tables.logical_dump().unwrap();
    let copy = tempfile::tempdir().unwrap();
    tables.backup(&copy.path().join("state.db")).unwrap();
    tables.fold(&[fold(2, vec![instance(2, Value::text("b"), 100)])]).unwrap();
    let (copied, hub) = SqliteTables::open(copy.path(), &options()).unwrap();
    assert_eq!(copied.logical_dump().unwrap(), expected);
    assert_eq!(hub.epoch, 2, "the copy is the same hub, opened once more");
}

#[test]
fn space_of_what_was_purged_goes_back_to_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let tables = open(folder.path()).unwrap();
    let size = || fs::metadata(folder.path().join("state.db")).unwrap().len();
    tables
        .fold(&[fold(1, (0..300).map(|n| instance(n, Value::text("x"), 100_000)).collect())])
        .unwrap();
    tables.shrink_step().unwrap();
    let (full, wal) = (size(), fs::metadata(folder.path().join("state.db-wal")).unwrap().len());
    assert!(full > 30_000_000, "{full}");
    assert_eq!(wal, 0, "an idle hub has an empty WAL");
    let purged =
        (0..300).map(|n| Purged { iid: Iid::new(PartitionId(0), n), execution: 1 }).collect();
    tables.fold(&[Fold { purged, ..fold(2, Vec::new()) }]).unwrap();
    let mut purge_steps = 1;
    while tables.purge_step().unwrap() {
        purge_steps += 1;
    }
    assert_eq!(purge_steps, 2, "a step deletes at most 200 instances");
    assert!(tables.shrink_step().unwrap(), "more is free than one step gives back");
    while tables.shrink_step().unwrap() {}
    assert!(size() < 1_000_000, "{}", size());
}
