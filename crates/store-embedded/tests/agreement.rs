//! The tables on disk and those in memory take the same folds and must give the same answers.
//!
//! The steps are small and independent of each other, so that a failing case shrinks; [`Model`] turns them into folds
//! that a runtime could hand over: numbers belong to ids, executions rise, and what is purged does not return.

use std::collections::BTreeMap;

use bytes::Bytes;
use everstep_model::{
    ExecutionId, Failure, GroupNo, Iid, InstanceId, Kind, PartitionId, PayloadRef, Purged, Status,
    Tags, Timestamp, Value,
};
use everstep_store::{
    Chunk, Cursor, Due, Filter, Fold, FoldedRow, HubOptions, Order, Row, Tables, Wake, chunk,
};
use everstep_store_embedded::sqlite::SqliteTables;
use everstep_store_memory::MemoryTables;
use proptest::{collection::vec, option, prelude::*, sample::select};

const PARTITIONS: u16 = 2;

/// What happens to one of few instances.
#[derive(Debug, Clone)]
enum Step {
    /// It is started, or takes a turn; `seed` says how its row looks and what comes to its history.
    Turn { slot: u8, seed: u32 },
    /// It is started anew under the same number.
    Again { slot: u8, seed: u32, keeps_former: bool },
    /// It ends with one chunk for its whole history.
    Merge { slot: u8 },
    /// It is purged.
    Purge { slot: u8 },
    /// Many others come, and go again in one fold.
    Crowd,
    /// What was done so far is folded.
    Fold,
    /// A part of what is purged is deleted.
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..8_u8;
    prop_oneof![
        8 => (slot.clone(), any::<u32>()).prop_map(|(slot, seed)| Step::Turn { slot, seed }),
        2 => (slot.clone(), any::<u32>(), any::<bool>())
            .prop_map(|(slot, seed, keeps_former)| Step::Again { slot, seed, keeps_former }),
        2 => slot.clone().prop_map(|slot| Step::Merge { slot }),
        3 => slot.prop_map(|slot| Step::Purge { slot }),
        1 => Just(Step::Crowd),
        5 => Just(Step::Fold),
        1 => Just(Step::Delete),
    ]
}

/// The instance behind a slot.
#[derive(Debug, Clone)]
struct Live {
    iid: Iid,
    execution: u32,
    events: u32,
    payloads: u32,
    created: Timestamp,
    last: Row,
}

/// What was done since the last fold, per partition.
#[derive(Default)]
struct Dirty {
    purged: Vec<Purged>,
    rows: BTreeMap<Iid, FoldedRow>,
}

struct Model {
    live: BTreeMap<u8, Live>,
    dirty: [Dirty; PARTITIONS as usize],
    counter: u64,
    group: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            live: BTreeMap::new(),
            dirty: [Dirty::default(), Dirty::default()],
            counter: 0,
            group: 0,
        }
    }

    fn partition(slot: u8) -> PartitionId {
        PartitionId(u16::from(slot) % PARTITIONS)
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Turn { slot, seed } => self.turn(slot, seed),
            Step::Again { slot, seed, keeps_former } => {
                if let Some(live) = self.live.get_mut(&slot) {
                    (live.execution, live.events) = (live.execution + 1, 0);
                    self.turn(slot, seed);
                    let live = &self.live[&slot];
                    let folded = self.dirty[usize::from(live.iid.partition().0)]
                        .rows
                        .get_mut(&live.iid)
                        .expect("the turn made it dirty");
                    if !keeps_former {
                        folded.keep_from = live.execution;
                        folded.chunks.retain(|chunk| chunk.execution >= live.execution);
                        folded.payloads.retain(|(payload, _)| payload.execution >= live.execution);
                    }
                }
            }
            Step::Merge { slot } => {
                if let Some(live) = self.live.get(&slot).filter(|live| live.events > 0).cloned() {
                    let whole = events_bytes(live.execution, 0, live.events);
                    let merged = Chunk {
                        iid: live.iid,
                        execution: live.execution,
                        seq: 0,
                        count: live.events,
                        bytes: chunk::pack(&whole),
                    };
                    self.dirty_row(&live).chunks.push(merged);
                }
            }
            Step::Purge { slot } => {
                if let Some(live) = self.live.remove(&slot) {
                    let dirty = &mut self.dirty[usize::from(live.iid.partition().0)];
                    dirty.rows.remove(&live.iid);
                    dirty.purged.push(Purged { iid: live.iid, execution: live.execution });
                }
            }
            Step::Crowd | Step::Fold | Step::Delete => {}
        }
    }

    fn turn(&mut self, slot: u8, seed: u32) {
        let partition = Self::partition(slot);
        self.counter += 1;
        let iid = Iid::new(partition, self.counter);
        let created = Timestamp::from_ticks(i64::from(seed % 6));
        let live = self.live.entry(slot).or_insert_with(|| Live {
            iid,
            execution: 1,
            events: 0,
            payloads: 0,
            created,
            last: row(slot, iid, seed, created),
        });
        let execution = live.execution;
        live.last = Row { execution, ..row(slot, live.iid, seed, live.created) };
        let count = seed % 3;
        let added = (count > 0).then(|| Chunk {
            iid: live.iid,
            execution,
            seq: live.events,
            count,
            bytes: chunk::plain(&events_bytes(execution, live.events, count)),
        });
        live.events += count;
        let payload = (seed.is_multiple_of(5)).then(|| {
            live.payloads += 1;
            let bytes = Bytes::from(seed.to_string());
            let len = bytes.len() as u32;
            (
                PayloadRef {
                    iid: live.iid,
                    execution,
                    n: live.payloads,
                    len,
                    crc: crc32c::crc32c(&bytes),
                },
                bytes,
            )
        });
        let live = live.clone();
        let folded = self.dirty_row(&live);
        folded.chunks.extend(added);
        folded.payloads.extend(payload);
    }

    fn dirty_row(&mut self, live: &Live) -> &mut FoldedRow {
        let rows = &mut self.dirty[usize::from(live.iid.partition().0)].rows;
        let empty = || FoldedRow {
            row: live.last.clone(),
            keep_from: 0,
            chunks: Vec::new(),
            payloads: Vec::new(),
        };
        let folded = rows.entry(live.iid).or_insert_with(empty);
        folded.row = live.last.clone();
        folded
    }

    /// What was done so far; a partition without changes has a fold, too.
    fn folds(&mut self) -> Vec<Fold> {
        self.group += 1;
        let dirty = std::mem::take(&mut self.dirty);
        let folds = dirty.into_iter().zip(0..).map(|(dirty, partition)| Fold {
            partition: PartitionId(partition),
            upto: GroupNo(self.group),
            meta: Bytes::from(format!("meta {}", self.group)),
            purged: dirty.purged,
            rows: dirty.rows.into_values().collect(),
        });
        folds.collect()
    }

    /// More instances than a fold deletes at once, and the purge of them all.
    fn crowd(&mut self) -> [Vec<Fold>; 2] {
        let base = self.counter;
        self.counter += 210;
        let iids = (base + 1..=self.counter).map(|n| Iid::new(PartitionId(0), n));
        let mut come = self.folds();
        come[0].rows.extend(iids.clone().map(|iid| FoldedRow {
            row: row(100, iid, 1, Timestamp::EPOCH),
            keep_from: 0,
            chunks: vec![Chunk { iid, execution: 1, seq: 0, count: 1, bytes: chunk::plain(b"x") }],
            payloads: Vec::new(),
        }));
        for (folded, iid) in come[0].rows.iter_mut().rev().zip(iids.clone().rev()) {
            folded.row.id = InstanceId::from_stored(&format!("crowd-{}", iid.0));
        }
        let mut go = self.folds();
        go[0].purged.extend(iids.map(|iid| Purged { iid, execution: 1 }));
        [come, go]
    }
}

fn events_bytes(execution: u32, seq: u32, count: u32) -> Vec<u8> {
    (seq..seq + count).flat_map(|n| format!("[{execution}.{n}]").into_bytes()).collect()
}

/// The row of a slot; the seed decides all that may vary.
fn row(slot: u8, iid: Iid, seed: u32, created: Timestamp) -> Row {
    let bit = |n: u32| seed >> n & 1 == 1;
    let value = |n: u32| match seed >> n & 3 {
        0 => None,
        1 => Some(Value::text(format!("text {}", seed % 4))),
        2 => Some(Value::Inline(Bytes::from(vec![0xff, slot]))),
        _ => Some(Value::Ref(PayloadRef { iid, execution: 1, n: seed, len: 3, crc: !seed })),
    };
    let id = if slot % 3 == 2 { format!("@counter@{slot}") } else { format!("order-{slot}") };
    let status = Status::ALL[seed as usize % Status::ALL.len()];
    Row {
        iid,
        id: InstanceId::from_stored(&id),
        execution: 1,
        execution_id: ExecutionId::new(&seed.to_string()),
        name: ["Checkout", "checkout", "Shipping"][seed as usize % 3].into(),
        version: if bit(4) { "2".into() } else { String::new() },
        status,
        created,
        updated: Timestamp::from_ticks(i64::from(seed)),
        completed: status.is_terminal().then(|| Timestamp::from_ticks(i64::from(seed % 10))),
        parent: bit(5).then(|| InstanceId::from_stored(if bit(6) { "root" } else { "order-1" })),
        tags: if bit(7) { Tags::from([("color".into(), "red".into())]) } else { Tags::new() },
        wake: [Wake::Never, Wake::Now, Wake::At(Timestamp::from_ticks(i64::from(seed % 5)))]
            [seed as usize / 7 % 3],
        input: value(8),
        output: value(10),
        custom_status: value(12),
        failure: bit(14)
            .then(|| Failure::new("E", seed.to_string()).caused_by(Failure::new("F", "why"))),
        live: Bytes::from(seed.to_le_bytes().to_vec()),
    }
}

fn filter() -> impl Strategy<Value = Filter> {
    let time = || option::weighted(0.3, (0..10_i64).prop_map(Timestamp::from_ticks));
    let text = |texts: &'static [&'static str]| {
        option::weighted(0.2, select(texts).prop_map(str::to_owned))
    };
    let statuses = option::weighted(0.4, vec(select(&Status::ALL[..]), 1..4))
        .prop_map(Option::unwrap_or_default);
    let kind = option::weighted(0.3, select(&[Kind::Orchestration, Kind::Entity][..]));
    let tags = option::weighted(0.1, Just(vec![("color".to_owned(), "red".to_owned())]))
        .prop_map(Option::unwrap_or_default);
    (
        (kind, statuses, tags),
        (time(), time(), time(), time()),
        (
            text(&["CHECKOUT", "Ship"]),
            text(&["", "o", "@counter@", "order-1"]),
            text(&["root", "order-1"]),
            text(&["", "t 1"]),
        ),
    )
        .prop_map(
            |(
                (kind, statuses, tags),
                created_completed,
                (name, id_prefix, parent, input_contains),
            )| {
                let (created_from, created_to, completed_from, completed_to) = created_completed;
                let parent = parent.map(|parent| InstanceId::from_stored(&parent));
                Filter {
                    kind,
                    statuses,
                    created_from,
                    created_to,
                    completed_from,
                    completed_to,
                    name,
                    id_prefix,
                    parent,
                    tags,
                    input_contains,
                }
            },
        )
}

fn fold_both(disk: &SqliteTables, memory: &MemoryTables, folds: &[Fold]) {
    disk.fold(folds).expect("these tables work");
    memory.fold(folds).expect("these tables work");
    assert_eq!(
        disk.logical_dump().expect("these tables work"),
        memory.logical_dump().expect("these tables work")
    );
}

/// Every answer, as one value.
fn answers(tables: &impl Tables, model: &Model, filter: &Filter, limit: usize) -> String {
    let mut text = String::new();
    let mut say = |answer: String| {
        text.push_str(&answer);
        text.push('\n');
    };
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut after: Option<Cursor> = None;
        loop {
            let page = tables.list(filter, order, after, limit).expect("these tables work");
            say(format!("{order:?} {page:?}"));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let between =
            Cursor { created: Timestamp::from_ticks(3), iid: Iid::new(PartitionId(0), 7) };
        say(format!(
            "{:?}",
            tables.list(filter, order, Some(between), limit).expect("these tables work")
        ));
    }
    say(format!(
        "{:?}",
        tables.count(filter, std::time::Duration::MAX).expect("these tables work")
    ));
    let mut after: Option<Due> = None;
    loop {
        let due =
            tables.due(Timestamp::from_ticks(3), after.as_ref(), limit).expect("these tables work");
        say(format!("{due:?}"));
        after = due.last().cloned();
        if after.is_none() {
            break;
        }
    }
    let ids: Vec<_> = (0..8).map(|slot| row(slot, Iid(0), 0, Timestamp::EPOCH).id).collect();
    say(format!("{:?}", tables.find(&ids).expect("these tables work")));
    for iid in (1..=model.counter.min(40)).map(|n| Iid::new(PartitionId((n % 2) as u16), n)) {
        for (execution, from) in [(1, 0), (1, 2), (2, 0)] {
            say(format!(
                "{:?}",
                tables.chunks(iid, execution, from, limit * 8).expect("these tables work")
            ));
        }
        let payload = PayloadRef { iid, execution: 1, n: 1, len: 3, crc: 0 };
        say(format!("{:?}", tables.payload(&payload).map_err(|error| error.to_string())));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_give_equal_dumps_and_answers(
        steps in vec(step(), 1..60),
        filters in vec((filter(), 1..5_usize), 12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let options = HubOptions::new("agreement", PARTITIONS);
        let (disk, _) = SqliteTables::open(folder.path(), &options).unwrap();
        let (memory, _) = MemoryTables::new(&options);
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            match step {
                Step::Fold => fold_both(&disk, &memory, &model.folds()),
                Step::Crowd => for folds in model.crowd() {
                    fold_both(&disk, &memory, &folds);
                },
                Step::Delete => {
                    disk.purge_step().unwrap();
                    disk.shrink_step().unwrap();
                }
                _ => {}
            }
        }
        fold_both(&disk, &memory, &model.folds());
        for (filter, limit) in &filters {
            prop_assert_eq!(answers(&disk, &model, filter, *limit), answers(&memory, &model, filter, *limit));
        }
        drop(disk);
        let (disk, hub) = SqliteTables::open(folder.path(), &options).unwrap();
        prop_assert_eq!(hub.epoch, 2);
        prop_assert_eq!(disk.logical_dump().unwrap(), memory.logical_dump().unwrap());
    }
}
