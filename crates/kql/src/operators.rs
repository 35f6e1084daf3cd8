//! The operators by name, and those of Kusto that are refused.

use crate::{error::Fault, names, syntax::Name};

/// What may stand after `|`.
const KNOWN: [&str; 19] = [
    "where",
    "filter",
    "extend",
    "project",
    "project-away",
    "project-keep",
    "project-rename",
    "summarize",
    "order",
    "sort",
    "take",
    "limit",
    "top",
    "distinct",
    "count",
    "join",
    "union",
    "serialize",
    "render",
];

/// What Kusto knows, with what to do instead.
const REFUSED: [(&str, &str); 28] = [
    ("as", "name a table with `let`"),
    ("consume", ""),
    ("evaluate", ""),
    ("extend-columns", ""),
    ("facet", ""),
    ("find", ""),
    ("fork", ""),
    ("getschema", ""),
    ("graph-match", ""),
    ("invoke", ""),
    ("lookup", "use `join kind=leftouter`"),
    ("make-graph", ""),
    ("make-series", "use `summarize ... by bin(Column, 1d)`"),
    ("mv-apply", ""),
    ("mv-expand", ""),
    ("parse", "use `extract` or `split`"),
    ("parse-kv", ""),
    ("parse-where", "use `extract` or `split`"),
    ("partition", ""),
    ("print", "it begins a query and does not follow `|`"),
    ("project-reorder", "use `project`"),
    ("range", ""),
    ("reduce", ""),
    ("sample", "use `take`"),
    ("sample-distinct", "use `distinct` and `take`"),
    ("scan", ""),
    ("search", "use `where ... contains`"),
    ("top-nested", "use `summarize` and `top`"),
];

pub(crate) fn unknown(name: &Name) -> Fault {
    let text = &name.text;
    let message = match REFUSED.iter().find(|(refused, _)| refused == text) {
        Some((_, "")) => format!("the operator `{text}` is not supported"),
        Some((_, instead)) => format!("the operator `{text}` is not supported; {instead}"),
        None => format!("there is no operator `{text}`{}", names::hint(text, KNOWN)),
    };
    Fault::new(name.span, message)
}
