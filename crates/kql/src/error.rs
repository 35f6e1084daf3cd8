//! What is wrong with a query, where, and what to write instead.

use std::fmt;

/// A stretch of a query's text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(crate) fn to(self, end: Self) -> Self {
        Self { start: self.start, end: end.end.max(self.start) }
    }
}

/// A fault with its place, before the text of the query is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) span: Span,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// A query that cannot be compiled. Its text names the line and the column and shows the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong and what to write instead.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The place in bytes.
    pub span: Span,
    shown: String,
}

impl Error {
    pub(crate) fn at(text: &str, fault: Fault) -> Self {
        let start = floor_boundary(text, fault.span.start);
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[..begin].matches('\n').count() + 1;
        let before = text[begin..start].chars().count();
        let stop = floor_boundary(text, fault.span.end.clamp(start, end));
        let carets = text[start..stop].chars().count().max(1);
        let shown = shown(text[begin..end].trim_end_matches('\r'), line, before, carets);
        Self { message: fault.message, line, column: before + 1, span: fault.span, shown }
    }
}

/// The line and, below it, carets under the place. Tabs become blanks so that both lines agree.
fn shown(line: &str, number: usize, before: usize, carets: usize) -> String {
    let line = line.replace('\t', " ");
    let number = number.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(before);
    format!("{number} | {line}\n{margin} | {indent}{}", "^".repeat(carets))
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, shown, .. } = self;
        write!(f, "line {line}, column {column}: {message}\n{shown}")
    }
}

impl std::error::Error for Error {}
