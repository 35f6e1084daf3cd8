//! Stand-ins on loopback of what the app talks to: STS, one queue, buckets, an identity and a log service, on one port. For
//! tests, benchmarks, and people who try the app without accounts.
//!
//! T1  Keys that were not given out, or that have expired, are refused. Signatures are not checked: the signer has vectors.
//! T2  A message that was received is invisible for as long as the request said, on a real clock.
//! T3  Whatever has a name can be made to fail, to hang or to break off, and counts how often it was asked for.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read as _,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
};
use bytes::Bytes;
use flate2::read::GzDecoder;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Bytes of one piece of an object's content.
const PIECE: usize = 256 << 10;
const IDENTITY_HEADER: &str = "stand-in-header";
/// What the identity's tokens begin with; tests look for it where it must not be.
pub const TOKEN: &str = "stand-in-identity-token";
/// What secret keys begin with.
pub const SECRET: &str = "stand-in-secret-key";
/// What session tokens begin with.
pub const SESSION: &str = "stand-in-session-token";

/// The running services. They end when this is dropped.
pub struct StandIn {
    services: Arc<Services>,
    address: std::net::SocketAddr,
    serving: JoinHandle<()>,
}

struct Services {
    queue: Mutex<Queue>,
    objects: Mutex<BTreeMap<String, Object>>,
    keys: Mutex<Keys>,
    uploads: Mutex<Uploads>,
    faults: Mutex<Vec<Fault>>,
    calls: watch::Sender<BTreeMap<String, u64>>,
}

/// A queue's messages and ways.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    redrive_after: Option<u32>,
    dead: Vec<String>,
    sent: u64,
}

struct Message {
    id: String,
    body: String,
    receives: u32,
    visible: Instant,
}

/// An object and when it was last changed.
struct Object {
    content: Content,
    changed: Timestamp,
    version: u64,
}

/// What an object holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Whole(Bytes),
    /// The same bytes so many times.
    Repeated(Bytes, u64),
}

struct Keys {
    lifetime: Duration,
    any_token: bool,
    given: BTreeMap<String, (String, Instant)>,
}

/// What the log service took.
struct Uploads {
    keep: bool,
    rows: Vec<Map<String, Value>>,
    requests: Vec<usize>,
}

/// What goes wrong.
#[derive(Debug, Clone)]
struct Fault {
    operation: String,
    left: u64,
    after: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Refuse(u16, String),
    Hang,
    BreakBody(u64),
}

impl StandIn {
    /// Serves on any free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it listens");
        let services = Arc::new(Services {
            queue: Mutex::default(),
            objects: Mutex::default(),
            keys: Mutex::new(Keys {
                lifetime: Duration::from_hours(1),
                any_token: false,
                given: BTreeMap::new(),
            }),
            uploads: Mutex::new(Uploads { keep: true, rows: Vec::new(), requests: Vec::new() }),
            faults: Mutex::default(),
            calls: watch::Sender::default(),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&services));
        let serving = tokio::spawn(async move {
            // It ends with the task.
            drop(axum::serve(listener, router).await);
        });
        Self { services, address, serving }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The queue's URL.
    pub fn queue_url(&self) -> String {
        format!("{}/123456789012/notices", self.url())
    }

    /// The settings of an app that uses it for everything.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let url = self.url();
        vec![
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/logs".to_owned()),
            ("AWS_ENDPOINT_URL", url.clone()),
            ("C42_SQS_QUEUE_URL", self.queue_url()),
            ("C42_LOG_ANALYTICS_TABLE", "Code42Logs_CL".to_owned()),
            ("LOG_ANALYTICS_DCE_ENDPOINT", url.clone()),
            ("LOG_ANALYTICS_DCR_IMMUTABLE_ID", "dcr-1".to_owned()),
            ("IDENTITY_ENDPOINT", format!("{url}/msi/token")),
            ("IDENTITY_HEADER", IDENTITY_HEADER.to_owned()),
        ]
    }

    /// Puts an object that changes now.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        self.put_at(bucket, key, Content::Whole(content.into()), Timestamp::now());
    }

    /// Puts an object that was last changed then.
    pub fn put_at(&self, bucket: &str, key: &str, content: Content, changed: Timestamp) {
        let mut objects = lock(&self.services.objects);
        let name = format!("{bucket}/{key}");
        let version = objects.get(&name).map_or(0, |object| object.version) + 1;
        objects.insert(name, Object { content, changed, version });
    }

    /// Sends a message; gives its id.
    pub fn send(&self, body: impl Into<String>) -> String {
        lock(&self.services.queue).send(body.into())
    }

    /// Sends a notice of an object in the original shape.
    pub fn notify(&self, bucket: &str, key: &str) -> String {
        let time = "2026-11-21T01:02:03Z";
        self.send(
            json!([{ "Bucket Name": bucket, "Object Key": key, "Event Time": time }]).to_string(),
        )
    }

    /// All messages are visible now.
    pub fn show_all(&self) {
        let now = Instant::now();
        lock(&self.services.queue).messages.iter_mut().for_each(|message| message.visible = now);
    }

    /// How many messages there are, and how many of them can be received now.
    pub fn messages(&self) -> (usize, usize) {
        let now = Instant::now();
        let queue = lock(&self.services.queue);
        let visible = queue.messages.iter().filter(|message| message.visible <= now).count();
        (queue.messages.len(), visible)
    }

    /// The seconds for which messages are invisible still, in their order.
    pub fn hidden_seconds(&self) -> Vec<u64> {
        let now = Instant::now();
        let queue = lock(&self.services.queue);
        let left =
            queue.messages.iter().map(|message| message.visible.saturating_duration_since(now));
        left.map(|left| left.as_secs()).collect()
    }

    /// The queue itself puts messages aside that were received so often.
    pub fn redrive_after(&self, receives: u32) {
        lock(&self.services.queue).redrive_after = Some(receives);
    }

    /// Bodies that the queue put aside.
    pub fn dead(&self) -> Vec<String> {
        lock(&self.services.queue).dead.clone()
    }

    /// How long keys last that are given out from here on.
    pub fn key_lifetime(&self, lifetime: Duration) {
        lock(&self.services.keys).lifetime = lifetime;
    }

    /// Keys are given out for tokens of other identities as well.
    pub fn take_any_token(&self) {
        lock(&self.services.keys).any_token = true;
    }

    /// Rows are counted and not kept, as benchmarks want it.
    pub fn count_only(&self) {
        lock(&self.services.uploads).keep = false;
    }

    /// The rows that the log service took, in order.
    pub fn rows(&self) -> Vec<Map<String, Value>> {
        lock(&self.services.uploads).rows.clone()
    }

    /// The bytes of each request that it took.
    pub fn request_bytes(&self) -> Vec<usize> {
        lock(&self.services.uploads).requests.clone()
    }

    /// Refuses an operation so many times.
    pub fn fail(&self, operation: &str, status: u16, code: &str, times: u64) {
        self.fault(operation, times, 0, Kind::Refuse(status, code.to_owned()));
    }

    /// Refuses an operation once, after so many others.
    pub fn fail_after(&self, operation: &str, after: u64, status: u16, times: u64) {
        self.fault(operation, times, after, Kind::Refuse(status, "OnDemand".to_owned()));
    }

    /// Lets an operation hang, after so many others.
    pub fn hang(&self, operation: &str, after: u64) {
        self.fault(operation, u64::MAX, after, Kind::Hang);
    }

    /// Breaks the content of an object off, so many times.
    pub fn break_content(&self, bytes: u64, times: u64) {
        self.fault("GetObject", times, 0, Kind::BreakBody(bytes));
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        lock(&self.services.faults).clear();
    }

    fn fault(&self, operation: &str, left: u64, after: u64, kind: Kind) {
        lock(&self.services.faults).push(Fault {
            operation: operation.to_owned(),
            left,
            after,
            kind,
        });
    }

    /// How often an operation was asked for.
    pub fn calls(&self, operation: &str) -> u64 {
        self.services.calls.borrow().get(operation).copied().unwrap_or(0)
    }

    /// Waits until an operation was asked for so often.
    pub async fn asked(&self, operation: &str, times: u64) {
        let mut calls = self.services.calls.subscribe();
        let enough = |calls: &BTreeMap<String, u64>| {
            calls.get(operation).is_some_and(|asked| *asked >= times)
        };
        drop(calls.wait_for(enough).await);
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer = Response<Body>;

fn answer(status: u16, body: impl Into<Body>) -> Answer {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}

fn refusal(operation: &str, status: u16, code: &str) -> Answer {
    let body = match operation {
        "HeadObject" => String::new(),
        "Upload" => json!({ "error": { "code": code, "message": "on demand" } }).to_string(),
        "GetObject" | "AssumeRoleWithWebIdentity" => {
            format!(
                "<Response><Error><Code>{code}</Code><Message>on demand</Message></Error></Response>"
            )
        }
        _ => json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "on demand" })
            .to_string(),
    };
    answer(status, body)
}

/// What a request asks for.
fn operation(request: &Request) -> String {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some(target) = target {
        return target.rsplit('.').next().unwrap_or(target).to_owned();
    }
    let path = request.uri().path();
    match *request.method() {
        Method::HEAD => "HeadObject",
        Method::GET if path == "/msi/token" => "Token",
        Method::GET => "GetObject",
        _ if path.starts_with("/dataCollectionRules/") => "Upload",
        _ => "AssumeRoleWithWebIdentity",
    }
    .to_owned()
}

async fn serve(State(services): State<Arc<Services>>, request: Request) -> Answer {
    let operation = operation(&request);
    services.calls.send_modify(|calls| *calls.entry(operation.clone()).or_default() += 1);
    let mut breaks = None;
    match services.strike(&operation) {
        None => {}
        Some(Kind::Refuse(status, code)) => return refusal(&operation, status, &code),
        Some(Kind::Hang) => std::future::pending::<()>().await,
        Some(Kind::BreakBody(bytes)) => breaks = Some(bytes),
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if !["Token", "Upload", "AssumeRoleWithWebIdentity"].contains(&operation.as_str())
        && let Err(code) = services.check_keys(&parts.headers)
    {
        return refusal(&operation, 403, code);
    }
    match operation.as_str() {
        "Token" => token(&parts.headers),
        "Upload" => services.upload(&parts.headers, &body),
        "AssumeRoleWithWebIdentity" => services.assume_role(&body),
        "HeadObject" | "GetObject" => {
            services.object(&parts.method, parts.uri.path(), &parts.headers, breaks)
        }
        _ => {
            let request = serde_json::from_slice(&body).unwrap_or_default();
            services.queue_call(&operation, &request)
        }
    }
}

fn token(headers: &HeaderMap) -> Answer {
    if headers.get("x-identity-header").is_none_or(|header| header != IDENTITY_HEADER) {
        return answer(401, "{}");
    }
    let expires = Timestamp::now().as_second() + 86_400;
    let token = json!({
        "access_token": TOKEN, "expires_on": expires.to_string(), "resource": "r", "token_type": "Bearer",
    });
    answer(200, token.to_string())
}

impl Services {
    fn strike(&self, operation: &str) -> Option<Kind> {
        let mut faults = lock(&self.faults);
        let fault =
            faults.iter_mut().find(|fault| fault.operation == operation && fault.left > 0)?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.left = fault.left.saturating_sub(u64::from(fault.left != u64::MAX));
        Some(fault.kind.clone())
    }

    fn assume_role(&self, form: &[u8]) -> Answer {
        let form = String::from_utf8_lossy(form);
        let is_known = form.contains(&format!("WebIdentityToken={TOKEN}"));
        let mut keys = lock(&self.keys);
        if !form.contains("Action=AssumeRoleWithWebIdentity") || !(is_known || keys.any_token) {
            return refusal("AssumeRoleWithWebIdentity", 400, "InvalidIdentityToken");
        }
        let (number, lifetime) = (keys.given.len(), keys.lifetime);
        let (id, session) = (format!("ASIASTANDIN{number:04}"), format!("{SESSION}-{number}"));
        keys.given.insert(id.clone(), (session.clone(), Instant::now() + lifetime));
        let expires =
            Timestamp::now() + jiff::SignedDuration::from_secs(lifetime.as_secs().cast_signed());
        answer(
            200,
            format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{SECRET}-{number}</SecretAccessKey><SessionToken>{session}</SessionToken><Expiration>{expires}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ),
        )
    }

    fn check_keys(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = text("authorization").ok_or("MissingAuthenticationToken")?;
        let id =
            authorization.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
        let keys = lock(&self.keys);
        let (session, expires) =
            id.and_then(|id| keys.given.get(id)).ok_or("InvalidClientTokenId")?;
        if text("x-amz-security-token") != Some(session) {
            return Err("InvalidClientTokenId");
        }
        if Instant::now() >= *expires { Err("ExpiredToken") } else { Ok(()) }
    }

    fn upload(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let mut uploads = lock(&self.uploads);
        uploads.requests.push(body.len());
        if !uploads.keep {
            return answer(204, "");
        }
        let is_gzip = headers.get(header::CONTENT_ENCODING).is_some();
        let mut plain = Vec::new();
        let read = if is_gzip { GzDecoder::new(body).read_to_end(&mut plain) } else { Ok(0) };
        let json = if is_gzip { plain.as_slice() } else { body };
        match (read, serde_json::from_slice::<Vec<Map<String, Value>>>(json)) {
            (Ok(_), Ok(taken)) => {
                uploads.rows.extend(taken);
                answer(204, "")
            }
            _ => refusal("Upload", 400, "InvalidRequest"),
        }
    }

    fn object(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        breaks: Option<u64>,
    ) -> Answer {
        let name = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
        let objects = lock(&self.objects);
        let Some(object) = objects.get(name.as_ref()) else {
            return refusal(
                if method == Method::HEAD { "HeadObject" } else { "GetObject" },
                404,
                "NoSuchKey",
            );
        };
        let tag = format!("\"v{}\"", object.version);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("if-match").is_some_and(|wanted| wanted != tag) {
            return refusal("GetObject", 412, "PreconditionFailed");
        }
        let from = text("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let length = object.content.length();
        let start: u64 = from.unwrap_or(0);
        let body = match method {
            &Method::HEAD => Body::empty(),
            _ => object.content.body(start..length, breaks),
        };
        let changed = object.changed.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let response = Response::builder()
            .status(if from.is_some() { 206 } else { 200 })
            .header(header::ETAG, tag)
            .header(header::LAST_MODIFIED, changed)
            .header(header::CONTENT_LENGTH, length - start);
        response.body(body).expect("these are headers")
    }

    fn queue_call(&self, operation: &str, request: &Value) -> Answer {
        let mut queue = lock(&self.queue);
        let receipt = request["ReceiptHandle"].as_str().unwrap_or_default();
        let body = match operation {
            "ReceiveMessage" => {
                let name = request["QueueUrl"].as_str().unwrap_or_default();
                let keeps_order = name.rsplit('.').next() == Some("fifo");
                if request.get("ReceiveRequestAttemptId").is_some() != keeps_order {
                    return refusal(operation, 400, "InvalidParameterValue");
                }
                queue.receive(request)
            }
            "DeleteMessage" => {
                queue.messages.retain(|message| message.receipt() != receipt);
                json!({})
            }
            "ChangeMessageVisibility" => {
                let seconds = request["VisibilityTimeout"].as_u64().unwrap_or(0);
                let found = queue.messages.iter_mut().find(|message| message.receipt() == receipt);
                let Some(message) = found else {
                    return refusal(operation, 400, "ReceiptHandleIsInvalid");
                };
                message.visible = Instant::now() + Duration::from_secs(seconds);
                json!({})
            }
            "SendMessage" => {
                let id = queue.send(request["MessageBody"].as_str().unwrap_or_default().to_owned());
                json!({ "MessageId": id })
            }
            "GetQueueAttributes" => match queue.redrive_after {
                Some(receives) => {
                    let policy = json!({ "maxReceiveCount": receives }).to_string();
                    json!({ "Attributes": { "RedrivePolicy": policy } })
                }
                None => json!({}),
            },
            _ => return refusal(operation, 400, "UnknownOperationException"),
        };
        answer(200, body.to_string())
    }
}

impl Message {
    fn receipt(&self) -> String {
        format!("{}#{}", self.id, self.receives)
    }
}

impl Queue {
    fn send(&mut self, body: String) -> String {
        self.sent += 1;
        let id = format!("message-{:04}", self.sent);
        let visible = Instant::now();
        self.messages.push_back(Message { id: id.clone(), body, receives: 0, visible });
        id
    }

    fn receive(&mut self, request: &Value) -> Value {
        let now = Instant::now();
        let most = request["MaxNumberOfMessages"].as_u64().unwrap_or(1) as usize;
        let hidden = Duration::from_secs(request["VisibilityTimeout"].as_u64().unwrap_or(30));
        if let Some(receives) = self.redrive_after {
            let is_dead =
                |message: &Message| message.visible <= now && message.receives >= receives;
            let dead = self.messages.iter().filter(|message| is_dead(message));
            self.dead.extend(dead.map(|message| message.body.clone()));
            self.messages.retain(|message| !is_dead(message));
        }
        let visible = self.messages.iter_mut().filter(|message| message.visible <= now).take(most);
        let received: Vec<Value> = visible
            .map(|message| {
                message.receives += 1;
                message.visible = now + hidden;
                json!({
                    "MessageId": message.id,
                    "ReceiptHandle": message.receipt(),
                    "Body": message.body,
                    "Attributes": { "ApproximateReceiveCount": message.receives.to_string() },
                })
            })
            .collect();
        if received.is_empty() { json!({}) } else { json!({ "Messages": received }) }
    }
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Repeated(bytes, times) => bytes.len() as u64 * times,
        }
    }

    /// The bytes of a range, in pieces, perhaps broken off.
    fn body(&self, range: Range<u64>, breaks: Option<u64>) -> Body {
        let (bytes, times) = match self {
            Self::Whole(bytes) => (bytes.clone(), 1),
            Self::Repeated(bytes, times) => (bytes.clone(), *times),
        };
        let length = (bytes.len() as u64).max(1);
        let whole = length * times;
        let mut at = range.start;
        let end = breaks.map_or(range.end, |breaks| range.end.min(range.start + breaks));
        let pieces = std::iter::from_fn(move || {
            if at >= end {
                let broken = breaks.is_some() && end < whole && at < u64::MAX;
                at = u64::MAX;
                return broken.then(|| Err(std::io::Error::other("broken off on demand")));
            }
            let start = (at % length) as usize;
            let size = (bytes.len() - start).min(PIECE).min((end - at) as usize);
            at += size as u64;
            Some(Ok(bytes.slice(start..start + size)))
        });
        Body::from_stream(futures_util::stream::iter(pieces))
    }
}
