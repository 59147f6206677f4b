//! Client of the public API.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

/// Client of the api-server with an operator's token.
pub struct Api {
    client: reqwest::Client,
    base: Url,
    operator: SecretString,
}

/// A provider, as the API lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Provider {
    /// Its slug.
    pub slug: String,
    /// Its name for people.
    pub display_name: String,
    /// Whether it sends webhooks.
    pub webhooks: bool,
    /// Whether the operator has configured it.
    pub configured: bool,
}

impl Api {
    /// A client of the api-server at this URL.
    ///
    /// # Errors
    ///
    /// When the HTTP client cannot be built.
    pub fn new(base: Url, operator: SecretString) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(40));
        Ok(Self {
            client: client.build()?,
            base,
            operator,
        })
    }

    /// Lists all providers.
    ///
    /// # Errors
    ///
    /// When the api-server does not answer.
    pub async fn providers(&self) -> anyhow::Result<Vec<Provider>> {
        let operator = self.operator.expose_secret();
        let mut listed = self
            .send(Method::GET, "/v1/providers", operator, None)
            .await?;
        Ok(serde_json::from_value(listed["providers"].take())?)
    }

    /// Creates a tenant and returns an API key of it.
    pub(super) async fn create_tenant(&self, name: &str) -> anyhow::Result<String> {
        let operator = self.operator.expose_secret();
        let body = json!({ "name": name });
        let tenant = self
            .send(Method::POST, "/v1/tenants", operator, Some(&body))
            .await?;
        let path = format!("/v1/tenants/{}/api-keys", text(&tenant, "id")?);
        let key = self
            .send(Method::POST, &path, operator, Some(&body))
            .await?;
        Ok(text(&key, "key")?.to_owned())
    }

    /// Creates a connect link.
    pub(super) async fn connect(&self, key: &str, provider: &str) -> anyhow::Result<Url> {
        let path = format!("/v1/connect/{provider}");
        let link = self
            .send(Method::POST, &path, key, Some(&json!({})))
            .await?;
        Ok(text(&link, "authorize_url")?.parse()?)
    }

    /// The id of the tenant's active connection.
    pub(super) async fn active_connection(&self, key: &str) -> anyhow::Result<Option<String>> {
        let listed = self.send(Method::GET, "/v1/connections", key, None).await?;
        let connections = listed["connections"].as_array().context("no list")?;
        let mut active = connections.iter().filter(|one| one["status"] == "active");
        active
            .next()
            .map(|one| Ok(text(one, "id")?.to_owned()))
            .transpose()
    }

    /// Whether a webhook of the connection was received.
    pub(super) async fn has_delivery(&self, key: &str, connection: &str) -> anyhow::Result<bool> {
        let path = format!("/v1/webhook-deliveries?connection_id={connection}&limit=1");
        let listed = self.send(Method::GET, &path, key, None).await?;
        let deliveries = listed["deliveries"].as_array().context("no list")?;
        Ok(!deliveries.is_empty())
    }

    /// Sends a request and returns the JSON of its response; null if it has none.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let response = self.request(method, path, token, body).await?;
        let (status, url) = (response.status(), response.url().clone());
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{url} responded with {status}: {text}");
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("the response of {url} is no JSON"))
    }

    /// Like [`Api::send`]; `None` if the state of the resource does not allow the request.
    pub(super) async fn send_if_allowed(
        &self,
        path: &str,
        token: &str,
        body: &Value,
    ) -> anyhow::Result<Option<Value>> {
        let response = self.request(Method::POST, path, token, Some(body)).await?;
        if response.status() == StatusCode::CONFLICT {
            return Ok(None);
        }
        Ok(Some(response.error_for_status()?.json().await?))
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let request = self.client.request(method, self.base.join(path)?);
        let request = request.bearer_auth(token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        Ok(request.send().await?)
    }
}

fn text<'v>(value: &'v Value, name: &str) -> anyhow::Result<&'v str> {
    let text = value[name].as_str();
    text.with_context(|| format!("the response has no {name}"))
}
