//! Functions of moments and lengths of time.

use rusqlite::{functions::Context, types::Value};

use super::{Function, text, whole};
use crate::{
    format,
    time::{self, Civil, DAY_MS, TICKS_A_MILLISECOND},
};

pub(super) const FUNCTIONS: &[(&str, i32, Function)] = &[
    ("kql_add", 2, add),
    ("kql_since", 2, since),
    ("kql_bin_datetime", 2, bin),
    ("kql_start", 3, |c| written(start(text(c, 0)?, date(c, 1)?, whole(c, 2)?)?)),
    ("kql_datetime_add", 3, |c| written(moved(text(c, 0)?, whole(c, 1)?, date(c, 2)?)?)),
    ("kql_datetime_diff", 3, difference),
    ("kql_part", 2, |c| part(text(c, 0)?, date(c, 1)?).map(Value::Integer)),
    ("kql_dayofweek", 1, |c| {
        Some(Value::Integer(weekday(date(c, 0)?) * DAY_MS * TICKS_A_MILLISECOND))
    }),
    ("kql_format_datetime", 2, |c| format::datetime(date(c, 0)?, text(c, 1)?).map(Value::Text)),
    ("kql_todatetime", 1, |c| written(date(c, 0)?)),
    ("kql_totimespan", 1, |c| time::parse_timespan(text(c, 0)?).map(Value::Integer)),
];

fn date(context: &Context<'_>, at: usize) -> Option<i64> {
    time::parse(text(context, at)?)
}

fn written(moment: i64) -> Option<Value> {
    time::text(moment).map(Value::Text)
}

fn add(context: &Context<'_>) -> Option<Value> {
    let by = whole(context, 1)?.div_euclid(TICKS_A_MILLISECOND);
    written(date(context, 0)?.checked_add(by)?)
}

fn since(context: &Context<'_>) -> Option<Value> {
    let milliseconds = date(context, 0)? - date(context, 1)?;
    milliseconds.checked_mul(TICKS_A_MILLISECOND).map(Value::Integer)
}

/// Multiples of the size are counted from the beginning of the year 1, which was a Monday.
fn bin(context: &Context<'_>) -> Option<Value> {
    let ticks = date(context, 0)?.checked_mul(TICKS_A_MILLISECOND)?;
    let over = ticks.checked_rem_euclid(whole(context, 1)?)?;
    written((ticks - over).div_euclid(TICKS_A_MILLISECOND))
}

/// 0 is Sunday, and the week begins with it.
fn weekday(moment: i64) -> i64 {
    (moment.div_euclid(DAY_MS) + 1).rem_euclid(7)
}

/// The beginning of the day, week, month or year, so many further.
fn start(part: &str, moment: i64, offset: i64) -> Option<i64> {
    let day = moment - moment.rem_euclid(DAY_MS);
    let Civil { year, month, .. } = Civil::of(moment);
    let limited = |moment: i64| (-1_000_000..=1_000_000).contains(&offset).then_some(moment);
    limited(0)?;
    Some(match part {
        "day" => day + offset * DAY_MS,
        "week" => day + (7 * offset - weekday(moment)) * DAY_MS,
        "month" => time::days(year, month + offset, 1) * DAY_MS,
        _ => time::days(year + offset, 1, 1) * DAY_MS,
    })
}

/// A moment so many parts further. A day that its month lacks becomes the last of the month.
fn moved(part: &str, count: i64, moment: i64) -> Option<i64> {
    let fixed = match part {
        "week" => Some(7 * DAY_MS),
        "day" => Some(DAY_MS),
        "hour" => Some(3_600_000),
        "minute" => Some(60_000),
        "second" => Some(1_000),
        "millisecond" => Some(1),
        _ => None,
    };
    if let Some(length) = fixed {
        return moment.checked_add(count.checked_mul(length)?);
    }
    let months = match part {
        "year" => count.checked_mul(12)?,
        "quarter" => count.checked_mul(3)?,
        _ => count,
    };
    if !(-120_000..=120_000).contains(&months) {
        return None;
    }
    let civil = Civil::of(moment);
    let month = civil.year * 12 + civil.month - 1 + months;
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
    let day = civil.day.min(time::days_in_month(year, month));
    Some(Civil { year, month, day, ..civil }.moment())
}

/// How many borders of the part lie between, counted as Kusto does: from the second moment to the first.
fn difference(context: &Context<'_>) -> Option<Value> {
    let (name, first, second) = (text(context, 0)?, date(context, 1)?, date(context, 2)?);
    Some(Value::Integer(ordinal(name, first) - ordinal(name, second)))
}

/// The number of the part in which the moment lies.
fn ordinal(name: &str, moment: i64) -> i64 {
    let Civil { year, month, .. } = Civil::of(moment);
    match name {
        "year" => year,
        "quarter" => year * 4 + (month - 1) / 3,
        "month" => year * 12 + month - 1,
        "week" => (moment.div_euclid(DAY_MS) + 1).div_euclid(7),
        "day" => moment.div_euclid(DAY_MS),
        "hour" => moment.div_euclid(3_600_000),
        "minute" => moment.div_euclid(60_000),
        "second" => moment.div_euclid(1_000),
        _ => moment,
    }
}

fn part(name: &str, moment: i64) -> Option<i64> {
    let civil = Civil::of(moment);
    Some(match name {
        "year" => civil.year,
        "quarter" => (civil.month - 1) / 3 + 1,
        "month" => civil.month,
        "week" | "weekofyear" => week_of_year(moment),
        "day" => civil.day,
        "dayofyear" => moment.div_euclid(DAY_MS) - time::days(civil.year, 1, 1) + 1,
        "hour" => civil.hour,
        "minute" => civil.minute,
        "second" => civil.second,
        "millisecond" => civil.millisecond,
        _ => return None,
    })
}

/// By ISO 8601: the week with the year's first Thursday is the first.
fn week_of_year(moment: i64) -> i64 {
    let day = moment.div_euclid(DAY_MS);
    let thursday = day - day.rem_euclid(7) + 3;
    let year = Civil::of(thursday * DAY_MS).year;
    (thursday - time::days(year, 1, 1)) / 7 + 1
}
