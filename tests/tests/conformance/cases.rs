//! Test cases that every provider must pass.

use reqwest::Method;
use serde_json::{Value, json};
use tests::harness::{CompletenessReader, System, Tenant, eventually};
use uuid::Uuid;

pub(crate) use crate::pace::backfill_and_poll_end_at_default_pace;
use crate::provider::{Provider, with_history};

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

pub(crate) async fn invalid_cursor_causes_bounded_resync(provider: &Provider) {
    let system = with_history(20).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    connected
        .tenant
        .assert_equals_ledger(&connected.account)
        .await;
    sqlx::query(
        "UPDATE cursors SET cursor = '{\"of\":\"another version\"}', version = version + 1",
    )
    .execute(system.db.pool())
    .await
    .expect("invalid cursors");
    provider.generate(&system, &connected.account, 30).await;
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
    let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE state = 'dead'")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    assert_eq!(dead, 0);
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

pub(crate) async fn refresh_is_single_flight_across_workers(provider: &Provider) {
    let system = with_history(0)
        .env("POBLYSH_WORKER_CONCURRENCY", "64")
        .workers(4)
        .out_of_process()
        .start()
        .await;
    let connected = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    // The refresh takes a second, in which the other workers request a token.
    let slow = json!({ "effect": "slow", "seconds": 1.0 });
    provider.fault(&system, provider.token_requests, slow).await;
    provider.expire(&system, &connected).await;
    let before = provider.count_refreshes(&system).await;
    sqlx::query("UPDATE credentials SET expires_at = now() - interval '1 second'")
        .execute(system.db.pool())
        .await
        .expect("expired");
    enqueue_lookups(
        &system,
        &connected.tenant,
        provider.slug,
        connected.connection,
        200,
    )
    .await;
    system.drain().await;
    let lookups: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM job_history WHERE kind = 'resolve_directory' AND state = 'succeeded'",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the query result");
    assert!(lookups >= 200, "{lookups} lookups");
    assert_eq!(provider.count_refreshes(&system).await - before, 1);
}

/// Enqueues jobs that each need a token.
async fn enqueue_lookups(
    system: &System,
    tenant: &Tenant<'_>,
    provider: &str,
    connection: Uuid,
    count: i32,
) {
    sqlx::query(
        "INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, priority, payload) \
         SELECT $1, gen_random_uuid(), 'resolve_directory', $2, $3, 15, json_build_object( \
             'kind', 'resolve_directory', 'deliveries', '[]'::json, 'keys', \
             json_build_array(json_build_object('kind', 'bot', 'id', 'B' || n))) \
         FROM generate_series(1, $4) n",
    )
    .bind(tenant.id)
    .bind(provider)
    .bind(connection)
    .bind(count)
    .execute(system.db.pool())
    .await
    .expect("jobs");
}

pub(crate) async fn revoked_grant_requires_reauthorization_but_outage_does_not(
    provider: &Provider,
) {
    let system = with_history(0).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let status = async || {
        let path = format!("/v1/connections/{}", connected.connection);
        connected.tenant.get(&path).await["status"].clone()
    };
    let outage = json!({ "effect": "status", "status": 503, "count": 2 });
    provider
        .fault(&system, provider.token_requests, outage)
        .await;
    provider.expire(&system, &connected).await;
    provider.poll(&connected.tenant).await;
    system.drain().await;
    assert_eq!(status().await, "active", "an outage revokes no grant");
    system.assert_faults_applied().await;
    // Other providers send an event, which their own tests cover.
    if let Some(revoke) = provider.revoke {
        let body = revoke(&connected.account, &connected.admin);
        let commands = system.simulator.token_commands(provider.slug);
        system.sim(&commands, body).await;
        provider.poll(&connected.tenant).await;
        eventually("the connection needs reauthorization", async || {
            status().await == "needs_reauth"
        })
        .await;
    }
}

pub(crate) async fn connecting_survives_delayed_token_acceptance(provider: &Provider) {
    let system = with_history(0).start().await;
    let rejected = json!({ "effect": "unauthorized", "count": 2 });
    provider
        .fault(&system, provider.identity_requests, rejected)
        .await;
    let connected = provider.connect(&system, "Acme", 0).await;
    assert!(
        system.faults().await.is_empty(),
        "two requests were rejected"
    );
    let path = format!("/v1/connections/{}", connected.connection);
    assert_eq!(connected.tenant.get(&path).await["status"], "active");
}

pub(crate) async fn rejected_tokens_end_no_grant(provider: &Provider) {
    let system = with_history(5).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    // As with a new token that is accepted only after seconds, and in an outage.
    let rejected = json!({ "effect": "unauthorized", "count": provider.rejected_requests });
    provider
        .fault(&system, provider.page_requests, rejected)
        .await;
    provider.generate(&system, &connected.account, 10).await;
    provider.poll(&connected.tenant).await;
    let path = format!("/v1/connections/{}", connected.connection);
    eventually("all requests were rejected", async || {
        let connection = connected.tenant.get(&path).await;
        assert_eq!(connection["status"], "active", "{connection:#}");
        // A run may end before all faults were applied; the next one resumes it.
        provider.poll(&connected.tenant).await;
        system.faults().await.is_empty()
    })
    .await;
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
}

pub(crate) async fn disconnecting_ends_everything(provider: &Provider) {
    let system = with_history(5).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    connected
        .tenant
        .assert_equals_ledger(&connected.account)
        .await;
    let before = connected.tenant.identities().await;
    let path = format!("/v1/connections/{}", connected.connection);
    for _ in 0..2 {
        let response = connected.tenant.request(Method::DELETE, &path, None).await;
        assert_eq!(response.status().as_u16(), 204);
    }
    let left: Vec<(String, i64)> = sqlx::query_as(
        "SELECT 'credentials', count(*) FROM credentials UNION ALL \
         SELECT 'cursors', count(*) FROM cursors UNION ALL \
         SELECT 'subscriptions', count(*) FROM subscriptions UNION ALL \
         SELECT 'delivery_routes', count(*) FROM delivery_routes UNION ALL \
         SELECT 'directory_entries', count(*) FROM directory_entries",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    assert!(left.iter().all(|(_, count)| *count == 0), "{left:?}");
    provider.generate(&system, &connected.account, 20).await;
    system.drain().await;
    assert_eq!(
        connected.tenant.identities().await,
        before,
        "Signals stay, and none is added"
    );
    let connection: Value = connected.tenant.get(&path).await;
    assert_eq!(connection["status"], "disconnected");
}
