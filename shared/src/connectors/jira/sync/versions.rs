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
use super::list::{self, ListPage};
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
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    let call = call(request, "list_versions");
    let path = ["rest", "api", "3", "project", project, "version"];
    let range = (cursor.start, request.page_size(PAGE));
    let order = Some(("orderBy", "sequence"));
    let response = list::request_page(client, &call, &path, range, order).await?;
    let page = ListPage::read(client, &call, &response).await?;
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
    for raw in page.rows() {
        normalized.take(raw, facts(raw));
    }
    let next = page.next_start(cursor.start);
    cursor.start = next.unwrap_or_default();
    cursor.is_initialized |= next.is_none();
    Ok(SyncPage {
        has_more: next.is_some(),
        ..normalized.into_page(save_cursor(&cursor)?)
    })
}
