//! Google's errors, and the one table that maps them to [`ConnectorError`].
//!
//! The reason decides, not the status: a rate limit is also 403 with the status
//! `PERMISSION_DENIED`. Sources: "Resolve errors" of the guides of Drive, Calendar and Gmail, and
//! `google.rpc.ErrorInfo`.

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::connectors::response::{self, DEFAULT_RETRY_AFTER, clamp_retry_at};
use crate::connectors::wire::{Json, lenient, rows, text};
use crate::connectors::{ConnectorError, MissingScope, Source};
use crate::model::LimitScope;

/// Maximum length of an error message in the log.
const MAX_LOGGED_CHARS: usize = 200;
/// Pause after a daily quota is used up. It resets at midnight, Pacific time.
const DAILY_PAUSE: Duration = Duration::hours(4);
/// Text in a message of Gmail before the end of a limit.
const RETRY_AFTER_TEXT: &str = "Retry after ";

/// Reasons of limits that end within minutes.
const LIMITS: &[&str] = &[
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "quotaExceeded",
    "RATE_LIMIT_EXCEEDED",
];
/// Reasons of a grant without the scope that a call needs.
const MISSING_SCOPE: &[&str] = &["insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"];
/// Reasons that only the operator can correct, in the Google Cloud project.
const SETTINGS: &[&str] = &[
    "accessNotConfigured",
    "SERVICE_DISABLED",
    "invalid_client",
    "unauthorized_client",
    "deleted_client",
];
/// Reasons for which a resource or a whole product is not available to the person.
const DENIALS: &[&str] = &[
    "forbidden",
    "insufficientFilePermissions",
    "appNotAuthorizedToFile",
    "domainPolicy",
    "pushNotSupportedForRequestedResource",
];
/// Prefix of the reasons why a channel cannot be created, such as a URL without https.
const PUSH: &str = "push.";
/// Codes of an outage, at any status, as `error` or `error_description`.
const OUTAGES: &[&str] = &[
    "internal_failure",
    "server_error",
    "temporarily_unavailable",
];

/// A failed call, with what its response states.
pub(super) struct CallError<'a> {
    pub(super) operation: &'static str,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: ErrorBody,
    /// The scope that the call needs.
    pub(super) scope: Option<&'static str>,
}

/// Google's error response, as the source of a [`ConnectorError`].
#[derive(Debug, thiserror::Error)]
#[error("Google responded to {operation} with {status}: {message}")]
struct CallFailed {
    operation: &'static str,
    status: StatusCode,
    message: String,
}

/// Body of an error response, of an API or of the token endpoint.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorBody {
    /// A code of the token endpoint; absent if the field is an object.
    #[serde(rename = "error", default, deserialize_with = "text")]
    code: Option<String>,
    #[serde(default, deserialize_with = "text")]
    error_description: Option<String>,
    #[serde(skip)]
    api: ApiErrorBody,
}

#[derive(Debug, Default, Deserialize)]
struct ApiErrorBody {
    #[serde(default, deserialize_with = "text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "rows")]
    errors: Vec<Reason>,
    #[serde(default, deserialize_with = "rows")]
    details: Vec<Reason>,
}

/// An entry of `errors` or `details`.
#[derive(Debug, Default, Deserialize)]
struct Reason {
    #[serde(default, deserialize_with = "text")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    metadata: Option<Metadata>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "text")]
    quota_limit: Option<String>,
}

impl ErrorBody {
    /// Parses a body; empty if it is none of Google's.
    pub(super) fn parse(body: &Bytes) -> Self {
        #[derive(Default, Deserialize)]
        struct Envelope {
            #[serde(default, deserialize_with = "lenient")]
            error: Option<ApiErrorBody>,
        }
        let json = Json::of(body);
        let envelope: Envelope = json.read().unwrap_or_default();
        Self {
            api: envelope.error.unwrap_or_default(),
            ..json.read().unwrap_or_default()
        }
    }

    /// The error's reason: the first one of an API, or the code of the token endpoint.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reasons().next()
    }

    fn reasons(&self) -> impl Iterator<Item = &str> {
        let listed = self.api.errors.iter().chain(&self.api.details);
        listed
            .filter_map(|entry| entry.reason.as_deref())
            .chain(self.code.as_deref())
    }

    fn has_reason(&self, known: &[&str]) -> bool {
        self.reasons().any(|reason| known.contains(&reason))
    }

    /// Returns whether the response reports an outage of the token endpoint.
    pub(super) fn is_outage(&self) -> bool {
        let codes = [&self.code, &self.error_description];
        let mut codes = codes.into_iter().filter_map(Option::as_deref);
        codes.any(|code| OUTAGES.contains(&code))
    }

    /// The calls that a limit concerns: those of the project if it says so, else the person's.
    fn limit_scope(&self) -> LimitScope {
        let of_project = |entry: &Reason| {
            let metadata = entry.metadata.as_ref();
            metadata
                .and_then(|metadata| metadata.quota_limit.as_deref())
                .is_some_and(|limit| limit.ends_with("PerProject"))
        };
        if self.api.details.iter().any(of_project) {
            LimitScope::Provider
        } else {
            LimitScope::Account
        }
    }

    /// The end of a limit in a message of Gmail.
    fn retry_at(&self) -> Option<DateTime<Utc>> {
        let (_, rest) = self.api.message.as_ref()?.split_once(RETRY_AFTER_TEXT)?;
        let time = rest.split_whitespace().next()?;
        let at = DateTime::parse_from_rfc3339(time).ok()?;
        Some(at.with_timezone(&Utc))
    }

    fn log_message(&self) -> String {
        let parts = [
            self.reason(),
            self.error_description.as_deref(),
            self.api.message.as_deref(),
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        parts.join(": ").chars().take(MAX_LOGGED_CHARS).collect()
    }
}

impl CallError<'_> {
    /// Maps the response to an error.
    pub(super) fn classify(self, now: DateTime<Utc>) -> ConnectorError {
        let source: Source = Box::new(CallFailed {
            operation: self.operation,
            status: self.status,
            message: self.body.log_message(),
        });
        let body = &self.body;
        if body.has_reason(&["dailyLimitExceeded"]) {
            return ConnectorError::RateLimited {
                retry_at: now + DAILY_PAUSE,
                scope: LimitScope::Provider,
                operation: self.operation,
                source,
            };
        }
        if body.has_reason(LIMITS) || self.status == StatusCode::TOO_MANY_REQUESTS {
            let stated = response::retry_at(self.headers, now);
            let stated = stated.or_else(|| Some(clamp_retry_at(body.retry_at()?, now)));
            return ConnectorError::RateLimited {
                retry_at: stated.unwrap_or(now + DEFAULT_RETRY_AFTER),
                scope: body.limit_scope(),
                operation: self.operation,
                source,
            };
        }
        if body.is_outage() {
            return ConnectorError::Transient(source);
        }
        if body.has_reason(MISSING_SCOPE) {
            return match self.scope {
                Some(scope) => ConnectorError::denied(MissingScope(scope)),
                None => ConnectorError::denied(source),
            };
        }
        if body.has_reason(SETTINGS) || body.reasons().any(|reason| reason.starts_with(PUSH)) {
            return ConnectorError::Permanent(source);
        }
        if body.has_reason(DENIALS) {
            return ConnectorError::denied(source);
        }
        response::map_status(self.status, self.headers, self.operation, now, source)
    }
}

#[cfg(test)]
mod tests;
