//! The store on the machine's disk, with its threads.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use everstep_model::{GroupNo, PartitionId};
use everstep_store::{Error, Fold, HubOptions, Observer, Record, Store};
use everstep_store_embedded::{Embedded, LogOptions, LoggedOptions, open_embedded};

const PARTITIONS: u16 = 8;
const GROUPS: u64 = 150;

#[derive(Default)]
struct Heard(Mutex<BTreeMap<PartitionId, GroupNo>>);

impl Observer for Heard {
    fn durable(&self, partition: PartitionId, group: GroupNo) {
        let before = self.0.lock().unwrap().insert(partition, group);
        assert!(before < Some(group), "durability only grows");
    }

    fn disk_full(&self, full: bool) {
        assert!(!full, "the test's disk has space");
    }

    fn failed(&self, error: Error) {
        panic!("{error}");
    }
}

fn open(folder: &Path) -> Result<Embedded, Error> {
    let log = LogOptions::small(256 << 10);
    open_embedded(
        folder,
        &HubOptions::new("threads", PARTITIONS),
        LoggedOptions { log, ..LoggedOptions::default() },
    )
}

fn content(partition: u16, group: u64) -> Bytes {
    vec![partition as u8 ^ group as u8; (group * 37 % 4000) as usize].into()
}

fn append(store: &Embedded, partition: u16, groups: impl Iterator<Item = u64>) {
    for group in groups {
        let (bytes, group) = (content(partition, group), GroupNo(group));
        store.append(Record { partition: PartitionId(partition), group, bytes, fold: None });
    }
}

fn recovered(store: &Embedded) -> BTreeMap<u16, Vec<u64>> {
    let all: Vec<_> = (0..PARTITIONS).map(PartitionId).collect();
    let mut groups: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    let mut take = |record: Record| {
        assert_eq!(record.bytes, content(record.partition.0, record.group.0));
        groups.entry(record.partition.0).or_default().push(record.group.0);
    };
    store.recover(&all, &mut take).unwrap();
    groups
}

fn fold(partition: u16, upto: u64) -> Fold {
    let (meta, purged, rows) = (Bytes::new(), Vec::new(), Vec::new());
    Fold { partition: PartitionId(partition), upto: GroupNo(upto), meta, purged, rows }
}

#[test]
fn groups_of_many_threads_share_flushes_and_survive() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for group in 1..=GROUPS {
                    append(store, 2 * thread, group..=group);
                    append(store, 2 * thread + 1, group..=group);
                }
                store.release(PartitionId(2 * thread)).unwrap();
            });
        }
    });
    // Waits for durability, writes, and lets go of log while the writer goes on.
    let folds: Vec<_> = (0..PARTITIONS).map(|partition| fold(partition, GROUPS / 2)).collect();
    store.fold(&folds).unwrap();
    store.close().unwrap();
    let heard = heard.0.lock().unwrap().clone();
    assert_eq!(
        heard,
        (0..PARTITIONS).map(|partition| (PartitionId(partition), GroupNo(GROUPS))).collect()
    );
    let pressure = store.pressure();
    assert!(pressure.flushes < u64::from(PARTITIONS) * GROUPS, "{pressure:?}");
    drop(store);

    let store = open(folder.path()).unwrap();
    let rest: Vec<_> = (GROUPS / 2 + 1..=GROUPS).collect();
    assert_eq!(
        recovered(&store),
        (0..PARTITIONS).map(|partition| (partition, rest.clone())).collect()
    );
    append(&store, 3, GROUPS + 1..=GROUPS + 1);
    store
        .fold(&(0..PARTITIONS).map(|partition| fold(partition, GROUPS)).collect::<Vec<_>>())
        .unwrap();
    store.fold(&[fold(3, GROUPS + 1)]).unwrap();
    store.close().unwrap();
    drop(store);
    assert_eq!(recovered(&open(folder.path()).unwrap()), BTreeMap::new());
}

#[test]
fn a_second_host_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.announce("http://localhost:7071").unwrap();
    let text = open(folder.path()).err().expect("the folder is locked").to_string();
    let pid = std::process::id();
    assert!(text.contains(&format!("in use by process {pid} (http://localhost:7071)")), "{text}");
    drop(store);
    open(folder.path()).unwrap();
}
