//! Handing changes over to the folder, and what becomes of memory once they are in the tables.

use everstep_store::{Chunk, Fold, FoldedRow, chunk};

use super::{HandOver, InstanceId, Partition, Slot, slot::Tail};

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
            self.gone_in_fold.push((number, id.clone(), purged.iid));
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
        let instance = &known.instance;
        let after = Tail::after(instance.execution, instance.history_len);
        let tail = std::mem::replace(&mut known.tail, after);
        let chunks = (tail.count > 0).then(|| Chunk {
            iid: instance.iid,
            execution: tail.execution,
            seq: tail.first,
            count: tail.count,
            bytes: chunk::pack(&tail.bytes),
        });
        // An open call of a former execution may still need its input.
        let keep_from = instance
            .tasks
            .keys()
            .map(|(execution, _)| *execution)
            .min()
            .unwrap_or(instance.execution);
        let folded = FoldedRow {
            row: crate::row::row(instance),
            keep_from: keep_from.min(instance.execution),
            chunks: chunks.into_iter().collect(),
            payloads: tail.payloads.clone(),
        };
        known.folding.push_back((number, tail));
        Some(folded)
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
                known.folding.retain(|(fold, _)| *fold > number);
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
