//! Client of Jira's REST API, and the mapping of its errors to [`ConnectorError`].
//!
//! Source: "Rate limiting" at developer.atlassian.com.

mod limits;

use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

pub(super) use crate::connectors::response::{ApiError, Response};

use crate::connectors::oauth::ApiClient;
use crate::connectors::settings::url_below;
use crate::connectors::wire::Json;
use crate::connectors::{Access, ConnectorError, response};
use crate::http::{Charge, HttpError, LimitObservation, Outbound, OutboundBuilder, Priority};

/// Maximum length of an error message in the log.
const MAX_LOGGED_CHARS: usize = 200;

/// Code of an error that has none of its own, with messages in Jira's form.
pub(super) const ERROR_MESSAGES: &str = "error_messages";

/// REST API client of one app.
pub(super) struct Client {
    outbound: Outbound,
    auth_base: Url,
    api_base: Url,
}

/// A call of a site's API.
pub(super) struct Call<'a> {
    pub(super) access: &'a Access,
    /// The operation's name in metrics, spans and rate budgets.
    pub(super) operation: &'static str,
    /// Its priority in the rate limiter.
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

/// Jira's error response, as the source of a [`ConnectorError`].
#[derive(Debug, thiserror::Error)]
#[error("Jira responded to {operation} with {status}: {message}")]
struct CallFailed {
    operation: &'static str,
    status: StatusCode,
    message: String,
}

impl Client {
    pub(super) fn new(
        outbound: OutboundBuilder,
        auth_base: Url,
        api_base: Url,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            outbound: outbound.allow(&auth_base).allow(&api_base).build()?,
            auth_base,
            api_base,
        })
    }

    /// The current time.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.outbound.now()
    }

    /// The URL of a path of Atlassian's identity service.
    pub(super) fn auth_url(&self, path: &[&str]) -> Url {
        url_below(&self.auth_base, path)
    }

    /// The URL of a path of Atlassian's API, outside of sites.
    pub(super) fn api_url(&self, path: &[&str]) -> Url {
        url_below(&self.api_base, path)
    }

    /// The URL of a site's resource.
    pub(super) fn site_url(&self, site: &str, path: &[&str]) -> Url {
        url_below(&url_below(&self.api_base, &["ex", "jira", site]), path)
    }

    /// Gets a resource of the site.
    pub(super) async fn get(
        &self,
        call: &Call<'_>,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Response, ApiError> {
        let mut url = self.site_url(&call.access.account.id, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(call, Method::GET, url, None).await
    }

    /// Sends a JSON body to a resource of the site.
    pub(super) async fn send_json(
        &self,
        call: &Call<'_>,
        method: Method,
        path: &[&str],
        body: &Value,
    ) -> Result<Response, ApiError> {
        let url = self.site_url(&call.access.account.id, path);
        self.send(call, method, url, Some(body)).await
    }

    async fn send(
        &self,
        call: &Call<'_>,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Response, ApiError> {
        let mut request = self
            .outbound
            .request(method, url)
            .bearer_auth(call.access.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        self.execute(&call.charge(), request).await
    }

    /// Gets a URL with a token that belongs to no connection yet.
    pub(super) async fn get_with_token(
        &self,
        charge: &Charge<'_>,
        url: Url,
        token: &SecretString,
    ) -> Result<Response, ApiError> {
        let request = self
            .outbound
            .request(Method::GET, url)
            .bearer_auth(token.expose_secret());
        self.execute(charge, request).await
    }

    /// Records a call's cost: one point, and one for each returned object.
    pub(super) async fn record_cost(&self, call: &Call<'_>, objects: usize) {
        let seen = LimitObservation {
            spent: 1 + u32::try_from(objects).unwrap_or(u32::MAX - 1),
            ..LimitObservation::default()
        };
        self.outbound.observe(&call.charge(), seen).await;
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
        let response = self.outbound.send(charge, request).await?;
        // The headers of a 401 do not describe the account's quota.
        if response.status != StatusCode::UNAUTHORIZED {
            for seen in limits::observations(&response.headers, self.outbound.now()) {
                self.outbound.observe(charge, seen).await;
            }
        }
        if response.status.is_success() {
            return Ok(Response {
                body: Json::of(response.body),
                operation: charge.operation,
            });
        }
        let error_body: ErrorBody = Json::of(&response.body).read().unwrap_or_default();
        let cause = classify(
            charge.operation,
            response.status,
            &response.headers,
            &error_body,
            self.outbound.now(),
        );
        response::observe_rejection(&self.outbound, charge, &cause).await;
        Err(ApiError {
            status: Some(response.status),
            code: error_body.code(),
            cause,
        })
    }
}

/// Body of an error response, in any of the forms that Jira and Atlassian's gateways use.
#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    error: Option<String>,
    error_description: Option<String>,
    message: Option<String>,
    #[serde(default, rename = "errorMessages")]
    error_messages: Vec<String>,
}

impl ErrorBody {
    fn log_message(&self) -> String {
        let parts = [
            self.error.as_deref(),
            self.error_description.as_deref(),
            self.message.as_deref(),
            self.error_messages.first().map(String::as_str),
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        parts.join(": ").chars().take(MAX_LOGGED_CHARS).collect()
    }

    fn code(self) -> String {
        let is_jira = !self.error_messages.is_empty();
        let code = || is_jira.then(|| ERROR_MESSAGES.to_owned());
        self.error.or_else(code).unwrap_or_default()
    }

    /// Whether the token is valid and lacks a scope.
    fn lacks_scope(&self) -> bool {
        self.message.as_ref().is_some_and(|message| {
            message
                .to_ascii_lowercase()
                .contains("scope does not match")
        })
    }
}

/// Maps an error response to a [`ConnectorError`].
fn classify(
    operation: &'static str,
    status: StatusCode,
    headers: &HeaderMap,
    error_body: &ErrorBody,
    now: DateTime<Utc>,
) -> ConnectorError {
    let source = Box::new(CallFailed {
        operation,
        status,
        message: error_body.log_message(),
    });
    match status.as_u16() {
        429 => {
            let (retry_at, scope) = limits::blocked_until(headers, now);
            ConnectorError::RateLimited {
                retry_at,
                scope,
                operation,
                source,
            }
        }
        // A refresh does not add scopes.
        401 if error_body.lacks_scope() => ConnectorError::denied(source),
        _ => response::map_status(status, headers, operation, now, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:20:00Z".parse().expect("a time")
    }

    #[test]
    fn missing_scope_is_a_permission_error() {
        let error_body = |message: &str| ErrorBody {
            message: Some(message.to_owned()),
            ..ErrorBody::default()
        };
        let code = |message: &str| {
            let headers = HeaderMap::new();
            classify(
                "any",
                StatusCode::UNAUTHORIZED,
                &headers,
                &error_body(message),
                now(),
            )
            .code()
        };
        assert_eq!(code("Unauthorized; scope does not match"), "permission");
        assert_eq!(code("Unauthorized"), "unauthorized");
    }
}
