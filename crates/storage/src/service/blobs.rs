//! The blob service's operations: from a request to rows and files and back.

use std::ops::Range;

use axum::body::Body;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Core,
    auth::{Access, Level},
    blob_rows::{
        self as rows, BlobRow, BlockRow, ContainerRow, Described, Freed, Listed, NewBlob, Target,
    },
    condition::{Conditions, Intent, LeaseAction},
    content::{self, Place, Sink},
    fault::Fault,
    queues::metadata_element,
    request::{Asked, body_up_to, document, empty, marker, pack, set, set_metadata, unpack},
};
use crate::{
    account::Kind,
    client::random_id,
    date, name,
    xml::{self, Writer},
};

/// The largest body that is taken at once.
const BODY_MAX: u64 = 5_000 << 20;
const BLOCKS_MAX: usize = 50_000;
/// How often a read begins again because the blob was replaced between its row and its file.
const READS: u32 = 8;

/// Headers that describe a content: as requests set them, and as answers have them.
const DESCRIBING: [(&str, &str); 6] = [
    ("x-ms-blob-content-type", "content-type"),
    ("x-ms-blob-content-encoding", "content-encoding"),
    ("x-ms-blob-content-language", "content-language"),
    ("x-ms-blob-content-md5", "content-md5"),
    ("x-ms-blob-cache-control", "cache-control"),
    ("x-ms-blob-content-disposition", "content-disposition"),
];

type Answer = Result<Response<Body>, Fault>;

/// What is done with a container or a blob.
pub(super) async fn answer(core: &Core, access: &Access, asked: Asked, body: Body) -> Answer {
    if asked.parameter("restype") == Some("account") {
        access.allow(Level::Service, "r")?;
        return Ok(account_information());
    }
    let Some(container) = asked.first.clone() else {
        return account(core, access, &asked, body).await;
    };
    if !name::is_container(&container) {
        return Err(Fault::resource_name(&container));
    }
    let Some(blob) = asked.rest.clone() else {
        return whole(core, access, &asked, container).await;
    };
    if !name::is_blob(&blob) {
        return Err(Fault::uri(format!("{}.", name::BLOB_RULE)));
    }
    let conditions = Conditions::read(&asked)?;
    let target = Target { container, blob, conditions, now: core.now() };
    one(core, access, &asked, target, body).await
}

fn account_information() -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    set(&mut response, "x-ms-sku-name", "Standard_LRS");
    set(&mut response, "x-ms-account-kind", "StorageV2");
    set(&mut response, "x-ms-is-hns-enabled", "false");
    response
}

async fn account(core: &Core, access: &Access, asked: &Asked, body: Body) -> Answer {
    match (&asked.method, asked.parameter("comp")) {
        (&Method::GET, Some("list")) => {
            access.allow(Level::Service, "l")?;
            list_containers(core, asked).await
        }
        (_, Some("properties")) => core.service_properties(access, asked, body, Kind::Blob).await,
        _ => Err(Fault::not_implemented()),
    }
}

async fn list_containers(core: &Core, asked: &Asked) -> Answer {
    let page = asked.page()?;
    let mut writer = Writer::new();
    let endpoint = xml::escape(&core.endpoint(asked));
    writer.open(&format!("EnumerationResults ServiceEndpoint=\"{endpoint}\""));
    writer.leaf("Prefix", &page.prefix).leaf("MaxResults", page.max).open("Containers");
    let (containers, next) = core.database.read(move |db| rows::list_containers(db, &page)).await?;
    for container in containers {
        writer.open("Container").leaf("Name", container.name).open("Properties");
        writer.leaf("Last-Modified", date::rfc1123(container.modified));
        writer.leaf("Etag", container.etag);
        writer.leaf("LeaseStatus", "unlocked").leaf("LeaseState", "available");
        writer.leaf("HasImmutabilityPolicy", false).leaf("HasLegalHold", false);
        writer.close("Properties");
        if asked.includes("metadata") {
            metadata_element(&mut writer, &container.metadata);
        }
        writer.close("Container");
    }
    writer.close("Containers").leaf("NextMarker", next.as_deref().map(marker).unwrap_or_default());
    writer.close("EnumerationResults");
    Ok(document(StatusCode::OK, writer))
}

async fn whole(core: &Core, access: &Access, asked: &Asked, container: String) -> Answer {
    if asked.parameter("restype") != Some("container") {
        // Without it the name is that of a blob in the root container.
        return Err(Fault::not_implemented());
    }
    let now = core.now();
    match (&asked.method, asked.parameter("comp")) {
        (&Method::PUT, None) => {
            access.allow(Level::Container, "cw")?;
            let metadata = pack(&asked.metadata()?);
            let work = move |db: &_| rows::create_container(db, &container, &metadata, now);
            let made = core.database.write(work).await?;
            Ok(container_answer(StatusCode::CREATED, &made))
        }
        (&Method::GET | &Method::HEAD, None | Some("metadata")) => {
            access.allow(Level::Container, "r")?;
            let found = core.database.read(move |db| rows::container(db, &container)).await?;
            let mut response = container_answer(StatusCode::OK, &found);
            set(&mut response, "x-ms-lease-status", "unlocked");
            set(&mut response, "x-ms-lease-state", "available");
            set(&mut response, "x-ms-has-immutability-policy", "false");
            set(&mut response, "x-ms-has-legal-hold", "false");
            set_metadata(&mut response, &found.metadata);
            Ok(response)
        }
        (&Method::PUT, Some("metadata")) => {
            access.allow(Level::Container, "w")?;
            let metadata = pack(&asked.metadata()?);
            let work = move |db: &_| rows::set_container_metadata(db, &container, &metadata, now);
            let changed = core.database.write(work).await?;
            Ok(container_answer(StatusCode::OK, &changed))
        }
        (&Method::DELETE, None) => {
            access.allow(Level::Container, "d")?;
            let work = move |db: &_| rows::delete_container(db, &container);
            core.database.write_then(work, core.deletes()).await?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        (&Method::GET, Some("list")) => {
            access.allow(Level::Container, "l")?;
            list(core, asked, container).await
        }
        _ => Err(Fault::not_implemented()),
    }
}

fn container_answer(status: StatusCode, container: &ContainerRow) -> Response<Body> {
    let mut response = empty(status);
    set(&mut response, "etag", &container.etag);
    set(&mut response, "last-modified", date::rfc1123(container.modified));
    response
}

async fn list(core: &Core, asked: &Asked, container: String) -> Answer {
    let (page, now) = (asked.page()?, core.now());
    let delimiter = asked.parameter("delimiter").map(str::to_owned);
    let mut writer = Writer::new();
    let endpoint = xml::escape(&core.endpoint(asked));
    writer.open(&format!(
        "EnumerationResults ServiceEndpoint=\"{endpoint}\" ContainerName=\"{container}\""
    ));
    writer.leaf("Prefix", &page.prefix).leaf("MaxResults", page.max);
    if let Some(delimiter) = &delimiter {
        writer.leaf("Delimiter", delimiter);
    }
    let read = move |db: &_| rows::list(db, &container, &page, delimiter.as_deref());
    let (listed, next) = core.database.read(read).await?;
    writer.open("Blobs");
    for one in listed {
        match one {
            Listed::Blob(blob) => listed_blob(&mut writer, &blob, asked, now),
            Listed::Prefix(prefix) => {
                writer.open("BlobPrefix");
                listed_name(&mut writer, &prefix);
                writer.close("BlobPrefix");
            }
        }
    }
    writer.close("Blobs").leaf("NextMarker", next.as_deref().map(marker).unwrap_or_default());
    writer.close("EnumerationResults");
    Ok(document(StatusCode::OK, writer))
}

fn listed_name(writer: &mut Writer, name: &str) {
    if xml::can_hold(name) {
        writer.leaf("Name", name);
    } else {
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        writer.open("Name Encoded=\"true\"").raw(&encoded).close("Name");
    }
}

fn listed_blob(writer: &mut Writer, blob: &BlobRow, asked: &Asked, now: i64) {
    writer.open("Blob");
    listed_name(writer, &blob.name);
    writer.open("Properties").leaf("Creation-Time", date::rfc1123(blob.created));
    writer.leaf("Last-Modified", date::rfc1123(blob.modified));
    writer.leaf("Etag", blob.etag.trim_matches('"')).leaf("Content-Length", blob.length);
    let described = unpack(&blob.headers);
    for (_, header) in DESCRIBING {
        let element = match header {
            "content-type" => "Content-Type",
            "content-encoding" => "Content-Encoding",
            "content-language" => "Content-Language",
            "content-md5" => "Content-MD5",
            "cache-control" => "Cache-Control",
            _ => "Content-Disposition",
        };
        let value = described.iter().find(|(name, _)| name == header);
        writer.leaf(element, value.map_or("", |(_, value)| value));
    }
    writer.leaf("BlobType", "BlockBlob").leaf("AccessTier", "Hot");
    writer.leaf("AccessTierInferred", true);
    let [status, state] = lease_words(blob, now);
    writer.leaf("LeaseStatus", status).leaf("LeaseState", state).leaf("ServerEncrypted", false);
    writer.close("Properties");
    if asked.includes("metadata") {
        metadata_element(writer, &blob.metadata);
    }
    writer.close("Blob");
}

/// The words for status and state of a lease.
fn lease_words(blob: &BlobRow, now: i64) -> [&'static str; 2] {
    match (&blob.lease, blob.lease_held(now)) {
        (_, Some(_)) => ["locked", "leased"],
        (Some(_), None) => ["unlocked", "expired"],
        (None, None) => ["unlocked", "available"],
    }
}

async fn one(core: &Core, access: &Access, asked: &Asked, target: Target, body: Body) -> Answer {
    match (&asked.method, asked.parameter("comp")) {
        (&Method::GET, None) => {
            access.allow(Level::Object, "r")?;
            get(core, asked, target).await
        }
        (&Method::HEAD, None) => {
            access.allow(Level::Object, "r")?;
            let now = target.now;
            let found = core.database.read(move |db| rows::blob(db, &target, Intent::Read)).await?;
            let mut response = empty(StatusCode::OK);
            describe(&mut response, &found, now);
            set(&mut response, "content-length", found.length);
            Ok(response)
        }
        (&Method::PUT, None) => {
            access.allow(Level::Object, "cw")?;
            put(core, asked, target, body).await
        }
        (&Method::DELETE, None) => {
            access.allow(Level::Object, "d")?;
            core.database.write_then(move |db| rows::delete(db, &target), core.deletes()).await?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        (&Method::PUT, Some("block")) => {
            access.allow(Level::Object, "cw")?;
            put_block(core, asked, target, body).await
        }
        (&Method::PUT, Some("blocklist")) => {
            access.allow(Level::Object, "cw")?;
            put_block_list(core, asked, target, body).await
        }
        (&Method::GET, Some("blocklist")) => {
            access.allow(Level::Object, "r")?;
            block_list(core, asked, target).await
        }
        (&Method::GET | &Method::HEAD, Some("metadata")) => {
            access.allow(Level::Object, "r")?;
            let found = core.database.read(move |db| rows::blob(db, &target, Intent::Read)).await?;
            let mut response = written(StatusCode::OK, &found);
            set_metadata(&mut response, &found.metadata);
            Ok(response)
        }
        (&Method::PUT, Some("metadata")) => {
            access.allow(Level::Object, "w")?;
            let metadata = pack(&asked.metadata()?);
            change(core, target, Described::Metadata, metadata).await
        }
        (&Method::PUT, Some("properties")) => {
            access.allow(Level::Object, "w")?;
            change(core, target, Described::Headers, pack(&described(asked))).await
        }
        (&Method::PUT, Some("lease")) => {
            access.allow(Level::Object, "w")?;
            lease(core, asked, target).await
        }
        _ => Err(Fault::not_implemented()),
    }
}

/// The answer to a write.
fn written(status: StatusCode, blob: &BlobRow) -> Response<Body> {
    let mut response = empty(status);
    set(&mut response, "etag", &blob.etag);
    set(&mut response, "last-modified", date::rfc1123(blob.modified));
    response
}

/// All headers that tell of a blob.
fn describe(response: &mut Response<Body>, blob: &BlobRow, now: i64) {
    for (name, value) in unpack(&blob.headers) {
        let known = DESCRIBING.into_iter().find(|(_, header)| *header == name);
        if let Some((_, header)) = known {
            set(response, header, value);
        }
    }
    set(response, "etag", &blob.etag);
    set(response, "last-modified", date::rfc1123(blob.modified));
    set(response, "x-ms-creation-time", date::rfc1123(blob.created));
    set(response, "x-ms-blob-type", "BlockBlob");
    set(response, "accept-ranges", "bytes");
    let [status, state] = lease_words(blob, now);
    set(response, "x-ms-lease-status", status);
    set(response, "x-ms-lease-state", state);
    set(response, "x-ms-access-tier", "Hot");
    set(response, "x-ms-access-tier-inferred", "true");
    set(response, "x-ms-server-encrypted", "false");
    set_metadata(response, &blob.metadata);
}

/// What is read of a blob at once.
enum Found {
    Bytes(BlobRow, Bytes),
    InFile(BlobRow, String),
}

async fn get(core: &Core, asked: &Asked, target: Target) -> Answer {
    let target = std::sync::Arc::new(target);
    for _ in 0..READS {
        let wanted = target.clone();
        let read = move |db: &_| {
            let blob = rows::blob(db, &wanted, Intent::Read)?;
            match blob.place.clone() {
                Place::Row(row) => Ok(Found::Bytes(blob, content::row(db, row)?)),
                Place::File(file) => Ok(Found::InFile(blob, file)),
            }
        };
        match core.database.read(read).await? {
            Found::Bytes(blob, bytes) => {
                let range = range(asked, blob.length)?;
                let part = range.clone().unwrap_or(0..blob.length);
                let part = bytes.slice(part.start as usize..part.end as usize);
                return Ok(content_answer(&blob, range, Body::from(part), target.now));
            }
            Found::InFile(blob, name) => {
                let range = range(asked, blob.length)?;
                let part = range.clone().unwrap_or(0..blob.length);
                if let Some(file) = content::open(&core.files, &name, part.start).await? {
                    let body = content::file_body(file, &part);
                    return Ok(content_answer(&blob, range, body, target.now));
                }
            }
        }
    }
    tracing::error!(blob = %target.blob, "the file of a blob is not there");
    Err(Fault::internal())
}

fn content_answer(
    blob: &BlobRow,
    range: Option<Range<u64>>,
    body: Body,
    now: i64,
) -> Response<Body> {
    let mut response = Response::new(body);
    describe(&mut response, blob, now);
    match range {
        None => set(&mut response, "content-length", blob.length),
        Some(range) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, "content-length", range.end - range.start);
            let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.length);
            set(&mut response, "content-range", shown);
            // A checksum of the whole would be taken for one of the part.
            if let Some(sum) = response.headers_mut().remove("content-md5") {
                response.headers_mut().insert("x-ms-blob-content-md5", sum);
            }
        }
    }
    response
}

/// The part that is asked for, cut at the blob's end.
fn range(asked: &Asked, length: u64) -> Result<Option<Range<u64>>, Fault> {
    let Some(text) = asked.header("x-ms-range").or(asked.header("range")) else { return Ok(None) };
    let bounds = text.strip_prefix("bytes=").and_then(|bounds| bounds.split_once('-'));
    let parsed = bounds.and_then(|(first, last)| {
        let first: u64 = first.parse().ok()?;
        let end =
            if last.is_empty() { u64::MAX } else { last.parse::<u64>().ok()?.saturating_add(1) };
        (first < end).then_some(first..end)
    });
    // Whoever writes a range in another way gets the whole, as HTTP has it.
    let Some(range) = parsed else { return Ok(None) };
    if range.start >= length {
        let message = "The range specified is invalid for the current size of the resource.";
        let fault = Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", message);
        return Err(fault.header("content-range", format!("bytes */{length}")));
    }
    Ok(Some(range.start..range.end.min(length)))
}

/// The headers of a request that describe the content.
fn described(asked: &Asked) -> Vec<(String, String)> {
    let value = |(given, kept): (&'static str, &'static str)| {
        asked.header(given).map(|value| (kept.to_owned(), value.to_owned()))
    };
    DESCRIBING.into_iter().filter_map(value).collect()
}

/// What a new blob is described by: a type is always there, and the body's own headers count where no others are.
fn described_new(asked: &Asked, body_headers: &[&'static str]) -> String {
    let mut described = described(asked);
    for header in body_headers {
        if let Some(value) = asked.header(header)
            && described.iter().all(|(name, _)| name != header)
        {
            described.push(((*header).to_owned(), value.to_owned()));
        }
    }
    if described.iter().all(|(name, _)| name != "content-type") {
        described.push(("content-type".to_owned(), "application/octet-stream".to_owned()));
    }
    pack(&described)
}

async fn put(core: &Core, asked: &Asked, target: Target, body: Body) -> Answer {
    match asked.header("x-ms-blob-type") {
        Some("BlockBlob") => {}
        Some(kind @ ("AppendBlob" | "PageBlob")) => {
            let kind = kind.trim_end_matches("Blob");
            let message = format!("{kind} blobs are not supported.");
            return Err(Fault::new(StatusCode::BAD_REQUEST, "BlobTypeNotSupported", message));
        }
        Some(other) => return Err(Fault::header_value("x-ms-blob-type", other)),
        None => return Err(Fault::missing_header("x-ms-blob-type")),
    }
    if asked.headers.contains_key("x-ms-copy-source") {
        return Err(Fault::not_implemented());
    }
    let new = NewBlob {
        headers: described_new(
            asked,
            &["content-type", "content-encoding", "content-language", "content-md5"],
        ),
        metadata: pack(&asked.metadata()?),
        blocks: String::new(),
    };
    let content = content::receive(body, &core.files, BODY_MAX).await?;
    let (deletes, tells) = (core.deletes(), core.tells(&target.container, &target.blob));
    let work = move |db: &_| rows::put(db, &target, content, &new);
    let after = move |(_, freed): &(BlobRow, Freed)| {
        deletes(freed);
        tells();
    };
    let (blob, _) = core.database.write_then(work, after).await?;
    let mut response = written(StatusCode::CREATED, &blob);
    set(&mut response, "x-ms-request-server-encrypted", "false");
    echo_md5(&mut response, asked);
    Ok(response)
}

fn echo_md5(response: &mut Response<Body>, asked: &Asked) {
    if let Some(sum) = asked.header("content-md5") {
        set(response, "content-md5", sum);
    }
}

async fn put_block(core: &Core, asked: &Asked, target: Target, body: Body) -> Answer {
    let id = asked.parameter("blockid").ok_or_else(|| Fault::missing_query("blockid"))?.to_owned();
    if BASE64_STANDARD.decode(&id).map_or(true, |id| id.len() > 64) {
        return Err(Fault::query_value("blockid", &id, "not base64 of at most 64 bytes"));
    }
    let content = content::receive(body, &core.files, BODY_MAX).await?;
    let work = move |db: &_| rows::put_block(db, &target, &id, content);
    core.database.write_then(work, core.deletes()).await?;
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, "x-ms-request-server-encrypted", "false");
    echo_md5(&mut response, asked);
    Ok(response)
}

/// A part of a blob to be: bytes of a block, or of the blob that is there.
#[derive(Debug, Clone)]
struct Source {
    id: String,
    place: Place,
    start: u64,
    length: u64,
}

async fn put_block_list(core: &Core, asked: &Asked, target: Target, body: Body) -> Answer {
    let list = body_up_to(body, BLOCKS_MAX * 256).await?;
    let list = xml::parse(&list).filter(|list| list.name == "BlockList");
    let list = list.ok_or_else(Fault::invalid_xml)?.children;
    if list.len() > BLOCKS_MAX {
        return Err(Fault::invalid_block_list());
    }
    let (container, blob) = (target.container.clone(), target.blob.clone());
    let read = move |db: &_| {
        let present = rows::present(db, &container, &blob)?;
        let committed = present.map(|blob| committed(&blob)).unwrap_or_default();
        let waiting: Vec<_> =
            rows::blocks(db, &container, &blob)?.into_iter().map(source).collect();
        let pick = |wanted: &xml::Element| pick(wanted, &waiting, &committed);
        list.iter().map(pick).collect::<Option<Vec<_>>>().ok_or_else(Fault::invalid_block_list)
    };
    let sources = core.database.read(read).await?;
    let blocks: Vec<_> =
        sources.iter().map(|one| (one.id.clone(), one.length.to_string())).collect();
    let new = NewBlob {
        headers: described_new(asked, &[]),
        metadata: pack(&asked.metadata()?),
        blocks: pack(&blocks),
    };
    let mut sink = Sink::new(&core.files);
    for source in sources {
        add(core, source, &mut sink).await?;
    }
    let content = sink.finish().await?;
    let (deletes, tells) = (core.deletes(), core.tells(&target.container, &target.blob));
    let work = move |db: &_| rows::put(db, &target, content, &new);
    let after = move |(_, freed): &(BlobRow, Freed)| {
        deletes(freed);
        tells();
    };
    let (blob, _) = core.database.write_then(work, after).await?;
    let mut response = written(StatusCode::CREATED, &blob);
    set(&mut response, "x-ms-request-server-encrypted", "false");
    Ok(response)
}

fn source(block: BlockRow) -> Source {
    Source { id: block.id, place: block.place, start: 0, length: block.length }
}

/// The blocks that a blob was made of, as parts of it.
fn committed(blob: &BlobRow) -> Vec<Source> {
    let mut start = 0;
    let part = |(id, length): (String, String)| {
        let length = length.parse().expect("the service wrote it");
        let source = Source { id, place: blob.place.clone(), start, length };
        start += length;
        source
    };
    unpack(&blob.blocks).into_iter().map(part).collect()
}

fn pick(wanted: &xml::Element, waiting: &[Source], committed: &[Source]) -> Option<Source> {
    let find = |sources: &[Source]| sources.iter().find(|one| one.id == wanted.text).cloned();
    match wanted.name.as_str() {
        "Uncommitted" => find(waiting),
        "Committed" => find(committed),
        "Latest" => find(waiting).or_else(|| find(committed)),
        _ => None,
    }
}

/// Copies a part. One that was replaced in between makes the list invalid.
async fn add(core: &Core, source: Source, sink: &mut Sink) -> Result<(), Fault> {
    match source.place {
        Place::Row(row) => {
            let bytes = core.database.read(move |db| content::row(db, row)).await;
            let bytes = bytes.map_err(|_| Fault::invalid_block_list())?;
            sink.push(&bytes[source.start as usize..(source.start + source.length) as usize]).await
        }
        Place::File(name) => {
            let file = content::open(&core.files, &name, source.start).await?;
            content::copy(file.ok_or_else(Fault::invalid_block_list)?, source.length, sink).await
        }
    }
}

async fn block_list(core: &Core, asked: &Asked, target: Target) -> Answer {
    let read = move |db: &_| {
        let present = rows::present(db, &target.container, &target.blob)?;
        Ok((present, rows::blocks(db, &target.container, &target.blob)?))
    };
    let (present, waiting) = core.database.read(read).await?;
    if present.is_none() && waiting.is_empty() {
        return Err(Fault::blob_not_found());
    }
    let kinds = asked.parameter("blocklisttype").unwrap_or("committed").to_owned();
    let waiting: Vec<_> = waiting.into_iter().map(source).collect();
    let committed = present.as_ref().map(committed).unwrap_or_default();
    let mut writer = Writer::new();
    writer.open("BlockList");
    let lists = [
        ("CommittedBlocks", "uncommitted", committed),
        ("UncommittedBlocks", "committed", waiting),
    ];
    for (element, other, blocks) in lists {
        if kinds == other {
            continue;
        }
        writer.open(element);
        for block in blocks {
            writer.open("Block").leaf("Name", block.id).leaf("Size", block.length).close("Block");
        }
        writer.close(element);
    }
    writer.close("BlockList");
    let mut response = document(StatusCode::OK, writer);
    if let Some(blob) = present {
        set(&mut response, "etag", &blob.etag);
        set(&mut response, "last-modified", date::rfc1123(blob.modified));
        set(&mut response, "x-ms-blob-content-length", blob.length);
    }
    Ok(response)
}

async fn change(core: &Core, target: Target, column: Described, packed: String) -> Answer {
    let tells = core.tells(&target.container, &target.blob);
    let work = move |db: &_| rows::describe(db, &target, column, &packed);
    let changed = core.database.write_then(work, |_| tells()).await?;
    Ok(written(StatusCode::OK, &changed))
}

async fn lease(core: &Core, asked: &Asked, mut target: Target) -> Answer {
    let action = LeaseAction::read(asked, random_id())?;
    // The header with the lease's id is part of the action and not a condition for it.
    target.conditions.forget_lease();
    let (blob, lease) = core.database.write(move |db| rows::lease(db, &target, action)).await?;
    let mut response = written(lease.status, &blob);
    match (lease.left, lease.id) {
        (Some(left), _) => set(&mut response, "x-ms-lease-time", left),
        (None, Some(id)) => set(&mut response, "x-ms-lease-id", id),
        (None, None) => {}
    }
    Ok(response)
}

impl Core {
    /// Deletes files once no row speaks of them.
    fn deletes(&self) -> impl FnOnce(&Freed) + Send + 'static {
        let folder = self.files.clone();
        move |freed| {
            for name in freed {
                if let Err(error) = std::fs::remove_file(folder.join(name)) {
                    // It is found again when the service is opened next.
                    tracing::warn!(%name, %error, "a replaced blob's file cannot be deleted");
                }
            }
        }
    }
}
