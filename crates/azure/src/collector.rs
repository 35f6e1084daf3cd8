//! Uploads to Azure Monitor by the HTTP Data Collector API, which is retired: for stand-ins and clouds that still have it.
//!
//! D1  An upload is one request, signed over the length in bytes.
//! D2  The service appends `_CL` to the table's name, so one that is there already is left out.
//!
//! Absent on purpose: compression, which this API does not take.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use everstep_storage::account::sign;
use http::{
    HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use jiff::Timestamp;
use reqwest::{Client, Url};

use crate::{
    Clock, Invalid,
    logs::{Batch, UploadError, outcome, unreachable},
    system_clock, wire,
};

const PATH: &str = "/api/logs";
const JSON: &str = "application/json";

/// One table of a workspace.
#[derive(Clone)]
pub struct Collector {
    url: Url,
    workspace: String,
    key: Vec<u8>,
    log_type: String,
    time_field: Option<HeaderValue>,
    http: Client,
    clock: Clock,
}

impl Collector {
    /// Uploads to a table of the workspace with that id and shared key.
    pub fn new(workspace: &str, key: &str, table: &str, http: Client) -> Result<Self, Invalid> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if workspace.is_empty() || !workspace.bytes().all(is_id) {
            let hint = "write the workspace's id, which has the form of a GUID";
            return Err(Invalid::new("workspace", workspace, hint));
        }
        let key = BASE64_STANDARD.decode(key.trim()).ok().filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| {
            let hint = "copy the workspace's primary or secondary key whole, with the `=` signs at its end";
            Invalid::secret("shared key of the workspace", hint)
        })?;
        let log_type = log_type(table)?.to_owned();
        let base = format!("https://{workspace}.ods.opinsights.azure.com");
        let url = logs_url(&wire::endpoint("workspace", &base)?);
        let (workspace, clock) = (workspace.to_owned(), system_clock());
        Ok(Self { url, workspace, key, log_type, time_field: None, http, clock })
    }

    /// Sends to another address, for private links, other clouds and stand-ins.
    pub fn at(self, endpoint: &str) -> Result<Self, Invalid> {
        let url = logs_url(&wire::endpoint("endpoint for log uploads", endpoint)?);
        Ok(Self { url, ..self })
    }

    /// Takes the time of each row from a field of the record; otherwise it is that of the arrival.
    pub fn time_field(self, name: &str) -> Result<Self, Invalid> {
        let value = HeaderValue::from_str(name).ok().filter(|_| is_name(name));
        let hint = "write the name of a field: letters, digits and underscores";
        let value = value.ok_or_else(|| Invalid::new("time field", name, hint))?;
        Ok(Self { time_field: Some(value), ..self })
    }

    /// The same with another clock, for tests.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Sends a batch.
    pub async fn upload(&self, batch: &Batch) -> Result<(), UploadError> {
        let now = Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = wire::rfc1123(now);
        let mut authorization =
            HeaderValue::try_from(self.authorization(&date, batch.json().len()))
                .expect("ids and base64 are ASCII");
        authorization.set_sensitive(true);
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, JSON)
            .header(AUTHORIZATION, authorization)
            .header("log-type", &self.log_type)
            .header("x-ms-date", date);
        if let Some(name) = &self.time_field {
            request = request.header("time-generated-field", name.clone());
        }
        let sent = request.body(batch.json().clone()).send().await;
        outcome(sent.map_err(|error| unreachable(&self.url, error))?, batch, advice).await
    }

    fn authorization(&self, date: &str, length: usize) -> String {
        let text = format!("POST\n{length}\n{JSON}\nx-ms-date:{date}\n{PATH}");
        format!("SharedKey {}:{}", self.workspace, sign::signature(&self.key, &text))
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({}, {}, key hidden)", self.url, self.log_type)
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "; give the workspace's id and key another look",
        404 => "; check the endpoint, and that this cloud still has the Data Collector API",
        _ => "",
    }
}

/// The name that the API wants for a table: without the `_CL` that it appends itself.
pub fn log_type(table: &str) -> Result<&str, Invalid> {
    let name = table.strip_suffix("_CL").unwrap_or(table);
    if is_name(name) && name.len() <= 100 {
        return Ok(name);
    }
    let hint =
        "write 1 to 100 letters, digits and underscores; `_CL` at the end may be there or not";
    Err(Invalid::new("table", table, hint))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn logs_url(base: &Url) -> Url {
    let mut url = wire::below(base, PATH);
    url.set_query(Some("api-version=2016-04-01"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "00000000-0000-0000-0000-000000000000";

    fn said(workspace: &str, key: &str, table: &str) -> String {
        Collector::new(workspace, key, table, Client::new()).unwrap_err().to_string()
    }

    #[test]
    fn the_signature_is_that_of_the_public_example() {
        let collector = Collector::new(WORKSPACE, "c2VjcmV0", "t", Client::new()).unwrap();
        let length = r#"[{"n":"ї"}]"#.len();
        assert_eq!(
            collector.authorization("Sat, 21 Nov 2026 01:21:48 GMT", length),
            "SharedKey 00000000-0000-0000-0000-000000000000:u86FqNoOFH8X6en0pttyW160dOrXXLyHidS5F7iz1VQ="
        );
    }

    #[test]
    fn the_suffix_is_left_out_once() {
        assert_eq!(log_type("Code42Logs_CL"), Ok("Code42Logs"));
        assert_eq!(log_type("Code42Logs"), Ok("Code42Logs"));
        assert_eq!(log_type("Code42Logs_CL_CL"), Ok("Code42Logs_CL"));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_key() {
        assert_eq!(
            said("a b", "c2VjcmV0", "t"),
            "the workspace is `a b`; write the workspace's id, which has the form of a GUID"
        );
        assert_eq!(
            said(WORKSPACE, "c2Vjc=V0", "t"),
            "the shared key of the workspace is `(hidden)`; copy the workspace's primary or secondary key whole, with the `=` signs at its end"
        );
        for table in ["", "_CL", "a-b", "їжак", &"x".repeat(101)] {
            assert!(said(WORKSPACE, "c2VjcmV0", table).starts_with(&format!(
                "the table is `{table}`; write 1 to 100 letters, digits and underscores"
            )));
        }
        let collector = Collector::new(WORKSPACE, "c2VjcmV0", "t_CL", Client::new()).unwrap();
        assert_eq!(
            format!("{collector:?}"),
            format!(
                "Collector(https://{WORKSPACE}.ods.opinsights.azure.com/api/logs?api-version=2016-04-01, t, key hidden)"
            )
        );
        assert!(collector.clone().time_field("a b").is_err());
        assert!(collector.at("http://logs.example").is_err());
    }
}
