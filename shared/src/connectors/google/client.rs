//! Client of Google's APIs. Its submodule maps Google's errors to [`ConnectorError`].

mod error;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

pub(in crate::connectors) use crate::connectors::response::{ApiError, Response};

use self::error::{CallError, ErrorBody};
use super::settings::Hosts;
#[cfg(doc)]
use crate::connectors::ConnectorError;
use crate::connectors::oauth::TokenClient;
use crate::connectors::settings::url_below;
use crate::connectors::wire::Json;
use crate::connectors::{Access, response};
use crate::http::{
    Charge, HttpError, LimitObservation, Outbound, OutboundBuilder, Priority, ProviderResponse,
};

/// Client of one OAuth client's calls.
pub(in crate::connectors) struct Client {
    outbound: Outbound,
    hosts: Hosts,
}

/// A call of a product's API.
#[derive(Clone, Copy)]
pub(in crate::connectors) struct Call<'a> {
    pub access: &'a Access,
    /// The operation's name in metrics, spans and rate budgets.
    pub operation: &'static str,
    /// Its cost in units of Google's quotas.
    pub units: u32,
    /// The scope that it needs.
    pub scope: &'static str,
    /// Its priority in the rate limiter.
    pub priority: Priority,
}

impl Call<'_> {
    fn charge(&self) -> Charge<'_> {
        Charge {
            priority: self.priority,
            ..Charge::new(&self.access.account.id, self.operation)
        }
    }
}

impl Client {
    pub(in crate::connectors) fn new(
        outbound: OutboundBuilder,
        hosts: Hosts,
    ) -> Result<Self, HttpError> {
        let outbound = [
            &hosts.auth,
            &hosts.token,
            &hosts.userinfo,
            &hosts.api,
            &hosts.gmail,
        ]
        .into_iter()
        .fold(outbound, OutboundBuilder::allow);
        Ok(Self {
            outbound: outbound.build()?,
            hosts,
        })
    }

    /// The current time.
    pub(in crate::connectors) fn now(&self) -> DateTime<Utc> {
        self.outbound.now()
    }

    /// The URL of a path of the APIs of Drive and Calendar.
    pub(in crate::connectors) fn api_url(&self, path: &[&str]) -> Url {
        url_below(&self.hosts.api, path)
    }

    /// The URL of a path of the Gmail API.
    pub(in crate::connectors) fn gmail_url(&self, path: &[&str]) -> Url {
        url_below(&self.hosts.gmail, path)
    }

    /// Gets a resource.
    pub(in crate::connectors) async fn get(
        &self,
        call: &Call<'_>,
        mut url: Url,
        query: &[(&str, &str)],
    ) -> Result<Response, ApiError> {
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.outbound.request(Method::GET, url);
        self.send(call, request).await
    }

    /// Posts a JSON body.
    pub(in crate::connectors) async fn post(
        &self,
        call: &Call<'_>,
        url: Url,
        body: &Value,
    ) -> Result<Response, ApiError> {
        let request = self.outbound.request(Method::POST, url).json(body);
        self.send(call, request).await
    }

    /// Posts nothing, to a method whose request has no body.
    pub(in crate::connectors) async fn post_nothing(
        &self,
        call: &Call<'_>,
        url: Url,
    ) -> Result<Response, ApiError> {
        // Google rejects a POST request without a length.
        let request = self.outbound.request(Method::POST, url);
        self.send(call, request.header(CONTENT_LENGTH, 0)).await
    }

    async fn send(&self, call: &Call<'_>, request: RequestBuilder) -> Result<Response, ApiError> {
        let request = request.bearer_auth(call.access.token.expose_secret());
        let charge = call.charge();
        let response = self.outbound.send(&charge, request).await?;
        // Google charges failed calls as well.
        let seen = LimitObservation {
            spent: call.units,
            ..LimitObservation::default()
        };
        self.outbound.observe(&charge, seen).await;
        self.read(&charge, Some(call.scope), response).await
    }

    /// Gets a URL with a token that belongs to no connection yet.
    pub(super) async fn get_with_token(
        &self,
        charge: &Charge<'_>,
        url: Url,
        token: &SecretString,
    ) -> Result<Response, ApiError> {
        let request = self.outbound.request(Method::GET, url);
        let request = request.bearer_auth(token.expose_secret());
        let response = self.outbound.send(charge, request).await?;
        self.read(charge, None, response).await
    }

    /// Posts a form without a token.
    pub(super) async fn post_form(
        &self,
        charge: &Charge<'_>,
        url: Url,
        form: &[(&str, &str)],
    ) -> Result<Response, ApiError> {
        let request = self.outbound.request(Method::POST, url).form(form);
        self.send_token_request(charge, request).await
    }

    /// Returns the body of a successful response, or the error that a failed one means.
    async fn read(
        &self,
        charge: &Charge<'_>,
        scope: Option<&'static str>,
        response: ProviderResponse,
    ) -> Result<Response, ApiError> {
        let ProviderResponse {
            status,
            headers,
            body,
            ..
        } = response;
        if status.is_success() {
            return Ok(Response {
                body: Json::of(body),
                operation: charge.operation,
            });
        }
        let error = CallError {
            operation: charge.operation,
            status,
            headers: &headers,
            body: ErrorBody::parse(&body),
            scope,
        };
        Err(self.reject(charge, error).await)
    }

    async fn reject(&self, charge: &Charge<'_>, error: CallError<'_>) -> ApiError {
        let status = Some(error.status);
        let code = error.body.reason().unwrap_or_default().to_owned();
        let cause = error.classify(self.outbound.now());
        response::observe_rejection(&self.outbound, charge, &cause).await;
        ApiError {
            status,
            code,
            cause,
        }
    }
}

impl TokenClient for Client {
    fn token_request(&self, url: Url) -> RequestBuilder {
        self.outbound.request(Method::POST, url)
    }

    async fn send_token_request(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<Response, ApiError> {
        let response = self.outbound.send(charge, request).await?;
        // The code of an outage counts at any status.
        if response.status.is_success() && is_outage(&response.body) {
            let error = CallError {
                operation: charge.operation,
                status: StatusCode::SERVICE_UNAVAILABLE,
                headers: &response.headers,
                body: ErrorBody::parse(&response.body),
                scope: None,
            };
            return Err(self.reject(charge, error).await);
        }
        self.read(charge, None, response).await
    }
}

fn is_outage(body: &Bytes) -> bool {
    ErrorBody::parse(body).is_outage()
}
