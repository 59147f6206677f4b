//! Distinct GitHub facts with similar deliveries, and replayed deliveries.

use serde_json::{Value, json};
use sqlx::Row;
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

use crate::ingress::{secret, signature};

/// Connects an account and waits until the system is idle.
async fn connect_account<'s>(system: &'s System, tenant: &Tenant<'s>) -> (String, Uuid) {
    let (account, admin) = system.accounts().await.remove(0);
    let connection = tenant.connect(&account, &admin).await;
    system.drain().await;
    (account, connection)
}

async fn act(system: &System, account: &str, action: &str, with: Value) -> Value {
    let mut act = json!({ "account": account, "repository": "service-1", "action": action });
    for (name, value) in with.as_object().into_iter().flatten() {
        act[name] = value.clone();
    }
    system.sim("github/act", act).await["object"].clone()
}

/// Lists the Signals of a kind.
async fn list_signals(tenant: &Tenant<'_>, kind: &str) -> Vec<Value> {
    let mut all = tenant.feed().await;
    all.retain(|signal| signal["kind"] == kind);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_changes_give_separate_signals() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let (account, _) = connect_account(&system, &tenant).await;
    let pull = act(&system, &account, "pull_request.opened", json!({})).await;
    let number = pull["number"].clone();
    for label in ["infra", "urgent", "parser"] {
        let with = json!({ "number": number, "name": label });
        act(&system, &account, "pull_request.labeled", with).await;
    }
    for login in ["dev-1", "dev-2"] {
        let login = format!("{account}-{login}");
        let with = json!({ "number": number, "login": login });
        act(&system, &account, "pull_request.assigned", with).await;
    }
    let on_pull = json!({ "number": number });
    let comment = act(&system, &account, "issue_comment.created", on_pull).await;
    for text in ["half done", "it fails"] {
        let with = json!({ "id": comment["id"], "body": text });
        act(&system, &account, "issue_comment.edited", with).await;
    }
    let on_line = json!({ "number": number });
    let action = "pull_request_review_comment.created";
    act(&system, &account, action, on_line).await;
    tenant.assert_equals_ledger_after_poll(&account).await;

    let changes = list_signals(&tenant, "pr_updated").await;
    let mut labels: Vec<&str> = changes
        .iter()
        .filter_map(|signal| signal["payload"]["normalized"]["label"].as_str())
        .collect();
    labels.sort_unstable();
    assert_eq!(labels, ["infra", "parser", "urgent"]);
    assert_eq!(changes.len(), 5);
    let edits = list_signals(&tenant, "comment_edited").await;
    let text = |signal: &Value| signal["payload"]["normalized"]["body"].clone();
    let texts: Vec<Value> = edits.iter().map(text).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts.contains(&json!("half done")) && texts.contains(&json!("it fails")));
    // The review of the comment has no text and gives no Signal.
    assert_eq!(list_signals(&tenant, "pr_reviewed").await.len(), 0);
    assert_eq!(list_signals(&tenant, "pr_commented").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_branch_move_gives_a_signal() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let (account, _) = connect_account(&system, &tenant).await;
    let second = async || {
        system.sim("clock", json!({ "advance_seconds": 2 })).await;
    };
    let pushed = act(&system, &account, "push", json!({})).await;
    second().await;
    let back = json!({ "name": pushed["before"] });
    act(&system, &account, "push.reset", back).await;
    second().await;
    let again = json!({ "name": pushed["after"] });
    act(&system, &account, "push.reset", again).await;
    for action in [
        "create.branch",
        "delete.branch",
        "create.branch",
        "delete.branch",
    ] {
        second().await;
        act(&system, &account, action, json!({ "name": "rc" })).await;
    }
    tenant.assert_equals_ledger_after_poll(&account).await;

    let mut signals = list_signals(&tenant, "commits_pushed").await;
    signals.sort_by_key(|signal| signal["timestamp"].to_string());
    let forced: Vec<&Value> = signals
        .iter()
        .map(|signal| &signal["payload"]["normalized"]["forced"])
        .collect();
    assert_eq!(forced, [false, true, false]);
    for kind in ["branch_created", "branch_deleted"] {
        let signals = list_signals(&tenant, kind).await;
        assert_eq!(signals.len(), 2, "{kind}");
        assert_eq!(signals[0]["timestamp_source"], "received");
    }
}

/// Waits for an event's delivery and returns the newest body.
async fn delivered_body(system: &System, event: &str) -> String {
    let mut body = String::new();
    eventually("the delivery arrived", async || {
        let row = sqlx::query(
            "SELECT convert_from(body, 'UTF8') AS body FROM deliveries \
             WHERE event = $1 ORDER BY received_at DESC LIMIT 1",
        )
        .bind(event)
        .fetch_optional(system.db.pool())
        .await
        .expect("the query result");
        body = row.map_or_else(String::new, |row| row.get("body"));
        !body.is_empty()
    })
    .await;
    body
}

/// Sends a genuine body again, as this event and with another delivery id.
async fn replay(system: &System, event: &str, body: String) {
    let signature = signature(secret(system), body.as_bytes());
    let response = system
        .client
        .post(format!("{}/webhooks/github", system.ingress))
        .header("X-GitHub-Event", event)
        .header("X-GitHub-Delivery", Uuid::new_v4().to_string())
        .header("X-Hub-Signature-256", signature)
        .header("Content-Type", "application/json")
        .body(body)
        .send()
        .await
        .expect("an ingress response");
    assert_eq!(response.status().as_u16(), 200);
}

async fn status(system: &System, connection: Uuid) -> String {
    sqlx::query_scalar("SELECT status::text FROM connections WHERE id = $1")
        .bind(connection)
        .fetch_one(system.db.pool())
        .await
        .expect("the connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_body_under_another_event_changes_nothing() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let (account, connection) = connect_account(&system, &tenant).await;
    act(&system, &account, "issue_comment.created", json!({})).await;
    act(&system, &account, "issue_comment.deleted", json!({})).await;
    let deleted = delivered_body(&system, "issue_comment.deleted").await;
    let created = delivered_body(&system, "issue_comment.created").await;
    for (event, body) in [
        ("installation", &deleted),
        ("installation", &created),
        ("repository", &deleted),
        ("installation_repositories", &deleted),
    ] {
        replay(&system, event, body.clone()).await;
    }
    // The same event again is the same fact.
    replay(&system, "issue_comment", created).await;
    system.drain().await;
    assert_eq!(status(&system, connection).await, "active");
    let failed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE outcome = 'failed'")
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
    assert_eq!(failed, 4, "they are kept for operators");
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_suspension_is_confirmed_at_github_first() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let (account, connection) = connect_account(&system, &tenant).await;
    act(&system, &account, "installation.suspend", json!({})).await;
    eventually("the connection is suspended", async || {
        status(&system, connection).await == "suspended"
    })
    .await;
    let suspension = delivered_body(&system, "installation.suspend").await;
    act(&system, &account, "installation.unsuspend", json!({})).await;
    eventually("the connection is active", async || {
        status(&system, connection).await == "active"
    })
    .await;
    replay(&system, "installation", suspension.clone()).await;
    let removal = suspension.replacen("\"suspend\"", "\"deleted\"", 1);
    replay(&system, "installation", removal).await;
    system.drain().await;
    assert_eq!(status(&system, connection).await, "active");
    tenant.assert_equals_ledger_after_poll(&account).await;
}
