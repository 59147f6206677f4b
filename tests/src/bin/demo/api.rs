//! Our API, as a client outside sees it.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

/// The api-server, with an operator's token.
pub(crate) struct Api {
    client: reqwest::Client,
    base: Url,
    operator: SecretString,
}

/// A page of the feed.
#[derive(Deserialize)]
pub(crate) struct SignalPage {
    pub(crate) signals: Vec<Signal>,
    pub(crate) next_cursor: String,
    pub(crate) has_more: bool,
}

/// What is printed of a Signal.
#[derive(Deserialize)]
pub(crate) struct Signal {
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) timestamp: chrono::DateTime<chrono::Utc>,
    pub(crate) actor: Actor,
    pub(crate) subject: Subject,
    pub(crate) context: Place,
}

/// Who did it, as far as the provider says.
#[derive(Deserialize)]
pub(crate) struct Actor {
    pub(crate) name: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// What it was done to.
#[derive(Deserialize)]
pub(crate) struct Subject {
    pub(crate) key: Option<String>,
    pub(crate) title: Option<String>,
}

/// Where it happened.
#[derive(Deserialize)]
pub(crate) struct Place {
    pub(crate) name: Option<String>,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
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

/// A connection of a tenant.
#[derive(Deserialize)]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) status: String,
    /// When its past had been read, if it has.
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

    /// Makes a tenant; its id.
    pub(crate) async fn create_tenant(&self, name: &str) -> anyhow::Result<String> {
        let request = self
            .request(Method::POST, "/v1/tenants", self.operator.expose_secret())?
            .json(&json!({ "name": name }));
        Ok(answer::<Identified>(request).await?.id)
    }

    /// Makes a key that may do everything a tenant may.
    pub(crate) async fn create_key(&self, tenant: &str) -> anyhow::Result<String> {
        let path = format!("/v1/tenants/{tenant}/api-keys");
        let request = self
            .request(Method::POST, &path, self.operator.expose_secret())?
            .json(&json!({ "name": "Demo" }));
        Ok(answer::<CreatedKey>(request).await?.key)
    }

    /// Slugs of the providers that can be connected.
    pub(crate) async fn providers(&self) -> anyhow::Result<Vec<String>> {
        let request = self.request(Method::GET, "/v1/providers", self.operator.expose_secret())?;
        let listed = answer::<Providers>(request).await?.providers;
        let configured = listed.into_iter().filter(|provider| provider.configured);
        Ok(configured.map(|provider| provider.slug).collect())
    }

    /// The tenant's connections; nothing when the key is not known here any more.
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
            let page: Connections = read(response).await?;
            found.extend(page.connections);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Some(found));
            }
        }
    }

    /// Disconnects.
    pub(crate) async fn disconnect(&self, key: &str, connection: &str) -> anyhow::Result<()> {
        let path = format!("/v1/connections/{connection}");
        let response = self.request(Method::DELETE, &path, key)?.send().await?;
        checked(response).await?;
        Ok(())
    }

    /// A link that connects an account of the provider to the key's tenant.
    pub(crate) async fn connect(&self, key: &str, provider: &str) -> anyhow::Result<Url> {
        let path = format!("/v1/connect/{provider}");
        let request = self.request(Method::POST, &path, key)?.json(&json!({}));
        Ok(answer::<Link>(request).await?.authorize_url)
    }

    /// What the feed holds of a provider behind a cursor; nothing when the cursor cannot be followed.
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
        read(response).await.map(Some)
    }

    fn request(&self, method: Method, path: &str, token: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self
            .client
            .request(method, self.base.join(path)?)
            .bearer_auth(token))
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    read(request.send().await?).await
}

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> anyhow::Result<T> {
    let response = checked(response).await?;
    let url = response.url().clone();
    response
        .json()
        .await
        .with_context(|| format!("the answer of {url} is unreadable"))
}

/// The answer, unless it says why there is none.
async fn checked(response: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, url) = (response.status(), response.url().clone());
    bail!("{url} answered {status}: {}", response.text().await?)
}
