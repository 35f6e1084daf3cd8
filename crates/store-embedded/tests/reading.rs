//! Reading a hub without a host, and copying one beside its host.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use everstep_model::{GroupNo, PartitionId};
use everstep_store::{Error, Filter, HubOptions, Order, Pumped, Record, Store, Tables as _};
use everstep_store_embedded::{
    Embedded, LogOptions, Logged, LoggedOptions, NetworkFolder, ReadOnly,
    disk::{Disk as _, Fault, SimulatedDisk},
    open_embedded, open_read_only,
    sqlite::SqliteTables,
};
use rusqlite::Connection;
use support::{FOLDER, Heard, Random, Run, fold_up_to, record, tables};

const PARTITIONS: u16 = 3;

fn open(folder: &Path) -> Embedded {
    open_with(folder, 128 << 10)
}

fn open_with(folder: &Path, segment_bytes: u64) -> Embedded {
    let log = LogOptions::small(segment_bytes);
    let options = LoggedOptions { log, ..LoggedOptions::default() };
    open_embedded(folder, &HubOptions::new("reading", PARTITIONS), options).unwrap()
}

fn open_reader(folder: &Path) -> Result<ReadOnly<SqliteTables>, Error> {
    open_read_only(folder, NetworkFolder::Refuse)
}

fn append(store: &Embedded, groups: impl Iterator<Item = u64>) {
    groups.for_each(|group| (0..PARTITIONS).for_each(|p| store.append(record(p, group))));
}

fn fold(store: &Embedded, upto: u64) {
    let folds: Vec<_> = (0..PARTITIONS).map(|partition| fold_up_to(partition, upto)).collect();
    store.fold(&folds).unwrap();
}

/// The positions that recovery reaches; every record is checked.
fn recovered(store: &impl Store) -> Vec<u64> {
    let mut positions: Vec<u64> =
        store.tables().applied().unwrap().iter().map(|applied| applied.group.0).collect();
    let all: Vec<_> = (0..PARTITIONS).map(PartitionId).collect();
    let mut take = |found: Record| {
        let last = &mut positions[usize::from(found.partition.0)];
        *last += 1;
        assert_eq!(found, record(found.partition.0, *last));
    };
    store.recover(&all, &mut take).unwrap();
    positions
}

/// Every file but the lock, which says who reads.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !path.ends_with("LOCK"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// What a host that is killed leaves: its files, copied while it runs.
fn killed(folder: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    for (path, bytes) in files(folder) {
        fs::write(image.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    image
}

#[test]
fn reading_what_a_killed_host_left_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), 4 << 20);
    append(&store, 1..=40);
    fold(&store, 25);
    append(&store, 41..=60);
    store.release(PartitionId(0)).unwrap();
    store.release(PartitionId(1)).unwrap();
    store.release(PartitionId(2)).unwrap();
    let image = killed(folder.path());
    assert!(image.path().join("state.db-wal").exists(), "the fold lies in the WAL");
    // Bytes of a frame that was being written, behind the others in the one segment that has frames.
    let is_used = |(path, bytes): &(PathBuf, Vec<u8>)| {
        path.extension().is_some_and(|extension| extension == "seg") && bytes[16] == 2
    };
    let (segment, mut bytes) = files(image.path()).into_iter().find(is_used).unwrap();
    let end = bytes.len() - 9000;
    bytes[end..end + 100].fill(0xee);
    fs::write(segment, bytes).unwrap();

    let before = files(image.path());
    let reader = open_reader(image.path()).unwrap();
    assert_eq!(recovered(&reader), [60; 3]);
    let applied = reader.tables().applied().unwrap();
    assert!(applied.iter().all(|applied| applied.group == GroupNo(25)), "{applied:?}");
    assert_eq!(reader.hub().epoch, 1, "reading is no start of the hub");
    let page = reader.tables().list(&Filter::default(), Order::OldestFirst, None, 9).unwrap();
    assert_eq!(page.rows, []);
    drop(reader);
    assert_eq!(before, files(image.path()));

    let host = open(image.path());
    assert_eq!((recovered(&host), host.hub().epoch), (vec![60; 3], 2));
}

#[test]
fn reading_a_hub_that_was_closed_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, 1..=5);
    fold(&store, 5);
    store.close().unwrap();
    drop(store);
    assert!(!folder.path().join("state.db-wal").exists());
    let before = files(folder.path());
    let reader = open_reader(folder.path()).unwrap();
    assert_eq!(recovered(&reader), [5; 3]);
    reader.tables().logical_dump().unwrap();
    assert_eq!(before, files(folder.path()), "not even while it is read");
}

#[test]
fn whatever_would_change_a_hub_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let reader = open_reader(folder.path()).unwrap();
    let text = |doing: &str| {
        let folder = folder.path().display();
        format!(
            "the data folder `{folder}` is open for reading only ({doing} is not possible); start a host on it to change anything"
        )
    };
    let heard = Arc::new(Heard::default());
    reader.observe(heard.clone());
    reader.append(record(0, 1));
    assert_eq!(*heard.failed.lock().unwrap(), [text("writing a group")]);
    let folds = [fold_up_to(0, 1)];
    assert_eq!(reader.fold(&folds).unwrap_err().to_string(), text("folding"));
    assert_eq!(reader.tables().fold(&folds).unwrap_err().to_string(), text("folding"));
    assert_eq!(reader.tables().shrink_step().unwrap_err().to_string(), text("giving space back"));
    assert!(!reader.tables().purge_step().unwrap(), "there is nothing to delete");
    reader.close().unwrap();
}

#[test]
fn a_folder_in_use_names_its_user_to_readers_and_the_other_way_round() {
    let folder = tempfile::tempdir().unwrap();
    let host = open(folder.path());
    host.announce("http://localhost:7071").unwrap();
    let text = open_reader(folder.path()).err().unwrap().to_string();
    let pid = std::process::id();
    assert!(text.contains(&format!("in use by process {pid} (http://localhost:7071)")), "{text}");
    drop(host);
    let reader = open_reader(folder.path()).unwrap();
    reader.announce("http://localhost:7072").unwrap();
    let text = open_reader(folder.path()).err().unwrap().to_string();
    assert!(text.contains(&format!("in use by process {pid} (http://localhost:7072)")), "{text}");
}

#[test]
fn a_folder_without_a_hub_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        |folder: &Path, error: Error| error.to_string().replace(folder.to_str().unwrap(), "FOLDER");
    let missing = folder.path().join("missing");
    assert_eq!(
        text(&missing, open_reader(&missing).err().unwrap()),
        "the folder `FOLDER` does not exist; name the folder of a task hub"
    );
    assert_eq!(
        text(folder.path(), open_reader(folder.path()).err().unwrap()),
        "the folder `FOLDER` holds no task hub; name the folder of a hub, the one with `state.db` in it"
    );
    fs::write(folder.path().join("state.db"), "no database, just words").unwrap();
    assert!(matches!(open_reader(folder.path()).err(), Some(Error::DamagedTables { .. })));
}

#[test]
fn a_newer_hub_is_refused_to_readers_as_well() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let conn = Connection::open(folder.path().join("state.db")).unwrap();
    conn.execute("update meta set value = 7 where key = 'format'", []).unwrap();
    drop(conn);
    assert!(matches!(open_reader(folder.path()).err(), Some(Error::NewerFormat { found: 7, .. })));
}

/// Over every image that a power cut leaves, reading finds what a host finds, and makes no write.
#[test]
fn a_reader_finds_what_a_host_would_recover_after_any_crash() {
    for seed in 0..60 {
        let (disk, tables) = (SimulatedDisk::new(), tables());
        let mut random = Random(seed);
        let mut run = Run::open(&disk, &tables, None).unwrap();
        run.work(&mut random, 20);
        let image = disk.crash(seed);
        let names = image.fork();
        let (reading, hub) = tables.reopen();
        let reader = ReadOnly::open(&image, Path::new(FOLDER), hub, reading).unwrap();
        let read = recovered(&reader);
        let segments = names.list(Path::new(FOLDER)).unwrap();
        for name in segments {
            let path = Path::new(FOLDER).join(name);
            assert_eq!(image.content(&path), names.content(&path), "seed {seed}");
        }
        let host = Run::open(&image, &tables, Some(&run)).unwrap();
        assert_eq!(read, host.appended, "seed {seed}");
    }
}

#[test]
fn a_backup_beside_a_busy_host_is_a_prefix_with_all_that_was_acknowledged() {
    const GROUPS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub"));
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    append(&store, 1..=50);
    fold(&store, 30);
    let stop = AtomicBool::new(false);
    let backups: Vec<_> = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for step in 6..=GROUPS / 10 {
                append(&store, step * 10 - 9..=step * 10);
                fold(&store, step * 10 - 5);
            }
            stop.store(true, Ordering::SeqCst);
        });
        let mut backups = Vec::new();
        while backups.len() < 3 || (!stop.load(Ordering::SeqCst) && backups.len() < 12) {
            let to = folder.path().join(format!("copy-{}", backups.len()));
            let acknowledged = heard.positions();
            let report = store.backup(&to).unwrap();
            backups.push((to, acknowledged, report));
        }
        busy.join().unwrap();
        backups
    });
    for (to, acknowledged, report) in backups {
        let reached: Vec<_> = report.groups.iter().map(|group| group.0).collect();
        let is_enough = reached.iter().zip(&acknowledged).all(|(reached, known)| reached >= known);
        assert!(is_enough, "{reached:?} holds {acknowledged:?}");
        assert_eq!(recovered(&open_reader(&to).unwrap()), reached);
        let copy = open(&to);
        assert_eq!(recovered(&copy), reached);
        assert_eq!(copy.hub().id, store.hub().id);
        let next = reached[0] + 1;
        copy.append(record(0, next));
        copy.close().unwrap();
        drop(copy);
        assert_eq!(recovered(&open(&to))[0], next, "it goes on like any hub");
    }
    fold(&store, GROUPS);
    store.close().unwrap();
    assert_eq!(store.pressure().unfolded_bytes, 0, "what the backups kept is let go");
}

#[test]
fn a_backup_of_an_empty_hub_is_an_empty_hub() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub"));
    let to = folder.path().join("deep").join("copy");
    let report = store.backup(&to).unwrap();
    assert_eq!((report.log_bytes, report.groups), (0, vec![GroupNo(0); 3]));
    assert_eq!(recovered(&open(&to)), [0; 3]);
}

#[test]
fn a_backup_goes_to_an_empty_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub"));
    let error = store.backup(&folder.path().join("hub")).unwrap_err().to_string();
    assert!(error.ends_with("is not empty; name a new folder for the backup"), "{error}");
    append(&store, 1..=3);
    fold(&store, 3);
}

#[test]
fn little_space_is_told_and_ends_by_itself() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let options =
        |free_bytes_min| LoggedOptions { free_bytes_min, ..support::options(support::SEGMENT) };
    let (memory, hub) = tables.reopen();
    let store =
        Logged::open(disk.clone(), Path::new(FOLDER), hub, memory, options(500_000)).unwrap();
    store.append(record(0, 1));
    assert_eq!(store.pump(), Pumped::Durable);
    assert!(!store.pressure().low_space, "this disk has no limit");
    let free = |bytes: u64| {
        disk.set_capacity(None);
        let paths = disk.list(Path::new(FOLDER)).unwrap();
        let used: usize = paths
            .iter()
            .map(|name| disk.content(&Path::new(FOLDER).join(name)).unwrap().len())
            .sum();
        disk.set_capacity(Some(used as u64 + bytes));
    };
    free(499_999);
    assert!(store.pressure().low_space);
    store.append(record(0, 2));
    assert_eq!(store.pump(), Pumped::Durable, "what is under way goes on");
    assert!(!store.pressure().disk_full);
    disk.fail_call(1, Fault::Io);
    assert!(store.pressure().low_space, "a disk that does not answer is taken as it was");
    free(500_000);
    assert!(!store.pressure().low_space);
}
