//! `GET|POST /api/orchestrators/{functionName}`: starting runs.

use std::sync::Arc;

use everstep::{Client, Failure, InstanceId, RunError, StartOptions, TypedClient as _};
use everstep_host::{HttpCall, Response};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::{
    language::Line,
    run::{ORCHESTRATOR, TIMEOUT},
    settings::{Settings, TIMEOUT_RANGE, TIMEOUT_SECONDS},
};

const NAME: &str = "video_orchestrator";
/// A request has to fit into a message of a queue, which holds 48 KiB before it is base64.
const BODY_MAX: usize = 32 << 10;

/// A video to process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Video {
    pub(crate) name: String,
    pub(crate) url: String,
    /// The time for an answer, where it is not that of the settings.
    pub(crate) timeout_seconds: Option<u64>,
}

pub(crate) async fn start(
    mut call: HttpCall,
    settings: Arc<Settings>,
) -> Result<Response, Failure> {
    let name = call.param("functionName");
    if !name.eq_ignore_ascii_case(NAME) {
        let text = format!("there is no orchestrator `{name}`; the one there is: {NAME}");
        return Ok(refusal(404, &text));
    }
    let body = call.bytes().await?;
    let video = match Video::read(&body) {
        Ok(video) => video,
        Err(text) => return Ok(refusal(400, &text)),
    };
    let id = begin(&call.client(), &settings, video, StartOptions::default()).await;
    Ok(call.check_status(&id.map_err(everstep::failure)?))
}

/// Starts a run.
pub(crate) async fn begin(
    client: &Client,
    settings: &Settings,
    video: Video,
    options: StartOptions,
) -> Result<InstanceId, RunError> {
    let mut input = json!({ "name": video.name, "bloburl": video.url });
    let seconds = video.timeout_seconds.unwrap_or(settings.timeout_seconds);
    if seconds != TIMEOUT_SECONDS {
        // A run keeps the time that it began with.
        input[TIMEOUT] = seconds.into();
    }
    let run = client.run(ORCHESTRATOR, input, options).await?;
    let line = Line::Started { instance: run.id().as_str(), blob: &video.name };
    tracing::info!("{}", settings.language.says(line));
    Ok(run.id().clone())
}

impl Video {
    fn read(body: &[u8]) -> Result<Self, String> {
        if body.len() > BODY_MAX {
            let length = body.len();
            return Err(format!("the body has {length} bytes; it may have {BODY_MAX}"));
        }
        // What is no JSON names no blob.
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str, missing: &str| {
            let text = body[key].as_str().filter(|text| !text.trim().is_empty());
            text.map(str::to_owned).ok_or_else(|| missing.to_owned())
        };
        let name = text("blobName", "blob_name is not defined")?;
        let url = text("blobURL", "blob_url is not defined")?;
        let timeout_seconds = match &body[TIMEOUT] {
            Value::Null => None,
            found => {
                let seconds = found.as_u64().filter(|seconds| TIMEOUT_RANGE.contains(seconds));
                Some(seconds.ok_or_else(|| {
                    format!(
                        "{TIMEOUT} is {found}; write a whole number of seconds from 1 to 604800"
                    )
                })?)
            }
        };
        Ok(Self { name, url, timeout_seconds })
    }
}

/// A refusal in this app's form.
pub(crate) fn refusal(status: u16, text: &str) -> Response {
    answer(status, &json!({ "ok": false, "error_message": text }))
}

pub(crate) fn answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status.try_into().expect("it is an HTTP status");
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_a_blob_and_may_say_how_long_to_wait() {
        let read = |text: &str| Video::read(text.as_bytes());
        let video = |timeout_seconds| Video { name: "a".into(), url: "u".into(), timeout_seconds };
        assert_eq!(read(r#"{"blobName": "a", "blobURL": "u"}"#), Ok(video(None)));
        assert_eq!(
            read(r#"{"blobName": "a", "blobURL": "u", "timeoutSeconds": 1}"#),
            Ok(video(Some(1)))
        );
    }

    #[test]
    fn what_names_no_blob_is_refused_with_what_is_missing() {
        let text = |body: &str| Video::read(body.as_bytes()).unwrap_err();
        for body in [
            "",
            "{",
            "[]",
            "5",
            "{}",
            r#"{"blobURL": "u"}"#,
            r#"{"blobName": "", "blobURL": "u"}"#,
            r#"{"blobName": 5}"#,
        ] {
            assert_eq!(text(body), "blob_name is not defined", "{body}");
        }
        for body in [r#"{"blobName": "a"}"#, r#"{"blobName": "a", "blobURL": " "}"#] {
            assert_eq!(text(body), "blob_url is not defined", "{body}");
        }
        for found in ["0", "604801", "-1", "1.5", "\"5\""] {
            assert_eq!(
                text(&format!(r#"{{"blobName": "a", "blobURL": "u", "timeoutSeconds": {found}}}"#)),
                format!(
                    "timeoutSeconds is {found}; write a whole number of seconds from 1 to 604800"
                )
            );
        }
        assert_eq!(text(&" ".repeat(40_000)), "the body has 40000 bytes; it may have 32768");
    }
}
