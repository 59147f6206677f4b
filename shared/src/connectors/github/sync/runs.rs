//! Workflow runs.
//!
//! The list is newest first, can be filtered by the time of creation, and returns at most a
//! thousand runs per filter; of a window with more, the newer half is read first. Workflow runs
//! complete long after their creation, so each sync run looks back at least to the oldest incomplete
//! one. They can be repeated for thirty days, so the first read and every reconciliation pass look
//! back thirty days, and each other run three: a repeated run that only the pass finds belongs to
//! what is reconciled. If three days have too many runs, the look-back is shorter for some minutes,
//! and the stream counts as read only up to the last long one.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use super::cursor::{Tag, load};
use super::names::RowOwners;
use super::{Reader, continued_page, earlier, last_page, part_before, query_time};
use crate::connectors::github::client::ApiError;
use crate::connectors::github::normalize::{Envelope, code};
use crate::connectors::github::wire::{WireError, WorkflowRun, WorkflowRunList, read};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Look-back for repeated runs.
const LOOK_BACK: Duration = Duration::days(3);
/// Look-back of the first read and of the reconciliation pass.
///
/// GitHub allows repetitions within thirty days
/// (<https://docs.github.com/actions/managing-workflow-runs/re-running-workflows-and-jobs>).
const MAX_LOOK_BACK: Duration = Duration::days(30);
/// Look-back if the normal one covers too many runs.
const SHORT_LOOK_BACK: Duration = Duration::minutes(10);
/// Maximum number of runs that the normal look-back may cover in every sync run.
const MAX_FREQUENT_RUNS: u64 = 500;
/// Interval of the normal look-back if it covers more.
const DEEP_INTERVAL: Duration = Duration::minutes(15);
/// Maximum duration of a workflow run. GitHub cancels it after 35 days.
const MAX_RUN_DURATION: Duration = Duration::days(36);
/// Maximum number of results that GitHub returns per filter.
const MAX_RESULTS: u64 = 1000;
/// Minimum window, because times are whole seconds.
const SECOND: Duration = Duration::seconds(1);

/// Maximum excess of a look-back that begins at the same time as the previous one.
///
/// The same URL allows a conditional request.
const MAX_REUSED_LOOK_BACK: Duration = Duration::days(1);

/// Cursor of the stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Lower bound of the stream's facts.
    pub floor: DateTime<Utc>,
    /// High-water mark: runs created up to then have been read.
    pub high: DateTime<Utc>,
    /// Creation time of the oldest incomplete run.
    #[serde(default)]
    pub open_since: Option<DateTime<Utc>>,
    /// Time of the last normal look-back, and the number of runs that it read.
    #[serde(default)]
    pub looked_back: Option<(DateTime<Utc>, u64)>,
    /// Start of the last look-back.
    #[serde(default)]
    pub from: Option<DateTime<Utc>>,
    /// The unfinished walk.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// Tag of the last sync run's page, if it was the only one.
    #[serde(default)]
    pub tag: Option<Tag>,
}

impl Cursor {
    fn begin(request: &SyncRequest) -> Self {
        Self {
            floor: request.floor(),
            high: request.read_from(),
            open_since: None,
            looked_back: None,
            from: None,
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
    /// Lower bound of the walk.
    pub oldest: DateTime<Utc>,
    /// Lower bound of the current window.
    pub from: DateTime<Utc>,
    /// Inclusive upper bound of the current window; `None` if it has none.
    #[serde(default)]
    pub to: Option<DateTime<Utc>>,
    /// The next page of the window.
    #[serde(default)]
    pub next: Option<String>,
    /// The mark after the walk.
    pub high: DateTime<Utc>,
    /// Creation time of the oldest incomplete run of the walk.
    #[serde(default)]
    pub open_since: Option<DateTime<Utc>>,
    /// Number of runs read so far.
    pub read: u64,
    /// Whether it has the normal look-back.
    pub deep: bool,
}

impl Walk {
    fn begin(cursor: &Cursor, upper_bound: DateTime<Utc>) -> Self {
        let deep = cursor.looked_back.is_none_or(|(at, read)| {
            read <= MAX_FREQUENT_RUNS || upper_bound - at >= DEEP_INTERVAL
        });
        let is_first = cursor.looked_back.is_none();
        let back = match (is_first, deep) {
            (true, _) => MAX_LOOK_BACK,
            (false, true) => LOOK_BACK,
            (false, false) => SHORT_LOOK_BACK,
        };
        let open = cursor.open_since.unwrap_or(cursor.high);
        // A run from before the floor may be repeated after it.
        let needed = earlier(cursor.high, back)
            .min(open)
            .max(earlier(cursor.floor, MAX_LOOK_BACK));
        let oldest = cursor
            .from
            .filter(|from| *from <= needed && needed - *from <= MAX_REUSED_LOOK_BACK)
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

    /// Narrows the window to its newer half; returns false if it is too small.
    fn halve(&mut self, upper_bound: DateTime<Utc>) -> bool {
        let end = self.to.unwrap_or(upper_bound);
        if end - self.from <= SECOND {
            return false;
        }
        self.from += (end - self.from) / 2;
        true
    }

    /// Moves to the previous window; returns false if there is none.
    ///
    /// It has the same length as the current window, or twice the length if that had few runs.
    fn advance(&mut self, upper_bound: DateTime<Utc>, total: u64) -> bool {
        if self.from <= self.oldest {
            return false;
        }
        let mut length = (self.to.unwrap_or(upper_bound) - self.from).max(SECOND);
        if total <= MAX_RESULTS / 4 {
            length = length * 2;
        }
        let to = earlier(self.from, SECOND).max(self.oldest);
        self.to = Some(to);
        self.from = earlier(to, length).max(self.oldest);
        self.next = None;
        true
    }
}

/// Reads a page.
pub(super) async fn page(reader: &Reader<'_>) -> Result<SyncPage, ApiError> {
    let request = reader.request;
    let upper_bound = request.upper_bound;
    let mut cursor: Cursor = load(request)?.unwrap_or_else(|| Cursor::begin(request));
    let walk = cursor.walk.take();
    let is_first = walk.is_none();
    let mut walk = walk.unwrap_or_else(|| Walk::begin(&cursor, upper_bound));
    let url = match &walk.next {
        Some(next) => reader.stored_url(next)?,
        None => window_url(reader, &walk),
    };
    let last_long_read = cursor.looked_back.map(|(at, _)| at);
    let covered_through = last_long_read.filter(|_| !walk.deep);
    let tag = cursor.tag.take().filter(|_| is_first);
    let response = reader
        .get("list_workflow_runs", url.clone(), tag.as_ref(), None)
        .await?;
    if response.not_modified() {
        let page = last_page(PageContent::default(), &Cursor { tag, ..cursor })?;
        return Ok(SyncPage {
            covered_through,
            ..page
        });
    }
    let list: WorkflowRunList<'_> = response.json()?;
    let total = list.total_count.unwrap_or_default();
    if total > MAX_RESULTS && walk.next.is_none() && walk.halve(upper_bound) {
        return continued_page(PageContent::default(), &cursor.with_walk(walk), 0.0);
    }

    let content = parse_page(reader, &list, cursor.floor, &mut walk)?;
    walk.next = response.links().next.map(String::from);
    let is_all = is_first && walk.from <= walk.oldest && walk.next.is_none();
    if walk.next.is_some() || walk.advance(upper_bound, total) {
        let left = part_before(walk.to.unwrap_or(upper_bound), walk.oldest, upper_bound);
        return continued_page(content, &cursor.with_walk(walk), 1.0 - left);
    }
    let tag = if is_all {
        Tag::of(&url, &response)
    } else {
        None
    };
    Ok(SyncPage {
        covered_through,
        ..last_page(content, &finished(&cursor, &walk, upper_bound, tag))?
    })
}

/// Returns the cursor after a walk.
fn finished(cursor: &Cursor, walk: &Walk, upper_bound: DateTime<Utc>, tag: Option<Tag>) -> Cursor {
    Cursor {
        high: walk.high,
        open_since: walk
            .open_since
            .filter(|since| upper_bound - *since < MAX_RUN_DURATION),
        looked_back: if walk.deep {
            Some((upper_bound, walk.read))
        } else {
            cursor.looked_back
        },
        from: Some(walk.oldest).filter(|_| tag.is_some()),
        walk: None,
        tag,
        floor: cursor.floor,
    }
}

/// Builds the URL of a window's first page.
fn window_url(reader: &Reader<'_>, walk: &Walk) -> Url {
    let from = query_time(walk.from);
    let created = match walk.to {
        Some(to) => format!("{from}..{}", query_time(to)),
        None => format!(">={from}"),
    };
    reader.list_url(&["actions", "runs"], &[("created", &created)])
}

/// Normalizes a page and updates the walk's marks.
fn parse_page(
    reader: &Reader<'_>,
    list: &WorkflowRunList<'_>,
    floor: DateTime<Utc>,
    walk: &mut Walk,
) -> Result<PageContent, ConnectorError> {
    let mut content = PageContent::default();
    let mut owners = RowOwners::default();
    let mut completed = |raw| {
        let run: WorkflowRun = read("workflow_run", raw)?;
        if let Some(repository) = &run.repository {
            owners.note(&reader.repo.id, repository.id);
        }
        let created_at = run
            .created_at
            .ok_or(WireError::Missing("workflow_run.created_at"))?
            .0;
        walk.high = walk.high.max(reader.clamp_to_now(created_at));
        if run.status.as_deref() == Some("completed") {
            let fact =
                code::workflow_completed(&reader.repo, &run, raw, None, &Envelope::default())?;
            return Ok(Vec::from_iter(
                Some(fact).filter(|fact| fact.timestamp >= floor),
            ));
        }
        walk.open_since = Some(walk.open_since.map_or(created_at, |at| at.min(created_at)));
        Ok::<_, WireError>(Vec::new())
    };
    let mut read = 0;
    for raw in &list.workflow_runs {
        content.take(raw, completed(raw));
        read += 1;
    }
    if let Some(other) = owners.other() {
        reader.verify_repository(other)?;
    }
    walk.read = walk.read.saturating_add(read);
    Ok(content)
}
