//! The suite that every backend passes: the specification of [`Store`] and [`Tables`] as far as one process can see it.
//!
//! A backend's test calls [`exercise`] with a way to open its store. Crashes in the middle of a write are each
//! backend's own tests; here a store ends by being closed or dropped.
//!
//! Start reading at the cases, which are named as sentences; [`Session`] is what they have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use everstep_model::{
    ExecutionId, Failure, GroupNo, Iid, InstanceId, Kind, PartitionId, PayloadRef, Purged, Status,
    Tags, Timestamp, Value,
};

use crate::{
    Chunk, Cursor, Due, Error, Filter, Fold, FoldedRow, Mode, Observer, Order, Record, Row, Store,
    Tables, Wake, chunk,
};

/// How many partitions the hubs of the suite have.
pub const PARTITIONS: u16 = 4;

/// Nothing takes as long unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// Which hub to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// A new and empty one of [`PARTITIONS`] partitions.
    New,
    /// The one opened last, whose store is gone.
    Same,
}

/// Runs every case; panics at the first that does not hold.
pub fn exercise<S: Store>(mut open: impl FnMut(Which) -> S) {
    let open: &mut dyn FnMut(Which) -> S = &mut open;
    groups_are_reported_in_order_and_only_what_was_appended(open);
    recovery_yields_exactly_what_is_not_folded(open);
    opening_again_raises_the_epoch_and_keeps_the_identity(open);
    a_row_comes_back_as_it_was_written(open);
    folding_twice_changes_nothing(open);
    a_fold_replaces_the_row_and_adds_to_the_history(open);
    a_merged_chunk_takes_the_place_of_those_it_covers(open);
    chunks_are_read_from_an_event_on_and_up_to_a_size(open);
    older_executions_go_when_the_row_says_so(open);
    a_purge_hides_at_once_and_for_good(open);
    a_purged_id_is_free_and_a_newer_execution_stays(open);
    a_large_purge_is_carried_out_in_steps(open);
    payloads_are_checked(open);
    what_is_due_comes_in_order_and_by_pages(open);
    lists_show_what_the_filter_says_in_both_orders(open);
    walking_pages_shows_each_instance_once_while_others_come_and_change(open);
    counts_count_what_lists_show(open);
}

/// A store in use, with what it reported.
struct Session<S: Store> {
    store: S,
    reports: Arc<Reports>,
    next: BTreeMap<PartitionId, GroupNo>,
}

#[derive(Default)]
struct Reports {
    durable: Mutex<BTreeMap<PartitionId, GroupNo>>,
    changed: Condvar,
}

impl Observer for Reports {
    fn durable(&self, partition: PartitionId, group: GroupNo) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let before = durable.insert(partition, group);
        assert!(before.is_none_or(|before| before < group), "durability only rises");
        drop(durable);
        self.changed.notify_all();
    }

    fn disk_full(&self, full: bool) {
        assert!(!full, "the suite's disk has space");
    }

    fn failed(&self, error: Error) {
        panic!("the store failed: {error}");
    }
}

impl Reports {
    /// Waits until the group is durable; says up to which group that was reported.
    fn wait(&self, partition: PartitionId, group: GroupNo) -> GroupNo {
        let durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let (durable, timeout) = self
            .changed
            .wait_timeout_while(durable, PATIENCE, |durable| {
                durable.get(&partition).is_none_or(|to| *to < group)
            })
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "group {} of partition {} never became durable",
            group.0,
            partition.0
        );
        durable[&partition]
    }
}

impl<S: Store> Session<S> {
    /// A session with a new hub.
    fn new(open: &mut dyn FnMut(Which) -> S) -> Self {
        let (session, recovered) = Self::begin(open(Which::New));
        assert!(recovered.is_empty(), "a new hub has no records");
        session
    }

    /// Does what a runtime does first; gives the records found.
    fn begin(store: S) -> (Self, Vec<Record>) {
        let partitions: Vec<_> = (0..PARTITIONS).map(PartitionId).collect();
        for partition in &partitions {
            let epoch = store.acquire(*partition).expect("a free partition can be owned");
            assert!(epoch >= 1, "epochs begin with 1");
        }
        let applied = store.tables().applied().expect("tables can be read");
        let mut next: BTreeMap<_, _> =
            applied.iter().map(|applied| (applied.partition, applied.group.next())).collect();
        let mut records = Vec::new();
        store
            .recover(&partitions, &mut |record| records.push(record))
            .expect("an undamaged store can be recovered");
        for record in &records {
            let next = next
                .get_mut(&record.partition)
                .expect("records belong to the partitions asked for");
            assert_eq!(record.group, *next, "records come in order and without a gap");
            *next = next.next();
        }
        let reports = Arc::new(Reports::default());
        store.observe(Arc::clone(&reports) as Arc<dyn Observer>);
        (Self { store, reports, next }, records)
    }

    /// Appends one group with this fold and its bytes, without waiting.
    fn append(&mut self, partition: PartitionId, mut fold: Fold) -> Fold {
        let group = self.next[&partition];
        self.next.insert(partition, group.next());
        fold.partition = partition;
        fold.upto = group;
        let carried = (self.store.mode() == Mode::Direct).then(|| Box::new(fold.clone()));
        self.store.append(Record {
            partition,
            group,
            bytes: record_bytes(partition, group),
            fold: carried,
        });
        fold
    }

    /// Makes a fold durable and visible.
    fn fold(&mut self, partition: PartitionId, fold: Fold) -> Fold {
        let fold = self.append(partition, fold);
        self.reports.wait(partition, fold.upto);
        self.store.fold(std::slice::from_ref(&fold)).expect("durable groups can be folded");
        fold
    }

    /// Writes these instances of partition 0.
    fn rows(&mut self, rows: Vec<FoldedRow>) {
        self.fold(P0, Fold { rows, ..empty_fold() });
    }

    fn tables(&self) -> &S::Tables {
        self.store.tables()
    }

    fn find(&self, id: &str) -> Option<Row> {
        let mut found =
            self.tables().find(&[InstanceId::from_stored(id)]).expect("tables can be read");
        found.pop().expect("one answer for one id")
    }

    fn list(&self, filter: &Filter, order: Order) -> Vec<String> {
        let page = self.tables().list(filter, order, None, 1000).expect("tables can be read");
        assert_eq!(page.next, None, "a page that holds all is the last");
        page.rows.iter().map(|row| row.id.to_string()).collect()
    }

    fn chunks(&self, iid: Iid, execution: u32) -> Vec<Chunk> {
        self.tables().chunks(iid, execution, 0, usize::MAX).expect("tables can be read")
    }

    fn close(self) {
        self.store.close().expect("a store with space can be closed");
    }
}

const P0: PartitionId = PartitionId(0);

fn record_bytes(partition: PartitionId, group: GroupNo) -> Bytes {
    Bytes::from(format!("record {} of partition {}", group.0, partition.0))
}

fn empty_fold() -> Fold {
    Fold {
        partition: P0,
        upto: GroupNo(0),
        meta: Bytes::from_static(b"meta"),
        purged: Vec::new(),
        rows: Vec::new(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// The `n`-th instance of partition 0 under this id, created at second `n`.
fn row(n: u64, id: &str) -> FoldedRow {
    let created = at(n.cast_signed());
    let row = Row {
        iid: Iid::new(P0, n),
        id: InstanceId::from_stored(id),
        execution: 1,
        execution_id: ExecutionId::new(&format!("{n:032x}")),
        name: "Checkout".into(),
        version: String::new(),
        status: Status::Running,
        created,
        updated: created,
        completed: None,
        parent: None,
        tags: Tags::new(),
        wake: Wake::Never,
        input: None,
        output: None,
        custom_status: None,
        failure: None,
        live: Bytes::from_static(b"live"),
    };
    FoldedRow { row, keep_from: 1, chunks: Vec::new(), payloads: Vec::new() }
}

/// The same with something changed.
fn row_with(n: u64, id: &str, change: impl FnOnce(&mut Row)) -> FoldedRow {
    let mut folded = row(n, id);
    change(&mut folded.row);
    folded
}

fn events(iid: Iid, execution: u32, seq: u32, count: u32) -> Chunk {
    let text = format!("[{execution}: {seq} to {}]", seq + count);
    Chunk { iid, execution, seq, count, bytes: chunk::plain(text.as_bytes()) }
}

fn groups_are_reported_in_order_and_only_what_was_appended<S: Store>(
    open: &mut dyn FnMut(Which) -> S,
) {
    let mut session = Session::new(open);
    for n in 0..100 {
        session.append(PartitionId(n % PARTITIONS), empty_fold());
    }
    for partition in (0..PARTITIONS).map(PartitionId) {
        assert_eq!(
            session.reports.wait(partition, GroupNo(25)),
            GroupNo(25),
            "no more than was appended"
        );
        session.store.release(partition).expect("a partition can be given up");
    }
    assert!(session.store.pressure().flushes >= 1, "what is durable was flushed");
    session.close();
}

fn recovery_yields_exactly_what_is_not_folded<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let mode = session.store.mode();
    for _ in 0..3 {
        session.append(P0, empty_fold());
    }
    let third = session.append(PartitionId(1), empty_fold());
    session.reports.wait(PartitionId(1), third.upto);
    let folded = session.fold(P0, empty_fold());
    assert_eq!(folded.upto, GroupNo(4));
    let last = session.append(P0, empty_fold());
    session.reports.wait(P0, last.upto);
    session.close();

    let (session, records) = Session::begin(open(Which::Same));
    let found: Vec<_> = records.iter().map(|record| (record.partition.0, record.group.0)).collect();
    match mode {
        Mode::Direct => assert!(found.is_empty(), "the tables of a direct store hold everything"),
        Mode::Log => assert_eq!(BTreeSet::from_iter(found), BTreeSet::from([(0, 5), (1, 1)])),
    }
    for record in &records {
        assert_eq!(
            record.bytes,
            record_bytes(record.partition, record.group),
            "records come back as they were"
        );
        assert_eq!(record.fold, None, "a log keeps bytes only");
    }
    assert_eq!((session.next[&P0], session.next[&PartitionId(1)]), (GroupNo(6), GroupNo(2)));
    session.close();
}

fn opening_again_raises_the_epoch_and_keeps_the_identity<S: Store>(
    open: &mut dyn FnMut(Which) -> S,
) {
    let store = open(Which::New);
    let first = store.hub().clone();
    assert_eq!(first.partitions, PARTITIONS);
    store.close().expect("a store with space can be closed");
    drop(store);
    let store = open(Which::Same);
    let second = store.hub().clone();
    assert!(second.epoch > first.epoch, "each opening has an epoch of its own");
    assert_eq!(
        (second.id, &second.name, second.partitions),
        (first.id, &first.name, first.partitions)
    );
    let applied = store.tables().applied().expect("tables can be read");
    let numbers: Vec<_> = applied.iter().map(|applied| applied.partition.0).collect();
    assert_eq!(
        numbers,
        (0..PARTITIONS).collect::<Vec<_>>(),
        "one entry for every partition in order"
    );
    store.close().expect("a store with space can be closed");
}

fn a_row_comes_back_as_it_was_written<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let payload = PayloadRef {
        iid: Iid::new(P0, 2),
        execution: 3,
        n: u32::MAX,
        len: 1 << 30,
        crc: 0xdead_beef,
    };
    let full = row_with(2, "@counter@\u{e4}\u{1f600}", |row| {
        row.execution = u32::MAX;
        row.name = "Z\u{e4}hler'; --".into();
        row.version = "2.1".into();
        row.status = Status::Failed;
        row.created = Timestamp::from_ticks(-1);
        row.completed = Some(Timestamp::MAX);
        row.parent = Some(InstanceId::from_stored("parent"));
        row.tags = Tags::from([
            ("color".into(), "\"r\u{f6}t\"\n\0".into()),
            (String::new(), String::new()),
        ]);
        row.wake = Wake::At(at(5));
        row.input = Some(Value::Inline(Bytes::from_static(&[0xff, 0, 0xfe])));
        row.output = Some(Value::Ref(payload));
        row.custom_status = Some(Value::text("a\0b"));
        let cause = Failure { stack: "at main".into(), ..Failure::new("Io", "refused") };
        row.failure = Some(Failure::new("Outer", "it \"failed\"").caused_by(cause.fatal()));
    });
    let bare = row_with(1, "bare", |row| {
        row.input = Some(Value::empty());
        row.live = Bytes::new();
        row.wake = Wake::Now;
    });
    session.rows(vec![bare.clone(), full.clone()]);
    let ids =
        [&full.row.id, &InstanceId::from_stored("unknown"), &bare.row.id].map(InstanceId::clone);
    let found = session.tables().find(&ids).expect("tables can be read");
    assert_eq!(
        found,
        [Some(full.row.clone()), None, Some(bare.row)],
        "answers come in the order of the ids"
    );
    let by_number = |iid| session.tables().row(iid).expect("tables can be read");
    assert_eq!(by_number(full.row.iid), Some(full.row.clone()));
    assert_eq!(by_number(Iid::new(P0, 9)), None);
    let filter = Filter { id_prefix: Some("@".into()), ..Filter::default() };
    let page =
        session.tables().list(&filter, Order::OldestFirst, None, 10).expect("tables can be read");
    assert_eq!(page.rows, [Row { live: Bytes::new(), ..full.row }], "lists leave out `live` alone");
    session.close();
}

fn folding_twice_changes_nothing<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let mut first = row(1, "a");
    first.chunks.push(events(first.row.iid, 1, 0, 2));
    let first = session.fold(P0, Fold { rows: vec![first], ..empty_fold() });
    let second = row_with(1, "a", |row| row.status = Status::Completed);
    let second = Fold { rows: vec![second], meta: Bytes::from_static(b"second"), ..empty_fold() };
    let second = session.fold(P0, second);
    session.store.fold(&[first.clone(), second.clone()]).expect("folding again is allowed");
    session.store.fold(&[first]).expect("folding again is allowed");
    assert_eq!(session.find("a").map(|row| row.status), Some(Status::Completed));
    assert_eq!(session.chunks(Iid::new(P0, 1), 1).len(), 1);
    let applied = session.tables().applied().expect("tables can be read");
    assert_eq!((applied[0].group, &applied[0].meta[..]), (second.upto, &b"second"[..]));
    session.close();
}

fn a_fold_replaces_the_row_and_adds_to_the_history<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let iid = Iid::new(P0, 1);
    for (turn, seq) in [(0, 0), (1, 2), (2, 4)] {
        let mut folded = row_with(1, "a", |row| row.updated = at(turn));
        folded.chunks.push(events(iid, 1, seq, 2));
        session.rows(vec![folded]);
    }
    assert_eq!(session.find("a").map(|row| row.updated), Some(at(2)));
    assert_eq!(session.chunks(iid, 1), [0, 2, 4].map(|seq| events(iid, 1, seq, 2)));
    assert_eq!(session.chunks(iid, 2), [], "another execution has a history of its own");
    session.close();
}

fn a_merged_chunk_takes_the_place_of_those_it_covers<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let iid = Iid::new(P0, 1);
    let mut folded = row(1, "a");
    folded.chunks.extend([0, 2, 4].map(|seq| events(iid, 1, seq, 2)));
    session.rows(vec![folded]);
    let mut folded = row(1, "a");
    folded.chunks.push(events(iid, 1, 0, 4));
    session.rows(vec![folded]);
    assert_eq!(session.chunks(iid, 1), [events(iid, 1, 0, 4), events(iid, 1, 4, 2)]);
    session.close();
}

fn chunks_are_read_from_an_event_on_and_up_to_a_size<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let iid = Iid::new(P0, 1);
    let mut folded = row(1, "a");
    folded.chunks.extend([0, 10, 20].map(|seq| events(iid, 1, seq, 10)));
    session.rows(vec![folded]);
    let seqs = |from, bytes_max| -> Vec<u32> {
        let chunks = session.tables().chunks(iid, 1, from, bytes_max).expect("tables can be read");
        chunks.iter().map(|chunk| chunk.seq).collect()
    };
    assert_eq!(seqs(0, usize::MAX), [0, 10, 20]);
    assert_eq!(seqs(9, usize::MAX), [0, 10, 20], "the chunk that holds the event comes first");
    assert_eq!(seqs(10, usize::MAX), [10, 20]);
    assert_eq!(seqs(29, 0), [20], "one chunk comes whatever its size");
    assert_eq!(seqs(30, usize::MAX), [] as [u32; 0]);
    assert_eq!(seqs(0, 1), [0]);
    assert_eq!(
        seqs(0, events(iid, 1, 0, 10).bytes.len() + 1),
        [0, 10],
        "the chunk that reaches the size is the last"
    );
    session.close();
}

fn older_executions_go_when_the_row_says_so<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let iid = Iid::new(P0, 1);
    let payload =
        |execution| (payload_of(iid, execution, 7, b"bytes"), Bytes::from_static(b"bytes"));
    let generation = |execution, keep_from| {
        let mut folded = row_with(1, "a", |row| row.execution = execution);
        folded.keep_from = keep_from;
        folded.chunks.push(events(iid, execution, 0, 1));
        folded.payloads.push(payload(execution));
        folded
    };
    session.rows(vec![generation(1, 1)]);
    session.rows(vec![generation(2, 1)]);
    assert_eq!(session.chunks(iid, 1).len(), 1, "a generation is kept as long as it is wanted");
    session.rows(vec![generation(3, 3)]);
    let kept: Vec<_> = (1..=3).map(|execution| session.chunks(iid, execution).len()).collect();
    assert_eq!(kept, [0, 0, 1]);
    assert!(session.tables().payload(&payload(2).0).is_err());
    assert!(session.tables().payload(&payload(3).0).is_ok());
    session.close();
}

fn purge(purged: &[(u64, u32)]) -> Fold {
    let purged =
        purged.iter().map(|(n, execution)| Purged { iid: Iid::new(P0, *n), execution: *execution });
    Fold { purged: purged.collect(), ..empty_fold() }
}

fn a_purge_hides_at_once_and_for_good<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let iid = Iid::new(P0, 1);
    let mut gone = row_with(1, "gone", |row| row.wake = Wake::Now);
    gone.chunks.push(events(iid, 1, 0, 1));
    gone.payloads.push((payload_of(iid, 1, 1, b"x"), Bytes::from_static(b"x")));
    session.rows(vec![gone.clone(), row(2, "kept")]);
    // A row that comes with its own purge is purged as well.
    session.fold(P0, Fold { rows: vec![gone], ..purge(&[(1, 1)]) });
    let is_gone = |session: &Session<S>| {
        assert_eq!(session.find("gone"), None);
        assert_eq!(session.tables().row(iid).expect("tables can be read"), None);
        assert_eq!(session.list(&Filter::default(), Order::OldestFirst), ["kept"]);
        assert_eq!(session.chunks(iid, 1), []);
        assert!(session.tables().payload(&payload_of(iid, 1, 1, b"x")).is_err());
        assert_eq!(session.tables().due(Timestamp::MAX, None, 9).expect("tables can be read"), []);
        assert_eq!(
            session.tables().count(&Filter::default(), PATIENCE).expect("tables can be read"),
            (1, true)
        );
    };
    is_gone(&session);
    delete_all(&session);
    is_gone(&session);
    session.close();
    let (session, _) = Session::begin(open(Which::Same));
    is_gone(&session);
    session.close();
}

fn delete_all<S: Store>(session: &Session<S>) {
    while session.tables().purge_step().expect("tables can be written") {}
    while session.tables().shrink_step().expect("tables can be written") {}
}

fn a_purged_id_is_free_and_a_newer_execution_stays<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let newer = |execution| {
        let mut folded = row_with(2, "restarted", |row| row.execution = execution);
        folded.chunks.push(events(folded.row.iid, execution, 0, 1));
        folded
    };
    session.rows(vec![row(1, "again"), newer(1)]);
    session.fold(P0, Fold { rows: vec![newer(2), row(3, "again")], ..purge(&[(1, 1), (2, 1)]) });
    for _ in 0..2 {
        assert_eq!(session.find("again").map(|row| row.iid), Some(Iid::new(P0, 3)));
        assert_eq!(session.find("restarted").map(|row| row.execution), Some(2));
        assert_eq!(session.chunks(Iid::new(P0, 2), 1), []);
        assert_eq!(session.chunks(Iid::new(P0, 2), 2).len(), 1);
        delete_all(&session);
    }
    session.close();
}

fn a_large_purge_is_carried_out_in_steps<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    const COUNT: u64 = 450;
    let mut session = Session::new(open);
    let name = |n: u64| format!("i{n:04}");
    let rows = (1..=COUNT).map(|n| {
        let mut folded = row(n, &name(n));
        folded.chunks.push(events(folded.row.iid, 1, 0, 1));
        folded
    });
    session.rows(rows.collect());
    let all: Vec<_> = (1..COUNT).map(|n| (n, 1)).collect();
    // One id is used again in the same fold, one later while rows may still wait to be deleted.
    session.fold(P0, Fold { rows: vec![row(COUNT + 1, &name(1))], ..purge(&all) });
    session.rows(vec![row(COUNT + 2, &name(2))]);
    for _ in 0..2 {
        assert_eq!(
            session.list(&Filter::default(), Order::OldestFirst),
            [name(COUNT), name(1), name(2)]
        );
        assert_eq!(session.find(&name(2)).map(|row| row.iid), Some(Iid::new(P0, COUNT + 2)));
        assert_eq!(session.find(&name(3)), None);
        assert_eq!(session.chunks(Iid::new(P0, 5), 1), []);
        assert_eq!(
            session.tables().count(&Filter::default(), PATIENCE).expect("tables can be read"),
            (3, true)
        );
        delete_all(&session);
    }
    session.close();
}

fn payload_of(iid: Iid, execution: u32, n: u32, bytes: &[u8]) -> PayloadRef {
    PayloadRef { iid, execution, n, len: bytes.len() as u32, crc: crc32c::crc32c(bytes) }
}

fn payloads_are_checked<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let iid = Iid::new(P0, 1);
    let good = payload_of(iid, 1, 1, b"hello");
    let mut folded = row(1, "a");
    folded.payloads.push((good, Bytes::from_static(b"hello")));
    session.rows(vec![folded]);
    let tables = session.tables();
    assert_eq!(tables.payload(&good).expect("it was written"), "hello");
    let text =
        |payload| tables.payload(&payload).expect_err("such a payload does not exist").to_string();
    let other =
        "payload 1 of instance number 1 has other bytes than were written; the tables are damaged";
    assert_eq!(text(PayloadRef { crc: good.crc ^ 1, ..good }), other);
    assert_eq!(text(PayloadRef { len: 4, ..good }), other);
    let missing = "payload 2 of instance number 1 is missing; the tables are damaged";
    assert_eq!(text(PayloadRef { n: 2, ..good }), missing);
    session.close();
}

fn what_is_due_comes_in_order_and_by_pages<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let wakes = [
        Wake::At(at(3)),
        Wake::Now,
        Wake::Never,
        Wake::At(at(1)),
        Wake::Now,
        Wake::At(at(3)),
        Wake::At(at(9)),
    ];
    let rows =
        wakes.iter().zip(1..).map(|(wake, n)| row_with(n, &n.to_string(), |row| row.wake = *wake));
    session.rows(rows.collect());
    let due = |after: Option<&Due>, limit| {
        session.tables().due(at(3), after, limit).expect("tables can be read")
    };
    let all = due(None, 100);
    let found: Vec<_> = all.iter().map(|due| (due.id.as_str(), due.wake)).collect();
    let third = Wake::At(at(3));
    assert_eq!(
        found,
        [("2", Wake::Now), ("5", Wake::Now), ("4", Wake::At(at(1))), ("1", third), ("6", third)]
    );
    let mut walked: Vec<Due> = Vec::new();
    while let [next] = &due(walked.last(), 1)[..] {
        walked.push(next.clone());
    }
    assert_eq!(walked, all);
    // What is no longer due leaves.
    session.rows(vec![row(2, "2")]);
    assert_eq!(session.tables().due(at(0), None, 100).expect("tables can be read").len(), 1);
    session.close();
}

/// Twelve instances that differ in everything a filter can ask for.
fn varied() -> Vec<FoldedRow> {
    let statuses = [Status::Running, Status::Completed, Status::Failed, Status::Pending];
    (1..=12_u64)
        .map(|n| {
            let id = if n % 4 == 0 { format!("@counter@{n}") } else { format!("order-{n}") };
            row_with(n, &id, |row| {
                // Several are created at the same time, and not in the order of their numbers.
                row.created = at(((n * 5) % 7).cast_signed());
                row.status = statuses[n as usize % 4];
                row.completed = (n % 4 == 1).then(|| at(100 + n.cast_signed()));
                row.name = if n % 3 == 0 { "Shipping".into() } else { "Checkout".into() };
                row.parent = (n % 5 == 0).then(|| InstanceId::from_stored("root"));
                row.tags = Tags::from([
                    ("parity".into(), (n % 2).to_string()),
                    ("quo\"te".into(), "\u{e4}\n".into()),
                ]);
                row.input = Some(Value::text(format!("{{\"amount\":{n}}}")));
            })
        })
        .collect()
}

fn filters() -> Vec<Filter> {
    let all = Filter::default();
    let text = |text: &str| Some(text.to_owned());
    vec![
        all.clone(),
        Filter { kind: Some(Kind::Entity), ..all.clone() },
        Filter { kind: Some(Kind::Orchestration), statuses: vec![Status::Failed], ..all.clone() },
        Filter { statuses: vec![Status::Completed], ..all.clone() },
        Filter { statuses: vec![Status::Failed, Status::Running, Status::Failed], ..all.clone() },
        Filter { statuses: vec![Status::Terminated], ..all.clone() },
        Filter { created_from: Some(at(2)), created_to: Some(at(5)), ..all.clone() },
        Filter {
            statuses: vec![Status::Completed, Status::Pending],
            created_from: Some(at(3)),
            ..all.clone()
        },
        Filter { completed_from: Some(at(103)), completed_to: Some(at(107)), ..all.clone() },
        Filter { completed_to: Some(at(0)), ..all.clone() },
        Filter { name: text("sHIPPING"), ..all.clone() },
        Filter { name: text("Ship"), ..all.clone() },
        Filter { id_prefix: text("order-1"), ..all.clone() },
        Filter { id_prefix: text("order-1\u{10ffff}"), ..all.clone() },
        Filter { id_prefix: text(""), ..all.clone() },
        Filter { parent: Some(InstanceId::from_stored("root")), ..all.clone() },
        Filter { parent: Some(InstanceId::from_stored("nobody")), ..all.clone() },
        Filter { tags: vec![("parity".into(), "1".into())], ..all.clone() },
        Filter {
            tags: vec![("parity".into(), "1".into()), ("none".into(), String::new())],
            ..all.clone()
        },
        Filter {
            tags: vec![("quo\"te".into(), "\u{e4}\n".into())],
            statuses: vec![Status::Failed],
            ..all.clone()
        },
        Filter {
            input_contains: text("amount\":1"),
            statuses: vec![Status::Completed],
            ..all.clone()
        },
        Filter { input_contains: text(""), name: text("checkout"), created_to: Some(at(4)), ..all },
    ]
}

fn lists_show_what_the_filter_says_in_both_orders<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let written = varied();
    session.rows(written.clone());
    for filter in filters() {
        let mut rows: Vec<_> =
            written.iter().map(|folded| &folded.row).filter(|row| filter.matches(row)).collect();
        rows.sort_by_key(|row| (row.created, row.iid));
        let mut expected: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
        assert_eq!(session.list(&filter, Order::OldestFirst), expected, "{filter:?}");
        for limit in 1..=expected.len() + 1 {
            assert_eq!(
                walk(&session, &filter, Order::OldestFirst, limit),
                expected,
                "{filter:?} by {limit}"
            );
        }
        expected.reverse();
        assert_eq!(session.list(&filter, Order::NewestFirst), expected, "{filter:?}");
        assert_eq!(walk(&session, &filter, Order::NewestFirst, 2), expected, "{filter:?}");
    }
    let none = session
        .tables()
        .list(&Filter::default(), Order::OldestFirst, None, 0)
        .expect("tables can be read");
    assert!(none.rows.is_empty() && none.next.is_none(), "a page of none goes nowhere");
    session.close();
}

/// All ids, by pages of at most `limit`.
fn walk<S: Store>(
    session: &Session<S>,
    filter: &Filter,
    order: Order,
    limit: usize,
) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = session.tables().list(filter, order, after, limit).expect("tables can be read");
        assert!(page.rows.len() <= limit, "a page has its limit");
        assert!(page.next.is_none() || !page.rows.is_empty(), "an empty page is the last");
        ids.extend(page.rows.iter().map(|row| row.id.to_string()));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

fn walking_pages_shows_each_instance_once_while_others_come_and_change<S: Store>(
    open: &mut dyn FnMut(Which) -> S,
) {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut session = Session::new(open);
        let stays: Vec<_> = (1..=20_u64)
            .map(|n| row_with(n, &format!("stays-{n}"), |row| row.created = at(5)))
            .collect();
        let leaves =
            (21..=30_u64).map(|n| row_with(n, &format!("leaves-{n}"), |row| row.created = at(5)));
        session.rows(stays.iter().cloned().chain(leaves).collect());
        let (mut seen, mut after, mut n): (Vec<String>, Option<Cursor>, u64) =
            (Vec::new(), None, 100);
        loop {
            let page = session
                .tables()
                .list(&Filter::default(), order, after, 3)
                .expect("tables can be read");
            seen.extend(page.rows.iter().map(|row| row.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
            // Between two pages instances come before, among and after the others, one changes, and one goes.
            let mut rows: Vec<_> =
                [1_i64, 5, 9].map(|second| arrival(n + second.unsigned_abs(), second)).to_vec();
            let changed = &stays[n as usize % stays.len()];
            rows.push(FoldedRow {
                row: Row { status: Status::Completed, ..changed.row.clone() },
                ..changed.clone()
            });
            rows.sort_by_key(|folded| folded.row.iid);
            let purged = if n < 200 { purge(&[(21 + n / 10 % 10, 1)]) } else { empty_fold() };
            session.fold(P0, Fold { rows: if n < 200 { rows } else { Vec::new() }, ..purged });
            n += 10;
        }
        let of_those: Vec<_> = seen.iter().filter(|id| id.starts_with("stays-")).cloned().collect();
        assert_eq!(of_those.len(), stays.len(), "each instance that stays is seen once: {seen:?}");
        assert_eq!(BTreeSet::from_iter(&seen).len(), seen.len(), "nothing is seen twice: {seen:?}");
        session.close();
    }
}

fn arrival(n: u64, second: i64) -> FoldedRow {
    row_with(n, &format!("comes-{n}"), |row| row.created = at(second))
}

fn counts_count_what_lists_show<S: Store>(open: &mut dyn FnMut(Which) -> S) {
    let mut session = Session::new(open);
    let written = varied();
    session.rows(written.clone());
    for filter in filters() {
        let expected = written.iter().filter(|folded| filter.matches(&folded.row)).count() as u64;
        let counted = session.tables().count(&filter, PATIENCE).expect("tables can be read");
        assert_eq!(counted, (expected, true), "{filter:?}");
    }
    session.close();
}
