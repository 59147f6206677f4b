//! Categories of statuses, and keys of issues.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{Call, Client};
use super::wire::{Issue, Status, rows};
use crate::connectors::{Access, ConnectorError};
use crate::http::Priority;
use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind};

/// Maximum ids in a search.
const MAX_IDS_PER_SEARCH: usize = 100;

/// Lists the site's statuses with their categories.
pub(super) async fn list_statuses(
    client: &Client,
    access: &Access,
    priority: Priority,
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    /// Readable rows; an unreadable one does not hide others.
    #[derive(Deserialize)]
    struct Statuses(#[serde(deserialize_with = "rows")] Vec<Status>);
    let call = Call {
        priority,
        ..Call::new(access, "list_statuses")
    };
    let response = client
        .get(&call, &["rest", "api", "3", "status"], &[])
        .await?;
    let Statuses(statuses) = response.json()?;
    client.record_cost(&call, statuses.len()).await;
    Ok(statuses
        .into_iter()
        .filter_map(|status| {
            let category = status.category.and_then(|category| category.key);
            Some(DirectoryEntry {
                key: DirectoryKey::new(DirectoryKind::Status, status.id?),
                name: status.name,
                detail: json!({ "category": category }),
            })
        })
        .collect())
}

/// Looks up keys at Jira. Keys that Jira does not know or does not disclose are omitted.
pub(super) async fn resolve_directory(
    client: &Client,
    access: &Access,
    keys: &[DirectoryKey],
    priority: Priority,
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    let mut found = Vec::new();
    if keys.iter().any(|key| key.kind == DirectoryKind::Status) {
        found.extend(list_statuses(client, access, priority).await?);
    }
    let issues: Vec<&str> = keys
        .iter()
        .filter(|key| key.kind == DirectoryKind::Issue)
        .map(|key| key.id.as_str())
        .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    for ids in issues.chunks(MAX_IDS_PER_SEARCH) {
        found.extend(find_issues(client, access, ids, priority).await?);
    }
    Ok(found)
}

async fn find_issues(
    client: &Client,
    access: &Access,
    ids: &[&str],
    priority: Priority,
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(deserialize_with = "rows")]
        issues: Vec<Issue>,
    }
    let call = Call {
        priority,
        ..Call::new(access, "find_issues")
    };
    let body = json!({
        "jql": format!("id in ({})", ids.join(", ")),
        "fields": ["summary", "project"],
        "maxResults": MAX_IDS_PER_SEARCH,
    });
    let path = ["rest", "api", "3", "search", "jql"];
    let response = match client.send_json(&call, Method::POST, &path, &body).await {
        Ok(response) => response,
        Err(error) => match error.cause {
            // One unknown id makes the whole search fail.
            ConnectorError::Permanent(_) | ConnectorError::Denied { .. } => return Ok(Vec::new()),
            other => return Err(other),
        },
    };
    let page: Page = response.json()?;
    client.record_cost(&call, page.issues.len()).await;
    Ok(page
        .issues
        .into_iter()
        .filter_map(|issue| {
            let fields = issue.fields.unwrap_or_default();
            let project = fields.project.unwrap_or_default();
            Some(DirectoryEntry {
                key: DirectoryKey::new(DirectoryKind::Issue, issue.id?),
                name: issue.key,
                detail: json!({
                    "summary": fields.summary,
                    "project": { "id": project.id, "key": project.key, "name": project.name },
                }),
            })
        })
        .collect())
}
