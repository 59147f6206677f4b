//! Webhooks that are lost or rejected, and subscriptions that have expired.

use serde_json::json;
use tests::harness::{System, Tenant, eventually};

use super::{
    Expected, act, assert_health, assert_recovers, execute, fault, get_as_operator, small,
};

/// Lets a poll find facts that no delivery reported.
async fn poll_missed_facts(system: &System, tenant: &Tenant<'_>, account: &str) {
    act(system, "github", account, "issues.opened").await;
    tenant.poll().await;
    system.drain().await;
    // As if the poll had found them after the time within which a delivery may still arrive.
    execute(
        system,
        "UPDATE cursors SET missed_count = 2 WHERE retired_at IS NULL AND listed_at IS NOT NULL",
    )
    .await;
    tenant.poll().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_webhooks_are_silent_until_one_arrives() {
    let system = small().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    fault(
        &system,
        json!({ "target": "delivery", "effect": "drop_silently" }),
    )
    .await;
    poll_missed_facts(&system, &tenant, &account).await;
    let expected = Expected {
        state: "degraded",
        reason: "webhooks_silent",
        kind: "check_settings",
        who: "operator",
        says: "found by polling and not reported by any delivery",
    };
    assert_health(&tenant, connection, expected).await;
    let path = format!("/v1/connections/{connection}");
    let webhooks = tenant.get(&path).await["webhooks"].clone();
    assert_eq!(webhooks["state"], "silent", "{webhooks:#}");
    assert!(webhooks["missed_24h"].as_i64() > Some(3), "{webhooks:#}");
    system.clear_faults().await;
    act(&system, "github", &account, "issues.opened").await;
    assert_recovers(&tenant, connection).await;
    let shown = tenant.get(&path).await;
    assert_eq!(shown["webhooks"]["state"], "active", "{shown:#}");
    assert!(shown["webhooks"]["last_delivery_at"].is_string());
    assert!(shown["last_signal_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_webhook_secret_asks_the_operator() {
    let system = small().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    fault(
        &system,
        json!({ "target": "delivery", "effect": "wrong_signature" }),
    )
    .await;
    poll_missed_facts(&system, &tenant, &account).await;
    let expected = Expected {
        state: "degraded",
        reason: "webhooks_rejected",
        kind: "check_settings",
        who: "operator",
        says: "signatures do not match the webhook secret of the app",
    };
    // The ingress stores the results of requests every two seconds.
    eventually("the rejection is stored", async || {
        let overview = get_as_operator(&system, "/v1/overview").await;
        let results = overview["deliveries"].as_array().expect("results").iter();
        let mut rejected = results.filter(|row| row["result"] == "mismatch");
        rejected.any(|row| row["provider"] == "github")
    })
    .await;
    execute(
        &system,
        "UPDATE connection_routes SET health_review_at = now()",
    )
    .await;
    assert_health(&tenant, connection, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lapsed_subscription_asks_the_operator() {
    let system = small().start().await;
    let (_, tenant, connection) = system.connect_account("google_drive").await;
    assert_recovers(&tenant, connection).await;
    let refused =
        json!({ "target": "request", "pattern": "/watch", "effect": "status", "status": 503 });
    fault(&system, refused).await;
    execute(
        &system,
        "UPDATE subscriptions SET expires_at = now() - interval '1 minute' WHERE desired",
    )
    .await;
    execute(
        &system,
        "UPDATE connection_routes SET health_review_at = now(), subscriptions_at = now()",
    )
    .await;
    let expected = Expected {
        state: "degraded",
        reason: "subscription_lapsed",
        kind: "check_settings",
        who: "operator",
        says: "has expired and was not renewed",
    };
    assert_health(&tenant, connection, expected).await;
    let path = format!("/v1/connections/{connection}");
    let webhooks = tenant.get(&path).await["webhooks"].clone();
    assert_eq!(webhooks["state"], "unsubscribed", "{webhooks:#}");
    system.clear_faults().await;
    system.reconcile_subscriptions().await;
    assert_recovers(&tenant, connection).await;
}
