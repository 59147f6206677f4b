//! Jira, from the consent to the feed.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use tests::simulator::AdminWebhook;
use uuid::Uuid;

pub(crate) async fn acme(system: &System) -> (String, Tenant<'_>, Uuid) {
    let (account, admin) = system.accounts_at("jira").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("jira", &account, &admin).await;
    subscribed(system, 1).await;
    (account, tenant, connection)
}

/// Waits until so many webhooks are registered, and we know of them.
async fn subscribed(system: &System, wanted: usize) {
    eventually("webhooks are registered", async || {
        let held: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM delivery_routes WHERE subscription_id IS NOT NULL",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers");
        registered(system).await.len() == wanted && held == i64::try_from(wanted).expect("few")
    })
    .await;
}

async fn registered(system: &System) -> Vec<Value> {
    let url = format!("{}/_sim/jira/webhooks", system.simulator.base_url());
    let answer = system
        .client
        .get(url)
        .send()
        .await
        .expect("the simulator answers");
    let body: Value = answer.json().await.expect("JSON");
    body["webhooks"].as_array().expect("a list").clone()
}

/// Makes or rotates the connection's webhook secret.
pub(crate) async fn webhook_of(tenant: &Tenant<'_>, connection: Uuid) -> Value {
    let path = format!("/v1/connections/{connection}/webhook");
    let answer = tenant.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(answer.status().as_u16(), 201);
    answer.json().await.expect("JSON")
}

/// The site's administrator sets up a webhook with what the API answered.
fn set_up(system: &System, account: &str, made: &Value) {
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    let webhook = AdminWebhook {
        account: account.to_owned(),
        url: text("url"),
        secret: text("secret"),
    };
    system
        .simulator
        .change_jira(|jira| jira.admin_webhooks.push(webhook));
}

async fn generate(system: &System, account: &str, count: usize) {
    let body = json!({ "count": count, "account": account });
    system.sim("jira/generate", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_gives_every_issue_change_comment_worklog_and_sprint() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 100))
        .start()
        .await;
    let (account, tenant, _) = acme(&system).await;
    tenant.assert_equals_ledger(&account).await;
    assert!(
        tenant.identities().await.len() > 100,
        "there was something to read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_webhook_becomes_its_signals() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = acme(&system).await;
    generate(&system, &account, 300).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
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
    let (account, tenant, _) = acme(&system).await;
    system.drain().await;
    let sprints = async || -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM cursors WHERE stream LIKE 'sprints:%' AND retired_at IS NULL",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers")
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
        tenant.get("/v1/signals?limit=1").await["completeness"]["connections"][0].clone()
    };
    let told = poll().await;
    assert_eq!(sprints().await, before, "nothing is retired");
    assert_eq!(told["behind"], "denied", "{told:#}");
    assert_eq!(told["held_back_by"]["stream"], "boards", "{told:#}");
    assert_eq!(told["held_back_by"]["code"], "permission", "{told:#}");

    let url = format!("{}/_sim/faults", system.simulator.base_url());
    let answer = system.client.delete(url).send().await;
    assert!(answer.expect("the simulator answers").status().is_success());
    let told = poll().await;
    assert_eq!(told["behind"], Value::Null, "{told:#}");
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_polling_agree_on_identity() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 20)
        .start()
        .await;
    let (account, tenant, connection) = acme(&system).await;
    generate(&system, &account, 200).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    let before = tenant.identities().await;
    let path = format!("/v1/connections/{connection}/sync");
    tenant.post(&path, &json!({ "mode": "full" })).await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_what_no_webhook_told_and_the_index_showed_late() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = acme(&system).await;
    system.drain().await;
    let silence = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", silence).await;
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
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    assert!(tenant.identities().await.len() > before + 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_forged_late_and_doubled_attempts_change_nothing() {
    let system = System::with_fast_provider().start().await;
    system
        .simulator
        .change_jira(|jira| jira.retry_seconds = vec![0.1, 0.2, 0.3]);
    let (account, tenant, _) = acme(&system).await;
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
    system.assert_forgeries_were_refused().await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_reaches_both_tenants_that_work_with_a_site() {
    let system = System::with_fast_provider().start().await;
    let (account, first, _) = acme(&system).await;
    let people = system.account_of("jira", 0).await["people"].clone();
    let second = system.tenant("Globex").await;
    let other = people[1].as_str().expect("a person");
    second.connect_to("jira", &account, other).await;
    subscribed(&system, 2).await;
    generate(&system, &account, 80).await;
    first.assert_equals_ledger_after_a_poll(&account).await;
    second.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_over_several_sites_connects_the_one_that_is_chosen() {
    let system = System::with_fast_provider().start().await;
    let (first, admin) = system.accounts_at("jira").await.remove(0);
    let new = json!({ "name": "second", "member": admin, "history": 5 });
    let second = system.sim("jira/accounts", new).await["login"]
        .as_str()
        .expect("an id")
        .to_owned();
    let tenant = system.tenant("Acme").await;
    tenant.connect_to("jira", &second, &admin).await;
    subscribed(&system, 1).await;
    generate(&system, &first, 30).await;
    tenant.assert_equals_ledger_after_a_poll(&second).await;
    let (foreign, _) = system.ledger(&first);
    let told = tenant.identities().await;
    assert!(
        told.is_disjoint(&foreign),
        "the other site is none of this connection's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_rotate_and_a_lost_answer_is_survived() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = acme(&system).await;
    let admin = system.accounts_at("jira").await.remove(0).1;
    system.drain().await;
    for lost in [false, true, true] {
        if lost {
            let fault = json!({ "target": "request", "pattern": "oauth/token", "effect": "lose_response", "count": 1 });
            system.sim("faults", fault).await;
        }
        system.sim("jira/tokens", json!({ "expire": admin })).await;
        generate(&system, &account, 10).await;
        tenant.assert_equals_ledger_after_a_poll(&account).await;
    }
    let status = tenant.get("/v1/connections").await["connections"][0]["status"].clone();
    assert_eq!(status, "active");
    let lost: i64 =
        sqlx::query_scalar("SELECT count(*) FROM token_rotations WHERE outcome = 'transient'")
            .fetch_one(system.db.pool())
            .await
            .expect("Postgres answers");
    assert!(lost >= 1, "the journal shows what was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_grant_asks_for_a_person() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, _) = acme(&system).await;
    let admin = system.accounts_at("jira").await.remove(0).1;
    system.drain().await;
    system.sim("jira/tokens", json!({ "revoke": admin })).await;
    tenant
        .post("/v1/sync/jira", &json!({ "mode": "incremental" }))
        .await;
    eventually("the connection asks", async || {
        tenant.get("/v1/connections").await["connections"][0]["status"] == "needs_reauth"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_project_makes_another_webhook_before_the_old_one_ends() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = acme(&system).await;
    let before = registered(&system).await;
    let new = json!({ "account": account, "action": "project.created", "to": "NEXT" });
    system.sim("jira/act", new).await;
    tenant
        .post("/v1/sync/jira", &json!({ "mode": "incremental" }))
        .await;
    eventually("another webhook stands alone", async || {
        let now = registered(&system).await;
        now.len() == 1 && now[0]["id"] != before[0]["id"]
    })
    .await;
    let filter = registered(&system).await[0]["jql_filter"].clone();
    assert!(filter.as_str().expect("text").contains("NEXT"), "{filter}");
    subscribed(&system, 1).await;
    generate(&system, &account, 60).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnect_by_another_person_registers_webhooks_anew() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = acme(&system).await;
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
        registered(&system).await.len() == 2
    })
    .await;
    // Those of the first person end with that person's grant; nothing is polled from here on.
    system.sim("jira/tokens", json!({ "revoke": admin })).await;
    system.drain().await;
    let before = tenant.identities().await.len();
    generate(&system, &account, 40).await;
    system.drain().await;
    let told = tenant.identities().await.len();
    assert!(told > before + 10, "{before} before, {told} now");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_renewed_before_they_end() {
    let system = System::with_fast_provider().start().await;
    let (_, _, _) = acme(&system).await;
    let before = registered(&system).await;
    system.drain().await;
    // Their end comes near: for us by what we noted, for Jira by its clock.
    system
        .sim("clock", json!({ "advance_seconds": 25 * 24 * 3_600 }))
        .await;
    let admin = system.accounts_at("jira").await.remove(0).1;
    system.sim("jira/tokens", json!({ "expire": admin })).await;
    system.let_subscriptions_near_their_end().await;
    eventually("the webhook lives longer", async || {
        let now = registered(&system).await;
        now.len() == 1
            && now[0]["id"] == before[0]["id"]
            && now[0]["expires"] != before[0]["expires"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_whose_answer_was_lost_is_taken_on() {
    let system = System::with_fast_provider().start().await;
    let fault = json!({ "target": "request", "pattern": "POST*/rest/api/3/webhook", "effect": "lose_response", "count": 1 });
    system.sim("faults", fault).await;
    let (account, tenant, _) = acme(&system).await;
    assert_eq!(registered(&system).await.len(), 1, "it was not made twice");
    generate(&system, &account, 30).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrators_webhooks_tell_what_no_app_may_ask_for() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = acme(&system).await;
    let made = webhook_of(&tenant, connection).await;
    set_up(&system, &account, &made);
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
async fn disconnecting_deletes_the_webhook() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = acme(&system).await;
    let path = format!("/v1/connections/{connection}");
    let answer = tenant.request(reqwest::Method::DELETE, &path, None).await;
    assert_eq!(answer.status().as_u16(), 204);
    assert!(registered(&system).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_outages_of_jira_delay_and_lose_nothing() {
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
    let (account, tenant, _) = acme(&system).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_backfill_does_not_wait_for_a_long_one() {
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
    eventually("the long backfill has begun", async || {
        !first.identities().await.is_empty()
    })
    .await;
    // While the app's budget is spent, whoever connects is asked to begin again.
    let (login, admin) = (text("login"), text("admin"));
    let mut short = Uuid::nil();
    eventually("the second is let in", async || {
        let answer = second.walk_to("jira", &login, &admin).await;
        let (status, body) = (answer.status(), answer.json::<Value>().await);
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
            .expect("Postgres answers")
    };
    eventually("the short backfill is done", async || done(short).await).await;
    assert!(!done(long).await, "the long one goes on");
}
