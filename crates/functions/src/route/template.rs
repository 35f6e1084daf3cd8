//! One route.
//!
//! | Written | Matches |
//! |---|---|
//! | `orders` | itself, in any case |
//! | `{id}` | one segment that is not empty |
//! | `{id?}`, `{id=7}` | the same, or nothing at the end of the path |
//! | `{id:int:min(1)}` | what the constraints allow |
//! | `{*rest}`, `{**rest}` | all that is left, which may be nothing |
//! | `{name}.{ext?}`, `v{major}` | parts of one segment |
//! | `{{` and `}}` | a brace |

use std::{collections::BTreeSet, fmt};

use super::constraint::Constraint;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {problem}")]
pub struct Error {
    /// Where, in characters from 0.
    pub position: usize,
    /// What, and what to write.
    pub problem: String,
}

/// A route that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(super) segments: Vec<Segment>,
}

/// What stands between two slashes: at least one part, and never two parameters side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Parameter(Parameter),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) constraints: Vec<Constraint>,
    pub(super) reach: Reach,
    pub(super) absence: Absence,
}

/// How much a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Segment,
    /// `{*rest}`
    Rest,
    /// `{**rest}`, which differs only when URLs are made.
    RestWithSlashes,
}

/// What holds when there is nothing in the path for a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absence {
    NoMatch,
    Optional,
    Default(String),
}

/// A part as it is read: what it is, and where its text begins.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Template {
    /// Reads a route. A slash at its end means nothing.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut reader = Reader { text, at: 0 };
        if text.starts_with(['/', '~']) {
            return Err(reader
                .error(0, "a route is relative; write it without `/` or `~` at its beginning"));
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut names = BTreeSet::new();
        while reader.at < text.len() {
            let start = reader.at;
            if let Some(Part::Parameter(parameter)) =
                segments.last().and_then(|last| last.parts.last())
                && parameter.reach != Reach::Segment
            {
                return Err(reader.error(start, "nothing follows a catch-all; write it last"));
            }
            segments.push(reader.segment(&mut names)?);
            if reader.text[reader.at..].starts_with('/') {
                reader.at += 1;
            }
        }
        Ok(Self { segments })
    }

    /// The names of the parameters from the left.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parts().filter_map(|part| match part {
            Part::Parameter(parameter) => Some(parameter.name.as_str()),
            Part::Literal(_) => None,
        })
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.segments.iter().flat_map(|segment| &segment.parts)
    }

    /// The first segment, where it is a literal.
    pub(super) fn first_literal(&self) -> Option<&str> {
        match self.segments.first()?.parts.as_slice() {
            [Part::Literal(literal)] => Some(literal),
            _ => None,
        }
    }
}

impl Reader<'_> {
    fn error(&self, at: usize, problem: impl Into<String>) -> Error {
        Error { position: self.text[..at].chars().count(), problem: problem.into() }
    }

    fn segment(&mut self, names: &mut BTreeSet<String>) -> Result<Segment, Error> {
        let start = self.at;
        let mut parts: Vec<Part> = Vec::new();
        while let Some(next) = self.text[self.at..].chars().next().filter(|&next| next != '/') {
            let at = self.at;
            let is_parameter = next == '{' && !self.text[at..].starts_with("{{");
            let part = if is_parameter {
                Part::Parameter(self.parameter(names)?)
            } else {
                self.literal()?
            };
            if let (Some(Part::Parameter(_)), Part::Parameter(_)) = (parts.last(), &part) {
                return Err(
                    self.error(at, "two parameters stand side by side; write a text between them")
                );
            }
            parts.push(part);
        }
        if parts.is_empty() {
            return Err(self.error(start, "a segment is empty; write one `/` between segments"));
        }
        self.check_segment(start, &parts)?;
        Ok(Segment { parts })
    }

    /// What parts may stand together.
    fn check_segment(&self, start: usize, parts: &[Part]) -> Result<(), Error> {
        if parts.len() == 1 {
            return Ok(());
        }
        for (index, part) in parts.iter().enumerate() {
            let Part::Parameter(parameter) = part else { continue };
            if parameter.reach != Reach::Segment {
                return Err(self.error(
                    start,
                    "a catch-all fills its segment; write it alone between slashes",
                ));
            }
            let follows_dot = matches!(parts.get(index.wrapping_sub(1)), Some(Part::Literal(text)) if text == ".");
            let may_be_absent = follows_dot && index + 1 == parts.len() && index >= 2;
            match parameter.absence {
                Absence::Optional if !may_be_absent => {
                    return Err(self.error(
                        start,
                        "an optional parameter fills its segment or ends it after a `.`; write it so, or without `?`",
                    ));
                }
                Absence::Default(_) => {
                    return Err(self.error(start, "a parameter with a default fills its segment; write it alone between slashes"));
                }
                Absence::Optional | Absence::NoMatch => {}
            }
        }
        Ok(())
    }

    fn literal(&mut self) -> Result<Part, Error> {
        let mut literal = String::new();
        while let Some(next) = self.text[self.at..].chars().next().filter(|&next| next != '/') {
            let rest = &self.text[self.at..];
            match next {
                '{' | '}' if rest[1..].starts_with(next) => self.at += 2,
                '{' => break,
                '}' => {
                    return Err(
                        self.error(self.at, "a `}` has no opening `{`; write `}}` for a brace")
                    );
                }
                '?' | '*' => {
                    return Err(self.error(self.at, format!("a text holds no `{next}`; write it within braces, as in `{{id?}}` or `{{*rest}}`")));
                }
                other => self.at += other.len_utf8(),
            }
            literal.push(next);
        }
        Ok(Part::Literal(literal))
    }

    fn parameter(&mut self, names: &mut BTreeSet<String>) -> Result<Parameter, Error> {
        let start = self.at;
        let inner = self.braces()?;
        let (inner, reach) = match inner.strip_prefix("**") {
            Some(inner) => (inner, Reach::RestWithSlashes),
            None => match inner.strip_prefix('*') {
                Some(inner) => (inner, Reach::Rest),
                None => (inner.as_str(), Reach::Segment),
            },
        };
        let end = inner.find([':', '=', '?']).unwrap_or(inner.len());
        let (name, behind) = inner.split_at(end);
        let fits = !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !fits {
            return Err(self.error(
                start,
                format!("`{name}` is no name of a parameter; write letters and digits"),
            ));
        }
        if !names.insert(name.to_lowercase()) {
            return Err(self.error(
                start,
                format!("the parameter `{name}` stands twice; give one another name"),
            ));
        }
        let (constraints, behind) =
            constraints(behind).map_err(|problem| self.error(start, problem))?;
        let absence = absence(behind).map_err(|problem| self.error(start, problem))?;
        if reach != Reach::Segment && absence == Absence::Optional {
            return Err(self.error(start, "a catch-all may be empty anyway; write it without `?`"));
        }
        Ok(Parameter { name: name.to_owned(), constraints, reach, absence })
    }

    /// What stands between the braces, with doubled ones as one.
    fn braces(&mut self) -> Result<String, Error> {
        let start = self.at;
        self.at += 1;
        let mut inner = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(next) = rest.chars().next() else {
                return Err(self.error(start, "a `{` has no closing `}`; write `{{` for a brace"));
            };
            self.at += next.len_utf8();
            match next {
                '{' | '}' if rest[1..].starts_with(next) => self.at += 1,
                '}' => return Ok(inner),
                '{' => {
                    return Err(self.error(
                        self.at - 1,
                        "a `{` stands within braces; write `{{` in a regular expression",
                    ));
                }
                _ => {}
            }
            inner.push(next);
        }
    }
}

/// The constraints at the beginning of a text, and what follows them.
fn constraints(mut text: &str) -> Result<(Vec<Constraint>, &str), String> {
    let mut constraints = Vec::new();
    while let Some(rest) = text.strip_prefix(':') {
        let end = rest.find(['(', ':', '=', '?']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let (argument, behind) = match behind.strip_prefix('(') {
            Some(inside) => {
                let end = closing(inside)
                    .ok_or("a `(` has no closing `)`; write it at the constraint's end")?;
                (Some(&inside[..end]), &inside[end + 1..])
            }
            None => (None, behind),
        };
        constraints.push(Constraint::parse(name, argument)?);
        text = behind;
    }
    Ok((constraints, text))
}

/// Where the parenthesis closes that was opened before this text. Those that are escaped or in a set of a regular
/// expression do not count.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut in_set, mut escaped) = (0_usize, false, false);
    for (at, next) in text.char_indices() {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_set = true,
            ']' => in_set = false,
            '(' if !in_set => depth += 1,
            ')' if !in_set && depth == 0 => return Some(at),
            ')' if !in_set => depth -= 1,
            _ => {}
        }
    }
    None
}

fn absence(text: &str) -> Result<Absence, String> {
    match text.strip_prefix('=') {
        Some(default) if default.ends_with('?') => {
            Err("a parameter with a default is optional anyway; write it without `?`".to_owned())
        }
        Some(default) => Ok(Absence::Default(default.to_owned())),
        None if text == "?" => Ok(Absence::Optional),
        None if text.is_empty() => Ok(Absence::NoMatch),
        None => Err(format!("`{text}` follows a constraint; write `:`, `=` or `?` there")),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            segment.parts.iter().try_for_each(|part| match part {
                Part::Literal(literal) => f.write_str(&escaped(literal)),
                Part::Parameter(parameter) => write!(f, "{{{}}}", escaped(&parameter.to_string())),
            })?;
        }
        Ok(())
    }
}

/// The parameter as it stands between braces, before these are doubled.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reach {
            Reach::Segment => "",
            Reach::Rest => "*",
            Reach::RestWithSlashes => "**",
        })?;
        f.write_str(&self.name)?;
        self.constraints.iter().try_for_each(|constraint| write!(f, ":{constraint}"))?;
        match &self.absence {
            Absence::NoMatch => Ok(()),
            Absence::Optional => f.write_str("?"),
            Absence::Default(default) => write!(f, "={default}"),
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        Template::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn templates_print_as_they_were_written() {
        for text in [
            "",
            "orders",
            "orders/{id}",
            "orders/{id?}",
            "{*rest}",
            "a/{**rest:length(1,5)}",
            "{x=1}",
            "{id:int:min(1)}",
            "{name}.{ext?}",
            "v{major}.{minor}",
            "a{{b}}c",
            "{p:regex(^\\d{{3}}$)}",
            "{p:regex((a|b):[)])?}",
            "{*rest=index.html}",
            "{x=}",
        ] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text, "{text}");
        }
        assert_eq!(Template::parse("a/b/").unwrap().to_string(), "a/b");
    }

    #[test]
    fn parameters_are_listed() {
        let template = Template::parse("a/{b}/{c}-{d}/{*e}").unwrap();
        assert_eq!(template.parameters().collect::<Vec<_>>(), ["b", "c", "d", "e"]);
    }

    #[test]
    fn bad_templates_say_where_and_what_to_write() {
        for (text, expected) in [
            ("/a", "position 0: a route is relative; write it without `/` or `~` at its beginning"),
            (
                "~/a",
                "position 0: a route is relative; write it without `/` or `~` at its beginning",
            ),
            ("a//b", "position 2: a segment is empty; write one `/` between segments"),
            (
                "é/{a}{b}",
                "position 5: two parameters stand side by side; write a text between them",
            ),
            ("a/{id", "position 2: a `{` has no closing `}`; write `{{` for a brace"),
            ("a}", "position 1: a `}` has no opening `{`; write `}}` for a brace"),
            ("{a{b}", "position 2: a `{` stands within braces; write `{{` in a regular expression"),
            ("{}", "position 0: `` is no name of a parameter; write letters and digits"),
            ("{a b}", "position 0: `a b` is no name of a parameter; write letters and digits"),
            ("{a}/{A}", "position 4: the parameter `A` stands twice; give one another name"),
            ("{*a}/b", "position 5: nothing follows a catch-all; write it last"),
            ("x{*a}", "position 0: a catch-all fills its segment; write it alone between slashes"),
            ("{*a?}", "position 0: a catch-all may be empty anyway; write it without `?`"),
            (
                "x{a?}",
                "position 0: an optional parameter fills its segment or ends it after a `.`; write it so, or without `?`",
            ),
            (
                "x{a=1}",
                "position 0: a parameter with a default fills its segment; write it alone between slashes",
            ),
            (
                "{a=1?}",
                "position 0: a parameter with a default is optional anyway; write it without `?`",
            ),
            ("{a:min(1)x}", "position 0: `x` follows a constraint; write `:`, `=` or `?` there"),
            ("{a:min(1}", "position 0: a `(` has no closing `)`; write it at the constraint's end"),
            (
                "a/{id:nat}",
                "position 2: `nat` is no constraint; write alpha, bool, datetime, decimal, double, float, guid, int, long, length, minlength, maxlength, min, max, range, regex or required",
            ),
            (
                "what?",
                "position 4: a text holds no `?`; write it within braces, as in `{id?}` or `{*rest}`",
            ),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_template_that_is_printed_reads_as_the_same(text in "[a-c{}:=?*/().,\\[\\]\\\\0-9é]{0,24}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
            }
        }

        #[test]
        fn well_formed_templates_print_and_read(
            segments in prop::collection::vec("([a-zé{{}}]{1,4}|[a-z]{1,2})", 0..3),
            constraint in prop::sample::select(vec!["", ":int", ":length(1,3)", ":regex(^[(){{}}]+\\($)", ":range(-1,5):required"]),
            end in prop::sample::select(vec!["", "?", "=a{{b}}", "=x:y"]),
        ) {
            let segments: Vec<_> = segments.iter().map(|text| escaped(text)).collect();
            let text = format!("{}/{{id{constraint}{end}}}", segments.join("/")).trim_start_matches('/').to_owned();
            let template = Template::parse(&text).unwrap();
            prop_assert_eq!(template.to_string(), text);
        }
    }
}
