//! The root stream: projects, statuses, boards.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ISSUES, SPRINTS, VERSIONS, WORKLOGS, call};
use crate::connectors::jira::client::Client;
use crate::connectors::jira::wire::Project;
use crate::connectors::jira::{names, subscriptions};
use crate::connectors::support::{load_cursor, save_cursor};
use crate::connectors::{ConnectorError, StreamSpec, SyncPage, SyncRequest};

const PAGE: &str = "50";

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
struct Page<T> {
    values: Vec<T>,
    #[serde(default, rename = "isLast")]
    is_last: bool,
}

#[derive(Deserialize)]
struct Board {
    id: u64,
    #[serde(default, rename = "type")]
    kind: String,
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
        learned = names::statuses(client, &request.access, request.bulk).await?;
        request.directory.add(learned.iter().cloned());
        streams.extend([ISSUES, WORKLOGS].map(|name| stream(name.to_owned(), None)));
    }
    let call = call(request, "list_projects");
    let start = cursor.start.to_string();
    let query = [
        ("startAt", start.as_str()),
        ("maxResults", PAGE),
        ("orderBy", "key"),
    ];
    let path = ["rest", "api", "3", "project", "search"];
    let answer = client.get(&call, &path, &query).await?;
    let page: Page<Project> = answer.json()?;
    client.spent(&call, page.values.len()).await;
    for project in &page.values {
        if let (Some(id), Some(key)) = (&project.id, &project.key) {
            streams.push(stream(format!("{VERSIONS}{id}"), Some(id.clone())));
            cursor.keys.push(key.clone());
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
        more: true,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

async fn boards(
    client: &Client,
    request: &SyncRequest,
    mut cursor: Cursor,
) -> Result<SyncPage, ConnectorError> {
    let call = call(request, "list_boards");
    let start = cursor.start.to_string();
    let query = [("startAt", start.as_str()), ("maxResults", PAGE)];
    let path = ["rest", "agile", "1.0", "board"];
    let page: Page<Board> = match client.get(&call, &path, &query).await {
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
    let streams = page
        .values
        .iter()
        // Only these have sprints.
        .filter(|board| board.kind != "kanban")
        .map(|board| stream(format!("{SPRINTS}{}", board.id), None))
        .collect();
    if page.is_last || page.values.is_empty() {
        return Ok(SyncPage {
            streams,
            subscriptions: subscriptions::over(cursor.keys),
            ..SyncPage::empty(save_cursor(&Cursor::default())?)
        });
    }
    cursor.start = cursor.start.saturating_add(page.values.len());
    Ok(SyncPage {
        streams,
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
