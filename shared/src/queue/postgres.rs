//! [`JobQueue`] on Postgres. The hot statements are SQL files that name their indexes.

mod cancellation;
mod claim_index;
mod completion;
mod due_jobs;
mod insert;
mod measure;
mod notifications;
mod rescue;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::{Mutex, watch};

use self::claim_index::{Candidate, ClaimIndex, Partition};
use self::completion::{Finalized, Requeued, classify};
pub(crate) use self::insert::{DELIVERY_ROW_BYTES, insert_jobs};
use super::job::{ClaimedJob, Finished, JobOutcome};
use super::job_queue::{ClaimRequest, DueWork, JobQueue, QueueDepth, QueueTotals};
use super::jobs::{CancelOutcome, Job, JobFilter};
use super::{LEASE_SECONDS, WorkClass};
use crate::db::page::{Page, PageRequest};
use crate::db::{Db, DbError, Json, TenantScope, Tx, deliveries, jobs};
use crate::model::{ConnectionId, Enqueued, JobId, JobPayload, NewJob, TenantId, WorkerId};

/// The queue in Postgres, with the privileges of the process's role.
#[derive(Debug, Clone)]
pub struct PgJobQueue {
    db: Db,
    /// The pool of the session that listens for notifications; without it, workers poll.
    listening: Option<Db>,
    deliveries: Arc<Mutex<ClaimIndex>>,
    background: Arc<Mutex<ClaimIndex>>,
}

impl PgJobQueue {
    /// A queue on this pool, without notifications.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            listening: None,
            deliveries: Arc::default(),
            background: Arc::default(),
        }
    }

    /// Listens for notifications in a session of this pool.
    #[must_use]
    pub fn listening(self, listening: Option<Db>) -> Self {
        Self { listening, ..self }
    }

    /// Claims up to `remaining` jobs from the candidates, in their order.
    async fn claim_from(
        &self,
        worker: WorkerId,
        candidates: &[Candidate],
        remaining: i64,
    ) -> Result<Vec<(Partition, ClaimedJob)>, DbError> {
        let rows = sqlx::query(include_str!("postgres/claim.sql"))
            .bind(candidates.iter().map(|c| c.partition.0).collect::<Vec<_>>())
            .bind(candidates.iter().map(|c| c.partition.1).collect::<Vec<_>>())
            .bind(candidates.iter().map(|c| c.head.0).collect::<Vec<_>>())
            .bind(candidates.iter().map(|c| c.head.1).collect::<Vec<_>>())
            .bind(candidates.iter().map(|c| c.limit).collect::<Vec<_>>())
            .bind(remaining)
            .bind(worker)
            .fetch_all(&self.db)
            .await?;
        rows.iter()
            .map(|row| {
                let job = claimed_job(row)?;
                Ok(((job.tenant_id, row.try_get("priority")?), job))
            })
            .collect()
    }

    async fn finish_once(&self, finished: &[Finished]) -> Result<Vec<JobId>, DbError> {
        let scopes: Vec<TenantScope> = finished.iter().map(|f| f.job.scope()).collect();
        let mut tx = self.db.begin_many(&scopes).await?;
        let lost = self.finish_in(&mut tx, finished).await?;
        tx.commit().await?;
        Ok(lost)
    }
}

#[async_trait]
impl JobQueue for PgJobQueue {
    async fn enqueue(&self, tx: &mut Tx, job: &NewJob) -> Result<Enqueued, DbError> {
        insert::enqueue(tx, job).await
    }

    async fn enqueue_due(&self, work: DueWork) -> Result<u64, DbError> {
        due_jobs::enqueue_due(&self.db, work).await
    }

    async fn notify(&self) -> Result<(), DbError> {
        notifications::notify(&self.db).await
    }

    async fn listen(&self, notified: watch::Sender<()>) {
        match &self.listening {
            Some(db) => notifications::listen(db, notified).await,
            None => std::future::pending().await,
        }
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, DbError> {
        let index = match request.class {
            WorkClass::Deliveries => &self.deliveries,
            WorkClass::Background => &self.background,
        };
        let mut index = index.lock().await;
        index.scan_incrementally(&self.db, request.class).await?;
        let mut jobs = Vec::new();
        let mut progress = index.start_claim();
        loop {
            let candidates = index.candidates(request, &progress);
            if candidates.is_empty() {
                break;
            }
            let remaining = request.limit - progress.jobs;
            let claimed = match self
                .claim_from(request.worker, &candidates, remaining)
                .await
            {
                Ok(claimed) => claimed,
                Err(error) if jobs.is_empty() => return Err(error),
                // Run the jobs that are claimed already instead of leaving them to a rescue.
                Err(_) => break,
            };
            let found: Vec<_> = claimed
                .iter()
                .map(|(partition, job)| (*partition, (job.run_at, job.id)))
                .collect();
            index.record_claimed(&candidates, &found, remaining, &mut progress);
            jobs.extend(claimed);
        }
        jobs.sort_by_key(|((_, priority), job)| (*priority, job.run_at, job.id));
        Ok(jobs.into_iter().map(|(_, job)| job).collect())
    }

    async fn verify_lease(&self, tx: &mut Tx, job: &ClaimedJob) -> Result<bool, DbError> {
        // The lock is shared, so that a rescue skips the job and a completion waits.
        let held = sqlx::query(
            "SELECT 1 FROM jobs WHERE tenant_id = $1 AND id = $2 AND lease_token = $3 \
             AND state = 'running' FOR SHARE",
        )
        .bind(job.tenant_id)
        .bind(job.id)
        .bind(job.lease_token)
        .fetch_optional(&mut **tx)
        .await?;
        Ok(held.is_some())
    }

    async fn set_payload(
        &self,
        tx: &mut Tx,
        job: &ClaimedJob,
        payload: &JobPayload,
    ) -> Result<bool, DbError> {
        let updated = sqlx::query(
            "UPDATE jobs SET payload = $4 WHERE tenant_id = $1 AND id = $2 AND lease_token = $3 \
             AND state = 'running'",
        )
        .bind(job.tenant_id)
        .bind(job.id)
        .bind(job.lease_token)
        .bind(Json(payload))
        .execute(&mut **tx)
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    async fn finish(&self, finished: &[Finished]) -> Result<Vec<JobId>, DbError> {
        match self.finish_once(finished).await {
            // If the first transaction committed after all, the second reports lost leases.
            Err(error) if error.is_lost() => self.finish_once(finished).await,
            result => result,
        }
    }

    async fn finish_in(&self, tx: &mut Tx, finished: &[Finished]) -> Result<Vec<JobId>, DbError> {
        let mut finalized = Finalized::default();
        let mut requeued = Requeued::default();
        for item in finished {
            classify(item, &mut finalized, &mut requeued);
        }
        let mut done = finalized.write(tx).await?;
        fail_deliveries(tx, finished, &done).await?;
        done.extend(requeued.write(tx).await?);
        Ok(finished
            .iter()
            .map(|f| f.job.id)
            .filter(|id| !done.contains(id))
            .collect())
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<DateTime<Utc>, DbError> {
        Ok(sqlx::query_scalar(
            "INSERT INTO workers (id, expires_at) VALUES ($1, now() + $2 * interval '1 second') \
             ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at \
             RETURNING clock_timestamp()",
        )
        .bind(worker)
        .bind(LEASE_SECONDS)
        .fetch_one(&self.db)
        .await?)
    }

    async fn release(&self, worker: WorkerId) -> Result<u64, DbError> {
        let released = sqlx::query(
            "WITH removed AS (DELETE FROM workers WHERE id = $1) \
             UPDATE jobs SET state = 'queued', run_at = now(), worker_id = NULL, \
                 lease_token = NULL, attempts = greatest(attempts - 1, 0) \
             WHERE worker_id = $1 AND state = 'running'",
        )
        .bind(worker)
        .execute(&self.db)
        .await?;
        Ok(released.rows_affected())
    }

    async fn rescue(&self, worker: WorkerId, held: &[i64]) -> Result<u64, DbError> {
        rescue::rescue(&self.db, worker, held).await
    }

    async fn cancellations(&self, worker: WorkerId) -> Result<Vec<JobId>, DbError> {
        Ok(sqlx::query_scalar(
            "SELECT id FROM jobs WHERE worker_id = $1 AND state = 'running' AND cancel_requested",
        )
        .bind(worker)
        .fetch_all(&self.db)
        .await?)
    }

    async fn get(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        id: JobId,
    ) -> Result<Option<Job>, DbError> {
        jobs::get(tx, scope, id).await
    }

    async fn list(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        filter: &JobFilter,
        request: &PageRequest,
    ) -> Result<Page<Job>, DbError> {
        jobs::list(tx, scope, filter, request).await
    }

    async fn count(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<i64, DbError> {
        jobs::count(tx, scope, filter, before.map(|id| id.0), limit).await
    }

    async fn cancel(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        id: JobId,
    ) -> Result<CancelOutcome, DbError> {
        cancellation::cancel(tx, scope, id).await
    }

    async fn cancel_for_connection(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<u64, DbError> {
        cancellation::cancel_for_connection(tx, scope, connection).await
    }

    async fn depths(&self) -> Result<Vec<QueueDepth>, DbError> {
        measure::depths(&self.db).await
    }

    async fn totals(&self, tx: &mut Tx) -> Result<QueueTotals, DbError> {
        measure::totals(tx).await
    }

    async fn waiting_bytes(&self) -> Result<Vec<(TenantId, u64)>, DbError> {
        measure::waiting_bytes(&self.db).await
    }
}

/// Fails the pending deliveries of jobs that ended without success.
async fn fail_deliveries(
    tx: &mut Tx,
    finished: &[Finished],
    finalized: &[JobId],
) -> Result<(), DbError> {
    for one in finished
        .iter()
        .filter(|one| finalized.contains(&one.job.id))
    {
        let reason = match (one.dead_error(), &one.outcome) {
            (Some(error), _) => error.message.as_str(),
            (None, JobOutcome::Cancelled) => "The job was cancelled.",
            (None, _) => continue,
        };
        let pending: Vec<_> = one.job.deliveries().collect();
        deliveries::fail_pending(tx, &pending, reason).await?;
    }
    Ok(())
}

fn claimed_job(row: &PgRow) -> Result<ClaimedJob, DbError> {
    let payload: Json<serde_json::Value> = row.try_get("payload")?;
    Ok(ClaimedJob {
        id: row.try_get("id")?,
        lease_token: row.try_get("lease_token")?,
        tenant_id: row.try_get::<TenantId, _>("tenant_id")?,
        provider: row.try_get("provider")?,
        connection_id: row.try_get::<Option<ConnectionId>, _>("connection_id")?,
        attempts: row.try_get("attempts")?,
        max_attempts: row.try_get("max_attempts")?,
        lost_attempts: row.try_get("lost_attempts")?,
        payload: JobPayload::decode(row.try_get("kind")?, &payload.0),
        bytes: u64::try_from(row.try_get::<i64, _>("bytes")?).unwrap_or(0),
        traceparent: row.try_get("traceparent")?,
        run_at: row.try_get("run_at")?,
        started_at: row.try_get("started_at")?,
    })
}
