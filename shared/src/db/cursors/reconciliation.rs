//! Reconciliation passes over streams, and the missed facts that make one due.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Value, json};

use super::read::{listed, load};
use super::{StreamCursor, update};
use crate::db::entities::cursors::{ActiveModel, Column};
use crate::db::orm::now;
use crate::db::{DbError, Json, TenantScope, Tx};
use crate::model::{ConnectionId, JobError};

/// Lists the streams whose reconciliation pass is due or running, at most `limit`.
///
/// Their cursors and upper bounds are those of the pass.
pub async fn list_unreconciled(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    limit: i64,
) -> Result<Vec<StreamCursor>, DbError> {
    let due = listed(scope, connection, root)
        .filter(Column::ReconcileAt.into_expr().lte(now()))
        .filter(Column::ReadThrough.is_not_null())
        .filter(Column::FailingSince.is_null())
        .order_by_asc(Column::ReconcileAt)
        .order_by_asc(Column::Stream)
        .limit(limit.unsigned_abs());
    load(
        tx,
        due,
        Column::ReconcileCursor,
        Column::ReconcileUpperBound,
    )
    .await
}

/// The progress of a stream's reconciliation pass after a page.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileProgress<'a> {
    /// The cursor of the pass; `None` when the pass has ended.
    pub cursor: Option<&'a Value>,
    /// The upper bound of the pass.
    pub upper_bound: DateTime<Utc>,
    /// The time before which the stream is reconciled, when the pass has ended.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// Seconds until the next pass; 0 while this one is running.
    pub due_in_seconds: f64,
}

/// Advances the reconciliation pass of a stream, and stores its page size.
pub async fn advance_reconciliation(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &StreamCursor,
    to: &ReconcileProgress<'_>,
) -> Result<(), DbError> {
    let (halvings, good_pages) = stream.page_size.columns();
    sqlx::query(include_str!("advance_reconciliation.sql"))
        .bind(scope.tenant_id())
        .bind(connection)
        .bind(&stream.spec.key)
        .bind(to.cursor.map(Json))
        .bind(to.upper_bound)
        .bind(to.reconciled_through)
        .bind(to.due_in_seconds)
        .bind(halvings)
        .bind(good_pages)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Records why the reconciliation pass could not read all of a stream; `None` when it could.
pub async fn record_reconcile_failure(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &str,
    failure: Option<&JobError>,
) -> Result<(), DbError> {
    let result = ActiveModel {
        reconcile_failure: Set(failure.map(|failure| Json(json!(failure)))),
        ..Default::default()
    };
    let since = match failure {
        Some(_) => Func::coalesce([Expr::col(Column::UnreconciledSince), now()]).into(),
        None => Expr::null(),
    };
    update(scope, connection, stream)
        .set(result)
        .col_expr(Column::UnreconciledSince, since)
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Counts facts of a stream that no delivery has reported.
///
/// With `pause` the stream is reconciled in the next run, but not earlier than `pause` seconds
/// after its `reconciled_through`.
pub async fn record_missed(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &str,
    missed: i64,
    pause: Option<f64>,
) -> Result<(), DbError> {
    let count = Expr::col(Column::MissedCount).add(missed);
    let mut counted = update(scope, connection, stream).col_expr(Column::MissedCount, count);
    if let Some(pause) = pause {
        let soon = Expr::cust_with_values(
            "least(reconcile_at, greatest(now(), reconciled_through + $1 * interval '1 second'))",
            [pause],
        );
        counted = counted.col_expr(Column::ReconcileAt, soon);
    }
    counted.exec(&tx.orm()).await?;
    Ok(())
}

/// Resets the counts of [`record_missed`] on a connection's streams and returns their sum.
///
/// The caller must hold the lock on the connection's row, which comes first in the lock order.
pub(in crate::db) async fn drain_missed(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<i64, DbError> {
    let missed = sqlx::query_scalar(
        "WITH counted AS MATERIALIZED ( \
             SELECT stream, missed_count FROM cursors \
             WHERE tenant_id = $1 AND connection_id = $2 AND missed_count > 0 \
             ORDER BY stream FOR NO KEY UPDATE \
         ), cleared AS ( \
             UPDATE cursors c SET missed_count = 0 FROM counted k \
             WHERE c.tenant_id = $1 AND c.connection_id = $2 AND c.stream = k.stream \
         ) \
         SELECT coalesce(sum(missed_count), 0)::bigint FROM counted",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_one(&mut **tx)
    .await?;
    Ok(missed)
}
