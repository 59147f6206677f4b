//! Cursors: one row per stream of a connection, with what addresses the stream.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::{DbError, TenantScope, Tx};
use crate::connectors::StreamSpec;
use crate::ids::ConnectionId;

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
    pub horizon: DateTime<Utc>,
    /// The bound of the run that has begun to read it, when that has not ended.
    pub unfinished_until: Option<DateTime<Utc>>,
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
            horizon: row.horizon,
            unfinished_until: row.unfinished_until,
        }
    }
}

/// The streams that are being read.
pub async fn active(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Vec<StreamCursor>, DbError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT stream, resource_id, target, cursor, version, horizon, unfinished_until \
         FROM cursors \
         WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL ORDER BY stream",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(StreamCursor::from).collect())
}

/// Takes in the complete list of streams: new ones start at `horizon`, known ones get their
/// present target, retired ones come back, and those that are not listed retire.
pub async fn replace_streams(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    streams: &[StreamSpec],
    horizon: DateTime<Utc>,
) -> Result<(), DbError> {
    let keys: Vec<&str> = streams.iter().map(|stream| stream.key.as_str()).collect();
    sqlx::query(
        "INSERT INTO cursors (tenant_id, connection_id, stream, resource_id, target, horizon) \
         SELECT $1, $2, s.stream, s.resource_id, s.target::json, $6 \
         FROM unnest($3::text[], $4::text[], $5::text[]) AS s(stream, resource_id, target) \
         ORDER BY s.stream \
         ON CONFLICT (tenant_id, connection_id, stream) DO UPDATE SET \
             target = excluded.target, resource_id = excluded.resource_id, \
             retired_at = NULL, retired_why = NULL, updated_at = now() \
         WHERE cursors.target::text <> excluded.target::text OR cursors.retired_at IS NOT NULL",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(&keys)
    .bind(
        streams
            .iter()
            .map(|stream| stream.resource_id.clone())
            .collect::<Vec<_>>(),
    )
    .bind(
        streams
            .iter()
            .map(|stream| stream.target.to_string())
            .collect::<Vec<_>>(),
    )
    .bind(horizon)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE cursors SET retired_at = now(), retired_why = 'no longer listed' \
         WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL \
           AND stream <> ALL ($3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(&keys)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stops reading the streams of resources that are no longer ours.
pub async fn retire_resources(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    resources: &[String],
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET retired_at = now(), retired_why = 'taken away' \
         WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL \
           AND resource_id = ANY ($3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(resources)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Moves a cursor on, together with whatever else the transaction holds, and notes the bound of
/// a run that has not read the stream to its end yet. `false` means that another run has moved
/// it meanwhile: the page must not be committed.
pub async fn advance(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: &StreamCursor,
    cursor: &Value,
    unfinished_until: Option<DateTime<Utc>>,
) -> Result<bool, DbError> {
    let moved = sqlx::query(
        "UPDATE cursors SET cursor = $5, version = version + 1, unfinished_until = $6, \
             updated_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3 AND version = $4",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(&stream.spec.key)
    .bind(stream.version)
    .bind(Json(cursor))
    .bind(unfinished_until)
    .execute(&mut **tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Forgets one stream's cursor, or all of a connection's: the next run reads from `horizon`
/// again. Facts that are known stay single.
pub async fn restart(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    stream: Option<&str>,
    horizon: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET cursor = NULL, version = version + 1, horizon = $4, \
             unfinished_until = NULL, updated_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2 AND ($3::text IS NULL OR stream = $3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(stream)
    .bind(horizon)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
