//! Charts as SVG text that needs nothing else: bars, columns, lines, parts of a whole.
//!
//! G1  A chart is 600 units wide, and every label is readable at 600 pixels.
//! G2  Colours differ for people who see few of them, and beside each stands a name. Seven at most; what is more becomes "Other".
//! G3  All colours are CSS variables with a light and a dark value. A page sets `--chart-ink`, `--chart-soft`, `--chart-grid`,
//!     `--chart-paper` and `--chart-0` to `--chart-6` to have its own.
//!
//! No scripts, so that a page with a strict policy can show them. A tooltip is the `<title>` of its mark.

mod axes;
mod bars;
mod parts;
mod rows;

use std::fmt::Write as _;

pub use axes::{area, columns, line};
pub use bars::bar;
pub use parts::pie;
pub use rows::of;

/// What a chart shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Stands above the chart; may be empty.
    pub title: String,
    /// The names on the axis, or of the parts. Dates as ISO text are placed by time in lines.
    pub labels: Vec<String>,
    /// The values, one for each label in each series.
    pub series: Vec<Series>,
    /// How values are written.
    pub unit: Unit,
}

/// Values with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// A value for each label; nothing leaves a gap.
    pub values: Vec<Option<f64>>,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `1,234` or `12.5`.
    Number,
    /// `1.2 GB`, by powers of 1024.
    Bytes,
}

const WIDTH: f64 = 600.0;
/// Colours for series or parts; the last is for what is left.
const COLOURS: usize = 7;

const STYLE: &str = "\
.chart{--ink:var(--chart-ink,#1b2733);--soft:var(--chart-soft,#52606d);--grid:var(--chart-grid,#dfe5ea);\
--paper:var(--chart-paper,#fff);--c0:var(--chart-0,#0072b2);--c1:var(--chart-1,#e69f00);--c2:var(--chart-2,#009e73);\
--c3:var(--chart-3,#cc79a7);--c4:var(--chart-4,#56b4e9);--c5:var(--chart-5,#d55e00);--c6:var(--chart-6,#8d99a5);\
font:13px system-ui,-apple-system,'Segoe UI',sans-serif;max-width:100%;height:auto}\
@media(prefers-color-scheme:dark){.chart{--ink:var(--chart-ink,#e6edf3);--soft:var(--chart-soft,#9fb0c0);\
--grid:var(--chart-grid,#2f3b47);--paper:var(--chart-paper,#10161c);--c0:var(--chart-0,#4aa8e0);--c2:var(--chart-2,#2bc49a)}}\
.chart text{fill:var(--ink)}.chart .soft{fill:var(--soft)}.chart .title{font-size:15px;font-weight:600}\
.chart .grid{stroke:var(--grid);stroke-width:1}.chart .line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}";

/// The whole picture: the title, and below it a body of the given height, drawn from its own top.
fn picture(title: &str, height: f64, body: &str) -> String {
    let top = if title.is_empty() { 8.0 } else { 36.0 };
    let all = top + height + 8.0;
    let label = escaped(if title.is_empty() { "Chart" } else { title });
    let heading = match title {
        "" => String::new(),
        title => format!(
            "<text class=\"title\" x=\"8\" y=\"22\">{}</text>",
            escaped(&shortened(title, 70))
        ),
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {WIDTH} {all:.0}\" width=\"{WIDTH}\" \
         height=\"{all:.0}\" role=\"img\" aria-label=\"{label}\"><style>{STYLE}</style>\
         <rect width=\"{WIDTH}\" height=\"{all:.0}\" rx=\"6\" fill=\"var(--paper)\"/>{heading}\
         <g transform=\"translate(0 {top:.0})\">{body}</g></svg>"
    )
}

/// A picture that says that there is nothing to show.
fn nothing(title: &str) -> String {
    picture(
        title,
        60.0,
        "<text class=\"soft\" x=\"300\" y=\"36\" text-anchor=\"middle\">No data</text>",
    )
}

/// Names with their colours, in rows from the left. Answers with the drawing and its height.
fn legend(names: &[&str]) -> (String, f64) {
    let mut drawing = String::new();
    let (mut x, mut y) = (10.0, 0.0);
    for (at, name) in names.iter().enumerate() {
        let name = shortened(name, 28);
        let wide = 30.0 + text_width(&name);
        if x + wide > WIDTH - 10.0 && x > 10.0 {
            x = 10.0;
            y += 20.0;
        }
        put(
            &mut drawing,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"11\" height=\"11\" rx=\"2\" fill=\"var(--c{})\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                at.min(COLOURS - 1),
                x + 16.0,
                y + 10.5,
                escaped(&name)
            ),
        );
        x += wide;
    }
    (drawing, y + 24.0)
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a text takes everything");
}

/// A guess at how wide a text is in the chart's letters.
#[expect(clippy::cast_precision_loss, reason = "labels are short")]
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.0
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Text within SVG or HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Characters that XML forbids.
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A value for people.
pub(crate) fn written(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Number => grouped(value),
        Unit::Bytes => bytes(value),
    }
}

fn grouped(value: f64) -> String {
    if value.abs() >= 1e15 {
        return format!("{value:e}");
    }
    let digits = if value.fract() == 0.0 || value.abs() >= 1000.0 { 0 } else { 2 };
    let text = format!("{:.digits$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut written = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        written.push('.');
        written.push_str(fraction);
    }
    written
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(scaled.abs() < 100.0 && scaled.fract() != 0.0);
    format!("{scaled:.digits$} {}", UNITS[unit])
}

/// Round values from 0, or from below it, to beyond the greatest: where lines of a grid stand.
fn ticks(least: f64, greatest: f64, unit: Unit) -> Vec<f64> {
    let (least, greatest) = (least.min(0.0), greatest.max(0.0));
    let extent = if greatest > least { greatest - least } else { 1.0 };
    let step = round_step(extent / 4.0, unit);
    let mut tick = (least / step).floor() * step;
    let mut ticks = vec![tick];
    while tick < greatest && ticks.len() < 12 {
        tick += step;
        ticks.push(tick);
    }
    ticks
}

fn round_step(rough: f64, unit: Unit) -> f64 {
    if unit == Unit::Bytes {
        // Powers of two are round where 1024 makes the next unit.
        return rough.max(1.0).log2().ceil().exp2();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough).unwrap_or(10.0);
    step * power
}

impl Chart {
    /// All values that are there.
    fn values(&self) -> impl Iterator<Item = f64> {
        self.series.iter().flat_map(|series| series.values.iter().copied().flatten())
    }

    fn is_empty(&self) -> bool {
        self.labels.is_empty() || self.values().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_for_people() {
        assert_eq!(written(1_234_567.0, Unit::Number), "1,234,567");
        assert_eq!(written(-12.5, Unit::Number), "-12.5");
        assert_eq!(written(0.0, Unit::Number), "0");
        assert_eq!(written(1536.0, Unit::Bytes), "1.5 KB");
        assert_eq!(written(3.0 * 1_073_741_824.0, Unit::Bytes), "3 GB");
    }

    #[test]
    fn a_grid_has_round_values() {
        assert_eq!(ticks(0.0, 87.0, Unit::Number), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(-3.0, 6.0, Unit::Number), [-5.0, 0.0, 5.0, 10.0]);
        assert_eq!(ticks(0.0, 0.0, Unit::Number).first(), Some(&0.0));
        let bytes = ticks(0.0, 3.5e9, Unit::Bytes);
        assert_eq!(written(bytes[1], Unit::Bytes), "1 GB");
    }

    #[test]
    fn a_title_with_markup_is_only_text() {
        let svg = nothing("<script>&\u{1}");
        assert!(!svg.contains("<script>"), "{svg}");
        assert!(svg.contains("&lt;script&gt;&amp;\u{fffd}"), "{svg}");
    }
}
