//! The folder: moves what changed from memory into the tables, rarely and all at once.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use everstep_store::{Error as StoreError, Store, Tables};

use super::{Command, Shared, lock, reader};
use crate::partition::Input;

/// How often the folder looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(100);
/// Deletions and space are worked off in steps, with a pause for others between them.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the tables are asked for timers that come into sight.
const REFILL: Duration = Duration::from_mins(4);

/// Tells the folder to end.
#[derive(Debug, Default)]
pub(super) struct Signal {
    ended: Mutex<bool>,
    changed: Condvar,
    /// One fold at a time.
    folding: Mutex<()>,
}

impl Signal {
    pub(super) fn end(&self) {
        *lock(&self.ended) = true;
        self.changed.notify_all();
    }

    /// Waits; tells whether the folder should go on.
    fn wait(&self, most: Duration) -> bool {
        let ended = lock(&self.ended);
        if *ended {
            return false;
        }
        let (ended, _) =
            self.changed.wait_timeout(ended, most).unwrap_or_else(PoisonError::into_inner);
        !*ended
    }
}

pub(super) fn start<S: Store>(
    shared: &Arc<Shared<S>>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let shared = shared.clone();
    std::thread::Builder::new().name("everstep-fold".to_owned()).spawn(move || run(&shared))
}

fn run<S: Store>(shared: &Arc<Shared<S>>) {
    let (mut folded, mut refilled) = (Instant::now(), Instant::now());
    let mut pause = LOOK;
    while shared.fold.wait(pause) {
        pause = LOOK;
        let unfolded = shared.store.pressure().unfolded_bytes;
        let due = shared.memory_full.swap(false, Ordering::Relaxed)
            || unfolded >= shared.options.fold_bytes
            || (unfolded > 0 && folded.elapsed() >= shared.options.fold_interval);
        if due {
            if let Err(error) = fold(shared) {
                tracing::error!(%error, "a fold failed; it is tried again");
            }
            folded = Instant::now();
        }
        if refilled.elapsed() >= REFILL && !shared.is_held() {
            reader::refill(shared);
            refilled = Instant::now();
        }
        match shared.store.tables().purge_step() {
            Ok(true) => pause = PAUSE,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "deleting purged rows failed; it is tried again"),
        }
        if unfolded == 0 && pause == LOOK && matches!(shared.store.tables().shrink_step(), Ok(true))
        {
            pause = PAUSE;
        }
    }
}

/// Asks every partition for its changes and writes them. A full disk is waited for.
pub(super) fn fold<S: Store>(shared: &Arc<Shared<S>>) -> Result<(), StoreError> {
    let _one = lock(&shared.fold.folding);
    let (sender, receiver) = channel();
    shared.queues.iter().for_each(|queue| queue.push(Command::HandOver(sender.clone())));
    drop(sender);
    let mut handed = Vec::new();
    while handed.len() < usize::from(shared.count) {
        match receiver.recv_timeout(LOOK) {
            Ok(given) => handed.push(given),
            Err(RecvTimeoutError::Timeout) if !shared.ended.load(Ordering::Relaxed) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
    let numbers: Vec<_> = handed.iter().map(|(id, given)| (*id, given.number)).collect();
    let folds: Vec<_> = handed.into_iter().map(|(_, given)| given.fold).collect();
    while let Err(error) = shared.store.fold(&folds) {
        if !matches!(error, StoreError::DiskFull { .. } | StoreError::Unavailable { .. }) {
            tracing::error!(%error, "the tables cannot be written; the process ends, the log has everything");
            std::process::abort();
        }
        tracing::error!(%error, "a fold waits");
        if !shared.fold.wait(Duration::from_secs(1)) {
            return Err(error);
        }
    }
    for (partition, number) in numbers {
        shared.send(partition, Input::Folded(number));
    }
    // Activities may have waited for the log to become shorter.
    shared.run_activities();
    Ok(())
}
