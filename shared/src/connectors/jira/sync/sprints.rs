//! Stream of a board's sprints.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::jira::client::{ApiError, Client};
use crate::connectors::jira::normalize::{self, NormalizeContext};
use crate::connectors::jira::wire::{Sprint, Timestamp, WireError, read};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

const PAGE: u32 = 50;

/// Position in the list.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Start of the backfill: earlier facts are not emitted.
    floor: DateTime<Utc>,
    /// Offset of the next page; zero between runs.
    #[serde(default)]
    start: usize,
}

/// Reads a page of sprints. Boards that list the same sprint yield the same dedupe keys.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    board: &str,
) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        values: Vec<Box<RawValue>>,
        #[serde(default, rename = "isLast")]
        is_last: bool,
    }
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or(Cursor {
        floor: request.floor(),
        start: 0,
    });
    let call = call(request, "list_sprints");
    let start = cursor.start.to_string();
    let limit = request.page_size(PAGE).to_string();
    let query = [
        ("startAt", start.as_str()),
        ("maxResults", limit.as_str()),
        ("state", "active,future,closed"),
    ];
    let path = ["rest", "agile", "1.0", "board", board, "sprint"];
    let response = match client.get(&call, &path, &query).await {
        Ok(response) => response,
        // The board does not support sprints.
        Err(ApiError {
            cause: ConnectorError::Permanent(_),
            ..
        }) => return Ok(SyncPage::empty(save_cursor(&cursor)?)),
        Err(error) => return Err(error.cause),
    };
    let page: Page = response.json()?;
    client.record_cost(&call, page.values.len()).await;
    let context = NormalizeContext {
        account: &request.access.account,
        directory: &request.directory,
    };
    let mut normalized = PageContent::default();
    let floor = cursor.floor;
    let recent =
        |timestamp: Option<Timestamp>| timestamp.is_some_and(|timestamp| timestamp.0 >= floor);
    let facts = |raw: &RawValue| {
        let mut signals = Vec::new();
        let sprint: Sprint = read("sprint", raw)?;
        let state = sprint.state.as_deref().unwrap_or_default();
        let at = request.upper_bound;
        if recent(sprint.created) {
            signals.push(normalize::sprint_created(&context, &sprint, raw, at)?);
        }
        // A future sprint may have a planned start date.
        if state != "future" && recent(sprint.start) {
            signals.push(normalize::sprint_started(&context, &sprint, raw, at)?);
        }
        if state == "closed" && recent(sprint.complete) {
            signals.push(normalize::sprint_closed(&context, &sprint, raw, at)?);
        }
        Ok::<_, WireError>(signals)
    };
    for raw in &page.values {
        normalized.take(raw, facts(raw));
    }
    let has_more = !page.is_last && !page.values.is_empty();
    cursor.start = if has_more {
        cursor.start.saturating_add(page.values.len())
    } else {
        0
    };
    Ok(SyncPage {
        has_more,
        ..normalized.into_page(save_cursor(&cursor)?)
    })
}
