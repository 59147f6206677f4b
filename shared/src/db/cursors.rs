//! Cursors: one row per stream of a connection, with its target and its progress.
//!
//! The root stream, which lists the others, has a row as well: it stores the position of a pass
//! that did not end in one time slice.

mod list;
mod page_size;
mod progress;
mod read;
mod reconciliation;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, Condition, QueryFilter, UpdateMany};
use serde_json::{Value, json};

pub use self::list::{StreamCounts, StreamState, StreamView, count_states, list_states};
pub use self::page_size::PageSize;
pub use self::progress::{HeldBackBy, StreamProgress, list_failing, measure_progress};
pub use self::read::{get_or_create_root, list_unread};
pub(super) use self::reconciliation::drain_missed;
pub use self::reconciliation::{
    ReconcileProgress, advance_reconciliation, list_unreconciled, record_missed,
    record_reconcile_failure,
};
use super::entities::cursors::{ActiveModel, Column, Entity};
use super::orm::{Scoped, now};
use super::{DbError, Json, TenantScope, Tx, sanitize, sanitize_all, sanitize_json};
use crate::model::{ConnectionId, JobError, StreamSpec};

/// A stream with its cursor and progress.
#[derive(Debug, Clone)]
pub struct StreamCursor {
    /// The stream.
    pub spec: StreamSpec,
    /// The cursor after the last committed page; `None` before the first.
    pub cursor: Option<Value>,
    /// Counts the commits; a page is committed only if the version has not changed since its read.
    pub version: i64,
    /// The floor: facts from before are never reported.
    pub backfill_from: DateTime<Utc>,
    /// The lower bound of the read that replaces its expired cursor; without it, the floor.
    pub resync_from: Option<DateTime<Utc>>,
    /// The upper bound of the run that has begun to read it and has not finished.
    pub pending_upper_bound: Option<DateTime<Utc>>,
    /// The time before which all facts are stored; `None` before the end of the first read.
    pub read_through: Option<DateTime<Utc>>,
    /// The time before which it is reconciled; `None` before the end of the first read.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// Whether the last reconciliation pass was denied a part of the stream.
    pub is_reconciliation_denied: bool,
    /// When a delivery last asked to read it, if it has not been read since.
    pub requested_at: Option<DateTime<Utc>>,
    /// The size of its next page.
    pub page_size: PageSize,
}

/// Updates a stream.
fn update(scope: &TenantScope, connection: ConnectionId, stream: &str) -> UpdateMany<Entity> {
    Entity::update_scoped(scope)
        .filter(Column::ConnectionId.eq(connection))
        .filter(Column::Stream.eq(stream))
}

/// The greater of a column's value and a time.
fn greatest(column: Column, time: DateTime<Utc>) -> Expr {
    Func::greatest([Expr::col(column), Expr::val(time)]).into()
}

/// Stores the streams that a page of the root stream lists.
///
/// New streams have the floor `backfill_from`, existing ones get their current target, and retired ones
/// are restored.
pub async fn list_streams(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    streams: &[StreamSpec],
    backfill_from: DateTime<Utc>,
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    if streams.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&StreamSpec) -> String| streams.iter().map(of).collect::<Vec<_>>();
    sqlx::query(include_str!("cursors/list_streams.sql"))
        .bind(scope.tenant_id())
        .bind(connection)
        .bind(column(|stream| sanitize(&stream.key).into_owned()))
        .bind(
            streams
                .iter()
                .map(|stream| stream.resource_id.as_deref().map(sanitize))
                .collect::<Vec<_>>(),
        )
        .bind(column(|stream| {
            sanitize_json(&stream.target.to_string()).into_owned()
        }))
        .bind(backfill_from)
        .bind(listed_at)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Retires the streams that a complete pass of the root stream did not list.
///
/// `listed_at` is the upper bound of that pass.
pub async fn retire_unlisted(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let unlisted = Condition::any()
        .add(Column::ListedAt.is_null())
        .add(Column::ListedAt.lt(listed_at));
    retire(scope, connection, "no longer listed")
        .filter(Column::Stream.ne(root))
        .filter(unlisted)
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Retires streams of a connection.
pub(super) fn retire(
    scope: &TenantScope,
    connection: ConnectionId,
    reason: &str,
) -> UpdateMany<Entity> {
    let retired = ActiveModel {
        retired_reason: Set(Some(reason.to_owned())),
        ..Default::default()
    };
    Entity::update_scoped(scope)
        .set(retired)
        .col_expr(Column::RetiredAt, now())
        .filter(Column::ConnectionId.eq(connection))
        .filter(Column::RetiredAt.is_null())
}

/// The progress of a stream after a page.
#[derive(Debug, Clone, Copy)]
pub struct Advance<'a> {
    /// The cursor after the page.
    pub cursor: &'a Value,
    /// The upper bound of the run, if it has more pages of the stream to read.
    pub pending_upper_bound: Option<DateTime<Utc>>,
    /// The time before which everything has been read; `None` while there are more pages.
    pub read_through: Option<DateTime<Utc>>,
    /// The fraction of the first read that is done, from 0 to 1.
    pub progress: f32,
    /// The time before which the stream counts as reconciled, if this page ends its first read.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The interval between two reconciliation passes, in seconds.
    pub reconcile_seconds: f64,
    /// The [`StreamCursor::requested_at`] that this page answers; a later one stays.
    pub answered_request: Option<DateTime<Utc>>,
}

/// Advances a cursor and stores its page size, in the transaction of the page.
///
/// Returns `false` if another run has advanced it meanwhile: the page must not be committed.
pub async fn advance(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &StreamCursor,
    to: &Advance<'_>,
) -> Result<bool, DbError> {
    let (halvings, good_pages) = stream.page_size.columns();
    let moved = sqlx::query(include_str!("cursors/advance.sql"))
        .bind(scope.tenant_id())
        .bind(connection)
        .bind(&stream.spec.key)
        .bind(stream.version)
        .bind(Json(to.cursor))
        .bind(to.pending_upper_bound)
        .bind(to.read_through)
        .bind(to.progress)
        .bind(to.reconciled_through)
        .bind(to.reconcile_seconds)
        .bind(halvings)
        .bind(good_pages)
        .bind(to.answered_request)
        .execute(&mut **tx)
        .await?;
    Ok(moved.rows_affected() == 1)
}

/// Marks streams without new facts as read up to the run's upper bound.
///
/// Rows are locked in the order of their keys, like in [`list_streams`].
pub async fn mark_read(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    streams: &[String],
    upper_bound: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query(include_str!("cursors/mark_read.sql"))
        .bind(scope.tenant_id())
        .bind(connection)
        .bind(sanitize_all(streams))
        .bind(upper_bound)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Records that a stream cannot be read, and why.
///
/// `attempted_through` is the upper bound of a run that does not retry the stream. Without it the
/// failure is transient and counted.
pub async fn record_failure(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &str,
    failure: &JobError,
    attempted_through: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    let failed = ActiveModel {
        failure: Set(Some(Json(json!(failure)))),
        ..Default::default()
    };
    let failing_since = Func::coalesce([Expr::col(Column::FailingSince), now()]);
    let failed = update(scope, connection, stream)
        .set(failed)
        .col_expr(Column::UpdatedAt, now())
        .col_expr(Column::FailingSince, failing_since.into());
    let failed = match attempted_through {
        Some(attempted) => failed.col_expr(
            Column::AttemptedThrough,
            greatest(Column::AttemptedThrough, attempted),
        ),
        None => failed.col_expr(Column::Failures, Expr::col(Column::Failures).add(1)),
    };
    failed.exec(&tx.orm()).await?;
    Ok(())
}

/// Keeps the streams of resources whose rows in the list of streams are unreadable.
pub async fn keep_listed(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    resources: &[String],
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    Entity::update_scoped(scope)
        .filter(Column::ConnectionId.eq(connection))
        .filter(Column::ResourceId.is_in(resources.iter().map(String::as_str)))
        .filter(Column::RetiredAt.is_null())
        .col_expr(Column::ListedAt, Expr::val(listed_at))
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Records that a run reads no more of a stream.
///
/// The stream is read again by the next run, and until then it is complete only to its
/// `read_through`.
pub async fn record_attempt(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &str,
    upper_bound: DateTime<Utc>,
) -> Result<(), DbError> {
    let attempted = greatest(Column::AttemptedThrough, upper_bound);
    update(scope, connection, stream)
        .col_expr(Column::AttemptedThrough, attempted)
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Defers streams of these resources to a later run.
///
/// Only streams of the given kinds that were read after `read_since` and are not partly read.
pub async fn defer(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    resources: &[&str],
    kinds: &[&str],
    upper_bound: DateTime<Utc>,
    read_since: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET attempted_through = greatest(attempted_through, $5) \
         WHERE tenant_id = $1 AND connection_id = $2 AND resource_id = ANY ($3) \
           AND split_part(stream, ':', 1) = ANY ($4) AND read_through >= $6 \
           AND pending_upper_bound IS NULL AND retired_at IS NULL",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(sanitize_all(resources))
    .bind(kinds)
    .bind(upper_bound)
    .bind(read_since)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Resets the cursor of a stream.
///
/// The next run reads from `resync_from`; without it, from the floor. Facts that are stored already are deduplicated.
pub async fn restart(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &str,
    resync_from: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    restarted(update(scope, connection, stream), resync_from)
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Resets the cursors of all streams: the next run reads each from its floor.
///
/// A floor moves to `backfill_from` if that is earlier; a later floor would hide facts.
pub async fn restart_all(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    backfill_from: DateTime<Utc>,
) -> Result<(), DbError> {
    let floor = Func::least([Expr::col(Column::BackfillFrom), Expr::val(backfill_from)]);
    let streams = Entity::update_scoped(scope).filter(Column::ConnectionId.eq(connection));
    restarted(streams, None)
        .col_expr(Column::BackfillFrom, floor.into())
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Resets cursors.
fn restarted(
    streams: UpdateMany<Entity>,
    resync_from: Option<DateTime<Utc>>,
) -> UpdateMany<Entity> {
    let restarted = ActiveModel {
        cursor: Set(None),
        resync_from: Set(resync_from),
        pending_upper_bound: Set(None),
        ..Default::default()
    };
    streams
        .set(restarted)
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .col_expr(Column::UpdatedAt, now())
}
