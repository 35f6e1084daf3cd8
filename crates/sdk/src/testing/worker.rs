//! The app under test, with mocks in front of its activities and a replay before each of its turns.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use everstep_model::{Failure, Iid, Outcome, PartitionId, Value};
use everstep_runtime::partition::Code;
use everstep_worker::{
    ActivityCall, BoxFuture, EntityBatch, EntityOptions, EntityReply, History, TurnReply,
    TurnRequest, Turns, Worker,
};

use super::Replay;
use crate::{ActivityHandle, App, codec};

type MockFn = dyn Fn(&Value) -> Result<Value, Failure> + Send + Sync;

/// Counts the attempts that reached a mock.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<AtomicUsize>);

impl Calls {
    /// How many there were, those of lives that crashed included.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct TestWorker {
    app: App,
    /// By lower-case name.
    mocks: Mutex<HashMap<String, (Arc<MockFn>, Calls)>>,
}

impl TestWorker {
    pub(super) fn new(app: App) -> Self {
        Self { app, mocks: Mutex::default() }
    }

    pub(super) fn mock<H: ActivityHandle>(
        &self,
        activity: &H,
        code: impl Fn(H::Input) -> Result<H::Output, Failure> + Send + Sync + 'static,
    ) -> Calls {
        let code = move |input: &Value| codec::encode(&code(codec::decode(input)?)?);
        let calls = Calls::default();
        let mock: (Arc<MockFn>, Calls) = (Arc::new(code), calls.clone());
        self.mocks().insert(activity.name().to_lowercase(), mock);
        calls
    }

    /// An attempt of an activity, ready to be run.
    pub(super) fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        let mock = self.mocks().get(&call.name.to_lowercase()).cloned();
        match mock {
            Some((code, calls)) => {
                calls.0.fetch_add(1, Ordering::Relaxed);
                Box::pin(std::future::ready(Outcome::from(code(&call.input))))
            }
            None => Worker::activity(&self.app, call),
        }
    }

    pub(super) fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        Worker::entity(&self.app, batch)
    }

    pub(super) fn turns(&self, partition: PartitionId, replay: Replay) -> Box<dyn Turns> {
        let turns = self.app.turns(partition);
        match replay {
            Replay::EveryTurn => Box::new(Forgetful(turns)),
            Replay::AfterCrashes => turns,
        }
    }

    fn mocks(&self) -> MutexGuard<'_, HashMap<String, (Arc<MockFn>, Calls)>> {
        self.mocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Code for TestWorker {
    fn identity(&self) -> String {
        self.app.identity().to_owned()
    }

    fn entity(&self, name: &str) -> Option<EntityOptions> {
        self.app.entity_options(name)
    }

    fn has_activity(&self, name: &str) -> bool {
        self.mocks().contains_key(&name.to_lowercase()) || self.app.activity_options(name).is_some()
    }
}

/// Asks for the whole history in each turn, so that code that decides differently is found out at once.
struct Forgetful(Box<dyn Turns>);

impl Turns for Forgetful {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        if let History::Seen(1..) = request.history {
            self.0.evict(request.iid);
            return TurnReply::NeedHistory;
        }
        self.0.turn(request)
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        self.0.entity(batch)
    }

    fn evict(&mut self, iid: Iid) {
        self.0.evict(iid);
    }

    fn resident(&self) -> usize {
        self.0.resident()
    }
}
