//! A function's bindings as types.
//!
//! [`bind`] takes a [`Function`] as its files or its program give it, checks the rules that hold for any function, puts
//! settings in, and gives one [`Bound`]. From here on nobody looks into properties again.
//!
//! F1  A function has exactly one trigger, and it is an input.
//! F2  Kinds that this host does not know are kept with their properties: the program may know them.
//! F3  Errors name the function and the binding; one bad function does not concern the others.

use std::{collections::BTreeSet, fmt};

use http::Method;
use serde_json::{Map, Value};

use super::{
    Error, Errors, Retry, Settings, expression,
    section::{Report, Section},
};
use crate::{
    program::{Binding, Direction, Function},
    route,
};

/// A function that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// The name of the trigger's binding.
    pub parameter: String,
    /// What starts it.
    pub trigger: Trigger,
    /// Its other bindings by name.
    pub others: Vec<(String, Other)>,
    /// How it is tried again, if it says so itself. Durable functions never are.
    pub retry: Option<Retry>,
    /// Whether it or a setting switches it off.
    pub disabled: bool,
}

/// What starts a function.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// `httpTrigger`
    Http(HttpTrigger),
    /// `timerTrigger`
    Timer(TimerTrigger),
    /// `queueTrigger`
    Queue(Queue),
    /// `blobTrigger`
    Blob(BlobTrigger),
    /// `eventGridTrigger`
    EventGrid(EventGridTrigger),
    /// `orchestrationTrigger`, by the orchestrator's name.
    Orchestration(String),
    /// `activityTrigger`, by the activity's name.
    Activity(String),
    /// `entityTrigger`, by the entity's name.
    Entity(String),
    /// Another one.
    Unknown(Unknown),
}

/// `httpTrigger`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTrigger {
    /// Below the prefix of `host.json`.
    pub route: route::Template,
    /// Empty for all.
    pub methods: Vec<Method>,
    /// Who may call.
    pub auth_level: AuthLevel,
}

/// Who may call a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthLevel {
    /// Everybody.
    Anonymous,
    /// Who has a key of the function or the host, or the master key.
    Function,
    /// Who has the master key.
    Admin,
}

impl fmt::Display for AuthLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "anonymous",
            Self::Function => "function",
            Self::Admin => "admin",
        })
    }
}

/// `timerTrigger`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerTrigger {
    /// A cron expression or a span of time; not parsed yet.
    pub schedule: String,
    /// Whether it runs right after each start.
    pub run_on_startup: bool,
    /// Whether a time that passed while no host ran is made up for.
    pub use_monitor: bool,
}

/// `queueTrigger`, and `queue` as an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its own text is in lower case. The name of an output may hold `{data}`, which is to be lowered when it is put in.
    pub name: expression::Template,
    /// The setting with the connection.
    pub connection: String,
}

/// `blobTrigger`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobTrigger {
    /// The container and the pattern of the blob's name.
    pub path: expression::Template,
    /// The container alone.
    pub container: String,
    /// The setting with the connection.
    pub connection: String,
    /// Who says that there is a blob.
    pub source: BlobSource,
}

/// Who says that there is a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobSource {
    /// The host looks.
    Scan,
    /// Event Grid posts.
    EventGrid,
}

/// `blob`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The container and the blob's name.
    pub path: expression::Template,
    /// The setting with the connection.
    pub connection: String,
}

/// `eventGridTrigger`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventGridTrigger {
    /// Whether an invocation takes one event or all of a delivery.
    pub cardinality: Cardinality,
}

/// How many events an invocation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// One.
    One,
    /// A list.
    Many,
}

/// A binding that is no trigger.
#[derive(Debug, Clone, PartialEq)]
pub enum Other {
    /// `http` as an output.
    HttpOutput,
    /// `queue` as an output.
    QueueOutput(Queue),
    /// `blob` as an input.
    BlobInput(Blob),
    /// `blob` as an output.
    BlobOutput(Blob),
    /// `blob` as both.
    BlobInOut(Blob),
    /// `durableClient`
    DurableClient(DurableClient),
    /// Another one.
    Unknown(Unknown),
}

/// `durableClient`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableClient {
    /// The hub; `None` for the app's own.
    pub task_hub: Option<String>,
    /// The setting with its connection; `None` for the app's own.
    pub connection: Option<String>,
}

/// A binding of a kind that this host does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct Unknown {
    /// Its kind as it is written.
    pub kind: String,
    /// Which way data goes.
    pub direction: Direction,
    /// Its properties, with settings put in.
    pub properties: Map<String, Value>,
}

impl Trigger {
    /// The kind as `function.json` writes it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Http(_) => "httpTrigger",
            Self::Timer(_) => "timerTrigger",
            Self::Queue(_) => "queueTrigger",
            Self::Blob(_) => "blobTrigger",
            Self::EventGrid(_) => "eventGridTrigger",
            Self::Orchestration(_) => "orchestrationTrigger",
            Self::Activity(_) => "activityTrigger",
            Self::Entity(_) => "entityTrigger",
            Self::Unknown(unknown) => &unknown.kind,
        }
    }

    /// Whether the durable engine runs it.
    pub fn is_durable(&self) -> bool {
        matches!(self, Self::Orchestration(_) | Self::Activity(_) | Self::Entity(_))
    }
}

/// Whether a kind of binding is a trigger.
pub fn is_trigger(kind: &str) -> bool {
    let kind = kind.as_bytes();
    kind.len() > 7 && kind[kind.len() - 7..].eq_ignore_ascii_case(b"trigger")
}

/// Checks a function and reads its bindings.
pub fn bind(function: &Function, settings: &Settings) -> Result<Bound, Errors> {
    let mut errors = rules(function);
    let place = format!("function `{}`", function.name);
    let retry = function.retry.as_ref().map(|retry| Retry::read(&place, retry)).transpose();
    let retry = retry.map_err(|more| errors.extend(more.0)).ok().flatten();
    let mut trigger = None;
    let mut others = Vec::new();
    for binding in &function.bindings {
        let read = read(function, binding, settings).map_err(|more| errors.extend(more.0));
        match read {
            Ok(View::Trigger(view)) => trigger = Some((binding.name.clone(), view)),
            Ok(View::Other(view)) => others.push((binding.name.clone(), view)),
            Err(()) => {}
        }
    }
    match trigger {
        Some((parameter, trigger)) if errors.is_empty() => {
            let retry = retry.filter(|_| !trigger.is_durable());
            let disabled = function.disabled || settings.disables(&function.name);
            Ok(Bound { name: function.name.clone(), parameter, trigger, others, retry, disabled })
        }
        _ => Err(Errors(errors)),
    }
}

enum View {
    Trigger(Trigger),
    Other(Other),
}

/// What holds for every function, whatever its bindings are.
fn rules(function: &Function) -> Vec<Error> {
    let place = format!("function `{}`", function.name);
    let mut problems = Vec::new();
    if let Err(problem) = check_name(&function.name) {
        problems.push(problem);
    }
    let triggers: Vec<_> =
        function.bindings.iter().filter(|binding| is_trigger(&binding.kind)).collect();
    match triggers[..] {
        [] if function.bindings.is_empty() => {
            problems.push("it has no bindings; write `bindings` with one trigger".to_owned());
        }
        [] => problems.push(
            "none of its bindings is a trigger; write one whose type ends with `Trigger`"
                .to_owned(),
        ),
        [_] => {}
        [first, second, ..] => problems.push(format!(
            "it has more than one trigger, `{}` and `{}`; make a function of each",
            first.kind, second.kind
        )),
    }
    let mut names = BTreeSet::new();
    for binding in &function.bindings {
        if !is_binding_name(&binding.name) {
            problems.push(format!(
                "the binding name `{}` is invalid; write a letter, then letters and digits, 128 at most, or `$return`",
                binding.name
            ));
        } else if !names.insert(binding.name.to_lowercase()) {
            problems
                .push(format!("two bindings are named `{}`; give one another name", binding.name));
        }
    }
    problems.into_iter().map(|problem| Error::Rule { place: place.clone(), problem }).collect()
}

/// Whether a function may have this name; what to write otherwise.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.eq_ignore_ascii_case("host") {
        return Err("`host` is the host's own name; choose another".to_owned());
    }
    let fits = name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if fits {
        Ok(())
    } else {
        Err("the name is invalid; write a letter, then letters, digits, `_` and `-`, 128 at most"
            .to_owned())
    }
}

/// `_` is let through beyond the original's rule: parameters of Rust and Python have it.
fn is_binding_name(name: &str) -> bool {
    name == "$return"
        || name.len() <= 128
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn read(function: &Function, binding: &Binding, settings: &Settings) -> Result<View, Errors> {
    let place =
        format!("function `{}`, binding `{}` ({})", function.name, binding.name, binding.kind);
    let report = Report::default();
    let mut reader = Reader {
        section: Section::root(&place, binding.properties.clone(), &report),
        settings,
        function: &function.name,
        binding,
    };
    reader.data_type();
    let view = reader.view();
    let (view, _) = report.close(view)?;
    Ok(view.expect("a binding without an error has been read"))
}

/// Reads one binding; `None` stands for what has been reported.
struct Reader<'r> {
    section: Section<'r>,
    settings: &'r Settings,
    function: &'r str,
    binding: &'r Binding,
}

impl Reader<'_> {
    fn view(&mut self) -> Option<View> {
        let kind = self.binding.kind.to_ascii_lowercase();
        if is_trigger(&kind) {
            self.direction(&[Direction::In], "\"in\"");
            return self.trigger(&kind).map(View::Trigger);
        }
        let other = match kind.as_str() {
            "http" => {
                self.direction(&[Direction::Out], "\"out\"");
                Other::HttpOutput
            }
            "queue" => {
                self.direction(&[Direction::Out], "\"out\"");
                Other::QueueOutput(self.queue()?)
            }
            "blob" => self.blob()?,
            "durableclient" | "orchestrationclient" => self.client(),
            _ => Other::Unknown(self.unknown()?),
        };
        Some(View::Other(other))
    }

    fn trigger(&mut self, kind: &str) -> Option<Trigger> {
        Some(match kind {
            "httptrigger" => Trigger::Http(self.http()?),
            "timertrigger" => Trigger::Timer(self.timer()?),
            "queuetrigger" => Trigger::Queue(self.queue_trigger()?),
            "blobtrigger" => Trigger::Blob(self.blob_trigger()?),
            "eventgridtrigger" => {
                let words = [("one", Cardinality::One), ("many", Cardinality::Many)];
                let cardinality =
                    self.section.choice("cardinality", &words).unwrap_or(Cardinality::One);
                Trigger::EventGrid(EventGridTrigger { cardinality })
            }
            "orchestrationtrigger" => Trigger::Orchestration(self.durable_name("orchestration")),
            "activitytrigger" => Trigger::Activity(self.durable_name("activity")),
            "entitytrigger" => Trigger::Entity(self.durable_name("entityName")),
            _ => Trigger::Unknown(self.unknown()?),
        })
    }

    fn http(&mut self) -> Option<HttpTrigger> {
        let route = self.text("route").filter(|route| !route.is_empty());
        let route = route.unwrap_or_else(|| self.function.to_owned());
        let found = Value::String(route.clone());
        let route = match route::Template::parse(&route) {
            Ok(route) => Some(route),
            Err(error) => self.section.refuse("route", &found, &error.to_string()),
        };
        let methods = self.methods();
        let words = [
            ("anonymous", AuthLevel::Anonymous),
            ("function", AuthLevel::Function),
            ("admin", AuthLevel::Admin),
        ];
        let auth_level = self.section.choice("authLevel", &words).unwrap_or(AuthLevel::Function);
        Some(HttpTrigger { route: route?, methods, auth_level })
    }

    fn methods(&mut self) -> Vec<Method> {
        let mut methods = Vec::new();
        for text in self.section.list("methods").unwrap_or_default() {
            match Method::from_bytes(text.to_ascii_uppercase().as_bytes()) {
                Ok(method) if methods.contains(&method) => {}
                Ok(method) => methods.push(method),
                Err(_) => {
                    let remedy = "write a list of methods such as [\"get\", \"post\"]";
                    self.section.refuse::<()>("methods", &Value::String(text), remedy);
                }
            }
        }
        methods
    }

    fn timer(&mut self) -> Option<TimerTrigger> {
        let remedy = "write a schedule such as \"0 */5 * * * *\", a span of time or \"%SETTING%\"";
        let schedule = self.required("schedule", remedy);
        let run_on_startup = self.section.flag("runOnStartup").unwrap_or(false);
        let use_monitor = self.section.flag("useMonitor").unwrap_or(true);
        Some(TimerTrigger { schedule: schedule?.trim().to_owned(), run_on_startup, use_monitor })
    }

    fn queue_trigger(&mut self) -> Option<Queue> {
        let queue = self.queue()?;
        if queue.name.names().next().is_some() {
            let found = Value::String(queue.name.to_string());
            return self.section.refuse(
                "queueName",
                &found,
                "a trigger has no data yet; write the queue's name",
            );
        }
        let name = queue.name.to_string();
        if !is_storage_name(&name) {
            return self.section.refuse("queueName", &Value::from(name), STORAGE_NAME);
        }
        Some(queue)
    }

    fn queue(&mut self) -> Option<Queue> {
        let name = self.required("queueName", "write the queue's name");
        let connection = self.section.connection("connection");
        let name = self.template("queueName", &name?)?.lowered();
        Some(Queue {
            name,
            connection: connection.unwrap_or_else(|| "AzureWebJobsStorage".to_owned()),
        })
    }

    fn blob_trigger(&mut self) -> Option<BlobTrigger> {
        let words =
            [("LogsAndContainerScan", BlobSource::Scan), ("EventGrid", BlobSource::EventGrid)];
        let source = self.section.choice("source", &words).unwrap_or(BlobSource::Scan);
        let text = self
            .required("path", "write a container and a pattern, such as \"orders/{name}.json\"");
        let connection = self
            .section
            .connection("connection")
            .unwrap_or_else(|| "AzureWebJobsStorage".to_owned());
        let text = text?;
        // A container alone stands for all its blobs.
        let text = if text.contains('/') { text } else { format!("{text}/{{name}}") };
        let path = self.template("path", &text)?;
        let container = text.split('/').next().unwrap_or_default().to_owned();
        if container.contains('{') || container.is_empty() {
            let remedy = "write the name of one container before the first `/`";
            return self.section.refuse("path", &Value::String(text), remedy);
        }
        if !is_storage_name(&container) && !matches!(&*container, "$root" | "$web" | "$logs") {
            let found = Value::String(text);
            return self.section.refuse(
                "path",
                &found,
                &format!("of its container: {STORAGE_NAME}"),
            );
        }
        Some(BlobTrigger { path, container, connection, source })
    }

    fn blob(&mut self) -> Option<Other> {
        let text =
            self.required("path", "write a container and a blob, such as \"orders/{name}.json\"");
        let connection = self
            .section
            .connection("connection")
            .unwrap_or_else(|| "AzureWebJobsStorage".to_owned());
        let text = text?;
        if text
            .split_once('/')
            .is_none_or(|(container, name)| container.is_empty() || name.is_empty())
        {
            let remedy =
                "write a container, `/` and the blob's name, such as \"orders/{name}.json\"";
            return self.section.refuse("path", &Value::String(text), remedy);
        }
        let blob = Blob { path: self.template("path", &text)?, connection };
        Some(match self.binding.direction {
            Direction::In => Other::BlobInput(blob),
            Direction::Out => Other::BlobOutput(blob),
            Direction::InOut => Other::BlobInOut(blob),
        })
    }

    fn client(&mut self) -> Other {
        self.direction(&[Direction::In], "\"in\"");
        let task_hub = self.text("taskHub").filter(|hub| !hub.is_empty());
        let connection = self.section.connection("connectionName");
        Other::DurableClient(DurableClient { task_hub, connection })
    }

    fn unknown(&mut self) -> Option<Unknown> {
        let properties = self.binding.properties.iter().map(|(key, value)| {
            let value = match value {
                Value::String(text) => Value::String(self.resolve(key, text)?),
                other => other.clone(),
            };
            Some((key.clone(), value))
        });
        Some(Unknown {
            kind: self.binding.kind.clone(),
            direction: self.binding.direction,
            properties: properties.collect::<Option<_>>()?,
        })
    }

    fn durable_name(&mut self, key: &str) -> String {
        self.text(key).filter(|name| !name.is_empty()).unwrap_or_else(|| self.function.to_owned())
    }

    fn direction(&mut self, allowed: &[Direction], words: &str) {
        if !allowed.contains(&self.binding.direction) {
            let found = match self.binding.direction {
                Direction::In => "in",
                Direction::Out => "out",
                Direction::InOut => "inout",
            };
            self.section.refuse::<()>("direction", &Value::from(found), &format!("write {words}"));
        }
    }

    fn data_type(&mut self) {
        if !is_known_kind(&self.binding.kind) {
            return;
        }
        let words = [("string", ()), ("binary", ()), ("stream", ()), ("undefined", ())];
        self.section.choice("dataType", &words);
    }

    /// A text with settings put in.
    fn text(&mut self, key: &str) -> Option<String> {
        let text = self.section.text(key)?;
        self.resolve(key, &text)
    }

    fn required(&mut self, key: &str, remedy: &str) -> Option<String> {
        let text = self.section.text(key).filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.section.missing(key, remedy);
        }
        self.resolve(key, &text?)
    }

    fn resolve(&self, key: &str, text: &str) -> Option<String> {
        match self.settings.resolve(text) {
            Ok(text) => Some(text),
            Err(error) => self.section.refuse(key, &Value::from(text), &error.to_string()),
        }
    }

    fn template(&self, key: &str, text: &str) -> Option<expression::Template> {
        match expression::Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => self.section.refuse(key, &Value::from(text), &error.to_string()),
        }
    }
}

const STORAGE_NAME: &str = "a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen";

/// Whether a queue or a container may have this name.
fn is_storage_name(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (3..=63).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

fn is_known_kind(kind: &str) -> bool {
    const KNOWN: &[&str] = &[
        "httpTrigger",
        "timerTrigger",
        "queueTrigger",
        "blobTrigger",
        "eventGridTrigger",
        "orchestrationTrigger",
        "activityTrigger",
        "entityTrigger",
        "http",
        "queue",
        "blob",
        "durableClient",
        "orchestrationClient",
    ];
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn function(bindings: &Value) -> Function {
        let bindings = bindings.as_array().unwrap().iter().map(|binding| {
            let mut properties = binding.as_object().unwrap().clone();
            let mut text =
                |key: &str| properties.remove(key).map(|value| value.as_str().unwrap().to_owned());
            Binding {
                kind: text("type").unwrap(),
                name: text("name").unwrap_or_else(|| "x".to_owned()),
                direction: match text("direction").as_deref() {
                    Some("out") => Direction::Out,
                    Some("inout") => Direction::InOut,
                    _ => Direction::In,
                },
                properties,
            }
        });
        Function {
            name: "Save".to_owned(),
            bindings: bindings.collect(),
            disabled: false,
            source: None,
            retry: None,
        }
    }

    fn settings() -> Settings {
        Settings::from_pairs([("QUEUE".to_owned(), "Orders".to_owned())])
    }

    fn bound(bindings: &Value) -> Bound {
        bind(&function(bindings), &settings()).unwrap()
    }

    fn error(bindings: &Value) -> String {
        bind(&function(bindings), &settings()).unwrap_err().to_string()
    }

    #[test]
    fn an_http_trigger_has_defaults() {
        let bound = bound(
            &json!([{ "type": "HttpTrigger", "name": "req" }, { "type": "http", "name": "$return", "direction": "out" }]),
        );
        assert_eq!(
            bound.trigger,
            Trigger::Http(HttpTrigger {
                route: route::Template::parse("Save").unwrap(),
                methods: Vec::new(),
                auth_level: AuthLevel::Function
            })
        );
        assert_eq!(bound.parameter, "req");
        assert_eq!(bound.others, [("$return".to_owned(), Other::HttpOutput)]);
    }

    #[test]
    fn an_http_trigger_is_read() {
        let json = json!([{ "type": "httpTrigger", "route": "orders/{id:int}", "methods": ["get", "Post", "GET"], "authLevel": "Anonymous" }]);
        let Trigger::Http(http) = bound(&json).trigger else { panic!() };
        assert_eq!(http.methods, [Method::GET, Method::POST]);
        assert_eq!(
            (http.route.to_string().as_str(), http.auth_level),
            ("orders/{id:int}", AuthLevel::Anonymous)
        );
    }

    #[test]
    fn the_other_triggers_are_read() {
        assert_eq!(
            bound(&json!([{ "type": "timerTrigger", "schedule": "0 * * * * *", "runOnStartup": true }])).trigger,
            Trigger::Timer(TimerTrigger { schedule: "0 * * * * *".to_owned(), run_on_startup: true, use_monitor: true })
        );
        let queue = Queue {
            name: expression::Template::parse("orders").unwrap(),
            connection: "AzureWebJobsStorage".to_owned(),
        };
        assert_eq!(
            bound(&json!([{ "type": "queueTrigger", "queueName": "%QUEUE%" }])).trigger,
            Trigger::Queue(queue)
        );
        let Trigger::Blob(blob) = bound(
            &json!([{ "type": "blobTrigger", "path": "inbox/{name}.txt", "connection": "Store" }]),
        )
        .trigger
        else {
            panic!()
        };
        assert_eq!(
            (blob.container.as_str(), blob.connection.as_str(), blob.source),
            ("inbox", "Store", BlobSource::Scan)
        );
        assert_eq!(
            bound(&json!([{ "type": "eventGridTrigger", "cardinality": "many" }])).trigger,
            Trigger::EventGrid(EventGridTrigger { cardinality: Cardinality::Many })
        );
        assert_eq!(
            bound(&json!([{ "type": "orchestrationTrigger" }])).trigger,
            Trigger::Orchestration("Save".to_owned())
        );
        assert_eq!(
            bound(&json!([{ "type": "activityTrigger", "activity": "Charge" }])).trigger,
            Trigger::Activity("Charge".to_owned())
        );
        assert_eq!(
            bound(&json!([{ "type": "entityTrigger", "entityName": "Counter" }])).trigger,
            Trigger::Entity("Counter".to_owned())
        );
        let unknown = bound(&json!([{ "type": "kafkaTrigger", "topic": "%QUEUE%" }])).trigger;
        assert_eq!(unknown.kind(), "kafkaTrigger");
        let Trigger::Unknown(unknown) = unknown else { panic!() };
        assert_eq!(Value::Object(unknown.properties), json!({ "topic": "Orders" }));
    }

    #[test]
    fn other_bindings_are_read() {
        let bound = bound(&json!([
            { "type": "queueTrigger", "name": "m", "queueName": "new" },
            { "type": "queue", "name": "a", "direction": "out", "queueName": "Out-{Id}-{datetime:yyyyMM}" },
            { "type": "blob", "name": "b", "path": "c/{id}" },
            { "type": "blob", "name": "c", "direction": "out", "path": "c/{rand-guid}" },
            { "type": "orchestrationClient", "name": "d", "taskHub": "%QUEUE%", "connectionName": "S" },
            { "type": "table", "name": "e" },
        ]));
        let kinds: Vec<_> =
            bound.others.iter().map(|(name, other)| (name.as_str(), other)).collect();
        assert!(
            matches!(kinds[0], ("a", Other::QueueOutput(queue)) if queue.name.to_string() == "out-{Id}-{datetime:yyyyMM}")
        );
        assert!(matches!(kinds[1], ("b", Other::BlobInput(_))));
        assert!(matches!(kinds[2], ("c", Other::BlobOutput(_))));
        let client =
            DurableClient { task_hub: Some("Orders".to_owned()), connection: Some("S".to_owned()) };
        assert_eq!(kinds[3], ("d", &Other::DurableClient(client)));
        assert!(matches!(kinds[4], ("e", Other::Unknown(_))));
    }

    #[test]
    fn a_function_needs_exactly_one_trigger() {
        assert_eq!(
            error(&json!([])),
            "function `Save`: it has no bindings; write `bindings` with one trigger"
        );
        assert_eq!(
            error(&json!([{ "type": "http", "direction": "out" }])),
            "function `Save`: none of its bindings is a trigger; write one whose type ends with `Trigger`"
        );
        assert_eq!(
            error(
                &json!([{ "type": "httpTrigger", "name": "a" }, { "type": "eventGridTrigger", "name": "b" }])
            ),
            "function `Save`: it has more than one trigger, `httpTrigger` and `eventGridTrigger`; make a function of each"
        );
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(
            error(&json!([{ "type": "httpTrigger", "name": "1a" }])),
            "function `Save`: the binding name `1a` is invalid; write a letter, then letters and digits, 128 at most, or `$return`"
        );
        assert_eq!(
            error(
                &json!([{ "type": "httpTrigger", "name": "a" }, { "type": "http", "name": "A", "direction": "out" }])
            ),
            "function `Save`: two bindings are named `A`; give one another name"
        );
        assert_eq!(
            check_name("Host").unwrap_err(),
            "`host` is the host's own name; choose another"
        );
        assert_eq!(
            check_name("a b").unwrap_err(),
            "the name is invalid; write a letter, then letters, digits, `_` and `-`, 128 at most"
        );
        assert_eq!(check_name("Save-it_2"), Ok(()));
    }

    #[test]
    fn bad_properties_name_function_and_binding() {
        assert_eq!(
            error(
                &json!([{ "type": "httpTrigger", "direction": "out", "route": "/a", "methods": ["a b"], "authLevel": "all", "dataType": "xml" }])
            ),
            "function `Save`, binding `x` (httpTrigger): `dataType` is \"xml\"; write \"string\", \"binary\", \"stream\" or \"undefined\"\n\
             function `Save`, binding `x` (httpTrigger): `direction` is \"out\"; write \"in\"\n\
             function `Save`, binding `x` (httpTrigger): `route` is \"/a\"; position 0: a route is relative; write it without `/` or `~` at its beginning\n\
             function `Save`, binding `x` (httpTrigger): `methods` is \"a b\"; write a list of methods such as [\"get\", \"post\"]\n\
             function `Save`, binding `x` (httpTrigger): `authLevel` is \"all\"; write \"anonymous\", \"function\" or \"admin\""
        );
        assert_eq!(
            error(&json!([{ "type": "timerTrigger" }])),
            "function `Save`, binding `x` (timerTrigger): `schedule` is missing; write a schedule such as \"0 */5 * * * *\", a span of time or \"%SETTING%\""
        );
        assert_eq!(
            error(&json!([{ "type": "queueTrigger", "queueName": "%NOPE%", "connection": "%C%" }])),
            "function `Save`, binding `x` (queueTrigger): `queueName` is \"%NOPE%\"; '%NOPE%' does not resolve to a value; \
             add `NOPE` to `Values` in local.settings.json or to the environment\n\
             function `Save`, binding `x` (queueTrigger): `connection` is \"%C%\"; a connection is the name of a setting; write it without `%`"
        );
        assert_eq!(
            error(&json!([{ "type": "queueTrigger", "queueName": "a-{id}" }])),
            "function `Save`, binding `x` (queueTrigger): `queueName` is \"a-{id}\"; a trigger has no data yet; write the queue's name"
        );
        let rule = "a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen";
        assert_eq!(
            error(&json!([{ "type": "queueTrigger", "queueName": "new_%QUEUE%" }])),
            format!(
                "function `Save`, binding `x` (queueTrigger): `queueName` is \"new_orders\"; {rule}"
            )
        );
        assert_eq!(
            error(&json!([{ "type": "blobTrigger", "path": "In/{name}" }])),
            format!(
                "function `Save`, binding `x` (blobTrigger): `path` is \"In/{{name}}\"; of its container: {rule}"
            )
        );
        assert_eq!(
            error(&json!([{ "type": "blobTrigger", "path": "{c}/{name}" }])),
            "function `Save`, binding `x` (blobTrigger): `path` is \"{c}/{name}\"; write the name of one container before the first `/`"
        );
        assert_eq!(
            error(&json!([{ "type": "blobTrigger", "path": "new/{name" }])),
            "function `Save`, binding `x` (blobTrigger): `path` is \"new/{name\"; the `{` at position 4 has no closing `}`; data is written as `{name}`"
        );
        assert_eq!(
            error(
                &json!([{ "type": "httpTrigger" }, { "type": "blob", "name": "b", "path": "c" }])
            ),
            "function `Save`, binding `b` (blob): `path` is \"c\"; write a container, `/` and the blob's name, such as \"orders/{name}.json\""
        );
    }

    #[test]
    fn a_setting_switches_a_function_off() {
        let function = function(&json!([{ "type": "eventGridTrigger" }]));
        let off =
            Settings::from_pairs([("AzureWebJobs.save.Disabled".to_owned(), "true".to_owned())]);
        assert!(!bind(&function, &settings()).unwrap().disabled);
        assert!(bind(&function, &off).unwrap().disabled);
        assert!(bind(&Function { disabled: true, ..function }, &settings()).unwrap().disabled);
    }

    #[test]
    fn a_connection_string_in_the_place_of_a_name_is_not_shown() {
        assert_eq!(
            error(
                &json!([{ "type": "queueTrigger", "queueName": "new", "connection": "AccountName=a;AccountKey=hush" }])
            ),
            "function `Save`, binding `x` (queueTrigger): `connection` is a connection string; \
             write the name of a setting, and the connection string as the value of that"
        );
    }

    #[test]
    fn durable_functions_keep_no_retry_of_the_host() {
        let retry =
            json!({ "strategy": "fixedDelay", "maxRetryCount": 1, "delayInterval": "00:00:01" });
        let with_retry = |kind: &str| {
            let function =
                Function { retry: Some(retry.clone()), ..function(&json!([{ "type": kind }])) };
            bind(&function, &settings()).unwrap().retry
        };
        assert!(with_retry("eventGridTrigger").is_some());
        assert_eq!(with_retry("activityTrigger"), None);
    }
}
