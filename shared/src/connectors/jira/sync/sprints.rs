//! A board's sprints.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::jira::client::{Client, Refusal};
use crate::connectors::jira::normalize::{self, Scene};
use crate::connectors::jira::wire::{Moment, Sprint, WireError, read};
use crate::connectors::support::{PageContent, load_cursor, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

const PAGE: u32 = 50;

/// Where the walk is.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// What happened before is never told.
    floor: DateTime<Utc>,
    /// Where the list goes on; zero between runs.
    #[serde(default)]
    start: usize,
}

/// One page of sprints. A board shows its neighbours' sprints too; each has one identity.
pub(super) async fn page(
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
    let answer = match client.get(&call, &path, &query).await {
        Ok(answer) => answer,
        // A board without sprints.
        Err(Refusal {
            error: ConnectorError::Permanent(_),
            ..
        }) => return Ok(SyncPage::empty(save_cursor(&cursor)?)),
        Err(refusal) => return Err(refusal.error),
    };
    let page: Page = answer.json()?;
    client.spent(&call, page.values.len()).await;
    let scene = Scene {
        account: &request.access.account,
        directory: &request.directory,
    };
    let mut told = PageContent::default();
    let floor = cursor.floor;
    let recent = |moment: Option<Moment>| moment.is_some_and(|moment| moment.0 >= floor);
    let facts = |raw: &RawValue| {
        let mut signals = Vec::new();
        let sprint: Sprint = read("sprint", raw)?;
        let state = sprint.state.as_deref().unwrap_or_default();
        let at = request.until;
        if recent(sprint.created) {
            signals.push(normalize::sprint_created(&scene, &sprint, raw, at)?);
        }
        // A future sprint may have a date for its start already.
        if state != "future" && recent(sprint.start) {
            signals.push(normalize::sprint_started(&scene, &sprint, raw, at)?);
        }
        if state == "closed" && recent(sprint.complete) {
            signals.push(normalize::sprint_closed(&scene, &sprint, raw, at)?);
        }
        Ok::<_, WireError>(signals)
    };
    for raw in &page.values {
        told.take(raw, facts(raw));
    }
    let more = !page.is_last && !page.values.is_empty();
    cursor.start = if more {
        cursor.start.saturating_add(page.values.len())
    } else {
        0
    };
    Ok(SyncPage {
        more,
        ..told.page(save_cursor(&cursor)?)
    })
}
