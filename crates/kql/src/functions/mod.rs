//! What `SQLite` does not know and compiled queries call, all named `kql_...`.
//!
//! F1  All are deterministic and without effect, so `SQLite` computes constant calls once and views may use them.
//! F2  Null in, null out, unless a head says otherwise. A value of the wrong type counts as null.

mod aggregates;
mod dates;
mod json;
mod packed;
mod texts;

use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
    types::{Value, ValueRef},
};

/// A scalar function; nothing is null.
type Function = fn(&Context<'_>) -> Option<Value>;
/// A scalar function that can refuse its arguments.
type Fallible = fn(&Context<'_>) -> rusqlite::Result<Option<Value>>;

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// Registers the functions that compiled queries call. Once for each connection.
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    let all = [NUMBERS, dates::FUNCTIONS, json::FUNCTIONS, texts::FUNCTIONS];
    for (name, arguments, function) in all.into_iter().flatten() {
        connection
            .create_scalar_function(*name, *arguments, FLAGS, |context| Ok(function(context)))?;
    }
    for (name, arguments, function) in texts::PATTERNS {
        connection.create_scalar_function(*name, *arguments, FLAGS, function)?;
    }
    aggregates::register(connection)
}

const NUMBERS: &[(&str, i32, Function)] = &[
    ("kql_mod", 2, modulo),
    ("kql_bin", 2, bin),
    ("kql_round", 2, round),
    ("kql_ceiling", 1, |c| Some(Value::Real(real(c, 0)?.ceil()))),
    ("kql_sqrt", 1, |c| finite(real(c, 0)?.sqrt())),
    ("kql_exp", 1, |c| finite(real(c, 0)?.exp())),
    ("kql_log", 1, |c| finite(real(c, 0)?.ln())),
    ("kql_log2", 1, |c| finite(real(c, 0)?.log2())),
    ("kql_log10", 1, |c| finite(real(c, 0)?.log10())),
    ("kql_pow", 2, |c| finite(real(c, 0)?.powf(real(c, 1)?))),
    ("kql_sign", 1, sign),
];

fn text<'a>(context: &'a Context<'_>, at: usize) -> Option<&'a str> {
    match context.get_raw(at) {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn whole(context: &Context<'_>, at: usize) -> Option<i64> {
    match context.get_raw(at) {
        ValueRef::Integer(number) => Some(number),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "Kusto converts in the same way")]
fn real(context: &Context<'_>, at: usize) -> Option<f64> {
    match context.get_raw(at) {
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        _ => None,
    }
}

/// What is no number is null in `SQLite`; what is infinite stays.
fn finite(number: f64) -> Option<Value> {
    (!number.is_nan()).then_some(Value::Real(number))
}

/// The remainder, never negative for a positive divisor.
fn modulo(context: &Context<'_>) -> Option<Value> {
    if let (Some(a), Some(b)) = (whole(context, 0), whole(context, 1)) {
        return a.checked_rem_euclid(b).map(Value::Integer);
    }
    finite(real(context, 0)?.rem_euclid(real(context, 1)?))
}

/// The largest multiple of the size that is not above the value.
fn bin(context: &Context<'_>) -> Option<Value> {
    if let (Some(value), Some(size)) = (whole(context, 0), whole(context, 1)) {
        let size = size.checked_abs()?;
        return value.checked_sub(value.checked_rem_euclid(size)?).map(Value::Integer);
    }
    let (value, size) = (real(context, 0)?, real(context, 1)?.abs());
    finite((value / size).floor() * size)
}

/// To so many digits after the point; the exact binary value decides, ties go to the even digit.
fn round(context: &Context<'_>) -> Option<Value> {
    let (value, digits) = (real(context, 0)?, whole(context, 1)?);
    if digits < 0 {
        let unit = 10_f64.powi(i32::try_from(-digits).unwrap_or(i32::MAX));
        return finite((value / unit).round_ties_even() * unit);
    }
    let digits = usize::try_from(digits.min(17)).expect("it lies between 0 and 17");
    finite(format!("{value:.digits$}").parse().ok()?)
}

fn sign(context: &Context<'_>) -> Option<Value> {
    let value = real(context, 0)?;
    finite(if value == 0.0 { 0.0 } else { value.signum() })
}
