//! The queue: jobs that survive everything and belong to one worker at a time.
//!
//! A worker holds a job through a lease with a fencing token. Leases hang on the worker's
//! heartbeat (one row per worker, not one write per job); when it stops, any other worker
//! puts its jobs back within 15 s, and what the dead one still tries to write is refused.
//! Time is Postgres's throughout. Claiming goes round the tenants, so that a long queue of
//! one does not delay another's.
//!
//! Finished jobs move to `job_history` in the statement that finishes them, so the table
//! that is claimed from stays small.

mod insert;
mod job;
mod lines;
mod outcomes;
mod postgres;
mod wake;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use strum::VariantArray;

pub use insert::enqueue;
pub(crate) use insert::{DELIVERY_ROW_BYTES, archive_jobs, insert_jobs, insert_jobs_once};
pub use job::*;
pub use postgres::{PgJobQueue, freeze_until, hold};
pub use wake::{Waker, listen, notify};

use crate::db::{DbError, Tx};
use crate::ids::{JobId, TenantId, WorkerId};

/// How long a worker's jobs stay its own after its last heartbeat.
pub const LEASE_SECONDS: f64 = 10.0;

/// Attempts that a job may lose without fault of its own, to a worker that stopped or a statement
/// that took too long, before it is held to be the cause.
pub const MAX_LOST_ATTEMPTS: i16 = 10;

/// Jobs that are claimed together. A long backfill can fill the one and never the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Jobs that process deliveries.
    Deliveries,
    /// Jobs of every other kind.
    Others,
}

impl Lane {
    /// What is claimed in it.
    pub fn kinds(self) -> Vec<JobKind> {
        let deliveries = |kind: &JobKind| *kind == JobKind::ProcessDeliveries;
        JobKind::VARIANTS
            .iter()
            .filter(|kind| deliveries(kind) == (self == Self::Deliveries))
            .copied()
            .collect()
    }
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Who asks.
    pub worker: WorkerId,
    /// The lane it has room in.
    pub lane: Lane,
    /// How many jobs at the most.
    pub limit: i64,
    /// How many of them may belong to one tenant.
    pub per_tenant: i64,
    /// Tenants that hold their full share of this worker already.
    pub saturated: Vec<TenantId>,
}

/// The end of a try, as reported by the worker that holds the lease.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The job, with the token of the lease.
    pub job: ClaimedJob,
    /// How the try ended.
    pub outcome: JobOutcome,
}

impl Finished {
    /// Why the job is dead-lettered, if this ends it without success.
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

/// What a worker needs of a queue.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Takes up to `limit` due jobs, fairly over tenants.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, DbError>;

    /// Ends tries, in one transaction of its own. Answers the jobs whose lease had been
    /// lost: for those nothing was changed.
    async fn finish(&self, finished: &[Finished]) -> Result<Vec<JobId>, DbError>;

    /// Ends tries within the transaction that holds their effects, so both happen or
    /// neither. The caller must roll back when a lease was lost.
    async fn finish_in(&self, tx: &mut Tx, finished: &[Finished]) -> Result<Vec<JobId>, DbError>;

    /// Says that the worker lives. Answers what time it is by the clock that leases go by.
    async fn heartbeat(&self, worker: WorkerId) -> Result<DateTime<Utc>, DbError>;

    /// Gives the worker's jobs back at once, without costing them a try: its last act.
    async fn release(&self, worker: WorkerId) -> Result<u64, DbError>;

    /// Puts back what nobody runs: jobs of workers that have stopped, and jobs of this one that
    /// are not among the leases it holds. What was lost too often goes to the dead letters.
    async fn reap(&self, worker: WorkerId, held: &[i64]) -> Result<u64, DbError>;

    /// Jobs among `held` whose cancellation somebody has asked for.
    async fn cancellations(&self, worker: WorkerId) -> Result<Vec<JobId>, DbError>;
}
