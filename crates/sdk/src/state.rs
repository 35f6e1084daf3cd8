//! What one execution has asked for and heard so far: the part that contexts and futures share with the worker.
//!
//! S1  An id and its action are drawn by the call, not by the first poll; a call that nobody awaits still runs.
//! S2  Once closed, nothing is recorded: not by what user code drops, not by what it calls while it is dropped.
//! S3  A failed attempt is followed up when its answer is delivered, whether or not someone awaits the call.
//! S4  Wakers are called by whoever holds no lock.

use std::{
    sync::Arc,
    task::{Poll, Waker},
};

use everstep_model::{
    Action, Completion, EventId, ExecutionId, Failure, Guid, InstanceId, Origin, Outcome, Parent,
    RetryPolicy, Started, Tags, Timestamp, Value, Wait,
};

use crate::{
    events::{Events, WaitId},
    section::Section,
    slots::{Phase, Retrying, Slot, Slots},
};

/// More waits than this are not listed one by one.
const WAITS_LISTED: usize = 16;

/// Name space of the guids that orchestrations make; the same in every SDK of Durable Functions.
const GUID_NAMESPACE: Guid = Guid([
    0x9e, 0x95, 0x29, 0x59, 0x5e, 0x33, 0x4d, 0xaf, 0x82, 0x7f, 0x2f, 0xa1, 0x29, 0x37, 0xb8, 0x75,
]);

/// The state of one execution between polls.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) info: Info,
    pub(crate) now: Timestamp,
    /// What was decided and is not yet recorded, or not yet found in the history.
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Events,
    /// What the code said of itself in this turn.
    pub(crate) custom_status: Option<Box<Value>>,
    /// The critical section it is in, or is about to enter.
    pub(crate) section: Option<Box<Section>>,
    /// An end that the code did not return.
    pub(crate) end: Option<Box<Completion>>,
    pub(crate) mode: Mode,
    slots: Slots,
    /// Slots and event waits that someone awaits.
    awaited: u32,
    next_id: u32,
    guids: u32,
    randoms: u32,
}

/// What does not change within an execution.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) instance: InstanceId,
    pub(crate) execution_id: ExecutionId,
    pub(crate) execution: u32,
    pub(crate) name: Arc<str>,
    /// `None` if there is nothing in it, as in most.
    pub(crate) given: Option<Box<Given>>,
}

/// What a starter may give besides an input.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Given {
    pub(crate) version: String,
    pub(crate) tags: Tags,
    pub(crate) parent: Option<Parent>,
}

impl Given {
    /// What a start came with.
    pub(crate) fn with(started: &Started) -> Option<Box<Self>> {
        let given = Self {
            version: started.version.clone(),
            tags: started.tags.clone(),
            parent: started.parent.clone(),
        };
        (given != Self::default()).then(|| Box::new(given))
    }
}

/// What becomes of what the code does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is compared with the history.
    Replaying,
    /// It is new.
    Live,
    /// It is ignored: the future is being dropped.
    Closed,
}

impl State {
    pub(crate) fn new(info: Info) -> Self {
        Self {
            info,
            now: Timestamp::EPOCH,
            actions: Vec::new(),
            events: Events::default(),
            custom_status: None,
            section: None,
            end: None,
            mode: Mode::Replaying,
            slots: Slots::default(),
            awaited: 0,
            next_id: 0,
            guids: 0,
            randoms: 0,
        }
    }

    /// Makes an action that no answer comes to.
    pub(crate) fn tell(&mut self, action: impl FnOnce(EventId) -> Action) -> EventId {
        let id = EventId(self.next_id);
        self.next_id += 1;
        self.act(action(id));
        id
    }

    /// Makes an action that is answered.
    pub(crate) fn ask(&mut self, action: impl FnOnce(EventId) -> Action) -> EventId {
        let id = self.tell(action);
        self.slots.push(id, Slot::Open(None));
        id
    }

    fn act(&mut self, action: Action) {
        if self.mode != Mode::Closed {
            self.actions.push(action);
        }
    }

    /// Takes an action of this turn back. Its id stays unused.
    pub(crate) fn withdraw(&mut self, id: EventId) {
        self.actions.retain(|action| action.id() != Some(id));
        self.leave(id);
    }

    /// Loses interest in a timer.
    pub(crate) fn cancel_timer(&mut self, timer: EventId) {
        self.act(Action::CancelTimer { timer });
    }

    /// Changes an action that this turn has made.
    pub(crate) fn edit(&mut self, id: EventId, change: impl Fn(&mut Action)) {
        if let Some(action) = self.actions.iter_mut().rev().find(|action| action.id() == Some(id)) {
            change(action);
        }
        if let Some(Slot::Retrying(retrying)) = self.slots.get(id) {
            change(&mut retrying.template);
        }
    }

    /// Ends the execution with a failure that the code cannot catch.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if self.mode != Mode::Closed {
            self.end = Some(Box::new(Completion::Failed(Box::new(failure))));
        }
    }

    /// Ends this generation.
    pub(crate) fn continue_as_new(
        &mut self,
        input: Result<Value, Failure>,
        version: Option<String>,
        keeps_events: bool,
    ) {
        match input {
            Err(failure) => self.fail(failure),
            Ok(input) => {
                let carry = if keeps_events { self.events.take_unread() } else { Vec::new() };
                self.end = Some(Box::new(Completion::ContinueAsNew { input, version, carry }));
            }
        }
    }

    /// Makes a call again when it fails.
    pub(crate) fn retry(&mut self, id: EventId, policy: RetryPolicy) {
        self.edit(id, |action| set_origin(action, id, Origin { call: id, attempt: 1 }));
        let made = self.actions.iter().rev().find(|action| action.id() == Some(id));
        let Some(template) = made.cloned() else { return };
        let began = self.now;
        if let Some(slot @ Slot::Open(None)) = self.slots.get(id) {
            *slot = Slot::Retrying(Box::new(Retrying {
                waker: None,
                policy,
                began,
                attempts: 1,
                template,
                current: id,
                phase: Phase::Attempt,
            }));
        }
    }

    /// The answer to a call, once it is there.
    pub(crate) fn poll(&mut self, id: EventId, waker: &Waker) -> Poll<Outcome> {
        let kept = match self.slots.get(id) {
            Some(Slot::Open(kept)) => kept,
            Some(Slot::Retrying(retrying)) => &mut retrying.waker,
            Some(Slot::Done(_)) => match self.slots.remove(id) {
                Some(Slot::Done(outcome)) => return Poll::Ready(outcome),
                _ => unreachable!("the slot was just seen"),
            },
            Some(Slot::Part { .. } | Slot::Gone) | None => return Poll::Pending,
        };
        if kept.is_none() {
            self.awaited += 1;
        }
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
        Poll::Pending
    }

    /// Nobody is interested in a call any more. Tells whether it was still open; the slot is to be dropped unlocked.
    pub(crate) fn leave(&mut self, id: EventId) -> Option<Slot> {
        let slot = self.slots.remove(id)?;
        match &slot {
            Slot::Open(waker) => self.awaited -= u32::from(waker.is_some()),
            Slot::Retrying(retrying) => {
                self.awaited -= u32::from(retrying.waker.is_some());
                self.slots.remove(retrying.current);
                if retrying.phase == Phase::Pause {
                    self.cancel_timer(retrying.current);
                }
            }
            Slot::Part { .. } | Slot::Done(_) | Slot::Gone => {}
        }
        Some(slot)
    }

    /// An answer arrived; the waker of whoever awaits it.
    pub(crate) fn deliver(&mut self, id: EventId, outcome: Outcome) -> Option<Waker> {
        if let Some(section) = &mut self.section {
            section.answered(id);
        }
        match self.slots.get(id)? {
            Slot::Part { of } => {
                let call = *of;
                self.slots.remove(id);
                self.deliver_attempt(call, outcome)
            }
            Slot::Retrying(_) => self.deliver_attempt(id, outcome),
            slot @ Slot::Open(_) => {
                let Slot::Open(waker) = std::mem::replace(slot, Slot::Done(outcome)) else {
                    unreachable!("the slot was just seen")
                };
                self.awaited -= u32::from(waker.is_some());
                waker
            }
            Slot::Done(_) | Slot::Gone => None,
        }
    }

    /// An attempt ended, or the pause before one.
    fn deliver_attempt(&mut self, call: EventId, outcome: Outcome) -> Option<Waker> {
        let now = self.now;
        let id = EventId(self.next_id);
        let Some(Slot::Retrying(retrying)) = self.slots.get(call) else { return None };
        let origin = Origin { call, attempt: retrying.attempts + 1 };
        let next = match (retrying.phase, &outcome) {
            (Phase::Pause, _) => {
                retrying.phase = Phase::Attempt;
                retrying.attempts += 1;
                let mut action = retrying.template.clone();
                set_origin(&mut action, id, origin);
                Some(action)
            }
            (Phase::Attempt, Outcome::Completed(_)) => None,
            (Phase::Attempt, Outcome::Failed(failure)) => {
                let due = retrying.policy.next(retrying.attempts, retrying.began, now, failure);
                due.map(|fire_at| {
                    retrying.phase = Phase::Pause;
                    Action::CreateTimer { id, fire_at, origin: Some(origin) }
                })
            }
        };
        if let Some(action) = next {
            retrying.current = id;
            self.next_id += 1;
            self.act(action);
            self.slots.push(id, Slot::Part { of: call });
            return None;
        }
        let waker = retrying.waker.take();
        *self.slots.get(call)? = Slot::Done(outcome);
        self.awaited -= u32::from(waker.is_some());
        waker
    }

    /// The event that a wait gets, once it is there.
    pub(crate) fn poll_event(&mut self, id: WaitId, waker: &Waker) -> Poll<Value> {
        match self.events.poll(id, waker) {
            (Some(value), was_awaited) => {
                self.awaited -= u32::from(was_awaited);
                Poll::Ready(value)
            }
            (None, was_awaited) => {
                self.awaited += u32::from(!was_awaited);
                Poll::Pending
            }
        }
    }

    /// Nobody is interested in an event any more; who is to be woken in its place.
    pub(crate) fn leave_event(&mut self, id: WaitId) -> Vec<Waker> {
        match self.events.leave(id) {
            Some((was_awaited, wakers)) => {
                self.awaited -= u32::from(was_awaited);
                wakers
            }
            None => Vec::new(),
        }
    }

    /// Whether anything that Everstep will answer is awaited.
    pub(crate) fn awaits_something(&self) -> bool {
        self.awaited > 0
    }

    /// What is awaited. More than a few are told as `Any` of nothing.
    pub(crate) fn wait(&self) -> Wait {
        if self.awaited as usize > WAITS_LISTED || self.slots.len() > 4 * WAITS_LISTED {
            return Wait::Any(Vec::new());
        }
        let tasks = self.slots.iter().filter_map(|(id, slot)| match slot {
            Slot::Open(Some(_)) => Some(Wait::Task(id)),
            Slot::Retrying(retrying) => {
                retrying.waker.as_ref().map(|_| Wait::Task(retrying.current))
            }
            Slot::Open(None) | Slot::Part { .. } | Slot::Done(_) | Slot::Gone => None,
        });
        let events = self.events.awaited().map(|name| Wait::Event(name.to_string()));
        let mut all = tasks.chain(events);
        match (all.next(), all.next()) {
            (Some(single), None) => single,
            (first, second) => Wait::Any(first.into_iter().chain(second).chain(all).collect()),
        }
    }

    /// The next guid of this execution.
    pub(crate) fn guid(&mut self) -> Guid {
        let name = format!("{}_{}_{}", self.info.instance, self.now, self.guids);
        self.guids += 1;
        Guid::v5(GUID_NAMESPACE, &name)
    }

    /// The next random number of this execution.
    pub(crate) fn random(&mut self) -> u64 {
        let name = format!("{}_random_{}", self.info.execution_id, self.randoms);
        self.randoms += 1;
        let Guid(bytes) = Guid::v5(GUID_NAMESPACE, &name);
        // The bytes from the tenth on are free of the guid's version marks.
        bytes[9..].iter().fold(u64::from(bytes[0]), |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Makes an action the attempt of a call.
fn set_origin(action: &mut Action, new_id: EventId, of: Origin) {
    if let Action::CallActivity { id, origin, .. } | Action::StartChild { id, origin, .. } = action
    {
        *id = new_id;
        *origin = Some(of);
    }
}
