//! Search for the account's updates after the list of repositories.
//!
//! Reading a changed list costs a request, and webhooks deliver most changes anyway. Searches have
//! a separate limit (thirty per minute), so two of them, for issues and for pull requests, return
//! the updated repositories without cost, and the worker knows which updates the feed already has.
//! If a search fails, is incomplete or has too many results, all streams are read. GitHub's search
//! index lags, so a search overlaps with the previous ones.
//!
//! Source: "REST API endpoints for search" at docs.github.com.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use url::Url;

use super::query_time;
use super::root_cursor::{self, Search};
use crate::connectors::cursor::{earlier, save_cursor};
use crate::connectors::github::client::{ApiError, Call, Client, PER_PAGE, Response};
use crate::connectors::{ConnectorError, ObservedUpdate, ObservedUpdates, SyncPage, SyncRequest};

/// Qualifiers of the two searches. GitHub requires apps to search for one type at a time.
const SEARCHES: [&str; 2] = ["is:issue", "is:pull-request"];
/// Kinds of streams that the searches cover.
const KINDS: &[&str] = &[
    root_cursor::ISSUES,
    root_cursor::ISSUE_COMMENTS,
    root_cursor::PULLS,
    root_cursor::REVIEW_COMMENTS,
];
/// Overlap with the previous search.
const OVERLAP: Duration = Duration::minutes(10);
/// Maximum number of results that GitHub returns for a search.
const MAX_RESULTS: u64 = 1000;

#[derive(Deserialize)]
struct Results {
    total_count: u64,
    #[serde(default, rename = "incomplete_results")]
    is_incomplete: bool,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    number: u64,
    updated_at: DateTime<Utc>,
    repository_url: String,
}

impl Search {
    /// Begins a search for the updates since the previous one.
    pub(super) fn begin(searched_through: DateTime<Utc>) -> Self {
        Self {
            since: earlier(searched_through, OVERLAP),
            step: 0,
            next: None,
            updates: BTreeMap::new(),
        }
    }
}

/// Reads a page of results.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
    cursor: root_cursor::Cursor,
    mut search: Search,
) -> Result<SyncPage, ApiError> {
    let response = match request_page(client, request, &search).await {
        Ok(response) => response,
        // Without the search, all streams are read.
        Err(error) if !matches!(error.cause, ConnectorError::RateLimited { .. }) => {
            return end(request, cursor, None);
        }
        Err(limited) => return Err(limited),
    };
    let Ok(results) = response.json::<Results>() else {
        return end(request, cursor, None);
    };
    if results.is_incomplete || results.total_count > MAX_RESULTS {
        return end(request, cursor, None);
    }
    for item in results.items {
        let Some(name) = repository_name(&item.repository_url) else {
            return end(request, cursor, None);
        };
        let update = (item.number, item.updated_at.timestamp());
        search.updates.entry(name).or_default().push(update);
    }
    search.next = response.links().next.map(String::from);
    if search.next.is_none() {
        search.step += 1;
    }
    if search.step < SEARCHES.len() {
        return Ok(SyncPage {
            has_more: true,
            ..SyncPage::empty(save_cursor(&root_cursor::Cursor {
                search: Some(search),
                ..cursor
            })?)
        });
    }
    let updates = observed_updates(&cursor, &search);
    end(request, cursor, Some(updates))
}

async fn request_page(
    client: &Client,
    request: &SyncRequest,
    search: &Search,
) -> Result<Response, ApiError> {
    let url = if let Some(next) = &search.next {
        Url::parse(next)
            .ok()
            .filter(|url| client.is_api_url(url))
            .ok_or_else(|| ConnectorError::CursorExpired("the API's base URL has changed".into()))?
    } else {
        let mut url = client.api(&["search", "issues"]);
        let (account, qualifier) = (
            &request.access.account.name,
            SEARCHES.get(search.step).copied().unwrap_or_default(),
        );
        let since = query_time(search.since);
        url.query_pairs_mut()
            .append_pair(
                "q",
                &format!("user:{account} {qualifier} updated:>={since}"),
            )
            .append_pair("sort", "updated")
            .append_pair("order", "desc")
            .append_pair("per_page", PER_PAGE);
        url
    };
    let call = Call {
        priority: request.priority,
        ..Call::new(
            &request.access.account.id,
            "search_issues",
            &request.access.token,
        )
    };
    client.get(url, call).await
}

/// Returns the lower-case `owner/name` at the end of a repository's API URL.
fn repository_name(url: &str) -> Option<String> {
    let (rest, name) = url.rsplit_once('/')?;
    let (_, owner) = rest.rsplit_once('/')?;
    let is_named = !owner.is_empty() && !name.is_empty();
    is_named.then(|| format!("{owner}/{name}").to_lowercase())
}

/// Returns the updates of repositories that the installation covers.
fn observed_updates(cursor: &root_cursor::Cursor, search: &Search) -> ObservedUpdates {
    let mut updates = Vec::new();
    for (name, rows) in &search.updates {
        let Some(id) = cursor.repositories.get(name) else {
            continue;
        };
        for (number, seconds) in rows {
            updates.extend(DateTime::from_timestamp(*seconds, 0).map(|updated_at| {
                ObservedUpdate {
                    resource_id: id.to_string(),
                    subject_key: format!("{name}#{number}"),
                    updated_at,
                }
            }));
        }
    }
    ObservedUpdates {
        kinds: KINDS,
        since: search.since,
        updates,
    }
}

/// Builds the last page of the root stream.
fn end(
    request: &SyncRequest,
    cursor: root_cursor::Cursor,
    updates: Option<ObservedUpdates>,
) -> Result<SyncPage, ApiError> {
    Ok(SyncPage {
        updates,
        ..SyncPage::empty(save_cursor(&root_cursor::Cursor {
            searched_through: Some(request.upper_bound),
            listed: cursor.listed,
            ..root_cursor::Cursor::default()
        })?)
    })
}
