//! The seven calls at AWS: a role's temporary keys, a queue, objects.
//!
//! W1  A call is one request. Whether to repeat it is the caller's decision, by what the error says.
//! W2  No error and no `Debug` holds a key, a token or a signed header.
//! W3  Keys that a service calls expired are renewed at once, and the call is made again, once.
//!
//! Absent on purpose: chains of credentials, regions of buckets, paging, everything else of an SDK
//! (docs/decisions/0018-own-aws-client.md). Start at [`Aws::new`].

pub(crate) mod credentials;
pub(crate) mod objects;
pub(crate) mod queue;
mod sign;

use std::{sync::Arc, time::Duration};

use everstep_azure::{Clock, identity, retry::Passing};
use jiff::Timestamp;
use quick_xml::{Reader, events::Event};
use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
};

use self::{credentials::Credentials, sign::Scope};

/// What an answer that is no object may be long.
const ANSWER_BYTES: usize = 16 << 20;

/// AWS, as one role sees it. A clone shares the keys.
#[derive(Clone)]
pub(crate) struct Aws {
    http: Client,
    credentials: Arc<Credentials>,
    region: String,
    /// Where everything is, if it is not where the region says.
    endpoint: Option<Url>,
    clock: Clock,
}

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The service does not do it, now or later.
    #[error("{service} refused ({status} {code}): {message}{advice}")]
    Refused { service: Service, status: u16, code: String, message: String, advice: &'static str },
    /// It may do it in a moment.
    #[error("{service} is busy ({status} {code})")]
    Busy { service: Service, status: u16, code: String, retry_after: Option<Duration> },
    /// No answer came.
    #[error("{service} does not answer: {reason}")]
    Unreachable { service: Service, reason: String },
    /// An answer that is none of the protocol.
    #[error("{service} answered with something else: {problem}")]
    Strange { service: Service, problem: String },
    /// A name that no address can have.
    #[error("{0}")]
    Address(String),
    /// There is no token to ask for keys with.
    #[error(transparent)]
    Identity(#[from] identity::Error),
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Tokens,
    Queue,
    Objects,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tokens => "AWS STS",
            Self::Queue => "the queue at AWS",
            Self::Objects => "the object store at AWS",
        })
    }
}

impl Error {
    /// There is no such thing, as far as the role may know.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { service: Service::Objects, status: 403 | 404, .. })
    }

    fn says_expired(&self) -> bool {
        const CODES: [&str; 5] = [
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
            "InvalidToken",
            "InvalidAccessKeyId",
        ];
        matches!(self, Self::Refused { service: Service::Queue | Service::Objects, code, .. } if CODES.contains(&code.as_str()))
    }
}

impl Passing for Error {
    fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Unreachable { .. } => true,
            Self::Identity(error) => error.is_worth_retrying(),
            Self::Refused { .. } | Self::Strange { .. } | Self::Address(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            Self::Identity(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// A request before it is signed.
struct Call {
    service: Service,
    region: String,
    method: Method,
    url: Url,
    /// Names in lower case.
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Aws {
    pub(crate) fn new(
        http: Client,
        credentials: Credentials,
        region: String,
        endpoint: Option<&str>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let endpoint = endpoint.map(address).transpose()?;
        Ok(Self { http, credentials: Arc::new(credentials), region, endpoint, clock })
    }

    /// The domain below which the region's services are.
    fn domain(region: &str) -> &'static str {
        if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
    }

    /// Sends it signed; what is no success becomes an error.
    async fn send(&self, call: &Call) -> Result<Response, Error> {
        match self.send_once(call).await {
            Err(error) if error.says_expired() => {
                self.credentials.forget().await;
                self.send_once(call).await
            }
            ended => ended,
        }
    }

    async fn send_once(&self, call: &Call) -> Result<Response, Error> {
        let keys = self.credentials.keys().await?;
        let now = Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        let scope = Scope { region: &call.region, service: call.service, now };
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        for (name, value) in sign::headers(call, &keys, &scope) {
            let value = HeaderValue::try_from(value).map(|mut value| {
                value.set_sensitive(true);
                value
            });
            let strange = |_| strange(Service::Tokens, "keys that no header can hold");
            request = request.header(name, value.map_err(strange)?);
        }
        let sent = request.body(call.body.clone()).send().await;
        let response = sent.map_err(|error| unreachable(call.service, error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(call.service, response).await)
    }
}

fn strange(service: Service, problem: &str) -> Error {
    Error::Strange { service, problem: problem.to_owned() }
}

fn address(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|error| Error::Address(format!("`{text}` is no address: {error}")))
}

fn unreachable(service: Service, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    Error::Unreachable { service, reason }
}

/// What an answer that is no success means.
async fn refusal(service: Service, response: Response) -> Error {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let region = response.headers().get("x-amz-bucket-region").cloned();
    let body = whole(service, response).await.unwrap_or_default();
    let (code, message) = told(&body);
    let code =
        code.unwrap_or_else(|| status.canonical_reason().unwrap_or("no code").replace(' ', ""));
    let is_busy = [
        "Throttl",
        "SlowDown",
        "RequestLimitExceeded",
        "OverLimit",
        "IDPCommunicationError",
        "RequestTimeout",
    ]
    .iter()
    .any(|busy| code.contains(busy));
    let number = status.as_u16();
    if is_busy || status.is_server_error() || number == 429 || number == 408 {
        return Error::Busy { service, status: number, code, retry_after };
    }
    let mut message = message.unwrap_or_else(|| untold(service, status).to_owned());
    if let Some(region) =
        region.as_ref().and_then(|region| region.to_str().ok()).filter(|_| status.is_redirection())
    {
        message = format!("the bucket is in {region}; set AWS_REGION to it");
    }
    Error::Refused { service, status: number, code, message, advice: advice(service, status) }
}

/// What a status means that came without a text, as those of heads do.
fn untold(service: Service, status: StatusCode) -> &'static str {
    match (service, status) {
        (Service::Objects, StatusCode::NOT_FOUND) => "there is no such object or bucket",
        _ => "no text",
    }
}

fn advice(service: Service, status: StatusCode) -> &'static str {
    match (service, status) {
        (Service::Tokens, _) => {
            "; check AWS_ROLE_ARN and that the role trusts this identity with the audience https://management.azure.com/"
        }
        (Service::Queue, StatusCode::FORBIDDEN) => {
            "; allow the role sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility"
        }
        (Service::Objects, StatusCode::FORBIDDEN) => {
            "; the object is missing, or the role lacks s3:GetObject on the bucket"
        }
        _ => "",
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The whole body of an answer, within reason.
async fn whole(service: Service, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| unreachable(service, error))?;
        let Some(chunk) = chunk else { return Ok(body) };
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            return Err(strange(service, "an answer without an end"));
        }
    }
}

/// Code and text of an error, in JSON or in XML.
fn told(body: &[u8]) -> (Option<String>, Option<String>) {
    let short = |text: &str| text.chars().take(300).collect::<String>();
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        let code = json["__type"].as_str().map(|code| code.rsplit('#').next().unwrap_or(code));
        let message = json["message"].as_str().or(json["Message"].as_str());
        return (code.map(short), message.map(short));
    }
    (
        element(body, "Code").map(|code| short(&code)),
        element(body, "Message").map(|text| short(&text)),
    )
}

/// The text of the first element of that name.
fn element(document: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let mut reader = Reader::from_str(text);
    let mut found: Option<String> = None;
    loop {
        match reader.read_event().ok()? {
            Event::Eof => return None,
            Event::Start(start) if start.local_name().as_ref() == name => {
                found = Some(String::new());
            }
            Event::Text(text) => {
                if let Some(found) = &mut found {
                    found.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(found) = &mut found {
                    let known = quick_xml::escape::resolve_predefined_entity(&reference);
                    found.push_str(known.unwrap_or("?"));
                }
            }
            Event::End(_) if found.is_some() => return found,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_both_forms() {
        let json = br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no queue"}"#;
        assert_eq!(told(json), (Some("QueueDoesNotExist".into()), Some("no queue".into())));
        let xml = b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>a &amp; b</Message></Error>";
        assert_eq!(told(xml), (Some("NoSuchKey".into()), Some("a & b".into())));
        assert_eq!(told(b"gone"), (None, None));
    }
}
