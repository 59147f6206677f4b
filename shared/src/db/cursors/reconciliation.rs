//! Reconciliation passes over streams, and the missed facts that make one due.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Row, StreamCursor, select};
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
    let rows: Vec<Row> = sqlx::query_as(select!(
        "reconcile_cursor",
        "reconcile_upper_bound",
        "AND retired_at IS NULL AND stream <> $3 AND reconcile_at <= now() \
         AND read_through IS NOT NULL AND failing_since IS NULL \
         ORDER BY reconcile_at, stream LIMIT $4"
    ))
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(root)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(StreamCursor::from).collect())
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
    sqlx::query(
        "UPDATE cursors SET updated_at = now(), page_halvings = $8, good_pages = $9, \
             reconcile_cursor = $4, \
             reconcile_upper_bound = CASE WHEN $4::json IS NULL THEN NULL ELSE $5 END, \
             reconciled_through = greatest(reconciled_through, $6), \
             reconcile_at = CASE WHEN $7 > 0 THEN now() + $7 * interval '1 second' \
                 ELSE reconcile_at END \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3",
    )
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
    sqlx::query(
        "UPDATE cursors SET reconcile_failure = $4, \
             unreconciled_since = CASE WHEN $4::json IS NULL THEN NULL \
                 ELSE coalesce(unreconciled_since, now()) END \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(stream)
    .bind(failure.map(Json))
    .execute(&mut **tx)
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
    sqlx::query(
        "UPDATE cursors SET missed_count = missed_count + $4, \
             reconcile_at = CASE WHEN $5::float8 IS NULL THEN reconcile_at \
                 ELSE least(reconcile_at, \
                     greatest(now(), reconciled_through + $5 * interval '1 second')) END \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(stream)
    .bind(missed)
    .bind(pause)
    .execute(&mut **tx)
    .await?;
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
