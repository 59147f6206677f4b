//! Stream of created channels.
//!
//! The list shows state and not history, so it is read as a whole, but only when the root has seen
//! another set of channels than the last read.

use serde::{Deserialize, Serialize};

use super::{Target, page_size};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::page::PageContent;
use crate::connectors::zoho_cliq::client::CliqClient;
use crate::connectors::zoho_cliq::normalize;
use crate::connectors::zoho_cliq::wire::{Channel, read_row};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use chrono::{DateTime, Utc};

/// Position in the list.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Channels created earlier are not emitted.
    floor: DateTime<Utc>,
    /// Token of the next page; `None` between runs.
    #[serde(default)]
    next: Option<String>,
    /// Digest of the channels that the last complete read has seen.
    #[serde(default)]
    digest: Option<String>,
}

/// Reads a page of channels; no call if there is no other channel than before.
pub(super) async fn read_page(
    client: CliqClient<'_>,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let target = Target::of(request);
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_else(|| Cursor {
        floor: request.floor(),
        next: None,
        digest: None,
    });
    let is_known = cursor.digest.is_some() && cursor.digest == target.digest;
    if is_known && cursor.next.is_none() && request.reconcile_from.is_none() {
        return Ok(SyncPage {
            progress: 1.0,
            ..SyncPage::empty(save_cursor(&cursor)?)
        });
    }
    let page = client
        .list_channels(page_size(request), cursor.next.as_deref())
        .await?;
    cursor.next = page.next();
    let rows = page
        .channels
        .ok_or_else(|| permanent_error("the list of channels has no rows"))?;
    let mut content = PageContent::default();
    for raw in &rows {
        let signal = read_row::<Channel>(raw).and_then(|channel| {
            normalize::channel_created(&request.directory, &channel, cursor.floor, raw)
        });
        content.take(raw, signal.map(Vec::from_iter));
    }
    let has_more = cursor.next.is_some();
    if !has_more {
        cursor.digest = target.digest;
    }
    Ok(SyncPage {
        has_more,
        ..content.into_page(save_cursor(&cursor)?)
    })
}
