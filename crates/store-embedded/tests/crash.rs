//! S1, S2, S9, S12: a run is cut off at its n-th call, by a crash, an I/O error or a full disk, n counting up until the
//! run passes untouched; then images of what the disk may hold are opened, worked on and cut off again.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use everstep_store::{Error, Pumped, Store};
use everstep_store_embedded::disk::{Fault, SimulatedDisk};
use support::{Random, Run, tables};

const ROUNDS: u64 = 12;

/// Cuts a run off at its n-th call and checks the images; whether the run reached that call.
fn cut_off(seed: u64, n: u64, fault: Fault) -> bool {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut random = Random(seed);
    let mut first = Run::open(&disk, &tables, None).unwrap();
    first.work(&mut random, 4);
    let before_close = first.store.close();
    assert!(before_close.is_ok(), "{before_close:?}");
    disk.fail_call(n, fault);
    let run = match Run::open(&disk, &tables, Some(&first)) {
        Ok(mut run) => {
            run.work(&mut random, ROUNDS);
            run
        }
        // The host does not start; the run before is still what counts.
        Err(Error::DamagedLog { .. } | Error::Mismatch { .. }) => {
            panic!("a failing disk is not a damaged log")
        }
        Err(_) => first,
    };
    let was_reached = !disk.has_fault_ahead();
    if !run.heard.has_failed() && was_reached && run.frames.len() > 1 {
        assert_eq!(run.acknowledged, run.appended, "work goes on after the disk was full");
    }
    // The process is gone and the power stays; only then it goes, too.
    let (disk_kept, tables_kept) = (disk.fork(), tables.fork());
    let mut restarted = Run::open(&disk_kept, &tables_kept, Some(&run)).unwrap();
    Run::open(&disk_kept.crash(n), &tables_kept.fork(), Some(&restarted)).unwrap();
    restarted.work(&mut Random(n), 2);
    Run::open(&disk_kept.crash(n), &tables_kept, Some(&restarted)).unwrap();
    for image in 0..3 {
        let disk = disk.crash(seed << 8 | image);
        let tables = tables.fork();
        let mut next = Run::open(&disk, &tables, Some(&run)).unwrap();
        next.work(&mut Random(image), 3);
        Run::open(&disk.crash(image), &tables.fork(), Some(&next)).unwrap();
        next.store.close().unwrap();
        Run::open(&disk.crash(image), &tables, Some(&next)).unwrap();
    }
    was_reached
}

#[track_caller]
fn cut_off_everywhere(fault: Fault, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut calls = 0;
        while cut_off(seed, calls + 1, fault) {
            calls += 1;
        }
        assert!(calls > 30, "seed {seed}: the run made only {calls} calls");
    }
}

#[test]
fn a_crash_or_error_at_any_call_loses_nothing_acknowledged() {
    cut_off_everywhere(Fault::Io, 0..4);
}

#[test]
fn a_torn_write_at_any_call_loses_nothing_acknowledged() {
    cut_off_everywhere(Fault::ShortIo, 4..8);
}

#[test]
fn a_disk_that_is_full_at_any_call_loses_nothing_and_goes_on() {
    cut_off_everywhere(Fault::NoSpace, 8..12);
}

#[test]
fn a_disk_that_runs_full_within_any_write_loses_nothing_and_goes_on() {
    cut_off_everywhere(Fault::ShortNoSpace, 12..16);
}

#[test]
fn every_image_of_a_crash_between_calls_is_a_prefix_of_frames() {
    for seed in 0..300 {
        let (mut disk, mut tables) = (SimulatedDisk::new(), tables());
        let mut random = Random(seed);
        let mut before: Option<Run> = None;
        for life in 0..4 {
            let mut run = Run::open(&disk, &tables, before.as_ref()).unwrap();
            run.work(&mut random, 4);
            (disk, tables) = (disk.crash(seed << 2 | life), tables.fork());
            before = Some(run);
        }
    }
}

#[test]
fn nothing_is_written_or_reported_after_a_failed_flush() {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    run.append(0);
    assert_eq!(run.pump(), Pumped::Durable);
    run.append(1);
    // The write passes and its flush does not, for want of space or for whatever reason.
    disk.fail_call(2, Fault::NoSpace);
    assert_eq!(run.pump(), Pumped::Failed);
    let failed = run.heard.failed.lock().unwrap().clone();
    let text = "writing to `/hub` failed (writing the log): no storage space; the process ends here, and the next start finds out what was written";
    assert_eq!(failed, [text]);
    let calls = disk.calls();
    run.append(2);
    assert_eq!(run.pump(), Pumped::Failed);
    assert!(matches!(run.store.close(), Err(Error::Unavailable { .. })));
    assert_eq!((disk.calls(), run.acknowledged.clone()), (calls, vec![1, 0, 0]));
}
