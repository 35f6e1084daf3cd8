//! Recovery: the tables' state of a partition, and the records after it.
//!
//! Records are facts: nothing here decides anything. What is outstanding is taken up afterwards, by
//! [`Partition::resume`].

use everstep_model::{Commit, Entry, GroupNo, Iid, InstanceId, Position, stored, wire};
use everstep_store::{Applied, Row};

use super::{Effect, Instance, Known, Output, Partition, Slot, Waiting};

/// Reads the row of an instance that a record changes.
pub(super) type FindRow<'a> = &'a mut dyn FnMut(Iid) -> Option<Row>;

impl Partition {
    /// Takes the state that the tables have.
    pub fn restore(&mut self, applied: &Applied) -> Result<(), wire::Error> {
        self.closed = applied.group;
        self.durable = applied.group;
        self.folded_any = applied.group > GroupNo(0);
        self.decode_meta(&applied.meta)
    }

    /// Makes a durable record that is not folded part of memory.
    pub fn replay(&mut self, bytes: &[u8], find: FindRow<'_>) -> Result<(), wire::Error> {
        let group = stored::decode_group(bytes)?;
        assert!(group.group == self.closed.next(), "records come without a gap");
        self.closed = group.group;
        self.durable = group.group;
        for at in group.positions {
            self.positions.insert(at.partition, at);
        }
        for (number, envelope) in group.parcels {
            self.next_parcel = self.next_parcel.max(number);
            self.parcels.insert(number, envelope);
        }
        for number in group.unparceled {
            self.parcels.remove(&number);
        }
        for (index, envelope) in group.outgoing.into_iter().enumerate() {
            let at = Position { partition: self.id, group: group.group, index: index as u32 };
            self.outbox.insert((envelope.to.partition(self.count), at), envelope);
        }
        for entry in group.entries {
            match entry {
                Entry::Commit(commit) => self.replay_commit(&commit, find),
                Entry::Purged(purged) => {
                    if let Some(id) = self.id_of(purged.iid, find) {
                        self.remove(&id, purged);
                    }
                }
            }
        }
        Ok(())
    }

    fn replay_commit(&mut self, commit: &Commit, find: FindRow<'_>) {
        self.instances = self.instances.max(commit.iid.counter());
        if let Some(id) = &commit.created {
            self.know(Known::new(Instance::new(commit.iid, id.clone(), commit.now)));
        }
        let Some(id) = self.id_of(commit.iid, find) else {
            panic!(
                "the log changes instance number {}, which neither the tables nor the log know; the folder is damaged",
                commit.iid.0
            );
        };
        let Some(Slot::Known(known)) = self.slots.get_mut(&id) else { return };
        let mut events = Vec::new();
        commit.events.iter().for_each(|event| stored::put_event(&mut events, event));
        let before = super::turns::status_of(known);
        known.record(commit, &events);
        known.unseen.clear();
        known.seen = known.instance.history_len;
        let after = super::turns::status_of(known);
        if !known.dirty {
            known.dirty = true;
            self.dirty.push(id);
        }
        if before != after {
            self.count(before, -1);
            self.count(after, 1);
        }
    }

    /// The id of a number, with its instance brought into memory.
    fn id_of(&mut self, iid: Iid, find: FindRow<'_>) -> Option<InstanceId> {
        if let Some(id) = self.ids.get(&iid) {
            return Some(id.clone());
        }
        let row = find(iid)?;
        self.know(Known::stored(crate::row::instance(&row)));
        Some(row.id)
    }

    /// Takes up all that is outstanding in memory: messages in outboxes and inboxes, activities, timers. What lies in
    /// the tables alone comes later, as [`super::Input::Due`].
    pub fn resume(&mut self, now: everstep_model::Timestamp, out: &mut Vec<Output>) {
        self.now = now;
        self.weight = self
            .slots
            .values()
            .map(|slot| if let Slot::Known(known) = slot { known.weight() } else { 0 })
            .sum();
        let sends: Vec<_> = self
            .outbox
            .iter()
            .map(|((to, at), envelope)| Effect::Send(*to, *at, envelope.clone()))
            .collect();
        self.building.effects.extend(sends);
        let acknowledged: Vec<_> = self.positions.values().copied().collect();
        self.building
            .effects
            .extend(acknowledged.into_iter().map(|at| Effect::Acknowledge(at.partition, at)));
        let parcels: Vec<_> =
            self.parcels.iter().map(|(number, envelope)| (*number, envelope.to.clone())).collect();
        for (number, to) in parcels {
            let known = matches!(self.slots.get(&to), Some(Slot::Known(_)));
            if known || (!self.slots.contains_key(&to) && self.is_new(&to)) {
                self.unpack(number, out);
            } else {
                self.wait_for_row(&to, Waiting::Parcel(number), out);
            }
        }
        if !self.held {
            self.look_at_all();
        }
    }

    /// Takes up what every instance in memory has outstanding.
    pub(super) fn look_at_all(&mut self) {
        let mut ids: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot, Slot::Known(_)))
            .map(|(id, _)| id.clone())
            .collect();
        ids.sort();
        for id in ids {
            self.look(&id);
        }
    }
}
