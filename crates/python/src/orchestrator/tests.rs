//! Orchestrators step by step: what the SDK says, and what the engine is told.

use everstep_model::Parent;
use insta::assert_snapshot;
use serde_json::json;

use super::*;

/// An execution and the history that the engine would keep of it.
struct Play {
    machine: Machine,
    history: Vec<Event>,
    now: i64,
    log: String,
}

impl Play {
    fn new() -> Self {
        Self {
            machine: Machine::new("Flow", &execution()),
            history: Vec::new(),
            now: 0,
            log: String::new(),
        }
    }

    /// The first turn: the SDK answers with these actions and waits for `wait`.
    fn begins(input: &str, actions: &Json, wait: &Json) -> Self {
        let mut play = Self::new();
        play.turn(vec![started(input)], &json!([[1, actions]]), wait);
        play
    }

    /// A turn with these events; if the process is asked it answers with these steps.
    fn turn(&mut self, events: Vec<Event>, steps: &Json, wait: &Json) {
        let asked = self.asks(events);
        match asked {
            Some(asked) => self.answers(asked, &json!({ "steps": steps, "wait": wait })),
            None => self.log.push_str("not asked\n"),
        }
    }

    fn asks(&mut self, mut events: Vec<Event>) -> Option<Asked> {
        self.now += 1;
        let at = events.iter().take_while(|event| matches!(event, Event::Started(_))).count();
        events.insert(at, Event::TurnStarted { now: Timestamp::from_millis(self.now * 1000) });
        let next = self.machine.turn(&InstanceId::from_stored("i"), &events);
        self.history.extend(events);
        match next {
            Next::Decided(decision) => {
                self.note(&decision);
                None
            }
            Next::Ask(question) => Some(question.asked),
        }
    }

    fn answers(&mut self, asked: Asked, answer: &Json) {
        let mut turned: Turned = serde_json::from_value(with_id(answer)).unwrap();
        turned.next = None;
        match self.machine.answered(asked, turned) {
            Ok(decision) => self.note(&decision),
            Err(reason) => self.log.extend(["parked: ", &reason, "\n"]),
        }
    }

    fn note(&mut self, decision: &Decision) {
        for action in &decision.actions {
            self.log += &line(action);
            self.log.push('\n');
            self.history.extend(recorded(action));
        }
    }

    /// The same history in a machine that has seen nothing; the SDK answers all at once.
    fn replayed(&self, steps: &Json) -> String {
        let mut machine = Machine::new("Flow", &execution());
        machine.replay(&self.history);
        let now = Timestamp::from_millis((self.now + 1) * 1000);
        let Next::Ask(question) =
            machine.turn(&InstanceId::from_stored("i"), &[Event::TurnStarted { now }])
        else {
            panic!("a machine without a wait asks")
        };
        let turned: Turned = serde_json::from_value(with_id(&json!({ "steps": steps }))).unwrap();
        match machine.answered(question.asked, turned) {
            Ok(decision) => decision.actions.iter().map(|action| line(action) + "\n").collect(),
            Err(reason) => format!("parked: {reason}\n"),
        }
    }
}

fn with_id(answer: &Json) -> Json {
    let mut answer = answer.clone();
    answer["id"] = 0.into();
    answer
}

fn execution() -> ExecutionId {
    ExecutionId::new("e1")
}

fn started(input: &str) -> Event {
    Event::Started(Box::new(Started {
        at: Timestamp::EPOCH,
        name: "Flow".to_owned(),
        version: String::new(),
        input: Value::text(input),
        execution_id: execution(),
        parent: None::<Parent>,
        tags: Tags::new(),
        scheduled: None,
        trace: None,
    }))
}

fn done(task: u32) -> Event {
    Event::TaskEnded { task: EventId(task), outcome: Outcome::Completed(Value::text("1")) }
}

fn failed(task: u32) -> Event {
    let failure = Failure::new("ValueError", "no");
    Event::TaskEnded { task: EventId(task), outcome: Outcome::Failed(Box::new(failure)) }
}

fn fired(timer: u32) -> Event {
    Event::TimerFired { timer: EventId(timer) }
}

fn call(name: &str) -> Json {
    json!({ "actionType": 0, "functionName": name, "input": "1" })
}

fn retried(name: &str, attempts: u32) -> Json {
    json!({
        "actionType": 1, "functionName": name, "input": "1",
        "retryOptions": { "firstRetryIntervalInMilliseconds": 5000, "maxNumberOfAttempts": attempts },
    })
}

fn recorded(action: &Action) -> Option<Event> {
    match action.clone() {
        Action::CallActivity { id, name, input, tags, origin } => {
            Some(Event::TaskScheduled { id, name, input, tags, origin })
        }
        Action::CreateTimer { id, fire_at, origin } => {
            Some(Event::TimerCreated { id, fire_at, origin })
        }
        Action::CancelTimer { timer } => Some(Event::TimerCanceled { timer }),
        Action::CallEntity { id, entity, name, input } => {
            Some(Event::OperationCalled { id, entity, name, input })
        }
        Action::SignalEntity { id, entity, name, input, due } => {
            Some(Event::OperationSignaled { id, entity, name, input, due })
        }
        _ => None,
    }
}

fn line(action: &Action) -> String {
    let attempt = |origin: &Option<Origin>| {
        origin.map_or(String::new(), |origin| {
            format!(" ({} attempt {})", origin.call.0, origin.attempt)
        })
    };
    match action {
        Action::CallActivity { id, name, input, origin, .. } => {
            format!("{} {name} {input:?}{}", id.0, attempt(origin))
        }
        Action::StartChild { id, name, input, .. } => format!("{} child {name} {input:?}", id.0),
        Action::CreateTimer { id, fire_at, origin } => {
            format!("{} timer {} s{}", id.0, fire_at.millis() / 1000, attempt(origin))
        }
        Action::CancelTimer { timer } => format!("cancel {}", timer.0),
        Action::CallEntity { id, entity, name, input } => {
            format!("{} {entity} {name} {input:?}", id.0)
        }
        Action::SignalEntity { id, entity, name, input, .. } => {
            format!("{} {entity} <- {name} {input:?}", id.0)
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn waits_take_no_number_and_everything_else_one_in_order() {
    let play = Play::begins(
        "null",
        &json!([
            { "actionType": 9, "instanceId": "@counter@k", "operation": "add", "input": "5" },
            { "actionType": 7, "instanceId": "@counter@k", "operation": "get", "input": "null" },
            { "actionType": 6, "externalEventName": "Go", "reason": "ExternalEvent" },
            { "actionType": 5, "fireAt": "1970-01-01T00:00:33.000000Z", "isCanceled": false },
            call("A"),
            { "actionType": 2, "functionName": "C", "input": "{\"z\": 1}", "instanceId": "c" },
        ]),
        &Json::Null,
    );
    assert_snapshot!(play.log, @r#"
    0 @counter@k <- add "5"
    1 @counter@k get "null"
    2 timer 33 s
    3 A 1
    4 child C "{\"z\": 1}"
    "#);
}

#[test]
fn a_timer_that_comes_cancelled_takes_its_number_and_is_not_set() {
    let timer =
        json!({ "actionType": 5, "fireAt": "1970-01-01T00:00:33.000000Z", "isCanceled": true });
    let play = Play::begins("null", &json!([timer, call("A")]), &Json::Null);
    assert_snapshot!(play.log, @"1 A 1");
}

#[test]
fn a_retry_takes_hidden_numbers_and_a_timer_after_its_last_failure() {
    let mut play = Play::begins("null", &json!([retried("A", 2)]), &json!({ "t": 0 }));
    play.turn(vec![failed(0)], &json!([]), &Json::Null);
    play.turn(vec![fired(1)], &json!([]), &Json::Null);
    play.turn(vec![failed(2)], &json!([]), &Json::Null);
    play.turn(vec![fired(3)], &json!([[9, [call("B")]]]), &json!({ "t": 4 }));
    assert_snapshot!(play.log, @r"
    0 A 1 (0 attempt 1)
    1 timer 7 s (0 attempt 2)
    not asked
    2 A 1 (0 attempt 2)
    not asked
    3 timer 4 s (0 attempt 3)
    not asked
    4 B 1
    ");
}

#[test]
fn numbers_of_a_batch_fall_where_the_sdk_takes_them() {
    // In one turn: a plain call ends and the code calls B; then the retried one fails.
    let wait = json!({ "any": [{ "t": 0 }, { "t": 1 }] });
    let mut play = Play::begins("null", &json!([call("A"), retried("R", 3)]), &wait);
    play.turn(vec![done(0), failed(1)], &json!([[3, [call("B")]]]), &wait);
    assert_snapshot!(play.log, @r"
    0 A 1
    1 R 1 (1 attempt 1)
    2 B 1
    3 timer 7 s (1 attempt 2)
    ");
}

#[test]
fn a_fan_in_is_one_question() {
    let calls: Vec<_> = (0..3).map(|_| call("A")).collect();
    let wait = json!({ "all": [{ "t": 0 }, { "t": 1 }, { "t": 2 }] });
    let mut play = Play::begins("null", &json!(calls), &wait);
    play.turn(vec![done(2)], &json!([]), &Json::Null);
    play.turn(vec![done(0)], &json!([]), &Json::Null);
    let asked = play.asks(vec![done(1)]).expect("the last one wakes the code");
    assert_eq!(asked.from, 2);
    assert_eq!(asked.abouts.len(), 6, "three turns with an end each");
}

#[test]
fn a_failure_in_a_fan_in_wakes_the_code_at_once() {
    let wait = json!({ "all": [{ "t": 0 }, { "t": 1 }] });
    let mut play = Play::begins("null", &json!([call("A"), call("A")]), &wait);
    assert!(play.asks(vec![failed(0)]).is_some());
}

#[test]
fn a_replay_finds_its_decisions_recorded() {
    let mut play = Play::begins("null", &json!([retried("A", 2), call("B")]), &json!({ "t": 0 }));
    play.turn(vec![failed(0), done(1)], &json!([]), &Json::Null);
    play.turn(vec![fired(2)], &json!([]), &Json::Null);
    let steps = json!([[1, [retried("A", 2), call("B")]]]);
    assert_eq!(play.replayed(&steps), "");
}

#[test]
fn code_that_asks_for_something_else_is_found_out() {
    let play = Play::begins("null", &json!([call("A"), call("B")]), &Json::Null);
    assert_snapshot!(play.replayed(&json!([[1, [call("A"), call("X")]]])), @"parked: the history has the activity `B` as number 1, and the code of `Flow` asks for the activity `X`");
    assert_snapshot!(play.replayed(&json!([[1, [call("A")]]])), @"parked: the history has the activity `B` as number 1, and the code of `Flow` does not ask for it");
    assert_snapshot!(play.replayed(&json!([[1, [call("A"), call("B"), call("C")]]])), @"parked: the code of `Flow` asks for the activity `C` now, which its history does not have");
}

#[test]
fn an_input_is_a_text_with_json_whoever_sent_it() {
    let cases = [
        ("\"{\\\"a\\\": 1}\"", Some("{\"a\": 1}")),
        ("[1,2]", Some("[1,2]")),
        ("\"hello\"", Some("\"hello\"")),
        ("5", Some("5")),
        ("null", Some("null")),
        ("", None),
    ];
    for (stored, expected) in cases {
        assert_eq!(input_text(&Value::text(stored)).as_deref(), expected, "{stored}");
    }
}

#[test]
fn an_entitys_failure_is_told_by_a_key() {
    let failure = Failure::new("Exception", "entity boom");
    let (answer, _) = entity_answer(&Outcome::Failed(Box::new(failure)));
    assert_eq!(answer, json!({ "result": "\"entity boom\"", "exceptionType": "Error" }));
    let (answer, _) = entity_answer(&Outcome::Completed(Value::empty()));
    assert_eq!(answer, json!({ "result": "null" }));
}

#[test]
fn a_request_by_http_is_not_polled() {
    let request = json!({ "method": "GET", "uri": "http://a/", "content": null, "headers": null });
    let Json::Object(request) = request else { unreachable!() };
    let input = http_input(request);
    let text = std::str::from_utf8(input.inline().unwrap()).unwrap();
    assert_eq!(
        serde_json::from_str::<Json>(text).unwrap(),
        json!([{ "method": "GET", "uri": "http://a/", "content": null, "headers": {}, "asynchronousPatternEnabled": false }])
    );
}

#[test]
fn what_was_raised_and_not_taken_goes_along_to_the_next_generation() {
    let mut play = Play::begins("null", &json!([call("A")]), &json!({ "t": 0 }));
    let raised = |name: &str| Event::EventRaised {
        name: name.to_owned(),
        input: Value::text("1"),
        key: String::new(),
    };
    let asked = play.asks(vec![raised("Taken"), raised("Kept"), done(0)]);
    let next = json!({ "actionType": 4, "input": "{\"n\": 1}" });
    play.answers(asked.unwrap(), &json!({ "steps": [[5, [next]]], "held": [4], "over": true }));
    assert_snapshot!(play.log, @r#"
    0 A 1
    Complete(ContinueAsNew { input: "{\"n\": 1}", version: None, carry: [("Kept", 1)] })
    "#);
}
