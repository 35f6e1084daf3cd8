//! Which pages of other origins may call: CORS.
//!
//! O1  A preflight of an origin that may call is answered here and goes no further; that of any other gets no headers,
//!     and the browser refuses.
//! O2  An answer names the one origin that asked; `*` only where no credentials are allowed.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// Who may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cors {
    origins: BTreeSet<String>,
    any: bool,
    credentials: bool,
}

/// An origin that cannot be one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// It has no scheme, or more than an authority.
    #[error(
        "`{0}` is no origin for --cors or Host.CORS; write scheme and host such as https://example.com, or * for all"
    )]
    Origin(String),
    /// What browsers refuse anyway.
    #[error(
        "credentials cannot be allowed for all origins; name the origins in --cors or Host.CORS"
    )]
    CredentialsForAll,
}

impl Cors {
    /// `origins` has commas between.
    pub(crate) fn parse(origins: &str, credentials: bool) -> Result<Self, Error> {
        let mut cors = Self { credentials, ..Self::default() };
        for origin in origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
            if origin == "*" {
                cors.any = true;
                continue;
            }
            let origin = origin.trim_end_matches('/').to_ascii_lowercase();
            let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
            if authority.is_empty() || authority.contains(['/', '?', '#']) {
                return Err(Error::Origin(origin));
            }
            cors.origins.insert(origin);
        }
        if cors.any && credentials { Err(Error::CredentialsForAll) } else { Ok(cors) }
    }

    /// Whether there is anybody to be let in.
    pub(crate) fn is_on(&self) -> bool {
        self.any || !self.origins.is_empty()
    }

    fn allows(&self, origin: &str) -> bool {
        self.any || self.origins.contains(&origin.to_ascii_lowercase())
    }

    /// The headers of an answer to this origin.
    fn headers(&self, origin: &HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let allowed = if self.any { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if !self.any {
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        headers
    }

    fn preflight(&self, origin: &HeaderValue, asked: &HeaderMap) -> Response {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        answer.headers_mut().extend(self.headers(origin));
        let echoes: [(HeaderName, HeaderName); 2] = [
            (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
        ];
        for (request, response) in echoes {
            if let Some(value) = asked.get(&request) {
                answer.headers_mut().insert(response, value.clone());
            }
        }
        answer
    }
}

/// The layer.
pub(crate) async fn layer(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| origin.to_str().is_ok_and(|origin| cors.allows(origin)));
    let Some(origin) = allowed else { return next.run(request).await };
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        return cors.preflight(&origin, request.headers());
    }
    let mut response = next.run(request).await;
    response.headers_mut().extend(cors.headers(&origin));
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::any};
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(cors: Cors, method: &str, headers: &[(&str, &str)]) -> String {
        let router = Router::new()
            .route("/", any(|| async { "answer" }))
            .layer(axum::middleware::from_fn_with_state(Arc::new(cors), layer));
        let mut request = http::Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let headers: Vec<_> = response
            .headers()
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("access") || *name == header::VARY)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        format!("{} {}", response.status().as_u16(), headers.join("; "))
    }

    #[tokio::test]
    async fn an_origin_on_the_list_is_named_and_others_are_not() {
        let cors = Cors::parse("https://a.example/, http://localhost:3000", true).unwrap();
        let text = ask(cors.clone(), "GET", &[("origin", "https://A.example")]).await;
        assert_eq!(
            text,
            "200 access-control-allow-origin: https://A.example; access-control-allow-credentials: true; vary: Origin"
        );
        assert_eq!(ask(cors.clone(), "GET", &[("origin", "https://b.example")]).await, "200 ");
        assert_eq!(ask(cors, "GET", &[]).await, "200 ");
    }

    #[tokio::test]
    async fn a_preflight_goes_no_further() {
        let cors = Cors::parse("*", false).unwrap();
        let headers = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-functions-key"),
        ];
        assert_eq!(
            ask(cors, "OPTIONS", &headers).await,
            "204 access-control-allow-origin: *; access-control-allow-methods: PUT; access-control-allow-headers: x-functions-key"
        );
        assert_eq!(ask(Cors::default(), "OPTIONS", &headers).await, "200 ");
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in ["example.com", "https://", "https://a/b"] {
            let error = Cors::parse(wrong, false).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "`{}` is no origin for --cors or Host.CORS; write scheme and host such as https://example.com, or * for all",
                    wrong.trim_end_matches('/')
                )
            );
        }
        assert_eq!(
            Cors::parse("*", true).unwrap_err().to_string(),
            "credentials cannot be allowed for all origins; name the origins in --cors or Host.CORS"
        );
    }
}
