//! Subscriptions: the desired ones, those that the provider holds, and those that must end.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Db, DbError, Json, TenantScope, Tx, routes, sanitize, sanitize_all, sanitize_json};
use crate::model::{ConnectionId, Subscription, SubscriptionSpec};

/// A row of the subscriptions table.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Row {
    /// Our id.
    pub id: Uuid,
    /// The resource that it covers.
    pub resource: String,
    target: Json<Value>,
    external_id: Option<String>,
    /// The id of an attempt to create it whose result is unknown.
    planned_id: Option<String>,
    route: Option<String>,
    state: Json<Value>,
    expires_at: Option<DateTime<Utc>>,
    refused_events: Vec<String>,
    /// When the provider last created or renewed it.
    pub renewed_at: Option<DateTime<Utc>>,
    /// Whether it must exist, or must end.
    pub desired: bool,
}

impl Row {
    /// The subscription to request from the provider.
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
            state: self.state.0.clone(),
            expires_at: self.expires_at,
            refused_events: self.refused_events.clone(),
        })
    }

    /// The subscription that an attempt without a result may have created, under a planned id.
    pub fn attempted(&self) -> Option<Subscription> {
        let planned_id = self.planned_id.clone()?;
        Some(Subscription {
            resource: self.resource.clone(),
            external_id: planned_id.clone(),
            route: Some(planned_id),
            state: Value::Null,
            expires_at: None,
            refused_events: Vec::new(),
        })
    }
}

/// Stores the subscriptions that a page of the root stream requires.
///
/// If one is new, the connection's subscriptions become due for reconciliation.
pub async fn add_desired(
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
        .map(|spec| sanitize_json(&spec.target.to_string()).into_owned())
        .collect();
    let ids: Vec<Uuid> = specs.iter().map(|_| Uuid::now_v7()).collect();
    let changed: bool = sqlx::query_scalar(
        "WITH before AS ( \
             SELECT resource FROM subscriptions \
             WHERE tenant_id = $1 AND connection_id = $2 AND desired AND resource = ANY ($4) \
         ), listed AS ( \
             INSERT INTO subscriptions (tenant_id, connection_id, id, resource, target, listed_at) \
             SELECT $1, $2, s.id, s.resource, s.target::json, $6 \
             FROM unnest($3::uuid[], $4::text[], $5::text[]) AS s(id, resource, target) \
             ON CONFLICT (tenant_id, connection_id, resource) DO UPDATE SET \
                 desired = true, listed_at = excluded.listed_at \
             RETURNING resource \
         ) \
         SELECT EXISTS (SELECT resource FROM listed EXCEPT SELECT resource FROM before)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(ids)
    .bind(sanitize_all(&resources))
    .bind(targets)
    .bind(listed_at)
    .fetch_one(&mut **tx)
    .await?;
    if changed {
        make_due(tx, scope, connection).await?;
    }
    Ok(())
}

/// Marks the subscriptions that a complete pass of the root stream did not list as not desired.
///
/// `listed_at` is the upper bound of that pass.
pub async fn retire_unlisted(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let retired = sqlx::query(
        "UPDATE subscriptions SET desired = false \
         WHERE tenant_id = $1 AND connection_id = $2 AND desired \
           AND (listed_at IS NULL OR listed_at < $3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(listed_at)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if retired > 0 {
        make_due(tx, scope, connection).await?;
    }
    Ok(())
}

/// Lists a connection's subscriptions, the ones that must end last.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Vec<Row>, DbError> {
    Ok(sqlx::query_as(
        "SELECT id, resource, target, external_id, planned_id, route, state, expires_at, \
             refused_events, renewed_at, desired \
         FROM subscriptions WHERE tenant_id = $1 AND connection_id = $2 \
         ORDER BY desired DESC, resource",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_all(&mut **tx)
    .await?)
}

/// Records an attempt to create a subscription, so that a lost response can be detected.
pub async fn record_attempt(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    sqlx::query("UPDATE subscriptions SET attempted_at = now() WHERE tenant_id = $1 AND id = $2")
        .bind(scope.tenant_id())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Records an attempt to create a subscription under an id of ours, and returns the id.
///
/// Its deliveries are routed from now on, because they may arrive before the provider's response.
pub async fn plan(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    provider: &str,
    id: Uuid,
) -> Result<String, DbError> {
    let planned_id = Uuid::new_v4().to_string();
    sqlx::query(
        "UPDATE subscriptions SET attempted_at = now(), planned_id = $3 \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(&planned_id)
    .execute(&mut **tx)
    .await?;
    routes::upsert(tx, scope, connection, provider, &planned_id, id).await?;
    Ok(planned_id)
}

/// Moves a subscription from its row to a row of its own, from which it is ended.
///
/// Its deliveries are routed until then.
pub async fn supersede(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    id: Uuid,
    subscription: &Subscription,
) -> Result<(), DbError> {
    let old = Uuid::now_v7();
    let name = Subscription::replaced(&subscription.resource, &subscription.external_id);
    sqlx::query(
        "INSERT INTO subscriptions (tenant_id, connection_id, id, resource, route, desired, \
             external_id, state, expires_at) \
         VALUES ($1, $2, $3, $4, $5, false, $6, $7, $8)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(old)
    .bind(sanitize(&name))
    .bind(subscription.route.as_deref().map(sanitize))
    .bind(sanitize(&subscription.external_id))
    .bind(Json(&subscription.state))
    .bind(subscription.expires_at)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE delivery_routes SET subscription_id = $4 \
         WHERE tenant_id = $1 AND subscription_id = $2 AND route = $3",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(subscription.route.as_deref().map(sanitize))
    .bind(old)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores a subscription that the provider has created or renewed, and routes its deliveries.
pub async fn store_held(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    provider: &str,
    id: Uuid,
    subscription: &Subscription,
) -> Result<(), DbError> {
    // Remove the route of a previous registration.
    sqlx::query(
        "DELETE FROM delivery_routes \
         WHERE tenant_id = $1 AND subscription_id = $2 AND route IS DISTINCT FROM $3",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(subscription.route.as_deref().map(sanitize))
    .execute(&mut **tx)
    .await?;
    if let Some(route) = &subscription.route {
        routes::upsert(tx, scope, connection, provider, route, id).await?;
    }
    sqlx::query(
        "UPDATE subscriptions SET external_id = $3, route = $4, expires_at = $5, \
             refused_events = $6, state = $7, renewed_at = now(), attempted_at = NULL, \
             planned_id = NULL \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(sanitize(&subscription.external_id))
    .bind(subscription.route.as_deref().map(sanitize))
    .bind(subscription.expires_at)
    .bind(sanitize_all(&subscription.refused_events))
    .bind(Json(&subscription.state))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Marks a subscription as not held by the provider, so that it is created again.
pub async fn mark_lost(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE subscriptions SET external_id = NULL, route = NULL, state = 'null', \
             expires_at = NULL \
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

/// Makes a connection's subscriptions due for reconciliation now.
async fn make_due(
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

/// Returns when the connection's subscriptions are reconciled next.
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

/// Schedules the next reconciliation, in seconds from now; `None` for never.
///
/// `seen` is the due time at the start of this reconciliation. If it has changed since, another
/// reconciliation was requested meanwhile and stays due.
pub async fn schedule_reconcile(
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

/// Returns the ids that some connection holds, with their routes.
pub async fn find_held(
    db: &Db,
    external_ids: &[String],
) -> Result<Vec<(String, Option<String>)>, DbError> {
    Ok(
        sqlx::query_as("SELECT external_id, route FROM subscriptions WHERE external_id = ANY ($1)")
            .bind(sanitize_all(external_ids))
            .fetch_all(db)
            .await?,
    )
}

/// Statistics of one provider's subscriptions.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SubscriptionStats {
    /// The provider's slug.
    pub provider: String,
    /// Seconds until the first one expires, negative when it has; `None` without an expiry.
    pub soonest_seconds: Option<f64>,
    /// The number of desired subscriptions that the provider does not hold yet.
    pub pending: i64,
}

/// Returns statistics of the subscriptions of all connections, by provider.
pub async fn stats(db: &Db) -> Result<Vec<SubscriptionStats>, DbError> {
    Ok(sqlx::query_as(
        "SELECT r.provider, \
             extract(epoch FROM min(s.expires_at) - now())::float8 AS soonest_seconds, \
             count(*) FILTER (WHERE s.external_id IS NULL) AS pending \
         FROM subscriptions s JOIN connection_routes r \
           ON r.tenant_id = s.tenant_id AND r.connection_id = s.connection_id \
         WHERE s.desired GROUP BY r.provider",
    )
    .fetch_all(db)
    .await?)
}
