//! Tests of installation tokens, grant states and revocation with a server.

use http::Method;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use wiremock::matchers::{header, header_exists, method, path};
use wiremock::{Mock, ResponseTemplate};

use super::{github, now};
use crate::connectors::{Connector, ConnectorError, Grant, GrantState, RefreshRequest};
use crate::model::ExternalAccount;

fn account(id: &str) -> ExternalAccount {
    ExternalAccount {
        id: id.to_owned(),
        name: "octo-org".to_owned(),
        stable_id: "6811672".to_owned(),
        settings: Value::Null,
    }
}

fn refresh(id: &str) -> RefreshRequest {
    RefreshRequest {
        access_token: None,
        account: account(id),
        refresh_token: None,
    }
}

#[tokio::test]
async fn installation_token_has_any_length() {
    let (server, github, _) = github().await;
    let long = format!("ghs_12345_{}", "x".repeat(1500));
    Mock::given(method("POST"))
        .and(path("/api/v3/app/installations/5/access_tokens"))
        .and(header("accept", "application/vnd.github+json"))
        .and(header("x-github-api-version", "2022-11-28"))
        .and(header_exists("user-agent"))
        .respond_with(
            ResponseTemplate::new(201)
                .set_body_json(json!({ "token": long, "expires_at": "2026-11-23T13:00:00Z" })),
        )
        .mount(&server)
        .await;
    let created = github.refresh_token(refresh("5")).await.expect("a token");
    assert_eq!(created.access_token.expose_secret(), long);
    assert_eq!(created.expires_at, Some(super::at("2026-11-23T13:00:00Z")));
    assert!(created.refresh_token.is_none());

    let calls = server.received_requests().await.expect("requests");
    let bearer = calls[0].headers.get("authorization").expect("a header");
    let jwt = bearer
        .to_str()
        .expect("text")
        .strip_prefix("Bearer ")
        .expect("a bearer");
    assert_app_token(jwt);
}

/// Asserts a valid token of the app: signature, issue time, and expiry within ten minutes.
fn assert_app_token(jwt: &str) {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.set_issuer(&["12345"]);
    let public = DecodingKey::from_rsa_pem(include_bytes!("../fixtures/test-app.pub.pem"))
        .expect("the public key");
    let claims = jsonwebtoken::decode::<Value>(jwt, &public, &validation)
        .expect("genuine")
        .claims;
    let now = now().timestamp();
    assert_eq!(claims["iat"], json!(now - 60));
    assert!(
        claims["exp"]
            .as_i64()
            .is_some_and(|exp| (now..=now + 600).contains(&exp))
    );
}

#[tokio::test]
async fn grant_is_revoked_only_after_second_404() {
    let not_found = ResponseTemplate::new(404).set_body_json(json!({ "message": "Not Found" }));
    for (second, is_revoked) in [
        (not_found.clone(), true),
        (
            ResponseTemplate::new(200).set_body_json(json!({ "id": 5 })),
            false,
        ),
        (ResponseTemplate::new(502), false),
    ] {
        let (server, github, _) = github().await;
        Mock::given(method("POST"))
            .respond_with(not_found.clone())
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .respond_with(second)
            .mount(&server)
            .await;
        match github.refresh_token(refresh("5")).await {
            Err(ConnectorError::GrantRevoked(_)) => assert!(is_revoked),
            Err(ConnectorError::Transient(_)) => assert!(!is_revoked),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn token_request_errors_are_mapped() {
    for (status, body, code) in [
        (401, "A JSON web token could not be decoded", "permanent"),
        (
            403,
            "API rate limit exceeded for app ID 12345.",
            "rate_limited",
        ),
        (
            422,
            "The permissions requested are not granted",
            "permanent",
        ),
        (500, "", "transient"),
    ] {
        let (server, github, _) = github().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(status).set_body_json(json!({ "message": body })))
            .mount(&server)
            .await;
        let error = github
            .refresh_token(refresh("5"))
            .await
            .expect_err("an error");
        assert_eq!(error.code(), code, "{status} {body}");
    }
}

#[tokio::test]
async fn token_403_without_suspension_is_transient() {
    for (installation, code) in [
        (
            json!({ "id": 5, "suspended_at": "2026-11-23T10:00:00Z" }),
            "grant_suspended",
        ),
        (json!({ "id": 5, "suspended_at": null }), "transient"),
        (json!({ "id": 5 }), "transient"),
    ] {
        let (server, github, _) = github().await;
        let message =
            "the organization has an IP allow list enabled, and your address is not on it";
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(403).set_body_json(json!({ "message": message })))
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(path("/api/v3/app/installations/5"))
            .respond_with(ResponseTemplate::new(200).set_body_json(&installation))
            .mount(&server)
            .await;
        let error = github
            .refresh_token(refresh("5"))
            .await
            .expect_err("an error");
        assert_eq!(error.code(), code, "{installation}");
    }
}

#[tokio::test]
async fn account_id_never_changes_the_path() {
    let (server, github, _) = github().await;
    for id in ["", "..", "5/../../user", "5?x", "-1"] {
        let error = github
            .refresh_token(refresh(id))
            .await
            .expect_err("an error");
        assert_eq!(error.code(), "permanent", "{id}");
    }
    assert!(
        server
            .received_requests()
            .await
            .expect("requests")
            .is_empty()
    );
}

#[tokio::test]
async fn revoking_missing_installation_succeeds() {
    for (status, succeeds) in [(204, true), (404, true), (500, false), (401, false)] {
        let (server, github, _) = github().await;
        Mock::given(method("DELETE"))
            .and(path("/api/v3/app/installations/5"))
            .respond_with(ResponseTemplate::new(status))
            .expect(1)
            .mount(&server)
            .await;
        let grant = Grant {
            account: account("5"),
            access_token: None,
            refresh_token: None,
        };
        assert_eq!(github.revoke(&grant).await.is_ok(), succeeds, "{status}");
        let calls = server.received_requests().await.expect("requests");
        assert_eq!(calls[0].method, Method::DELETE);
    }
}

#[tokio::test]
async fn grant_state_follows_installation() {
    let installation = |suspended_at: Value| {
        let body = json!({ "id": 5, "account": null, "suspended_at": suspended_at });
        ResponseTemplate::new(200).set_body_json(body)
    };
    for (response, expected) in [
        (installation(Value::Null), Ok(GrantState::Active)),
        (
            installation(json!("2026-11-23T10:00:00Z")),
            Ok(GrantState::Suspended),
        ),
        (ResponseTemplate::new(404), Ok(GrantState::Removed)),
        // A rejected app token and an outage do not concern the grant.
        (ResponseTemplate::new(401), Err("permanent")),
        (ResponseTemplate::new(502), Err("transient")),
    ] {
        let (server, github, _) = github().await;
        Mock::given(method("GET"))
            .and(path("/api/v3/app/installations/5"))
            .respond_with(response)
            .mount(&server)
            .await;
        let grant = Grant {
            account: account("5"),
            access_token: None,
            refresh_token: None,
        };
        let state = github.fetch_grant_state(&grant).await;
        assert_eq!(state.map_err(|error| error.code()), expected);
    }
}
