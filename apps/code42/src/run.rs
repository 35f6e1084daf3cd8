//! The orchestration: one run, from the first message to the last.
//!
//! R1  Histories hold numbers of messages and objects. Bodies, keys of objects and records stand in the spool.
//! R2  A run is the only one: its instance has one name. A start while it runs is refused by the hub.
//! R3  When its time is over nothing new is begun; what is under way ends, and the rest becomes visible again.
//! R4  While objects are at work, the messages that they belong to are kept invisible.
//! R5  A run goes on with an empty history after [`EVENTS`] events, about.

use std::{collections::VecDeque, future::Future, pin::Pin, time::Duration};

use everstep::{
    Activity, ActivityHandle, Context, Failure, Orchestrator, RetryPolicy, Timestamp, kinds,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) const RUN: Orchestrator<Run, Value> = Orchestrator::new("code42_run");
pub(crate) const BEGIN: Activity<(), i64> = Activity::new("begin");
pub(crate) const RECEIVE: Activity<i64, Received> = Activity::new("receive");
pub(crate) const PROCESS_OBJECT: Activity<i64, Processed> = Activity::new("process_object");
pub(crate) const UPLOAD_CHUNK: Activity<Sending, Sent> = Activity::new("upload_chunk");
pub(crate) const FINISH_MESSAGE: Activity<Finish, ()> = Activity::new("finish_message");
pub(crate) const KEEP_MESSAGES: Activity<i64, ()> = Activity::new("keep_messages");
pub(crate) const CLOSE: Activity<Close, Value> = Activity::new("close");

/// The instance of all runs.
pub(crate) const INSTANCE: &str = "code42";
/// Objects that are handed out at once.
pub(crate) const OBJECTS: usize = 200;
/// Events of one history, about.
const EVENTS: usize = 1500;
/// Events of an object or a message, about.
const EVENTS_EACH: usize = 5;
/// Calls of an activity during which this process is killed again and again.
const CALLS: u32 = 5;

/// What a run starts and goes on with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    /// It takes no new work after so long.
    pub(crate) seconds: u32,
    /// Objects at a time.
    pub(crate) lanes: u32,
    /// Messages are kept invisible this often.
    pub(crate) keep_seconds: u32,
    /// Its number in the spool, once it has one, and when it began.
    pub(crate) begun: Option<(i64, i64)>,
}

/// Messages to work on; none: the queue is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Received {
    pub(crate) messages: Vec<Work>,
}

/// A message, and those of its objects that are to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) message: i64,
    pub(crate) objects: Vec<i64>,
}

/// What an object came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Processed {
    /// They are in the spool, to be sent.
    pub(crate) has_records: bool,
}

/// An object whose records are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sending {
    pub(crate) object: i64,
    /// When the run's time is over, in milliseconds.
    pub(crate) due: i64,
}

/// What sending came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) records: u64,
    /// The time of one activity was over before the records.
    pub(crate) has_more: bool,
    pub(crate) failed: bool,
}

/// A message whose turn is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finish {
    pub(crate) message: i64,
    /// The run begins nothing more.
    pub(crate) stopped: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Close {
    pub(crate) run: i64,
    pub(crate) stopped_early: bool,
    /// Why it could not go on.
    pub(crate) cause: Option<String>,
}

/// Why a run takes no more messages.
enum Stop {
    Empty,
    Time,
    /// Its history is long enough.
    Long,
}

pub(crate) async fn run(ctx: Context, mut run: Run) -> Result<Value, Failure> {
    let (id, began) = match run.begun {
        Some(begun) => begun,
        None => (ask(&ctx, BEGIN, ()).await?, ctx.now().millis()),
    };
    run.begun = Some((id, began));
    let due = began + i64::from(run.seconds) * 1000;
    let ended = drain(&ctx, &run, id, due).await;
    let (stopped_early, failure) = match ended {
        Ok(Stop::Long) => return ctx.continue_as_new(run).await,
        Ok(Stop::Empty) => (false, None),
        Ok(Stop::Time) => (true, None),
        Err(failure) => (false, Some(failure)),
    };
    let cause = failure.as_ref().map(|failure| failure.message.clone());
    let output = ask(&ctx, CLOSE, Close { run: id, stopped_early, cause }).await?;
    failure.map_or(Ok(output), Err)
}

async fn drain(ctx: &Context, run: &Run, id: i64, due: i64) -> Result<Stop, Failure> {
    let mut events = 0;
    loop {
        if ctx.now().millis() >= due {
            return Ok(Stop::Time);
        }
        if events > EVENTS {
            return Ok(Stop::Long);
        }
        let received = ask(ctx, RECEIVE, id).await?;
        if received.messages.is_empty() {
            return Ok(Stop::Empty);
        }
        let objects: usize = received.messages.iter().map(|work| work.objects.len()).sum();
        events += (received.messages.len() + objects + 2) * EVENTS_EACH;
        Lanes::new(ctx, run, id, due).work(received.messages).await?;
    }
}

/// What ended.
enum Step {
    /// An object of the message at this place.
    Object(usize),
    Message,
    /// The messages were kept invisible.
    Kept,
    /// The run's time is over.
    Due,
}

type Job<'a> = Pin<Box<dyn Future<Output = Result<Step, Failure>> + Send + 'a>>;

/// Some objects at a time, their messages, and the clock.
struct Lanes<'a> {
    ctx: &'a Context,
    run: &'a Run,
    id: i64,
    due: i64,
    jobs: Vec<Job<'a>>,
    busy: u32,
}

impl<'a> Lanes<'a> {
    fn new(ctx: &'a Context, run: &'a Run, id: i64, due: i64) -> Self {
        Self { ctx, run, id, due, jobs: Vec::new(), busy: 0 }
    }

    async fn work(mut self, messages: Vec<Work>) -> Result<(), Failure> {
        let mut left: Vec<usize> = messages.iter().map(|work| work.objects.len()).collect();
        let mut open: VecDeque<(usize, i64)> = messages
            .iter()
            .enumerate()
            .flat_map(|(at, work)| work.objects.iter().map(move |object| (at, *object)))
            .collect();
        let mut unfinished = messages.len();
        for (work, _) in messages.iter().zip(&left).filter(|(_, left)| **left == 0) {
            self.finish(work.message);
        }
        self.keep();
        self.wait_for_the_end();
        while unfinished > 0 {
            if self.is_over() {
                // What was not begun is not waited for.
                for (at, _) in open.drain(..) {
                    left[at] -= 1;
                    if left[at] == 0 {
                        self.finish(messages[at].message);
                    }
                }
            }
            while self.busy < self.run.lanes
                && let Some((at, object)) = open.pop_front()
            {
                self.begin(at, object);
            }
            match self.next().await? {
                Step::Object(at) => {
                    left[at] -= 1;
                    self.busy -= 1;
                    if left[at] == 0 {
                        self.finish(messages[at].message);
                    }
                }
                Step::Message => unfinished -= 1,
                Step::Kept => self.keep(),
                Step::Due => {}
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ctx.now().millis() >= self.due
    }

    async fn next(&mut self) -> Result<Step, Failure> {
        let jobs = std::mem::take(&mut self.jobs);
        let (step, _, others) = everstep::select_all(jobs).await;
        self.jobs = others;
        step
    }

    fn begin(&mut self, at: usize, object: i64) {
        let (ctx, due) = (self.ctx, self.due);
        self.busy += 1;
        self.jobs.push(Box::pin(async move {
            self::object(ctx, object, due).await?;
            Ok(Step::Object(at))
        }));
    }

    fn finish(&mut self, message: i64) {
        let (ctx, stopped) = (self.ctx, self.is_over());
        self.jobs.push(Box::pin(async move {
            ask(ctx, FINISH_MESSAGE, Finish { message, stopped }).await?;
            Ok(Step::Message)
        }));
    }

    fn keep(&mut self) {
        let (ctx, id) = (self.ctx, self.id);
        let pause = Duration::from_secs(self.run.keep_seconds.into());
        self.jobs.push(Box::pin(async move {
            ctx.sleep(pause).await;
            ask(ctx, KEEP_MESSAGES, id).await?;
            Ok(Step::Kept)
        }));
    }

    /// What was not begun is let go of at once, however long what is under way takes.
    fn wait_for_the_end(&mut self) {
        let (ctx, due) = (self.ctx, Timestamp::from_millis(self.due));
        self.jobs.push(Box::pin(async move {
            ctx.sleep_until(due).await;
            Ok(Step::Due)
        }));
    }
}

/// Reads an object and sends its records, or some of them if the time is over.
async fn object(ctx: &Context, object: i64, due: i64) -> Result<(), Failure> {
    if !ask(ctx, PROCESS_OBJECT, object).await?.has_records {
        return Ok(());
    }
    loop {
        if ctx.now().millis() >= due {
            return Ok(());
        }
        let sent = ask(ctx, UPLOAD_CHUNK, Sending { object, due }).await?;
        if !sent.has_more {
            return Ok(());
        }
    }
}

/// Calls an activity until it has worked, or is given up. Kills of this process from outside count as if the activity had
/// caused them; none of these activities does, so it is called anew.
async fn ask<A>(ctx: &Context, activity: A, input: A::Input) -> Result<A::Output, Failure>
where
    A: ActivityHandle + Copy,
    A::Input: Clone,
{
    for _ in 1..CALLS {
        match ctx.call(activity, input.clone()).retry(patient()).await {
            Err(failure) if failure.kind == kinds::POISON => {}
            ended => return ended,
        }
    }
    ctx.call(activity, input).retry(patient()).await
}

/// For what may work again in a moment, such as a full disk.
fn patient() -> RetryPolicy {
    RetryPolicy::exponential(Duration::from_secs(1), 3)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{
            Arc, Mutex,
            atomic::{AtomicI64, Ordering},
        },
    };

    use everstep::{
        App,
        testing::{self, Options, TestHub},
    };
    use serde_json::json;

    use super::*;

    type Finished = Arc<Mutex<BTreeMap<i64, bool>>>;

    fn app() -> App {
        App::new("1").orchestrator(RUN, run)
    }

    fn start() -> Run {
        Run { seconds: 270, lanes: 2, keep_seconds: 120, begun: None }
    }

    /// A queue that brings so many waves of three messages with two objects each.
    fn mock(hub: &mut TestHub, waves: i64) -> Finished {
        let finished = Finished::default();
        let wave = AtomicI64::new(0);
        hub.mock(BEGIN, |()| Ok(1));
        hub.mock(RECEIVE, move |_| {
            let wave = wave.fetch_add(1, Ordering::Relaxed);
            let work = |at| {
                let message = wave * 3 + at;
                Work { message, objects: vec![message * 2, message * 2 + 1] }
            };
            let messages = if wave < waves { (0..3).map(work).collect() } else { Vec::new() };
            Ok(Received { messages })
        });
        hub.mock(PROCESS_OBJECT, |object| Ok(Processed { has_records: object % 2 == 0 }));
        hub.mock(UPLOAD_CHUNK, |_| Ok(Sent { records: 5, has_more: false, failed: false }));
        hub.mock(KEEP_MESSAGES, |_| Ok(()));
        let noted = Arc::clone(&finished);
        hub.mock(FINISH_MESSAGE, move |finish| {
            noted.lock().unwrap().insert(finish.message, finish.stopped);
            Ok(())
        });
        hub.mock(CLOSE, |close| Ok(json!({ "early": close.stopped_early, "cause": close.cause })));
        finished
    }

    #[test]
    fn a_run_takes_messages_until_there_are_none() {
        let mut hub = TestHub::new(app());
        let finished = mock(&mut hub, 2);
        let run = hub.start(RUN, start()).unwrap();
        assert_eq!(hub.result(&run).unwrap(), json!({ "early": false, "cause": null }));
        let finished = finished.lock().unwrap();
        assert_eq!(*finished, (0..6).map(|message| (message, false)).collect());
    }

    #[test]
    fn a_long_run_goes_on_with_an_empty_history() {
        let mut hub = TestHub::new(app());
        let finished = mock(&mut hub, 40);
        let run = hub.start(RUN, start()).unwrap();
        hub.result(&run).unwrap();
        assert_eq!(finished.lock().unwrap().len(), 120);
        assert!(hub.history(run.id()).unwrap().len() < EVENTS);
    }

    #[test]
    fn after_its_time_a_run_begins_nothing_and_lets_go_of_the_rest() {
        let mut hub = TestHub::new(app());
        let finished = mock(&mut hub, 100);
        let tried = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&tried);
        hub.mock(PROCESS_OBJECT, move |object| {
            noted.lock().unwrap().push(object);
            Ok(Processed { has_records: false })
        });
        let run = hub.start(RUN, Run { seconds: 0, ..start() }).unwrap();
        assert_eq!(hub.result(&run).unwrap(), json!({ "early": true, "cause": null }));
        assert!(tried.lock().unwrap().is_empty());
        assert!(finished.lock().unwrap().is_empty());
    }

    #[test]
    fn a_queue_that_cannot_be_read_fails_the_run() {
        let mut hub = TestHub::new(app());
        mock(&mut hub, 1);
        hub.mock(RECEIVE, |_| Err(Failure::new("Aws", "no such queue").fatal()));
        let closed = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&closed);
        hub.mock(CLOSE, move |close| {
            *noted.lock().unwrap() = close.cause;
            Ok(Value::Null)
        });
        let run = hub.start(RUN, start()).unwrap();
        assert!(hub.result(&run).unwrap_err().to_string().contains("no such queue"));
        assert_eq!(closed.lock().unwrap().as_deref(), Some("no such queue"));
    }

    #[test]
    fn a_crash_at_any_commit_changes_nothing_in_the_outcome() {
        let swept = testing::crash_everywhere_with(&app(), &Options::default(), |hub| {
            mock(hub, 1);
            let run = hub.start(RUN, start())?;
            hub.result(&run)
        })
        .unwrap();
        assert_eq!(swept.result.unwrap()["early"], false);
    }
}
