//! GitHub's recorded responses through the whole system.
//!
//! The system connects the recorded accounts and reads their lists. The feed must have exactly
//! the facts of the rows.

mod facts;
mod recorded_github;
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
use crate::report::print;
use facts::Fact;
use recorded_github::{RecordedGitHub, Running, TokenStep};
use world::World;

/// Maximum of the setting. The oldest recordings are older.
const BACKFILL_DAYS: i64 = 3650;
/// Wait after a secondary rate limit of GitHub without a stated duration.
const UNSTATED_LIMIT: Duration = Duration::seconds(60);
/// Longest wait that the tests spend in real time.
const MAX_REAL_WAIT: Duration = Duration::seconds(10);

/// Accounts of the recordings with rows of several kinds.
const BUSY: &str = "panjf2000";
const OTHER: &str = "viictoo";

/// The system, with the local server as GitHub.
fn system(running: &Running) -> SystemBuilder {
    System::with_fast_provider()
        .env("POBLYSH_GITHUB_WEB_BASE_URL", running.server.url.as_str())
        .env("POBLYSH_GITHUB_API_BASE_URL", running.server.url.as_str())
        .env("POBLYSH_BACKFILL_DAYS", BACKFILL_DAYS.to_string())
}

async fn connect(github_server: &RecordedGitHub, tenant: &Tenant<'_>, login: &str) -> Uuid {
    github_server.install(github_server.installation(login));
    tenant.connect(login, login).await
}

fn floor() -> DateTime<Utc> {
    SystemClock.now() - Duration::days(BACKFILL_DAYS)
}

/// Facts of the feed, by dedupe key. Panics on a duplicate.
async fn feed_facts(tenant: &Tenant<'_>) -> BTreeMap<String, Fact> {
    let mut facts = BTreeMap::new();
    for (key, fact) in tenant.map_feed(facts::of_signal).await {
        assert!(facts.insert(key.clone(), fact).is_none(), "duplicate {key}");
    }
    facts
}

/// Asserts that the feed has exactly these facts, each once.
async fn assert_feed(tenant: &Tenant<'_>, expected: &BTreeMap<String, Fact>) {
    // The feed ends below the oldest running transaction of the cluster.
    eventually("the feed has all Signals", async || {
        tenant.count_signals().await <= tenant.map_feed(|_| ()).await.len()
    })
    .await;
    let actual = feed_facts(tenant).await;
    let missing: Vec<_> = expected
        .keys()
        .filter(|key| !actual.contains_key(*key))
        .collect();
    let unexpected: Vec<_> = actual
        .keys()
        .filter(|key| !expected.contains_key(*key))
        .collect();
    assert!(
        missing.is_empty() && unexpected.is_empty(),
        "missing {missing:#?}, unexpected {unexpected:#?}"
    );
    for (key, fact) in expected {
        assert_eq!(&actual[key], fact, "{key}");
    }
}

/// Asserts that all connections are active and complete, and no row failed.
async fn assert_healthy(tenant: &Tenant<'_>) {
    let connections = tenant.get_when_current("/v1/connections?limit=200").await;
    for connection in connections["connections"].as_array().expect("a list") {
        assert_eq!(connection["status"], "active", "{connection:#}");
        assert_eq!(connection["last_error"], Value::Null, "{connection:#}");
        assert!(connection["backfilled_at"].is_string(), "{connection:#}");
        assert!(connection["complete_through"].is_string(), "{connection:#}");
        // A search may have deferred a stream of which the feed has everything.
        let held_back_by = &connection["held_back_by"];
        assert!(
            held_back_by.is_null() || held_back_by["code"] == "deferred",
            "{connection:#}"
        );
    }
    let failed = tenant.get("/v1/webhook-deliveries?outcome=failed").await;
    assert_eq!(failed["deliveries"], json!([]), "failed rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_rows_become_signals_once() {
    let Some(folder) = Folder::open() else { return };
    let running = recorded_github::start(World::of(&recordings::all(&folder))).await;
    let github_server = &running.github_server;
    let system = system(&running).start().await;
    github_server.set_callback(&system.api);
    let tenant = system.tenant("Recorded").await;
    for account in &github_server.world.accounts {
        connect(github_server, &tenant, &account.login).await;
    }
    system.drain().await;
    let expected = facts::of_world(&github_server.world, floor());
    assert_feed(&tenant, &expected).await;
    assert_healthy(&tenant).await;

    // A second run reads everything again without duplicates.
    tenant.poll_and_reconcile().await;
    system.drain().await;
    assert_feed(&tenant, &expected).await;
    assert_healthy(&tenant).await;
    let requests = github_server.requests();
    let unchanged = requests
        .iter()
        .filter(|request| request.status == 304)
        .count();
    assert!(unchanged > 0, "unchanged lists are requested conditionally");
    let unknown: BTreeSet<_> = requests
        .iter()
        .filter(|request| request.status == 404)
        .map(|request| &request.target)
        .collect();
    assert!(unknown.is_empty(), "not found: {unknown:#?}");
    report(&github_server.world, &expected, requests.len(), unchanged);
}

fn report(world: &World, expected: &BTreeMap<String, Fact>, requests: usize, unchanged: usize) {
    let of = |counts: &BTreeMap<String, usize>| {
        let counts: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        counts.join(", ")
    };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for fact in expected.values() {
        *kinds.entry(fact.kind.clone()).or_default() += 1;
    }
    let old = facts::of_world(world, DateTime::UNIX_EPOCH).len() - expected.len();
    print(&format!(
        "connected {} recorded accounts with {} repositories; rows: {}",
        world.accounts.len(),
        world.repositories.len(),
        of(&world.recorded)
    ));
    print(&format!(
        "  {} Signals: {}; {old} facts are too old",
        expected.len(),
        of(&kinds)
    ));
    print(&format!(
        "  {requests} requests, {unchanged} of them with status 304"
    ));
    assert!(expected.len() > 100 && old > 0, "recordings are missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_installation_is_not_connected() {
    let Some(folder) = Folder::open() else { return };
    let running = recorded_github::start(World::of(&recordings::all(&folder))).await;
    let github_server = &running.github_server;
    let mut installations = github_server.world.installations.iter();
    let suspended = installations.find(|(_, object)| object["suspended_at"].is_string());
    let (id, _) = suspended.expect("a suspended installation");
    let system = system(&running).start().await;
    github_server.set_callback(&system.api);
    let tenant = system.tenant("Recorded").await;
    github_server.install(*id);
    let response = tenant
        .run_connect_flow("github", "hub4j-test-org", "any-user")
        .await;
    assert_eq!(response.status().as_u16(), 400);
    let body: Value = response.json().await.expect("JSON");
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

/// Wait that a recorded error demands; `None` if it is not a rate limit.
fn stated_wait(error_response: &Value) -> Option<Duration> {
    if error_response["status"] == 401 {
        return None;
    }
    let now = SystemClock.now();
    let response = github::fill_response(error_response, now);
    let header = |name: &str| {
        let mut headers = response.headers.iter();
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
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
                let reset = header("x-ratelimit-reset").expect("a reset time").parse();
                until(DateTime::from_timestamp(reset.expect("seconds"), 0).expect("a time"))
            }
            _ => UNSTATED_LIMIT,
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_limits_delay_syncs_and_keep_connections() {
    let Some(folder) = Folder::open() else { return };
    let running = recorded_github::start(World::of(&recordings::all(&folder))).await;
    let github_server = &running.github_server;
    let system = system(&running).start().await;
    github_server.set_callback(&system.api);
    let (short, long): (Vec<Value>, Vec<Value>) = recordings::error_responses(&folder)
        .into_iter()
        .partition(|error_response| {
            stated_wait(error_response).is_none_or(|wait| wait <= MAX_REAL_WAIT)
        });
    assert!(
        short.len() >= 5 && long.len() >= 2,
        "{} and {}",
        short.len(),
        long.len()
    );
    // One account for each long wait, and one account for all short waits.
    let mut accounts: Vec<&str> = github_server
        .world
        .accounts
        .iter()
        .map(|account| account.login.as_str())
        .collect();
    accounts.retain(|login| ![BUSY, OTHER].contains(login));
    for (error_response, login) in long.iter().zip(accounts) {
        assert_sync_waits(&system, github_server, login, error_response).await;
    }
    let unknown = short
        .iter()
        .find(|error_response| stated_wait(error_response).is_none());
    assert_reads_after_unknown_app(&system, github_server, OTHER, unknown.expect("a 401")).await;
    assert_reads_despite_errors(&system, github_server, BUSY, &short).await;
}

/// Asserts that a rate limit delays the sync by its stated wait, without other effects.
async fn assert_sync_waits(
    system: &System,
    github_server: &RecordedGitHub,
    login: &str,
    error_response: &Value,
) {
    let wait = stated_wait(error_response).expect("a limit");
    let tenant = system.tenant(login).await;
    let installation = github_server.installation(login);
    github_server.inject_errors(
        (installation, TokenStep::Use),
        std::slice::from_ref(error_response),
    );
    let connection = connect(github_server, &tenant, login).await;
    let path = format!("/v1/jobs?connection_id={connection}&kind=sync_connection&state=queued");
    let mut job = Value::Null;
    eventually("the sync waits", async || {
        job = tenant.get(&path).await["jobs"][0].clone();
        job["error"]["code"] == "rate_limited"
    })
    .await;
    let requests = github_server.requests_of(installation);
    assert_eq!(
        requests.len(),
        2,
        "a token request and the rejected one: {requests:#?}"
    );
    assert_eq!(job["attempts"], 0, "{job:#}");
    let next = job["next_run_at"].as_str().expect("a time");
    let next: DateTime<Utc> = next.parse().expect("RFC 3339");
    let waits = next - requests[1].at;
    assert!(
        waits >= wait - Duration::seconds(1) && waits <= wait + Duration::seconds(10),
        "{waits} instead of {wait}: {job:#}"
    );
    let connection = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(connection["status"], "active", "{connection:#}");
    assert_eq!(
        connection["last_error"]["code"], "rate_limited",
        "{connection:#}"
    );
}

/// Asserts that a temporarily unknown app keeps the connection active.
///
/// The error may be temporary and says nothing about the grant, so a later attempt reads everything.
async fn assert_reads_after_unknown_app(
    system: &System,
    github_server: &RecordedGitHub,
    login: &str,
    error_response: &Value,
) {
    let tenant = system.tenant(login).await;
    github_server.inject_errors(
        (github_server.installation(login), TokenStep::Issue),
        std::slice::from_ref(error_response),
    );
    let connection = connect(github_server, &tenant, login).await;
    let path = format!("/v1/connections/{connection}");
    eventually("the account was read", async || {
        let connection = tenant.get(&path).await;
        assert_eq!(connection["status"], "active", "{connection:#}");
        connection["backfilled_at"].is_string()
    })
    .await;
    assert_account_feed(github_server, &tenant, login).await;
}

/// Asserts that the feed has the facts of an account, and its connection is healthy.
async fn assert_account_feed(github_server: &RecordedGitHub, tenant: &Tenant<'_>, login: &str) {
    assert_healthy(tenant).await;
    let repositories = github_server.world.repositories_of(login);
    let ids: BTreeSet<String> = repositories
        .map(|repository| repository.id().to_string())
        .collect();
    let mut expected = facts::of_world(&github_server.world, floor());
    expected.retain(|_, fact| ids.contains(&fact.context));
    assert!(expected.len() > 10, "{login} has too few rows");
    assert_feed(tenant, &expected).await;
}

/// Asserts that an account is read completely despite error responses.
///
/// Each request after a rate limit waits as long as the limit demands.
async fn assert_reads_despite_errors(
    system: &System,
    github_server: &RecordedGitHub,
    login: &str,
    error_responses: &[Value],
) {
    let tenant = system.tenant(login).await;
    let installation = github_server.installation(login);
    // The token request gets an error too.
    let mut limits = error_responses
        .iter()
        .filter(|error_response| stated_wait(error_response).is_some());
    let token_errors = [limits.next().expect("a limit").clone()];
    let waits: Vec<Option<Duration>> = token_errors
        .iter()
        .chain(error_responses)
        .map(stated_wait)
        .collect();
    github_server.inject_errors((installation, TokenStep::Issue), &token_errors);
    github_server.inject_errors((installation, TokenStep::Use), error_responses);
    let connection = connect(github_server, &tenant, login).await;
    let path = format!("/v1/connections/{connection}");
    eventually("the account was read", async || {
        let connection = tenant.get(&path).await;
        assert_eq!(connection["status"], "active", "{connection:#}");
        connection["backfilled_at"].is_string()
    })
    .await;
    assert_account_feed(github_server, &tenant, login).await;

    let requests = github_server.requests_of(installation);
    let errors = requests.iter().filter(|request| request.is_error).count();
    assert_eq!(errors, waits.len(), "unused error responses");
    let pairs = requests.windows(2).filter(|pair| pair[0].is_error);
    for (pair, wait) in pairs.zip(waits) {
        let waited = pair[1].at - pair[0].at;
        // Limits state their end in whole seconds.
        let min_wait = wait.unwrap_or_default() - Duration::seconds(1);
        assert!(
            waited >= min_wait,
            "{waited} instead of {wait:?}: {pair:#?}"
        );
    }
}
