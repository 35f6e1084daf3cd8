//! The API as an `OpenAPI` document, made from the table of routes.

use std::collections::BTreeMap;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    json as body,
    links::WEBHOOK,
    route::{Entry, ROUTES, Target, Verb},
    schema,
};

/// A parameter of the query.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const fn parameter(name: &'static str, kind: &'static str, text: &'static str) -> Parameter {
    Parameter { name, kind, text }
}

/// Every parameter that a route may name.
#[rustfmt::skip]
pub(crate) const PARAMETERS: &[Parameter] = &[
    parameter("all", "boolean", "Whether every instance of the hub may be meant"),
    parameter("createdTimeFrom", "string", "Created at this time or later"),
    parameter("createdTimeTo", "string", "Created at this time or earlier"),
    parameter("desc", "boolean", "Newest first"),
    parameter("fetchState", "boolean", "Whether states are shown; false where not given"),
    parameter("force", "boolean", "Whether instances that have not ended are terminated and removed as well"),
    parameter("instanceIdPrefix", "string", "What the id begins with"),
    parameter("kind", "string", "`orchestration` or `entity`"),
    parameter("lastOperationTimeFrom", "string", "Last changed at this time or later"),
    parameter("lastOperationTimeTo", "string", "Last changed at this time or earlier"),
    parameter("name", "string", "The name of the function, in any case"),
    parameter("op", "string", "The operation"),
    parameter("orderBy", "string", "`created`"),
    parameter("parent", "string", "The id of the instance that started it"),
    parameter("pollingInterval", "number", "Seconds; must not be longer than `timeout`"),
    parameter("q", "string", "A text that the input contains"),
    parameter("reason", "string", "Why; kept in the history"),
    parameter("recursive", "boolean", "Whether descendants are meant as well"),
    parameter("replace", "boolean", "Whether an import takes the place of what has ended under its id"),
    parameter("restartWithNewInstanceId", "boolean", "Under a made id; true where not given"),
    parameter("returnInternalServerErrorOnFailure", "boolean", "Whether a failed instance is answered with 500"),
    parameter("runtimeStatus", "string", "Statuses by their exact names or numbers, with commas between"),
    parameter("showDetails", "boolean", "Whether version, parent, tags and failure are shown"),
    parameter("showHistory", "boolean", "Whether events are shown"),
    parameter("showHistoryOutput", "boolean", "Whether events show results"),
    parameter("showInput", "boolean", "Whether inputs are shown; true where not given"),
    parameter("status", "string", "Statuses in any case, with commas between"),
    parameter("tag.*", "string", "`tag.<key>=<value>`: a tag that the instance bears"),
    parameter("timeout", "number", "Seconds to wait for the end"),
    parameter("top", "integer", "The most rows of a page"),
    parameter("version", "string", "The version of the orchestration"),
    parameter("wait", "string", "How long to wait for the end: `30s`, `2m`, or seconds"),
];

/// `GET openapi.json`
pub(crate) fn document() -> Response {
    body::json(StatusCode::OK, &of(ROUTES))
}

fn of(routes: &[Entry]) -> Value {
    let mut paths = Map::new();
    for entry in routes {
        let path = paths.entry(format!("/{}", entry.template)).or_insert_with(|| json!({}));
        for method in methods(entry.verb) {
            path[*method] = operation(entry, method);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Everstep management API",
            "description": "Orchestrations and entities of one task hub, as the HTTP API of Durable Functions has them, and more.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": WEBHOOK }],
        "security": [{ "header": [] }, { "query": [] }],
        "paths": paths,
        "components": {
            "schemas": schema::components(),
            "securitySchemes": {
                "header": { "type": "apiKey", "in": "header", "name": "x-functions-key" },
                "query": { "type": "apiKey", "in": "query", "name": "code" },
            },
        },
    })
}

fn methods(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Get => &["get"],
        Verb::Post => &["post"],
        Verb::Delete => &["delete"],
        Verb::Any => &["get", "post"],
    }
}

fn operation(entry: &Entry, method: &str) -> Value {
    let mut parameters: Vec<Value> = variables(entry.template)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(entry.query.iter().filter_map(|name| described(name)));
    let mut responses = Map::new();
    for (status, text) in answers(entry) {
        let mut response = json!({ "description": text });
        if let Some((media, shape)) = schema::of(entry.target, status) {
            response["content"] = json!({ media: { "schema": shape } });
        }
        responses.insert(status.to_string(), response);
    }
    let mut operation = json!({
        "operationId": name(entry, method),
        "summary": entry.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(text) = body_of(entry.target) {
        operation["requestBody"] = json!({
            "description": text,
            "content": { "application/json": { "schema": {} } },
        });
    }
    operation
}

/// What an entry answers, and what everything here may be answered with.
fn answers(entry: &Entry) -> BTreeMap<u16, &'static str> {
    let mut answers = BTreeMap::from([
        (400, "A path or a parameter that cannot be understood"),
        (401, "No key, or a wrong one"),
        (404, "No such task hub"),
        (503, "The host is busy or stopping; ask again"),
    ]);
    if entry.target.takes_body() {
        answers.insert(413, "The body is too long");
    }
    answers.extend(entry.answers.iter().copied());
    answers
}

fn described(name: &str) -> Option<Value> {
    let Parameter { name, kind, text } = PARAMETERS.iter().find(|found| found.name == name)?;
    Some(json!({ "name": name, "in": "query", "description": text, "schema": { "type": kind } }))
}

fn variables(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// A name that no other operation has.
fn name(entry: &Entry, method: &str) -> String {
    let words = entry.template.split(['/', '.']).map(|part| part.trim_matches(['{', '}']));
    words.fold(method.to_owned(), |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_uppercase() + tail
    })
}

fn body_of(target: Target) -> Option<&'static str> {
    match target {
        Target::Start => Some("The input; nothing for none"),
        Target::SignalEntity | Target::DeleteEntity => {
            Some("The operation's input; a body of another type is taken as a text")
        }
        Target::Raise => Some("What the event carries"),
        Target::PurgeHistory => Some("`timeFrom`, `timeTill`, and an array `runtimeStatus`"),
        Target::Sql => Some("`query`, and `limit` for the number of rows"),
        Target::Import => Some("What `everstep export` writes, each instance on a line of its own"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::Method;

    use super::*;
    use crate::{Compat, route};

    fn paths() -> BTreeSet<(String, String)> {
        let document = of(ROUTES);
        let paths = document["paths"].as_object().unwrap();
        let pairs = paths.iter().flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        });
        pairs.collect()
    }

    #[test]
    fn every_route_is_in_the_document() {
        let found = paths();
        for entry in ROUTES {
            for method in methods(entry.verb) {
                let key = (format!("/{}", entry.template), (*method).to_owned());
                assert!(found.contains(&key), "{key:?}");
            }
        }
    }

    #[test]
    fn every_path_of_the_document_is_routed_to_its_own_entry() {
        for (path, method) in paths() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let filled = path.replace(['{', '}'], "");
            let (entry, _) = route::find(&method, &filled, Compat::V3).unwrap();
            assert_eq!(format!("/{}", entry.template), path);
        }
    }

    #[test]
    fn every_parameter_is_described_and_used() {
        let used: BTreeSet<_> = ROUTES.iter().flat_map(|entry| entry.query).copied().collect();
        let described: BTreeSet<_> = PARAMETERS.iter().map(|parameter| parameter.name).collect();
        assert_eq!(used, described);
    }

    #[test]
    fn names_of_operations_differ() {
        let all: Vec<_> = ROUTES
            .iter()
            .flat_map(|entry| methods(entry.verb).iter().map(|method| name(entry, method)))
            .collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
