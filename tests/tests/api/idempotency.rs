//! `Idempotency-Key` on each request that creates something.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, ApiResponse, As, read};

async fn send(api: &Api, path: &str, caller: As<'_>, key: &str, body: &Value) -> ApiResponse {
    let request = api
        .request(Method::POST, path, caller)
        .header("Idempotency-Key", key)
        .json(body);
    read(request).await
}

async fn count_tenants(api: &Api, name: &str) -> usize {
    let list = api.get("/v1/tenants?limit=200", As::Operator).await.ok();
    let tenants = list["tenants"].as_array().expect("a list");
    tenants
        .iter()
        .filter(|tenant| tenant["name"] == name)
        .count()
}

#[tokio::test]
async fn repeated_tenant_is_created_once() {
    let api = Api::start().await;
    let body = json!({ "name": "Once" });
    let first = send(&api, "/v1/tenants", As::Operator, "t1", &body).await;
    assert_eq!(first.status, 201);
    let repeated = send(&api, "/v1/tenants", As::Operator, "t1", &body).await;
    assert_eq!(repeated.status, 201);
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(repeated.body, first.body);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let other = json!({ "name": "Other" });
    send(&api, "/v1/tenants", As::Operator, "t1", &other)
        .await
        .is_problem(422, "idempotency_key_reused");
    assert_eq!(count_tenants(&api, "Once").await, 1);
    assert_eq!(count_tenants(&api, "Other").await, 0);
}

#[tokio::test]
async fn concurrent_repeats_create_one_tenant() {
    let api = Api::start().await;
    let body = json!({ "name": "Race" });
    let sent = (0..8).map(|_| send(&api, "/v1/tenants", As::Operator, "race", &body));
    let responses = join_all(sent).await;
    for response in &responses {
        assert_eq!(response.status, 201, "{}", response.body);
        assert_eq!(response.body, responses[0].body);
    }
    assert_eq!(count_tenants(&api, "Race").await, 1);
}

#[tokio::test]
async fn shown_secret_is_not_repeated() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let body = json!({ "name": "Once" });
    let first = send(&api, &path, As::Operator, "k1", &body).await.ok();
    let repeated = send(&api, &path, As::Operator, "k1", &body).await;
    repeated.is_problem(409, "secret_already_shown");
    assert_eq!(repeated.body["details"]["id"], first["id"]);
    let stored: String = sqlx::query_scalar("SELECT k::text FROM idempotency_keys k")
        .fetch_one(api.db.pool())
        .await
        .expect("the stored row");
    let secret = first["key"].as_str().expect("a key");
    assert!(!stored.contains(secret), "{stored}");
    send(&api, &path, As::Operator, "k1", &json!({ "name": "Else" }))
        .await
        .is_problem(422, "idempotency_key_reused");
    let keys = api.get(&path, As::Operator).await.ok();
    assert_eq!(keys["api_keys"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn failed_request_keeps_no_response() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let queued = api.queued_job(&acme, connection).await;
    let path = format!("/v1/jobs/{queued}/retry");
    send(&api, &path, acme.auth(), "r1", &json!({}))
        .await
        .is_problem(409, "job_not_dead");
    let dead = api.dead_job(&acme, connection).await;
    let path = format!("/v1/jobs/{dead}/retry");
    let first = send(&api, &path, acme.auth(), "r1", &json!({})).await.ok();
    let repeated = send(&api, &path, acme.auth(), "r1", &json!({})).await.ok();
    assert_eq!(repeated, first);
}

#[tokio::test]
async fn replays_and_syncs_are_repeated() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    api.connection(&acme).await;
    let delivery = api.delivery(acme.id, "processed").await;
    for (path, key) in [
        (format!("/v1/webhook-deliveries/{delivery}/replay"), "one"),
        ("/v1/sync/github".to_owned(), "two"),
    ] {
        let first = send(&api, &path, acme.auth(), key, &json!({})).await;
        assert_eq!(first.status, 202, "{}", first.body);
        let repeated = send(&api, &path, acme.auth(), key, &json!({})).await;
        assert_eq!(repeated.headers["idempotent-replayed"], "true");
        assert_eq!(repeated.body, first.body);
        let other = format!("{path}?");
        let other = send(&api, &other, acme.auth(), key, &json!({ "x": 1 })).await;
        assert!(other.status.is_client_error(), "{}", other.body);
    }
}

#[tokio::test]
async fn operators_and_tenants_have_separate_keys() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let path = format!("/v1/connections/{id}/sync");
    let full = json!({ "mode": "full" });
    let own = send(&api, &path, acme.auth(), "same", &full).await;
    assert_eq!(own.status, 202);
    let operator = As::OperatorOf(acme.id);
    let theirs = send(&api, &path, operator, "same", &json!({})).await;
    assert_eq!(theirs.status, 202, "{}", theirs.body);
    let parse = |response: &ApiResponse| -> Uuid {
        let id = response.body["job"]["id"].as_str().expect("an id");
        id.parse().expect("a uuid")
    };
    assert_ne!(parse(&own), parse(&theirs));
}

#[tokio::test]
async fn malformed_keys_are_rejected() {
    let api = Api::start().await;
    let long = "k".repeat(256);
    for key in ["", "two words", long.as_str()] {
        let body = json!({ "name": "Never" });
        send(&api, "/v1/tenants", As::Operator, key, &body)
            .await
            .is_problem(400, "invalid_parameters");
    }
    let large = json!({ "name": "x".repeat(70_000) });
    send(&api, "/v1/tenants", As::Operator, "large", &large)
        .await
        .is_problem(413, "payload_too_large");
}
