//! Fan-out: a delivery that the provider sends once for several connections.

use super::StoredDelivery;
use crate::db::routes::Recipient;
use crate::db::{DbError, Tx, sanitize};
use crate::model::{DeliveryId, NewJob, ProcessDeliveries};
use crate::queue::JobQueue;

/// Copies a delivery to a recipient and enqueues a job, unless the copy exists already.
///
/// The transaction must see the rows of both tenants.
pub async fn fan_out(
    queue: &dyn JobQueue,
    tx: &mut Tx,
    delivery: &StoredDelivery,
    recipient: &Recipient,
) -> Result<(), DbError> {
    let received_at = delivery.delivery.received_at;
    let id = DeliveryId::at(u64::try_from(received_at.timestamp_millis()).unwrap_or(0));
    let copied = sqlx::query(
        "WITH source AS ( \
             SELECT * FROM deliveries WHERE tenant_id = $1 AND received_at = $2 AND id = $3 \
         ), dedupe AS ( \
             INSERT INTO delivery_dedup (tenant_id, provider, dedupe_id, received_at) \
             SELECT $4, provider, dedupe_id || '@' || $6, received_at FROM source \
             ON CONFLICT DO NOTHING RETURNING 1 \
         ) \
         INSERT INTO deliveries (tenant_id, received_at, id, connection_id, provider, account_id, \
             dedupe_id, event, headers, body, traceparent, outcome, copied) \
         SELECT $4, received_at, $7, $5, provider, $6, dedupe_id || '@' || $6, event, headers, \
             body, traceparent, 'pending', true \
         FROM source WHERE EXISTS (SELECT FROM dedupe)",
    )
    .bind(delivery.tenant_id)
    .bind(received_at)
    .bind(delivery.id)
    .bind(recipient.scope.tenant_id())
    .bind(recipient.connection)
    .bind(sanitize(&recipient.route))
    .bind(id)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if copied == 0 {
        return Ok(());
    }
    let job = NewJob {
        traceparent: delivery.traceparent.clone(),
        ..NewJob::new(
            recipient.scope.tenant_id(),
            &delivery.provider,
            Some(recipient.connection),
            ProcessDeliveries {
                deliveries: vec![id],
            },
        )
    };
    queue.enqueue(tx, &job).await?;
    Ok(())
}
