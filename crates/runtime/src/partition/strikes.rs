//! Strikes: what happens to calls that ran when the last process went down.
//!
//! X1  A strike is durable before its call runs again: both travel with the same group.
//! X2  Only a call that is still open gets one. One that completes is gone, and its strikes with it; a retry is
//!     another call.
//! X3  A call with [`STRIKES`] is answered instead of being run. The answer is a failure that code can catch.
//!
//! How the host knows what ran: `host/running.rs`.

use everstep_engine::Instance;
use everstep_model::{Body, Commit, EventId, Failure, Iid, InstanceId, Outcome, RowChange, kinds};

use super::{Partition, Slot};

/// A call that was there so often when its process went down is not run again.
pub const STRIKES: u32 = 3;

impl Partition {
    /// Says that a call ran when the last process went down. To be said before [`Partition::resume`]; calls that have
    /// ended, or of which nothing is known, do not matter.
    pub fn suspect(&mut self, iid: Iid, execution: u32, task: EventId) {
        self.suspects.entry(iid).or_default().push((execution, task));
    }

    /// Gives an instance's suspects a strike each.
    pub(super) fn strike(&mut self, id: &InstanceId) {
        let Some(Slot::Known(known)) = self.slots.get(id) else { return };
        let instance = &known.instance;
        let Some(suspects) = self.suspects.remove(&instance.iid) else { return };
        let struck = |key| instance.tasks.get(&key).map(|task| (key, task.strikes + 1));
        let strikes: Vec<_> = suspects.into_iter().filter_map(struck).collect();
        if strikes.is_empty() {
            return;
        }
        for (key, count) in &strikes {
            let name = &instance.tasks[key].name;
            tracing::warn!(instance = %id, activity = %name, strikes = count, "the process went down while this activity ran");
        }
        let commit = Commit {
            iid: instance.iid,
            now: instance.last_now,
            row: RowChange { strikes, ..RowChange::default() },
            ..Commit::default()
        };
        self.commit(id, commit);
    }
}

/// The open calls that may run.
pub(super) fn innocent(instance: &Instance) -> Vec<(u32, EventId)> {
    let tasks = instance.tasks.iter().filter(|(_, task)| task.strikes < STRIKES);
    tasks.map(|(key, _)| *key).collect()
}

/// The answers to those that may not.
pub(super) fn answers(instance: &Instance) -> Vec<Body> {
    let tasks = instance.tasks.iter().filter(|(_, task)| task.strikes >= STRIKES);
    let answer = |((execution, task), open): (&(u32, EventId), &everstep_engine::OpenTask)| {
        let outcome = Outcome::Failed(Box::new(poison(&open.name, open.strikes)));
        Body::TaskEnded { execution: *execution, task: *task, outcome }
    };
    tasks.map(answer).collect()
}

/// A retry would only take more processes down.
fn poison(name: &str, strikes: u32) -> Failure {
    let text = format!(
        "activity `{name}` took its process down {strikes} times and is not run again; look for an abort, a stack overflow or too much memory in it, deploy a fix, then rewind the instance or start another one"
    );
    Failure::new(kinds::POISON, text).fatal()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use everstep_model::{
        Action, Entry, Event, HubId, PartitionId, ReusePolicy, Start, Tags, Timestamp, Value,
        stored,
    };
    use everstep_store::{Hub, Mode};
    use everstep_worker::{
        Decision, EntityBatch, EntityOptions, EntityReply, TurnReply, TurnRequest, Turns,
    };

    use super::{
        super::{Code, Effect, Options, Output, Request, Ticket},
        *,
    };

    /// An orchestrator that calls two activities and waits for both.
    struct Two;

    impl Code for Two {
        fn identity(&self) -> String {
            "1".to_owned()
        }

        fn entity(&self, _: &str) -> Option<EntityOptions> {
            None
        }

        fn has_activity(&self, _: &str) -> bool {
            true
        }
    }

    impl Turns for Two {
        fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
            let first = request.events.iter().any(|event| matches!(event, Event::Started(_)));
            let call = |id| Action::CallActivity {
                id: EventId(id),
                name: format!("a{id}"),
                input: Value::empty(),
                tags: Tags::new(),
                origin: None,
            };
            let actions = if first { vec![call(0), call(1)] } else { Vec::new() };
            TurnReply::Decided(Decision { actions, ..Decision::default() })
        }

        fn entity(&mut self, _: &EntityBatch) -> EntityReply {
            unreachable!("there are no entities")
        }

        fn evict(&mut self, _: Iid) {}

        fn resident(&self) -> usize {
            0
        }
    }

    fn partition() -> Partition {
        let hub = Hub { id: HubId([1; 16]), name: "h".to_owned(), partitions: 1, epoch: 1 };
        let (code, turns) = (Arc::new(Two), Box::new(Two));
        Partition::new(PartitionId(0), &hub, Mode::Log, Options::default(), code, turns)
    }

    fn start() -> Request {
        let start = Start {
            name: "two".to_owned(),
            version: String::new(),
            input: Value::empty(),
            execution_id: None,
            parent: None,
            tags: Tags::new(),
            scheduled: None,
            trace: None,
            reuse: ReusePolicy::ended(),
        };
        Request::Start(Some(InstanceId::from_stored("i")), Box::new(start))
    }

    /// The records of a process, and the calls that it handed out, each with its strikes.
    type Life = (Vec<bytes::Bytes>, Vec<(u32, u32)>);

    fn close(partition: &mut Partition, mut out: Vec<Output>) -> Life {
        partition.close_group(Timestamp::EPOCH, &mut out);
        let (mut records, mut calls) = (Vec::new(), Vec::new());
        for output in out {
            let Output::Append(record, effects) = output else { continue };
            records.push(record.bytes.clone());
            calls.extend(effects.iter().filter_map(|effect| match effect {
                Effect::Activity(dispatch) => Some((dispatch.call.task.0, dispatch.strikes)),
                _ => None,
            }));
        }
        (records, calls)
    }

    /// A process that starts an instance and goes down.
    fn first_life() -> Life {
        let mut partition = partition();
        let mut out = Vec::new();
        let started = super::super::Input::Request(Ticket(0), start());
        partition.step(Timestamp::EPOCH, started, &mut out);
        close(&mut partition, out)
    }

    /// One that finds records and is told what ran.
    fn next_life(records: &[bytes::Bytes], suspects: &[(u32, EventId)]) -> Life {
        let mut partition = partition();
        for record in records {
            partition.replay(record, &mut |_| None).unwrap();
        }
        for (execution, task) in suspects {
            partition.suspect(Iid::new(PartitionId(0), 1), *execution, *task);
        }
        let mut out = Vec::new();
        partition.resume(Timestamp::EPOCH, &mut out);
        close(&mut partition, out)
    }

    fn commits(record: &[u8]) -> Vec<Commit> {
        let group = stored::decode_group(record).unwrap();
        let commit = |entry| match entry {
            Entry::Commit(commit) => Some(*commit),
            Entry::Purged(_) => None,
        };
        group.entries.into_iter().filter_map(commit).collect()
    }

    #[test]
    fn a_strike_is_in_the_group_that_hands_the_call_out_again() {
        let (records, calls) = first_life();
        assert_eq!(calls, [(0, 0), (1, 0)]);
        let (struck, calls) = next_life(&records, &[(1, EventId(1))]);
        assert_eq!(calls, [(0, 0), (1, 1)]);
        assert_eq!(struck.len(), 1);
        assert_eq!(commits(&struck[0])[0].row.strikes, [((1, EventId(1)), 1)]);
    }

    #[test]
    fn a_call_with_three_strikes_is_answered() {
        let (mut records, _) = first_life();
        for strikes in 1..STRIKES {
            let (more, calls) = next_life(&records, &[(1, EventId(0))]);
            assert_eq!(calls, [(0, strikes), (1, 0)]);
            records.extend(more);
        }
        let (last, calls) = next_life(&records, &[(1, EventId(0))]);
        assert_eq!(calls, [(1, 0)]);
        let failed: Vec<_> = commits(&last[0])
            .into_iter()
            .flat_map(|commit| commit.events)
            .filter_map(|event| match event {
                Event::TaskEnded { task, outcome: Outcome::Failed(failure) } => {
                    Some((task, failure.kind, failure.non_retriable))
                }
                _ => None,
            })
            .collect();
        assert_eq!(failed, [(EventId(0), kinds::POISON.to_owned(), true)]);
    }

    #[test]
    fn what_is_not_open_gets_no_strike() {
        let (records, _) = first_life();
        let (more, calls) = next_life(&records, &[(1, EventId(7)), (2, EventId(0))]);
        assert_eq!(calls, [(0, 0), (1, 0)]);
        assert!(commits(&more[0]).is_empty());
    }
}
