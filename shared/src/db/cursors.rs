//! Cursors: one row per stream of a connection, with its target and its progress.
//!
//! The root stream, which lists the others, has a row as well: it stores the position of a pass
//! that did not end in one time slice.

mod page_size;
mod progress;
mod reconciliation;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use self::page_size::PageSize;
pub use self::progress::{HeldBackBy, StreamProgress, list_failing, measure_progress};
pub(super) use self::reconciliation::drain_missed;
pub use self::reconciliation::{
    ReconcileProgress, advance_reconciliation, list_unreconciled, record_missed,
    record_reconcile_failure,
};
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
    /// The lower bound of the first read.
    pub backfill_from: DateTime<Utc>,
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

#[derive(sqlx::FromRow)]
struct Row {
    stream: String,
    resource_id: Option<String>,
    target: Json<Value>,
    cursor: Option<Json<Value>>,
    version: i64,
    backfill_from: DateTime<Utc>,
    pending_upper_bound: Option<DateTime<Utc>>,
    read_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    failures: i32,
    page_halvings: i16,
    good_pages: i16,
    is_reconciliation_denied: bool,
    requested_at: Option<DateTime<Utc>>,
}

impl From<Row> for StreamCursor {
    fn from(row: Row) -> Self {
        Self {
            spec: StreamSpec {
                key: row.stream,
                resource_id: row.resource_id,
                target: row.target.0,
            },
            cursor: row.cursor.map(|cursor| cursor.0),
            version: row.version,
            backfill_from: row.backfill_from,
            pending_upper_bound: row.pending_upper_bound,
            read_through: row.read_through,
            reconciled_through: row.reconciled_through,
            is_reconciliation_denied: row.is_reconciliation_denied,
            requested_at: row.requested_at,
            page_size: PageSize {
                failures: row.failures.unsigned_abs(),
                halvings: row.page_halvings.unsigned_abs().into(),
                good_pages: row.good_pages.unsigned_abs().into(),
            },
        }
    }
}

/// Selects [`Row`]s of a connection's streams, with the cursor and upper bound of reads or, given
/// their columns, of another pass.
macro_rules! select {
    ($rest:literal) => {
        select!("cursor", "pending_upper_bound", $rest)
    };
    ($cursor:literal, $upper_bound:literal, $rest:literal) => {
        concat!(
            "SELECT stream, resource_id, target, ",
            $cursor,
            " AS cursor, version, backfill_from, ",
            $upper_bound,
            " AS pending_upper_bound, read_through, reconciled_through, failures, page_halvings, \
                 good_pages, requested_at, \
                 coalesce(reconcile_failure->>'code' = 'permission', false) \
                     AS is_reconciliation_denied \
             FROM cursors WHERE tenant_id = $1 AND connection_id = $2 ",
            $rest
        )
    };
}
use select;

/// Returns the root stream; creates its row if there is none.
pub async fn get_or_create_root(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &StreamSpec,
    backfill_from: DateTime<Utc>,
) -> Result<StreamCursor, DbError> {
    sqlx::query(
        "INSERT INTO cursors (tenant_id, connection_id, stream, target, backfill_from) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, connection_id, stream) DO NOTHING",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(&root.key)
    .bind(Json(&root.target))
    .bind(backfill_from)
    .execute(&mut **tx)
    .await?;
    let row: Row = sqlx::query_as(select!("AND stream = $3"))
        .bind(scope.tenant_id())
        .bind(connection)
        .bind(&root.key)
        .fetch_one(&mut **tx)
        .await?;
    Ok(row.into())
}

/// Lists the streams that a run has not read yet, least recently read first, at most `limit`.
pub async fn list_unread(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    upper_bound: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<StreamCursor>, DbError> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "AND retired_at IS NULL AND stream <> $3 \
         AND (attempted_through IS NULL OR attempted_through < $4) \
         ORDER BY read_through NULLS FIRST, stream LIMIT $5"
    ))
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(root)
    .bind(upper_bound)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(StreamCursor::from).collect())
}

/// Lists the requested streams that a run has not read yet, oldest request first, at most `limit`.
///
/// The first read of a stream belongs to the backfill and not to a request.
pub async fn list_requested(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    upper_bound: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<StreamCursor>, DbError> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "AND retired_at IS NULL AND stream <> $3 AND requested_at IS NOT NULL \
         AND read_through IS NOT NULL \
         AND (attempted_through IS NULL OR attempted_through < $4) \
         ORDER BY requested_at, stream LIMIT $5"
    ))
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(root)
    .bind(upper_bound)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(StreamCursor::from).collect())
}

/// Stores the streams that a page of the root stream lists.
///
/// New streams start at `backfill_from`, existing ones get their current target, and retired ones
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
    sqlx::query(
        "INSERT INTO cursors (tenant_id, connection_id, stream, resource_id, target, backfill_from, \
             listed_at) \
         SELECT DISTINCT ON (s.stream) $1::uuid, $2::uuid, s.stream, s.resource_id, \
             s.target::json, $6::timestamptz, $7::timestamptz \
         FROM unnest($3::text[], $4::text[], $5::text[]) AS s(stream, resource_id, target) \
         ORDER BY s.stream \
         ON CONFLICT (tenant_id, connection_id, stream) DO UPDATE SET \
             target = excluded.target, resource_id = excluded.resource_id, \
             retired_at = NULL, retired_reason = NULL, listed_at = excluded.listed_at, \
             updated_at = now()",
    )
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
    sqlx::query(
        "UPDATE cursors SET retired_at = now(), retired_reason = 'no longer listed' \
         WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL AND stream <> $3 \
           AND (listed_at IS NULL OR listed_at < $4)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(root)
    .bind(listed_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
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
    let moved = sqlx::query(
        "UPDATE cursors SET cursor = $5, version = version + 1, updated_at = now(), \
             pending_upper_bound = $6, read_through = greatest(read_through, $7), \
             attempted_through = greatest(attempted_through, $7), progress = $8, \
             failing_since = NULL, failure = NULL, failures = 0, \
             page_halvings = $11, good_pages = $12, \
             requested_at = CASE WHEN requested_at IS DISTINCT FROM $13 THEN requested_at END, \
             reconciled_through = CASE WHEN read_through IS NULL THEN $9 ELSE reconciled_through END, \
             reconcile_at = CASE WHEN read_through IS NULL AND $7 IS NOT NULL \
                 THEN now() + random() * $10 * interval '1 second' ELSE reconcile_at END \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3 AND version = $4",
    )
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
    sqlx::query(
        "WITH locked AS MATERIALIZED ( \
             SELECT stream FROM cursors \
             WHERE tenant_id = $1 AND connection_id = $2 AND stream = ANY ($3) \
             ORDER BY stream FOR NO KEY UPDATE \
         ) \
         UPDATE cursors c SET updated_at = now(), failing_since = NULL, failure = NULL, failures = 0, \
             attempted_through = greatest(attempted_through, $4), \
             read_through = greatest(read_through, $4) \
         FROM locked l \
         WHERE c.tenant_id = $1 AND c.connection_id = $2 AND c.stream = l.stream",
    )
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
    sqlx::query(
        "UPDATE cursors SET updated_at = now(), failure = $4, \
             failures = failures + CASE WHEN $5::timestamptz IS NULL THEN 1 ELSE 0 END, \
             failing_since = coalesce(failing_since, now()), \
             attempted_through = greatest(attempted_through, $5) \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(stream)
    .bind(Json(failure))
    .bind(attempted_through)
    .execute(&mut **tx)
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

/// Resets the cursor of one stream or of all: the next run reads from `backfill_from` again.
///
/// Facts that are stored already are deduplicated.
pub async fn restart(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: Option<&str>,
    backfill_from: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET cursor = NULL, version = version + 1, backfill_from = $4, \
             pending_upper_bound = NULL, updated_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2 AND ($3::text IS NULL OR stream = $3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(stream)
    .bind(backfill_from)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
