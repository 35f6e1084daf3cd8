//! A host: partitions shared out over threads, a store behind them, a worker beside them.
//!
//! H1  A partition is owned by one thread. It does no I/O there: records are queued to the store, rows are read elsewhere.
//! H2  Effects are released by the store's writer thread, in order, once their group is durable.
//! H3  A stop drains: no new requests, running activities get their time, everything queued becomes durable, then a last
//!     fold hands memory over to the tables.
//! H4  An error that leaves durability in doubt ends the process; what the disk holds is found out by the next start.
//! H5  A held host runs no code and fires no timer until it is released; one that looks writes nothing at all.
//! H6  An activity that takes the process down is found out and not run for ever: see [`running`].

mod ended;
mod folder;
mod queue;
mod reader;
mod release;
mod running;
mod thread;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use everstep_model::{GroupNo, Iid, InstanceId, Outcome, PartitionId, Timestamp};
use everstep_store::{Error as StoreError, Store, Tables};
use everstep_worker::{
    ActivityCall, ActivityOptions, Answers, BoxFuture, EntityBatch, EntityOptions, EntityReply,
    TurnReply, TurnRequest, Turns, Worker, is_reserved,
};
use tokio::sync::oneshot;

use crate::{
    builtin::WithBuiltins,
    client::Client,
    dispatcher::{Bounds, Dispatcher},
    lifecycle::Listener,
    partition::{
        Audience, Code, Effect, Input, Options as PartitionOptions, Partition, Request, Response,
        Ticket,
    },
    why::Reason,
};
pub(crate) use ended::Asked;
use ended::Ended;
use queue::Queue;
pub(crate) use reader::folded_history;
use running::Running;

/// How often old instances are looked for.
const RETAIN: Duration = Duration::from_mins(1);

/// Whether a host works from the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hold {
    /// It does.
    #[default]
    Work,
    /// It recovers and serves clients, and runs no code and fires no timer until [`Host::release`].
    UntilReleased,
    /// It recovers and reads, and never writes.
    Look,
}

/// How a host works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether it works from the beginning.
    pub hold: Hold,
    /// Activities at once, all functions together.
    pub activities: usize,
    /// Threads for partitions; 0 for one per core, at most one per partition.
    pub threads: usize,
    /// A fold begins when this much log is not folded.
    pub fold_bytes: u64,
    /// A fold begins this long after the last.
    pub fold_interval: Duration,
    /// Instances may take about this much memory, all partitions together.
    pub memory_bytes: usize,
    /// Starts are refused while a partition has this many unanswered requests; other requests at twice that.
    pub requests: usize,
    /// How long running activities are waited for when the host stops.
    pub drain: Duration,
    /// Trees of orchestrations whose root ended this long ago are removed; `None` keeps them.
    pub retention: Option<Duration>,
    /// Where to note what runs, so that an activity that takes the process down is found out. The file belongs to the
    /// hub and to one host at a time; `None` where the store does not outlive the process.
    pub running_file: Option<PathBuf>,
    /// Hears of each durable turn.
    pub listener: Option<Arc<dyn Listener>>,
    /// What each partition is told; its share of the memory is filled in.
    pub partition: PartitionOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hold: Hold::Work,
            activities: 1_000,
            threads: 0,
            fold_bytes: 64 << 20,
            fold_interval: Duration::from_mins(1),
            memory_bytes: 256 << 20,
            requests: 10_000,
            drain: Duration::from_secs(10),
            running_file: None,
            retention: None,
            listener: None,
            partition: PartitionOptions::default(),
        }
    }
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log holds a record that this version cannot read.
    #[error(
        "the log of partition {partition} cannot be read: {source}; was it written by a newer version?"
    )]
    Record {
        /// Whose log.
        partition: u16,
        /// What is wrong.
        source: everstep_model::wire::Error,
    },
    /// The system gave no thread.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
}

/// A running host. Dropping it stops at once, without draining; what is durable stays.
pub struct Host<S: Store> {
    shared: Arc<Shared<S>>,
    releaser: Arc<release::Releaser<S>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    folder: Option<std::thread::JoinHandle<()>>,
    client: Client,
}

/// Effects by the group that must be durable first.
type Unreleased = VecDeque<(GroupNo, Vec<Effect>)>;

/// What all threads of a host see.
pub(crate) struct Shared<S: Store> {
    pub(crate) store: Arc<S>,
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) options: Options,
    pub(crate) count: u16,
    queues: Vec<Queue<Command>>,
    dispatcher: Mutex<Dispatcher>,
    /// The last durable group, per partition: read by its thread when it runs, not a reason to wake it.
    durable: Vec<AtomicU64>,
    /// Set by a thread that can only go on when a group is durable.
    blocked: Vec<AtomicBool>,
    /// Effects of groups that are not durable, per partition.
    effects: Vec<Mutex<Unreleased>>,
    /// Rows that are to be read, per partition.
    wanted: Vec<Mutex<reader::Wanted>>,
    replies: Vec<Mutex<HashMap<Ticket, oneshot::Sender<Response>>>>,
    /// What has ended, for those who ask.
    pub(crate) copies: Ended,
    tickets: AtomicU64,
    /// Requests without an answer, per partition.
    pending: Vec<AtomicUsize>,
    runtime: tokio::runtime::Handle,
    stopping: AtomicBool,
    ended: AtomicBool,
    pub(crate) disk_full: AtomicBool,
    /// A partition takes more memory than its share, and only a fold would help.
    memory_full: AtomicBool,
    running: AtomicUsize,
    /// No code runs until it is released.
    held: AtomicBool,
    began: Timestamp,
    /// Running activities, for the start after this process.
    noted: Option<Running>,
    fold: folder::Signal,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What a partition thread is told.
pub(crate) enum Command {
    /// An input for one of its partitions.
    Input(PartitionId, Input),
    /// A group that it waits for is durable.
    Durable,
    /// Hand all its partitions' changes over.
    HandOver(std::sync::mpsc::Sender<(PartitionId, crate::partition::HandOver)>),
    /// Leave.
    End,
}

/// Code that nobody runs: who only looks, or changes a hub at rest, is not told that functions are missing.
struct Anyone;

impl Worker for Anyone {
    fn identity(&self) -> &'static str {
        ""
    }

    fn activity_options(&self, _: &str) -> Option<ActivityOptions> {
        Some(ActivityOptions::default())
    }

    fn entity_options(&self, _: &str) -> Option<EntityOptions> {
        Some(EntityOptions::default())
    }

    fn has_orchestrator(&self, _: &str) -> bool {
        true
    }

    fn turns(&self, _: PartitionId) -> Box<dyn Turns> {
        Box::new(Self)
    }

    fn activity(&self, _: ActivityCall) -> BoxFuture<Outcome> {
        unreachable!("a hub at rest runs no activity")
    }

    fn entity(&self, _: EntityBatch) -> BoxFuture<EntityReply> {
        unreachable!("a hub at rest runs no operation")
    }
}

impl Turns for Anyone {
    fn turn(&mut self, _: &TurnRequest<'_>) -> TurnReply {
        unreachable!("a hub at rest takes no turn")
    }

    fn entity(&mut self, _: &EntityBatch) -> EntityReply {
        unreachable!("a hub at rest runs no operation")
    }

    fn evict(&mut self, _: Iid) {}

    fn resident(&self) -> usize {
        0
    }
}

/// Brings late answers to the partitions that wait for them.
struct Late<S: Store>(Weak<Shared<S>>);

impl<S: Store> Answers for Late<S> {
    fn turn_answered(&self, instance: &InstanceId, now: Timestamp, reply: TurnReply) {
        if let Some(shared) = self.0.upgrade() {
            let input = Input::TurnAnswered(instance.clone(), now, reply);
            shared.send(home(&shared, instance), input);
        }
    }
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

impl<S: Store> Host<S> {
    /// Recovers all partitions and goes on where the last host stopped. Must be called within a tokio runtime; its
    /// threads run the activities.
    pub fn start(store: S, worker: Arc<dyn Worker>, options: Options) -> Result<Self, Error> {
        Self::start_with_clock(store, worker, options, Arc::new(wall_clock))
    }

    /// The same with another clock, for tests of time.
    pub fn start_with_clock(
        store: S,
        worker: Arc<dyn Worker>,
        options: Options,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Result<Self, Error> {
        let hub = store.hub().clone();
        let count = hub.partitions;
        let (noted, suspects) = match &options.running_file {
            Some(path) if options.hold != Hold::Look => Running::open(path, hub.id),
            Some(_) | None => (None, Vec::new()),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let builtins = Arc::new(WithBuiltins::new(worker));
        let worker: Arc<dyn Worker> = builtins.clone();
        let threads = if options.threads == 0 { cores } else { options.threads }
            .min(usize::from(count))
            .max(1);
        let shared = Arc::new(Shared {
            store: Arc::new(store),
            worker,
            count,
            queues: (0..threads).map(|_| Queue::new()).collect(),
            dispatcher: Mutex::new(Dispatcher::new(options.activities)),
            durable: (0..count).map(|_| AtomicU64::new(0)).collect(),
            blocked: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            effects: (0..count).map(|_| Mutex::default()).collect(),
            wanted: (0..count).map(|_| Mutex::default()).collect(),
            replies: (0..count).map(|_| Mutex::default()).collect(),
            copies: Ended::new(count),
            tickets: AtomicU64::new(0),
            pending: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            runtime: tokio::runtime::Handle::current(),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            memory_full: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            held: AtomicBool::new(options.hold != Hold::Work),
            began: clock(),
            noted,
            fold: folder::Signal::default(),
            clock,
            options,
        });
        let client = Client::new(&shared);
        builtins.connect(client.clone());
        builtins.answer_through(Arc::new(Late(Arc::downgrade(&shared))));
        let mut partitions = recover(&shared)?;
        for (iid, execution, task) in suspects {
            let home = partitions.iter_mut().find(|partition| partition.id() == iid.partition());
            home.into_iter().for_each(|home| home.suspect(iid, execution, task));
        }
        if shared.is_held() {
            partitions.iter_mut().for_each(Partition::hold);
        }
        let releaser = Arc::new(release::Releaser(Mutex::new(Arc::downgrade(&shared))));
        shared.store.observe(releaser.clone());
        let handles = thread::start(&shared, partitions).map_err(Error::Thread)?;
        if shared.only_reads() {
            return Ok(Self { shared, releaser, threads: handles, folder: None, client });
        }
        let folder = folder::start(&shared).map_err(Error::Thread)?;
        if !shared.is_held() {
            reader::wake(&shared);
        }
        if let Some(age) = shared.options.retention {
            shared.runtime.spawn(retain(Arc::downgrade(&shared), client.clone(), age));
        }
        Ok(Self { shared, releaser, threads: handles, folder: Some(folder), client })
    }

    /// Recovers a store to look at it: the client reads, and everything else is refused. Nothing is written, and no
    /// user code is needed.
    pub fn look(store: S) -> Result<Self, Error> {
        let options = Options { hold: Hold::Look, ..Options::default() };
        Self::start(store, Arc::new(Anyone), options)
    }

    /// Recovers a store to change it while nothing runs: what clients ask for is durable, and waits for another host. No
    /// user code is needed.
    pub fn rest(store: S) -> Result<Self, Error> {
        let options = Options { hold: Hold::UntilReleased, retention: None, ..Options::default() };
        Self::start(store, Arc::new(Anyone), options)
    }

    /// Lets a held host begin to work.
    pub fn release(&self) {
        self.shared.release_held();
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<S> {
        &self.shared.store
    }

    /// A handle for clients; cheap to clone.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Other code has registered with the worker: what waited for it goes on, what was parked is tried again.
    pub fn code_changed(&self) {
        self.shared.dispatcher().code_changed(|name| self.shared.bounds_of(name));
        for partition in 0..self.shared.count {
            self.shared.send(PartitionId(partition), Input::CodeChanged);
        }
        // Some that wait for code may have left memory: the tables know them.
        if !self.shared.is_held() {
            reader::wake(&self.shared);
        }
        self.shared.run_activities();
    }

    /// Moves everything in memory into the tables.
    pub async fn fold(&self) -> Result<(), StoreError> {
        if self.shared.only_reads() {
            return Ok(());
        }
        let shared = self.shared.clone();
        let done = self.shared.runtime.spawn_blocking(move || folder::fold(&shared)).await;
        done.expect("a fold does not panic")
    }

    /// Stops: refuses new work, waits for running activities, folds, and closes the store.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        self.shared.noted.iter().for_each(Running::close);
        self.shared.stopping.store(true, Ordering::Relaxed);
        let until = tokio::time::Instant::now() + self.shared.options.drain;
        while self.shared.running.load(Ordering::Relaxed) > 0 && tokio::time::Instant::now() < until
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let folded = self.fold().await;
        self.end();
        let shared = self.shared.clone();
        let closed = self
            .shared
            .runtime
            .spawn_blocking(move || shared.store.close())
            .await
            .expect("closing does not panic");
        folded.and(closed)
    }

    fn end(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.fold.end();
        self.shared.queues.iter().for_each(|queue| queue.push(Command::End));
        for handle in self.threads.drain(..).chain(self.folder.take()) {
            if handle.join().is_err() {
                tracing::error!("a thread of the host ended in a panic");
            }
        }
        self.releaser.close();
        self.shared.noted.iter().for_each(Running::close);
        // Nobody is left to answer; who waits is told so.
        self.shared.replies.iter().for_each(|replies| lock(replies).clear());
    }
}

/// Removes what ended long ago, once a minute, for as long as the host lives.
async fn retain<S: Store>(shared: std::sync::Weak<Shared<S>>, client: Client, age: Duration) {
    loop {
        tokio::time::sleep(RETAIN).await;
        let Some(shared) = shared.upgrade().filter(|shared| !shared.ended.load(Ordering::Relaxed))
        else {
            return;
        };
        if shared.is_held() {
            continue;
        }
        let now = shared.now();
        drop(shared);
        let before = Timestamp::EPOCH.after(now.since(Timestamp::EPOCH).saturating_sub(age));
        match client.purge_ended_before(before).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "instances that ended long ago were removed"),
            Err(error) => {
                tracing::warn!(%error, "removing old instances failed; it is tried again");
            }
        }
    }
}

impl<S: Store> Drop for Host<S> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<S: Store> Shared<S> {
    /// Lets a held host begin to work.
    pub(crate) fn release_held(self: &Arc<Self>) {
        if self.only_reads() || !self.held.swap(false, Ordering::SeqCst) {
            return;
        }
        for partition in 0..self.count {
            self.send(PartitionId(partition), Input::Release);
        }
        reader::wake(self);
        self.run_activities();
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn send(&self, partition: PartitionId, input: Input) {
        self.queue(partition).push(Command::Input(partition, input));
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// A partition for an instance whose id is made: one after the other.
    pub(crate) fn next_partition(&self) -> PartitionId {
        PartitionId((self.tickets.load(Ordering::Relaxed) % u64::from(self.count)) as u16)
    }

    pub(crate) fn place_of(&self, key: crate::dispatcher::Key) -> crate::dispatcher::Place {
        self.dispatcher().place(key)
    }

    /// Whether no code runs, and since when.
    pub(crate) fn rests(&self) -> Option<(Reason, Timestamp)> {
        let reason = if self.only_reads() { Reason::Offline } else { Reason::Held };
        self.is_held().then_some((reason, self.began))
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Whether nobody is left to ask.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn only_reads(&self) -> bool {
        self.options.hold == Hold::Look
    }

    fn queue(&self, partition: PartitionId) -> &Queue<Command> {
        &self.queues[usize::from(partition.0) % self.queues.len()]
    }

    /// Notes durability for the partition's thread, which is woken only if it waits for just this.
    fn durable(&self, partition: PartitionId, group: GroupNo) {
        let thread = usize::from(partition.0) % self.queues.len();
        self.durable[usize::from(partition.0)].store(group.0, Ordering::SeqCst);
        if self.blocked[thread].swap(false, Ordering::SeqCst) {
            self.queues[thread].push(Command::Durable);
        }
    }

    fn dispatcher(&self) -> MutexGuard<'_, Dispatcher> {
        self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bounds_of(&self, name: &str) -> Option<Bounds> {
        let options = self.worker.activity_options(name)?;
        let concurrency = options.concurrency.unwrap_or(usize::MAX);
        Some(Bounds { concurrency, interval: self.worker.activity_interval(name) })
    }

    /// Asks a partition and waits for the answer.
    pub(crate) async fn ask(&self, partition: PartitionId, request: Request) -> Response {
        let slot = usize::from(partition.0);
        let waits = match &request {
            Request::Wait(id) | Request::Watch(id, _) => Some(id.clone()),
            _ => None,
        };
        if let Some(refusal) = self.refusal(slot, &request) {
            return refusal;
        }
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        lock(&self.replies[slot]).insert(ticket, sender);
        // Whoever comes after the host has told all that wait would wait for ever.
        if self.ended.load(Ordering::Relaxed) {
            lock(&self.replies[slot]).remove(&ticket);
            return Response::Busy;
        }
        if waits.is_none() {
            self.pending[slot].fetch_add(1, Ordering::Relaxed);
        }
        self.send(partition, Input::Request(ticket, request));
        let mut guard =
            Pending { shared: self, partition, ticket, counted: waits.is_none(), waits };
        let response = receiver.await.unwrap_or(Response::Busy);
        guard.waits = None;
        response
    }

    /// Whether the log that is not folded is so many times longer than it should become.
    fn lags(&self, times: u64) -> bool {
        self.is_too_long(self.store.pressure().unfolded_bytes, times)
    }

    fn is_too_long(&self, unfolded: u64, times: u64) -> bool {
        unfolded > self.options.fold_bytes.saturating_mul(times)
    }

    /// Admission is at the sources: what is let in is never refused later.
    fn refusal(&self, slot: usize, request: &Request) -> Option<Response> {
        let reads = matches!(
            request,
            Request::Get(_)
                | Request::Wait(_)
                | Request::Watch(..)
                | Request::History(_)
                | Request::Why(_)
                | Request::Overlay(..)
                | Request::CountOverlay(_)
                | Request::Unfolded
                | Request::Counts
                | Request::Payload(_)
        );
        let waits = matches!(request, Request::Wait(_) | Request::Watch(..));
        if reads && !(self.only_reads() && waits) {
            return None;
        }
        if self.only_reads() {
            return Some(Response::ReadOnly);
        }
        let pending = self.pending[slot].load(Ordering::Relaxed);
        let frees = matches!(
            request,
            Request::Terminate(..) | Request::Purge(..) | Request::PurgeListed(_)
        );
        let full = match request {
            Request::Start(..) | Request::Import(..) => {
                let pressure = self.store.pressure();
                // A job of ours may be what makes room.
                let is_job =
                    matches!(request, Request::Start(_, start) if is_reserved(&start.name));
                if pressure.low_space && !is_job {
                    return Some(Response::LowSpace);
                }
                self.is_too_long(pressure.unfolded_bytes, 3) || pending >= self.options.requests
            }
            _ => pending >= 2 * self.options.requests,
        };
        let stopped = self.stopping.load(Ordering::Relaxed)
            || (self.disk_full.load(Ordering::Relaxed) && !frees);
        (stopped || (full && !frees)).then_some(Response::Busy)
    }

    fn answer(&self, partition: PartitionId, ticket: Ticket, response: Response) {
        let sender = lock(&self.replies[usize::from(partition.0)]).remove(&ticket);
        if let Some(sender) = sender {
            // Who asked may have gone away; the answer is for nobody then.
            drop(sender.send(response));
        }
    }
}

/// Gives the place of a request back, also when the asking future is dropped.
struct Pending<'a, S: Store> {
    shared: &'a Shared<S>,
    partition: PartitionId,
    ticket: Ticket,
    counted: bool,
    /// The instance whose change is waited for, as long as it is.
    waits: Option<InstanceId>,
}

impl<S: Store> Drop for Pending<'_, S> {
    fn drop(&mut self) {
        let slot = usize::from(self.partition.0);
        if self.counted {
            self.shared.pending[slot].fetch_sub(1, Ordering::Relaxed);
        }
        lock(&self.shared.replies[slot]).remove(&self.ticket);
        if let Some(id) = self.waits.take() {
            self.shared.send(self.partition, Input::Forget(id, self.ticket));
        }
    }
}

/// Builds all partitions from the tables and the records after them.
fn recover<S: Store>(shared: &Arc<Shared<S>>) -> Result<Vec<Partition>, Error> {
    let store = &shared.store;
    let code: Arc<dyn Code> = Arc::new(Registry(shared.worker.clone()));
    let mut options = shared.options.partition.clone();
    options.memory_bytes = shared.options.memory_bytes / usize::from(shared.count);
    if shared.options.listener.is_some() {
        options.audience = Audience::Listener;
    }
    let mut partitions = BTreeMap::new();
    for applied in store.tables().applied()? {
        let id = applied.partition;
        store.acquire(id)?;
        let turns = shared.worker.turns(id);
        let mut partition =
            Partition::new(id, store.hub(), store.mode(), options.clone(), code.clone(), turns);
        partition.restore(&applied).map_err(|source| Error::Record { partition: id.0, source })?;
        partitions.insert(id, partition);
    }
    let ids: Vec<_> = partitions.keys().copied().collect();
    let mut failed: Option<Error> = None;
    store.recover(&ids, &mut |record| {
        let Some(partition) = partitions.get_mut(&record.partition).filter(|_| failed.is_none())
        else {
            return;
        };
        let mut unreadable = None;
        let mut find = |iid| match store.tables().row(iid) {
            Ok(row) => row,
            Err(error) => {
                unreadable = Some(error);
                None
            }
        };
        let replayed = partition.replay(&record.bytes, &mut find);
        failed = match (unreadable, replayed) {
            (Some(error), _) => Some(error.into()),
            (None, Err(source)) => Some(Error::Record { partition: record.partition.0, source }),
            (None, Ok(())) => None,
        };
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(partitions.into_values().collect()),
    }
}

fn wall_clock() -> Timestamp {
    Timestamp::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The partition of an id.
pub(crate) fn home<S: Store>(shared: &Shared<S>, id: &InstanceId) -> PartitionId {
    id.partition(shared.count)
}
