//! One life of a host: partitions over a store, driven by hand.
//!
//! It does what the real host's threads do, one step at a time and in an order that someone else chooses.
//!
//! V1  Inputs from one source to one partition keep their order; all else may overtake.
//! V2  Effects are released once the store has said that their group is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as Task, Poll, Waker},
};

use everstep_model::{
    Event, EventId, GroupNo, Iid, InstanceId, Outcome, PartitionId, Timestamp, Value, stored,
};
use everstep_runtime::partition::{
    Code, Dispatch, Effect, HandOver, Input, Options, Output, Partition, Response, Ticket,
};
use everstep_store::{
    Direct, Due, Error as StoreError, Fold, Hub, Mode, Observer, Pumped, Record, Store, Tables,
    Wake, Writer, chunk,
};
use everstep_store_embedded::{LogOptions, Logged, LoggedOptions, disk::SimulatedDisk};
use everstep_store_memory::MemoryTables;
use everstep_worker::{
    BoxFuture, EntityBatch, EntityOptions, EntityReply, TurnReply, TurnRequest, Turns, Worker,
};

const FOLDER: &str = "/hub";
/// Groups of one partition that may be on their way to the disk at once.
const GROUPS_IN_FLIGHT: u64 = 2;

/// What a host is opened over; it outlives the host.
#[derive(Clone)]
pub(crate) struct Medium {
    pub(crate) mode: Mode,
    pub(crate) disk: SimulatedDisk,
    pub(crate) tables: MemoryTables,
    pub(crate) segment_bytes: u64,
}

/// Either store.
pub(crate) enum AnyStore {
    Log(Box<Logged<SimulatedDisk, MemoryTables>>),
    Direct(Box<Direct<MemoryTables>>),
}

impl AnyStore {
    fn open(medium: &Medium) -> Result<(Self, Hub), StoreError> {
        let (tables, hub) = medium.tables.reopen();
        let store = match medium.mode {
            Mode::Direct => {
                Self::Direct(Box::new(Direct::new(tables, hub.clone(), Writer::Manual)))
            }
            Mode::Log => {
                let options = LoggedOptions {
                    log: LogOptions::small(medium.segment_bytes),
                    writer: Writer::Manual,
                    ..LoggedOptions::default()
                };
                let disk = medium.disk.clone();
                Self::Log(Box::new(Logged::open(
                    disk,
                    Path::new(FOLDER),
                    hub.clone(),
                    tables,
                    options,
                )?))
            }
        };
        Ok((store, hub))
    }

    pub(crate) fn pump(&self) -> Pumped {
        match self {
            Self::Log(store) => store.pump(),
            Self::Direct(store) => store.pump(),
        }
    }

    pub(crate) fn tables(&self) -> &MemoryTables {
        match self {
            Self::Log(store) => store.tables(),
            Self::Direct(store) => store.tables(),
        }
    }

    fn recover(&self, ids: &[PartitionId], sink: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        match self {
            Self::Log(store) => store.recover(ids, sink),
            Self::Direct(store) => store.recover(ids, sink),
        }
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        match self {
            Self::Log(store) => store.observe(observer),
            Self::Direct(store) => store.observe(observer),
        }
    }

    pub(crate) fn append(&self, record: Record) {
        match self {
            Self::Log(store) => store.append(record),
            Self::Direct(store) => store.append(record),
        }
    }

    pub(crate) fn fold(&self, folds: &[Fold]) -> Result<(), StoreError> {
        match self {
            Self::Log(store) => store.fold(folds),
            Self::Direct(store) => store.fold(folds),
        }
    }
}

/// What the store said.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) durable: Mutex<VecDeque<(PartitionId, GroupNo)>>,
    pub(crate) failed: Mutex<Option<String>>,
}

impl Observer for Heard {
    fn durable(&self, partition: PartitionId, group: GroupNo) {
        lock(&self.durable).push_back((partition, group));
    }

    fn disk_full(&self, _: bool) {}

    fn failed(&self, error: StoreError) {
        *lock(&self.failed) = Some(error.to_string());
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What partitions ask of the worker's registry.
struct Registry(Arc<dyn Worker>);

impl Code for Registry {
    fn identity(&self) -> String {
        self.0.identity().to_owned()
    }

    fn entity(&self, name: &str) -> Option<EntityOptions> {
        self.0.entity_options(name)
    }

    fn has_activity(&self, name: &str) -> bool {
        self.0.activity_options(name).is_some()
    }
}

/// How turns of the worker are tampered with.
pub(crate) type Tamper = Arc<dyn Fn(&TurnRequest<'_>, TurnReply) -> TurnReply + Send + Sync>;

/// The worker's turns, with a word of ours in between.
struct Between {
    inner: Box<dyn Turns>,
    tamper: Option<Tamper>,
}

impl Turns for Between {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        let reply = self.inner.turn(request);
        match &self.tamper {
            Some(tamper) => tamper(request, reply),
            None => reply,
        }
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        self.inner.entity(batch)
    }

    fn evict(&mut self, iid: Iid) {
        self.inner.evict(iid);
    }

    fn resident(&self) -> usize {
        self.inner.resident()
    }
}

/// Inputs of one lane keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Durable,
    Folded,
    From(PartitionId),
    /// A lane of its own.
    Free(u64),
}

/// Names a call.
pub(crate) type Key = (Iid, u32, EventId);

/// Work beside the partitions.
#[derive(Debug)]
pub(crate) enum Job {
    Load(PartitionId, Vec<InstanceId>),
    History(PartitionId, InstanceId, Iid, u32),
    Entity(PartitionId, Box<EntityBatch>),
    /// Asks the tables what comes due.
    Wake,
}

/// A fold between hand-over and the tables.
pub(crate) struct Folding {
    pub(crate) left: Vec<PartitionId>,
    pub(crate) numbers: Vec<(PartitionId, u64)>,
    pub(crate) folds: Vec<Fold>,
}

/// One life.
pub(crate) struct Host {
    pub(crate) store: AnyStore,
    pub(crate) heard: Arc<Heard>,
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) effects: Vec<VecDeque<(GroupNo, Vec<Effect>)>>,
    pub(crate) mail: Vec<Vec<(Lane, Input)>>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) activities: BTreeMap<Key, Box<Dispatch>>,
    pub(crate) folding: Option<Folding>,
    pub(crate) horizon: std::time::Duration,
    lanes: AtomicU64,
}

/// What came out of a partition that the world has to look at.
#[derive(Debug)]
pub(crate) enum Said {
    Appended(PartitionId, bytes::Bytes),
    Reply(Ticket, Response),
    LoadsHistory,
}

impl Host {
    /// Opens the store and recovers all partitions, as the real host does.
    pub(crate) fn open(
        medium: &Medium,
        worker: Arc<dyn Worker>,
        options: &Options,
        tamper: Option<&Tamper>,
        keep: &mut dyn FnMut(&Record) -> bool,
    ) -> Result<Self, String> {
        let (store, hub) = AnyStore::open(medium).map_err(|error| error.to_string())?;
        let code: Arc<dyn Code> = Arc::new(Registry(worker.clone()));
        let mut partitions = Vec::new();
        for applied in store.tables().applied().map_err(|error| error.to_string())? {
            let inner = worker.turns(applied.partition);
            let turns = Box::new(Between { inner, tamper: tamper.cloned() });
            let mut partition = Partition::new(
                applied.partition,
                &hub,
                medium.mode,
                options.clone(),
                code.clone(),
                turns,
            );
            partition.restore(&applied).map_err(|error| error.to_string())?;
            partitions.push(partition);
        }
        let ids: Vec<_> = partitions.iter().map(Partition::id).collect();
        let mut records = Vec::new();
        store
            .recover(&ids, &mut |record| records.push(record))
            .map_err(|error| error.to_string())?;
        for record in records.iter().filter(|record| keep(record)) {
            let mut find = |iid| store.tables().row(iid).expect("tables in memory can be read");
            partitions[usize::from(record.partition.0)]
                .replay(&record.bytes, &mut find)
                .map_err(|error| error.to_string())?;
        }
        let heard = Arc::new(Heard::default());
        store.observe(heard.clone());
        let count = partitions.len();
        Ok(Self {
            store,
            heard,
            worker,
            partitions,
            effects: (0..count).map(|_| VecDeque::new()).collect(),
            mail: (0..count).map(|_| Vec::new()).collect(),
            jobs: vec![Job::Wake],
            activities: BTreeMap::new(),
            folding: None,
            horizon: options.horizon,
            lanes: AtomicU64::new(0),
        })
    }

    pub(crate) fn free(&self) -> Lane {
        Lane::Free(self.lanes.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn post(&mut self, to: PartitionId, lane: Lane, input: Input) {
        self.mail[usize::from(to.0)].push((lane, input));
    }

    pub(crate) fn post_free(&mut self, to: PartitionId, input: Input) {
        let lane = self.free();
        self.post(to, lane, input);
    }

    /// Takes up what is outstanding.
    pub(crate) fn resume(&mut self, now: Timestamp) -> Vec<Said> {
        let mut said = Vec::new();
        for index in 0..self.partitions.len() {
            let mut out = Vec::new();
            self.partitions[index].resume(now, &mut out);
            said.extend(self.outputs(index, out));
        }
        said
    }

    pub(crate) fn step(&mut self, index: usize, now: Timestamp, input: Input) -> Vec<Said> {
        let mut out = Vec::new();
        self.partitions[index].step(now, input, &mut out);
        self.outputs(index, out)
    }

    pub(crate) fn may_close(&self, index: usize) -> bool {
        self.partitions[index].has_work() && self.partitions[index].in_flight() < GROUPS_IN_FLIGHT
    }

    pub(crate) fn close_group(&mut self, index: usize, now: Timestamp) -> Vec<Said> {
        let mut out = Vec::new();
        self.partitions[index].close_group(now, &mut out);
        self.outputs(index, out)
    }

    fn outputs(&mut self, index: usize, out: Vec<Output>) -> Vec<Said> {
        let id = self.partitions[index].id();
        let mut said = Vec::new();
        for output in out {
            match output {
                // Copies are a matter of the threads around a partition.
                Output::Changed(_) => {}
                Output::Append(record, effects) => {
                    said.push(Said::Appended(id, record.bytes.clone()));
                    self.effects[index].push_back((record.group, effects));
                    self.store.append(record);
                }
                Output::Reply(ticket, response) => said.push(Said::Reply(ticket, response)),
                Output::Load(ids) => self.jobs.push(Job::Load(id, ids)),
                Output::LoadHistory(instance, iid, execution) => {
                    said.push(Said::LoadsHistory);
                    self.jobs.push(Job::History(id, instance, iid, execution));
                }
            }
        }
        said
    }

    /// What the tables know of a history, with its values.
    pub(crate) fn folded_history(&self, iid: Iid, execution: u32) -> Result<Vec<Event>, String> {
        let tables = self.store.tables();
        let mut events = raw_history(tables, iid, execution)?;
        everstep_engine::resolve(&mut events, &mut |payload| tables.payload(payload))
            .map_err(|error| error.to_string())?;
        Ok(events)
    }

    /// Instances that come due within the horizon.
    pub(crate) fn due(&self, upto: Timestamp) -> Vec<Due> {
        self.store.tables().due(upto, None, usize::MAX).expect("tables in memory can be read")
    }

    pub(crate) fn wake(&mut self, now: Timestamp) {
        for due in self.due(now.after(self.horizon)) {
            let at = match due.wake {
                Wake::At(at) => at,
                Wake::Now | Wake::Never => Timestamp::EPOCH,
            };
            self.post_free(due.iid.partition(), Input::Due(vec![(due.id, at)]));
        }
    }

    /// Runs an attempt of an activity.
    pub(crate) fn run_activity(&self, dispatch: &Dispatch) -> Result<Outcome, String> {
        let mut call = dispatch.call.clone();
        if let Value::Ref(payload) = &call.input {
            let bytes = self.store.tables().payload(payload).map_err(|error| error.to_string())?;
            call.input = bytes.into();
        }
        Ok(at_once(self.worker.activity(call)))
    }

    pub(crate) fn run_entity(&self, batch: EntityBatch) -> EntityReply {
        at_once(self.worker.entity(batch))
    }

    /// Lets every partition that is between two groups hand over. Tells whether all have.
    pub(crate) fn hand_over(&mut self, now: Timestamp) -> (bool, Vec<Said>) {
        let Some(mut folding) = self.folding.take() else { return (false, Vec::new()) };
        let mut said = Vec::new();
        for index in 0..self.partitions.len() {
            let id = self.partitions[index].id();
            if !folding.left.contains(&id) {
                continue;
            }
            if self.partitions[index].has_open_group() && self.may_close(index) {
                said.extend(self.close_group(index, now));
            }
            if !self.partitions[index].has_open_group() {
                folding.left.retain(|left| *left != id);
                let HandOver { number, fold } = self.partitions[index].hand_over();
                folding.numbers.push((id, number));
                folding.folds.push(fold);
            }
        }
        let all = folding.left.is_empty();
        self.folding = Some(folding);
        (all, said)
    }

    /// Whether nothing moves any more unless time passes.
    pub(crate) fn is_idle(&self) -> bool {
        self.mail.iter().all(Vec::is_empty)
            && self.jobs.is_empty()
            && self.activities.is_empty()
            && self.folding.is_none()
            && self
                .partitions
                .iter()
                .all(|partition| !partition.has_work() && partition.in_flight() == 0)
    }
}

/// The folded events of an execution as they are stored.
pub(crate) fn raw_history(
    tables: &MemoryTables,
    iid: Iid,
    execution: u32,
) -> Result<Vec<Event>, String> {
    let chunks = tables.chunks(iid, execution, 0, usize::MAX).map_err(|error| error.to_string())?;
    let mut events = Vec::new();
    for found in chunks {
        let plain = chunk::unpack(&found.bytes).map_err(|error| error.to_string())?;
        let skip = events.len().saturating_sub(found.seq as usize);
        for event in stored::events(&plain).skip(skip) {
            events.push(event.map_err(|error| error.to_string())?);
        }
    }
    Ok(events)
}

/// The code of a simulation never waits for anything outside.
fn at_once<T>(future: BoxFuture<T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the code of a simulation waits for nothing outside"),
    }
}

use std::future::Future as _;
