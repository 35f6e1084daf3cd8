//! What tests of this crate share: a console that remembers, and a host that answers from a list.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use clap::Parser as _;
use jiff::Timestamp;

use crate::{
    args::{Cli, Output},
    client::Life,
    console::{Console, Screen},
    fault::{Exit, Fault},
    verbs::{self, World},
};

/// The present of tests.
const NOW: &str = "2026-01-02T03:00:00Z";

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console that remembers what it was told.
pub(crate) struct Screenful {
    pub(crate) console: Console,
    out: Shared,
    err: Shared,
}

impl Screenful {
    pub(crate) fn new(output: Output, screen: Screen) -> Self {
        let (out, err) = (Shared::default(), Shared::default());
        let clock: fn() -> Timestamp = || NOW.parse().unwrap();
        let console =
            Console::of_parts(Box::new(out.clone()), Box::new(err.clone()), output, screen, clock);
        Self { console, out, err }
    }

    pub(crate) fn out(&self) -> String {
        self.out.text()
    }

    pub(crate) fn err(&self) -> String {
        self.err.text()
    }
}

/// A host that answers requests in order of a script and remembers them.
#[derive(Clone, Default)]
pub(crate) struct FakeHost {
    is_gone: bool,
    script: Arc<Mutex<Vec<Line>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Line {
    /// The beginning of `METHOD path?query`, below the durable routes where it does not begin with a slash.
    request: String,
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

const DURABLE: &str = "/runtime/webhooks/durabletask/";

impl FakeHost {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The handlers of a hub that nobody runs.
    pub(crate) fn offline() -> Self {
        Self { is_gone: true, ..Self::default() }
    }

    /// Answers a request once; the first line that fits is used, and the last of its kind again and again.
    pub(crate) fn on(self, request: &str, status: u16, body: &str) -> Self {
        self.on_with(request, status, body, vec![])
    }

    pub(crate) fn on_with(
        self,
        request: &str,
        status: u16,
        body: &str,
        headers: Vec<(&'static str, &'static str)>,
    ) -> Self {
        let line = Line { request: request.to_owned(), status, headers, body: body.to_owned() };
        self.script.lock().unwrap().push(line);
        self
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Every request, with its body.
    pub(crate) fn asked(&self) -> String {
        self.asked.lock().unwrap().join("\n")
    }
}

async fn answer(State(host): State<FakeHost>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().unwrap().as_str();
    let path = path.strip_prefix(DURABLE).unwrap_or(path);
    let line = format!("{} {path}", head.method);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let token = head.headers.get("x-ms-continuation-token");
    let token =
        token.map(|token| format!(" after {}", token.to_str().unwrap())).unwrap_or_default();
    let sent = String::from_utf8(body.to_vec()).unwrap();
    let sent = if sent.is_empty() { sent } else { format!(" {sent}") };
    host.asked.lock().unwrap().push(format!("{line}{token}{sent}"));

    let mut script = host.script.lock().unwrap();
    let Some(at) = script.iter().position(|known| line.starts_with(&known.request)) else {
        return Response::builder().status(404).body(Body::empty()).unwrap();
    };
    let is_last = script[at + 1..].iter().all(|known| known.request != script[at].request);
    let response = |line: &Line| {
        let mut response = Response::builder().status(line.status);
        for (name, value) in &line.headers {
            response = response.header(*name, *value);
        }
        response.body(Body::from(line.body.clone())).unwrap()
    };
    if is_last { response(&script[at]) } else { response(&script.remove(at)) }
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command line, its words with blanks between them, against a host.
pub(crate) async fn run(host: &FakeHost, screen: Screen, line: &str) -> Ran {
    run_words(host, screen, &line.split_whitespace().collect::<Vec<_>>()).await
}

/// The same with words that may hold blanks.
pub(crate) async fn run_words(host: &FakeHost, screen: Screen, words: &[&str]) -> Ran {
    let words = std::iter::once("everstep").chain(words.iter().copied());
    let command = Cli::try_parse_from(words).unwrap().command;
    let Screenful { console, out, err } = Screenful::new(command.output(), screen);
    let life = if host.is_gone { Life::Still } else { Life::Live };
    let mut world = World { console, router: Some((host.router(), life)) };
    let ran: Result<Exit, Fault> = verbs::run(command, &mut world).await;
    let exit = ran.unwrap_or_else(|fault| {
        world.console.fault(&fault);
        fault.exit
    });
    Ran { exit, out: out.text(), err: err.text() }
}
