//! An account that the product has connected, with the simulator's commands for it.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

/// Connection of a new tenant.
pub(crate) struct ConnectedAccount<'s> {
    system: &'s System,
    provider: &'static str,
    pub(crate) tenant: Tenant<'s>,
    pub(crate) account: String,
    pub(crate) admin: String,
    pub(crate) connection: Uuid,
}

impl<'s> ConnectedAccount<'s> {
    pub(crate) async fn connect(
        system: &'s System,
        provider: &'static str,
        (account, admin): (String, String),
    ) -> Self {
        let tenant = system.tenant(provider).await;
        let connection = tenant.connect_to(provider, &account, &admin).await;
        let connected = Self {
            system,
            provider,
            tenant,
            account,
            admin,
            connection,
        };
        // Only the first run reports facts that happen before webhooks are registered.
        eventually("subscriptions are held", async || {
            connected
                .count(
                    "SELECT count(*) FROM connections c \
                     LEFT JOIN subscriptions s ON s.connection_id = c.id \
                     WHERE c.id = $1 AND c.provider = 'jira' AND s.external_id IS NULL",
                )
                .await
                == 0
        })
        .await;
        system.drain().await;
        connected
    }

    pub(crate) async fn act(&self, action: &str, more: Value) -> Value {
        let mut body = json!({ "account": self.account, "action": action });
        for (name, value) in more.as_object().expect("fields") {
            body[name] = value.clone();
        }
        self.system
            .sim(&format!("{}/act", self.provider), body)
            .await
    }

    pub(crate) async fn generate(&self, count: usize) {
        let body = json!({ "account": self.account, "count": count });
        let path = format!("{}/generate", self.provider);
        self.system.sim(&path, body).await;
    }

    pub(crate) async fn fault(&self, fault: Value) {
        self.system.sim("faults", fault).await;
    }

    /// Drops all deliveries until [`System::clear_faults`].
    pub(crate) async fn lose_deliveries(&self) {
        let lost = json!({ "target": "delivery", "effect": "drop_silently" });
        self.fault(lost).await;
    }

    /// Expires the tokens of this holder at the provider.
    pub(crate) async fn expire(&self, holder: &str) {
        let body = json!({ "expire": holder });
        let path = self.system.simulator.token_commands(self.provider);
        self.system.sim(&path, body).await;
    }

    /// Enqueues a lookup of names, as a delivery with ids only does.
    pub(crate) async fn resolve_directory(&self, keys: Value) {
        sqlx::query(
            "INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, priority, payload) \
             VALUES ($1, gen_random_uuid(), 'resolve_directory', $2, $3, 15, $4)",
        )
        .bind(self.tenant.id)
        .bind(self.provider)
        .bind(self.connection)
        .bind(json!({ "kind": "resolve_directory", "deliveries": [], "keys": keys }))
        .execute(self.system.db.pool())
        .await
        .expect("a job");
        self.system.drain().await;
    }

    /// Generates facts with pushes and without, expires the token and replaces all subscriptions.
    pub(crate) async fn use_everything(&self) {
        self.generate(60).await;
        self.lose_deliveries().await;
        self.generate(60).await;
        self.expire(&self.account).await;
        self.tenant.poll().await;
        self.system.drain().await;
        self.system.set_subscriptions_near_expiry().await;
        self.system.drain().await;
    }

    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .bind(self.connection)
            .fetch_one(self.system.db.pool())
            .await
            .expect("the query result")
    }

    pub(crate) async fn status(&self) -> Value {
        let path = format!("/v1/connections/{}", self.connection);
        self.tenant.get(&path).await["status"].clone()
    }

    /// Polls, reconciles, compares with the ledger, runs a full sync, and disconnects.
    pub(crate) async fn finish(&self) {
        self.system.clear_faults().await;
        self.tenant
            .assert_equals_ledger_after_reconciliation(&self.account)
            .await;
        let path = format!("/v1/connections/{}", self.connection);
        let full = json!({ "mode": "full" });
        self.tenant.post(&format!("{path}/sync"), &full).await;
        self.tenant.assert_equals_ledger(&self.account).await;
        let disconnected = self
            .tenant
            .request(reqwest::Method::DELETE, &path, None)
            .await;
        assert!(
            disconnected.status().is_success(),
            "{}",
            disconnected.status()
        );
        self.system.drain().await;
    }
}
