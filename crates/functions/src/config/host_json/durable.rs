//! `extensions.durableTask`.

use std::time::Duration;

use serde_json::Value;

use super::super::{
    NoticeKind, Settings,
    section::{Section, either},
};

const ANY: i64 = i32::MAX as i64;

/// `extensions.durableTask`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableTask {
    /// The task hub.
    pub hub_name: String,
    /// Activities at once; where it is not said the host has a bound of its own.
    pub max_concurrent_activity_functions: Option<usize>,
    /// Operations that an entity runs in one turn.
    pub max_entity_operation_batch_size: Option<usize>,
    /// Actions that one turn of an orchestrator may take.
    pub max_orchestration_actions: usize,
    /// Which instances a start may replace.
    pub overridable_existing_instance_states: Overridable,
    /// Whether the unprotected listener for SDKs is open; `None` where the language decides.
    pub local_rpc_endpoint_enabled: Option<bool>,
    /// `httpSettings.defaultAsyncRequestSleepTimeMilliseconds`: between two looks at a URL that answered 202.
    pub async_request_sleep: Duration,
    /// `httpSettings.useForwardedHost`: whether links follow `X-Forwarded-Host`.
    pub use_forwarded_host: bool,
    /// The version of instances that are started without one.
    pub default_version: Option<String>,
    /// Which versions of instances run here.
    pub version_match_strategy: VersionMatch,
    /// What becomes of the others.
    pub version_failure_strategy: VersionFailure,
    /// `tracing.version`, and `tracing.distributedTracingEnabled`.
    pub tracing: TracingVersion,
    /// `notifications.eventGrid`, if it has a topic.
    pub notifications: Option<EventGridNotifications>,
    /// `storageProvider`.
    pub storage_provider: StorageProvider,
}

/// Which existing instances a start may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overridable {
    /// Those that have ended.
    #[default]
    NonRunningStates,
    /// All.
    AnyState,
}

/// Which instances a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionMatch {
    /// All.
    #[default]
    None,
    /// Those of its own version.
    Strict,
    /// Those of its version and of older ones.
    CurrentOrOlder,
}

/// What becomes of an instance whose version does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionFailure {
    /// It waits for another worker.
    #[default]
    Reject,
    /// It fails.
    Fail,
}

/// How orchestrations appear in traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TracingVersion {
    /// Not at all.
    None,
    /// As spans.
    #[default]
    V2,
}

/// `notifications.eventGrid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGridNotifications {
    /// Where to post.
    pub topic_endpoint: String,
    /// The setting with the topic's key.
    pub key_setting_name: String,
    /// How often a post is tried again.
    pub publish_retry_count: u32,
    /// The wait between.
    pub publish_retry_interval: Duration,
    /// Answers that are tried again, beside those that are always.
    pub publish_retry_http_status: Vec<u16>,
    /// What is told.
    pub publish_event_types: Vec<LifeCycle>,
}

/// What happens to an orchestration as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeCycle {
    /// It began.
    Started,
    /// It ended well.
    Completed,
    /// It failed.
    Failed,
    /// It was terminated.
    Terminated,
}

/// `storageProvider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageProvider {
    /// Which one the app was written for; all of them run on Everstep's store.
    pub kind: Provider,
    /// The name of the setting with the connection.
    pub connection_name: String,
    /// Partitions of the hub; fixed when it is made.
    pub partition_count: Option<u16>,
}

/// Storage providers of Durable Functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// Azure Storage.
    #[default]
    AzureStorage,
    /// Netherite.
    Netherite,
    /// Microsoft SQL Server.
    Mssql,
    /// The Durable Task Scheduler.
    AzureManaged,
}

impl DurableTask {
    pub(super) fn read(mut section: Section<'_>, settings: &Settings) -> Self {
        old_names(&mut section);
        let http = section.section("httpSettings");
        let (async_request_sleep, use_forwarded_host) = http_settings(http);
        let durable = Self {
            hub_name: hub_name(&mut section, settings),
            max_concurrent_activity_functions: section
                .whole("maxConcurrentActivityFunctions", 1..=ANY),
            max_entity_operation_batch_size: section.whole("maxEntityOperationBatchSize", 1..=ANY),
            max_orchestration_actions: section
                .whole("maxOrchestrationActions", 1..=ANY)
                .unwrap_or(100_000),
            overridable_existing_instance_states: section
                .choice(
                    "overridableExistingInstanceStates",
                    &[
                        ("NonRunningStates", Overridable::NonRunningStates),
                        ("AnyState", Overridable::AnyState),
                    ],
                )
                .unwrap_or_default(),
            local_rpc_endpoint_enabled: section.flag("localRpcEndpointEnabled"),
            async_request_sleep,
            use_forwarded_host,
            default_version: section.text("defaultVersion").filter(|version| !version.is_empty()),
            version_match_strategy: section
                .choice(
                    "versionMatchStrategy",
                    &[
                        ("None", VersionMatch::None),
                        ("Strict", VersionMatch::Strict),
                        ("CurrentOrOlder", VersionMatch::CurrentOrOlder),
                    ],
                )
                .unwrap_or_default(),
            version_failure_strategy: section
                .choice(
                    "versionFailureStrategy",
                    &[("Reject", VersionFailure::Reject), ("Fail", VersionFailure::Fail)],
                )
                .unwrap_or_default(),
            tracing: TracingVersion::read(section.section("tracing")),
            notifications: section
                .section("notifications")
                .and_then(|section| notifications(section, settings)),
            storage_provider: StorageProvider::read(section.section("storageProvider")),
        };
        not_applied(&mut section);
        section.finish();
        durable
    }
}

fn old_names(section: &mut Section<'_>) {
    section.alias("taskHub", "hubName");
    section.alias("maxConcurrentTaskActivityWorkItems", "maxConcurrentActivityFunctions");
    section.alias("maxConcurrentTaskOrchestrationWorkItems", "maxConcurrentOrchestratorFunctions");
}

fn not_applied(section: &mut Section<'_>) {
    // The bounds are checked although turns have none: a bad value is bad wherever the app runs.
    for key in ["maxConcurrentOrchestratorFunctions", "maxConcurrentEntityFunctions"] {
        if let Some(bound) = section.whole::<i64>(key, 1..=ANY) {
            section.put(key, Value::from(bound));
        }
    }
    if let Some(false) = section.flag("rollbackEntityOperationsOnExceptions") {
        section.remark(
            NoticeKind::NotApplied,
            "rollbackEntityOperationsOnExceptions",
            "is false and has no effect: what an operation did is always undone when it fails",
        );
    }
    for (keys, why) in [
        (
            &["maxConcurrentOrchestratorFunctions", "maxConcurrentEntityFunctions"][..],
            "turns take no slot while they wait, so they need no bound",
        ),
        (
            &["extendedSessionsEnabled", "extendedSessionIdleTimeoutInSeconds"],
            "executions stay in memory by themselves",
        ),
        (&["entityMessageReorderWindowInMinutes"], "messages arrive once and in order"),
        (&["useAppLease", "appLeaseOptions"], "a hub always belongs to one host"),
        (
            &["maxGrpcMessageSizeInBytes", "grpcHttpClientTimeout"],
            "SDKs reach this host by HTTP, not by gRPC",
        ),
        (
            &["throwStatusExceptionsOnRaiseEvent"],
            "an event for an instance that has ended is always refused, with 410",
        ),
        (
            &["storeInputsInOrchestrationHistory"],
            "inputs are always kept; `everstep history ID` shows them",
        ),
        (&["useGracefulShutdown"], "a stop always waits for what runs; `--drain` says how long"),
        (
            &[
                "azureStorageConnectionStringName",
                "partitionCount",
                "controlQueueBatchSize",
                "trackingStoreConnectionStringName",
            ],
            "they stand below `storageProvider` since version 2; write them there",
        ),
    ] {
        section.not_applied(keys, why);
    }
}

/// The name as it is written, with `%setting%` resolved, or one that is made of the site's name.
fn hub_name(section: &mut Section<'_>, settings: &Settings) -> String {
    let Some(text) = section.text("hubName").filter(|text| !text.trim().is_empty()) else {
        let slot = settings.get("WEBSITE_SLOT_NAME").filter(|slot| !slot.is_empty());
        if let Some(slot) = slot.filter(|slot| !slot.eq_ignore_ascii_case("production")) {
            let remedy =
                format!("the slot `{slot}` needs a hub of its own; write its name, or `%SETTING%`");
            section.missing("hubName", &remedy);
        }
        return default_hub_name(settings.get("WEBSITE_SITE_NAME"));
    };
    let found = Value::String(text.clone());
    let name = match settings.resolve(text.trim()) {
        Ok(name) => name,
        Err(error) => {
            return section.refuse("hubName", &found, &error.to_string()).unwrap_or_default();
        }
    };
    let fits = (3..=45).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if !fits {
        section.refuse::<()>(
            "hubName",
            &found,
            "write 3 to 45 letters and digits of which the first is a letter",
        );
    }
    name
}

fn default_hub_name(site: Option<&str>) -> String {
    let mut name: String =
        site.unwrap_or("TestHubName").chars().filter(char::is_ascii_alphanumeric).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, 't');
    }
    name.truncate(45);
    match name.len() {
        0 => "DefaultTaskHub".to_owned(),
        1 | 2 => name + "Hub",
        _ => name,
    }
}

fn http_settings(section: Option<Section<'_>>) -> (Duration, bool) {
    let default = Duration::from_secs(30);
    let Some(mut section) = section else { return (default, false) };
    let millis = section.whole("defaultAsyncRequestSleepTimeMilliseconds", 1..=ANY);
    let use_forwarded_host = section.flag("useForwardedHost").unwrap_or(false);
    section.finish();
    (millis.map_or(default, Duration::from_millis), use_forwarded_host)
}

impl TracingVersion {
    fn read(section: Option<Section<'_>>) -> Self {
        let Some(mut section) = section else { return Self::default() };
        let enabled = section.flag("distributedTracingEnabled");
        let words = [("None", Self::None), ("V1", Self::V2), ("V2", Self::V2)];
        let version = section.choice("version", &words);
        for (keys, why) in [
            (
                &["traceInputsAndOutputs"][..],
                "values never enter the log; `everstep history ID` shows them",
            ),
            (&["traceReplayEvents"], "replays are never logged"),
            (&["distributedTracingProtocol"], "trace contexts are those of W3C"),
            (&["allowVerboseLinuxTelemetry"], "logs follow `logging.logLevel`"),
        ] {
            section.not_applied(keys, why);
        }
        section.finish();
        if enabled == Some(false) { Self::None } else { version.unwrap_or_default() }
    }
}

fn notifications(mut section: Section<'_>, settings: &Settings) -> Option<EventGridNotifications> {
    let grid = section.section("eventGrid");
    section.finish();
    let mut grid = grid?;
    let topic = grid.text("topicEndpoint").filter(|topic| !topic.trim().is_empty());
    let found = topic.clone().map(Value::String).unwrap_or_default();
    let topic = topic.and_then(|topic| {
        settings
            .resolve(&topic)
            .map_err(|error| error.to_string())
            .map_or_else(|remedy| grid.refuse("topicEndpoint", &found, &remedy), Some)
    });
    let notifications = EventGridNotifications {
        topic_endpoint: topic.unwrap_or_default(),
        key_setting_name: grid.text("keySettingName").unwrap_or_default(),
        publish_retry_count: grid.whole("publishRetryCount", 0..=ANY).unwrap_or(0),
        publish_retry_interval: retry_interval(&mut grid),
        publish_retry_http_status: statuses(&mut grid),
        publish_event_types: LifeCycle::list(&mut grid, "publishEventTypes"),
    };
    let has_topic = found != Value::Null;
    if has_topic && notifications.key_setting_name.is_empty() {
        grid.missing("keySettingName", "write the name of the setting with the topic's key");
    }
    grid.finish();
    has_topic.then_some(notifications)
}

fn retry_interval(section: &mut Section<'_>) -> Duration {
    let key = "publishRetryInterval";
    let interval = section.duration(key).unwrap_or(Duration::from_mins(5));
    if interval > Duration::from_hours(1) {
        let found = Value::String(super::super::TimeSpan::from(interval).to_string());
        section.refuse::<()>(key, &found, "write an hour at most, such as \"00:05:00\"");
    }
    interval
}

fn statuses(section: &mut Section<'_>) -> Vec<u16> {
    let key = "publishRetryHttpStatus";
    let texts = section.list(key).unwrap_or_default();
    let status = |text: &String| text.parse().ok().filter(|status| (100..=599).contains(status));
    let statuses: Option<Vec<u16>> = texts.iter().map(status).collect();
    statuses.unwrap_or_else(|| {
        let found = Value::String(texts.join(", "));
        section
            .refuse(key, &found, "write a list of status codes such as [400, 503]")
            .unwrap_or_default()
    })
}

impl LifeCycle {
    const WORDS: [(&'static str, Self); 4] = [
        ("Started", Self::Started),
        ("Completed", Self::Completed),
        ("Failed", Self::Failed),
        ("Terminated", Self::Terminated),
    ];

    /// All where nothing is said.
    pub(super) fn list(section: &mut Section<'_>, key: &str) -> Vec<Self> {
        let Some(texts) = section.list(key).filter(|texts| !texts.is_empty()) else {
            return Self::WORDS.map(|(_, event)| event).to_vec();
        };
        let find = |text: &String| {
            let found = Self::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|&(_, event)| event).or_else(|| {
                let words = Self::WORDS.map(|(word, _)| format!("\"{word}\"")).to_vec();
                section.refuse(
                    key,
                    &Value::String(text.clone()),
                    &format!("write some of {}", either(&words)),
                )
            })
        };
        texts.iter().filter_map(find).collect()
    }
}

impl StorageProvider {
    fn read(section: Option<Section<'_>>) -> Self {
        let default = Self {
            kind: Provider::AzureStorage,
            connection_name: "AzureWebJobsStorage".to_owned(),
            partition_count: None,
        };
        let Some(mut section) = section else { return default };
        let words = [
            ("AzureStorage", Provider::AzureStorage),
            ("netherite", Provider::Netherite),
            ("mssql", Provider::Mssql),
            ("azureManaged", Provider::AzureManaged),
        ];
        let kind = section.choice("type", &words).unwrap_or_default();
        if kind == Provider::AzureStorage {
            section.alias("connectionStringName", "connectionName");
        }
        let connection_name = match kind {
            Provider::AzureStorage => section.connection("connectionName"),
            Provider::Netherite => section.connection("storageConnectionName"),
            Provider::Mssql | Provider::AzureManaged => section.connection("connectionStringName"),
        };
        let partitions_max = if kind == Provider::AzureStorage { 16 } else { 32 };
        let provider = Self {
            kind,
            connection_name: connection_name.unwrap_or(default.connection_name),
            partition_count: section.whole("partitionCount", 1..=partitions_max),
        };
        let others = section.keys();
        let others: Vec<_> =
            others.iter().map(String::as_str).filter(|key| is_known(key)).collect();
        section.not_applied(&others, "the hub lies in Everstep's own store");
        section.finish();
        provider
    }
}

fn is_known(key: &str) -> bool {
    const KNOWN: &[&str] = &[
        "controlQueueBatchSize",
        "controlQueueBufferThreshold",
        "controlQueueVisibilityTimeout",
        "workItemQueueVisibilityTimeout",
        "maxQueuePollingInterval",
        "trackingStoreConnectionName",
        "trackingStoreConnectionStringName",
        "trackingStoreNamePrefix",
        "fetchLargeMessagesAutomatically",
        "useLegacyPartitionManagement",
        "useTablePartitionManagement",
        "allowReplayingTerminalInstances",
        "queueClientMessageEncoding",
        "partitionManagement",
        "storageConnectionName",
        "eventHubsConnectionName",
        "cacheOrchestrationCursors",
        "taskEventLockTimeout",
        "createDatabaseIfNotExists",
        "schemaName",
    ];
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(key))
}
