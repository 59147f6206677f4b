//! Calls to Slack's Web API, and the one place where its answers become a
//! [`ConnectorError`].
//!
//! Slack answers nearly everything with 200; whether a call succeeded stands in the body's
//! `ok`, and why not in `error`. Sources: "Using the Slack Web API" and "Rate limits" at
//! docs.slack.dev.

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::clock::SharedClock;
use crate::connectors::support::{self, below};
use crate::connectors::{ConnectorError, LimitScope};
use crate::http::{Charge, HttpError, LimitObservation, Outbound, OutboundBuilder};

/// How long a limit lasts when Slack does not say.
const UNSTATED_LIMIT: Duration = Duration::seconds(30);
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
    body: Bytes,
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
        let outcome: Option<Outcome> = serde_json::from_slice(&response.body).ok();
        if response.status.is_success() && outcome.as_ref().is_some_and(|outcome| outcome.ok) {
            return Ok(Answer {
                body: response.body,
                method,
            });
        }
        let word = |text: Option<String>| -> String {
            text.unwrap_or_default().chars().take(KEPT).collect()
        };
        let (code, needed) =
            outcome.map_or_else(Default::default, |o| (word(o.error), word(o.needed)));
        let retry_after = response
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
        let now = self.clock.now();
        let error = classify(method, response.status, &code, needed, retry_after, now);
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
    code: &str,
    needed: String,
    retry_after: Option<u32>,
    now: DateTime<Utc>,
) -> ConnectorError {
    let limited = |rest: Duration, scope, source| ConnectorError::RateLimited {
        retry_at: now + rest,
        scope,
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
        // Never at once, so that a limit that has just ended is not asked for in a loop.
        let rest = retry_after.map_or(UNSTATED_LIMIT, |seconds| {
            Duration::seconds(i64::from(seconds.max(1)))
        });
        return limited(rest, LimitScope::Operation, source);
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
        "team_added_to_org" | "org_login_required" => limited(MOVING, LimitScope::Account, source),
        "invalid_cursor" => ConnectorError::CursorExpired(source),
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "external_channel_migrating" => ConnectorError::Transient(source),
        "" if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            ConnectorError::Transient(source)
        }
        "" if status == StatusCode::UNAUTHORIZED => ConnectorError::Unauthorized(source),
        "" if status == StatusCode::FORBIDDEN => ConnectorError::Permission(source),
        // A body that is no answer of Slack's: something on the way failed.
        "" if status.is_success() => ConnectorError::Transient(source),
        _ => ConnectorError::Permanent(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_slack_means_one_thing() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a moment");
        let code =
            |word: &str| classify("any", StatusCode::OK, word, String::new(), None, now).code();
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
        for (stated, rest) in [(Some(17), 17), (Some(0), 1), (None, 30)] {
            let status = StatusCode::TOO_MANY_REQUESTS;
            match classify("any", status, "", String::new(), stated, now) {
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
