//! `host.json`: what the host is told.
//!
//! Two steps. [`Raw`] is the file with the settings `AzureFunctionsJobHost__a__b` laid over it, and keeps whatever
//! stands there. [`HostConfig::resolve`] reads it once, checks everything and gives typed values, so that nobody else
//! asks what a key means or what it is if it is not there.
//!
//! H1  Keys are compared without case. A key that nobody knows is mentioned once and ignored.
//! H2  A key of Azure Functions that has no meaning here is accepted and mentioned with the reason.
//! H3  A missing file and an empty object are the default, `{"version": "2.0"}`.
//!
//! Everstep's own keys stand under `extensions.everstep`:
//!
//! | Key | Default | Meaning |
//! |---|---|---|
//! | `functions.{name}.maxConcurrency` | none | invocations of this function at once, activities included |
//! | `functions.{name}.ratePerSecond` | none | invocations of this function begun in a second, on average |
//! | `functions.{name}.timeout` | `functionTimeout` | an invocation that takes longer fails |
//! | `retentionDays` | none | trees of orchestrations are removed this long after their root ended |
//! | `retention.completed`, `.failed`, `.terminated` | `retentionDays` | the same, by how the root ended |
//! | `webhooks[].url` | - | where the ends of orchestrations are posted to |
//! | `webhooks[].keySetting` | none | the setting with the key that signs what is posted |
//! | `webhooks[].events` | all | `Started`, `Completed`, `Failed`, `Terminated` |
//! | `webhooks[].name` | all | the orchestrator whose instances are meant |

mod durable;
mod extensions;
mod logging;
mod raw;

use std::time::Duration;

pub use durable::{
    DurableTask, EventGridNotifications, LifeCycle, Overridable, Provider, StorageProvider,
    TracingVersion, VersionFailure, VersionMatch,
};
pub use extensions::{
    Blobs, Everstep, FunctionLimits, Hsts, Http, MessageEncoding, Queues, Retention, Webhook,
};
pub use logging::{LogLevel, LogLevels, Logging};
pub use raw::Raw;
use serde_json::{Map, Value};

use super::{
    Errors, Notice, Retry, Settings,
    section::{Report, Section},
};

/// Everything that `host.json` and the settings over it say.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// An invocation may take this long; `None` for ever.
    pub function_timeout: Option<Duration>,
    /// Only these functions are loaded; `None` for all.
    pub functions: Option<Vec<String>>,
    /// How failed invocations are tried again, unless the function says.
    pub retry: Option<Retry>,
    /// What is logged.
    pub logging: Logging,
    /// The process that runs the functions, where the runtime is `custom`.
    pub custom_handler: Option<CustomHandler>,
    /// `extensions.http`.
    pub http: Http,
    /// `extensions.queues`.
    pub queues: Queues,
    /// `extensions.blobs`.
    pub blobs: Blobs,
    /// `extensions.durableTask`.
    pub durable_task: DurableTask,
    /// `extensions.everstep`.
    pub everstep: Everstep,
    /// Remarks, one line each.
    pub notices: Vec<Notice>,
}

/// A process that runs functions and speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomHandler {
    /// The program to start.
    pub executable: String,
    /// Its first argument where the program is an interpreter.
    pub worker: Option<String>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs, below the app's folder.
    pub working_directory: Option<String>,
    /// How requests reach functions that have an HTTP trigger and no other input.
    pub requests: Requests,
}

/// How a custom handler gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// As the JSON of an invocation.
    Wrapped,
    /// As they came.
    Forwarded,
}

impl HostConfig {
    /// Reads the text of a file, `None` if there is no such file, with the settings over it.
    pub fn read(
        file: &str,
        text: Option<&str>,
        settings: &Settings,
        cores: usize,
    ) -> Result<Self, Errors> {
        let raw = text.map_or_else(|| Ok(Raw::absent(file)), |text| Raw::parse(file, text))?;
        Self::resolve(raw.with_overrides(settings), settings, cores)
    }

    /// The values of a file for a machine with so many cores.
    pub fn resolve(raw: Raw, settings: &Settings, cores: usize) -> Result<Self, Errors> {
        let Raw { file, entries, overridden } = raw;
        let report = Report::with_overrides(overridden);
        let mut root = Section::root(&file, entries, &report);
        check_version(&mut root);
        let mut extensions = root.section("extensions");
        let mut extension =
            |name: &str| extensions.as_mut().and_then(|section| section.section(name));
        let config = Self {
            http: Http::read(extension("http")),
            queues: Queues::read(extension("queues")),
            blobs: Blobs::read(extension("blobs"), cores),
            durable_task: DurableTask::read(
                // Some of its values depend on settings, so that its absence says something too.
                extension("durableTask").unwrap_or_else(|| {
                    Section::at(&file, "extensions.durableTask", Map::new(), &report)
                }),
                settings,
            ),
            everstep: Everstep::read(extension("everstep")),
            function_timeout: timeout(&mut root),
            functions: root.list("functions"),
            retry: root.section("retry").and_then(Retry::from_section),
            logging: Logging::read(root.section("logging")),
            custom_handler: custom_handler(&mut root),
            notices: Vec::new(),
        };
        other_extensions(extensions);
        not_applied(&mut root);
        root.finish();
        let (config, notices) = report.close(config)?;
        Ok(Self { notices, ..config })
    }
}

fn check_version(root: &mut Section<'_>) {
    match root.take("version") {
        None => root.missing("version", "write \"version\": \"2.0\""),
        Some(Value::String(version)) if version == "2.0" => {}
        Some(other) => root
            .refuse("version", &other, "write \"2.0\", the only version there is")
            .unwrap_or_default(),
    }
}

fn timeout(root: &mut Section<'_>) -> Option<Duration> {
    const DEFAULT: Duration = Duration::from_mins(30);
    let Some(span) = root.span("functionTimeout") else { return Some(DEFAULT) };
    if span.to_string() == "-1.00:00:00" {
        return None;
    }
    span.duration().filter(|timeout| *timeout >= Duration::from_secs(1)).or_else(|| {
        let found = Value::String(span.to_string());
        root.refuse(
            "functionTimeout",
            &found,
            "write one second or more, such as \"00:05:00\", or \"-1\" for no limit",
        )
    })
}

fn custom_handler(root: &mut Section<'_>) -> Option<CustomHandler> {
    root.alias("httpWorker", "customHandler");
    let mut section = root.section("customHandler")?;
    let forwards = section.flag("enableForwardingHttpRequest").unwrap_or(false);
    let proxies = section.flag("enableProxyingHttpRequest").unwrap_or(false);
    let requests = if forwards || proxies { Requests::Forwarded } else { Requests::Wrapped };
    let Some(mut description) = section.section("description") else {
        section
            .missing("description", "write {\"defaultExecutablePath\": \"the program to start\"}");
        return None;
    };
    section.not_applied(&["http"], "the port of the handler is chosen by the host");
    section.finish();
    let handler = CustomHandler {
        executable: description.text("defaultExecutablePath").unwrap_or_default(),
        worker: description.text("defaultWorkerPath").filter(|path| !path.is_empty()),
        arguments: description.list("arguments").unwrap_or_default(),
        working_directory: description.text("workingDirectory").filter(|path| !path.is_empty()),
        requests,
    };
    if handler.executable.is_empty() {
        description.missing("defaultExecutablePath", "write the program to start");
    }
    description.finish();
    Some(handler)
}

fn other_extensions(extensions: Option<Section<'_>>) {
    let Some(mut extensions) = extensions else { return };
    for name in extensions.keys() {
        let why = if name.eq_ignore_ascii_case("eventGrid") {
            "the Event Grid trigger has no options"
        } else {
            "this host has no such extension"
        };
        extensions.not_applied(&[&name], why);
    }
}

fn not_applied(root: &mut Section<'_>) {
    for (keys, why) in [
        (&["extensionBundle"][..], "all extensions are built in"),
        (
            &["http", "queues", "blobs", "durableTask", "everstep"],
            "extensions stand below `extensions` since version 2; write them there",
        ),
        (&["aggregator"], "runs are counted as they happen"),
        (&["healthMonitor"], "the host pushes back by itself when it is overloaded"),
        (&["singleton"], "a hub belongs to one host, so no locks are leased"),
        (
            &["watchDirectories", "watchFiles"],
            "`everstep start --watch` looks at all sources of the app",
        ),
        (&["managedDependency"], "the app brings its dependencies"),
        (
            &["concurrency"],
            "bounds are those that are written; write `extensions.everstep.functions`",
        ),
        (&["telemetryMode"], "telemetry is configured by the settings of OpenTelemetry"),
        (
            &["metadataProviderTimeout", "sendCanceledInvocationsToWorker"],
            "they concern other kinds of workers",
        ),
    ] {
        root.not_applied(keys, why);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{NoticeKind, retry::Strategy},
        *,
    };

    fn resolve(text: &str, pairs: &[(&str, &str)]) -> Result<HostConfig, String> {
        let pairs = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::from_pairs(pairs);
        HostConfig::read("host.json", Some(text), &settings, 4).map_err(|errors| errors.to_string())
    }

    /// A file with these keys beside the version.
    fn config(keys: &str) -> HostConfig {
        resolve(&format!("{{\"version\": \"2.0\", {keys}}}"), &[]).unwrap()
    }

    fn error(keys: &str) -> String {
        resolve(&format!("{{\"version\": \"2.0\", {keys}}}"), &[]).unwrap_err()
    }

    fn notices(keys: &str) -> Vec<String> {
        config(keys).notices.into_iter().map(|notice| notice.text).collect()
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let config = resolve("{}", &[]).unwrap();
        assert_eq!(config.function_timeout, Some(Duration::from_mins(30)));
        assert_eq!((config.functions, config.retry, config.custom_handler), (None, None, None));
        assert_eq!(config.http, Http::default());
        assert_eq!(config.queues, Queues::default());
        assert_eq!(config.blobs, Blobs { max_degree_of_parallelism: 32, poison_blob_threshold: 5 });
        assert_eq!(config.everstep, Everstep::default());
        assert_eq!(config.durable_task.hub_name, "TestHubName");
        assert_eq!(config.durable_task.max_orchestration_actions, 100_000);
        assert_eq!(config.durable_task.async_request_sleep, Duration::from_secs(30));
        assert_eq!(config.durable_task.storage_provider.connection_name, "AzureWebJobsStorage");
        assert_eq!(config.logging.levels.level("Function.Save"), LogLevel::Information);
        assert_eq!(config.notices, []);
    }

    #[test]
    fn the_version_must_be_two() {
        assert_eq!(
            resolve("{\"logging\": {}}", &[]).unwrap_err(),
            "host.json: `version` is missing; write \"version\": \"2.0\""
        );
        assert_eq!(
            resolve("{\"version\": \"3.0\"}", &[]).unwrap_err(),
            "host.json: `version` is \"3.0\"; write \"2.0\", the only version there is"
        );
    }

    #[test]
    fn timeouts_are_spans_and_minus_one_is_none() {
        let timeout =
            |text: &str| config(&format!("\"functionTimeout\": \"{text}\"")).function_timeout;
        assert_eq!(timeout("00:10:00"), Some(Duration::from_mins(10)));
        assert_eq!(timeout("-1"), None);
        assert_eq!(
            error("\"functionTimeout\": \"00:00:00\""),
            "host.json: `functionTimeout` is \"00:00:00\"; write one second or more, such as \"00:05:00\", or \"-1\" for no limit"
        );
        assert_eq!(
            error("\"functionTimeout\": \"5 min\""),
            "host.json: `functionTimeout` is \"5 min\"; write hours, minutes and seconds as `00:05:00`, or days before them as `1.00:00:00`"
        );
        assert_eq!(
            notices("\"functionTimeout\": \"24:00:00\""),
            [
                "host.json: `functionTimeout` is 24:00:00, and hours above 23 count days: that is 24.00:00:00; write `1.00:00:00` for 24 hours"
            ]
        );
    }

    #[test]
    fn the_longest_prefix_of_a_category_wins() {
        let levels = config(
            r#""logging": { "LogLevel": { "default": "warning", "Function": "Error", "Function.Save.User": "Trace", "Host.*": "None" } }"#,
        )
        .logging
        .levels;
        let level = |category| levels.level(category);
        assert_eq!(level("Function.Save"), LogLevel::Error);
        assert_eq!(level("function.save.user"), LogLevel::Trace);
        assert_eq!(level("Host.Startup"), LogLevel::None);
        assert_eq!(level("Worker"), LogLevel::Warning);
        assert_eq!(
            error(r#""logging": { "logLevel": { "default": "Loud" } }"#),
            "host.json: `logging.logLevel.default` is \"Loud\"; write \"Trace\", \"Debug\", \"Information\", \"Warning\", \"Error\", \"Critical\" or \"None\""
        );
    }

    #[test]
    fn http_options_are_read() {
        let http = config(
            r#""extensions": { "http": {
                "routePrefix": "/v1/api/", "maxOutstandingRequests": 200, "maxConcurrentRequests": -1,
                "customHeaders": { "X-Frame-Options": "DENY" },
                "hsts": { "isEnabled": true, "maxAge": 10, "includeSubDomains": true }
            } }"#,
        )
        .http;
        assert_eq!(http.route_prefix, "v1/api");
        assert_eq!(
            (http.max_outstanding_requests, http.max_concurrent_requests),
            (Some(200), None)
        );
        assert_eq!(http.custom_headers.len(), 1);
        assert_eq!(http.hsts.unwrap().header(), "max-age=864000; includeSubDomains");
    }

    #[test]
    fn bad_http_options_are_all_found() {
        assert_eq!(
            error(
                r#""extensions": { "http": {
                    "routePrefix": "a b", "maxOutstandingRequests": 0, "maxConcurrentRequests": "many",
                    "customHeaders": { "a b": "c", "X-A": "é\n" }
                } }"#
            ),
            "host.json: `extensions.http.routePrefix` is \"a b\"; write letters and digits with single slashes between, such as \"api/v1\", or \"\"\n\
             host.json: `extensions.http.maxOutstandingRequests` is 0; write 1 or more, or -1 for no bound\n\
             host.json: `extensions.http.maxConcurrentRequests` is \"many\"; write a whole number of -1 or more\n\
             host.json: `extensions.http.customHeaders.X-A` is \"é\\n\"; a header holds ASCII on one line; write such a text\n\
             host.json: `extensions.http.customHeaders.a b` is \"c\"; its name is no name of a header; write letters, digits and dashes"
        );
        assert_eq!(
            error(r#""extensions": { "http": { "routePrefix": "Admin/x" } }"#),
            "host.json: `extensions.http.routePrefix` is \"Admin/x\"; `admin` and `runtime` are the host's; write another word"
        );
    }

    #[test]
    fn queue_and_blob_options_are_read() {
        let config = config(
            r#""extensions": {
                "queues": { "maxPollingInterval": 2000, "batchSize": 8, "visibilityTimeout": "00:00:30", "messageEncoding": "none" },
                "blobs": { "maxDegreeOfParallelism": 4, "poisonBlobThreshold": 1 }
            }"#,
        );
        assert_eq!(
            config.queues,
            Queues {
                max_polling_interval: Duration::from_secs(2),
                visibility_timeout: Duration::from_secs(30),
                batch_size: 8,
                new_batch_threshold: 4,
                max_dequeue_count: 5,
                message_encoding: MessageEncoding::Plain,
            }
        );
        assert_eq!(config.blobs, Blobs { max_degree_of_parallelism: 4, poison_blob_threshold: 1 });
        assert_eq!(
            error(
                r#""extensions": { "queues": { "batchSize": 33, "maxPollingInterval": "soon" } }"#
            ),
            "host.json: `extensions.queues.batchSize` is 33; write a whole number from 1 to 32\n\
             host.json: `extensions.queues.maxPollingInterval` is \"soon\"; write a tenth of a second or more, such as \"00:00:02\""
        );
    }

    #[test]
    fn durable_options_are_read() {
        let text = r#"{ "version": "2.0", "extensions": { "durableTask": {
            "hubName": "%HUB%", "maxConcurrentActivityFunctions": 7, "overridableExistingInstanceStates": "anystate",
            "httpSettings": { "defaultAsyncRequestSleepTimeMilliseconds": 500, "useForwardedHost": true },
            "defaultVersion": "1.1", "versionMatchStrategy": "CurrentOrOlder", "versionFailureStrategy": "Fail",
            "tracing": { "traceInputsAndOutputs": true, "distributedTracingEnabled": false },
            "notifications": { "eventGrid": { "topicEndpoint": "https://t", "keySettingName": "K", "publishRetryHttpStatus": [400], "publishEventTypes": ["failed"] } },
            "storageProvider": { "type": "netherite", "partitionCount": 12, "storageConnectionName": "S" }
        } } }"#;
        let durable = resolve(text, &[("HUB", "Orders")]).unwrap().durable_task;
        assert_eq!(durable.hub_name, "Orders");
        assert_eq!(durable.max_concurrent_activity_functions, Some(7));
        assert_eq!(durable.overridable_existing_instance_states, Overridable::AnyState);
        assert_eq!(
            (durable.async_request_sleep, durable.use_forwarded_host),
            (Duration::from_millis(500), true)
        );
        assert_eq!(durable.default_version.as_deref(), Some("1.1"));
        assert_eq!(durable.version_match_strategy, VersionMatch::CurrentOrOlder);
        assert_eq!(durable.version_failure_strategy, VersionFailure::Fail);
        assert_eq!(durable.tracing, TracingVersion::None);
        let notifications = durable.notifications.unwrap();
        assert_eq!(notifications.publish_event_types, [LifeCycle::Failed]);
        assert_eq!(notifications.publish_retry_interval, Duration::from_mins(5));
        assert_eq!(
            durable.storage_provider,
            StorageProvider {
                kind: Provider::Netherite,
                connection_name: "S".to_owned(),
                partition_count: Some(12)
            }
        );
    }

    #[test]
    fn bad_durable_options_are_errors() {
        assert_eq!(
            error(
                r#""extensions": { "durableTask": {
                    "hubName": "%NOPE%", "maxConcurrentActivityFunctions": 0, "maxConcurrentOrchestratorFunctions": -1,
                    "notifications": { "eventGrid": { "topicEndpoint": "https://t", "publishRetryInterval": "02:00:00", "publishRetryHttpStatus": [1], "publishEventTypes": ["Lost"] } },
                    "storageProvider": { "type": "redis", "partitionCount": 17 }
                } }"#
            ),
            "host.json: `extensions.durableTask.hubName` is \"%NOPE%\"; '%NOPE%' does not resolve to a value; add `NOPE` to `Values` in local.settings.json or to the environment\n\
             host.json: `extensions.durableTask.maxConcurrentActivityFunctions` is 0; write a whole number of 1 or more\n\
             host.json: `extensions.durableTask.notifications.eventGrid.publishRetryInterval` is \"02:00:00\"; write an hour at most, such as \"00:05:00\"\n\
             host.json: `extensions.durableTask.notifications.eventGrid.publishRetryHttpStatus` is \"1\"; write a list of status codes such as [400, 503]\n\
             host.json: `extensions.durableTask.notifications.eventGrid.publishEventTypes` is \"Lost\"; write some of \"Started\", \"Completed\", \"Failed\" or \"Terminated\"\n\
             host.json: `extensions.durableTask.notifications.eventGrid.keySettingName` is missing; write the name of the setting with the topic's key\n\
             host.json: `extensions.durableTask.storageProvider.type` is \"redis\"; write \"AzureStorage\", \"netherite\", \"mssql\" or \"azureManaged\"\n\
             host.json: `extensions.durableTask.storageProvider.partitionCount` is 17; write a whole number from 1 to 16\n\
             host.json: `extensions.durableTask.maxConcurrentOrchestratorFunctions` is -1; write a whole number of 1 or more"
        );
        assert_eq!(
            error(r#""extensions": { "durableTask": { "hubName": "1st hub" } }"#),
            "host.json: `extensions.durableTask.hubName` is \"1st hub\"; write 3 to 45 letters and digits of which the first is a letter"
        );
    }

    #[test]
    fn a_hub_without_a_name_is_called_after_the_site() {
        let hub =
            |site| resolve("{}", &[("WEBSITE_SITE_NAME", site)]).unwrap().durable_task.hub_name;
        assert_eq!(hub("my-site_1"), "mysite1");
        assert_eq!(hub("1site"), "t1site");
        assert_eq!(hub("ab"), "abHub");
        assert_eq!(hub("--"), "DefaultTaskHub");
        assert_eq!(hub(&"a".repeat(60)).len(), 45);
    }

    #[test]
    fn a_slot_needs_a_hub_of_its_own() {
        assert!(resolve("{}", &[("WEBSITE_SLOT_NAME", "production")]).is_ok());
        assert_eq!(
            resolve("{}", &[("WEBSITE_SLOT_NAME", "staging")]).unwrap_err(),
            "host.json: `extensions.durableTask.hubName` is missing; the slot `staging` needs a hub of its own; write its name, or `%SETTING%`"
        );
    }

    #[test]
    fn an_override_is_named_where_its_value_is_bad() {
        let pairs = [(
            "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions",
            "none",
        )];
        assert_eq!(
            resolve("{}", &pairs).unwrap_err(),
            "the setting AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions: \
             `extensions.durableTask.maxConcurrentActivityFunctions` is \"none\"; write a whole number of 1 or more"
        );
    }

    #[test]
    fn overrides_are_texts_that_count_as_numbers_and_flags() {
        let pairs = [
            ("AzureFunctionsJobHost__extensions__http__maxOutstandingRequests", "5"),
            ("AzureFunctionsJobHost__logging__console__isEnabled", "False"),
            ("AzureFunctionsJobHost__extensions__http__routePrefix", ""),
        ];
        let config = resolve("{}", &pairs).unwrap();
        assert_eq!(config.http.max_outstanding_requests, Some(5));
        assert_eq!(config.http.route_prefix, "");
        assert_eq!(config.logging.console, Some(false));
    }

    #[test]
    fn our_own_options_are_read() {
        let everstep = config(
            r#""extensions": { "everstep": {
                "functions": { "Charge": { "maxConcurrency": 4, "ratePerSecond": 0.5, "timeout": "00:00:20" } },
                "retentionDays": 1.5, "retention": { "failed": "30.00:00:00" },
                "webhooks": [{ "url": "https://example.com/hook", "keySetting": "HOOK_KEY", "events": ["Completed", "Failed"], "name": "Checkout" }]
            } }"#,
        )
        .everstep;
        assert_eq!(
            everstep.limits("charge"),
            FunctionLimits {
                max_concurrency: Some(4),
                rate_per_second: Some(0.5),
                timeout: Some(Duration::from_secs(20))
            }
        );
        assert_eq!(everstep.limits("charge").interval(), Some(Duration::from_secs(2)));
        assert_eq!(everstep.limits("other"), FunctionLimits::default());
        assert_eq!(
            everstep.retention,
            Retention {
                completed: Some(Duration::from_hours(36)),
                failed: Some(Duration::from_hours(720)),
                terminated: Some(Duration::from_hours(36)),
            }
        );
        assert_eq!(
            everstep.webhooks,
            [Webhook {
                url: "https://example.com/hook".to_owned(),
                key_setting: Some("HOOK_KEY".to_owned()),
                events: vec![LifeCycle::Completed, LifeCycle::Failed],
                name: Some("Checkout".to_owned()),
            }]
        );
        assert_eq!(
            error(
                r#""extensions": { "everstep": { "retentionDays": 0, "retention": { "failed": "00:00:00" }, "functions": { "a": { "ratePerSecond": "x", "timeout": "0" } }, "webhooks": [{}, 1, { "url": "ftp://a" }] } }"#
            ),
            "host.json: `extensions.everstep.functions.a.ratePerSecond` is \"x\"; write a number above 0\n\
             host.json: `extensions.everstep.functions.a.timeout` is \"00:00:00\"; write a span of time above zero, such as \"00:05:00\"\n\
             host.json: `extensions.everstep.retentionDays` is 0; write a number above 0\n\
             host.json: `extensions.everstep.retention.failed` is \"00:00:00\"; write a span of time above zero, such as \"7.00:00:00\" for a week\n\
             host.json: `extensions.everstep.webhooks[1]` is 1; write an object such as {}\n\
             host.json: `extensions.everstep.webhooks[0].url` is missing; write where to post, such as \"https://example.com/hook\"\n\
             host.json: `extensions.everstep.webhooks[2].url` is \"ftp://a\"; write a URL such as \"https://example.com/hook\""
        );
    }

    #[test]
    fn a_custom_handler_is_described() {
        let handler = config(
            r#""customHandler": { "description": { "defaultExecutablePath": "app", "arguments": ["--fast"], "workingDirectory": "" }, "enableForwardingHttpRequest": true }"#,
        )
        .custom_handler
        .unwrap();
        assert_eq!((handler.executable.as_str(), handler.requests), ("app", Requests::Forwarded));
        assert_eq!(
            (handler.arguments, handler.working_directory),
            (vec!["--fast".to_owned()], None)
        );
        assert_eq!(
            error(r#""customHandler": { "description": {} }"#),
            "host.json: `customHandler.description.defaultExecutablePath` is missing; write the program to start"
        );
        assert_eq!(
            notices(r#""httpWorker": { "description": { "defaultExecutablePath": "app" } }"#),
            ["host.json: `httpWorker` is an old name; write `customHandler`"]
        );
    }

    #[test]
    fn retries_of_the_whole_app_are_read() {
        let keys = r#""retry": { "strategy": "fixedDelay", "maxRetryCount": 2, "delayInterval": "00:00:01" }"#;
        let retry = config(keys).retry.unwrap();
        assert_eq!(
            retry,
            Retry { max: Some(2), strategy: Strategy::Fixed { delay: Duration::from_secs(1) } }
        );
    }

    #[test]
    fn what_has_no_effect_is_mentioned_once() {
        let keys = r#""extensionBundle": { "id": "x" }, "typo": 1, "durableTask": {}, "functionTimeuot": 1,
            "logging": { "applicationInsights": { "samplingSettings": {} }, "loglevel": {} },
            "extensions": {
                "serviceBus": {},
                "durableTask": { "extendedSessionsEnabled": true, "maxConcurrentOrchestratorFunctions": 5, "taskHub": "Orders", "speed": 9,
                    "storageProvider": { "connectionStringName": "S", "controlQueueBatchSize": 32, "odd": 1 } }
            }"#;
        let config = config(keys);
        let texts: Vec<_> = config.notices.iter().map(|notice| notice.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "host.json: `extensions.durableTask.taskHub` is an old name; write `extensions.durableTask.hubName`",
                "host.json: `extensions.durableTask.storageProvider.connectionStringName` is an old name; write `extensions.durableTask.storageProvider.connectionName`",
                "host.json: `extensions.durableTask.storageProvider.controlQueueBatchSize` has no effect: the hub lies in Everstep's own store",
                "host.json: `extensions.durableTask.storageProvider.odd` is not known and is ignored",
                "host.json: `extensions.durableTask.maxConcurrentOrchestratorFunctions` has no effect: turns take no slot while they wait, so they need no bound",
                "host.json: `extensions.durableTask.extendedSessionsEnabled` has no effect: executions stay in memory by themselves",
                "host.json: `extensions.durableTask.speed` is not known and is ignored",
                "host.json: `logging.applicationInsights` has no effect: traces and metrics leave by OpenTelemetry",
                "host.json: `extensions.serviceBus` has no effect: this host has no such extension",
                "host.json: `extensionBundle` has no effect: all extensions are built in",
                "host.json: `durableTask` has no effect: extensions stand below `extensions` since version 2; write them there",
                "host.json: `functionTimeuot` is not known and is ignored; did you mean `functionTimeout`?",
                "host.json: `typo` is not known and is ignored",
            ]
        );
        assert_eq!(config.notices[0].kind, NoticeKind::Deprecated);
        assert_eq!(config.notices[12].kind, NoticeKind::Unknown);
        assert_eq!(config.durable_task.hub_name, "Orders");
        assert_eq!(config.durable_task.storage_provider.connection_name, "S");
    }

    /// Every option of the extension, with a value that is not the default, and what becomes of it.
    const OPTIONS: [(&str, &str, Fate); 56] = [
        ("hubName", r#""Orders""#, Fate::Applied),
        ("maxConcurrentActivityFunctions", "3", Fate::Applied),
        ("maxConcurrentOrchestratorFunctions", "3", Fate::Mentioned),
        ("maxConcurrentEntityFunctions", "3", Fate::Mentioned),
        ("maxEntityOperationBatchSize", "3", Fate::Applied),
        ("extendedSessionsEnabled", "true", Fate::Mentioned),
        ("extendedSessionIdleTimeoutInSeconds", "3", Fate::Mentioned),
        ("maxOrchestrationActions", "3", Fate::Applied),
        ("overridableExistingInstanceStates", r#""AnyState""#, Fate::Applied),
        ("entityMessageReorderWindowInMinutes", "0", Fate::Mentioned),
        ("rollbackEntityOperationsOnExceptions", "false", Fate::Mentioned),
        ("throwStatusExceptionsOnRaiseEvent", "true", Fate::Mentioned),
        ("storeInputsInOrchestrationHistory", "true", Fate::Mentioned),
        ("localRpcEndpointEnabled", "false", Fate::Applied),
        ("useGracefulShutdown", "true", Fate::Mentioned),
        ("useAppLease", "false", Fate::Mentioned),
        ("appLeaseOptions", r#"{ "leaseInterval": "00:01:00" }"#, Fate::Mentioned),
        ("httpSettings.defaultAsyncRequestSleepTimeMilliseconds", "5", Fate::Applied),
        ("httpSettings.useForwardedHost", "true", Fate::Applied),
        ("defaultVersion", r#""2""#, Fate::Applied),
        ("versionMatchStrategy", r#""Strict""#, Fate::Applied),
        ("versionFailureStrategy", r#""Fail""#, Fate::Applied),
        ("maxGrpcMessageSizeInBytes", "5", Fate::Mentioned),
        ("grpcHttpClientTimeout", r#""00:01:00""#, Fate::Mentioned),
        ("tracing.traceInputsAndOutputs", "true", Fate::Mentioned),
        ("tracing.traceReplayEvents", "true", Fate::Mentioned),
        ("tracing.distributedTracingEnabled", "false", Fate::Applied),
        ("tracing.distributedTracingProtocol", r#""W3CTraceContext""#, Fate::Mentioned),
        ("tracing.version", r#""None""#, Fate::Applied),
        ("tracing.allowVerboseLinuxTelemetry", "true", Fate::Mentioned),
        ("notifications.eventGrid", GRID, Fate::Applied),
        ("storageProvider.type", r#""mssql""#, Fate::Applied),
        ("storageProvider.connectionName", r#""Other""#, Fate::Applied),
        ("storageProvider.connectionStringName", r#""Other""#, Fate::Applied),
        ("storageProvider.partitionCount", "3", Fate::Applied),
        ("storageProvider.controlQueueBatchSize", "3", Fate::Mentioned),
        ("storageProvider.controlQueueBufferThreshold", "3", Fate::Mentioned),
        ("storageProvider.controlQueueVisibilityTimeout", r#""00:01:00""#, Fate::Mentioned),
        ("storageProvider.workItemQueueVisibilityTimeout", r#""00:01:00""#, Fate::Mentioned),
        ("storageProvider.maxQueuePollingInterval", r#""00:01:00""#, Fate::Mentioned),
        ("storageProvider.trackingStoreConnectionName", r#""Other""#, Fate::Mentioned),
        ("storageProvider.trackingStoreNamePrefix", r#""A""#, Fate::Mentioned),
        ("storageProvider.fetchLargeMessagesAutomatically", "false", Fate::Mentioned),
        ("storageProvider.useLegacyPartitionManagement", "true", Fate::Mentioned),
        ("storageProvider.useTablePartitionManagement", "true", Fate::Mentioned),
        ("storageProvider.allowReplayingTerminalInstances", "true", Fate::Mentioned),
        ("storageProvider.queueClientMessageEncoding", r#""Base64""#, Fate::Mentioned),
        ("storageProvider.storageConnectionName", r#""Other""#, Fate::Mentioned),
        ("storageProvider.eventHubsConnectionName", r#""Other""#, Fate::Mentioned),
        ("storageProvider.cacheOrchestrationCursors", "false", Fate::Mentioned),
        ("storageProvider.taskEventLockTimeout", r#""00:01:00""#, Fate::Mentioned),
        ("storageProvider.createDatabaseIfNotExists", "true", Fate::Mentioned),
        ("storageProvider.schemaName", r#""dt""#, Fate::Mentioned),
        ("storageProvider.nobodyKnowsThis", "1", Fate::Unknown),
        ("tracing.nobodyKnowsThis", "1", Fate::Unknown),
        ("nobodyKnowsThis", "1", Fate::Unknown),
    ];

    const GRID: &str = r#"{ "topicEndpoint": "https://t", "keySettingName": "K" }"#;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fate {
        Applied,
        Mentioned,
        Unknown,
    }

    #[test]
    fn every_durable_option_is_applied_or_mentioned_in_one_line() {
        let plain = config(r#""extensions": {}"#).durable_task;
        for (path, value, fate) in OPTIONS {
            let inner = match path.split_once('.') {
                Some((section, key)) => format!(r#""{section}": {{ "{key}": {value} }}"#),
                None => format!(r#""{path}": {value}"#),
            };
            let config = config(&format!(r#""extensions": {{ "durableTask": {{ {inner} }} }}"#));
            let lines: Vec<_> =
                config.notices.iter().filter(|notice| notice.text.contains(path)).collect();
            let is_alias = path.ends_with("connectionStringName");
            match fate {
                Fate::Applied => {
                    assert_ne!(config.durable_task, plain, "{path} changes nothing");
                    assert_eq!(lines.len(), usize::from(is_alias), "{path}: {lines:?}");
                }
                Fate::Mentioned | Fate::Unknown => {
                    assert_eq!(config.durable_task, plain, "{path} changes something");
                    let kind = if fate == Fate::Unknown {
                        NoticeKind::Unknown
                    } else {
                        NoticeKind::NotApplied
                    };
                    assert_eq!(lines.len(), 1, "{path}: {lines:?}");
                    assert_eq!(lines[0].kind, kind, "{path}");
                    assert!(!lines[0].text.contains('\n'), "{path}");
                }
            }
        }
    }

    #[test]
    fn sections_of_the_wrong_kind_are_errors() {
        assert_eq!(
            error(r#""extensions": [], "logging": "loud""#),
            "host.json: `extensions` is a list; write an object such as {}\n\
             host.json: `logging` is \"loud\"; write an object such as {}"
        );
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(
            key in prop::sample::select(vec![
                "functionTimeout", "functions", "retry", "logging", "watchFiles", "customHandler", "extensions",
            ]),
            inner in prop::sample::select(vec![
                "http", "queues", "blobs", "durableTask", "everstep", "logLevel", "console", "description", "strategy",
            ]),
            leaf in prop::sample::select(vec![
                "routePrefix", "hsts", "batchSize", "maxPollingInterval", "hubName", "tracing", "notifications",
                "storageProvider", "webhooks", "functions", "retentionDays", "customHeaders", "a", "maxAge",
            ]),
            value in "(\"[a-z0-9:.%-]{0,8}\"|-?[0-9]{1,20}|true|null|\\[1\\]|\\{\"a\":\\{\"a\":1\\}\\}|1e308)",
        ) {
            for text in [
                format!("{{\"version\":\"2.0\",\"{key}\":{value}}}"),
                format!("{{\"version\":\"2.0\",\"{key}\":{{\"{inner}\":{value}}}}}"),
                format!("{{\"version\":\"2.0\",\"{key}\":{{\"{inner}\":{{\"{leaf}\":{value}}}}}}}"),
            ] {
                let setting = format!("AzureFunctionsJobHost__{key}__{inner}__{leaf}");
                let _ = resolve(&text, &[(&setting, &value)]);
            }
        }
    }
}
