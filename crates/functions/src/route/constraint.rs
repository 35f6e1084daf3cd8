//! Constraints of route parameters.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// What the value of a parameter must be.
#[derive(Debug, Clone)]
pub enum Constraint {
    /// `alpha`: letters of the alphabet.
    Alpha,
    /// `bool`
    Bool,
    /// `datetime`
    DateTime,
    /// `decimal`: digits with or without a fraction.
    Decimal,
    /// `double` and `float`, which differ in nothing that a text shows.
    Double,
    /// `float`
    Float,
    /// `guid`
    Guid,
    /// `int`: 32 bits.
    Int,
    /// `long`: 64 bits.
    Long,
    /// `length(n)` and `length(a,b)`: UTF-16 units.
    Length(u32, u32),
    /// `minlength(n)`
    MinLength(u32),
    /// `maxlength(n)`
    MaxLength(u32),
    /// `min(n)`
    Min(i64),
    /// `max(n)`
    Max(i64),
    /// `range(a,b)`
    Range(i64, i64),
    /// `regex(...)`: found anywhere, without case.
    Regex(Regex),
    /// `required`: not empty.
    Required,
}

/// Compiled expressions may take this many bytes, so that a template cannot exhaust the memory.
const REGEX_BYTES: usize = 4 << 20;

impl Constraint {
    /// Reads a constraint from its name and what stands in its parentheses.
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let lower = name.to_ascii_lowercase();
        match (lower.as_str(), argument) {
            ("alpha", None) => Ok(Self::Alpha),
            ("bool", None) => Ok(Self::Bool),
            ("datetime", None) => Ok(Self::DateTime),
            ("decimal", None) => Ok(Self::Decimal),
            ("double", None) => Ok(Self::Double),
            ("float", None) => Ok(Self::Float),
            ("guid", None) => Ok(Self::Guid),
            ("int", None) => Ok(Self::Int),
            ("long", None) => Ok(Self::Long),
            ("required", None) => Ok(Self::Required),
            ("length", Some(text)) => match text.split_once(',') {
                Some((low, high)) => ordered(number(low)?, number(high)?, Self::Length),
                None => number(text).map(|length| Self::Length(length, length)),
            },
            ("minlength", Some(text)) => number(text).map(Self::MinLength),
            ("maxlength", Some(text)) => number(text).map(Self::MaxLength),
            ("min", Some(text)) => number(text).map(Self::Min),
            ("max", Some(text)) => number(text).map(Self::Max),
            ("range", Some(text)) => match text.split_once(',') {
                Some((low, high)) => ordered(number(low)?, number(high)?, Self::Range),
                None => Err("`range` takes two numbers; write `range(1,10)`".to_owned()),
            },
            ("regex", Some(text)) => regex(text),
            ("length" | "minlength" | "maxlength" | "min" | "max" | "range" | "regex", None) => {
                Err(format!("`{lower}` needs a value; write `{lower}(...)`"))
            }
            (known, Some(_)) if Self::parse(known, None).is_ok() => {
                Err(format!("`{lower}` takes no value; write it without parentheses"))
            }
            _ => Err(format!(
                "`{name}` is no constraint; write alpha, bool, datetime, decimal, double, float, guid, int, long, length, \
                 minlength, maxlength, min, max, range, regex or required"
            )),
        }
    }

    /// Whether a value is allowed.
    pub fn allows(&self, value: &str) -> bool {
        let length = || u32::try_from(value.encode_utf16().count()).unwrap_or(u32::MAX);
        let long = || value.trim().parse::<i64>().ok();
        match self {
            Self::Alpha => value.bytes().all(|byte| byte.is_ascii_alphabetic()),
            Self::Bool => {
                ["true", "false"].iter().any(|word| word.eq_ignore_ascii_case(value.trim()))
            }
            Self::DateTime => is_date_time(value.trim()),
            Self::Decimal => is_number(value.trim(), Exponent::No),
            Self::Double | Self::Float => is_number(value.trim(), Exponent::Yes),
            Self::Guid => is_guid(value.trim()),
            Self::Int => value.trim().parse::<i32>().is_ok(),
            Self::Long => long().is_some(),
            Self::Length(low, high) => (*low..=*high).contains(&length()),
            Self::MinLength(low) => length() >= *low,
            Self::MaxLength(high) => length() <= *high,
            Self::Min(low) => long().is_some_and(|number| number >= *low),
            Self::Max(high) => long().is_some_and(|number| number <= *high),
            Self::Range(low, high) => long().is_some_and(|number| (*low..=*high).contains(&number)),
            Self::Regex(regex) => regex.is_match(value),
            Self::Required => !value.is_empty(),
        }
    }
}

fn regex(text: &str) -> Result<Constraint, String> {
    let built = RegexBuilder::new(text).case_insensitive(true).size_limit(REGEX_BYTES).build();
    built.map(Constraint::Regex).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the expression is too large; write smaller counts in its braces".to_owned()
        }
        error => {
            // The last line names the mistake, those before it draw where it is.
            let text = error.to_string();
            let problem = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("the expression cannot be used: {problem}; look-around and back-references are not there")
        }
    })
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is no number that fits; write a whole number"))
}

fn ordered<N: PartialOrd + fmt::Display>(
    low: N,
    high: N,
    make: fn(N, N) -> Constraint,
) -> Result<Constraint, String> {
    if low > high {
        return Err(format!("{low} is more than {high}; write the smaller number first"));
    }
    Ok(make(low, high))
}

#[derive(Clone, Copy, PartialEq)]
enum Exponent {
    Yes,
    No,
}

fn is_number(text: &str, exponent: Exponent) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, power) = match text.split_once(['e', 'E']) {
        Some((mantissa, power)) if exponent == Exponent::Yes => (mantissa, Some(power)),
        _ => (text, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_power = |power: &str| {
        let digits = power.strip_prefix(['-', '+']).unwrap_or(power);
        !digits.is_empty() && is_digits(digits)
    };
    !(whole.is_empty() && fraction.is_empty())
        && is_digits(whole)
        && is_digits(fraction)
        && power.is_none_or(has_power)
}

fn is_guid(text: &str) -> bool {
    let inner = match (text.as_bytes().first(), text.as_bytes().last()) {
        (Some(b'{'), Some(b'}')) | (Some(b'('), Some(b')')) if text.len() == 38 => &text[1..37],
        _ => text,
    };
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<_> = inner.split('-').map(str::len).collect();
    inner.split('-').all(is_hex)
        && (lengths == [8, 4, 4, 4, 12] || (lengths == [32] && inner.len() == text.len()))
}

/// ISO 8601 with or without a time and an offset, and the American form, whose slashes a path can only hold encoded.
fn is_date_time(text: &str) -> bool {
    text.parse::<jiff::civil::DateTime>().is_ok()
        || text.parse::<jiff::Timestamp>().is_ok()
        || jiff::civil::DateTime::strptime("%m/%d/%Y %H:%M:%S", text).is_ok()
        || jiff::civil::Date::strptime("%m/%d/%Y", text).is_ok()
        || jiff::civil::Date::strptime("%m-%d-%Y", text).is_ok()
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Alpha => "alpha",
            Self::Bool => "bool",
            Self::DateTime => "datetime",
            Self::Decimal => "decimal",
            Self::Double => "double",
            Self::Float => "float",
            Self::Guid => "guid",
            Self::Int => "int",
            Self::Long => "long",
            Self::Required => "required",
            Self::Length(low, high) if low == high => return write!(f, "length({low})"),
            Self::Length(low, high) => return write!(f, "length({low},{high})"),
            Self::MinLength(low) => return write!(f, "minlength({low})"),
            Self::MaxLength(high) => return write!(f, "maxlength({high})"),
            Self::Min(low) => return write!(f, "min({low})"),
            Self::Max(high) => return write!(f, "max({high})"),
            Self::Range(low, high) => return write!(f, "range({low},{high})"),
            Self::Regex(regex) => return write!(f, "regex({regex})"),
        };
        f.write_str(word)
    }
}

/// Two constraints are equal if they are written alike.
impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Constraint {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(constraint: &str, yes: &[&str], no: &[&str]) {
        let (name, argument) = match constraint.split_once('(') {
            Some((name, argument)) => (name, argument.strip_suffix(')')),
            None => (constraint, None),
        };
        let constraint = Constraint::parse(name, argument).unwrap();
        yes.iter()
            .for_each(|value| assert!(constraint.allows(value), "{constraint} takes {value}"));
        no.iter()
            .for_each(|value| assert!(!constraint.allows(value), "{constraint} refuses {value}"));
    }

    #[test]
    fn each_constraint_knows_its_values() {
        check("alpha", &["abC"], &["a1", "é"]);
        check("bool", &["true", "FALSE"], &["1", "yes"]);
        check(
            "datetime",
            &[
                "2026-01-02",
                "2026-01-02T03:04:05",
                "2026-01-02 03:04",
                "2026-01-02T03:04:05Z",
                "12/31/2026",
            ],
            &["soon", "2026-13-01", "1"],
        );
        check("decimal", &["1", "-1.5", ".5"], &["1e5", ".", "a", ""]);
        check("double", &["1e5", "1.5E-3", "-2"], &["1e", "e5", "nan", "1.2.3"]);
        check("float", &["1.5"], &["x"]);
        check(
            "guid",
            &[
                "00112233-4455-6677-8899-aabbccddeeff",
                "00112233445566778899AABBCCDDEEFF",
                "{00112233-4455-6677-8899-aabbccddeeff}",
            ],
            &[
                "00112233",
                "00112233-4455-6677-8899-aabbccddeefg",
                "{00112233-4455-6677-8899-aabbccddeeff)",
            ],
        );
        check("int", &["-5", "2147483647"], &["2147483648", "1.0", ""]);
        check("long", &["2147483648"], &["9223372036854775808"]);
        check("length(2)", &["ab"], &["a", "abc"]);
        check("length(2,3)", &["ab", "abc"], &["a", "abcd"]);
        check("minlength(2)", &["ab"], &["a"]);
        check("maxlength(2)", &["ab"], &["abc"]);
        check("min(18)", &["18"], &["17", "x"]);
        check("max(18)", &["18"], &["19"]);
        check("range(-1,1)", &["-1", "1"], &["2"]);
        check("regex(^\\d{3}$)", &["123"], &["1234"]);
        check("regex(^\\w{1,64}$)", &["Straße"], &["a-b"]);
        check("regex(b)", &["aBc"], &["ac"]);
        check("required", &["a"], &[""]);
    }

    #[test]
    fn bad_constraints_say_what_to_write() {
        let error = |name, argument| Constraint::parse(name, argument).unwrap_err();
        assert_eq!(error("int", Some("3")), "`int` takes no value; write it without parentheses");
        assert_eq!(error("min", None), "`min` needs a value; write `min(...)`");
        assert_eq!(error("min", Some("x")), "`x` is no number that fits; write a whole number");
        assert_eq!(error("range", Some("1")), "`range` takes two numbers; write `range(1,10)`");
        assert_eq!(error("range", Some("5,1")), "5 is more than 1; write the smaller number first");
        assert_eq!(
            error("number", None),
            "`number` is no constraint; write alpha, bool, datetime, decimal, double, float, guid, int, long, length, \
             minlength, maxlength, min, max, range, regex or required"
        );
        assert_eq!(
            error("regex", Some("(?=a)")),
            "the expression cannot be used: look-around, including look-ahead and look-behind, is not supported; \
             look-around and back-references are not there"
        );
        assert_eq!(
            error("regex", Some("((a{100}){100}){1000}")),
            "the expression is too large; write smaller counts in its braces"
        );
    }
}
