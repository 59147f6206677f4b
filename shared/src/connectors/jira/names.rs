//! What statuses mean, and which issues numbers stand for.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{Call, Client};
use super::wire::{Issue, Status, rows};
use crate::connectors::{Access, ConnectorError, DirectoryEntry, DirectoryKey, DirectoryKind};
use crate::http::Priority;

/// Issues that one question may name.
const AT_ONCE: usize = 100;

/// Every status of the site, with what it means.
pub(super) async fn statuses(
    client: &Client,
    access: &Access,
    priority: Priority,
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    /// Those that can be read: one that cannot hides no other.
    #[derive(Deserialize)]
    struct Statuses(#[serde(deserialize_with = "rows")] Vec<Status>);
    let call = Call {
        priority,
        ..Call::new(access, "list_statuses")
    };
    let answer = client
        .get(&call, &["rest", "api", "3", "status"], &[])
        .await?;
    let Statuses(statuses) = answer.json()?;
    client.spent(&call, statuses.len()).await;
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

/// Asks Jira. What it does not know or may not tell is left out.
pub(super) async fn look_up(
    client: &Client,
    access: &Access,
    keys: &[DirectoryKey],
    priority: Priority,
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    let mut found = Vec::new();
    if keys.iter().any(|key| key.kind == DirectoryKind::Status) {
        found.extend(statuses(client, access, priority).await?);
    }
    let issues: Vec<&str> = keys
        .iter()
        .filter(|key| key.kind == DirectoryKind::Issue)
        .map(|key| key.id.as_str())
        .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    for some in issues.chunks(AT_ONCE) {
        found.extend(find(client, access, some, priority).await?);
    }
    Ok(found)
}

async fn find(
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
        "maxResults": AT_ONCE,
    });
    let path = ["rest", "api", "3", "search", "jql"];
    let answer = match client.put(&call, Method::POST, &path, &body).await {
        Ok(answer) => answer,
        Err(refusal) => match refusal.error {
            // An id that is not there makes the whole question wrong.
            ConnectorError::Permanent(_) | ConnectorError::Permission(_) => return Ok(Vec::new()),
            other => return Err(other),
        },
    };
    let page: Page = answer.json()?;
    client.spent(&call, page.issues.len()).await;
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
