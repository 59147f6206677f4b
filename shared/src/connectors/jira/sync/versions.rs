//! A project's versions. Jira does not say when one was created, so those that are there at the
//! first look are taken as known, and new ones are told from then on.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::jira::client::Client;
use crate::connectors::jira::normalize::{self, Scene};
use crate::connectors::jira::wire::{Version, read};
use crate::connectors::support::{load_cursor, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

const PAGE: &str = "100";

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
    let query = [
        ("startAt", start.as_str()),
        ("maxResults", PAGE),
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
    let mut signals = Vec::new();
    for raw in &page.values {
        let version: Version = read("version", raw)?;
        let Some(id) = version.id.clone() else {
            continue;
        };
        if cursor.known.insert(id.clone()) && cursor.looked {
            let at = request.until;
            signals.push(normalize::version_created(&scene, &version, raw, at)?);
        }
        if version.released == Some(true) && cursor.released.insert(id) {
            let day = version
                .release_date
                .as_deref()
                .and_then(|text| text.parse::<NaiveDate>().ok());
            if cursor.looked || day.is_some_and(|day| day >= request.horizon.date_naive()) {
                let at = request.until;
                signals.push(normalize::version_released(&scene, &version, raw, at)?);
            }
        }
    }
    let more = !page.is_last && !page.values.is_empty();
    cursor.start = if more {
        cursor.start.saturating_add(page.values.len())
    } else {
        0
    };
    cursor.looked |= !more;
    Ok(SyncPage {
        signals,
        more,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}
