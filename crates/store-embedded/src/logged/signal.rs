//! How a thread is woken, cheaply when it is awake.
//!
//! N1  A raise is never lost: whoever waits sees it before it sleeps or is woken from its sleep. Both sides write their
//!     own flag before they read the other's, in one total order.
//! N2  Raising for an awake thread is two writes to memory and no call of the system.

use std::{
    hint,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// How often a spinning thread looks before it offers its core to others.
const LOOKS_PER_YIELD: u32 = 64;

/// Wakes the one thread that adopted it.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: AtomicBool,
    sleeping: AtomicBool,
    urgent: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Signal {
    /// The calling thread is the one to wake.
    pub(super) fn adopt(&self) {
        let first = self.thread.set(thread::current());
        assert!(first.is_ok(), "a signal wakes one thread");
    }

    /// There is something to do.
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
    }

    /// There is something to do that also ends a [`Signal::nap`].
    pub(super) fn raise_urgently(&self) {
        self.urgent.store(true, Ordering::SeqCst);
        self.raise();
        self.unpark();
    }

    /// What is raised from here on is news.
    pub(super) fn lower(&self) {
        self.raised.store(false, Ordering::SeqCst);
    }

    /// Returns when raised, maybe earlier: looks for it until the given instant, then sleeps.
    pub(super) fn wait(&self, awake_until: Option<Instant>) {
        while awake_until.is_some_and(|until| Instant::now() < until) {
            for _ in 0..LOOKS_PER_YIELD {
                if self.raised.load(Ordering::SeqCst) {
                    return;
                }
                hint::spin_loop();
            }
            thread::yield_now();
        }
        self.sleeping.store(true, Ordering::SeqCst);
        if !self.raised.load(Ordering::SeqCst) {
            thread::park();
        }
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Returns after the pause, earlier only for an urgent raise.
    pub(super) fn nap(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.urgent.swap(false, Ordering::SeqCst) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64};

    use super::*;

    #[test]
    fn no_raise_is_lost_between_looking_and_sleeping() {
        let (signal, count) = (Arc::new(Signal::default()), Arc::new(AtomicU64::new(0)));
        let waiter = thread::spawn({
            let (signal, count) = (Arc::clone(&signal), Arc::clone(&count));
            move || {
                signal.adopt();
                while count.load(Ordering::SeqCst) < 20_000 {
                    signal.wait(None);
                    signal.lower();
                }
            }
        });
        for _ in 0..20_000 {
            count.fetch_add(1, Ordering::SeqCst);
            signal.raise();
        }
        waiter.join().unwrap();
    }
}
