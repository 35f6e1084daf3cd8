//! Uploads to Azure Monitor, by the Logs Ingestion API and by the HTTP Data Collector API. Rows are kept and can be read.
//!
//! U1  A token or a signature is checked before anything else.
//! U2  A request is taken whole or refused whole.
//! U3  Columns that a stream does not declare are dropped, values of another type are refused, long fields are cut; what comes
//!     out is what the table shows.
//!
//! Start at [`Logs`].

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use everstep_storage::{Clock, account::sign, system_clock};
use flate2::read::GzDecoder;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    faults::Faults,
    server::{self, Asked, Payload, Server, Service},
    tls::Transport,
    tokens,
};

/// The rule that [`LogsOptions::default`] has.
pub const RULE: &str = "dcr-00000000000000000000000000000000";
/// The workspace that [`LogsOptions::default`] has.
pub const WORKSPACE: &str = "00000000-0000-0000-0000-000000000000";
/// The key of that workspace.
pub const WORKSPACE_KEY: &str = "c3RhbmQtaW4gd29ya3NwYWNlIGtleQ==";

const AUDIENCE: &str = "https://monitor.azure.com";
const CALL_BYTES: usize = 1 << 20;
const FIELD_BYTES: usize = 64 << 10;
const POST_BYTES: usize = 30 << 20;
const POST_FIELD_BYTES: usize = 32 << 10;
const SKEW_SECONDS: i64 = 15 * 60;

/// How the service behaves.
#[derive(Clone)]
pub struct LogsOptions {
    /// The immutable id of the data collection rule.
    pub rule: String,
    /// Its streams, by name.
    pub streams: BTreeMap<String, Stream>,
    /// The workspace of the Data Collector API.
    pub workspace: String,
    /// Its shared key, in base64.
    pub workspace_key: String,
    /// Whether rows are kept or only counted, as benchmarks want it.
    pub keep: Keep,
    /// Whether it speaks TLS.
    pub transport: Transport,
    /// The port on loopback; 0 is any free one.
    pub port: u16,
    /// The time by which dates and tokens are checked.
    pub clock: Clock,
}

impl Default for LogsOptions {
    fn default() -> Self {
        let streams = [
            ("Custom-FileInventory_CL".to_owned(), Stream::inventory()),
            ("Custom-Code42Logs_CL".to_owned(), Stream::open()),
        ];
        Self {
            rule: RULE.to_owned(),
            streams: streams.into(),
            workspace: WORKSPACE.to_owned(),
            workspace_key: WORKSPACE_KEY.to_owned(),
            keep: Keep::Rows,
            transport: Transport::Plain,
            port: 0,
            clock: system_clock(),
        }
    }
}

/// What is kept of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    Rows,
    /// How many there were.
    Counts,
}

/// A stream's declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// Its columns; `None` lets every column pass as it is.
    columns: Option<Vec<(String, Type)>>,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number.
    Real,
    /// A yes or no.
    Boolean,
    /// A point in time, as text.
    DateTime,
    /// Anything.
    Dynamic,
}

impl Type {
    fn fits(self, value: &Value) -> bool {
        match self {
            _ if value.is_null() => true,
            Self::String => value.is_string(),
            Self::Int => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Long => value.is_i64(),
            Self::Real => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::DateTime => value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok()),
            Self::Dynamic => true,
        }
    }
}

impl Stream {
    /// Lets every column pass.
    pub fn open() -> Self {
        Self::default()
    }

    /// With these columns and no others.
    pub fn of<'a>(columns: impl IntoIterator<Item = (&'a str, Type)>) -> Self {
        let columns = columns.into_iter().map(|(name, kind)| (name.to_owned(), kind));
        Self { columns: Some(columns.collect()) }
    }

    /// The file inventory's.
    pub fn inventory() -> Self {
        let text = |name| (name, Type::String);
        Self::of([
            ("TimeGenerated", Type::DateTime),
            text("StorageAccount"),
            text("FileShare"),
            text("FilePath"),
            text("FileName"),
            text("FileExtension"),
            ("FileSizeBytes", Type::Long),
            ("FileSizeMB", Type::Real),
            ("FileSizeGB", Type::Real),
            ("LastModified", Type::DateTime),
            ("Created", Type::DateTime),
            ("AgeInDays", Type::Int),
            text("FileHash"),
            text("IsDuplicate"),
            ("DuplicateCount", Type::Int),
            text("DuplicateGroupId"),
            text("FileCategory"),
            text("AgeBucket"),
            text("SizeBucket"),
            text("ScanTimestamp"),
            text("ExecutionId"),
        ])
    }

    /// The row as the table shows it, or what is wrong with it.
    fn taken(&self, row: Map<String, Value>, now: i64) -> Result<Map<String, Value>, String> {
        let mut taken = match &self.columns {
            None => row,
            Some(columns) => row
                .into_iter()
                .filter_map(|(name, value)| {
                    let (_, kind) = columns.iter().find(|(column, _)| *column == name)?;
                    let checked = if kind.fits(&value) {
                        Ok((name, value))
                    } else {
                        Err(format!("the column {name} is not of the type {kind:?}"))
                    };
                    Some(checked)
                })
                .collect::<Result<_, _>>()?,
        };
        for value in taken.values_mut() {
            cut(value, FIELD_BYTES);
        }
        let arrival = || Timestamp::from_second(now).unwrap_or_default().to_string().into();
        taken.entry("TimeGenerated").or_insert_with(arrival);
        Ok(taken)
    }
}

/// Cuts a text as the service does: silently.
fn cut(value: &mut Value, most: usize) {
    if let Value::String(text) = value {
        text.truncate(text.floor_char_boundary(most));
    }
}

/// A running service. It ends when this is dropped.
pub struct Logs {
    server: Server,
    state: Arc<State>,
    certificate: Option<String>,
}

struct State {
    options: LogsOptions,
    key: Vec<u8>,
    tables: Mutex<BTreeMap<String, Table>>,
}

#[derive(Default)]
struct Table {
    /// JSON, one after the other; a tree of values would take ten times the room.
    rows: Vec<Box<str>>,
    count: u64,
}

impl Logs {
    /// Serves with the rule [`RULE`], its streams `Custom-FileInventory_CL` and `Custom-Code42Logs_CL`, and the workspace
    /// [`WORKSPACE`].
    pub async fn start() -> Self {
        let started = Self::start_with(LogsOptions::default()).await;
        started.expect("loopback has a free port")
    }

    /// Serves in a certain way.
    pub async fn start_with(options: LogsOptions) -> io::Result<Self> {
        let key = BASE64_STANDARD.decode(&options.workspace_key);
        let key = key.map_err(|_| io::Error::other("the workspace's key is not base64"))?;
        let tls = options.transport.tls();
        let port = options.port;
        let state = Arc::new(State { options, key, tables: Mutex::default() });
        let server = Server::start(Arc::clone(&state), port, tls.as_ref()).await?;
        Ok(Self { server, state, certificate: tls.map(|tls| tls.certificate) })
    }

    /// Where it answers, for both APIs.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What clients have to trust, as PEM, if it speaks TLS.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// What fails. Operations are `Upload` and `Collect`.
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// How often an operation was asked for.
    pub fn calls(&self, operation: &str) -> u64 {
        self.server.calls(operation)
    }

    /// The rows of a table, in the order of their arrival.
    pub fn rows(&self, table: &str) -> Vec<Map<String, Value>> {
        self.state.rows(table)
    }

    /// How many rows a table has.
    pub fn count(&self, table: &str) -> u64 {
        let tables = self.state.tables.lock().expect("nothing panics while it is held");
        tables.get(table).map_or(0, |table| table.count)
    }
}

/// Why a request is refused.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).expect("it is a status");
        Self { status, code, message: message.into() }
    }
}

impl Service for State {
    fn operation(&self, asked: &Asked) -> &'static str {
        match asked.path.as_str() {
            path if path.starts_with("/dataCollectionRules/") => "Upload",
            path if path.starts_with("/api/logs") => "Collect",
            path if path.starts_with("/tables") => "Read",
            _ => "Unknown",
        }
    }

    fn answer(&self, asked: &Asked) -> Response<Payload> {
        let status = |status: StatusCode| {
            let mut answer = Response::new(Payload::empty());
            *answer.status_mut() = status;
            answer
        };
        let answer = match self.operation(asked) {
            "Upload" => self.upload(asked).map(|()| status(StatusCode::NO_CONTENT)),
            "Collect" => self.collect(asked).map(|()| status(StatusCode::OK)),
            "Read" => Ok(self.read(asked)),
            _ => Err(Refused::new(404, "NotFound", "There is nothing here.")),
        };
        answer.unwrap_or_else(|refused| match self.operation(asked) {
            "Collect" => {
                let error = json!({"Error": refused.code, "Message": refused.message});
                server::json(refused.status, &error)
            }
            _ => self.refusal(refused.status, refused.code, &refused.message),
        })
    }

    fn refusal(&self, status: StatusCode, code: &str, message: &str) -> Response<Payload> {
        server::json(status, &json!({"error": {"code": code, "message": message}}))
    }
}

impl State {
    fn now(&self) -> i64 {
        Timestamp::try_from((self.options.clock)()).map_or(0, Timestamp::as_second)
    }

    fn upload(&self, asked: &Asked) -> Result<(), Refused> {
        let token = asked.bearer().ok_or("the request bears no token");
        token
            .and_then(|token| tokens::check(token, AUDIENCE, self.now()))
            .map_err(|problem| Refused::new(401, "InvalidToken", problem))?;
        let parts = asked.parts();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let ["dataCollectionRules", rule, "streams", name] = parts[..] else {
            return Err(Refused::new(404, "NotFound", "The path names no stream."));
        };
        if rule != self.options.rule {
            let message = format!("Data collection rule with immutable Id '{rule}' not found.");
            return Err(Refused::new(404, "NotFound", message));
        }
        let stream = self.options.streams.get(name).ok_or_else(|| {
            Refused::new(404, "InvalidStream", format!("The stream '{name}' is not declared."))
        })?;
        if asked.method != Method::POST || asked.parameter("api-version") != Some("2023-01-01") {
            return Err(Refused::new(
                400,
                "InvalidApiVersion",
                "POST with api-version=2023-01-01.",
            ));
        }
        if !is_json(asked) {
            return Err(Refused::new(415, "UnsupportedMediaType", "The body has to be JSON."));
        }
        let body = unpacked(asked)?;
        let given = objects(&body);
        // The official client fills requests to the limit without counting what stands between records.
        let between = given.as_ref().map_or(0, |given| 2 * given.len() + 2);
        if body.len() > CALL_BYTES + between {
            return Err(too_large());
        }
        let mut rows = Vec::new();
        for row in given.map_err(|problem| Refused::new(400, "InvalidJson", problem))? {
            let row = stream.taken(row, self.now());
            rows.push(row.map_err(|problem| Refused::new(400, "InvalidPayload", problem))?);
        }
        self.store(name.strip_prefix("Custom-").unwrap_or(name), rows);
        Ok(())
    }

    fn collect(&self, asked: &Asked) -> Result<(), Refused> {
        if asked.method != Method::POST || asked.path != "/api/logs" {
            return Err(Refused::new(404, "NotFound", "There is nothing here."));
        }
        match asked.parameter("api-version") {
            None => {
                return Err(Refused::new(400, "MissingApiVersion", "The api-version is missing."));
            }
            Some("2016-04-01") => {}
            Some(_) => {
                return Err(Refused::new(
                    400,
                    "InvalidApiVersion",
                    "The api-version is not known.",
                ));
            }
        }
        self.check_signature(asked)?;
        match asked.header("content-type") {
            None => {
                return Err(Refused::new(
                    400,
                    "MissingContentType",
                    "The content type is missing.",
                ));
            }
            Some(_) if !is_json(asked) => {
                return Err(Refused::new(
                    400,
                    "UnsupportedContentType",
                    "The body has to be JSON.",
                ));
            }
            Some(_) => {}
        }
        let Some(name) = asked.header("log-type") else {
            return Err(Refused::new(400, "MissingLogType", "The header Log-Type is missing."));
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || name.len() > 100 || !name.bytes().all(fits) {
            return Err(Refused::new(
                400,
                "InvalidLogType",
                "The log type has other letters, or too many.",
            ));
        }
        if asked.body.len() > POST_BYTES {
            return Err(Refused::new(404, "NotFound", "The request is too large."));
        }
        let rows = objects(&asked.body);
        let rows = rows.map_err(|problem| Refused::new(400, "InvalidDataFormat", problem))?;
        let time_field = asked.header("time-generated-field").unwrap_or_default();
        let now = self.now();
        let rows = rows.into_iter().map(|row| suffixed(row, time_field, now)).collect();
        self.store(&format!("{name}_CL"), rows);
        Ok(())
    }

    fn check_signature(&self, asked: &Asked) -> Result<(), Refused> {
        let denied = |message: &str| Refused::new(403, "InvalidAuthorization", message);
        let given =
            asked.header("authorization").and_then(|value| value.strip_prefix("SharedKey "));
        let (workspace, signature) = given
            .and_then(|value| value.split_once(':'))
            .ok_or_else(|| denied("The request is not signed."))?;
        if workspace != self.options.workspace {
            return Err(Refused::new(400, "InvalidCustomerId", "The workspace is not known."));
        }
        let date = asked.header("x-ms-date").unwrap_or_default();
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let time = parser
            .parse_timestamp(date)
            .map_err(|_| denied("The date is missing or unreadable."))?;
        if (time.as_second() - self.now()).abs() > SKEW_SECONDS {
            return Err(denied("The date is more than 15 minutes off."));
        }
        let length = asked.body.len();
        let kind = asked.header("content-type").unwrap_or_default();
        let text = format!("POST\n{length}\n{kind}\nx-ms-date:{date}\n/api/logs");
        if sign::is_signature(&self.key, &text, signature) {
            Ok(())
        } else {
            Err(denied("The signature is not that of this request."))
        }
    }

    fn store(&self, table: &str, rows: Vec<Map<String, Value>>) {
        let mut tables = self.tables.lock().expect("nothing panics while it is held");
        let table = tables.entry(table.to_owned()).or_default();
        table.count += rows.len() as u64;
        if self.options.keep == Keep::Rows {
            let written = |row| Value::Object(row).to_string().into_boxed_str();
            table.rows.extend(rows.into_iter().map(written));
        }
    }

    fn rows(&self, table: &str) -> Vec<Map<String, Value>> {
        let tables = self.tables.lock().expect("nothing panics while it is held");
        let rows = tables.get(table).map_or(&[][..], |table| &table.rows[..]);
        rows.iter().map(|row| serde_json::from_str(row).expect("it was written here")).collect()
    }

    /// For people who look: `GET /tables` counts, `GET /tables/NAME?Column=value&take=N` shows rows.
    fn read(&self, asked: &Asked) -> Response<Payload> {
        let parts = asked.parts();
        let Some(table) = parts.get(1) else {
            let tables = self.tables.lock().expect("nothing panics while it is held");
            let counts: BTreeMap<_, _> =
                tables.iter().map(|(name, table)| (name, table.count)).collect();
            return server::json(StatusCode::OK, &json!(counts));
        };
        let most = asked.parameter("take").and_then(|take| take.parse().ok()).unwrap_or(100);
        let wanted = asked.parameters().iter().filter(|(name, _)| name != "take");
        let wanted: Vec<_> = wanted.collect();
        let fits = |row: &Map<String, Value>| {
            wanted.iter().all(|(name, value)| match row.get(name) {
                Some(Value::String(text)) => text == value,
                Some(other) => {
                    serde_json::from_str(value).is_ok_and(|value: Value| value == *other)
                }
                None => false,
            })
        };
        let rows: Vec<_> = self.rows(table).into_iter().filter(fits).take(most).collect();
        server::json(StatusCode::OK, &json!(rows))
    }
}

/// The body, which may be compressed.
fn unpacked(asked: &Asked) -> Result<Vec<u8>, Refused> {
    match asked.header("content-encoding") {
        None => Ok(asked.body.to_vec()),
        Some("gzip") if asked.body.len() > CALL_BYTES => Err(too_large()),
        Some("gzip") => {
            let mut body = Vec::new();
            let mut unpacked = GzDecoder::new(&asked.body[..]).take(2 * CALL_BYTES as u64);
            let read = unpacked.read_to_end(&mut body);
            read.map_err(|_| Refused::new(400, "InvalidContent", "The body is no gzip."))?;
            Ok(body)
        }
        Some(_) => Err(Refused::new(415, "UnsupportedEncoding", "Only gzip is known.")),
    }
}

fn too_large() -> Refused {
    let message = "Maximum allowed content length: 1048576 bytes.";
    Refused::new(413, "ContentLengthLimitExceeded", message)
}

fn is_json(asked: &Asked) -> bool {
    asked.header("content-type").is_some_and(|kind| kind.starts_with("application/json"))
}

fn objects(body: &[u8]) -> Result<Vec<Map<String, Value>>, &'static str> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(values)) => values
            .into_iter()
            .map(|value| match value {
                Value::Object(object) => Ok(object),
                _ => Err("the array holds something that is no object"),
            })
            .collect(),
        Ok(_) => Err("the body is no array"),
        Err(_) => Err("the body is no JSON"),
    }
}

/// Columns as the Data Collector API names them, by the JSON type of their values.
fn suffixed(row: Map<String, Value>, time_field: &str, now: i64) -> Map<String, Value> {
    let given = row.get(time_field).and_then(Value::as_str).and_then(|text| text.parse().ok());
    let near = given
        .filter(|time: &Timestamp| (now - 2 * 86_400..now + 86_400).contains(&time.as_second()));
    let time = near.or_else(|| Timestamp::from_second(now).ok()).unwrap_or_default();
    let mut columns = Map::new();
    for (name, mut value) in row {
        let suffix = match &value {
            Value::Null => continue,
            Value::Bool(_) => "b",
            Value::Number(_) => "d",
            Value::String(text) if text.parse::<Timestamp>().is_ok() => "t",
            Value::String(text) if is_guid(text) => "g",
            Value::String(_) | Value::Array(_) | Value::Object(_) => "s",
        };
        if value.is_array() || value.is_object() {
            value = value.to_string().into();
        }
        cut(&mut value, POST_FIELD_BYTES);
        columns.insert(format!("{name}_{suffix}"), value);
    }
    columns.insert("TimeGenerated".to_owned(), time.to_string().into());
    columns
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
