//! Durable HTTP: a request as a step, and the wait for an answer that takes its time.
//!
//! Q1  The request is made by the host, in the built-in activity [`HTTP_ACTIVITY`]; what is recorded is the request and
//!     the response.
//! Q2  A 202 with `Location` is asked about again, after `Retry-After`, until it is something else; unless the request
//!     says otherwise. Between two looks there is a durable timer and nothing else.
//! Q3  A follow-up goes to `Location` with the same headers, without `x-functions-key`, and is not retried.
//!
//! Absent on purpose: making the request. Only a host can; the test harness answers like any activity.

use std::{collections::BTreeMap, time::Duration};

use everstep_model::{Failure, RetryPolicy};
use serde::{Deserialize, Serialize};

use crate::{Activity, Context};

/// The built-in activity that makes requests. Its input is a list of one.
pub const HTTP_ACTIVITY: &str = "BuiltIn::HttpActivity";

/// Until the next look at something that does not say when.
const POLL_DEFAULT: Duration = Duration::from_secs(30);

/// A request that the host makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequest {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Where to; absolute.
    pub uri: String,
    /// By name; several values of a name have commas between.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub content: Option<String>,
    /// Whose token goes along, if any.
    #[serde(default)]
    pub token_source: Option<TokenSource>,
    /// Whether a 202 is waited out.
    #[serde(default = "yes", rename = "asynchronousPatternEnabled")]
    pub waits: bool,
    /// How long one request may take, as `hh:mm:ss`.
    #[serde(default, with = "time_span")]
    pub timeout: Option<Duration>,
    /// Which answers are failures.
    #[serde(default)]
    pub retry_options: Option<RetryOptions>,
    /// When a failure is tried again.
    #[serde(skip)]
    retry: Option<RetryPolicy>,
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenSource {
    /// `AzureManagedIdentity`.
    pub kind: String,
    /// What the token is for.
    pub resource: String,
}

/// Which answers are failures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryOptions {
    /// These; all that are not 2xx if empty.
    #[serde(default, alias = "StatusCodesToRetry")]
    pub status_codes_to_retry: Vec<u16>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    /// The status.
    pub status_code: u16,
    /// By name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub content: Option<String>,
}

impl HttpRequest {
    /// A request without headers and body.
    pub fn new(method: &str, uri: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            uri: uri.into(),
            headers: BTreeMap::new(),
            content: None,
            token_source: None,
            waits: true,
            timeout: None,
            retry_options: None,
            retry: None,
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    /// With a body of JSON.
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Result<Self, Failure> {
        let body = serde_json::to_string(body).map_err(crate::failure)?;
        self.content = Some(body);
        Ok(self.header("Content-Type", "application/json"))
    }

    /// Takes a 202 for the answer.
    #[must_use]
    pub fn no_wait(mut self) -> Self {
        self.waits = false;
        self
    }

    /// With a time limit for each request.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Tries again if no answer comes, or one with these statuses; with any that is not 2xx if there are none.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy, statuses: impl Into<Vec<u16>>) -> Self {
        self.retry = Some(policy);
        self.retry_options = Some(RetryOptions { status_codes_to_retry: statuses.into() });
        self
    }

    /// The request that asks how it goes.
    fn follow_up(&self, location: &str) -> Self {
        let mut next = Self { timeout: self.timeout, ..Self::new("GET", location) };
        next.token_source.clone_from(&self.token_source);
        next.headers.clone_from(&self.headers);
        next.headers.retain(|name, _| !name.eq_ignore_ascii_case("x-functions-key"));
        next
    }
}

impl HttpResponse {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn poll_after(&self) -> Duration {
        let seconds = self.header("Retry-After").and_then(|value| value.trim().parse().ok());
        seconds.map_or(POLL_DEFAULT, Duration::from_secs)
    }
}

impl Context {
    /// Makes a request as a durable step. An answer with 202 and `Location` is waited out by asking there again, unless
    /// the request says [`HttpRequest::no_wait`].
    ///
    /// Any answer is a success, also one with an error status, unless the request has [`HttpRequest::retry`].
    ///
    /// ```
    /// use everstep::{Context, Failure, HttpRequest, orchestrator};
    ///
    /// #[orchestrator]
    /// async fn provision(ctx: Context, name: String) -> Result<u16, Failure> {
    ///     let request = HttpRequest::new("POST", "https://example.com/machines").json(&name)?;
    ///     Ok(ctx.call_http(request).await?.status_code)
    /// }
    /// ```
    pub fn call_http(
        &self,
        request: HttpRequest,
    ) -> impl Future<Output = Result<HttpResponse, Failure>> + Send + use<> {
        let context = self.clone();
        let first = self.request(request.clone());
        async move {
            let mut response = first.await?;
            while request.waits && response.status_code == 202 {
                let Some(location) = response.header("Location") else { break };
                let next = request.follow_up(location);
                context.sleep(response.poll_after()).await;
                response = context.request(next).await?;
            }
            Ok(response)
        }
    }

    fn request(&self, request: HttpRequest) -> crate::Call<HttpResponse> {
        const ACTIVITY: Activity<(HttpRequest,), HttpResponse> = Activity::new(HTTP_ACTIVITY);
        let retry = request.retry.clone();
        let call = self.call(ACTIVITY, (request,));
        match retry {
            Some(policy) => call.retry(policy),
            None => call,
        }
    }
}

fn yes() -> bool {
    true
}

/// `hh:mm:ss` with days and fractions where needed.
mod time_span {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "the form that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&text(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        parse(&text)
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a time such as 00:01:30")))
    }

    pub(super) fn text(time: Duration) -> String {
        let seconds = time.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        let days = if days == 0 { String::new() } else { format!("{days}.") };
        let ticks = time.subsec_nanos() / 100;
        let fraction = if ticks == 0 { String::new() } else { format!(".{ticks:07}") };
        format!("{days}{hours:02}:{minutes:02}:{:02}{fraction}", seconds % 60)
    }

    pub(super) fn parse(text: &str) -> Option<Duration> {
        let mut parts = text.split(':');
        let (days_hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
        let (days, hours) = days_hours.split_once('.').unwrap_or(("0", days_hours));
        let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
        if parts.next().is_some() || fraction.len() > 7 {
            return None;
        }
        let number = |text: &str| text.parse::<u64>().ok();
        let whole = number(days)?
            .checked_mul(86_400)?
            .checked_add(number(hours)? * 3_600 + number(minutes)? * 60 + number(seconds)?)?;
        let ticks: u64 = format!("{fraction:0<7}").parse().ok()?;
        Some(Duration::from_secs(whole) + Duration::from_nanos(ticks * 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_form_that_foreign_sdks_send() {
        let request = HttpRequest::new("POST", "https://example.com/")
            .header("a", "b")
            .within(Duration::from_millis(90_500))
            .retry(RetryPolicy::fixed(Duration::from_secs(1), 3), [503]);
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(
            text,
            r#"{"method":"POST","uri":"https://example.com/","headers":{"a":"b"},"content":null,"tokenSource":null,"asynchronousPatternEnabled":true,"timeout":"00:01:30.5000000","retryOptions":{"statusCodesToRetry":[503]}}"#
        );
        let back: HttpRequest = serde_json::from_str(&text).unwrap();
        assert_eq!(back.timeout, request.timeout);
    }

    #[test]
    fn times_are_written_and_read() {
        for (time, text) in [(0, "00:00:00"), (90, "00:01:30"), (90_061, "1.01:01:01")] {
            assert_eq!(time_span::text(Duration::from_secs(time)), text);
            assert_eq!(time_span::parse(text), Some(Duration::from_secs(time)));
        }
        for wrong in ["", "5", "1:2", "a:b:c", "1:2:3:4", "1:2:3.12345678"] {
            assert_eq!(time_span::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_follow_up_keeps_the_headers_but_not_the_key() {
        let request = HttpRequest::new("POST", "https://example.com/")
            .header("X-Functions-Key", "secret")
            .header("accept", "text/plain");
        let next = request.follow_up("https://example.com/status");
        assert_eq!(
            (next.method.as_str(), next.uri.as_str()),
            ("GET", "https://example.com/status")
        );
        assert_eq!(next.headers.keys().collect::<Vec<_>>(), ["accept"]);
    }
}
