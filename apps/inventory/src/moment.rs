//! Moments as the table writes them: milliseconds since 1970, in UTC.
//!
//! Written by hand because a scan writes four of them for every file.

const DAY: i64 = 86_400_000;

/// `2026-11-21T04:05:06.123Z`.
pub(crate) fn iso(millis: i64) -> String {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    write_date(&mut text, millis);
    write_time(&mut text, millis);
    put(&mut text[20..23], millis.rem_euclid(1000));
    String::from_utf8_lossy(&text).into_owned()
}

/// `2026-11-21 04:05:06`.
pub(crate) fn plain(millis: i64) -> String {
    let mut text = *b"0000-00-00 00:00:00";
    write_date(&mut text, millis);
    write_time(&mut text, millis);
    String::from_utf8_lossy(&text).into_owned()
}

/// Whole days from one moment to another, rounded down.
pub(crate) fn days(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).div_euclid(DAY)
}

/// The present.
pub(crate) fn now() -> i64 {
    of(jiff::Timestamp::now())
}

/// A moment of finer grain, cut.
pub(crate) fn of(moment: jiff::Timestamp) -> i64 {
    let nanos = moment.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(nanos).expect("the library's moments have four-digit years")
}

fn write_date(text: &mut [u8], millis: i64) {
    let (year, month, day) = civil(millis.div_euclid(DAY));
    // The table's text has four digits; what lies outside is written as its nearest year.
    put(&mut text[0..4], year.clamp(0, 9999));
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
}

fn write_time(text: &mut [u8], millis: i64) {
    let second = millis.rem_euclid(DAY) / 1000;
    put(&mut text[11..13], second / 3600);
    put(&mut text[14..16], second / 60 % 60);
    put(&mut text[17..19], second % 60);
}

fn put(digits: &mut [u8], mut number: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Year, month and day of a day number since 1970. Years begin in March here, so that the leap day is the last of its
/// year.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (
        year_of_era + era * 400 + i64::from(month <= 2),
        month,
        of_year - (153 * march_month + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_with_milliseconds_that_are_cut() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(plain(1_795_233_906_123), "2026-11-21 04:05:06");
        let moment: jiff::Timestamp = "2024-01-02T03:04:05.1239999Z".parse().unwrap();
        assert_eq!(iso(of(moment)), "2024-01-02T03:04:05.123Z");
    }

    #[test]
    fn moments_are_written_as_another_library_writes_them() {
        for step in 0..5000_i64 {
            let millis = step * 5_123_456_789 - 3_000_000_000_000;
            let other = jiff::Timestamp::from_millisecond(millis).unwrap();
            assert_eq!(iso(millis), format!("{other:.3}"));
        }
    }

    #[test]
    fn days_are_whole_and_rounded_down() {
        assert_eq!(days(0, DAY - 1), 0);
        assert_eq!(days(0, DAY), 1);
        assert_eq!(days(1, 0), -1);
        assert_eq!(days(DAY, 0), -1);
        assert_eq!(days(DAY + 1, 0), -2);
    }
}
