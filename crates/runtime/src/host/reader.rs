//! Reading for partitions, away from their threads.
//!
//! G1  For each partition one read of rows goes on at a time; it takes all ids that came meanwhile. So a burst of unknown
//!     ids costs a few large reads, and never more connections to the tables than there are partitions.

use std::{sync::Arc, time::Duration};

use everstep_model::{Event, Iid, InstanceId, PartitionId, stored};
use everstep_store::{BoxError, Due, Error as StoreError, Store, Tables, Wake, chunk};

use super::{Shared, lock};
use crate::partition::Input;

/// Rows that are woken at once.
const PAGE: usize = 1_000;
/// How long after a failed read it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Bytes of history read at once.
const HISTORY_BYTES: usize = 4 << 20;

/// Rows that a partition wants.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    ids: Vec<InstanceId>,
    /// Somebody reads, and looks here again afterwards.
    reading: bool,
}

/// Reads rows and gives them to the partition; a store that is unavailable is asked again.
pub(super) fn load<S: Store>(
    shared: &Arc<Shared<S>>,
    partition: PartitionId,
    ids: Vec<InstanceId>,
) {
    let mut wanted = lock(&shared.wanted[usize::from(partition.0)]);
    wanted.ids.extend(ids);
    if !std::mem::replace(&mut wanted.reading, true) {
        let shared = shared.clone();
        shared.runtime.clone().spawn_blocking(move || read_wanted(&shared, partition));
    }
}

fn read_wanted<S: Store>(shared: &Arc<Shared<S>>, partition: PartitionId) {
    loop {
        let ids = {
            let mut wanted = lock(&shared.wanted[usize::from(partition.0)]);
            wanted.reading = !wanted.ids.is_empty();
            std::mem::take(&mut wanted.ids)
        };
        if ids.is_empty() {
            return;
        }
        let Some(rows) = persistently(shared, || shared.store.tables().find(&ids)) else { return };
        shared.send(partition, Input::Loaded(ids.into_iter().zip(rows).collect()));
    }
}

/// Reads what is folded of a history, with all its values.
pub(super) fn load_history<S: Store>(
    shared: &Arc<Shared<S>>,
    partition: PartitionId,
    id: InstanceId,
    iid: Iid,
    execution: u32,
) {
    let shared = shared.clone();
    shared.runtime.clone().spawn_blocking(move || {
        let events =
            persistently(&shared, || folded_history(shared.store.tables(), iid, execution));
        if let Some(events) = events {
            shared.send(partition, Input::History(id, execution, events));
        }
    });
}

/// The folded events of an execution with all their values.
pub(crate) fn folded_history<T: Tables + ?Sized>(
    tables: &T,
    iid: Iid,
    execution: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    loop {
        let chunks = tables.chunks(iid, execution, events.len() as u32, HISTORY_BYTES)?;
        let fresh: Vec<_> = chunks
            .into_iter()
            .filter(|chunk| chunk.seq + chunk.count > events.len() as u32)
            .collect();
        if fresh.is_empty() {
            break;
        }
        for found in fresh {
            let plain = chunk::unpack(&found.bytes).map_err(|error| unreadable(Box::new(error)))?;
            let skip = events.len().saturating_sub(found.seq as usize);
            for event in stored::events(&plain).skip(skip) {
                events.push(event.map_err(|error| unreadable(Box::new(error)))?);
            }
        }
    }
    everstep_engine::resolve(&mut events, &mut |payload| tables.payload(payload))?;
    Ok(events)
}

fn unreadable(source: BoxError) -> StoreError {
    StoreError::Unavailable { doing: "reading a history", source }
}

/// Repeats a read until it succeeds or the host ends.
fn persistently<S: Store, T>(
    shared: &Shared<S>,
    mut read: impl FnMut() -> Result<T, StoreError>,
) -> Option<T> {
    loop {
        match read() {
            Ok(value) => return Some(value),
            Err(error) => tracing::warn!(%error, "a read failed; it is tried again"),
        }
        if shared.ended.load(std::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        std::thread::sleep(RETRY);
    }
}

/// Tells the partitions of instances in the tables that have work outstanding or a timer that comes due soon.
pub(super) fn wake<S: Store>(shared: &Arc<Shared<S>>) {
    let shared = shared.clone();
    shared.runtime.clone().spawn_blocking(move || wake_all(&shared, None));
}

/// Tells the partitions of timers that came into sight since. Work that was outstanding at the start is known.
pub(super) fn refill<S: Store>(shared: &Arc<Shared<S>>) {
    let last_outstanding = Due {
        iid: Iid(i64::MAX.cast_unsigned()),
        id: InstanceId::from_stored(""),
        wake: Wake::Now,
    };
    wake_all(shared, Some(last_outstanding));
}

fn wake_all<S: Store>(shared: &Arc<Shared<S>>, mut after: Option<Due>) {
    let horizon = shared.now().after(shared.options.partition.horizon);
    loop {
        let Some(page) =
            persistently(shared, || shared.store.tables().due(horizon, after.as_ref(), PAGE))
        else {
            return;
        };
        let full = page.len() == PAGE;
        after = page.last().cloned();
        for due in page {
            let at = match due.wake {
                Wake::At(at) => at,
                Wake::Now | Wake::Never => everstep_model::Timestamp::EPOCH,
            };
            shared.send(due.iid.partition(), Input::Due(vec![(due.id, at)]));
        }
        if !full {
            return;
        }
    }
}
