//! Who wakes an orchestrator.
//!
//! K1  Only what happens in a turn may wake an orchestrator. A wake from elsewhere means that it awaits something that
//!     replay cannot repeat; it is remembered and reported in the next turn.
//! K2  The thread knows whose turn it runs, so a wake is told apart without asking anyone.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

thread_local! {
    /// The address of the alarm whose turn this thread runs; 0 outside of turns.
    static TURN: Cell<usize> = const { Cell::new(0) };
}

/// Remembers whether an orchestrator wants to be polled.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    awake: AtomicBool,
    foreign: AtomicBool,
}

/// A turn runs on this thread until it is dropped.
pub(crate) struct InTurn {
    before: usize,
}

impl Alarm {
    /// Marks the thread as running this orchestrator's turn.
    pub(crate) fn enter(self: &Arc<Self>) -> InTurn {
        InTurn { before: TURN.replace(Arc::as_ptr(self) as usize) }
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Whether it was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        self.awake.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn ring(&self) {
        self.awake.store(true, Ordering::Relaxed);
    }

    /// Whether something outside of its turns woke it.
    pub(crate) fn rang_outside(&self) -> bool {
        self.foreign.load(Ordering::Relaxed)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if TURN.get() == Arc::as_ptr(self) as usize {
            self.ring();
        } else {
            self.foreign.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        TURN.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_outside_of_the_turn_is_told_apart() {
        let alarm = Arc::new(Alarm::default());
        {
            let _turn = alarm.enter();
            alarm.waker().wake();
        }
        assert!(alarm.take());
        assert!(!alarm.rang_outside());
        alarm.waker().wake();
        assert!(!alarm.take());
        assert!(alarm.rang_outside());
    }

    #[test]
    fn a_wake_by_another_thread_during_the_turn_is_told_apart() {
        let alarm = Arc::new(Alarm::default());
        let _turn = alarm.enter();
        let waker = alarm.waker();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert!(alarm.rang_outside());
    }
}
