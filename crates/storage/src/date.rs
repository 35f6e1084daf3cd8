//! Points in time: milliseconds since 1970 inside, the two written forms of the protocol outside.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// A time that no message outlives: the last second of the year 9999.
pub(crate) const NEVER: i64 = 253_402_300_799_000;
/// How the real service writes it. The calendar in use ends a day earlier, so it is a word and not a date here.
const NEVER_TEXT: &str = "Fri, 31 Dec 9999 23:59:59 GMT";
/// The last time that the calendar has in all time zones.
const LAST: i64 = 253_402_207_200_000;

/// Milliseconds since 1970; negative before.
pub(crate) fn millis(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(NEVER),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(NEVER),
    }
}

/// The inverse of [`millis`].
pub(crate) fn system_time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    match millis {
        0.. => SystemTime::UNIX_EPOCH + distance,
        _ => SystemTime::UNIX_EPOCH - distance,
    }
}

/// `Sat, 21 Nov 2026 01:21:48 GMT`, as headers and most elements have it.
pub(crate) fn rfc1123(millis: i64) -> String {
    if millis > LAST {
        return NEVER_TEXT.to_owned();
    }
    timestamp(millis).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Milliseconds of an RFC 1123 date.
pub(crate) fn parse_rfc1123(text: &str) -> Option<i64> {
    if text.trim() == NEVER_TEXT {
        return Some(NEVER);
    }
    jiff::fmt::rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(text)
        .ok()
        .map(Timestamp::as_millisecond)
}

/// `2026-11-21T01:21:48.1234567Z`, as error messages have it.
pub(crate) fn iso8601(millis: i64) -> String {
    timestamp(millis).strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string()
}

/// Milliseconds of an ISO 8601 time in UTC: a date alone, or with a time of day down to minutes or finer.
pub(crate) fn parse_iso8601(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let time = text.parse::<jiff::civil::DateTime>().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis.clamp(-LAST / 8, LAST)).expect("it is between the limits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_read_back() {
        let time = 1_795_224_108_000;
        assert_eq!(rfc1123(time), "Sat, 21 Nov 2026 01:21:48 GMT");
        assert_eq!(parse_rfc1123(&rfc1123(time)), Some(time));
        assert_eq!(iso8601(time + 7), "2026-11-21T01:21:48.0070000Z");
        assert_eq!(parse_iso8601(&iso8601(time + 7)), Some(time + 7));
        assert_eq!(parse_iso8601("2026-11-21"), Some(time - 4_908_000));
        assert_eq!(parse_iso8601("2026-11-21T01:21Z"), Some(time - 48_000));
        assert_eq!(rfc1123(NEVER), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(parse_rfc1123(&rfc1123(NEVER)), Some(NEVER));
        assert_eq!(parse_rfc1123("yesterday"), None);
        assert_eq!(millis(system_time(-5)), -5);
        assert_eq!(millis(system_time(time)), time);
    }
}
