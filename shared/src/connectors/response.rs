//! What a provider's refusals mean, as far as that does not depend on the provider: the table of
//! statuses, and how long a limit lasts.
//!
//! A connector's client knows its provider's own words (GitHub tells a limit by 403, Slack nearly
//! everything by 200) and asks here for the rest, so that an answer of a proxy means the same
//! wherever it comes from.

use chrono::{DateTime, Duration, Utc};
use http::{HeaderMap, StatusCode, header};

use super::{ConnectorError, LimitScope, Source};

/// How long a limit lasts that the provider does not state.
pub(super) const UNSTATED_LIMIT: Duration = Duration::seconds(60);
/// The shortest limit, so that one that has just ended is not asked for in a loop.
const MIN_LIMIT: Duration = Duration::seconds(1);
/// The longest limit that is believed: no provider's window is longer than an hour.
const MAX_LIMIT: Duration = Duration::hours(2);

/// What an answer means that did not give what was asked, by its status alone. A success whose
/// body is no answer of the provider's has passed something that failed.
pub(super) fn error_of(
    status: StatusCode,
    headers: &HeaderMap,
    operation: &'static str,
    now: DateTime<Utc>,
    source: Source,
) -> ConnectorError {
    let limited = |source| ConnectorError::RateLimited {
        retry_at: retry_at(headers, now).unwrap_or(now + UNSTATED_LIMIT),
        scope: LimitScope::Account,
        operation,
        source,
    };
    match status.as_u16() {
        401 => ConnectorError::Unauthorized(source),
        429 => limited(source),
        // A denial does not say when to come back.
        403 if headers.contains_key(header::RETRY_AFTER) => limited(source),
        // 410 and 451: a feature is switched off, a resource is blocked.
        403 | 404 | 410 | 451 => ConnectorError::Permission(source),
        200..=299 | 408 | 425 | 500.. => ConnectorError::Transient(source),
        _ => ConnectorError::Permanent(source),
    }
}

/// When `Retry-After` says that a call is allowed again: in seconds or, as proxies write it, as a
/// date (RFC 9110, section 10.2.3).
pub(super) fn retry_at(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let at = match text.parse::<u32>() {
        Ok(seconds) => now + Duration::seconds(i64::from(seconds)),
        Err(_) => DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc),
    };
    Some(bounded(at, now))
}

/// The end of a limit, no sooner and no later than can be believed.
pub(super) fn bounded(at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    at.clamp(now + MIN_LIMIT, now + MAX_LIMIT)
}

#[cfg(test)]
mod tests;
