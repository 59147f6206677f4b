//! Calls to GitHub: headers, `Link` pagination, conditional requests, and the one place
//! where its statuses, headers and bodies become a [`ConnectorError`].
//!
//! Sources: "Rate limits for the REST API", "Best practices for using the REST API" and
//! "Using pagination in the REST API" at docs.github.com.

mod answer;
mod refusal;

use http::{Method, StatusCode, header};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub(super) use answer::Answer;
pub(super) use refusal::Refusal;

pub(super) use crate::connectors::support::operator_fault;

use crate::clock::SharedClock;
use crate::connectors::ConnectorError;
use crate::connectors::support::below;
use crate::http::{Charge, HttpError, Outbound, Priority};

/// The version of the REST API that our wire types describe.
const API_VERSION: &str = "2022-11-28";
/// GitHub answers 403 to a call that does not say who makes it.
const USER_AGENT: &str = concat!("poblysh-connectors/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/vnd.github+json";

/// The account under which calls of the app itself are counted.
pub(super) const APP_ACCOUNT: &str = "app";

/// Rows per page; GitHub clamps larger numbers silently.
pub(super) const PER_PAGE: &str = "100";

/// One GitHub, as one app sees it.
pub(super) struct Client {
    outbound: Outbound,
    clock: SharedClock,
    web_base: Url,
    api_base: Url,
}

/// A call to the REST API.
pub(super) struct Call<'a> {
    /// Whose budget it is charged to.
    pub account: &'a str,
    /// The operation's name in metrics and spans.
    pub operation: &'static str,
    /// How long it can wait.
    pub priority: Priority,
    /// A bearer token: the app's own, an installation's or a person's.
    pub token: &'a SecretString,
    /// The media type to ask for, when it is not the usual one.
    pub accept: Option<&'static str>,
    /// The tag of the answer that is at hand.
    pub etag: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A call that is not conditional and asks for the usual media type.
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
        outbound: crate::http::OutboundBuilder,
        clock: SharedClock,
        web_base: Url,
        api_base: Url,
    ) -> Result<Self, HttpError> {
        let outbound = outbound
            .allow(&web_base)
            .allow(&api_base)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self {
            outbound,
            clock,
            web_base,
            api_base,
        })
    }

    /// A page for browsers, below the web base URL.
    pub(super) fn web(&self, path: &[&str]) -> Url {
        below(&self.web_base, path)
    }

    /// The folder of apps' public pages: an Enterprise Server, whose API is below
    /// `/api/v3`, has another one than github.com.
    pub(super) fn apps_folder(&self) -> &'static str {
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

    /// A resource of the REST API, below the API base URL.
    pub(super) fn api(&self, path: &[&str]) -> Url {
        below(&self.api_base, path)
    }

    /// Whether a URL from a stored cursor still leads to this API.
    pub(super) fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.api_base.origin()
    }

    /// What time it is.
    pub(super) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.clock.now()
    }

    /// A call without a body.
    pub(super) async fn call(
        &self,
        method: Method,
        url: Url,
        call: Call<'_>,
    ) -> Result<Answer, Refusal> {
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

    /// Reads one resource or one page.
    pub(super) async fn get(&self, url: Url, call: Call<'_>) -> Result<Answer, Refusal> {
        self.call(Method::GET, url, call).await
    }

    /// A request with its own authentication, built by the caller.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.outbound.request(method, url)
    }

    /// Sends, reports the limits that the answer states, and tells an answer (2xx, 304)
    /// from a refusal.
    pub(super) async fn send(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<Answer, Refusal> {
        let response = self
            .outbound
            .send(charge, request)
            .await
            .map_err(|error: HttpError| Refusal {
                status: None,
                error: ConnectorError::from(error),
            })?;
        let answer = Answer::from(response);
        let refused = !(answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED);
        let now = self.clock.now();
        let limit = if refused {
            refusal::limit(&answer, now)
        } else {
            None
        };
        self.outbound
            .observe(charge, refusal::observation(&answer, limit))
            .await;
        if refused {
            Err(refusal::classify(&answer, charge.operation, limit, now))
        } else {
            Ok(answer)
        }
    }
}
