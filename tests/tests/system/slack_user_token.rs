//! Slack's user tokens: the installer's token reads threads that the bot may not read.
//!
//! Nothing else depends on it.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};

/// Starts a system whose installers grant user tokens and whose bots may not read replies.
async fn start_system(rotation: bool) -> System {
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

async fn generate_without_deliveries(system: &System, account: &str) {
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    let body = json!({ "count": 60, "account": account });
    system.sim("slack/generate", body).await;
}

/// Counts the stored user tokens.
async fn count_user_tokens(system: &System) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM credentials WHERE holder <> 'account'")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
}

fn count_replies(feed: &[Value]) -> usize {
    let kinds = feed.iter().filter(|one| one["kind"] == "thread_replied");
    kinds.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn installer_token_reads_threads_closed_to_the_bot() {
    let system = start_system(true).await;
    let (account, admin, tenant) = connect(&system).await;
    tenant.assert_equals_ledger(&account).await;
    assert!(
        count_replies(&tenant.feed().await) > 0,
        "there were threads"
    );
    // Both tokens expire; each is refreshed separately.
    for who in [&account, &admin] {
        system.sim("slack/tokens", json!({ "expire": who })).await;
    }
    sqlx::query("UPDATE credentials SET expires_at = now() WHERE holder <> 'account'")
        .execute(system.db.pool())
        .await
        .expect("expired");
    generate_without_deliveries(&system, &account).await;
    tenant
        .assert_equals_ledger_after_reconciliation(&account)
        .await;
    assert_eq!(count_user_tokens(&system).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_installer_token_ends_nothing_else() {
    let system = start_system(false).await;
    let (account, admin, tenant) = connect(&system).await;
    system.drain().await;
    assert_eq!(count_user_tokens(&system).await, 1);
    system.sim("slack/tokens", json!({ "revoke": admin })).await;
    eventually("the user token is deleted", async || {
        count_user_tokens(&system).await == 0
    })
    .await;
    generate_without_deliveries(&system, &account).await;
    tenant
        .assert_equals_ledger_after_reconciliation(&account)
        .await;
    let connections = tenant.get("/v1/connections").await;
    assert_eq!(connections["connections"][0]["status"], "active");
}
