//! The head of a segment file: 4,096 bytes, of which the first 96 say what the segment is for.
//!
//! H1  Magic, format and checksum stay where they are in every format, so that an older build can name a newer one.
//! H2  A head lies in one sector, so that a crash leaves the former or the new one, never a mixture.
//! H3  A head is written only to a file that has its final size, filled and synced; a shorter file is damaged.

use everstep_model::HubId;
use everstep_store::FORMAT;

use super::frame::{PAGE, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"EVERSTEP";
const HEAD_BYTES: usize = 96;

/// What a segment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It waits to be used; whatever lies behind the head is void.
    Spare = 1,
    /// It holds frames.
    Frames = 2,
}

/// The head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// Whose log.
    pub(crate) hub: HubId,
    /// The order of use; for a spare one the last number given so far.
    pub(crate) number: u64,
    /// The number of its first frame; for a spare one that of the log's next frame.
    pub(crate) first_frame: u64,
    /// The size of the file.
    pub(crate) size: u64,
    /// The hub's epoch at the time of writing.
    pub(crate) epoch: u64,
    /// Drawn for this use; frames of a former use bear another one.
    pub(crate) salt: u64,
}

/// What the first page of a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FirstPage {
    /// Nothing but zeros: the file was never finished.
    Blank,
    /// A head.
    Head(Head),
    /// Written by a newer build, in this format.
    Newer(u32),
    /// Neither.
    Damaged(&'static str),
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        page[16..20].copy_from_slice(&(self.purpose as u32).to_le_bytes());
        let numbers = [self.number, self.first_frame, self.size, self.epoch, self.salt];
        for (place, number) in page[24..64].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        page[64..80].copy_from_slice(&self.hub.0);
        seal(&mut page);
        page
    }
}

/// Writes the checksum into a head.
pub(super) fn seal(page: &mut [u8]) {
    let crc = checksum(page);
    page[12..16].copy_from_slice(&crc.to_le_bytes());
}

impl FirstPage {
    pub(crate) fn decode(page: &[u8]) -> Self {
        if page.iter().all(|&byte| byte == 0) {
            return Self::Blank;
        }
        if page.len() < PAGE {
            return Self::Damaged("the head is cut off");
        }
        if page[..8] != MAGIC {
            return Self::Damaged("the head does not begin as one");
        }
        if u32_at(page, 12) != checksum(page) {
            return Self::Damaged("the head does not match its checksum");
        }
        let format = u32_at(page, 8);
        if format > FORMAT {
            return Self::Newer(format);
        }
        let purpose = match u32_at(page, 16) {
            1 => Purpose::Spare,
            2 => Purpose::Frames,
            _ => return Self::Damaged("the head names no known purpose"),
        };
        // No log gets there, and what is computed from the numbers stays in range.
        if [24, 32, 40, 48].iter().any(|&at| u64_at(page, at) > u64::from(u32::MAX) << 24) {
            return Self::Damaged("the head holds a number that no log reaches");
        }
        let mut hub = [0; 16];
        hub.copy_from_slice(&page[64..80]);
        Self::Head(Head {
            purpose,
            hub: HubId(hub),
            number: u64_at(page, 24),
            first_frame: u64_at(page, 32),
            size: u64_at(page, 40),
            epoch: u64_at(page, 48),
            salt: u64_at(page, 56),
        })
    }
}

/// Over all of the head but the checksum itself.
fn checksum(page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&page[..12]), &page[16..HEAD_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        purpose: Purpose::Frames,
        hub: HubId([7; 16]),
        number: 3,
        first_frame: 17,
        size: 1 << 20,
        epoch: 2,
        salt: 0xfeed,
    };

    #[test]
    fn a_head_is_read_as_it_was_written() {
        assert_eq!(FirstPage::decode(&HEAD.encode()), FirstPage::Head(HEAD));
    }

    #[test]
    fn a_number_that_no_log_reaches_is_damage() {
        let head = Head { number: u64::MAX, ..HEAD };
        assert_eq!(
            FirstPage::decode(&head.encode()),
            FirstPage::Damaged("the head holds a number that no log reaches")
        );
    }

    #[test]
    fn any_flipped_bit_of_a_head_is_noticed() {
        for bit in 0..HEAD_BYTES * 8 {
            let mut page = HEAD.encode();
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(FirstPage::decode(&page), FirstPage::Damaged(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut page = HEAD.encode();
        page[8..12].copy_from_slice(&(FORMAT + 1).to_le_bytes());
        let crc = checksum(&page);
        page[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FirstPage::decode(&page), FirstPage::Newer(FORMAT + 1));
    }
}
