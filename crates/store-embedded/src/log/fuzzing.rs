//! Files that pass every checksum, around bytes that make no sense.

use everstep_model::HubId;

pub(crate) use super::scan::scan;
use super::{
    frame::{self, PAGE, Stamp},
    head::{self, Head, Purpose},
};

const SALT: u64 = 99;

/// A head whose fields are these bytes.
pub(crate) fn sealed_head(fields: &[u8]) -> Vec<u8> {
    let mut page = used_head(HubId([7; 16]), 3 * PAGE as u64);
    let length = fields.len().min(80);
    page[16..16 + length].copy_from_slice(&fields[..length]);
    head::seal(&mut page);
    page
}

/// The head of a segment of this size that holds frames.
pub(crate) fn used_head(hub: HubId, size: u64) -> Vec<u8> {
    Head { purpose: Purpose::Frames, hub, number: 1, first_frame: 1, size, epoch: 1, salt: SALT }
        .encode()
}

/// A whole frame whose records are these bytes; the first of them says how many records it claims to have.
pub(crate) fn frame(records: &[u8], number: u64, hub: HubId) -> Vec<u8> {
    let mut buffer = Vec::new();
    frame::encode(&[], &mut buffer);
    buffer.truncate(frame::HEADER);
    buffer.extend_from_slice(records);
    let length = u32::try_from(buffer.len()).expect("a fuzzer's bytes are few");
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    buffer[40] = records.first().map_or(0, |first| first % 5);
    buffer.resize(frame::padded(buffer.len()), 0);
    frame::seal(&mut buffer, number, Stamp { hub, salt: SALT });
    buffer
}
