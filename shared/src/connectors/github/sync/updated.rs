//! Lists that can be asked for what was updated since a moment, oldest first: issues and
//! both families of comments.
//!
//! A row that is updated while the list is read moves to its end, and every row behind its
//! old place moves up: the next page by number would skip one. So each page asks anew for
//! what was updated since the last row of the page before it; the next page by number is
//! taken only where a whole page shares one moment.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, done, earlier, query_time, rows};
use crate::connectors::github::client::{Answer, Refusal};
use crate::connectors::github::normalize::{Place, comments, issues};
use crate::connectors::github::wire::{Comment, Issue, Moment, WireError, read};
use crate::connectors::{ConnectorError, SyncPage};
use crate::signals::SignalDraft;

/// `since` may or may not include the moment itself; one second before it surely does.
const STEP_BACK: Duration = Duration::seconds(1);

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
    /// The walk of a run that is not over.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// The tag of the only page of the last run.
    #[serde(default)]
    pub tag: Option<Tag>,
}

impl Cursor {
    const fn begin(horizon: DateTime<Utc>) -> Self {
        Self {
            floor: horizon,
            high: horizon,
            walk: None,
            tag: None,
        }
    }

    fn walking(self, walk: Walk) -> Self {
        Self {
            walk: Some(walk),
            ..self
        }
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
    /// The mark when the walk is over.
    pub high: DateTime<Utc>,
}

/// One page of such a list.
pub(super) async fn page(reader: &Reader<'_>, kind: &List) -> Result<SyncPage, Refusal> {
    let horizon = reader.request.horizon;
    let mut cursor: Cursor = load(reader.request)?.unwrap_or_else(|| Cursor::begin(horizon));
    let fresh = cursor.walk.is_none();
    let mut walk = cursor.walk.take().unwrap_or(Walk {
        since: earlier(cursor.high, OVERLAP),
        next: None,
        high: cursor.high,
    });
    let url = match &walk.next {
        Some(next) => reader.stored(next)?,
        None => kind.since(reader, walk.since),
    };
    let tag = cursor.tag.take().filter(|_| fresh);
    let answer = reader
        .get(kind.operation, url.clone(), tag.as_ref(), None)
        .await?;
    if answer.not_modified() {
        return done(Vec::new(), &Cursor { tag, ..cursor }, false);
    }

    let Taken {
        signals,
        last,
        beyond,
    } = take(reader, kind, &answer, cursor.floor)?;
    walk.high = last.map_or(walk.high, |last| walk.high.max(last));
    match answer.links().next {
        Some(next) if !beyond => {
            match last
                .map(|last| earlier(last, STEP_BACK))
                .filter(|since| *since > walk.since)
            {
                Some(since) => (walk.since, walk.next) = (since, None),
                None => walk.next = Some(next.into()),
            }
            done(signals, &cursor.walking(walk), true)
        }
        _ => {
            let tag = Tag::of(&url, &answer).filter(|_| fresh && !beyond);
            done(
                signals,
                &Cursor {
                    high: walk.high,
                    tag,
                    ..cursor
                },
                false,
            )
        }
    }
}

/// What a page gave.
struct Taken {
    signals: Vec<SignalDraft>,
    /// When the last row within the bound was updated.
    last: Option<DateTime<Utc>>,
    /// Whether it has rows beyond the bound.
    beyond: bool,
}

fn take(
    reader: &Reader<'_>,
    kind: &List,
    answer: &Answer,
    floor: DateTime<Utc>,
) -> Result<Taken, ConnectorError> {
    let mut taken = Taken {
        signals: Vec::new(),
        last: None,
        beyond: false,
    };
    for raw in rows(answer)? {
        let row = (kind.read)(&reader.place, raw)?;
        if row.updated_at.0 > reader.request.until {
            taken.beyond = true;
            break;
        }
        taken.last = Some(row.updated_at.0);
        let since_floor = row
            .signals
            .into_iter()
            .filter(|fact| fact.timestamp >= floor);
        taken.signals.extend(since_floor);
    }
    Ok(taken)
}

impl List {
    fn since(&self, reader: &Reader<'_>, since: DateTime<Utc>) -> url::Url {
        let since = query_time(since);
        let mut query = self.query.to_vec();
        query.extend([
            ("sort", "updated"),
            ("direction", "asc"),
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
        signals.push(issues::created(place, &issue, raw, None)?);
        if issue.state.as_deref() == Some("closed") {
            signals.push(issues::closed(place, &issue, raw, None)?);
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
    let page = comment.html_url.as_deref().unwrap_or_default();
    let on = if page.contains("/pull/") {
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
        signals: vec![comments::created(place, comment, raw, thread, None)?],
    })
}

/// The number at the end of an API URL.
fn last_number(url: Option<&str>) -> Option<u64> {
    url?.rsplit('/').next()?.parse().ok()
}
