//! The suite of the contract, over the whole store: log and tables, on the machine's disk and on the simulated one.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::path::Path;

use everstep_store::{
    HubOptions, Writer,
    conformance::{PARTITIONS, Which, exercise},
};
use everstep_store_embedded::{
    LogOptions, Logged, LoggedOptions, disk::SimulatedDisk, open_embedded,
};
use everstep_store_memory::MemoryTables;

fn options(segment_bytes: u64) -> LoggedOptions {
    LoggedOptions {
        log: LogOptions::small(segment_bytes),
        writer: Writer::Thread,
        ..LoggedOptions::default()
    }
}

#[test]
fn the_store_of_a_host_keeps_the_contract() {
    let mut folder = tempfile::tempdir().unwrap();
    exercise(|which| {
        if which == Which::New {
            folder = tempfile::tempdir().unwrap();
        }
        open_embedded(folder.path(), &HubOptions::new("suite", PARTITIONS), options(256 << 10))
            .unwrap()
    });
}

#[test]
fn the_log_over_tables_in_memory_keeps_the_contract() {
    let new = || (SimulatedDisk::new(), MemoryTables::new(&HubOptions::new("suite", PARTITIONS)).0);
    let (mut disk, mut tables) = new();
    exercise(|which| {
        if which == Which::New {
            (disk, tables) = new();
        }
        let (tables, hub) = tables.reopen();
        Logged::open(disk.clone(), Path::new("/hub"), hub, tables, options(16 << 10)).unwrap()
    });
}
