//! Bulk actions on jobs and deliveries: previews, one job per action, and what they accept.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, As, read};

const JOBS: &str = "/v1/jobs/bulk";
const DELIVERIES: &str = "/v1/webhook-deliveries/bulk";

#[tokio::test]
async fn preview_counts_what_the_action_changes() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let (first, second) = (api.connection(&acme).await, api.connection(&acme).await);
    for connection in [first, first, second] {
        api.dead_job(&acme, connection).await;
        api.queued_job(&acme, connection).await;
    }
    api.queued_job(&acme, second).await;
    for outcome in ["failed", "failed", "processed", "pending"] {
        api.delivery(acme.id, outcome).await;
    }
    for (path, action, filter, matched) in [
        (JOBS, "retry", json!({}), 3),
        (
            JOBS,
            "retry",
            json!({ "state": "dead", "connection_id": first }),
            2,
        ),
        (JOBS, "retry", json!({ "provider": "jira" }), 0),
        (JOBS, "cancel", json!({}), 4),
        (JOBS, "cancel", json!({ "state": "running" }), 0),
        (
            JOBS,
            "cancel",
            json!({ "kind": "sync_connection", "connection_id": second }),
            2,
        ),
        (DELIVERIES, "replay", json!({}), 3),
        (DELIVERIES, "replay", json!({ "outcome": "failed" }), 2),
    ] {
        let body = json!({ "action": action, "filter": filter, "dry_run": true });
        let response = api.post(path, acme.auth(), &body).await;
        assert_eq!(response.status, 200, "{body}");
        let preview = response.ok();
        assert_eq!(
            preview,
            json!({ "matched": matched, "has_more": false }),
            "{body}"
        );
        let foreign = api.post(path, other.auth(), &body).await.ok();
        assert_eq!(foreign["matched"], 0, "{body}");
    }
    let jobs = api.get("/v1/jobs?kind=run_bulk_action", acme.auth()).await;
    assert_eq!(jobs.ok()["jobs"], json!([]), "a preview creates no job");
}

#[tokio::test]
async fn same_action_has_one_job_at_a_time() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let retry = json!({ "action": "retry", "filter": { "provider": "github" } });
    let response = api.post(JOBS, acme.auth(), &retry).await;
    assert_eq!(response.status, 202);
    let job = response.ok()["job"].clone();
    assert_eq!(job["kind"], "run_bulk_action");
    assert_eq!(job["provider"], "github");
    assert_eq!(
        job["progress"],
        json!({ "matched": null, "done": 0, "failed": 0 })
    );
    let again = api.post(JOBS, acme.auth(), &retry).await.ok();
    assert_eq!(again["job"]["id"], job["id"]);
    let other = json!({ "action": "cancel", "filter": { "provider": "github" } });
    let other = api.post(JOBS, acme.auth(), &other).await.ok();
    assert_ne!(other["job"]["id"], job["id"]);
    let entries = api
        .count(
            "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND target = $2::text \
                 AND action = 'bulk_action.requested'",
            acme.id,
            job["id"]
                .as_str()
                .and_then(|id| id.parse().ok())
                .expect("an id"),
        )
        .await;
    assert_eq!(entries, 2, "both requests are in the audit log");
    // Another kind of job has no progress.
    let connection = api.connection(&acme).await;
    let queued = api.queued_job(&acme, connection).await;
    let shown = api.get(&format!("/v1/jobs/{queued}"), acme.auth()).await;
    assert_eq!(shown.ok()["progress"], Value::Null);
}

#[tokio::test]
async fn repeated_request_gets_the_same_response() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let send = async |path: &str, body: &Value| {
        let request = api.request(Method::POST, path, acme.auth());
        read(request.header("Idempotency-Key", "one").json(body)).await
    };
    let replay = json!({ "action": "replay", "filter": { "outcome": "failed" } });
    let first = send(DELIVERIES, &replay).await.ok();
    // The job has ended, so the window alone would give another one.
    api.sql(
        "DELETE FROM jobs WHERE tenant_id = $1 AND kind = 'run_bulk_action' AND id <> $2",
        acme.id,
        Uuid::nil(),
    )
    .await;
    let repeated = send(DELIVERIES, &replay).await;
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(repeated.ok(), first);
    let other = json!({ "action": "replay", "filter": {} });
    send(DELIVERIES, &other)
        .await
        .is_problem(409, "idempotency_key_reused");
}

#[tokio::test]
async fn invalid_bulk_actions_are_rejected() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    for (path, body, field) in [
        (
            JOBS,
            json!({ "action": "retry", "filter": { "state": "queued" } }),
            "filter.state",
        ),
        (
            JOBS,
            json!({ "action": "cancel", "filter": { "state": "dead" } }),
            "filter.state",
        ),
        (
            JOBS,
            json!({ "action": "cancel", "filter": { "provider": "Git Hub" } }),
            "filter.provider",
        ),
        (JOBS, json!({ "action": "replay", "filter": {} }), "action"),
        (
            JOBS,
            json!({ "action": "retry", "filter": { "colour": "red" } }),
            "filter",
        ),
        (
            DELIVERIES,
            json!({ "action": "replay", "filter": { "outcome": "pending" } }),
            "filter.outcome",
        ),
        (
            DELIVERIES,
            json!({ "action": "retry", "filter": {} }),
            "action",
        ),
    ] {
        let response = api.post(path, acme.auth(), &body).await;
        response.is_problem(422, "invalid_body");
        let fields = response.fields();
        assert!(
            fields.len() == 1 && fields[0].starts_with(field),
            "{body}: {fields:?}"
        );
    }
    for path in [JOBS, DELIVERIES] {
        let response = api
            .post(path, acme.auth(), &json!({ "action": "retry" }))
            .await;
        response.is_problem(422, "invalid_body");
        let body = json!({ "action": "replay", "filter": {} });
        let response = api.post(path, As::Anonymous, &body).await;
        response.is_problem(401, "unauthorized");
        let reader = json!({ "name": "reader", "scopes": ["jobs:read"] });
        let reader = api.key(acme.id, &reader).await;
        let response = api.post(path, As::Key(&reader), &body).await;
        response.is_problem(403, "insufficient_scope");
    }
}
