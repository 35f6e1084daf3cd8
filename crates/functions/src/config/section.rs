//! Reading one JSON object key by key.
//!
//! A [`Section`] hands each key out once, whatever its case, as the type that is asked for. What nobody asked for is
//! reported when the section is finished, so that the reader of a file and the list of its keys are one piece of code.
//! A bad value is reported and counts as absent: one pass finds all of them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::RangeInclusive,
};

use serde_json::{Map, Value};

use super::{
    Error, Errors, Notice, NoticeKind,
    timespan::{self, TimeSpan},
};

/// What was found while a file was read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Which settings put values into the file, by the lower-case path of the key.
    overridden: BTreeMap<String, String>,
    errors: RefCell<Vec<Error>>,
    notices: RefCell<Vec<Notice>>,
}

impl Report {
    pub(crate) fn with_overrides(overridden: BTreeMap<String, String>) -> Self {
        Self { overridden, ..Self::default() }
    }

    pub(crate) fn error(&self, error: Error) {
        self.errors.borrow_mut().push(error);
    }

    pub(crate) fn notice(&self, kind: NoticeKind, text: String) {
        self.notices.borrow_mut().push(Notice { kind, text });
    }

    /// The value with its notices, unless there was an error.
    pub(crate) fn close<T>(self, value: T) -> Result<(T, Vec<Notice>), Errors> {
        let errors = self.errors.into_inner();
        if errors.is_empty() { Ok((value, self.notices.into_inner())) } else { Err(Errors(errors)) }
    }
}

/// An object that is being read.
#[derive(Debug)]
pub(crate) struct Section<'r> {
    place: &'r str,
    path: String,
    entries: Map<String, Value>,
    /// The keys that were asked for, so that a mistyped one can be told of.
    asked: BTreeSet<String>,
    report: &'r Report,
}

impl<'r> Section<'r> {
    /// The whole of a file, or the properties of a binding.
    pub(crate) fn root(place: &'r str, entries: Map<String, Value>, report: &'r Report) -> Self {
        Self::at(place, "", entries, report)
    }

    /// An object that stands at a path.
    pub(crate) fn at(
        place: &'r str,
        path: &str,
        entries: Map<String, Value>,
        report: &'r Report,
    ) -> Self {
        Self { place, path: path.to_owned(), entries, asked: BTreeSet::new(), report }
    }

    /// The path of a key below this section.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key; null counts as absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.asked.insert(key.to_owned());
        let spelled =
            self.entries.keys().find(|spelled| spelled.eq_ignore_ascii_case(key))?.clone();
        self.entries.remove(&spelled).filter(|value| !value.is_null())
    }

    /// Whether a key is there and has not been taken.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|(spelled, value)| spelled.eq_ignore_ascii_case(key) && !value.is_null())
    }

    /// The keys that nobody has asked for.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.take(key)?;
        scalar(&value).or_else(|| self.refuse(key, &value, "write a text in double quotes"))
    }

    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        match scalar(&value).map(|text| text.to_ascii_lowercase()).as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => self.refuse(key, &value, "write true or false"),
        }
    }

    /// A whole number; the range must fit the type.
    pub(crate) fn whole<N: TryFrom<i64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<N> {
        let value = self.take(key)?;
        let number = scalar(&value).and_then(|text| text.trim().parse::<i64>().ok());
        number
            .filter(|number| range.contains(number))
            .and_then(|number| N::try_from(number).ok())
            .or_else(|| {
                self.refuse(key, &value, &format!("write a whole number {}", bounds(&range)))
            })
    }

    pub(crate) fn positive(&mut self, key: &str) -> Option<f64> {
        let value = self.take(key)?;
        let number = scalar(&value).and_then(|text| text.trim().parse::<f64>().ok());
        number
            .filter(|number| number.is_finite() && *number > 0.0)
            .or_else(|| self.refuse(key, &value, "write a number above 0"))
    }

    pub(crate) fn span(&mut self, key: &str) -> Option<TimeSpan> {
        let value = self.take(key)?;
        let Some(text) = scalar(&value) else {
            return self.refuse(key, &value, "write a span of time such as \"00:05:00\"");
        };
        match text.parse() {
            Ok(span) => {
                if timespan::counts_days(&text) {
                    let advice = format!(
                        "{}: `{}` is {text}, and hours above 23 count days: that is {span}; write `1.00:00:00` for 24 hours",
                        self.place_of(key),
                        self.path(key),
                    );
                    self.report.notice(NoticeKind::Warning, advice);
                }
                Some(span)
            }
            Err(error) => {
                let remedy = error.to_string();
                let remedy = remedy.split_once("; ").map_or("", |(_, remedy)| remedy);
                self.refuse(key, &value, remedy)
            }
        }
    }

    /// A span that is not negative.
    pub(crate) fn duration(&mut self, key: &str) -> Option<std::time::Duration> {
        let span = self.span(key)?;
        span.duration().or_else(|| {
            let found = Value::String(span.to_string());
            self.refuse(
                key,
                &found,
                "write a span of time that is not negative, such as \"00:05:00\"",
            )
        })
    }

    /// The name of a setting that holds a connection.
    pub(crate) fn connection(&mut self, key: &str) -> Option<String> {
        let text = self.text(key).filter(|name| !name.is_empty())?;
        if text.contains(['=', ';']) {
            let remedy =
                "write the name of a setting, and the connection string as the value of that";
            return self.refuse_secret(key, "a connection string", remedy);
        }
        if text.contains('%') {
            let remedy = "a connection is the name of a setting; write it without `%`";
            return self.refuse(key, &Value::String(text), remedy);
        }
        Some(text)
    }

    /// One of some words, whatever their case.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.take(key)?;
        let text = scalar(&value);
        words
            .iter()
            .find(|(word, _)| text.as_ref().is_some_and(|text| word.eq_ignore_ascii_case(text)))
            .map(|&(_, meaning)| meaning)
            .or_else(|| {
                let words = words.iter().map(|(word, _)| format!("\"{word}\""));
                self.refuse(key, &value, &format!("write {}", either(&words.collect::<Vec<_>>())))
            })
    }

    /// A list of texts; one text alone is a list of one.
    pub(crate) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let texts = match &value {
            Value::Array(values) => values.iter().map(scalar).collect(),
            other => scalar(other).map(|text| vec![text]),
        };
        texts.or_else(|| self.refuse(key, &value, "write a list of texts such as [\"a\", \"b\"]"))
    }

    /// An object below this one.
    pub(crate) fn section(&mut self, key: &str) -> Option<Section<'r>> {
        match self.take(key)? {
            Value::Object(entries) => {
                Some(Section::at(self.place, &self.path(key), entries, self.report))
            }
            value => self.refuse(key, &value, "write an object such as {}"),
        }
    }

    /// Objects in a list.
    pub(crate) fn sections(&mut self, key: &str) -> Vec<Section<'r>> {
        let values = match self.take(key) {
            Some(Value::Array(values)) => values,
            Some(value) => {
                self.refuse(key, &value, "write a list of objects such as [{}]").unwrap_or_default()
            }
            None => Vec::new(),
        };
        let mut sections = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let key = format!("{key}[{index}]");
            match value {
                Value::Object(entries) => {
                    sections.push(Section::at(self.place, &self.path(&key), entries, self.report));
                }
                value => {
                    self.refuse::<()>(&key, &value, "write an object such as {}");
                }
            }
        }
        sections
    }

    /// Keys that are known and have no effect here.
    pub(crate) fn not_applied(&mut self, keys: &[&str], why: &str) {
        let mut present = keys.to_vec();
        present.retain(|key| self.take(key).is_some());
        if present.is_empty() {
            return;
        }
        let names: Vec<_> = present.iter().map(|key| format!("`{}`", self.path(key))).collect();
        let verb = if names.len() == 1 { "has" } else { "have" };
        let text = format!("{}: {} {verb} no effect: {why}", self.place, joined(&names, "and"));
        self.report.notice(NoticeKind::NotApplied, text);
    }

    /// The value of an old key moves to the key that took its place, unless that stands there as well.
    pub(crate) fn alias(&mut self, old: &str, new: &str) {
        let Some(value) = self.take(old) else { return };
        let text = format!(
            "{}: `{}` is an old name; write `{}`",
            self.place,
            self.path(old),
            self.path(new)
        );
        self.report.notice(NoticeKind::Deprecated, text);
        if !self.has(new) {
            self.entries.insert(new.to_owned(), value);
        }
    }

    /// Gives a key back that was only looked at.
    pub(crate) fn put(&mut self, key: &str, value: Value) {
        self.entries.insert(key.to_owned(), value);
    }

    /// Says something about a key.
    pub(crate) fn remark(&self, kind: NoticeKind, key: &str, text: &str) {
        self.report.notice(kind, format!("{}: `{}` {text}", self.place_of(key), self.path(key)));
    }

    /// Reports a value, which then counts as absent.
    pub(crate) fn refuse<T>(&self, key: &str, value: &Value, remedy: &str) -> Option<T> {
        self.refuse_secret(key, &shown(value), remedy)
    }

    /// Reports a value that must not be shown, by its kind.
    pub(crate) fn refuse_secret<T>(&self, key: &str, kind: &str, remedy: &str) -> Option<T> {
        self.report.error(Error::Value {
            place: self.place_of(key),
            key: self.path(key),
            found: kind.to_owned(),
            remedy: remedy.to_owned(),
        });
        None
    }

    /// Reports that a key is not there.
    pub(crate) fn missing(&self, key: &str, remedy: &str) {
        self.report.error(Error::Missing {
            place: self.place.to_owned(),
            key: self.path(key),
            remedy: remedy.to_owned(),
        });
    }

    /// Mentions the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for key in self.entries.keys() {
            let (place, path) = (self.place_of(key), self.path(key));
            let near = self.asked.iter().find(|asked| is_near(asked, key));
            let advice = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let text = format!("{place}: `{path}` is not known and is ignored{advice}");
            self.report.notice(NoticeKind::Unknown, text);
        }
    }

    /// The file, or the setting that put the value there.
    fn place_of(&self, key: &str) -> String {
        let path = self.path(key).to_ascii_lowercase();
        match self.report.overridden.get(&path) {
            Some(setting) => format!("the setting {setting}"),
            None => self.place.to_owned(),
        }
    }
}

/// Whether a key is another one with a mistake in it: one letter too many, too few or wrong, or two exchanged.
fn is_near(known: &str, key: &str) -> bool {
    let (known, key) = (known.to_ascii_lowercase(), key.to_ascii_lowercase());
    let (known, key) = (known.as_bytes(), key.as_bytes());
    if known.len() < 4 || known.len().abs_diff(key.len()) > 1 {
        return false;
    }
    let same = known.iter().zip(key).take_while(|(one, other)| one == other).count();
    let (known, key) = (&known[same..], &key[same..]);
    let behind = |bytes: &[u8], count: usize| bytes.get(count..).map(<[u8]>::to_vec);
    let exchanged = known.len() > 1 && key.len() > 1 && known[0] == key[1] && known[1] == key[0];
    behind(known, 1).is_some_and(|rest| rest == key)
        || behind(key, 1).is_some_and(|rest| rest == known)
        || behind(known, 1).is_some_and(|rest| Some(rest) == behind(key, 1))
        || exchanged && known[2..] == key[2..]
}

/// A scalar as text, which is how settings override all types.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value for an error: short, and as it would be written.
pub(crate) fn shown(value: &Value) -> String {
    const LENGTH: usize = 60;
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => {
            let text = scalar.to_string();
            match text.char_indices().nth(LENGTH) {
                Some((end, _)) => format!("{}...", &text[..end]),
                None => text,
            }
        }
    }
}

/// `a, b or c`.
pub(crate) fn either(words: &[impl Display]) -> String {
    joined(words, "or")
}

fn joined(words: &[impl Display], last: &str) -> String {
    let words: Vec<_> = words.iter().map(ToString::to_string).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [head @ .., tail] => format!("{} {last} {tail}", head.join(", ")),
    }
}

fn bounds(range: &RangeInclusive<i64>) -> String {
    const LARGE: i64 = i32::MAX as i64;
    if *range.end() >= LARGE {
        format!("of {} or more", range.start())
    } else {
        format!("from {} to {}", range.start(), range.end())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_with_one_mistake_is_near() {
        for key in ["hubNme", "hubNname", "hubMame", "hubNaem", "uhbname", "HUBNAMES", "ubName"] {
            assert!(is_near("hubName", key), "{key}");
        }
        for key in ["hubName1x", "name", "hub", "taskhub", ""] {
            assert!(!is_near("hubName", key), "{key}");
        }
        assert!(!is_near("url", "urn"), "short keys are near to too much");
    }

    #[test]
    fn long_values_are_cut_in_errors() {
        assert_eq!(shown(&Value::String("é".repeat(100))).chars().count(), 63);
        assert_eq!(shown(&Value::Null), "null");
    }

    proptest! {
        #[test]
        fn comparing_keys_never_panics(one in "\\PC{0,6}", other in "\\PC{0,6}") {
            let _ = is_near(&one, &other);
        }
    }
}
