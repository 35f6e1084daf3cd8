//! What the host lends to an app in Rust.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use everstep::{Client, Failure, InstanceId};
use everstep_functions::config::Settings;
use everstep_http::{Api, OnFailure};
use everstep_storage::client::{self, Encoding, PutBlob};
use http::request::Parts;

use crate::{
    Response, Secrets,
    secrets::Vault,
    storage::{self, Storage},
};

/// The kind of a failure that comes from a queue or a blob.
const STORAGE: &str = "Storage";

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
    vault: Arc<Vault>,
    storage: Arc<Storage>,
}

/// A message that was put into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id within the queue.
    pub message_id: String,
    /// What allows to change and delete it.
    pub pop_receipt: String,
}

/// The blobs of a container.
#[derive(Debug, Clone)]
pub struct Container {
    services: Services,
    connection: String,
    name: String,
}

impl Services {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { inner: Arc::new(Inner { settings, started: OnceLock::new() }) }
    }

    /// To be called once, before any function runs.
    pub(crate) fn start(
        &self,
        client: Client,
        api: Arc<Api>,
        vault: Arc<Vault>,
        storage: Arc<Storage>,
    ) {
        let former = self.inner.started.set(Started { client, api, vault, storage });
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

    /// The app's secrets: values that histories are to hold only a handle of. Not before the host has started.
    ///
    /// ```
    /// use everstep::{App, Failure, Guid, InstanceId, Orchestrator, StartOptions, TypedClient as _};
    /// use everstep_host::{HttpCall, Response, Secret};
    ///
    /// const SCAN: Orchestrator<Secret, ()> = Orchestrator::new("scan");
    ///
    /// async fn start_scan(mut call: HttpCall) -> Result<Response, Failure> {
    ///     let key: String = call.json().await?;
    ///     let id = InstanceId::orchestration(&call.invocation_id().to_string()).map_err(everstep::failure)?;
    ///     let key = call.services().secrets().seal(&id, &key).await?;
    ///     let options = StartOptions { id: Some(id.clone()), ..StartOptions::default() };
    ///     call.client().run(SCAN, key, options).await.map_err(everstep::failure)?;
    ///     Ok(call.check_status(&id))
    /// }
    /// ```
    pub fn secrets(&self) -> Secrets {
        Secrets::new(Arc::clone(&self.started().vault))
    }

    /// Puts a message into a queue, which is made if it is missing. `connection` is the name of the setting with the
    /// connection string: `AzureWebJobsStorage` if it is empty.
    ///
    /// At least once: if the answer is lost on the way, the message is put again.
    ///
    /// ```
    /// use everstep::{ActivityContext, Failure};
    /// use everstep_host::{Encoding, Services};
    ///
    /// async fn tell(services: Services, _: ActivityContext, order: String) -> Result<String, Failure> {
    ///     let sent = services.send("AzureWebJobsStorage", "orders", &order, Encoding::Base64).await?;
    ///     Ok(sent.message_id)
    /// }
    /// # let _ = tell;
    /// ```
    pub fn send(
        &self,
        connection: &str,
        queue: &str,
        message: impl AsRef<[u8]>,
        encoding: Encoding,
    ) -> impl Future<Output = Result<Sent, Failure>> + Send + 'static {
        let text = encoding.encode_bytes(message.as_ref());
        let storage = Arc::clone(&self.started().storage);
        let (connection, queue) = (connection.to_owned(), queue.to_owned());
        async move {
            let text = text.map_err(|error| {
                Failure::new(STORAGE, format!("a message for the queue `{queue}`: {error}"))
            })?;
            let connection = storage.connection(&connection).await.map_err(failure)?;
            let sent = connection.send(&queue, &text).await.map_err(failure)?;
            Ok(Sent { message_id: sent.id, pop_receipt: sent.receipt })
        }
    }

    /// Makes a queue if it is missing; `connection` is as for [`Services::send`].
    pub async fn make_queue(&self, connection: &str, queue: &str) -> Result<(), Failure> {
        let connection = self.started().storage.connection(connection).await.map_err(failure)?;
        let queues = connection.queues().map_err(failure)?;
        queues.create(queue).await.map(drop).map_err(failure)
    }

    /// The blobs of a container. `connection` is as for [`Services::send`].
    pub fn blobs(&self, connection: &str, container: &str) -> Container {
        let (connection, name) = (connection.to_owned(), container.to_owned());
        Container { services: self.clone(), connection, name }
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

impl Container {
    /// Writes a blob and returns its tag. The container is made if it is missing.
    pub async fn put(&self, blob: &str, content: impl Into<Bytes>) -> Result<String, Failure> {
        let content = content.into();
        let connection = self.connection().await?;
        connection.write(&self.name, blob, content, &PutBlob::default()).await.map_err(failure)
    }

    /// The content of a blob; none if there is no such blob.
    pub async fn get(&self, blob: &str) -> Result<Option<Bytes>, Failure> {
        let connection = self.connection().await?;
        match connection.blobs().map_err(failure)?.get(&self.name, blob).await {
            Ok((_, content)) => Ok(Some(content)),
            Err(client::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure(error)),
        }
    }

    /// Deletes a blob; one that is not there is deleted already.
    pub async fn delete(&self, blob: &str) -> Result<(), Failure> {
        let connection = self.connection().await?;
        match connection.blobs().map_err(failure)?.delete(&self.name, blob).await {
            Ok(()) | Err(client::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }

    async fn connection(&self) -> Result<Arc<storage::Connection>, Failure> {
        let storage = &self.services.started().storage;
        storage.connection(&self.connection).await.map_err(failure)
    }
}

fn failure(error: impl Into<storage::Error>) -> Failure {
    Failure::new(STORAGE, error.into().to_string())
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
