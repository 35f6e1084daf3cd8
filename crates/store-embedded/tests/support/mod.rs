//! A hub on a simulated disk, and a model of what it must still hold after a crash.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use everstep_model::{GroupNo, PartitionId};
use everstep_store::{Error, Fold, HubOptions, Observer, Pumped, Record, Store, Tables, Writer};
use everstep_store_embedded::{LogOptions, Logged, LoggedOptions, disk::SimulatedDisk};
use everstep_store_memory::MemoryTables;

pub(crate) const FOLDER: &str = "/hub";
pub(crate) const PARTITIONS: u16 = 3;
pub(crate) const SEGMENT: u64 = 32 << 10;

pub(crate) type Hub = Logged<SimulatedDisk, MemoryTables>;
/// Per partition, a group.
pub(crate) type Positions = Vec<u64>;

/// A small generator, so that a seed is a test case.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

/// What the store said.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) durable: Mutex<Vec<(u16, u64)>>,
    pub(crate) full: Mutex<Vec<bool>>,
    pub(crate) failed: Mutex<Vec<String>>,
}

impl Heard {
    pub(crate) fn positions(&self) -> Positions {
        let mut positions = vec![0; usize::from(PARTITIONS)];
        for (partition, group) in self.durable.lock().unwrap().iter() {
            positions[usize::from(*partition)] = *group;
        }
        positions
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.lock().unwrap().is_empty()
    }
}

impl Observer for Heard {
    fn durable(&self, partition: PartitionId, group: GroupNo) {
        self.durable.lock().unwrap().push((partition.0, group.0));
    }

    fn disk_full(&self, full: bool) {
        self.full.lock().unwrap().push(full);
    }

    fn failed(&self, error: Error) {
        self.failed.lock().unwrap().push(error.to_string());
    }
}

pub(crate) fn tables() -> MemoryTables {
    MemoryTables::new(&HubOptions::new("test", PARTITIONS)).0
}

pub(crate) fn options(segment_bytes: u64) -> LoggedOptions {
    LoggedOptions {
        log: LogOptions::small(segment_bytes),
        writer: Writer::Manual,
        ..LoggedOptions::default()
    }
}

pub(crate) fn open(
    disk: &SimulatedDisk,
    tables: &MemoryTables,
) -> Result<(Hub, Arc<Heard>), Error> {
    let (tables, hub) = tables.reopen();
    let store = Logged::open(disk.clone(), Path::new(FOLDER), hub, tables, options(SEGMENT))?;
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    Ok((store, heard))
}

/// The content follows from the name, so that a wrong record shows.
pub(crate) fn content(partition: u16, group: u64) -> Bytes {
    let mut random = Random(u64::from(partition) << 32 | group);
    let length = match random.below(16) {
        0 => SEGMENT + random.below(SEGMENT),
        1..4 => random.below(10_000),
        _ => random.below(300),
    };
    let pattern = random.below(u64::MAX).to_le_bytes();
    pattern.repeat(length as usize / 8 + 1)[..length as usize].to_vec().into()
}

pub(crate) fn record(partition: u16, group: u64) -> Record {
    Record {
        partition: PartitionId(partition),
        group: GroupNo(group),
        bytes: content(partition, group),
        fold: None,
    }
}

pub(crate) fn fold_up_to(partition: u16, group: u64) -> Fold {
    Fold {
        partition: PartitionId(partition),
        upto: GroupNo(group),
        meta: Bytes::new(),
        purged: Vec::new(),
        rows: Vec::new(),
    }
}

/// Reads what the log holds above the tables and checks every record; the positions reached.
pub(crate) fn recover(store: &Hub) -> Positions {
    let mut positions: Positions =
        store.tables().applied().unwrap().iter().map(|applied| applied.group.0).collect();
    let all: Vec<_> = (0..PARTITIONS).map(PartitionId).collect();
    store
        .recover(&all, &mut |found| {
            let last = &mut positions[usize::from(found.partition.0)];
            *last += 1;
            assert_eq!(
                found,
                record(found.partition.0, *last),
                "records come whole, in order and without gap"
            );
        })
        .unwrap();
    positions
}

/// A run of the store, and what may be found after it.
pub(crate) struct Run {
    pub(crate) store: Hub,
    pub(crate) heard: Arc<Heard>,
    pub(crate) appended: Positions,
    pub(crate) acknowledged: Positions,
    /// The positions after each frame: recovery ends at one of them (S2).
    pub(crate) frames: BTreeSet<Positions>,
}

impl Run {
    /// Opens the hub and checks what it holds against the run before.
    pub(crate) fn open(
        disk: &SimulatedDisk,
        tables: &MemoryTables,
        before: Option<&Run>,
    ) -> Result<Self, Error> {
        let (store, heard) = open(disk, tables)?;
        let found = recover(&store);
        if let Some(before) = before {
            assert!(
                before.frames.contains(&found),
                "{found:?} is a prefix of frames {:?}",
                before.frames
            );
            let is_enough = found
                .iter()
                .zip(&before.acknowledged)
                .all(|(found, acknowledged)| found >= acknowledged);
            assert!(is_enough, "{found:?} holds what was acknowledged: {:?}", before.acknowledged);
        }
        Ok(Self {
            store,
            heard,
            appended: found.clone(),
            acknowledged: found.clone(),
            frames: BTreeSet::from([found]),
        })
    }

    pub(crate) fn append(&mut self, partition: u16) {
        let last = &mut self.appended[usize::from(partition)];
        *last += 1;
        self.store.append(record(partition, *last));
    }

    /// A group that fits any segment.
    pub(crate) fn append_small(&mut self) {
        let is_small = |partition: &u16| {
            content(*partition, self.appended[usize::from(*partition)] + 1).len() < 16_000
        };
        self.append(
            (0..PARTITIONS).find(is_small).expect("not all partitions have a large group at once"),
        );
    }

    /// One frame with all that was appended since the last.
    pub(crate) fn pump(&mut self) -> Pumped {
        let pumped = self.store.pump();
        self.frames.insert(self.appended.clone());
        for (partition, group) in self.heard.durable.lock().unwrap().drain(..) {
            self.acknowledged[usize::from(partition)] = group;
        }
        pumped
    }

    pub(crate) fn fold(&self) -> Result<(), Error> {
        let folds: Vec<_> = (0..)
            .zip(&self.acknowledged)
            .map(|(partition, group)| fold_up_to(partition, *group))
            .collect();
        self.store.fold(&folds)
    }

    /// Random work; ends early when the store has failed.
    pub(crate) fn work(&mut self, random: &mut Random, rounds: u64) {
        for _ in 0..rounds {
            for _ in 0..random.below(5) {
                self.append(random.below(u64::from(PARTITIONS)) as u16);
            }
            // A full disk has space again at the second attempt: the planned fault is gone.
            if self.pump() == Pumped::DiskFull {
                self.pump();
            }
            if self.heard.has_failed() {
                return;
            }
            if random.below(6) == 0 {
                self.fold().unwrap();
            }
        }
    }
}
