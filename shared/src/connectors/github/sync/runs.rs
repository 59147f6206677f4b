//! Workflow runs.
//!
//! The list can be filtered by the time of creation, newest first, and shows a thousand runs per
//! filter at most: of a window with more, the newer half is read first. Runs end, and are run
//! again, long after they were created, so each run of ours looks back: some days, and as far as
//! the oldest run that had not ended. Where days hold very many runs, it looks back that far once
//! an hour only.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use super::cursor::{Tag, load};
use super::{Reader, done, earlier, part_before, query_time, walking};
use crate::connectors::SyncPage;
use crate::connectors::github::client::Refusal;
use crate::connectors::github::normalize::{Envelope, code};
use crate::connectors::github::wire::{WireError, WorkflowRun, WorkflowRunList, read};
use crate::connectors::support::PageContent;

/// How far back a run that was run again is found.
const LOOK_BACK: Duration = Duration::days(3);
/// How far back where that would be too many.
const SHORT_LOOK_BACK: Duration = Duration::minutes(10);
/// What is too many to be read every time, and how often it is read then.
const MANY: u64 = 500;
const MANY_EVERY: Duration = Duration::hours(1);
/// GitHub ends a run after 35 days; one that seems to go on longer is not waited for.
const LONGEST_RUN: Duration = Duration::days(36);
/// Results per filter that GitHub shows.
const SHOWN: u64 = 1000;
/// The smallest window: times are whole seconds.
const SECOND: Duration = Duration::seconds(1);

/// As long as it reaches back at most this much further than it must, a look-back begins at the
/// same moment: the same URL and the tag of the last answer ask only whether anything changed.
const SAME_URL_FOR: Duration = Duration::days(1);

/// Where the stream is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Facts before it are never told.
    pub floor: DateTime<Utc>,
    /// What was created until then has been seen.
    pub high: DateTime<Utc>,
    /// When the oldest run was created that had not ended when it was seen.
    #[serde(default)]
    pub open_since: Option<DateTime<Utc>>,
    /// When the last run of ours looked back all the way, and how many runs it read.
    #[serde(default)]
    pub looked_back: Option<(DateTime<Utc>, u64)>,
    /// Where the last look-back began.
    #[serde(default)]
    pub from: Option<DateTime<Utc>>,
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
            open_since: None,
            looked_back: None,
            from: None,
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
    /// Where it ends: runs that were created before are not read.
    pub oldest: DateTime<Utc>,
    /// The window that is read: created at or after.
    pub from: DateTime<Utc>,
    /// And at or before; `None` for no bound.
    #[serde(default)]
    pub to: Option<DateTime<Utc>>,
    /// The next page of the window.
    #[serde(default)]
    pub next: Option<String>,
    /// The marks when the walk is over.
    pub high: DateTime<Utc>,
    #[serde(default)]
    pub open_since: Option<DateTime<Utc>>,
    /// Runs read so far.
    pub read: u64,
    /// Whether it looks back all the way.
    pub deep: bool,
}

impl Walk {
    fn begin(cursor: &Cursor, until: DateTime<Utc>) -> Self {
        let deep = cursor
            .looked_back
            .is_none_or(|(at, read)| read <= MANY || until - at >= MANY_EVERY);
        let back = if deep { LOOK_BACK } else { SHORT_LOOK_BACK };
        let open = cursor.open_since.unwrap_or(cursor.high);
        let needed = earlier(cursor.high, back).min(open).max(cursor.floor);
        let oldest = cursor
            .from
            .filter(|from| *from <= needed && needed - *from <= SAME_URL_FOR)
            .unwrap_or(needed);
        Self {
            oldest,
            from: oldest,
            to: None,
            next: None,
            high: cursor.high,
            open_since: None,
            read: 0,
            deep,
        }
    }

    /// Leaves the older half of a window for later that holds more than GitHub shows; false when
    /// it cannot be halved.
    fn halve(&mut self, until: DateTime<Utc>) -> bool {
        let end = self.to.unwrap_or(until);
        if end - self.from <= SECOND {
            return false;
        }
        self.from += (end - self.from) / 2;
        true
    }

    /// Moves to the window before the one that has been read, which held `total` runs: of the
    /// same length, or twice as long where there were few; false when there is none.
    fn advance(&mut self, until: DateTime<Utc>, total: u64) -> bool {
        if self.from <= self.oldest {
            return false;
        }
        let mut length = (self.to.unwrap_or(until) - self.from).max(SECOND);
        if total <= SHOWN / 4 {
            length = length * 2;
        }
        let to = earlier(self.from, SECOND).max(self.oldest);
        self.to = Some(to);
        self.from = earlier(to, length).max(self.oldest);
        self.next = None;
        true
    }
}

/// One page of runs.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, Refusal> {
    let (horizon, until) = (reader.request.floor(), reader.request.until);
    let mut cursor: Cursor = load(reader.request)?.unwrap_or_else(|| Cursor::begin(horizon));
    let walk = cursor.walk.take();
    let fresh = walk.is_none();
    let mut walk = walk.unwrap_or_else(|| Walk::begin(&cursor, until));
    let url = match &walk.next {
        Some(next) => reader.stored(next)?,
        None => window(reader, &walk),
    };
    let tag = cursor.tag.take().filter(|_| fresh);
    let answer = reader
        .get("list_workflow_runs", url.clone(), tag.as_ref(), None)
        .await?;
    if answer.not_modified() {
        return done(PageContent::default(), &Cursor { tag, ..cursor });
    }
    let list: WorkflowRunList<'_> = answer.json()?;
    let total = list.total_count.unwrap_or_default();
    if total > SHOWN && walk.next.is_none() && walk.halve(until) {
        return walking(PageContent::default(), &cursor.walking(walk), 0.0);
    }

    let told = take(reader, &list, cursor.floor, &mut walk);
    walk.next = answer.links().next.map(String::from);
    let is_all = fresh && walk.from <= walk.oldest && walk.next.is_none();
    if walk.next.is_some() || walk.advance(until, total) {
        let left = part_before(walk.to.unwrap_or(until), walk.oldest, until);
        return walking(told, &cursor.walking(walk), 1.0 - left);
    }
    let tag = if is_all { Tag::of(&url, &answer) } else { None };
    done(told, &finished(&cursor, &walk, until, tag))
}

fn finished(cursor: &Cursor, walk: &Walk, until: DateTime<Utc>, tag: Option<Tag>) -> Cursor {
    Cursor {
        high: walk.high,
        open_since: walk.open_since.filter(|since| until - *since < LONGEST_RUN),
        looked_back: if walk.deep {
            Some((until, walk.read))
        } else {
            cursor.looked_back
        },
        from: Some(walk.oldest).filter(|_| tag.is_some()),
        walk: None,
        tag,
        floor: cursor.floor,
    }
}

/// The first page of a window.
fn window(reader: &Reader<'_>, walk: &Walk) -> Url {
    let from = query_time(walk.from);
    let created = match walk.to {
        Some(to) => format!("{from}..{}", query_time(to)),
        None => format!(">={from}"),
    };
    reader.list(&["actions", "runs"], &[("created", &created)])
}

/// What a page tells.
fn take(
    reader: &Reader<'_>,
    list: &WorkflowRunList<'_>,
    floor: DateTime<Utc>,
    walk: &mut Walk,
) -> PageContent {
    let mut told = PageContent::default();
    let mut completed = |raw| {
        let run: WorkflowRun = read("workflow_run", raw)?;
        let created_at = run
            .created_at
            .ok_or(WireError::Missing("workflow_run.created_at"))?
            .0;
        walk.high = walk.high.max(reader.not_in_the_future(created_at));
        if run.status.as_deref() == Some("completed") {
            let fact =
                code::workflow_completed(&reader.place, &run, raw, None, &Envelope::default())?;
            return Ok(Vec::from_iter(
                Some(fact).filter(|fact| fact.timestamp >= floor),
            ));
        }
        walk.open_since = Some(walk.open_since.map_or(created_at, |at| at.min(created_at)));
        Ok::<_, WireError>(Vec::new())
    };
    let mut read = 0;
    for raw in list.workflow_runs.iter().flatten() {
        told.take(raw, completed(raw));
        read += 1;
    }
    walk.read = walk.read.saturating_add(read);
    told
}
