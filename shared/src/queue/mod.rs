//! The job queue in Postgres: leases, fencing tokens and fair claims.
//!
//! A worker runs a job under a lease with a fencing token. A lease is valid while the worker's
//! heartbeat lasts, which is one row per worker instead of one write per job. After the last
//! heartbeat expires, another worker rescues the jobs within 15 s, and fencing rejects late writes
//! of the first one. All times are those of the Postgres clock. Claims take turns over the
//! tenants, so that one tenant's long queue does not delay the jobs of another.
//!
//! Finished jobs move to `job_history` in the statement that finishes them, so that the `jobs`
//! table stays small.

mod claim_index;
mod completion;
pub mod due_jobs;
mod insert;
mod job;
pub mod jobs;
mod notifier;
mod postgres;
pub mod stats;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use strum::VariantArray;

pub use insert::enqueue;
pub(crate) use insert::{DELIVERY_ROW_BYTES, archive_jobs, insert_jobs, insert_jobs_once};
pub use job::*;
pub use notifier::{Notifier, listen, notify};
pub use postgres::{PgJobQueue, set_sync_upper_bound, verify_lease};

use crate::db::{DbError, Tx};
use crate::model::{JobError, JobId, JobKind, TenantId, WorkerId};

/// The lifetime of a worker's leases after its last heartbeat.
pub const LEASE_SECONDS: f64 = 10.0;

/// Lost attempts after which a job is dead-lettered.
///
/// An attempt is lost to a worker that stopped or to an interruption. After this many, the job
/// itself is the likely cause.
pub const MAX_LOST_ATTEMPTS: i16 = 10;

/// The job kinds that are claimed together.
///
/// Deliveries have their own class, so that long backfills cannot use up their capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkClass {
    /// Jobs that process deliveries.
    Deliveries,
    /// Jobs of all other kinds.
    Background,
}

impl WorkClass {
    /// The job kinds of this class.
    pub fn kinds(self) -> Vec<JobKind> {
        let deliveries = |kind: &JobKind| *kind == JobKind::ProcessDeliveries;
        JobKind::VARIANTS
            .iter()
            .filter(|kind| deliveries(kind) == (self == Self::Deliveries))
            .copied()
            .collect()
    }
}

/// The parameters of a claim.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The worker that claims.
    pub worker: WorkerId,
    /// The class to claim from.
    pub class: WorkClass,
    /// The maximum number of jobs.
    pub limit: i64,
    /// The maximum number of jobs per tenant.
    pub per_tenant: i64,
    /// Tenants that already use their full share of this worker.
    pub saturated: Vec<TenantId>,
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
            JobOutcome::Interrupted(error) if self.job.lost_attempts >= MAX_LOST_ATTEMPTS => {
                Some(error)
            }
            _ => None,
        }
    }
}

/// The queue operations of a worker.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Claims due jobs, with turns over the tenants.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, DbError>;

    /// Records outcomes in one transaction.
    ///
    /// Returns the jobs whose lease was lost; their rows are unchanged.
    async fn finish(&self, finished: &[Finished]) -> Result<Vec<JobId>, DbError>;

    /// Records outcomes in the transaction that also writes the jobs' effects.
    ///
    /// The caller must roll back if a lease was lost.
    async fn finish_in(&self, tx: &mut Tx, finished: &[Finished]) -> Result<Vec<JobId>, DbError>;

    /// Extends the worker's leases; returns the time of the Postgres clock.
    async fn heartbeat(&self, worker: WorkerId) -> Result<DateTime<Utc>, DbError>;

    /// Requeues the worker's jobs without using up an attempt, at its shutdown.
    async fn release(&self, worker: WorkerId) -> Result<u64, DbError>;

    /// Rescues abandoned jobs; returns how many.
    ///
    /// Abandoned are the jobs of stopped workers, and jobs of this worker that are not among its
    /// `held` lease tokens. A job with too many lost attempts is dead-lettered.
    async fn rescue(&self, worker: WorkerId, held: &[i64]) -> Result<u64, DbError>;

    /// The worker's running jobs that a person has cancelled.
    async fn cancellations(&self, worker: WorkerId) -> Result<Vec<JobId>, DbError>;
}
