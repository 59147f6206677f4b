//! Stream of a log of changes: the person's, or a shared drive's.
//!
//! Pages are found by tokens and never by time, because the times of files are the uploader's.
//! Several changes between two reads are one row with the latest state.
//!
//! Sources: "Retrieve changes" and "Search for files and folders" at developers.google.com.

use std::collections::HashSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::drive_of;
use crate::connectors::cursor::{load_cursor, part_before, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::google::{Call, Client};
use crate::connectors::google_drive::client::{LIST, READ, call, expired_token, url};
use crate::connectors::google_drive::directory;
use crate::connectors::google_drive::normalize::NormalizeContext;
use crate::connectors::google_drive::wire::{Change, File, WireError, read};
use crate::connectors::page::{self, PageContent};
use crate::connectors::{Access, ConnectorError, SyncPage, SyncRequest};
use crate::http::Priority;

const PAGE: u32 = 1_000;

/// Defines the fields of a file, for the fields of a row.
macro_rules! file_fields {
    () => {
        "id,name,mimeType,size,shortcutDetails,trashed,explicitlyTrashed,trashedTime,\
         trashingUser(displayName,emailAddress,permissionId),createdTime,modifiedTime,version,\
         headRevisionId,parents,driveId,shared,sharedWithMeTime,\
         sharingUser(displayName,emailAddress,permissionId),\
         owners(displayName,emailAddress,permissionId),\
         lastModifyingUser(displayName,emailAddress,permissionId),permissionIds,webViewLink"
    };
}

const LIST_FIELDS: &str = concat!("nextPageToken,files(", file_fields!(), ")");
const CHANGE_FIELDS: &str = concat!(
    "nextPageToken,newStartPageToken,changes(changeType,time,removed,fileId,driveId,file(",
    file_fields!(),
    "))"
);

/// Position of a stream.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Time before which nothing is reported.
    ///
    /// The lists are read down to it also after the token has expired, because the times of files are
    /// the uploader's, and a thousand files cost one call.
    floor: DateTime<Utc>,
    /// Token of the next page of the log; `None` in a reconciliation pass, which ends before it.
    token: Option<String>,
    /// The list that is read before the log.
    #[serde(default)]
    list: Option<List>,
}

/// Position in a list of files.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct List {
    kind: ListKind,
    /// Token of the next page.
    page: Option<String>,
}

/// A list of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ListKind {
    /// Files that were created or modified since the floor, the latest first.
    Recent,
    /// Files of others that were shared with the person, the latest first.
    SharedWithMe,
}

/// Reads a page of the lists, or of the log after them.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    drive: Option<&str>,
) -> Result<SyncPage, ConnectorError> {
    let cursor = match load_cursor(request)? {
        Some(cursor) => cursor,
        None => first_cursor(client, request, drive).await?,
    };
    match cursor.list.clone() {
        Some(list) => read_list(client, request, drive, cursor, list).await,
        None => read_log(client, request, drive, cursor).await,
    }
}

/// The position of a stream that was never read. The token is taken before the lists are read.
async fn first_cursor(
    client: &Client,
    request: &SyncRequest,
    drive: Option<&str>,
) -> Result<Cursor, ConnectorError> {
    let token = match request.reconcile_from {
        Some(_) => None,
        None => Some(start_token(client, &request.access, drive, request.priority).await?),
    };
    Ok(Cursor {
        floor: request.floor(),
        token,
        list: Some(List {
            kind: ListKind::Recent,
            page: None,
        }),
    })
}

/// Reads the token of the present end of a log.
pub(in super::super) async fn start_token(
    client: &Client,
    access: &Access,
    drive: Option<&str>,
    priority: Priority,
) -> Result<String, ConnectorError> {
    #[derive(Deserialize)]
    struct Start {
        #[serde(rename = "startPageToken")]
        token: String,
    }
    let call = Call {
        priority,
        ..call(access, "get_start_token", READ)
    };
    let mut query = vec![("supportsAllDrives", "true")];
    query.extend(drive.map(|drive| ("driveId", drive)));
    let url = url(client, &["changes", "startPageToken"]);
    let start: Start = client.get(&call, url, &query).await?.json()?;
    Ok(start.token)
}

async fn read_list(
    client: &Client,
    request: &SyncRequest,
    drive: Option<&str>,
    cursor: Cursor,
    list: List,
) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        files: Vec<Box<RawValue>>,
        #[serde(default, rename = "nextPageToken")]
        next: Option<String>,
    }
    let call = Call {
        priority: request.priority,
        ..call(&request.access, "list_files", LIST)
    };
    let floor = cursor.floor.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (condition, order) = match list.kind {
        ListKind::Recent => (
            format!("modifiedTime >= '{floor}' or createdTime >= '{floor}'"),
            "modifiedTime desc",
        ),
        ListKind::SharedWithMe => ("sharedWithMe".to_owned(), "sharedWithMeTime desc"),
    };
    let size = request.page_size(PAGE).to_string();
    let mut query = vec![
        ("q", condition.as_str()),
        ("orderBy", order),
        ("pageSize", size.as_str()),
        ("spaces", "drive"),
        ("supportsAllDrives", "true"),
        ("includeItemsFromAllDrives", "true"),
        ("fields", LIST_FIELDS),
    ];
    if let Some(drive) = drive {
        query.extend([("corpora", "drive"), ("driveId", drive)]);
    }
    query.extend(list.page.as_deref().map(|page| ("pageToken", page)));
    let url = url(client, &["files"]);
    let response = client.get(&call, url, &query).await;
    let response = response.map_err(|error| match list.page {
        Some(_) => expired_token(error),
        None => error.into(),
    })?;
    let page: Page = response.json()?;
    let rows: Vec<(Result<File, WireError>, &RawValue)> = page
        .files
        .iter()
        .map(|raw| (read("file", raw), raw.as_ref()))
        .collect();
    let files = || rows.iter().filter_map(|(file, _)| file.as_ref().ok());
    let is_past_floor = list.kind == ListKind::SharedWithMe
        && files().any(|file| {
            let shared = file.shared_with_me_time;
            shared.is_some_and(|at| at.0 < cursor.floor)
        });
    let oldest = files().filter_map(|file| Some(file.modified_time?.0)).min();
    let progress = match list.kind {
        ListKind::Recent => {
            let oldest = oldest.unwrap_or(cursor.floor);
            0.9 * (1.0 - part_before(oldest, cursor.floor, request.upper_bound))
        }
        ListKind::SharedWithMe => 0.9,
    };
    let content = with_names(client, request, &cursor, |context, content| {
        for (file, raw) in &rows {
            let signals = file.as_ref().map_err(Clone::clone);
            content.take(raw, signals.and_then(|file| context.file(file, raw)));
        }
    })
    .await?;
    let next_page = page.next.filter(|_| !is_past_floor);
    let next = match (next_page, list.kind) {
        (Some(page), kind) => Some(List {
            kind,
            page: Some(page),
        }),
        (None, ListKind::Recent) if drive.is_none() => Some(List {
            kind: ListKind::SharedWithMe,
            page: None,
        }),
        (None, _) => None,
    };
    let cursor = Cursor {
        list: next,
        ..cursor
    };
    Ok(SyncPage {
        has_more: cursor.list.is_some() || cursor.token.is_some(),
        progress,
        ..content.into_page(save_cursor(&cursor)?)
    })
}

async fn read_log(
    client: &Client,
    request: &SyncRequest,
    drive: Option<&str>,
    cursor: Cursor,
) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        changes: Vec<Box<RawValue>>,
        #[serde(default, rename = "nextPageToken")]
        next: Option<String>,
        /// Only on the last page.
        #[serde(default, rename = "newStartPageToken")]
        end: Option<String>,
    }
    let token = cursor.token.as_deref();
    let token = token.ok_or_else(|| permanent_error("the cursor has no token"))?;
    let call = Call {
        priority: request.priority,
        ..call(&request.access, "list_changes", LIST)
    };
    let size = request.page_size(PAGE).to_string();
    let mut query = vec![
        ("pageToken", token),
        ("pageSize", size.as_str()),
        ("includeRemoved", "true"),
        ("includeCorpusRemovals", "true"),
        ("supportsAllDrives", "true"),
        ("includeItemsFromAllDrives", "true"),
        ("spaces", "drive"),
        ("fields", CHANGE_FIELDS),
    ];
    query.extend(drive.map(|drive| ("driveId", drive)));
    let url = url(client, &["changes"]);
    let response = client.get(&call, url, &query).await;
    let page: Page = response.map_err(expired_token)?.json()?;
    let has_more = page.next.is_some();
    // The next page's token is a position like the last one's.
    let next = page.next.or(page.end);
    let next = next.ok_or_else(|| permanent_error("the page of changes has no token"))?;
    let rows: Vec<(Result<Change, WireError>, &RawValue)> = page
        .changes
        .iter()
        .map(|raw| (read("change", raw), raw.as_ref()))
        .collect();
    let content = with_names(client, request, &cursor, |context, content| {
        for (change, raw) in &rows {
            let signals = change.as_ref().map_err(Clone::clone);
            content.take(raw, signals.and_then(|change| context.change(change, raw)));
        }
    })
    .await?;
    let mut changes = rows.iter().filter_map(|(change, _)| change.as_ref().ok());
    let has_list_changed = changes.any(Change::is_of_drive);
    let cursor = Cursor {
        token: Some(next),
        ..cursor
    };
    Ok(SyncPage {
        has_more,
        has_list_changed,
        progress: 1.0,
        ..content.into_page(save_cursor(&cursor)?)
    })
}

/// Normalizes with the names of shared drives, and looks up missing ones.
async fn with_names(
    client: &Client,
    request: &SyncRequest,
    cursor: &Cursor,
    normalize: impl Fn(&NormalizeContext<'_>, &mut PageContent),
) -> Result<PageContent, ConnectorError> {
    let (account, names) = (&request.access.account, &request.directory);
    let context = NormalizeContext::new(account, names, cursor.floor)?;
    let context = context.in_drive(drive_of(&request.stream.key));
    page::with_directory(
        request,
        || {
            let mut page = PageContent::default();
            normalize(&context, &mut page);
            // A file may change, or move in the list, while a page is made.
            let mut seen = HashSet::new();
            let signals = &mut page.signals;
            signals.retain(|signal| seen.insert(signal.dedupe_key.clone()));
            page
        },
        async |missing| {
            directory::resolve_directory(client, &request.access, missing, request.priority)
                .await
                .map(Some)
        },
    )
    .await
}
