//! The threads that drive partitions.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use everstep_model::{GroupNo, PartitionId, Timestamp};
use everstep_store::Store;

use super::{Command, Shared, lock, reader};
use crate::partition::{HandOver, Input, Output, Partition};

/// Groups of one partition that may be on their way to the disk at once.
const GROUPS_IN_FLIGHT: u64 = 2;
/// A clock that goes back further than this is reported.
const CLOCK_JUMP: Duration = Duration::from_mins(1);
/// The longest sleep: a wall clock that jumps is noticed after this time.
const SLEEP: Duration = Duration::from_secs(1);

type HandOverTo = std::sync::mpsc::Sender<(PartitionId, HandOver)>;

/// Starts the threads and shares the partitions out.
pub(super) fn start<S: Store>(
    shared: &Arc<Shared<S>>,
    partitions: Vec<Partition>,
) -> std::io::Result<Vec<thread::JoinHandle<()>>> {
    let count = shared.queues.len();
    let mut shares: Vec<Vec<Partition>> = (0..count).map(|_| Vec::new()).collect();
    for partition in partitions {
        shares[usize::from(partition.id().0) % count].push(partition);
    }
    let spawn = |(number, share)| {
        let driver = Driver {
            shared: shared.clone(),
            number,
            partitions: share,
            out: Vec::new(),
            last_now: Timestamp::EPOCH,
            hand_over: None,
        };
        thread::Builder::new().name(format!("everstep-{number}")).spawn(move || driver.run())
    };
    shares.into_iter().enumerate().map(spawn).collect()
}

struct Driver<S: Store> {
    shared: Arc<Shared<S>>,
    number: usize,
    partitions: Vec<Partition>,
    out: Vec<Output>,
    last_now: Timestamp,
    /// Partitions that have yet to hand over, and to whom.
    hand_over: Option<(HandOverTo, Vec<PartitionId>)>,
}

impl<S: Store> Driver<S> {
    fn run(mut self) {
        let mut commands = Vec::new();
        let now = self.shared.now();
        for index in 0..self.partitions.len() {
            // One that only reads leaves everything as it is, and so takes up nothing.
            if !self.shared.only_reads() {
                self.partitions[index].resume(now, &mut self.out);
                self.perform(index);
            }
        }
        loop {
            self.shared.queues[self.number].take(&mut commands);
            let now = self.shared.now();
            self.watch_clock(now);
            for command in commands.drain(..) {
                match command {
                    Command::Input(id, input) => self.input(now, id, input),
                    Command::Durable => {}
                    Command::HandOver(to) => {
                        self.hand_over =
                            Some((to, self.partitions.iter().map(Partition::id).collect()));
                    }
                    Command::End => return,
                }
            }
            self.learn_durable(now);
            let idle = self.take_turns(now);
            self.give(now);
            if idle && !self.is_blocked_no_more() {
                let most =
                    self.next_alarm().map_or(SLEEP, |at| at.since(self.shared.now()).min(SLEEP));
                self.shared.queues[self.number].wait(most);
            }
        }
    }

    /// A clock that jumps back is harmless to instances, each of which has a present of its own, but not to timers.
    fn watch_clock(&mut self, now: Timestamp) {
        if self.last_now.since(now) > CLOCK_JUMP {
            tracing::warn!(before = %self.last_now, %now, "the clock of this machine went back; timers will be late");
        }
        self.last_now = now;
    }

    fn input(&mut self, now: Timestamp, id: PartitionId, input: Input) {
        let threads = self.shared.queues.len();
        let index = usize::from(id.0) / threads;
        self.partitions[index].step(now, input, &mut self.out);
        if !self.out.is_empty() {
            self.perform(index);
        }
    }

    /// Tells the partitions which of their groups became durable meanwhile.
    fn learn_durable(&mut self, now: Timestamp) {
        for index in 0..self.partitions.len() {
            let partition = &mut self.partitions[index];
            let upto =
                GroupNo(self.shared.durable[usize::from(partition.id().0)].load(Ordering::SeqCst));
            if upto > partition.durable() {
                partition.step(now, Input::Durable(upto), &mut self.out);
                self.perform(index);
            }
        }
    }

    /// Before it sleeps, a thread that waits for durability says so; tells whether what it waits for is there by now.
    fn is_blocked_no_more(&mut self) -> bool {
        let waits =
            self.hand_over.is_some() || self.partitions.iter().any(Partition::waits_for_durability);
        if !waits {
            return false;
        }
        self.shared.blocked[self.number].store(true, Ordering::SeqCst);
        self.partitions.iter().any(|partition| {
            let durable = &self.shared.durable[usize::from(partition.id().0)];
            durable.load(Ordering::SeqCst) > partition.durable().0
        })
    }

    /// Lets every partition that may close a group do so; tells whether nothing is left to do.
    fn take_turns(&mut self, now: Timestamp) -> bool {
        let mut idle = true;
        // The log is far longer than it should be: the fold comes first.
        let waits = self.shared.lags(6);
        for index in 0..self.partitions.len() {
            let partition = &mut self.partitions[index];
            if partition.next_alarm().is_some_and(|at| at <= now) {
                partition.step(now, Input::Tick, &mut self.out);
            }
            if partition.has_work() && partition.in_flight() < GROUPS_IN_FLIGHT && !waits {
                partition.close_group(now, &mut self.out);
                if partition.wants_fold() {
                    self.shared.memory_full.store(true, Ordering::Relaxed);
                }
                idle &= !partition.has_work() || partition.in_flight() >= GROUPS_IN_FLIGHT;
            }
            self.perform(index);
        }
        idle
    }

    /// Hands over what the folder asked for, as soon as a partition is between two groups.
    fn give(&mut self, now: Timestamp) {
        let Some((to, mut left)) = self.hand_over.take() else { return };
        for index in 0..self.partitions.len() {
            let partition = &mut self.partitions[index];
            if !left.contains(&partition.id()) {
                continue;
            }
            if partition.has_open_group() && partition.in_flight() < GROUPS_IN_FLIGHT {
                partition.close_group(now, &mut self.out);
            }
            if !partition.has_open_group() {
                left.retain(|id| *id != partition.id());
                // The folder may have given up; the changes are in the log and come with the next start.
                drop(to.send((partition.id(), partition.hand_over())));
            }
            self.perform(index);
        }
        if !left.is_empty() {
            self.hand_over = Some((to, left));
        }
    }

    fn next_alarm(&self) -> Option<Timestamp> {
        self.partitions.iter().filter_map(Partition::next_alarm).min()
    }

    fn perform(&mut self, index: usize) {
        let id = self.partitions[index].id();
        for output in self.out.drain(..) {
            match output {
                Output::Changed(ids) => self.shared.copies.changed(id, &ids),
                Output::Append(record, effects) => {
                    lock(&self.shared.effects[usize::from(id.0)])
                        .push_back((record.group, effects));
                    self.shared.store.append(record);
                }
                Output::Reply(ticket, response) => self.shared.answer(id, ticket, response),
                Output::Load(ids) => reader::load(&self.shared, id, ids),
                Output::LoadHistory(instance, iid, execution) => {
                    reader::load_history(&self.shared, id, instance, iid, execution);
                }
            }
        }
    }
}
