//! Client of the public API, for the demo and the live check.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
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
    /// When the request fails.
    pub async fn providers(&self) -> anyhow::Result<Vec<Provider>> {
        let operator = self.operator.expose_secret();
        let mut listed = self
            .send(Method::GET, "/v1/providers", operator, None)
            .await?;
        Ok(serde_json::from_value(listed["providers"].take())?)
    }

    /// Creates a tenant and returns an API key with all its scopes.
    ///
    /// # Errors
    ///
    /// When a request fails.
    pub async fn create_tenant(&self, name: &str) -> anyhow::Result<String> {
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

    /// Creates an administrator for a day and a link that signs in to the console.
    ///
    /// A name is never given twice, so it has a new id.
    ///
    /// # Errors
    ///
    /// When a request fails.
    pub async fn create_login_link(&self) -> anyhow::Result<Url> {
        let token = self.operator.expose_secret();
        let name = format!("Demo {}", uuid::Uuid::now_v7());
        let body = json!({ "name": name, "role": "admin", "expires_in_days": 1 });
        let operator = self
            .send(Method::POST, "/v1/operators", token, Some(&body))
            .await?;
        let path = format!("/v1/operators/{}/login-links", text(&operator, "id")?);
        let link = self
            .send(Method::POST, &path, token, Some(&json!({})))
            .await?;
        Ok(text(&link, "url")?.parse()?)
    }

    /// Creates a connect link for the key's tenant.
    ///
    /// # Errors
    ///
    /// When the request fails.
    pub async fn connect(&self, key: &str, provider: &str) -> anyhow::Result<Url> {
        let path = format!("/v1/connect/{provider}");
        let link = self
            .send(Method::POST, &path, key, Some(&json!({})))
            .await?;
        Ok(text(&link, "authorize_url")?.parse()?)
    }

    /// Disconnects a connection.
    ///
    /// # Errors
    ///
    /// When the request fails.
    pub async fn disconnect(&self, key: &str, connection: &str) -> anyhow::Result<()> {
        let path = format!("/v1/connections/{connection}");
        self.send(Method::DELETE, &path, key, None).await?;
        Ok(())
    }

    /// Sends a request and returns the JSON of its response; null if it has none.
    ///
    /// # Errors
    ///
    /// When the request fails.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        read(self.request(method, path, token, body).await?).await
    }

    /// Sends a request and returns its response, with any status.
    ///
    /// # Errors
    ///
    /// When there is no response.
    pub async fn request(
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

/// Parses the JSON of a successful response; an empty body counts as null.
///
/// # Errors
///
/// When the status is an error, or the body has another form.
pub async fn read<T: DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    let (status, url) = (response.status(), response.url().clone());
    let text = response.text().await?;
    if !status.is_success() {
        bail!("{url} responded with {status}: {text}");
    }
    let json = if text.is_empty() { "null" } else { &text };
    serde_json::from_str(json).with_context(|| format!("failed to parse the response of {url}"))
}

/// A field of a response.
///
/// # Errors
///
/// When the field is missing or no text.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> anyhow::Result<&'v str> {
    let text = value[name].as_str();
    text.with_context(|| format!("the response has no {name}"))
}
