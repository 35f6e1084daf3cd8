//! Types on top of the client: starts by reference, results and states as values.

use std::{fmt, future::Future, marker::PhantomData};

use everstep_model::{Failure, InstanceId, Status, Value, kinds};
use everstep_runtime::{Client, ClientError, Raised, StartOptions};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Entity, Operation, OrchestratorHandle, Payload, codec};

/// Why a run gave no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The request was not carried out.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The orchestration failed or was terminated, or a value did not fit.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What a [`Client`] does with types.
///
/// ```
/// use everstep::{App, Context, Failure, Host, StartOptions, TypedClient as _, orchestrator};
/// use std::sync::Arc;
///
/// #[orchestrator]
/// async fn greet(_: Context, name: String) -> Result<String, Failure> {
///     Ok(format!("Hello, {name}!"))
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = App::new("1.0").add(greet);
/// let store = everstep_store_memory::MemoryStore::new(2);
/// let host = Host::start(store, Arc::new(app), everstep::HostOptions::default())?;
/// let run = host.client().run(greet, "world".to_owned(), StartOptions::default()).await?;
/// assert_eq!(run.result().await?, "Hello, world!");
/// host.stop().await?;
/// # Ok(())
/// # }
/// ```
pub trait TypedClient {
    /// Starts an orchestration. When this returns, the start is durable.
    fn run<H: OrchestratorHandle + Send>(
        &self,
        orchestrator: H,
        input: H::Input,
        options: StartOptions,
    ) -> impl Future<Output = Result<Run<H::Output>, RunError>> + Send;

    /// A handle of a run that was started before.
    fn run_of<H: OrchestratorHandle>(&self, orchestrator: H, id: InstanceId) -> Run<H::Output>;

    /// Raises an event.
    fn raise_event(
        &self,
        id: &InstanceId,
        name: &str,
        value: &(impl Serialize + ?Sized + Sync),
    ) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Signals an entity.
    fn signal_entity<E: Entity, I: Payload, O>(
        &self,
        key: &str,
        operation: Operation<E, I, O>,
        input: I,
    ) -> impl Future<Output = Result<(), RunError>> + Send;

    /// The state of an entity; `None` if it does not exist.
    fn read_entity<E: Entity>(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<E>, RunError>> + Send;
}

impl TypedClient for Client {
    async fn run<H: OrchestratorHandle + Send>(
        &self,
        orchestrator: H,
        input: H::Input,
        options: StartOptions,
    ) -> Result<Run<H::Output>, RunError> {
        let input = codec::encode(&input)?;
        let id = self.start(orchestrator.name(), input, options).await?;
        Ok(Run { client: self.clone(), id, output: PhantomData })
    }

    fn run_of<H: OrchestratorHandle>(&self, _: H, id: InstanceId) -> Run<H::Output> {
        Run { client: self.clone(), id, output: PhantomData }
    }

    async fn raise_event(
        &self,
        id: &InstanceId,
        name: &str,
        value: &(impl Serialize + ?Sized + Sync),
    ) -> Result<(), RunError> {
        let event =
            Raised { name: name.to_owned(), input: codec::encode(value)?, key: String::new() };
        Ok(self.raise(id, event).await?)
    }

    async fn signal_entity<E: Entity, I: Payload, O>(
        &self,
        key: &str,
        operation: Operation<E, I, O>,
        input: I,
    ) -> Result<(), RunError> {
        let (name, input) = (operation.name(), codec::encode(&input)?);
        let entity = InstanceId::entity(E::NAME, key).map_err(ClientError::from)?;
        Ok(self.signal(&entity, name, input, "").await?)
    }

    async fn read_entity<E: Entity>(&self, key: &str) -> Result<Option<E>, RunError> {
        let entity = InstanceId::entity(E::NAME, key).map_err(ClientError::from)?;
        let state = self.entity_state(&entity).await?;
        Ok(state.as_ref().map(codec::decode).transpose()?)
    }
}

/// A handle of one orchestration and the type of its result.
pub struct Run<O> {
    client: Client,
    id: InstanceId,
    output: PhantomData<fn() -> O>,
}

impl<O: DeserializeOwned> Run<O> {
    /// The id of the instance.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Waits for the end.
    pub async fn result(&self) -> Result<O, RunError> {
        let view = self.client.wait(&self.id).await?;
        let output = view.output.unwrap_or_else(Value::empty);
        match view.status {
            Status::Completed => Ok(codec::decode(&output)?),
            Status::Terminated => {
                let reason = output.inline().map(|reason| String::from_utf8_lossy(reason));
                Err(Failure::new(kinds::TERMINATED, reason.unwrap_or_default()).into())
            }
            _ => Err(view.failure.unwrap_or_default().into()),
        }
    }
}

impl<O> fmt::Debug for Run<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Run").field(&self.id).finish()
    }
}
