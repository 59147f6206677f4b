//! Three providers, twenty tenants, two of each process, and everything that can go wrong.
//!
//! A minute by default; `POBLYSH_CHAOS_SECONDS` makes it longer, `POBLYSH_CHAOS_SEED` repeats a
//! run's choices. `scripts/test --chaos` is the long way.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{CompletenessReader, Process, System, Tenant, eventually, is_listed, setting};
use tests::simulator::Filter;

/// Tenants: three of four have an account at one provider, the fourth at all.
const TENANTS: usize = 20;
const PROVIDERS: [&str; 3] = ["github", "slack", "jira"];

/// Kills of workers per rotation that is lost, at the least: a refresh takes a moment, and a kill
/// of the other worker does not meet it.
const MIN_KILLS_PER_LOST_ROTATION: usize = 32;
/// How long an attempt to refresh a token lasts at most: the simulator answers at once.
const MAX_ATTEMPT: TimeDelta = TimeDelta::seconds(5);
/// How much later than a kill an attempt may seem to begin, by the clock of Postgres.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(1);

/// An account that a tenant has connected.
struct Account {
    provider: &'static str,
    id: String,
    admin: String,
}

/// What goes wrong all the time.
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
        // Renewals whose answer is lost; whoever asked must ask again.
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

/// Connects every tenant, before anything goes wrong.
async fn connect(system: &System) -> Vec<(Tenant<'_>, Vec<Account>)> {
    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        let tenant = system.tenant(&format!("Tenant {number}")).await;
        let mut accounts = Vec::new();
        for provider in PROVIDERS {
            let chosen = PROVIDERS.get(number % 4);
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

/// Ends the tokens of an account at its provider.
async fn expire(system: &System, account: &Account) {
    let body = match account.provider {
        "github" => json!({ "expire": "installation" }),
        "slack" => json!({ "expire": account.id }),
        _ => json!({ "expire": account.admin }),
    };
    let path = format!("{}/tokens", account.provider);
    system.sim(&path, body).await;
}

/// Slack takes a refresh token once: where a worker was killed before it had written the new one
/// down, the connection says so, and a person connects the account again.
async fn connect_again(system: &System, tenants: &[(Tenant<'_>, Vec<Account>)]) -> usize {
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
                "SELECT EXISTS (SELECT FROM token_rotations WHERE connection_id::text = $1 \
                 AND outcome IS NULL)",
            )
            .bind(connection["id"].as_str())
            .fetch_one(system.db.pool())
            .await
            .expect("Postgres answers");
            assert!(was_cut_short, "every attempt ended: {connection}");
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

/// Nothing but the kill of a worker leaves an attempt to refresh a token without an end: an answer
/// that was not committed for another reason would look the same.
async fn assert_kills_explain_open_attempts(system: &System, kills: &[DateTime<Utc>]) {
    let open: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT connection_id::text, attempted_at FROM token_rotations WHERE outcome IS NULL",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers");
    for (connection, attempted_at) in &open {
        let during = *attempted_at - CLOCK_TOLERANCE..=*attempted_at + MAX_ATTEMPT;
        assert!(
            kills.iter().any(|kill| during.contains(kill)),
            "no kill cut the attempt of {attempted_at} for {connection} short: {kills:?}"
        );
    }
    eprintln!("chaos: {} refreshes of tokens were cut short", open.len());
}

/// After an ordinary poll only those facts may be missing that the reconciliation pass alone finds.
async fn assert_polls_find_what_lists_show(tenants: &[(Tenant<'_>, Vec<Account>)]) {
    for (tenant, accounts) in tenants {
        let ids: Vec<&str> = accounts.iter().map(|one| one.id.as_str()).collect();
        // Other tests in the same cluster may hold the feed back for a moment.
        eventually("polls have found what lists show", async || {
            let (missing, _) = tenant.difference(&ids).await;
            let listed = missing.iter().find(|(kind, key)| is_listed(kind, key));
            listed.is_none()
        })
        .await;
    }
}

/// Has everything found that was lost: deliveries are asked for again, accounts whose refresh
/// token was lost are connected again, and each connection is polled once.
async fn recover(
    system: &System,
    tenants: &[(Tenant<'_>, Vec<Account>)],
    worker_kills: &[DateTime<Utc>],
) {
    system.sweep().await;
    let mut again = connect_again(system, tenants).await;
    for (tenant, _) in tenants {
        tenant.poll().await;
    }
    system.drain().await;
    // Where nothing has needed a token since.
    again += connect_again(system, tenants).await;
    system.drain().await;
    let kills = worker_kills.len();
    eprintln!("chaos: {again} accounts were connected again after {kills} kills of workers");
    assert_kills_explain_open_attempts(system, worker_kills).await;
    let most = 2 + kills / MIN_KILLS_PER_LOST_ROTATION;
    assert!(
        again <= most,
        "{again} rotations were lost to {kills} kills of workers"
    );
    assert_polls_find_what_lists_show(tenants).await;
}

/// Twenty accounts at each provider, and two of each process that reads them.
async fn start(seed: u64) -> System {
    let system = System::with_fast_provider()
        .simulator(|sim| {
            sim.seed = Some(seed);
            (sim.accounts, sim.repositories, sim.history) = (TENANTS, 1, 2);
        })
        .env("POBLYSH_POLL_INTERVAL_SECONDS", "30")
        .workers(2)
        .pairs()
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
async fn after_everything_that_went_wrong_signals_equal_the_ledgers() {
    let seed = setting("POBLYSH_CHAOS_SEED", rand::random_range(1..1_000_000));
    let lasts = Duration::from_secs(setting("POBLYSH_CHAOS_SECONDS", 60));
    eprintln!("chaos: {lasts:?}; POBLYSH_CHAOS_SEED={seed} repeats the choices of this run");
    let mut rng = StdRng::seed_from_u64(seed);
    let system = start(seed).await;
    let tenants = connect(&system).await;
    // A version of Jira's has no time: what is there at the first look is not told.
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
    let until = Instant::now() + lasts;
    let (mut kills, mut worker_kills) = (0_usize, Vec::new());
    while Instant::now() < until {
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
    // What has piled up may take as long again.
    system.drain_within(lasts.max(Duration::from_mins(2))).await;
    recover(&system, &tenants, &worker_kills).await;
    for (tenant, _) in &tenants {
        tenant.poll_and_reconcile().await;
    }
    system.drain().await;
    for reader in &mut readers {
        reader.assert_completeness_holds().await;
    }
    let compared: usize = readers.iter().map(CompletenessReader::compared).sum();
    assert!(compared > 0, "no page promised a fact");
    eprintln!("chaos: pages promised {compared} facts, all of which the feed had");
    let mut told = 0;
    for (tenant, accounts) in &tenants {
        let ids: Vec<&str> = accounts.iter().map(|one| one.id.as_str()).collect();
        tenant.assert_equals_ledgers(&ids).await;
        told += tenant.identities().await.len();
    }
    eprintln!("chaos: {told} Signals of {TENANTS} tenants equal the ledgers");
}
