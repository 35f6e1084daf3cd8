//! Sends requests and brings answers: over HTTP with signatures and repeats, or straight into the embedded service.

use std::{fmt, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, RETRY_AFTER},
};
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::{
    Metadata,
    error::{Error, Refusal},
};
use crate::{
    Clock, VERSION,
    account::{
        Account, ConnectionError, Credential, EMULATOR_ACCOUNT, Kind, Tokens, is_loopback, sign,
    },
    date, name,
    service::Core,
    system_clock, xml,
};

const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const IN_PATH: AsciiSet = UNRESERVED.remove(b'/');
/// How much of an error's body is read.
const ERROR_BYTES: usize = 64 << 10;

/// How calls over HTTP behave.
#[derive(Clone)]
pub struct ClientOptions {
    /// When to give up and how long to wait in between.
    pub backoff: Backoff,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the service may stay silent.
    pub read_timeout: Duration,
    /// The time that signed requests bear.
    pub clock: Clock,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
            clock: system_clock(),
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions").field("backoff", &self.backoff).finish_non_exhaustive()
    }
}

/// The waits between the attempts of one call. Each is drawn between half and all of its length, and doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How often a call is sent at most; at least once.
    pub attempts: u32,
    /// The first wait.
    pub first: Duration,
    /// No wait is longer, whatever the service asks for.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { attempts: 5, first: Duration::from_millis(500), longest: Duration::from_mins(1) }
    }
}

impl Backoff {
    /// How long to wait after the attempt of that number, counted from zero.
    fn wait(&self, attempt: u32, asked: Option<Duration>, draw: u8) -> Duration {
        let full = self.first.saturating_mul(1 << attempt.min(20)).min(self.longest);
        let drawn = full / 2 + full / 2 * u32::from(draw) / 255;
        asked.map_or(drawn, |asked| asked.max(drawn)).min(self.longest)
    }
}

/// Where calls go.
#[derive(Clone)]
pub(crate) enum Transport {
    Http(Arc<Remote>),
    Local(Arc<Core>, Kind),
}

pub(crate) struct Remote {
    http: reqwest::Client,
    account: Account,
    endpoint: Url,
    options: ClientOptions,
}

/// What shows that a request is allowed.
enum Proof<'a> {
    /// A signature over the request.
    Key(&'a [u8]),
    /// A part of its query.
    Signature(&'a str),
    /// A header; and who is told when it is refused.
    Token(&'a Arc<dyn Tokens>, String),
}

/// A header's value that logs do not show.
fn secret(value: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One call before it is sent.
pub(super) struct Call {
    doing: String,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// `doing` opens the text of each error; the path is given decoded.
    pub(super) fn new(method: Method, path: &str, doing: String) -> Self {
        let path = utf8_percent_encode(path, &IN_PATH).to_string();
        Self {
            doing,
            method,
            path,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value).map_err(|_| {
            Error::invalid(
                &self.doing,
                format!("the value of `{name}` cannot be a header; use ASCII without line ends"),
            )
        })?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    pub(super) fn metadata(mut self, metadata: &Metadata) -> Result<Self, Error> {
        for (key, value) in metadata {
            let problem = || {
                Error::invalid(
                    &self.doing,
                    format!(
                        "the metadata `{key}` cannot be sent; names are identifiers, values ASCII text"
                    ),
                )
            };
            let header = HeaderName::try_from(format!("x-ms-meta-{key}"));
            let header = header.ok().filter(|_| name::is_metadata(key)).ok_or_else(problem)?;
            let value = value.is_ascii().then(|| HeaderValue::from_str(value).ok()).flatten();
            self.headers.insert(header, value.ok_or_else(problem)?);
        }
        Ok(self)
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn query_string(&self) -> String {
        let pair = |(name, value): &(&str, String)| {
            format!("{name}={}", utf8_percent_encode(value, &UNRESERVED))
        };
        self.query.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

/// A successful answer.
pub(super) struct Answer {
    pub(super) doing: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: AnswerBody,
}

enum AnswerBody {
    Http(reqwest::Response),
    Local(Body),
}

impl Answer {
    /// The next bytes of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let broken = |reason: String| Error::Transport {
            doing: self.doing.clone(),
            host: "the storage service".to_owned(),
            reason,
        };
        match &mut self.body {
            AnswerBody::Http(response) => {
                response.chunk().await.map_err(|error| broken(network_reason(error)))
            }
            AnswerBody::Local(body) => loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(broken(error.to_string())),
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            return Ok(Some(bytes));
                        }
                    }
                }
            },
        }
    }

    /// The whole body.
    pub(super) async fn bytes(&mut self) -> Result<Bytes, Error> {
        self.bytes_up_to(usize::MAX).await
    }

    async fn bytes_up_to(&mut self, most: usize) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if whole.is_empty() && bytes.len() as u64 == self.length().unwrap_or(0) {
                return Ok(bytes);
            }
            whole.extend_from_slice(&bytes);
            if whole.len() > most {
                break;
            }
        }
        Ok(whole.freeze())
    }

    /// The whole body as a document.
    pub(super) async fn document(&mut self) -> Result<xml::Element, Error> {
        let body = self.bytes().await?;
        xml::parse(&body).ok_or_else(|| Error::strange(&self.doing, "is not XML"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header that has to be there.
    pub(super) fn need(&self, name: &'static str) -> Result<&str, Error> {
        let strange = || Error::strange(&self.doing, &format!("has no header `{name}`"));
        self.header(name).ok_or_else(strange)
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    pub(super) fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        for (name, value) in &self.headers {
            if let Some(name) = name.as_str().strip_prefix("x-ms-meta-") {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                metadata.insert(name.to_owned(), value);
            }
        }
        metadata
    }

    async fn refusal(mut self) -> Refusal {
        let header_code = self.header("x-ms-error-code").map(str::to_owned);
        let after = self.header(RETRY_AFTER.as_str()).and_then(|after| after.trim().parse().ok());
        let body = self.bytes_up_to(ERROR_BYTES).await.unwrap_or_default();
        let document = xml::parse(&body).unwrap_or_default();
        let message = document.text_of("Message").lines().next().unwrap_or_default().to_owned();
        let code = Some(document.text_of("Code").to_owned()).filter(|code| !code.is_empty());
        Refusal {
            status: self.status,
            code: code.or(header_code).unwrap_or_else(|| code_of(self.status).to_owned()),
            message: if message.is_empty() { self.status.to_string() } else { message },
            after: after.map(Duration::from_secs),
        }
    }
}

/// What stands for a code where the answer has no body, as those to `HEAD`.
fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "ResourceNotFound",
        StatusCode::PRECONDITION_FAILED => "ConditionNotMet",
        StatusCode::FORBIDDEN => "AuthorizationFailure",
        _ => "Unknown",
    }
}

impl Transport {
    pub(super) fn connect(
        account: &Account,
        kind: Kind,
        options: ClientOptions,
    ) -> Result<Self, ConnectionError> {
        let endpoint = account.endpoint(kind)?.clone();
        let mut http = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&endpoint) {
            http = http.no_proxy();
        }
        let http = http.build().expect("the TLS library starts and the system's settings are read");
        let account = account.clone();
        Ok(Self::Http(Arc::new(Remote { http, account, endpoint, options })))
    }

    /// The answer, if it is a success.
    pub(super) async fn send(&self, call: Call) -> Result<Answer, Error> {
        match self {
            Self::Http(remote) => remote.send(call).await,
            Self::Local(core, kind) => send_local(core, *kind, call).await,
        }
    }
}

async fn send_local(core: &Arc<Core>, kind: Kind, call: Call) -> Result<Answer, Error> {
    let uri = format!("/{EMULATOR_ACCOUNT}{}?{}", call.path, call.query_string());
    let mut request = Request::new(Body::from(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() =
        uri.parse().map_err(|_| Error::invalid(&call.doing, "the name is too long"))?;
    *request.headers_mut() = call.headers;
    let (parts, body) = core.answer_trusted(kind, request).await.into_parts();
    let (status, headers) = (parts.status, parts.headers);
    let answer = Answer { doing: call.doing, status, headers, body: AnswerBody::Local(body) };
    success(answer).await
}

async fn success(answer: Answer) -> Result<Answer, Error> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let doing = answer.doing.clone();
    Err(Error::of_answer(&doing, answer.refusal().await))
}

impl Remote {
    async fn send(&self, call: Call) -> Result<Answer, Error> {
        let request_id = random_id();
        let (mut attempt, mut renewed) = (0, false);
        loop {
            let proof = self.proof(&call.doing).await?;
            let (error, asked) = match self.attempt(&call, &request_id, &proof).await {
                // A token may have been taken back before its end: once, a new one is tried.
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !renewed => {
                    let Proof::Token(tokens, token) = &proof else { return success(answer).await };
                    tokens.refused(token).await;
                    renewed = true;
                    continue;
                }
                Ok(answer) if is_passing(answer.status) => {
                    let refusal = answer.refusal().await;
                    let after = refusal.after;
                    (Error::of_answer(&call.doing, refusal), after)
                }
                Ok(answer) => return success(answer).await,
                Err(error @ Error::Transport { .. }) => (error, None),
                Err(error) => return Err(error),
            };
            if attempt + 1 >= self.options.backoff.attempts {
                return Err(error);
            }
            let [draw] = random();
            let wait = self.options.backoff.wait(attempt, asked, draw);
            tracing::debug!(attempt, ?wait, %error, "a storage call is repeated");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// What will show that the request is allowed.
    async fn proof<'a>(&'a self, doing: &str) -> Result<Proof<'a>, Error> {
        match self.account.credential() {
            Credential::Key(key) => Ok(Proof::Key(key)),
            Credential::Signature(signature) => Ok(Proof::Signature(signature)),
            Credential::Tokens(tokens) => match tokens.token().await {
                Ok(token) => Ok(Proof::Token(tokens, token)),
                Err(reason) => Err(Error::Token { doing: doing.to_owned(), reason }),
            },
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        request_id: &str,
        proof: &Proof<'_>,
    ) -> Result<Answer, Error> {
        let mut url = self.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{}", call.path));
        let mut query = call.query_string();
        url.set_query(Some(&query).filter(|query| !query.is_empty()).map(String::as_str));
        let mut headers = call.headers.clone();
        self.add_headers(&mut headers, call, request_id);
        match proof {
            Proof::Key(key) => {
                let signed = sign::Signed {
                    method: &call.method,
                    path: url.path(),
                    query: url.query().unwrap_or_default(),
                    headers: &headers,
                };
                let value = sign::authorization(self.account.name(), key, signed);
                headers.insert(AUTHORIZATION, secret(value).expect("names and base64 are ASCII"));
            }
            Proof::Token(_, token) => {
                let strange = || Error::Token {
                    doing: call.doing.clone(),
                    reason: "what came is no token".to_owned(),
                };
                let value = secret(format!("Bearer {token}")).ok_or_else(strange)?;
                headers.insert(AUTHORIZATION, value);
            }
            Proof::Signature(signature) => {
                if !query.is_empty() {
                    query.push('&');
                }
                query.push_str(signature);
                url.set_query(Some(&query));
            }
        }
        let request = self.http.request(call.method.clone(), url).headers(headers);
        let response = request.body(call.body.clone()).send().await.map_err(|error| {
            let host = self.endpoint.host_str().unwrap_or_default().to_owned();
            Error::Transport { doing: call.doing.clone(), host, reason: network_reason(error) }
        })?;
        Ok(Answer {
            doing: call.doing.clone(),
            status: response.status(),
            headers: response.headers().clone(),
            body: AnswerBody::Http(response),
        })
    }

    fn add_headers(&self, headers: &mut HeaderMap, call: &Call, request_id: &str) {
        let mut insert = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).expect("dates and numbers are ASCII");
            headers.insert(HeaderName::from_static(name), value);
        };
        insert("x-ms-date", &date::rfc1123(date::millis((self.options.clock)())));
        insert("x-ms-version", VERSION);
        insert("x-ms-client-request-id", request_id);
        if call.method == Method::PUT || call.method == Method::POST {
            insert(CONTENT_LENGTH.as_str(), &call.body.len().to_string());
        }
    }
}

/// Whether the same request may succeed a moment later.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// What the network said, without the address: its query may hold a signature.
fn network_reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    reason
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A random id in the form of a UUID.
pub(crate) fn random_id() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_respect_what_the_service_asks_for() {
        let backoff = Backoff::default();
        let millis = |attempt, asked, draw| backoff.wait(attempt, asked, draw).as_millis();
        assert_eq!((millis(0, None, 0), millis(0, None, 255)), (250, 500));
        assert_eq!((millis(3, None, 0), millis(3, None, 255)), (2_000, 4_000));
        assert_eq!(millis(60, None, 255), 60_000);
        assert_eq!(millis(0, Some(Duration::from_secs(7)), 0), 7_000);
        assert_eq!(millis(0, Some(Duration::from_secs(700)), 0), 60_000);
    }

    #[test]
    fn ids_have_the_form_of_a_uuid() {
        let id = random_id();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert_ne!(id, random_id());
    }
}
