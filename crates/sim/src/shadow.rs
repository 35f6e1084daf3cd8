//! What the records say, kept apart from what the partitions say.
//!
//! Every record that a partition appends is decoded and applied to a state of our own, which knows no rule of the engine.
//! After a crash the state goes back to the records that the store still has.
//!
//! S1  Ids of actions rise within an execution.
//! S2  After the terminal event of an execution nothing more enters its history.
//! S3  A message is consumed once, and only while it is pending.
//! S4  A call is answered once, and only while it is open.
//! S5  Positions rise, and no timer fires before it is due.
//! S6  A key counts once.

use std::collections::{BTreeMap, BTreeSet};

use everstep_model::{
    Body, Commit, Entry, Event, EventId, ExecutionId, Group, GroupNo, Iid, InstanceId, PartitionId,
    Position, Timestamp, stored,
};

/// What one instance looks like from its records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) execution: u32,
    pub(crate) execution_id: String,
    pub(crate) history: Vec<Event>,
    pub(crate) pending: BTreeSet<u64>,
    next_message: u64,
    next_id: u32,
    ended: bool,
    open: BTreeSet<EventId>,
    timers: BTreeMap<EventId, Timestamp>,
    keys: BTreeSet<String>,
}

/// One partition.
#[derive(Debug, Clone, Default)]
struct Part {
    groups: Vec<Group>,
    instances: BTreeMap<Iid, Seen>,
    positions: BTreeMap<PartitionId, Position>,
    sent: BTreeMap<PartitionId, Position>,
    parcels: BTreeSet<u64>,
    /// Executions that began, purged ones included.
    begun: BTreeSet<String>,
    /// Keys of events and signals, by receiver.
    taken: BTreeSet<(String, String)>,
}

/// All partitions.
#[derive(Debug, Clone)]
pub(crate) struct Shadow {
    parts: Vec<Part>,
}

impl Shadow {
    pub(crate) fn new(partitions: u16) -> Self {
        Self { parts: (0..partitions).map(|_| Part::default()).collect() }
    }

    /// Takes a record that was appended when no clock had ever been beyond `latest`.
    pub(crate) fn append(
        &mut self,
        partition: PartitionId,
        bytes: &[u8],
        latest: Timestamp,
    ) -> Result<(), String> {
        let group = stored::decode_group(bytes)
            .map_err(|error| format!("a record does not decode: {error}"))?;
        let count = self.parts.len() as u16;
        let part = &mut self.parts[usize::from(partition.0)];
        if group.group != GroupNo(part.groups.len() as u64 + 1) {
            return Err(format!("group {} follows {}", group.group.0, part.groups.len()));
        }
        part.apply(&group, count, latest)?;
        part.groups.push(group);
        Ok(())
    }

    /// Goes back to what the store still has.
    pub(crate) fn cut(&mut self, partition: PartitionId, upto: GroupNo) -> Result<(), String> {
        let count = self.parts.len() as u16;
        let part = &mut self.parts[usize::from(partition.0)];
        let mut groups = std::mem::take(&mut part.groups);
        groups.truncate(upto.0 as usize);
        *part = Part::default();
        for group in groups {
            part.apply(&group, count, Timestamp::MAX)?;
            part.groups.push(group);
        }
        Ok(())
    }

    /// The last group of a partition.
    pub(crate) fn last(&self, partition: PartitionId) -> GroupNo {
        GroupNo(self.parts[usize::from(partition.0)].groups.len() as u64)
    }

    /// Whether an execution of this public name ever began.
    pub(crate) fn has_begun(&self, execution_id: &str) -> bool {
        self.parts.iter().any(|part| part.begun.contains(execution_id))
    }

    /// Whether something with this key was taken in by the receiver.
    pub(crate) fn has_taken(&self, id: &str, key: &str) -> bool {
        let taken = (id.to_owned(), key.to_owned());
        self.parts.iter().any(|part| part.taken.contains(&taken))
    }

    /// Whether the execution has ended: what comes before that turn and after its cause leaves no trace.
    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.instances().any(|(_, seen)| seen.id == id && seen.ended)
    }

    /// All instances that exist.
    pub(crate) fn instances(&self) -> impl Iterator<Item = (Iid, &Seen)> {
        self.parts.iter().flat_map(|part| part.instances.iter().map(|(iid, seen)| (*iid, seen)))
    }

    /// Nothing is under way between partitions, nothing is held for an instance that is being loaded.
    pub(crate) fn check_rest(&self) -> Result<(), String> {
        for (from, part) in self.parts.iter().enumerate() {
            for (to, last) in &part.sent {
                let got = self.parts[usize::from(to.0)].positions.get(&last.partition);
                if got.is_none_or(|got| got < last) {
                    return Err(format!(
                        "partition {} has {got:?} of {from}, which sent up to {last:?}",
                        to.0
                    ));
                }
            }
            if !part.parcels.is_empty() {
                return Err(format!("partition {from} still holds parcels {:?}", part.parcels));
            }
            if let Some(seen) = part.instances.values().find(|seen| !seen.pending.is_empty()) {
                return Err(format!("`{}` still has messages {:?}", seen.id, seen.pending));
            }
        }
        Ok(())
    }
}

impl Part {
    fn apply(&mut self, group: &Group, count: u16, latest: Timestamp) -> Result<(), String> {
        for at in &group.positions {
            let before = self.positions.insert(at.partition, *at);
            // A group that only repeats what arrived twice names the same position again.
            if before.is_some_and(|before| before > *at) {
                return Err(format!("S5: position {at:?} after {before:?}"));
            }
        }
        for (index, envelope) in group.outgoing.iter().enumerate() {
            let at =
                Position { partition: group.partition, group: group.group, index: index as u32 };
            self.sent.insert(envelope.to.partition(count), at);
        }
        for (number, envelope) in &group.parcels {
            if !self.parcels.insert(*number) {
                return Err(format!("S3: parcel {number} for `{}` is taken twice", envelope.to));
            }
        }
        for number in &group.unparceled {
            if !self.parcels.remove(number) {
                return Err(format!("S3: parcel {number} is given out and not there"));
            }
        }
        for entry in &group.entries {
            match entry {
                Entry::Commit(commit) => self.commit(commit, latest)?,
                Entry::Purged(purged) => {
                    let known = self.instances.get(&purged.iid);
                    if known.is_some_and(|seen| seen.execution <= purged.execution) {
                        self.instances.remove(&purged.iid);
                    }
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit, latest: Timestamp) -> Result<(), String> {
        if let Some(id) = &commit.created
            && self.instances.insert(commit.iid, Seen::new(id)).is_some()
        {
            return Err(format!("`{id}` is created over an instance that is there"));
        }
        let Some(seen) = self.instances.get_mut(&commit.iid) else {
            return Err(format!("instance number {} is changed and does not exist", commit.iid.0));
        };
        seen.apply(commit, latest).map_err(|what| format!("{what}, in `{}`", seen.id))?;
        let executions = commit.begin.iter().map(|begin| begin.execution_id.as_str().to_owned());
        self.begun.extend(executions);
        self.taken.extend(taken(&seen.id, commit));
        Ok(())
    }
}

fn is_rewound(commit: &Commit) -> bool {
    commit.events.iter().any(|event| matches!(event, Event::Rewound { .. }))
}

/// Keys that a commit takes in.
fn taken(id: &str, commit: &Commit) -> Vec<(String, String)> {
    let accepted = commit.accepted.iter().filter_map(|message| match &message.body {
        Body::Raised { key, .. } => Some(key),
        Body::Operation(operation) => Some(&operation.key),
        _ => None,
    });
    let raised = commit.events.iter().filter_map(|event| match event {
        Event::EventRaised { key, .. } => Some(key),
        _ => None,
    });
    let signals = commit.entity.iter().flat_map(|change| &change.keys);
    accepted.chain(raised).chain(signals).map(|key| (id.to_owned(), key.clone())).collect()
}

impl Seen {
    fn new(id: &InstanceId) -> Self {
        Self { id: id.to_string(), ..Self::default() }
    }

    fn apply(&mut self, commit: &Commit, latest: Timestamp) -> Result<(), String> {
        if let Some(begin) = &commit.begin {
            if begin.execution <= self.execution {
                return Err(format!("execution {} follows {}", begin.execution, self.execution));
            }
            self.begin(begin.execution, &begin.execution_id, begin.fresh);
            // A rewind repeats the events that it keeps.
            self.keys.retain(|_| !is_rewound(commit));
        }
        for number in &commit.consumed {
            if !self.pending.remove(number) {
                return Err(format!("S3: message {number} is consumed and not pending"));
            }
        }
        for _ in &commit.accepted {
            self.pending.insert(self.next_message);
            self.next_message += 1;
        }
        commit.events.iter().try_for_each(|event| self.event(event, commit.now.min(latest)))
    }

    fn begin(&mut self, execution: u32, execution_id: &ExecutionId, fresh: bool) {
        self.execution = execution;
        execution_id.as_str().clone_into(&mut self.execution_id);
        self.history.clear();
        self.next_id = 0;
        self.ended = false;
        self.open.clear();
        self.timers.clear();
        if fresh {
            self.keys.clear();
            self.pending.clear();
        }
    }

    fn event(&mut self, event: &Event, now: Timestamp) -> Result<(), String> {
        if self.ended {
            return Err(format!("S2: {event:?} after the end"));
        }
        self.history.push(event.clone());
        match event {
            Event::TaskScheduled { id, .. }
            | Event::OperationCalled { id, .. }
            | Event::LockRequested { id, .. } => {
                self.take_id(*id)?;
                self.open.insert(*id);
            }
            Event::ChildCreated { id, detached, .. } => {
                self.take_id(*id)?;
                if !detached {
                    self.open.insert(*id);
                }
            }
            Event::TimerCreated { id, fire_at, .. } => {
                self.take_id(*id)?;
                self.timers.insert(*id, *fire_at);
            }
            Event::EventSent { id, .. }
            | Event::OperationSignaled { id, .. }
            | Event::LockReleased { id, .. } => {
                self.take_id(*id)?;
            }
            Event::TaskEnded { task, .. }
            | Event::ChildEnded { task, .. }
            | Event::OperationEnded { task, .. }
            | Event::LockGranted { lock: task } => {
                if !self.open.remove(task) {
                    return Err(format!("S4: {event:?} answers nothing that is open"));
                }
            }
            Event::TimerFired { timer } => match self.timers.remove(timer) {
                None => return Err(format!("S4: {event:?} without a timer")),
                Some(due) if due > now => return Err(format!("S5: {event:?} at {now}, due {due}")),
                Some(_) => {}
            },
            Event::TimerCanceled { timer } => drop(self.timers.remove(timer)),
            Event::EventRaised { key, .. } => {
                if !key.is_empty() && !self.keys.insert(key.clone()) {
                    return Err(format!("S6: the key {key} counts twice"));
                }
            }
            Event::Completed { .. } | Event::Failed { .. } | Event::Terminated { .. } => {
                self.ended = true;
            }
            Event::Started(_)
            | Event::TurnStarted { .. }
            | Event::Suspended { .. }
            | Event::Resumed { .. }
            | Event::Rewound { .. } => {}
        }
        Ok(())
    }

    fn take_id(&mut self, id: EventId) -> Result<(), String> {
        if id.0 < self.next_id {
            return Err(format!("S1: action {} after {}", id.0, self.next_id));
        }
        self.next_id = id.0 + 1;
        Ok(())
    }
}
