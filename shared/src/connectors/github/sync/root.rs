//! The root stream: which repositories there are, and so which streams.

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::ROOT;
use super::cursor::load;
use crate::connectors::github::client::{Call, Client, PER_PAGE, Refusal};
use crate::connectors::github::wire::{Repository, RepositoryList};
use crate::connectors::{ConnectorError, StreamSpec, SyncPage, SyncRequest};

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
const MOST_RESTARTS: u32 = 3;

/// What a stream needs to address its repository.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Target {
    /// `owner/name`, as the root stream last saw it. GitHub redirects from former names.
    pub full_name: String,
    /// The repository's page.
    pub html_url: Option<String>,
}

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
}

/// One page of repositories.
pub(super) async fn page(client: &Client, request: &SyncRequest) -> Result<SyncPage, Refusal> {
    let cursor: Cursor = load(request)?.unwrap_or_default();
    let url = match &cursor.next {
        Some(next) => Url::parse(next)
            .ok()
            .filter(|url| client.is_ours(url))
            .ok_or_else(|| ConnectorError::CursorExpired("the API has moved".into()))?,
        None => first(client),
    };
    let call = Call::new(
        &request.access.account.id,
        "list_repositories",
        &request.access.token,
    );
    let answer = client.get(url, call).await?;
    let page: RepositoryList = answer.json()?;
    let seen = cursor.seen.saturating_add(page.repositories.len() as u64);
    let total = page.total_count;
    // One that went makes the rows behind it move up, and the page after it skip one.
    let steady = cursor.next.is_none() || cursor.seen == 0 || cursor.total == total;
    let next = match answer.links().next {
        _ if !steady => again(client, cursor.restarts)?,
        Some(next) => Cursor {
            next: Some(next.into()),
            seen,
            total,
            restarts: cursor.restarts,
        },
        None if total.is_some_and(|total| total != seen) => again(client, cursor.restarts)?,
        None => Cursor::default(),
    };
    Ok(SyncPage {
        signals: Vec::new(),
        more: next.next.is_some(),
        cursor: serde_json::to_value(&next)
            .map_err(|error| ConnectorError::Permanent(error.into()))?,
        streams: page.repositories.iter().flat_map(streams).collect(),
        subscriptions: Vec::new(),
        learned: Vec::new(),
    })
}

fn first(client: &Client) -> Url {
    let mut url = client.api(&["installation", ROOT]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    url
}

/// Begins again: the list changed beneath the walk, and a repository that it skipped would
/// be taken for gone.
fn again(client: &Client, restarts: u32) -> Result<Cursor, ConnectorError> {
    if restarts >= MOST_RESTARTS {
        return Err(ConnectorError::Transient(
            "the list of repositories never holds still".into(),
        ));
    }
    Ok(Cursor {
        next: Some(first(client).into()),
        seen: 0,
        total: None,
        restarts: restarts + 1,
    })
}

/// The streams of a repository. An archived one has a history to read; a disabled one
/// refuses every call; one without issues answers 410 about them.
fn streams(repository: &Repository) -> Vec<StreamSpec> {
    let Some(full_name) = repository.full_name() else {
        return Vec::new();
    };
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
