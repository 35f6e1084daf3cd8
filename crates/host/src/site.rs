//! What a running host consists of, as its request handlers see it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use everstep::Client;
use everstep_functions::{
    config::{HostConfig, Settings, binding::Bound},
    program::Function,
    route::Table,
};
use everstep_http::{Api, Rpc};
use everstep_store_embedded::Embedded;
use tokio::sync::Semaphore;

use crate::{
    invoke::Invoker, keys::Doorkeeper, observe::metrics::Metrics, storage::Storage, triggers,
};

/// A running host.
pub(crate) struct Site {
    pub(crate) config: HostConfig,
    /// The hub.
    pub(crate) store: Arc<Embedded>,
    pub(crate) hub_name: String,
    /// The functions as the program lists them, those that are switched off included.
    pub(crate) listed: Vec<Function>,
    /// Those that run, by lower-case name.
    pub(crate) functions: BTreeMap<String, Arc<Bound>>,
    /// What is wrong with those that do not.
    pub(crate) faults: BTreeMap<String, Vec<String>>,
    pub(crate) routes: Table,
    pub(crate) keys: Arc<Doorkeeper>,
    pub(crate) invoker: Arc<Invoker>,
    /// Queues and blobs.
    pub(crate) storage: Arc<Storage>,
    pub(crate) blob_hooks: triggers::blob::Hooks,
    pub(crate) api: Arc<Api>,
    pub(crate) client: Client,
    /// How the processes of other languages reach the host.
    pub(crate) rpc: Rpc,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) gate: Gate,
    /// Where the host is reached.
    pub(crate) url: String,
    /// The hub's folder.
    pub(crate) folder: PathBuf,
    pub(crate) script_root: PathBuf,
    pub(crate) settings: Arc<Settings>,
    pub(crate) language: String,
    pub(crate) began: Instant,
    /// Whether `GET /` shows a page.
    pub(crate) has_home: bool,
    /// Whether earlier work waits to be released.
    pub(crate) held: AtomicBool,
    pub(crate) draining: AtomicBool,
}

impl Site {
    /// A function that runs.
    pub(crate) fn function(&self, name: &str) -> Option<&Arc<Bound>> {
        self.functions.get(&name.to_lowercase())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether triggers wait: earlier work is held, or the host is draining.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_draining() || self.held.load(Ordering::Relaxed)
    }
}

/// How many requests to functions there may be.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Running and waiting together; none if there is no limit.
    pub(crate) outstanding: Option<Arc<Semaphore>>,
    /// Running at once.
    pub(crate) concurrent: Option<Arc<Semaphore>>,
}

impl Gate {
    pub(crate) fn new(outstanding: Option<usize>, concurrent: Option<usize>) -> Self {
        let semaphore = |limit: Option<usize>| limit.map(|limit| Arc::new(Semaphore::new(limit)));
        Self { outstanding: semaphore(outstanding), concurrent: semaphore(concurrent) }
    }
}
