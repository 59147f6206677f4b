//! Client of Slack's Web API, and the mapping of its errors to [`ConnectorError`].
//!
//! Slack responds with status 200 to nearly every call; the body's `ok` holds the outcome and
//! `error` the error code. Sources: "Using the Slack Web API" and "Rate limits" at
//! docs.slack.dev.

use chrono::{DateTime, Duration, Utc};
use http::{HeaderMap, Method, StatusCode};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

pub(super) use crate::connectors::response::{ApiError, Response};

use crate::connectors::error::permanent_error;
use crate::connectors::oauth::ApiClient;
use crate::connectors::settings::url_below;
use crate::connectors::wire::Json;
use crate::connectors::{ConnectorError, response};
use crate::http::{Charge, HttpError, Outbound, OutboundBuilder};
use crate::model::LimitScope;

/// Pause for a workspace that moves into an organization or requires another login.
const MIGRATION_RETRY_INTERVAL: Duration = Duration::hours(1);
/// Maximum length of an error code in the log.
const MAX_LOGGED_CHARS: usize = 100;

/// Web API client of one app.
pub(super) struct Client {
    outbound: Outbound,
    base: Url,
}

/// Slack's error response, as the source of a [`ConnectorError`].
#[derive(Debug, thiserror::Error)]
#[error("Slack responded to {method} with {status}: {code}{needed}")]
struct CallFailed {
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
    pub(super) fn new(outbound: OutboundBuilder, base: Url) -> Result<Self, HttpError> {
        Ok(Self {
            outbound: outbound.allow(&base).build()?,
            base,
        })
    }

    /// The URL of a path below Slack's base URL.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        url_below(&self.base, path)
    }

    /// The URL of a method.
    pub(super) fn method_url(&self, method: &str) -> Url {
        self.url(&["api", method])
    }

    /// The current time.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.outbound.now()
    }

    /// Calls a method with a token: a workspace's, or the app-level token.
    ///
    /// The charge's operation is the method's name.
    pub(super) async fn call(
        &self,
        charge: &Charge<'_>,
        token: &SecretString,
        arguments: &[(&str, &str)],
    ) -> Result<Response, ApiError> {
        let request = self
            .outbound
            .request(Method::POST, self.method_url(charge.operation))
            .bearer_auth(token.expose_secret())
            .form(arguments);
        self.execute(charge, request).await
    }
}

impl ApiClient for Client {
    fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    async fn execute(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<Response, ApiError> {
        let method = charge.operation;
        let response = self.outbound.send(charge, request).await?;
        let body = Json::of(response.body);
        let outcome: Option<Outcome> = body.read().ok();
        if response.status.is_success() && outcome.as_ref().is_some_and(|outcome| outcome.ok) {
            return Ok(Response {
                body,
                operation: method,
            });
        }
        let truncated = |text: Option<String>| -> String {
            text.unwrap_or_default()
                .chars()
                .take(MAX_LOGGED_CHARS)
                .collect()
        };
        // JSON without `ok` is a changed API, which a retry does not fix.
        let is_undocumented = outcome.is_none() && body.is_json();
        let (code, needed) = outcome.map_or_else(Default::default, |outcome| {
            (truncated(outcome.error), truncated(outcome.needed))
        });
        let now = self.outbound.now();
        let (status, headers) = (response.status, &response.headers);
        let cause = if is_undocumented && status.is_success() {
            permanent_error(format!(
                "the response to {method} is not of the documented form"
            ))
        } else {
            classify(method, status, headers, &code, needed, now)
        };
        response::observe_rejection(&self.outbound, charge, &cause).await;
        Err(ApiError {
            status: Some(status),
            code,
            cause,
        })
    }
}

/// Maps an error response to a [`ConnectorError`].
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
    let source = Box::new(CallFailed {
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
        let retry_at =
            response::retry_at(headers, now).unwrap_or(now + response::DEFAULT_RETRY_AFTER);
        return limited(retry_at, LimitScope::Operation, source);
    }
    match code {
        // The caller refreshes the token, if it can.
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
        | "bot_not_found" => ConnectorError::denied(source),
        "team_added_to_org" | "org_login_required" => {
            limited(now + MIGRATION_RETRY_INTERVAL, LimitScope::Account, source)
        }
        "invalid_cursor" => ConnectorError::CursorExpired(source),
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "external_channel_migrating" => ConnectorError::Transient(source),
        // Without a code, a proxy may have responded.
        "" => response::map_status(status, headers, method, now, source),
        _ => ConnectorError::Permanent(source),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn error_codes_map_to_connector_errors() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a timestamp");
        let headers = HeaderMap::new();
        let classified =
            |code: &str| classify("any", StatusCode::OK, &headers, code, String::new(), now).code();
        for (codes, expected) in [
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
            for code in codes {
                assert_eq!(classified(code), expected, "{code}");
            }
        }
    }

    #[test]
    fn rate_limit_lasts_for_retry_after() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a timestamp");
        for (retry_after, seconds) in [(Some("17"), 17), (Some("0"), 1), (None, 60)] {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let retry_after =
                retry_after.map(|value| (header::RETRY_AFTER, HeaderValue::from_static(value)));
            let headers = HeaderMap::from_iter(retry_after);
            match classify("any", status, &headers, "", String::new(), now) {
                ConnectorError::RateLimited {
                    retry_at, scope, ..
                } => {
                    assert_eq!(retry_at, now + Duration::seconds(seconds));
                    assert_eq!(scope, LimitScope::Operation);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
