//! Claimed jobs and the outcomes of their attempts.

use chrono::{DateTime, Utc};

use crate::db::TenantScope;
use crate::model::{ConnectionId, DeliveryId, JobError, JobId, JobPayload, TenantId};

/// A job whose lease this worker holds.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The job's id.
    pub id: JobId,
    /// The fencing token of the lease. Postgres rejects writes that carry an older token.
    pub lease_token: i64,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The provider's slug.
    pub provider: String,
    /// The connection that the job belongs to.
    pub connection_id: Option<ConnectionId>,
    /// The number of this attempt, from 1.
    pub attempts: i16,
    /// The number of attempts before the job is dead-lettered.
    pub max_attempts: i16,
    /// Attempts that were lost to a stopped worker or an interruption.
    pub lost_attempts: i16,
    /// The arguments.
    pub payload: JobPayload,
    /// Bytes of the job's deliveries, if it has any.
    pub bytes: u64,
    /// The W3C `traceparent` of the request or job that enqueued it.
    pub traceparent: Option<String>,
    /// The earliest time at which the job could start.
    pub run_at: DateTime<Utc>,
    /// When this attempt began, by the Postgres clock.
    pub started_at: DateTime<Utc>,
}

impl ClaimedJob {
    /// The scope that grants access to the tenant's rows.
    pub const fn scope(&self) -> TenantScope {
        TenantScope::new(self.tenant_id)
    }

    /// Whether the job is dead-lettered if this attempt fails.
    pub const fn is_last_attempt(&self) -> bool {
        self.attempts >= self.max_attempts
    }

    /// The ids of [`JobPayload::deliveries`], each with its tenant.
    pub fn deliveries(&self) -> impl Iterator<Item = (TenantId, DeliveryId)> {
        let ids = self.payload.deliveries();
        ids.iter().map(|id| (self.tenant_id, *id))
    }
}

/// The outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// Success.
    Succeeded,
    /// Requeued for `at` without using up an attempt: a rate limit or a conflict.
    Snoozed {
        /// When the job runs again.
        at: DateTime<Utc>,
        /// The cause.
        error: JobError,
    },
    /// Requeued with backoff while attempts are left; dead-lettered otherwise.
    Failed(JobError),
    /// Requeued with backoff without using up an attempt: a statement timeout or a conflict.
    ///
    /// Dead-lettered after [`super::MAX_LOST_ATTEMPTS`] lost attempts.
    Interrupted(JobError),
    /// Dead-lettered immediately, because another attempt would fail in the same way.
    Dead(JobError),
    /// Cancelled.
    Cancelled,
}

/// The result of an attempt, reported by the worker that holds the lease.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The job, with the fencing token of its lease.
    pub job: ClaimedJob,
    /// The outcome of the attempt.
    pub outcome: JobOutcome,
}

impl Finished {
    /// The cause, if this outcome dead-letters the job.
    pub fn dead_error(&self) -> Option<&JobError> {
        match &self.outcome {
            JobOutcome::Dead(error) => Some(error),
            JobOutcome::Failed(error) if self.job.is_last_attempt() => Some(error),
            JobOutcome::Interrupted(error)
                if self.job.lost_attempts >= super::MAX_LOST_ATTEMPTS =>
            {
                Some(error)
            }
            _ => None,
        }
    }
}
