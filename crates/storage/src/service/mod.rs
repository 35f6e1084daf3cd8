//! A queue and blob service in this process: the protocol of the real one, on disk, with nothing else installed.
//!
//! S1  What was answered is durable: it survives the process's death at any moment.
//! S2  Requests over HTTP are checked for their signatures; the handles of [`Service::queues`] and [`Service::blobs`] go to
//!     the same code without sockets and signatures.
//! S3  Time is an input. Visibility, expiry, leases and signatures all use the one clock of [`ServiceOptions`].
//!
//! On purpose there are no append and page blobs, snapshots, tiers, copies, access policies and tokens of identities; asking
//! for them is answered with an error and never with a pretended success. Start at [`Service::open`].

mod auth;
mod blob_rows;
mod blobs;
mod condition;
mod content;
mod database;
mod fault;
mod queue_rows;
mod queues;
mod request;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::{Router, body::Body};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use rusqlite::OptionalExtension as _;
use tokio::sync::{Notify, mpsc};

use auth::{Access, Level};
use database::Database;
use fault::Fault;
use request::{Asked, body_up_to, empty};

use crate::{
    Clock, VERSION,
    account::{EMULATOR_ACCOUNT, EMULATOR_KEY, Kind},
    client::{Blobs, Queues, Transport, random_id},
    date, system_clock, xml,
};

/// The port on which blob tools expect an emulator.
pub const BLOB_PORT: u16 = 10_000;
/// The port on which queue tools expect an emulator.
pub const QUEUE_PORT: u16 = 10_001;

const DATABASE: &str = "storage.sqlite";
const FILES: &str = "storage-blobs";
/// The longest sleep in [`Service::arrival`]: clocks may jump.
const NAP: Duration = Duration::from_mins(1);

/// How the service is opened.
#[derive(Clone)]
pub struct ServiceOptions {
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self { clock: system_clock() }
    }
}

impl fmt::Debug for ServiceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceOptions").finish_non_exhaustive()
    }
}

/// The service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder or a thread for it cannot be had.
    #[error("the storage service cannot use `{}`: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its database cannot be opened.
    #[error("the storage service's database `{}` cannot be opened: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// Its database is of another version.
    #[error("the storage service's database `{}` has format {found}, which this version cannot read; use the version that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: i64,
    },
}

/// The embedded service. Cheap to clone; the last clone to go closes the files.
#[derive(Clone)]
pub struct Service {
    core: Arc<Core>,
}

/// What all requests share.
pub(crate) struct Core {
    database: Database,
    files: PathBuf,
    key: Vec<u8>,
    clock: Clock,
    arrivals: Arc<Arrivals>,
    writes: Arc<Writes>,
}

/// Who wants to hear of blobs that are written, by container.
#[derive(Default)]
struct Writes(Mutex<Vec<(String, mpsc::UnboundedSender<String>)>>);

impl Writes {
    fn of(&self, container: &str) -> mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listening.push((container.to_owned(), sender));
        receiver
    }

    fn tell(&self, container: &str, blob: &str) {
        let mut listening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listening.retain(|(wanted, sender)| {
            !sender.is_closed() && (wanted != container || sender.send(blob.to_owned()).is_ok())
        });
    }
}

/// Who waits for messages, by queue.
#[derive(Default)]
struct Arrivals(Mutex<HashMap<String, Weak<Notify>>>);

impl Arrivals {
    /// What is notified for a queue, made when nobody waits yet.
    fn of(&self, queue: &str) -> Arc<Notify> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(queue).and_then(Weak::upgrade) {
            return notify;
        }
        waiting.retain(|_, notify| notify.strong_count() > 0);
        let notify = Arc::new(Notify::new());
        waiting.insert(queue.to_owned(), Arc::downgrade(&notify));
        notify
    }

    fn wake(&self, queue: &str) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(queue).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }
}

impl Service {
    /// Opens the service in a folder, which is made if it is not there. Blocks while it looks for what a crash left.
    /// The folder belongs to one process at a time; whoever opens it holds the lock for that.
    pub fn open(folder: &Path, options: ServiceOptions) -> Result<Self, OpenError> {
        let files = folder.join(FILES);
        let failed = |source| OpenError::Io { path: files.clone(), source };
        std::fs::create_dir_all(&files).map_err(failed)?;
        let path = folder.join(DATABASE);
        let database = Database::open(&path)?;
        content::sweep(&path, &files)?;
        let key = BASE64_STANDARD.decode(EMULATOR_KEY).expect("the well-known key is base64");
        let (clock, arrivals, writes) = (options.clock, Arc::default(), Arc::default());
        Ok(Self { core: Arc::new(Core { database, files, key, clock, arrivals, writes }) })
    }

    /// The requests of one service over HTTP. Serve it on a loopback address: the account's key is public.
    pub fn router(&self, kind: Kind) -> Router {
        let core = self.core.clone();
        Router::new().fallback(move |request: Request<Body>| {
            let core = core.clone();
            async move { core.answer(kind, request).await }
        })
    }

    /// Its queues, without a socket.
    pub fn queues(&self) -> Queues {
        Queues::over(Transport::Local(self.core.clone(), Kind::Queue))
    }

    /// Its blobs, without a socket.
    pub fn blobs(&self) -> Blobs {
        Blobs::over(Transport::Local(self.core.clone(), Kind::Blob))
    }

    /// The names of the container's blobs as they are written from now on. The container need not exist yet.
    pub fn written(&self, container: &str) -> mpsc::UnboundedReceiver<String> {
        self.core.writes.of(container)
    }

    /// Waits until a message of the queue can be seen; returns at once if one can. The queue need not exist yet.
    pub async fn arrival(&self, queue: &str) {
        let notify = self.core.arrivals.of(queue);
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            // From here on nothing is missed that becomes durable after the look below.
            notified.as_mut().enable();
            let (name, now) = (queue.to_owned(), self.core.now());
            let look = move |db: &_| queue_rows::next_visible(db, &name, now);
            let nap = match self.core.database.read(look).await {
                Ok(Some(visible)) if visible <= now => return,
                Ok(Some(visible)) => Duration::from_millis(visible.abs_diff(now)).min(NAP),
                Ok(None) | Err(_) => NAP,
            };
            // A nap that ends and a notice mean the same: look again.
            let _ = tokio::time::timeout(nap, notified).await;
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("files", &self.core.files).finish_non_exhaustive()
    }
}

/// Whether a request has to prove who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Signature,
    Given,
}

impl Core {
    fn now(&self) -> i64 {
        date::millis((self.clock)())
    }

    /// What tells those who wait for messages of a queue to look again.
    fn wakes<T>(&self, queue: &str) -> impl FnOnce(&T) + Send + 'static {
        let (arrivals, queue) = (self.arrivals.clone(), queue.to_owned());
        move |_| arrivals.wake(&queue)
    }

    /// What tells those who listen that a blob was written.
    fn tells(&self, container: &str, blob: &str) -> impl FnOnce() + Send + 'static {
        let (writes, container, blob) =
            (self.writes.clone(), container.to_owned(), blob.to_owned());
        move || writes.tell(&container, &blob)
    }

    /// Where the caller found the service, as lists say it.
    #[expect(clippy::unused_self, reason = "it is a property of the service as the caller sees it")]
    fn endpoint(&self, asked: &Asked) -> String {
        format!("http://{}/{EMULATOR_ACCOUNT}", asked.header("host").unwrap_or("localhost"))
    }

    async fn answer(self: Arc<Self>, kind: Kind, request: Request<Body>) -> Response<Body> {
        self.answer_as(kind, request, Trust::Signature).await
    }

    /// Answers a request from within the process.
    pub(crate) async fn answer_trusted(
        self: &Arc<Self>,
        kind: Kind,
        request: Request<Body>,
    ) -> Response<Body> {
        self.answer_as(kind, request, Trust::Given).await
    }

    async fn answer_as(&self, kind: Kind, request: Request<Body>, trust: Trust) -> Response<Body> {
        let has_body = request.method() != Method::HEAD;
        let client_id = request.headers().get("x-ms-client-request-id").cloned();
        let version = request.headers().get("x-ms-version").cloned();
        let (request_id, now) = (random_id(), self.now());
        let mut response = match self.act(kind, request, trust, now).await {
            Ok(response) => response,
            Err(fault) => fault.response(&request_id, &date::iso8601(now), has_body),
        };
        let headers = response.headers_mut();
        let text = |text: &str| HeaderValue::try_from(text).expect("ids and dates are ASCII");
        headers.insert("x-ms-request-id", text(&request_id));
        headers.insert("x-ms-version", version.unwrap_or_else(|| text(VERSION)));
        headers.insert("date", text(&date::rfc1123(now)));
        if let Some(client_id) = client_id {
            headers.insert("x-ms-client-request-id", client_id);
        }
        response
    }

    async fn act(
        &self,
        kind: Kind,
        request: Request<Body>,
        trust: Trust,
        now: i64,
    ) -> Result<Response<Body>, Fault> {
        let (asked, body) = Asked::read(request)?;
        let access = match trust {
            Trust::Given => Access::Full,
            Trust::Signature => {
                auth::check_origin(&asked)?;
                auth::identify(&asked, kind, &self.key, now)?
            }
        };
        match kind {
            Kind::Queue => queues::answer(self, &access, asked, body).await,
            Kind::Blob => blobs::answer(self, &access, asked, body).await,
        }
    }

    /// Logging, metrics and rules for browsers: kept as they are set, and nothing more.
    async fn service_properties(
        &self,
        access: &Access,
        asked: &Asked,
        body: Body,
        kind: Kind,
    ) -> Result<Response<Body>, Fault> {
        match asked.method {
            Method::GET => {
                access.allow(Level::Service, "r")?;
                let read = move |db: &rusqlite::Connection| {
                    let mut found =
                        db.prepare_cached("SELECT document FROM properties WHERE service = ?")?;
                    Ok(found.query_row([kind.word()], |row| row.get::<_, String>(0)).optional()?)
                };
                let kept = self.database.read(read).await?;
                let mut writer = xml::Writer::new();
                match kept {
                    Some(document) => writer.raw(document.trim_start_matches('\u{feff}')),
                    None => writer.raw(PROPERTIES),
                };
                Ok(request::document(StatusCode::OK, writer))
            }
            Method::PUT => {
                access.allow(Level::Service, "w")?;
                let body = body_up_to(body, 64 << 10).await?;
                let document = xml::parse(&body).ok_or_else(Fault::invalid_xml)?;
                if document.name != "StorageServiceProperties" {
                    return Err(Fault::invalid_xml());
                }
                let document = document.written();
                let write = move |db: &rusqlite::Connection| {
                    let sql = "INSERT OR REPLACE INTO properties (service, document) VALUES (?, ?)";
                    db.prepare_cached(sql)?.execute([kind.word(), &document])?;
                    Ok(())
                };
                self.database.write(write).await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            _ => Err(Fault::wrong_method()),
        }
    }
}

/// What a service has that was never told otherwise.
const PROPERTIES: &str = "<StorageServiceProperties><Logging><Version>1.0</Version><Delete>false</Delete><Read>false</Read><Write>false</Write><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging><HourMetrics><Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></HourMetrics><MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></MinuteMetrics><Cors /></StorageServiceProperties>";
