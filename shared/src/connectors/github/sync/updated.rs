//! Lists that can be asked for what was updated since a moment: issues and both families of
//! comments.
//!
//! A run first reads the newest page. Most runs need no more: the page reaches back to what is
//! known, or is the only one. Otherwise the run walks upwards from the known to that page.
//!
//! A row that is updated while the list is walked upwards moves to its end, and every row behind
//! its old place moves up: the next page by number would skip one. So each page asks anew for
//! what was updated since the last row of the page before it; the next page by number is taken
//! only where a whole page shares one moment.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, done, earlier, part_before, query_time, rows, walking};
use crate::connectors::github::client::{Answer, Refusal};
use crate::connectors::github::normalize::{Envelope, Place, comments, issues};
use crate::connectors::github::wire::{Comment, Issue, Moment, WireError, read};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::support::PageContent;
use crate::connectors::{ConnectorError, SyncPage};
use crate::signals::SignalDraft;

/// `since` may or may not include the moment itself; one second before it surely does.
const STEP_BACK: Duration = Duration::seconds(1);
/// As long as the newest page has no more rows, it is asked for since the same moment: the same
/// URL and the tag of the last answer ask only whether anything changed.
const MAX_ROWS_REREAD: usize = 50;

/// One of these lists.
pub(super) struct List {
    path: &'static [&'static str],
    operation: &'static str,
    /// What a row tells, and when it was updated.
    read: fn(&Place, &RawValue) -> Result<Row, WireError>,
    /// Parameters besides sort, direction and since.
    query: &'static [(&'static str, &'static str)],
}

/// What one row tells.
struct Row {
    updated_at: Moment,
    signals: Vec<SignalDraft>,
}

/// Issues, closed ones as well. The list has pull requests in it, which are told elsewhere.
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

/// Where such a stream is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Facts before it are never told.
    pub floor: DateTime<Utc>,
    /// What was updated until then has been read.
    pub high: DateTime<Utc>,
    /// Since when the newest page was asked for, and is asked for again.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
    /// The walk of a run that is not over.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// The tag of the newest page, where that was all there was.
    #[serde(default)]
    pub tag: Option<Tag>,
}

impl Cursor {
    const fn begin(horizon: DateTime<Utc>) -> Self {
        Self {
            floor: horizon,
            high: horizon,
            since: None,
            walk: None,
            tag: None,
        }
    }

    /// What was updated before is known.
    fn known_from(&self) -> DateTime<Utc> {
        earlier(self.high, OVERLAP)
    }
}

/// Where a walk is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Walk {
    /// What the next page asks for.
    pub since: DateTime<Utc>,
    /// The next page by number, within one moment.
    #[serde(default)]
    pub next: Option<String>,
    /// The oldest moment on the newest page, where the walk ends.
    pub to: DateTime<Utc>,
    /// The mark when the walk is over.
    pub high: DateTime<Utc>,
}

/// One page of such a list.
pub(super) async fn page(reader: &Reader<'_>, kind: &List) -> Result<SyncPage, Refusal> {
    let horizon = reader.request.floor();
    let mut cursor: Cursor = load(reader.request)?.unwrap_or_else(|| Cursor::begin(horizon));
    match cursor.walk.take() {
        None => newest(reader, kind, cursor).await,
        Some(walk) => older(reader, kind, cursor, walk).await,
    }
}

/// Reads the newest page.
async fn newest(reader: &Reader<'_>, kind: &List, cursor: Cursor) -> Result<SyncPage, Refusal> {
    let known_from = cursor.known_from();
    let since = cursor.since.unwrap_or(known_from);
    let url = kind.url(reader, "desc", since);
    let answer = reader
        .get(kind.operation, url.clone(), cursor.tag.as_ref(), None)
        .await?;
    if answer.not_modified() {
        return done(PageContent::default(), &cursor);
    }
    let (all, unreadable) = read_all(kind, reader, &answer)?;
    let newest = all.first().map(|row| row.updated_at.0);
    // Of a page without a row that can be read it is not known how far back it reaches.
    let oldest = match all.last() {
        Some(row) => Some(row.updated_at.0),
        None if !unreadable.is_empty() => Some(reader.request.until),
        None => None,
    };
    let high = newest.map_or(cursor.high, |at| {
        cursor.high.max(reader.not_in_the_future(at))
    });
    let count = all.len();
    let rows = all.into_iter().filter(|row| row.updated_at.0 >= known_from);
    let told = facts(rows, cursor.floor, unreadable);
    let is_all = answer.links().next.is_none();
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
        return walking(told, &cursor, 0.0);
    }
    let is_kept = is_all && count <= MAX_ROWS_REREAD;
    let cursor = Cursor {
        high,
        since: Some(since).filter(|_| is_kept),
        tag: Tag::of(&url, &answer).filter(|_| is_kept),
        ..cursor
    };
    done(told, &cursor)
}

/// Reads a page of what lies between the known and the newest page.
async fn older(
    reader: &Reader<'_>,
    kind: &List,
    cursor: Cursor,
    mut walk: Walk,
) -> Result<SyncPage, Refusal> {
    let url = match &walk.next {
        Some(next) => reader.stored(next)?,
        None => kind.url(reader, "asc", walk.since),
    };
    let answer = reader.get(kind.operation, url, None, None).await?;
    let (mut all, unreadable) = read_all(kind, reader, &answer)?;
    let count = all.len();
    all.retain(|row| row.updated_at.0 <= walk.to);
    let is_over = all.len() < count;
    let last = all.last().map(|row| row.updated_at.0);
    let told = facts(all, cursor.floor, unreadable);
    let Some(next) = answer.links().next.filter(|_| !is_over) else {
        let cursor = Cursor {
            high: walk.high,
            ..cursor
        };
        return done(told, &cursor);
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
    walking(told, &cursor, progress)
}

fn read_all(
    kind: &List,
    reader: &Reader<'_>,
    answer: &Answer,
) -> Result<(Vec<Row>, UnreadableRows), ConnectorError> {
    let mut unreadable = UnreadableRows::default();
    let rows = rows(answer)?
        .into_iter()
        .filter_map(|raw| unreadable.take(raw, (kind.read)(&reader.place, raw)))
        .collect();
    Ok((rows, unreadable))
}

/// What rows tell that did not happen before the floor.
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
        reader.list(self.path, &query)
    }
}

fn updated_at(moment: Option<Moment>) -> Result<Moment, WireError> {
    moment.ok_or(WireError::Missing("updated_at"))
}

fn issue(place: &Place, raw: &RawValue) -> Result<Row, WireError> {
    let issue: Issue = read("issue", raw)?;
    let mut signals = Vec::new();
    if issue.pull_request.is_none() {
        let listed = &Envelope::default();
        signals.push(issues::created(place, &issue, raw, listed)?);
        if issue.state.as_deref() == Some("closed") {
            signals.push(issues::closed(place, &issue, raw, listed)?);
        }
    }
    Ok(Row {
        updated_at: updated_at(issue.updated_at)?,
        signals,
    })
}

fn issue_comment(place: &Place, raw: &RawValue) -> Result<Row, WireError> {
    let comment: Comment = read("comment", raw)?;
    // Both have an `issue_url`; only the page's address tells an issue from a pull request.
    let on = if is_on_pull(comment.html_url.as_deref()) {
        comments::On::PullRequest
    } else {
        comments::On::Issue
    };
    let number = last_number(comment.issue_url.as_deref());
    told(
        place,
        &comment,
        raw,
        &comments::Thread {
            on,
            number,
            title: None,
        },
    )
}

fn review_comment(place: &Place, raw: &RawValue) -> Result<Row, WireError> {
    let comment: Comment = read("comment", raw)?;
    let number = last_number(comment.pull_request_url.as_deref());
    told(
        place,
        &comment,
        raw,
        &comments::Thread {
            on: comments::On::Diff,
            number,
            title: None,
        },
    )
}

fn told(
    place: &Place,
    comment: &Comment,
    raw: &RawValue,
    thread: &comments::Thread,
) -> Result<Row, WireError> {
    Ok(Row {
        updated_at: updated_at(comment.updated_at)?,
        signals: vec![comments::created(
            place,
            comment,
            raw,
            thread,
            &Envelope::default(),
        )?],
    })
}

/// Whether a comment's page is that of a pull request: `…/{owner}/{name}/pull/{number}`. Owner and
/// name may be any word, `pull` as well.
fn is_on_pull(page: Option<&str>) -> bool {
    let page = page.and_then(|page| Url::parse(page).ok());
    let mut segments = page.as_ref().and_then(Url::path_segments);
    segments.as_mut().and_then(|segments| segments.nth_back(1)) == Some("pull")
}

/// The number at the end of an API URL.
fn last_number(url: Option<&str>) -> Option<u64> {
    url?.rsplit('/').next()?.parse().ok()
}
