//! Expressions: columns, literals, operators.

use crate::{
    bind::{Binder, Constant, Definition, Place, Relation, Scope, Typed, calls, operators},
    error::{Fault, Result, Span},
    names,
    schema::Type,
    syntax::{Binary, Case, Expression, Kind, Pipeline, Set},
    time,
};

impl Binder<'_> {
    pub(super) fn expression(
        &mut self,
        expression: &Expression,
        scope: Scope<'_>,
    ) -> Result<Typed> {
        let span = expression.span;
        match &expression.kind {
            Kind::Column(name) => self.column(name, span, scope),
            Kind::Long(number) => {
                Ok(constant(Type::Long, number.to_string(), Constant::Long(*number)))
            }
            Kind::Real(number) => Ok(constant(Type::Real, format!("{number:?}"), Constant::Other)),
            Kind::Bool(value) => {
                Ok(constant(Type::Bool, u8::from(*value).to_string(), Constant::Other))
            }
            Kind::Text(value) => {
                Ok(constant(Type::String, text_literal(value), Constant::Text(value.clone())))
            }
            Kind::Datetime(None) | Kind::Timespan(None) => {
                let kind = if expression.kind == Kind::Datetime(None) {
                    Type::Datetime
                } else {
                    Type::Timespan
                };
                Ok(constant(kind, "NULL".to_owned(), Constant::Other))
            }
            Kind::Datetime(Some(moment)) => Ok(datetime(*moment)),
            Kind::Timespan(Some(ticks)) => Ok(timespan(*ticks)),
            Kind::Dynamic(json) => {
                Ok(constant(Type::Dynamic, text_literal(json), Constant::Text(json.clone())))
            }
            Kind::Star => {
                Err(Fault::new(span, "`*` stands only in `arg_max`, `arg_min` and `distinct`"))
            }
            Kind::Call { name, arguments } => self.call(name, arguments, span, scope),
            Kind::Toscalar(pipeline) => self.toscalar(pipeline, span),
            Kind::Negative(inner) => self.negative(inner, scope),
            Kind::Binary { operator, place, left, right } => {
                let (l, r) = (self.expression(left, scope)?, self.expression(right, scope)?);
                let windowed = l.windowed || r.windowed;
                let bound = binary(*operator, *place, &l, &r)?;
                Ok(Typed { windowed, ..bound })
            }
            Kind::In { value, set, negated, case } => {
                self.membership(value, set, *negated, *case, scope)
            }
            Kind::HasEach { value, terms, all } => self.has_each(value, terms, *all, scope),
            Kind::Between { value, low, high, negated } => {
                self.between([value, low, high], *negated, scope)
            }
            Kind::Member { of, name } => {
                let of = self.dynamic(of, scope, name.span)?;
                let sql = format!("kql_index({}, {})", of.sql, text_literal(&name.text));
                Ok(Typed { sql, kind: Type::Dynamic, constant: None, windowed: of.windowed })
            }
            Kind::Index { of, at } => {
                let of = self.dynamic(of, scope, at.span)?;
                let key = self.expression(at, scope)?;
                if !key.kind.is_whole() && key.kind != Type::String {
                    return Err(Fault::new(
                        at.span,
                        format!("an index is a whole number or a text, this is a {}", key.kind),
                    ));
                }
                let windowed = of.windowed || key.windowed;
                let sql = format!("kql_index({}, {})", of.sql, key.sql);
                Ok(Typed { sql, kind: Type::Dynamic, constant: None, windowed })
            }
        }
    }

    fn column(&self, name: &str, span: Span, scope: Scope<'_>) -> Result<Typed> {
        if let Some(field) = scope.relation.find(name) {
            if let Place::Group = scope.place {
                let message = format!(
                    "the column `{name}` stands in `summarize` outside an aggregate; put it after `by`, or write `take_any({name})`"
                );
                return Err(Fault::new(span, message));
            }
            return Ok(Typed::new(field.kind, format!("s.{}", field.id)));
        }
        match self.definition(name) {
            Some(Definition::Scalar(value)) => Ok(value.clone()),
            Some(Definition::Table(_)) => {
                let message = format!(
                    "`{name}` is a table; take a value of it with `toscalar({name} | ...)`"
                );
                Err(Fault::new(span, message))
            }
            None if matches!(scope.place, Place::PlainRow("let")) => {
                let known = self.lets.iter().map(|(name, _)| name.as_str());
                let tables = self.schema.tables.iter().map(|table| table.name.as_str());
                let hint = names::hint(name, known.chain(tables));
                Err(Fault::new(span, format!("nothing before this is named `{name}`{hint}")))
            }
            None => {
                let lets = self.lets.iter().map(|(name, _)| name.as_str());
                let hint = names::hint(name, scope.relation.names().chain(lets));
                Err(Fault::new(span, format!("there is no column `{name}`{hint}")))
            }
        }
    }

    fn toscalar(&mut self, pipeline: &Pipeline, span: Span) -> Result<Typed> {
        let relation = self.pipeline(pipeline)?;
        match operators::first_value(&relation) {
            Some((sql, kind)) => Ok(Typed::new(kind, sql)),
            None => Err(Fault::new(span, "the table in `toscalar` has no column")),
        }
    }

    fn negative(&mut self, inner: &Expression, scope: Scope<'_>) -> Result<Typed> {
        let bound = self.expression(inner, scope)?;
        if !bound.kind.is_number() && bound.kind != Type::Timespan {
            return Err(Fault::new(
                inner.span,
                format!("`-` needs a number, this is a {}", bound.kind),
            ));
        }
        let constant = match bound.constant {
            Some(Constant::Long(number)) => Some(Constant::Long(-number)),
            Some(Constant::Timespan(ticks)) => Some(Constant::Timespan(-ticks)),
            _ => None,
        };
        let kind = if bound.kind == Type::Int { Type::Long } else { bound.kind };
        Ok(Typed { sql: format!("(-({}))", bound.sql), kind, constant, ..bound })
    }

    fn dynamic(&mut self, of: &Expression, scope: Scope<'_>, place: Span) -> Result<Typed> {
        let bound = self.expression(of, scope)?;
        if bound.kind == Type::Dynamic {
            return Ok(bound);
        }
        let hint = if bound.kind == Type::String {
            "; wrap it in `parse_json(...)` or `split(...)`"
        } else {
            ""
        };
        Err(Fault::new(of.span.to(place), format!("a {} has no members{hint}", bound.kind)))
    }

    fn membership(
        &mut self,
        value: &Expression,
        set: &Set,
        negated: bool,
        case: Case,
        scope: Scope<'_>,
    ) -> Result<Typed> {
        let bound = self.expression(value, scope)?;
        let folded = |sql: &str| match case {
            Case::Counts => sql.to_owned(),
            Case::Ignored => format!("kql_lower({sql})"),
        };
        let subject = if bound.kind == Type::Dynamic { as_text(&bound) } else { bound.sql.clone() };
        let subject_kind = if bound.kind == Type::Dynamic { Type::String } else { bound.kind };
        if case == Case::Ignored && subject_kind != Type::String {
            return Err(Fault::new(
                value.span,
                format!("`in~` compares texts, this is a {subject_kind}"),
            ));
        }
        let not = if negated { "NOT " } else { "" };
        let inside = match set {
            Set::Table(pipeline) => self.table_column(pipeline, subject_kind, value.span)?,
            Set::List(list) => match list.as_slice() {
                [Expression { kind: Kind::Column(name), span }]
                    if scope.relation.find(name).is_none() && self.is_table(name) =>
                {
                    let name = crate::syntax::Name { text: name.clone(), span: *span };
                    let relation = self.table(&name)?;
                    column_of(&relation, subject_kind, value.span)?
                }
                list => {
                    let mut items = Vec::new();
                    for item in list {
                        let item_bound = self.expression(item, scope)?;
                        if item_bound.kind == Type::Dynamic && list.len() == 1 {
                            let sql = format!("SELECT value FROM json_each({})", item_bound.sql);
                            return Ok(Typed {
                                sql: format!("({} {not}IN ({sql}))", folded(&subject)),
                                ..Typed::new(Type::Bool, "")
                            });
                        }
                        let item_sql = comparable_with(&item_bound, subject_kind, item.span)?;
                        items.push(folded(&item_sql));
                    }
                    items.join(", ")
                }
            },
        };
        let sql = format!("({} {not}IN ({inside}))", folded(&subject));
        Ok(Typed { windowed: bound.windowed, ..Typed::new(Type::Bool, sql) })
    }

    fn table_column(&mut self, pipeline: &Pipeline, kind: Type, span: Span) -> Result<String> {
        let relation = self.pipeline(pipeline)?;
        column_of(&relation, kind, span)
    }

    fn has_each(
        &mut self,
        value: &Expression,
        terms: &[Expression],
        all: bool,
        scope: Scope<'_>,
    ) -> Result<Typed> {
        let subject = self.expression(value, scope)?;
        let sql = text_of(&subject, value.span, "has_any")?;
        let mut conditions = Vec::new();
        for term in terms {
            let bound = self.expression(term, scope)?;
            conditions.push(format!("kql_has({sql}, {})", text_of(&bound, term.span, "has_any")?));
        }
        let sql = match (conditions.is_empty(), all) {
            (true, _) => u8::from(all).to_string(),
            (false, true) => conditions.join(" AND "),
            (false, false) => conditions.join(" OR "),
        };
        Ok(Typed { windowed: subject.windowed, ..Typed::new(Type::Bool, format!("({sql})")) })
    }

    fn between(
        &mut self,
        [value, low, high]: [&Expression; 3],
        negated: bool,
        scope: Scope<'_>,
    ) -> Result<Typed> {
        let subject = self.expression(value, scope)?;
        let (l, mut h) = (self.expression(low, scope)?, self.expression(high, scope)?);
        // `between (start .. 7d)` means until a week after the start.
        if subject.kind == Type::Datetime && h.kind == Type::Timespan {
            h = binary(Binary::Add, high.span, &l, &h)?;
        }
        for (bound, span) in [(&l, low.span), (&h, high.span)] {
            let ordered = subject.kind.is_number() && bound.kind.is_number()
                || subject.kind == bound.kind
                    && matches!(subject.kind, Type::Datetime | Type::Timespan);
            if !ordered {
                let message =
                    format!("a {} cannot lie between values of type {}", subject.kind, bound.kind);
                return Err(Fault::new(span, message));
            }
        }
        let not = if negated { "NOT " } else { "" };
        let sql = format!("({} {not}BETWEEN {} AND {})", subject.sql, l.sql, h.sql);
        Ok(Typed { windowed: subject.windowed, ..Typed::new(Type::Bool, sql) })
    }
}

fn column_of(relation: &Relation, kind: Type, span: Span) -> Result<String> {
    let Some(field) = relation.fields.first() else {
        return Err(Fault::new(span, "the table after `in` has no column"));
    };
    if relation.fields.len() > 1 {
        let message =
            "the table after `in` has several columns; choose one with `| project` or `| distinct`";
        return Err(Fault::new(span, message));
    }
    if !calls::comparable(kind, field.kind) {
        return Err(Fault::new(
            span,
            format!("a {kind} cannot be among values of type {}", field.kind),
        ));
    }
    Ok(format!("SELECT {} FROM {}", field.id, relation.table))
}

fn constant(kind: Type, sql: String, constant: Constant) -> Typed {
    Typed { constant: Some(constant), ..Typed::new(kind, sql) }
}

/// A moment as a literal; outside the years 1 to 9999 it is null.
pub(super) fn datetime(moment: i64) -> Typed {
    let sql = time::text(moment).map_or_else(|| "NULL".to_owned(), |text| format!("'{text}'"));
    constant(Type::Datetime, sql, Constant::Datetime(moment))
}

fn timespan(ticks: i64) -> Typed {
    constant(Type::Timespan, ticks.to_string(), Constant::Timespan(ticks))
}

pub(super) fn text_literal(text: &str) -> String {
    if text.contains('\0') {
        // The text of a statement ends at its first zero byte.
        let hex: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        return format!("CAST(x'{}' AS TEXT)", hex.concat());
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// A text, also from a dynamic value.
pub(super) fn as_text(bound: &Typed) -> String {
    match bound.kind {
        Type::Dynamic => format!("kql_text({})", bound.sql),
        _ => bound.sql.clone(),
    }
}

fn text_of(bound: &Typed, span: Span, operator: &str) -> Result<String> {
    match bound.kind {
        Type::String | Type::Dynamic => Ok(as_text(bound)),
        kind => Err(Fault::new(
            span,
            format!("`{operator}` compares texts, this is a {kind}; wrap it in `tostring(...)`"),
        )),
    }
}

/// The SQL of a value that is compared with one of a type.
fn comparable_with(bound: &Typed, kind: Type, span: Span) -> Result<String> {
    if bound.kind == Type::Dynamic && kind == Type::String {
        return Ok(as_text(bound));
    }
    if calls::comparable(kind, bound.kind) {
        return Ok(bound.sql.clone());
    }
    Err(Fault::new(
        span,
        format!("a {kind} cannot be compared with a {}{}", bound.kind, remedy(kind, bound.kind)),
    ))
}

fn remedy(left: Type, right: Type) -> &'static str {
    match (left, right) {
        (Type::Datetime, Type::String) | (Type::String, Type::Datetime) => {
            "; write a date as `datetime(2026-01-31)`, or use `todatetime(...)`"
        }
        (Type::Dynamic, _) | (_, Type::Dynamic) => {
            "; wrap the dynamic value in `tostring(...)` or `tolong(...)`"
        }
        (Type::String, kind) | (kind, Type::String) if kind.is_number() => {
            "; use `tolong(...)` or `tostring(...)`"
        }
        (Type::Timespan, kind) | (kind, Type::Timespan) if kind.is_number() => {
            "; give the number a unit, such as `30d`"
        }
        _ => "",
    }
}

fn binary(operator: Binary, place: Span, l: &Typed, r: &Typed) -> Result<Typed> {
    match operator {
        Binary::Or | Binary::And => {
            let word = if operator == Binary::Or { "or" } else { "and" };
            for side in [l, r] {
                if side.kind != Type::Bool {
                    let message = format!("`{word}` joins conditions, one side is a {}", side.kind);
                    return Err(Fault::new(place, message));
                }
            }
            Ok(Typed::new(Type::Bool, format!("({} {} {})", l.sql, word.to_uppercase(), r.sql)))
        }
        Binary::Equal => comparison("=", place, l, r),
        Binary::NotEqual => comparison("<>", place, l, r),
        Binary::Less => ordering("<", place, l, r),
        Binary::LessEqual => ordering("<=", place, l, r),
        Binary::Greater => ordering(">", place, l, r),
        Binary::GreaterEqual => ordering(">=", place, l, r),
        Binary::Text(function, negated) => text_operator(function, negated, place, l, r),
        Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Modulo => {
            arithmetic(operator, place, l, r)
        }
    }
}

fn comparison(symbol: &str, place: Span, l: &Typed, r: &Typed) -> Result<Typed> {
    let (left, right) = match (l.kind, r.kind) {
        (Type::Dynamic, Type::String) | (Type::String, Type::Dynamic) => (as_text(l), as_text(r)),
        (left, right) if calls::comparable(left, right) => (l.sql.clone(), r.sql.clone()),
        (left, right) => {
            let message =
                format!("a {left} cannot be compared with a {right}{}", remedy(left, right));
            return Err(Fault::new(place, message));
        }
    };
    Ok(Typed::new(Type::Bool, format!("({left} {symbol} {right})")))
}

fn ordering(symbol: &str, place: Span, l: &Typed, r: &Typed) -> Result<Typed> {
    if l.kind == r.kind && matches!(l.kind, Type::Bool | Type::String) {
        let message = format!(
            "values of type {} have no order; `{symbol}` compares numbers, dates and lengths of time",
            l.kind
        );
        return Err(Fault::new(place, message));
    }
    comparison(symbol, place, l, r)
}

fn text_operator(
    function: &str,
    negated: bool,
    place: Span,
    l: &Typed,
    r: &Typed,
) -> Result<Typed> {
    let word = function.trim_start_matches("kql_");
    for side in [l, r] {
        if !matches!(side.kind, Type::String | Type::Dynamic) {
            let message = format!(
                "texts are compared here (`{word}`), one side is a {}; wrap it in `tostring(...)`",
                side.kind
            );
            return Err(Fault::new(place, message));
        }
    }
    if let ("kql_matches", Some(Constant::Text(pattern))) = (function, &r.constant) {
        calls::check_pattern(pattern, place)?;
    }
    let not = if negated { "NOT " } else { "" };
    Ok(Typed::new(Type::Bool, format!("({not}{function}({}, {}))", as_text(l), as_text(r))))
}

#[expect(clippy::many_single_char_names, reason = "two operands, their SQL and their types")]
fn arithmetic(operator: Binary, place: Span, l: &Typed, r: &Typed) -> Result<Typed> {
    use Type::{Datetime, Timespan};
    let (a, b) = (&l.sql, &r.sql);
    let answer = match (operator, l.kind, r.kind) {
        (Binary::Modulo, x, y) if x.is_number() && y.is_number() => {
            Typed::new(calls::wider(x, y), format!("kql_mod({a}, {b})"))
        }
        (_, x, y) if x.is_number() && y.is_number() => {
            Typed::new(calls::wider(x, y), format!("({a} {} {b})", symbol(operator)))
        }
        (Binary::Add, Datetime, Timespan) => moved(l, r, 1),
        (Binary::Add, Timespan, Datetime) => moved(r, l, 1),
        (Binary::Subtract, Datetime, Timespan) => moved(l, r, -1),
        (Binary::Subtract, Datetime, Datetime) => {
            Typed::new(Timespan, format!("kql_since({a}, {b})"))
        }
        (Binary::Add | Binary::Subtract, Timespan, Timespan) => {
            Typed::new(Timespan, format!("({a} {} {b})", symbol(operator)))
        }
        (Binary::Modulo, Timespan, Timespan) => Typed::new(Timespan, format!("kql_mod({a}, {b})")),
        (Binary::Divide, Timespan, Timespan) => {
            Typed::new(Type::Real, format!("(CAST({a} AS REAL) / {b})"))
        }
        (Binary::Multiply, Timespan, number) | (Binary::Multiply, number, Timespan)
            if number.is_number() =>
        {
            Typed::new(Timespan, format!("CAST({a} * {b} AS INTEGER)"))
        }
        (Binary::Divide, Timespan, number) if number.is_number() => {
            Typed::new(Timespan, format!("CAST({a} / {b} AS INTEGER)"))
        }
        (_, left, right) => return Err(no_arithmetic(operator, place, left, right)),
    };
    Ok(answer)
}

fn symbol(operator: Binary) -> &'static str {
    match operator {
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        _ => "%",
    }
}

/// A moment moved by a length of time, at once when both are known.
fn moved(moment: &Typed, by: &Typed, sign: i64) -> Typed {
    if let (Some(Constant::Datetime(start)), Some(Constant::Timespan(ticks))) =
        (&moment.constant, &by.constant)
    {
        return datetime(start + (sign * ticks).div_euclid(time::TICKS_A_MILLISECOND));
    }
    let by = if sign < 0 { format!("(-({}))", by.sql) } else { by.sql.clone() };
    Typed::new(Type::Datetime, format!("kql_add({}, {by})", moment.sql))
}

fn no_arithmetic(operator: Binary, place: Span, left: Type, right: Type) -> Fault {
    let symbol = symbol(operator);
    let remedy = match (operator, left, right) {
        (Binary::Add, Type::String, _) | (Binary::Add, _, Type::String) => {
            "; texts are joined with `strcat(...)`"
        }
        (_, Type::Datetime, kind) if kind.is_number() => "; give the number a unit, such as `30d`",
        (_, Type::Dynamic, _) | (_, _, Type::Dynamic) => {
            "; wrap the dynamic value in `tolong(...)` or `todouble(...)`"
        }
        (_, Type::String, _) | (_, _, Type::String) => "; use `tolong(...)` or `todouble(...)`",
        _ => "",
    };
    Fault::new(place, format!("`{symbol}` cannot join a {left} and a {right}{remedy}"))
}
