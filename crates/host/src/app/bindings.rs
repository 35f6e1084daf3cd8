//! Triggers as an app in Rust writes them down.

use everstep::Failure;
use everstep_functions::{
    cron::Schedule,
    program::{Binding, Direction},
};
use serde_json::{Map, Value, json};

/// Who may call a function by HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everybody.
    Anonymous,
    /// Who has a key of the function or of the host.
    Function,
    /// Who has the master key.
    Admin,
}

/// Requests to a route.
#[derive(Debug, Clone)]
pub struct Http {
    route: String,
    methods: Vec<&'static str>,
    auth: Auth,
}

impl Http {
    /// Requests of any method. The route is an ASP.NET template below the prefix of `host.json`: `orders/{id:int?}`.
    pub fn any(route: &str) -> Self {
        Self { route: route.to_owned(), methods: Vec::new(), auth: Auth::Function }
    }

    /// GET requests.
    pub fn get(route: &str) -> Self {
        Self::any(route).method("get")
    }

    /// POST requests.
    pub fn post(route: &str) -> Self {
        Self::any(route).method("post")
    }

    /// Requests of this method as well.
    #[must_use]
    pub fn method(mut self, method: &'static str) -> Self {
        self.methods.push(method);
        self
    }

    /// Nobody needs a key.
    #[must_use]
    pub fn anonymous(self) -> Self {
        self.auth(Auth::Anonymous)
    }

    /// Who may call; [`Auth::Function`] unless said.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }
}

impl From<Http> for Binding {
    fn from(http: Http) -> Self {
        let auth = match http.auth {
            Auth::Anonymous => "anonymous",
            Auth::Function => "function",
            Auth::Admin => "admin",
        };
        let mut properties = json!({ "route": http.route, "authLevel": auth });
        if !http.methods.is_empty() {
            properties["methods"] = json!(http.methods);
        }
        trigger("httpTrigger", "req", properties)
    }
}

/// Times on a schedule.
#[derive(Debug, Clone)]
pub struct Timer {
    schedule: String,
    run_on_startup: bool,
    use_monitor: bool,
}

impl Timer {
    /// An NCRONTAB expression of five or six fields, a time span such as `00:05:00`, or `%SETTING%`.
    pub fn new(schedule: &str) -> Self {
        Self { schedule: schedule.to_owned(), run_on_startup: false, use_monitor: true }
    }

    /// The same, with a look at the text: the error says what a schedule is like. For schedules that come from a
    /// setting and are to be refused when the app is built.
    pub fn checked(schedule: &str) -> Result<Self, Failure> {
        Schedule::parse(schedule).map_err(everstep::failure)?;
        Ok(Self::new(schedule))
    }

    /// Runs once right after each start as well.
    #[must_use]
    pub fn run_on_startup(mut self) -> Self {
        self.run_on_startup = true;
        self
    }

    /// A time that passes while no host runs is not made up for.
    #[must_use]
    pub fn unmonitored(mut self) -> Self {
        self.use_monitor = false;
        self
    }
}

impl From<Timer> for Binding {
    fn from(timer: Timer) -> Self {
        let properties = json!({
            "schedule": timer.schedule,
            "runOnStartup": timer.run_on_startup,
            "useMonitor": timer.use_monitor,
        });
        trigger("timerTrigger", "timer", properties)
    }
}

/// Messages of a storage queue.
#[derive(Debug, Clone)]
pub struct Queue {
    name: String,
    connection: Option<String>,
}

impl Queue {
    /// Messages of this queue; `%SETTING%` is resolved.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), connection: None }
    }

    /// The name of the setting with the connection string; `AzureWebJobsStorage` unless said.
    #[must_use]
    pub fn connection(mut self, setting: &str) -> Self {
        self.connection = Some(setting.to_owned());
        self
    }
}

impl From<Queue> for Binding {
    fn from(queue: Queue) -> Self {
        let properties = json!({ "queueName": queue.name });
        trigger("queueTrigger", "message", connected(properties, queue.connection))
    }
}

/// Blobs of a container.
#[derive(Debug, Clone)]
pub struct Blob {
    path: String,
    connection: Option<String>,
    source: &'static str,
}

impl Blob {
    /// Blobs whose path fits `container/{name}.{extension}`.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), connection: None, source: "LogsAndContainerScan" }
    }

    /// Event Grid tells of blobs, by the host's webhook; nobody lists the container.
    #[must_use]
    pub fn event_grid(mut self) -> Self {
        self.source = "EventGrid";
        self
    }

    /// The name of the setting with the connection string; `AzureWebJobsStorage` unless said.
    #[must_use]
    pub fn connection(mut self, setting: &str) -> Self {
        self.connection = Some(setting.to_owned());
        self
    }
}

impl From<Blob> for Binding {
    fn from(blob: Blob) -> Self {
        let properties = json!({ "path": blob.path, "source": blob.source });
        trigger("blobTrigger", "blob", connected(properties, blob.connection))
    }
}

/// Events that Event Grid delivers.
#[derive(Debug, Clone, Default)]
pub struct EventGrid {
    many: bool,
}

impl EventGrid {
    /// One call for each event.
    pub fn one() -> Self {
        Self { many: false }
    }

    /// One call for all events of a delivery.
    pub fn many() -> Self {
        Self { many: true }
    }
}

impl From<EventGrid> for Binding {
    fn from(events: EventGrid) -> Self {
        let cardinality = if events.many { "many" } else { "one" };
        trigger("eventGridTrigger", "event", json!({ "cardinality": cardinality }))
    }
}

fn connected(mut properties: Value, connection: Option<String>) -> Value {
    if let Some(setting) = connection {
        properties["connection"] = Value::String(setting);
    }
    properties
}

fn trigger(kind: &str, parameter: &str, properties: Value) -> Binding {
    let properties = match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    };
    let (kind, name) = (kind.to_owned(), parameter.to_owned());
    Binding { kind, direction: Direction::In, name, properties }
}
