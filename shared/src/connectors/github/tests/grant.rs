//! Tests of installation tokens, grant states and revocation with a server.

use http::Method;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use wiremock::matchers::{header, header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{github, html, not_found, now};
use crate::connectors::{Connector, Grant, GrantState, RefreshRequest};
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

/// The configured app, as GitHub describes it.
fn the_app() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "id": 12345, "slug": "poblysh" }))
}

/// Mounts the responses to a request for a token, for the installation and for the app.
async fn mount_responses(
    server: &MockServer,
    token: ResponseTemplate,
    installation: ResponseTemplate,
    app: ResponseTemplate,
) {
    for (call, at, response) in [
        ("POST", "/api/v3/app/installations/5/access_tokens", token),
        ("GET", "/api/v3/app/installations/5", installation),
        ("GET", "/api/v3/app", app),
    ] {
        let mock = Mock::given(method(call)).and(path(at));
        mock.respond_with(response).mount(server).await;
    }
}

/// A proxy, a server under maintenance, or the key of another app may answer with 404.
#[tokio::test]
async fn only_proved_404_revokes_grant() {
    let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
    let unsigned = ResponseTemplate::new(404).set_body_json(json!({ "message": "Not Found" }));
    let other_message = ResponseTemplate::new(404).set_body_json(json!({
        "message": "Integration not found", "documentation_url": "https://docs.github.com/rest",
    }));
    for (name, token, installation, app, is_revoked) in [
        ("proved", not_found(), not_found(), the_app(), true),
        ("html twice", html(404), html(404), the_app(), false),
        ("html", not_found(), html(404), the_app(), false),
        ("unsigned", not_found(), unsigned, the_app(), false),
        ("other", not_found(), other_message, the_app(), false),
        (
            "empty",
            not_found(),
            ResponseTemplate::new(404),
            the_app(),
            false,
        ),
        (
            "exists",
            not_found(),
            ok(json!({ "id": 5 })),
            the_app(),
            false,
        ),
        ("outage", not_found(), html(502), the_app(), false),
        ("app 404", not_found(), not_found(), not_found(), false),
        ("app html", not_found(), not_found(), html(200), false),
        ("app 401", not_found(), not_found(), html(401), false),
        (
            "other app",
            not_found(),
            not_found(),
            ok(json!({ "id": 7 })),
            false,
        ),
    ] {
        let (server, github, _) = github().await;
        mount_responses(&server, token, installation, app).await;
        let error = github.refresh_token(refresh("5")).await.expect_err(name);
        let expected = if is_revoked {
            "grant_revoked"
        } else {
            "transient"
        };
        assert_eq!(error.code(), expected, "{name}");
        let grant = Grant {
            account: account("5"),
            access_token: None,
            refresh_token: None,
        };
        let state = github.fetch_grant_state(&grant).await.ok();
        assert_eq!(state == Some(GrantState::Removed), is_revoked, "{name}");
    }
}

/// The settings name another app than the one that the account installed.
#[tokio::test]
async fn missing_installation_of_another_app_is_not_removed() {
    let (server, github, _) = github().await;
    mount_responses(&server, not_found(), not_found(), the_app()).await;
    for (app_id, code) in [(12345, "grant_revoked"), (54321, "transient")] {
        let mut request = refresh("5");
        request.account.settings = json!({ "app_id": app_id });
        let error = github.refresh_token(request).await.expect_err("an error");
        assert_eq!(error.code(), code, "{app_id}");
    }
}

#[tokio::test]
async fn token_request_errors_are_mapped() {
    for (status, body, code) in [
        (401, "A JSON web token could not be decoded", "transient"),
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
    for (status, response, succeeds) in [
        (204, ResponseTemplate::new(204), true),
        (404, not_found(), true),
        (404, html(404), false),
        (500, html(500), false),
        (401, ResponseTemplate::new(401), false),
    ] {
        let (server, github, _) = github().await;
        Mock::given(method("DELETE"))
            .and(path("/api/v3/app/installations/5"))
            .respond_with(response)
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
        // A rejected app token and an outage do not concern the grant.
        (ResponseTemplate::new(404), Err("transient")),
        (ResponseTemplate::new(401), Err("transient")),
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
