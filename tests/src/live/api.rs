//! Requests of the live check to the public API.

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::api::{Api, read, text};

/// The id of the tenant's active connection.
pub(super) async fn active_connection(api: &Api, key: &str) -> anyhow::Result<Option<String>> {
    let listed = api.send(Method::GET, "/v1/connections", key, None).await?;
    let connections = listed["connections"].as_array().context("no list")?;
    let mut active = connections.iter().filter(|one| one["status"] == "active");
    active
        .next()
        .map(|one| Ok(text(one, "id")?.to_owned()))
        .transpose()
}

/// Whether a webhook of the connection was received.
pub(super) async fn has_delivery(api: &Api, key: &str, connection: &str) -> anyhow::Result<bool> {
    let path = format!("/v1/webhook-deliveries?connection_id={connection}&limit=1");
    let listed = api.send(Method::GET, &path, key, None).await?;
    let deliveries = listed["deliveries"].as_array().context("no list")?;
    Ok(!deliveries.is_empty())
}

/// Posts a body; `None` if the state of the resource does not allow the request.
pub(super) async fn post_if_allowed(
    api: &Api,
    path: &str,
    key: &str,
    body: &Value,
) -> anyhow::Result<Option<Value>> {
    let response = api.request(Method::POST, path, key, Some(body)).await?;
    if response.status() == StatusCode::CONFLICT {
        return Ok(None);
    }
    read(response).await.map(Some)
}
