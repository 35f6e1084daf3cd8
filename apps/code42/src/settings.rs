//! What can be set, read once when the app starts.
//!
//! S1  An empty setting counts as missing.
//! S2  What cannot be used ends the start with the setting's name and what to write.
//! S3  What is missing does not: the app starts, says all missing names at once, and refuses runs with them.
//! S4  Orchestrators see none of this: what they depend on stands in their input.

use std::{fmt, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use everstep_azure::Invalid;

/// How the app works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// What a run cannot do without, or what of it is missing.
    pub(crate) essentials: Result<Essentials, Missing>,
    pub(crate) schedule: String,
    pub(crate) region: String,
    /// Where AWS answers, if not where the region says.
    pub(crate) aws_endpoint: Option<String>,
    pub(crate) session: String,
    pub(crate) buckets: Buckets,
    pub(crate) format: Format,
    pub(crate) max_age: MaxAge,
    /// Records of one upload.
    pub(crate) chunk_size: usize,
    /// A run takes no new work after that many seconds.
    pub(crate) run_seconds: u32,
    /// Objects at a time.
    pub(crate) lanes: u32,
    pub(crate) receive: Receive,
    /// A failing message is received so often before it goes to the quarantine.
    pub(crate) receives_max: u32,
    /// An object may be silent so long.
    pub(crate) object_silence: Duration,
    pub(crate) upload_time: Duration,
    /// An object may hold so many bytes, decompressed.
    pub(crate) object_bytes: u64,
}

/// What a run cannot do without.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Essentials {
    pub(crate) role: String,
    pub(crate) queue: String,
    pub(crate) sink: Sink,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sink {
    Ingestion {
        endpoint: String,
        rule: String,
        stream: String,
    },
    Collector {
        workspace: String,
        key: Hidden,
        table: String,
        endpoint: Option<String>,
    },
    /// Into a folder; beside the spool if none is named.
    Local {
        folder: Option<PathBuf>,
    },
}

/// A value that no log shows.
#[derive(Clone, PartialEq)]
pub(crate) struct Hidden(pub(crate) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The settings without which nothing runs and that are not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing runs while these settings are missing: {}; set them and start the app again", .0.join(", "))]
pub(crate) struct Missing(pub(crate) Vec<&'static str>);

/// Which buckets are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// For notices that name none.
    pub(crate) own: Option<String>,
    /// No others, unless this is empty.
    pub(crate) allowed: Vec<String>,
}

impl Buckets {
    pub(crate) fn allow(&self, bucket: &str) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|allowed| allowed == bucket)
    }
}

/// The columns of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The JSON as one text.
    Raw,
    /// One column for each known field.
    Flat,
}

/// What is too old to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxAge {
    /// Objects last changed a day or more before the day of the run began.
    OldFiles,
    /// Nothing.
    Off,
    /// Objects that were last changed before this time, and flat records whose own time is older.
    Of(Duration),
}

/// How messages are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receive {
    pub(crate) messages: u32,
    pub(crate) wait_seconds: u32,
    pub(crate) visibility_seconds: u32,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting {name} is `{found}`; {remedy}")]
pub(crate) struct BadSetting {
    name: &'static str,
    found: String,
    remedy: String,
}

impl BadSetting {
    fn new(name: &'static str, found: &str, expected: &str) -> Self {
        Self { name, found: found.to_owned(), remedy: format!("write {expected}") }
    }

    /// What a log service's client cannot use, by the setting that it came from.
    pub(crate) fn of_sink(invalid: Invalid) -> Self {
        let name = match invalid.what {
            "workspace" => "LOG_ANALYTICS_WORKSPACE_ID",
            "shared key of the workspace" => "LOG_ANALYTICS_SHARED_KEY",
            "endpoint for log uploads" => "LOG_ANALYTICS_ENDPOINT",
            "data collection endpoint" => "LOG_ANALYTICS_DCE_ENDPOINT",
            "data collection rule" => "LOG_ANALYTICS_DCR_IMMUTABLE_ID",
            "stream" => "LOG_ANALYTICS_STREAM_NAME",
            _ => "C42_LOG_ANALYTICS_TABLE",
        };
        Self { name, found: invalid.value, remedy: invalid.hint.to_owned() }
    }
}

const FORMATS: &[(&str, Format)] = &[("raw", Format::Raw), ("flat", Format::Flat)];
const SINKS: &[(&str, Kind)] = &[
    ("logs-ingestion", Kind::Ingestion),
    ("data-collector", Kind::Collector),
    ("local", Kind::Local),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ingestion,
    Collector,
    Local,
}

impl Settings {
    pub(crate) fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, BadSetting> {
        let find = |name: &str| setting(name).map(str::trim).filter(|text| !text.is_empty());
        let number = |name, default, range| whole(&find, name, default, range);
        let seconds = |name, default| number(name, default, 1..=43_200);
        let format = choice(&find, "C42_RECORD_FORMAT", "raw or flat", FORMATS)?;
        let lasting = |seconds: u64| Duration::from_secs(seconds);
        Ok(Self {
            essentials: essentials(&find)?,
            schedule: find("C42_SCHEDULE").unwrap_or("0 */30 * * * *").to_owned(),
            region: region(&find)?,
            aws_endpoint: endpoint(&find, "AWS_ENDPOINT_URL")?,
            session: session(&find)?,
            buckets: buckets(&find),
            format: format.unwrap_or(Format::Raw),
            max_age: max_age(&find)?,
            chunk_size: number("LOG_ANALYTICS_CHUNK_SIZE", 500, 1..=100_000)? as usize,
            run_seconds: number("MAX_EXECUTION_TIME_SECONDS", 270, 1..=86_400)? as u32,
            lanes: number("PARALLEL_S3_OPERATIONS", 5, 1..=64)? as u32,
            receive: Receive {
                messages: number("C42_RECEIVE_MESSAGES", 10, 1..=10)? as u32,
                wait_seconds: number("C42_RECEIVE_WAIT_SECONDS", 5, 0..=20)? as u32,
                visibility_seconds: number("C42_VISIBILITY_SECONDS", 360, 3..=43_200)? as u32,
            },
            receives_max: number("C42_MAX_RECEIVES", 5, 1..=1000)? as u32,
            object_silence: lasting(seconds("C42_OBJECT_TIMEOUT_SECONDS", 60)?),
            upload_time: lasting(seconds("C42_UPLOAD_TIMEOUT_SECONDS", 30)?),
            object_bytes: number("C42_MAX_OBJECT_BYTES", 10 << 30, 1..=1 << 50)?,
        })
    }
}

fn essentials<'a>(
    find: &impl Fn(&str) -> Option<&'a str>,
) -> Result<Result<Essentials, Missing>, BadSetting> {
    let mut missing = Vec::new();
    let mut need = |name: &'static str| {
        let found = find(name);
        if found.is_none() {
            missing.push(name);
        }
        found.unwrap_or_default().to_owned()
    };
    let role = need("AWS_ROLE_ARN");
    let queue = need("C42_SQS_QUEUE_URL");
    check("AWS_ROLE_ARN", &role, "an ARN such as arn:aws:iam::123456789012:role/name", |role| {
        role.starts_with("arn:") && role.contains(":role/")
    })?;
    let example = "the queue's whole URL, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME";
    check("C42_SQS_QUEUE_URL", &queue, example, is_url)?;
    let sink = sink(find, &mut need)?;
    Ok(if missing.is_empty() {
        Ok(Essentials { role, queue, sink })
    } else {
        Err(Missing(missing))
    })
}

fn sink<'a>(
    find: &impl Fn(&str) -> Option<&'a str>,
    need: &mut impl FnMut(&'static str) -> String,
) -> Result<Sink, BadSetting> {
    let kind = choice(find, "C42_SINK", "logs-ingestion, data-collector or local", SINKS)?;
    let is_set = |names: [&str; 2]| names.iter().any(|name| find(name).is_some());
    let kind = kind.unwrap_or_else(|| {
        let rule = is_set(["LOG_ANALYTICS_DCE_ENDPOINT", "LOG_ANALYTICS_DCR_IMMUTABLE_ID"]);
        let key = is_set(["LOG_ANALYTICS_WORKSPACE_ID", "LOG_ANALYTICS_SHARED_KEY"]);
        if key && !rule { Kind::Collector } else { Kind::Ingestion }
    });
    let table = table(find)?;
    let service = endpoint(find, "LOG_ANALYTICS_DCE_ENDPOINT")?;
    let other = endpoint(find, "LOG_ANALYTICS_ENDPOINT")?;
    Ok(match kind {
        Kind::Local => Sink::Local { folder: find("C42_LOCAL_FOLDER").map(PathBuf::from) },
        Kind::Collector => Sink::Collector {
            workspace: need("LOG_ANALYTICS_WORKSPACE_ID"),
            key: Hidden(need("LOG_ANALYTICS_SHARED_KEY")),
            table: table.unwrap_or_else(|| need("C42_LOG_ANALYTICS_TABLE")),
            endpoint: other,
        },
        Kind::Ingestion => Sink::Ingestion {
            endpoint: service.or(other).unwrap_or_else(|| need("LOG_ANALYTICS_DCE_ENDPOINT")),
            rule: need("LOG_ANALYTICS_DCR_IMMUTABLE_ID"),
            stream: match (find("LOG_ANALYTICS_STREAM_NAME"), table) {
                (Some(stream), _) => stream.to_owned(),
                (None, Some(table)) => format!("Custom-{table}"),
                (None, None) => need("C42_LOG_ANALYTICS_TABLE"),
            },
        },
    })
}

fn table<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<String>, BadSetting> {
    let name = "C42_LOG_ANALYTICS_TABLE";
    let expected =
        "a table's name such as Code42Logs_CL: letters, digits and _, a letter first, at most 100";
    parsed(find, name, expected, |table: &String| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = table.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let own = table.strip_suffix("_CL").unwrap_or(table);
        starts && table.len() <= 100 && table.bytes().all(fits) && !own.is_empty()
    })
}

fn region<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Result<String, BadSetting> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let expected = "a region such as us-east-1";
    let found = parsed(find, "AWS_REGION", expected, |region: &String| region.bytes().all(fits))?;
    Ok(found.unwrap_or_else(|| "us-east-1".to_owned()))
}

fn session<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Result<String, BadSetting> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    let expected = "2 to 64 letters, digits and _+=,.@-";
    let found = parsed(find, "C42_SESSION_NAME", expected, |name: &String| {
        (2..=64).contains(&name.len()) && name.bytes().all(fits)
    })?;
    Ok(found.unwrap_or_else(|| "azure-function-session".to_owned()))
}

fn buckets<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Buckets {
    let own = find("C42_bucket_name").map(str::to_owned);
    let more = find("C42_ALLOWED_BUCKETS").unwrap_or_default().split(',').map(str::trim);
    let more = more.filter(|bucket| !bucket.is_empty()).map(str::to_owned);
    let allowed = own.iter().cloned().chain(more).collect();
    Buckets { own, allowed }
}

fn max_age<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Result<MaxAge, BadSetting> {
    const NAME: &str = "C42_MAX_AGE";
    let Some(found) = find(NAME) else { return Ok(MaxAge::OldFiles) };
    if found.eq_ignore_ascii_case("off") {
        return Ok(MaxAge::Off);
    }
    let (number, unit) =
        found.split_at(found.len() - found.chars().last().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = seconds.zip(number.parse::<u32>().ok()).filter(|(_, number)| *number > 0);
    seconds
        .map(|(unit, number)| MaxAge::Of(Duration::from_secs(unit * u64::from(number))))
        .ok_or_else(|| BadSetting::new(NAME, found, "off, or a time such as 90m, 36h or 7d"))
}

fn is_url(text: &str) -> bool {
    reqwest::Url::parse(text)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.host().is_some())
}

fn endpoint<'a>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<Option<String>, BadSetting> {
    let expected = "a whole URL such as https://name.example.net";
    let found = parsed(find, name, expected, |url: &String| is_url(url))?;
    Ok(found.map(|url| url.trim_end_matches('/').to_owned()))
}

fn check(
    name: &'static str,
    found: &str,
    expected: &str,
    fits: impl Fn(&str) -> bool,
) -> Result<(), BadSetting> {
    if found.is_empty() || fits(found) {
        return Ok(());
    }
    Err(BadSetting::new(name, found, expected))
}

fn choice<'a, T: Copy>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
    expected: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, BadSetting> {
    let Some(found) = find(name) else { return Ok(None) };
    let chosen = choices.iter().find(|(text, _)| found.eq_ignore_ascii_case(text));
    chosen.map(|(_, value)| Some(*value)).ok_or_else(|| BadSetting::new(name, found, expected))
}

fn whole<'a>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, BadSetting> {
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let found = parsed(find, name, &expected, |number| range.contains(number))?;
    Ok(found.unwrap_or(default))
}

fn parsed<'a, T: FromStr>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
    expected: &str,
    fits: impl Fn(&T) -> bool,
) -> Result<Option<T>, BadSetting> {
    let Some(found) = find(name) else { return Ok(None) };
    let value = found.parse().ok().filter(fits);
    value.map(Some).ok_or_else(|| BadSetting::new(name, found, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: (&str, &str) = ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/logs");
    const QUEUE: (&str, &str) =
        ("C42_SQS_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/q");
    const TABLE: (&str, &str) = ("C42_LOG_ANALYTICS_TABLE", "Code42Logs_CL");
    const DCE: (&str, &str) = ("LOG_ANALYTICS_DCE_ENDPOINT", "https://dce.example.net/");
    const DCR: (&str, &str) = ("LOG_ANALYTICS_DCR_IMMUTABLE_ID", "dcr-1");
    const WORKSPACE: (&str, &str) = ("LOG_ANALYTICS_WORKSPACE_ID", "w");
    const KEY: (&str, &str) = ("LOG_ANALYTICS_SHARED_KEY", "a2V5");

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Settings, String> {
        Settings::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
            .map_err(|error| error.to_string())
    }

    fn sink(pairs: &[(&'static str, &'static str)]) -> Result<Sink, String> {
        let pairs = [&[ROLE, QUEUE], pairs].concat();
        let essentials = read(&pairs)?.essentials;
        essentials.map(|essentials| essentials.sink).map_err(|missing| missing.to_string())
    }

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            settings.essentials.unwrap_err().to_string(),
            "nothing runs while these settings are missing: AWS_ROLE_ARN, C42_SQS_QUEUE_URL, LOG_ANALYTICS_DCE_ENDPOINT, LOG_ANALYTICS_DCR_IMMUTABLE_ID, C42_LOG_ANALYTICS_TABLE; set them and start the app again"
        );
        assert_eq!(
            sink(&[WORKSPACE]).unwrap_err(),
            "nothing runs while these settings are missing: LOG_ANALYTICS_SHARED_KEY, C42_LOG_ANALYTICS_TABLE; set them and start the app again"
        );
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            (settings.schedule.as_str(), settings.region.as_str(), settings.session.as_str()),
            ("0 */30 * * * *", "us-east-1", "azure-function-session")
        );
        assert_eq!((settings.chunk_size, settings.run_seconds, settings.lanes), (500, 270, 5));
        let receive = Receive { messages: 10, wait_seconds: 5, visibility_seconds: 360 };
        assert_eq!((settings.receive, settings.receives_max), (receive, 5));
        assert_eq!(settings.object_silence, Duration::from_mins(1));
        assert_eq!(settings.upload_time, Duration::from_secs(30));
        assert_eq!((settings.format, settings.max_age), (Format::Raw, MaxAge::OldFiles));
    }

    #[test]
    fn records_go_where_the_variables_say() {
        let ingestion = Sink::Ingestion {
            endpoint: "https://dce.example.net".to_owned(),
            rule: "dcr-1".to_owned(),
            stream: "Custom-Code42Logs_CL".to_owned(),
        };
        assert_eq!(sink(&[DCE, DCR, TABLE, WORKSPACE, KEY]), Ok(ingestion.clone()));
        let stream = ("LOG_ANALYTICS_STREAM_NAME", "Custom-Code42Logs_CL");
        assert_eq!(sink(&[DCE, DCR, stream]), Ok(ingestion));
        let collector = Sink::Collector {
            workspace: "w".to_owned(),
            key: Hidden("a2V5".to_owned()),
            table: "Code42Logs_CL".to_owned(),
            endpoint: None,
        };
        assert_eq!(sink(&[TABLE, WORKSPACE, KEY]), Ok(collector.clone()));
        let asked = ("C42_SINK", "Data-Collector");
        assert_eq!(sink(&[DCE, DCR, TABLE, WORKSPACE, KEY, asked]), Ok(collector.clone()));
        assert_eq!(sink(&[("C42_SINK", "local")]), Ok(Sink::Local { folder: None }));
        assert!(!format!("{collector:?}").contains("a2V5"));
    }

    #[test]
    fn buckets_are_the_own_one_and_those_that_are_listed() {
        let buckets = |pairs: &[_]| read(pairs).unwrap().buckets;
        assert!(buckets(&[]).allow("any"));
        let own = buckets(&[("C42_bucket_name", "own")]);
        assert_eq!((own.allow("own"), own.allow("other")), (true, false));
        let more = buckets(&[("C42_bucket_name", "own"), ("C42_ALLOWED_BUCKETS", "a, b,")]);
        assert_eq!((more.allow("own"), more.allow("b"), more.allow("c")), (true, true, false));
    }

    #[test]
    fn ages_are_times_or_off() {
        let age = |text| read(&[("C42_MAX_AGE", text)]).unwrap().max_age;
        assert_eq!(age("OFF"), MaxAge::Off);
        assert_eq!(age("36h"), MaxAge::Of(Duration::from_hours(36)));
        assert_eq!(age("7d"), MaxAge::Of(Duration::from_hours(168)));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_what_to_write() {
        for (name, founds, expected) in [
            ("LOG_ANALYTICS_CHUNK_SIZE", ["0", "many", "-1"], "a whole number from 1 to 100000"),
            ("PARALLEL_S3_OPERATIONS", ["0", "65", "x"], "a whole number from 1 to 64"),
            ("C42_RECEIVE_MESSAGES", ["0", "11", "x"], "a whole number from 1 to 10"),
            ("C42_RECEIVE_WAIT_SECONDS", ["-1", "21", "x"], "a whole number from 0 to 20"),
            ("C42_VISIBILITY_SECONDS", ["2", "43201", "x"], "a whole number from 3 to 43200"),
            ("C42_MAX_RECEIVES", ["0", "1001", "x"], "a whole number from 1 to 1000"),
            ("MAX_EXECUTION_TIME_SECONDS", ["0", "86401", "x"], "a whole number from 1 to 86400"),
            ("C42_OBJECT_TIMEOUT_SECONDS", ["0", "43201", "x"], "a whole number from 1 to 43200"),
            ("C42_UPLOAD_TIMEOUT_SECONDS", ["0", "43201", "x"], "a whole number from 1 to 43200"),
            (
                "C42_MAX_OBJECT_BYTES",
                ["0", "1GB", "x"],
                "a whole number from 1 to 1125899906842624",
            ),
            (
                "LOG_ANALYTICS_DCE_ENDPOINT",
                ["dce", "ftp://a", "//"],
                "a whole URL such as https://name.example.net",
            ),
            (
                "LOG_ANALYTICS_ENDPOINT",
                ["dce", "ftp://a", "//"],
                "a whole URL such as https://name.example.net",
            ),
            ("C42_RECORD_FORMAT", ["json", "1", "raws"], "raw or flat"),
            ("C42_SINK", ["azure", "1", "both"], "logs-ingestion, data-collector or local"),
            ("C42_MAX_AGE", ["5", "0h", "2w"], "off, or a time such as 90m, 36h or 7d"),
            ("AWS_REGION", ["US-EAST-1", "a/b", "x.y"], "a region such as us-east-1"),
            (
                "AWS_ROLE_ARN",
                ["role", "arn:aws:iam::1:user/x", "x"],
                "an ARN such as arn:aws:iam::123456789012:role/name",
            ),
            (
                "C42_SQS_QUEUE_URL",
                ["queue", "sqs.us-east-1.amazonaws.com/1/q", "//"],
                "the queue's whole URL, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
            ),
            (
                "AWS_ENDPOINT_URL",
                ["localhost", "ftp://a", "//"],
                "a whole URL such as https://name.example.net",
            ),
            (
                "C42_LOG_ANALYTICS_TABLE",
                ["Code-42", "1Table", "x y"],
                "a table's name such as Code42Logs_CL: letters, digits and _, a letter first, at most 100",
            ),
            ("C42_SESSION_NAME", ["a", "x y", "a/b"], "2 to 64 letters, digits and _+=,.@-"),
        ] {
            for found in founds {
                let expected = format!("the setting {name} is `{found}`; write {expected}");
                assert_eq!(read(&[(name, found)]).unwrap_err(), expected);
            }
        }
    }
}
