//! What every provider must do.

use reqwest::Method;
use serde_json::{Value, json};
use tests::harness::{CompletenessReader, System, Tenant, eventually};
use uuid::Uuid;

pub(crate) use crate::pace::backfill_and_poll_end_at_default_pace;
use crate::provider::{Provider, with_history};

pub(crate) async fn connecting_reads_the_past_in_pages(provider: &Provider) {
    let system = with_history(150).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    of.tenant.assert_equals_ledger(&of.account).await;
    let told = of.tenant.identities().await.len();
    assert!(told > 100, "there was more than a page to read: {told}");
}

pub(crate) async fn webhooks_become_signals(provider: &Provider) {
    let system = with_history(0).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let before = of.tenant.identities().await.len();
    provider.generate(&system, &of.account, 200).await;
    system.drain().await;
    assert!(of.tenant.identities().await.len() > before + 50);
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
}

pub(crate) async fn webhooks_and_polling_agree_on_identity(provider: &Provider) {
    let system = with_history(15).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    provider.generate(&system, &of.account, 120).await;
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
    // Everything is read once more from the beginning: nothing is told twice.
    let before = of.tenant.identities().await;
    let path = format!("/v1/connections/{}/sync", of.connection);
    of.tenant.post(&path, &json!({ "mode": "full" })).await;
    system.drain().await;
    assert_eq!(of.tenant.identities().await, before);
}

pub(crate) async fn polling_finds_what_no_webhook_told(provider: &Provider) {
    let system = with_history(0).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let silence = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", silence).await;
    provider.generate(&system, &of.account, 120).await;
    let before = of.tenant.identities().await.len();
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
    assert!(of.tenant.identities().await.len() > before);
}

pub(crate) async fn forged_unsigned_and_oversized_deliveries_are_refused_and_change_nothing(
    provider: &Provider,
) {
    let system = with_history(0).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
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
    provider.generate(&system, &of.account, 80).await;
    system.quiesce().await;
    system.assert_forgeries_were_refused().await;
    system.clear_faults().await;
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;

    // A stranger who knows the address and nothing else.
    let url = format!("{}/webhooks/{}", system.ingress, provider.slug);
    let post = system.client.post(url).body("{}").send().await;
    assert_eq!(post.expect("an answer").status().as_u16(), 401);
}

pub(crate) async fn doubled_late_and_reordered_deliveries_change_nothing(provider: &Provider) {
    let system = with_history(0).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    for fault in [
        json!({ "target": "delivery", "effect": "duplicate", "percent": 50.0 }),
        json!({ "target": "delivery", "effect": "reorder", "percent": 20.0, "seconds": 0.4 }),
        json!({ "target": "delivery", "effect": "delay", "percent": 10.0, "seconds": 0.3 }),
    ] {
        system.sim("faults", fault).await;
    }
    provider.generate(&system, &of.account, 150).await;
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
}

pub(crate) async fn a_cursor_that_cannot_be_honoured_becomes_a_bounded_resync(provider: &Provider) {
    let system = with_history(20).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    of.tenant.assert_equals_ledger(&of.account).await;
    sqlx::query(
        "UPDATE cursors SET cursor = '{\"of\":\"another version\"}', version = version + 1",
    )
    .execute(system.db.pool())
    .await
    .expect("cursors of nobody");
    provider.generate(&system, &of.account, 30).await;
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
}

pub(crate) async fn a_rate_limit_delays_and_costs_no_try(provider: &Provider) {
    let system = with_history(15).start().await;
    let limit = json!({ "effect": "too_many_requests", "seconds": 3.0, "count": 1 });
    provider.fault(&system, provider.reading, limit).await;
    let of = provider.connect(&system, "Acme", 0).await;
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
    let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE state = 'dead'")
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers");
    assert_eq!(dead, 0);
    system.assert_faults_were_met().await;
}

pub(crate) async fn outages_lose_nothing(provider: &Provider) {
    let system = with_history(15).start().await;
    for effect in ["status", "reset", "truncate"] {
        let fault = json!({ "effect": effect, "count": 1 });
        provider.fault(&system, provider.reading, fault).await;
    }
    let of = provider.connect(&system, "Acme", 0).await;
    let mut reader = CompletenessReader::new(&of.tenant, &[&of.account]);
    let path = format!("/v1/connections/{}", of.connection);
    eventually("the past is read", async || {
        reader.assert_completeness_holds().await;
        // A run may end before all faults were met; the next one resumes it.
        provider.poll(&of.tenant).await;
        of.tenant.get(&path).await["backfilled_at"].is_string()
    })
    .await;
    system.assert_faults_were_met().await;
    system.drain().await;

    // Meanwhile things happen of which no delivery comes.
    let silence = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", silence).await;
    for action in provider.pace.found_by_polling {
        let act = json!({ "account": of.account, "action": action });
        system.sim(&format!("{}/act", provider.slug), act).await;
    }
    let outage = json!({ "effect": "status", "status": 503, "count": 2 });
    provider.fault(&system, provider.reading, outage).await;
    provider.poll(&of.tenant).await;
    eventually("the lists were read", async || {
        reader.assert_completeness_holds().await;
        of.tenant.difference(&[&of.account]).await.0.is_empty()
    })
    .await;
    system.assert_faults_were_met().await;
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
    reader.assert_completeness_holds().await;
    assert!(reader.compared() > 0, "no page promised a fact");
}

pub(crate) async fn a_run_that_was_given_up_hides_nothing_from_the_next(provider: &Provider) {
    let system = with_history(0).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let silence = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", silence).await;
    provider.generate(&system, &of.account, 80).await;
    let outage = json!({ "effect": "status", "status": 503 });
    provider.fault(&system, provider.following, outage).await;
    provider.poll(&of.tenant).await;
    let mut job = None;
    eventually("the run has failed on its way", async || {
        job = sqlx::query_scalar::<_, Uuid>(
            "SELECT id FROM jobs WHERE kind = 'sync_connection' AND state = 'queued' AND attempts > 0",
        )
        .fetch_optional(system.db.pool())
        .await
        .expect("Postgres answers");
        job.is_some()
    })
    .await;
    let path = format!("/v1/jobs/{}/cancel", job.expect("a job"));
    of.tenant.post(&path, &json!({})).await;
    provider.generate(&system, &of.account, 80).await;
    system.clear_faults().await;
    provider.poll(&of.tenant).await;
    of.tenant.assert_equals_ledger(&of.account).await;
}

pub(crate) async fn a_foreign_tenant_sees_nothing(provider: &Provider) {
    let system = with_history(10).start().await;
    let first = provider.connect(&system, "Acme", 0).await;
    let second = provider.connect(&system, "Globex", 1).await;
    let path = format!("{}/generate", provider.slug);
    system.sim(&path, json!({ "count": 120 })).await;
    first
        .tenant
        .assert_equals_ledger_after_a_poll(&first.account)
        .await;
    second
        .tenant
        .assert_equals_ledger_after_a_poll(&second.account)
        .await;
    let both = first
        .tenant
        .identities()
        .await
        .intersection(&second.tenant.identities().await)
        .count();
    assert_eq!(both, 0);
    let path = format!("/v1/connections/{}", first.connection);
    let answer = second.tenant.request(Method::GET, &path, None).await;
    assert_eq!(answer.status().as_u16(), 404);
}

pub(crate) async fn one_refresh_however_many_workers_ask(provider: &Provider) {
    let system = with_history(0)
        .env("POBLYSH_WORKER_CONCURRENCY", "64")
        .workers(4)
        .outside()
        .start()
        .await;
    let of = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    // It takes a moment, in which the others come.
    let slow = json!({ "effect": "slow", "seconds": 1.0 });
    provider.fault(&system, provider.token, slow).await;
    provider.expire(&system, &of).await;
    let before = provider.renewed(&system).await;
    sqlx::query("UPDATE credentials SET expires_at = now() - interval '1 second'")
        .execute(system.db.pool())
        .await
        .expect("expired");
    ask_for_names(&system, &of.tenant, provider.slug, of.connection, 200).await;
    system.drain().await;
    let asked: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM job_history WHERE kind = 'look_up' AND state = 'succeeded'",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("Postgres answers");
    assert!(asked >= 200, "{asked} asked");
    assert_eq!(provider.renewed(&system).await - before, 1);
}

/// Enqueues jobs of which each needs a token at once.
async fn ask_for_names(
    system: &System,
    tenant: &Tenant<'_>,
    provider: &str,
    connection: Uuid,
    count: i32,
) {
    sqlx::query(
        "INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, priority, payload) \
         SELECT $1, gen_random_uuid(), 'look_up', $2, $3, 15, json_build_object( \
             'kind', 'look_up', 'deliveries', '[]'::json, 'keys', \
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

pub(crate) async fn a_withdrawn_grant_asks_for_a_person_and_an_outage_does_not(
    provider: &Provider,
) {
    let system = with_history(0).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    let status = async || {
        let path = format!("/v1/connections/{}", of.connection);
        of.tenant.get(&path).await["status"].clone()
    };
    let outage = json!({ "effect": "status", "status": 503, "count": 2 });
    provider.fault(&system, provider.token, outage).await;
    provider.expire(&system, &of).await;
    provider.poll(&of.tenant).await;
    system.drain().await;
    assert_eq!(status().await, "active", "an outage ends no grant");
    system.assert_faults_were_met().await;
    // Some providers tell of it instead, which their own tests cover.
    if let Some(revoke) = provider.revoke {
        let body = revoke(&of.account, &of.admin);
        system.sim(&format!("{}/tokens", provider.slug), body).await;
        provider.poll(&of.tenant).await;
        eventually("a person is asked for", async || {
            status().await == "needs_reauth"
        })
        .await;
    }
}

pub(crate) async fn connecting_survives_a_token_that_is_accepted_after_seconds(
    provider: &Provider,
) {
    let system = with_history(0).start().await;
    let refused = json!({ "effect": "unauthorized", "count": 2 });
    provider.fault(&system, provider.proof, refused).await;
    let of = provider.connect(&system, "Acme", 0).await;
    assert!(system.faults().await.is_empty(), "two refusals were met");
    let path = format!("/v1/connections/{}", of.connection);
    assert_eq!(of.tenant.get(&path).await["status"], "active");
}

pub(crate) async fn refused_tokens_end_no_grant(provider: &Provider) {
    let system = with_history(5).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    system.drain().await;
    // As when a new token is accepted only seconds after it was made, and as in an outage.
    let refused = json!({ "effect": "unauthorized", "count": 30 });
    provider.fault(&system, provider.reading, refused).await;
    provider.generate(&system, &of.account, 10).await;
    provider.poll(&of.tenant).await;
    let path = format!("/v1/connections/{}", of.connection);
    eventually("every refusal was met", async || {
        let connection = of.tenant.get(&path).await;
        assert_eq!(connection["status"], "active", "{connection:#}");
        // A run may end before all have been met; the next one goes on.
        provider.poll(&of.tenant).await;
        system.faults().await.is_empty()
    })
    .await;
    of.tenant
        .assert_equals_ledger_after_a_poll(&of.account)
        .await;
}

pub(crate) async fn disconnecting_ends_everything(provider: &Provider) {
    let system = with_history(5).start().await;
    let of = provider.connect(&system, "Acme", 0).await;
    of.tenant.assert_equals_ledger(&of.account).await;
    let before = of.tenant.identities().await;
    let path = format!("/v1/connections/{}", of.connection);
    for _ in 0..2 {
        let answer = of.tenant.request(Method::DELETE, &path, None).await;
        assert_eq!(answer.status().as_u16(), 204);
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
    .expect("Postgres answers");
    assert!(left.iter().all(|(_, count)| *count == 0), "{left:?}");
    provider.generate(&system, &of.account, 20).await;
    system.drain().await;
    assert_eq!(
        of.tenant.identities().await,
        before,
        "Signals stay, and no more come"
    );
    let connection: Value = of.tenant.get(&path).await;
    assert_eq!(connection["status"], "disconnected");
}
