//! Stream of a board's sprints.

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use super::list::{self, ListPage};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::jira::client::{self, ApiError, Client};
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
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or(Cursor {
        floor: request.floor(),
        start: 0,
    });
    let call = call(request, "list_sprints");
    let path = ["rest", "agile", "1.0", "board", board, "sprint"];
    let range = (cursor.start, request.page_size(PAGE));
    let states = Some(("state", "active,future,closed"));
    let response = match list::request_page(client, &call, &path, range, states).await {
        Ok(response) => response,
        // The board does not support sprints. The message depends on the person's language, so
        // only the form shows that it is Jira's.
        Err(ApiError {
            status: Some(StatusCode::BAD_REQUEST),
            code,
            ..
        }) if code == client::ERROR_MESSAGES => {
            return Ok(SyncPage::empty(save_cursor(&cursor)?));
        }
        Err(error) => return Err(error.cause),
    };
    let page = ListPage::read(client, &call, &response).await?;
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
    for raw in page.rows() {
        normalized.take(raw, facts(raw));
    }
    let next = page.next_start(cursor.start);
    cursor.start = next.unwrap_or_default();
    Ok(SyncPage {
        has_more: next.is_some(),
        ..normalized.into_page(save_cursor(&cursor)?)
    })
}
