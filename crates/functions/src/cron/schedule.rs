//! Schedules: cron expressions in a time zone, and intervals.
//!
//! An expression names local times. It is *running* if its seconds, minutes or hours hold two neighbours (`*`, `1-3`,
//! `0,1`), else it is *fixed*; that is how Azure Functions tells them apart. A local time that exists once is one
//! occurrence. Where clocks are changed:
//!
//! D1  Clocks go back, a local time comes twice: a fixed expression runs the first time only, a running one both times,
//!     so that its runs go on without a hole.
//! D2  Clocks go forward, a local time does not exist: all such times of a fixed expression are one occurrence at the
//!     first moment after the gap.
//! D3  Those of a running expression move by the length of the gap, where they mostly meet times that exist anyway.
//! D4  An occurrence depends on the expression and the zone alone, never on the run before it.
//! D5  Whoever looks for an occurrence looks [`YEARS_MAX`] ahead: the 30th of February ends there.

use std::fmt;

use everstep_model::Timestamp;
use jiff::{SignedDuration, Timestamp as Instant, tz::Offset};

use super::{Error, Zone, expression::Expression, timestamp, zone::Stretch};
use crate::config::TimeSpan;

/// A weekday on the 29th of February comes after 40 years at the latest.
const YEARS_MAX: i64 = 60;

/// When a timer is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Cron(Expression),
    /// Ticks, more than none.
    Interval(i64),
}

impl Schedule {
    /// Reads five or six fields as `NCrontab` does, or a span as .NET does (`24:00:00` is 24 days).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let form = if text.split_whitespace().count() == 1 {
            parse_interval(text).map(Form::Interval)
        } else {
            Expression::parse(text).map(Form::Cron)
        };
        match form {
            Ok(form) => Ok(Self { text: text.trim().to_owned(), form }),
            Err(problem) => Err(Error::Schedule { text: text.to_owned(), problem }),
        }
    }

    /// The first occurrence after `after`, if there is one.
    pub fn next_after(&self, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
        match &self.form {
            Form::Interval(ticks) => after.ticks().checked_add(*ticks).map(Timestamp::from_ticks),
            Form::Cron(expression) => next_cron(expression, after, zone),
        }
    }

    /// The first `count` occurrences after `after`, or as many as there are.
    pub fn next(&self, count: usize, after: Timestamp, zone: &Zone) -> Vec<Timestamp> {
        let first = self.next_after(after, zone);
        std::iter::successors(first, |last| self.next_after(*last, zone)).take(count).collect()
    }

    /// Whether it follows the local clock where that is changed.
    pub fn adjusts_for_dst(&self) -> bool {
        matches!(self.form, Form::Cron(_))
    }

    /// Whether it is due so often that its status is not worth keeping.
    pub(super) fn is_frequent(&self, now: Timestamp, zone: &Zone) -> bool {
        const MINUTE: std::time::Duration = std::time::Duration::from_mins(1);
        match &self.form {
            Form::Interval(ticks) => *ticks < Timestamp::EPOCH.after(MINUTE).ticks(),
            Form::Cron(_) => {
                let soon = self.next(2, now, zone);
                soon.len() == 2 && soon[1] <= now.after(MINUTE)
            }
        }
    }

    /// What to count from after the occurrence `due` was run at `started`: a time after which the next one is the first
    /// that has not passed. Intervals keep their beat.
    pub(super) fn beat(&self, due: Timestamp, started: Timestamp) -> Timestamp {
        let late = started.ticks().saturating_sub(due.ticks());
        match &self.form {
            _ if late <= 0 => due,
            Form::Cron(_) => started,
            Form::Interval(ticks) => Timestamp::from_ticks(due.ticks() + late / ticks * ticks),
        }
    }
}

/// As it was written.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_interval(text: &str) -> Result<i64, String> {
    let span: TimeSpan =
        text.parse().map_err(|_| "one field alone has to be a span of time".to_owned())?;
    if span.ticks() > 0 { Ok(span.ticks()) } else { Err("the span is not above zero".to_owned()) }
}

/// Looks through the stretches between changes of the clock, one by one.
fn next_cron(expression: &Expression, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
    let from_second = after.ticks().div_euclid(10_000_000).checked_add(1)?;
    let mut from = Instant::from_second(from_second).ok()?;
    let horizon =
        from.checked_add(SignedDuration::from_hours(YEARS_MAX * 366 * 24)).unwrap_or(Instant::MAX);
    while from < horizon {
        let stretch = zone.stretch(from);
        let end = stretch.end.map_or(horizon, |end| end.min(horizon));
        if let Some(found) = first_of_stretch(expression, &stretch, from, end) {
            return Some(timestamp(found));
        }
        from = end;
    }
    None
}

fn first_of_stretch(
    expression: &Expression,
    stretch: &Stretch,
    from: Instant,
    end: Instant,
) -> Option<Instant> {
    let first = |from, end, offset| first_by_offset(expression, from, end, offset);
    let Some((start, before)) = stretch.start else { return first(from, end, stretch.offset) };
    // Until then the clocks of before show what clocks of now have skipped, or show again what was.
    let shift = i64::from(stretch.offset.seconds() - before.seconds());
    let settled =
        start.checked_add(SignedDuration::from_secs(shift.abs())).unwrap_or(Instant::MAX).min(end);
    let running = expression.is_running();
    if shift < 0 && !running {
        return first(from.max(settled), end, stretch.offset);
    }
    let skipped = match (shift > 0, running) {
        (false, _) => None,
        (true, true) => first(from, settled, before),
        (true, false) if from > start => None,
        (true, false) => first(start, settled, before).map(|_| start),
    };
    skipped.into_iter().chain(first(from, end, stretch.offset)).min()
}

/// The first match from `from` to before `end` on a clock that never changes.
fn first_by_offset(
    expression: &Expression,
    from: Instant,
    end: Instant,
    offset: Offset,
) -> Option<Instant> {
    let found = expression.first(offset.to_datetime(from), offset.to_datetime(end))?;
    offset.to_timestamp(found).ok()
}

#[cfg(test)]
mod tests;
