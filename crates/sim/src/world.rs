//! A run: a scenario, a chain of hosts, clients, faults, and the checks.
//!
//! Everything happens in one thread, one step at a time; the seed decides what comes next. Faults strike for a while, then
//! stop, and everything has to come to its end within a bounded number of steps.
//!
//! Start at [`run`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use everstep_engine::{Instance, Limits};
use everstep_model::{Event, InstanceId, Kind, PartitionId, Status, Timestamp, Value};
use everstep_runtime::partition::{
    Dispatch, Effect, Input, Options, Partition, Request, Response, Ticket,
};
use everstep_store::{Error as StoreError, HubOptions, Mode, Pumped, Row, Tables, Wake};
use everstep_store_embedded::disk::{Fault as DiskFault, SimulatedDisk};
use everstep_store_memory::{Fault as FoldFault, MemoryTables};
use everstep_worker::Worker;

use crate::{
    client::{Client, Promise},
    coverage::{Coverage, Fault},
    defect::Defect,
    host::{Folding, Host, Job, Lane, Medium, Said, lock, raw_history},
    interpreter,
    program::{Scenario, Stimulus, Target},
    random::Random,
    shadow::Shadow,
    worker::{Healed, app, entity_id},
};

const PARTITIONS: u16 = 3;
/// The first moment of a run.
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// The clock does not jump as far as to a timer that is to lose its race.
const FAR: Duration = Duration::from_hours(365 * 24);
/// Steps that may pass after the last fault until everything is at rest.
const STEPS_TO_REST: u32 = 60_000;

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) faults: Faults,
    pub(crate) defect: Option<Defect>,
    pub(crate) transcript: bool,
}

/// Whether anything goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    None,
    Some,
}

/// A check that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) check: &'static str,
    pub(crate) text: String,
}

fn broken(check: &'static str, text: impl Into<String>) -> Violation {
    Violation { check, text: text.into() }
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) coverage: Coverage,
    pub(crate) transcript: String,
    pub(crate) steps: u32,
    /// How each root ended and what each entity holds.
    pub(crate) state: BTreeMap<String, String>,
}

/// Runs a scenario to its end. The transcript is filled also when it ends in a violation.
pub(crate) fn run(setting: Setting, transcript: &mut String) -> Result<Report, Violation> {
    let mut world = World::new(setting);
    let result = world.play();
    *transcript = std::mem::take(&mut world.transcript);
    result?;
    Ok(Report {
        coverage: world.coverage,
        transcript: transcript.clone(),
        steps: world.steps,
        state: world.state,
    })
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Client(usize),
    Why,
}

struct World {
    setting: Setting,
    random: Random,
    scenario: Arc<Scenario>,
    worker: Arc<dyn Worker>,
    app: everstep::App,
    options: Options,
    medium: Medium,
    host: Option<Host>,
    shadow: Shadow,
    clients: Vec<Client>,
    tickets: BTreeMap<Ticket, Asker>,
    next_ticket: u64,
    now: Timestamp,
    latest: Timestamp,
    steps: u32,
    faults_left: u32,
    /// Which faults this seed uses.
    kinds: Vec<Fault>,
    full: Option<u32>,
    /// Groups that the store reported as durable, per partition.
    acknowledged: Vec<u64>,
    coverage: Coverage,
    transcript: String,
    state: BTreeMap<String, String>,
    /// A planted defect that has struck, where once is enough.
    struck: u32,
    stale: BTreeMap<InstanceId, Row>,
    hidden: VecDeque<(PartitionId, Input)>,
}

impl World {
    fn new(setting: Setting) -> Self {
        let scenario = Arc::new(Scenario::generate(setting.seed));
        let healed = Healed::default();
        let app = app(&scenario, &healed);
        let mut random = Random::new(setting.seed, 2);
        let options = options(&mut random);
        let (tables, _) = MemoryTables::new(&HubOptions::new("sim", PARTITIONS));
        let medium = Medium {
            mode: setting.mode,
            disk: SimulatedDisk::new(),
            tables,
            segment_bytes: *random.pick(&[16 << 10, 32 << 10, 64 << 10]),
        };
        let clients = scenario.roots.iter().enumerate().map(|(index, root)| {
            let expected = interpreter::expected(&scenario, root.program);
            Client::new(index, root.clone(), expected, scenario.heals(root.program), healed.clone())
        });
        let clients = clients.collect();
        let kinds: Vec<_> = Fault::ALL.into_iter().filter(|_| !random.one_in(3)).collect();
        let faults_left = match setting.faults {
            Faults::None => 0,
            Faults::Some => 3 + random.below(25) as u32,
        };
        Self {
            setting,
            random,
            scenario,
            worker: Arc::new(app.clone()),
            app,
            options,
            medium,
            host: None,
            shadow: Shadow::new(PARTITIONS),
            clients,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            now: START,
            latest: START,
            steps: 0,
            faults_left,
            kinds,
            full: None,
            acknowledged: vec![0; usize::from(PARTITIONS)],
            coverage: Coverage::default(),
            transcript: String::new(),
            state: BTreeMap::new(),
            struck: 0,
            stale: BTreeMap::new(),
            hidden: VecDeque::new(),
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.setting.transcript {
            let at = self.now.millis() - START.millis();
            writeln!(self.transcript, "{:>6} {at:>9} ms  {}", self.steps, what())
                .expect("a String takes every write");
        }
    }

    fn has(&self, defect: Defect) -> bool {
        self.setting.defect == Some(defect)
    }

    /// Whether a planted defect strikes here: at most `most` times in a run, once in `rarity`.
    fn strikes(&mut self, defect: Defect, rarity: usize, most: u32) -> bool {
        let strikes = self.has(defect) && self.struck < most && self.random.one_in(rarity);
        self.struck += u32::from(strikes);
        strikes
    }

    fn play(&mut self) -> Result<(), Violation> {
        let scenario = self.scenario.clone();
        self.note(|| format!("{scenario:#?}"));
        self.open()?;
        let mut bound = 0;
        let spread = 20 + self.random.below(120) as u32;
        let mut next_fault = spread;
        loop {
            self.steps += 1;
            if self.faults_left > 0 && self.steps >= next_fault {
                next_fault = self.steps + 1 + self.random.below(2 * spread as usize) as u32;
                self.faults_left -= 1;
                self.fault();
                if self.faults_left == 0 {
                    self.space_again();
                }
                bound = self.steps;
            }
            if self.full.is_some_and(|until| self.steps >= until) {
                self.space_again();
            }
            self.step()?;
            if self.clients.iter().all(Client::is_done)
                && self.faults_left == 0
                && self.is_idle()
                && self.rest()?
            {
                break;
            }
            if self.faults_left == 0 && self.steps - bound > STEPS_TO_REST {
                return Err(self.stuck());
            }
        }
        self.check_end()
    }

    // One step

    fn is_idle(&self) -> bool {
        self.host.as_ref().is_some_and(Host::is_idle) && self.full.is_none()
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.pass_time();
        if self.host.is_none() {
            return self.open();
        }
        match self.random.below(12) {
            0..=3 => self.deliver(),
            4 | 5 => self.close_one(),
            6 => self.pump(),
            7 => self.job(),
            8 => self.activity(),
            9 => self.fold(),
            10 => {
                self.ask();
                Ok(())
            }
            _ => self.tick(),
        }
    }

    fn pass_time(&mut self) {
        let millis = self.random.below(40) as u64;
        self.set_clock(self.now.after(Duration::from_millis(millis)));
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
        self.latest = self.latest.max(now);
    }

    fn host(&mut self) -> &mut Host {
        self.host.as_mut().expect("a step is taken by a host that runs")
    }

    fn deliver(&mut self) -> Result<(), Violation> {
        let index = self.random.below(usize::from(PARTITIONS));
        let Some(host) = self.host.as_ref() else { return Ok(()) };
        let mail = &host.mail[index];
        if mail.is_empty() {
            return self.close_one();
        }
        let lane = mail[self.random.below(mail.len())].0;
        let at = mail.iter().position(|(other, _)| *other == lane).unwrap_or(0);
        let (_, input) = self.host().mail[index].remove(at);
        self.input(index, input)
    }

    fn input(&mut self, index: usize, input: Input) -> Result<(), Violation> {
        let Some(input) = self.spoil_input(input) else { return Ok(()) };
        self.note(|| format!("P{index} <- {input:?}"));
        let now = self.now;
        let said = self.host().step(index, now, input);
        self.said(said)
    }

    fn tick(&mut self) -> Result<(), Violation> {
        let mut now = self.now;
        if self.strikes(Defect::TimerEarly, 40, 5) {
            now = now.after(Duration::from_hours(1));
        }
        for index in 0..usize::from(PARTITIONS) {
            if self.host().partitions[index].next_alarm().is_some_and(|at| at <= now) {
                let said = self.host().step(index, now, Input::Tick);
                self.said(said)?;
            }
        }
        if self.is_idle() {
            self.jump();
        }
        Ok(())
    }

    /// Nothing moves: the clock goes on to what comes next, as a sleeping host's would.
    fn jump(&mut self) {
        let host = self.host();
        let alarms = host.partitions.iter().filter_map(Partition::next_alarm).min();
        let due = host.due(Timestamp::MAX);
        let waits = !due.is_empty();
        let due = due.into_iter().filter_map(|due| match due.wake {
            Wake::At(at) => Some(at),
            // What waits for attention may be a signal whose time has not come.
            Wake::Now | Wake::Never => {
                let row = host.store.tables().row(due.iid).expect("tables in memory can be read");
                row.and_then(|row| instance(&row).ok()).and_then(|instance| instance.next_due())
            }
        });
        let next = alarms.into_iter().chain(due).min();
        if let Some(at) = next
            && at > self.now
            && at < self.now.after(FAR)
        {
            self.set_clock(at);
        }
        let now = self.now;
        if waits && !self.has(Defect::WakeForgotten) {
            self.note(|| "woken by the clock".to_owned());
            self.host().wake(now);
        }
    }

    fn close_one(&mut self) -> Result<(), Violation> {
        let index = self.random.below(usize::from(PARTITIONS));
        self.close(index)
    }

    fn close(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        if !self.host().may_close(index) {
            return Ok(());
        }
        let said = self.host().close_group(index, now);
        self.said(said)?;
        if self.has(Defect::ReleaseBeforeFlush) {
            let all: Vec<_> = self.host().effects[index]
                .iter_mut()
                .flat_map(|(_, effects)| std::mem::take(effects))
                .collect();
            self.release(index, all)?;
        }
        if self.has(Defect::ReplyBeforeFlush) {
            let (replies, rest): (Vec<_>, Vec<_>) = self.host().effects[index]
                .iter_mut()
                .flat_map(|(_, effects)| std::mem::take(effects))
                .partition(|effect| matches!(effect, Effect::Reply(..)));
            if let Some((_, effects)) = self.host().effects[index].back_mut() {
                *effects = rest;
            }
            self.release(index, replies)?;
        }
        if self.strikes(Defect::DurableBeforeFlush, 4, 30) {
            let last = self.shadow.last(PartitionId(index as u16));
            lock(&self.host().heard.durable).push_back((PartitionId(index as u16), last));
            return self.heard();
        }
        Ok(())
    }

    fn said(&mut self, said: Vec<Said>) -> Result<(), Violation> {
        for said in said {
            match said {
                Said::Appended(partition, bytes) => {
                    self.note(|| {
                        let group = everstep_model::stored::decode_group(&bytes);
                        format!("P{} appends {group:?}", partition.0)
                    });
                    let latest = self.latest;
                    self.shadow
                        .append(partition, &bytes, latest)
                        .map_err(|text| broken("record", text))?;
                }
                Said::Reply(ticket, response) => self.answer(ticket, response)?,
                Said::LoadsHistory => self.cover(Fault::Evict),
            }
        }
        Ok(())
    }

    // The store

    fn pump(&mut self) -> Result<(), Violation> {
        let pumped = self.host().store.pump();
        if pumped != Pumped::Idle {
            self.note(|| format!("pump: {pumped:?}"));
        }
        match pumped {
            Pumped::Idle | Pumped::Durable => {}
            Pumped::DiskFull => self.cover(Fault::DiskFull),
            Pumped::Failed => {
                self.cover(Fault::DiskError);
                self.crash();
                return Ok(());
            }
        }
        self.heard()
    }

    /// Releases what has become durable.
    fn heard(&mut self) -> Result<(), Violation> {
        loop {
            let heard = lock(&self.host().heard.durable).pop_front();
            let Some((partition, group)) = heard else { break };
            let index = usize::from(partition.0);
            self.acknowledged[index] = self.acknowledged[index].max(group.0);
            let mut effects = Vec::new();
            while self.host().effects[index].front().is_some_and(|(number, _)| *number <= group) {
                effects.extend(
                    self.host().effects[index]
                        .pop_front()
                        .map(|(_, effects)| effects)
                        .unwrap_or_default(),
                );
            }
            self.release(index, effects)?;
            self.host().post(partition, Lane::Durable, Input::Durable(group));
        }
        let failed = lock(&self.host().heard.failed).take();
        if failed.is_some() {
            self.crash();
        }
        Ok(())
    }

    fn release(&mut self, index: usize, effects: Vec<Effect>) -> Result<(), Violation> {
        let from = PartitionId(index as u16);
        for effect in effects {
            match effect {
                Effect::Activity(dispatch) => {
                    let key = (dispatch.iid, dispatch.execution, dispatch.call.task);
                    self.host().activities.entry(key).or_insert(dispatch);
                }
                Effect::DropActivities(iid) => {
                    self.host().activities.retain(|(of, ..), _| *of != iid);
                }
                Effect::Entity(batch) => self.host().jobs.push(Job::Entity(from, batch)),
                Effect::Send(to, at, envelope) => {
                    if self.strikes(Defect::SendLost, 6, 20) {
                        continue;
                    }
                    let input = Input::Messages(vec![(at, envelope.clone())]);
                    if self.has(Defect::AcknowledgedTooEarly) {
                        self.host().post_free(from, Input::Acknowledged(to, at));
                    }
                    self.host().post(to, Lane::From(from), input);
                    if self.kinds.contains(&Fault::Twice)
                        && self.setting.faults == Faults::Some
                        && self.random.one_in(5)
                    {
                        self.cover(Fault::Twice);
                        let mut again = at;
                        if self.has(Defect::DuplicateTaken) {
                            again.index += 1;
                        }
                        let input = Input::Messages(vec![(again, envelope)]);
                        self.host().post(to, Lane::From(from), input);
                    }
                }
                Effect::Acknowledge(source, at) => {
                    self.host().post_free(source, Input::Acknowledged(from, at));
                }
                Effect::Reply(ticket, response) => self.answer(ticket, response)?,
                Effect::Turned(_) => {}
            }
        }
        Ok(())
    }

    fn fold(&mut self) -> Result<(), Violation> {
        if self.medium.mode == Mode::Direct {
            return Ok(());
        }
        let now = self.now;
        if self.host().folding.is_none() {
            if self.random.one_in(4) || self.is_idle() {
                let left = (0..PARTITIONS).map(PartitionId).collect();
                self.host().folding =
                    Some(Folding { left, numbers: Vec::new(), folds: Vec::new() });
            }
            return Ok(());
        }
        let given = self.host().folding.as_ref().is_some_and(|folding| folding.left.is_empty());
        if !given {
            let (all, said) = self.host().hand_over(now);
            self.said(said)?;
            if all {
                self.compare_with_rebuilt()?;
            }
            return Ok(());
        }
        self.write_fold()
    }

    fn write_fold(&mut self) -> Result<(), Violation> {
        let Some(mut folding) = self.host().folding.take() else { return Ok(()) };
        if self.has(Defect::StaleRow) {
            let tables = self.host().store.tables().clone();
            for folded in folding.folds.iter().flat_map(|fold| &fold.rows) {
                if let Ok(Some(row)) = tables.row(folded.row.iid) {
                    self.stale.insert(row.id.clone(), row);
                }
            }
        }
        self.spoil_fold(&mut folding);
        if self.strikes(Defect::FoldedBeforeFold, 3, 5) {
            self.tell_folded(&folding);
            return Ok(());
        }
        match self.host().store.fold(&folding.folds) {
            Ok(()) => {
                self.note(|| "folded".to_owned());
                self.tell_folded(&folding);
            }
            Err(StoreError::Unavailable { .. }) => {
                self.host().folding = Some(folding);
                return self.pump();
            }
            Err(StoreError::DiskFull { .. }) => {
                self.cover(Fault::FoldFull);
                self.host().folding = Some(folding);
            }
            Err(error) => {
                self.note(|| format!("the fold failed: {error}"));
                self.crash();
                return Ok(());
            }
        }
        while self.host().store.tables().purge_step().is_ok_and(|more| more) {}
        Ok(())
    }

    fn tell_folded(&mut self, folding: &Folding) {
        for (partition, number) in &folding.numbers {
            self.host().post(*partition, Lane::Folded, Input::Folded(*number));
        }
    }

    // Work beside the partitions

    fn job(&mut self) -> Result<(), Violation> {
        let count = self.host().jobs.len();
        if count == 0 {
            return self.close_one();
        }
        let at = self.random.below(count);
        let job = self.host().jobs.remove(at);
        match job {
            Job::Load(partition, ids) => {
                let rows =
                    self.host().store.tables().find(&ids).expect("tables in memory can be read");
                let mut loaded: Vec<_> = ids.into_iter().zip(rows).collect();
                self.spoil_rows(&mut loaded);
                self.host().post_free(partition, Input::Loaded(loaded));
            }
            Job::History(partition, id, iid, execution) => {
                let mut events = self
                    .host()
                    .folded_history(iid, execution)
                    .map_err(|text| broken("history", text))?;
                self.spoil_history(&mut events);
                self.host().post_free(partition, Input::History(id, execution, events));
            }
            Job::Entity(partition, batch) => {
                let entity = batch.entity.clone();
                let mut reply = self.host().run_entity(*batch);
                if self.strikes(Defect::EntityFailureKept, 2, 5) && reply.results.len() > 1 {
                    reply.results.truncate(1);
                }
                self.host().post_free(partition, Input::EntityEnded(entity, reply));
            }
            Job::Wake => {
                let now = self.now;
                if !self.has(Defect::WakeForgotten) {
                    self.host().wake(now);
                }
            }
        }
        Ok(())
    }

    fn activity(&mut self) -> Result<(), Violation> {
        let count = self.host().activities.len();
        if count == 0 {
            return self.close_one();
        }
        let at = self.random.below(count);
        let Some(key) = self.host().activities.keys().nth(at).copied() else { return Ok(()) };
        let Some(dispatch) = self.host().activities.remove(&key) else { return Ok(()) };
        if self.strikes(Defect::ActivityLost, 8, 3) {
            return Ok(());
        }
        let twice = self.kinds.contains(&Fault::ActivityTwice)
            && self.setting.faults == Faults::Some
            && self.random.one_in(6);
        if twice {
            self.cover(Fault::ActivityTwice);
            self.run_activity(&dispatch)?;
        }
        self.run_activity(&dispatch)
    }

    fn run_activity(&mut self, dispatch: &Dispatch) -> Result<(), Violation> {
        let instance = dispatch.call.instance.clone();
        let outcome = self.host().run_activity(dispatch).map_err(|text| broken("payload", text))?;
        let mut task = dispatch.call.task;
        if self.strikes(Defect::AnswerOfAnother, 8, 3) {
            task.0 += 1;
        }
        let to = instance.partition(PARTITIONS);
        let input = Input::ActivityEnded { instance, execution: dispatch.execution, task, outcome };
        self.host().post_free(to, input);
        Ok(())
    }

    // Clients

    fn ask(&mut self) {
        let index = self.random.below(self.clients.len());
        let client = &self.clients[index];
        let waits = client.root.after.is_some_and(|root| !self.clients[root].has_begun());
        if client.asked > 0 || client.is_done() || waits {
            return;
        }
        let polls = self.random.one_in(2);
        let requests = self.clients[index].requests(polls);
        for (to, request) in requests {
            let times = 1 + usize::from(self.strikes(Defect::RequestTwice, 3, 50));
            for _ in 0..times {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                self.tickets.insert(ticket, Asker::Client(index));
                self.host()
                    .post_free(to.partition(PARTITIONS), Input::Request(ticket, request.clone()));
                self.clients[index].asked += 1;
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, response: Response) -> Result<(), Violation> {
        self.note(|| format!("{ticket:?} -> {response:?}"));
        let Some(Asker::Client(index_of)) = self.tickets.remove(&ticket) else { return Ok(()) };
        let found = match response {
            Response::AskTables => self.find(&self.clients[index_of].id())?,
            _ => None,
        };
        let client = &mut self.clients[index_of];
        let before = client.promises.len();
        client.answered(response, found).map_err(|text| broken("answer", text))?;
        let shadow = &self.shadow;
        let mut index = 0;
        // An event that its receiver could not take up any more is not kept for ever.
        client.promises.retain(|promise| {
            index += 1;
            let late = |id: &str, key: &str| !shadow.has_taken(id, key) && shadow.has_ended(id);
            index <= before || !matches!(promise, Promise::Key(id, key) if late(id, key))
        });
        let fresh: Vec<_> = self.clients[index_of].promises.iter().skip(before).cloned().collect();
        fresh.iter().try_for_each(|promise| self.check_promise(promise))
    }

    fn find(&self, id: &InstanceId) -> Result<Option<Instance>, Violation> {
        let host = self.host.as_ref().expect("a host that runs answers");
        let rows = host
            .store
            .tables()
            .find(std::slice::from_ref(id))
            .expect("tables in memory can be read");
        rows.into_iter().flatten().next().map(|row| instance(&row)).transpose()
    }

    fn check_promise(&self, promise: &Promise) -> Result<(), Violation> {
        let holds = match promise {
            Promise::Execution(execution) => self.shadow.has_begun(execution),
            Promise::Key(id, key) => self.shadow.has_taken(id, key),
        };
        if holds {
            Ok(())
        } else {
            Err(broken("promise", format!("{promise:?} was answered and is not there")))
        }
    }

    // Faults

    fn cover(&mut self, fault: Fault) {
        for client in &self.clients {
            if client.has_begun() && !client.is_done() {
                let features = self.scenario.features(&client.root);
                features.into_iter().for_each(|feature| self.coverage.count(feature, fault));
            }
        }
    }

    fn fault(&mut self) {
        if self.host.is_none() || self.kinds.is_empty() {
            return;
        }
        let fault = *self.random.pick(&self.kinds.clone());
        let is_log = self.medium.mode == Mode::Log;
        match fault {
            Fault::Crash => {
                self.cover(Fault::Crash);
                self.crash();
            }
            Fault::AnswerLost => {
                let pumped = self.host().store.pump();
                if pumped == Pumped::Durable {
                    self.cover(Fault::AnswerLost);
                }
                self.crash();
            }
            Fault::DiskFull if is_log => {
                self.medium.disk.set_capacity(Some(self.random.below(200_000) as u64));
                self.full = Some(self.steps + 30 + self.random.below(200) as u32);
            }
            Fault::DiskError if is_log => {
                let kind = *self.random.pick(&DiskFault::ALL);
                let calls = 1 + self.random.below(8) as u64;
                self.medium.disk.fail_call(calls, kind);
            }
            Fault::FoldBefore | Fault::FoldAfter | Fault::FoldFull if is_log => {
                let kind = match fault {
                    Fault::FoldBefore => FoldFault::Before,
                    Fault::FoldAfter => FoldFault::After,
                    _ => FoldFault::DiskFull,
                };
                if fault != Fault::FoldFull {
                    self.cover(fault);
                }
                self.medium.tables.fail_fold(0, kind);
            }
            Fault::ClockAhead => {
                self.cover(fault);
                let by = Duration::from_secs(self.random.below(7200) as u64);
                self.set_clock(self.now.after(by));
            }
            Fault::ClockBack => {
                self.cover(fault);
                let by = self.random.number(7_200_000);
                self.set_clock(Timestamp::from_millis(
                    (self.now.millis() - by).max(START.millis()),
                ));
            }
            Fault::DiskFull
            | Fault::DiskError
            | Fault::FoldBefore
            | Fault::FoldAfter
            | Fault::FoldFull
            | Fault::Twice
            | Fault::ActivityTwice
            | Fault::Evict => {}
        }
    }

    fn space_again(&mut self) {
        self.full = None;
        self.medium.disk.set_capacity(None);
    }

    /// The process is gone: what was not flushed is kept or lost, sector by sector.
    fn crash(&mut self) {
        self.note(|| "crash".to_owned());
        self.host = None;
        self.tickets.clear();
        self.hidden.clear();
        if self.medium.mode == Mode::Log {
            self.medium.disk = self.medium.disk.crash(self.random.next());
        }
        self.medium.tables = self.medium.tables.fork();
        if self.full.is_none() {
            self.medium.disk.set_capacity(None);
        }
    }

    fn open(&mut self) -> Result<(), Violation> {
        let recovery_fault = self.setting.faults == Faults::Some
            && self.faults_left > 0
            && self.steps > 0
            && self.random.one_in(6);
        if recovery_fault && self.medium.mode == Mode::Log {
            self.faults_left -= 1;
            let calls = 1 + self.random.below(30) as u64;
            let fault = *self.random.pick(&DiskFault::ALL);
            self.medium.disk.fail_call(calls, fault);
        }
        let mut recovered: BTreeMap<PartitionId, u64> = BTreeMap::new();
        let (skip, skipped) = (self.has(Defect::RecoveryStopsShort), self.random.below(4) as u64);
        let durable = self.acknowledged.clone();
        let mut keep = |record: &everstep_store::Record| {
            let last = durable[usize::from(record.partition.0)];
            if skip && record.group.0 + skipped > last {
                return false;
            }
            recovered.insert(record.partition, record.group.0);
            true
        };
        let tamper = crate::defect::tamper(self.setting.defect);
        let opened = Host::open(
            &self.medium,
            self.worker.clone(),
            &self.options,
            tamper.as_ref(),
            &mut keep,
        );
        let host = match opened {
            Ok(host) => host,
            Err(text) if recovery_fault || self.full.is_some() => {
                self.note(|| format!("opening failed: {text}"));
                self.space_again();
                self.crash();
                return Ok(());
            }
            Err(text) => return Err(broken("open", text)),
        };
        let applied = host.store.tables().applied().expect("tables in memory can be read");
        self.host = Some(host);
        for applied in applied {
            let id = applied.partition;
            let upto = recovered.get(&id).copied().unwrap_or(0).max(applied.group.0);
            if upto < self.acknowledged[usize::from(id.0)] {
                return Err(broken(
                    "durability",
                    format!(
                        "partition {} recovered up to group {upto}, and {} was reported durable",
                        id.0,
                        self.acknowledged[usize::from(id.0)]
                    ),
                ));
            }
            self.shadow
                .cut(id, everstep_model::GroupNo(upto))
                .map_err(|text| broken("record", text))?;
            self.acknowledged[usize::from(id.0)] = upto;
        }
        for index in 0..self.clients.len() {
            let shadow = &self.shadow;
            self.clients[index].crashed(|execution| shadow.has_begun(execution));
            let promises = self.clients[index].promises.clone();
            promises.iter().try_for_each(|promise| self.check_promise(promise))?;
        }
        let now = self.now;
        let said = self.host().resume(now);
        self.said(said)
    }

    // Planted defects

    /// What becomes of an input on its way.
    fn spoil_input(&mut self, input: Input) -> Option<Input> {
        match &input {
            Input::Messages(messages) if self.has(Defect::UnlockLost) => {
                let is_unlock = |message: &everstep_model::Message| {
                    matches!(message.body, everstep_model::Body::Unlock { .. })
                };
                if messages.iter().any(|(_, envelope)| is_unlock(&envelope.message))
                    && self.strikes(Defect::UnlockLost, 2, 3)
                {
                    return None;
                }
            }
            Input::Messages(_) if self.strikes(Defect::MessageSkipped, 10, 3) => return None,
            Input::EntityEnded(..) if self.strikes(Defect::EntityAnswerLost, 4, 2) => return None,
            Input::Loaded(_) if self.strikes(Defect::LoadLost, 4, 2) => return None,
            _ => {}
        }
        Some(input)
    }

    fn spoil_rows(&mut self, loaded: &mut [(InstanceId, Option<Row>)]) {
        for (id, row) in loaded {
            if row.is_some() && self.strikes(Defect::RowMissed, 2, 3) {
                *row = None;
            }
            if self.has(Defect::StaleRow)
                && let Some(stale) = self.stale.get(id)
                && row.is_some()
            {
                *row = Some(stale.clone());
            }
        }
    }

    fn spoil_history(&mut self, events: &mut [Event]) {
        if events.len() > 2 && self.strikes(Defect::HistoryOutOfOrder, 1, 100) {
            let at = 1 + self.random.below(events.len() - 2);
            events.swap(at, at + 1);
        }
    }

    fn spoil_fold(&mut self, folding: &mut Folding) {
        for fold in &mut folding.folds {
            if self.has(Defect::FoldWithoutApplied) {
                let applied = self.medium.tables.applied().expect("tables in memory can be read");
                let before = applied[usize::from(fold.partition.0)].group;
                fold.upto = fold.upto.min(before.next());
            }
            if !fold.rows.is_empty() && self.strikes(Defect::FoldLosesRow, 3, 5) {
                fold.rows.pop();
            }
            if self.has(Defect::PurgeForgotten) {
                fold.purged.clear();
            }
            if self.has(Defect::MetaForgotten) {
                let applied = self.medium.tables.applied().expect("tables in memory can be read");
                let before = applied[usize::from(fold.partition.0)].clone();
                fold.meta = before.meta;
            }
            if self.has(Defect::ChunkLost) {
                fold.rows.iter_mut().for_each(|folded| folded.chunks.clear());
            }
            if self.has(Defect::PayloadLost) {
                fold.rows.iter_mut().for_each(|folded| folded.payloads.clear());
            }
            if self.has(Defect::WakeNotStored) {
                fold.rows.iter_mut().for_each(|folded| folded.row.wake = Wake::Never);
            }
        }
    }

    // Checks

    /// A second host, built from what the store has, would hand over the same.
    fn compare_with_rebuilt(&mut self) -> Result<(), Violation> {
        let is_durable = self.host().partitions.iter().all(|partition| partition.in_flight() == 0);
        let last: Vec<_> = (0..PARTITIONS).map(|id| self.shadow.last(PartitionId(id)).0).collect();
        if !is_durable
            || last != self.acknowledged
            || self.full.is_some()
            || self.setting.defect.is_some() && self.random.one_in(2)
        {
            return Ok(());
        }
        let medium = Medium {
            disk: self.medium.disk.fork(),
            tables: self.medium.tables.fork(),
            ..self.medium.clone()
        };
        let mut rebuilt =
            Host::open(&medium, self.worker.clone(), &self.options, None, &mut |_| true)
                .map_err(|text| broken("rebuild", text))?;
        for partition in &mut rebuilt.partitions {
            let theirs = partition.hand_over().fold;
            let host = self.host.as_ref().expect("a fold is handed over by a host that runs");
            let folds = host.folding.as_ref().map(|folding| &folding.folds);
            let Some(ours) =
                folds.into_iter().flatten().find(|fold| fold.partition == theirs.partition)
            else {
                continue;
            };
            // Others may have handed over later, and gone on meanwhile. What memory's outbox has been told of since the
            // last group stands in no record, so the partition's own state may differ.
            let is_same = ours.rows == theirs.rows && ours.purged == theirs.purged;
            if ours.upto == theirs.upto && !is_same {
                return Err(broken("rebuild", difference(ours, &theirs)));
            }
        }
        Ok(())
    }

    /// Everything is asked for and nothing moves: folds, and tells whether nothing will move any more.
    fn rest(&mut self) -> Result<bool, Violation> {
        if self.medium.mode == Mode::Log {
            let left = (0..PARTITIONS).map(PartitionId).collect();
            self.host().folding = Some(Folding { left, numbers: Vec::new(), folds: Vec::new() });
            let now = self.now;
            let (all, said) = self.host().hand_over(now);
            self.said(said)?;
            if !all {
                return Ok(false);
            }
            self.compare_with_rebuilt()?;
            self.write_fold()?;
            if self.host.as_ref().is_none_or(|host| host.folding.is_some()) {
                return Ok(false);
            }
        }
        // Alarms of timers that were canceled ring for nobody; only the tables tell what is outstanding.
        let rests = self.host().due(Timestamp::MAX).is_empty();
        if !rests {
            self.jump();
        }
        Ok(rests)
    }

    fn stuck(&mut self) -> Violation {
        let mut text = String::from("not at rest:");
        if let Some(host) = &self.host {
            let due: Vec<_> =
                host.due(Timestamp::MAX).into_iter().map(|due| (due.id, due.wake)).collect();
            write!(
                text,
                " faults ahead {}, due {due:?}, jobs {:?}, activities {}, full {:?};",
                self.faults_left,
                host.jobs,
                host.activities.len(),
                self.full
            )
            .expect("a String takes every write");
        }
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            if client.is_done() {
                continue;
            }
            write!(text, " `{}` is at {:?};", client.root.id, client.stage)
                .expect("a String takes every write");
            let id = client.id();
            text.push_str(&self.why(&id));
        }
        broken("stuck", text)
    }

    /// What the partition says to why an instance does not go on.
    fn why(&mut self, id: &InstanceId) -> String {
        let Some(host) = self.host.as_mut() else { return " there is no host;".to_owned() };
        let index = usize::from(id.partition(PARTITIONS).0);
        let ticket = Ticket(u64::MAX);
        self.tickets.insert(ticket, Asker::Why);
        let mut said = host.step(index, self.now, Input::Request(ticket, Request::Why(id.clone())));
        said.extend(host.close_group(index, self.now));
        let _pumped = host.store.pump();
        loop {
            let heard = lock(&host.heard.durable).pop_front();
            let Some((partition, group)) = heard else { break };
            said.extend(host.step(usize::from(partition.0), self.now, Input::Durable(group)));
        }
        let facts = said.iter().find_map(|said| match said {
            Said::Reply(_, Response::Why(facts)) => Some(format!(" {facts:?};")),
            _ => None,
        });
        facts.unwrap_or_else(|| " it is not in memory;".to_owned())
    }

    fn check_end(&mut self) -> Result<(), Violation> {
        self.shadow.check_rest().map_err(|text| broken("rest", text))?;
        let host = self.host.as_ref().expect("a run ends with a host");
        let tables = host.store.tables();
        let dump = tables.logical_dump().expect("tables in memory can be read");
        let mut state = BTreeMap::new();
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for row in &dump.rows {
            let instance = instance(row)?;
            check_empty(&instance)?;
            if row.id.kind() == Kind::Entity {
                sums.insert(row.id.to_string(), total(row)?);
            } else {
                self.check_history(tables, row)?;
            }
        }
        let seen: BTreeSet<_> = self.shadow.instances().map(|(iid, _)| iid).collect();
        let found: BTreeSet<_> = dump.rows.iter().map(|row| row.iid).collect();
        if seen != found {
            return Err(broken("rows", format!("the tables have {found:?}, the records {seen:?}")));
        }
        for client in &self.clients {
            let row = dump.rows.iter().find(|row| row.id == client.id());
            let purged = client.root.fate == crate::program::Fate::Purge;
            match row {
                None if purged => {}
                None => return Err(broken("rows", format!("`{}` is gone", client.root.id))),
                Some(_) if purged => {
                    return Err(broken("rows", format!("`{}` is still there", client.root.id)));
                }
                Some(row) => {
                    client.check_end(&instance(row)?).map_err(|text| broken("result", text))?;
                    state.insert(
                        client.root.id.clone(),
                        format!("{:?} {:?}", row.status, row.output),
                    );
                }
            }
        }
        self.check_sums(&sums)?;
        // An entity that holds nothing is as good as none.
        let sums = sums.into_iter().filter(|(_, sum)| *sum != 0);
        state.extend(sums.map(|(id, sum)| (id, sum.to_string())));
        self.state = state;
        Ok(())
    }

    /// The stored history is that of the records, and the code decides the same over it.
    fn check_history(&self, tables: &MemoryTables, row: &Row) -> Result<(), Violation> {
        let stored =
            raw_history(tables, row.iid, row.execution).map_err(|text| broken("history", text))?;
        let Some((_, seen)) = self.shadow.instances().find(|(iid, _)| *iid == row.iid) else {
            return Ok(());
        };
        if stored != seen.history {
            return Err(broken(
                "history",
                format!(
                    "the history of `{}` is {stored:?}, the records say {:?}",
                    row.id, seen.history
                ),
            ));
        }
        let mut events = stored;
        everstep_engine::resolve(&mut events, &mut |payload| tables.payload(payload))
            .map_err(|error| broken("payload", error.to_string()))?;
        if row.status == Status::Terminated {
            return Ok(());
        }
        self.app
            .replay(&row.id, &events)
            .map_err(|failure| broken("replay", format!("`{}` does not replay: {failure}", row.id)))
    }

    /// Entities hold what was added to them; what a terminated instance would have added may be missing.
    fn check_sums(&self, found: &BTreeMap<String, i64>) -> Result<(), Violation> {
        let mut sums: BTreeMap<Target, (i64, i64)> = BTreeMap::new();
        for client in &self.clients {
            let runs = i64::from(client.root.fate.runs());
            for (target, amount) in &client.expected.added {
                let sum = sums.entry(*target).or_default();
                sum.1 += amount * runs;
                sum.0 += if client.root.is_terminated() { 0 } else { amount * runs };
            }
            for stimulus in &client.root.stimuli {
                if let Stimulus::Signal { target, amount } = stimulus {
                    let sum = sums.entry(*target).or_default();
                    sum.0 += amount * runs;
                    sum.1 += amount * runs;
                }
            }
        }
        for target in Target::ALL {
            let (least, most) = sums.get(&target).copied().unwrap_or_default();
            let id = entity_id(target).to_string();
            let sum = found.get(&id).copied().unwrap_or(0);
            if sum < least || sum > most {
                return Err(broken(
                    "sum",
                    format!("`{id}` holds {sum}, and {least} to {most} was expected"),
                ));
            }
        }
        Ok(())
    }
}

fn options(random: &mut Random) -> Options {
    Options {
        limits: Limits {
            inline_bytes: *random.pick(&[80, 500, 8 << 10]),
            entity_batch: *random.pick(&[1, 3, 5_000]),
            ..Limits::default()
        },
        group_turns: *random.pick(&[1, 2, 5, 4096]),
        turn_messages: *random.pick(&[1, 2, 512]),
        memory_bytes: *random.pick(&[0, 0, 4 << 10, 32 << 20]),
        horizon: Duration::from_secs(*random.pick(&[5, 60, 600])),
        ..Options::default()
    }
}

fn instance(row: &Row) -> Result<Instance, Violation> {
    let mut instance =
        Instance::decode_live(row.iid, row.id.clone(), &row.live).map_err(|error| {
            broken("row", format!("the row of `{}` cannot be read: {error}", row.id))
        })?;
    instance.execution = row.execution;
    instance.execution_id = row.execution_id.clone();
    instance.status = row.status;
    instance.rare.custom_status.clone_from(&row.custom_status);
    instance.rare.failure.clone_from(&row.failure);
    instance.output.clone_from(&row.output);
    Ok(instance)
}

/// An instance at rest holds nothing.
fn check_empty(instance: &Instance) -> Result<(), Violation> {
    let left = if !instance.inbox.is_empty() {
        format!("messages {:?}", instance.inbox)
    } else if let Some(owner) = &instance.rare.lock {
        format!("a lock of {owner:?}")
    } else if !instance.tasks.is_empty() {
        format!("open activities {:?}", instance.tasks)
    } else if let Some(parked) = &instance.rare.parked {
        format!("a parked execution: {}", parked.reason)
    } else {
        return Ok(());
    };
    Err(broken("rest", format!("`{}` still holds {left}", instance.id)))
}

fn total(row: &Row) -> Result<i64, Violation> {
    let Some(bytes) = row.output.as_ref().and_then(Value::inline) else { return Ok(0) };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '-').collect();
    digits.parse().map_err(|_| broken("sum", format!("`{}` holds {text}", row.id)))
}

fn difference(ours: &everstep_store::Fold, theirs: &everstep_store::Fold) -> String {
    if ours.upto != theirs.upto || ours.purged != theirs.purged {
        return format!(
            "memory is at {:?} {:?}, the store at {:?} {:?}",
            ours.upto, ours.purged, theirs.upto, theirs.purged
        );
    }
    for row in &ours.rows {
        match theirs.rows.iter().find(|other| other.row.iid == row.row.iid) {
            Some(other) if other == row => {}
            other => return format!("memory has {row:?}, the store {other:?}"),
        }
    }
    match theirs.rows.iter().find(|row| !ours.rows.iter().any(|other| other.row.iid == row.row.iid))
    {
        Some(row) => format!("memory lacks {row:?}"),
        None => format!(
            "partition {}: memory has the meta {:?}, the store {:?}",
            ours.partition.0, ours.meta, theirs.meta
        ),
    }
}

/// Whether the state of an instance may differ between two runs: it was terminated, or such an instance adds to it.
pub(crate) fn is_loose(seed: u64, id: &str) -> bool {
    let scenario = Scenario::generate(seed);
    let terminated = scenario.roots.iter().filter(|root| root.is_terminated());
    terminated.into_iter().any(|root| {
        let added = interpreter::expected(&scenario, root.program).added;
        root.id == id || added.keys().any(|target| entity_id(*target).as_str() == id)
    })
}
