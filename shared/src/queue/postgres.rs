//! [`JobQueue`] on Postgres. The hot statements are SQL files that name their indexes.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Mutex;

use super::claim_index::{Candidate, ClaimIndex, Partition};
use super::completion::{Finalized, Requeued, classify};
use super::{
    ClaimRequest, ClaimedJob, Finished, JobOutcome, JobQueue, LEASE_SECONDS, MAX_LOST_ATTEMPTS,
    WorkClass, archive_jobs,
};
use crate::db::{Db, DbError, Json, TenantScope, Tx, deliveries};
use crate::model::{
    ConnectionId, JobError, JobId, JobKind, JobPayload, SyncMode, TenantId, WorkerId,
};

/// Selects abandoned jobs: running jobs of stopped workers, and claims that were lost.
///
/// A claim is lost if the worker ($1) holds no lease with its token ($2) although the job started
/// more than $3 seconds ago: the claim's response did not arrive. Rows that the session of a dead
/// worker still locks are skipped until later. Uses the index `jobs_running`, which is as small as
/// the number of running jobs.
macro_rules! abandoned_jobs {
    () => {
        "SELECT j.tenant_id, j.id FROM jobs j WHERE j.state = 'running' AND ( \
             NOT EXISTS (SELECT FROM workers w WHERE w.id = j.worker_id AND w.expires_at > now()) \
             OR (j.worker_id = $1 AND j.lease_token <> ALL ($2) \
                 AND j.started_at < now() - $3 * interval '1 second'))"
    };
}

/// Tenant, kind and payload of a dead-lettered job.
type DeadLettered = (TenantId, JobKind, Json<serde_json::Value>);

/// The queue in Postgres, with the privileges of the worker's role.
#[derive(Debug, Clone)]
pub struct PgJobQueue {
    db: Db,
    deliveries: Arc<Mutex<ClaimIndex>>,
    background: Arc<Mutex<ClaimIndex>>,
}

impl PgJobQueue {
    /// A queue on this pool.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            deliveries: Arc::default(),
            background: Arc::default(),
        }
    }

    /// Claims up to `remaining` jobs from the candidates, in their order.
    async fn claim_from(
        &self,
        worker: WorkerId,
        candidates: &[Candidate],
        remaining: i64,
    ) -> Result<Vec<(Partition, ClaimedJob)>, DbError> {
        let rows = sqlx::query(include_str!("claim.sql"))
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

/// Verifies the lease of a job and locks its row until the transaction ends.
///
/// `false` means that the lease was lost and another worker may run the job, so the caller must
/// not write. The lock is shared: several transactions of one run can hold it, and a rescue or a
/// completion waits for them.
pub async fn verify_lease(tx: &mut Tx, job: &ClaimedJob) -> Result<bool, DbError> {
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

/// Stores the upper bound of a sync run in the job's payload; `false` if the lease was lost.
///
/// Later attempts then read to the same bound.
pub async fn set_sync_upper_bound(
    tx: &mut Tx,
    job: &ClaimedJob,
    mode: SyncMode,
    upper_bound: DateTime<Utc>,
) -> Result<bool, DbError> {
    let requested_only = matches!(
        job.payload,
        JobPayload::SyncConnection {
            requested_only: true,
            ..
        }
    );
    let payload = JobPayload::SyncConnection {
        mode,
        upper_bound: Some(upper_bound),
        requested_only,
    };
    let updated = sqlx::query(
        "UPDATE jobs SET payload = $4 WHERE tenant_id = $1 AND id = $2 AND lease_token = $3 \
         AND state = 'running'",
    )
    .bind(job.tenant_id)
    .bind(job.id)
    .bind(job.lease_token)
    .bind(Json(&payload))
    .execute(&mut **tx)
    .await?;
    Ok(updated.rows_affected() == 1)
}

#[async_trait]
impl JobQueue for PgJobQueue {
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
            "WITH gone AS (DELETE FROM workers WHERE id = $1) \
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
        let error = JobError {
            code: "worker_lost".to_owned(),
            message: "The worker stopped before the job ended.".to_owned(),
        };
        let mut tx = self.db.begin_unscoped().await?;
        let dead_lettered: Vec<DeadLettered> = sqlx::query_as(concat!(
            "WITH lost AS (",
            abandoned_jobs!(),
            " AND j.lost_attempts >= $5 FOR UPDATE SKIP LOCKED), gone AS ( \
                 DELETE FROM jobs j USING lost \
                 WHERE j.tenant_id = lost.tenant_id AND j.id = lost.id RETURNING j.* \
             ), archived AS (",
            archive_jobs!("'dead'", "$4"),
            ") SELECT tenant_id, kind, payload FROM gone"
        ))
        .bind(worker)
        .bind(held)
        .bind(LEASE_SECONDS)
        .bind(Json(&error))
        .bind(MAX_LOST_ATTEMPTS)
        .fetch_all(&mut *tx)
        .await?;
        for (tenant, kind, payload) in &dead_lettered {
            let payload = JobPayload::decode(*kind, &payload.0);
            let pending = payload.deliveries().iter().map(|id| (*tenant, *id));
            let pending: Vec<_> = pending.collect();
            if !pending.is_empty() {
                tx.change_scopes(&[TenantScope::new(*tenant)]).await?;
                deliveries::fail_pending(&mut tx, &pending, &error.message).await?;
            }
        }
        let requeued = sqlx::query(concat!(
            "WITH lost AS (",
            abandoned_jobs!(),
            " FOR UPDATE SKIP LOCKED) \
             UPDATE jobs j SET state = 'queued', run_at = now(), worker_id = NULL, \
                 lease_token = NULL, last_error = $4, lost_attempts = j.lost_attempts + 1, \
                 attempts = greatest(j.attempts - 1, 0) \
             FROM lost WHERE j.tenant_id = lost.tenant_id AND j.id = lost.id"
        ))
        .bind(worker)
        .bind(held)
        .bind(LEASE_SECONDS)
        .bind(Json(&error))
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM workers WHERE expires_at < now() - interval '1 minute'")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        let dead_lettered = u64::try_from(dead_lettered.len()).unwrap_or(u64::MAX);
        Ok(dead_lettered + requeued.rows_affected())
    }

    async fn cancellations(&self, worker: WorkerId) -> Result<Vec<JobId>, DbError> {
        Ok(sqlx::query_scalar(
            "SELECT id FROM jobs WHERE worker_id = $1 AND state = 'running' AND cancel_requested",
        )
        .bind(worker)
        .fetch_all(&self.db)
        .await?)
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
