//! Jira, from the connect flow to the feed.

use provider_sim::jira::AdminWebhook;
use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

pub(crate) async fn connect_acme(system: &System) -> (String, Tenant<'_>, Uuid) {
    let (account, admin) = system.accounts_at("jira").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("jira", &account, &admin).await;
    wait_for_subscriptions(system, 1).await;
    (account, tenant, connection)
}

/// Waits until this number of webhooks is registered at Jira and stored as subscriptions.
pub(crate) async fn wait_for_subscriptions(system: &System, expected: usize) {
    eventually("webhooks are registered", async || {
        let stored: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM delivery_routes WHERE subscription_id IS NOT NULL",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        list_webhooks(system).await.len() == expected
            && stored == i64::try_from(expected).expect("few")
    })
    .await;
}

pub(crate) async fn list_webhooks(system: &System) -> Vec<Value> {
    let url = format!("{}/_sim/jira/webhooks", system.simulator.base_url());
    let response = system
        .client
        .get(url)
        .send()
        .await
        .expect("a simulator response");
    let body: Value = response.json().await.expect("JSON");
    body["webhooks"].as_array().expect("a list").clone()
}

/// Creates or rotates the connection's webhook secret.
pub(crate) async fn rotate_webhook_secret(tenant: &Tenant<'_>, connection: Uuid) -> Value {
    let path = format!("/v1/connections/{connection}/webhook");
    let response = tenant.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(response.status().as_u16(), 201);
    response.json().await.expect("JSON")
}

/// Creates the administrator's webhook at the site, with the URL and secret of the API.
fn create_admin_webhook(system: &System, account: &str, webhook: &Value) {
    let text = |name: &str| webhook[name].as_str().expect("text").to_owned();
    let webhook = AdminWebhook {
        account: account.to_owned(),
        url: text("url"),
        secret: text("secret"),
    };
    system
        .simulator
        .change_jira(|jira| jira.admin_webhooks.push(webhook));
}

pub(crate) async fn generate(system: &System, account: &str, count: usize) {
    let body = json!({ "count": count, "account": account });
    system.sim("jira/generate", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_gives_every_visible_fact() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 100))
        .start()
        .await;
    let (account, tenant, _) = connect_acme(&system).await;
    tenant.assert_equals_ledger(&account).await;
    assert!(
        tenant.identities().await.len() > 100,
        "there was something to read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_webhook_becomes_its_signals() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = connect_acme(&system).await;
    generate(&system, &account, 300).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let feed = tenant.feed().await;
    for kind in [
        "issue_closed",
        "issue_status_changed",
        "issue_assigned",
        "issue_commented",
    ] {
        assert!(feed.iter().any(|signal| signal["kind"] == kind), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_boards_hold_completeness_back() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = connect_acme(&system).await;
    system.drain().await;
    let sprints = async || -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM cursors WHERE stream LIKE 'sprints:%' AND retired_at IS NULL",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
    };
    let before = sprints().await;
    assert!(before > 0, "the site has a board");
    let denied =
        json!({ "target": "request", "pattern": "/rest/agile/1.0/board", "effect": "forbidden" });
    system.sim("faults", denied).await;
    let poll = async || {
        let body = json!({ "mode": "incremental" });
        tenant.post("/v1/sync/jira", &body).await;
        system.drain().await;
        tenant.get_when_current("/v1/signals?limit=1").await["completeness"]["connections"][0]
            .clone()
    };
    let reported = poll().await;
    assert_eq!(sprints().await, before, "nothing is retired");
    assert_eq!(reported["behind"], "denied", "{reported:#}");
    assert_eq!(reported["held_back_by"]["stream"], "boards", "{reported:#}");
    assert_eq!(
        reported["held_back_by"]["code"], "permission",
        "{reported:#}"
    );

    let url = format!("{}/_sim/faults", system.simulator.base_url());
    let response = system.client.delete(url).send().await;
    assert!(
        response
            .expect("a simulator response")
            .status()
            .is_success()
    );
    let reported = poll().await;
    assert_eq!(reported["behind"], Value::Null, "{reported:#}");
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_polling_agree_on_identity() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 20)
        .start()
        .await;
    let (account, tenant, connection) = connect_acme(&system).await;
    generate(&system, &account, 200).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let before = tenant.identities().await;
    let path = format!("/v1/connections/{connection}/sync");
    tenant.post(&path, &json!({ "mode": "full" })).await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_unreported_and_late_indexed_facts() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = connect_acme(&system).await;
    system.drain().await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    system
        .simulator
        .change_jira(|jira| jira.index_lag_seconds = 3_600);
    generate(&system, &account, 120).await;
    let before = tenant.identities().await.len();
    tenant
        .post("/v1/sync/jira", &json!({ "mode": "incremental" }))
        .await;
    system.drain().await;
    system
        .simulator
        .change_jira(|jira| jira.index_lag_seconds = 0);
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert!(tenant.identities().await.len() > before + 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_forged_late_and_doubled_attempts_change_nothing() {
    let system = System::with_fast_provider().start().await;
    system
        .simulator
        .change_jira(|jira| jira.retry_seconds = vec![0.1, 0.2, 0.3]);
    let (account, tenant, _) = connect_acme(&system).await;
    system.drain().await;
    for fault in [
        json!({ "target": "delivery", "effect": "drop", "percent": 15.0 }),
        json!({ "target": "delivery", "effect": "duplicate", "percent": 30.0 }),
        json!({ "target": "delivery", "effect": "delay", "percent": 20.0, "seconds": 0.3 }),
        json!({ "target": "delivery", "effect": "reorder", "percent": 20.0, "seconds": 0.5 }),
        json!({ "target": "delivery", "effect": "wrong_signature", "percent": 10.0 }),
        json!({ "target": "delivery", "effect": "no_signature", "percent": 10.0 }),
        json!({ "target": "delivery", "effect": "old_signature", "percent": 10.0 }),
    ] {
        system.sim("faults", fault).await;
    }
    generate(&system, &account, 250).await;
    system.quiesce().await;
    system.assert_forged_deliveries_rejected().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_reaches_both_tenants_of_a_site() {
    let system = System::with_fast_provider().start().await;
    let (account, first, _) = connect_acme(&system).await;
    let people = system.account_of("jira", 0).await["people"].clone();
    let second = system.tenant("Globex").await;
    let other = people[1].as_str().expect("a person");
    second.connect_to("jira", &account, other).await;
    wait_for_subscriptions(&system, 2).await;
    generate(&system, &account, 80).await;
    first.assert_equals_ledger_after_poll(&account).await;
    second.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_over_several_sites_connects_the_chosen_one() {
    let system = System::with_fast_provider().start().await;
    let (first, admin) = system.accounts_at("jira").await.remove(0);
    let new = json!({ "name": "second", "member": admin, "history": 5 });
    let second = system.sim("jira/accounts", new).await["login"]
        .as_str()
        .expect("an id")
        .to_owned();
    let tenant = system.tenant("Acme").await;
    tenant.connect_to("jira", &second, &admin).await;
    wait_for_subscriptions(&system, 1).await;
    generate(&system, &first, 30).await;
    tenant.assert_equals_ledger_after_poll(&second).await;
    let (foreign, _) = system.ledger(&first);
    let reported = tenant.identities().await;
    assert!(
        reported.is_disjoint(&foreign),
        "the other site is not connected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn token_rotation_survives_lost_response() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = connect_acme(&system).await;
    let admin = system.accounts_at("jira").await.remove(0).1;
    system.drain().await;
    for lost in [false, true, true] {
        if lost {
            let fault = json!({ "target": "request", "pattern": "oauth/token", "effect": "lose_response", "count": 1 });
            system.sim("faults", fault).await;
        }
        system.sim("jira/tokens", json!({ "expire": admin })).await;
        generate(&system, &account, 10).await;
        tenant.assert_equals_ledger_after_poll(&account).await;
    }
    let status = tenant.get("/v1/connections").await["connections"][0]["status"].clone();
    assert_eq!(status, "active");
    let lost: i64 =
        sqlx::query_scalar("SELECT count(*) FROM token_refresh_log WHERE outcome = 'transient'")
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
    assert!(lost >= 1, "the token refresh log shows the lost response");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_grant_requires_reauthorization() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, _) = connect_acme(&system).await;
    let admin = system.accounts_at("jira").await.remove(0).1;
    system.drain().await;
    system.sim("jira/tokens", json!({ "revoke": admin })).await;
    tenant
        .post("/v1/sync/jira", &json!({ "mode": "incremental" }))
        .await;
    eventually("the connection needs reauthorization", async || {
        tenant.get("/v1/connections").await["connections"][0]["status"] == "needs_reauth"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administrator_webhook_delivers_worklogs() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = connect_acme(&system).await;
    let webhook = rotate_webhook_secret(&tenant, connection).await;
    create_admin_webhook(&system, &account, &webhook);
    system.drain().await;
    for _ in 0..5 {
        let work = json!({ "account": account, "action": "worklog.created" });
        system.sim("jira/act", work).await;
    }
    tenant.assert_equals_ledger(&account).await;
    let feed = tenant.feed().await;
    let work: Vec<_> = feed
        .iter()
        .filter(|signal| signal["kind"] == "work_logged")
        .collect();
    assert_eq!(work.len(), 5);
    assert!(
        work.iter()
            .all(|signal| signal["subject"]["key"].is_string()),
        "{work:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_limits_and_outages_lose_nothing() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 60))
        .start()
        .await;
    for fault in [
        json!({ "target": "request", "pattern": "search/jql", "effect": "too_many_requests", "seconds": 1.0, "count": 1 }),
        json!({ "target": "request", "pattern": "search/jql", "effect": "secondary_limit", "seconds": 1.0, "count": 1 }),
        json!({ "target": "request", "pattern": "project", "effect": "status", "status": 503, "count": 1 }),
        json!({ "target": "request", "pattern": "version", "effect": "truncate", "count": 1 }),
        json!({ "target": "request", "pattern": "search/jql", "effect": "slow_body", "seconds": 0.5, "count": 2 }),
        json!({ "target": "request", "pattern": "worklog", "effect": "reset", "count": 1 }),
    ] {
        system.sim("faults", fault).await;
    }
    let (account, tenant, _) = connect_acme(&system).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_backfill_does_not_wait_for_long_one() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 3_000))
        .env("POBLYSH_JIRA_POINTS_PER_SECOND", "20")
        .env("POBLYSH_JIRA_BURST", "150")
        .start()
        .await;
    let (long, admin) = system.accounts_at("jira").await.remove(0);
    let new = json!({ "name": "small", "history": 5 });
    let small = system.sim("jira/accounts", new).await;
    let text = |name: &str| small[name].as_str().expect("text").to_owned();
    let (first, second) = (system.tenant("Acme").await, system.tenant("Globex").await);
    let long = first.connect_to("jira", &long, &admin).await;
    eventually("the long backfill has started", async || {
        !first.identities().await.is_empty()
    })
    .await;
    // While the app's budget is used up, connecting returns 503 and is retried.
    let (login, admin) = (text("login"), text("admin"));
    let mut short = Uuid::nil();
    eventually("the second account is connected", async || {
        let response = second.run_connect_flow("jira", &login, &admin).await;
        let (status, body) = (response.status(), response.json::<Value>().await);
        let body = body.expect("JSON");
        if status == 503 && body["code"] == "provider_rate_limited" {
            return false;
        }
        assert!(status.is_success(), "{status} {body}");
        let id = body["connection"]["id"].as_str().expect("an id");
        short = id.parse().expect("a uuid");
        true
    })
    .await;
    let done = async |connection: Uuid| -> bool {
        sqlx::query_scalar("SELECT backfilled_at IS NOT NULL FROM connections WHERE id = $1")
            .bind(connection)
            .fetch_one(system.db.pool())
            .await
            .expect("the query result")
    };
    eventually("the short backfill is done", async || done(short).await).await;
    assert!(!done(long).await, "the long one is still running");
}
