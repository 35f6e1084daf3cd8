//! What holds for every run: random messages and decisions against one orchestration and one entity.
//!
//! Each step checks that nothing panics, that a commit has the same effect after its stored form, that ids and the present
//! rise, that the instance survives its row, and that a message which took effect has none when it comes again.

use everstep_engine::{
    Decided, EntityAnswer, Finished, Incoming, Instance, Limits, Rare, Rarely, StartOutcome, begin,
    begin_entity, finish, finish_entity, hold, park, present, rewind, start,
};
use everstep_model::{
    Action, Body, Caller, Commit, Completion, Event, EventId, ExecutionId, Failure, Guid, Iid,
    InstanceId, Lock, Message, Operation, Origin, Outcome, ParentPolicy, ReusePolicy, Source,
    Start, Tags, Timestamp, Value, Wait, stored,
};
use proptest::{collection::vec, prelude::*};

// An orchestration

/// A message; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Said {
    Task { id: u32, of_former: bool, failed: bool },
    Child { id: u32, of_former: bool },
    Timer { id: u32, of_former: bool },
    Raised { name: &'static str, key: &'static str },
    Operation { id: u32, of_former: bool },
    Granted { id: u32, of_former: bool },
    Suspend,
    Resume,
    Terminate,
    Unpark,
}

/// A decision; its id is the next one plus a gap.
#[derive(Debug, Clone)]
enum Does {
    Call { gap: u32 },
    Child { gap: u32, detached: bool },
    Timer { gap: u32, seconds: i64 },
    Cancel { timer: u32 },
    Send,
    Ask,
    Tell,
    Lock,
    Unlock { lock: u32 },
    Repeated,
}

#[derive(Debug, Clone)]
enum End {
    Open,
    Complete,
    Fail,
    Again,
}

#[derive(Debug, Clone)]
enum Step {
    Turn { said: Vec<Said>, does: Vec<Does>, end: End, millis: i64 },
    Hold(Vec<Said>),
    Park(Vec<Said>),
    Rewind,
    Start { replace: bool },
}

fn said() -> impl Strategy<Value = Said> {
    let id = || (0_u32..8, prop::bool::weighted(0.2));
    let name = prop::sample::select(vec!["Go", "go", "Stop"]);
    let key = prop::sample::select(vec!["", "", "a", "b"]);
    prop_oneof![
        6 => (id(), any::<bool>()).prop_map(|((id, of_former), failed)| Said::Task { id, of_former, failed }),
        3 => id().prop_map(|(id, of_former)| Said::Child { id, of_former }),
        3 => id().prop_map(|(id, of_former)| Said::Timer { id, of_former }),
        5 => (name, key).prop_map(|(name, key)| Said::Raised { name, key }),
        2 => id().prop_map(|(id, of_former)| Said::Operation { id, of_former }),
        3 => id().prop_map(|(id, of_former)| Said::Granted { id, of_former }),
        1 => Just(Said::Suspend),
        2 => Just(Said::Resume),
        1 => Just(Said::Terminate),
        1 => Just(Said::Unpark),
    ]
}

fn does() -> impl Strategy<Value = Does> {
    let gap = || 0_u32..3;
    prop_oneof![
        6 => gap().prop_map(|gap| Does::Call { gap }),
        3 => (gap(), any::<bool>()).prop_map(|(gap, detached)| Does::Child { gap, detached }),
        3 => (gap(), -9_i64..9).prop_map(|(gap, seconds)| Does::Timer { gap, seconds }),
        1 => (0_u32..8).prop_map(|timer| Does::Cancel { timer }),
        1 => Just(Does::Send),
        2 => Just(Does::Ask),
        1 => Just(Does::Tell),
        2 => Just(Does::Lock),
        1 => (0_u32..8).prop_map(|lock| Does::Unlock { lock }),
        1 => Just(Does::Repeated),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        12 => Just(End::Open),
        1 => Just(End::Complete),
        2 => Just(End::Fail),
        1 => Just(End::Again),
    ];
    let turn = (vec(said(), 0..4), vec(does(), 0..4), end, -5_000_i64..20_000);
    prop_oneof![
        12 => turn.prop_map(|(said, does, end, millis)| Step::Turn { said, does, end, millis }),
        2 => vec(said(), 0..4).prop_map(Step::Hold),
        1 => vec(said(), 0..3).prop_map(Step::Park),
        3 => Just(Step::Rewind),
        2 => any::<bool>().prop_map(|replace| Step::Start { replace }),
    ]
}

struct Run {
    instance: Instance,
    history: Vec<Event>,
    wall: Timestamp,
    executions: u32,
}

impl Run {
    fn new() -> Self {
        let id = InstanceId::from_stored("order");
        let wall = Timestamp::from_millis(1_000_000);
        let instance = Instance::new(Iid(7), id, wall);
        let mut run = Self { instance, history: Vec::new(), wall, executions: 0 };
        run.start(ReusePolicy::ended());
        run
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Turn { said, does, end, millis } => {
                self.wall = Timestamp::from_millis(self.wall.millis() + millis);
                self.turn(&said, &does, &end);
            }
            Step::Hold(said) => {
                let fresh = self.fresh(&said);
                let now = self.instance.last_now;
                let accepted = hold(&self.instance, now, fresh).held;
                self.commit(&Commit { iid: self.instance.iid, now, accepted, ..Commit::default() });
            }
            Step::Park(said) => {
                let incoming = self.incoming(self.fresh(&said));
                let (now, live) = (self.present(&incoming), !self.instance.status.is_terminal());
                if live {
                    let reason = "the code differs".to_owned();
                    self.commit(&park(&self.instance, now, incoming, reason, "code".to_owned()));
                }
            }
            Step::Rewind => {
                let now = self.present(&[]);
                if let Ok(commit) = rewind(&self.instance, &self.history, "again", now) {
                    self.commit(&commit);
                }
            }
            Step::Start { replace } => {
                self.start(if replace { ReusePolicy::any() } else { ReusePolicy::ended() });
            }
        }
    }

    fn start(&mut self, reuse: ReusePolicy) {
        let request = Start {
            name: "Checkout".into(),
            version: String::new(),
            input: "5".into(),
            execution_id: None,
            parent: None,
            tags: Tags::new(),
            scheduled: None,
            trace: None,
            reuse,
        };
        let (id, now) = (self.instance.id.clone(), self.present(&[]));
        let execution_id = self.execution_id();
        let existing = (self.instance.execution > 0).then_some(&self.instance);
        let outcome = start(existing, (self.instance.iid, &id), request, now, execution_id);
        if let StartOutcome::Begun(commit) = outcome {
            self.commit(&commit);
        }
    }

    fn turn(&mut self, said: &[Said], does: &[Does], end: &End) {
        let incoming = self.incoming(self.fresh(said));
        let now = self.present(&incoming);
        let before = self.instance.clone();
        let turn = begin(&self.instance, now, incoming.clone());
        if turn.is_empty() {
            return;
        }
        let decided = if turn.ask { self.decided(does, end, now) } else { Decided::default() };
        let next = self.execution_id();
        let limits = Limits::default();
        let decide = |instance: &Instance, decided: Decided| {
            let turn = begin(instance, now, incoming.clone());
            finish(instance, &limits, turn, decided, &mut || next.clone())
        };
        // A turn that is thrown away leaves nothing behind: the next try gives the same.
        drop(decide(&self.instance, Decided::default()));
        let first = decide(&self.instance, decided.clone());
        assert_eq!(first, decide(&self.instance, decided));
        assert_eq!(self.instance, before);

        let Finished { commit, next } = first;
        self.commit(&commit);
        if let Some(next) = next {
            self.commit(&next);
        } else {
            self.repeat(&incoming, &commit);
        }
    }

    /// What took effect has none when it comes again.
    fn repeat(&self, incoming: &[Incoming], commit: &Commit) {
        let again: Vec<_> = incoming
            .iter()
            .filter(|incoming| takes_effect_once(&incoming.message.body, commit))
            .map(|incoming| Incoming { held: None, message: incoming.message.clone() })
            .collect();
        let turn = begin(&self.instance, self.present(&again), again);
        let news: Vec<_> = turn
            .events
            .iter()
            .filter(|event| !matches!(event, Event::TurnStarted { .. }))
            .collect();
        assert!(news.is_empty(), "{news:?} came twice");
        assert!(turn.held.is_empty() && turn.closed.is_empty());
        // A lock that is granted twice is given back only by those who have ended.
        assert!(turn.outgoing.is_empty() || self.instance.status.is_terminal());
    }

    fn present(&self, incoming: &[Incoming]) -> Timestamp {
        let now = present(self.wall, &self.instance, incoming);
        assert!(now > self.instance.last_now, "the present goes on");
        now
    }

    fn commit(&mut self, commit: &Commit) {
        if let Some(begin) = &commit.begin {
            assert_eq!(begin.execution, self.instance.execution + 1);
            self.history.clear();
        }
        self.instance = applied(&self.instance, commit);
        self.history.extend(commit.events.iter().cloned());
        assert_eq!(self.instance.history_len as usize, self.history.len());
        let ids: Vec<_> = self.history.iter().filter_map(action_id).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids rise: {ids:?}");
        assert!(ids.iter().all(|id| id.0 < self.instance.next_id));
        survives_its_row(&self.instance);
    }

    fn execution_id(&mut self) -> ExecutionId {
        self.executions += 1;
        ExecutionId::new(&format!("e{}", self.executions))
    }

    fn incoming(&self, fresh: Vec<Incoming>) -> Vec<Incoming> {
        let held = self.instance.inbox.iter();
        let held =
            held.map(|(number, message)| Incoming { held: Some(number), message: message.clone() });
        held.chain(fresh).collect()
    }

    fn fresh(&self, said: &[Said]) -> Vec<Incoming> {
        let message = |body| Message { from: Source::Local, body };
        said.iter().map(|said| Incoming { held: None, message: message(self.body(said)) }).collect()
    }

    fn body(&self, said: &Said) -> Body {
        let instance = &self.instance;
        let number = |of_former: bool| instance.execution - u32::from(of_former);
        let name = |of_former: bool| {
            if of_former { ExecutionId::new("gone") } else { instance.execution_id.clone() }
        };
        let reason = "why not".to_owned();
        match *said {
            Said::Task { id, of_former, failed } => {
                let (execution, task, outcome) = (number(of_former), EventId(id), ended(failed));
                Body::TaskEnded { execution, task, outcome }
            }
            Said::Child { id, of_former } => {
                let (execution_id, task) = (name(of_former), EventId(id));
                Body::ChildEnded { execution_id, task, outcome: ended(id % 2 == 0) }
            }
            Said::Timer { id, of_former } => {
                let (execution, timer) = (number(of_former), EventId(id));
                let fire_at = instance.timers.get(&timer).map_or(self.wall, |timer| timer.fire_at);
                Body::TimerFired { execution, timer, fire_at }
            }
            Said::Raised { name, key } => {
                Body::Raised { name: name.into(), input: "1".into(), key: key.into() }
            }
            Said::Operation { id, of_former } => {
                let (execution_id, task) = (name(of_former), EventId(id));
                Body::OperationEnded { execution_id, task, outcome: ended(id % 2 == 0) }
            }
            Said::Granted { id, of_former } => {
                let entities = vec![InstanceId::from_stored("@a@x")];
                Body::LockGranted { execution_id: name(of_former), lock: EventId(id), entities }
            }
            Said::Suspend => Body::Suspend { reason },
            Said::Resume => Body::Resume { reason },
            Said::Terminate => Body::Terminate { reason, recursive: true },
            Said::Unpark => Body::Unpark,
        }
    }

    fn decided(&self, does: &[Does], end: &End, now: Timestamp) -> Decided {
        let mut next_id = self.instance.next_id;
        let mut actions: Vec<_> =
            does.iter().map(|does| Self::action(does, &mut next_id, now)).collect();
        actions.extend(
            match end {
                End::Open => None,
                End::Complete => Some(Completion::Completed("5".into())),
                End::Fail => Some(Completion::Failed(Box::new(Failure::new("Error", "no")))),
                End::Again => Some(Completion::ContinueAsNew {
                    input: "6".into(),
                    version: None,
                    carry: vec![("Go".into(), "1".into())],
                }),
            }
            .map(Action::Complete),
        );
        let wait = matches!(end, End::Open).then(|| Wait::Event("Go".into()));
        Decided { actions, custom_status: Some("busy".into()), wait }
    }

    fn action(does: &Does, next_id: &mut u32, now: Timestamp) -> Action {
        let mut take = |gap: u32| {
            let id = EventId(*next_id + gap);
            *next_id = id.0 + 1;
            id
        };
        let (name, input, entity) =
            ("Do".to_owned(), Value::from("1"), InstanceId::from_stored("@a@x"));
        match *does {
            Does::Call { gap } => {
                let id = take(gap);
                let origin = (gap == 1).then_some(Origin { call: id, attempt: 1 });
                Action::CallActivity { id, name, input, tags: Tags::new(), origin }
            }
            Does::Child { gap, detached } => Action::StartChild {
                id: take(gap),
                name,
                version: String::new(),
                instance: (gap == 0).then(|| InstanceId::from_stored("child")),
                input,
                tags: Tags::new(),
                policy: if detached { ParentPolicy::Detach } else { ParentPolicy::Wait },
                origin: None,
            },
            Does::Timer { gap, seconds } => {
                let fire_at = Timestamp::from_millis(now.millis() + seconds * 1_000);
                Action::CreateTimer { id: take(gap), fire_at, origin: None }
            }
            Does::Cancel { timer } => Action::CancelTimer { timer: EventId(timer) },
            Does::Send => {
                let instance = InstanceId::from_stored("other");
                Action::SendEvent { id: take(0), instance, name, input }
            }
            Does::Ask => Action::CallEntity { id: take(0), entity, name, input },
            Does::Tell => Action::SignalEntity { id: take(0), entity, name, input, due: None },
            Does::Lock => Action::Lock { id: take(0), entities: vec![entity] },
            Does::Unlock { lock } => Action::Unlock { id: take(0), lock: EventId(lock) },
            Does::Repeated => {
                let id = EventId(next_id.saturating_sub(1));
                Action::CallActivity { id, name, input, tags: Tags::new(), origin: None }
            }
        }
    }
}

fn ended(failed: bool) -> Outcome {
    if failed {
        let cause = Failure::new("Cause", "why");
        Outcome::Failed(Box::new(Failure::new("Error", "no").caused_by(cause)))
    } else {
        Outcome::Completed("5".into())
    }
}

/// Whether a message became an event that it can become only once.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others may come again")]
fn takes_effect_once(body: &Body, commit: &Commit) -> bool {
    let became = match body.clone() {
        Body::TaskEnded { task, outcome, .. } => Event::TaskEnded { task, outcome },
        Body::ChildEnded { task, outcome, .. } => Event::ChildEnded { task, outcome },
        Body::TimerFired { timer, .. } => Event::TimerFired { timer },
        Body::OperationEnded { task, outcome, .. } => Event::OperationEnded { task, outcome },
        Body::LockGranted { lock, .. } => Event::LockGranted { lock },
        Body::Raised { name, input, key } if !key.is_empty() => {
            Event::EventRaised { name, input, key }
        }
        _ => return false,
    };
    commit.events.contains(&became)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others record no action")]
fn action_id(event: &Event) -> Option<EventId> {
    match event {
        Event::TaskScheduled { id, .. }
        | Event::ChildCreated { id, .. }
        | Event::TimerCreated { id, .. }
        | Event::EventSent { id, .. }
        | Event::OperationCalled { id, .. }
        | Event::OperationSignaled { id, .. }
        | Event::LockRequested { id, .. }
        | Event::LockReleased { id, .. } => Some(*id),
        _ => None,
    }
}

/// The instance after a commit, and the same after its stored form.
fn applied(instance: &Instance, commit: &Commit) -> Instance {
    let mut bytes = Vec::new();
    stored::encode_commit(&mut bytes, commit);
    let decoded = stored::decode_commit(&bytes).expect("what was encoded can be decoded");
    let (mut direct, mut recovered) = (instance.clone(), instance.clone());
    direct.apply(commit);
    recovered.apply(&decoded);
    assert_eq!(direct, recovered);
    direct
}

/// The `live` blob and the columns of a row are the whole instance.
fn survives_its_row(instance: &Instance) {
    let live = instance.encode_live();
    let decoded = Instance::decode_live(instance.iid, instance.id.clone(), &live)
        .expect("what was encoded can be decoded");
    let row = instance.clone();
    let columns = Rare::from(row.rare);
    let read = Instance {
        execution: row.execution,
        execution_id: row.execution_id,
        name: row.name,
        status: row.status,
        created: row.created,
        updated: row.updated,
        completed: row.completed,
        input: row.input,
        output: row.output,
        rare: Rarely::from(Rare {
            version: columns.version,
            tags: columns.tags,
            failure: columns.failure,
            custom_status: columns.custom_status,
            state: columns.state,
            ..decoded.rare.into()
        }),
        ..decoded
    };
    assert_eq!(read, *instance);
}

// An entity

/// What one of three senders does; the first is a client, the others may lock.
#[derive(Debug, Clone)]
enum Wish {
    Operation {
        sender: usize,
    },
    Lock {
        sender: usize,
    },
    Unlock {
        sender: usize,
    },
    /// A turn that runs at most this many operations.
    Turn {
        most: usize,
    },
    Aside,
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        6 => (0_usize..3).prop_map(|sender| Wish::Operation { sender }),
        2 => (1_usize..3).prop_map(|sender| Wish::Lock { sender }),
        2 => (1_usize..3).prop_map(|sender| Wish::Unlock { sender }),
        4 => (0_usize..5).prop_map(|most| Wish::Turn { most }),
        1 => Just(Wish::Aside),
    ]
}

struct Queue {
    instance: Instance,
    mail: Vec<Message>,
    /// The lock that each sender has asked for.
    locks: [Option<Caller>; 3],
    sent: [u32; 3],
    ran: [Vec<u32>; 3],
    calls: u32,
}

impl Queue {
    fn new() -> Self {
        let id = InstanceId::from_stored("@a@x");
        let instance = Instance::new(Iid(1), id, Timestamp::EPOCH);
        let (mail, locks, ran) = (Vec::new(), [None, None, None], Default::default());
        Self { instance, mail, locks, sent: [0; 3], ran, calls: 0 }
    }

    fn caller(&mut self, sender: usize) -> Caller {
        self.calls += 1;
        Caller {
            instance: InstanceId::from_stored(&format!("order{sender}")),
            execution_id: ExecutionId::new(&format!("e{sender}")),
            task: EventId(self.calls),
        }
    }

    fn say(&mut self, body: Body) {
        self.mail.push(Message { from: Source::Local, body });
    }

    fn wish(&mut self, wish: &Wish) {
        match *wish {
            Wish::Operation { sender } => {
                self.sent[sender] += 1;
                let operation = Operation {
                    id: Guid([0; 16]),
                    name: sender.to_string(),
                    input: self.sent[sender].to_string().into(),
                    caller: None,
                    sender: (sender > 0).then(|| self.caller(sender)),
                    due: None,
                    key: String::new(),
                    trace: None,
                };
                self.say(Body::Operation(Box::new(operation)));
            }
            Wish::Lock { sender } if self.locks[sender].is_none() => {
                let owner = self.caller(sender);
                self.locks[sender] = Some(owner.clone());
                let set = vec![self.instance.id.clone()];
                self.say(Body::Lock(Box::new(Lock { owner, set, index: 0 })));
            }
            Wish::Unlock { sender } => {
                if let Some(owner) = self.locks[sender].take() {
                    self.say(Body::Unlock { owner });
                }
            }
            Wish::Lock { .. } => {}
            Wish::Turn { most } => self.turn(most),
            Wish::Aside => {
                let (iid, now) = (self.instance.iid, self.instance.last_now);
                let fresh = self.mail.drain(..).map(|message| Incoming { held: None, message });
                let accepted = hold(&self.instance, now, fresh.collect()).held;
                self.commit(&Commit { iid, now, accepted, ..Commit::default() });
            }
        }
    }

    fn turn(&mut self, most: usize) {
        let held = self.instance.inbox.iter();
        let mut incoming: Vec<_> = held
            .map(|(number, message)| Incoming { held: Some(number), message: message.clone() })
            .collect();
        incoming.extend(self.mail.drain(..).map(|message| Incoming { held: None, message }));
        let limits = Limits { entity_batch: 3, ..Limits::default() };
        let now = present(Timestamp::EPOCH, &self.instance, &incoming);
        let turn = begin_entity(&self.instance, &limits, now, incoming);
        let running: Vec<_> = turn.operations.iter().take(most).collect();
        for (_, operation) in &running {
            let sender: usize = operation.name.parse().expect("the number of the sender");
            let number = String::from_utf8_lossy(operation.input.inline().expect("it is small"));
            self.ran[sender].push(number.parse().expect("the number of the operation"));
        }
        let results = running.iter().map(|_| Outcome::Completed(Value::empty())).collect();
        let answer = EntityAnswer { results, state: Some("5".into()), sends: Vec::new() };
        let commit = finish_entity(&self.instance, turn, answer, &mut || Guid([1; 16]));
        self.commit(&commit);
    }

    fn commit(&mut self, commit: &Commit) {
        self.instance = applied(&self.instance, commit);
        survives_its_row(&self.instance);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_orchestration_holds_together_whatever_happens(steps in vec(step(), 1..30)) {
        let mut run = Run::new();
        steps.into_iter().for_each(|step| run.step(step));
    }

    #[test]
    fn an_entity_runs_each_operation_once_and_those_of_one_sender_in_order(
        wishes in vec(wish(), 1..40)
    ) {
        let mut queue = Queue::new();
        wishes.iter().for_each(|wish| queue.wish(wish));
        (1..3).for_each(|sender| queue.wish(&Wish::Unlock { sender }));
        // Each turn that runs nothing settles at least one lock.
        for _ in 0..2 * wishes.len() {
            queue.turn(5);
        }
        prop_assert!(queue.instance.inbox.is_empty(), "nothing waits for ever");
        prop_assert_eq!(&queue.instance.rare.lock, &None);
        for sender in 0..3 {
            let all: Vec<_> = (1..=queue.sent[sender]).collect();
            prop_assert_eq!(&queue.ran[sender], &all);
        }
    }
}
