//! The body of every error response: RFC 9457 problem details with `code`, `message` (the same text
//! as `detail`), `details` and `retry_after`.
//!
//! Clients receive fixed texts. Internal errors are logged where they become a problem, and
//! never reach the body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An error response (`application/problem+json`, RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// A URN that identifies the kind of problem: `urn:poblysh:problem:<code>`.
    #[serde(rename = "type")]
    #[schema(example = "urn:poblysh:problem:not_found")]
    pub kind: String,
    /// The reason phrase of the HTTP status.
    #[schema(example = "Not Found")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// Explanation and next step, for people.
    #[schema(example = "Connection not found.")]
    pub detail: String,
    /// The kind of problem, for programs.
    #[schema(example = "not_found")]
    pub code: &'static str,
    /// The text of `detail`.
    #[schema(example = "Connection not found.")]
    pub message: String,
    /// Data that helps to correct the request, such as the invalid fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<serde_json::Value>,
    /// Seconds to wait before the next attempt, if waiting helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem with a status, a code and a message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind: format!("urn:poblysh:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: message.clone(),
            code,
            message,
            details: None,
            retry_after: None,
        }
    }

    /// Adds data that helps to correct the request.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Sets the seconds to wait before the next attempt, also sent as `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A 500 whose cause is in the log under the request id.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The request failed with an internal error. Report the request id to the operator.",
        )
    }

    /// A 503 while Postgres is unreachable or overloaded.
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The database is unavailable. Retry after the seconds in Retry-After.",
        )
        .with_retry_after(1)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
