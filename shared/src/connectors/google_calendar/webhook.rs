//! Channels of the events of calendars, one per stream.

use chrono::Duration;
use secrecy::SecretString;

use super::client::{EVENTS, call, url};
use super::sync::calendar_of;
use super::{AppSettings, SLUG};
use crate::connectors::error::permanent_error;
use crate::connectors::google::{ChannelWebhooks, Client, Watch, stop, watch};
use crate::connectors::{Access, ConnectorError, SubscribeRequest};
use crate::model::Subscription;

/// Verifier of pushes.
pub type Webhooks = ChannelWebhooks<AppSettings>;

/// Requested lifetime of a channel, which Google also grants without a request.
///
/// Longer ones are not documented, and would delay the end of a rotation of the webhook secret.
const TTL: Duration = Duration::days(7);

/// Creates the channel of a stream; denied for a calendar that cannot be watched.
///
/// The URL has no sync token, because Google would reject the channel for an expired one.
pub(super) async fn create(
    client: &Client,
    access: &Access,
    secrets: &[SecretString],
    request: &SubscribeRequest,
) -> Result<Subscription, ConnectorError> {
    let calendar = calendar_of(&request.spec.resource);
    let calendar = calendar.ok_or_else(|| permanent_error("the subscription has no calendar"))?;
    let channel = Watch {
        slug: SLUG,
        url: url(client, &["calendars", calendar, "events", "watch"]),
        secrets,
        ttl: TTL,
        default_ttl: TTL,
    };
    let call = call(access, "watch_events", EVENTS);
    watch(client, &call, channel, request).await
}

/// Ends a channel.
pub(super) async fn end(
    client: &Client,
    access: &Access,
    subscription: &Subscription,
) -> Result<(), ConnectorError> {
    let call = call(access, "stop_channel", EVENTS);
    let url = url(client, &["channels", "stop"]);
    stop(client, &call, url, subscription).await
}
