//! Signature version 4 of a request: by headers, over its whole body.
//!
//! The path of the address is signed as it is sent; it is encoded once, as the object store wants it, and the path of the
//! other services is `/`. None of our calls has a query.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::{Call, Service, credentials::Keys};

/// For where and when a signature holds.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: Service,
    pub(super) now: Timestamp,
}

impl Scope<'_> {
    fn service(&self) -> &'static str {
        match self.service {
            Service::Tokens => "sts",
            Service::Queue => "sqs",
            Service::Objects => "s3",
        }
    }
}

/// The headers that sign a call.
pub(super) fn headers(call: &Call, keys: &Keys, scope: &Scope<'_>) -> Vec<(&'static str, String)> {
    let time = scope.now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let body = hex(&Sha256::digest(&call.body));
    let mut added =
        vec![("x-amz-date", time.clone()), ("x-amz-security-token", keys.token.clone())];
    if scope.service == Service::Objects {
        added.push(("x-amz-content-sha256", body.clone()));
    }
    let mut signed: Vec<(&str, &str)> =
        call.headers.iter().chain(&added).map(|(name, value)| (*name, value.trim())).collect();
    let host = host(&call.url);
    signed.push(("host", &host));
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut request = format!("{}\n{}\n\n", call.method, call.url.path());
    for (name, value) in &signed {
        let _ = writeln!(request, "{name}:{value}");
    }
    let _ = write!(request, "\n{names}\n{body}");
    let (date, service) = (&time[..8], scope.service());
    let place = format!("{date}/{}/{service}/aws4_request", scope.region);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{place}\n{}", hex(&Sha256::digest(&request)));
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in [date, scope.region, service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
        keys.id
    );
    added.push(("authorization", authorization));
    added
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;

    /// Signed by botocore 1.44.5 with these keys at this time.
    fn signed(call: &Call, region: &str) -> Vec<(&'static str, String)> {
        let keys = Keys {
            id: "ASIAEXAMPLEACCESSKEY".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: "session//token+with=signs".to_owned(),
        };
        let now = "2026-11-21T01:21:48Z".parse().unwrap();
        headers(call, &keys, &Scope { region, service: call.service, now })
    }

    fn call(service: Service, method: Method, url: &str, headers: &[(&'static str, &str)]) -> Call {
        Call {
            service,
            region: String::new(),
            method,
            url: Url::parse(url).unwrap(),
            headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            body: Vec::new(),
        }
    }

    fn authorization<'a>(headers: &'a [(&'static str, String)]) -> &'a str {
        let found = headers.iter().find(|(name, _)| *name == "authorization");
        found.map(|(_, value)| value.as_str()).unwrap()
    }

    #[test]
    fn a_call_of_the_queue_is_signed_as_by_botocore() {
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "AmazonSQS.ReceiveMessage"),
        ];
        let url = "https://sqs.eu-central-1.amazonaws.com/";
        let mut call = call(Service::Queue, Method::POST, url, &headers);
        call.body =
            r#"{"QueueUrl":"https://sqs.eu-central-1.amazonaws.com/123456789012/ї"}"#.into();
        let signed = signed(&call, "eu-central-1");
        assert_eq!(
            authorization(&signed),
            "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLEACCESSKEY/20261121/eu-central-1/sqs/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=68d84c6b25684e2af9dba11b60a32fda1bdd18b0bf0e86f890b634da963d8375"
        );
        assert_eq!(signed[0], ("x-amz-date", "20261121T012148Z".to_owned()));
    }

    #[test]
    fn reading_an_object_is_signed_as_by_botocore() {
        let url = "https://logs.s3.us-east-1.amazonaws.com/2026/a%20b%2Bc/%D1%97~x%28y%29.json.gz";
        let headers = [("if-match", "\"abc\""), ("range", "bytes=100-")];
        let call = call(Service::Objects, Method::GET, url, &headers);
        assert_eq!(
            authorization(&signed(&call, "us-east-1")),
            "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLEACCESSKEY/20261121/us-east-1/s3/aws4_request, SignedHeaders=host;if-match;range;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=0ae198146ecd1cbca4e5bb2570a8eae3d0f0b5dfbb6f7467ff011913e74dcb81"
        );
    }

    #[test]
    fn a_path_with_empty_parts_and_a_port_are_signed_as_by_botocore() {
        let url = "http://127.0.0.1:5000/my.bucket/a//b.gz";
        let call = call(Service::Objects, Method::HEAD, url, &[]);
        assert_eq!(
            authorization(&signed(&call, "us-east-1")),
            "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLEACCESSKEY/20261121/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=bf680ba76d6e906f9ccae4943fae0b0564c13f0ecbab65e7b0880a3114ed1f9d"
        );
    }
}
