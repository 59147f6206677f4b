//! Stream of a project's versions.
//!
//! Jira has no times of creation and release, only the planned release date. So the first pass
//! skips released versions unless that date is after the floor, and emits all others with the time
//! of receipt. Later passes emit changes.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::jira::client::Client;
use crate::connectors::jira::normalize::{self, NormalizeContext};
use crate::connectors::jira::wire::{Version, WireError, read};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

const PAGE: u32 = 100;

/// Known versions of a project, and the position in the list.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Whether the first pass is complete.
    #[serde(default)]
    is_initialized: bool,
    known: BTreeSet<String>,
    released: BTreeSet<String>,
    /// Offset of the next page; zero between runs.
    #[serde(default)]
    start: usize,
}

/// Reads a page of versions.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    project: &str,
) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        values: Vec<Box<RawValue>>,
        #[serde(default, rename = "isLast")]
        is_last: bool,
    }
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    let call = call(request, "list_versions");
    let start = cursor.start.to_string();
    let limit = request.page_size(PAGE).to_string();
    let query = [
        ("startAt", start.as_str()),
        ("maxResults", limit.as_str()),
        ("orderBy", "sequence"),
    ];
    let path = ["rest", "api", "3", "project", project, "version"];
    let response = client.get(&call, &path, &query).await?;
    let page: Page = response.json()?;
    client.record_cost(&call, page.values.len()).await;
    let context = NormalizeContext {
        account: &request.access.account,
        directory: &request.directory,
    };
    let mut normalized = PageContent::default();
    let floor = request.floor().date_naive();
    let mut facts = |raw: &RawValue| {
        let mut signals = Vec::new();
        let version: Version = read("version", raw)?;
        let id = version.id.clone().ok_or(WireError::Missing("version.id"))?;
        let (is_released, at) = (version.released == Some(true), request.upper_bound);
        let day = version
            .release_date
            .as_deref()
            .and_then(|text| text.parse::<NaiveDate>().ok());
        let is_recent = cursor.is_initialized || day.is_some_and(|day| day >= floor);
        if cursor.known.insert(id.clone()) && (is_recent || !is_released) {
            signals.push(normalize::version_created(&context, &version, raw, at)?);
        }
        if is_released && cursor.released.insert(id) && is_recent {
            signals.push(normalize::version_released(&context, &version, raw, at)?);
        }
        Ok::<_, WireError>(signals)
    };
    for raw in &page.values {
        normalized.take(raw, facts(raw));
    }
    let has_more = !page.is_last && !page.values.is_empty();
    cursor.start = if has_more {
        cursor.start.saturating_add(page.values.len())
    } else {
        0
    };
    cursor.is_initialized |= !has_more;
    Ok(SyncPage {
        has_more,
        ..normalized.into_page(save_cursor(&cursor)?)
    })
}
