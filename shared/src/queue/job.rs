//! Jobs: what they are, how they are asked for, what a worker holds while it runs one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::connectors::DirectoryKey;
use crate::db::TenantScope;
use crate::ids::{ConnectionId, DeliveryId, JobId, TenantId};

/// What a job does.
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
    /// Turns stored webhook deliveries into Signals.
    ProcessDeliveries,
    /// Hands deliveries that matched no connection to the one that has appeared.
    AdoptDeliveries,
    /// Asks the provider what deliveries name by id only, and has them processed then.
    LookUp,
    /// Gives a delivery to all connections it is for.
    FanOutDelivery,
    /// Asks the provider whether a grant is still good that a delivery calls into question.
    ConfirmGrant,
    /// Creates, renews and ends a connection's subscriptions.
    MaintainSubscriptions,
    /// Reads every stream of a connection, page by page.
    SyncConnection,
    /// Renews an access token before it ends.
    RefreshToken,
    /// Asks a provider to send again what it failed to deliver.
    SweepDeliveries,
    /// Makes and drops partitions, deletes what has expired.
    ApplyRetention,
}

impl JobKind {
    /// The kind's name in the API, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Smaller goes first among the jobs of one tenant.
    pub const fn priority(self) -> i16 {
        match self {
            Self::RefreshToken => 10,
            Self::ConfirmGrant => 12,
            Self::ProcessDeliveries => 20,
            Self::LookUp => 15,
            Self::FanOutDelivery => 25,
            Self::MaintainSubscriptions => 28,
            Self::AdoptDeliveries => 30,
            Self::SyncConnection => 50,
            Self::SweepDeliveries => 60,
            Self::ApplyRetention => 70,
        }
    }
}

/// Where a job stands.
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
    /// Waits for its time and a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Done.
    Succeeded,
    /// Given up, with its cause.
    Dead,
    /// Withdrawn by a person.
    Cancelled,
}

/// How a connection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// On from the cursors.
    Incremental,
    /// From the backfill horizon again; known facts stay single.
    Full,
}

/// A job's arguments, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobPayload {
    /// For [`JobKind::ProcessDeliveries`].
    ProcessDeliveries {
        /// The deliveries, all of the job's tenant.
        deliveries: Vec<DeliveryId>,
    },
    /// For [`JobKind::AdoptDeliveries`].
    AdoptDeliveries {
        /// The account or route whose deliveries waited.
        account_id: String,
    },
    /// For [`JobKind::LookUp`].
    LookUp {
        /// What to ask for.
        keys: Vec<DirectoryKey>,
        /// The deliveries that wait for it.
        deliveries: Vec<DeliveryId>,
    },
    /// For [`JobKind::FanOutDelivery`].
    FanOutDelivery {
        /// The delivery.
        delivery: DeliveryId,
    },
    /// For [`JobKind::ConfirmGrant`].
    ConfirmGrant,
    /// For [`JobKind::MaintainSubscriptions`].
    MaintainSubscriptions,
    /// For [`JobKind::SyncConnection`].
    SyncConnection {
        /// How it is read.
        mode: SyncMode,
        /// When the run began: its frozen upper bound. Unset until the first attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
    },
    /// For [`JobKind::RefreshToken`].
    RefreshToken,
    /// For [`JobKind::SweepDeliveries`].
    SweepDeliveries,
    /// For [`JobKind::ApplyRetention`].
    ApplyRetention,
    /// A stored form that this release does not understand. It is never stored.
    #[serde(skip)]
    Unreadable {
        /// The kind that the job's row names.
        kind: JobKind,
        /// The deliveries that the stored form names.
        deliveries: Vec<DeliveryId>,
    },
}

impl JobPayload {
    /// The kind these arguments belong to.
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::ProcessDeliveries { .. } => JobKind::ProcessDeliveries,
            Self::AdoptDeliveries { .. } => JobKind::AdoptDeliveries,
            Self::LookUp { .. } => JobKind::LookUp,
            Self::FanOutDelivery { .. } => JobKind::FanOutDelivery,
            Self::ConfirmGrant => JobKind::ConfirmGrant,
            Self::MaintainSubscriptions => JobKind::MaintainSubscriptions,
            Self::SyncConnection { .. } => JobKind::SyncConnection,
            Self::RefreshToken => JobKind::RefreshToken,
            Self::SweepDeliveries => JobKind::SweepDeliveries,
            Self::ApplyRetention => JobKind::ApplyRetention,
            Self::Unreadable { kind, .. } => *kind,
        }
    }

    /// Reads a stored payload. One that another release has written may be
    /// [`JobPayload::Unreadable`].
    pub(crate) fn read(kind: JobKind, stored: &serde_json::Value) -> Self {
        Self::deserialize(stored)
            .ok()
            .filter(|payload| payload.kind() == kind)
            .unwrap_or_else(|| Self::Unreadable {
                kind,
                deliveries: Vec::deserialize(&stored["deliveries"]).unwrap_or_default(),
            })
    }

    /// Deliveries that stay pending until the job, or one that it enqueues, has processed them.
    pub fn deliveries(&self) -> &[DeliveryId] {
        match self {
            Self::ProcessDeliveries { deliveries }
            | Self::LookUp { deliveries, .. }
            | Self::Unreadable { deliveries, .. } => deliveries,
            _ => &[],
        }
    }
}

/// A job to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Whose it is; [`TenantId::UNASSIGNED`] for work on the service as a whole.
    pub tenant_id: TenantId,
    /// The provider's slug; empty for work on the service as a whole.
    pub provider: String,
    /// The connection it is about.
    pub connection_id: Option<ConnectionId>,
    /// While a job with the same window is queued or running, another is not made.
    pub cursor_window: Option<String>,
    /// What to do.
    pub payload: JobPayload,
    /// The trace it belongs to (W3C `traceparent`).
    pub traceparent: Option<String>,
}

/// The answer to an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The job: the new one, or the one that already covers the window.
    pub job_id: JobId,
    /// Whether it is new.
    pub created: bool,
}

/// A job whose lease this worker holds.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The job's id.
    pub id: JobId,
    /// What the lease is fenced with: whoever holds an older token holds nothing.
    pub lease_token: i64,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The provider's slug.
    pub provider: String,
    /// The connection it is about.
    pub connection_id: Option<ConnectionId>,
    /// This try's number, from 1.
    pub attempts: i16,
    /// How many tries there are.
    pub max_attempts: i16,
    /// Attempts that were lost without fault of the job's.
    pub lost_attempts: i16,
    /// What to do.
    pub payload: JobPayload,
    /// Bytes that it has to work through, where that is known.
    pub bytes: u64,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// When it could have started at the earliest.
    pub run_at: DateTime<Utc>,
    /// When this attempt began, by the clock of Postgres.
    pub started_at: DateTime<Utc>,
}

impl ClaimedJob {
    /// The proof that this worker may touch the tenant's rows.
    pub const fn scope(&self) -> TenantScope {
        TenantScope::new(self.tenant_id)
    }

    /// Whether the job is dead-lettered if this attempt fails.
    pub const fn is_last_attempt(&self) -> bool {
        self.attempts >= self.max_attempts
    }

    /// The deliveries of its [`JobPayload::deliveries`], with their tenant.
    pub fn deliveries(&self) -> impl Iterator<Item = (TenantId, DeliveryId)> {
        let ids = self.payload.deliveries();
        ids.iter().map(|id| (self.tenant_id, *id))
    }
}

/// Why a try failed, as kept with the job and shown by the API. Never a provider's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// A short word: `rate_limited`, `unauthorized`, `lease_lost` …
    pub code: String,
    /// What it means for an operator.
    pub message: String,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// Done.
    Succeeded,
    /// Again at `at`, without having cost a try: a rate limit, a lost race.
    Postponed {
        /// When.
        at: DateTime<Utc>,
        /// Why.
        error: JobError,
    },
    /// Again after a pause, if tries are left; dead otherwise.
    Failed(JobError),
    /// Again after a pause, without having cost a try: a statement that took too long or a
    /// transaction in the way. Dead once that has happened [`super::MAX_LOST_ATTEMPTS`] times.
    Interrupted(JobError),
    /// Dead at once: another try would end alike.
    Dead(JobError),
    /// Withdrawn.
    Cancelled,
}
