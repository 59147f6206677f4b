//! Stream of the messages in the threads of a channel.
//!
//! Threads are chats of their own, which only their channel lists. The list says when a thread had
//! its last message; threads with a newer one than the last run are read, one after the other. The
//! whole list is read first: a new message may move a thread to a page that has been read already.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::walk::Walk;
use super::{Target, active_millis, is_active_since, millis, page_size, window, with_overlap};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::page::PageContent;
use crate::connectors::zoho_cliq::client::CliqClient;
use crate::connectors::zoho_cliq::normalize::Place;
use crate::connectors::zoho_cliq::wire::{Thread, WireError, read_row};
use crate::connectors::{ConnectorError, MissingScope, Source, SyncPage, SyncRequest};

/// Position in the threads of a channel. Times are in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Messages from before are never facts.
    floor: i64,
    /// The time up to which all threads have been read; `None` before the end of the first read.
    #[serde(default)]
    read_to: Option<i64>,
    /// The pass of the current run; `None` between runs.
    #[serde(default)]
    pass: Option<Pass>,
}

/// A pass over the threads.
#[derive(Debug, Serialize, Deserialize)]
struct Pass {
    from: i64,
    to: i64,
    /// Whether the list has been read to its end.
    #[serde(default)]
    is_listed: bool,
    /// Token of the next page of the list.
    #[serde(default)]
    next: Option<String>,
    /// Listed threads that are still to be read.
    #[serde(default)]
    pending: Vec<Pending>,
    /// The walk of the thread that is read, the last one in `pending`.
    #[serde(default)]
    walk: Option<Walk>,
    /// Whether a thread was skipped because Cliq denied it or its answer is not usable.
    #[serde(default)]
    is_denied: bool,
}

/// A thread to be read.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    chat: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

impl Pass {
    /// Passes the thread that is read; what the pass has read of it is kept.
    ///
    /// A thread whose answer is not usable is listed with the unreadable rows. The stream does not
    /// count as reconciled, so the next pass of reconciliation tries the thread again.
    fn skip(&mut self, unusable: Option<&Source>) -> PageContent {
        self.is_denied = true;
        let mut content = PageContent::default();
        let thread = self.pending.pop();
        if let (Some(thread), Some(source)) = (thread, unusable) {
            let row = to_raw_value(&json!({ "chat_id": thread.chat }));
            let reason = format!("the messages of the thread are not usable: {source}");
            if let Ok(row) = row {
                content.unreadable.take(&row, Err::<(), _>(reason));
            }
        }
        content
    }
}

/// Reads a page of the list, or a window of the messages of a thread.
pub(super) async fn read_page(
    client: CliqClient<'_>,
    request: &SyncRequest,
    channel: &str,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_else(|| Cursor {
        floor: millis(request.floor()),
        read_to: None,
        pass: None,
    });
    let mut pass = cursor.pass.take().unwrap_or_else(|| Pass {
        from: cursor
            .read_to
            .map_or(cursor.floor, with_overlap)
            .max(cursor.floor),
        to: millis(request.upper_bound),
        is_listed: false,
        next: None,
        pending: Vec::new(),
        walk: None,
        is_denied: false,
    });
    let content = if pass.is_listed || pass.walk.is_some() {
        read_thread(client, request, &mut pass).await?
    } else {
        list(client, request, channel, cursor.read_to, &mut pass).await?
    };
    let has_more = !pass.is_listed || !pass.pending.is_empty();
    let denied_part = pass.is_denied.then_some("messages in threads");
    if has_more {
        cursor.pass = Some(pass);
    } else {
        cursor.read_to = cursor.read_to.max(Some(pass.to));
    }
    Ok(SyncPage {
        has_more,
        denied_part,
        progress: if has_more { 0.0 } else { 1.0 },
        ..content.into_page(save_cursor(&cursor)?)
    })
}

/// Reads a page of the list of threads, and notes those with new messages.
async fn list(
    client: CliqClient<'_>,
    request: &SyncRequest,
    channel: &str,
    read_to: Option<i64>,
    pass: &mut Pass,
) -> Result<PageContent, ConnectorError> {
    let page = client
        .list_threads(channel, page_size(request), pass.next.as_deref())
        .await?;
    let rows = page
        .data
        .ok_or_else(|| permanent_error("the list of threads has no rows"))?;
    let mut content = PageContent::default();
    let has_rows = !rows.is_empty();
    let rows = rows.iter().map(AsRef::as_ref);
    for (thread, _) in content.unreadable.read_all(rows, read_thread_row) {
        // Every pass but an incremental one reads what lies between its bounds.
        let since = read_to.unwrap_or(pass.from);
        if is_active_since(active_millis(thread.active_at()), since)
            && let Some(chat) = thread.chat_id
        {
            pass.pending.push(Pending {
                chat,
                title: thread.title.or_else(|| Target::of(request).title),
            });
        }
    }
    // The token is the position of the last row, and the list has no other sign of its end.
    let next = page.next_token.filter(|_| has_rows);
    pass.next = next.filter(|next| pass.next.as_ref() != Some(next));
    pass.is_listed = pass.next.is_none();
    Ok(content)
}

fn read_thread_row(raw: &serde_json::value::RawValue) -> Result<Thread, WireError> {
    let thread: Thread = read_row(raw)?;
    match thread.chat_id {
        Some(_) => Ok(thread),
        None => Err(WireError::Missing("chat_id")),
    }
}

/// Reads a window of the messages of the last pending thread.
async fn read_thread(
    client: CliqClient<'_>,
    request: &SyncRequest,
    pass: &mut Pass,
) -> Result<PageContent, ConnectorError> {
    let Some(thread) = pass.pending.last() else {
        return Ok(PageContent::default());
    };
    let place = Place {
        chat: &thread.chat,
        title: thread.title.as_deref(),
        is_channel: true,
    };
    let mut walk = pass.walk.take();
    let walk = walk.get_or_insert_with(|| Walk::new(pass.from, pass.to));
    let content = match window::read(client, request, &place, walk).await {
        Ok(content) => content,
        // Another thread may be readable. Without the scope none is.
        Err(ConnectorError::Denied { source, .. })
            if source.downcast_ref::<MissingScope>().is_none() =>
        {
            return Ok(pass.skip(None));
        }
        Err(ConnectorError::Permanent(source)) => return Ok(pass.skip(Some(&source))),
        Err(other) => return Err(other),
    };
    if walk.window().is_some() {
        pass.walk = Some(walk.clone());
    } else {
        pass.pending.pop();
    }
    Ok(content)
}
