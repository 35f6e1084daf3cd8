//! Every refusal: its status code and its exact text, and what an error of the client comes to.
//!
//! R1  A body, where there is one, is JSON on every status: SDKs parse it.
//! R2  Names of .NET exceptions stand here because SDKs show them, and nowhere else.

use axum::response::{IntoResponse, Response};
use everstep_model::{InstanceId, Status};
use everstep_runtime::ClientError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::json;

/// A request that is not carried out.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Only a status.
    Empty(StatusCode),
    /// `{"Message":...}`.
    Message(StatusCode, String),
    /// A JSON string.
    Text(StatusCode, String),
    /// Message and exception.
    Exception { status: StatusCode, message: &'static str, text: String, class: &'static str },
    /// The host cannot do it now: it has too much to do, is stopping, has no space, or only reads.
    Unavailable(String),
}

/// What most handlers give.
pub(crate) type Answer = Result<Response, Refusal>;

const WRONG_ARGUMENT: &str = "One or more of the arguments submitted is incorrect";
const WENT_WRONG: &str = "Something went wrong while processing your request";
const INVALID_JSON: &str = "Invalid JSON content";
const NOT_JSON: &str = "Only application/json request content is supported";
const NO_INSTANCE: &str = "InstanceId does not match a valid orchestration instance.";
const RESTART_CLASH: &str = "A non-terminal instance with this instance ID already exists.";
const NO_TIME: &str = "Please provide value for 'createdTimeFrom' parameter.";

const ARGUMENT: &str = "System.ArgumentException";
const INVALID_OPERATION: &str = "System.InvalidOperationException";
const READER: &str = "Newtonsoft.Json.JsonReaderException";
const EXISTS: &str = "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException";
const ANY: &str = "System.Exception";

/// Which operation found an instance that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clash {
    /// A start.
    Start,
    /// A restart.
    Restart,
}

impl Refusal {
    /// There is nothing under this path, or no such instance.
    pub(crate) const NOT_FOUND: Self = Self::Empty(StatusCode::NOT_FOUND);
    /// The instance has ended.
    pub(crate) const GONE: Self = Self::Empty(StatusCode::GONE);
    /// No key, or a wrong one.
    pub(crate) const UNAUTHORIZED: Self = Self::Empty(StatusCode::UNAUTHORIZED);

    /// An argument is not what it must be.
    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::exception(StatusCode::BAD_REQUEST, WRONG_ARGUMENT, text, ARGUMENT)
    }

    /// A start or restart with an interval longer than the whole wait.
    pub(crate) fn interval(timeout: f64, interval: f64) -> Self {
        Self::argument(format!(
            "Total timeout {timeout} should be bigger than retry timeout {interval}"
        ))
    }

    /// A function is not there.
    pub(crate) fn no_function(role: &str, name: &str, known: &[String]) -> String {
        let article = if role.starts_with(['a', 'e', 'o']) { "an" } else { "a" };
        let known = if known.is_empty() {
            format!("No {role} functions are currently registered!")
        } else {
            let names: Vec<_> = known.iter().map(|name| format!("'{name}'")).collect();
            format!("The following are the known {role} functions: {}.", names.join(", "))
        };
        format!(
            "The function '{name}' doesn't exist, is disabled, or is not {article} {role} function. Additional info: {known}"
        )
    }

    /// A body is not JSON.
    pub(crate) fn invalid_json(error: &serde_json::Error) -> Self {
        Self::exception(StatusCode::BAD_REQUEST, INVALID_JSON, error.to_string(), READER)
    }

    /// The body of an event is not declared as JSON.
    pub(crate) fn not_json() -> Self {
        Self::Message(StatusCode::BAD_REQUEST, NOT_JSON.to_owned())
    }

    /// The body of a signal is declared as JSON and is none.
    pub(crate) fn signal_json(error: &serde_json::Error) -> Self {
        Self::Message(StatusCode::BAD_REQUEST, format!("Could not parse JSON content: {error}"))
    }

    /// A start or restart met an instance that is alive.
    pub(crate) fn exists(clash: Clash, status: Status, compat: crate::Compat) -> Self {
        let text = match clash {
            Clash::Start => {
                format!("An Orchestration instance with the status {status} already exists.")
            }
            Clash::Restart => RESTART_CLASH.to_owned(),
        };
        match compat {
            crate::Compat::V3 => Self::Message(StatusCode::CONFLICT, text),
            crate::Compat::V2 => Self::went_wrong(text, EXISTS),
        }
    }

    /// A restart of what is not there.
    pub(crate) fn no_instance(id: &str) -> Self {
        let text = format!("An orchestration instance with ID {id} was not found.");
        Self::exception(StatusCode::BAD_REQUEST, NO_INSTANCE, text, ARGUMENT)
    }

    /// A suspension of what is suspended, and the like.
    pub(crate) fn wrong_state(verb: &str, status: Status) -> Self {
        Self::went_wrong(
            format!("Cannot {verb} orchestration instance in the {status} state."),
            INVALID_OPERATION,
        )
    }

    /// A rewind of what is not there.
    pub(crate) fn rewind_nothing(id: &str) -> Self {
        Self::Text(
            StatusCode::NOT_FOUND,
            format!("No orchestration instance with ID '{id}' was found."),
        )
    }

    /// A rewind of what has not failed.
    pub(crate) fn rewind_status(id: &InstanceId, status: Status) -> Self {
        Self::Text(
            StatusCode::PRECONDITION_FAILED,
            format!(
                "Cannot rewind orchestration instance '{id}' because it is in the {status} state; only Failed instances can be rewound."
            ),
        )
    }

    /// A purge of what has not ended.
    pub(crate) fn purge_status(id: &InstanceId, status: Status) -> Self {
        Self::Text(
            StatusCode::PRECONDITION_FAILED,
            format!(
                "Cannot purge orchestration instance '{id}' because it is in the {status} state; terminate it first, or add force=true."
            ),
        )
    }

    /// A purge by filter without its one needed parameter.
    pub(crate) fn no_time() -> Self {
        Self::Text(StatusCode::BAD_REQUEST, NO_TIME.to_owned())
    }

    /// A parameter of ours that cannot be understood.
    pub(crate) fn parameter(name: &str, value: &str, remedy: &str) -> Self {
        Self::bad(format!("`{value}` does not fit the query parameter `{name}`; {remedy}"))
    }

    /// Any other request that cannot be understood.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::Message(StatusCode::BAD_REQUEST, text.into())
    }

    /// Another hub was named.
    pub(crate) fn unknown_hub(named: &str, own: &str) -> Self {
        Self::Message(
            StatusCode::NOT_FOUND,
            format!(
                "There is no task hub '{named}' here; this app's hub is '{own}'. Leave out `taskHub` or write that name."
            ),
        )
    }

    /// A body is too long.
    pub(crate) fn too_long(limit: usize) -> Self {
        Self::Message(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "The request body is longer than {limit} bytes; pass a reference to the data instead of the data."
            ),
        )
    }

    /// Nothing here can run SQL.
    pub(crate) fn no_sql() -> Self {
        Self::Message(
            StatusCode::NOT_IMPLEMENTED,
            "The store of this hub cannot be queried with SQL; use the filters of `GET instances`."
                .to_owned(),
        )
    }

    fn went_wrong(text: impl Into<String>, class: &'static str) -> Self {
        Self::exception(StatusCode::INTERNAL_SERVER_ERROR, WENT_WRONG, text, class)
    }

    fn exception(
        status: StatusCode,
        message: &'static str,
        text: impl Into<String>,
        class: &'static str,
    ) -> Self {
        Self::Exception { status, message, text: text.into(), class }
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Busy | ClientError::LowSpace | ClientError::ReadOnly => {
                Self::Unavailable(error.to_string())
            }
            ClientError::NotFound(_) => Self::NOT_FOUND,
            ClientError::WrongStatus { .. } => Self::GONE,
            ClientError::AlreadyExists { status, .. } => {
                Self::exists(Clash::Start, *status, crate::Compat::V3)
            }
            ClientError::Id(_) => Self::argument(error.to_string()),
            ClientError::TooLarge { .. } => {
                Self::Message(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            ClientError::Store(_) | ClientError::Timeout { .. } => {
                tracing::error!(%error, "a request of the management API failed");
                Self::went_wrong(error.to_string(), ANY)
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message<'a> {
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Exception<'a> {
    message: &'a str,
    #[serde(rename = "ExceptionMessage")]
    text: &'a str,
    #[serde(rename = "ExceptionType")]
    class: &'a str,
    stack_trace: Option<&'a str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Empty(status) => json::empty(status),
            Self::Message(status, message) => json::json(status, &Message { message: &message }),
            Self::Text(status, text) => json::json(status, &text),
            Self::Exception { status, message, text, class } => {
                let body = Exception { message, text: &text, class, stack_trace: None };
                json::json(status, &body)
            }
            Self::Unavailable(message) => {
                let mut response =
                    json::json(StatusCode::SERVICE_UNAVAILABLE, &Message { message: &message });
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
        }
    }
}
