//! Worklogs by the time of their last change. Jira leaves out the last minute.

use chrono::{TimeZone, Utc};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{OVERLAP, call, with_directory};
use crate::connectors::jira::client::Client;
use crate::connectors::jira::normalize;
use crate::connectors::jira::wire::{Worklog, read};
use crate::connectors::support::{load_cursor, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

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
        values: Vec<One>,
        until: Option<i64>,
        #[serde(default, rename = "lastPage")]
        last_page: bool,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(rename = "worklogId")]
        id: u64,
    }
    let floor = request.horizon.timestamp_millis();
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

    let mut worklogs: Vec<(Worklog, Box<RawValue>)> = Vec::new();
    if !updated.values.is_empty() {
        let ids: Vec<u64> = updated.values.iter().map(|one| one.id).collect();
        let call_list = call(request, "list_worklogs");
        let path = ["rest", "api", "3", "worklog", "list"];
        let answer = client
            .put(&call_list, Method::POST, &path, &json!({ "ids": ids }))
            .await?;
        let rows: Vec<Box<RawValue>> = answer.json()?;
        client.spent(&call_list, rows.len()).await;
        for raw in rows {
            worklogs.push((read("worklog", &raw)?, raw));
        }
    }
    let floor = Utc
        .timestamp_millis_opt(cursor.floor)
        .single()
        .unwrap_or_default();
    worklogs.retain(|(worklog, _)| worklog.created.is_some_and(|created| created.0 >= floor));
    let (signals, learned) = with_directory(client, request, |scene| {
        worklogs
            .iter()
            .map(|(worklog, raw)| normalize::worked(scene, worklog, raw, request.until))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ConnectorError::from)
    })
    .await?;
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
        signals,
        more,
        learned,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}
