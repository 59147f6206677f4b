//! Description of a provider for the conformance cases.

use futures::future::LocalBoxFuture;
use provider_sim::Simulator;
use serde_json::{Value, json};
use tests::harness::{System, SystemBuilder, Tenant, eventually};
use uuid::Uuid;

use crate::pace::Pace;

/// Provider with the request patterns and simulator commands of the cases.
pub(crate) struct Provider {
    /// The provider's slug.
    pub(crate) slug: &'static str,
    /// Changes settings of the simulated provider before an account is connected.
    pub(crate) prepare: fn(&Simulator),
    /// Pattern of requests that read a page of facts.
    pub(crate) page_requests: &'static str,
    /// Pattern of requests that continue an earlier page.
    pub(crate) next_page_requests: &'static str,
    /// Pattern of token requests.
    pub(crate) token_requests: &'static str,
    /// Pattern of requests that read the identity with a new token.
    pub(crate) identity_requests: &'static str,
    /// The simulator's counter of refreshed tokens.
    pub(crate) refresh_counter: &'static str,
    /// Command that expires the account's tokens.
    pub(crate) expire: fn(&str, &str) -> Value,
    /// Command that revokes the grant without an event.
    pub(crate) revoke: Option<fn(&str, &str) -> Value>,
    /// Minimum number of webhooks that a connection subscribes to.
    pub(crate) subscriptions: i64,
    /// Sets up the webhook at the connection's URL, which a person does at the provider.
    pub(crate) connection_webhook: Option<SetUp>,
    /// Requests whose tokens are rejected in an outage, within the provider's quota of refreshes.
    pub(crate) rejected_requests: usize,
    /// Account sizes and request budgets at the provider's own limits.
    pub(crate) pace: Pace,
}

/// Sets up what a new connection needs.
type SetUp = for<'c> fn(&'c ConnectedAccount<'_>) -> LocalBoxFuture<'c, ()>;

/// Tenant with a connected account.
pub(crate) struct ConnectedAccount<'a> {
    pub(crate) tenant: Tenant<'a>,
    pub(crate) account: String,
    pub(crate) admin: String,
    pub(crate) connection: Uuid,
}

impl Provider {
    /// Connects an account and waits for its webhook subscriptions.
    pub(crate) async fn connect<'a>(
        &self,
        system: &'a System,
        name: &str,
        number: usize,
    ) -> ConnectedAccount<'a> {
        (self.prepare)(&system.simulator);
        system.simulator.shorten_retry_delays();
        let (account, admin) = system.accounts_at(self.slug).await.swap_remove(number);
        let tenant = system.tenant(name).await;
        let connection = tenant.connect_to(self.slug, &account, &admin).await;
        let expected = self.subscriptions;
        eventually("the subscriptions exist", async || {
            let held: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM subscriptions WHERE connection_id = $1 AND external_id IS NOT NULL",
            )
            .bind(connection)
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
            held >= expected
        })
        .await;
        let connected = ConnectedAccount {
            tenant,
            account,
            admin,
            connection,
        };
        if let Some(set_up) = self.connection_webhook {
            set_up(&connected).await;
        }
        connected
    }

    /// Generates random facts.
    pub(crate) async fn generate(&self, system: &System, account: &str, count: usize) {
        let body = json!({ "count": count, "account": account });
        system.sim(&format!("{}/generate", self.slug), body).await;
    }

    /// Requests an incremental sync.
    pub(crate) async fn poll(&self, tenant: &Tenant<'_>) {
        let body = json!({ "mode": "incremental" });
        tenant.post(&format!("/v1/sync/{}", self.slug), &body).await;
    }

    /// Expires the account's tokens at the provider.
    pub(crate) async fn expire(&self, system: &System, connected: &ConnectedAccount<'_>) {
        let body = (self.expire)(&connected.account, &connected.admin);
        system
            .sim(&system.simulator.token_commands(self.slug), body)
            .await;
    }

    /// Adds a fault for the requests that match.
    pub(crate) async fn fault(&self, system: &System, pattern: &str, rest: Value) {
        let mut fault = json!({ "target": "request", "pattern": pattern });
        for (name, value) in rest.as_object().expect("fields") {
            fault[name] = value.clone();
        }
        system.sim("faults", fault).await;
    }

    /// Counts the refreshed tokens.
    pub(crate) async fn count_refreshes(&self, system: &System) -> u64 {
        let url = format!("{}/_sim/stats", system.simulator.base_url());
        let response = system.client.get(url).send().await.expect("a response");
        let stats: Value = response.json().await.expect("JSON");
        stats["counters"][self.refresh_counter]
            .as_u64()
            .unwrap_or_default()
    }
}

/// Builder of a system whose accounts have this many past facts.
pub(crate) fn with_history(history: usize) -> SystemBuilder {
    System::with_fast_provider().simulator(|sim| sim.history = history)
}
