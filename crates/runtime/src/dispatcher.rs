//! Which activities run: limits for the host and for each function, first come first served within a function.
//!
//! K1  A call is queued or running once, however often it is handed in.
//! K2  A function at its limit does not hold up others.
//! K3  A call of an unknown function waits until code registers it.
//! K4  A function that is to keep a pace lines up again when it has a token. Whoever owns the dispatcher wakes it then.
//! K5  Of the calls with strikes one runs at a time, those with the fewest first: the innocent clear themselves before
//!     the guilty one runs again. They hold up nobody else.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use everstep_model::{EventId, Iid};
use tokio::time::Instant;

use crate::{
    pace::Pace,
    partition::{Dispatch, Name},
};

/// Names a call for as long as it is open.
pub(crate) type Key = (Iid, u32, EventId);

/// The queues and slots of one host.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    limit: usize,
    running: usize,
    functions: BTreeMap<Name, Function>,
    /// Functions with something queued that might run, in the order of their turns.
    turns: VecDeque<Name>,
    queued: HashSet<Key>,
    active: HashMap<Key, Name>,
    /// Calls with strikes, the fewest first.
    suspects: VecDeque<Box<Dispatch>>,
    /// The one of them that runs.
    suspect: Option<Key>,
    /// Functions that wait for a token, and until when.
    paused: BTreeMap<Name, Instant>,
    /// When somebody is going to ask again.
    alarm: Option<Instant>,
}

/// Bounds of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How many run at once.
    pub(crate) concurrency: usize,
    /// Between two starts, on average.
    pub(crate) interval: Option<Duration>,
}

#[derive(Debug, Default)]
struct Function {
    /// `None` while no code registers it.
    limit: Option<usize>,
    pace: Option<Pace>,
    running: usize,
    queue: VecDeque<Box<Dispatch>>,
    in_turns: bool,
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Queued,
    Running,
    Unknown,
}

impl Dispatcher {
    /// At most `limit` activities at once.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            running: 0,
            functions: BTreeMap::new(),
            turns: VecDeque::new(),
            queued: HashSet::new(),
            active: HashMap::new(),
            suspects: VecDeque::new(),
            suspect: None,
            paused: BTreeMap::new(),
            alarm: None,
        }
    }

    /// Takes a call in. `bounds` tells how many of the function may run; `None` if there is no such function.
    pub(crate) fn queue(
        &mut self,
        dispatch: Box<Dispatch>,
        bounds: impl FnOnce(&str) -> Option<Bounds>,
    ) {
        let key = key(&dispatch);
        if self.active.contains_key(&key) || !self.queued.insert(key) {
            return;
        }
        let name = dispatch.call.name.clone();
        let function = self
            .functions
            .entry(name.clone())
            .or_insert_with(|| Function::default().bounded(bounds(&name)));
        if dispatch.strikes > 0 {
            let behind = self.suspects.partition_point(|other| other.strikes <= dispatch.strikes);
            self.suspects.insert(behind, dispatch);
            return;
        }
        function.queue.push_back(dispatch);
        self.line_up(&name);
    }

    /// The next call to run, if a slot is free for one.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Box<Dispatch>> {
        self.end_pauses(now);
        if let Some(suspect) = self.next_suspect() {
            self.suspect = Some(key(&suspect));
            return self.run(suspect);
        }
        while self.running < self.limit {
            let name = self.turns.pop_front()?;
            let function = self.functions.get_mut(&name)?;
            function.in_turns = false;
            if !function.is_free() {
                continue;
            }
            let Some(dispatch) = function.queue.pop_front() else { continue };
            if !self.queued.contains(&key(&dispatch)) {
                self.line_up(&name);
                continue;
            }
            if let Some(Err(until)) = function.pace.as_mut().map(|pace| pace.take(now)) {
                function.queue.push_front(dispatch);
                self.paused.insert(name, until);
                continue;
            }
            self.line_up(&name);
            self.queued.remove(&key(&dispatch));
            return self.run(dispatch);
        }
        None
    }

    /// When to ask for the next call again although nothing else happens; told once for each time.
    pub(crate) fn alarm(&mut self, now: Instant) -> Option<Instant> {
        let next = *self.paused.values().min()?;
        if self.alarm.is_some_and(|alarm| alarm > now && alarm <= next) {
            return None;
        }
        self.alarm = Some(next);
        self.alarm
    }

    fn end_pauses(&mut self, now: Instant) {
        let due: Vec<_> = self.paused.iter().filter(|(_, until)| **until <= now).collect();
        let due: Vec<Name> = due.into_iter().map(|(name, _)| name.clone()).collect();
        for name in due {
            self.paused.remove(&name);
            self.line_up(&name);
        }
    }

    fn run(&mut self, dispatch: Box<Dispatch>) -> Option<Box<Dispatch>> {
        let name = dispatch.call.name.clone();
        self.functions.get_mut(&name)?.running += 1;
        self.running += 1;
        self.active.insert(key(&dispatch), name);
        Some(dispatch)
    }

    /// The first call with strikes whose function has a free slot, if no other one runs.
    fn next_suspect(&mut self) -> Option<Box<Dispatch>> {
        if self.suspects.is_empty() || self.suspect.is_some() || self.running >= self.limit {
            return None;
        }
        self.suspects.retain(|suspect| self.queued.contains(&key(suspect)));
        let first = self.suspects.iter().position(|suspect| {
            self.functions.get(&suspect.call.name).is_some_and(Function::is_free)
        })?;
        let suspect = self.suspects.remove(first)?;
        self.queued.remove(&key(&suspect));
        Some(suspect)
    }

    /// A call has ended; its slot is free.
    pub(crate) fn ended(&mut self, key: Key) {
        let Some(name) = self.active.remove(&key) else { return };
        self.running -= 1;
        if self.suspect == Some(key) {
            self.suspect = None;
        }
        if let Some(function) = self.functions.get_mut(&name) {
            function.running -= 1;
        }
        self.line_up(&name);
    }

    /// Drops the queued calls of an instance.
    pub(crate) fn drop_queued(&mut self, iid: Iid) {
        self.queued.retain(|(queued, ..)| *queued != iid);
    }

    /// Other code has registered: limits are asked for anew.
    pub(crate) fn code_changed(&mut self, bounds: impl Fn(&str) -> Option<Bounds>) {
        let names: Vec<_> = self.functions.keys().cloned().collect();
        for name in names {
            if let Some(function) = self.functions.remove(&name) {
                self.functions.insert(name.clone(), function.bounded(bounds(&name)));
            }
            self.line_up(&name);
        }
    }

    /// Where a call is.
    pub(crate) fn place(&self, key: Key) -> Place {
        if self.active.contains_key(&key) {
            Place::Running
        } else if self.queued.contains(&key) {
            Place::Queued
        } else {
            Place::Unknown
        }
    }

    fn line_up(&mut self, name: &Name) {
        if self.paused.contains_key(name) {
            return;
        }
        let Some(function) = self.functions.get_mut(name) else { return };
        if function.is_free() && !function.in_turns && !function.queue.is_empty() {
            function.in_turns = true;
            self.turns.push_back(name.clone());
        }
    }
}

impl Function {
    /// With these bounds; a pace begins anew.
    fn bounded(self, bounds: Option<Bounds>) -> Self {
        let pace = bounds.and_then(|bounds| bounds.interval).map(Pace::new);
        Self { limit: bounds.map(|bounds| bounds.concurrency), pace, ..self }
    }

    fn is_free(&self) -> bool {
        self.limit.is_some_and(|limit| self.running < limit)
    }
}

pub(crate) fn key(dispatch: &Dispatch) -> Key {
    (dispatch.iid, dispatch.execution, dispatch.call.task)
}

#[cfg(test)]
mod tests {
    use everstep_model::{ExecutionId, InstanceId, Value};
    use everstep_worker::ActivityCall;

    use super::*;

    fn call(name: &str, task: u32) -> Box<Dispatch> {
        let call = ActivityCall {
            instance: InstanceId::from_stored("i"),
            name: name.into(),
            input: Value::empty(),
            task: EventId(task),
            execution_id: ExecutionId::new("e"),
            attempt: 1,
            trace: None,
        };
        Box::new(Dispatch { iid: Iid(1), execution: 1, strikes: 0, call })
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is what a registry answers")]
    fn at_most(concurrency: usize) -> Option<Bounds> {
        Some(Bounds { concurrency, interval: None })
    }

    fn suspect(name: &str, task: u32) -> Box<Dispatch> {
        Box::new(Dispatch { strikes: 1, ..*call(name, task) })
    }

    fn drain(dispatcher: &mut Dispatcher) -> Vec<u32> {
        std::iter::from_fn(|| dispatcher.next(Instant::now()))
            .map(|dispatch| dispatch.call.task.0)
            .collect()
    }

    #[test]
    fn a_function_at_its_limit_does_not_hold_up_others() {
        let mut dispatcher = Dispatcher::new(10);
        (0..3).for_each(|task| dispatcher.queue(call("slow", task), |_| at_most(1)));
        dispatcher.queue(call("quick", 9), |_| at_most(10));
        assert_eq!(drain(&mut dispatcher), [0, 9]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [1]);
        assert_eq!(dispatcher.place((Iid(1), 1, EventId(2))), Place::Queued);
    }

    #[test]
    fn a_call_is_taken_in_once() {
        let mut dispatcher = Dispatcher::new(10);
        dispatcher.queue(call("a", 1), |_| at_most(9));
        dispatcher.queue(call("a", 1), |_| at_most(9));
        assert_eq!(drain(&mut dispatcher), [1]);
        dispatcher.queue(call("a", 1), |_| at_most(9));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
    }

    #[test]
    fn a_call_of_an_unknown_function_waits_for_its_code() {
        let mut dispatcher = Dispatcher::new(10);
        dispatcher.queue(call("later", 1), |_| None);
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
        dispatcher.code_changed(|_| at_most(1));
        assert_eq!(drain(&mut dispatcher), [1]);
    }

    #[test]
    fn calls_of_a_terminated_instance_are_dropped_from_the_queue() {
        let mut dispatcher = Dispatcher::new(1);
        (0..3).for_each(|task| dispatcher.queue(call("a", task), |_| at_most(1)));
        assert_eq!(drain(&mut dispatcher), [0]);
        dispatcher.drop_queued(Iid(1));
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
    }

    #[test]
    fn suspects_run_one_at_a_time_and_hold_up_nobody_else() {
        let mut dispatcher = Dispatcher::new(10);
        (0..3).for_each(|task| dispatcher.queue(suspect("a", task), |_| at_most(9)));
        (3..6).for_each(|task| dispatcher.queue(call("a", task), |_| at_most(9)));
        assert_eq!(drain(&mut dispatcher), [0, 3, 4, 5]);
        dispatcher.ended((Iid(1), 1, EventId(4)));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [1]);
        assert_eq!(dispatcher.place((Iid(1), 1, EventId(2))), Place::Queued);
    }

    #[test]
    fn the_suspect_with_the_fewest_strikes_runs_first() {
        let mut dispatcher = Dispatcher::new(10);
        for (task, strikes) in [(0, 2), (1, 1), (2, 2), (3, 1)] {
            let suspect = Box::new(Dispatch { strikes, ..*call("a", task) });
            dispatcher.queue(suspect, |_| at_most(9));
        }
        let mut order = Vec::new();
        while let [task] = drain(&mut dispatcher)[..] {
            order.push(task);
            dispatcher.ended((Iid(1), 1, EventId(task)));
        }
        assert_eq!(order, [1, 3, 0, 2]);
    }

    #[test]
    fn a_suspect_whose_function_has_no_slot_does_not_hold_up_the_next() {
        let mut dispatcher = Dispatcher::new(10);
        dispatcher.queue(call("narrow", 0), |_| at_most(1));
        assert_eq!(drain(&mut dispatcher), [0]);
        dispatcher.queue(suspect("narrow", 1), |_| at_most(1));
        dispatcher.queue(suspect("unknown", 2), |_| None);
        dispatcher.queue(suspect("a", 3), |_| at_most(1));
        assert_eq!(drain(&mut dispatcher), [3]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        dispatcher.ended((Iid(1), 1, EventId(3)));
        assert_eq!(drain(&mut dispatcher), [1]);
        dispatcher.ended((Iid(1), 1, EventId(1)));
        dispatcher.code_changed(|_| at_most(1));
        assert_eq!(drain(&mut dispatcher), [2]);
    }

    #[test]
    fn suspects_of_a_terminated_instance_are_dropped() {
        let mut dispatcher = Dispatcher::new(10);
        (0..3).for_each(|task| dispatcher.queue(suspect("a", task), |_| at_most(9)));
        assert_eq!(drain(&mut dispatcher), [0]);
        dispatcher.drop_queued(Iid(1));
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
    }

    #[test]
    fn suspects_count_towards_the_limit_of_the_host() {
        let mut dispatcher = Dispatcher::new(2);
        (0..2).for_each(|task| dispatcher.queue(call("a", task), |_| at_most(9)));
        assert_eq!(drain(&mut dispatcher), [0, 1]);
        dispatcher.queue(suspect("a", 2), |_| at_most(9));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [2]);
    }

    #[test]
    fn a_function_with_a_pace_waits_and_holds_up_nobody() {
        let (mut dispatcher, now) = (Dispatcher::new(10), Instant::now());
        let paced =
            |_: &str| Some(Bounds { concurrency: 10, interval: Some(Duration::from_secs(1)) });
        (0..3).for_each(|task| dispatcher.queue(call("paced", task), paced));
        dispatcher.queue(call("quick", 9), |_| at_most(10));
        let mut drain = |after: u64| -> Vec<u32> {
            let now = now + Duration::from_millis(after);
            let tasks = std::iter::from_fn(|| dispatcher.next(now)).map(|call| call.call.task.0);
            let tasks = tasks.collect();
            let alarm = dispatcher.alarm(now);
            assert_eq!(dispatcher.alarm(now), None, "an alarm is set once");
            if let Some(alarm) = alarm {
                assert!(alarm > now);
            }
            tasks
        };
        assert_eq!(drain(0), [0, 9]);
        assert_eq!(drain(999), [0_u32; 0]);
        assert_eq!(drain(1_000), [1]);
        assert_eq!(drain(2_000), [2]);
        assert_eq!(drain(9_000), [0_u32; 0]);
    }
}
