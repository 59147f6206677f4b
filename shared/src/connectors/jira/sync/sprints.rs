//! A board's sprints.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::jira::client::Client;
use crate::connectors::jira::normalize::{self, Scene};
use crate::connectors::jira::wire::{Moment, Sprint, read};
use crate::connectors::support::{load_cursor, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

const PAGE: &str = "50";

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
        floor: request.horizon,
        start: 0,
    });
    let call = call(request, "list_sprints");
    let start = cursor.start.to_string();
    let query = [
        ("startAt", start.as_str()),
        ("maxResults", PAGE),
        ("state", "active,future,closed"),
    ];
    let path = ["rest", "agile", "1.0", "board", board, "sprint"];
    let answer = match client.get(&call, &path, &query).await {
        Ok(answer) => answer,
        Err(refusal) => {
            return Err(match refusal.error {
                // A board without sprints: it is not asked again before the list changes.
                ConnectorError::Permanent(source) => ConnectorError::Permission(source),
                other => other,
            });
        }
    };
    let page: Page = answer.json()?;
    client.spent(&call, page.values.len()).await;
    let scene = Scene {
        account: &request.access.account,
        directory: &request.directory,
    };
    let mut signals = Vec::new();
    let floor = cursor.floor;
    let recent = |moment: Option<Moment>| moment.is_some_and(|moment| moment.0 >= floor);
    for raw in &page.values {
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
    }
    let more = !page.is_last && !page.values.is_empty();
    cursor.start = if more {
        cursor.start.saturating_add(page.values.len())
    } else {
        0
    };
    Ok(SyncPage {
        signals,
        more,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}
