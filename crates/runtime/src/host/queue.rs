//! The queue in front of a partition thread: many put in, one takes everything out at once.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the thread looks for more before it sleeps: waking a sleeper costs more than this.
const SPIN: Duration = Duration::from_micros(20);

#[derive(Debug)]
pub(crate) struct Queue<T> {
    items: Mutex<Vec<T>>,
    filled: Condvar,
    /// Set while something is in the queue, so that looking costs no lock.
    has: AtomicBool,
    /// Set while the thread sleeps.
    sleeps: AtomicBool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            items: Mutex::new(Vec::new()),
            filled: Condvar::new(),
            has: AtomicBool::new(false),
            sleeps: AtomicBool::new(false),
        }
    }

    pub(crate) fn push(&self, item: T) {
        self.push_all(std::iter::once(item));
    }

    pub(crate) fn push_all(&self, more: impl IntoIterator<Item = T>) {
        let mut items = self.lock();
        items.extend(more);
        self.has.store(!items.is_empty(), Ordering::Release);
        if self.sleeps.load(Ordering::Relaxed) {
            self.filled.notify_one();
        }
    }

    /// Moves everything into `taken`, which is empty.
    pub(crate) fn take(&self, taken: &mut Vec<T>) {
        if self.has.load(Ordering::Acquire) {
            let mut items = self.lock();
            std::mem::swap(&mut *items, taken);
            self.has.store(false, Ordering::Relaxed);
        }
    }

    /// Waits until something is there or the time is over.
    pub(crate) fn wait(&self, most: Duration) {
        let began = Instant::now();
        let spin = SPIN.min(most);
        while began.elapsed() < spin {
            if self.has.load(Ordering::Acquire) {
                return;
            }
            std::thread::yield_now();
        }
        let items = self.lock();
        if !items.is_empty() {
            return;
        }
        self.sleeps.store(true, Ordering::Relaxed);
        let (items, _) =
            self.filled.wait_timeout(items, most).unwrap_or_else(PoisonError::into_inner);
        self.sleeps.store(false, Ordering::Relaxed);
        drop(items);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
