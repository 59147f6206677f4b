//! What Slack's messages say, and what they are known by.

use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{System, Tenant};

async fn acme(system: &System) -> (String, String, Tenant<'_>) {
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect_to("slack", &account, &admin).await;
    system.drain().await;
    (account, admin, tenant)
}

/// Makes something happen; answers what it made.
async fn act(system: &System, account: &str, action: &str, mut more: Value) -> Value {
    more["account"] = json!(account);
    more["action"] = json!(action);
    system.sim("slack/act", more).await["object"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn field_slack_channel_id_changed_gives_no_duplicate() {
    let system = System::with_fast_provider().start().await;
    let (account, admin, tenant) = acme(&system).await;
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
    tenant.assert_equals_ledger_after_a_poll(&account).await;
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
    let silence = json!({ "target": "delivery", "effect": "drop_silently", "count": 1 });
    system.sim("faults", silence).await;
    act(
        &system,
        &account,
        "message.posted",
        json!({ "channel": channel }),
    )
    .await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    let streams: Vec<String> = sqlx::query_scalar(
        "SELECT stream FROM cursors WHERE resource_id = $1 AND retired_at IS NULL",
    )
    .bind(channel.as_str().expect("an id"))
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers");
    assert_eq!(streams.len(), 1, "the stream moved over");
    // A full sync reads everything under the new id, and tells nothing again.
    let before = tenant.identities().await;
    tenant
        .post("/v1/sync/slack", &json!({ "mode": "full" }))
        .await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
    // Nor does connecting again forget the first id.
    tenant.connect_to("slack", &account, &admin).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_plain_and_a_preview_is_no_edit() {
    let system = System::with_fast_provider().start().await;
    let (account, person, tenant) = acme(&system).await;
    let text = format!("<@{person}> a &gt; b, see <https://e.example/x|the page>");
    let posted = act(&system, &account, "message.posted", json!({ "text": text })).await;
    act(&system, &account, "message.edited", posted.clone()).await;
    act(&system, &account, "message.unfurled", posted).await;
    tenant.assert_equals_ledger(&account).await;
    let feed = tenant.feed().await;
    let of = |kind: &str| feed.iter().filter(|signal| signal["kind"] == kind).count();
    assert_eq!(of("message_edited"), 1);
    let told = feed
        .iter()
        .find(|signal| signal["kind"] == "message_posted")
        .expect("a message");
    let title = told["subject"]["title"].as_str().expect("a title");
    assert!(
        title.ends_with(" a > b, see the page (https://e.example/x)"),
        "{title}"
    );
    assert!(
        title.starts_with('@') && !title.contains(&person),
        "{title}"
    );
}

/// Loses the next events of this kind.
async fn lose(system: &System, event: &str) {
    let fault = json!({
        "target": "delivery", "pattern": event, "effect": "drop_silently", "count": 1,
    });
    system.sim("faults", fault).await;
}

/// The channels that are read.
async fn channels(system: &System) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT resource_id FROM cursors WHERE resource_id IS NOT NULL AND retired_at IS NULL",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_change_of_a_channels_id_is_found_by_a_poll() {
    let system = System::with_fast_provider().start().await;
    let (account, _, tenant) = acme(&system).await;
    let first = act(&system, &account, "message.posted", json!({})).await;
    let channel = json!({ "channel": first["channel"] });
    let reply = json!({ "channel": first["channel"], "ts": first["ts"] });
    act(&system, &account, "message.replied", reply).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    lose(&system, "channel_id_changed").await;
    let changed = act(&system, &account, "channel.id_changed", channel).await;
    lose(&system, "message*").await;
    act(&system, &account, "message.posted", changed.clone()).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    let channels = channels(&system).await;
    let is_read = |id: &Value| channels.iter().any(|one| json!(one) == *id);
    assert!(is_read(&changed["channel"]), "{channels:?}");
    assert!(
        !is_read(&first["channel"]),
        "the stream moved over: {channels:?}"
    );
    // Everything is read again under the new id.
    let before = tenant.identities().await;
    let full = json!({ "mode": "full" });
    tenant.post("/v1/sync/slack", &full).await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
    act(&system, &account, "message.posted", changed).await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_change_of_a_channels_id_is_found_by_an_event() {
    let system = System::with_fast_provider().start().await;
    let (account, person, tenant) = acme(&system).await;
    let first = act(&system, &account, "message.posted", json!({})).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    lose(&system, "channel_id_changed").await;
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
        "every fact is known by the first id"
    );
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_made_in_one_second_are_not_taken_for_one() {
    let system = System::with_fast_provider().start().await;
    let (account, person, tenant) = acme(&system).await;
    let group = json!({ "actor": person });
    let known = act(&system, &account, "group.created", group.clone()).await["channel"].clone();
    tenant.assert_equals_ledger(&account).await;
    lose(&system, "member_joined_channel").await;
    let second = SystemClock.now().timestamp();
    let new = act(&system, &account, "group.created", group).await["channel"].clone();
    // As if the known one had been made together with the new one.
    let made: Vec<String> = (second - 1..=second + 1)
        .map(|second| format!("made:{second}:{person}"))
        .collect();
    sqlx::query("UPDATE cursors SET target = $1 WHERE resource_id = $2")
        .bind(json!({ "stable_ids": made }))
        .bind(known.as_str())
        .execute(system.db.pool())
        .await
        .expect("Postgres answers");
    act(
        &system,
        &account,
        "message.posted",
        json!({ "channel": new }),
    )
    .await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
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
    let (account, person, tenant) = acme(&system).await;
    let part = |name: &str, text: &str| json!({ "name": name, "text": text });
    let link = "the pump <https://e.example/x|stopped> &amp; <@PERSON>".replace("PERSON", &person);
    // By events.
    act(&system, &account, "message.bot", part("blocks", &link)).await;
    act(&system, &account, "message.bot", part("attachment", &link)).await;
    tenant.assert_equals_ledger(&account).await;
    // By a poll.
    for name in ["blocks", "attachment"] {
        lose(&system, "message*").await;
        act(&system, &account, "message.bot", part(name, &link)).await;
    }
    tenant.assert_equals_ledger_after_a_poll(&account).await;
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
async fn a_mention_is_told_where_its_messages_own_event_was_lost() {
    let system = System::with_fast_provider().start().await;
    let (account, _, tenant) = acme(&system).await;
    lose(&system, "message").await;
    let message = act(&system, &account, "message.mention", json!({})).await;
    tenant.assert_equals_ledger(&account).await;
    // From now on no list shows it.
    act(&system, &account, "message.deleted", message.clone()).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    let ts = message["ts"].as_str().expect("a time");
    let told = tenant.identities().await;
    assert!(
        told.iter()
            .any(|(kind, key)| kind == "message_posted" && key.ends_with(ts))
    );
}
