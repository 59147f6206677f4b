use serde_json::json;

use crate::server::{Api, As};

#[tokio::test]
async fn every_provider_is_listed_to_anybody_configured_or_not() {
    let api = Api::start().await;
    let list = api.get("/v1/providers", As::Nobody).await.ok();
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
async fn a_provider_that_is_not_set_up_refuses_to_connect() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let answer = api
        .post("/v1/connect/github", acme.auth(), &json!({}))
        .await;
    answer.is_problem(409, "provider_not_configured");
    let answer = api
        .post("/v1/connect/unheard_of", acme.auth(), &json!({}))
        .await;
    answer.is_problem(404, "provider_not_found");
}
