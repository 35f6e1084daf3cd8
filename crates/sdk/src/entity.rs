//! Entities: named state with operations that run one at a time.
//!
//! N1  An operation that fails leaves no trace: its state change and its messages are undone, and the batch goes on.
//! N2  The state is written once per batch. What a failed operation has spoiled is rebuilt: from the last written state,
//!     for an entity that is pure by running the operations since then again.
//! N3  An entity comes into being with its first operation that succeeds, from `Default`.

use std::{
    future::Future,
    marker::PhantomData,
    pin::pin,
    sync::Arc,
    task::{Context as Task, Poll, Waker},
};

use everstep_model::{
    EntitySend, EventId, Failure, IdError, InstanceId, Outcome, Timestamp, Value, kinds,
};
use everstep_worker::{BoxFuture, EntityBatch, EntityOptions, EntityReply, OperationCall, Purity};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Call, Context, OrchestratorHandle, Payload, activity::guarded, call::Reply, codec,
    failure::rule,
};

/// A type whose values are the states of entities.
///
/// The attribute `#[everstep::entity]` on an `impl` block writes this; by hand it looks so:
///
/// ```
/// use everstep::{Entity, EntityContext, Failure, Input, Operation, Value};
///
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// struct Counter(i64);
///
/// impl Counter {
///     const ADD: Operation<Counter, i64, i64> = Operation::new("add");
/// }
///
/// impl Entity for Counter {
///     const NAME: &'static str = "Counter";
///     const OPERATIONS: &'static [&'static str] = &["add"];
///
///     async fn dispatch(
///         &mut self,
///         operation: &str,
///         input: Input<'_>,
///         _: &mut EntityContext,
///     ) -> Result<Value, Failure> {
///         match operation {
///             "add" => {
///                 self.0 += input.read::<i64>()?;
///                 everstep::output(&self.0)
///             }
///             other => everstep::unknown_operation::<Self>(other),
///         }
///     }
/// }
/// # let _ = (everstep::App::new("1").entity::<Counter>(), Counter::ADD);
/// ```
pub trait Entity: Serialize + DeserializeOwned + Default + Send + 'static {
    /// The name; ids of its entities are `@name@key` in lower case.
    const NAME: &'static str;
    /// Whether operations touch anything but the state. One that is pure runs inside the turn that takes its messages,
    /// and may run again after a failure; it must not await.
    const PURITY: Purity = Purity::Effects;
    /// The names of its operations, for the message that answers an unknown one.
    const OPERATIONS: &'static [&'static str];

    /// Runs one operation.
    fn dispatch(
        &mut self,
        operation: &str,
        input: Input<'_>,
        context: &mut EntityContext,
    ) -> impl Future<Output = Result<Value, Failure>> + Send;
}

/// What an operation gets.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a Value);

impl Input<'_> {
    /// Reads it.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        codec::decode(self.0)
    }
}

/// What an operation gives, written.
pub fn output(value: &(impl Serialize + ?Sized)) -> Result<Value, Failure> {
    codec::encode(value)
}

/// The answer to an operation that `E` does not have.
pub fn unknown_operation<E: Entity>(operation: &str) -> Result<Value, Failure> {
    let known = E::OPERATIONS.join("`, `");
    let text = format!("the entity `{}` has no operation `{operation}`; it has `{known}`", E::NAME);
    Err(Failure::new(kinds::NOT_FOUND, text).fatal())
}

/// An operation of the entity `E` that takes `I` and gives `O`.
///
/// ```
/// # use everstep::Operation;
/// # struct Counter;
/// const ADD: Operation<Counter, i64, i64> = Operation::new("add");
/// assert_eq!(ADD.name(), "add");
/// ```
#[derive(Debug)]
pub struct Operation<E, I, O> {
    name: &'static str,
    types: PhantomData<fn(E, I) -> O>,
}

impl<E, I, O> Operation<E, I, O> {
    /// The operation of this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<E, I, O> Clone for Operation<E, I, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, I, O> Copy for Operation<E, I, O> {}

/// A proxy of one entity, made by [`Context::entity`].
#[derive(Debug)]
pub struct EntityRef<E> {
    context: Context,
    id: Result<InstanceId, Failure>,
    entity: PhantomData<fn() -> E>,
}

impl<E: Entity> EntityRef<E> {
    pub(crate) fn new(context: &Context, id: Result<InstanceId, IdError>) -> Self {
        let id = id.map_err(|error| crate::failure(error).fatal());
        Self { context: context.clone(), id, entity: PhantomData }
    }

    /// The entity's id; fails if the key cannot be part of one.
    pub fn id(&self) -> Result<InstanceId, Failure> {
        self.id.clone()
    }

    /// Calls an operation and waits for its answer.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn call<I: Payload, O: Payload>(&self, operation: Operation<E, I, O>, input: I) -> Call<O> {
        match &self.id {
            Ok(id) => self.context.call_entity(id, operation.name(), &input),
            Err(failure) => {
                let refused: Result<EventId, _> = Err(failure.clone());
                Call::new(Reply::new(&self.context, refused))
            }
        }
    }

    /// Sends an operation without waiting. A bad key, or an entity that this orchestration has locked, fails the
    /// orchestration.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn signal<I: Payload, O>(&self, operation: Operation<E, I, O>, input: I) {
        self.tell(operation.name(), &input, None);
    }

    /// The same, not before `due`.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn signal_at<I: Payload, O>(
        &self,
        due: Timestamp,
        operation: Operation<E, I, O>,
        input: I,
    ) {
        self.tell(operation.name(), &input, Some(due));
    }

    fn tell(&self, operation: &str, input: &impl Serialize, due: Option<Timestamp>) {
        match &self.id {
            Ok(id) => self.context.tell_entity(id, operation, codec::encode(input), due),
            Err(failure) => self.context.state().fail(failure.clone()),
        }
    }
}

/// What an operation sees of the world.
#[derive(Debug)]
pub struct EntityContext {
    entity: InstanceId,
    now: Timestamp,
    sender: Option<InstanceId>,
    sends: Vec<EntitySend>,
    kept: Kept,
}

/// Whether the state outlives the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    Deleted,
}

impl EntityContext {
    /// The id of this entity.
    pub fn id(&self) -> &InstanceId {
        &self.entity
    }

    /// The part of the id that names it among its kind.
    pub fn key(&self) -> &str {
        self.entity.entity_parts().map_or("", |(_, key)| key)
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The instance that asked; `None` for clients.
    pub fn sender(&self) -> Option<&InstanceId> {
        self.sender.as_ref()
    }

    /// Signals another entity.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn signal<E: Entity, I: Payload, O>(
        &mut self,
        key: &str,
        operation: Operation<E, I, O>,
        input: I,
    ) -> Result<(), Failure> {
        let entity = InstanceId::entity(E::NAME, key).map_err(crate::failure)?;
        self.signal_by_name(entity, operation.name(), &input, None)
    }

    /// The same, not before `due`.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn signal_at<E: Entity, I: Payload, O>(
        &mut self,
        due: Timestamp,
        key: &str,
        operation: Operation<E, I, O>,
        input: I,
    ) -> Result<(), Failure> {
        let entity = InstanceId::entity(E::NAME, key).map_err(crate::failure)?;
        self.signal_by_name(entity, operation.name(), &input, Some(due))
    }

    /// Signals an entity whose type is not known at compile time.
    pub fn signal_by_name(
        &mut self,
        entity: InstanceId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
        due: Option<Timestamp>,
    ) -> Result<(), Failure> {
        let (name, input) = (operation.to_owned(), codec::encode(input)?);
        self.sends.push(EntitySend::Signal { entity, name, input, due });
        Ok(())
    }

    /// Starts an orchestration, with an id of its own or a made one; nobody waits for it.
    #[expect(clippy::needless_pass_by_value, reason = "a value reads better at the call")]
    pub fn start<H: OrchestratorHandle>(
        &mut self,
        orchestrator: H,
        instance: Option<InstanceId>,
        input: H::Input,
    ) -> Result<(), Failure> {
        let (name, input) = (orchestrator.name().to_owned(), codec::encode(&input)?);
        self.sends.push(EntitySend::Start { instance, name, version: String::new(), input });
        Ok(())
    }

    /// Deletes the state when the operation ends well. The next operation begins from `Default`.
    pub fn delete(&mut self) {
        self.kept = Kept::Deleted;
    }
}

/// A registered entity type.
pub(crate) trait EntityRunner: Send + Sync {
    fn options(&self) -> EntityOptions;
    fn run_now(&self, batch: &EntityBatch) -> EntityReply;
    fn run(self: Arc<Self>, batch: EntityBatch) -> BoxFuture<EntityReply>;
}

pub(crate) struct Runner<E> {
    entity: PhantomData<fn() -> E>,
}

impl<E> Runner<E> {
    pub(crate) fn new() -> Self {
        Self { entity: PhantomData }
    }
}

impl<E: Entity> EntityRunner for Runner<E> {
    fn options(&self) -> EntityOptions {
        EntityOptions { purity: E::PURITY }
    }

    fn run_now(&self, batch: &EntityBatch) -> EntityReply {
        let mut run = pin!(run_batch::<E>(batch));
        match run.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            Poll::Ready(reply) => reply,
            Poll::Pending => refuse_all(
                batch,
                &rule(format!(
                    "the entity `{}` is declared pure but awaits something; leave `pure` out",
                    E::NAME
                )),
            ),
        }
    }

    fn run(self: Arc<Self>, batch: EntityBatch) -> BoxFuture<EntityReply> {
        Box::pin(async move { run_batch::<E>(&batch).await })
    }
}

/// Fails every operation and changes nothing.
pub(crate) fn refuse_all(batch: &EntityBatch, failure: &Failure) -> EntityReply {
    let results =
        batch.operations.iter().map(|_| Outcome::Failed(Box::new(failure.clone()))).collect();
    EntityReply { results, state: batch.state.clone(), sends: Vec::new() }
}

async fn run_batch<E: Entity>(batch: &EntityBatch) -> EntityReply {
    let mut running = match Running::<E>::new(batch) {
        Ok(running) => running,
        Err(failure) => return refuse_all(batch, &failure),
    };
    let mut results = Vec::with_capacity(batch.operations.len());
    for index in 0..batch.operations.len() {
        match running.step(index).await {
            Ok(result) => results.push(Outcome::from(result)),
            Err(failure) => return refuse_all(batch, &failure),
        }
    }
    match running.written() {
        Ok(state) => EntityReply { results, state, sends: running.context.sends },
        Err(failure) => refuse_all(batch, &failure),
    }
}

/// A batch while it runs.
struct Running<'a, E> {
    batch: &'a EntityBatch,
    context: EntityContext,
    /// The state; `None` while the entity does not exist.
    state: Option<E>,
    /// The state as written before the operation `saved_at`.
    saved: Option<Value>,
    saved_at: usize,
    /// Operations since then that failed, to be left out when the others run again.
    failed: Vec<usize>,
}

impl<'a, E: Entity> Running<'a, E> {
    fn new(batch: &'a EntityBatch) -> Result<Self, Failure> {
        Ok(Self {
            batch,
            context: EntityContext {
                entity: batch.entity.clone(),
                now: batch.now,
                sender: None,
                sends: Vec::new(),
                kept: Kept::Yes,
            },
            state: batch.state.as_ref().map(codec::decode).transpose()?,
            saved: batch.state.clone(),
            saved_at: 0,
            failed: Vec::new(),
        })
    }

    /// Runs an operation; one that fails is undone. The outer failure is one of the state itself.
    async fn step(&mut self, index: usize) -> Result<Result<Value, Failure>, Failure> {
        let sent = self.context.sends.len();
        let existed = self.state.is_some();
        let result = self.apply(&self.batch.operations[index]).await;
        if result.is_ok() {
            if E::PURITY == Purity::Effects && index + 1 < self.batch.operations.len() {
                self.save(index + 1)?;
            }
            return Ok(result);
        }
        self.context.sends.truncate(sent);
        self.failed.push(index);
        if existed {
            self.restore(index).await?;
        } else {
            self.state = None;
        }
        Ok(result)
    }

    async fn apply(&mut self, operation: &OperationCall) -> Result<Value, Failure> {
        let state = self.state.get_or_insert_default();
        self.context.kept = Kept::Yes;
        self.context.sender.clone_from(&operation.sender);
        let input = Input(&operation.input);
        let result = guarded(state.dispatch(&operation.name, input, &mut self.context)).await?;
        if self.context.kept == Kept::Deleted {
            self.state = None;
        }
        Ok(result)
    }

    fn save(&mut self, at: usize) -> Result<(), Failure> {
        self.saved = self.written()?;
        self.saved_at = at;
        self.failed.clear();
        Ok(())
    }

    /// Brings back the state before the operation `until`.
    async fn restore(&mut self, until: usize) -> Result<(), Failure> {
        self.state = self.saved.as_ref().map(codec::decode).transpose()?;
        let sent = self.context.sends.len();
        for index in self.saved_at..until {
            if !self.failed.contains(&index) {
                self.apply(&self.batch.operations[index]).await?;
            }
        }
        self.context.sends.truncate(sent);
        self.save(until + 1)
    }

    fn written(&self) -> Result<Option<Value>, Failure> {
        self.state.as_ref().map(codec::encode).transpose()
    }
}
