//! Events of subscriptions that expire soon and were not renewed.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{NewEvent, insert};
use crate::db::{DbError, TenantScope, Tx};
use crate::model::{ConnectionId, EventType, TenantId};

/// The maximum number of subscriptions whose expiry one transaction announces.
const MAX_ANNOUNCED: i64 = 500;

/// SQL: the subscriptions that expire within the notice of their provider, unless an event has
/// announced that expiry; `$1` are providers, `$2` their notices in seconds.
macro_rules! expiring {
    () => {
        "FROM subscriptions s \
         JOIN connection_routes r \
             ON r.tenant_id = s.tenant_id AND r.connection_id = s.connection_id \
         JOIN unnest($1::text[], $2::float8[]) AS n(provider, seconds) ON n.provider = r.provider \
         WHERE s.desired AND s.expiry_notice IS DISTINCT FROM s.expires_at \
             AND s.expires_at BETWEEN now() AND now() + n.seconds * interval '1 second' "
    };
}

/// A provider's time before the expiry of a subscription at which it must have been renewed.
#[derive(Debug, Clone, Copy)]
pub struct ExpiryNotice {
    /// The provider's slug.
    pub provider: &'static str,
    /// The time in seconds.
    pub seconds: f64,
}

#[derive(sqlx::FromRow)]
struct Announced {
    tenant_id: TenantId,
    connection_id: ConnectionId,
    id: Uuid,
    provider: String,
    resource: String,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// Announces the subscriptions that expire soon and were not renewed, each expiry once.
///
/// The transaction begins without tenants. Subscriptions that another one changes are left to the
/// next call. Served by the index `subscriptions_expires_at`.
pub async fn announce_expiries(tx: &mut Tx, notices: &[ExpiryNotice]) -> Result<(), DbError> {
    let providers: Vec<_> = notices.iter().map(|notice| notice.provider).collect();
    let seconds: Vec<_> = notices.iter().map(|notice| notice.seconds).collect();
    let tenants: Vec<TenantId> = sqlx::query_scalar(concat!(
        "SELECT DISTINCT tenant_id FROM (SELECT s.tenant_id ",
        expiring!(),
        "ORDER BY s.expires_at LIMIT $3) e",
    ))
    .bind(&providers)
    .bind(&seconds)
    .bind(MAX_ANNOUNCED)
    .fetch_all(&mut **tx)
    .await?;
    if tenants.is_empty() {
        return Ok(());
    }
    let scopes: Vec<TenantScope> = tenants.iter().copied().map(TenantScope::new).collect();
    tx.change_scopes(&scopes).await?;
    let announced: Vec<Announced> = sqlx::query_as(concat!(
        "WITH expiring AS (SELECT s.tenant_id, s.id, r.provider ",
        expiring!(),
        "AND s.tenant_id = ANY ($4) \
         ORDER BY s.expires_at LIMIT $3 FOR NO KEY UPDATE OF s SKIP LOCKED) \
         UPDATE subscriptions s SET expiry_notice = s.expires_at FROM expiring e \
         WHERE s.tenant_id = e.tenant_id AND s.id = e.id \
         RETURNING s.tenant_id, s.connection_id, s.id, e.provider, s.resource, s.expires_at, \
             clock_timestamp() AS now",
    ))
    .bind(&providers)
    .bind(&seconds)
    .bind(MAX_ANNOUNCED)
    .bind(tenants)
    .fetch_all(&mut **tx)
    .await?;
    let events = announced.iter().map(|row| NewEvent {
        subscription: Some(row.id),
        ..NewEvent::of_connection(
            (row.tenant_id, row.connection_id),
            &row.provider,
            row.now,
            EventType::SubscriptionExpiring,
            json!({ "resource": row.resource, "expires_at": row.expires_at }),
        )
    });
    insert(tx, &events.collect::<Vec<_>>()).await
}
