//! Any text compiles or is refused, and arithmetic agrees with a plain evaluator.

#![allow(dead_code, reason = "each test crate uses a part of the support module")]
#![allow(clippy::cast_precision_loss, reason = "sizes of generated files are small")]

mod support;

use everstep_kql::{Schema, compile};
use proptest::prelude::*;
use support::{answer, database};

/// Pieces from which texts are made that come close to queries.
const PIECES: &[&str] = &[
    "FileInventory_CL",
    " | ",
    "where ",
    "summarize ",
    "by ",
    "extend ",
    "x",
    "FileName",
    "=",
    "==",
    "(",
    ")",
    "[",
    "]",
    "count()",
    "arg_max(",
    "toscalar(",
    "join kind=inner ",
    " on ",
    "\"",
    "'",
    "1",
    "1d",
    "1.5",
    "..",
    "in ",
    "!",
    "-",
    ",",
    ";",
    "let ",
    "case(",
    "*",
    "\n",
    "//",
    "datetime(",
    "dynamic(",
    "order by ",
    "prev(",
    "serialize ",
    "render piechart",
    "ü",
    "\0",
    "\\",
    "top 5 ",
    "union ",
    "print ",
    "between (",
    "$left.",
    "has_any ",
    "project-away ",
    "distinct ",
    "take 9",
];

fn near_query() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..25)
        .prop_map(|pieces| pieces.concat())
}

#[derive(Debug, Clone)]
enum Sum {
    A,
    B,
    Number(i64),
    Joined(Box<Sum>, char, Box<Sum>),
    Negative(Box<Sum>),
}

fn sum() -> impl Strategy<Value = Sum> {
    let leaf = prop_oneof![Just(Sum::A), Just(Sum::B), (0..50_i64).prop_map(Sum::Number)];
    leaf.prop_recursive(4, 20, 2, |inner| {
        prop_oneof![
            (
                inner.clone(),
                proptest::sample::select(&['+', '-', '*', '/', '%'][..]),
                inner.clone()
            )
                .prop_map(|(l, operator, r)| Sum::Joined(
                    Box::new(l),
                    operator,
                    Box::new(r)
                )),
            inner.prop_map(|inner| Sum::Negative(Box::new(inner))),
        ]
    })
}

impl Sum {
    /// With no more parentheses than precedence needs, so that precedence is tested too.
    fn text(&self) -> String {
        match self {
            Self::A => "a".to_owned(),
            Self::B => "b".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Negative(inner) => format!("-({})", inner.text()),
            Self::Joined(l, operator, r) => {
                let l_text = if l.strength() < strength(*operator) {
                    format!("({})", l.text())
                } else {
                    l.text()
                };
                let r_text = if r.strength() <= strength(*operator) {
                    format!("({})", r.text())
                } else {
                    r.text()
                };
                format!("{l_text} {operator} {r_text}")
            }
        }
    }

    fn strength(&self) -> u8 {
        match self {
            Self::Joined(_, operator, _) => strength(*operator),
            _ => 9,
        }
    }

    /// `Err` when a number leaves 64 bits, where `SQLite` goes on with floating-point numbers; nothing is null.
    fn value(&self, a: i64, b: i64) -> Result<Option<i64>, ()> {
        match self {
            Self::A => Ok(Some(a)),
            Self::B => Ok(Some(b)),
            Self::Number(number) => Ok(Some(*number)),
            Self::Negative(inner) => Ok(inner.value(a, b)?.map(|value| -value)),
            Self::Joined(l, operator, r) => {
                let (Some(l), Some(r)) = (l.value(a, b)?, r.value(a, b)?) else { return Ok(None) };
                match operator {
                    '+' => l.checked_add(r).map(Some).ok_or(()),
                    '-' => l.checked_sub(r).map(Some).ok_or(()),
                    '*' => l.checked_mul(r).map(Some).ok_or(()),
                    '/' => Ok(l.checked_div(r)),
                    _ => Ok(l.checked_rem_euclid(r)),
                }
            }
        }
    }
}

fn strength(operator: char) -> u8 {
    if "+-".contains(operator) { 1 } else { 2 }
}

proptest! {
    #[test]
    fn any_text_compiles_or_is_refused(text in ".{0,200}") {
        let _ = compile(&text, &Schema::inventory());
    }

    #[test]
    fn what_compiles_is_sql(text in near_query()) {
        match compile(&text, &Schema::inventory()) {
            Ok(compiled) => {
                let rows = compiled.rows(&database(&[]));
                prop_assert!(rows.is_ok(), "{text}\n{}\n{rows:?}", compiled.sql);
            }
            Err(error) => prop_assert!(error.line >= 1 && !error.message.is_empty()),
        }
    }

    #[test]
    fn deep_nesting_is_refused(depth in 1_000..20_000_usize, piece in proptest::sample::select(&["(", "-", "not(", "toscalar("][..])) {
        let text = format!("print {}", piece.repeat(depth));
        prop_assert!(compile(&text, &Schema::inventory()).is_err());
    }

    #[test]
    fn arithmetic_agrees(sum in sum(), a in -100..100_i64, b in -100..100_i64) {
        if let Ok(value) = sum.value(a, b) {
            let query = format!("print a = {a}, b = {b} | project x = {}", sum.text());
            let wanted = value.map_or("null".to_owned(), |value| value.to_string());
            prop_assert_eq!(answer(&database(&[]), &query), [wanted], "{}", query);
        }
    }

    #[test]
    fn operators_on_texts_agree(hay in "[a-cA-C äÄ'_-]{0,12}", needle in "[a-cA-CäÄ]{1,2}") {
        let query = format!(
            "print t = \"{hay}\", n = \"{needle}\" | project t contains n, t contains_cs n, t startswith n, t !endswith_cs n, t =~ n, t == n, strlen(t), toupper(t)"
        );
        let (low, sought) = (hay.to_lowercase(), needle.to_lowercase());
        let wanted = [
            u8::from(low.contains(&sought)).to_string(),
            u8::from(hay.contains(&needle)).to_string(),
            u8::from(low.starts_with(&sought)).to_string(),
            u8::from(!hay.ends_with(&needle)).to_string(),
            u8::from(low == sought).to_string(),
            u8::from(hay == needle).to_string(),
            hay.chars().count().to_string(),
            hay.to_uppercase(),
        ];
        prop_assert_eq!(answer(&database(&[]), &query), [wanted.join(" | ")]);
    }
}
