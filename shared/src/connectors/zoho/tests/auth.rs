//! Consent, refresh and revocation.

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::super::auth::{Consent, Zoho};
use super::{EXTRA, Family, PRODUCT, READ, account, now};
use crate::connectors::oauth::FlowEnd;
use crate::connectors::testing::{REDIRECT, authorize_request, callback};
use crate::connectors::zoho::PROFILE;
use crate::connectors::{CallbackOutcome, Grant, RefreshRequest};
use crate::model::ExternalAccount;

const EU_TOKEN: &str = "/eu/accounts/oauth/v2/token";

impl Family {
    fn zoho(&self) -> Zoho<'_> {
        Zoho {
            app: &self.app,
            client: &self.client,
            product: &PRODUCT,
        }
    }

    async fn mock_consent(&self, data_center: &str, tokens: Value) {
        let mut response = json!({
            "access_token": "a-token", "refresh_token": "r-token", "token_type": "Bearer",
            "expires_in": 3600, "api_domain": self.url(&format!("{data_center}/api")),
        });
        for (name, value) in tokens.as_object().expect("fields") {
            response[name] = value.clone();
        }
        let accounts = format!("/{data_center}/accounts/oauth");
        self.mock(&format!("{accounts}/v2/token"), 200, response)
            .await;
        let person = json!({
            "ZUID": 1001, "Email": "ada@example.com", "Display_Name": "Ada", "First_Name": "Ada",
        });
        self.mock(&format!("{accounts}/user/info"), 200, person)
            .await;
    }

    /// Exchanges the code of a redirect from this data center and accounts server.
    async fn exchange(&self, origin: &[(&str, &str)]) -> Result<Consent, FlowEnd> {
        let query = [&[("code", "1000.c0de")], origin].concat();
        self.zoho().exchange(&callback(&query, None)).await
    }

    async fn exchange_in_eu(&self) -> Result<Consent, FlowEnd> {
        let server = self.url("eu/accounts");
        let origin = [("location", "eu"), ("accounts-server", server.as_str())];
        self.exchange(&origin).await
    }

    async fn refresh_code(&self, status: u16, response: Value) -> &'static str {
        self.server.reset().await;
        self.mock(EU_TOKEN, status, response).await;
        let refreshed = self.zoho().refresh(&refresh_request(account("eu"))).await;
        refreshed.expect_err("an error").code()
    }
}

fn refresh_request(account: ExternalAccount) -> RefreshRequest {
    RefreshRequest {
        account,
        access_token: None,
        refresh_token: Some("r-token".into()),
    }
}

#[tokio::test]
async fn consent_page_asks_for_offline_access() {
    let family = Family::start().await;
    let url = family.zoho().authorize(&authorize_request(None));
    let url = url.expect("a URL");
    assert!(url.path().ends_with("/us/accounts/oauth/v2/auth"), "{url}");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let scopes = PRODUCT.scopes.join(",");
    for (name, value) in [
        ("client_id", "client-id"),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("scope", scopes.as_str()),
        ("state", "a state"),
        ("access_type", "offline"),
        ("prompt", "consent"),
    ] {
        let parameter = (name.to_owned(), value.to_owned());
        assert!(query.contains(&parameter), "{name}");
    }
    assert!(query.iter().any(|(name, _)| name == "code_challenge"));
}

#[tokio::test]
async fn code_is_exchanged_in_the_accounts_data_center() {
    let family = Family::start().await;
    family.mock_consent("eu", json!({})).await;
    let consent = family.exchange_in_eu().await.expect("a consent");
    let mut expected = account("eu");
    expected.settings["api_domain"] = json!(family.url("eu/api"));
    assert_eq!(consent.account, expected);
    assert_eq!(consent.scopes, PRODUCT.scopes, "none are listed");
    let end = consent.tokens.expires_at.expect("an expiry");
    assert_eq!(end - now(), TimeDelta::hours(1));
    let sent = family.bodies(EU_TOKEN).await;
    assert_eq!(sent.len(), 1);
    for part in [
        "client_secret=new-secret-of-eu",
        "grant_type=authorization_code",
        "code=1000.c0de",
    ] {
        assert!(sent[0].contains(part), "{part}");
    }
    assert!(sent[0].contains("code_verifier"));
}

#[tokio::test]
async fn redirect_without_location_means_configured_data_center() {
    let family = Family::start().await;
    family.mock_consent("us", json!({})).await;
    let consent = family.exchange(&[]).await.expect("a consent");
    assert_eq!(consent.account.stable_id, "us:1001");
}

#[tokio::test]
async fn forged_accounts_server_gets_no_secret() {
    let family = Family::start().await;
    family.mock_consent("us", json!({})).await;
    family.mock_consent("eu", json!({})).await;
    let (us, eu) = (family.url("us/accounts"), family.url("eu/accounts"));
    let stranger = family.url("stranger");
    for origin in [
        &[("location", "eu"), ("accounts-server", stranger.as_str())][..],
        &[("location", "eu"), ("accounts-server", us.as_str())],
        &[("location", "us"), ("accounts-server", eu.as_str())],
        &[
            ("location", "ca"),
            ("accounts-server", "https://accounts.zoho.ca"),
        ],
        &[("location", "zz"), ("accounts-server", stranger.as_str())],
        &[("location", "eu")],
        &[("accounts-server", eu.as_str())],
        &[("location", ""), ("accounts-server", "")],
        &[
            ("location", "eu"),
            ("accounts-server", eu.as_str()),
            ("accounts-server", stranger.as_str()),
        ],
        &[
            ("location", "eu"),
            ("location", "us"),
            ("accounts-server", eu.as_str()),
        ],
    ] {
        match family.exchange(origin).await {
            Err(Ok(CallbackOutcome::Denied { .. })) => {}
            other => panic!("{origin:?}: {other:?}"),
        }
    }
    assert_eq!(family.requests().await, 0);
}

#[tokio::test]
async fn declined_consent_is_no_error() {
    let family = Family::start().await;
    let declined = [("error", "access_denied"), ("location", "zz")];
    match family.zoho().exchange(&callback(&declined, None)).await {
        Err(Ok(CallbackOutcome::Denied { reason })) => assert!(reason.contains("declined")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn listed_scopes_are_the_granted_ones() {
    for separator in [",", " "] {
        let family = Family::start().await;
        let scope = [PROFILE, &READ.to_lowercase()].join(separator);
        family.mock_consent("eu", json!({ "scope": scope })).await;
        let consent = family.exchange_in_eu().await.expect("a consent");
        assert_eq!(consent.scopes, [PROFILE, READ]);
    }
}

#[tokio::test]
async fn useless_consent_is_rejected_with_its_grant() {
    let family = Family::start().await;
    family.mock_consent("eu", json!({ "scope": EXTRA })).await;
    match family.exchange_in_eu().await {
        Err(Ok(CallbackOutcome::Rejected { reason, grant })) => {
            assert!(reason.contains("see your things"), "{reason}");
            assert_eq!(grant.account.stable_id, "eu:1001");
            let token = grant.refresh_token.expect("a token to revoke");
            assert_eq!(token.expose_secret(), "r-token");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn domain_of_another_data_center_rejects_the_consent() {
    let family = Family::start().await;
    let domain = json!({ "api_domain": family.url("in/api") });
    family.mock_consent("eu", domain).await;
    match family.exchange_in_eu().await {
        Err(Ok(CallbackOutcome::Rejected { grant, .. })) => {
            assert_eq!(
                grant.account.settings["data_center"], "eu",
                "where it is revoked"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(family.requests().await, 1, "no identity is asked for");
}

#[tokio::test]
async fn used_code_is_no_error_of_the_operator() {
    let family = Family::start().await;
    family
        .mock(EU_TOKEN, 200, json!({ "error": "invalid_code" }))
        .await;
    match family.exchange_in_eu().await {
        Err(Ok(CallbackOutcome::Denied { .. })) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn access_token_is_a_success_at_any_status() {
    let family = Family::start().await;
    let response = json!({ "access_token": "next", "expires_in": 3600, "error": "" });
    family.mock(EU_TOKEN, 400, response).await;
    let tokens = family.zoho().refresh(&refresh_request(account("eu"))).await;
    let tokens = tokens.expect("tokens");
    assert_eq!(tokens.access_token.expose_secret(), "next");
    assert!(tokens.refresh_token.is_none(), "the same one stays valid");
}

#[tokio::test]
async fn lifetime_in_seconds_is_preferred() {
    for fields in [
        json!({ "expires_in": 3_600_000, "expires_in_sec": 3600 }),
        json!({ "expires_in": 3600 }),
        json!({ "expires_in_sec": "3600" }),
    ] {
        let family = Family::start().await;
        let mut response = fields.clone();
        response["access_token"] = json!("next");
        family.mock(EU_TOKEN, 200, response).await;
        let tokens = family.zoho().refresh(&refresh_request(account("eu"))).await;
        let end = tokens.expect("tokens").expires_at.expect("an expiry");
        assert_eq!(end - now(), TimeDelta::hours(1), "{fields}");
    }
}

#[tokio::test]
async fn refresh_of_another_data_center_is_not_followed() {
    let unknown = "https://www.zohoapis.example";
    for (kept, stated, is_accepted) in [
        (None, None, true),
        (None, Some("eu/api"), true),
        (None, Some("eu/api/"), true),
        (None, Some("us/api"), false),
        (Some("eu/api"), Some("in/api"), false),
        (Some("eu/api"), Some(unknown), false),
        (Some(unknown), Some(unknown), true),
        (Some(unknown), Some("us/api"), false),
    ] {
        let family = Family::start().await;
        let url = |text: &str| match text.strip_prefix("https") {
            Some(_) => text.to_owned(),
            None => family.url(text),
        };
        let mut account = account("eu");
        if let Some(kept) = kept {
            account.settings["api_domain"] = json!(url(kept));
        }
        let mut response = json!({ "access_token": "next", "expires_in": 3600 });
        if let Some(stated) = stated {
            response["api_domain"] = json!(url(stated));
        }
        family.mock(EU_TOKEN, 200, response).await;
        let refreshed = family.zoho().refresh(&refresh_request(account)).await;
        let code = refreshed.err().map(|error| error.code());
        let expected = (!is_accepted).then_some("permanent");
        assert_eq!(code, expected, "{kept:?} {stated:?}");
    }
}

#[tokio::test]
async fn errors_with_status_200_are_errors() {
    let family = Family::start().await;
    let throttled = json!({
        "error_description": "You have made too many requests continuously. \
            Please try again after some time.",
        "error": "Access Denied", "status": "failure",
    });
    for (status, body, code) in [
        (200, json!({ "error": "invalid_code" }), "grant_revoked"),
        (400, json!({ "error": "invalid_code" }), "grant_revoked"),
        (503, json!({ "error": "invalid_code" }), "transient"),
        (200, json!({ "error": "invalid_client" }), "permanent"),
        (401, json!({ "error": "invalid_client" }), "permanent"),
        (
            200,
            json!({ "error": "invalid_client_secret" }),
            "permanent",
        ),
        (200, json!({ "error": "invalid_redirect_uri" }), "permanent"),
        (200, json!({ "error": "invalid_scope" }), "permanent"),
        (200, json!({ "error": "something_new" }), "permanent"),
        (200, json!({ "status": "failure" }), "permanent"),
        (200, throttled.clone(), "transient"),
        (400, throttled, "transient"),
        (200, json!({ "error": "Access Denied" }), "transient"),
        (429, json!({ "error": "invalid_code" }), "rate_limited"),
    ] {
        let label = format!("{status} {body}");
        assert_eq!(family.refresh_code(status, body).await, code, "{label}");
    }
}

#[tokio::test]
async fn second_secret_is_tried_after_rejected_first() {
    let family = Family::start().await;
    let body = json!({ "error": "invalid_client_secret" });
    assert_eq!(family.refresh_code(200, body).await, "permanent");
    let sent = family.bodies(EU_TOKEN).await;
    assert_eq!(sent.len(), 2);
    assert!(sent[1].contains("client_secret=old-secret-of-eu"));
}

#[tokio::test]
async fn token_is_revoked_in_its_data_center() {
    const REVOKE: &str = "/eu/accounts/oauth/v2/token/revoke";
    let family = Family::start().await;
    let grant = Grant {
        account: account("eu"),
        access_token: Some("a-token".into()),
        refresh_token: Some("r-token".into()),
    };
    for (status, body, code) in [
        (200, json!({ "status": "success" }), None),
        (200, json!({ "error": "invalid_code" }), None),
        (400, json!({ "error": "invalid_token" }), None),
        (
            400,
            json!({ "error": "invalid_request" }),
            Some("permanent"),
        ),
        (503, json!({ "error": "invalid_token" }), Some("transient")),
    ] {
        family.server.reset().await;
        family.mock(REVOKE, status, body.clone()).await;
        let revoked = family.zoho().revoke(&grant).await;
        assert_eq!(revoked.err().map(|error| error.code()), code, "{body}");
        let requests = family.server.received_requests().await.expect("requests");
        assert_eq!(requests[0].url.query(), Some("token=r-token"));
    }
}
