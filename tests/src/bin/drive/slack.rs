//! Slack: a workspace and an organization.

use serde_json::json;
use tests::harness::System;

use crate::account::ConnectedAccount;

pub(crate) async fn slack(system: &System) {
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

pub(crate) async fn slack_organization(system: &System) {
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
