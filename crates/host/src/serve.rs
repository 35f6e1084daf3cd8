//! Listening: connections, their limits, their orderly end.
//!
//! L1  A connection that does not send its headers in time is closed; so is one over the limit.
//! L2  A stop takes no new connection, lets every request under way be answered, and closes the idle ones.
//! L3  With HTTPS a greeting takes no longer than headers may, and holds up nobody else. Who speaks plain HTTP is told.
//!
//! Absent on purpose: routes. A connection hands requests to one service and knows nothing of them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, uri::Scheme};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::{Layer as _, ServiceExt as _};

/// What a client is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) connections: usize,
    /// For all headers of a request to arrive.
    pub(crate) headers_time: Duration,
    /// Headers of one request.
    pub(crate) headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 20_000, headers_time: Duration::from_secs(30), headers: 128 }
    }
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else does.
    #[error(
        "Port {port} is unavailable. Close the process using that port{holder}, or specify another port using --port [-p]."
    )]
    InUse {
        /// The port.
        port: u16,
        /// Who has it, if that can be found out: ` (name, pid 12)`.
        holder: String,
    },
    /// The address is not one of this machine, or the port is not allowed.
    #[error("cannot listen on {address}: {source}; choose another with --address and --port")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Takes an address.
pub(crate) async fn bind(address: IpAddr, port: u16) -> Result<TcpListener, BindError> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { port, holder: holder(port) },
        _ => BindError::Address { address, source },
    })
}

/// Who listens on a port, as far as the system tells.
#[cfg(target_os = "linux")]
fn holder(port: u16) -> String {
    let Some(inode) = listening_inode(port) else { return String::new() };
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let owner =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
            let files =
                std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files
                .filter_map(|file| std::fs::read_link(file.path()).ok())
                .any(|target| target.as_os_str() == wanted.as_str())
        });
    owner.map_or_else(String::new, |pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!(" ({}, pid {pid})", name.trim())
    })
}

#[cfg(not(target_os = "linux"))]
fn holder(_: u16) -> String {
    String::new()
}

#[cfg(target_os = "linux")]
fn listening_inode(port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let is_ours = columns.get(1)?.ends_with(&suffix) && *columns.get(3)? == LISTEN;
            is_ours.then(|| columns.get(9).map(|inode| (*inode).to_owned())).flatten()
        })
    })
}

/// Serves until `stop` says so, then until every request under way is answered or `grace` is over.
pub(crate) async fn serve(
    listener: TcpListener,
    https: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, peer)) = accepted_or_wait(accepted).await else { continue };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            // Dropping the stream closes it: somebody over the limit hears so at once.
            tracing::warn!(target: "Host.General", %peer, limit = limits.connections, "a connection is refused: there are too many");
            continue;
        };
        // Answers are small and wanted at once.
        drop(stream.set_nodelay(true));
        let (router, https, watcher) = (router.clone(), https.clone(), graceful.watcher());
        tokio::spawn(async move {
            let ended = match https {
                None => watcher.watch(connection(stream, peer, Scheme::HTTP, router, limits)).await,
                Some(https) => {
                    let Some(stream) = greeted(&https, stream, peer, limits).await else { return };
                    watcher.watch(connection(stream, peer, Scheme::HTTPS, router, limits)).await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(target: "Host.General", %peer, %error, "a connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(target: "Host.General", "some requests were still under way when the time to drain was over");
    }
}

async fn accepted_or_wait(
    accepted: io::Result<(TcpStream, SocketAddr)>,
) -> Option<(TcpStream, SocketAddr)> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            // Out of descriptors, most likely: asking again at once would only heat the machine.
            tracing::warn!(target: "Host.General", %error, "a connection could not be taken");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// A connection that speaks HTTPS from here on.
async fn greeted(
    https: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    limits: Limits,
) -> Option<TlsStream<TcpStream>> {
    let greeting = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            refuse_plain(stream).await?;
            return Err(io::Error::other("it speaks plain HTTP"));
        }
        https.accept(stream).await
    };
    match tokio::time::timeout(limits.headers_time, greeting).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(target: "Host.General", %peer, %error, "a connection does not speak HTTPS");
            None
        }
        Err(_) => None,
    }
}

/// TLS begins with no letter, a request does.
async fn refuse_plain(mut stream: TcpStream) -> io::Result<()> {
    const TEXT: &str = "this host speaks HTTPS; write https:// in front of the address\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{TEXT}",
        TEXT.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    scheme: Scheme,
    router: Router,
    limits: Limits,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> {
    let service =
        tower::util::MapRequestLayer::new(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            // Links in answers say how the request came.
            request.extensions_mut().insert(scheme.clone());
            request.map(Body::new)
        })
        .layer(router)
        .map_err(|never| match never {});
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_time)
        .max_headers(limits.headers)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}

#[cfg(test)]
mod tests {
    use axum::{Extension, routing::get};
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::tls;

    /// A host with HTTPS that answers with the scheme, and how to end it.
    async fn secure(folder: &std::path::Path) -> (SocketAddr, watch::Sender<bool>) {
        let https = tls::own(folder, "127.0.0.1").unwrap();
        let listener = bind(IpAddr::from([127, 0, 0, 1]), 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = async |Extension(scheme): Extension<Scheme>| scheme.to_string();
        let router = Router::new().route("/", get(scheme));
        let (stop, stopped) = watch::channel(false);
        let limits = Limits::default();
        tokio::spawn(serve(
            listener,
            Some(https.acceptor),
            router,
            limits,
            stopped,
            Duration::from_secs(5),
        ));
        (address, stop)
    }

    #[tokio::test]
    async fn requests_by_https_are_answered_and_know_how_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let (address, stop) = secure(folder.path()).await;
        let pem = std::fs::read(folder.path().join("https.pem")).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
            .build()
            .unwrap();
        let url = format!("https://localhost:{}/", address.port());
        let answer = client.get(url).send().await.unwrap().text().await.unwrap();
        assert_eq!(answer, "https");
        stop.send(true).unwrap();
    }

    #[tokio::test]
    async fn who_speaks_plain_http_to_https_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (address, stop) = secure(folder.path()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(
            answer.ends_with(
                "\r\n\r\nthis host speaks HTTPS; write https:// in front of the address\n"
            ),
            "{answer}"
        );
        stop.send(true).unwrap();
    }
}
