//! A store without a log: every group is written to the tables at once.
//!
//! It is the store in memory, and the reference that a store with a log is compared with.
//!
//! D1  A group is durable when its fold is; all groups queued by then share one transaction.
//! D2  One writer at a time, so folds enter in the order of their groups.
//! D3  On a full disk the queue stays as it is and is tried again; on any other error nothing more is written.
//!
//! Absent on purpose: recovery. The tables hold every durable group, so there is nothing to hand out.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use everstep_model::{GroupNo, PartitionId};

use crate::{Error, Fold, Hub, Mode, Observer, Pressure, Record, Store, Tables, Writer};

/// How long a full disk is left alone.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);

/// A store in [`Mode::Direct`] over any tables.
pub struct Direct<T: Tables> {
    hub: Hub,
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What one round of writing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing was queued.
    Idle,
    /// All that was queued is durable.
    Durable,
    /// The disk is full; what was queued still is.
    DiskFull,
    /// Writing failed, in this round or before; nothing more will be written.
    Failed,
}

struct Shared<T> {
    tables: T,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a fold is being written (D2).
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    queue: Vec<Fold>,
    observer: Option<Arc<dyn Observer>>,
    phase: Phase,
    /// The folder on the full disk, while it is full.
    full_disk: Option<PathBuf>,
    flushes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Open,
    Closed,
    Failed,
}

impl<T: Tables> Direct<T> {
    /// A store over tables that were opened for this hub.
    pub fn new(tables: T, hub: Hub, writer: Writer) -> Self {
        let shared = Arc::new(Shared {
            tables,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            writing: Mutex::new(()),
        });
        let thread = match writer {
            Writer::Manual => None,
            Writer::Thread => Some(spawn(Arc::clone(&shared))),
        };
        Self { hub, shared, thread: Mutex::new(thread) }
    }

    /// Writes all that is queued, in one transaction, and reports it.
    pub fn pump(&self) -> Pumped {
        self.shared.pump()
    }

    /// Writes until nothing is queued; says why it cannot.
    fn drain(&self, doing: &'static str) -> Result<(), Error> {
        match self.shared.pump() {
            Pumped::Idle | Pumped::Durable => Ok(()),
            Pumped::DiskFull => {
                let folder = self.shared.state().full_disk.clone().unwrap_or_default();
                Err(Error::DiskFull { folder, doing })
            }
            Pumped::Failed => {
                Err(Error::Unavailable { doing, source: "writing failed before".into() })
            }
        }
    }

    fn end(&self, phase: Phase) {
        let mut state = self.shared.state();
        if state.phase == Phase::Open {
            state.phase = phase;
        }
        drop(state);
        self.shared.changed.notify_all();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            thread.join().expect("the writer thread ends without a panic");
        }
    }
}

impl<T: Tables> Drop for Direct<T> {
    /// Ends the writer thread; what is queued and not durable is lost, as in a crash.
    fn drop(&mut self) {
        self.shared.state().queue.clear();
        if !thread::panicking() {
            self.end(Phase::Closed);
        }
    }
}

impl<T: Tables> Store for Direct<T> {
    type Tables = T;

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn mode(&self) -> Mode {
        Mode::Direct
    }

    fn tables(&self) -> &T {
        &self.shared.tables
    }

    fn acquire(&self, _partition: PartitionId) -> Result<u64, Error> {
        Ok(self.hub.epoch)
    }

    fn release(&self, _partition: PartitionId) -> Result<(), Error> {
        self.drain("giving a partition up")
    }

    fn recover(
        &self,
        _partitions: &[PartitionId],
        _sink: &mut dyn FnMut(Record),
    ) -> Result<(), Error> {
        Ok(())
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.shared.state().observer = Some(observer);
    }

    fn append(&self, record: Record) {
        let fold = *record.fold.expect("a record for a direct store brings its fold");
        assert_eq!(
            (record.partition, record.group),
            (fold.partition, fold.upto),
            "a record's fold ends with its group"
        );
        let mut state = self.shared.state();
        match state.phase {
            Phase::Open => state.queue.push(fold),
            Phase::Failed => {}
            Phase::Closed => panic!("an append after the store was closed"),
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    fn fold(&self, folds: &[Fold]) -> Result<(), Error> {
        self.drain("writing the groups before a fold")?;
        let _writing = lock(&self.shared.writing);
        self.shared.tables.fold(folds)
    }

    fn pressure(&self) -> Pressure {
        let state = self.shared.state();
        Pressure {
            flushes: state.flushes,
            disk_full: state.full_disk.is_some(),
            ..Pressure::default()
        }
    }

    fn close(&self) -> Result<(), Error> {
        self.drain("closing the store")?;
        self.end(Phase::Closed);
        Ok(())
    }
}

impl<T: Tables> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn pump(&self) -> Pumped {
        let _writing = lock(&self.writing);
        let folds = {
            let mut state = self.state();
            if state.phase == Phase::Failed {
                return Pumped::Failed;
            }
            std::mem::take(&mut state.queue)
        };
        if folds.is_empty() {
            return Pumped::Idle;
        }
        match self.tables.fold(&folds) {
            Ok(()) => self.written(&folds),
            Err(Error::DiskFull { folder, .. }) => self.disk_full(folds, folder),
            Err(error) => self.failed(error),
        }
    }

    fn written(&self, folds: &[Fold]) -> Pumped {
        let (observer, was_full) = {
            let mut state = self.state();
            state.flushes += 1;
            (state.observer.clone(), state.full_disk.take().is_some())
        };
        if let Some(observer) = observer {
            if was_full {
                observer.disk_full(false);
            }
            for (partition, group) in last_groups(folds) {
                observer.durable(partition, group);
            }
        }
        Pumped::Durable
    }

    /// Puts the folds back before all that was queued meanwhile.
    fn disk_full(&self, mut folds: Vec<Fold>, folder: PathBuf) -> Pumped {
        let (observer, was_full) = {
            let mut state = self.state();
            folds.append(&mut state.queue);
            state.queue = folds;
            (state.observer.clone(), state.full_disk.replace(folder).is_some())
        };
        if let (Some(observer), false) = (observer, was_full) {
            observer.disk_full(true);
        }
        Pumped::DiskFull
    }

    fn failed(&self, error: Error) -> Pumped {
        let observer = {
            let mut state = self.state();
            state.phase = Phase::Failed;
            state.queue.clear();
            state.observer.clone()
        };
        self.changed.notify_all();
        if let Some(observer) = observer {
            observer.failed(error);
        }
        Pumped::Failed
    }

    /// Waits until there is something to write; `false` when there never will be.
    fn wait(&self, pumped: Pumped) -> bool {
        let mut state = self.state();
        if pumped == Pumped::DiskFull {
            let open = |state: &mut State| state.phase == Phase::Open;
            let waited = self.changed.wait_timeout_while(state, DISK_FULL_PAUSE, open);
            return waited.unwrap_or_else(PoisonError::into_inner).0.phase == Phase::Open;
        }
        while state.phase == Phase::Open && state.queue.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.phase == Phase::Open
    }
}

fn spawn<T: Tables>(shared: Arc<Shared<T>>) -> thread::JoinHandle<()> {
    let run = move || {
        let mut pumped = Pumped::Idle;
        while shared.wait(pumped) {
            pumped = shared.pump();
        }
    };
    thread::Builder::new()
        .name("everstep-direct".into())
        .spawn(run)
        .expect("the system has room for one more thread")
}

fn last_groups(folds: &[Fold]) -> BTreeMap<PartitionId, GroupNo> {
    folds.iter().map(|fold| (fold.partition, fold.upto)).collect()
}

/// A panic elsewhere leaves these values whole: each is changed in one step.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
