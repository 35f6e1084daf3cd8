//! Dates as requests write them and responses show them.
//!
//! Requests may use what the .NET parser takes for a date: ISO 8601 with or without time and zone, month first with
//! slashes, or the form of HTTP headers. A date without a zone is in UTC.

use std::time::Duration;

use everstep_model::Timestamp;

use crate::Compat;

const TICKS_PER_SECOND: i64 = 10_000_000;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// `2026-01-02T03:04:05Z`: whole seconds, the rest cut off.
pub(crate) fn whole_seconds(time: Timestamp) -> String {
    let text = time.to_string();
    let end = text.rfind('.').unwrap_or(text.len());
    format!("{}Z", &text[..end])
}

/// `2026-01-02T03:04:05.12Z`: up to seven digits, without zeros at the end.
pub(crate) fn trimmed(time: Timestamp) -> String {
    let text = time.to_string();
    let digits = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{digits}Z")
}

/// A date of a request, if it is one.
pub(crate) fn parse(text: &str, compat: Compat) -> Option<Timestamp> {
    let text = text.trim();
    iso(text, compat).or_else(|| month_first(text)).or_else(|| header(text))
}

/// `30s`, `1.5m`, `500ms`, `2h`, or plain seconds.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    seconds(number).and_then(|span| Duration::try_from_secs_f64(span.as_secs_f64() * factor).ok())
}

/// A number of seconds, decimals allowed; below zero counts as zero.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds.max(0.0)).ok().filter(|_| seconds.is_finite())
}

fn iso(text: &str, compat: Compat) -> Option<Timestamp> {
    let (date, rest) = split_date(text);
    let separator = if date.contains('/') { '/' } else { '-' };
    let mut parts = date.split(separator);
    let year = parts.next()?;
    let may_be_short = compat == Compat::V3 && separator == '-' && !year.is_empty();
    if year.len() != 4 && !(may_be_short && year.len() < 4) {
        return None;
    }
    let (month, day) = (parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    at(days(number(year, 4)?, number(month, 2)?, number(day, 2)?)?, rest)
}

fn month_first(text: &str) -> Option<Timestamp> {
    let (date, rest) = split_date(text);
    let mut parts = date.split('/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 || parts.next().is_some() {
        return None;
    }
    at(days(number(year, 4)?, number(month, 2)?, number(day, 2)?)?, rest)
}

fn header(text: &str) -> Option<Timestamp> {
    let text = text.split_once(',').map_or(text, |(_, rest)| rest).trim();
    let mut parts = text.splitn(4, ' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = month.get(..3)?.to_ascii_lowercase();
    let (number_of_month, _) = (1..).zip(MONTHS).find(|(_, name)| *name == month)?;
    let day = days(number(year, 4)?, number_of_month, number(day, 2)?)?;
    at(day, parts.next().unwrap_or_default())
}

fn split_date(text: &str) -> (&str, &str) {
    match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    }
}

/// The instant of a time of day, with its zone, on a day.
fn at(day: i64, time: &str) -> Option<Timestamp> {
    let (time, offset) = zone(time)?;
    let (time, noon) = half(time);
    let mut ticks = day * 86_400 * TICKS_PER_SECOND;
    if !time.is_empty() {
        let mut parts = time.split(':');
        let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
        let (second, fraction) = match parts.next() {
            None => (0, 0),
            Some(second) => {
                let (second, digits) = second.split_once('.').unwrap_or((second, "0"));
                (number(second, 2)?, fraction(digits)?)
            }
        };
        let hour = match noon {
            None => hour,
            Some(_) if !(1..=12).contains(&hour) => return None,
            Some(after) => hour % 12 + after,
        };
        if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        ticks += (hour * 3600 + minute * 60 + second) * TICKS_PER_SECOND + fraction;
    }
    Some(Timestamp::from_ticks(ticks - offset * 60 * TICKS_PER_SECOND))
}

/// A time without its zone, and the zone in minutes.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time.trim_end(), 0));
    }
    if let Some(time) = time.strip_suffix("GMT") {
        return Some((time.trim_end(), 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (sign, digits) = (if &time[at..=at] == "-" { -1 } else { 1 }, &time[at + 1..]);
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours <= 14 && minutes <= 59).then_some((time[..at].trim_end(), sign * (hours * 60 + minutes)))
}

/// A time without AM or PM, and the hours that these add.
fn half(time: &str) -> (&str, Option<i64>) {
    let lower = time.to_ascii_lowercase();
    match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(rest), _) => (time[..rest.len()].trim_end(), Some(0)),
        (_, Some(rest)) => (time[..rest.len()].trim_end(), Some(12)),
        _ => (time, None),
    }
}

/// Ticks of the digits behind a point; those beyond the seventh are dropped.
fn fraction(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = digits.chars().chain("0000000".chars()).take(7).collect();
    digits.parse().ok()
}

fn number(digits: &str, most: usize) -> Option<i64> {
    let fits = !digits.is_empty() && digits.len() <= most;
    (fits && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Days since 1970 of a day in the Gregorian calendar, if there is such a day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1 || !(1..=last).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let shifted = if month > 2 { year } else { year - 1 };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        parse(text, Compat::V3).map_or_else(|| "-".to_owned(), |time| time.to_string())
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        let cases = [
            ("2026-01-02T03:04:05.000678Z", "2026-01-02T03:04:05.0006780Z"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05.0000000Z"),
            ("2026-01-02", "2026-01-02T00:00:00.0000000Z"),
            ("2026-01-02 03:04", "2026-01-02T03:04:00.0000000Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.0000000Z"),
            ("2026-01-02T03:04:05 -0330", "2026-01-02T06:34:05.0000000Z"),
            ("2026/01/02 03:04:05.12345678Z", "2026-01-02T03:04:05.1234567Z"),
            ("1/2/2026 3:04:05 PM", "2026-01-02T15:04:05.0000000Z"),
            ("01/02/2026 12:00 am", "2026-01-02T00:00:00.0000000Z"),
            ("Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05.0000000Z"),
            ("1-01-01T00:00:00Z", "0001-01-01T00:00:00.0000000Z"),
            ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"),
            ("2000-02-29", "2000-02-29T00:00:00.0000000Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-29",
            "2026-01-02T25:00",
            "2026-01-02T03:04:05+99:00",
            "20260102T030405Z",
            "2026-01",
            "2026-01-02-03",
            "0000-01-01",
            "13:04",
            "2026-01-02T3",
            "1/2/26",
            "2026-01-02T03:04:05.",
            "2026-01-02T03:04:05\u{e4}",
            "\u{e4}\u{e4}\u{e4}, \u{e4} \u{e4} \u{e4}",
        ] {
            assert_eq!(shown(text), "-", "{text}");
        }
        assert_eq!(parse("1-01-01", Compat::V2), None, "version 2 wants four digits");
    }

    #[test]
    fn times_are_shown_in_whole_seconds_or_without_zeros_at_the_end() {
        let time = Timestamp::from_ticks(17_952_339_061_234_500);
        assert_eq!(whole_seconds(time), "2026-11-21T04:05:06Z");
        assert_eq!(trimmed(time), "2026-11-21T04:05:06.12345Z");
        assert_eq!(trimmed(Timestamp::EPOCH), "1970-01-01T00:00:00Z");
        assert_eq!(trimmed(Timestamp::from_millis(10_000)), "1970-01-01T00:00:10Z");
    }

    #[test]
    fn spans_have_a_unit_or_are_seconds() {
        let millis = |text| span(text).map(|span| span.as_millis());
        assert_eq!(millis("30s"), Some(30_000));
        assert_eq!(millis("1.5"), Some(1_500));
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("2m"), Some(120_000));
        assert_eq!(millis("-5"), Some(0));
        for text in ["", "s", "5 parsecs", "1d", "nan", "inf", "1e999"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
