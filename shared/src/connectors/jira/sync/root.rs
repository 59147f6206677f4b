//! The root stream: projects, statuses, boards.
//!
//! A list that is refused or has a row that cannot be read does not say what is gone. A project
//! that cannot be read makes the pass partial. Boards that are denied stay as the last pass listed
//! them, and a stream of their list shows the denial.

use std::collections::BTreeSet;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{BOARDS, ISSUES, SPRINTS, VERSIONS, WORKLOGS, call};
use crate::connectors::jira::client::{Answer, Call, Client, Refusal};
use crate::connectors::jira::wire::{Project, WireError, read};
use crate::connectors::jira::{names, subscriptions};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::support::{load_cursor, save_cursor};
use crate::connectors::{ConnectorError, StreamSpec, SyncPage, SyncRequest, UnreadableRow};

const PAGE: u32 = 50;

/// Where the walk is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Keys of the projects seen, which the subscription is over.
    #[serde(default)]
    keys: BTreeSet<String>,
    /// Boards with sprints that were seen.
    #[serde(default)]
    board_ids: BTreeSet<u64>,
    /// Where the present list goes on.
    #[serde(default)]
    start: usize,
    /// Whether the projects are done and the boards are read.
    #[serde(default)]
    boards: bool,
    /// Whether a row of this pass could not be read.
    #[serde(default)]
    is_partial: bool,
    /// Keys of the projects that the last pass listed.
    #[serde(default)]
    known_keys: BTreeSet<String>,
    /// Boards with sprints that the last pass listed.
    #[serde(default)]
    known_board_ids: BTreeSet<u64>,
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
            cursor.keys.insert(key);
        }
    }
    cursor.is_partial |= !unreadable.is_empty();
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
    let answer = match list_boards(client, &call, cursor.start, request.page_size(PAGE)).await {
        Ok(answer) => answer,
        Err(refusal) => return denied_boards(cursor, refusal),
    };
    let page: Page = answer.json()?;
    client.spent(&call, page.values.len()).await;
    let mut unreadable = UnreadableRows::default();
    let mut found = unreadable.read_all(page.values.iter().map(AsRef::as_ref), |raw| {
        read::<Board>("board", raw)
    });
    // Only these have sprints.
    found.retain(|(board, _)| board.kind.as_deref() != Some("kanban"));
    cursor
        .board_ids
        .extend(found.iter().map(|(board, _)| board.id));
    cursor.is_partial |= !unreadable.is_empty();
    let streams = found
        .iter()
        .map(|(board, _)| sprints_of(board.id))
        .collect();
    let unreadable_rows = unreadable.into_rows();
    if page.is_last || page.values.is_empty() {
        return end(cursor, streams, unreadable_rows);
    }
    cursor.start = cursor.start.saturating_add(page.values.len());
    Ok(SyncPage {
        streams,
        unreadable_rows,
        more: true,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

/// The end of a pass whose list of boards is refused: the boards of the last pass stay.
fn denied_boards(mut cursor: Cursor, refusal: Refusal) -> Result<SyncPage, ConnectorError> {
    // A site without Jira Software has no such list, and has had no boards.
    if refusal.status == Some(StatusCode::NOT_FOUND) && cursor.known_board_ids.is_empty() {
        return end(cursor, Vec::new(), Vec::new());
    }
    match refusal.error {
        ConnectorError::Permission(source) | ConnectorError::Permanent(source) => {
            tracing::warn!(
                error = &*source as &dyn std::error::Error,
                "list of boards denied, keeping the boards of the last pass"
            );
        }
        other => return Err(other),
    }
    let known = std::mem::take(&mut cursor.known_board_ids);
    cursor.board_ids.extend(known);
    let mut streams = vec![stream(BOARDS.to_owned(), None)];
    streams.extend(cursor.board_ids.iter().copied().map(sprints_of));
    end(cursor, streams, Vec::new())
}

/// The last page of a pass. A partial one keeps what the pass before it listed.
fn end(
    cursor: Cursor,
    streams: Vec<StreamSpec>,
    unreadable_rows: Vec<UnreadableRow>,
) -> Result<SyncPage, ConnectorError> {
    let Cursor {
        mut keys,
        mut board_ids,
        is_partial,
        known_keys,
        known_board_ids,
        ..
    } = cursor;
    if is_partial {
        keys.extend(known_keys);
        board_ids.extend(known_board_ids);
    }
    Ok(SyncPage {
        streams,
        unreadable_rows,
        is_list_partial: is_partial,
        subscriptions: subscriptions::over(keys.iter().cloned().collect()),
        ..SyncPage::empty(save_cursor(&Cursor {
            known_keys: keys,
            known_board_ids: board_ids,
            ..Cursor::default()
        })?)
    })
}

/// The stream of a list of boards that was denied: it is read as long as the denial lasts, which
/// it shows.
pub(super) async fn board_list(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let call = call(request, "list_boards");
    match list_boards(client, &call, 0, 1).await {
        Ok(_) => Ok(SyncPage::empty(json!({}))),
        Err(refusal) => Err(match refusal.error {
            ConnectorError::Permanent(source) => ConnectorError::Permission(source),
            other => other,
        }),
    }
}

async fn list_boards(
    client: &Client,
    call: &Call<'_>,
    start: usize,
    limit: u32,
) -> Result<Answer, Refusal> {
    let (start, limit) = (start.to_string(), limit.to_string());
    let query = [("startAt", start.as_str()), ("maxResults", limit.as_str())];
    client
        .get(call, &["rest", "agile", "1.0", "board"], &query)
        .await
}

fn sprints_of(board: u64) -> StreamSpec {
    stream(format!("{SPRINTS}{board}"), None)
}

fn stream(key: String, project: Option<String>) -> StreamSpec {
    StreamSpec {
        key,
        resource_id: project,
        target: json!({}),
    }
}
