//! Rows of large accounts within the providers' own limits: `github-quota`, `slack-workspace`,
//! `gmail-mailbox` and `google-drive-files`.
//!
//! They take hours of a fake clock, under which `scripts/bench` starts this program for them.

use std::time::Duration;

use anyhow::Context;
use provider_sim::Config;
use tests::harness::large_accounts::{FirstSync, LargeAccount, QuotaUse};
use tests::harness::provider::configure_large_slack_workspace;
use tests::harness::{Process, System};

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

/// Measures the first sync of a mailbox, of which each message costs a call.
pub(crate) async fn gmail_mailbox(messages: u32) -> anyhow::Result<Vec<Row>> {
    let history = usize::try_from(messages)?;
    let name = format!("Gmail, {messages} messages");
    first_sync("gmail", &name, |sim| sim.history = history).await
}

/// Measures the first sync of a My Drive.
pub(crate) async fn google_drive_files(files: u32) -> anyhow::Result<Vec<Row>> {
    let history = usize::try_from(files)?;
    let name = format!("Google Drive, {files} files");
    first_sync("google_drive", &name, |sim| {
        sim.history = history;
        let drive = &mut sim.providers.google_drive;
        (drive.shared_drives, drive.new_files) = (0, Some(history));
    })
    .await
}

/// Measures time, requests and memory of an account's first sync.
async fn first_sync(
    provider: &str,
    account_name: &str,
    configure: impl FnOnce(&mut Config),
) -> anyhow::Result<Vec<Row>> {
    let system = System::builder()
        .simulator(|sim| {
            sim.accounts = 1;
            configure(sim);
        })
        .out_of_process()
        .start()
        .await;
    let tenant = system.tenant("Bench").await;
    let (account, person) = system.accounts_at(provider).await.swap_remove(0);
    let idle = peak_mebibytes(&system).await;
    let first = FirstSync::measure(&system, &tenant, provider, (&account, &person)).await;
    warn_unless_ended(&first);
    let row =
        |what: &str, unit, figure| Row::new(format!("{account_name}: {what}"), unit, figure, "");
    let requests = u32::try_from(first.usage.requests)?;
    let minimum = Comparison::new(MINIMUM, min_minutes(&first)?, "1.1x");
    let peak = peak_mebibytes(&system).await;
    Ok(vec![
        row("first sync", "minutes", minutes(first.took)).compare_with(minimum),
        row("first sync's requests", "requests", f64::from(requests)),
        row("worker's memory in the first sync", "MiB at most", peak)
            .compare_with(Comparison::new("MiB before it", idle, "")),
    ])
}

/// Largest resident memory of the worker so far.
async fn peak_mebibytes(system: &System) -> f64 {
    let bytes = system.processes().await.peak_resident(Process::Worker);
    #[expect(clippy::cast_precision_loss, reason = "a figure of a table")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    mebibytes
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
