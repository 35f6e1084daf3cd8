//! Triggers as an app in Rust writes them down.

use everstep_functions::program::{Binding, Direction};
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

fn trigger(kind: &str, parameter: &str, properties: Value) -> Binding {
    let properties = match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    };
    let (kind, name) = (kind.to_owned(), parameter.to_owned());
    Binding { kind, direction: Direction::In, name, properties }
}
