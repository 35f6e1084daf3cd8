//! `SharedKey`: the string that a request stands for, and its signature.
//!
//! `VERB`, eleven standard headers, all `x-ms-` headers sorted, the resource with all query parameters sorted. The length
//! is empty when there is no body; the date is empty when `x-ms-date` says it.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The headers that are signed without their names, in their order; the length and the date have rules of their own.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// The parts of a request that a signature covers.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The verb.
    pub method: &'a Method,
    /// The path as it is sent, percent-encoded.
    pub path: &'a str,
    /// The query as it is sent, without its question mark.
    pub query: &'a str,
    /// All headers that go with it, the length too.
    pub headers: &'a HeaderMap,
}

impl Signed<'_> {
    /// What is signed for an account.
    pub fn string_to_sign(&self, account: &str) -> String {
        let mut text = format!("{}\n", self.method);
        let has_own_date = self.headers.contains_key("x-ms-date");
        for name in SIGNED {
            let value = match name {
                "content-length" => value(self.headers, name).filter(|length| length != "0"),
                "date" if has_own_date => None,
                _ => value(self.headers, name),
            };
            text.push_str(&value.unwrap_or_default());
            text.push('\n');
        }
        self.add_own_headers(&mut text);
        write!(text, "/{account}{}", self.path).expect("memory takes all");
        for (name, values) in sorted_query(self.query) {
            write!(text, "\n{name}:{}", values.join(",")).expect("memory takes all");
        }
        text
    }

    fn add_own_headers(&self, text: &mut String) {
        let names = self.headers.keys().map(http::HeaderName::as_str);
        let mut names: Vec<_> = names.filter(|name| name.starts_with("x-ms-")).collect();
        names.sort_unstable();
        for name in names {
            let value = value(self.headers, name).unwrap_or_default();
            writeln!(text, "{name}:{value}").expect("memory takes all");
        }
    }
}

fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(",").trim().to_owned())
}

/// Names in lower case and in order, each with its decoded values in order.
fn sorted_query(query: &str) -> Vec<(String, Vec<String>)> {
    let mut pairs = decode_query(query);
    for (name, _) in &mut pairs {
        name.make_ascii_lowercase();
    }
    pairs.sort();
    let mut grouped: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in pairs {
        match grouped.last_mut() {
            Some((last, values)) if *last == name => values.push(value),
            _ => grouped.push((name, vec![value])),
        }
    }
    grouped
}

/// The parameters of a query. A plus is a plus: nobody signs it as a space.
pub fn decode_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// The signature of a text.
pub fn signature(key: &[u8], text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// Whether a signature is that of the text; takes as long for a near miss as for a wild guess.
pub fn is_signature(key: &[u8], text: &str, given: &str) -> bool {
    signature(key, text).as_bytes().ct_eq(given.as_bytes()).into()
}

/// The value of the `Authorization` header.
pub fn authorization(account: &str, key: &[u8], request: Signed<'_>) -> String {
    format!("SharedKey {account}:{}", signature(key, &request.string_to_sign(account)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::account::EMULATOR_KEY;

    const DATE: (&str, &str) = ("x-ms-date", "Sat, 21 Nov 2026 01:21:48 GMT");
    const API: (&str, &str) = ("x-ms-version", "2024-11-04");

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        pairs.iter().map(header).collect()
    }

    fn authorize(
        account: &str,
        method: &Method,
        path: &str,
        query: &str,
        pairs: &[(&str, &str)],
    ) -> String {
        let key = BASE64_STANDARD.decode(EMULATOR_KEY).unwrap();
        let headers = headers(pairs);
        authorization(account, &key, Signed { method, path, query, headers: &headers })
    }

    /// Made with the official Python library.
    #[test]
    fn signatures_equal_those_of_the_official_library() {
        assert_eq!(
            authorize(
                "acct",
                &Method::GET,
                "/s1/x%20y%2F%D1%97",
                "restype=directory&comp=list&include=Timestamps%2CETag&maxresults=5000",
                &[DATE, API, ("x-ms-file-extended-info", "true")],
            ),
            "SharedKey acct:uvodDGV31WOlmfKpRZ/OtJjUKbNRvDzFw3Bv78OpHqg="
        );
        assert_eq!(
            authorize(
                "acct",
                &Method::GET,
                "/s1/a%20b%26c.PDF",
                "",
                &[DATE, API, ("x-ms-range", "bytes=0-4194303")],
            ),
            "SharedKey acct:SEqtWXEmfg5S85RAiNrfy58J+ArAodvSkHvhlIbv31c="
        );
        assert_eq!(
            authorize(
                "devstoreaccount1",
                &Method::POST,
                "/devstoreaccount1/video-to-processing/messages",
                "messagettl=604800",
                &[DATE, API, ("content-length", "103"), ("content-type", "application/xml")],
            ),
            "SharedKey devstoreaccount1:iOG72p1+FnXBfgyADdU9BHHI/e3xrbd9wUds3yK0brg="
        );
    }

    /// The string as the public rules have it, written out by hand.
    #[test]
    fn the_string_to_sign_follows_the_public_rules() {
        let headers = headers(&[
            ("X-Ms-Version", "2021-12-02"),
            ("x-ms-meta-b", " two "),
            ("x-ms-meta-a", "one"),
            ("Date", "Sat, 21 Nov 2026 01:21:48 GMT"),
            ("Content-Length", "0"),
            ("If-None-Match", "*"),
            ("Range", "bytes=0-1"),
        ]);
        let query = "Comp=list&prefix=a%2Bb+c&include=two&include=one&empty=";
        let (method, path) = (Method::PUT, "/acct/con/a%20b");
        let request = Signed { method: &method, path, query, headers: &headers };
        let lines = [
            "PUT",
            "",
            "",
            "",
            "",
            "",
            "Sat, 21 Nov 2026 01:21:48 GMT",
            "",
            "",
            "*",
            "",
            "bytes=0-1",
            "x-ms-meta-a:one",
            "x-ms-meta-b:two",
            "x-ms-version:2021-12-02",
            "/acct/acct/con/a%20b",
            "comp:list",
            "empty:",
            "include:one,two",
            "prefix:a+b+c",
        ];
        assert_eq!(request.string_to_sign("acct"), lines.join("\n"));
    }

    #[test]
    fn a_signature_is_checked_whole() {
        let right = signature(b"key", "text");
        assert!(is_signature(b"key", "text", &right));
        assert!(!is_signature(b"key", "text", &right[1..]));
        assert!(!is_signature(b"key", "text", ""));
        assert!(!is_signature(b"kex", "text", &right));
    }
}
