//! Who may do what.
//!
//! P1  Nothing is done for a request before its signature and its times are checked.
//! P2  Browsers' pages are kept out: the emulator's key is public, so any page could sign. A page's request bears an
//!     `Origin`, and after a rebinding of names a foreign `Host`.
//! P3  A shared access signature allows what its letters say, on what it is made for, while it lasts.

use std::net::IpAddr;

use http::{StatusCode, header::AUTHORIZATION};

use super::{fault::Fault, request::Asked};
use crate::{
    account::{
        EMULATOR_ACCOUNT, Kind,
        sas::Parameters,
        sign::{self, Signed},
    },
    date,
};

/// How far the clock of a signed request may be off.
const SKEW_MS: i64 = 15 * 60 * 1000;

/// What an operation works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Service,
    Container,
    Object,
}

impl Level {
    fn letter(self) -> char {
        match self {
            Self::Service => 's',
            Self::Container => 'c',
            Self::Object => 'o',
        }
    }
}

/// What a request is allowed to do.
#[derive(Debug)]
pub(super) enum Access {
    /// It is signed with the key, or comes from within the process.
    Full,
    /// It bears a signature of limited use.
    Limited { letters: String, levels: Levels },
}

/// What a limited signature may be used on.
#[derive(Debug)]
pub(super) enum Levels {
    /// An account's signature names them.
    Named(String),
    /// That of a queue or container: the thing itself and all in it. Of a blob: only it.
    Everything,
    Object,
}

impl Access {
    /// Whether one of the letters allows it.
    pub(super) fn allow(&self, level: Level, any_of: &str) -> Result<(), Fault> {
        let Self::Limited { letters, levels } = self else { return Ok(()) };
        let fits = match levels {
            Levels::Named(names) => names.contains(level.letter()),
            Levels::Everything => level != Level::Service,
            Levels::Object => level == Level::Object,
        };
        if !fits {
            return Err(Fault::resource_type_mismatch());
        }
        if letters.contains(|letter| any_of.contains(letter)) {
            Ok(())
        } else {
            Err(Fault::permission_mismatch())
        }
    }
}

/// Keeps out what only a browser's page would send.
pub(super) fn check_origin(asked: &Asked) -> Result<(), Fault> {
    let host = asked.header("host").unwrap_or_default();
    if asked.headers.contains_key("origin") || !is_own_host(host) {
        let message = "CORS not enabled or no matching rule found for this request.";
        return Err(Fault::new(StatusCode::FORBIDDEN, "CorsPreflightFailure", message));
    }
    Ok(())
}

/// Addresses, and names that nobody can register: without a dot, or under a domain of local networks.
fn is_own_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    let local = [".localhost", ".internal", ".local", ".test"];
    !name.contains('.')
        || name.parse::<IpAddr>().is_ok()
        || local.iter().any(|domain| name.ends_with(domain))
}

/// What the request may do, by its signature.
pub(super) fn identify(asked: &Asked, kind: Kind, key: &[u8], now: i64) -> Result<Access, Fault> {
    if let Some(header) = asked.header(AUTHORIZATION.as_str()) {
        check_shared_key(asked, header, key, now)?;
        return Ok(Access::Full);
    }
    if asked.parameter("sig").is_some() {
        return check_access_signature(asked, kind, key, now);
    }
    let message = "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
    let fault = Fault::new(StatusCode::UNAUTHORIZED, "NoAuthenticationInformation", message);
    Err(fault.header("www-authenticate", "SharedKey"))
}

fn check_shared_key(asked: &Asked, header: &str, key: &[u8], now: i64) -> Result<(), Fault> {
    let given = header.strip_prefix("SharedKey ").and_then(|value| value.split_once(':'));
    let Some((account, signature)) = given else {
        return Err(Fault::authentication(
            "Only the scheme SharedKey is known here: `SharedKey account:signature`.",
        ));
    };
    if account != EMULATOR_ACCOUNT {
        return Err(Fault::authentication(format!(
            "The account of this service is {EMULATOR_ACCOUNT}."
        )));
    }
    let date = asked.header("x-ms-date").or(asked.header("date")).and_then(date::parse_rfc1123);
    let Some(date) = date else {
        return Err(Fault::authentication(
            "The request has neither x-ms-date nor Date in the form of RFC 1123.",
        ));
    };
    if (date - now).abs() > SKEW_MS {
        return Err(Fault::authentication(format!(
            "Request date header too old: it says {}, and it is {} here.",
            date::rfc1123(date),
            date::rfc1123(now)
        )));
    }
    let signed = Signed {
        method: &asked.method,
        path: &asked.raw_path,
        query: &asked.raw_query,
        headers: &asked.headers,
    };
    let text = signed.string_to_sign(account);
    if sign::is_signature(key, &text, signature) {
        return Ok(());
    }
    Err(Fault::authentication(format!(
        "The MAC signature found in the HTTP request is not the same as any computed signature. Server used following string to sign: '{}'.",
        text.replace('\n', "\\n")
    )))
}

fn check_access_signature(
    asked: &Asked,
    kind: Kind,
    key: &[u8],
    now: i64,
) -> Result<Access, Fault> {
    let parameters = Parameters(&asked.query);
    let unsupported = [
        ("si", "stored access policies"),
        ("skoid", "user delegation"),
        ("sip", "ranges of addresses"),
    ];
    for (name, what) in unsupported {
        if !parameters.get(name).is_empty() {
            return Err(Fault::authentication(format!(
                "Signatures with {what} (`{name}`) are not supported here."
            )));
        }
    }
    let (text, levels) = match parameters.get("ss") {
        "" => own_string(asked, kind, &parameters)?,
        services => {
            if !services.contains(&kind.word()[..1]) {
                return Err(Fault::service_mismatch());
            }
            let levels = Levels::Named(parameters.get("srt").to_owned());
            (parameters.account_string(EMULATOR_ACCOUNT), levels)
        }
    };
    if !sign::is_signature(key, &text, parameters.get("sig")) {
        return Err(Fault::authentication(format!(
            "Signature did not match. String to sign used was '{}'.",
            text.replace('\n', "\\n")
        )));
    }
    check_times(&parameters, now)?;
    if parameters.get("spr") == "https" {
        return Err(Fault::authentication(
            "The signature allows HTTPS only, and this service speaks HTTP.",
        ));
    }
    Ok(Access::Limited { letters: parameters.get("sp").to_owned(), levels })
}

/// The string of a signature that is made for one queue, container or blob.
fn own_string(
    asked: &Asked,
    kind: Kind,
    parameters: &Parameters<'_>,
) -> Result<(String, Levels), Fault> {
    let Some(first) = &asked.first else { return Err(Fault::resource_type_mismatch()) };
    let resource = format!("/{}/{EMULATOR_ACCOUNT}/{first}", kind.word());
    match (kind, parameters.get("sr")) {
        (Kind::Queue, _) => Ok((parameters.queue_string(&resource), Levels::Everything)),
        (Kind::Blob, "c") => Ok((parameters.blob_string(&resource), Levels::Everything)),
        (Kind::Blob, "b") => {
            let blob = asked.rest.as_deref().ok_or_else(Fault::resource_type_mismatch)?;
            Ok((parameters.blob_string(&format!("{resource}/{blob}")), Levels::Object))
        }
        (Kind::Blob, other) => Err(Fault::authentication(format!(
            "The signature is for `sr={other}`; `c` and `b` are known here."
        ))),
    }
}

fn check_times(parameters: &Parameters<'_>, now: i64) -> Result<(), Fault> {
    let time = |name: &str| match parameters.get(name) {
        "" => Ok(None),
        text => match date::parse_iso8601(text) {
            Some(time) => Ok(Some(time)),
            None => Err(Fault::authentication(format!("`{name}` is not a time."))),
        },
    };
    let Some(end) = time("se")? else {
        return Err(Fault::authentication("se is mandatory. Cannot be empty."));
    };
    if now >= end || time("st")?.is_some_and(|start| now < start) {
        return Err(Fault::authentication(format!(
            "Signature not valid in the specified time frame: Start [{}] - Expiry [{}] - Current [{}]",
            parameters.get("st"),
            parameters.get("se"),
            date::iso8601(now)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_and_its_network_are_hosts() {
        for own in [
            "127.0.0.1:10001",
            "localhost:1",
            "[::1]:80",
            "host.docker.internal:7",
            "storage",
            "",
            "10.0.0.1",
        ] {
            assert!(is_own_host(own), "{own}");
        }
        for foreign in [
            "evil.example:10001",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
        ] {
            assert!(!is_own_host(foreign), "{foreign}");
        }
    }
}
