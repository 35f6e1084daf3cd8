//! The public HTTP API, as its caller: over a connection, or in this process where no host runs.
//!
//! C1  Both ways are the same requests and the same handlers; nothing here knows a store.
//! C2  Every answer that is no success becomes a [`Fault`] in one place, [`fault_of`].

use std::time::Duration;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{
    door,
    fault::{Exit, Fault},
};

/// Where the durable routes are.
const DURABLE: &str = "/runtime/webhooks/durabletask";
/// How long one answer may take, unless a call says otherwise.
const ANSWER_TIME: Duration = Duration::from_mins(1);
/// How long a host may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// What a path or query carries as it stands.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How requests get to their handlers.
pub(crate) enum Transport {
    /// To a host that runs.
    Http {
        /// With its pool of connections.
        client: reqwest::Client,
        /// Without a slash at its end.
        base: String,
        /// Sent along, if there is one.
        key: Option<String>,
    },
    /// To the handlers in this process.
    InProcess(Router),
}

/// The API of one hub.
pub(crate) struct Api {
    transport: Transport,
    hub: Option<String>,
    life: Life,
    /// The files, which stay open for as long as they are asked.
    _files: Option<door::Files>,
}

/// Whether somebody runs the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// A host does.
    Live,
    /// Nobody does, so that nothing changes and nothing can be changed.
    Still,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
    time: Option<Duration>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its code.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: String,
}

impl Api {
    /// The API of a host.
    pub(crate) fn at(url: &str, key: Option<String>, hub: Option<String>) -> Result<Self, Fault> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).ok();
        let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed.ok_or_else(|| {
            Fault::usage(format!("`{url}` is not the address of a host"))
                .remedy("write it as --url http://localhost:7071")
        })?;
        // The certificate that a host makes for itself is signed by nobody. Inside this machine it is enough.
        let is_here = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            .danger_accept_invalid_certs(is_here)
            .build()
            .map_err(|error| Fault::error(format!("cannot make connections: {error}")))?;
        Ok(Self {
            transport: Transport::Http { client, base, key },
            hub,
            life: Life::Live,
            _files: None,
        })
    }

    /// The handlers in this process.
    #[cfg(test)]
    pub(crate) fn in_process(router: Router, life: Life) -> Self {
        Self { transport: Transport::InProcess(router), hub: None, life, _files: None }
    }

    /// The handlers in this process, on the files of a hub that nobody runs.
    pub(crate) fn on_files(files: door::Files) -> Self {
        let transport = Transport::InProcess(files.router());
        Self { transport, hub: None, life: Life::Still, _files: Some(files) }
    }

    /// Whether nobody runs the hub.
    pub(crate) fn is_offline(&self) -> bool {
        self.life == Life::Still
    }

    /// Asks, and takes whatever is answered.
    pub(crate) async fn ask(&self, call: Call) -> Result<Answer, Fault> {
        let asking = self.ask_whole(&call);
        match call.time {
            None => asking.await,
            Some(time) => tokio::time::timeout(time, asking).await.unwrap_or_else(|_| {
                let text = format!("no answer to {} {} in {time:?}", call.method, call.path);
                Err(Fault::new(Exit::Timeout, text))
            }),
        }
    }

    /// Asks, and takes only success.
    pub(crate) async fn get(&self, call: Call) -> Result<Answer, Fault> {
        let what = format!("{} {}", call.method, call.path);
        let answer = self.ask(call).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let fault = fault_of(&answer, &what);
        let has_key = matches!(&self.transport, Transport::Http { key: Some(_), .. });
        Err(match answer.status {
            StatusCode::UNAUTHORIZED if has_key => Fault {
                text: "the host does not take this key".to_owned(),
                ..fault.remedy("`everstep keys list` shows the keys to whoever has the master key, which lies in keys.json in the hub's folder")
            },
            _ => fault,
        })
    }

    /// Asks about one instance; that there is none is said by its id.
    pub(crate) async fn get_instance(&self, id: &str, call: Call) -> Result<Answer, Fault> {
        self.get(call).await.map_err(|fault| match fault.exit {
            Exit::NotFound => no_instance(id),
            _ => fault,
        })
    }

    /// Opens a stream of server-sent events.
    pub(crate) async fn events(&self, call: Call) -> Result<Events, Fault> {
        let (status, headers, body) = self.open(&call).await?;
        if status.is_success() {
            return Ok(Events { body, text: Vec::new() });
        }
        let answer = Answer { status, headers, body: body.whole().await? };
        Err(fault_of(&answer, &format!("{} {}", call.method, call.path)))
    }

    async fn ask_whole(&self, call: &Call) -> Result<Answer, Fault> {
        let (status, headers, body) = self.open(call).await?;
        Ok(Answer { status, headers, body: body.whole().await? })
    }

    async fn open(&self, call: &Call) -> Result<(StatusCode, HeaderMap, Incoming), Fault> {
        let path = call.target(self.hub.as_deref());
        match &self.transport {
            Transport::Http { client, base, key } => {
                let mut request = client.request(call.method.clone(), format!("{base}{path}"));
                for (name, value) in call.all_headers(key.as_deref()) {
                    request = request.header(name, value);
                }
                if let Some(body) = &call.body {
                    request = request.body(body.clone());
                }
                let response = request.send().await.map_err(|error| unreachable(base, &error))?;
                let head = (response.status(), response.headers().clone());
                Ok((head.0, head.1, Incoming::Http(response)))
            }
            Transport::InProcess(router) => {
                let mut request = Request::builder().method(call.method.clone()).uri(path);
                request = request.header(header::HOST, "localhost");
                for (name, value) in call.all_headers(None) {
                    request = request.header(name, value);
                }
                let body = call.body.clone().map_or_else(Body::empty, Body::from);
                let request =
                    request.body(body).map_err(|error| Fault::usage(error.to_string()))?;
                let Ok(response) = router.clone().oneshot(request).await;
                let (head, body) = response.into_parts();
                Ok((head.status, head.headers, Incoming::InProcess(body)))
            }
        }
    }
}

impl Call {
    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            time: Some(ANSWER_TIME),
        }
    }

    /// A durable route; what varies in it is encoded with [`segment`].
    pub(crate) fn durable(method: Method, path: &str) -> Self {
        Self::new(method, format!("{DURABLE}/{path}"))
    }

    /// What concerns one instance: `tail` is empty or begins with a slash.
    pub(crate) fn instance(method: Method, id: &str, tail: &str) -> Self {
        Self::durable(method, &format!("instances/{}{tail}", segment(id)))
    }

    /// A route of the host's administration.
    pub(crate) fn admin(method: Method, path: &str) -> Self {
        Self::new(method, format!("/admin/{path}"))
    }

    /// With a parameter.
    pub(crate) fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// With a parameter, if there is one.
    pub(crate) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// With several parameters.
    pub(crate) fn queries(mut self, pairs: Vec<(String, String)>) -> Self {
        self.query.extend(pairs);
        self
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body, which is JSON.
    pub(crate) fn json(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// However long it takes.
    pub(crate) fn patient(mut self) -> Self {
        self.time = None;
        self
    }

    fn target(&self, hub: Option<&str>) -> String {
        let is_durable = self.path.starts_with(DURABLE);
        let hub = hub.filter(|_| is_durable).map(|hub| ("taskHub", hub));
        let own = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<String> = own
            .chain(hub)
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        if pairs.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, pairs.join("&"))
        }
    }

    fn all_headers<'a>(&'a self, key: Option<&'a str>) -> impl Iterator<Item = (&'a str, &'a str)> {
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let kind = self.body.as_ref().map(|_| ("content-type", "application/json"));
        own.chain(kind).chain(key.map(|key| ("x-functions-key", key)))
    }
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Fault> {
        serde_json::from_str(&self.body).map_err(|error| {
            Fault::error(format!("the host answered something that is not JSON: {error}"))
                .remedy("is this the address of an Everstep host? see --url")
        })
    }

    /// A header's text, if it is there and not empty.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        (!value.is_empty()).then(|| value.to_owned())
    }
}

/// A name or an id as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    // Version 3 of the API decodes twice, so a percent sign has to survive being decoded twice.
    let encoded = encoded(text).replace("%25", "%2525");
    // The words that the API puts where ids stand are compared before they are decoded.
    if ["counts", "bulk"].iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return format!("%{:02X}{}", text.as_bytes()[0], &encoded[1..]);
    }
    encoded
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A body as it arrives.
enum Incoming {
    Http(reqwest::Response),
    InProcess(Body),
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let broken = |error: String| {
            Fault::new(Exit::Unreachable, format!("the connection to the host broke: {error}"))
        };
        match self {
            Self::Http(response) => {
                response.chunk().await.map_err(|error| broken(error.to_string()))
            }
            Self::InProcess(body) => loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(broken(error.to_string())),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Ok(Some(data));
                        }
                    }
                }
            },
        }
    }

    async fn whole(mut self) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Server-sent events.
pub(crate) struct Events {
    body: Incoming,
    text: Vec<u8>,
}

impl Events {
    /// The data of the next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Fault> {
        loop {
            if let Some(data) = self.take() {
                return Ok(Some(data));
            }
            match self.body.next().await? {
                Some(chunk) => self.text.extend(chunk.iter().filter(|byte| **byte != b'\r')),
                None => return Ok(None),
            }
        }
    }

    /// The next whole event with data in what has arrived.
    fn take(&mut self) -> Option<String> {
        while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.text.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
            let data: Vec<&str> =
                lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
            if !data.is_empty() {
                return Some(data.join("\n"));
            }
        }
        None
    }
}

fn unreachable(base: &str, error: &reqwest::Error) -> Fault {
    let mut causes =
        std::iter::successors(std::error::Error::source(error), |error| error.source());
    let cause = causes.by_ref().last().map_or_else(|| error.to_string(), ToString::to_string);
    Fault::new(Exit::Unreachable, format!("no host answers at {base}: {cause}"))
        .remedy("start it with `everstep start`, or give another address with --url")
}

/// There is no such instance.
pub(crate) fn no_instance(id: &str) -> Fault {
    Fault::new(Exit::NotFound, format!("there is no instance `{id}`"))
        .remedy("`everstep ls` shows the instances of this hub")
}

/// What an answer that is no success means for a command.
pub(crate) fn fault_of(answer: &Answer, what: &str) -> Fault {
    let said = said(&answer.body);
    let text = |otherwise: &str| said.clone().unwrap_or_else(|| otherwise.to_owned());
    match answer.status.as_u16() {
        400 => Fault::usage(text("the host does not understand the request")),
        401 | 403 => Fault::new(Exit::Refused, text("the host asks for a key"))
            .remedy("give it with --key, or in the variable EVERSTEP_KEY"),
        404 => Fault::new(Exit::NotFound, text(&format!("the host has nothing at {what}"))),
        409 | 412 => Fault::new(Exit::Refused, text("the instance's state does not allow this")),
        410 => Fault::new(Exit::Refused, text("the instance has ended")),
        503 => Fault::new(Exit::Unreachable, text("no host runs for this hub"))
            .remedy("start it with `everstep start`, then try again"),
        500 if answer.body.contains("System.InvalidOperationException") => {
            Fault::new(Exit::Refused, text("the instance's state does not allow this"))
        }
        501 => Fault::error(text("this host cannot do that")),
        code => Fault::error(text(&format!("the host answered {code} to {what}"))),
    }
}

/// What a body says, as an error of the API, a JSON string or plain text.
fn said(body: &str) -> Option<String> {
    let body = body.trim();
    let text = match serde_json::from_str::<Value>(body) {
        Ok(Value::String(text)) => text,
        Ok(value) => {
            let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
            let message =
                field("Message").or_else(|| field("message")).or_else(|| field("error"))?;
            // Where there are two, the first one only says what kind of thing the second one is.
            field("ExceptionMessage").filter(|more| !more.is_empty()).unwrap_or(message)
        }
        Err(_) => body.to_owned(),
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Fault {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers: HeaderMap::new(), body: body.to_owned() };
        fault_of(&answer, "GET /x")
    }

    #[test]
    fn an_id_survives_being_decoded_twice() {
        assert_eq!(segment("@counter@a"), "%40counter%40a");
        assert_eq!(segment("a/b c+d"), "a%2Fb%20c%2Bd");
        assert_eq!(segment("100%"), "100%2525");
        assert_eq!(segment("counts"), "%63ounts");
    }

    #[test]
    fn an_answer_that_is_no_success_says_what_the_host_said() {
        let text = |status, body| {
            let fault = answered(status, body);
            (fault.exit, fault.text)
        };
        assert_eq!(
            text(400, r#"{"Message":"Invalid JSON content"}"#),
            (Exit::Usage, "Invalid JSON content".into())
        );
        assert_eq!(
            text(500, r#"{"Message":"Something went wrong","ExceptionMessage":"no function X"}"#),
            (Exit::Error, "no function X".into())
        );
        assert_eq!(
            text(412, "\"It has not failed.\""),
            (Exit::Refused, "It has not failed.".into())
        );
        assert_eq!(text(410, ""), (Exit::Refused, "the instance has ended".into()));
        assert_eq!(text(401, ""), (Exit::Refused, "the host asks for a key".into()));
        assert_eq!(text(404, ""), (Exit::NotFound, "the host has nothing at GET /x".into()));
        assert_eq!(text(503, "nobody runs it"), (Exit::Unreachable, "nobody runs it".into()));
        assert_eq!(text(502, ""), (Exit::Error, "the host answered 502 to GET /x".into()));
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_an_example() {
        let fault = Api::at("localhost:7071", None, None).err().unwrap();
        assert_eq!(
            fault.to_string(),
            "error: `localhost:7071` is not the address of a host\n  write it as --url http://localhost:7071"
        );
    }

    #[tokio::test]
    async fn events_are_found_wherever_chunks_end() {
        let parts = [": hello\n\nda", "ta: {\"a\":1}\n", "\ndata: 2\r\n\r\ndata: 3\ndata: 4\n\n"];
        let chunks = parts.map(|part| Bytes::from_static(part.as_bytes()));
        let body = Body::new(http_body_util::Full::new(Bytes::from(chunks.concat())));
        let mut events = Events { body: Incoming::InProcess(body), text: Vec::new() };
        let mut found = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            found.push(event);
        }
        assert_eq!(found, ["{\"a\":1}", "2", "3\n4"]);
    }
}
