//! Chaos test: all faults and process kills at once, with every provider and twenty tenants.
//!
//! It takes a minute; `POBLYSH_CHAOS_SECONDS` makes it longer, `POBLYSH_CHAOS_SEED` repeats a
//! run's random choices. `scripts/test --chaos` is the long form.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use provider_sim::Filter;
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{CompletenessReader, Process, System, Tenant, eventually, setting};

/// Number of tenants: one of a few has an account at every provider, the others at one each.
const TENANTS: usize = 20;

/// Minimum number of worker kills per lost refresh token.
///
/// A refresh is short, and half of the kills are of the other worker.
const MIN_KILLS_PER_LOST_TOKEN: usize = 32;
/// Maximum duration of a token refresh on a busy computer, with a simulator without delay.
const MAX_ATTEMPT: TimeDelta = TimeDelta::seconds(10);
/// Maximum difference between this process's clock and that of Postgres.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(1);

/// Account that a tenant has connected.
struct Account {
    provider: &'static str,
    id: String,
    admin: String,
}

/// Faults that are active during the whole run.
fn faults() -> Vec<Value> {
    let delivery = |effect: &str, percent: f64| json!({ "target": "delivery", "effect": effect, "percent": percent, "seconds": 0.5 });
    let request = |pattern: &str, effect: &str, percent: f64| {
        json!({ "target": "request", "pattern": pattern, "effect": effect,
                "percent": percent, "seconds": 1.0, "status": 503 })
    };
    vec![
        delivery("drop", 4.0),
        delivery("drop_silently", 2.0),
        delivery("duplicate", 6.0),
        delivery("delay", 4.0),
        delivery("reorder", 4.0),
        delivery("wrong_signature", 2.0),
        // Token refreshes whose response is lost, so that they must be repeated.
        request("POST /auth/oauth/token", "lose_response", 10.0),
        request("access_tokens", "lose_response", 10.0),
        request("oauth.v2.access", "status", 10.0),
        request("GET ", "status", 2.0),
        request("GET ", "too_many_requests", 1.0),
        request("conversations", "too_many_requests", 2.0),
        request("users.", "status", 3.0),
        request("search/jql", "reset", 3.0),
        request("search/jql", "truncate", 2.0),
    ]
}

/// Connects every tenant before the faults start.
async fn connect(system: &System) -> Vec<(Tenant<'_>, Vec<Account>)> {
    let mut tenants = Vec::new();
    let providers = system.simulator.slugs();
    for number in 0..TENANTS {
        let tenant = system.tenant(&format!("Tenant {number}")).await;
        let mut accounts = Vec::new();
        for &provider in &providers {
            let chosen = providers.get(number % (providers.len() + 1));
            if chosen.is_some_and(|one| *one != provider) {
                continue;
            }
            let (id, admin) = system.accounts_at(provider).await.swap_remove(number);
            tenant.connect_to(provider, &id, &admin).await;
            accounts.push(Account {
                provider,
                id,
                admin,
            });
        }
        tenants.push((tenant, accounts));
    }
    tenants
}

/// Expires the tokens of an account at its provider.
async fn expire(system: &System, account: &Account) {
    let body = match account.provider {
        "github" => json!({ "expire": "installation" }),
        "slack" => json!({ "expire": account.id }),
        _ => json!({ "expire": account.admin }),
    };
    let path = system.simulator.token_commands(account.provider);
    system.sim(&path, body).await;
}

/// Reconnects accounts whose refresh token was lost; returns their number.
///
/// Slack accepts a refresh token once: a worker that is killed before it stores the new one loses
/// it, and the connection needs reauthorization.
async fn reconnect(system: &System, tenants: &[(Tenant<'_>, Vec<Account>)]) -> usize {
    let mut connected = 0;
    for (tenant, accounts) in tenants {
        let connections = tenant.get("/v1/connections").await;
        for connection in connections["connections"].as_array().expect("a list") {
            if connection["status"] == "active" {
                continue;
            }
            assert_eq!(connection["provider"], "slack", "{connection}");
            assert_eq!(connection["status"], "needs_reauth", "{connection}");
            assert_eq!(connection["status_reason"], "rotation_lost", "{connection}");
            let was_cut_short: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM token_refresh_log WHERE connection_id::text = $1 \
                 AND outcome IS NULL)",
            )
            .bind(connection["id"].as_str())
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
            assert!(was_cut_short, "every refresh has a result: {connection}");
            let account = accounts.iter().find(|one| one.provider == "slack");
            let account = account.expect("it was connected");
            tenant
                .connect_to("slack", &account.id, &account.admin)
                .await;
            connected += 1;
        }
    }
    connected
}

/// Asserts that only worker kills left token refreshes without a result.
async fn assert_kills_explain_open_attempts(system: &System, kills: &[DateTime<Utc>]) {
    let open: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT connection_id::text, attempted_at FROM token_refresh_log WHERE outcome IS NULL",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    for (connection, attempted_at) in &open {
        let during = *attempted_at - CLOCK_TOLERANCE..=*attempted_at + MAX_ATTEMPT;
        assert!(
            kills.iter().any(|kill| during.contains(kill)),
            "no kill interrupted the refresh of {attempted_at} for {connection}: {kills:?}"
        );
    }
    eprintln!("chaos: {} token refreshes were interrupted", open.len());
}

/// Asserts that after an incremental sync only facts for the reconciliation pass are missing.
async fn assert_polls_find_all_listed_facts(tenants: &[(Tenant<'_>, Vec<Account>)]) {
    for (tenant, accounts) in tenants {
        let ids: Vec<&str> = accounts.iter().map(|one| one.id.as_str()).collect();
        // Transactions of other tests in the same cluster may hold the feed back.
        eventually("polls have found what lists show", async || {
            let (missing, _) = tenant.difference(&ids).await;
            let listed = missing
                .iter()
                .find(|(kind, key)| tenant.system().simulator.is_listed(kind, key));
            listed.is_none()
        })
        .await;
    }
}

/// Requests redeliveries, reconnects accounts without a refresh token, and polls once.
async fn recover(
    system: &System,
    tenants: &[(Tenant<'_>, Vec<Account>)],
    worker_kills: &[DateTime<Utc>],
    limit: Duration,
) {
    system.redeliver().await;
    let mut reconnected = reconnect(system, tenants).await;
    for (tenant, _) in tenants {
        tenant.poll().await;
    }
    system.drain_within(limit).await;
    // The poll has needed the tokens of all connections.
    reconnected += reconnect(system, tenants).await;
    system.drain_within(limit).await;
    let kills = worker_kills.len();
    eprintln!("chaos: {reconnected} accounts were reconnected after {kills} worker kills");
    assert_kills_explain_open_attempts(system, worker_kills).await;
    let max = 2 + kills / MIN_KILLS_PER_LOST_TOKEN;
    assert!(
        reconnected <= max,
        "{reconnected} refresh tokens were lost to {kills} worker kills"
    );
    assert_polls_find_all_listed_facts(tenants).await;
}

/// Starts a system with twenty accounts at each provider and two of each process.
async fn start(seed: u64) -> System {
    let system = System::with_fast_provider()
        .simulator(|sim| {
            sim.seed = Some(seed);
            (sim.accounts, sim.providers.github.repositories, sim.history) = (TENANTS, 1, 2);
        })
        .env("POBLYSH_POLL_INTERVAL_SECONDS", "30")
        .workers(2)
        .load_balanced()
        .start()
        .await;
    system.simulator.change_slack(|slack| {
        slack.rotation = true;
        slack.retry_seconds = vec![0.0, 1.0, 3.0, 6.0];
    });
    system
        .simulator
        .change_jira(|jira| jira.retry_seconds = vec![0.5, 1.0, 2.0, 4.0, 8.0]);
    system
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_equal_ledgers_after_all_faults() {
    let seed = setting("POBLYSH_CHAOS_SEED", rand::random_range(1..1_000_000));
    let duration = Duration::from_secs(setting("POBLYSH_CHAOS_SECONDS", 60));
    eprintln!("chaos: {duration:?}; POBLYSH_CHAOS_SEED={seed} repeats the choices of this run");
    let mut rng = StdRng::seed_from_u64(seed);
    let system = start(seed).await;
    let tenants = connect(&system).await;
    // Jira's versions have no time: those of the first sync give no Signals.
    system.drain().await;
    let accounts: Vec<&Account> = tenants.iter().flat_map(|(_, accounts)| accounts).collect();
    for fault in faults() {
        system.sim("faults", fault).await;
    }

    let mut readers: Vec<CompletenessReader<'_>> = tenants
        .iter()
        .map(|(tenant, accounts)| {
            let ids: Vec<&str> = accounts.iter().map(|one| one.id.as_str()).collect();
            CompletenessReader::new(tenant, &ids)
        })
        .collect();
    let end = Instant::now() + duration;
    let (mut kills, mut worker_kills) = (0_usize, Vec::new());
    while Instant::now() < end {
        for account in accounts.sample(&mut rng, 6) {
            let body = json!({ "count": rng.random_range(1..15), "account": account.id });
            let path = format!("{}/generate", account.provider);
            system.sim(&path, body).await;
        }
        if let Some(account) = accounts.choose(&mut rng) {
            expire(&system, account).await;
        }
        let every = [
            Process::Worker,
            Process::Worker,
            Process::Ingress,
            Process::Api,
        ];
        if let Some(process) = every.choose(&mut rng) {
            if *process == Process::Worker {
                worker_kills.push(SystemClock.now());
            }
            system.processes().await.kill_and_restart(*process).await;
            kills += 1;
        }
        if let Some(reader) = readers.choose_mut(&mut rng) {
            reader.assert_completeness_holds().await;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..900))).await;
    }

    system.clear_faults().await;
    let facts = system.simulator.ledger(&Filter::default()).len();
    eprintln!("chaos: {facts} facts happened, {kills} processes were killed");
    // Draining the backlog may take as long as the run, and so may reading all of it again.
    let limit = duration.max(Duration::from_mins(2));
    system.drain_within(limit).await;
    recover(&system, &tenants, &worker_kills, limit).await;
    for (tenant, _) in &tenants {
        tenant.poll_and_reconcile().await;
    }
    system.drain_within(limit).await;
    for reader in &mut readers {
        reader.assert_completeness_holds().await;
    }
    let compared: usize = readers.iter().map(CompletenessReader::compared).sum();
    assert!(compared > 0, "no page promised a fact");
    eprintln!("chaos: the feed had all {compared} facts that pages promised");
    let mut signals = 0;
    for (tenant, accounts) in &tenants {
        let ids: Vec<&str> = accounts.iter().map(|one| one.id.as_str()).collect();
        tenant.assert_equals_ledgers(&ids).await;
        signals += tenant.identities().await.len();
    }
    eprintln!("chaos: {signals} Signals of {TENANTS} tenants equal the ledgers");
}
