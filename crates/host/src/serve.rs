//! Listening: connections, their limits, their orderly end.
//!
//! L1  A connection that does not send its headers in time is closed; so is one over the limit.
//! L2  A stop takes no new connection, lets every request under way be answered, and closes the idle ones.
//!
//! Absent on purpose: routes. A connection hands requests to one service and knows nothing of them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::Request;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
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
        let connection = connection(stream, peer, router.clone(), limits);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
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

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> {
    // Answers are small and wanted at once.
    drop(stream.set_nodelay(true));
    let service =
        tower::util::MapRequestLayer::new(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
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
