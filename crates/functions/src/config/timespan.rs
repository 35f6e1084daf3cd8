//! Spans of time as .NET writes them: `[-][d.]hh:mm:ss[.fffffff]`.
//!
//! S1  A number alone counts days: `-1` is minus one day, which several keys of `host.json` take for "without limit".
//! S2  Of three parts with colons the first counts hours up to 23, and days from 24 on: `24:00:00` is 24 days. That is
//!     what .NET does; [`counts_days`] finds such texts, so that the person can be told.
//! S3  What is printed reads as the same span.

use std::{fmt, str::FromStr, time::Duration};

const TICKS_PER_SECOND: u64 = 10_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// A span of time in ticks of 100 ns; it may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimeSpan(i64);

/// A text that is no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no span of time; write hours, minutes and seconds as `00:05:00`, or days before them as `1.00:00:00`"
)]
pub struct Error;

impl TimeSpan {
    /// From ticks of 100 ns.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// Ticks of 100 ns.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// The same without a sign; `None` if it is negative.
    pub fn duration(self) -> Option<Duration> {
        let ticks = u64::try_from(self.0).ok()?;
        Some(Duration::new(ticks / TICKS_PER_SECOND, (ticks % TICKS_PER_SECOND) as u32 * 100))
    }
}

impl From<Duration> for TimeSpan {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos() / 100).unwrap_or(i64::MAX))
    }
}

impl FromStr for TimeSpan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let ticks = i128::from(magnitude(text).ok_or(Error)?);
        i64::try_from(if negative { -ticks } else { ticks }).map(Self).map_err(|_| Error)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticks = self.0.unsigned_abs();
        let (seconds, fraction) = (ticks / TICKS_PER_SECOND, ticks % TICKS_PER_SECOND);
        let (days, rest) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if days > 0 {
            write!(f, "{days}.")?;
        }
        write!(f, "{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)?;
        if fraction > 0 {
            write!(f, ".{fraction:07}")?;
        }
        Ok(())
    }
}

/// Whether a text looks like hours and is read as days.
pub fn counts_days(text: &str) -> bool {
    let text = text.trim().trim_start_matches('-');
    let hours = text.split(':').next().and_then(|first| first.parse::<u64>().ok());
    text.matches(':').count() == 2 && hours.is_some_and(|hours| hours > 23)
}

/// The ticks of a text without a sign.
fn magnitude(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [days] => ticks(number(days)?, 0, 0, 0, 0),
        [hours, minutes] => {
            let (days, hours) = dotted(hours)?;
            ticks(days, hours, number(minutes)?, 0, 0)
        }
        [first, second, third] => three(first, second, third),
        [days, hours, minutes, seconds] => {
            let (seconds, fraction) = fractional(seconds)?;
            ticks(number(days)?, number(hours)?, number(minutes)?, seconds, fraction)
        }
        _ => None,
    }
}

fn three(first: &str, second: &str, third: &str) -> Option<u64> {
    let (seconds, fraction) = fractional(third)?;
    let (days, hours) = dotted(first)?;
    ticks(days, hours, number(second)?, seconds, fraction).or_else(|| {
        if third.contains('.') {
            None
        } else {
            ticks(number(first)?, number(second)?, seconds, 0, 0)
        }
    })
}

fn dotted(text: &str) -> Option<(u64, u64)> {
    match text.split_once('.') {
        Some((days, hours)) => Some((number(days)?, number(hours)?)),
        None => Some((0, number(text)?)),
    }
}

fn fractional(text: &str) -> Option<(u64, u64)> {
    let Some((seconds, digits)) = text.split_once('.') else { return Some((number(text)?, 0)) };
    let scale = 10_u64.pow(7_u32.checked_sub(u32::try_from(digits.len()).ok()?)?);
    Some((number(seconds)?, number(digits)? * scale))
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.len() <= 8 && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn ticks(days: u64, hours: u64, minutes: u64, seconds: u64, fraction: u64) -> Option<u64> {
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    seconds.checked_mul(TICKS_PER_SECOND)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "the spans of the tests are short")]
        text.parse().ok().map(|span: TimeSpan| span.ticks() as f64 / 1e7)
    }

    #[test]
    fn the_forms_of_dotnet_are_read() {
        const DAY: f64 = 86_400.0;
        for (text, expected) in [
            ("00:05:00", 300.0),
            (" 1:2:3 ", 3723.0),
            ("10:30", 37_800.0),
            ("6", 6.0 * DAY),
            ("-1", -DAY),
            ("1.00:00:00", DAY),
            ("1.12:00", 1.5 * DAY),
            ("2:03:04:05.5", 2.0 * DAY + 11_045.5),
            ("00:00:00.25", 0.25),
            ("-00:00:01", -1.0),
            ("23:59:59", DAY - 1.0),
            ("24:00:00", 24.0 * DAY),
            ("25:13:07", 25.0 * DAY + 47_220.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "-",
            "--1",
            "5 min",
            "24:30:00",
            "00:60:00",
            "00:00:60",
            "24:00",
            "1:2:3:4:5",
            "1.2.3:4:5",
            "00:00:00.12345678",
            "00:00:",
            ":",
            "+1",
            "99999999",
            "1.25:00:00",
        ] {
            assert_eq!(text.parse::<TimeSpan>(), Err(Error), "{text}");
        }
        assert_eq!(
            "soon".parse::<TimeSpan>().unwrap_err().to_string(),
            "no span of time; write hours, minutes and seconds as `00:05:00`, or days before them as `1.00:00:00`"
        );
    }

    #[test]
    fn hours_that_count_days_are_noticed() {
        assert!(counts_days("24:00:00") && counts_days("100:00:00"));
        assert!(!counts_days("23:00:00") && !counts_days("1.00:00:00") && !counts_days("24"));
    }

    #[test]
    fn a_negative_span_is_no_duration() {
        assert_eq!(TimeSpan::from_ticks(-1).duration(), None);
        assert_eq!(TimeSpan::from_ticks(15_000_000).duration(), Some(Duration::from_millis(1500)));
        assert_eq!(TimeSpan::from(Duration::from_millis(1500)).to_string(), "00:00:01.5000000");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_the_same_span(ticks in any::<i64>()) {
            let span = TimeSpan::from_ticks(ticks);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9:.\\- é]{0,30}") {
            let _ = text.parse::<TimeSpan>();
            let _ = counts_days(&text);
        }
    }
}
