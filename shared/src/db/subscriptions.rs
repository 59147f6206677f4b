//! Subscriptions: the desired ones, those that the provider holds, and those that must end.

mod row;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany,
};
use serde_json::Value;
use uuid::Uuid;

pub use row::Row;

use super::entities::subscriptions::{ActiveModel, Column, Entity};
use super::entities::{connection_routes, delivery_routes};
use super::orm::{Scoped, across_tenants, now};
use super::{
    Db, DbError, Json, TenantScope, Tx, connections, routes, sanitize, sanitize_all, sanitize_json,
};
use crate::model::{ConnectionId, Subscription, SubscriptionSpec};

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

/// Marks subscriptions that a complete pass of the root stream did not list as not desired.
///
/// `listed_at` is the upper bound of that pass.
pub async fn retire_unlisted(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    listed_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let unlisted = Condition::any()
        .add(Column::ListedAt.is_null())
        .add(Column::ListedAt.lt(listed_at));
    let retired = Entity::update_scoped(scope)
        .set(ActiveModel {
            desired: Set(false),
            ..Default::default()
        })
        .filter(Column::ConnectionId.eq(connection))
        .filter(Column::Desired.eq(true))
        .filter(unlisted)
        .exec(&tx.orm())
        .await?;
    if retired.rows_affected > 0 {
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
    let rows = Entity::scoped(scope)
        .filter(Column::ConnectionId.eq(connection))
        .order_by_desc(Column::Desired)
        .order_by_asc(Column::Resource);
    Ok(rows.into_partial_model().all(&tx.orm()).await?)
}

fn update(scope: &TenantScope, id: Uuid) -> UpdateMany<Entity> {
    Entity::update_scoped(scope).filter(Column::Id.eq(id))
}

/// Records an attempt to create a subscription, so that a lost response can be detected.
pub async fn record_attempt(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    update(scope, id)
        .col_expr(Column::AttemptedAt, now())
        .exec(&tx.orm())
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
    let planned = ActiveModel {
        planned_id: Set(Some(planned_id.clone())),
        ..Default::default()
    };
    update(scope, id)
        .set(planned)
        .col_expr(Column::AttemptedAt, now())
        .exec(&tx.orm())
        .await?;
    routes::upsert(tx, scope, connection, provider, &planned_id, id).await?;
    Ok(planned_id)
}

/// Moves a subscription from its row to a row of its own, from which it is ended.
///
/// Its deliveries are routed until then. A subscription that has such a row already keeps it.
pub async fn supersede(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    id: Uuid,
    subscription: &Subscription,
) -> Result<(), DbError> {
    let old = Uuid::now_v7();
    let name = Subscription::replaced(&subscription.resource, &subscription.external_id);
    let route = subscription.route.as_deref().map(sanitize);
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        connection_id: Set(connection),
        id: Set(old),
        resource: Set(sanitize(&name).into_owned()),
        route: Set(route.as_deref().map(str::to_owned)),
        desired: Set(false),
        external_id: Set(Some(sanitize(&subscription.external_id).into_owned())),
        state: Set(Json(subscription.state.clone())),
        expires_at: Set(subscription.expires_at),
        ..Default::default()
    };
    Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(&tx.orm())
        .await?;
    if let Some(route) = route {
        delivery_routes::Entity::update_scoped(scope)
            .set(delivery_routes::ActiveModel {
                subscription_id: Set(Some(old)),
                ..Default::default()
            })
            .filter(delivery_routes::Column::SubscriptionId.eq(id))
            .filter(delivery_routes::Column::Route.eq(&*route))
            .exec(&tx.orm())
            .await?;
    }
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
    connections::review_soon(tx, scope, connection).await?;
    let route = subscription.route.as_deref().map(sanitize);
    // Remove the route of a previous registration.
    let mut previous = delivery_routes::Entity::delete_scoped(scope)
        .filter(delivery_routes::Column::SubscriptionId.eq(id));
    if let Some(route) = &route {
        previous = previous.filter(delivery_routes::Column::Route.ne(&**route));
    }
    previous.exec(&tx.orm()).await?;
    if let Some(route) = &route {
        routes::upsert(tx, scope, connection, provider, route, id).await?;
    }
    let refused_events = sanitize_all(&subscription.refused_events);
    let held = ActiveModel {
        external_id: Set(Some(sanitize(&subscription.external_id).into_owned())),
        route: Set(route.map(Cow::into_owned)),
        expires_at: Set(subscription.expires_at),
        refused_events: Set(refused_events.into_iter().map(Cow::into_owned).collect()),
        state: Set(Json(subscription.state.clone())),
        attempted_at: Set(None),
        planned_id: Set(None),
        ..Default::default()
    };
    update(scope, id)
        .set(held)
        .col_expr(Column::RenewedAt, now())
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Marks a subscription as not held by the provider, so that it is created again.
pub async fn mark_lost(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    let lost = ActiveModel {
        external_id: Set(None),
        route: Set(None),
        state: Set(Json(Value::Null)),
        expires_at: Set(None),
        ..Default::default()
    };
    update(scope, id).set(lost).exec(&tx.orm()).await?;
    Ok(())
}

/// Returns whether the provider holds a subscription for another connection as well.
///
/// That is so if both have its route. Two connections that end at the same time may both get `true`;
/// their subscription then expires.
pub async fn is_shared(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    subscription: &Subscription,
) -> Result<bool, DbError> {
    let subscription = std::slice::from_ref(subscription);
    let are_shared = are_shared(tx, scope, connection, subscription).await?;
    Ok(are_shared.contains(&true))
}

/// Returns [`is_shared`] of each subscription.
pub async fn are_shared(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    subscriptions: &[Subscription],
) -> Result<Vec<bool>, DbError> {
    let routes: Vec<_> = subscriptions
        .iter()
        .map(|subscription| subscription.route.as_deref().map(sanitize))
        .collect();
    Ok(sqlx::query_scalar(
        "SELECT is_subscription_shared($1, $2, route) \
         FROM unnest($3::text[]) WITH ORDINALITY r (route, n) ORDER BY n",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(routes)
    .fetch_all(&mut **tx)
    .await?)
}

/// Deletes a subscription that has ended, and its routes.
pub async fn delete(tx: &mut Tx, scope: &TenantScope, id: Uuid) -> Result<(), DbError> {
    delivery_routes::Entity::delete_scoped(scope)
        .filter(delivery_routes::Column::SubscriptionId.eq(id))
        .exec(&tx.orm())
        .await?;
    Entity::delete_scoped(scope)
        .filter(Column::Id.eq(id))
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Makes a connection's subscriptions due for reconciliation now.
async fn make_due(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<(), DbError> {
    connection_routes::Entity::update_of(scope, connection)
        .col_expr(connection_routes::Column::SubscriptionsAt, now())
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Returns when the connection's subscriptions are reconciled next.
pub async fn due_at(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let due = connection_routes::Entity::scoped(scope)
        .select_only()
        .column(connection_routes::Column::SubscriptionsAt)
        .filter(connection_routes::Column::ConnectionId.eq(connection));
    let due: Option<Option<DateTime<Utc>>> = due.into_tuple().one(&tx.orm()).await?;
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
    let due_at = connection_routes::Column::SubscriptionsAt;
    let unchanged = match seen {
        Some(seen) => due_at.eq(seen),
        None => due_at.is_null(),
    };
    let next = Expr::cust_with_values("now() + $1 * interval '1 second'", [next]);
    connection_routes::Entity::update_of(scope, connection)
        .col_expr(due_at, next)
        .filter(unchanged)
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Returns the ids that some connection holds, with their routes.
pub async fn find_held(
    db: &Db,
    external_ids: &[String],
) -> Result<Vec<(String, Option<String>)>, DbError> {
    let external_ids = sanitize_all(external_ids).into_iter().map(Cow::into_owned);
    let held = across_tenants::<Entity>()
        .select_only()
        .columns([Column::ExternalId, Column::Route])
        .filter(Column::ExternalId.eq_any(external_ids));
    Ok(held.into_tuple().all(&db.orm()).await?)
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
