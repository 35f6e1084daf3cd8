//! JSON as people write it: with comments, trailing commas and a byte order mark.
//!
//! J1  What is tolerated becomes spaces before the parser sees it, so that lines and columns stay those of the file.
//! J2  Columns count characters from 1.
//! J3  No text makes this panic or overflow the stack: the parser refuses deep nesting.

use serde_json::{Value, error::Category};

/// Where and why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct Error {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong and what to write.
    pub problem: String,
}

/// The value of a text that comes from `file`.
pub fn parse(file: &str, text: &str) -> Result<Value, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let at = |offset: usize, problem: &str| {
        let (line, column) = position(text, offset);
        Error { file: file.to_owned(), line, column, problem: problem.to_owned() }
    };
    let plain = plain(text)
        .map_err(|offset| at(offset, "this comment has no end; write `*/` where it ends"))?;
    serde_json::from_str(&plain).map_err(|error| {
        let offset = match error.classify() {
            Category::Eof => plain.trim_end().len(),
            _ => offset_of(text, error.line(), error.column()),
        };
        at(offset, &explain(&error.to_string(), text.as_bytes().get(offset).copied()))
    })
}

/// The text with comments and trailing commas as spaces; the offset of a comment without an end otherwise.
fn plain(text: &str) -> Result<String, usize> {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut comma = None;
    let mut at = 0;
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => string_end(bytes, at),
            (b'/', Some(b'/')) => blank(&mut out, at, line_end(bytes, at)),
            (b'/', Some(b'*')) => {
                let end = comment_end(bytes, at).ok_or(at)?;
                blank(&mut out, at, end)
            }
            (byte, _) => {
                if let (b'}' | b']', Some(comma)) = (byte, comma) {
                    out[comma] = b' ';
                }
                at + 1
            }
        };
        match bytes[at] {
            b',' => comma = Some(at),
            b' ' | b'\t' | b'\r' | b'\n' | b'/' => {}
            _ => comma = None,
        }
        at = end;
    }
    Ok(String::from_utf8(out).expect("only whole comments and ASCII commas were replaced"))
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..]
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(bytes.len(), |length| start + length)
}

fn comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let body = &bytes[start + 2..];
    body.windows(2).position(|pair| pair == b"*/").map(|length| start + 2 + length + 2)
}

fn blank(out: &mut [u8], start: usize, end: usize) -> usize {
    out[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    end
}

/// The offset of the byte that the parser means; it counts bytes, and the column of a line's end may be 0.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset];
    let line = before.split(|&byte| byte == b'\n').count();
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    // Bytes that continue a character are not counted.
    let column = before[start..].iter().filter(|&&byte| byte & 0xc0 != 0x80).count() + 1;
    (line, column)
}

/// What the parser says, as what to write.
fn explain(message: &str, byte: Option<u8>) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let remedy = match message {
        "EOF while parsing a list" => "the text ends within a list; write the missing `]`",
        "EOF while parsing an object" => "the text ends within an object; write the missing `}`",
        "EOF while parsing a string" => "the text ends within a string; write the missing `\"`",
        "EOF while parsing a value" => {
            "the text ends where a value belongs; write one, such as `{}`"
        }
        "expected `,` or `}`" => "write `,` before the next key, or `}` at the object's end",
        "expected `,` or `]`" => "write `,` before the next value, or `]` at the list's end",
        "expected `:`" => "write `:` between a key and its value",
        "expected value" | "key must be a string" if byte == Some(b'\'') => {
            "write double quotes instead of single ones"
        }
        "key must be a string" => "write the key in double quotes",
        "expected value" => {
            "a value belongs here; write text in double quotes, a number, true, false, null, a list or an object"
        }
        "expected ident" => "write true, false or null, or put the word in double quotes",
        "trailing characters" => {
            "the JSON has ended before this; remove what follows, or the bracket too many"
        }
        "invalid escape" => "this is no escape; write `\\\\` for a backslash",
        "recursion limit exceeded" => "this is nested too deep",
        message if message.starts_with("control character") => {
            "a string does not go over the end of a line; close its quote, or write `\\n` or `\\t`"
        }
        other => other,
    };
    remedy.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn error(text: &str) -> String {
        parse("host.json", text).unwrap_err().to_string()
    }

    #[test]
    fn comments_trailing_commas_and_a_mark_are_let_through() {
        let text = "\u{feff}{ // the version\n  \"version\": \"2.0\", /* more\n * lines */ \"list\": [1, 2, // two\n ],\n}";
        assert_eq!(parse("host.json", text), Ok(json!({ "version": "2.0", "list": [1, 2] })));
    }

    #[test]
    fn what_stands_in_strings_is_left_alone() {
        let text = r#"{ "url": "http://a/*b*/", "quote": "\"//,}", "end": "\\", }"#;
        assert_eq!(
            parse("host.json", text),
            Ok(json!({ "url": "http://a/*b*/", "quote": "\"//,}", "end": "\\" }))
        );
    }

    #[test]
    fn errors_stand_where_the_person_sees_them() {
        assert_eq!(
            error("{\n  /* é */ \"a\": 1\n  \"b\": 2\n}"),
            "host.json:3:3: write `,` before the next key, or `}` at the object's end"
        );
        assert_eq!(
            error("{ /* é */ 'a': 1 }"),
            "host.json:1:11: write double quotes instead of single ones"
        );
        assert_eq!(error("{ a: 1 }"), "host.json:1:3: write the key in double quotes");
        assert_eq!(error("{ \"a\" 1 }"), "host.json:1:7: write `:` between a key and its value");
        assert_eq!(
            error("{ \"a\": C:\\x }"),
            "host.json:1:8: a value belongs here; write text in double quotes, a number, true, false, null, a list or an object"
        );
        assert_eq!(
            error("{ \"a\": \"C:\\x\" }"),
            "host.json:1:12: this is no escape; write `\\\\` for a backslash"
        );
        assert_eq!(
            error("[1, 2\n"),
            "host.json:1:6: the text ends within a list; write the missing `]`"
        );
        assert_eq!(
            error("{} }"),
            "host.json:1:4: the JSON has ended before this; remove what follows, or the bracket too many"
        );
        assert_eq!(
            error("{\n/* open"),
            "host.json:2:1: this comment has no end; write `*/` where it ends"
        );
        assert_eq!(
            error(""),
            "host.json:1:1: the text ends where a value belongs; write one, such as `{}`"
        );
        assert_eq!(
            error("{\"a\": \"x\ny\"}"),
            "host.json:2:1: a string does not go over the end of a line; close its quote, or write `\\n` or `\\t`"
        );
    }

    #[test]
    fn a_comma_too_many_is_still_an_error() {
        assert!(parse("host.json", "[,]").is_ok(), "one comma before a bracket is tolerated");
        assert!(parse("host.json", "[1,,]").is_err());
        assert!(parse("host.json", &"[".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\PC\n\"\\\\/*,{}\\[\\]:]{0,60}") {
            let _ = parse("host.json", &text);
        }

        #[test]
        fn a_comment_anywhere_between_tokens_changes_nothing(comment in "[a-zé/ \"]{0,10}") {
            prop_assume!(!comment.ends_with('/'));
            let text = format!("{{/*{comment}*/\"a\"/*{comment}*/: [1/*{comment}*/,/*{comment}*/]//{comment}\n}}");
            prop_assert_eq!(parse("host.json", &text), Ok(json!({ "a": [1] })));
        }
    }
}
