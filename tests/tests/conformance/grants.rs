//! Test cases of tokens and grants that every provider must pass.

use reqwest::Method;
use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

use crate::provider::{Provider, with_history};

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
