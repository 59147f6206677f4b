//! Calls to Slack's Web API, and the one place where its answers become a
//! [`ConnectorError`].
//!
//! Slack answers nearly everything with 200; whether a call succeeded stands in the body's
//! `ok`, and why not in `error`. Sources: "Using the Slack Web API" and "Rate limits" at
//! docs.slack.dev.

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::{HeaderMap, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::clock::SharedClock;
use crate::connectors::support::{self, below};
use crate::connectors::wire::Json;
use crate::connectors::{ConnectorError, LimitScope, response};
use crate::http::{Charge, HttpError, LimitObservation, Outbound, OutboundBuilder};

/// How long a workspace rests that moves into an organization, or wants another login.
const MOVING: Duration = Duration::hours(1);
/// How much of Slack's own words is kept for the log.
const KEPT: usize = 100;

/// One Slack, as one app sees it.
pub(super) struct Client {
    outbound: Outbound,
    clock: SharedClock,
    base: Url,
}

/// How a call proves who makes it.
pub(super) enum Proof<'a> {
    /// A token: a workspace's or the app's own.
    Bearer(&'a SecretString),
    /// The app's OAuth client.
    Client(&'a str, &'a SecretString),
}

/// A call that succeeded.
#[derive(Debug)]
pub(super) struct Answer {
    body: Json<Bytes>,
    method: &'static str,
}

impl Answer {
    /// The body; borrowed parts borrow from this answer.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConnectorError> {
        support::json(&self.body, self.method)
    }
}

/// A call that did not succeed.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Slack's word for why; empty when there was no such answer.
    pub(super) code: String,
    /// What it means as far as one can say without knowing the method.
    pub(super) error: ConnectorError,
}

impl From<Refusal> for ConnectorError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl From<ConnectorError> for Refusal {
    fn from(error: ConnectorError) -> Self {
        Self {
            code: String::new(),
            error,
        }
    }
}

/// Slack's answer, in words for the log.
#[derive(Debug, thiserror::Error)]
#[error("Slack answered {method} with {status}: {code}{needed}")]
struct Fault {
    method: &'static str,
    status: StatusCode,
    code: String,
    needed: String,
}

#[derive(Deserialize)]
struct Outcome {
    ok: bool,
    error: Option<String>,
    needed: Option<String>,
}

impl Client {
    pub(super) fn new(
        outbound: OutboundBuilder,
        clock: SharedClock,
        base: Url,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            outbound: outbound.allow(&base).build()?,
            clock,
            base,
        })
    }

    /// A page or method below Slack's base URL.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        below(&self.base, path)
    }

    /// Calls a method. The charge's operation is the method's name.
    pub(super) async fn call(
        &self,
        charge: &Charge<'_>,
        proof: Proof<'_>,
        arguments: &[(&str, &str)],
    ) -> Result<Answer, Refusal> {
        let method = charge.operation;
        let request = self
            .outbound
            .request(Method::POST, self.url(&["api", method]));
        let request = match proof {
            Proof::Bearer(token) => request.bearer_auth(token.expose_secret()),
            Proof::Client(id, secret) => request.basic_auth(id, Some(secret.expose_secret())),
        };
        let response = self
            .outbound
            .send(charge, request.form(arguments))
            .await
            .map_err(|error| Refusal::from(ConnectorError::from(error)))?;
        let body = Json::of(response.body);
        let outcome: Option<Outcome> = body.read().ok();
        if response.status.is_success() && outcome.as_ref().is_some_and(|outcome| outcome.ok) {
            return Ok(Answer { body, method });
        }
        let word = |text: Option<String>| -> String {
            text.unwrap_or_default().chars().take(KEPT).collect()
        };
        // JSON that says nothing of success or failure; without a reason, a failure may pass.
        let is_other_form = outcome.is_none() && body.is_json();
        let (code, needed) =
            outcome.map_or_else(Default::default, |o| (word(o.error), word(o.needed)));
        let now = self.clock.now();
        let (status, headers) = (response.status, &response.headers);
        let error = if is_other_form && status.is_success() {
            support::operator_fault(format!(
                "the answer to {method} is not of the documented form"
            ))
        } else {
            classify(method, status, headers, &code, needed, now)
        };
        if let ConnectorError::RateLimited {
            retry_at, scope, ..
        } = &error
        {
            let seen = LimitObservation {
                reach: *scope,
                blocked_until: Some(*retry_at),
                ..LimitObservation::default()
            };
            self.outbound.observe(charge, seen).await;
        }
        Err(Refusal { code, error })
    }
}

/// What a refusal means.
fn classify(
    method: &'static str,
    status: StatusCode,
    headers: &HeaderMap,
    code: &str,
    needed: String,
    now: DateTime<Utc>,
) -> ConnectorError {
    let limited = |retry_at, scope, source| ConnectorError::RateLimited {
        retry_at,
        scope,
        operation: method,
        source,
    };
    let source = Box::new(Fault {
        method,
        status,
        code: code.to_owned(),
        needed: if needed.is_empty() {
            needed
        } else {
            format!(" (needs {needed})")
        },
    });
    if status == StatusCode::TOO_MANY_REQUESTS || matches!(code, "ratelimited" | "rate_limited") {
        let retry_at = response::retry_at(headers, now).unwrap_or(now + response::UNSTATED_LIMIT);
        return limited(retry_at, LimitScope::Operation, source);
    }
    match code {
        // Another token would do: the caller renews it, if it can be renewed.
        "token_expired"
        | "invalid_auth"
        | "token_revoked"
        | "account_inactive"
        | "not_authed"
        | "invalid_refresh_token" => ConnectorError::Unauthorized(source),
        "missing_scope"
        | "no_permission"
        | "not_allowed_token_type"
        | "team_access_not_granted"
        | "access_denied"
        | "ekm_access_denied"
        | "channel_not_found"
        | "not_in_channel"
        | "is_archived"
        | "thread_not_found"
        | "message_not_found"
        | "user_not_found"
        | "users_not_found"
        | "user_not_visible"
        | "bot_not_found" => ConnectorError::Permission(source),
        "team_added_to_org" | "org_login_required" => {
            limited(now + MOVING, LimitScope::Account, source)
        }
        "invalid_cursor" => ConnectorError::CursorExpired(source),
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "external_channel_migrating" => ConnectorError::Transient(source),
        // No word of Slack's: something on the way has answered.
        "" => response::error_of(status, headers, method, now, source),
        _ => ConnectorError::Permanent(source),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn every_word_of_slack_means_one_thing() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a moment");
        let headers = HeaderMap::new();
        let code =
            |word: &str| classify("any", StatusCode::OK, &headers, word, String::new(), now).code();
        for (words, means) in [
            (
                &[
                    "token_expired",
                    "invalid_auth",
                    "token_revoked",
                    "account_inactive",
                ][..],
                "unauthorized",
            ),
            (
                &["missing_scope", "not_in_channel", "user_not_found"],
                "permission",
            ),
            (
                &["ratelimited", "team_added_to_org", "org_login_required"],
                "rate_limited",
            ),
            (&["internal_error", "fatal_error", ""], "transient"),
            (&["invalid_cursor"], "cursor_expired"),
            (&["invalid_arguments", "something_new"], "permanent"),
        ] {
            for word in words {
                assert_eq!(code(word), means, "{word}");
            }
        }
    }

    #[test]
    fn a_limit_lasts_as_long_as_slack_says() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a moment");
        for (stated, rest) in [(Some("17"), 17), (Some("0"), 1), (None, 60)] {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let stated =
                stated.map(|seconds| (header::RETRY_AFTER, HeaderValue::from_static(seconds)));
            let headers = HeaderMap::from_iter(stated);
            match classify("any", status, &headers, "", String::new(), now) {
                ConnectorError::RateLimited {
                    retry_at, scope, ..
                } => {
                    assert_eq!(retry_at, now + Duration::seconds(rest));
                    assert_eq!(scope, LimitScope::Operation);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
