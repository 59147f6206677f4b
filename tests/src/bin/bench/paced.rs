//! Rows `github-quota` and `slack-workspace`: large accounts within the providers' own limits.
//!
//! They take hours of a fake clock, under which `scripts/bench` starts this program for them.

use std::time::Duration;

use anyhow::Context;
use tests::harness::System;
use tests::harness::large_accounts::{FirstSync, LargeAccount, QuotaUse};
use tests::harness::provider::configure_large_slack_workspace;

use crate::report::{Comparison, Row};

/// Past facts per repository, 100,000 in total.
const HISTORY: usize = 333;
const REPOSITORIES: usize = 300;
/// Facts per hour, 100,000 in thirty days.
const FACTS_PER_HOUR: u32 = 139;

/// Measures an installation with 300 repositories: quota use, and delay of lost facts.
pub(crate) async fn github_quota() -> anyhow::Result<Vec<Row>> {
    let used = QuotaUse::measure(LargeAccount {
        containers: REPOSITORIES,
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
    let min = min_minutes(&used.first_sync)?;
    Ok(vec![
        row(
            "first sync's use of the quota",
            "% of what it allows",
            first,
            "90",
        ),
        row("first sync", "minutes", minutes(used.first_sync.took), "")
            .compare_with(Comparison::new(MINIMUM, min, "")),
        row("polls' use of the quota", "% of an hour's", polls, "30"),
        row(
            "fact without a webhook",
            "minutes at most",
            minutes(used.worst_delay),
            "15",
        ),
    ])
}

/// Measures the first sync of a large Slack workspace against the minimum within its limits.
pub(crate) async fn slack_workspace() -> anyhow::Result<Vec<Row>> {
    let system = System::builder()
        .simulator(|sim| {
            sim.accounts = 1;
            configure_large_slack_workspace(sim);
        })
        .start()
        .await;
    let tenant = system.tenant("Bench").await;
    let (account, person) = system.accounts_at("slack").await.swap_remove(0);
    let first = FirstSync::measure(&system, &tenant, "slack", (&account, &person)).await;
    warn_unless_ended(&first);
    let name = "Slack, 2,000 channels, 10,000 members: first sync";
    Ok(vec![
        Row::new(name, "minutes", minutes(first.took), "").compare_with(Comparison::new(
            MINIMUM,
            min_minutes(&first)?,
            "1.1x",
        )),
    ])
}

const MINIMUM: &str = "minimum within the limits";

fn warn_unless_ended(first: &FirstSync) {
    if !first.has_ended {
        eprintln!("  the first sync has not ended");
    }
}

/// Minimum time of the used requests within the provider's limits.
fn min_minutes(first: &FirstSync) -> anyhow::Result<f64> {
    let (_, limit) = first.usage.tightest().context("no limit was used")?;
    let seconds = limit.min_seconds().context("the limit has no quota")?;
    Ok(seconds / 60.0)
}

fn minutes(duration: Duration) -> f64 {
    duration.as_secs_f64() / 60.0
}
