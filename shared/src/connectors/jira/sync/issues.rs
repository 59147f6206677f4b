//! Stream of issues by the time of their last change, with changes and comments.
//!
//! Issues are read newest first and without an upper bound: an issue that changes during the walk
//! moves to the top and shifts later rows down, which repeats some rows and skips none.
//!
//! The whole site has one stream and not one per project, because every search costs a point.
//! Times in JQL are in milliseconds, because Jira interprets formatted ones in the person's time
//! zone.

use chrono::{DateTime, TimeZone, Utc};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{OVERLAP, call, with_directory};
use crate::connectors::cursor::{load_cursor, part_before, save_cursor};
use crate::connectors::jira::client::{ApiError, Client};
use crate::connectors::jira::normalize;
use crate::connectors::jira::wire::{
    Changelog, ChangelogPage, Comment, CommentPage, Issue, WireError, read,
};
use crate::connectors::page::PageContent;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::SignalDraft;

/// Issues per page, and changes or comments per page of an issue.
const PAGE: u32 = 100;
/// Requested fields.
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

/// Position in the site, in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The stream's floor: earlier facts are not emitted.
    floor: i64,
    /// The latest change that was read; `None` until the first walk is complete.
    ///
    /// A resync begins at the end of the last complete read.
    #[serde(default)]
    high: Option<i64>,
    /// The current walk; `None` between runs.
    #[serde(default)]
    walk: Option<Walk>,
}

/// A pass over the changed issues, newest first.
#[derive(Debug, Serialize, Deserialize)]
struct Walk {
    /// The search, which page tokens are bound to.
    jql: String,
    started_at: i64,
    #[serde(default)]
    newest: Option<i64>,
    #[serde(default)]
    oldest: Option<i64>,
    #[serde(default)]
    next: Option<String>,
}

/// Issue with its changes and comments.
struct IssueDetails<'a> {
    issue: Issue,
    raw: &'a RawValue,
    histories: Vec<Box<RawValue>>,
    comments: Vec<Box<RawValue>>,
}

/// Reads a page of issues.
pub(super) async fn read_page(
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
        high: request.resync_from.map(|from| from.timestamp_millis()),
        walk: None,
    });
    let mut walk = cursor
        .walk
        .take()
        .unwrap_or_else(|| start_walk(&cursor, request));
    let mut body = json!({
        "jql": walk.jql, "fields": FIELDS, "maxResults": request.page_size(PAGE), "expand": "changelog",
    });
    if let Some(next) = &walk.next {
        body["nextPageToken"] = json!(next);
    }
    let call = call(request, "search_issues");
    let path = ["rest", "api", "3", "search", "jql"];
    let response = client
        .send_json(&call, Method::POST, &path, &body)
        .await
        .map_err(|error| map_page_error(error, &walk))?;
    let page: Page<'_> = response.json()?;
    client.record_cost(&call, page.issues.len()).await;

    let mut unreadable = UnreadableRows::default();
    let rows = unreadable.read_all(page.issues, |raw| read("issue", raw));
    let mut all_details = Vec::new();
    for (issue, raw) in rows {
        let details = fetch_details(client, request, &cursor, issue, raw, &mut unreadable).await?;
        let fields = details.issue.fields.as_ref();
        let updated = fields
            .and_then(|fields| fields.updated)
            .map(|at| at.0.timestamp_millis());
        walk.newest = walk.newest.max(updated);
        walk.oldest = updated.or(walk.oldest);
        all_details.push(details);
    }
    let floor = cursor.floor;
    let mut normalized = with_directory(client, request, |context| {
        let mut normalized = PageContent::default();
        for details in &all_details {
            normalize_issue(
                context,
                details,
                floor,
                request.upper_bound,
                &mut normalized,
            );
        }
        normalized
    })
    .await?;
    normalized.unreadable.extend(unreadable);
    walk.next = page.next;
    let has_more = walk.next.is_some();
    let mut progress = 1.0;
    if has_more {
        progress = progress_of(&walk, floor);
        cursor.walk = Some(walk);
    } else {
        // Not beyond the run's upper bound, because the index may lag.
        let reached = walk.newest.map(|newest| newest.min(walk.started_at));
        cursor.high = cursor.high.max(reached).or(Some(floor));
    }
    Ok(SyncPage {
        has_more,
        progress,
        ..normalized.into_page(save_cursor(&cursor)?)
    })
}

/// Starts the walk of a run.
fn start_walk(cursor: &Cursor, request: &SyncRequest) -> Walk {
    let oldest = cursor.high.map_or(cursor.floor, |high| {
        high.saturating_sub(OVERLAP.num_milliseconds())
    });
    let oldest = oldest.max(cursor.floor);
    Walk {
        jql: format!("updated >= {oldest} ORDER BY updated DESC, id DESC"),
        started_at: request.upper_bound.timestamp_millis(),
        newest: None,
        oldest: None,
        next: None,
    }
}

/// The part of the time since the floor that has been read.
fn progress_of(walk: &Walk, floor: i64) -> f32 {
    let at = |millis| {
        Utc.timestamp_millis_opt(millis)
            .single()
            .unwrap_or_default()
    };
    let reached = at(walk.oldest.unwrap_or(walk.started_at));
    1.0 - part_before(reached, at(floor), at(walk.started_at))
}

/// Maps the error of an expired or unknown page token, which restarts the stream.
fn map_page_error(error: ApiError, walk: &Walk) -> ConnectorError {
    match error.cause {
        ConnectorError::Permanent(source)
            if error.status == Some(StatusCode::BAD_REQUEST) && walk.next.is_some() =>
        {
            ConnectorError::CursorExpired(source)
        }
        other => other,
    }
}

/// Fetches the changes and comments of an issue that the page omits.
async fn fetch_details<'a>(
    client: &Client,
    request: &SyncRequest,
    cursor: &Cursor,
    mut issue: Issue,
    raw: &'a RawValue,
    unreadable: &mut UnreadableRows,
) -> Result<IssueDetails<'a>, ConnectorError> {
    let changelogs = issue.changelog.take().unwrap_or_default();
    let fields = issue.fields.as_mut();
    let comments = fields
        .and_then(|fields| fields.comment.take())
        .unwrap_or_default();
    let mut details = IssueDetails {
        issue,
        raw,
        histories: changelogs.histories,
        comments: comments.comments,
    };
    let Some(id) = details.issue.id.clone() else {
        return Ok(details);
    };
    // The issue may have been deleted or restricted since the page was read.
    if changelogs.total > details.histories.len() {
        let all = list_histories(client, request, &id).await;
        if let Some(all) = unreadable.take_details(request, raw, all)? {
            details.histories = all;
        }
    }
    if comments.total > details.comments.len() {
        let all = list_comments(client, request, cursor, &id).await;
        if let Some(all) = unreadable.take_details(request, raw, all)? {
            details.comments = all;
        }
    }
    Ok(details)
}

async fn list_histories(
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
        let response = client.get(&call, &path, &query).await?;
        let page: ChangelogPage = response.json()?;
        client.record_cost(&call, page.values.len()).await;
        let (is_empty, total) = (page.values.is_empty(), page.total);
        all.extend(page.values);
        if is_empty || all.len() >= total {
            return Ok(all);
        }
    }
}

/// Lists the comments of an issue, newest first, until they are older than the floor.
async fn list_comments(
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
        let response = client.get(&call, &path, &query).await?;
        let page: CommentPage = response.json()?;
        client.record_cost(&call, page.comments.len()).await;
        let is_empty = page.comments.is_empty();
        // An old comment may have a recent edit, so the first walk reads all comments.
        let is_old = cursor.high.is_some()
            && page.comments.last().is_some_and(|raw| {
                let comment: Option<Comment> = read("comment", raw).ok();
                let at = comment.and_then(|comment| comment.updated.max(comment.created));
                at.is_some_and(|at| at.0.timestamp_millis() < cursor.floor)
            });
        all.extend(page.comments);
        if is_empty || is_old || all.len() >= page.total {
            return Ok(all);
        }
    }
}

/// Normalizes an issue's facts since the floor; an unreadable part does not affect others.
fn normalize_issue(
    context: &normalize::NormalizeContext<'_>,
    details: &IssueDetails<'_>,
    floor: i64,
    at: DateTime<Utc>,
    normalized: &mut PageContent,
) {
    let floor = Utc.timestamp_millis_opt(floor).single().unwrap_or_default();
    let issue = &details.issue;
    normalized.take(details.raw, normalize_creation(context, details, floor, at));
    for raw in &details.histories {
        let changed = || {
            let change: Changelog = read("changelog", raw)?;
            let created = change
                .created
                .ok_or(WireError::Missing("changelog.created"))?;
            if created.0 < floor {
                return Ok(Vec::new());
            }
            normalize::issue_changed(context, issue, &change, raw, at)
        };
        normalized.take(raw, changed());
    }
    for raw in &details.comments {
        normalized.take(raw, normalize_comment(context, issue, raw, floor, at));
    }
}

fn normalize_creation(
    context: &normalize::NormalizeContext<'_>,
    details: &IssueDetails<'_>,
    floor: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    let fields = details.issue.fields.as_ref();
    let created = fields
        .and_then(|fields| fields.created)
        .ok_or(WireError::Missing("issue.fields.created"))?;
    if created.0 < floor {
        return Ok(Vec::new());
    }
    normalize::issue_created(context, &details.issue, details.raw, None, at)
        .map(|signal| vec![signal])
}

fn normalize_comment(
    context: &normalize::NormalizeContext<'_>,
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
        signals.push(normalize::issue_commented(
            context, issue, &comment, raw, at,
        )?);
    }
    if comment
        .updated
        .is_some_and(|updated| updated > created && updated.0 >= floor)
    {
        signals.push(normalize::comment_edited(context, issue, &comment, raw)?);
    }
    Ok(signals)
}
