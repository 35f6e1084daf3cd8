//! Refusals in the words of the real service: status, code, message, XML.

use axum::body::Body;
use http::{Response, StatusCode, header::CONTENT_TYPE};

use crate::{name, xml};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Further elements of the document.
    pub(super) details: Vec<(&'static str, String)>,
    /// Headers of the answer.
    pub(super) headers: Vec<(&'static str, String)>,
}

/// The faults that always say the same: a function for each.
macro_rules! faults {
    ($($name:ident: $status:ident $code:literal $message:literal;)*) => {
        impl Fault {
            $(pub(super) fn $name() -> Self {
                Self::new(StatusCode::$status, $code, $message)
            })*
        }
    };
}

faults! {
    queue_not_found: NOT_FOUND "QueueNotFound" "The specified queue does not exist.";
    queue_already_exists: CONFLICT "QueueAlreadyExists" "The specified queue already exists.";
    message_not_found: NOT_FOUND "MessageNotFound" "The specified message does not exist.";
    pop_receipt_mismatch: BAD_REQUEST "PopReceiptMismatch" "The specified pop receipt did not match the pop receipt for a dequeued message.";
    invalid_xml: BAD_REQUEST "InvalidXmlDocument" "XML specified is not syntactically valid.";
    container_not_found: NOT_FOUND "ContainerNotFound" "The specified container does not exist.";
    container_already_exists: CONFLICT "ContainerAlreadyExists" "The specified container already exists.";
    blob_not_found: NOT_FOUND "BlobNotFound" "The specified blob does not exist.";
    blob_already_exists: CONFLICT "BlobAlreadyExists" "The specified blob already exists.";
    condition_not_met: PRECONDITION_FAILED "ConditionNotMet" "The condition specified using HTTP conditional header(s) is not met.";
    not_modified: NOT_MODIFIED "ConditionNotMet" "The condition specified using HTTP conditional header(s) is not met.";
    invalid_block_id: BAD_REQUEST "InvalidBlobOrBlock" "The specified blob or block content is invalid.";
    invalid_block_list: BAD_REQUEST "InvalidBlockList" "The specified block list is invalid.";
    invalid_metadata: BAD_REQUEST "InvalidMetadata" "The metadata specified is invalid. It has characters that are not permitted.";
    out_of_range_input: BAD_REQUEST "OutOfRangeInput" "One of the request inputs is out of range.";
    lease_id_missing: PRECONDITION_FAILED "LeaseIdMissing" "There is currently a lease on the blob and no lease ID was specified in the request.";
    lease_mismatch_with_blob: PRECONDITION_FAILED "LeaseIdMismatchWithBlobOperation" "The lease ID specified did not match the lease ID for the blob.";
    lease_not_present_with_blob: PRECONDITION_FAILED "LeaseNotPresentWithBlobOperation" "There is currently no lease on the blob.";
    lease_mismatch: CONFLICT "LeaseIdMismatchWithLeaseOperation" "The lease ID specified did not match the lease ID for the blob.";
    lease_not_present: CONFLICT "LeaseNotPresentWithLeaseOperation" "There is currently no lease on the blob.";
    lease_already_present: CONFLICT "LeaseAlreadyPresent" "There is already a lease present.";
    wrong_method: METHOD_NOT_ALLOWED "UnsupportedHttpVerb" "The resource doesn't support the specified HTTP verb.";
    not_implemented: NOT_IMPLEMENTED "NotImplemented" "The requested operation is not implemented on the specified resource.";
    internal: INTERNAL_SERVER_ERROR "InternalError" "The server encountered an internal error. Please retry the request.";
    permission_mismatch: FORBIDDEN "AuthorizationPermissionMismatch" "This request is not authorized to perform this operation using this permission.";
    resource_type_mismatch: FORBIDDEN "AuthorizationResourceTypeMismatch" "This request is not authorized to perform this operation using this resource type.";
    service_mismatch: FORBIDDEN "AuthorizationServiceMismatch" "This request is not authorized to perform this operation using this service.";
    incomplete_body: BAD_REQUEST "IncompleteBody" "The body of the request ended before it was complete.";
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Vec::new(), headers: Vec::new() }
    }

    pub(super) fn with(mut self, element: &'static str, text: impl std::fmt::Display) -> Self {
        self.details.push((element, text.to_string()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// A name is too long or too short, or has letters that names do not have.
    pub(super) fn resource_name(given: &str) -> Self {
        if (3..=63).contains(&given.len()) {
            let message =
                format!("The specified resource name contains invalid characters: {}.", name::RULE);
            return Self::new(StatusCode::BAD_REQUEST, "InvalidResourceName", message);
        }
        Self::new(
            StatusCode::BAD_REQUEST,
            "OutOfRangeInput",
            format!(
                "The specified resource name length is not within the permissible limits: {}.",
                name::RULE
            ),
        )
    }

    /// A parameter of the query is not of its type.
    pub(super) fn query_value(parameter: &str, value: &str, reason: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidQueryParameterValue",
            "Value for one of the query parameters specified in the request URI is invalid.",
        )
        .with("QueryParameterName", parameter)
        .with("QueryParameterValue", value)
        .with("Reason", reason)
    }

    /// A parameter of the query is too small or too large.
    pub(super) fn query_range(parameter: &str, value: &str, least: i64, most: i64) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "OutOfRangeQueryParameterValue",
            "One of the query parameters specified in the request URI is outside the permissible range.",
        )
        .with("QueryParameterName", parameter)
        .with("QueryParameterValue", value)
        .with("MinimumAllowed", least)
        .with("MaximumAllowed", most)
    }

    pub(super) fn missing_query(parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MissingRequiredQueryParameter",
            "A required query parameter was not specified for this request.",
        )
        .with("QueryParameterName", parameter)
    }

    pub(super) fn missing_header(header: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MissingRequiredHeader",
            "An HTTP header that's mandatory for this request is not specified.",
        )
        .with("HeaderName", header)
    }

    pub(super) fn header_value(header: &str, value: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidHeaderValue",
            "The value for one of the HTTP headers is not in the correct format.",
        )
        .with("HeaderName", header)
        .with("HeaderValue", value)
    }

    pub(super) fn uri(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidUri", message)
    }

    pub(super) fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestBodyTooLarge",
            "The request body is too large and exceeds the maximum permissible limit.",
        )
        .with("MaxLimit", limit)
    }

    /// The signature is not right; the detail says why, without anything secret.
    pub(super) fn authentication(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.",
        )
        .with("AuthenticationErrorDetail", detail.into())
    }

    /// The document; answers to `HEAD` and those that say "not modified" have none.
    pub(super) fn response(self, request_id: &str, time: &str, has_body: bool) -> Response<Body> {
        let Self { status, code, message, details, headers } = self;
        let mut response = Response::builder().status(status).header("x-ms-error-code", code);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let mut body = String::new();
        if has_body && status != StatusCode::NOT_MODIFIED {
            let mut writer = xml::Writer::new();
            let message = format!("{message}\nRequestId:{request_id}\nTime:{time}");
            writer.open("Error").leaf("Code", code).leaf("Message", message);
            for (name, text) in details {
                writer.leaf(name, text);
            }
            writer.close("Error");
            body = writer.finish();
            response = response.header(CONTENT_TYPE, "application/xml");
        }
        response.body(Body::from(body)).expect("codes are header values")
    }
}

/// The database fails only when the disk does; the text is for the log and not for the caller.
impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!(%error, "the storage service's database failed");
        Self::internal()
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        tracing::error!(%error, "a file of the storage service cannot be read or written");
        Self::internal()
    }
}
