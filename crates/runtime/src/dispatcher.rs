//! Which activities run: limits for the host and for each function, first come first served within a function.
//!
//! K1  A call is queued or running once, however often it is handed in.
//! K2  A function at its limit does not hold up others.
//! K3  A call of an unknown function waits until code registers it.
//! K4  Of the calls with strikes one runs at a time, so that the guilty one is found out. They hold up nobody else.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use everstep_model::{EventId, Iid};

use crate::partition::{Dispatch, Name};

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
    /// Calls with strikes.
    suspects: VecDeque<Box<Dispatch>>,
    /// The one of them that runs.
    suspect: Option<Key>,
}

#[derive(Debug, Default)]
struct Function {
    /// `None` while no code registers it.
    limit: Option<usize>,
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
        }
    }

    /// Takes a call in. `limit` tells how many of the function may run; `None` if there is no such function.
    pub(crate) fn queue(
        &mut self,
        dispatch: Box<Dispatch>,
        limit: impl FnOnce(&str) -> Option<usize>,
    ) {
        let key = key(&dispatch);
        if self.active.contains_key(&key) || !self.queued.insert(key) {
            return;
        }
        let name = dispatch.call.name.clone();
        let function = self
            .functions
            .entry(name.clone())
            .or_insert_with(|| Function { limit: limit(&name), ..Function::default() });
        if dispatch.strikes > 0 {
            self.suspects.push_back(dispatch);
            return;
        }
        function.queue.push_back(dispatch);
        self.line_up(&name);
    }

    /// The next call to run, if a slot is free for one.
    pub(crate) fn next(&mut self) -> Option<Box<Dispatch>> {
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
            self.line_up(&name);
            if !self.queued.remove(&key(&dispatch)) {
                continue;
            }
            return self.run(dispatch);
        }
        None
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
    pub(crate) fn code_changed(&mut self, limit: impl Fn(&str) -> Option<usize>) {
        let names: Vec<_> = self.functions.keys().cloned().collect();
        for name in names {
            if let Some(function) = self.functions.get_mut(&name) {
                function.limit = limit(&name);
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
        let Some(function) = self.functions.get_mut(name) else { return };
        if function.is_free() && !function.in_turns && !function.queue.is_empty() {
            function.in_turns = true;
            self.turns.push_back(name.clone());
        }
    }
}

impl Function {
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

    fn suspect(name: &str, task: u32) -> Box<Dispatch> {
        Box::new(Dispatch { strikes: 1, ..*call(name, task) })
    }

    fn drain(dispatcher: &mut Dispatcher) -> Vec<u32> {
        std::iter::from_fn(|| dispatcher.next()).map(|dispatch| dispatch.call.task.0).collect()
    }

    #[test]
    fn a_function_at_its_limit_does_not_hold_up_others() {
        let mut dispatcher = Dispatcher::new(10);
        (0..3).for_each(|task| dispatcher.queue(call("slow", task), |_| Some(1)));
        dispatcher.queue(call("quick", 9), |_| Some(10));
        assert_eq!(drain(&mut dispatcher), [0, 9]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [1]);
        assert_eq!(dispatcher.place((Iid(1), 1, EventId(2))), Place::Queued);
    }

    #[test]
    fn a_call_is_taken_in_once() {
        let mut dispatcher = Dispatcher::new(10);
        dispatcher.queue(call("a", 1), |_| Some(9));
        dispatcher.queue(call("a", 1), |_| Some(9));
        assert_eq!(drain(&mut dispatcher), [1]);
        dispatcher.queue(call("a", 1), |_| Some(9));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
    }

    #[test]
    fn a_call_of_an_unknown_function_waits_for_its_code() {
        let mut dispatcher = Dispatcher::new(10);
        dispatcher.queue(call("later", 1), |_| None);
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
        dispatcher.code_changed(|_| Some(1));
        assert_eq!(drain(&mut dispatcher), [1]);
    }

    #[test]
    fn calls_of_a_terminated_instance_are_dropped_from_the_queue() {
        let mut dispatcher = Dispatcher::new(1);
        (0..3).for_each(|task| dispatcher.queue(call("a", task), |_| Some(1)));
        assert_eq!(drain(&mut dispatcher), [0]);
        dispatcher.drop_queued(Iid(1));
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
    }

    #[test]
    fn suspects_run_one_at_a_time_and_hold_up_nobody_else() {
        let mut dispatcher = Dispatcher::new(10);
        (0..3).for_each(|task| dispatcher.queue(suspect("a", task), |_| Some(9)));
        (3..6).for_each(|task| dispatcher.queue(call("a", task), |_| Some(9)));
        assert_eq!(drain(&mut dispatcher), [0, 3, 4, 5]);
        dispatcher.ended((Iid(1), 1, EventId(4)));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [1]);
        assert_eq!(dispatcher.place((Iid(1), 1, EventId(2))), Place::Queued);
    }

    #[test]
    fn a_suspect_whose_function_has_no_slot_does_not_hold_up_the_next() {
        let mut dispatcher = Dispatcher::new(10);
        dispatcher.queue(call("narrow", 0), |_| Some(1));
        assert_eq!(drain(&mut dispatcher), [0]);
        dispatcher.queue(suspect("narrow", 1), |_| Some(1));
        dispatcher.queue(suspect("unknown", 2), |_| None);
        dispatcher.queue(suspect("a", 3), |_| Some(1));
        assert_eq!(drain(&mut dispatcher), [3]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        dispatcher.ended((Iid(1), 1, EventId(3)));
        assert_eq!(drain(&mut dispatcher), [1]);
        dispatcher.ended((Iid(1), 1, EventId(1)));
        dispatcher.code_changed(|_| Some(1));
        assert_eq!(drain(&mut dispatcher), [2]);
    }

    #[test]
    fn suspects_of_a_terminated_instance_are_dropped() {
        let mut dispatcher = Dispatcher::new(10);
        (0..3).for_each(|task| dispatcher.queue(suspect("a", task), |_| Some(9)));
        assert_eq!(drain(&mut dispatcher), [0]);
        dispatcher.drop_queued(Iid(1));
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
    }

    #[test]
    fn suspects_count_towards_the_limit_of_the_host() {
        let mut dispatcher = Dispatcher::new(2);
        (0..2).for_each(|task| dispatcher.queue(call("a", task), |_| Some(9)));
        assert_eq!(drain(&mut dispatcher), [0, 1]);
        dispatcher.queue(suspect("a", 2), |_| Some(9));
        assert_eq!(drain(&mut dispatcher), [0_u32; 0]);
        dispatcher.ended((Iid(1), 1, EventId(0)));
        assert_eq!(drain(&mut dispatcher), [2]);
    }
}
