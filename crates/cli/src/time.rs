//! Times as people write and read them.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil, tz::TimeZone};

/// A moment: a time, or how long ago.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = span(text) {
        let ago = SignedDuration::try_from(ago).map_err(|_| far(text))?;
        return Timestamp::now().checked_sub(ago).map_err(|_| far(text));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let civil = text
        .parse::<civil::DateTime>()
        .or_else(|_| text.parse::<civil::Date>().map(|date| date.at(0, 0, 0, 0)));
    let time = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC));
    time.map(|zoned| zoned.timestamp()).map_err(|_| {
        "write a time (2026-01-02, 2026-01-02T03:04:05Z) or how long ago (15m, 7d)".to_owned()
    })
}

fn far(text: &str) -> String {
    format!("{text} ago is before the beginning of the calendar")
}

/// A length of time: `30s`, `5m`, `1h30m`, `7d`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a length of time such as 30s, 5m, 1h30m or 7d".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// How long before `now`, in its two greatest units at most: `3m ago`.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - time.as_second();
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("{} ago", length(Duration::from_secs(seconds.unsigned_abs()))),
        _ => format!("in {}", length(Duration::from_secs(seconds.unsigned_abs()))),
    }
}

/// A length of time for people: `0.25s`, `12s`, `3m`, `5h`, `4d`.
pub(crate) fn length(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{}ms", span.as_millis()),
        1..10 => format!("{:.1}s", span.as_secs_f64()).replace(".0s", "s"),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// As the API wants it.
pub(crate) fn iso(time: Timestamp) -> String {
    time.to_string()
}

/// As .NET's invariant culture writes a time, which `func` prints.
pub(crate) fn invariant(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%m/%d/%Y %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_moment_is_a_time_a_date_or_how_long_ago() {
        assert_eq!(moment("2026-01-02T03:04:05Z").unwrap(), at("2026-01-02T03:04:05Z"));
        assert_eq!(moment("2026-01-02T03:04:05+02:00").unwrap(), at("2026-01-02T01:04:05Z"));
        assert_eq!(moment("2026-01-02T03:04").unwrap(), at("2026-01-02T03:04:00Z"));
        assert_eq!(moment("2026-01-02").unwrap(), at("2026-01-02T00:00:00Z"));
        let week = Timestamp::now().as_second() - moment("7d").unwrap().as_second();
        assert!((604_800..604_860).contains(&week), "{week}");
        assert_eq!(
            moment("yesterday").unwrap_err(),
            "write a time (2026-01-02, 2026-01-02T03:04:05Z) or how long ago (15m, 7d)"
        );
    }

    #[test]
    fn a_length_has_a_unit() {
        assert_eq!(span("1h30m").unwrap(), Duration::from_mins(90));
        assert_eq!(span("2w").unwrap(), Duration::from_hours(14 * 24));
        assert_eq!(
            span("soon").unwrap_err(),
            "write a length of time such as 30s, 5m, 1h30m or 7d"
        );
    }

    #[test]
    fn times_are_told_in_their_greatest_unit() {
        let now = at("2026-01-02T12:00:00Z");
        let told = |text: &str| ago(at(text), now);
        assert_eq!(told("2026-01-02T12:00:00Z"), "now");
        assert_eq!(told("2026-01-02T11:59:57Z"), "3s ago");
        assert_eq!(told("2026-01-02T11:57:00Z"), "3m ago");
        assert_eq!(told("2025-12-30T11:57:00Z"), "3d ago");
        assert_eq!(told("2026-01-02T14:00:00Z"), "in 2h");
        assert_eq!(length(Duration::from_millis(250)), "250ms");
        assert_eq!(length(Duration::from_millis(1_500)), "1.5s");
    }
}
