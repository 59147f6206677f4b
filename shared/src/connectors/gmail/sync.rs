//! Polling: one page of one stream at a time.
//!
//! The root stream lists the stream of messages, and the desired registration for pushes. The
//! stream of messages has two parts: the mailbox's history from a position on, and the list of
//! messages down to the floor, for the first read. The position is taken from the profile before
//! the list is read, so that no message falls between them. It is never taken from a message, whose
//! own position is that of its last change and may be too old.
//!
//! While the list is read, which takes hours for a large mailbox, the history is read every minute,
//! so that new mail is not delayed and the position does not become too old.

mod messages;

use super::Gmail;
use super::auth::mailbox;
use super::client::MailboxClient;
use super::watch;
use crate::connectors::error::permanent_error;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::StreamSpec;

/// Key of the root stream.
pub(super) const ROOT: &str = "mailbox";
/// Key of the stream of messages.
pub(super) const MESSAGES: &str = "messages";

/// Reads one page of one stream.
pub(super) async fn read_page(
    gmail: &Gmail,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let mailbox = MailboxClient {
        priority: request.priority,
        ..mailbox(gmail, &request.access)
    };
    match request.stream.key.as_str() {
        ROOT => read_root(gmail, &mailbox).await,
        MESSAGES => messages::read_page(&mailbox, request).await,
        _ => Err(permanent_error("unknown stream")),
    }
}

/// Reads the page of the root stream: the only stream, if the mailbox can be read.
async fn read_root(gmail: &Gmail, mailbox: &MailboxClient<'_>) -> Result<SyncPage, ConnectorError> {
    let profile = mailbox.get_profile().await?;
    if profile.address.is_none() {
        return Err(permanent_error("the profile names no address"));
    }
    Ok(SyncPage {
        streams: vec![StreamSpec {
            key: MESSAGES.to_owned(),
            resource_id: None,
            target: serde_json::Value::Null,
        }],
        subscriptions: watch::desired(gmail),
        progress: 1.0,
        ..SyncPage::empty(serde_json::Value::Null)
    })
}
