//! The progress of all streams of a connection, and the stream that holds it back.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::read::of_connection;
use crate::db::entities::cursors::Column;
use crate::db::{DbError, Json, TenantScope, Tx};
use crate::model::{ConnectionId, JobError};

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
    /// The scope that the grant lacks; absent in other cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The call to the provider that failed; absent if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "list_issues")]
    pub operation: Option<String>,
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
        let reason = JobError::new;
        if let Some(Json(failure)) = self.failure.take() {
            return failure;
        }
        if self.is_deferred == Some(true) {
            return reason(
                "deferred",
                "A search found no new facts in this stream, or a part of its list is read less often. \
                 It is read within fifteen minutes.",
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
            scope: reason.scope,
            operation: reason.operation,
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

/// Lists the keys of at most `limit` streams that fail with this code.
pub async fn list_failing(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    code: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let failing = of_connection(scope, connection)
        .select_only()
        .column(Column::Stream)
        .filter(Column::RetiredAt.is_null())
        .filter(Column::FailingSince.is_not_null())
        .filter(Expr::cust_with_values("failure->>'code' = $1", [code]))
        .order_by_asc(Column::Stream)
        .limit(limit.unsigned_abs());
    Ok(failing.into_tuple().all(&tx.orm()).await?)
}
