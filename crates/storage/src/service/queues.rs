//! The queue service's operations: from a request to rows and back to XML.

use axum::body::Body;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Method, Response, StatusCode};

use super::{
    Core,
    auth::{Access, Level},
    fault::Fault,
    queue_rows::{self as rows, Change, MessageRow, NewMessage},
    request::{Asked, body_up_to, document, empty, marker, set, set_metadata, unpack},
};
use crate::{
    client::{Created, random, random_id},
    date, name, xml,
};

const WEEK_SECONDS: i64 = 7 * 24 * 60 * 60;
const TEXT_MAX: usize = 64 << 10;
/// A body's limit: the longest text with each byte written as a reference.
const BODY_MAX: usize = 8 * TEXT_MAX;

type Answer = Result<Response<Body>, Fault>;

/// What is done with a queue or in it.
pub(super) async fn answer(core: &Core, access: &Access, asked: Asked, body: Body) -> Answer {
    let Some(queue) = asked.first.clone() else { return account(core, access, &asked, body).await };
    if !name::is_queue(&queue) {
        return Err(Fault::resource_name(&queue));
    }
    let rest = asked.rest.clone().unwrap_or_default();
    match rest.split_once('/') {
        None if rest.is_empty() => whole(core, access, &asked, queue).await,
        None if rest == "messages" => messages(core, access, &asked, queue, body).await,
        Some(("messages", id)) if !id.is_empty() => {
            message(core, access, &asked, queue, id.to_owned(), body).await
        }
        _ => Err(Fault::uri("The requested URI does not represent any resource on the server.")),
    }
}

async fn account(core: &Core, access: &Access, asked: &Asked, body: Body) -> Answer {
    match (&asked.method, asked.parameter("comp")) {
        (&Method::GET, Some("list")) => {
            access.allow(Level::Service, "l")?;
            list(core, asked).await
        }
        (_, Some("properties")) => {
            core.service_properties(access, asked, body, crate::account::Kind::Queue).await
        }
        _ => Err(Fault::wrong_method()),
    }
}

async fn list(core: &Core, asked: &Asked) -> Answer {
    let page = asked.page()?;
    let mut writer = xml::Writer::new();
    let endpoint = xml::escape(&core.endpoint(asked));
    writer.open(&format!("EnumerationResults ServiceEndpoint=\"{endpoint}\""));
    writer.leaf("Prefix", &page.prefix).leaf("MaxResults", page.max).open("Queues");
    let (queues, next) = core.database.read(move |db| rows::list(db, &page)).await?;
    for (name, metadata) in queues {
        writer.open("Queue").leaf("Name", name);
        if asked.includes("metadata") {
            metadata_element(&mut writer, &metadata);
        }
        writer.close("Queue");
    }
    writer.close("Queues").leaf("NextMarker", next.as_deref().map(marker).unwrap_or_default());
    writer.close("EnumerationResults");
    Ok(document(StatusCode::OK, writer))
}

pub(super) fn metadata_element(writer: &mut xml::Writer, packed: &str) {
    writer.open("Metadata");
    for (name, value) in unpack(packed) {
        writer.leaf(&name, value);
    }
    writer.close("Metadata");
}

async fn whole(core: &Core, access: &Access, asked: &Asked, queue: String) -> Answer {
    let now = core.now();
    match (&asked.method, asked.parameter("comp")) {
        (&Method::PUT, None) => {
            access.allow(Level::Container, "cw")?;
            let metadata = asked.metadata()?;
            let woken = core.wakes(&queue);
            let work = move |db: &_| rows::create(db, &queue, &metadata);
            let created = core.database.write_then(work, woken).await?;
            Ok(empty(match created {
                Created::New => StatusCode::CREATED,
                Created::Existed => StatusCode::NO_CONTENT,
            }))
        }
        (&Method::DELETE, None) => {
            access.allow(Level::Container, "d")?;
            core.database.write(move |db| rows::delete(db, &queue)).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::GET | &Method::HEAD, Some("metadata")) => {
            access.allow(Level::Container, "r")?;
            let read = move |db: &_| rows::properties(db, &queue, now);
            let (metadata, count) = core.database.read(read).await?;
            let mut response = empty(StatusCode::OK);
            set(&mut response, "x-ms-approximate-messages-count", count);
            set_metadata(&mut response, &metadata);
            Ok(response)
        }
        (&Method::PUT, Some("metadata")) => {
            access.allow(Level::Container, "w")?;
            let metadata = asked.metadata()?;
            core.database.write(move |db| rows::set_metadata(db, &queue, &metadata)).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (_, Some("acl")) => Err(Fault::not_implemented()),
        _ => Err(Fault::wrong_method()),
    }
}

async fn messages(
    core: &Core,
    access: &Access,
    asked: &Asked,
    queue: String,
    body: Body,
) -> Answer {
    match asked.method {
        Method::POST => {
            access.allow(Level::Object, "a")?;
            put(core, asked, queue, body).await
        }
        Method::GET if asked.parameter("peekonly") == Some("true") => {
            access.allow(Level::Object, "r")?;
            let (count, now) = (count(asked)?, core.now());
            let found = core.database.read(move |db| rows::peek(db, &queue, count, now)).await?;
            Ok(message_list(&found, Shown::Peeked))
        }
        Method::GET => {
            access.allow(Level::Object, "p")?;
            get(core, asked, queue).await
        }
        Method::DELETE => {
            access.allow(Level::Object, "d")?;
            core.database.write(move |db| rows::clear(db, &queue)).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Fault::wrong_method()),
    }
}

fn count(asked: &Asked) -> Result<i64, Fault> {
    Ok(asked.number("numofmessages", 1, 32)?.unwrap_or(1))
}

async fn put(core: &Core, asked: &Asked, queue: String, body: Body) -> Answer {
    let hidden = asked.number("visibilitytimeout", 0, WEEK_SECONDS)?.unwrap_or(0);
    let lives = asked.number("messagettl", -1, i64::from(i32::MAX))?.unwrap_or(WEEK_SECONDS);
    if lives == 0 {
        return Err(Fault::query_range("messagettl", "0", 1, i64::from(i32::MAX)));
    }
    if lives > 0 && hidden >= lives {
        let reason = "messagettl must be greater than visibilitytimeout";
        return Err(Fault::query_value("visibilitytimeout", &hidden.to_string(), reason));
    }
    let text = text_of(body).await?.ok_or_else(Fault::invalid_xml)?;
    let now = core.now();
    let message = NewMessage {
        name: random_id(),
        receipt: receipt(),
        text,
        inserted: now,
        expires: if lives < 0 { date::NEVER } else { (now + lives * 1000).min(date::NEVER) },
        visible: now + hidden * 1000,
    };
    let woken = core.wakes(&queue);
    let work = move |db: &_| rows::put(db, &queue, &message).map(|()| message);
    let message = core.database.write_then(work, woken).await?;
    let mut writer = xml::Writer::new();
    writer.open("QueueMessagesList").open("QueueMessage").leaf("MessageId", &message.name);
    writer.leaf("InsertionTime", date::rfc1123(message.inserted));
    writer.leaf("ExpirationTime", date::rfc1123(message.expires));
    writer.leaf("PopReceipt", &message.receipt);
    writer.leaf("TimeNextVisible", date::rfc1123(message.visible));
    writer.close("QueueMessage").close("QueueMessagesList");
    Ok(document(StatusCode::CREATED, writer))
}

/// Letters that travel in a query without a sign that means something there.
fn receipt() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::<15>())
}

/// The message's text; nothing for an empty body.
async fn text_of(body: Body) -> Result<Option<String>, Fault> {
    let body = body_up_to(body, BODY_MAX).await?;
    if body.is_empty() {
        return Ok(None);
    }
    let document = xml::parse(&body).filter(|document| document.name == "QueueMessage");
    let document = document.ok_or_else(Fault::invalid_xml)?;
    let text = document.child("MessageText").ok_or_else(Fault::invalid_xml)?.text.clone();
    if text.len() > TEXT_MAX {
        return Err(Fault::too_large(TEXT_MAX as u64));
    }
    if xml::can_hold(&text) { Ok(Some(text)) } else { Err(Fault::invalid_xml()) }
}

async fn get(core: &Core, asked: &Asked, queue: String) -> Answer {
    let count = count(asked)?;
    let hidden = asked.number("visibilitytimeout", 1, WEEK_SECONDS)?.unwrap_or(30);
    let now = core.now();
    let until = now + hidden * 1000;
    let work = move |db: &_| rows::get(db, &queue, count, (now, until), receipt);
    let found = core.database.write(work).await?;
    Ok(message_list(&found, Shown::Got))
}

/// Whether messages were taken or only looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Got,
    Peeked,
}

fn message_list(messages: &[MessageRow], shown: Shown) -> Response<Body> {
    let mut writer = xml::Writer::new();
    writer.open("QueueMessagesList");
    for message in messages {
        writer.open("QueueMessage").leaf("MessageId", &message.name);
        writer.leaf("InsertionTime", date::rfc1123(message.inserted));
        writer.leaf("ExpirationTime", date::rfc1123(message.expires));
        if shown == Shown::Got {
            writer.leaf("PopReceipt", &message.receipt);
            writer.leaf("TimeNextVisible", date::rfc1123(message.visible));
        }
        writer.leaf("DequeueCount", message.dequeued).leaf("MessageText", &message.text);
        writer.close("QueueMessage");
    }
    writer.close("QueueMessagesList");
    document(StatusCode::OK, writer)
}

async fn message(
    core: &Core,
    access: &Access,
    asked: &Asked,
    queue: String,
    id: String,
    body: Body,
) -> Answer {
    let given = asked.parameter("popreceipt").map(str::to_owned);
    let given = given.ok_or_else(|| Fault::missing_query("popreceipt"));
    let now = core.now();
    match asked.method {
        Method::PUT => {
            access.allow(Level::Object, "u")?;
            let hidden = asked.number("visibilitytimeout", 0, WEEK_SECONDS)?;
            let hidden = hidden.ok_or_else(|| Fault::missing_query("visibilitytimeout"))?;
            let visible = now + hidden * 1000;
            let (new_receipt, text) = (receipt(), text_of(body).await?);
            let change = Change { receipt: given?, new_receipt, visible, text };
            let mut response = empty(StatusCode::NO_CONTENT);
            set(&mut response, "x-ms-popreceipt", &change.new_receipt);
            set(&mut response, "x-ms-time-next-visible", date::rfc1123(visible));
            let woken = core.wakes(&queue);
            let work = move |db: &_| rows::update(db, &queue, &id, &change, now);
            core.database.write_then(work, woken).await?;
            Ok(response)
        }
        Method::DELETE => {
            access.allow(Level::Object, "p")?;
            let given = given?;
            core.database.write(move |db| rows::remove(db, &queue, &id, &given, now)).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Fault::wrong_method()),
    }
}
