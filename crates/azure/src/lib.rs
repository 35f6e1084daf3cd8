#![doc = include_str!("../README.md")]

pub mod collector;
pub mod files;
pub mod identity;
pub mod logs;
mod pack;
pub mod retry;
mod wire;

use std::time::Duration;

pub use everstep_storage::{Clock, system_clock};

/// Something that a person configured and that cannot be used. Only values that are no secrets are shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {what} is `{value}`; {hint}")]
pub struct Invalid {
    /// What it is, in words, for example `endpoint for log uploads`.
    pub what: &'static str,
    /// What was given; `(hidden)` for a secret.
    pub value: String,
    /// What to write instead.
    pub hint: &'static str,
}

impl Invalid {
    pub(crate) fn new(what: &'static str, value: &str, hint: &'static str) -> Self {
        Self { what, value: value.to_owned(), hint }
    }

    pub(crate) fn secret(what: &'static str, hint: &'static str) -> Self {
        Self::new(what, "(hidden)", hint)
    }
}

/// A client with the time limits that fit these services: ten seconds to connect, a minute of silence. It follows no
/// redirects, because none of the services redirects and a token must not travel to another place.
pub fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_mins(1))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("the TLS library starts and the system's settings are read")
}
