//! Records: what a row of the table is made of.
//!
//! R1  The raw format keeps the JSON as it came, without the space between its parts: the order of keys and every digit stay.
//! R2  The flat format takes what it knows; what is missing is an empty text, 0 or false.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, value::RawValue};

use crate::settings::{Format, MaxAge};

/// Turns the JSON values of one object into records.
pub(crate) struct Writer {
    format: Format,
    /// Flat records of before are left out.
    oldest: Option<Timestamp>,
    bucket: String,
    key: String,
    time: String,
    record: Vec<u8>,
    text: Vec<u8>,
}

/// What became of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written<'a> {
    Record(&'a [u8]),
    /// It is older than records may be.
    Old,
}

impl Writer {
    /// For values of an object, by its bucket and key as the notice has them, and the notice's time.
    pub(crate) fn new(
        format: Format,
        (bucket, key, time): (&str, &str, Option<&str>),
        max_age: MaxAge,
        began: Timestamp,
    ) -> Self {
        let oldest = match max_age {
            MaxAge::Of(age) => Some(before(began, age)),
            MaxAge::OldFiles | MaxAge::Off => None,
        };
        let time = time.map_or_else(|| "null".to_owned(), quoted);
        let (bucket, key) = (quoted(bucket), quoted(key));
        Self { format, oldest, bucket, key, time, record: Vec::new(), text: Vec::new() }
    }

    /// The record of one JSON value, or what is wrong with it.
    pub(crate) fn write(&mut self, json: &[u8]) -> Result<Written<'_>, String> {
        self.record.clear();
        match self.format {
            Format::Raw => {
                let value: &RawValue =
                    serde_json::from_slice(json).map_err(|error| wrong(&error))?;
                self.raw(value.get());
            }
            Format::Flat => {
                let value: Value = serde_json::from_slice(json).map_err(|error| wrong(&error))?;
                if !value.is_object() {
                    return Err("a flat record needs a JSON object".to_owned());
                }
                if self.oldest.is_some_and(|oldest| is_before(&value["@timestamp"], oldest)) {
                    return Ok(Written::Old);
                }
                self.flat(&value);
            }
        }
        Ok(Written::Record(&self.record))
    }

    fn raw(&mut self, json: &str) {
        let Self { bucket, key, time, .. } = self;
        let begin = format!(
            "{{\"Bucket_Name\":{bucket},\"Key\":{key},\"Actual_Time\":{time},\"Raw_Data\":"
        );
        self.text.clear();
        compact(json.as_bytes(), &mut self.text);
        self.record.extend_from_slice(begin.as_bytes());
        let text = std::str::from_utf8(&self.text).expect("space between parts is ASCII");
        serde_json::to_writer(&mut self.record, text).expect("memory takes all");
        self.record.push(b'}');
    }

    fn flat(&mut self, value: &Value) {
        for (column, paths, kind) in COLUMNS {
            self.record.push(if self.record.is_empty() { b'{' } else { b',' });
            self.record.extend_from_slice(format!("\"{column}\":").as_bytes());
            let found = paths.iter().map(|path| at(value, path)).find(|found| !found.is_null());
            let cell = kind.cell(found.unwrap_or(&Value::Null));
            serde_json::to_writer(&mut self.record, &cell).expect("memory takes all");
        }
        let Self { bucket, key, time, .. } = self;
        let end = format!(",\"Bucket_Name\":{bucket},\"Key\":{key},\"Event_Time\":{time}}}");
        self.record.extend_from_slice(end.as_bytes());
    }
}

fn wrong(error: &serde_json::Error) -> String {
    format!("no JSON: {error}")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text can be written as JSON")
}

/// That long before.
pub(crate) fn before(moment: Timestamp, age: Duration) -> Timestamp {
    moment.checked_sub(age).unwrap_or(Timestamp::MIN)
}

/// What cannot be read as a time is not old.
fn is_before(time: &Value, oldest: Timestamp) -> bool {
    let time = time.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.is_some_and(|time| time < oldest)
}

/// Valid JSON without the space between its parts.
fn compact(json: &[u8], into: &mut Vec<u8>) {
    let (mut inside, mut escaped) = (false, false);
    for &byte in json {
        if inside {
            into.push(byte);
            inside = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if !byte.is_ascii_whitespace() {
            into.push(byte);
            inside = byte == b'"';
        }
    }
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, part| &value[part])
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Boolean,
    /// The JSON as text.
    Json,
}

impl Kind {
    fn cell(self, value: &Value) -> Value {
        match (self, value) {
            (Self::Text | Self::Json, Value::Null) => "".into(),
            (Self::Text, Value::String(_))
            | (Self::Number, Value::Number(_))
            | (Self::Boolean, Value::Bool(_)) => value.clone(),
            (Self::Text | Self::Json, _) => value.to_string().into(),
            (Self::Number, Value::String(text)) => {
                text.parse::<serde_json::Number>().map_or(0.into(), Value::Number)
            }
            (Self::Number, _) => 0.into(),
            (Self::Boolean, Value::String(text)) => text.eq_ignore_ascii_case("true").into(),
            (Self::Boolean, _) => false.into(),
        }
    }
}

/// The columns of the flat format before those of the notice: name, where in the value, kind.
const COLUMNS: &[(&str, &[&str], Kind)] = &[
    ("Timestamp", &["@timestamp"], Kind::Text),
    ("Event_ID", &["event.id"], Kind::Text),
    ("Event_Action", &["event.action"], Kind::Text),
    ("Event_Observer", &["event.observer"], Kind::Text),
    ("Event_Inserted", &["event.inserted"], Kind::Text),
    ("Event_Ingested", &["event.ingested"], Kind::Text),
    ("Event_Vector", &["event.vector"], Kind::Text),
    ("User_Email", &["user.email"], Kind::Text),
    ("User_ID", &["user.id"], Kind::Text),
    ("User_DeviceUID", &["user.deviceUid"], Kind::Text),
    ("User_Department", &["user.department"], Kind::Text),
    ("User_Groups", &["user.groups"], Kind::Json),
    ("File_Name", &["file.name"], Kind::Text),
    ("File_Directory", &["file.directory"], Kind::Text),
    ("File_Category", &["file.category"], Kind::Text),
    ("File_SizeInBytes", &["file.sizeInBytes"], Kind::Number),
    ("File_Owner", &["file.owner"], Kind::Text),
    ("File_ChangeType", &["file.changeType"], Kind::Text),
    ("File_MimeType", &["file.mimeTypeByExtension", "file.mimeType"], Kind::Text),
    ("File_Hash_MD5", &["file.hash.md5"], Kind::Text),
    ("File_Hash_SHA256", &["file.hash.sha256"], Kind::Text),
    ("Source_Category", &["source.category"], Kind::Text),
    ("Source_Name", &["source.name"], Kind::Text),
    ("Source_Domain", &["source.domain"], Kind::Text),
    ("Source_IP", &["source.ip"], Kind::Text),
    ("Source_OS", &["source.operatingSystem"], Kind::Text),
    ("Source_PrivateIP", &["source.privateIp"], Kind::Json),
    ("Destination_Category", &["destination.category"], Kind::Text),
    ("Destination_Name", &["destination.name"], Kind::Text),
    ("Destination_IP", &["destination.ip"], Kind::Text),
    ("Process_Executable", &["process.executable"], Kind::Text),
    ("Process_Owner", &["process.owner"], Kind::Text),
    ("Risk_Score", &["risk.score"], Kind::Number),
    ("Risk_Severity", &["risk.severity"], Kind::Text),
    ("Risk_Trusted", &["risk.trusted"], Kind::Boolean),
    ("Risk_Indicators", &["risk.indicators"], Kind::Json),
    ("Response_PreventativeControl", &["responseControls.preventativeControl"], Kind::Text),
    ("Response_Reason", &["responseControls.reason"], Kind::Text),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn writer(format: Format, max_age: MaxAge) -> Writer {
        let began = "2026-11-21T00:30:00Z".parse().unwrap();
        Writer::new(format, ("b", "a \"k\".gz", Some("2026-11-20T01:00:00Z")), max_age, began)
    }

    fn record(writer: &mut Writer, json: &str) -> Value {
        match writer.write(json.as_bytes()).unwrap() {
            Written::Record(record) => serde_json::from_slice(record).unwrap(),
            Written::Old => json!("old"),
        }
    }

    #[test]
    fn the_raw_format_keeps_order_digits_and_letters() {
        let mut writer = writer(Format::Raw, MaxAge::OldFiles);
        let json = " { \"z\" : 1.10 , \"a b\" : [ 12345678901234567890123 ,\t\"x \\\" } y\\\\\" ] , \"ї\":null } ";
        let expected = json!({
            "Bucket_Name": "b", "Key": "a \"k\".gz", "Actual_Time": "2026-11-20T01:00:00Z",
            "Raw_Data": "{\"z\":1.10,\"a b\":[12345678901234567890123,\"x \\\" } y\\\\\"],\"ї\":null}",
        });
        assert_eq!(record(&mut writer, json), expected);
        assert_eq!(record(&mut writer, "5")["Raw_Data"], "5");
        let wrong = writer.write(b"{\"a\":").unwrap_err();
        assert_eq!(wrong, "no JSON: EOF while parsing a value at line 1 column 5");
    }

    #[test]
    fn a_notice_without_a_time_leaves_it_open() {
        let began = Timestamp::UNIX_EPOCH;
        let mut writer = Writer::new(Format::Raw, ("b", "k", None), MaxAge::Off, began);
        assert_eq!(record(&mut writer, "{}")["Actual_Time"], Value::Null);
    }

    #[test]
    fn the_flat_format_has_a_column_for_each_known_field() {
        let mut writer = writer(Format::Flat, MaxAge::OldFiles);
        let event = json!({
            "@timestamp": "2026-11-20T00:00:00Z",
            "event": { "id": "e1", "vector": "UNKNOWN" },
            "user": { "email": "a@b.c", "groups": [{ "id": 1 }] },
            "file": { "name": "x", "sizeInBytes": 12, "mimeType": "m", "hash": { "md5": "d" } },
            "source": { "privateIp": ["10.0.0.1"], "operatingSystem": "mac" },
            "risk": { "score": 7, "trusted": true, "indicators": null },
            "responseControls": { "reason": 5 },
        });
        let flat = record(&mut writer, &event.to_string());
        assert_eq!(flat.as_object().unwrap().len(), COLUMNS.len() + 3);
        for (column, expected) in [
            ("Timestamp", json!("2026-11-20T00:00:00Z")),
            ("Event_ID", json!("e1")),
            ("Event_Action", json!("")),
            ("User_Groups", json!("[{\"id\":1}]")),
            ("File_SizeInBytes", json!(12)),
            ("File_MimeType", json!("m")),
            ("File_Hash_MD5", json!("d")),
            ("Source_OS", json!("mac")),
            ("Source_PrivateIP", json!("[\"10.0.0.1\"]")),
            ("Risk_Score", json!(7)),
            ("Risk_Trusted", json!(true)),
            ("Risk_Indicators", json!("")),
            ("Response_Reason", json!("5")),
            ("Bucket_Name", json!("b")),
            ("Event_Time", json!("2026-11-20T01:00:00Z")),
        ] {
            assert_eq!(flat[column], expected, "{column}");
        }
        let empty = record(&mut writer, "{}");
        assert_eq!((&empty["Risk_Score"], &empty["Risk_Trusted"]), (&json!(0), &json!(false)));
        assert_eq!(writer.write(b"[1]").unwrap_err(), "a flat record needs a JSON object");
    }

    #[test]
    fn records_are_dropped_by_age_only_where_an_age_is_set() {
        let old = r#"{"@timestamp":"2026-11-20T23:00:00Z"}"#;
        for keeps in [MaxAge::OldFiles, MaxAge::Off, MaxAge::Of(Duration::from_hours(2))] {
            assert!(record(&mut writer(Format::Flat, keeps), old).is_object());
        }
        let mut strict = writer(Format::Flat, MaxAge::Of(Duration::from_hours(1)));
        assert_eq!(record(&mut strict, old), "old");
        for kept in ["{}", r#"{"@timestamp":"soon"}"#, r#"{"@timestamp":"2026-11-21T00:00:00Z"}"#] {
            assert!(record(&mut strict, kept).is_object());
        }
    }
}
