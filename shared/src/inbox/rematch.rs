//! The rematch of deliveries that were received before their connection existed.

use crate::db::{DbError, Tx, sanitize, unmatched};
use crate::model::{ConnectionId, DeliveryId, NewJob, ProcessDeliveries, TenantId};
use crate::queue::JobQueue;

/// The maximum number of deliveries of one call.
const MAX_DELIVERIES: i64 = 200;

/// Assigns up to `MAX_DELIVERIES` unmatched deliveries of a route to its new connection.
///
/// Enqueues a job to process them, and returns whether there may be more. The transaction must see
/// the unassigned rows and those of the tenant.
pub async fn rematch(
    queue: &dyn JobQueue,
    tx: &mut Tx,
    tenant: TenantId,
    connection: ConnectionId,
    provider: &str,
    route: &str,
) -> Result<bool, DbError> {
    tx.prefer_index_scan().await?;
    unmatched::delete(tx, provider, route).await?;
    let assigned: Vec<DeliveryId> = sqlx::query_scalar(
        "WITH unmatched AS ( \
             SELECT tenant_id, received_at, id FROM deliveries \
             WHERE provider = $3 AND account_id = $4 AND outcome = 'unmatched' AND tenant_id = $5 \
             LIMIT $6 FOR UPDATE SKIP LOCKED \
         ), dedupe AS ( \
             INSERT INTO delivery_dedup (tenant_id, provider, dedupe_id, received_at) \
             SELECT $1, d.provider, d.dedupe_id, d.received_at FROM deliveries d JOIN unmatched u \
               ON d.tenant_id = u.tenant_id AND d.received_at = u.received_at AND d.id = u.id \
             ORDER BY d.dedupe_id ON CONFLICT DO NOTHING \
         ) \
         UPDATE deliveries d SET tenant_id = $1, connection_id = $2, outcome = 'pending' \
         FROM unmatched u \
         WHERE d.tenant_id = u.tenant_id AND d.received_at = u.received_at AND d.id = u.id \
         RETURNING d.id",
    )
    .bind(tenant)
    .bind(connection)
    .bind(provider)
    .bind(sanitize(route))
    .bind(TenantId::UNASSIGNED)
    .bind(MAX_DELIVERIES)
    .fetch_all(&mut **tx)
    .await?;
    if assigned.is_empty() {
        return Ok(false);
    }
    let has_more = assigned.len() == usize::try_from(MAX_DELIVERIES).unwrap_or(usize::MAX);
    let deliveries = ProcessDeliveries {
        deliveries: assigned,
    };
    let job = NewJob::new(tenant, provider, Some(connection), deliveries);
    queue.enqueue(tx, &job).await?;
    Ok(has_more)
}
