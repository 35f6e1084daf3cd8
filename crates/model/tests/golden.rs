//! Files that a release wrote decode for ever.
//!
//! Each file under `golden/v1` holds a value of [`values`], which has every variant of every enum and every field set. While
//! v1 is the newest format the values also encode to the same bytes. `EVERSTEP_GOLDEN=write` writes the files; a release's
//! files are never written again.

use std::{fmt::Debug, fs, path::PathBuf};

use everstep_model::{
    Archive, Body, Caller, Commit, EntityChange, Entry, Envelope, Event, EventId, ExecutionId,
    Failure, Group, GroupNo, Guid, Iid, InstanceId, Lock, Message, NewExecution, Operation, Origin,
    Outcome, Parent, Parked, PartitionId, PayloadRef, Position, Purged, ReusePolicy, RowChange,
    Source, Start, Started, Status, Tags, Timestamp, TraceContext, Value, Wait,
    stored::{self, Stored, decode, decode_group, encode, encode_group},
    wire::Reader,
};

fn instance(id: &str) -> InstanceId {
    InstanceId::from_stored(id)
}

fn execution_id() -> ExecutionId {
    ExecutionId::new("0123456789abcdef0123456789abcdef")
}

fn time() -> Timestamp {
    Timestamp::from_ticks(17_952_171_061_234_567)
}

fn position() -> Position {
    Position { partition: PartitionId(3), group: GroupNo(70_000), index: 5 }
}

fn payload() -> PayloadRef {
    PayloadRef {
        iid: Iid::new(PartitionId(7), 42),
        execution: 2,
        n: 3,
        len: 70_000,
        crc: 0xdead_beef,
    }
}

fn failure() -> Failure {
    let inner = Failure { stack: "at b.rs:2".into(), ..Failure::new("Inner", "no route") };
    Failure {
        stack: "at a.rs:1".into(),
        ..Failure::new("Outer", "no answer").caused_by(inner).fatal()
    }
}

fn outcomes() -> [Outcome; 3] {
    [
        Outcome::Completed(Value::from("42")),
        Outcome::Completed(Value::Ref(payload())),
        Outcome::Failed(Box::new(failure())),
    ]
}

fn origin() -> Origin {
    Origin { call: EventId(1), attempt: 2 }
}

fn parent(task: Option<EventId>) -> Parent {
    Parent {
        instance: instance("parent"),
        execution_id: execution_id(),
        name: "Parent".into(),
        task,
    }
}

fn archive() -> Archive {
    Archive {
        id: instance("order"),
        execution: 2,
        execution_id: execution_id(),
        created: time(),
        updated: time(),
        completed: Some(time()),
        custom_status: Some("\"half\"".into()),
        state: Some("5".into()),
        events: events(),
    }
}

fn tags() -> Tags {
    Tags::from([("region".into(), "north".into()), ("urgent".into(), String::new())])
}

fn trace() -> TraceContext {
    TraceContext { traceparent: "00-0af7-b7ad-01".into(), tracestate: "vendor=1".into() }
}

fn caller() -> Caller {
    Caller { instance: instance("caller"), execution_id: execution_id(), task: EventId(300) }
}

fn started() -> Started {
    Started {
        at: time(),
        name: "Checkout".into(),
        version: "2".into(),
        input: Value::from("x".repeat(200)),
        execution_id: execution_id(),
        parent: Some(parent(Some(EventId(0)))),
        tags: tags(),
        scheduled: Some(time()),
        trace: Some(trace()),
    }
}

fn start(reuse: ReusePolicy) -> Start {
    Start {
        name: "Checkout".into(),
        version: "2".into(),
        input: Value::Ref(payload()),
        execution_id: Some(execution_id()),
        parent: Some(parent(None)),
        tags: tags(),
        scheduled: Some(time()),
        trace: Some(trace()),
        reuse,
    }
}

fn events() -> Vec<Event> {
    let [value, reference, failed] = outcomes();
    let (id, task, input, name) = (EventId(130), EventId(1), Value::from("in"), "Name".to_owned());
    let (entity, reason) = (instance("@counter@k"), "because".to_owned());
    vec![
        Event::Started(Box::new(started())),
        Event::TurnStarted { now: time() },
        Event::TaskScheduled {
            id,
            name: name.clone(),
            input: input.clone(),
            tags: tags(),
            origin: Some(origin()),
        },
        Event::TaskEnded { task, outcome: value },
        Event::ChildCreated {
            id,
            name: name.clone(),
            version: "1".into(),
            instance: instance("child"),
            input: input.clone(),
            detached: true,
            origin: Some(origin()),
        },
        Event::ChildEnded { task, outcome: failed },
        Event::TimerCreated { id, fire_at: time(), origin: Some(origin()) },
        Event::TimerFired { timer: task },
        Event::TimerCanceled { timer: task },
        Event::EventSent {
            id,
            instance: instance("other"),
            name: name.clone(),
            input: input.clone(),
        },
        Event::EventRaised { name: name.clone(), input: input.clone(), key: "k1".into() },
        Event::OperationCalled {
            id,
            entity: entity.clone(),
            name: name.clone(),
            input: input.clone(),
        },
        Event::OperationSignaled {
            id,
            entity: entity.clone(),
            name,
            input: input.clone(),
            due: Some(time()),
        },
        Event::OperationEnded { task, outcome: reference },
        Event::LockRequested { id, entities: vec![entity, instance("@counter@l")] },
        Event::LockGranted { lock: task },
        Event::LockReleased { id, lock: task },
        Event::Suspended { reason: reason.clone() },
        Event::Resumed { reason: reason.clone() },
        Event::Terminated { reason: reason.clone() },
        Event::Rewound { reason },
        Event::Completed { output: input },
        Event::Failed { failure: Box::new(failure()) },
    ]
}

fn bodies() -> Vec<Body> {
    let [value, reference, failed] = outcomes();
    let (task, execution, input, reason) = (EventId(9), 4, Value::from("in"), "because".to_owned());
    let set = vec![instance("@counter@k"), instance("@counter@l")];
    vec![
        Body::Start(Box::new(start(ReusePolicy::ended()))),
        Body::TaskEnded { execution, task, outcome: value },
        Body::ChildEnded { execution_id: execution_id(), task, outcome: failed },
        Body::TimerFired { execution, timer: task, fire_at: time() },
        Body::Raised { name: "Go".into(), input: input.clone(), key: "k1".into() },
        Body::Suspend { reason: reason.clone() },
        Body::Resume { reason: reason.clone() },
        Body::Terminate { reason: reason.clone(), recursive: true },
        Body::Rewind { reason, start: Some(Box::new(start(ReusePolicy::of(Status::ALL)))) },
        Body::Operation(Box::new(Operation {
            id: Guid(*b"0123456789abcdef"),
            name: "add".into(),
            input,
            caller: Some(caller()),
            sender: Some(caller()),
            due: Some(time()),
            key: "k2".into(),
            trace: Some(trace()),
        })),
        Body::Lock(Box::new(Lock { owner: caller(), set: set.clone(), index: 1 })),
        Body::Unlock { owner: caller() },
        Body::OperationEnded { execution_id: execution_id(), task, outcome: reference },
        Body::LockGranted { execution_id: execution_id(), lock: task, entities: set },
        Body::Unpark,
    ]
}

fn envelopes() -> Vec<Envelope> {
    let sources = [Source::Local, Source::Instance(position())];
    let messages = bodies().into_iter().zip(sources.into_iter().cycle());
    messages
        .map(|(body, from)| Envelope { to: instance("receiver"), message: Message { from, body } })
        .collect()
}

fn wait() -> Wait {
    let first = Wait::Any(vec![Wait::Task(EventId(2)), Wait::Event("Approval".into())]);
    Wait::All(vec![first, Wait::All(Vec::new()), Wait::Task(EventId(0))])
}

fn commits() -> Vec<Commit> {
    let parked = Parked { since: time(), reason: "expected a, found b".into(), code: "v2".into() };
    let full = Commit {
        iid: Iid::new(PartitionId(7), 42),
        created: Some(instance("order-7")),
        now: time(),
        begin: Some(NewExecution { execution: 2, execution_id: execution_id(), fresh: true }),
        accepted: envelopes().into_iter().map(|envelope| envelope.message).collect(),
        consumed: vec![0, 1, u64::MAX],
        closed: vec![(1, EventId(6)), (0, EventId(0))],
        events: events(),
        outgoing: envelopes(),
        row: RowChange {
            custom_status: Some(Value::from("half way")),
            wait: Some(wait()),
            parked: Some(Some(parked)),
            strikes: vec![((2, EventId(8)), 2)],
        },
        entity: Some(EntityChange {
            state: Some(Some(Value::from("5"))),
            lock: Some(Some(caller())),
            keys: vec!["k3".into(), String::new()],
        }),
        payloads: vec![(payload(), "the bytes".into())],
    };
    let cleared = Commit {
        iid: Iid(1),
        row: RowChange { parked: Some(None), ..RowChange::default() },
        entity: Some(EntityChange { state: Some(None), lock: Some(None), keys: Vec::new() }),
        ..Commit::default()
    };
    vec![full, cleared, Commit::default()]
}

fn group() -> Group {
    let commits = commits().into_iter().map(|commit| Entry::Commit(Box::new(commit)));
    let purged = Entry::Purged(Purged { iid: Iid::new(PartitionId(7), 41), execution: 9 });
    Group {
        partition: PartitionId(7),
        group: GroupNo(123_456),
        positions: vec![
            position(),
            Position { partition: PartitionId(0), group: GroupNo(1), index: 0 },
        ],
        outgoing: envelopes(),
        parcels: envelopes().into_iter().zip(1..).map(|(envelope, n)| (n, envelope)).collect(),
        unparceled: vec![4, 5],
        entries: commits.chain([purged]).collect(),
    }
}

fn encoded<T: Stored>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, value);
    out
}

fn chunk(events: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        stored::put_event(&mut out, event);
    }
    out
}

fn check<T: PartialEq + Debug>(name: &str, value: &T, bytes: &[u8], decode: impl Fn(&[u8]) -> T) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name);
    if std::env::var("EVERSTEP_GOLDEN").as_deref() == Ok("write") {
        fs::write(&path, bytes).expect("the folder of the golden files is there");
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(decode(&golden), *value, "{name} does not decode to what it was made from");
    assert!(golden == bytes, "{name}: the same value has other bytes");
}

#[test]
fn the_golden_files_decode_to_their_values() {
    check("events.bin", &events(), &chunk(&events()), |bytes| {
        stored::events(bytes).collect::<Result<_, _>>().unwrap()
    });
    check("group.bin", &group(), &encode_group(&group(), &[]), |bytes| {
        decode_group(bytes).unwrap()
    });
    check("failure.bin", &failure(), &encoded(&failure()), |bytes| decode(bytes).unwrap());
    check("archive.bin", &archive(), &encoded(&archive()), |bytes| decode(bytes).unwrap());
    let [commit, ..] = &commits()[..] else { panic!("there are several") };
    check("commit.bin", commit, &encoded(commit), |bytes| decode(bytes).unwrap());
    for (envelope, number) in envelopes().iter().zip(1..) {
        let name = format!("envelope-{number:02}.bin");
        check(&name, envelope, &encoded(envelope), |bytes| decode(bytes).unwrap());
    }
}

/// The numbers once more, apart from the tables; a new variant does not compile until it stands here and in the values.
fn event_number(event: &Event) -> u32 {
    match event {
        Event::Started(_) => 1,
        Event::TurnStarted { .. } => 2,
        Event::TaskScheduled { .. } => 3,
        Event::TaskEnded { .. } => 4,
        Event::ChildCreated { .. } => 5,
        Event::ChildEnded { .. } => 6,
        Event::TimerCreated { .. } => 7,
        Event::TimerFired { .. } => 8,
        Event::TimerCanceled { .. } => 9,
        Event::EventSent { .. } => 10,
        Event::EventRaised { .. } => 11,
        Event::OperationCalled { .. } => 12,
        Event::OperationSignaled { .. } => 13,
        Event::OperationEnded { .. } => 14,
        Event::LockRequested { .. } => 15,
        Event::LockGranted { .. } => 16,
        Event::LockReleased { .. } => 17,
        Event::Suspended { .. } => 18,
        Event::Resumed { .. } => 19,
        Event::Terminated { .. } => 20,
        Event::Rewound { .. } => 21,
        Event::Completed { .. } => 22,
        Event::Failed { .. } => 23,
    }
}

fn body_number(body: &Body) -> u32 {
    match body {
        Body::Start(_) => 1,
        Body::TaskEnded { .. } => 2,
        Body::ChildEnded { .. } => 3,
        Body::TimerFired { .. } => 4,
        Body::Raised { .. } => 5,
        Body::Suspend { .. } => 6,
        Body::Resume { .. } => 7,
        Body::Terminate { .. } => 8,
        Body::Rewind { .. } => 9,
        Body::Operation(_) => 10,
        Body::Lock(_) => 11,
        Body::Unlock { .. } => 12,
        Body::OperationEnded { .. } => 13,
        Body::LockGranted { .. } => 14,
        Body::Unpark => 15,
    }
}

fn first_field<T: Stored>(value: &T) -> u32 {
    let bytes = encoded(value);
    let first = Reader::new(&bytes).next_field().expect("it was just encoded");
    first.expect("a variant is a field").0
}

#[test]
fn the_values_have_every_variant_under_its_frozen_number() {
    let numbers: Vec<u32> = events().iter().map(event_number).collect();
    assert_eq!(numbers, (1..=23).collect::<Vec<_>>());
    assert_eq!(events().iter().map(first_field).collect::<Vec<_>>(), numbers);
    let numbers: Vec<u32> = bodies().iter().map(body_number).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<_>>());
    assert_eq!(bodies().iter().map(first_field).collect::<Vec<_>>(), numbers);
}
