//! The stored form of what a turn needs besides a row's columns.
//!
//! V1  Field numbers are frozen; fields of unknown numbers are skipped.
//! V2  Values that have a column of their own (input, output, custom status, an entity's state) are not in here.

use everstep_model::{
    Caller, EventId, ExecutionId, Iid, InstanceId, Message, Origin, Parent, Parked, Timestamp,
    TraceContext, Value, Wait, message, stored,
};

use crate::{Inbox, Instance, OpenCall, OpenChild, OpenLock, OpenTask, OpenTimer, Rare};

/// A `live` blob that this version cannot read.
pub type LiveError = everstep_model::wire::Error;

/// The blob.
struct Live {
    created: Timestamp,
    last_now: Timestamp,
    parent: Option<Parent>,
    scheduled: Option<Timestamp>,
    trace: Option<TraceContext>,
    ready: bool,
    history_len: u32,
    next_id: u32,
    payloads: u32,
    tasks: Vec<LiveTask>,
    timers: Vec<LiveTimer>,
    children: Vec<LiveChild>,
    calls: Vec<LiveCall>,
    locks: Vec<LiveLock>,
    next_message: u64,
    messages: Vec<(u64, Message)>,
    wait: Option<(Wait, Timestamp)>,
    parked: Option<Parked>,
    suspended: Option<Timestamp>,
    keys: Vec<String>,
    lock: Option<Caller>,
}

struct LiveTask {
    execution: u32,
    id: EventId,
    name: String,
    input: Value,
    since: Timestamp,
    attempt: u32,
    strikes: u32,
    execution_id: ExecutionId,
}

struct LiveTimer {
    id: EventId,
    fire_at: Timestamp,
    origin: Option<Origin>,
    since: Timestamp,
}

struct LiveChild {
    id: EventId,
    instance: InstanceId,
    execution_id: ExecutionId,
    since: Timestamp,
}

struct LiveCall {
    id: EventId,
    entity: InstanceId,
    name: String,
    since: Timestamp,
}

struct LiveLock {
    id: EventId,
    entities: Vec<InstanceId>,
    granted: Option<Timestamp>,
    since: Timestamp,
}

// frozen
message!(Live {
    1 created, 2 last_now, 3 parent, 4 scheduled, 5 trace, 6 ready, 7 history_len, 8 next_id, 9 payloads, 10 tasks, 11 timers,
    12 children, 13 calls, 14 locks, 15 next_message, 16 messages, 17 wait, 18 parked, 19 suspended, 20 keys, 21 lock
});
// frozen
message!(LiveTask { 1 execution, 2 id, 3 name, 4 input, 5 since, 6 attempt, 7 strikes, 8 execution_id });
// frozen
message!(LiveTimer { 1 id, 2 fire_at, 3 origin, 4 since });
// frozen
message!(LiveChild { 1 id, 2 instance, 3 execution_id, 4 since });
// frozen
message!(LiveCall { 1 id, 2 entity, 3 name, 4 since });
// frozen
message!(LiveLock { 1 id, 2 entities, 3 granted, 4 since });

impl Instance {
    /// The `live` blob of the instance's row.
    pub fn encode_live(&self) -> Vec<u8> {
        let live = Live {
            created: self.created,
            last_now: self.last_now,
            parent: self.rare.parent.clone(),
            scheduled: self.rare.scheduled,
            trace: self.rare.trace.clone(),
            ready: self.ready,
            history_len: self.history_len,
            next_id: self.next_id,
            payloads: self.payloads,
            tasks: self
                .tasks
                .iter()
                .map(|((execution, id), task)| live_task(*execution, *id, task))
                .collect(),
            timers: self
                .timers
                .iter()
                .map(|(id, OpenTimer { fire_at, origin, since })| LiveTimer {
                    id: *id,
                    fire_at: *fire_at,
                    origin: *origin,
                    since: *since,
                })
                .collect(),
            children: self
                .rare
                .children
                .iter()
                .map(|(id, OpenChild { instance, execution_id, since })| LiveChild {
                    id: *id,
                    instance: instance.clone(),
                    execution_id: execution_id.clone(),
                    since: *since,
                })
                .collect(),
            calls: self
                .rare
                .calls
                .iter()
                .map(|(id, OpenCall { entity, name, since })| LiveCall {
                    id: *id,
                    entity: entity.clone(),
                    name: name.clone(),
                    since: *since,
                })
                .collect(),
            locks: self
                .rare
                .locks
                .iter()
                .map(|(id, OpenLock { entities, granted, since })| LiveLock {
                    id: *id,
                    entities: entities.clone(),
                    granted: *granted,
                    since: *since,
                })
                .collect(),
            next_message: self.inbox.next,
            messages: self
                .inbox
                .messages
                .iter()
                .map(|(number, message)| (*number, message.clone()))
                .collect(),
            wait: self.wait.clone(),
            parked: self.rare.parked.clone(),
            suspended: self.rare.suspended,
            keys: self.rare.keys.iter().cloned().collect(),
            lock: self.rare.lock.clone(),
        };
        let mut bytes = Vec::new();
        stored::encode(&mut bytes, &live);
        bytes
    }

    /// An instance from its blob. What has a column of its own is left for the caller to fill in.
    pub fn decode_live(iid: Iid, id: InstanceId, bytes: &[u8]) -> Result<Self, LiveError> {
        let live: Live = stored::decode(bytes)?;
        let rare = Rare {
            parent: live.parent,
            scheduled: live.scheduled,
            trace: live.trace,
            children: live
                .children
                .into_iter()
                .map(|LiveChild { id, instance, execution_id, since }| {
                    (id, OpenChild { instance, execution_id, since })
                })
                .collect(),
            calls: live
                .calls
                .into_iter()
                .map(|LiveCall { id, entity, name, since }| (id, OpenCall { entity, name, since }))
                .collect(),
            locks: live
                .locks
                .into_iter()
                .map(|LiveLock { id, entities, granted, since }| {
                    (id, OpenLock { entities, granted, since })
                })
                .collect(),
            parked: live.parked,
            suspended: live.suspended,
            keys: live.keys.into_iter().collect(),
            lock: live.lock,
            ..Rare::default()
        };
        Ok(Self {
            last_now: live.last_now,
            ready: live.ready,
            history_len: live.history_len,
            next_id: live.next_id,
            payloads: live.payloads,
            tasks: live.tasks.into_iter().map(open_task).collect(),
            timers: live
                .timers
                .into_iter()
                .map(|LiveTimer { id, fire_at, origin, since }| {
                    (id, OpenTimer { fire_at, origin, since })
                })
                .collect(),
            inbox: Inbox { next: live.next_message, messages: live.messages.into_iter().collect() },
            wait: live.wait,
            rare: rare.into(),
            ..Self::new(iid, id, live.created)
        })
    }
}

fn live_task(execution: u32, id: EventId, task: &OpenTask) -> LiveTask {
    let OpenTask { name, input, since, attempt, strikes, execution_id } = task.clone();
    LiveTask { execution, id, name, input, since, attempt, strikes, execution_id }
}

fn open_task(task: LiveTask) -> ((u32, EventId), OpenTask) {
    let LiveTask { execution, id, name, input, since, attempt, strikes, execution_id } = task;
    ((execution, id), OpenTask { name, input, since, attempt, strikes, execution_id })
}
