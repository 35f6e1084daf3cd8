//! Aggregates: percentiles, deviations, lists, and the row of an extreme.

use std::{cmp::Ordering, collections::HashSet};

use rusqlite::{
    Connection,
    functions::{Aggregate, Context},
    types::{Value, ValueRef},
};
use serde_json::Value as Json;

use super::{FLAGS, packed, real, text, whole};

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_aggregate_function("kql_percentile", 2, FLAGS, Percentile)?;
    connection.create_aggregate_function("kql_stdev", 1, FLAGS, Deviation::Sample)?;
    connection.create_aggregate_function("kql_stdevp", 1, FLAGS, Deviation::Population)?;
    connection.create_aggregate_function("kql_variance", 1, FLAGS, Deviation::SampleSquared)?;
    connection.create_aggregate_function("kql_make_list", 3, FLAGS, Collect::List)?;
    connection.create_aggregate_function("kql_make_set", 3, FLAGS, Collect::Set)?;
    connection.create_aggregate_function("kql_arg_max", -1, FLAGS, Extreme::Max)?;
    connection.create_aggregate_function("kql_arg_min", -1, FLAGS, Extreme::Min)
}

/// The least value that is not below so many percent of all: one of the values, exact.
struct Percentile;

#[derive(Default)]
struct Ranked {
    percent: f64,
    values: Values,
}

/// Numbers take eight bytes each while they are all of one type.
#[derive(Default)]
enum Values {
    #[default]
    None,
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<Box<str>>),
}

impl Aggregate<Ranked, Option<Value>> for Percentile {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Ranked> {
        Ok(Ranked::default())
    }

    fn step(&self, context: &mut Context<'_>, ranked: &mut Ranked) -> rusqlite::Result<()> {
        if let Some(percent) = real(context, 1) {
            ranked.percent = percent;
        }
        ranked.values.push(context.get_raw(0));
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        ranked: Option<Ranked>,
    ) -> rusqlite::Result<Option<Value>> {
        let Some(Ranked { percent, values }) = ranked else { return Ok(None) };
        Ok(values.at(percent))
    }
}

impl Values {
    #[expect(clippy::cast_precision_loss, reason = "a column that mixes types is real")]
    fn push(&mut self, value: ValueRef<'_>) {
        if let (Self::Whole(whole), ValueRef::Real(_)) = (&*self, value) {
            *self = Self::Real(whole.iter().map(|number| *number as f64).collect());
        }
        match (&mut *self, value) {
            (Self::None, ValueRef::Integer(number)) => *self = Self::Whole(vec![number]),
            (Self::None, ValueRef::Real(number)) => *self = Self::Real(vec![number]),
            (Self::None, ValueRef::Text(text)) => {
                *self = Self::Text(vec![String::from_utf8_lossy(text).into()]);
            }
            (Self::Whole(values), ValueRef::Integer(number)) => values.push(number),
            (Self::Real(values), ValueRef::Real(number)) => values.push(number),
            (Self::Real(values), ValueRef::Integer(number)) => values.push(number as f64),
            (Self::Text(values), ValueRef::Text(text)) => {
                values.push(String::from_utf8_lossy(text).into());
            }
            _ => {}
        }
    }

    fn at(self, percent: f64) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Whole(mut values) => {
                let at = rank(values.len(), percent);
                Some(Value::Integer(*values.select_nth_unstable(at).1))
            }
            Self::Real(mut values) => {
                let at = rank(values.len(), percent);
                Some(Value::Real(*values.select_nth_unstable_by(at, f64::total_cmp).1))
            }
            Self::Text(mut values) => {
                let at = rank(values.len(), percent);
                Some(Value::Text(values.select_nth_unstable(at).1.to_string()))
            }
        }
    }
}

/// The place of the percentile among so many sorted values.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the rank is clamped to the places there are"
)]
fn rank(count: usize, percent: f64) -> usize {
    let rank = (percent.clamp(0.0, 100.0) / 100.0 * count as f64).ceil() as usize;
    rank.clamp(1, count) - 1
}

enum Deviation {
    Sample,
    Population,
    SampleSquared,
}

/// Welford's running mean and sum of squares, which do not lose digits on large numbers.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Aggregate<Moments, Option<f64>> for Deviation {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Moments> {
        Ok(Moments::default())
    }

    fn step(&self, context: &mut Context<'_>, moments: &mut Moments) -> rusqlite::Result<()> {
        if let Some(value) = real(context, 0) {
            moments.count += 1.0;
            let off = value - moments.mean;
            moments.mean += off / moments.count;
            moments.squares += off * (value - moments.mean);
        }
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        moments: Option<Moments>,
    ) -> rusqlite::Result<Option<f64>> {
        let Some(Moments { count, squares, .. }) = moments.filter(|moments| moments.count > 0.0)
        else {
            return Ok(None);
        };
        let sample = if count > 1.0 { squares / (count - 1.0) } else { 0.0 };
        Ok(Some(match self {
            Self::Sample => sample.sqrt(),
            Self::Population => (squares / count).sqrt(),
            Self::SampleSquared => sample,
        }))
    }
}

/// A JSON array of the values that are not null, in the order of the rows.
enum Collect {
    List,
    Set,
}

#[derive(Default)]
struct Collected {
    items: Vec<Json>,
    seen: HashSet<String>,
}

impl Aggregate<Collected, String> for Collect {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Collected> {
        Ok(Collected::default())
    }

    fn step(&self, context: &mut Context<'_>, collected: &mut Collected) -> rusqlite::Result<()> {
        let most = whole(context, 2).and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
        let is_full = collected.items.len() >= most;
        let Some(item) = json(context).filter(|_| !is_full) else { return Ok(()) };
        if matches!(self, Self::List) || collected.seen.insert(item.to_string()) {
            collected.items.push(item);
        }
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        collected: Option<Collected>,
    ) -> rusqlite::Result<String> {
        Ok(Json::Array(collected.unwrap_or_default().items).to_string())
    }
}

/// The first argument as JSON; the second is its type.
fn json(context: &Context<'_>) -> Option<Json> {
    let kind = text(context, 1).unwrap_or_default();
    match context.get_raw(0) {
        ValueRef::Null | ValueRef::Blob(_) => None,
        ValueRef::Integer(value) if kind == "bool" => Some(Json::from(value != 0)),
        ValueRef::Integer(ticks) if kind == "timespan" => {
            Some(Json::from(crate::time::timespan_text(ticks)))
        }
        ValueRef::Integer(number) => Some(Json::from(number)),
        ValueRef::Real(number) => Some(Json::from(number)),
        ValueRef::Text(text) if kind == "dynamic" => serde_json::from_slice(text).ok(),
        ValueRef::Text(text) => Some(Json::from(String::from_utf8_lossy(text))),
    }
}

/// The columns of the row in which the first argument is greatest or least; the first of equals.
enum Extreme {
    Max,
    Min,
}

#[derive(Default)]
struct Held {
    key: Option<Value>,
    row: Vec<u8>,
}

impl Aggregate<Held, Option<Vec<u8>>> for Extreme {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Held> {
        Ok(Held::default())
    }

    fn step(&self, context: &mut Context<'_>, held: &mut Held) -> rusqlite::Result<()> {
        let key = context.get_raw(0);
        if key == ValueRef::Null {
            return Ok(());
        }
        let wanted = if matches!(self, Self::Max) { Ordering::Greater } else { Ordering::Less };
        let is_better = held.key.as_ref().is_none_or(|old| compare(key, old.into()) == wanted);
        if is_better {
            held.key = Value::try_from(key).ok();
            held.row = packed::pack((0..context.len()).map(|at| context.get_raw(at)));
        }
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        held: Option<Held>,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        Ok(held.filter(|held| held.key.is_some()).map(|held| held.row))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "only columns that mix whole and real numbers come here"
)]
fn compare(a: ValueRef<'_>, b: ValueRef<'_>) -> Ordering {
    match (a, b) {
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a.cmp(&b),
        (ValueRef::Real(a), ValueRef::Real(b)) => a.total_cmp(&b),
        (ValueRef::Integer(a), ValueRef::Real(b)) => (a as f64).total_cmp(&b),
        (ValueRef::Real(a), ValueRef::Integer(b)) => a.total_cmp(&(b as f64)),
        (ValueRef::Text(a), ValueRef::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}
