//! Subscriptions that the provider holds for several connections.

use serde_json::Value;
use shared::db::subscriptions;
use shared::model::{ConnectionId, Subscription, TenantId};
use tests::harness::TestDb;

use crate::connections::scope_of;

/// Creates a tenant with a connection that has these routes.
async fn connection(test: &TestDb, provider: &str, routes: &[&str]) -> (TenantId, ConnectionId) {
    let (tenant, id) = (TenantId::generate(), ConnectionId::generate());
    for statement in [
        "INSERT INTO tenants (id, name) SELECT $1, $2::text || $3",
        "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
             poll_interval_seconds) VALUES ($1, $2, $3, 'active', 'account', 300)",
    ] {
        sqlx::query(statement)
            .bind(tenant)
            .bind(id)
            .bind(provider)
            .execute(test.pool())
            .await
            .expect("a row");
    }
    for route in routes {
        sqlx::query(
            "INSERT INTO delivery_routes (tenant_id, connection_id, provider, route) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(tenant)
        .bind(id)
        .bind(provider)
        .bind(route)
        .execute(test.pool())
        .await
        .expect("a row");
    }
    (tenant, id)
}

fn subscription(route: Option<&str>) -> Subscription {
    Subscription {
        resource: "mailbox".to_owned(),
        external_id: "1".to_owned(),
        route: route.map(str::to_owned),
        state: Value::Null,
        expires_at: None,
        refused_events: Vec::new(),
    }
}

#[tokio::test]
async fn subscription_is_shared_with_connections_of_its_route() {
    let test = TestDb::create().await;
    let (tenant, id) = connection(&test, "any", &["shared", "own", "of another provider"]).await;
    connection(&test, "any", &["shared", "foreign"]).await;
    connection(&test, "other", &["of another provider"]).await;
    let db = test.as_worker(2);
    let scope = scope_of(tenant);
    for (route, expected) in [
        (Some("shared"), true),
        (Some("own"), false),
        (Some("foreign"), false),
        (Some("of another provider"), false),
        (None, false),
    ] {
        let subscription = subscription(route);
        let mut tx = db.begin(&scope).await.expect("begun");
        let is_shared = subscriptions::is_shared(&mut tx, &scope, id, &subscription).await;
        assert_eq!(is_shared.expect("the query result"), expected, "{route:?}");
    }
}

#[tokio::test]
async fn other_tenants_subscriptions_are_not_disclosed() {
    let test = TestDb::create().await;
    let (tenant, id) = connection(&test, "any", &["shared"]).await;
    let (other, _) = connection(&test, "any", &["shared"]).await;
    let db = test.as_worker(2);
    let mut tx = db.begin(&scope_of(other)).await.expect("begun");
    let held = subscription(Some("shared"));
    let result = subscriptions::is_shared(&mut tx, &scope_of(tenant), id, &held).await;
    assert!(result.is_err(), "{result:?}");
}
