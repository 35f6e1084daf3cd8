//! What the tables in memory hold, and how folds change it.
//!
//! I1  Each index holds exactly the rows: `by_id`, `by_created` and, for those with a wake time, `by_wake`.
//! I2  An id belongs to one number; a fold that gives it to a second while the first has a row is a bug of the caller.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use bytes::Bytes;
use everstep_model::{GroupNo, Iid, InstanceId, PartitionId, Purged, Timestamp};
use everstep_store::{Applied, Chunk, Fold, FoldedRow, Row, Wake};

/// A place in a history or among the payloads: instance, execution, number.
type Place = (Iid, u32, u32);

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) rows: BTreeMap<Iid, Arc<Row>>,
    pub(crate) by_id: BTreeMap<InstanceId, Iid>,
    pub(crate) by_created: BTreeSet<(Timestamp, Iid)>,
    pub(crate) by_wake: BTreeSet<(i64, Iid)>,
    pub(crate) chunks: BTreeMap<Place, Chunk>,
    pub(crate) payloads: BTreeMap<Place, Bytes>,
    pub(crate) applied: Vec<Applied>,
}

impl State {
    pub(crate) fn new(partitions: u16) -> Self {
        let applied = (0..partitions)
            .map(|n| Applied { partition: PartitionId(n), group: GroupNo(0), meta: Bytes::new() })
            .collect();
        Self {
            rows: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_created: BTreeSet::new(),
            by_wake: BTreeSet::new(),
            chunks: BTreeMap::new(),
            payloads: BTreeMap::new(),
            applied,
        }
    }

    /// Deletes, then writes, then notes how far the partition is; nothing when it is that far already.
    pub(crate) fn fold(&mut self, fold: &Fold) {
        if fold.upto <= self.applied[usize::from(fold.partition.0)].group {
            return;
        }
        for purged in &fold.purged {
            self.purge(*purged);
        }
        for folded in fold.kept_rows() {
            self.write(folded);
        }
        self.applied[usize::from(fold.partition.0)] =
            Applied { partition: fold.partition, group: fold.upto, meta: fold.meta.clone() };
    }

    fn purge(&mut self, purged: Purged) {
        if self.rows.get(&purged.iid).is_some_and(|row| row.execution <= purged.execution) {
            self.unlink(purged.iid);
        }
        if let Some(next) = purged.execution.checked_add(1) {
            self.forget_below(purged.iid, next);
        } else {
            self.forget(executions(purged.iid, 0..=u32::MAX));
        }
    }

    fn write(&mut self, folded: &FoldedRow) {
        let mut row = folded.row.clone();
        row.wake = Wake::from_stored(row.wake.stored());
        self.unlink(row.iid);
        let earlier = self.by_id.insert(row.id.clone(), row.iid);
        assert_eq!(earlier, None, "I2: the id {} belongs to one number", row.id);
        self.by_created.insert((row.created, row.iid));
        if let Some(wake) = row.wake.stored() {
            self.by_wake.insert((wake, row.iid));
        }
        self.forget_below(row.iid, folded.keep_from);
        self.rows.insert(row.iid, Arc::new(row));
        for chunk in &folded.chunks {
            self.add_chunk(chunk);
        }
        for (payload, bytes) in &folded.payloads {
            self.payloads.insert((payload.iid, payload.execution, payload.n), bytes.clone());
        }
    }

    fn add_chunk(&mut self, chunk: &Chunk) {
        let last = chunk.seq.saturating_add(chunk.count.saturating_sub(1));
        let covered = (chunk.iid, chunk.execution, chunk.seq)..=(chunk.iid, chunk.execution, last);
        remove_range(&mut self.chunks, covered);
        self.chunks.insert((chunk.iid, chunk.execution, chunk.seq), chunk.clone());
    }

    /// Takes a row out of the table and its indexes.
    fn unlink(&mut self, iid: Iid) {
        let Some(row) = self.rows.remove(&iid) else { return };
        self.by_id.remove(&row.id);
        self.by_created.remove(&(row.created, iid));
        if let Some(wake) = row.wake.stored() {
            self.by_wake.remove(&(wake, iid));
        }
    }

    fn forget_below(&mut self, iid: Iid, execution: u32) {
        if let Some(last) = execution.checked_sub(1) {
            self.forget(executions(iid, 0..=last));
        }
    }

    fn forget(&mut self, places: RangeInclusive<Place>) {
        remove_range(&mut self.chunks, places.clone());
        remove_range(&mut self.payloads, places);
    }
}

/// All places of these executions.
pub(crate) fn executions(iid: Iid, executions: RangeInclusive<u32>) -> RangeInclusive<Place> {
    (iid, *executions.start(), 0)..=(iid, *executions.end(), u32::MAX)
}

fn remove_range<V>(map: &mut BTreeMap<Place, V>, places: RangeInclusive<Place>) {
    map.extract_if(places, |_, _| true).for_each(drop);
}
