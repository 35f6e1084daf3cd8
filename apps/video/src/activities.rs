//! What runs do in the world: requests go to a queue, everything else is told.

use std::sync::Arc;

use everstep::{Failure, InstanceId};
use everstep_host::Services;
use serde_json::{Value, json};

use crate::{
    language::{Language, Line},
    run::{Problem, Request},
    settings::Settings,
};
/// Puts requests into the queue.
pub(crate) struct Publisher {
    place: Option<(Services, Arc<Settings>)>,
}

impl Publisher {
    pub(crate) fn new(services: Services, settings: Arc<Settings>) -> Self {
        Self { place: Some((services, settings)) }
    }

    /// For tests without a host, which put something in its place.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self { place: None }
    }

    /// At least once: a crash between the queue's answer and its record sends the request again, with the same
    /// `instance_id`.
    pub(crate) async fn send(&self, request: Request) -> Result<Value, Failure> {
        let (services, settings) = self.place.as_ref().expect("a test puts something in its place");
        let text = serde_json::to_string(&request).map_err(everstep::failure)?;
        let queue = &settings.requests;
        let sent = services.send("", queue, &text, settings.encoding).await?;
        let line = Line::Requested { instance: &request.instance_id, queue };
        tracing::info!("{}", settings.language.says(line));
        Ok(self::sent(&sent.message_id, &request))
    }
}

pub(crate) fn sent(message_id: &str, request: &Request) -> Value {
    done("send_processing_request", &json!({ "message_id": message_id, "blobMessage": request }))
}

pub(crate) fn complete(language: Language, instance: &InstanceId, event: &Value) -> Value {
    let instance = instance.as_str();
    tracing::info!("{}", language.says(Line::Completed { instance }));
    done("SendVideoComplited", event)
}

pub(crate) fn escalate(language: Language, instance: &InstanceId, text: String) -> Value {
    let instance = instance.as_str();
    tracing::warn!("{}", language.says(Line::Escalated { instance }));
    done("Escalate_activity", &Value::String(text))
}

pub(crate) fn notify_failure(
    language: Language,
    instance: &InstanceId,
    problem: &Problem,
) -> Value {
    let (instance, error) = (instance.as_str(), problem.text.as_str());
    tracing::error!("{}", language.says(Line::Failed { instance, error }));
    json!({
        "ok": false,
        "activity": "SendFailureNotification",
        "code": 404,
        "message": format!("video_orchestrator completed with error = {error}"),
        "error_type": problem.error_type,
    })
}

pub(crate) fn greet(city: &str) -> Value {
    done("video_orchestration_activity", &Value::String(format!("Hello {city}")))
}

fn done(activity: &str, data: &Value) -> Value {
    json!({
        "ok": true,
        "activity": activity,
        "code": 200,
        "message": "Activity processed successfully",
        "data": data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unused_activity_greets() {
        assert_eq!(greet("Lviv")["data"], "Hello Lviv");
        assert_eq!(greet("Lviv")["activity"], "video_orchestration_activity");
    }
}
