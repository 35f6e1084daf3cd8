//! The API as a whole: what the host tells it, its doors, and the way of a request through it.
//!
//! A1  There are two doors: the webhook, which asks for a key, and the one for language workers on the loopback
//!     interface, which asks for none and takes bodies of any length. Behind them stand the same handlers.
//! A2  Links that a response carries are of the webhook, whichever door the request came through.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::any,
};
use bytes::Bytes;
use everstep_model::ReusePolicy;
use everstep_runtime::Client;
use http::{HeaderMap, Uri, header, request::Parts};

use crate::{
    Sql, archive, bulk, counts, entity,
    error::{Answer, Refusal},
    history, instance, json, list, openapi, operation, purge,
    query::Query,
    route::{self, Target},
    sql, start, stream, why,
};

/// The extension whose API this is.
const EXTENSION: &str = "durabletask";
/// Where extensions are mounted.
const WEBHOOKS: &str = "/runtime/webhooks";

/// The management API of one hub.
pub struct Api {
    pub(crate) options: ApiOptions,
}

/// What the host tells the API.
pub struct ApiOptions {
    /// Whom to ask.
    pub client: Client,
    /// The hub's name.
    pub hub: String,
    /// The name of the connection setting; may be empty.
    pub connection: String,
    /// Which functions there are.
    pub functions: Arc<dyn Functions>,
    /// Who may ask.
    pub keys: Arc<dyn Keys>,
    /// Which version of the extension to be like.
    pub compat: Compat,
    /// Whether `X-Forwarded-Host` and `X-Forwarded-Proto` say how the host is reached.
    pub use_forwarded_host: bool,
    /// The host and port in all links, whatever a request was sent to: that of a proxy in front, or of a container.
    pub public_host: Option<String>,
    /// How the host is reached when no request tells it.
    pub base: Base,
    /// The most bytes that a body may have at the webhook.
    pub bodies_max: usize,
    /// The version of orchestrations that are started without one.
    pub default_version: String,
    /// Which existing instances a start under their id replaces.
    pub reuse: ReusePolicy,
    /// Runs queries, if the store can.
    pub sql: Option<Arc<dyn Sql>>,
}

impl ApiOptions {
    /// Options of a hub, everything else as it is by default.
    pub fn new(
        client: Client,
        hub: impl Into<String>,
        functions: Arc<dyn Functions>,
        keys: Arc<dyn Keys>,
    ) -> Self {
        Self {
            client,
            hub: hub.into(),
            connection: String::new(),
            functions,
            keys,
            compat: Compat::V3,
            use_forwarded_host: false,
            public_host: None,
            base: Base("http://localhost:7071".to_owned()),
            bodies_max: 100 << 20,
            default_version: String::new(),
            reuse: ReusePolicy::ended(),
            sql: None,
        }
    }
}

/// Which version of the Durable Functions extension the API behaves like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compat {
    /// 2.13.
    V2,
    /// 3.x.
    #[default]
    V3,
}

/// Scheme and authority under which the host is reached, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(pub String);

/// The functions of an app. `None` means that they are not known, and then names are not checked.
pub trait Functions: Send + Sync {
    /// The names of its orchestrators as they are written.
    fn orchestrators(&self) -> Option<Arc<[String]>>;
    /// The names of its entities as they are written.
    fn entities(&self) -> Option<Arc<[String]>>;
}

/// Who may ask.
pub trait Keys: Send + Sync {
    /// What somebody may who presents this key, or none.
    fn check(&self, presented: Option<&str>) -> Access;
    /// The key that links carry.
    fn system_key(&self) -> Option<String>;
}

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Granted,
    /// Nothing.
    Denied,
}

/// Which status code says that an instance has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// 200, as for any other end.
    #[default]
    Ok,
    /// 500.
    InternalServerError,
}

/// Through which door a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Webhook,
    Rpc,
}

/// A request on its way to a handler.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) door: Door,
    pub(crate) parts: Parts,
    pub(crate) query: Query,
    /// The variable segments of the path.
    pub(crate) path: Vec<String>,
    /// Empty where the route takes none.
    pub(crate) body: Bytes,
}

impl Api {
    /// An API with these options.
    pub fn new(options: ApiOptions) -> Self {
        Self { options }
    }

    /// The webhook: `/runtime/webhooks/{extension}/...`, with a key.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route(&format!("{WEBHOOKS}/{{extension}}"), any(webhook))
            .route(&format!("{WEBHOOKS}/{{extension}}/"), any(webhook))
            .route(&format!("{WEBHOOKS}/{{extension}}/{{*rest}}"), any(webhook))
            .with_state(Arc::clone(self))
    }

    /// The same routes under another prefix such as `/durabletask`, without a key: for language workers on this machine.
    pub fn rpc_router(self: &Arc<Self>, prefix: &str) -> Router {
        let prefix = format!("/{}", prefix.trim_matches('/'));
        let stripped: Arc<str> = prefix.as_str().into();
        let handler = move |State(api): State<Arc<Api>>, request: Request| async move {
            let rest = request.uri().path().strip_prefix(&*stripped).unwrap_or_default().to_owned();
            api.answer(Door::Rpc, &rest, request).await
        };
        Router::new()
            .route(&prefix, any(handler.clone()))
            .route(&format!("{prefix}/"), any(handler.clone()))
            .route(&format!("{prefix}/{{*rest}}"), any(handler))
            .with_state(Arc::clone(self))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.options.client
    }

    async fn answer(self: Arc<Self>, door: Door, path: &str, request: Request) -> Response {
        let answer = self.handle(door, path, request).await;
        answer.unwrap_or_else(axum::response::IntoResponse::into_response)
    }

    async fn handle(self: Arc<Self>, door: Door, path: &str, request: Request) -> Answer {
        let (parts, body) = request.into_parts();
        let query = Query::of(&parts.uri);
        if door == Door::Webhook {
            self.admit(&parts.headers, &query)?;
        }
        self.check_hub(&query)?;
        let (entry, variables) = route::find(&parts.method, path, self.options.compat)?;
        let (body, stream) = if entry.target.takes_body() {
            (self.read(door, body).await?, Body::empty())
        } else {
            (Bytes::new(), body)
        };
        let call = Call { api: self, door, parts, query, path: variables, body };
        match entry.target {
            Target::Start => start::start(call).await,
            Target::ListEntities => entity::list(call).await,
            Target::GetEntity => entity::get(call).await,
            Target::SignalEntity => entity::signal(call).await,
            Target::DeleteEntity => entity::delete(call).await,
            Target::List => list::list(call).await,
            Target::PurgeMany => purge::many(call).await,
            Target::PurgeHistory => purge::history(call).await,
            Target::Counts => counts::counts(call).await,
            Target::Bulk => bulk::bulk(call).await,
            Target::Status => instance::status(call).await,
            Target::PurgeOne => purge::one(call).await,
            Target::Why => why::why(call).await,
            Target::History => history::raw(call).await,
            Target::Stream => stream::stream(call).await,
            Target::Record => archive::record(call).await,
            Target::Import => archive::import(call, stream).await,
            Target::Terminate => operation::terminate(call).await,
            Target::Rewind => operation::rewind(call).await,
            Target::Restart => start::restart(call).await,
            Target::Suspend => operation::suspend(call).await,
            Target::Resume => operation::resume(call).await,
            Target::Unpark => operation::unpark(call).await,
            Target::Raise => operation::raise(call).await,
            Target::MakePrimary => Ok(json::empty(http::StatusCode::OK)),
            Target::Sql => sql::sql(call).await,
            Target::OpenApi => Ok(openapi::document()),
        }
    }

    /// The header wins over the parameter; of several values the first is read.
    fn admit(&self, headers: &HeaderMap, query: &Query) -> Result<(), Refusal> {
        let header = headers.get("x-functions-key").map(|value| value.to_str().unwrap_or_default());
        match self.options.keys.check(header.or_else(|| query.first("code"))) {
            Access::Granted => Ok(()),
            Access::Denied => Err(Refusal::UNAUTHORIZED),
        }
    }

    async fn read(&self, door: Door, body: Body) -> Result<Bytes, Refusal> {
        let limit = match door {
            Door::Webhook => self.options.bodies_max,
            Door::Rpc => usize::MAX,
        };
        axum::body::to_bytes(body, limit).await.map_err(|_| Refusal::too_long(limit))
    }

    fn check_hub(&self, query: &Query) -> Result<(), Refusal> {
        match query.text("taskHub") {
            Some(named) if !named.eq_ignore_ascii_case(&self.options.hub) => {
                Err(Refusal::unknown_hub(&named, &self.options.hub))
            }
            _ => Ok(()),
        }
    }
}

impl Call {
    /// The n-th variable segment of the path.
    pub(crate) fn segment(&self, n: usize) -> &str {
        self.path.get(n).map_or("", String::as_str)
    }

    /// The connection that the request names, or the app's.
    pub(crate) fn connection(&self) -> String {
        self.query
            .text("connection")
            .map_or_else(|| self.api.options.connection.clone(), std::borrow::Cow::into_owned)
    }

    /// The media type of the body, without its parameters and in lower case.
    pub(crate) fn media_type(&self) -> String {
        let value = self.parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let media = value.unwrap_or_default().split(';').next().unwrap_or_default();
        media.trim().to_ascii_lowercase()
    }
}

async fn webhook(State(api): State<Arc<Api>>, request: Request) -> Response {
    match behind_extension(request.uri()) {
        Some(rest) => api.answer(Door::Webhook, &rest, request).await,
        None => Refusal::NOT_FOUND.into_response(),
    }
}

/// What follows the name of our extension.
fn behind_extension(uri: &Uri) -> Option<String> {
    let rest = uri.path().strip_prefix(WEBHOOKS)?.strip_prefix('/')?;
    let (extension, rest) = rest.split_once('/').unwrap_or((rest, ""));
    extension.eq_ignore_ascii_case(EXTENSION).then(|| rest.to_owned())
}
