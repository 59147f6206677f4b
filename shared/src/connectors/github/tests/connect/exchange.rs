//! Redirects without a grant, and errors of the token endpoint.

use serde_json::json;
use wiremock::matchers::{body_string_contains, path};
use wiremock::{Mock, ResponseTemplate};

use super::{mount_installation, mount_membership, mount_token_response, outcome, unnamed};
use crate::connectors::github::tests::{github, html};
use crate::connectors::testing::callback;
use crate::connectors::{CallbackOutcome, Connector, ConnectorError};

#[tokio::test]
async fn redirect_with_error_or_without_code_is_denied() {
    let (_server, github, _) = github().await;
    for query in [
        vec![
            ("error", "access_denied"),
            ("error_description", "<script>"),
        ],
        vec![("error", "something_new")],
        vec![],
        vec![("code", "")],
        vec![("installation_id", "7; drop table")],
        vec![("installation_id", "")],
    ] {
        let outcome = outcome(&github, callback(&query, None)).await;
        let CallbackOutcome::Denied { reason } = &outcome else {
            panic!("{outcome:?}")
        };
        assert!(!reason.contains("script"), "{reason}");
    }
    let error = github
        .exchange_token(callback(&[("error", "redirect_uri_mismatch")], None))
        .await;
    assert!(
        matches!(error, Err(ConnectorError::Permanent(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn token_error_with_status_200_is_detected() {
    for (code, denied) in [
        ("bad_verification_code", true),
        ("unverified_user_email", true),
        ("incorrect_client_credentials", false),
        ("redirect_uri_mismatch", false),
        ("unsupported_grant_type", false),
    ] {
        let (server, github, _) = github().await;
        mount_token_response(&server, json!({ "error": code, "error_description": "…" })).await;
        match github
            .exchange_token(callback(&[("code", "c0de")], Some(unnamed())))
            .await
        {
            Ok(CallbackOutcome::Denied { .. }) => assert!(denied, "{code}"),
            Err(ConnectorError::Permanent(_)) => assert!(!denied, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn unknown_client_is_permanent_and_outage_transient() {
    let own = |status| ResponseTemplate::new(status).set_body_json(json!({ "error": "Not Found" }));
    for (status, response, permanent) in [
        (404, own(404), true),
        (401, own(401), true),
        (404, html(404), false),
        (403, html(403), false),
        (401, ResponseTemplate::new(401), false),
        (500, html(500), false),
        (503, ResponseTemplate::new(503), false),
    ] {
        let (server, github, _) = github().await;
        Mock::given(path("/login/oauth/access_token"))
            .respond_with(response)
            .mount(&server)
            .await;
        match github
            .exchange_token(callback(&[("code", "c0de")], Some(unnamed())))
            .await
        {
            Err(ConnectorError::Permanent(_)) => assert!(permanent, "{status}"),
            Err(ConnectorError::Transient(_)) => assert!(!permanent, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn second_client_secret_is_tried_after_rejection() {
    let (server, github, _) = github().await;
    Mock::given(path("/login/oauth/access_token"))
        .and(body_string_contains("client_secret=the-new-client-secret"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "error": "incorrect_client_credentials" })),
        )
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/login/oauth/access_token"))
        .and(body_string_contains("client_secret=the-old-client-secret"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({ "access_token": "ghu_user" })),
        )
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/v3/user/installations"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "total_count": 1, "installations": [{ "id": 5 }] })),
        )
        .mount(&server)
        .await;
    mount_installation(&server, 5, false).await;
    mount_membership(&server, 200, "admin", "active").await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
    assert!(
        matches!(outcome, CallbackOutcome::Connected(_)),
        "{outcome:?}"
    );
}
