//! Watch channels: creation, and their end.
//!
//! Google never extends a channel, so a renewal creates another one beside it. A channel's id is
//! planned and used once. Its token is derived from the app's webhook secret and the id, so that
//! the ingress verifies a push without a lookup. The `sync` push may arrive before the response to
//! the request.
//!
//! Sources: "Notifications for resource changes" (Drive) and "Push notifications" (Calendar) at
//! developers.google.com.

use chrono::{DateTime, Duration, TimeZone, Utc};
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::client::{Call, Client};
use super::webhook::{RESOURCE_ID, channel_token};
use crate::connectors::error::permanent_error;
use crate::connectors::wire::{id, text};
use crate::connectors::{ConnectorError, SubscribeRequest};
use crate::model::Subscription;

/// Request for a channel.
pub(in crate::connectors) struct Watch<'a> {
    /// The product's slug.
    pub slug: &'static str,
    /// The method's URL, with its query.
    pub url: Url,
    /// The app's webhook secrets; the first one makes the token.
    pub secrets: &'a [SecretString],
    /// The lifetime to request. Google may grant less.
    pub ttl: Duration,
    /// The lifetime if the response states none.
    pub default_ttl: Duration,
}

/// Creates a channel for a subscription whose resource is the key of a stream.
pub(in crate::connectors) async fn watch(
    client: &Client,
    call: &Call<'_>,
    watch: Watch<'_>,
    request: &SubscribeRequest,
) -> Result<Subscription, ConnectorError> {
    #[derive(Deserialize)]
    struct Channel {
        #[serde(rename = "resourceId", default, deserialize_with = "text")]
        resource_id: Option<String>,
        /// Milliseconds since 1970, as text or as a number.
        #[serde(default, deserialize_with = "id")]
        expiration: Option<String>,
    }
    let channel = request.planned_id.as_deref();
    let channel = channel.ok_or_else(|| permanent_error("the channel has no planned id"))?;
    let secret = watch.secrets.first();
    let secret = secret.ok_or_else(|| permanent_error("no webhook secret is configured"))?;
    let expiration = client.now() + watch.ttl;
    let body = json!({
        "id": channel,
        "type": "web_hook",
        "address": request.webhook_url.as_str(),
        "token": channel_token(secret, watch.slug, channel),
        "expiration": expiration.timestamp_millis().to_string(),
    });
    let response = client.post(call, watch.url, &body).await?;
    let created: Channel = response.json()?;
    let expires_at = created.expiration.as_deref().and_then(parse_expiration);
    Ok(Subscription {
        resource: request.spec.resource.clone(),
        external_id: channel.to_owned(),
        route: Some(channel.to_owned()),
        state: json!({ RESOURCE_ID: created.resource_id }),
        expires_at: expires_at.or_else(|| client.now().checked_add_signed(watch.default_ttl)),
        refused_events: Vec::new(),
    })
}

fn parse_expiration(milliseconds: &str) -> Option<DateTime<Utc>> {
    Utc.timestamp_millis_opt(milliseconds.parse().ok()?)
        .single()
}

/// Ends a channel at the product's URL of `channels.stop`.
///
/// Only the person who created it can end it, by the same OAuth client.
pub(in crate::connectors) async fn stop(
    client: &Client,
    call: &Call<'_>,
    url: Url,
    subscription: &Subscription,
) -> Result<(), ConnectorError> {
    let Some(resource_id) = subscription.state.get(RESOURCE_ID).and_then(Value::as_str) else {
        return Err(ConnectorError::denied(
            "the id of the channel's resource is unknown",
        ));
    };
    let body = json!({ "id": subscription.external_id, "resourceId": resource_id });
    match client.post(call, url, &body).await {
        Ok(_) => Ok(()),
        // It has ended or expired already.
        Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
