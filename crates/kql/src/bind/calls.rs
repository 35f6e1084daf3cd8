//! Scalar functions: what each takes, what it gives, its SQL.

use crate::{
    bind::{
        Binder, Constant, ORDER, Place, Scope, Typed, aggregates,
        expressions::{as_text, datetime, text_literal},
    },
    error::{Fault, Result, Span},
    names, pattern,
    schema::Type,
    syntax::{Expression, Name},
    time,
};

/// The functions by name, with the least and the most number of arguments.
const FUNCTIONS: [(&str, usize, usize); 77] = [
    ("abs", 1, 1),
    ("ago", 1, 1),
    ("array_length", 1, 1),
    ("bin", 2, 2),
    ("case", 3, MANY),
    ("ceiling", 1, 1),
    ("coalesce", 2, MANY),
    ("countof", 2, 2),
    ("datetime_add", 3, 3),
    ("datetime_diff", 3, 3),
    ("datetime_part", 2, 2),
    ("dayofmonth", 1, 1),
    ("dayofweek", 1, 1),
    ("dayofyear", 1, 1),
    ("endofday", 1, 1),
    ("endofmonth", 1, 1),
    ("endofweek", 1, 1),
    ("endofyear", 1, 1),
    ("exp", 1, 1),
    ("extract", 3, 3),
    ("floor", 2, 2),
    ("format_datetime", 2, 2),
    ("getmonth", 1, 1),
    ("getyear", 1, 1),
    ("hourofday", 1, 1),
    ("iff", 3, 3),
    ("iif", 3, 3),
    ("indexof", 2, 2),
    ("isempty", 1, 1),
    ("isnotempty", 1, 1),
    ("isnotnull", 1, 1),
    ("isnull", 1, 1),
    ("log", 1, 1),
    ("log10", 1, 1),
    ("log2", 1, 1),
    ("max_of", 2, MANY),
    ("min_of", 2, MANY),
    ("monthofyear", 1, 1),
    ("next", 1, 3),
    ("not", 1, 1),
    ("now", 0, 1),
    ("parse_json", 1, 1),
    ("pow", 2, 2),
    ("prev", 1, 3),
    ("replace_regex", 3, 3),
    ("replace_string", 3, 3),
    ("reverse", 1, 1),
    ("round", 1, 2),
    ("row_cumsum", 1, 1),
    ("row_number", 0, 1),
    ("sign", 1, 1),
    ("split", 2, 3),
    ("sqrt", 1, 1),
    ("startofday", 1, 2),
    ("startofmonth", 1, 2),
    ("startofweek", 1, 2),
    ("startofyear", 1, 2),
    ("strcat", 1, MANY),
    ("strcat_array", 2, 2),
    ("strcat_delim", 2, MANY),
    ("strlen", 1, 1),
    ("substring", 2, 3),
    ("tobool", 1, 1),
    ("todatetime", 1, 1),
    ("todouble", 1, 1),
    ("todynamic", 1, 1),
    ("toint", 1, 1),
    ("tolong", 1, 1),
    ("tolower", 1, 1),
    ("toreal", 1, 1),
    ("tostring", 1, 1),
    ("totimespan", 1, 1),
    ("toupper", 1, 1),
    ("trim", 2, 2),
    ("trim_end", 2, 2),
    ("trim_start", 2, 2),
    ("weekofyear", 1, 1),
];

const MANY: usize = usize::MAX;

/// Parts of a date that `datetime_add` and its like know.
const PARTS: [&str; 9] =
    ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"];

/// Whether the column of a call is named after the first argument.
pub(super) fn hands_its_name_on(name: &str) -> bool {
    const NAMES: [&str; 27] = [
        "abs",
        "bin",
        "ceiling",
        "exp",
        "floor",
        "format_datetime",
        "log",
        "log10",
        "log2",
        "parse_json",
        "pow",
        "round",
        "split",
        "sqrt",
        "startofday",
        "startofmonth",
        "startofweek",
        "startofyear",
        "tobool",
        "todatetime",
        "todouble",
        "todynamic",
        "toint",
        "tolong",
        "toreal",
        "tostring",
        "totimespan",
    ];
    NAMES.contains(&name)
}

/// Whether values of both types can be compared and stored in one column.
pub(super) fn comparable(left: Type, right: Type) -> bool {
    left == right && left != Type::Dynamic || left.is_number() && right.is_number()
}

/// The type of a result of two numbers.
pub(super) fn wider(left: Type, right: Type) -> Type {
    match (left, right) {
        (Type::Real, _) | (_, Type::Real) => Type::Real,
        _ => Type::Long,
    }
}

pub(super) fn wrong_count(name: &Name, span: Span, least: usize, most: usize) -> Fault {
    let wanted = match (least, most) {
        (0, 0) => "no value".to_owned(),
        (1, 1) => "one value".to_owned(),
        (least, MANY) => format!("at least {least} values"),
        (least, most) if least == most => format!("{least} values"),
        (least, most) => format!("{least} to {most} values"),
    };
    Fault::new(span, format!("`{}` takes {wanted}", name.text))
}

pub(super) fn check_pattern(text: &str, span: Span) -> Result<()> {
    pattern::compile(text)
        .map(|_| ())
        .map_err(|reason| Fault::new(span, format!("the regular expression is wrong: {reason}")))
}

impl Binder<'_> {
    pub(super) fn call(
        &mut self,
        name: &Name,
        arguments: &[Expression],
        span: Span,
        scope: Scope<'_>,
    ) -> Result<Typed> {
        if aggregates::prefix(&name.text).is_some() {
            return self.aggregate(name, arguments, span, scope);
        }
        let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name.text)
        else {
            let known = FUNCTIONS.iter().map(|(known, ..)| *known).chain(aggregates::names());
            let message = format!(
                "there is no function `{}` here{}",
                name.text,
                names::hint(&name.text, known)
            );
            return Err(Fault::new(name.span, message));
        };
        if !(*least..=*most).contains(&arguments.len()) {
            return Err(wrong_count(name, span, *least, *most));
        }
        let mut bound = Vec::new();
        for argument in arguments {
            bound.push((self.expression(argument, scope)?, argument.span));
        }
        let call = Call { name, span, bound: &bound, now: self.now };
        let value = match name.text.as_str() {
            "prev" | "next" | "row_number" | "row_cumsum" => call.window(scope)?,
            _ => call.scalar()?,
        };
        let windowed = value.windowed || bound.iter().any(|(value, _)| value.windowed);
        Ok(Typed { windowed, ..value })
    }
}

struct Call<'a> {
    name: &'a Name,
    span: Span,
    bound: &'a [(Typed, Span)],
    /// Milliseconds since the year 1.
    now: i64,
}

impl Call<'_> {
    fn scalar(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        match name {
            "abs" | "ceiling" | "exp" | "log" | "log2" | "log10" | "pow" | "round" | "sign"
            | "sqrt" | "bin" | "floor" => self.number_function(),
            "ago" | "now" | "datetime_add" | "datetime_diff" | "datetime_part" | "dayofmonth"
            | "dayofweek" | "dayofyear" | "endofday" | "endofmonth" | "endofweek" | "endofyear"
            | "format_datetime" | "getmonth" | "getyear" | "hourofday" | "monthofyear"
            | "startofday" | "startofmonth" | "startofweek" | "startofyear" | "weekofyear" => {
                self.date_function()
            }
            "case" | "coalesce" | "iff" | "iif" | "max_of" | "min_of" | "not" | "isempty"
            | "isnotempty" | "isnull" | "isnotnull" => self.choice(),
            "array_length" | "parse_json" | "split" | "strcat_array" | "tobool" | "todatetime"
            | "todouble" | "todynamic" | "toint" | "tolong" | "toreal" | "tostring"
            | "totimespan" => self.conversion(),
            _ => self.text_function(),
        }
    }

    fn number_function(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        if name == "bin" || name == "floor" {
            return self.bin();
        }
        let kind = self.kind(0);
        let value = self.number(0)?;
        let fixed = |function: &str| format!("kql_{function}({value})");
        Ok(match name {
            "abs" if kind.is_whole() => Typed::new(Type::Long, format!("abs({value})")),
            "abs" => Typed::new(kind, format!("abs({value})")),
            "ceiling" | "round" if kind.is_whole() && self.bound.len() == 1 => {
                Typed::new(kind, value)
            }
            "pow" => Typed::new(Type::Real, format!("kql_pow({value}, {})", self.number(1)?)),
            "round" => {
                let digits = if self.bound.len() == 2 { self.whole(1)? } else { "0" };
                Typed::new(Type::Real, format!("kql_round({value}, {digits})"))
            }
            _ => Typed::new(Type::Real, fixed(name)),
        })
    }

    fn bin(&self) -> Result<Typed> {
        let name = &self.name.text;
        let ((value, value_span), (size, size_span)) = (&self.bound[0], &self.bound[1]);
        if let Some(Constant::Long(0) | Constant::Timespan(0)) = size.constant {
            return Err(Fault::new(*size_span, format!("the size in `{name}` cannot be 0")));
        }
        match (value.kind, size.kind) {
            (Type::Datetime, Type::Timespan) => Ok(Typed::new(
                Type::Datetime,
                format!("kql_bin_datetime({}, {})", value.sql, size.sql),
            )),
            (Type::Datetime, kind) => Err(Fault::new(
                *size_span,
                format!("`{name}` of a date needs a length of time such as `1d`, this is a {kind}"),
            )),
            (Type::Timespan, Type::Timespan) => {
                Ok(Typed::new(Type::Timespan, format!("kql_bin({}, {})", value.sql, size.sql)))
            }
            (x, y) if x.is_number() && y.is_number() => {
                Ok(Typed::new(wider(x, y), format!("kql_bin({}, {})", value.sql, size.sql)))
            }
            (kind, _) => Err(Fault::new(
                *value_span,
                format!("`{name}` needs a number or a date, this is a {kind}"),
            )),
        }
    }

    fn date_function(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        let long = |sql: String| Ok(Typed::new(Type::Long, sql));
        let date = |sql: String| Ok(Typed::new(Type::Datetime, sql));
        match name {
            "now" if self.bound.is_empty() => Ok(datetime(self.now)),
            "now" | "ago" => self.relative(),
            "format_datetime" => self.format_datetime(),
            "datetime_add" => {
                let (part, count) = (self.part(0)?, self.whole(1)?);
                date(format!("kql_datetime_add('{part}', {count}, {})", self.date(2)?))
            }
            "datetime_diff" => {
                let part = self.part(0)?;
                long(format!("kql_datetime_diff('{part}', {}, {})", self.date(1)?, self.date(2)?))
            }
            "datetime_part" => {
                let part = self.part(0)?;
                Ok(Typed::new(Type::Int, format!("kql_part('{part}', {})", self.date(1)?)))
            }
            "dayofweek" => {
                Ok(Typed::new(Type::Timespan, format!("kql_dayofweek({})", self.date(0)?)))
            }
            "getyear" | "getmonth" | "monthofyear" | "dayofmonth" | "dayofyear" | "hourofday"
            | "weekofyear" => {
                let part = match name {
                    "getyear" => "year",
                    "getmonth" | "monthofyear" => "month",
                    "dayofmonth" => "day",
                    "hourofday" => "hour",
                    other => other,
                };
                let value = self.date(0)?;
                Ok(Typed::new(Type::Int, format!("kql_part('{part}', {value})")))
            }
            _ => {
                let (edge, part) = name.split_at(name.find("of").map_or(0, |at| at + 2));
                let offset = if self.bound.len() == 2 { self.whole(1)? } else { "0" };
                let value = self.date(0)?;
                match edge {
                    "startof" => date(format!("kql_start('{part}', {value}, {offset})")),
                    // Moments have milliseconds, so the last one is a millisecond before the next begins.
                    _ => date(format!("kql_add(kql_start('{part}', {value}, 1), -10000)")),
                }
            }
        }
    }

    /// `ago(7d)`, `now(-7d)`.
    fn relative(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        let (by, span) = &self.bound[0];
        if by.kind != Type::Timespan {
            let hint = match by.constant {
                Some(Constant::Long(number)) => format!("; write `{name}({number}d)` for days"),
                _ => String::new(),
            };
            return Err(Fault::new(
                *span,
                format!("`{name}` needs a length of time, this is a {}{hint}", by.kind),
            ));
        }
        let sign = if name == "ago" { -1 } else { 1 };
        if let Some(Constant::Timespan(ticks)) = by.constant {
            return Ok(datetime(
                self.now.saturating_add((sign * ticks).div_euclid(time::TICKS_A_MILLISECOND)),
            ));
        }
        let now = datetime(self.now).sql;
        Ok(Typed::new(Type::Datetime, format!("kql_add({now}, ({sign} * {}))", by.sql)))
    }

    fn format_datetime(&self) -> Result<Typed> {
        let (value, span) = &self.bound[0];
        if value.kind == Type::String {
            let message = "`format_datetime` needs a date, this is a text; perhaps it has been formatted before, so keep the date and format it last, or use `todatetime(...)`";
            return Err(Fault::new(*span, message));
        }
        let value = self.date(0)?;
        let format = self.text(1)?;
        if let Some(Constant::Text(format)) = &self.bound[1].0.constant
            && let Some(wrong) = crate::format::unknown(format)
        {
            let message = format!(
                "a date has no `{wrong}`; parts are yyyy, yy, MM, M, dd, d, HH, H, hh, h, mm, m, ss, s, f to fffffff, tt"
            );
            return Err(Fault::new(self.bound[1].1, message));
        }
        Ok(Typed::new(Type::String, format!("kql_format_datetime({value}, {format})")))
    }

    fn choice(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        let first = &self.bound[0].0;
        let condition = |sql: String| Ok(Typed::new(Type::Bool, sql));
        match name {
            "not" => condition(format!("(NOT {})", self.condition(0)?)),
            "isnull" if first.kind == Type::String => condition("0".to_owned()),
            "isnotnull" if first.kind == Type::String => condition("1".to_owned()),
            "isnull" => condition(format!("({} IS NULL)", first.sql)),
            "isnotnull" => condition(format!("({} IS NOT NULL)", first.sql)),
            "isempty" | "isnotempty" => {
                let symbol = if name == "isempty" { "=" } else { "<>" };
                condition(format!("(coalesce({}, '') {symbol} '')", as_text(first)))
            }
            "iff" | "iif" => {
                let when = self.condition(0)?;
                let kind = self.common(&[1, 2])?;
                let (then, otherwise) = (&self.bound[1].0.sql, &self.bound[2].0.sql);
                Ok(Typed::new(kind, format!("(CASE WHEN {when} THEN {then} ELSE {otherwise} END)")))
            }
            "case" => self.case(),
            "coalesce" => {
                let all: Vec<usize> = (0..self.bound.len()).collect();
                let kind = self.common(&all)?;
                // An empty text counts as none.
                let sql = |(value, _): &(Typed, Span)| match kind {
                    Type::String => format!("nullif({}, '')", value.sql),
                    _ => value.sql.clone(),
                };
                let values: Vec<String> = self.bound.iter().map(sql).collect();
                let last = if kind == Type::String { ", ''" } else { "" };
                Ok(Typed::new(kind, format!("coalesce({}{last})", values.join(", "))))
            }
            _ => {
                let all: Vec<usize> = (0..self.bound.len()).collect();
                let kind = self.common(&all)?;
                let values: Vec<&str> =
                    self.bound.iter().map(|(value, _)| value.sql.as_str()).collect();
                // Unlike SQLite's function, Kusto's pass over what is null.
                let function = name.trim_end_matches("_of");
                let rows: Vec<String> =
                    values.iter().map(|value| format!("SELECT {value} AS v")).collect();
                if rows.len() == 2 {
                    let (a, b) = (values[0], values[1]);
                    return Ok(Typed::new(
                        kind,
                        format!("coalesce({function}({a}, {b}), {a}, {b})"),
                    ));
                }
                Ok(Typed::new(
                    kind,
                    format!("(SELECT {function}(v) FROM ({}))", rows.join(" UNION ALL ")),
                ))
            }
        }
    }

    fn case(&self) -> Result<Typed> {
        let count = self.bound.len();
        for at in (0..count - 1).step_by(2) {
            let (value, span) = &self.bound[at];
            // The last of an even number is a value without its condition.
            if value.kind != Type::Bool {
                let message = format!(
                    "`case` takes a condition here, this is a {}; write `case(Column == \"a\", 1, Column == \"b\", 2, 0)`",
                    value.kind
                );
                return Err(Fault::new(*span, message));
            }
        }
        if count.is_multiple_of(2) {
            let message = "`case` takes pairs of a condition and a value, and one value more for all other rows; that last one is missing";
            return Err(Fault::new(self.span, message));
        }
        let values: Vec<usize> = (1..count).step_by(2).chain([count - 1]).collect();
        let kind = self.common(&values)?;
        let pairs: Vec<String> = (0..count - 1)
            .step_by(2)
            .map(|at| format!("WHEN {} THEN {}", self.bound[at].0.sql, self.bound[at + 1].0.sql))
            .collect();
        let otherwise = &self.bound[count - 1].0.sql;
        Ok(Typed::new(kind, format!("(CASE {} ELSE {otherwise} END)", pairs.join(" "))))
    }

    fn conversion(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        let (value, span) = &self.bound[0];
        let typed = |kind, sql| Ok(Typed::new(kind, sql));
        match name {
            "tostring" => typed(Type::String, tostring(value)),
            "tolong" | "toint" => {
                let kind = if name == "toint" { Type::Int } else { Type::Long };
                typed(kind, format!("kql_tolong({}, '{}')", value.sql, value.kind))
            }
            "todouble" | "toreal" => {
                typed(Type::Real, format!("kql_todouble({}, '{}')", value.sql, value.kind))
            }
            "tobool" => typed(Type::Bool, format!("kql_tobool({})", as_text(value))),
            "todatetime" if value.kind == Type::Datetime => Ok(value.clone()),
            "todatetime" => typed(Type::Datetime, format!("kql_todatetime({})", self.text(0)?)),
            "totimespan" if value.kind == Type::Timespan => Ok(value.clone()),
            "totimespan" => typed(Type::Timespan, format!("kql_totimespan({})", self.text(0)?)),
            "parse_json" | "todynamic" if value.kind == Type::Dynamic => Ok(value.clone()),
            "parse_json" | "todynamic" => {
                typed(Type::Dynamic, format!("kql_parse_json({})", self.text(0)?))
            }
            "split" => {
                let (subject, delimiter) = (self.text(0)?, self.text(1)?);
                match self.bound.len() {
                    2 => typed(Type::Dynamic, format!("kql_split({subject}, {delimiter})")),
                    _ => typed(
                        Type::Dynamic,
                        format!("kql_split({subject}, {delimiter}, {})", self.whole(2)?),
                    ),
                }
            }
            _ if value.kind != Type::Dynamic => Err(Fault::new(
                *span,
                format!(
                    "`{name}` needs a dynamic value, such as from `split` or `make_list`; this is a {}",
                    value.kind
                ),
            )),
            "array_length" => typed(Type::Long, format!("kql_array_length({})", value.sql)),
            _ => typed(Type::String, format!("kql_strcat_array({}, {})", value.sql, self.text(1)?)),
        }
    }

    fn text_function(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        let string = |sql| Ok(Typed::new(Type::String, sql));
        let long = |sql| Ok(Typed::new(Type::Long, sql));
        match name {
            "strcat" => {
                let parts: Vec<String> =
                    self.bound.iter().map(|(value, _)| joined(value)).collect();
                string(format!("({})", parts.join(" || ")))
            }
            "strcat_delim" => {
                let parts: Vec<String> =
                    self.bound[1..].iter().map(|(value, _)| joined(value)).collect();
                let delimiter = format!(" || {} || ", self.text(0)?);
                string(format!("({})", parts.join(&delimiter)))
            }
            "strlen" => long(format!("length({})", self.text(0)?)),
            "tolower" => string(format!("kql_lower({})", self.text(0)?)),
            "toupper" => string(format!("kql_upper({})", self.text(0)?)),
            "reverse" => string(format!("kql_reverse({})", self.text(0)?)),
            "indexof" | "countof" => {
                long(format!("kql_{name}({}, {})", self.text(0)?, self.text(1)?))
            }
            "replace_string" => {
                string(format!("replace({}, {}, {})", self.text(0)?, self.text(1)?, self.text(2)?))
            }
            "substring" => {
                let length =
                    if self.bound.len() == 3 { self.whole(2)? } else { "9223372036854775807" };
                string(format!("kql_substring({}, {}, {length})", self.text(0)?, self.whole(1)?))
            }
            "extract" => {
                self.pattern(0)?;
                string(format!(
                    "kql_extract({}, {}, {})",
                    self.text(0)?,
                    self.whole(1)?,
                    self.text(2)?
                ))
            }
            "replace_regex" => {
                self.pattern(1)?;
                string(format!(
                    "kql_replace_regex({}, {}, {})",
                    self.text(0)?,
                    self.text(1)?,
                    self.text(2)?
                ))
            }
            // trim, trim_start, trim_end
            _ => {
                self.pattern(0)?;
                let side = name.strip_prefix("trim").unwrap_or_default().trim_start_matches('_');
                string(format!(
                    "kql_trim({}, {}, {})",
                    self.text(0)?,
                    self.text(1)?,
                    text_literal(side)
                ))
            }
        }
    }

    fn window(&self, scope: Scope<'_>) -> Result<Typed> {
        let name = self.name.text.as_str();
        match scope.place {
            Place::Row => {}
            Place::PlainRow(operator) => {
                let message = format!(
                    "`{name}` cannot stand in `{operator}`; compute it with `extend` before"
                );
                return Err(Fault::new(self.name.span, message));
            }
            Place::Group | Place::Aggregate(_) => {
                let message = format!(
                    "`{name}` cannot stand in `summarize`; compute it with `extend` before"
                );
                return Err(Fault::new(self.name.span, message));
            }
        }
        if !scope.relation.ordered {
            let message = format!(
                "`{name}` needs rows in an order; put `| order by ...` or `| serialize` before it"
            );
            return Err(Fault::new(self.name.span, message));
        }
        if let Some((_, span)) = self.bound.iter().find(|(value, _)| value.windowed) {
            return Err(Fault::new(
                *span,
                format!(
                    "`{name}` cannot hold another of its kind; compute the inner one with `extend` before"
                ),
            ));
        }
        let over = format!("OVER (ORDER BY s.{ORDER})");
        let (kind, sql) = match name {
            "row_number" => {
                let start = if self.bound.is_empty() { "1" } else { self.whole(0)? };
                (Type::Long, format!("(row_number() {over} - 1 + {start})"))
            }
            "row_cumsum" => (self.kind(0), format!("sum({}) {over}", self.number(0)?)),
            _ => {
                let function = if name == "prev" { "lag" } else { "lead" };
                let mut arguments = vec![self.bound[0].0.sql.clone()];
                match self.bound.len() {
                    1 if self.kind(0) == Type::String => {
                        arguments.extend(["1".to_owned(), "''".to_owned()]);
                    }
                    1 => {}
                    2 => arguments.push(self.steps()?),
                    _ => {
                        self.common(&[0, 2])?;
                        arguments.push(self.steps()?);
                        arguments.push(self.bound[2].0.sql.clone());
                    }
                }
                (self.kind(0), format!("{function}({}) {over}", arguments.join(", ")))
            }
        };
        Ok(Typed { windowed: true, ..Typed::new(kind, sql) })
    }

    /// How many rows `prev` and `next` go.
    fn steps(&self) -> Result<String> {
        match &self.bound[1].0.constant {
            Some(Constant::Long(steps)) if *steps >= 0 => Ok(steps.to_string()),
            _ => Err(Fault::new(
                self.bound[1].1,
                format!("`{}` goes a whole number of rows", self.name.text),
            )),
        }
    }

    fn kind(&self, at: usize) -> Type {
        self.bound[at].0.kind
    }

    /// The type that several arguments have in common.
    fn common(&self, places: &[usize]) -> Result<Type> {
        let mut common = self.kind(places[0]);
        for place in &places[1..] {
            let (value, span) = &self.bound[*place];
            common = match (common, value.kind) {
                (a, b) if a == b => a,
                (a, b) if a.is_number() && b.is_number() => wider(a, b),
                (a, b) => {
                    let message = format!(
                        "`{}` gives values of one type, and here are a {a} and a {b}; wrap one in `tostring(...)`",
                        self.name.text
                    );
                    return Err(Fault::new(*span, message));
                }
            };
        }
        Ok(common)
    }

    fn number(&self, at: usize) -> Result<&str> {
        self.wanted(at, "a number", Type::is_number)
    }

    fn whole(&self, at: usize) -> Result<&str> {
        self.wanted(at, "a whole number", Type::is_whole)
    }

    fn condition(&self, at: usize) -> Result<&str> {
        self.wanted(at, "a condition", |kind| kind == Type::Bool)
    }

    fn date(&self, at: usize) -> Result<&str> {
        self.wanted(at, "a date", |kind| kind == Type::Datetime)
    }

    fn text(&self, at: usize) -> Result<String> {
        self.wanted(at, "a text", |kind| matches!(kind, Type::String | Type::Dynamic))?;
        Ok(as_text(&self.bound[at].0))
    }

    fn wanted(&self, at: usize, what: &str, fits: impl Fn(Type) -> bool) -> Result<&str> {
        let (value, span) = &self.bound[at];
        if fits(value.kind) {
            return Ok(&value.sql);
        }
        let remedy = match (what, value.kind) {
            ("a text", _) => "; wrap it in `tostring(...)`",
            ("a date", Type::String) => "; wrap it in `todatetime(...)`",
            ("a number" | "a whole number", Type::String | Type::Dynamic) => {
                "; wrap it in `tolong(...)` or `todouble(...)`"
            }
            _ => "",
        };
        Err(Fault::new(
            *span,
            format!("`{}` needs {what} here, this is a {}{remedy}", self.name.text, value.kind),
        ))
    }

    fn part(&self, at: usize) -> Result<&str> {
        let (value, span) = &self.bound[at];
        match &value.constant {
            Some(Constant::Text(part)) if PARTS.contains(&part.to_lowercase().as_str()) => {
                Ok(PARTS
                    .iter()
                    .find(|known| known.eq_ignore_ascii_case(part))
                    .expect("it was just found"))
            }
            _ => Err(Fault::new(
                *span,
                format!("`{}` needs a part of a date here: {}", self.name.text, PARTS.join(", ")),
            )),
        }
    }

    fn pattern(&self, at: usize) -> Result<()> {
        match &self.bound[at] {
            (Typed { constant: Some(Constant::Text(pattern)), .. }, span) => {
                check_pattern(pattern, *span)
            }
            _ => Ok(()),
        }
    }
}

/// A value as text, as `tostring` gives it.
fn tostring(value: &Typed) -> String {
    match value.kind {
        Type::String => value.sql.clone(),
        Type::Int | Type::Long => format!("coalesce(CAST({} AS TEXT), '')", value.sql),
        kind => format!("kql_tostring({}, '{kind}')", value.sql),
    }
}

/// A value as a part of a longer text, where null counts as empty.
fn joined(value: &Typed) -> String {
    match value.kind {
        Type::String => format!("coalesce({}, '')", value.sql),
        _ => tostring(value),
    }
}
