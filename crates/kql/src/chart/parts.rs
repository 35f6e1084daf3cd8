//! Parts of a whole as a ring, with the names and shares beside it.

use std::f64::consts::TAU;

use super::{COLOURS, Chart, escaped, nothing, picture, put, shortened, written};

/// A ring of the first series, largest part first. Parts beyond six are one, "Other"; values below 0 have no part.
pub fn pie(chart: &Chart) -> String {
    let parts = parts(chart);
    let total: f64 = parts.iter().map(|(_, value)| value).sum();
    if total <= 0.0 {
        return nothing(&chart.title);
    }
    let (x, y, outer, inner) = (130.0, 115.0, 105.0, 62.0);
    let mut body = String::new();
    let mut from = 0.0;
    for (at, (name, value)) in parts.iter().enumerate() {
        let to = from + value / total;
        let text = format!("{name}: {} ({})", written(*value, chart.unit), percent(value / total));
        put(
            &mut body,
            format_args!(
                "<path d=\"{}\" fill=\"var(--c{at})\" stroke=\"var(--paper)\" stroke-width=\"1.5\"><title>{}</title></path>",
                ring(x, y, outer, inner, from, to),
                escaped(&text)
            ),
        );
        from = to;
    }
    put(
        &mut body,
        format_args!(
            "<text x=\"{x}\" y=\"{:.1}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>\
         <text class=\"soft\" x=\"{x}\" y=\"{:.1}\" text-anchor=\"middle\">in all</text>",
            y,
            written(total, chart.unit),
            y + 17.0
        ),
    );
    let mut line = y - 11.5 * f64::from(u8::try_from(parts.len()).unwrap_or(u8::MAX)) + 15.0;
    for (at, (name, value)) in parts.iter().enumerate() {
        put(
            &mut body,
            format_args!(
                "<rect x=\"265\" y=\"{:.1}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"var(--c{at})\"/>\
             <text x=\"284\" y=\"{line:.1}\">{}<title>{}</title></text>\
             <text class=\"soft\" x=\"510\" y=\"{line:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"585\" y=\"{line:.1}\" text-anchor=\"end\">{}</text>",
                line - 11.0,
                escaped(&shortened(name, 20)),
                escaped(name),
                written(*value, chart.unit),
                percent(value / total)
            ),
        );
        line += 23.0;
    }
    picture(&chart.title, 230.0, &body)
}

fn parts(chart: &Chart) -> Vec<(String, f64)> {
    let Some(series) = chart.series.first() else { return Vec::new() };
    let mut parts: Vec<(String, f64)> = chart
        .labels
        .iter()
        .zip(&series.values)
        .filter_map(|(label, value)| {
            value.filter(|value| *value > 0.0).map(|value| (label.clone(), value))
        })
        .collect();
    parts.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    if parts.len() > COLOURS {
        let rest: f64 = parts.drain(COLOURS - 1..).map(|(_, value)| value).sum();
        parts.push(("Other".to_owned(), rest));
    }
    parts
}

fn percent(part: f64) -> String {
    match part * 100.0 {
        small if small < 0.1 => "< 0.1 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

/// The path of a piece of a ring; both ends as parts of the whole turn, from the top.
fn ring(x: f64, y: f64, outer: f64, inner: f64, from: f64, to: f64) -> String {
    // A whole turn begins where it ends, and nothing would be drawn.
    let to = to.min(from + 0.9999);
    let at = |radius: f64, part: f64| {
        let angle = part * TAU;
        format!("{:.2} {:.2}", x + radius * angle.sin(), y - radius * angle.cos())
    };
    let large = u8::from(to - from > 0.5);
    format!(
        "M{} A{outer} {outer} 0 {large} 1 {} L{} A{inner} {inner} 0 {large} 0 {} Z",
        at(outer, from),
        at(outer, to),
        at(inner, to),
        at(inner, from)
    )
}
