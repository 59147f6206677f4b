//! Calls to Jira, and the one place where its statuses, headers and bodies become a
//! [`ConnectorError`].
//!
//! Source: "Rate limiting" at developer.atlassian.com.

mod limits;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::clock::SharedClock;
use crate::connectors::support::{self, below};
use crate::connectors::wire::Json;
use crate::connectors::{Access, ConnectorError, response};
use crate::http::{Charge, HttpError, LimitObservation, Outbound, OutboundBuilder, Priority};

/// How much of Jira's own words is kept for the log.
const KEPT: usize = 200;

/// Jira Cloud, as one app sees it.
pub(super) struct Client {
    outbound: Outbound,
    clock: SharedClock,
    auth_base: Url,
    api_base: Url,
}

/// A call for a site.
pub(super) struct Call<'a> {
    pub(super) access: &'a Access,
    /// The operation's name in metrics, spans and budgets.
    pub(super) operation: &'static str,
    /// How long it can wait.
    pub(super) priority: Priority,
}

impl<'a> Call<'a> {
    pub(super) const fn new(access: &'a Access, operation: &'static str) -> Self {
        Self {
            access,
            operation,
            priority: Priority::Immediate,
        }
    }

    fn charge(&self) -> Charge<'_> {
        Charge {
            priority: self.priority,
            ..Charge::new(&self.access.account.id, self.operation)
        }
    }
}

/// A call that succeeded.
#[derive(Debug)]
pub(super) struct Answer {
    body: Json<Bytes>,
    operation: &'static str,
}

impl Answer {
    /// The body as JSON; borrowed parts borrow from this answer.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConnectorError> {
        support::json(&self.body, self.operation)
    }
}

/// A call that did not succeed, with the status behind it, because some callers know better
/// what it means.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: Option<StatusCode>,
    /// The error's code, of the token endpoint.
    pub(super) code: String,
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
            status: None,
            code: String::new(),
            error,
        }
    }
}

/// Jira's answer, in words for the log.
#[derive(Debug, thiserror::Error)]
#[error("Jira answered {operation} with {status}: {message}")]
struct Fault {
    operation: &'static str,
    status: StatusCode,
    message: String,
}

impl Client {
    pub(super) fn new(
        outbound: OutboundBuilder,
        clock: SharedClock,
        auth_base: Url,
        api_base: Url,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            outbound: outbound.allow(&auth_base).allow(&api_base).build()?,
            clock,
            auth_base,
            api_base,
        })
    }

    /// What time it is.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A page or endpoint of Atlassian's identity service.
    pub(super) fn auth_url(&self, path: &[&str]) -> Url {
        below(&self.auth_base, path)
    }

    /// An endpoint of Atlassian's API that belongs to no site.
    pub(super) fn api_url(&self, path: &[&str]) -> Url {
        below(&self.api_base, path)
    }

    /// A resource of a site.
    pub(super) fn site_url(&self, site: &str, path: &[&str]) -> Url {
        below(&below(&self.api_base, &["ex", "jira", site]), path)
    }

    /// Reads a resource of the site.
    pub(super) async fn get(
        &self,
        call: &Call<'_>,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, Refusal> {
        let mut url = self.site_url(&call.access.account.id, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(call, Method::GET, url, None).await
    }

    /// Sends a body to a resource of the site.
    pub(super) async fn put(
        &self,
        call: &Call<'_>,
        method: Method,
        path: &[&str],
        body: &Value,
    ) -> Result<Answer, Refusal> {
        let url = self.site_url(&call.access.account.id, path);
        self.send(call, method, url, Some(body)).await
    }

    async fn send(
        &self,
        call: &Call<'_>,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Answer, Refusal> {
        let mut request = self
            .outbound
            .request(method, url)
            .bearer_auth(call.access.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        self.finish(&call.charge(), request).await
    }

    /// Reads an endpoint that belongs to no site.
    pub(super) async fn get_own(
        &self,
        charge: &Charge<'_>,
        url: Url,
        token: &SecretString,
    ) -> Result<Answer, Refusal> {
        let request = self
            .outbound
            .request(Method::GET, url)
            .bearer_auth(token.expose_secret());
        self.finish(charge, request).await
    }

    /// Asks the token endpoint.
    pub(super) async fn token(&self, charge: &Charge<'_>, body: &Value) -> Result<Answer, Refusal> {
        let url = self.auth_url(&["oauth", "token"]);
        let request = self.outbound.request(Method::POST, url).json(body);
        self.finish(charge, request).await
    }

    /// Says what a call cost beyond itself: a point for each object, two for persons.
    pub(super) async fn spent(&self, call: &Call<'_>, objects: usize) {
        let seen = LimitObservation {
            spent: 1 + u32::try_from(objects).unwrap_or(u32::MAX - 1),
            ..LimitObservation::default()
        };
        self.outbound.observe(&call.charge(), seen).await;
    }

    async fn finish(
        &self,
        charge: &Charge<'_>,
        request: reqwest::RequestBuilder,
    ) -> Result<Answer, Refusal> {
        let response = self
            .outbound
            .send(charge, request)
            .await
            .map_err(|error| Refusal::from(ConnectorError::from(error)))?;
        // A call with a refused token is nobody's, and so is the quota that its headers state.
        if response.status != StatusCode::UNAUTHORIZED {
            for seen in limits::stated(&response.headers, self.clock.now()) {
                self.outbound.observe(charge, seen).await;
            }
        }
        if response.status.is_success() {
            return Ok(Answer {
                body: Json::of(response.body),
                operation: charge.operation,
            });
        }
        let spoken: Spoken = Json::of(&response.body).read().unwrap_or_default();
        let error = classify(
            charge.operation,
            response.status,
            &response.headers,
            &spoken,
            self.clock.now(),
        );
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
        Err(Refusal {
            status: Some(response.status),
            code: spoken.error.unwrap_or_default(),
            error,
        })
    }
}

/// An error's body, in any of the forms that Atlassian's gateways and Jira use.
#[derive(Debug, Default, Deserialize)]
struct Spoken {
    error: Option<String>,
    error_description: Option<String>,
    message: Option<String>,
    #[serde(default, rename = "errorMessages")]
    error_messages: Vec<String>,
}

impl Spoken {
    fn words(&self) -> String {
        let all = [
            self.error.as_deref(),
            self.error_description.as_deref(),
            self.message.as_deref(),
            self.error_messages.first().map(String::as_str),
        ];
        let words: Vec<&str> = all.into_iter().flatten().collect();
        words.join(": ").chars().take(KEPT).collect()
    }

    /// A token that is good, and may not do this.
    fn lacks_scope(&self) -> bool {
        self.message.as_ref().is_some_and(|message| {
            message
                .to_ascii_lowercase()
                .contains("scope does not match")
        })
    }
}

/// What a refusal means.
fn classify(
    operation: &'static str,
    status: StatusCode,
    headers: &HeaderMap,
    spoken: &Spoken,
    now: DateTime<Utc>,
) -> ConnectorError {
    let source = Box::new(Fault {
        operation,
        status,
        message: spoken.words(),
    });
    match status.as_u16() {
        429 => {
            let (retry_at, scope) = limits::end(headers, now);
            ConnectorError::RateLimited {
                retry_at,
                scope,
                operation,
                source,
            }
        }
        // A new token would be refused alike.
        401 if spoken.lacks_scope() => ConnectorError::Permission(source),
        _ => response::error_of(status, headers, operation, now, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:20:00Z".parse().expect("a time")
    }

    #[test]
    fn a_missing_scope_is_not_an_expired_token() {
        let spoken = |message: &str| Spoken {
            message: Some(message.to_owned()),
            ..Spoken::default()
        };
        let code = |message: &str| {
            let headers = HeaderMap::new();
            classify(
                "any",
                StatusCode::UNAUTHORIZED,
                &headers,
                &spoken(message),
                now(),
            )
            .code()
        };
        assert_eq!(code("Unauthorized; scope does not match"), "permission");
        assert_eq!(code("Unauthorized"), "unauthorized");
    }
}
