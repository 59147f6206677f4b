//! Mapping of GitHub's error responses.
//!
//! GitHub's own errors are JSON with a message and the URL of its documentation. Any other body, such
//! as a page of HTML, comes from a proxy or a server under maintenance and says nothing about the
//! resource ([`own_message`]).
//!
//! A rate limit has status 403 or 429. It is distinguished from a missing permission by, in this
//! order, `Retry-After`, an exhausted `x-ratelimit-remaining`, and the text of the body.

use chrono::{DateTime, TimeZone, Utc};
use http::StatusCode;
use serde::Deserialize;

use super::Response;
use crate::connectors::response::ApiError;
use crate::connectors::wire::text;
use crate::connectors::{ConnectorError, response};
use crate::http::LimitObservation;
use crate::model::LimitScope;

/// Maximum length of GitHub's message in the log.
const MAX_MESSAGE_CHARS: usize = 300;

/// GitHub's error response, as the source of a [`ConnectorError`].
#[derive(Debug, thiserror::Error)]
#[error("GitHub responded to {operation} with {status}: {message} (request {request})")]
struct CallFailed {
    operation: &'static str,
    status: StatusCode,
    message: String,
    /// Whether the body has the form of GitHub's own errors.
    is_own: bool,
    request: String,
}

/// Returns the message of GitHub's own error response; `None` if another server may have sent it.
pub(in super::super) fn own_message(error: &ApiError) -> Option<&str> {
    let failed: &CallFailed = std::error::Error::source(&error.cause)?.downcast_ref()?;
    failed.is_own.then_some(failed.message.as_str())
}

/// Returns whether GitHub itself says that a resource does not exist or is not accessible.
pub(in super::super) fn is_own_not_found(error: &ApiError) -> bool {
    error.is(StatusCode::NOT_FOUND)
        && own_message(error).is_some_and(|message| message.eq_ignore_ascii_case("Not Found"))
}

/// Maps an error response.
pub(super) fn classify(
    response: &Response,
    operation: &'static str,
    limit: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> ApiError {
    let body = ErrorBody::of(response);
    let source = Box::new(CallFailed {
        operation,
        status: response.status,
        message: message(response),
        is_own: body.is_own(response.status),
        request: response
            .header("x-github-request-id")
            .unwrap_or("unknown")
            .to_owned(),
    });
    let cause = match limit {
        Some(retry_at) => ConnectorError::RateLimited {
            retry_at,
            scope: LimitScope::Account,
            operation,
            source,
        },
        None => response::map_status(response.status, &response.headers, operation, now, source),
    };
    ApiError {
        status: Some(response.status),
        code: body.error.unwrap_or_default(),
        cause,
    }
}

/// Returns the end of the rate limit that caused an error response, if one did.
pub(super) fn limit(response: &Response, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !matches!(
        response.status,
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    ) {
        return None;
    }
    let exhausted = number(response, "x-ratelimit-remaining") == Some(0);
    let stated = response::retry_at(&response.headers, now)
        .or_else(|| reset_at(response).filter(|_| exhausted));
    let is_limit = response.status == StatusCode::TOO_MANY_REQUESTS || exhausted || {
        let text = message(response).to_ascii_lowercase();
        text.contains("rate limit") || text.contains("abuse detection")
    };
    let ends = match stated {
        Some(at) => at,
        None if is_limit => now + response::DEFAULT_RETRY_AFTER,
        None => return None,
    };
    Some(response::clamp_retry_at(ends, now))
}

/// Returns the rate limits that the response states.
pub(super) fn observation(response: &Response, limit: Option<DateTime<Utc>>) -> LimitObservation {
    // An error may concern a token that is no longer valid. GitHub counts that as a call without a
    // token: the headers state the small quota of the caller's address, not the account's.
    if !(response.status.is_success() || response.not_modified()) {
        return LimitObservation {
            spent: u32::from(response.status != StatusCode::UNAUTHORIZED),
            blocked_until: limit,
            ..LimitObservation::default()
        };
    }
    // Searches and GraphQL have separate windows.
    if response
        .header("x-ratelimit-resource")
        .is_some_and(|resource| resource != "core")
    {
        return LimitObservation {
            blocked_until: limit,
            ..LimitObservation::default()
        };
    }
    LimitObservation {
        // A 304 response is free.
        spent: u32::from(!response.not_modified()),
        limit: number(response, "x-ratelimit-limit"),
        remaining: number(response, "x-ratelimit-remaining"),
        reset_at: reset_at(response),
        blocked_until: limit,
        ..LimitObservation::default()
    }
}

fn reset_at(response: &Response) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(number(response, "x-ratelimit-reset")?).ok()?;
    Utc.timestamp_opt(seconds, 0).single()
}

fn number(response: &Response, header: &str) -> Option<u64> {
    response.header(header)?.parse().ok()
}

/// The readable fields of an error response.
#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default, deserialize_with = "text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "text")]
    documentation_url: Option<String>,
    /// The status, as text.
    #[serde(default, deserialize_with = "text")]
    status: Option<String>,
    /// The error code of OAuth.
    #[serde(default, deserialize_with = "text")]
    error: Option<String>,
}

impl ErrorBody {
    fn of(response: &Response) -> Self {
        response.body.read().unwrap_or_default()
    }

    /// Returns whether the body has the form of GitHub's errors.
    ///
    /// A proxy may pass on the headers of GitHub, so they prove nothing.
    fn is_own(&self, status: StatusCode) -> bool {
        let states_status = self.status.as_deref() == Some(status.as_str());
        self.message.is_some() && (self.documentation_url.is_some() || states_status)
    }
}

fn message(response: &Response) -> String {
    match ErrorBody::of(response).message {
        Some(message) => message.chars().take(MAX_MESSAGE_CHARS).collect(),
        None => "no message".to_owned(),
    }
}
