//! Client of GitHub's REST API, and the mapping of its errors to [`ConnectorError`].
//!
//! Sources: "Rate limits for the REST API", "Best practices for using the REST API" and
//! "Using pagination in the REST API" at docs.github.com.

mod error;
mod response;

use http::{Method, header};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub(super) use error::{is_own_not_found, own_message};
pub(super) use response::Response;

pub(super) use crate::connectors::error::permanent_error;
pub(super) use crate::connectors::response::ApiError;

use crate::connectors::oauth::TokenClient;
use crate::connectors::response::Response as TokenResponse;
use crate::connectors::settings::url_below;
use crate::http::{Charge, HttpError, Outbound, OutboundBuilder, Priority};

/// Version of the REST API that the wire types describe.
const API_VERSION: &str = "2022-11-28";
const JSON: &str = "application/vnd.github+json";

/// Rows per page. GitHub silently clamps larger numbers.
pub(super) const PER_PAGE: &str = "100";

/// API client of one app.
pub(super) struct Client {
    outbound: Outbound,
    web_base: Url,
    api_base: Url,
}

/// A call to the REST API.
pub(super) struct Call<'a> {
    /// Account to whose budget it is charged.
    pub account: &'a str,
    /// Name of the operation in metrics and spans.
    pub operation: &'static str,
    /// Priority.
    pub priority: Priority,
    /// Bearer token: the app's, an installation's or a user's.
    pub token: &'a SecretString,
    /// Media type to accept, if not the default one.
    pub accept: Option<&'static str>,
    /// `ETag` of the stored response, which makes the call conditional.
    pub etag: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// An unconditional call with the default media type.
    pub(super) const fn new(
        account: &'a str,
        operation: &'static str,
        token: &'a SecretString,
    ) -> Self {
        Self {
            account,
            operation,
            priority: Priority::Immediate,
            token,
            accept: None,
            etag: None,
        }
    }
}

impl Client {
    pub(super) fn new(
        outbound: OutboundBuilder,
        web_base: Url,
        api_base: Url,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            outbound: outbound.allow(&web_base).allow(&api_base).build()?,
            web_base,
            api_base,
        })
    }

    /// URL of a web page.
    pub(super) fn web(&self, path: &[&str]) -> Url {
        url_below(&self.web_base, path)
    }

    /// First path segment of apps' public pages.
    ///
    /// An Enterprise Server, whose API is below `/api/v3`, uses another one than github.com.
    pub(super) fn apps_segment(&self) -> &'static str {
        if self
            .api_base
            .path()
            .trim_end_matches('/')
            .ends_with("/api/v3")
        {
            "github-apps"
        } else {
            "apps"
        }
    }

    /// URL of a REST API resource.
    pub(super) fn api(&self, path: &[&str]) -> Url {
        url_below(&self.api_base, path)
    }

    /// Returns whether a URL from a stored cursor points to this API.
    pub(super) fn is_api_url(&self, url: &Url) -> bool {
        url.origin() == self.api_base.origin()
    }

    /// Current time.
    pub(super) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.outbound.now()
    }

    /// Makes a call without a body.
    pub(super) async fn call(
        &self,
        method: Method,
        url: Url,
        call: Call<'_>,
    ) -> Result<Response, ApiError> {
        let mut request = self
            .outbound
            .request(method, url)
            .bearer_auth(call.token.expose_secret())
            .header(header::ACCEPT, call.accept.unwrap_or(JSON))
            .header("x-github-api-version", API_VERSION);
        if let Some(etag) = call.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let charge = Charge {
            priority: call.priority,
            is_conditional: call.etag.is_some(),
            ..Charge::new(call.account, call.operation)
        };
        self.send(&charge, request).await
    }

    /// Fetches a resource or a page.
    pub(super) async fn get(&self, url: Url, call: Call<'_>) -> Result<Response, ApiError> {
        self.call(Method::GET, url, call).await
    }

    /// Starts a request to which the caller adds the authentication.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.outbound.request(method, url)
    }

    /// Sends a request, reports the rate limits that the response states, and maps errors.
    ///
    /// Statuses 2xx and 304 are successes.
    pub(super) async fn send(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<Response, ApiError> {
        let response = Response::from(self.outbound.send(charge, request).await?);
        let is_error = !(response.status.is_success() || response.not_modified());
        let now = self.outbound.now();
        let limit = if is_error {
            error::limit(&response, now)
        } else {
            None
        };
        self.outbound
            .observe(charge, error::observation(&response, limit))
            .await;
        if is_error {
            Err(error::classify(&response, charge.operation, limit, now))
        } else {
            Ok(response)
        }
    }
}

impl TokenClient for Client {
    fn token_request(&self, url: Url) -> RequestBuilder {
        let request = self.outbound.request(Method::POST, url);
        // Without it the response is form-encoded.
        request.header(header::ACCEPT, "application/json")
    }

    async fn send_token_request(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<TokenResponse, ApiError> {
        Ok(TokenResponse {
            body: self.send(charge, request).await?.body,
            operation: charge.operation,
        })
    }
}
