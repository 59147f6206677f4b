//! Runs the product against the simulator and prints all recorded requests as JSON lines.
//!
//! It connects, backfills, polls, reconciles and disconnects every provider with the shipped
//! processes, and checks the feed against the ledger. `scripts/verify-simulator` compares the
//! requests with the providers' published descriptions.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

/// The connector searches for updates only where an installation has more than 20 repositories.
const REPOSITORIES: usize = 22;
/// Number of objects that exceeds a page of any list.
const MORE_THAN_A_PAGE: usize = 101;

#[tokio::main]
async fn main() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.providers.github.repositories, sim.history) = (REPOSITORIES, 8))
        .env(
            "POBLYSH_SLACK_USER_SCOPES",
            "channels:history,groups:history",
        )
        .out_of_process()
        .start()
        .await;
    system.simulator.change_slack(|slack| slack.rotation = true);
    system.simulator.shorten_retry_delays();
    let url = format!("{}/_sim/requests", system.simulator.base_url());
    let started = system.client.post(&url).send().await;
    assert!(started.expect("a simulator response").status().is_success());

    github(&system).await;
    slack(&system).await;
    slack_organization(&system).await;
    jira(&system).await;
    google_drive(&system).await;
    google_calendar(&system).await;
    gmail(&system).await;

    let response = system.client.get(&url).send().await;
    let lines = response.expect("a simulator response").text().await;
    print!("{}", lines.expect("the requests"));
}

/// Connection of a new tenant.
struct ConnectedAccount<'s> {
    system: &'s System,
    provider: &'static str,
    tenant: Tenant<'s>,
    account: String,
    admin: String,
    connection: Uuid,
}

impl<'s> ConnectedAccount<'s> {
    async fn connect(
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

    async fn act(&self, action: &str, more: Value) -> Value {
        let mut body = json!({ "account": self.account, "action": action });
        for (name, value) in more.as_object().expect("fields") {
            body[name] = value.clone();
        }
        self.system
            .sim(&format!("{}/act", self.provider), body)
            .await
    }

    async fn generate(&self, count: usize) {
        let body = json!({ "account": self.account, "count": count });
        let path = format!("{}/generate", self.provider);
        self.system.sim(&path, body).await;
    }

    async fn fault(&self, fault: Value) {
        self.system.sim("faults", fault).await;
    }

    /// Drops all deliveries until [`System::clear_faults`].
    async fn lose_deliveries(&self) {
        let lost = json!({ "target": "delivery", "effect": "drop_silently" });
        self.fault(lost).await;
    }

    /// Expires the tokens of this holder at the provider.
    async fn expire(&self, holder: &str) {
        let body = json!({ "expire": holder });
        let path = self.system.simulator.token_commands(self.provider);
        self.system.sim(&path, body).await;
    }

    /// Enqueues a lookup of names, as a delivery with ids only does.
    async fn resolve_directory(&self, keys: Value) {
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
    async fn use_everything(&self) {
        self.generate(60).await;
        self.lose_deliveries().await;
        self.generate(60).await;
        self.expire(&self.account).await;
        self.tenant.poll().await;
        self.system.drain().await;
        self.system.set_subscriptions_near_expiry().await;
        self.system.drain().await;
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .bind(self.connection)
            .fetch_one(self.system.db.pool())
            .await
            .expect("the query result")
    }

    async fn status(&self) -> Value {
        let path = format!("/v1/connections/{}", self.connection);
        self.tenant.get(&path).await["status"].clone()
    }

    /// Polls, reconciles, compares with the ledger, runs a full sync, and disconnects.
    async fn finish(&self) {
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

async fn github(system: &System) {
    let account = system.accounts_at("github").await.remove(0);
    let connected = ConnectedAccount::connect(system, "github", account).await;
    // Failed deliveries are redelivered.
    connected
        .fault(json!({ "target": "delivery", "effect": "drop", "count": 3 }))
        .await;
    connected.generate(60).await;
    system.redeliver().await;
    // Lists with several pages, some of which fail until their size is reduced.
    connected.lose_deliveries().await;
    for _ in 0..MORE_THAN_A_PAGE {
        for action in ["pull_request.opened", "issues.opened", "release.published"] {
            let repository = json!({ "repository": "service-1" });
            connected.act(action, repository).await;
        }
    }
    connected
        .fault(json!({
            "target": "request", "pattern": "GET /repos/*/pulls", "effect": "status", "status": 502,
            "count": 4,
        }))
        .await;
    connected.expire("installation").await;
    connected.tenant.poll().await;
    system.drain().await;
    system.clear_faults().await;
    // A suspension is confirmed by a request.
    for (action, status) in [
        ("installation.suspend", "suspended"),
        ("installation.unsuspend", "active"),
    ] {
        connected.act(action, json!({})).await;
        eventually("the status was confirmed", async || {
            connected.status().await == status
        })
        .await;
    }
    connected.finish().await;
}

async fn slack(system: &System) {
    let mut accounts = system.accounts_at("slack").await;
    let other = accounts.remove(1).0;
    let connected = ConnectedAccount::connect(system, "slack", accounts.remove(0)).await;
    connected
        .act("channel.shared", json!({ "to": other }))
        .await;
    connected.generate(60).await;
    connected
        .resolve_directory(json!([
            { "kind": "user", "id": "U00000000" },
            { "kind": "channel", "id": "C00000000" },
            { "kind": "bot", "id": "B00000000" },
        ]))
        .await;
    // Threads that only the installer may read; both tokens have expired.
    system
        .simulator
        .change_slack(|slack| slack.replies_need_user = true);
    for holder in [&connected.account, &connected.admin] {
        connected.expire(holder).await;
    }
    sqlx::query("UPDATE credentials SET expires_at = now() WHERE holder <> 'account'")
        .execute(system.db.pool())
        .await
        .expect("expired");
    connected.lose_deliveries().await;
    connected.generate(60).await;
    connected.finish().await;
    system
        .simulator
        .change_slack(|slack| slack.replies_need_user = false);
}

async fn slack_organization(system: &System) {
    let new = json!({ "domain": "acme", "organization": true, "workspaces": 2, "history": 8 });
    let created = system.sim("slack/accounts", new).await;
    let text = |name: &str| created[name].as_str().expect("text").to_owned();
    let connected =
        ConnectedAccount::connect(system, "slack", (text("login"), text("admin"))).await;
    connected
        .resolve_directory(json!([{ "kind": "bot", "id": "B00000000" }]))
        .await;
    connected.generate(40).await;
    connected.finish().await;
}

async fn jira(system: &System) {
    let account = system.accounts_at("jira").await.remove(0);
    let connected = ConnectedAccount::connect(system, "jira", account).await;
    connected.generate(60).await;
    // An issue with more changes and comments than a search shows.
    let issue = connected.act("issue.created", json!({})).await["object"]["id"].clone();
    connected.lose_deliveries().await;
    for _ in 0..MORE_THAN_A_PAGE {
        for action in ["issue.edited", "comment.created"] {
            connected.act(action, json!({ "issue": issue })).await;
        }
    }
    connected
        .act("worklog.created", json!({ "issue": issue }))
        .await;
    connected
        .resolve_directory(json!([
            { "kind": "status", "id": "1" },
            { "kind": "issue", "id": "10001" },
        ]))
        .await;
    connected.expire(&connected.admin).await;
    connected.tenant.poll().await;
    system.drain().await;
    system.clear_faults().await;
    // A new project, for which a webhook is registered, and a webhook near its expiry.
    connected
        .act("project.created", json!({ "to": "NEW" }))
        .await;
    connected.tenant.poll().await;
    system.drain().await;
    system.set_subscriptions_near_expiry().await;
    eventually("the webhook was renewed", async || {
        connected
            .count(
                "SELECT count(*) FROM subscriptions WHERE connection_id = $1 \
             AND expires_at < now() + interval '6 days'",
            )
            .await
            == 0
    })
    .await;
    connected.finish().await;
}

async fn google_drive(system: &System) {
    system
        .simulator
        .change_google_drive(|drive| drive.max_page_size = 20);
    let account = system.accounts_at("google_drive").await.remove(0);
    let connected = ConnectedAccount::connect(system, "google_drive", account).await;
    connected
        .resolve_directory(json!([{ "kind": "drive", "id": "0A00000000000000PVA" }]))
        .await;
    connected.use_everything().await;
    connected.finish().await;
}

async fn google_calendar(system: &System) {
    system
        .simulator
        .change_google_calendar(|calendar| calendar.max_page_size = 20);
    let account = system.accounts_at("google_calendar").await.remove(0);
    let connected = ConnectedAccount::connect(system, "google_calendar", account).await;
    connected.use_everything().await;
    connected.finish().await;
}

async fn gmail(system: &System) {
    system.simulator.change_gmail(|gmail| {
        (gmail.max_page_size, gmail.notification_milliseconds) = (20, 0);
    });
    let account = system.accounts_at("gmail").await.remove(0);
    let connected = ConnectedAccount::connect(system, "gmail", account).await;
    // Pushes are signed with a key that the ingress does not know yet.
    system.sim("google/keys", json!({ "rotate": true })).await;
    connected.use_everything().await;
    connected.finish().await;
}
