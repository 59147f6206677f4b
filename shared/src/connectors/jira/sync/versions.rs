//! A project's versions. Jira says neither when one was created nor when it was released, only the
//! day that was planned for its release.
//!
//! So a version counts as older than the floor where it has been released, and that day is not one
//! since the floor. Every other version is a fact of the first look, dated by its receipt; later
//! looks find what has come since.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::jira::client::Client;
use crate::connectors::jira::normalize::{self, Scene};
use crate::connectors::jira::wire::{Version, WireError, read};
use crate::connectors::support::{PageContent, load_cursor, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

const PAGE: u32 = 100;

/// What is known of a project's versions.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Whether they were all seen once.
    #[serde(default)]
    looked: bool,
    known: BTreeSet<String>,
    released: BTreeSet<String>,
    /// Where the walk is; zero between runs.
    #[serde(default)]
    start: usize,
}

/// One page of versions.
pub(super) async fn page(
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
    let answer = client.get(&call, &path, &query).await?;
    let page: Page = answer.json()?;
    client.spent(&call, page.values.len()).await;
    let scene = Scene {
        account: &request.access.account,
        directory: &request.directory,
    };
    let mut told = PageContent::default();
    let floor = request.floor().date_naive();
    let mut facts = |raw: &RawValue| {
        let mut signals = Vec::new();
        let version: Version = read("version", raw)?;
        let id = version.id.clone().ok_or(WireError::Missing("version.id"))?;
        let (is_released, at) = (version.released == Some(true), request.until);
        let day = version
            .release_date
            .as_deref()
            .and_then(|text| text.parse::<NaiveDate>().ok());
        let is_recent = cursor.looked || day.is_some_and(|day| day >= floor);
        if cursor.known.insert(id.clone()) && (is_recent || !is_released) {
            signals.push(normalize::version_created(&scene, &version, raw, at)?);
        }
        if is_released && cursor.released.insert(id) && is_recent {
            signals.push(normalize::version_released(&scene, &version, raw, at)?);
        }
        Ok::<_, WireError>(signals)
    };
    for raw in &page.values {
        told.take(raw, facts(raw));
    }
    let more = !page.is_last && !page.values.is_empty();
    cursor.start = if more {
        cursor.start.saturating_add(page.values.len())
    } else {
        0
    };
    cursor.looked |= !more;
    Ok(SyncPage {
        more,
        ..told.page(save_cursor(&cursor)?)
    })
}
