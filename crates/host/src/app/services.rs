//! What the host lends to an app in Rust.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use everstep::{Client, InstanceId};
use everstep_functions::config::Settings;
use everstep_http::{Api, OnFailure};
use http::request::Parts;

use crate::Response;

/// The app's settings and its client. Cheap to clone; activities may capture it.
#[derive(Clone)]
pub struct Services {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    started: OnceLock<Started>,
}

struct Started {
    client: Client,
    api: Arc<Api>,
}

impl Services {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { inner: Arc::new(Inner { settings, started: OnceLock::new() }) }
    }

    /// To be called once, before any function runs.
    pub(crate) fn start(&self, client: Client, api: Arc<Api>) {
        let former = self.inner.started.set(Started { client, api });
        assert!(former.is_ok(), "a host starts its app once");
    }

    fn started(&self) -> &Started {
        self.inner.started.get().expect("functions run once the host has started")
    }

    /// An app setting: from the environment, or from `local.settings.json`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.inner.settings.get(name)
    }

    /// The client of the app's hub. Not before the host has started: functions have it, the code that builds the app
    /// has not.
    pub fn client(&self) -> Client {
        self.started().client.clone()
    }

    pub(super) fn check_status(&self, parts: &Parts, id: &InstanceId) -> Response {
        self.started().api.check_status(parts, id.as_str(), OnFailure::Ok)
    }

    pub(super) async fn wait_or_check_status(
        &self,
        parts: &Parts,
        id: &InstanceId,
        timeout: Duration,
    ) -> Response {
        let api = &self.started().api;
        let (timeout, interval) = (Some(timeout), Some(Duration::ZERO));
        api.wait_for_completion_or_check_status(parts, id.as_str(), timeout, interval).await
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
