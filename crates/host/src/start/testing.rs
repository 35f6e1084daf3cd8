//! A host for tests: everything that a start makes, in a folder of its own, asked without a socket.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use everstep::App;
use everstep_storage::service::ServiceOptions;
use http::{HeaderMap, Request, header};
use tower::ServiceExt as _;

use super::{Code, Start, Tasks};
use crate::{
    FunctionApp, StartArgs,
    configuration::{self, Places},
    cors::Cors,
    front,
    site::Site,
    storage::{Connection, Ports},
    triggers::{self, Listeners},
};

/// A host that runs, and its folder. The folder stays if a test fails: a host whose folder goes away ends the process.
pub(crate) struct Running {
    pub(crate) site: Arc<Site>,
    tasks: Tasks,
    folder: PathBuf,
    listeners: Option<Listeners>,
}

/// An answer to a request.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// An app without functions.
pub(crate) fn nothing() -> FunctionApp {
    FunctionApp::new(App::new("1"))
}

/// A folder that stays.
pub(crate) fn folder() -> PathBuf {
    tempfile::tempdir().unwrap().keep()
}

impl Running {
    /// A host that asks for no keys.
    pub(crate) async fn open(app: FunctionApp) -> Self {
        Self::with_file(app, "host.json", r#"{"version": "2.0"}"#).await
    }

    /// A host whose app's folder has this file.
    pub(crate) async fn with_file(app: FunctionApp, name: &str, text: &str) -> Self {
        let folder = folder();
        std::fs::write(folder.join(name), text).unwrap();
        Self::start(app, folder, StartArgs::default()).await
    }

    /// A host that asks for keys.
    pub(crate) async fn with_keys(app: FunctionApp) -> Self {
        Self::start(app, folder(), StartArgs { enable_auth: true, ..StartArgs::default() }).await
    }

    /// A host that lets earlier work wait.
    pub(crate) async fn held(app: FunctionApp) -> Self {
        Self::start(app, folder(), StartArgs { hold: true, ..StartArgs::default() }).await
    }

    /// A host on a folder that may hold what another one left.
    pub(crate) async fn start(app: FunctionApp, folder: PathBuf, args: StartArgs) -> Self {
        Self::start_with(app, folder, args, ServiceOptions::default()).await
    }

    /// A host whose queues and blobs have a clock of their own.
    pub(crate) async fn start_with(
        app: FunctionApp,
        folder: PathBuf,
        args: StartArgs,
        service: ServiceOptions,
    ) -> Self {
        let places = Places::of(&folder);
        let start = Start {
            args: &args,
            places: &places,
            configured: configuration::read(&places, "localhost:7071").unwrap(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            url: "http://localhost:7071".to_owned(),
            storage: (Ports::Any, service),
            began: Instant::now(),
        };
        let (site, tasks) = start.site(Code::Rust(Box::new(|_| Ok(app)))).await.unwrap();
        Self { site, tasks, folder, listeners: None }
    }

    /// The same with the listeners of its triggers, as a host has that serves.
    pub(crate) async fn listening(mut self) -> Self {
        self.listeners = Some(triggers::start(&self.site).await);
        self
    }

    /// Lets the listeners finish what they began.
    pub(crate) async fn deafen(&mut self) {
        if let Some(listeners) = self.listeners.take() {
            listeners.stop(Duration::MAX).await;
        }
    }

    /// The queues and blobs of the app.
    pub(crate) async fn connection(&self) -> Arc<Connection> {
        self.site.storage.connection("").await.unwrap()
    }

    /// Sends a request such as `GET /admin/functions`; a body is JSON.
    pub(crate) async fn ask(&self, line: &str, body: &str) -> Answered {
        self.ask_as(line, "application/json", body).await
    }

    /// Sends a request with a body of this type.
    pub(crate) async fn ask_as(&self, line: &str, content_type: &str, body: &str) -> Answered {
        self.ask_with(line, &[(header::CONTENT_TYPE.as_str(), content_type)], body).await
    }

    /// Sends a request with these headers.
    pub(crate) async fn ask_with(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let router = front::router(&self.site, Cors::default());
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answered {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// The key that opens everything.
    pub(crate) fn master(&self) -> String {
        self.site.keys.read(|ring| ring.master().as_str().to_owned())
    }

    /// Ends the host and checks that it ends well.
    pub(crate) async fn stop(self) {
        std::fs::remove_dir_all(self.leave().await).unwrap();
    }

    /// Ends the host, checks that it ends well, and tells where it was.
    pub(crate) async fn leave(mut self) -> PathBuf {
        self.deafen().await;
        self.tasks.finish(self.site, Duration::ZERO).await.unwrap();
        self.folder
    }
}

impl Answered {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
