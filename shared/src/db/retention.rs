//! Retention: creates partitions ahead of time, and deletes expired rows and partitions.
//!
//! Each step runs in a separate transaction that the caller begins, so that a caller that has lost
//! its lease can stop.

use futures::future::BoxFuture;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};

use super::entities::connections::{Column, Entity};
use super::orm::{across_tenants, equals_literal, now};
use super::{DbError, TenantScope, Tx, connections};
use crate::model::{ConnectionId, ConnectionStatus, TenantId};

/// Days for which partitions are created in advance.
const DAYS_AHEAD: i32 = 14;
/// Maximum number of rows that one statement deletes.
const MAX_DELETED_ROWS: i64 = 5000;
/// Maximum number of pending connections that one run ends.
const MAX_EXPIRED_APPROVALS: u64 = 1000;

/// The retention times of deliveries and finished jobs.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Days for deliveries.
    pub delivery_days: i32,
    /// Days for finished jobs.
    pub job_days: i32,
}

/// Applies the retention; returns the number of deleted rows and partitions.
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
    let mut removed = 0;
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
        removed += u64::from(dropped.unsigned_abs());
    }
    let mut tx = begin().await?;
    removed += expire_approvals(&mut tx).await?;
    tx.commit().await.map_err(DbError::from)?;
    for statement in [
        "DELETE FROM connect_links WHERE ctid IN (SELECT ctid FROM connect_links \
         WHERE expires_at < now() - interval '1 day' LIMIT $1)",
        "DELETE FROM oauth_states WHERE ctid IN (SELECT ctid FROM oauth_states \
         WHERE expires_at < now() - interval '1 hour' LIMIT $1)",
        "DELETE FROM idempotency_keys WHERE ctid IN (SELECT ctid FROM idempotency_keys \
         WHERE created_at < now() - interval '1 day' LIMIT $1)",
        "DELETE FROM events WHERE ctid IN (SELECT ctid FROM events \
         WHERE created_at < now() - interval '90 days' LIMIT $1)",
        "DELETE FROM webhook_results WHERE ctid IN (SELECT ctid FROM webhook_results \
         WHERE hour < now() - interval '2 days' LIMIT $1)",
        "DELETE FROM delivery_dedup WHERE ctid IN (SELECT ctid FROM delivery_dedup \
         WHERE received_at < now() - interval '90 days' LIMIT $1)",
    ] {
        loop {
            let mut tx = begin().await?;
            let deleted = sqlx::query(statement)
                .bind(MAX_DELETED_ROWS)
                .execute(&mut *tx)
                .await
                .map_err(DbError::from)?
                .rows_affected();
            tx.commit().await.map_err(DbError::from)?;
            removed += deleted;
            if deleted < MAX_DELETED_ROWS.unsigned_abs() {
                break;
            }
        }
    }
    Ok(removed)
}

/// Ends the pending connections whose approval has expired; returns how many.
async fn expire_approvals(tx: &mut Tx) -> Result<u64, DbError> {
    let expired: Vec<(TenantId, ConnectionId)> = across_tenants::<Entity>()
        .select_only()
        .columns([Column::TenantId, Column::Id])
        .filter(equals_literal(Column::Status, ConnectionStatus::Pending))
        .filter(Column::PendingUntil.into_expr().lt(now()))
        .order_by_asc(Column::PendingUntil)
        .limit(MAX_EXPIRED_APPROVALS)
        .into_tuple()
        .all(&tx.orm())
        .await?;
    if expired.is_empty() {
        return Ok(0);
    }
    let (tenants, ids): (Vec<TenantId>, Vec<ConnectionId>) = expired.into_iter().unzip();
    let scopes: Vec<TenantScope> = tenants.iter().copied().map(TenantScope::new).collect();
    tx.change_scopes(&scopes).await?;
    let ended: Vec<(TenantId, ConnectionId)> = sqlx::query_as(
        "UPDATE connections c SET status = 'disconnected', status_reason = 'approval_expired', \
             updated_at = now() \
         FROM unnest($1::uuid[], $2::uuid[]) AS e(tenant_id, id) \
         WHERE c.tenant_id = e.tenant_id AND c.id = e.id AND c.status = 'pending' \
           AND c.pending_until < now() \
         RETURNING c.tenant_id, c.id",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    connections::assess_all(tx, &ended).await?;
    Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX))
}
