//! Requests for a sync, and their idempotency keys.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::server::{Api, ApiResponse, As, Team, ids, read};

const JOBS: &str = "SELECT count(*) FROM jobs WHERE tenant_id = $1 AND connection_id = $2";

#[tokio::test]
async fn sync_creates_one_job_per_mode() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let path = format!("/v1/connections/{id}/sync");
    let response = api
        .post(&path, acme.auth(), &json!({ "mode": "full" }))
        .await;
    assert_eq!(response.status, 202);
    let full = response.ok();
    assert_eq!(full["job"]["kind"], "sync_connection");
    assert_eq!(full["job"]["state"], "queued");
    assert_eq!(full["job"]["mode"], "full");
    assert_eq!(full["job"]["cursor_window"], format!("sync:{id}:full"));
    let again = api
        .post(&path, acme.auth(), &json!({ "mode": "full" }))
        .await
        .ok();
    assert_eq!(again["job"]["id"], full["job"]["id"]);

    let nothing = read(api.request(Method::POST, &path, acme.auth()))
        .await
        .ok();
    assert_eq!(
        nothing["job"]["mode"], "incremental",
        "incremental without a body"
    );
    let default = api.post(&path, acme.auth(), &json!({})).await.ok();
    assert_eq!(default["job"]["id"], nothing["job"]["id"]);
    assert_eq!(api.count(JOBS, acme.id, id).await, 2);
}

#[tokio::test]
async fn repeated_idempotency_key_repeats_the_response() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let first = sync_with_key(&api, &acme, id, "k1", "full").await.ok();
    let job: Uuid = first["job"]["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a uuid");
    let cancel = format!("/v1/jobs/{job}/cancel");
    api.post(&cancel, acme.auth(), &json!({})).await.ok();

    let repeated = sync_with_key(&api, &acme, id, "k1", "full").await;
    assert_eq!(repeated.status, 202);
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(repeated.body, first);
    assert_eq!(
        api.count(JOBS, acme.id, id).await,
        0,
        "no second job was created"
    );

    let reused = sync_with_key(&api, &acme, id, "k1", "incremental").await;
    reused.is_problem(422, "idempotency_key_reused");
    let other = sync_with_key(&api, &acme, id, "k2", "full").await.ok();
    assert_ne!(other["job"]["id"], first["job"]["id"]);
}

#[tokio::test]
async fn concurrent_requests_with_one_key_share_a_response() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let responses = join_all((0..8).map(|_| sync_with_key(&api, &acme, id, "same", "full"))).await;
    let first = &responses[0].body;
    for response in &responses {
        assert_eq!(response.status, 202, "{}", response.body);
        assert_eq!(&response.body, first);
    }
    assert_eq!(api.count(JOBS, acme.id, id).await, 1);
}

#[tokio::test]
async fn idempotency_key_is_scoped_to_its_tenant() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let (mine, theirs) = (api.connection(&acme).await, api.connection(&other).await);
    let first = sync_with_key(&api, &acme, mine, "k", "full").await.ok();
    let second = sync_with_key(&api, &other, theirs, "k", "full").await.ok();
    assert_ne!(first["job"]["id"], second["job"]["id"]);
}

#[tokio::test]
async fn only_active_connections_are_synced() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let id = api.connection(&acme).await;
    let path = format!("/v1/connections/{id}/sync");
    api.post(&path, other.auth(), &json!({}))
        .await
        .is_problem(404, "connection_not_found");
    api.post(&path, As::Anonymous, &json!({}))
        .await
        .is_problem(401, "unauthorized");
    let bad = api
        .post(&path, acme.auth(), &json!({ "mode": "sideways" }))
        .await;
    bad.is_problem(422, "invalid_body");
    assert_eq!(bad.fields(), ["mode"]);
    let long = "k".repeat(256);
    for key in ["", long.as_str()] {
        sync_with_key(&api, &acme, id, key, "full")
            .await
            .is_problem(400, "invalid_parameters");
    }
    let connection = format!("/v1/connections/{id}");
    api.patch(&connection, acme.auth(), &json!({ "status": "paused" }))
        .await
        .ok();
    let rejected = sync_with_key(&api, &acme, id, "k", "full").await;
    rejected.is_problem(409, "connection_not_active");
    api.patch(&connection, acme.auth(), &json!({ "status": "active" }))
        .await
        .ok();
    let accepted = sync_with_key(&api, &acme, id, "k", "full").await;
    assert_eq!(
        accepted.status, 202,
        "a rejected request does not use the key"
    );
}

#[tokio::test]
async fn provider_sync_covers_all_active_connections() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let (one, two) = (api.connection(&acme).await, api.connection(&acme).await);
    let paused = api.connection(&acme).await;
    api.connection(&other).await;
    let path = format!("/v1/connections/{paused}");
    api.patch(&path, acme.auth(), &json!({ "status": "paused" }))
        .await
        .ok();

    let response = api
        .post("/v1/sync/github", acme.auth(), &json!({ "mode": "full" }))
        .await;
    assert_eq!(response.status, 202);
    let jobs = response.ok();
    assert_eq!(ids(&jobs["jobs"]).len(), 2);
    for (job, connection) in jobs["jobs"]
        .as_array()
        .expect("a list")
        .iter()
        .zip([one, two])
    {
        assert_eq!(job["connection_id"], json!(connection));
    }
    let unknown = api
        .post("/v1/sync/unheard_of", acme.auth(), &json!({}))
        .await;
    unknown.is_problem(404, "provider_not_found");
    api.post("/v1/sync/github", As::Anonymous, &json!({}))
        .await
        .is_problem(401, "unauthorized");
}

async fn sync_with_key(
    api: &Api,
    team: &Team,
    connection: Uuid,
    key: &str,
    mode: &str,
) -> ApiResponse {
    let path = format!("/v1/connections/{connection}/sync");
    let request = api
        .request(Method::POST, &path, team.auth())
        .header("Idempotency-Key", key);
    read(request.json(&json!({ "mode": mode }))).await
}
