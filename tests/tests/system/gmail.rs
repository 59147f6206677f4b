//! Gmail: pushes and their tokens, histories, drafts, and mailboxes of several tenants.

use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

use crate::ingress::count_deliveries;

/// Starts a system whose simulated mailboxes send a push for each change.
async fn start(history: usize) -> System {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, history))
        .start()
        .await;
    let simulator = &system.simulator;
    simulator.change_gmail(|gmail| gmail.notification_milliseconds = 0);
    simulator.shorten_retry_delays();
    system
}

/// Connects a mailbox and waits for its watch and its first read.
async fn connect<'a>(system: &'a System, name: &str) -> (String, Tenant<'a>, Uuid) {
    let (account, person) = system.accounts_at("gmail").await.swap_remove(0);
    let tenant = system.tenant(name).await;
    let connection = tenant.connect_to("gmail", &account, &person).await;
    eventually("the mailbox is watched", async || {
        let held: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM subscriptions \
             WHERE connection_id = $1 AND external_id IS NOT NULL",
        )
        .bind(connection)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        held == 1
    })
    .await;
    system.drain().await;
    (account, tenant, connection)
}

/// Carries out an action in a mailbox and returns the changed message.
async fn act(system: &System, account: &str, action: &str, rest: Value) -> Value {
    let mut body = json!({ "account": account, "action": action });
    for (name, value) in rest.as_object().expect("fields") {
        body[name] = value.clone();
    }
    system.sim("gmail/act", body).await["object"].clone()
}

/// Loses all pushes from now on.
async fn lose_pushes(system: &System) {
    let fault = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", fault).await;
}

/// Lower bound of the read that replaced the last expired position in the history.
async fn resync_from(system: &System) -> Option<String> {
    sqlx::query_scalar("SELECT resync_from::text FROM cursors WHERE stream = 'messages'")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
}

async fn count_kind(tenant: &Tenant<'_>, kind: &str) -> usize {
    let kinds = tenant.map_feed(|signal| signal["kind"].clone()).await;
    kinds.iter().filter(|other| *other == kind).count()
}

/// The attempts to deliver pushes, the newest first.
async fn attempts(system: &System) -> Vec<Value> {
    let url = format!("{}/_sim/gmail/deliveries", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let deliveries: Value = response.json().await.expect("JSON");
    deliveries["attempts"].as_array().expect("attempts").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_push_after_the_start_is_accepted() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger(&account).await;
    let attempts = attempts(&system).await;
    let first = attempts.last().expect("an attempt");
    assert_eq!(first["status"], 200, "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn push_gives_signals_without_a_poll() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    let subject = json!({ "subject": "Fünf Raketen 🚀", "from_name": "Åsa" });
    act(&system, &account, "mail.received", subject).await;
    tenant.assert_equals_ledger(&account).await;
    let feed = tenant.feed().await;
    assert_eq!(feed[0]["subject"]["title"], "Fünf Raketen 🚀");
    assert_eq!(feed[0]["actor"]["name"], "Åsa");
    assert_eq!(feed[0]["context"]["id"], account);
    let bodies: i64 =
        sqlx::query_scalar("SELECT coalesce(sum(length(body)), 0)::bigint FROM deliveries")
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
    assert_eq!(bodies, 0, "no body is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_trashed_before_read_is_reported() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    lose_pushes(&system).await;
    let mail = act(&system, &account, "mail.received", json!({})).await;
    let trashed = json!({ "message": mail["id"] });
    act(&system, &account, "mail.trashed", trashed).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert_eq!(count_kind(&tenant, "email_received").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn draft_saved_five_times_is_sent_once() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    for in_place in [false, true] {
        let before = count_kind(&tenant, "email_sent").await;
        for _ in 0..5 {
            act(&system, &account, "mail.draft", json!({})).await;
        }
        let sent = json!({ "in_place": in_place });
        act(&system, &account, "mail.draft_sent", sent).await;
        tenant.assert_equals_ledger_after_poll(&account).await;
        assert_eq!(count_kind(&tenant, "email_sent").await, before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_history_gives_all_mail_once() {
    let system = start(20).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    lose_pushes(&system).await;
    act(&system, &account, "mail.received", json!({ "count": 30 })).await;
    act(&system, &account, "history.expired", json!({})).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let restarted = resync_from(&system).await;
    assert!(restarted.is_some(), "the position was too old");
    // The new position is not that of a message, which is too old as well.
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert_eq!(resync_from(&system).await, restarted);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_history_and_full_sync_keep_the_floor() {
    let system = start(0).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    lose_pushes(&system).await;
    // The connection is ten days older than a backfill of now.
    sqlx::query("UPDATE cursors SET backfill_from = backfill_from - interval '10 days'")
        .execute(system.db.pool())
        .await
        .expect("an older floor");
    act(&system, &account, "mail.received", json!({})).await;
    act(&system, &account, "history.expired", json!({})).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert!(resync_from(&system).await.is_some());
    // Between the floor and the lower bound of the resync.
    let date = SystemClock.now() - chrono::TimeDelta::days(95);
    let date = date.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    act(&system, &account, "mail.imported", json!({ "date": date })).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert_eq!(count_kind(&tenant, "email_received").await, 2);

    // The history no longer has it; a full sync reads the list down to the floor.
    act(&system, &account, "mail.imported", json!({ "date": date })).await;
    act(&system, &account, "history.expired", json!({})).await;
    let path = format!("/v1/connections/{connection}/sync");
    tenant.post(&path, &json!({ "mode": "full" })).await;
    tenant.assert_equals_ledger(&account).await;
    assert_eq!(count_kind(&tenant, "email_received").await, 3);
    assert_eq!(resync_from(&system).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_mail_delays_no_other() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    lose_pushes(&system).await;
    let mail = act(&system, &account, "mail.received", json!({})).await;
    act(
        &system,
        &account,
        "mail.deleted",
        json!({ "message": mail["id"] }),
    )
    .await;
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert_eq!(tenant.count_signals().await, 1);
    system.assert_no_dead_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_behind_one_push_is_read() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    system
        .simulator
        .change_gmail(|gmail| gmail.empty_history_pages = true);
    act(
        &system,
        &account,
        "mail.received",
        json!({ "count": 1_200 }),
    )
    .await;
    tenant.assert_equals_ledger(&account).await;
    assert_eq!(tenant.count_signals().await, 1_200);
    assert_eq!(count_deliveries(&system).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sender_dates_are_ignored() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    lose_pushes(&system).await;
    let in_future = json!({ "date_offset_seconds": 13 * 3_600 });
    act(&system, &account, "mail.received", in_future).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    // Fifteen within one second, with a poll in between.
    let date = SystemClock
        .now()
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for count in [8, 7] {
        let same_time = json!({ "date": date, "count": count });
        act(&system, &account, "mail.imported", same_time).await;
        tenant.assert_equals_ledger_after_poll(&account).await;
    }
    assert_eq!(tenant.count_signals().await, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_without_genuine_token_are_rejected() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger(&account).await;
    let before = count_deliveries(&system).await;
    // Otherwise a forged push is followed by the genuine one.
    let simulator = &system.simulator;
    simulator.change_gmail(|gmail| gmail.retry_seconds.clear());
    for effect in [
        "no_signature",
        "wrong_signature",
        "old_signature",
        "unsigned_token",
        "public_key_token",
        "wrong_audience",
        "foreign_account",
        "unknown_key",
    ] {
        let fault = json!({ "target": "delivery", "effect": effect });
        system.sim("faults", fault).await;
        act(&system, &account, "mail.received", json!({})).await;
        system.quiesce().await;
        system.clear_faults().await;
    }
    system.assert_forged_deliveries_rejected().await;
    assert_eq!(count_deliveries(&system).await, before, "no row and no job");
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_key_loses_no_mail() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger(&account).await;
    system.sim("google/keys", json!({ "rotate": true })).await;
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_push_is_read() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    for (url_safe, unpadded, as_string) in [
        (false, true, true),
        (true, false, false),
        (true, true, true),
    ] {
        system.simulator.change_gmail(|gmail| {
            gmail.url_safe_data = url_safe;
            gmail.unpadded_data = unpadded;
            gmail.history_id_as_string = as_string;
        });
        act(&system, &account, "mail.received", json!({})).await;
        tenant.assert_equals_ledger(&account).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_push_wakes_every_tenant_of_the_mailbox() {
    let system = start(0).await;
    let (account, acme, connection) = connect(&system, "Acme").await;
    let (_, globex, _) = connect(&system, "Globex").await;
    act(&system, &account, "mail.received", json!({})).await;
    acme.assert_equals_ledger(&account).await;
    globex.assert_equals_ledger(&account).await;
    // The mailbox's watch outlives one of its connections.
    let path = format!("/v1/connections/{connection}");
    let deleted = acme.request(reqwest::Method::DELETE, &path, None).await;
    assert!(deleted.status().is_success(), "{}", deleted.status());
    act(&system, &account, "mail.received", json!({})).await;
    globex.assert_equals_ledger(&account).await;
    assert_eq!(globex.count_signals().await, 2);
    assert_eq!(acme.count_signals().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_mailbox_is_acknowledged() {
    let system = start(0).await;
    let (account, tenant, connection) = connect(&system, "Acme").await;
    // The watch stays, because the response to its end is lost.
    let fault = json!({ "target": "request", "pattern": "users/me/stop", "effect": "status" });
    system.sim("faults", fault).await;
    let path = format!("/v1/connections/{connection}");
    tenant.request(reqwest::Method::DELETE, &path, None).await;
    system.clear_faults().await;
    act(&system, &account, "mail.received", json!({})).await;
    system.quiesce().await;
    let attempts = attempts(&system).await;
    let last = attempts.first().expect("an attempt");
    assert_eq!(last["status"], 200, "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_is_renewed_and_follows_the_address() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    let renewed = json!({ "login": account, "address": "Renamed@acme.example" });
    system.sim("google/people", renewed).await;
    system.set_subscriptions_near_expiry().await;
    eventually("the watch has the new address", async || {
        let routes: Vec<String> = sqlx::query_scalar(
            "SELECT route FROM subscriptions WHERE expires_at > now() + interval '6 days'",
        )
        .fetch_all(system.db.pool())
        .await
        .expect("the query result");
        routes == ["renamed@acme.example"]
    })
    .await;
    act(&system, &account, "mail.received", json!({})).await;
    tenant.assert_equals_ledger(&account).await;
    assert_eq!(tenant.count_signals().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lapsed_watch_loses_no_mail() {
    let system = start(0).await;
    let (account, tenant, _) = connect(&system, "Acme").await;
    system
        .sim("clock", json!({ "advance_seconds": 8 * 24 * 3_600 }))
        .await;
    act(&system, &account, "mail.received", json!({})).await;
    system.quiesce().await;
    assert_eq!(tenant.count_signals().await, 0, "no push without a watch");
    tenant.assert_equals_ledger_after_poll(&account).await;
}
