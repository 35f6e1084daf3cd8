//! A request as the operations see it: path and query decoded, headers at hand.

use axum::body::Body;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

use super::fault::Fault;
use crate::{
    account::{EMULATOR_ACCOUNT, sign},
    name, xml,
};

/// What a request asks for, without its body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// As it was sent, with the account.
    pub(super) raw_path: String,
    pub(super) raw_query: String,
    /// The parts of the path behind the account, decoded: at most the first, and all the rest.
    pub(super) first: Option<String>,
    pub(super) rest: Option<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) prefix: String,
    /// The first name that may be in it.
    pub(super) from: String,
    pub(super) max: usize,
}

impl Page {
    /// How many rows to look at: one more than are shown says where the next page begins.
    pub(super) fn limit(&self) -> i64 {
        i64::try_from(self.max).expect("it is at most 5000") + 1
    }
}

impl Asked {
    pub(super) fn read(request: Request<Body>) -> Result<(Self, Body), Fault> {
        let (parts, body) = request.into_parts();
        let raw_path = parts.uri.path().to_owned();
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let (first, rest) = split_path(&raw_path)?;
        let query = sign::decode_query(&raw_query);
        let (method, headers) = (parts.method, parts.headers);
        Ok((Self { method, raw_path, raw_query, first, rest, query, headers }, body))
    }

    /// A parameter of the query; an empty one counts as absent.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A whole number of the query within its limits.
    pub(super) fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Fault> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        let number = text.parse::<i64>();
        let number = number.map_err(|_| Fault::query_value(name, text, "not a whole number"))?;
        if (least..=most).contains(&number) {
            Ok(Some(number))
        } else {
            Err(Fault::query_range(name, text, least, most))
        }
    }

    /// A header that is text; an empty one counts as absent.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
    }

    /// Name and value of all metadata, in order.
    pub(super) fn metadata(&self) -> Result<Vec<(String, String)>, Fault> {
        let mut metadata = Vec::new();
        for (header, value) in &self.headers {
            let Some(key) = header.as_str().strip_prefix("x-ms-meta-") else { continue };
            let value = value.to_str().ok().filter(|_| name::is_metadata(key));
            let value = value.ok_or_else(Fault::invalid_metadata)?;
            metadata.push((key.to_owned(), value.trim().to_owned()));
        }
        metadata.sort();
        Ok(metadata)
    }

    pub(super) fn page(&self) -> Result<Page, Fault> {
        let max = self.number("maxresults", 1, 5_000)?.unwrap_or(5_000);
        let from = self.parameter("marker").map(read_marker).transpose()?;
        Ok(Page {
            prefix: self.parameter("prefix").unwrap_or_default().to_owned(),
            from: from.unwrap_or_default(),
            max: usize::try_from(max).expect("it is between the limits"),
        })
    }

    pub(super) fn includes(&self, what: &str) -> bool {
        self.parameter("include").is_some_and(|include| include.split(',').any(|one| one == what))
    }
}

fn split_path(path: &str) -> Result<(Option<String>, Option<String>), Fault> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (account, path) = path.split_once('/').unwrap_or((path, ""));
    // A name in `UseDevelopmentStorage` tools of old: the secondary location answers as the first does.
    if account.trim_end_matches("-secondary") != EMULATOR_ACCOUNT {
        let message = format!(
            "The account of this service is `{EMULATOR_ACCOUNT}`: addresses begin with `/{EMULATOR_ACCOUNT}/`."
        );
        return Err(Fault::uri(message));
    }
    let decode = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned);
        decoded.map_err(|_| Fault::uri("The requested URI is not UTF-8."))
    };
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, rest),
        None => (path, ""),
    };
    let part = |text: &str| (!text.is_empty()).then(|| decode(text)).transpose();
    Ok((part(first)?, part(rest)?))
}

/// Where a list goes on. Callers treat it as opaque.
pub(super) fn marker(name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(name)
}

fn read_marker(marker: &str) -> Result<String, Fault> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(marker).ok();
    let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| Fault::query_value("marker", marker, "not a marker of this service"))
}

/// Pairs as one text of a row.
pub(super) fn pack(pairs: &[(String, String)]) -> String {
    let pair = |(name, value): &(String, String)| format!("{}={}", encode(name), encode(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// The inverse of [`pack`].
pub(super) fn unpack(text: &str) -> Vec<(String, String)> {
    sign::decode_query(text)
}

/// The whole body, up to a limit.
pub(super) async fn body_up_to(body: Body, limit: usize) -> Result<Bytes, Fault> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Fault::too_large(limit as u64)),
        Err(_) => Err(Fault::incomplete_body()),
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer with a document.
pub(super) fn document(status: StatusCode, writer: xml::Writer) -> Response<Body> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/xml");
    response.body(Body::from(writer.finish())).expect("the header is right")
}

/// Sets a header whose value is known to be one.
pub(super) fn set(
    response: &mut Response<Body>,
    name: &'static str,
    value: impl std::fmt::Display,
) {
    let value = http::HeaderValue::try_from(value.to_string());
    response.headers_mut().insert(name, value.expect("what came as a header goes as one"));
}

/// Attaches metadata.
pub(super) fn set_metadata(response: &mut Response<Body>, packed: &str) {
    for (key, value) in unpack(packed) {
        let key = http::HeaderName::try_from(format!("x-ms-meta-{key}"));
        let key = key.expect("names are checked when they come");
        let value = http::HeaderValue::try_from(value).expect("what came as a header goes as one");
        response.headers_mut().insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_behind_the_account() {
        let split = |path| split_path(path).map_err(|fault| fault.code);
        let parts = |first: &str, rest: &str| {
            let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Ok((part(first), part(rest)))
        };
        assert_eq!(split("/devstoreaccount1"), parts("", ""));
        assert_eq!(split("/devstoreaccount1/"), parts("", ""));
        assert_eq!(split("/devstoreaccount1/q"), parts("q", ""));
        assert_eq!(split("/devstoreaccount1/c/a%2Fb/%20c//d"), parts("c", "a/b/ c//d"));
        assert_eq!(split("/other/q"), Err("InvalidUri"));
        assert_eq!(split("/devstoreaccount1/%FF"), Err("InvalidUri"));
    }

    #[test]
    fn pairs_survive_a_row() {
        let pairs = [("a".to_owned(), "b=c&d %".to_owned()), ("e".to_owned(), String::new())];
        assert_eq!(unpack(&pack(&pairs)), pairs);
        assert!(unpack("").is_empty());
    }
}
