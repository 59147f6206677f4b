//! Slack with the installer's own token beside the bot's: it reads what the bot may not, and
//! nothing depends on it.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};

/// A system in which `conversations.replies` refuses bots, and a workspace whose installer was
/// asked for a token.
async fn system(rotation: bool) -> System {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 40))
        .env(
            "POBLYSH_SLACK_USER_SCOPES",
            "channels:history,groups:history",
        )
        .start()
        .await;
    system.simulator.change_slack(|slack| {
        (slack.replies_need_user, slack.rotation) = (true, rotation);
    });
    system
}

async fn connect(system: &System) -> (String, String, Tenant<'_>) {
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect_to("slack", &account, &admin).await;
    (account, admin, tenant)
}

async fn happen_unheard(system: &System, account: &str) {
    let silence = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", silence).await;
    let body = json!({ "count": 60, "account": account });
    system.sim("slack/generate", body).await;
}

/// How many tokens of persons are kept.
async fn kept(system: &System) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM person_credentials")
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers")
}

fn replies(feed: &[Value]) -> usize {
    let kinds = feed.iter().filter(|one| one["kind"] == "thread_replied");
    kinds.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_read_with_the_installers_token_where_the_bot_may_not() {
    let system = system(true).await;
    let (account, admin, tenant) = connect(&system).await;
    tenant.assert_equals_ledger(&account).await;
    assert!(replies(&tenant.feed().await) > 0, "there were threads");
    // Both tokens end; each is renewed by itself.
    for who in [&account, &admin] {
        system.sim("slack/tokens", json!({ "expire": who })).await;
    }
    sqlx::query("UPDATE person_credentials SET expires_at = now()")
        .execute(system.db.pool())
        .await
        .expect("expired");
    happen_unheard(&system, &account).await;
    tenant
        .assert_equals_ledger_after_reconciliation(&account)
        .await;
    assert_eq!(kept(&system).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installers_token_that_is_withdrawn_ends_nothing_else() {
    let system = system(false).await;
    let (account, admin, tenant) = connect(&system).await;
    system.drain().await;
    assert_eq!(kept(&system).await, 1);
    system.sim("slack/tokens", json!({ "revoke": admin })).await;
    eventually("it is forgotten", async || kept(&system).await == 0).await;
    happen_unheard(&system, &account).await;
    tenant
        .assert_equals_ledger_after_reconciliation(&account)
        .await;
    let connections = tenant.get("/v1/connections").await;
    assert_eq!(connections["connections"][0]["status"], "active");
}
