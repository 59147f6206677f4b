//! Slack, from the connect flow to the feed.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::clock::{Clock, SystemClock};
use tests::harness::{System, Tenant, eventually};

async fn connect_acme(system: &System) -> (String, Tenant<'_>) {
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect_to("slack", &account, &admin).await;
    (account, tenant)
}

async fn generate(system: &System, account: &str, count: usize) {
    let body = json!({ "count": count, "account": account });
    system.sim("slack/generate", body).await;
}

/// Sends a signed delivery and returns the status.
async fn post(system: &System, body: &str) -> u16 {
    let time = SystemClock.now().timestamp().to_string();
    let secret = system.env["POBLYSH_SLACK_WEBHOOK_SECRET"].as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(format!("v0:{time}:{body}").as_bytes());
    let signature = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
    let request = system
        .client
        .post(format!("{}/webhooks/slack", system.ingress))
        .header("X-Slack-Request-Timestamp", time)
        .header("X-Slack-Signature", signature)
        .header("Content-Type", "application/json")
        .body(body.to_owned());
    let response = request.send().await.expect("an ingress response");
    response.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_gives_every_visible_message_reply_and_edit() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 60))
        .start()
        .await;
    let (account, tenant) = connect_acme(&system).await;
    tenant.assert_equals_ledger(&account).await;
    assert!(
        tenant.identities().await.len() > 100,
        "there was something to read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn event_signals_have_names_and_links() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    generate(&system, &account, 300).await;
    tenant.assert_equals_ledger(&account).await;
    let feed = tenant.feed().await;
    assert!(feed.len() > 150, "{}", feed.len());
    for signal in &feed {
        let unnamed = signal["actor"]["name"].is_null() && signal["kind"] != "message_deleted";
        assert!(!unnamed, "{signal}");
        assert!(signal["context"]["name"].is_string(), "{signal}");
        if signal["kind"] == "message_posted" {
            let url = signal["subject"]["url"].as_str().expect("a link");
            assert!(
                url.starts_with("https://team-1.slack.com/archives/C"),
                "{url}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_polling_agree_on_identity() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 10)
        .start()
        .await;
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("slack", &account, &admin).await;
    generate(&system, &account, 200).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let before = tenant.identities().await;
    let full = json!({ "mode": "full" });
    let path = format!("/v1/connections/{connection}/sync");
    tenant.post(&path, &full).await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_facts_without_events() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    system.drain().await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    generate(&system, &account, 150).await;
    let before = tenant.identities().await.len();
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert!(tenant.identities().await.len() > before + 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_channel_is_read_after_bot_invitation() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    system.drain().await;
    let new = json!({ "account": account, "action": "group.created" });
    let channel = system.sim("slack/act", new).await["object"]["channel"].clone();
    let post = json!({ "account": account, "action": "message.posted", "channel": channel });
    system.sim("slack/act", post.clone()).await;
    tenant.assert_equals_ledger(&account).await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently", "count": 1 });
    system.sim("faults", drop_deliveries).await;
    system.sim("slack/act", post).await;
    let before = tenant.identities().await.len();
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert_eq!(tenant.identities().await.len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_replies_block_no_other_stream() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 40))
        .start()
        .await;
    system
        .simulator
        .change_slack(|slack| slack.replies_need_user = true);
    let (account, tenant) = connect_acme(&system).await;
    tenant.assert_equals_ledger(&account).await;
    generate(&system, &account, 80).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let feed = tenant.feed().await;
    let replies = feed
        .iter()
        .filter(|signal| signal["kind"] == "thread_replied");
    assert!(replies.count() > 10, "events report replies");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_forged_late_and_doubled_attempts_change_nothing() {
    let system = System::with_fast_provider().start().await;
    system
        .simulator
        .change_slack(|slack| slack.retry_seconds = vec![0.0, 0.1, 0.2]);
    let (account, tenant) = connect_acme(&system).await;
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
async fn shared_channel_event_reaches_every_tenant() {
    let system = System::with_fast_provider().start().await;
    let accounts = system.accounts_at("slack").await;
    let (first, second) = (system.tenant("Acme").await, system.tenant("Globex").await);
    first
        .connect_to("slack", &accounts[0].0, &accounts[0].1)
        .await;
    second
        .connect_to("slack", &accounts[1].0, &accounts[1].1)
        .await;
    system.drain().await;
    let share =
        json!({ "account": accounts[0].0, "action": "channel.shared", "to": accounts[1].0 });
    let channel = system.sim("slack/act", share).await["object"]["channel"].clone();
    for _ in 0..20 {
        let post =
            json!({ "account": accounts[0].0, "action": "message.posted", "channel": channel });
        system.sim("slack/act", post).await;
        let react =
            json!({ "account": accounts[1].0, "action": "reaction.added", "channel": channel });
        system.sim("slack/act", react).await;
    }
    first.assert_equals_ledger(&accounts[0].0).await;
    second.assert_equals_ledger(&accounts[1].0).await;
    assert!(
        second.identities().await.len() >= 40,
        "both tenants get the events"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_user_is_named_in_next_message() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    let actor = system.accounts_at("slack").await.remove(0).1;
    let post = json!({ "account": account, "action": "message.posted", "actor": actor });
    let name_of_last = async || {
        system.sim("slack/act", post.clone()).await;
        system.drain().await;
        let recent: Value = tenant.get("/v1/signals?order=recent&limit=1").await;
        recent["signals"][0]["actor"]["name"].clone()
    };
    assert_eq!(name_of_last().await, "team-1-admin");
    let rename =
        json!({ "account": account, "action": "user.renamed", "actor": actor, "name": "ada" });
    system.sim("slack/act", rename).await;
    system.drain().await;
    assert_eq!(name_of_last().await, "ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_rotation_is_transparent() {
    let system = System::with_fast_provider().start().await;
    system.simulator.change_slack(|slack| slack.rotation = true);
    let (account, tenant) = connect_acme(&system).await;
    system.drain().await;
    for _ in 0..4 {
        system
            .sim("slack/tokens", json!({ "expire": account }))
            .await;
        generate(&system, &account, 20).await;
        tenant.assert_equals_ledger_after_poll(&account).await;
    }
    let status = tenant.get("/v1/connections").await["connections"][0]["status"].clone();
    assert_eq!(status, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn reinstalled_app_resumes_its_connection_in_either_order() {
    for uninstalled_first in [false, true] {
        let system = System::with_fast_provider()
            .simulator(|sim| sim.history = 5)
            .start()
            .await;
        system
            .simulator
            .change_slack(|slack| slack.uninstalled_first = uninstalled_first);
        let (account, tenant) = connect_acme(&system).await;
        generate(&system, &account, 20).await;
        tenant.assert_equals_ledger(&account).await;
        let before = tenant.identities().await;
        let leave = json!({ "account": account, "action": "app.uninstalled" });
        system.sim("slack/act", leave).await;
        let status =
            async || tenant.get("/v1/connections").await["connections"][0]["status"].clone();
        eventually("the connection ended", async || {
            status().await == "disconnected"
        })
        .await;

        let admin = system.accounts_at("slack").await.remove(0).1;
        tenant.connect_to("slack", &account, &admin).await;
        assert_eq!(status().await, "active");
        let connections = tenant.get("/v1/connections").await;
        assert_eq!(
            connections["connections"].as_array().expect("a list").len(),
            1
        );
        tenant.assert_equals_ledger(&account).await;
        assert!(tenant.identities().await.is_superset(&before));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unconfirmed_uninstall_changes_nothing() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    system.drain().await;
    let envelope = json!({
        "type": "event_callback", "team_id": account, "event_id": "Ev0UNINSTALLED",
        "event_time": SystemClock.now().timestamp(),
        "api_app_id": system.env["POBLYSH_SLACK_APP_ID"],
        "event": { "type": "app_uninstalled" },
    });
    assert_eq!(post(&system, &envelope.to_string()).await, 200);
    system.drain().await;
    let status = tenant.get("/v1/connections").await["connections"][0]["status"].clone();
    assert_eq!(status, "active");
    let jobs = tenant.get("/v1/jobs?kind=confirm_grant").await;
    assert_eq!(jobs["jobs"][0]["state"], "succeeded", "{jobs:#}");
    generate(&system, &account, 20).await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limited_events_trigger_a_poll() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    system.drain().await;
    let drop_deliveries =
        json!({ "target": "delivery", "pattern": "message", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    let post = json!({ "account": account, "action": "message.posted" });
    system.sim("slack/act", post).await;
    let before = tenant.identities().await.len();
    let limited = json!({ "account": account, "action": "app.rate_limited" });
    system.sim("slack/act", limited).await;
    eventually("the gap was filled", async || {
        tenant.identities().await.len() > before
    })
    .await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unidentifiable_event_is_kept_with_its_reason() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    let event = json!({
        "type": "event_callback", "team_id": account, "event_id": "Ev0WITHOUT",
        "api_app_id": system.env["POBLYSH_SLACK_APP_ID"],
        "event": { "type": "message", "channel": "C0GENERAL", "text": "Good morning" },
    });
    assert_eq!(post(&system, &event.to_string()).await, 200);
    let failed = async || {
        let path = "/v1/webhook-deliveries?provider=slack&outcome=failed";
        let page = tenant.get(path).await;
        page["deliveries"].as_array().expect("a list").clone()
    };
    eventually("the delivery has failed", async || {
        !failed().await.is_empty()
    })
    .await;
    let delivery = &failed().await[0];
    assert_eq!(
        delivery["outcome_detail"],
        "the payload has no field `message.ts`"
    );
    assert_eq!(delivery["signals"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unstorable_character_loses_no_delivery() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant) = connect_acme(&system).await;
    let envelope = |id: &str, event: Value| {
        json!({
            "type": "event_callback", "team_id": account, "event_id": id,
            "api_app_id": system.env["POBLYSH_SLACK_APP_ID"], "event": event,
        })
        .to_string()
    };
    let renamed = json!({ "id": "U0ADA", "name": "a\0da", "profile": {} });
    let events = [
        json!({ "type": "nothing\0known" }),
        json!({ "type": "user_change", "user": renamed }),
        json!({
            "type": "reaction_added", "user": "U\0", "reaction": "+\0", "event_ts": "1700000000.000200",
            "item": { "type": "message", "channel": "C\0", "ts": "1700000000.000100" },
        }),
    ];
    for (number, event) in events.into_iter().enumerate() {
        let body = envelope(&format!("Ev\0{number}"), event);
        assert_eq!(post(&system, &body).await, 200, "{body}");
    }
    let path = "/v1/webhook-deliveries?provider=slack&outcome=pending";
    eventually("all deliveries are processed", async || {
        tenant.get(path).await["deliveries"] == json!([])
    })
    .await;
    let dead = tenant.get("/v1/jobs?state=dead").await;
    assert_eq!(dead["jobs"], json!([]));
    let feed = tenant.feed().await;
    assert!(feed.iter().any(|signal| signal["kind"] == "reaction_added"));
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_limits_and_outages_lose_nothing() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 30))
        .start()
        .await;
    for fault in [
        json!({ "target": "request", "pattern": "history", "effect": "too_many_requests", "seconds": 1.0, "count": 2 }),
        json!({ "target": "request", "pattern": "replies", "effect": "status", "status": 503, "count": 1 }),
        json!({ "target": "request", "pattern": "history", "effect": "slow_body", "seconds": 0.5, "count": 2 }),
        json!({ "target": "request", "pattern": "history", "effect": "truncate", "count": 1 }),
        json!({ "target": "request", "pattern": "users.", "effect": "reset", "count": 1 }),
    ] {
        system.sim("faults", fault).await;
    }
    system
        .simulator
        .change_slack(|slack| slack.empty_pages = true);
    let (account, tenant) = connect_acme(&system).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_uninstalls_the_app() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("slack", &account, &admin).await;
    let path = format!("/v1/connections/{connection}");
    let response = tenant.request(reqwest::Method::DELETE, &path, None).await;
    assert_eq!(response.status().as_u16(), 204);
    let url = format!("{}/_sim/slack/accounts", system.simulator.base_url());
    let accounts: Value = system
        .client
        .get(url)
        .send()
        .await
        .expect("a simulator response")
        .json()
        .await
        .expect("JSON");
    assert_eq!(accounts["accounts"][0]["installed"], false);
}
