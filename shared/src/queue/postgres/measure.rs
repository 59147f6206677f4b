//! Measurements of the queue.

use sqlx::Row;

use crate::db::{Db, DbError, Tx};
use crate::model::TenantId;
use crate::queue::{QueueDepth, QueueTotals};

/// Returns the queue's depth and the age of its oldest due job, by kind.
pub(super) async fn depths(db: &Db) -> Result<Vec<QueueDepth>, DbError> {
    let rows = sqlx::query(
        "SELECT kind, count(*) FILTER (WHERE state = 'queued') AS queued, \
             count(*) FILTER (WHERE state = 'running') AS running, \
             coalesce(extract(epoch FROM now() - min(run_at) \
                 FILTER (WHERE state = 'queued' AND run_at <= now())), 0)::float8 AS oldest \
         FROM jobs GROUP BY kind",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(QueueDepth {
                kind: row.try_get("kind")?,
                queued: row.try_get("queued")?,
                running: row.try_get("running")?,
                oldest_seconds: row.try_get("oldest")?,
            })
        })
        .collect()
}

/// Counts the jobs that the transaction may read.
pub(super) async fn totals(tx: &mut Tx) -> Result<QueueTotals, DbError> {
    Ok(sqlx::query_as(
        "SELECT count(*) FILTER (WHERE state = 'queued' AND run_at <= now()) AS due, \
             count(*) FILTER (WHERE state = 'queued' AND run_at > now()) AS scheduled, \
             count(*) FILTER (WHERE state = 'running') AS running, \
             coalesce(extract(epoch FROM now() - min(run_at) \
                 FILTER (WHERE state = 'queued' AND run_at <= now())), 0)::float8 \
                 AS oldest_seconds, \
             (SELECT count(*) FROM job_history WHERE state = 'dead') AS dead \
         FROM jobs",
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Returns the bytes of waiting deliveries by tenant. Served by the index `jobs_due`.
pub(super) async fn waiting_bytes(db: &Db) -> Result<Vec<(TenantId, u64)>, DbError> {
    let tenants: Vec<(TenantId, i64)> = sqlx::query_as(
        "SELECT tenant_id, sum(bytes)::bigint FROM jobs \
         WHERE state = 'queued' AND kind IN ('process_deliveries', 'resolve_directory') \
         GROUP BY tenant_id",
    )
    .fetch_all(db)
    .await?;
    Ok(tenants
        .into_iter()
        .map(|(tenant, bytes)| (tenant, u64::try_from(bytes).unwrap_or(0)))
        .collect())
}
