//! A provider of these tests with the abilities of the SDK that few providers need.
//!
//! The family has two products. Both send pushes that are only wake-ups, and share one grant per
//! person. The calendar's channels have planned ids and are replaced when they are renewed. The
//! mail's pushes go to the connection's own URL and are signed with a secret that the provider
//! creates in a handshake. Tokens are limited to three refreshes in ten minutes, and a person may
//! withhold a scope.
//!
//! [`connector`] and [`webhook`] are the connector, [`server`] and [`world`] the provider. The cases
//! are one per ability.

mod connector;
mod page;
mod server;
mod webhook;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

use self::connector::{CALENDAR, Family, MAIL, TOKEN_QUOTA};
use self::server::Provider;
use self::world::PERSON;

const TEAM: &str = "events:team";
const SIDE: &str = "events:side";
const PLAN: &str = "files:plan";

async fn start(workers: usize) -> (Provider, System) {
    let provider = Provider::start().await;
    let family = Family {
        base: provider.base().clone(),
    };
    let system = System::with_fast_provider()
        .workers(workers)
        .add_providers(Arc::new(family))
        .start()
        .await;
    (provider, system)
}

/// Connects the person's account and waits for the first sync and the subscriptions.
async fn connect(system: &System, tenant: &Tenant<'_>, product: &str) -> Uuid {
    let connection = tenant.connect_to(product, PERSON, PERSON).await;
    eventually("both subscriptions exist", async || {
        let held = "SELECT count(*) FROM subscriptions \
                    WHERE connection_id = $1 AND desired AND external_id IS NOT NULL";
        count(system, held, connection).await == 2
    })
    .await;
    settle(system, connection).await;
    connection
}

/// Waits until every request of a stream is answered and nothing is left to do.
///
/// Deliveries that are still pending may request streams, so requests count once all is drained.
async fn settle(system: &System, connection: Uuid) {
    eventually("requested streams are read", async || {
        system.drain().await;
        let left = "SELECT (SELECT count(*) FROM cursors \
                            WHERE connection_id = $1 AND requested_at IS NOT NULL) \
                         + (SELECT count(*) FROM connection_routes \
                            WHERE connection_id = $1 AND streams_requested_at IS NOT NULL)";
        count(system, left, connection).await == 0
    })
    .await;
}

async fn count(system: &System, statement: &'static str, connection: Uuid) -> i64 {
    let count = sqlx::query_scalar(statement).bind(connection);
    let count = count.fetch_one(system.db.pool()).await;
    count.expect("the query result")
}

async fn execute(system: &System, statement: &'static str, connection: Uuid) {
    let result = sqlx::query(statement).bind(connection);
    let result = result.execute(system.db.pool()).await;
    result.expect("the query result");
}

/// Waits until the feed has this fact.
async fn eventually_in_feed(tenant: &Tenant<'_>, product: &str, stream: &str, number: u64) {
    let key = format!("{product}:{stream}:{number}");
    eventually(&key, async || {
        let identities = tenant.identities().await;
        identities.iter().any(|(_, found)| *found == key)
    })
    .await;
}

/// The ids of the channels that exist at the provider.
fn channels(provider: &Provider) -> BTreeSet<String> {
    provider.world().channels.keys().cloned().collect()
}

/// Makes the renewal of a connection's subscriptions due.
async fn expire_subscriptions(system: &System, connection: Uuid) {
    for statement in [
        "UPDATE subscriptions SET expires_at = now() + interval '1 hour' WHERE connection_id = $1",
        "UPDATE connection_routes SET subscriptions_at = now() WHERE connection_id = $1",
    ] {
        execute(system, statement, connection).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_up_reads_only_the_named_stream() {
    let (provider, system) = start(1).await;
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, CALENDAR).await;
    let reads = |stream: &str| provider.world().reads_of(CALENDAR, stream);
    let before = ["root", SIDE, TEAM].map(reads);
    for stream in [TEAM, SIDE] {
        provider.world().add_fact(CALENDAR, stream);
    }
    for _ in 0..20 {
        assert_eq!(provider.wake_up(TEAM).await, [200]);
    }
    eventually_in_feed(&tenant, CALENDAR, TEAM, 1).await;
    settle(&system, connection).await;
    let after = ["root", SIDE, TEAM].map(reads);
    assert_eq!(after[..2], before[..2], "nothing else was read");
    let pushed = after[2] - before[2];
    assert!((1..20).contains(&pushed), "{pushed} reads for 20 wake-ups");
    let bytes = "SELECT coalesce(sum(octet_length(body)), 0)::bigint FROM deliveries \
                 WHERE connection_id = $1";
    assert_eq!(count(&system, bytes, connection).await, 0, "no body");
    let processed = "SELECT count(*) FROM deliveries \
                     WHERE connection_id = $1 AND outcome = 'processed'";
    assert!(count(&system, processed, connection).await >= 20);
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["missed_count"], 0, "a wake-up reported the fact");
}

/// Runs of requested streams that have ended.
const REQUESTED_RUNS: &str = "SELECT count(*) FROM job_history WHERE connection_id = $1 \
                              AND payload->>'requested_only' = 'true'";

#[tokio::test(flavor = "multi_thread")]
async fn long_run_delays_wake_up_by_one_slice() {
    let (provider, system) = start(2).await;
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, CALENDAR).await;
    provider.world().endless = Some(SIDE);
    let before = ["root", TEAM, SIDE].map(|stream| provider.world().reads_of(CALENDAR, stream));
    let path = format!("/v1/connections/{connection}/sync");
    tenant.post(&path, &json!({ "mode": "incremental" })).await;
    eventually("the run reads the long stream", async || {
        let world = provider.world();
        let reads = ["root", TEAM, SIDE].map(|stream| world.reads_of(CALENDAR, stream));
        reads.iter().zip(before).all(|(now, before)| *now > before)
    })
    .await;
    provider.world().add_fact(CALENDAR, TEAM);
    assert_eq!(provider.wake_up(TEAM).await, [200]);
    eventually_in_feed(&tenant, CALENDAR, TEAM, 1).await;
    let running = "SELECT count(*) FROM jobs WHERE connection_id = $1 \
                   AND cursor_window LIKE 'sync:%:incremental'";
    assert_eq!(count(&system, running, connection).await, 1, "not ended");
    provider.world().endless = None;
    settle(&system, connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_up_during_first_read_is_answered() {
    let (provider, system) = start(2).await;
    provider.world().endless = Some(SIDE);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(CALENDAR, PERSON, PERSON).await;
    eventually("the stream has a channel and is read", async || {
        let world = provider.world();
        world.reads_of(CALENDAR, SIDE) > 1 && world.channels.len() == 2
    })
    .await;
    assert_eq!(provider.wake_up(SIDE).await, [200]);
    eventually("a run has skipped the stream", async || {
        count(&system, REQUESTED_RUNS, connection).await >= 1
    })
    .await;
    provider.world().endless = None;
    settle(&system, connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_secret_verifies_later_wake_ups() {
    let (provider, system) = start(1).await;
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, MAIL).await;
    let url = format!("{}/webhooks/{MAIL}/{connection}", system.ingress);
    let urls: BTreeSet<String> = {
        let world = provider.world();
        let all = world.channels.values();
        all.map(|channel| channel.url.clone()).collect()
    };
    assert_eq!(urls, BTreeSet::from([url.clone()]), "the connection's own");
    assert_eq!(provider.wake_up_at(&url, TEAM).await, 401, "no secret yet");
    assert_eq!(provider.hand_over_secret(&url).await, 401, "not armed");
    let path = format!("/v1/connections/{connection}/webhook");
    let armed = tenant.post(&path, &json!({})).await;
    assert!(armed["armed_until"].is_string(), "{armed}");
    assert_eq!(provider.hand_over_secret(&url).await, 200);
    assert_eq!(provider.forge_at(&url, TEAM).await, 401);
    provider.world().add_fact(MAIL, TEAM);
    assert_eq!(provider.wake_up_at(&url, TEAM).await, 200);
    eventually_in_feed(&tenant, MAIL, TEAM, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_replaces_channels_and_ends_old_ones() {
    let (provider, system) = start(1).await;
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, CALENDAR).await;
    let first = channels(&provider);
    assert_eq!(first.len(), 2);
    expire_subscriptions(&system, connection).await;
    eventually("two new channels", async || {
        let now = channels(&provider);
        now.len() == 2 && now.is_disjoint(&first)
    })
    .await;
    system.drain().await;
    let rows = "SELECT count(*) FROM subscriptions WHERE connection_id = $1";
    assert_eq!(count(&system, rows, connection).await, 2);
    let routes = "SELECT count(*) FROM delivery_routes WHERE connection_id = $1";
    assert_eq!(count(&system, routes, connection).await, 2);
    // Each new channel pushed before the response to its request.
    let early = provider.world().early_pushes.clone();
    assert_eq!(early, [200; 4]);
    let deliveries = "SELECT count(*) FROM deliveries WHERE connection_id = $1";
    assert_eq!(count(&system, deliveries, connection).await, 4);
    provider.world().add_fact(CALENDAR, TEAM);
    assert_eq!(provider.wake_up(TEAM).await, [200]);
    eventually_in_feed(&tenant, CALENDAR, TEAM, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_response_leaves_no_channel_behind() {
    let (provider, system) = start(1).await;
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, CALENDAR).await;
    let first = channels(&provider);
    provider.world().loses_response = true;
    expire_subscriptions(&system, connection).await;
    eventually("two new channels", async || {
        let now = channels(&provider);
        now.len() == 2 && now.is_disjoint(&first)
    })
    .await;
    let requested = provider.world().requested_channels.len();
    assert_eq!(requested, 5, "no id was used twice");
    system.drain().await;
    let rows = "SELECT count(*) FROM subscriptions WHERE connection_id = $1";
    assert_eq!(count(&system, rows, connection).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnect_checks_subscriptions_again() {
    let (provider, system) = start(1).await;
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, CALENDAR).await;
    let first = channels(&provider);
    let again = tenant.connect_to(CALENDAR, PERSON, PERSON).await;
    assert_eq!(again, connection, "the same account");
    eventually("two channels of the new grant", async || {
        let now = channels(&provider);
        now.len() == 2 && now.is_disjoint(&first)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_grant_is_revoked_with_its_last_connection() {
    let (provider, system) = start(1).await;
    let (acme, globex) = (system.tenant("Acme").await, system.tenant("Globex").await);
    let calendar = connect(&system, &acme, CALENDAR).await;
    let mail = connect(&system, &globex, MAIL).await;
    delete(&acme, calendar).await;
    assert_eq!(provider.world().revocations, 0, "the mail shares the grant");
    provider.world().add_fact(MAIL, TEAM);
    globex.poll().await;
    eventually_in_feed(&globex, MAIL, TEAM, 1).await;
    delete(&globex, mail).await;
    assert_eq!(provider.world().revocations, 1);
    assert!(
        channels(&provider).is_empty(),
        "ended before the revocation"
    );
}

async fn delete(tenant: &Tenant<'_>, connection: Uuid) {
    let path = format!("/v1/connections/{connection}");
    let response = tenant.request(Method::DELETE, &path, None).await;
    assert_eq!(response.status().as_u16(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_quota_is_kept_by_all_workers() {
    let (provider, system) = start(2).await;
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, CALENDAR).await;
    // From now on every call needs a new token.
    provider.world().token_ttl = 1;
    let expire = "UPDATE credentials SET expires_at = now() WHERE connection_id = $1";
    execute(&system, expire, connection).await;
    tenant.poll().await;
    let limited = async || {
        // The job that refreshes the token waits as well.
        let limited = "SELECT count(*) FROM jobs \
                       WHERE connection_id = $1 AND kind = 'sync_connection' \
                         AND last_error->>'code' = 'rate_limited' \
                         AND run_at > now() + interval '5 minutes'";
        count(&system, limited, connection).await
    };
    eventually("the poll waits for the quota", async || {
        limited().await == 1
    })
    .await;
    assert_eq!(provider.wake_up(TEAM).await, [200]);
    eventually("so does the wake-up", async || limited().await == 2).await;
    assert_eq!(provider.world().refreshes, TOKEN_QUOTA.refreshes);
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["status"], "active", "a quota ends no grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_scope_degrades_its_streams_only() {
    let (provider, system) = start(1).await;
    provider.world().withheld.insert("files.read");
    for stream in [TEAM, PLAN] {
        provider.world().add_fact(CALENDAR, stream);
    }
    let tenant = system.tenant("Acme").await;
    let connection = connect(&system, &tenant, CALENDAR).await;
    eventually_in_feed(&tenant, CALENDAR, TEAM, 1).await;
    let show = async || tenant.get(&format!("/v1/connections/{connection}")).await;
    let mut shown = Value::Null;
    eventually("the connection names the stream", async || {
        shown = show().await;
        shown["held_back_by"]["stream"] == PLAN
    })
    .await;
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["last_error"]["code"], "permission");
    let message = shown["last_error"]["message"].as_str().expect("a text");
    assert!(
        message.contains(PLAN) && message.contains("files.read"),
        "{message}"
    );
    assert_eq!(shown["complete_through"], Value::Null);
    let read = provider.world().reads_of(CALENDAR, PLAN);
    assert_eq!(read, 0, "the provider is not asked");

    provider.world().withheld.clear();
    tenant.connect_to(CALENDAR, PERSON, PERSON).await;
    eventually_in_feed(&tenant, CALENDAR, PLAN, 1).await;
    eventually("nothing is withheld", async || {
        show().await["last_error"].is_null()
    })
    .await;
}
