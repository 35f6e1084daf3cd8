//! The routes of an app.

use std::{cmp::Reverse, fmt};

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::template::{Absence, Parameter, Part, Reach, Segment, Template};

/// The route of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The function.
    pub function: String,
    /// Below the prefix.
    pub template: Template,
    /// Empty for all.
    pub methods: Vec<Method>,
}

/// All routes of an app, below one prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The prefix in lower case, one segment each.
    prefix: Vec<String>,
    /// Those that win come first.
    routes: Vec<Route>,
}

/// The function that a request is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<'t> {
    /// The function.
    pub function: &'t str,
    /// The route's parameters as texts; those that are absent and have no default are not there.
    pub parameters: Map<String, Value>,
}

/// Why a route is left out of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The host serves this place itself.
    Reserved {
        /// The function.
        function: String,
        /// Its route.
        route: String,
    },
    /// Another function has the same route for one of its methods.
    Taken {
        /// The function.
        function: String,
        /// Its route.
        route: String,
        /// The function that keeps the route.
        by: String,
    },
}

impl Conflict {
    /// The function that cannot be reached.
    pub fn function(&self) -> &str {
        match self {
            Self::Reserved { function, .. } | Self::Taken { function, .. } => function,
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved { function, route } => write!(
                f,
                "function `{function}`: the route `{route}` begins with `admin` or `runtime`, which are the host's; write another route"
            ),
            Self::Taken { function, route, by } => write!(
                f,
                "function `{function}`: the route `{route}` matches the same requests as that of `{by}`; write another route, or other methods"
            ),
        }
    }
}

impl Table {
    /// Puts routes below a prefix; a route that cannot be reached is left out and told of.
    pub fn new(prefix: &str, routes: impl IntoIterator<Item = Route>) -> (Self, Vec<Conflict>) {
        let mut table = Self {
            prefix: segments(&prefix.to_ascii_lowercase()).map(str::to_owned).collect(),
            routes: Vec::new(),
        };
        let mut conflicts = Vec::new();
        for route in routes {
            match table.conflict(&route) {
                Some(conflict) => conflicts.push(conflict),
                None => table.routes.push(route),
            }
        }
        table.routes.sort_by_cached_key(|route| {
            (Reverse(rank(&route.template)), route.template.to_string())
        });
        (table, conflicts)
    }

    fn conflict(&self, route: &Route) -> Option<Conflict> {
        let function = route.function.clone();
        let text = || route.template.to_string();
        let first = route.template.first_literal().unwrap_or_default();
        if ["admin", "runtime"].iter().any(|reserved| reserved.eq_ignore_ascii_case(first)) {
            return Some(Conflict::Reserved { function, route: text() });
        }
        let shape = shape(&route.template);
        let other = self.routes.iter().find(|other| {
            let overlap = other.methods.is_empty()
                || route.methods.is_empty()
                || other.methods.iter().any(|method| route.methods.contains(method));
            overlap && self::shape(&other.template) == shape
        })?;
        Some(Conflict::Taken { function, route: text(), by: other.function.clone() })
    }

    /// The routes, those that win first.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The prefix as it stands in URLs, with a slash at its beginning, or empty.
    pub fn prefix(&self) -> String {
        self.prefix.iter().flat_map(|segment| ["/", segment]).collect()
    }

    /// The function for a request; `path` is the path of its URI, still encoded.
    pub fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let all: Vec<String> =
            if path.is_empty() { Vec::new() } else { path.split('/').map(decoded).collect() };
        let (prefix, rest) = all.split_at_checked(self.prefix.len())?;
        if prefix
            .iter()
            .zip(&self.prefix)
            .any(|(segment, prefix)| !segment.eq_ignore_ascii_case(prefix))
        {
            return None;
        }
        self.routes
            .iter()
            .filter(|route| route.methods.is_empty() || route.methods.contains(method))
            .find_map(|route| {
                let parameters = matched(&route.template, rest)?;
                Some(Found { function: &route.function, parameters })
            })
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// A segment as text. An encoded slash stays encoded: it separates nothing.
fn decoded(segment: &str) -> String {
    let mut out = String::new();
    let mut rest = segment;
    while let Some(at) =
        rest.as_bytes().windows(3).position(|three| three.eq_ignore_ascii_case(b"%2f"))
    {
        out += &percent_decode_str(&rest[..at]).decode_utf8_lossy();
        out += &rest[at..at + 3];
        rest = &rest[at + 3..];
    }
    out + &percent_decode_str(rest).decode_utf8_lossy()
}

/// How early a template is tried; the greater, the earlier. Each segment is a number, and the end is above all: what
/// ends earlier leaves less open.
fn rank(template: &Template) -> Vec<u8> {
    template.segments.iter().map(segment_rank).chain([7]).collect()
}

fn segment_rank(segment: &Segment) -> u8 {
    match segment.parts.as_slice() {
        [Part::Literal(_)] => 6,
        [Part::Parameter(parameter)] => {
            let constrained = u8::from(!parameter.constraints.is_empty());
            if parameter.reach == Reach::Segment { 3 + constrained } else { 1 + constrained }
        }
        _ => 5,
    }
}

/// What tells templates apart for requests: their names of parameters do not.
fn shape(template: &Template) -> Vec<String> {
    let part = |part: &Part| match part {
        Part::Literal(literal) => format!("\"{}\"", literal.to_ascii_lowercase()),
        Part::Parameter(parameter) => {
            let anonymous = Parameter {
                name: String::new(),
                reach: if parameter.reach == Reach::Segment { Reach::Segment } else { Reach::Rest },
                absence: match parameter.absence {
                    Absence::NoMatch => Absence::NoMatch,
                    Absence::Optional | Absence::Default(_) => Absence::Optional,
                },
                constraints: parameter.constraints.clone(),
            };
            anonymous.to_string()
        }
    };
    template.segments.iter().map(|segment| segment.parts.iter().map(part).collect()).collect()
}

fn matched(template: &Template, path: &[String]) -> Option<Map<String, Value>> {
    let mut parameters = Map::new();
    let mut path = path.iter();
    for segment in &template.segments {
        if let [Part::Parameter(parameter)] = segment.parts.as_slice() {
            let value = match parameter.reach {
                Reach::Segment => path.next().cloned(),
                Reach::Rest | Reach::RestWithSlashes => {
                    let rest: Vec<_> = path.by_ref().map(String::as_str).collect();
                    Some(rest.join("/")).filter(|rest| !rest.is_empty())
                }
            };
            take(parameter, value, &mut parameters)?;
        } else {
            split(segment, path.next()?, &mut parameters)?;
        }
    }
    path.next().is_none().then_some(parameters)
}

/// Gives a parameter its value; `None` if the template does not match.
fn take(
    parameter: &Parameter,
    value: Option<String>,
    parameters: &mut Map<String, Value>,
) -> Option<()> {
    let value = match (value, &parameter.absence) {
        // A segment that is there and empty is no value for anything.
        (Some(value), _) if value.is_empty() => return None,
        (Some(value), _) => value,
        (None, Absence::Default(default)) => default.clone(),
        (None, Absence::Optional) => return Some(()),
        (None, Absence::NoMatch) if parameter.reach != Reach::Segment => return Some(()),
        (None, Absence::NoMatch) => return None,
    };
    if !parameter.constraints.iter().all(|constraint| constraint.allows(&value)) {
        return None;
    }
    parameters.insert(parameter.name.clone(), Value::String(value));
    Some(())
}

/// Matches a segment of several parts from its end: each literal is sought as far to the right as it stands, so a
/// parameter before it takes as much as it can. No step is tried twice.
fn split(segment: &Segment, text: &str, parameters: &mut Map<String, Value>) -> Option<()> {
    let mut parts = segment.parts.as_slice();
    if let [head @ .., Part::Literal(dot), Part::Parameter(last)] = parts
        && last.absence == Absence::Optional
        && !text.contains(dot.as_str())
    {
        parts = head;
    }
    let mut rest = text;
    let mut open: Option<&Parameter> = None;
    for (index, part) in parts.iter().enumerate().rev() {
        let literal = match part {
            Part::Parameter(parameter) => {
                open = Some(parameter);
                continue;
            }
            Part::Literal(literal) => literal,
        };
        let at = match (open, index) {
            (None, _) => ends_with(rest, literal)?,
            (Some(_), 0) => starts_with(rest, literal)?,
            (Some(_), _) => last_of(rest, literal)?,
        };
        if let Some(parameter) = open.take() {
            take(parameter, Some(rest[at + literal.len()..].to_owned()), parameters)?;
        }
        rest = &rest[..at];
    }
    match open {
        Some(parameter) => take(parameter, Some(rest.to_owned()), parameters),
        None => rest.is_empty().then_some(()),
    }
}

fn starts_with(text: &str, literal: &str) -> Option<usize> {
    text.get(..literal.len()).filter(|head| head.eq_ignore_ascii_case(literal)).map(|_| 0)
}

fn ends_with(text: &str, literal: &str) -> Option<usize> {
    let at = text.len().checked_sub(literal.len())?;
    text.get(at..).filter(|tail| tail.eq_ignore_ascii_case(literal)).map(|_| at)
}

/// The last place of a literal that leaves something on both sides.
fn last_of(text: &str, literal: &str) -> Option<usize> {
    let end = text.len().checked_sub(literal.len() + 1)?;
    (1..=end).rev().find(|&at| {
        text.get(at..at + literal.len()).is_some_and(|part| part.eq_ignore_ascii_case(literal))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn route(function: &str, template: &str, methods: &[Method]) -> Route {
        Route {
            function: function.to_owned(),
            template: Template::parse(template).unwrap(),
            methods: methods.to_vec(),
        }
    }

    /// A table in which each function is called like its template.
    fn table(prefix: &str, templates: &[&str]) -> Table {
        let (table, conflicts) =
            Table::new(prefix, templates.iter().map(|text| route(text, text, &[])));
        assert_eq!(conflicts, []);
        table
    }

    fn find(table: &Table, path: &str) -> String {
        match table.find(&Method::GET, path) {
            Some(found) => format!("{} {}", found.function, Value::Object(found.parameters)),
            None => "-".to_owned(),
        }
    }

    fn one(template: &str, path: &str) -> String {
        match table("", &[template]).find(&Method::GET, path) {
            Some(found) => Value::Object(found.parameters).to_string(),
            None => "-".to_owned(),
        }
    }

    #[test]
    fn literals_win_over_parameters_and_these_over_a_catch_all() {
        let table = table(
            "api",
            &[
                "{*all}",
                "orders/{*rest}",
                "orders/{id}",
                "orders/{id:int}",
                "orders/new",
                "orders/v{n}",
            ],
        );
        assert_eq!(find(&table, "/api/orders/new"), "orders/new {}");
        assert_eq!(find(&table, "/api/orders/v2"), r#"orders/v{n} {"n":"2"}"#);
        assert_eq!(find(&table, "/api/orders/7"), r#"orders/{id:int} {"id":"7"}"#);
        assert_eq!(find(&table, "/api/orders/x"), r#"orders/{id} {"id":"x"}"#);
        assert_eq!(find(&table, "/api/orders/x/y"), r#"orders/{*rest} {"rest":"x/y"}"#);
        assert_eq!(find(&table, "/api/other"), r#"{*all} {"all":"other"}"#);
        assert_eq!(find(&table, "/api"), "{*all} {}");
        assert_eq!(find(&table, "/orders/new"), "-");
    }

    #[test]
    fn what_ends_earlier_wins() {
        let table = table("", &["a/{*rest}", "a/{b?}", "a", "{x}/{y?}", "{x}"]);
        assert_eq!(find(&table, "/a"), "a {}");
        assert_eq!(find(&table, "/c"), r#"{x} {"x":"c"}"#);
        assert_eq!(find(&table, "/c/d"), r#"{x}/{y?} {"x":"c","y":"d"}"#);
    }

    #[test]
    fn case_is_ignored_but_kept_in_values() {
        let table = table("Api/V1", &["Orders/{Id}"]);
        assert_eq!(find(&table, "/API/v1/oRDERS/Ab"), r#"Orders/{Id} {"Id":"Ab"}"#);
        assert_eq!(table.prefix(), "/api/v1");
        assert_eq!(Table::new("", []).0.prefix(), "");
    }

    #[test]
    fn optional_parameters_and_defaults_may_be_absent() {
        assert_eq!(one("a/{b?}", "/a"), "{}");
        assert_eq!(one("a/{b?}", "/a/1/"), r#"{"b":"1"}"#);
        assert_eq!(one("a/{b=x}/{c?}", "/a"), r#"{"b":"x"}"#);
        assert_eq!(one("a/{b:int?}", "/a/x"), "-");
        assert_eq!(one("a/{b}", "/a"), "-");
        assert_eq!(one("a/{b}", "/a//"), "-");
        assert_eq!(one("{*rest=index.html}", "/"), r#"{"rest":"index.html"}"#);
        assert_eq!(one("", "/"), "{}");
    }

    #[test]
    fn segments_of_several_parts_are_split_from_the_right() {
        assert_eq!(one("{name}.{ext?}", "/a.tar.gz"), r#"{"ext":"gz","name":"a.tar"}"#);
        assert_eq!(one("{name}.{ext?}", "/readme"), r#"{"name":"readme"}"#);
        assert_eq!(one("{a}-{b}", "/1-2-3"), r#"{"a":"1-2","b":"3"}"#);
        assert_eq!(one("{a}-{b}", "/1-"), "-");
        assert_eq!(one("v{n:int}x", "/V12X"), r#"{"n":"12"}"#);
        assert_eq!(one("v{n:int}x", "/v12"), "-");
        assert_eq!(one("a{b}", "/a"), "-");
    }

    #[test]
    fn values_are_decoded_but_for_slashes() {
        assert_eq!(one("{a}/{b}", "/x%20y/%C3%A9%2Fz"), r#"{"a":"x y","b":"é%2Fz"}"#);
        assert_eq!(one("a b", "/a%20b"), "{}");
        assert_eq!(one("{a}", "/%ff%"), "{\"a\":\"\u{fffd}%\"}");
    }

    #[test]
    fn methods_tell_routes_apart() {
        let routes =
            [route("Read", "a/{id}", &[Method::GET]), route("Write", "a/{key}", &[Method::POST])];
        let (table, conflicts) = Table::new("", routes);
        assert_eq!(conflicts, []);
        assert_eq!(
            table.find(&Method::POST, "/a/1").unwrap().parameters,
            *json!({ "key": "1" }).as_object().unwrap()
        );
        assert_eq!(table.find(&Method::GET, "/a/1").unwrap().function, "Read");
        assert_eq!(table.find(&Method::PUT, "/a/1"), None);
    }

    #[test]
    fn routes_that_cannot_be_reached_are_told_of() {
        let routes = [
            route("One", "a/{id}", &[]),
            route("Two", "A/{name}", &[Method::GET]),
            route("Three", "Admin/x", &[]),
            route("Four", "administrators", &[]),
            route("Five", "a/{id:int}", &[]),
        ];
        let (table, conflicts) = Table::new("api", routes);
        let texts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "function `Two`: the route `A/{name}` matches the same requests as that of `One`; write another route, or other methods",
                "function `Three`: the route `Admin/x` begins with `admin` or `runtime`, which are the host's; write another route",
            ]
        );
        assert_eq!(conflicts[0].function(), "Two");
        assert_eq!(table.routes().len(), 3);
    }

    proptest! {
        #[test]
        fn matching_never_panics(
            templates in prop::collection::vec("[a-b{}:=?*/.é-]{0,12}", 0..4),
            path in "[a-bA-B/%.é2fF-]{0,20}",
        ) {
            let templates = templates.iter().filter_map(|text| Template::parse(text).ok());
            let routes = templates.map(|template| Route { function: "f".to_owned(), template, methods: Vec::new() });
            let (table, _) = Table::new("a", routes);
            let _ = table.find(&Method::GET, &path);
        }

        #[test]
        fn a_path_made_of_values_gives_them_back(values in prop::collection::vec("[a-z0-9]{1,5}", 3)) {
            let found = one("x/{a}/{b}.{c}", &format!("/x/{}/{}.{}", values[0], values[1], values[2]));
            prop_assert_eq!(found, json!({ "a": values[0], "b": values[1], "c": values[2] }).to_string());
        }

        #[test]
        fn the_order_of_routes_decides_nothing(order in Just(vec!["{a}", "b", "{a}/{b?}", "{c:int}", "{*r}", "b/{x}"]).prop_shuffle(), path in "/(b|1|c)(/(b|1))?") {
            let sorted = table("", &["b", "b/{x}", "{a}", "{a}/{b?}", "{c:int}", "{*r}"]);
            prop_assert_eq!(find(&table("", &order), &path), find(&sorted, &path));
        }
    }
}
