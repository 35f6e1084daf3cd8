//! The tables of commits and groups.

use super::field::{Field, Stored};
use crate::{
    Commit, EntityChange, Entry, Event, Group, NewExecution, Parked, Purged, RowChange, Wait,
    message, oneof, read_fields,
    wire::{Error, Reader, Writer},
};

/// Frozen. The field of the events in a commit and in a chunk.
pub(super) const EVENTS: u32 = 1;
/// Frozen. The field of the entries in a group.
pub(super) const ENTRIES: u32 = 4;
/// Frozen. The field of a commit in an entry.
pub(super) const ENTRY_COMMIT: u32 = 1;

// frozen
message!(Group { 1 partition, 2 group, 3 positions, 4 entries, 5 outgoing, 6 parcels, 7 unparceled });
// frozen
oneof!(Entry { 1 Commit(commit), 2 Purged(purged) });
// frozen
message!(Purged { 1 iid, 2 execution });
// frozen
message!(NewExecution { 1 execution, 2 execution_id, 3 fresh });
// frozen
message!(RowChange { 1 custom_status, 2 wait, 3 parked, 4 strikes });
// frozen
message!(Parked { 1 since, 2 reason, 3 code });
// frozen
message!(EntityChange { 1 state, 2 lock, 3 keys });
// frozen
oneof!(recursive Wait { 1 Task(id), 2 Event(name), 3 All(waits), 4 Any(waits) });

impl Stored for Commit {
    fn put_fields(&self, writer: &mut Writer<'_>) {
        self.events.put(writer, EVENTS);
        put_all_but_events(self, writer);
    }

    fn read_fields(reader: Reader<'_>) -> Result<Self, Error> {
        // frozen
        read_fields!(reader => Self {
            1 events, 2 iid, 3 created, 4 now, 5 begin, 6 accepted, 7 consumed, 8 closed, 9 outgoing, 10 row,
            11 entity, 12 payloads
        })
    }
}

/// The events are in a commit as they are in a chunk, so that one encoding serves both.
pub(super) fn put_commit(writer: &mut Writer<'_>, commit: &Commit, events: &[u8]) {
    writer.splice(events);
    put_all_but_events(commit, writer);
}

fn put_all_but_events(commit: &Commit, w: &mut Writer<'_>) {
    let Commit {
        events: _,
        iid,
        created,
        now,
        begin,
        accepted,
        consumed,
        closed,
        outgoing,
        row,
        entity,
        payloads,
    } = commit;
    iid.put(w, 2);
    created.put(w, 3);
    now.put(w, 4);
    begin.put(w, 5);
    accepted.put(w, 6);
    consumed.put(w, 7);
    closed.put(w, 8);
    outgoing.put(w, 9);
    row.put(w, 10);
    entity.put(w, 11);
    payloads.put(w, 12);
}

/// One event as a field of a chunk.
#[inline]
pub(super) fn put_event(writer: &mut Writer<'_>, event: &Event) {
    event.put_present(writer, EVENTS);
}
