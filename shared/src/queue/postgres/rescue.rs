//! The rescue of abandoned jobs.

use super::insert::archive_jobs;
use crate::db::{Db, DbError, Json, TenantScope, deliveries};
use crate::model::{JobError, JobKind, JobPayload, TenantId, WorkerId};
use crate::queue::{LEASE_SECONDS, MAX_LOST_ATTEMPTS};

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

/// Requeues or dead-letters abandoned jobs and returns their number.
///
/// Those with too many lost attempts are dead-lettered.
pub(super) async fn rescue(db: &Db, worker: WorkerId, held: &[i64]) -> Result<u64, DbError> {
    let error = JobError::worker_lost();
    let mut tx = db.begin_unscoped().await?;
    let dead_lettered: Vec<DeadLettered> = sqlx::query_as(concat!(
        "WITH lost AS (",
        abandoned_jobs!(),
        " AND j.lost_attempts >= $5 FOR UPDATE SKIP LOCKED), removed AS ( \
             DELETE FROM jobs j USING lost \
             WHERE j.tenant_id = lost.tenant_id AND j.id = lost.id RETURNING j.* \
         ), archived AS (",
        archive_jobs!("'dead'", "$4"),
        ") SELECT tenant_id, kind, payload FROM removed"
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
