//! Segments come and go, the disk runs full, and folders that do not fit are refused.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::{collections::BTreeSet, path::Path};

use everstep_model::PartitionId;
use everstep_store::{HubOptions, Pumped, Store};
use everstep_store_embedded::disk::{Disk, DiskFile, SimulatedDisk};
use everstep_store_memory::MemoryTables;
use support::{FOLDER, Run, SEGMENT, open, record, tables};

fn files(disk: &SimulatedDisk) -> Vec<String> {
    disk.list(Path::new(FOLDER)).unwrap()
}

#[test]
fn segments_are_used_again_and_their_number_stays_bounded() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    let mut seen = BTreeSet::new();
    for round in 0..200 {
        run.append(round % 3);
        run.pump();
        if round % 10 == 9 {
            run.fold().unwrap();
        }
        let now = files(&disk);
        assert!(now.len() <= 12, "round {round}: {now:?}");
        seen.extend(now);
    }
    let written = run.store.pressure().log_bytes;
    assert!(written > 40 * SEGMENT, "many segments' worth was written: {written}");
    assert!(seen.len() < 40, "with less than one file each: {}", seen.len());
    drop(run);
    let mut next = Run::open(&disk, &tables, None).unwrap();
    next.append(0);
    assert_eq!(next.pump(), Pumped::Durable);
}

#[test]
fn the_log_that_no_partition_needs_goes_and_no_other() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    for _ in 0..40 {
        run.append(0);
        run.append(1);
        run.pump();
    }
    let unfolded = run.store.pressure().unfolded_bytes;
    run.store.fold(&[support::fold_up_to(0, 40)]).unwrap();
    assert_eq!(run.store.pressure().unfolded_bytes, unfolded, "partition 1 needs it all");
    run.store.fold(&[support::fold_up_to(1, 40)]).unwrap();
    assert_eq!(run.store.pressure().unfolded_bytes, 0);
    let again = Run::open(&disk.crash(1), &tables.fork(), Some(&run)).unwrap();
    assert_eq!(again.appended, [40, 40, 0]);
}

#[test]
fn a_frame_larger_than_a_segment_gets_one_of_its_own() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    for _ in 0..60 {
        run.append(2);
    }
    assert_eq!(run.pump(), Pumped::Durable);
    assert_eq!(run.store.pressure().flushes, 1);
    assert!(run.store.pressure().log_bytes > 2 * SEGMENT);
    run.append(2);
    run.pump();
    run = Run::open(&disk.crash(7), &tables.fork(), Some(&run)).unwrap();
    assert_eq!(run.appended, [0, 0, 61]);
}

#[test]
fn after_a_clean_end_a_start_reads_only_heads() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    for _ in 0..30 {
        run.append(1);
        run.pump();
    }
    run.fold().unwrap();
    run.store.close().unwrap();
    let before = disk.calls();
    let next = Run::open(&disk, &tables, Some(&run)).unwrap();
    let (calls_made, calls_per_file) = (disk.calls() - before, 3);
    let calls = 2 + calls_per_file * files(&disk).len() as u64;
    assert_eq!(calls_made, calls, "a list, then open, size and head of each file, then the folder");
    assert_eq!(next.appended, [0, 30, 0]);
}

#[test]
fn a_full_disk_keeps_groups_until_there_is_space() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    run.append(0);
    run.pump();
    let used: u64 = files(&disk)
        .iter()
        .map(|name| disk.content(&Path::new(FOLDER).join(name)).unwrap().len() as u64)
        .sum();
    disk.set_capacity(Some(used));
    let mut in_reserve = 0;
    while run.pump() != Pumped::DiskFull {
        in_reserve += u64::from(run.store.pressure().disk_full);
        run.append_small();
    }
    assert!(in_reserve > 0, "the host hears of it while there is a reserve");
    assert_eq!(*run.heard.full.lock().unwrap(), [true]);
    run.append(1);
    assert_eq!(run.pump(), Pumped::DiskFull);
    let again = Run::open(&disk.crash(3), &tables.fork(), Some(&run));
    assert!(again.is_ok(), "a full disk is no reason not to start: {:?}", again.err());
    disk.set_capacity(None);
    assert_eq!(
        (run.pump(), run.pump()),
        (Pumped::Durable, Pumped::Durable),
        "the frame that waited, then the rest"
    );
    assert_eq!(*run.heard.full.lock().unwrap(), [true, false]);
    assert_eq!(run.acknowledged, run.appended);
    Run::open(&disk.crash(4), &tables, Some(&run)).unwrap();
}

#[test]
fn a_fold_makes_room_on_a_full_disk() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    disk.set_capacity(Some(6 * SEGMENT));
    while run.pump() != Pumped::DiskFull {
        run.append_small();
    }
    run.fold().unwrap();
    assert_eq!(run.pump(), Pumped::Durable);
    assert_eq!(run.acknowledged, run.appended);
}

#[test]
fn a_fold_of_groups_that_are_not_durable_is_put_off() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let run = Run::open(&disk, &tables, None).unwrap();
    run.store.append(record(0, 1));
    let error = run.store.fold(&[support::fold_up_to(0, 1)]).unwrap_err();
    let text = "the store is unavailable while waiting for the groups of a fold: the log has to be pumped first";
    assert_eq!(error.to_string(), text);
    run.store.pump();
    run.store.fold(&[support::fold_up_to(0, 1)]).unwrap();
    run.store.release(PartitionId(0)).unwrap();
}

fn used_log() -> (SimulatedDisk, MemoryTables) {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    run.append(0);
    run.pump();
    (disk, tables)
}

#[track_caller]
fn refusal(disk: &SimulatedDisk, tables: &MemoryTables) -> String {
    open(disk, tables).err().expect("the folder is refused").to_string()
}

#[test]
fn a_log_of_another_hub_is_refused() {
    let (disk, _) = used_log();
    let (other, _) = MemoryTables::new(&HubOptions::new("other", support::PARTITIONS));
    let text = "the folder `/hub` is a mixture: `log-0000000000000001.seg` belongs to another hub than the tables. Restore log and tables from the same backup";
    assert_eq!(refusal(&disk, &other), text);
}

#[test]
fn tables_that_are_older_than_the_log_are_refused() {
    let (disk, tables) = used_log();
    let old = tables.fork();
    for _ in 0..3 {
        let mut run = Run::open(&disk, &tables, None).unwrap();
        (0..10).for_each(|_| run.append(0));
        run.pump();
    }
    let text = "the folder `/hub` is a mixture: `log-0000000000000002.seg` was written at start 4 of the hub, and the tables know of 3 only. Restore log and tables from the same backup";
    assert_eq!(refusal(&disk, &old), text);
}

#[test]
fn a_log_of_a_newer_version_is_refused() {
    let (disk, tables) = used_log();
    let path = Path::new(FOLDER).join("log-0000000000000001.seg");
    let mut head = disk.content(&path).unwrap()[..96].to_vec();
    head[8] = 9;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..12]), &head[16..]);
    head[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.open(&path).unwrap().write_at(&head, 0).unwrap();
    let text = "the data folder `/hub` has format 9, and this version of everstep knows formats up to 1; start the version that wrote it, or a newer one";
    assert_eq!(refusal(&disk, &tables), text);
}

#[test]
#[should_panic(expected = "A1: group 3 of partition 0 was appended after 1")]
fn a_gap_in_what_is_appended_is_a_bug() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let (store, _) = open(&disk, &tables).unwrap();
    store.append(record(0, 1));
    store.append(record(0, 3));
}
