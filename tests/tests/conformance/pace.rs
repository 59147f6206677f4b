//! Backfill and polling at default settings, within the provider's own limits.
//!
//! Every account has more streams than one run of a worker reads, which keeps its slot for
//! twenty seconds. The simulator counts what the requests cost.
//!
//! With `POBLYSH_PACE_LONG=1` the accounts are so large that reading them takes the providers'
//! limits hours: `POBLYSH_PACE_LONG=1 scripts/test --clock-factor 10 backfill_and_poll`, which
//! `scripts/test --faults` runs. Then the tightest limit decides how long it may take.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tests::harness::at_limits::{MAX_FIRST_SYNC, large_slack_workspace};
use tests::harness::{System, setting};
use tests::simulator::Config;
use tokio::time::Instant;

use crate::provider::{Connected, Provider};

/// How long the backfill may take, and how long a fact without a webhook.
const DEADLINE: Duration = Duration::from_mins(3);
/// How much of what the tightest limit allows is used while a large account is read.
const MIN_SHARE: f64 = 0.9;
/// Answers that may be repeated beside those of [`Pace::states`]: a run that was interrupted
/// asks once more for what it had not yet stored.
const MAX_REPEATED: u64 = 5;
/// Answers that the reconciliation of a stream may repeat: a page, and what its rows are asked for.
const MAX_RECONCILIATION: u64 = 11;
/// The same where a page is full.
const LONG_MAX_RECONCILIATION: u64 = 101;

/// A provider's account, and what reading it may cost.
pub(crate) struct Pace {
    /// How large the account is.
    size: fn(&mut Config),
    /// How large it is in the long form.
    large: fn(&mut Config),
    /// What an ordinary poll finds without a webhook.
    pub(crate) found_by_polling: &'static [&'static str],
    /// Answers that a poll may repeat when nothing has changed: lists that are a state without
    /// a history, of which the provider tells no cheaper whether they have changed.
    states: u64,
    /// The same in the long form.
    long_states: u64,
}

impl Pace {
    /// 280 streams. With 150 people the installation has the largest quota, 12,500 an hour.
    /// Repeated: the list of repositories.
    pub(crate) const fn github() -> Self {
        Self {
            size: |sim| (sim.repositories, sim.people, sim.history) = (40, 150, 5),
            large: |sim| (sim.repositories, sim.people, sim.history) = (40, 150, 2_500),
            found_by_polling: &[
                "issues.opened",
                "issue_comment.created",
                "pull_request.opened",
                "pull_request_review.submitted",
                "release.published",
                "workflow_run.completed",
                "star.created",
            ],
            states: 1,
            long_states: 1,
        }
    }

    /// 60 channels, whose history takes more than a minute in tier 3. Repeated: the bot's
    /// channels and all channels.
    pub(crate) const fn slack() -> Self {
        Self {
            size: |sim| (sim.channels, sim.history, sim.replies) = (60, 4, Some(1)),
            large: large_slack_workspace,
            found_by_polling: &["message.posted", "message.bot", "message.file"],
            states: 2,
            long_states: 2,
        }
    }

    /// 280 projects with two issues each: versions are listed ten times a second at most. In the
    /// long form 60 projects. Repeated: the pages of projects, every project's versions, the
    /// statuses, the boards and a board's sprints, up to a dozen pages in the long form.
    pub(crate) const fn jira() -> Self {
        Self {
            size: |sim| (sim.projects, sim.history, sim.issues) = (280, 4, Some(2)),
            large: |sim| (sim.projects, sim.history, sim.issues) = (60, 1_250, Some(500)),
            found_by_polling: &[
                "issue.created",
                "issue.transitioned",
                "comment.created",
                "version.released",
            ],
            states: 300,
            long_states: 78,
        }
    }
}

pub(crate) async fn backfill_and_poll_end_at_default_pace(provider: &Provider) {
    let is_long = setting("POBLYSH_PACE_LONG", 0) == 1;
    let system = System::builder()
        .simulator(|sim| {
            sim.accounts = 1;
            if is_long {
                (provider.pace.large)(sim);
            } else {
                (provider.pace.size)(sim);
            }
        })
        .start()
        .await;
    let of = provider.connect(&system, "Acme", 0).await;
    let watch = Watch {
        system: &system,
        provider,
        of: &of,
        is_long,
    };
    let path = format!("/v1/connections/{}", of.connection);

    watch
        .until("backfill", async || {
            of.tenant.get(&path).await["backfilled_at"].is_string()
        })
        .await;
    // Read before the feed, which takes its time by a faked clock.
    let usage = system.simulator.usage(provider.slug, &of.account);
    let accounts = [of.account.as_str()];
    of.tenant.assert_feed_equals_ledgers(&accounts).await;
    watch.assert_backfill_took_slices().await;
    if is_long {
        let (_, limit) = usage.tightest().expect("a limit");
        let share = limit.share().expect("a limit");
        assert!(
            share >= MIN_SHARE,
            "{share} of what was allowed: {usage:#?}"
        );
    }

    let silence = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", silence).await;
    let often = json!({ "poll_interval_seconds": 30 });
    let patched = of.tenant.request(Method::PATCH, &path, Some(&often)).await;
    assert!(patched.status().is_success(), "{}", patched.status());
    for action in provider.pace.found_by_polling {
        let act = json!({ "account": of.account, "action": action });
        system.sim(&format!("{}/act", provider.slug), act).await;
    }
    watch
        .until("poll", async || {
            of.tenant.difference(&accounts).await.0.is_empty()
        })
        .await;
    of.tenant.assert_feed_equals_ledgers(&accounts).await;

    let usage = system.simulator.usage(provider.slug, &of.account);
    assert!(
        usage.refused * 100 <= usage.requests,
        "limits refused more than a hundredth: {usage:#?}"
    );
    let (states, reconciliation) = if is_long {
        (provider.pace.long_states, LONG_MAX_RECONCILIATION)
    } else {
        (provider.pace.states, MAX_RECONCILIATION)
    };
    let needed =
        MAX_REPEATED + states * watch.runs().await + reconciliation * watch.reconciled().await;
    assert!(
        usage.repeated <= needed,
        "more than {needed} requests brought what was known: {usage:#?}"
    );
}

/// Waits for a connection, and says how far it has come.
struct Watch<'a> {
    system: &'a System,
    provider: &'a Provider,
    of: &'a Connected<'a>,
    is_long: bool,
}

impl Watch<'_> {
    /// Streams that were read again because deliveries were missed.
    async fn reconciled(&self) -> u64 {
        let streams: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM cursors WHERE connection_id = $1 AND reconciled_through > \
                 (SELECT min(reconciled_through) FROM cursors WHERE connection_id = $1)",
        )
        .bind(self.of.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("Postgres answers");
        streams.unsigned_abs()
    }

    /// The run that read the past was postponed at least once: its account has more streams than
    /// one time slice reads.
    async fn assert_backfill_took_slices(&self) {
        let was_postponed: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM ( \
                 SELECT kind, connection_id, last_error FROM jobs UNION ALL \
                 SELECT kind, connection_id, last_error FROM job_history) j \
             WHERE kind = 'sync_connection' AND connection_id = $1 \
               AND last_error ->> 'code' IN ('time_slice', 'rate_limited'))",
        )
        .bind(self.of.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("Postgres answers");
        assert!(was_postponed, "{}: one slice read all", self.provider.slug);
    }

    /// Waits until the condition holds, and prints what that took.
    async fn until(&self, phase: &str, mut condition: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        let mut ended = condition().await;
        let (deadline, pause) = if self.is_long {
            (MAX_FIRST_SYNC, Duration::from_secs(30))
        } else {
            (DEADLINE, Duration::from_millis(500))
        };
        while !ended && started.elapsed() < deadline {
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
        .bind(self.of.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("Postgres answers");
        let (missing, _) = self.of.tenant.difference(&[&self.of.account]).await;
        let usage = self
            .system
            .simulator
            .usage(self.provider.slug, &self.of.account);
        format!(
            "{read} of {streams} streams begun, {} facts missing, {} runs, {usage}",
            missing.len(),
            self.runs().await
        )
    }

    /// Runs that have ended, and the present one.
    async fn runs(&self) -> u64 {
        let runs: i64 = sqlx::query_scalar(
            "SELECT count(*) + 1 FROM job_history \
             WHERE kind = 'sync_connection' AND connection_id = $1",
        )
        .bind(self.of.connection)
        .fetch_one(self.system.db.pool())
        .await
        .expect("Postgres answers");
        u64::try_from(runs).expect("a count")
    }
}
