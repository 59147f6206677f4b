//! The root stream: projects, statuses, boards.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{ISSUES, SPRINTS, VERSIONS, WORKLOGS, call};
use crate::connectors::jira::client::Client;
use crate::connectors::jira::wire::{Project, WireError, read};
use crate::connectors::jira::{names, subscriptions};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::support::{load_cursor, save_cursor};
use crate::connectors::{ConnectorError, StreamSpec, SyncPage, SyncRequest};

const PAGE: u32 = 50;

/// Where the walk is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Keys of the projects seen, which the subscription is over.
    keys: Vec<String>,
    /// Where the present list goes on.
    start: usize,
    /// Whether the projects are done and the boards are read.
    boards: bool,
}

#[derive(Deserialize)]
struct Page {
    values: Vec<Box<RawValue>>,
    #[serde(default, rename = "isLast")]
    is_last: bool,
}

#[derive(Deserialize)]
struct Board {
    id: u64,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// One page of projects or boards.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    if cursor.boards {
        boards(client, request, cursor).await
    } else {
        projects(client, request, cursor).await
    }
}

async fn projects(
    client: &Client,
    request: &SyncRequest,
    mut cursor: Cursor,
) -> Result<SyncPage, ConnectorError> {
    let mut learned = Vec::new();
    let mut streams = Vec::new();
    if cursor.start == 0 {
        learned = names::statuses(client, &request.access, request.priority).await?;
        request.directory.add(learned.iter().cloned());
        streams.extend([ISSUES, WORKLOGS].map(|name| stream(name.to_owned(), None)));
    }
    let call = call(request, "list_projects");
    let start = cursor.start.to_string();
    let limit = request.page_size(PAGE).to_string();
    let query = [
        ("startAt", start.as_str()),
        ("maxResults", limit.as_str()),
        ("orderBy", "key"),
    ];
    let path = ["rest", "api", "3", "project", "search"];
    let answer = client.get(&call, &path, &query).await?;
    let page: Page = answer.json()?;
    client.spent(&call, page.values.len()).await;
    let mut unreadable = UnreadableRows::default();
    for raw in &page.values {
        if let Some((id, key)) = unreadable.take(raw, project(raw)) {
            streams.push(stream(format!("{VERSIONS}{id}"), Some(id)));
            cursor.keys.push(key);
        }
    }
    if page.is_last || page.values.is_empty() {
        cursor.boards = true;
        cursor.start = 0;
    } else {
        cursor.start = cursor.start.saturating_add(page.values.len());
    }
    Ok(SyncPage {
        streams,
        learned,
        unreadable_rows: unreadable.into_rows(),
        more: true,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

/// A project's id and key.
fn project(raw: &RawValue) -> Result<(String, String), WireError> {
    let project: Project = read("project", raw)?;
    let id = project.id.ok_or(WireError::Missing("project.id"))?;
    let key = project.key.ok_or(WireError::Missing("project.key"))?;
    Ok((id, key))
}

async fn boards(
    client: &Client,
    request: &SyncRequest,
    mut cursor: Cursor,
) -> Result<SyncPage, ConnectorError> {
    let call = call(request, "list_boards");
    let start = cursor.start.to_string();
    let limit = request.page_size(PAGE).to_string();
    let query = [("startAt", start.as_str()), ("maxResults", limit.as_str())];
    let path = ["rest", "agile", "1.0", "board"];
    let page: Page = match client.get(&call, &path, &query).await {
        Ok(answer) => answer.json()?,
        Err(refusal) => match refusal.error {
            // A site without Jira Software, or a grant without its scopes, has no boards.
            ConnectorError::Permission(_) | ConnectorError::Permanent(_) => Page {
                values: Vec::new(),
                is_last: true,
            },
            other => return Err(other),
        },
    };
    client.spent(&call, page.values.len()).await;
    let mut unreadable = UnreadableRows::default();
    let streams = unreadable
        .read_all(page.values.iter().map(AsRef::as_ref), |raw| {
            read::<Board>("board", raw)
        })
        .into_iter()
        // Only these have sprints.
        .filter(|(board, _)| board.kind.as_deref() != Some("kanban"))
        .map(|(board, _)| stream(format!("{SPRINTS}{}", board.id), None))
        .collect();
    let unreadable_rows = unreadable.into_rows();
    if page.is_last || page.values.is_empty() {
        return Ok(SyncPage {
            streams,
            unreadable_rows,
            subscriptions: subscriptions::over(cursor.keys),
            ..SyncPage::empty(save_cursor(&Cursor::default())?)
        });
    }
    cursor.start = cursor.start.saturating_add(page.values.len());
    Ok(SyncPage {
        streams,
        unreadable_rows,
        more: true,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

fn stream(key: String, project: Option<String>) -> StreamSpec {
    StreamSpec {
        key,
        resource_id: project,
        target: json!({}),
    }
}
