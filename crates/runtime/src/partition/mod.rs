//! A partition: the instances that hash to it, their inboxes and timers, as one deterministic machine.
//!
//! P1  [`Partition::step`] takes an input and returns outputs; it reads no clock and does no I/O. Threads drive it, and
//!     the simulator does the same.
//! P2  All that was taken in since the last group is in the next one, as a turn or as an accepted message; only then is
//!     anyone told. Nothing leaves before its group is durable: effects travel with the group.
//! P3  Messages to other partitions stay in the outbox until the receiver has them durably; a receiver takes each
//!     position of a source once, in order.
//! P4  An instance that is not in memory is loaded by someone else; its messages wait, in order, others go on.
//! P5  The state in memory runs ahead of what is durable; whatever is not durable dies with the process.

mod fold;
mod hold;
mod import;
mod io;
mod meta;
mod recover;
mod requests;
mod slot;
mod strikes;
mod turns;
mod values;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque},
    hash::BuildHasherDefault,
    time::Duration,
};

use everstep_engine::{Instance, Limits};
use everstep_model::{
    Body, Commit, Envelope, Event, EventId, ExecutionId, Group, GroupNo, Guid, HubId, Iid,
    InstanceId, Kind, Message, PartitionId, Position, Purged, Source, Start, Status, Timestamp,
    stored,
};
use everstep_store::{Hub, Mode, Record, Row};
use everstep_worker::{ActivityCall, Turns};
use xxhash_rust::xxh3::Xxh3Default;

pub use io::{
    Dispatch, Effect, Existing, HandOver, Imported, Input, Name, Output, Request, Response, Seen,
    Ticket, Unfolded,
};
pub(crate) use slot::Known;
use slot::{Asks, Busy, Slot, Waiting};
pub use strikes::STRIKES;
pub(crate) use values::REMEDY as LARGE_REMEDY;

/// A map whose order is the same in every run.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<Xxh3Default>>;

/// How a partition works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bounds of values and histories.
    pub limits: Limits,
    /// Turns in one group at most; more wait for the next.
    pub group_turns: usize,
    /// Messages of one instance before others have had theirs.
    pub turn_messages: usize,
    /// About how many bytes instances may take in memory.
    pub memory_bytes: usize,
    /// Timers due later than this are left to the tables.
    pub horizon: Duration,
    /// Whether somebody listens to what turns did.
    pub audience: Audience,
}

/// Whether turns are told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Audience {
    /// Nobody listens.
    #[default]
    None,
    /// A listener hears of each durable turn.
    Listener,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            group_turns: 4096,
            turn_messages: 512,
            memory_bytes: 32 << 20,
            horizon: Duration::from_mins(10),
            audience: Audience::None,
        }
    }
}

/// What a worker tells the partition about names, as of the present code.
pub trait Code: Send + Sync {
    /// The identity of the code.
    fn identity(&self) -> String;
    /// How an entity of this name is run; `None` if there is none.
    fn entity(&self, name: &str) -> Option<everstep_worker::EntityOptions>;
    /// Whether an activity of this name is registered.
    fn has_activity(&self, name: &str) -> bool;
}

/// One partition.
pub struct Partition {
    id: PartitionId,
    hub: HubId,
    count: u16,
    mode: Mode,
    options: Options,
    code: std::sync::Arc<dyn Code>,
    turns: Box<dyn Turns>,
    now: Timestamp,
    /// The last group that was closed.
    closed: GroupNo,
    durable: GroupNo,
    instances: u64,
    /// Whether the tables hold rows of this partition; if not, an unknown id is a new one.
    folded_any: bool,
    slots: Map<InstanceId, Slot>,
    ids: Map<Iid, InstanceId>,
    ready: VecDeque<InstanceId>,
    alarms: BinaryHeap<Reverse<Alarm>>,
    outbox: BTreeMap<(PartitionId, Position), Envelope>,
    /// Durable messages for instances that are being loaded.
    parcels: BTreeMap<u64, Envelope>,
    next_parcel: u64,
    /// Answers that wait for a closed group.
    late: VecDeque<(GroupNo, Ticket, Response)>,
    positions: BTreeMap<PartitionId, Position>,
    counts: BTreeMap<(Kind, String, Status), i64>,
    building: Building,
    dirty: Vec<InstanceId>,
    purged: Vec<(InstanceId, Purged)>,
    /// Calls that ran when the last process went down, until their instance is looked at.
    suspects: Map<Iid, Vec<(u32, EventId)>>,
    /// Purged, and not yet gone from the tables.
    gone: HashSet<InstanceId>,
    /// The same, with the fold that takes them away.
    gone_in_fold: Vec<(u64, InstanceId, Purged)>,
    /// Instances in folds that are not in the tables, by fold.
    in_fold: VecDeque<(u64, Vec<InstanceId>)>,
    folds: u64,
    used: u64,
    weight: usize,
    /// Memory is looked through for what can go when it takes more than this.
    shed_above: usize,
    /// No code runs and no timer fires until it is released.
    held: bool,
}

/// The group that is being made.
#[derive(Default)]
struct Building {
    /// Encoded, one after the other.
    entries: Vec<u8>,
    effects: Vec<Effect>,
    /// Messages within the partition, on their way.
    local: VecDeque<Envelope>,
    parcels: Vec<(u64, Envelope)>,
    unparceled: Vec<u64>,
    /// Messages to other partitions, by the index of their position.
    outgoing: Vec<Envelope>,
    identities: u32,
    turns: usize,
    /// Answers that go out once all that came before them is durable.
    replies: Vec<(Ticket, Response)>,
    /// Instances with messages that are not durable.
    touched: Vec<InstanceId>,
    advanced: Vec<PartitionId>,
    /// Instances that had ended and changed.
    changed: Vec<InstanceId>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alarm {
    at: Timestamp,
    id: InstanceId,
    rings: Rings,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rings {
    /// A timer of an execution.
    Timer(u32, EventId),
    /// A delayed signal, or a row in the tables whose time has come.
    Look,
}

impl Partition {
    /// An empty partition of a hub.
    pub fn new(
        id: PartitionId,
        hub: &Hub,
        mode: Mode,
        options: Options,
        code: std::sync::Arc<dyn Code>,
        turns: Box<dyn Turns>,
    ) -> Self {
        let options_memory = options.memory_bytes;
        Self {
            id,
            hub: hub.id,
            count: hub.partitions,
            mode,
            options,
            code,
            turns,
            now: Timestamp::EPOCH,
            closed: GroupNo(0),
            durable: GroupNo(0),
            instances: 0,
            folded_any: false,
            slots: Map::default(),
            ids: Map::default(),
            ready: VecDeque::new(),
            alarms: BinaryHeap::new(),
            outbox: BTreeMap::new(),
            parcels: BTreeMap::new(),
            next_parcel: 0,
            late: VecDeque::new(),
            positions: BTreeMap::new(),
            counts: BTreeMap::new(),
            building: Building::default(),
            dirty: Vec::new(),
            purged: Vec::new(),
            suspects: Map::default(),
            gone: HashSet::new(),
            gone_in_fold: Vec::new(),
            in_fold: VecDeque::new(),
            folds: 0,
            used: 0,
            weight: 0,
            shed_above: options_memory,
            held: false,
        }
    }

    /// Which one it is.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// How many closed groups are not durable.
    pub fn in_flight(&self) -> u64 {
        self.closed.0 - self.durable.0
    }

    /// The last group that it knows to be durable.
    pub fn durable(&self) -> GroupNo {
        self.durable
    }

    /// Whether the news that a group is durable would let it do something.
    pub fn waits_for_durability(&self) -> bool {
        self.in_flight() > 0
            && (self.has_work() || !self.late.is_empty() || self.mode == Mode::Direct)
    }

    /// Whether something waits for the next group.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.building.is_empty()
            || !self.building.replies.is_empty()
            || !self.building.touched.is_empty()
    }

    /// When time alone will move something.
    pub fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.peek().filter(|_| !self.held).map(|Reverse(alarm)| alarm.at)
    }

    /// About how many bytes its instances take.
    pub fn memory(&self) -> usize {
        self.weight
    }

    /// Takes one input. What it brings about comes out of this call or of [`Partition::close_group`].
    pub fn step(&mut self, now: Timestamp, input: Input, out: &mut Vec<Output>) {
        self.now = now;
        match input {
            Input::Request(ticket, request) => self.request(ticket, request, out),
            Input::Messages(messages) => {
                messages.into_iter().for_each(|(at, envelope)| self.receive(at, envelope, out));
            }
            Input::Acknowledged(partition, upto) => {
                let first = Position { partition: self.id, group: GroupNo(0), index: 0 };
                let done: Vec<_> = self
                    .outbox
                    .range((partition, first)..=(partition, upto))
                    .map(|(key, _)| *key)
                    .collect();
                done.iter().for_each(|key| drop(self.outbox.remove(key)));
            }
            Input::ActivityEnded { instance, execution, task, outcome } => {
                let outcome = self.measured(&instance, (execution, task), outcome);
                self.deliver(&instance, local(Body::TaskEnded { execution, task, outcome }), out);
            }
            Input::EntityEnded(instance, reply) => self.entity_ended(&instance, reply),
            Input::TurnAnswered(instance, at, reply) => {
                self.turn_answered(&instance, at, reply, out);
            }
            Input::Loaded(rows) => {
                rows.into_iter().for_each(|(id, row)| self.loaded(&id, row, out));
            }
            Input::History(id, folded, events) => self.history_loaded(&id, folded, &events, out),
            Input::Due(due) => due.into_iter().for_each(|(id, at)| self.alarm(at, id, Rings::Look)),
            Input::Durable(group) => {
                self.durable_upto(group);
                self.answer_late(out);
            }
            Input::Folded(number) => self.folded(number),
            Input::CodeChanged => self.code_changed(),
            Input::Release => self.release(),
            Input::Forget(id, ticket) => self.forget_ticket(&id, ticket),
            Input::Tick => self.ring(out),
        }
    }

    /// Runs the turns that are due and closes the group, if there is anything in it. To be called when the inputs at
    /// hand are taken, and only while fewer than two groups are in flight.
    pub fn close_group(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.now = now;
        while self.building.turns < self.options.group_turns
            && let Some(id) = self.next_turn(out)
        {
            self.building.turns += 1;
            self.turn(&id, out);
        }
        self.post(out);
        self.settle();
        if !self.building.is_empty() {
            self.append(out);
        }
        let replies = std::mem::take(&mut self.building.replies);
        self.late
            .extend(replies.into_iter().map(|(ticket, response)| (self.closed, ticket, response)));
        self.answer_late(out);
        self.building.turns = 0;
        self.shed();
    }

    /// Answers that only had to wait for groups that were closed before they came.
    fn answer_late(&mut self, out: &mut Vec<Output>) {
        while self.late.front().is_some_and(|(group, ..)| *group <= self.durable) {
            let Some((_, ticket, response)) = self.late.pop_front() else { return };
            out.push(Output::Reply(ticket, response));
        }
    }

    /// Whether a group is begun and not closed.
    pub fn has_open_group(&self) -> bool {
        !self.building.is_empty()
    }

    fn durable_upto(&mut self, group: GroupNo) {
        self.durable = self.durable.max(group);
        if self.mode == Mode::Direct {
            // Each group brought its fold, so as many folds are outstanding as groups.
            self.folded(self.folds - self.in_flight());
        }
    }

    /// Delivers what was sent within the partition, then tells whose turn it is.
    fn next_turn(&mut self, out: &mut Vec<Output>) -> Option<InstanceId> {
        self.post(out);
        self.ready.pop_front()
    }

    fn post(&mut self, out: &mut Vec<Output>) {
        while let Some(envelope) = self.building.local.pop_front() {
            self.deliver_durably(envelope, out);
        }
    }

    fn append(&mut self, out: &mut Vec<Output>) {
        self.closed = self.closed.next();
        let Building {
            entries,
            mut effects,
            advanced,
            outgoing,
            parcels,
            unparceled,
            replies,
            changed,
            ..
        } = std::mem::take(&mut self.building);
        if !changed.is_empty() {
            out.push(Output::Changed(changed));
        }
        let positions: Vec<_> =
            advanced.iter().filter_map(|source| self.positions.get(source)).copied().collect();
        effects.extend(positions.iter().map(|at| Effect::Acknowledge(at.partition, *at)));
        effects
            .extend(replies.into_iter().map(|(ticket, response)| Effect::Reply(ticket, response)));
        let rest = Group {
            partition: self.id,
            group: self.closed,
            positions,
            outgoing,
            parcels,
            unparceled,
            entries: Vec::new(),
        };
        let bytes = stored::encode_group(&rest, &entries);
        let fold = (self.mode == Mode::Direct).then(|| Box::new(self.hand_over().fold));
        out.push(Output::Append(
            Record { partition: self.id, group: self.closed, bytes, fold },
            effects,
        ));
    }

    /// Messages that no turn took go to the durable inbox of their instance.
    fn settle(&mut self) {
        for id in std::mem::take(&mut self.building.touched) {
            let Some(Slot::Known(known)) = self.slots.get_mut(&id) else { continue };
            let mail = std::mem::take(&mut known.mail);
            let fresh = |message| everstep_engine::Incoming { held: None, message };
            self.put_aside(&id, mail.into_iter().map(fresh).collect());
        }
    }

    /// A name that is used once.
    fn identity(&mut self) -> Guid {
        self.building.identities += 1;
        let index = u32::MAX - self.building.identities;
        Guid::derive(self.hub, Position { partition: self.id, group: self.closed.next(), index })
    }

    fn new_execution_id(&mut self) -> ExecutionId {
        ExecutionId::new(&self.identity().simple())
    }

    fn new_iid(&mut self) -> Iid {
        self.instances += 1;
        Iid::new(self.id, self.instances)
    }

    /// Answers once everything that was taken in so far is durable.
    fn reply(&mut self, ticket: Ticket, response: Response) {
        self.building.replies.push((ticket, response));
    }

    // Messages

    fn receive(&mut self, at: Position, envelope: Envelope, out: &mut Vec<Output>) {
        let seen = self.positions.get(&at.partition).is_some_and(|last| at <= *last);
        if !self.building.advanced.contains(&at.partition) {
            self.building.advanced.push(at.partition);
        }
        if seen {
            return;
        }
        self.positions.insert(at.partition, at);
        self.deliver_durably(envelope, out);
    }

    /// Delivers a message of another instance. Its sender forgets it once this group is durable, so if the receiver has
    /// to be loaded first the partition itself holds it meanwhile.
    fn deliver_durably(&mut self, envelope: Envelope, out: &mut Vec<Output>) {
        let Envelope { to, message } = envelope;
        let known = matches!(self.slots.get(&to), Some(Slot::Known(_)));
        if known || (!self.slots.contains_key(&to) && self.is_new(&to)) {
            self.deliver(&to, message, out);
            return;
        }
        self.next_parcel += 1;
        let parcel = Envelope { to: to.clone(), message };
        self.building.parcels.push((self.next_parcel, parcel.clone()));
        self.parcels.insert(self.next_parcel, parcel);
        self.wait_for_row(&to, Waiting::Parcel(self.next_parcel), out);
    }

    /// Gives a message that the partition held to its instance.
    fn unpack(&mut self, number: u64, out: &mut Vec<Output>) {
        if let Some(parcel) = self.parcels.remove(&number) {
            self.building.unparceled.push(number);
            self.deliver_durably(parcel, out);
        }
    }

    fn wait_for_row(&mut self, id: &InstanceId, waiting: Waiting, out: &mut Vec<Output>) {
        match self.slots.get_mut(id) {
            Some(Slot::Loading(queue)) => queue.push(waiting),
            Some(Slot::Known(_)) | None => self.load(id, waiting, out),
        }
    }

    /// Hands a message to its instance, which is loaded first if need be.
    fn deliver(&mut self, to: &InstanceId, message: Message, out: &mut Vec<Output>) {
        let is_new = self.is_new(to);
        match self.slots.get_mut(to) {
            Some(Slot::Known(known)) if !matches!(message.body, Body::Start(_)) => {
                known.mail.push_back(message);
                self.building.touched.push(to.clone());
                self.enqueue(to);
            }
            Some(Slot::Loading(waiting)) => waiting.push(Waiting::Message(message)),
            Some(Slot::Known(_)) => self.deliver_start(to, message),
            None if is_new => self.deliver_to_nobody(to, message),
            None => self.load(to, Waiting::Message(message), out),
        }
    }

    fn deliver_start(&mut self, to: &InstanceId, message: Message) {
        if let Body::Start(start) = message.body {
            let outcome = self.start(to, *start);
            if let everstep_engine::StartOutcome::AlreadyExists(_, Some(refusal)) = outcome {
                self.send(refusal);
            }
        }
    }

    /// A message to an id that no instance has: a start makes one, an operation makes an entity, all else is late.
    fn deliver_to_nobody(&mut self, to: &InstanceId, message: Message) {
        match message.body {
            Body::Start(_) => self.deliver_start(to, message),
            Body::Rewind { start: Some(start), .. } => drop(self.start(to, *start)),
            Body::Operation(_) | Body::Lock(_) => {
                let iid = self.new_iid();
                let instance = Instance::new(iid, to.clone(), self.now);
                self.know(Known::fresh(instance));
                self.commit(
                    to,
                    Commit { iid, created: Some(to.clone()), now: self.now, ..Commit::default() },
                );
                if let Some(Slot::Known(known)) = self.slots.get_mut(to) {
                    known.mail.push_back(message);
                    self.building.touched.push(to.clone());
                }
                self.enqueue(to);
            }
            Body::LockGranted { execution_id, lock, entities } => {
                let owner =
                    everstep_model::Caller { instance: to.clone(), execution_id, task: lock };
                for entity in entities {
                    let message = local(Body::Unlock { owner: owner.clone() });
                    self.send(Envelope { to: entity, message });
                }
            }
            Body::TaskEnded { .. }
            | Body::ChildEnded { .. }
            | Body::TimerFired { .. }
            | Body::Raised { .. }
            | Body::Suspend { .. }
            | Body::Resume { .. }
            | Body::Terminate { .. }
            | Body::Rewind { start: None, .. }
            | Body::Unlock { .. }
            | Body::OperationEnded { .. }
            | Body::Unpark => {}
        }
    }

    /// Begins an execution, if nothing stands in its way.
    fn start(&mut self, id: &InstanceId, start: Start) -> everstep_engine::StartOutcome {
        let execution_id = self.new_execution_id();
        let existing = match self.slots.get(id) {
            Some(Slot::Known(known)) => Some(&known.instance),
            Some(Slot::Loading(_)) | None => None,
        };
        let iid = existing.map(|instance| instance.iid);
        let iid = iid.unwrap_or_else(|| Iid::new(self.id, self.instances + 1));
        let outcome = everstep_engine::start(existing, (iid, id), start, self.now, execution_id);
        if let everstep_engine::StartOutcome::Begun(commit) = &outcome {
            if existing.is_none() {
                let iid = self.new_iid();
                self.know(Known::fresh(Instance::new(iid, id.clone(), self.now)));
            }
            let scheduled = commit.events.iter().find_map(|event| match event {
                Event::Started(started) => started.scheduled,
                _ => None,
            });
            self.commit(id, (**commit).clone());
            match scheduled {
                Some(due) => self.alarm(due, id.clone(), Rings::Timer(0, EventId(u32::MAX))),
                None => self.enqueue(id),
            }
        }
        outcome
    }

    /// Sends a message: within the partition at once, elsewhere with the group.
    fn send(&mut self, envelope: Envelope) {
        let to = envelope.to.partition(self.count);
        if to == self.id {
            self.building.local.push_back(envelope);
            return;
        }
        let index = self.building.outgoing.len() as u32;
        let at = Position { partition: self.id, group: self.closed.next(), index };
        self.building.outgoing.push(envelope.clone());
        self.building.effects.push(Effect::Send(to, at, envelope.clone()));
        self.outbox.insert((to, at), envelope);
    }

    // Memory

    /// Whether no instance of this id can exist outside memory.
    fn is_new(&self, id: &InstanceId) -> bool {
        !self.folded_any || self.gone.contains(id)
    }

    fn load(&mut self, id: &InstanceId, waiting: Waiting, out: &mut Vec<Output>) {
        self.slots.insert(id.clone(), Slot::Loading(vec![waiting]));
        match out.last_mut() {
            Some(Output::Load(ids)) => ids.push(id.clone()),
            _ => out.push(Output::Load(vec![id.clone()])),
        }
    }

    fn know(&mut self, known: Known) {
        let id = known.instance.id.clone();
        self.ids.insert(known.instance.iid, id.clone());
        self.weight += known.weight();
        self.slots.insert(id, Slot::Known(Box::new(known)));
    }

    fn known(&mut self, id: &InstanceId) -> Option<&mut Known> {
        match self.slots.get_mut(id) {
            Some(Slot::Known(known)) => Some(known),
            Some(Slot::Loading(_)) | None => None,
        }
    }

    fn enqueue(&mut self, id: &InstanceId) {
        if let Some(Slot::Known(known)) = self.slots.get_mut(id)
            && !known.queued
        {
            known.queued = true;
            self.ready.push_back(id.clone());
        }
    }

    fn loaded(&mut self, id: &InstanceId, row: Option<Row>, out: &mut Vec<Output>) {
        let Some(Slot::Loading(waiting)) = self.slots.remove(id) else {
            return;
        };
        if let Some(row) = row {
            self.know(Known::stored(crate::row::instance(&row)));
        }
        for waiting in waiting {
            match waiting {
                Waiting::Message(message) => {
                    if self.slots.contains_key(id) {
                        self.deliver(id, message, out);
                    } else {
                        self.deliver_to_nobody(id, message);
                    }
                }
                Waiting::Request(ticket, request) => {
                    if self.slots.contains_key(id) {
                        self.request(ticket, request, out);
                    } else {
                        self.request_to_nobody(ticket, request);
                    }
                }
                Waiting::Parcel(number) if self.slots.contains_key(id) => self.unpack(number, out),
                Waiting::Parcel(number) => {
                    if let Some(parcel) = self.parcels.remove(&number) {
                        self.building.unparceled.push(number);
                        self.deliver_to_nobody(id, parcel.message);
                    }
                }
                Waiting::Look => self.look(id),
            }
        }
    }

    /// Takes up what an instance has outstanding: messages, activities, timers.
    fn look(&mut self, id: &InstanceId) {
        let (now, horizon) = (self.now, self.now.after(self.options.horizon));
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return };
        let outstanding = !std::mem::replace(&mut known.looked, true);
        if outstanding {
            self.strike(id);
        }
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return };
        let instance = &known.instance;
        let execution = instance.execution;
        let mut rings: Vec<_> = instance
            .timers
            .iter()
            .map(|(id, timer)| (timer.fire_at, Rings::Timer(execution, *id)))
            .collect();
        if let Some(due) = instance.rare.scheduled.filter(|_| instance.ready) {
            rings.push((due, Rings::Timer(execution, EventId(u32::MAX))));
        }
        if let Some(due) = instance.next_due().filter(|_| id.kind() == Kind::Entity) {
            rings.push((due, Rings::Look));
        }
        let mut waits =
            (instance.ready && instance.rare.scheduled.is_none()) || !instance.inbox.is_empty();
        let tasks = if outstanding { strikes::innocent(instance) } else { Vec::new() };
        let dispatches: Vec<_> = tasks.into_iter().filter_map(|key| dispatch(known, key)).collect();
        if outstanding {
            let poisoned = strikes::answers(&known.instance);
            // The code may be another one than when it was parked.
            let unpark = known.instance.rare.parked.as_ref().map(|_| Body::Unpark);
            waits |= !poisoned.is_empty() || unpark.is_some();
            known.mail.extend(poisoned.into_iter().chain(unpark).map(local));
        }
        // What is due already goes straight to the inbox: an alarm in the past would ring for ever.
        for (fire_at, rings) in rings {
            match rings {
                Rings::Timer(execution, timer) if fire_at <= now => {
                    known.mail.push_back(local(Body::TimerFired { execution, timer, fire_at }));
                    waits = true;
                }
                Rings::Timer(..) | Rings::Look if fire_at <= horizon && fire_at > now => {
                    self.alarms.push(Reverse(Alarm { at: fire_at, id: id.clone(), rings }));
                }
                Rings::Timer(..) | Rings::Look => {}
            }
        }
        self.building.effects.extend(dispatches.into_iter().map(Effect::Activity));
        if waits {
            self.building.touched.push(id.clone());
            self.enqueue(id);
        }
    }

    /// Lets go of what memory has too much of: first futures, then instances that the tables know.
    fn shed(&mut self) {
        if self.weight <= self.shed_above {
            return;
        }
        let mut by_use: Vec<_> = self
            .slots
            .iter()
            .filter_map(|(id, slot)| match slot {
                Slot::Known(known) if known.is_clean() => {
                    Some((known.used, known.instance.iid, id.clone(), known.weight()))
                }
                Slot::Known(_) | Slot::Loading(_) => None,
            })
            .collect();
        by_use.sort();
        for (_, iid, id, weight) in by_use {
            if self.weight <= self.options.memory_bytes / 4 * 3 {
                break;
            }
            self.forget(&id, iid, weight);
        }
        // What is left is not folded: looking again is of no use until it is, or until there is much more.
        self.shed_above = self.options.memory_bytes.max(self.weight / 8 * 9);
    }

    /// Whether only a fold would bring memory back to its bound.
    pub fn wants_fold(&self) -> bool {
        self.weight > self.options.memory_bytes && !self.dirty.is_empty()
    }

    fn forget(&mut self, id: &InstanceId, iid: Iid, weight: usize) {
        self.turns.evict(iid);
        self.slots.remove(id);
        self.ids.remove(&iid);
        self.weight = self.weight.saturating_sub(weight);
    }

    // Time

    fn alarm(&mut self, at: Timestamp, id: InstanceId, rings: Rings) {
        if at <= self.now.after(self.options.horizon) {
            self.alarms.push(Reverse(Alarm { at, id, rings }));
        }
    }

    fn ring(&mut self, out: &mut Vec<Output>) {
        while self.alarms.peek().is_some_and(|Reverse(alarm)| alarm.at <= self.now) {
            let Some(Reverse(Alarm { at, id, rings })) = self.alarms.pop() else { return };
            match rings {
                Rings::Timer(execution, timer) => {
                    self.deliver(
                        &id,
                        local(Body::TimerFired { execution, timer, fire_at: at }),
                        out,
                    );
                }
                Rings::Look if matches!(self.slots.get(&id), Some(Slot::Known(_))) => {
                    self.look(&id);
                }
                Rings::Look if self.slots.contains_key(&id) => {
                    self.wait_for_row(&id, Waiting::Look, out);
                }
                Rings::Look if self.is_new(&id) => {}
                Rings::Look => self.load(&id, Waiting::Look, out),
            }
        }
    }
}

impl Building {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.effects.is_empty()
            && self.advanced.is_empty()
            && self.parcels.is_empty()
            && self.unparceled.is_empty()
            && self.local.is_empty()
            && self.outgoing.is_empty()
    }
}

/// A message that this host makes.
fn local(body: Body) -> Message {
    Message { from: Source::Local, body }
}

/// An attempt of an open activity, with its input at hand if that is possible.
fn dispatch(known: &Known, key: (u32, EventId)) -> Option<Box<Dispatch>> {
    let task = known.instance.tasks.get(&key)?;
    let input = match &task.input {
        everstep_model::Value::Ref(payload) => {
            known.payload(payload).map_or_else(|| task.input.clone(), Into::into)
        }
        everstep_model::Value::Inline(_) => task.input.clone(),
    };
    let call = ActivityCall {
        instance: known.instance.id.clone(),
        name: task.name.as_str().into(),
        input,
        task: key.1,
        execution_id: task.execution_id.clone(),
        attempt: task.attempt,
        trace: known.instance.rare.trace.clone(),
    };
    Some(Box::new(Dispatch {
        iid: known.instance.iid,
        execution: key.0,
        strikes: task.strikes,
        call,
    }))
}
