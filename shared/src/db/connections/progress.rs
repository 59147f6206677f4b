//! Sync progress and poll interval of a connection.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::json;

use super::health::{refresh_health, report_backfilled};
use super::{ConnectionStatus, below_watermark, update};
use crate::db::activity;
use crate::db::cursors::{self, HeldBackBy};
use crate::db::entities::connections::{ActiveModel, Column};
use crate::db::orm::now;
use crate::db::{DbError, Json, TenantScope, Tx};
use crate::model::{ConnectionId, JobError};

/// Records the start of the backfill, unless it has started before.
pub async fn record_backfill_start(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    let started = ActiveModel {
        backfill_started_at: Set(Some(at)),
        ..Default::default()
    };
    update(scope, id)
        .set(started)
        .filter(Column::BackfillStartedAt.is_null())
        .filter(Column::BackfilledAt.is_null())
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// The progress of a connection at the end of a slice of a run.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The time before which all facts that lists show as they happen are stored.
    pub complete_through: Option<DateTime<Utc>>,
    /// The time before which all facts that only a reconciliation pass finds are stored.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The stream that holds these times back.
    pub held_back_by: Option<HeldBackBy>,
    /// Set when the run has ended: whether it was a backfill.
    pub ended: Option<IsBackfill>,
    /// The reason why the read makes no progress; `None` when it does.
    pub problem: Option<JobError>,
}

/// Whether a run is a backfill.
pub type IsBackfill = bool;

/// Records a connection's progress and the stream that holds it back.
pub async fn record_progress(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    progress: &Progress,
) -> Result<(), DbError> {
    let recorded: Option<(String, bool, DateTime<Utc>)> = sqlx::query_as(concat!(
        "UPDATE connections SET updated_at = now(), last_error = $7, held_back_by = $5, \
             last_sync_at = CASE WHEN $6::boolean IS NULL THEN last_sync_at ELSE now() END, \
             backfilled_at = CASE WHEN $6 THEN coalesce(backfilled_at, now()) \
                             ELSE backfilled_at END, \
             previous_complete_through = ",
        below_watermark!("complete_through", "previous_complete_through"),
        ", previous_reconciled_through = ",
        below_watermark!("reconciled_through", "previous_reconciled_through"),
        ", \
             complete_through = greatest(complete_through, $3), \
             reconciled_through = greatest(reconciled_through, $4), \
             complete_tx = pg_current_xact_id() \
         WHERE tenant_id = $1 AND id = $2 \
         RETURNING provider, $6 IS TRUE AND backfilled_at = now(), clock_timestamp()",
    ))
    .bind(scope.tenant_id())
    .bind(id)
    .bind(progress.complete_through)
    .bind(progress.reconciled_through)
    .bind(progress.held_back_by.as_ref().map(Json))
    .bind(progress.ended)
    .bind(progress.problem.as_ref().map(Json))
    .fetch_optional(&mut **tx)
    .await?;
    // This transaction has set the time of the backfill's end.
    if let Some((provider, true, at)) = recorded {
        report_backfilled(tx, scope, id, &provider, at).await?;
    }
    refresh_health(tx, scope, id).await
}

/// Maximum missed deliveries per run that do not shorten the poll interval.
const MAX_TOLERATED_MISSES: i64 = 3;
/// Maximum number of times that the interval is halved.
const MAX_POLL_BOOST: i16 = 3;

/// SQL: the actual poll interval of a connection in seconds.
///
/// It is halved `poll_boost` times after missed deliveries, and at least a quarter longer than a
/// run.
macro_rules! effective_interval {
    () => {
        "greatest(ceil(run_seconds * 1.25)::integer, \
             least(poll_interval_seconds, greatest(30, poll_interval_seconds >> poll_boost)))"
    };
}

/// A statement that changes inputs of the effective interval.
///
/// It updates the route's interval as well.
macro_rules! change_interval {
    ($change:literal) => {
        concat!(
            "WITH changed AS ( \
                 UPDATE connections SET ",
            $change,
            " WHERE tenant_id = $1 AND id = $2 \
                 RETURNING tenant_id, id, ",
            effective_interval!(),
            " AS seconds \
             ) \
             UPDATE connection_routes r SET poll_interval_seconds = c.seconds \
             FROM changed c WHERE r.tenant_id = c.tenant_id AND r.connection_id = c.id",
        )
    };
}

/// Moves the streams' counts of facts that no delivery had reported to the connection.
pub async fn record_missed(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<(), DbError> {
    super::lock(tx, scope, id).await?;
    let missed = cursors::drain_missed(tx, scope, id).await?;
    if missed == 0 {
        return Ok(());
    }
    update(scope, id)
        .col_expr(
            Column::MissedCount,
            Expr::col(Column::MissedCount).add(missed),
        )
        .col_expr(Column::RunMissed, Expr::col(Column::RunMissed).add(missed))
        .col_expr(Column::MissedAt, now())
        .exec(&tx.orm())
        .await?;
    activity::record_missed(tx, scope, id, missed).await
}

/// Adapts the poll interval to the deliveries missed since the end of the previous run.
///
/// Called at the end of every run, including runs in which streams could not be read.
pub async fn adapt_poll_interval(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<(), DbError> {
    sqlx::query(change_interval!(
        "run_missed = 0, \
             poll_boost = CASE WHEN run_missed > $3 THEN least(poll_boost + 1, $4) \
                 WHEN run_missed = 0 THEN greatest(poll_boost - 1, 0) \
                 ELSE poll_boost END"
    ))
    .bind(scope.tenant_id())
    .bind(id)
    .bind(MAX_TOLERATED_MISSES)
    .bind(MAX_POLL_BOOST)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Records the duration of an incremental run without its reconciliation pass.
pub async fn record_run_time(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    seconds: i32,
) -> Result<(), DbError> {
    sqlx::query(change_interval!("run_seconds = $3"))
        .bind(scope.tenant_id())
        .bind(id)
        .bind(seconds)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Records why a run failed as a whole, and the stream that holds the connection back.
pub async fn record_problem(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    problem: &JobError,
    held_back_by: Option<&HeldBackBy>,
) -> Result<(), DbError> {
    let failed = ActiveModel {
        last_error: Set(Some(Json(json!(problem)))),
        held_back_by: Set(held_back_by.map(|held| Json(json!(held)))),
        ..Default::default()
    };
    update(scope, id)
        .set(failed)
        .col_expr(Column::UpdatedAt, now())
        .exec(&tx.orm())
        .await?;
    refresh_health(tx, scope, id).await
}

/// Sets a connection's poll interval; returns whether the connection exists.
///
/// A poll that is due later than one interval from now is moved forward.
pub async fn update_poll_interval(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    seconds: i32,
) -> Result<bool, DbError> {
    let interval = ActiveModel {
        poll_interval_seconds: Set(seconds),
        ..Default::default()
    };
    let changed = update(scope, id)
        .set(interval)
        .col_expr(Column::UpdatedAt, now())
        .filter(Column::Status.ne(ConnectionStatus::Disconnected))
        .exec(&tx.orm())
        .await?;
    sqlx::query(concat!(
        "UPDATE connection_routes r SET poll_interval_seconds = c.seconds, \
             next_sync_at = least(r.next_sync_at, now() + make_interval(secs => c.seconds)) \
         FROM (SELECT ",
        effective_interval!(),
        " AS seconds FROM connections WHERE tenant_id = $1 AND id = $2) c \
         WHERE r.tenant_id = $1 AND r.connection_id = $2",
    ))
    .bind(scope.tenant_id())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected == 1)
}
