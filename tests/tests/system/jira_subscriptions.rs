//! Webhooks that are registered at Jira: created, renewed, replaced, adopted and deleted.

use serde_json::{Value, json};
use tests::harness::{System, eventually};

use crate::jira::{connect_acme, generate, list_webhooks, wait_for_subscriptions};

#[tokio::test(flavor = "multi_thread")]
async fn new_project_replaces_webhook_without_gap() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = connect_acme(&system).await;
    let before = list_webhooks(&system).await;
    let new = json!({ "account": account, "action": "project.created", "to": "NEXT" });
    system.sim("jira/act", new).await;
    tenant
        .post("/v1/sync/jira", &json!({ "mode": "incremental" }))
        .await;
    eventually("only the new webhook is left", async || {
        let now = list_webhooks(&system).await;
        now.len() == 1 && now[0]["id"] != before[0]["id"]
    })
    .await;
    let filter = list_webhooks(&system).await[0]["jql_filter"].clone();
    assert!(filter.as_str().expect("text").contains("NEXT"), "{filter}");
    wait_for_subscriptions(&system, 1).await;
    generate(&system, &account, 60).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnect_by_another_person_registers_webhooks_anew() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = connect_acme(&system).await;
    system.drain().await;
    let people = system.account_of("jira", 0).await["people"].clone();
    let (_, admin) = system.accounts_at("jira").await.remove(0);
    let other = people.as_array().expect("people").iter();
    let other = other.filter_map(Value::as_str).find(|one| *one != admin);
    let again = tenant
        .connect_to("jira", &account, other.expect("another person"))
        .await;
    assert_eq!(again, connection, "the same connection resumes");
    eventually("webhooks of the other person are registered", async || {
        list_webhooks(&system).await.len() == 2
    })
    .await;
    // The first person's webhooks end with that person's grant. No poll follows.
    system.sim("jira/tokens", json!({ "revoke": admin })).await;
    system.drain().await;
    let before = tenant.identities().await.len();
    generate(&system, &account, 40).await;
    system.drain().await;
    let reported = tenant.identities().await.len();
    assert!(reported > before + 10, "{before} before, {reported} now");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_renewed_before_they_end() {
    let system = System::with_fast_provider().start().await;
    let (_, _, _) = connect_acme(&system).await;
    let before = list_webhooks(&system).await;
    system.drain().await;
    // The expiry is near, both by Jira's clock and by the stored subscription.
    system
        .sim("clock", json!({ "advance_seconds": 25 * 24 * 3_600 }))
        .await;
    let admin = system.accounts_at("jira").await.remove(0).1;
    system.sim("jira/tokens", json!({ "expire": admin })).await;
    system.set_subscriptions_near_expiry().await;
    eventually("the webhook is renewed", async || {
        let now = list_webhooks(&system).await;
        now.len() == 1
            && now[0]["id"] == before[0]["id"]
            && now[0]["expires"] != before[0]["expires"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_with_lost_response_is_adopted() {
    let system = System::with_fast_provider().start().await;
    let fault = json!({ "target": "request", "pattern": "POST*/rest/api/3/webhook", "effect": "lose_response", "count": 1 });
    system.sim("faults", fault).await;
    let (account, tenant, _) = connect_acme(&system).await;
    assert_eq!(list_webhooks(&system).await.len(), 1, "no duplicate");
    generate(&system, &account, 30).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_deletes_the_webhook() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = connect_acme(&system).await;
    let path = format!("/v1/connections/{connection}");
    let response = tenant.request(reqwest::Method::DELETE, &path, None).await;
    assert_eq!(response.status().as_u16(), 204);
    assert!(list_webhooks(&system).await.is_empty());
}
