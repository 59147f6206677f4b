//! Releases.
//!
//! The list is in order of creation, and a draft may be published a year later. A run reads until a
//! page has nothing new, and once a day the whole list, as every reconciliation pass does: a draft
//! that is published behind the first page belongs to what is reconciled.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, continued_page, earlier, last_page, rows};
use crate::connectors::github::client::{ApiError, Response};
use crate::connectors::github::normalize::{Envelope, releases};
use crate::connectors::github::wire::{Release, WireError, read};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Interval at which the whole list is read.
const FULL_INTERVAL: Duration = Duration::hours(24);

/// Cursor of the stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Lower bound of the stream's facts.
    pub floor: DateTime<Utc>,
    /// High-water mark: releases published up to then have been read.
    pub high: DateTime<Utc>,
    /// Time at which the whole list was last read.
    #[serde(default)]
    pub full_at: Option<DateTime<Utc>>,
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
            full_at: None,
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
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The next page.
    #[serde(default)]
    pub next: Option<String>,
    /// The mark after the walk.
    pub high: DateTime<Utc>,
    /// Whether the whole list is read.
    pub full: bool,
    /// The tag after the walk.
    #[serde(default)]
    pub tag: Option<Tag>,
}

/// Reads a page.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, ApiError> {
    let request = reader.request;
    let upper_bound = request.upper_bound;
    let mut cursor: Cursor = load(request)?.unwrap_or_else(|| Cursor::begin(request));
    let walk = cursor.walk.take();
    let is_first = walk.is_none();
    let mut walk = walk.unwrap_or_else(|| Walk {
        high: cursor.high,
        full: cursor
            .full_at
            .is_none_or(|last| upper_bound - last >= FULL_INTERVAL),
        ..Walk::default()
    });
    let url = match &walk.next {
        Some(next) => reader.stored_url(next)?,
        None => reader.list_url(&["releases"], &[]),
    };
    let tag = cursor.tag.as_ref().filter(|_| is_first && !walk.full);
    let response = reader.get("list_releases", url.clone(), tag, None).await?;
    if response.not_modified() {
        return last_page(PageContent::default(), &cursor);
    }
    if is_first {
        walk.tag = Tag::of(&url, &response);
    }

    let content = parse_page(reader, &response, &cursor, &mut walk)?;
    let next = response
        .links()
        .next
        .filter(|_| walk.full || !content.signals.is_empty());
    if let Some(next) = next {
        walk.next = Some(next.into());
        return continued_page(content, &cursor.with_walk(walk), 0.5);
    }
    let full_at = if walk.full {
        Some(upper_bound)
    } else {
        cursor.full_at
    };
    let Walk { high, tag, .. } = walk;
    last_page(
        content,
        &Cursor {
            high,
            full_at,
            tag,
            ..cursor
        },
    )
}

/// Normalizes a page's new releases, or all of them in a walk of the whole list.
fn parse_page(
    reader: &Reader<'_>,
    response: &Response,
    cursor: &Cursor,
    walk: &mut Walk,
) -> Result<PageContent, ConnectorError> {
    let oldest = if walk.full {
        cursor.floor
    } else {
        earlier(cursor.high, OVERLAP)
    };
    let mut content = PageContent::default();
    let mut published = |raw| {
        let release: Release = read("release", raw)?;
        let published_at = match release.published_at {
            Some(at) if release.draft != Some(true) => at.0,
            _ => return Ok(Vec::new()),
        };
        if published_at < oldest.max(cursor.floor) {
            return Ok(Vec::new());
        }
        let signal = releases::published(&reader.repo, &release, raw, &Envelope::default())?;
        walk.high = walk.high.max(reader.clamp_to_now(published_at));
        Ok::<_, WireError>(vec![signal])
    };
    for raw in rows(response)? {
        content.take(raw, published(raw));
    }
    Ok(content)
}
