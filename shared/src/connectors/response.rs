//! Responses of providers: bodies, statuses and rate limits, independent of the provider.
//!
//! A connector's client handles the special cases of its provider (GitHub signals a rate limit
//! with 403, Slack reports most errors with 200) and uses this module for all others, so that a
//! proxy's response means the same for every provider.

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::error::permanent_error;
use super::wire::Json;
use super::{ConnectorError, Source};
use crate::http::{Charge, HttpError, LimitObservation, Outbound};
use crate::model::LimitScope;

/// Duration of a rate limit for which the provider states none.
pub(super) const DEFAULT_RETRY_AFTER: Duration = Duration::seconds(60);
/// Minimum duration of a rate limit, so that a limit that just ended causes no busy loop.
const MIN_RETRY_AFTER: Duration = Duration::seconds(1);
/// Maximum duration of a rate limit. No provider's window is longer than an hour.
const MAX_RETRY_AFTER: Duration = Duration::hours(2);

/// Response of a successful call.
#[derive(Debug)]
pub(super) struct Response {
    /// The body.
    pub body: Json<Bytes>,
    /// The operation's name in metrics, spans and rate budgets.
    pub operation: &'static str,
}

impl Response {
    /// Deserializes the body; borrowed parts borrow from this response.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConnectorError> {
        json(&self.body, self.operation)
    }
}

/// Failure of a call, with the details by which some callers know better what it means.
#[derive(Debug)]
pub(super) struct ApiError {
    /// Status of the response; `None` if there was none.
    pub status: Option<StatusCode>,
    /// The provider's error code; empty if the response has none.
    pub code: String,
    /// The error it maps to for most operations.
    pub cause: ConnectorError,
}

impl From<ApiError> for ConnectorError {
    fn from(error: ApiError) -> Self {
        error.cause
    }
}

impl From<ConnectorError> for ApiError {
    fn from(cause: ConnectorError) -> Self {
        Self {
            status: None,
            code: String::new(),
            cause,
        }
    }
}

impl From<HttpError> for ApiError {
    fn from(error: HttpError) -> Self {
        ConnectorError::from(error).into()
    }
}

impl ApiError {
    /// Returns whether the response has this status and is not a rate limit.
    pub(super) fn is(&self, status: StatusCode) -> bool {
        self.status == Some(status) && !matches!(self.cause, ConnectorError::RateLimited { .. })
    }
}

/// Reports the rate limit that rejected a call, if one did, to the rate limiter.
pub(super) async fn observe_rejection(
    outbound: &Outbound,
    charge: &Charge<'_>,
    cause: &ConnectorError,
) {
    if let ConnectorError::RateLimited {
        retry_at, scope, ..
    } = cause
    {
        let seen = LimitObservation {
            scope: *scope,
            blocked_until: Some(*retry_at),
            ..LimitObservation::default()
        };
        outbound.observe(charge, seen).await;
    }
}

/// Parses a response's body in the form that is documented for the operation.
///
/// A body that is not JSON at all was truncated or replaced on the way, so the error is transient.
pub(super) fn json<'b, T: Deserialize<'b>, B: AsRef<[u8]>>(
    body: &'b Json<B>,
    operation: &str,
) -> Result<T, ConnectorError> {
    body.read().map_err(|error: serde_json::Error| {
        let position = format!("line {}, column {}", error.line(), error.column());
        if body.is_json() {
            permanent_error(format!(
                "the response to {operation} does not have the documented form ({position})"
            ))
        } else {
            ConnectorError::Transient(
                format!("the response to {operation} is not JSON ({position})").into(),
            )
        }
    })
}

/// Maps the status of a failed call to an error.
///
/// A success status with an unusable body comes from an intermediary that failed.
pub(super) fn map_status(
    status: StatusCode,
    headers: &HeaderMap,
    operation: &'static str,
    now: DateTime<Utc>,
    source: Source,
) -> ConnectorError {
    let limited = |source| ConnectorError::RateLimited {
        retry_at: retry_at(headers, now).unwrap_or(now + DEFAULT_RETRY_AFTER),
        scope: LimitScope::Account,
        operation,
        source,
    };
    match status.as_u16() {
        401 => ConnectorError::Unauthorized(source),
        429 => limited(source),
        // A denial of permission has no `Retry-After`.
        403 if headers.contains_key(header::RETRY_AFTER) => limited(source),
        // 410 and 451: a feature is disabled, a resource is blocked.
        403 | 404 | 410 | 451 => ConnectorError::denied(source),
        200..=299 | 408 | 425 | 500.. => ConnectorError::Transient(source),
        _ => ConnectorError::Permanent(source),
    }
}

/// Parses `Retry-After`: seconds or, as proxies send it, a date (RFC 9110, section 10.2.3).
pub(super) fn retry_at(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let at = match text.parse::<u32>() {
        Ok(seconds) => now + Duration::seconds(i64::from(seconds)),
        Err(_) => DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc),
    };
    Some(clamp_retry_at(at, now))
}

/// Clamps the end of a rate limit to a plausible duration from now.
pub(super) fn clamp_retry_at(at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    at.clamp(now + MIN_RETRY_AFTER, now + MAX_RETRY_AFTER)
}

#[cfg(test)]
mod tests;
