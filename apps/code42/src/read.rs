//! The content of an object as JSON values, one at a time.
//!
//! I1  Memory holds one value and some buffers, whatever the object's size. A value may have [`ITEM_BYTES`] at most.
//! I2  A bad line is handed on with its number, and the next lines are read.
//! I3  Compression that is broken, and a document that is, end the reading: nobody can say what would follow.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// A JSON value may have so many bytes.
pub(crate) const ITEM_BYTES: u64 = 8 << 20;
/// Characters of a bad line that are kept.
const SHOWN: usize = 1000;

/// How an object's content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Compressed, one value a line.
    GzipLines,
    /// One document; of an array, each element counts.
    Document,
}

impl Form {
    /// By the name; there are no others.
    pub(crate) fn of(key: &str) -> Option<Self> {
        let ends = |end: &str| {
            let at = key.len().checked_sub(end.len());
            at.and_then(|at| key.get(at..)).is_some_and(|found| found.eq_ignore_ascii_case(end))
        };
        if ends(".gz") {
            return Some(Self::GzipLines);
        }
        ends(".json").then_some(Self::Document)
    }
}

/// A part of an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// What should be a JSON value. Lines and elements are counted from 1.
    Value { number: u64, json: &'a [u8] },
    /// A line that is none, how it begins, and why.
    Bad { number: u64, text: &'a [u8], cause: &'static str },
}

/// Reads all items. Whoever takes them may end it with an error of its own.
pub(crate) fn items(
    form: Form,
    content: impl Read,
    bytes_max: u64,
    take: &mut dyn FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    match form {
        Form::GzipLines => {
            let plain = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, content));
            let (limited, _) = Limited::new(plain, bytes_max, u64::MAX);
            lines(BufReader::with_capacity(256 << 10, limited), take)
        }
        Form::Document => {
            let (limited, since) = Limited::new(content, bytes_max, ITEM_BYTES + (64 << 10));
            document(BufReader::with_capacity(64 << 10, limited), &since, take)
        }
    }
}

fn lines(
    mut content: impl BufRead,
    take: &mut dyn FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        if (&mut content).take(ITEM_BYTES + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 > ITEM_BYTES && line.last() != Some(&b'\n') {
            let cause = "the line is longer than 8 MiB";
            take(Item::Bad { number, text: beginning(&line), cause })?;
            content.skip_until(b'\n')?;
            continue;
        }
        let mut json = line.as_slice();
        if number == 1 {
            json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        }
        let json = json.trim_ascii();
        if !json.is_empty() {
            take(Item::Value { number, json })?;
        }
    }
}

/// How a text begins, without half a letter at its end.
pub(crate) fn beginning(text: &[u8]) -> &[u8] {
    let mut end = text.len().min(SHOWN);
    while end < text.len() && end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}

fn document(
    mut content: impl BufRead,
    since: &Rc<Cell<u64>>,
    take: &mut dyn FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let first = first_byte(&mut content)?;
    let mut reader = serde_json::Deserializer::from_reader(content);
    if first == Some(b'[') {
        let mut stopped = None;
        let elements = Elements { since, stopped: &mut stopped, take };
        let read = reader.deserialize_seq(elements).and_then(|()| reader.end());
        return stopped.map_or_else(|| read.map_err(io::Error::from), Err);
    }
    let value: Box<RawValue> = serde::Deserialize::deserialize(&mut reader)?;
    reader.end()?;
    take(Item::Value { number: 1, json: value.get().as_bytes() })
}

/// The first byte that is no space, which stays; a mark of the byte order goes.
fn first_byte(content: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let buffer = content.fill_buf()?;
        let Some(first) = buffer.first() else { return Ok(None) };
        let skipped = match first {
            0xef if buffer.starts_with(b"\xef\xbb\xbf") => 3,
            byte if byte.is_ascii_whitespace() => 1,
            byte => return Ok(Some(*byte)),
        };
        content.consume(skipped);
    }
}

struct Elements<'a> {
    since: &'a Rc<Cell<u64>>,
    stopped: &'a mut Option<io::Error>,
    take: &'a mut dyn FnMut(Item<'_>) -> io::Result<()>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(value) = array.next_element::<Box<RawValue>>()? {
            number += 1;
            self.since.set(0);
            if let Err(error) = (self.take)(Item::Value { number, json: value.get().as_bytes() }) {
                *self.stopped = Some(error);
                return Err(serde::de::Error::custom("it was stopped"));
            }
        }
        Ok(())
    }
}

/// A reader that gives so many bytes at most, and so many between two marks.
struct Limited<R> {
    inner: R,
    left: u64,
    most: u64,
    since: Rc<Cell<u64>>,
    most_since: u64,
}

impl<R> Limited<R> {
    fn new(inner: R, most: u64, most_since: u64) -> (Self, Rc<Cell<u64>>) {
        let since = Rc::new(Cell::new(0));
        (Self { inner, left: most, most, since: Rc::clone(&since), most_since }, since)
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            let most = self.most;
            let text =
                format!("it holds more than {most} bytes; C42_MAX_OBJECT_BYTES allows no more");
            return Err(io::Error::other(text));
        };
        self.left = left;
        self.since.set(self.since.get() + read as u64);
        if self.since.get() > self.most_since {
            return Err(io::Error::other("it has a JSON value of more than 8 MiB"));
        }
        Ok(read)
    }
}

/// What arrives piece by piece, for code that waits.
pub(crate) struct Pieces {
    from: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Pieces {
    pub(crate) fn new(from: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { from, piece: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.piece.has_remaining() {
            match self.from.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let read = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(form: Form, content: &[u8], most: u64) -> (Vec<String>, Result<(), String>) {
        let mut found = Vec::new();
        let ended = items(form, content, most, &mut |item| {
            found.push(match item {
                Item::Value { number, json } => {
                    format!("{number} {}", String::from_utf8_lossy(json))
                }
                Item::Bad { number, text, cause } => format!("{number} {cause}, {}", text.len()),
            });
            Ok(())
        });
        (found, ended.map_err(|error| error.to_string()))
    }

    #[test]
    fn the_name_says_the_form() {
        assert_eq!(Form::of("a/b.json.gz"), Some(Form::GzipLines));
        assert_eq!(Form::of("B.JSON"), Some(Form::Document));
        assert_eq!((Form::of("a.csv"), Form::of("z"), Form::of("їїї")), (None, None, None));
    }

    #[test]
    fn lines_of_all_members_are_read_and_blank_ones_left_out() {
        let both = [gzip(b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"a\""), gzip(b":2}\n3")].concat();
        let (found, ended) = read(Form::GzipLines, &both, 1000);
        assert_eq!(
            (found, ended),
            (vec!["1 {\"a\":1}".into(), "4 {\"a\":2}".into(), "5 3".into()], Ok(()))
        );
    }

    #[test]
    fn a_line_without_an_end_is_bad_and_the_next_is_read() {
        let mut text = vec![b'x'; 9 << 20];
        text.extend_from_slice(b"\n{}\n");
        let (found, ended) = read(Form::GzipLines, &gzip(&text), u64::MAX);
        assert_eq!(found, ["1 the line is longer than 8 MiB, 1000", "2 {}"]);
        assert_eq!(ended, Ok(()));
    }

    #[test]
    fn broken_compression_ends_the_reading() {
        let whole = gzip(&b"{\"a\":1}\n".repeat(1000));
        let (_, ended) = read(Form::GzipLines, &whole[..whole.len() - 4], u64::MAX);
        assert!(ended.is_err());
        let (_, ended) = read(Form::GzipLines, b"{\"a\":12345}\n", u64::MAX);
        assert_eq!(ended, Err("invalid gzip header".to_owned()));
    }

    #[test]
    fn what_grows_too_large_is_refused() {
        let bomb = gzip(&vec![b' '; 5_000_000]);
        assert!(bomb.len() < 50_000);
        let (_, ended) = read(Form::GzipLines, &bomb, 1_000_000);
        let text = "it holds more than 1000000 bytes; C42_MAX_OBJECT_BYTES allows no more";
        assert_eq!(ended, Err(text.to_owned()));
    }

    #[test]
    fn a_document_is_one_value_and_an_array_one_for_each_element() {
        let (found, ended) = read(Form::Document, b" {\"a\": [1, 2]} ", 1000);
        assert_eq!((found, ended), (vec!["1 {\"a\": [1, 2]}".into()], Ok(())));
        let (found, ended) = read(Form::Document, b"\xef\xbb\xbf [ {\"a\":1} , 2 ]", 1000);
        assert_eq!((found, ended), (vec!["1 {\"a\":1}".into(), "2 2".into()], Ok(())));
        let (found, ended) = read(Form::Document, b"[]", 1000);
        assert_eq!((found.len(), ended), (0, Ok(())));
        let (found, ended) = read(Form::Document, b"[1, {]", 1000);
        assert_eq!(
            (found, ended),
            (vec!["1 1".into()], Err("key must be a string at line 1 column 6".into()))
        );
    }

    #[test]
    fn an_element_without_an_end_is_refused() {
        let long = format!("[1,\"{}\"]", "x".repeat(9 << 20));
        let (found, ended) = read(Form::Document, long.as_bytes(), u64::MAX);
        assert_eq!(found, ["1 1"]);
        assert_eq!(ended, Err("it has a JSON value of more than 8 MiB".to_owned()));
    }
}
