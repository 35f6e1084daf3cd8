//! `show`, `history` and `why`: one instance.

use http::Method;
use serde_json::Value;

use super::{
    World,
    source::{Shown, Source},
    story::Story,
};
use crate::{
    args::{Format, Look, Show, Why},
    client::Call,
    console::{Column, Item, failing, moment, plain},
    fault::{Exit, Fault},
};

pub(super) const INSTANCE: &[Column] = &[
    plain("id", "instanceId"),
    plain("name", "name"),
    plain("status", "runtimeStatus"),
    moment("created", "createdTime"),
    moment("updated", "lastUpdatedTime"),
    moment("completed", "completedTime"),
    plain("parent", "parentInstanceId"),
    plain("version", "version"),
    plain("execution", "executionId"),
    plain("tags", "tags"),
    plain("custom status", "customStatus"),
    plain("input", "input"),
    plain("output", "output"),
    failing("failure", "failure"),
];
const EVENTS: &[Column] = &[
    plain("#", "EventId"),
    moment("TIME", "Timestamp"),
    plain("EVENT", "EventType"),
    plain("WHAT", "What"),
];
const EVENTS_CSV: &[Column] = &[
    plain("#", "EventId"),
    plain("TIME", "Timestamp"),
    plain("EVENT", "EventType"),
    plain("NAME", "Name"),
];
const REASONS: &[Column] = &[
    plain("KIND", "kind"),
    moment("SINCE", "since"),
    plain("WHAT", "text"),
    plain("REMEDY", "remedy"),
];

/// `everstep show`
pub(crate) async fn show(show: &Show, world: &mut World) -> Result<Exit, Fault> {
    let (source, id) = Source::open(&show.source, &show.common.connect, world)?;
    let is_table = world.console.format() == Format::Table;
    let shown = Shown { input: show.input, history: show.history && !is_table };
    let status = source.status(&id, shown).await?;
    // The output of what has failed is the message of its failure, once more.
    let has_failure = is_table && status.get("failure").is_object();
    let is_shown = |column: &&Column| !(has_failure && column.key == "output");
    let columns: Vec<Column> = INSTANCE.iter().filter(is_shown).cloned().collect();
    world.console.one(&columns, &status)?;
    if show.history && is_table {
        let events = source.history(&id).await?;
        world.console.data("\n")?;
        print_events(&events, world)?;
    }
    Ok(Exit::Ok)
}

/// `everstep history`
pub(crate) async fn history(look: &Look, world: &mut World) -> Result<Exit, Fault> {
    let (source, id) = Source::open(&look.source, &look.common.connect, world)?;
    let events = source.history(&id).await?;
    print_events(&events, world)?;
    Ok(Exit::Ok)
}

fn print_events(events: &[Item], world: &mut World) -> Result<(), Fault> {
    if world.console.format() != Format::Table {
        return world.console.list(EVENTS_CSV, events);
    }
    let mut story = Story::default();
    let rows = events.iter().map(|event| {
        let what = story.tell(event).unwrap_or_default();
        Item::of([
            ("EventId", own_id(event)),
            ("Timestamp", event.get("Timestamp").clone()),
            ("EventType", event.get("EventType").clone()),
            ("What", what.into()),
        ])
    });
    let rows: Vec<Item> = rows.collect();
    world.console.list(EVENTS, &rows)
}

/// The id of an event that has one of its own.
fn own_id(event: &Item) -> Value {
    let id = event.get("EventId");
    if id.as_i64().is_some_and(|id| id >= 0) { id.clone() } else { Value::Null }
}

/// `everstep why`
pub(crate) async fn why(why: &Why, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&why.common.connect)?;
    let call = Call::instance(Method::GET, &why.id, "/why");
    let answer = Item::parse(&api.get_instance(&why.id, call).await?.body)?;
    let reasons = Item::parse_list(&answer.raw_field("reasons").unwrap_or_else(|| "[]".into()))?;
    match world.console.format() {
        Format::Table => {
            let text = told(&answer, &reasons, &|time| world.console.time(time));
            world.console.data(&crate::console::visible(&text))?;
        }
        Format::Csv => world.console.list(REASONS, &reasons)?,
        Format::Json | Format::Jsonl | Format::Ids => world.console.one(REASONS, &answer)?,
    }
    Ok(Exit::Ok)
}

/// How long something has lasted whose beginning reads so.
fn lasting(since: &str) -> String {
    match since.strip_suffix(" ago") {
        Some(time) => format!("for {time}"),
        None if since == "now" => "just now".to_owned(),
        None => format!("since {since}"),
    }
}

fn told(answer: &Item, reasons: &[Item], time: &dyn Fn(&str) -> String) -> String {
    let head = format!("{} is {}", answer.text("instanceId"), answer.text("runtimeStatus"));
    if reasons.is_empty() {
        return format!("{head}: nothing keeps it from going on");
    }
    let lines = reasons.iter().map(|reason| {
        let since = match reason.text("since") {
            "" => String::new(),
            since => format!(" ({})", lasting(&time(since))),
        };
        let remedy = match reason.text("remedy") {
            "" => String::new(),
            remedy => format!("\n  {remedy}"),
        };
        format!("\n- {}{since}{remedy}", reason.text("text"))
    });
    head + &lines.collect::<String>()
}
