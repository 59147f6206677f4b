//! Replay: another processing of a stored delivery.

use crate::db::deliveries::{self, DeliverySource};
use crate::db::{DbError, TenantScope, Tx};
use crate::model::{DeliveryId, Enqueued, NewJob, ProcessDeliveries};
use crate::queue::JobQueue;

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
    queue: &dyn JobQueue,
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
        cursor_window: Some(format!("replay:{id}")),
        traceparent,
        ..NewJob::new(
            scope.tenant_id(),
            &target.provider,
            target.connection_id,
            ProcessDeliveries {
                deliveries: vec![id],
            },
        )
    };
    Ok(ReplayOutcome::Queued(queue.enqueue(tx, &job).await?))
}
