//! GitHub, from the connect flow to the feed.

use serde_json::json;
use tests::harness::System;

#[tokio::test(flavor = "multi_thread")]
async fn backfill_gives_every_visible_fact() {
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (1, 3, 60);
        })
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    tenant.assert_equals_ledger(&account).await;
    assert!(
        tenant.identities().await.len() > 20,
        "there was something to read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_webhook_becomes_its_signals() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    system
        .sim(
            "github/generate",
            json!({ "count": 300, "account": account }),
        )
        .await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_and_polling_agree_on_identity() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 20)
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    system
        .sim(
            "github/generate",
            json!({ "count": 150, "account": account }),
        )
        .await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    // A full sync reads everything again and adds no Signal.
    let before = tenant.identities().await;
    tenant
        .post(
            &format!("/v1/connections/{connection}/sync"),
            &json!({ "mode": "full" }),
        )
        .await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_facts_without_webhooks() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    system.drain().await;
    system
        .sim(
            "faults",
            json!({ "target": "delivery", "effect": "drop_silently" }),
        )
        .await;
    system
        .sim(
            "github/generate",
            json!({ "count": 120, "account": account }),
        )
        .await;
    let before = tenant.identities().await.len();
    tenant
        .post(
            &format!("/v1/connections/{connection}/sync"),
            &json!({ "mode": "incremental" }),
        )
        .await;
    tenant.assert_equals_ledger(&account).await;
    assert!(
        tenant.identities().await.len() > before,
        "polling found something"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_deliveries_are_redelivered() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    system.drain().await;
    system
        .sim(
            "faults",
            json!({ "target": "delivery", "effect": "drop", "percent": 40.0 }),
        )
        .await;
    system
        .sim(
            "github/generate",
            json!({ "count": 100, "account": account }),
        )
        .await;
    system.quiesce().await;
    system.clear_faults().await;
    system.redeliver().await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicated_late_and_reordered_deliveries_change_nothing() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    for fault in [
        json!({ "target": "delivery", "effect": "duplicate", "percent": 50.0 }),
        json!({ "target": "delivery", "effect": "reorder", "percent": 20.0 }),
        json!({ "target": "delivery", "effect": "delay", "percent": 10.0, "seconds": 0.3 }),
    ] {
        system.sim("faults", fault).await;
    }
    system
        .sim(
            "github/generate",
            json!({ "count": 200, "account": account }),
        )
        .await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tenant_sees_nothing() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (2, 10))
        .start()
        .await;
    let accounts = system.accounts().await;
    let (first, second) = (system.tenant("Acme").await, system.tenant("Globex").await);
    first.connect(&accounts[0].0, &accounts[0].1).await;
    second.connect(&accounts[1].0, &accounts[1].1).await;
    system.sim("github/generate", json!({ "count": 100 })).await;
    first.assert_equals_ledger_after_poll(&accounts[0].0).await;
    second.assert_equals_ledger_after_poll(&accounts[1].0).await;
    let both = first
        .identities()
        .await
        .intersection(&second.identities().await)
        .count();
    assert_eq!(both, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn account_belongs_to_one_tenant() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let (first, second) = (system.tenant("Acme").await, system.tenant("Globex").await);
    first.connect(&account, &admin).await;
    let response = second.run_connect_flow("github", &account, &admin).await;
    assert_eq!(response.status().as_u16(), 409);
    assert_eq!(second.identities().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_rejected_after_renewal_requires_no_reauthorization() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    tenant.connect(&account, &admin).await;
    system.drain().await;
    let refusal = json!({ "target": "request", "pattern": "GET /repos/*/releases",
        "effect": "unauthorized", "count": 2 });
    system.sim("faults", refusal).await;
    tenant.poll().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let connections = tenant.get("/v1/connections").await;
    assert_eq!(connections["connections"][0]["status"], "active");
}
