//! Polling: streams, and one page of one of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Access, Directory, DirectoryEntry, SubscriptionSpec};
use crate::ids::TenantId;
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
    /// The frozen upper bound of this run: what happens later belongs to the next one.
    pub until: DateTime<Utc>,
    /// The tenant whose past is being read, if this run reads it: such a run can wait for
    /// others, and every call of it says so.
    pub bulk: Option<TenantId>,
    /// What is known of the account's people and places.
    pub directory: Arc<Directory>,
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
    /// The cursor behind it.
    pub cursor: serde_json::Value,
    /// Whether the run goes on with this cursor.
    pub more: bool,
    /// Streams found; only the root stream finds any. After its last page, streams that
    /// were not found are retired.
    pub streams: Vec<StreamSpec>,
    /// What there must be subscriptions for; only the root stream says. After its last page,
    /// others end.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// What was learned for the directory.
    pub learned: Vec<DirectoryEntry>,
}

impl SyncPage {
    /// A page with nothing on it, behind this cursor; the last one of its run.
    pub const fn empty(cursor: serde_json::Value) -> Self {
        Self {
            signals: Vec::new(),
            cursor,
            more: false,
            streams: Vec::new(),
            subscriptions: Vec::new(),
            learned: Vec::new(),
        }
    }
}
