//! API keys: shown once, limited to their scopes, revoked, expired.

use serde_json::json;
use tests::harness::eventually;
use uuid::Uuid;

use crate::server::{Api, As};

#[tokio::test]
async fn key_is_shown_once_and_authenticates() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let body = json!({ "name": "Story Hunter", "scopes": ["signals:read"], "expires_in_days": 30 });
    let created = api.post(&path, As::Operator, &body).await;
    assert_eq!(created.status, 201);
    let created = created.ok();
    let key = created["key"].as_str().expect("a key");
    assert!(key.starts_with("pbk_") && key.len() == 47, "{key}");
    assert!(key.starts_with(created["hint"].as_str().expect("a hint")));
    assert_eq!(created["scopes"], json!(["signals:read"]));
    assert!(created["expires_at"].is_string());

    let list = api.get(&path, As::Operator).await.ok();
    assert_eq!(list["api_keys"].as_array().map(Vec::len), Some(2));
    assert!(
        !list.to_string().contains(key),
        "the key itself is never listed"
    );
    let kept = sqlx::query_scalar::<_, Vec<u8>>("SELECT key_hash FROM api_keys WHERE hint = $1")
        .bind(created["hint"].as_str())
        .fetch_one(api.db.pool())
        .await
        .expect("the key's row");
    assert_eq!(
        kept,
        shared::crypto::sha256(key.as_bytes()),
        "only the hash is stored"
    );

    assert_eq!(api.get("/v1/signals", As::Key(key)).await.status, 200);
    eventually("the use is recorded", async || {
        let list = api.get(&path, As::Operator).await.ok();
        list["api_keys"][0]["last_used_at"].is_string()
    })
    .await;
}

#[tokio::test]
async fn key_is_limited_to_its_scopes() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let key = api
        .key(
            acme.id,
            &json!({ "name": "feed", "scopes": ["signals:read"] }),
        )
        .await;
    let response = api.get("/v1/connections", As::Key(&key)).await;
    response.is_problem(403, "insufficient_scope");
    assert_eq!(response.body["details"]["needed"], "connections:read");
    let challenge = response.headers["www-authenticate"].to_str().expect("text");
    assert!(challenge.contains("connections:read"), "{challenge}");
}

#[tokio::test]
async fn revoked_and_expired_keys_are_rejected() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let created = api
        .post(&path, As::Operator, &json!({ "name": "old" }))
        .await
        .ok();
    let (id, key) = (
        created["id"].as_str().expect("an id"),
        created["key"].as_str().expect("a key"),
    );
    assert_eq!(api.get("/v1/jobs", As::Key(key)).await.status, 200);
    for _ in 0..2 {
        assert_eq!(
            api.delete(&format!("{path}/{id}"), As::Operator)
                .await
                .status,
            204
        );
    }
    api.get("/v1/jobs", As::Key(key))
        .await
        .is_problem(401, "unauthorized");

    api.sql(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' \
         WHERE tenant_id = $1 AND id <> $2",
        acme.id,
        Uuid::nil(),
    )
    .await;
    api.get("/v1/jobs", acme.auth())
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn only_operators_manage_keys() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let body = json!({ "name": "more" });
    api.post(&path, acme.auth(), &body)
        .await
        .is_problem(403, "operator_only");
    api.get(&path, As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
    for id in [Uuid::now_v7(), Uuid::nil()] {
        let unknown = format!("/v1/tenants/{id}/api-keys");
        api.post(&unknown, As::Operator, &body)
            .await
            .is_problem(404, "tenant_not_found");
    }
    let other = api.team("Other").await;
    let key = api.get(&path, As::Operator).await.ok()["api_keys"][0]["id"].clone();
    let foreign = format!(
        "/v1/tenants/{}/api-keys/{}",
        other.id,
        key.as_str().expect("an id")
    );
    api.delete(&foreign, As::Operator)
        .await
        .is_problem(404, "api_key_not_found");
    assert_eq!(
        api.get("/v1/jobs", acme.auth()).await.status,
        200,
        "the key was not revoked"
    );
}

#[tokio::test]
async fn invalid_key_is_rejected() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    for body in [
        json!({}),
        json!({ "name": "a", "scopes": [] }),
        json!({ "name": "a", "scopes": ["everything"] }),
        json!({ "name": "a", "expires_in_days": 0 }),
        json!({ "name": "a", "expires_in_days": 3651 }),
        json!({ "name": "a", "expires_in_days": 1.5 }),
        json!({ "name": "a", "expires_in_days": 99_999_999_999_i64 }),
        json!({ "name": "a", "admin": true }),
    ] {
        api.post(&path, As::Operator, &body)
            .await
            .is_problem(422, "invalid_body");
    }
    let list = api.get(&path, As::Operator).await.ok();
    assert_eq!(list["api_keys"].as_array().map(Vec::len), Some(1));
}
