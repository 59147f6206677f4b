//! Consent, refresh and revocation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::super::auth::{Consent, EMAIL, Google, OPENID, Product};
use super::{Family, account, now};
use crate::connectors::oauth::FlowEnd;
use crate::connectors::testing::{CHALLENGE, REDIRECT, VERIFIER, authorize_request, callback};
use crate::connectors::{CallbackOutcome, Grant, RefreshRequest};

const NEEDED: &str = "https://www.googleapis.com/auth/any.readonly";
const EXTRA: &str = "https://www.googleapis.com/auth/any.list";
const PRODUCT: Product = Product {
    scopes: &[OPENID, EMAIL, NEEDED, EXTRA],
    needed: &[NEEDED],
    access: "see your things",
};
/// Google's own spelling and order.
const GRANTED: &str = "https://www.googleapis.com/auth/any.list openid \
     https://www.googleapis.com/auth/any.readonly https://www.googleapis.com/auth/userinfo.email";

impl Family {
    fn google(&self) -> Google<'_> {
        Google {
            app: &self.app,
            client: &self.client,
            product: &PRODUCT,
        }
    }

    async fn mock_consent(&self, scope: &str, tokens: Value) {
        let mut response = json!({
            "access_token": "a-token", "expires_in": 3599, "token_type": "Bearer", "scope": scope,
        });
        for (name, value) in tokens.as_object().expect("fields") {
            response[name] = value.clone();
        }
        self.mock("/oauth/token", 200, response).await;
        let person = json!({ "sub": "1001", "email": "ada@example.com", "name": "Ada" });
        self.mock("/userinfo/v1/userinfo", 200, person).await;
    }

    async fn exchange(&self) -> Result<Consent, FlowEnd> {
        let callback = callback(&[("code", "c0de")], None);
        self.google().exchange(&callback).await
    }

    async fn refresh_code(&self, status: u16, response: Value) -> &'static str {
        self.server.reset().await;
        self.mock("/oauth/token", status, response).await;
        let refreshed = self.google().refresh(&refresh_request()).await;
        refreshed.expect_err("an error").code()
    }
}

fn refresh_request() -> RefreshRequest {
    RefreshRequest {
        account: account(),
        access_token: None,
        refresh_token: Some("r-token".into()),
    }
}

#[tokio::test]
async fn consent_page_asks_for_offline_access() {
    let family = Family::start().await;
    let url = family.google().authorize(&authorize_request(None));
    assert!(url.path().ends_with("/auth/o/oauth2/v2/auth"), "{url}");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let scopes = PRODUCT.scopes.join(" ");
    for (name, value) in [
        ("client_id", "client-id"),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("scope", scopes.as_str()),
        ("state", "a state"),
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("include_granted_scopes", "false"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
}

#[tokio::test]
async fn consent_is_identified_by_subject() {
    let family = Family::start().await;
    let tokens = json!({ "refresh_token": "r-token", "refresh_token_expires_in": 604_799 });
    family.mock_consent(GRANTED, tokens).await;
    let consent = family.exchange().await.expect("a consent");
    assert_eq!(consent.identity.account(json!({})), account());
    assert_eq!(
        consent.scopes, PRODUCT.scopes,
        "in another order and spelling"
    );
    let end = consent.tokens.refresh_expires_at.expect("the grant's end");
    assert_eq!(end - now(), TimeDelta::seconds(604_799));
    let sent = family.bodies("/oauth/token").await;
    assert!(sent[0].contains(VERIFIER), "PKCE");
    assert!(sent[0].contains("client_secret=the-new-client-secret"));
    assert_eq!(
        family.google().grant_key(&account()),
        "google:client-id:1001"
    );
}

#[tokio::test]
async fn partial_consent_keeps_granted_scopes() {
    let family = Family::start().await;
    let scope = format!("openid {NEEDED}");
    family.mock_consent(&scope, json!({})).await;
    let consent = family.exchange().await.expect("a consent");
    assert_eq!(consent.scopes, [OPENID, NEEDED]);
    assert!(
        consent.tokens.refresh_token.is_none(),
        "a repeated consent may have none"
    );
}

#[tokio::test]
async fn useless_consent_is_rejected_with_its_grant() {
    let family = Family::start().await;
    let tokens = json!({ "refresh_token": "r-token" });
    family
        .mock_consent(&format!("openid {EXTRA}"), tokens)
        .await;
    match family.exchange().await {
        Err(Ok(CallbackOutcome::Rejected { reason, grant })) => {
            assert!(reason.contains("see your things"), "{reason}");
            assert_eq!(grant.account.stable_id, "1001");
            let token = grant.refresh_token.expect("a token to revoke");
            assert_eq!(token.expose_secret(), "r-token");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn failed_flow_returns_its_grant() {
    let claims = URL_SAFE_NO_PAD.encode(json!({ "sub": "1001" }).to_string());
    for (id_token, is_known) in [
        (json!(format!("e30.{claims}.c2ln")), true),
        (json!("e30.e30.c2ln"), false),
        (json!("no token"), false),
        (Value::Null, false),
    ] {
        let family = Family::start().await;
        family.mock("/userinfo/v1/userinfo", 503, json!({})).await;
        let tokens = json!({ "refresh_token": "r-token", "id_token": id_token });
        family.mock_consent(GRANTED, tokens).await;
        match family.exchange().await {
            Err(Ok(CallbackOutcome::Failed { error, grant })) if is_known => {
                assert_eq!(error.code(), "transient");
                assert_eq!(grant.account.stable_id, "1001");
                let token = grant.refresh_token.expect("a token to revoke");
                assert_eq!(token.expose_secret(), "r-token");
            }
            Err(Err(error)) if !is_known => assert_eq!(error.code(), "transient"),
            other => panic!("{id_token}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn used_code_is_no_error_of_the_operator() {
    let family = Family::start().await;
    let used = json!({ "error": "invalid_grant", "error_description": "Bad Request" });
    family.mock("/oauth/token", 400, used).await;
    match family.exchange().await {
        Err(Ok(CallbackOutcome::Denied { .. })) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn refresh_keeps_the_refresh_token() {
    let family = Family::start().await;
    let response = json!({ "access_token": "next", "expires_in": 3599, "scope": GRANTED });
    family.mock("/oauth/token", 200, response).await;
    let tokens = family.google().refresh(&refresh_request()).await;
    let tokens = tokens.expect("tokens");
    assert_eq!(tokens.access_token.expose_secret(), "next");
    assert!(tokens.refresh_token.is_none() && tokens.refresh_expires_at.is_none());
}

#[tokio::test]
async fn only_invalid_grant_ends_the_grant() {
    let family = Family::start().await;
    for description in ["Token has been expired or revoked.", "Bad Request", ""] {
        let body = json!({ "error": "invalid_grant", "error_description": description });
        assert_eq!(family.refresh_code(400, body).await, "grant_revoked");
    }
    for (status, name, code) in [
        (401, "invalid_client", "permanent"),
        (401, "unauthorized_client", "permanent"),
        (400, "unauthorized_client", "permanent"),
        (400, "invalid_request", "permanent"),
        (400, "server_error", "transient"),
        (200, "temporarily_unavailable", "transient"),
        (401, "internal_failure", "transient"),
        (503, "invalid_grant", "transient"),
        (429, "invalid_grant", "rate_limited"),
    ] {
        let body = json!({ "error": name });
        assert_eq!(
            family.refresh_code(status, body).await,
            code,
            "{status} {name}"
        );
    }
    let described = json!({ "error": "invalid_grant", "error_description": "internal_failure" });
    assert_eq!(family.refresh_code(400, described).await, "transient");
}

#[tokio::test]
async fn second_secret_is_tried_after_rejected_first() {
    let family = Family::start().await;
    let body = json!({ "error": "invalid_client" });
    assert_eq!(family.refresh_code(401, body).await, "permanent");
    let sent = family.bodies("/oauth/token").await;
    assert_eq!(sent.len(), 2);
    assert!(sent[1].contains("client_secret=the-old-client-secret"));
}

#[tokio::test]
async fn ended_grant_counts_as_revoked() {
    let family = Family::start().await;
    let grant = Grant {
        account: account(),
        access_token: Some("a-token".into()),
        refresh_token: Some("r-token".into()),
    };
    for (status, body, code) in [
        (200, json!({}), None),
        (400, json!({ "error": "invalid_token" }), None),
        (
            400,
            json!({ "error": "invalid_request" }),
            Some("permanent"),
        ),
        (503, json!({ "error": "invalid_token" }), Some("transient")),
    ] {
        family.server.reset().await;
        family.mock("/oauth/revoke", status, body.clone()).await;
        let revoked = family.google().revoke(&grant).await;
        assert_eq!(revoked.err().map(|error| error.code()), code, "{body}");
        assert_eq!(family.bodies("/oauth/revoke").await, ["token=r-token"]);
    }
}
