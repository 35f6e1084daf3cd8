//! The log on the console: categories and levels as in host.json, text for people or JSON for machines.
//!
//! C1  A line's category is `Function.NAME` for what the host says of a function, `Function.NAME.User` for what the
//!     function says, its own target for the host (`Host.Startup`), and `Host.Internal` for everything below.
//! C2  A level is the one of the longest prefix of the category that is configured. A line under it costs a look-up and
//!     nothing else.
//! C3  Lines go to standard error; standard output belongs to answers.

use std::{fmt, io::Write, sync::Arc};

use everstep_functions::config::host_json::LogLevel;
use serde_json::{Map, Value};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Which lines are shown.
pub(crate) trait Levels: Send + Sync + 'static {
    /// The least important line of a category that is shown.
    fn least(&self, category: &str) -> LogLevel;
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Colored,
    Json,
}

/// The layer that prints.
pub(crate) struct Console<W> {
    levels: Arc<dyn Levels>,
    form: Form,
    now: fn() -> String,
    out: W,
}

/// Something that gives a place to write a line to.
pub(crate) trait Sink: Send + Sync + 'static {
    fn line(&self, line: &str);
}

/// Standard error.
pub(crate) struct Stderr;

impl Sink for Stderr {
    fn line(&self, line: &str) {
        // Nobody is left to be told that standard error is closed.
        drop(writeln!(std::io::stderr().lock(), "{line}"));
    }
}

impl<W: Sink> Console<W> {
    pub(crate) fn new(levels: Arc<dyn Levels>, form: Form, now: fn() -> String, out: W) -> Self {
        Self { levels, form, now, out }
    }

    fn print(
        &self,
        category: &str,
        level: LogLevel,
        fields: &Fields,
        spans: &[(&'static str, String)],
    ) {
        match self.form {
            Form::Json => self.out.line(&self.json(category, level, fields, spans)),
            Form::Text | Form::Colored => self.out.line(&self.text(level, fields)),
        }
    }

    fn text(&self, level: LogLevel, fields: &Fields) -> String {
        let mut line = format!("[{}] {}", (self.now)(), fields.message);
        for (name, value) in &fields.others {
            // These stand in the message or in the category.
            if !matches!(*name, "function" | "invocation") {
                line.extend([" ", name, "=", &shown(value)]);
            }
        }
        match (self.form, level) {
            (Form::Colored, LogLevel::Error | LogLevel::Critical) => {
                format!("\u{1b}[31m{line}\u{1b}[0m")
            }
            (Form::Colored, LogLevel::Warning) => format!("\u{1b}[33m{line}\u{1b}[0m"),
            (Form::Colored, LogLevel::Trace | LogLevel::Debug) => {
                format!("\u{1b}[2m{line}\u{1b}[0m")
            }
            (Form::Text, LogLevel::Error | LogLevel::Critical) => {
                line.replacen("] ", "] error: ", 1)
            }
            (Form::Text, LogLevel::Warning) => line.replacen("] ", "] warning: ", 1),
            _ => line,
        }
    }

    fn json(
        &self,
        category: &str,
        level: LogLevel,
        fields: &Fields,
        spans: &[(&'static str, String)],
    ) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), (self.now)().into());
        object.insert("level".to_owned(), name(level).into());
        object.insert("category".to_owned(), category.into());
        object.insert("message".to_owned(), fields.message.clone().into());
        for (name, value) in spans {
            object.insert((*name).to_owned(), value.clone().into());
        }
        for (name, value) in &fields.others {
            object.insert((*name).to_owned(), value.clone());
        }
        Value::Object(object).to_string()
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What an event carries.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn text(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(other, _)| *other == name).and_then(|(_, value)| value.as_str())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.others.push((name, text.into())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.others.push((name, value.into())),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }
}

/// What a span says of the code inside of it.
struct Inside {
    /// The function that runs.
    function: Option<String>,
    facts: Vec<(&'static str, String)>,
}

impl<S, W> Layer<S> for Console<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Sink,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let function = is_function(attributes.metadata())
            .then(|| fields.text("name").or(fields.text("function")).map(str::to_owned))
            .flatten();
        let facts = fields.others.into_iter().map(|(name, value)| (name, shown(&value))).collect();
        span.extensions_mut().insert(Inside { function, facts });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let level = level(*metadata.level());
        let mut spans = Vec::new();
        let mut inside = None;
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(facts) = span.extensions().get::<Inside>() {
                inside = facts.function.clone().or(inside);
                spans.extend(facts.facts.iter().cloned());
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let category = category(metadata.target(), fields.text("function"), inside.as_deref());
        if level >= self.levels.least(&category) {
            self.print(&category, level, &fields, &spans);
        }
    }
}

/// Spans that user code runs in.
fn is_function(metadata: &Metadata<'_>) -> bool {
    matches!(metadata.name(), "function" | "activity" | "orchestration" | "entity")
}

fn category(target: &str, function: Option<&str>, inside: Option<&str>) -> String {
    match (target, function.or(inside)) {
        ("Function", Some(name)) => format!("Function.{name}"),
        ("Function.User", Some(name)) => format!("Function.{name}.User"),
        (target, _) if target.starts_with("Host.") || target.starts_with("Worker") => {
            target.to_owned()
        }
        (target, _) if target.starts_with("everstep") => format!("Host.Internal.{target}"),
        (_, Some(name)) => format!("Function.{name}.User"),
        // Code of the app or of a library, outside of any function.
        (_, None) => "Worker.User".to_owned(),
    }
}

fn level(level: tracing::Level) -> LogLevel {
    match level {
        tracing::Level::TRACE => LogLevel::Trace,
        tracing::Level::DEBUG => LogLevel::Debug,
        tracing::Level::INFO => LogLevel::Information,
        tracing::Level::WARN => LogLevel::Warning,
        tracing::Level::ERROR => LogLevel::Error,
    }
}

/// As it stands in host.json.
fn name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "Trace",
        LogLevel::Debug => "Debug",
        LogLevel::Information => "Information",
        LogLevel::Warning => "Warning",
        LogLevel::Error => "Error",
        LogLevel::Critical => "Critical",
        LogLevel::None => "None",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    struct Upward(LogLevel);

    impl Levels for Upward {
        fn least(&self, category: &str) -> LogLevel {
            if category.ends_with(".User") { LogLevel::Information } else { self.0 }
        }
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Sink for Kept {
        fn line(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }

    fn lines(form: Form, least: LogLevel, say: impl FnOnce()) -> String {
        let kept = Kept::default();
        let now = || "T".to_owned();
        let console = Console::new(Arc::new(Upward(least)), form, now, kept.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(console), say);
        let lines = kept.0.lock().unwrap();
        lines.join("\n")
    }

    fn say_all() {
        tracing::info!(target: "Host.Startup", port = 7071, "the host starts");
        tracing::error!(target: "Function", function = "Hello", "it failed");
        let span = tracing::info_span!("activity", name = "Charge", instance = "order-1");
        span.in_scope(|| tracing::info!(target: "shop", cents = 5, "charging"));
        tracing::warn!(target: "everstep_runtime", "late");
    }

    #[test]
    fn people_see_what_their_levels_let_through() {
        let all = lines(Form::Text, LogLevel::Information, say_all);
        insta::assert_snapshot!(all, @r"
        [T] the host starts port=7071
        [T] error: it failed
        [T] charging cents=5
        [T] warning: late
        ");
    }

    #[test]
    fn the_apps_own_lines_have_their_own_level() {
        assert_eq!(lines(Form::Text, LogLevel::None, say_all), "[T] charging cents=5");
    }

    #[test]
    fn machines_get_one_object_a_line_with_category_and_place() {
        insta::assert_snapshot!(lines(Form::Json, LogLevel::Information, say_all));
    }
}
