//! The protobuf wire format, written by hand: what lies under [`crate::stored`].
//!
//! W1  Whatever the bytes, reading ends with a value or an [`Error`]: no panic, no endless loop, and memory only in
//!     proportion to the input. A length is believed once the bytes are there.
//! W2  A field of a number nobody asks for is skipped, whatever its wire type.
//! W3  Writing allocates only by growing the target. A nested message is encoded in place behind one byte kept for its
//!     length and moved only if it turns out longer than 127 bytes.
//! W4  Types that contain themselves nest at most [`DEPTH_MAX`] deep: a writer leaves out what lies deeper, a reader
//!     refuses it. So what was written can be read.
//!
//! Absent on purpose: groups (wire types 3 and 4), which protobuf gave up; they are refused.

use std::fmt;

/// How deep a type that contains itself may nest.
pub const DEPTH_MAX: u8 = 64;

/// The longest varint: ten times seven bits hold 64.
const VARINT_BYTES_MAX: usize = 10;
/// Protobuf leaves three bits of a tag to the wire type.
const FIELD_NUMBER_MAX: u64 = (1 << 29) - 1;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {problem}")]
pub struct Error {
    /// How far into the outermost message.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// They end too early.
    Truncated,
    /// A varint does not fit 64 bits.
    LongVarint,
    /// A field number is 0 or above 2^29 - 1.
    FieldNumber,
    /// No such wire type, or not the one that the field has.
    WireType(u8),
    /// A text is not UTF-8.
    Utf8,
    /// A number or a length is outside what the field can hold.
    Range,
    /// A field without which the message means nothing is absent.
    Missing(u32),
    /// None of the variants that this version knows.
    Variant,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// A codec that this version does not know.
    Codec(u8),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the data ends too early"),
            Self::LongVarint => f.write_str("a varint of more than 64 bits"),
            Self::FieldNumber => f.write_str("a field number out of range"),
            Self::WireType(wire) => write!(f, "unexpected wire type {wire}"),
            Self::Utf8 => f.write_str("a text that is not UTF-8"),
            Self::Range => f.write_str("a value out of range"),
            Self::Missing(number) => write!(f, "field {number} is missing"),
            Self::Variant => f.write_str("none of the variants that this version knows"),
            Self::TooDeep => write!(f, "nested deeper than {DEPTH_MAX}"),
            Self::Codec(codec) => write!(f, "unknown codec {codec}"),
        }
    }
}

/// Appends fields to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    depth: u8,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, depth: 0 }
    }

    /// A whole number.
    #[inline]
    pub fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, VARINT);
        put_varint(self.out, value);
    }

    /// A signed number, small ones of both signs in few bytes.
    #[inline]
    pub fn zigzag(&mut self, number: u32, value: i64) {
        self.varint(number, ((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A number that always takes eight bytes.
    #[inline]
    pub fn fixed64(&mut self, number: u32, value: u64) {
        self.tag(number, FIXED64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A number that always takes four bytes.
    #[inline]
    pub fn fixed32(&mut self, number: u32, value: u32) {
        self.tag(number, FIXED32);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes, or the UTF-8 of a text.
    #[inline]
    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        self.tag(number, DELIMITED);
        put_varint(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Bytes as the only field, number `inner`, of a nested message: nothing is moved however long they are.
    #[inline]
    pub fn nested_bytes(&mut self, number: u32, inner: u32, value: &[u8]) {
        let body = varint_len(u64::from(inner) << 3) + varint_len(value.len() as u64) + value.len();
        self.tag(number, DELIMITED);
        put_varint(self.out, body as u64);
        self.bytes(inner, value);
    }

    /// A nested message whose fields `fields` writes.
    #[inline]
    pub fn nested(&mut self, number: u32, fields: impl FnOnce(&mut Self)) {
        self.tag(number, DELIMITED);
        self.sized(fields);
    }

    /// A nested message that is left out if `fields` writes nothing.
    #[inline]
    pub fn nested_unless_empty(&mut self, number: u32, fields: impl FnOnce(&mut Self)) {
        let before = self.out.len();
        self.tag(number, DELIMITED);
        let after_tag = self.out.len();
        self.sized(fields);
        if self.out.len() == after_tag + 1 {
            self.out.truncate(before);
        }
    }

    /// Runs `fields` one level deeper, or not at all if that is too deep (W4).
    pub fn deeper(&mut self, fields: impl FnOnce(&mut Self)) {
        if self.depth < DEPTH_MAX {
            self.depth += 1;
            fields(self);
            self.depth -= 1;
        }
    }

    /// Fields that are encoded already.
    #[inline]
    pub fn splice(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    #[inline]
    fn sized(&mut self, fields: impl FnOnce(&mut Self)) {
        let at = self.out.len();
        self.out.push(0);
        fields(self);
        let length = self.out.len() - at - 1;
        if length < 0x80 {
            self.out[at] = length as u8;
        } else {
            widen(self.out, at, length);
        }
    }

    #[inline]
    fn tag(&mut self, number: u32, wire: u8) {
        debug_assert!(number > 0 && u64::from(number) <= FIELD_NUMBER_MAX);
        put_varint(self.out, u64::from(number) << 3 | u64::from(wire));
    }
}

#[inline]
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Makes room for a length of several bytes where one byte was kept at `at`.
fn widen(out: &mut Vec<u8>, at: usize, length: usize) {
    let extra = varint_len(length as u64) - 1;
    let end = out.len();
    out.resize(end + extra, 0);
    out.copy_within(at + 1..end, at + 1 + extra);
    let mut rest = length;
    for slot in &mut out[at..at + extra] {
        *slot = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[at + extra] = rest as u8;
}

/// Reads the fields of one message, in the order in which they stand.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
    depth: u8,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which are one whole message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::starting_at(bytes, 0)
    }

    /// The same for a part of something larger, so that errors name the byte `at` of the whole.
    pub fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self { rest: bytes, at, depth: 0 }
    }

    /// The next field and its number; `None` at the end. A field that is not wanted needs no further step (W2).
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, Found<'a>)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let at = self.at;
        let tag = self.take_varint()?;
        let (number, wire) = (tag >> 3, (tag & 7) as u8);
        if number == 0 || number > FIELD_NUMBER_MAX {
            return Err(Error { at, problem: Problem::FieldNumber });
        }
        let content = match wire {
            VARINT => Content::Varint(self.take_varint()?),
            FIXED64 => Content::Fixed64(u64::from_le_bytes(self.take_array()?)),
            FIXED32 => Content::Fixed32(u32::from_le_bytes(self.take_array()?)),
            DELIMITED => Content::Delimited(self.take_delimited()?),
            other => return Err(Error { at, problem: Problem::WireType(other) }),
        };
        Ok(Some((number as u32, Found { content, end: self.at, depth: self.depth })))
    }

    /// An error at the present byte.
    #[cold]
    pub fn error(&self, problem: Problem) -> Error {
        Error { at: self.at, problem }
    }

    fn take_varint(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().copied().take(VARINT_BYTES_MAX).enumerate() {
            if index == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.skip(index + 1);
                return Ok(value);
            }
        }
        let is_short = self.rest.len() < VARINT_BYTES_MAX;
        Err(self.error(if is_short { Problem::Truncated } else { Problem::LongVarint }))
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        match self.rest.first_chunk::<N>() {
            Some(array) => {
                self.skip(N);
                Ok(*array)
            }
            None => Err(self.error(Problem::Truncated)),
        }
    }

    fn take_delimited(&mut self) -> Result<&'a [u8], Error> {
        let length = self.take_varint()?;
        let bytes = usize::try_from(length).ok().and_then(|length| self.rest.get(..length));
        match bytes {
            Some(bytes) => {
                self.skip(bytes.len());
                Ok(bytes)
            }
            None => Err(self.error(Problem::Truncated)),
        }
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
        self.at += count;
    }
}

/// What stands in one field.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    content: Content<'a>,
    end: usize,
    depth: u8,
}

#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Delimited(&'a [u8]),
}

impl<'a> Found<'a> {
    /// What [`Writer::varint`] wrote.
    #[inline]
    pub fn varint(self) -> Result<u64, Error> {
        match self.content {
            Content::Varint(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// What [`Writer::zigzag`] wrote.
    #[inline]
    pub fn zigzag(self) -> Result<i64, Error> {
        self.varint().map(|value| (value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// What [`Writer::fixed64`] wrote.
    #[inline]
    pub fn fixed64(self) -> Result<u64, Error> {
        match self.content {
            Content::Fixed64(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// What [`Writer::fixed32`] wrote.
    #[inline]
    pub fn fixed32(self) -> Result<u32, Error> {
        match self.content {
            Content::Fixed32(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// What [`Writer::bytes`] wrote.
    #[inline]
    pub fn bytes(self) -> Result<&'a [u8], Error> {
        match self.content {
            Content::Delimited(bytes) => Ok(bytes),
            _ => Err(self.unexpected()),
        }
    }

    /// The text that [`Writer::bytes`] wrote.
    #[inline]
    pub fn text(self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.error(Problem::Utf8))
    }

    /// The fields that [`Writer::nested`] wrote.
    #[inline]
    pub fn nested(self) -> Result<Reader<'a>, Error> {
        let bytes = self.bytes()?;
        Ok(Reader { rest: bytes, at: self.end - bytes.len(), depth: self.depth })
    }

    /// The same field one level deeper, unless that is too deep (W4).
    pub fn deeper(self) -> Result<Self, Error> {
        if self.depth < DEPTH_MAX {
            Ok(Self { depth: self.depth + 1, ..self })
        } else {
            Err(self.error(Problem::TooDeep))
        }
    }

    /// An error at this field.
    #[cold]
    pub fn error(self, problem: Problem) -> Error {
        Error { at: self.end, problem }
    }

    #[cold]
    fn unexpected(self) -> Error {
        let wire = match self.content {
            Content::Varint(_) => VARINT,
            Content::Fixed64(_) => FIXED64,
            Content::Fixed32(_) => FIXED32,
            Content::Delimited(_) => DELIMITED,
        };
        self.error(Problem::WireType(wire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        fields(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn numbers_of_all_sizes_come_back() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let bytes = written(|w| {
                w.varint(1, value);
                w.zigzag(2, value.cast_signed());
                w.fixed64(3, value);
            });
            let mut reader = Reader::new(&bytes);
            let mut next = || reader.next_field().unwrap().unwrap().1;
            assert_eq!(next().varint().unwrap(), value);
            assert_eq!(next().zigzag().unwrap(), value.cast_signed());
            assert_eq!(next().fixed64().unwrap(), value);
            assert_eq!(varint_len(value), written(|w| put_varint(w.out, value)).len());
        }
    }

    #[test]
    fn the_examples_of_the_protobuf_documentation_hold() {
        assert_eq!(written(|w| w.varint(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(
            written(|w| w.bytes(2, b"testing")),
            [0x12, 7, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]
        );
        assert_eq!(written(|w| w.nested(3, |w| w.varint(1, 150))), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(written(|w| w.zigzag(1, -2)), [0x08, 3]);
    }

    #[test]
    fn a_nested_message_of_any_length_is_framed_alike() {
        for length in [0, 1, 124, 125, 126, 127, 128, 16_380, 16_384, 2_097_150, 2_097_160] {
            let payload = vec![7; length];
            let moved = written(|w| w.nested(9, |w| w.bytes(1, &payload)));
            assert_eq!(moved, written(|w| w.nested_bytes(9, 1, &payload)), "{length}");
            let mut reader = Reader::new(&moved);
            let (number, found) = reader.next_field().unwrap().unwrap();
            let (_, inner) = found.nested().unwrap().next_field().unwrap().unwrap();
            assert_eq!((number, inner.bytes().unwrap()), (9, &payload[..]));
            assert!(reader.next_field().unwrap().is_none());
        }
    }

    #[test]
    fn an_error_names_its_byte() {
        let check = |bytes: &[u8], at, problem| {
            let mut reader = Reader::new(bytes);
            let error = loop {
                match reader.next_field() {
                    Ok(Some((_, found))) => {
                        if let Err(error) = found.nested().and_then(|mut r| r.next_field()) {
                            break error;
                        }
                    }
                    Ok(None) => panic!("{bytes:?} is well-formed"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error, Error { at, problem });
        };
        check(&[0x0a], 1, Problem::Truncated);
        check(&[0x0a, 5, 1], 2, Problem::Truncated);
        check(&[0x0a, 2, 0x08, 0x80], 3, Problem::Truncated);
        check(&[0x02, 0], 0, Problem::FieldNumber);
        check(&[0x0b], 0, Problem::WireType(3));
        check(&[0x08, 1], 2, Problem::WireType(0));
        check(
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            1,
            Problem::LongVarint,
        );
    }
}
