//! New and changed blobs of a container.
//!
//! B1  A version of a blob, by its tag, is worked on until a run succeeds or `poisonBlobThreshold` runs have failed. What
//!     was begun and ended is on disk (`receipts.rs`): a version that is done with never comes again, one that was under
//!     way when the process died does.
//! B2  One that is given up has a message in the queue `webjobs-blobtrigger-poison` first.
//! B3  Who tells of a blob: a list of the container, the service in this process, or Event Grid. What is told is only a
//!     hint; the blob that is read decides.
//! B4  A host that is held or draining begins nothing.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use everstep_functions::{
    config::{
        binding::{BlobSource, BlobTrigger, Bound},
        expression::Matcher,
    },
    program::Trigger,
};
use everstep_storage::client::{self, BlobProperties, Blobs, ListBlobs};
use serde_json::{Map, Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use super::{
    queue,
    receipts::{Claim, Receipts},
    retry,
};
use crate::{
    front,
    invoke::Call,
    site::Site,
    storage::{self, Connection},
};

#[cfg(test)]
mod tests;

/// The waits between lists of an account's container.
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(10);
/// How often a host that takes nothing looks whether it may again.
const PAUSE: Duration = Duration::from_millis(250);
/// The wait before a blob that could not be read is tried again.
const TROUBLE: Duration = Duration::from_secs(2);
const POISON: &str = "webjobs-blobtrigger-poison";

/// Why a trigger does not listen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("its receipts cannot be read: {0}")]
    Receipts(io::Error),
    #[error("`path`: {0}")]
    Path(#[from] everstep_functions::config::expression::Error),
}

/// Where the webhook hands in what Event Grid tells, by the function's lower-case name.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<HashMap<String, Hook>>);

/// The way to one listener.
#[derive(Clone)]
pub(super) struct Hook {
    pub(super) container: String,
    matcher: Matcher,
    receipts: Arc<Receipts>,
    told: mpsc::UnboundedSender<String>,
}

impl Hooks {
    pub(super) fn find(&self, function: &str) -> Option<Hook> {
        let hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.get(&function.to_lowercase()).cloned()
    }

    fn add(&self, function: &str, hook: Hook) {
        let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.insert(function.to_lowercase(), hook);
    }
}

impl Hook {
    /// Takes a blob on; when this returns it is not forgotten any more.
    pub(super) async fn tell(self, blob: String, etag: String) -> io::Result<()> {
        if self.matcher.find(&format!("{}/{blob}", self.container)).is_none() {
            return Ok(());
        }
        let (receipts, name) = (self.receipts, blob.clone());
        on_disk(move || receipts.note(&name, &etag)).await?;
        // The listener may have ended; then the next start finds the note.
        let _ = self.told.send(blob);
        Ok(())
    }
}

/// Starts the listener of a function.
pub(super) async fn start(
    site: &Arc<Site>,
    bound: &Arc<Bound>,
    trigger: &BlobTrigger,
    stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, Error> {
    let connection = site.storage.connection(&trigger.connection).await?;
    let blobs = connection.blobs()?.clone();
    let matcher = trigger.path.matcher()?;
    let file = format!("{}.jsonl", bound.name.to_lowercase());
    let path = site.folder.join("blobs").join(file);
    let receipts = tokio::task::spawn_blocking(move || Receipts::open(&path)).await;
    let receipts = receipts.map_err(io::Error::other).flatten().map_err(Error::Receipts)?;
    let (receipts, container) = (Arc::new(receipts), trigger.container.clone());
    let (told, hints) = mpsc::unbounded_channel();
    let hook = Hook {
        container: container.clone(),
        matcher: matcher.clone(),
        receipts: Arc::clone(&receipts),
        told: told.clone(),
    };
    if trigger.source == BlobSource::EventGrid {
        site.blob_hooks.add(&bound.name, hook);
    }
    if let Some(service) = &connection.service {
        // From here on nothing is missed. In this process there is no Event Grid: the service speaks for it.
        let mut written = service.written(&container);
        tokio::spawn(async move {
            while let Some(blob) = written.recv().await {
                if told.send(blob).is_err() {
                    return;
                }
            }
        });
    }
    let (site, bound, source) = (Arc::clone(site), Arc::clone(bound), trigger.source);
    let listener =
        Listener { site, bound, connection, blobs, container, matcher, source, receipts };
    Ok(tokio::spawn(Arc::new(listener).run(hints, stopped)))
}

struct Listener {
    site: Arc<Site>,
    bound: Arc<Bound>,
    connection: Arc<Connection>,
    blobs: Blobs,
    container: String,
    matcher: Matcher,
    source: BlobSource,
    receipts: Arc<Receipts>,
}

impl Listener {
    async fn run(
        self: Arc<Self>,
        mut hints: mpsc::UnboundedReceiver<String>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut under_way = JoinSet::new();
        let mut look = LOOK_MIN;
        // What earlier runs left, and what was written while nobody listened.
        let mut next = Next { told: Vec::new(), all: true };
        loop {
            let going = async {
                next.all |= self.had_to_wait().await;
                let found = self.found(&next, &mut under_way).await;
                (next, look) = self.rest(found, look, &mut hints).await;
            };
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = going => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Waits until the host begins things; whether that took any waiting.
    async fn had_to_wait(&self) -> bool {
        let had_to = self.site.is_paused();
        while self.site.is_paused() {
            tokio::time::sleep(PAUSE).await;
        }
        had_to
    }

    /// Begins to work on what is to be looked at; how much that was, or none if it could not be found out.
    async fn found(self: &Arc<Self>, next: &Next, under_way: &mut JoinSet<()>) -> Option<usize> {
        for name in &next.told {
            self.begin(name.clone(), under_way).await;
        }
        if !next.all {
            return Some(next.told.len());
        }
        for name in self.receipts.unfinished() {
            self.begin(name, under_way).await;
        }
        if self.source == BlobSource::EventGrid {
            return Some(0);
        }
        match self.look(under_way).await {
            Ok(count) => Some(count),
            Err(client::Error::NotFound { .. }) if self.connection.service.is_some() => {
                // Tools show it then, and blobs can be put into it.
                let made = self.blobs.create_container(&self.container).await;
                made.is_ok().then_some(0)
            }
            Err(client::Error::NotFound { .. }) => Some(0),
            Err(error) => {
                tracing::warn!(target: "Host.Triggers.Blob", container = %self.container, %error, "blobs cannot be listed; it is tried again");
                None
            }
        }
    }

    /// Goes through all blobs of the container.
    async fn look(self: &Arc<Self>, under_way: &mut JoinSet<()>) -> Result<usize, client::Error> {
        let mut what = ListBlobs::default();
        let (mut count, mut names) = (0, HashSet::new());
        loop {
            let page = self.blobs.list(&self.container, &what).await?;
            for blob in page.blobs {
                if self.parts(&blob.name).is_some() {
                    if self.receipts.wants(&blob.name, &blob.properties.etag) {
                        count += 1;
                        self.begin(blob.name.clone(), under_way).await;
                    }
                    names.insert(blob.name);
                }
            }
            what.marker = page.next;
            if what.marker.is_none() {
                self.receipts.keep_only(&names);
                return Ok(count);
            }
        }
    }

    /// Waits until there is something to do again.
    async fn rest(
        &self,
        found: Option<usize>,
        look: Duration,
        hints: &mut mpsc::UnboundedReceiver<String>,
    ) -> (Next, Duration) {
        let lists = self.source == BlobSource::Scan && self.connection.service.is_none();
        let (pause, longer) = match found {
            Some(0) if lists => (look, (look * 2).min(LOOK_MAX)),
            Some(_) if lists => (LOOK_MIN, LOOK_MIN),
            // Nothing else will tell what was missed.
            None => (TROUBLE, look),
            Some(_) => (Duration::MAX, look),
        };
        let mut names = Vec::new();
        match tokio::time::timeout(pause, hints.recv_many(&mut names, 1000)).await {
            Ok(1..) => (Next { told: names, all: false }, longer),
            // Nobody tells, or nobody did.
            ended => {
                if ended.is_ok() {
                    tokio::time::sleep(pause).await;
                }
                (Next { told: names, all: true }, longer)
            }
        }
    }

    /// The parts of a blob's name, if it is one of ours.
    fn parts(&self, name: &str) -> Option<Map<String, Value>> {
        self.matcher.find(&format!("{}/{name}", self.container))
    }

    /// Works on a blob beside the others, once there is room.
    async fn begin(self: &Arc<Self>, name: String, under_way: &mut JoinSet<()>) {
        let Some(parts) = self.parts(&name) else { return };
        while under_way.try_join_next().is_some() {}
        while under_way.len() >= self.site.config.blobs.max_degree_of_parallelism {
            under_way.join_next().await;
        }
        under_way.spawn(Arc::clone(self).work(name, parts));
    }

    /// Works on a blob until its newest version is done with.
    async fn work(self: Arc<Self>, name: String, parts: Map<String, Value>) {
        loop {
            if self.site.is_paused() {
                return self.leave(&name).await;
            }
            let read = self.blobs.get(&self.container, &name).await;
            let (properties, content) = match read {
                Ok(read) => read,
                Err(client::Error::NotFound { .. }) => return self.receipts.forget(&name),
                Err(error) => {
                    tracing::warn!(target: "Host.Triggers.Blob", container = %self.container, blob = %name, %error, "a blob cannot be read; it is tried again");
                    tokio::time::sleep(TROUBLE).await;
                    continue;
                }
            };
            match self.attempt(&name, &parts, &properties, content).await {
                Ok(Ended::Done) => return,
                Ok(Ended::Failed) => {
                    tokio::time::sleep(self.site.config.queues.visibility_timeout).await;
                }
                Err(error) => {
                    tracing::error!(target: "Host.Triggers.Blob", container = %self.container, blob = %name, %error, "what happened to a blob cannot be written down; it is tried again");
                    tokio::time::sleep(TROUBLE).await;
                }
            }
        }
    }

    /// Leaves a blob for later. No list will tell of it where Event Grid is to.
    async fn leave(&self, name: &str) {
        if self.source == BlobSource::EventGrid
            && let Err(error) = self.keep(name, "", Receipts::note).await
        {
            tracing::error!(target: "Host.Triggers.Blob", container = %self.container, blob = %name, %error, "a blob cannot be noted for later");
        }
    }

    /// One run for a version of a blob.
    async fn attempt(
        &self,
        name: &str,
        parts: &Map<String, Value>,
        properties: &BlobProperties,
        content: Bytes,
    ) -> io::Result<Ended> {
        let etag = &properties.etag;
        let Claim::Begun(times) = self.keep(name, etag, Receipts::begin).await? else {
            return Ok(Ended::Done);
        };
        let most = self.site.config.blobs.poison_blob_threshold;
        // One more than is allowed was begun by a process that died of it.
        let is_done = times <= most && {
            let call = |retries| self.call(name, parts, properties, content.clone(), retries);
            retry::run(&self.site, &self.bound, call).await.is_ok()
        };
        if !is_done && times < most {
            self.receipts.release(name, etag);
            return Ok(Ended::Failed);
        }
        if !is_done && let Err(error) = self.give_up(name, etag, most).await {
            self.receipts.release(name, etag);
            return Err(io::Error::other(error));
        }
        self.keep(name, etag, Receipts::end).await?;
        Ok(Ended::Done)
    }

    async fn keep<T: Send + 'static>(
        &self,
        name: &str,
        etag: &str,
        step: fn(&Receipts, &str, &str) -> io::Result<T>,
    ) -> io::Result<T> {
        let (receipts, name) = (Arc::clone(&self.receipts), name.to_owned());
        let etag = etag.to_owned();
        on_disk(move || step(&receipts, &name, &etag)).await
    }

    fn call(
        &self,
        name: &str,
        parts: &Map<String, Value>,
        properties: &BlobProperties,
        content: Bytes,
        retries: u32,
    ) -> Call {
        let path = format!("{}/{name}", self.container);
        let reason = format!("New blob detected(LogsAndContainerScan): {path}");
        let mut data = parts.clone();
        data.extend(data_of(&self.connection, &self.container, name, properties));
        Call {
            data,
            inputs: front::durable_clients(&self.site, &self.bound),
            retries,
            ..Call::new(&self.bound.name.as_str().into(), Trigger::Blob(content), reason)
        }
    }

    /// Tells of a blob that fails again and again.
    async fn give_up(&self, name: &str, etag: &str, most: u32) -> Result<(), storage::Error> {
        tracing::error!(
            target: "Host.Triggers.Blob",
            container = %self.container, blob = %name,
            "the blob failed {most} times; a message in the queue `{POISON}` tells of it"
        );
        let message = json!({
            "Type": "BlobTrigger",
            "FunctionId": format!("Host.Functions.{}", self.bound.name),
            "BlobType": "BlockBlob",
            "ContainerName": self.container,
            "BlobName": name,
            "ETag": etag,
        });
        let encoding = queue::encoding(self.site.config.queues.message_encoding);
        let text = encoding.encode(&message.to_string());
        self.connection.send(POISON, &text).await.map(drop)
    }
}

/// What is looked at next: blobs that somebody told of, and perhaps all there are.
struct Next {
    told: Vec<String>,
    all: bool,
}

/// How a run for a blob ended.
enum Ended {
    /// This version needs nothing more.
    Done,
    /// It is to be run again.
    Failed,
}

/// What is known of a blob, as the original names it.
pub(crate) fn data_of(
    connection: &Connection,
    container: &str,
    name: &str,
    properties: &BlobProperties,
) -> Map<String, Value> {
    let known = json!({
        "BlobTrigger": format!("{container}/{name}"),
        "Uri": connection.uri(container, name),
        "Properties": {
            "LastModified": queue::time(properties.modified),
            "ContentLength": properties.length,
            "ContentType": properties.content_type,
            "ETag": properties.etag,
        },
        "Metadata": properties.metadata,
    });
    match known {
        Value::Object(known) => known,
        _ => Map::new(),
    }
}

/// Does something that waits for the disk.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
}
