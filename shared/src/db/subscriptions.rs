//! Subscriptions: what must be, what is, and what must end.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Db, DbError, Json, TenantScope, Tx, routes, storable, storable_all, storable_json};
use crate::connectors::{Subscription, SubscriptionSpec};
use crate::ids::ConnectionId;

/// A subscription's row.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Row {
    /// Ours.
    pub id: Uuid,
    /// What it is for.
    pub resource: String,
    target: Json<Value>,
    external_id: Option<String>,
    route: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    refused_events: Vec<String>,
    /// When the provider last gave or prolonged it.
    pub renewed_at: Option<DateTime<Utc>>,
    /// Whether it must be, or must end.
    pub wanted: bool,
}

impl Row {
    /// What to ask the provider for.
    pub fn spec(&self) -> SubscriptionSpec {
        SubscriptionSpec {
            resource: self.resource.clone(),
            target: self.target.0.clone(),
        }
    }

    /// The subscription as the provider holds it, if it does.
    pub fn held(&self) -> Option<Subscription> {
        Some(Subscription {
            resource: self.resource.clone(),
            external_id: self.external_id.clone()?,
            route: self.route.clone(),
            expires_at: self.expires_at,
            refused_events: self.refused_events.clone(),
        })
    }
}

/// Takes in what a page of the root says there must be subscriptions for. When that has changed,
/// the connection's subscriptions are looked after at once.
pub async fn want(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    specs: &[SubscriptionSpec],
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    if specs.is_empty() {
        return Ok(());
    }
    let resources: Vec<&str> = specs.iter().map(|spec| spec.resource.as_str()).collect();
    let targets: Vec<String> = specs
        .iter()
        .map(|spec| storable_json(&spec.target.to_string()).into_owned())
        .collect();
    let ids: Vec<Uuid> = specs.iter().map(|_| Uuid::now_v7()).collect();
    let changed: bool = sqlx::query_scalar(
        "WITH before AS ( \
             SELECT resource FROM subscriptions \
             WHERE tenant_id = $1 AND connection_id = $2 AND wanted AND resource = ANY ($4) \
         ), listed AS ( \
             INSERT INTO subscriptions (tenant_id, connection_id, id, resource, target, listed_at) \
             SELECT $1, $2, s.id, s.resource, s.target::json, $6 \
             FROM unnest($3::uuid[], $4::text[], $5::text[]) AS s(id, resource, target) \
             ON CONFLICT (tenant_id, connection_id, resource) DO UPDATE SET \
                 wanted = true, listed_at = excluded.listed_at \
             RETURNING resource \
         ) \
         SELECT EXISTS (SELECT resource FROM listed EXCEPT SELECT resource FROM before)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(ids)
    .bind(storable_all(&resources))
    .bind(targets)
    .bind(listed_at)
    .fetch_one(&mut **tx)
    .await?;
    if changed {
        look_after_soon(tx, scope, connection).await?;
    }
    Ok(())
}

/// Has the subscriptions ended that a whole pass of the root, whose upper bound was `listed_at`,
/// did not want.
pub async fn end_unlisted(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let ended = sqlx::query(
        "UPDATE subscriptions SET wanted = false \
         WHERE tenant_id = $1 AND connection_id = $2 AND wanted \
           AND (listed_at IS NULL OR listed_at < $3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(listed_at)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if ended > 0 {
        look_after_soon(tx, scope, connection).await?;
    }
    Ok(())
}

/// Every subscription of a connection, those that must end last.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Vec<Row>, DbError> {
    Ok(sqlx::query_as(
        "SELECT id, resource, target, external_id, route, expires_at, refused_events, renewed_at, \
             wanted \
         FROM subscriptions WHERE tenant_id = $1 AND connection_id = $2 \
         ORDER BY wanted DESC, resource",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_all(&mut **tx)
    .await?)
}

/// Notes that the provider is about to be asked, so that an answer that is lost is known to
/// be lost.
pub async fn attempt(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    sqlx::query("UPDATE subscriptions SET attempted_at = now() WHERE tenant_id = $1 AND id = $2")
        .bind(scope.tenant_id())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Writes down what the provider has given or prolonged, and routes its deliveries.
pub async fn hold(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    provider: &str,
    id: Uuid,
    subscription: &Subscription,
) -> Result<(), DbError> {
    // An address that the account had before leads nowhere any more.
    sqlx::query(
        "DELETE FROM delivery_routes \
         WHERE tenant_id = $1 AND subscription_id = $2 AND route IS DISTINCT FROM $3",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(subscription.route.as_deref().map(storable))
    .execute(&mut **tx)
    .await?;
    if let Some(route) = &subscription.route {
        routes::put(tx, scope, connection, provider, route, id).await?;
    }
    sqlx::query(
        "UPDATE subscriptions SET external_id = $3, route = $4, expires_at = $5, \
             refused_events = $6, renewed_at = now(), attempted_at = NULL \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(storable(&subscription.external_id))
    .bind(subscription.route.as_deref().map(storable))
    .bind(subscription.expires_at)
    .bind(storable_all(&subscription.refused_events))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets what the provider does not hold any more: it is asked for anew.
pub async fn lose(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE subscriptions SET external_id = NULL, route = NULL, expires_at = NULL \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes a subscription that has ended, and its routes.
pub async fn delete(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    for statement in [
        "DELETE FROM delivery_routes WHERE tenant_id = $1 AND subscription_id = $2",
        "DELETE FROM subscriptions WHERE tenant_id = $1 AND id = $2",
    ] {
        sqlx::query(statement)
            .bind(scope.tenant_id())
            .bind(id)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Has a connection's subscriptions looked after as soon as they can be.
async fn look_after_soon(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE connection_routes SET subscriptions_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// When the connection's subscriptions are looked after next.
pub async fn due_at(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let due: Option<Option<DateTime<Utc>>> = sqlx::query_scalar(
        "SELECT subscriptions_at FROM connection_routes \
         WHERE tenant_id = $1 AND connection_id = $2",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(due.flatten())
}

/// Says, after a look at everything, when the next one is due, in seconds from now; `None`
/// for never. `seen` is the date that stood when the look began: if it is another by now,
/// somebody has asked for another look meanwhile, and that stands.
pub async fn looked_after(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    seen: Option<DateTime<Utc>>,
    next: Option<f64>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE connection_routes SET subscriptions_at = now() + $4 * interval '1 second' \
         WHERE tenant_id = $1 AND connection_id = $2 AND subscriptions_at IS NOT DISTINCT FROM $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(seen)
    .bind(next)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Of these providers' ids, with their routes, those that some connection holds.
pub async fn taken(
    db: &Db,
    external_ids: &[String],
) -> Result<Vec<(String, Option<String>)>, DbError> {
    Ok(
        sqlx::query_as("SELECT external_id, route FROM subscriptions WHERE external_id = ANY ($1)")
            .bind(storable_all(external_ids))
            .fetch_all(db)
            .await?,
    )
}

/// How one provider's subscriptions stand.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Standing {
    /// The provider's slug.
    pub provider: String,
    /// Seconds until the first ends, below zero when it has; `None` without an end.
    pub soonest_seconds: Option<f64>,
    /// How many are wanted and not held.
    pub missing: i64,
}

/// How the subscriptions of all connections stand, by provider.
pub async fn standing(db: &Db) -> Result<Vec<Standing>, DbError> {
    Ok(sqlx::query_as(
        "SELECT r.provider, \
             extract(epoch FROM min(s.expires_at) - now())::float8 AS soonest_seconds, \
             count(*) FILTER (WHERE s.external_id IS NULL) AS missing \
         FROM subscriptions s JOIN connection_routes r \
           ON r.tenant_id = s.tenant_id AND r.connection_id = s.connection_id \
         WHERE s.wanted GROUP BY r.provider",
    )
    .fetch_all(db)
    .await?)
}
