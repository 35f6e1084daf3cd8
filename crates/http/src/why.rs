//! Why an instance does not go on, as JSON.

use everstep_model::{InstanceId, Timestamp};
use everstep_runtime::why::{Facts, Reason};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{api::Call, error::Answer, instance, json as body, time};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    instance_id: &'a str,
    name: &'a str,
    runtime_status: &'static str,
    reasons: Vec<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    /// Stable; programs may compare it.
    kind: &'static str,
    since: String,
    text: String,
    remedy: Option<&'static str>,
    /// What the reason is about, by kind.
    details: Value,
}

/// `GET instances/{instanceId}/why`
pub(crate) async fn why(call: Call) -> Answer {
    let facts = call.api.client().why(&instance::id(&call)?).await?;
    Ok(body::json(StatusCode::OK, &of(&facts)))
}

fn of(facts: &Facts) -> Body<'_> {
    Body {
        instance_id: facts.instance.as_str(),
        name: &facts.name,
        runtime_status: facts.status.name(),
        reasons: facts.reasons.iter().map(|(reason, since)| item(reason, *since)).collect(),
    }
}

fn item(reason: &Reason, since: Timestamp) -> Item {
    Item {
        kind: reason.kind(),
        since: time::trimmed(since),
        text: reason.state(),
        remedy: reason.remedy(),
        details: details(reason),
    }
}

fn details(reason: &Reason) -> Value {
    match reason {
        Reason::Ended(status) => json!({ "runtimeStatus": status.name() }),
        Reason::NoFunction(name) | Reason::Event(name) => json!({ "name": name }),
        Reason::Scheduled(due) | Reason::Timer(due) => json!({ "due": time::trimmed(*due) }),
        Reason::Parked(reason) => json!({ "reason": reason }),
        Reason::Activity { task, name, attempt, strikes, .. } => {
            json!({ "eventId": task.0, "name": name, "attempt": attempt, "strikes": strikes })
        }
        Reason::Retry { call, name, attempt, due } => json!({
            "eventId": call.0, "name": name, "attempt": attempt, "due": time::trimmed(*due),
        }),
        Reason::Child(id) | Reason::Locked(id) => json!({ "instanceId": id.as_str() }),
        Reason::Entity(id, operation) => {
            json!({ "instanceId": id.as_str(), "operation": operation })
        }
        Reason::Lock(entities) => {
            let ids: Vec<_> = entities.iter().map(InstanceId::as_str).collect();
            json!({ "instanceIds": ids })
        }
        Reason::Suspended | Reason::InTurn | Reason::Running | Reason::Held | Reason::Offline => {
            json!({})
        }
    }
}
