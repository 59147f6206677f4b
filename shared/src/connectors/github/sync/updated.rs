//! Lists with a `since` parameter: issues, issue comments and review comments.
//!
//! A run first reads the newest page. Most runs read no more, because the page reaches back to the
//! previous run or is the only one. Otherwise the run walks in ascending order from the previous
//! run to that page.
//!
//! A row that is updated during an ascending walk moves to the end of the list, and the rows after
//! its old position move up, so that the next page by number would skip one. Therefore each page
//! requests the updates since the last row of the previous page; the next page by number is used
//! only if all rows of a page have the same time.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, continued_page, earlier, last_page, part_before, query_time, rows};
use crate::connectors::github::client::{ApiError, Response};
use crate::connectors::github::normalize::{Envelope, RepositoryRef, comments, issues};
use crate::connectors::github::wire::{Comment, Issue, Timestamp, WireError, read};
use crate::connectors::page::PageContent;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::SignalDraft;

/// Subtracted from `since`, which GitHub may treat as exclusive.
const STEP_BACK: Duration = Duration::seconds(1);
/// Maximum number of rows of the newest page for which the next run uses the same `since`.
///
/// The same URL allows a conditional request.
const MAX_REREAD_ROWS: usize = 50;

/// A list with a `since` parameter.
pub(super) struct List {
    path: &'static [&'static str],
    operation: &'static str,
    /// Normalizes a row.
    read: fn(&RepositoryRef, &RawValue) -> Result<Row, WireError>,
    /// Query parameters besides `sort`, `direction` and `since`.
    query: &'static [(&'static str, &'static str)],
}

/// A normalized row.
struct Row {
    updated_at: Timestamp,
    signals: Vec<SignalDraft>,
}

/// Issues, including closed ones.
///
/// The list contains pull requests, which are skipped; another stream reads them.
pub(super) const ISSUES: List = List {
    path: &["issues"],
    operation: "list_issues",
    read: issue,
    query: &[("state", "all")],
};

/// Comments on issues and pull requests.
pub(super) const ISSUE_COMMENTS: List = List {
    path: &["issues", "comments"],
    operation: "list_issue_comments",
    read: issue_comment,
    query: &[],
};

/// Comments on diffs.
pub(super) const REVIEW_COMMENTS: List = List {
    path: &["pulls", "comments"],
    operation: "list_review_comments",
    read: review_comment,
    query: &[],
};

/// Cursor of these streams.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Lower bound of the stream's facts.
    pub floor: DateTime<Utc>,
    /// High-water mark: updates up to then have been read.
    pub high: DateTime<Utc>,
    /// `since` of the newest page, for the next conditional request.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
    /// The unfinished walk.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// Tag of the newest page, if it was the only one.
    #[serde(default)]
    pub tag: Option<Tag>,
}

impl Cursor {
    fn begin(request: &SyncRequest) -> Self {
        Self {
            floor: request.floor(),
            high: request.read_from(),
            since: None,
            walk: None,
            tag: None,
        }
    }

    /// Time before which all updates have been read.
    fn known_from(&self) -> DateTime<Utc> {
        earlier(self.high, OVERLAP)
    }
}

/// Position of a walk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Walk {
    /// `since` of the next page.
    pub since: DateTime<Utc>,
    /// The next page by number, if all rows of the page have the same time.
    #[serde(default)]
    pub next: Option<String>,
    /// The oldest time on the newest page, at which the walk ends.
    pub to: DateTime<Utc>,
    /// The mark after the walk.
    pub high: DateTime<Utc>,
}

/// Reads a page.
pub(super) async fn page(reader: &Reader<'_>, kind: &List) -> Result<SyncPage, ApiError> {
    let request = reader.request;
    let mut cursor: Cursor = load(request)?.unwrap_or_else(|| Cursor::begin(request));
    match cursor.walk.take() {
        None => newest(reader, kind, cursor).await,
        Some(walk) => older(reader, kind, cursor, walk).await,
    }
}

/// Reads the newest page.
async fn newest(reader: &Reader<'_>, kind: &List, cursor: Cursor) -> Result<SyncPage, ApiError> {
    let known_from = cursor.known_from();
    let since = cursor.since.unwrap_or(known_from);
    let url = kind.url(reader, "desc", since);
    let response = reader
        .get(kind.operation, url.clone(), cursor.tag.as_ref(), None)
        .await?;
    if response.not_modified() {
        return last_page(PageContent::default(), &cursor);
    }
    let (all, unreadable) = read_all(kind, reader, &response)?;
    let newest = all.first().map(|row| row.updated_at.0);
    // Without a readable row, the page's lower bound is unknown.
    let oldest = match all.last() {
        Some(row) => Some(row.updated_at.0),
        None if !unreadable.is_empty() => Some(reader.request.upper_bound),
        None => None,
    };
    let high = newest.map_or(cursor.high, |at| cursor.high.max(reader.clamp_to_now(at)));
    let count = all.len();
    let rows = all.into_iter().filter(|row| row.updated_at.0 >= known_from);
    let content = facts(rows, cursor.floor, unreadable);
    let is_all = response.links().next.is_none();
    if let Some(to) = oldest.filter(|oldest| !is_all && *oldest >= known_from) {
        let walk = Walk {
            since: known_from,
            next: None,
            to,
            high,
        };
        let cursor = Cursor {
            since: None,
            tag: None,
            walk: Some(walk),
            ..cursor
        };
        return continued_page(content, &cursor, 0.0);
    }
    let is_kept = is_all && count <= MAX_REREAD_ROWS;
    let cursor = Cursor {
        high,
        since: Some(since).filter(|_| is_kept),
        tag: Tag::of(&url, &response).filter(|_| is_kept),
        ..cursor
    };
    last_page(content, &cursor)
}

/// Reads a page between the previous run and the newest page.
async fn older(
    reader: &Reader<'_>,
    kind: &List,
    cursor: Cursor,
    mut walk: Walk,
) -> Result<SyncPage, ApiError> {
    let url = match &walk.next {
        Some(next) => reader.stored_url(next)?,
        None => kind.url(reader, "asc", walk.since),
    };
    let response = reader.get(kind.operation, url, None, None).await?;
    let (mut all, unreadable) = read_all(kind, reader, &response)?;
    let count = all.len();
    all.retain(|row| row.updated_at.0 <= walk.to);
    let is_complete = all.len() < count;
    let last = all.last().map(|row| row.updated_at.0);
    let content = facts(all, cursor.floor, unreadable);
    let Some(next) = response.links().next.filter(|_| !is_complete) else {
        let cursor = Cursor {
            high: walk.high,
            ..cursor
        };
        return last_page(content, &cursor);
    };
    let since = last.map(|last| earlier(last, STEP_BACK));
    match since.filter(|since| *since > walk.since) {
        Some(since) => (walk.since, walk.next) = (since, None),
        None => walk.next = Some(next.into()),
    }
    let progress = part_before(walk.since, cursor.known_from(), walk.to);
    let cursor = Cursor {
        walk: Some(walk),
        ..cursor
    };
    continued_page(content, &cursor, progress)
}

fn read_all(
    kind: &List,
    reader: &Reader<'_>,
    response: &Response,
) -> Result<(Vec<Row>, UnreadableRows), ConnectorError> {
    let mut unreadable = UnreadableRows::default();
    let rows = rows(response)?
        .into_iter()
        .filter_map(|raw| unreadable.take(raw, (kind.read)(&reader.repo, raw)))
        .collect();
    Ok((rows, unreadable))
}

/// Collects the rows' facts since the floor.
fn facts(
    rows: impl IntoIterator<Item = Row>,
    floor: DateTime<Utc>,
    unreadable: UnreadableRows,
) -> PageContent {
    PageContent {
        signals: rows
            .into_iter()
            .flat_map(|row| row.signals)
            .filter(|fact| fact.timestamp >= floor)
            .collect(),
        unreadable,
        ..PageContent::default()
    }
}

impl List {
    fn url(&self, reader: &Reader<'_>, direction: &str, since: DateTime<Utc>) -> Url {
        let since = query_time(since);
        let mut query = self.query.to_vec();
        query.extend([
            ("sort", "updated"),
            ("direction", direction),
            ("since", since.as_str()),
        ]);
        reader.list_url(self.path, &query)
    }
}

fn updated_at(timestamp: Option<Timestamp>) -> Result<Timestamp, WireError> {
    timestamp.ok_or(WireError::Missing("updated_at"))
}

fn issue(repo: &RepositoryRef, raw: &RawValue) -> Result<Row, WireError> {
    let issue: Issue = read("issue", raw)?;
    let mut signals = Vec::new();
    if issue.pull_request.is_none() {
        let listed = &Envelope::default();
        signals.push(issues::created(repo, &issue, raw, listed)?);
        if issue.state.as_deref() == Some("closed") {
            signals.push(issues::closed(repo, &issue, raw, listed)?);
        }
    }
    Ok(Row {
        updated_at: updated_at(issue.updated_at)?,
        signals,
    })
}

fn issue_comment(repo: &RepositoryRef, raw: &RawValue) -> Result<Row, WireError> {
    let comment: Comment = read("comment", raw)?;
    // Both have an `issue_url`; only the web page's URL distinguishes issues and pull requests.
    let kind = if is_on_pull(comment.html_url.as_deref()) {
        comments::ThreadKind::PullRequest
    } else {
        comments::ThreadKind::Issue
    };
    let number = last_number(comment.issue_url.as_deref());
    comment_row(
        repo,
        &comment,
        raw,
        &comments::Thread {
            kind,
            number,
            title: None,
        },
    )
}

fn review_comment(repo: &RepositoryRef, raw: &RawValue) -> Result<Row, WireError> {
    let comment: Comment = read("comment", raw)?;
    let number = last_number(comment.pull_request_url.as_deref());
    comment_row(
        repo,
        &comment,
        raw,
        &comments::Thread {
            kind: comments::ThreadKind::Diff,
            number,
            title: None,
        },
    )
}

fn comment_row(
    repo: &RepositoryRef,
    comment: &Comment,
    raw: &RawValue,
    thread: &comments::Thread,
) -> Result<Row, WireError> {
    Ok(Row {
        updated_at: updated_at(comment.updated_at)?,
        signals: vec![comments::created(
            repo,
            comment,
            raw,
            thread,
            &Envelope::default(),
        )?],
    })
}

/// Returns whether a web page is a pull request's: `…/{owner}/{name}/pull/{number}`.
///
/// Owner and name may be `pull`, too.
fn is_on_pull(page: Option<&str>) -> bool {
    let page = page.and_then(|page| Url::parse(page).ok());
    let mut segments = page.as_ref().and_then(Url::path_segments);
    segments.as_mut().and_then(|segments| segments.nth_back(1)) == Some("pull")
}

/// Returns the number at the end of an API URL.
fn last_number(url: Option<&str>) -> Option<u64> {
    url?.rsplit('/').next()?.parse().ok()
}
