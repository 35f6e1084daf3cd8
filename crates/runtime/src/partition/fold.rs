//! Handing changes over to the folder, and what becomes of memory once they are in the tables.

use everstep_store::{Chunk, Fold, FoldedRow, chunk};

use super::{HandOver, Instance, InstanceId, Known, Partition, Slot, Unfolded, slot::Tail};

impl Partition {
    /// All that changed since the last hand-over, up to the last closed group. To be called at a group's end.
    pub fn hand_over(&mut self) -> HandOver {
        assert!(self.building.is_empty(), "a fold begins at the end of a group");
        self.folds += 1;
        let number = self.folds;
        let dirty = std::mem::take(&mut self.dirty);
        let mut rows: Vec<_> =
            dirty.iter().filter_map(|id| self.hand_over_row(number, id)).collect();
        self.in_fold.push_back((number, dirty));
        rows.sort_by_key(|folded| folded.row.iid);
        let purged = std::mem::take(&mut self.purged);
        for (id, purged) in &purged {
            self.gone_in_fold.push((number, id.clone(), *purged));
        }
        let purged = purged.into_iter().map(|(_, purged)| purged).collect();
        let fold = Fold {
            partition: self.id,
            upto: self.closed,
            meta: self.encode_meta().into(),
            purged,
            rows,
        };
        HandOver { number, fold }
    }

    fn hand_over_row(&mut self, number: u64, id: &InstanceId) -> Option<FoldedRow> {
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return None };
        known.dirty = false;
        let after = Tail::after(known.instance.execution, known.instance.history_len);
        let tail = std::mem::replace(&mut known.tail, after);
        let folded = folded_row(&known.instance, &[&tail]);
        known.folding.push((number, tail));
        Some(folded)
    }

    /// What the tables do not have, and what folds on their way have not brought yet.
    pub(super) fn not_in_tables(&self) -> Unfolded {
        let mut rows: Vec<_> = self.unfolded().map(unfolded_row).collect();
        rows.sort_by_key(|folded| folded.row.iid);
        let in_fold = self.gone_in_fold.iter().map(|(.., purged)| *purged);
        let purged = in_fold.chain(self.purged.iter().map(|(_, purged)| *purged)).collect();
        Unfolded { rows, purged }
    }

    /// A fold is in the tables: what it held may leave memory.
    pub(super) fn folded(&mut self, number: u64) {
        self.folded_any = true;
        self.shed_above = self.options.memory_bytes;
        self.gone_in_fold.retain(|(fold, ..)| *fold > number);
        self.gone = self
            .gone_in_fold
            .iter()
            .map(|(_, id, _)| id.clone())
            .chain(self.purged.iter().map(|(id, _)| id.clone()))
            .collect();
        let mut ended = Vec::new();
        while self.in_fold.front().is_some_and(|(fold, _)| *fold <= number) {
            let Some((_, ids)) = self.in_fold.pop_front() else { break };
            for id in ids {
                let Some(Slot::Known(known)) = self.slots.get_mut(&id) else { continue };
                let before = known.weight();
                known.folded(number);
                self.weight = (self.weight + known.weight()).saturating_sub(before);
                if known.is_clean() && known.instance.status.is_terminal() {
                    ended.push((id, known.instance.iid, known.weight()));
                }
            }
        }
        for (id, iid, weight) in ended {
            self.forget(&id, iid, weight);
        }
    }
}

/// An instance with runs of events that are new to the tables.
fn folded_row(instance: &Instance, tails: &[&Tail]) -> FoldedRow {
    let chunk = |tail: &Tail| {
        (tail.count > 0).then(|| Chunk {
            iid: instance.iid,
            execution: tail.execution,
            seq: tail.first,
            count: tail.count,
            bytes: chunk::pack(&tail.bytes),
        })
    };
    FoldedRow {
        row: crate::row::row(instance),
        keep_from: keep_from(instance),
        chunks: tails.iter().filter_map(|tail| chunk(tail)).collect(),
        payloads: tails.iter().flat_map(|tail| tail.payloads.iter().cloned()).collect(),
    }
}

/// The same, with the runs that folds on their way hold as well.
fn unfolded_row(known: &Known) -> FoldedRow {
    let kept = keep_from(&known.instance);
    let folding = known.folding.iter().map(|(_, tail)| tail);
    let tails: Vec<_> =
        folding.chain(std::iter::once(&known.tail)).filter(|tail| tail.execution >= kept).collect();
    folded_row(&known.instance, &tails)
}

/// The first execution of which the tables keep something: an open call of a former one may still need its input.
fn keep_from(instance: &Instance) -> u32 {
    let open = instance.tasks.keys().map(|(execution, _)| *execution).min();
    open.map_or(instance.execution, |open| open.min(instance.execution))
}
