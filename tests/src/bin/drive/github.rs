//! GitHub.

use serde_json::json;
use tests::harness::{System, eventually};

use crate::MORE_THAN_A_PAGE;
use crate::account::ConnectedAccount;

pub(crate) async fn github(system: &System) {
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
