//! GitHub's recorded answers, given to the whole product: it connects, reads, and its feed must
//! tell what the rows say.

mod facts;
mod hub;
mod recordings;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{System, SystemBuilder, Tenant, eventually};
use uuid::Uuid;

use crate::folder::Folder;
use crate::github;
use crate::report::say;
use facts::Fact;
use hub::{Hub, Running, TokenStep};
use world::World;

/// As far back as the settings allow; the oldest recordings are older.
const BACKFILL_DAYS: i64 = 3650;
/// How long GitHub's secondary limits last that do not say so: a minute at least.
const UNSTATED_LIMIT: Duration = Duration::seconds(60);
/// What is waited for here in real time.
const SHORT: Duration = Duration::seconds(10);

/// Accounts of the recordings with rows of several kinds.
const BUSY: &str = "panjf2000";
const OTHER: &str = "viictoo";

/// The product, whose GitHub is the recordings.
fn system(running: &Running) -> SystemBuilder {
    System::with_fast_provider()
        .env("POBLYSH_GITHUB_WEB_BASE_URL", running.server.url.as_str())
        .env("POBLYSH_GITHUB_API_BASE_URL", running.server.url.as_str())
        .env("POBLYSH_BACKFILL_DAYS", BACKFILL_DAYS.to_string())
}

async fn connect(hub: &Hub, tenant: &Tenant<'_>, login: &str) -> Uuid {
    hub.install(hub.installation(login));
    tenant.connect(login, login).await
}

fn floor() -> DateTime<Utc> {
    SystemClock.now() - Duration::days(BACKFILL_DAYS)
}

/// Every Signal of the feed as a fact, by its key; fails when one is told twice.
async fn told(tenant: &Tenant<'_>) -> BTreeMap<String, Fact> {
    let mut told = BTreeMap::new();
    for (key, fact) in tenant.feed_of(facts::told).await {
        assert!(
            told.insert(key.clone(), fact).is_none(),
            "told twice: {key}"
        );
    }
    told
}

/// The feed tells these facts, each once and as the rows have it, and nothing else.
async fn assert_tells(tenant: &Tenant<'_>, must: &BTreeMap<String, Fact>) {
    // The feed shows what lies below the oldest running transaction of the cluster.
    eventually("the feed is as long as it must be", async || {
        tenant.stored().await <= tenant.feed_of(|_| ()).await.len()
    })
    .await;
    let told = told(tenant).await;
    let missing: Vec<_> = must.keys().filter(|key| !told.contains_key(*key)).collect();
    let invented: Vec<_> = told.keys().filter(|key| !must.contains_key(*key)).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "without {missing:#?}, with {invented:#?}"
    );
    for (key, fact) in must {
        assert_eq!(&told[key], fact, "{key}");
    }
}

/// Every connection is active and complete, and no row was found unreadable.
async fn assert_healthy(tenant: &Tenant<'_>) {
    let connections = tenant.get("/v1/connections?limit=200").await;
    for connection in connections["connections"].as_array().expect("a list") {
        assert_eq!(connection["status"], "active", "{connection:#}");
        assert_eq!(connection["last_error"], Value::Null, "{connection:#}");
        assert!(connection["backfilled_at"].is_string(), "{connection:#}");
        assert!(connection["complete_through"].is_string(), "{connection:#}");
        // A search may have deferred a stream on which the feed has everything.
        let held = &connection["held_back_by"];
        assert!(
            held.is_null() || held["code"] == "deferred",
            "{connection:#}"
        );
    }
    let failed = tenant.get("/v1/webhook-deliveries?outcome=failed").await;
    assert_eq!(failed["deliveries"], json!([]), "rows that were not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_rows_become_signals_once() {
    let Some(folder) = Folder::open() else { return };
    let running = hub::start(World::of(&recordings::all(&folder))).await;
    let hub = &running.hub;
    let system = system(&running).start().await;
    hub.call_back_to(&system.api);
    let tenant = system.tenant("Recorded").await;
    for account in &hub.world.accounts {
        connect(hub, &tenant, &account.login).await;
    }
    system.drain().await;
    let must = facts::of(&hub.world, floor());
    assert_tells(&tenant, &must).await;
    assert_healthy(&tenant).await;

    // Everything is asked for again, and told no second time.
    tenant.poll_and_reconcile().await;
    system.drain().await;
    assert_tells(&tenant, &must).await;
    assert_healthy(&tenant).await;
    let asked = hub.asked();
    let unchanged = asked.iter().filter(|one| one.status == 304).count();
    assert!(
        unchanged > 0,
        "lists that had not changed were asked for as such"
    );
    let unknown: BTreeSet<_> = asked
        .iter()
        .filter(|one| one.status == 404)
        .map(|one| &one.what)
        .collect();
    assert!(unknown.is_empty(), "nothing was there for {unknown:#?}");
    report(&hub.world, &must, asked.len(), unchanged);
}

fn report(world: &World, must: &BTreeMap<String, Fact>, asked: usize, unchanged: usize) {
    let of = |counts: &BTreeMap<String, usize>| {
        let counts: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        counts.join(", ")
    };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for fact in must.values() {
        *kinds.entry(fact.kind.clone()).or_default() += 1;
    }
    let old = facts::of(world, DateTime::UNIX_EPOCH).len() - must.len();
    say(&format!(
        "{} accounts and {} repositories of the recordings were connected; rows: {}",
        world.accounts.len(),
        world.repositories.len(),
        of(&world.recorded)
    ));
    say(&format!(
        "  {} Signals: {}; {old} more are too old",
        must.len(),
        of(&kinds)
    ));
    say(&format!(
        "  {asked} requests, {unchanged} of them answered 304"
    ));
    assert!(
        must.len() > 100 && old > 0,
        "the recordings are where they should be"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_installation_of_the_recordings_connects_nothing() {
    let Some(folder) = Folder::open() else { return };
    let running = hub::start(World::of(&recordings::all(&folder))).await;
    let hub = &running.hub;
    let mut installations = hub.world.installations.iter();
    let suspended = installations.find(|(_, one)| one["suspended_at"].is_string());
    let (id, _) = suspended.expect("one was recorded");
    let system = system(&running).start().await;
    hub.call_back_to(&system.api);
    let tenant = system.tenant("Recorded").await;
    hub.install(*id);
    let answer = tenant.walk("hub4j-test-org", "anybody").await;
    assert_eq!(answer.status().as_u16(), 400);
    let body: Value = answer.json().await.expect("JSON");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|text| text.contains("suspended")),
        "{body}"
    );
    assert_eq!(
        tenant.get("/v1/connections").await["connections"],
        json!([])
    );
}

/// How long a recorded refusal asks to wait; nothing where it is no limit.
fn wait(refusal: &Value) -> Option<Duration> {
    if refusal["status"] == 401 {
        return None;
    }
    let now = SystemClock.now();
    let answer = github::answer(refusal, now);
    let header = |name: &str| {
        let mut headers = answer.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let until = |at: DateTime<Utc>| at - now;
    Some(
        match (header("retry-after"), header("x-ratelimit-remaining")) {
            (Some(text), _) => match text.parse() {
                Ok(seconds) => Duration::seconds(seconds),
                Err(_) => until(DateTime::parse_from_rfc2822(text).expect("a date").to_utc()),
            },
            (None, Some("0")) => {
                let reset = header("x-ratelimit-reset").expect("an end").parse();
                until(DateTime::from_timestamp(reset.expect("seconds"), 0).expect("a time"))
            }
            _ => UNSTATED_LIMIT,
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_refusals_are_waited_for_and_end_no_connection() {
    let Some(folder) = Folder::open() else { return };
    let running = hub::start(World::of(&recordings::all(&folder))).await;
    let hub = &running.hub;
    let system = system(&running).start().await;
    hub.call_back_to(&system.api);
    let (short, long): (Vec<Value>, Vec<Value>) = recordings::refusals(&folder)
        .into_iter()
        .partition(|refusal| wait(refusal).is_none_or(|wait| wait <= SHORT));
    assert!(
        short.len() >= 5 && long.len() >= 2,
        "{} and {}",
        short.len(),
        long.len()
    );
    // One account for each wait that is too long for a test, and one that meets all the others.
    let mut accounts: Vec<&str> = hub
        .world
        .accounts
        .iter()
        .map(|account| account.login.as_str())
        .collect();
    accounts.retain(|login| ![BUSY, OTHER].contains(login));
    for (refusal, login) in long.iter().zip(accounts) {
        assert_run_waits(&system, hub, login, refusal).await;
    }
    let unknown = short.iter().find(|refusal| wait(refusal).is_none());
    assert_read_once_app_is_known(&system, hub, OTHER, unknown.expect("a 401")).await;
    assert_read_after(&system, hub, BUSY, &short).await;
}

/// A refusal makes the run wait for as long as it says, and nothing else.
async fn assert_run_waits(system: &System, hub: &Hub, login: &str, refusal: &Value) {
    let wait = wait(refusal).expect("a limit");
    let tenant = system.tenant(login).await;
    let installation = hub.installation(login);
    hub.refuse(
        (installation, TokenStep::Use),
        std::slice::from_ref(refusal),
    );
    let connection = connect(hub, &tenant, login).await;
    let path = format!("/v1/jobs?connection_id={connection}&kind=sync_connection&state=queued");
    let mut job = Value::Null;
    eventually("the run waits", async || {
        job = tenant.get(&path).await["jobs"][0].clone();
        job["error"]["code"] == "rate_limited"
    })
    .await;
    let asked = hub.asked_for(installation);
    assert_eq!(asked.len(), 2, "a token, and what was refused: {asked:#?}");
    assert_eq!(job["attempts"], 0, "{job:#}");
    let next = job["next_run_at"].as_str().expect("a time");
    let next: DateTime<Utc> = next.parse().expect("RFC 3339");
    let waits = next - asked[1].at;
    assert!(
        waits >= wait - Duration::seconds(1) && waits <= wait + Duration::seconds(10),
        "{waits} instead of {wait}: {job:#}"
    );
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["status"], "active", "{shown:#}");
    assert_eq!(shown["last_error"]["code"], "rate_limited", "{shown:#}");
}

/// GitHub that does not know the app for a moment is the operator's business: the grant is not
/// doubted, and the next poll reads everything.
async fn assert_read_once_app_is_known(system: &System, hub: &Hub, login: &str, refusal: &Value) {
    let tenant = system.tenant(login).await;
    hub.refuse(
        (hub.installation(login), TokenStep::Mint),
        std::slice::from_ref(refusal),
    );
    let connection = connect(hub, &tenant, login).await;
    let path = format!("/v1/connections/{connection}");
    eventually("it is said why nothing is read", async || {
        let connection = tenant.get(&path).await;
        assert_eq!(connection["status"], "active", "{connection:#}");
        connection["last_error"]["code"] == "permanent"
    })
    .await;
    sqlx::query("UPDATE connection_routes SET next_sync_at = now() WHERE tenant_id = $1")
        .bind(tenant.id)
        .execute(system.db.pool())
        .await
        .expect("the poll is due");
    eventually("the account was read", async || {
        tenant.get(&path).await["backfilled_at"].is_string()
    })
    .await;
    assert_tells_account(hub, &tenant, login).await;
}

/// The feed tells what the rows of one account say, and the account is well.
async fn assert_tells_account(hub: &Hub, tenant: &Tenant<'_>, login: &str) {
    assert_healthy(tenant).await;
    let repositories = hub.world.repositories_of(login);
    let own: BTreeSet<String> = repositories.map(|one| one.id().to_string()).collect();
    let mut must = facts::of(&hub.world, floor());
    must.retain(|_, fact| own.contains(&fact.context));
    assert!(must.len() > 10, "{login} has rows");
    assert_tells(tenant, &must).await;
}

/// An account is read to the end though its requests are refused one after the other, and none
/// follows a refusal before that allows it.
async fn assert_read_after(system: &System, hub: &Hub, login: &str, refusals: &[Value]) {
    let tenant = system.tenant(login).await;
    let installation = hub.installation(login);
    // The token is refused as well.
    let mut limits = refusals.iter().filter(|refusal| wait(refusal).is_some());
    let minting = [limits.next().expect("a limit").clone()];
    let waits: Vec<Option<Duration>> = minting.iter().chain(refusals).map(wait).collect();
    hub.refuse((installation, TokenStep::Mint), &minting);
    hub.refuse((installation, TokenStep::Use), refusals);
    let connection = connect(hub, &tenant, login).await;
    let path = format!("/v1/connections/{connection}");
    eventually("the account was read", async || {
        let connection = tenant.get(&path).await;
        assert_eq!(connection["status"], "active", "{connection:#}");
        connection["backfilled_at"].is_string()
    })
    .await;
    assert_tells_account(hub, &tenant, login).await;

    let asked = hub.asked_for(installation);
    let refused = asked.iter().filter(|one| one.is_refused).count();
    assert_eq!(refused, waits.len(), "every refusal was met");
    let pairs = asked.windows(2).filter(|pair| pair[0].is_refused);
    for (pair, wait) in pairs.zip(waits) {
        let waited = pair[1].at - pair[0].at;
        // Ends are told in whole seconds.
        let least = wait.unwrap_or_default() - Duration::seconds(1);
        assert!(waited >= least, "{waited} instead of {wait:?}: {pair:#?}");
    }
}
