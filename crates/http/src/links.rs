//! The links that a client follows: where an instance is asked about, sent events, ended.

use std::{borrow::Cow, fmt, sync::Arc};

use axum::response::Response;
use http::{HeaderValue, StatusCode, header, request::Parts, uri::Scheme};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::{
    Api, Compat, OnFailure,
    api::{Call, Door},
    json,
};

/// Where the webhook is mounted.
pub(crate) const WEBHOOK: &str = "/runtime/webhooks/durabletask";
/// What form encoding leaves as it is, besides letters and digits.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'*')
    .remove(b'(')
    .remove(b')');

/// The body that answers a start. Its links differ in little, so that they are put together while they are written.
pub(crate) struct Links {
    pub(crate) id: String,
    /// The URL of the instance.
    instance: String,
    query: String,
    /// Function code gets its link, the answer to a start does not have it.
    rewind: Rewind,
    failure: &'static str,
}

/// A link in its pieces.
struct Link<'a>([&'a str; 4]);

impl fmt::Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| f.write_str(piece))
    }
}

impl Serialize for Link<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Links {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, instance, query, rewind, .. } = self;
        let with = |rest| Link([instance, rest, query, ""]);
        let mut links = serializer.serialize_struct("Links", 9)?;
        links.serialize_field("id", id)?;
        links.serialize_field("statusQueryGetUri", &self.status())?;
        links.serialize_field("sendEventPostUri", &with("/raiseEvent/{eventName}?"))?;
        links.serialize_field("terminatePostUri", &with("/terminate?reason={text}&"))?;
        if *rewind == Rewind::Shown {
            links.serialize_field("rewindPostUri", &with("/rewind?reason={text}&"))?;
        }
        links.serialize_field("purgeHistoryDeleteUri", &with("?"))?;
        links.serialize_field("restartPostUri", &with("/restart?"))?;
        links.serialize_field("suspendPostUri", &with("/suspend?reason={text}&"))?;
        links.serialize_field("resumePostUri", &with("/resume?reason={text}&"))?;
        links.end()
    }
}

/// Whether the link for a rewind is among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewind {
    Shown,
    Left,
}

/// What all links of one answer share.
pub(crate) struct Root {
    /// Up to `durabletask`.
    pub(crate) base: String,
    /// `taskHub=..&connection=..&code=..`.
    pub(crate) query: String,
}

impl Links {
    pub(crate) fn new(root: &Root, id: &str, rewind: Rewind, on_failure: OnFailure) -> Self {
        let failure = match on_failure {
            OnFailure::Ok => "",
            OnFailure::InternalServerError => "&returnInternalServerErrorOnFailure=true",
        };
        Self {
            id: id.to_owned(),
            instance: format!("{}/instances/{}", root.base, form_encoded(id)),
            query: root.query.clone(),
            rewind,
            failure,
        }
    }

    fn status(&self) -> Link<'_> {
        Link([&self.instance, "?", &self.query, self.failure])
    }

    /// 202 with these links.
    fn response(&self) -> Response {
        let mut response = json::json(StatusCode::ACCEPTED, self);
        // Form-encoded parts and a URI of the request hold nothing that a header refuses.
        if let Ok(location) = HeaderValue::try_from(self.status().to_string()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        response
    }
}

impl Api {
    /// What function code answers after a start: 202 with the links of an instance, that for a rewind among them.
    pub fn check_status(&self, request: &Parts, id: &str, on_failure: OnFailure) -> Response {
        Links::new(&self.root(Some(request)), id, Rewind::Shown, on_failure).response()
    }

    /// The links of an instance as function code gets them, with the one for a rewind.
    pub fn management_payload(&self, request: Option<&Parts>, id: &str) -> serde_json::Value {
        let links = Links::new(&self.root(request), id, Rewind::Shown, OnFailure::Ok);
        serde_json::to_value(links).expect("links are texts")
    }

    /// Scheme and authority by which a request reached the host.
    pub(crate) fn origin(&self, request: Option<&Parts>) -> String {
        let base = self.base();
        let Some(request) = request else { return base };
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        let Some(authority) = authority.or_else(|| header("host")) else { return base };
        let own = self.options.base.0.split_once("://");
        let same = own.filter(|(_, host)| host.eq_ignore_ascii_case(authority));
        // The listener notes how a connection came; who sits before it says so by the host's own name.
        let came = request.extensions.get::<Scheme>().map(Scheme::as_str);
        let scheme = request.uri.scheme_str().or(same.map(|(scheme, _)| scheme)).or(came);
        let scheme = scheme.unwrap_or("http");
        let forwarded = header("x-forwarded-host").zip(header("x-forwarded-proto"));
        match forwarded {
            Some((host, scheme)) if self.options.use_forwarded_host && self.is_v3() => {
                let (host, scheme) = (first(host), first(scheme));
                let port = port(authority).filter(|_| port(&host).is_none());
                format!("{scheme}://{host}{}", port.unwrap_or_default())
            }
            _ => {
                let authority = self.options.public_host.as_deref().unwrap_or(authority);
                format!("{scheme}://{authority}")
            }
        }
    }

    /// Scheme and authority of links that no request asked for.
    fn base(&self) -> String {
        let base = &self.options.base.0;
        match (&self.options.public_host, base.split_once("://")) {
            (Some(host), Some((scheme, _))) => format!("{scheme}://{host}"),
            _ => base.clone(),
        }
    }

    pub(crate) fn root(&self, request: Option<&Parts>) -> Root {
        self.root_of(&self.origin(request), &self.options.connection)
    }

    fn root_of(&self, origin: &str, connection: &str) -> Root {
        let query = format!(
            "taskHub={}&connection={}",
            form_encoded(&self.options.hub),
            form_encoded(connection)
        );
        let query = match self.code() {
            Some(code) => format!("{query}&{code}"),
            None => query,
        };
        Root { base: format!("{origin}{WEBHOOK}"), query }
    }

    /// `code=..`, if there is a key.
    pub(crate) fn code(&self) -> Option<String> {
        let key = self.options.keys.system_key()?;
        Some(format!("code={}", form_encoded(&key)))
    }

    fn is_v3(&self) -> bool {
        self.options.compat == Compat::V3
    }
}

impl Call {
    /// The answer to a start that came through a door.
    pub(crate) fn check_status(&self, id: &str, on_failure: OnFailure) -> Response {
        let request = Some(&self.parts).filter(|_| self.door == Door::Webhook);
        let root = self.api.root_of(&self.api.origin(request), &self.connection());
        Links::new(&root, id, Rewind::Left, on_failure).response()
    }
}

/// The URL of a request as it was received.
pub(crate) fn received(api: &Arc<Api>, parts: &Parts) -> String {
    if parts.uri.scheme().is_some() {
        return parts.uri.to_string();
    }
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("{}{path}", api.origin(Some(parts)))
}

/// Encoded as a part of a form: a blank is a plus.
pub(crate) fn form_encoded(text: &str) -> Cow<'_, str> {
    let encoded = Cow::from(utf8_percent_encode(text, FORM));
    if encoded.contains("%20") { encoded.replace("%20", "+").into() } else { encoded }
}

/// A proxy adds itself to a list; the first is the one that the caller sees. Only what an authority may hold is kept.
fn first(list: &str) -> String {
    let first = list.split(',').next().unwrap_or_default().trim();
    first.chars().filter(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(*c)).collect()
}

/// The port of an authority with its colon.
fn port(authority: &str) -> Option<&str> {
    let at = authority.rfind(':')?;
    let digits = &authority[at + 1..];
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| &authority[at..])
}
