//! Waits until a system is idle, and assertions that hold then.

use std::collections::BTreeSet;
use std::time::Duration;

use provider_sim::Filter;
use serde_json::{Value, json};

use super::{Identities, System, eventually, eventually_within, real_time};

impl System {
    /// Deletes all faults.
    ///
    /// # Panics
    ///
    /// When the simulator does not respond.
    pub async fn clear_faults(&self) {
        let url = format!("{}/_sim/faults", self.simulator.base_url());
        let response = self.client.delete(url).send().await;
        assert!(
            response
                .expect("a simulator response")
                .status()
                .is_success()
        );
    }

    /// Lists the active faults.
    ///
    /// # Panics
    ///
    /// When the simulator does not respond.
    pub async fn faults(&self) -> Vec<Value> {
        let url = format!("{}/_sim/faults", self.simulator.base_url());
        let response = self.client.get(url).send().await;
        let response = response.expect("a simulator response");
        let body: Value = response.json().await.expect("a list of rules");
        body["faults"].as_array().expect("rules").clone()
    }

    /// Asserts that no job was dead-lettered.
    ///
    /// # Panics
    ///
    /// When one was.
    pub async fn assert_no_dead_jobs(&self) {
        let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE state = 'dead'")
            .fetch_one(self.db.pool())
            .await
            .expect("the query result");
        assert_eq!(dead, 0, "dead jobs");
    }

    /// Asserts that every fault with a count was applied that often.
    ///
    /// # Panics
    ///
    /// When one was not, for example because its pattern matches nothing.
    pub async fn assert_faults_applied(&self) {
        let mut left = self.faults().await;
        left.retain(|fault| !fault["count"].is_null());
        assert!(left.is_empty(), "faults that were not applied: {left:#?}");
    }

    /// Asserts that at least three forged deliveries were rejected and none was accepted.
    ///
    /// # Panics
    ///
    /// When one was accepted, or fewer were rejected.
    pub async fn assert_forged_deliveries_rejected(&self) {
        let url = format!("{}/_sim/stats", self.simulator.base_url());
        let response = self.client.get(url).send().await;
        let response = response.expect("a simulator response");
        let stats: Value = response.json().await.expect("JSON");
        let count = |name: &str| stats["counters"][name].as_u64().unwrap_or_default();
        let (rejected, accepted) = (count("forged_refused"), count("forged_accepted"));
        assert!(rejected >= 3, "{rejected} forged deliveries were rejected");
        assert_eq!(accepted, 0, "forged deliveries that were accepted");
    }

    /// Waits until the simulator has no delivery in flight.
    ///
    /// # Panics
    ///
    /// When one is in flight after a minute.
    pub async fn quiesce(&self) {
        self.quiesce_within(super::DEFAULT_TIMEOUT).await;
    }

    async fn quiesce_within(&self, timeout: Duration) {
        let limit = json!({ "timeout_seconds": real_time(timeout).as_secs() });
        self.sim("quiesce", limit).await;
    }

    /// Waits until all deliveries are processed and all jobs, including retries, are done.
    ///
    /// # Panics
    ///
    /// When something is left after a minute.
    pub async fn drain(&self) {
        self.drain_within(super::DEFAULT_TIMEOUT).await;
    }

    /// [`System::drain`] with an explicit time limit.
    ///
    /// # Panics
    ///
    /// When something is left.
    pub async fn drain_within(&self, timeout: Duration) {
        let deadline = tokio::time::Instant::now() + real_time(timeout);
        self.quiesce_within(timeout).await;
        loop {
            let left: Vec<String> = sqlx::query_scalar(
                "SELECT format('%s %s of %s, attempt %s, at %s: %s', state, kind, provider, \
                     attempts, run_at, coalesce(last_error::text, '')) FROM jobs \
                 UNION ALL \
                 SELECT format('pending delivery %s of %s', event, provider) FROM deliveries \
                 WHERE outcome = 'pending' \
                 UNION ALL \
                 SELECT format('due work of %s', provider) FROM connection_routes \
                 WHERE polling AND least(next_sync_at, streams_requested_at, subscriptions_at) <= now()",
            )
            .fetch_all(self.db.pool())
            .await
            .expect("the query result");
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

    /// Makes the reconciliation of all connections' subscriptions due.
    ///
    /// # Panics
    ///
    /// When Postgres does not respond.
    pub async fn reconcile_subscriptions(&self) {
        sqlx::query("UPDATE connection_routes SET subscriptions_at = now()")
            .execute(self.db.pool())
            .await
            .expect("the query result");
    }

    /// Lets subscriptions of a month expire in five days, and makes their reconciliation due.
    ///
    /// # Panics
    ///
    /// When work is left after a minute, or Postgres does not respond.
    pub async fn set_subscriptions_near_expiry(&self) {
        // The reconciliation that creates the subscriptions must be over.
        self.drain().await;
        let sql = "UPDATE subscriptions SET expires_at = now() + interval '5 days', \
                   renewed_at = now() - interval '25 days'";
        sqlx::query(sql)
            .execute(self.db.pool())
            .await
            .expect("the query result");
        self.reconcile_subscriptions().await;
    }

    /// Makes the hourly redelivery job due and waits for it and its deliveries.
    ///
    /// Deliveries that the ingress rejected with 503 or did not respond to are sent again.
    ///
    /// # Panics
    ///
    /// When the job is not done in time.
    pub async fn redeliver(&self) {
        let count_runs = async || {
            sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM job_history WHERE kind = 'redeliver_webhooks'",
            )
            .fetch_one(self.db.pool())
            .await
            .expect("the query result")
        };
        // Every system starts with one run, which must not be confused with this one.
        eventually("the first redelivery job is done", async || {
            count_runs().await > 0
        })
        .await;
        let before = count_runs().await;
        sqlx::query(
            "UPDATE periodic_tasks SET next_at = now() WHERE name LIKE 'redeliver_webhooks:%'",
        )
        .execute(self.db.pool())
        .await
        .expect("due");
        // Lost deliveries are requested one by one; after many faults there are many.
        let timeout = Duration::from_mins(10);
        eventually_within(timeout, "the redelivery job is done", async || {
            count_runs().await > before
        })
        .await;
        self.quiesce().await;
    }

    /// Returns the account's facts that must have a Signal, and those that may have one.
    ///
    /// A Signal is required if a webhook reported the fact or the API still shows it, and
    /// allowed if the API has shown it once.
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
