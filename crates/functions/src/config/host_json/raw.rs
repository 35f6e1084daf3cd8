//! The file as it stands, and the settings over it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::{Error, Settings, json};

const PREFIX: &str = "AzureFunctionsJobHost";

/// `host.json` with its overrides; nothing is checked but that it is an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    pub(super) file: String,
    pub(super) entries: Map<String, Value>,
    /// Which settings put values in, by the lower-case path.
    pub(super) overridden: BTreeMap<String, String>,
}

impl Raw {
    /// What holds where there is no file of this name.
    pub fn absent(file: &str) -> Self {
        let entries = Map::from_iter([("version".to_owned(), json!("2.0"))]);
        Self { file: file.to_owned(), entries, overridden: BTreeMap::new() }
    }

    /// Reads the text of a file.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        match json::parse(file, text).map_err(Error::HostSyntax)? {
            Value::Object(entries) if entries.is_empty() => Ok(Self::absent(file)),
            Value::Object(entries) => {
                Ok(Self { file: file.to_owned(), entries, overridden: BTreeMap::new() })
            }
            _ => Err(Error::Rule {
                place: file.to_owned(),
                problem: "the file is no object; write {\"version\": \"2.0\"}".to_owned(),
            }),
        }
    }

    /// Lays the settings `AzureFunctionsJobHost__a__b` over the file.
    #[must_use]
    pub fn with_overrides(mut self, settings: &Settings) -> Self {
        for (path, setting, value) in settings.below(PREFIX) {
            if path.iter().all(|name| !name.is_empty()) {
                put(&mut self.entries, &path, value);
                self.overridden.insert(path.join(".").to_ascii_lowercase(), setting.to_owned());
            }
        }
        self
    }
}

/// Puts a text at a path; what is no object on the way becomes one.
fn put(entries: &mut Map<String, Value>, path: &[String], value: &str) {
    let Some((first, rest)) = path.split_first() else { return };
    let spelled =
        entries.keys().find(|key| key.eq_ignore_ascii_case(first)).unwrap_or(first).clone();
    let slot = entries.entry(spelled).or_insert(Value::Null);
    match (rest, slot) {
        ([], slot) => *slot = Value::String(value.to_owned()),
        (rest, Value::Object(inner)) => put(inner, rest, value),
        (rest, Value::Array(list)) => put_in_list(list, rest, value),
        (rest, slot) => {
            let is_index = rest[0].parse::<usize>() == Ok(0);
            *slot = if is_index { json!([]) } else { json!({}) };
            match slot {
                Value::Array(list) => put_in_list(list, rest, value),
                Value::Object(inner) => put(inner, rest, value),
                _ => {}
            }
        }
    }
}

/// Names of a list are its positions; the one behind the last adds to it.
fn put_in_list(list: &mut Vec<Value>, path: &[String], value: &str) {
    let Some((Ok(index), rest)) =
        path.split_first().map(|(first, rest)| (first.parse::<usize>(), rest))
    else {
        return;
    };
    if index == list.len() {
        list.push(Value::Null);
    }
    match (list.get_mut(index), rest) {
        (Some(slot), []) => *slot = Value::String(value.to_owned()),
        (Some(slot), rest) => {
            let mut inner = slot.as_object().cloned().unwrap_or_default();
            put(&mut inner, rest, value);
            *slot = Value::Object(inner);
        }
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overridden(text: &str, pairs: &[(&str, &str)]) -> Value {
        let pairs = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let raw =
            Raw::parse("host.json", text).unwrap().with_overrides(&Settings::from_pairs(pairs));
        Value::Object(raw.entries)
    }

    #[test]
    fn an_empty_object_is_the_default() {
        assert_eq!(Raw::parse("host.json", "{ /* later */ }"), Ok(Raw::absent("host.json")));
    }

    #[test]
    fn settings_override_leaves_whatever_their_case() {
        assert_eq!(
            overridden(
                r#"{ "version": "2.0", "Extensions": { "http": { "routePrefix": "api" } }, "functions": ["a"] }"#,
                &[
                    ("AzureFunctionsJobHost__extensions__HTTP__RoutePrefix", "v1"),
                    ("azurefunctionsjobhost:logging:logLevel:Function.Save", "Debug"),
                    ("AzureFunctionsJobHost__functions__0", "b"),
                    ("AzureFunctionsJobHost__functions__1", "c"),
                    ("AzureFunctionsJobHost__watchFiles__0", "x"),
                    ("AzureFunctionsJobHost__version__odd", "x"),
                    ("AzureFunctionsJobHost__", "ignored"),
                ]
            ),
            json!({
                "version": { "odd": "x" },
                "Extensions": { "http": { "routePrefix": "v1" } },
                "logging": { "logLevel": { "Function.Save": "Debug" } },
                "functions": ["b", "c"],
                "watchFiles": ["x"],
            })
        );
    }

    #[test]
    fn what_is_no_json_or_no_object_is_refused() {
        assert_eq!(
            Raw::parse("host.json", "{\n  \"version\" \"2.0\"\n}").unwrap_err().to_string(),
            "Unable to parse host configuration file 'host.json': host.json:2:13: write `:` between a key and its value"
        );
        assert_eq!(
            Raw::parse("host.json", "[]").unwrap_err().to_string(),
            "host.json: the file is no object; write {\"version\": \"2.0\"}"
        );
    }
}
