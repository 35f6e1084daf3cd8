//! Telling others by HTTP that instances ended.
//!
//! W1  At least once: what could not be told when the process went down is told by the next start. A receiver knows a
//!     repetition by the event's id.
//! W2  In the order in which instances ended, per webhook; a receiver that is away holds up nothing else.
//! W3  A body is signed: `X-Everstep-Signature: sha256=...` is the HMAC of the body with the key that the setting names.
//!
//! How far each webhook is told stands in a file of the hub, as the time of the last end that was told of.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use everstep_functions::config::host_json::{LifeCycle, Webhook};
use everstep_model::{Kind, Status, Timestamp};
use everstep_runtime::{View, lifecycle::Turned};
use everstep_store::{Filter, Order};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use tokio::sync::mpsc;

use crate::{site::Site, start::now};

/// Ends that are read from the hub at once.
const PAGE: usize = 500;
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Starts the webhooks that the configuration has. `ended` tells of instances as they end.
pub(crate) fn start(site: &Arc<Site>, mut ended: mpsc::UnboundedReceiver<Turned>) {
    let wakes: Vec<_> = site
        .config
        .everstep
        .webhooks
        .iter()
        .enumerate()
        .map(|(number, webhook)| {
            let (wake, woken) = mpsc::channel(1);
            let teller = Teller::new(site, number, webhook.clone());
            tokio::spawn(teller.run(woken));
            wake
        })
        .collect();
    tokio::spawn(async move {
        while ended.recv().await.is_some() {
            // One wake is enough, however many have ended: a teller looks for all of them.
            for wake in &wakes {
                let _ = wake.try_send(());
            }
        }
    });
}

struct Teller {
    site: Arc<Site>,
    webhook: Webhook,
    path: PathBuf,
    client: reqwest::Client,
    told: Told,
}

/// How far a webhook is told: everything that ended before this time, and these at it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    upto: Timestamp,
    at: BTreeSet<String>,
}

impl Teller {
    fn new(site: &Arc<Site>, number: usize, webhook: Webhook) -> Self {
        let path = site.folder.join(format!("webhook-{number}.json"));
        let told = read(&path).unwrap_or_else(|| {
            // What ended before there was a webhook is nobody's business.
            let told = Told { upto: now(), at: BTreeSet::new() };
            keep(&path, &told);
            told
        });
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build();
        Self { site: Arc::clone(site), webhook, path, client: client.unwrap_or_default(), told }
    }

    async fn run(mut self, mut woken: mpsc::Receiver<()>) {
        loop {
            while self.tell_a_page().await {}
            if woken.recv().await.is_none() {
                return;
            }
        }
    }

    /// Tells of some instances; whether there may be more.
    async fn tell_a_page(&mut self) -> bool {
        let filter = Filter {
            kind: Some(Kind::Orchestration),
            statuses: self.statuses(),
            completed_from: Some(self.told.upto),
            name: self.webhook.name.clone(),
            ..Filter::default()
        };
        let mut views = Vec::new();
        let mut after = None;
        // The order of lists is not that of ends: all that ended since are read, and sorted.
        loop {
            match self.site.client.list(&filter, Order::OldestFirst, after, PAGE).await {
                Ok(page) => {
                    views.extend(page.rows);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(target: "Host.General", %error, "a webhook waits: the hub cannot be read");
                    tokio::time::sleep(PAUSE_MIN).await;
                    return true;
                }
            }
        }
        views.retain(|view| {
            !(view.completed == Some(self.told.upto) && self.told.at.contains(&key(view)))
        });
        views.sort_by_key(|view| (view.completed, key(view)));
        for view in &views {
            self.tell(view).await;
            self.told.note(view);
            keep(&self.path, &self.told);
        }
        !views.is_empty()
    }

    fn statuses(&self) -> Vec<Status> {
        let status = |event: &LifeCycle| match event {
            LifeCycle::Completed => Some(Status::Completed),
            LifeCycle::Failed => Some(Status::Failed),
            LifeCycle::Terminated => Some(Status::Terminated),
            LifeCycle::Started => None,
        };
        self.webhook.events.iter().filter_map(status).collect()
    }

    /// Tells of one instance, again and again until the receiver has taken it.
    async fn tell(&self, view: &View) {
        let body = body(&self.site.hub_name, view);
        let mut pause = PAUSE_MIN;
        loop {
            let mut request = self
                .client
                .post(&self.webhook.url)
                .header(http::header::CONTENT_TYPE, "application/json; charset=utf-8");
            let key =
                self.webhook.key_setting.as_ref().and_then(|name| self.site.settings.get(name));
            if let Some(key) = key {
                request = request.header("X-Everstep-Signature", signature(key, body.as_bytes()));
            }
            let problem = match request.body(body.clone()).send().await {
                Ok(response) if response.status().is_success() => return,
                Ok(response) => format!("it answers {}", response.status()),
                Err(error) => error.without_url().to_string(),
            };
            tracing::warn!(target: "Host.General", instance = %view.id, %problem, ?pause, "a webhook's receiver did not take an event; it is told again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Told {
    fn note(&mut self, view: &View) {
        let Some(completed) = view.completed else { return };
        if completed != self.upto {
            *self = Self { upto: completed, at: BTreeSet::new() };
        }
        self.at.insert(key(view));
    }
}

/// Names an end.
fn key(view: &View) -> String {
    format!("{}/{}", view.id, view.execution_id.as_str())
}

fn body(hub: &str, view: &View) -> String {
    json!({
        "id": key(view),
        "eventType": format!("orchestrator{}", view.status),
        "hubName": hub,
        "instanceId": view.id.as_str(),
        "functionName": view.name,
        "runtimeStatus": view.status.to_string(),
        "createdTime": view.created.to_string(),
        "completedTime": view.completed.map(|time| time.to_string()),
        "reason": view.failure.as_ref().map(|failure| &failure.message),
    })
    .to_string()
}

fn signature(key: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length will do");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    digest.iter().fold("sha256=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes what is written to it");
        text
    })
}

fn read(path: &Path) -> Option<Told> {
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let ticks = value["upto"].as_i64()?;
    let at = value["at"].as_array()?.iter().filter_map(|key| key.as_str().map(str::to_owned));
    Some(Told { upto: Timestamp::from_ticks(ticks), at: at.collect() })
}

fn keep(path: &Path, told: &Told) {
    let text = json!({ "upto": told.upto.ticks(), "at": told.at }).to_string();
    if let Err(error) = crate::durable_file::write(path, &text) {
        tracing::error!(target: "Host.General", path = %path.display(), %error, "how far a webhook is told cannot be written; a restart may tell some again");
    }
}
