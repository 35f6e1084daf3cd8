//! The futures that a [`Context`] gives out.
//!
//! Dropping one that has not ended loses interest: a timer is canceled, a wait for an event gives its claim back, a call
//! runs on but nobody hears of it and it is not tried again.

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use everstep_model::{
    Action, EventId, Failure, InstanceId, Outcome, ParentPolicy, RetryPolicy, Value,
};
use serde::de::DeserializeOwned;

use crate::{Context, Either, codec, events::WaitId, select::select, slots::Slot};

/// Something that was asked for and will be answered.
#[derive(Debug)]
pub(crate) struct Reply {
    context: Context,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Open(EventId),
    /// Never asked, because it must not or cannot be.
    Refused(Box<Failure>),
    Over,
}

impl Reply {
    pub(crate) fn new(context: &Context, asked: Result<EventId, Failure>) -> Self {
        let stage = match asked {
            Ok(id) => Stage::Open(id),
            Err(failure) => Stage::Refused(Box::new(failure)),
        };
        Self { context: context.clone(), stage }
    }

    fn edit(&self, change: impl Fn(&mut Action)) {
        if let Stage::Open(id) = self.stage {
            self.context.state().edit(id, change);
        }
    }

    /// Takes the action back and fails in its place.
    fn refuse(&mut self, failure: Failure) {
        if let Stage::Open(id) = self.stage {
            self.context.state().withdraw(id);
        }
        self.stage = Stage::Refused(Box::new(failure));
    }

    fn retry(&self, policy: RetryPolicy) {
        if let Stage::Open(id) = self.stage {
            self.context.state().retry(id, policy);
        }
    }

    pub(crate) fn id(&self) -> Option<EventId> {
        match self.stage {
            Stage::Open(id) => Some(id),
            Stage::Refused(_) | Stage::Over => None,
        }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn poll(&mut self, task: &Task<'_>) -> Poll<Result<Value, Failure>> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Open(id) => {
                let answer = self.context.state().poll(id, task.waker());
                if answer.is_pending() {
                    self.stage = Stage::Open(id);
                }
                answer.map(Outcome::into_result)
            }
            Stage::Refused(failure) => Poll::Ready(Err(*failure)),
            Stage::Over => panic!("a call was polled after its answer"),
        }
    }

    /// Whether it was still open.
    fn leave(&mut self) -> Option<EventId> {
        let Stage::Open(id) = std::mem::replace(&mut self.stage, Stage::Over) else { return None };
        let slot = self.context.state().leave(id)?;
        matches!(slot, Slot::Open(_) | Slot::Retrying(_)).then_some(id)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Writes the future of a typed answer.
macro_rules! typed_answer {
    ($name:ident) => {
        impl<O: DeserializeOwned> Future for $name<O> {
            type Output = Result<O, Failure>;

            fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
                self.reply.poll(task).map(|answer| answer.and_then(|value| codec::decode(&value)))
            }
        }

        impl<O: DeserializeOwned + Send + 'static> $name<O> {
            /// The answer if it comes within `duration`, else a failure of kind `Timeout`.
            pub fn or_timeout(
                self,
                duration: Duration,
            ) -> impl Future<Output = Result<O, Failure>> + Send {
                let timer = self.reply.context.sleep(duration);
                flat_timeout(self, timer)
            }
        }
    };
}

async fn flat_timeout<T>(
    future: impl Future<Output = Result<T, Failure>>,
    timer: Timer,
) -> Result<T, Failure> {
    match select((future, timer)).await {
        Either::First(answer) => answer,
        Either::Second(()) => Err(crate::Elapsed.into()),
    }
}

/// A call of an activity or an entity.
#[derive(Debug)]
#[must_use = "the call is made, but its result and its failure are lost unless it is awaited"]
pub struct Call<O> {
    reply: Reply,
    output: PhantomData<fn() -> O>,
}

typed_answer!(Call);

impl<O> Call<O> {
    pub(crate) fn new(reply: Reply) -> Self {
        Self { reply, output: PhantomData }
    }

    /// Makes an activity's call again when it fails, with durable timers in between. Entities are called once.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.reply.retry(policy);
        self
    }

    /// Adds a tag to an activity's call, for queries and protocols.
    pub fn tag(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        add_tag(&self.reply, &key.into(), &value.into());
        self
    }
}

/// A sub-orchestration that was started.
#[derive(Debug)]
#[must_use = "the child is started, but its result is lost unless it is awaited; `detach` says so"]
pub struct Child<O> {
    reply: Reply,
    output: PhantomData<fn() -> O>,
}

typed_answer!(Child);

impl<O> Child<O> {
    pub(crate) fn new(reply: Reply) -> Self {
        Self { reply, output: PhantomData }
    }

    /// Gives the child an id of its own. With an id that cannot be one, no child is started and
    /// the call fails.
    pub fn id(mut self, id: &str) -> Self {
        match InstanceId::orchestration(id) {
            Ok(id) => self.reply.edit(|action| {
                if let Action::StartChild { instance, .. } = action {
                    *instance = Some(id.clone());
                }
            }),
            Err(error) => self.reply.refuse(crate::failure(error).fatal()),
        }
        self
    }

    /// Starts this version of the orchestrator instead of the hub's default.
    pub fn version(self, chosen: impl Into<String>) -> Self {
        let chosen = chosen.into();
        self.reply.edit(|action| {
            if let Action::StartChild { version, .. } = action {
                version.clone_from(&chosen);
            }
        });
        self
    }

    /// Starts the child again when it fails, with durable timers in between.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.reply.retry(policy);
        self
    }

    /// Adds a tag to those that the child inherits.
    pub fn tag(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        add_tag(&self.reply, &key.into(), &value.into());
        self
    }

    /// Does not wait for the child; returns its id, made if none was given.
    pub fn detach(self) -> InstanceId {
        let context = self.reply.context.clone();
        let made = context.new_guid().to_string();
        let made = InstanceId::from_stored(&made);
        let chosen = std::cell::Cell::new(None);
        self.reply.edit(|action| {
            if let Action::StartChild { instance, policy, .. } = action {
                *policy = ParentPolicy::Detach;
                chosen.set(Some(instance.get_or_insert_with(|| made.clone()).clone()));
            }
        });
        chosen.take().unwrap_or(made)
    }
}

fn add_tag(reply: &Reply, key: &str, value: &str) {
    reply.edit(|action| {
        if let Action::CallActivity { tags, .. } | Action::StartChild { tags, .. } = action {
            tags.insert(key.to_owned(), value.to_owned());
        }
    });
}

/// A durable timer. Dropping it before it fires cancels it.
#[derive(Debug)]
#[must_use = "a timer that is dropped is canceled at once; await it"]
pub struct Timer {
    reply: Reply,
}

impl Timer {
    pub(crate) fn new(reply: Reply) -> Self {
        Self { reply }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        self.reply.poll(task).map(|_| ())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(timer) = self.reply.leave() {
            self.reply.context.state().cancel_timer(timer);
        }
    }
}

/// A wait for an event from outside. Dropping it before the event is taken gives its claim to the next in line.
#[derive(Debug)]
#[must_use = "a wait that is dropped takes no event; await it"]
pub struct EventWait<T> {
    context: Context,
    wait: Option<WaitId>,
    output: PhantomData<fn() -> T>,
}

impl<T> EventWait<T> {
    pub(crate) fn new(context: &Context, name: &str) -> Self {
        let wait = context.state().events.wait(Arc::from(name));
        Self { context: context.clone(), wait: Some(wait), output: PhantomData }
    }
}

impl<T: DeserializeOwned + Send + 'static> EventWait<T> {
    /// The event if it comes within `duration`, else a failure of kind `Timeout`.
    pub fn or_timeout(self, duration: Duration) -> impl Future<Output = Result<T, Failure>> + Send {
        let timer = self.context.sleep(duration);
        flat_timeout(self, timer)
    }
}

impl<T: DeserializeOwned> Future for EventWait<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let id = self.wait.expect("a wait is not polled after its event");
        let event = self.context.state().poll_event(id, task.waker());
        event.map(|value| {
            self.wait = None;
            codec::decode(&value)
        })
    }
}

impl<T> Drop for EventWait<T> {
    fn drop(&mut self) {
        if let Some(wait) = self.wait.take() {
            let wakers = self.context.state().leave_event(wait);
            wakers.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

/// A request for the locks of several entities.
#[derive(Debug)]
#[must_use = "the locks are given back at once unless the request is awaited"]
pub struct Lock {
    reply: Reply,
}

impl Lock {
    pub(crate) fn new(reply: Reply) -> Self {
        Self { reply }
    }
}

impl Future for Lock {
    type Output = Result<LockGuard, Failure>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let lock = self.reply.id();
        self.reply
            .poll(task)
            .map(|answer| answer.map(|_| LockGuard { context: self.reply.context().clone(), lock }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Granted but never taken counts as well: the locks are held by then.
        if let Some(lock) = self.reply.id() {
            self.reply.leave();
            self.reply.context.unlock(lock);
        }
    }
}

/// Locks that are held. They are given back when it is dropped.
#[derive(Debug)]
#[must_use = "the locks are given back as soon as the guard is dropped"]
pub struct LockGuard {
    context: Context,
    lock: Option<EventId>,
}

impl LockGuard {
    /// Gives the locks back.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            self.context.unlock(lock);
        }
    }
}

/// The end of this generation of the orchestration, to be awaited. The await never returns.
#[derive(Debug)]
#[must_use = "the orchestration goes on unless this is awaited"]
pub struct ContinueAsNew<T> {
    context: Context,
    input: Result<Value, Failure>,
    version: Option<String>,
    events: Events,
    never: PhantomData<fn() -> T>,
}

/// What becomes of events that nobody has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Events {
    Dropped,
    Kept,
}

impl<T> ContinueAsNew<T> {
    pub(crate) fn new(context: &Context, input: Result<Value, Failure>) -> Self {
        Self {
            context: context.clone(),
            input,
            version: None,
            events: Events::Dropped,
            never: PhantomData,
        }
    }

    /// Hands events that arrived and were not taken to the next generation.
    pub fn keep_events(mut self) -> Self {
        self.events = Events::Kept;
        self
    }

    /// Changes the version with the generation.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }
}

impl<T> Future for ContinueAsNew<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<T> {
        let (input, version) = (self.input.clone(), self.version.take());
        let keeps = self.events == Events::Kept;
        self.context.state().continue_as_new(input, version, keeps);
        Poll::Pending
    }
}
