//! Figures: samples, their spread, the table for a terminal and the lines for programs.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;

/// One figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Which kind or size of the workload, for example `20000`.
    pub(crate) variant: String,
    /// What was measured, for example `activities`.
    pub(crate) metric: &'static str,
    /// In what, for example `1/s`.
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn new(
        variant: impl Into<String>,
        metric: &'static str,
        unit: &'static str,
        value: f64,
    ) -> Self {
        Self { variant: variant.into(), metric, unit, value }
    }
}

/// One figure of all runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    pub(crate) variant: String,
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
}

/// Rows of a workload's samples, in the order in which figures first appear.
pub(crate) fn rows(workload: &'static str, samples: &[Sample]) -> Vec<Row> {
    let mut order = Vec::new();
    let mut values: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for sample in samples {
        let key = (sample.variant.as_str(), sample.metric);
        let of_key = values.entry(key).or_default();
        if of_key.is_empty() {
            order.push(sample);
        }
        of_key.push(sample.value);
    }
    order
        .into_iter()
        .map(|first| {
            row(workload, first, &mut values[&(first.variant.as_str(), first.metric)].clone())
        })
        .collect()
}

fn row(workload: &'static str, first: &Sample, values: &mut [f64]) -> Row {
    values.sort_by(f64::total_cmp);
    Row {
        workload,
        variant: first.variant.clone(),
        metric: first.metric,
        unit: first.unit,
        median: quantile(values, 500),
        min: values[0],
        max: values[values.len() - 1],
        runs: values.len(),
    }
}

/// A quantile of sorted values, in thousandths, between two neighbours in proportion.
pub(crate) fn quantile(sorted: &[f64], thousandths: usize) -> f64 {
    let place = thousandths * (sorted.len() - 1);
    let (below, above) = (sorted[place / 1000], sorted[place.div_ceil(1000)]);
    below + (above - below) * f64::from((place % 1000) as u32) / 1000.0
}

const HEAD: [&str; 8] = ["workload", "variant", "metric", "unit", "median", "min", "max", "runs"];

/// The rows as aligned columns: words to the left, numbers to the right.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let words = [row.workload, &row.variant, row.metric, row.unit].map(str::to_owned);
        let numbers = [digits(row.median), digits(row.min), digits(row.max), row.runs.to_string()];
        let mut cells = words.into_iter().chain(numbers);
        HEAD.map(|_| cells.next().expect("a row has as many cells as the head"))
    }));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut cells = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let written = if column < 4 {
                write!(cells, "{cell:<width$}  ")
            } else {
                write!(cells, "{cell:>width$}  ")
            };
            written.expect("a string takes everything");
        }
        text.push_str(cells.trim_end());
        text.push('\n');
    }
    text
}

/// Three digits that count, more before the point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// One JSON object a line.
pub(crate) fn json_lines(rows: &[Row]) -> String {
    let line =
        |row| serde_json::to_string(row).expect("words and numbers have a form in JSON") + "\n";
    rows.iter().map(line).collect()
}

pub(crate) fn write_json(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    fs::write(path, json_lines(rows)).with_context(|| format!("cannot write {}", path.display()))
}

/// The one printer: what a person or a pipe wants to have.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("cannot print")
}

/// What is going on, for a person who waits.
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(variant: &str, metric: &'static str, value: f64) -> Sample {
        Sample::new(variant, metric, "1/s", value)
    }

    #[test]
    fn samples_become_rows_in_order_of_appearance() {
        let samples =
            [sample("2000", "rate", 3.0), sample("100", "rate", 9.0), sample("2000", "rate", 1.0)];
        let rows = rows("W2", &samples);
        let figures: Vec<_> = rows
            .iter()
            .map(|row| (row.variant.as_str(), row.median, row.min, row.max, row.runs))
            .collect();
        assert_eq!(figures, [("2000", 2.0, 1.0, 3.0, 2), ("100", 9.0, 9.0, 9.0, 1)]);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 3.0, 10.0];
        let quantiles =
            [0, 500, 990, 1000].map(|thousandths| digits(quantile(&sorted, thousandths)));
        assert_eq!(quantiles, ["1.00", "2.50", "9.79", "10.0"]);
    }

    #[test]
    fn the_table_is_aligned() {
        let rows = rows(
            "W1",
            &[sample("100 steps", "step", 0.123_456), sample("100 steps", "total", 45_678.9)],
        );
        assert_eq!(
            table(&rows),
            "workload  variant    metric  unit  median    min    max  runs\n\
             W1        100 steps  step    1/s    0.123  0.123  0.123     1\n\
             W1        100 steps  total   1/s    45679  45679  45679     1\n"
        );
    }

    #[test]
    fn a_row_becomes_one_line_of_json() {
        let rows = rows("W4", &[sample("p50", "latency", 0.5)]);
        let line = json_lines(&rows);
        let read: serde_json::Value = serde_json::from_str(line.trim_end()).expect("is JSON");
        assert_eq!(read["workload"], "W4");
        assert_eq!(read["median"], 0.5);
        assert_eq!(read["runs"], 1);
        assert_eq!(line.matches('\n').count(), 1);
    }
}
