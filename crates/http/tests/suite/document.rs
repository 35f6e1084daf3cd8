//! The document against the API: whatever is asked in its words is answered as it says.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; what is unwrapped is what the test is about"
)]

use axum::body::Body;
use http::Request;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Bed, PREFIX, text};

/// An operation of the document, and what it is asked with.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    path: String,
    query: String,
    body: Option<String>,
    responses: Value,
}

/// What stands in a path: things that are there, things that are not, and things that hurt.
fn variable(name: &str) -> BoxedStrategy<String> {
    let known: &[&str] = match name {
        "functionName" => &["Hello", "echo", "Wait", "Fail", "missing"],
        "entityName" => &["Counter", "counter", "missing"],
        "entityKey" => &["a", "$", "%2F", "b"],
        "instanceId" => &["a", "failed", "held", "done", "missing", "@counter@a", "%40counter%40"],
        "eventName" => &["Go", "go", "other"],
        "verb" => &["terminate", "PURGE", "suspend", "resume", "rewind", "dance"],
        _ => panic!("the document has a variable `{name}`; say what stands for it"),
    };
    prop_oneof![
        6 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[!$-.0-9:;=@A-Z_a-z~]{1,12}",
        1 => "(%[0-9a-fA-F]{2}){1,6}",
    ]
    .boxed()
}

fn value(name: &str, kind: &str) -> BoxedStrategy<String> {
    // A wait would take its time.
    if matches!(name, "timeout" | "pollingInterval" | "wait") {
        return proptest::sample::select(vec!["0", "-1", "x", "0.001", "1e999", ""])
            .prop_map(str::to_owned)
            .boxed();
    }
    let valid: &[&str] = match kind {
        "boolean" => &["true", "false", "True"],
        "integer" => &["1", "2", "1000"],
        "number" => &["0", "0.5"],
        _ => &["Running", "Failed", "2026-01-02", "orchestration", "entity", "created", "a", "add"],
    };
    prop_oneof![
        3 => proptest::sample::select(valid.to_vec()).prop_map(str::to_owned),
        1 => proptest::sample::select(vec!["", "0", "-1", "nan", "99999999999999999999", "%00", "%ff"])
            .prop_map(str::to_owned),
        1 => "[!$%'-.0-9:;=@A-Z_a-z~]{0,20}",
    ]
    .boxed()
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "",
            "1",
            "null",
            "{",
            "[1,2]",
            "\"text\"",
            "{\"query\":\"select 1\"}",
            "{\"query\":1}",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,30}",
    ]
}

/// A request for one operation of the document.
fn operation(path: &str, method: &str, operation: &Value) -> BoxedStrategy<Asked> {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let of = |place: &str| -> Vec<(String, String)> {
        let parameters = parameters.iter().filter(|parameter| parameter["in"] == *place);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        parameters.map(|p| (text(&p["name"]), text(&p["schema"]["type"]))).collect()
    };
    let variables: Vec<_> = of("path")
        .into_iter()
        .map(|(name, _)| variable(&name).prop_map(move |value| (format!("{{{name}}}"), value)))
        .collect();
    let queries: Vec<_> = of("query")
        .into_iter()
        .map(|(name, kind)| {
            let written = name.replace(".*", ".x");
            proptest::option::weighted(
                0.3,
                value(&name, &kind).prop_map(move |value| format!("{written}={value}")),
            )
        })
        .collect();
    let takes_body = operation.get("requestBody").is_some();
    let responses = operation["responses"].clone();
    let (path, method) = (path.to_owned(), method.to_uppercase());
    (variables, queries, body())
        .prop_map(move |(variables, queries, body)| Asked {
            method: method.clone(),
            path: variables
                .iter()
                .fold(path.clone(), |path, (name, value)| path.replace(name, value)),
            query: queries.into_iter().flatten().collect::<Vec<_>>().join("&"),
            body: takes_body.then_some(body),
            responses: responses.clone(),
        })
        .boxed()
}

async fn bed() -> Bed {
    let mut bed = Bed::new();
    bed.start("Wait", "a", "null").await;
    bed.start("Wait", "held", "null").await;
    bed.start("Fail", "failed", "null").await;
    bed.start("Hello", "done", "null").await;
    bed.ask("POST instances/held/suspend").await;
    bed.ask("POST entities/Counter/a?op=nothing").await;
    bed
}

async fn document(bed: &mut Bed) -> Value {
    let (status, body) = bed.ask("GET openapi.json").await;
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

fn operations(document: &Value) -> Vec<BoxedStrategy<Asked>> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(move |(method, described)| operation(path, method, described))
    });
    operations.collect()
}

#[test]
fn what_is_asked_in_the_words_of_the_document_is_answered_as_it_says() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (bed, document) = runtime.block_on(async {
        let mut bed = bed().await;
        let document = document(&mut bed).await;
        (bed, document)
    });
    let schemas = &document["components"]["schemas"];
    for asked in operations(&document) {
        // A runner counts over all its runs.
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 60,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let outcome = runner.run(&asked, |asked| {
            let uri = format!("{PREFIX}{}?{}", asked.path.trim_start_matches('/'), asked.query);
            let request = Request::builder().method(&*asked.method).uri(uri);
            let request = request.header("content-type", "application/json");
            let Ok(request) = request.body(Body::from(asked.body.clone().unwrap_or_default()))
            else {
                return Ok(());
            };
            runtime.block_on(async {
                let response = bed.send(request).await;
                let status = response.status().as_u16().to_string();
                let media = response.headers().get("content-type");
                let media =
                    media.and_then(|media| media.to_str().ok()).unwrap_or_default().to_owned();
                let described = &asked.responses[&status];
                prop_assert!(described.is_object(), "{status} is not described");
                if matches!(media.as_str(), "text/event-stream" | "application/x-ndjson") {
                    prop_assert!(described["content"].get(&media).is_some());
                    return Ok(());
                }
                let body = text(response.into_body()).await;
                if body.is_empty() {
                    let must = status.starts_with('2') && described.get("content").is_some();
                    prop_assert!(!must, "{status} has no body, and one is described");
                    return Ok(());
                }
                let schema = &described["content"]["application/json"]["schema"];
                prop_assert!(
                    schema.is_object(),
                    "{status} has a body, and none is described: {body}"
                );
                let parsed = serde_json::from_str(&body).expect("a body is JSON");
                let fault = fault(schemas, schema, &parsed, "");
                let begin: String = body.chars().take(300).collect();
                prop_assert!(fault.is_none(), "{status}: {}: {begin}", fault.unwrap());
                Ok(())
            })
        });
        outcome.expect("every answer is as the document says");
    }
}

#[tokio::test]
async fn every_shape_that_is_named_is_there() {
    let mut bed = bed().await;
    let document = document(&mut bed).await;
    let text = document.to_string();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

/// What does not fit a schema, as far as the document uses the language of schemas.
fn fault(schemas: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap();
        return fault(schemas, &schemas[name], value, at);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let fits = choices.iter().any(|choice| fault(schemas, choice, value, at).is_none());
        return (!fits).then(|| format!("`{at}` fits none of the choices"));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return Some(format!("`{at}` is {value}"));
    }
    let kinds = match schema.get("type") {
        None => Vec::new(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(kind) => kind.as_str().into_iter().collect::<Vec<_>>(),
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the document has a type `{other}`"),
    };
    if !kinds.is_empty() && !kinds.iter().any(is) {
        return Some(format!("`{at}` is no {}", kinds.join(" or ")));
    }
    let missing = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|name| value.get(name.as_str().unwrap()).is_none());
    if let Some(missing) = missing {
        return Some(format!("`{at}` lacks {missing}"));
    }
    let within = |key: &str, schema: &Value, value: &Value| {
        fault(schemas, schema, value, &format!("{at}/{key}"))
    };
    let mut properties = schema["properties"].as_object().into_iter().flatten();
    let in_properties =
        properties.find_map(|(name, schema)| within(name, schema, value.get(name)?));
    let items = schema.get("items");
    let in_items = items.and_then(|items| {
        value
            .as_array()?
            .iter()
            .enumerate()
            .find_map(|(n, value)| within(&n.to_string(), items, value))
    });
    in_properties.or(in_items)
}
