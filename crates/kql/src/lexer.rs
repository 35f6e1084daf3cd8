//! A query's text as tokens with their places.
//!
//! Literals whose inside has rules of its own (`datetime(...)`, `timespan(...)`, `dynamic(...)`) are one token each.

use crate::{
    error::{Fault, Result, Span},
    time,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Name(String),
    Long(i64),
    Real(f64),
    /// Ticks.
    Timespan(i64),
    Text(String),
    /// A literal in parentheses: the word before them and what stands inside.
    Literal(&'static str, String),
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    pub(crate) span: Span,
}

/// Longer ones first.
const SYMBOLS: [&str; 27] = [
    "==", "!=", "<>", "<=", ">=", "=~", "!~", "..", "=>", "|", "(", ")", "[", "]", "{", "}", ",",
    ";", ":", "=", "<", ">", "+", "-", "*", "/", "%",
];

/// Words that begin a literal in parentheses, and what they mean.
const LITERALS: [(&str, &str); 6] = [
    ("datetime", "datetime"),
    ("date", "datetime"),
    ("timespan", "timespan"),
    ("time", "timespan"),
    ("dynamic", "dynamic"),
    ("guid", "guid"),
];

pub(crate) fn tokens(text: &str) -> Result<Vec<Spanned>> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.next()?;
        let is_end = token == Token::End;
        tokens.push(Spanned { token, span: Span::new(start, lexer.at) });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn next(&mut self) -> Result<Token> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '"' || first == '\'' {
            return self.text_literal();
        }
        if rest.starts_with("@\"") || rest.starts_with("@'") {
            self.at += 1;
            return self.verbatim();
        }
        if first.is_alphabetic() || first == '_' || first == '$' {
            return self.name();
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        if first == '.' {
            self.at += 1;
            return Ok(Token::Symbol("."));
        }
        if first == '!' {
            return self.negated();
        }
        let span = Span::new(self.at, self.at + first.len_utf8());
        Err(Fault::new(span, format!("`{first}` has no meaning here")))
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn name(&mut self) -> Result<Token> {
        let start = self.at;
        let name = self.take_while(|c| c.is_alphanumeric() || c == '_' || c == '$');
        if matches!(name, "in" | "has_any" | "has_all") && self.rest().starts_with('~') {
            self.at += 1;
            return Ok(Token::Name(format!("{name}~")));
        }
        match LITERALS.iter().find(|(word, _)| *word == name) {
            Some((_, kind)) if self.rest().trim_start().starts_with('(') => {
                self.literal(kind, start)
            }
            _ => Ok(Token::Name(name.to_owned())),
        }
    }

    /// `!in`, `!has` and their like.
    fn negated(&mut self) -> Result<Token> {
        let start = self.at;
        self.at += 1;
        match self.name()? {
            Token::Name(name) if !name.is_empty() => Ok(Token::Name(format!("!{name}"))),
            _ => Err(Fault::new(
                Span::new(start, start + 1),
                "`!` stands before `=`, `in`, `has` and the like; to negate a condition write `not(...)`",
            )),
        }
    }

    fn literal(&mut self, kind: &'static str, start: usize) -> Result<Token> {
        self.at += self.rest().find('(').expect("the caller saw it") + 1;
        let inside = self.rest();
        let mut depth = 0usize;
        let mut quote = None;
        let mut escaped = false;
        for (at, c) in inside.char_indices() {
            match (quote, c) {
                _ if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(open), _) if c == open => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') if depth > 0 => depth -= 1,
                (None, ')') => {
                    self.at += at + 1;
                    return Ok(Token::Literal(kind, inside[..at].trim().to_owned()));
                }
                (Some(_) | None, _) => {}
            }
        }
        Err(Fault::new(Span::new(start, self.at), format!("the `)` of this {kind} is missing")))
    }

    fn number(&mut self) -> Result<Token> {
        let start = self.at;
        if let Some(digits) = self.rest().strip_prefix("0x").or(self.rest().strip_prefix("0X")) {
            let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            self.at += 2 + length;
            return i64::from_str_radix(&digits[..length], 16)
                .map(Token::Long)
                .map_err(|_| self.fault(start, "is no hexadecimal number of 64 bits"));
        }
        self.take_while(|c| c.is_ascii_digit());
        let is_fraction = self.rest().starts_with('.')
            && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit());
        if is_fraction {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let has_exponent = self.exponent();
        let number = &self.text[start..self.at];
        let unit = self.take_while(char::is_alphanumeric);
        if !unit.is_empty() {
            let ticks = time::ticks_of(number, unit).ok_or_else(|| {
                self.fault(
                    start,
                    "has no unit of time; units are d, h, m, s, ms, microsecond, tick",
                )
            })?;
            return Ok(Token::Timespan(ticks));
        }
        if is_fraction || has_exponent {
            let number = number.parse::<f64>().ok().filter(|number| number.is_finite());
            return number.map(Token::Real).ok_or_else(|| self.fault(start, "is too large"));
        }
        number.parse().map(Token::Long).map_err(|_| self.fault(start, "is too large"))
    }

    /// Steps over `e5` or `E-3`.
    fn exponent(&mut self) -> bool {
        let Some(rest) = self.rest().strip_prefix(['e', 'E']) else { return false };
        let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        if length == 0 {
            return false;
        }
        self.at += 1 + (rest.len() - digits.len()) + length;
        true
    }

    fn fault(&self, start: usize, what: &str) -> Fault {
        let span = Span::new(start, self.at);
        Fault::new(span, format!("`{}` {what}", &self.text[start..self.at]))
    }

    fn text_literal(&mut self) -> Result<Token> {
        let start = self.at;
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map_or('"', |(_, quote)| quote);
        let mut value = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.at += at + 1;
                    return Ok(Token::Text(value));
                }
                '\n' => break,
                '\\' => {
                    let place = Span::new(start + at, start + at + 2);
                    let escaped = chars.next().map(|(_, c)| c);
                    value.push(unescaped(escaped, &mut chars).ok_or_else(|| {
                        Fault::new(
                            place,
                            "this escape is unknown; write `\\\\` for a backslash, or @\"...\" for text as it stands",
                        )
                    })?);
                }
                _ => value.push(c),
            }
        }
        Err(Fault::new(Span::new(start, start + 1), "the closing quote of this text is missing"))
    }

    fn verbatim(&mut self) -> Result<Token> {
        let start = self.at - 1;
        let quote = if self.rest().starts_with('"') { '"' } else { '\'' };
        let rest = &self.rest()[1..];
        let mut value = String::new();
        let mut chars = rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c != quote {
                value.push(c);
            } else if chars.next_if(|(_, next)| *next == quote).is_some() {
                value.push(quote);
            } else {
                self.at += at + 2;
                return Ok(Token::Text(value));
            }
        }
        Err(Fault::new(Span::new(start, start + 2), "the closing quote of this text is missing"))
    }
}

fn unescaped(c: Option<char>, chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    Some(match c? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        c @ ('\\' | '"' | '\'') => c,
        'u' => {
            let digits: String = chars.take(4).map(|(_, c)| c).collect();
            char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
        }
        _ => return None,
    })
}
