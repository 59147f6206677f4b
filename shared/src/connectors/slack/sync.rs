//! Polling: one page of one stream at a time.
//!
//! The root stream lists the channels that the bot is in. A channel's stream walks its
//! messages from the run's frozen bound down to where the last run began, less an overlap, and
//! each thread it meets; the mark moves only when the walk is over, because pages come newest
//! first. The reconciliation pass walks the channel with a cursor of its own, for edits and replies
//! that no webhook told. Walks page by time and not by Slack's cursors, which expire.
//!
//! Deleted messages and reactions leave no time behind; only webhooks tell them.

mod channels;
mod messages;
mod root;

use secrecy::SecretString;

use super::Slack;
use super::client::{Answer, Proof, Refusal};
use crate::connectors::support::operator_fault;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::http::Charge;

/// The stream that lists the others.
pub(super) const ROOT: &str = "conversations";
/// The stream of the channels themselves.
const CHANNELS: &str = "channels";
/// The stream of a channel's messages, before the channel's id.
const MESSAGES: &str = "messages:";

/// One page of one stream.
pub(super) async fn page(slack: &Slack, request: &SyncRequest) -> Result<SyncPage, ConnectorError> {
    let key = request.stream.key.as_str();
    if key == ROOT {
        root::page(slack, request).await
    } else if key.starts_with(CHANNELS) {
        channels::page(slack, request).await
    } else if let Some(channel) = key.strip_prefix(MESSAGES) {
        messages::page(slack, request, channel).await
    } else {
        Err(operator_fault("Slack has no such stream"))
    }
}

/// Calls a method for the request's workspace.
async fn call(
    slack: &Slack,
    request: &SyncRequest,
    method: &'static str,
    arguments: &[(&str, &str)],
) -> Result<Answer, Refusal> {
    call_as(slack, request, &request.access.token, method, arguments).await
}

/// The same with a token of one's choice.
async fn call_as(
    slack: &Slack,
    request: &SyncRequest,
    token: &SecretString,
    method: &'static str,
    arguments: &[(&str, &str)],
) -> Result<Answer, Refusal> {
    let charge = Charge {
        priority: request.priority,
        ..Charge::new(&request.access.account.id, method)
    };
    slack
        .client
        .call(&charge, Proof::Bearer(token), arguments)
        .await
}
