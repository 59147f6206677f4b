//! The stream of messages: history, and the list of the first read.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;

use crate::connectors::cursor::{load_cursor, part_before, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::gmail::client::MailboxClient;
use crate::connectors::gmail::normalize;
use crate::connectors::gmail::wire::{Message, read_message_id, read_record, without_content};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Rows per page. Each message of a page costs a call.
const PAGE: u32 = 100;
/// Minimum rows per page: a message that fails is recognized beside others that do not.
const MIN_PAGE: u32 = 3;
/// Minimum time between two reads of the history during the first read.
const HISTORY_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// Position in the mailbox.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Messages from before are never facts.
    floor: DateTime<Utc>,
    /// Position from which the history is read.
    history: String,
    /// Next page of the history since that position.
    #[serde(default)]
    page: Option<String>,
    /// Position in the list of messages; `None` once it has been read.
    #[serde(default)]
    backfill: Option<Backfill>,
}

/// Position in the list of messages.
#[derive(Debug, Serialize, Deserialize)]
struct Backfill {
    /// Lower bound of the list. A resync does not read the whole time since the floor again: each
    /// message costs a call.
    from: DateTime<Utc>,
    /// Next page.
    #[serde(default)]
    page: Option<String>,
    /// When the history was last read.
    history_read_at: DateTime<Utc>,
}

impl Cursor {
    /// Whether the history is read now; during the first read, only from time to time.
    fn is_history_due(&self, now: DateTime<Utc>) -> bool {
        self.page.is_some()
            || self.backfill.as_ref().is_none_or(|backfill| {
                let since = now - backfill.history_read_at;
                !(TimeDelta::zero()..HISTORY_INTERVAL).contains(&since)
            })
    }
}

/// Reads a page of the history, and one of the list during the first read.
pub(super) async fn read_page(
    mailbox: &MailboxClient<'_>,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    if request.reconcile_from.is_some() {
        // The history is exact: a second read of the messages would find nothing and cost hours.
        return Ok(SyncPage::empty(serde_json::Value::Null));
    }
    let mut content = PageContent::default();
    let (mut cursor, is_new) = match load_cursor::<Cursor>(request)? {
        Some(cursor) => (cursor, false),
        None => (start(mailbox, request).await?, true),
    };
    let is_due = cursor.is_history_due(mailbox.client.now());
    if is_due {
        read_history(mailbox, request, &mut cursor, &mut content).await?;
    }
    let mut has_more = cursor.page.is_some();
    let mut progress = 0.0;
    // A long history comes first.
    if let Some(backfill) = cursor.backfill.take_if(|_| !has_more) {
        let read = read_list(mailbox, request, cursor.floor, &backfill, &mut content).await?;
        progress = read.progress;
        cursor.backfill = read.next;
        // The run ends with the history, which has what arrived since its last read.
        has_more = cursor.backfill.is_some() || !(is_new || is_due);
    }
    has_more |= cursor.backfill.is_some();
    Ok(SyncPage {
        has_more,
        progress: if has_more { progress } else { 1.0 },
        ..content.into_page(save_cursor(&cursor)?)
    })
}

/// The cursor of a stream that was never read, or whose position was too old.
async fn start(
    mailbox: &MailboxClient<'_>,
    request: &SyncRequest,
) -> Result<Cursor, ConnectorError> {
    let profile = mailbox.get_profile().await?;
    let history = profile.position;
    Ok(Cursor {
        floor: request.floor(),
        history: history.ok_or_else(|| permanent_error("the profile names no position"))?,
        page: None,
        backfill: Some(Backfill {
            from: request.read_from(),
            page: None,
            history_read_at: mailbox.client.now(),
        }),
    })
}

/// Reads a page of the history. The position moves behind its last page only.
async fn read_history(
    mailbox: &MailboxClient<'_>,
    request: &SyncRequest,
    cursor: &mut Cursor,
    content: &mut PageContent,
) -> Result<(), ConnectorError> {
    let size = request.page_size(PAGE).max(MIN_PAGE);
    let history = mailbox
        .list_history(&cursor.history, cursor.page.as_deref(), size)
        .await?;
    if let Some(backfill) = &mut cursor.backfill {
        backfill.history_read_at = mailbox.client.now();
    }
    cursor.page.clone_from(&history.next_page);
    if let (None, Some(position)) = (&history.next_page, &history.position) {
        cursor.history.clone_from(position);
    }
    let mut ids = Vec::new();
    for record in &history.records {
        let (of_record, result) = read_record(record);
        content.unreadable.take(record, result);
        ids.extend(of_record);
    }
    read_messages(mailbox, request, cursor.floor, ids, content).await?;
    Ok(())
}

/// The part of the list that a page has read.
struct ListRead {
    /// The next part; `None` if the rest of the list lies before its lower bound.
    next: Option<Backfill>,
    progress: f32,
}

/// Reads a page of the list of messages.
async fn read_list(
    mailbox: &MailboxClient<'_>,
    request: &SyncRequest,
    floor: DateTime<Utc>,
    backfill: &Backfill,
    content: &mut PageContent,
) -> Result<ListRead, ConnectorError> {
    // The search excludes its own second.
    let from = backfill.from;
    let search = format!("after:{}", from.timestamp().saturating_sub(1));
    let search = Some(search.as_str()).filter(|_| mailbox.scope.is_searchable());
    let size = request.page_size(PAGE).max(MIN_PAGE);
    let list = mailbox
        .list_messages(search, backfill.page.as_deref(), size)
        .await?;
    let ids = content
        .unreadable
        .read_all(list.messages.iter().map(AsRef::as_ref), read_message_id)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let times = read_messages(mailbox, request, floor, ids, content).await?;
    // The list is ordered by time, though not strictly: a page must lie before the bound as a whole.
    let is_past = !times.is_empty() && times.iter().all(|at| *at < from);
    let next = list.next_page.filter(|_| !is_past);
    let oldest = times.iter().min().copied().unwrap_or(request.upper_bound);
    Ok(ListRead {
        next: next.map(|page| Backfill {
            page: Some(page),
            ..*backfill
        }),
        progress: 1.0 - part_before(oldest, from, request.upper_bound),
    })
}

/// Reads and normalizes messages; returns the times of the readable ones.
///
/// A message that has been deleted since it was listed is passed. One that Gmail does not return,
/// although it returns others, becomes an unreadable row.
async fn read_messages(
    mailbox: &MailboxClient<'_>,
    request: &SyncRequest,
    floor: DateTime<Utc>,
    mut ids: Vec<String>,
    content: &mut PageContent,
) -> Result<Vec<DateTime<Utc>>, ConnectorError> {
    let mut known = HashSet::new();
    ids.retain(|id| known.insert(id.clone()));
    let reads: Vec<_> = ids.iter().map(|id| mailbox.get_message(id)).collect();
    let responses = stream::iter(reads).buffered(mailbox.concurrency);
    let mut responses = responses.zip(stream::iter(&ids));
    let mut times = Vec::new();
    let mut failed = Vec::new();
    let mut is_any_read = false;
    while let Some((response, id)) = responses.next().await {
        let response = match response {
            Ok(response) => response,
            Err(error) if is_of_message(&error, request) => {
                failed.push((id, error));
                continue;
            }
            Err(error) => return Err(error),
        };
        is_any_read = true;
        let Some(response) = response else { continue };
        let raw = without_content(response.json()?)
            .map_err(|error| ConnectorError::Permanent(error.into()))?;
        let row = Message::parse(&raw);
        times.extend(row.as_ref().ok().and_then(Message::received_at));
        let signal = row
            .and_then(|message| normalize::message(&mailbox.access.account, &message, floor, &raw));
        content.take(&raw, signal.map(Vec::from_iter));
    }
    for (id, error) in failed {
        if !is_any_read {
            return Err(error);
        }
        let row = to_raw_value(&json!({ "id": id }))
            .map_err(|error| ConnectorError::Permanent(error.into()))?;
        content.unreadable.take::<(), _>(&row, Err(error));
    }
    Ok(times)
}

/// Whether a failed call may concern its message only.
const fn is_of_message(error: &ConnectorError, request: &SyncRequest) -> bool {
    match error {
        ConnectorError::Denied { .. } | ConnectorError::Permanent(_) => true,
        ConnectorError::Transient(_) => request.skips_failing_parts(),
        _ => false,
    }
}
