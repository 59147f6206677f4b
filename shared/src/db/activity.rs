//! The activity of connections: when the last delivery arrived, and facts that none reported.

use super::{DbError, TenantScope, Tx};
use crate::model::{ConnectionId, TenantId};

/// SQL: whether the activity `a` of a connection does not show a delivery of now.
///
/// Times are to the minute, so that frequent deliveries do not write the row each time.
macro_rules! is_delivery_unrecorded {
    () => {
        "(a.last_delivery_at IS NULL OR a.last_delivery_at < now() - interval '1 minute' \
          OR a.missed_since_delivery > 0)"
    };
}
pub(crate) use is_delivery_unrecorded;

/// Records that deliveries of these connections have arrived.
///
/// Another transaction that records the same is not waited for. Connections that had missed facts
/// become due for a review of their health.
pub async fn record_deliveries(
    tx: &mut Tx,
    connections: &[(TenantId, ConnectionId)],
) -> Result<(), DbError> {
    if connections.is_empty() {
        return Ok(());
    }
    let (tenants, ids): (Vec<TenantId>, Vec<ConnectionId>) = connections.iter().copied().unzip();
    sqlx::query(concat!(
        "WITH locked AS MATERIALIZED ( \
             SELECT k.tenant_id, k.connection_id, a.gap, a.missed_since_delivery \
             FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) \
                 AS d(tenant_id, connection_id)) k \
             CROSS JOIN LATERAL ( \
                 SELECT coalesce(extract(epoch FROM now() - a.last_delivery_at), 0)::float8 \
                     AS gap, a.missed_since_delivery \
                 FROM connection_activity a \
                 WHERE a.tenant_id = k.tenant_id AND a.connection_id = k.connection_id AND ",
        is_delivery_unrecorded!(),
        "        FOR NO KEY UPDATE SKIP LOCKED) a \
         ), recovered AS ( \
             UPDATE connection_routes r SET health_review_at = now() FROM locked l \
             WHERE r.tenant_id = l.tenant_id AND r.connection_id = l.connection_id \
               AND l.missed_since_delivery > 0 \
         ) \
         UPDATE connection_activity a SET last_delivery_at = now(), missed_since_delivery = 0, \
             longest_gap_seconds = \
                 greatest(l.gap, a.longest_gap_seconds * power(0.5, l.gap / 1209600)) \
         FROM locked l WHERE a.tenant_id = l.tenant_id AND a.connection_id = l.connection_id",
    ))
    .bind(tenants)
    .bind(ids)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Counts facts that a read found and no delivery had reported.
pub(super) async fn record_missed(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    missed: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE connection_activity SET missed_since_delivery = missed_since_delivery + $3 \
         WHERE tenant_id = $1 AND connection_id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(missed)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "WITH expired AS ( \
             DELETE FROM missed_facts WHERE tenant_id = $1 AND connection_id = $2 \
               AND hour < now() - interval '2 days' \
         ) \
         INSERT INTO missed_facts AS m (tenant_id, connection_id, hour, facts) \
         VALUES ($1, $2, date_trunc('hour', now()), $3) \
         ON CONFLICT (tenant_id, connection_id, hour) \
             DO UPDATE SET facts = m.facts + excluded.facts",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(missed)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Begins to record the activity of a connection, or forgets what an earlier grant missed.
pub(super) async fn restart(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO connection_activity (tenant_id, connection_id) VALUES ($1, $2) \
         ON CONFLICT (tenant_id, connection_id) DO UPDATE SET missed_since_delivery = 0",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
