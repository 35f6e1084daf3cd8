//! Records become batches that a service accepts.
//!
//! P1  A batch is a JSON array within the limits. Records keep their order, and none is split.
//! P2  A field that is too long is cut at a letter's border, ends with a marker, and is counted. Nothing is cut silently.
//! P3  A record that fits no batch is refused and left out; the caller still has it.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// What a service accepts in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the whole array, before compression.
    pub bytes: usize,
    /// Of records in it.
    pub records: usize,
    /// Of one field's value.
    pub field_bytes: usize,
}

impl Limits {
    /// Of the Logs Ingestion API, with a margin: 1 MB a call, 64 KB a field.
    pub const LOGS_INGESTION: Self =
        Self { bytes: 1_000_000, records: usize::MAX, field_bytes: 64 << 10 };
    /// Of the Data Collector API, with a margin: 30 MB a post, 32 KB a field.
    pub const DATA_COLLECTOR: Self =
        Self { bytes: 30_000_000, records: usize::MAX, field_bytes: 32 << 10 };

    /// The same with at most so many records; at least one.
    #[must_use]
    pub const fn records(self, records: usize) -> Self {
        Self { records: if records == 0 { 1 } else { records }, ..self }
    }
}

/// Records for one request: a JSON array, ready to send. A clone shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    json: Bytes,
    records: usize,
}

impl Batch {
    /// A batch from a text that [`Batch::json`] gave and that was stored in between.
    pub fn from_json(json: impl Into<Bytes>, records: usize) -> Self {
        Self { json: json.into(), records }
    }

    /// The array.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// How many records it holds.
    pub fn records(&self) -> usize {
        self.records
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} records, {} bytes)", self.records, self.json.len())
    }
}

/// Why a record cannot go into any batch. It is left out and the packer goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// It is not a JSON object.
    #[error("a record must be a JSON object, and this is not: {beginning}")]
    NotAnObject {
        /// How it begins.
        beginning: String,
    },
    /// It is larger than a whole batch may be, its long fields cut.
    #[error(
        "a record of {bytes} bytes does not fit a request of {limit} bytes; make its fields fewer or shorter"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The size of a batch.
        limit: usize,
    },
}

/// Takes serialized records one at a time and gives batches.
#[derive(Debug)]
pub struct Packer {
    limits: Limits,
    json: Vec<u8>,
    records: usize,
    cut_fields: u64,
}

impl Packer {
    /// A packer for a service's limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, json: Vec::new(), records: 0, cut_fields: 0 }
    }

    /// Adds a record, which is a valid JSON object without line ends around it. The batch before it comes back once the
    /// record does not fit it.
    pub fn push(&mut self, record: &[u8]) -> Result<Option<Batch>, PackError> {
        let cut = cut_fields(record, self.limits.field_bytes)?;
        let record = cut.as_ref().map_or(record, |(cut, _)| cut);
        if record.len() + 2 > self.limits.bytes {
            return Err(PackError::TooLarge { bytes: record.len(), limit: self.limits.bytes });
        }
        self.cut_fields += cut.as_ref().map_or(0, |(_, fields)| *fields);
        // The open array, a comma, the record, the closing bracket.
        let is_full = self.records >= self.limits.records
            || self.json.len() + 1 + record.len() + 1 > self.limits.bytes;
        let full = if self.records > 0 && is_full { self.take() } else { None };
        self.json.push(if self.records == 0 { b'[' } else { b',' });
        self.json.extend_from_slice(record);
        self.records += 1;
        Ok(full)
    }

    /// What is left, if anything; the packer is empty afterwards.
    pub fn take(&mut self) -> Option<Batch> {
        if self.records == 0 {
            return None;
        }
        self.json.push(b']');
        let capacity = self.json.len();
        let json = std::mem::replace(&mut self.json, Vec::with_capacity(capacity));
        Some(Batch { json: json.into(), records: std::mem::take(&mut self.records) })
    }

    /// The last batch, if anything is left.
    pub fn finish(mut self) -> Option<Batch> {
        self.take()
    }

    /// How many fields were cut so far.
    pub fn cut_fields(&self) -> u64 {
        self.cut_fields
    }
}

/// The record with its long fields cut, and how many those were. `None`: it can stay as it is.
fn cut_fields(record: &[u8], most: usize) -> Result<Option<(Vec<u8>, u64)>, PackError> {
    let is_object = record.first() == Some(&b'{') && record.last() == Some(&b'}');
    if !is_object {
        return Err(not_an_object(record));
    }
    // A field cannot be longer than its record.
    if record.len() <= most {
        return Ok(None);
    }
    let mut reader = serde_json::Deserializer::from_slice(record);
    let fields = reader.deserialize_map(Fields).map_err(|_| not_an_object(record))?;
    let mut cut = 0;
    let mut whole = Vec::with_capacity(record.len());
    for (name, value) in fields {
        whole.push(if whole.is_empty() { b'{' } else { b',' });
        whole.extend_from_slice(quoted(&name).as_bytes());
        whole.push(b':');
        match shortened(value.get(), most) {
            None => whole.extend_from_slice(value.get().as_bytes()),
            Some(short) => {
                cut += 1;
                whole.extend_from_slice(quoted(&short).as_bytes());
            }
        }
    }
    whole.push(b'}');
    Ok((cut > 0).then_some((whole, cut)))
}

fn not_an_object(record: &[u8]) -> PackError {
    let text = String::from_utf8_lossy(&record[..record.len().min(200)]);
    PackError::NotAnObject { beginning: text.chars().take(40).collect() }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text can be written as JSON")
}

/// The value as a text that is short enough; `None` where it is already. What is no text is cut as its JSON.
fn shortened(json: &str, most: usize) -> Option<String> {
    if json.len() <= most {
        return None;
    }
    let text =
        if json.starts_with('"') { serde_json::from_str(json).ok()? } else { json.to_owned() };
    if text.len() <= most {
        return None;
    }
    let marker = format!("...[cut, {} bytes]", text.len());
    let end = text.floor_char_boundary(most.saturating_sub(marker.len()));
    Some(format!("{}{marker}", &text[..end]))
}

/// Reads an object as pairs in their order, values left as they are.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SMALL: Limits = Limits { bytes: 40, records: 3, field_bytes: 64 };

    fn pack(limits: Limits, records: &[&str]) -> Vec<String> {
        let mut packer = Packer::new(limits);
        let mut batches = Vec::new();
        for record in records {
            batches.extend(packer.push(record.as_bytes()).unwrap());
        }
        batches.extend(packer.finish());
        batches.iter().map(|batch| String::from_utf8(batch.json().to_vec()).unwrap()).collect()
    }

    #[test]
    fn batches_end_at_the_count_of_records() {
        assert_eq!(
            pack(SMALL, &["{\"a\":1}"; 4]),
            ["[{\"a\":1},{\"a\":1},{\"a\":1}]", "[{\"a\":1}]"]
        );
        assert!(pack(SMALL, &[]).is_empty());
    }

    #[test]
    fn batches_fill_their_bytes_to_the_last_one() {
        let (half, rest) = (
            format!("{{\"a\":\"{}\"}}", "x".repeat(10)),
            format!("{{\"a\":\"{}\"}}", "y".repeat(11)),
        );
        let whole = pack(SMALL, &[&half, &rest]);
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].len(), 40);
        let longer = format!("{{\"a\":\"{}\"}}", "y".repeat(12));
        assert_eq!(pack(SMALL, &[&half, &longer]).len(), 2);
    }

    #[test]
    fn a_record_that_fits_no_batch_is_refused_and_the_rest_goes_on() {
        let mut packer = Packer::new(SMALL);
        packer.push(b"{\"a\":1}").unwrap();
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(40));
        assert_eq!(
            packer.push(large.as_bytes()).unwrap_err().to_string(),
            "a record of 48 bytes does not fit a request of 40 bytes; make its fields fewer or shorter"
        );
        assert_eq!(
            packer.push(b"[1]").unwrap_err().to_string(),
            "a record must be a JSON object, and this is not: [1]"
        );
        packer.push(b"{\"b\":2}").unwrap();
        assert_eq!(packer.finish().unwrap().json(), "[{\"a\":1},{\"b\":2}]");
    }

    #[test]
    fn a_long_field_is_cut_with_a_marker_and_counted() {
        let record = json!({
            "a": "short",
            "long": "ї".repeat(40_000),
            "list": vec![1; 40_000],
            "n": 1.5,
            "end": "\u{1f980}".repeat(16_384),
        });
        let mut packer = Packer::new(Limits::LOGS_INGESTION);
        packer.push(record.to_string().as_bytes()).unwrap();
        assert_eq!(packer.cut_fields(), 2);
        let rows: Value = serde_json::from_slice(packer.finish().unwrap().json()).unwrap();
        let long = rows[0]["long"].as_str().unwrap();
        assert!(long.len() <= 65_536 && long.len() > 65_530, "{}", long.len());
        assert!(long.ends_with("ї...[cut, 80000 bytes]"), "{}", &long[long.len() - 40..]);
        assert!(rows[0]["list"].as_str().unwrap().ends_with(",...[cut, 80001 bytes]"));
        for kept in ["a", "n", "end"] {
            assert_eq!(rows[0][kept], record[kept]);
        }
    }

    #[test]
    fn a_text_is_measured_without_its_escapes() {
        let record = json!({"a": "\n".repeat(60_000)}).to_string();
        let mut packer = Packer::new(Limits::LOGS_INGESTION);
        packer.push(record.as_bytes()).unwrap();
        assert_eq!((packer.cut_fields(), record.len()), (0, 120_008));
        assert_eq!(packer.finish().unwrap().json(), &format!("[{record}]"));
    }
}
