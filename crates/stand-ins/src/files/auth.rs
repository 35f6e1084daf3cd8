//! Who asks: a signature with the account's key, or a token.

use std::io;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use everstep_storage::account::sign::{self, Signed};
use http::StatusCode;
use jiff::Timestamp;

use super::{Refused, State, Wanted, wanted};
use crate::{server::Asked, tokens};

/// How far the clock of a signed request may be off.
const SKEW_SECONDS: i64 = 15 * 60;
const AUDIENCE: &str = "https://storage.azure.com";
const MANAGEMENT: &str = "https://management.azure.com";

pub(super) fn decode_key(text: &str) -> io::Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|_| io::Error::other("the account's key is not base64"))
}

impl State {
    pub(super) fn now(&self) -> i64 {
        Timestamp::try_from((self.options.clock)()).map_or(0, Timestamp::as_second)
    }

    /// Lets a request for the account pass, or says why not.
    pub(super) fn check(&self, asked: &Asked) -> Result<(), Refused> {
        let version = asked.header("x-ms-version").unwrap_or_default();
        if version.is_empty() {
            return Err(missing_header("x-ms-version"));
        }
        match asked.header("authorization") {
            None => {
                let message =
                    "Server failed to authenticate the request: it bears no Authorization header.";
                Err(Refused::new(StatusCode::UNAUTHORIZED, "NoAuthenticationInformation", message))
            }
            Some(value) if value.starts_with("Bearer ") => self.check_token(asked, version),
            Some(value) => self.check_signature(asked, value),
        }
    }

    fn check_signature(&self, asked: &Asked, header: &str) -> Result<(), Refused> {
        let given = header.strip_prefix("SharedKey ").and_then(|value| value.split_once(':'));
        let (account, signature) = given.ok_or_else(|| denied("Only SharedKey is known here."))?;
        if account != self.options.account {
            return Err(denied("The account is not the one of this service."));
        }
        let date = asked.header("x-ms-date").or(asked.header("date")).unwrap_or_default();
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let date =
            parser.parse_timestamp(date).map_err(|_| denied("The request has no valid date."))?;
        if (date.as_second() - self.now()).abs() > SKEW_SECONDS {
            return Err(denied("Request date header too old."));
        }
        let text = Signed {
            method: &asked.method,
            path: &asked.path,
            query: &asked.query,
            headers: &asked.headers,
        };
        let text = text.string_to_sign(account);
        if sign::is_signature(&self.key, &text, signature) {
            return Ok(());
        }
        Err(denied(&format!(
            "The MAC signature found in the HTTP request is not the same as any computed signature. Server used following string to sign: '{}'.",
            text.replace('\n', "\\n")
        )))
    }

    fn check_token(&self, asked: &Asked, version: &str) -> Result<(), Refused> {
        let token = asked.bearer().unwrap_or_default();
        tokens::check(token, AUDIENCE, self.now()).map_err(|problem| {
            Refused::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo", problem)
        })?;
        if asked.header("x-ms-file-request-intent") != Some("backup") {
            return Err(missing_header("x-ms-file-request-intent"));
        }
        let least = match wanted(asked) {
            Wanted::Shares => "2024-11-04",
            _ => "2022-11-02",
        };
        if version < least {
            let message = format!("Tokens are accepted here from the version {least} on.");
            return Err(Refused::new(StatusCode::FORBIDDEN, "AuthenticationFailed", message));
        }
        Ok(())
    }

    /// Lets a request for the management API pass, or says why not.
    pub(super) fn check_management(&self, asked: &Asked) -> Result<(), &'static str> {
        let token = asked.bearer().ok_or("the request bears no token")?;
        tokens::check(token, MANAGEMENT, self.now())
    }
}

fn denied(message: &str) -> Refused {
    let message = format!("Server failed to authenticate the request. {message}");
    Refused::new(StatusCode::FORBIDDEN, "AuthenticationFailed", message)
}

fn missing_header(name: &str) -> Refused {
    let message =
        format!("An HTTP header that's mandatory for this request is not specified: {name}.");
    Refused::new(StatusCode::BAD_REQUEST, "MissingRequiredHeader", message)
}
