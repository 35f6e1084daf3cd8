//! Expressions in the texts of bindings: `%setting%`, and `{data}` of the trigger.
//!
//! B1  Settings are put in when an app is loaded, data when a function runs; a setting's value may hold `{data}`.
//! B2  Names of data are compared without case.
//! B3  A template that is printed reads as the same template.
//!
//! | Expression | Value |
//! |---|---|
//! | `{id}`, `{order.customer.name}` | binding data, and properties within it |
//! | `{sys.methodName}`, `{sys.utcNow}`, `{sys.randGuid}` | the function's name, the time, a new guid |
//! | `{rand-guid}`, `{rand-guid:N}` | a new guid, with dashes or without |
//! | `{DateTime}`, `{datetime:yyyy-MM-dd}` | the time in the .NET format that is given |

use std::fmt;

use everstep_model::{Guid, Timestamp};
use serde_json::{Map, Value};

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such setting.
    #[error(
        "'%{0}%' does not resolve to a value; add `{0}` to `Values` in local.settings.json or to the environment"
    )]
    UnknownSetting(String),
    /// A `%` without its partner.
    #[error("the `%` at position {0} has no closing `%`; a setting is written as `%NAME%`")]
    OpenSetting(usize),
    /// A `{` without its partner.
    #[error("the `{{` at position {0} has no closing `}}`; data is written as `{{name}}`")]
    OpenData(usize),
    /// A `}` without its partner.
    #[error("the `}}` at position {0} has no opening `{{`; data is written as `{{name}}`")]
    StrayEnd(usize),
    /// Nothing, or no name, between the braces.
    #[error(
        "`{{{0}}}` is no name; write letters and digits, with dots between the names of properties"
    )]
    BadName(String),
    /// More data than a text can be searched for.
    #[error("the text holds too much data to be found in a path; write fewer `{{name}}`")]
    TooLong,
    /// The trigger gave no such data.
    #[error("`{{{name}}}` has no value; the trigger gives {known}")]
    UnknownData {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
}

/// Puts settings in the place of `%name%`.
pub fn resolve<'a>(text: &str, get: impl Fn(&str) -> Option<&'a str>) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        let position = text.len() - after.len() - 1;
        let (name, behind) = after.split_once('%').ok_or(Error::OpenSetting(position))?;
        out += get(name).ok_or_else(|| Error::UnknownSetting(name.to_owned()))?;
        rest = behind;
    }
    Ok(out + rest)
}

/// A text with data in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Names from the outside in.
    Data(Vec<String>),
    DateTime(Option<String>),
    Guid(GuidForm),
    MethodName,
    UtcNow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GuidForm {
    /// As `{sys.randGuid}` is spelled; the same value as `Dashes`.
    System,
    Dashes,
    Plain,
}

/// What the host knows when it puts data in.
pub struct System<'a> {
    /// The function's name.
    pub function: &'a str,
    /// The time.
    pub now: Timestamp,
    /// Gives a new guid each time.
    pub guid: &'a mut dyn FnMut() -> Guid,
}

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let position = text.len() - rest.len() + at;
            if rest[at..].starts_with('}') {
                return Err(Error::StrayEnd(position));
            }
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let (name, behind) = rest[at + 1..].split_once('}').ok_or(Error::OpenData(position))?;
            parts.push(part(name)?);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The first names of all data that the text asks the trigger for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Data(path) => path.first().map(String::as_str),
            _ => None,
        })
    }

    /// The same with its own text in lower case; names and formats stay as they are.
    #[must_use]
    pub fn lowered(mut self) -> Self {
        for part in &mut self.parts {
            if let Part::Text(text) = part {
                *text = text.to_lowercase();
            }
        }
        self
    }

    /// The text with data put in.
    pub fn expand(
        &self,
        data: &Map<String, Value>,
        system: &mut System<'_>,
    ) -> Result<String, Error> {
        self.parts.iter().map(|part| expand_part(part, data, system)).collect()
    }

    /// Finds data in texts that were made from this template, such as paths of blobs.
    pub fn matcher(&self) -> Result<Matcher, Error> {
        let pattern: String =
            self.parts.iter().enumerate().map(|(index, part)| self.pattern(index, part)).collect();
        let regex =
            regex::RegexBuilder::new(&format!("^{pattern}$")).dot_matches_new_line(true).build();
        let names = self.names().map(str::to_owned).collect();
        Ok(Matcher { regex: regex.map_err(|_| Error::TooLong)?, names })
    }

    fn pattern(&self, index: usize, part: &Part) -> String {
        match part {
            Part::Text(text) => regex::escape(text),
            Part::Data(_) => {
                let slash = self.parts[index + 1..]
                    .iter()
                    .any(|part| matches!(part, Part::Text(text) if text.contains('/')));
                if slash { "([^/]+)".to_owned() } else { "(.+)".to_owned() }
            }
            Part::DateTime(_) | Part::Guid(_) | Part::MethodName | Part::UtcNow => ".+".to_owned(),
        }
    }
}

/// A template that is ready to be compared with many texts.
///
/// Each name takes as much as it can, from the left, and never nothing. Before a `/` of the template it takes no `/`.
#[derive(Debug, Clone)]
pub struct Matcher {
    regex: regex::Regex,
    names: Vec<String>,
}

impl Matcher {
    /// The data in a text; `None` if the text was not made from the template.
    pub fn find(&self, text: &str) -> Option<Map<String, Value>> {
        let found = self.regex.captures(text)?;
        let values = found.iter().skip(1).map(|value| value.map_or("", |value| value.as_str()));
        Some(self.names.iter().cloned().zip(values.map(Value::from)).collect())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Data(path) => write!(f, "{{{}}}", path.join(".")),
            Part::DateTime(None) => f.write_str("{DateTime}"),
            Part::DateTime(Some(format)) => write!(f, "{{datetime:{format}}}"),
            Part::Guid(GuidForm::System) => f.write_str("{sys.randGuid}"),
            Part::Guid(GuidForm::Dashes) => f.write_str("{rand-guid}"),
            Part::Guid(GuidForm::Plain) => f.write_str("{rand-guid:N}"),
            Part::MethodName => f.write_str("{sys.methodName}"),
            Part::UtcNow => f.write_str("{sys.utcNow}"),
        })
    }
}

fn part(name: &str) -> Result<Part, Error> {
    let (head, format) = match name.split_once(':') {
        Some((head, format)) => (head, Some(format)),
        None => (name, None),
    };
    match (head.to_ascii_lowercase().as_str(), format) {
        ("datetime", format) => Ok(Part::DateTime(format.map(str::to_owned))),
        ("rand-guid", None | Some("D" | "d")) => Ok(Part::Guid(GuidForm::Dashes)),
        ("rand-guid", Some("N" | "n")) => Ok(Part::Guid(GuidForm::Plain)),
        ("sys.randguid", None) => Ok(Part::Guid(GuidForm::System)),
        ("sys.methodname", None) => Ok(Part::MethodName),
        ("sys.utcnow", None) => Ok(Part::UtcNow),
        (_, None) if is_path(name) => Ok(Part::Data(name.split('.').map(str::to_owned).collect())),
        _ => Err(Error::BadName(name.to_owned())),
    }
}

/// Header and query names of a request are data too, hence the `-`.
fn is_path(name: &str) -> bool {
    name.split('.').all(|name| {
        !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
    })
}

fn expand_part(
    part: &Part,
    data: &Map<String, Value>,
    system: &mut System<'_>,
) -> Result<String, Error> {
    Ok(match part {
        Part::Text(text) => text.clone(),
        Part::Data(path) => look_up(path, data).map(plain).ok_or_else(|| unknown(path, data))?,
        Part::DateTime(format) => {
            date_time(system.now, format.as_deref().unwrap_or("yyyy-MM-ddTHH-mm-ssK"))
        }
        Part::Guid(GuidForm::Plain) => (system.guid)().simple(),
        Part::Guid(GuidForm::Dashes | GuidForm::System) => (system.guid)().to_string(),
        Part::MethodName => system.function.to_owned(),
        Part::UtcNow => date_time(system.now, "yyyy-MM-ddTHH:mm:ssK"),
    })
}

fn look_up<'a>(path: &[String], data: &'a Map<String, Value>) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut value = property(data, first)?;
    for name in rest {
        value = property(value.as_object()?, name)?;
    }
    Some(value)
}

fn property<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn unknown(path: &[String], data: &Map<String, Value>) -> Error {
    let names: Vec<_> = data.keys().map(|key| format!("`{key}`")).collect();
    let known = if names.is_empty() { "no data".to_owned() } else { names.join(", ") };
    Error::UnknownData { name: path.join("."), known }
}

/// A time in UTC by a custom format of .NET; what is no specifier stands for itself.
fn date_time(now: Timestamp, format: &str) -> String {
    let Ok(instant) = jiff::Timestamp::from_nanosecond(i128::from(now.ticks()) * 100) else {
        // Times beyond the calendar of the library are never scheduled and never now.
        return String::new();
    };
    let time = instant.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let format = match format {
        "o" | "O" => "yyyy-MM-ddTHH:mm:ss.fffffffK",
        "s" => "yyyy-MM-ddTHH:mm:ss",
        other => other.strip_prefix('%').unwrap_or(other),
    };
    let mut out = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let length = rest.chars().take_while(|&c| c == first).count();
        let (taken, text) = match first {
            '\\' => {
                let escaped = rest[1..].chars().next();
                (
                    1 + escaped.map_or(0, char::len_utf8),
                    escaped.map(String::from).unwrap_or_default(),
                )
            }
            '\'' | '"' => {
                let end = rest[1..].find(first).map_or(rest.len(), |end| end + 1);
                ((end + 1).min(rest.len()), rest[1..end].to_owned())
            }
            _ => (length * first.len_utf8(), specifier(time, first, length)),
        };
        out += &text;
        rest = &rest[taken..];
    }
    out
}

fn specifier(time: jiff::civil::DateTime, letter: char, length: usize) -> String {
    let padded =
        |number: i16| if length == 1 { number.to_string() } else { format!("{number:02}") };
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match (letter, length) {
        ('y', 1 | 2) => padded(time.year() % 100),
        ('y', _) => format!("{:0length$}", time.year(), length = length.min(9)),
        ('M', 1 | 2) => padded(time.month().into()),
        ('M', 3) => time.strftime("%b").to_string(),
        ('M', _) => time.strftime("%B").to_string(),
        ('d', 1 | 2) => padded(time.day().into()),
        ('d', 3) => time.strftime("%a").to_string(),
        ('d', _) => time.strftime("%A").to_string(),
        ('H', _) => padded(time.hour().into()),
        ('h', _) => padded(hour12.into()),
        ('m', _) => padded(time.minute().into()),
        ('s', _) => padded(time.second().into()),
        ('f', 1..=7) => format!("{:07}", time.subsec_nanosecond() / 100)[..length].to_owned(),
        ('t', 1) => if time.hour() < 12 { "A" } else { "P" }.to_owned(),
        ('t', _) => if time.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        ('K', _) => "Z".repeat(length),
        (other, length) => other.to_string().repeat(length),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn settings(name: &str) -> Option<&'static str> {
        match name {
            "QUEUE" => Some("orders"),
            "ENV" => Some("test"),
            _ => None,
        }
    }

    fn expand(text: &str, data: &Value) -> String {
        let mut guid = || Guid([0xab; 16]);
        // 2026-02-03T04:05:06.0070000Z
        let now = Timestamp::from_millis(1_770_091_506_007);
        let mut system = System { function: "Save", now, guid: &mut guid };
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => return error.to_string(),
        };
        template
            .expand(data.as_object().unwrap(), &mut system)
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn settings_are_put_in_several_times() {
        assert_eq!(resolve("%QUEUE%-%ENV%/{id}", settings), Ok("orders-test/{id}".to_owned()));
        assert_eq!(resolve("plain", settings), Ok("plain".to_owned()));
    }

    #[test]
    fn an_unknown_setting_is_named() {
        assert_eq!(
            resolve("a-%NOPE%", settings).unwrap_err().to_string(),
            "'%NOPE%' does not resolve to a value; add `NOPE` to `Values` in local.settings.json or to the environment"
        );
        assert_eq!(
            resolve("100%", settings).unwrap_err().to_string(),
            "the `%` at position 3 has no closing `%`; a setting is written as `%NAME%`"
        );
    }

    #[test]
    fn data_is_put_in() {
        let data = json!({ "id": 7, "Order": { "customer": { "name": "Ada" } }, "none": null, "list": [1] });
        assert_eq!(expand("orders/{ID}/{order.Customer.name}.txt", &data), "orders/7/Ada.txt");
        assert_eq!(expand("{none}{list}", &data), "[1]");
        assert_eq!(expand("{sys.methodname}", &data), "Save");
        assert_eq!(expand("{rand-guid}", &data), "abababab-abab-abab-abab-abababababab");
        assert_eq!(expand("{rand-guid:N}", &data), "ab".repeat(16));
        assert_eq!(expand("{DateTime}", &data), "2026-02-03T04-05-06Z");
        assert_eq!(expand("{sys.utcNow}", &data), "2026-02-03T04:05:06Z");
        assert_eq!(expand("{datetime:yyyy-MM-dd}", &data), "2026-02-03");
        assert_eq!(
            expand("{datetime:d/M yy HH:mm:ss.fff 'at' h tt \\d ddd MMMM}", &data),
            "3/2 26 04:05:06.007 at 4 AM d Tue February"
        );
        assert_eq!(expand("{datetime:o}", &data), "2026-02-03T04:05:06.0070000Z");
    }

    #[test]
    fn bad_expressions_say_what_to_write() {
        let data = json!({ "id": 1 });
        assert_eq!(
            expand("a{id", &data),
            "the `{` at position 1 has no closing `}`; data is written as `{name}`"
        );
        assert_eq!(
            expand("a}", &data),
            "the `}` at position 1 has no opening `{`; data is written as `{name}`"
        );
        assert_eq!(
            expand("{a b}", &data),
            "`{a b}` is no name; write letters and digits, with dots between the names of properties"
        );
        assert_eq!(expand("{x.y}", &data), "`{x.y}` has no value; the trigger gives `id`");
        assert_eq!(expand("{x}", &json!({})), "`{x}` has no value; the trigger gives no data");
    }

    #[test]
    fn the_data_of_a_path_is_found_again() {
        let found = |template: &str, text: &str| {
            Template::parse(template).unwrap().matcher().unwrap().find(text).map(Value::Object)
        };
        assert_eq!(
            found("in/{name}.{ext}", "in/a/b.tar.gz"),
            Some(json!({ "name": "a/b.tar", "ext": "gz" }))
        );
        assert_eq!(
            found("in/{day}/{name}", "in/mon/a"),
            Some(json!({ "day": "mon", "name": "a" }))
        );
        assert_eq!(found("in/{day}/{name}", "in/a"), None);
        assert_eq!(found("in/a+b", "in/a+b"), Some(json!({})));
        assert_eq!(found("in/{name}.txt", "in/.txt"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}%:'\"\\\\.a-zA-Zé-]{0,30}") {
            let _ = resolve(&text, settings);
            let _ = date_time(Timestamp::EPOCH, &text);
            if let Ok(template) = Template::parse(&text) {
                let _ = template.matcher().unwrap().find(&text);
            }
        }

        #[test]
        fn a_template_that_is_printed_reads_as_the_same(text in "([a-z/.]{0,4}\\{([a-z]{1,4}(\\.[a-z]{1,3})?|rand-guid|DateTime|datetime:[yMd-]{1,5}|sys\\.utcnow|sys\\.randguid)\\}){0,4}") {
            let template = Template::parse(&text).unwrap();
            prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
        }
    }
}
