//! Watch channels of calendars: refused, lapsed, renewed, and of many calendars.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tests::harness::{System, eventually, eventually_within};

use super::{Connected, SLUG, id_of, start};

/// Number of live channels by the resource that they watch.
async fn live_channels(system: &System) -> BTreeMap<String, usize> {
    let base = system.simulator.base_url();
    let url = format!("{base}/_sim/{SLUG}/channels");
    let response = system.client.get(url).send().await.expect("a response");
    let listed: Value = response.json().await.expect("JSON");
    let mut live = BTreeMap::new();
    for channel in listed["channels"].as_array().expect("channels") {
        if channel["live"] == true {
            *live.entry(channel["resource"].to_string()).or_default() += 1;
        }
    }
    live
}

#[tokio::test(flavor = "multi_thread")]
async fn calendar_that_cannot_be_watched_is_polled() {
    let system = start().await;
    let (account, address) = system.accounts_at(SLUG).await.remove(0);
    let denied = json!({
        "target": "request", "pattern": format!("calendars/{address}/events/watch"),
        "effect": "status", "status": 404,
    });
    system.sim("faults", denied).await;
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(SLUG, &account, &address).await;
    let held = async || -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM subscriptions WHERE connection_id = $1 AND external_id IS NOT NULL",
        )
        .bind(connection)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
    };
    eventually("the other calendar has a channel", async || {
        held().await == 1
    })
    .await;
    system.drain().await;
    system.assert_no_dead_jobs().await;
    let new = json!({ "account": account, "action": "event.created", "calendar": "primary" });
    system.sim("google_calendar/act", new).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lapsed_channel_loses_no_event_and_is_replaced() {
    let system = start().await;
    let settings = json!({ "max_channel_seconds": 3_600 });
    system.sim("google/settings", settings).await;
    let connected = Connected::of(&system, "Acme").await;
    eventually("both calendars are watched", async || {
        live_channels(&system).await.len() == 2
    })
    .await;
    // A channel that is not replaced in time ends silently.
    let advance = json!({ "advance_seconds": 2 * 3_600 });
    system.sim("clock", advance).await;
    assert!(live_channels(&system).await.is_empty());
    let new = json!({ "calendar": "primary" });
    let event = id_of(&connected.act("event.created", new.clone()).await);
    system.drain().await;
    assert_eq!(connected.signals_about(&event).await, []);
    connected.assert_equals_ledger().await;
    assert_eq!(connected.kinds_about(&event).await["event_created"], 1);

    system.set_subscriptions_near_expiry().await;
    eventually("both calendars are watched again", async || {
        let live = live_channels(&system).await;
        live.len() == 2 && live.values().all(|count| *count == 1)
    })
    .await;
    let event = id_of(&connected.act("event.created", new).await);
    eventually("the new channel has pushed", async || {
        !connected.signals_about(&event).await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_renewals_leave_one_channel_per_calendar() {
    let system = start().await;
    let settings = json!({ "sync_before_answer": true, "late_message": true });
    system.sim("google/settings", settings).await;
    let connected = Connected::of(&system, "Acme").await;
    for _ in 0..50 {
        system.set_subscriptions_near_expiry().await;
        system.drain().await;
    }
    let live = live_channels(&system).await;
    assert_eq!(live.len(), 2, "{live:#?}");
    assert!(live.values().all(|count| *count == 1), "{live:#?}");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM subscriptions")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    assert_eq!(rows, 2);
    connected.assert_equals_ledger().await;
}

/// At the default settings and within Google's quotas of a new project.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_calendars_are_watched_within_quota() {
    const CALENDARS: usize = 300;
    let system = System::builder()
        .simulator(|sim| {
            (sim.accounts, sim.history) = (1, 1);
            sim.providers.google_calendar.calendars = CALENDARS - 1;
        })
        .start()
        .await;
    let (account, address) = system.accounts_at(SLUG).await.remove(0);
    // The list of calendars has several pages.
    let pages = json!({ "max_page_size": 70 });
    system.sim("google_calendar/settings", pages).await;
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(SLUG, &account, &address).await;
    let path = format!("/v1/connections/{connection}");
    let timeout = Duration::from_mins(6);
    eventually_within(timeout, "every calendar is read and watched", async || {
        tenant.get(&path).await["backfilled_at"].is_string()
            && live_channels(&system).await.len() == CALENDARS
    })
    .await;
    tenant.assert_feed_equals_ledgers(&[&account]).await;
    let live = live_channels(&system).await;
    assert!(live.values().all(|count| *count == 1), "{live:#?}");
    let read: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM cursors WHERE stream LIKE 'events:%' AND read_through IS NOT NULL",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the query result");
    assert_eq!(read.unsigned_abs(), CALENDARS as u64);
    let usage = system.simulator.usage(SLUG, &account);
    eprintln!("300 calendars: {usage}");
    assert_eq!(usage.refused, 0, "{usage:#?}");

    // A push reads its calendar only.
    system.drain_within(timeout).await;
    let before = system.simulator.usage(SLUG, &account).requests;
    let new = json!({ "account": account, "action": "event.created", "calendar": "primary" });
    let event = system.sim("google_calendar/act", new).await["object"].clone();
    eventually("the push is followed by a read", async || {
        let feed = tenant.feed().await;
        feed.iter()
            .any(|signal| signal["subject"]["id"] == event["id"])
    })
    .await;
    let requests = system.simulator.usage(SLUG, &account).requests - before;
    assert!(requests < 10, "{requests} requests");
}
