//! `format_datetime`: a moment in the words of a format such as `yyyy-MM-dd HH:mm`.

use std::fmt::Write as _;

use crate::time::Civil;

/// What may stand between the parts.
const SEPARATORS: &str = " /-:,._[]";

/// The first piece of a format that means nothing.
pub(crate) fn unknown(format: &str) -> Option<&str> {
    pieces(format).find(|piece| !is_known(piece))
}

/// The moment in the format, or nothing when the format has a piece that means nothing.
pub(crate) fn datetime(moment: i64, format: &str) -> Option<String> {
    let civil = Civil::of(moment);
    let mut text = String::new();
    for piece in pieces(format) {
        if !is_known(piece) {
            return None;
        }
        write(&mut text, civil, piece);
    }
    Some(text)
}

/// Runs of the same letter, and separators one by one.
fn pieces(format: &str) -> impl Iterator<Item = &str> {
    let mut rest = format;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_run = first.is_ascii_alphabetic();
        let end =
            if is_run { rest.find(|c| c != first).unwrap_or(rest.len()) } else { first.len_utf8() };
        let piece = &rest[..end];
        rest = &rest[end..];
        Some(piece)
    })
}

fn is_known(piece: &str) -> bool {
    match piece.as_bytes()[0] {
        b'y' => matches!(piece.len(), 2 | 4),
        b'M' | b'd' | b'H' | b'h' | b'm' | b's' => piece.len() <= 2,
        b'f' | b'F' => piece.len() <= 7,
        b't' => piece.len() == 2,
        _ => SEPARATORS.contains(piece),
    }
}

fn write(text: &mut String, civil: Civil, piece: &str) {
    let width = piece.len();
    let number = match piece.as_bytes()[0] {
        b'y' if width == 2 => civil.year % 100,
        b'y' => civil.year,
        b'M' => civil.month,
        b'd' => civil.day,
        b'H' => civil.hour,
        b'h' => (civil.hour + 11) % 12 + 1,
        b'm' => civil.minute,
        b's' => civil.second,
        b'f' => return text.push_str(&format!("{:03}0000", civil.millisecond)[..width]),
        b'F' => {
            let digits = format!("{:03}0000", civil.millisecond);
            return text.push_str(digits[..width].trim_end_matches('0'));
        }
        b't' => return text.push_str(if civil.hour < 12 { "AM" } else { "PM" }),
        _ => return text.push_str(piece),
    };
    write!(text, "{number:0width$}").expect("a text takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn formats_have_the_parts_of_kusto() {
        let moment = time::parse("2026-03-07T15:04:05.120Z").unwrap();
        let check = |format, text| assert_eq!(datetime(moment, format).as_deref(), Some(text));
        check("yyyy-MM-dd HH:mm:ss", "2026-03-07 15:04:05");
        check("yy/M/d h:m:s tt", "26/3/7 3:4:5 PM");
        check("ss.fff [FFFFFFF]", "05.120 [12]");
        assert_eq!(datetime(moment, "yyyy-QQ"), None);
        assert_eq!(unknown("yyyy-MMM"), Some("MMM"));
    }
}
