//! What can go wrong with a call, and what the caller may do next.

use std::time::Duration;

use http::StatusCode;

/// A call failed. The texts hold neither keys nor signatures nor queries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue, message, container or blob is not there.
    #[error("{doing}: {message} ({code})")]
    NotFound {
        /// What was tried.
        doing: String,
        /// The service's code, for example `QueueNotFound`.
        code: String,
        /// The service's text.
        message: String,
    },
    /// Something else is there already, or a condition does not hold.
    #[error("{doing}: {message} ({code})")]
    Conflict {
        /// What was tried.
        doing: String,
        /// The service's code, for example `ConditionNotMet`.
        code: String,
        /// The service's text.
        message: String,
    },
    /// The service does not accept who asks.
    #[error("{doing}: the storage account refused the request ({code}); {advice}")]
    Auth {
        /// What was tried.
        doing: String,
        /// The service's code, for example `AuthenticationFailed`.
        code: String,
        /// What to do.
        advice: &'static str,
    },
    /// The identity that the account knows gave no token. Nothing was sent.
    #[error("{doing}: there is no token for the storage account: {reason}")]
    Token {
        /// What was tried.
        doing: String,
        /// Why there is none.
        reason: String,
    },
    /// The service is busy and stayed so through all attempts.
    #[error("{doing}: the storage service is busy; try again later")]
    Throttled {
        /// What was tried.
        doing: String,
        /// How long the service wants to be left alone, if it said so.
        after: Option<Duration>,
    },
    /// No answer came, through all attempts. Whether the call took effect is unknown.
    #[error("{doing}: no answer from {host}: {reason}")]
    Transport {
        /// What was tried.
        doing: String,
        /// Whom it was sent to.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The service refused for another reason.
    #[error("{doing}: {message} ({status} {code})")]
    Service {
        /// What was tried.
        doing: String,
        /// The service's code.
        code: String,
        /// The status of its answer.
        status: u16,
        /// The service's text.
        message: String,
    },
    /// The call cannot be sent as it is. Nothing was sent.
    #[error("{doing}: {problem}")]
    Invalid {
        /// What was tried.
        doing: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

impl Error {
    /// The service's code, if the service answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::NotFound { code, .. }
            | Self::Conflict { code, .. }
            | Self::Auth { code, .. }
            | Self::Service { code, .. } => Some(code),
            Self::Token { .. }
            | Self::Throttled { .. }
            | Self::Transport { .. }
            | Self::Invalid { .. } => None,
        }
    }

    pub(super) fn invalid(doing: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { doing: doing.to_owned(), problem: problem.into() }
    }

    /// An answer that the protocol does not know.
    pub(super) fn strange(doing: &str, what: &str) -> Self {
        Self::Service {
            doing: doing.to_owned(),
            code: "UnexpectedAnswer".to_owned(),
            status: 200,
            message: format!("the answer {what}; is this a storage service?"),
        }
    }

    pub(super) fn of_answer(doing: &str, refusal: Refusal) -> Self {
        let doing = doing.to_owned();
        let Refusal { status, code, message, after } = refusal;
        match status {
            StatusCode::NOT_FOUND => Self::NotFound { doing, code, message },
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => {
                Self::Conflict { doing, code, message }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let advice = advice(&code);
                Self::Auth { doing, code, advice }
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Self::Throttled { doing, after }
            }
            _ => Self::Service { doing, code, status: status.as_u16(), message },
        }
    }
}

/// An answer that is no success.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) after: Option<Duration>,
}

fn advice(code: &str) -> &'static str {
    match code {
        "AuthenticationFailed" => {
            "check the account's key or signature in the connection string, or the identity's tenant, and that this machine's clock is right"
        }
        "AuthorizationFailure" => {
            "the account's firewall or its network rules keep this machine out, or the signature does not allow this"
        }
        "AuthorizationPermissionMismatch"
        | "AuthorizationResourceTypeMismatch"
        | "AuthorizationServiceMismatch" => {
            "the shared access signature or the identity does not allow this; make a signature with more permissions, or give the identity the role `Storage Queue Data Contributor` or `Storage Blob Data Owner`"
        }
        "KeyBasedAuthenticationNotPermitted" => {
            "the account does not allow keys; allow them in the account's configuration"
        }
        "InsufficientAccountPermissions" | "AccountIsDisabled" => {
            "the account does not allow this at present; look at its state in the portal"
        }
        _ => "check the connection string, and what the account allows",
    }
}
