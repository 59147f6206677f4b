//! The queue's operations. See [`super::PgJobQueue`] for the implementation in Postgres.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use tokio::sync::watch;

use super::job::{ClaimedJob, Finished};
use super::jobs::{CancelOutcome, Job, JobFilter, RetryOutcome};
use crate::db::page::{Page, PageRequest};
use crate::db::{DbError, TenantScope, Tx, deliveries};
use crate::model::{
    ConnectionId, Enqueued, JobId, JobKind, JobPayload, JobState, NewJob, SyncConnection, TenantId,
    WorkClass, WorkerId,
};

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

/// Work of connections that is enqueued at its due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueWork {
    /// An incremental sync of every connection whose poll is due.
    Syncs,
    /// A sync of the requested streams of every connection that has any.
    ///
    /// It waits while a sync of the connection runs, which would usually read the same streams. One
    /// that is snoozed does not delay it. If two runs read a stream at the same time after all, the
    /// cursor's version rejects the later page. A paused connection has no job.
    RequestedSyncs,
    /// A sync of every suspended or refused connection whose probe is due.
    ///
    /// A successful read makes the connection active again. A connection without a probe interval
    /// is probed once.
    Probes,
    /// A refresh of every token that expires soon.
    Refreshes,
    /// The reconciliations of subscriptions.
    ///
    /// The due time set here is for a retry; the job sets the next one when it succeeds.
    Subscriptions,
    /// A rematch for every connection of the last day that unmatched deliveries match.
    ///
    /// Periodic runs also find deliveries that were committed concurrently with the connection.
    Rematches,
}

impl DueWork {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Syncs,
        Self::RequestedSyncs,
        Self::Probes,
        Self::Refreshes,
        Self::Subscriptions,
        Self::Rematches,
    ];
}

/// Queued and running jobs of one kind.
#[derive(Debug)]
pub struct QueueDepth {
    /// The kind.
    pub kind: JobKind,
    /// Queued jobs, including snoozed ones.
    pub queued: i64,
    /// Running jobs.
    pub running: i64,
    /// The waiting time of the oldest due job, in seconds.
    pub oldest_seconds: f64,
}

/// The jobs of all kinds that a transaction may read.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct QueueTotals {
    /// Queued jobs that are due.
    pub due: i64,
    /// Queued jobs that are due later.
    pub scheduled: i64,
    /// Running jobs.
    pub running: i64,
    /// The waiting time of the oldest due job, in seconds; 0 without one.
    pub oldest_seconds: f64,
    /// Dead-lettered jobs within their retention.
    pub dead: i64,
}

/// The operations of the queue.
///
/// An operation that takes a transaction takes effect with it: the job and the rows that it belongs
/// to change together or not at all. Times are those of the queue's clock.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Enqueues a job, unless one with the same window is queued or running.
    ///
    /// Call [`Self::notify`] after the commit.
    async fn enqueue(&self, tx: &mut Tx, job: &NewJob) -> Result<Enqueued, DbError>;

    /// Enqueues a job for everything of this work that is due; returns how many.
    ///
    /// Several workers may call it concurrently: each due time enqueues one job.
    async fn enqueue_due(&self, work: DueWork) -> Result<u64, DbError>;

    /// Notifies the workers about new jobs.
    async fn notify(&self) -> Result<(), DbError>;

    /// Forwards notifications to `notified`; never returns.
    async fn listen(&self, notified: watch::Sender<()>);

    /// Claims due jobs, with turns over the tenants.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, DbError>;

    /// Verifies the lease of a job and keeps it until the transaction ends.
    ///
    /// `false` means that the lease was lost and another worker may run the job, so the caller
    /// must not write. Several transactions of one run can hold the lease; a rescue or a completion
    /// waits for them or skips the job.
    async fn verify_lease(&self, tx: &mut Tx, job: &ClaimedJob) -> Result<bool, DbError>;

    /// Replaces the arguments of a running job, for its later attempts.
    ///
    /// `false` means that the lease was lost.
    async fn set_payload(
        &self,
        tx: &mut Tx,
        job: &ClaimedJob,
        payload: &JobPayload,
    ) -> Result<bool, DbError>;

    /// Records outcomes in one transaction.
    ///
    /// Returns the jobs whose lease was lost; their rows are unchanged.
    async fn finish(&self, finished: &[Finished]) -> Result<Vec<JobId>, DbError>;

    /// Records outcomes in the transaction that also writes the jobs' effects.
    ///
    /// The caller must roll back if a lease was lost.
    async fn finish_in(&self, tx: &mut Tx, finished: &[Finished]) -> Result<Vec<JobId>, DbError>;

    /// Extends the worker's leases; returns the time of the queue's clock.
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

    /// Returns a job in any state.
    async fn get(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        id: JobId,
    ) -> Result<Option<Job>, DbError>;

    /// Lists a tenant's jobs, newest first.
    async fn list(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        filter: &JobFilter,
        request: &PageRequest,
    ) -> Result<Page<Job>, DbError>;

    /// Counts a tenant's jobs that match and are older than `before`, up to `limit`.
    async fn count(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<i64, DbError>;

    /// Enqueues a dead-lettered job again, as a new job in the same trace.
    ///
    /// Two requests enqueue one job: without a cursor window, the window is derived from the job's
    /// id.
    async fn retry(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        id: JobId,
    ) -> Result<RetryOutcome, DbError> {
        let Some(job) = self.get(tx, scope, id).await? else {
            return Ok(RetryOutcome::NotFound);
        };
        if job.state != JobState::Dead {
            return Ok(RetryOutcome::NotDead(job.state));
        }
        let payload = match job.payload {
            // The new run has its own upper bound.
            JobPayload::SyncConnection(sync) => SyncConnection {
                upper_bound: None,
                ..sync
            }
            .into(),
            JobPayload::Unreadable { .. } => return Ok(RetryOutcome::Unreadable),
            other => other,
        };
        let new_job = NewJob {
            tenant_id: scope.tenant_id(),
            provider: job.provider,
            connection_id: job.connection_id,
            cursor_window: job.cursor_window.or_else(|| Some(format!("retry:{id}"))),
            payload,
            traceparent: job.traceparent,
        };
        deliveries::reset_failed(tx, scope, new_job.payload.deliveries()).await?;
        let enqueued = self.enqueue(tx, &new_job).await?;
        Ok(RetryOutcome::Enqueued(enqueued))
    }

    /// Cancels a queued job, or asks the worker of a running one to stop.
    async fn cancel(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        id: JobId,
    ) -> Result<CancelOutcome, DbError>;

    /// Cancels a connection's queued jobs and asks the running ones to stop.
    ///
    /// Returns how many queued jobs were cancelled.
    async fn cancel_for_connection(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<u64, DbError>;

    /// The depth of the queue and the age of its oldest due job, by kind.
    async fn depths(&self) -> Result<Vec<QueueDepth>, DbError>;

    /// Counts the jobs that the transaction may read.
    async fn totals(&self, tx: &mut Tx) -> Result<QueueTotals, DbError>;

    /// The bytes of the deliveries that wait in queued jobs, by tenant.
    async fn waiting_bytes(&self) -> Result<Vec<(TenantId, u64)>, DbError>;
}
