//! Stream of worklogs by the time of their last change. Jira omits the last minute.

use chrono::{TimeZone, Utc};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{OVERLAP, call, with_directory};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::jira::client::Client;
use crate::connectors::jira::normalize;
use crate::connectors::jira::wire::{WireError, Worklog, read};
use crate::connectors::page::PageContent;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::wire::{id, lenient};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Worklogs per request, which is Jira's maximum.
const PAGE: u32 = 1000;

/// Position in the site, in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The stream's floor: earlier worklogs are not emitted.
    floor: i64,
    /// Start of the next page.
    since: i64,
}

/// A changed worklog.
#[derive(Deserialize)]
struct Row {
    #[serde(default, rename = "worklogId", deserialize_with = "id")]
    id: Option<String>,
    #[serde(default, rename = "updatedTime", deserialize_with = "lenient")]
    updated: Option<i64>,
}

impl Row {
    /// Reads the id and the time of the change.
    fn read(raw: &RawValue) -> Result<(u64, Option<i64>), WireError> {
        let row: Self = read("worklogId", raw)?;
        let id = row.id.and_then(|id| id.parse().ok());
        Ok((id.ok_or(WireError::Missing("worklogId"))?, row.updated))
    }
}

/// Reads a page of worklogs.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Updated {
        values: Vec<Box<RawValue>>,
        #[serde(default, deserialize_with = "lenient")]
        until: Option<i64>,
        #[serde(default, rename = "lastPage", deserialize_with = "lenient")]
        last_page: Option<bool>,
    }
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or(Cursor {
        floor: request.floor().timestamp_millis(),
        since: request.read_from().timestamp_millis(),
    });
    let call_updated = call(request, "list_updated_worklogs");
    let since = cursor.since.to_string();
    let path = ["rest", "api", "3", "worklog", "updated"];
    let response = client
        .get(&call_updated, &path, &[("since", &since)])
        .await?;
    let updated: Updated = response.json()?;
    client
        .record_cost(&call_updated, updated.values.len())
        .await;

    let mut rows: Vec<Box<RawValue>> = Vec::new();
    let mut unreadable = UnreadableRows::default();
    let mut latest = None;
    let values = updated.values.iter().map(AsRef::as_ref);
    let ids: Vec<u64> = unreadable
        .read_all(values, Row::read)
        .into_iter()
        .map(|((id, at), _)| {
            latest = latest.max(at);
            id
        })
        .collect();
    for ids in ids.chunks(usize::try_from(request.page_size(PAGE)).unwrap_or(1)) {
        let call_list = call(request, "list_worklogs");
        let path = ["rest", "api", "3", "worklog", "list"];
        let response = client
            .send_json(&call_list, Method::POST, &path, &json!({ "ids": ids }))
            .await?;
        let listed: Vec<Box<RawValue>> = response.json()?;
        client.record_cost(&call_list, listed.len()).await;
        rows.extend(listed);
    }
    let floor = Utc
        .timestamp_millis_opt(cursor.floor)
        .single()
        .unwrap_or_default();
    let mut content = with_directory(client, request, |context| {
        let facts = |raw: &RawValue| {
            let worklog: Worklog = read("worklog", raw)?;
            let created = worklog
                .created
                .ok_or(WireError::Missing("worklog.created"))?;
            if created.0 < floor {
                return Ok(Vec::new());
            }
            normalize::work_logged(context, &worklog, raw, request.upper_bound)
                .map(|signal| vec![signal])
        };
        let mut content = PageContent::default();
        for raw in &rows {
            content.take(raw, facts(raw));
        }
        content
    })
    .await?;
    content.unreadable.extend(unreadable);
    let has_more = updated.last_page != Some(true) && !updated.values.is_empty();
    let reached = updated.until.or(latest).unwrap_or(cursor.since);
    if has_more && reached <= cursor.since {
        return Err(permanent_error(
            "the list of changed worklogs does not advance",
        ));
    }
    cursor.since = if has_more {
        reached
    } else {
        // The overlap repeats worklogs, whose dedupe keys are the same.
        reached
            .min(request.upper_bound.timestamp_millis())
            .saturating_sub(OVERLAP.num_milliseconds())
            .max(cursor.since)
    };
    Ok(SyncPage {
        has_more,
        ..content.into_page(save_cursor(&cursor)?)
    })
}
