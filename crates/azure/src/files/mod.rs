//! File shares of a storage account: what is in them, read and never written.
//!
//! F1  One call is one request. [`crate::retry::retry`] repeats those that are worth it.
//! F2  Paths and names are given decoded, with `/` between directories, and are sent percent-encoded part by part. Every
//!     name that the service gives reaches its file, also one that ends in dots.
//! F3  A page may be empty and still have others behind it: only a page without `next` is the last.
//! F4  A key signs, a token is sent over TLS only; neither stands in an error or in `Debug`.
//!
//! Absent on purpose: writing, snapshots, shared access signatures. Start at [`Files`].

mod error;
mod listing;
mod management;

use std::{
    fmt::{self, Write as _},
    ops::Range,
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use everstep_storage::account::sign::{self, Signed};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, IF_MATCH},
};
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use reqwest::{Client, Response, Url};

use self::error::Refusal;
pub use self::{error::Error, management::Management};
use crate::{
    Clock, Invalid,
    identity::{Identity, STORAGE},
    system_clock, wire,
};

const VERSION: &str = "2024-11-04";
/// The most entries that the service puts into a page.
pub const PAGE_MAX: u32 = 5_000;

/// The file service of an account. A clone shares its connections.
#[derive(Clone)]
pub struct Files {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Url,
    account: String,
    credentials: Credentials,
    http: Client,
    clock: Clock,
}

/// What proves that the account may be read.
#[derive(Clone)]
pub enum Credentials {
    /// One of the account's two keys.
    Key(AccountKey),
    /// The identity of the app, which needs the role "Storage File Data Privileged Reader".
    Identity(Identity),
}

impl Credentials {
    /// The account's key as the portal shows it, in base64.
    pub fn key(text: &str) -> Result<Self, Invalid> {
        AccountKey::parse(text).map(Self::Key)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("Key(hidden)"),
            Self::Identity(identity) => identity.fmt(f),
        }
    }
}

/// The key of an account, decoded.
#[derive(Clone)]
pub struct AccountKey(Vec<u8>);

impl AccountKey {
    /// Reads base64.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let key = BASE64_STANDARD.decode(text.trim()).ok().filter(|key| !key.is_empty());
        let hint = "copy the whole key as the portal shows it, with the `=` signs at its end";
        key.map(Self).ok_or_else(|| Invalid::secret("key of the storage account", hint))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(hidden)")
    }
}

/// Some shares of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharesPage {
    /// In the order of their names.
    pub shares: Vec<Share>,
    /// Where the next page begins; the last page has none.
    pub next: Option<String>,
}

/// A share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// The time of the snapshot, if it is one.
    pub snapshot: Option<String>,
    /// Whether it is deleted and kept for a while.
    pub is_deleted: bool,
    /// How it is mounted.
    pub protocol: Protocol,
}

/// How a share is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// As Windows does.
    Smb,
    /// As Linux does; such a share may refuse to be listed here.
    Nfs,
}

impl Protocol {
    fn of(text: &str) -> Self {
        if text.eq_ignore_ascii_case("nfs") { Self::Nfs } else { Self::Smb }
    }
}

/// Some entries of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Files and directories, mixed, in the order of their names.
    pub entries: Vec<Entry>,
    /// Where the next page begins; the last page has none.
    pub next: Option<String>,
}

/// A file or a directory in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name within its directory.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// When it was made, if the listing says so.
    pub created: Option<Timestamp>,
    /// `Last-Modified`, if the listing says so.
    pub last_modified: Option<Timestamp>,
    /// When its content was last written, as tools of Windows show it, if the listing says so.
    pub last_write: Option<Timestamp>,
    /// The tag of this state of it, if the listing says so.
    pub etag: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Its size in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
}

/// What a file's headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// The size of the whole file in bytes.
    pub size: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// `Last-Modified`.
    pub last_modified: Option<Timestamp>,
    /// When its content was last written.
    pub last_write: Option<Timestamp>,
    /// The tag of this state of it.
    pub etag: Option<String>,
}

/// The bytes of a file on their way.
#[derive(Debug)]
pub struct Content {
    /// Of the whole file, whatever was asked for.
    pub properties: Properties,
    doing: String,
    host: String,
    body: Response,
}

impl Content {
    /// The next bytes; `None` at the end. An answer that breaks off is an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.body.chunk().await.map_err(|error| Error::Unreachable {
            doing: self.doing.clone(),
            host: self.host.clone(),
            reason: wire::network_reason(error),
        })
    }

    /// All bytes that are left. For small ranges: they are in memory at once.
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        let mut whole = bytes::BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }
}

/// Where the file service of an account answers in the public cloud.
pub fn public_endpoint(account: &str) -> String {
    format!("https://{account}.file.core.windows.net")
}

impl Files {
    /// The account's file service at an address, [`public_endpoint`] unless told otherwise.
    pub fn new(
        endpoint: &str,
        account: &str,
        credentials: Credentials,
        http: Client,
    ) -> Result<Self, Invalid> {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(3..=24).contains(&account.len()) || !account.bytes().all(is_letter) {
            let hint = "an account's name has 3 to 24 lower-case letters and digits";
            return Err(Invalid::new("storage account", account, hint));
        }
        let what = "endpoint of the file service";
        let endpoint = match &credentials {
            Credentials::Key(_) => wire::web_address(what, endpoint)?,
            Credentials::Identity(_) => wire::endpoint(what, endpoint)?,
        };
        let (account, clock) = (account.to_owned(), system_clock());
        let shared = Shared { endpoint, account, credentials, http, clock };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.shared.account
    }

    /// Shares of the account, snapshots left out. `marker` is the `next` of the page before.
    pub async fn shares(&self, marker: Option<&str>) -> Result<SharesPage, Error> {
        let mut call = Call::new(Method::GET, "listing the shares".to_owned());
        call.query("comp", "list");
        if let Some(marker) = marker {
            call.query("marker", marker);
        }
        let body = self.document(call).await?;
        listing::shares(&body).ok_or_else(|| strange("listing the shares", "lists no shares"))
    }

    /// Entries of one directory; the root is `""`. `marker` is the `next` of the page before; `max` is 1 to [`PAGE_MAX`],
    /// and the service may put fewer into a page.
    pub async fn list(
        &self,
        share: &str,
        directory: &str,
        marker: Option<&str>,
        max: u32,
    ) -> Result<Page, Error> {
        let doing = format!("listing `{directory}` of the share `{share}`");
        let mut call = Call::new(Method::GET, doing.clone());
        call.path(share, directory)?;
        call.query("restype", "directory");
        call.query("comp", "list");
        call.query("include", "Timestamps,ETag");
        call.query("maxresults", &max.clamp(1, PAGE_MAX).to_string());
        if let Some(marker) = marker {
            call.query("marker", marker);
        }
        call.header("x-ms-file-extended-info", "true")?;
        let body = self.document(call).await?;
        listing::entries(&body).ok_or_else(|| strange(&doing, "lists no entries"))
    }

    /// What the service says of one file.
    pub async fn properties(&self, share: &str, path: &str) -> Result<Properties, Error> {
        let doing = format!("looking at `{path}` of the share `{share}`");
        let mut call = Call::new(Method::HEAD, doing.clone());
        call.file_path(share, path)?;
        let answer = self.send(call).await?;
        let size = answer.headers().get("content-length").and_then(number);
        properties(answer.headers(), size).ok_or_else(|| strange(&doing, "has no length"))
    }

    /// Reads a file, or the bytes of a range that lie in it. With `if_match`, the tag from a listing or from the first
    /// range, a file that was changed since gives [`Error::Changed`].
    pub async fn read(
        &self,
        share: &str,
        path: &str,
        range: Option<Range<u64>>,
        if_match: Option<&str>,
    ) -> Result<Content, Error> {
        let doing = format!("reading `{path}` of the share `{share}`");
        let mut call = Call::new(Method::GET, doing.clone());
        call.file_path(share, path)?;
        if let Some(range) = &range {
            if range.is_empty() {
                return Err(call.invalid("the range is empty; leave it out to read the whole file"));
            }
            call.header("x-ms-range", &format!("bytes={}-{}", range.start, range.end - 1))?;
        }
        if let Some(tag) = if_match {
            call.header(IF_MATCH.as_str(), tag)?;
        }
        let body = self.send(call).await?;
        let size = match (&range, body.status()) {
            (Some(range), StatusCode::PARTIAL_CONTENT) => total(body.headers(), range.start),
            (None, StatusCode::OK) => body.headers().get("content-length").and_then(number),
            _ => None,
        };
        let properties = properties(body.headers(), size)
            .ok_or_else(|| strange(&doing, "is not what was asked for"))?;
        let host = wire::host(&self.shared.endpoint).to_owned();
        Ok(Content { properties, doing, host, body })
    }

    /// The whole document that answers a call.
    async fn document(&self, call: Call) -> Result<Bytes, Error> {
        let doing = call.doing.clone();
        let host = wire::host(&self.shared.endpoint).to_owned();
        let body = self.send(call).await?.bytes().await;
        body.map_err(|error| Error::Unreachable {
            doing,
            host,
            reason: wire::network_reason(error),
        })
    }

    /// The answer, if it is a success.
    async fn send(&self, call: Call) -> Result<Response, Error> {
        let shared = &*self.shared;
        let mut url = wire::below(&shared.endpoint, &call.path);
        url.set_query(Some(call.query.as_str()).filter(|query| !query.is_empty()));
        let headers = shared.headers(&call, &url).await?;
        let sent = shared.http.request(call.method, url).headers(headers).send().await;
        let response = sent.map_err(|error| Error::Unreachable {
            doing: call.doing.clone(),
            host: wire::host(&shared.endpoint).to_owned(),
            reason: wire::network_reason(error),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(response).await.into_error(&call.doing))
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("endpoint", &self.shared.endpoint.as_str())
            .field("account", &self.shared.account)
            .field("credentials", &self.shared.credentials)
            .finish()
    }
}

impl Shared {
    /// The headers of a call, with what proves that it is allowed.
    async fn headers(&self, call: &Call, url: &Url) -> Result<HeaderMap, Error> {
        let now = Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut headers = call.headers.clone();
        let mut insert = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).expect("dates and ids are ASCII");
            headers.insert(HeaderName::from_static(name), value);
        };
        insert("x-ms-date", &wire::rfc1123(now));
        insert("x-ms-version", VERSION);
        insert("x-ms-client-request-id", &wire::request_id());
        insert("x-ms-allow-trailing-dot", "true");
        let proof = match &self.credentials {
            Credentials::Key(key) => {
                let (path, query) = (url.path(), url.query().unwrap_or_default());
                let signed = Signed { method: &call.method, path, query, headers: &headers };
                let value = sign::authorization(&self.account, &key.0, signed);
                let mut value = HeaderValue::try_from(value).expect("names and base64 are ASCII");
                value.set_sensitive(true);
                value
            }
            Credentials::Identity(identity) => {
                insert("x-ms-file-request-intent", "backup");
                wire::bearer(identity.token(STORAGE).await?.secret())
            }
        };
        headers.insert(AUTHORIZATION, proof);
        Ok(headers)
    }
}

/// One call before it is signed.
struct Call {
    doing: String,
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
}

impl Call {
    fn new(method: Method, doing: String) -> Self {
        let (path, query) = ("/".to_owned(), String::new());
        Self { doing, method, path, query, headers: HeaderMap::new() }
    }

    /// A directory or a file of a share.
    fn path(&mut self, share: &str, path: &str) -> Result<(), Error> {
        if share.is_empty() || share.contains('/') {
            return Err(self.invalid("a share's name is not empty and has no `/`"));
        }
        let parts = std::iter::once(share).chain(path.split('/').filter(|part| !part.is_empty()));
        let mut encoded = String::new();
        for part in parts {
            // Everything on the way would take these as steps, encoded or not; no file can have such a name.
            if part == "." || part == ".." {
                return Err(self.invalid("no part of a path is `.` or `..`"));
            }
            encoded.push('/');
            encoded.extend(utf8_percent_encode(part, &wire::RESERVED));
        }
        self.path = encoded;
        Ok(())
    }

    fn file_path(&mut self, share: &str, path: &str) -> Result<(), Error> {
        if path.trim_matches('/').is_empty() {
            return Err(self.invalid("the path names no file"));
        }
        self.path(share, path)
    }

    fn query(&mut self, name: &str, value: &str) {
        let separator = if self.query.is_empty() { "" } else { "&" };
        let value = utf8_percent_encode(value, &wire::RESERVED);
        write!(self.query, "{separator}{name}={value}").expect("memory takes all");
    }

    fn header(&mut self, name: &'static str, value: &str) -> Result<(), Error> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| self.invalid("the tag cannot be a header; hand it over as it came"))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(())
    }

    fn invalid(&self, problem: &'static str) -> Error {
        Error::Invalid { doing: self.doing.clone(), problem }
    }
}

fn strange(doing: &str, problem: &'static str) -> Error {
    Error::Strange { doing: doing.to_owned(), problem }
}

async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let retry_after = wire::retry_after(response.headers());
    let header = response.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok());
    let header = header.map(str::to_owned);
    let (code, message) = listing::refusal(&wire::beginning(response).await);
    let code = header.or(code).unwrap_or_else(|| code_of(status).to_owned());
    let message = message.as_deref().and_then(|message| message.lines().next()).map(wire::shown);
    Refusal { status, code, message: message.unwrap_or_else(|| status.to_string()), retry_after }
}

/// What stands for a code where the answer has no body, as those to `HEAD`.
fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "ResourceNotFound",
        StatusCode::FORBIDDEN => "AuthorizationFailure",
        _ => "Unknown",
    }
}

fn properties(headers: &HeaderMap, size: Option<u64>) -> Option<Properties> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Some(Properties {
        size: size?,
        created: text("x-ms-file-creation-time").and_then(listing::time),
        last_modified: text("last-modified").and_then(wire::parse_rfc1123),
        last_write: text("x-ms-file-last-write-time").and_then(listing::time),
        etag: text("etag").map(str::to_owned),
    })
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// The size of the whole file, from `Content-Range: bytes 0-9/100`, if the range begins where it should.
fn total(headers: &HeaderMap, start: u64) -> Option<u64> {
    let range = headers.get("content-range")?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let begins = range.split_once('-')?.0.parse::<u64>().ok()?;
    (begins == start).then(|| total.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(endpoint: &str, account: &str, key: &str) -> String {
        let made = Credentials::key(key)
            .and_then(|credentials| Files::new(endpoint, account, credentials, Client::new()));
        made.unwrap_err().to_string()
    }

    fn path(share: &str, path: &str) -> Result<String, String> {
        let mut call = Call::new(Method::GET, "listing".to_owned());
        call.path(share, path).map_err(|error| error.to_string())?;
        let base = Url::parse("https://h").unwrap();
        Ok(wire::below(&base, &call.path).path().to_owned())
    }

    #[test]
    fn parts_of_a_path_are_encoded_one_by_one() {
        assert_eq!(path("s", ""), Ok("/s".to_owned()));
        assert_eq!(
            path("s", "a b/c%20&#?.x/ї./"),
            Ok("/s/a%20b/c%2520%26%23%3F.x/%D1%97.".to_owned())
        );
        assert_eq!(path("s", "a/.../b"), Ok("/s/a/.../b".to_owned()));
        assert_eq!(path("s", "%2e%2e/b"), Ok("/s/%252e%252e/b".to_owned()));
        assert_eq!(
            path("s", "a/../b"),
            Err("listing: no part of a path is `.` or `..`".to_owned())
        );
        assert_eq!(
            path("a/b", ""),
            Err("listing: a share's name is not empty and has no `/`".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_key() {
        assert_eq!(
            said("https://h", "Acct", "c2VjcmV0"),
            "the storage account is `Acct`; an account's name has 3 to 24 lower-case letters and digits"
        );
        assert_eq!(
            said("h", "acct", "c2VjcmV0"),
            "the endpoint of the file service is `h`; write an address such as `https://name.example.net`, without a query"
        );
        assert_eq!(
            said("https://h", "acct", "c2Vjc=V0"),
            "the key of the storage account is `(hidden)`; copy the whole key as the portal shows it, with the `=` signs at its end"
        );
    }

    #[test]
    fn debug_hides_the_key() {
        let credentials = Credentials::key("c2VjcmV0").unwrap();
        let files = Files::new(&public_endpoint("acct"), "acct", credentials, Client::new());
        assert_eq!(
            format!("{:?}", files.unwrap()),
            "Files { endpoint: \"https://acct.file.core.windows.net/\", account: \"acct\", credentials: Key(hidden) }"
        );
    }
}
