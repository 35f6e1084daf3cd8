//! Tokens of the identity that the app runs as.
//!
//! The chain, by what is set: workload identity (a token file of the cluster), then the identity endpoint of App Service,
//! Functions and Container Apps, then the metadata service of a virtual machine.
//!
//! I1  A token is used until five minutes before it expires. While fetching a new one fails, the old one serves to its end.
//! I2  For each resource one request for a token is under way at a time; those who wait share its outcome, also its failure.
//! I3  No error and no `Debug` holds a token, an assertion or the endpoint's secret header.
//!
//! Absent on purpose: secrets and certificates of applications, and the sign-ins of developers' tools. Start at
//! [`Identity::from_settings`].

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use reqwest::{Client, RequestBuilder, Url};
use serde_json::Value;

use crate::{
    Clock, Invalid,
    retry::{Passing, Policy},
    system_clock, wire,
};

/// The resource of Azure Monitor, for log uploads.
pub const MONITOR: &str = "https://monitor.azure.com/";
/// The resource of Azure Storage.
pub const STORAGE: &str = "https://storage.azure.com";
/// The resource of the management API. Roles of other clouds that trust an Azure identity name it as their audience.
pub const MANAGEMENT: &str = "https://management.azure.com/";

const METADATA_HOST: &str = "http://169.254.169.254";
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// A token is renewed that long before its end.
const MARGIN: Duration = Duration::from_mins(5);
/// How long the metadata service of a virtual machine may take to show that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The identity that the app runs as. A clone shares its tokens.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    http: Client,
    waits: Waits,
    clock: Clock,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// Repeats of a request for a token.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For an endpoint that is busy or not ready.
    pub busy: Policy,
    /// For a metadata service that is being updated, which takes up to 70 seconds.
    pub updating: Policy,
}

impl Default for Waits {
    fn default() -> Self {
        let busy = Policy { attempts: 6, longest: Duration::from_secs(16), ..Policy::default() };
        // Half of 2 + 4 + 8 + 16 + 5 * 32 seconds is what they are at least: 95.
        let updating = Policy {
            attempts: 10,
            first: Duration::from_secs(2),
            longest: Duration::from_secs(32),
            ..Policy::default()
        };
        Self { busy, updating }
    }
}

/// The newest token of a resource, and the newest failure to get one.
#[derive(Default)]
struct Slot {
    token: Option<Token>,
    failed: Option<(Instant, Error)>,
}

/// Where tokens come from.
enum Source {
    Workload { file: PathBuf, client: String, url: Url },
    AppService { url: Url, header: HeaderValue, client: Option<String> },
    Machine { url: Url, client: Option<String>, http: Client, found: tokio::sync::OnceCell<()> },
}

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    expires: Timestamp,
}

impl Token {
    /// The text that goes after `Bearer`.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// When it ends.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(hidden, expires {})", self.expires)
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A variable is missing or wrong. Nothing was sent.
    #[error("`{variable}` {problem}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it and what to write.
        problem: String,
    },
    /// The file with the cluster's token cannot be read.
    #[error("the file that `AZURE_FEDERATED_TOKEN_FILE` names cannot be read: {reason}")]
    TokenFile {
        /// What the system said.
        reason: String,
    },
    /// No identity was found anywhere.
    #[error(
        "no identity is here: neither `AZURE_FEDERATED_TOKEN_FILE` nor `IDENTITY_ENDPOINT` is set, and no metadata service answers ({reason}); give the app a managed identity, or configure keys"
    )]
    None {
        /// What the network said.
        reason: String,
    },
    /// Whoever gives tokens refused. Asking again gives the same answer.
    #[error("{step} refused a token for `{resource}` ({status}): {message}")]
    Refused {
        /// Who refused.
        step: &'static str,
        /// For what the token would be.
        resource: String,
        /// The status of the answer.
        status: u16,
        /// The reason in the answer.
        message: String,
    },
    /// Whoever gives tokens is busy and stayed so through all attempts.
    #[error("{step} has no token for `{resource}` at present ({status}); try again later")]
    Busy {
        /// Who is busy.
        step: &'static str,
        /// For what the token would be.
        resource: String,
        /// The status of the answer.
        status: u16,
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// No answer came, through all attempts.
    #[error("{step} does not answer: {reason}")]
    Unreachable {
        /// Who does not answer.
        step: &'static str,
        /// What the network said.
        reason: String,
    },
    /// An answer that is no token.
    #[error(
        "{step} answered a request for a token for `{resource}` with something else: {problem}"
    )]
    Strange {
        /// Who answered.
        step: &'static str,
        /// For what the token would be.
        resource: String,
        /// What is wrong with the answer.
        problem: &'static str,
    },
}

impl Passing for Error {
    fn is_worth_retrying(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unreachable { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Identity {
    /// Finds out from settings which identity the app has. Nothing is sent before the first token is wanted.
    pub fn from_settings(
        setting: impl Fn(&str) -> Option<String>,
        http: Client,
    ) -> Result<Self, Error> {
        let setting = |name: &str| setting(name).filter(|value| !value.trim().is_empty());
        let source = Source::of(&setting)?;
        let shared = Shared {
            source,
            http,
            waits: Waits::default(),
            clock: system_clock(),
            slots: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The same identity with other waits and another clock, for tests.
    #[must_use]
    pub fn with(self, waits: Waits, clock: Clock) -> Self {
        let shared = Arc::into_inner(self.shared).expect("it is set up before it is shared");
        Self { shared: Arc::new(Shared { waits, clock, ..shared }) }
    }

    /// A token for a resource, such as [`MONITOR`]; from memory while it is good.
    pub async fn token(&self, resource: &str) -> Result<Token, Error> {
        let asked = Instant::now();
        let slot = self.slot(resource);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.token.as_ref().filter(|token| self.lasts(token, MARGIN)) {
            return Ok(token.clone());
        }
        if let Some((failed, error)) = &slot.failed
            && *failed > asked
        {
            return self.rest_of(&slot).ok_or_else(|| error.clone());
        }
        match self.fetch(resource).await {
            Ok(token) => {
                *slot = Slot { token: Some(token.clone()), failed: None };
                Ok(token)
            }
            Err(error) => {
                slot.failed = Some((Instant::now(), error.clone()));
                self.rest_of(&slot).ok_or(error)
            }
        }
    }

    /// Forgets a token that a service refused, so that the next one is new.
    pub async fn forget(&self, resource: &str, refused: &Token) {
        let slot = self.slot(resource);
        let mut slot = slot.lock().await;
        if slot.token.as_ref() == Some(refused) {
            slot.token = None;
        }
    }

    fn slot(&self, resource: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.shared.slots.lock().expect("nothing panics while it is held");
        Arc::clone(slots.entry(resource.to_owned()).or_default())
    }

    /// What is left of a token that should be renewed and cannot be.
    fn rest_of(&self, slot: &Slot) -> Option<Token> {
        slot.token.clone().filter(|token| self.lasts(token, Duration::ZERO))
    }

    fn lasts(&self, token: &Token, margin: Duration) -> bool {
        let now = Timestamp::try_from((self.shared.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        token.expires.duration_since(now).as_secs() > i64::try_from(margin.as_secs()).unwrap_or(0)
    }

    async fn fetch(&self, resource: &str) -> Result<Token, Error> {
        self.shared.source.probe().await?;
        let mut attempt = 0;
        loop {
            let error = match self.ask(resource).await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            let waits = &self.shared.waits;
            let policy = match &error {
                Error::Busy { status: 410, .. } => &waits.updating,
                _ => &waits.busy,
            };
            let Some(wait) = policy.wait(attempt, &error) else { return Err(error) };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn ask(&self, resource: &str) -> Result<Token, Error> {
        let source = &self.shared.source;
        let step = source.step();
        let response =
            source.request(&self.shared.http, resource)?.send().await.map_err(|error| {
                Error::Unreachable { step, reason: wire::network_reason(error) }
            })?;
        let (status, retry_after) = (response.status(), wire::retry_after(response.headers()));
        let body = wire::beginning(response).await;
        if status.is_success() {
            let strange = |problem| Error::Strange { step, resource: resource.to_owned(), problem };
            let now = Timestamp::try_from((self.shared.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
            return read_token(&body, now).map_err(strange);
        }
        let (resource, code) = (resource.to_owned(), status.as_u16());
        if source.is_passing(status) {
            return Err(Error::Busy { step, resource, status: code, retry_after });
        }
        Err(Error::Refused { step, resource, status: code, message: refusal(&body) })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.shared.source.step())
    }
}

impl Source {
    fn of(setting: &impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        if let Some(file) = setting("AZURE_FEDERATED_TOKEN_FILE") {
            return Self::workload(file, setting);
        }
        let client = setting("AZURE_CLIENT_ID");
        if let Some(endpoint) = setting("IDENTITY_ENDPOINT") {
            let url = address("IDENTITY_ENDPOINT", &endpoint)?;
            let secret = setting("IDENTITY_HEADER").ok_or_else(|| Error::Setting {
                variable: "IDENTITY_HEADER",
                problem: "is not set, though `IDENTITY_ENDPOINT` is; the platform sets both, so set both or neither".to_owned(),
            })?;
            let header = HeaderValue::from_str(&secret).map_err(|_| Error::Setting {
                variable: "IDENTITY_HEADER",
                problem: "cannot be sent as a header; copy it as the platform gives it".to_owned(),
            });
            let mut header = header?;
            header.set_sensitive(true);
            return Ok(Self::AppService { url, header, client });
        }
        let variable = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
        let host = setting(variable).unwrap_or_else(|| METADATA_HOST.to_owned());
        let url = wire::below(&address(variable, &host)?, "/metadata/identity/oauth2/token");
        // The metadata service is on the machine's own link; a proxy would answer for another machine.
        let http = Client::builder()
            .no_proxy()
            .connect_timeout(PROBE_TIMEOUT)
            .read_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the TLS library starts");
        Ok(Self::Machine { url, client, http, found: tokio::sync::OnceCell::new() })
    }

    fn workload(file: String, setting: &impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let need = |variable: &'static str| {
            setting(variable).ok_or_else(|| Error::Setting {
                variable,
                problem: "is not set, though `AZURE_FEDERATED_TOKEN_FILE` is; the cluster's webhook sets all three when the pod's service account is annotated".to_owned(),
            })
        };
        let (client, tenant) = (need("AZURE_CLIENT_ID")?, need("AZURE_TENANT_ID")?);
        let variable = "AZURE_AUTHORITY_HOST";
        let authority = setting(variable).unwrap_or_else(|| AUTHORITY.to_owned());
        let authority =
            wire::endpoint("address", &authority).map_err(|error| wrong(variable, &error))?;
        let tenant = utf8_percent_encode(&tenant, &wire::RESERVED);
        let url = wire::below(&authority, &format!("/{tenant}/oauth2/v2.0/token"));
        Ok(Self::Workload { file: PathBuf::from(file), client, url })
    }

    /// Who gives the tokens, as errors name it.
    fn step(&self) -> &'static str {
        match self {
            Self::Workload { .. } => "the authority of the workload identity",
            Self::AppService { .. } => "the identity endpoint (`IDENTITY_ENDPOINT`)",
            Self::Machine { .. } => "the metadata service of the virtual machine",
        }
    }

    /// Whether the service is there at all, asked once. Without its header it refuses, which is an answer too.
    async fn probe(&self) -> Result<(), Error> {
        let Self::Machine { url, http, found, .. } = self else { return Ok(()) };
        let ask = || async {
            let sent = http.get(url.clone()).timeout(PROBE_TIMEOUT).send().await;
            sent.map(drop).map_err(|error| Error::None { reason: wire::network_reason(error) })
        };
        found.get_or_try_init(ask).await.map(drop)
    }

    fn request(&self, http: &Client, resource: &str) -> Result<RequestBuilder, Error> {
        match self {
            Self::Workload { file, client, url } => {
                let assertion = std::fs::read_to_string(file)
                    .map_err(|error| Error::TokenFile { reason: error.to_string() })?;
                let form = form(&[
                    ("grant_type", "client_credentials"),
                    ("client_id", client),
                    (
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    ),
                    ("client_assertion", assertion.trim()),
                    ("scope", &format!("{resource}/.default")),
                ]);
                let request = http.post(url.clone()).body(form);
                Ok(request.header("content-type", "application/x-www-form-urlencoded"))
            }
            Self::AppService { url, header, client } => {
                let url = with_query(url, "2019-08-01", resource, client.as_deref());
                Ok(http.get(url).header("x-identity-header", header.clone()))
            }
            Self::Machine { url, client, http, .. } => {
                let url = with_query(url, "2018-02-01", resource, client.as_deref());
                Ok(http.get(url).header("metadata", "true"))
            }
        }
    }

    /// Whether the answer may be another one a moment later.
    fn is_passing(&self, status: StatusCode) -> bool {
        let early = matches!(self, Self::Machine { .. }) && matches!(status.as_u16(), 404 | 410);
        early || matches!(status.as_u16(), 408 | 429 | 500..)
    }
}

fn address(variable: &'static str, text: &str) -> Result<Url, Error> {
    wire::web_address("address", text).map_err(|error| wrong(variable, &error))
}

fn wrong(variable: &'static str, error: &Invalid) -> Error {
    Error::Setting { variable, problem: format!("is `{}`; {}", error.value, error.hint) }
}

fn with_query(url: &Url, version: &str, resource: &str, client: Option<&str>) -> Url {
    let mut url = url.clone();
    let mut query = form(&[("api-version", version), ("resource", resource)]);
    if let Some(client) = client {
        query.push('&');
        query.push_str(&form(&[("client_id", client)]));
    }
    url.set_query(Some(&query));
    url
}

fn form(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| {
        format!("{name}={}", utf8_percent_encode(value, &wire::RESERVED))
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn read_token(body: &[u8], now: Timestamp) -> Result<Token, &'static str> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "it is no JSON")?;
    let secret = answer["access_token"].as_str().ok_or("it has no `access_token`")?;
    if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its `access_token` is no token");
    }
    let at = seconds(&answer["expires_on"]);
    let after = seconds(&answer["expires_in"]).and_then(|after| now.as_second().checked_add(after));
    let expires = at.or(after).and_then(|second| Timestamp::from_second(second).ok());
    let expires = expires.ok_or("it does not say when the token expires")?;
    Ok(Token { secret: secret.to_owned(), expires })
}

/// A number, or a text that is one.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The reason in an error's body, of which there are two shapes.
fn refusal(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let texts = [
        &answer["error_description"],
        &answer["error"]["message"],
        &answer["message"],
        &answer["error"],
    ];
    match texts.iter().find_map(|text| text.as_str()) {
        Some(text) => wire::shown(text),
        None => "no reason is given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(settings: &[(&str, &str)]) -> Result<Identity, String> {
        let setting = |name: &str| {
            settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Identity::from_settings(setting, Client::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_chain_is_workload_then_endpoint_then_machine() {
        let shown = |settings: &[(&str, &str)]| format!("{:?}", from(settings).unwrap());
        let endpoint = ("IDENTITY_ENDPOINT", "http://10.0.0.1/msi");
        let header = ("IDENTITY_HEADER", "secret");
        let file = ("AZURE_FEDERATED_TOKEN_FILE", "token");
        let (client, tenant) = (("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "t"));
        assert_eq!(
            shown(&[endpoint, header, file, client, tenant]),
            "Identity(the authority of the workload identity)"
        );
        assert_eq!(
            shown(&[endpoint, header]),
            "Identity(the identity endpoint (`IDENTITY_ENDPOINT`))"
        );
        assert_eq!(
            shown(&[("IDENTITY_ENDPOINT", " ")]),
            "Identity(the metadata service of the virtual machine)"
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (
                &[("IDENTITY_ENDPOINT", "http://h/msi")],
                "`IDENTITY_HEADER` is not set, though `IDENTITY_ENDPOINT` is; the platform sets both, so set both or neither",
            ),
            (
                &[("IDENTITY_ENDPOINT", "h/msi"), ("IDENTITY_HEADER", "s")],
                "`IDENTITY_ENDPOINT` is `h/msi`; write an address such as `https://name.example.net`, without a query",
            ),
            (
                &[("IDENTITY_ENDPOINT", "http://h/msi"), ("IDENTITY_HEADER", "a\nb")],
                "`IDENTITY_HEADER` cannot be sent as a header; copy it as the platform gives it",
            ),
            (
                &[("AZURE_FEDERATED_TOKEN_FILE", "f"), ("AZURE_CLIENT_ID", "c")],
                "`AZURE_TENANT_ID` is not set, though `AZURE_FEDERATED_TOKEN_FILE` is; the cluster's webhook sets all three when the pod's service account is annotated",
            ),
            (
                &[
                    ("AZURE_FEDERATED_TOKEN_FILE", "f"),
                    ("AZURE_CLIENT_ID", "c"),
                    ("AZURE_TENANT_ID", "t"),
                    ("AZURE_AUTHORITY_HOST", "http://login.example"),
                ],
                "`AZURE_AUTHORITY_HOST` is `http://login.example`; write it with `https://`: secrets do not travel in the clear",
            ),
        ];
        for (settings, expected) in cases {
            assert_eq!(from(settings).unwrap_err(), *expected);
        }
    }

    #[test]
    fn tokens_are_read_with_both_forms_of_their_end() {
        let now = Timestamp::from_second(1_000).unwrap();
        let read =
            |text: &str| read_token(text.as_bytes(), now).map(|token| token.expires.as_second());
        assert_eq!(read(r#"{"access_token":"t","expires_on":"1795"}"#), Ok(1795));
        assert_eq!(read(r#"{"access_token":"t","expires_on":1795,"expires_in":5}"#), Ok(1795));
        assert_eq!(read(r#"{"access_token":"t","expires_in":"60"}"#), Ok(1060));
        assert_eq!(read(r#"{"access_token":"t"}"#), Err("it does not say when the token expires"));
        assert_eq!(
            read(r#"{"access_token":"a b","expires_in":1}"#),
            Err("its `access_token` is no token")
        );
        assert_eq!(read("{}"), Err("it has no `access_token`"));
        assert_eq!(read("<html>"), Err("it is no JSON"));
    }

    #[test]
    fn debug_hides_the_token() {
        let token = Token { secret: "very-secret".to_owned(), expires: Timestamp::UNIX_EPOCH };
        assert_eq!(format!("{token:?}"), "Token(hidden, expires 1970-01-01T00:00:00Z)");
    }
}
