//! Where an app's queues and blobs are.
//!
//! A binding names a setting, and what the setting says decides:
//!
//! | Setting | Storage |
//! |---|---|
//! | the connection string of an account | that account, over the network |
//! | missing or empty | the service in this process, with its files in the hub's folder |
//! | `UseDevelopmentStorage=true` | whoever answers on the ports of emulators; if nobody does, the service in this process |
//! | only parts, such as `NAME__accountName` | that account, with tokens of the identity that the app runs as |
//!
//! O1  The service in this process starts with the first who needs it and at most once. It answers on loopback only.
//! O2  No text of this module holds a key.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use everstep_azure::identity::{self, Identity};
use everstep_functions::config::{self, Settings};
use everstep_storage::{
    account::{Account, ConnectionError, Kind},
    client::{self, Blobs, PutMessage, PutReceipt, Queues},
    service::{BLOB_PORT, OpenError, QUEUE_PORT, Service, ServiceOptions},
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
    task::JoinHandle,
};

use crate::serve::{self, Limits};

mod parts;

/// The setting that bindings mean if they name none.
pub(crate) const DEFAULT: &str = "AzureWebJobsStorage";
/// For requests under way when the host ends.
const GRACE: Duration = Duration::from_secs(1);

/// Why a queue or a blob cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting's value is no connection string.
    #[error("the setting `{setting}`: {source}")]
    Connection {
        /// Which.
        setting: String,
        /// What is wrong with it.
        source: ConnectionError,
    },
    /// The setting's name is none.
    #[error(transparent)]
    Setting(#[from] config::Error),
    /// The setting is there in parts, and they do not fit together.
    #[error(transparent)]
    Parts(#[from] parts::Error),
    /// The app has no identity here.
    #[error("the setting `{setting}`: {source}")]
    Identity {
        /// Which.
        setting: String,
        /// Why not.
        source: identity::Error,
    },
    /// The service in this process does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The service in this process cannot listen.
    #[error("the storage service cannot listen on 127.0.0.1: {0}")]
    Listen(io::Error),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] client::Error),
}

/// How the service in this process is opened.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where its files are.
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) service: ServiceOptions,
}

/// Where the service in this process answers others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// Here, if both are free: for blobs and for queues.
    At([u16; 2]),
    /// Wherever there is room.
    Any,
}

/// All storage of a host.
pub(crate) struct Storage {
    settings: Arc<Settings>,
    options: Options,
    state: Mutex<State>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// By the setting's name in lower case.
    connections: BTreeMap<String, Arc<Connection>>,
    embedded: Option<Embedded>,
    /// By the id of the client, nothing for the app's only one: a clone shares its tokens.
    identities: BTreeMap<Option<String>, Identity>,
    listening: Vec<JoinHandle<()>>,
}

/// The service in this process, as it runs.
#[derive(Clone)]
struct Embedded {
    service: Service,
    account: Account,
    ports: [u16; 2],
}

/// A storage account that bindings name.
pub(crate) struct Connection {
    setting: String,
    account: Account,
    queues: Result<Queues, ConnectionError>,
    blobs: Result<Blobs, ConnectionError>,
    /// The service in this process, where it is that.
    pub(crate) service: Option<Service>,
    /// What it is, for people.
    what: String,
    /// How its name is spelled where it is set in parts.
    parts_of: Option<String>,
}

impl Ports {
    /// Where tools look for an emulator.
    pub(crate) const USUAL: Self = Self::At([BLOB_PORT, QUEUE_PORT]);
}

impl Storage {
    pub(crate) fn new(settings: Arc<Settings>, options: Options) -> Arc<Self> {
        let (stop, _) = watch::channel(false);
        Arc::new(Self { settings, options, state: Mutex::default(), stop })
    }

    /// The account that a setting names.
    pub(crate) async fn connection(&self, setting: &str) -> Result<Arc<Connection>, Error> {
        let setting = if setting.is_empty() { DEFAULT } else { setting };
        let mut state = self.state.lock().await;
        let key = setting.to_lowercase();
        if let Some(connection) = state.connections.get(&key) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.connect(&mut state, setting).await?);
        state.connections.insert(key, Arc::clone(&connection));
        Ok(connection)
    }

    async fn connect(&self, state: &mut State, setting: &str) -> Result<Connection, Error> {
        let text = value(&self.settings, setting)?;
        if text.is_none()
            && let Some((spelled, parts)) = self.settings.connection_parts(setting)
        {
            return self.by_identity(state, setting, &spelled, &parts);
        }
        let Some(text) = text else {
            let embedded = match &state.embedded {
                Some(embedded) => embedded.clone(),
                None => {
                    let listeners = match self.usual_ports().await? {
                        Some(listeners) => listeners,
                        None => [any_port().await?, any_port().await?],
                    };
                    self.open(state, listeners).await?
                }
            };
            return Ok(Connection::embedded(setting, &embedded));
        };
        let wrong = |source| Error::Connection { setting: setting.to_owned(), source };
        let account = Account::parse(&text).map_err(wrong)?;
        if is_emulator(&account) {
            let wanted = self.options.ports;
            let is_ours = |ports| wanted == Ports::Any || wanted == Ports::At(ports);
            match &state.embedded {
                Some(embedded) if is_ours(embedded.ports) => {
                    return Ok(Connection::embedded(setting, embedded));
                }
                Some(_) => {}
                None => {
                    if let Some(listeners) = self.usual_ports().await? {
                        let embedded = self.open(state, listeners).await?;
                        return Ok(Connection::embedded(setting, &embedded));
                    }
                }
            }
        }
        Ok(Connection::remote(setting, account))
    }

    /// An account that the app's identity opens.
    fn by_identity(
        &self,
        state: &mut State,
        setting: &str,
        spelled: &str,
        parts: &[(&str, &str)],
    ) -> Result<Connection, Error> {
        let parts = parts::read(spelled, parts)?;
        let identity = match state.identities.get(&parts.client) {
            Some(identity) => identity.clone(),
            None => {
                let found = self.identity(parts.client.as_deref());
                let identity = found
                    .map_err(|source| Error::Identity { setting: spelled.to_owned(), source })?;
                state.identities.insert(parts.client.clone(), identity.clone());
                identity
            }
        };
        let endpoints = [parts.blob.as_deref(), parts.queue.as_deref()];
        let account =
            Account::of_identity(&parts.account, endpoints, Arc::new(parts::Bearer(identity)))
                .map_err(|source| parts::wrong(spelled, source))?;
        let connection = Connection::remote(setting, account);
        let what = format!("{} as the app's identity", connection.what);
        Ok(Connection { what, parts_of: Some(spelled.to_owned()), ..connection })
    }

    fn identity(&self, client: Option<&str>) -> Result<Identity, identity::Error> {
        let setting = |name: &str| match client {
            Some(client) if name == "AZURE_CLIENT_ID" => Some(client.to_owned()),
            _ => self.settings.get(name).map(str::to_owned),
        };
        Identity::from_settings(setting, everstep_azure::http_client())
    }

    /// The ports for blobs and queues, if nobody has one of them.
    async fn usual_ports(&self) -> Result<Option<[TcpListener; 2]>, Error> {
        let Ports::At([blob, queue]) = self.options.ports else {
            return Ok(Some([any_port().await?, any_port().await?]));
        };
        let bind = async |port| match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(Error::Listen(error)),
        };
        let (blob, queue) = (bind(blob).await?, bind(queue).await?);
        Ok(blob.zip(queue).map(|(blob, queue)| [blob, queue]))
    }

    /// Opens the service in this process and lets others reach it.
    async fn open(
        &self,
        state: &mut State,
        listeners: [TcpListener; 2],
    ) -> Result<Embedded, Error> {
        let Options { folder, service, .. } = self.options.clone();
        let opened = tokio::task::spawn_blocking(move || Service::open(&folder, service)).await;
        let service = opened.map_err(|error| Error::Listen(io::Error::other(error)))??;
        let mut ports = [0; 2];
        for ((port, listener), kind) in
            ports.iter_mut().zip(listeners).zip([Kind::Blob, Kind::Queue])
        {
            *port = listener.local_addr().map_err(Error::Listen)?.port();
            let (router, stopped) = (service.router(kind), self.stop.subscribe());
            let limits = Limits::default();
            state
                .listening
                .push(tokio::spawn(serve::serve(listener, None, router, limits, stopped, GRACE)));
        }
        let [blob, queue] = ports;
        tracing::info!(
            target: "Host.Storage",
            folder = %self.options.folder.display(),
            "storage in this process: blobs on http://127.0.0.1:{blob}, queues on http://127.0.0.1:{queue}"
        );
        let embedded = Embedded { service, account: Account::local(blob, queue), ports };
        state.embedded = Some(embedded.clone());
        Ok(embedded)
    }

    /// What is used, in a line for people; nothing if no storage is.
    pub(crate) async fn shown(&self) -> Option<String> {
        let state = self.state.lock().await;
        let mut places = BTreeMap::<&str, Vec<&str>>::new();
        for connection in state.connections.values() {
            places.entry(&connection.what).or_default().push(&connection.setting);
        }
        let lines: Vec<_> = places
            .into_iter()
            .map(|(what, settings)| format!("{what} ({})", settings.join(", ")))
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// Closes the service in this process.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut state = self.state.lock().await;
        for task in state.listening.drain(..) {
            drop(task.await);
        }
        state.connections.clear();
        state.embedded = None;
    }
}

/// A setting's connection string; none if it is missing or empty.
fn value(settings: &Settings, setting: &str) -> Result<Option<String>, Error> {
    match settings.connection(setting) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(error) if setting.contains(['=', ';']) => Err(Error::Setting(error)),
        Err(_) => Ok(None),
    }
}

/// Whether an account is that of an emulator on this machine.
fn is_emulator(account: &Account) -> bool {
    let usual = Account::local(BLOB_PORT, QUEUE_PORT);
    [Kind::Blob, Kind::Queue].into_iter().all(|kind| account.endpoint(kind) == usual.endpoint(kind))
}

async fn any_port() -> Result<TcpListener, Error> {
    TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.map_err(Error::Listen)
}

impl Connection {
    fn embedded(setting: &str, embedded: &Embedded) -> Self {
        let [blob, queue] = embedded.ports;
        Self {
            setting: setting.to_owned(),
            account: embedded.account.clone(),
            queues: Ok(embedded.service.queues()),
            blobs: Ok(embedded.service.blobs()),
            service: Some(embedded.service.clone()),
            what: format!(
                "in this process, blobs on http://127.0.0.1:{blob}, queues on http://127.0.0.1:{queue}"
            ),
            parts_of: None,
        }
    }

    fn remote(setting: &str, account: Account) -> Self {
        let hosts = [Kind::Blob, Kind::Queue].into_iter().filter_map(|kind| {
            let url = account.endpoint(kind).ok()?;
            let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
            Some(format!("{}{port}", url.host_str()?))
        });
        Self {
            setting: setting.to_owned(),
            what: hosts.collect::<Vec<_>>().join(", "),
            queues: Queues::new(&account),
            blobs: Blobs::new(&account),
            service: None,
            parts_of: None,
            account,
        }
    }

    pub(crate) fn queues(&self) -> Result<&Queues, Error> {
        self.queues.as_ref().map_err(|source| self.without(source))
    }

    pub(crate) fn blobs(&self) -> Result<&Blobs, Error> {
        self.blobs.as_ref().map_err(|source| self.without(source))
    }

    fn without(&self, source: &ConnectionError) -> Error {
        if let Some(spelled) = &self.parts_of {
            return Error::Parts(parts::wrong(spelled, source.clone()));
        }
        Error::Connection { setting: self.setting.clone(), source: source.clone() }
    }

    /// The address of a blob.
    pub(crate) fn uri(&self, container: &str, blob: &str) -> String {
        const KEPT: percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'.')
            .remove(b'_')
            .remove(b'~')
            .remove(b'/');
        let base = self.account.endpoint(Kind::Blob).map_or("", |url| url.as_str());
        let blob = percent_encoding::utf8_percent_encode(blob, &KEPT);
        format!("{}/{container}/{blob}", base.trim_end_matches('/'))
    }

    /// Puts a message into a queue, which is made if it is missing.
    pub(crate) async fn send(&self, queue: &str, text: &str) -> Result<PutReceipt, Error> {
        let queues = self.queues()?;
        match queues.put(queue, text, PutMessage::default()).await {
            Err(client::Error::NotFound { .. }) => {
                queues.create(queue).await?;
                Ok(queues.put(queue, text, PutMessage::default()).await?)
            }
            sent => Ok(sent?),
        }
    }

    /// Writes a blob into a container, which is made if it is missing, and returns its tag.
    pub(crate) async fn write(
        &self,
        container: &str,
        blob: &str,
        content: bytes::Bytes,
        how: &client::PutBlob,
    ) -> Result<String, Error> {
        let blobs = self.blobs()?;
        match blobs.put(container, blob, content.clone(), how).await {
            Err(client::Error::NotFound { .. }) => {
                blobs.create_container(container).await?;
                Ok(blobs.put(container, blob, content, how).await?)
            }
            written => Ok(written?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c2VjcmV0LXNlY3JldA==";

    fn storage(pairs: &[(&str, &str)], ports: Ports) -> (Arc<Storage>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = Options {
            folder: folder.path().join("storage"),
            ports,
            service: ServiceOptions::default(),
        };
        (Storage::new(Arc::new(Settings::from_pairs(pairs)), options), folder)
    }

    /// What is used for a setting, or why nothing is.
    async fn used(storage: &Storage, setting: &str) -> String {
        match storage.connection(setting).await {
            Ok(connection) if connection.service.is_some() => "in this process".to_owned(),
            Ok(connection) => connection.what.clone(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_setting_says_which_storage_it_is() {
        let account = format!("AccountName=acct;AccountKey={KEY}");
        let pairs = [
            ("Orders", account.as_str()),
            ("Bad", "AccountName=acct"),
            ("Empty", ""),
            ("Emulated", "UseDevelopmentStorage=true"),
            ("Identity__accountName", "acct"),
            ("AzureWebJobsOther__queueServiceUri", "https://other.queue.core.windows.net"),
            ("Odd__credential", "password"),
            ("Clear__queueServiceUri", "http://acct.queue.example"),
        ];
        let (storage, _folder) = storage(&pairs, Ports::Any);
        let remote = "acct.blob.core.windows.net, acct.queue.core.windows.net";
        for (setting, expected) in [
            ("Orders", remote.to_owned()),
            ("", "in this process".to_owned()),
            ("Missing", "in this process".to_owned()),
            ("Empty", "in this process".to_owned()),
            ("Emulated", "in this process".to_owned()),
            (
                "Bad",
                "the setting `Bad`: the connection string has no `AccountKey`; add `AccountKey=...` or `SharedAccessSignature=...`; both stand in the portal under \"Access keys\" and \"Shared access signature\"".to_owned(),
            ),
            ("Identity", format!("{remote} as the app's identity")),
            ("Other", "other.queue.core.windows.net as the app's identity".to_owned()),
            (
                "Odd",
                "the setting `Odd__credential` is `password`; write `managedidentity`, or leave it out".to_owned(),
            ),
            (
                "Clear",
                "the setting `Clear__queueServiceUri` is `http://acct.queue.example`; write it with `https://`: tokens do not travel in the clear".to_owned(),
            ),
        ] {
            assert_eq!(used(&storage, setting).await, expected, "{setting}");
        }
        let shown = storage.shown().await.unwrap();
        assert!(shown.contains(&format!("{remote} (Orders)")), "{shown}");
        assert!(shown.contains(&format!("{remote} as the app's identity (Identity)")), "{shown}");
        assert!(shown.contains("in this process, blobs on http://127.0.0.1:"), "{shown}");
        storage.stop().await;
    }

    /// A queue service that takes one token after the other, the first one never.
    async fn guarded(seen: Arc<std::sync::Mutex<Vec<(String, String)>>>) -> String {
        let answer = move |headers: http::HeaderMap| {
            let text = |name: &str| {
                headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
            };
            let (token, version) = (text("authorization"), text("x-ms-version"));
            let mut seen = seen.lock().unwrap();
            seen.push((token.clone(), version));
            let is_first = seen[0].0 == token;
            let status = if is_first { 401 } else { 200 };
            let body = if is_first { "" } else { "<QueueMessagesList/>" };
            std::future::ready((http::StatusCode::from_u16(status).unwrap(), body))
        };
        let router = axum::Router::new().fallback(answer);
        let listener = any_port().await.unwrap();
        let url = format!("http://{}/acct", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn an_identitys_token_opens_a_queue_and_is_renewed_when_it_is_refused() {
        let identity = everstep_stand_ins::identity::Identity::start().await;
        let seen = Arc::<std::sync::Mutex<Vec<(String, String)>>>::default();
        let url = guarded(Arc::clone(&seen)).await;
        let mut pairs = vec![
            ("Orders__queueServiceUri", url.clone()),
            ("Orders__credential", "managedIdentity".to_owned()),
            ("Orders__clientId", "42".to_owned()),
            ("Again__queueServiceUri", url),
            ("Again__clientId", "42".to_owned()),
        ];
        pairs.extend(identity.settings());
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (storage, _folder) = storage(&pairs, Ports::Any);
        for setting in ["Orders", "Again"] {
            let connection = storage.connection(setting).await.unwrap();
            for _ in 0..2 {
                assert!(connection.queues().unwrap().peek("orders", 1).await.unwrap().is_empty());
            }
            assert_eq!(
                connection.blobs().err().unwrap().to_string(),
                format!(
                    "the connection `{setting}` names no blob service; add `{setting}__blobServiceUri`"
                )
            );
        }
        assert_eq!(
            identity.calls("AppServiceToken"),
            2,
            "one for the refused one and one for all else"
        );
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 5);
        assert!(
            seen.iter()
                .all(|(token, version)| token.starts_with("Bearer ") && version == "2021-12-02")
        );
        let claims = seen[4].0.split('.').nth(1).unwrap();
        let claims =
            base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).unwrap();
        assert!(
            String::from_utf8(claims).unwrap().contains("\"aud\":\"https://storage.azure.com\"")
        );
        storage.stop().await;
    }

    #[tokio::test]
    async fn without_a_token_a_call_says_who_refused_it() {
        let identity = everstep_stand_ins::identity::Identity::start().await;
        let mut pairs = vec![("Orders__accountName", "acct".to_owned())];
        pairs.extend(identity.settings());
        pairs.retain(|(name, _)| *name != "IDENTITY_HEADER");
        pairs.push(("IDENTITY_HEADER", "wrong".to_owned()));
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (storage, _folder) = storage(&pairs, Ports::Any);
        let connection = storage.connection("Orders").await.unwrap();
        let error = connection.queues().unwrap().peek("orders", 1).await.unwrap_err().to_string();
        assert!(error.contains("there is no token for the storage account: the identity endpoint (`IDENTITY_ENDPOINT`) refused a token for `https://storage.azure.com` (400)"), "{error}");
        storage.stop().await;
    }

    #[tokio::test]
    async fn nothing_is_shown_where_nothing_is_used() {
        let (storage, folder) = storage(&[], Ports::Any);
        assert_eq!(storage.shown().await, None);
        storage.stop().await;
        assert!(!folder.path().join("storage").exists());
    }

    #[tokio::test]
    async fn where_an_emulator_answers_it_is_used_if_the_setting_means_it() {
        let taken = any_port().await.unwrap();
        let free = any_port().await.unwrap().local_addr().unwrap().port();
        let ports = Ports::At([taken.local_addr().unwrap().port(), free]);
        let (storage, _folder) = storage(&[("Emulated", "UseDevelopmentStorage=true")], ports);
        assert_eq!(used(&storage, "Emulated").await, "127.0.0.1:10000, 127.0.0.1:10001");
        assert_eq!(used(&storage, "Missing").await, "in this process");
        storage.stop().await;
    }

    #[tokio::test]
    async fn what_was_sent_can_be_got_by_others_over_http() {
        let (storage, _folder) = storage(&[], Ports::Any);
        let connection = storage.connection("").await.unwrap();
        connection.send("orders", "one").await.unwrap();
        connection.send("orders", "two").await.unwrap();
        let account = connection.account.clone();
        let got = Queues::new(&account).unwrap().peek("orders", 32).await.unwrap();
        let texts: Vec<_> = got.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(texts, ["one", "two"]);
        let how = client::PutBlob::default();
        connection.write("new", "a b", bytes::Bytes::from_static(b"x"), &how).await.unwrap();
        let (_, content) = Blobs::new(&account).unwrap().get("new", "a b").await.unwrap();
        assert_eq!(&content[..], b"x");
        assert!(connection.uri("new", "a b/c").ends_with("/devstoreaccount1/new/a%20b/c"));
        storage.stop().await;
    }
}
