//! Pull requests, and the reviews of changed ones.
//!
//! The list has no `since` parameter, so it is read newest first down to the mark. Rows only move
//! down during the walk, which repeats some and skips none; a pull request that is updated during
//! the walk is newer than the mark and belongs to the next run. A review updates its pull request,
//! so the reviews of every pull request of the walk are read, some per page.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::cursor::{Tag, load};
use super::names::RowOwners;
use super::{OVERLAP, Reader, continued_page, earlier, last_page, part_before, rows};
use crate::connectors::github::client::{ApiError, is_own_not_found};
use crate::connectors::github::normalize::{Envelope, pulls};
use crate::connectors::github::page_size::{MAX_SIZE_FAILURES, page_size, with_page_size};
use crate::connectors::github::wire::{PullRequest, Review, WireError, read};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::SignalDraft;

/// Maximum number of calls for reviews per page.
const MAX_REVIEW_CALLS: usize = 10;
/// Failures of a call for reviews after which the next one decides: it tries all smaller pages, and
/// the pull request is passed if they fail as well.
const MAX_REVIEW_FAILURES: u32 = 2;
/// The part of the stream that is then not read.
const UNREADABLE_PART: &str = "the reviews of some pull requests";
/// Maximum length of a title in the cursor.
const MAX_TITLE_CHARS: usize = 200;

/// Cursor of the stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Lower bound of the stream's facts.
    pub floor: DateTime<Utc>,
    /// High-water mark: updates up to then have been read.
    pub high: DateTime<Utc>,
    /// The unfinished walk.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// Tag of the first page, if all of it has been read.
    #[serde(default)]
    pub tag: Option<Tag>,
}

impl Cursor {
    fn begin(request: &SyncRequest) -> Self {
        Self {
            floor: request.floor(),
            high: request.read_from(),
            walk: None,
            tag: None,
        }
    }

    fn with_walk(self, walk: Walk) -> Self {
        Self {
            walk: Some(walk),
            ..self
        }
    }
}

/// Position of a walk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The next page of the list; `None` after the last one.
    #[serde(default)]
    pub next: Option<String>,
    /// The mark after the walk.
    pub high: DateTime<Utc>,
    /// The tag after the walk.
    #[serde(default)]
    pub tag: Option<Tag>,
    /// Pull requests with unread reviews.
    pub reviews: VecDeque<Pending>,
    /// Whether the reviews of a pull request were not readable.
    #[serde(default)]
    pub has_unreadable: bool,
    /// Update time of the last pull request read.
    #[serde(default)]
    pub at: Option<DateTime<Utc>>,
}

/// A pull request with unread reviews.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Number.
    pub number: u64,
    /// Title, for the Signals.
    #[serde(default)]
    pub title: Option<String>,
    /// The next page of its reviews, after the first.
    #[serde(default)]
    pub next: Option<String>,
}

/// Reads a page of the list or some reviews.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, ApiError> {
    let request = reader.request;
    let mut cursor: Cursor = load(request)?.unwrap_or_else(|| Cursor::begin(request));
    match cursor.walk.take() {
        Some(mut walk) if !walk.reviews.is_empty() => {
            let content = read_reviews(reader, cursor.floor, &mut walk).await?;
            finish_page(reader, cursor, walk, content)
        }
        walk => read_list(reader, cursor, walk).await,
    }
}

async fn read_list(
    reader: &Reader<'_>,
    cursor: Cursor,
    walk: Option<Walk>,
) -> Result<SyncPage, ApiError> {
    let is_first = walk.is_none();
    let url = match walk.as_ref().and_then(|walk| walk.next.as_deref()) {
        Some(next) => reader.stored_url(next)?,
        None => reader.list_url(
            &["pulls"],
            &[("state", "all"), ("sort", "updated"), ("direction", "desc")],
        ),
    };
    let tag = cursor.tag.as_ref().filter(|_| is_first);
    let response = reader
        .get("list_pull_requests", url.clone(), tag, None)
        .await?;
    if response.not_modified() {
        return last_page(PageContent::default(), &cursor);
    }
    let mut walk = walk.unwrap_or_else(|| Walk {
        next: None,
        high: cursor.high,
        tag: Tag::of(&url, &response),
        reviews: VecDeque::new(),
        has_unreadable: false,
        at: None,
    });

    let mut content = PageContent::default();
    let mut owners = RowOwners::default();
    let mut reaches_previous = false;
    for raw in rows(&response)? {
        let Some((pull, updated_at)) = content.unreadable.take(raw, parse_pull(raw)) else {
            continue;
        };
        if updated_at < earlier(cursor.high, OVERLAP) {
            reaches_previous = true;
            break;
        }
        let repository = pull.base.as_ref().and_then(|base| base.repo.as_ref());
        if let Some(repository) = repository {
            owners.note(&reader.repo.id, repository.id);
        }
        walk.high = walk.high.max(reader.clamp_to_now(updated_at));
        walk.at = Some(updated_at);
        let facts = facts(reader, &pull, raw).map(|mut facts| {
            facts.retain(|fact| fact.timestamp >= cursor.floor);
            facts
        });
        content.take(raw, facts);
        let Some(number) = pull.number else {
            // Its reviews have no address.
            content
                .unreadable
                .take(raw, Err::<(), _>(WireError::Missing("pull_request.number")));
            walk.has_unreadable = true;
            continue;
        };
        walk.reviews.push_back(Pending {
            number,
            title: pull
                .title
                .map(|title| title.chars().take(MAX_TITLE_CHARS).collect()),
            next: None,
        });
    }
    if let Some(other) = owners.other() {
        reader.verify_repository(other)?;
    }
    walk.next = response
        .links()
        .next
        .filter(|_| !reaches_previous)
        .map(String::from);
    finish_page(reader, cursor, walk, content)
}

/// Parses a pull request and its update time.
fn parse_pull(raw: &RawValue) -> Result<(PullRequest, DateTime<Utc>), WireError> {
    let pull: PullRequest = read("pull_request", raw)?;
    let updated_at = pull
        .updated_at
        .ok_or(WireError::Missing("pull_request.updated_at"))?
        .0;
    Ok((pull, updated_at))
}

/// Builds the page, with the continued walk or, after the walk, with the new mark.
fn finish_page(
    reader: &Reader<'_>,
    cursor: Cursor,
    walk: Walk,
    content: PageContent,
) -> Result<SyncPage, ApiError> {
    if walk.next.is_none() && walk.reviews.is_empty() {
        let Walk {
            high,
            tag,
            has_unreadable,
            ..
        } = walk;
        let end = Cursor {
            high,
            tag,
            ..cursor
        };
        return Ok(SyncPage {
            failing_part: has_unreadable.then_some(UNREADABLE_PART),
            ..last_page(content, &end)?
        });
    }
    let left = walk.at.map_or(1.0, |at| {
        part_before(at, cursor.high, reader.request.upper_bound)
    });
    continued_page(content, &cursor.with_walk(walk), 1.0 - left)
}

/// Normalizes a pull request of the list.
fn facts(
    reader: &Reader<'_>,
    pull: &PullRequest,
    raw: &RawValue,
) -> Result<Vec<SignalDraft>, WireError> {
    let listed = &Envelope::default();
    let mut facts = vec![pulls::opened(&reader.repo, pull, raw, listed)?];
    if pull.is_merged() {
        facts.push(pulls::merged(&reader.repo, pull, raw, listed)?);
    } else if pull.state.as_deref() == Some("closed") {
        facts.push(pulls::closed(&reader.repo, pull, raw, listed)?);
    }
    Ok(facts)
}

/// Reads reviews of some pull requests.
///
/// The reviews read before an error count; the next page begins with the failed call. After several
/// failures, a pull request whose reviews are not readable is passed.
async fn read_reviews(
    reader: &Reader<'_>,
    floor: DateTime<Utc>,
    walk: &mut Walk,
) -> Result<PageContent, ApiError> {
    let mut content = PageContent::default();
    for call in 0..MAX_REVIEW_CALLS {
        let is_final = walk.has_unreadable || reader.request.failures >= MAX_REVIEW_FAILURES;
        let Some(pending) = walk.reviews.front_mut() else {
            break;
        };
        match read_reviews_page(reader, pending, is_final).await {
            Ok((page, next)) => {
                let facts = page.signals.into_iter();
                content
                    .signals
                    .extend(facts.filter(|fact| fact.timestamp >= floor));
                content.unreadable.extend(page.unreadable);
                pending.next = next;
                if pending.next.is_none() {
                    walk.reviews.pop_front();
                }
            }
            Err(error) if call == 0 => {
                if !is_limited_to_reviews(reader, &error, is_final).await {
                    return Err(error);
                }
                if let Some(pending) = walk.reviews.pop_front() {
                    let row = to_raw_value(&json!({
                        "id": pending.number, "number": pending.number, "title": pending.title,
                    }));
                    let row = row.map_err(|error| ConnectorError::Permanent(error.into()))?;
                    let status = error.status.map(|status| status.to_string());
                    let reason = format!(
                        "the reviews of the pull request were not readable, GitHub responded with {}",
                        status.as_deref().unwrap_or("no usable response")
                    );
                    content.unreadable.take(&row, Err::<(), _>(reason));
                }
                walk.has_unreadable = true;
            }
            Err(_) => break,
        }
    }
    Ok(content)
}

/// Returns whether an error concerns one pull request's reviews, and not GitHub or the repository.
///
/// A temporary failure must have been retried, unless the walk has passed such a pull request before;
/// and the list of pull requests must be readable.
async fn is_limited_to_reviews(reader: &Reader<'_>, error: &ApiError, is_final: bool) -> bool {
    let is_final = match error.cause {
        ConnectorError::Transient(_) => is_final,
        // A retry does not help.
        ConnectorError::Permanent(_) => true,
        ConnectorError::Denied { .. } => error.status.is_some(),
        _ => false,
    };
    if !is_final {
        return false;
    }
    let mut url = reader
        .client
        .api(&["repos", &reader.owner, &reader.name, "pulls"]);
    url.query_pairs_mut()
        .append_pair("state", "all")
        .append_pair("sort", "updated")
        .append_pair("direction", "desc")
        .append_pair("per_page", "1");
    let list = reader.get("list_pull_requests", url, None, None).await;
    list.is_ok_and(|response| rows(&response).is_ok())
}

/// Reads a page of a pull request's reviews, and returns it with the next page's URL.
///
/// The final attempt tries smaller pages immediately.
async fn read_reviews_page(
    reader: &Reader<'_>,
    pending: &Pending,
    is_final: bool,
) -> Result<(PageContent, Option<String>), ApiError> {
    let url = match &pending.next {
        Some(next) => reader.stored_url(next)?,
        None => reader.list_url(&["pulls", &pending.number.to_string(), "reviews"], &[]),
    };
    let mut response = reader.get("list_reviews", url.clone(), None, None).await;
    let mut size = page_size(&url);
    for failures in reader.request.failures..MAX_SIZE_FAILURES {
        let is_transient =
            matches!(&response, Err(error) if matches!(error.cause, ConnectorError::Transient(_)));
        if !is_final || !is_transient {
            break;
        }
        let smaller = with_page_size(&url, failures + 1);
        if page_size(&smaller) < size {
            size = page_size(&smaller);
            response = reader.get("list_reviews", smaller, None, None).await;
        }
    }
    let response = match response {
        // Only this pull request is missing; if the repository were, the list would fail.
        Err(error) if is_own_not_found(&error) => {
            return Ok((PageContent::default(), None));
        }
        other => other?,
    };
    let reviewed = |raw| {
        let review: Review = read("review", raw)?;
        // A pending review has no time.
        if review.submitted_at.is_none() {
            return Ok(Vec::new());
        }
        let pull = pulls::ReviewedPull {
            number: Some(pending.number),
            title: pending.title.as_deref(),
        };
        let fact = pulls::reviewed(&reader.repo, &review, raw, &pull, &Envelope::default())?;
        Ok::<_, WireError>(fact.into_iter().collect())
    };
    let mut content = PageContent::default();
    for raw in rows(&response)? {
        content.take(raw, reviewed(raw));
    }
    Ok((content, response.links().next.map(String::from)))
}
