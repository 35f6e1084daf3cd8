//! One file: its headers and its bytes.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::{
    Refused,
    listing::{iso8601, rfc1123, tag},
};
use crate::{
    server::{Asked, Payload},
    tree::{Content, Described, Share},
};

/// The headers alone.
pub(super) fn properties(share: &Share, path: &[String]) -> Result<Response<Payload>, Refused> {
    let (file, content) = find(share, path)?;
    // The length of a body that does not follow is the file's.
    let mut answer = Response::new(Payload::whole(content));
    *answer.headers_mut() = headers(&file);
    Ok(answer)
}

/// The bytes of a file, or of a range.
pub(super) fn content(
    asked: &Asked,
    share: &Share,
    path: &[String],
) -> Result<Response<Payload>, Refused> {
    let (file, content) = find(share, path)?;
    if asked.header("if-match").is_some_and(|wanted| wanted != "*" && wanted != tag(&file)) {
        let message = "The condition specified using HTTP conditional header(s) is not met.";
        return Err(Refused::new(StatusCode::PRECONDITION_FAILED, "ConditionNotMet", message));
    }
    let size = content.size();
    let Some(range) = asked.header("x-ms-range").or(asked.header("range")) else {
        let mut answer = Response::new(Payload::whole(content));
        *answer.headers_mut() = headers(&file);
        return Ok(answer);
    };
    let (start, end) = part(range, size).ok_or_else(|| {
        let message = "The range specified is invalid for the current size of the resource.";
        Refused::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", message)
    })?;
    let mut answer = Response::new(Payload::part(content, start, end));
    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    *answer.headers_mut() = headers(&file);
    insert(answer.headers_mut(), "content-range", &format!("bytes {start}-{}/{size}", end - 1));
    Ok(answer)
}

/// `bytes=a-b` or `bytes=a-` within a file that has bytes there.
fn part(range: &str, size: u64) -> Option<(u64, u64)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end =
        if end.is_empty() { size } else { end.parse::<u64>().ok()?.saturating_add(1).min(size) };
    (start < end).then_some((start, end))
}

fn find(share: &Share, path: &[String]) -> Result<(Described, Content), Refused> {
    let found = share.source.find(path).ok_or_else(Refused::not_found)?;
    let content = found.content.clone().ok_or_else(Refused::not_found)?;
    Ok((found, content))
}

fn headers(file: &Described) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let (created, written) = (iso8601(file.times.created), iso8601(file.times.last_write));
    insert(&mut headers, "content-type", "application/octet-stream");
    insert(&mut headers, "last-modified", &rfc1123(file.times.last_modified));
    insert(&mut headers, "etag", &tag(file));
    insert(&mut headers, "x-ms-type", "File");
    insert(&mut headers, "x-ms-file-attributes", "Archive");
    insert(&mut headers, "x-ms-file-creation-time", &created);
    insert(&mut headers, "x-ms-file-last-write-time", &written);
    insert(&mut headers, "x-ms-file-change-time", &written);
    insert(&mut headers, "x-ms-file-id", "1");
    insert(&mut headers, "x-ms-file-parent-id", "0");
    insert(&mut headers, "x-ms-file-permission-key", "0");
    insert(&mut headers, "x-ms-server-encrypted", "true");
    insert(&mut headers, "accept-ranges", "bytes");
    headers
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("dates, tags and numbers are ASCII");
    headers.insert(HeaderName::from_static(name), value);
}
