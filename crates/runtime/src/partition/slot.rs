//! One instance in a partition's memory.
//!
//! L1  An instance whose last change is not in the tables is in memory.
//! L2  Unfolded events are kept encoded, as they went into the log; a fold being written keeps them until it is done.

use std::collections::VecDeque;

use bytes::Bytes;
use everstep_engine::{EntityTurn, Incoming, Instance, Turn};
use everstep_model::{Commit, Event, Message, PayloadRef, Timestamp};

use super::io::{Request, Ticket};

/// A place in memory for one id.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Its row is being read; what came meanwhile waits in order.
    Loading(Vec<Waiting>),
    /// It is known.
    Known(Box<Known>),
}

/// What waits for a row.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A client.
    Request(Ticket, Request),
    /// A message that this host made and can make again.
    Message(Message),
    /// A message that the partition holds durably, by number.
    Parcel(u64),
    /// The host looks for outstanding work.
    Look,
}

/// An instance in memory.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not exclude each other")]
pub(crate) struct Known {
    pub(crate) instance: Instance,
    /// Messages that are not durable yet.
    pub(crate) mail: VecDeque<Message>,
    /// Queued for a turn.
    pub(crate) queued: bool,
    /// Events that the tables do not have.
    pub(crate) tail: Tail,
    /// Tails that are being folded, by the number of the fold.
    pub(crate) folding: Vec<(u64, Tail)>,
    /// Changed since the last fold.
    pub(crate) dirty: bool,
    /// How many events of the execution the worker has seen.
    pub(crate) seen: u32,
    /// Events that it has not seen.
    pub(crate) unseen: Vec<Event>,
    /// Who waits for what.
    pub(crate) asking: Vec<(Asks, Ticket)>,
    /// What keeps it from taking turns.
    pub(crate) busy: Busy,
    /// The time of the last turn that is asked for again; the next turn's is later, since its time names it.
    pub(crate) lost: Timestamp,
    /// Whether its outstanding activities were handed out by this host; those that it calls from here on are.
    pub(crate) looked: bool,
    /// Whether the counters count it.
    pub(crate) counted: bool,
    /// When it was last used, in turns of the partition.
    pub(crate) used: u64,
}

/// What a client who asked waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// The end.
    End,
    /// Any change that can be seen.
    Change,
    /// The beginning of a rewind.
    Rewind,
}

/// What keeps an instance from taking turns.
#[derive(Debug)]
pub(crate) enum Busy {
    /// Nothing.
    No,
    /// Its history is being read.
    History,
    /// Operations run beside the partition.
    Entity(Box<EntityTurn>),
    /// A worker in another process has the turn.
    Remote(Box<(Turn, Vec<Incoming>)>),
    /// No code of its name has registered.
    NoCode,
}

/// A run of encoded events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    /// The execution it belongs to.
    pub(crate) execution: u32,
    /// The index of its first event.
    pub(crate) first: u32,
    /// How many events.
    pub(crate) count: u32,
    /// The events, encoded.
    pub(crate) bytes: Vec<u8>,
    /// Values stored apart.
    pub(crate) payloads: Vec<(PayloadRef, Bytes)>,
}

impl Tail {
    /// Nothing yet, after `first` events of an execution.
    pub(crate) fn after(execution: u32, first: u32) -> Self {
        Self { execution, first, ..Self::default() }
    }
}

impl Known {
    /// An instance that comes into being here.
    pub(crate) fn fresh(instance: Instance) -> Self {
        Self { looked: true, ..Self::new(instance) }
    }

    /// An instance whose row was read.
    pub(crate) fn stored(instance: Instance) -> Self {
        Self { counted: true, ..Self::new(instance) }
    }

    /// An instance that no row shows yet.
    pub(crate) fn new(instance: Instance) -> Self {
        Self {
            tail: Tail::after(instance.execution, instance.history_len),
            seen: instance.history_len,
            looked: false,
            counted: false,
            instance,
            mail: VecDeque::new(),
            queued: false,
            folding: Vec::new(),
            dirty: false,
            unseen: Vec::new(),
            asking: Vec::new(),
            busy: Busy::No,
            lost: Timestamp::EPOCH,
            used: 0,
        }
    }

    /// Takes out all who wait for the same.
    pub(crate) fn take_asking(&mut self, asks: Asks) -> Vec<Ticket> {
        let (taken, left): (Vec<_>, _) =
            std::mem::take(&mut self.asking).into_iter().partition(|(of, _)| *of == asks);
        self.asking = left;
        taken.into_iter().map(|(_, ticket)| ticket).collect()
    }

    /// A fold is in the tables: what it and earlier ones held may go.
    pub(crate) fn folded(&mut self, number: u64) {
        self.folding.retain(|(fold, _)| *fold > number);
        self.folding.shrink_to_fit();
    }

    /// Makes a commit part of the instance; `events` are those of the commit, encoded.
    pub(crate) fn record(&mut self, commit: &Commit, events: &[u8]) {
        if let Some(begin) = &commit.begin {
            let payloads = std::mem::take(&mut self.tail.payloads);
            self.tail = Tail::after(begin.execution, 0);
            // Calls of the former execution that are still open may need their inputs.
            self.tail.payloads = payloads;
            self.seen = 0;
            self.unseen.clear();
        }
        self.counted |= commit.begin.is_some() || commit.created.is_some();
        self.instance.apply(commit);
        self.tail.count += commit.events.len() as u32;
        self.tail.bytes.extend_from_slice(events);
        self.tail.payloads.extend(commit.payloads.iter().cloned());
    }

    /// The index of the first event in memory.
    pub(crate) fn first_in_memory(&self) -> u32 {
        self.tails().map(|tail| tail.first).min().unwrap_or(self.instance.history_len)
    }

    /// Runs of events of the present execution, oldest first.
    pub(crate) fn tails(&self) -> impl Iterator<Item = &Tail> {
        let folding = self.folding.iter().map(|(_, tail)| tail);
        folding
            .chain(std::iter::once(&self.tail))
            .filter(|tail| tail.execution == self.instance.execution)
    }

    /// The bytes of a payload that is not folded.
    pub(crate) fn payload(&self, payload: &PayloadRef) -> Option<Bytes> {
        let all = self.folding.iter().map(|(_, tail)| tail).chain(std::iter::once(&self.tail));
        all.flat_map(|tail| &tail.payloads)
            .find(|(known, _)| known == payload)
            .map(|(_, bytes)| bytes.clone())
    }

    /// Whether dropping it from memory loses nothing.
    pub(crate) fn is_clean(&self) -> bool {
        !self.dirty
            && !self.queued
            && self.folding.is_empty()
            && self.mail.is_empty()
            && self.asking.is_empty()
            && matches!(self.busy, Busy::No | Busy::NoCode)
    }

    /// Whether no code of its name has registered.
    pub(crate) fn lacks_code(&self) -> bool {
        matches!(self.busy, Busy::NoCode)
    }

    /// Whether someone else has its turn.
    pub(crate) fn is_in_turn(&self) -> bool {
        matches!(self.busy, Busy::History | Busy::Entity(_) | Busy::Remote(_))
    }

    /// About how much memory it takes.
    pub(crate) fn weight(&self) -> usize {
        1024 + self.tail.bytes.len()
            + self.folding.iter().map(|(_, tail)| tail.bytes.len()).sum::<usize>()
    }
}
