//! Pull requests, and the reviews of those that changed.
//!
//! The list knows no `since`: it is walked newest first until it is older than the mark.
//! Rows only move down while it is read, which repeats some and skips none; a pull request
//! that is updated meanwhile is newer than the mark and belongs to the next run. A review
//! updates its pull request, so reviews are read of every one on the way, some per page.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, done, earlier, part_before, rows, walking};
use crate::connectors::SyncPage;
use crate::connectors::github::client::Refusal;
use crate::connectors::github::normalize::{Envelope, pulls};
use crate::connectors::github::wire::{PullRequest, Review, WireError, read};
use crate::connectors::support::PageContent;
use crate::signals::SignalDraft;

/// Calls for reviews that one page makes.
const CALLS_PER_PAGE: usize = 10;
/// How much of a title the cursor carries.
const KEPT_TITLE: usize = 200;

/// Where the stream is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Facts before it are never told.
    pub floor: DateTime<Utc>,
    /// What was updated until then has been read.
    pub high: DateTime<Utc>,
    /// The walk of a run that is not over.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// The tag of the first page, when nothing on it is left to be read.
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
    /// The next page of the list; `None` when it has been read.
    #[serde(default)]
    pub next: Option<String>,
    /// The mark when the walk is over.
    pub high: DateTime<Utc>,
    /// The tag when the walk is over.
    #[serde(default)]
    pub tag: Option<Tag>,
    /// Pull requests whose reviews are still to be read.
    pub reviews: VecDeque<Pending>,
    /// When the last one on the list was updated that has been read.
    #[serde(default)]
    pub at: Option<DateTime<Utc>>,
}

/// A pull request whose reviews are still to be read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Its number.
    pub number: u64,
    /// Its title, for the Signals.
    #[serde(default)]
    pub title: Option<String>,
    /// The next page of its reviews, after the first.
    #[serde(default)]
    pub next: Option<String>,
}

/// One page of the list, or some reviews.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, Refusal> {
    let horizon = reader.request.floor();
    let mut cursor: Cursor = load(reader.request)?.unwrap_or_else(|| Cursor::begin(horizon));
    match cursor.walk.take() {
        Some(mut walk) if !walk.reviews.is_empty() => {
            let told = reviews(reader, cursor.floor, &mut walk).await?;
            settle(reader, cursor, walk, told)
        }
        walk => list(reader, cursor, walk).await,
    }
}

async fn list(
    reader: &Reader<'_>,
    cursor: Cursor,
    walk: Option<Walk>,
) -> Result<SyncPage, Refusal> {
    let fresh = walk.is_none();
    let url = match walk.as_ref().and_then(|walk| walk.next.as_deref()) {
        Some(next) => reader.stored(next)?,
        None => reader.list(
            &["pulls"],
            &[("state", "all"), ("sort", "updated"), ("direction", "desc")],
        ),
    };
    let tag = cursor.tag.as_ref().filter(|_| fresh);
    let answer = reader
        .get("list_pull_requests", url.clone(), tag, None)
        .await?;
    if answer.not_modified() {
        return done(PageContent::default(), &cursor);
    }
    let mut walk = walk.unwrap_or_else(|| Walk {
        next: None,
        high: cursor.high,
        tag: Tag::of(&url, &answer),
        reviews: VecDeque::new(),
        at: None,
    });

    let mut told = PageContent::default();
    let mut known = false;
    for raw in rows(&answer)? {
        let Some((pull, updated_at)) = told.unreadable.take(raw, pull_request(raw)) else {
            continue;
        };
        if updated_at < earlier(cursor.high, OVERLAP) {
            known = true;
            break;
        }
        walk.high = walk.high.max(reader.not_in_the_future(updated_at));
        walk.at = Some(updated_at);
        let facts = facts(reader, &pull, raw).map(|mut facts| {
            facts.retain(|fact| fact.timestamp >= cursor.floor);
            facts
        });
        told.take(raw, facts);
        walk.reviews.push_back(Pending {
            number: pull.number,
            title: pull
                .title
                .map(|title| title.chars().take(KEPT_TITLE).collect()),
            next: None,
        });
    }
    walk.next = answer.links().next.filter(|_| !known).map(String::from);
    settle(reader, cursor, walk, told)
}

/// A pull request of the list, and when it was updated.
fn pull_request(raw: &RawValue) -> Result<(PullRequest, DateTime<Utc>), WireError> {
    let pull: PullRequest = read("pull_request", raw)?;
    let updated_at = pull
        .updated_at
        .ok_or(WireError::Missing("pull_request.updated_at"))?
        .0;
    Ok((pull, updated_at))
}

/// The page's cursor: the walk has more to read, or is over and its mark counts.
fn settle(
    reader: &Reader<'_>,
    cursor: Cursor,
    walk: Walk,
    told: PageContent,
) -> Result<SyncPage, Refusal> {
    if walk.next.is_none() && walk.reviews.is_empty() {
        let Walk { high, tag, .. } = walk;
        return done(
            told,
            &Cursor {
                high,
                tag,
                ..cursor
            },
        );
    }
    let left = walk
        .at
        .map_or(1.0, |at| part_before(at, cursor.high, reader.request.until));
    walking(told, &cursor.walking(walk), 1.0 - left)
}

fn facts(
    reader: &Reader<'_>,
    pull: &PullRequest,
    raw: &RawValue,
) -> Result<Vec<SignalDraft>, WireError> {
    let listed = &Envelope::default();
    let mut facts = vec![pulls::opened(&reader.place, pull, raw, listed)?];
    if pull.is_merged() {
        facts.push(pulls::merged(&reader.place, pull, raw, listed)?);
    } else if pull.state.as_deref() == Some("closed") {
        facts.push(pulls::closed(&reader.place, pull, raw, listed)?);
    }
    Ok(facts)
}

/// Reads reviews of some pull requests. What was read before a refusal counts; the next
/// page meets the refusal at its beginning.
async fn reviews(
    reader: &Reader<'_>,
    floor: DateTime<Utc>,
    walk: &mut Walk,
) -> Result<PageContent, Refusal> {
    let mut told = PageContent::default();
    for call in 0..CALLS_PER_PAGE {
        let Some(pending) = walk.reviews.front_mut() else {
            break;
        };
        match reviews_of(reader, pending).await {
            Ok((page, next)) => {
                let facts = page.signals.into_iter();
                told.signals
                    .extend(facts.filter(|fact| fact.timestamp >= floor));
                told.unreadable.extend(page.unreadable);
                pending.next = next;
                if pending.next.is_none() {
                    walk.reviews.pop_front();
                }
            }
            Err(refusal) if call == 0 => return Err(refusal),
            Err(_) => break,
        }
    }
    Ok(told)
}

/// One page of one pull request's reviews, and the page after it.
async fn reviews_of(
    reader: &Reader<'_>,
    pending: &Pending,
) -> Result<(PageContent, Option<String>), Refusal> {
    let url = match &pending.next {
        Some(next) => reader.stored(next)?,
        None => reader.list(&["pulls", &pending.number.to_string(), "reviews"], &[]),
    };
    let answer = match reader.get("list_reviews", url, None, None).await {
        // This one alone is gone; were it the repository, the list would say so.
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => {
            return Ok((PageContent::default(), None));
        }
        other => other?,
    };
    let reviewed = |raw| {
        let review: Review = read("review", raw)?;
        // A review that is still being written has no time yet.
        if review.submitted_at.is_none() {
            return Ok(Vec::new());
        }
        let pull = pulls::Reviewed {
            number: pending.number,
            title: pending.title.as_deref(),
        };
        let fact = pulls::reviewed(&reader.place, &review, raw, &pull, &Envelope::default())?;
        Ok::<_, WireError>(fact.into_iter().collect())
    };
    let mut told = PageContent::default();
    for raw in rows(&answer)? {
        told.take(raw, reviewed(raw));
    }
    Ok((told, answer.links().next.map(String::from)))
}
