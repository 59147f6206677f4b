//! Cursors: one row per stream of a connection, with what addresses the stream and how far it
//! has been read.
//!
//! The root stream, which lists the others, has a row as well: it keeps the place of a pass that
//! did not end in one time slice.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

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
    /// How often in a row its next page could not be read for the moment.
    pub failures: u32,
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
    failures: i32,
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
            failures: row.failures.unsigned_abs(),
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT stream, resource_id, target, cursor, version, horizon, unfinished_until, \
                 read_through, failures \
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
    /// The least of what all have been read through; `None` while one has not been read.
    pub read_through: Option<DateTime<Utc>>,
    /// The least of what all have been reconciled through.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The stream that is furthest behind of those that cannot be read.
    pub held_back_by: Option<HeldBackBy>,
}

/// The stream that holds a connection's completeness back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBackBy {
    /// The stream: its kind and the id of what it belongs to.
    #[schema(example = "issues:1296269")]
    pub stream: String,
    /// Why it cannot be read: the code of an error.
    #[schema(example = "permission")]
    pub code: String,
    /// The same in words.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How many streams cannot be read.
    pub streams: i64,
}

/// How far a connection's streams have been read, and which one is furthest behind.
pub async fn reached(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
) -> Result<Reached, DbError> {
    type Row = (
        i64,
        i64,
        Option<DateTime<Utc>>,
        Option<DateTime<Utc>>,
        Option<String>,
        Option<Json<JobError>>,
        Option<DateTime<Utc>>,
    );
    let (streams, failing, read_through, reconciled_through, stream, failure, since): Row =
        sqlx::query_as(
            "WITH s AS MATERIALIZED ( \
                 SELECT stream, read_through, reconciled_through, failing_since, failure \
                 FROM cursors WHERE tenant_id = $1 AND connection_id = $2 \
                   AND retired_at IS NULL AND listed_at IS NOT NULL AND stream <> $3 \
             ) \
             SELECT a.*, w.stream, w.failure, w.failing_since FROM ( \
                 SELECT count(*), count(failing_since), \
                     CASE WHEN count(*) = count(read_through) THEN min(read_through) END, \
                     CASE WHEN count(*) = count(reconciled_through) \
                         THEN min(reconciled_through) END FROM s) a \
             LEFT JOIN (SELECT * FROM s WHERE failing_since IS NOT NULL \
                 ORDER BY read_through NULLS FIRST, failing_since, stream LIMIT 1) w ON true",
        )
        .bind(scope.tenant_id())
        .bind(connection)
        .bind(root)
        .fetch_one(&mut **tx)
        .await?;
    let held_back_by = match (stream, failure, since) {
        (Some(stream), Some(Json(failure)), Some(since)) => Some(HeldBackBy {
            stream,
            code: failure.code,
            message: failure.message,
            since,
            streams: failing,
        }),
        _ => None,
    };
    Ok(Reached {
        streams,
        failing,
        read_through,
        reconciled_through,
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
             reconcile_bound AS unfinished_until, read_through, failures \
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

/// Moves the reconciliation pass of a stream on.
pub async fn reconcile(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &str,
    to: &Reconciled<'_>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET updated_at = now(), reconcile_cursor = $4, \
             reconcile_bound = CASE WHEN $4::json IS NULL THEN NULL ELSE $5 END, \
             reconciled_through = greatest(reconciled_through, $6), \
             reconcile_at = CASE WHEN $7 > 0 THEN now() + $7 * interval '1 second' \
                 ELSE reconcile_at END \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(stream)
    .bind(to.cursor.map(Json))
    .bind(to.bound)
    .bind(to.reconciled_through)
    .bind(to.due_in_seconds)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Has a stream reconciled early, because deliveries were missed: with the next run, but not
/// before `pause` seconds after the moment through which it is reconciled.
pub async fn reconcile_soon(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &str,
    pause: f64,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors \
         SET reconcile_at = least(reconcile_at, \
                 greatest(now(), reconciled_through + $4 * interval '1 second')) \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(stream)
    .bind(pause)
    .execute(&mut **tx)
    .await?;
    Ok(())
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

/// Moves a cursor on, together with whatever else the transaction holds. `false` means that
/// another run has moved it meanwhile: the page must not be committed.
pub async fn advance(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &StreamCursor,
    to: &Advance<'_>,
) -> Result<bool, DbError> {
    let moved = sqlx::query(
        "UPDATE cursors SET cursor = $5, version = version + 1, updated_at = now(), \
             unfinished_until = $6, read_through = greatest(read_through, $7), \
             attempted_through = greatest(attempted_through, $7), progress = $8, \
             failing_since = NULL, failure = NULL, failures = 0, \
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
