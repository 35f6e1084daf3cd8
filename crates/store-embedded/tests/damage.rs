//! S8: bits flip and files are cut short. What holds: a damaged log is refused or read without a wrong record, and what
//! is missing is at most the last frame of all. Its loss cannot be told from a crash while it was written.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::path::{Path, PathBuf};

use everstep_store::Error;
use everstep_store_embedded::disk::{Disk, SimulatedDisk};
use everstep_store_memory::MemoryTables;
use support::{FOLDER, Positions, Run, open, recover, tables};

struct Log {
    disk: SimulatedDisk,
    tables: MemoryTables,
    /// The positions after each frame.
    frames: Vec<Positions>,
    files: Vec<PathBuf>,
}

fn small_log() -> Log {
    log_of([0, 1, 2, 0, 0, 1, 1, 2, 0, 2])
}

/// A log of one frame per partition named.
fn log_of(partitions: impl IntoIterator<Item = u16>) -> Log {
    let (disk, tables) = (SimulatedDisk::new(), tables());
    let mut run = Run::open(&disk, &tables, None).unwrap();
    let mut frames = Vec::new();
    for partition in partitions {
        run.append(partition);
        run.pump();
        frames.push(run.acknowledged.clone());
    }
    drop(run);
    let names = disk.list(Path::new(FOLDER)).unwrap();
    Log {
        disk,
        tables,
        frames,
        files: names.iter().map(|name| Path::new(FOLDER).join(name)).collect(),
    }
}

/// Opens a damaged copy. The number of frames that are missing at the end, or the refusal.
fn missing(log: &Log, damage: impl FnOnce(&SimulatedDisk)) -> Result<usize, Error> {
    let disk = log.disk.fork();
    damage(&disk);
    let (store, _) = open(&disk, &log.tables.fork())?;
    let found = recover(&store);
    let place = log.frames.iter().rev().position(|frame| *frame == found);
    Ok(place.unwrap_or_else(|| panic!("{found:?} is a prefix of frames: {:?}", log.frames)))
}

#[test]
fn a_flipped_bit_is_refused_or_costs_the_last_frame() {
    let log = small_log();
    let mut counts = [0; 3];
    for file in &log.files {
        let content = log.disk.content(file).unwrap();
        let telling = |offset: &usize| {
            content[*offset] != 0 && offset % 4096 < 200 || offset.is_multiple_of(509)
        };
        for offset in (0..content.len()).filter(telling) {
            match missing(&log, |disk| disk.flip_bit(file, offset as u64, (offset % 8) as u8)) {
                Ok(frames @ 0..=1) => counts[frames] += 1,
                Err(Error::DamagedLog { .. }) => counts[2] += 1,
                other => panic!("bit flipped at {offset} of {}: {other:?}", file.display()),
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "harmless, last frame, refused: {counts:?}");
}

#[test]
fn a_file_that_was_cut_short_is_refused() {
    let log = small_log();
    for file in &log.files {
        let size = log.disk.content(file).unwrap().len() as u64;
        for cut in (1..size).filter(|cut| *cut < 200 || cut % 509 == 0) {
            let result = missing(&log, |disk| disk.truncate(file, cut));
            assert!(
                matches!(result, Err(Error::DamagedLog { .. })),
                "cut {} to {cut}: {result:?}",
                file.display()
            );
        }
    }
}

#[test]
fn a_file_that_is_lost_or_empty_is_refused_if_it_held_frames() {
    let log = small_log();
    let mut refused = 0;
    for file in &log.files {
        for result in
            [missing(&log, |disk| disk.truncate(file, 0)), missing(&log, |disk| disk.lose(file))]
        {
            match result {
                Ok(0) => {}
                Err(Error::DamagedLog { .. }) => refused += 1,
                other => panic!("lost {}: {other:?}", file.display()),
            }
        }
    }
    assert!(refused >= 4, "{refused}");
}

#[test]
fn a_damaged_frame_is_refused_even_if_its_partition_is_silent_after_it() {
    for silent in 0..8 {
        let log = log_of((0..8).map(|frame| u16::from(frame == silent)));
        for file in &log.files {
            let content = log.disk.content(file).unwrap();
            let number = |offset: u64| {
                content[offset as usize + 8..][..8].try_into().map(u64::from_le_bytes).unwrap()
            };
            let is_frame =
                |offset: &u64| (1..=8).contains(&number(*offset)) && content[*offset as usize] != 0;
            for offset in (0..content.len() as u64).step_by(4096).filter(is_frame) {
                let result = missing(&log, |disk| disk.flip_bit(file, offset + 45, 0));
                match number(offset) {
                    8 => assert!(
                        matches!(result, Ok(1) | Err(Error::DamagedLog { .. })),
                        "{result:?}"
                    ),
                    _ => assert!(
                        matches!(result, Err(Error::DamagedLog { .. })),
                        "frame {}: {result:?}",
                        number(offset)
                    ),
                }
            }
        }
    }
}

#[test]
fn a_damaged_frame_in_the_middle_is_named() {
    let log = small_log();
    let error = missing(&log, |disk| disk.flip_bit(&log.files[0], 4096 + 50, 0)).unwrap_err();
    let text = "the log is damaged: frame 1 is missing or damaged, and frame 2 follows at byte 16384, in `/hub/log-0000000000000001.seg` at byte 4096; nothing was changed. Restore the folder from a backup, or keep a copy of it before you try anything else";
    assert_eq!(error.to_string(), text);
}
