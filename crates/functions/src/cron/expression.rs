//! Cron expressions as `NCrontab` reads them, in local time.
//!
//! X1  Six fields, or five with second 0. Day of month and weekday must both match.
//! X2  A field is a list of `*`, a value or a range, each with an optional step. `2/5` counts from 2 to the end; a step
//!     of 0 counts as 1; a range that runs backwards is turned round.
//! X3  Months and weekdays have English names: their first three letters or more, in any case.
//! X4  The weekday 7 and the signs `?`, `L`, `W` and `#` of other dialects are refused.
//!
//! Time zones are unknown here; see [`super::schedule`].

use jiff::civil::{Date, DateTime, Time};

/// One kind of field.
struct Kind {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: &[&str] =
    &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

const KINDS: [Kind; 6] = [
    Kind { name: "second", least: 0, most: 59, names: &[] },
    Kind { name: "minute", least: 0, most: 59, names: &[] },
    Kind { name: "hour", least: 0, most: 23, names: &[] },
    Kind { name: "day", least: 1, most: 31, names: &[] },
    Kind { name: "month", least: 1, most: 12, names: MONTHS },
    Kind { name: "weekday", least: 0, most: 6, names: WEEKDAYS },
];

/// What is wrong with a part of a field, and how many bytes into the text the part begins.
struct Flaw {
    offset: usize,
    what: String,
}

/// The local times at which something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    seconds: Set,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
}

impl Expression {
    /// Reads a text of five or six fields; the error says what is wrong where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let without_second = match fields.len() {
            6 => 0,
            5 => 1,
            count => return Err(format!("it has {count} fields and not five or six")),
        };
        let mut sets = [Set(1); 6];
        for (index, field) in fields.iter().enumerate() {
            let kind = &KINDS[index + without_second];
            sets[index + without_second] = parse_field(kind, field).map_err(|flaw| {
                let start = field.as_ptr() as usize - text.as_ptr() as usize;
                let character = text[..start + flaw.offset].chars().count() + 1;
                format!("field {} ({}), character {character}: {}", index + 1, kind.name, flaw.what)
            })?;
        }
        let [seconds, minutes, hours, days, months, weekdays] = sets;
        Ok(Self { seconds, minutes, hours, days, months, weekdays })
    }

    /// Whether it goes on through the hours of a day rather than naming points of it.
    pub(super) fn is_running(&self) -> bool {
        [self.seconds, self.minutes, self.hours].into_iter().any(Set::has_neighbours)
    }

    /// The first match at or after `from` and before `end`.
    pub(super) fn first(&self, from: DateTime, end: DateTime) -> Option<DateTime> {
        let (mut date, mut time) = (from.date(), from.time());
        while date.to_datetime(Time::midnight()) < end {
            if self.matches_day(date)
                && let Some(found) = self.first_of_day(time)
            {
                let found = date.to_datetime(found);
                return (found < end).then_some(found);
            }
            time = Time::midnight();
            date = if self.months.has(date.month()) {
                date.tomorrow().ok()?
            } else {
                date.last_of_month().tomorrow().ok()?
            };
        }
        None
    }

    fn matches_day(&self, date: Date) -> bool {
        self.months.has(date.month())
            && self.days.has(date.day())
            && self.weekdays.has(date.weekday().to_sunday_zero_offset())
    }

    fn first_of_day(&self, from: Time) -> Option<Time> {
        let whole = |hour, minute| Some((hour, minute, self.seconds.first()?));
        let in_this_minute = || {
            let second = self.seconds.at_or_after(from.second())?;
            Some((from.hour(), from.minute(), second))
        };
        let in_this_hour = || whole(from.hour(), self.minutes.at_or_after(from.minute() + 1)?);
        let later = || whole(self.hours.at_or_after(from.hour() + 1)?, self.minutes.first()?);
        let found = if !self.hours.has(from.hour()) {
            later()
        } else if self.minutes.has(from.minute()) {
            in_this_minute().or_else(in_this_hour).or_else(later)
        } else {
            in_this_hour().or_else(later)
        };
        found.map(|(hour, minute, second)| jiff::civil::time(hour, minute, second, 0))
    }
}

/// Numbers from 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set(u64);

impl Set {
    fn has(self, number: i8) -> bool {
        self.at_or_after(number) == Some(number)
    }

    fn first(self) -> Option<i8> {
        self.at_or_after(0)
    }

    fn at_or_after(self, number: i8) -> Option<i8> {
        let rest = self.0.checked_shr(u32::try_from(number).ok()?)?;
        (rest != 0).then(|| number + rest.trailing_zeros() as i8)
    }

    fn has_neighbours(self) -> bool {
        self.0 & (self.0 >> 1) != 0
    }
}

fn parse_field(kind: &Kind, text: &str) -> Result<Set, Flaw> {
    let (mut set, mut offset) = (0, 0);
    for item in text.split(',') {
        set |= parse_item(kind, item).map_err(|flaw| flaw.after(offset))?.0;
        offset += item.len() + 1;
    }
    Ok(Set(set))
}

/// Reads `*`, `a` or `a-b`, with or without `/step`.
fn parse_item(kind: &Kind, item: &str) -> Result<Set, Flaw> {
    let (range, step) = match item.split_once('/') {
        None => (item, None),
        Some((range, step)) => {
            let count = parse_step(step).map_err(|flaw| flaw.after(range.len() + 1))?;
            (range, Some(count))
        }
    };
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (kind.least, kind.most),
        Some((first, last)) => {
            let start = parse_value(kind, first)?;
            let end = parse_value(kind, last).map_err(|flaw| flaw.after(first.len() + 1))?;
            (start.min(end), start.max(end))
        }
        None => {
            let value = parse_value(kind, range)?;
            (value, if step.is_some() { kind.most } else { value })
        }
    };
    let numbers = (first..=last).step_by(step.unwrap_or(1));
    Ok(Set(numbers.fold(0, |set, number| set | 1 << number)))
}

fn parse_step(text: &str) -> Result<usize, Flaw> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Flaw::new(format!("the step `{text}` is not a number")));
    }
    // A step beyond the field's end reaches its first value only, whatever its size.
    Ok(text.parse::<usize>().unwrap_or(usize::MAX).max(1))
}

fn parse_value(kind: &Kind, text: &str) -> Result<u8, Flaw> {
    let Kind { least, most, names, .. } = kind;
    if text.is_empty() {
        return Err(Flaw::new("a value is missing".to_owned()));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = text.parse::<u8>().ok().filter(|value| (*least..=*most).contains(value));
        return value.ok_or_else(|| {
            let hint = if names.len() == 7 { "; Sunday is 0" } else { "" };
            Flaw::new(format!("`{text}` is not from {least} to {most}{hint}"))
        });
    }
    if let Some(value) = named(kind, text) {
        return Ok(value);
    }
    Err(Flaw::new(match names {
        _ if is_of_other_dialects(text) => {
            format!("`{text}`: the signs `?`, `L`, `W` and `#` are not known; write `*` or numbers")
        }
        [first, second, ..] => format!(
            "`{text}` is neither a number from {least} to {most} nor a name such as `{}` or `{}`",
            &first[..3],
            &second[..3]
        ),
        _ => format!("`{text}` is not a number from {least} to {most}"),
    }))
}

fn named(kind: &Kind, text: &str) -> Option<u8> {
    let text = text.to_ascii_lowercase();
    let is_meant = |name: &&str| text.len() >= 3 && name.starts_with(&text);
    let index = kind.names.iter().position(is_meant)?;
    Some(kind.least + index as u8)
}

fn is_of_other_dialects(text: &str) -> bool {
    let signs = |letter: char| matches!(letter, '?' | '#' | 'L' | 'W' | 'l' | 'w');
    text.contains(signs) && text.chars().all(|letter| signs(letter) || letter.is_ascii_digit())
}

impl Flaw {
    fn new(what: String) -> Self {
        Self { offset: 0, what }
    }

    fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}
