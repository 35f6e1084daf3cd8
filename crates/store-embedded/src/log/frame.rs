//! The form of a frame: all records of one flush under one checksum.
//!
//! ```text
//! 0  length of the frame without padding, u32      24  hub id, 16 bytes
//! 4  crc32c of the length and of all from byte 8   40  number of records, u32
//! 8  frame number, u64                             44  per record: partition u16, group u64, length u32, bytes
//! 16 salt of the segment, u64
//! ```
//!
//! Numbers are little-endian; zeros pad a frame to whole pages of 4,096 bytes.
//!
//! F1  A frame begins at a page. A drive with sectors of 4,096 bytes rewrites the whole sector around a shorter write,
//!     and a power cut in between would damage an older frame in the same sector.
//! F2  A frame is taken only if length, checksum, hub and salt fit: bytes of another use of the file never do.

use bytes::Bytes;
use everstep_model::{GroupNo, HubId, PartitionId};
use everstep_store::Record;
use std::io;

use crate::disk::DiskFile;

/// Frames and heads fill whole pages of this size.
pub(crate) const PAGE: usize = 4096;
/// What stands in front of the records.
pub(super) const HEADER: usize = 44;
const RECORD_HEADER: usize = 14;

/// What marks the frames of one use of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) hub: HubId,
    pub(crate) salt: u64,
}

/// A frame that was found whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) number: u64,
    /// All of it without the padding.
    pub(crate) bytes: Bytes,
}

/// How many bytes a record takes in a frame.
pub(crate) fn record_bytes(record: &Record) -> u64 {
    (RECORD_HEADER + record.bytes.len()) as u64
}

/// How much of a segment a frame of this length takes.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(PAGE)
}

/// Fills the buffer with a padded frame that lacks its number, stamp and checksum; see [`seal`].
pub(crate) fn encode<'a>(records: impl IntoIterator<Item = &'a Record>, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER, 0);
    let mut count: u32 = 0;
    for record in records {
        let length = u32::try_from(record.bytes.len()).expect("a group is far below 4 GiB");
        buffer.extend_from_slice(&record.partition.0.to_le_bytes());
        buffer.extend_from_slice(&record.group.0.to_le_bytes());
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(&record.bytes);
        count += 1;
    }
    let length = u32::try_from(buffer.len()).expect("a frame is far below 4 GiB");
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    buffer[40..HEADER].copy_from_slice(&count.to_le_bytes());
    buffer.resize(padded(buffer.len()), 0);
}

/// Writes number, stamp and checksum into an encoded frame. Sealing twice with the same arguments changes nothing.
pub(crate) fn seal(buffer: &mut [u8], number: u64, stamp: Stamp) {
    buffer[8..16].copy_from_slice(&number.to_le_bytes());
    buffer[16..24].copy_from_slice(&stamp.salt.to_le_bytes());
    buffer[24..40].copy_from_slice(&stamp.hub.0);
    let length = u32_at(buffer, 0) as usize;
    let crc = checksum(&buffer[..length]);
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The frame at an offset, if a whole one with this stamp begins there and ends before `end`.
pub(crate) fn read<F: DiskFile>(
    file: &F,
    offset: u64,
    end: u64,
    stamp: Stamp,
) -> io::Result<Option<Frame>> {
    let mut page = vec![0; PAGE];
    file.read_at(&mut page, offset)?;
    let Some(length) = plausible_length(&page, end - offset, stamp) else { return Ok(None) };
    page.resize(length, 0);
    if length > PAGE {
        file.read_at(&mut page[PAGE..], offset + PAGE as u64)?;
    }
    if u32_at(&page, 4) != checksum(&page) {
        return Ok(None);
    }
    Ok(Some(Frame { number: u64_at(&page, 8), bytes: page.into() }))
}

/// The length in a frame's header, if stamp and length allow it to be one.
pub(crate) fn plausible_length(page: &[u8], room: u64, stamp: Stamp) -> Option<usize> {
    let length = u32_at(page, 0);
    let fits = u64_at(page, 16) == stamp.salt && page[24..40] == stamp.hub.0;
    (fits && length as usize >= HEADER && u64::from(length) <= room).then_some(length as usize)
}

/// The records of a frame, sharing its memory; `None` if they do not fill it exactly.
pub(crate) fn records(frame: &Bytes) -> Option<Vec<Record>> {
    let count = u32_at(frame, 40);
    let mut rest = frame.slice(HEADER..);
    let mut records = Vec::new();
    for _ in 0..count {
        if rest.len() < RECORD_HEADER {
            return None;
        }
        let header = rest.split_to(RECORD_HEADER);
        let length = u32_at(&header, 10) as usize;
        if rest.len() < length {
            return None;
        }
        records.push(Record {
            partition: PartitionId(u16::from_le_bytes([header[0], header[1]])),
            group: GroupNo(u64_at(&header, 2)),
            bytes: rest.split_to(length),
            fold: None,
        });
    }
    rest.is_empty().then_some(records)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Over all of the frame but the checksum itself.
fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::{Disk, SimulatedDisk};

    const STAMP: Stamp = Stamp { hub: HubId([1; 16]), salt: 99 };

    fn read_back(buffer: &[u8], stamp: Stamp) -> Option<Frame> {
        let file = SimulatedDisk::new().create(Path::new("/f")).unwrap();
        file.write_at(buffer, 0).unwrap();
        read(&file, 0, buffer.len() as u64, stamp).unwrap()
    }

    fn framed(records: &[Record]) -> Vec<u8> {
        let mut buffer = Vec::new();
        encode(records, &mut buffer);
        seal(&mut buffer, 5, STAMP);
        buffer
    }

    fn record(partition: u16, group: u64, bytes: Vec<u8>) -> Record {
        Record {
            partition: PartitionId(partition),
            group: GroupNo(group),
            bytes: bytes.into(),
            fold: None,
        }
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            contents in prop::collection::vec((any::<u16>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..3000)), 0..6)
        ) {
            let given: Vec<_> = contents.into_iter().map(|(partition, group, bytes)| record(partition, group, bytes)).collect();
            let frame = read_back(&framed(&given), STAMP).unwrap();
            prop_assert_eq!(frame.number, 5);
            prop_assert_eq!(records(&frame.bytes).unwrap(), given);
        }
    }

    #[test]
    fn any_flipped_bit_of_a_frame_is_noticed() {
        let whole = framed(&[record(1, 2, b"some bytes".to_vec())]);
        let length = u32_at(&whole, 0) as usize;
        for bit in 0..length * 8 {
            let mut buffer = whole.clone();
            buffer[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_back(&buffer, STAMP), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_use_is_none() {
        let buffer = framed(&[record(1, 2, vec![3])]);
        assert_eq!(read_back(&buffer, Stamp { salt: 98, ..STAMP }), None);
        assert_eq!(read_back(&buffer, Stamp { hub: HubId([2; 16]), ..STAMP }), None);
    }
}
