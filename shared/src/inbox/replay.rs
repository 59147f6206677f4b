//! Replay: another processing of a stored delivery.

use crate::db::deliveries::{self, DeliverySource};
use crate::db::{DbError, TenantScope, Tx};
use crate::model::{DeliveryId, Enqueued, JobPayload, NewJob};
use crate::queue;

/// The outcome of a request to replay a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// The delivery does not exist.
    NotFound,
    /// It is a row of a list, which only another sync reads again.
    NotReplayable,
    /// A job was enqueued for it.
    Queued(Enqueued),
}

/// Enqueues another processing of a delivery.
///
/// Its facts have the same dedupe keys as before, so none is stored twice.
pub async fn replay(
    tx: &mut Tx,
    scope: &TenantScope,
    id: DeliveryId,
    traceparent: Option<String>,
) -> Result<ReplayOutcome, DbError> {
    let Some(target) = deliveries::reset(tx, scope, id).await? else {
        return Ok(ReplayOutcome::NotFound);
    };
    if target.source == DeliverySource::Poll {
        return Ok(ReplayOutcome::NotReplayable);
    }
    let job = NewJob {
        tenant_id: scope.tenant_id(),
        provider: target.provider,
        connection_id: target.connection_id,
        cursor_window: Some(format!("replay:{id}")),
        payload: JobPayload::ProcessDeliveries {
            deliveries: vec![id],
        },
        traceparent,
    };
    Ok(ReplayOutcome::Queued(queue::enqueue(tx, &job).await?))
}
