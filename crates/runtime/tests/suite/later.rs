//! Turns whose answers come later: taken once, asked for again when they are lost, and never waited for in vain after a
//! restart.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use everstep_model::{
    Action, Completion, Event, EventId, Iid, InstanceId, Outcome, PartitionId, Status, Tags,
    Timestamp, Value, Wait,
};
use everstep_runtime::{Client, StartOptions};
use everstep_worker::{
    ActivityCall, ActivityOptions, Answers, BoxFuture, Decision, EntityBatch, EntityOptions,
    EntityReply, TurnReply, TurnRequest, Turns, Worker,
};
use tokio::sync::watch;

use crate::support::{Bed, end, id, quiet, raise};

/// A worker that answers no turn by itself.
struct Slow {
    answers: OnceLock<Arc<dyn Answers>>,
    desk: Arc<Desk>,
}

/// The turns that were asked for, in order.
#[derive(Default)]
struct Desk {
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
}

/// A turn that was asked for.
#[derive(Debug, Clone)]
struct Asked {
    instance: InstanceId,
    now: Timestamp,
    /// Events of the history that came with it, or were named as seen.
    before: u32,
    events: Vec<Event>,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self { answers: OnceLock::new(), desk: Arc::default() })
    }

    /// The turn with this number, once it is asked for.
    async fn asked(&self, number: usize) -> Asked {
        let mut count = self.desk.count.subscribe();
        drop(count.wait_for(|count| *count > number).await.expect("the desk stays"));
        self.desk.asked.lock().unwrap()[number].clone()
    }

    fn count(&self) -> usize {
        *self.desk.count.borrow()
    }

    fn answer(&self, asked: &Asked, reply: TurnReply) {
        let answers = self.answers.get().expect("a host has begun");
        answers.turn_answered(&asked.instance, asked.now, reply);
    }
}

impl Worker for Slow {
    fn identity(&self) -> &'static str {
        "slow"
    }

    fn activity_options(&self, _: &str) -> Option<ActivityOptions> {
        Some(ActivityOptions::default())
    }

    fn entity_options(&self, _: &str) -> Option<EntityOptions> {
        None
    }

    fn has_orchestrator(&self, _: &str) -> bool {
        true
    }

    fn answer_through(&self, answers: Arc<dyn Answers>) {
        assert!(self.answers.set(answers).is_ok(), "a worker serves one host");
    }

    fn turns(&self, _: PartitionId) -> Box<dyn Turns> {
        Box::new(Waiting(self.desk.clone()))
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        Box::pin(async { Outcome::Completed(call.input) })
    }

    fn entity(&self, _: EntityBatch) -> BoxFuture<EntityReply> {
        unreachable!("it has no entity")
    }
}

struct Waiting(Arc<Desk>);

impl Turns for Waiting {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        let time = request.events.iter().rev().find_map(|event| match event {
            Event::TurnStarted { now } => Some(*now),
            _ => None,
        });
        self.0.asked.lock().unwrap().push(Asked {
            instance: request.instance.clone(),
            now: time.expect("a turn has a time"),
            before: request.history.len(),
            events: request.events.to_vec(),
        });
        self.0.count.send_modify(|count| *count += 1);
        TurnReply::Later
    }

    fn entity(&mut self, _: &EntityBatch) -> EntityReply {
        unreachable!("it has no entity")
    }

    fn evict(&mut self, _: Iid) {}

    fn resident(&self) -> usize {
        0
    }
}

fn decided(action: Action, wait: Option<Wait>) -> TurnReply {
    TurnReply::Decided(Decision { actions: vec![action], wait, ..Decision::default() })
}

fn completes(text: &str) -> TurnReply {
    decided(Action::Complete(Completion::Completed(Value::text(text))), None)
}

/// Calls an activity.
fn calls(argument: &str) -> TurnReply {
    let call = Action::CallActivity {
        id: EventId(0),
        name: "echo".to_owned(),
        input: Value::text(argument),
        tags: Tags::new(),
        origin: None,
    };
    decided(call, Some(Wait::Task(EventId(0))))
}

async fn begin(client: &Client, name: &str) {
    let named = StartOptions { id: Some(id(name)), ..StartOptions::default() };
    client.start("any", Value::empty(), named).await.unwrap();
}

#[tokio::test]
async fn a_turn_goes_on_with_its_answer_when_it_comes() {
    let (bed, slow) = (Bed::new(), Slow::new());
    let host = bed.open_with(slow.clone(), quiet());
    let client = host.client();
    begin(&client, "a").await;
    let first = slow.asked(0).await;
    assert_eq!(client.get(&id("a")).await.unwrap().status, Status::Pending);
    slow.answer(&first, calls("x"));
    let second = slow.asked(1).await;
    let ended = |event: &Event| matches!(event, Event::TaskEnded { task: EventId(0), .. });
    assert!(second.events.iter().any(ended), "{second:?}");
    assert_eq!(second.before, first.events.len() as u32 + 1);
    slow.answer(&second, completes("done"));
    assert_eq!(end(&client, "a").await, (Status::Completed, "done".to_owned()));
}

#[tokio::test]
async fn what_comes_while_a_turn_is_away_is_for_the_next_turn() {
    let (bed, slow) = (Bed::new(), Slow::new());
    let host = bed.open_with(slow.clone(), quiet());
    let client = host.client();
    begin(&client, "a").await;
    let first = slow.asked(0).await;
    raise(&client, "a", "Go", "1").await;
    raise(&client, "a", "Go", "2").await;
    slow.answer(&first, TurnReply::Decided(Decision::default()));
    let second = slow.asked(1).await;
    let raised = |event: &&Event| matches!(event, Event::EventRaised { .. });
    assert_eq!(first.events.iter().filter(raised).count(), 0);
    assert_eq!(second.events.iter().filter(raised).count(), 2);
    slow.answer(&second, completes("both"));
    assert_eq!(end(&client, "a").await.1, "both");
}

#[tokio::test]
async fn a_second_answer_and_one_to_an_earlier_turn_are_dropped() {
    let (bed, slow) = (Bed::new(), Slow::new());
    let host = bed.open_with(slow.clone(), quiet());
    let client = host.client();
    begin(&client, "a").await;
    let first = slow.asked(0).await;
    slow.answer(&first, calls("x"));
    slow.answer(&first, completes("twice"));
    let second = slow.asked(1).await;
    slow.answer(&first, completes("too late"));
    slow.answer(&second, completes("in time"));
    slow.answer(&second, completes("after the end"));
    assert_eq!(end(&client, "a").await, (Status::Completed, "in time".to_owned()));
    assert_eq!(slow.count(), 2);
}

#[tokio::test]
async fn an_answer_to_nobody_is_dropped() {
    let (bed, slow) = (Bed::new(), Slow::new());
    let host = bed.open_with(slow.clone(), quiet());
    let client = host.client();
    begin(&client, "a").await;
    let first = slow.asked(0).await;
    slow.answer(&Asked { instance: id("nobody"), ..first.clone() }, completes("no"));
    client.terminate(&id("a"), "enough", false).await.unwrap();
    slow.answer(&first, calls("x"));
    let (status, _) = end(&client, "a").await;
    assert_eq!(status, Status::Terminated);
    slow.answer(&first, completes("no"));
    begin(&client, "b").await;
    let last = slow.asked(slow.count().max(2) - 1).await;
    assert_eq!(last.instance, id("b"));
    slow.answer(&last, completes("b"));
    assert_eq!(end(&client, "b").await.1, "b");
    assert_eq!(client.get(&id("a")).await.unwrap().status, Status::Terminated);
}

#[tokio::test]
async fn a_lost_turn_is_asked_for_again_with_the_same_events() {
    let (bed, slow) = (Bed::new(), Slow::new());
    let host = bed.open_with(slow.clone(), quiet());
    let client = host.client();
    begin(&client, "a").await;
    let first = slow.asked(0).await;
    slow.answer(&first, TurnReply::Later);
    let again = slow.asked(1).await;
    assert_eq!(again.before, 0);
    assert_eq!(again.events.len(), first.events.len());
    assert_ne!(again.now, first.now, "a turn's time names it");
    slow.answer(&first, completes("the lost one"));
    slow.answer(&again, completes("the second one"));
    assert_eq!(end(&client, "a").await.1, "the second one");
}

#[tokio::test]
async fn a_worker_that_lacks_the_history_is_asked_with_it() {
    let (bed, slow) = (Bed::new(), Slow::new());
    let host = bed.open_with(slow.clone(), quiet());
    let client = host.client();
    begin(&client, "a").await;
    slow.answer(&slow.asked(0).await, calls("x"));
    let second = slow.asked(1).await;
    slow.answer(&second, TurnReply::NeedHistory);
    let third = slow.asked(2).await;
    assert_eq!((third.before, third.events.len()), (second.before, second.events.len()));
    slow.answer(&third, completes("with history"));
    assert_eq!(end(&client, "a").await.1, "with history");
}

#[tokio::test]
async fn a_turn_that_was_away_when_the_host_stopped_is_asked_for_after_the_start() {
    let bed = Bed::new();
    let former = Slow::new();
    let host = bed.open_with(former.clone(), quiet());
    begin(&host.client(), "a").await;
    former.answer(&former.asked(0).await, calls("x"));
    let lost = former.asked(1).await;
    raise(&host.client(), "a", "Go", "1").await;
    drop(host);
    bed.clock.advance(Duration::from_secs(1));
    let slow = Slow::new();
    let host = bed.open_with(slow.clone(), quiet());
    let client = host.client();
    let again = slow.asked(0).await;
    assert_eq!(again.before, lost.before);
    let raised = |event: &Event| matches!(event, Event::EventRaised { .. });
    assert!(again.events.iter().any(raised), "{again:?}");
    slow.answer(&Asked { now: lost.now, ..again.clone() }, completes("of the former host"));
    slow.answer(&again, completes("of this host"));
    assert_eq!(end(&client, "a").await.1, "of this host");
}
