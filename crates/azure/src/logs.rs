//! Uploads to Azure Monitor by the Logs Ingestion API: a batch, an identity, one request.
//!
//! L1  An upload is one request. Only a token that the service refuses as such is replaced, once.
//! L2  Success means that the service took the batch. When its rows appear in the table is the service's affair.
//! L3  After [`UploadError::Unreachable`] the batch may have been taken: sending it again may double its rows.
//!
//! Start at [`Ingestion`] and [`Packer`].

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE},
};
use percent_encoding::utf8_percent_encode;
use reqwest::{Client, Response, Url};
use serde_json::Value;

pub use crate::pack::{Batch, Limits, PackError, Packer};
use crate::{
    Invalid,
    identity::{self, Identity, MONITOR},
    retry::Passing,
    wire,
};

/// One stream of a data collection rule.
#[derive(Debug, Clone)]
pub struct Ingestion {
    url: Url,
    identity: Identity,
    http: Client,
}

/// Why a batch was not taken, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// Too much comes from here at present.
    #[error("the log service wants fewer requests ({status}); the batch is not stored")]
    Throttled {
        /// The status of the answer: 429, or 503 with a wait.
        status: u16,
        /// How long the service wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// The service failed on its side.
    #[error("the log service failed ({status} {code}): {message}")]
    Failed {
        /// The status of the answer.
        status: u16,
        /// The service's code.
        code: String,
        /// The service's text.
        message: String,
        /// How long the service wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// The service does not take it, now or later.
    #[error("the log service refused the batch ({status} {code}): {message}{advice}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The service's code.
        code: String,
        /// The service's text.
        message: String,
        /// What to look at, or nothing.
        advice: &'static str,
    },
    /// It is more than one request may hold.
    #[error(
        "the log service refused a request of {bytes} bytes as too large; put fewer records into a batch"
    )]
    TooLarge {
        /// The size of what was sent, before compression.
        bytes: usize,
    },
    /// No answer came. Whether the batch is stored is unknown.
    #[error("no answer from {host}: {reason}; whether the batch is stored is unknown")]
    Unreachable {
        /// Whom it was sent to.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// There is no token. Nothing was sent.
    #[error(transparent)]
    Identity(#[from] identity::Error),
}

impl UploadError {
    /// Whether the rows may be in the table although the upload failed.
    pub fn may_be_stored(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Failed { .. })
    }
}

impl Passing for UploadError {
    fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Failed { .. } | Self::Unreachable { .. } => true,
            Self::Refused { .. } | Self::TooLarge { .. } => false,
            Self::Identity(error) => error.is_worth_retrying(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Failed { retry_after, .. } => *retry_after,
            Self::Identity(error) => error.retry_after(),
            Self::Refused { .. } | Self::TooLarge { .. } | Self::Unreachable { .. } => None,
        }
    }
}

impl Ingestion {
    /// Uploads to the stream of a rule, by the endpoint's address, the rule's immutable id and the stream's name.
    pub fn new(
        endpoint: &str,
        rule: &str,
        stream: &str,
        identity: Identity,
        http: Client,
    ) -> Result<Self, Invalid> {
        let endpoint = wire::endpoint("data collection endpoint", endpoint)?;
        if !rule.starts_with("dcr-") || rule.contains('/') {
            let hint = "write the immutable id of the rule, `dcr-...`, as its JSON view in the portal shows it";
            return Err(Invalid::new("data collection rule", rule, hint));
        }
        if !(stream.starts_with("Custom-") || stream.starts_with("Microsoft-")) {
            let hint =
                "write the stream as the rule declares it, for example `Custom-FileInventory_CL`";
            return Err(Invalid::new("stream", stream, hint));
        }
        let [rule, stream] = [rule, stream].map(|name| utf8_percent_encode(name, &wire::RESERVED));
        let path = format!("/dataCollectionRules/{rule}/streams/{stream}");
        let mut url = wire::below(&endpoint, &path);
        url.set_query(Some("api-version=2023-01-01"));
        Ok(Self { url, identity, http })
    }

    /// Sends a batch.
    pub async fn upload(&self, batch: &Batch) -> Result<(), UploadError> {
        let body = gzip(batch.json());
        let token = self.identity.token(MONITOR).await?;
        let mut response = self.send(&body, token.secret()).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.identity.forget(MONITOR, &token).await;
            let token = self.identity.token(MONITOR).await?;
            response = self.send(&body, token.secret()).await?;
        }
        outcome(response, batch, advice).await
    }

    async fn send(&self, body: &Bytes, token: &str) -> Result<Response, UploadError> {
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "gzip")
            .header(AUTHORIZATION, wire::bearer(token))
            .header("x-ms-client-request-id", wire::request_id());
        request.body(body.clone()).send().await.map_err(|error| unreachable(&self.url, error))
    }
}

pub(crate) fn unreachable(url: &Url, error: reqwest::Error) -> UploadError {
    let host = wire::host(url).to_owned();
    UploadError::Unreachable { host, reason: wire::network_reason(error) }
}

/// What an answer means for the batch.
pub(crate) async fn outcome(
    response: Response,
    batch: &Batch,
    advice: fn(u16) -> &'static str,
) -> Result<(), UploadError> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let retry_after = wire::retry_after(response.headers());
    let (code, message) = envelope(&wire::beginning(response).await);
    let number = status.as_u16();
    Err(match number {
        429 => UploadError::Throttled { status: number, retry_after },
        503 if retry_after.is_some() => UploadError::Throttled { status: number, retry_after },
        408 | 500.. => UploadError::Failed { status: number, code, message, retry_after },
        413 => UploadError::TooLarge { bytes: batch.json().len() },
        _ => {
            let message = message.trim_end_matches('.').to_owned();
            UploadError::Refused { status: number, code, message, advice: advice(number) }
        }
    })
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => "; the endpoint does not accept this identity's token",
        403 => {
            "; give the identity the role \"Monitoring Metrics Publisher\" on the data collection rule, and allow some minutes for it to take effect"
        }
        404 => "; check the rule's immutable id and the stream's name",
        _ => "",
    }
}

/// Code and text of an error: `{"error":{"code","message"}}`, or the older `{"Error","Message"}`.
fn envelope(body: &[u8]) -> (String, String) {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text =
        |values: [&Value; 2]| values.iter().find_map(|value| value.as_str()).map(wire::shown);
    let code = text([&answer["error"]["code"], &answer["Error"]]);
    let message = text([&answer["error"]["message"], &answer["Message"]]);
    let beginning = || wire::shown(&String::from_utf8_lossy(body));
    (code.unwrap_or_else(|| "no code".to_owned()), message.unwrap_or_else(beginning))
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all").into()
}
