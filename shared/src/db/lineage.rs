//! Lineage: the deliveries, jobs and Signals that belong together, for operators.
//!
//! A Signal of a webhook has its delivery's time of receipt and trace. The job that processed it
//! names the delivery, and was enqueued with it. Ids contain their time, so each read is a range of
//! a primary key.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{DbError, TenantScope, Tx};
use crate::model::{ConnectionId, DeliveryId, DeliveryOutcome, JobId, JobState, SignalId};

/// The time within which a delivery's job is enqueued, and its Signals are stored.
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// The maximum number of rows of each kind.
const MAX_ROWS: i64 = 50;

/// A delivery of a Signal.
#[derive(Debug, Clone, FromRow)]
pub struct LinkedDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event's name.
    pub event: String,
    /// Its outcome.
    pub outcome: DeliveryOutcome,
    /// When it was received.
    pub received_at: DateTime<Utc>,
}

/// A job that processed a delivery.
#[derive(Debug, Clone, FromRow)]
pub struct LinkedJob {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub state: JobState,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
}

/// A Signal of a delivery.
#[derive(Debug, Clone, FromRow)]
pub struct LinkedSignal {
    /// Its id.
    pub id: SignalId,
    /// The type of the fact.
    pub kind: String,
    /// The fact's identity.
    pub dedupe_key: String,
}

/// A delivery whose lineage is read.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The connection it was routed to.
    pub connection: Option<ConnectionId>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// When it was last processed.
    pub processed_at: Option<DateTime<Utc>>,
}

/// Returns the deliveries that a Signal was read from; none if a poll read it.
pub async fn deliveries_of_signal(
    tx: &mut Tx,
    scope: &TenantScope,
    signal: SignalId,
) -> Result<Vec<LinkedDelivery>, DbError> {
    Ok(sqlx::query_as(
        "SELECT d.id, d.event, d.outcome, d.received_at \
         FROM signals s JOIN deliveries d ON d.tenant_id = s.tenant_id \
             AND d.received_at = s.received_at AND d.connection_id = s.connection_id \
             AND d.traceparent IS NOT DISTINCT FROM s.traceparent \
         WHERE s.tenant_id = $1 AND s.id = $2 ORDER BY d.id LIMIT $3",
    )
    .bind(scope.tenant_id())
    .bind(signal)
    .bind(MAX_ROWS)
    .fetch_all(&mut **tx)
    .await?)
}

/// Returns the jobs that were enqueued with a delivery, oldest first.
pub async fn jobs_of_delivery(
    tx: &mut Tx,
    scope: &TenantScope,
    delivery: DeliveryId,
    received_at: DateTime<Utc>,
) -> Result<Vec<LinkedJob>, DbError> {
    Ok(sqlx::query_as(
        "SELECT id, state, created_at FROM ( \
             SELECT tenant_id, id, kind, state, created_at, payload FROM jobs \
             UNION ALL \
             SELECT tenant_id, id, kind, state, created_at, payload FROM job_history) j \
         WHERE tenant_id = $1 AND id BETWEEN $2 AND $3 AND kind = 'process_deliveries' \
             AND payload::text LIKE '%' || $4::text || '%' ORDER BY id LIMIT $5",
    )
    .bind(scope.tenant_id())
    .bind(first_id(received_at - WINDOW))
    .bind(first_id(received_at + WINDOW))
    .bind(delivery)
    .bind(MAX_ROWS)
    .fetch_all(&mut **tx)
    .await?)
}

/// Returns the Signals that were stored when a delivery was processed, soon after its receipt or
/// at the last time.
pub async fn signals_of_delivery(
    tx: &mut Tx,
    scope: &TenantScope,
    origin: &Origin,
) -> Result<Vec<LinkedSignal>, DbError> {
    let last = origin.processed_at.unwrap_or(origin.received_at);
    Ok(sqlx::query_as(
        "SELECT s.id, s.kind, s.dedupe_key FROM ( \
             SELECT id, kind, dedupe_key, connection_id, received_at, traceparent FROM signals \
             WHERE tenant_id = $1 AND id BETWEEN $5 AND $6 \
             UNION \
             SELECT id, kind, dedupe_key, connection_id, received_at, traceparent FROM signals \
             WHERE tenant_id = $1 AND id BETWEEN $7 AND $8) s \
         JOIN deliveries d ON d.traceparent IS NOT DISTINCT FROM s.traceparent \
         WHERE d.tenant_id = $1 AND d.received_at = $3 AND d.id = $2 \
             AND s.received_at = $3 AND s.connection_id = $4 ORDER BY s.id LIMIT $9",
    )
    .bind(scope.tenant_id())
    .bind(origin.delivery)
    .bind(origin.received_at)
    .bind(origin.connection)
    .bind(first_id(origin.received_at - WINDOW))
    .bind(first_id(origin.received_at + WINDOW))
    .bind(first_id(last - WINDOW))
    .bind(first_id(last + WINDOW))
    .bind(MAX_ROWS)
    .fetch_all(&mut **tx)
    .await?)
}

/// The smallest id of version 7 at a time.
fn first_id(at: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_is_below_all_ids_of_its_time() {
        let id: Uuid = "0198c0de-0000-7000-8000-000000000000"
            .parse()
            .expect("a uuid");
        let at = DateTime::from_timestamp_millis(0x0198_c0de_0000).expect("a time");
        assert!(first_id(at) < id);
        assert!(first_id(at + TimeDelta::milliseconds(1)) > id);
    }
}
