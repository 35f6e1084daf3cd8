//! One orchestrator future, and how a turn moves it.
//!
//! P1  A turn delivers all its events, then polls. A replay does the same for every turn of the history, so that it
//!     decides the same.
//! P2  What a replay decides is compared with the history: kind, id, and, except for timers, the name. Only what the
//!     history does not hold yet is new.
//! P3  A history that was rewound ends its last turns early; what they decide and the history lacks is new.
//! P4  After the end of the execution nothing is delivered and nothing is polled.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use everstep_model::{Action, Completion, Event, Failure, Outcome, Started, Value};
use everstep_worker::{Decision, TurnRequest};
use tracing::Dispatch;

use crate::{
    Context,
    compare::{agree, describe_action, describe_event},
    failure::{of_panic, rule},
    state::{Given, Info, Mode, State},
    wake::Alarm,
};

/// A future that wakes itself this often without a pause does not come to an end.
const POLLS_WITHOUT_PAUSE: u32 = 1 << 16;

/// What an orchestrator is once it runs.
pub(crate) type OrchestratorFuture =
    Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send + 'static>>;

/// A registered orchestrator.
pub(crate) type OrchestratorFn = dyn Fn(Context, Value) -> OrchestratorFuture + Send + Sync;

/// What the history of an execution does not agree with; for a person.
pub(crate) type Disagreement = String;

/// An execution that is resident.
pub(crate) struct Execution {
    /// How many events its history has.
    pub(crate) seen: u32,
    pub(crate) number: u32,
    context: Context,
    alarm: Arc<Alarm>,
    /// `None` once it has ended.
    future: Option<OrchestratorFuture>,
}

impl Execution {
    /// Makes the future; it is first polled in the first turn.
    pub(crate) fn new(
        (name, code): (&Arc<str>, &OrchestratorFn),
        request: &TurnRequest<'_>,
        started: &Started,
    ) -> Self {
        let context = Context::new(State::new(Info {
            instance: request.instance.clone(),
            execution_id: request.execution_id.clone(),
            execution: request.execution,
            name: Arc::clone(name),
            given: Given::with(started),
        }));
        let alarm = Arc::new(Alarm::default());
        alarm.ring();
        let future = code(context.clone(), started.input.clone());
        Self { seen: 0, number: request.execution, context, alarm, future: Some(future) }
    }

    /// Repeats all turns of a history.
    pub(crate) fn replay(&mut self, history: &[Event]) -> Result<(), Disagreement> {
        let _turn = self.alarm.enter();
        let mut replay = Replay::new(history);
        for (index, event) in history.iter().enumerate() {
            match event {
                Event::TurnStarted { now } => {
                    self.end_replayed_turn(&mut replay, index)?;
                    replay.turn = Some(index);
                    replay.polled = false;
                    self.context.state().now = *now;
                }
                Event::TimerCanceled { .. } => {}
                _ if records_action(event) => {
                    self.poll_replayed(&mut replay);
                    self.expect(index, event, &mut replay)?;
                }
                _ => self.deliver(event),
            }
        }
        self.end_replayed_turn(&mut replay, history.len())?;
        self.context.state().custom_status = None;
        self.seen = history.len() as u32;
        Ok(())
    }

    /// Takes a new turn.
    pub(crate) fn advance(&mut self, events: &[Event]) -> Decision {
        let _turn = self.alarm.enter();
        self.context.state().mode = Mode::Live;
        for event in events {
            if let Event::TurnStarted { now } = event {
                self.context.state().now = *now;
            }
            self.deliver(event);
        }
        if self.alarm.rang_outside() {
            self.fail(not_durable());
        }
        self.poll_in_span();
        let mut state = self.context.state();
        let mut actions = std::mem::take(&mut state.actions);
        let ends = matches!(actions.last(), Some(Action::Complete(_)));
        if ends {
            // Timers end with the execution.
            actions.retain(|action| !matches!(action, Action::CancelTimer { .. }));
        }
        let custom_status = state.custom_status.take().map(|status| *status);
        let wait = (!ends).then(|| state.wait());
        drop(state);
        // The engine records one event for each action.
        self.seen += (events.len() + actions.len()) as u32;
        Decision { actions, custom_status, wait }
    }

    /// Whether there will be no further turn.
    pub(crate) fn has_ended(&self) -> bool {
        self.future.is_none()
    }

    fn end_replayed_turn(&mut self, replay: &mut Replay, index: usize) -> Result<(), Disagreement> {
        let Some(turn) = replay.turn else { return Ok(()) };
        self.poll_replayed(replay);
        let mut state = self.context.state();
        state.actions.drain(..replay.matched);
        replay.matched = 0;
        state.actions.retain(|action| !matches!(action, Action::CancelTimer { .. }));
        match state.actions.first() {
            Some(action) if replay.rewound.is_none_or(|rewound| rewound < turn) => {
                Err(disagreement(&format!(
                    "before event {index} of the history, the code {}, which the history does not hold",
                    describe_action(action)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Polls once per turn, without letting anything out through `tracing`.
    fn poll_replayed(&mut self, replay: &mut Replay) {
        if !replay.polled {
            replay.polled = true;
            tracing::dispatcher::with_default(&Dispatch::none(), || self.poll());
        }
    }

    fn expect(
        &mut self,
        index: usize,
        event: &Event,
        replay: &mut Replay,
    ) -> Result<(), Disagreement> {
        let state = self.context.state();
        let mut open = state.actions.iter().skip(replay.matched);
        let skipped =
            open.clone().take_while(|action| matches!(action, Action::CancelTimer { .. })).count();
        match open.nth(skipped) {
            Some(action) if agree(action, event) => {
                replay.matched += skipped + 1;
                Ok(())
            }
            Some(action) => Err(disagreement(&format!(
                "event {index} of the history is {}, but the code {}",
                describe_event(event),
                describe_action(action)
            ))),
            None => Err(disagreement(&format!(
                "event {index} of the history is {}, but the code does nothing of the kind at this point",
                describe_event(event)
            ))),
        }
    }

    fn deliver(&mut self, event: &Event) {
        if self.future.is_none() {
            return;
        }
        let mut state = self.context.state();
        let waker = match event {
            Event::TaskEnded { task, outcome }
            | Event::ChildEnded { task, outcome }
            | Event::OperationEnded { task, outcome } => state.deliver(*task, outcome.clone()),
            Event::TimerFired { timer: id } | Event::LockGranted { lock: id } => {
                state.deliver(*id, Outcome::Completed(Value::empty()))
            }
            Event::EventRaised { name, input, .. } => {
                state.events.arrive(name.clone(), input.clone())
            }
            _ => None,
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_in_span(&mut self) {
        let span = {
            let state = self.context.state();
            let info = &state.info;
            tracing::info_span!(
                "orchestration",
                name = &*info.name,
                instance = info.instance.as_str(),
                execution = info.execution
            )
        };
        span.in_scope(|| self.poll());
    }

    /// Polls until the future waits or ends.
    fn poll(&mut self) {
        if !self.alarm.take() {
            return;
        }
        let waker = self.alarm.waker();
        let mut task = Task::from_waker(&waker);
        for _ in 0..POLLS_WITHOUT_PAUSE {
            let Some(future) = &mut self.future else { return };
            let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut task)));
            let decided = self.context.state().end.take();
            let end = match (decided, polled) {
                (Some(end), _) => *end,
                (None, Err(panic)) => Completion::Failed(Box::new(of_panic(panic.as_ref()))),
                (None, Ok(Poll::Ready(Ok(output)))) => Completion::Completed(output),
                (None, Ok(Poll::Ready(Err(failure)))) => Completion::Failed(Box::new(failure)),
                (None, Ok(Poll::Pending)) if self.alarm.take() => continue,
                (None, Ok(Poll::Pending)) if self.context.state().awaits_something() => return,
                (None, Ok(Poll::Pending)) => Completion::Failed(Box::new(not_durable())),
            };
            self.end(end);
            return;
        }
        self.fail(rule(
            "the orchestrator wakes itself without end: it awaits something that is not durable; move it into an activity",
        ));
    }

    fn fail(&mut self, failure: Failure) {
        if self.future.is_some() {
            self.end(Completion::Failed(Box::new(failure)));
        }
    }

    fn end(&mut self, end: Completion) {
        self.context.state().actions.push(Action::Complete(end));
        self.close();
    }

    /// Drops the future without a trace, whatever its `Drop` code does.
    fn close(&mut self) {
        self.context.state().mode = Mode::Closed;
        let future = self.future.take();
        // A panic while user values are dropped must not take the partition down; the execution is over anyway.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let _turn = self.alarm.enter();
        self.close();
    }
}

/// Where a replay stands.
struct Replay {
    /// Where the last rewind stands in the history.
    rewound: Option<usize>,
    /// Where the present turn began.
    turn: Option<usize>,
    polled: bool,
    /// How many of the open actions the history holds.
    matched: usize,
}

impl Replay {
    fn new(history: &[Event]) -> Self {
        let rewound = history.iter().rposition(|event| matches!(event, Event::Rewound { .. }));
        Self { rewound, turn: None, polled: true, matched: 0 }
    }
}

fn records_action(event: &Event) -> bool {
    matches!(
        event,
        Event::TaskScheduled { .. }
            | Event::ChildCreated { .. }
            | Event::TimerCreated { .. }
            | Event::EventSent { .. }
            | Event::OperationCalled { .. }
            | Event::OperationSignaled { .. }
            | Event::LockRequested { .. }
            | Event::LockReleased { .. }
            | Event::Completed { .. }
            | Event::Failed { .. }
    )
}

fn disagreement(what: &str) -> Disagreement {
    format!(
        "{what}. An orchestrator that has running instances must go on making the same calls in the same order: bring the former code back, or give the new code another name or version"
    )
}

fn not_durable() -> Failure {
    rule(
        "the orchestrator awaits something that is not durable, which no replay could repeat; move it into an activity, or use what the context offers (`ctx.sleep`, `ctx.event`)",
    )
}
