//! The rows of an answer as a chart, by the rules of `render`.
//!
//! The first column of texts or dates is the axis, columns of numbers are the series. With a second column of texts its values
//! are the series instead, as Kusto has it.

use rusqlite::types::Value;

use super::{Chart, Series, Unit, area, bar, columns, line, pie};
use crate::{
    bind::{Render, RenderKind},
    schema::{Column, Type},
};

/// Series that are drawn; the rest is summed up as "Other".
const SERIES_MAX: usize = 7;

/// The chart that a query asked for; nothing when it asked for a table or the rows hold no number.
pub fn of(render: &Render, columns_of_rows: &[Column], rows: &[Vec<Value>]) -> Option<String> {
    let draw = match render.kind {
        RenderKind::Bar => bar,
        RenderKind::Column => columns,
        RenderKind::Line => line,
        RenderKind::Area => area,
        RenderKind::Pie => pie,
        RenderKind::Table => return None,
    };
    chart(render, columns_of_rows, rows).map(|chart| draw(&chart))
}

fn chart(render: &Render, columns: &[Column], rows: &[Vec<Value>]) -> Option<Chart> {
    let place = |name: &String| columns.iter().position(|column| column.name == *name);
    let is_date = |column: &Column| column.kind == Type::Datetime;
    let is_text = |column: &Column| column.kind == Type::String;
    let dates_first = matches!(render.kind, RenderKind::Line | RenderKind::Area);
    let dates = columns.iter().position(is_date).filter(|_| dates_first);
    let axis = render
        .x_column
        .as_ref()
        .and_then(place)
        .or(dates)
        .or_else(|| columns.iter().position(|column| is_text(column) || is_date(column)));
    let axis = axis.unwrap_or(0);
    let numbers: Vec<usize> = match render.y_columns.as_slice() {
        [] => {
            (0..columns.len()).filter(|at| *at != axis && is_measured(columns[*at].kind)).collect()
        }
        names => names.iter().filter_map(place).collect(),
    };
    let first = *numbers.first()?;
    let split = (0..columns.len()).find(|at| *at != axis && is_text(&columns[*at]));
    let mut labels: Vec<String> = Vec::new();
    let mut series: Vec<Series> = Vec::new();
    for row in rows {
        let label = text(&row[axis]);
        let at = labels.iter().position(|known| *known == label).unwrap_or_else(|| {
            labels.push(label);
            labels.len() - 1
        });
        match split.filter(|_| render.kind != RenderKind::Pie) {
            Some(split) => add(&mut series, &text(&row[split]), at, number(&row[first])),
            None => numbers.iter().for_each(|place| {
                add(&mut series, &columns[*place].name, at, number(&row[*place]));
            }),
        }
    }
    for series in &mut series {
        series.values.resize(labels.len(), None);
    }
    limit(&mut series);
    let is_bytes = numbers.iter().all(|at| columns[*at].name.contains("Bytes"));
    let unit = if is_bytes { Unit::Bytes } else { Unit::Number };
    Some(Chart { title: render.title.clone().unwrap_or_default(), labels, series, unit })
}

fn is_measured(kind: Type) -> bool {
    kind.is_number() || kind == Type::Timespan
}

/// Adds a value to a series; values of the same place are summed.
fn add(series: &mut Vec<Series>, name: &str, at: usize, value: Option<f64>) {
    let known = series.iter().position(|known| known.name == name);
    let found = known.unwrap_or_else(|| {
        series.push(Series { name: name.to_owned(), values: Vec::new() });
        series.len() - 1
    });
    let values = &mut series[found].values;
    if values.len() <= at {
        values.resize(at + 1, None);
    }
    values[at] = match (values[at], value) {
        (Some(old), Some(new)) => Some(old + new),
        (old, new) => old.or(new),
    };
}

fn limit(series: &mut Vec<Series>) {
    if series.len() <= SERIES_MAX {
        return;
    }
    let total = |series: &Series| series.values.iter().flatten().sum::<f64>();
    series.sort_by(|a, b| total(b).total_cmp(&total(a)));
    let rest = series.split_off(SERIES_MAX - 1);
    for one in rest {
        for (at, value) in one.values.into_iter().enumerate() {
            add(series, "Other", at, value);
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::Blob(_) => "(none)".to_owned(),
        Value::Text(text) if text.is_empty() => "(none)".to_owned(),
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "places on a picture")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Real(number) if number.is_finite() => Some(*number),
        _ => None,
    }
}
