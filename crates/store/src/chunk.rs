//! The stored form of a run of events: one codec byte, then the encoded events, plain or compressed.
//!
//! K1  The codec byte and what follows it are a format: 0 is plain, 1 is an lz4 block behind its length (four bytes,
//!     little endian).
//! K2  Packing is a choice of the one who writes: compressed only where that is shorter.
//!
//! Tables store these bytes as they are; the one who hands a chunk over packs it, the one who reads it unpacks it.

use bytes::{BufMut, Bytes, BytesMut};

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// The codec byte and the length of the plain bytes.
const LZ4_HEAD: usize = 5;
/// A byte of an lz4 block yields at most this many; a longer claim is damage and must not be allocated.
const LZ4_RATIO_MAX: usize = 255;

/// Why bytes are not a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// There is not even a codec byte.
    #[error("a history chunk is empty")]
    Empty,
    /// A newer version wrote it, or it is damaged.
    #[error("a history chunk has codec {codec}, which this version does not know")]
    UnknownCodec {
        /// The byte found.
        codec: u8,
    },
    /// The block does not unpack to the length it names.
    #[error("a compressed history chunk of {len} bytes does not unpack")]
    Damaged {
        /// The length of the stored chunk.
        len: usize,
    },
}

/// Encoded events behind a codec byte, as they are.
pub fn plain(events: &[u8]) -> Bytes {
    let mut chunk = BytesMut::with_capacity(events.len() + 1);
    chunk.put_u8(PLAIN);
    chunk.put_slice(events);
    chunk.freeze()
}

/// Encoded events behind a codec byte, compressed if that is shorter.
///
/// ```
/// use everstep_store::chunk;
/// let events = [7_u8; 1000];
/// let packed = chunk::pack(&events);
/// assert!(packed.len() < 50);
/// assert_eq!(chunk::unpack(&packed).unwrap(), events.as_slice());
/// ```
pub fn pack(events: &[u8]) -> Bytes {
    let Ok(len) = u32::try_from(events.len()) else { return plain(events) };
    let block = lz4_flex::block::compress(events);
    if block.len() + LZ4_HEAD > events.len() {
        return plain(events);
    }
    let mut chunk = BytesMut::with_capacity(block.len() + LZ4_HEAD);
    chunk.put_u8(LZ4);
    chunk.put_u32_le(len);
    chunk.put_slice(&block);
    chunk.freeze()
}

/// The encoded events of a chunk.
pub fn unpack(chunk: &[u8]) -> Result<Bytes, ChunkError> {
    match chunk.split_first() {
        None => Err(ChunkError::Empty),
        Some((&PLAIN, events)) => Ok(Bytes::copy_from_slice(events)),
        Some((&LZ4, rest)) => unpack_lz4(rest).ok_or(ChunkError::Damaged { len: chunk.len() }),
        Some((&codec, _)) => Err(ChunkError::UnknownCodec { codec }),
    }
}

fn unpack_lz4(rest: &[u8]) -> Option<Bytes> {
    let (len, block) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    if len > block.len().saturating_mul(LZ4_RATIO_MAX) {
        return None;
    }
    let events = lz4_flex::block::decompress(block, len).ok()?;
    (events.len() == len).then(|| events.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_shrink_stays_plain() {
        assert_eq!(pack(b"abc").as_ref(), b"\0abc");
        assert_eq!(pack(b"").as_ref(), b"\0");
        assert_eq!(unpack(&pack(b"")).unwrap().as_ref(), b"");
    }

    #[test]
    fn what_shrinks_is_an_lz4_block_behind_its_length() {
        let packed = pack(&[1; 300]);
        assert_eq!(packed[..5], [1, 44, 1, 0, 0]);
        assert_eq!(unpack(&packed).unwrap(), [1_u8; 300].as_slice());
    }

    #[test]
    fn bytes_that_are_no_chunk_are_refused_with_a_reason() {
        let text = |bytes: &[u8]| unpack(bytes).unwrap_err().to_string();
        assert_eq!(text(&[]), "a history chunk is empty");
        assert_eq!(text(&[9, 1]), "a history chunk has codec 9, which this version does not know");
        assert_eq!(
            text(&[1, 255, 255, 255, 255, 0]),
            "a compressed history chunk of 6 bytes does not unpack"
        );
        assert_eq!(text(&[1, 2]), "a compressed history chunk of 2 bytes does not unpack");
    }
}
