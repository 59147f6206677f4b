//! Polling: one page of one stream at a time.
//!
//! The root stream lists calendars, and each one that the person may write to has a stream of its
//! events. A stream that is read for the first time takes the token of the changes, then reads
//! the past down to the floor, so nothing is lost in between; later reads continue from the token.

mod events;
mod root;

use crate::connectors::error::permanent_error;
use crate::connectors::google::Client;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Key of the root stream.
pub(super) const ROOT: &str = "calendars";
/// Prefix of the key of a calendar's stream; the calendar's id follows.
const EVENTS: &str = "events:";

/// Reads one page of one stream.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    has_pushes: bool,
) -> Result<SyncPage, ConnectorError> {
    let key = request.stream.key.as_str();
    if key == ROOT {
        return root::read_page(client, request, has_pushes).await;
    }
    match calendar_of(key) {
        Some(calendar) => events::read_page(client, request, calendar).await,
        None => Err(permanent_error("unknown stream")),
    }
}

/// The calendar of a stream; `None` for another kind of stream.
pub(super) fn calendar_of(key: &str) -> Option<&str> {
    key.strip_prefix(EVENTS)
}
