//! The writing side of the store: the queue, the frame in flight, and the two threads.
//!
//! `everstep-log` writes frames. `everstep-prepare` makes segments ahead, so that the former seldom waits for zeros.
//! With [`Writer::Manual`] there are no threads, and `pump` does both.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use everstep_model::{GroupNo, PartitionId};
use everstep_store::{Error, Observer, Pressure, Pumped, Record, Writer};

use super::{LoggedOptions, signal::Signal};
use crate::{
    disk::Disk,
    log::{Chore, Extent, Flushed, Log, record_bytes},
};

/// How long the writer looks for more work before it sleeps. Waking a sleeping thread costs about as much as a flush on
/// a good disk.
const AWAKE_AFTER_WORK: Duration = Duration::from_micros(100);
/// How long a full disk is left alone.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);
/// For how long an answer about free space holds.
const SPACE_ASKED_EVERY: Duration = Duration::from_secs(1);
/// A frame takes no further record beyond this size: more would only make the first of them wait.
pub(super) const FRAME_BYTES_MAX: u64 = 16 << 20;

/// What the store's callers and its threads share.
pub(super) struct Shared<D: Disk> {
    disk: D,
    folder: PathBuf,
    writer: Writer,
    queue: Mutex<Queue>,
    writing: Mutex<Writing<D>>,
    progress: Mutex<Progress>,
    progressed: Condvar,
    to_writer: Signal,
    to_preparer: Signal,
    stopping: AtomicBool,
    free_bytes_min: u64,
    space: Mutex<Space>,
}

/// What the disk last said of its space.
#[derive(Default)]
struct Space {
    asked: Option<Instant>,
    is_low: bool,
}

struct Queue {
    records: VecDeque<Record>,
    bytes: u64,
    /// Per partition, the last group that was queued or recovered.
    appended: Vec<GroupNo>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Closed,
    Failed,
}

struct Writing<D: Disk> {
    log: Log<D>,
    /// Memory for what is taken from the queue.
    batch: Vec<Record>,
    observer: Option<Arc<dyn Observer>>,
    /// What the observer was last told.
    told_full: bool,
}

struct Progress {
    durable: Vec<GroupNo>,
    /// Frames with groups that the tables lack, oldest first.
    unfolded: VecDeque<Flushed>,
    unfolded_bytes: u64,
    flushes: u64,
    log_bytes: u64,
    /// A frame waits for space.
    is_blocked: bool,
    /// The reserve waits for space.
    is_short: bool,
    failure: Option<Failure>,
}

struct Failure {
    text: String,
    /// Until the observer has it.
    error: Option<Error>,
}

impl Progress {
    fn is_full(&self) -> bool {
        self.is_blocked || self.is_short
    }

    fn covers(&self, groups: &[(PartitionId, GroupNo)]) -> bool {
        groups.iter().all(|(partition, group)| *group <= self.durable[usize::from(partition.0)])
    }
}

/// Locks what no thread panics over; a panic in the log ends the process.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds a lock of the store")
}

impl<D: Disk> Shared<D> {
    pub(super) fn new(
        disk: D,
        folder: &Path,
        log: Log<D>,
        options: &LoggedOptions,
        applied: &[GroupNo],
        recovered: &[Record],
    ) -> Self {
        let mut durable = applied.to_vec();
        for record in recovered {
            durable[usize::from(record.partition.0)] = record.group;
        }
        let unfolded_bytes = recovered.iter().map(record_bytes).sum();
        let tops = (0..).map(PartitionId).zip(durable.iter().copied()).collect();
        Self {
            disk,
            folder: folder.to_owned(),
            writer: options.writer,
            queue: Mutex::new(Queue {
                records: VecDeque::new(),
                bytes: 0,
                appended: durable.clone(),
                phase: Phase::Open,
            }),
            writing: Mutex::new(Writing {
                log,
                batch: Vec::new(),
                observer: None,
                told_full: false,
            }),
            progress: Mutex::new(Progress {
                durable,
                unfolded: VecDeque::from([Flushed { bytes: unfolded_bytes, tops }]),
                unfolded_bytes,
                flushes: 0,
                log_bytes: 0,
                is_blocked: false,
                is_short: false,
                failure: None,
            }),
            progressed: Condvar::new(),
            to_writer: Signal::default(),
            to_preparer: Signal::default(),
            stopping: AtomicBool::new(false),
            free_bytes_min: options.free_bytes_min,
            space: Mutex::default(),
        }
    }

    pub(super) fn observe(&self, observer: Arc<dyn Observer>) {
        lock(&self.writing).observer = Some(observer);
        // Something may have happened before anyone could be told.
        self.to_writer.raise_urgently();
    }

    pub(super) fn append(&self, record: Record) {
        let mut queue = lock(&self.queue);
        if queue.phase == Phase::Closed {
            drop(queue);
            panic!("an append after the store was closed");
        }
        let last = queue.appended[usize::from(record.partition.0)];
        if record.group != last.next() {
            drop(queue);
            panic!(
                "A1: group {} of partition {} was appended after {}",
                record.group.0, record.partition.0, last.0
            );
        }
        queue.appended[usize::from(record.partition.0)] = record.group;
        if queue.phase == Phase::Failed {
            return;
        }
        queue.bytes += record_bytes(&record);
        queue.records.push_back(record);
        drop(queue);
        self.to_writer.raise();
    }

    pub(super) fn appended(&self, partition: PartitionId) -> GroupNo {
        lock(&self.queue).appended[usize::from(partition.0)]
    }

    /// One round: a frame, then, without threads, segments for the next ones; then the observer hears of trouble.
    pub(super) fn pump(&self) -> Pumped {
        let pumped = self.write_frame();
        if self.writer == Writer::Manual {
            self.prepare();
        }
        self.tell();
        pumped
    }

    fn write_frame(&self) -> Pumped {
        let mut writing = lock(&self.writing);
        let Writing { log, batch, observer, .. } = &mut *writing;
        if lock(&self.progress).failure.is_some() {
            return Pumped::Failed;
        }
        if !log.is_staged() {
            self.take_queued(batch);
            if batch.is_empty() {
                return Pumped::Idle;
            }
            log.stage(batch.iter());
            batch.clear();
        }
        let flushed = log.flush();
        let wants_segment = self.writer == Writer::Thread && log.is_short_of_spares();
        if wants_segment {
            self.to_preparer.raise();
        }
        match flushed {
            Ok(flushed) => {
                self.report(flushed, observer.as_deref());
                Pumped::Durable
            }
            Err(Error::DiskFull { .. }) => {
                lock(&self.progress).is_blocked = true;
                self.progressed.notify_all();
                Pumped::DiskFull
            }
            Err(error) => {
                self.fail(log, error);
                Pumped::Failed
            }
        }
    }

    /// Moves queued records into the batch, up to the size of a frame and at least one.
    fn take_queued(&self, batch: &mut Vec<Record>) {
        let mut queue = lock(&self.queue);
        if queue.bytes <= FRAME_BYTES_MAX {
            batch.extend(queue.records.drain(..));
            queue.bytes = 0;
            return;
        }
        let mut taken = 0;
        while let Some(record) = queue
            .records
            .pop_front_if(|record| taken == 0 || taken + record_bytes(record) <= FRAME_BYTES_MAX)
        {
            taken += record_bytes(&record);
            batch.push(record);
        }
        queue.bytes -= taken;
    }

    /// Publishes what a frame made durable.
    fn report(&self, flushed: Flushed, observer: Option<&dyn Observer>) {
        if let Some(observer) = observer {
            flushed.tops.iter().for_each(|(partition, group)| observer.durable(*partition, *group));
        }
        let mut progress = lock(&self.progress);
        for (partition, group) in &flushed.tops {
            progress.durable[usize::from(partition.0)] = *group;
        }
        progress.flushes += 1;
        progress.log_bytes += flushed.bytes;
        progress.unfolded_bytes += flushed.bytes;
        progress.unfolded.push_back(flushed);
        progress.is_blocked = false;
        drop(progress);
        self.progressed.notify_all();
    }

    /// Nothing is written or reported durable from here on.
    fn fail(&self, log: &mut Log<D>, error: Error) {
        log.fail();
        let mut queue = lock(&self.queue);
        queue.phase = Phase::Failed;
        queue.records.clear();
        drop(queue);
        let mut progress = lock(&self.progress);
        if progress.failure.is_none() {
            progress.failure = Some(Failure { text: error.to_string(), error: Some(error) });
        }
        drop(progress);
        self.progressed.notify_all();
        self.to_writer.raise_urgently();
    }

    /// Makes the segments that should be there ahead.
    fn prepare(&self) {
        loop {
            let wanted = lock(&self.writing).log.wanted();
            let Some(chore) = wanted else { return self.note_space(false) };
            match self.do_chore(chore) {
                Ok(()) => {}
                Err(Error::DiskFull { .. }) => return self.note_space(true),
                Err(error) => return self.fail(&mut lock(&self.writing).log, error),
            }
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn do_chore(&self, chore: Chore<D::File>) -> Result<(), Error> {
        let goes_on = || !self.stopping.load(Ordering::SeqCst);
        if let Some(segment) = chore.run(&self.disk, &self.folder, goes_on)? {
            lock(&self.writing).log.offer(segment);
        }
        Ok(())
    }

    fn note_space(&self, is_short: bool) {
        let was_short = std::mem::replace(&mut lock(&self.progress).is_short, is_short);
        if was_short != is_short {
            self.to_writer.raise_urgently();
        }
    }

    /// Tells the observer of fullness and failure, in case it does not know.
    fn tell(&self) {
        let mut writing = lock(&self.writing);
        let Some(observer) = writing.observer.clone() else { return };
        let (is_full, error) = {
            let mut progress = lock(&self.progress);
            (progress.is_full(), progress.failure.as_mut().and_then(|failure| failure.error.take()))
        };
        if std::mem::replace(&mut writing.told_full, is_full) != is_full {
            observer.disk_full(is_full);
        }
        if let Some(error) = error {
            observer.failed(error);
        }
    }

    /// Waits for groups to become durable; says why they will not, or not soon.
    pub(super) fn wait_durable(
        &self,
        doing: &'static str,
        groups: &[(PartitionId, GroupNo)],
    ) -> Result<(), Error> {
        let is_known = groups.iter().all(|(partition, group)| *group <= self.appended(*partition));
        assert!(is_known, "A3: a group is appended before it is folded");
        let mut progress = lock(&self.progress);
        while !progress.covers(groups) {
            if let Some(failure) = &progress.failure {
                return Err(Error::Unavailable { doing, source: failure.text.clone().into() });
            }
            if progress.is_blocked {
                return Err(Error::DiskFull { folder: self.folder.clone(), doing });
            }
            if self.writer == Writer::Manual {
                return Err(Error::Unavailable {
                    doing,
                    source: "the log has to be pumped first".into(),
                });
            }
            progress = self
                .progressed
                .wait(progress)
                .expect("no thread panics while it holds a lock of the store");
        }
        Ok(())
    }

    /// Where the frames with groups above these lie. They stay there while the log is pinned at or below them.
    pub(super) fn extents_above(&self, groups: &[GroupNo]) -> Vec<Extent> {
        lock(&self.writing).log.extents_above(groups)
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    /// The tables hold these groups: what only they needed goes, unless it is above the pinned ones.
    pub(super) fn let_go(&self, applied: &[GroupNo], pinned: Option<&[GroupNo]>) {
        let is_folded = |tops: &[(PartitionId, GroupNo)]| {
            tops.iter().all(|(partition, group)| *group <= applied[usize::from(partition.0)])
        };
        let mut progress = lock(&self.progress);
        while let Some(flushed) = progress.unfolded.pop_front_if(|flushed| is_folded(&flushed.tops))
        {
            progress.unfolded_bytes -= flushed.bytes;
        }
        drop(progress);
        let chores = lock(&self.writing).log.trim(pinned.unwrap_or(applied));
        let is_freed = !chores.is_empty();
        for chore in chores {
            match self.do_chore(chore) {
                Ok(()) => {}
                Err(error @ Error::DiskFull { .. }) => {
                    tracing::warn!(%error, "a segment of the log is not let go before the next start");
                    lock(&self.writing).log.leave_behind();
                }
                Err(error) => return self.fail(&mut lock(&self.writing).log, error),
            }
        }
        if is_freed {
            self.to_writer.raise_urgently();
            self.to_preparer.raise_urgently();
        }
    }

    pub(super) fn pressure(&self) -> Pressure {
        let low_space = self.is_low();
        let progress = lock(&self.progress);
        Pressure {
            unfolded_bytes: progress.unfolded_bytes,
            flushes: progress.flushes,
            log_bytes: progress.log_bytes,
            disk_full: progress.is_full(),
            low_space,
        }
    }

    /// Whether little space is left. Asked when someone wants to know, so that an idle store does nothing; with threads
    /// at most once a second, without them (and without a clock) each time. A disk that does not answer is taken as it
    /// was.
    fn is_low(&self) -> bool {
        let mut space = lock(&self.space);
        let is_fresh = self.writer == Writer::Thread
            && space.asked.is_some_and(|asked| asked.elapsed() < SPACE_ASKED_EVERY);
        if self.free_bytes_min > 0 && !is_fresh {
            if let Ok(free) = self.disk.free_space(&self.folder) {
                space.is_low = free < self.free_bytes_min;
            }
            space.asked = (self.writer == Writer::Thread).then(Instant::now);
        }
        space.is_low
    }

    pub(super) fn free_space(&self) -> Result<u64, Error> {
        let free = self.disk.free_space(&self.folder);
        free.map_err(|source| Error::Unavailable {
            doing: "asking for the free space",
            source: source.into(),
        })
    }

    /// Takes no more groups, and writes what is queued.
    pub(super) fn drain(&self) -> Result<(), Error> {
        let groups: Vec<_> = {
            let mut queue = lock(&self.queue);
            if queue.phase == Phase::Open {
                queue.phase = Phase::Closed;
            }
            (0..).map(PartitionId).zip(queue.appended.iter().copied()).collect()
        };
        while self.writer == Writer::Manual && self.pump() == Pumped::Durable {}
        self.wait_durable("closing the store", &groups)
    }

    /// Forgets what is queued.
    pub(super) fn discard(&self) {
        let mut queue = lock(&self.queue);
        queue.records.clear();
        queue.bytes = 0;
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.to_writer.raise_urgently();
        self.to_preparer.raise_urgently();
    }

    pub(super) fn retire(&self, applied: &[GroupNo]) -> Result<(), Error> {
        match lock(&self.writing).log.retire(applied) {
            Err(error @ Error::DiskFull { .. }) => {
                tracing::warn!(%error, "the next start reads the log once more");
                Ok(())
            }
            retired => retired,
        }
    }
}

/// Starts the writer and the one who prepares segments for it.
pub(super) fn spawn<D: Disk>(shared: &Arc<Shared<D>>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |name: &str, body: fn(&Shared<D>)| {
        let shared = Arc::clone(shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _end = EndTogether;
            body(&shared);
        })
    };
    Ok(vec![
        start("everstep-log", write_until_stopped)?,
        start("everstep-prepare", prepare_until_stopped)?,
    ])
}

/// A panic in the log leaves nothing to go on with (D27): whoever waits for durability would wait for ever.
struct EndTogether;

impl Drop for EndTogether {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

fn write_until_stopped<D: Disk>(shared: &Shared<D>) {
    shared.to_writer.adopt();
    let mut awake_until = None;
    loop {
        shared.to_writer.lower();
        match shared.pump() {
            Pumped::Durable => awake_until = Some(Instant::now() + AWAKE_AFTER_WORK),
            _ if shared.stopping.load(Ordering::SeqCst) => return,
            Pumped::Failed => shared.to_writer.wait(None),
            Pumped::Idle => shared.to_writer.wait(awake_until),
            Pumped::DiskFull => shared.to_writer.nap(DISK_FULL_PAUSE),
        }
    }
}

fn prepare_until_stopped<D: Disk>(shared: &Shared<D>) {
    shared.to_preparer.adopt();
    while !shared.stopping.load(Ordering::SeqCst) {
        shared.to_preparer.lower();
        shared.prepare();
        let is_short = lock(&shared.progress).is_short;
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        if is_short {
            shared.to_preparer.nap(DISK_FULL_PAUSE);
        } else {
            shared.to_preparer.wait(None);
        }
    }
}
