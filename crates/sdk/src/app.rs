//! A body of user code: functions and entities under their names.
//!
//! R1  Names compare without case; each is registered once.
//! R2  What is registered does not change once an [`App`] is a worker.

use std::{collections::HashMap, future::Future, sync::Arc};

use everstep_model::{
    Event, ExecutionId, Failure, Iid, InstanceId, Outcome, PartitionId, Value, kinds,
};
use everstep_worker::{
    ActivityCall, ActivityOptions, BoxFuture, EntityBatch, EntityOptions, EntityReply, History,
    RESERVED, TurnRequest, Turns, Worker, is_reserved,
};

use crate::{
    Activity, ActivityContext, BoxError, Context, Entity, Orchestrator, OrchestratorHandle,
    Payload, Register,
    activity::{ActivityFn, activity_fn},
    codec,
    entity::{EntityRunner, Runner, refuse_all},
    execution::{Execution, OrchestratorFn},
    failure,
    function::ActivityHandle,
    turns::LocalTurns,
};

/// Orchestrators, activities and entities; the [`Worker`] that runs them.
///
/// ```
/// use everstep::{Activity, ActivityContext, App, Context, Failure, Orchestrator};
///
/// const ADD: Activity<(i64, i64), i64> = Activity::new("Add");
/// const SUM: Orchestrator<Vec<i64>, i64> = Orchestrator::new("Sum");
///
/// async fn add(_: ActivityContext, (a, b): (i64, i64)) -> Result<i64, String> {
///     a.checked_add(b).ok_or_else(|| format!("{a} + {b} is too large"))
/// }
///
/// async fn sum(ctx: Context, numbers: Vec<i64>) -> Result<i64, Failure> {
///     let mut sum = 0;
///     for number in numbers {
///         sum = ctx.call(ADD, (sum, number)).await?;
///     }
///     Ok(sum)
/// }
///
/// let app = App::new("1.0").activity(ADD, add).orchestrator(SUM, sum);
/// # let _ = app;
/// ```
#[derive(Debug, Clone)]
pub struct App {
    identity: Arc<str>,
    registry: Arc<Registry>,
}

impl App {
    /// An app without functions. The identity names this state of the code: instances whose history does not fit the
    /// code are tried again when code of another identity runs.
    pub fn new(identity: &str) -> Self {
        Self { identity: identity.into(), registry: Arc::default() }
    }

    /// Registers an orchestrator: `async fn(Context, I) -> Result<O, E>`.
    #[must_use]
    pub fn orchestrator<I, O, E, F, Fut>(
        mut self,
        name: impl Into<Orchestrator<I, O>>,
        code: F,
    ) -> Self
    where
        I: Payload,
        O: Payload,
        E: Into<BoxError> + 'static,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
    {
        let code = Arc::new(code);
        let code: Arc<OrchestratorFn> = Arc::new(move |context, input| {
            let code = Arc::clone(&code);
            Box::pin(run_orchestrator(code, context, input))
        });
        self.edit().orchestrators.add("orchestrator", name.into().name(), code);
        self
    }

    /// Registers an activity: `async fn(ActivityContext, I) -> Result<O, E>`.
    #[must_use]
    pub fn activity<I, O, E, F, Fut>(self, name: impl Into<Activity<I, O>>, code: F) -> Self
    where
        I: Payload,
        O: Payload,
        E: Into<BoxError> + 'static,
        F: Fn(ActivityContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
    {
        self.activity_with(name, ActivityOptions::default(), code)
    }

    /// The same with limits.
    ///
    /// ```
    /// # use everstep::{ActivityContext, ActivityOptions, App};
    /// # use std::time::Duration;
    /// let limits = ActivityOptions { concurrency: Some(4), timeout: Some(Duration::from_secs(30)) };
    /// let app = App::new("1").activity_with("Resize", limits, |_: ActivityContext, image: String| async move {
    ///     Ok::<_, String>(image)
    /// });
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn activity_with<I, O, E, F, Fut>(
        mut self,
        name: impl Into<Activity<I, O>>,
        options: ActivityOptions,
        code: F,
    ) -> Self
    where
        I: Payload,
        O: Payload,
        E: Into<BoxError> + 'static,
        F: Fn(ActivityContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
    {
        self.edit().activities.add("activity", name.into().name(), (activity_fn(code), options));
        self
    }

    /// Registers an entity.
    #[must_use]
    pub fn entity<E: Entity>(mut self) -> Self {
        let runner: Arc<dyn EntityRunner> = Arc::new(Runner::<E>::new());
        self.edit().entities.add("entity", E::NAME, runner);
        self
    }

    /// Registers what an attribute was put on.
    ///
    /// ```
    /// use everstep::{ActivityContext, App, Context, Failure, activity, orchestrator};
    ///
    /// #[activity]
    /// async fn double(_: ActivityContext, number: u32) -> Result<u32, Failure> {
    ///     Ok(number * 2)
    /// }
    ///
    /// #[orchestrator]
    /// async fn quadruple(ctx: Context, number: u32) -> Result<u32, Failure> {
    ///     let twice = ctx.call(double, number).await?;
    ///     ctx.call(double, twice).await
    /// }
    ///
    /// let app = App::new("1").add(double).add(quadruple);
    /// # let _ = app;
    /// ```
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "a builder's word, not a sum")]
    pub fn add(self, function: impl Register) -> Self {
        function.register(self)
    }

    /// Checks that the code still makes the decisions of a recorded history. The error says what differs.
    ///
    /// Tests keep histories of former versions and replay them for ever.
    pub fn replay(&self, instance: &InstanceId, history: &[Event]) -> Result<(), Failure> {
        let Some(Event::Started(started)) = history.first() else {
            return Err(Failure::new(
                kinds::RULE,
                "a history begins with the start of the execution",
            ));
        };
        let (name, code) = self.registry.orchestrators.find(&started.name).ok_or_else(|| {
            Failure::new(
                kinds::NOT_FOUND,
                format!("no orchestrator `{}` is registered", started.name),
            )
        })?;
        let request = TurnRequest {
            iid: Iid(0),
            instance,
            execution: 1,
            execution_id: &ExecutionId::new(started.execution_id.as_str()),
            name: &started.name,
            history: History::Full(history),
            events: &[],
        };
        Execution::new((name, code.as_ref()), &request, started)
            .replay(history)
            .map_err(|reason| Failure::new(kinds::RULE, reason))
    }

    /// The names of all orchestrators, as they were registered, in order.
    pub fn orchestrators(&self) -> Vec<Arc<str>> {
        self.registry.orchestrators.spellings()
    }

    /// The names of all activities, as they were registered, in order.
    pub fn activities(&self) -> Vec<Arc<str>> {
        self.registry.activities.spellings()
    }

    /// The names of all entities, as they were registered, in order.
    pub fn entities(&self) -> Vec<Arc<str>> {
        self.registry.entities.spellings()
    }

    fn edit(&mut self) -> &mut Registry {
        Arc::make_mut(&mut self.registry)
    }
}

/// The future of one execution.
async fn run_orchestrator<I, O, E, F, Fut>(
    code: Arc<F>,
    context: Context,
    input: Value,
) -> Result<Value, Failure>
where
    I: Payload,
    O: Payload,
    E: Into<BoxError>,
    F: Fn(Context, I) -> Fut,
    Fut: Future<Output = Result<O, E>>,
{
    let input: I = codec::decode(&input)?;
    let output = code(context, input).await.map_err(failure)?;
    codec::encode(&output)
}

impl Worker for App {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn activity_options(&self, name: &str) -> Option<ActivityOptions> {
        self.registry.activities.find(name).map(|(_, (_, options))| *options)
    }

    fn entity_options(&self, name: &str) -> Option<EntityOptions> {
        self.registry.entities.find(name).map(|(_, runner)| runner.options())
    }

    fn has_orchestrator(&self, name: &str) -> bool {
        self.registry.orchestrators.find(name).is_some()
    }

    fn turns(&self, _: PartitionId) -> Box<dyn Turns> {
        Box::new(LocalTurns::new(Arc::clone(&self.registry)))
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        if let Some((_, (code, _))) = self.registry.activities.find(&call.name) {
            return code(call);
        }
        let text = format!("no activity `{}` is registered", call.name);
        let failure = Failure::new(kinds::NOT_FOUND, text);
        Box::pin(std::future::ready(Outcome::Failed(Box::new(failure))))
    }

    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        match self.registry.entity_of(&batch) {
            Some(runner) => Arc::clone(runner).run(batch),
            None => Box::pin(std::future::ready(unknown_entity(&batch))),
        }
    }
}

/// All functions by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    pub(crate) orchestrators: Names<Arc<OrchestratorFn>>,
    activities: Names<(Arc<ActivityFn>, ActivityOptions)>,
    entities: Names<Arc<dyn EntityRunner>>,
}

impl Registry {
    fn entity_of(&self, batch: &EntityBatch) -> Option<&Arc<dyn EntityRunner>> {
        let (name, _) = batch.entity.entity_parts()?;
        self.entities.find(name).map(|(_, runner)| runner)
    }

    pub(crate) fn run_entity_now(&self, batch: &EntityBatch) -> EntityReply {
        match self.entity_of(batch) {
            Some(runner) => runner.run_now(batch),
            None => unknown_entity(batch),
        }
    }
}

fn unknown_entity(batch: &EntityBatch) -> EntityReply {
    let text = format!("no entity is registered for `{}`", batch.entity);
    refuse_all(batch, &Failure::new(kinds::NOT_FOUND, text))
}

/// Things by name, found without regard to case.
#[derive(Clone)]
pub(crate) struct Names<T> {
    by_spelling: HashMap<Arc<str>, T>,
    spelling: HashMap<String, Arc<str>>,
}

impl<T> Names<T> {
    fn add(&mut self, kind: &str, name: &str, thing: T) {
        assert!(
            !is_reserved(name),
            "the {kind} `{name}` has a name that begins with `{RESERVED}`, as only Everstep's own functions have; choose another name"
        );
        let spelling: Arc<str> = name.into();
        let former = self.spelling.insert(name.to_lowercase(), Arc::clone(&spelling));
        assert!(
            former.is_none(),
            "the {kind} `{name}` is registered twice; names are compared without case"
        );
        self.by_spelling.insert(spelling, thing);
    }

    fn spellings(&self) -> Vec<Arc<str>> {
        let mut spellings: Vec<_> = self.by_spelling.keys().cloned().collect();
        spellings.sort();
        spellings
    }

    pub(crate) fn find(&self, name: &str) -> Option<(&Arc<str>, &T)> {
        self.by_spelling.get_key_value(name).or_else(|| {
            let spelling = self.spelling.get(&name.to_lowercase())?;
            self.by_spelling.get_key_value(spelling)
        })
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { by_spelling: HashMap::new(), spelling: HashMap::new() }
    }
}

impl<T> std::fmt::Debug for Names<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_spelling.keys()).finish()
    }
}
