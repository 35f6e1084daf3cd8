//! Tests as texts: a script says what happens, a transcript what the engine made of it.
//!
//! A script is a list of steps with `;` between them. Several instances live in one small world: what one sends waits in
//! the mail of the other until its next turn. Steps without an id concern the instance `order`.
//!
//! ```text
//! start Checkout [INPUT] [as ID] [version V] [at +60s] [reuse any|never|Failed] [tag K=V]
//! turn [ID] [MESSAGE, ...] [-> DECISION, ...]      one turn; with `->` the worker must be asked
//! turn [ID] [MESSAGE, ...] while [MESSAGE, ...] -> DECISION, ...      messages arrive while the worker has the turn
//! hold [ID] MESSAGE, ...                           the worker has no time: messages are put aside
//! park [ID] [MESSAGE, ...] -> REASON               the history does not fit the code
//! rewind [ID]      repeat [ID]      wait 60s       the last turn's messages come again; the clock goes on
//! ```
//!
//! Messages: `Reserve#0 completed 5 [of EXECUTION]`, `Reserve#0 failed TEXT [<- CAUSE]`, `timer#1 fires [of EXECUTION]`,
//! `raise Go [VALUE] [key K]`, `suspend`, `resume`, `terminate [alone]`, `unpark`, `signal add [5] [at +60s] [key K]`.
//!
//! Decisions: `call Reserve#0 [5] [attempt 2 of 0]`, `child Pay#0 [5] [as ID] [version V] [tag K=V]`, `detach Pay#0 as ID`,
//! `timer#1 +60s [attempt 2 of 0]`, `cancel 1`, `send Go#2 [5] to ID`, `ask @counter@a get#0 [5]`,
//! `tell @counter@a add#0 [5] [at +60s]`, `lock#0 @a@x @b@y`, `unlock#3 0`, `complete [5]`, `fail TEXT [<- CAUSE]`,
//! `again [5] [version V] [carry Go=5]`, `status TEXT`, `waits Go`.
//!
//! Answers of an entity: `ok [5]`, `failed TEXT`, `state 5`, `delete`, `signal @log@a write [5] [at +60s]`,
//! `begin Audit [5] [as ID]`.
//!
//! A transcript has a paragraph for each step: the events and the status, then what was sent, what was dropped and why,
//! and what is open, if that changed. Each commit passes through its stored form on the way.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use everstep_model::{
    Action, Body, Caller, Commit, Completion, EntitySend, Event, EventId, ExecutionId, Failure,
    Guid, Iid, InstanceId, Message, Operation, Origin, Outcome, ParentPolicy, ReusePolicy, Source,
    Start, Status, Tags, Timestamp, Value, Wait, stored,
};

use crate::{
    Decided, EntityAnswer, Incoming, Instance, Limits, StartOutcome, Turn, begin, begin_entity,
    finish, finish_entity, hold, park, present, rewind, start, turn::START_TIMER,
};

/// Plays a script with the limits of a hub that set none.
pub(crate) fn run(script: &str) -> String {
    run_with(Limits::default(), script)
}

/// Plays a script.
pub(crate) fn run_with(limits: Limits, script: &str) -> String {
    let mut world = World {
        clock: Timestamp::EPOCH,
        limits,
        places: BTreeMap::new(),
        executions: 0,
        guids: 0,
        transcript: String::new(),
    };
    for (index, step) in script.split(';').enumerate() {
        world.step(index + 1, step.trim());
    }
    world.transcript
}

struct World {
    clock: Timestamp,
    limits: Limits,
    places: BTreeMap<InstanceId, Place>,
    executions: u32,
    guids: u8,
    transcript: String,
}

/// An instance with what the runtime keeps beside it.
struct Place {
    instance: Instance,
    history: Vec<Event>,
    mail: Vec<Message>,
    taken: Vec<Message>,
    shown: String,
}

impl World {
    fn step(&mut self, number: usize, step: &str) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        let (before, decisions) = match rest.split_once("->") {
            Some((before, decisions)) => (before.trim(), Some(decisions.trim())),
            None => (rest.trim(), None),
        };
        let (id, messages) = match before.split_once(' ').unwrap_or((before, "")) {
            (id, messages) if self.places.contains_key(&InstanceId::from_stored(id)) => {
                (InstanceId::from_stored(id), messages)
            }
            (id, messages) if id.starts_with('@') => (InstanceId::from_stored(id), messages),
            _ => (InstanceId::from_stored("order"), before),
        };
        let _ = write!(self.transcript, "{number} ");
        if verb != "start" && verb != "wait" && id.as_str() != "order" {
            let _ = write!(self.transcript, "{id} ");
        }
        if id.entity_parts().is_some() {
            self.entity_place(&id);
        }
        match verb {
            "start" => self.start_step(before),
            "wait" => self.wait_step(before),
            "turn" if id.entity_parts().is_some() => self.entity_turn(&id, messages, decisions),
            "turn" => self.turn(&id, messages, decisions),
            "hold" => self.put_aside(&id, messages),
            "park" => self.park(&id, messages, decisions.expect("a reason to park")),
            "rewind" => self.rewind(&id),
            "repeat" => {
                let place = self.place(&id);
                place.mail.extend(place.taken.clone());
                self.line("the same messages again");
            }
            other => panic!("`{other}` is no step"),
        }
    }

    fn place(&mut self, id: &InstanceId) -> &mut Place {
        self.places.get_mut(id).unwrap_or_else(|| panic!("`{id}` was not started"))
    }

    fn line(&mut self, text: &str) {
        self.transcript.push_str(text);
        self.transcript.push('\n');
    }

    fn detail(&mut self, text: &str) {
        let _ = writeln!(self.transcript, "    {text}");
    }

    // Steps

    fn start_step(&mut self, text: &str) {
        let mut words: Vec<_> = text.split_whitespace().collect();
        let id = InstanceId::from_stored(option(&mut words, "as").unwrap_or("order"));
        let start = Start {
            scheduled: option(&mut words, "at").map(time),
            reuse: match option(&mut words, "reuse") {
                None => ReusePolicy::ended(),
                Some("any") => ReusePolicy::any(),
                Some("never") => ReusePolicy::never(),
                Some(status) => ReusePolicy::of(Status::from_name(status)),
            },
            version: option(&mut words, "version").unwrap_or_default().to_owned(),
            tags: tags(&mut words),
            name: words.remove(0).to_owned(),
            input: value(&words),
            execution_id: None,
            parent: None,
            trace: None,
        };
        self.start(&id, start);
    }

    fn start(&mut self, id: &InstanceId, request: Start) {
        let execution_id = self.execution_id();
        let iid = Iid(self.places.len() as u64 + 1);
        let existing = self.places.get(id).map(|place| &place.instance);
        let iid = existing.map_or(iid, |instance| instance.iid);
        let now = self.clock.max(existing.map_or(self.clock, |at| at.last_now.next_micro()));
        match start(existing, (iid, id), request, now, execution_id) {
            StartOutcome::Begun(commit) => {
                if let Some(id) = &commit.created {
                    self.settle(id.clone(), Instance::new(iid, id.clone(), now));
                }
                self.commit(id, &commit);
            }
            StartOutcome::AlreadyExists(status, refusal) => {
                self.line(&format!("`{id}` already exists: {status}"));
                refusal.into_iter().for_each(|envelope| self.route(envelope));
            }
        }
    }

    fn settle(&mut self, id: InstanceId, instance: Instance) {
        let place = Place {
            instance,
            history: Vec::new(),
            mail: Vec::new(),
            taken: Vec::new(),
            shown: "nothing".to_owned(),
        };
        self.places.insert(id, place);
    }

    fn entity_place(&mut self, id: &InstanceId) {
        if !self.places.contains_key(id) {
            let iid = Iid(self.places.len() as u64 + 1);
            self.settle(id.clone(), Instance::new(iid, id.clone(), self.clock));
        }
    }

    fn wait_step(&mut self, span: &str) {
        self.clock = self.clock.after(time(span).since(Timestamp::EPOCH));
        let clock = self.clock;
        for place in self.places.values_mut() {
            let Place { instance, mail, .. } = place;
            let execution = instance.execution;
            let timers = instance.timers.iter().map(|(id, timer)| (*id, timer.fire_at));
            let start = instance.rare.scheduled.filter(|_| instance.ready);
            let due =
                timers.chain(start.map(|at| (START_TIMER, at))).filter(|(_, at)| *at <= clock);
            let fired = due.map(|(timer, fire_at)| Body::TimerFired { execution, timer, fire_at });
            mail.extend(fired.map(|body| Message { from: Source::Local, body }));
        }
        self.line(&format!("it is {}", at(clock)));
    }

    /// All that waits for a turn, with the messages of the step behind it.
    fn incoming(&mut self, id: &InstanceId, messages: &str) -> Vec<Incoming> {
        let place = self.place(id);
        let said = items(messages).map(|text| message(text, &place.instance)).collect::<Vec<_>>();
        let held = place.instance.inbox.iter();
        let mut incoming: Vec<_> = held
            .map(|(number, message)| Incoming { held: Some(number), message: message.clone() })
            .collect();
        place.taken = place.mail.drain(..).chain(said).collect();
        let fresh = place.taken.iter().cloned();
        incoming.extend(fresh.map(|message| Incoming { held: None, message }));
        incoming
    }

    fn turn(&mut self, id: &InstanceId, messages: &str, decisions: Option<&str>) {
        let (clock, limits) = (self.clock, self.limits);
        let (messages, late) = match messages.split_once("while") {
            Some((messages, late)) => (messages, Some(late)),
            None => (messages, None),
        };
        // What a worker is busy with is held, so that its answer finds it.
        if late.is_some() {
            self.put_aside(id, messages);
            self.transcript.push_str("    then ");
        }
        let incoming = self.incoming(id, if late.is_some() { "" } else { messages });
        let instance = self.place(id).instance.clone();
        let turn = begin(&instance, present(clock, &instance, &incoming), incoming.clone());
        if let Some(late) = late {
            self.put_aside(id, late);
            self.transcript.push_str("    then ");
        }
        let instance = self.place(id).instance.clone();
        let dropped = dropped(&instance, &turn, &incoming);
        assert!(turn.ask || decisions.is_none(), "step `{messages}`: the worker is not asked");
        if turn.is_empty() {
            self.line("nothing");
        } else {
            if !turn.ask && !turn.ended {
                self.transcript.push_str("(not asked) ");
            }
            let decided = decided(decisions.unwrap_or_default());
            let next = self.execution_id();
            let finished = finish(&instance, &limits, turn, decided, &mut || next.clone());
            self.commit(id, &finished.commit);
            if let Some(next) = finished.next {
                self.transcript.push_str("    next ");
                self.commit(id, &next);
            }
        }
        dropped.iter().for_each(|text| self.detail(text));
    }

    fn entity_turn(&mut self, id: &InstanceId, messages: &str, answers: Option<&str>) {
        let (clock, limits) = (self.clock, self.limits);
        let incoming = self.incoming(id, messages);
        let instance = self.place(id).instance.clone();
        let now = present(clock, &instance, &incoming);
        let turn = begin_entity(&instance, &limits, now, incoming);
        let answer = entity_answer(answers.unwrap_or_default(), instance.rare.state.clone());
        let ran = turn.operations.iter().zip(&answer.results);
        let ran =
            ran.map(|((_, operation), ended)| format!("{}: {}", operation.name, outcome(ended)));
        let ran = ran.collect::<Vec<_>>().join(", ");
        if turn.is_empty() {
            self.line("nothing");
            return;
        }
        let ran = if ran.is_empty() { String::new() } else { format!("{ran}; ") };
        self.transcript.push_str(&ran);
        let guids = self.guids;
        let mut made = 0;
        let commit = finish_entity(&instance, turn, answer, &mut || {
            made += 1;
            Guid([guids + made; 16])
        });
        self.guids += made;
        self.commit(id, &commit);
    }

    fn put_aside(&mut self, id: &InstanceId, messages: &str) {
        let messages: Vec<_> = self
            .incoming(id, messages)
            .into_iter()
            .filter(|message| message.held.is_none())
            .collect();
        let instance = self.place(id).instance.clone();
        let (iid, now) = (instance.iid, instance.last_now);
        let accepted = hold(&instance, now, messages).held;
        self.transcript.push_str("put aside: ");
        self.commit(id, &Commit { iid, now, accepted, ..Commit::default() });
    }

    fn park(&mut self, id: &InstanceId, messages: &str, reason: &str) {
        let incoming = self.incoming(id, messages);
        let instance = self.place(id).instance.clone();
        let now = present(self.clock, &instance, &incoming);
        let commit = park(&instance, now, incoming, reason.to_owned(), "code".to_owned());
        self.commit(id, &commit);
    }

    fn rewind(&mut self, id: &InstanceId) {
        let incoming = self.incoming(id, "");
        let (clock, place) = (self.clock, self.place(id));
        let now = present(clock, &place.instance, &incoming);
        match rewind(&place.instance, &place.history, "again", now) {
            Ok(mut commit) => {
                commit.consumed = incoming.iter().filter_map(|incoming| incoming.held).collect();
                self.commit(id, &commit);
            }
            Err(refused) => self.line(&format!("{refused:?}")),
        }
    }

    // Commits

    fn commit(&mut self, id: &InstanceId, commit: &Commit) {
        let place = self.place(id);
        let mut bytes = Vec::new();
        stored::encode_commit(&mut bytes, commit);
        let commit = stored::decode_commit(&bytes).expect("what was encoded can be decoded");
        place.instance.apply(&commit);
        if commit.begin.is_some() {
            place.history.clear();
        }
        place.history.extend(commit.events.iter().cloned());
        let open = open(&place.instance);
        let status = place.instance.status;
        let changed = place.shown != open;
        place.shown.clone_from(&open);
        let events: Vec<_> = commit.events.iter().map(event).collect();
        let events = events.join(", ");
        let text = match id.entity_parts() {
            Some(_) => "done".to_owned(),
            None if events.is_empty() => format!("no event | {status}"),
            None => format!("{events} | {status}"),
        };
        self.line(&text);
        if changed {
            self.detail(&format!("open: {open}"));
        }
        commit.outgoing.into_iter().for_each(|envelope| self.route(envelope));
    }

    /// Takes a message to its receiver, as the runtime does.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others go into the mail")]
    fn route(&mut self, envelope: everstep_model::Envelope) {
        let to = envelope.to;
        self.detail(&format!("to {to}: {}", body(&envelope.message.body)));
        match envelope.message.body {
            Body::Start(start) => {
                self.transcript.push_str("    ");
                self.start(&to, *start);
            }
            Body::Rewind { start: Some(start), .. } if !self.places.contains_key(&to) => {
                self.transcript.push_str("    ");
                self.start(&to, *start);
            }
            _ => {
                if to.entity_parts().is_some() {
                    self.entity_place(&to);
                }
                match self.places.get_mut(&to) {
                    Some(place) => place.mail.push(envelope.message),
                    None => self.detail(&format!("dropped: there is no `{to}`")),
                }
            }
        }
    }

    fn execution_id(&mut self) -> ExecutionId {
        self.executions += 1;
        ExecutionId::new(&format!("e{}", self.executions))
    }
}

// What a turn dropped

/// The messages that left no trace, and why.
fn dropped(instance: &Instance, turn: &Turn, incoming: &[Incoming]) -> Vec<String> {
    let mut events = turn.events.clone();
    let mut held = turn.held.clone();
    let mut lines = Vec::new();
    for Incoming { held: number, message } in incoming {
        let became = recorded(&message.body);
        if let Some(at) = events.iter().position(|event| Some(event) == became.as_ref()) {
            events.remove(at);
        } else if let Some(at) = held.iter().position(|kept| kept == message && number.is_none()) {
            held.remove(at);
        } else if number.is_none_or(|number| turn.consumed.contains(&number))
            && !opened(turn, &message.body)
        {
            lines.push(format!(
                "dropped: {} ({})",
                body(&message.body),
                why(instance, turn, &message.body)
            ));
        }
    }
    lines
}

fn opened(turn: &Turn, body: &Body) -> bool {
    (is_start_timer(body) && turn.ask) || (*body == Body::Unpark && turn.retried)
}

fn is_start_timer(body: &Body) -> bool {
    matches!(body, Body::TimerFired { timer: START_TIMER, .. })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what asks for nothing changes nothing")]
fn why(instance: &Instance, turn: &Turn, body: &Body) -> String {
    let text = match body {
        Body::TaskEnded { execution, .. } | Body::TimerFired { execution, .. }
            if *execution != instance.execution =>
        {
            return format!("execution {execution} is over");
        }
        _ if instance.status.is_terminal() => "the instance has ended",
        _ if turn.ended => "the instance ends here",
        Body::Raised { .. } => "its key is known",
        _ if recorded(body).is_none() || is_start_timer(body) || is_client_s(body) => {
            "it changes nothing"
        }
        _ => "nobody waits for it",
    };
    text.to_owned()
}

fn is_client_s(body: &Body) -> bool {
    matches!(body, Body::Suspend { .. } | Body::Resume { .. } | Body::Terminate { .. })
}

/// The event that a message becomes when it enters a turn.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others become none")]
fn recorded(body: &Body) -> Option<Event> {
    Some(match body.clone() {
        Body::TaskEnded { task, outcome, .. } => Event::TaskEnded { task, outcome },
        Body::ChildEnded { task, outcome, .. } => Event::ChildEnded { task, outcome },
        Body::TimerFired { timer, .. } => Event::TimerFired { timer },
        Body::Raised { name, input, key } => Event::EventRaised { name, input, key },
        Body::OperationEnded { task, outcome, .. } => Event::OperationEnded { task, outcome },
        Body::LockGranted { lock, .. } => Event::LockGranted { lock },
        Body::Suspend { reason } => Event::Suspended { reason },
        Body::Resume { reason } => Event::Resumed { reason },
        Body::Terminate { reason, .. } => Event::Terminated { reason },
        _ => return None,
    })
}

// Reading

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Takes a word and the one before it, its name, out of the words.
fn option<'a>(words: &mut Vec<&'a str>, name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == name)?;
    let found = words[at + 1];
    words.drain(at..=at + 1);
    Some(found)
}

fn tags(words: &mut Vec<&str>) -> Tags {
    let tag = option(words, "tag").and_then(|tag| tag.split_once('='));
    tag.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect()
}

/// The words that are left; `x*9` stands for nine letters.
fn value(words: &[&str]) -> Value {
    match words {
        [word] if word.contains('*') => {
            let (letter, count) = word.split_once('*').expect("it contains one");
            Value::text(letter.repeat(count.parse().expect("a number of letters")))
        }
        words => Value::text(words.join(" ")),
    }
}

fn time(text: &str) -> Timestamp {
    let seconds = text.trim_start_matches('+').trim_end_matches('s');
    Timestamp::EPOCH.after(Duration::from_secs(seconds.parse().expect("a time in seconds")))
}

fn failure(text: &str) -> Failure {
    match text.split_once("<-") {
        Some((text, cause)) => Failure::new("Error", text.trim()).caused_by(failure(cause.trim())),
        None => Failure::new("Error", text),
    }
}

/// `Reserve#0`: the name and the id of an action.
fn named(word: &str) -> (String, EventId) {
    let (name, id) = word.split_once('#').unwrap_or_else(|| panic!("`{word}` has no id"));
    (name.to_owned(), number(id))
}

fn number(id: &str) -> EventId {
    EventId(id.parse().expect("the id of an action"))
}

fn entity(word: &str) -> InstanceId {
    InstanceId::parse(word).expect("the id of an entity")
}

fn message(text: &str, instance: &Instance) -> Message {
    let mut words: Vec<_> = text.split_whitespace().collect();
    let execution = option(&mut words, "of").map(|number| number.parse().expect("a number"));
    let execution = execution.unwrap_or(instance.execution);
    let key = option(&mut words, "key").unwrap_or_default().to_owned();
    let reason = "why not".to_owned();
    let body = match words[..] {
        ["suspend"] => Body::Suspend { reason },
        ["resume"] => Body::Resume { reason },
        ["terminate"] => Body::Terminate { reason, recursive: true },
        ["terminate", "alone"] => Body::Terminate { reason, recursive: false },
        ["unpark"] => Body::Unpark,
        ["raise", name, ..] => {
            Body::Raised { name: name.to_owned(), input: value(&words[2..]), key }
        }
        ["signal", name, ..] => {
            let name = name.to_owned();
            let due = option(&mut words, "at").map(time);
            Body::Operation(Box::new(Operation {
                id: Guid([0; 16]),
                name,
                input: value(&words[2..]),
                caller: None,
                sender: None,
                due,
                key,
                trace: None,
            }))
        }
        [timer, "fires"] => {
            let timer = named(timer).1;
            let fire_at = instance.timers.get(&timer).map_or(Timestamp::EPOCH, |open| open.fire_at);
            Body::TimerFired { execution, timer, fire_at }
        }
        [task, "completed", ..] => {
            let outcome = Outcome::Completed(value(&words[2..]));
            Body::TaskEnded { execution, task: named(task).1, outcome }
        }
        [task, "failed", ..] => {
            let outcome = Outcome::Failed(Box::new(failure(&words[2..].join(" "))));
            Body::TaskEnded { execution, task: named(task).1, outcome }
        }
        _ => panic!("`{text}` is no message"),
    };
    Message { from: Source::Local, body }
}

fn decided(text: &str) -> Decided {
    let mut decided = Decided::default();
    for item in items(text) {
        let words: Vec<_> = item.split_whitespace().collect();
        match words[..] {
            ["status", ..] => decided.custom_status = Some(value(&words[1..])),
            ["waits", name] => decided.wait = Some(Wait::Event(name.to_owned())),
            _ => decided.actions.push(action(item, words)),
        }
    }
    decided
}

fn action(text: &str, mut words: Vec<&str>) -> Action {
    let attempt = option(&mut words, "attempt").map(|attempt| attempt.parse().expect("a number"));
    let call = option(&mut words, "of").map(number);
    let origin = attempt.zip(call).map(|(attempt, call)| Origin { call, attempt });
    let to = option(&mut words, "as").or_else(|| option(&mut words, "to"));
    let to = to.map(InstanceId::from_stored);
    let version = option(&mut words, "version").map(str::to_owned);
    let due = option(&mut words, "at").map(time);
    let tags = tags(&mut words);
    let carry = option(&mut words, "carry").and_then(|event| event.split_once('='));
    match words[..] {
        ["call", call, ..] => {
            let (name, id) = named(call);
            Action::CallActivity { id, name, input: value(&words[2..]), tags, origin }
        }
        [verb @ ("child" | "detach"), call, ..] => {
            let (name, id) = named(call);
            let policy = if verb == "child" { ParentPolicy::Wait } else { ParentPolicy::Detach };
            let (version, input) = (version.unwrap_or_default(), value(&words[2..]));
            Action::StartChild { id, name, version, instance: to, input, tags, policy, origin }
        }
        ["cancel", timer] => Action::CancelTimer { timer: number(timer) },
        ["send", event, ..] => {
            let (name, id) = named(event);
            let instance = to.expect("`to` somebody");
            Action::SendEvent { id, instance, name, input: value(&words[2..]) }
        }
        ["ask", to, operation, ..] => {
            let (name, id) = named(operation);
            Action::CallEntity { id, entity: entity(to), name, input: value(&words[3..]) }
        }
        ["tell", to, operation, ..] => {
            let (name, id) = named(operation);
            Action::SignalEntity { id, entity: entity(to), name, input: value(&words[3..]), due }
        }
        ["complete", ..] => Action::Complete(Completion::Completed(value(&words[1..]))),
        ["fail", ..] => {
            Action::Complete(Completion::Failed(Box::new(failure(&words[1..].join(" ")))))
        }
        ["again", ..] => Action::Complete(Completion::ContinueAsNew {
            input: value(&words[1..]),
            version,
            carry: carry.map(|(name, input)| (name.to_owned(), input.into())).into_iter().collect(),
        }),
        [timer, fire_at] if timer.starts_with("timer#") => {
            Action::CreateTimer { id: named(timer).1, fire_at: time(fire_at), origin }
        }
        [unlock, lock] if unlock.starts_with("unlock#") => {
            Action::Unlock { id: named(unlock).1, lock: number(lock) }
        }
        [lock, ..] if lock.starts_with("lock#") => {
            let entities = words[1..].iter().map(|word| entity(word)).collect();
            Action::Lock { id: named(lock).1, entities }
        }
        _ => panic!("`{text}` is no decision"),
    }
}

fn entity_answer(text: &str, state: Option<Value>) -> EntityAnswer {
    let mut answer = EntityAnswer { results: Vec::new(), state, sends: Vec::new() };
    for item in items(text) {
        let mut words: Vec<_> = item.split_whitespace().collect();
        let instance = option(&mut words, "as").map(InstanceId::from_stored);
        let due = option(&mut words, "at").map(time);
        match words[..] {
            ["ok", ..] => answer.results.push(Outcome::Completed(value(&words[1..]))),
            ["failed", ..] => {
                let failure = failure(&words[1..].join(" "));
                answer.results.push(Outcome::Failed(Box::new(failure)));
            }
            ["state", ..] => answer.state = Some(value(&words[1..])),
            ["delete"] => answer.state = None,
            ["signal", to, name, ..] => {
                let (entity, name, input) = (entity(to), name.to_owned(), value(&words[3..]));
                answer.sends.push(EntitySend::Signal { entity, name, input, due });
            }
            ["begin", name, ..] => {
                let (name, version, input) = (name.to_owned(), String::new(), value(&words[2..]));
                answer.sends.push(EntitySend::Start { instance, name, version, input });
            }
            _ => panic!("`{item}` is no answer"),
        }
    }
    answer
}

// Writing

/// A time since the beginning of the script.
fn at(time: Timestamp) -> String {
    format!("+{}s", time.since(Timestamp::EPOCH).as_secs())
}

/// A text and a value behind it, if there is one.
fn with(text: &str, value: &Value) -> String {
    match value.len() {
        0 => text.to_owned(),
        1..=40 => format!("{text} {value:?}"),
        len => format!("{text} <{len} bytes>"),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Started(started) => {
            let mut text = with(&format!("Started {}", started.name), &started.input);
            if !started.version.is_empty() {
                let _ = write!(text, " version {}", started.version);
            }
            if let Some(due) = started.scheduled {
                let _ = write!(text, " at {}", at(due));
            }
            if !started.tags.is_empty() {
                let _ = write!(text, " {:?}", started.tags);
            }
            text
        }
        Event::TurnStarted { .. } => "Turn".to_owned(),
        Event::TaskScheduled { id, name, input, .. } => {
            with(&format!("TaskScheduled {name}#{}", id.0), input)
        }
        Event::TaskEnded { task, outcome: ended } => {
            format!("TaskEnded #{} {}", task.0, outcome(ended))
        }
        Event::ChildCreated { id, name, instance, input, .. } => {
            with(&format!("ChildCreated {name}#{} as {instance}", id.0), input)
        }
        Event::ChildEnded { task, outcome: ended } => {
            format!("ChildEnded #{} {}", task.0, outcome(ended))
        }
        Event::TimerCreated { id, fire_at, .. } => {
            format!("TimerCreated #{} {}", id.0, at(*fire_at))
        }
        Event::TimerFired { timer } => format!("TimerFired #{}", timer.0),
        Event::TimerCanceled { timer } => format!("TimerCanceled #{}", timer.0),
        Event::EventSent { id, instance, name, input } => {
            with(&format!("EventSent {name}#{} to {instance}", id.0), input)
        }
        Event::EventRaised { name, input, key: _ } => with(&format!("EventRaised {name}"), input),
        Event::OperationCalled { id, entity, name, input } => {
            with(&format!("OperationCalled {entity} {name}#{}", id.0), input)
        }
        Event::OperationSignaled { id, entity, name, input, due: _ } => {
            with(&format!("OperationSignaled {entity} {name}#{}", id.0), input)
        }
        Event::OperationEnded { task, outcome: ended } => {
            format!("OperationEnded #{} {}", task.0, outcome(ended))
        }
        Event::LockRequested { id, entities } => format!("LockRequested #{} {entities:?}", id.0),
        Event::LockGranted { lock } => format!("LockGranted #{}", lock.0),
        Event::LockReleased { id, lock } => format!("LockReleased #{} of #{}", id.0, lock.0),
        Event::Suspended { .. } => "Suspended".to_owned(),
        Event::Resumed { .. } => "Resumed".to_owned(),
        Event::Terminated { reason } => format!("Terminated {reason:?}"),
        Event::Rewound { .. } => "Rewound".to_owned(),
        Event::Completed { output } => with("Completed", output),
        Event::Failed { failure } => format!("Failed {failure:?}"),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Completed(value) => with("ok", value),
        Outcome::Failed(failure) => format!("failed {failure:?}"),
    }
}

fn body(body: &Body) -> String {
    match body {
        Body::Start(start) => {
            let mut text = with(&format!("Start {}", start.name), &start.input);
            if let Some(parent) = &start.parent {
                let task = parent.task.map_or("nothing".to_owned(), |task| format!("#{}", task.0));
                let _ = write!(text, " for {task} of {}", parent.instance);
            }
            text
        }
        Body::TaskEnded { task, outcome: ended, .. } => {
            format!("TaskEnded #{} {}", task.0, outcome(ended))
        }
        Body::ChildEnded { task, outcome: ended, .. } => {
            format!("ChildEnded #{} {}", task.0, outcome(ended))
        }
        Body::TimerFired { timer, .. } if *timer == START_TIMER => "the start is due".to_owned(),
        Body::TimerFired { timer, .. } => format!("TimerFired #{}", timer.0),
        Body::Raised { name, input, key: _ } => with(&format!("raise {name}"), input),
        Body::Suspend { .. } => "suspend".to_owned(),
        Body::Resume { .. } => "resume".to_owned(),
        Body::Terminate { recursive, .. } => {
            format!("terminate{}", if *recursive { "" } else { " alone" })
        }
        Body::Rewind { .. } => "rewind".to_owned(),
        Body::Operation(operation) => {
            let verb = if operation.caller.is_some() { "call" } else { "signal" };
            with(&format!("{verb} {}", operation.name), &operation.input)
        }
        Body::Lock(lock) => format!("lock for {}, number {}", owner(&lock.owner), lock.index),
        Body::Unlock { owner: of } => format!("unlock for {}", owner(of)),
        Body::OperationEnded { task, outcome: ended, .. } => {
            format!("OperationEnded #{} {}", task.0, outcome(ended))
        }
        Body::LockGranted { lock, .. } => format!("LockGranted #{}", lock.0),
        Body::Unpark => "unpark".to_owned(),
    }
}

fn owner(owner: &Caller) -> String {
    format!("{}#{}", owner.instance, owner.task.0)
}

/// What an instance waits for, and what waits for it.
fn open(instance: &Instance) -> String {
    let mut open = Vec::new();
    for ((execution, id), task) in &instance.tasks {
        let of = if *execution == instance.execution {
            String::new()
        } else {
            format!(" of execution {execution}")
        };
        let attempt =
            if task.attempt == 1 { String::new() } else { format!(" attempt {}", task.attempt) };
        open.push(format!("{}#{}{of}{attempt}", task.name, id.0));
    }
    open.extend(instance.timers.iter().map(|(id, timer)| {
        let origin =
            timer.origin.map(|of| format!(" before attempt {} of #{}", of.attempt, of.call.0));
        format!("timer#{} {}{}", id.0, at(timer.fire_at), origin.unwrap_or_default())
    }));
    open.extend(
        instance.rare.children.iter().map(|(id, child)| format!("{}#{}", child.instance, id.0)),
    );
    open.extend(
        instance
            .rare
            .calls
            .iter()
            .map(|(id, call)| format!("{} {}#{}", call.entity, call.name, id.0)),
    );
    open.extend(instance.rare.locks.iter().map(|(id, lock)| {
        format!("lock#{} {}", id.0, if lock.granted.is_some() { "held" } else { "asked for" })
    }));
    open.extend(instance.wait.iter().map(|(wait, _)| format!("waits for {wait:?}")));
    open.extend(instance.rare.parked.iter().map(|parked| format!("parked: {}", parked.reason)));
    open.extend(instance.rare.custom_status.iter().map(|status| with("status", status)));
    open.extend(instance.rare.state.iter().map(|state| with("state", state)));
    open.extend(instance.rare.lock.iter().map(|of| format!("locked by {}", owner(of))));
    open.extend(instance.inbox.iter().map(|(_, message)| format!("[{}]", body(&message.body))));
    if open.is_empty() { "nothing".to_owned() } else { open.join(", ") }
}
