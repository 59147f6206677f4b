//! Problems of invalid requests, and the headers of all responses.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use tests::harness::TestDb;

use crate::server::{Api, As, read};

#[tokio::test]
async fn unknown_routes_and_methods_return_problems() {
    let api = Api::start().await;
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/tenants/",
        "/v2/signals",
        "/docs/nothing",
        "/docs/%ff",
    ] {
        api.get(path, As::Operator)
            .await
            .is_problem(404, "not_found");
    }
    let response = api.delete("/v1/signals", As::Anonymous).await;
    response.is_problem(405, "method_not_allowed");
    let allowed: BTreeSet<&str> = response.headers["allow"]
        .to_str()
        .expect("text")
        .split(',')
        .map(str::trim)
        .collect();
    assert_eq!(allowed, BTreeSet::from(["GET", "HEAD"]));
    let response = api.get("/v1/connect/github", As::Anonymous).await;
    response.is_problem(405, "method_not_allowed");
    assert_eq!(response.headers["allow"], "POST");
    for path in ["/livez", "/openapi.json", "/docs/"] {
        let response = api.delete(path, As::Anonymous).await;
        response.is_problem(405, "method_not_allowed");
        assert!(response.headers.contains_key("allow"), "{path}");
    }
}

#[tokio::test]
async fn method_override_headers_are_ignored() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/connections/{}", api.connection(&acme).await);
    for header in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let request = api
            .request(Method::GET, &path, acme.auth())
            .header(header, "DELETE");
        assert_eq!(read(request).await.ok()["status"], "active");
    }
}

#[tokio::test]
async fn tenant_header_is_validated() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let response = api.get("/v1/jobs", As::Operator).await;
    response.is_problem(400, "tenant_required");
    assert_eq!(response.fields(), ["X-Tenant-Id"]);
    let unknown = As::OperatorOf(uuid::Uuid::now_v7());
    api.get("/v1/jobs", unknown)
        .await
        .is_problem(404, "tenant_not_found");
    let named = async |caller: As<'_>, tenant: &str| {
        let request = api.request(Method::GET, "/v1/jobs", caller);
        read(request.header("X-Tenant-Id", tenant)).await
    };
    for tenant in ["", "1", "*", &acme.id.simple().to_string()] {
        named(As::Operator, tenant)
            .await
            .is_problem(400, "invalid_parameters");
        named(acme.auth(), tenant)
            .await
            .is_problem(400, "invalid_parameters");
    }
    assert_eq!(named(acme.auth(), &acme.id.to_string()).await.status, 200);
    let wrong = named(acme.auth(), &other.id.to_string()).await;
    wrong.is_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn responses_have_request_id_and_security_headers() {
    let api = Api::start().await;
    for (path, caching) in [
        ("/v1/providers", "private, no-cache"),
        ("/v1/signals", "no-store"),
        ("/v1/nothing", "no-store"),
    ] {
        let request = api
            .request(Method::GET, path, As::Anonymous)
            .header("X-Request-Id", "abc-1");
        let response = read(request).await;
        assert_eq!(response.headers["x-request-id"], "abc-1");
        assert_eq!(response.headers["x-content-type-options"], "nosniff");
        assert_eq!(response.headers["cache-control"], caching);
        assert_eq!(
            response.headers["content-security-policy"],
            "default-src 'none'; frame-ancestors 'none'"
        );
    }
}

#[tokio::test]
async fn unknown_parameters_are_rejected() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    for path in [
        "/v1/providers?a=b",
        "/v1/signals/kinds?a",
        "/v1/jobs?a=b",
        "/v1/jobs?limit=1&limit=2",
    ] {
        api.get(path, acme.auth())
            .await
            .is_problem(400, "invalid_parameters");
    }
    let created = api
        .post("/v1/tenants?a=b", As::Operator, &json!({ "name": "a" }))
        .await;
    created.is_problem(400, "invalid_parameters");
}

#[tokio::test]
async fn server_without_database_is_not_ready() {
    let db = TestDb::create().await;
    // No server listens on port 1.
    let api = Api::on(db, "postgres://unknown@127.0.0.1:1/nothing").await;
    assert_eq!(api.get("/livez", As::Anonymous).await.status, 200);
    api.get("/readyz", As::Anonymous)
        .await
        .is_problem(503, "unavailable");
    let response = api.get("/v1/tenants", As::Operator).await;
    response.is_problem(503, "unavailable");
    assert_eq!(response.headers["retry-after"], "1");
    let response = api.get("/v1/signals", As::Key("pbk_whatever")).await;
    response.is_problem(503, "unavailable");
}

#[tokio::test]
async fn all_responses_have_security_headers() {
    let plain = Api::start().await;
    let https = Api::with(&[("POBLYSH_PUBLIC_API_URL", "https://connect.example.com")]).await;
    for (api, is_https) in [(&plain, false), (&https, true)] {
        for path in [
            "/v1/providers",
            "/v1/signals",
            "/nowhere",
            "/docs/",
            "/livez",
        ] {
            let response = api.get(path, As::Anonymous).await;
            assert_eq!(
                response.headers["x-content-type-options"], "nosniff",
                "{path}"
            );
            assert!(response.headers.contains_key("content-security-policy"));
            let header = response.headers.get("strict-transport-security");
            assert_eq!(header.is_some(), is_https, "{path}");
        }
    }
}

#[tokio::test]
async fn nul_in_a_request_is_a_client_error() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = format!("/v1/connections/{}", api.connection(&acme).await);
    let (sync, webhook) = (
        format!("{connection}/sync"),
        format!("{connection}/webhook"),
    );
    let keys = format!("/v1/tenants/{}/api-keys", acme.id);
    for (caller, path, body) in [
        (As::Operator, "/v1/tenants", json!({ "name": "a\0" })),
        (As::Operator, keys.as_str(), json!({ "name": "a\0" })),
        (
            As::Operator,
            keys.as_str(),
            json!({ "name": "a", "scopes": ["signals:read\0"] }),
        ),
        (
            acme.auth(),
            "/v1/connect/github",
            json!({ "return_to": "http://127.0.0.1\0" }),
        ),
        (acme.auth(), sync.as_str(), json!({ "mode": "full\0" })),
        (acme.auth(), webhook.as_str(), json!({ "public_key": "\0" })),
    ] {
        let response = api.post(path, caller, &body).await;
        assert!(
            response.status.is_client_error(),
            "{path} {body}: {}",
            response.body
        );
    }
    for field in ["status", "reason\0"] {
        let body = json!({ field: "paused\0" });
        let response = api.patch(&connection, acme.auth(), &body).await;
        response.is_problem(422, "invalid_body");
    }
    for path in [
        "/v1/signals?source=%00",
        "/v1/signals?kind=issue_created%00",
        "/v1/signals?cursor=%00",
        "/v1/connections?provider=%00",
        "/v1/webhook-deliveries?provider=git%00hub",
        "/v1/connections/%00",
    ] {
        let response = api.get(path, acme.auth()).await;
        assert!(
            response.status.is_client_error(),
            "{path}: {}",
            response.body
        );
    }
    // The base64 of `github:` and NUL, a cursor with no account after it.
    let path = "/v1/unmatched-accounts?cursor=Z2l0aHViOgA";
    assert_eq!(api.get(path, As::Operator).await.status, 200);
}
