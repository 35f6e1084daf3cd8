//! Aggregate functions of `summarize`.

use crate::{
    bind::{Binder, Constant, Place, Scope, Typed, calls},
    error::{Fault, Result, Span},
    schema::Type,
    syntax::{Expression, Kind, Name},
};

/// The name, and what Kusto puts before the column's name when the result has none.
const AGGREGATES: [(&str, &str); 23] = [
    ("count", "count"),
    ("countif", "countif"),
    ("sum", "sum"),
    ("sumif", "sumif"),
    ("avg", "avg"),
    ("avgif", "avgif"),
    ("min", "min"),
    ("minif", "minif"),
    ("max", "max"),
    ("maxif", "maxif"),
    ("dcount", "dcount"),
    ("dcountif", "dcountif"),
    ("stdev", "stdev"),
    ("stdevp", "stdevp"),
    ("variance", "variance"),
    ("percentile", "percentile"),
    ("make_list", "list"),
    ("make_set", "set"),
    ("take_any", ""),
    ("any", "any"),
    ("arg_max", ""),
    ("arg_min", ""),
    ("count_distinct", "count_distinct"),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().map(|(name, _)| *name)
}

pub(super) fn prefix(name: &str) -> Option<&'static str> {
    AGGREGATES.iter().find(|(known, _)| *known == name).map(|(_, prefix)| *prefix)
}

/// The name of an aggregate's column: `sum_FileSizeBytes`, `count_`.
pub(super) fn implied(prefix: &str, arguments: &[Expression]) -> String {
    let column = arguments.first().and_then(super::implied).unwrap_or_default();
    if prefix.is_empty() {
        return column;
    }
    match arguments.get(1).map(|argument| &argument.kind) {
        Some(Kind::Long(number)) if prefix == "percentile" => format!("{prefix}_{column}_{number}"),
        _ => format!("{prefix}_{column}"),
    }
}

/// The function in SQL for aggregates that give several columns.
pub(super) fn extreme(name: &str) -> Option<&'static str> {
    match name {
        "arg_max" => Some("kql_arg_max"),
        "arg_min" => Some("kql_arg_min"),
        _ => None,
    }
}

impl Binder<'_> {
    pub(super) fn aggregate(
        &mut self,
        name: &Name,
        arguments: &[Expression],
        span: Span,
        scope: Scope<'_>,
    ) -> Result<Typed> {
        allowed(name, scope.place)?;
        if extreme(&name.text).is_some() {
            let message = format!(
                "`{}` gives several columns, so it stands alone and not within an expression",
                name.text
            );
            return Err(Fault::new(span, message));
        }
        let inner = Scope { place: Place::Aggregate(&name.text), ..scope };
        let mut bound = Vec::new();
        for argument in arguments {
            bound.push((self.expression(argument, inner)?, argument.span));
        }
        Arguments { name, span, bound: &bound }.aggregate()
    }
}

fn allowed(name: &Name, place: Place<'_>) -> Result<()> {
    let text = &name.text;
    match place {
        Place::Group => Ok(()),
        Place::Aggregate(outer) => Err(Fault::new(
            name.span,
            format!(
                "the aggregate `{text}` cannot stand within `{outer}`; compute it in a `summarize` before this one, and use its column here"
            ),
        )),
        Place::Row | Place::PlainRow(_) => Err(Fault::new(
            name.span,
            format!(
                "the aggregate `{text}` stands only in `summarize`; for a single value write `toscalar(... | summarize {text}(...))`"
            ),
        )),
    }
}

struct Arguments<'a> {
    name: &'a Name,
    span: Span,
    bound: &'a [(Typed, Span)],
}

impl Arguments<'_> {
    fn aggregate(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        match name {
            "count" => {
                self.arity(0, 0)?;
                Ok(Typed::new(Type::Long, "count(*)"))
            }
            "countif" => {
                self.arity(1, 1)?;
                Ok(Typed::new(
                    Type::Long,
                    format!("count(CASE WHEN {} THEN 1 END)", self.condition(0)?),
                ))
            }
            "sum" | "sumif" => self.sum(),
            "avg" | "avgif" => self.average(),
            "min" | "max" | "minif" | "maxif" => self.least_or_most(),
            "take_any" | "any" => {
                self.arity(1, 1)?;
                let (value, _) = &self.bound[0];
                Ok(Typed::new(value.kind, format!("min({})", value.sql)))
            }
            "dcount" | "count_distinct" | "dcountif" => {
                self.arity(1, 3)?;
                let at = usize::from(name == "dcountif");
                let value = if at == 1 { self.conditional()? } else { self.bound[0].0.sql.clone() };
                Ok(Typed::new(Type::Long, format!("count(DISTINCT {value})")))
            }
            "stdev" | "stdevp" | "variance" => {
                self.arity(1, 1)?;
                self.number(0)?;
                Ok(Typed::new(Type::Real, format!("kql_{name}({})", self.bound[0].0.sql)))
            }
            "percentile" => self.percentile(),
            _ => self.collect(),
        }
    }

    fn sum(&self) -> Result<Typed> {
        let kind = self.measured()?;
        let value = self.value_if("sumif")?;
        let (kind, zero) = match kind {
            Type::Real => (Type::Real, "0.0"),
            Type::Timespan => (Type::Timespan, "0"),
            _ => (Type::Long, "0"),
        };
        Ok(Typed::new(kind, format!("coalesce(sum({value}), {zero})")))
    }

    fn average(&self) -> Result<Typed> {
        let value_kind = self.measured()?;
        let value = self.value_if("avgif")?;
        Ok(match value_kind {
            Type::Timespan => Typed::new(Type::Timespan, format!("CAST(avg({value}) AS INTEGER)")),
            _ => Typed::new(Type::Real, format!("avg({value})")),
        })
    }

    fn least_or_most(&self) -> Result<Typed> {
        let name = self.name.text.as_str();
        let is_conditional = name.ends_with("if");
        let value = self.value_if(if is_conditional { name } else { "" })?;
        let (typed, span) = &self.bound[0];
        if matches!(typed.kind, Type::Dynamic) {
            return Err(Fault::new(
                *span,
                format!(
                    "`{name}` needs values with an order, a dynamic value has none; wrap it in `tostring(...)` or `tolong(...)`"
                ),
            ));
        }
        let function = &name[..3];
        Ok(Typed::new(typed.kind, format!("{function}({value})")))
    }

    fn percentile(&self) -> Result<Typed> {
        self.arity(2, 2)?;
        let (value, span) = &self.bound[0];
        if !value.kind.is_number() && !matches!(value.kind, Type::Datetime | Type::Timespan) {
            return Err(Fault::new(
                *span,
                format!(
                    "`percentile` needs numbers, dates or lengths of time, this is a {}",
                    value.kind
                ),
            ));
        }
        self.number(1)?;
        Ok(Typed::new(
            value.kind,
            format!("kql_percentile({}, {})", value.sql, self.bound[1].0.sql),
        ))
    }

    fn collect(&self) -> Result<Typed> {
        self.arity(1, 2)?;
        let (value, _) = &self.bound[0];
        let most = match self.bound.get(1) {
            None => "1048576".to_owned(),
            Some((Typed { constant: Some(Constant::Long(most)), .. }, _)) => most.to_string(),
            Some((_, span)) => {
                return Err(Fault::new(
                    *span,
                    format!("the size in `{}` is a whole number", self.name.text),
                ));
            }
        };
        let function = &self.name.text;
        Ok(Typed::new(
            Type::Dynamic,
            format!("kql_{function}({}, '{}', {most})", value.sql, value.kind),
        ))
    }

    fn measured(&self) -> Result<Type> {
        let Some((value, span)) = self.bound.first() else {
            return Err(calls::wrong_count(self.name, self.span, 1, 1));
        };
        if value.kind.is_number() || value.kind == Type::Timespan {
            return Ok(value.kind);
        }
        Err(Fault::new(
            *span,
            format!("`{}` needs numbers, this is a {}", self.name.text, value.kind),
        ))
    }

    /// The value, or the value under a condition when this is the conditional form.
    fn value_if(&self, conditional: &str) -> Result<String> {
        if self.name.text == conditional {
            return self.conditional();
        }
        self.arity(1, 1)?;
        Ok(self.bound[0].0.sql.clone())
    }

    fn conditional(&self) -> Result<String> {
        self.arity(2, 2)?;
        Ok(format!("CASE WHEN {} THEN {} END", self.condition(1)?, self.bound[0].0.sql))
    }

    fn condition(&self, at: usize) -> Result<&str> {
        let (value, span) = &self.bound[at];
        if value.kind == Type::Bool {
            return Ok(&value.sql);
        }
        Err(Fault::new(
            *span,
            format!("`{}` needs a condition here, this is a {}", self.name.text, value.kind),
        ))
    }

    fn number(&self, at: usize) -> Result<()> {
        let (value, span) = &self.bound[at];
        if value.kind.is_number() {
            return Ok(());
        }
        Err(Fault::new(
            *span,
            format!("`{}` needs a number here, this is a {}", self.name.text, value.kind),
        ))
    }

    fn arity(&self, least: usize, most: usize) -> Result<()> {
        if (least..=most).contains(&self.bound.len()) {
            return Ok(());
        }
        Err(calls::wrong_count(self.name, self.span, least, most))
    }
}
