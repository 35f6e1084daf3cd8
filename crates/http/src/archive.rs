//! Instances taken out of a hub and put back: the record of one, and the import of many.
//!
//! A record is the stored form of an instance at rest, in base64. An import reads lines of JSON, each with a record and
//! whatever else an export says, and answers with a line for each.
//!
//! I1  A line of the answer is written when what it tells is durable.
//! I2  Memory is bounded: at most [`LINES_AT_ONCE`] lines, and no more once they have [`BYTES_AT_ONCE`] bytes.
//! I3  A line that cannot be imported keeps no other from it. How deep one may nest is bounded by the parser.

use axum::{
    body::{Body, BodyDataStream},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::{Bytes, BytesMut};
use everstep_model::{Archive, Status, stored};
use everstep_runtime::{Client, ClientError, Existing, Imported};
use futures_util::{StreamExt as _, future::join_all, stream};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::{
    api::Call,
    error::{Answer, Refusal},
    instance, json,
};

/// How many lines are read before they are imported.
const LINES_AT_ONCE: usize = 64;
/// The same in bytes.
const BYTES_AT_ONCE: usize = 8 << 20;
/// Lines of JSON.
pub(crate) const JSON_LINES: &str = "application/x-ndjson";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    instance_id: &'a str,
    record: Option<String>,
}

/// What an export says of an instance, as far as an import reads it.
#[derive(Deserialize)]
struct Exported {
    #[serde(default)]
    record: Option<String>,
    #[serde(default)]
    instance: Option<Named>,
    #[serde(default)]
    children: Vec<Exported>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    instance_id: String,
    runtime_status: String,
}

/// What became of one instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(skip_serializing_if = "String::is_empty")]
    instance_id: String,
    /// `imported`, `replaced`, `exists`, `refused` or `failed`.
    #[serde(rename = "outcome")]
    word: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Why the hub could not be asked.
    #[serde(skip)]
    error: Option<ClientError>,
}

/// `GET instances/{instanceId}/record`
pub(crate) async fn record(call: Call) -> Answer {
    let id = instance::id(&call)?;
    let archive = call.api.client().archive(&id).await?;
    let record = archive.map(|archive| {
        let mut bytes = Vec::new();
        stored::encode(&mut bytes, &archive);
        BASE64.encode(bytes)
    });
    Ok(json::json(StatusCode::OK, &Record { instance_id: id.as_str(), record }))
}

/// `POST import`, which reads its body by and by.
pub(crate) async fn import(call: Call, body: Body) -> Answer {
    let replace = call.query.our_flag("replace", false)?;
    let mut import = Import {
        client: call.api.client().clone(),
        existing: if replace { Existing::Replace } else { Existing::Keep },
        lines: Lines {
            body: body.into_data_stream(),
            line_max: call.api.options.bodies_max,
            arrived: BytesMut::new(),
            searched: 0,
            number: 0,
            is_over: false,
        },
    };
    let mut first = import.round().await;
    // What keeps every line from being imported is the answer to the request.
    if first.iter().all(|outcome| outcome.error.is_some()) {
        return Err(first.pop().and_then(|outcome| outcome.error).map_or_else(
            || Refusal::bad("the body is empty; send what `everstep export` writes, each instance on one line"),
            Refusal::from,
        ));
    }
    let rest = stream::unfold(import, |mut import| async {
        let outcomes = import.round().await;
        (!outcomes.is_empty()).then(|| (lines(&outcomes), import))
    });
    let all = stream::once(async move { lines(&first) }).chain(rest);
    let mut response = Response::new(Body::from_stream(all.map(Ok::<_, std::convert::Infallible>)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    Ok(response)
}

fn lines(outcomes: &[Outcome]) -> Bytes {
    outcomes.iter().map(|outcome| json::to_text(outcome) + "\n").collect::<String>().into()
}

/// An import on its way through its body.
struct Import {
    client: Client,
    existing: Existing,
    lines: Lines,
}

/// The body of an import, line by line.
struct Lines {
    body: BodyDataStream,
    line_max: usize,
    /// Bytes of the body that are not read as lines yet.
    arrived: BytesMut,
    /// How many of these hold no end of a line.
    searched: usize,
    /// Of the last line read.
    number: usize,
    is_over: bool,
}

impl Import {
    /// Imports the next lines; no outcome at all is the end.
    async fn round(&mut self) -> Vec<Outcome> {
        let items = self.lines.next_items().await;
        let (client, existing) = (&self.client, self.existing);
        join_all(items.into_iter().map(|item| one(client, item, existing))).await
    }
}

async fn one(client: &Client, item: Result<Archive, Outcome>, existing: Existing) -> Outcome {
    let archive = match item {
        Ok(archive) => archive,
        Err(outcome) => return outcome,
    };
    let instance_id = archive.id.as_str().to_owned();
    match client.import(archive, existing).await {
        Ok(imported) => Outcome::of(instance_id, imported, existing),
        Err(error) => {
            let message = Some(error.to_string());
            Outcome { instance_id, word: "failed", message, error: Some(error) }
        }
    }
}

impl Lines {
    /// The instances of the next lines; none at the end.
    async fn next_items(&mut self) -> Vec<Result<Archive, Outcome>> {
        let (mut items, mut lines, mut bytes) = (Vec::new(), 0, 0);
        while items.is_empty() || (lines < LINES_AT_ONCE && bytes < BYTES_AT_ONCE) {
            match self.next_line().await {
                Ok(None) => break,
                Ok(Some(line)) => {
                    (lines, bytes) = (lines + 1, bytes + line.len());
                    self.read(&line, &mut items);
                }
                Err(text) => {
                    items.push(Err(self.unread(&text)));
                    self.is_over = true;
                    self.arrived.clear();
                    self.searched = 0;
                    break;
                }
            }
        }
        items
    }

    /// The next line that is not blank.
    async fn next_line(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let unread = &self.arrived[self.searched..];
            let end = unread.iter().position(|byte| *byte == b'\n');
            let end = end.map(|end| self.searched + end + 1);
            let length = end.unwrap_or(self.arrived.len());
            if length > self.line_max {
                self.number += 1;
                return Err(format!(
                    "it is longer than {} bytes, the most that this host takes; what follows was not read",
                    self.line_max
                ));
            }
            if end.is_some() || self.is_over {
                let line = self.arrived.split_to(length).freeze();
                self.searched = 0;
                self.number += 1;
                let is_blank = line.trim_ascii().is_empty();
                if is_blank && end.is_some() {
                    continue;
                }
                return Ok((!is_blank).then_some(line));
            }
            self.searched = length;
            match self.body.next().await {
                Some(Ok(chunk)) => self.arrived.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(format!("the request broke off: {error}")),
                None => self.is_over = true,
            }
        }
    }

    /// The instances of a line, each with those below it.
    fn read(&self, line: &[u8], items: &mut Vec<Result<Archive, Outcome>>) {
        match serde_json::from_slice::<Exported>(line) {
            Ok(exported) => {
                let first = items.len();
                gather(exported, items);
                // What has no name is found by its place.
                for outcome in items[first..].iter_mut().filter_map(|item| item.as_mut().err()) {
                    if let (true, Some(text)) =
                        (outcome.instance_id.is_empty(), outcome.message.as_mut())
                    {
                        text.insert_str(0, &format!("line {}: ", self.number));
                    }
                }
            }
            Err(error) => items.push(Err(self.unread(&format!("it is no export: {error}")))),
        }
    }

    fn unread(&self, text: &str) -> Outcome {
        Outcome::refused("", format!("line {}: {text}", self.number))
    }
}

fn gather(exported: Exported, items: &mut Vec<Result<Archive, Outcome>>) {
    let Exported { record, instance, children } = exported;
    let Named { instance_id, runtime_status } = instance.unwrap_or_default();
    items.push(match record {
        Some(record) => archive_of(&record).map_err(|text| Outcome::refused(&instance_id, text)),
        None => Err(Outcome::refused(&instance_id, without_record(&runtime_status))),
    });
    children.into_iter().for_each(|child| gather(child, items));
}

fn without_record(status: &str) -> String {
    match Status::from_name(status) {
        Some(status) if !status.is_terminal() => format!(
            "it was {status} when it was exported, and what runs is not put back; export it again when it has ended"
        ),
        _ => "it has no `record`; `everstep export` writes one for what has ended".to_owned(),
    }
}

fn archive_of(record: &str) -> Result<Archive, String> {
    let bytes =
        BASE64.decode(record).map_err(|error| format!("its `record` is no base64: {error}"))?;
    stored::decode(&bytes).map_err(|error| {
        format!(
            "its `record` cannot be read ({error}); was it cut off, or written by a newer version?"
        )
    })
}

impl Outcome {
    fn of(instance_id: String, imported: Imported, existing: Existing) -> Self {
        let (word, message) = match imported {
            Imported::Done => ("imported", None),
            Imported::Replaced => ("replaced", None),
            Imported::Refused(reason) => ("refused", Some(reason)),
            Imported::Exists(status) => ("exists", Some(exists(status, existing))),
        };
        Self { instance_id, word, message, error: None }
    }

    fn refused(id: &str, message: String) -> Self {
        Self { instance_id: id.to_owned(), word: "refused", message: Some(message), error: None }
    }
}

fn exists(status: Status, existing: Existing) -> String {
    match existing {
        Existing::Keep => {
            format!("one of its id is here and {status}; `replace=true` puts this one in its place")
        }
        Existing::Replace => format!(
            "one of its id is here and {status}; what is under way is not replaced, so end it first"
        ),
    }
}
