//! Telling an Event Grid topic of orchestrations: `notifications.eventGrid` of host.json.
//!
//! N1  Events are those of the Durable Functions extension, one a post, with the key of the topic in `aeg-sas-key`.
//! N2  A post is tried again as often as the file says, then dropped and logged: as in the extension, nothing of this is
//!     kept over a restart. Who must hear of every end writes `extensions.everstep.webhooks`.

use std::{sync::Arc, time::Duration};

use everstep_functions::config::host_json::{EventGridNotifications, LifeCycle};
use everstep_model::{Event, Kind};
use everstep_runtime::lifecycle::Turned;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::{invoke::new_id, site::Site};

/// Posts under way at once.
const AT_ONCE: usize = 16;

/// Tells of the turns that come in, if there is a topic.
pub(crate) fn start(site: &Arc<Site>, mut turns: mpsc::UnboundedReceiver<Turned>) {
    let Some(topic) = site.config.durable_task.notifications.clone() else { return };
    let Some(key) = site.settings.get(&topic.key_setting_name).map(str::to_owned) else {
        tracing::error!(
            target: "Host.Startup.Notice",
            "host.json: `extensions.durableTask.notifications.eventGrid.keySettingName` is \"{0}\", and there is no such setting; add `{0}` to `Values` in local.settings.json or to the environment. Nothing is told to the topic",
            topic.key_setting_name
        );
        return;
    };
    let teller = Arc::new(Teller {
        topic,
        key,
        hub: site.hub_name.clone(),
        client: reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap_or_default(),
    });
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(turn) = turns.recv().await {
            for event in teller.events(&turn) {
                let slot = Arc::clone(&slots).acquire_owned().await;
                let teller = Arc::clone(&teller);
                tokio::spawn(async move {
                    teller.tell(event).await;
                    drop(slot);
                });
            }
        }
    });
}

struct Teller {
    topic: EventGridNotifications,
    key: String,
    hub: String,
    client: reqwest::Client,
}

impl Teller {
    /// What a turn has to tell.
    fn events(&self, turn: &Turned) -> Vec<Value> {
        if turn.instance.kind() == Kind::Entity {
            return Vec::new();
        }
        let is_wanted = |what: &LifeCycle| self.topic.publish_event_types.contains(what);
        let told = |event: &Event| match event {
            Event::Started(_) => Some((LifeCycle::Started, "Running", String::new())),
            Event::Completed { .. } => Some((LifeCycle::Completed, "Completed", String::new())),
            Event::Failed { failure } => {
                Some((LifeCycle::Failed, "Failed", failure.message.clone()))
            }
            Event::Terminated { reason } => {
                Some((LifeCycle::Terminated, "Terminated", reason.clone()))
            }
            _ => None,
        };
        let told = turn.events.iter().filter_map(told).filter(|(what, ..)| is_wanted(what));
        told.map(|(_, status, reason)| self.event(turn, status, &reason)).collect()
    }

    fn event(&self, turn: &Turned, status: &str, reason: &str) -> Value {
        json!({
            "id": new_id().to_string(),
            "eventType": "orchestratorEvent",
            "subject": format!("durable/orchestrator/{status}"),
            "eventTime": turn.now.to_string(),
            "dataVersion": "1.0",
            "data": {
                "hubName": self.hub,
                "functionName": turn.name,
                "instanceId": turn.instance.as_str(),
                "reason": reason,
                "runtimeStatus": status,
            },
        })
    }

    async fn tell(&self, event: Value) {
        let body = Value::Array(vec![event]).to_string();
        let mut left = self.topic.publish_retry_count;
        loop {
            let problem = match self.post(body.clone()).await {
                Ok(()) => return,
                Err(problem) => problem,
            };
            if left == 0 || !problem.is_worth_a_try {
                tracing::warn!(target: "Host.General", problem = %problem.text, %body, "the Event Grid topic did not take an event; it is dropped");
                return;
            }
            left -= 1;
            tokio::time::sleep(self.topic.publish_retry_interval).await;
        }
    }

    async fn post(&self, body: String) -> Result<(), Problem> {
        let posted = self
            .client
            .post(&self.topic.topic_endpoint)
            .header(http::header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header("aeg-sas-key", &self.key)
            .body(body)
            .send()
            .await;
        match posted {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => {
                let status = response.status().as_u16();
                let is_named = self.topic.publish_retry_http_status.contains(&status);
                let is_worth_a_try = is_named || status >= 500 || status == 429;
                Err(Problem { text: format!("it answers {status}"), is_worth_a_try })
            }
            Err(error) => {
                Err(Problem { text: error.without_url().to_string(), is_worth_a_try: true })
            }
        }
    }
}

/// Why a post was not taken.
struct Problem {
    text: String,
    is_worth_a_try: bool,
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::State, routing::post};
    use everstep::{App, Context, Failure, Orchestrator, StartOptions};
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::{FunctionApp, start::testing::Running};

    type Heard = mpsc::UnboundedSender<(String, Value)>;

    /// A topic that refuses each first post with 400.
    async fn topic(heard: Heard) -> String {
        async fn take(
            State((heard, seen)): State<(Heard, Arc<std::sync::Mutex<Vec<String>>>)>,
            headers: HeaderMap,
            body: String,
        ) -> StatusCode {
            let mut seen = seen.lock().unwrap();
            if !seen.contains(&body) {
                seen.push(body);
                return StatusCode::BAD_REQUEST;
            }
            let key = headers["aeg-sas-key"].to_str().unwrap().to_owned();
            heard.send((key, serde_json::from_str(&body).unwrap())).unwrap();
            StatusCode::OK
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/events", listener.local_addr().unwrap());
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let router = Router::new().route("/api/events", post(take)).with_state((heard, seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn a_topic_hears_what_it_is_to_hear_of() {
        let (heard, mut hears) = mpsc::unbounded_channel();
        let url = topic(heard).await;
        let settings = format!(
            r#"{{"IsEncrypted": false, "Values": {{
                "TOPIC_KEY": "secret",
                "AzureFunctionsJobHost__extensions__durableTask__notifications__eventGrid__topicEndpoint": "{url}",
                "AzureFunctionsJobHost__extensions__durableTask__notifications__eventGrid__keySettingName": "TOPIC_KEY",
                "AzureFunctionsJobHost__extensions__durableTask__notifications__eventGrid__publishRetryCount": "1",
                "AzureFunctionsJobHost__extensions__durableTask__notifications__eventGrid__publishRetryInterval": "00:00:00",
                "AzureFunctionsJobHost__extensions__durableTask__notifications__eventGrid__publishRetryHttpStatus": "400",
                "AzureFunctionsJobHost__extensions__durableTask__notifications__eventGrid__publishEventTypes": "Failed"
            }}}}"#
        );
        let app = App::new("1")
            .orchestrator(Orchestrator::new("Badly"), async |_: Context, (): ()| {
                Err::<(), _>(Failure::new("Wrong", "it went wrong"))
            });
        let host =
            Running::with_file(FunctionApp::new(app), "local.settings.json", &settings).await;
        let client = &host.site.client;
        let options = StartOptions {
            id: Some(everstep::InstanceId::orchestration("i").unwrap()),
            ..StartOptions::default()
        };
        client.start("Badly", everstep::Value::empty(), options).await.unwrap();
        let (key, mut events) = hears.recv().await.unwrap();
        assert_eq!(key, "secret");
        let event = events[0].as_object_mut().unwrap();
        assert!(event.remove("id").unwrap().is_string());
        assert!(event.remove("eventTime").unwrap().is_string());
        assert_eq!(
            events,
            json!([{
                "eventType": "orchestratorEvent",
                "subject": "durable/orchestrator/Failed",
                "dataVersion": "1.0",
                "data": {
                    "hubName": "TestHubName",
                    "functionName": "Badly",
                    "instanceId": "i",
                    "reason": "it went wrong",
                    "runtimeStatus": "Failed",
                },
            }])
        );
        host.stop().await;
    }
}
