//! Token exchange, refresh and revocation, against a mock server.

use serde_json::{Value, json};
use wiremock::matchers::{basic_auth, body_string, body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, now, slack};
use crate::connectors::slack::Slack;
use crate::connectors::testing::{REDIRECT, authorize_request, callback};
use crate::connectors::{
    Access, CallbackOutcome, Connector, ConnectorError, Grant, GrantState, RefreshRequest, TokenSet,
};
use crate::model::{DirectoryKey, DirectoryKind, LimitScope};

async fn mock_method(server: &MockServer, name: &str, response: Value) {
    Mock::given(method("POST"))
        .and(path(format!("/api/{name}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(server)
        .await;
}

fn installation() -> Value {
    json!({
        "ok": true, "app_id": "A0POBLYSH", "access_token": "xoxb-1", "token_type": "bot",
        "scope": "channels:read,channels:history", "bot_user_id": "U0BOT",
        "team": { "id": "T0ACME", "name": "Acme" }, "enterprise": null,
        "is_enterprise_install": false,
        "authed_user": { "id": "U0ADA" },
    })
}

async fn connect(slack: &Slack) -> CallbackOutcome {
    slack
        .exchange_token(callback(&[("code", "c0de")], None))
        .await
        .expect("an outcome")
}

#[tokio::test]
async fn authorization_url_contains_scopes_and_state() {
    let (_server, slack, _) = slack().await;
    let url = slack.authorize(&authorize_request(None)).expect("a URL");
    assert_eq!(url.path(), "/oauth/v2/authorize");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("client_id", "111.222"),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
    ] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
    let scope = query
        .iter()
        .find(|(name, _)| name == "scope")
        .expect("scopes");
    assert!(
        scope.1.contains("channels:history,channels:read"),
        "{}",
        scope.1
    );
    assert!(
        !query
            .iter()
            .any(|(name, _)| name.starts_with("code_challenge"))
    );
}

#[tokio::test]
async fn installation_yields_a_grant() {
    for rotation in [false, true] {
        let (server, slack, _) = slack().await;
        let mut response = installation();
        if rotation {
            response["access_token"] = json!("xoxe.xoxb-1");
            response["refresh_token"] = json!("xoxe-1-r");
            response["expires_in"] = json!(43_200);
        }
        Mock::given(path("/api/oauth.v2.access"))
            .and(basic_auth("111.222", "the-new-client-secret"))
            .and(body_string_contains("code=c0de"))
            .respond_with(ResponseTemplate::new(200).set_body_json(response))
            .mount(&server)
            .await;
        let who = json!({ "ok": true, "url": "https://acme.slack.com/", "team": "Acme" });
        mock_method(&server, "auth.test", who).await;
        let CallbackOutcome::Connected(grant) = connect(&slack).await else {
            panic!("a grant");
        };
        assert_eq!(grant.account, account());
        assert_eq!(grant.scopes, ["channels:read", "channels:history"]);
        let tokens = grant.tokens.expect("tokens");
        assert_eq!(tokens.refresh_token.is_some(), rotation);
        let expires_at = rotation.then(|| now() + chrono::Duration::hours(12));
        assert_eq!(tokens.expires_at, expires_at);
    }
}

#[tokio::test]
async fn organization_install_yields_an_organization_account() {
    let (server, slack, _) = slack().await;
    let mut response = installation();
    response["team"] = Value::Null;
    response["enterprise"] = json!({ "id": "E0ORG", "name": "Org" });
    response["is_enterprise_install"] = json!(true);
    mock_method(&server, "oauth.v2.access", response).await;
    let who = json!({ "ok": true, "url": "https://org.enterprise.slack.com/" });
    mock_method(&server, "auth.test", who).await;
    let CallbackOutcome::Connected(grant) = connect(&slack).await else {
        panic!("a grant");
    };
    assert_eq!(grant.account.id, "E0ORG");
    assert_eq!(grant.account.settings["organization"], true);
}

#[tokio::test]
async fn installation_without_workspace_is_rejected() {
    let (server, slack, _) = slack().await;
    let mut tokens = installation();
    tokens["team"]["id"] = json!("");
    mock_method(&server, "oauth.v2.access", tokens).await;
    let outcome = slack
        .exchange_token(callback(&[("code", "c0de")], None))
        .await;
    assert!(
        matches!(outcome, Err(ConnectorError::Permanent(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn exchange_errors_separate_denials_from_faults() {
    for (code, denied) in [
        ("invalid_code", true),
        ("code_already_used", true),
        ("cannot_install_an_org_installed_app", true),
        ("bad_client_secret", false),
        ("invalid_client_id", false),
        ("bad_redirect_uri", false),
    ] {
        let (server, slack, _) = slack().await;
        mock_method(
            &server,
            "oauth.v2.access",
            json!({ "ok": false, "error": code }),
        )
        .await;
        match slack
            .exchange_token(callback(&[("code", "c0de")], None))
            .await
        {
            Ok(CallbackOutcome::Denied { .. }) => assert!(denied, "{code}"),
            Err(ConnectorError::Permanent(_)) => assert!(!denied, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
    let (_server, slack, _) = slack().await;
    for query in [&[("error", "access_denied")][..], &[], &[("code", "")]] {
        let outcome = slack
            .exchange_token(callback(query, None))
            .await
            .expect("an outcome");
        assert!(
            matches!(outcome, CallbackOutcome::Denied { .. }),
            "{outcome:?}"
        );
    }
    let outcome = slack
        .exchange_token(callback(&[("error", "invalid_team")], None))
        .await;
    assert!(
        matches!(outcome, Err(ConnectorError::Permanent(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn second_client_secret_is_tried_after_rejection() {
    let (server, slack, _) = slack().await;
    for (secret, response) in [
        (
            "the-new-client-secret",
            json!({ "ok": false, "error": "bad_client_secret" }),
        ),
        ("the-old-client-secret", installation()),
    ] {
        Mock::given(path("/api/oauth.v2.access"))
            .and(basic_auth("111.222", secret))
            .respond_with(ResponseTemplate::new(200).set_body_json(response))
            .expect(1)
            .mount(&server)
            .await;
    }
    mock_method(&server, "auth.test", json!({ "ok": true })).await;
    assert!(matches!(
        connect(&slack).await,
        CallbackOutcome::Connected(_)
    ));
}

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
        let grant = Grant {
            account: account(),
            access_token: Some("xoxb-1".into()),
            refresh_token: None,
        };
        slack.revoke(&grant).await.expect("revoked");
    }
}

#[tokio::test]
async fn rate_limit_blocks_method_in_workspace() {
    let (server, slack, rate_limiter) = slack().await;
    Mock::given(path("/api/users.info"))
        .respond_with(
            ResponseTemplate::new(429)
                .insert_header("retry-after", "30")
                .set_body_json(json!({ "ok": false, "error": "ratelimited" })),
        )
        .mount(&server)
        .await;
    let access = Access {
        account: account(),
        token: "xoxb-1".into(),
        user_token: None,
    };
    let keys = [DirectoryKey::new(DirectoryKind::User, "U1")];
    let error = slack.resolve_directory(&access, &keys).await;
    assert!(
        matches!(error, Err(ConnectorError::RateLimited { .. })),
        "{error:?}"
    );
    let (account, method, seen) = rate_limiter.seen().remove(0);
    assert_eq!((account.as_str(), method), ("T0ACME", "users.info"));
    assert_eq!(seen.scope, LimitScope::Operation);
    assert_eq!(
        seen.blocked_until,
        Some(now() + chrono::Duration::seconds(30))
    );
}

#[tokio::test]
async fn lookup_omits_unknown_users() {
    let (server, slack, _) = slack().await;
    Mock::given(path("/api/users.info"))
        .and(body_string_contains("user=U0STRANGER"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "ok": false, "error": "user_not_found" })),
        )
        .mount(&server)
        .await;
    let ada = json!({ "ok": true, "user": { "id": "U0ADA", "name": "ada", "is_bot": false,
                      "profile": { "display_name": "", "real_name": "Ada L" } } });
    mock_method(&server, "users.info", ada).await;
    let channel = json!({ "ok": true, "channel": { "id": "C1", "name": "general" } });
    mock_method(&server, "conversations.info", channel).await;
    let access = Access {
        account: account(),
        token: "xoxb-1".into(),
        user_token: None,
    };
    let keys = [
        DirectoryKey::new(DirectoryKind::User, "U0ADA"),
        DirectoryKey::new(DirectoryKind::User, "U0STRANGER"),
        DirectoryKey::new(DirectoryKind::Channel, "C1"),
    ];
    let found = slack
        .resolve_directory(&access, &keys)
        .await
        .expect("entries");
    let names: Vec<_> = found.iter().map(|entry| entry.name.as_deref()).collect();
    assert_eq!(names, [Some("Ada L"), Some("general")]);
}

#[tokio::test]
async fn organization_bot_lookup_sends_team_id() {
    for (organization, body) in [(false, "bot=B0CI"), (true, "bot=B0CI&team_id=E0ACME")] {
        let (server, slack, _) = slack().await;
        Mock::given(path("/api/bots.info"))
            .and(body_string(body))
            .respond_with(
                ResponseTemplate::new(200)
                    .set_body_json(json!({ "ok": true, "bot": { "id": "B0CI", "name": "Build" } })),
            )
            .expect(1)
            .mount(&server)
            .await;
        let mut account = account();
        account.settings["organization"] = json!(organization);
        if organization {
            "E0ACME".clone_into(&mut account.id);
        }
        let access = Access {
            account,
            token: "xoxb-1".into(),
            user_token: None,
        };
        let keys = [DirectoryKey::new(DirectoryKind::Bot, "B0CI")];
        let found = slack
            .resolve_directory(&access, &keys)
            .await
            .expect("entries");
        assert_eq!(found[0].name.as_deref(), Some("Build"));
    }
}

#[tokio::test]
async fn grant_state_follows_the_error_code() {
    for (code, expected) in [
        ("token_revoked", Ok(GrantState::Revoked)),
        ("account_inactive", Ok(GrantState::Removed)),
        ("invalid_auth", Ok(GrantState::Revoked)),
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
