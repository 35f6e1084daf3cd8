//! The tree to SQL: names against the schema, types against each other, one `SELECT` for each operator.
//!
//! B1  Each operator is one common table expression that reads the one before; `SQLite` flattens what it can.
//! B2  The order of rows is a hidden column, [`ORDER`]. Operators that keep order hand it on; the last `SELECT` sorts by it.
//! B3  A column is addressed by its identifier in SQL, which differs from its name where names differ in case only.
//! B4  `now()` is the moment of compilation: one value in the whole query, and a constant that an index can use.

mod aggregates;
mod calls;
mod expressions;
mod operators;

use crate::{
    error::{Fault, Result, Span},
    names,
    schema::{Column, Schema, Type},
    syntax::{Expression, Kind, Let, LetValue, Name, Named, Pipeline, Query, Source},
};

/// The hidden column that numbers rows in their order.
const ORDER: &str = "\"#\"";

/// What `render` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Render {
    /// The kind of chart, such as `piechart`.
    pub kind: RenderKind,
    /// The title, when one is given.
    pub title: Option<String>,
    /// The column of the horizontal axis, when one is named.
    pub x_column: Option<String>,
    /// The columns of values, when they are named.
    pub y_columns: Vec<String>,
}

/// A kind of chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenderKind {
    /// Horizontal bars.
    Bar,
    /// Upright bars.
    Column,
    /// Lines over numbers, dates or words.
    Line,
    /// Filled lines.
    Area,
    /// Parts of a whole.
    Pie,
    /// No chart.
    Table,
}

/// A compiled query, before it is public.
pub(crate) struct Bound {
    pub(crate) sql: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) render: Option<Render>,
}

pub(crate) fn bind(query: &Query, schema: &Schema, now: i64) -> Result<Bound> {
    let mut binder = Binder {
        schema,
        now,
        tables: Vec::new(),
        lets: Vec::new(),
        render: None,
        outermost: false,
    };
    for statement in &query.lets {
        binder.let_statement(statement)?;
    }
    binder.outermost = true;
    let relation = binder.pipeline(&query.body)?;
    Ok(Bound {
        sql: binder.select(&relation),
        columns: relation
            .fields
            .into_iter()
            .map(|field| Column { name: field.name, kind: field.kind })
            .collect(),
        render: binder.render,
    })
}

/// A column of a relation.
#[derive(Debug, Clone)]
struct Field {
    name: String,
    /// How SQL writes it, in quotes.
    id: String,
    kind: Type,
}

/// What an operator reads: a table of SQL and its columns.
#[derive(Debug, Clone, Default)]
struct Relation {
    /// How SQL writes its name.
    table: String,
    fields: Vec<Field>,
    ordered: bool,
}

impl Relation {
    fn find(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    fn field(&self, name: &Name) -> Result<&Field> {
        self.find(&name.text).ok_or_else(|| self.missing(&name.text, name.span))
    }

    fn missing(&self, name: &str, span: Span) -> Fault {
        Fault::new(span, format!("there is no column `{name}`{}", names::hint(name, self.names())))
    }
}

/// A `SELECT` list as it grows.
#[derive(Debug, Default)]
struct Shape {
    fields: Vec<Field>,
    items: Vec<String>,
}

impl Shape {
    /// All columns as they are.
    fn all(relation: &Relation) -> Self {
        let mut shape = Self::default();
        for field in &relation.fields {
            shape.keep(field);
        }
        shape
    }

    fn keep(&mut self, field: &Field) {
        self.add(field.name.clone(), field.kind, &format!("s.{}", field.id));
    }

    /// Adds a column. A name that is taken gets a number, as in Kusto.
    fn add(&mut self, name: String, kind: Type, sql: &str) {
        let is_taken = |name: &str| self.fields.iter().any(|field| field.name == *name);
        let name = if is_taken(&name) {
            (1..=u32::MAX)
                .map(|n| format!("{name}{n}"))
                .find(|name| !is_taken(name))
                .expect("there are more numbers than columns")
        } else {
            name
        };
        let id = self.identifier(&name);
        self.items.push(format!("{sql} AS {id}"));
        self.fields.push(Field { name, id, kind });
    }

    /// Puts a column in place of the one with its name, or at the end.
    fn set(&mut self, name: &str, kind: Type, sql: &str) {
        match self.fields.iter().position(|field| field.name == name) {
            Some(at) => {
                self.items[at] = format!("{sql} AS {}", self.fields[at].id);
                self.fields[at].kind = kind;
            }
            None => self.add(name.to_owned(), kind, sql),
        }
    }

    fn identifier(&self, name: &str) -> String {
        let is_taken = |id: &str| {
            id.starts_with("\"#")
                || self.fields.iter().any(|field| field.id.eq_ignore_ascii_case(id))
        };
        let plain = quoted(name);
        if !is_taken(&plain) {
            return plain;
        }
        (1..=u32::MAX)
            .map(|n| quoted(&format!("c{n} {name}")))
            .find(|id| !is_taken(id))
            .expect("there are more numbers than columns")
    }

    fn list(&self) -> String {
        // SQLite wants at least one column.
        if self.items.is_empty() { "NULL AS \"#none\"".to_owned() } else { self.items.join(", ") }
    }
}

/// A name as SQL writes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', " "))
}

/// A value that is known before the query runs.
#[derive(Debug, Clone, PartialEq)]
enum Constant {
    Long(i64),
    Text(String),
    /// Milliseconds since the year 1.
    Datetime(i64),
    /// Ticks.
    Timespan(i64),
    Other,
}

/// An expression in SQL and its type.
#[derive(Debug, Clone)]
struct Typed {
    sql: String,
    kind: Type,
    constant: Option<Constant>,
    /// Whether a window function is within.
    windowed: bool,
}

impl Typed {
    fn new(kind: Type, sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), kind, constant: None, windowed: false }
    }
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy)]
struct Scope<'a> {
    relation: &'a Relation,
    place: Place<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    /// For each row; window functions may stand here.
    Row,
    /// For each row, in an operator that has no place for window functions.
    PlainRow(&'a str),
    /// In `summarize`: aggregates, and the columns only within them.
    Group,
    /// Within the aggregate of this name.
    Aggregate(&'a str),
}

enum Definition {
    Scalar(Typed),
    Table(Relation),
}

struct Binder<'a> {
    schema: &'a Schema,
    /// Milliseconds since the year 1.
    now: i64,
    /// Common table expressions.
    tables: Vec<String>,
    lets: Vec<(String, Definition)>,
    render: Option<Render>,
    /// Whether the next pipeline is the query itself, which alone may end with `render`.
    outermost: bool,
}

impl Binder<'_> {
    fn let_statement(&mut self, statement: &Let) -> Result<()> {
        let definition = match &statement.value {
            LetValue::Table(pipeline) => Definition::Table(self.pipeline(pipeline)?),
            LetValue::Scalar(Expression { kind: Kind::Column(name), span })
                if self.is_table(name) =>
            {
                let name = Name { text: name.clone(), span: *span };
                Definition::Table(self.table(&name)?)
            }
            LetValue::Scalar(value) => {
                let nothing = Relation::default();
                let scope = Scope { relation: &nothing, place: Place::PlainRow("let") };
                let value = self.expression(value, scope)?;
                Definition::Scalar(self.shared(value))
            }
        };
        self.lets.push((statement.name.text.clone(), definition));
        Ok(())
    }

    /// A value that several places use, computed once.
    fn shared(&mut self, value: Typed) -> Typed {
        if value.constant.is_some() {
            return value;
        }
        let table = self.stage(&format!("SELECT {} AS v", value.sql));
        Typed::new(value.kind, format!("(SELECT v FROM {table})"))
    }

    fn is_table(&self, name: &str) -> bool {
        self.schema.find_table(name).is_some()
            || self.lets.iter().any(|(known, definition)| {
                known == name && matches!(definition, Definition::Table(_))
            })
    }

    fn definition(&self, name: &str) -> Option<&Definition> {
        self.lets.iter().rev().find(|(known, _)| known == name).map(|(_, definition)| definition)
    }

    /// Makes a table of a `SELECT` and answers with its name.
    fn stage(&mut self, select: &str) -> String {
        let table = format!("kql_{}", self.tables.len() + 1);
        self.tables.push(format!("{table} AS ({select})"));
        table
    }

    /// One further stage over a relation. `rest` is what follows its name.
    fn over(
        &mut self,
        relation: &Relation,
        shape: Shape,
        rest: &str,
        order: Order<'_>,
    ) -> Relation {
        let order = match order {
            Order::Kept if relation.ordered => format!(", s.{ORDER} AS {ORDER}"),
            Order::Kept | Order::Lost => String::new(),
            Order::New(keys) => format!(", row_number() OVER ({keys}) AS {ORDER}"),
        };
        let ordered = !order.is_empty();
        let select = format!("SELECT {}{order} FROM {} AS s{rest}", shape.list(), relation.table);
        Relation { table: self.stage(&select), fields: shape.fields, ordered }
    }

    fn select(&self, relation: &Relation) -> String {
        let with = match self.tables.as_slice() {
            [] => String::new(),
            tables => format!("WITH {}\n", tables.join(",\n")),
        };
        let items: Vec<String> = relation
            .fields
            .iter()
            .map(|field| format!("s.{} AS {}", field.id, quoted(&field.name)))
            .collect();
        let items = if items.is_empty() { "NULL".to_owned() } else { items.join(", ") };
        let order = if relation.ordered { format!(" ORDER BY s.{ORDER}") } else { String::new() };
        format!("{with}SELECT {items} FROM {} AS s{order}", relation.table)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Relation> {
        let outermost = std::mem::take(&mut self.outermost);
        let source = self.source(&pipeline.source)?;
        self.operators(source, &pipeline.operators, outermost)
    }

    fn source(&mut self, source: &Source) -> Result<Relation> {
        match source {
            Source::Table(name) => self.table(name),
            Source::Nested(pipeline) => self.pipeline(pipeline),
            Source::Union(tables) => {
                let mut relations = Vec::new();
                for table in tables {
                    relations.push((self.pipeline(table)?, table.span()));
                }
                self.union(&relations)
            }
            Source::Print(values) => self.print(values),
        }
    }

    fn table(&mut self, name: &Name) -> Result<Relation> {
        match self.definition(&name.text) {
            Some(Definition::Table(relation)) => return Ok(relation.clone()),
            Some(Definition::Scalar(_)) => {
                let message = format!("`{}` is a value; a table is expected here", name.text);
                return Err(Fault::new(name.span, message));
            }
            None => {}
        }
        let Some(table) = self.schema.find_table(&name.text) else {
            let known = self.schema.tables.iter().map(|table| table.name.as_str());
            let known = known.chain(self.lets.iter().map(|(name, _)| name.as_str()));
            let message =
                format!("there is no table `{}`{}", name.text, names::hint(&name.text, known));
            return Err(Fault::new(name.span, message));
        };
        let mut shape = Shape::default();
        for column in &table.columns {
            let sql = format!("s.{}", quoted(&column.name));
            shape.add(column.name.clone(), column.kind, &sql);
        }
        let base = Relation { table: quoted(&table.name), ..Relation::default() };
        Ok(self.over(&base, shape, "", Order::Lost))
    }

    fn print(&mut self, values: &[Named]) -> Result<Relation> {
        let nothing = Relation::default();
        let scope = Scope { relation: &nothing, place: Place::PlainRow("print") };
        let mut shape = Shape::default();
        for (at, value) in values.iter().enumerate() {
            let bound = self.expression(&value.value, scope)?;
            let name =
                value.name.as_ref().map_or_else(|| format!("print_{at}"), |name| name.text.clone());
            shape.add(name, bound.kind, &bound.sql);
        }
        let table = self.stage(&format!("SELECT {}", shape.list()));
        Ok(Relation { table, fields: shape.fields, ordered: false })
    }
}

impl Pipeline {
    fn span(&self) -> Span {
        match (&self.source, self.operators.first()) {
            (Source::Table(name), _) => name.span,
            (Source::Nested(inner), _) => inner.span(),
            (Source::Union(tables), _) => tables.first().map(Self::span).unwrap_or_default(),
            (Source::Print(values), _) => {
                values.first().map(|value| value.value.span).unwrap_or_default()
            }
        }
    }
}

/// What a stage does with the order of rows.
#[derive(Clone, Copy)]
enum Order<'a> {
    Kept,
    Lost,
    /// The clause of a window.
    New(&'a str),
}

/// The name of a column for an expression that has none; `nth` counts those for which nothing better is known.
fn name_of(named: &Named, nth: &mut usize) -> String {
    if let Some(name) = &named.name {
        return name.text.clone();
    }
    implied(&named.value).unwrap_or_else(|| {
        *nth += 1;
        format!("Column{nth}")
    })
}

/// The name that an expression brings along.
fn implied(value: &Expression) -> Option<String> {
    match &value.kind {
        Kind::Column(name) => Some(name.clone()),
        Kind::Member { of, name } => Some(format!("{}_{}", implied(of)?, name.text)),
        Kind::Index { of, at } => match &at.kind {
            Kind::Long(at) => Some(format!("{}_{at}", implied(of)?)),
            Kind::Text(at) => Some(format!("{}_{at}", implied(of)?)),
            _ => None,
        },
        Kind::Call { name, arguments } => match aggregates::prefix(&name.text) {
            Some(prefix) => Some(aggregates::implied(prefix, arguments)),
            None if calls::hands_its_name_on(&name.text) => implied(arguments.first()?),
            None if name.text == "strlen" => {
                Some(format!("strlen_{}", implied(arguments.first()?)?))
            }
            None => None,
        },
        _ => None,
    }
}
