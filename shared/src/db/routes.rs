//! Routes of deliveries that do not name their account.

use sqlx::Row;
use uuid::Uuid;

use super::{Db, DbError, TenantScope, Tx, sanitize, sanitize_all};
use crate::model::{ConnectionId, TenantId};

/// A connection that receives a delivery.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The scope of its tenant, proved by the route.
    pub scope: TenantScope,
    /// The connection.
    pub connection: ConnectionId,
    /// The route that leads to it.
    pub route: String,
}

/// Adds the route of a subscription's deliveries; it is deleted with the subscription.
pub async fn upsert(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    provider: &str,
    route: &str,
    subscription: Uuid,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO delivery_routes (tenant_id, connection_id, provider, route, subscription_id) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant_id, connection_id, route) DO UPDATE SET \
             subscription_id = excluded.subscription_id, created_at = now()",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(provider)
    .bind(sanitize(route))
    .bind(subscription)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Returns all connections that one of these routes or accounts leads to.
pub async fn find_recipients(
    db: &Db,
    provider: &str,
    routes: &[String],
) -> Result<Vec<Recipient>, DbError> {
    let rows = sqlx::query(
        "SELECT tenant_id, connection_id, account_id AS route FROM connection_routes \
         WHERE provider = $1 AND account_id = ANY ($2) \
         UNION \
         SELECT tenant_id, connection_id, route FROM delivery_routes \
         WHERE provider = $1 AND route = ANY ($2)",
    )
    .bind(provider)
    .bind(sanitize_all(routes))
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Recipient {
                scope: TenantScope::new(row.try_get::<TenantId, _>("tenant_id")?),
                connection: row.try_get("connection_id")?,
                route: row.try_get("route")?,
            })
        })
        .collect()
}
