//! Polling: streams and their pages.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Access, Directory};
use crate::http::Priority;
use crate::model::{DirectoryEntry, SignalDraft, StreamSpec, SubscriptionSpec};

/// Consecutive temporary failures after which a part of a page is skipped.
const MAX_PART_FAILURES: u32 = 5;

/// Request for one page of a stream.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The account, and the token to read it with.
    pub access: Access,
    /// The stream.
    pub stream: StreamSpec,
    /// Cursor of the last committed page; `None` for a stream that was never read.
    pub cursor: Option<serde_json::Value>,
    /// The stream's floor: facts from before are never reported, by any path.
    pub backfill_from: DateTime<Utc>,
    /// Lower bound of the read that replaces an expired cursor; `None` for a read from the floor.
    ///
    /// Facts from before have been read. A list that is cheap, or not ordered by the times of its
    /// facts, may be read from the floor instead.
    pub resync_from: Option<DateTime<Utc>>,
    /// Lower bound of the reconciliation pass; `None` for a normal read.
    ///
    /// The pass reads all facts since then again, with a separate cursor.
    pub reconcile_from: Option<DateTime<Utc>>,
    /// Number of consecutive temporary failures of the stream's next page.
    ///
    /// A smaller page size that is known to work counts as the failures that lead to it.
    pub failures: u32,
    /// Time at which the sync run began; later facts belong to the next run.
    pub upper_bound: DateTime<Utc>,
    /// Priority of the calls.
    pub priority: Priority,
    /// The connection's directory.
    pub directory: Arc<Directory>,
}

impl SyncRequest {
    /// Number of rows to request, at most `full`.
    ///
    /// It is halved after each failure but the first, because providers fail on pages that are too
    /// large for them.
    #[must_use]
    pub fn page_size(&self, full: u32) -> u32 {
        (full >> self.failures.saturating_sub(1).min(8)).max(1)
    }

    /// Whether the page has failed so often that it is read without the part that fails.
    ///
    /// The provider may never return one thread or the details of one row, which must not stop the
    /// stream.
    #[must_use]
    pub const fn skips_failing_parts(&self) -> bool {
        self.failures > MAX_PART_FAILURES
    }

    /// Time before which a read that begins now reports nothing.
    #[must_use]
    pub fn floor(&self) -> DateTime<Utc> {
        self.reconcile_from
            .map_or(self.backfill_from, |from| from.max(self.backfill_from))
    }

    /// Lower bound of the lists of a read that begins now.
    ///
    /// It is later than the floor only where the cursor of a stream has expired, which reports facts
    /// of any time since its floor if the lists have them.
    #[must_use]
    pub fn read_from(&self) -> DateTime<Utc> {
        let floor = self.floor();
        self.resync_from.map_or(floor, |from| from.max(floor))
    }
}

/// One page of a stream. Its Signals and its cursor are committed together.
#[derive(Debug)]
pub struct SyncPage {
    /// Its facts.
    pub signals: Vec<SignalDraft>,
    /// Its unreadable rows.
    pub unreadable_rows: Vec<UnreadableRow>,
    /// Cursor after it.
    pub cursor: serde_json::Value,
    /// Whether the run continues with this cursor.
    pub has_more: bool,
    /// Listed streams; only the root stream lists any.
    ///
    /// After its last page, streams that were not listed are retired.
    pub streams: Vec<StreamSpec>,
    /// Whether the list of streams may be incomplete: inconsistent, or with an unreadable row.
    ///
    /// If so, no stream is retired and no subscription deleted. Evaluated on the root's last page.
    pub is_list_partial: bool,
    /// Whether the page shows that the list of streams has changed.
    ///
    /// The root stream is then read soon.
    pub has_list_changed: bool,
    /// Ids of resources in the list of streams whose rows are unreadable.
    ///
    /// Their streams are kept as they are.
    pub kept_resources: Vec<String>,
    /// Desired subscriptions; only the root stream lists any.
    ///
    /// After its last page, all other subscriptions are deleted.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// New or changed directory entries.
    pub directory_updates: Vec<DirectoryEntry>,
    /// Updates that the root observed, on its last page; `None` means that every stream is read.
    pub updates: Option<ObservedUpdates>,
    /// Estimate of the run's progress in the stream after this page, from 0 to 1.
    pub progress: f32,
    /// A part of the stream that the provider denies, as text for people (`replies in threads`).
    ///
    /// The stream counts as read but not as reconciled. Evaluated on the last page of a walk.
    pub denied_part: Option<&'static str>,
    /// A part of the stream that could not be read after several attempts, as text for people.
    ///
    /// Its rows are among the unreadable ones. Like [`Self::denied_part`], it is not reconciled.
    pub failing_part: Option<&'static str>,
    /// Time before which the stream is read, if that is earlier than the run's upper bound.
    ///
    /// Evaluated on the last page of a walk that skipped a part which a later run reads.
    pub covered_through: Option<DateTime<Utc>>,
}

impl SyncPage {
    /// An empty page with this cursor, the last one of its run.
    pub const fn empty(cursor: serde_json::Value) -> Self {
        Self {
            signals: Vec::new(),
            unreadable_rows: Vec::new(),
            cursor,
            has_more: false,
            streams: Vec::new(),
            is_list_partial: false,
            has_list_changed: false,
            kept_resources: Vec::new(),
            subscriptions: Vec::new(),
            directory_updates: Vec::new(),
            updates: None,
            progress: 0.0,
            denied_part: None,
            failing_part: None,
            covered_through: None,
        }
    }
}

/// An unreadable row of a page, stored as a delivery for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The provider's id, if it is readable.
    pub id: Option<String>,
    /// The row as received.
    pub row: String,
    /// Cause; never quotes the content.
    pub reason: String,
}

/// All updates since a time, over all resources, in some kinds of streams.
///
/// If the feed already has a Signal for each update of a resource, reading its streams would yield
/// nothing, so they are read less often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedUpdates {
    /// Kinds of streams that are covered: the part of their keys before the colon.
    pub kinds: &'static [&'static str],
    /// Lower bound of the observed updates.
    pub since: DateTime<Utc>,
    /// The updates.
    pub updates: Vec<ObservedUpdate>,
}

/// The last update of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedUpdate {
    /// Id of its resource, as in [`StreamSpec::resource_id`].
    pub resource_id: String,
    /// Key of the subject, as in [`crate::model::Subject::key`].
    pub subject_key: String,
    /// Time of the update.
    pub updated_at: DateTime<Utc>,
}
