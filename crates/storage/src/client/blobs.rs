//! Containers and the blobs in them.

use std::{ops::Range, time::SystemTime};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Method;

use super::{
    ClientOptions, Created, Metadata, Transport,
    error::Error,
    transport::{Answer, Call},
};
use crate::{
    account::{Account, ConnectionError, Kind},
    date, name,
    xml::{self, Element},
};

/// Blobs up to this size go in one piece, larger ones in blocks of it.
const BLOCK_BYTES: usize = 8 << 20;

/// The blobs of an account. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    transport: Transport,
}

/// When a blob may be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    #[default]
    None,
    /// Only if there is none of that name.
    IfAbsent,
    /// Only if it is still the one with this tag.
    IfMatch(String),
}

/// How a blob is put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutBlob {
    /// What the content is; `application/octet-stream` when empty.
    pub content_type: String,
    /// What is attached to it.
    pub metadata: Metadata,
    /// When it may be put.
    pub condition: Condition,
}

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobProperties {
    /// How many bytes the whole blob has.
    pub length: u64,
    /// Its tag, which changes with each write.
    pub etag: String,
    /// When it was written.
    pub modified: SystemTime,
    /// What its content is.
    pub content_type: String,
    /// What is attached to it.
    pub metadata: Metadata,
}

/// A blob whose content arrives piece by piece.
pub struct BlobStream {
    /// What is known of it.
    pub properties: BlobProperties,
    answer: Answer,
}

/// What a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListBlobs {
    /// How names have to begin.
    pub prefix: String,
    /// Where to go on: `next` of the page before.
    pub marker: Option<String>,
    /// How many to bring at most; the service decides when zero.
    pub max: usize,
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobPage {
    /// The blobs, in the order of their names.
    pub blobs: Vec<ListedBlob>,
    /// Where the next part begins, if there is one.
    pub next: Option<String>,
}

/// A blob in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBlob {
    /// Its name within the container.
    pub name: String,
    /// What is known of it.
    pub properties: BlobProperties,
}

impl Blobs {
    /// The blobs of an account.
    pub fn new(account: &Account) -> Result<Self, ConnectionError> {
        Self::with_options(account, ClientOptions::default())
    }

    /// The blobs of an account, called in another way.
    pub fn with_options(
        account: &Account,
        options: ClientOptions,
    ) -> Result<Self, ConnectionError> {
        Ok(Self { transport: Transport::connect(account, Kind::Blob, options)? })
    }

    pub(crate) fn over(transport: Transport) -> Self {
        Self { transport }
    }

    /// Creates a container unless it is there.
    pub async fn create_container(&self, container: &str) -> Result<Created, Error> {
        let call = container_call(Method::PUT, container, "creating")?;
        match self.transport.send(call).await {
            Ok(_) => Ok(Created::New),
            Err(error) if error.code() == Some("ContainerAlreadyExists") => Ok(Created::Existed),
            Err(error) => Err(error),
        }
    }

    /// Deletes a container with all blobs in it.
    pub async fn delete_container(&self, container: &str) -> Result<(), Error> {
        let call = container_call(Method::DELETE, container, "deleting")?;
        self.transport.send(call).await.map(|_| ())
    }

    /// The names of all containers that begin like this, in order.
    pub async fn list_containers(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let mut marker = String::new();
        loop {
            let mut call =
                Call::new(Method::GET, "/", "listing containers".to_owned()).query("comp", "list");
            for (name, value) in [("prefix", prefix), ("marker", &marker)] {
                if !value.is_empty() {
                    call = call.query(name, value);
                }
            }
            let document = self.transport.send(call).await?.document().await?;
            let containers = document.child("Containers").cloned().unwrap_or_default();
            names.extend(containers.all("Container").map(|found| found.text_of("Name").to_owned()));
            document.text_of("NextMarker").clone_into(&mut marker);
            if marker.is_empty() {
                return Ok(names);
            }
        }
    }

    /// Writes a block blob and returns its tag. Large contents go in blocks; the blob appears when the last has arrived.
    pub async fn put(
        &self,
        container: &str,
        blob: &str,
        content: Bytes,
        how: &PutBlob,
    ) -> Result<String, Error> {
        let call = if content.len() <= BLOCK_BYTES {
            let call = blob_call(Method::PUT, container, blob, "writing")?;
            conditions(call, how)?.header("x-ms-blob-type", "BlockBlob")?.body(content)
        } else {
            let list = self.put_blocks(container, blob, &content).await?;
            let call =
                blob_call(Method::PUT, container, blob, "writing")?.query("comp", "blocklist");
            conditions(call, how)?.body(list)
        };
        let answer = self.transport.send(call).await?;
        answer.need("etag").map(str::to_owned)
    }

    /// Sends the blocks and returns the list that makes a blob of them.
    async fn put_blocks(
        &self,
        container: &str,
        blob: &str,
        content: &Bytes,
    ) -> Result<String, Error> {
        // A prefix of its own keeps two writers of one blob from mixing their blocks.
        let writer = super::transport::random_id();
        let mut list = xml::Writer::new();
        list.open("BlockList");
        for (index, start) in (0..content.len()).step_by(BLOCK_BYTES).enumerate() {
            let id = BASE64_STANDARD.encode(format!("{writer}-{index:06}"));
            let block = content.slice(start..content.len().min(start + BLOCK_BYTES));
            let call = blob_call(Method::PUT, container, blob, "writing a block of")?
                .query("comp", "block")
                .query("blockid", &id)
                .body(block);
            self.transport.send(call).await?;
            list.leaf("Latest", id);
        }
        list.close("BlockList");
        Ok(list.finish())
    }

    /// The whole content.
    pub async fn get(&self, container: &str, blob: &str) -> Result<(BlobProperties, Bytes), Error> {
        self.open(container, blob, None).await?.collect().await
    }

    /// A part of the content. It ends where the blob ends; one that begins behind the end is an error.
    pub async fn get_range(
        &self,
        container: &str,
        blob: &str,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let stream = self.open(container, blob, Some(range)).await?;
        Ok(stream.collect().await?.1)
    }

    /// The content piece by piece, all of it or a part.
    pub async fn open(
        &self,
        container: &str,
        blob: &str,
        range: Option<Range<u64>>,
    ) -> Result<BlobStream, Error> {
        let mut call = blob_call(Method::GET, container, blob, "reading")?;
        if let Some(range) = range {
            if range.is_empty() {
                let doing = format!("reading blob `{container}/{blob}`");
                return Err(Error::invalid(&doing, "the range is empty; ask for one byte or more"));
            }
            call =
                call.header("x-ms-range", &format!("bytes={}-{}", range.start, range.end - 1))?;
        }
        let answer = self.transport.send(call).await?;
        Ok(BlobStream { properties: properties(&answer)?, answer })
    }

    /// What is known of a blob.
    pub async fn head(&self, container: &str, blob: &str) -> Result<BlobProperties, Error> {
        let call = blob_call(Method::HEAD, container, blob, "looking at")?;
        properties(&self.transport.send(call).await?)
    }

    /// One page of the blobs of a container.
    pub async fn list(&self, container: &str, what: &ListBlobs) -> Result<BlobPage, Error> {
        let mut call = container_call(Method::GET, container, "listing")?
            .query("comp", "list")
            .query("include", "metadata");
        if !what.prefix.is_empty() {
            call = call.query("prefix", &what.prefix);
        }
        if let Some(marker) = &what.marker {
            call = call.query("marker", marker);
        }
        if what.max > 0 {
            call = call.query("maxresults", what.max);
        }
        let mut answer = self.transport.send(call).await?;
        let document = answer.document().await?;
        let blobs = document.child("Blobs").cloned().unwrap_or_default();
        let blobs: Result<_, _> =
            blobs.all("Blob").map(|element| listed(&answer.doing, element)).collect();
        let next = Some(document.text_of("NextMarker").to_owned());
        Ok(BlobPage { blobs: blobs?, next: next.filter(|next| !next.is_empty()) })
    }

    /// Deletes a blob.
    pub async fn delete(&self, container: &str, blob: &str) -> Result<(), Error> {
        let call = blob_call(Method::DELETE, container, blob, "deleting")?;
        self.transport.send(call).await.map(|_| ())
    }
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs").finish_non_exhaustive()
    }
}

impl BlobStream {
    /// The next piece; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.answer.chunk().await
    }

    async fn collect(mut self) -> Result<(BlobProperties, Bytes), Error> {
        let content = self.answer.bytes().await?;
        Ok((self.properties, content))
    }
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStream").field("properties", &self.properties).finish_non_exhaustive()
    }
}

fn container_call(method: Method, container: &str, verb: &str) -> Result<Call, Error> {
    let doing = format!("{verb} container `{container}`");
    if !name::is_container(container) {
        return Err(Error::invalid(&doing, name::RULE));
    }
    Ok(Call::new(method, &format!("/{container}"), doing).query("restype", "container"))
}

fn blob_call(method: Method, container: &str, blob: &str, verb: &str) -> Result<Call, Error> {
    let doing = format!("{verb} blob `{container}/{blob}`");
    if !name::is_container(container) {
        return Err(Error::invalid(&doing, format!("of its container: {}", name::RULE)));
    }
    if !name::is_blob(blob) {
        return Err(Error::invalid(&doing, name::BLOB_RULE));
    }
    Ok(Call::new(method, &format!("/{container}/{blob}"), doing))
}

fn conditions(call: Call, how: &PutBlob) -> Result<Call, Error> {
    let content_type = match how.content_type.as_str() {
        "" => "application/octet-stream",
        given => given,
    };
    let call = call.header("x-ms-blob-content-type", content_type)?.metadata(&how.metadata)?;
    match &how.condition {
        Condition::None => Ok(call),
        Condition::IfAbsent => call.header("if-none-match", "*"),
        Condition::IfMatch(etag) => call.header("if-match", etag),
    }
}

fn properties(answer: &Answer) -> Result<BlobProperties, Error> {
    // The answer to a range tells the whole length behind the slash.
    let whole = answer.header("content-range").and_then(|range| range.rsplit('/').next());
    let whole = whole.and_then(|length| length.parse().ok()).or(answer.length());
    let strange = || Error::strange(&answer.doing, "has no length");
    let modified = answer.need("last-modified")?;
    Ok(BlobProperties {
        length: whole.ok_or_else(strange)?,
        etag: answer.need("etag")?.to_owned(),
        modified: time(&answer.doing, modified)?,
        content_type: answer.header("content-type").unwrap_or_default().to_owned(),
        metadata: answer.metadata(),
    })
}

fn listed(doing: &str, element: &Element) -> Result<ListedBlob, Error> {
    let found = element.child("Properties").cloned().unwrap_or_default();
    let length = found.text_of("Content-Length").parse();
    let metadata = element.child("Metadata").cloned().unwrap_or_default().children;
    let etag = found.text_of("Etag").trim_matches('"');
    Ok(ListedBlob {
        name: listed_name(element),
        properties: BlobProperties {
            length: length.map_err(|_| Error::strange(doing, "has a blob without a length"))?,
            // Lists leave out the quotation marks that headers have.
            etag: format!("\"{etag}\""),
            modified: time(doing, found.text_of("Last-Modified"))?,
            content_type: found.text_of("Content-Type").to_owned(),
            metadata: metadata.into_iter().map(|pair| (pair.name, pair.text)).collect(),
        },
    })
}

/// Names that XML cannot hold come percent-encoded and say so.
fn listed_name(element: &Element) -> String {
    let Some(name) = element.child("Name") else { return String::new() };
    let is_encoded = name.attributes.iter().any(|(key, value)| key == "Encoded" && value == "true");
    if is_encoded {
        percent_encoding::percent_decode_str(&name.text).decode_utf8_lossy().into_owned()
    } else {
        name.text.clone()
    }
}

fn time(doing: &str, text: &str) -> Result<SystemTime, Error> {
    let strange = || Error::strange(doing, &format!("has `{text}` for a time"));
    Ok(date::system_time(date::parse_rfc1123(text).ok_or_else(strange)?))
}
