//! What can go wrong with a call to a file share, and what the caller may do next.

use std::time::Duration;

use http::StatusCode;

use crate::{identity, retry::Passing};

/// A call failed. The texts hold neither keys nor tokens nor queries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The share, directory or file is not there, or not any more.
    #[error("{doing}: {message} ({code})")]
    NotFound {
        /// What was tried.
        doing: String,
        /// The service's code, for example `ShareNotFound`.
        code: String,
        /// The service's text.
        message: String,
    },
    /// The file is another one than its tag says: it was changed since.
    #[error("{doing}: the file was changed meanwhile")]
    Changed {
        /// What was tried.
        doing: String,
    },
    /// The file has no bytes in the range; an empty one has none at all and is read without a range.
    #[error("{doing}: the file ends before the range")]
    OutOfRange {
        /// What was tried.
        doing: String,
    },
    /// The service does not accept who asks.
    #[error("{doing}: the storage account refused the request ({code}); {advice}")]
    Denied {
        /// What was tried.
        doing: String,
        /// The service's code, for example `AuthenticationFailed`.
        code: String,
        /// What to do.
        advice: &'static str,
    },
    /// The service is busy, or failed for a moment.
    #[error("{doing}: the file service is busy ({status} {code})")]
    Busy {
        /// What was tried.
        doing: String,
        /// The status of the answer.
        status: u16,
        /// The service's code.
        code: String,
        /// How long the service wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// No answer came, or it broke off.
    #[error("{doing}: no answer from {host}: {reason}")]
    Unreachable {
        /// What was tried.
        doing: String,
        /// Whom it was sent to.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The service refused for another reason.
    #[error("{doing}: {message} ({status} {code})")]
    Refused {
        /// What was tried.
        doing: String,
        /// The status of the answer.
        status: u16,
        /// The service's code.
        code: String,
        /// The service's text.
        message: String,
    },
    /// An answer that the protocol does not know.
    #[error("{doing}: the answer {problem}; is this a file service?")]
    Strange {
        /// What was tried.
        doing: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The call cannot be sent as it is. Nothing was sent.
    #[error("{doing}: {problem}")]
    Invalid {
        /// What was tried.
        doing: String,
        /// What is wrong and what would be right.
        problem: &'static str,
    },
    /// There is no token. Nothing was sent.
    #[error(transparent)]
    Identity(#[from] identity::Error),
}

impl Passing for Error {
    fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Unreachable { .. } => true,
            Self::Identity(error) => error.is_worth_retrying(),
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            Self::Identity(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// An answer that is no success.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn into_error(self, doing: &str) -> Error {
        let doing = doing.to_owned();
        let Self { status, code, message, retry_after } = self;
        let number = status.as_u16();
        match number {
            404 => Error::NotFound { doing, code, message },
            412 => Error::Changed { doing },
            416 => Error::OutOfRange { doing },
            401 | 403 => {
                let advice = advice(&code);
                Error::Denied { doing, code, advice }
            }
            408 | 429 | 500 | 502 | 503 | 504 => {
                Error::Busy { doing, status: number, code, retry_after }
            }
            _ => Error::Refused { doing, status: number, code, message },
        }
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => {
            "check the account's name and key, and that this machine's clock is right"
        }
        "AuthorizationFailure" => {
            "the account's firewall or its network rules keep this machine out, or the identity has no role on it"
        }
        "AuthorizationPermissionMismatch" => {
            "give the identity the role \"Storage File Data Privileged Reader\" on the account, and allow some minutes for it to take effect"
        }
        "KeyBasedAuthenticationNotPermitted" => {
            "the account does not allow keys; allow them in its configuration, or use the app's identity"
        }
        "InsufficientAccountPermissions" | "AccountIsDisabled" => {
            "the account does not allow this at present; look at its state in the portal"
        }
        _ => {
            "check the account's name, the key or the identity's role, and what the account allows"
        }
    }
}
