//! The durable functions of an app: who has which name, and what the engine is answered.
//!
//! W1  A durable name is that of the trigger's binding, or the function's; the function's own name is known as well, since
//!     the SDK calls by reference with it. Names compare without case.
//! W2  A name that nobody has is not waited for: the call fails at once, with the names that there are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use everstep_functions::program::{Binding, Function};
use everstep_model::{Iid, InstanceId, Outcome, PartitionId, Timestamp};
use everstep_worker::{
    ActivityCall, ActivityOptions, Answers, BoxFuture, EntityBatch, EntityOptions, EntityReply,
    Purity, TurnReply, Turns, Worker,
};

use crate::{activity, entity, failure::Role, process::Pool, turns::PythonTurns};

/// What all parts of a program share.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) runtime: tokio::runtime::Handle,
    /// The time of one call, if there is a limit.
    pub(crate) limit: Option<Duration>,
    table: Table,
    identity: String,
    answers: OnceLock<Arc<dyn Answers>>,
    counter: AtomicU64,
    /// How often an instance's turn has lost its process.
    blamed: Mutex<HashMap<Iid, u32>>,
}

/// The durable functions by name.
#[derive(Debug, Default)]
pub(crate) struct Table {
    functions: BTreeMap<(Role, String), Durable>,
    names: BTreeMap<Role, Vec<String>>,
    /// Names of functions that could not be loaded.
    broken: HashSet<String>,
}

/// A durable function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Durable {
    /// The function's own name.
    pub(crate) name: String,
    /// What its trigger's value is called.
    pub(crate) parameter: String,
}

impl Table {
    pub(crate) fn of<'a>(functions: impl Iterator<Item = (&'a Function, bool)>) -> Self {
        let mut table = Self::default();
        for (function, is_broken) in functions {
            if is_broken {
                table.broken.insert(function.name.to_lowercase());
            }
            for binding in &function.bindings {
                table.add(function, binding);
            }
        }
        table
    }

    fn add(&mut self, function: &Function, binding: &Binding) {
        let (role, key) = match binding.kind.to_ascii_lowercase().as_str() {
            "activitytrigger" => (Role::Activity, "activity"),
            "orchestrationtrigger" => (Role::Orchestrator, "orchestration"),
            "entitytrigger" => (Role::Entity, "entityName"),
            _ => return,
        };
        let property = binding.properties.get(key).and_then(serde_json::Value::as_str);
        let name = property.filter(|name| !name.is_empty()).unwrap_or(&function.name);
        let durable = Durable { name: function.name.clone(), parameter: binding.name.clone() };
        self.names.entry(role).or_default().push(name.to_owned());
        self.functions.insert((role, name.to_lowercase()), durable.clone());
        self.functions.entry((role, function.name.to_lowercase())).or_insert(durable);
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.names.contains_key(&role)
    }

    /// The function's own name, if it could be loaded.
    pub(crate) fn whole(&self, role: Role, name: &str) -> Option<&str> {
        let durable = self.functions.get(&(role, name.to_lowercase()))?;
        (!self.is_broken(&durable.name)).then_some(durable.name.as_str())
    }

    /// The durable names of a kind.
    pub(crate) fn names(&self, role: Role) -> Vec<String> {
        self.names.get(&role).cloned().unwrap_or_default()
    }

    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(&name.to_lowercase())
    }
}

impl Shared {
    pub(crate) fn new(pool: Pool, table: Table, identity: String, limit: Option<Duration>) -> Self {
        Self {
            pool,
            runtime: tokio::runtime::Handle::current(),
            limit,
            table,
            identity,
            answers: OnceLock::new(),
            counter: AtomicU64::new(0),
            blamed: Mutex::default(),
        }
    }

    /// The function's own name.
    pub(crate) fn function(&self, role: Role, name: &str) -> Option<String> {
        self.table.whole(role, name).map(str::to_owned)
    }

    pub(crate) fn durable(&self, role: Role, name: &str) -> Option<&Durable> {
        self.table.functions.get(&(role, name.to_lowercase()))
    }

    /// The durable names of a kind.
    pub(crate) fn names(&self, role: Role) -> Vec<String> {
        self.table.names(role)
    }

    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.table.is_broken(name)
    }

    /// Names an execution to its process.
    pub(crate) fn new_run(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// Names a call in logs.
    pub(crate) fn new_invocation(&self) -> String {
        format!("{:032x}", self.new_run())
    }

    pub(crate) fn answer(&self, instance: &InstanceId, now: Timestamp, reply: TurnReply) {
        if let Some(answers) = self.answers.get() {
            answers.turn_answered(instance, now, reply);
        }
    }

    fn blamed(&self) -> MutexGuard<'_, HashMap<Iid, u32>> {
        self.blamed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the loss of a process with a turn of an instance.
    pub(crate) fn blame(&self, iid: Iid) -> u32 {
        let mut blamed = self.blamed();
        let count = blamed.entry(iid).or_default();
        *count += 1;
        *count
    }

    pub(crate) fn losses(&self, iid: Iid) -> u32 {
        self.blamed().get(&iid).copied().unwrap_or_default()
    }

    pub(crate) fn forgive(&self, iid: Iid) {
        self.blamed().remove(&iid);
    }
}

/// The durable functions as the engine's worker.
pub(crate) struct PythonWorker(pub(crate) Arc<Shared>);

impl Worker for PythonWorker {
    fn identity(&self) -> &str {
        &self.0.identity
    }

    fn activity_options(&self, _: &str) -> Option<ActivityOptions> {
        Some(ActivityOptions::default())
    }

    fn entity_options(&self, _: &str) -> Option<EntityOptions> {
        Some(EntityOptions { purity: Purity::Effects })
    }

    fn has_orchestrator(&self, name: &str) -> bool {
        self.0.durable(Role::Orchestrator, name).is_some()
    }

    fn answer_through(&self, answers: Arc<dyn Answers>) {
        let former = self.0.answers.set(answers);
        assert!(former.is_ok(), "a worker serves one host");
    }

    fn turns(&self, _: PartitionId) -> Box<dyn Turns> {
        Box::new(PythonTurns::new(self.0.clone()))
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        Box::pin(activity::run(self.0.clone(), call))
    }

    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        Box::pin(entity::run(self.0.clone(), batch))
    }
}
