//! What the cases need to know of a provider: how its simulator is told, and where to look.

use serde_json::{Value, json};
use tests::harness::{System, SystemBuilder, Tenant, eventually};
use uuid::Uuid;

use crate::pace::Pace;

/// A provider, as the cases see it.
pub(crate) struct Provider {
    /// Its slug.
    pub(crate) slug: &'static str,
    /// Requests that read a page of facts.
    pub(crate) reading: &'static str,
    /// Requests that go on with what an earlier page has begun.
    pub(crate) following: &'static str,
    /// Requests for tokens.
    pub(crate) token: &'static str,
    /// Requests that prove, with a new token, who connects what.
    pub(crate) proof: &'static str,
    /// The simulator's counter of tokens that were given out to renew one.
    pub(crate) renewals: &'static str,
    /// How the account's tokens end now.
    pub(crate) expire: fn(&str, &str) -> Value,
    /// How the grant is withdrawn so that nothing tells of it.
    pub(crate) revoke: Option<fn(&str, &str) -> Value>,
    /// Webhooks that a connection subscribes to.
    pub(crate) subscriptions: i64,
    /// What reading takes at the provider's own limits.
    pub(crate) pace: Pace,
}

/// A tenant with a connected account.
pub(crate) struct Connected<'a> {
    pub(crate) tenant: Tenant<'a>,
    pub(crate) account: String,
    pub(crate) admin: String,
    pub(crate) connection: Uuid,
}

impl Provider {
    pub(crate) fn github() -> Self {
        Self {
            slug: "github",
            reading: "GET /repos/*/issues",
            following: "GET /repos/*/pulls/*/reviews",
            token: "access_tokens",
            proof: "GET /user/installations",
            renewals: "github.installation_tokens",
            expire: |_, _| json!({ "expire": "installation" }),
            revoke: None,
            subscriptions: 0,
            pace: Pace::github(),
        }
    }

    pub(crate) fn slack() -> Self {
        Self {
            slug: "slack",
            reading: "conversations.history",
            following: "conversations.replies",
            token: "oauth.v2.access",
            proof: "auth.test",
            renewals: "slack.refreshes",
            expire: |account, _| json!({ "expire": account }),
            revoke: Some(|account, _| json!({ "revoke": account })),
            subscriptions: 0,
            pace: Pace::slack(),
        }
    }

    pub(crate) fn jira() -> Self {
        Self {
            slug: "jira",
            reading: "search/jql",
            following: "search/jql",
            token: "oauth/token",
            proof: "rest/api/3/myself",
            renewals: "jira.refreshes",
            expire: |_, admin| json!({ "expire": admin }),
            revoke: Some(|_, admin| json!({ "revoke": admin })),
            subscriptions: 1,
            pace: Pace::jira(),
        }
    }

    /// Connects an account, and waits until its webhooks are subscribed to.
    pub(crate) async fn connect<'a>(
        &self,
        system: &'a System,
        name: &str,
        number: usize,
    ) -> Connected<'a> {
        system.simulator.change_slack(|slack| slack.rotation = true);
        system.simulator.retry_soon();
        let (account, admin) = system.accounts_at(self.slug).await.swap_remove(number);
        let tenant = system.tenant(name).await;
        let connection = tenant.connect_to(self.slug, &account, &admin).await;
        let wanted = self.subscriptions;
        eventually("webhooks are subscribed to", async || {
            let held: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM subscriptions WHERE connection_id = $1 AND external_id IS NOT NULL",
            )
            .bind(connection)
            .fetch_one(system.db.pool())
            .await
            .expect("Postgres answers");
            held == wanted
        })
        .await;
        Connected {
            tenant,
            account,
            admin,
            connection,
        }
    }

    /// Makes things happen.
    pub(crate) async fn generate(&self, system: &System, account: &str, count: usize) {
        let body = json!({ "count": count, "account": account });
        system.sim(&format!("{}/generate", self.slug), body).await;
    }

    /// Has the connection polled.
    pub(crate) async fn poll(&self, tenant: &Tenant<'_>) {
        let body = json!({ "mode": "incremental" });
        tenant.post(&format!("/v1/sync/{}", self.slug), &body).await;
    }

    /// Ends the account's tokens at the provider.
    pub(crate) async fn expire(&self, system: &System, of: &Connected<'_>) {
        let body = (self.expire)(&of.account, &of.admin);
        system.sim(&format!("{}/tokens", self.slug), body).await;
    }

    /// A fault of the requests that match.
    pub(crate) async fn fault(&self, system: &System, pattern: &str, rest: Value) {
        let mut fault = json!({ "target": "request", "pattern": pattern });
        for (name, value) in rest.as_object().expect("fields") {
            fault[name] = value.clone();
        }
        system.sim("faults", fault).await;
    }

    /// How many tokens were given out to renew one.
    pub(crate) async fn renewed(&self, system: &System) -> u64 {
        let url = format!("{}/_sim/stats", system.simulator.base_url());
        let answer = system.client.get(url).send().await.expect("an answer");
        let stats: Value = answer.json().await.expect("JSON");
        stats["counters"][self.renewals]
            .as_u64()
            .unwrap_or_default()
    }
}

/// A system whose accounts have so much history.
pub(crate) fn with_history(history: usize) -> SystemBuilder {
    System::with_fast_provider().simulator(|sim| sim.history = history)
}
