//! Issues by the time of their last change, with their histories and comments.
//!
//! They are read newest first and without an upper bound: one that is changed meanwhile moves to
//! the top, and the rows behind its old place move down, which repeats some and skips none.
//!
//! One stream for the whole site and not one per project: what a grant sees is the same, and a
//! question costs a point however few issues it finds. Times are asked for in milliseconds,
//! because Jira reads written ones in the person's time zone.

use chrono::{DateTime, TimeZone, Utc};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{OVERLAP, call, with_directory};
use crate::connectors::jira::client::{Client, Refusal};
use crate::connectors::jira::normalize;
use crate::connectors::jira::wire::{
    Changelog, Changelogs, Comment, Comments, Issue, WireError, read,
};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::support::{PageContent, load_cursor, part_before, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::signals::SignalDraft;

/// Issues per page, and changes and comments of one.
const PAGE: u32 = 100;
/// What is asked of each.
const FIELDS: [&str; 9] = [
    "summary",
    "status",
    "project",
    "issuetype",
    "reporter",
    "creator",
    "created",
    "updated",
    "comment",
];

/// How far the site has been read, in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Facts before it are never told, facts since then always.
    floor: i64,
    /// The latest change that was read; `None` before the first walk ended.
    #[serde(default)]
    high: Option<i64>,
    /// The walk under way; `None` between runs.
    #[serde(default)]
    walk: Option<Walk>,
}

/// A walk through the issues that have changed.
#[derive(Debug, Serialize, Deserialize)]
struct Walk {
    /// The question. A page's token belongs to it, and to no other.
    jql: String,
    began: i64,
    #[serde(default)]
    newest: Option<i64>,
    #[serde(default)]
    oldest: Option<i64>,
    #[serde(default)]
    next: Option<String>,
}

/// An issue and everything that was read of it.
struct Whole<'a> {
    issue: Issue,
    raw: &'a RawValue,
    histories: Vec<Box<RawValue>>,
    comments: Vec<Box<RawValue>>,
}

/// One page of issues.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        issues: Vec<&'a RawValue>,
        #[serde(default, rename = "nextPageToken")]
        next: Option<String>,
    }
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_else(|| Cursor {
        floor: request.floor().timestamp_millis(),
        high: None,
        walk: None,
    });
    let mut walk = cursor
        .walk
        .take()
        .unwrap_or_else(|| begin(&cursor, request));
    let mut body = json!({
        "jql": walk.jql, "fields": FIELDS, "maxResults": request.page_size(PAGE), "expand": "changelog",
    });
    if let Some(next) = &walk.next {
        body["nextPageToken"] = json!(next);
    }
    let call = call(request, "search_issues");
    let path = ["rest", "api", "3", "search", "jql"];
    let answer = client
        .put(&call, Method::POST, &path, &body)
        .await
        .map_err(|refusal| expired(refusal, &walk))?;
    let page: Page<'_> = answer.json()?;
    client.spent(&call, page.issues.len()).await;

    let mut unreadable = UnreadableRows::default();
    let rows = unreadable.read_all(page.issues, |raw| read("issue", raw));
    let mut wholes = Vec::new();
    for (issue, raw) in rows {
        let whole = complete(client, request, &cursor, issue, raw, &mut unreadable).await?;
        let fields = whole.issue.fields.as_ref();
        let updated = fields
            .and_then(|fields| fields.updated)
            .map(|at| at.0.timestamp_millis());
        walk.newest = walk.newest.max(updated);
        walk.oldest = updated.or(walk.oldest);
        wholes.push(whole);
    }
    let floor = cursor.floor;
    let mut told = with_directory(client, request, |scene| {
        let mut told = PageContent::default();
        for whole in &wholes {
            tell(scene, whole, floor, request.until, &mut told);
        }
        told
    })
    .await?;
    told.unreadable.extend(unreadable);
    walk.next = page.next;
    let more = walk.next.is_some();
    let mut progress = 1.0;
    if more {
        progress = progress_of(&walk, floor);
        cursor.walk = Some(walk);
    } else {
        // Never beyond the moment at which the walk began: the index may lag.
        let reached = walk.newest.map(|newest| newest.min(walk.began));
        cursor.high = cursor.high.max(reached).or(Some(floor));
    }
    Ok(SyncPage {
        more,
        progress,
        ..told.page(save_cursor(&cursor)?)
    })
}

fn begin(cursor: &Cursor, request: &SyncRequest) -> Walk {
    let oldest = cursor.high.map_or(cursor.floor, |high| {
        high.saturating_sub(OVERLAP.num_milliseconds())
    });
    let (oldest, until) = (oldest.max(cursor.floor), request.until.timestamp_millis());
    Walk {
        jql: format!("updated >= {oldest} ORDER BY updated DESC, id DESC"),
        began: until,
        newest: None,
        oldest: None,
        next: None,
    }
}

/// How much of the time since the floor has been read.
fn progress_of(walk: &Walk, floor: i64) -> f32 {
    let at = |millis| {
        Utc.timestamp_millis_opt(millis)
            .single()
            .unwrap_or_default()
    };
    let reached = at(walk.oldest.unwrap_or(walk.began));
    1.0 - part_before(reached, at(floor), at(walk.began))
}

/// A page's token that is too old, or that Jira does not know: the stream starts over.
fn expired(refusal: Refusal, walk: &Walk) -> ConnectorError {
    match refusal.error {
        ConnectorError::Permanent(source)
            if refusal.status == Some(StatusCode::BAD_REQUEST) && walk.next.is_some() =>
        {
            ConnectorError::CursorExpired(source)
        }
        other => other,
    }
}

/// Reads what the page did not hold of an issue: longer histories, more comments.
async fn complete<'a>(
    client: &Client,
    request: &SyncRequest,
    cursor: &Cursor,
    mut issue: Issue,
    raw: &'a RawValue,
    unreadable: &mut UnreadableRows,
) -> Result<Whole<'a>, ConnectorError> {
    let log = issue.changelog.take().unwrap_or_default();
    let fields = issue.fields.as_mut();
    let talk = fields
        .and_then(|fields| fields.comment.take())
        .unwrap_or_default();
    let mut whole = Whole {
        issue,
        raw,
        histories: log.histories,
        comments: talk.comments,
    };
    let Some(id) = whole.issue.id.clone() else {
        return Ok(whole);
    };
    if log.total > whole.histories.len()
        && let Some(all) = part(histories(client, request, &id).await, raw, unreadable)?
    {
        whole.histories = all;
    }
    if talk.total > whole.comments.len()
        && let Some(all) = part(
            comments(client, request, cursor, &id).await,
            raw,
            unreadable,
        )?
    {
        whole.comments = all;
    }
    Ok(whole)
}

/// A part of an issue that was asked for; `None` if it is refused, because the issue has gone or
/// been restricted since the page was read. That costs this issue only.
fn part<T>(
    asked: Result<T, ConnectorError>,
    issue: &RawValue,
    unreadable: &mut UnreadableRows,
) -> Result<Option<T>, ConnectorError> {
    match asked {
        Err(refused @ ConnectorError::Permission(_)) => Ok(unreadable.take(issue, Err(refused))),
        other => other.map(Some),
    }
}

async fn histories(
    client: &Client,
    request: &SyncRequest,
    issue: &str,
) -> Result<Vec<Box<RawValue>>, ConnectorError> {
    let call = call(request, "list_changelogs");
    let path = ["rest", "api", "3", "issue", issue, "changelog"];
    let limit = request.page_size(PAGE).to_string();
    let mut all = Vec::new();
    loop {
        let start = all.len().to_string();
        let query = [("startAt", start.as_str()), ("maxResults", limit.as_str())];
        let answer = client.get(&call, &path, &query).await?;
        let page: Changelogs = answer.json()?;
        client.spent(&call, page.histories.len()).await;
        let (none, total) = (page.histories.is_empty(), page.total);
        all.extend(page.histories);
        if none || all.len() >= total {
            return Ok(all);
        }
    }
}

/// Comments of an issue, the latest first, down to those that are too old to be told.
async fn comments(
    client: &Client,
    request: &SyncRequest,
    cursor: &Cursor,
    issue: &str,
) -> Result<Vec<Box<RawValue>>, ConnectorError> {
    let call = call(request, "list_comments");
    let path = ["rest", "api", "3", "issue", issue, "comment"];
    let limit = request.page_size(PAGE).to_string();
    let mut all = Vec::new();
    loop {
        let start = all.len().to_string();
        let query = [
            ("startAt", start.as_str()),
            ("maxResults", limit.as_str()),
            ("orderBy", "-created"),
        ];
        let answer = client.get(&call, &path, &query).await?;
        let page: Comments = answer.json()?;
        client.spent(&call, page.comments.len()).await;
        let none = page.comments.is_empty();
        // An old comment may have been edited lately, so age alone does not end the walk
        // before the first look at everything.
        let old = cursor.high.is_some()
            && page.comments.last().is_some_and(|raw| {
                let comment: Option<Comment> = read("comment", raw).ok();
                let at = comment.and_then(|comment| comment.updated.max(comment.created));
                at.is_some_and(|at| at.0.timestamp_millis() < cursor.floor)
            });
        all.extend(page.comments);
        if none || old || all.len() >= page.total {
            return Ok(all);
        }
    }
}

/// What an issue tells that is not too old. What of it cannot be read costs nothing else.
fn tell(
    scene: &normalize::Scene<'_>,
    whole: &Whole<'_>,
    floor: i64,
    at: DateTime<Utc>,
    told: &mut PageContent,
) {
    let floor = Utc.timestamp_millis_opt(floor).single().unwrap_or_default();
    let issue = &whole.issue;
    told.take(whole.raw, created(scene, whole, floor, at));
    for raw in &whole.histories {
        let changed = || {
            let change: Changelog = read("changelog", raw)?;
            let created = change
                .created
                .ok_or(WireError::Missing("changelog.created"))?;
            if created.0 < floor {
                return Ok(Vec::new());
            }
            normalize::changed(scene, issue, &change, raw, at)
        };
        told.take(raw, changed());
    }
    for raw in &whole.comments {
        told.take(raw, commented(scene, issue, raw, floor, at));
    }
}

fn created(
    scene: &normalize::Scene<'_>,
    whole: &Whole<'_>,
    floor: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    let fields = whole.issue.fields.as_ref();
    let created = fields
        .and_then(|fields| fields.created)
        .ok_or(WireError::Missing("issue.fields.created"))?;
    if created.0 < floor {
        return Ok(Vec::new());
    }
    normalize::created(scene, &whole.issue, whole.raw, None, at).map(|signal| vec![signal])
}

fn commented(
    scene: &normalize::Scene<'_>,
    issue: &Issue,
    raw: &RawValue,
    floor: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    let comment: Comment = read("comment", raw)?;
    let created = comment
        .created
        .ok_or(WireError::Missing("comment.created"))?;
    let mut signals = Vec::new();
    if created.0 >= floor {
        signals.push(normalize::commented(scene, issue, &comment, raw, at)?);
    }
    if comment
        .updated
        .is_some_and(|updated| updated > created && updated.0 >= floor)
    {
        signals.push(normalize::edited(scene, issue, &comment, raw)?);
    }
    Ok(signals)
}
