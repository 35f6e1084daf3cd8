//! A small HTTP server on loopback that can also fail: it counts requests, applies faults, and cuts connections.
//!
//! S1  Dropping the handle ends the server with all its connections.
//! S2  A fault that loses an answer strikes after the request was done.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    faults::{Fault, Faults},
    tls::{Tls, Transport},
    tree::Content,
};

/// More than any service takes.
const BODY_MAX: usize = 64 << 20;

/// What a stand-in does with requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// The operation's name, for counts and faults.
    fn operation(&self, asked: &Asked) -> &'static str;

    /// Does what is asked.
    fn answer(&self, asked: &Asked) -> Response<Payload>;

    /// A refusal in the service's form.
    fn refusal(&self, status: StatusCode, code: &str, message: &str) -> Response<Payload>;
}

/// A request with its whole body.
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// As it was sent.
    pub(crate) path: String,
    /// As it was sent, without the question mark.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    parameters: Vec<(String, String)>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The parts of the path, decoded. A slash may be encoded too.
    pub(crate) fn parts(&self) -> Vec<String> {
        let path = percent_decode_str(&self.path).decode_utf8_lossy().into_owned();
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// The token of `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Payload {
    content: Content,
    at: u64,
    end: u64,
    /// Where it breaks off.
    breaks: Option<u64>,
    /// Whether what stands before the break had its chance to leave.
    has_waited: bool,
}

impl Payload {
    pub(crate) fn empty() -> Self {
        Self::whole(Content::Bytes(Bytes::new()))
    }

    pub(crate) fn text(text: String) -> Self {
        Self::whole(Content::Bytes(text.into()))
    }

    pub(crate) fn whole(content: Content) -> Self {
        let end = content.size();
        Self::part(content, 0, end)
    }

    /// The bytes from `at` to before `end`.
    pub(crate) fn part(content: Content, at: u64, end: u64) -> Self {
        Self { content, at, end, breaks: None, has_waited: false }
    }

    fn broken_after(self, bytes: u64) -> Self {
        let breaks = Some(self.at.saturating_add(bytes));
        Self { breaks, ..self }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        const CHUNK: u64 = 64 << 10;
        if self.breaks.is_some_and(|breaks| self.at >= breaks) {
            // The server sends what it has when a body makes it wait, and throws it away when a body fails.
            if !self.has_waited {
                self.has_waited = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        let stop = self.end.min(self.breaks.unwrap_or(self.end)).min(self.at + CHUNK);
        let bytes = self.content.read(self.at, stop);
        self.at = stop;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end && self.breaks.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

/// Counts of requests by operation.
pub(crate) type Calls = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    transport: Transport,
    pub(crate) faults: Faults,
    calls: Calls,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves on a port of loopback; 0 is any free one.
    pub(crate) async fn start(
        service: Arc<impl Service>,
        port: u16,
        tls: Option<&Tls>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let (faults, calls) = (Faults::default(), Calls::default());
        let shared =
            Arc::new(Shared { service, faults: faults.clone(), calls: Arc::clone(&calls) });
        let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.config)));
        let task = tokio::spawn(accept(listener, acceptor, shared));
        let transport = if tls.is_some() { Transport::Tls } else { Transport::Plain };
        Ok(Self { address, transport, faults, calls, task })
    }

    pub(crate) fn url(&self) -> String {
        match self.transport {
            Transport::Plain => format!("http://{}", self.address),
            Transport::Tls => format!("https://localhost:{}", self.address.port()),
        }
    }

    /// How often an operation was asked for, faults included.
    pub(crate) fn calls(&self, operation: &str) -> u64 {
        let calls = self.calls.lock().expect("nothing panics while it is held");
        calls.get(operation).copied().unwrap_or(0)
    }
}

struct Shared<S> {
    service: Arc<S>,
    faults: Faults,
    calls: Calls,
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared<impl Service>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that failed before it began is the client's to notice.
                let Ok((stream, _)) = accepted else { continue };
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                connections.spawn(connection(stream, acceptor, shared));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared<impl Service>>,
) {
    // Small answers are waited for; without this they wait for the client's acknowledgement. It may fail only when the
    // connection is gone already.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => serve(stream, shared).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, shared).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    shared: Arc<Shared<impl Service>>,
) {
    let answer = service_fn(|request| answer(Arc::clone(&shared), request));
    // How a connection ended is no concern of a stand-in.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// An error ends the connection without an answer.
async fn answer(
    shared: Arc<Shared<impl Service>>,
    request: Request<Incoming>,
) -> io::Result<Response<Payload>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(io::Error::other)?.to_bytes();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let parameters = everstep_storage::account::sign::decode_query(&query);
    let (method, path, headers) = (parts.method, parts.uri.path().to_owned(), parts.headers);
    let asked = Asked { method, path, query, headers, body, parameters };
    let operation = shared.service.operation(&asked);
    *shared.calls.lock().expect("nothing panics while it is held").entry(operation).or_default() +=
        1;
    let (wait, fault) =
        shared.faults.next(&format!("{operation} {} {}?{}", asked.method, asked.path, asked.query));
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    struck(&*shared.service, &asked, fault)
}

fn struck(
    service: &impl Service,
    asked: &Asked,
    fault: Option<Fault>,
) -> io::Result<Response<Payload>> {
    let cut = || io::Error::from(io::ErrorKind::ConnectionReset);
    match fault {
        None | Some(Fault::Delay(_)) => Ok(service.answer(asked)),
        Some(Fault::Cut) => Err(cut()),
        Some(Fault::LoseAnswer) => {
            service.answer(asked);
            Err(cut())
        }
        Some(Fault::BreakBody(bytes)) => {
            Ok(service.answer(asked).map(|body| body.broken_after(bytes)))
        }
        Some(Fault::Refuse { status, code, retry_after }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut answer = service.refusal(status, &code, "This failure was asked for.");
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert("retry-after", HeaderValue::from(seconds));
            }
            Ok(answer)
        }
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Payload> {
    let mut answer = Response::new(Payload::text(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    answer
}
