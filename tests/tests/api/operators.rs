//! Named operators: tokens, roles, expiry, revocation.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, As, ids};

const PATH: &str = "/v1/operators";

#[tokio::test]
async fn operator_is_created_with_token_shown_once() {
    let api = Api::start().await;
    let body = json!({ "name": "  Ada ", "role": "operator", "expires_in_days": 7 });
    let created = api.post(PATH, As::Operator, &body).await;
    assert_eq!(created.status, 201);
    let mut ada = created.ok();
    let token = ada["token"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("pbo_") && token.len() > 40, "{token}");
    assert_eq!(
        (&ada["name"], &ada["role"]),
        (&json!("Ada"), &json!("operator"))
    );
    assert_eq!(ada["hint"], token[..10]);

    ada.as_object_mut().expect("an object").remove("token");
    let own = format!("{PATH}/{}", ada["id"].as_str().expect("an id"));
    assert_eq!(api.get(&own, As::Operator).await.ok(), ada);
    let list = api.get(PATH, As::Key(&token)).await.ok();
    assert_eq!(list["operators"][0]["id"], ada["id"]);
    assert!(!list.to_string().contains(&token[12..]), "{list}");
    let is_stored: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM operators o WHERE o::text LIKE '%' || $1 || '%')",
    )
    .bind(&token[12..])
    .fetch_one(api.db.pool())
    .await
    .expect("a value");
    assert!(!is_stored, "only a hash is stored");
    let days: f64 = sqlx::query_scalar(
        "SELECT (extract(epoch FROM expires_at - created_at) / 86400)::float8 FROM operators",
    )
    .fetch_one(api.db.pool())
    .await
    .expect("a number");
    assert!((days - 7.0).abs() < 0.01, "{days}");
}

#[tokio::test]
async fn revoked_or_expired_operator_is_rejected_immediately() {
    let api = Api::start().await;
    let (id, token) = api.named_operator("Ada", "viewer").await;
    let (other, expiring) = api.named_operator("Grace", "viewer").await;
    for token in [&token, &expiring] {
        api.get("/v1/overview", As::Key(token)).await.ok();
    }
    let path = format!("{PATH}/{id}");
    let revoked = api.delete(&path, As::Operator).await;
    assert_eq!(revoked.status, 204);
    let rejected = api.get("/v1/overview", As::Key(&token)).await;
    rejected.is_problem(401, "unauthorized");
    assert_eq!(api.delete(&path, As::Operator).await.status, 204);
    let change = json!({ "role": "admin" });
    let changed = api.patch(&path, As::Operator, &change).await;
    changed.is_problem(409, "operator_not_valid");

    let unused = Uuid::nil();
    let expire = "UPDATE operators SET expires_at = now() WHERE id = $2 AND $1 = $1";
    api.sql(expire, unused, other).await;
    let rejected = api.get("/v1/overview", As::Key(&expiring)).await;
    rejected.is_problem(401, "unauthorized");
    let extended = api
        .patch(
            &format!("{PATH}/{other}"),
            As::Operator,
            &json!({ "expires_in_days": 1 }),
        )
        .await;
    extended.ok();
    api.get("/v1/overview", As::Key(&expiring)).await.ok();
    let list = api.get(PATH, As::Operator).await.ok();
    assert_eq!(ids(&list["operators"]), [other, id], "both stay listed");
    assert!(list["operators"][1]["revoked_at"].is_string());
}

#[tokio::test]
async fn changed_role_applies_to_next_request() {
    let api = Api::start().await;
    let (id, token) = api.named_operator("Ada", "viewer").await;
    let tenant = json!({ "name": "Acme" });
    let create = || api.post("/v1/tenants", As::Key(&token), &tenant);
    create().await.is_problem(403, "insufficient_role");
    let path = format!("{PATH}/{id}");
    let changed = api
        .patch(&path, As::Operator, &json!({ "role": "admin" }))
        .await;
    assert_eq!(changed.ok()["role"], "admin");
    assert_eq!(create().await.status, 201);
    let lowered = json!({ "role": "operator" });
    api.patch(&path, As::Key(&token), &lowered).await.ok();
    create().await.is_problem(403, "insufficient_role");
}

#[tokio::test]
async fn invalid_operators_are_rejected() {
    let api = Api::start().await;
    for (body, field) in [
        (json!({ "role": "viewer" }), "."),
        (json!({ "name": " ", "role": "viewer" }), "name"),
        (json!({ "name": "a\u{0}", "role": "viewer" }), "name"),
        (json!({ "name": "Ada", "role": "root" }), "role"),
        (
            json!({ "name": "Ada", "role": "viewer", "expires_in_days": 0 }),
            "expires_in_days",
        ),
        (
            json!({ "name": "Ada", "role": "viewer", "expires_in_days": 366 }),
            "expires_in_days",
        ),
        (
            json!({ "name": "Ada", "role": "viewer", "token": "mine" }),
            "token",
        ),
    ] {
        let rejected = api.post(PATH, As::Operator, &body).await;
        rejected.is_problem(422, "invalid_body");
        assert_eq!(rejected.fields(), [field], "{body}");
    }
    assert_eq!(
        api.get(PATH, As::Operator).await.ok()["operators"],
        json!([])
    );
    api.named_operator("Ada", "viewer").await;
    let again = json!({ "name": "ADA", "role": "admin" });
    let conflict = api.post(PATH, As::Operator, &again).await;
    conflict.is_problem(409, "operator_name_taken");
    let unknown = format!("{PATH}/{}", Uuid::now_v7());
    for rejected in [
        api.get(&unknown, As::Operator).await,
        api.delete(&unknown, As::Operator).await,
        api.patch(&unknown, As::Operator, &json!({})).await,
        api.post(
            &format!("{unknown}/login-links"),
            As::Operator,
            &Value::Null,
        )
        .await,
    ] {
        rejected.is_problem(404, "operator_not_found");
    }
}

#[tokio::test]
async fn login_link_needs_the_console() {
    let api = Api::start().await;
    let (id, _) = api.named_operator("Ada", "viewer").await;
    let link = format!("{PATH}/{id}/login-links");
    let refused = api.post(&link, As::Operator, &Value::Null).await;
    refused.is_problem(409, "console_disabled");
    for path in ["/console", "/console/login", "/console/connections"] {
        let hidden = api.get(path, As::Operator).await;
        hidden.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn guessed_operator_tokens_are_throttled() {
    let api = Api::start().await;
    let (_, token) = api.named_operator("Ada", "viewer").await;
    api.get("/v1/overview", As::Key(&token)).await.ok();
    let guess = "pbo_AAAAAAAAguess";
    let mut throttled = false;
    for _ in 0..100 {
        let response = api.get("/v1/overview", As::Key(guess)).await;
        throttled |= response.status == 429;
    }
    assert!(throttled);
    api.get("/v1/overview", As::Key(&token)).await.ok();
}
