//! [`JobQueue`] on Postgres. Hot statements stand in SQL; each names its index.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Mutex;

use super::lines::{Line, Lines, Pick};
use super::outcomes::{Again, Ended, sort};
use super::{
    ClaimRequest, ClaimedJob, Finished, JobError, JobKind, JobOutcome, JobPayload, JobQueue,
    LEASE_SECONDS, Lane, MAX_LOST_ATTEMPTS, SyncMode, archive_jobs,
};
use crate::db::{Db, DbError, Json, TenantScope, Tx, deliveries};
use crate::ids::{ConnectionId, JobId, TenantId, WorkerId};

/// Running jobs of workers that have stopped, and those that a worker ($1) holds without
/// knowing: none of its leases has such a token ($2), though it had the time ($3, in seconds)
/// to hear of it. A row that a vanished worker's connection still locks waits for its turn, and
/// nobody for it. Served by `jobs_running`; the set is as small as the number of jobs in flight.
macro_rules! nobody_runs {
    () => {
        "SELECT j.tenant_id, j.id FROM jobs j WHERE j.state = 'running' AND ( \
             NOT EXISTS (SELECT FROM workers w WHERE w.id = j.worker_id AND w.expires_at > now()) \
             OR (j.worker_id = $1 AND j.lease_token <> ALL ($2) \
                 AND j.started_at < now() - $3 * interval '1 second'))"
    };
}

/// The queue in Postgres, as the worker's role sees it.
#[derive(Debug, Clone)]
pub struct PgJobQueue {
    db: Db,
    deliveries: Arc<Mutex<Lines>>,
    others: Arc<Mutex<Lines>>,
}

impl PgJobQueue {
    /// A queue on this pool.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            deliveries: Arc::default(),
            others: Arc::default(),
        }
    }

    /// Claims `left` jobs at the most, from these lines in turn.
    async fn claim_from(
        &self,
        worker: WorkerId,
        picks: &[Pick],
        left: i64,
    ) -> Result<Vec<(Line, ClaimedJob)>, DbError> {
        let rows = sqlx::query(include_str!("claim.sql"))
            .bind(picks.iter().map(|pick| pick.line.0).collect::<Vec<_>>())
            .bind(picks.iter().map(|pick| pick.line.1).collect::<Vec<_>>())
            .bind(picks.iter().map(|pick| pick.head.0).collect::<Vec<_>>())
            .bind(picks.iter().map(|pick| pick.head.1).collect::<Vec<_>>())
            .bind(picks.iter().map(|pick| pick.most).collect::<Vec<_>>())
            .bind(left)
            .bind(worker)
            .fetch_all(&self.db)
            .await?;
        rows.iter()
            .map(|row| {
                let job = claimed(row)?;
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

/// Makes sure, until the transaction ends, that the job's lease is still this worker's.
/// `false` means that somebody else may be running it: write nothing. Transactions of one run
/// hold it together; whoever would take the job away waits for them.
pub async fn hold(tx: &mut Tx, job: &ClaimedJob) -> Result<bool, DbError> {
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

/// Freezes the upper bound of a sync in its own arguments, so that a later try reads up to
/// the same moment. `false` means that the lease has passed on.
pub async fn freeze_until(
    tx: &mut Tx,
    job: &ClaimedJob,
    mode: SyncMode,
    until: DateTime<Utc>,
) -> Result<bool, DbError> {
    let payload = JobPayload::SyncConnection {
        mode,
        until: Some(until),
    };
    let frozen = sqlx::query(
        "UPDATE jobs SET payload = $4 WHERE tenant_id = $1 AND id = $2 AND lease_token = $3 \
         AND state = 'running'",
    )
    .bind(job.tenant_id)
    .bind(job.id)
    .bind(job.lease_token)
    .bind(Json(&payload))
    .execute(&mut **tx)
    .await?;
    Ok(frozen.rows_affected() == 1)
}

#[async_trait]
impl JobQueue for PgJobQueue {
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, DbError> {
        let shared = match request.lane {
            Lane::Deliveries => &self.deliveries,
            Lane::Others => &self.others,
        };
        let mut lines = shared.lock().await;
        lines.look(&self.db, request.lane).await?;
        let mut jobs = Vec::new();
        let mut taken = lines.begin();
        loop {
            let picks = lines.picks(request, &taken);
            if picks.is_empty() {
                break;
            }
            let left = request.limit - taken.jobs;
            let claimed = match self.claim_from(request.worker, &picks, left).await {
                Ok(claimed) => claimed,
                Err(error) if jobs.is_empty() => return Err(error),
                // Those that are claimed already are not to wait for somebody to miss them.
                Err(_) => break,
            };
            let found: Vec<_> = claimed
                .iter()
                .map(|(line, job)| (*line, (job.run_at, job.id)))
                .collect();
            lines.learn(&picks, &found, left, &mut taken);
            jobs.extend(claimed);
        }
        jobs.sort_by_key(|((_, priority), job)| (*priority, job.run_at, job.id));
        Ok(jobs.into_iter().map(|(_, job)| job).collect())
    }

    async fn finish(&self, finished: &[Finished]) -> Result<Vec<JobId>, DbError> {
        match self.finish_once(finished).await {
            // Had the first try been committed, the second would find the leases gone.
            Err(error) if error.is_lost() => self.finish_once(finished).await,
            result => result,
        }
    }

    async fn finish_in(&self, tx: &mut Tx, finished: &[Finished]) -> Result<Vec<JobId>, DbError> {
        let mut ended = Ended::default();
        let mut again = Again::default();
        for item in finished {
            sort(item, &mut ended, &mut again);
        }
        let mut done = ended.write(tx).await?;
        fail_deliveries(tx, finished, &done).await?;
        done.extend(again.write(tx).await?);
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
             UPDATE jobs SET state = 'queued', run_at = now(), attempts = greatest(attempts - 1, 0), \
                 worker_id = NULL, lease_token = NULL \
             WHERE worker_id = $1 AND state = 'running'",
        )
        .bind(worker)
        .execute(&self.db)
        .await?;
        Ok(released.rows_affected())
    }

    async fn reap(&self, worker: WorkerId, held: &[i64]) -> Result<u64, DbError> {
        let error = JobError {
            code: "worker_lost".to_owned(),
            message: "The worker that ran this job stopped without ending it.".to_owned(),
        };
        let mut tx = self.db.begin_unscoped().await?;
        let buried: Vec<(TenantId, JobKind, Json<serde_json::Value>)> = sqlx::query_as(concat!(
            "WITH lost AS (",
            nobody_runs!(),
            " AND j.losses >= $5 FOR UPDATE SKIP LOCKED), gone AS ( \
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
        for (tenant, kind, payload) in &buried {
            let payload = JobPayload::read(*kind, &payload.0);
            let pending = payload.deliveries().iter().map(|id| (*tenant, *id));
            let pending: Vec<_> = pending.collect();
            if !pending.is_empty() {
                tx.change_scopes(&[TenantScope::new(*tenant)]).await?;
                deliveries::fail_pending(&mut tx, &pending, &error.message).await?;
            }
        }
        let requeued = sqlx::query(concat!(
            "WITH lost AS (",
            nobody_runs!(),
            " FOR UPDATE SKIP LOCKED) UPDATE jobs j SET state = 'queued', run_at = now(), worker_id = NULL, \
                 lease_token = NULL, last_error = $4, losses = j.losses + 1, \
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
        let buried = u64::try_from(buried.len()).unwrap_or(u64::MAX);
        Ok(buried + requeued.rows_affected())
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

/// Fails the deliveries that ended jobs leave pending: of those that did not succeed.
async fn fail_deliveries(
    tx: &mut Tx,
    finished: &[Finished],
    ended: &[JobId],
) -> Result<(), DbError> {
    for one in finished.iter().filter(|one| ended.contains(&one.job.id)) {
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

fn claimed(row: &PgRow) -> Result<ClaimedJob, DbError> {
    let payload: Json<serde_json::Value> = row.try_get("payload")?;
    Ok(ClaimedJob {
        id: row.try_get("id")?,
        lease_token: row.try_get("lease_token")?,
        tenant_id: row.try_get::<TenantId, _>("tenant_id")?,
        provider: row.try_get("provider")?,
        connection_id: row.try_get::<Option<ConnectionId>, _>("connection_id")?,
        attempts: row.try_get("attempts")?,
        max_attempts: row.try_get("max_attempts")?,
        lost_attempts: row.try_get("losses")?,
        payload: JobPayload::read(row.try_get("kind")?, &payload.0),
        bytes: u64::try_from(row.try_get::<i64, _>("bytes")?).unwrap_or(0),
        traceparent: row.try_get("traceparent")?,
        run_at: row.try_get("run_at")?,
        started_at: row.try_get("started_at")?,
    })
}
