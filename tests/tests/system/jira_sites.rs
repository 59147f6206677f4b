//! Jira sites that are renamed, refuse events, or send incomplete deliveries.

use serde_json::json;
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

async fn connect_acme(system: &System) -> (String, Tenant<'_>, Uuid) {
    let (account, admin) = system.accounts_at("jira").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("jira", &account, &admin).await;
    eventually("a webhook is registered", async || {
        routes(system).await.iter().any(|route| route.contains('#'))
    })
    .await;
    system.drain().await;
    (account, tenant, connection)
}

/// Lists the delivery routes in order.
async fn routes(system: &System) -> Vec<String> {
    sqlx::query_scalar("SELECT route FROM delivery_routes ORDER BY route")
        .fetch_all(system.db.pool())
        .await
        .expect("the query result")
}

async fn rename_site(system: &System, account: &str) {
    let rename = json!({ "account": account, "action": "site.renamed", "to": "bought" });
    system.sim("jira/act", rename).await;
}

async fn wait_for_new_routes(system: &System) {
    eventually("all routes have the new address", async || {
        let routes = routes(system).await;
        let has_new_address = |route: &String| route.starts_with("https://bought.atlassian.net");
        routes.iter().any(|route| route.contains('#')) && routes.iter().all(has_new_address)
    })
    .await;
}

async fn generate(system: &System, account: &str, count: usize) {
    let body = json!({ "count": count, "account": account });
    system.sim("jira/generate", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_site_renamed_keeps_receiving_webhooks() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = connect_acme(&system).await;
    let created = json!({ "account": account, "action": "issue.created" });
    let issue = system.sim("jira/act", created).await["object"]["id"].clone();
    tenant.assert_equals_ledger(&account).await;
    rename_site(&system, &account).await;
    let delete = json!({ "account": account, "action": "issue.deleted", "issue": issue });
    system.sim("jira/act", delete).await;
    system.drain().await;
    // Reconciling the subscriptions finds the new address and rematches earlier deliveries.
    system.reconcile_subscriptions().await;
    wait_for_new_routes(&system).await;
    eventually("the earlier delivery has its Signal", async || {
        tenant.difference(&[&account]).await.0.is_empty()
    })
    .await;
    generate(&system, &account, 30).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_a_renamed_site_again_moves_its_routes() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, _) = connect_acme(&system).await;
    let admin = system.accounts_at("jira").await.remove(0).1;
    rename_site(&system, &account).await;
    tenant.connect_to("jira", &account, &admin).await;
    wait_for_new_routes(&system).await;
    generate(&system, &account, 30).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_event_is_reported_and_loses_no_other() {
    let system = System::with_fast_provider().start().await;
    system.simulator.change_jira(|jira| {
        jira.refused_events = vec![
            "sprint_deleted".to_owned(),
            "jira:version_deleted".to_owned(),
        ];
    });
    let (account, tenant, connection) = connect_acme(&system).await;
    generate(&system, &account, 60).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    let response = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(
        response["warnings"][0]["code"], "events_refused",
        "{response}"
    );
    let message = response["warnings"][0]["message"].as_str().expect("text");
    assert!(message.contains("sprint_deleted") && message.contains("jira:version_deleted"));
    assert!(!message.contains("jira:issue_created"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn comment_without_issue_gets_its_issue() {
    let system = System::with_fast_provider().start().await;
    system
        .simulator
        .change_jira(|jira| jira.comments_without_issue = true);
    let (account, tenant, _) = connect_acme(&system).await;
    let created = json!({ "account": account, "action": "issue.created", "text": "The valve" });
    let issue = system.sim("jira/act", created).await["object"]["id"].clone();
    let comment = json!({ "account": account, "action": "comment.created", "issue": issue });
    system.sim("jira/act", comment).await;
    tenant.assert_equals_ledger(&account).await;
    let feed = tenant.feed().await;
    let comment = feed
        .iter()
        .find(|signal| signal["kind"] == "issue_commented");
    let comment = comment.expect("a comment");
    assert_eq!(comment["subject"]["title"], "The valve", "{comment}");
    assert!(
        comment["context"]["id"].is_string() && comment["subject"]["key"].is_string(),
        "{comment}"
    );
}
