//! What bodies of answers look like, for the `OpenAPI` document.
//!
//! S1  A schema names what is always there. What an answer may have besides is left open, so that more can be added.

use serde_json::{Value, json};

use crate::{archive::JSON_LINES, route::Target};

const JSON: &str = "application/json";

/// The shapes that more than one answer has.
pub(crate) fn components() -> Value {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer" });
    json!({
        "Links": object(&[
            ("id", text.clone()),
            ("statusQueryGetUri", text.clone()),
            ("sendEventPostUri", text.clone()),
            ("terminatePostUri", text.clone()),
            ("purgeHistoryDeleteUri", text.clone()),
            ("restartPostUri", text.clone()),
            ("suspendPostUri", text.clone()),
            ("resumePostUri", text.clone()),
        ]),
        "Status": {
            "type": "string",
            "enum": [
                "Running", "Completed", "ContinuedAsNew", "Failed", "Canceled", "Terminated", "Pending", "Suspended",
            ],
        },
        "Instance": object(&[
            ("name", text.clone()),
            ("instanceId", text.clone()),
            ("runtimeStatus", reference("Status")),
            ("input", json!({})),
            ("customStatus", json!({})),
            ("output", json!({})),
            ("createdTime", text.clone()),
            ("lastUpdatedTime", text.clone()),
        ]),
        "Event": object(&[("EventType", text.clone()), ("Timestamp", text.clone())]),
        "Entity": object(&[
            ("entityId", object(&[("name", text.clone()), ("key", text.clone())])),
            ("lastOperationTime", text.clone()),
            ("state", json!({})),
        ]),
        "Deleted": object(&[
            ("instancesDeleted", number.clone()),
            ("deletedInstanceCount", number.clone()),
        ]),
        "Counts": object(&[("total", number.clone()), ("exact", json!({ "type": "boolean" }))]),
        "Reason": object(&[
            ("kind", text.clone()),
            ("since", text.clone()),
            ("text", text.clone()),
            ("remedy", json!({ "type": ["string", "null"] })),
            ("details", json!({ "type": "object" })),
        ]),
        "Why": object(&[
            ("instanceId", text.clone()),
            ("name", text.clone()),
            ("runtimeStatus", reference("Status")),
            ("reasons", list(&reference("Reason"))),
        ]),
        "Record": object(&[
            ("instanceId", text.clone()),
            ("record", json!({ "type": ["string", "null"] })),
        ]),
        "Table": object(&[
            ("columns", list(&text)),
            ("rows", list(&list(&json!({})))),
            ("truncated", json!({ "type": "boolean" })),
        ]),
        "Refusal": { "anyOf": [object(&[("Message", text.clone())]), text] },
    })
}

/// The media type and the shape of an answer's body, where it may have one.
pub(crate) fn of(target: Target, status: u16) -> Option<(&'static str, Value)> {
    let success = match target {
        Target::Stream => return stream(status, "text/event-stream"),
        Target::Import => return stream(status, JSON_LINES),
        Target::Start | Target::Restart if status == 200 => Some(json!({})),
        Target::Start | Target::Restart | Target::Bulk => Some(reference("Links")),
        Target::ListEntities => Some(list(&reference("Entity"))),
        Target::GetEntity => Some(json!({})),
        Target::List => Some(list(&reference("Instance"))),
        Target::PurgeMany | Target::PurgeHistory | Target::PurgeOne => Some(reference("Deleted")),
        Target::Counts => Some(reference("Counts")),
        Target::Status => Some(reference("Instance")),
        Target::Why => Some(reference("Why")),
        Target::Record => Some(reference("Record")),
        Target::History => Some(list(&reference("Event"))),
        Target::Sql => Some(reference("Table")),
        Target::OpenApi => Some(json!({ "type": "object" })),
        Target::SignalEntity
        | Target::DeleteEntity
        | Target::Terminate
        | Target::Rewind
        | Target::Suspend
        | Target::Resume
        | Target::Unpark
        | Target::Raise
        | Target::MakePrimary => None,
    };
    match status {
        200..=299 => Some((JSON, success?)),
        401 => None,
        // An instance that has failed is shown with this code where the request asks for it.
        500 if matches!(target, Target::Status | Target::Start | Target::Restart) => {
            Some((JSON, json!({ "anyOf": [reference("Instance"), reference("Refusal")] })))
        }
        _ => Some((JSON, reference("Refusal"))),
    }
}

fn stream(status: u16, media: &'static str) -> Option<(&'static str, Value)> {
    match status {
        200 => Some((media, json!({ "type": "string" }))),
        401 => None,
        _ => Some((JSON, reference("Refusal"))),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// An object with these properties, each of which is always there.
fn object(properties: &[(&str, Value)]) -> Value {
    let names: Vec<_> = properties.iter().map(|(name, _)| *name).collect();
    let shapes: serde_json::Map<_, _> =
        properties.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect();
    json!({ "type": "object", "properties": shapes, "required": names })
}
