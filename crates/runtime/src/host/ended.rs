//! Copies of instances that have ended, which those who ask may read themselves.
//!
//! What has ended hardly changes and is asked for often, and a question to its partition costs two changes of thread. A
//! copy is made when a partition, or the tables, answered with an end.
//!
//! D1  A copy goes before the group that changes its instance is on its way to the disk. So whoever was told of a change,
//!     a purge above all, never reads a copy of what was before.
//! D2  A copy is kept only if nothing of its partition that had ended changed since the question was asked: an answer that
//!     was overtaken is not kept.
//! D3  Memory is bounded: the oldest copies go first, and none is large.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use everstep_model::{InstanceId, PartitionId, Value};
use everstep_store::Row;

use super::lock;

/// What all copies of a host take at most, about.
const BYTES_MAX: usize = 16 << 20;
/// A copy that would take more is not made.
const COPY_BYTES_MAX: usize = 64 << 10;
/// A row without its values and texts, and its places in the maps.
const ROW_BYTES: usize = 768;

/// The copies of a host.
pub(crate) struct Ended {
    partitions: Box<[Mutex<Copies>]>,
}

/// What has ended in a partition had this many changes when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked(u64);

#[derive(Default)]
struct Copies {
    changes: u64,
    rows: HashMap<InstanceId, Arc<Row>>,
    /// Oldest first; some have gone already.
    order: VecDeque<InstanceId>,
    bytes: usize,
    bytes_max: usize,
}

impl Ended {
    pub(super) fn new(count: u16) -> Self {
        Self::bounded(count, BYTES_MAX)
    }

    fn bounded(count: u16, bytes_max: usize) -> Self {
        let bytes_max = bytes_max / usize::from(count.max(1));
        let copies = || Mutex::new(Copies { bytes_max, ..Copies::default() });
        Self { partitions: (0..count).map(|_| copies()).collect() }
    }

    /// The copy of an instance; without one, what [`Ended::keep`] wants to know.
    pub(crate) fn find(&self, id: &InstanceId) -> Result<Arc<Row>, Asked> {
        let copies = lock(self.home(id));
        copies.rows.get(id).cloned().ok_or(Asked(copies.changes))
    }

    /// Keeps what an answer said, if it is an end and was not overtaken.
    pub(crate) fn keep(&self, asked: Asked, row: &Row) {
        if !row.status.is_terminal() || bytes(row) > COPY_BYTES_MAX || !is_whole(row) {
            return;
        }
        let mut copies = lock(self.home(&row.id));
        if copies.changes == asked.0 {
            copies.add(row);
        }
    }

    /// These had ended, and are no longer what they were.
    pub(super) fn changed(&self, partition: PartitionId, ids: &[InstanceId]) {
        lock(&self.partitions[usize::from(partition.0)]).remove(ids);
    }

    fn home(&self, id: &InstanceId) -> &Mutex<Copies> {
        let count = u16::try_from(self.partitions.len()).expect("partitions are counted so");
        &self.partitions[usize::from(id.partition(count).0)]
    }
}

impl Copies {
    fn add(&mut self, row: &Row) {
        let copy = Arc::new(Row { live: bytes::Bytes::new(), ..row.clone() });
        if let Some(former) = self.rows.insert(row.id.clone(), copy) {
            self.bytes -= bytes(&former);
        } else {
            self.order.push_back(row.id.clone());
        }
        self.bytes += bytes(row);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.drop_copy(&oldest);
        }
    }

    fn remove(&mut self, ids: &[InstanceId]) {
        self.changes += 1;
        ids.iter().for_each(|id| self.drop_copy(id));
        if self.order.len() > 2 * self.rows.len() + 64 {
            let rows = &self.rows;
            self.order.retain(|id| rows.contains_key(id));
        }
    }

    fn drop_copy(&mut self, id: &InstanceId) {
        if let Some(row) = self.rows.remove(id) {
            self.bytes -= bytes(&row);
        }
    }
}

/// Whether all values are at hand.
fn is_whole(row: &Row) -> bool {
    let values = [&row.input, &row.output, &row.custom_status];
    values.into_iter().flatten().all(|value| matches!(value, Value::Inline(_)))
}

/// About how much memory a copy takes.
fn bytes(row: &Row) -> usize {
    let values = [&row.input, &row.output, &row.custom_status];
    let values: usize = values.into_iter().flatten().map(Value::len).sum();
    let tags: usize = row.tags.iter().map(|(key, value)| 64 + key.len() + value.len()).sum();
    let failure = row.failure.as_ref().map_or(0, |failure| {
        let all = std::iter::successors(Some(failure), |failure| failure.inner.as_deref());
        all.map(|failure| 128 + failure.kind.len() + failure.message.len() + failure.stack.len())
            .sum()
    });
    // The id stands in the row and in both maps.
    ROW_BYTES + values + tags + failure + 3 * row.id.as_str().len() + row.name.len()
}

#[cfg(test)]
mod tests {
    use everstep_engine::Instance;
    use everstep_model::{Iid, Status, Timestamp};

    use super::*;

    fn row(id: &str, status: Status, output: usize) -> Row {
        let instance = Instance::new(Iid(1), InstanceId::from_stored(id), Timestamp::EPOCH);
        let output = Some(Value::text("x".repeat(output)));
        Row { status, output, ..crate::row::shown(&instance) }
    }

    fn keep(ended: &Ended, row: &Row) -> bool {
        let asked = ended.find(&row.id).err().unwrap_or(Asked(u64::MAX));
        ended.keep(asked, row);
        ended.find(&row.id).is_ok()
    }

    #[test]
    fn only_small_ends_are_kept() {
        let ended = Ended::bounded(4, 4 << 20);
        assert!(keep(&ended, &row("done", Status::Completed, 10)));
        assert!(keep(&ended, &row("failed", Status::Failed, 10)));
        assert!(!keep(&ended, &row("running", Status::Running, 10)));
        assert!(!keep(&ended, &row("large", Status::Completed, COPY_BYTES_MAX)));
    }

    #[test]
    fn an_answer_that_was_overtaken_is_not_kept() {
        let ended = Ended::bounded(1, 4 << 20);
        let done = row("done", Status::Completed, 10);
        let asked = ended.find(&done.id).unwrap_err();
        ended.changed(PartitionId(0), std::slice::from_ref(&done.id));
        ended.keep(asked, &done);
        assert!(ended.find(&done.id).is_err());
        assert!(keep(&ended, &done));
        ended.changed(PartitionId(0), std::slice::from_ref(&done.id));
        assert!(ended.find(&done.id).is_err(), "what is gone is gone at once");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let ended = Ended::bounded(1, 10 * 2048);
        for number in 0..1_000 {
            let done = row(&format!("{number:04}"), Status::Completed, 1_000);
            assert!(keep(&ended, &done));
            if number % 3 == 0 {
                ended.changed(PartitionId(0), std::slice::from_ref(&done.id));
            }
        }
        let copies = lock(&ended.partitions[0]);
        assert!(copies.bytes <= 10 * 2048 && copies.rows.len() >= 8, "{}", copies.rows.len());
        assert!(copies.order.len() <= 2 * copies.rows.len() + 65);
        assert!(copies.rows.contains_key(&InstanceId::from_stored("0998")));
    }
}
