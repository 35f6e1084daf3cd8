//! Horizontal bars: the form for names of any length.

use super::{Chart, WIDTH, escaped, legend, nothing, picture, put, shortened, text_width, written};

/// Rows that are drawn; the rest is counted in a line of text.
const ROWS_MAX: usize = 60;

/// Horizontal bars, a row for each label. Several series stand one below the other in each row.
pub fn bar(chart: &Chart) -> String {
    if chart.is_empty() {
        return nothing(&chart.title);
    }
    let rows = chart.labels.len().min(ROWS_MAX);
    let longest = chart.labels.iter().map(|label| text_width(label)).fold(0.0, f64::max);
    let left = longest.clamp(50.0, 200.0) + 18.0;
    let widest =
        chart.values().map(|value| text_width(&written(value, chart.unit))).fold(0.0, f64::max);
    let room = (WIDTH - left - widest - 20.0).max(60.0);
    let greatest = chart.values().fold(0.0, f64::max);
    let scale = if greatest > 0.0 { room / greatest } else { 0.0 };
    let thick = if chart.series.len() == 1 { 18.0 } else { 13.0 };
    let mut body = String::new();
    let mut y = 0.0;
    if chart.series.len() > 1 {
        let names: Vec<&str> = chart.series.iter().map(|series| series.name.as_str()).collect();
        let (drawing, height) = legend(&names);
        body.push_str(&drawing);
        y += height;
    }
    for at in 0..rows {
        let label = &chart.labels[at];
        put(
            &mut body,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}<title>{}</title></text>",
                left - 8.0,
                y + 14.0,
                escaped(&shortened(label, 29)),
                escaped(label)
            ),
        );
        for (n, series) in chart.series.iter().enumerate() {
            let Some(value) = series.values.get(at).copied().flatten() else { continue };
            let text = written(value, chart.unit);
            let wide = (value.max(0.0) * scale).max(1.0);
            put(
                &mut body,
                format_args!(
                    "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{thick}\" rx=\"2\" fill=\"var(--c{})\">\
                 <title>{} {}: {text}</title></rect><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                    n.min(6),
                    escaped(label),
                    escaped(&series.name),
                    left + wide + 6.0,
                    y + thick / 2.0 + 4.5
                ),
            );
            y += thick + 1.0;
        }
        y += 7.0;
    }
    if chart.labels.len() > rows {
        put(
            &mut body,
            format_args!(
                "<text class=\"soft\" x=\"{left:.1}\" y=\"{:.1}\">and {} more</text>",
                y + 12.0,
                chart.labels.len() - rows
            ),
        );
        y += 20.0;
    }
    picture(&chart.title, y, &body)
}
