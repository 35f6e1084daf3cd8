//! One life of the partitions of a hub: what is in memory, and dies in a crash.
//!
//! F1  Messages from one partition to another keep their order; all else may overtake.
//! F2  Effects are released once their group is in the log.
//! F3  Nothing is folded: the log holds everything, so nothing is ever read from tables.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    pin::pin,
    sync::Arc,
    task::{Context as Task, Poll, Wake, Waker},
    thread::Thread,
    time::Duration,
};

use everstep_model::{EventId, Iid, PartitionId, Timestamp};
use everstep_runtime::partition::{
    Code, Dispatch, Effect, Input, Options as PartitionOptions, Output, Partition, Response, Ticket,
};
use everstep_store::{Hub, Mode, Record};
use everstep_worker::{BoxFuture, EntityBatch};

use super::{Options, worker::TestWorker};

/// Groups of one partition that may be on their way to the log at once, as in a host.
const GROUPS_IN_FLIGHT: u64 = 2;

type Key = (Iid, u32, EventId);

/// Something that can happen next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice {
    /// The first input of the n-th lane arrives.
    Deliver(usize),
    /// The oldest group of this partition reaches the log.
    Log(usize),
    /// This partition takes its turns.
    Close(usize),
    /// The n-th activity runs.
    Activity(usize),
    /// The n-th batch of an entity runs.
    Entity(usize),
}

pub(super) struct Life {
    worker: Arc<TestWorker>,
    runtime: Option<tokio::runtime::Handle>,
    partitions: Vec<Partition>,
    /// Groups on their way to the log, per partition.
    in_flight: Vec<VecDeque<(Record, Vec<Effect>)>>,
    /// By receiver and sender.
    lanes: BTreeMap<(PartitionId, PartitionId), VecDeque<Input>>,
    activities: BTreeMap<Key, Box<Dispatch>>,
    /// Calls of activities that nobody registered.
    unregistered: VecDeque<Box<Dispatch>>,
    entities: VecDeque<(PartitionId, Box<EntityBatch>)>,
    pub(super) answers: HashMap<Ticket, Response>,
}

impl Life {
    /// Rebuilds all partitions from the log and takes up what is outstanding.
    pub(super) fn begin(
        worker: &Arc<TestWorker>,
        hub: &Hub,
        options: &Options,
        log: &[Record],
        now: Timestamp,
    ) -> Self {
        let ids = || (0..hub.partitions).map(PartitionId);
        let partition = |id| {
            let code: Arc<dyn Code> = worker.clone();
            let turns = worker.turns(id, options.replay);
            Partition::new(id, hub, Mode::Log, in_memory(), code, turns)
        };
        let mut life = Self {
            worker: worker.clone(),
            runtime: options.runtime.clone(),
            partitions: ids().map(partition).collect(),
            in_flight: ids().map(|_| VecDeque::new()).collect(),
            lanes: BTreeMap::new(),
            activities: BTreeMap::new(),
            unregistered: VecDeque::new(),
            entities: VecDeque::new(),
            answers: HashMap::new(),
        };
        for record in log {
            life.partitions[usize::from(record.partition.0)]
                .replay(&record.bytes, &mut |_| None)
                .expect("what was encoded in this process decodes");
        }
        for index in 0..life.partitions.len() {
            let mut out = Vec::new();
            life.partitions[index].resume(now, &mut out);
            life.take(index, now, out);
        }
        life
    }

    pub(super) fn step(&mut self, to: PartitionId, now: Timestamp, input: Input) {
        let index = usize::from(to.0);
        let mut out = Vec::new();
        self.partitions[index].step(now, input, &mut out);
        self.take(index, now, out);
    }

    pub(super) fn close(&mut self, index: usize, now: Timestamp) {
        let mut out = Vec::new();
        self.partitions[index].close_group(now, &mut out);
        self.take(index, now, out);
    }

    fn take(&mut self, index: usize, now: Timestamp, out: Vec<Output>) {
        let id = self.partitions[index].id();
        for output in out {
            match output {
                // Copies are a matter of the threads around a partition.
                Output::Changed(_) => {}
                Output::Append(record, effects) => {
                    self.in_flight[index].push_back((record, effects));
                }
                Output::Reply(ticket, response) => drop(self.answers.insert(ticket, response)),
                Output::Load(ids) => {
                    let rows = ids.into_iter().map(|id| (id, None)).collect();
                    self.step(id, now, Input::Loaded(rows));
                }
                Output::LoadHistory(instance, _, execution) => {
                    self.step(id, now, Input::History(instance, execution, Vec::new()));
                }
            }
        }
    }

    /// How many things can happen next.
    pub(super) fn choices(&self) -> usize {
        self.lanes.len()
            + self.loggable().count()
            + self.closable().count()
            + self.activities.len()
            + self.entities.len()
    }

    /// The n-th of them. The first ones let a partition take in what is there before it takes its turns.
    pub(super) fn choice(&self, mut n: usize) -> Option<Choice> {
        if n < self.lanes.len() {
            return Some(Choice::Deliver(n));
        }
        n -= self.lanes.len();
        let mut groups = self.loggable().map(Choice::Log).chain(self.closable().map(Choice::Close));
        let mut passed = 0;
        for choice in &mut groups {
            if passed == n {
                return Some(choice);
            }
            passed += 1;
        }
        n -= passed;
        if n < self.activities.len() {
            return Some(Choice::Activity(n));
        }
        n -= self.activities.len();
        (n < self.entities.len()).then_some(Choice::Entity(n))
    }

    fn loggable(&self) -> impl Iterator<Item = usize> {
        (0..self.partitions.len()).filter(|index| !self.in_flight[*index].is_empty())
    }

    fn closable(&self) -> impl Iterator<Item = usize> {
        let may = |partition: &Partition| {
            partition.has_work() && partition.in_flight() < GROUPS_IN_FLIGHT
        };
        self.partitions.iter().enumerate().filter_map(move |(at, one)| may(one).then_some(at))
    }

    pub(super) fn deliver(&mut self, n: usize, now: Timestamp) {
        let Some(lane) = self.lanes.keys().nth(n).copied() else { return };
        let Some(inputs) = self.lanes.get_mut(&lane) else { return };
        let input = inputs.pop_front();
        if inputs.is_empty() {
            self.lanes.remove(&lane);
        }
        if let Some(input) = input {
            self.step(lane.0, now, input);
        }
    }

    pub(super) fn next_group(&mut self, index: usize) -> Option<(Record, Vec<Effect>)> {
        self.in_flight[index].pop_front()
    }

    /// A group is in the log: its effects happen.
    pub(super) fn release(&mut self, record: &Record, effects: Vec<Effect>, now: Timestamp) {
        let from = record.partition;
        for effect in effects {
            match effect {
                Effect::Activity(dispatch) => self.queue(dispatch),
                Effect::DropActivities(iid) => {
                    self.activities.retain(|(queued, ..), _| *queued != iid);
                    self.unregistered.retain(|dispatch| dispatch.iid != iid);
                }
                Effect::Entity(batch) => self.entities.push_back((from, batch)),
                Effect::Send(to, at, envelope) => {
                    self.send(to, from, Input::Messages(vec![(at, envelope)]));
                }
                Effect::Acknowledge(source, at) => {
                    self.send(source, from, Input::Acknowledged(from, at));
                }
                Effect::Reply(ticket, response) => drop(self.answers.insert(ticket, response)),
                Effect::Turned(_) => {}
            }
        }
        self.step(from, now, Input::Durable(record.group));
    }

    fn send(&mut self, to: PartitionId, from: PartitionId, input: Input) {
        self.lanes.entry((to, from)).or_default().push_back(input);
    }

    fn queue(&mut self, dispatch: Box<Dispatch>) {
        if self.worker.has_activity(&dispatch.call.name) {
            let key = (dispatch.iid, dispatch.execution, dispatch.call.task);
            self.activities.insert(key, dispatch);
        } else {
            self.unregistered.push_back(dispatch);
        }
    }

    /// Calls that waited for their activity go on if it is there by now.
    pub(super) fn code_changed(&mut self) {
        for dispatch in std::mem::take(&mut self.unregistered) {
            self.queue(dispatch);
        }
    }

    pub(super) fn run_activity(&mut self, n: usize, now: Timestamp) {
        let Some(key) = self.activities.keys().nth(n).copied() else { return };
        let Some(dispatch) = self.activities.remove(&key) else { return };
        let Dispatch { execution, call, .. } = *dispatch;
        let (instance, task) = (call.instance.clone(), call.task);
        let outcome = self.block_on(self.worker.activity(call));
        let home = instance.partition(self.partitions.len() as u16);
        self.step(home, now, Input::ActivityEnded { instance, execution, task, outcome });
    }

    pub(super) fn run_entity(&mut self, n: usize, now: Timestamp) {
        let Some((partition, batch)) = self.entities.remove(n) else { return };
        let entity = batch.entity.clone();
        let reply = self.block_on(self.worker.entity(*batch));
        self.step(partition, now, Input::EntityEnded(entity, reply));
    }

    /// Runs a future on this thread. Between two polls it waits until the future is woken.
    fn block_on<T>(&self, future: BoxFuture<T>) -> T {
        let _entered = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut task = Task::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut task) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// When time alone will move something.
    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.partitions.iter().filter_map(Partition::next_alarm).min()
    }

    /// Lets every partition look at the clock.
    pub(super) fn tick(&mut self, now: Timestamp) {
        for index in 0..self.partitions.len() {
            let id = self.partitions[index].id();
            if self.partitions[index].next_alarm().is_some_and(|at| at <= now) {
                self.step(id, now, Input::Tick);
            }
        }
    }
}

/// Everything stays in memory.
fn in_memory() -> PartitionOptions {
    PartitionOptions {
        memory_bytes: usize::MAX / 2,
        horizon: Duration::MAX,
        ..PartitionOptions::default()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

use std::future::Future as _;
