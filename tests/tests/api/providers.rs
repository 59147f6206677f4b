//! The list of providers, and the one that is not configured.

use serde_json::json;

use crate::server::{Api, As};

#[tokio::test]
async fn all_providers_are_listed_publicly() {
    let api = Api::start().await;
    let list = api.get("/v1/providers", As::Anonymous).await.ok();
    let github = &list["providers"][0];
    assert_eq!(github["slug"], "github");
    assert_eq!(github["auth_type"], "app_installation");
    assert_eq!(github["configured"], json!(false));
    assert_eq!(github["webhooks"], json!(true));
    assert_eq!(github["polling"], json!(true));
    assert_eq!(
        github["webhook_url"],
        "http://127.0.0.1:8081/webhooks/github"
    );
    assert!(
        github["scopes"]
            .as_array()
            .is_some_and(|scopes| !scopes.is_empty())
    );
}

#[tokio::test]
async fn unconfigured_provider_rejects_connect_links() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let response = api
        .post("/v1/connect/github", acme.auth(), &json!({}))
        .await;
    response.is_problem(409, "provider_not_configured");
    let response = api
        .post("/v1/connect/unheard_of", acme.auth(), &json!({}))
        .await;
    response.is_problem(404, "provider_not_found");
}
