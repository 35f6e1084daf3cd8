//! A host in memory with an API in front of it, and transcripts of talks with it.
//!
//! The clock stands still at 2026-01-02T03:04:05Z. In a transcript made names of 32 hex digits are `<hex>` and fractions
//! of a second are left out, and so is the length of bodies, which hangs on these.

use std::sync::Arc;

use axum::{Router, body::Body};
use bytes::Bytes;
use everstep::{
    ActivityContext, App, Context, Entity, EntityContext, Failure, Host, HostOptions, Input,
    InstanceId, Operation, Timestamp, Value,
};
use everstep_http::{Access, Api, ApiOptions, Functions, Keys};
use everstep_model::Status;
use everstep_runtime::{Client, View};
use everstep_store_memory::MemoryStore;
use http::{Request, Response, request::Parts};
use tower::ServiceExt as _;

pub(crate) const PREFIX: &str = "/runtime/webhooks/durabletask/";

pub(crate) struct Bed {
    pub(crate) host: Host<MemoryStore>,
    pub(crate) api: Arc<Api>,
    pub(crate) router: Router,
    transcript: String,
}

/// Lets in who has this key, or everybody.
pub(crate) struct Key(pub(crate) Option<&'static str>);

impl Keys for Key {
    fn check(&self, presented: Option<&str>) -> Access {
        match self.0 {
            Some(key) if presented != Some(key) => Access::Denied,
            _ => Access::Granted,
        }
    }

    fn system_key(&self) -> Option<String> {
        Some("K3y==".to_owned())
    }
}

pub(crate) struct Names;

impl Functions for Names {
    fn orchestrators(&self) -> Option<Arc<[String]>> {
        Some(names(&["Hello", "Echo", "Wait", "Fail", "Parent", "Lost", "Count", "Nap", "Nothing"]))
    }

    fn entities(&self) -> Option<Arc<[String]>> {
        Some(names(&["Counter"]))
    }
}

pub(crate) fn names(names: &[&str]) -> Arc<[String]> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter(i64);

impl Counter {
    const ADD: Operation<Counter, i64, i64> = Operation::new("add");
}

impl Entity for Counter {
    const NAME: &'static str = "Counter";
    const OPERATIONS: &'static [&'static str] = &["add", "size", "nothing"];

    async fn dispatch(
        &mut self,
        operation: &str,
        input: Input<'_>,
        _: &mut EntityContext,
    ) -> Result<Value, Failure> {
        match operation {
            "add" => self.0 += input.read::<i64>()?,
            "size" => self.0 += input.read::<String>()?.chars().fold(0, |count, _| count + 1),
            "nothing" | "" | "delete" => self.0 = -1,
            other => return everstep::unknown_operation::<Self>(other),
        }
        everstep::output(&self.0)
    }
}

async fn say(_: ActivityContext, name: String) -> Result<String, String> {
    Ok(format!("Hello {name}!"))
}

async fn hello(ctx: Context, _: Option<serde_json::Value>) -> Result<Vec<String>, Failure> {
    Ok(vec![ctx.call_by_name("SayHello", "Tokyo").await?])
}

async fn echo(_: Context, input: serde_json::Value) -> Result<serde_json::Value, Failure> {
    Ok(input)
}

async fn wait(ctx: Context, _: Option<serde_json::Value>) -> Result<serde_json::Value, Failure> {
    ctx.set_custom_status(&serde_json::json!({ "step": 1 }));
    let first: serde_json::Value = ctx.event("Go").await?;
    if first != "twice" {
        return Ok(first);
    }
    ctx.set_custom_status("half");
    ctx.event("Go").await
}

async fn fail(_: Context, _: Option<serde_json::Value>) -> Result<(), Failure> {
    Err(Failure::new("Boom", "it went wrong").caused_by(Failure::new("Fuse", "blown")).fatal())
}

async fn break_down(_: ActivityContext, (): ()) -> Result<(), Failure> {
    Err(Failure::new("Broken", "the machine is broken"))
}

async fn parent(ctx: Context, _: Option<serde_json::Value>) -> Result<String, Failure> {
    let child = ctx.child_by_name::<serde_json::Value>("Echo", &7).id("the-child");
    let seven = child.await?;
    let broken = ctx.call_by_name::<()>("BreakDown", &()).await.expect_err("it is broken");
    let boom = ctx.child_by_name::<()>("Fail", &()).id("the-failure").await;
    let boom = boom.expect_err("it fails");
    Ok(format!("{seven}, {broken}, {boom}"))
}

async fn lost(ctx: Context, _: Option<serde_json::Value>) -> Result<(), Failure> {
    ctx.call_by_name("Nowhere", "input").await
}

async fn count(ctx: Context, _: Option<serde_json::Value>) -> Result<i64, Failure> {
    let counter = ctx.entity::<Counter>("c");
    let section = ctx.lock([counter.id()?]).await?;
    let sum = counter.call(Counter::ADD, 5).await?;
    section.release();
    ctx.signal(&counter.id()?, "add", &1);
    Ok(sum)
}

async fn nap(ctx: Context, _: Option<serde_json::Value>) -> Result<(), Failure> {
    ctx.sleep_until(Timestamp::EPOCH).await;
    ctx.child_by_name::<()>("Wait", &()).id("the-sleeper").await
}

fn app() -> App {
    App::new("1")
        .activity("SayHello", say)
        .activity("BreakDown", break_down)
        .orchestrator("Hello", hello)
        .orchestrator("Echo", echo)
        .orchestrator("Wait", wait)
        .orchestrator("Fail", fail)
        .orchestrator("Parent", parent)
        .orchestrator("Lost", lost)
        .orchestrator("Count", count)
        .orchestrator("Nap", nap)
        .entity::<Counter>()
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ApiOptions)) -> Self {
        // 2026-01-02T03:04:05Z
        let now = Timestamp::from_millis(1_767_323_045_000);
        let store = MemoryStore::new(2);
        let host = Host::start_with_clock(
            store,
            Arc::new(app()),
            HostOptions::default(),
            Arc::new(move || now),
        );
        let host = host.expect("the host starts");
        let mut options =
            ApiOptions::new(host.client(), "TestHub", Arc::new(Names), Arc::new(Key(None)));
        options.connection.push_str("Storage");
        change(&mut options);
        let api = Arc::new(Api::new(options));
        Self { router: api.router(), api, host, transcript: String::new() }
    }

    pub(crate) fn client(&self) -> Client {
        self.host.client()
    }

    /// Sends a request and gives its answer, without a note in the transcript.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.expect("a router has no errors")
    }

    /// Sends `VERB path?query`, with headers and a body, and notes both ways in the transcript.
    pub(crate) async fn full(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let (verb, path) = line.split_once(' ').expect("a verb and a path");
        let uri = if path.starts_with('/') { path.to_owned() } else { format!("{PREFIX}{path}") };
        let mut request = Request::builder().method(verb).uri(&uri).header("host", "app.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        self.note(&format!("{verb} {path}"));
        headers.iter().for_each(|(name, value)| self.note(&format!("{name}: {value}")));
        if !body.is_empty() {
            self.note(body);
        }
        let response = self.send(request).await;
        self.answer(response).await
    }

    /// Notes an answer.
    pub(crate) async fn answer(&mut self, response: Response<Body>) -> (u16, String) {
        let (parts, body) = response.into_parts();
        let body = text(body).await;
        self.note(&format!("=> {}", parts.status.as_u16()));
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "content-length") {
            self.note(&format!("   {name}: {}", stable(value.to_str().expect("a text"))));
        }
        if !body.is_empty() {
            self.note(&format!("   {}", stable(&body)));
        }
        self.note("");
        (parts.status.as_u16(), body)
    }

    pub(crate) fn note(&mut self, line: &str) {
        self.transcript.push_str(line.trim_end());
        self.transcript.push('\n');
    }

    pub(crate) async fn ask(&mut self, line: &str) -> (u16, String) {
        self.full(line, &[], "").await
    }

    pub(crate) async fn post(&mut self, line: &str, body: &str) -> (u16, String) {
        self.full(line, &[("content-type", "application/json")], body).await
    }

    /// Starts an instance without a note, and waits until it has taken its first turn or ended.
    pub(crate) async fn start(&self, name: &str, id: &str, input: &str) {
        let options = everstep::StartOptions { id: Some(named(id)), ..Default::default() };
        self.client().start(name, input.into(), options).await.expect("it starts");
        match name {
            "Wait" | "Lost" => self.until(id, |view| view.status == Status::Running).await,
            "Nap" => {
                self.until(id, |view| view.status == Status::Running).await;
                self.until("the-sleeper", |view| view.custom_status.is_some()).await;
            }
            _ => drop(self.client().wait(&named(id)).await.expect("it ends")),
        }
    }

    /// Asks again and again until an instance is as it is wanted.
    pub(crate) async fn until(&self, id: &str, is: impl Fn(&View) -> bool) {
        let id = named(id);
        loop {
            match self.client().get(&id).await {
                Ok(view) if is(&view) => return,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    pub(crate) async fn until_state(&self, entity: &str, state: &str) {
        self.until(entity, |view| {
            let found = view.output.as_ref().and_then(|state| state.inline());
            found.is_some_and(|found| found == state.as_bytes())
        })
        .await;
    }

    pub(crate) fn transcript(&self) -> &str {
        self.transcript.trim_end()
    }
}

pub(crate) fn named(id: &str) -> InstanceId {
    InstanceId::parse(id).expect("an id")
}

pub(crate) async fn text(body: Body) -> String {
    let bytes: Bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("bodies are texts")
}

/// The head of a request that function code answers.
pub(crate) fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// A text without what differs from run to run.
pub(crate) fn stable(text: &str) -> String {
    let mut stable = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
        if digits == 32 {
            stable.push_str("<hex>");
            rest = &rest[32..];
        } else if digits == 8 && is_guid(rest) {
            stable.push_str("<guid>");
            rest = &rest[36..];
        } else if digits > 0 {
            stable.push_str(&rest[..digits]);
            rest = &rest[digits..];
        } else if let Some(end) = fraction(rest) {
            stable.push_str(".#");
            rest = &rest[end..];
        } else {
            let next = rest.chars().next().expect("it is not empty");
            stable.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    // A time on a whole second has no fraction, and with a clock that stands still any time may be one.
    stable.replace(":05.#Z", ":05Z")
}

fn is_guid(text: &str) -> bool {
    let Some(guid) = text.get(..36) else { return false };
    guid.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Where the digits behind a point end, if a `Z` follows.
fn fraction(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('.')?;
    let count = digits.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    digits[count..].starts_with('Z').then_some(count + 1)
}
