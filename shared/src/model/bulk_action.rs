//! Bulk actions: what is done to all jobs or deliveries that match a filter, and its progress.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ConnectionId, DeliveryOutcome, JobKind, JobState};

/// An action and the jobs or deliveries that it applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", content = "filter", rename_all = "snake_case")]
pub enum BulkAction {
    /// Retries dead jobs.
    Retry(JobSelection),
    /// Cancels queued and running jobs.
    Cancel(JobSelection),
    /// Replays webhook deliveries.
    Replay(DeliverySelection),
}

/// The jobs that a bulk action applies to, by the filters of their list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSelection {
    /// Their state: `dead` for a retry, `queued` or `running` for a cancellation; absent for all
    /// that the action can change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub state: Option<JobState>,
    /// Their kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub kind: Option<JobKind>,
    /// Their connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")]
    pub provider: Option<String>,
}

/// The deliveries that a bulk action applies to, by the filters of their list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverySelection {
    /// Their outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub outcome: Option<DeliveryOutcome>,
    /// Their connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")]
    pub provider: Option<String>,
}

/// The progress of a bulk action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkProgress {
    /// The number of matching items when the action began; `None` before that.
    pub matched: Option<i64>,
    /// The number of items that it has changed.
    pub done: i64,
    /// The number of items that it could not change.
    pub failed: i64,
    /// The id of the last item; all newer ones are done.
    pub position: Option<Uuid>,
}
