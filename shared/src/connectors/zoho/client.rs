//! Client of Zoho's APIs. Its submodule maps Zoho's errors to [`ConnectorError`].

mod error;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub(in crate::connectors) use crate::connectors::response::{ApiError, Response};

use self::error::{CallError, ErrorBody};
use super::data_center::DataCenter;
use super::product::Product;
use super::settings::ZohoApp;
use crate::connectors::error::permanent_error;
use crate::connectors::oauth::TokenClient;
use crate::connectors::settings::url_below;
use crate::connectors::wire::Json;
use crate::connectors::{Access, ConnectorError, response};
use crate::http::{Charge, HttpError, Outbound, OutboundBuilder, Priority, ProviderResponse};

/// Client of a product's calls, in every data center.
pub(in crate::connectors) struct Client {
    outbound: Outbound,
    product: &'static Product,
    /// The product's host in each data center.
    hosts: Vec<(DataCenter, Url)>,
}

/// A call of a product's API.
#[derive(Clone, Copy)]
pub(in crate::connectors) struct Call<'a> {
    pub access: &'a Access,
    /// The operation's name in metrics, spans and rate budgets.
    pub operation: &'static str,
    /// The scope that it needs.
    pub scope: &'static str,
    /// Its priority in the rate limiter.
    pub priority: Priority,
}

impl Client {
    pub(in crate::connectors) fn new(
        outbound: OutboundBuilder,
        app: &ZohoApp,
        product: &'static Product,
    ) -> Result<Self, HttpError> {
        let hosts = app.sites.iter();
        let hosts = hosts.map(|site| (site.data_center, (product.host)(&site.hosts).clone()));
        let hosts: Vec<(DataCenter, Url)> = hosts.collect();
        let accounts = app.sites.iter().map(|site| &site.hosts.accounts);
        let outbound = accounts
            .chain(hosts.iter().map(|(_, url)| url))
            .fold(outbound, OutboundBuilder::allow);
        Ok(Self {
            outbound: outbound.build()?,
            product,
            hosts,
        })
    }

    /// The current time.
    pub(in crate::connectors) fn now(&self) -> DateTime<Utc> {
        self.outbound.now()
    }

    /// Gets a path below the product's host in the account's data center.
    pub(in crate::connectors) async fn get(
        &self,
        call: &Call<'_>,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Response, ApiError> {
        let data_center = DataCenter::of(&call.access.account)?;
        let mut hosts = self.hosts.iter();
        let (_, host) = hosts
            .find(|(known, _)| *known == data_center)
            .ok_or_else(|| permanent_error("the data center has no hosts"))?;
        let mut url = url_below(host, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let charge = Charge {
            priority: call.priority,
            ..Charge::new(&call.access.account.id, call.operation)
        };
        self.get_with_token(&charge, url, &call.access.token, call.scope)
            .await
    }

    /// Gets a URL with a token, which may belong to no connection yet.
    pub(super) async fn get_with_token(
        &self,
        charge: &Charge<'_>,
        url: Url,
        token: &SecretString,
        scope: &'static str,
    ) -> Result<Response, ApiError> {
        let request = self.outbound.request(Method::GET, url);
        let request = request.header(AUTHORIZATION, authorization(token)?);
        let response = self.outbound.send(charge, request).await?;
        self.read(charge, Some(scope), response).await
    }

    /// Posts to a URL without a token.
    pub(super) async fn post(&self, charge: &Charge<'_>, url: Url) -> Result<Response, ApiError> {
        let request = self.outbound.request(Method::POST, url);
        let response = self.outbound.send(charge, request).await?;
        self.read(charge, None, response).await
    }

    /// Returns the body of a successful response, or the error that a failed one means.
    ///
    /// The status alone does not decide: bodies report errors with 200 as well.
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
        let stated = ErrorBody::parse(&body);
        if status.is_success() && !stated.is_failure() {
            return Ok(success(charge, body));
        }
        let error = CallError {
            operation: charge.operation,
            http_status: status,
            headers: &headers,
            is_page: !body.is_empty() && !stated.is_json,
            body: stated,
            scope,
            product: self.product,
        };
        let (status, code) = (error.status(), error.body.code().unwrap_or_default());
        let code = code.to_owned();
        let cause = error.classify(self.outbound.now());
        response::observe_rejection(&self.outbound, charge, &cause).await;
        Err(ApiError {
            status: Some(status),
            code,
            cause,
        })
    }
}

impl TokenClient for Client {
    fn token_request(&self, url: Url) -> RequestBuilder {
        self.outbound.request(Method::POST, url)
    }

    /// Only an access token is a success, with any status.
    async fn send_token_request(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<Response, ApiError> {
        let response = self.outbound.send(charge, request).await?;
        if ErrorBody::parse(&response.body).has_access_token() {
            return Ok(success(charge, response.body));
        }
        self.read(charge, None, response).await
    }
}

fn success(charge: &Charge<'_>, body: Bytes) -> Response {
    Response {
        body: Json::of(body),
        operation: charge.operation,
    }
}

/// The header with a token, in Zoho's own scheme.
fn authorization(token: &SecretString) -> Result<HeaderValue, ConnectorError> {
    let text = format!("Zoho-oauthtoken {}", token.expose_secret());
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| permanent_error("the access token is not a valid header value"))?;
    value.set_sensitive(true);
    Ok(value)
}
