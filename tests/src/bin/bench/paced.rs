//! Rows about large accounts at the providers' own limits. They take hours of a faked clock, under
//! which `scripts/bench` starts this program for them.

use std::time::Duration;

use anyhow::Context;
use tests::harness::System;
use tests::harness::at_limits::{FirstSync, Installation, QuotaUse, large_slack_workspace};

use crate::report::{Beside, Row};

/// Facts of each repository in the past: a hundred thousand over all.
const HISTORY: usize = 333;
const REPOSITORIES: usize = 300;
/// Facts per hour: a hundred thousand in thirty days.
const FACTS_PER_HOUR: u32 = 139;

/// What a GitHub installation with 300 repositories takes of its quota, and how long a fact
/// takes whose webhook was lost.
pub(crate) async fn github_quota() -> anyhow::Result<Vec<Row>> {
    let used = QuotaUse::measure(Installation {
        repositories: REPOSITORIES,
        history: HISTORY,
        facts_per_hour: FACTS_PER_HOUR,
        polled_for: Duration::from_hours(1),
    })
    .await;
    warn_unless_ended(&used.first_sync);
    let row = |what: &str, unit, figure, target| {
        let name = format!("GitHub, {REPOSITORIES} repositories: {what}");
        Row::new(name, unit, figure, target)
    };
    let (first, polls) = (used.first_sync_share() * 100.0, used.polls * 100.0);
    let least = least_minutes(&used.first_sync)?;
    Ok(vec![
        row(
            "first sync's use of the quota",
            "% of what it allows",
            first,
            "90",
        ),
        row("first sync", "minutes", minutes(used.first_sync.took), "")
            .beside(Beside::new(LEAST, least, "")),
        row("polls' use of the quota", "% of an hour's", polls, "30"),
        row(
            "fact whose webhook was lost",
            "minutes at most",
            minutes(used.worst_delay),
            "15",
        ),
    ])
}

/// How long the first sync of a large Slack workspace takes, beside what its limits allow.
pub(crate) async fn slack_workspace() -> anyhow::Result<Vec<Row>> {
    let system = System::builder()
        .simulator(|sim| {
            sim.accounts = 1;
            large_slack_workspace(sim);
        })
        .start()
        .await;
    let tenant = system.tenant("Bench").await;
    let (account, person) = system.accounts_at("slack").await.swap_remove(0);
    let first = FirstSync::measure(&system, &tenant, "slack", (&account, &person)).await;
    warn_unless_ended(&first);
    let name = "Slack, 2,000 channels, 10,000 members: first sync";
    Ok(vec![
        Row::new(name, "minutes", minutes(first.took), "").beside(Beside::new(
            LEAST,
            least_minutes(&first)?,
            "1.1x",
        )),
    ])
}

const LEAST: &str = "that the limits ask for";

fn warn_unless_ended(first: &FirstSync) {
    if !first.has_ended {
        eprintln!("  the first sync has not ended");
    }
}

/// How long the provider's limits make what was used take.
fn least_minutes(first: &FirstSync) -> anyhow::Result<f64> {
    let (_, limit) = first.usage.tightest().context("a limit was used")?;
    let seconds = limit.least_seconds().context("it is a limit")?;
    Ok(seconds / 60.0)
}

fn minutes(duration: Duration) -> f64 {
    duration.as_secs_f64() / 60.0
}
