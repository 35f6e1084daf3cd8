//! Messages of storage queues: getting them, holding them while they are worked on, and giving up on those that fail.
//!
//! M1  A message is deleted when its run has succeeded, and not before: at least once.
//! M2  While it is worked on it stays hidden: the hiding is renewed at a third of its length. When the process dies, the
//!     message comes back after that length at the latest.
//! M3  A message that failed as often as `maxDequeueCount` says lies in the queue `NAME-poison` before it is deleted. One
//!     that took the process down each time ends there too: getting counts, not failing.
//! M4  A host that is held or draining gets no message. What it got before is worked on to its end.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use everstep_functions::{
    config::{
        binding::{Bound, Queue},
        host_json::{MessageEncoding, Queues as Limits},
    },
    program::Trigger,
};
use everstep_storage::client::{Encoding, Error, Message, Queues};
use serde_json::{Map, Value};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::retry;
use crate::{
    front,
    invoke::Call,
    site::Site,
    storage::{self, Connection},
};

#[cfg(test)]
mod tests;

/// The first wait of an idle queue; each is twice the one before.
const IDLE_MIN: Duration = Duration::from_millis(100);
/// The first wait after an error.
const TROUBLE_MIN: Duration = Duration::from_secs(1);
/// How often a host that takes nothing looks whether it may again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a message is hidden at a time: in the service of this process, and in an account.
const LEASE_EMBEDDED: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_mins(2);
const POISON: &str = "-poison";

/// Starts the listener of a function.
pub(super) async fn start(
    site: &Arc<Site>,
    bound: &Arc<Bound>,
    trigger: &Queue,
    stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, storage::Error> {
    let connection = site.storage.connection(&trigger.connection).await?;
    let queues = connection.queues()?.clone();
    let queue = trigger.name.to_string();
    // Where poison itself is worked on, it stays where it is.
    let poison = (!queue.ends_with(POISON)).then(|| format!("{queue}{POISON}"));
    let lease = if connection.service.is_some() { LEASE_EMBEDDED } else { LEASE };
    let (site, bound) = (Arc::clone(site), Arc::clone(bound));
    let limits = limits(&site, &bound.name);
    let listener = Listener { site, bound, connection, queues, queue, poison, limits, lease };
    Ok(tokio::spawn(Arc::new(listener).run(stopped)))
}

/// What the configuration says, within the limit of the function: what cannot run is better left to other hosts.
fn limits(site: &Site, function: &str) -> Limits {
    let mut limits = site.config.queues.clone();
    if let Some(most) = site.config.everstep.limits(function).max_concurrency {
        limits.batch_size = limits.batch_size.min(most.max(1));
        limits.new_batch_threshold =
            limits.new_batch_threshold.min(most.saturating_sub(limits.batch_size));
    }
    limits
}

struct Listener {
    site: Arc<Site>,
    bound: Arc<Bound>,
    connection: Arc<Connection>,
    queues: Queues,
    queue: String,
    poison: Option<String>,
    limits: Limits,
    lease: Duration,
}

impl Listener {
    async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut under_way = JoinSet::new();
        let (mut idle, mut trouble) = (IDLE_MIN, TROUBLE_MIN);
        let mut is_made = false;
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = self.room(&mut under_way) => {}
            }
            // Not given up half-way: messages that are got and forgotten would stay hidden for a while.
            let got = if is_made {
                self.queues.get(&self.queue, self.limits.batch_size, self.lease).await
            } else {
                self.make().await.map(|()| Vec::new())
            };
            let pause = match got {
                Ok(_) if !is_made => {
                    is_made = true;
                    continue;
                }
                Ok(messages) if messages.is_empty() => {
                    trouble = TROUBLE_MIN;
                    let pause = idle.min(self.limits.max_polling_interval);
                    idle = pause * 2;
                    Pause::Idle(pause)
                }
                Ok(messages) => {
                    (idle, trouble) = (IDLE_MIN, TROUBLE_MIN);
                    for message in messages {
                        under_way.spawn(Arc::clone(&self).work(message));
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(target: "Host.Triggers.Queue", queue = %self.queue, %error, "messages cannot be got; it is tried again");
                    // Somebody may have deleted the queue.
                    is_made = !matches!(error, Error::NotFound { .. }) && is_made;
                    let pause = trouble.min(self.limits.max_polling_interval.max(TROUBLE_MIN));
                    trouble = pause * 2;
                    Pause::Trouble(pause)
                }
            };
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = self.wait(pause) => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Makes the queues.
    async fn make(&self) -> Result<(), Error> {
        self.queues.create(&self.queue).await?;
        if let Some(poison) = &self.poison {
            self.queues.create(poison).await?;
        }
        Ok(())
    }

    /// Waits until the host takes messages and there is room for more.
    async fn room(&self, under_way: &mut JoinSet<()>) {
        loop {
            while under_way.try_join_next().is_some() {}
            if self.site.is_paused() {
                tokio::time::sleep(PAUSE).await;
            } else if under_way.len() <= self.limits.new_batch_threshold {
                return;
            } else {
                under_way.join_next().await;
            }
        }
    }

    async fn wait(&self, pause: Pause) {
        match (pause, &self.connection.service) {
            // The service in this process tells when there is something.
            (Pause::Idle(_), Some(service)) => service.arrival(&self.queue).await,
            (Pause::Idle(pause) | Pause::Trouble(pause), _) => tokio::time::sleep(pause).await,
        }
    }

    async fn work(self: Arc<Self>, message: Message) {
        let mut receipt = message.receipt.clone();
        if message.dequeue_count > self.limits.max_dequeue_count {
            self.give_up(&message, &receipt).await;
            return;
        }
        let is_done = self.run_and_hold(&message, &mut receipt).await;
        if is_done {
            let deleted = self.queues.delete(&self.queue, &message.id, &receipt).await;
            self.complain(
                &message,
                deleted,
                "it is handled and cannot be deleted; it may come again",
            );
        } else if message.dequeue_count >= self.limits.max_dequeue_count {
            self.give_up(&message, &receipt).await;
        } else {
            let hidden = self.limits.visibility_timeout;
            let shown = self.queues.update(&self.queue, &message.id, &receipt, hidden, None).await;
            self.complain(
                &message,
                shown.map(drop),
                "it failed and comes back later than it should",
            );
        }
    }

    /// Runs the function and keeps the message hidden; whether it succeeded.
    async fn run_and_hold(&self, message: &Message, receipt: &mut String) -> bool {
        let run = retry::run(&self.site, &self.bound, |retries| self.call(message, retries));
        tokio::pin!(run);
        let mut is_ours = true;
        loop {
            tokio::select! {
                ended = &mut run => return ended.is_ok(),
                () = tokio::time::sleep(self.lease / 3), if is_ours => {}
            }
            let held =
                self.queues.update(&self.queue, &message.id, receipt, self.lease, None).await;
            match held {
                Ok(held) => *receipt = held.receipt,
                Err(error) => {
                    is_ours = !is_lost(&error);
                    tracing::warn!(target: "Host.Triggers.Queue", queue = %self.queue, message = %message.id, %error, "a message that is worked on cannot be held; somebody else may get it too");
                }
            }
        }
    }

    fn call(&self, message: &Message, retries: u32) -> Call {
        let content = content(self.limits.message_encoding, &message.text);
        Call {
            data: data(message, &content),
            inputs: front::durable_clients(&self.site, &self.bound),
            retries,
            ..Call::new(
                &self.bound.name.as_str().into(),
                Trigger::Queue(content),
                format!("New queue message detected on '{}'.", self.queue),
            )
        }
    }

    /// Puts a message aside that fails again and again.
    async fn give_up(&self, message: &Message, receipt: &str) {
        let Some(poison) = &self.poison else {
            tracing::error!(target: "Host.Triggers.Queue", queue = %self.queue, message = %message.id, "a message of a poison queue failed; it stays there");
            return;
        };
        tracing::error!(
            target: "Host.Triggers.Queue",
            message = %message.id,
            "Message has reached MaxDequeueCount of {}. Moving message to queue '{poison}'.",
            self.limits.max_dequeue_count
        );
        if let Err(error) = self.connection.send(poison, &message.text).await {
            tracing::error!(target: "Host.Triggers.Queue", queue = %self.queue, message = %message.id, %error, "a message cannot be put into the poison queue; it is tried again");
            return;
        }
        let deleted = self.queues.delete(&self.queue, &message.id, receipt).await;
        self.complain(
            message,
            deleted,
            "it is in the poison queue and cannot be deleted; it may come again",
        );
    }

    fn complain(&self, message: &Message, ended: Result<(), Error>, what: &str) {
        if let Err(error) = ended {
            tracing::warn!(target: "Host.Triggers.Queue", queue = %self.queue, message = %message.id, %error, "{what}");
        }
    }
}

/// Why a listener waits.
enum Pause {
    Idle(Duration),
    Trouble(Duration),
}

/// Whether a message is no longer ours to hold.
fn is_lost(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) || error.code() == Some("PopReceiptMismatch")
}

/// How messages are written and read, as the configuration says.
pub(crate) fn encoding(said: MessageEncoding) -> Encoding {
    match said {
        MessageEncoding::Base64 => Encoding::Base64,
        MessageEncoding::Plain => Encoding::None,
    }
}

/// The content of a message. Text that is not base64, or no text once it is decoded, is meant as it stands: many senders
/// do not encode.
fn content(said: MessageEncoding, text: &str) -> Bytes {
    let decoded = encoding(said).decode(text).ok();
    let decoded = decoded.filter(|bytes| std::str::from_utf8(bytes).is_ok());
    decoded.map_or_else(|| Bytes::copy_from_slice(text.as_bytes()), Bytes::from)
}

/// What is known of a message, and the properties of its JSON object.
fn data(message: &Message, content: &[u8]) -> Map<String, Value> {
    let mut data = properties(content);
    let text = String::from_utf8_lossy(content).into_owned();
    let next_visible = message.next_visible.unwrap_or(message.inserted);
    for (name, value) in [
        ("QueueTrigger", Value::from(text)),
        ("Id", Value::from(message.id.as_str())),
        ("DequeueCount", Value::from(message.dequeue_count)),
        ("InsertionTime", time(message.inserted)),
        ("ExpirationTime", time(message.expires)),
        ("NextVisibleTime", time(next_visible)),
        ("PopReceipt", Value::from(message.receipt.as_str())),
    ] {
        // `{id}` of an object that has it is the object's, `{Id}` is the message's.
        data.insert(name.to_owned(), value);
    }
    data
}

/// The properties of a JSON object; none for anything else.
pub(crate) fn properties(content: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(content).unwrap_or_default()
}

/// A time as the original writes it.
pub(super) fn time(time: SystemTime) -> Value {
    let text = jiff::Timestamp::try_from(time).map_or_else(
        // Messages that never expire have a time beyond the library's calendar.
        |_| "9999-12-31T23:59:59+00:00".to_owned(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
    );
    Value::from(text)
}
