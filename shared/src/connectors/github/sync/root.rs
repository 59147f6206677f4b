//! The root stream, which lists the repositories and their streams.
//!
//! GitHub's count of the repositories may differ from its list, and a row may be unreadable. Such a
//! walk is partial: it retires no stream. If the next run's walk lists the same repositories, the
//! difference is lasting and says nothing about them, so the streams that neither walk lists are
//! retired, except those of a repository whose unreadable row has a readable id.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use url::Url;

use super::cursor::load;
use super::root_cursor::{
    Cursor, ISSUE_COMMENTS, ISSUES, PULLS, RELEASES, REVIEW_COMMENTS, STARGAZERS, Search,
    WORKFLOW_RUNS,
};
use super::search;
use super::{Names, ROOT};
use crate::connectors::cursor::save_cursor;
use crate::connectors::github::client::{ApiError, Call, Client, PER_PAGE};
use crate::connectors::github::page_size::with_page_size;
use crate::connectors::github::wire::{Repository, RepositoryList, WireError, is_decimal_id, read};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::crypto::sha256;
use crate::http::Priority;
use crate::model::StreamSpec;

/// Kinds of streams of a repository.
const STREAMS: [&str; 7] = [
    ISSUES,
    ISSUE_COMMENTS,
    PULLS,
    REVIEW_COMMENTS,
    RELEASES,
    WORKFLOW_RUNS,
    STARGAZERS,
];

/// Maximum number of restarts of a walk because the list changed during it.
const MAX_RESTARTS: u32 = 3;

/// Target of a stream: the address of its repository.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Target {
    /// `owner/name`, as last listed. GitHub redirects from previous names.
    pub full_name: String,
    /// The repository's web page.
    pub html_url: Option<String>,
    /// `false` if the repository has no issues; absent in other cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_issues: Option<bool>,
}

/// Minimum number of repositories for a search; reading the lists of fewer costs little.
const MIN_SEARCHED_REPOSITORIES: usize = 21;

/// Streams on a page of repositories.
struct Streams {
    found: Vec<StreamSpec>,
    unreadable: UnreadableRows,
    /// Ids of repositories with unreadable rows.
    kept: Vec<String>,
}

/// Reads a page of repositories or of search results.
pub(super) async fn page(
    client: &Client,
    names: &Names,
    request: &SyncRequest,
) -> Result<SyncPage, ApiError> {
    let mut cursor: Cursor = load(request)?.unwrap_or_default();
    match cursor.search.take() {
        Some(search) => search::page(client, request, cursor, search).await,
        None => list_repositories(client, names, request, cursor).await,
    }
}

async fn list_repositories(
    client: &Client,
    names: &Names,
    request: &SyncRequest,
    mut cursor: Cursor,
) -> Result<SyncPage, ApiError> {
    let url = match &cursor.next {
        Some(next) => Url::parse(next)
            .ok()
            .filter(|url| client.is_api_url(url))
            .ok_or_else(|| {
                ConnectorError::CursorExpired("the API's base URL has changed".into())
            })?,
        None => first_page_url(client),
    };
    let url = with_page_size(&url, request.failures);
    let call = Call {
        priority: request.priority,
        ..Call::new(
            &request.access.account.id,
            "list_repositories",
            &request.access.token,
        )
    };
    let response = client.get(url, call).await?;
    let page: RepositoryList = response.json()?;
    let mut unreadable = UnreadableRows::default();
    let rows = page.repositories.iter().map(AsRef::as_ref);
    let repositories = unreadable.read_all(rows, repository);
    // An unreadable row does not name its repository.
    cursor.is_partial |= !unreadable.is_empty();
    let kept = unreadable.ids().filter(|id| is_decimal_id(id));
    let streams = Streams {
        found: repositories
            .iter()
            .flat_map(|((row, full_name), _)| streams(row, full_name))
            .collect(),
        kept: kept.map(str::to_owned).collect(),
        unreadable,
    };
    // After a removal the following rows move up, so that the next page skips one.
    let is_steady = cursor.next.is_none() || cursor.seen == 0 || cursor.total == page.total_count;
    cursor.seen = cursor.seen.saturating_add(page.repositories.len() as u64);
    cursor.total = page.total_count;
    for ((repository, full_name), _) in &repositories {
        names.note(&request.access.account.id, full_name, repository.id);
        cursor
            .repositories
            .insert(full_name.to_lowercase(), repository.id);
    }
    let next = response.links().next;
    let mismatch = cursor
        .total
        .map(|total| (cursor.seen, total))
        .filter(|(seen, total)| next.is_none() && seen != total);
    if !is_steady || mismatch.is_some() {
        // The same difference twice comes from GitHub's count, not from a change during the walk.
        let is_constant = mismatch.is_some() && mismatch == cursor.mismatch;
        if cursor.restarts < MAX_RESTARTS && !is_constant {
            restart(client, &mut cursor, mismatch);
            return continued_page(&cursor, streams);
        }
        cursor.is_partial = true;
        cursor.is_unsteady |= !is_steady;
    }
    match next {
        Some(next) => cursor.next = Some(next.into()),
        None => return finish(request, cursor, streams),
    }
    continued_page(&cursor, streams)
}

/// Ends the list of repositories; if there are many, a search follows.
///
/// A partial list retires no streams, and search results could not be matched to it.
fn finish(
    request: &SyncRequest,
    mut cursor: Cursor,
    streams: Streams,
) -> Result<SyncPage, ApiError> {
    let listed = (cursor.is_partial && !cursor.is_unsteady).then(|| digest(&cursor));
    let is_confirmed = listed.is_some() && listed == cursor.listed;
    cursor.is_partial &= !is_confirmed;
    cursor.listed = listed;
    if cursor.is_partial {
        tracing::warn!(
            seen = cursor.seen,
            total = cursor.total,
            "list of repositories is incomplete, retiring no streams"
        );
    }
    let since = cursor
        .searched_through
        .filter(|_| !cursor.is_partial)
        .filter(|_| cursor.repositories.len() >= MIN_SEARCHED_REPOSITORIES)
        .filter(|_| request.priority == Priority::Poll);
    match since {
        Some(since) => continued_page(
            &Cursor {
                next: None,
                search: Some(Search::begin(since)),
                ..cursor
            },
            streams,
        ),
        None => Ok(SyncPage {
            streams: streams.found,
            is_list_partial: cursor.is_partial,
            kept_resources: streams.kept,
            unreadable_rows: streams.unreadable.into_rows(),
            ..SyncPage::empty(save_cursor(&Cursor {
                searched_through: Some(request.upper_bound),
                listed: cursor.listed,
                ..Cursor::default()
            })?)
        }),
    }
}

/// Returns the digest of the ids that a walk has listed.
fn digest(cursor: &Cursor) -> String {
    let mut ids: Vec<u64> = cursor.repositories.values().copied().collect();
    ids.sort_unstable();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
    hex::encode(sha256(&bytes))
}

/// Builds a page that continues the walk.
fn continued_page(cursor: &Cursor, streams: Streams) -> Result<SyncPage, ApiError> {
    Ok(SyncPage {
        has_more: true,
        streams: streams.found,
        kept_resources: streams.kept,
        unreadable_rows: streams.unreadable.into_rows(),
        ..SyncPage::empty(save_cursor(cursor)?)
    })
}

fn first_page_url(client: &Client) -> Url {
    let mut url = client.api(&["installation", ROOT]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    url
}

/// Restarts the walk.
///
/// The list changed during the walk, so that a repository may have been skipped.
fn restart(client: &Client, cursor: &mut Cursor, mismatch: Option<(u64, u64)>) {
    cursor.next = Some(first_page_url(client).into());
    cursor.seen = 0;
    cursor.total = None;
    cursor.restarts += 1;
    cursor.mismatch = mismatch;
    cursor.is_partial = false;
    cursor.repositories.clear();
}

/// Returns the streams of a repository.
///
/// An archived repository is readable. A disabled one rejects every call, and one without issues
/// responds to their list with 410, and may to the list of their comments.
fn streams(repository: &Repository, full_name: &str) -> Vec<StreamSpec> {
    if repository.disabled == Some(true) {
        return Vec::new();
    }
    let target = json!(Target {
        full_name: full_name.to_owned(),
        html_url: repository.html_url.clone(),
        has_issues: repository.has_issues.filter(|has_issues| !has_issues),
    });
    STREAMS
        .into_iter()
        .filter(|name| *name != ISSUES || repository.has_issues != Some(false))
        .map(|name| StreamSpec {
            key: format!("{name}:{}", repository.id),
            resource_id: Some(repository.id.to_string()),
            target: target.clone(),
        })
        .collect()
}

/// Parses a repository and its full name.
fn repository(raw: &RawValue) -> Result<(Repository, String), WireError> {
    let repository: Repository = read("repository", raw)?;
    let full_name = repository
        .full_name()
        .filter(|name| name.contains('/'))
        .ok_or(WireError::Missing("repository.full_name"))?;
    Ok((repository, full_name))
}
