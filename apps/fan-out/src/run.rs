//! The orchestration: as many chunks at once as it is asked for, then one result.
//!
//! R1  One entry per chunk, in the chunks' order, whatever became of it; a failed one takes nothing from the others.
//! R2  No plain success if a chunk has failed: `completed_with_errors`, and how many.
//! R3  All that it decides by stands in its input; it asks neither clock nor settings.

use everstep::{Activity, ActivityHandle as _, Context, Failure, Orchestrator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    chunk::{Chunk, Record, Status, UNKNOWN, kind},
    settings::{MAX_CHUNKS, MAX_CHUNKS_RANGE},
};

pub(crate) const ORCHESTRATOR: Orchestrator<Value, Outcome> =
    Orchestrator::new("orchestrator_function");
pub(crate) const PROCESS: Activity<Value, Record> = Activity::new("process_chunk_activity");

/// The chunks of a run that does not say how many.
const CHUNKS: u32 = 3;
/// The times of a run without input.
const START: &str = "2025-06-16T14:53:00.078585Z";
const END: &str = "2025-06-16T15:03:00.078585Z";
/// What a run has at most where that differs from the usual; put into the input by whoever starts it, so that a replay
/// under another setting comes to the same number.
pub(crate) const LIMIT: &str = "max_chunks";

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    status: End,
    total_chunks: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    failed_chunks: Option<usize>,
    results: Vec<Record>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Completed,
    CompletedWithErrors,
}

pub(crate) async fn fan_out(ctx: Context, input: Value) -> Result<Outcome, Failure> {
    let chunks = chunks(input)?;
    let calls = chunks.iter().map(|chunk| ctx.call_by_name(PROCESS.name(), chunk));
    let ended: Vec<Result<Record, Failure>> = everstep::join_all(calls.collect()).await;
    Ok(Outcome::of(ended))
}

impl Outcome {
    fn of(ended: Vec<Result<Record, Failure>>) -> Self {
        let results: Vec<Record> = (0..)
            .zip(ended)
            .map(|(number, ended)| {
                ended.unwrap_or_else(|failure| Record::error(number, failure.message))
            })
            .collect();
        let failed = results.iter().filter(|record| record.status == Status::Error).count();
        let (status, failed_chunks) = match failed {
            0 => (End::Completed, None),
            failed => (End::CompletedWithErrors, Some(failed)),
        };
        let total_chunks = u32::try_from(results.len()).expect("the number of chunks is limited");
        Self { status, total_chunks, failed_chunks, results }
    }
}

/// The chunks that an input asks for.
fn chunks(input: Value) -> Result<Vec<Chunk>, Failure> {
    let input = match input {
        Value::Null => json!({ "start": START, "end": END, "total_chunks": CHUNKS, "time": START }),
        Value::Object(_) => input,
        other => {
            let text = format!(
                "the input is {}; it must be an object with the keys start, end, total_chunks and time, all optional",
                kind(&other)
            );
            return Err(Failure::new("BadInput", text).fatal());
        }
    };
    let total_chunks = total(&input);
    let value = |key: &str| match &input[key] {
        Value::Null => UNKNOWN.into(),
        value => value.clone(),
    };
    let chunk = |chunk_id| Chunk {
        chunk_id,
        start: value("start"),
        end: value("end"),
        total_chunks,
        time: value("time"),
    };
    Ok((0..total_chunks).map(chunk).collect())
}

fn total(input: &Value) -> u32 {
    let limit = input[LIMIT].as_u64().and_then(|limit| u32::try_from(limit).ok());
    let limit = limit.filter(|limit| MAX_CHUNKS_RANGE.contains(limit)).unwrap_or(MAX_CHUNKS);
    let asked = match input["total_chunks"].as_u64() {
        None | Some(0) => u64::from(CHUNKS),
        Some(asked) => asked,
    };
    u32::try_from(asked).map_or(limit, |asked| asked.min(limit))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use everstep::testing::{self, Options, TestHub};

    use super::*;
    use crate::settings::Settings;

    fn hub() -> TestHub {
        TestHub::new(crate::durable(&Arc::new(Settings::default())))
    }

    /// A record that shows what its chunk was told.
    fn echo(input: &Value) -> Record {
        Record::error(input["chunk_id"].as_u64().unwrap() as u32, input.to_string())
    }

    /// What the chunks of a run are told.
    fn told(input: Value) -> Vec<Value> {
        let mut hub = hub();
        hub.mock(PROCESS, |input| Ok(echo(&input)));
        let run = hub.start(ORCHESTRATOR, input).unwrap();
        let outcome = hub.result(&run).unwrap();
        let texts = outcome.results.into_iter().map(|record| record.error.unwrap());
        texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
    }

    #[test]
    fn a_run_without_input_has_three_chunks_and_fixed_times() {
        let told = told(Value::Null);
        assert_eq!(told.len(), 3);
        assert_eq!(
            told[1],
            json!({ "chunk_id": 1, "start": START, "end": END, "total_chunks": 3, "time": START })
        );
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let told = told(json!({ "end": "b" }));
        assert_eq!(told.len(), 3);
        assert_eq!(
            told[0],
            json!({ "chunk_id": 0, "start": "unknown", "end": "b", "total_chunks": 3, "time": "unknown" })
        );
    }

    #[test]
    fn the_number_of_chunks_is_what_is_asked_for_up_to_the_limit() {
        let count = |asked: Value| total(&json!({ "total_chunks": asked }));
        for (asked, expected) in [
            (json!(1), 1),
            (json!(5), 5),
            (json!(6), 5),
            (json!(u64::MAX), 5),
            (json!(0), 3),
            (json!(-2), 3),
            (json!("4"), 3),
            (json!(4.5), 3),
            (json!(true), 3),
            (json!(null), 3),
        ] {
            assert_eq!(count(asked.clone()), expected, "{asked}");
        }
        let limited = |limit: Value| total(&json!({ "total_chunks": 2000, "max_chunks": limit }));
        assert_eq!(limited(json!(12)), 12);
        assert_eq!(limited(json!(2000)), 5);
        assert_eq!(limited(json!("12")), 5);
    }

    #[test]
    fn a_chunk_that_throws_is_one_entry_and_takes_nothing_from_the_others() {
        let mut hub = hub();
        hub.mock(PROCESS, |input| match input["chunk_id"].as_u64() {
            Some(1) => Err(Failure::new("Io", "the disk is full")),
            _ => Ok(Record { status: Status::Success, error: None, ..echo(&input) }),
        });
        let run = hub.start(ORCHESTRATOR, json!({ "total_chunks": 3 })).unwrap();
        let outcome = serde_json::to_value(hub.result(&run).unwrap()).unwrap();
        assert_eq!(
            outcome,
            json!({
                "status": "completed_with_errors",
                "total_chunks": 3,
                "failed_chunks": 1,
                "results": [
                    { "chunk_id": 0, "status": "success", "records_processed": 0 },
                    { "chunk_id": 1, "status": "error", "error": "the disk is full", "records_processed": 0 },
                    { "chunk_id": 2, "status": "success", "records_processed": 0 },
                ],
            })
        );
    }

    #[test]
    fn an_input_that_is_no_object_fails_the_run_with_a_text() {
        let mut hub = hub();
        let run = hub.start(ORCHESTRATOR, json!([1])).unwrap();
        assert_eq!(
            hub.result(&run).unwrap_err().to_string(),
            "the input is an array; it must be an object with the keys start, end, total_chunks and time, all optional"
        );
    }

    #[test]
    fn a_crash_at_any_commit_changes_nothing_in_the_outcome() {
        let app = crate::durable(&Arc::new(Settings { seed: Some(3), ..Settings::default() }));
        let swept = testing::crash_everywhere_with(&app, &Options::default(), |hub| {
            hub.mock(PROCESS, |input| Ok(echo(&input)));
            let run = hub.start(ORCHESTRATOR, json!({ "total_chunks": 5 }))?;
            hub.result(&run)
        })
        .unwrap();
        assert_eq!(swept.result.unwrap().results.len(), 5);
    }
}
