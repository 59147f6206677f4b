//! Text and identity of Slack's messages.

use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{System, Tenant};

async fn connect_acme(system: &System) -> (String, String, Tenant<'_>) {
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect_to("slack", &account, &admin).await;
    system.drain().await;
    (account, admin, tenant)
}

/// Performs an action and returns its object.
async fn act(system: &System, account: &str, action: &str, mut more: Value) -> Value {
    more["account"] = json!(account);
    more["action"] = json!(action);
    system.sim("slack/act", more).await["object"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_channel_id_changed_gives_no_duplicate() {
    let system = System::with_fast_provider().start().await;
    let (account, admin, tenant) = connect_acme(&system).await;
    let first = act(
        &system,
        &account,
        "message.posted",
        json!({ "text": "before" }),
    )
    .await;
    let channel = first["channel"].clone();
    for _ in 0..5 {
        act(
            &system,
            &account,
            "message.posted",
            json!({ "channel": channel }),
        )
        .await;
    }
    tenant.assert_equals_ledger_after_poll(&account).await;
    let changed = json!({ "channel": channel });
    let channel = act(&system, &account, "channel.id_changed", changed).await["channel"].clone();
    let edit = json!({ "channel": channel, "ts": first["ts"], "text": "after" });
    act(&system, &account, "message.edited", edit).await;
    act(
        &system,
        &account,
        "message.posted",
        json!({ "channel": channel }),
    )
    .await;
    tenant.assert_equals_ledger(&account).await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently", "count": 1 });
    system.sim("faults", drop_deliveries).await;
    act(
        &system,
        &account,
        "message.posted",
        json!({ "channel": channel }),
    )
    .await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let streams: Vec<String> = sqlx::query_scalar(
        "SELECT stream FROM cursors WHERE resource_id = $1 AND retired_at IS NULL",
    )
    .bind(channel.as_str().expect("an id"))
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    assert_eq!(streams.len(), 1, "the stream has the new id");
    // A full sync reads everything with the new id and adds no Signal.
    let before = tenant.identities().await;
    tenant
        .post("/v1/sync/slack", &json!({ "mode": "full" }))
        .await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
    // Reconnecting keeps the first id.
    tenant.connect_to("slack", &account, &admin).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_plain_and_preview_no_edit() {
    let system = System::with_fast_provider().start().await;
    let (account, person, tenant) = connect_acme(&system).await;
    let text = format!("<@{person}> a &gt; b, see <https://e.example/x|the page>");
    let posted = act(&system, &account, "message.posted", json!({ "text": text })).await;
    act(&system, &account, "message.edited", posted.clone()).await;
    act(&system, &account, "message.unfurled", posted).await;
    tenant.assert_equals_ledger(&account).await;
    let feed = tenant.feed().await;
    let count_kind = |kind: &str| feed.iter().filter(|signal| signal["kind"] == kind).count();
    assert_eq!(count_kind("message_edited"), 1);
    let message = feed
        .iter()
        .find(|signal| signal["kind"] == "message_posted")
        .expect("a message");
    let title = message["subject"]["title"].as_str().expect("a title");
    assert!(
        title.ends_with(" a > b, see the page (https://e.example/x)"),
        "{title}"
    );
    assert!(
        title.starts_with('@') && !title.contains(&person),
        "{title}"
    );
}

/// Drops the next delivery of this event.
async fn drop_next_delivery(system: &System, event: &str) {
    let fault = json!({
        "target": "delivery", "pattern": event, "effect": "drop_silently", "count": 1,
    });
    system.sim("faults", fault).await;
}

/// Lists the ids of channels with active streams.
async fn channels(system: &System) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT resource_id FROM cursors WHERE resource_id IS NOT NULL AND retired_at IS NULL",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result")
}

#[tokio::test(flavor = "multi_thread")]
async fn poll_reveals_a_lost_channel_id_change() {
    let system = System::with_fast_provider().start().await;
    let (account, _, tenant) = connect_acme(&system).await;
    let first = act(&system, &account, "message.posted", json!({})).await;
    let channel = json!({ "channel": first["channel"] });
    let reply = json!({ "channel": first["channel"], "ts": first["ts"] });
    act(&system, &account, "message.replied", reply).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    drop_next_delivery(&system, "channel_id_changed").await;
    let changed = act(&system, &account, "channel.id_changed", channel).await;
    drop_next_delivery(&system, "message*").await;
    act(&system, &account, "message.posted", changed.clone()).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let channels = channels(&system).await;
    let is_read = |id: &Value| channels.iter().any(|one| json!(one) == *id);
    assert!(is_read(&changed["channel"]), "{channels:?}");
    assert!(
        !is_read(&first["channel"]),
        "the stream has the new id: {channels:?}"
    );
    // A full sync reads everything with the new id.
    let before = tenant.identities().await;
    let full = json!({ "mode": "full" });
    tenant.post("/v1/sync/slack", &full).await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
    act(&system, &account, "message.posted", changed).await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_reveals_a_lost_channel_id_change() {
    let system = System::with_fast_provider().start().await;
    let (account, person, tenant) = connect_acme(&system).await;
    let first = act(&system, &account, "message.posted", json!({})).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    drop_next_delivery(&system, "channel_id_changed").await;
    let old = json!({ "channel": first["channel"] });
    let changed = act(&system, &account, "channel.id_changed", old).await;
    for (action, mut more) in [
        ("channel.renamed", json!({ "name": "renamed" })),
        (
            "message.edited",
            json!({ "ts": first["ts"], "text": "after" }),
        ),
        ("message.posted", json!({})),
        (
            "reaction.added",
            json!({ "ts": first["ts"], "actor": person }),
        ),
        ("member.joined", json!({ "actor": person })),
    ] {
        more["channel"] = changed["channel"].clone();
        act(&system, &account, action, more).await;
    }
    tenant.assert_equals_ledger(&account).await;
    let feed = tenant.feed().await;
    assert!(
        feed.iter()
            .all(|signal| signal["context"]["id"] != changed["channel"]),
        "every Signal has the first id"
    );
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_created_in_one_second_stay_distinct() {
    let system = System::with_fast_provider().start().await;
    let (account, person, tenant) = connect_acme(&system).await;
    let group = json!({ "actor": person });
    let known = act(&system, &account, "group.created", group.clone()).await["channel"].clone();
    tenant.assert_equals_ledger(&account).await;
    drop_next_delivery(&system, "member_joined_channel").await;
    let second = SystemClock.now().timestamp();
    let new = act(&system, &account, "group.created", group).await["channel"].clone();
    // Simulates that both channels were created in the same second.
    let stable_ids: Vec<String> = (second - 1..=second + 1)
        .map(|second| format!("made:{second}:{person}"))
        .collect();
    sqlx::query("UPDATE cursors SET target = $1 WHERE resource_id = $2")
        .bind(json!({ "stable_ids": stable_ids }))
        .bind(known.as_str())
        .execute(system.db.pool())
        .await
        .expect("the query result");
    act(
        &system,
        &account,
        "message.posted",
        json!({ "channel": new }),
    )
    .await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let read = channels(&system).await;
    for id in [&known, &new] {
        assert!(read.iter().any(|one| json!(one) == *id), "{id}: {read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_in_blocks_and_attachments_become_text() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 40))
        .start()
        .await;
    let (account, person, tenant) = connect_acme(&system).await;
    let part = |name: &str, text: &str| json!({ "name": name, "text": text });
    let link = "the pump <https://e.example/x|stopped> &amp; <@PERSON>".replace("PERSON", &person);
    // From events.
    act(&system, &account, "message.bot", part("blocks", &link)).await;
    act(&system, &account, "message.bot", part("attachment", &link)).await;
    tenant.assert_equals_ledger(&account).await;
    // From a poll.
    for name in ["blocks", "attachment"] {
        drop_next_delivery(&system, "message*").await;
        act(&system, &account, "message.bot", part(name, &link)).await;
    }
    tenant.assert_equals_ledger_after_poll(&account).await;
    let feed = tenant.feed().await;
    let texts: Vec<&str> = feed
        .iter()
        .filter(|signal| signal["kind"] != "file_shared" && signal["subject"]["type"] == "message")
        .filter(|signal| {
            !signal["payload"]["normalized"]["files"].is_array()
                || signal["payload"]["normalized"]["files"] == json!([])
        })
        .map(|signal| {
            signal["payload"]["normalized"]["text"]
                .as_str()
                .unwrap_or_default()
        })
        .collect();
    assert!(
        texts.len() > 100 && texts.iter().all(|text| !text.is_empty()),
        "{texts:?}"
    );
    let read = "the pump stopped (https://e.example/x) & @";
    let of_links = texts.iter().filter(|text| text.starts_with(read));
    assert_eq!(of_links.count(), 4, "{texts:?}");
    for signal in feed
        .iter()
        .filter(|signal| signal["kind"] == "message_posted")
    {
        assert!(signal["subject"]["title"].is_string(), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mention_event_replaces_its_lost_message_event() {
    let system = System::with_fast_provider().start().await;
    let (account, _, tenant) = connect_acme(&system).await;
    drop_next_delivery(&system, "message").await;
    let message = act(&system, &account, "message.mention", json!({})).await;
    tenant.assert_equals_ledger(&account).await;
    // After the deletion, no list shows the message.
    act(&system, &account, "message.deleted", message.clone()).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let ts = message["ts"].as_str().expect("a time");
    let identities = tenant.identities().await;
    assert!(
        identities
            .iter()
            .any(|(kind, key)| kind == "message_posted" && key.ends_with(ts))
    );
}
