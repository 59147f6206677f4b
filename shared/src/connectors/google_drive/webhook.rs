//! Channels of the logs of changes, one per stream.

use chrono::Duration;
use secrecy::SecretString;

use super::client::{EDIT, call, url};
use super::sync::{drive_of, start_token};
use super::{AppSettings, SLUG};
use crate::connectors::google::{ChannelWebhooks, Client, Watch, stop, watch};
use crate::connectors::{Access, ConnectorError, SubscribeRequest};
use crate::http::Priority;
use crate::model::Subscription;

/// Verifier of pushes.
pub type Webhooks = ChannelWebhooks<AppSettings>;

/// Longest lifetime of a channel of a log of changes.
const TTL: Duration = Duration::days(7);
/// Its lifetime if none is requested.
const DEFAULT_TTL: Duration = Duration::hours(1);

/// Creates the channel of a stream.
pub(super) async fn create(
    client: &Client,
    access: &Access,
    secrets: &[SecretString],
    request: &SubscribeRequest,
) -> Result<Subscription, ConnectorError> {
    let drive = drive_of(&request.spec.resource);
    let token = start_token(client, access, drive, Priority::Immediate).await?;
    let mut url = url(client, &["changes", "watch"]);
    url.query_pairs_mut()
        .append_pair("pageToken", &token)
        .append_pair("supportsAllDrives", "true")
        .append_pair("includeItemsFromAllDrives", "true")
        .extend_pairs(drive.map(|drive| ("driveId", drive)));
    let channel = Watch {
        slug: SLUG,
        url,
        secrets,
        ttl: TTL,
        default_ttl: DEFAULT_TTL,
    };
    let call = call(access, "watch_changes", EDIT);
    watch(client, &call, channel, request).await
}

/// Ends a channel.
pub(super) async fn end(
    client: &Client,
    access: &Access,
    subscription: &Subscription,
) -> Result<(), ConnectorError> {
    let call = call(access, "stop_channel", EDIT);
    let url = url(client, &["channels", "stop"]);
    stop(client, &call, url, subscription).await
}
