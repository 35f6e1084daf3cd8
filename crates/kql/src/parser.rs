//! Tokens to a tree: precedence climbing, exact places.
//!
//! P1  Any text gives a tree or a fault, never a panic. Nesting ends at [`DEPTH_MAX`].
//! P2  What Kusto knows and this crate does not is refused by its name.

use crate::{
    error::{Fault, Result, Span},
    lexer::{self, Spanned, Token},
    names, operators,
    syntax::{
        Binary, Case, Direction, Expression, JoinKind, Key, Kind, Let, LetValue, Name, Named,
        Nulls, On, Operator, Pipeline, Query, RenderSyntax, Set, Source,
    },
    time,
};

const DEPTH_MAX: usize = 48;

pub(crate) fn parse(text: &str) -> Result<Query> {
    let mut parser = Parser { tokens: lexer::tokens(text)?, at: 0, depth: 0 };
    parser.query()
}

struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn query(&mut self) -> Result<Query> {
        let mut lets = Vec::new();
        loop {
            while self.take(";") {}
            if !self.is_word("let") {
                break;
            }
            lets.push(self.let_statement()?);
            if !matches!(self.peek(), Token::End) {
                self.expect(";", "a `let` ends with `;`")?;
            }
        }
        if matches!(self.peek(), Token::End) {
            let message =
                "the query ends here; it needs a table, such as `FileInventory_CL | take 10`";
            return Err(Fault::new(self.span(), message));
        }
        if let Token::Name(word) = self.peek()
            && matches!(word.as_str(), "set" | "declare" | "alias" | "restrict" | "pattern")
            && matches!(self.ahead(1), Token::Name(_))
        {
            let message = format!("statements with `{word}` are not supported; `let` is");
            return Err(Fault::new(self.span(), message));
        }
        let body = self.pipeline()?;
        while self.take(";") {}
        match self.peek() {
            Token::End => Ok(Query { lets, body }),
            Token::Name(word) if word == "let" => {
                Err(Fault::new(self.span(), "each `let` stands before the query"))
            }
            _ => Err(self.unexpected("the query ends before this, or a `|` is missing")),
        }
    }

    fn let_statement(&mut self) -> Result<Let> {
        self.at += 1;
        let name = self.name("`let` needs a name")?;
        self.expect("=", "`let` needs `=` after the name")?;
        let value = if self.table_value() {
            LetValue::Table(self.pipeline()?)
        } else {
            LetValue::Scalar(self.expression()?)
        };
        Ok(Let { name, value })
    }

    /// Whether a table and not a value begins here. A `|` tells, or an operator that begins a pipeline.
    fn table_value(&self) -> bool {
        let mut at = self.at;
        while matches!(self.tokens[at].token, Token::Symbol("(")) {
            at += 1;
        }
        let is_parenthesized = at > self.at;
        match (&self.tokens[at].token, self.tokens.get(at + 1).map(|next| &next.token)) {
            (Token::Name(word), Some(next)) if word == "union" || word == "print" => {
                !matches!(next, Token::Symbol(")" | ";" | "+" | "-" | "*" | "/" | ",") | Token::End)
            }
            (Token::Name(word), Some(Token::Symbol("("))) if word == "materialize" => true,
            (Token::Name(_), Some(Token::Symbol("|"))) => true,
            _ => is_parenthesized && self.group_has_pipe(),
        }
    }

    /// Whether the group that begins here holds a `|` of its own.
    fn group_has_pipe(&self) -> bool {
        let mut depth = 0usize;
        for spanned in &self.tokens[self.at..] {
            match spanned.token {
                Token::Symbol("(") => depth += 1,
                Token::Symbol(")") if depth <= 1 => return false,
                Token::Symbol(")") => depth -= 1,
                Token::Symbol("|") if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH_MAX {
            return Err(Fault::new(self.span(), "this is nested too deeply; use `let`"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn pipeline(&mut self) -> Result<Pipeline> {
        self.nested(|parser| {
            let source = parser.source()?;
            let operators = parser.operators()?;
            Ok(Pipeline { source, operators })
        })
    }

    fn operators(&mut self) -> Result<Vec<(Operator, Span)>> {
        let mut operators = Vec::new();
        while self.take("|") {
            let start = self.span();
            let operator = self.operator()?;
            operators.push((operator, start.to(self.before())));
        }
        Ok(operators)
    }

    fn source(&mut self) -> Result<Source> {
        if self.take("(") {
            let inner = self.pipeline()?;
            self.expect(")", "the `)` of this table is missing")?;
            return Ok(Source::Nested(Box::new(inner)));
        }
        if self.is_word("union") {
            self.at += 1;
            return Ok(Source::Union(self.union_tables()?));
        }
        if self.is_word("print") {
            self.at += 1;
            return Ok(Source::Print(self.named_list()?));
        }
        let name = self.name("a table is expected here, such as `FileInventory_CL`")?;
        if matches!(self.peek(), Token::Symbol("(")) {
            if name.text == "materialize" {
                return self.source();
            }
            return Err(Fault::new(
                name.span,
                format!("the table function `{}` is not supported", name.text),
            ));
        }
        let refused = ["range", "datatable", "externaldata", "search", "find", "evaluate"];
        if refused.contains(&name.text.as_str())
            && !matches!(self.peek(), Token::Symbol("|") | Token::End)
        {
            return Err(Fault::new(name.span, format!("`{}` is not supported", name.text)));
        }
        Ok(Source::Table(name))
    }

    fn operator(&mut self) -> Result<Operator> {
        let name = self.operator_name()?;
        match name.text.as_str() {
            "where" | "filter" => Ok(Operator::Where(self.expression()?)),
            "extend" => Ok(Operator::Extend(self.named_list()?)),
            "project" => Ok(Operator::Project(self.named_list()?)),
            "project-away" => Ok(Operator::ProjectAway(self.patterns()?)),
            "project-keep" => Ok(Operator::ProjectKeep(self.patterns()?)),
            "project-rename" => self.rename(),
            "summarize" => self.summarize(),
            "order" | "sort" => {
                self.word("by", &format!("`{}` needs `by`", name.text))?;
                Ok(Operator::Order(self.keys()?))
            }
            "take" | "limit" => Ok(Operator::Take(self.count(&name)?)),
            "top" => {
                let count = self.count(&name)?;
                self.word("by", "`top` needs `by` after the count")?;
                let key = self.key()?;
                if matches!(self.peek(), Token::Symbol(",")) {
                    let message = "`top` sorts by one value; for several write `| order by A desc, B asc | take 10`";
                    return Err(Fault::new(self.span(), message));
                }
                Ok(Operator::Top(count, vec![key]))
            }
            "distinct" => self.distinct(),
            "count" => self.count_rows(),
            "join" => self.join(),
            "union" => Ok(Operator::Union(self.union_tables()?)),
            "serialize" => {
                let ends = matches!(self.peek(), Token::Symbol("|" | ")" | ";") | Token::End);
                Ok(Operator::Serialize(if ends { Vec::new() } else { self.named_list()? }))
            }
            "render" => self.render(),
            _ => Err(operators::unknown(&name)),
        }
    }

    /// A word, with the words that hyphens without blanks join to it.
    fn operator_name(&mut self) -> Result<Name> {
        let mut name =
            self.name("an operator is expected after `|`, such as `where` or `summarize`")?;
        while matches!(self.peek(), Token::Symbol("-")) && self.span().start == name.span.end {
            let Token::Name(part) = self.ahead(1) else { break };
            let span = self.tokens[self.at + 1].span;
            if span.start != self.span().end {
                break;
            }
            name = Name { text: format!("{}-{part}", name.text), span: name.span.to(span) };
            self.at += 2;
        }
        Ok(name)
    }

    fn count(&mut self, operator: &Name) -> Result<i64> {
        let span = self.span();
        match *self.peek() {
            Token::Long(count) => {
                self.at += 1;
                Ok(count)
            }
            _ => Err(Fault::new(span, format!("`{}` needs a whole number", operator.text))),
        }
    }

    fn count_rows(&mut self) -> Result<Operator> {
        if matches!(self.peek(), Token::Symbol("(")) {
            let message = "the operator `count` takes no parentheses; write `| count`, or `| summarize count()`";
            let end =
                if matches!(self.ahead(1), Token::Symbol(")")) { self.at + 1 } else { self.at };
            return Err(Fault::new(self.span().to(self.tokens[end].span), message));
        }
        Ok(Operator::Count)
    }

    fn rename(&mut self) -> Result<Operator> {
        let mut renames = Vec::new();
        loop {
            let new = self.name("`project-rename` needs `New = Old`")?;
            self.expect("=", "`project-rename` needs `New = Old`")?;
            renames.push((new, self.name("the column's old name is expected here")?));
            if !self.take(",") {
                return Ok(Operator::ProjectRename(renames));
            }
        }
    }

    fn summarize(&mut self) -> Result<Operator> {
        let aggregates = if self.is_word("by") { Vec::new() } else { self.named_list()? };
        let by = if self.take_word("by") { self.named_list()? } else { Vec::new() };
        Ok(Operator::Summarize { aggregates, by })
    }

    fn distinct(&mut self) -> Result<Operator> {
        if self.take("*") {
            return Ok(Operator::Distinct(Vec::new()));
        }
        Ok(Operator::Distinct(self.named_list()?))
    }

    fn keys(&mut self) -> Result<Vec<Key>> {
        let mut keys = vec![self.key()?];
        while self.take(",") {
            keys.push(self.key()?);
        }
        Ok(keys)
    }

    fn key(&mut self) -> Result<Key> {
        let value = self.expression()?;
        let direction = match self.peek() {
            Token::Name(word) if word == "asc" => Some(Direction::Ascending),
            Token::Name(word) if word == "desc" => Some(Direction::Descending),
            _ => None,
        };
        self.at += usize::from(direction.is_some());
        let nulls = match self.take_word("nulls") {
            false => None,
            true if self.take_word("first") => Some(Nulls::First),
            true if self.take_word("last") => Some(Nulls::Last),
            true => return Err(self.unexpected("`nulls` needs `first` or `last`")),
        };
        Ok(Key { value, direction: direction.unwrap_or(Direction::Descending), nulls })
    }

    fn patterns(&mut self) -> Result<Vec<Name>> {
        let mut patterns = Vec::new();
        loop {
            patterns.push(self.pattern()?);
            if !self.take(",") {
                return Ok(patterns);
            }
        }
    }

    /// A column's name in which `*` stands for any characters.
    fn pattern(&mut self) -> Result<Name> {
        let start = self.span();
        let mut text = String::new();
        loop {
            if !text.is_empty() && self.span().start != self.before().end {
                break;
            }
            match self.peek() {
                Token::Symbol("*") => text.push('*'),
                Token::Name(name) => text.push_str(name),
                _ => break,
            }
            self.at += 1;
        }
        if text.is_empty() {
            return self.name("a column's name is expected here");
        }
        Ok(Name { text, span: start.to(self.before()) })
    }

    fn union_tables(&mut self) -> Result<Vec<Pipeline>> {
        self.union_properties()?;
        let mut tables = Vec::new();
        loop {
            let table = self.nested(|parser| {
                Ok(Pipeline { source: parser.source()?, operators: Vec::new() })
            })?;
            tables.push(table);
            if !self.take(",") {
                return Ok(tables);
            }
        }
    }

    fn union_properties(&mut self) -> Result<()> {
        while let Token::Name(word) = self.peek()
            && matches!(self.ahead(1), Token::Symbol("="))
        {
            let is_outer =
                word == "kind" && matches!(self.ahead(2), Token::Name(kind) if kind == "outer");
            if !is_outer {
                let message =
                    format!("`union` with `{word}` is not supported; only `kind=outer` is");
                return Err(Fault::new(self.span(), message));
            }
            self.at += 3;
        }
        Ok(())
    }

    fn join(&mut self) -> Result<Operator> {
        let mut kind = JoinKind::InnerUnique;
        while let Token::Name(word) = self.peek()
            && matches!(self.ahead(1), Token::Symbol("="))
        {
            match word.as_str() {
                "kind" => {
                    self.at += 2;
                    kind = self.join_kind()?;
                }
                // Advice to a cluster about where to run; it changes no row.
                "hint" => self.at += 3,
                _ => {
                    let message = format!("`join` knows no `{word}`; write `kind=inner`");
                    return Err(Fault::new(self.span(), message));
                }
            }
        }
        let right =
            self.nested(|parser| Ok(Pipeline { source: parser.source()?, operators: Vec::new() }))?;
        self.word("on", "`join` needs `on` and the columns that have to be equal")?;
        let mut on = vec![self.on()?];
        while self.take(",") {
            on.push(self.on()?);
        }
        Ok(Operator::Join { kind, right, on })
    }

    fn join_kind(&mut self) -> Result<JoinKind> {
        const KINDS: [(&str, JoinKind); 9] = [
            ("inner", JoinKind::Inner),
            ("innerunique", JoinKind::InnerUnique),
            ("leftouter", JoinKind::LeftOuter),
            ("rightouter", JoinKind::RightOuter),
            ("fullouter", JoinKind::FullOuter),
            ("leftsemi", JoinKind::LeftSemi),
            ("leftanti", JoinKind::LeftAnti),
            ("anti", JoinKind::LeftAnti),
            ("leftantisemi", JoinKind::LeftAnti),
        ];
        let name = self.name("`kind=` needs a kind of join, such as `inner`")?;
        KINDS.iter().find(|(kind, _)| *kind == name.text).map(|(_, kind)| *kind).ok_or_else(|| {
            let hint = names::hint(&name.text, KINDS.iter().map(|(kind, _)| *kind));
            let known = "inner, innerunique, leftouter, rightouter, fullouter, leftsemi, leftanti";
            Fault::new(
                name.span,
                format!("joins of kind `{}` are not supported; kinds are {known}{hint}", name.text),
            )
        })
    }

    fn on(&mut self) -> Result<On> {
        let first = self.name("a column's name is expected after `on`")?;
        if first.text != "$left" && first.text != "$right" {
            return Ok(On { left: first.clone(), right: first });
        }
        let shape = "write `$left.A == $right.B`";
        self.expect(".", shape)?;
        let a = self.name(shape)?;
        self.expect("==", shape)?;
        let second = self.name(shape)?;
        self.expect(".", shape)?;
        let b = self.name(shape)?;
        match (first.text.as_str(), second.text.as_str()) {
            ("$left", "$right") => Ok(On { left: a, right: b }),
            ("$right", "$left") => Ok(On { left: b, right: a }),
            _ => Err(Fault::new(
                first.span.to(b.span),
                format!("both sides name the same table; {shape}"),
            )),
        }
    }

    fn render(&mut self) -> Result<Operator> {
        let kind = self.name("`render` needs a kind of chart, such as `piechart`")?;
        let mut properties = Vec::new();
        if self.take_word("with") {
            self.expect("(", "`with` needs `(`")?;
            while !self.take(")") {
                let name = self.name("a property is expected here, such as `title`")?;
                self.expect("=", "a property needs `=` and its value")?;
                properties.push((name, self.property_values()?));
                if !self.take(",") {
                    self.expect(")", "the `)` of the properties is missing")?;
                    break;
                }
            }
        }
        Ok(Operator::Render(RenderSyntax { kind, properties }))
    }

    /// `A` or `A, B`: a comma belongs to the list unless a further property follows it.
    fn property_values(&mut self) -> Result<Vec<Name>> {
        let mut values = Vec::new();
        loop {
            let span = self.span();
            let text = match self.peek() {
                Token::Name(text) | Token::Text(text) => text.clone(),
                Token::Long(number) => number.to_string(),
                Token::Real(number) => number.to_string(),
                _ => return Err(self.unexpected("a property's value is a word or a text")),
            };
            self.at += 1;
            values.push(Name { text, span });
            let goes_on = matches!(self.peek(), Token::Symbol(","))
                && matches!(self.ahead(1), Token::Name(_))
                && !matches!(self.ahead(2), Token::Symbol("="));
            if !goes_on {
                return Ok(values);
            }
            self.at += 1;
        }
    }

    fn named_list(&mut self) -> Result<Vec<Named>> {
        let mut list = vec![self.named()?];
        while self.take(",") {
            list.push(self.named()?);
        }
        Ok(list)
    }

    fn named(&mut self) -> Result<Named> {
        let start = self.at;
        if let Ok(name) = self.name("")
            && self.take("=")
        {
            return Ok(Named { name: Some(name), value: self.expression()? });
        }
        self.at = start;
        Ok(Named { name: None, value: self.expression()? })
    }

    fn expression(&mut self) -> Result<Expression> {
        self.nested(|parser| parser.climb(0))
    }

    /// Binds operators of at least this strength.
    fn climb(&mut self, least: u8) -> Result<Expression> {
        let mut left = self.operand()?;
        while let Some((strength, operator)) = self.infix() {
            if strength < least {
                break;
            }
            let place = self.span();
            self.at += 1;
            left = match operator {
                Infix::Binary(operator) => {
                    let right = self.nested(|parser| parser.climb(strength + 1))?;
                    binary(operator, place, left, right)
                }
                Infix::In { negated, case } => self.membership(left, negated, case)?,
                Infix::HasEach { all } => self.has_each(left, all)?,
                Infix::Between { negated } => self.between(left, negated)?,
                Infix::Matches => {
                    self.word("regex", "write `matches regex`")?;
                    let right = self.nested(|parser| parser.climb(strength + 1))?;
                    binary(Binary::Text("kql_matches", false), place, left, right)
                }
                Infix::Refused(word) => {
                    return Err(Fault::new(
                        place,
                        format!("the operator `{word}` is not supported"),
                    ));
                }
            };
        }
        Ok(left)
    }

    fn infix(&self) -> Option<(u8, Infix)> {
        let word = match self.peek() {
            Token::Symbol(symbol) => symbol,
            Token::Name(name) => name.as_str(),
            _ => return None,
        };
        infix(word)
    }

    fn membership(&mut self, value: Expression, negated: bool, case: Case) -> Result<Expression> {
        self.expect("(", "`in` needs a list in parentheses")?;
        let set = if self.table_value() || self.pipe_follows() {
            Set::Table(Box::new(self.pipeline()?))
        } else {
            Set::List(self.expressions(")")?)
        };
        self.expect(")", "the `)` of this list is missing")?;
        let span = value.span.to(self.before());
        Ok(Expression { kind: Kind::In { value: Box::new(value), set, negated, case }, span })
    }

    fn pipe_follows(&self) -> bool {
        matches!((self.peek(), self.ahead(1)), (Token::Name(_), Token::Symbol("|")))
    }

    fn has_each(&mut self, value: Expression, all: bool) -> Result<Expression> {
        self.expect("(", "a list in parentheses is expected here")?;
        let terms = self.expressions(")")?;
        self.expect(")", "the `)` of this list is missing")?;
        let span = value.span.to(self.before());
        Ok(Expression { kind: Kind::HasEach { value: Box::new(value), terms, all }, span })
    }

    fn between(&mut self, value: Expression, negated: bool) -> Result<Expression> {
        self.expect("(", "write `between (low .. high)`")?;
        let low = Box::new(self.expression()?);
        self.expect("..", "write `between (low .. high)`")?;
        let high = Box::new(self.expression()?);
        self.expect(")", "the `)` of `between` is missing")?;
        let span = value.span.to(self.before());
        Ok(Expression { kind: Kind::Between { value: Box::new(value), low, high, negated }, span })
    }

    fn expressions(&mut self, end: &str) -> Result<Vec<Expression>> {
        let mut list = Vec::new();
        if matches!(self.peek(), Token::Symbol(symbol) if *symbol == end) {
            return Ok(list);
        }
        loop {
            list.push(self.expression()?);
            if !self.take(",") {
                return Ok(list);
            }
        }
    }

    fn operand(&mut self) -> Result<Expression> {
        let start = self.span();
        if self.take("-") {
            let inner = self.nested(Self::operand)?;
            let span = start.to(inner.span);
            return Ok(Expression { kind: Kind::Negative(Box::new(inner)), span });
        }
        if self.take("+") {
            return self.nested(Self::operand);
        }
        let mut operand = self.primary()?;
        loop {
            if self.take(".") {
                let name = self.name("the name of a member is expected after `.`")?;
                let span = operand.span.to(name.span);
                operand = Expression { kind: Kind::Member { of: Box::new(operand), name }, span };
            } else if self.take("[") {
                let at = Box::new(self.expression()?);
                self.expect("]", "the `]` is missing")?;
                let span = operand.span.to(self.before());
                operand = Expression { kind: Kind::Index { of: Box::new(operand), at }, span };
            } else {
                return Ok(operand);
            }
        }
    }

    fn primary(&mut self) -> Result<Expression> {
        let span = self.span();
        let simple = match self.peek().clone() {
            Token::Long(number) => Kind::Long(number),
            Token::Real(number) => Kind::Real(number),
            Token::Timespan(ticks) => Kind::Timespan(Some(ticks)),
            Token::Text(text) => Kind::Text(text),
            Token::Literal(kind, inside) => literal(kind, &inside, span)?,
            Token::Symbol("*") => Kind::Star,
            Token::Name(name) if name == "true" || name == "false" => Kind::Bool(name == "true"),
            Token::Name(_) => return self.named_operand(),
            Token::Symbol("(") => {
                self.at += 1;
                let mut inner = self.expression()?;
                if matches!(self.peek(), Token::Symbol("|")) {
                    let message = "a table cannot stand here; wrap it in `toscalar(...)` to take its first value";
                    return Err(Fault::new(self.span(), message));
                }
                self.expect(")", "the `)` is missing")?;
                inner.span = span.to(self.before());
                return Ok(inner);
            }
            Token::Symbol("[") => {
                let name = self.name("")?;
                return Ok(Expression { kind: Kind::Column(name.text), span: name.span });
            }
            _ => return Err(self.unexpected("a value, a column or a function is expected here")),
        };
        self.at += 1;
        Ok(Expression { kind: simple, span })
    }

    fn named_operand(&mut self) -> Result<Expression> {
        let name = self.name("a name is expected here")?;
        if infix(&name.text).is_some() || name.text.starts_with('!') || name.text.ends_with('~') {
            let message =
                format!("`{}` stands between two values; the one before it is missing", name.text);
            return Err(Fault::new(name.span, message));
        }
        if !self.take("(") {
            return Ok(Expression { kind: Kind::Column(name.text), span: name.span });
        }
        if name.text == "toscalar" {
            let inner = self.pipeline()?;
            self.expect(")", "the `)` of `toscalar` is missing")?;
            let span = name.span.to(self.before());
            return Ok(Expression { kind: Kind::Toscalar(Box::new(inner)), span });
        }
        let arguments = self.expressions(")")?;
        if matches!(self.peek(), Token::Symbol("|")) {
            let message = format!("`{}` takes values, not a table", name.text);
            return Err(Fault::new(self.span(), message));
        }
        if matches!(self.peek(), Token::Symbol(":")) {
            return Err(Fault::new(self.span(), "functions of your own are not supported"));
        }
        self.expect(")", &format!("the `)` of `{}` is missing", name.text))?;
        let span = name.span.to(self.before());
        Ok(Expression { kind: Kind::Call { name, arguments }, span })
    }

    /// A name, or `['a name with blanks']`.
    fn name(&mut self, otherwise: &str) -> Result<Name> {
        let span = self.span();
        if let (Token::Symbol("["), Token::Text(text), Token::Symbol("]")) =
            (self.peek(), self.ahead(1), self.ahead(2))
        {
            let name = Name { text: text.clone(), span: span.to(self.tokens[self.at + 2].span) };
            self.at += 3;
            return Ok(name);
        }
        match self.peek().clone() {
            Token::Name(text) => {
                self.at += 1;
                Ok(Name { text, span })
            }
            _ => Err(self.unexpected(otherwise)),
        }
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn ahead(&self, by: usize) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + by).min(last)].token
    }

    fn span(&self) -> Span {
        self.tokens[self.at].span
    }

    /// The place of the token that was taken last.
    fn before(&self) -> Span {
        self.tokens[self.at.saturating_sub(1)].span
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if name == word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_here = self.is_word(word);
        self.at += usize::from(is_here);
        is_here
    }

    fn take(&mut self, symbol: &str) -> bool {
        let is_here = matches!(self.peek(), Token::Symbol(here) if *here == symbol);
        self.at += usize::from(is_here);
        is_here
    }

    fn expect(&mut self, symbol: &str, otherwise: &str) -> Result<()> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(otherwise)) }
    }

    fn word(&mut self, word: &str, otherwise: &str) -> Result<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(otherwise)) }
    }

    fn unexpected(&self, otherwise: &str) -> Fault {
        let message = match self.peek() {
            Token::Symbol("{" | "=>" | ":") => "functions of your own are not supported".to_owned(),
            Token::End => format!("the query ends too early: {otherwise}"),
            _ => otherwise.to_owned(),
        };
        Fault::new(self.span(), message)
    }
}

enum Infix {
    Binary(Binary),
    In { negated: bool, case: Case },
    HasEach { all: bool },
    Between { negated: bool },
    Matches,
    Refused(&'static str),
}

/// What a word between two values does, and how strongly it binds.
fn infix(word: &str) -> Option<(u8, Infix)> {
    let text = |function, negated| (3, Infix::Binary(Binary::Text(function, negated)));
    let binary = |strength, operator| (strength, Infix::Binary(operator));
    Some(match word {
        "or" => binary(1, Binary::Or),
        "and" => binary(2, Binary::And),
        "==" => binary(3, Binary::Equal),
        "!=" | "<>" => binary(3, Binary::NotEqual),
        "<" => binary(3, Binary::Less),
        "<=" => binary(3, Binary::LessEqual),
        ">" => binary(3, Binary::Greater),
        ">=" => binary(3, Binary::GreaterEqual),
        "=~" => text("kql_same", false),
        "!~" => text("kql_same", true),
        "contains" => text("kql_contains", false),
        "!contains" => text("kql_contains", true),
        "contains_cs" => text("kql_contains_cs", false),
        "!contains_cs" => text("kql_contains_cs", true),
        "has" => text("kql_has", false),
        "!has" => text("kql_has", true),
        "has_cs" => text("kql_has_cs", false),
        "!has_cs" => text("kql_has_cs", true),
        "startswith" => text("kql_starts", false),
        "!startswith" => text("kql_starts", true),
        "startswith_cs" => text("kql_starts_cs", false),
        "!startswith_cs" => text("kql_starts_cs", true),
        "endswith" => text("kql_ends", false),
        "!endswith" => text("kql_ends", true),
        "endswith_cs" => text("kql_ends_cs", false),
        "!endswith_cs" => text("kql_ends_cs", true),
        "in" => (3, Infix::In { negated: false, case: Case::Counts }),
        "!in" => (3, Infix::In { negated: true, case: Case::Counts }),
        "in~" => (3, Infix::In { negated: false, case: Case::Ignored }),
        "!in~" => (3, Infix::In { negated: true, case: Case::Ignored }),
        "has_any" => (3, Infix::HasEach { all: false }),
        "has_all" => (3, Infix::HasEach { all: true }),
        "between" => (3, Infix::Between { negated: false }),
        "!between" => (3, Infix::Between { negated: true }),
        "matches" => (3, Infix::Matches),
        "hasprefix" => (3, Infix::Refused("hasprefix")),
        "hassuffix" => (3, Infix::Refused("hassuffix")),
        "like" => (3, Infix::Refused("like")),
        "+" => binary(4, Binary::Add),
        "-" => binary(4, Binary::Subtract),
        "*" => binary(5, Binary::Multiply),
        "/" => binary(5, Binary::Divide),
        "%" => binary(5, Binary::Modulo),
        _ => return None,
    })
}

fn binary(operator: Binary, place: Span, left: Expression, right: Expression) -> Expression {
    let span = left.span.to(right.span);
    let (left, right) = (Box::new(left), Box::new(right));
    Expression { kind: Kind::Binary { operator, place, left, right }, span }
}

fn literal(kind: &str, inside: &str, span: Span) -> Result<Kind> {
    let fault = |message: String| Fault::new(span, message);
    match kind {
        "datetime" if inside == "null" => Ok(Kind::Datetime(None)),
        "datetime" => time::parse(inside.trim_matches(['"', '\''])).map(|moment| Kind::Datetime(Some(moment))).ok_or_else(|| {
            fault(format!("`{inside}` is no date; write `datetime(2026-01-31)` or `datetime(2026-01-31T10:30:00Z)`, with milliseconds at most"))
        }),
        "timespan" if inside == "null" => Ok(Kind::Timespan(None)),
        "timespan" => time::parse_timespan(inside).map(|ticks| Kind::Timespan(Some(ticks))).ok_or_else(|| {
            fault(format!("`{inside}` is no length of time; write `1d`, `90m` or `timespan(1.02:30:00)`"))
        }),
        "dynamic" => match serde_json::from_str::<serde_json::Value>(inside) {
            Ok(value) => Ok(Kind::Dynamic(value.to_string())),
            Err(_) => Err(fault("the inside of `dynamic` is no JSON".to_owned())),
        },
        _ => Err(fault(format!("literals of type `{kind}` are not supported; a text will do"))),
    }
}
