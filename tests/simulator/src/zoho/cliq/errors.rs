//! Errors of the API, whose envelopes differ between the versions.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::faults::Effect;
use crate::zoho::access::Refusal;

/// Version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
}

/// An error response.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    /// The code is within `error`.
    is_nested: bool,
}

impl ApiError {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            is_nested: false,
        }
    }

    const fn nested(mut self) -> Self {
        self.is_nested = true;
        self
    }

    /// A parameter has an invalid value. The form of version 2 is not documented.
    pub(super) const fn invalid_parameter(version: Version) -> Self {
        let message = "An invalid parameter value was passed.";
        match version {
            Version::V2 => Self::new(StatusCode::BAD_REQUEST, "invalid_inputs", message),
            Version::V3 => {
                Self::new(StatusCode::BAD_REQUEST, "invalid.inputs.submitted", message).nested()
            }
        }
    }

    /// A time of version 3 is malformed, or the window is empty.
    pub(super) const fn invalid_time() -> Self {
        let message = "Invalid timestamp format or from_time must be earlier than to_time.";
        Self::new(StatusCode::BAD_REQUEST, "invalid.time.submitted", message).nested()
    }

    /// More channels have changed than a sync token returns. The form is not documented.
    pub(super) const fn sync_overflow() -> Self {
        let message = "The number of channels to be synced exceeds the limit.";
        Self::new(StatusCode::BAD_REQUEST, "sync_limit_exceeded", message)
    }

    /// The path or method does not exist.
    pub(super) const fn unknown_url() -> Self {
        let message = "The request URL is invalid. Please check the URL pattern.";
        Self::new(StatusCode::BAD_REQUEST, "request_url_invalid", message)
    }

    pub(super) const fn chat_denied() -> Self {
        let message = "You must be a participant in this chat to perform this action.";
        Self::new(StatusCode::FORBIDDEN, "chat_access_denied", message)
    }

    pub(super) const fn chat_not_found() -> Self {
        let message = "The requested chat does not exist or you are not a participant.";
        Self::new(StatusCode::NOT_FOUND, "chat_not_found", message)
    }

    pub(super) const fn message_not_found() -> Self {
        let message = "Requested message could not be found.";
        Self::new(StatusCode::NOT_FOUND, "message_not_found", message)
    }

    pub(super) const fn user_not_found() -> Self {
        let message = "The requested user does not exist.";
        Self::new(StatusCode::NOT_FOUND, "user_not_found", message)
    }

    /// The endpoint is locked for the caller.
    pub(super) const fn throttled(version: Version) -> Self {
        match version {
            Version::V2 => Self::new(
                StatusCode::BAD_REQUEST,
                "request_limit_exceeded",
                "You have exceeded the URL throttle limits.",
            ),
            Version::V3 => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                "Too many requests within a certain time frame. Please try again later.",
            )
            .nested(),
        }
    }

    const fn invalid_token() -> Self {
        let message = "The OAuth token passed is invalid.";
        Self::new(StatusCode::UNAUTHORIZED, "oauthtoken_invalid", message)
    }

    const fn missing_scope() -> Self {
        let message = "The OAuth token passed does not have the required scope.";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "oauthtoken_scope_invalid",
            message,
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "code": self.code, "message": self.message });
        if self.is_nested {
            body = json!({ "error": body });
        }
        (self.status, Json(body)).into_response()
    }
}

/// Response to a request without access.
pub(super) fn refusal(reason: Refusal) -> Response {
    match reason {
        Refusal::NoToken => {
            let content_type = [(header::CONTENT_TYPE, "text/html;charset=UTF-8")];
            (StatusCode::UNAUTHORIZED, content_type, "\n").into_response()
        }
        Refusal::InvalidToken => ApiError::invalid_token().into_response(),
        Refusal::MissingScope => ApiError::missing_scope().into_response(),
    }
}

/// Error response of an injected fault.
pub(super) fn fault_response(effect: Effect) -> Option<Response> {
    let error = match effect {
        Effect::PrimaryLimit | Effect::SecondaryLimit | Effect::SecondaryLimitBare => {
            ApiError::throttled(Version::V2)
        }
        Effect::TooManyRequests => ApiError::throttled(Version::V3),
        Effect::Unauthorized => ApiError::invalid_token(),
        Effect::Forbidden => ApiError::missing_scope(),
        _ => return None,
    };
    Some(error.into_response())
}
