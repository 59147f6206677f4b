//! Releases.
//!
//! The list is in order of creation, and a draft of last year may be published today. So a
//! run reads until a page has nothing new, and once a day the whole list.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::cursor::{Tag, load};
use super::{OVERLAP, Reader, done, earlier, rows, walking};
use crate::connectors::github::client::{Answer, Refusal};
use crate::connectors::github::normalize::{Envelope, releases};
use crate::connectors::github::wire::{Release, WireError, read};
use crate::connectors::support::PageContent;
use crate::connectors::{ConnectorError, SyncPage};

/// How often the whole list is read.
const FULL_EVERY: Duration = Duration::hours(24);

/// Where the stream is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Facts before it are never told.
    pub floor: DateTime<Utc>,
    /// What was published until then has been read.
    pub high: DateTime<Utc>,
    /// When the whole list was last read.
    #[serde(default)]
    pub full_at: Option<DateTime<Utc>>,
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
            full_at: None,
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
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The next page.
    #[serde(default)]
    pub next: Option<String>,
    /// The mark when the walk is over.
    pub high: DateTime<Utc>,
    /// Whether the whole list is read.
    pub full: bool,
    /// The tag when the walk is over.
    #[serde(default)]
    pub tag: Option<Tag>,
}

/// One page of releases.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, Refusal> {
    let (horizon, until) = (reader.request.floor(), reader.request.until);
    let mut cursor: Cursor = load(reader.request)?.unwrap_or_else(|| Cursor::begin(horizon));
    let walk = cursor.walk.take();
    let fresh = walk.is_none();
    let mut walk = walk.unwrap_or_else(|| Walk {
        high: cursor.high,
        full: cursor.full_at.is_none_or(|last| until - last >= FULL_EVERY),
        ..Walk::default()
    });
    let url = match &walk.next {
        Some(next) => reader.stored(next)?,
        None => reader.list(&["releases"], &[]),
    };
    let tag = cursor.tag.as_ref().filter(|_| fresh && !walk.full);
    let answer = reader.get("list_releases", url.clone(), tag, None).await?;
    if answer.not_modified() {
        return done(PageContent::default(), &cursor);
    }
    if fresh {
        walk.tag = Tag::of(&url, &answer);
    }

    let told = take(reader, &answer, &cursor, &mut walk)?;
    let next = answer
        .links()
        .next
        .filter(|_| walk.full || !told.signals.is_empty());
    if let Some(next) = next {
        walk.next = Some(next.into());
        return walking(told, &cursor.walking(walk), 0.5);
    }
    let full_at = if walk.full {
        Some(until)
    } else {
        cursor.full_at
    };
    let Walk { high, tag, .. } = walk;
    done(
        told,
        &Cursor {
            high,
            full_at,
            tag,
            ..cursor
        },
    )
}

/// What a page tells of what is new, or of everything.
fn take(
    reader: &Reader<'_>,
    answer: &Answer,
    cursor: &Cursor,
    walk: &mut Walk,
) -> Result<PageContent, ConnectorError> {
    let oldest = if walk.full {
        cursor.floor
    } else {
        earlier(cursor.high, OVERLAP)
    };
    let mut told = PageContent::default();
    let mut published = |raw| {
        let release: Release = read("release", raw)?;
        let published_at = match release.published_at {
            Some(at) if release.draft != Some(true) => at.0,
            _ => return Ok(Vec::new()),
        };
        if published_at < oldest.max(cursor.floor) {
            return Ok(Vec::new());
        }
        let signal = releases::published(&reader.place, &release, raw, &Envelope::default())?;
        walk.high = walk.high.max(reader.not_in_the_future(published_at));
        Ok::<_, WireError>(vec![signal])
    };
    for raw in rows(answer)? {
        told.take(raw, published(raw));
    }
    Ok(told)
}
