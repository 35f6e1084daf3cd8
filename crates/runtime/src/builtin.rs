//! Functions of the runtime's own, beside those of the user's worker.
//!
//! B1  Names with the prefix [`RESERVED`](everstep_worker::RESERVED) are ours: the user's worker is not asked for them.
//! B2  [`JOB`] carries a bulk verb out, page by page. Each page is an activity, and each execution has one page, so that
//!     a job over millions of instances has a short history. A stopped host, a busy one and a full disk make it wait.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use everstep_model::{
    Action, Completion, Event, EventId, Failure, Iid, Outcome, PartitionId, Tags, Timestamp, Value,
    Wait, kinds,
};
use everstep_worker::{
    ActivityCall, ActivityOptions, Answers, BoxFuture, Decision, EntityBatch, EntityOptions,
    EntityReply, History, TurnReply, TurnRequest, Turns, Worker, is_reserved,
};

use crate::client::{
    Client,
    bulk::{JOB, Job, Next},
};

/// The activity that handles one page of a job.
const PAGE: &str = "everstep.bulk.page";
/// The call of the page, and the wait after one that could not be finished.
const CALL: EventId = EventId(0);
const TIMER: EventId = EventId(1);
/// How long a job waits when the host is busy.
const PAUSE: Duration = Duration::from_secs(5);

/// The user's worker, and our functions beside it.
pub(crate) struct WithBuiltins {
    user: Arc<dyn Worker>,
    /// Of the host that runs it.
    client: OnceLock<Client>,
}

impl WithBuiltins {
    pub(crate) fn new(user: Arc<dyn Worker>) -> Self {
        Self { user, client: OnceLock::new() }
    }

    /// Says whose client our functions use. To be called before anything runs.
    pub(crate) fn connect(&self, client: Client) {
        assert!(self.client.set(client).is_ok(), "a worker serves one host");
    }
}

impl Worker for WithBuiltins {
    fn identity(&self) -> &str {
        self.user.identity()
    }

    fn activity_options(&self, name: &str) -> Option<ActivityOptions> {
        if is_reserved(name) {
            return (name == PAGE).then(ActivityOptions::default);
        }
        self.user.activity_options(name)
    }

    fn activity_interval(&self, name: &str) -> Option<Duration> {
        if is_reserved(name) { None } else { self.user.activity_interval(name) }
    }

    fn entity_options(&self, name: &str) -> Option<EntityOptions> {
        if is_reserved(name) { None } else { self.user.entity_options(name) }
    }

    fn has_orchestrator(&self, name: &str) -> bool {
        if is_reserved(name) { name == JOB } else { self.user.has_orchestrator(name) }
    }

    fn answer_through(&self, answers: Arc<dyn Answers>) {
        self.user.answer_through(answers);
    }

    fn turns(&self, partition: PartitionId) -> Box<dyn Turns> {
        Box::new(BuiltinTurns { user: self.user.turns(partition) })
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        if !is_reserved(&call.name) {
            return self.user.activity(call);
        }
        let client = self.client.get().expect("the host connects before it runs anything").clone();
        Box::pin(async move {
            match Job::decode(&call.input) {
                Ok(job) => Outcome::Completed(client.bulk_page(job).await.encode()),
                Err(error) => Outcome::Failed(Box::new(no_job(&error))),
            }
        })
    }

    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        self.user.entity(batch)
    }
}

struct BuiltinTurns {
    user: Box<dyn Turns>,
}

impl Turns for BuiltinTurns {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        if !is_reserved(request.name) {
            return self.user.turn(request);
        }
        match (request.name, request.history) {
            (JOB, History::Seen(0)) => job_turn(request.events),
            (JOB, History::Full(before)) => job_turn(&[before, request.events].concat()),
            (JOB, History::Seen(_)) => TurnReply::NeedHistory,
            _ => TurnReply::UnknownFunction,
        }
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        self.user.entity(batch)
    }

    fn evict(&mut self, iid: Iid) {
        self.user.evict(iid);
    }

    fn resident(&self) -> usize {
        self.user.resident()
    }
}

/// What the history of a job's execution says.
#[derive(Default)]
struct Seen<'a> {
    input: Option<&'a Value>,
    now: Timestamp,
    called: bool,
    page: Option<&'a Outcome>,
    timer: bool,
    fired: bool,
}

impl<'a> Seen<'a> {
    fn of(history: &'a [Event]) -> Self {
        let mut seen = Self::default();
        for event in history {
            match event {
                Event::Started(started) => seen.input = Some(&started.input),
                Event::TurnStarted { now } => seen.now = *now,
                Event::TaskScheduled { .. } => seen.called = true,
                Event::TaskEnded { outcome, .. } => seen.page = Some(outcome),
                Event::TimerCreated { .. } => seen.timer = true,
                Event::TimerFired { .. } => seen.fired = true,
                _ => {}
            }
        }
        seen
    }
}

/// A turn of a job, from its whole history.
fn job_turn(history: &[Event]) -> TurnReply {
    let seen = Seen::of(history);
    let input = seen.input.cloned().unwrap_or_else(Value::empty);
    let decision = match seen.page {
        None => match Job::decode(&input) {
            Ok(_) if seen.called => wait_for(CALL),
            Ok(_) => call_page(input),
            Err(error) => end(Completion::Failed(Box::new(no_job(&error)))),
        },
        Some(Outcome::Failed(failure)) => end(Completion::Failed(failure.clone())),
        Some(Outcome::Completed(page)) => match Job::decode(page) {
            Ok(job) => after_page(&seen, &job, page),
            Err(error) => end(Completion::Failed(Box::new(no_job(&error)))),
        },
    };
    TurnReply::Decided(decision)
}

fn after_page(seen: &Seen<'_>, job: &Job, page: &Value) -> Decision {
    let again = || {
        let (input, version, carry) = (page.clone(), None, Vec::new());
        end(Completion::ContinueAsNew { input, version, carry })
    };
    let decision = match job.next {
        Next::End => end(Completion::Completed(job.progress())),
        Next::Page => again(),
        Next::Pause if seen.fired => again(),
        Next::Pause if seen.timer => wait_for(TIMER),
        Next::Pause => {
            let fire_at = seen.now.after(PAUSE);
            let timer = Action::CreateTimer { id: TIMER, fire_at, origin: None };
            Decision { actions: vec![timer], ..wait_for(TIMER) }
        }
    };
    Decision { custom_status: Some(job.progress()), ..decision }
}

fn call_page(input: Value) -> Decision {
    let name = PAGE.to_owned();
    let call = Action::CallActivity { id: CALL, name, input, tags: Tags::new(), origin: None };
    Decision { actions: vec![call], ..wait_for(CALL) }
}

fn wait_for(task: EventId) -> Decision {
    Decision { wait: Some(Wait::Task(task)), ..Decision::default() }
}

fn end(completion: Completion) -> Decision {
    Decision { actions: vec![Action::Complete(completion)], ..Decision::default() }
}

fn no_job(error: &serde_json::Error) -> Failure {
    let text = format!(
        "the input of `{JOB}` is not a job ({error}); start jobs with the bulk verbs of a client, the API or the command line"
    );
    Failure::new(kinds::SERDE, text).fatal()
}
