//! Tenants, for operators.

use serde_json::json;

use crate::server::{Api, As, ids, read};

#[tokio::test]
async fn operator_creates_and_lists_tenants() {
    let api = Api::start().await;
    let created = api
        .post("/v1/tenants", As::Operator, &json!({ "name": "  Acme " }))
        .await;
    assert_eq!(created.status, 201);
    let acme = created.ok();
    assert_eq!(acme["name"], "Acme");
    let id = acme["id"].as_str().expect("an id");
    assert_eq!(
        api.get(&format!("/v1/tenants/{id}"), As::Operator)
            .await
            .ok(),
        acme
    );

    for name in ["B", "C", "D"] {
        api.post("/v1/tenants", As::Operator, &json!({ "name": name }))
            .await
            .ok();
    }
    let mut names = Vec::new();
    let mut path = "/v1/tenants?limit=3".to_owned();
    loop {
        let page = api.get(&path, As::Operator).await.ok();
        assert!(ids(&page["tenants"]).len() <= 3);
        for tenant in page["tenants"].as_array().expect("a list") {
            names.push(tenant["name"].as_str().expect("a name").to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/tenants?limit=3&cursor={cursor}");
    }
    assert_eq!(names, ["D", "C", "B", "Acme"]);
}

#[tokio::test]
async fn only_operators_see_tenants() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let own = format!("/v1/tenants/{}", acme.id);
    for path in ["/v1/tenants", own.as_str()] {
        api.get(path, As::Anonymous)
            .await
            .is_problem(401, "unauthorized");
        api.get(path, As::Key("pbk_unknown"))
            .await
            .is_problem(401, "unauthorized");
        api.get(path, acme.auth())
            .await
            .is_problem(403, "operator_only");
    }
    let body = json!({ "name": "Mine" });
    api.post("/v1/tenants", acme.auth(), &body)
        .await
        .is_problem(403, "operator_only");
    api.post("/v1/tenants", As::Anonymous, &body)
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn invalid_tenant_is_rejected() {
    let api = Api::start().await;
    for body in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "   " }),
        json!({ "name": "a\u{0}b" }),
        json!({ "name": "x".repeat(201) }),
        json!({ "name": 7 }),
        json!({ "name": "a", "plan": "gold" }),
        json!([]),
    ] {
        let response = api.post("/v1/tenants", As::Operator, &body).await;
        response.is_problem(422, "invalid_body");
        assert_eq!(response.fields().len(), 1, "{}", response.body);
    }
    let post = || api.request(reqwest::Method::POST, "/v1/tenants", As::Operator);
    let json = "application/json";
    let malformed = read(post().header("content-type", json).body("{\"name\":")).await;
    malformed.is_problem(400, "malformed_body");
    read(post().body("{\"name\":\"a\"}"))
        .await
        .is_problem(415, "unsupported_media_type");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    read(post().header("content-type", json).body(large))
        .await
        .is_problem(413, "payload_too_large");

    api.get("/v1/tenants/1", As::Operator)
        .await
        .is_problem(400, "invalid_parameters");
    let unknown = format!("/v1/tenants/{}", uuid::Uuid::now_v7());
    api.get(&unknown, As::Operator)
        .await
        .is_problem(404, "tenant_not_found");
    let list = api.get("/v1/tenants", As::Operator).await.ok();
    assert_eq!(list["tenants"], json!([]), "no tenant was created");
}
