//! The streams of a connection as people see them, and their number by state.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use strum::{EnumString, IntoStaticStr};
use utoipa::ToSchema;

use crate::db::{DbError, Json, TenantScope, Tx};
use crate::model::{ConnectionId, JobError};

/// The state of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StreamState {
    /// It is being read, for the first time or after a gap.
    Reading,
    /// It is read to the end.
    Complete,
    /// The provider denies permission, or the grant lacks a scope.
    Denied,
    /// The provider's rate limit or quota allows no call now.
    Limited,
    /// Its last read failed.
    Failing,
}

/// A stream with its progress.
#[derive(Debug, Clone)]
pub struct StreamView {
    /// The key: the kind and the id of the resource.
    pub stream: String,
    /// The state.
    pub state: StreamState,
    /// When the state of a stream that cannot be read began.
    pub since: Option<DateTime<Utc>>,
    /// Why it cannot be read.
    pub failure: Option<JobError>,
    /// Why it cannot be reconciled.
    pub reconcile_failure: Option<JobError>,
    /// The time before which everything is read.
    pub read_through: Option<DateTime<Utc>>,
    /// The time before which it is reconciled.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// How much of the first read is done, from 0 to 1.
    pub progress: f32,
    /// When it is read next; `None` while the connection is not polled.
    pub next_run_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    stream: String,
    state: String,
    since: Option<DateTime<Utc>>,
    failure: Option<Json<JobError>>,
    reconcile_failure: Option<Json<JobError>>,
    read_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    progress: f32,
    next_run_at: Option<DateTime<Utc>>,
}

/// SQL: the streams `s` of a connection with their states; `l` has the end of its rate limit.
///
/// The root stream, which lists the others, is included only while it cannot be read.
macro_rules! streams {
    () => {
        "FROM (SELECT c.tenant_id, c.id, (c.last_error ->> 'retry_at')::timestamptz AS until, \
                 CASE WHEN r.polling THEN r.next_sync_at END AS next_sync_at \
             FROM connections c LEFT JOIN connection_routes r \
               ON r.tenant_id = c.tenant_id AND r.connection_id = c.id \
             WHERE c.tenant_id = $1 AND c.id = $2) l \
         JOIN cursors s ON s.tenant_id = l.tenant_id AND s.connection_id = l.id \
         CROSS JOIN LATERAL (SELECT CASE \
             WHEN s.failing_since IS NOT NULL AND s.failure ->> 'code' = 'permission' THEN 'denied' \
             WHEN s.failing_since IS NOT NULL THEN 'failing' \
             WHEN l.until > now() THEN 'limited' \
             WHEN s.read_through IS NULL OR s.pending_upper_bound IS NOT NULL THEN 'reading' \
             ELSE 'complete' END AS state) x \
         WHERE s.tenant_id = $1 AND s.connection_id = $2 AND s.retired_at IS NULL \
           AND (s.listed_at IS NOT NULL OR s.failing_since IS NOT NULL)"
    };
}

/// Lists the streams of a connection after a key, in the order of the keys, and one row more.
///
/// Served by the primary key.
pub async fn list_states(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    states: &[StreamState],
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<StreamView>, DbError> {
    let states: Vec<&'static str> = states.iter().map(|state| (*state).into()).collect();
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT s.stream, x.state, s.failing_since AS since, s.failure, s.reconcile_failure, \
             s.read_through, s.reconciled_through, s.progress, \
             CASE WHEN l.next_sync_at IS NOT NULL THEN greatest( \
                 least(l.next_sync_at, s.requested_at), CASE WHEN l.until > now() THEN l.until END) \
                 END AS next_run_at ",
        streams!(),
        " AND s.stream > $3 AND (cardinality($4::text[]) = 0 OR x.state = ANY ($4)) \
         ORDER BY s.stream LIMIT $5",
    ))
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(after.unwrap_or_default())
    .bind(states)
    .bind(i64::from(limit) + 1)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(StreamView {
                stream: row.stream,
                state: row
                    .state
                    .parse()
                    .map_err(|_| DbError::Corrupt("the state of a stream"))?,
                since: row.since,
                failure: row.failure.map(|Json(failure)| failure),
                reconcile_failure: row.reconcile_failure.map(|Json(failure)| failure),
                read_through: row.read_through,
                reconciled_through: row.reconciled_through,
                progress: row.progress,
                next_run_at: row.next_run_at,
            })
        })
        .collect()
}

/// The number of a connection's streams by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow, Serialize, ToSchema)]
pub struct StreamCounts {
    /// All streams.
    pub total: i64,
    /// Streams that are being read.
    pub reading: i64,
    /// Streams that are read to the end.
    pub complete: i64,
    /// Streams whose read is denied.
    pub denied: i64,
    /// Streams that wait for a rate limit or a quota.
    pub limited: i64,
    /// Streams whose last read failed.
    pub failing: i64,
}

/// Counts the streams of a connection by state.
pub async fn count_states(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<StreamCounts, DbError> {
    Ok(sqlx::query_as(concat!(
        "SELECT count(*) AS total, count(*) FILTER (WHERE state = 'reading') AS reading, \
             count(*) FILTER (WHERE state = 'complete') AS complete, \
             count(*) FILTER (WHERE state = 'denied') AS denied, \
             count(*) FILTER (WHERE state = 'limited') AS limited, \
             count(*) FILTER (WHERE state = 'failing') AS failing ",
        streams!(),
    ))
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_one(&mut **tx)
    .await?)
}
