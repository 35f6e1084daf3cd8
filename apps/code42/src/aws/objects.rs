//! Objects of a bucket: what one is, and its content as it arrives.
//!
//! O1  The content is that of the version whose tag the first request gave; another one ends the reading.
//! O2  A connection that breaks is taken up where it broke, a few times.

use std::time::Duration;

use bytes::Bytes;
use everstep_azure::retry::Policy;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED},
};

use super::{Aws, Call, Error, Service, address, strange, unreachable};

/// What a key is encoded by; a slash stays.
const KEY: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) bytes: u64,
    pub(crate) changed: Option<Timestamp>,
    tag: String,
}

/// The content of an object, piece by piece.
pub(crate) struct Content {
    aws: Aws,
    url: Url,
    head: Head,
    policy: Policy,
    /// A piece may take so long.
    silence: Duration,
    response: Option<Response>,
    given: u64,
    /// Breaks without a piece in between.
    breaks: u32,
}

impl Aws {
    pub(crate) async fn head(&self, bucket: &str, key: &str) -> Result<Head, Error> {
        let url = self.object(bucket, key)?;
        let response = self.send(&self.reading(Method::HEAD, url, Vec::new())).await?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let bytes = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let tag = header(ETAG).map(str::to_owned);
        let (Some(bytes), Some(tag)) = (bytes, tag) else {
            return Err(strange(Service::Objects, "an object without a length or a tag"));
        };
        let changed = header(LAST_MODIFIED).and_then(|date| {
            let parser = DateTimeParser::new();
            parser.parse_timestamp(date).ok()
        });
        Ok(Head { bytes, changed, tag })
    }

    /// The content of the version that `head` tells of. Requests are made again by the policy.
    pub(crate) fn content(
        &self,
        bucket: &str,
        key: &str,
        head: &Head,
        policy: Policy,
        silence: Duration,
    ) -> Result<Content, Error> {
        let (url, head) = (self.object(bucket, key)?, head.clone());
        let aws = self.clone();
        Ok(Content { aws, url, head, policy, silence, response: None, given: 0, breaks: 0 })
    }

    fn object(&self, bucket: &str, key: &str) -> Result<Url, Error> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.is_empty() || bucket.starts_with('.') || !bucket.bytes().all(fits) {
            return Err(Error::Address(format!("`{bucket}` cannot be the name of a bucket")));
        }
        let key = utf8_percent_encode(key, &KEY).to_string();
        let (base, path) = match &self.endpoint {
            Some(endpoint) => {
                let below = endpoint.path().trim_end_matches('/');
                (endpoint.clone(), format!("{below}/{bucket}/{key}"))
            }
            // A certificate covers one level of names.
            None if bucket.contains('.') => (address(&self.store(""))?, format!("/{bucket}/{key}")),
            None => (address(&self.store(&format!("{bucket}.")))?, format!("/{key}")),
        };
        let mut url = base;
        url.set_path(&path);
        // `.` and `..` would lead elsewhere, also into another bucket.
        if url.path() != path {
            let text =
                format!("the key `{key}` has `.` or `..` as a part; no address can say that");
            return Err(Error::Address(text));
        }
        Ok(url)
    }

    fn store(&self, bucket: &str) -> String {
        format!("https://{bucket}s3.{}.{}", self.region, Self::domain(&self.region))
    }

    fn reading(&self, method: Method, url: Url, headers: Vec<(&'static str, String)>) -> Call {
        let (service, region) = (Service::Objects, self.region.clone());
        Call { service, region, method, url, headers, body: Vec::new() }
    }
}

impl Content {
    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.given >= self.head.bytes {
                return Ok(None);
            }
            let ended = match self.piece().await {
                Ok(Some(piece)) if !piece.is_empty() => {
                    self.given += piece.len() as u64;
                    self.breaks = 0;
                    return Ok(Some(piece));
                }
                Ok(Some(_)) => continue,
                Ok(None) => Error::Unreachable {
                    service: Service::Objects,
                    reason: format!(
                        "the content ended after {} of {} bytes",
                        self.given, self.head.bytes
                    ),
                },
                Err(error) => error,
            };
            self.response = None;
            let Some(wait) = self.policy.wait(self.breaks, &ended) else { return Err(ended) };
            self.breaks += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let silence = self.silence;
        let piece = async {
            if self.response.is_none() {
                self.response = Some(self.open().await?);
            }
            let response = self.response.as_mut().expect("it was opened above");
            response.chunk().await.map_err(|error| unreachable(Service::Objects, error))
        };
        let reason = format!("nothing came for {} s", silence.as_secs());
        let silent = |_| Error::Unreachable { service: Service::Objects, reason };
        tokio::time::timeout(silence, piece).await.map_err(silent)?
    }

    async fn open(&self) -> Result<Response, Error> {
        let mut headers = vec![("if-match", self.head.tag.clone())];
        if self.given > 0 {
            headers.push(("range", format!("bytes={}-", self.given)));
        }
        let call = self.aws.reading(Method::GET, self.url.clone(), headers);
        match self.aws.send(&call).await {
            Ok(response) if self.given > 0 && response.status() != StatusCode::PARTIAL_CONTENT => {
                Err(strange(Service::Objects, "the whole object instead of its rest"))
            }
            Err(Error::Refused { status: 412, .. }) => {
                let text = "the object was replaced while it was read; its own notice brings the new content";
                Err(strange(Service::Objects, text))
            }
            ended => ended,
        }
    }
}
