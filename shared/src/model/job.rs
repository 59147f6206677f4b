//! Jobs: kinds, states and payloads.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use super::{ConnectionId, DeliveryId, DirectoryKey, JobId, TenantId};

/// The kind of a job, which selects the function that runs it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    sqlx::Type,
    IntoStaticStr,
    EnumString,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "job_kind", rename_all = "snake_case")]
pub enum JobKind {
    /// Normalizes stored deliveries into Signals.
    ProcessDeliveries,
    /// Assigns unmatched deliveries to the connection that now matches them.
    RematchDeliveries,
    /// Fetches the names that deliveries carry as ids only, then enqueues their processing.
    ResolveDirectory,
    /// Copies a delivery to every further connection that the provider sent it for.
    FanOutDelivery,
    /// Checks with the provider whether a grant is still valid after a delivery cast doubt on it.
    ConfirmGrant,
    /// Creates, renews and deletes a connection's subscriptions.
    ReconcileSubscriptions,
    /// Reads every stream of a connection page by page.
    SyncConnection,
    /// Refreshes an access token before it expires.
    RefreshToken,
    /// Requests redelivery of the deliveries that a provider failed to send.
    RedeliverWebhooks,
    /// Creates and drops partitions and deletes expired rows.
    ApplyRetention,
}

impl JobKind {
    /// The kind's name in the API, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The priority among the jobs of one tenant; the smallest value runs first.
    pub const fn priority(self) -> i16 {
        match self {
            Self::RefreshToken => 10,
            Self::ConfirmGrant => 12,
            Self::ProcessDeliveries => 20,
            Self::ResolveDirectory => 15,
            Self::FanOutDelivery => 25,
            Self::ReconcileSubscriptions => 28,
            Self::RematchDeliveries => 30,
            Self::SyncConnection => 50,
            Self::RedeliverWebhooks => 60,
            Self::ApplyRetention => 70,
        }
    }
}

/// The state of a job.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    sqlx::Type,
    IntoStaticStr,
    EnumString,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "job_state", rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its `run_at` and a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Ended with success.
    Succeeded,
    /// Dead-lettered: ended without success, with its cause.
    Dead,
    /// Cancelled by a person.
    Cancelled,
}

/// Where a sync run starts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// From the stored cursors.
    Incremental,
    /// From the start of the backfill again; dedupe keys drop the facts that are known.
    Full,
}

/// The arguments of a job, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobPayload {
    /// For [`JobKind::ProcessDeliveries`].
    ProcessDeliveries {
        /// The deliveries, all of them of the job's tenant.
        deliveries: Vec<DeliveryId>,
    },
    /// For [`JobKind::RematchDeliveries`].
    RematchDeliveries {
        /// The account or route of the unmatched deliveries.
        account_id: String,
    },
    /// For [`JobKind::ResolveDirectory`].
    ResolveDirectory {
        /// The entries to fetch.
        keys: Vec<DirectoryKey>,
        /// The deliveries that need these entries.
        deliveries: Vec<DeliveryId>,
    },
    /// For [`JobKind::FanOutDelivery`].
    FanOutDelivery {
        /// The delivery.
        delivery: DeliveryId,
    },
    /// For [`JobKind::ConfirmGrant`].
    ConfirmGrant,
    /// For [`JobKind::ReconcileSubscriptions`].
    ReconcileSubscriptions,
    /// For [`JobKind::SyncConnection`].
    SyncConnection {
        /// Where the run starts to read.
        mode: SyncMode,
        /// The time at which the run began; the first attempt sets it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upper_bound: Option<DateTime<Utc>>,
        /// Whether the run reads only the streams that deliveries requested.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        requested_only: bool,
    },
    /// For [`JobKind::RefreshToken`].
    RefreshToken,
    /// For [`JobKind::RedeliverWebhooks`].
    RedeliverWebhooks,
    /// For [`JobKind::ApplyRetention`].
    ApplyRetention,
    /// A payload that this release cannot decode. It is never stored.
    #[serde(skip)]
    Unreadable {
        /// The kind in the job's row.
        kind: JobKind,
        /// The deliveries that the payload names.
        deliveries: Vec<DeliveryId>,
    },
}

impl JobPayload {
    /// The kind that these arguments belong to.
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::ProcessDeliveries { .. } => JobKind::ProcessDeliveries,
            Self::RematchDeliveries { .. } => JobKind::RematchDeliveries,
            Self::ResolveDirectory { .. } => JobKind::ResolveDirectory,
            Self::FanOutDelivery { .. } => JobKind::FanOutDelivery,
            Self::ConfirmGrant => JobKind::ConfirmGrant,
            Self::ReconcileSubscriptions => JobKind::ReconcileSubscriptions,
            Self::SyncConnection { .. } => JobKind::SyncConnection,
            Self::RefreshToken => JobKind::RefreshToken,
            Self::RedeliverWebhooks => JobKind::RedeliverWebhooks,
            Self::ApplyRetention => JobKind::ApplyRetention,
            Self::Unreadable { kind, .. } => *kind,
        }
    }

    /// Decodes a stored payload; one of another release may be [`JobPayload::Unreadable`].
    pub(crate) fn decode(kind: JobKind, stored: &serde_json::Value) -> Self {
        Self::deserialize(stored)
            .ok()
            .filter(|payload| payload.kind() == kind)
            .unwrap_or_else(|| Self::Unreadable {
                kind,
                deliveries: Vec::deserialize(&stored["deliveries"]).unwrap_or_default(),
            })
    }

    /// The deliveries that stay pending until this job, or one that it enqueues, processes them.
    pub fn deliveries(&self) -> &[DeliveryId] {
        match self {
            Self::ProcessDeliveries { deliveries }
            | Self::ResolveDirectory { deliveries, .. }
            | Self::Unreadable { deliveries, .. } => deliveries,
            _ => &[],
        }
    }
}

/// A job to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The tenant; [`TenantId::UNASSIGNED`] for a job of the whole service.
    pub tenant_id: TenantId,
    /// The provider's slug; empty for a job of the whole service.
    pub provider: String,
    /// The connection that the job belongs to.
    pub connection_id: Option<ConnectionId>,
    /// The unique key: at most one job with this window is queued or running.
    pub cursor_window: Option<String>,
    /// The arguments.
    pub payload: JobPayload,
    /// The W3C `traceparent` of the request or job that enqueues it.
    pub traceparent: Option<String>,
}

/// The result of [`enqueue`](crate::queue::enqueue).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The new job, or the one that already holds the window.
    pub job_id: JobId,
    /// Whether the job is new.
    pub created: bool,
}

/// The cause of a failed attempt, as stored and as the API shows it.
///
/// It never quotes a provider's response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// A stable code, such as `rate_limited`, `unauthorized` or `lease_lost`.
    pub code: String,
    /// The explanation for an operator.
    pub message: String,
}
