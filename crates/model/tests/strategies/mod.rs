//! Values of every stored type, for properties.
//!
//! Boxed where they are large: the value trees of nested strategies do not fit a test's stack.

use bytes::Bytes;
use everstep_model::{
    Body, Caller, Commit, EntityChange, Entry, Envelope, Event, EventId, ExecutionId, Failure,
    Group, GroupNo, Guid, Iid, InstanceId, Lock, Message, NewExecution, Operation, Origin, Outcome,
    Parent, Parked, PartitionId, PayloadRef, Position, Purged, ReusePolicy, RowChange, Source,
    Start, Started, Status, Tags, Timestamp, TraceContext, Value, Wait,
};
use proptest::{collection::vec, option, prelude::*};

fn text() -> BoxedStrategy<String> {
    prop_oneof![4 => "[a-zA-Z0-9 ]{0,12}", 2 => ".{0,8}", 1 => "x{120,140}"].boxed()
}

fn small<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    vec(of, 0..4)
}

fn id() -> impl Strategy<Value = EventId> {
    prop_oneof![0..4_u32, any::<u32>()].prop_map(EventId)
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(0), any::<i64>()].prop_map(Timestamp::from_ticks)
}

fn instance() -> impl Strategy<Value = InstanceId> {
    text().prop_map(|id| InstanceId::from_stored(&id))
}

fn execution_id() -> impl Strategy<Value = ExecutionId> {
    text().prop_map(|id| ExecutionId::new(&id))
}

fn iid() -> impl Strategy<Value = Iid> {
    any::<u64>().prop_map(Iid)
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    (any::<u16>(), any::<u64>(), any::<u32>()).prop_map(|(partition, group, index)| Position {
        partition: PartitionId(partition),
        group: GroupNo(group),
        index,
    })
}

fn payload() -> impl Strategy<Value = PayloadRef> {
    (iid(), any::<[u32; 4]>()).prop_map(|(iid, [execution, n, len, crc])| PayloadRef {
        iid,
        execution,
        n,
        len,
        crc,
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let long = (any::<u8>(), 100..20_000_usize).prop_map(|(byte, length)| vec![byte; length]);
    prop_oneof![8 => vec(any::<u8>(), 0..20), 1 => long].prop_map(Bytes::from)
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![4 => bytes().prop_map(Value::Inline), 1 => payload().prop_map(Value::Ref)].boxed()
}

fn tags() -> BoxedStrategy<Tags> {
    small((text(), text())).prop_map(Tags::from_iter).boxed()
}

pub(crate) fn failure() -> BoxedStrategy<Failure> {
    let layer = || {
        (text(), text(), text(), any::<bool>()).prop_map(|(kind, message, stack, non_retriable)| {
            Failure { kind, message, stack, non_retriable, inner: None }
        })
    };
    vec(layer(), 1..5)
        .prop_map(|layers| {
            let nest = |inner: Option<Failure>, layer: Failure| {
                Some(Failure { inner: inner.map(Box::new), ..layer })
            };
            layers.into_iter().fold(None, nest).expect("there is at least one layer")
        })
        .boxed()
}

fn boxed_failure() -> impl Strategy<Value = Box<Failure>> {
    failure().prop_map(Box::new)
}

pub(crate) fn outcome() -> BoxedStrategy<Outcome> {
    prop_oneof![value().prop_map(Outcome::Completed), boxed_failure().prop_map(Outcome::Failed)]
        .boxed()
}

fn origin() -> impl Strategy<Value = Option<Origin>> {
    option::of((id(), any::<u32>()).prop_map(|(call, attempt)| Origin { call, attempt }))
}

fn parent() -> BoxedStrategy<Option<Parent>> {
    let parent = (instance(), execution_id(), text(), option::of(id()));
    option::of(parent.prop_map(|(instance, execution_id, name, task)| Parent {
        instance,
        execution_id,
        name,
        task,
    }))
    .boxed()
}

fn trace() -> impl Strategy<Value = Option<TraceContext>> {
    option::of((text(), text()).prop_map(|(parent, state)| TraceContext {
        traceparent: parent.into(),
        tracestate: state.into(),
    }))
}

fn caller() -> impl Strategy<Value = Caller> {
    (instance(), execution_id(), id()).prop_map(|(instance, execution_id, task)| Caller {
        instance,
        execution_id,
        task,
    })
}

fn started() -> BoxedStrategy<Started> {
    let identity = (time(), text(), text(), value(), execution_id());
    (identity, parent(), tags(), option::of(time()), trace())
        .prop_map(|((at, name, version, input, execution_id), parent, tags, scheduled, trace)| {
            Started { at, name, version, input, execution_id, parent, tags, scheduled, trace }
        })
        .boxed()
}

pub(crate) fn event() -> BoxedStrategy<Event> {
    prop_oneof![action_event(), answer_event(), life_event()].boxed()
}

fn action_event() -> BoxedStrategy<Event> {
    prop_oneof![
        (id(), text(), value(), tags(), origin()).prop_map(|(id, name, input, tags, origin)| {
            Event::TaskScheduled { id, name, input, tags, origin }
        }),
        (id(), text(), text(), instance(), value(), any::<bool>(), origin()).prop_map(
            |(id, name, version, instance, input, detached, origin)| Event::ChildCreated {
                id,
                name,
                version,
                instance,
                input,
                detached,
                origin
            }
        ),
        (id(), time(), origin()).prop_map(|(id, fire_at, origin)| Event::TimerCreated {
            id,
            fire_at,
            origin
        }),
        id().prop_map(|timer| Event::TimerCanceled { timer }),
        (id(), instance(), text(), value())
            .prop_map(|(id, instance, name, input)| Event::EventSent { id, instance, name, input }),
        (id(), instance(), text(), value()).prop_map(|(id, entity, name, input)| {
            Event::OperationCalled { id, entity, name, input }
        }),
        (id(), instance(), text(), value(), option::of(time())).prop_map(
            |(id, entity, name, input, due)| Event::OperationSignaled {
                id,
                entity,
                name,
                input,
                due
            }
        ),
        (id(), small(instance())).prop_map(|(id, entities)| Event::LockRequested { id, entities }),
        (id(), id()).prop_map(|(id, lock)| Event::LockReleased { id, lock }),
    ]
    .boxed()
}

fn answer_event() -> BoxedStrategy<Event> {
    prop_oneof![
        (id(), outcome()).prop_map(|(task, outcome)| Event::TaskEnded { task, outcome }),
        (id(), outcome()).prop_map(|(task, outcome)| Event::ChildEnded { task, outcome }),
        (id(), outcome()).prop_map(|(task, outcome)| Event::OperationEnded { task, outcome }),
        id().prop_map(|timer| Event::TimerFired { timer }),
        id().prop_map(|lock| Event::LockGranted { lock }),
        (text(), value(), text()).prop_map(|(name, input, key)| Event::EventRaised {
            name,
            input,
            key
        }),
    ]
    .boxed()
}

fn life_event() -> BoxedStrategy<Event> {
    prop_oneof![
        started().prop_map(|started| Event::Started(Box::new(started))),
        time().prop_map(|now| Event::TurnStarted { now }),
        text().prop_map(|reason| Event::Suspended { reason }),
        text().prop_map(|reason| Event::Resumed { reason }),
        text().prop_map(|reason| Event::Terminated { reason }),
        text().prop_map(|reason| Event::Rewound { reason }),
        value().prop_map(|output| Event::Completed { output }),
        boxed_failure().prop_map(|failure| Event::Failed { failure }),
    ]
    .boxed()
}

fn start() -> BoxedStrategy<Start> {
    let identity = (text(), text(), value(), option::of(execution_id()));
    let reuse = small((0_u8..8).prop_map(|n| Status::from_number(n).expect("eight statuses")));
    (identity, parent(), tags(), option::of(time()), trace(), reuse)
        .prop_map(
            |((name, version, input, execution_id), parent, tags, scheduled, trace, reuse)| Start {
                name,
                version,
                input,
                execution_id,
                parent,
                tags,
                scheduled,
                trace,
                reuse: ReusePolicy::of(reuse),
            },
        )
        .boxed()
}

fn operation() -> BoxedStrategy<Operation> {
    let what = (any::<[u8; 16]>(), text(), value());
    let who = (option::of(caller()), option::of(caller()));
    (what, who, option::of(time()), text(), trace())
        .prop_map(|((id, name, input), (caller, sender), due, key, trace)| Operation {
            id: Guid(id),
            name,
            input,
            caller,
            sender,
            due,
            key,
            trace,
        })
        .boxed()
}

fn lock() -> impl Strategy<Value = Lock> {
    (caller(), small(instance()), any::<u32>()).prop_map(|(owner, set, index)| Lock {
        owner,
        set,
        index,
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![answer_body(), request_body()]
}

fn answer_body() -> BoxedStrategy<Body> {
    prop_oneof![
        (any::<u32>(), id(), outcome()).prop_map(|(execution, task, outcome)| Body::TaskEnded {
            execution,
            task,
            outcome
        }),
        (execution_id(), id(), outcome()).prop_map(|(execution_id, task, outcome)| {
            Body::ChildEnded { execution_id, task, outcome }
        }),
        (any::<u32>(), id(), time()).prop_map(|(execution, timer, fire_at)| Body::TimerFired {
            execution,
            timer,
            fire_at
        }),
        (execution_id(), id(), outcome()).prop_map(|(execution_id, task, outcome)| {
            Body::OperationEnded { execution_id, task, outcome }
        }),
        (execution_id(), id(), small(instance())).prop_map(|(execution_id, lock, entities)| {
            Body::LockGranted { execution_id, lock, entities }
        }),
    ]
    .boxed()
}

fn request_body() -> BoxedStrategy<Body> {
    prop_oneof![
        start().prop_map(|start| Body::Start(Box::new(start))),
        (text(), value(), text()).prop_map(|(name, input, key)| Body::Raised { name, input, key }),
        text().prop_map(|reason| Body::Suspend { reason }),
        text().prop_map(|reason| Body::Resume { reason }),
        (text(), any::<bool>())
            .prop_map(|(reason, recursive)| Body::Terminate { reason, recursive }),
        (text(), option::of(start().prop_map(Box::new)))
            .prop_map(|(reason, start)| Body::Rewind { reason, start }),
        operation().prop_map(|operation| Body::Operation(Box::new(operation))),
        lock().prop_map(|lock| Body::Lock(Box::new(lock))),
        caller().prop_map(|owner| Body::Unlock { owner }),
        Just(Body::Unpark),
    ]
    .boxed()
}

pub(crate) fn message() -> BoxedStrategy<Message> {
    let from = prop_oneof![Just(Source::Local), position().prop_map(Source::Instance)];
    (from, body()).prop_map(|(from, body)| Message { from, body }).boxed()
}

pub(crate) fn envelope() -> BoxedStrategy<Envelope> {
    (instance(), message()).prop_map(|(to, message)| Envelope { to, message }).boxed()
}

fn wait() -> BoxedStrategy<Wait> {
    let leaf = prop_oneof![id().prop_map(Wait::Task), text().prop_map(Wait::Event)];
    leaf.prop_recursive(5, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Wait::All),
            vec(inner, 0..4).prop_map(Wait::Any)
        ]
    })
    .boxed()
}

fn row() -> BoxedStrategy<RowChange> {
    let parked =
        (time(), text(), text()).prop_map(|(since, reason, code)| Parked { since, reason, code });
    let parked = option::of(option::of(parked));
    (option::of(value()), option::of(wait()), parked, small(((any::<u32>(), id()), any::<u32>())))
        .prop_map(|(custom_status, wait, parked, strikes)| RowChange {
            custom_status,
            wait,
            parked,
            strikes,
        })
        .boxed()
}

fn entity() -> BoxedStrategy<EntityChange> {
    let state = option::of(option::of(value()));
    (state, option::of(option::of(caller())), small(text()))
        .prop_map(|(state, lock, keys)| EntityChange { state, lock, keys })
        .boxed()
}

fn begin() -> impl Strategy<Value = NewExecution> {
    (any::<u32>(), execution_id(), any::<bool>()).prop_map(|(execution, execution_id, fresh)| {
        NewExecution { execution, execution_id, fresh }
    })
}

pub(crate) fn commit() -> BoxedStrategy<Commit> {
    let identity = (iid(), option::of(instance()), time(), option::of(begin()));
    let inbox = (small(message()), small(any::<u64>()), small((any::<u32>(), id())));
    let effects = (small(event()), small(envelope()), small((payload(), bytes())));
    (identity, inbox, effects, row(), option::of(entity()))
        .prop_map(
            |(
                (iid, created, now, begin),
                (accepted, consumed, closed),
                (events, outgoing, payloads),
                row,
                entity,
            )| Commit {
                iid,
                created,
                now,
                begin,
                accepted,
                consumed,
                closed,
                events,
                outgoing,
                row,
                entity,
                payloads,
            },
        )
        .boxed()
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        commit().prop_map(|commit| Entry::Commit(Box::new(commit))),
        (iid(), any::<u32>()).prop_map(|(iid, execution)| Entry::Purged(Purged { iid, execution })),
    ]
}

pub(crate) fn group() -> impl Strategy<Value = Group> {
    let head = (any::<u16>(), any::<u64>(), small(position()), small(envelope()));
    let parcels = (small((any::<u64>(), envelope())), small(any::<u64>()));
    (head, parcels, small(entry())).prop_map(
        |((partition, group, positions, outgoing), (parcels, unparceled), entries)| Group {
            partition: PartitionId(partition),
            group: GroupNo(group),
            positions,
            outgoing,
            parcels,
            unparceled,
            entries,
        },
    )
}
