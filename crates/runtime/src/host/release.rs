//! Effects: what happens in the world once a group is durable.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use everstep_model::{Failure, GroupNo, InstanceId, Outcome, PartitionId, Value, kinds};
use everstep_store::{Error as StoreError, Observer, Store, Tables};
use everstep_worker::{BoxFuture, EntityBatch, EntityReply};

use super::{
    Shared, lock,
    running::{CrossOut, Place},
};
use crate::{
    dispatcher,
    partition::{Dispatch, Effect, Input},
};

/// Hears of durability on the store's writer thread.
pub(super) struct Releaser<S: Store>(pub(super) Mutex<Weak<Shared<S>>>);

impl<S: Store> Releaser<S> {
    /// Hears no more. The store's thread uses the host only within this lock, so it never drops the last handle: it
    /// would wait for itself.
    pub(super) fn close(&self) {
        *lock(&self.0) = Weak::new();
    }
}

impl<S: Store> Observer for Releaser<S> {
    fn durable(&self, partition: PartitionId, group: GroupNo) {
        let host = lock(&self.0);
        if let Some(shared) = host.upgrade() {
            shared.release(partition, group);
        }
    }

    fn disk_full(&self, full: bool) {
        let host = lock(&self.0);
        if let Some(shared) = host.upgrade() {
            shared.disk_full.store(full, Ordering::Relaxed);
            if full {
                tracing::error!(
                    "the disk is full: nothing is lost, and everything goes on by itself when there is space"
                );
            } else {
                tracing::info!("there is space on the disk again");
            }
        }
    }

    fn failed(&self, error: StoreError) {
        tracing::error!(%error, "the store failed; the process ends");
        std::process::abort();
    }
}

impl<S: Store> Shared<S> {
    fn release(self: &Arc<Self>, partition: PartitionId, group: GroupNo) {
        let mut activities = false;
        loop {
            let effects = {
                let mut queue = lock(&self.effects[usize::from(partition.0)]);
                match queue.front() {
                    Some((number, _)) if *number <= group => {
                        queue.pop_front().map(|(_, effects)| effects)
                    }
                    Some(_) | None => None,
                }
            };
            let Some(effects) = effects else { break };
            activities |= self.perform(partition, effects);
        }
        self.durable(partition, group);
        if activities {
            self.run_activities();
        }
    }

    /// Carries effects out; tells whether activities were queued.
    fn perform(self: &Arc<Self>, partition: PartitionId, effects: Vec<Effect>) -> bool {
        let mut queued = false;
        for effect in effects {
            match effect {
                Effect::Activity(dispatch) => {
                    self.dispatcher().queue(dispatch, |name| self.bounds_of(name));
                    queued = true;
                }
                Effect::DropActivities(iid) => self.dispatcher().drop_queued(iid),
                Effect::Entity(batch) => self.run_entity(partition, *batch),
                Effect::Send(to, at, envelope) => {
                    self.send(to, Input::Messages(vec![(at, envelope)]));
                }
                Effect::Acknowledge(source, at) => {
                    self.send(source, Input::Acknowledged(partition, at));
                }
                Effect::Reply(ticket, response) => self.answer(partition, ticket, response),
                Effect::Turned(turn) => {
                    self.options
                        .listener
                        .iter()
                        .for_each(|listener| listener.turned((*turn).clone()));
                }
            }
        }
        queued
    }

    /// Runs queued activities as far as there are slots.
    pub(super) fn run_activities(self: &Arc<Self>) {
        // A log that is far too long gets no more results to hold; the folder calls again.
        if self.lags(3) || self.is_held() {
            return;
        }
        let now = tokio::time::Instant::now();
        let (batch, alarm): (Vec<_>, _) = {
            let mut dispatcher = self.dispatcher();
            let batch = std::iter::from_fn(|| dispatcher.next(now)).collect();
            (batch, dispatcher.alarm(now))
        };
        if let Some(alarm) = alarm {
            self.runtime.spawn(run_later(Arc::downgrade(self), alarm));
        }
        if batch.is_empty() {
            return;
        }
        self.running.fetch_add(batch.len(), Ordering::Relaxed);
        let calls = batch.iter().map(|dispatch| dispatcher::key(dispatch));
        let places = self.noted.as_ref().map_or_else(Vec::new, |noted| noted.note(calls));
        let places = places.into_iter().map(Some).chain(std::iter::repeat(None));
        for (dispatch, place) in batch.into_iter().zip(places) {
            self.runtime.spawn(self.clone().run_activity(*dispatch, place));
        }
    }

    async fn run_activity(self: Arc<Self>, mut dispatch: Dispatch, place: Option<Place>) {
        let key = dispatcher::key(&dispatch);
        let cross_out = if dispatch.strikes > 0 { CrossOut::Now } else { CrossOut::Later };
        let timeout =
            self.worker.activity_options(&dispatch.call.name).and_then(|options| options.timeout);
        let instance = dispatch.call.instance.clone();
        let (execution, task) = (dispatch.execution, dispatch.call.task);
        let name = dispatch.call.name.clone();
        let run = match self.input_of(&mut dispatch).await {
            Ok(()) => catch_unwind(AssertUnwindSafe(|| self.worker.activity(dispatch.call)))
                .map_err(|panic| panicked(&*panic)),
            Err(error) => Err(Failure::new("StoreError", error.to_string())),
        };
        // Code that goes on after its host has stopped must not keep the store open.
        let host = Arc::downgrade(&self);
        drop(self);
        let outcome = match run {
            Ok(future) => limited(&name, future, timeout).await,
            Err(failure) => Outcome::Failed(Box::new(failure)),
        };
        let Some(shared) = host.upgrade() else { return };
        if let (Some(noted), Some(place)) = (&shared.noted, place) {
            noted.end(place, cross_out);
        }
        let home = super::home(&shared, &instance);
        shared.send(home, Input::ActivityEnded { instance, execution, task, outcome });
        shared.running.fetch_sub(1, Ordering::Relaxed);
        shared.dispatcher().ended(key);
        shared.run_activities();
    }

    /// An input that is stored apart is read first.
    async fn input_of(self: &Arc<Self>, dispatch: &mut Dispatch) -> Result<(), StoreError> {
        let Value::Ref(payload) = dispatch.call.input else { return Ok(()) };
        let shared = self.clone();
        let read =
            self.runtime.spawn_blocking(move || shared.store.tables().payload(&payload)).await;
        dispatch.call.input = read.expect("reading a payload does not panic")?.into();
        Ok(())
    }

    fn run_entity(self: &Arc<Self>, partition: PartitionId, batch: EntityBatch) {
        let (host, worker) = (Arc::downgrade(self), self.worker.clone());
        self.runtime.spawn(async move {
            let (entity, state, count) =
                (batch.entity.clone(), batch.state.clone(), batch.operations.len());
            let reply = match catch_unwind(AssertUnwindSafe(|| worker.entity(batch))) {
                Ok(future) => guarded(future).await,
                Err(panic) => Err(panicked(&*panic)),
            };
            // A batch that panicked fails whole: which operation did it is not known.
            let reply = reply.unwrap_or_else(|failure| EntityReply {
                results: (0..count).map(|_| Outcome::Failed(Box::new(failure.clone()))).collect(),
                state,
                sends: Vec::new(),
            });
            if let Some(shared) = host.upgrade() {
                shared.entity_done(partition, entity, reply);
            }
        });
    }

    fn entity_done(&self, partition: PartitionId, entity: InstanceId, reply: EntityReply) {
        self.send(partition, Input::EntityEnded(entity, reply));
    }
}

/// An activity's future within its time.
/// Looks for activities again at a time when one may start.
async fn run_later<S: Store>(host: std::sync::Weak<Shared<S>>, at: tokio::time::Instant) {
    tokio::time::sleep_until(at).await;
    if let Some(shared) = host.upgrade() {
        shared.run_activities();
    }
}

async fn limited(name: &str, future: BoxFuture<Outcome>, timeout: Option<Duration>) -> Outcome {
    let ended = match timeout {
        None => guarded(future).await,
        Some(limit) => match tokio::time::timeout(limit, guarded(future)).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::new(
                kinds::TIMEOUT,
                format!("activity `{name}` took longer than its limit of {limit:?}"),
            )),
        },
    };
    ended.unwrap_or_else(|failure| Outcome::Failed(Box::new(failure)))
}

/// A future whose panic is a failure.
async fn guarded<T>(mut future: BoxFuture<T>) -> Result<T, Failure> {
    poll_fn(move |context| poll_guarded(&mut future, context)).await
}

fn poll_guarded<T>(
    future: &mut BoxFuture<T>,
    context: &mut Context<'_>,
) -> Poll<Result<T, Failure>> {
    match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panic) => Poll::Ready(Err(panicked(&*panic))),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Failure::new(
        kinds::PANIC,
        text.unwrap_or_else(|| "the code panicked with a value that is not a text".to_owned()),
    )
}

use std::future::Future as _;
