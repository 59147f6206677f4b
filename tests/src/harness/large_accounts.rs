//! Measurements of large accounts at default settings, within the providers' own limits.
//!
//! Reading them takes hours, so tests and benchmarks run this under a fake clock. The callers
//! judge the returned figures; the feed must equal the ledger.

use std::time::Duration;

use provider_sim::{LimitUsage, Usage};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep};
use uuid::Uuid;

use super::provider::QUOTA_PROVIDER;
use super::{System, Tenant};

/// Time limit of a first sync.
pub const MAX_FIRST_SYNC: Duration = Duration::from_hours(12);
/// Time limit until a fact without a webhook is found.
const MAX_DELAY: Duration = Duration::from_hours(1);
/// Interval between two lost webhooks.
const WEBHOOK_LOSS_INTERVAL: Duration = Duration::from_mins(5);
/// Measurement of an account's first sync.
#[derive(Debug)]
pub struct FirstSync {
    /// Whether it ended in time.
    pub has_ended: bool,
    /// Its duration.
    pub took: Duration,
    /// Requests and quota that it used.
    pub usage: Usage,
}

impl FirstSync {
    /// Connects an account and waits for its backfill.
    ///
    /// # Panics
    ///
    /// When the account cannot be connected, or the feed differs from its ledger.
    pub async fn measure(
        system: &System,
        tenant: &Tenant<'_>,
        provider: &str,
        (account, person): (&str, &str),
    ) -> Self {
        let started = Instant::now();
        let connection = tenant.connect_to(provider, account, person).await;
        let has_ended = wait_for_backfill(tenant, connection, started).await;
        let usage = system.simulator.usage(provider, account);
        let took = started.elapsed();
        report(&format!("{provider}, first sync"), took, &usage);
        if has_ended {
            tenant.assert_feed_equals_ledgers(&[account]).await;
        }
        Self {
            has_ended,
            took,
            usage,
        }
    }
}

/// Waits for a connection's backfill; returns whether it ended in time.
async fn wait_for_backfill(tenant: &Tenant<'_>, connection: Uuid, started: Instant) -> bool {
    let path = format!("/v1/connections/{connection}");
    let mut estimates = Vec::new();
    while started.elapsed() < MAX_FIRST_SYNC {
        let connection = tenant.get(&path).await;
        if connection["backfilled_at"].is_string() {
            for part in [1, 2, 3] {
                if let Some(estimate) = estimates.get(estimates.len() * part / 4) {
                    eprintln!("after {part} quarters: {estimate}");
                }
            }
            return true;
        }
        estimates.push(connection["backfill"].clone());
        sleep(Duration::from_secs(10)).await;
    }
    false
}

/// Size of an account with an hourly quota, and of the load on it.
#[derive(Debug, Clone, Copy)]
pub struct LargeAccount {
    /// Number of containers, such as repositories.
    pub containers: usize,
    /// Number of past facts per container.
    pub history: usize,
    /// Number of new facts per hour while polls are measured.
    pub facts_per_hour: u32,
    /// Duration of the measurement of polls.
    pub polled_for: Duration,
}

/// Share of an account's hourly quota that the system uses.
#[derive(Debug)]
pub struct QuotaUse {
    /// The first sync.
    pub first_sync: FirstSync,
    /// Usage from the first request to the end of the polls.
    pub usage: Usage,
    /// Share of the quota that polls used in their time, or in an hour if they took less.
    pub polls: f64,
    /// Longest time until a fact without a webhook was found.
    pub worst_delay: Duration,
}

impl QuotaUse {
    /// Runs the first sync, then polls while new facts happen.
    ///
    /// # Panics
    ///
    /// When the system does not start, or the feed differs from the ledger.
    pub async fn measure(large: LargeAccount) -> Self {
        let system = System::builder()
            .simulator(|sim| {
                (QUOTA_PROVIDER.configure)(sim, large.containers);
                sim.history = large.history;
            })
            .start()
            .await;
        let provider = QUOTA_PROVIDER.slug;
        let (account, admin) = system.accounts_at(provider).await.remove(0);
        let tenant = system.tenant("Acme").await;
        let first_sync = FirstSync::measure(&system, &tenant, provider, (&account, &admin)).await;
        let started = Instant::now();
        let worst_delay = generate_traffic(&system, &tenant, &account, large).await;
        let usage = system.simulator.usage(provider, &account);
        report(&format!("{provider}, polls"), started.elapsed(), &usage);
        let hours = (started.elapsed().as_secs_f64() / 3600.0).max(1.0);
        let polled = usage.charged.saturating_sub(first_sync.usage.charged);
        let polled = f64::from(u32::try_from(polled).expect("a count"));
        let hourly = quota(&usage).quota.expect("a limit");
        let hourly = f64::from(u32::try_from(hourly).expect("a count"));
        eprintln!(
            "polls used {polled} of {hourly} requests per hour; a fact without a webhook was found \
             after {} s at most",
            worst_delay.as_secs()
        );
        tenant.assert_feed_equals_ledgers(&[&account]).await;
        Self {
            first_sync,
            polls: polled / (hourly * hours),
            usage,
            worst_delay,
        }
    }

    /// Share of the allowed quota that the first sync used.
    ///
    /// # Panics
    ///
    /// When it sent no request.
    pub fn first_sync_share(&self) -> f64 {
        quota(&self.first_sync.usage).share().expect("a limit")
    }
}

/// Generates facts and loses a webhook at intervals.
///
/// Returns the longest time until a fact without a webhook was found.
async fn generate_traffic(
    system: &System,
    tenant: &Tenant<'_>,
    account: &str,
    large: LargeAccount,
) -> Duration {
    let started = Instant::now();
    let mut facts = interval(Duration::from_hours(1) / large.facts_per_hour);
    let mut losses = interval(WEBHOOK_LOSS_INTERVAL);
    let mut kinds = QUOTA_PROVIDER.lost_actions.iter().cycle();
    let mut worst = Duration::ZERO;
    while started.elapsed() < large.polled_for {
        tokio::select! {
            _ = facts.tick() => {
                let body = json!({ "count": 1, "account": account });
                system.sim(&control("generate"), body).await;
            }
            _ = losses.tick() => if let Some(kind) = kinds.next() {
                worst = worst.max(measure_lost_fact(system, tenant, account, *kind).await);
            },
        }
    }
    worst
}

/// Makes a fact happen whose webhook is lost; returns the time until the feed shows it.
async fn measure_lost_fact(
    system: &System,
    tenant: &Tenant<'_>,
    account: &str,
    (action, state): (&str, Option<&str>),
) -> Duration {
    let lost = json!({
        "target": "delivery", "pattern": action, "effect": "drop_silently", "count": 1,
    });
    system.sim("faults", lost).await;
    let act = json!({ "account": account, "action": action, "state": state });
    let done: Value = system.sim(&control("act"), act).await;
    let facts = done["facts"].as_array().expect("facts");
    let unreported = facts
        .iter()
        .find(|fact| fact["webhook"] == false && fact["poll"] == true);
    let key = unreported.and_then(|fact| fact["dedupe_key"].as_str());
    let key = key.unwrap_or_else(|| panic!("{action} lost no fact: {done:#}"));
    let lost_at = Instant::now();
    while lost_at.elapsed() < MAX_DELAY {
        let found: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM signals WHERE tenant_id = $1 AND dedupe_key = $2)",
        )
        .bind(tenant.id)
        .bind(key)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        if found {
            break;
        }
        sleep(Duration::from_secs(5)).await;
    }
    let took = lost_at.elapsed();
    eprintln!(
        "{action} without a webhook was found after {} s",
        took.as_secs()
    );
    took
}

fn quota(usage: &Usage) -> &LimitUsage {
    &usage.limits[QUOTA_PROVIDER.limit]
}

/// Path of the control API of the quota's provider.
fn control(command: &str) -> String {
    format!("{}/{command}", QUOTA_PROVIDER.slug)
}

fn report(phase: &str, took: Duration, usage: &Usage) {
    eprintln!("{phase}: {} s, {usage}", took.as_secs());
}
