//! A worker that runs small programs, a clock that stands still, and the folder that hosts open one after the other.
//!
//! An orchestration's input is `program|payload`. A program is a list of steps with `;` between them:
//!
//! | Step | What it does |
//! |---|---|
//! | `call NAME ARG` | calls an activity |
//! | `fan N NAME ARG` | calls it N times at once |
//! | `child NAME ARG` | starts a child with an id that is made, and waits for it; `,` stands for `;` in its program |
//! | `children N ARG` | starts `<parent>-<number>` N times at once, and waits for all |
//! | `ask ENTITY ARG` | calls `add` of an entity |
//! | `timer MS` | waits |
//! | `retry NAME MS` | calls an activity, and when it has failed waits as before a second attempt |
//! | `wait NAME` | waits for an event |
//! | `say TEXT` | sets the custom status |
//! | `again ARG` | continues as new |
//!
//! `try` in front of a step makes its failure a result. `#N` at an argument's end stands for N bytes, `$` for the
//! payload; `!` and `~` become the `|` and `#` of a program that is handed on. The output is all results, with `,` between them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use everstep_model::{
    Action, Completion, Event, EventId, Failure, Iid, InstanceId, Origin, Outcome, ParentPolicy,
    PartitionId, Status, Tags, Timestamp, Value, Wait,
};
use everstep_runtime::{Client, Host, Options, Raised, StartOptions, View};
use everstep_store::{
    Error as StoreError, Fold, Hub, HubOptions, Mode, Observer, Pressure, Record, Store,
};
use everstep_store_embedded::{Embedded, LogOptions, LoggedOptions, open_embedded};
use everstep_worker::{
    ActivityCall, ActivityOptions, BoxFuture, Decision, EntityBatch, EntityOptions, EntityReply,
    History, Purity, TurnReply, TurnRequest, Turns, Worker,
};
use tokio::sync::{Semaphore, watch};

/// A worker whose code can be exchanged while it runs.
pub(crate) struct Script {
    generation: Arc<AtomicUsize>,
    /// Calls of `gate`, `narrow` and `gone` wait here.
    pub(crate) gate: Arc<Semaphore>,
    running: Arc<watch::Sender<Running>>,
}

/// How many gated activities run, and how many ran at once at most, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    pub(crate) now: BTreeMap<String, usize>,
    pub(crate) most: BTreeMap<String, usize>,
    pub(crate) most_of_all: usize,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            generation: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            running: Arc::new(watch::Sender::default()),
        })
    }

    /// From here on it is other code, under another identity.
    pub(crate) fn deploy(&self, generation: usize) {
        self.generation.store(generation, Ordering::SeqCst);
    }

    /// Lets everything through the gate, for ever.
    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1 << 20);
    }

    /// Waits until this many calls of an activity stand before the gate.
    pub(crate) async fn gathered(&self, name: &str, count: usize) {
        let mut running = self.running.subscribe();
        let reached = running.wait_for(|running| running.now.get(name) == Some(&count)).await;
        drop(reached.expect("the sender lives as long as the worker"));
    }

    pub(crate) fn running(&self) -> Running {
        self.running.borrow().clone()
    }

    fn is_at_least(&self, generation: usize) -> bool {
        self.generation.load(Ordering::SeqCst) >= generation
    }
}

impl Worker for Script {
    fn identity(&self) -> &str {
        ["first", "second", "third"][self.generation.load(Ordering::SeqCst)]
    }

    fn activity_options(&self, name: &str) -> Option<ActivityOptions> {
        let limits = ActivityOptions::default();
        match name {
            "narrow" => Some(ActivityOptions { concurrency: Some(3), ..limits }),
            "never" => Some(ActivityOptions { timeout: Some(Duration::from_millis(1)), ..limits }),
            "late" if !self.is_at_least(1) => None,
            _ => Some(limits),
        }
    }

    fn entity_options(&self, name: &str) -> Option<EntityOptions> {
        match name {
            "counter" => Some(EntityOptions { purity: Purity::Pure }),
            "ledger" => Some(EntityOptions { purity: Purity::Effects }),
            "late" if self.is_at_least(1) => Some(EntityOptions { purity: Purity::Pure }),
            _ => None,
        }
    }

    fn has_orchestrator(&self, name: &str) -> bool {
        matches!(name, "run" | "strict") || (name == "late" && self.is_at_least(1))
    }

    fn turns(&self, _partition: PartitionId) -> Box<dyn Turns> {
        Box::new(Resident { generation: self.generation.clone(), executions: HashMap::new() })
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        let (gate, running) = (self.gate.clone(), self.running.clone());
        Box::pin(async move {
            match &*call.name {
                "panic" => panic!("on purpose"),
                "grow" => {
                    let count = text(Some(&call.input)).parse().expect("a number of bytes");
                    return Outcome::Completed(Value::text(large(count)));
                }
                "fail" => return Outcome::Failed(Box::new(Failure::new("Test", "no"))),
                "never" => std::future::pending().await,
                "gate" | "narrow" => {
                    running.send_modify(|running| running.enter(&call.name));
                    gate.acquire().await.expect("the gate is never closed").forget();
                    running.send_modify(|running| running.leave(&call.name));
                }
                _ => {}
            }
            Outcome::Completed(call.input)
        })
    }

    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        Box::pin(async move { add(&batch) })
    }
}

impl Running {
    fn enter(&mut self, name: &str) {
        let now = self.now.entry(name.to_owned()).or_default();
        *now += 1;
        let most = self.most.entry(name.to_owned()).or_default();
        *most = (*most).max(*now);
        self.most_of_all = self.most_of_all.max(self.now.values().sum());
    }

    fn leave(&mut self, name: &str) {
        *self.now.entry(name.to_owned()).or_default() -= 1;
    }
}

/// `add` adds, `clear` deletes the state, `fill` makes it so long.
fn add(batch: &EntityBatch) -> EntityReply {
    let number = |text: String| -> i64 { text.parse().unwrap_or(0) };
    let mut state = batch.state.as_ref().map(|state| text(Some(state)));
    let mut results = Vec::new();
    for operation in &batch.operations {
        let input = number(text(Some(&operation.input)));
        state = match operation.name.as_str() {
            "clear" => None,
            "fill" => Some(large(input.unsigned_abs() as usize)),
            _ => Some((state.map_or(0, number) + input).to_string()),
        };
        let result = if operation.name == "fill" { None } else { state.clone() };
        results.push(Outcome::Completed(Value::text(result.unwrap_or_else(|| "0".to_owned()))));
    }
    EntityReply { results, state: state.map(Value::text), sends: Vec::new() }
}

/// The turns of one partition; executions stay resident between them.
struct Resident {
    generation: Arc<AtomicUsize>,
    executions: HashMap<Iid, Execution>,
}

impl Turns for Resident {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        let generation = self.generation.load(Ordering::SeqCst);
        let mut execution = match request.history {
            History::Seen(0) => Execution::default(),
            History::Seen(count) => match self.executions.remove(&request.iid) {
                Some(found) if (found.number, found.count) == (request.execution, count) => found,
                _ => return TurnReply::NeedHistory,
            },
            History::Full(events) => {
                let mut execution = Execution::default();
                events.iter().for_each(|event| execution.learn(event));
                execution
            }
        };
        match request.name {
            "late" if generation == 0 => return TurnReply::UnknownFunction,
            "strict" if generation == 1 && !request.history.is_empty() => {
                let reason = "the history calls `echo`, the code calls `other`".to_owned();
                return TurnReply::NonDeterminism { reason };
            }
            "run" | "late" | "strict" => {}
            _ => return TurnReply::UnknownFunction,
        }
        request.events.iter().for_each(|event| execution.learn(event));
        execution.number = request.execution;
        let decision = execution.decide(request.instance);
        execution.count += decision.actions.len() as u32;
        execution.asked.extend(decision.actions.iter().filter_map(Action::id));
        self.executions.insert(request.iid, execution);
        TurnReply::Decided(decision)
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        add(batch)
    }

    fn evict(&mut self, iid: Iid) {
        self.executions.remove(&iid);
    }

    fn resident(&self) -> usize {
        self.executions.len()
    }
}

/// What a history amounts to.
#[derive(Default)]
struct Execution {
    number: u32,
    count: u32,
    input: Vec<u8>,
    now: Timestamp,
    asked: BTreeSet<EventId>,
    ended: BTreeMap<EventId, Outcome>,
    raised: Vec<(String, Value)>,
}

/// What a step has come to.
enum Step {
    Done(Vec<u8>),
    Failed(Failure),
    Open(Vec<Action>, Wait),
    End(Completion),
}

impl Execution {
    fn learn(&mut self, event: &Event) {
        self.count += 1;
        match event {
            Event::Started(started) => self.input = bytes(&started.input),
            Event::TurnStarted { now } => self.now = *now,
            Event::TaskScheduled { id, .. }
            | Event::ChildCreated { id, .. }
            | Event::TimerCreated { id, .. }
            | Event::OperationCalled { id, .. } => drop(self.asked.insert(*id)),
            Event::TaskEnded { task, outcome }
            | Event::ChildEnded { task, outcome }
            | Event::OperationEnded { task, outcome } => {
                self.ended.insert(*task, outcome.clone());
            }
            Event::TimerFired { timer } => {
                self.ended.insert(*timer, Outcome::Completed("fired".into()));
            }
            Event::EventRaised { name, input, .. } => {
                self.raised.push((name.clone(), input.clone()));
            }
            _ => {}
        }
    }

    fn decide(&self, instance: &InstanceId) -> Decision {
        let end = |completion| Decision {
            actions: vec![Action::Complete(completion)],
            ..Decision::default()
        };
        let split = self.input.iter().position(|byte| *byte == b'|').unwrap_or(self.input.len());
        let program = String::from_utf8_lossy(&self.input[..split]).into_owned();
        let payload = self.input.get(split + 1..).unwrap_or_default();
        let mut raised: Vec<_> = self.raised.iter().collect();
        let mut results = Vec::new();
        let mut said = None;
        for (number, step) in program.split(';').enumerate() {
            let first = EventId(number as u32 * 1_000);
            let step = step.trim();
            if let Some(words) = step.strip_prefix("say ") {
                said = Some(Value::text(words));
                continue;
            }
            let (step, tried) = match step.strip_prefix("try ") {
                Some(step) => (step, true),
                None => (step, false),
            };
            match self.step(instance, first, step, payload, &mut raised) {
                Step::Done(result) => results.push(result),
                Step::Failed(failure) if tried => {
                    results.push(format!("{}: {}", failure.kind, failure.message).into_bytes());
                }
                Step::Failed(failure) => return end(Completion::Failed(Box::new(failure))),
                Step::Open(actions, wait) => {
                    return Decision { actions, wait: Some(wait), custom_status: said };
                }
                Step::End(completion) => return end(completion),
            }
        }
        end(Completion::Completed(results.join(&b","[..]).into_value()))
    }

    fn step(
        &self,
        instance: &InstanceId,
        first: EventId,
        step: &str,
        payload: &[u8],
        raised: &mut Vec<&(String, Value)>,
    ) -> Step {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        let (head, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "wait" => {
                let found = raised.iter().position(|(name, _)| name.eq_ignore_ascii_case(rest));
                return match found {
                    Some(at) => Step::Done(bytes(&raised.remove(at).1)),
                    None => Step::Open(Vec::new(), Wait::Event(rest.to_owned())),
                };
            }
            "retry" => return self.retry(first, head, tail),
            "again" => {
                let input = argument(&rest.replace(',', ";"), payload);
                return Step::End(Completion::ContinueAsNew {
                    input,
                    version: None,
                    carry: raised.drain(..).cloned().collect(),
                });
            }
            _ => {}
        }
        let count = match verb {
            "fan" | "children" => head.parse().expect("a number of calls"),
            _ => 1,
        };
        let ids: Vec<_> = (0..count).map(|number| EventId(first.0 + number)).collect();
        if !self.asked.contains(&first) {
            let actions = ids.iter().map(|id| match verb {
                "call" => call(*id, head, argument(tail, payload)),
                "fan" => {
                    let (name, tail) = tail.split_once(' ').unwrap_or((tail, ""));
                    call(*id, name, argument(tail, payload))
                }
                "child" => child(*id, head, None, argument(&tail.replace(',', ";"), payload)),
                "children" => {
                    let number = id.0 - first.0;
                    let name = InstanceId::from_stored(&format!("{instance}-{number}"));
                    child(*id, "run", Some(name), argument(&tail.replace(',', ";"), payload))
                }
                "ask" => Action::CallEntity {
                    id: *id,
                    entity: InstanceId::parse(head).expect("an entity's id"),
                    name: "add".to_owned(),
                    input: argument(tail, payload),
                },
                "timer" => {
                    let span = Duration::from_millis(rest.parse().expect("milliseconds"));
                    Action::CreateTimer { id: *id, fire_at: self.now.after(span), origin: None }
                }
                verb => panic!("`{verb}` is no step"),
            });
            return Step::Open(actions.collect(), all(&ids));
        }
        let mut results = Vec::new();
        for id in &ids {
            match self.ended.get(id) {
                Some(Outcome::Completed(value)) => results.push(bytes(value)),
                Some(Outcome::Failed(failure)) => return Step::Failed((**failure).clone()),
                None => return Step::Open(Vec::new(), all(&ids)),
            }
        }
        Step::Done(results.join(&b","[..]))
    }

    fn retry(&self, first: EventId, name: &str, span: &str) -> Step {
        let wait = EventId(first.0 + 1);
        if !self.asked.contains(&first) {
            return Step::Open(vec![call(first, name, Value::empty())], Wait::Task(first));
        }
        if !self.ended.contains_key(&first) {
            return Step::Open(Vec::new(), Wait::Task(first));
        }
        if !self.asked.contains(&wait) {
            let span = Duration::from_millis(span.parse().expect("milliseconds"));
            let origin = Some(Origin { call: first, attempt: 2 });
            let timer = Action::CreateTimer { id: wait, fire_at: self.now.after(span), origin };
            return Step::Open(vec![timer], Wait::Task(wait));
        }
        match self.ended.get(&wait) {
            Some(_) => Step::Done(b"retried".to_vec()),
            None => Step::Open(Vec::new(), Wait::Task(wait)),
        }
    }
}

fn all(ids: &[EventId]) -> Wait {
    Wait::All(ids.iter().map(|id| Wait::Task(*id)).collect())
}

fn call(id: EventId, name: &str, input: Value) -> Action {
    Action::CallActivity { id, name: name.to_owned(), input, tags: Tags::new(), origin: None }
}

fn child(id: EventId, name: &str, instance: Option<InstanceId>, input: Value) -> Action {
    Action::StartChild {
        id,
        name: name.to_owned(),
        version: String::new(),
        instance,
        input,
        tags: Tags::new(),
        policy: ParentPolicy::Wait,
        origin: None,
    }
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for Vec<u8> {
    fn into_value(self) -> Value {
        Value::text(String::from_utf8(self).expect("all values of these tests are texts"))
    }
}

fn argument(text: &str, payload: &[u8]) -> Value {
    let text = &*text.replace('!', "|");
    if let Some(head) = text.strip_suffix('$') {
        return [head.as_bytes(), payload].concat().into_value();
    }
    match text.rsplit_once('#') {
        Some((head, count)) => {
            Value::text(head.to_owned() + &large(count.parse().expect("a number of bytes")))
        }
        None => text.replace('~', "#").into(),
    }
}

/// A text of so many bytes that does not compress to nothing.
pub(crate) fn large(count: usize) -> String {
    let mut text = String::with_capacity(count + 8);
    let mut state = 1_u32;
    while text.len() < count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        write!(text, "{state:08x}").expect("a text takes all");
    }
    text.truncate(count);
    text
}

fn bytes(value: &Value) -> Vec<u8> {
    value.inline().expect("a worker is given values, not references").to_vec()
}

/// The folder of a hub, and the time as its hosts see it.
pub(crate) struct Bed {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Clock,
}

/// A clock that moves when it is told to.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Timestamp::from_unix(Duration::from_secs(1 << 30)).ticks())))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_ticks(self.0.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.0.store(self.now().after(span).ticks(), Ordering::SeqCst);
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("the system has room for a folder");
        Self { folder, clock: Clock::new() }
    }

    pub(crate) fn open(&self, script: &Arc<Script>, options: Options) -> Host<Embedded> {
        self.open_with(script.clone(), options)
    }

    pub(crate) fn open_with(&self, worker: Arc<dyn Worker>, options: Options) -> Host<Embedded> {
        let store = loop {
            match open_store(self.folder.path()) {
                // A read of the host before may still be under way.
                Err(everstep_store::Error::InUse { .. }) => std::thread::yield_now(),
                opened => break opened.expect("the folder opens"),
            }
        };
        let clock = self.clock.clone();
        let now = Arc::new(move || clock.now());
        Host::start_with_clock(store, worker, options, now).expect("the host starts")
    }
}

pub(crate) fn open_store(folder: &Path) -> Result<Embedded, everstep_store::Error> {
    let options = LoggedOptions { log: LogOptions::small(128 << 10), ..LoggedOptions::default() };
    open_embedded(folder, &HubOptions::new("test", 4), options)
}

/// Options of a host that folds when it is told to, and does not wait for anyone when it stops.
pub(crate) fn quiet() -> Options {
    Options {
        fold_bytes: 1 << 40,
        fold_interval: Duration::from_hours(1),
        drain: Duration::ZERO,
        ..Options::default()
    }
}

pub(crate) fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).expect("an id")
}

pub(crate) fn named(text: &str) -> StartOptions {
    StartOptions { id: Some(id(text)), ..StartOptions::default() }
}

pub(crate) fn text(value: Option<&Value>) -> String {
    let bytes = value.expect("a value").inline().expect("a value at hand");
    String::from_utf8_lossy(bytes).into_owned()
}

/// Starts a program under an id.
pub(crate) async fn start(client: &Client, name: &str, program: &str) -> InstanceId {
    client.start("run", program.into(), named(name)).await.expect("the start is accepted")
}

pub(crate) async fn raise(client: &Client, name: &str, event: &str, input: &str) {
    let raised = Raised { name: event.to_owned(), input: input.into(), key: String::new() };
    client.raise(&id(name), raised).await.expect("the event is accepted");
}

/// The status and output or failure of an instance, once it has ended.
pub(crate) async fn end(client: &Client, name: &str) -> (Status, String) {
    let view = client.wait(&id(name)).await.expect("the instance exists");
    (view.status, said(&view))
}

fn said(view: &View) -> String {
    match (&view.failure, &view.output) {
        (Some(failure), _) => format!("{}: {}", failure.kind, failure.message),
        (None, Some(output)) => text(Some(output)),
        (None, None) => String::new(),
    }
}

/// Why an instance does not go on, as texts.
pub(crate) async fn why(client: &Client, name: &str) -> Vec<String> {
    let facts = client.why(&id(name)).await.expect("the instance exists");
    facts.reasons.iter().map(|(reason, _)| reason.to_string()).collect()
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until<F: Future<Output = bool>>(mut is: impl FnMut() -> F) {
    while !is().await {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn until_why(client: &Client, name: &str, reason: &str) {
    until(async || why(client, name).await.iter().any(|found| found.contains(reason))).await;
}

pub(crate) async fn until_state(client: &Client, entity: &str, state: &str) {
    let entity = id(entity);
    until(async || {
        let found = client.entity_state(&entity).await.expect("the entity is readable");
        found.is_some_and(|found| text(Some(&found)) == state)
    })
    .await;
}

/// A history without times and made names, one line for each event.
pub(crate) async fn history(client: &Client, name: &str) -> Vec<String> {
    let events = client.history(&id(name)).await.expect("the history is readable");
    events.iter().filter_map(line).collect()
}

fn line(event: &Event) -> Option<String> {
    match event {
        Event::TurnStarted { .. } => None,
        Event::Started(started) => Some(format!("Started {} {:?}", started.name, started.input)),
        Event::TimerCreated { id, .. } => Some(format!("TimerCreated {}", id.0)),
        other => Some(format!("{other:?}")),
    }
}

/// A store that counts what would change it, and lacks space when it is told to.
pub(crate) struct Spied {
    store: Embedded,
    pub(crate) writes: Arc<AtomicUsize>,
    pub(crate) is_low: Arc<AtomicBool>,
}

impl Spied {
    pub(crate) fn new(store: Embedded) -> Self {
        Self { store, writes: Arc::default(), is_low: Arc::default() }
    }
}

impl Store for Spied {
    type Tables = <Embedded as Store>::Tables;

    fn hub(&self) -> &Hub {
        self.store.hub()
    }

    fn mode(&self) -> Mode {
        self.store.mode()
    }

    fn tables(&self) -> &Self::Tables {
        self.store.tables()
    }

    fn acquire(&self, partition: PartitionId) -> Result<u64, StoreError> {
        self.store.acquire(partition)
    }

    fn release(&self, partition: PartitionId) -> Result<(), StoreError> {
        self.store.release(partition)
    }

    fn recover(
        &self,
        partitions: &[PartitionId],
        sink: &mut dyn FnMut(Record),
    ) -> Result<(), StoreError> {
        self.store.recover(partitions, sink)
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.store.observe(observer);
    }

    fn append(&self, record: Record) {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.append(record);
    }

    fn fold(&self, folds: &[Fold]) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.fold(folds)
    }

    fn pressure(&self) -> Pressure {
        Pressure { low_space: self.is_low.load(Ordering::SeqCst), ..self.store.pressure() }
    }

    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }
}
