//! Stars.
//!
//! The list is oldest first and has no `since` parameter, so it is read backwards from its last
//! page: a removed star moves later rows towards the unread ones, so that none is skipped. The
//! cursor contains the last page, and most runs make one conditional request for it.
//!
//! GitHub lists the first 40,000 stars of a repository; later ones come from webhooks only.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, continued_page, earlier, last_page, rows};
use crate::connectors::github::client::{ApiError, Response};
use crate::connectors::github::normalize::starred;
use crate::connectors::github::page_size::page_size;
use crate::connectors::github::wire::{Stargazer, WireError, read};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Media type whose responses have `starred_at`.
const MEDIA_TYPE_WITH_TIMES: &str = "application/vnd.github.star+json";
/// Cursor of the stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Lower bound of the stream's facts.
    pub floor: DateTime<Utc>,
    /// High-water mark: stars up to then have been read.
    pub high: DateTime<Utc>,
    /// URL of the last page.
    #[serde(default)]
    pub tail: Option<String>,
    /// The unfinished walk.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// Tag of the last page, if a new star must change it.
    #[serde(default)]
    pub tag: Option<Tag>,
}

impl Cursor {
    fn begin(request: &SyncRequest) -> Self {
        Self {
            floor: request.floor(),
            high: request.read_from(),
            tail: None,
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
    /// The next page, in backward order.
    pub next: String,
    /// The mark after the walk.
    pub high: DateTime<Utc>,
    /// URL of the current last page, after it has been read.
    #[serde(default)]
    pub tail: Option<String>,
    /// Tag of that page.
    #[serde(default)]
    pub tag: Option<Tag>,
}

/// Reads a page.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, ApiError> {
    let request = reader.request;
    let mut cursor: Cursor = load(request)?.unwrap_or_else(|| Cursor::begin(request));
    let walk = cursor.walk.take();
    let is_first = walk.is_none();
    let url = match walk
        .as_ref()
        .map(|walk| &walk.next)
        .or(cursor.tail.as_ref())
    {
        Some(stored) => reader.stored_url(stored)?,
        None => reader.list_url(&["stargazers"], &[]),
    };
    let tag = cursor.tag.as_ref().filter(|_| is_first);
    let response = reader
        .get(
            "list_stargazers",
            url.clone(),
            tag,
            Some(MEDIA_TYPE_WITH_TIMES),
        )
        .await?;
    if response.not_modified() {
        return last_page(PageContent::default(), &cursor);
    }
    let links = response.links();
    let mut walk = walk.unwrap_or_else(|| Walk {
        next: url.to_string(),
        high: cursor.high,
        tail: None,
        tag: None,
    });
    // If the last page changed, the walk begins at the new one.
    if let Some(last) = links.last.as_ref().filter(|last| is_first && **last != url) {
        walk.next = last.to_string();
        return continued_page(PageContent::default(), &cursor.with_walk(walk), 0.0);
    }

    let parsed = parse_page(reader, &response, &cursor, &mut walk.high)?;
    if walk.tail.is_none() {
        walk.tail = Some(url.to_string()).filter(|_| parsed.rows > 0);
        // After a full page, a new star begins another one.
        let size = page_size(&url).and_then(|size| usize::try_from(size).ok());
        walk.tag = Tag::of(&url, &response).filter(|_| Some(parsed.rows) < size);
    }
    if let Some(prev) = links.prev.filter(|_| !parsed.reaches_previous) {
        walk.next = prev.into();
        return continued_page(parsed.content, &cursor.with_walk(walk), 0.5);
    }
    let Walk {
        high, tail, tag, ..
    } = walk;
    last_page(
        parsed.content,
        &Cursor {
            high,
            tail,
            tag,
            ..cursor
        },
    )
}

/// A normalized page.
struct ParsedPage {
    content: PageContent,
    rows: usize,
    /// Whether it reaches back to the previous run.
    reaches_previous: bool,
}

/// Normalizes a page and updates the mark.
fn parse_page(
    reader: &Reader<'_>,
    response: &Response,
    cursor: &Cursor,
    high: &mut DateTime<Utc>,
) -> Result<ParsedPage, ConnectorError> {
    let oldest = earlier(cursor.high, OVERLAP).max(cursor.floor);
    let rows = rows(response)?;
    let mut parsed = ParsedPage {
        content: PageContent::default(),
        rows: rows.len(),
        reaches_previous: false,
    };
    for raw in rows {
        let fact = || {
            let star: Stargazer = read("stargazer", raw)?;
            let at = star.starred_at.ok_or(WireError::Missing("starred_at"))?.0;
            if at < oldest {
                return Ok((at, None));
            }
            Ok::<_, WireError>((at, Some(starred(&reader.repo, &star, raw)?)))
        };
        match parsed.content.unreadable.take(raw, fact()) {
            Some((_, None)) => parsed.reaches_previous = true,
            Some((at, fact)) => {
                *high = (*high).max(reader.clamp_to_now(at));
                parsed.content.signals.extend(fact);
            }
            None => {}
        }
    }
    Ok(parsed)
}
