//! Time as Everstep stores it: 100 ns ticks since 1970 in UTC.
//!
//! History texts have seven digits of a second, Python six, protobuf nine; a tick is the finest all can carry.

use std::{fmt, time::Duration};

const TICKS_PER_SECOND: i64 = 10_000_000;
const TICKS_PER_MICROSECOND: i64 = 10;

/// A span in ticks of 100 ns; what a [`std::time::Duration`] becomes when it is stored.
pub type Duration100 = i64;

/// An instant in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant of 1970.
    pub const EPOCH: Self = Self(0);
    /// Later than all others.
    pub const MAX: Self = Self(i64::MAX);

    /// From ticks of 100 ns since 1970.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// From whole milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 10_000)
    }

    /// From a clock's distance to 1970, cut to whole microseconds.
    pub fn from_unix(since_epoch: Duration) -> Self {
        let micros =
            i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX / TICKS_PER_MICROSECOND);
        Self(micros.saturating_mul(TICKS_PER_MICROSECOND))
    }

    /// Ticks of 100 ns since 1970.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(10_000)
    }

    /// This instant moved by a span, a remainder below a tick rounded up.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(ticks_up(span)))
    }

    /// How long `earlier` lies back; zero if it does not.
    pub fn since(self, earlier: Self) -> Duration {
        let ticks = u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0);
        Duration::new(
            ticks / TICKS_PER_SECOND as u64,
            (ticks % TICKS_PER_SECOND as u64) as u32 * 100,
        )
    }

    /// The next whole microsecond after this one.
    #[must_use]
    pub fn next_micro(self) -> Self {
        Self((self.0.div_euclid(TICKS_PER_MICROSECOND) + 1).saturating_mul(TICKS_PER_MICROSECOND))
    }

    /// This instant cut to whole microseconds.
    #[must_use]
    pub fn whole_micros(self) -> Self {
        Self(self.0.div_euclid(TICKS_PER_MICROSECOND) * TICKS_PER_MICROSECOND)
    }
}

/// A span in ticks, rounded up.
pub(crate) fn ticks_up(span: Duration) -> Duration100 {
    i64::try_from(span.as_nanos().div_ceil(100)).unwrap_or(i64::MAX)
}

/// The round-trip form: `2026-11-21T04:05:06.1234567Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ticks) =
            (self.0.div_euclid(TICKS_PER_SECOND), self.0.rem_euclid(TICKS_PER_SECOND));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{ticks:07}Z",
            second % 60
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Year, month and day of a day number since 1970, in the proleptic Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_in_the_round_trip_form() {
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.0000000Z");
        assert_eq!(
            Timestamp::from_ticks(17_952_339_061_234_567).to_string(),
            "2026-11-21T04:05:06.1234567Z"
        );
        assert_eq!(
            Timestamp::from_millis(951_782_400_000).to_string(),
            "2000-02-29T00:00:00.0000000Z"
        );
        assert_eq!(Timestamp::from_ticks(-1).to_string(), "1969-12-31T23:59:59.9999999Z");
    }

    #[test]
    fn due_times_round_up_and_now_is_cut_to_microseconds() {
        assert_eq!(Timestamp::EPOCH.after(Duration::from_nanos(101)).ticks(), 2);
        assert_eq!(Timestamp::from_unix(Duration::from_nanos(1_999)).ticks(), 10);
        assert_eq!(Timestamp::from_ticks(19).next_micro().ticks(), 20);
        assert_eq!(Timestamp::from_ticks(20).since(Timestamp::EPOCH), Duration::from_micros(2));
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }
}
