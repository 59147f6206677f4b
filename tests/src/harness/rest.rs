//! How a system comes to rest, and what must be true of it then.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Identities, System, eventually, eventually_within, real_time};
use crate::simulator::Filter;

impl System {
    /// Nothing goes wrong any more.
    ///
    /// # Panics
    ///
    /// When the simulator does not answer.
    pub async fn clear_faults(&self) {
        let url = format!("{}/_sim/faults", self.simulator.base_url());
        let answer = self.client.delete(url).send().await;
        assert!(answer.expect("the simulator answers").status().is_success());
    }

    /// What still goes wrong: the simulator's rules that are in force.
    ///
    /// # Panics
    ///
    /// When the simulator does not answer.
    pub async fn faults(&self) -> Vec<Value> {
        let url = format!("{}/_sim/faults", self.simulator.base_url());
        let answer = self.client.get(url).send().await;
        let answer = answer.expect("the simulator answers");
        let body: Value = answer.json().await.expect("a list of rules");
        body["faults"].as_array().expect("rules").clone()
    }

    /// Every fault with a count was met that often; one whose pattern matches nothing never is.
    ///
    /// # Panics
    ///
    /// When one was not.
    pub async fn assert_faults_were_met(&self) {
        let mut left = self.faults().await;
        left.retain(|fault| !fault["count"].is_null());
        assert!(left.is_empty(), "faults that were not met: {left:#?}");
    }

    /// No forged delivery so far was accepted, and some were refused as such.
    ///
    /// # Panics
    ///
    /// When one was accepted, or none was refused.
    pub async fn assert_forgeries_were_refused(&self) {
        let url = format!("{}/_sim/stats", self.simulator.base_url());
        let answer = self.client.get(url).send().await;
        let answer = answer.expect("the simulator answers");
        let stats: Value = answer.json().await.expect("JSON");
        let count = |name: &str| stats["counters"][name].as_u64().unwrap_or_default();
        let (refused, accepted) = (count("forged_refused"), count("forged_accepted"));
        assert!(refused >= 3, "{refused} forged deliveries were refused");
        assert_eq!(accepted, 0, "forged deliveries that were accepted");
    }

    /// Waits until the simulator has no delivery under way.
    ///
    /// # Panics
    ///
    /// When one still is after a minute.
    pub async fn quiesce(&self) {
        self.quiesce_within(super::PATIENCE).await;
    }

    async fn quiesce_within(&self, patience: Duration) {
        let limit = json!({ "timeout_seconds": real_time(patience).as_secs() });
        self.sim("quiesce", limit).await;
    }

    /// Waits until every delivery was sent and every job is done. Retries that wait for a
    /// later time count as work.
    ///
    /// # Panics
    ///
    /// When something is left after a minute.
    pub async fn drain(&self) {
        self.drain_within(super::PATIENCE).await;
    }

    /// [`System::drain`] with a patience of its own.
    ///
    /// # Panics
    ///
    /// When something is left.
    pub async fn drain_within(&self, patience: Duration) {
        let deadline = tokio::time::Instant::now() + real_time(patience);
        self.quiesce_within(patience).await;
        loop {
            let left: Vec<String> = sqlx::query_scalar(
                "SELECT format('%s %s of %s, attempt %s, at %s: %s', state, kind, provider, \
                     attempts, run_at, coalesce(last_error::text, '')) FROM jobs \
                 UNION ALL \
                 SELECT format('pending delivery %s of %s', event, provider) FROM deliveries \
                 WHERE outcome = 'pending' \
                 UNION ALL \
                 SELECT format('due sync of %s', provider) FROM connection_routes \
                 WHERE polling AND next_sync_at <= now()",
            )
            .fetch_all(self.db.pool())
            .await
            .expect("Postgres answers");
            if left.is_empty() {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "work is left: {left:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has the subscriptions of all connections looked at now.
    ///
    /// # Panics
    ///
    /// When Postgres does not answer.
    pub async fn look_at_subscriptions(&self) {
        sqlx::query("UPDATE connection_routes SET subscriptions_at = now()")
            .execute(self.db.pool())
            .await
            .expect("Postgres answers");
    }

    /// The same, as if all of them ended in five days.
    ///
    /// # Panics
    ///
    /// When Postgres does not answer.
    pub async fn let_subscriptions_near_their_end(&self) {
        sqlx::query("UPDATE subscriptions SET expires_at = now() + interval '5 days'")
            .execute(self.db.pool())
            .await
            .expect("Postgres answers");
        self.look_at_subscriptions().await;
    }

    /// Makes the hourly sweep due and waits for it: a delivery that met a busy or dead ingress
    /// was answered 503 or not at all, and is asked for again.
    ///
    /// # Panics
    ///
    /// When it is not done.
    pub async fn sweep(&self) {
        let sweeps = async || {
            sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM job_history WHERE kind = 'sweep_deliveries'",
            )
            .fetch_one(self.db.pool())
            .await
            .expect("Postgres answers")
        };
        // The one that every system starts with must not be taken for this one.
        eventually("the first sweep was done", async || sweeps().await > 0).await;
        let before = sweeps().await;
        sqlx::query("UPDATE periodic_tasks SET next_at = now() WHERE name LIKE 'sweep%'")
            .execute(self.db.pool())
            .await
            .expect("due");
        // What was lost is asked for one by one, and after many faults that is much.
        let patience = Duration::from_mins(10);
        eventually_within(patience, "the sweep was done", async || {
            sweeps().await > before
        })
        .await;
        self.quiesce().await;
    }

    /// What the ledger says of an account: what must have become a Signal (a webhook told it
    /// or the API still shows it), and what may have (the API has shown it once).
    pub fn ledger(&self, account: &str) -> (Identities, Identities) {
        let filter = Filter {
            account: Some(account.to_owned()),
            ..Filter::default()
        };
        let (mut required, mut allowed) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.simulator.ledger(&filter) {
            let identity = (entry.kind, entry.dedupe_key);
            if entry.webhook || entry.poll {
                required.insert(identity.clone());
            }
            if entry.webhook || entry.poll || entry.polled {
                allowed.insert(identity);
            }
        }
        (required, allowed)
    }
}
