//! One search over the account for what was updated, after the list of repositories.
//!
//! Reading a list that has changed costs a request, and a webhook has told most changes already.
//! Searches are limited by themselves (thirty a minute), so two of them, for issues and for pull
//! requests, tell at no cost which repositories have updates, and the worker knows which of these
//! the feed has. A search that fails, is incomplete, or finds more than GitHub shows says
//! nothing: everything is read then. The index lags, so a search looks back over the last ones.
//!
//! Source: "REST API endpoints for search" at docs.github.com.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{query_time, root};
use crate::connectors::github::client::{Answer, Call, Client, PER_PAGE, Refusal};
use crate::connectors::support::{earlier, save_cursor};
use crate::connectors::{ConnectorError, ObservedUpdate, ObservedUpdates, SyncPage, SyncRequest};

/// What is searched for, one after the other. An app has to say which of the two it wants.
const SEARCHES: [&str; 2] = ["is:issue", "is:pull-request"];
/// The streams on which such updates are.
const KINDS: &[&str] = &[
    root::ISSUES,
    root::ISSUE_COMMENTS,
    root::PULLS,
    root::REVIEW_COMMENTS,
];
/// How far a search looks back behind the end of the last one.
const OVERLAP: Duration = Duration::minutes(10);
/// Results that GitHub shows of a search.
const SHOWN: u64 = 1000;

/// A search under way.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Search {
    since: DateTime<Utc>,
    /// How many of [`SEARCHES`] are done.
    step: usize,
    /// The next page of it.
    #[serde(default)]
    next: Option<String>,
    /// By repository: number, and when it was updated, in seconds since 1970.
    #[serde(default)]
    updates: BTreeMap<String, Vec<(u64, i64)>>,
}

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
    /// Searches for what was updated since the last search, and some time before.
    pub(super) fn begin(searched_through: DateTime<Utc>) -> Self {
        Self {
            since: earlier(searched_through, OVERLAP),
            step: 0,
            next: None,
            updates: BTreeMap::new(),
        }
    }
}

/// One page of results.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
    cursor: root::Cursor,
    mut search: Search,
) -> Result<SyncPage, Refusal> {
    let answer = match ask(client, request, &search).await {
        Ok(answer) => answer,
        // Without it, everything is read.
        Err(refusal) if !matches!(refusal.error, ConnectorError::RateLimited { .. }) => {
            return end(request, None);
        }
        Err(limited) => return Err(limited),
    };
    let Ok(results) = answer.json::<Results>() else {
        return end(request, None);
    };
    if results.is_incomplete || results.total_count > SHOWN {
        return end(request, None);
    }
    for item in results.items {
        let Some(name) = repository_name(&item.repository_url) else {
            return end(request, None);
        };
        let update = (item.number, item.updated_at.timestamp());
        search.updates.entry(name).or_default().push(update);
    }
    search.next = answer.links().next.map(String::from);
    if search.next.is_none() {
        search.step += 1;
    }
    if search.step < SEARCHES.len() {
        return Ok(SyncPage {
            more: true,
            ..SyncPage::empty(save_cursor(&root::Cursor {
                search: Some(search),
                ..cursor
            })?)
        });
    }
    end(request, Some(observed(&cursor, &search)))
}

async fn ask(client: &Client, request: &SyncRequest, search: &Search) -> Result<Answer, Refusal> {
    let url = if let Some(next) = &search.next {
        Url::parse(next)
            .ok()
            .filter(|url| client.is_ours(url))
            .ok_or_else(|| ConnectorError::CursorExpired("the API has moved".into()))?
    } else {
        let mut url = client.api(&["search", "issues"]);
        let (account, what) = (
            &request.access.account.name,
            SEARCHES.get(search.step).copied().unwrap_or_default(),
        );
        let since = query_time(search.since);
        url.query_pairs_mut()
            .append_pair("q", &format!("user:{account} {what} updated:>={since}"))
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

/// `owner/name` at the end of a repository's API URL, in lower case.
fn repository_name(url: &str) -> Option<String> {
    let (rest, name) = url.rsplit_once('/')?;
    let (_, owner) = rest.rsplit_once('/')?;
    let is_named = !owner.is_empty() && !name.is_empty();
    is_named.then(|| format!("{owner}/{name}").to_lowercase())
}

/// The updates of repositories that the installation covers.
fn observed(cursor: &root::Cursor, search: &Search) -> ObservedUpdates {
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

/// The page that ends the walk of the root.
fn end(request: &SyncRequest, updates: Option<ObservedUpdates>) -> Result<SyncPage, Refusal> {
    Ok(SyncPage {
        updates,
        ..SyncPage::empty(save_cursor(&root::Cursor {
            searched_through: Some(request.until),
            ..root::Cursor::default()
        })?)
    })
}
