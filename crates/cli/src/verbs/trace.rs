//! `trace`: an instance and all below it as a tree.
//!
//! T1  The tree is read from histories; sub-orchestrations that an earlier execution started stand in no history any
//!     more, and are found by their parent.
//! T2  On a terminal it is drawn again until the root has ended; elsewhere once.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use super::{
    World,
    source::{Shown, Source, is_end},
    story, wait,
};
use crate::{
    args::{Format, Look},
    console::{Item, Screen, compact, indented, visible},
    fault::{Exit, Fault},
    time,
};

/// How deep the tree goes.
const DEPTH_MAX: u32 = 16;
/// How many instances it shows.
const INSTANCES_MAX: usize = 500;
/// How often it is drawn again.
const LOOK: Duration = Duration::from_secs(1);

/// `everstep trace`
pub(crate) async fn trace(look: &Look, world: &mut World) -> Result<Exit, Fault> {
    let (source, id) = Source::open(&look.source, &look.common.connect, world)?;
    let mut drawn = String::new();
    loop {
        let mut left = INSTANCES_MAX;
        let tree = grow(&source, &id, 0, &mut left).await?;
        let is_over = tree.state != State::Running || source.is_still();
        let is_live = world.console.screen() == Screen::Terminal && !is_over;
        match world.console.asked_format() {
            Some(Format::Json) => world.console.data(&indented(&tree.json().to_string()))?,
            Some(Format::Jsonl) => world.console.data(&compact(&tree.json().to_string()))?,
            _ => {
                let text = tree.draw(world.console.now());
                world.console.redraw(&drawn);
                world.console.data(&text)?;
                drawn = text;
            }
        }
        let Source::Hub(api) = &source else { return Ok(Exit::Ok) };
        if !is_live || world.console.asked_format().is_some() {
            return Ok(Exit::Ok);
        }
        wait::hold(api, &id, LOOK).await?;
    }
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Done,
    Failed,
}

impl State {
    fn sign(self) -> &'static str {
        match self {
            Self::Running => "…",
            Self::Done => "✓",
            Self::Failed => "✗",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A line of the tree and what is below it.
#[derive(Debug, Clone)]
struct Node {
    kind: &'static str,
    name: String,
    id: Option<String>,
    state: State,
    detail: String,
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
    below: Vec<Node>,
}

/// The tree of an instance.
async fn grow(source: &Source, id: &str, depth: u32, left: &mut usize) -> Result<Node, Fault> {
    *left = left.saturating_sub(1);
    let status = source.status(id, Shown::default()).await?;
    let history = source.history(id).await?;
    let mut node = of_status(&status);
    let started = history.iter().find(|event| event.text("EventType") == "ExecutionStarted");
    node.began = started.and_then(|event| event.text("Timestamp").parse().ok()).or(node.began);
    node.below = steps(&history);
    let in_history: Vec<String> = node.below.iter().filter_map(|node| node.id.clone()).collect();
    let others = source.children(id).await?.into_iter().filter(|child| !in_history.contains(child));
    let earlier: Vec<Node> = others.map(|child| unread("", child)).collect();
    let count = earlier.len();
    node.below.splice(0..0, earlier);
    for (place, below) in node.below.iter_mut().enumerate() {
        let Some(child) = below.id.clone() else { continue };
        if depth >= DEPTH_MAX || *left == 0 {
            "not looked into: the tree is too large".clone_into(&mut below.detail);
            continue;
        }
        match Box::pin(grow(source, &child, depth + 1, left)).await {
            // The parent's history has finer times than a status.
            Ok(grown) => {
                let (began, ended) = (below.began.or(grown.began), below.ended.or(grown.ended));
                *below = Node { began, ended, ..grown };
                if place < count {
                    below.detail += ", of an earlier execution";
                }
            }
            // It has been purged, or has not begun.
            Err(fault) if fault.exit == Exit::NotFound => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(node)
}

fn of_status(status: &Item) -> Node {
    let text = status.text("runtimeStatus");
    let state = match text {
        "Completed" => State::Done,
        "Failed" | "Terminated" | "Canceled" => State::Failed,
        _ => State::Running,
    };
    let detail = match state {
        State::Failed => match story::short(status.get("output")).as_str() {
            "" => text.to_owned(),
            why => format!("{text}: {why}"),
        },
        State::Running | State::Done => text.to_owned(),
    };
    let at = |key: &str| status.text(key).parse().ok();
    Node {
        kind: "orchestration",
        name: status.text("name").to_owned(),
        id: Some(status.text("instanceId").to_owned()),
        state,
        detail,
        began: at("createdTime"),
        ended: at("completedTime").or_else(|| at("lastUpdatedTime").filter(|_| is_end(text))),
        below: Vec::new(),
    }
}

fn unread(name: &str, id: String) -> Node {
    Node {
        kind: "orchestration",
        name: name.to_owned(),
        id: Some(id),
        state: State::Running,
        detail: String::new(),
        began: None,
        ended: None,
        below: Vec::new(),
    }
}

/// The steps of one history, in the order in which they began.
fn steps(history: &[Item]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut places: HashMap<i64, usize> = HashMap::new();
    for event in history {
        let at = event.text("Timestamp").parse().ok();
        let begun = |kind: &'static str, name: String| Node {
            kind,
            name,
            id: None,
            state: State::Running,
            detail: String::new(),
            began: at,
            ended: None,
            below: Vec::new(),
        };
        let node = match event.text("EventType") {
            "TaskScheduled" => Some(begun("activity", event.text("Name").to_owned())),
            "SubOrchestrationInstanceCreated" => {
                let child = unread(event.text("Name"), event.text("InstanceId").to_owned());
                Some(Node { began: at, ..child })
            }
            "TimerCreated" => Some(begun("timer", format!("timer until {}", event.text("FireAt")))),
            "EventRaised" => {
                let node = begun("event", format!("event {}", event.text("Name")));
                Some(Node { state: State::Done, ended: at, ..node })
            }
            _ => None,
        };
        if let Some(node) = node {
            places.insert(event.get("EventId").as_i64().unwrap_or(-1), nodes.len());
            nodes.push(node);
        }
        let (key, state) = match event.text("EventType") {
            "TaskCompleted" | "SubOrchestrationInstanceCompleted" => {
                ("TaskScheduledId", State::Done)
            }
            "TaskFailed" | "SubOrchestrationInstanceFailed" => ("TaskScheduledId", State::Failed),
            "TimerFired" => ("TimerId", State::Done),
            _ => continue,
        };
        let place = event.get(key).as_i64().and_then(|id| places.get(&id));
        if let Some(node) = place.and_then(|place| nodes.get_mut(*place)) {
            node.state = state;
            node.ended = at;
            node.detail =
                if state == State::Failed { story::failure(event) } else { String::new() };
        }
    }
    nodes
}

impl Node {
    fn draw(&self, now: Timestamp) -> String {
        let mut text = self.line(now);
        self.draw_below("", now, &mut text);
        text
    }

    fn draw_below(&self, indent: &str, now: Timestamp, text: &mut String) {
        for (at, below) in self.below.iter().enumerate() {
            let (branch, trunk) =
                if at + 1 == self.below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            text.extend(["\n", indent, branch, &below.line(now)]);
            below.draw_below(&format!("{indent}{trunk}"), now, text);
        }
    }

    fn line(&self, now: Timestamp) -> String {
        let mut line = format!("{} {}", self.state.sign(), self.name);
        let id = self.id.as_deref().map(|id| format!("({id})")).unwrap_or_default();
        for part in [id, self.detail.clone(), self.took(now)] {
            if !part.is_empty() {
                line.extend(["  ", &part]);
            }
        }
        visible(&line).replace('\n', " ")
    }

    fn took(&self, now: Timestamp) -> String {
        let end = match self.state {
            State::Running => Some(now),
            State::Done | State::Failed => self.ended,
        };
        let took = self.began.zip(end).map(|(began, end)| end.duration_since(began));
        took.and_then(|took| Duration::try_from(took).ok()).map(time::length).unwrap_or_default()
    }

    fn json(&self) -> serde_json::Value {
        let below: Vec<_> = self.below.iter().map(Self::json).collect();
        serde_json::json!({
            "kind": self.kind,
            "name": self.name,
            "instanceId": self.id,
            "state": self.state.name(),
            "detail": self.detail,
            "began": self.began.map(|time| time.to_string()),
            "ended": self.ended.map(|time| time.to_string()),
            "below": below,
        })
    }
}
