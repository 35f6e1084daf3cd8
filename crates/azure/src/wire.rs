//! What all clients share about requests and answers: addresses, reasons, waits that a service asks for.
//!
//! W1  No text of this module holds a query or a header: both may be secrets.
//! W2  A token is sent over TLS, or to this machine.

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderValue, header::RETRY_AFTER};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use reqwest::{Response, Url};

use crate::Invalid;

/// All that a name in a path or a value in a query may not be as it is.
pub(crate) const RESERVED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How much of an error's body is read.
const ERROR_BYTES: usize = 64 << 10;
/// How much of it a person sees.
const SHOWN_CHARS: usize = 300;

/// The address of a service. Plain HTTP is for this machine, where tests and stand-ins live.
pub(crate) fn endpoint(what: &'static str, text: &str) -> Result<Url, Invalid> {
    let url = web_address(what, text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        let hint = "write it with `https://`: secrets do not travel in the clear";
        return Err(Invalid::new(what, text, hint));
    }
    Ok(url)
}

/// An address where the network is trusted, or where the request bears only a signature.
pub(crate) fn web_address(what: &'static str, text: &str) -> Result<Url, Invalid> {
    let hint = "write an address such as `https://name.example.net`, without a query";
    let invalid = || Invalid::new(what, text.split('?').next().unwrap_or_default(), hint);
    let url = Url::parse(text.trim()).map_err(|_| invalid())?;
    let fits = matches!(url.scheme(), "http" | "https")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if fits { Ok(url) } else { Err(invalid()) }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = host(url).trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

pub(crate) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// The address with more of a path, which is percent-encoded already.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// What the network said, without the address: its query may be a secret.
pub(crate) fn network_reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = inner.source();
    }
    reason
}

/// How long the service wants to be left alone: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get("x-ms-retry-after-ms").and_then(number);
    if let Some(millis) = millis {
        return Some(Duration::from_millis(millis));
    }
    let value = headers.get(RETRY_AFTER)?;
    if let Some(seconds) = number(value) {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_rfc1123(value.to_str().ok()?)?;
    let seconds = date.as_second() - Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse().ok()
}

/// `Sat, 21 Nov 2026 01:21:48 GMT`.
pub(crate) fn rfc1123(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub(crate) fn parse_rfc1123(text: &str) -> Option<Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(text.trim()).ok()
}

/// The beginning of an answer's body.
pub(crate) async fn beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > ERROR_BYTES {
            break;
        }
    }
    body
}

/// Text of a service as a person sees it: one line, not long.
pub(crate) fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// A random id in the form of a UUID, by which a service's log knows the request.
pub(crate) fn request_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// `Bearer` and the token, as a header that no log shows.
pub(crate) fn bearer(secret: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {secret}"))
        .expect("a token is checked to be ASCII when it arrives");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        for good in
            ["https://a.example", "http://127.0.0.1:1/x", "http://[::1]:1", "http://localhost"]
        {
            assert!(endpoint("endpoint", good).is_ok(), "{good}");
        }
        assert_eq!(
            endpoint("endpoint", "http://a.example").unwrap_err().to_string(),
            "the endpoint is `http://a.example`; write it with `https://`: secrets do not travel in the clear"
        );
    }

    #[test]
    fn what_follows_a_question_mark_is_not_shown() {
        for bad in ["a.example?sig=secret", "https://a.example/?sig=secret", "ftp://a.example"] {
            let text = web_address("endpoint", bad).unwrap_err().to_string();
            assert!(!text.contains("secret") && text.contains("write an address"), "{text}");
        }
    }

    #[test]
    fn waits_come_as_seconds_milliseconds_or_dates() {
        let asked = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            retry_after(&headers)
        };
        assert_eq!(asked("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("x-ms-retry-after-ms", "70"), Some(Duration::from_millis(70)));
        let past = asked("retry-after", "Sat, 21 Nov 2015 01:21:48 GMT");
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(asked("retry-after", "soon"), None);
    }

    #[test]
    fn a_services_text_becomes_one_short_line() {
        assert_eq!(shown(" a\r\n b "), "a b");
        assert_eq!(shown(&"ї".repeat(400)).chars().count(), SHOWN_CHARS + 3);
    }
}
