//! Events from outside and who waits for them.
//!
//! X1  Names compare by simple upper-casing of each character; the spelling is kept.
//! X2  Events are kept in the order of arrival until a wait takes them, also when the wait comes later.
//! X3  Waits for one name are served in the order in which they were made. A claim is settled when the wait is polled,
//!     so a wait that is dropped before that has taken nothing.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use everstep_model::Value;

/// Events that arrived, and waits that are open.
#[derive(Debug, Default)]
pub(crate) struct Events {
    arrived: VecDeque<(String, Value)>,
    waits: Vec<Wait>,
    next: u32,
}

/// Names one wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitId(u32);

#[derive(Debug)]
struct Wait {
    id: WaitId,
    name: Arc<str>,
    waker: Option<Waker>,
}

impl Events {
    /// An event arrived; the waker of the wait that may now have it.
    pub(crate) fn arrive(&mut self, name: String, value: Value) -> Option<Waker> {
        let mut waits = self.waits.iter().filter(|wait| same_name(&wait.name, &name)).peekable();
        let waker = waits.peek().is_some().then(|| {
            let place = self.arrived.iter().filter(|(other, _)| same_name(other, &name)).count();
            waits.nth(place).and_then(|wait| wait.waker.clone())
        });
        self.arrived.push_back((name, value));
        waker.flatten()
    }

    pub(crate) fn wait(&mut self, name: Arc<str>) -> WaitId {
        let id = WaitId(self.next);
        self.next += 1;
        if self.waits.capacity() == 0 {
            self.waits.reserve_exact(1);
        }
        self.waits.push(Wait { id, name, waker: None });
        id
    }

    /// The event that a wait gets, if there is one; the wait is over then. Otherwise its waker is kept. Either way tells
    /// whether it had a waker before.
    pub(crate) fn poll(&mut self, id: WaitId, waker: &Waker) -> (Option<Value>, bool) {
        let index = self.index(id).expect("a wait that is polled is open");
        let name = Arc::clone(&self.waits[index].name);
        let place = self.waits[..index].iter().filter(|wait| same_name(&wait.name, &name)).count();
        let found =
            (0..self.arrived.len()).filter(|at| same_name(&self.arrived[*at].0, &name)).nth(place);
        if let Some((_, value)) = found.and_then(|at| self.arrived.remove(at)) {
            let wait = self.waits.remove(index);
            return (Some(value), wait.waker.is_some());
        }
        let kept = &mut self.waits[index].waker;
        let was_awaited = kept.is_some();
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
        (None, was_awaited)
    }

    /// Closes a wait. Tells whether it was awaited, and the wakers of those that move up to an event that is there.
    pub(crate) fn leave(&mut self, id: WaitId) -> Option<(bool, Vec<Waker>)> {
        let index = self.index(id)?;
        let wait = self.waits.remove(index);
        let events = self.arrived.iter().filter(|(name, _)| same_name(name, &wait.name)).count();
        let wakers = self
            .waits
            .iter()
            .filter(|other| same_name(&other.name, &wait.name))
            .take(events)
            .filter_map(|other| other.waker.clone())
            .collect();
        Some((wait.waker.is_some(), wakers))
    }

    /// The names of waits that someone awaits.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &Arc<str>> {
        self.waits.iter().filter(|wait| wait.waker.is_some()).map(|wait| &wait.name)
    }

    /// Takes all events that nobody took, in order.
    pub(crate) fn take_unread(&mut self) -> Vec<(String, Value)> {
        self.arrived.drain(..).collect()
    }

    fn index(&self, id: WaitId) -> Option<usize> {
        self.waits.iter().position(|wait| wait.id == id)
    }
}

/// Whether two names are the same to Everstep.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || a.chars().map(simple_upper).eq(b.chars().map(simple_upper))
}

/// The upper case of a character where that is one character.
fn simple_upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(events: &mut Events, name: &str) -> WaitId {
        events.wait(name.into())
    }

    fn poll(events: &mut Events, id: WaitId) -> Option<Value> {
        events.poll(id, Waker::noop()).0
    }

    #[test]
    fn names_compare_by_simple_upper_casing() {
        assert!(same_name("Paid", "pAID"));
        assert!(same_name("gr\u{f6}\u{df}e", "GR\u{d6}\u{df}E"));
        assert!(!same_name("stra\u{df}e", "STRASSE"));
    }

    #[test]
    fn events_are_kept_until_someone_waits_and_waits_are_served_in_order() {
        let mut events = Events::default();
        events.arrive("Paid".into(), "1".into());
        let (first, second) = (wait(&mut events, "PAID"), wait(&mut events, "paid"));
        assert_eq!(poll(&mut events, second), None);
        events.arrive("paid".into(), "2".into());
        assert_eq!(poll(&mut events, second), Some("2".into()));
        assert_eq!(poll(&mut events, first), Some("1".into()));
    }

    #[test]
    fn a_dropped_wait_gives_its_claim_to_the_next() {
        let mut events = Events::default();
        let (first, second) = (wait(&mut events, "A"), wait(&mut events, "A"));
        assert_eq!(poll(&mut events, second), None);
        events.arrive("A".into(), "1".into());
        let (_, wakers) = events.leave(first).unwrap();
        assert_eq!(wakers.len(), 1, "the second wait hears of it");
        assert_eq!(poll(&mut events, second), Some("1".into()));
    }

    #[test]
    fn unread_events_keep_their_order_and_spelling() {
        let mut events = Events::default();
        for (name, value) in [("b", "1"), ("A", "2"), ("B", "3")] {
            events.arrive(name.into(), value.into());
        }
        let id = wait(&mut events, "a");
        assert_eq!(poll(&mut events, id), Some("2".into()));
        assert_eq!(events.take_unread(), [("b".into(), "1".into()), ("B".into(), "3".into())]);
    }
}
