use serde_json::json;
use tests::harness::eventually;
use uuid::Uuid;

use crate::server::{Api, As};

#[tokio::test]
async fn a_key_is_shown_once_and_opens_its_tenant() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let body = json!({ "name": "Story Hunter", "scopes": ["signals:read"], "expires_in_days": 30 });
    let made = api.post(&path, As::Operator, &body).await;
    assert_eq!(made.status, 201);
    let made = made.ok();
    let key = made["key"].as_str().expect("a key");
    assert!(key.starts_with("pbk_") && key.len() == 47, "{key}");
    assert!(key.starts_with(made["hint"].as_str().expect("a hint")));
    assert_eq!(made["scopes"], json!(["signals:read"]));
    assert!(made["expires_at"].is_string());

    let list = api.get(&path, As::Operator).await.ok();
    assert_eq!(list["api_keys"].as_array().map(Vec::len), Some(2));
    assert!(
        !list.to_string().contains(key),
        "the key itself is never listed"
    );
    let kept = sqlx::query_scalar::<_, Vec<u8>>("SELECT key_hash FROM api_keys WHERE hint = $1")
        .bind(made["hint"].as_str())
        .fetch_one(api.db.pool())
        .await
        .expect("the key's row");
    assert_eq!(
        kept,
        shared::crypto::sha256(key.as_bytes()),
        "only the hash is kept"
    );

    assert_eq!(api.get("/v1/signals", As::Key(key)).await.status, 200);
    eventually("the use is noted", async || {
        let list = api.get(&path, As::Operator).await.ok();
        list["api_keys"][0]["last_used_at"].is_string()
    })
    .await;
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let key = api
        .key(
            acme.id,
            &json!({ "name": "feed", "scopes": ["signals:read"] }),
        )
        .await;
    let answer = api.get("/v1/connections", As::Key(&key)).await;
    answer.is_problem(403, "insufficient_scope");
    assert_eq!(answer.body["details"]["needed"], "connections:read");
    let challenge = answer.headers["www-authenticate"].to_str().expect("text");
    assert!(challenge.contains("connections:read"), "{challenge}");
}

#[tokio::test]
async fn a_revoked_or_expired_key_opens_nothing() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let made = api
        .post(&path, As::Operator, &json!({ "name": "old" }))
        .await
        .ok();
    let (id, key) = (
        made["id"].as_str().expect("an id"),
        made["key"].as_str().expect("a key"),
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
async fn keys_are_the_operators_to_give() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let body = json!({ "name": "more" });
    api.post(&path, acme.auth(), &body)
        .await
        .is_problem(403, "operator_only");
    api.get(&path, As::Nobody)
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
        "it was not revoked"
    );
}

#[tokio::test]
async fn a_key_with_bad_input_is_not_made() {
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
