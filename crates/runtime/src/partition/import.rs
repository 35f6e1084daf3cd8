//! Instances that were taken out of a hub and are put back.
//!
//! J1  An import is commits like those of a turn, so it is durable like them; but nothing of what its history tells
//!     happens again: no activity runs, no alarm is set, nobody hears of an end.
//! J2  What is there under the same id stays unless its replacement is wanted, and what runs stays in any case.
//! J3  A replacement and its purge are in one group.

use everstep_engine::{RestoreRefused, restore};
use everstep_model::{Archive, Commit, Iid, InstanceId, Kind, Purged};

use super::{Busy, Existing, Imported, Instance, Known, Partition, Response, Slot, Ticket};

impl Partition {
    /// Puts an instance back under an id that no other has.
    pub(super) fn import(&mut self, archive: Archive) -> Imported {
        let id = archive.id.clone();
        match self.restored(archive) {
            Ok(commits) => self.put_back(&id, commits),
            Err(refused) => return Imported::Refused(refused.to_string()),
        }
        Imported::Done
    }

    /// The same under an id that an instance has.
    pub(super) fn import_over(&mut self, ticket: Ticket, archive: Archive, existing: Existing) {
        let id = archive.id.clone();
        let Some(Slot::Known(known)) = self.slots.get(&id) else { return };
        let instance = &known.instance;
        let goes = existing == Existing::Replace || instance.is_empty_entity();
        let imported = if !goes || !is_at_rest(known) {
            Imported::Exists(instance.status)
        } else {
            let purged = Purged { iid: instance.iid, execution: instance.execution };
            match self.restored(archive) {
                Ok(commits) => {
                    self.purge(&id, purged);
                    self.put_back(&id, commits);
                    Imported::Replaced
                }
                Err(refused) => Imported::Refused(refused.to_string()),
            }
        };
        self.reply(ticket, Response::Imported(imported));
    }

    fn restored(&self, archive: Archive) -> Result<Vec<Commit>, RestoreRefused> {
        restore(Iid::new(self.id, self.instances + 1), archive)
    }

    fn put_back(&mut self, id: &InstanceId, commits: Vec<Commit>) {
        let iid = self.new_iid();
        self.know(Known::fresh(Instance::new(iid, id.clone(), commits[0].now)));
        for commit in commits {
            assert!(commit.iid == iid, "the number was the next one");
            drop(self.enter(id, commit));
        }
        if let Some(known) = self.known(id) {
            known.unseen = Vec::new();
            known.seen = known.instance.history_len;
        }
    }
}

/// Whether nothing is under way that a replacement would cut off.
fn is_at_rest(known: &Known) -> bool {
    let instance = &known.instance;
    let rests = match instance.id.kind() {
        Kind::Orchestration => instance.status.is_terminal(),
        Kind::Entity => instance.rare.lock.is_none() && instance.inbox.is_empty(),
    };
    rests && known.mail.is_empty() && matches!(known.busy, Busy::No | Busy::NoCode)
}
