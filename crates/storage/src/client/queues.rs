//! Queues and the messages in them.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::{
    ClientOptions, Metadata, Transport,
    error::Error,
    transport::{Answer, Call},
};
use crate::{
    account::{Account, ConnectionError, Kind},
    date, name,
    xml::{self, Element},
};

/// The most messages that one call brings.
pub(crate) const MESSAGES_MAX: usize = 32;
/// The longest text of a message, in bytes.
pub(crate) const TEXT_MAX: usize = 64 << 10;

/// The queues of an account. Cheap to clone.
#[derive(Clone)]
pub struct Queues {
    transport: Transport,
}

/// Whether a call made something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was not there before.
    New,
    /// It was there already.
    Existed,
}

/// How a message is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutMessage {
    /// How long nobody sees it. At most seven days.
    pub visible_after: Duration,
    /// How long it stays.
    pub time_to_live: TimeToLive,
}

/// How long a message stays if nobody deletes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeToLive {
    /// Seven days.
    #[default]
    Week,
    /// Until it is deleted.
    Never,
    /// That long, in whole seconds.
    For(Duration),
}

/// A message that was got or peeked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id within the queue.
    pub id: String,
    /// What allows to update and delete it; empty when it was only peeked.
    pub receipt: String,
    /// Its text as it was put.
    pub text: String,
    /// How often it was got, this time included.
    pub dequeue_count: u32,
    /// When it was put.
    pub inserted: SystemTime,
    /// When it goes by itself.
    pub expires: SystemTime,
    /// When others see it; not known when it was only peeked.
    pub next_visible: Option<SystemTime>,
}

/// A message that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReceipt {
    /// Its id within the queue.
    pub id: String,
    /// What allows to update and delete it.
    pub receipt: String,
}

/// A message that was updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateReceipt {
    /// What allows the next change; the earlier receipt does not.
    pub receipt: String,
    /// When others see it.
    pub next_visible: SystemTime,
}

/// What is known of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueProperties {
    /// How many messages are in it, hidden ones included; never less than there are.
    pub approximate_messages: u64,
    /// What its users attached to it.
    pub metadata: Metadata,
}

impl Queues {
    /// The queues of an account.
    pub fn new(account: &Account) -> Result<Self, ConnectionError> {
        Self::with_options(account, ClientOptions::default())
    }

    /// The queues of an account, called in another way.
    pub fn with_options(
        account: &Account,
        options: ClientOptions,
    ) -> Result<Self, ConnectionError> {
        Ok(Self { transport: Transport::connect(account, Kind::Queue, options)? })
    }

    pub(crate) fn over(transport: Transport) -> Self {
        Self { transport }
    }

    /// Creates a queue unless it is there.
    pub async fn create(&self, queue: &str) -> Result<Created, Error> {
        self.create_with(queue, &Metadata::new()).await
    }

    /// Creates a queue with metadata. One with other metadata is a conflict.
    pub async fn create_with(&self, queue: &str, metadata: &Metadata) -> Result<Created, Error> {
        let call = call(Method::PUT, queue, "", "creating")?.metadata(metadata)?;
        match self.transport.send(call).await {
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => Ok(Created::Existed),
            Ok(_) => Ok(Created::New),
            // Metadata that its makers gave to the queue does not matter to who wants the queue to be there.
            Err(error) if metadata.is_empty() && error.code() == Some("QueueAlreadyExists") => {
                Ok(Created::Existed)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a queue with all messages in it.
    pub async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        self.done(call(Method::DELETE, queue, "", "deleting")?).await
    }

    /// Puts a message.
    pub async fn put(&self, queue: &str, text: &str, how: PutMessage) -> Result<PutReceipt, Error> {
        let call = call(Method::POST, queue, "/messages", "putting a message into")?
            .query("visibilitytimeout", how.visible_after.as_secs());
        let call = match how.time_to_live {
            TimeToLive::Week => call,
            TimeToLive::Never => call.query("messagettl", -1),
            TimeToLive::For(time) => call.query("messagettl", time.as_secs()),
        };
        let body = message_body(queue, text)?;
        let call = call.header("content-type", "application/xml")?.body(body);
        let mut answer = self.transport.send(call).await?;
        let document = answer.document().await?;
        let message = document
            .child("QueueMessage")
            .ok_or_else(|| Error::strange(&answer.doing, "has no message"))?;
        Ok(PutReceipt {
            id: message.text_of("MessageId").to_owned(),
            receipt: message.text_of("PopReceipt").to_owned(),
        })
    }

    /// Gets up to 32 messages. Nobody else sees them for that time, from one second to seven days.
    pub async fn get(
        &self,
        queue: &str,
        count: usize,
        visibility: Duration,
    ) -> Result<Vec<Message>, Error> {
        let call = call(Method::GET, queue, "/messages", "getting messages from")?
            .query("numofmessages", count.clamp(1, MESSAGES_MAX))
            .query("visibilitytimeout", visibility.as_secs());
        self.messages(call).await
    }

    /// Looks at up to 32 visible messages and leaves them as they are.
    pub async fn peek(&self, queue: &str, count: usize) -> Result<Vec<Message>, Error> {
        let call = call(Method::GET, queue, "/messages", "peeking into")?
            .query("numofmessages", count.clamp(1, MESSAGES_MAX))
            .query("peekonly", true);
        self.messages(call).await
    }

    /// Hides a message from others for that long from now on, and gives it another text if there is one.
    pub async fn update(
        &self,
        queue: &str,
        id: &str,
        receipt: &str,
        visibility: Duration,
        text: Option<&str>,
    ) -> Result<UpdateReceipt, Error> {
        let mut call = message_call(Method::PUT, queue, id, receipt, "updating a message of")?
            .query("visibilitytimeout", visibility.as_secs());
        if let Some(text) = text {
            let body = message_body(queue, text)?;
            call = call.header("content-type", "application/xml")?.body(body);
        }
        let answer = self.transport.send(call).await?;
        let time = answer.need("x-ms-time-next-visible")?;
        Ok(UpdateReceipt {
            receipt: answer.need("x-ms-popreceipt")?.to_owned(),
            next_visible: time_of(&answer, time)?,
        })
    }

    /// Deletes a message.
    pub async fn delete(&self, queue: &str, id: &str, receipt: &str) -> Result<(), Error> {
        self.done(message_call(Method::DELETE, queue, id, receipt, "deleting a message of")?).await
    }

    /// Deletes all messages of a queue.
    pub async fn clear(&self, queue: &str) -> Result<(), Error> {
        self.done(call(Method::DELETE, queue, "/messages", "clearing")?).await
    }

    /// The count of messages, and the metadata.
    pub async fn properties(&self, queue: &str) -> Result<QueueProperties, Error> {
        let call =
            call(Method::GET, queue, "", "reading the properties of")?.query("comp", "metadata");
        let answer = self.transport.send(call).await?;
        let count = answer.need("x-ms-approximate-messages-count")?.parse();
        Ok(QueueProperties {
            approximate_messages: count
                .map_err(|_| Error::strange(&answer.doing, "counts messages in words"))?,
            metadata: answer.metadata(),
        })
    }

    /// Replaces the metadata of a queue.
    pub async fn set_metadata(&self, queue: &str, metadata: &Metadata) -> Result<(), Error> {
        let call = call(Method::PUT, queue, "", "setting the metadata of")?;
        self.done(call.query("comp", "metadata").metadata(metadata)?).await
    }

    /// The names of all queues that begin like this, in order.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let mut marker = String::new();
        loop {
            let mut call =
                Call::new(Method::GET, "/", "listing queues".to_owned()).query("comp", "list");
            for (name, value) in [("prefix", prefix), ("marker", &marker)] {
                if !value.is_empty() {
                    call = call.query(name, value);
                }
            }
            let document = self.transport.send(call).await?.document().await?;
            let queues = document.child("Queues").cloned().unwrap_or_default();
            names.extend(queues.all("Queue").map(|queue| queue.text_of("Name").to_owned()));
            document.text_of("NextMarker").clone_into(&mut marker);
            if marker.is_empty() {
                return Ok(names);
            }
        }
    }

    async fn messages(&self, call: Call) -> Result<Vec<Message>, Error> {
        let mut answer = self.transport.send(call).await?;
        let document = answer.document().await?;
        document.all("QueueMessage").map(|element| message(&answer, element)).collect()
    }

    async fn done(&self, call: Call) -> Result<(), Error> {
        self.transport.send(call).await.map(|_| ())
    }
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
    }
}

fn call(method: Method, queue: &str, rest: &str, verb: &str) -> Result<Call, Error> {
    let doing = format!("{verb} queue `{queue}`");
    if !name::is_queue(queue) {
        return Err(Error::invalid(&doing, name::RULE));
    }
    Ok(Call::new(method, &format!("/{queue}{rest}"), doing))
}

fn message_call(
    method: Method,
    queue: &str,
    id: &str,
    receipt: &str,
    verb: &str,
) -> Result<Call, Error> {
    Ok(call(method, queue, &format!("/messages/{id}"), verb)?.query("popreceipt", receipt))
}

fn message_body(queue: &str, text: &str) -> Result<String, Error> {
    let doing = format!("putting a message into queue `{queue}`");
    if text.len() > TEXT_MAX {
        let problem = format!(
            "its text has {} bytes and may have {TEXT_MAX}; put the content into a blob and its name into the message",
            text.len()
        );
        return Err(Error::invalid(&doing, problem));
    }
    if !xml::can_hold(text) {
        let problem =
            "its text has control characters, which messages cannot hold; send it as base64";
        return Err(Error::invalid(&doing, problem));
    }
    let mut writer = xml::Writer::new();
    writer.open("QueueMessage").leaf("MessageText", text).close("QueueMessage");
    Ok(writer.finish())
}

fn message(answer: &Answer, element: &Element) -> Result<Message, Error> {
    let count = element.text_of("DequeueCount").parse();
    let next_visible = element.child("TimeNextVisible");
    Ok(Message {
        id: element.text_of("MessageId").to_owned(),
        receipt: element.text_of("PopReceipt").to_owned(),
        text: element.text_of("MessageText").to_owned(),
        dequeue_count: count.map_err(|_| {
            Error::strange(&answer.doing, "does not say how often a message was got")
        })?,
        inserted: time_of(answer, element.text_of("InsertionTime"))?,
        expires: time_of(answer, element.text_of("ExpirationTime"))?,
        next_visible: next_visible.map(|time| time_of(answer, &time.text)).transpose()?,
    })
}

fn time_of(answer: &Answer, text: &str) -> Result<SystemTime, Error> {
    let millis = date::parse_rfc1123(text);
    let strange = || Error::strange(&answer.doing, &format!("has `{text}` for a time"));
    Ok(date::system_time(millis.ok_or_else(strange)?))
}
