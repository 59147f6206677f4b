//! GitHub's refusals and failures: what they prove, and what they do not.
//!
//! A fault with a status has the body of a proxy, not of GitHub.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

async fn fail(system: &System, pattern: &str, status: u16, count: Option<u32>) {
    let mut fault = json!({ "target": "request", "pattern": pattern, "effect": "status",
                            "status": status });
    if let Some(count) = count {
        fault["count"] = json!(count);
    }
    system.sim("faults", fault).await;
}

async fn expire_tokens(system: &System) {
    let expired = json!({ "expire": "installation" });
    system.sim("github/tokens", expired).await;
}

async fn lose_deliveries(system: &System) {
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
}

async fn act(system: &System, account: &str, action: &str) {
    let act = json!({ "account": account, "action": action });
    system.sim("github/act", act).await;
}

/// Number of requests to which the first fault was applied.
async fn applied(system: &System) -> u64 {
    let applied = system.faults().await[0]["applied"].as_u64();
    applied.expect("a count")
}

async fn connection_of(tenant: &Tenant<'_>, connection: Uuid) -> Value {
    tenant.get(&format!("/v1/connections/{connection}")).await
}

async fn streams(system: &System) -> i64 {
    let sql = "SELECT count(*) FROM cursors WHERE retired_at IS NULL AND listed_at IS NOT NULL";
    let count = sqlx::query_scalar(sql).fetch_one(system.db.pool()).await;
    count.expect("the query result")
}

/// A status of the list of repositories is an error: no stream is retired for it.
#[tokio::test(flavor = "multi_thread")]
async fn failing_list_of_repositories_retires_no_stream() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    let before = streams(&system).await;
    assert!(before > 0);
    lose_deliveries(&system).await;
    fail(&system, "GET /installation/repositories", 409, None).await;
    act(&system, &account, "issues.opened").await;
    let through = connection_of(&tenant, connection).await["complete_through"].clone();
    tenant.poll().await;
    system.drain().await;
    assert_eq!(streams(&system).await, before);
    let shown = connection_of(&tenant, connection).await;
    assert_eq!(shown["complete_through"], through, "{shown:#}");
    assert_eq!(shown["status"], "active", "{shown:#}");
    assert!(!shown["last_error"].is_null(), "{shown:#}");
    system.clear_faults().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

/// A list that is gone holds completeness back like a denied one.
#[tokio::test(flavor = "multi_thread")]
async fn gone_list_of_issues_holds_completeness_back() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    lose_deliveries(&system).await;
    fail(&system, "GET /repos/*/issues?", 410, None).await;
    let through = connection_of(&tenant, connection).await["complete_through"].clone();
    act(&system, &account, "issues.opened").await;
    tenant.poll().await;
    system.drain().await;
    let shown = connection_of(&tenant, connection).await;
    assert_eq!(shown["complete_through"], through, "{shown:#}");
    assert_eq!(shown["last_error"]["code"], "permission", "{shown:#}");
    system.clear_faults().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

/// A proxy answers 404 to every request of the app.
#[tokio::test(flavor = "multi_thread")]
async fn masked_404_ends_no_grant() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    expire_tokens(&system).await;
    fail(&system, "/app/installations/", 404, None).await;
    eventually("the token was requested several times", async || {
        tenant.poll().await;
        applied(&system).await >= 4
    })
    .await;
    let shown = connection_of(&tenant, connection).await;
    assert_eq!(shown["status"], "active", "{shown:#}");
    system.clear_faults().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

/// The request that confirms a change of the installation is answered by a proxy.
#[tokio::test(flavor = "multi_thread")]
async fn masked_404_on_confirmation_removes_no_connection() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    fail(&system, "GET /app/installations/", 404, Some(1)).await;
    act(&system, &account, "installation.suspend").await;
    eventually("the suspension is confirmed", async || {
        connection_of(&tenant, connection).await["status"] == "suspended"
    })
    .await;
    system.assert_faults_applied().await;
    act(&system, &account, "installation.unsuspend").await;
    eventually("the connection is active", async || {
        connection_of(&tenant, connection).await["status"] == "active"
    })
    .await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

/// GitHub rejects the app's own token for some time.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_app_token_backs_off() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    expire_tokens(&system).await;
    let rejected = json!({ "target": "request", "effect": "unauthorized", "count": 2,
                           "pattern": "POST /app/installations/*/access_tokens" });
    system.sim("faults", rejected).await;
    tenant.poll().await;
    tenant.assert_equals_ledger(&account).await;
    system.assert_faults_applied().await;
    let shown = connection_of(&tenant, connection).await;
    assert_eq!(shown["status"], "active", "{shown:#}");
    system.assert_no_dead_jobs().await;
}

/// The token is refused with 403 for another reason than a suspension, such as an allow list.
#[tokio::test(flavor = "multi_thread")]
async fn gh_token_403_other_than_suspended() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    expire_tokens(&system).await;
    let refused = json!({ "target": "request", "effect": "forbidden",
                          "pattern": "POST /app/installations/*/access_tokens" });
    system.sim("faults", refused).await;
    eventually("the token was refused several times", async || {
        tenant.poll().await;
        applied(&system).await >= 3
    })
    .await;
    let shown = connection_of(&tenant, connection).await;
    assert_eq!(shown["status"], "active", "{shown:#}");
    // The address is allowed: the connection works again by itself.
    system.clear_faults().await;
    act(&system, &account, "issues.opened").await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let shown = connection_of(&tenant, connection).await;
    assert_eq!(shown["last_error"], Value::Null, "{shown:#}");
}

/// GitHub never returns a page of a hundred pull requests, and returns one of fifty.
#[tokio::test(flavor = "multi_thread")]
async fn gh_page_of_100_answers_502() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    lose_deliveries(&system).await;
    act(&system, &account, "pull_request.opened").await;
    act(&system, &account, "star.created").await;
    fail(&system, "GET /repos/*/pulls?*per_page=100", 502, None).await;
    fail(&system, "GET /repos/*/stargazers?*per_page=100", 502, None).await;
    let through = connection_of(&tenant, connection).await["complete_through"].clone();
    tenant.poll().await;
    tenant.assert_equals_ledger(&account).await;
    assert!(applied(&system).await > 0);
    let shown = connection_of(&tenant, connection).await;
    assert_ne!(shown["complete_through"], through, "{shown:#}");
    assert_eq!(shown["last_error"], Value::Null, "{shown:#}");
}

/// The reviews of one list are never readable: the pull requests are read nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_reviews_do_not_stop_pull_requests() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    lose_deliveries(&system).await;
    fail(&system, "GET /repos/*/pulls/*/reviews", 502, None).await;
    act(&system, &account, "pull_request.opened").await;
    tenant.poll().await;
    tenant.assert_equals_ledger(&account).await;
    // Its attempts are over, and it is read.
    eventually("the stream is read", async || {
        connection_of(&tenant, connection).await["last_error"].is_null()
    })
    .await;
    let path = format!("/v1/webhook-deliveries?outcome=failed&connection_id={connection}");
    let kept = tenant.get(&path).await["deliveries"].clone();
    assert_eq!(kept[0]["event"], "poll.pulls", "{kept:#}");
    // The pass that reads the reviews again says that it could not.
    tenant.poll_and_reconcile().await;
    eventually("the pass is held back", async || {
        let shown = connection_of(&tenant, connection).await;
        shown["last_error"]["code"] == "transient"
    })
    .await;
    system.clear_faults().await;
    tenant.poll_and_reconcile().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}
