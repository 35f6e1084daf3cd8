//! Pages of a directory, their markers, and the XML they come in.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use everstep_storage::account::sign;
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{EmptyPages, Refused, State};
use crate::{
    server::{Asked, Payload},
    tree::{Described, Share},
};

/// The most entries of a page, whatever is asked for.
const PAGE_MAX: usize = 5_000;

/// Where a page begins, and which page it is.
pub(super) struct Marker {
    pub(super) from: String,
    page: u64,
}

impl Marker {
    /// That of the page after this one.
    pub(super) fn after(current: Option<&Marker>, from: String) -> Self {
        Self { from, page: current.map_or(0, |marker| marker.page) + 1 }
    }

    fn written(&self, place: &str) -> String {
        let text = format!("{}!{}", self.page, self.from);
        let proof = sign::signature(b"marker", &format!("{place}!{text}"));
        BASE64_URL_SAFE_NO_PAD.encode(format!("{}!{text}", &proof[..12]))
    }

    fn read(text: &str, place: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let decoded = String::from_utf8(bytes).ok()?;
        let (_, rest) = decoded.split_once('!')?;
        let (page, from) = rest.split_once('!')?;
        let marker = Self { from: from.to_owned(), page: page.parse().ok()? };
        (marker.written(place) == text).then_some(marker)
    }
}

/// The marker of a request; one that was made for another place or by somebody else is refused.
pub(super) fn marker(asked: &Asked, place: &str) -> Result<Option<Marker>, Refused> {
    match asked.parameter("marker").unwrap_or_default() {
        "" => Ok(None),
        text => Marker::read(text, place).map(Some).ok_or_else(|| Refused::parameter("marker")),
    }
}

/// How many entries a request wants.
pub(super) fn most(asked: &Asked) -> Result<usize, Refused> {
    match asked.parameter("maxresults") {
        None => Ok(PAGE_MAX),
        Some(text) => {
            let number = text.parse().ok().filter(|most| (1..=PAGE_MAX).contains(most));
            number.ok_or_else(|| Refused::parameter("maxresults"))
        }
    }
}

/// Whether the page has no entries although there are some: the second of those that have a second.
pub(super) fn is_empty_page(state: &State, marker: Option<&Marker>) -> bool {
    state.options.empty_pages == EmptyPages::Between
        && marker.is_some_and(|marker| marker.page == 1)
}

/// Ends a list with the marker of the next page.
pub(super) fn close(document: &mut String, place: &str, next: Option<Marker>) {
    let next = next.map_or_else(String::new, |next| next.written(place));
    write!(document, "<NextMarker>{next}</NextMarker></EnumerationResults>")
        .expect("memory takes all");
}

impl State {
    pub(super) fn list_directory(
        &self,
        asked: &Asked,
        share: &Share,
        path: &[String],
    ) -> Result<Response<Payload>, Refused> {
        let place = path.join("/");
        let most = most(asked)?.min(self.options.page_max);
        let marker = marker(asked, &place)?;
        let from = marker.as_ref().map(|marker| marker.from.as_str());
        let listed = share.source.list(&path[1..], from, most).ok_or_else(Refused::not_found)?;
        let (entries, next) = if is_empty_page(self, marker.as_ref()) {
            (Vec::new(), from.map(str::to_owned))
        } else {
            listed
        };
        let details = Details::of(asked);
        let mut document = opened(asked, path);
        let prefix = asked.parameter("prefix").unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.name.starts_with(prefix)) {
            details.write(&mut document, entry);
        }
        document.push_str("</Entries>");
        close(&mut document, &place, next.map(|from| Marker::after(marker.as_ref(), from)));
        Ok(xml(document))
    }
}

/// The document up to its first entry.
fn opened(asked: &Asked, path: &[String]) -> String {
    let directory = path[1..].join("/");
    let directory = if can_hold(&directory) {
        format!("DirectoryPath=\"{}\"", escape(&directory))
    } else {
        format!("Encoded=\"true\" DirectoryPath=\"{}\"", encoded(&directory))
    };
    format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://{}/\" ShareName=\"{}\" {directory}><DirectoryId>0</DirectoryId><Entries>",
        escape(asked.header("host").unwrap_or_default()),
        escape(&path[0])
    )
}

/// What a listing says of its entries besides names and sizes.
struct Details {
    has_times: bool,
    has_tags: bool,
}

impl Details {
    fn of(asked: &Asked) -> Self {
        let include = asked.parameter("include").unwrap_or_default();
        let has =
            |word: &str| include.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
        Self { has_times: has("Timestamps"), has_tags: has("ETag") }
    }

    fn write(&self, document: &mut String, entry: &Described) {
        let element = if entry.content.is_some() { "File" } else { "Directory" };
        let name = if can_hold(&entry.name) {
            format!("<Name>{}</Name>", escape(&entry.name))
        } else {
            format!("<Name Encoded=\"true\">{}</Name>", encoded(&entry.name))
        };
        write!(document, "<{element}>{name}<Properties>").expect("memory takes all");
        if let Some(content) = &entry.content {
            write!(document, "<Content-Length>{}</Content-Length>", content.size())
                .expect("memory takes all");
        }
        if self.has_times {
            let times = &entry.times;
            let (created, written) = (iso8601(times.created), iso8601(times.last_write));
            write!(
                document,
                "<CreationTime>{created}</CreationTime><LastAccessTime>{written}</LastAccessTime><LastWriteTime>{written}</LastWriteTime><ChangeTime>{written}</ChangeTime><Last-Modified>{}</Last-Modified>",
                rfc1123(times.last_modified)
            )
            .expect("memory takes all");
        }
        if self.has_tags {
            write!(document, "<Etag>{}</Etag>", escape(&tag(entry))).expect("memory takes all");
        }
        write!(document, "</Properties></{element}>").expect("memory takes all");
    }
}

pub(super) fn tag(entry: &Described) -> String {
    format!("\"0x8D{:08X}{:04X}\"", entry.times.last_modified.as_second(), entry.version)
}

/// `2024-01-02T03:04:05.1234567Z`.
pub(super) fn iso8601(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string()
}

pub(super) fn rfc1123(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub(super) fn xml(document: String) -> Response<Payload> {
    let mut answer = Response::new(Payload::text(document));
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/xml"));
    answer
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whether XML can hold the text.
fn can_hold(text: &str) -> bool {
    let is_foreign = |letter: char| matches!(letter, '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    !text.contains(is_foreign)
}

/// Text as element content or attribute value.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
