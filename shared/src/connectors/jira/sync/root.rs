//! Root stream: projects, statuses and boards.
//!
//! A denied list, or one with an unreadable row, does not show which objects are gone. An
//! unreadable project makes the pass partial. If the list of boards is denied, the boards of the
//! last pass stay, and a stream shows the denial.

use std::collections::BTreeSet;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::list::{self, ListPage};
use super::{BOARDS, ISSUES, SPRINTS, VERSIONS, WORKLOGS, call};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::jira::client::{ApiError, Client};
use crate::connectors::jira::wire::{Project, WireError, read};
use crate::connectors::jira::{directory, subscriptions};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest, UnreadableRow};
use crate::model::StreamSpec;

const PAGE: u32 = 50;
/// Path of the list of boards.
const BOARD_LIST: [&str; 4] = ["rest", "agile", "1.0", "board"];

/// Position in the lists.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Keys of the listed projects, which the subscription covers.
    #[serde(default)]
    keys: BTreeSet<String>,
    /// Listed boards with sprints.
    #[serde(default)]
    board_ids: BTreeSet<u64>,
    /// Offset of the next page.
    #[serde(default)]
    start: usize,
    /// Whether the walk has reached the boards, after the projects.
    #[serde(default)]
    in_boards: bool,
    /// Whether this pass has an unreadable row.
    #[serde(default)]
    is_partial: bool,
    /// Whether the site has Jira Software, because one of its projects belongs to it.
    #[serde(default)]
    has_software: bool,
    /// Keys of the projects that the last pass listed.
    #[serde(default)]
    known_keys: BTreeSet<String>,
    /// Boards with sprints that the last pass listed.
    #[serde(default)]
    known_board_ids: BTreeSet<u64>,
}

#[derive(Deserialize)]
struct Board {
    id: u64,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// Reads a page of projects or boards.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    if cursor.in_boards {
        read_boards(client, request, cursor).await
    } else {
        read_projects(client, request, cursor).await
    }
}

async fn read_projects(
    client: &Client,
    request: &SyncRequest,
    mut cursor: Cursor,
) -> Result<SyncPage, ConnectorError> {
    let mut directory_updates = Vec::new();
    let mut streams = Vec::new();
    if cursor.start == 0 {
        directory_updates =
            directory::list_statuses(client, &request.access, request.priority).await?;
        request.directory.add(directory_updates.iter().cloned());
        streams.extend([ISSUES, WORKLOGS].map(|name| stream(name.to_owned(), None)));
    }
    let call = call(request, "list_projects");
    let path = ["rest", "api", "3", "project", "search"];
    let range = (cursor.start, request.page_size(PAGE));
    let order = Some(("orderBy", "key"));
    let response = list::request_page(client, &call, &path, range, order).await?;
    let page = ListPage::read(client, &call, &response).await?;
    let mut unreadable = UnreadableRows::default();
    for raw in page.rows() {
        if let Some(project) = unreadable.take(raw, read_project(raw)) {
            let ListedProject { id, key, product } = project;
            streams.push(stream(format!("{VERSIONS}{id}"), Some(id)));
            cursor.keys.insert(key);
            cursor.has_software |= product.as_deref() == Some("software");
        }
    }
    cursor.is_partial |= !unreadable.is_empty();
    let next = page.next_start(cursor.start);
    cursor.in_boards = next.is_none();
    cursor.start = next.unwrap_or_default();
    Ok(SyncPage {
        streams,
        directory_updates,
        unreadable_rows: unreadable.into_rows(),
        has_more: true,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

struct ListedProject {
    id: String,
    key: String,
    product: Option<String>,
}

fn read_project(raw: &RawValue) -> Result<ListedProject, WireError> {
    let project: Project = read("project", raw)?;
    Ok(ListedProject {
        id: project.id.ok_or(WireError::Missing("project.id"))?,
        key: project.key.ok_or(WireError::Missing("project.key"))?,
        product: project.product,
    })
}

async fn read_boards(
    client: &Client,
    request: &SyncRequest,
    mut cursor: Cursor,
) -> Result<SyncPage, ConnectorError> {
    let call = call(request, "list_boards");
    let range = (cursor.start, request.page_size(PAGE));
    let response = match list::request_page(client, &call, &BOARD_LIST, range, None).await {
        Ok(response) => response,
        Err(error) => return keep_boards(cursor, error),
    };
    let page = ListPage::read(client, &call, &response).await?;
    let mut unreadable = UnreadableRows::default();
    let mut found = unreadable.read_all(page.rows(), |raw| read::<Board>("board", raw));
    // Kanban boards have no sprints.
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
    let Some(next) = page.next_start(cursor.start) else {
        return finish(cursor, streams, unreadable_rows);
    };
    cursor.start = next;
    Ok(SyncPage {
        streams,
        unreadable_rows,
        has_more: true,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

/// Ends a pass whose list of boards is denied: the boards of the last pass are kept.
fn keep_boards(mut cursor: Cursor, error: ApiError) -> Result<SyncPage, ConnectorError> {
    // A site without Jira Software has no such list and never had boards.
    let has_software = cursor.has_software || !cursor.known_board_ids.is_empty();
    if error.status == Some(StatusCode::NOT_FOUND) && !has_software {
        return finish(cursor, Vec::new(), Vec::new());
    }
    match error.cause {
        ConnectorError::Denied { source, .. }
        | ConnectorError::Permanent(source)
        | ConnectorError::Unauthorized(source) => {
            tracing::warn!(
                provider = "jira",
                stream.key = super::ROOT,
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
    finish(cursor, streams, Vec::new())
}

/// The last page of a pass. A partial pass keeps the rows of the previous one.
fn finish(
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
        subscriptions: subscriptions::desired_subscriptions(keys.iter().cloned().collect()),
        ..SyncPage::empty(save_cursor(&Cursor {
            known_keys: keys,
            known_board_ids: board_ids,
            ..Cursor::default()
        })?)
    })
}

/// Reads the stream of a denied list of boards, which exists while the denial lasts.
pub(super) async fn read_board_list(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let call = call(request, "list_boards");
    match list::request_page(client, &call, &BOARD_LIST, (0, 1), None).await {
        Ok(_) => Ok(SyncPage::empty(json!({}))),
        Err(error) => Err(match error.cause {
            ConnectorError::Permanent(source) => ConnectorError::denied(source),
            other => other,
        }),
    }
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
