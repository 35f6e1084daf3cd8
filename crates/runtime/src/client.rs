//! What clients of a host can do. Values are bytes here; the SDK puts types on top.

pub(crate) mod bulk;
mod watch;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use everstep_engine::{Instance, Rare};
use everstep_model::{
    Archive, Event, ExecutionId, Failure, Guid, IdError, Iid, InstanceId, Kind, Operation,
    PartitionId, PayloadRef, ReusePolicy, Start, Status, Tags, Timestamp, TraceContext, Value,
    stored,
};
use everstep_store::{Cursor, Error as StoreError, Filter, Order, Page, Row, Store, Tables};

pub use bulk::Bulk;
use bulk::PAGE;
pub use watch::Watch;

use crate::{
    dispatcher::Place,
    host::{Asked, Shared, folded_history},
    partition::{Existing, Imported, LARGE_REMEDY, Request, Response, Unfolded},
    why::{ActivityState, Facts, Reason},
};

/// How often an instance is read again that changes meanwhile.
const ARCHIVE_TRIES: u32 = 8;

/// Why a client's request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has too much to do, is stopping, or its disk is full. Ask again in a moment.
    #[error("the host is busy, stopping, or its disk is full; ask again in a moment")]
    Busy,
    /// The disk is nearly full: what runs goes on, and nothing new is begun.
    #[error(
        "the disk is nearly full, so nothing new is started; free some space, or purge what has ended"
    )]
    LowSpace,
    /// The host only reads.
    #[error("the hub is open for reading only; start a host on it, then ask again")]
    ReadOnly,
    /// There is no such instance.
    #[error("there is no instance `{0}`; was it purged, or is the id mistyped?")]
    NotFound(InstanceId),
    /// The id is taken.
    #[error(
        "instance `{id}` already exists and is {status}; choose another id, wait for its end, or allow its replacement"
    )]
    AlreadyExists {
        /// Which.
        id: InstanceId,
        /// Where it stands.
        status: Status,
    },
    /// The request does not fit where the instance stands.
    #[error("instance `{id}` is {status}, so it cannot be {verb}")]
    WrongStatus {
        /// Which.
        id: InstanceId,
        /// Where it stands.
        status: Status,
        /// What was asked, as a participle.
        verb: &'static str,
    },
    /// The id is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A value is longer than the hub allows.
    #[error(
        "the input has {bytes} bytes, more than the hub allows for one value ({limit}); {LARGE_REMEDY}"
    )]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The wait was over before the instance.
    #[error("instance `{id}` did not end within {time:?}; it goes on, ask `why` what it waits for")]
    Timeout {
        /// Which.
        id: InstanceId,
        /// How long was waited.
        time: Duration,
    },
}

/// A handle for clients; cheap to clone.
#[derive(Clone)]
pub struct Client {
    backend: Arc<dyn Backend>,
    /// Partitions of the hub.
    count: u16,
    /// How many bytes one value may have.
    value_bytes: usize,
    /// How many bytes one turn may have.
    commit_bytes: usize,
}

/// What a start says besides name and input.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The id; one is made if not given.
    pub id: Option<InstanceId>,
    /// The orchestration's version.
    pub version: String,
    /// For queries.
    pub tags: Tags,
    /// No turn before this time.
    pub scheduled: Option<Timestamp>,
    /// What may be replaced.
    pub reuse: ReusePolicy,
    /// Of the request.
    pub trace: Option<TraceContext>,
}

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Its id.
    pub id: InstanceId,
    /// The public name of its execution.
    pub execution_id: ExecutionId,
    /// Its function.
    pub name: String,
    /// Its version, empty if none.
    pub version: String,
    /// Where it stands.
    pub status: Status,
    /// When it was first started.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Who started it.
    pub parent: Option<InstanceId>,
    /// Given by its starter.
    pub tags: Tags,
    /// What it was started with; stored apart if long and the view comes from a list.
    pub input: Option<Value>,
    /// What it returned, or an entity's state.
    pub output: Option<Value>,
    /// What it last said of itself.
    pub custom_status: Option<Value>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// How an instance's event is named and keyed.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The event's name.
    pub name: String,
    /// What it carries.
    pub input: Value,
    /// Counts once per instance; empty for none.
    pub key: String,
}

/// A request to an entity that nobody waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal<'a> {
    /// What to do.
    pub operation: &'a str,
    /// What it gets.
    pub input: Value,
    /// Counts once per entity; empty for none.
    pub key: &'a str,
    /// Of the request.
    pub trace: Option<TraceContext>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A host without the type of its store. It may have ended: a client does not keep its store open.
trait Backend: Send + Sync {
    fn ask(&self, partition: PartitionId, request: Request) -> Answer<'static, Response>;
    fn find(&self, id: InstanceId) -> Answer<'static, Result<Option<Row>, StoreError>>;
    fn list(
        &self,
        filter: Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Answer<'static, Result<Page, StoreError>>;
    fn count(
        &self,
        filter: Filter,
        hidden: Vec<Iid>,
        within: Duration,
    ) -> Answer<'static, Result<(u64, bool), StoreError>>;
    fn history(&self, iid: Iid, execution: u32) -> Answer<'static, Result<Vec<Event>, StoreError>>;
    fn payload(&self, payload: PayloadRef) -> Answer<'static, Result<Value, StoreError>>;
    /// A copy of an instance that has ended, or what is to be said when an answer is kept as one.
    fn copy(&self, id: &InstanceId) -> Result<Arc<Row>, Option<Asked>>;
    fn keep_copy(&self, asked: Asked, row: &Row);
    fn place(&self, key: crate::dispatcher::Key) -> Place;
    fn any_partition(&self) -> PartitionId;
    /// Why no instance goes on, and since when.
    fn rests(&self) -> Option<(Reason, Timestamp)>;
    fn release(&self);
}

impl<S: Store> Backend for Weak<Shared<S>> {
    fn release(&self) {
        self.upgrade().iter().for_each(Shared::release_held);
    }

    fn ask(&self, partition: PartitionId, request: Request) -> Answer<'static, Response> {
        match self.upgrade() {
            Some(shared) => Box::pin(async move { shared.ask(partition, request).await }),
            None => Box::pin(std::future::ready(Response::Busy)),
        }
    }

    fn find(&self, id: InstanceId) -> Answer<'static, Result<Option<Row>, StoreError>> {
        read(self, move |tables| Ok(tables.find(&[id])?.pop().flatten()))
    }

    fn list(
        &self,
        filter: Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Answer<'static, Result<Page, StoreError>> {
        read(self, move |tables| tables.list(&filter, order, after, limit))
    }

    fn count(
        &self,
        filter: Filter,
        hidden: Vec<Iid>,
        within: Duration,
    ) -> Answer<'static, Result<(u64, bool), StoreError>> {
        read(self, move |tables| count_folded(tables, &filter, &hidden, within))
    }

    fn history(&self, iid: Iid, execution: u32) -> Answer<'static, Result<Vec<Event>, StoreError>> {
        read(self, move |tables| folded_history(tables, iid, execution))
    }

    fn payload(&self, payload: PayloadRef) -> Answer<'static, Result<Value, StoreError>> {
        read(self, move |tables| tables.payload(&payload).map(Value::from))
    }

    fn copy(&self, id: &InstanceId) -> Result<Arc<Row>, Option<Asked>> {
        let shared = self.upgrade().filter(|shared| !shared.has_ended()).ok_or(None)?;
        shared.copies.find(id).map_err(Some)
    }

    fn keep_copy(&self, asked: Asked, row: &Row) {
        if let Some(shared) = self.upgrade() {
            shared.copies.keep(asked, row);
        }
    }

    fn place(&self, key: crate::dispatcher::Key) -> Place {
        self.upgrade().map_or(Place::Unknown, |shared| shared.place_of(key))
    }

    fn any_partition(&self) -> PartitionId {
        self.upgrade().map_or(PartitionId(0), |shared| shared.next_partition())
    }

    fn rests(&self) -> Option<(Reason, Timestamp)> {
        self.upgrade()?.rests()
    }
}

/// Reads the tables on a thread that may block.
fn read<S: Store, T: Send + 'static>(
    shared: &Weak<Shared<S>>,
    read: impl FnOnce(&S::Tables) -> Result<T, StoreError> + Send + 'static,
) -> Answer<'static, Result<T, StoreError>> {
    let Some(shared) = shared.upgrade() else {
        let error =
            StoreError::Unavailable { doing: "reading", source: "the host has stopped".into() };
        return Box::pin(std::future::ready(Err(error)));
    };
    let done = shared.runtime().clone().spawn_blocking(move || read(shared.store.tables()));
    Box::pin(async move { done.await.expect("a read of the tables does not panic") })
}

/// How many rows match that the overlay does not answer for, and whether the count was finished in time. A fold that
/// comes in between would make the two reads disagree, so the count begins again then.
fn count_folded<T: Tables + ?Sized>(
    tables: &T,
    filter: &Filter,
    hidden: &[Iid],
    within: Duration,
) -> Result<(u64, bool), StoreError> {
    let began = Instant::now();
    let left = || within.saturating_sub(began.elapsed());
    loop {
        let before = tables.applied()?;
        let (mut count, mut exact) = tables.count(filter, left())?;
        for iid in hidden {
            if left().is_zero() {
                exact = false;
                break;
            }
            if tables.row(*iid)?.is_some_and(|row| filter.matches(&row)) {
                count = count.saturating_sub(1);
            }
        }
        let still = tables.applied()? == before;
        if still || !exact || left().is_zero() {
            return Ok((count, exact && still));
        }
    }
}

impl Client {
    pub(crate) fn new<S: Store>(shared: &Arc<Shared<S>>) -> Self {
        Self {
            backend: Arc::new(Arc::downgrade(shared)),
            count: shared.count,
            value_bytes: shared.options.partition.limits.value_bytes,
            commit_bytes: shared.options.partition.limits.commit_bytes,
        }
    }

    /// A value that a client sends, unless it is too large.
    fn measure(&self, value: &Value) -> Result<(), Error> {
        let (bytes, limit) = (value.len(), self.value_bytes);
        if bytes <= limit { Ok(()) } else { Err(Error::TooLarge { bytes, limit }) }
    }

    async fn ask(&self, id: &InstanceId, request: Request) -> Result<Response, Error> {
        match self.ask_partition(id.partition(self.count), request).await? {
            Response::NotFound => Err(Error::NotFound(id.clone())),
            response => Ok(response),
        }
    }

    async fn ask_partition(
        &self,
        partition: PartitionId,
        request: Request,
    ) -> Result<Response, Error> {
        match self.backend.ask(partition, request).await {
            Response::Busy => Err(Error::Busy),
            Response::LowSpace => Err(Error::LowSpace),
            Response::ReadOnly => Err(Error::ReadOnly),
            response => Ok(response),
        }
    }

    /// Asks for a change of one instance; `verb` is what the error says was not possible.
    async fn tell(
        &self,
        id: &InstanceId,
        request: Request,
        verb: &'static str,
    ) -> Result<(), Error> {
        match self.ask(id, request).await? {
            Response::WrongStatus(status) => {
                Err(Error::WrongStatus { id: id.clone(), status, verb })
            }
            _ => Ok(()),
        }
    }

    /// Starts an orchestration. When this returns, the start is durable.
    pub async fn start(
        &self,
        name: &str,
        input: Value,
        options: StartOptions,
    ) -> Result<InstanceId, Error> {
        self.measure(&input)?;
        let StartOptions { id, version, tags, scheduled, reuse, trace } = options;
        let start = Start {
            name: name.to_owned(),
            version,
            input,
            execution_id: None,
            parent: None,
            tags,
            scheduled,
            trace,
            reuse,
        };
        let partition =
            id.as_ref().map_or_else(|| self.backend.any_partition(), |id| id.partition(self.count));
        match self.ask_partition(partition, Request::Start(id.clone(), Box::new(start))).await? {
            Response::Started(id, _) => Ok(id),
            Response::AlreadyExists(status) => {
                Err(Error::AlreadyExists { id: id.expect("a made id is not taken"), status })
            }
            _ => Err(Error::Busy),
        }
    }

    /// Starts a new run of an instance with the name and input it was started with: under its own id (which must have
    /// ended), or under a made one.
    pub async fn restart(&self, id: &InstanceId, with_new_id: bool) -> Result<InstanceId, Error> {
        let view = self.get(id).await?;
        let options = StartOptions {
            id: (!with_new_id).then(|| id.clone()),
            version: view.version,
            tags: view.tags,
            ..StartOptions::default()
        };
        self.start(&view.name, view.input.unwrap_or_else(Value::empty), options).await
    }

    /// What is known of an instance, with values that are stored apart.
    pub async fn get(&self, id: &InstanceId) -> Result<View, Error> {
        let asked = match self.backend.copy(id) {
            Ok(row) => return Ok(View::from_row(Row::clone(&row))),
            Err(asked) => asked,
        };
        let row = match self.ask(id, Request::Get(id.clone())).await? {
            Response::Instance(instance) if instance.status.is_terminal() => {
                Some(crate::row::shown(&instance))
            }
            Response::Instance(instance) => return self.with_values(View::of(*instance)).await,
            _ => self.backend.find(id.clone()).await?,
        };
        let row = row.ok_or_else(|| Error::NotFound(id.clone()))?;
        if let Some(asked) = asked {
            self.backend.keep_copy(asked, &row);
        }
        self.with_values(View::from_row(row)).await
    }

    /// Waits until an instance has ended.
    pub async fn wait(&self, id: &InstanceId) -> Result<View, Error> {
        match self.ask(id, Request::Wait(id.clone())).await {
            Ok(Response::Instance(instance)) => self.with_values(View::of(*instance)).await,
            Ok(_) => self.get(id).await,
            // Nothing will end that has not ended.
            Err(Error::ReadOnly) => match self.get(id).await? {
                view if view.status.is_terminal() => Ok(view),
                _ => Err(Error::ReadOnly),
            },
            Err(error) => Err(error),
        }
    }

    /// The same, but not longer than `time`.
    pub async fn wait_for(&self, id: &InstanceId, time: Duration) -> Result<View, Error> {
        let waited = tokio::time::timeout(time, self.wait(id)).await;
        waited.unwrap_or_else(|_| Err(Error::Timeout { id: id.clone(), time }))
    }

    async fn with_values(&self, mut view: View) -> Result<View, Error> {
        for value in
            [&mut view.input, &mut view.output, &mut view.custom_status].into_iter().flatten()
        {
            if let Value::Ref(payload) = value {
                *value = self.payload(*payload).await?;
            }
        }
        Ok(view)
    }

    /// The bytes of a payload: from memory while it is not folded, else from the tables.
    async fn payload(&self, payload: PayloadRef) -> Result<Value, Error> {
        match self.backend.ask(payload.iid.partition(), Request::Payload(payload)).await {
            Response::Payload(bytes) => Ok(bytes.into()),
            _ => Ok(self.backend.payload(payload).await?),
        }
    }

    /// The history of an instance's present execution, with all values.
    pub async fn history(&self, id: &InstanceId) -> Result<Vec<Event>, Error> {
        let (iid, execution, first, fresh) = match self
            .ask(id, Request::History(id.clone()))
            .await?
        {
            Response::History { iid, execution, first, events } => (iid, execution, first, events),
            _ => match self.backend.find(id.clone()).await? {
                Some(row) => (row.iid, row.execution, u32::MAX, Vec::new()),
                None => return Err(Error::NotFound(id.clone())),
            },
        };
        if first == 0 {
            return Ok(fresh);
        }
        // A fold in between may have moved unfolded events into the tables: each index counts once.
        let mut events = self.backend.history(iid, execution).await?;
        let skip = events.len().saturating_sub(first as usize);
        events.extend(fresh.into_iter().skip(skip));
        Ok(events)
    }

    /// An instance with its history, to be put back elsewhere; `None` while it runs.
    pub async fn archive(&self, id: &InstanceId) -> Result<Option<Archive>, Error> {
        let is_entity = id.kind() == Kind::Entity;
        for _ in 0..ARCHIVE_TRIES {
            let row = self.row(id).await?;
            if !is_entity && !row.status.is_terminal() {
                return Ok(None);
            }
            let events = if is_entity { Vec::new() } else { self.history(id).await? };
            let is_of_row = |event: &Event| matches!(event, Event::Started(started) if started.execution_id == row.execution_id);
            // Another execution may have begun between the two reads.
            if !is_entity && !events.first().is_some_and(is_of_row) {
                continue;
            }
            return Ok(Some(Archive {
                id: row.id,
                execution: row.execution,
                execution_id: row.execution_id,
                created: row.created,
                updated: row.updated,
                completed: row.completed,
                custom_status: self.whole(row.custom_status).await?,
                state: if is_entity { self.whole(row.output).await? } else { None },
                events,
            }));
        }
        Err(Error::Busy)
    }

    /// Puts back what [`Client::archive`] took out of a hub. When this returns, it is durable.
    pub async fn import(&self, archive: Archive, existing: Existing) -> Result<Imported, Error> {
        if let Err(error) = InstanceId::parse(archive.id.as_str()) {
            return Ok(Imported::Refused(error.to_string()));
        }
        let mut bytes = Vec::new();
        stored::encode(&mut bytes, &archive);
        if bytes.len() > self.commit_bytes {
            return Ok(Imported::Refused(format!(
                "it has {} bytes, more than the hub writes at once ({})",
                bytes.len(),
                self.commit_bytes
            )));
        }
        let id = archive.id.clone();
        match self.ask(&id, Request::Import(Box::new(archive), existing)).await? {
            Response::Imported(imported) => Ok(imported),
            _ => Err(Error::Busy),
        }
    }

    async fn row(&self, id: &InstanceId) -> Result<Row, Error> {
        match self.ask(id, Request::Get(id.clone())).await? {
            Response::Instance(instance) => Ok(crate::row::shown(&instance)),
            _ => self.backend.find(id.clone()).await?.ok_or_else(|| Error::NotFound(id.clone())),
        }
    }

    async fn whole(&self, value: Option<Value>) -> Result<Option<Value>, Error> {
        match value {
            Some(Value::Ref(payload)) => Ok(Some(self.payload(payload).await?)),
            value => Ok(value),
        }
    }

    /// Why an instance does not go on.
    pub async fn why(&self, id: &InstanceId) -> Result<Facts, Error> {
        let Response::Why(mut facts) = self.ask(id, Request::Why(id.clone())).await? else {
            return Err(Error::NotFound(id.clone()));
        };
        if facts.lacks_names() {
            facts.learn_names(&self.backend.history(facts.iid, facts.execution).await?);
        }
        for (reason, _) in &mut facts.reasons {
            if let Reason::Activity { task, state, .. } = reason
                && *state == ActivityState::Underway
            {
                *state = match self.backend.place((facts.iid, facts.execution, *task)) {
                    Place::Queued => ActivityState::Queued,
                    Place::Running => ActivityState::Running,
                    Place::Unknown => ActivityState::Underway,
                };
            }
        }
        if let Some((reason, since)) = self.backend.rests() {
            facts.rest(reason, since);
        }
        Ok(*facts)
    }

    /// Raises an event. It waits for the orchestration if the orchestration does not wait for it.
    pub async fn raise(&self, id: &InstanceId, event: Raised) -> Result<(), Error> {
        let Raised { name, input, key } = event;
        self.measure(&input)?;
        self.tell(id, Request::Raise { instance: id.clone(), name, input, key }, "sent an event")
            .await
    }

    /// Signals an entity, which comes into being if it does not exist.
    pub async fn signal(
        &self,
        entity: &InstanceId,
        operation: &str,
        input: Value,
        key: &str,
    ) -> Result<(), Error> {
        self.signal_with(entity, Signal { operation, input, key, trace: None }).await
    }

    /// The same with all that a signal may say.
    pub async fn signal_with(&self, entity: &InstanceId, signal: Signal<'_>) -> Result<(), Error> {
        let Signal { operation, input, key, trace } = signal;
        self.measure(&input)?;
        let operation = Operation {
            id: Guid::v5(Guid([0; 16]), key),
            name: operation.to_owned(),
            input,
            caller: None,
            sender: None,
            due: None,
            key: key.to_owned(),
            trace,
        };
        self.tell(entity, Request::Signal(entity.clone(), Box::new(operation)), "signaled").await
    }

    /// The state of an entity; `None` if it has none.
    pub async fn entity_state(&self, entity: &InstanceId) -> Result<Option<Value>, Error> {
        match self.get(entity).await {
            Ok(view) => Ok(view.output),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Holds an instance until it is resumed.
    pub async fn suspend(&self, id: &InstanceId, reason: &str) -> Result<(), Error> {
        self.tell(id, Request::Suspend(id.clone(), reason.to_owned()), "suspended").await
    }

    /// Lets a suspended instance go on.
    pub async fn resume(&self, id: &InstanceId, reason: &str) -> Result<(), Error> {
        self.tell(id, Request::Resume(id.clone(), reason.to_owned()), "resumed").await
    }

    /// Ends an instance, and its children with it unless `recursive` is false.
    pub async fn terminate(
        &self,
        id: &InstanceId,
        reason: &str,
        recursive: bool,
    ) -> Result<(), Error> {
        self.tell(id, Request::Terminate(id.clone(), reason.to_owned(), recursive), "terminated")
            .await
    }

    /// Runs the failed part of a failed instance again.
    pub async fn rewind(&self, id: &InstanceId, reason: &str) -> Result<(), Error> {
        self.tell(id, Request::Rewind(id.clone(), reason.to_owned()), "rewound").await
    }

    /// Tries a parked instance again with the code at hand.
    pub async fn unpark(&self, id: &InstanceId) -> Result<(), Error> {
        self.tell(id, Request::Unpark(id.clone()), "tried again").await
    }

    /// Removes an instance that has ended.
    pub async fn purge(&self, id: &InstanceId) -> Result<(), Error> {
        self.tell(id, Request::Purge(id.clone(), false), "purged; terminate it first").await
    }

    /// Removes an instance with all its descendants; returns how many were removed.
    pub async fn purge_recursive(&self, id: &InstanceId) -> Result<u64, Error> {
        let mut tree = vec![id.clone()];
        let mut next = 0;
        while let Some(parent) = tree.get(next).cloned() {
            next += 1;
            let filter = Filter { parent: Some(parent), ..Filter::default() };
            let mut after = None;
            loop {
                let page = self.list(&filter, Order::OldestFirst, after, PAGE).await?;
                tree.extend(page.rows.into_iter().map(|view| view.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        // Children first, so that a purge that is cut short leaves no orphans behind a missing parent.
        let mut count = 0;
        for id in tree.iter().rev() {
            match self.purge(id).await {
                Ok(()) => count += 1,
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// A page of instances.
    pub async fn list(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Listed, Error> {
        let (rows, next) = self.rows(filter, order, after, limit).await?;
        Ok(Listed { rows: rows.into_iter().map(View::from_row).collect(), next })
    }

    /// The overlay is asked first and wins by number; the tables answer for the rest.
    async fn rows(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Row>, Option<Cursor>), Error> {
        let mut rows = Vec::new();
        let mut hidden = std::collections::HashSet::new();
        for partition in (0..self.count).map(PartitionId) {
            let request = Request::Overlay(Box::new(filter.clone()), order, after, limit + 1);
            let Response::Overlay(found, numbers) = self.ask_partition(partition, request).await?
            else {
                return Err(Error::Busy);
            };
            rows.extend(found);
            hidden.extend(numbers);
        }
        let (mut cursor, mut folded) = (after, 0);
        while folded <= limit {
            let page = self.backend.list(filter.clone(), order, cursor, limit + 1 - folded).await?;
            cursor = page.next;
            let before = rows.len();
            rows.extend(page.rows.into_iter().filter(|row| !hidden.contains(&row.iid)));
            folded += rows.len() - before;
            if cursor.is_none() {
                break;
            }
        }
        order.sort(&mut rows);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next =
            rows.last().filter(|_| more).map(|row| Cursor { created: row.created, iid: row.iid });
        Ok((rows, next))
    }

    /// How many instances there are, by kind, name and status: exact.
    pub async fn counts(&self) -> Result<Vec<(Kind, String, Status, u64)>, Error> {
        let mut sums = std::collections::BTreeMap::new();
        for partition in (0..self.count).map(PartitionId) {
            let Response::Counts(counts) = self.ask_partition(partition, Request::Counts).await?
            else {
                return Err(Error::Busy);
            };
            counts.into_iter().for_each(|(kind, name, status, count)| {
                *sums.entry((kind, name, status)).or_default() += count;
            });
        }
        Ok(sums
            .into_iter()
            .map(|((kind, name, status), count)| (kind, name, status, count))
            .collect())
    }

    /// How many instances match, and whether that is exact. By kind, name and status it is always; for any other filter
    /// the tables are searched, not longer than `within`.
    pub async fn count(&self, filter: &Filter, within: Duration) -> Result<(u64, bool), Error> {
        if is_counted(filter) {
            let matches = |(kind, name, status): (&Kind, &String, &Status)| {
                filter.kind.is_none_or(|wanted| *kind == wanted)
                    && filter.name.as_ref().is_none_or(|wanted| name.eq_ignore_ascii_case(wanted))
                    && (filter.statuses.is_empty() || filter.statuses.contains(status))
            };
            let counts = self.counts().await?;
            let counts =
                counts.iter().filter(|(kind, name, status, _)| matches((kind, name, status)));
            return Ok((counts.map(|(.., count)| count).sum(), true));
        }
        let (mut unfolded, mut hidden) = (0, Vec::new());
        for partition in (0..self.count).map(PartitionId) {
            let request = Request::CountOverlay(Box::new(filter.clone()));
            let Response::OverlayCount(count, numbers) = self.backend.ask(partition, request).await
            else {
                return Err(Error::Busy);
            };
            unfolded += count;
            hidden.extend(numbers);
        }
        let (folded, exact) = self.backend.count(filter.clone(), hidden, within).await?;
        Ok((unfolded + folded, exact))
    }

    /// All durable changes that the tables do not have yet, for those who read the tables themselves. Taken before the
    /// tables are read, it tells all that they may lack.
    pub async fn unfolded(&self) -> Result<Unfolded, Error> {
        let mut all = Unfolded::default();
        for partition in (0..self.count).map(PartitionId) {
            let Response::Unfolded(found) =
                self.ask_partition(partition, Request::Unfolded).await?
            else {
                return Err(Error::Busy);
            };
            all.rows.extend(found.rows);
            all.purged.extend(found.purged);
        }
        Ok(all)
    }

    /// Removes every tree of orchestrations whose root ended before a time; returns how many instances went. A child
    /// goes with its root, or by its own age once its parent is gone.
    pub async fn purge_ended_before(&self, time: Timestamp) -> Result<u64, Error> {
        let ended: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_terminal()).collect();
        self.purge_ended_so(&ended, time).await
    }

    /// The same for roots that ended in one of these ways.
    pub async fn purge_ended_so(&self, statuses: &[Status], time: Timestamp) -> Result<u64, Error> {
        let filter = Filter {
            kind: Some(Kind::Orchestration),
            statuses: statuses.iter().copied().filter(|status| status.is_terminal()).collect(),
            completed_to: Some(time),
            ..Filter::default()
        };
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.list(&filter, Order::OldestFirst, after, PAGE).await?;
            for view in page.rows {
                let held = match &view.parent {
                    Some(parent) => !matches!(self.get(parent).await, Err(Error::NotFound(_))),
                    None => false,
                };
                if !held {
                    count += self.purge_recursive(&view.id).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Lets a held host begin to work, as [`Host::release`](crate::Host::release) does.
    pub fn release(&self) {
        self.backend.release();
    }

    /// Removes entities that hold nothing; returns how many.
    pub async fn clean_entities(&self) -> Result<u64, Error> {
        let filter = Filter { kind: Some(Kind::Entity), ..Filter::default() };
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.list(&filter, Order::OldestFirst, after, PAGE).await?;
            for view in page.rows.iter().filter(|view| view.output.is_none()) {
                let purged = self.ask(&view.id, Request::PurgeEmpty(view.id.clone())).await;
                count += u64::from(matches!(purged, Ok(Response::Purged(1))));
            }
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }
}

/// Whether a filter asks for nothing but what the counters tell.
fn is_counted(filter: &Filter) -> bool {
    let counted = Filter {
        kind: filter.kind,
        name: filter.name.clone(),
        statuses: filter.statuses.clone(),
        ..Filter::default()
    };
    *filter == counted
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// In order.
    pub rows: Vec<View>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<Cursor>,
}

impl View {
    fn of(instance: Instance) -> Self {
        let is_entity = instance.id.kind() == Kind::Entity;
        let rare = Rare::from(instance.rare);
        Self {
            id: instance.id,
            execution_id: instance.execution_id,
            name: instance.name,
            version: rare.version,
            status: instance.status,
            created: instance.created,
            updated: instance.updated,
            completed: instance.completed,
            parent: rare.parent.map(|parent| parent.instance),
            tags: rare.tags,
            input: (!is_entity).then_some(instance.input),
            output: if is_entity { rare.state } else { instance.output },
            custom_status: rare.custom_status,
            failure: rare.failure,
        }
    }

    fn from_row(row: Row) -> Self {
        Self {
            id: row.id,
            execution_id: row.execution_id,
            name: row.name,
            version: row.version,
            status: row.status,
            created: row.created,
            updated: row.updated,
            completed: row.completed,
            parent: row.parent,
            tags: row.tags,
            input: row.input,
            output: row.output,
            custom_status: row.custom_status,
            failure: row.failure,
        }
    }
}
