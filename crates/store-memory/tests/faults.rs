//! Planned faults, and what a direct store makes of them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use everstep_model::{GroupNo, PartitionId};
use everstep_store::{
    Direct, Error, Fold, HubOptions, Observer, Pumped, Record, Store as _, Tables as _, Writer,
};
use everstep_store_memory::{Fault, MemoryTables};

/// Notes all it hears, one line each.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, line: String) {
        self.0.lock().expect("no test panics while it notes").push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics while it notes"))
    }
}

impl Observer for Notes {
    fn durable(&self, partition: PartitionId, group: GroupNo) {
        self.note(format!("durable {}/{}", partition.0, group.0));
    }

    fn disk_full(&self, full: bool) {
        self.note(format!("disk full {full}"));
    }

    fn failed(&self, error: Error) {
        self.note(error.to_string());
    }
}

fn store() -> (Direct<MemoryTables>, MemoryTables, Arc<Notes>) {
    let (tables, hub) = MemoryTables::new(&HubOptions::new("faults", 2));
    let store = Direct::new(tables.clone(), hub, Writer::Manual);
    let notes = Arc::new(Notes::default());
    store.observe(Arc::clone(&notes) as Arc<dyn Observer>);
    (store, tables, notes)
}

fn append(store: &Direct<MemoryTables>, partition: u16, group: u64) {
    let (partition, group) = (PartitionId(partition), GroupNo(group));
    let fold =
        Fold { partition, upto: group, meta: Bytes::new(), purged: Vec::new(), rows: Vec::new() };
    store.append(Record { partition, group, bytes: Bytes::new(), fold: Some(Box::new(fold)) });
}

fn applied(tables: &MemoryTables) -> Vec<u64> {
    tables
        .applied()
        .expect("tables in memory can be read")
        .iter()
        .map(|applied| applied.group.0)
        .collect()
}

const FAILED: &str = "writing to `memory` failed (folding): a planned fault; the process ends here, and the next start \
                      finds out what was written";

#[test]
fn queued_groups_share_one_fold_and_are_reported_per_partition() {
    let (store, tables, notes) = store();
    for (partition, group) in [(1, 1), (0, 1), (1, 2), (1, 3)] {
        append(&store, partition, group);
    }
    assert_eq!(notes.take(), [] as [&str; 0], "nothing is durable before it is written");
    assert_eq!(store.pump(), Pumped::Durable);
    assert_eq!(notes.take(), ["durable 0/1", "durable 1/3"]);
    assert_eq!((store.pump(), store.pressure().flushes), (Pumped::Idle, 1));
    assert_eq!(applied(&tables), [1, 3]);
}

#[test]
fn a_full_disk_keeps_the_queue_and_its_order() {
    let (store, tables, notes) = store();
    tables.fail_fold(0, Fault::DiskFull);
    append(&store, 0, 1);
    assert_eq!(store.pump(), Pumped::DiskFull);
    append(&store, 0, 2);
    tables.fail_fold(0, Fault::DiskFull);
    assert_eq!(store.pump(), Pumped::DiskFull);
    assert_eq!(notes.take(), ["disk full true"], "it is said once");
    assert_eq!(store.pump(), Pumped::Durable);
    assert_eq!(notes.take(), ["disk full false", "durable 0/2"]);
    assert_eq!(applied(&tables), [2, 0]);
}

#[test]
fn nothing_becomes_durable_after_a_failure_whatever_was_written() {
    for (fault, written) in [(Fault::Before, [1, 0]), (Fault::After, [2, 0])] {
        let (store, tables, notes) = store();
        tables.fail_fold(1, fault);
        append(&store, 0, 1);
        assert_eq!(store.pump(), Pumped::Durable);
        append(&store, 0, 2);
        assert_eq!(store.pump(), Pumped::Failed);
        append(&store, 0, 3);
        assert_eq!(store.pump(), Pumped::Failed);
        assert_eq!(notes.take(), ["durable 0/1", FAILED]);
        assert!(store.close().is_err());
        assert_eq!(applied(&tables), written);
    }
}

#[test]
#[should_panic(expected = "an append after the store was closed")]
fn an_append_after_closing_is_refused() {
    let (store, ..) = store();
    store.close().unwrap();
    append(&store, 0, 1);
}

#[test]
fn dropping_a_store_loses_what_is_queued_as_a_crash_does() {
    let (store, tables, _) = store();
    append(&store, 0, 1);
    drop(store);
    assert_eq!(applied(&tables), [0, 0]);
    assert_eq!(tables.reopen().1.epoch, 2);
}

#[test]
fn a_fork_goes_its_own_way() {
    let (store, tables, _) = store();
    tables.fail_fold(0, Fault::Before);
    let fork = tables.fork();
    append(&store, 0, 1);
    assert_eq!(store.pump(), Pumped::Failed);
    let fold = Fold {
        partition: PartitionId(0),
        upto: GroupNo(9),
        meta: Bytes::new(),
        purged: Vec::new(),
        rows: Vec::new(),
    };
    fork.fold(&[fold]).unwrap();
    assert_eq!((applied(&fork), applied(&tables)), (vec![9, 0], vec![0, 0]));
}
