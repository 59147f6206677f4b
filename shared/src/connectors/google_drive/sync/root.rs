//! Root stream: shared drives, each with a stream and a subscription.
//!
//! While the grant lacks the scope of the list, no stream is retired, and one shows the denial.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{DRIVE, FILES, SHARED_DRIVES};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::google::{ApiError, Call, Client};
use crate::connectors::google_drive::client::{LIST, READONLY, call, expired_token, url};
use crate::connectors::google_drive::directory;
use crate::connectors::google_drive::wire::{Drive, WireError, read};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{ConnectorError, MissingScope, SyncPage, SyncRequest};
use crate::model::{DirectoryEntry, StreamSpec, SubscriptionSpec};

const PAGE: u32 = 100;

/// Position in the list.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Token of the next page.
    #[serde(default)]
    page: Option<String>,
    /// Whether this pass has an unreadable row.
    #[serde(default)]
    is_partial: bool,
}

#[derive(Deserialize)]
struct Page {
    drives: Vec<Box<RawValue>>,
    #[serde(default, rename = "nextPageToken")]
    next: Option<String>,
}

/// The streams of a grant that is not asked for shared drives.
pub(super) fn read_files(has_pushes: bool) -> Result<SyncPage, ConnectorError> {
    let streams = [FILES.to_owned()];
    Ok(SyncPage {
        streams: specs(&streams),
        subscriptions: subscriptions(&streams, has_pushes),
        ..SyncPage::empty(save_cursor(&Cursor::default())?)
    })
}

/// Reads a page of shared drives.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    has_pushes: bool,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    let mut streams = Vec::new();
    if cursor.page.is_none() {
        streams.push(FILES.to_owned());
    }
    let size = request.page_size(PAGE);
    let page = match list(client, request, cursor.page.as_deref(), size).await {
        Ok(page) => page,
        Err(error) if is_withheld(&error.cause) => {
            streams.push(SHARED_DRIVES.to_owned());
            return Ok(SyncPage {
                streams: specs(&streams),
                subscriptions: subscriptions(&streams, has_pushes),
                is_list_partial: true,
                ..SyncPage::empty(save_cursor(&Cursor::default())?)
            });
        }
        Err(error) if cursor.page.is_some() => return Err(expired_token(error)),
        Err(error) => return Err(error.into()),
    };
    let mut unreadable = UnreadableRows::default();
    let mut directory_updates: Vec<DirectoryEntry> = Vec::new();
    for raw in &page.drives {
        if let Some((id, name)) = unreadable.take(raw, read_drive(raw)) {
            streams.push(stream_of(&id));
            directory_updates.push(directory::entry(id, name));
        }
    }
    cursor.is_partial |= !unreadable.is_empty();
    request.directory.add(directory_updates.iter().cloned());
    let unreadable_rows = unreadable.into_rows();
    let has_more = page.next.is_some();
    let is_list_partial = cursor.is_partial;
    let next = if has_more {
        Cursor {
            page: page.next,
            ..cursor
        }
    } else {
        Cursor::default()
    };
    Ok(SyncPage {
        has_more,
        streams: specs(&streams),
        subscriptions: subscriptions(&streams, has_pushes),
        is_list_partial,
        directory_updates,
        unreadable_rows,
        ..SyncPage::empty(save_cursor(&next)?)
    })
}

/// Whether the grant lacks the scope of the list.
fn is_withheld(error: &ConnectorError) -> bool {
    match error {
        ConnectorError::Denied { source, .. } => source.is::<MissingScope>(),
        _ => false,
    }
}

/// Reads the stream that exists while the list is denied.
pub(super) async fn check_list(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    list(client, request, None, 1).await?;
    Ok(SyncPage::empty(json!({})))
}

async fn list(
    client: &Client,
    request: &SyncRequest,
    page: Option<&str>,
    size: u32,
) -> Result<Page, ApiError> {
    let call = Call {
        scope: READONLY,
        priority: request.priority,
        ..call(&request.access, "list_drives", LIST)
    };
    let size = size.to_string();
    let fields = format!("nextPageToken,drives({})", directory::FIELDS);
    let mut query = vec![("pageSize", size.as_str()), ("fields", fields.as_str())];
    query.extend(page.map(|page| ("pageToken", page)));
    let response = client.get(&call, url(client, &["drives"]), &query).await?;
    Ok(response.json()?)
}

/// Reads a drive's id and name.
fn read_drive(raw: &RawValue) -> Result<(String, Option<String>), WireError> {
    let drive: Drive = read("drive", raw)?;
    let id = drive.id.ok_or(WireError::Missing("drive.id"))?;
    Ok((id, drive.name))
}

fn stream_of(drive: &str) -> String {
    format!("{DRIVE}{drive}")
}

fn specs(streams: &[String]) -> Vec<StreamSpec> {
    let spec = |key: &String| StreamSpec {
        key: key.clone(),
        resource_id: None,
        target: Value::Null,
    };
    streams.iter().map(spec).collect()
}

/// A subscription for each stream that is a log of changes.
fn subscriptions(streams: &[String], has_pushes: bool) -> Vec<SubscriptionSpec> {
    let watched = streams.iter();
    watched
        .filter(|key| has_pushes && *key != SHARED_DRIVES)
        .map(|key| SubscriptionSpec {
            resource: key.clone(),
            target: Value::Null,
        })
        .collect()
}
