//! Jira.

use serde_json::json;
use tests::harness::{System, eventually};

use crate::MORE_THAN_A_PAGE;
use crate::account::ConnectedAccount;

pub(crate) async fn jira(system: &System) {
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
