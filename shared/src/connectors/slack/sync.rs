//! Polling: one page of one stream at a time.
//!
//! The root stream lists the channels that the bot is in. A channel's stream reads its messages,
//! and the threads among them, from the run's upper bound back to the end of the last run, less an
//! overlap. Pages come newest first, so the cursor's position advances only when a walk is
//! complete. The reconciliation pass walks the channel with a separate cursor, for edits and
//! replies that webhooks missed. Walks page by time, because Slack's cursors expire.
//!
//! Lists do not show deletions and reactions with a time, so those come from webhooks only.

mod channels;
mod messages;
mod root;

use secrecy::SecretString;

use super::Slack;
use super::client::{ApiError, Response};
use crate::connectors::error::permanent_error;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::http::Charge;

/// Key of the root stream.
pub(super) const ROOT: &str = "conversations";
/// Key of the stream of created channels.
const CHANNELS: &str = "channels";
/// Prefix of the key of a channel's messages; the channel's id follows.
const MESSAGES: &str = "messages:";

/// Reads one page of one stream.
pub(super) async fn read_page(
    slack: &Slack,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let key = request.stream.key.as_str();
    if key == ROOT {
        root::read_page(slack, request).await
    } else if key.starts_with(CHANNELS) {
        channels::read_page(slack, request).await
    } else if let Some(channel) = key.strip_prefix(MESSAGES) {
        messages::read_page(slack, request, channel).await
    } else {
        Err(permanent_error("unknown stream"))
    }
}

/// Calls a method with the connection's token.
async fn call(
    slack: &Slack,
    request: &SyncRequest,
    method: &'static str,
    arguments: &[(&str, &str)],
) -> Result<Response, ApiError> {
    call_with_token(slack, request, &request.access.token, method, arguments).await
}

/// Calls a method with the given token.
async fn call_with_token(
    slack: &Slack,
    request: &SyncRequest,
    token: &SecretString,
    method: &'static str,
    arguments: &[(&str, &str)],
) -> Result<Response, ApiError> {
    let charge = Charge {
        priority: request.priority,
        ..Charge::new(&request.access.account.id, method)
    };
    slack.client.call(&charge, token, arguments).await
}
