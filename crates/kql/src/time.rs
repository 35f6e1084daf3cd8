//! Moments and lengths of time: texts to numbers and back.
//!
//! C1  A moment is a number of milliseconds since the year 1 began; the text of a moment has 24 characters.
//! C2  A length of time is a number of ticks of 100 nanoseconds, as Kusto counts.
//! C3  Years 1 to 9999, the calendar of today for all of them, UTC only.

pub(crate) const TICKS_A_MILLISECOND: i64 = 10_000;
pub(crate) const DAY_MS: i64 = 86_400_000;
/// From the year 1 to 1970.
pub(crate) const EPOCH_MS: i64 = 719_162 * DAY_MS;
const MOMENT_MAX: i64 = 3_652_059 * DAY_MS - 1;

/// A moment in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) millisecond: i64,
}

/// Days from 0001-01-01 to the date. Months outside 1..=12 carry over into years.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    // Years begin in March, so that the leap day is the last of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 306
}

impl Civil {
    pub(crate) fn of(moment: i64) -> Self {
        let day_number = moment.div_euclid(DAY_MS);
        let time = moment.rem_euclid(DAY_MS);
        let shifted = day_number + 306;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * march_month + 2) / 5 + 1,
            hour: time / 3_600_000,
            minute: time / 60_000 % 60,
            second: time / 1_000 % 60,
            millisecond: time % 1_000,
        }
    }

    pub(crate) fn moment(self) -> i64 {
        days(self.year, self.month, self.day) * DAY_MS
            + ((self.hour * 60 + self.minute) * 60 + self.second) * 1_000
            + self.millisecond
    }
}

pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    days(year, month + 1, 1) - days(year, month, 1)
}

/// The text of a moment, or nothing outside the years 1 to 9999.
pub(crate) fn text(moment: i64) -> Option<String> {
    if !(0..=MOMENT_MAX).contains(&moment) {
        return None;
    }
    let Civil { year, month, day, hour, minute, second, millisecond } = Civil::of(moment);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
    ))
}

/// Reads `2026-01-31`, `2026-01-31 10:30`, `2026-01-31T10:30:00.123Z`. Digits beyond milliseconds have to be 0.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(text[at + 1..].trim_start())),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    let is_date = parts.next().is_none()
        && year >= 1
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day);
    let within = time.map_or(Some(0), time_of_day)?;
    is_date.then(|| days(year, month, day) * DAY_MS + within)
}

fn time_of_day(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let (second, millisecond) = match parts.next() {
        None => (0, 0),
        Some(seconds) => {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            (digits(whole, 2)?, milliseconds(fraction)?)
        }
    };
    let is_time = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    is_time.then_some(((hour * 60 + minute) * 60 + second) * 1_000 + millisecond)
}

fn milliseconds(fraction: &str) -> Option<i64> {
    let ticks = fraction_ticks(fraction)?;
    (ticks % TICKS_A_MILLISECOND == 0).then_some(ticks / TICKS_A_MILLISECOND)
}

/// Up to seven digits after a point, in ticks.
fn fraction_ticks(fraction: &str) -> Option<i64> {
    let fits = (1..=7).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    if !fits {
        return None;
    }
    format!("{fraction:0<7}").parse().ok()
}

fn digits(text: &str, most: usize) -> Option<i64> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

/// A number with a unit, in ticks.
pub(crate) fn ticks_of(number: &str, unit: &str) -> Option<i64> {
    let ticks_a_unit: i64 = match unit {
        "d" | "day" | "days" => 864_000_000_000,
        "h" | "hr" | "hour" | "hours" => 36_000_000_000,
        "m" | "min" | "minute" | "minutes" => 600_000_000,
        "s" | "sec" | "second" | "seconds" => 10_000_000,
        "ms" | "millisecond" | "milliseconds" => 10_000,
        "microsecond" | "microseconds" => 10,
        "tick" | "ticks" => 1,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(ticks_a_unit);
    }
    // Decimal fractions exactly: 1.1d is 95040 seconds, which a float would miss.
    let (whole, fraction) = number.split_once('.')?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    i64::try_from(digits.checked_mul(i128::from(ticks_a_unit))? / scale).ok()
}

/// Reads `1d`, `1.5h`, `02:30:00`, `1.02:30:00.5`, with a sign.
pub(crate) fn parse_timespan(text: &str) -> Option<i64> {
    let text = text.trim().trim_matches(['"', '\'']);
    if let Some(positive) = text.strip_prefix('-') {
        return parse_timespan(positive)?.checked_neg();
    }
    if !text.contains(':') {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        return ticks_of(number, if unit.is_empty() { "d" } else { unit.trim() });
    }
    let (first, rest) = text.split_once(':')?;
    let (day, hour) = match first.split_once('.') {
        Some((day, hour)) => (digits(day, 7)?, digits(hour, 2)?),
        None => (0, digits(first, 2)?),
    };
    let (minute, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let seconds = ((day * 24 + hour) * 60 + digits(minute, 2)?) * 60 + digits(second, 2)?;
    Some(seconds * 10_000_000 + fraction_ticks(fraction)?)
}

/// The text of a length of time as Kusto writes it: `1.02:30:00`, `00:00:00.5000000`.
pub(crate) fn timespan_text(ticks: i64) -> String {
    let sign = if ticks < 0 { "-" } else { "" };
    let ticks = ticks.unsigned_abs();
    let seconds = ticks / 10_000_000;
    let day = match seconds / 86_400 {
        0 => String::new(),
        day => format!("{day}."),
    };
    let fraction = match ticks % 10_000_000 {
        0 => String::new(),
        fraction => format!(".{fraction:07}"),
    };
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{sign}{day}{hour:02}:{minute:02}:{:02}{fraction}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_texts_agree_over_all_days() {
        let mut date = (1, 1, 1);
        for day in 0..3_652_059 {
            let civil = Civil::of(day * DAY_MS);
            assert_eq!((civil.year, civil.month, civil.day), date);
            assert_eq!(civil.moment(), day * DAY_MS);
            date.2 += 1;
            let leap = date.0 % 4 == 0 && (date.0 % 100 != 0 || date.0 % 400 == 0);
            let length = match date.1 {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            if date.2 > length {
                date = if date.1 == 12 { (date.0 + 1, 1, 1) } else { (date.0, date.1 + 1, 1) };
            }
        }
    }

    #[test]
    fn a_moment_reads_back() {
        for moment in
            ["2026-02-28T23:59:59.999Z", "0001-01-01T00:00:00.000Z", "9999-12-31T12:00:00.001Z"]
        {
            assert_eq!(text(parse(moment).unwrap()).as_deref(), Some(moment));
        }
        assert_eq!(parse("1970-01-01"), Some(EPOCH_MS));
        assert_eq!(parse("2026-01-01 10:30"), parse("2026-01-01T10:30:00.0000000Z"));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for wrong in [
            "2026-02-29",
            "2026-13-01",
            "2026-01-01T24:00",
            "2026-01-01T10:00:00.00001",
            "x",
            "",
            "2026-1-1-1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lengths_of_time_are_exact() {
        assert_eq!(ticks_of("1.1", "d"), Some(950_400_000_000));
        assert_eq!(parse_timespan("1.02:30:00.5"), Some(954_000_000_000 + 5_000_000));
        assert_eq!(parse_timespan("-02:30"), Some(-90_000_000_000));
        assert_eq!(timespan_text(954_005_000_000), "1.02:30:00.5000000");
        assert_eq!(timespan_text(-90_000_000_000), "-02:30:00");
    }
}
