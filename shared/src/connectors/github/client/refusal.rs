//! What GitHub's refusals mean.
//!
//! A limit comes as 403 or 429. It is told from a missing permission by, in this order,
//! `Retry-After`, an exhausted `x-ratelimit-remaining`, and the words of the body.

use chrono::{DateTime, TimeZone, Utc};
use http::StatusCode;
use serde::Deserialize;

use super::Answer;
use crate::connectors::{ConnectorError, LimitScope, response};
use crate::http::LimitObservation;

/// How much of GitHub's own words is kept for the log.
const KEPT_MESSAGE: usize = 300;

/// A call that did not give what was asked, with the status behind it, because some
/// callers know better what a 404 means.
#[derive(Debug)]
pub(in super::super) struct Refusal {
    /// `None` when there was no answer.
    pub status: Option<StatusCode>,
    /// What it means as far as one can say without knowing the operation.
    pub error: ConnectorError,
}

impl From<Refusal> for ConnectorError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl From<ConnectorError> for Refusal {
    fn from(error: ConnectorError) -> Self {
        Self {
            status: None,
            error,
        }
    }
}

impl Refusal {
    /// Whether GitHub answered with this status, and not because of a limit.
    pub(in super::super) fn is(&self, status: StatusCode) -> bool {
        self.status == Some(status) && !matches!(self.error, ConnectorError::RateLimited { .. })
    }
}

/// GitHub's answer, in words for the log.
#[derive(Debug, thiserror::Error)]
#[error("GitHub answered {operation} with {status}: {message} (request {request})")]
struct Fault {
    operation: &'static str,
    status: StatusCode,
    message: String,
    request: String,
}

/// What a refusal means.
pub(super) fn classify(
    answer: &Answer,
    operation: &'static str,
    limit: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Refusal {
    let source = Box::new(Fault {
        operation,
        status: answer.status,
        message: message(answer),
        request: answer
            .header("x-github-request-id")
            .unwrap_or("unknown")
            .to_owned(),
    });
    let error = match limit {
        Some(retry_at) => ConnectorError::RateLimited {
            retry_at,
            scope: LimitScope::Account,
            operation,
            source,
        },
        None => response::error_of(answer.status, &answer.headers, operation, now, source),
    };
    Refusal {
        status: Some(answer.status),
        error,
    }
}

/// When a limit ends, if the refusal is one.
pub(super) fn limit(answer: &Answer, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !matches!(
        answer.status,
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    ) {
        return None;
    }
    let exhausted = number(answer, "x-ratelimit-remaining") == Some(0);
    let stated =
        response::retry_at(&answer.headers, now).or_else(|| reset_at(answer).filter(|_| exhausted));
    let spoken = answer.status == StatusCode::TOO_MANY_REQUESTS || exhausted || {
        let words = message(answer).to_ascii_lowercase();
        words.contains("rate limit") || words.contains("abuse detection")
    };
    let ends = match stated {
        Some(at) => at,
        None if spoken => now + response::UNSTATED_LIMIT,
        None => return None,
    };
    Some(response::bounded(ends, now))
}

/// What the answer's headers say about the limit.
pub(super) fn observation(answer: &Answer, limit: Option<DateTime<Utc>>) -> LimitObservation {
    // A refusal may concern a token that is not valid any more. GitHub counts that as a call without
    // one: the headers state the small quota of the caller's address, and not the account's.
    if !(answer.status.is_success() || answer.not_modified()) {
        return LimitObservation {
            spent: u32::from(answer.status != StatusCode::UNAUTHORIZED),
            blocked_until: limit,
            ..LimitObservation::default()
        };
    }
    // Searches and GraphQL have windows of their own.
    if answer
        .header("x-ratelimit-resource")
        .is_some_and(|resource| resource != "core")
    {
        return LimitObservation {
            blocked_until: limit,
            ..LimitObservation::default()
        };
    }
    LimitObservation {
        // What has not changed is given for nothing.
        spent: u32::from(!answer.not_modified()),
        limit: number(answer, "x-ratelimit-limit"),
        remaining: number(answer, "x-ratelimit-remaining"),
        reset_at: reset_at(answer),
        blocked_until: limit,
        ..LimitObservation::default()
    }
}

fn reset_at(answer: &Answer) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(number(answer, "x-ratelimit-reset")?).ok()?;
    Utc.timestamp_opt(seconds, 0).single()
}

fn number(answer: &Answer, header: &str) -> Option<u64> {
    answer.header(header)?.parse().ok()
}

fn message(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }
    match answer.body.read::<Body>() {
        Ok(body) => body.message.chars().take(KEPT_MESSAGE).collect(),
        Err(_) => "no message".to_owned(),
    }
}
