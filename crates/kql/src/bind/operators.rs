//! The operators, each as one or two stages.

use crate::{
    bind::{
        Binder, Field, ORDER, Order, Place, Relation, Render, RenderKind, Scope, Shape, Typed,
        aggregates, calls, implied, name_of,
    },
    error::{Fault, Result, Span},
    names,
    schema::Type,
    syntax::{
        Direction, Expression, JoinKind, Key, Kind, Name, Named, Nulls, On, Operator, Pipeline,
        RenderSyntax,
    },
};

impl Binder<'_> {
    pub(super) fn operators(
        &mut self,
        mut relation: Relation,
        operators: &[(Operator, Span)],
        outermost: bool,
    ) -> Result<Relation> {
        let mut rest = operators;
        while let [(operator, span), after @ ..] = rest {
            rest = after;
            match (operator, after) {
                // Together they need not sort all rows.
                (Operator::Order(keys), [(Operator::Take(count), _), after @ ..]) => {
                    relation = self.top(&relation, *count, keys)?;
                    rest = after;
                }
                (Operator::Render(render), []) if outermost => {
                    self.render = Some(rendered(render, &relation)?);
                }
                (Operator::Render(_), _) => {
                    return Err(Fault::new(*span, "`render` is the last operator of a query"));
                }
                _ => relation = self.operator(&relation, operator)?,
            }
        }
        Ok(relation)
    }

    fn operator(&mut self, relation: &Relation, operator: &Operator) -> Result<Relation> {
        match operator {
            Operator::Where(condition) => self.filter(relation, condition),
            Operator::Extend(values) => self.extend(relation, values, Order::Kept),
            Operator::Project(values) => self.project(relation, values),
            Operator::ProjectAway(patterns) => self.keep(relation, patterns, Chosen::Dropped),
            Operator::ProjectKeep(patterns) => self.keep(relation, patterns, Chosen::Kept),
            Operator::ProjectRename(renames) => self.rename(relation, renames),
            Operator::Summarize { aggregates, by } => self.summarize(relation, aggregates, by),
            Operator::Order(keys) => {
                let keys = self.keys(relation, keys, "order by")?;
                Ok(self.over(relation, Shape::all(relation), "", Order::New(&keys)))
            }
            Operator::Take(count) => Ok(self.take(relation, *count)),
            Operator::Top(count, keys) => self.top(relation, *count, keys),
            Operator::Distinct(values) => self.distinct(relation, values),
            Operator::Count => {
                let mut shape = Shape::default();
                shape.add("Count".to_owned(), Type::Long, "count(*)");
                Ok(self.over(relation, shape, "", Order::Lost))
            }
            Operator::Join { kind, right, on } => self.join(relation, *kind, right, on),
            Operator::Union(tables) => {
                let mut relations = vec![(relation.clone(), Span::default())];
                for table in tables {
                    relations.push((self.pipeline(table)?, table.span()));
                }
                self.union(&relations)
            }
            Operator::Serialize(values) => self.serialize(relation, values),
            Operator::Render(_) => unreachable!("the caller handles it"),
        }
    }

    fn filter(&mut self, relation: &Relation, condition: &Expression) -> Result<Relation> {
        let bound = self.expression(condition, Scope { relation, place: Place::Row })?;
        if bound.kind != Type::Bool {
            let hint = match &condition.kind {
                Kind::Column(name) => format!("; compare it, such as `{name} == ...`"),
                _ => String::new(),
            };
            let message = format!("`where` needs a condition, this is a {}{hint}", bound.kind);
            return Err(Fault::new(condition.span, message));
        }
        if !bound.windowed {
            let rest = format!(" WHERE {}", bound.sql);
            return Ok(self.over(relation, Shape::all(relation), &rest, Order::Kept));
        }
        // A window function sees the rows that a `WHERE` beside it would already have dropped.
        let mut shape = Shape::all(relation);
        shape.items.push(format!("{} AS \"#where\"", bound.sql));
        let marked = self.over(relation, shape, "", Order::Kept);
        Ok(self.over(&marked, Shape::all(&marked), " WHERE s.\"#where\"", Order::Kept))
    }

    fn extend(
        &mut self,
        relation: &Relation,
        values: &[Named],
        order: Order<'_>,
    ) -> Result<Relation> {
        let scope = Scope { relation, place: Place::Row };
        let mut shape = Shape::all(relation);
        let mut nth = 0;
        for value in values {
            let bound = self.expression(&value.value, scope)?;
            match (&value.name, implied(&value.value)) {
                (Some(name), _) => shape.set(&name.text, bound.kind, &bound.sql),
                (None, Some(name)) if matches!(value.value.kind, Kind::Column(_)) => {
                    shape.set(&name, bound.kind, &bound.sql);
                }
                (None, _) => shape.add(name_of(value, &mut nth), bound.kind, &bound.sql),
            }
        }
        Ok(self.over(relation, shape, "", order))
    }

    fn serialize(&mut self, relation: &Relation, values: &[Named]) -> Result<Relation> {
        let ordered = if relation.ordered {
            relation.clone()
        } else {
            self.over(relation, Shape::all(relation), "", Order::New(""))
        };
        match values {
            [] => Ok(ordered),
            values => self.extend(&ordered, values, Order::Kept),
        }
    }

    fn project(&mut self, relation: &Relation, values: &[Named]) -> Result<Relation> {
        let shape = self.columns(relation, values, Place::Row)?;
        Ok(self.over(relation, shape, "", Order::Kept))
    }

    fn columns(
        &mut self,
        relation: &Relation,
        values: &[Named],
        place: Place<'_>,
    ) -> Result<Shape> {
        let mut shape = Shape::default();
        let mut nth = 0;
        for value in values {
            let bound = self.expression(&value.value, Scope { relation, place })?;
            let name = name_of(value, &mut nth);
            if value.name.is_some() && shape.fields.iter().any(|field| field.name == name) {
                return Err(Fault::new(
                    value.value.span,
                    format!("the column `{name}` is there twice"),
                ));
            }
            shape.add(name, bound.kind, &bound.sql);
        }
        Ok(shape)
    }

    fn keep(&mut self, relation: &Relation, patterns: &[Name], chosen: Chosen) -> Result<Relation> {
        for pattern in patterns {
            if !relation.names().any(|name| matches(&pattern.text, name)) {
                return Err(relation.missing(&pattern.text, pattern.span));
            }
        }
        let mut shape = Shape::default();
        for field in &relation.fields {
            let is_named = patterns.iter().any(|pattern| matches(&pattern.text, &field.name));
            if is_named == (chosen == Chosen::Kept) {
                shape.keep(field);
            }
        }
        Ok(self.over(relation, shape, "", Order::Kept))
    }

    fn rename(&mut self, relation: &Relation, renames: &[(Name, Name)]) -> Result<Relation> {
        for (new, old) in renames {
            relation.field(old)?;
            let is_renamed = renames.iter().any(|(_, old)| old.text == new.text);
            if relation.find(&new.text).is_some() && !is_renamed {
                return Err(Fault::new(
                    new.span,
                    format!("there is a column `{}` already", new.text),
                ));
            }
        }
        let mut shape = Shape::default();
        for field in &relation.fields {
            let new = renames.iter().find(|(_, old)| old.text == field.name);
            let name = new.map_or(&field.name, |(new, _)| &new.text);
            shape.add(name.clone(), field.kind, &format!("s.{}", field.id));
        }
        Ok(self.over(relation, shape, "", Order::Kept))
    }

    fn take(&mut self, relation: &Relation, count: i64) -> Relation {
        let order = if relation.ordered { format!(" ORDER BY s.{ORDER}") } else { String::new() };
        let rest = format!("{order} LIMIT {}", count.max(0));
        self.over(relation, Shape::all(relation), &rest, Order::Kept)
    }

    fn top(&mut self, relation: &Relation, count: i64, sorted_by: &[Key]) -> Result<Relation> {
        let keys = self.keys(relation, sorted_by, "top")?;
        let rest = format!(" {keys} LIMIT {}", count.max(0));
        let kept = self.over(relation, Shape::all(relation), &rest, Order::Kept);
        let keys = self.keys(&kept, sorted_by, "top")?;
        Ok(self.over(&kept, Shape::all(&kept), "", Order::New(&keys)))
    }

    fn keys(&mut self, relation: &Relation, keys: &[Key], operator: &str) -> Result<String> {
        let scope = Scope { relation, place: Place::PlainRow(operator) };
        let mut sorted = Vec::new();
        for key in keys {
            let bound = self.expression(&key.value, scope)?;
            if bound.kind == Type::Dynamic {
                let message =
                    "a dynamic value has no order; wrap it in `tostring(...)` or `tolong(...)`";
                return Err(Fault::new(key.value.span, message));
            }
            let direction = match key.direction {
                Direction::Ascending => "ASC",
                Direction::Descending => "DESC",
            };
            let nulls = match key.nulls {
                None => "",
                Some(Nulls::First) => " NULLS FIRST",
                Some(Nulls::Last) => " NULLS LAST",
            };
            // A bare number would mean a column by its place.
            sorted.push(format!("({}) {direction}{nulls}", bound.sql));
        }
        // Rows with equal keys stay in the order they had.
        sorted.extend(relation.ordered.then(|| format!("s.{ORDER}")));
        Ok(format!("ORDER BY {}", sorted.join(", ")))
    }

    fn distinct(&mut self, relation: &Relation, values: &[Named]) -> Result<Relation> {
        let mut shape = match values {
            [] => Shape::all(relation),
            values => self.columns(relation, values, Place::PlainRow("distinct"))?,
        };
        if let Some(first) = shape.items.first_mut() {
            *first = format!("DISTINCT {first}");
        }
        Ok(self.over(relation, shape, "", Order::Lost))
    }

    fn summarize(
        &mut self,
        relation: &Relation,
        aggregates: &[Named],
        by: &[Named],
    ) -> Result<Relation> {
        let mut shape = self.columns(relation, by, Place::PlainRow("summarize by"))?;
        for (field, named) in shape.fields.iter().zip(by) {
            if field.kind == Type::Dynamic {
                let message = "a dynamic value cannot be grouped by; wrap it in `tostring(...)`";
                return Err(Fault::new(named.value.span, message));
            }
        }
        let groups: Vec<String> = (1..=shape.fields.len()).map(|n| n.to_string()).collect();
        let rest = if groups.is_empty() {
            String::new()
        } else {
            format!(" GROUP BY {}", groups.join(", "))
        };
        let mut unpacked: Vec<Unpacked> = shape.fields.iter().map(Unpacked::field).collect();
        let mut nth = 0;
        for (at, named) in aggregates.iter().enumerate() {
            let packed = format!("\"#packed {at}\"");
            match self.argument_of_extreme(relation, named, by)? {
                Some(extreme) => {
                    shape.items.push(format!("{} AS {packed}", extreme.sql));
                    unpacked.extend(extreme.columns.into_iter().enumerate().map(
                        |(at, (name, kind))| Unpacked {
                            name,
                            kind,
                            sql: format!("kql_item(s.{packed}, {at})"),
                        },
                    ));
                }
                None => {
                    let place = Place::Group;
                    let bound = self.expression(&named.value, Scope { relation, place })?;
                    shape.add(name_of(named, &mut nth), bound.kind, &bound.sql);
                    unpacked.extend(shape.fields.last().map(Unpacked::field));
                }
            }
        }
        // Without groups there is one row, also when no aggregate makes it so.
        let has_packed = shape.items.len() > shape.fields.len();
        let grouped = self.over(relation, shape, &rest, Order::Lost);
        if !has_packed {
            return Ok(grouped);
        }
        let mut shape = Shape::default();
        for Unpacked { name, kind, sql } in unpacked {
            shape.add(name, kind, &sql);
        }
        Ok(self.over(&grouped, shape, "", Order::Lost))
    }

    /// `arg_max(by, columns)` and `arg_min`, which give several columns at once.
    fn argument_of_extreme(
        &mut self,
        relation: &Relation,
        named: &Named,
        by: &[Named],
    ) -> Result<Option<Extreme>> {
        let Kind::Call { name, arguments } = &named.value.kind else { return Ok(None) };
        let Some(function) = aggregates::extreme(&name.text) else { return Ok(None) };
        let [extreme, others @ ..] = arguments.as_slice() else {
            let message =
                format!("`{}` needs the value to compare and then the columns to give", name.text);
            return Err(Fault::new(named.value.span, message));
        };
        let scope = Scope { relation, place: Place::Aggregate(&name.text) };
        let mut columns = Vec::new();
        let mut sql = Vec::new();
        let mut add = |name: String, value: &Typed| {
            columns.push((name, value.kind));
            sql.push(value.sql.clone());
        };
        let mut nth = 0;
        let bound = self.expression(extreme, scope)?;
        let first = Named { name: named.name.clone(), value: extreme.clone() };
        add(name_of(&first, &mut nth), &bound);
        for other in others {
            if other.kind == Kind::Star {
                let is_shown = |field: &&Field| {
                    let is = |value: &Expression| implied(value).as_ref() == Some(&field.name);
                    !is(extreme) && !by.iter().any(|by| by.name.is_none() && is(&by.value))
                };
                for field in relation.fields.iter().filter(is_shown) {
                    add(field.name.clone(), &Typed::new(field.kind, format!("s.{}", field.id)));
                }
                continue;
            }
            let value = self.expression(other, scope)?;
            add(name_of(&Named { name: None, value: other.clone() }, &mut nth), &value);
        }
        Ok(Some(Extreme { sql: format!("{function}({})", sql.join(", ")), columns }))
    }

    fn join(
        &mut self,
        left: &Relation,
        kind: JoinKind,
        right: &Pipeline,
        on: &[On],
    ) -> Result<Relation> {
        let right = self.pipeline(right)?;
        let keys = on.iter().map(|on| key(left, &right, on)).collect::<Result<Vec<_>>>()?;
        let equal: Vec<String> =
            keys.iter().map(|(l, r)| format!("l.{} = r.{}", l.id, r.id)).collect();
        let equal = equal.join(" AND ");
        if let JoinKind::LeftSemi | JoinKind::LeftAnti = kind {
            return Ok(self.semi_join(left, &right, kind, &keys, &equal));
        }
        let (l_optional, r_optional, join) = match kind {
            JoinKind::LeftOuter => (false, true, "LEFT JOIN"),
            JoinKind::RightOuter => (true, false, "RIGHT JOIN"),
            JoinKind::FullOuter => (true, true, "FULL JOIN"),
            _ => (false, false, "JOIN"),
        };
        let mut shape = Shape::default();
        for field in &left.fields {
            shape.add(field.name.clone(), field.kind, &side("l", field, l_optional));
        }
        for field in &right.fields {
            shape.add(field.name.clone(), field.kind, &side("r", field, r_optional));
        }
        let left_table = match kind {
            JoinKind::InnerUnique => one_row_a_key(left, &keys),
            _ => left.table.clone(),
        };
        let select = format!(
            "SELECT {} FROM {left_table} AS l {join} {} AS r ON {equal}",
            shape.list(),
            right.table
        );
        Ok(Relation { table: self.stage(&select), fields: shape.fields, ordered: false })
    }

    fn semi_join(
        &mut self,
        left: &Relation,
        right: &Relation,
        kind: JoinKind,
        keys: &[(&Field, &Field)],
        equal: &str,
    ) -> Relation {
        let mut shape = Shape::default();
        for field in &left.fields {
            shape.add(field.name.clone(), field.kind, &format!("l.{}", field.id));
        }
        let ids: Vec<&str> = keys.iter().map(|(_, right)| right.id.as_str()).collect();
        let condition = if kind == JoinKind::LeftSemi { "IS NOT NULL" } else { "IS NULL" };
        let select = format!(
            "SELECT {} FROM {} AS l LEFT JOIN (SELECT DISTINCT {}, 1 AS \"#met\" FROM {}) AS r ON {equal} \
             WHERE r.\"#met\" {condition}",
            shape.list(),
            left.table,
            ids.join(", "),
            right.table
        );
        Relation { table: self.stage(&select), fields: shape.fields, ordered: false }
    }

    pub(super) fn union(&mut self, relations: &[(Relation, Span)]) -> Result<Relation> {
        let mut shape = Shape::default();
        for (relation, span) in relations {
            for field in &relation.fields {
                match shape.fields.iter().find(|known| known.name == field.name) {
                    None => shape.add(field.name.clone(), field.kind, "NULL"),
                    Some(known) if known.kind == field.kind => {}
                    Some(known) => {
                        let message = format!(
                            "the tables of this union differ: `{}` is a {} in one and a {} in another",
                            field.name, known.kind, field.kind
                        );
                        return Err(Fault::new(*span, message));
                    }
                }
            }
        }
        let selects: Vec<String> =
            relations.iter().map(|(relation, _)| aligned(relation, &shape.fields)).collect();
        let table = self.stage(&selects.join(" UNION ALL "));
        Ok(Relation { table, fields: shape.fields, ordered: false })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Chosen {
    Kept,
    Dropped,
}

/// An `arg_max` and the columns that it gives.
struct Extreme {
    sql: String,
    columns: Vec<(String, Type)>,
}

/// A column of the stage after `summarize`.
struct Unpacked {
    name: String,
    kind: Type,
    sql: String,
}

impl Unpacked {
    fn field(field: &Field) -> Self {
        Self { name: field.name.clone(), kind: field.kind, sql: format!("s.{}", field.id) }
    }
}

fn key<'a>(left: &'a Relation, right: &'a Relation, on: &On) -> Result<(&'a Field, &'a Field)> {
    let missing = |relation: &Relation, name: &Name, side: &str| {
        let hint = names::hint(&name.text, relation.names());
        Fault::new(
            name.span,
            format!("the {side} table of this join has no column `{}`{hint}", name.text),
        )
    };
    let l = left.find(&on.left.text).ok_or_else(|| missing(left, &on.left, "left"))?;
    let r = right.find(&on.right.text).ok_or_else(|| missing(right, &on.right, "right"))?;
    if !calls::comparable(l.kind, r.kind) {
        let message = format!("a {} cannot be joined with a {}", l.kind, r.kind);
        return Err(Fault::new(on.left.span.to(on.right.span), message));
    }
    Ok((l, r))
}

/// A column of one side. Texts are never null in Kusto, also where a row has no partner.
fn side(alias: &str, field: &Field, optional: bool) -> String {
    match (optional, field.kind) {
        (true, Type::String) => format!("coalesce({alias}.{}, '')", field.id),
        _ => format!("{alias}.{}", field.id),
    }
}

/// One row of the left side for each key, as `innerunique` has it.
fn one_row_a_key(left: &Relation, keys: &[(&Field, &Field)]) -> String {
    let ids: Vec<&str> = keys.iter().map(|(left, _)| left.id.as_str()).collect();
    format!(
        "(SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY {}) AS \"#nth\" FROM {}) WHERE \"#nth\" = 1)",
        ids.join(", "),
        left.table
    )
}

fn aligned(relation: &Relation, fields: &[Field]) -> String {
    let items: Vec<String> = fields
        .iter()
        .map(|field| match relation.find(&field.name) {
            Some(own) => format!("s.{} AS {}", own.id, field.id),
            None if field.kind == Type::String => format!("'' AS {}", field.id),
            None => format!("NULL AS {}", field.id),
        })
        .collect();
    format!("SELECT {} FROM {} AS s", items.join(", "), relation.table)
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len())
                .filter(|at| name.is_char_boundary(*at))
                .any(|at| matches(rest, &name[at..]))
        }),
    }
}

fn rendered(render: &RenderSyntax, relation: &Relation) -> Result<Render> {
    const KINDS: [(&str, RenderKind); 8] = [
        ("barchart", RenderKind::Bar),
        ("columnchart", RenderKind::Column),
        ("timechart", RenderKind::Line),
        ("linechart", RenderKind::Line),
        ("areachart", RenderKind::Area),
        ("piechart", RenderKind::Pie),
        ("table", RenderKind::Table),
        ("card", RenderKind::Table),
    ];
    let kind = KINDS.iter().find(|(name, _)| *name == render.kind.text).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| {
        let hint = names::hint(&render.kind.text, KINDS.iter().map(|(name, _)| *name));
        let message = format!(
            "charts of kind `{}` are not supported; kinds are barchart, columnchart, linechart, timechart, areachart, piechart, table{hint}",
            render.kind.text
        );
        Fault::new(render.kind.span, message)
    })?;
    let mut answer = Render { kind, title: None, x_column: None, y_columns: Vec::new() };
    for (name, values) in &render.properties {
        let first = values.first().map(|value| value.text.clone());
        match name.text.as_str() {
            "title" => answer.title = first,
            "xcolumn" => {
                values.iter().try_for_each(|value| relation.field(value).map(|_| ()))?;
                answer.x_column = first;
            }
            "ycolumns" => {
                values.iter().try_for_each(|value| relation.field(value).map(|_| ()))?;
                answer.y_columns = values.iter().map(|value| value.text.clone()).collect();
            }
            // How a chart looks is decided here, not by the query; these change no value.
            "kind" | "xtitle" | "ytitle" | "legend" | "xaxis" | "yaxis" | "series" | "ymin"
            | "ymax" | "accumulate" => {}
            other => {
                let known = [
                    "title", "xcolumn", "ycolumns", "kind", "xtitle", "ytitle", "legend", "series",
                ];
                let message =
                    format!("`render` knows no property `{other}`{}", names::hint(other, known));
                return Err(Fault::new(name.span, message));
            }
        }
    }
    Ok(answer)
}

/// The one value of a table, for `toscalar`.
pub(super) fn first_value(relation: &Relation) -> Option<(String, Type)> {
    let field = relation.fields.first()?;
    let order = if relation.ordered { format!(" ORDER BY {ORDER}") } else { String::new() };
    Some((format!("(SELECT {} FROM {}{order} LIMIT 1)", field.id, relation.table), field.kind))
}
