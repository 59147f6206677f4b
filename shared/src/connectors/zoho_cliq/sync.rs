//! Polling: one page of one stream at a time, one call a page.
//!
//! The root stream lists the channels that the person has joined, and the direct and group chats.
//! It has the time of each chat's last message, which it notes in the stream's target: a chat that
//! has been read beyond that time is not read again, because few messages may be read per minute.
//! A channel has a second stream for its threads, whose list says which of them are new.
//!
//! Messages are read in windows of time that overlap with the previous run. No list shows edits and
//! deletions, so those come from deliveries only.

mod channels;
mod chat;
mod root;
mod threads;
mod walk;
mod window;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::ZohoCliq;
use super::client::CliqClient;
use super::wire::Timestamp;
use crate::connectors::error::permanent_error;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::StreamSpec;

/// Key of the root stream.
pub(super) const ROOT: &str = "chats";
/// Key of the stream of created channels.
pub(super) const CHANNELS: &str = "channels";
/// Kind of the streams of chats and channels; the chat's id follows.
pub(super) const CHAT: &str = "chat";
/// Kind of the streams of a channel's threads; the channel's id follows.
pub(super) const THREADS: &str = "threads";

/// Maximum time until a message is listed, which Cliq does not state.
pub(super) const READ_LAG: std::time::Duration = std::time::Duration::from_mins(2);
/// Overlap of a run with the previous one.
const OVERLAP: Duration = Duration::minutes(2);
/// Rows per page; Cliq's maximum.
const PAGE: u32 = 100;
/// Minimum of rows per page after failures.
const MIN_PAGE: u32 = 10;
/// Precision of the times of last messages in lists.
const PRECISION: Duration = Duration::seconds(1);

/// Address of a stream, with what the root knows of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Target {
    /// Title of the chat or channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Whether the chat is a channel.
    is_channel: bool,
    /// Time of its last message, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_at: Option<i64>,
    /// Digest of the list of channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

impl Target {
    fn of(request: &SyncRequest) -> Self {
        Self::of_stream(&request.stream)
    }

    fn of_stream(stream: &StreamSpec) -> Self {
        serde_json::from_value(stream.target.clone()).unwrap_or_default()
    }
}

/// Whether a stream has the messages of a channel or of its threads.
pub(super) fn is_of_channel(stream: &StreamSpec) -> bool {
    Target::of_stream(stream).is_channel
}

/// Reads one page of one stream.
pub(super) async fn read_page(
    cliq: &ZohoCliq,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let client = CliqClient {
        client: &cliq.client,
        access: &request.access,
        priority: request.priority,
    };
    let key = request.stream.key.as_str();
    match key.split_once(':') {
        None if key == ROOT => root::read_page(client, request).await,
        None if key == CHANNELS => channels::read_page(client, request).await,
        Some((CHAT, chat)) => chat::read_page(client, request, chat).await,
        Some((THREADS, channel)) => threads::read_page(client, request, channel).await,
        _ => Err(permanent_error("unknown stream")),
    }
}

fn page_size(request: &SyncRequest) -> u32 {
    request.page_size(PAGE).max(MIN_PAGE)
}

/// Whether a chat may have messages that a read up to this time has not found.
///
/// A message may be listed late, and lists state the time of the last one in seconds.
fn is_active_since(active_at: Option<i64>, read_to: i64) -> bool {
    let margin = (OVERLAP + PRECISION).num_milliseconds();
    active_at.is_none_or(|at| at.saturating_add(margin) > read_to)
}

/// Start of a read that continues at this time.
const fn with_overlap(read_to: i64) -> i64 {
    read_to.saturating_sub(OVERLAP.num_milliseconds())
}

/// Milliseconds since 1970.
const fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

fn active_millis(active_at: Option<Timestamp>) -> Option<i64> {
    active_at.map(Timestamp::millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_chat_is_not_read_again() {
        for (active_at, is_active) in [
            (None, true),
            (Some(1_000_000), true),
            (Some(1_000_000 - 120_999), true),
            (Some(1_000_000 - 121_000), false),
            (Some(0), false),
            (Some(i64::MAX), true),
        ] {
            assert_eq!(
                is_active_since(active_at, 1_000_000),
                is_active,
                "{active_at:?}"
            );
        }
    }
}
