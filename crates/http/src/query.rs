//! The query of a request, read as Durable Functions reads it.
//!
//! Q1  Names compare without case; names and values are form-decoded.
//! Q2  A parameter of Durable Functions that cannot be understood counts as not given, and one that is repeated counts as
//!     its values joined with commas.
//! Q3  A parameter of ours that cannot be understood is answered with what to write instead.

use std::{borrow::Cow, time::Duration};

use everstep_model::Timestamp;
use percent_encoding::percent_decode_str;

use crate::{Compat, error::Refusal, time};

/// All parameters, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The query of a URI.
    pub(crate) fn of(uri: &http::Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (form_decoded(name), form_decoded(value))
                })
                .collect(),
        )
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// The first value.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The value, if it is not blank; several are joined.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let named = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        let mut values = self.0.iter().filter(named).map(|(_, value)| value);
        let mut text = Cow::Borrowed(values.next()?.as_str());
        for value in values {
            text = Cow::Owned(format!("{text},{value}"));
        }
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// `true` or `false` in any case; anything else counts as not given.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.text(name).and_then(|text| flag(&text)).unwrap_or(default)
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    /// A number of seconds.
    pub(crate) fn seconds(&self, name: &str) -> Option<Duration> {
        time::seconds(&self.text(name)?)
    }

    /// A date.
    pub(crate) fn time(&self, name: &str, compat: Compat) -> Option<Timestamp> {
        time::parse(&self.text(name)?, compat)
    }

    /// A flag of ours.
    pub(crate) fn our_flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => flag(&text)
                .ok_or_else(|| Refusal::parameter(name, &text, "write `true` or `false`")),
        }
    }

    /// A span of ours.
    pub(crate) fn our_span(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let remedy = "write a number of seconds, or one with a unit: `30s`, `500ms`, `2m`, `1h`";
        time::span(&text).map(Some).ok_or_else(|| Refusal::parameter(name, &text, remedy))
    }

    /// Pairs of all parameters whose name begins with a prefix, with the rest of the name as it was written.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| {
            let (head, rest) = name.split_at_checked(prefix.len())?;
            head.eq_ignore_ascii_case(prefix).then_some((rest, value.as_str()))
        })
    }
}

fn flag(text: &str) -> Option<bool> {
    let text = text.trim();
    match () {
        () if text.eq_ignore_ascii_case("true") => Some(true),
        () if text.eq_ignore_ascii_case("false") => Some(false),
        () => None,
    }
}

/// A plus is a blank; escapes that are none stay as they are.
pub(crate) fn form_decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/x?{text}").parse().unwrap())
    }

    #[test]
    fn names_have_any_case_and_both_sides_are_decoded_like_a_form() {
        let query = query("Rea%73on=it+was%20+%2B1&&empty&=x");
        assert_eq!(query.text("reason").as_deref(), Some("it was  +1"));
        assert_eq!(query.text("empty"), None);
        assert_eq!(query.first("empty"), Some(""));
    }

    #[test]
    fn what_is_repeated_is_joined_and_so_no_longer_a_flag_or_a_number() {
        let query = query("f=false&F=false&n=1&n=2&g=%20FALSE%20&h=0");
        assert_eq!(query.text("f").as_deref(), Some("false,false"));
        assert!(query.flag("f", true) && !query.flag("g", true) && query.flag("h", true));
        assert_eq!(query.number("n"), None);
        assert_eq!(query.all("n").collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn a_parameter_of_ours_must_be_understood() {
        let query = query("force=ja&wait=1x&top=x");
        assert!(query.our_flag("force", false).is_err());
        assert!(query.our_span("wait").is_err());
        assert!(query.our_flag("other", true).is_ok_and(|flag| flag));
        assert_eq!(query.number("top"), None);
    }
}
