//! Orchestrators of the Python SDK as decisions of the engine: a pure machine between a history and an SDK.
//!
//! The engine's history is the only input that lasts. From it come the *items*, the events that the SDK is given in
//! order; from the actions that the SDK answers with come the engine's decisions. A machine that is fed the whole history
//! again comes to the same state, and finds its decisions recorded.
//!
//! O1  The SDK numbers its tasks by itself and is told nothing else than those numbers. The rule is in [`Machine::act`]:
//!     waits and compounds take none, everything else takes one, in order.
//! O2  A retry takes numbers that no action shows: one for the timer after every failed attempt, the last one too, and
//!     one for every further attempt. They are taken when the event is, before user code goes on.
//! O3  An item that cannot wake the code up is kept and goes along with the next that can: a fan-in of N is one question.
//! O4  What a replay decides must be what is recorded; otherwise the code has changed, and the instance is parked.
//!
//! Absent on purpose: which events from outside wait, and for whom. The process decides that from the same items.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use everstep_model::{
    Action, Completion, Event, EventId, ExecutionId, Failure, InstanceId, Origin, Outcome,
    ParentPolicy, Started, Tags, Timestamp, Value, Wait,
};
use everstep_worker::Decision;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    failure,
    frame::{Turned, WaitTree},
};

/// The activity in which the host makes requests.
const HTTP_ACTIVITY: &str = "BuiltIn::HttpActivity";

/// One execution of an orchestrator.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    execution_id: ExecutionId,
    next: u32,
    /// Items that came, sent or not.
    items: u32,
    /// Of these, how many repeat what is recorded.
    replayed: u32,
    /// Items that the process has not been given.
    unsent: Vec<Item>,
    /// How many of the unsent were booked already.
    booked: usize,
    start: Option<Box<Started>>,
    /// Events of the start that come before the first turn.
    early: Vec<(Json, About)>,
    leaves: u32,
    timers: BTreeMap<u32, EventId>,
    /// Calls with retries under way, by the number of the attempt or of the timer.
    retries: BTreeMap<EventId, Retry>,
    names: BTreeMap<EventId, String>,
    raised: BTreeMap<u32, (String, Value)>,
    /// What the code waits for, as far as it is open; `None` if the process could not tell.
    waiting: Option<Waiting>,
    status: Option<String>,
    now: Timestamp,
    recorded: BTreeMap<EventId, Recorded>,
    canceled: BTreeSet<EventId>,
    mismatch: Option<String>,
    /// In a rehearsal: all decisions of the code. What differs is for others to say then.
    trail: Option<Vec<Made>>,
}

/// A decision of the code in a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) decided: Decided,
    /// The action of the SDK that it came from, counted from the first.
    pub(crate) leaf: u32,
}

/// What sets one decision apart from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) id: EventId,
    pub(crate) what: &'static str,
    pub(crate) name: String,
}

/// A decision that a history records, if this event is one.
pub(crate) fn decided(event: &Event) -> Option<Decided> {
    let (id, what, name) = match event {
        Event::TaskScheduled { id, name, .. } => (id, "the activity", name.as_str()),
        Event::ChildCreated { id, name, .. } => (id, "the sub-orchestration", name.as_str()),
        Event::TimerCreated { id, .. } => (id, "a timer", ""),
        Event::OperationCalled { id, name, .. } => (id, "the call of an entity", name.as_str()),
        Event::OperationSignaled { id, name, .. } => (id, "the signal to an entity", name.as_str()),
        _ => return None,
    };
    Some(Decided { id: *id, what, name: name.to_owned() })
}

/// An event for the SDK.
#[derive(Debug, Clone, PartialEq)]
struct Item {
    event: Map<String, Json>,
    about: About,
}

/// What an event means for the numbers.
#[derive(Debug, Clone, PartialEq)]
enum About {
    /// The code begins.
    Start,
    /// Time, or what was sent.
    Nothing,
    /// A turn began.
    Now(Timestamp),
    /// A call ended.
    Ended(EventId, End),
    /// A timer fired.
    Fired(EventId),
    /// Something came from outside.
    Raised(String, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    Badly,
}

/// A call that is tried again.
#[derive(Debug, Clone, PartialEq)]
struct Retry {
    call: EventId,
    attempt: u32,
    attempts: u32,
    interval: Duration,
    work: Work,
}

#[derive(Debug, Clone, PartialEq)]
enum Work {
    Activity { name: String, input: Value },
    Child { name: String, input: Value, instance: Option<InstanceId>, version: String },
}

/// An action that the history has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recorded {
    what: &'static str,
    name: String,
    seen: bool,
}

/// What the process is to be asked.
#[derive(Debug, PartialEq)]
pub(crate) struct Question {
    /// What it is told of the execution, if it cannot know it.
    pub(crate) context: Option<Json>,
    /// How many items it has been given before.
    pub(crate) from: u32,
    /// Items before this number repeat what is recorded.
    pub(crate) played: u32,
    pub(crate) items: Vec<Map<String, Json>>,
    /// To be given back with the answer.
    pub(crate) asked: Asked,
}

/// What has been sent and is not answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    from: u32,
    abouts: Vec<About>,
    /// How many of them were booked before.
    booked: usize,
    /// Decided before the process was asked.
    actions: Vec<Action>,
}

/// What a turn comes to before the process is asked.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// The code cannot go on with this.
    Decided(Decision),
    /// The process has to say.
    Ask(Question),
}

/// An action of the SDK.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leaf {
    action_type: u8,
    function_name: Option<String>,
    input: Option<Json>,
    retry_options: Option<RetryOptions>,
    instance_id: Option<String>,
    version: Option<String>,
    fire_at: Option<String>,
    #[serde(default)]
    is_canceled: bool,
    operation: Option<String>,
    http_request: Option<Map<String, Json>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryOptions {
    first_retry_interval_in_milliseconds: u64,
    max_number_of_attempts: u32,
}

impl Machine {
    /// An execution that begins.
    pub(crate) fn new(name: &str, execution_id: &ExecutionId) -> Self {
        Self {
            name: name.to_owned(),
            execution_id: execution_id.clone(),
            next: 0,
            items: 0,
            replayed: 0,
            unsent: Vec::new(),
            booked: 0,
            start: None,
            early: Vec::new(),
            leaves: 0,
            timers: BTreeMap::new(),
            retries: BTreeMap::new(),
            names: BTreeMap::new(),
            raised: BTreeMap::new(),
            waiting: None,
            status: None,
            now: Timestamp::EPOCH,
            recorded: BTreeMap::new(),
            canceled: BTreeSet::new(),
            mismatch: None,
            trail: None,
        }
    }

    /// Takes a whole history to see what the present code makes of it. Each event comes back with the number of items
    /// that there are with it.
    pub(crate) fn rehearse(&mut self, history: &[Event]) -> Vec<u32> {
        self.trail = Some(Vec::new());
        let taken = |event: &Event| {
            self.record(event);
            self.take(event);
            self.items
        };
        history.iter().map(taken).collect()
    }

    /// The question of a rehearsal.
    pub(crate) fn rehearsed(&mut self, instance: &InstanceId) -> Question {
        let question = self.question(instance, Vec::new());
        Question { played: self.items, ..question }
    }

    /// What the code decided in a rehearsal, and the timers that the history has as canceled and the code kept.
    pub(crate) fn trail(&mut self) -> (Vec<Made>, Vec<EventId>) {
        let canceled = std::mem::take(&mut self.canceled);
        (self.trail.take().unwrap_or_default(), canceled.into_iter().collect())
    }

    /// Takes what was decided before; its decisions are to be found again.
    pub(crate) fn replay(&mut self, history: &[Event]) {
        for event in history {
            self.record(event);
            self.take(event);
        }
        self.replayed = self.items;
    }

    /// Takes the new events of a turn and tells whether the code can go on.
    pub(crate) fn turn(&mut self, instance: &InstanceId, events: &[Event]) -> Next {
        events.iter().for_each(|event| self.take(event));
        let mut actions = Vec::new();
        if self.waiting.is_none() {
            return Next::Ask(self.question(instance, actions));
        }
        while self.booked < self.unsent.len() {
            let about = self.unsent[self.booked].about.clone();
            if self.wakes(&about) {
                return Next::Ask(self.question(instance, actions));
            }
            self.booked += 1;
            self.book(&about, &mut actions);
        }
        Next::Decided(Decision { actions, ..Decision::default() })
    }

    /// Takes the answer of the process. An error says how the code differs from its history.
    pub(crate) fn answered(&mut self, asked: Asked, turned: Turned) -> Result<Decision, String> {
        let mut actions = asked.actions;
        self.waiting = None;
        let mut steps = turned.steps.into_iter().peekable();
        let mut continued = None;
        for (offset, about) in asked.abouts.iter().enumerate() {
            let index = asked.from + offset as u32;
            if offset >= asked.booked {
                self.book(about, &mut actions);
            }
            while let Some((_, leaves)) = steps.next_if(|(step, _)| *step == index) {
                for leaf in leaves {
                    let leaf: Leaf = serde_json::from_value(Json::Object(leaf))
                        .map_err(|error| format!("an action of the SDK cannot be read: {error}"))?;
                    self.act(leaf, index < self.replayed, &mut actions, &mut continued)?;
                }
            }
        }
        turned.canceled.iter().for_each(|leaf| self.cancel(*leaf, &mut actions));
        if let Some(reason) = self.mismatch.take() {
            return Err(reason);
        }
        if turned.error.is_none() {
            // What ends an execution takes a number that nobody needs.
            self.check(asked.from, turned.next.filter(|_| !turned.over))?;
        }
        // After a replay it is not known what was said last.
        let is_cold = asked.from == 0 && self.replayed > 0;
        let custom_status = self.news(turned.status, is_cold);
        let end = match (turned.error, continued) {
            (Some(thrown), _) => {
                Some(Completion::Failed(Box::new(failure::of_orchestrator(&self.name, thrown))))
            }
            (None, Some(input)) => {
                let held = turned.held.iter().filter_map(|index| self.raised.get(index).cloned());
                let (input, version) = (Value::text(input), None);
                Some(Completion::ContinueAsNew { input, version, carry: held.collect() })
            }
            (None, None) if turned.over => {
                let output = turned.output.unwrap_or_else(|| "null".to_owned());
                Some(Completion::Completed(Value::text(output)))
            }
            (None, None) => None,
        };
        actions.extend(end.map(Action::Complete));
        let wait = turned.wait.as_ref().map(shown);
        self.waiting = turned.wait.map(Waiting::of);
        // What is held may still go along to a next generation; all else was given.
        let held: BTreeSet<u32> = turned.held.into_iter().collect();
        let given = asked.from + asked.abouts.len() as u32;
        self.raised.retain(|index, _| *index >= given || held.contains(index));
        Ok(Decision { actions, custom_status, wait })
    }

    /// Decisions that are recorded and were not found again, or numbers that differ: the code is not the same.
    fn check(&mut self, from: u32, next: Option<u32>) -> Result<(), String> {
        if from == 0
            && self.trail.is_none()
            && let Some((id, lost)) = self.recorded.iter().find(|(_, recorded)| !recorded.seen)
        {
            return Err(format!(
                "the history has {} `{}` as number {}, and the code of `{}` does not ask for it",
                lost.what, lost.name, id.0, self.name
            ));
        }
        self.recorded.clear();
        match next {
            Some(next) if next != self.next => Err(format!(
                "the SDK goes on counting at {next} and the host at {}; the code of `{}` may depend on more than its history",
                self.next, self.name
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The custom status, if it is another than before.
    fn news(&mut self, status: Option<String>, is_cold: bool) -> Option<Value> {
        if self.status == status && !is_cold {
            return None;
        }
        self.status.clone_from(&status);
        Some(status.map_or_else(|| Value::text("null"), Value::text))
    }

    fn question(&mut self, instance: &InstanceId, actions: Vec<Action>) -> Question {
        let unsent = std::mem::take(&mut self.unsent);
        let from = self.items - unsent.len() as u32;
        let context = (from == 0).then(|| self.context(instance));
        let (items, abouts) = unsent.into_iter().map(|item| (item.event, item.about)).unzip();
        let booked = std::mem::take(&mut self.booked);
        let asked = Asked { from, abouts, booked, actions };
        Question { context, from, played: self.replayed, items, asked }
    }

    /// What the process is told of the execution.
    fn context(&self, instance: &InstanceId) -> Json {
        let started = self.start.as_deref();
        let parent = started.and_then(|started| started.parent.as_ref());
        json!({
            "instanceId": instance.as_str(),
            "parentInstanceId": parent.map(|parent| parent.instance.as_str()),
            "input": started.and_then(|started| input_text(&started.input)),
        })
    }

    // Items

    fn push(&mut self, event: Json, about: About) {
        if let About::Raised(name, input) = &about {
            self.raised.insert(self.items, (name.clone(), input.clone()));
        }
        let Json::Object(event) = event else { unreachable!("items are objects") };
        self.unsent.push(Item { event, about });
        self.items += 1;
    }

    /// Makes an event of the history an item, if the SDK has a use for it.
    fn take(&mut self, event: &Event) {
        if let Event::TurnStarted { now } = event {
            return self.begin_turn(*now);
        }
        if let Event::Started(started) = event {
            self.start = Some(started.clone());
            return;
        }
        let Some((body, about)) = self.item(event) else { return };
        if self.items == 0 {
            self.early.push((body, about));
        } else {
            self.push(body, about);
        }
    }

    fn begin_turn(&mut self, now: Timestamp) {
        self.now = now;
        let is_first = self.items == 0;
        self.push(
            json!({ "EventType": 12, "EventId": -1, "Timestamp": now.to_string() }),
            About::Now(now),
        );
        if !is_first {
            return;
        }
        let started = self.start.as_deref();
        let body = json!({
            "EventType": 0,
            "EventId": -1,
            "Timestamp": now.to_string(),
            "Name": self.name,
            "Version": started.map_or("", |started| &started.version),
            "Input": started.and_then(|started| text_of(&started.input)),
            "OrchestrationInstance": { "ExecutionId": self.execution_id.as_str() },
            "ParentInstance": null,
            "Tags": null,
        });
        self.push(body, About::Start);
        for (body, about) in std::mem::take(&mut self.early) {
            self.push(body, about);
        }
    }

    fn item(&mut self, event: &Event) -> Option<(Json, About)> {
        let at = self.now.to_string();
        match event {
            Event::TaskScheduled { id, name, .. } | Event::ChildCreated { id, name, .. } => {
                self.names.insert(*id, name.clone());
                None
            }
            Event::TaskEnded { task, outcome } => {
                let (body, end) = self.ended(*task, outcome, (5, 6), failure::activity_texts);
                Some((body, About::Ended(*task, end)))
            }
            Event::ChildEnded { task, outcome } => {
                let (body, end) = self.ended(*task, outcome, (8, 9), failure::child_texts);
                Some((body, About::Ended(*task, end)))
            }
            Event::TimerFired { timer } => Some((
                json!({ "EventType": 11, "EventId": -1, "Timestamp": at, "TimerId": timer.0, "FireAt": at }),
                About::Fired(*timer),
            )),
            Event::EventRaised { name, input, .. } => Some((
                json!({
                    "EventType": 15, "EventId": -1, "Timestamp": at, "Name": name,
                    "Input": text_of(input), "gate": true,
                }),
                About::Raised(name.clone(), input.clone()),
            )),
            Event::OperationCalled { id, entity, name, .. } => {
                let input = json!({ "op": name, "id": self.request(*id) }).to_string();
                Some((
                    json!({
                        "EventType": 14, "EventId": id.0, "Timestamp": at,
                        "InstanceId": entity.as_str(), "Name": "op", "Input": input,
                    }),
                    About::Nothing,
                ))
            }
            Event::OperationEnded { task, outcome } => {
                let (answer, end) = entity_answer(outcome);
                Some((
                    json!({
                        "EventType": 15, "EventId": -1, "Timestamp": at,
                        "Name": self.request(*task), "Input": answer.to_string(),
                    }),
                    About::Ended(*task, end),
                ))
            }
            _ => None,
        }
    }

    fn ended(
        &mut self,
        task: EventId,
        outcome: &Outcome,
        kinds: (u8, u8),
        texts: fn(&str, &Failure) -> (String, String),
    ) -> (Json, End) {
        let at = self.now.to_string();
        let name = self.names.remove(&task).unwrap_or_default();
        match outcome {
            Outcome::Completed(value) => (
                json!({
                    "EventType": kinds.0, "EventId": -1, "Timestamp": at,
                    "TaskScheduledId": task.0, "Result": text_of(value),
                }),
                End::Well,
            ),
            Outcome::Failed(failure) => {
                let (reason, details) = texts(&name, failure);
                (
                    json!({
                        "EventType": kinds.1, "EventId": -1, "Timestamp": at,
                        "TaskScheduledId": task.0, "Reason": reason, "Details": details,
                    }),
                    End::Badly,
                )
            }
        }
    }

    /// Names the answer to a call of an entity.
    fn request(&self, id: EventId) -> String {
        format!("{}:{}", self.execution_id.as_str(), id.0)
    }

    /// Remembers a decision of the past.
    fn record(&mut self, event: &Event) {
        if let Event::TimerCanceled { timer } = event {
            self.canceled.insert(*timer);
        }
        if let Some(Decided { id, what, name }) = decided(event) {
            self.recorded.insert(id, Recorded { what, name, seen: false });
        }
    }

    // Numbers

    fn number(&mut self) -> EventId {
        self.next += 1;
        EventId(self.next - 1)
    }

    /// Whether the code can go on with this.
    fn wakes(&mut self, about: &About) -> bool {
        let (id, end) = match about {
            About::Start => return true,
            About::Nothing | About::Now(_) => return false,
            About::Raised(name, _) => {
                return self.waiting.as_ref().is_none_or(|waiting| waiting.has_event(name));
            }
            About::Ended(id, End::Badly) if self.retries.contains_key(id) => return false,
            About::Fired(id) if self.retries.contains_key(id) => {
                if self.retries[id].attempt < self.retries[id].attempts {
                    return false;
                }
                (*id, End::Badly)
            }
            About::Fired(id) => (*id, End::Well),
            About::Ended(id, end) => (*id, *end),
        };
        self.waiting.as_mut().is_none_or(|waiting| waiting.hit(id, end) != Waited::Open)
    }

    /// Does what the host does beside the code: the hidden steps of retries.
    fn book(&mut self, about: &About, actions: &mut Vec<Action>) {
        match about {
            About::Now(now) => self.now = *now,
            About::Ended(id, end) => {
                let Some(retry) = self.retries.remove(id) else { return };
                if *end == End::Badly {
                    self.pause(*id, retry, actions);
                }
            }
            About::Fired(id) => {
                let Some(retry) = self.retries.remove(id) else { return };
                if retry.attempt < retry.attempts {
                    self.again(*id, retry, actions);
                }
            }
            About::Start | About::Nothing | About::Raised(..) => {}
        }
    }

    /// The timer after a failed attempt, also after the last.
    fn pause(&mut self, former: EventId, retry: Retry, actions: &mut Vec<Action>) {
        let id = self.number();
        let is_last = retry.attempt >= retry.attempts;
        let delay = if is_last { Duration::ZERO } else { retry.interval };
        let origin = Some(Origin { call: retry.call, attempt: retry.attempt + 1 });
        let timer = Action::CreateTimer { id, fire_at: self.now.after(delay), origin };
        self.emit((id, "a timer", ""), timer, actions);
        self.go_on(former, id, retry);
    }

    fn again(&mut self, former: EventId, mut retry: Retry, actions: &mut Vec<Action>) {
        let id = self.number();
        retry.attempt += 1;
        let origin = Origin { call: retry.call, attempt: retry.attempt };
        self.call(id, &retry.work, Some(origin), actions);
        self.go_on(former, id, retry);
    }

    fn go_on(&mut self, former: EventId, id: EventId, retry: Retry) {
        self.retries.insert(id, retry);
        if let Some(trail) = &mut self.trail
            && let Some(leaf) = trail.iter().find(|made| made.decided.id == former).map(|m| m.leaf)
            && let Some(last) = trail.last_mut()
        {
            // A retry belongs to the line that called.
            last.leaf = leaf;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.rename(former, id);
        }
    }

    /// One action of the code.
    fn act(
        &mut self,
        leaf: Leaf,
        is_past: bool,
        actions: &mut Vec<Action>,
        continued: &mut Option<String>,
    ) -> Result<(), String> {
        let number = self.leaves;
        self.leaves += 1;
        let name = leaf.function_name.clone().unwrap_or_default();
        let before = actions.len();
        match leaf.action_type {
            0 => {
                let work = Work::Activity { name, input: plain(leaf.input.as_ref()) };
                let id = self.number();
                self.call(id, &work, None, actions);
            }
            2 => {
                let work = child(name, &leaf)?;
                let id = self.number();
                self.call(id, &work, None, actions);
            }
            1 | 3 => self.call_with_retry(name, &leaf, actions)?,
            4 => *continued = Some(encoded(leaf.input.as_ref())),
            5 => self.timer(number, &leaf, actions)?,
            6 => {}
            7 | 9 | 10 => self.operation(&leaf, actions)?,
            8 => {
                let input = http_input(leaf.http_request.unwrap_or_default());
                let work = Work::Activity { name: HTTP_ACTIVITY.to_owned(), input };
                let id = self.number();
                self.call(id, &work, None, actions);
            }
            other => {
                return Err(format!(
                    "the SDK asks for an action of type {other}, which this host does not know"
                ));
            }
        }
        if is_past && let Some(new) = actions.get(before) {
            return Err(format!(
                "the code of `{}` asks for {} now, which its history does not have",
                self.name,
                told(new)
            ));
        }
        self.mismatch.take().map_or(Ok(()), Err)
    }

    fn call_with_retry(
        &mut self,
        name: String,
        leaf: &Leaf,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let options = leaf.retry_options.ok_or("a call with retries has no retryOptions")?;
        let work = if leaf.action_type == 1 {
            Work::Activity { name, input: plain(leaf.input.as_ref()) }
        } else {
            child(name, leaf)?
        };
        let call = self.number();
        self.call(call, &work, Some(Origin { call, attempt: 1 }), actions);
        let interval = Duration::from_millis(options.first_retry_interval_in_milliseconds);
        let attempts = options.max_number_of_attempts.max(1);
        self.retries.insert(call, Retry { call, attempt: 1, attempts, interval, work });
        Ok(())
    }

    fn timer(&mut self, number: u32, leaf: &Leaf, actions: &mut Vec<Action>) -> Result<(), String> {
        let id = self.number();
        if leaf.is_canceled && !self.recorded.contains_key(&id) {
            return Ok(());
        }
        let fire_at = instant(leaf.fire_at.as_deref().unwrap_or_default())?;
        self.emit((id, "a timer", ""), Action::CreateTimer { id, fire_at, origin: None }, actions);
        self.timers.insert(number, id);
        if leaf.is_canceled {
            self.cancel(number, actions);
        }
        Ok(())
    }

    fn cancel(&mut self, leaf: u32, actions: &mut Vec<Action>) {
        if let Some(timer) = self.timers.remove(&leaf)
            && !self.canceled.remove(&timer)
        {
            actions.push(Action::CancelTimer { timer });
        }
    }

    fn operation(&mut self, leaf: &Leaf, actions: &mut Vec<Action>) -> Result<(), String> {
        let text = leaf.instance_id.as_deref().unwrap_or_default();
        let entity = InstanceId::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
        let name = leaf.operation.clone().unwrap_or_default();
        let input = Value::text(encoded(leaf.input.as_ref()));
        let id = self.number();
        if leaf.action_type == 7 {
            let called = Event::OperationCalled {
                id,
                entity: entity.clone(),
                name: name.clone(),
                input: Value::empty(),
            };
            let what = (id, "the call of an entity", name.as_str());
            if self.emit(
                what,
                Action::CallEntity { id, entity, name: name.clone(), input },
                actions,
            ) {
                self.take(&called);
            }
            return Ok(());
        }
        let due = leaf.fire_at.as_deref().map(instant).transpose()?;
        let what = (id, "the signal to an entity", name.as_str());
        let signal = Action::SignalEntity { id, entity, name: name.clone(), input, due };
        self.emit(what, signal, actions);
        Ok(())
    }

    fn call(
        &mut self,
        id: EventId,
        work: &Work,
        origin: Option<Origin>,
        actions: &mut Vec<Action>,
    ) {
        let tags = Tags::new();
        let (what, name, action) = match work.clone() {
            Work::Activity { name, input } => (
                "the activity",
                name.clone(),
                Action::CallActivity { id, name, input, tags, origin },
            ),
            Work::Child { name, input, instance, version } => {
                let policy = ParentPolicy::Wait;
                let child = Action::StartChild {
                    id,
                    name: name.clone(),
                    version,
                    instance,
                    input,
                    tags,
                    policy,
                    origin,
                };
                ("the sub-orchestration", name, child)
            }
        };
        if self.emit((id, what, &name), action, actions) {
            self.names.insert(id, name);
        }
    }

    /// Makes a decision, or finds it recorded; tells whether it is new.
    fn emit(
        &mut self,
        (id, what, name): (EventId, &'static str, &str),
        action: Action,
        actions: &mut Vec<Action>,
    ) -> bool {
        if let Some(trail) = &mut self.trail {
            let decided = Decided { id, what, name: name.to_owned() };
            trail.push(Made { decided, leaf: self.leaves.saturating_sub(1) });
        }
        let Some(recorded) = self.recorded.get_mut(&id) else {
            actions.push(action);
            return true;
        };
        if self.trail.is_some() {
            return false;
        }
        if recorded.what != what || recorded.name != name {
            self.mismatch = Some(format!(
                "the history has {} `{}` as number {}, and the code of `{}` asks for {what} `{name}`",
                recorded.what, recorded.name, id.0, self.name
            ));
        }
        recorded.seen = true;
        false
    }
}

/// What the code waits for. Tasks stand in sets: a fan-in has many.
#[derive(Debug, Clone, PartialEq)]
enum Waiting {
    Task(EventId),
    Event(String),
    All(BTreeSet<EventId>, Vec<Waiting>),
    Any(BTreeSet<EventId>, Vec<Waiting>),
}

/// What became of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Open,
    Over(End),
}

impl Waiting {
    fn of(tree: WaitTree) -> Self {
        let split = |children: Vec<WaitTree>| {
            let mut tasks = BTreeSet::new();
            let mut others = Vec::new();
            for child in children {
                match child {
                    WaitTree::Task(id) => drop(tasks.insert(EventId(id))),
                    other => others.push(Self::of(other)),
                }
            }
            (tasks, others)
        };
        match tree {
            WaitTree::Task(id) => Self::Task(EventId(id)),
            WaitTree::Event(name) => Self::Event(name),
            WaitTree::All(children) => {
                let (tasks, others) = split(children);
                Self::All(tasks, others)
            }
            WaitTree::Any(children) => {
                let (tasks, others) = split(children);
                Self::Any(tasks, others)
            }
        }
    }

    /// A task ended.
    fn hit(&mut self, id: EventId, end: End) -> Waited {
        match self {
            Self::Task(task) if *task == id => Waited::Over(end),
            Self::Task(_) | Self::Event(_) => Waited::Open,
            Self::All(tasks, others) => {
                if tasks.remove(&id) && end == End::Badly {
                    return Waited::Over(End::Badly);
                }
                let mut failed = false;
                others.retain_mut(|other| {
                    let waited = other.hit(id, end);
                    failed |= waited == Waited::Over(End::Badly);
                    waited == Waited::Open
                });
                match (failed, tasks.is_empty() && others.is_empty()) {
                    (true, _) => Waited::Over(End::Badly),
                    (false, true) => Waited::Over(End::Well),
                    (false, false) => Waited::Open,
                }
            }
            Self::Any(tasks, others) => {
                let hit = tasks.contains(&id)
                    || others.iter_mut().any(|other| other.hit(id, end) != Waited::Open);
                if hit { Waited::Over(End::Well) } else { Waited::Open }
            }
        }
    }

    fn rename(&mut self, former: EventId, id: EventId) {
        match self {
            Self::Task(task) if *task == former => *task = id,
            Self::Task(_) | Self::Event(_) => {}
            Self::All(tasks, others) | Self::Any(tasks, others) => {
                if tasks.remove(&former) {
                    tasks.insert(id);
                }
                others.iter_mut().for_each(|other| other.rename(former, id));
            }
        }
    }

    /// Whether an event of this name may end it.
    fn has_event(&self, name: &str) -> bool {
        match self {
            Self::Task(_) => false,
            Self::Event(waited) => waited.to_uppercase() == name.to_uppercase(),
            Self::All(_, others) | Self::Any(_, others) => {
                others.iter().any(|other| other.has_event(name))
            }
        }
    }
}

/// The wait as people see it.
fn shown(tree: &WaitTree) -> Wait {
    match tree {
        WaitTree::Task(id) => Wait::Task(EventId(*id)),
        WaitTree::Event(name) => Wait::Event(name.clone()),
        WaitTree::All(children) => Wait::All(children.iter().map(shown).collect()),
        WaitTree::Any(children) => Wait::Any(children.iter().map(shown).collect()),
    }
}

fn child(name: String, leaf: &Leaf) -> Result<Work, String> {
    let instance =
        match leaf.instance_id.as_deref().filter(|id| !id.is_empty()) {
            None => None,
            Some(id) => Some(InstanceId::orchestration(id).map_err(|error| {
                format!("a sub-orchestration cannot have the id `{id}`: {error}")
            })?),
        };
    let version = leaf.version.clone().unwrap_or_default();
    let input = Value::text(encoded(leaf.input.as_ref()));
    Ok(Work::Child { name, input, instance, version })
}

/// The JSON text that an action carries.
fn plain(input: Option<&Json>) -> Value {
    match input {
        None | Some(Json::Null) => Value::text("null"),
        Some(Json::String(text)) => Value::text(text.clone()),
        Some(other) => Value::text(other.to_string()),
    }
}

/// The same as a JSON string: what the SDK's own clients send.
fn encoded(input: Option<&Json>) -> String {
    match input {
        None | Some(Json::Null) => "null".to_owned(),
        Some(value) => value.to_string(),
    }
}

fn text_of(value: &Value) -> Option<String> {
    let bytes = value.inline().filter(|bytes| !bytes.is_empty())?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The input as the SDK wants it: a text that holds JSON.
///
/// What the SDK's clients start with is a JSON string with JSON inside, and the inner text is meant. Anything else is
/// meant as it stands.
pub(crate) fn input_text(value: &Value) -> Option<String> {
    let text = text_of(value)?;
    match serde_json::from_str::<String>(&text) {
        Ok(inner) if serde_json::from_str::<serde::de::IgnoredAny>(&inner).is_ok() => Some(inner),
        Ok(_) | Err(_) => Some(text),
    }
}

/// What the SDK reads of an entity's answer. The mere presence of `exceptionType` is a failure.
fn entity_answer(outcome: &Outcome) -> (Json, End) {
    match outcome {
        Outcome::Completed(value) => {
            let text = text_of(value).unwrap_or_else(|| "null".to_owned());
            (json!({ "result": text }), End::Well)
        }
        Outcome::Failed(failure) => {
            let message = Json::String(failure.message.clone()).to_string();
            (json!({ "result": message, "exceptionType": "Error" }), End::Badly)
        }
    }
}

/// The request as the built-in activity takes it. The SDK does not poll for an accepted one.
fn http_input(mut request: Map<String, Json>) -> Value {
    for (key, default) in [("headers", json!({})), ("content", Json::Null)] {
        if request.get(key).is_none_or(Json::is_null) {
            request.insert(key.to_owned(), default);
        }
    }
    request.insert("asynchronousPatternEnabled".to_owned(), Json::Bool(false));
    Value::text(json!([request]).to_string())
}

/// A time at its face value.
fn instant(text: &str) -> Result<Timestamp, String> {
    let parsed: jiff::Timestamp = text
        .parse()
        .map_err(|error| format!("`{text}` is no time that a timer can have: {error}"))?;
    Ok(Timestamp::from_ticks(parsed.as_microsecond() * 10))
}

fn told(action: &Action) -> String {
    match action {
        Action::CallActivity { name, .. } => format!("the activity `{name}`"),
        Action::StartChild { name, .. } => format!("the sub-orchestration `{name}`"),
        Action::CallEntity { name, .. } | Action::SignalEntity { name, .. } => {
            format!("the operation `{name}` of an entity")
        }
        _ => "a timer".to_owned(),
    }
}

#[cfg(test)]
mod tests;
