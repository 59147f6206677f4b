//! Errors of the API.

use axum::http::StatusCode;

use crate::google::error::ApiError;

/// A parameter or a part of the body is invalid: `text` and then the value.
pub(super) fn invalid_argument(text: &str, value: &str) -> ApiError {
    let message = format!("{text}{value}");
    ApiError::new(StatusCode::BAD_REQUEST, "invalidArgument", message).canonical("INVALID_ARGUMENT")
}

pub(super) fn forbidden(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message).canonical("PERMISSION_DENIED")
}

/// The resource, or a part of the history, does not exist.
pub(super) fn not_found() -> ApiError {
    ApiError::not_found("Requested entity was not found.").canonical("NOT_FOUND")
}
