//! Large accounts, read at default settings within the limits that the providers enforce.
//!
//! Reading them takes hours, so tests and benchmarks run this under a faked clock. What is
//! measured is answered, not judged; what is read must equal the ledger.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep};
use uuid::Uuid;

use super::{System, Tenant};
use crate::simulator::{Config, LimitUsage, Usage};

/// A first sync that has not ended by then is not waited for any longer.
pub const MAX_FIRST_SYNC: Duration = Duration::from_hours(12);
/// A lost fact that is not found by then is not waited for any longer.
const MAX_DELAY: Duration = Duration::from_hours(1);
/// How often a webhook is lost.
const LOSS_INTERVAL: Duration = Duration::from_mins(5);
/// What happens in turn whose webhook is lost, with the state where it needs one: each kind is on
/// a list of its own.
const LOSSES: [(&str, Option<&str>); 6] = [
    ("issues.opened", None),
    ("star.created", None),
    ("release.published", None),
    ("workflow_run.completed", None),
    ("pull_request_review.submitted", Some("approved")),
    ("issue_comment.created", None),
];

/// A Slack workspace whose history takes its limits the better part of an hour.
pub fn large_slack_workspace(sim: &mut Config) {
    (sim.channels, sim.people) = (2_000, 10_000);
    (sim.history, sim.replies) = (5, Some(1));
}

/// The first read of an account.
#[derive(Debug)]
pub struct FirstSync {
    /// Whether it ended.
    pub has_ended: bool,
    /// How long it took.
    pub took: Duration,
    /// What it cost.
    pub usage: Usage,
}

impl FirstSync {
    /// Connects an account and waits until its past has been read; says now and then when that
    /// is expected.
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
        let has_ended = until_read(tenant, connection, started).await;
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

/// Waits until a connection's past has been read; answers whether that happened.
async fn until_read(tenant: &Tenant<'_>, connection: Uuid, started: Instant) -> bool {
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

/// A GitHub installation, and what happens in it.
#[derive(Debug, Clone, Copy)]
pub struct Installation {
    /// Repositories.
    pub repositories: usize,
    /// Facts of each repository in the past.
    pub history: usize,
    /// Facts per hour while polls are measured.
    pub facts_per_hour: u32,
    /// How long polls are measured.
    pub polled_for: Duration,
}

/// What reading a GitHub installation takes of its quota.
#[derive(Debug)]
pub struct QuotaUse {
    /// The past.
    pub first_sync: FirstSync,
    /// Everything, to the end of the polls.
    pub usage: Usage,
    /// What the polls took of what is allowed in their time; in an hour of it, where they were
    /// measured for less.
    pub polls: f64,
    /// The longest time until a fact was found whose webhook was lost.
    pub worst_delay: Duration,
}

impl QuotaUse {
    /// Reads the installation's past, then polls while things happen in it.
    ///
    /// # Panics
    ///
    /// When the system does not start, or the feed differs from the ledger.
    pub async fn measure(of: Installation) -> Self {
        let system = System::builder()
            .simulator(|sim| {
                (sim.accounts, sim.repositories) = (1, of.repositories);
                (sim.history, sim.people) = (of.history, 150);
            })
            .start()
            .await;
        let (account, admin) = system.accounts().await.remove(0);
        let tenant = system.tenant("Acme").await;
        let first_sync = FirstSync::measure(&system, &tenant, "github", (&account, &admin)).await;
        let started = Instant::now();
        let worst_delay = live(&system, &tenant, &account, of).await;
        let usage = system.simulator.usage("github", &account);
        report("github, polls", started.elapsed(), &usage);
        let hours = (started.elapsed().as_secs_f64() / 3600.0).max(1.0);
        let polled = usage.charged.saturating_sub(first_sync.usage.charged);
        let polled = f64::from(u32::try_from(polled).expect("a count"));
        let quota = core(&usage).quota.expect("a limit");
        let quota = f64::from(u32::try_from(quota).expect("a count"));
        eprintln!(
            "polls took {polled} of {quota} requests an hour; a lost fact took at most {} s",
            worst_delay.as_secs()
        );
        tenant.assert_feed_equals_ledgers(&[&account]).await;
        Self {
            first_sync,
            polls: polled / (quota * hours),
            usage,
            worst_delay,
        }
    }

    /// What the first sync took of what the quota allowed meanwhile.
    ///
    /// # Panics
    ///
    /// When it sent no request.
    pub fn first_sync_share(&self) -> f64 {
        core(&self.first_sync.usage).share().expect("a limit")
    }
}

/// A time in which webhooks arrive, but for one now and then; answers the longest time until a
/// fact was found whose webhook was lost.
async fn live(system: &System, tenant: &Tenant<'_>, account: &str, of: Installation) -> Duration {
    let started = Instant::now();
    let mut facts = interval(Duration::from_hours(1) / of.facts_per_hour);
    let mut losses = interval(LOSS_INTERVAL);
    let mut kinds = LOSSES.into_iter().cycle();
    let mut worst = Duration::ZERO;
    while started.elapsed() < of.polled_for {
        tokio::select! {
            _ = facts.tick() => {
                let body = json!({ "count": 1, "account": account });
                system.sim("github/generate", body).await;
            }
            _ = losses.tick() => if let Some(kind) = kinds.next() {
                worst = worst.max(lose_one(system, tenant, account, kind).await);
            },
        }
    }
    worst
}

/// Something happens whose webhook is lost; answers how long the feed takes to show it.
async fn lose_one(
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
    let done: Value = system.sim("github/act", act).await;
    let facts = done["facts"].as_array().expect("facts");
    let unheard = facts
        .iter()
        .find(|fact| fact["webhook"] == false && fact["poll"] == true);
    let key = unheard.and_then(|fact| fact["dedupe_key"].as_str());
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
        .expect("Postgres answers");
        if found {
            break;
        }
        sleep(Duration::from_secs(5)).await;
    }
    let took = lost_at.elapsed();
    eprintln!("a lost {action} was found after {} s", took.as_secs());
    took
}

fn core(usage: &Usage) -> &LimitUsage {
    &usage.limits["core"]
}

fn report(phase: &str, took: Duration, usage: &Usage) {
    eprintln!("{phase}: {} s, {usage}", took.as_secs());
}
