//! Client of the public API.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

/// Client of the api-server with an operator token.
pub(crate) struct Api {
    client: reqwest::Client,
    base: Url,
    operator: SecretString,
}

/// Page of the feed.
#[derive(Deserialize)]
pub(crate) struct SignalPage {
    pub(crate) signals: Vec<Signal>,
    pub(crate) next_cursor: String,
    pub(crate) has_more: bool,
}

/// Printed fields of a Signal.
#[derive(Deserialize)]
pub(crate) struct Signal {
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) timestamp: chrono::DateTime<chrono::Utc>,
    pub(crate) actor: Actor,
    pub(crate) subject: Subject,
    pub(crate) context: Context,
}

/// Actor of a Signal.
#[derive(Deserialize)]
pub(crate) struct Actor {
    pub(crate) name: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// Subject of a Signal.
#[derive(Deserialize)]
pub(crate) struct Subject {
    pub(crate) key: Option<String>,
    pub(crate) title: Option<String>,
}

/// Context of a Signal.
#[derive(Deserialize)]
pub(crate) struct Context {
    pub(crate) name: Option<String>,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

#[derive(Deserialize)]
struct LoginLink {
    url: Url,
}

#[derive(Deserialize)]
struct CreatedKey {
    key: String,
}

#[derive(Deserialize)]
struct Link {
    authorize_url: Url,
}

#[derive(Deserialize)]
struct Providers {
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
struct Provider {
    slug: String,
    configured: bool,
}

#[derive(Deserialize)]
struct Connections {
    connections: Vec<Connection>,
    next_cursor: Option<String>,
}

/// Connection of a tenant.
#[derive(Deserialize)]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) status: String,
    /// Time at which its backfill ended.
    pub(crate) backfilled_at: Option<String>,
}

impl Api {
    pub(crate) fn new(base: Url, operator: SecretString) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(40))
            .build()?;
        Ok(Self {
            client,
            base,
            operator,
        })
    }

    /// Creates a tenant and returns its id.
    pub(crate) async fn create_tenant(&self, name: &str) -> anyhow::Result<String> {
        let request = self
            .request(Method::POST, "/v1/tenants", self.operator.expose_secret())?
            .json(&json!({ "name": name }));
        Ok(send::<Identified>(request).await?.id)
    }

    /// Creates an API key with all scopes of a tenant.
    pub(crate) async fn create_key(&self, tenant: &str) -> anyhow::Result<String> {
        let path = format!("/v1/tenants/{tenant}/api-keys");
        let request = self
            .request(Method::POST, &path, self.operator.expose_secret())?
            .json(&json!({ "name": "Demo" }));
        Ok(send::<CreatedKey>(request).await?.key)
    }

    /// Creates an administrator for a day and a link that signs in to the console.
    ///
    /// A name is never given twice, so it has a new id.
    pub(crate) async fn create_login_link(&self) -> anyhow::Result<Url> {
        let token = self.operator.expose_secret();
        let name = format!("Demo {}", uuid::Uuid::now_v7());
        let body = json!({ "name": name, "role": "admin", "expires_in_days": 1 });
        let request = self.request(Method::POST, "/v1/operators", token)?;
        let operator = send::<Identified>(request.json(&body)).await?.id;
        let path = format!("/v1/operators/{operator}/login-links");
        let request = self.request(Method::POST, &path, token)?;
        Ok(send::<LoginLink>(request).await?.url)
    }

    /// Lists the slugs of the configured providers.
    pub(crate) async fn providers(&self) -> anyhow::Result<Vec<String>> {
        let request = self.request(Method::GET, "/v1/providers", self.operator.expose_secret())?;
        let listed = send::<Providers>(request).await?.providers;
        let configured = listed.into_iter().filter(|provider| provider.configured);
        Ok(configured.map(|provider| provider.slug).collect())
    }

    /// Lists the tenant's connections; `None` when the API key is unknown.
    pub(crate) async fn connections(&self, key: &str) -> anyhow::Result<Option<Vec<Connection>>> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = self.request(Method::GET, "/v1/connections", key)?;
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let response = request.send().await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                return Ok(None);
            }
            let page: Connections = parse(response).await?;
            found.extend(page.connections);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Some(found));
            }
        }
    }

    /// Disconnects a connection.
    pub(crate) async fn disconnect(&self, key: &str, connection: &str) -> anyhow::Result<()> {
        let path = format!("/v1/connections/{connection}");
        let response = self.request(Method::DELETE, &path, key)?.send().await?;
        expect_success(response).await?;
        Ok(())
    }

    /// Creates a connect link for the key's tenant.
    pub(crate) async fn connect(&self, key: &str, provider: &str) -> anyhow::Result<Url> {
        let path = format!("/v1/connect/{provider}");
        let request = self.request(Method::POST, &path, key)?.json(&json!({}));
        Ok(send::<Link>(request).await?.authorize_url)
    }

    /// Reads a page of a provider's Signals; `None` when the cursor is invalid.
    pub(crate) async fn signals(
        &self,
        key: &str,
        source: &str,
        cursor: Option<&str>,
        limit: u64,
    ) -> anyhow::Result<Option<SignalPage>> {
        let mut request = self
            .request(Method::GET, "/v1/signals", key)?
            .query(&[("source", source)])
            .query(&[("limit", limit)]);
        if let Some(cursor) = cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let response = request.send().await?;
        if matches!(
            response.status(),
            StatusCode::GONE | StatusCode::BAD_REQUEST
        ) && cursor.is_some()
        {
            return Ok(None);
        }
        parse(response).await.map(Some)
    }

    fn request(&self, method: Method, path: &str, token: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self
            .client
            .request(method, self.base.join(path)?)
            .bearer_auth(token))
    }
}

async fn send<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    parse(request.send().await?).await
}

async fn parse<T: DeserializeOwned>(response: reqwest::Response) -> anyhow::Result<T> {
    let response = expect_success(response).await?;
    let url = response.url().clone();
    response
        .json()
        .await
        .with_context(|| format!("failed to parse the response of {url}"))
}

/// Returns a successful response, otherwise an error with its body.
async fn expect_success(response: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, url) = (response.status(), response.url().clone());
    bail!("{url} responded with {status}: {}", response.text().await?)
}
