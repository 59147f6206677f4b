//! Cursors: one row per stream of a connection, with what addresses the stream and how far it
//! has been read.
//!
//! The root stream, which lists the others, has a row as well: it keeps the place of a pass that
//! did not end in one time slice.

mod page_size;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::page_size::PageSize;
use super::{DbError, Json, TenantScope, Tx, storable, storable_all, storable_json};
use crate::connectors::StreamSpec;
use crate::ids::ConnectionId;
use crate::queue::JobError;

/// A stream and how far it has been read.
#[derive(Debug, Clone)]
pub struct StreamCursor {
    /// The stream.
    pub spec: StreamSpec,
    /// The cursor behind the last committed page; `None` before the first.
    pub cursor: Option<Value>,
    /// Counts the commits; a page is committed only over the version it was read at.
    pub version: i64,
    /// How far back the stream is read when it has no cursor.
    pub backfill_from: DateTime<Utc>,
    /// The upper bound of the run that has begun to read it, when that has not ended.
    pub pending_upper_bound: Option<DateTime<Utc>>,
    /// Everything that the provider showed of the time before has been written; `None` before
    /// the first read has ended.
    pub read_through: Option<DateTime<Utc>>,
    /// Through when it has been reconciled; `None` before the first read has ended.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// Whether the last reconciliation pass was denied a part of the stream.
    pub is_reconciliation_denied: bool,
    /// In which size its next page is asked for.
    pub page_size: PageSize,
}

#[derive(sqlx::FromRow)]
struct Row {
    stream: String,
    resource_id: Option<String>,
    target: Json<Value>,
    cursor: Option<Json<Value>>,
    version: i64,
    horizon: DateTime<Utc>,
    unfinished_until: Option<DateTime<Utc>>,
    read_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    failures: i32,
    page_halvings: i16,
    good_pages: i16,
    is_reconciliation_denied: bool,
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
            backfill_from: row.horizon,
            pending_upper_bound: row.unfinished_until,
            read_through: row.read_through,
            reconciled_through: row.reconciled_through,
            is_reconciliation_denied: row.is_reconciliation_denied,
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
            "SELECT stream, resource_id, target, cursor, version, horizon, unfinished_until, \
                 read_through, reconciled_through, failures, page_halvings, good_pages, \
                 coalesce(reconcile_failure->>'code' = 'permission', false) \
                     AS is_reconciliation_denied \
             FROM cursors WHERE tenant_id = $1 AND connection_id = $2 ",
            $rest
        )
    };
}

/// The root stream's row; made when there is none.
pub async fn root(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &StreamSpec,
    backfill_from: DateTime<Utc>,
) -> Result<StreamCursor, DbError> {
    sqlx::query(
        "INSERT INTO cursors (tenant_id, connection_id, stream, target, horizon) \
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

/// The streams that a run has still to read, the least recently read first, at most `limit`.
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

/// Takes in streams that a page of the root lists: new ones start at `backfill_from`, known ones
/// get their present target, retired ones come back.
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
        "INSERT INTO cursors (tenant_id, connection_id, stream, resource_id, target, horizon, \
             listed_at) \
         SELECT DISTINCT ON (s.stream) $1::uuid, $2::uuid, s.stream, s.resource_id, \
             s.target::json, $6::timestamptz, $7::timestamptz \
         FROM unnest($3::text[], $4::text[], $5::text[]) AS s(stream, resource_id, target) \
         ORDER BY s.stream \
         ON CONFLICT (tenant_id, connection_id, stream) DO UPDATE SET \
             target = excluded.target, resource_id = excluded.resource_id, \
             retired_at = NULL, retired_why = NULL, listed_at = excluded.listed_at, \
             updated_at = now()",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(column(|stream| storable(&stream.key).into_owned()))
    .bind(
        streams
            .iter()
            .map(|stream| stream.resource_id.as_deref().map(storable))
            .collect::<Vec<_>>(),
    )
    .bind(column(|stream| {
        storable_json(&stream.target.to_string()).into_owned()
    }))
    .bind(backfill_from)
    .bind(listed_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Retires the streams that a whole pass of the root, whose upper bound was `listed_at`, did not
/// list.
pub async fn retire_unlisted(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET retired_at = now(), retired_why = 'no longer listed' \
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

/// How far a connection's streams have been read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reached {
    /// Streams that there are.
    pub streams: i64,
    /// Streams that cannot be read.
    pub failing: i64,
    /// Whether a stream cannot be read or not be reconciled.
    pub has_problem: bool,
    /// Whether the named stream can be read and not be reconciled.
    pub is_unreconciled: bool,
    /// The least of what all have been read through; `None` while one has not been read.
    pub read_through: Option<DateTime<Utc>>,
    /// The least of what all have been reconciled through.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The stream that holds the connection's completeness back. The furthest behind of those that
    /// cannot be read, the list of streams included; where there is none, of those that cannot be
    /// reconciled, and then of those that wait.
    pub held_back_by: Option<HeldBackBy>,
}

/// The stream that holds a connection's completeness back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBackBy {
    /// The stream: its kind and the id of what it belongs to.
    #[schema(example = "issues:1296269")]
    pub stream: String,
    /// Why: the code of the error where it cannot be read or not be reconciled; `unread` before
    /// its first read has ended; `rate_limited` or `time_slice` where the run waits to read it;
    /// `deferred` where a search found nothing on it that the feed lacks.
    #[schema(example = "permission")]
    pub code: String,
    /// The same in words.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How many streams are held back in this way: cannot be read, cannot be reconciled, or wait.
    pub streams: i64,
}

#[derive(sqlx::FromRow)]
struct ReachedRow {
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

impl ReachedRow {
    /// Why the stream is held back.
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
                "A search found nothing on it that the feed lacks. It is read within ten minutes.",
            );
        }
        match waiting {
            Some(waiting) => waiting.clone(),
            None if self.is_unread == Some(true) => {
                reason("unread", "It is being read for the first time.")
            }
            None => reason("time_slice", "The run reads it in its next time slice."),
        }
    }
}

/// How far a connection's streams have been read, and which one holds it back.
///
/// `upper_bound` is the run's. `waiting` says why the run does not read the streams that it has
/// still to read, where that is not the end of its time slice.
pub async fn reached(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    upper_bound: DateTime<Utc>,
    waiting: Option<&JobError>,
) -> Result<Reached, DbError> {
    let mut row: ReachedRow = sqlx::query_as(
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
    Ok(Reached {
        streams: row.streams,
        failing: row.failing,
        has_problem: row.severity.is_some_and(|severity| severity < 2),
        is_unreconciled: row.severity == Some(1),
        read_through: row.read_through,
        reconciled_through: row.reconciled_through,
        held_back_by,
    })
}

/// The streams whose reconciliation pass is due or under way, at most `limit`. Their cursors and
/// upper bounds are the pass's.
pub async fn list_unreconciled(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    limit: i64,
) -> Result<Vec<StreamCursor>, DbError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT stream, resource_id, target, reconcile_cursor AS cursor, version, horizon, \
             reconcile_bound AS unfinished_until, read_through, reconciled_through, failures, \
             page_halvings, good_pages, \
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

/// Where a page of the reconciliation pass leaves its stream.
#[derive(Debug, Clone, Copy)]
pub struct Reconciled<'a> {
    /// The pass's cursor; `None` where it has ended.
    pub cursor: Option<&'a Value>,
    /// The upper bound of the pass.
    pub bound: DateTime<Utc>,
    /// Through when the stream is reconciled with this page, if the pass has ended.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// In how many seconds the stream is due next; 0 while the pass is under way.
    pub due_in_seconds: f64,
}

/// Moves the reconciliation pass of a stream on, and remembers its page size.
pub async fn reconcile(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &StreamCursor,
    to: &Reconciled<'_>,
) -> Result<(), DbError> {
    let (halvings, good_pages) = stream.page_size.columns();
    sqlx::query(
        "UPDATE cursors SET updated_at = now(), page_halvings = $8, good_pages = $9, \
             reconcile_cursor = $4, \
             reconcile_bound = CASE WHEN $4::json IS NULL THEN NULL ELSE $5 END, \
             reconciled_through = greatest(reconciled_through, $6), \
             reconcile_at = CASE WHEN $7 > 0 THEN now() + $7 * interval '1 second' \
                 ELSE reconcile_at END \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(&stream.spec.key)
    .bind(to.cursor.map(Json))
    .bind(to.bound)
    .bind(to.reconciled_through)
    .bind(to.due_in_seconds)
    .bind(halvings)
    .bind(good_pages)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes why the reconciliation pass could not read all of a stream, and since when none could;
/// `None` where it has read all of it.
pub async fn note_unreconciled(
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

/// Counts facts of a stream that no delivery has reported. With `pause` the stream is reconciled
/// early: with the next run, but not before so many seconds after the moment through which it is
/// reconciled.
pub async fn note_missed(
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

/// Takes what [`note_missed`] has counted on a connection's streams since the last time. The
/// connection's row must be locked: whoever changes both locks it first.
pub(super) async fn take_missed(
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

/// Where a page that was read leaves its stream.
#[derive(Debug, Clone, Copy)]
pub struct Advance<'a> {
    /// The cursor behind the page.
    pub cursor: &'a Value,
    /// The upper bound of the run whose walk has more to read.
    pub pending_upper_bound: Option<DateTime<Utc>>,
    /// Before when everything has been read with this page; `None` while there is more.
    pub read_through: Option<DateTime<Utc>>,
    /// How much of the first read is done, from 0 to 1.
    pub progress: f32,
    /// Through when the stream counts as reconciled, if this page ends its first read.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The seconds between two reconciliation passes.
    pub reconcile_seconds: f64,
}

/// Moves a cursor on and remembers its page size, together with whatever else the transaction
/// holds. `false` means that another run has moved it meanwhile: the page must not be committed.
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
             unfinished_until = $6, read_through = greatest(read_through, $7), \
             attempted_through = greatest(attempted_through, $7), progress = $8, \
             failing_since = NULL, failure = NULL, failures = 0, \
             page_halvings = $11, good_pages = $12, \
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
    .execute(&mut **tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Notes that a run has read streams to its upper bound that had nothing new. Rows are locked in
/// the order of their keys, as [`list_streams`] does.
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
    .bind(storable_all(streams))
    .bind(upper_bound)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that a stream cannot be read, since when, and why. `attempted_through` is the upper bound
/// of a run that does not try it again; without it the failure may pass, and is counted.
pub async fn note_failure(
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

/// Leaves streams of these resources for a later run: those of the given kinds that have been read
/// since `read_since` and are not in the middle of a walk.
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
           AND unfinished_until IS NULL AND retired_at IS NULL",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(storable_all(resources))
    .bind(kinds)
    .bind(upper_bound)
    .bind(read_since)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets one stream's cursor, or all of a connection's: the next run reads from
/// `backfill_from` again. Facts that are known stay single.
pub async fn restart(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: Option<&str>,
    backfill_from: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET cursor = NULL, version = version + 1, horizon = $4, \
             unfinished_until = NULL, updated_at = now() \
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
