//! Worklogs by the time of their last change. Jira leaves out the last minute.

use chrono::{TimeZone, Utc};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{OVERLAP, call, with_directory};
use crate::connectors::jira::client::Client;
use crate::connectors::jira::normalize;
use crate::connectors::jira::wire::{WireError, Worklog, read};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::support::{PageContent, load_cursor, save_cursor};
use crate::connectors::wire::lenient;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Worklogs that are asked for at once, as many as Jira takes.
const PAGE: u32 = 1000;

/// How far the site has been read, in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Worklogs of before are never told.
    floor: i64,
    /// Changes since then are still to be read.
    since: i64,
}

/// One page of worklogs.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Updated {
        values: Vec<Box<RawValue>>,
        #[serde(default, deserialize_with = "lenient")]
        until: Option<i64>,
        #[serde(default, rename = "lastPage")]
        last_page: bool,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(rename = "worklogId")]
        id: u64,
    }
    let floor = request.floor().timestamp_millis();
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or(Cursor {
        floor,
        since: floor,
    });
    let call_updated = call(request, "list_updated_worklogs");
    let since = cursor.since.to_string();
    let path = ["rest", "api", "3", "worklog", "updated"];
    let answer = client
        .get(&call_updated, &path, &[("since", &since)])
        .await?;
    let updated: Updated = answer.json()?;
    client.spent(&call_updated, updated.values.len()).await;

    let mut rows: Vec<Box<RawValue>> = Vec::new();
    let mut unreadable = UnreadableRows::default();
    let ids: Vec<u64> = unreadable
        .read_all(updated.values.iter().map(AsRef::as_ref), |raw| {
            read::<One>("worklogId", raw)
        })
        .into_iter()
        .map(|(one, _)| one.id)
        .collect();
    for ids in ids.chunks(usize::try_from(request.page_size(PAGE)).unwrap_or(1)) {
        let call_list = call(request, "list_worklogs");
        let path = ["rest", "api", "3", "worklog", "list"];
        let answer = client
            .put(&call_list, Method::POST, &path, &json!({ "ids": ids }))
            .await?;
        let listed: Vec<Box<RawValue>> = answer.json()?;
        client.spent(&call_list, listed.len()).await;
        rows.extend(listed);
    }
    let floor = Utc
        .timestamp_millis_opt(cursor.floor)
        .single()
        .unwrap_or_default();
    let mut told = with_directory(client, request, |scene| {
        let worked = |raw: &RawValue| {
            let worklog: Worklog = read("worklog", raw)?;
            let created = worklog
                .created
                .ok_or(WireError::Missing("worklog.created"))?;
            if created.0 < floor {
                return Ok(Vec::new());
            }
            normalize::worked(scene, &worklog, raw, request.until).map(|signal| vec![signal])
        };
        let mut told = PageContent::default();
        for raw in &rows {
            told.take(raw, worked(raw));
        }
        told
    })
    .await?;
    told.unreadable.extend(unreadable);
    let more = !updated.last_page && !updated.values.is_empty();
    let reached = updated.until.unwrap_or(cursor.since);
    cursor.since = if more {
        reached
    } else {
        // What is found again is known by its key.
        reached
            .min(request.until.timestamp_millis())
            .saturating_sub(OVERLAP.num_milliseconds())
            .max(cursor.since)
    };
    Ok(SyncPage {
        more,
        ..told.page(save_cursor(&cursor)?)
    })
}
