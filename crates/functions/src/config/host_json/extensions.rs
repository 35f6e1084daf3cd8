//! `extensions.http`, `queues`, `blobs` and `everstep`.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::super::{NoticeKind, section::Section};
use super::durable::LifeCycle;

const ANY: i64 = i32::MAX as i64;
const DAY: Duration = Duration::from_hours(24);

/// `extensions.http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// What URLs of functions begin with, without slashes around it; may be empty.
    pub route_prefix: String,
    /// Requests that wait or run; above it 429 is the answer.
    pub max_outstanding_requests: Option<usize>,
    /// Requests that run at once.
    pub max_concurrent_requests: Option<usize>,
    /// Added to every response.
    pub custom_headers: Vec<(HeaderName, HeaderValue)>,
    /// What is said about HTTPS, if anything.
    pub hsts: Option<Hsts>,
}

/// The header `Strict-Transport-Security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers remember it.
    pub max_age: Duration,
    /// Whether hosts below this one are meant too.
    pub include_sub_domains: bool,
    /// Whether the host may enter browsers' lists.
    pub preload: bool,
}

impl Hsts {
    /// The value of the header.
    pub fn header(&self) -> String {
        let sub_domains = if self.include_sub_domains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        format!("max-age={}{sub_domains}{preload}", self.max_age.as_secs())
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            route_prefix: "api".to_owned(),
            max_outstanding_requests: None,
            max_concurrent_requests: None,
            custom_headers: Vec::new(),
            hsts: None,
        }
    }
}

impl Http {
    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let default = Self::default();
        let Some(mut section) = section else { return default };
        let http = Self {
            route_prefix: route_prefix(&mut section).unwrap_or(default.route_prefix),
            max_outstanding_requests: bound(&mut section, "maxOutstandingRequests"),
            max_concurrent_requests: bound(&mut section, "maxConcurrentRequests"),
            custom_headers: section.section("customHeaders").map(headers).unwrap_or_default(),
            hsts: section.section("hsts").and_then(hsts),
        };
        section.not_applied(
            &["dynamicThrottlesEnabled"],
            "write `maxOutstandingRequests` to have requests refused",
        );
        section.finish();
        http
    }
}

fn route_prefix(section: &mut Section<'_>) -> Option<String> {
    let text = section.text("routePrefix")?;
    let prefix = text.trim_matches('/');
    let first = prefix.split('/').next().unwrap_or_default();
    if ["admin", "runtime"].iter().any(|reserved| reserved.eq_ignore_ascii_case(first)) {
        return section.refuse(
            "routePrefix",
            &Value::String(text),
            "`admin` and `runtime` are the host's; write another word",
        );
    }
    let is_plain = !prefix.contains("//")
        && prefix.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~'));
    if is_plain {
        Some(prefix.to_owned())
    } else {
        section.refuse(
            "routePrefix",
            &Value::String(text),
            "write letters and digits with single slashes between, such as \"api/v1\", or \"\"",
        )
    }
}

/// A bound, where -1 means that there is none.
fn bound(section: &mut Section<'_>, key: &str) -> Option<usize> {
    match section.whole::<i64>(key, -1..=ANY)? {
        0 => section.refuse(key, &Value::from(0), "write 1 or more, or -1 for no bound"),
        number => usize::try_from(number).ok(),
    }
}

fn headers(mut section: Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for key in section.keys() {
        let Some(text) = section.text(&key) else { continue };
        match (HeaderName::try_from(key.as_str()), HeaderValue::from_str(&text)) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            (Err(_), _) => {
                section.refuse::<()>(
                    &key,
                    &Value::String(text),
                    "its name is no name of a header; write letters, digits and dashes",
                );
            }
            (_, Err(_)) => {
                section.refuse::<()>(
                    &key,
                    &Value::String(text),
                    "a header holds ASCII on one line; write such a text",
                );
            }
        }
    }
    headers
}

fn hsts(mut section: Section<'_>) -> Option<Hsts> {
    let is_enabled = section.flag("isEnabled").unwrap_or(false);
    // A number alone is a span of days.
    let max_age = section.duration("maxAge").unwrap_or(DAY * 10);
    let include_sub_domains = section.flag("includeSubDomains").unwrap_or(false);
    let preload = section.flag("preload").unwrap_or(false);
    section.not_applied(&["excludedHosts"], "the header is added for every host but localhost");
    section.finish();
    is_enabled.then_some(Hsts { max_age, include_sub_domains, preload })
}

/// `extensions.queues`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// An idle queue is looked at this often at least.
    pub max_polling_interval: Duration,
    /// A message that failed is hidden this long.
    pub visibility_timeout: Duration,
    /// Messages fetched at once, for each function.
    pub batch_size: usize,
    /// More are fetched when only this many are running.
    pub new_batch_threshold: usize,
    /// After so many attempts a message goes to the poison queue.
    pub max_dequeue_count: u32,
    /// How texts stand in messages.
    pub message_encoding: MessageEncoding,
}

/// How texts stand in queue messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageEncoding {
    /// Base64.
    Base64,
    /// As they are.
    Plain,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            max_polling_interval: Duration::from_mins(1),
            visibility_timeout: Duration::ZERO,
            batch_size: 16,
            new_batch_threshold: 8,
            max_dequeue_count: 5,
            message_encoding: MessageEncoding::Base64,
        }
    }
}

impl Queues {
    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let default = Self::default();
        let Some(mut section) = section else { return default };
        let batch_size = section.whole("batchSize", 1..=32).unwrap_or(default.batch_size);
        let queues = Self {
            max_polling_interval: polling_interval(&mut section)
                .unwrap_or(default.max_polling_interval),
            visibility_timeout: section
                .duration("visibilityTimeout")
                .unwrap_or(default.visibility_timeout),
            batch_size,
            new_batch_threshold: section
                .whole("newBatchThreshold", 0..=ANY)
                .unwrap_or(batch_size / 2),
            max_dequeue_count: section
                .whole("maxDequeueCount", 1..=ANY)
                .unwrap_or(default.max_dequeue_count),
            message_encoding: section
                .choice(
                    "messageEncoding",
                    &[("base64", MessageEncoding::Base64), ("none", MessageEncoding::Plain)],
                )
                .unwrap_or(default.message_encoding),
        };
        section.finish();
        queues
    }
}

/// A span, or milliseconds as a whole number, which version 1 wrote.
fn polling_interval(section: &mut Section<'_>) -> Option<Duration> {
    let key = "maxPollingInterval";
    let value = section.take(key)?;
    let interval = match value.as_u64() {
        Some(millis) => Some(Duration::from_millis(millis)),
        None => {
            value.as_str().and_then(|text| text.parse::<super::super::TimeSpan>().ok()?.duration())
        }
    };
    interval.filter(|interval| *interval >= Duration::from_millis(100)).or_else(|| {
        section.refuse(key, &value, "write a tenth of a second or more, such as \"00:00:02\"")
    })
}

/// `extensions.blobs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blobs {
    /// Blobs of one function that are worked on at once.
    pub max_degree_of_parallelism: usize,
    /// After so many attempts a blob is given up.
    pub poison_blob_threshold: u32,
}

impl Blobs {
    pub(super) fn read(section: Option<Section<'_>>, cores: usize) -> Self {
        let default =
            Self { max_degree_of_parallelism: 8 * cores.max(1), poison_blob_threshold: 5 };
        let Some(mut section) = section else { return default };
        let blobs = Self {
            max_degree_of_parallelism: section
                .whole("maxDegreeOfParallelism", 1..=ANY)
                .unwrap_or(default.max_degree_of_parallelism),
            poison_blob_threshold: section
                .whole("poisonBlobThreshold", 1..=ANY)
                .unwrap_or(default.poison_blob_threshold),
        };
        section.finish();
        blobs
    }
}

/// `extensions.everstep`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Everstep {
    functions: BTreeMap<String, FunctionLimits>,
    /// When trees of orchestrations are removed.
    pub retention: Retention,
    /// Who is told of orchestrations.
    pub webhooks: Vec<Webhook>,
}

/// Bounds of one function.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FunctionLimits {
    /// Invocations at once.
    pub max_concurrency: Option<usize>,
    /// Invocations begun in a second, on average.
    pub rate_per_second: Option<f64>,
    /// What one invocation may take, whatever else is said.
    pub timeout: Option<Duration>,
}

impl FunctionLimits {
    /// Between the beginnings of two invocations, on average.
    pub fn interval(&self) -> Option<Duration> {
        let rate = self.rate_per_second?;
        Some(Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX))
    }
}

/// How long ago the root of a tree must have ended for the tree to be removed; `None` keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Where the root completed.
    pub completed: Option<Duration>,
    /// Where it failed.
    pub failed: Option<Duration>,
    /// Where it was terminated or canceled.
    pub terminated: Option<Duration>,
}

/// Who is told of orchestrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to post.
    pub url: String,
    /// The setting with the key that signs.
    pub key_setting: Option<String>,
    /// What is told.
    pub events: Vec<LifeCycle>,
    /// The orchestrator that is meant; `None` for all.
    pub name: Option<String>,
}

impl Everstep {
    /// The bounds of a function; none where nothing is said.
    pub fn limits(&self, function: &str) -> FunctionLimits {
        self.functions.get(&function.to_lowercase()).copied().unwrap_or_default()
    }

    /// The functions that have bounds, in lower case.
    pub fn limited(&self) -> impl Iterator<Item = (&str, FunctionLimits)> {
        self.functions.iter().map(|(name, limits)| (name.as_str(), *limits))
    }

    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let Some(mut section) = section else { return Self::default() };
        let functions = section.section("functions").map(limits).unwrap_or_default();
        let retention = Retention::read(&mut section);
        let webhooks = section.sections("webhooks").into_iter().filter_map(webhook).collect();
        section.finish();
        Self { functions, retention, webhooks }
    }
}

impl Retention {
    fn read(section: &mut Section<'_>) -> Self {
        let days = section.positive("retentionDays");
        let all = days.and_then(|days| Duration::try_from_secs_f64(days * DAY.as_secs_f64()).ok());
        let Some(mut own) = section.section("retention") else {
            return Self { completed: all, failed: all, terminated: all };
        };
        let mut age = |key: &str| {
            let age = own.duration(key);
            if age == Some(Duration::ZERO) {
                let found = Value::from("00:00:00");
                return own.refuse(
                    key,
                    &found,
                    "write a span of time above zero, such as \"7.00:00:00\" for a week",
                );
            }
            age.or(all)
        };
        let retention = Self {
            completed: age("completed"),
            failed: age("failed"),
            terminated: age("terminated"),
        };
        own.finish();
        retention
    }
}

fn limits(mut section: Section<'_>) -> BTreeMap<String, FunctionLimits> {
    let mut functions = BTreeMap::new();
    for name in section.keys() {
        let Some(mut function) = section.section(&name) else { continue };
        let limits = FunctionLimits {
            max_concurrency: function.whole("maxConcurrency", 1..=ANY),
            rate_per_second: function.positive("ratePerSecond"),
            timeout: time_limit(&mut function),
        };
        function.finish();
        functions.insert(name.to_lowercase(), limits);
    }
    functions
}

fn time_limit(function: &mut Section<'_>) -> Option<Duration> {
    let limit = function.duration("timeout")?;
    if limit.is_zero() {
        let found = Value::from("00:00:00");
        return function.refuse(
            "timeout",
            &found,
            "write a span of time above zero, such as \"00:05:00\"",
        );
    }
    Some(limit)
}

fn webhook(mut section: Section<'_>) -> Option<Webhook> {
    let Some(url) = section.text("url") else {
        section.missing("url", "write where to post, such as \"https://example.com/hook\"");
        return None;
    };
    if !url.starts_with("https://") && !url.starts_with("http://") {
        section.refuse::<()>(
            "url",
            &Value::String(url.clone()),
            "write a URL such as \"https://example.com/hook\"",
        );
    }
    if url.starts_with("http://")
        && !url.starts_with("http://localhost")
        && !url.starts_with("http://127.0.0.1")
    {
        section.remark(
            NoticeKind::Warning,
            "url",
            "is not encrypted on its way; write https where you can",
        );
    }
    let hook = Webhook {
        url,
        key_setting: section.text("keySetting"),
        events: LifeCycle::list(&mut section, "events"),
        name: section.text("name"),
    };
    section.finish();
    Some(hook)
}
