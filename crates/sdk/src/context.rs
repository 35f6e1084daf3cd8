//! What an orchestrator sees of the world.
//!
//! A [`Context`] is a cheap handle; clones see the same execution. Everything an orchestrator does that is not plain
//! computation goes through it, so that a replay can repeat it.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use everstep_model::{
    Action, EventId, ExecutionId, Failure, Guid, InstanceId, Parent, ParentPolicy, Tags, Timestamp,
    Value, kinds,
};
use serde::Serialize;

use crate::{
    ActivityHandle, Call, Child, ContinueAsNew, Either, Elapsed, Entity, EntityRef, EventWait,
    Lock, OrchestratorHandle, Timer,
    call::Reply,
    codec,
    failure::rule,
    section::Section,
    select::select,
    state::{Mode, State},
};

/// The largest custom status, in bytes of its UTF-16 form.
const CUSTOM_STATUS_BYTES: usize = 16 << 10;

/// The handle through which an orchestrator acts.
///
/// ```
/// use std::time::Duration;
/// use everstep::{Activity, Context, Failure, RetryPolicy};
///
/// const RESERVE: Activity<String, u32> = Activity::new("Reserve");
///
/// async fn order(ctx: Context, item: String) -> Result<u32, Failure> {
///     ctx.set_custom_status(&"reserving");
///     let number = ctx
///         .call(RESERVE, item)
///         .retry(RetryPolicy::exponential(Duration::from_secs(1), 5))
///         .await?;
///     ctx.sleep(Duration::from_secs(3600)).await;
///     Ok(number)
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    state: Arc<Mutex<State>>,
}

impl Context {
    pub(crate) fn new(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Nothing that can panic runs while it is locked, and only the partition's thread asks for it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls an activity.
    ///
    /// The call is made here, whether or not the result is awaited.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn call<A: ActivityHandle>(&self, activity: A, input: A::Input) -> Call<A::Output> {
        self.call_by_name(activity.name(), &input)
    }

    /// Calls an activity whose types are not known at compile time.
    pub fn call_by_name<O>(&self, name: &str, input: &(impl Serialize + ?Sized)) -> Call<O> {
        let asked = codec::encode(input).map(|input| {
            self.state().ask(|id| Action::CallActivity {
                id,
                name: name.to_owned(),
                input,
                tags: Tags::new(),
                origin: None,
            })
        });
        Call::new(Reply::new(self, asked))
    }

    /// Starts a sub-orchestration.
    ///
    /// The child is started here, whether or not the result is awaited.
    ///
    /// ```
    /// # use everstep::{Context, Failure, Orchestrator};
    /// const SHIP: Orchestrator<u32, String> = Orchestrator::new("Ship");
    ///
    /// async fn order(ctx: Context, number: u32) -> Result<String, Failure> {
    ///     let notified = ctx.child(Orchestrator::<u32, ()>::new("Notify"), number).detach();
    ///     assert!(!notified.as_str().is_empty());
    ///     ctx.child(SHIP, number).id(&format!("ship-{number}")).await
    /// }
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn child<C: OrchestratorHandle>(&self, child: C, input: C::Input) -> Child<C::Output> {
        self.child_by_name(child.name(), &input)
    }

    /// Starts a sub-orchestration whose types are not known at compile time.
    pub fn child_by_name<O>(&self, name: &str, input: &(impl Serialize + ?Sized)) -> Child<O> {
        Child::new(Reply::new(self, self.start_child(name, codec::encode(input))))
    }

    fn start_child(&self, name: &str, input: Result<Value, Failure>) -> Result<EventId, Failure> {
        let input = input?;
        let mut state = self.state();
        if let Some(section) = &state.section {
            section.check_child()?;
        }
        Ok(state.ask(|id| Action::StartChild {
            id,
            name: name.to_owned(),
            version: String::new(),
            instance: None,
            input,
            tags: Tags::new(),
            policy: ParentPolicy::Wait,
            origin: None,
        }))
    }

    /// A timer that fires after `duration`, however long.
    pub fn sleep(&self, duration: Duration) -> Timer {
        let due = self.now().after(duration);
        self.sleep_until(due)
    }

    /// A timer that fires at `due`; in the past, at once.
    pub fn sleep_until(&self, due: Timestamp) -> Timer {
        let id = self.state().ask(|id| Action::CreateTimer { id, fire_at: due, origin: None });
        Timer::new(Reply::new(self, Ok(id)))
    }

    /// Waits for an event from outside. Events that came before the wait are kept for it; names compare without case.
    ///
    /// ```
    /// # use everstep::{Context, Failure};
    /// # use std::time::Duration;
    /// async fn approval(ctx: Context, _: ()) -> Result<bool, Failure> {
    ///     match ctx.event::<bool>("Approved").or_timeout(Duration::from_secs(86_400)).await {
    ///         Err(failure) if failure.kind == everstep::kinds::TIMEOUT => Ok(false),
    ///         answer => answer,
    ///     }
    /// }
    /// ```
    pub fn event<T>(&self, name: &str) -> EventWait<T> {
        EventWait::new(self, name)
    }

    /// Ends the wait for `future` after `duration`. The future is dropped then.
    ///
    /// ```
    /// # use everstep::{Context, Failure};
    /// # use std::time::Duration;
    /// async fn patient(ctx: Context, _: ()) -> Result<u32, Failure> {
    ///     let work = async { ctx.call_by_name::<u32>("Work", &()).await };
    ///     ctx.timeout(Duration::from_secs(5), work).await?
    /// }
    /// ```
    pub fn timeout<F: Future + Send>(
        &self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + Send + use<F>
    where
        F::Output: Send,
    {
        let timer = self.sleep(duration);
        async move {
            match select((future, timer)).await {
                Either::First(output) => Ok(output),
                Either::Second(()) => Err(Elapsed),
            }
        }
    }

    /// Sends an event to another orchestration. A value that cannot be written as JSON fails this one.
    pub fn send_event(&self, instance: &InstanceId, name: &str, value: &(impl Serialize + ?Sized)) {
        let value = codec::encode(value);
        let mut state = self.state();
        match value {
            Err(failure) => state.fail(failure),
            Ok(input) => {
                let (instance, name) = (instance.clone(), name.to_owned());
                state.tell(|id| Action::SendEvent { id, instance, name, input });
            }
        }
    }

    /// A proxy of the entity of type `E` with this key.
    ///
    /// ```
    /// # use everstep::{Context, Entity, EntityContext, Failure, Input, Operation, Value};
    /// # #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// # struct Counter(i64);
    /// # impl Counter { const ADD: Operation<Counter, i64, i64> = Operation::new("add"); }
    /// # impl Entity for Counter {
    /// #     const NAME: &'static str = "Counter";
    /// #     const OPERATIONS: &'static [&'static str] = &["add"];
    /// #     async fn dispatch(&mut self, op: &str, input: Input<'_>, _: &mut EntityContext) -> Result<Value, Failure> {
    /// #         everstep::unknown_operation::<Self>(op)
    /// #     }
    /// # }
    /// async fn count(ctx: Context, by: i64) -> Result<i64, Failure> {
    ///     let counter = ctx.entity::<Counter>("total");
    ///     counter.signal(Counter::ADD, by);
    ///     counter.call(Counter::ADD, 1).await
    /// }
    /// ```
    pub fn entity<E: Entity>(&self, key: &str) -> EntityRef<E> {
        EntityRef::new(self, InstanceId::entity(E::NAME, key))
    }

    /// Calls an entity whose type is not known at compile time.
    pub fn call_entity<O>(
        &self,
        entity: &InstanceId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
    ) -> Call<O> {
        Call::new(Reply::new(self, self.ask_entity(entity, operation, codec::encode(input))))
    }

    fn ask_entity(
        &self,
        entity: &InstanceId,
        operation: &str,
        input: Result<Value, Failure>,
    ) -> Result<EventId, Failure> {
        let input = input?;
        let mut state = self.state();
        if let Some(section) = &state.section {
            section.check_call(entity)?;
        }
        let (target, name) = (entity.clone(), operation.to_owned());
        let id = state.ask(|id| Action::CallEntity { id, entity: target, name, input });
        if let Some(section) = &mut state.section {
            section.called(id, entity.clone());
        }
        Ok(id)
    }

    /// Signals an entity whose type is not known at compile time. Signaling an entity that this orchestration has
    /// locked, or a value that cannot be written as JSON, fails the orchestration.
    pub fn signal(&self, entity: &InstanceId, operation: &str, input: &(impl Serialize + ?Sized)) {
        self.tell_entity(entity, operation, codec::encode(input), None);
    }

    /// The same, not before `due`.
    pub fn signal_at(
        &self,
        due: Timestamp,
        entity: &InstanceId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
    ) {
        self.tell_entity(entity, operation, codec::encode(input), Some(due));
    }

    pub(crate) fn tell_entity(
        &self,
        entity: &InstanceId,
        operation: &str,
        input: Result<Value, Failure>,
        due: Option<Timestamp>,
    ) {
        let mut state = self.state();
        let checked = input.and_then(|input| match &state.section {
            Some(section) => section.check_signal(entity).map(|()| input),
            None => Ok(input),
        });
        match checked {
            Err(failure) => state.fail(failure),
            Ok(input) => {
                let (entity, name) = (entity.clone(), operation.to_owned());
                state.tell(|id| Action::SignalEntity { id, entity, name, input, due });
            }
        }
    }

    /// Asks for the locks of several entities; a critical section lasts until the guard is dropped.
    ///
    /// While it lasts, only locked entities may be called, one call at a time each, none may be signaled, no
    /// sub-orchestration may be started and no other lock asked for. What breaks a rule fails with the kind
    /// `RuleViolation`.
    ///
    /// ```
    /// # use everstep::{Context, Failure, InstanceId};
    /// async fn transfer(ctx: Context, amount: i64) -> Result<(), Failure> {
    ///     let from = InstanceId::entity("Account", "a").map_err(everstep::failure)?;
    ///     let to = InstanceId::entity("Account", "b").map_err(everstep::failure)?;
    ///     let guard = ctx.lock([from.clone(), to.clone()]).await?;
    ///     ctx.call_entity::<()>(&from, "withdraw", &amount).await?;
    ///     ctx.call_entity::<()>(&to, "deposit", &amount).await?;
    ///     guard.release();
    ///     Ok(())
    /// }
    /// ```
    pub fn lock(&self, entities: impl IntoIterator<Item = InstanceId>) -> Lock {
        let mut entities: Vec<_> = entities.into_iter().collect();
        entities.sort();
        entities.dedup();
        Lock::new(Reply::new(self, self.ask_lock(entities)))
    }

    fn ask_lock(&self, entities: Vec<InstanceId>) -> Result<EventId, Failure> {
        let mut state = self.state();
        if state.section.is_some() {
            return Err(rule(
                "locks are asked for in a critical section; ask for all locks at once, or after the release",
            ));
        }
        let set = entities.clone();
        let lock = state.ask(|id| Action::Lock { id, entities: set });
        state.section = Some(Box::new(Section::new(lock, entities)));
        Ok(lock)
    }

    pub(crate) fn unlock(&self, lock: EventId) {
        let mut state = self.state();
        if state.section.as_ref().is_some_and(|section| section.lock == lock) {
            state.section = None;
            state.tell(|id| Action::Unlock { id, lock });
        }
    }

    /// The present, the same within a turn and in every replay of it.
    pub fn now(&self) -> Timestamp {
        self.state().now
    }

    /// A guid that no other call gives, the same in every replay.
    pub fn new_guid(&self) -> Guid {
        self.state().guid()
    }

    /// A number that looks random, the same in every replay. Not for secrets.
    pub fn random(&self) -> u64 {
        self.state().random()
    }

    /// The id of this orchestration.
    pub fn instance_id(&self) -> InstanceId {
        self.state().info.instance.clone()
    }

    /// The id of this execution; continue-as-new changes it.
    pub fn execution_id(&self) -> ExecutionId {
        self.state().info.execution_id.clone()
    }

    /// The name it was started under.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.state().info.name)
    }

    /// The version it was started with, empty if none.
    pub fn version(&self) -> String {
        self.state().info.given.as_ref().map(|given| given.version.clone()).unwrap_or_default()
    }

    /// The tags it was started with.
    pub fn tags(&self) -> Tags {
        self.state().info.given.as_ref().map(|given| given.tags.clone()).unwrap_or_default()
    }

    /// Who started it, if an orchestration did.
    pub fn parent(&self) -> Option<Parent> {
        self.state().info.given.as_ref().and_then(|given| given.parent.clone())
    }

    /// Whether the present step was taken before and is only repeated. `tracing` is silent then; other side effects
    /// that do not matter, like counters, may ask here.
    pub fn is_replaying(&self) -> bool {
        self.state().mode == Mode::Replaying
    }

    /// Says something to whoever asks for the status. More than 16 KB in UTF-16, or a value that cannot be written as
    /// JSON, fails the orchestration.
    pub fn set_custom_status(&self, status: &(impl Serialize + ?Sized)) {
        let checked = codec::encode(status).and_then(check_status);
        let mut state = self.state();
        match checked {
            Ok(status) => state.custom_status = Some(Box::new(status)),
            Err(failure) => state.fail(failure),
        }
    }

    /// Ends this generation and begins the next with `input` and an empty history.
    ///
    /// ```
    /// # use everstep::{Context, Failure};
    /// # use std::time::Duration;
    /// async fn every_hour(ctx: Context, runs: u32) -> Result<u32, Failure> {
    ///     if runs == 24 {
    ///         return Ok(runs);
    ///     }
    ///     ctx.sleep(Duration::from_secs(3600)).await;
    ///     ctx.continue_as_new(runs + 1).keep_events().await
    /// }
    /// ```
    pub fn continue_as_new<T>(&self, input: impl Serialize) -> ContinueAsNew<T> {
        ContinueAsNew::new(self, codec::encode(&input))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Context")
            .field("instance", &state.info.instance)
            .field("execution", &state.info.execution)
            .field("now", &state.now)
            .finish_non_exhaustive()
    }
}

fn check_status(status: Value) -> Result<Value, Failure> {
    let text = status.inline().map(|bytes| String::from_utf8_lossy(bytes));
    let bytes = text.map_or(0, |text| text.encode_utf16().count() * 2);
    if bytes <= CUSTOM_STATUS_BYTES {
        return Ok(status);
    }
    let text = format!(
        "The UTF-16 size of the JSON-serialized payload must not exceed {} KB. The current payload size is {} KB.",
        CUSTOM_STATUS_BYTES >> 10,
        bytes.div_ceil(1024)
    );
    Err(Failure::new(kinds::TOO_LARGE, text).fatal())
}
