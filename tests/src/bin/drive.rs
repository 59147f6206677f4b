//! Drives the whole product against the simulator and prints every request that the simulator
//! received meanwhile, one JSON object per line.
//!
//! It connects, backfills, polls, reconciles and disconnects every provider with the three
//! processes as they are shipped, and checks the feed against the ledger. What the requests are
//! worth is for others to say: `scripts/verify-simulator` compares them with the providers'
//! published descriptions.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

/// GitHub searches for updates only where an installation has more than twenty.
const REPOSITORIES: usize = 22;
/// More than a page of any list.
const MANY: usize = 101;

#[tokio::main]
async fn main() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.repositories, sim.history) = (REPOSITORIES, 8))
        .env(
            "POBLYSH_SLACK_USER_SCOPES",
            "channels:history,groups:history",
        )
        .outside()
        .start()
        .await;
    system.simulator.change_slack(|slack| slack.rotation = true);
    system.simulator.retry_soon();
    let url = format!("{}/_sim/requests", system.simulator.base_url());
    let begun = system.client.post(&url).send().await;
    assert!(begun.expect("the simulator answers").status().is_success());

    github(&system).await;
    slack(&system).await;
    slack_organization(&system).await;
    jira(&system).await;

    let answer = system.client.get(&url).send().await;
    let lines = answer.expect("the simulator answers").text().await;
    print!("{}", lines.expect("the requests"));
}

/// A connection of a tenant of its own.
struct Connected<'s> {
    system: &'s System,
    provider: &'static str,
    tenant: Tenant<'s>,
    account: String,
    admin: String,
    connection: Uuid,
}

impl<'s> Connected<'s> {
    async fn make(
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
        // What happens before webhooks are registered is told by the first run alone.
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

    /// Everything that happens until [`System::clear_faults`] is told by no delivery.
    async fn lose_deliveries(&self) {
        let lost = json!({ "target": "delivery", "effect": "drop_silently" });
        self.fault(lost).await;
    }

    /// Ends the tokens of whatever the provider says they are of.
    async fn expire(&self, who: &str) {
        let body = json!({ "expire": who });
        let path = format!("{}/tokens", self.provider);
        self.system.sim(&path, body).await;
    }

    /// Asks for names as deliveries do that hold an id only.
    async fn look_up(&self, keys: Value) {
        sqlx::query(
            "INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, priority, payload) \
             VALUES ($1, gen_random_uuid(), 'look_up', $2, $3, 15, $4)",
        )
        .bind(self.tenant.id)
        .bind(self.provider)
        .bind(self.connection)
        .bind(json!({ "kind": "look_up", "deliveries": [], "keys": keys }))
        .execute(self.system.db.pool())
        .await
        .expect("a job");
        self.system.drain().await;
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .bind(self.connection)
            .fetch_one(self.system.db.pool())
            .await
            .expect("Postgres answers")
    }

    async fn status(&self) -> Value {
        let path = format!("/v1/connections/{}", self.connection);
        self.tenant.get(&path).await["status"].clone()
    }

    /// Polls and reconciles, compares with the ledger, reads everything once more, and
    /// disconnects.
    async fn finish(&self) {
        self.system.clear_faults().await;
        self.tenant
            .assert_equals_ledger_after_reconciliation(&self.account)
            .await;
        let path = format!("/v1/connections/{}", self.connection);
        let full = json!({ "mode": "full" });
        self.tenant.post(&format!("{path}/sync"), &full).await;
        self.tenant.assert_equals_ledger(&self.account).await;
        let ended = self
            .tenant
            .request(reqwest::Method::DELETE, &path, None)
            .await;
        assert!(ended.status().is_success(), "{}", ended.status());
        self.system.drain().await;
    }
}

async fn github(system: &System) {
    let account = system.accounts_at("github").await.remove(0);
    let it = Connected::make(system, "github", account).await;
    // Failed deliveries are asked for again.
    it.fault(json!({ "target": "delivery", "effect": "drop", "count": 3 }))
        .await;
    it.generate(60).await;
    system.sweep().await;
    // Lists with several pages, some of which fail until they are asked for in smaller ones.
    it.lose_deliveries().await;
    for _ in 0..MANY {
        for action in ["pull_request.opened", "issues.opened", "release.published"] {
            let there = json!({ "repository": "service-1" });
            it.act(action, there).await;
        }
    }
    it.fault(json!({
        "target": "request", "pattern": "GET /repos/*/pulls", "effect": "status", "status": 502,
        "count": 4,
    }))
    .await;
    it.expire("installation").await;
    it.tenant.poll().await;
    system.drain().await;
    system.clear_faults().await;
    // What would suspend the connection is confirmed by asking.
    for (action, status) in [
        ("installation.suspend", "suspended"),
        ("installation.unsuspend", "active"),
    ] {
        it.act(action, json!({})).await;
        eventually("the installation was asked for", async || {
            it.status().await == status
        })
        .await;
    }
    it.finish().await;
}

async fn slack(system: &System) {
    let mut accounts = system.accounts_at("slack").await;
    let other = accounts.remove(1).0;
    let it = Connected::make(system, "slack", accounts.remove(0)).await;
    it.act("channel.shared", json!({ "to": other })).await;
    it.generate(60).await;
    it.look_up(json!([
        { "kind": "user", "id": "U00000000" },
        { "kind": "channel", "id": "C00000000" },
        { "kind": "bot", "id": "B00000000" },
    ]))
    .await;
    // Threads that only the installer may read, whose token has ended as the bot's has.
    system
        .simulator
        .change_slack(|slack| slack.replies_need_user = true);
    for who in [&it.account, &it.admin] {
        it.expire(who).await;
    }
    sqlx::query("UPDATE person_credentials SET expires_at = now()")
        .execute(system.db.pool())
        .await
        .expect("expired");
    it.lose_deliveries().await;
    it.generate(60).await;
    it.finish().await;
    system
        .simulator
        .change_slack(|slack| slack.replies_need_user = false);
}

async fn slack_organization(system: &System) {
    let new = json!({ "domain": "acme", "organization": true, "workspaces": 2, "history": 8 });
    let made = system.sim("slack/accounts", new).await;
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    let it = Connected::make(system, "slack", (text("login"), text("admin"))).await;
    it.look_up(json!([{ "kind": "bot", "id": "B00000000" }]))
        .await;
    it.generate(40).await;
    it.finish().await;
}

async fn jira(system: &System) {
    let account = system.accounts_at("jira").await.remove(0);
    let it = Connected::make(system, "jira", account).await;
    it.generate(60).await;
    // An issue with more changes and comments than a search shows.
    let issue = it.act("issue.created", json!({})).await["object"]["id"].clone();
    it.lose_deliveries().await;
    for _ in 0..MANY {
        for action in ["issue.edited", "comment.created"] {
            it.act(action, json!({ "issue": issue })).await;
        }
    }
    it.act("worklog.created", json!({ "issue": issue })).await;
    it.look_up(json!([
        { "kind": "status", "id": "1" },
        { "kind": "issue", "id": "10001" },
    ]))
    .await;
    it.expire(&it.admin).await;
    it.tenant.poll().await;
    system.drain().await;
    system.clear_faults().await;
    // Another project, over which a new webhook is registered, and one that nears its end.
    it.act("project.created", json!({ "to": "NEW" })).await;
    it.tenant.poll().await;
    system.drain().await;
    system.let_subscriptions_near_their_end().await;
    eventually("the webhook was renewed", async || {
        it.count(
            "SELECT count(*) FROM subscriptions WHERE connection_id = $1 \
             AND expires_at < now() + interval '6 days'",
        )
        .await
            == 0
    })
    .await;
    it.finish().await;
}
