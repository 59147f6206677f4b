//! The root stream: which repositories there are, and so which streams.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use url::Url;

use super::cursor::load;
use super::search::{self, Search};
use super::{ROOT, resized};
use crate::connectors::github::client::{Call, Client, PER_PAGE, Refusal};
use crate::connectors::github::wire::{Repository, RepositoryList, WireError, read};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::support::save_cursor;
use crate::connectors::{ConnectorError, StreamSpec, SyncPage, SyncRequest};
use crate::http::Priority;

pub(super) const ISSUES: &str = "issues";
pub(super) const ISSUE_COMMENTS: &str = "issue_comments";
pub(super) const PULLS: &str = "pulls";
pub(super) const REVIEW_COMMENTS: &str = "review_comments";
pub(super) const RELEASES: &str = "releases";
pub(super) const WORKFLOW_RUNS: &str = "workflow_runs";
pub(super) const STARGAZERS: &str = "stargazers";

/// The streams of a repository.
const STREAMS: [&str; 7] = [
    ISSUES,
    ISSUE_COMMENTS,
    PULLS,
    REVIEW_COMMENTS,
    RELEASES,
    WORKFLOW_RUNS,
    STARGAZERS,
];

/// How often a walk begins again because the list changed beneath it.
const MAX_RESTARTS: u32 = 3;

/// What a stream needs to address its repository.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Target {
    /// `owner/name`, as the root stream last saw it. GitHub redirects from former names.
    pub full_name: String,
    /// The repository's page.
    pub html_url: Option<String>,
}

/// From how many repositories on updates are searched for: fewer are read at little cost.
const MIN_SEARCHED: usize = 21;

/// Where the walk is.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The next page; `None` between runs.
    #[serde(default)]
    pub next: Option<String>,
    /// Repositories seen in this walk.
    #[serde(default)]
    pub seen: u64,
    /// How many there were when it began.
    #[serde(default)]
    pub total: Option<u64>,
    /// How often it began again.
    #[serde(default)]
    pub restarts: u32,
    /// What the walk before this one saw, and how many there were, where the two differed.
    #[serde(default)]
    pub mismatch: Option<(u64, u64)>,
    /// Whether this walk may have missed a repository.
    #[serde(default)]
    pub is_partial: bool,
    /// The repositories seen in this walk, by their names in lower case.
    #[serde(default)]
    pub repositories: BTreeMap<String, u64>,
    /// Until when updates have been searched for.
    #[serde(default)]
    pub searched_through: Option<DateTime<Utc>>,
    /// The search under way.
    #[serde(default)]
    pub search: Option<Search>,
}

/// What a page of repositories gives.
struct Streams {
    found: Vec<StreamSpec>,
    unreadable: UnreadableRows,
}

/// One page of repositories, or of what has been updated in them.
pub(super) async fn page(client: &Client, request: &SyncRequest) -> Result<SyncPage, Refusal> {
    let mut cursor: Cursor = load(request)?.unwrap_or_default();
    match cursor.search.take() {
        Some(search) => search::page(client, request, cursor, search).await,
        None => repositories(client, request, cursor).await,
    }
}

async fn repositories(
    client: &Client,
    request: &SyncRequest,
    mut cursor: Cursor,
) -> Result<SyncPage, Refusal> {
    let url = match &cursor.next {
        Some(next) => Url::parse(next)
            .ok()
            .filter(|url| client.is_ours(url))
            .ok_or_else(|| ConnectorError::CursorExpired("the API has moved".into()))?,
        None => first(client),
    };
    let url = resized(&url, request.failures);
    let call = Call {
        priority: request.priority,
        ..Call::new(
            &request.access.account.id,
            "list_repositories",
            &request.access.token,
        )
    };
    let answer = client.get(url, call).await?;
    let page: RepositoryList = answer.json()?;
    let mut unreadable = UnreadableRows::default();
    let rows = page.repositories.iter().map(AsRef::as_ref);
    let repositories = unreadable.read_all(rows, repository);
    // A row that cannot be read does not say which repository it is.
    cursor.is_partial |= !unreadable.is_empty();
    let streams = Streams {
        found: repositories
            .iter()
            .flat_map(|((row, full_name), _)| streams(row, full_name))
            .collect(),
        unreadable,
    };
    // One that went makes the rows behind it move up, and the page after it skip one.
    let is_steady = cursor.next.is_none() || cursor.seen == 0 || cursor.total == page.total_count;
    cursor.seen = cursor.seen.saturating_add(page.repositories.len() as u64);
    cursor.total = page.total_count;
    for ((repository, full_name), _) in &repositories {
        cursor
            .repositories
            .insert(full_name.to_lowercase(), repository.id);
    }
    let next = answer.links().next;
    let mismatch = cursor
        .total
        .map(|total| (cursor.seen, total))
        .filter(|(seen, total)| next.is_none() && seen != total);
    if !is_steady || mismatch.is_some() {
        // The same difference twice is GitHub's count, not a change beneath the walk.
        let is_constant = mismatch.is_some() && mismatch == cursor.mismatch;
        if cursor.restarts < MAX_RESTARTS && !is_constant {
            begin_again(client, &mut cursor, mismatch);
            return more(&cursor, streams);
        }
        cursor.is_partial = true;
    }
    match next {
        Some(next) => cursor.next = Some(next.into()),
        None => return end(request, cursor, streams),
    }
    more(&cursor, streams)
}

/// The page that ends the list of repositories; where there are many, a search follows. A list that
/// may have missed one retires nothing, and a search could not be matched to it.
fn end(request: &SyncRequest, cursor: Cursor, streams: Streams) -> Result<SyncPage, Refusal> {
    if cursor.is_partial {
        tracing::warn!(
            seen = cursor.seen,
            total = cursor.total,
            "list of repositories is incomplete, retiring nothing"
        );
    }
    let since = cursor
        .searched_through
        .filter(|_| !cursor.is_partial)
        .filter(|_| cursor.repositories.len() >= MIN_SEARCHED)
        .filter(|_| request.priority == Priority::Poll);
    match since {
        Some(since) => more(
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
            unreadable_rows: streams.unreadable.into_rows(),
            ..SyncPage::empty(save_cursor(&Cursor {
                searched_through: Some(request.until),
                ..Cursor::default()
            })?)
        }),
    }
}

/// A page that is not the last one of the walk.
fn more(cursor: &Cursor, streams: Streams) -> Result<SyncPage, Refusal> {
    Ok(SyncPage {
        more: true,
        streams: streams.found,
        unreadable_rows: streams.unreadable.into_rows(),
        ..SyncPage::empty(save_cursor(cursor)?)
    })
}

fn first(client: &Client) -> Url {
    let mut url = client.api(&["installation", ROOT]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    url
}

/// Begins again: the list changed beneath the walk, which may have skipped a repository.
fn begin_again(client: &Client, cursor: &mut Cursor, mismatch: Option<(u64, u64)>) {
    cursor.next = Some(first(client).into());
    cursor.seen = 0;
    cursor.total = None;
    cursor.restarts += 1;
    cursor.mismatch = mismatch;
    cursor.is_partial = false;
}

/// The streams of a repository. An archived one has a history to read; a disabled one
/// refuses every call; one without issues answers 410 about them.
fn streams(repository: &Repository, full_name: &str) -> Vec<StreamSpec> {
    if repository.disabled == Some(true) {
        return Vec::new();
    }
    STREAMS
        .into_iter()
        .filter(|name| *name != ISSUES || repository.has_issues != Some(false))
        .map(|name| StreamSpec {
            key: format!("{name}:{}", repository.id),
            resource_id: Some(repository.id.to_string()),
            target: json!({ "full_name": full_name, "html_url": repository.html_url }),
        })
        .collect()
}

/// A repository, and the name that addresses it.
fn repository(raw: &RawValue) -> Result<(Repository, String), WireError> {
    let repository: Repository = read("repository", raw)?;
    let full_name = repository
        .full_name()
        .filter(|name| name.contains('/'))
        .ok_or(WireError::Missing("repository.full_name"))?;
    Ok((repository, full_name))
}
