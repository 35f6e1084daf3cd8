//! Azure Files: shares, listings, properties, contents, and the shares of an account as the management API lists them.
//!
//! A1  Every request is checked first: a signature with the account's key and a date at most 15 minutes off, or a token for
//!     storage with the intent that goes with it.
//! A2  Pages are shorter than what was asked for when the server says so, markers are opaque and belong to one directory, and
//!     an empty page may stand between full ones.
//! A3  What a request does not ask for is left out: times without `Timestamps`, tags without `ETag`.
//! A4  Without `x-ms-allow-trailing-dot` dots at the end of names are dropped, so such names are not reached.
//!
//! Absent on purpose: writing by requests, snapshots' contents, leases, access signatures. Start at [`Files`].

mod auth;
mod listing;
mod read;
mod shares;

use std::{
    io,
    sync::{Arc, RwLock},
};

use everstep_storage::{Clock, account::EMULATOR_KEY, system_clock};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::{
    faults::Faults,
    server::{Asked, Payload, Server, Service},
    tls::Transport,
    tree::{Content, Share, Times, Tree},
};

/// How the service behaves.
#[derive(Clone)]
pub struct FilesOptions {
    /// The account's name.
    pub account: String,
    /// Its key, in base64.
    pub key: String,
    /// The server's own limit of a page; a client may ask for less.
    pub page_max: usize,
    /// Whether pages without entries come in between.
    pub empty_pages: EmptyPages,
    /// Whether it speaks TLS.
    pub transport: Transport,
    /// The port on loopback; 0 is any free one.
    pub port: u16,
    /// The time by which dates and tokens are checked.
    pub clock: Clock,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            account: "standin".to_owned(),
            key: EMULATOR_KEY.to_owned(),
            page_max: 1_000,
            empty_pages: EmptyPages::Between,
            transport: Transport::Plain,
            port: 0,
            clock: system_clock(),
        }
    }
}

/// Where pages without entries stand. The real service gives them too, when it has looked at much and found little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyPages {
    /// Nowhere.
    Never,
    /// After the first page of a listing that has a second.
    Between,
}

/// A running file service. It ends when this is dropped.
pub struct Files {
    server: Server,
    state: Arc<State>,
    certificate: Option<String>,
}

struct State {
    options: FilesOptions,
    key: Vec<u8>,
    tree: RwLock<Tree>,
}

impl Files {
    /// Serves a tree.
    pub async fn start(tree: Tree) -> Self {
        let started = Self::start_with(tree, FilesOptions::default()).await;
        started.expect("loopback has a free port")
    }

    /// Serves a tree in a certain way.
    pub async fn start_with(tree: Tree, options: FilesOptions) -> io::Result<Self> {
        let key = auth::decode_key(&options.key)?;
        let (port, tls) = (options.port, options.transport.tls());
        let state = Arc::new(State { options, key, tree: RwLock::new(tree) });
        let server = Server::start(Arc::clone(&state), port, tls.as_ref()).await?;
        Ok(Self { server, state, certificate: tls.map(|tls| tls.certificate) })
    }

    /// Where it answers; also as a management endpoint.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What clients have to trust, as PEM, if it speaks TLS.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.state.options.account
    }

    /// The account's key, in base64.
    pub fn key(&self) -> &str {
        &self.state.options.key
    }

    /// What fails. Operations are `ListShares`, `ListDirectory`, `GetProperties`, `GetFile` and `ManagementListShares`.
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// How often an operation was asked for.
    pub fn calls(&self, operation: &str) -> u64 {
        self.server.calls(operation)
    }

    /// Puts a file into a built share, in place of what is there.
    pub fn put(&self, share: &str, path: &str, content: impl Into<Content>, times: Times) {
        let mut tree = self.state.tree.write().expect("nothing panics while it is held");
        tree.shares.entry(share.to_owned()).or_insert_with(Share::built).put(
            path,
            content.into(),
            times,
        );
    }

    /// Removes a file or a directory with all that is in it; whether there was one.
    pub fn remove(&self, share: &str, path: &str) -> bool {
        let mut tree = self.state.tree.write().expect("nothing panics while it is held");
        tree.shares.get_mut(share).is_some_and(|share| share.remove(path))
    }

    /// Removes a share; whether there was one.
    pub fn remove_share(&self, share: &str) -> bool {
        let mut tree = self.state.tree.write().expect("nothing panics while it is held");
        tree.shares.remove(share).is_some()
    }

    /// Closes a share to everyone.
    pub fn forbid(&self, share: &str) {
        let mut tree = self.state.tree.write().expect("nothing panics while it is held");
        if let Some(share) = tree.shares.get_mut(share) {
            share.is_forbidden = true;
        }
    }
}

/// Why a request is refused.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn not_found() -> Self {
        let message = "The specified resource does not exist.";
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
    }

    fn parameter(name: &str) -> Self {
        let message = format!("The query parameter {name} is invalid or out of its range.");
        Self::new(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", message)
    }
}

/// What a request means.
enum Wanted {
    Shares,
    Listing,
    Properties,
    File,
    ManagementShares,
    Unknown,
}

fn wanted(asked: &Asked) -> Wanted {
    let (comp, restype) = (asked.parameter("comp"), asked.parameter("restype"));
    let is_root = asked.path == "/";
    match (&asked.method, comp, restype) {
        (&Method::GET, _, _) if asked.path.starts_with("/subscriptions/") => {
            Wanted::ManagementShares
        }
        (&Method::GET, Some("list"), None) if is_root => Wanted::Shares,
        (&Method::GET, Some("list"), Some("directory")) if !is_root => Wanted::Listing,
        (&Method::HEAD, None, None) if !is_root => Wanted::Properties,
        (&Method::GET, None, None) if !is_root => Wanted::File,
        _ => Wanted::Unknown,
    }
}

impl Service for State {
    fn operation(&self, asked: &Asked) -> &'static str {
        match wanted(asked) {
            Wanted::Shares => "ListShares",
            Wanted::Listing => "ListDirectory",
            Wanted::Properties => "GetProperties",
            Wanted::File => "GetFile",
            Wanted::ManagementShares => "ManagementListShares",
            Wanted::Unknown => "Unknown",
        }
    }

    fn answer(&self, asked: &Asked) -> Response<Payload> {
        let answer = match wanted(asked) {
            Wanted::ManagementShares => Ok(self.management_shares(asked)),
            Wanted::Unknown => Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "UnsupportedHttpVerb",
                "The resource doesn't support the specified HTTP verb.",
            )),
            wanted => self.storage(asked, &wanted),
        };
        let mut answer = answer
            .unwrap_or_else(|refused| self.refusal(refused.status, refused.code, &refused.message));
        let version = asked.headers.get("x-ms-version").cloned();
        if let Some(version) = version {
            answer.headers_mut().insert("x-ms-version", version);
        }
        answer.headers_mut().insert("x-ms-request-id", HeaderValue::from_static("stand-in"));
        if asked.method == Method::HEAD && answer.status().is_client_error() {
            *answer.body_mut() = Payload::empty();
        }
        answer
    }

    fn refusal(&self, status: StatusCode, code: &str, message: &str) -> Response<Payload> {
        let mut answer = Response::new(Payload::text(format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code><Message>{}\nRequestId:stand-in</Message></Error>",
            listing::escape(code),
            listing::escape(message)
        )));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/xml"));
        if let Ok(code) = HeaderValue::from_str(code) {
            headers.insert("x-ms-error-code", code);
        }
        answer
    }
}

impl State {
    fn storage(&self, asked: &Asked, wanted: &Wanted) -> Result<Response<Payload>, Refused> {
        self.check(asked)?;
        let tree = self.tree.read().expect("nothing panics while it is held");
        if let Wanted::Shares = wanted {
            return self.list_shares(asked, &tree);
        }
        let mut path = asked.parts();
        if asked.header("x-ms-allow-trailing-dot") != Some("true") {
            for part in &mut path {
                part.truncate(part.trim_end_matches('.').len());
            }
        }
        let share = tree.shares.get(&path[0]).ok_or_else(|| {
            let message = "The specified share does not exist.";
            Refused::new(StatusCode::NOT_FOUND, "ShareNotFound", message)
        })?;
        if share.is_forbidden {
            let message = "This request is not authorized to perform this operation.";
            return Err(Refused::new(StatusCode::FORBIDDEN, "AuthorizationFailure", message));
        }
        if share.is_nfs {
            // The code is this stand-in's own: what the real one says differs between operations.
            let message = "The operation is not supported on a share that is mounted by NFS.";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "NfsNotSupported", message));
        }
        match wanted {
            Wanted::Listing => self.list_directory(asked, share, &path),
            Wanted::Properties => read::properties(share, &path[1..]),
            _ => read::content(asked, share, &path[1..]),
        }
    }
}
