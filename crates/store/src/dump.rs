//! Everything that tables hold, as plain values that can be compared.
//!
//! Two stores that took the same folds have equal dumps, however their chunks are cut: what a test of two backends, of
//! two modes, or of a recovery compares.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use everstep_model::{Iid, PayloadRef};

use crate::{
    Applied, Chunk, Row,
    chunk::{self, ChunkError},
};

/// The folded state of a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// All rows with their `live` blobs, by number.
    pub rows: Vec<Row>,
    /// The encoded events of each execution, all chunks unpacked and put together.
    pub histories: BTreeMap<(Iid, u32), Bytes>,
    /// The payloads, by instance, execution and number.
    pub payloads: BTreeMap<(Iid, u32, u32), Bytes>,
    /// How far each partition is, with its own state.
    pub applied: Vec<Applied>,
}

impl Dump {
    /// Adds a chunk; those of one execution must come in order.
    pub fn add_chunk(&mut self, added: &Chunk) -> Result<(), ChunkError> {
        let history = self.histories.entry((added.iid, added.execution)).or_default();
        let mut events = BytesMut::from(history.as_ref());
        events.extend_from_slice(&chunk::unpack(&added.bytes)?);
        *history = events.freeze();
        Ok(())
    }

    /// Adds a payload.
    pub fn add_payload(&mut self, payload: &PayloadRef, bytes: Bytes) {
        self.payloads.insert((payload.iid, payload.execution, payload.n), bytes);
    }
}
