//! Cursors: one row per stream of a connection, with its target and its progress.
//!
//! The root stream, which lists the others, has a row as well: it stores the position of a pass
//! that did not end in one time slice.

mod page_size;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::page_size::PageSize;
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

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT stream, resource_id, target, cursor, version, backfill_from, pending_upper_bound, \
                 read_through, reconciled_through, failures, page_halvings, good_pages, \
                 requested_at, \
                 coalesce(reconcile_failure->>'code' = 'permission', false) \
                     AS is_reconciliation_denied \
             FROM cursors WHERE tenant_id = $1 AND connection_id = $2 ",
            $rest
        )
    };
}

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

/// The progress of all streams of a connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamProgress {
    /// The number of streams.
    pub streams: i64,
    /// The number of streams that cannot be read.
    pub failing: i64,
    /// Whether a stream cannot be read or cannot be reconciled.
    pub has_problem: bool,
    /// Whether `held_back_by` can be read but not reconciled.
    pub is_unreconciled: bool,
    /// The least `read_through` of all streams; `None` while one has not been read.
    pub read_through: Option<DateTime<Utc>>,
    /// The least `reconciled_through` of all streams.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The stream that holds the connection's completeness back.
    ///
    /// It is the least advanced of the streams that cannot be read, including the root stream;
    /// otherwise of the streams that cannot be reconciled; otherwise of the streams that wait.
    pub held_back_by: Option<HeldBackBy>,
}

/// The stream that holds a connection's completeness back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBackBy {
    /// The stream: its kind and the id of its resource.
    #[schema(example = "issues:1296269")]
    pub stream: String,
    /// The reason: the code of the error if it cannot be read or cannot be reconciled; `unread`
    /// before the end of its first read; `rate_limited` or `time_slice` while the run waits to read
    /// it; `deferred` if a search found no new facts in it.
    #[schema(example = "permission")]
    pub code: String,
    /// The reason for people.
    pub message: String,
    /// The time since which it holds completeness back.
    pub since: DateTime<Utc>,
    /// The number of streams in the same state: unreadable, not reconcilable, or waiting.
    pub streams: i64,
}

#[derive(sqlx::FromRow)]
struct ProgressRow {
    streams: i64,
    failing: i64,
    read_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    stream: Option<String>,
    severity: Option<i32>,
    failure: Option<Json<JobError>>,
    since: Option<DateTime<Utc>>,
    is_unread: Option<bool>,
    is_deferred: Option<bool>,
    held: Option<i64>,
}

impl ProgressRow {
    /// The reason why the stream holds completeness back.
    fn reason(&mut self, waiting: Option<&JobError>) -> JobError {
        let reason = |code: &str, message: &str| JobError {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        if let Some(Json(failure)) = self.failure.take() {
            return failure;
        }
        if self.is_deferred == Some(true) {
            return reason(
                "deferred",
                "A search found no new facts in this stream. It is read within ten minutes.",
            );
        }
        match waiting {
            Some(waiting) => waiting.clone(),
            None if self.is_unread == Some(true) => {
                reason("unread", "This stream is being read for the first time.")
            }
            None => reason(
                "time_slice",
                "The run reads this stream in its next time slice.",
            ),
        }
    }
}

/// Measures the progress of a connection's streams, and finds the stream that holds it back.
///
/// `upper_bound` is the run's. `waiting` is the reason why the run does not read its remaining
/// streams, unless its time slice has ended.
pub async fn measure_progress(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    upper_bound: DateTime<Utc>,
    waiting: Option<&JobError>,
) -> Result<StreamProgress, DbError> {
    let mut row: ProgressRow = sqlx::query_as(
        "WITH s AS MATERIALIZED ( \
             SELECT stream, stream = $3 AS is_root, read_through, reconciled_through, \
                 attempted_through, failing_since, failure, unreconciled_since, \
                 reconcile_failure, created_at \
             FROM cursors WHERE tenant_id = $1 AND connection_id = $2 \
               AND retired_at IS NULL AND (listed_at IS NOT NULL OR stream = $3) \
         ), h AS MATERIALIZED ( \
             SELECT *, CASE WHEN failing_since IS NOT NULL THEN 0 \
                 WHEN unreconciled_since IS NOT NULL THEN 1 ELSE 2 END AS severity \
             FROM s WHERE failing_since IS NOT NULL OR NOT is_root AND ( \
                 unreconciled_since IS NOT NULL OR read_through IS NULL OR read_through < $4) \
         ) \
         SELECT a.*, w.* FROM ( \
             SELECT count(*) AS streams, count(failing_since) AS failing, \
                 CASE WHEN count(*) = count(read_through) THEN min(read_through) END \
                     AS read_through, \
                 CASE WHEN count(*) = count(reconciled_through) \
                     THEN min(reconciled_through) END AS reconciled_through \
             FROM s WHERE NOT is_root) a \
         LEFT JOIN (SELECT stream, severity, \
                 CASE severity WHEN 0 THEN failure WHEN 1 THEN reconcile_failure END AS failure, \
                 coalesce(failing_since, unreconciled_since, read_through, created_at) AS since, \
                 read_through IS NULL AS is_unread, \
                 read_through IS NOT NULL AND coalesce(attempted_through >= $4, false) \
                     AS is_deferred, \
                 count(*) OVER (PARTITION BY severity) AS held \
             FROM h ORDER BY severity, h.read_through NULLS FIRST, \
                 coalesce(failing_since, unreconciled_since), stream LIMIT 1) w ON true",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(root)
    .bind(upper_bound)
    .fetch_one(&mut **tx)
    .await?;
    let reason = row.reason(waiting);
    let held_back_by = match (row.stream, row.since) {
        (Some(stream), Some(since)) => Some(HeldBackBy {
            stream,
            code: reason.code,
            message: reason.message,
            since,
            streams: row.held.unwrap_or(1),
        }),
        _ => None,
    };
    Ok(StreamProgress {
        streams: row.streams,
        failing: row.failing,
        has_problem: row.severity.is_some_and(|severity| severity < 2),
        is_unreconciled: row.severity == Some(1),
        read_through: row.read_through,
        reconciled_through: row.reconciled_through,
        held_back_by,
    })
}

/// Lists the keys of streams that cannot be read for the reason with this code, at most `limit`.
pub async fn list_failing(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    code: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    Ok(sqlx::query_scalar(
        "SELECT stream FROM cursors WHERE tenant_id = $1 AND connection_id = $2 \
           AND retired_at IS NULL AND failing_since IS NOT NULL AND failure->>'code' = $3 \
         ORDER BY stream LIMIT $4",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(code)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?)
}

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
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT stream, resource_id, target, reconcile_cursor AS cursor, version, backfill_from, \
             reconcile_upper_bound AS pending_upper_bound, read_through, reconciled_through, failures, \
             page_halvings, good_pages, \
             requested_at, \
             coalesce(reconcile_failure->>'code' = 'permission', false) \
                 AS is_reconciliation_denied \
         FROM cursors WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL \
           AND stream <> $3 AND reconcile_at <= now() AND read_through IS NOT NULL \
           AND failing_since IS NULL \
         ORDER BY reconcile_at, stream LIMIT $4",
    )
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
pub(super) async fn drain_missed(
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
