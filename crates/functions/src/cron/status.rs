//! The stored form of a schedule's status, and what a timer's function is given of it.
//!
//! T1  Times are written with the offset of the zone: `2016-10-04T10:15:00+02:00`, up to seven digits of a second.
//! T2  What Azure Functions writes is read: `Z`, an offset or none (local time), keys in any case, keys that are missing.
//! T3  A time that never was is in the year 1, one that never comes at the end of the year 9999.

use everstep_model::Timestamp;
use jiff::{Timestamp as Instant, civil::DateTime};
use serde_json::{Map, Value, json};

use super::{Error, Zone, calendar_instant, timestamp};
use crate::program::{ScheduleStatus, TimerEvent};

/// The first moment of the year 1: a time that never was.
pub const NEVER: Timestamp = Timestamp::from_ticks(-62_135_596_800 * 10_000_000);

/// What a status is stored as.
pub fn write_status(status: &ScheduleStatus, zone: &Zone) -> String {
    let text = |at| Value::String(print(at, zone, Digits::Needed));
    format!(
        r#"{{"Last":{},"Next":{},"LastUpdated":{}}}"#,
        text(status.last),
        text(status.next),
        text(status.last_updated)
    )
}

/// Reads what is stored; `None` if that is empty or `null`.
pub fn read_status(text: &str, zone: &Zone) -> Result<Option<ScheduleStatus>, Error> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let fields = match serde_json::from_str(if text.is_empty() { "null" } else { text }) {
        Ok(Value::Null) => return Ok(None),
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(problem("it is not a JSON object".to_owned())),
        Err(error) => return Err(problem(error.to_string())),
    };
    Ok(Some(ScheduleStatus {
        last: read_field(&fields, "Last", zone)?,
        next: read_field(&fields, "Next", zone)?,
        last_updated: read_field(&fields, "LastUpdated", zone)?,
    }))
}

/// What a timer's function is given as its trigger.
pub fn trigger_value(event: &TimerEvent, zone: &Zone) -> Value {
    let text = |at| print(at, zone, Digits::Needed);
    let status = event.status.map(|status| {
        json!({
            "Last": text(status.last),
            "Next": text(status.next),
            "LastUpdated": text(status.last_updated),
        })
    });
    json!({
        "Schedule": { "AdjustForDST": event.adjust_for_dst },
        "ScheduleStatus": status,
        "IsPastDue": event.is_past_due,
    })
}

/// How many digits of a second are printed.
#[derive(Clone, Copy)]
pub(super) enum Digits {
    /// As many as it takes.
    Needed,
    /// All seven.
    Seven,
}

/// A time in the zone, with its offset.
pub(super) fn print(at: Timestamp, zone: &Zone, digits: Digits) -> String {
    let (local, offset) = match calendar_instant(at) {
        Some(instant) if at > NEVER => {
            let offset = zone.offset(instant);
            (offset.to_datetime(instant), offset.seconds() / 60)
        }
        Some(_) => (jiff::civil::datetime(1, 1, 1, 0, 0, 0, 0), 0),
        None if at < NEVER => (jiff::civil::datetime(1, 1, 1, 0, 0, 0, 0), 0),
        None => (jiff::civil::datetime(9999, 12, 31, 23, 59, 59, 999_999_900), 0),
    };
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
    match digits {
        Digits::Needed => format!("{local}{sign}{hours:02}:{minutes:02}"),
        Digits::Seven => format!("{local:.7}{sign}{hours:02}:{minutes:02}"),
    }
}

fn read_field(fields: &Map<String, Value>, key: &str, zone: &Zone) -> Result<Timestamp, Error> {
    let found = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    match found.map(|(_, value)| value) {
        None | Some(Value::Null) => Ok(NEVER),
        Some(Value::String(text)) => read_time(text, zone)
            .ok_or_else(|| problem(format!("`{key}` holds `{text}`, which is no time"))),
        Some(other) => Err(problem(format!("`{key}` holds `{other}`, which is no time"))),
    }
}

fn read_time(text: &str, zone: &Zone) -> Option<Timestamp> {
    let wall = text.get(..19)?.parse::<DateTime>().ok()?;
    if wall.year() <= 1 {
        return Some(NEVER);
    }
    if wall.date() >= jiff::civil::date(9999, 12, 30) {
        return Some(Timestamp::MAX);
    }
    let instant = match text.parse::<Instant>() {
        Ok(instant) => instant,
        Err(_) => zone.instant(text.parse().ok()?)?,
    };
    Some(timestamp(instant))
}

fn problem(problem: String) -> Error {
    Error::Status { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").expect("known")
    }

    fn at(text: &str) -> Timestamp {
        read_time(text, &Zone::UTC).expect("a time")
    }

    fn status(last: &str, next: &str, last_updated: &str) -> ScheduleStatus {
        ScheduleStatus { last: at(last), next: at(next), last_updated: at(last_updated) }
    }

    #[test]
    fn a_status_is_written_with_the_offset_of_its_zone_and_reads_back() {
        let status =
            status("2016-10-04T10:15:00.01Z", "2016-11-04T10:20:00Z", "2016-10-04T10:15:00Z");
        assert_eq!(
            write_status(&status, &Zone::UTC),
            r#"{"Last":"2016-10-04T10:15:00.01+00:00","Next":"2016-11-04T10:20:00+00:00","LastUpdated":"2016-10-04T10:15:00+00:00"}"#
        );
        let local = write_status(&status, &berlin());
        assert_eq!(
            local,
            r#"{"Last":"2016-10-04T12:15:00.01+02:00","Next":"2016-11-04T11:20:00+01:00","LastUpdated":"2016-10-04T12:15:00+02:00"}"#
        );
        assert_eq!(read_status(&local, &Zone::UTC), Ok(Some(status)));
    }

    #[test]
    fn never_and_for_ever_are_written_at_the_ends_of_the_calendar_and_read_back() {
        let status =
            ScheduleStatus { last: NEVER, next: Timestamp::MAX, last_updated: Timestamp::EPOCH };
        let text = write_status(&status, &berlin());
        assert_eq!(
            text,
            r#"{"Last":"0001-01-01T00:00:00+00:00","Next":"9999-12-31T23:59:59.9999999+00:00","LastUpdated":"1970-01-01T01:00:00+01:00"}"#
        );
        assert_eq!(read_status(&text, &berlin()), Ok(Some(status)));
    }

    #[test]
    fn the_forms_that_azure_functions_writes_are_read() {
        for (text, last) in [
            (r#"{"Last":"2026-07-01T12:00:00"}"#, "2026-07-01T10:00:00Z"),
            (r#"{"last":"2026-07-01T12:00:00.1234567-07:00"}"#, "2026-07-01T19:00:00.1234567Z"),
            ("\u{feff}{\"LAST\":\"2026-07-01T12:00:00Z\",\"More\":1}\n", "2026-07-01T12:00:00Z"),
            (r#"{"Last":"0001-01-01T00:00:00+01:00"}"#, "0001-01-01T00:00:00Z"),
            (r#"{"Last":"0001-01-01T00:00:00"}"#, "0001-01-01T00:00:00Z"),
            (r#"{"Last":null}"#, "0001-01-01T00:00:00Z"),
        ] {
            let read = read_status(text, &berlin()).expect("readable").expect("a status");
            assert_eq!((read.last, read.next), (at(last), NEVER), "{text}");
        }
        assert_eq!(read_status("null", &berlin()), Ok(None));
        assert_eq!(read_status("", &berlin()), Ok(None));
    }

    #[test]
    fn a_status_that_is_not_readable_is_refused_with_what_is_wrong() {
        for (text, problem) in [
            ("[]", "it is not a JSON object"),
            (r#"{"Next":"soon"}"#, "`Next` holds `soon`, which is no time"),
            (r#"{"Next":5}"#, "`Next` holds `5`, which is no time"),
            ("{", "EOF while parsing an object at line 1 column 1"),
        ] {
            let error = read_status(text, &Zone::UTC).expect_err(text);
            let whole = format!(
                "the stored status of the schedule is not readable: {problem}; delete it, and the schedule starts afresh"
            );
            assert_eq!(error.to_string(), whole);
        }
    }

    #[test]
    fn the_trigger_value_has_null_for_a_schedule_that_is_not_monitored() {
        let mut event = TimerEvent { is_past_due: true, adjust_for_dst: true, status: None };
        assert_eq!(
            trigger_value(&event, &berlin()),
            json!({"Schedule": {"AdjustForDST": true}, "ScheduleStatus": null, "IsPastDue": true})
        );
        event.status =
            Some(status("0001-01-01T00:00:00", "2026-07-01T00:00:00Z", "2026-06-30T00:00:00Z"));
        assert_eq!(
            trigger_value(&event, &berlin())["ScheduleStatus"],
            json!({
                "Last": "0001-01-01T00:00:00+00:00",
                "Next": "2026-07-01T02:00:00+02:00",
                "LastUpdated": "2026-06-30T02:00:00+02:00",
            })
        );
    }
}
