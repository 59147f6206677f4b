//! The due times of a connection's jobs, which the queue enqueues when they come.

use super::entities::connection_routes::{Column, Entity};
use super::orm::now;
use super::{DbError, TenantScope, Tx, sanitize_all};
use crate::model::{ConnectionId, TenantId};

/// Makes a connection due for a sync now.
///
/// If a run is in progress, the sync starts after it, because its upper bound is already fixed.
pub async fn sync_soon(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<(), DbError> {
    Entity::update_of(scope, connection)
        .col_expr(Column::NextSyncAt, now())
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Requests a read of these streams of a connection now.
///
/// Requests of one stream are coalesced until a read of the stream has begun after them. If a
/// stream is unknown or the root, the connection becomes due for a sync, which lists its streams.
pub async fn request_streams(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    streams: &[String],
) -> Result<(), DbError> {
    let known = sqlx::query(
        "WITH locked AS MATERIALIZED ( \
             SELECT stream FROM cursors WHERE tenant_id = $1 AND connection_id = $2 \
               AND stream = ANY ($3) AND retired_at IS NULL AND listed_at IS NOT NULL \
             ORDER BY stream FOR NO KEY UPDATE \
         ) \
         UPDATE cursors c SET requested_at = clock_timestamp() FROM locked l \
         WHERE c.tenant_id = $1 AND c.connection_id = $2 AND c.stream = l.stream",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(sanitize_all(streams))
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if known > 0 {
        Entity::update_of(scope, connection)
            .col_expr(Column::StreamsRequestedAt, now())
            .exec(&tx.orm())
            .await?;
    }
    if known < streams.len() as u64 {
        sync_soon(tx, scope, connection).await?;
    }
    Ok(())
}

/// Keeps requested streams due that were not attempted since; returns whether a read is due.
///
/// The read that a request caused skips streams whose first read has not ended, and the bound of a
/// run in progress may precede the request. A stream that cannot be read waits for the next poll.
pub async fn keep_requests_due(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<bool, DbError> {
    let due = sqlx::query(
        "UPDATE connection_routes SET streams_requested_at = coalesce(streams_requested_at, now()) \
         WHERE tenant_id = $1 AND connection_id = $2 AND (streams_requested_at IS NOT NULL \
             OR EXISTS (SELECT FROM cursors WHERE tenant_id = $1 AND connection_id = $2 \
                 AND retired_at IS NULL AND failure IS NULL AND read_through IS NOT NULL \
                 AND requested_at IS NOT NULL \
                 AND (attempted_through IS NULL OR attempted_through < requested_at)))",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .execute(&mut **tx)
    .await?;
    Ok(due.rows_affected() > 0)
}

/// Makes suspended and refused connections due for a probe, at most once a minute each.
///
/// A verified delivery suggests that the grant is valid again.
pub async fn probe_soon(
    tx: &mut Tx,
    connections: &[(TenantId, ConnectionId)],
) -> Result<(), DbError> {
    if connections.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE connection_routes r \
         SET probe_at = greatest(now(), r.probed_at + interval '1 minute') \
         FROM unnest($1::uuid[], $2::uuid[]) AS k(tenant_id, connection_id) \
         WHERE r.tenant_id = k.tenant_id AND r.connection_id = k.connection_id \
           AND (r.probe_at IS NULL OR r.probe_at > now() + interval '1 minute')",
    )
    .bind(
        connections
            .iter()
            .map(|(tenant, _)| *tenant)
            .collect::<Vec<_>>(),
    )
    .bind(connections.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
