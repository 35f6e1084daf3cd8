//! What an execution waits for, by event id.
//!
//! L1  Ids rise, so entries are appended and found by bisection.
//! L2  An entry that is gone stays as a gap until gaps are the larger part; any number of calls costs constant memory
//!     per call that is open, and finding one costs a logarithm.

use std::task::Waker;

use everstep_model::{Action, EventId, Outcome, RetryPolicy, Timestamp};

/// One thing that was asked for.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Open; the waker is there once someone awaits it.
    Open(Option<Waker>),
    /// Open, and made again when it fails.
    Retrying(Box<Retrying>),
    /// A later attempt of a call, or the timer before it.
    Part {
        /// The call.
        of: EventId,
    },
    /// Answered; the answer waits to be taken.
    Done(Outcome),
    /// Nobody is interested any more.
    Gone,
}

/// A call with a retry policy.
#[derive(Debug)]
pub(crate) struct Retrying {
    pub(crate) waker: Option<Waker>,
    pub(crate) policy: RetryPolicy,
    /// When the first attempt was made.
    pub(crate) began: Timestamp,
    /// Attempts made so far.
    pub(crate) attempts: u32,
    /// The action of the last attempt; the next one differs in id and origin.
    pub(crate) template: Action,
    /// What is open at present: an attempt or the timer before one.
    pub(crate) current: EventId,
    pub(crate) phase: Phase,
}

/// What a retried call is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// An attempt runs.
    Attempt,
    /// A timer runs until the next one.
    Pause,
}

/// All slots of an execution.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    entries: Vec<(EventId, Slot)>,
    gone: usize,
}

impl Slots {
    /// Adds a slot; `id` is above all others.
    pub(crate) fn push(&mut self, id: EventId, slot: Slot) {
        debug_assert!(self.entries.last().is_none_or(|(last, _)| *last < id), "ids rise");
        if self.entries.capacity() == 0 {
            self.entries.reserve_exact(2);
        }
        self.entries.push((id, slot));
    }

    pub(crate) fn get(&mut self, id: EventId) -> Option<&mut Slot> {
        let index = self.index(id)?;
        Some(&mut self.entries[index].1)
    }

    /// Takes a slot out.
    pub(crate) fn remove(&mut self, id: EventId) -> Option<Slot> {
        let index = self.index(id)?;
        let slot = std::mem::replace(&mut self.entries[index].1, Slot::Gone);
        if matches!(slot, Slot::Gone) {
            return None;
        }
        self.gone += 1;
        while matches!(self.entries.last(), Some((_, Slot::Gone))) {
            self.entries.pop();
            self.gone -= 1;
        }
        if self.gone > 8 && self.gone * 2 > self.entries.len() {
            self.entries.retain(|(_, slot)| !matches!(slot, Slot::Gone));
            self.gone = 0;
        }
        Some(slot)
    }

    /// How many entries a walk would see.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EventId, &Slot)> {
        self.entries.iter().map(|(id, slot)| (*id, slot))
    }

    fn index(&self, id: EventId) -> Option<usize> {
        // The answer to the newest call is the usual case.
        match self.entries.last() {
            Some((last, _)) if *last == id => Some(self.entries.len() - 1),
            _ => self.entries.binary_search_by_key(&id, |(id, _)| *id).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_closed_once_they_are_the_larger_part() {
        let mut slots = Slots::default();
        (0..1000).for_each(|id| slots.push(EventId(id), Slot::Open(None)));
        (0..999).for_each(|id| assert!(slots.remove(EventId(id)).is_some()));
        assert!(slots.len() < 20);
        assert!(slots.remove(EventId(5)).is_none());
        assert!(slots.get(EventId(999)).is_some());
        assert!(slots.remove(EventId(999)).is_some());
        assert_eq!(slots.len(), 0);
    }
}
