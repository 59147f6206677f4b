//! Stars.
//!
//! The list is oldest first and knows no `since`, so it is read from its last page
//! backwards: a star that is taken back moves later rows towards what is still to be read,
//! and skips none. The last page is remembered, and most runs ask only whether it changed.
//!
//! GitHub shows the first 40,000 stars of a repository; of one with more, only webhooks
//! tell the new ones.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, done, earlier, rows, walking};
use crate::connectors::github::client::{Answer, Refusal};
use crate::connectors::github::normalize::starred;
use crate::connectors::github::wire::{Stargazer, WireError, read};
use crate::connectors::support::PageContent;
use crate::connectors::{ConnectorError, SyncPage};

/// The answer has `starred_at` only in this form.
const WITH_TIMES: &str = "application/vnd.github.star+json";
/// A page with this many rows is full: the next star begins another.
const FULL_PAGE: usize = 100;

/// Where the stream is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Facts before it are never told.
    pub floor: DateTime<Utc>,
    /// Stars until then have been read.
    pub high: DateTime<Utc>,
    /// What was the last page.
    #[serde(default)]
    pub tail: Option<String>,
    /// The walk of a run that is not over.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// The last page's tag, when a new star must change it.
    #[serde(default)]
    pub tag: Option<Tag>,
}

impl Cursor {
    const fn begin(horizon: DateTime<Utc>) -> Self {
        Self {
            floor: horizon,
            high: horizon,
            tail: None,
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
    /// The next page, towards the front.
    pub next: String,
    /// The mark when the walk is over.
    pub high: DateTime<Utc>,
    /// What is the last page now, once it has been read, and its tag.
    #[serde(default)]
    pub tail: Option<String>,
    #[serde(default)]
    pub tag: Option<Tag>,
}

/// One page of stars.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, Refusal> {
    let horizon = reader.request.floor();
    let mut cursor: Cursor = load(reader.request)?.unwrap_or_else(|| Cursor::begin(horizon));
    let walk = cursor.walk.take();
    let fresh = walk.is_none();
    let url = match walk
        .as_ref()
        .map(|walk| &walk.next)
        .or(cursor.tail.as_ref())
    {
        Some(stored) => reader.stored(stored)?,
        None => reader.list(&["stargazers"], &[]),
    };
    let tag = cursor.tag.as_ref().filter(|_| fresh);
    let answer = reader
        .get("list_stargazers", url.clone(), tag, Some(WITH_TIMES))
        .await?;
    if answer.not_modified() {
        return done(PageContent::default(), &cursor);
    }
    let links = answer.links();
    let mut walk = walk.unwrap_or_else(|| Walk {
        next: url.to_string(),
        high: cursor.high,
        tail: None,
        tag: None,
    });
    // Where the list has grown, or shrunk, the walk begins at its new end.
    if let Some(last) = links.last.as_ref().filter(|last| fresh && **last != url) {
        walk.next = last.to_string();
        return walking(PageContent::default(), &cursor.walking(walk), 0.0);
    }

    let read = take(reader, &answer, &cursor, &mut walk.high)?;
    if walk.tail.is_none() {
        walk.tail = Some(url.to_string()).filter(|_| read.rows > 0);
        walk.tag = Tag::of(&url, &answer).filter(|_| read.rows < FULL_PAGE);
    }
    if let Some(prev) = links.prev.filter(|_| !read.known) {
        walk.next = prev.into();
        return walking(read.told, &cursor.walking(walk), 0.5);
    }
    let Walk {
        high, tail, tag, ..
    } = walk;
    done(
        read.told,
        &Cursor {
            high,
            tail,
            tag,
            ..cursor
        },
    )
}

/// What a page gave.
struct Taken {
    told: PageContent,
    rows: usize,
    /// Whether it reaches back to what had been read before.
    known: bool,
}

fn take(
    reader: &Reader<'_>,
    answer: &Answer,
    cursor: &Cursor,
    high: &mut DateTime<Utc>,
) -> Result<Taken, ConnectorError> {
    let oldest = earlier(cursor.high, OVERLAP).max(cursor.floor);
    let rows = rows(answer)?;
    let mut taken = Taken {
        told: PageContent::default(),
        rows: rows.len(),
        known: false,
    };
    for raw in rows {
        let fact = || {
            let star: Stargazer = read("stargazer", raw)?;
            let at = star.starred_at.ok_or(WireError::Missing("starred_at"))?.0;
            if at < oldest {
                return Ok((at, None));
            }
            Ok::<_, WireError>((at, Some(starred(&reader.place, &star, raw)?)))
        };
        match taken.told.unreadable.take(raw, fact()) {
            Some((_, None)) => taken.known = true,
            Some((at, fact)) => {
                *high = (*high).max(reader.not_in_the_future(at));
                taken.told.signals.extend(fact);
            }
            None => {}
        }
    }
    Ok(taken)
}
