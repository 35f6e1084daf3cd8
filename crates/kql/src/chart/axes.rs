//! Charts with two axes: columns, lines, areas.

use super::{
    Chart, WIDTH, escaped, legend, nothing, picture, put, shortened, text_width, ticks, written,
};
use crate::time;

const PLOT: f64 = 220.0;

/// Upright bars, a group for each label. Labels that would not be readable side by side become horizontal bars.
pub fn columns(chart: &Chart) -> String {
    if chart.labels.len() > 14 {
        return super::bar(chart);
    }
    drawn(chart, Mark::Columns)
}

/// Lines, a point for each label. When all labels are dates, the distance is time.
pub fn line(chart: &Chart) -> String {
    drawn(chart, Mark::Lines)
}

/// Lines with the space below them filled.
pub fn area(chart: &Chart) -> String {
    drawn(chart, Mark::Areas)
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Columns,
    Lines,
    Areas,
}

/// Where things stand.
struct Plot {
    left: f64,
    top: f64,
    least: f64,
    scale: f64,
    /// The horizontal place of each label.
    places: Vec<f64>,
}

impl Plot {
    fn y(&self, value: f64) -> f64 {
        self.top + PLOT - (value - self.least) * self.scale
    }
}

fn drawn(chart: &Chart, mark: Mark) -> String {
    if chart.is_empty() {
        return nothing(&chart.title);
    }
    let mut body = String::new();
    let mut top = 8.0;
    if chart.series.len() > 1 {
        let names: Vec<&str> = chart.series.iter().map(|series| series.name.as_str()).collect();
        let (drawing, height) = legend(&names);
        body.push_str(&drawing);
        top += height;
    }
    let least = chart.values().fold(0.0, f64::min);
    let greatest = chart.values().fold(0.0, f64::max);
    let ticks = ticks(least, greatest, chart.unit);
    let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
    let widest =
        ticks.iter().map(|tick| text_width(&written(*tick, chart.unit))).fold(0.0, f64::max);
    let left = widest + 18.0;
    let places = places(chart, mark, left);
    let plot =
        Plot { left, top, least: low, scale: PLOT / (high - low).max(f64::MIN_POSITIVE), places };
    for tick in &ticks {
        let y = plot.y(*tick);
        put(
            &mut body,
            format_args!(
                "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - 10.0,
                left - 7.0,
                y + 4.5,
                written(*tick, chart.unit)
            ),
        );
    }
    for at in 0..chart.series.len() {
        match mark {
            Mark::Columns => column_series(&mut body, chart, &plot, at),
            Mark::Lines | Mark::Areas => line_series(&mut body, chart, &plot, at, mark),
        }
    }
    axis_labels(&mut body, chart, &plot, mark);
    picture(&chart.title, top + PLOT + 26.0, &body)
}

/// By time when all labels are dates in order and points are joined, else side by side.
#[expect(clippy::cast_precision_loss, reason = "places on a picture")]
fn places(chart: &Chart, mark: Mark, left: f64) -> Vec<f64> {
    let room = WIDTH - 14.0 - left;
    let count = chart.labels.len() as f64;
    let moments: Option<Vec<i64>> = chart.labels.iter().map(|label| time::parse(label)).collect();
    if let Some(moments) = moments.filter(|moments| mark != Mark::Columns && moments.len() > 1) {
        let (first, last) = (moments.iter().min().copied(), moments.iter().max().copied());
        if let (Some(first), Some(last)) = (first, last)
            && last > first
        {
            let scale = (room - 16.0) / (last - first) as f64;
            return moments
                .iter()
                .map(|moment| left + 8.0 + (moment - first) as f64 * scale)
                .collect();
        }
    }
    (0..chart.labels.len()).map(|at| left + room * (at as f64 + 0.5) / count).collect()
}

#[expect(clippy::cast_precision_loss, reason = "few series and labels")]
fn column_series(body: &mut String, chart: &Chart, plot: &Plot, at: usize) {
    let group = (WIDTH - 14.0 - plot.left) / chart.labels.len() as f64 * 0.72;
    let wide = (group / chart.series.len() as f64).min(56.0);
    let offset = wide * (at as f64 - chart.series.len() as f64 / 2.0);
    let series = &chart.series[at];
    for ((label, place), value) in chart.labels.iter().zip(&plot.places).zip(&series.values) {
        let Some(value) = value else { continue };
        let (zero, end) = (plot.y(0.0), plot.y(*value));
        let text = written(*value, chart.unit);
        put(
            body,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"var(--c{})\">\
             <title>{} {}: {text}</title></rect>",
                place + offset,
                zero.min(end),
                wide - 1.0,
                (zero - end).abs().max(1.0),
                at.min(6),
                escaped(label),
                escaped(&series.name)
            ),
        );
    }
}

fn line_series(body: &mut String, chart: &Chart, plot: &Plot, at: usize, mark: Mark) {
    let series = &chart.series[at];
    let colour = at.min(6);
    let mut path = String::new();
    let mut filled = String::new();
    let mut run: Vec<(f64, f64)> = Vec::new();
    let points: Vec<Option<(f64, f64)>> = plot
        .places
        .iter()
        .zip(&series.values)
        .map(|(x, value)| value.map(|value| (*x, plot.y(value))))
        .collect();
    for point in points.iter().copied().chain([None]) {
        match point {
            Some((x, y)) => {
                put(
                    &mut path,
                    format_args!("{}{x:.1} {y:.1}", if run.is_empty() { "M" } else { "L" }),
                );
                run.push((x, y));
            }
            None if run.is_empty() => {}
            None => {
                let zero = plot.y(0.0);
                put(&mut filled, format_args!("M{:.1} {zero:.1}", run[0].0));
                for (x, y) in &run {
                    put(&mut filled, format_args!("L{x:.1} {y:.1}"));
                }
                put(&mut filled, format_args!("L{:.1} {zero:.1}Z", run[run.len() - 1].0));
                run.clear();
            }
        }
    }
    if mark == Mark::Areas {
        put(
            body,
            format_args!("<path d=\"{filled}\" fill=\"var(--c{colour})\" fill-opacity=\"0.25\"/>"),
        );
    }
    put(body, format_args!("<path class=\"line\" d=\"{path}\" stroke=\"var(--c{colour})\"/>"));
    // Dots help while they are few; among many they hide the line.
    if points.len() <= 60 {
        for ((label, point), value) in chart.labels.iter().zip(&points).zip(&series.values) {
            let (Some((x, y)), Some(value)) = (point, value) else { continue };
            put(
                body,
                format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"var(--c{colour})\"><title>{} {}: {}</title></circle>",
                    escaped(&short_date(label)),
                    escaped(&series.name),
                    written(*value, chart.unit)
                ),
            );
        }
    }
}

/// As many labels as fit without touching each other.
fn axis_labels(body: &mut String, chart: &Chart, plot: &Plot, mark: Mark) {
    let y = plot.top + PLOT + 19.0;
    let mut free = 0.0;
    for (label, place) in chart.labels.iter().zip(&plot.places) {
        let most = if mark == Mark::Columns { columns_letters(chart, plot) } else { 16 };
        let text = shortened(&short_date(label), most);
        let half = text_width(&text) / 2.0;
        let x = place.clamp(half + 2.0, WIDTH - half - 4.0);
        if x - half < free {
            continue;
        }
        free = x + half + if mark == Mark::Columns { 1.0 } else { 10.0 };
        put(
            body,
            format_args!(
                "<text class=\"soft\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}<title>{}</title></text>",
                escaped(&text),
                escaped(label)
            ),
        );
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a few letters")]
fn columns_letters(chart: &Chart, plot: &Plot) -> usize {
    (((WIDTH - 14.0 - plot.left) / chart.labels.len() as f64 / 7.0) as usize).max(3)
}

/// A date without the time when that is midnight.
fn short_date(label: &str) -> String {
    match (time::parse(label), label.split_once('T')) {
        (Some(_), Some((date, time))) if time.starts_with("00:00:00.000") => date.to_owned(),
        (Some(_), Some((date, time))) => format!("{date} {}", time.get(..5).unwrap_or(time)),
        _ => label.to_owned(),
    }
}
