//! One chunk of a run: what it is told, the work, and its record.
//!
//! C1  The work never fails: input that cannot be worked on gives an error record.
//! C2  The same call does the same work when it runs again after a crash: what looks random derives from the call's key,
//!     or from `CHUNK_SEED` and the chunk's number.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::settings::Settings;

const RECORDS_MIN: u64 = 30;
const RECORDS_MAX: u64 = 50;
/// What stands where a text is missing.
pub(crate) const UNKNOWN: &str = "unknown";

/// What a chunk is told.
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON")]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Chunk {
    pub(crate) chunk_id: u32,
    pub(crate) start: Value,
    pub(crate) end: Value,
    pub(crate) total_chunks: u32,
    pub(crate) time: Value,
}

/// What a chunk came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) chunk_id: u32,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) error: Option<String>,
    pub(crate) records_processed: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub(crate) work: Option<Work>,
}

/// How a chunk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Success,
    Error,
}

/// What only successful chunks tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    data_type: DataType,
    processing_time_seconds: f64,
    /// The same: the name that the original's page shows.
    processing_time: f64,
    start_time: String,
    end_time: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DataType {
    SensorData,
    LogEntries,
    UserEvents,
    SystemMetrics,
}

impl DataType {
    const ALL: [Self; 4] =
        [Self::SensorData, Self::LogEntries, Self::UserEvents, Self::SystemMetrics];
}

impl Record {
    pub(crate) fn error(chunk_id: u32, error: impl Into<String>) -> Self {
        Self {
            chunk_id,
            status: Status::Error,
            error: Some(error.into()),
            records_processed: 0,
            work: None,
        }
    }
}

/// Works on a chunk. The key is that of the call.
pub(crate) async fn process(settings: &Settings, key: &str, input: &Value) -> Record {
    let task = match Task::read(input) {
        Ok(task) => task,
        Err(record) => return record,
    };
    let mut random = Random::of(settings.seed, key, task.chunk_id);
    let hundredths = random.within(settings.hundredths_min, settings.hundredths_max);
    let records_processed = random.within(RECORDS_MIN, RECORDS_MAX);
    let data_type = DataType::ALL[random.within(0, 3) as usize];
    tokio::time::sleep(Duration::from_millis(hundredths * 10)).await;
    let seconds = Duration::from_millis(hundredths * 10).as_secs_f64();
    let work = Work {
        data_type,
        processing_time_seconds: seconds,
        processing_time: seconds,
        start_time: task.start,
        end_time: task.end,
    };
    let chunk_id = task.chunk_id;
    Record { chunk_id, status: Status::Success, error: None, records_processed, work: Some(work) }
}

/// A chunk's input that can be worked on.
#[derive(Debug, PartialEq, Eq)]
struct Task {
    chunk_id: u32,
    start: String,
    end: String,
}

impl Task {
    /// The error is the record of an input that cannot be worked on.
    fn read(input: &Value) -> Result<Self, Record> {
        let Value::Object(keys) = input else {
            let found = kind(input);
            let text = format!(
                "the input is {found}; it must be an object with the keys chunk_id, start, end, total_chunks and time"
            );
            return Err(Record::error(0, text));
        };
        let chunk_id = number(keys, "chunk_id", 0).map_err(|text| Record::error(0, text))?;
        let fail = |text| Record::error(chunk_id, text);
        number(keys, "total_chunks", 1).map_err(fail)?;
        text(keys, "time").map_err(fail)?;
        let start = text(keys, "start").map_err(fail)?;
        let end = text(keys, "end").map_err(fail)?;
        Ok(Self { chunk_id, start, end })
    }
}

fn number(keys: &Map<String, Value>, key: &str, least: u32) -> Result<u32, String> {
    let found = match keys.get(key) {
        None => "is missing".to_owned(),
        Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) if number >= least => return Ok(number),
            _ => format!("is {}", shown(value)),
        },
    };
    Err(format!("`{key}` {found}; it must be a whole number, at least {least}"))
}

fn text(keys: &Map<String, Value>, key: &str) -> Result<String, String> {
    match keys.get(key) {
        None => Ok(UNKNOWN.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value) => Err(format!(
            "`{key}` is {}; it must be a text such as \"2025-06-16T15:00:00.000000Z\"",
            shown(value)
        )),
    }
}

/// A value as messages show it: short ones as they are.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 40 { text } else { kind(value).to_owned() }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Numbers that look random and are the same for the same beginning.
struct Random(u64);

impl Random {
    fn of(seed: Option<u64>, key: &str, chunk: u32) -> Self {
        let of_bytes = |bytes: &[u8]| {
            bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
        };
        let mut random = Self(seed.unwrap_or_else(|| of_bytes(key.as_bytes())));
        random.0 = random.next() ^ u64::from(chunk);
        random
    }

    /// One step of `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of this range, both ends included.
    fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn record(settings: Settings, input: Value) -> Value {
        serde_json::to_value(process(&settings, "key", &input).await).unwrap()
    }

    fn chunk() -> Value {
        json!({ "chunk_id": 2, "start": "a", "end": "b", "total_chunks": 5, "time": "a" })
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_takes_as_long_as_it_says_and_tells_what_it_did() {
        for chunk_id in 0..50 {
            let mut input = chunk();
            input["chunk_id"] = json!(chunk_id);
            let began = tokio::time::Instant::now();
            let done = record(Settings { seed: Some(7), ..Settings::default() }, input).await;
            let seconds = done["processing_time_seconds"].as_f64().unwrap();
            assert!((0.5..=2.0).contains(&seconds), "{done}");
            assert!((began.elapsed().as_secs_f64() - seconds).abs() < 0.002, "{done}");
            assert_eq!(done["processing_time"], done["processing_time_seconds"]);
            assert!((30..=50).contains(&done["records_processed"].as_u64().unwrap()), "{done}");
            let kinds = ["sensor_data", "log_entries", "user_events", "system_metrics"];
            assert!(kinds.contains(&done["data_type"].as_str().unwrap()), "{done}");
            assert_eq!((&done["start_time"], &done["end_time"]), (&json!("a"), &json!("b")));
            assert_eq!((&done["chunk_id"], &done["status"]), (&json!(chunk_id), &json!("success")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_seed_repeats_the_work_whatever_the_call_and_without_one_the_call_decides() {
        let run = async |seed: Option<u64>, key: &str| {
            process(&Settings { seed, ..Settings::default() }, key, &chunk()).await
        };
        assert_eq!(run(Some(1), "a").await, run(Some(1), "b").await);
        assert_ne!(run(Some(1), "a").await, run(Some(2), "a").await);
        assert_eq!(run(None, "a").await, run(None, "a").await);
        assert_ne!(run(None, "a").await, run(None, "b").await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_worked_on_gives_an_error_record_and_says_why() {
        let error = async |input: Value| {
            let done = record(Settings::default(), input).await;
            assert_eq!((&done["status"], &done["records_processed"]), (&json!("error"), &json!(0)));
            assert!(done.get("data_type").is_none(), "{done}");
            (done["chunk_id"].as_u64().unwrap(), done["error"].as_str().unwrap().to_owned())
        };
        for (input, found) in [
            (json!([1]), "an array"),
            (json!("chunk"), "a text"),
            (json!(null), "null"),
            (json!(true), "true or false"),
            (json!(3), "a number"),
        ] {
            let text = format!(
                "the input is {found}; it must be an object with the keys chunk_id, start, end, total_chunks and time"
            );
            assert_eq!(error(input).await, (0, text));
        }
        assert_eq!(
            error(json!({ "total_chunks": 1 })).await,
            (0, "`chunk_id` is missing; it must be a whole number, at least 0".to_owned())
        );
        assert_eq!(
            error(json!({ "chunk_id": -1 })).await,
            (0, "`chunk_id` is -1; it must be a whole number, at least 0".to_owned())
        );
        assert_eq!(
            error(json!({ "chunk_id": 4, "total_chunks": 0 })).await,
            (4, "`total_chunks` is 0; it must be a whole number, at least 1".to_owned())
        );
        for key in ["start", "end", "time"] {
            let mut input = chunk();
            input[key] = json!(5);
            let text =
                format!("`{key}` is 5; it must be a text such as \"2025-06-16T15:00:00.000000Z\"");
            assert_eq!(error(input).await, (2, text));
        }
        let mut input = chunk();
        input["start"] = json!(vec![0; 50]);
        let text = "`start` is an array; it must be a text such as \"2025-06-16T15:00:00.000000Z\"";
        assert_eq!(error(input).await, (2, text.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn missing_times_are_unknown() {
        let done = record(Settings::default(), json!({ "chunk_id": 1, "total_chunks": 2 })).await;
        assert_eq!(
            (&done["start_time"], &done["end_time"]),
            (&json!("unknown"), &json!("unknown"))
        );
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        for text in [
            r#"{"chunk_id":1,"status":"error","error":"no","records_processed":0}"#,
            r#"{"chunk_id":1,"status":"success","records_processed":31,"data_type":"user_events","processing_time_seconds":0.5,"processing_time":0.5,"start_time":"a","end_time":"b"}"#,
        ] {
            let record: Record = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
        }
    }
}
