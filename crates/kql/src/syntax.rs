//! A query as a tree. Nothing here knows tables or types.

use crate::error::Span;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) lets: Vec<Let>,
    pub(crate) body: Pipeline,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Let {
    pub(crate) name: Name,
    pub(crate) value: LetValue,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LetValue {
    Scalar(Expression),
    Table(Pipeline),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pipeline {
    pub(crate) source: Source,
    pub(crate) operators: Vec<(Operator, Span)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Table(Name),
    Nested(Box<Pipeline>),
    Union(Vec<Pipeline>),
    Print(Vec<Named>),
}

/// An expression, with the name that its column gets when one is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: Option<Name>,
    pub(crate) value: Expression,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operator {
    Where(Expression),
    Extend(Vec<Named>),
    Project(Vec<Named>),
    /// Column names, with `*` for any characters.
    ProjectAway(Vec<Name>),
    ProjectKeep(Vec<Name>),
    /// New name, old name.
    ProjectRename(Vec<(Name, Name)>),
    Summarize {
        aggregates: Vec<Named>,
        by: Vec<Named>,
    },
    Order(Vec<Key>),
    Take(i64),
    Top(i64, Vec<Key>),
    /// All columns when the list is empty.
    Distinct(Vec<Named>),
    Count,
    Join {
        kind: JoinKind,
        right: Pipeline,
        on: Vec<On>,
    },
    Union(Vec<Pipeline>),
    Serialize(Vec<Named>),
    Render(RenderSyntax),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RenderSyntax {
    pub(crate) kind: Name,
    pub(crate) properties: Vec<(Name, Vec<Name>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) value: Expression,
    pub(crate) direction: Direction,
    pub(crate) nulls: Option<Nulls>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Nulls {
    First,
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum JoinKind {
    InnerUnique,
    Inner,
    LeftOuter,
    RightOuter,
    FullOuter,
    LeftSemi,
    LeftAnti,
}

/// The columns, left and right, that have to be equal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct On {
    pub(crate) left: Name,
    pub(crate) right: Name,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Column(String),
    Long(i64),
    Real(f64),
    Bool(bool),
    Text(String),
    /// Milliseconds since the year 1; nothing for `datetime(null)`.
    Datetime(Option<i64>),
    Timespan(Option<i64>),
    /// JSON.
    Dynamic(String),
    Star,
    Call {
        name: Name,
        arguments: Vec<Expression>,
    },
    Toscalar(Box<Pipeline>),
    Negative(Box<Expression>),
    Binary {
        operator: Binary,
        place: Span,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    In {
        value: Box<Expression>,
        set: Set,
        negated: bool,
        case: Case,
    },
    /// `has_any`, `has_all`.
    HasEach {
        value: Box<Expression>,
        terms: Vec<Expression>,
        all: bool,
    },
    Between {
        value: Box<Expression>,
        low: Box<Expression>,
        high: Box<Expression>,
        negated: bool,
    },
    Member {
        of: Box<Expression>,
        name: Name,
    },
    Index {
        of: Box<Expression>,
        at: Box<Expression>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Set {
    List(Vec<Expression>),
    Table(Box<Pipeline>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Case {
    Counts,
    Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    /// An operator on texts, by its function in SQL; true when negated.
    Text(&'static str, bool),
}
