//! Zoho Mail: data centers, the outgoing webhook, locks, and the limits of tokens.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

use crate::ingress::count_deliveries;

const SLUG: &str = "zoho_mail";

/// Starts a system with two workers and an account.
async fn start(history: usize) -> System {
    System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, history))
        .workers(2)
        .start()
        .await
}

/// Connects a mailbox and waits for its first read.
async fn connect<'a>(system: &'a System, name: &str) -> (String, Tenant<'a>, Uuid) {
    let (account, person) = system.accounts_at(SLUG).await.swap_remove(0);
    let tenant = system.tenant(name).await;
    let connection = tenant.connect_to(SLUG, &account, &person).await;
    system.drain().await;
    (account, tenant, connection)
}

/// Adds an account that lives in a data center; returns its login and its address.
async fn add_account(system: &System, data_center: &str) -> (String, String) {
    let new = json!({ "data_center": data_center, "people": 0, "history": 5 });
    let added = system.sim("zoho_mail/accounts", new).await;
    let text = |name: &str| added[name].as_str().expect("a login").to_owned();
    (text("login"), text("admin"))
}

/// Arms the connection's URL, sets up the webhook in the mailbox, and returns the URL.
async fn set_up_webhook(tenant: &Tenant<'_>, account: &str, connection: Uuid) -> String {
    let path = format!("/v1/connections/{connection}/webhook");
    let armed = tenant.post(&path, &json!({})).await;
    let url = armed["url"].as_str().expect("a URL").to_owned();
    let webhook = json!({ "account": account, "url": url });
    let webhook = tenant.system().sim("zoho/mail/webhook", webhook).await;
    assert_eq!(webhook["active"], true, "{webhook}");
    url
}

/// Carries out an action in a mailbox and returns the changed message.
async fn act(system: &System, account: &str, action: &str, rest: Value) -> Value {
    let mut body = json!({ "account": account, "action": action });
    for (name, value) in rest.as_object().expect("fields") {
        body[name] = value.clone();
    }
    system.sim("zoho_mail/act", body).await["object"].clone()
}

async fn simulated(system: &System, path: &str) -> Value {
    let url = format!("{}/_sim/{path}", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    response.json().await.expect("JSON")
}

async fn counter(system: &System, name: &str) -> u64 {
    let stats = simulated(system, "stats").await;
    stats["counters"][name].as_u64().unwrap_or_default()
}

async fn status(tenant: &Tenant<'_>, connection: Uuid) -> Value {
    let path = format!("/v1/connections/{connection}");
    tenant.get(&path).await["status"].clone()
}

/// Waits until every sync is postponed by more than a minute.
async fn eventually_postponed(system: &System) {
    eventually("every sync is postponed", async || {
        let (all, soon): (i64, i64) = sqlx::query_as(
            "SELECT count(*), count(*) FILTER (WHERE run_at < now() + interval '1 minute') \
             FROM jobs WHERE kind = 'sync_connection'",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        all > 0 && soon == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_by_three_ways_is_one_signal() {
    let system = start(0).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    set_up_webhook(&tenant, &account, connection).await;
    let subject = json!({ "subject": "R&D <Fünf>", "from_name": "Åsa" });
    let mail = act(&system, &account, "mail.received", subject).await;
    system.drain().await;
    assert_eq!(tenant.count_signals().await, 1, "without a poll");
    let feed = tenant.feed().await;
    assert_eq!(feed[0]["subject"]["title"], "R&D <Fünf>");
    assert_eq!(feed[0]["actor"]["name"], "Åsa");
    tenant.assert_equals_ledger_after_poll(&account).await;
    let moved = json!({ "message": mail["id"], "folder": "Projects" });
    act(&system, &account, "mail.moved", moved).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    tenant
        .assert_equals_ledger_after_reconciliation(&account)
        .await;
    assert_eq!(tenant.count_signals().await, 1);
    let texts: Vec<String> = sqlx::query_scalar(
        "SELECT convert_from(body, 'UTF8') FROM deliveries WHERE provider = 'zoho_mail'",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    let has_text = |text: &String| text.contains("\"html\"") || text.contains("\"summary\"");
    assert!(!texts.iter().any(has_text), "no text of a mail is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn second_secret_replaces_nothing() {
    let system = start(0).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    let url = set_up_webhook(&tenant, &account, connection).await;
    act(&system, &account, "mail.received", json!({})).await;
    system.drain().await;
    let before = count_deliveries(&system).await;
    let secret = system
        .client
        .post(&url)
        .header("x-hook-secret", "a strangers secret");
    let response = secret.send().await.expect("a response");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    for effect in ["stranger", "wrong_signature", "no_signature"] {
        let fault = json!({ "target": "delivery", "effect": effect });
        system.sim("faults", fault).await;
        act(&system, &account, "mail.received", json!({})).await;
        system.quiesce().await;
        system.clear_faults().await;
    }
    system.assert_forged_deliveries_rejected().await;
    assert_eq!(count_deliveries(&system).await, before);
    // The first secret is still the connection's.
    act(&system, &account, "mail.received", json!({})).await;
    system.drain().await;
    assert_eq!(count_deliveries(&system).await, before + 1);
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unarmed_connection_accepts_no_secret() {
    let system = start(0).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    let url = format!("{}/webhooks/{SLUG}/{connection}", system.ingress);
    let webhook = json!({ "account": account, "url": url });
    let refused = system.sim("zoho/mail/webhook", webhook).await;
    assert_eq!(refused["status"], 401, "{refused}");
    for (is_signed, has_sample) in [(true, true), (false, true), (false, false)] {
        system.simulator.change_zoho_mail(|mail| {
            (mail.handshake_signed, mail.handshake_sample) = (is_signed, has_sample);
        });
        set_up_webhook(&tenant, &account, connection).await;
        act(&system, &account, "mail.received", json!({})).await;
        system.drain().await;
    }
    assert_eq!(tenant.count_signals().await, 3, "each secret works");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_made_within_a_lock() {
    let system = start(0).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    system
        .simulator
        .change_zoho_mail(|mail| mail.calls_per_minute = Some(2));
    for _ in 0..3 {
        act(&system, &account, "mail.received", json!({})).await;
        tenant.poll().await;
        eventually_postponed(&system).await;
    }
    let locks = simulated(&system, "zoho/locks").await;
    assert_eq!(locks["locks"][0]["locks"], 1, "{locks}");
    assert_eq!(counter(&system, "zoho_mail.calls_in_lock").await, 0);
    assert_eq!(status(&tenant, connection).await, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_every_data_center_are_read() {
    let system = start(0).await;
    for data_center in ["us", "eu", "in", "ca", "cn"] {
        let (account, person) = add_account(&system, data_center).await;
        let tenant = system.tenant(data_center).await;
        tenant.connect_to(SLUG, &account, &person).await;
        tenant.assert_equals_ledger(&account).await;
        assert!(tenant.count_signals().await > 0, "{data_center}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_of_another_data_center_gets_no_code() {
    let system = start(0).await;
    let (account, person) = add_account(&system, "eu").await;
    let tenant = system.tenant("Acme").await;
    let base = system.simulator.base_url();
    for (location, server) in [
        (None, Some(format!("{base}/stranger"))),
        (None, Some(format!("{base}/zoho/us"))),
        (Some("us"), None),
        (Some("zz"), None),
    ] {
        system.simulator.change_zoho(|zoho| {
            zoho.location = location.map(str::to_owned);
            zoho.accounts_server = server.clone();
        });
        let response = tenant.run_connect_flow(SLUG, &account, &person).await;
        assert!(
            response.status().is_client_error(),
            "{location:?} {server:?}"
        );
    }
    let people = simulated(&system, "zoho/people").await;
    let people = people["people"].as_array().expect("people");
    assert!(
        people.iter().all(|one| one["refresh_tokens"] == 0),
        "{people:?}"
    );
    system.simulator.change_zoho(|zoho| {
        (zoho.location, zoho.accounts_server) = (None, None);
        zoho.trailing_ampersand = true;
    });
    tenant.connect_to(SLUG, &account, &person).await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_with_status_200_are_errors() {
    let system = start(3).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    system
        .simulator
        .change_zoho_mail(|mail| mail.errors_with_ok_status = true);
    // An expired token: 401 in the body.
    system
        .sim("zoho/tokens", json!({ "expire": account }))
        .await;
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert!(counter(&system, "zoho.refreshes").await > 0);
    let throttled = Some("Access Denied".to_owned());
    system
        .simulator
        .change_zoho(|zoho| zoho.token_error = throttled);
    system
        .sim("zoho/tokens", json!({ "expire": account }))
        .await;
    tenant.poll().await;
    eventually("a refresh was throttled", async || {
        let attempts: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM jobs WHERE kind = 'sync_connection' AND attempts > 0",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        attempts > 0
    })
    .await;
    assert_eq!(status(&tenant, connection).await, "active");
    system.simulator.change_zoho(|zoho| zoho.token_error = None);
    system
        .sim("zoho/tokens", json!({ "revoke": account }))
        .await;
    tenant.poll().await;
    eventually("the connection needs reauthorization", async || {
        status(&tenant, connection).await == "needs_reauth"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eleventh_refresh_is_not_asked_for() {
    let system = start(0).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    system
        .simulator
        .change_zoho(|zoho| zoho.access_tokens_per_window = Some(10));
    for _ in 0..10 {
        system
            .sim("zoho/tokens", json!({ "expire": account }))
            .await;
        tenant.poll().await;
        system.drain().await;
    }
    assert_eq!(counter(&system, "zoho.refreshes").await, 10);
    system
        .sim("zoho/tokens", json!({ "expire": account }))
        .await;
    tenant.poll().await;
    eventually_postponed(&system).await;
    assert_eq!(counter(&system, "zoho.refreshes").await, 10);
    assert_eq!(status(&tenant, connection).await, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn oldest_of_21_grants_needs_a_person() {
    let system = start(0).await;
    system
        .simulator
        .change_zoho(|zoho| zoho.refresh_tokens_per_minute = None);
    let mut connections = Vec::new();
    for number in 0..21 {
        let (account, tenant, connection) = connect(&system, &format!("Team {number}")).await;
        connections.push((account, tenant, connection));
    }
    let (account, ..) = &connections[0];
    // The oldest tokens may have ended already; the others live on.
    system
        .sim("zoho/tokens", json!({ "expire": account }))
        .await;
    for (_, tenant, _) in &connections {
        tenant.poll().await;
    }
    let (_, oldest, connection) = &connections[0];
    eventually("the oldest needs reauthorization", async || {
        status(oldest, *connection).await == "needs_reauth"
    })
    .await;
    system.drain().await;
    for (account, tenant, connection) in &connections[1..] {
        assert_eq!(status(tenant, *connection).await, "active");
        tenant.assert_equals_ledger(account).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_scope_is_named_and_degrades() {
    let system = start(3).await;
    let refused = vec!["ZohoMail.messages.READ".to_owned()];
    system
        .simulator
        .change_zoho(|zoho| zoho.refused_scopes = refused);
    let (account, tenant, connection) = connect(&system, "Acme").await;
    assert_eq!(status(&tenant, connection).await, "active");
    let path = format!("/v1/connections/{connection}");
    let shown = tenant.get(&path).await.to_string();
    assert!(shown.contains("ZohoMail.messages.READ"), "{shown}");
    // The webhook needs no scope.
    set_up_webhook(&tenant, &account, connection).await;
    act(&system, &account, "mail.received", json!({})).await;
    system.drain().await;
    assert_eq!(tenant.count_signals().await, 1);
}
