//! The stored form of the nouns: what stands in logs, tables and outboxes.
//!
//! Each type has a table of protobuf field numbers, in the module of its topic; an enum is a `oneof` with a nested message
//! per variant. The tables are marked "frozen".
//!
//! S1  A field number, once released, keeps its meaning and its wire type for ever. A new field takes a new number, and
//!     its absence means what its absence meant before it existed.
//! S2  Fields of unknown numbers are skipped. An unknown variant is an error: it cannot be left out without a loss, and
//!     the version that wrote it is needed to read it.
//! S3  No type of the engine is encoded here. What the engine keeps for itself it encodes with the same tables, in a
//!     message of its own.
//! S4  The same value gives the same bytes, and what was decoded encodes to bytes that decode to the same.
//! S5  What is decoded owns its bytes: a small payload does not keep the large frame alive from which it was read.
//!
//! A *chunk* is a run of events, each as the field 1 of a message. A commit holds its events under the same number, so
//! one encoding of an event serves the log and the history. In the same way a run of entries can be spliced into a group.
//!
//! A group's first byte names its codec: 0 is plain, 1 is kept for LZ4.
//!
//! Absent on purpose: compression, checksums and frames, which belong to the stores. Start at [`put_event`] and
//! [`decode_group`].

mod archive;
mod event;
mod field;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inbox;
mod turn;
mod value;

use bytes::Bytes;

pub use field::{Field, Stored, settle};

use crate::{
    Commit, Envelope, Event, Failure, Group, Message, Purged,
    wire::{Error, Problem, Reader, Writer},
};

/// The codec of bytes that are what they are.
const CODEC_PLAIN: u8 = 0;

/// Appends one event to a chunk.
#[inline]
pub fn put_event(out: &mut Vec<u8>, event: &Event) {
    turn::put_event(&mut Writer::new(out), event);
}

/// The events of a chunk, in order. The first error is the last item.
pub fn events(chunk: &[u8]) -> impl Iterator<Item = Result<Event, Error>> + '_ {
    let mut reader = Some(Reader::new(chunk));
    std::iter::from_fn(move || {
        let next = next_event(reader.as_mut()?);
        if !matches!(next, Ok(Some(_))) {
            reader = None;
        }
        next.transpose()
    })
}

fn next_event(reader: &mut Reader<'_>) -> Result<Option<Event>, Error> {
    while let Some((number, found)) = reader.next_field()? {
        if number == turn::EVENTS {
            return Event::read(found).map(Some);
        }
    }
    Ok(None)
}

/// Appends a turn to a run of entries. `events` is the chunk of its events; `commit.events` is not looked at.
pub fn put_commit_entry(out: &mut Vec<u8>, commit: &Commit, events: &[u8]) {
    Writer::new(out).nested(turn::ENTRIES, |w| {
        w.nested(turn::ENTRY_COMMIT, |w| turn::put_commit(w, commit, events));
    });
}

/// Appends a purge to a run of entries.
pub fn put_purged(out: &mut Vec<u8>, purged: Purged) {
    crate::Entry::Purged(purged).put_present(&mut Writer::new(out), turn::ENTRIES);
}

/// A group: all that is in `group`, and after its entries those of a run that are encoded already.
pub fn encode_group(group: &Group, entries: &[u8]) -> Bytes {
    let mut out = vec![CODEC_PLAIN];
    let mut writer = Writer::new(&mut out);
    group.put_fields(&mut writer);
    writer.splice(entries);
    out.into()
}

/// Reads a group.
pub fn decode_group(bytes: &[u8]) -> Result<Group, Error> {
    match bytes.split_first() {
        Some((&CODEC_PLAIN, fields)) => Group::read_fields(Reader::starting_at(fields, 1)),
        Some((&codec, _)) => Err(Error { at: 0, problem: Problem::Codec(codec) }),
        None => Err(Error { at: 0, problem: Problem::Truncated }),
    }
}

/// Appends the fields of one message of any type; what they are part of must know their length.
pub fn encode<T: Stored>(out: &mut Vec<u8>, value: &T) {
    value.put_fields(&mut Writer::new(out));
}

/// Reads what [`encode`] wrote.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T, Error> {
    T::read_fields(Reader::new(bytes))
}

/// Appends a commit with its events.
pub fn encode_commit(out: &mut Vec<u8>, commit: &Commit) {
    encode(out, commit);
}

/// Reads what [`encode_commit`] wrote.
pub fn decode_commit(bytes: &[u8]) -> Result<Commit, Error> {
    decode(bytes)
}

/// Appends a message.
pub fn put_message(out: &mut Vec<u8>, message: &Message) {
    encode(out, message);
}

/// Reads what [`put_message`] wrote.
pub fn decode_message(bytes: &[u8]) -> Result<Message, Error> {
    decode(bytes)
}

/// Appends a message with its destination.
pub fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    encode(out, envelope);
}

/// Reads what [`put_envelope`] wrote.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope, Error> {
    decode(bytes)
}

/// Appends a failure with its causes, the first 64 of them.
pub fn encode_failure(out: &mut Vec<u8>, failure: &Failure) {
    encode(out, failure);
}

/// Reads what [`encode_failure`] wrote.
pub fn decode_failure(bytes: &[u8]) -> Result<Failure, Error> {
    decode(bytes)
}
