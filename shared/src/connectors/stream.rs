//! Polling: streams, and one page of one of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Access, Directory, DirectoryEntry, SubscriptionSpec};
use crate::http::Priority;
use crate::signals::SignalDraft;

/// One page to read.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// Whose data, and the token to read it with.
    pub access: Access,
    /// Which stream.
    pub stream: StreamSpec,
    /// Where the last committed page ended; `None` for a stream never read.
    pub cursor: Option<serde_json::Value>,
    /// How far back a stream that has no cursor is read.
    pub horizon: DateTime<Utc>,
    /// The reconciliation pass: facts since then are told again, whatever an earlier read has
    /// seen. Its cursor is its own.
    pub reconcile_from: Option<DateTime<Utc>>,
    /// How often in a row the stream's next page could not be read for the moment. A smaller page
    /// size that is known to work counts as the failures that lead to it.
    pub failures: u32,
    /// The frozen upper bound of this run: what happens later belongs to the next one.
    pub until: DateTime<Utc>,
    /// How long the calls can wait: a poll, or a read of the past.
    pub priority: Priority,
    /// What is known of the account's people and places.
    pub directory: Arc<Directory>,
}

impl SyncRequest {
    /// How many rows to ask for, of `full`: half as many after each failure but the first, because
    /// providers fail to make pages that are too large for them.
    #[must_use]
    pub fn page_size(&self, full: u32) -> u32 {
        (full >> self.failures.saturating_sub(1).min(8)).max(1)
    }

    /// Facts before it are not told by a read that begins now.
    #[must_use]
    pub fn floor(&self) -> DateTime<Utc> {
        self.reconcile_from
            .map_or(self.horizon, |from| from.max(self.horizon))
    }
}

/// A stream of a connection: one kind of object in one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Stable name, unique in the connection: `issues:1296269`.
    pub key: String,
    /// Id of the resource it belongs to (a repository); matches
    /// [`super::AccountChange::StreamsChanged`].
    pub resource_id: Option<String>,
    /// What the connector needs to address it; may change over time (a renamed repository).
    pub target: serde_json::Value,
}

/// One page that was read. Its Signals and its cursor are committed together.
#[derive(Debug)]
pub struct SyncPage {
    /// The facts on it.
    pub signals: Vec<SignalDraft>,
    /// Rows on it that could not be read.
    pub unreadable_rows: Vec<UnreadableRow>,
    /// The cursor behind it.
    pub cursor: serde_json::Value,
    /// Whether the run goes on with this cursor.
    pub more: bool,
    /// Streams found; only the root stream finds any. After its last page, streams that
    /// were not found are retired.
    pub streams: Vec<StreamSpec>,
    /// Whether the list of streams may have left something out: it contradicts itself, or a row of
    /// it could not be read. Nothing is retired, and no subscription ends. Counts on the root's last
    /// page.
    pub is_list_partial: bool,
    /// What there must be subscriptions for; only the root stream says. After its last page,
    /// others end.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// What was learned for the directory.
    pub learned: Vec<DirectoryEntry>,
    /// What else the root found out of what has changed, with its last page; where it says
    /// nothing, every stream is read.
    pub updates: Option<ObservedUpdates>,
    /// How much of what the run has to read of the stream is done behind this page, from 0 to 1,
    /// where the connector can tell.
    pub progress: f32,
    /// A part of the stream that the provider denies, in words for people (`replies in threads`).
    /// The stream counts as read and not as reconciled. Counts on the last page of a walk.
    pub denied_part: Option<&'static str>,
}

impl SyncPage {
    /// A page with nothing on it, behind this cursor; the last one of its run.
    pub const fn empty(cursor: serde_json::Value) -> Self {
        Self {
            signals: Vec::new(),
            unreadable_rows: Vec::new(),
            cursor,
            more: false,
            streams: Vec::new(),
            is_list_partial: false,
            subscriptions: Vec::new(),
            learned: Vec::new(),
            updates: None,
            progress: 0.0,
            denied_part: None,
        }
    }
}

/// A row of a page that could not be read. It is kept for operators, and the page goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The provider's id of it, as far as that could be read.
    pub id: Option<String>,
    /// The row, as the provider sent it.
    pub row: String,
    /// Why it could not be read; never the provider's words.
    pub reason: String,
}

/// Everything that the provider says has been updated since a moment, over all resources, in some
/// kinds of streams. Where the feed has a Signal for each of a resource's updates already,
/// reading these streams would tell nothing, so they are read less often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedUpdates {
    /// The kinds of streams that such updates are on: the part of their keys before the colon.
    pub kinds: &'static [&'static str],
    /// What was updated before was not looked for.
    pub since: DateTime<Utc>,
    /// The updates.
    pub updates: Vec<ObservedUpdate>,
}

/// The last update of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedUpdate {
    /// Id of the resource it belongs to, as in [`StreamSpec::resource_id`].
    pub resource_id: String,
    /// Its name, as in [`crate::signals::Subject::key`].
    pub subject_key: String,
    /// When it was updated.
    pub updated_at: DateTime<Utc>,
}
