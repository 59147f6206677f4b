//! Connections: listed, paused, changed, deleted, probed.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, As, Team, ids};

const ROUTES: &str =
    "SELECT count(*) FROM connection_routes WHERE tenant_id = $1 AND connection_id = $2";

#[tokio::test]
async fn tenant_lists_its_connections() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let (first, second) = (api.connection(&acme).await, api.connection(&acme).await);
    for caller in [acme.auth(), As::OperatorOf(acme.id)] {
        let list = api.get("/v1/connections", caller).await.ok();
        assert_eq!(ids(&list["connections"]), [second, first]);
        assert_eq!(list["next_cursor"], Value::Null);
    }
    let page = api
        .get("/v1/connections?limit=1&provider=github", acme.auth())
        .await
        .ok();
    let cursor = page["next_cursor"].as_str().expect("more");
    let page = api
        .get(&format!("/v1/connections?cursor={cursor}"), acme.auth())
        .await
        .ok();
    assert_eq!(ids(&page["connections"]), [first]);
    let none = api
        .get("/v1/connections?provider=jira", acme.auth())
        .await
        .ok();
    assert_eq!(none["connections"], json!([]));

    let shown = api
        .get(&format!("/v1/connections/{first}"), acme.auth())
        .await
        .ok();
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["account"]["name"], "octo-org");
    assert!(shown["next_sync_at"].is_string());
}

#[tokio::test]
async fn paused_connection_keeps_its_route_without_polling() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let path = format!("/v1/connections/{id}");
    let paused = api
        .patch(&path, acme.auth(), &json!({ "status": "paused" }))
        .await
        .ok();
    assert_eq!(paused["status"], "paused");
    assert_eq!(paused["next_sync_at"], Value::Null);
    assert_eq!(
        api.count(ROUTES, acme.id, id).await,
        1,
        "deliveries are still received"
    );

    let body = json!({ "status": "active", "poll_interval_seconds": 600 });
    let resumed = api.patch(&path, acme.auth(), &body).await.ok();
    assert_eq!(resumed["status"], "active");
    assert_eq!(resumed["poll_interval_seconds"], 600);
    assert!(resumed["next_sync_at"].is_string());
    let unchanged = api.patch(&path, acme.auth(), &json!({})).await.ok();
    assert_eq!(unchanged["updated_at"], resumed["updated_at"]);
}

#[tokio::test]
async fn invalid_changes_leave_the_connection_unchanged() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let path = format!("/v1/connections/{id}");
    for body in [
        json!({ "status": "disconnected" }),
        json!({ "poll_interval_seconds": 29 }),
        json!({ "poll_interval_seconds": 86_401 }),
        json!({ "poll_interval_seconds": "300" }),
        json!({ "account": {} }),
    ] {
        api.patch(&path, acme.auth(), &body)
            .await
            .is_problem(422, "invalid_body");
    }
    for status in ["pending", "suspended", "needs_reauth", "disconnected"] {
        set_status(&api, &acme, id, status).await;
        for wanted in ["active", "paused"] {
            let response = api
                .patch(&path, acme.auth(), &json!({ "status": wanted }))
                .await;
            response.is_problem(409, "status_not_changeable");
        }
        assert_eq!(api.get(&path, acme.auth()).await.ok()["status"], status);
    }
}

#[tokio::test]
async fn deleted_connection_is_erased_and_remains_listed() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let job = api.queued_job(&acme, id).await;
    let path = format!("/v1/connections/{id}");
    for _ in 0..2 {
        assert_eq!(api.delete(&path, acme.auth()).await.status, 204);
    }
    let shown = api.get(&path, acme.auth()).await.ok();
    assert_eq!(shown["status"], "disconnected");
    for statement in [
        ROUTES,
        "SELECT count(*) FROM credentials WHERE tenant_id = $1 AND connection_id = $2",
        "SELECT count(*) FROM cursors WHERE tenant_id = $1 AND connection_id = $2",
        "SELECT count(*) FROM jobs WHERE tenant_id = $1 AND connection_id = $2",
    ] {
        assert_eq!(api.count(statement, acme.id, id).await, 0, "{statement}");
    }
    let job = api.get(&format!("/v1/jobs/{job}"), acme.auth()).await.ok();
    assert_eq!(job["state"], "cancelled");
    // The provider is not configured, so the audit entry says that the grant was not revoked.
    let audit_entries = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND target = $2::text \
                     AND action = 'connection.disconnected' AND (detail->>'revoked') = 'false'";
    assert_eq!(
        api.count(audit_entries, acme.id, id).await,
        1,
        "one audit entry"
    );
}

#[tokio::test]
async fn foreign_connection_is_not_found() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let path = format!("/v1/connections/{}", api.connection(&acme).await);
    let unknown = format!("/v1/connections/{}", Uuid::now_v7());
    for path in [&path, &unknown] {
        for caller in [other.auth(), As::OperatorOf(other.id)] {
            api.get(path, caller)
                .await
                .is_problem(404, "connection_not_found");
            api.delete(path, caller)
                .await
                .is_problem(404, "connection_not_found");
            let body = json!({ "status": "paused" });
            api.patch(path, caller, &body)
                .await
                .is_problem(404, "connection_not_found");
        }
        api.get(path, As::Anonymous)
            .await
            .is_problem(401, "unauthorized");
        api.delete(path, As::Anonymous)
            .await
            .is_problem(401, "unauthorized");
    }
    assert_eq!(api.get(&path, acme.auth()).await.ok()["status"], "active");
    let list = api.get("/v1/connections", other.auth()).await.ok();
    assert_eq!(list["connections"], json!([]));
}

#[tokio::test]
async fn connections_behind_match_the_feed_count() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let all = [
        ("status = 'active'", json!(null)),
        ("status = 'paused'", json!("paused")),
        ("backfilled_at = NULL", json!("backfilling")),
        (
            "last_error = '{\"code\":\"permission\",\"message\":\"denied\"}'",
            json!("denied"),
        ),
        ("last_sync_at = now() - interval '1 day'", json!("overdue")),
        ("status = 'disconnected'", json!("disconnected")),
    ];
    let mut connections = Vec::new();
    for (change, _) in &all {
        let id = api.connection(&acme).await;
        for change in ["backfilled_at = now(), last_sync_at = now()", *change] {
            let statement = format!("UPDATE connections SET {change} WHERE id = $1");
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(id)
                .execute(api.db.pool())
                .await
                .expect("changed");
        }
        let shown = api.get(&format!("/v1/connections/{id}"), acme.auth()).await;
        connections.push((id, shown.ok()["behind"].clone()));
    }
    let reasons: Vec<_> = connections.iter().map(|(_, behind)| behind).collect();
    assert_eq!(
        reasons,
        all.iter().map(|(_, reason)| reason).collect::<Vec<_>>()
    );
    // Newest first; the disconnected connection is in neither list.
    let list = async |filter: String| {
        let path = format!("/v1/connections?{filter}");
        ids(&api.get(&path, acme.auth()).await.ok()["connections"])
    };
    let behind: Vec<Uuid> = connections[1..5].iter().rev().map(|(id, _)| *id).collect();
    assert_eq!(list("behind=true".to_owned()).await, behind);
    assert_eq!(list("behind=false".to_owned()).await, [connections[0].0]);
    let (first, oldest) = (connections[0].0, connections[4].0);
    let both = format!("behind=true&connection_id={first},{oldest}");
    assert_eq!(list(both).await, [oldest]);
    assert!(
        list("behind=true&provider=jira,slack".to_owned())
            .await
            .is_empty()
    );
    let rejected = api.get("/v1/connections?behind=maybe", acme.auth()).await;
    rejected.is_problem(400, "invalid_parameters");

    let page = api.get("/v1/signals?source=github", acme.auth()).await.ok();
    let completeness = &page["completeness"];
    assert_eq!(completeness["behind"], json!(behind.len()));
    let url = completeness["connections_url"].as_str().expect("a URL");
    assert_eq!(url, "/v1/connections?behind=true&provider=github");
    let linked = api.get(url, acme.auth()).await.ok();
    assert_eq!(ids(&linked["connections"]), behind);
}

#[tokio::test]
async fn sync_probes_connections_without_a_working_grant() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    for (status, expected) in [
        ("suspended", 202),
        ("needs_reauth", 202),
        ("pending", 409),
        ("disconnected", 409),
    ] {
        let id = api.connection(&acme).await;
        set_status(&api, &acme, id, status).await;
        let path = format!("/v1/connections/{id}/sync");
        let body = json!({ "mode": "full" });
        let mut responses = Vec::new();
        for _ in 0..2 {
            responses.push(api.post(&path, acme.auth(), &body).await);
        }
        for response in &responses {
            assert_eq!(response.status, expected, "{status}: {}", response.body);
        }
        if expected == 202 {
            let job = &responses[0].body["job"];
            // A full sync would reset the cursors before the provider accepts the grant.
            assert_eq!(job["mode"], "incremental");
            assert_eq!(responses[1].body["job"]["id"], job["id"]);
        }
        let shown = api.get(&format!("/v1/connections/{id}"), acme.auth()).await;
        assert_eq!(shown.ok()["status"], status);
    }
}

async fn set_status(api: &Api, team: &Team, id: Uuid, status: &str) {
    sqlx::query(
        "UPDATE connections SET status = $3::connection_status WHERE tenant_id = $1 AND id = $2",
    )
    .bind(team.id)
    .bind(id)
    .bind(status)
    .execute(api.db.pool())
    .await
    .expect("the status is set");
}
