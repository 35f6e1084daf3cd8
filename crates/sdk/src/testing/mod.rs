//! A hub in memory for tests of orchestrations: virtual time, no threads, no sleeping, and a crash wherever you like.
//!
//! The partitions are those of a real host, driven in the calling thread. Only the log is a list in memory, and time
//! stands still until a test moves it: [`TestHub::result`] skips to the next timer whenever nothing else is left to do.
//!
//! G1  The same app, options and scenario do the same each time.
//! G2  A crash loses what is not in the log, and nothing else. A request that was on its way is asked again; it counts once.
//! G3  In each turn the code is replayed from its whole history, so code that is not deterministic is found at once
//!     ([`Replay`]).
//!
//! Activities run to their end one after the other, each when its turn comes; no virtual time passes meanwhile, and limits
//! on their number and time do not apply. One that needs tokio gets it through [`Options::runtime`].
//!
//! A quarter of a year, in milliseconds:
//!
//! ```
//! use std::time::Duration;
//! use everstep::{ActivityContext, App, Context, Failure, activity, orchestrator, testing::TestHub};
//!
//! #[activity]
//! async fn charge(_: ActivityContext, cents: u32) -> Result<String, Failure> {
//!     Err(Failure::new("NoNetwork", format!("{cents} cents cannot be charged in a test")))
//! }
//!
//! /// Ships what is approved within 90 days.
//! #[orchestrator]
//! async fn order(ctx: Context, cents: u32) -> Result<String, Failure> {
//!     let receipt = ctx.call(charge, cents).await?;
//!     let approval = ctx.event::<bool>("Approve").or_timeout(Duration::from_secs(90 * 86_400));
//!     match approval.await {
//!         Ok(true) => Ok(format!("shipped for {receipt}")),
//!         _ => Ok(format!("{receipt} is paid back")),
//!     }
//! }
//!
//! let app = App::new("1.0").add(charge).add(order);
//! let mut hub = TestHub::new(app.clone());
//! let charged = hub.mock(charge, |cents| Ok(format!("receipt of {cents}")));
//!
//! let approved = hub.start(order, 4_200)?;
//! hub.raise(approved.id(), "Approve", &true)?;
//! assert_eq!(hub.result(&approved)?, "shipped for receipt of 4200");
//!
//! let forgotten = hub.start(order, 7)?;
//! assert_eq!(hub.result(&forgotten)?, "receipt of 7 is paid back");
//! assert_eq!(charged.count(), 2);
//! # Ok::<(), everstep::testing::Error>(())
//! ```
//!
//! [`crash_everywhere`] repeats a scenario with a crash before and after every commit, [`explore`] with other orders of
//! what may overtake, and [`replay_file`] checks code against histories that [`TestHub::save_history`] kept.

mod golden;
mod life;
mod sweep;
mod worker;

use std::{fmt, marker::PhantomData, path::Path, sync::Arc, time::Duration};

use everstep_model::{
    Event, Failure, Guid, HubId, InstanceId, ReusePolicy, Start, Status, Tags, Timestamp, Value,
    kinds,
};
use everstep_runtime::{
    partition::{Input, Request, Response, Ticket},
    why::{Facts, Reason},
};
use everstep_store::{Hub, Record};
use serde::{Serialize, de::DeserializeOwned};

pub use golden::replay_file;
use life::{Choice, Life};
pub use sweep::{
    Difference, Swept, crash_everywhere, crash_everywhere_with, explore, explore_with,
};
pub use worker::Calls;
use worker::TestWorker;

use crate::{ActivityHandle, App, Entity, Operation, OrchestratorHandle, Payload, codec};

/// When tests begin: the first instant of 2026.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Each turn of an instance lies at least a microsecond after the one before, so a timer of an hour is due a little later
/// than an hour after the start. Timers that are due this long after a time count as due by then.
const GRACE: Duration = Duration::from_millis(1);
/// Steps without any passing of time; more are an endless loop.
const STEPS_MAX: u32 = 10_000_000;
/// How many children deep the text about a run that is stuck goes.
const DEPTH_MAX: u32 = 16;

/// How a [`TestHub`] works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Draws the order of what may overtake: activities, messages between partitions, turns. `None` is the order of
    /// arrival.
    pub seed: Option<u64>,
    /// How many partitions the instances are spread over.
    pub partitions: u16,
    /// How often code is replayed from its history.
    pub replay: Replay,
    /// To how many timers, one after the other, a wait for a result skips at most, so that an orchestration that ticks
    /// for ever does not keep a test for ever.
    pub skips: u32,
    /// The runtime that activities run in, if they use tokio's timers or sockets. It must have threads of its own
    /// (`rt-multi-thread`), since the calling thread only polls the activity.
    pub runtime: Option<tokio::runtime::Handle>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: None, partitions: 4, replay: Replay::EveryTurn, skips: 100_000, runtime: None }
    }
}

/// How often code is replayed from its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// In each turn: what a host does only after a crash is checked all the time.
    EveryTurn,
    /// Only after a crash, as a host does; for orchestrations with many thousand steps.
    AfterCrashes,
}

/// Why a test hub did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The orchestration failed or was terminated, or a value did not fit.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Nothing in the hub moves it any more, however much time passes.
    #[error("`{id}` will never end: {why}")]
    Stuck {
        /// Which.
        id: InstanceId,
        /// What it waits for, and what would move it.
        why: String,
    },
    /// Timers go off for ever, and it has not ended.
    #[error("`{id}` has not ended after {skips} timers, at {now}: {why}")]
    Endless {
        /// Which.
        id: InstanceId,
        /// How many timers were skipped to.
        skips: u32,
        /// The virtual time.
        now: Timestamp,
        /// What it waits for.
        why: String,
    },
    /// There is no such instance.
    #[error("there is no instance `{0}`")]
    NotFound(InstanceId),
    /// The id is taken.
    #[error("instance `{id}` already exists and is {status}")]
    AlreadyExists {
        /// Which.
        id: InstanceId,
        /// Where it stands.
        status: Status,
    },
    /// The request does not fit where the instance stands.
    #[error("instance `{id}` is {status}, which does not fit the request")]
    WrongStatus {
        /// Which.
        id: InstanceId,
        /// Where it stands.
        status: Status,
    },
}

/// One orchestration that a test started, and the type of its result.
pub struct TestRun<O> {
    id: InstanceId,
    output: PhantomData<fn() -> O>,
}

impl<O> TestRun<O> {
    /// The id of the instance.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }
}

impl<O> Clone for TestRun<O> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), output: PhantomData }
    }
}

impl<O> fmt::Debug for TestRun<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestRun").field(&self.id).finish()
    }
}

/// Where a crash is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crash {
    /// The number of the commit, from 1.
    commit: u64,
    moment: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The commit is lost.
    Before,
    /// The commit is durable, and nobody was told.
    After,
}

/// A hub in memory, driven by the test that owns it.
pub struct TestHub {
    worker: Arc<TestWorker>,
    options: Options,
    hub: Hub,
    now: Timestamp,
    /// Everything that is durable.
    log: Vec<Record>,
    life: Life,
    /// Raised by each crash.
    lives: u64,
    /// Groups that came to the log, or were lost right before it.
    commits: u64,
    plan: Option<Crash>,
    random: Option<Random>,
    tickets: u64,
    runs: u64,
}

impl TestHub {
    /// An empty hub for an app.
    pub fn new(app: App) -> Self {
        Self::with_options(app, Options::default())
    }

    /// The same with options.
    ///
    /// ```
    /// use everstep::{App, testing::{Options, TestHub}};
    ///
    /// let hub = TestHub::with_options(App::new("1"), Options { partitions: 1, ..Options::default() });
    /// assert_eq!(hub.commits(), 0);
    /// ```
    pub fn with_options(app: App, options: Options) -> Self {
        let id = HubId(Guid::v5(Guid([0; 16]), "testing").0);
        let partitions = options.partitions.max(1);
        let hub = Hub { id, name: "testing".to_owned(), partitions, epoch: 1 };
        let worker = Arc::new(TestWorker::new(app));
        let life = Life::begin(&worker, &hub, &options, &[], BEGINNING);
        Self {
            worker,
            random: options.seed.map(Random),
            options,
            hub,
            now: BEGINNING,
            log: Vec::new(),
            life,
            lives: 0,
            commits: 0,
            plan: None,
            tickets: 0,
            runs: 0,
        }
    }

    /// Answers an activity from here on in the app's place, or where the app has none. A panic of `code` is one of the
    /// test.
    pub fn mock<H: ActivityHandle>(
        &mut self,
        activity: H,
        code: impl Fn(H::Input) -> Result<H::Output, Failure> + Send + Sync + 'static,
    ) -> Calls {
        let calls = self.worker.mock(&activity, code);
        self.life.code_changed();
        calls
    }

    // What clients do

    /// Starts an orchestration under a made id. Nothing of it has run when this returns.
    pub fn start<H: OrchestratorHandle>(
        &mut self,
        orchestrator: H,
        input: H::Input,
    ) -> Result<TestRun<H::Output>, Error> {
        self.runs += 1;
        let id = InstanceId::from_stored(&format!("run-{}", self.runs));
        self.start_as(id, orchestrator, input)
    }

    /// Starts an orchestration under an id.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn start_as<H: OrchestratorHandle>(
        &mut self,
        id: InstanceId,
        orchestrator: H,
        input: H::Input,
    ) -> Result<TestRun<H::Output>, Error> {
        let start = Start {
            name: orchestrator.name().to_owned(),
            version: String::new(),
            input: codec::encode(&input)?,
            execution_id: None,
            parent: None,
            tags: Tags::new(),
            scheduled: None,
            trace: None,
            reuse: ReusePolicy::default(),
        };
        match self.ask(&id, &Request::Start(Some(id.clone()), Box::new(start))) {
            (Response::AlreadyExists(status), Asked::Once) => {
                Err(Error::AlreadyExists { id, status })
            }
            _ => Ok(TestRun { id, output: PhantomData }),
        }
    }

    /// Raises an event.
    pub fn raise(
        &mut self,
        id: &InstanceId,
        name: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        let (name, input, key) = (name.to_owned(), codec::encode(value)?, self.new_key());
        self.tell(id, &Request::Raise { instance: id.clone(), name, input, key })
    }

    /// Signals an entity, which comes into being if it does not exist.
    ///
    /// ```
    /// # use everstep::{App, entity, testing::TestHub};
    /// #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// struct Counter(i64);
    ///
    /// #[entity]
    /// impl Counter {
    ///     fn add(&mut self, by: i64) -> i64 {
    ///         self.0 += by;
    ///         self.0
    ///     }
    /// }
    ///
    /// let mut hub = TestHub::new(App::new("1").entity::<Counter>());
    /// hub.signal("visits", Counter::ADD, 2)?;
    /// hub.signal("visits", Counter::ADD, 3)?;
    /// assert_eq!(hub.entity::<Counter>("visits")?.map(|counter| counter.0), Some(5));
    /// # Ok::<(), everstep::testing::Error>(())
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn signal<E: Entity, I: Payload, O>(
        &mut self,
        key: &str,
        operation: Operation<E, I, O>,
        input: I,
    ) -> Result<(), Error> {
        let entity = entity_id::<E>(key)?;
        let once = self.new_key();
        let operation = everstep_model::Operation {
            id: Guid::v5(Guid([0; 16]), &once),
            name: operation.name().to_owned(),
            input: codec::encode(&input)?,
            caller: None,
            sender: None,
            due: None,
            key: once,
            trace: None,
        };
        self.tell(&entity, &Request::Signal(entity.clone(), Box::new(operation)))
    }

    /// Holds an instance until it is resumed.
    pub fn suspend(&mut self, id: &InstanceId) -> Result<(), Error> {
        self.tell(id, &Request::Suspend(id.clone(), String::new()))
    }

    /// Lets a suspended instance go on.
    pub fn resume(&mut self, id: &InstanceId) -> Result<(), Error> {
        self.tell(id, &Request::Resume(id.clone(), String::new()))
    }

    /// Ends an instance, and its children with it.
    pub fn terminate(&mut self, id: &InstanceId, reason: &str) -> Result<(), Error> {
        self.tell(id, &Request::Terminate(id.clone(), reason.to_owned(), true))
    }

    // Time

    /// The virtual present.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs until nothing is left but waiting for time or for someone outside.
    pub fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!(
            "{STEPS_MAX} steps did not bring the hub to rest; does an orchestration continue as new for ever?"
        );
    }

    /// Lets time pass. Timers go off when they are due, in order.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use everstep::{App, Context, Failure, orchestrator, testing::TestHub};
    /// #[orchestrator]
    /// async fn stages(ctx: Context, _: ()) -> Result<(), Failure> {
    ///     ctx.set_custom_status(&"young");
    ///     ctx.sleep(Duration::from_secs(3_600)).await;
    ///     ctx.set_custom_status(&"old");
    ///     ctx.event("Go").await
    /// }
    ///
    /// let mut hub = TestHub::new(App::new("1").add(stages));
    /// let run = hub.start(stages, ())?;
    /// hub.advance(Duration::from_secs(3_599));
    /// assert_eq!(hub.custom_status(run.id())?, Some("young".to_owned()));
    /// hub.advance(Duration::from_secs(1));
    /// assert_eq!(hub.custom_status(run.id())?, Some("old".to_owned()));
    /// # Ok::<(), everstep::testing::Error>(())
    /// ```
    pub fn advance(&mut self, time: Duration) {
        let until = self.now.after(time);
        self.skip_until(until);
        self.now = self.now.max(until);
    }

    /// Skips from timer to timer until none is left, or the next one is further away than `time` from here.
    pub fn run_until_idle_or(&mut self, time: Duration) {
        self.skip_until(self.now.after(time));
    }

    fn skip_until(&mut self, until: Timestamp) {
        loop {
            self.run();
            match self.life.next_alarm() {
                Some(at) if at <= until.after(GRACE) => self.move_to(at),
                Some(_) | None => return,
            }
        }
    }

    fn move_to(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        self.life.tick(self.now);
    }

    /// The result of a run. Whenever nothing is left to do, time moves to the next timer.
    ///
    /// If no passing of time can end the run, the error says what it waits for:
    ///
    /// ```
    /// # use everstep::{App, Context, Failure, orchestrator, testing::TestHub};
    /// #[orchestrator]
    /// async fn patient(ctx: Context, _: ()) -> Result<u32, Failure> {
    ///     ctx.event("Go").await
    /// }
    ///
    /// let mut hub = TestHub::new(App::new("1").add(patient));
    /// let run = hub.start(patient, ())?;
    /// let stuck = hub.result(&run).unwrap_err();
    /// assert!(stuck.to_string().contains("event `Go`"), "{stuck}");
    /// # Ok::<(), everstep::testing::Error>(())
    /// ```
    pub fn result<O: DeserializeOwned>(&mut self, run: &TestRun<O>) -> Result<O, Error> {
        let id = run.id.clone();
        for _ in 0..self.options.skips {
            let ended = self.read(&id, &Request::Get(id.clone()));
            let Response::Instance(instance) = ended else { return Err(Error::NotFound(id)) };
            if instance.status.is_terminal() {
                let output = instance.output.unwrap_or_else(Value::empty);
                return self.ended(&id, instance.status, output, instance.rare.failure.clone());
            }
            match self.life.next_alarm() {
                Some(at) => self.move_to(at),
                None => return Err(Error::Stuck { why: self.why(&id)?, id }),
            }
        }
        Err(Error::Endless { why: self.why(&id)?, skips: self.options.skips, now: self.now, id })
    }

    fn ended<O: DeserializeOwned>(
        &mut self,
        id: &InstanceId,
        status: Status,
        output: Value,
        failure: Option<Failure>,
    ) -> Result<O, Error> {
        let output = self.loaded(id, output);
        match status {
            Status::Completed => Ok(codec::decode(&output)?),
            Status::Terminated => {
                let reason = output.inline().map(|reason| String::from_utf8_lossy(reason));
                Err(Failure::new(kinds::TERMINATED, reason.unwrap_or_default()).into())
            }
            _ => Err(failure.unwrap_or_default().into()),
        }
    }

    // What can be seen; each of these first runs what is ready

    /// Where an instance stands.
    pub fn status(&mut self, id: &InstanceId) -> Result<Status, Error> {
        match self.read(id, &Request::Get(id.clone())) {
            Response::Instance(instance) => Ok(instance.status),
            _ => Err(Error::NotFound(id.clone())),
        }
    }

    /// What an orchestration last said of itself; `None` if it said nothing.
    pub fn custom_status<T: DeserializeOwned>(
        &mut self,
        id: &InstanceId,
    ) -> Result<Option<T>, Error> {
        match self.read(id, &Request::Get(id.clone())) {
            Response::Instance(instance) => self.decoded(id, instance.rare.custom_status.clone()),
            _ => Err(Error::NotFound(id.clone())),
        }
    }

    /// The state of an entity; `None` if it does not exist.
    pub fn entity<E: Entity>(&mut self, key: &str) -> Result<Option<E>, Error> {
        let id = entity_id::<E>(key)?;
        match self.read(&id, &Request::Get(id.clone())) {
            Response::Instance(instance) => self.decoded(&id, instance.rare.state.clone()),
            _ => Ok(None),
        }
    }

    /// The history of an instance's present execution.
    pub fn history(&mut self, id: &InstanceId) -> Result<Vec<Event>, Error> {
        match self.read(id, &Request::History(id.clone())) {
            Response::History { events, .. } => Ok(events),
            _ => Err(Error::NotFound(id.clone())),
        }
    }

    /// What an instance waits for, and what would move it. Of children that it waits for, the same is told.
    pub fn why(&mut self, id: &InstanceId) -> Result<String, Error> {
        self.why_of(id, 0)
    }

    fn why_of(&mut self, id: &InstanceId, depth: u32) -> Result<String, Error> {
        let Response::Why(facts) = self.read(id, &Request::Why(id.clone())) else {
            return Err(Error::NotFound(id.clone()));
        };
        let Facts { reasons, .. } = *facts;
        let mut texts = Vec::new();
        for (reason, _) in reasons {
            texts.push(match &reason {
                Reason::Child(child) if depth < DEPTH_MAX => {
                    let why = self.why_of(child, depth + 1);
                    let why = why.unwrap_or_else(|error| error.to_string());
                    format!("sub-orchestration `{child}` has not ended ({why})")
                }
                other => other.to_string(),
            });
        }
        Ok(texts.join("; "))
    }

    /// Writes the history of an instance into a file that [`replay_file`] reads.
    pub fn save_history(&mut self, id: &InstanceId, path: impl AsRef<Path>) -> Result<(), Error> {
        let history = self.history(id)?;
        golden::save(id, &history, path.as_ref()).map_err(Error::Failed)
    }

    // Crashes

    /// Drops everything that is in memory, and goes on from what is durable, as a host does after a crash.
    ///
    /// ```
    /// # use everstep::{App, Context, Failure, orchestrator, testing::TestHub};
    /// # #[orchestrator]
    /// # async fn patient(ctx: Context, _: ()) -> Result<u32, Failure> {
    /// #     ctx.event("Go").await
    /// # }
    /// let mut hub = TestHub::new(App::new("1").add(patient));
    /// let run = hub.start(patient, ())?;
    /// hub.run();
    /// hub.crash();
    /// hub.raise(run.id(), "Go", &5)?;
    /// assert_eq!(hub.result(&run)?, 5);
    /// # Ok::<(), everstep::testing::Error>(())
    /// ```
    pub fn crash(&mut self) {
        self.lives += 1;
        self.life = Life::begin(&self.worker, &self.hub, &self.options, &self.log, self.now);
    }

    /// How many groups of steps became durable: the points where [`crash_everywhere`] crashes.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    // Steps

    /// Does one thing, if there is one.
    fn step(&mut self) -> bool {
        let n = match &mut self.random {
            Some(random) => random.below(self.life.choices()),
            None => 0,
        };
        let Some(choice) = self.life.choice(n) else { return false };
        match choice {
            Choice::Deliver(n) => self.life.deliver(n, self.now),
            Choice::Log(index) => self.log_group(index),
            Choice::Close(index) => self.life.close(index, self.now),
            Choice::Activity(n) => self.life.run_activity(n, self.now),
            Choice::Entity(n) => self.life.run_entity(n, self.now),
        }
        true
    }

    fn log_group(&mut self, index: usize) {
        let Some((record, effects)) = self.life.next_group(index) else { return };
        self.commits += 1;
        let moment = self.plan.filter(|plan| plan.commit == self.commits).map(|plan| plan.moment);
        if moment != Some(Moment::Before) {
            self.log.push(record.clone());
        }
        match moment {
            Some(Moment::Before | Moment::After) => self.crash(),
            None => self.life.release(&record, effects, self.now),
        }
    }

    /// Asks, and steps until the answer is there. A crash in between loses the question, so it is asked again.
    fn ask(&mut self, id: &InstanceId, request: &Request) -> (Response, Asked) {
        let partition = id.partition(self.hub.partitions);
        let mut asked = Asked::Once;
        loop {
            let life = self.lives;
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            self.life.step(partition, self.now, Input::Request(ticket, request.clone()));
            while self.lives == life {
                if let Some(response) = self.life.answers.remove(&ticket) {
                    return (response, asked);
                }
                assert!(self.step(), "a request is answered before the hub comes to rest");
            }
            asked = Asked::Again;
        }
    }

    fn tell(&mut self, id: &InstanceId, request: &Request) -> Result<(), Error> {
        match self.ask(id, request) {
            (Response::WrongStatus(status), Asked::Once) => {
                Err(Error::WrongStatus { id: id.clone(), status })
            }
            (Response::NotFound, _) => Err(Error::NotFound(id.clone())),
            // A status that no longer fits when it is asked again means that the first time it was taken.
            _ => Ok(()),
        }
    }

    fn read(&mut self, id: &InstanceId, request: &Request) -> Response {
        self.run();
        self.ask(id, request).0
    }

    /// A value, also if it is stored apart.
    fn loaded(&mut self, id: &InstanceId, value: Value) -> Value {
        let Value::Ref(payload) = value else { return value };
        match self.ask(id, &Request::Payload(payload)).0 {
            Response::Payload(bytes) => bytes.into(),
            _ => value,
        }
    }

    fn decoded<T: DeserializeOwned>(
        &mut self,
        id: &InstanceId,
        value: Option<Value>,
    ) -> Result<Option<T>, Error> {
        let value = value.map(|value| self.loaded(id, value));
        Ok(value.as_ref().map(codec::decode).transpose()?)
    }

    /// Makes a request count once, also if a crash makes it come twice.
    fn new_key(&mut self) -> String {
        self.runs += 1;
        format!("testing-{}", self.runs)
    }
}

impl fmt::Debug for TestHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHub")
            .field("now", &self.now)
            .field("commits", &self.commits)
            .finish_non_exhaustive()
    }
}

/// How often a request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Once,
    Again,
}

fn entity_id<E: Entity>(key: &str) -> Result<InstanceId, Error> {
    InstanceId::entity(E::NAME, key).map_err(|error| Error::Failed(crate::failure(error)))
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug, Clone, Copy)]
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * count as u128) >> 64) as usize
    }
}
