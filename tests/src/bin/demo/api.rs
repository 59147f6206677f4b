//! Requests of the demo to the public API.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tests::api::{Api, read};

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

/// Lists the slugs of the configured providers.
pub(crate) async fn configured_providers(api: &Api) -> anyhow::Result<Vec<String>> {
    let listed = api.providers().await?.into_iter();
    let configured = listed.filter(|provider| provider.configured);
    Ok(configured.map(|provider| provider.slug).collect())
}

/// Lists the tenant's connections; `None` when the API key is unknown.
pub(crate) async fn connections(api: &Api, key: &str) -> anyhow::Result<Option<Vec<Connection>>> {
    let mut found = Vec::new();
    let mut query = String::new();
    loop {
        let path = format!("/v1/connections{query}");
        let response = api.request(Method::GET, &path, key, None).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let page: Connections = read(response).await?;
        found.extend(page.connections);
        let Some(cursor) = page.next_cursor else {
            return Ok(Some(found));
        };
        query = format!("?cursor={cursor}");
    }
}

/// Reads a page of a provider's Signals; `None` when the cursor is invalid.
pub(crate) async fn signals(
    api: &Api,
    key: &str,
    source: &str,
    cursor: Option<&str>,
    limit: u64,
) -> anyhow::Result<Option<SignalPage>> {
    let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let path = format!("/v1/signals?source={source}&limit={limit}{after}");
    let response = api.request(Method::GET, &path, key, None).await?;
    let is_rejected = matches!(
        response.status(),
        StatusCode::GONE | StatusCode::BAD_REQUEST
    );
    if is_rejected && cursor.is_some() {
        return Ok(None);
    }
    read(response).await.map(Some)
}
