//! Test cases that every provider must pass.

use reqwest::Method;
use serde_json::json;
use tests::harness::{CompletenessReader, eventually};
use uuid::Uuid;

pub(crate) use crate::grants::{
    connecting_survives_delayed_token_acceptance, disconnecting_ends_everything,
    refresh_is_single_flight_across_workers, rejected_tokens_end_no_grant,
    revoked_grant_requires_reauthorization_but_outage_does_not,
};
pub(crate) use crate::pace::backfill_and_poll_end_at_default_pace;
use crate::provider::{Provider, with_history};
pub(crate) use crate::resync::invalid_cursor_causes_bounded_resync;

pub(crate) async fn backfill_reads_history_in_pages(provider: &Provider) {
    let system = with_history(150).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    connected
        .tenant
        .assert_equals_ledger(&connected.account)
        .await;
    let count = connected.tenant.identities().await.len();
    assert!(count > 100, "more than one page: {count}");
}

pub(crate) async fn webhooks_become_signals(provider: &Provider) {
    let system = with_history(0).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let before = connected.tenant.identities().await.len();
    provider.generate(&system, &connected.account, 200).await;
    system.drain().await;
    assert!(connected.tenant.identities().await.len() > before + 50);
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
}

pub(crate) async fn webhooks_and_polling_agree_on_identity(provider: &Provider) {
    let system = with_history(15).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    provider.generate(&system, &connected.account, 120).await;
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
    // A full sync reads everything again and adds no Signal.
    let before = connected.tenant.identities().await;
    let path = format!("/v1/connections/{}/sync", connected.connection);
    connected
        .tenant
        .post(&path, &json!({ "mode": "full" }))
        .await;
    system.drain().await;
    assert_eq!(connected.tenant.identities().await, before);
}

pub(crate) async fn polling_finds_facts_without_webhooks(provider: &Provider) {
    let system = with_history(0).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    provider.generate(&system, &connected.account, 120).await;
    let before = connected.tenant.identities().await.len();
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
    assert!(connected.tenant.identities().await.len() > before);
}

pub(crate) async fn forged_or_oversized_deliveries_change_nothing(provider: &Provider) {
    let system = with_history(0).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    for effect in [
        "wrong_signature",
        "no_signature",
        "old_signature",
        "oversize",
    ] {
        let fault = json!({ "target": "delivery", "effect": effect, "percent": 10.0 });
        system.sim("faults", fault).await;
    }
    // A provider may send one push for a burst of facts.
    for _ in 0..16 {
        provider.generate(&system, &connected.account, 5).await;
        system.quiesce().await;
    }
    system.assert_forged_deliveries_rejected().await;
    system.clear_faults().await;
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;

    // A client without the secret.
    let url = format!("{}/webhooks/{}", system.ingress, provider.slug);
    let post = system.client.post(url).body("{}").send().await;
    assert_eq!(post.expect("a response").status().as_u16(), 401);
}

pub(crate) async fn duplicated_late_and_reordered_deliveries_change_nothing(provider: &Provider) {
    let system = with_history(0).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    for fault in [
        json!({ "target": "delivery", "effect": "duplicate", "percent": 50.0 }),
        json!({ "target": "delivery", "effect": "reorder", "percent": 20.0, "seconds": 0.4 }),
        json!({ "target": "delivery", "effect": "delay", "percent": 10.0, "seconds": 0.3 }),
    ] {
        system.sim("faults", fault).await;
    }
    provider.generate(&system, &connected.account, 150).await;
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
}

pub(crate) async fn rate_limit_delays_without_costing_an_attempt(provider: &Provider) {
    let system = with_history(15).start().await;
    let limit = json!({ "effect": "too_many_requests", "seconds": 3.0, "count": 1 });
    provider.fault(&system, provider.page_requests, limit).await;
    let connected = provider.connect(&system, "Acme", 0).await;
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
    system.assert_no_dead_jobs().await;
    system.assert_faults_applied().await;
}

pub(crate) async fn outages_lose_nothing(provider: &Provider) {
    let system = with_history(15).start().await;
    for effect in ["status", "reset", "truncate"] {
        let fault = json!({ "effect": effect, "count": 1 });
        provider.fault(&system, provider.page_requests, fault).await;
    }
    let connected = provider.connect(&system, "Acme", 0).await;
    let mut reader = CompletenessReader::new(&connected.tenant, &[&connected.account]);
    let path = format!("/v1/connections/{}", connected.connection);
    eventually("the past is read", async || {
        reader.assert_completeness_holds().await;
        // A run may end before all faults were applied; the next one resumes it.
        provider.poll(&connected.tenant).await;
        connected.tenant.get(&path).await["backfilled_at"].is_string()
    })
    .await;
    system.assert_faults_applied().await;
    system.drain().await;

    // Facts happen without deliveries.
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    for action in provider.pace.found_by_polling {
        let act = json!({ "account": connected.account, "action": action });
        system.sim(&format!("{}/act", provider.slug), act).await;
    }
    let outage = json!({ "effect": "status", "status": 503, "count": 2 });
    provider
        .fault(&system, provider.page_requests, outage)
        .await;
    provider.poll(&connected.tenant).await;
    eventually("the feed has all facts", async || {
        reader.assert_completeness_holds().await;
        connected
            .tenant
            .difference(&[&connected.account])
            .await
            .0
            .is_empty()
    })
    .await;
    system.assert_faults_applied().await;
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
    reader.assert_completeness_holds().await;
    assert!(reader.compared() > 0, "no page promised a fact");
}

pub(crate) async fn cancelled_run_hides_nothing_from_next_run(provider: &Provider) {
    let system = with_history(0).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    provider.generate(&system, &connected.account, 80).await;
    let outage = json!({ "effect": "status", "status": 503 });
    provider
        .fault(&system, provider.next_page_requests, outage)
        .await;
    provider.poll(&connected.tenant).await;
    let mut job = None;
    eventually("the run has failed once", async || {
        job = sqlx::query_scalar::<_, Uuid>(
            "SELECT id FROM jobs WHERE kind = 'sync_connection' AND state = 'queued' AND attempts > 0",
        )
        .fetch_optional(system.db.pool())
        .await
        .expect("the query result");
        job.is_some()
    })
    .await;
    let path = format!("/v1/jobs/{}/cancel", job.expect("a job"));
    connected.tenant.post(&path, &json!({})).await;
    provider.generate(&system, &connected.account, 80).await;
    system.clear_faults().await;
    provider.poll(&connected.tenant).await;
    connected
        .tenant
        .assert_equals_ledger(&connected.account)
        .await;
}

pub(crate) async fn other_tenant_sees_nothing(provider: &Provider) {
    let system = with_history(10).start().await;
    let first = provider.connect(&system, "Acme", 0).await;
    let second = provider.connect(&system, "Globex", 1).await;
    let path = format!("{}/generate", provider.slug);
    system.sim(&path, json!({ "count": 120 })).await;
    first
        .tenant
        .assert_equals_ledger_after_poll(&first.account)
        .await;
    second
        .tenant
        .assert_equals_ledger_after_poll(&second.account)
        .await;
    let both = first
        .tenant
        .identities()
        .await
        .intersection(&second.tenant.identities().await)
        .count();
    assert_eq!(both, 0);
    let path = format!("/v1/connections/{}", first.connection);
    let response = second.tenant.request(Method::GET, &path, None).await;
    assert_eq!(response.status().as_u16(), 404);
}
