//! Custom handlers: an app in any language that answers HTTP on a port it is told.
//!
//! C1  The handler is a child of the host: started before the first trigger, started again when it ends, with a pause
//!     that grows, and gone when the host is.
//! C2  A function with only an HTTP trigger gets the request itself where `enableForwardingHttpRequest` says so; any
//!     other gets one JSON object with all its data and answers with one.
//! C3  What the handler prints is a line of the log.
//!
//! Absent on purpose: durable functions. A custom handler starts and asks orchestrations through the management API; to
//! have its own, an app is written with an SDK.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use axum::body::Body;
use base64::Engine as _;
use everstep::{App, Failure, Worker};
use everstep_functions::{
    cron::{self, Zone},
    program::{Answer, Data, Direction, Function, Invocation, Program, Trigger},
};
use everstep_worker::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
};

/// The first pause before a handler that ended is started again.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A handler that takes longer until it listens is taken for stuck.
const LISTEN_TIME: Duration = Duration::from_mins(1);
const BODY_MAX: usize = 100 << 20;

/// How a handler is started.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    pub(crate) executable: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) settings: BTreeMap<String, String>,
    /// `enableForwardingHttpRequest`.
    pub(crate) forwards: bool,
}

/// An app behind a custom handler.
pub(crate) struct CustomProgram {
    functions: Vec<Function>,
    link: Link,
    keeper: JoinHandle<()>,
}

/// The way to the handler.
#[derive(Clone)]
struct Link {
    client: reqwest::Client,
    port: u16,
    forwards: bool,
}

/// Why a handler could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system does not run it.
    #[error(
        "the custom handler `{0}` cannot be started: {1}; customHandler.description.defaultExecutablePath in host.json says where it is"
    )]
    Start(PathBuf, std::io::Error),
    /// It ended or hung before it listened.
    #[error(
        "the custom handler `{executable}` does not listen on port {port}: {what}; it has to listen on the port in the variable FUNCTIONS_CUSTOMHANDLER_PORT"
    )]
    Deaf {
        /// Which.
        executable: PathBuf,
        /// Where.
        port: u16,
        /// What it does instead.
        what: String,
    },
    /// No port or no client.
    #[error("the custom handler cannot be reached: {0}")]
    Reach(String),
}

impl CustomProgram {
    /// Starts the handler and waits until it listens.
    pub(crate) async fn start(
        handler: Handler,
        functions: Vec<Function>,
    ) -> Result<Arc<Self>, Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::Reach(error.to_string()))?;
        let port = free_port().map_err(|error| Error::Reach(error.to_string()))?;
        let link = Link { client, port, forwards: handler.forwards };
        let mut child = handler.spawn(port)?;
        handler.wait_until_it_listens(port, &mut child).await?;
        let keeper = tokio::spawn(handler.keep(port, child));
        Ok(Arc::new(Self { functions, link, keeper }))
    }

    fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }
}

impl Drop for CustomProgram {
    fn drop(&mut self) {
        // The child is killed with the task that keeps it.
        self.keeper.abort();
    }
}

impl Handler {
    fn spawn(&self, port: u16) -> Result<Child, Error> {
        let mut child = Command::new(&self.executable)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .envs(&self.settings)
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .env("FUNCTIONS_HTTPWORKER_PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::Start(self.executable.clone(), error))?;
        child.stdout.take().into_iter().for_each(|output| drop(tokio::spawn(log_lines(output))));
        child.stderr.take().into_iter().for_each(|output| drop(tokio::spawn(log_lines(output))));
        Ok(child)
    }

    async fn wait_until_it_listens(&self, port: u16, child: &mut Child) -> Result<(), Error> {
        let deaf = |what| Error::Deaf { executable: self.executable.clone(), port, what };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = listens => Ok(()),
            ended = child.wait() => Err(deaf(format!("it ended ({})", how(ended)))),
            () = tokio::time::sleep(LISTEN_TIME) => Err(deaf(format!("nothing after {LISTEN_TIME:?}"))),
        }
    }

    /// Starts the handler again whenever it ends.
    async fn keep(self, port: u16, mut child: Child) {
        let mut pause = PAUSE_MIN;
        loop {
            let status = how(child.wait().await);
            tracing::error!(target: "Worker", %status, ?pause, "the custom handler ended; it is started again");
            child = loop {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                match self.spawn(port) {
                    Ok(child) => break child,
                    Err(error) => {
                        tracing::error!(target: "Worker", %error, "the custom handler does not start");
                    }
                }
            };
            if self.wait_until_it_listens(port, &mut child).await.is_ok() {
                pause = PAUSE_MIN;
            }
        }
    }
}

fn how(ended: std::io::Result<std::process::ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}

impl Link {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn forward(&self, request: http::Request<Body>) -> Result<Answer, Failure> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = parts.headers;
        headers.remove(http::header::HOST);
        headers.remove(http::header::CONTENT_LENGTH);
        headers.remove(http::header::TRANSFER_ENCODING);
        let response = self
            .client
            .request(parts.method, self.url(path))
            .headers(headers)
            .body(reqwest::Body::wrap_stream(body.into_data_stream()))
            .send()
            .await
            .map_err(|error| unreachable_handler(&error))?;
        let mut answer = http::Response::builder().status(response.status());
        for (name, value) in response.headers() {
            if !matches!(*name, http::header::TRANSFER_ENCODING | http::header::CONNECTION) {
                answer = answer.header(name, value);
            }
        }
        let body = Body::from_stream(response.bytes_stream());
        let response = answer.body(body).map_err(|error| bad_answer(&error.to_string()))?;
        Ok(Answer { response: Some(response), ..Answer::default() })
    }

    async fn call(&self, function: &Function, call: Invocation) -> Result<Answer, Failure> {
        let name = call.function.to_string();
        let body = asked(function, call).await?;
        let response = self
            .client
            .post(self.url(&format!("/{name}")))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string())
            .send()
            .await
            .map_err(|error| unreachable_handler(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| unreachable_handler(&error))?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&bytes);
            return Err(Failure::new(
                "CustomHandler",
                format!("the handler answered {status}: {text}"),
            ));
        }
        answered(function, &bytes)
    }
}

impl Program for CustomProgram {
    fn language(&self) -> &'static str {
        "custom"
    }

    fn functions(&self) -> Vec<Function> {
        self.functions.clone()
    }

    fn invoke(&self, call: Invocation) -> BoxFuture<Result<Answer, Failure>> {
        let Some(function) = self.function(&call.function).cloned() else {
            let text = format!("the app has no function `{}`", call.function);
            return Box::pin(std::future::ready(Err(Failure::new("FunctionNotFound", text))));
        };
        let link = self.link.clone();
        Box::pin(async move {
            match call.trigger {
                Trigger::Http(request) if link.forwards && is_plain_http(&function) => {
                    link.forward(request).await
                }
                trigger => link.call(&function, Invocation { trigger, ..call }).await,
            }
        })
    }

    fn worker(&self) -> Arc<dyn Worker> {
        Arc::new(App::new("custom handler"))
    }
}

/// Only an HTTP trigger, and an HTTP output or none.
fn is_plain_http(function: &Function) -> bool {
    function.bindings.iter().all(|binding| {
        let kind = binding.kind.as_str();
        kind.eq_ignore_ascii_case("httpTrigger") || kind.eq_ignore_ascii_case("http")
    })
}

/// The object that a handler is asked with.
async fn asked(function: &Function, call: Invocation) -> Result<Value, Failure> {
    let trigger = function
        .bindings
        .iter()
        .find(|binding| binding.kind.to_ascii_lowercase().ends_with("trigger"))
        .map_or("trigger", |binding| binding.name.as_str());
    let (data, shape) = match call.trigger {
        Trigger::Http(request) => (request_value(request, &call.data).await?, Shape::Request),
        Trigger::Timer(event) => (cron::trigger_value(&event, &Zone::UTC), Shape::Json),
        Trigger::Queue(bytes) | Trigger::Blob(bytes) => (text_value(&bytes), Shape::Text),
        Trigger::EventGrid(event) => (event, Shape::Json),
        Trigger::Manual(text) => (Value::String(text), Shape::Text),
    };
    let mut all = Map::new();
    all.insert(
        trigger.to_owned(),
        if shape == Shape::Text { Value::String(data.to_string()) } else { data },
    );
    for (name, input) in call.inputs {
        all.insert(name, value_of(input));
    }
    let mut metadata = call.data;
    metadata.insert(
        "sys".to_owned(),
        json!({ "MethodName": &*call.function, "RandGuid": call.id.simple(), "InvocationId": call.id.simple() }),
    );
    Ok(json!({ "Data": all, "Metadata": metadata }))
}

/// How the trigger's data looks in the object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Request,
    Json,
    /// Handlers expect JSON inside of a string.
    Text,
}

async fn request_value(
    request: http::Request<Body>,
    params: &Map<String, Value>,
) -> Result<Value, Failure> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX)
        .await
        .map_err(|error| Failure::new("BadRequest", format!("the body did not arrive: {error}")))?;
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str().to_owned()).or_default().push(value);
    }
    let query: BTreeMap<String, String> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    Ok(json!({
        "Url": parts.uri.to_string(),
        "Method": parts.method.as_str(),
        "Query": query,
        "Headers": headers,
        "Params": params,
        "Identities": [],
        "Body": String::from_utf8_lossy(&body),
    }))
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Text that is JSON is JSON; other text is a string; bytes are base64.
fn text_value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        Err(_) => Value::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
    }
}

fn value_of(data: Data) -> Value {
    match data {
        Data::Json(value) => value,
        Data::Text(text) => Value::String(text),
        Data::Bytes(bytes) => text_value(&bytes),
        Data::Many(all) => all.into_iter().map(value_of).collect(),
    }
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default, alias = "outputs")]
    #[serde(rename = "Outputs")]
    outputs: Option<Map<String, Value>>,
    #[serde(default, alias = "logs")]
    #[serde(rename = "Logs")]
    logs: Option<Vec<String>>,
    #[serde(default, alias = "returnValue")]
    #[serde(rename = "ReturnValue")]
    return_value: Option<Value>,
}

/// What a handler's answer means.
fn answered(function: &Function, bytes: &[u8]) -> Result<Answer, Failure> {
    if bytes.is_empty() {
        return Ok(Answer::default());
    }
    let reply: Reply =
        serde_json::from_slice(bytes).map_err(|error| bad_answer(&error.to_string()))?;
    for line in reply.logs.unwrap_or_default() {
        tracing::info!(target: "Function.User", function = %function.name, "{line}");
    }
    let is_output = |name: &str| {
        function.bindings.iter().any(|binding| {
            binding.direction != Direction::In && binding.name.eq_ignore_ascii_case(name)
        })
    };
    let outputs = reply.outputs.unwrap_or_default();
    if let Some(unknown) = outputs.keys().find(|name| !is_output(name)) {
        return Err(bad_answer(&format!(
            "the output `{unknown}` is no output binding of `{}`",
            function.name
        )));
    }
    Ok(Answer {
        response: None,
        value: reply.return_value.filter(|value| !value.is_null()).map(data_of),
        outputs: outputs.into_iter().map(|(name, value)| (name, data_of(value))).collect(),
    })
}

fn data_of(value: Value) -> Data {
    match value {
        Value::String(text) => Data::Text(text),
        Value::Array(all) => Data::Many(all.into_iter().map(data_of).collect()),
        other => Data::Json(other),
    }
}

fn bad_answer(what: &str) -> Failure {
    let text = format!(
        "the custom handler's answer cannot be used: {what}; it is to be a JSON object with `Outputs`, `Logs` and `ReturnValue`"
    );
    Failure::new("CustomHandler", text)
}

fn unreachable_handler(error: &reqwest::Error) -> Failure {
    Failure::new("CustomHandler", format!("the custom handler did not answer: {error}"))
}

async fn log_lines(output: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!(target: "Worker.User", "{line}");
    }
}

/// A port that nobody uses. Somebody may take it before the handler does; then the handler ends, and is started again.
fn free_port() -> std::io::Result<u16> {
    let probe = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(probe.local_addr()?.port())
}
