//! Errors that are particular to Calendar.

use axum::http::StatusCode;

use crate::google::error::ApiError;

/// The calendar or event is unknown, or the person has no access to it.
pub(super) fn not_found() -> ApiError {
    ApiError::not_found("Not Found")
}

/// The sync token is too old.
pub(super) fn full_sync_required() -> ApiError {
    let message = "Sync token is no longer valid, a full sync is required.";
    ApiError::new(StatusCode::GONE, "fullSyncRequired", message)
        .domain("calendar")
        .at_parameter("syncToken")
}

/// The text is no sync token of the list.
pub(super) fn invalid_sync_token() -> ApiError {
    let message = "Invalid sync token value.";
    ApiError::new(StatusCode::BAD_REQUEST, "invalid", message).at_parameter("syncToken")
}

/// The text is no page token of the list.
pub(super) fn invalid_page_token() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid",
        "Invalid page token value.",
    )
}

/// A parameter that does not go with a sync token or with another parameter.
pub(super) fn not_allowed(name: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "badRequest", "Bad Request").at_parameter(name)
}

/// `updatedMin` is older than the deletions that the service keeps.
pub(super) fn updated_min_too_long_ago() -> ApiError {
    let message = "The requested minimum modification time lies too far in the past.";
    ApiError::new(StatusCode::GONE, "updatedMinTooLongAgo", message)
        .domain("calendar")
        .at_parameter("updatedMin")
}

/// `timeMax` is not after `timeMin`.
pub(super) fn time_range_empty() -> ApiError {
    let message = "The specified time range is empty.";
    ApiError::new(StatusCode::BAD_REQUEST, "timeRangeEmpty", message)
        .domain("calendar")
        .at_parameter("timeMax")
}

/// The event was deleted.
pub(super) fn deleted() -> ApiError {
    ApiError::new(StatusCode::GONE, "deleted", "Resource has been deleted")
}

/// The calendar has no channels.
pub(super) fn push_not_supported() -> ApiError {
    let reason = "pushNotSupportedForRequestedResource";
    let message = "Push notifications are not supported by this resource.";
    ApiError::new(StatusCode::BAD_REQUEST, reason, message)
}
