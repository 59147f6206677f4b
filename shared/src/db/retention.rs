//! Retention: partitions are made ahead of time, and what has expired is dropped or deleted.
//!
//! Each step is a transaction of its own, which the caller begins: a caller that may not write any
//! more begins none.

use futures::future::BoxFuture;

use super::{DbError, TenantScope, Tx};
use crate::ids::{ConnectionId, TenantId};

/// Days for which there are partitions in advance.
const DAYS_AHEAD: i32 = 14;
/// Rows that one statement deletes at most.
const MAX_ROWS: i64 = 5000;
/// Connections whose approval one run ends at most.
const MAX_APPROVALS: i64 = 1000;

/// How long deliveries and finished jobs are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Days for deliveries.
    pub delivery_days: i32,
    /// Days for finished jobs.
    pub job_days: i32,
}

/// Applies the retention. Answers how many rows and partitions went.
pub async fn apply<'f, E: From<DbError>>(
    begin: impl Fn() -> BoxFuture<'f, Result<Tx, E>> + Send + Sync,
    retention: Retention,
) -> Result<u64, E> {
    let mut tx = begin().await?;
    sqlx::query("SELECT ensure_partitions($1)")
        .bind(DAYS_AHEAD)
        .execute(&mut *tx)
        .await
        .map_err(DbError::from)?;
    tx.commit().await.map_err(DbError::from)?;
    let mut gone = 0;
    for (parent, days) in [
        ("deliveries", retention.delivery_days),
        ("job_history", retention.job_days),
    ] {
        let mut tx = begin().await?;
        let dropped: i32 = sqlx::query_scalar("SELECT drop_partitions($1, $2)")
            .bind(parent)
            .bind(days)
            .fetch_one(&mut *tx)
            .await
            .map_err(DbError::from)?;
        tx.commit().await.map_err(DbError::from)?;
        gone += u64::from(dropped.unsigned_abs());
    }
    let mut tx = begin().await?;
    gone += expire_approvals(&mut tx).await?;
    tx.commit().await.map_err(DbError::from)?;
    for statement in [
        "DELETE FROM connect_links WHERE ctid IN (SELECT ctid FROM connect_links \
         WHERE expires_at < now() - interval '1 day' LIMIT $1)",
        "DELETE FROM oauth_states WHERE ctid IN (SELECT ctid FROM oauth_states \
         WHERE expires_at < now() - interval '1 hour' LIMIT $1)",
        "DELETE FROM idempotency_keys WHERE ctid IN (SELECT ctid FROM idempotency_keys \
         WHERE created_at < now() - interval '1 day' LIMIT $1)",
        "DELETE FROM delivery_ledger WHERE ctid IN (SELECT ctid FROM delivery_ledger \
         WHERE received_at < now() - interval '90 days' LIMIT $1)",
    ] {
        loop {
            let mut tx = begin().await?;
            let deleted = sqlx::query(statement)
                .bind(MAX_ROWS)
                .execute(&mut *tx)
                .await
                .map_err(DbError::from)?
                .rows_affected();
            tx.commit().await.map_err(DbError::from)?;
            gone += deleted;
            if deleted < MAX_ROWS.unsigned_abs() {
                break;
            }
        }
    }
    Ok(gone)
}

/// Ends the pending connections whose approval has expired; answers how many.
async fn expire_approvals(tx: &mut Tx) -> Result<u64, DbError> {
    let expired: Vec<(TenantId, ConnectionId)> = sqlx::query_as(
        "SELECT tenant_id, id FROM connections \
         WHERE status = 'pending' AND pending_until < now() ORDER BY pending_until LIMIT $1",
    )
    .bind(MAX_APPROVALS)
    .fetch_all(&mut **tx)
    .await?;
    if expired.is_empty() {
        return Ok(0);
    }
    let (tenants, ids): (Vec<TenantId>, Vec<ConnectionId>) = expired.into_iter().unzip();
    let scopes: Vec<TenantScope> = tenants.iter().copied().map(TenantScope::new).collect();
    tx.change_scopes(&scopes).await?;
    let ended = sqlx::query(
        "UPDATE connections c SET status = 'disconnected', status_reason = 'approval_expired', \
             updated_at = now() \
         FROM unnest($1::uuid[], $2::uuid[]) AS e(tenant_id, id) \
         WHERE c.tenant_id = e.tenant_id AND c.id = e.id AND c.status = 'pending' \
           AND c.pending_until < now()",
    )
    .bind(tenants)
    .bind(ids)
    .execute(&mut **tx)
    .await?;
    Ok(ended.rows_affected())
}
