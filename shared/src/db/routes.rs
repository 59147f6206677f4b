//! Routes of deliveries that do not name their account.

use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;
use sqlx::Row;
use uuid::Uuid;

use super::entities::delivery_routes::{ActiveModel, Column, Entity};
use super::orm::now;
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
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        connection_id: Set(connection),
        provider: Set(provider.to_owned()),
        route: Set(sanitize(route).into_owned()),
        subscription_id: Set(Some(subscription)),
        ..Default::default()
    };
    let key = [Column::TenantId, Column::ConnectionId, Column::Route];
    let moved = OnConflict::columns(key)
        .update_column(Column::SubscriptionId)
        .value(Column::CreatedAt, now())
        .to_owned();
    Entity::insert(row)
        .on_conflict(moved)
        .exec_without_returning(&tx.orm())
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
