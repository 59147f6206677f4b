//! Backfill and polling at default settings, within the provider's own limits.
//!
//! Every account has more streams than a worker reads in one time slice of twenty seconds. The
//! simulator counts the cost of the requests.
//!
//! With `POBLYSH_PACE_LONG=1` the accounts are so large that reading them takes hours within the
//! limits: `POBLYSH_PACE_LONG=1 scripts/test --clock-factor 10 backfill_and_poll`, which
//! `scripts/test --faults` runs. Then the tightest limit determines the time limit.

use std::time::Duration;

use provider_sim::Config;
use reqwest::Method;
use serde_json::json;
use tests::harness::large_accounts::MAX_FIRST_SYNC;
use tests::harness::{System, setting};
use tokio::time::Instant;

use crate::provider::{ConnectedAccount, Provider};

/// Time limit of the backfill, and of the poll that finds a fact without a webhook.
const TIMEOUT: Duration = Duration::from_mins(3);
/// Minimum share of the tightest limit that the backfill of a large account uses.
const MIN_SHARE: f64 = 0.9;
/// Maximum number of repeated responses in addition to [`Pace::states`].
///
/// An interrupted run repeats requests whose rows it had not yet stored.
const MAX_REPEATED: u64 = 5;
/// Maximum number of responses that a stream's reconciliation repeats: a page and its rows.
const MAX_RECONCILIATION: u64 = 11;
/// [`MAX_RECONCILIATION`] with a full page.
const LONG_MAX_RECONCILIATION: u64 = 101;

/// Size of a provider's account and its request budget.
pub(crate) struct Pace {
    /// Configures the account.
    pub(crate) configure: fn(&mut Config),
    /// Configures the account of the long form.
    pub(crate) configure_long: fn(&mut Config),
    /// Actions that a poll finds without a webhook.
    pub(crate) found_by_polling: &'static [&'static str],
    /// Number of responses that a poll repeats although nothing has changed.
    ///
    /// These lists have no history, and the provider has no cheaper check for changes.
    pub(crate) states: u64,
    /// [`Pace::states`] in the long form.
    pub(crate) long_states: u64,
}

pub(crate) async fn backfill_and_poll_end_at_default_pace(provider: &Provider) {
    let is_long = setting("POBLYSH_PACE_LONG", 0) == 1;
    let system = System::builder()
        .simulator(|sim| {
            sim.accounts = 1;
            if is_long {
                (provider.pace.configure_long)(sim);
            } else {
                (provider.pace.configure)(sim);
            }
        })
        .start()
        .await;
    let connected = provider.connect(&system, "Acme", 0).await;
    let watch = Watch {
        system: &system,
        provider,
        connected: &connected,
        is_long,
    };
    let path = format!("/v1/connections/{}", connected.connection);

    watch
        .until("backfill", async || {
            connected.tenant.get(&path).await["backfilled_at"].is_string()
        })
        .await;
    // Measured before the feed is read, which takes long under a fake clock.
    let usage = system.simulator.usage(provider.slug, &connected.account);
    let accounts = [connected.account.as_str()];
    connected.tenant.assert_feed_equals_ledgers(&accounts).await;
    watch.assert_backfill_was_snoozed().await;
    if is_long {
        let (_, limit) = usage.tightest().expect("a limit");
        let share = limit.share().expect("a limit");
        assert!(
            share >= MIN_SHARE,
            "{share} of what was allowed: {usage:#?}"
        );
    }

    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    watch.set_poll_interval(30).await;
    for action in provider.pace.found_by_polling {
        let act = json!({ "account": connected.account, "action": action });
        system.sim(&format!("{}/act", provider.slug), act).await;
    }
    watch
        .until("poll", async || {
            connected.tenant.difference(&accounts).await.0.is_empty()
        })
        .await;
    // Before the feed is read, like the usage of the backfill: polls continue meanwhile.
    let usage = system.simulator.usage(provider.slug, &connected.account);
    let (runs, reconciled) = (watch.runs().await, watch.reconciled().await);
    connected.tenant.assert_feed_equals_ledgers(&accounts).await;

    assert!(
        usage.refused * 100 <= usage.requests,
        "limits rejected more than a hundredth: {usage:#?}"
    );
    let (states, reconciliation) = if is_long {
        (provider.pace.long_states, LONG_MAX_RECONCILIATION)
    } else {
        (provider.pace.states, MAX_RECONCILIATION)
    };
    let needed = MAX_REPEATED + states * runs + reconciliation * reconciled;
    assert!(
        usage.repeated <= needed,
        "more than {needed} requests were repeated: {usage:#?}"
    );
}

/// Waits for a connection and reports its progress.
struct Watch<'a> {
    system: &'a System,
    provider: &'a Provider,
    connected: &'a ConnectedAccount<'a>,
    is_long: bool,
}

impl Watch<'_> {
    /// Counts streams with a reconciliation that ended, is due, or runs after missed deliveries.
    async fn reconciled(&self) -> u64 {
        let streams: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM cursors WHERE connection_id = $1 AND retired_at IS NULL \
               AND (reconcile_at <= now() OR reconciled_through > \
                 (SELECT min(reconciled_through) FROM cursors WHERE connection_id = $1))",
        )
        .bind(self.connected.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("the query result");
        streams.unsigned_abs()
    }

    async fn set_poll_interval(&self, seconds: u32) {
        let path = format!("/v1/connections/{}", self.connected.connection);
        let interval = json!({ "poll_interval_seconds": seconds });
        let patched = self
            .connected
            .tenant
            .request(Method::PATCH, &path, Some(&interval))
            .await;
        assert!(patched.status().is_success(), "{}", patched.status());
    }

    /// Asserts that the backfill needed more than one time slice.
    async fn assert_backfill_was_snoozed(&self) {
        let was_snoozed: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM ( \
                 SELECT kind, connection_id, last_error FROM jobs UNION ALL \
                 SELECT kind, connection_id, last_error FROM job_history) j \
             WHERE kind = 'sync_connection' AND connection_id = $1 \
               AND last_error ->> 'code' IN ('time_slice', 'rate_limited'))",
        )
        .bind(self.connected.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("the query result");
        assert!(was_snoozed, "{}: one slice read all", self.provider.slug);
    }

    /// Waits until the condition holds, and prints the progress.
    async fn until(&self, phase: &str, mut condition: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        let mut ended = condition().await;
        let (timeout, pause) = if self.is_long {
            (MAX_FIRST_SYNC, Duration::from_secs(30))
        } else {
            (TIMEOUT, Duration::from_millis(500))
        };
        while !ended && started.elapsed() < timeout {
            tokio::time::sleep(pause).await;
            ended = condition().await;
        }
        let report = self.report().await;
        let slug = self.provider.slug;
        let seconds = started.elapsed().as_secs_f64();
        assert!(
            ended,
            "{slug}: the {phase} has not ended after {seconds:.0} s: {report}"
        );
        eprintln!("{slug}: the {phase} took {seconds:.0} s: {report}");
    }

    async fn report(&self) -> String {
        let (read, streams): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE cursor IS NOT NULL), count(*) FROM cursors \
             WHERE connection_id = $1",
        )
        .bind(self.connected.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("the query result");
        let (missing, _) = self
            .connected
            .tenant
            .difference(&[&self.connected.account])
            .await;
        let usage = self
            .system
            .simulator
            .usage(self.provider.slug, &self.connected.account);
        format!(
            "{read} of {streams} streams started, {} facts missing, {} runs, {usage}",
            missing.len(),
            self.runs().await
        )
    }

    /// Counts ended runs and the current one.
    async fn runs(&self) -> u64 {
        let runs: i64 = sqlx::query_scalar(
            "SELECT count(*) + 1 FROM job_history \
             WHERE kind = 'sync_connection' AND connection_id = $1",
        )
        .bind(self.connected.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("the query result");
        u64::try_from(runs).expect("a count")
    }
}
