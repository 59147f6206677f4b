//! A grant after the connect flow: refresh, revocation, and its state at Slack.

use serde_json::json;
use wiremock::matchers::{body_string_contains, header, path};
use wiremock::{Mock, ResponseTemplate};

use super::connect::mock_method;
use super::{account, slack};
use crate::connectors::slack::Slack;
use crate::connectors::{Connector, ConnectorError, Grant, GrantState, RefreshRequest, TokenSet};

async fn refresh(slack: &Slack, token: Option<&str>) -> Result<TokenSet, ConnectorError> {
    slack
        .refresh_token(RefreshRequest {
            access_token: Some("xoxb-1".into()),
            account: account(),
            refresh_token: token.map(Into::into),
        })
        .await
}

#[tokio::test]
async fn invalid_refresh_token_revokes_the_grant() {
    let (server, slack, _) = slack().await;
    Mock::given(path("/api/oauth.v2.access"))
        .and(body_string_contains("grant_type=refresh_token"))
        .and(body_string_contains("refresh_token=xoxe-1-good"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "ok": true, "access_token": "xoxe.xoxb-2", "refresh_token": "xoxe-1-next",
            "expires_in": 43_200, "token_type": "bot",
        })))
        .mount(&server)
        .await;
    let tokens = refresh(&slack, Some("xoxe-1-good")).await.expect("tokens");
    assert!(tokens.refresh_token.is_some());
    let invalid = json!({ "ok": false, "error": "invalid_refresh_token" });
    mock_method(&server, "oauth.v2.access", invalid).await;
    let error = refresh(&slack, Some("xoxe-1-used")).await;
    assert!(
        matches!(error, Err(ConnectorError::GrantRevoked(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn token_without_rotation_is_verified() {
    for (code, expected) in [
        ("token_revoked", "grant_revoked"),
        ("account_inactive", "grant_revoked"),
        ("invalid_auth", "unauthorized"),
        ("internal_error", "transient"),
    ] {
        let (server, slack, _) = slack().await;
        mock_method(&server, "auth.test", json!({ "ok": false, "error": code })).await;
        let error = refresh(&slack, None).await.expect_err("an error");
        assert_eq!(error.code(), expected, "{code}");
    }
    let (server, slack, _) = slack().await;
    mock_method(&server, "auth.test", json!({ "ok": true })).await;
    let tokens = refresh(&slack, None).await.expect("the same token");
    assert!(tokens.expires_at.is_none());
}

#[tokio::test]
async fn outage_does_not_revoke_the_grant() {
    for status in [500, 502, 503] {
        let (server, slack, _) = slack().await;
        Mock::given(path("/api/oauth.v2.access"))
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        let error = refresh(&slack, Some("xoxe-1")).await;
        assert!(
            matches!(error, Err(ConnectorError::Transient(_))),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn revocation_uninstalls_and_accepts_revoked_tokens() {
    for response in [
        json!({ "ok": true }),
        json!({ "ok": false, "error": "token_revoked" }),
        json!({ "ok": false, "error": "account_inactive" }),
    ] {
        let (server, slack, _) = slack().await;
        Mock::given(path("/api/apps.uninstall"))
            .and(header("authorization", "Bearer xoxb-1"))
            .respond_with(ResponseTemplate::new(200).set_body_json(response))
            .expect(1)
            .mount(&server)
            .await;
        let revoked = slack.revoke(&grant(Some("xoxb-1"))).await;
        revoked.expect("revoked");
    }
}

#[tokio::test]
async fn grant_state_follows_the_error_code() {
    for (code, expected) in [
        ("token_revoked", Ok(GrantState::Revoked)),
        ("account_inactive", Ok(GrantState::Removed)),
        ("invalid_auth", Err("unauthorized")),
        ("token_expired", Err("unauthorized")),
        ("missing_scope", Err("permission")),
        ("internal_error", Err("transient")),
        ("ratelimited", Err("rate_limited")),
        ("something_new", Err("permanent")),
    ] {
        let (server, slack, _) = slack().await;
        mock_method(&server, "auth.test", json!({ "ok": false, "error": code })).await;
        let state = slack.fetch_grant_state(&grant(Some("xoxb-1"))).await;
        assert_eq!(state.map_err(|error| error.code()), expected, "{code}");
    }
    let (server, slack, _) = slack().await;
    mock_method(&server, "auth.test", json!({ "ok": true })).await;
    let state = slack.fetch_grant_state(&grant(Some("xoxb-1"))).await;
    assert_eq!(state.map_err(|error| error.code()), Ok(GrantState::Active));
}

#[tokio::test]
async fn missing_token_does_not_revoke_the_grant() {
    let (_server, slack, _) = slack().await;
    let state = slack.fetch_grant_state(&grant(None)).await;
    assert_eq!(state.map_err(|error| error.code()), Err("permanent"));
    let refreshed = slack.refresh_token(RefreshRequest {
        access_token: None,
        account: account(),
        refresh_token: None,
    });
    assert_eq!(refreshed.await.expect_err("no token").code(), "permanent");
}

fn grant(token: Option<&str>) -> Grant {
    Grant {
        account: account(),
        access_token: token.map(Into::into),
        refresh_token: None,
    }
}
