//! Deliveries that came before their connection did.

use crate::db::{DbError, Tx, storable, unmatched};
use crate::ids::{ConnectionId, DeliveryId, TenantId};
use crate::queue::{self, JobPayload, NewJob};

/// How many deliveries one step hands over.
const STEP: i64 = 200;

/// Hands up to `STEP` unmatched deliveries of a route over to the connection that has
/// appeared, with a job to process them. `true` means that there may be more. The
/// transaction must see the unassigned rows and the tenant's.
pub async fn adopt(
    tx: &mut Tx,
    tenant: TenantId,
    connection: ConnectionId,
    provider: &str,
    route: &str,
) -> Result<bool, DbError> {
    tx.look_up_by_index().await?;
    unmatched::forget(tx, provider, route).await?;
    let adopted: Vec<DeliveryId> = sqlx::query_scalar(
        "WITH waiting AS ( \
             SELECT tenant_id, received_at, id FROM deliveries \
             WHERE provider = $3 AND account_id = $4 AND outcome = 'unmatched' AND tenant_id = $5 \
             LIMIT $6 FOR UPDATE SKIP LOCKED \
         ), seen AS ( \
             INSERT INTO delivery_ledger (tenant_id, provider, dedupe_id, received_at) \
             SELECT $1, d.provider, d.dedupe_id, d.received_at FROM deliveries d JOIN waiting w \
               ON d.tenant_id = w.tenant_id AND d.received_at = w.received_at AND d.id = w.id \
             ORDER BY d.dedupe_id ON CONFLICT DO NOTHING \
         ) \
         UPDATE deliveries d SET tenant_id = $1, connection_id = $2, outcome = 'pending' \
         FROM waiting w \
         WHERE d.tenant_id = w.tenant_id AND d.received_at = w.received_at AND d.id = w.id \
         RETURNING d.id",
    )
    .bind(tenant)
    .bind(connection)
    .bind(provider)
    .bind(storable(route))
    .bind(TenantId::UNASSIGNED)
    .bind(STEP)
    .fetch_all(&mut **tx)
    .await?;
    if adopted.is_empty() {
        return Ok(false);
    }
    let more = adopted.len() == usize::try_from(STEP).unwrap_or(usize::MAX);
    let job = NewJob {
        tenant_id: tenant,
        provider: provider.to_owned(),
        connection_id: Some(connection),
        cursor_window: None,
        payload: JobPayload::ProcessDeliveries {
            deliveries: adopted,
        },
        traceparent: None,
    };
    queue::enqueue(tx, &job).await?;
    Ok(more)
}
