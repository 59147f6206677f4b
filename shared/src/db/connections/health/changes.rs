//! Changes of stored health, and the events that report them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Key;
use crate::db::events::{self, NewEvent};
use crate::db::{DbError, TenantScope, Tx};
use crate::health::{Health, HealthState, Reported};
use crate::model::{ConnectionId, EventType};

/// A change of the stored health of a connection.
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) provider: String,
    /// The new health.
    pub(super) health: Health,
    /// The state that events have reported before.
    pub(super) previous_state: HealthState,
    /// The state that events have reported from now on.
    pub(super) reported: Reported,
    /// The event that reports it, if one is due.
    pub(super) event: Option<EventType>,
}

impl Change {
    fn event_data(&self) -> Value {
        json!({ "health": self.health, "previous_state": self.previous_state })
    }
}

/// Stores changes of connections whose rows the transaction has locked, with their events.
pub(super) async fn store(tx: &mut Tx, changes: &[Change]) -> Result<(), DbError> {
    if changes.is_empty() {
        return Ok(());
    }
    let (tenants, ids): (Vec<_>, Vec<_>) = changes.iter().map(|change| change.key).unzip();
    let states = changes.iter().map(|change| change.health.state.as_str());
    let reasons = changes.iter().map(|change| change.health.reason.as_str());
    let reported = changes.iter().map(|change| change.reported.state.as_str());
    let now: DateTime<Utc> = sqlx::query_scalar(
        "WITH changed AS ( \
             UPDATE connections c SET health = n.state, health_reason = n.reason, \
                 health_since = n.since, reported_health = n.reported, \
                 reported_since = n.reported_since, report_due_at = n.report_due_at \
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], \
                     $6::text[], $7::timestamptz[], $8::timestamptz[]) \
                 AS n(tenant_id, id, state, reason, since, reported, reported_since, report_due_at) \
             WHERE c.tenant_id = n.tenant_id AND c.id = n.id \
         ) \
         SELECT clock_timestamp()",
    )
    .bind(tenants)
    .bind(ids)
    .bind(states.collect::<Vec<_>>())
    .bind(reasons.collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.health.since).collect::<Vec<_>>())
    .bind(reported.collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.reported.since).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.reported.due_at).collect::<Vec<_>>())
    .fetch_one(&mut **tx)
    .await?;
    let events = changes.iter().filter_map(|change| {
        let event_type = change.event?;
        let data = change.event_data();
        let provider = &change.provider;
        Some(NewEvent::of_connection(
            change.key, provider, now, event_type, data,
        ))
    });
    events::insert(tx, &events.collect::<Vec<_>>()).await
}

/// Writes the event of a new grant, from which the connection's reported state begins again.
pub(in crate::db::connections) async fn report_connected(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    provider: &str,
    is_resumed: bool,
) -> Result<(), DbError> {
    let now: DateTime<Utc> = sqlx::query_scalar(
        "UPDATE connections SET reported_health = 'backfilling', reported_since = now(), \
             report_due_at = NULL \
         WHERE tenant_id = $1 AND id = $2 RETURNING clock_timestamp()",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .fetch_one(&mut **tx)
    .await?;
    let connected = NewEvent::of_connection(
        (scope.tenant_id(), id),
        provider,
        now,
        EventType::ConnectionConnected,
        json!({ "resumed": is_resumed }),
    );
    events::insert(tx, &[connected]).await
}

/// Writes the event of the end of a backfill.
pub(in crate::db::connections) async fn report_backfilled(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    provider: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let backfilled = NewEvent::of_connection(
        (scope.tenant_id(), id),
        provider,
        now,
        EventType::ConnectionBackfilled,
        json!({}),
    );
    events::insert(tx, &[backfilled]).await
}
